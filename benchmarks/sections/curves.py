"""Curves: the cost of an attach against the stock, the books and the clients, as pictures."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from benchmarks import wrk
from benchmarks.bench import Bench, wait_for
from benchmarks.books import fill_books
from benchmarks.chart import Point, draw, short
from benchmarks.messages import MessageFile, attach_messages
from benchmarks.product import Server, drive, serving
from benchmarks.report import Grid, Measured, Report, Step
from benchmarks.world import ACCOUNTS, prepare
from tests.kit.postgres import PostgresServer

TITLE: Final = "Curves"

_ENGINES: Final = ("PostgreSQL", "SQLite")
# Many points, shorter than other steps.
_SHARE_OF_SECONDS: Final = 0.6


def run(bench: Bench) -> Report:
    """Measure."""
    report = Report("curves", TITLE)
    messages = MessageFile(bench.new_folder() / "attach", attach_messages(bench.tokens(ACCOUNTS)))
    with bench.postgres(max_connections="400") as postgres:
        _draw(
            report,
            "cost-by-stock",
            "Cost of an attach by the size of the stock",
            "numbers in stock",
            _by_stock(bench, postgres, messages),
        )
        _draw(
            report,
            "cost-by-books",
            "Cost of an attach by the size of the books",
            "rentals in the books, five postings each",
            _by_books(bench, postgres, messages),
        )
        _draw(
            report,
            "cost-by-clients",
            "Cost of an attach by the number of clients",
            "connections",
            _by_clients(bench, postgres, messages),
        )
    return report


Curves = dict[tuple[str, int], list[Measured]]


def _by_stock(bench: Bench, postgres: PostgresServer, messages: MessageFile) -> Curves:
    sizes = (10**5, 10**6) if bench.quick else (10**5, 10**6, 10**7, 10**8, 10**9)
    with ExitStack() as stack:
        steps = {}
        for engine in _ENGINES:
            for size in sizes:
                url = _new_store(bench, postgres, engine)
                with bench.console.status(f"{size:,} numbers on {engine}"):
                    wait_for(prepare(url, blocks=size // 1_000))
                steps[engine, size] = _load(bench, stack.enter_context(serving(bench, url)), messages)
        return _measure(bench, steps)


def _by_books(bench: Bench, postgres: PostgresServer, messages: MessageFile) -> Curves:
    sizes = [0, 10_000] if bench.quick else [0, 10_000, 100_000, 1_000_000]
    sizes += [10_000_000] if bench.full else []
    with ExitStack() as stack:
        steps = {}
        for engine in _ENGINES:
            for size in sizes:
                url = _new_store(bench, postgres, engine)
                wait_for(prepare(url))
                with bench.console.status(f"{size:,} rentals on {engine}"):
                    if size:
                        asyncio.run(fill_books(url, size))
                steps[engine, size] = _load(bench, stack.enter_context(serving(bench, url)), messages)
        return _measure(bench, steps)


def _by_clients(bench: Bench, postgres: PostgresServer, messages: MessageFile) -> Curves:
    counts = (1, 32) if bench.quick else (1, 4, 16, 64, 256)
    with ExitStack() as stack:
        steps = {}
        for engine in _ENGINES:
            url = _new_store(bench, postgres, engine)
            wait_for(prepare(url))
            server = stack.enter_context(serving(bench, url))
            for count in counts:
                steps[engine, count] = _load(bench, server, messages, count)
        return _measure(bench, steps)


def _load(bench: Bench, server: Server, messages: MessageFile, connections: int = 32) -> Step:
    wrk.warm_up(server.port, messages)
    seconds = _SHARE_OF_SECONDS * bench.seconds
    return lambda: drive(server, messages, connections=connections, seconds=seconds)


def _measure(bench: Bench, steps: dict[tuple[str, int], Step]) -> Curves:
    named = {f"{engine}, {size:,}": (engine, size) for engine, size in steps}
    figures = bench.measure({name: steps[key] for name, key in named.items()})
    return {key: figures[name] for name, key in named.items()}


def _draw(report: Report, name: str, title: str, x_title: str, curves: Curves) -> None:
    sizes = sorted({size for _, size in curves})
    points = {engine: [_point(size, curves[engine, size]) for size in sizes] for engine in _ENGINES}
    report.pictures[name] = draw(
        title, x_title, "µs per attach" + ("" if name == "cost-by-clients" else ", 32 connections"), points
    )
    report.figures |= {f"{name}, {engine}, {size}": rounds for (engine, size), rounds in curves.items()}
    rows = [[engine, *(f"{point.y:,.0f}" for point in points[engine])] for engine in _ENGINES]
    report.tables.append(Grid(f"{title}, µs", (x_title, *map(short, sizes)), rows))


def _point(size: int, rounds: Sequence[Measured]) -> Point:
    costs = [1e6 / one["per_second"] for one in rounds]
    return Point(size, statistics.median(costs), min(costs), max(costs))


def _new_store(bench: Bench, postgres: PostgresServer, engine: str) -> str:
    return postgres.create_database() if engine == "PostgreSQL" else bench.new_sqlite()
