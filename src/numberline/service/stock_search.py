"""Find free numbers by mask: count them million by million, then read no more blocks than the page shows.

Of a million that matches as a whole, or that is in stock as a whole, the count follows without a look at its blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import groupby, islice, repeat
from operator import itemgetter
from typing import Final

import msgspec

from numberline.domain.blocks import (
    ENDING_DIGITS,
    NUMBER_DIGITS_MAX,
    Mask,
    Million,
    count_matching,
    numbers_in,
    unpack,
)
from numberline.domain.paging import Page
from numberline.domain.phone import BLOCK_SIZE
from numberline.store.contract import Row
from numberline.store.transaction import Transaction

MILLION: Final = BLOCK_SIZE * BLOCK_SIZE
# PostgreSQL's rows are read on the event loop, which serves others between one piece and the next.
PIECE_BLOCKS: Final = 4_000
_ALL_PREFIXES: Final = (0, 10 ** (NUMBER_DIGITS_MAX - ENDING_DIGITS) - 1)
# Most blocks hold more than a page of any numbers, and few those that a mask asks for.
_FIRST_LOOK: Final = 4
_FIRST_MASKED_LOOK: Final = 32
_LOOK_GROWTH: Final = 4
# Pages that begin within so many numbers of either end are found from there, without a count of each million.
_EARLY: Final = 4_000
_LATE: Final = 64_000


class _Counted(msgspec.Struct):
    """How many numbers of a million match; `is_open` until its blocks have been looked at.

    `started` is how many of its blocks have sold something, of a million that has all its thousand and is looked into for
    what is missing; otherwise None.
    """

    million: int
    count: int
    blocks: int
    is_open: bool
    started: int | None = None

    @property
    def rows(self) -> int:
        """How many blocks a look into it reads."""
        return self.blocks if self.started is None else self.started


class Search:
    """One search in the stock of some offers, inside a unit of work."""

    def __init__(self, ask: Transaction, offer_ids: Sequence[int], mask: Mask) -> None:
        self._ask = ask
        self._offer_ids = offer_ids
        self._mask = mask
        self._last: tuple[int, Million] | None = None

    async def page(self, offset: int, count: int) -> Page[tuple[int, int]]:
        """Offer and number of matching free numbers, lowest number first, and how many match in all."""
        if self._mask.matches_all:
            if offset <= _EARLY:
                return await self._early_page(offset, count)
            if (page := await self._late_page(offset, count)) is not None:
                return page
        counted = await self._count()
        total = sum(one.count for one in counted)
        touched, skip = _touched(counted, offset, count)
        return Page(await self._list(self._span(touched), skip, count) if touched else [], total)

    async def _early_page(self, offset: int, count: int) -> Page[tuple[int, int]]:
        """What most ask for, which needs no count of each million and but one exchange with the store."""
        at_most = self._looking_at(offset + count)
        kept, done, free = await self._ask.first_kept_and_free(self._offer_ids, _ALL_PREFIXES, at_most)
        if free <= offset:
            return Page([], free)
        return Page(await self._list(_ALL_PREFIXES, offset, count, (kept, done)), free)

    async def _late_page(self, offset: int, count: int) -> Page[tuple[int, int]] | None:
        """A page near the end, which is found from there; None if it lies elsewhere."""
        total = await self._ask.sum_free(self._offer_ids)
        wanted = total - offset
        if wanted <= 0:
            return Page([], total)
        if wanted > _LATE:
            return None
        at_most, behind = self._looking_at(wanted), 0
        for prefix, free in await self._ask.last_free(self._offer_ids, at_most):
            behind += free
            if behind >= wanted:
                return Page(await self._list((prefix, _ALL_PREFIXES[1]), behind - wanted, count), total)
        return None

    # Counting.

    async def _count(self) -> list[_Counted]:
        """The millions in which numbers may match, lowest first, and how many do in each."""
        counted: list[_Counted] = []
        for million, free, blocks, whole in await self._sums():
            found = self._in(million)
            if found.count == MILLION:
                counted.append(_Counted(million, free, blocks, is_open=False))
            elif whole == BLOCK_SIZE:
                counted.append(_Counted(million, found.count, blocks, is_open=False))
            elif found.count:
                started = BLOCK_SIZE - whole if self._counts_missing(found, blocks, whole) else None
                counted.append(_Counted(million, 0, blocks, is_open=True, started=started))
        for piece in _pieces(counted):
            if piece[0].started is None:
                await self._look_into(piece)
            else:
                await self._look_into_started(piece)
        return counted

    def _counts_missing(self, found: Million, blocks: int, whole: int) -> bool:
        """Whether to read a million's started blocks for what is missing, rather than all in which numbers may match."""
        # Two offers may have blocks of one thousand, and none of another.
        is_complete = blocks == BLOCK_SIZE and len(self._offer_ids) == 1
        first, last = found.runs[0][0], found.runs[-1][1]
        return is_complete and BLOCK_SIZE - whole <= last - first

    async def _sums(self) -> list[tuple[int, int, int, int]]:
        """What the store tells of each million; where the mask begins with digits, only of numbers that do too."""
        runs = self._mask.prefix_runs()
        if len(runs) == 1:
            return await self._ask.sum_millions(self._offer_ids, runs[0])
        # A beginning stands for as many runs as numbers may have lengths; stock has few of them.
        ends = await self._ask.find_stock_ends(self._offer_ids)
        sums: dict[int, tuple[int, int, int, int]] = {}
        for first, last in runs:
            if ends is None or first > ends[1] or last < ends[0]:
                continue
            for million, *found in await self._ask.sum_millions(self._offer_ids, (first, last)):
                # The shortest numbers of several lengths share a million.
                _, free, blocks, whole = sums.get(million, (million, 0, 0, 0))
                sums[million] = (million, free + found[0], blocks + found[1], whole + found[2])
        return [sums[million] for million in sorted(sums)]

    async def _look_into(self, piece: list[_Counted]) -> None:
        counts = dict.fromkeys((one.million for one in piece), 0)
        current, maps, count = -1, [0], 0
        for prefix, free_count, data in await self._ask.all_kept(self._offer_ids, self._span(piece)):
            million, thousand = divmod(prefix, BLOCK_SIZE)
            if million != current:
                counts[current] = count
                current, maps, count = million, self._in(million).endings, counts.get(million, 0)
            if wanted := maps[thousand]:
                count += count_matching(data, free_count, wanted)
        counts[current] = count
        for one in piece:
            one.count = counts[one.million]

    async def _look_into_started(self, piece: list[_Counted]) -> None:
        """Count what is missing: of whole blocks all matches are there."""
        low, high = piece[0].million, piece[-1].million
        span = low * BLOCK_SIZE, high * BLOCK_SIZE + BLOCK_SIZE - 1
        missing = dict.fromkeys((one.million for one in piece), 0)
        left = {one.million: one.started or 0 for one in piece}
        for prefix, free_count, data in await self._ask.started_kept(self._offer_ids, span):
            million, thousand = divmod(prefix, BLOCK_SIZE)
            if million not in missing:
                continue  # it lies between two of the piece, and nothing in it matches
            if wanted := self._in(million).endings[thousand]:
                missing[million] += wanted.bit_count() - count_matching(data, free_count, wanted)
            left[million] -= 1
        for one in piece:
            one.count = self._in(one.million).count - missing[one.million]
        # Some that were counted have sold their last number since.
        if gone := [one for one in piece if left[one.million] > 0]:
            await self._look_into(gone)

    # Listing.

    async def _list(
        self, span: tuple[int, int], skip: int, count: int, look: tuple[list[Row], int] | None = None
    ) -> list[tuple[int, int]]:
        """Up to `count` numbers of the prefixes of a span, both ends included, after the first `skip`.

        `look` is the first look at the span where it has been taken already.
        """
        numbers: list[tuple[int, int]] = []
        first, last = span
        at_most = self._looking_at(skip + count)
        while first <= last:
            kept, done = look or await self._ask.first_kept(self._offer_ids, (first, last), at_most)
            look = None
            rows = [row for row in kept if self._endings(row[0])]
            place, skip = self._skip(rows, skip)
            for prefix, sharing in groupby(rows[place:], key=itemgetter(0)):
                wanted = skip + count - len(numbers)
                numbers += islice(self._matching(prefix, sharing), skip, wanted)
                skip = 0
                if len(numbers) == count:
                    return numbers
            first, at_most = done + 1, min(at_most * _LOOK_GROWTH, PIECE_BLOCKS)
        return numbers

    def _looking_at(self, numbers: int) -> int:
        """How many blocks a first look for some numbers takes in."""
        first = _FIRST_LOOK if self._mask.matches_all else _FIRST_MASKED_LOOK
        return first + numbers // BLOCK_SIZE

    def _skip(self, rows: list[Row], skip: int) -> tuple[int, int]:
        """How many rows hold nothing but numbers to skip, thousands kept together, and how many are left to skip."""
        start, left, thousand = 0, skip, -1
        for place, (prefix, _, free_count, data) in enumerate(rows):
            if prefix != thousand:
                start, left, thousand = place, skip, prefix
            skip -= count_matching(data, free_count, self._endings(prefix))
            if skip < 0:
                return start, left
        return len(rows), skip

    def _matching(self, prefix: int, sharing: Iterable[Row]) -> Iterator[tuple[int, int]]:
        """The matching numbers of a thousand with their offers, lowest first."""
        wanted = self._endings(prefix)
        found = [
            zip(repeat(offer_id), numbers_in(prefix, unpack(data) & wanted), strict=False)
            for _, offer_id, _, data in sharing
        ]
        return merge(*found, key=itemgetter(1))

    def _span(self, millions: list[_Counted]) -> tuple[int, int]:
        """The first and the last prefix with matches in some millions, which are sorted."""
        low, high = millions[0].million, millions[-1].million
        return (
            low * BLOCK_SIZE + self._in(low).runs[0][0],
            high * BLOCK_SIZE + self._in(high).runs[-1][1],
        )

    def _endings(self, prefix: int) -> int:
        return self._in(prefix // BLOCK_SIZE).endings[prefix % BLOCK_SIZE]

    def _in(self, million: int) -> Million:
        # Rows come by the thousand from the same million.
        if self._last is None or self._last[0] != million:
            self._last = million, self._mask.in_million(million)
        return self._last[1]


def _pieces(counted: list[_Counted]) -> Iterator[list[_Counted]]:
    """The millions to look into, those next to each other together while a look into them reads not too many blocks."""
    for (is_open, _), neighbours in groupby(counted, key=lambda one: (one.is_open, one.started is None)):
        piece: list[_Counted] = []
        for one in neighbours if is_open else ():
            if piece and sum(other.rows for other in piece) + one.rows > PIECE_BLOCKS:
                yield piece
                piece = []
            piece.append(one)
        if piece:
            yield piece


def _touched(counted: list[_Counted], offset: int, count: int) -> tuple[list[_Counted], int]:
    """The millions in which a page lies, and how many of their first numbers come before it."""
    touched: list[_Counted] = []
    before, skip = 0, 0
    for one in counted:
        if one.count and before < offset + count and before + one.count > offset:
            skip = skip if touched else offset - before
            touched.append(one)
        before += one.count
    return touched, skip
