"""Imports of stock on both engines: what is refused, what is added, and two imports at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numberline.domain.access import Account
from numberline.domain.account import Profile, Wallet
from numberline.domain.blocks import ALL_FREE, numbers_in
from numberline.domain.catalog import Catalog, CatalogRows, Country, Price, Region, Rule
from numberline.domain.rental import Rental
from numberline.domain.stock_import import cut, prefix_chunks, without_overlaps
from numberline.domain.working_set import Effects
from numberline.service import stock_adding
from numberline.service.stock import (
    ImportRefused,
    StockLine,
    StockSummary,
    add_range,
    apply_import,
    plan_import,
    show_stock,
)
from numberline.store import stock
from numberline.store.accounts import AccountRecord
from numberline.store.contract import Store
from numberline.store.migrate import migrate
from numberline.store.opening import open_store
from numberline.store.transaction import Transaction

CATALOG = CatalogRows(
    revision=0,
    countries=[Country("US", "1", "United States", "США"), Country("GB", "44", "United Kingdom", "Британия")],
    states=[],
    regions=[
        Region(101, "US", "GEOGRAPHIC", "", "212", "New York", "Нью-Йорк"),
        Region(102, "US", "GEOGRAPHIC", "", "206", "Seattle", "Сиэтл"),
        Region(103, "GB", "GEOGRAPHIC", "", "20", "London", "Лондон"),
        Region(104, "US", "TOLLFREE", "", "800", "United States", "США"),
    ],
    prices=[Price("US", "GEOGRAPHIC", 0, "", "USD", 1, 1), Price("*", "*", 0, "gold", "USD", 1, 1)],
    rules=[Rule("GB", "*", 0, sandbox=True)],
    tax_ppm={},
    per_usd_micros={"USD": 1_000_000},
    offers=[],
)
NOW = datetime(2026, 5, 1, tzinfo=UTC)
FIRST = 12125550000


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    await migrate(store_url)
    opened = open_store(store_url)
    await opened.write(lambda work: work.replace_catalog(CATALOG))
    yield opened
    await opened.close()


def us(
    first: int, last: int | None = None, *, line: int = 2, tier: str = "", region_id: int = 101
) -> StockLine:
    return StockLine("US", "GEOGRAPHIC", region_id, tier, first, first if last is None else last, line)


async def catalog_of(store: Store) -> Catalog:
    return Catalog(await store.read(lambda ask: ask.load_catalog()))


async def bring_in(store: Store, *lines: StockLine) -> None:
    await apply_import(store, await plan_import(store, await catalog_of(store), lines))


async def free_numbers(store: Store) -> dict[tuple[int, str], list[int]]:
    catalog = await catalog_of(store)
    blocks = await store.read(lambda ask: ask.find_blocks(range(1, 10**12)))
    found: dict[tuple[int, str], list[int]] = {}
    for block in blocks:
        offer = catalog.offers[block.offer_id]
        found.setdefault((offer.region_id, offer.tier), []).extend(numbers_in(block.prefix, block.free_map))
    return found


async def rent(store: Store, number: int) -> None:
    """Take a number out of its block and let a new account rent it."""

    async def work(work: Transaction) -> None:
        (block,) = [one for one in await work.find_blocks([number // 1000], lock=True) if one.has(number)]
        block.take(number)
        account = Account(1, "somebody", None, True, False, "USD", "US")
        record = AccountRecord(account, "somebody@example.com", Profile(), Wallet(0, 0, 0, 0), NOW)
        await work.insert_account(record)
        rental = Rental(
            id=1,
            number=number,
            account_id=1,
            offer_id=block.offer_id,
            region_id=101,
            purchased_at=NOW,
            renews_on=date(2026, 6, 1),
            anchor_day=1,
            fee_micros=0,
            tax_micros=0,
            modified_at=NOW,
        )
        effects = Effects(rentals=[rental])
        effects.blocks[block.offer_id, block.prefix] = block
        await work.save(effects)

    await store.write(work)


async def test_ranges_singles_and_tiers_become_blocks(store: Store) -> None:
    seen: list[tuple[int, int]] = []
    lines = [
        us(FIRST + 500, FIRST + 3499, line=2),
        us(FIRST + 7, line=3),
        us(FIRST + 8, line=4, tier="gold"),
        us(12065550100, 12065550199, line=5, region_id=102),
    ]
    plan = await plan_import(store, await catalog_of(store), lines)
    assert not plan.problems
    assert [
        (change.region_id, change.tier, change.numbers, change.new_blocks) for change in plan.changes
    ] == [
        (101, "", 3001, 4),
        (101, "gold", 1, 1),
        (102, "", 100, 1),
    ]
    result = await apply_import(store, plan, progress=lambda done, total: seen.append((done, total)))
    assert (result.numbers, result.blocks_added, result.blocks_changed, result.offers_added) == (
        3102,
        6,
        0,
        3,
    )
    assert seen[-1] == (3102, 3102)
    assert seen == sorted(seen)
    assert await free_numbers(store) == {
        (101, ""): [FIRST + 7, *range(FIRST + 500, FIRST + 3500)],
        (101, "gold"): [FIRST + 8],
        (102, ""): [*range(12065550100, 12065550200)],
    }
    assert await show_stock(store, await catalog_of(store)) == [
        StockSummary("US", "GEOGRAPHIC", 101, "New York", "", 4, 3001, 3001),
        StockSummary("US", "GEOGRAPHIC", 101, "New York", "gold", 1, 1, 1),
        StockSummary("US", "GEOGRAPHIC", 102, "Seattle", "", 1, 100, 100),
    ]


async def test_a_second_import_fills_the_blocks_of_the_first(store: Store) -> None:
    await bring_in(store, us(FIRST + 100, FIRST + 199))
    await rent(store, FIRST + 150)
    catalog = await catalog_of(store)
    plan = await plan_import(
        store, catalog, [us(FIRST + 200, FIRST + 1999, line=2), us(FIRST, FIRST + 99, line=3)]
    )
    assert [(change.numbers, change.new_blocks) for change in plan.changes] == [(1900, 1)]
    result = await apply_import(store, plan)
    assert (result.blocks_added, result.blocks_changed, result.offers_added) == (1, 1, 0)
    (summary,) = await show_stock(store, await catalog_of(store))
    assert (summary.blocks, summary.stocked, summary.free) == (2, 2000, 1999)
    assert catalog.revision < (await catalog_of(store)).revision


async def test_numbers_in_stock_are_refused_by_line_whether_free_rented_or_in_another_tier(
    store: Store,
) -> None:
    await bring_in(store, us(FIRST, FIRST + 9), us(FIRST + 20, line=3, tier="gold"))
    await rent(store, FIRST + 5)
    lines = [
        us(FIRST + 9, FIRST + 10, line=2),
        us(FIRST + 5, line=3),
        us(FIRST + 6, line=4, tier="gold"),
        us(FIRST + 20, FIRST + 5000, line=5),
        us(FIRST + 11, line=6),
    ]
    plan = await plan_import(store, await catalog_of(store), lines)
    assert [(problem.line, problem.sentence) for problem in plan.problems] == [
        (2, f"1 of 2 numbers are in stock already, the first of them {FIRST + 9}."),
        (3, "The number is in stock already."),
        (4, "The number is in stock already."),
        (5, f"1 of 4,981 numbers are in stock already, the first of them {FIRST + 20}."),
    ]
    assert [line.line for line in plan.lines] == [6]
    with pytest.raises(ImportRefused) as refused:
        await apply_import(store, plan)
    assert len(refused.value.problems) == 4
    assert sum(len(numbers) for numbers in (await free_numbers(store)).values()) == 10


async def test_a_long_range_again(store: Store) -> None:
    lines = [us(12_000_000_000, 12_029_999_999)]
    await bring_in(store, *lines)
    (problem,) = (await plan_import(store, await catalog_of(store), lines)).problems
    assert problem.sentence.startswith("30,000,000 of 30,000,000 numbers are in stock already")
    (summary,) = await show_stock(store, await catalog_of(store))
    assert (summary.blocks, summary.free) == (30_000, 30_000_000)


async def test_more_than_a_thousand_in_a_thousand_cannot_be(store: Store) -> None:
    await bring_in(store, us(FIRST, FIRST + 999))

    async def rest(work: Transaction) -> None:
        # As a quarantine leaves a number: neither free nor rented.
        (block,) = await work.find_blocks([FIRST // 1000], lock=True)
        block.take(FIRST + 1)
        await work.save_blocks([block])

    await store.write(rest)
    (problem,) = (await plan_import(store, await catalog_of(store), [us(FIRST + 1)])).problems
    assert "more than a thousand" in problem.sentence


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (StockLine("ZZ", "GEOGRAPHIC", 101, "", FIRST, FIRST, 2), "The catalogue has no country ZZ."),
        (us(FIRST, region_id=999), "The catalogue has no region 999."),
        (us(FIRST, region_id=103), "Region 103 (London) is GB GEOGRAPHIC, not US GEOGRAPHIC."),
        (us(FIRST, region_id=104), "Region 104 (United States) is US TOLLFREE, not US GEOGRAPHIC."),
        (us(FIRST, FIRST - 1), "The first number is greater than the last."),
        (us(FIRST, FIRST * 10), "The first and the last number differ in length."),
        (
            us(FIRST, FIRST + 100_000_000),
            "The range holds 100,000,001 numbers; 100,000,000 is the most a line may add.",
        ),
    ],
)
async def test_lines_that_make_no_sense(sqlite_url: str, line: StockLine, sentence: str) -> None:
    await migrate(sqlite_url)
    store = open_store(sqlite_url)
    plan = await plan_import(store, Catalog(CATALOG), [line])
    assert [problem.sentence for problem in plan.problems] == [sentence]
    await store.close()


async def test_what_a_file_says_twice_names_both_lines(store: Store) -> None:
    lines = [
        us(FIRST, FIRST + 99, line=2),
        us(FIRST + 50, line=3),
        us(FIRST, FIRST + 99, line=4, tier="gold"),
        us(FIRST + 99, FIRST + 3000, line=5),
        us(FIRST + 5000, line=6),
        us(FIRST + 5000, line=7),
    ]
    plan = await plan_import(store, await catalog_of(store), lines)
    said = {problem.line: problem.sentence for problem in plan.problems}
    assert said == {
        3: f"Line 2 ({FIRST}-{FIRST + 99}) has {FIRST + 50} already.",
        4: "Line 2 has the same already.",
        5: f"Line 2 ({FIRST}-{FIRST + 99}) has {FIRST + 99} already.",
        7: "Line 6 has the same already.",
    }
    assert [line.line for line in plan.lines] == [2, 6]


async def test_doubts_warn_and_do_not_block(store: Store) -> None:
    lines = [
        us(12125551234, line=2),
        us(15555551234, line=3),
        StockLine("US", "TOLLFREE", 104, "", 18005551234, 18005551234, 5),
        us(12125551235, line=6, tier="silver"),
        StockLine("GB", "GEOGRAPHIC", 103, "", 442079460001, 442079460001, 7),
    ]
    plan = await plan_import(store, await catalog_of(store), lines)
    assert not plan.problems
    assert plan.checked_numbers == 5
    assert [(warning.line, warning.sentence) for warning in plan.warnings] == [
        (3, "This is no number of US, as far as libphonenumber knows."),
        (5, "No price is set for region 104."),
        (6, "No price is set for tier 'silver' of region 101."),
    ]
    assert (await apply_import(store, plan)).numbers == 5


async def test_national_spellings_are_refused(store: Store) -> None:
    """Without its calling code, a number of one country is somebody else's of another."""
    plan = await plan_import(store, await catalog_of(store), [us(2025550270, line=4)])
    assert [(problem.line, problem.sentence) for problem in plan.problems] == [
        (4, "Numbers of US begin with 1: write them internationally.")
    ]


