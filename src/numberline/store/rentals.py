"""Questions about what accounts rent.

A list is asked for by a statement of its own for what it is filtered and ordered by. The plain one, newest first, comes
straight from an index, and its length from the wallets: an account with a hundred thousand numbers gets a page as fast as
one with ten.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Final

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Text,
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
from numberline.store.schema import RENTED_NUMBERS, region, rental, verification, wallet
from numberline.store.statements import Statement, within


class RentalFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which live rentals to list; an absent filter lets everything pass, dates are inclusive on both ends.

    `account_ids` names one at least. `template` is a prefix of the number. `region_ids` are the regions that fit what was
    asked for.
    """

    account_ids: list[int]
    numbers: list[int] | None = None
    template: str | None = None
    region_ids: list[int] | None = None
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


# Of the few rows that are shown, not of all that are sorted.
_verification_status = (
    select(verification.c.status)
    .where(verification.c.account_id == rental.c.account_id, verification.c.name == rental.c.verification)
    .scalar_subquery()
)
_country = select(region.c.country_code).where(region.c.id == rental.c.region_id).scalar_subquery()
_status = case(
    (rental.c.verification == "", None),
    else_=func.coalesce(_verification_status, literal("REQUIRED")),
)
_can_be_used = or_(rental.c.verification == "", func.coalesce(_verification_status, "") == "VERIFIED")

_ORDERS: Final[dict[str, tuple[ColumnElement[Any], ...]]] = {
    "number": (rental.c.number.asc(),),
    "fee": (rental.c.fee_micros.asc(),),
    "country": (_country.asc(),),
    "frozen": (rental.c.is_frozen.desc(),),
    # The index on accounts, backwards: among the numbers of one purchase the highest comes first.
    "purchased": (rental.c.purchased_at.desc(), rental.c.number.desc()),
    "renews": (rental.c.renews_on.asc(),),
    "verification_status": (func.coalesce(_status, "").asc(),),
    "hold": (func.coalesce(rental.c.unverified_until, "").asc(),),
    "verification": (rental.c.verification.asc(),),
}
_WITHOUT_EQUALS: Final = {"number", "purchased"}


def _begins(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    start = bindparam(name, type_=Text)
    return func.substr(column.cast(Text), 1, func.length(start)) == start


def _flags(**columns: ColumnElement[Any]) -> dict[str, ColumnElement[bool]]:
    return {name: column == bindparam(name, type_=Boolean) for name, column in columns.items()}


def _spans(**columns: ColumnElement[Any]) -> dict[str, ColumnElement[bool]]:
    first = {f"{name}_from": column >= bindparam(f"{name}_from") for name, column in columns.items()}
    return first | {f"{name}_to": column <= bindparam(f"{name}_to") for name, column in columns.items()}


# What each filter that is given demands.
_CONDITIONS: Final[dict[str, ColumnElement[bool]]] = {
    "numbers": within(rental.c.number, "numbers"),
    "template": _begins(rental.c.number, "template"),
    "region_ids": within(rental.c.region_id, "region_ids"),
    "verification_name": rental.c.verification == bindparam("verification_name"),
    "verification_statuses": within(_status, "verification_statuses", of_text=True),
    **_flags(
        is_canceled=rental.c.is_canceled,
        is_frozen=rental.c.is_frozen,
        auto_charge=rental.c.auto_charge,
        can_be_used=case((_can_be_used, True), else_=False),
    ),
    **_spans(renews=rental.c.renews_on, purchased=rental.c.purchased_at, hold=rental.c.unverified_until),
}
_TOTAL = Statement(
    select(func.coalesce(func.sum(wallet.c.rental_count), 0)).where(
        within(wallet.c.account_id, "account_ids")
    )
)
_OWNER = Statement(
    select(rental.c.account_id).where(rental.c.number == bindparam("number"), rental.c.detached_at.is_(None))
)


class _Shape(msgspec.Struct, frozen=True):
    """What the statements for a filter depend on: which conditions are given, and whether one account is asked about.

    Rows of one account come from the index in its order, those of several do not.
    """

    given: tuple[str, ...]
    is_of_one: bool

    def where(self) -> list[ColumnElement[bool]]:
        whose = (
            rental.c.account_id == bindparam("account_id")
            if self.is_of_one
            else within(rental.c.account_id, "account_ids")
        )
        return [whose, rental.c.detached_at.is_(None), *(_CONDITIONS[name] for name in self.given)]


@lru_cache(maxsize=128)
def _counting(shape: _Shape) -> Statement:
    """The statement that counts all that fits; wallets know how many rentals there are in all."""
    if not shape.given:
        return _TOTAL
    return _statement(shape, select(func.count()).select_from(rental).where(*shape.where()))


@lru_cache(maxsize=128)
def _listing(shape: _Shape, order_by: tuple[str, ...]) -> Statement:
    """The statement for one page in one order."""
    query: Select[Any] = select(*rental.c, _status).where(*shape.where()).order_by(*_columns(order_by))
    limits = bindparam("count", type_=BigInteger), bindparam("offset", type_=BigInteger)
    return _statement(shape, query.limit(limits[0]).offset(limits[1]))


def _statement(shape: _Shape, query: Select[Any]) -> Statement:
    # SQLite would go through all that an account rents for the one number that is asked about.
    return Statement(query, sqlite_index=RENTED_NUMBERS if "numbers" in shape.given else None)


def _columns(order_by: tuple[str, ...]) -> list[ColumnElement[Any]]:
    """What to sort by, up to what decides between all; in the end the number does, so that pages never overlap."""
    columns: list[ColumnElement[Any]] = []
    for key in (*order_by, "number") if order_by else ("purchased",):
        columns += _ORDERS[key]
        if key in _WITHOUT_EQUALS:
            break
    return columns


class RentalQuestions(Questions):
    """Live rentals."""

    async def list_rentals(self, wanted: RentalFilter) -> Page[ListedRental]:
        """One page of the rentals that pass a filter, and how many do, as of one instant."""
        values = _values(wanted)
        shape = _Shape(
            tuple(name for name in _CONDITIONS if values[name] is not None), len(wanted.account_ids) == 1
        )
        questions = (_counting(shape), values), (_listing(shape, wanted.order_by), values)
        [[total]], rows = await self.connection.fetch_each(*questions)
        return Page([ListedRental(to_rental(row), row[-1]) for row in rows], total)

    async def find_owner(self, number: int) -> int | None:
        """The account that rents a number."""
        rows = await self.connection.fetch(_OWNER, {"number": number})
        return rows[0][0] if rows else None


def _values(wanted: RentalFilter) -> dict[str, Any]:
    values = msgspec.structs.asdict(wanted) | {"account_id": wanted.account_ids[0]}
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
