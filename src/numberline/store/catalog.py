"""Questions about the catalogue, and its replacement as a whole."""

from __future__ import annotations

from typing import Any

from msgspec.structs import astuple
from sqlalchemy import delete, select, update

from numberline.domain.catalog import CatalogRows, Country, Offer, Price, Region, Rule, State
from numberline.store.questions import Questions
from numberline.store.schema import (
    catalog_revision,
    country,
    currency_rate,
    offer,
    price,
    region,
    rule,
    state,
    tax_rate,
)
from numberline.store.statements import Statement, insert_into, select_all, update_rows

_READ_REVISION = Statement(select(catalog_revision.c.revision))
_NEXT_REVISION = Statement(update(catalog_revision).values(revision=catalog_revision.c.revision + 1))
_CURRENCIES = Statement(select(currency_rate.c.currency))
_ALL = {
    table.name: Statement(select_all(table))
    for table in (country, state, price, rule, tax_rate, currency_rate)
}
_REGIONS = Statement(select_all(region).order_by(region.c.id))
_OFFERS = Statement(select_all(offer).order_by(offer.c.id))
_INSERT = {
    table.name: insert_into(table)
    for table in (country, state, region, price, rule, tax_rate, currency_rate, offer)
}
_DELETE = {
    table.name: Statement(delete(table)) for table in (country, state, price, rule, tax_rate, currency_rate)
}
_SAVE_REGION = update_rows(region, ("id",), *(column.name for column in region.c if column.name != "id"))


class CatalogQuestions(Questions):
    """The catalogue as rows."""

    async def find_catalog_revision(self) -> int:
        """The revision of the catalogue; it rises with every change."""
        rows = await self.connection.fetch(_READ_REVISION)
        return int(rows[0][0])

    async def lock_catalog(self) -> None:
        """Raise the revision and hold it: changes of the catalogue or the stock happen one after the other."""
        await self.connection.execute(_NEXT_REVISION)

    async def list_currencies(self) -> set[str]:
        """The currencies with a rate."""
        return {row[0] for row in await self.connection.fetch(_CURRENCIES)}

    async def load_catalog(self) -> CatalogRows:
        """Everything a catalogue is built from."""
        fetch = self.connection.fetch
        return CatalogRows(
            revision=await self.find_catalog_revision(),
            countries=[Country(*row) for row in await fetch(_ALL["country"])],
            states=[State(*row) for row in await fetch(_ALL["state"])],
            regions=[Region(*row) for row in await fetch(_REGIONS)],
            prices=[Price(*row) for row in await fetch(_ALL["price"])],
            rules=[_to_rule(tuple(row)) for row in await fetch(_ALL["rule"])],
            tax_ppm={row[0]: row[1] for row in await fetch(_ALL["tax_rate"])},
            per_usd_micros={row[0]: row[1] for row in await fetch(_ALL["currency_rate"])},
            offers=[Offer(*row) for row in await fetch(_OFFERS)],
        )

    async def replace_catalog(self, rows: CatalogRows) -> None:
        """Put another catalogue in place; regions are added or changed but never removed, offers are kept."""
        # Whoever changes the catalogue holds this row, so that changes happen one after the other.
        await self.lock_catalog()
        for statement in _DELETE.values():
            await self.connection.execute(statement)
        await self._insert(country.name, rows.countries)
        await self._insert(state.name, rows.states)
        await self._save_regions(rows.regions)
        await self._insert(price.name, rows.prices)
        await self._insert(rule.name, rows.rules)
        await self.connection.write_rows(
            (_INSERT[tax_rate.name], list(rows.tax_ppm.items())),
            (_INSERT[currency_rate.name], list(rows.per_usd_micros.items())),
        )

    async def insert_offers(self, offers: list[Offer]) -> None:
        """Add offers, which is a change of the catalogue too."""
        if offers:
            await self.lock_catalog()
            await self._insert(offer.name, offers)

    async def list_offers(self) -> list[Offer]:
        """Every offer, by id."""
        return [Offer(*row) for row in await self.connection.fetch(_OFFERS)]

    async def _save_regions(self, regions: list[Region]) -> None:
        known = {row[0]: Region(*row) for row in await self.connection.fetch(_REGIONS)}
        await self._insert(region.name, [found for found in regions if found.id not in known])
        changed = [found for found in regions if found.id in known and known[found.id] != found]
        await self.connection.write_rows((_SAVE_REGION, list(map(astuple, changed))))

    async def _insert(self, table: str, found: list[Any]) -> None:
        # The structs of `domain.catalog` list their fields in the order of their tables' columns.
        await self.connection.write_rows((_INSERT[table], list(map(astuple, found))))


def _to_rule(row: tuple[Any, ...]) -> Rule:
    """SQLite gives whole numbers for booleans."""
    country_code, category, region_id, can_list, can_buy, sms, address, demanded, sandbox, emergency = row
    return Rule(
        country=country_code,
        category=category,
        region_id=region_id,
        can_list=bool(can_list),
        can_buy_by_number=bool(can_buy),
        sms=bool(sms),
        regulation_address=address,
        verification=demanded,
        sandbox=bool(sandbox),
        emergency_calls=bool(emergency),
    )