async def test_one_range_by_hand(store: Store) -> None:
    catalog = await catalog_of(store)
    assert (await add_range(store, catalog, 101, "", FIRST, FIRST + 1)).numbers == 2
    with pytest.raises(ImportRefused, match="in stock already"):
        await add_range(store, catalog, 101, "", FIRST + 1, FIRST + 2)
    with pytest.raises(ImportRefused, match="no region 7"):
        await add_range(store, catalog, 7, "", FIRST, FIRST)


async def test_of_two_imports_at_once_one_wins(store: Store) -> None:
    catalog = await catalog_of(store)
    plans = [
        await plan_import(store, catalog, [us(FIRST + 10, FIRST + 2500)]),
        await plan_import(store, catalog, [us(FIRST + 2500, FIRST + 4000, tier="gold"), us(FIRST, line=3)]),
        await plan_import(store, catalog, [us(FIRST + 2499, FIRST + 2501, region_id=102)]),
    ]
    results = await asyncio.gather(*(apply_import(store, plan) for plan in plans), return_exceptions=True)
    assert sum(isinstance(result, ImportRefused) for result in results) == 2
    won = [plan for plan, result in zip(plans, results, strict=True) if not isinstance(result, BaseException)]
    free = sorted(number for numbers in (await free_numbers(store)).values() for number in numbers)
    assert free == sorted(number for line in won[0].lines for number in range(line.first, line.last + 1))


