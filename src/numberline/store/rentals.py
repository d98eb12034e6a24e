"""Questions about what accounts rent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Final

import msgspec
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Text,
    and_,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import Select

from numberline.domain.clock import from_micros, to_micros
from numberline.domain.paging import Page
from numberline.domain.rental import Rental
from numberline.store.contract import Row
from numberline.store.questions import Questions, day
from numberline.store.schema import region, rental, verification
from numberline.store.statements import Statement, within


class RentalFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which live rentals to list; an absent filter lets everything pass, dates are inclusive on both ends.

    `template` is a prefix of the number. `region_ids` are the regions that fit what was asked for.
    """

    account_ids: list[int]
    numbers: list[int] | None = None
    template: str | None = None
    region_ids: list[int] | None = None
    countries: list[str] | None = None
    categories: list[str] | None = None
    is_canceled: bool | None = None
    is_frozen: bool | None = None
    auto_charge: bool | None = None
    renews_from: date | None = None
    renews_to: date | None = None
    purchased_from: datetime | None = None
    purchased_to: datetime | None = None
    verification_name: str | None = None
    verification_statuses: list[str] | None = None
    hold_from: date | None = None
    hold_to: date | None = None
    can_be_used: bool | None = None
    order_by: tuple[str, ...] = ()
    count: int = 100
    offset: int = 0


class ListedRental(msgspec.Struct, frozen=True):
    """A live rental with the state of the verification its number demands, None where it demands none."""

    rental: Rental
    verification_status: str | None


_status = case(
    (rental.c.verification == "", None),
    else_=func.coalesce(verification.c.status, literal("REQUIRED")),
)
_can_be_used = or_(rental.c.verification == "", func.coalesce(verification.c.status, "") == "VERIFIED")
_SOURCE = rental.join(region, region.c.id == rental.c.region_id).outerjoin(
    verification,
    and_(verification.c.account_id == rental.c.account_id, verification.c.name == rental.c.verification),
)

_ORDERS: Final[dict[str, ColumnElement[Any]]] = {
    "number": rental.c.number.asc(),
    "fee": rental.c.fee_micros.asc(),
    "country": region.c.country_code.asc(),
    "frozen": rental.c.is_frozen.desc(),
    "purchased": rental.c.purchased_at.desc(),
    "renews": rental.c.renews_on.asc(),
    "verification_status": func.coalesce(_status, "").asc(),
    "hold": func.coalesce(rental.c.unverified_until, "").asc(),
    "verification": rental.c.verification.asc(),
}


def _given(name: str, kind: Any, condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """The condition, unless its parameter is absent."""
    return or_(bindparam(name, type_=kind).is_(None), condition)


def _one_of(column: ColumnElement[Any], name: str, *, of_text: bool = False) -> ColumnElement[bool]:
    kind = ARRAY(Text if of_text else BigInteger)
    return _given(name, kind, within(column, name, of_text=of_text))


def _flag(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    return _given(name, Boolean, column == bindparam(name, type_=Boolean))


def _begins(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    start = bindparam(name, type_=Text)
    return func.substr(column.cast(Text), 1, func.length(start)) == start


def _span(column: ColumnElement[Any], name: str, kind: Any) -> list[ColumnElement[bool]]:
    first, last = f"{name}_from", f"{name}_to"
    return [
        _given(first, kind, column >= bindparam(first, type_=kind)),
        _given(last, kind, column <= bindparam(last, type_=kind)),
    ]


_WHERE = and_(
    within(rental.c.account_id, "account_ids"),
    rental.c.detached_at.is_(None),
    _one_of(rental.c.number, "numbers"),
    _given("template", Text, _begins(rental.c.number, "template")),
    _one_of(rental.c.region_id, "region_ids"),
    _one_of(region.c.country_code, "countries", of_text=True),
    _one_of(region.c.category, "categories", of_text=True),
    _flag(rental.c.is_canceled, "is_canceled"),
    _flag(rental.c.is_frozen, "is_frozen"),
    _flag(rental.c.auto_charge, "auto_charge"),
    *_span(rental.c.renews_on, "renews", Text),
    *_span(rental.c.purchased_at, "purchased", BigInteger),
    _given("verification_name", Text, rental.c.verification == bindparam("verification_name", type_=Text)),
    _one_of(_status, "verification_statuses", of_text=True),
    *_span(rental.c.unverified_until, "hold", Text),
    _flag(case((_can_be_used, True), else_=False), "can_be_used"),
)
_COUNT = Statement(select(func.count()).select_from(_SOURCE).where(_WHERE))
_OWNER = Statement(
    select(rental.c.account_id).where(rental.c.number == bindparam("number"), rental.c.detached_at.is_(None))
)


@lru_cache(maxsize=128)
def _listing(order_by: tuple[str, ...]) -> Statement:
    """The statement for one order; the number decides between equals, so that pages never overlap."""
    query: Select[Any] = select(*rental.c, _status).select_from(_SOURCE).where(_WHERE)
    orders = [_ORDERS[key] for key in order_by] or [rental.c.purchased_at.desc()]
    limits = bindparam("count", type_=BigInteger), bindparam("offset", type_=BigInteger)
    return Statement(query.order_by(*orders, rental.c.number).limit(limits[0]).offset(limits[1]))


class RentalQuestions(Questions):
    """Live rentals."""

    async def list_rentals(self, wanted: RentalFilter) -> Page[ListedRental]:
        """One page of the rentals that pass a filter, and how many do, as of one instant."""
        values = _values(wanted)
        questions = (_COUNT, values), (_listing(wanted.order_by), values)
        [[total]], rows = await self.connection.fetch_each(*questions)
        return Page([ListedRental(to_rental(row), row[-1]) for row in rows], total)

    async def find_owner(self, number: int) -> int | None:
        """The account that rents a number."""
        rows = await self.connection.fetch(_OWNER, {"number": number})
        return rows[0][0] if rows else None


def _values(wanted: RentalFilter) -> dict[str, Any]:
    values = msgspec.structs.asdict(wanted)
    for name in ("renews_from", "renews_to", "hold_from", "hold_to"):
        values[name] = None if values[name] is None else values[name].isoformat()
    for name in ("purchased_from", "purchased_to"):
        values[name] = None if values[name] is None else to_micros(values[name])
    return values


def to_rental(row: Row | Sequence[Any]) -> Rental:
    """Read the columns of the rental table."""
    return Rental(
        id=row[0],
        number=row[1],
        account_id=row[2],
        offer_id=row[3],
        region_id=row[4],
        purchased_at=from_micros(row[5]),
        renews_on=date.fromisoformat(row[6]),
        anchor_day=row[7],
        fee_micros=row[8],
        tax_micros=row[9],
        is_frozen=bool(row[10]),
        is_canceled=bool(row[11]),
        auto_charge=bool(row[12]),
        unverified_until=day(row[13]),
        verification=row[14],
        regulation_address_id=row[15],
        modified_at=from_micros(row[16]),
    )
