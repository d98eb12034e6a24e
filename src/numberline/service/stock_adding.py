"""Write numbers into stock, whole or not at all: the part of an import that happens inside its transaction."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, TypeVar

import msgspec

from numberline.domain.blocks import ALL_FREE, Block
from numberline.domain.catalog import Offer
from numberline.domain.phone import BLOCK_SIZE
from numberline.domain.stock_import import (
    Piece,
    Place,
    Problem,
    StockCheck,
    StockLine,
    cut,
    prefix_chunks,
    split,
)
from numberline.service.stock_csv import Progress
from numberline.store.transaction import Transaction

T = TypeVar("T")

CHUNK_BLOCKS: Final = 10_000


class ImportRefused(ValueError):
    """An import that cannot be carried out, with everything that stands in its way; nothing was changed."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(f"The import has {len(problems)} problems, the first: {problems[0].sentence}")
        self.problems = list(problems)


class ImportResult(msgspec.Struct, frozen=True):
    """What an import did."""

    numbers: int
    blocks_added: int
    blocks_changed: int
    offers_added: int


class ImportStopped(Exception):
    """Nobody waits for an import any more; nothing was changed."""


class Stop:
    """Lets whoever asked for an import call it off, from another thread than the one that carries it out.

    SQLite's writer cannot be interrupted and would keep everybody else waiting until the import is done. It asks here
    between pieces of `CHUNK_BLOCKS`.
    """

    def __init__(self) -> None:
        self._is_asked = False

    def ask(self) -> None:
        """Call the import off."""
        self._is_asked = True

    def check(self) -> None:
        """Raise `ImportStopped` if the import was called off."""
        if self._is_asked:
            raise ImportStopped


async def add_stock(
    work: Transaction,
    lines: Sequence[StockLine],
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> ImportResult:
    """Add lines, sorted and without overlaps, inside a unit of work; raises `ImportRefused` and `ImportStopped`."""
    # Imports happen one after the other from here: none can add what another one is adding.
    stop = stop or Stop()
    await work.lock_catalog()
    prefixes: list[int] = []
    for chunk in prefix_chunks(lines, CHUNK_BLOCKS):
        stop.check()
        prefixes += sorted({key[1] for key in await work.find_block_keys(chunk)})
    blocks = await _lock_blocks(work, lines, prefixes)
    offer_ids, offers_added = await _provide_offers(work, lines)
    return await _Adding(work, lines, blocks, offer_ids, progress, stop).run(offers_added)


async def _lock_blocks(
    work: Transaction, lines: Sequence[StockLine], prefixes: Sequence[int]
) -> dict[tuple[int, int], Block]:
    """Lock every block of these thousands, in the order of sales, so that none is sold or given back meanwhile."""
    blocks = await work.find_blocks(prefixes, lock=True) if prefixes else []
    check = StockCheck(lines)
    check.compare(blocks, await work.find_rented_in(prefixes) if blocks else [])
    if problems := check.problems():
        raise ImportRefused(problems)
    return {(block.offer_id, block.prefix): block for block in blocks}


async def _provide_offers(work: Transaction, lines: Iterable[StockLine]) -> tuple[dict[Place, int], int]:
    """The offers of all places, the missing ones created; and how many these were."""
    known = {(offer.region_id, offer.tier): offer.id for offer in await work.list_offers()}
    missing = sorted({line.place for line in lines} - known.keys())
    if missing:
        ids = await work.connection.reserve_ids("offer", len(missing))
        offers = [Offer(offer_id, *place) for offer_id, place in zip(ids, missing, strict=True)]
        await work.insert_offers(offers)
        known |= {(offer.region_id, offer.tier): offer.id for offer in offers}
    return known, len(missing)


class _Adding:
    """The writing part of an import."""

    def __init__(
        self,
        work: Transaction,
        lines: Sequence[StockLine],
        blocks: dict[tuple[int, int], Block],
        offer_ids: dict[Place, int],
        progress: Progress | None,
        stop: Stop,
    ) -> None:
        self._work = work
        self._lines = lines
        self._blocks = blocks
        self._offer_ids = offer_ids
        self._progress = progress
        self._stop = stop
        self._total = sum(line.count for line in lines)
        self._done = 0
        self._added = 0
        self._changed: list[Block] = []
        self._fresh: list[Block] = []

    async def run(self, offers_added: int) -> ImportResult:
        for piece, exists in self._pieces():
            if exists:
                self._merge(piece)
            elif piece.first_prefix == piece.last_prefix:
                await self._add_one(piece)
            else:
                await self._add_whole(piece)
        await self._flush()
        for chunk in _chunks(self._changed, CHUNK_BLOCKS):
            self._stop.check()
            await self._work.save_blocks(chunk)
        return ImportResult(self._total, self._added, len(self._changed), offers_added)

    def _pieces(self) -> Iterator[tuple[Piece, bool]]:
        """Every piece, with whether its block is there already."""
        there: dict[int, list[int]] = {}
        for offer_id, prefix in sorted(self._blocks):
            there.setdefault(offer_id, []).append(prefix)
        for piece in cut(self._lines):
            known = there.get(self._offer_ids[piece.place], [])
            inside = slice(bisect_left(known, piece.first_prefix), bisect_right(known, piece.last_prefix))
            yield from split(piece, known[inside])

    def _merge(self, piece: Piece) -> None:
        block = self._blocks[self._offer_ids[piece.place], piece.first_prefix]
        assert not block.free_map & piece.bits, "the check found no number that is free already"
        block.free_map |= piece.bits
        block.stocked_count += piece.bits.bit_count()
        self._changed.append(block)
        self._report(piece.bits.bit_count())

    async def _add_one(self, piece: Piece) -> None:
        count = piece.bits.bit_count()
        self._fresh.append(Block(self._offer_ids[piece.place], piece.first_prefix, count, piece.bits))
        if len(self._fresh) == CHUNK_BLOCKS:
            await self._flush()

    async def _flush(self) -> None:
        await self._work.insert_blocks(self._fresh)
        self._added += len(self._fresh)
        self._report(sum(block.stocked_count for block in self._fresh))
        self._fresh = []

    async def _add_whole(self, piece: Piece) -> None:
        assert piece.bits == ALL_FREE, "only whole thousands come in runs"
        for first in range(piece.first_prefix, piece.last_prefix + 1, CHUNK_BLOCKS):
            last = min(first + CHUNK_BLOCKS - 1, piece.last_prefix)
            await self._work.insert_whole_blocks(self._offer_ids[piece.place], first, last)
            self._added += last - first + 1
            self._report((last - first + 1) * BLOCK_SIZE)

    def _report(self, count: int) -> None:
        self._stop.check()
        self._done += count
        if self._progress is not None and count:
            self._progress(self._done, self._total)


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