async def test_imports_at_once_that_do_not_touch_all_succeed(store: Store) -> None:
    catalog = await catalog_of(store)
    plans = [
        await plan_import(store, catalog, [us(FIRST + 100 * i, FIRST + 100 * i + 99)]) for i in range(12)
    ]
    results = await asyncio.gather(*(apply_import(store, plan) for plan in plans))
    assert sum(result.numbers for result in results) == 1200
    assert sum(result.offers_added for result in results) == 1
    (summary,) = await show_stock(store, await catalog_of(store))
    assert (summary.blocks, summary.free) == (2, 1200)


async def test_an_import_that_breaks_leaves_nothing(store: Store) -> None:
    def stop(done: int, total: int) -> None:
        raise RuntimeError(f"stopped at {done} of {total}")

    plan = await plan_import(store, await catalog_of(store), [us(FIRST, FIRST + 99_999)])
    before = await catalog_of(store)
    with pytest.raises(RuntimeError, match="stopped"):
        await apply_import(store, plan, progress=stop)
    assert await show_stock(store, await catalog_of(store)) == []
    assert (await catalog_of(store)).revision == before.revision


async def test_an_import_that_is_called_off_lets_go_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's writer goes on when the one who waits for it goes away, and would keep everybody else from writing."""
    monkeypatch.setattr(stock_adding, "CHUNK_BLOCKS", 1)
    blocks = 20_000
    plan = await plan_import(store, await catalog_of(store), [us(FIRST, FIRST + blocks * 1000 - 1)])
    loop, seen = asyncio.get_running_loop(), list[int]()

    def call_off(done: int, _total: int) -> None:
        if not seen:
            loop.call_soon_threadsafe(importing.cancel)
        seen.append(done)

    importing = asyncio.create_task(apply_import(store, plan, progress=call_off))
    with pytest.raises(asyncio.CancelledError):
        await importing
    assert await store.write(lambda work: work.list_offers()) == []
    assert await show_stock(store, await catalog_of(store)) == []
    assert 1 <= len(seen) < blocks


