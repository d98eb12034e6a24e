"""Questions about the stock: searching it, counting it, adding to it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    BigInteger,
    LargeBinary,
    and_,
    bindparam,
    cast,
    func,
    insert,
    literal,
    null,
    select,
    true,
)
from sqlalchemy.sql.elements import ColumnElement

from numberline.domain.blocks import Block, pack, unpack
from numberline.domain.phone import BLOCK_SIZE
from numberline.store.contract import Question, Row
from numberline.store.questions import Questions
from numberline.store.schema import OPEN_BLOCKS, block, offer, rental
from numberline.store.statements import Statement, insert_into, update_rows, within

BLOCK_COLUMNS = (
    block.c.offer_id,
    block.c.prefix,
    block.c.stocked_count,
    block.c.free_map,
    block.c.free_count,
)

_FREE_COUNTS = Statement(
    select(block.c.offer_id, cast(func.sum(block.c.free_count), BigInteger))
    .where(within(block.c.offer_id, "offer_ids"), block.c.is_open)
    .group_by(block.c.offer_id)
)
# For one offer a plain sum, which takes half as long as one by groups.
_FREE_COUNT = Statement(
    select(cast(func.sum(block.c.free_count), BigInteger)).where(
        block.c.offer_id == bindparam("offer"), block.c.is_open
    )
)
# Of one offer at a time: PostgreSQL, which plans before it knows the values, would answer for a list of offers by
# reading everybody's blocks between the prefixes, and for one it takes the index that knows both.
_open = and_(
    block.c.offer_id == bindparam("offer"),
    block.c.is_open,
    block.c.prefix.between(bindparam("first"), bindparam("last")),
)
_million = (block.c.prefix // BLOCK_SIZE).label("million")
_MILLIONS = Statement(
    select(
        _million,
        cast(func.sum(block.c.free_count), BigInteger),
        func.count(),
        func.count().filter(block.c.free_map.is_(None)),
    )
    .where(_open)
    .group_by(_million)
)
_ALL_KEPT = Statement(select(block.c.prefix, block.c.free_count, block.c.free_map).where(_open))
_STARTED_KEPT = Statement(
    select(block.c.prefix, block.c.free_count, block.c.free_map).where(_open, block.c.free_map.is_not(None))
)
_FIRST_KEPT = Statement(
    select(block.c.prefix, block.c.offer_id, block.c.free_count, block.c.free_map)
    .where(_open)
    .order_by(block.c.prefix)
    .limit(bindparam("at_most", type_=BigInteger))
)


_LAST_OPEN = Statement(
    select(block.c.prefix, block.c.free_count)
    .where(block.c.offer_id == bindparam("offer"), block.c.is_open)
    .order_by(block.c.prefix.desc())
    .limit(bindparam("at_most", type_=BigInteger)),
    sqlite_index=OPEN_BLOCKS,
)


def _end_of(offer_id: ColumnElement[int], end: ColumnElement[int]) -> ColumnElement[int]:
    """The first prefix of an offer's open blocks in an order, found with one step into an index."""
    found = select(block.c.prefix).where(block.c.offer_id == offer_id, block.c.is_open).order_by(end).limit(1)
    return found.correlate(offer).scalar_subquery()


_ENDS = Statement(
    select(_end_of(offer.c.id, block.c.prefix.asc()), _end_of(offer.c.id, block.c.prefix.desc()))
    .select_from(offer)
    .where(within(offer.c.id, "offer_ids"))
)
_BLOCKS = Statement(
    select(*BLOCK_COLUMNS)
    .where(within(block.c.prefix, "prefixes"))
    .order_by(block.c.prefix, block.c.offer_id)
)
_LOCKED_BLOCKS = Statement(
    select(*BLOCK_COLUMNS)
    .where(within(block.c.prefix, "prefixes"))
    .order_by(block.c.offer_id, block.c.prefix.desc())
    .with_for_update()
)
# The same three questions about thousands in a row, where a list of them would be long.
_row_of_prefixes = and_(block.c.prefix >= bindparam("first"), block.c.prefix <= bindparam("last"))
_BLOCKS_IN_A_ROW = Statement(
    select(*BLOCK_COLUMNS).where(_row_of_prefixes).order_by(block.c.prefix, block.c.offer_id)
)
_KEYS = Statement(select(block.c.offer_id, block.c.prefix).where(within(block.c.prefix, "prefixes")))
_KEYS_IN_A_ROW = Statement(select(block.c.offer_id, block.c.prefix).where(_row_of_prefixes))
# Only a block that has sold something can have rented numbers; most imports meet none.
_sold = block.join(
    rental,
    and_(
        block.c.stocked_count > block.c.free_count,
        rental.c.number >= block.c.prefix * BLOCK_SIZE,
        rental.c.number < (block.c.prefix + 1) * BLOCK_SIZE,
        rental.c.detached_at.is_(None),
    ),
)
_RENTED_IN = Statement(
    select(rental.c.number).distinct().select_from(_sold).where(within(block.c.prefix, "prefixes"))
)
_RENTED_IN_A_ROW = Statement(select(rental.c.number).distinct().select_from(_sold).where(_row_of_prefixes))
_INSERT_BLOCK = insert_into(block)


