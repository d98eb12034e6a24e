"""The catalogue: what kinds of numbers exist where, under which rules and at what price.

A `Catalog` is an immutable snapshot, built from the store's rows and replaced whole when its revision moves on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from numberline.domain import errors
from numberline.domain.errors import Refusal
from numberline.domain.money import MICROS_PER_UNIT

if TYPE_CHECKING:
    from numberline.domain.attach import AttachOrder, Plan
    from numberline.domain.pricing import Quote

ANY: Final = "*"
ANY_REGION: Final = 0


class Category(msgspec.Struct, frozen=True):
    """A kind of numbers, with its names for people."""

    code: str
    name_en: str
    name_ru: str


CATEGORIES: Final[Mapping[str, Category]] = {
    category.code: category
    for category in (
        Category("GEOGRAPHIC", "Geographic", "Географический"),
        Category("MOBILE", "Mobile", "Мобильный"),
        Category("TOLLFREE", "Toll-free", "Бесплатный вызов"),
        Category("NATIONAL", "National", "Национальный"),
        Category("MOSCOW495", "Moscow 495", "Москва 495"),
    )
}
# Spellings in circulation that mean a category of ours.
_ALIASES: Final = {"LOCAL": "GEOGRAPHIC"}


class Country(msgspec.Struct, frozen=True):
    """A country and the calling code its numbers begin with."""

    code: str
    calling_code: str
    name_en: str
    name_ru: str


class State(msgspec.Struct, frozen=True):
    """A state of a country whose geographic numbers are sold by state."""

    country: str
    code: str
    name: str


class Region(msgspec.Struct, frozen=True):
    """A place, or a whole country, whose numbers of one category are sold together."""

    id: int
    country: str
    category: str
    state: str
    area_code: str
    name_en: str
    name_ru: str


class Price(msgspec.Struct, frozen=True):
    """A list price without tax, in micros of `currency`; wildcards as in `Rule`."""

    country: str
    category: str
    region_id: int
    tier: str
    currency: str
    monthly_micros: int
    setup_micros: int


class Rule(msgspec.Struct, frozen=True):
    """How numbers may be sold: `*` and region 0 stand for any; the most specific rule of a region counts."""

    country: str = ANY
    category: str = ANY
    region_id: int = ANY_REGION
    can_list: bool = True
    can_buy_by_number: bool = True
    sms: bool = False
    regulation_address: str = ""
    verification: str = ""
    sandbox: bool = False
    emergency_calls: bool = False


class Offer(msgspec.Struct, frozen=True):
    """Stock of one region at one price tier; blocks belong to offers."""

    id: int
    region_id: int
    tier: str


DEFAULT_RULE: Final = Rule()


class CatalogRows(msgspec.Struct, frozen=True):
    """Everything a catalogue is built from."""

    revision: int
    countries: list[Country]
    states: list[State]
    regions: list[Region]
    prices: list[Price]
    rules: list[Rule]
    tax_ppm: dict[str, int]
    per_usd_micros: dict[str, int]
    offers: list[Offer]


class Catalog:
    """A snapshot of the catalogue with the look-ups that selling needs."""

    def __init__(self, rows: CatalogRows) -> None:
        self.revision = rows.revision
        self.countries = {country.code: country for country in rows.countries}
        self.regions = {region.id: region for region in rows.regions}
        self.offers = {offer.id: offer for offer in rows.offers}
        self.tax_ppm = rows.tax_ppm
        self.per_usd_micros = rows.per_usd_micros
        self._states: dict[str, dict[str, State]] = {}
        for state in rows.states:
            self._states.setdefault(state.country, {})[state.code] = state
        self._positions: dict[tuple[str, str], list[Region]] = {}
        for region in rows.regions:
            self._positions.setdefault((region.country, region.category), []).append(region)
        self._categories: dict[str, list[str]] = {}
        for country, category in self._positions:
            self._categories.setdefault(country, []).append(category)
        self._rules = {(rule.country, rule.category, rule.region_id): rule for rule in rows.rules}
        self._prices = {
            (price.country, price.category, price.region_id, price.tier): price for price in rows.prices
        }
        # What was worked out once holds as long as the snapshot does.
        self._rule_of: dict[int, Rule] = {}
        self._price_of: dict[tuple[int, str], Price | None] = {}
        self.quotes: dict[tuple[int, str, str, str], Quote] = {}
        self.plans: dict[tuple[AttachOrder, int], Plan] = {}
        self._offers_of: dict[int, list[Offer]] = {}
        for offer in sorted(rows.offers, key=self._offer_rank):
            self._offers_of.setdefault(offer.region_id, []).append(offer)
        self._offer_ids_of = {
            region_id: tuple(offer.id for offer in offers) for region_id, offers in self._offers_of.items()
        }

    # --- resolving what a request names; each refuses with the code of its own parameter ---

    def country(self, code: str) -> Country:
        """The country of an ISO code, in any case; refuses an unknown one."""
        found = self.countries.get(code.strip().upper())
        if found is None or found.code not in self._categories:
            raise Refusal(errors.INVALID_COUNTRY)
        return found

    def category(self, country: Country, name: str) -> str:
        """The category of a country by any of its spellings; refuses one the country lacks."""
        code = canonical_category(name)
        if (country.code, code) not in self._positions:
            raise Refusal(errors.INVALID_CATEGORY)
        return code

    def state(self, country: Country, code: str | None) -> str | None:
        """The state of a country by its code, in any case; refuses one the country lacks."""
        if code is None:
            return None
        found = self._states.get(country.code, {}).get(code.strip().upper())
        if found is None:
            raise Refusal(errors.INVALID_STATE)
        return found.code

    def region(self, country: Country, category: str, state: str | None, region_id: int) -> Region:
        """The region of an id, if it lies in the country, category and state; refuses another one."""
        found = self.regions.get(region_id)
        if found is None or (found.country, found.category) != (country.code, category):
            raise Refusal(errors.INVALID_REGION)
        if state is not None and found.state != state:
            raise Refusal(errors.INVALID_STATE)
        return found

    # --- browsing ---

    def categories_of(self, country: str) -> list[str]:
        """The categories a country has regions of, in the order of `CATEGORIES`."""
        held = self._categories.get(country, [])
        return [code for code in CATEGORIES if code in held]

    def states_of(self, country: str) -> list[State]:
        """The states of a country by name; empty where it is not sold by state."""
        return sorted(self._states.get(country, {}).values(), key=lambda state: state.name)

    def has_states(self, country: str, category: str) -> bool:
        """Tell whether regions of the position are looked up by state."""
        return any(region.state for region in self._positions.get((country, category), ()))

    def regions_of(self, country: str, category: str) -> list[Region]:
        """The regions of a country and category."""
        return self._positions.get((country, category), [])

    # --- selling ---

    def rule(self, region: Region) -> Rule:
        """The most specific rule for a region."""
        known = self._rule_of.get(region.id)
        if known is None:
            found = (self._rules.get(key) for key in _specific_first(region))
            known = self._rule_of[region.id] = next(filter(None, found), DEFAULT_RULE)
        return known

    def position_rule(self, country: str, category: str) -> Rule:
        """The most specific rule for a whole category of a country."""
        for key in ((country, category, ANY_REGION), (country, ANY, ANY_REGION), (ANY, category, ANY_REGION)):
            if (found := self._rules.get(key)) is not None:
                return found
        return self._rules.get((ANY, ANY, ANY_REGION), DEFAULT_RULE)

    def price(self, region: Region, tier: str = "") -> Price | None:
        """The most specific list price of a tier in a region, or None."""
        place = region.id, tier
        if place not in self._price_of:
            found = (self._prices.get((*key, tier)) for key in _specific_first(region))
            self._price_of[place] = next(filter(None, found), None)
        return self._price_of[place]

    def offers_of(self, region_id: int) -> list[Offer]:
        """The offers of a region, cheapest first."""
        return self._offers_of.get(region_id, [])

    def offer_ids_of(self, region_id: int) -> tuple[int, ...]:
        """The ids of the offers that a buyer by count is served from, cheapest first."""
        return self._offer_ids_of.get(region_id, ())

    def first_price(self, region: Region) -> Price | None:
        """The list price of a region's cheapest offer, or of its ordinary tier where there is none."""
        offers = self.offers_of(region.id)
        return self.price(region, offers[0].tier if offers else "")

    def _offer_rank(self, offer: Offer) -> tuple[bool, bool, int, int]:
        """Cheapest first, compared in dollars; without a rate after the others, without a price last."""
        region = self.regions.get(offer.region_id)
        found = self.price(region, offer.tier) if region else None
        if found is None:
            return (True, True, 0, offer.id)
        rate, cost = self.per_usd_micros.get(found.currency), found.monthly_micros + found.setup_micros
        return (False, rate is None, cost * MICROS_PER_UNIT // rate if rate else cost, offer.id)


def canonical_category(name: str) -> str:
    """The code of a category by any spelling; unknown names come back as given, in capitals."""
    code = name.strip().upper()
    return _ALIASES.get(code, code)


def _specific_first(region: Region) -> Iterable[tuple[str, str, int]]:
    yield (region.country, region.category, region.id)
    yield (region.country, region.category, ANY_REGION)
    yield (region.country, ANY, ANY_REGION)
    yield (ANY, region.category, ANY_REGION)
    yield (ANY, ANY, ANY_REGION)
