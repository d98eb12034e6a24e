"""The auditor: proves, on a live or restored store, that stock, rentals, holds, postings and answers agree.

One pass over one snapshot. Every check is put in terms independent of the code that writes: sums are recomputed,
bit maps are compared with the rentals number by number, and the constraints are looked up in the engine's catalogue.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import groupby
from typing import Any, Final

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    and_,
    bindparam,
    case,
    cast,
    func,
    or_,
    select,
    text,
)
from sqlalchemy.sql import Executable
from sqlalchemy.sql.elements import ColumnElement

from numberline.domain.blocks import is_packed, unpack
from numberline.domain.phone import BLOCK_SIZE, block_of, ending_of
from numberline.store.contract import Connection, Row, Store
from numberline.store.schema import (
    ACCESS_TRIGGERS,
    account,
    block,
    charge,
    idempotency,
    metadata,
    movement,
    offer,
    posting,
    rental,
    wallet,
)
from numberline.store.statements import Statement
from numberline.store.transaction import Transaction

PAGE: Final = 5_000
FINDINGS_MAX: Final = 1_000


class Finding(msgspec.Struct, frozen=True):
    """One disagreement: which check found it, in what, and what does not agree."""

    check: str
    subject: str
    message: str


class AuditReport(msgspec.Struct, frozen=True):
    """What an audit looked at and what it found, `FINDINGS_MAX` findings at most."""

    findings: list[Finding]
    counts: dict[str, int]

    @property
    def is_clean(self) -> bool:
        """Tell whether everything agrees."""
        return not self.findings


async def audit(store: Store) -> AuditReport:
    """Audit a store; raises only when it cannot be read."""
    return await store.read(_audit, snapshot=True)


async def _audit(ask: Transaction) -> AuditReport:
    connection, counts = ask.connection, Counter[str]()
    findings: list[Finding] = []
    for name, statement in _COUNTED.items():
        counts[name] = int((await connection.fetch(statement))[0][0])
    async for found in _all_checks(connection, counts):
        findings.append(found)
        if len(findings) == FINDINGS_MAX:
            break
    return AuditReport(findings, dict(counts))


async def _all_checks(connection: Connection, counts: Counter[str]) -> AsyncIterator[Finding]:
    for check in _CHECKS:
        for row in await connection.fetch(check.statement):
            yield Finding(check.name, check.subject.format(*row), check.message.format(*row))
    async for found in _check_stock(connection, counts):
        yield found
    async for found in _check_answers(connection):
        yield found
    for found in await _check_constraints(connection):
        yield found


# --- checks that are one statement each: every row it returns is a finding -------------------------------------


class _Check:
    def __init__(self, name: str, subject: str, message: str, query: Executable) -> None:
        self.name, self.subject, self.message = name, subject, message
        self.statement = Statement(query)


def _sum(column: ColumnElement[Any]) -> ColumnElement[int]:
    return cast(func.coalesce(func.sum(column), 0), BigInteger)


_COUNTED: Final = {
    table.name: Statement(select(func.count()).select_from(table))
    for table in (account, block, rental, movement, posting, charge, idempotency)
}

_posted = (
    select(
        movement.c.account_id,
        _sum(case((posting.c.book == "funds", posting.c.amount_micros), else_=0)).label("funds"),
        _sum(case((posting.c.book == "held", posting.c.amount_micros), else_=0)).label("held"),
    )
    .select_from(movement.join(posting, posting.c.movement_id == movement.c.id))
    .group_by(movement.c.account_id)
    .subquery()
)
_charged = (
    select(charge.c.account_id, _sum(charge.c.fee_micros + charge.c.tax_micros).label("held"))
    .where(charge.c.status == "held")
    .group_by(charge.c.account_id)
    .subquery()
)
_live = (
    select(rental.c.account_id, func.count().label("live"))
    .where(rental.c.detached_at.is_(None))
    .group_by(rental.c.account_id)
    .subquery()
)
_paid_by_rental = (
    select(
        posting.c.rental_id,
        _sum(case((posting.c.book == "held", posting.c.amount_micros), else_=0)).label("held"),
        _sum(
            case(
                (
                    and_(
                        posting.c.book == "funds",
                        or_(posting.c.purpose == "month", posting.c.purpose == "month_tax"),
                    ),
                    -posting.c.amount_micros,
                ),
                else_=0,
            )
        ).label("months"),
    )
    .where(posting.c.rental_id.is_not(None))
    .group_by(posting.c.rental_id)
    .subquery()
)
_charged_by_rental = (
    select(
        charge.c.rental_id,
        _sum(case((charge.c.status == "held", charge.c.fee_micros + charge.c.tax_micros), else_=0)).label(
            "held"
        ),
        _sum(case((charge.c.status != "voided", charge.c.fee_micros + charge.c.tax_micros), else_=0)).label(
            "months"
        ),
    )
    .group_by(charge.c.rental_id)
    .subquery()
)

_other = charge.alias("other")


def _parentless(
    name: str, subject: str, child: Column[Any], parent: Table, shown: Column[Any] | None = None
) -> _Check:
    """Rows whose `child` column names no row of `parent`, a reference that the engines are not told of."""
    return _Check(
        name,
        subject,
        f"its {parent.name} {{1}} does not exist",
        select(child.table.c.id if shown is None else shown, child)
        .select_from(child.table.outerjoin(parent, parent.c.id == child))
        .where(parent.c.id.is_(None)),
    )


_CHECKS: Final = (
    _parentless("rental has its account", "rental {0}", rental.c.account_id, account),
    _parentless("rental has its offer", "rental {0}", rental.c.offer_id, offer),
    _parentless("movement has its account", "movement {0}", movement.c.account_id, account),
    _parentless(
        "posting has its movement", "posting {0}", posting.c.movement_id, movement, posting.c.position
    ),
    # That its account is the renter's is checked below, as is that an answer's account is its movement's.
    _parentless("charge has its rental", "charge of {0}", charge.c.rental_id, rental, charge.c.period_on),
    _Check(
        "movement balances",
        "movement {0}",
        "its postings sum to {1}, not to zero",
        select(posting.c.movement_id, _sum(posting.c.amount_micros))
        .group_by(posting.c.movement_id)
        .having(func.sum(posting.c.amount_micros) != 0),
    ),
    _Check(
        "movement currency",
        "movement {0}",
        "it is in {1}, its account in {2}",
        select(movement.c.id, movement.c.currency, account.c.currency)
        .select_from(movement.join(account, account.c.id == movement.c.account_id))
        .where(movement.c.currency != account.c.currency),
    ),
    _Check(
        "account has a wallet",
        "account {0}",
        "it has no wallet",
        select(account.c.id)
        .select_from(account.outerjoin(wallet, wallet.c.account_id == account.c.id))
        .where(wallet.c.account_id.is_(None)),
    ),
    _Check(
        "wallet equals postings",
        "account {0}",
        "wallet: funds {1}, held {2}; postings: funds {3}, held {4}",
        select(
            wallet.c.account_id,
            wallet.c.funds_micros,
            wallet.c.held_micros,
            func.coalesce(_posted.c.funds, 0),
            func.coalesce(_posted.c.held, 0),
        )
        .select_from(wallet.outerjoin(_posted, _posted.c.account_id == wallet.c.account_id))
        .where(
            or_(
                wallet.c.funds_micros != func.coalesce(_posted.c.funds, 0),
                wallet.c.held_micros != func.coalesce(_posted.c.held, 0),
            )
        ),
    ),
    _Check(
        "wallet equals held charges",
        "account {0}",
        "wallet holds {1}, its held charges come to {2}",
        select(wallet.c.account_id, wallet.c.held_micros, func.coalesce(_charged.c.held, 0))
        .select_from(wallet.outerjoin(_charged, _charged.c.account_id == wallet.c.account_id))
        .where(wallet.c.held_micros != func.coalesce(_charged.c.held, 0)),
    ),
    _Check(
        "wallet within its limit",
        "account {0}",
        "funds {1} with a credit limit of {2}",
        select(wallet.c.account_id, wallet.c.funds_micros, wallet.c.credit_limit_micros).where(
            wallet.c.funds_micros + wallet.c.credit_limit_micros < 0
        ),
    ),
    _Check(
        "wallet counts rentals",
        "account {0}",
        "it counts {1} rentals and has {2}",
        select(wallet.c.account_id, wallet.c.rental_count, func.coalesce(_live.c.live, 0))
        .select_from(wallet.outerjoin(_live, _live.c.account_id == wallet.c.account_id))
        .where(wallet.c.rental_count != func.coalesce(_live.c.live, 0)),
    ),
    _Check(
        "one owner",
        "number {0}",
        "it has {1} live rentals",
        select(rental.c.number, func.count())
        .where(rental.c.detached_at.is_(None))
        .group_by(rental.c.number)
        .having(func.count() > 1),
    ),
    _Check(
        "rental was charged",
        "rental {0}",
        "it has no charge",
        select(rental.c.id)
        .select_from(rental.outerjoin(charge, charge.c.rental_id == rental.c.id))
        .where(charge.c.rental_id.is_(None)),
    ),
    _Check(
        "charge belongs to the renter",
        "rental {0}",
        "account {1} is charged for what account {2} rents",
        select(rental.c.id, charge.c.account_id, rental.c.account_id)
        .select_from(charge.join(rental, rental.c.id == charge.c.rental_id))
        .where(charge.c.account_id != rental.c.account_id),
    ),
    _Check(
        "charges equal postings",
        "rental {0}",
        "charges: {1} held, {2} for months; postings: {3} held, {4} for months",
        select(
            _charged_by_rental.c.rental_id,
            _charged_by_rental.c.held,
            _charged_by_rental.c.months,
            func.coalesce(_paid_by_rental.c.held, 0),
            func.coalesce(_paid_by_rental.c.months, 0),
        )
        .select_from(
            _charged_by_rental.outerjoin(
                _paid_by_rental, _paid_by_rental.c.rental_id == _charged_by_rental.c.rental_id
            )
        )
        .where(
            or_(
                _charged_by_rental.c.held != func.coalesce(_paid_by_rental.c.held, 0),
                _charged_by_rental.c.months != func.coalesce(_paid_by_rental.c.months, 0),
            )
        ),
    ),
    _Check(
        "posting names a rental",
        "movement {0}",
        "a posting names rental {1}, which does not exist",
        select(posting.c.movement_id, posting.c.rental_id)
        .select_from(posting.outerjoin(rental, rental.c.id == posting.c.rental_id))
        .where(posting.c.rental_id.is_not(None), rental.c.id.is_(None)),
    ),
    _Check(
        "answer has its effect",
        "account {0}, key {1}",
        "the movement that it answers for does not exist",
        select(idempotency.c.account_id, idempotency.c.key)
        .select_from(
            idempotency.outerjoin(
                movement,
                and_(
                    movement.c.id == idempotency.c.movement_id,
                    movement.c.account_id == idempotency.c.account_id,
                ),
            )
        )
        .where(movement.c.id.is_(None)),
    ),
    _Check(
        "the renter pays",
        "movement {0}",
        "account {1} paid for rental {2} of account {3}",
        select(movement.c.id, movement.c.account_id, rental.c.id, rental.c.account_id)
        .select_from(
            posting.join(movement, movement.c.id == posting.c.movement_id).join(
                rental, rental.c.id == posting.c.rental_id
            )
        )
        .where(movement.c.account_id != rental.c.account_id)
        .distinct(),
    ),
    _Check(
        "rental lies in its offer's region",
        "rental {0}",
        "it says region {1}, its offer is of region {2}",
        select(rental.c.id, rental.c.region_id, offer.c.region_id)
        .select_from(rental.join(offer, offer.c.id == rental.c.offer_id))
        .where(rental.c.region_id != offer.c.region_id),
    ),
    _Check(
        "rental costs what it was charged",
        "rental {0}",
        "fee {1} and tax {2}, its first charge {3} and {4}",
        select(
            rental.c.id, rental.c.fee_micros, rental.c.tax_micros, charge.c.fee_micros, charge.c.tax_micros
        )
        .select_from(rental.join(charge, charge.c.rental_id == rental.c.id))
        .where(
            charge.c.period_on
            == select(func.min(_other.c.period_on)).where(_other.c.rental_id == rental.c.id).scalar_subquery()
        )
        .where(or_(rental.c.fee_micros != charge.c.fee_micros, rental.c.tax_micros != charge.c.tax_micros)),
    ),
)

# --- stock: bit maps against rentals, page by page -------------------------------------------------------------

_BLOCK_PAGE = Statement(
    select(block)
    .where(
        or_(
            block.c.prefix > bindparam("after"),
            and_(block.c.prefix == bindparam("after"), block.c.offer_id > bindparam("after_offer")),
        )
    )
    .order_by(block.c.prefix, block.c.offer_id)
    .limit(bindparam("at_most", type_=BigInteger))
)
_RENTED_BETWEEN = Statement(
    select(rental.c.number, rental.c.offer_id)
    .where(rental.c.number >= bindparam("first"), rental.c.number <= bindparam("last"))
    .where(rental.c.detached_at.is_(None))
)
_RENTED = Statement(select(func.count()).select_from(rental).where(rental.c.detached_at.is_(None)))


async def _check_stock(connection: Connection, counts: Counter[str]) -> AsyncIterator[Finding]:
    """Compare every block with the rentals of its numbers; every live rental must lie in a block."""
    seen = 0
    async for rows in _thousands(connection):
        first, last = rows[0][1] * BLOCK_SIZE, rows[-1][1] * BLOCK_SIZE + BLOCK_SIZE - 1
        rented = await connection.fetch(_RENTED_BETWEEN, {"first": first, "last": last})
        taken: dict[tuple[int, int], list[int]] = {}
        for number, offer_id in rented:
            taken.setdefault((offer_id, block_of(number)), []).append(number)
        for _, sharing in groupby(rows, key=lambda row: row[1]):
            for found in _check_thousand(list(sharing), taken, counts):
                yield found
        seen += sum(len(taken.get((row[0], row[1]), ())) for row in rows)
    live = int((await connection.fetch(_RENTED))[0][0])
    if live != seen:
        yield Finding("rental lies in a block", "stock", f"{live} live rentals, {seen} of them within blocks")


async def _thousands(connection: Connection) -> AsyncIterator[list[Row]]:
    """All blocks by rising prefix, in pages that never part the blocks of one thousand."""
    after, after_offer = -1, 0
    rest: list[Row] = []
    while True:
        page = list(
            await connection.fetch(_BLOCK_PAGE, {"after": after, "after_offer": after_offer, "at_most": PAGE})
        )
        rows = rest + page
        if not page:
            break
        after, after_offer = page[-1][1], page[-1][0]
        rest = [row for row in rows if row[1] == after]
        if whole := rows[: len(rows) - len(rest)]:
            yield whole
    if rest:
        yield rest


def _check_thousand(
    rows: list[Row], taken: dict[tuple[int, int], list[int]], counts: Counter[str]
) -> Iterator[Finding]:
    together = 0
    for offer_id, prefix, stocked_count, free_count, free_map, is_open in rows:
        subject = f"block {prefix} of offer {offer_id}"
        rented = taken.get((offer_id, prefix), [])
        counts["numbers stocked"] += stocked_count
        counts["numbers free"] += free_count
        if not is_packed(free_map):
            yield Finding("map can be read", subject, "its map is none that is ever kept")
            continue
        bits = unpack(free_map)
        yield from _check_block(subject, bits, stocked_count, free_count, bool(is_open), rented)
        if together & bits:
            yield Finding("blocks are disjoint", subject, "another offer sells some of its numbers too")
        together |= bits
    numbers = [number for row in rows for number in taken.get((row[0], row[1]), [])]
    for number in numbers:
        if together >> ending_of(number) & 1:
            yield Finding("sold is not free", f"number {number}", "it is rented and for sale at once")


def _check_block(
    subject: str, bits: int, stocked: int, free: int, is_open: bool, rented: list[int]
) -> Iterable[Finding]:
    if bits.bit_count() != free:
        yield Finding("count equals map", subject, f"free_count is {free}, the map has {bits.bit_count()}")
    if is_open != (free > 0):
        yield Finding("open while stocked", subject, f"is_open is {is_open} with {free} free")
    if stocked != free + len(rented):
        yield Finding("stock adds up", subject, f"{stocked} stocked, {free} free and {len(rented)} rented")


# --- answers ---------------------------------------------------------------------------------------------------

_ANSWER_PAGE = Statement(
    select(idempotency.c.account_id, idempotency.c.method, idempotency.c.key)
    .add_columns(idempotency.c.fingerprint, idempotency.c.answer)
    .order_by(idempotency.c.account_id, idempotency.c.method, idempotency.c.key)
    .limit(bindparam("at_most", type_=BigInteger))
    .offset(bindparam("skip", type_=BigInteger))
)
_FINGERPRINT_BYTES: Final = 32


async def _check_answers(connection: Connection) -> AsyncIterator[Finding]:
    """Every kept answer is a success that could be sent again."""
    skip = 0
    while page := await connection.fetch(_ANSWER_PAGE, {"at_most": PAGE, "skip": skip}):
        skip += len(page)
        for account_id, method, key, fingerprint, answer in page:
            if len(fingerprint) != _FINGERPRINT_BYTES or not _is_success(bytes(answer)):
                subject = f"account {account_id}, {method}, key {key}"
                yield Finding("answer can be repeated", subject, "what is kept is no successful answer")


def _is_success(answer: bytes) -> bool:
    try:
        decoded = msgspec.json.decode(answer)
    except msgspec.DecodeError:
        return False
    return isinstance(decoded, dict) and "result" in decoded and "error" not in decoded


# --- constraints -----------------------------------------------------------------------------------------------

_SQLITE_SCHEMA = Statement(text("SELECT name, tbl_name, coalesce(sql, '') FROM sqlite_master"))
_SQLITE_INTEGRITY = Statement(text("PRAGMA quick_check"))
_SQLITE_FOREIGN = Statement(text("PRAGMA foreign_key_check"))
_POSTGRES_NAMES = Statement(
    text(
        "SELECT conname, contype IN ('p', 'u') FROM pg_constraint"
        " WHERE convalidated AND connamespace = current_schema()::regnamespace"
        " UNION ALL SELECT c.relname, i.indisunique FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " WHERE i.indisvalid AND c.relnamespace = current_schema()::regnamespace"
        " UNION ALL SELECT t.tgname, FALSE FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
        " WHERE t.tgenabled IN ('O', 'A') AND c.relnamespace = current_schema()::regnamespace"
    )
)


async def _check_constraints(connection: Connection) -> list[Finding]:
    """The constraints and triggers that everything rests on are in force."""
    wanted = _constraints()
    if connection.engine == "postgres":
        rows = await connection.fetch(_POSTGRES_NAMES)
        found = {(row[0], bool(row[1])) for row in rows}
        return [_missing(name) for name, is_unique in wanted if (name, is_unique) not in found]
    schema = [tuple(row) for row in await connection.fetch(_SQLITE_SCHEMA)]
    findings = [_missing(name) for name, is_unique in wanted if not _has(schema, name, is_unique)]
    for (message,) in await connection.fetch(_SQLITE_INTEGRITY):
        if message != "ok":
            findings.append(Finding("file is sound", "database", message))
    for table, row_id, parent, _ in await connection.fetch(_SQLITE_FOREIGN):
        # Rows of a table without row ids cannot be named.
        subject = f"{table} row {row_id}" if row_id is not None else f"a row of {table}"
        findings.append(Finding("references hold", subject, f"its {parent} does not exist"))
    return findings


def _constraints() -> list[tuple[str, bool]]:
    """The names of all constraints, indexes and triggers, and whether they forbid doubles."""
    tables = metadata.tables.values()
    of_tables = {
        (str(one.name), isinstance(one, PrimaryKeyConstraint | UniqueConstraint))
        for table in tables
        for one in table.constraints
    }
    of_tables |= {(str(one.name), one.unique) for table in tables for one in table.indexes}
    return sorted(of_tables | {(name, False) for name in ACCESS_TRIGGERS})


def _has(schema: list[tuple[str, str, str]], name: str, is_unique: bool) -> bool:
    """Tell whether SQLite's own record of the schema has a constraint, or an index of the right sort."""
    for subject, _, sql in schema:
        if subject == name:
            return sql.startswith("CREATE UNIQUE INDEX") == is_unique
        if sql.startswith("CREATE TABLE") and re.search(rf"\bCONSTRAINT {name}\b", sql):
            return True
    return False


def _missing(name: str) -> Finding:
    return Finding("constraint is in force", name, "the store lacks it")