def _insert_whole() -> Statement:
    """Add one row per prefix `first..last`, all free: the database counts, so a million rows are one exchange."""
    first, last = bindparam("first", type_=BigInteger), bindparam("last", type_=BigInteger)
    counted = select(first.label("prefix")).cte("counted", recursive=True)
    counted = counted.union_all(select(counted.c.prefix + 1).where(counted.c.prefix < last))
    offer_id = bindparam("offer", type_=BigInteger)
    values = {
        "offer_id": offer_id,
        "prefix": counted.c.prefix,
        "stocked_count": literal(BLOCK_SIZE),
        "free_count": literal(BLOCK_SIZE),
        "free_map": cast(null(), LargeBinary),
        "is_open": true(),
    }
    rows = select(*(value.label(name) for name, value in values.items()))
    return Statement(insert(block).from_select(list(values), rows.select_from(counted)))


_INSERT_WHOLE = _insert_whole()
SAVE_BLOCKS = update_rows(block, ("offer_id", "prefix"), "stocked_count", "free_count", "free_map", "is_open")
_SUMMARY = Statement(
    select(
        block.c.offer_id,
        func.count(),
        cast(func.sum(block.c.stocked_count), BigInteger),
        cast(func.sum(block.c.free_count), BigInteger),
    )
    .select_from(block.join(offer, offer.c.id == block.c.offer_id))
    .group_by(block.c.offer_id)
    .order_by(block.c.offer_id)
)


def to_block(row: Sequence[Any]) -> Block:
    """Read the columns of `BLOCK_COLUMNS`; the map and the count must agree."""
    found = Block(row[0], row[1], row[2], unpack(row[3]))
    assert found.free_count == row[4], "a block's count is the number of its free bits"
    return found


def block_rows(blocks: Iterable[Block]) -> list[tuple[object, ...]]:
    """Blocks as rows of their table."""
    return [
        (
            found.offer_id,
            found.prefix,
            found.stocked_count,
            found.free_count,
            pack(found.free_map),
            found.free_map != 0,
        )
        for found in blocks
    ]


def _between(offer_id: int, prefixes: tuple[int, int]) -> dict[str, object]:
    return {"offer": offer_id, "first": prefixes[0], "last": prefixes[1]}


def _first_looks(offer_ids: Collection[int], prefixes: tuple[int, int], at_most: int) -> list[Question]:
    return [(_FIRST_KEPT, {"at_most": at_most, **_between(offer_id, prefixes)}) for offer_id in offer_ids]


def _merge_looks(looks: Iterable[Sequence[Row]], last: int, at_most: int) -> tuple[list[Row], int]:
    """The rows of all offers in order, up to the first prefix after which one of them may have more."""
    rows: list[Row] = []
    for found in looks:
        if len(found) == at_most:
            last = min(last, found[-1][0])
        rows += found
    return sorted((row for row in rows if row[0] <= last), key=itemgetter(0, 1)), last


