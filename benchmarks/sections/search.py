"""Search: 20 numbers of a region of ten million, beside an empty endpoint; and how it depends on the stock around."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from typing import Any, Final

from benchmarks import wrk
from benchmarks.bench import Bench, wait_for
from benchmarks.messages import MessageFile, attach_messages, search_messages
from benchmarks.peers import serving as peers
from benchmarks.product import Server, drive, serving
from benchmarks.report import Grid, Measured, Report, Step, median, ratio
from benchmarks.world import (
    ACCOUNTS,
    FIRST_ACCOUNT,
    FIRST_PREFIX,
    OFFER,
    REGION,
    add_worn_blocks,
    prepare,
)
from numberline.app import compose, open_and_close
from numberline.domain.access import OWNER, Caller
from numberline.domain.clock import SystemClock
from numberline.service.context import Call
from numberline.service.search import SearchOrder, search_numbers
from numberline.settings import load_settings

TITLE: Final = "Search"

EMPTY: Final = "FastAPI, empty endpoint"
_RUNS: Final = 11
_PLACE: Final[dict[str, Any]] = {"country": "US", "category": "GEOGRAPHIC", "region_id": REGION}


def run(bench: Bench) -> Report:
    """Measure."""
    report = Report("search", TITLE)
    with bench.postgres() as postgres:
        blocks, others = bench.size(10_000, 500), bench.size(990_000, 10_000)
        small = {"PostgreSQL": postgres.create_database(), "SQLite": bench.new_sqlite()}
        large = {"PostgreSQL": postgres.create_database(), "SQLite": bench.new_sqlite()}
        for place, url in enumerate((*small.values(), *large.values())):
            with bench.console.status("filling the stock"):
                wait_for(prepare(url, blocks=0, other_blocks=others if place >= len(small) else 0))
                wait_for(add_worn_blocks(url, OFFER, FIRST_PREFIX, blocks))
        _over_http(bench, report, small)
        for engine, url in small.items():
            with bench.console.status(f"searching on {engine} in process"):
                figures = asyncio.run(_in_process(bench, url, large[engine]))
            _compare(report, engine, figures, (blocks * 1_000, (blocks + others) * 1_000))
    return report


def _over_http(bench: Bench, report: Report, urls: dict[str, str]) -> None:
    folder, tokens = bench.new_folder(), bench.tokens(ACCOUNTS)
    messages = MessageFile(folder / "search", search_messages(tokens))
    bought = MessageFile(folder / "attach", attach_messages(tokens))
    with ExitStack() as servers:
        empty = servers.enter_context(peers.empty_endpoint(bench))
        products = {engine: servers.enter_context(serving(bench, url)) for engine, url in urls.items()}
        products |= {
            f"{engine}, two processes": servers.enter_context(serving(bench, url, processes=2))
            for engine, url in urls.items()
        }
        for server in (empty, *products.values()):
            wrk.warm_up(server.port, messages)

        def search(server: Server) -> Step:
            return lambda: drive(
                server, messages, connections=32, seconds=bench.seconds, method="GetNewPhoneNumbers"
            )

        steps: dict[str, Step] = {
            EMPTY: lambda: wrk.drive(empty.port, messages, connections=32, seconds=bench.seconds)
        }
        steps |= {f"search on {engine}": search(server) for engine, server in products.items()}
        steps |= {
            f"search on {engine} beside a buyer": _beside_a_buyer(bench, products[engine], messages, bought)
            for engine in urls
        }
        report.figures = bench.measure(steps)
    report.rates("20 of a region of ten million numbers, 32 connections", list(steps))
    for engine in urls:
        value = ratio(report.figures, f"search on {engine}", EMPTY)
        report.at_least(f"search on {engine} / an empty endpoint of FastAPI", value, 1, " x")
        doubled = ratio(report.figures, f"search on {engine}, two processes", EMPTY)
        report.notes.append(
            f"Two processes for HTTP made {doubled:.2f} times the empty endpoint's rate on {engine}; it has one."
        )
        disturbed = ratio(report.figures, f"search on {engine} beside a buyer", EMPTY)
        sold = median(report.figures, f"search on {engine} beside a buyer", "sold_per_second")
        report.notes.append(
            f"Beside a client that buys without a pause, {sold:,.0f} numbers a second, the rate on {engine} was"
            f" {disturbed:.2f} times the empty endpoint's: each sale makes the next search read anew."
        )


def _beside_a_buyer(bench: Bench, server: Server, searches: MessageFile, attaches: MessageFile) -> Step:
    def step() -> Measured:
        with ThreadPoolExecutor(1) as threads:
            buying = threads.submit(
                drive, server, attaches, connections=1, seconds=bench.seconds, alone=False
            )
            found = drive(
                server,
                searches,
                connections=32,
                seconds=bench.seconds,
                method="GetNewPhoneNumbers",
                alone=False,
            )
        return found | {"sold_per_second": buying.result()["per_second"]}

    return step


async def _in_process(
    bench: Bench, small: str, large: str
) -> dict[str, tuple[list[Measured], list[Measured]]]:
    """Milliseconds of every sort of search on two stores in turn, without HTTP and tokens."""
    async with _calling(bench, small) as in_small, _calling(bench, large) as in_large:
        total = (await search_numbers(in_small, SearchOrder(**_PLACE))).total
        searches: dict[str, dict[str, Any]] = {
            "first page": {},
            "last page": {"offset": total - 20},
            "total alone": {"count": 1},
            "mask *555*": {"mask": "*555*"},
            "mask 1555*99": {"mask": "1555*99"},
            "mask *0000": {"mask": "*0000"},
        }
        found = {}
        for name, extra in searches.items():
            order = SearchOrder(**(_PLACE | extra))
            times: tuple[list[Measured], list[Measured]] = [], []
            for _ in range(_RUNS):
                for call, kept in zip((in_small, in_large), times, strict=True):
                    began_at = time.perf_counter()
                    await search_numbers(call, order)
                    kept.append({"ms": 1_000 * (time.perf_counter() - began_at)})
            found[name] = times[0][1:], times[1][1:]  # the first ones fill the database's cache
    return found


@asynccontextmanager
async def _calling(bench: Bench, url: str) -> AsyncIterator[Call]:
    """A caller of a store's own services."""
    services = compose(load_settings(bench.new_folder(), database=url), SystemClock())
    async with open_and_close(services, url):
        account = await services.store.read(lambda ask: ask.find_account(FIRST_ACCOUNT))
        assert account is not None, "the store has its first account"
        yield Call(Caller(account, OWNER, "bench"), services)


