"""Bring numbers into stock and show what is there.

An import is planned first, against what is in stock, and then carried out whole or not at all. Both work on ranges and
blocks: what they hold in memory grows with the lines of the file, not with its numbers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import phonenumbers

from numberline.domain.catalog import Catalog, Offer, Region
from numberline.domain.stock_import import (
    Place,
    Problem,
    StockCheck,
    StockLine,
    cut,
    prefix_chunks,
    shape_fault,
    without_overlaps,
)
from numberline.service.stock_adding import CHUNK_BLOCKS, ImportRefused, ImportResult, Stop, add_stock
from numberline.service.stock_csv import Progress, StockFile, read_stock_csv
from numberline.store.contract import Store
from numberline.store.transaction import Transaction

__all__ = [
    "ImportPlan",
    "ImportRefused",
    "ImportResult",
    "Problem",
    "Progress",
    "StockChange",
    "StockFile",
    "StockLine",
    "StockSummary",
    "add_range",
    "apply_import",
    "plan_import",
    "read_stock_csv",
    "show_stock",
]

# libphonenumber takes 40 µs a number. Numbers of a file resemble each other: some of very many tell enough.
CHECKED_NUMBERS_MAX: Final = 50_000
_ADDED_BY_HAND: Final = 1


class StockChange(msgspec.Struct, frozen=True):
    """What an import adds to one region and tier: numbers, and the blocks that are new with them."""

    country: str
    category: str
    region_id: int
    region_name: str
    tier: str
    numbers: int
    new_blocks: int


class ImportPlan(msgspec.Struct, frozen=True):
    """What an import would do.

    `lines` are those without a problem, by number. Only a plan without `problems` can be carried out; `warnings` do
    not stand in its way. `checked_numbers` is how many numbers were shown to libphonenumber.
    """

    lines: list[StockLine]
    problems: list[Problem]
    warnings: list[Problem]
    changes: list[StockChange]
    checked_numbers: int

    @property
    def numbers(self) -> int:
        """How many numbers would be added."""
        return sum(change.numbers for change in self.changes)


class StockSummary(msgspec.Struct, frozen=True):
    """The stock of one region and tier: blocks, numbers that belong to it, and those of them for sale."""

    country: str
    category: str
    region_id: int
    region_name: str
    tier: str
    blocks: int
    stocked: int
    free: int


# --- planning --------------------------------------------------------------------------------------------------


async def plan_import(store: Store, catalog: Catalog, lines: Iterable[StockLine]) -> ImportPlan:
    """Check lines against themselves, the catalogue and the stock, and tell what they would add."""
    sound, problems = _sort_out(catalog, lines)
    kept, overlaps = await asyncio.to_thread(without_overlaps, sound)
    found, existing = await store.read(lambda ask: _compare(ask, kept), snapshot=True)
    bad = {problem.line for problem in found}
    good = [line for line in kept if line.line not in bad]
    sample = _sample(good)
    warnings = _warn_of_prices(catalog, good) + await asyncio.to_thread(_warn_of_numbers, sample)
    return ImportPlan(
        lines=good,
        problems=sorted(problems + overlaps + found, key=lambda problem: problem.line),
        warnings=sorted(warnings, key=lambda warning: warning.line),
        changes=await asyncio.to_thread(_changes, catalog, good, existing),
        checked_numbers=sum(1 if line.count == 1 else 2 for line in sample),
    )


def _sort_out(catalog: Catalog, lines: Iterable[StockLine]) -> tuple[list[StockLine], list[Problem]]:
    """The lines that make sense by themselves, and the problems of the others."""
    sound: list[StockLine] = []
    problems: list[Problem] = []
    for line in lines:
        fault = shape_fault(line) or _place_fault(catalog, line)
        if fault is None:
            sound.append(line)
        else:
            problems.append(Problem(line.line, line.text, fault))
    return sound, problems


def _place_fault(catalog: Catalog, line: StockLine) -> str | None:
    region = catalog.regions.get(line.region_id)
    if line.country not in catalog.countries:
        return f"The catalogue has no country {line.country}."
    if region is None:
        return f"The catalogue has no region {line.region_id}."
    if (region.country, region.category) != (line.country, line.category):
        return (
            f"Region {region.id} ({region.name_en}) is {region.country} {region.category},"
            f" not {line.country} {line.category}."
        )
    # A national spelling would put somebody else's numbers on sale.
    calling_code = catalog.countries[line.country].calling_code
    if not str(line.first).startswith(calling_code) or not str(line.last).startswith(calling_code):
        return f"Numbers of {line.country} begin with {calling_code}: write them internationally."
    return None


async def _compare(
    ask: Transaction, lines: Sequence[StockLine]
) -> tuple[list[Problem], list[tuple[int, str, int]]]:
    """The lines with numbers in stock already; and region, tier and prefix of every block there is."""
    offers = {offer.id: offer for offer in await ask.list_offers()}
    check = StockCheck(lines)
    existing: list[tuple[int, str, int]] = []
    for prefixes in prefix_chunks(lines, CHUNK_BLOCKS):
        blocks = await ask.find_blocks(prefixes)
        check.compare(blocks, await ask.find_rented_in(prefixes) if blocks else [])
        for block in blocks:
            offer = offers[block.offer_id]
            existing.append((offer.region_id, offer.tier, block.prefix))
    return check.problems(), existing


def _sample(lines: Sequence[StockLine]) -> Sequence[StockLine]:
    """All lines, or as many as there is time to check."""
    return lines[:: len(lines) // CHECKED_NUMBERS_MAX + 1]


def _warn_of_numbers(lines: Sequence[StockLine]) -> list[Problem]:
    """What libphonenumber thinks of single numbers and of both ends of ranges; it is not always right."""
    warnings: list[Problem] = []
    for line in lines:
        for number in dict.fromkeys((line.first, line.last)):
            sentence = _doubt(number, line.country)
            if sentence is not None:
                warnings.append(Problem(line.line, str(number), sentence))
                break
    return warnings


def _doubt(number: int, country: str) -> str | None:
    try:
        parsed = phonenumbers.parse(f"+{number}")
    except phonenumbers.NumberParseException:
        return f"This is no number of {country}, as far as libphonenumber knows."
    if phonenumbers.is_valid_number_for_region(parsed, country):
        return None
    return f"This is no number of {country}, as far as libphonenumber knows."


def _warn_of_prices(catalog: Catalog, lines: Iterable[StockLine]) -> list[Problem]:
    """One warning per region and tier that nobody can buy from."""
    first_lines: dict[Place, StockLine] = {}
    for line in lines:
        first_lines.setdefault(line.place, line)
    warnings = []
    for (region_id, tier), line in first_lines.items():
        region = catalog.regions[region_id]
        if catalog.price(region, tier) is None and not catalog.rule(region).sandbox:
            named = f"tier {tier!r} of region" if tier else "region"
            warnings.append(Problem(line.line, line.text, f"No price is set for {named} {region_id}."))
    return warnings


def _changes(
    catalog: Catalog, lines: Sequence[StockLine], existing: Iterable[tuple[int, str, int]]
) -> list[StockChange]:
    numbers: Counter[Place] = Counter()
    blocks: Counter[Place] = Counter()
    for line in lines:
        numbers[line.place] += line.count
    there: dict[Place, set[int]] = {}
    for region_id, tier, prefix in existing:
        there.setdefault((region_id, tier), set()).add(prefix)
    for piece in cut(lines):
        blocks[piece.place] += piece.block_count
        known = there.get(piece.place)
        if known and piece.first_prefix == piece.last_prefix:
            blocks[piece.place] -= piece.first_prefix in known
    return [
        StockChange(
            *_named(catalog.regions.get(region_id)),
            tier=tier,
            numbers=numbers[region_id, tier],
            new_blocks=blocks[region_id, tier],
        )
        for region_id, tier in sorted(numbers)
    ]


def _named(region: Region | None) -> tuple[str, str, int, str]:
    """Country, category, id and name of a region."""
    assert region is not None, "a region is never removed"
    return (region.country, region.category, region.id, region.name_en)


# --- carrying out ----------------------------------------------------------------------------------------------


async def apply_import(store: Store, plan: ImportPlan, *, progress: Progress | None = None) -> ImportResult:
    """Carry a plan out in one transaction; raises `ImportRefused` when it has problems or the stock has moved on.

    `progress` is called with (numbers done, numbers in all), on SQLite in the writer's thread; it begins anew where
    the engine wants the transaction repeated. Cancelled, it lets go of the store within a piece of the work.
    """
    if plan.problems:
        raise ImportRefused(plan.problems)
    if not plan.lines:
        return ImportResult(0, 0, 0, 0)
    stop = Stop()
    writing = asyncio.ensure_future(store.write(lambda work: add_stock(work, plan.lines, progress, stop)))
    try:
        return await asyncio.shield(writing)
    except asyncio.CancelledError:
        stop.ask()
        with contextlib.suppress(Exception):
            await writing
        raise


async def add_range(
    store: Store, catalog: Catalog, region_id: int, tier: str, first: int, last: int
) -> ImportResult:
    """Add the numbers `first..last` to a region and tier; raises `ImportRefused`."""
    region = catalog.regions.get(region_id)
    if region is None:
        raise ImportRefused(
            [Problem(_ADDED_BY_HAND, str(first), f"The catalogue has no region {region_id}.")]
        )
    line = StockLine(region.country, region.category, region_id, tier, first, last, _ADDED_BY_HAND)
    return await apply_import(store, await plan_import(store, catalog, [line]))


# --- showing ---------------------------------------------------------------------------------------------------


async def show_stock(store: Store, catalog: Catalog) -> list[StockSummary]:
    """The stock per region and tier, by country, category, region and tier."""

    async def ask_both(ask: Transaction) -> tuple[list[Offer], list[tuple[int, int, int, int]]]:
        return await ask.list_offers(), await ask.summarize_stock()

    offers, counts = await store.read(ask_both, snapshot=True)
    known = {offer.id: offer for offer in offers}
    found = [
        StockSummary(*_named(catalog.regions.get(known[offer_id].region_id)), known[offer_id].tier, *sums)
        for offer_id, *sums in counts
    ]
    return sorted(found, key=lambda one: (one.country, one.category, one.region_id, one.tier))