async def test_an_empty_import_changes_nothing(store: Store) -> None:
    plan = await plan_import(store, await catalog_of(store), [])
    assert (plan.numbers, (await apply_import(store, plan)).numbers) == (0, 0)


async def test_blocks_are_found_through_an_index(sqlite_url: str) -> None:
    """SQLite once read the whole table for a list of prefixes: SQLAlchemy had written `IN (...) = 1`."""
    await migrate(sqlite_url)
    store = open_store(sqlite_url)
    statements = (stock._BLOCKS, stock._LOCKED_BLOCKS, stock._KEYS, stock._RENTED_IN, stock._KEYS_IN_A_ROW)
    import sqlite3

    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as connection:
        for statement in statements:
            text = statement.text("sqlite")
            plan = connection.execute(f"EXPLAIN QUERY PLAN {text}", [None] * text.count("?")).fetchall()
            assert any("INDEX ix_block_prefix" in step[3] for step in plan), plan
            assert not any(step[3].startswith(("SCAN block", "SCAN rental")) for step in plan), plan
    connection.close()
    await store.close()


# --- the pure part ---


def spans(first: int, last: int) -> st.SearchStrategy[list[tuple[int, int, str]]]:
    ends = st.tuples(st.integers(first, last), st.integers(0, 2500), st.sampled_from(["", "gold"]))
    return st.lists(ends, max_size=12)


@given(spans(5_000, 15_000))
def test_pieces_are_exactly_the_numbers_of_the_lines_that_stay(
    given_spans: list[tuple[int, int, str]],
) -> None:
    lines = [
        us(first, first + more, line=line, tier=tier) for line, (first, more, tier) in enumerate(given_spans)
    ]
    kept, problems = without_overlaps(lines)
    assert {line.line for line in kept} | {problem.line for problem in problems} == set(range(len(lines)))
    assert not {line.line for line in kept} & {problem.line for problem in problems}
    wanted = [(line.place, number) for line in kept for number in range(line.first, line.last + 1)]
    assert len({number for _, number in wanted}) == len(wanted)
    cut_up = [
        (piece.place, number)
        for piece in cut(kept)
        for prefix in range(piece.first_prefix, piece.last_prefix + 1)
        for number in numbers_in(prefix, piece.bits)
    ]
    assert sorted(cut_up) == sorted(wanted)
    pieces = list(cut(kept))
    assert all(piece.bits == ALL_FREE for piece in pieces if piece.block_count > 1)
    keys = [(piece.first_prefix, piece.place) for piece in pieces]
    assert len(keys) == len(set(keys))
    assert [key[0] for key in keys] == sorted(key[0] for key in keys)


@given(spans(5_000, 40_000), st.integers(1, 7))
def test_chunks_hold_every_prefix_once(given_spans: list[tuple[int, int, str]], size: int) -> None:
    kept, _ = without_overlaps(
        [us(first, first + more, line=i) for i, (first, more, _) in enumerate(given_spans)]
    )
    chunks = list(prefix_chunks(kept, size))
    found = [prefix for chunk in chunks for prefix in chunk]
    wanted = {number // 1000 for line in kept for number in range(line.first, line.last + 1)}
    assert found == sorted(wanted)
    assert all(1 <= len(chunk) <= size for chunk in chunks)