class StockQuestions(Questions):
    """The stock as blocks."""

    async def count_free(self, offer_ids: Collection[int]) -> dict[int, int]:
        """How many numbers are free per offer; offers without any are left out."""
        rows = await self.connection.fetch(_FREE_COUNTS, {"offer_ids": sorted(offer_ids)})
        return {row[0]: int(row[1]) for row in rows}

    async def find_stock_ends(self, offer_ids: Collection[int]) -> tuple[int, int] | None:
        """The lowest and the highest prefix of some offers' blocks with stock; None when there is none."""
        rows = await self.connection.fetch(_ENDS, {"offer_ids": sorted(offer_ids)})
        ends = [(row[0], row[1]) for row in rows if row[0] is not None]
        return (min(low for low, _ in ends), max(high for _, high in ends)) if ends else None

    async def sum_millions(
        self, offer_ids: Collection[int], prefixes: tuple[int, int]
    ) -> list[tuple[int, int, int, int]]:
        """The stock of some offers between two prefixes by millions of numbers, lowest first.

        Each with its free numbers, its blocks, and those of them that have all thousand numbers.
        """
        sums: dict[int, list[int]] = {}
        for offer_id in offer_ids:
            for million, *found in await self.connection.fetch(_MILLIONS, _between(offer_id, prefixes)):
                sums[million] = [
                    one + other for one, other in zip(sums.get(million, (0, 0, 0)), found, strict=True)
                ]
        return [(million, free, blocks, whole) for million, (free, blocks, whole) in sorted(sums.items())]

    async def all_kept(self, offer_ids: Collection[int], prefixes: tuple[int, int]) -> list[Row]:
        """Prefix, free count and packed map of every block with stock between two prefixes, in no order."""
        return await self._kept(_ALL_KEPT, offer_ids, prefixes)

    async def started_kept(self, offer_ids: Collection[int], prefixes: tuple[int, int]) -> list[Row]:
        """The same of blocks that have not all their thousand numbers."""
        return await self._kept(_STARTED_KEPT, offer_ids, prefixes)

    async def _kept(
        self, statement: Statement, offer_ids: Collection[int], prefixes: tuple[int, int]
    ) -> list[Row]:
        rows: list[Row] = []
        for offer_id in offer_ids:
            rows += await self.connection.fetch(statement, _between(offer_id, prefixes))
        return rows

    async def first_kept(
        self, offer_ids: Collection[int], prefixes: tuple[int, int], at_most: int
    ) -> tuple[list[Row], int]:
        """Prefix, offer, free count and packed map of the first blocks, in that order, and up to which prefix these go.

        There are at most `at_most` of each offer, and of no thousand only some.
        """
        looks = _first_looks(offer_ids, prefixes, at_most)
        return _merge_looks(await self.connection.fetch_each(*looks), prefixes[1], at_most)

    async def first_kept_and_free(
        self, offer_ids: Sequence[int], prefixes: tuple[int, int], at_most: int
    ) -> tuple[list[Row], int, int]:
        """What `first_kept` tells, and how many numbers are free in all, of a few offers."""
        looks = _first_looks(offer_ids, prefixes, at_most)
        sums: list[Question] = [(_FREE_COUNT, {"offer": offer_id}) for offer_id in offer_ids]
        found = await self.connection.fetch_each(*looks, *sums)
        free = sum(row[0] or 0 for rows in found[len(looks) :] for row in rows)
        return *_merge_looks(found[: len(looks)], prefixes[1], at_most), free

    async def sum_free(self, offer_ids: Sequence[int]) -> int:
        """How many numbers are free in all, of a few offers."""
        sums = await self.connection.fetch_each(*((_FREE_COUNT, {"offer": one}) for one in offer_ids))
        return sum(row[0] or 0 for rows in sums for row in rows)

    async def last_free(self, offer_ids: Sequence[int], at_most: int) -> list[tuple[int, int]]:
        """Prefix and free numbers of the last thousands with stock, highest first; of no thousand only some.

        They come of at most `at_most` blocks of each offer.
        """
        looks = await self.connection.fetch_each(
            *((_LAST_OPEN, {"offer": one, "at_most": at_most}) for one in offer_ids)
        )
        lowest = max((rows[-1][0] for rows in looks if len(rows) == at_most), default=0)
        free: dict[int, int] = {}
        for rows in looks:
            for prefix, count in rows:
                if prefix >= lowest:
                    free[prefix] = free.get(prefix, 0) + count
        return sorted(free.items(), reverse=True)

    async def find_blocks(self, prefixes: Collection[int], *, lock: bool = False) -> list[Block]:
        """The blocks of some thousands, of any offer."""
        if lock:
            rows = await self.connection.fetch(_LOCKED_BLOCKS, {"prefixes": sorted(prefixes)})
        else:
            rows = await self._of_prefixes(prefixes, _BLOCKS, _BLOCKS_IN_A_ROW)
        return [to_block(row) for row in rows]

    async def find_block_keys(self, prefixes: Collection[int]) -> list[tuple[int, int]]:
        """Offer and prefix of the blocks of some thousands."""
        return [(row[0], row[1]) for row in await self._of_prefixes(prefixes, _KEYS, _KEYS_IN_A_ROW)]

    async def find_rented_in(self, prefixes: Collection[int]) -> list[int]:
        """The numbers of some thousands that somebody rents."""
        return [row[0] for row in await self._of_prefixes(prefixes, _RENTED_IN, _RENTED_IN_A_ROW)]

    async def _of_prefixes(
        self, prefixes: Collection[int], of_list: Statement, of_row: Statement
    ) -> Sequence[Row]:
        if isinstance(prefixes, range) and prefixes.step == 1 and prefixes:
            return await self.connection.fetch(of_row, {"first": prefixes[0], "last": prefixes[-1]})
        return await self.connection.fetch(of_list, {"prefixes": sorted(prefixes)})

    async def insert_whole_blocks(self, offer_id: int, first_prefix: int, last_prefix: int) -> None:
        """Add the blocks `first_prefix..last_prefix` with all their numbers free."""
        values = {"offer": offer_id, "first": first_prefix, "last": last_prefix}
        await self.connection.execute(_INSERT_WHOLE, values)

    async def insert_blocks(self, blocks: Iterable[Block]) -> None:
        """Add blocks."""
        await self.connection.write_rows((_INSERT_BLOCK, block_rows(blocks)))

    async def save_blocks(self, blocks: Iterable[Block]) -> None:
        """Write back locked blocks."""
        await self.connection.write_rows((SAVE_BLOCKS, block_rows(blocks)))

    async def summarize_stock(self) -> list[tuple[int, int, int, int]]:
        """Offer, blocks, numbers stocked and numbers free, for every offer with stock."""
        return [(row[0], row[1], int(row[2]), int(row[3])) for row in await self.connection.fetch(_SUMMARY)]