def _compare(
    report: Report,
    engine: str,
    figures: dict[str, tuple[list[Measured], list[Measured]]],
    sizes: tuple[int, int],
) -> None:
    rows, slowest, growth = [], {"page": 0.0, "mask": 0.0}, 0.0
    for name, rounds in figures.items():
        in_small, in_large = (statistics.median(one["ms"] for one in found) for found in rounds)
        rows.append([name, f"{in_small:.2f}", f"{in_large:.2f}", f"{in_large / in_small:.2f}"])
        sort = "mask" if name.startswith("mask") else "page"
        slowest[sort] = max(slowest[sort], in_large)
        growth = max(growth, in_large / in_small)
        report.figures |= {
            f"{name}, {engine}, {size:,}": one for size, one in zip(sizes, rounds, strict=True)
        }
    columns = ("search", f"{sizes[0]:,} in stock", f"{sizes[1]:,} in stock", "ratio")
    report.tables.append(Grid(f"In process on {engine}, ms (median of {_RUNS - 1})", columns, rows))
    report.at_most(f"slowest page of the larger stock, {engine}", slowest["page"], 10, " ms")
    report.at_most(f"slowest mask of the larger stock, {engine}", slowest["mask"], 20, " ms")
    report.at_most(f"most that the larger stock adds, {engine}", growth, 1.5, " x")
