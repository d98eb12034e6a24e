"""Attaches end to end, HTTP, token, money and commit, beside the floors of the databases and beside peers."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import Final

from benchmarks import floors, wrk
from benchmarks.bench import Bench, wait_for
from benchmarks.load import Load, machine_noise
from benchmarks.messages import MessageFile, attach_messages, prism_messages
from benchmarks.peers import serving as peers
from benchmarks.peers.team import filling
from benchmarks.product import Server, drive, serving
from benchmarks.report import Grid, Measured, Report, Step, median, ratio
from benchmarks.world import ACCOUNTS, findings, prepare

TITLE: Final = "Attach, end to end"

PG_FLOOR_MANY, PG_FLOOR_HOT = "PostgreSQL floor, many accounts", "PostgreSQL floor, one hot account"
SQLITE_FLOOR: Final = "SQLite floor"
PG_32, PG_128, PG_HOT = (
    "attach on PostgreSQL",
    "attach on PostgreSQL, 128 connections",
    "attach on PostgreSQL, hot",
)
# Two processes for HTTP with a desk each, as the README advises for PostgreSQL.
PG_TWO_32, PG_TWO_128, PG_TWO_HOT = (
    "attach on PostgreSQL, two processes",
    "attach on PostgreSQL, two processes, 128 connections",
    "attach on PostgreSQL, two processes, hot",
)
SQLITE_32, SQLITE_128 = "attach on SQLite", "attach on SQLite, 128 connections"
TEAM, EMPTY = "a good team's stack", "FastAPI, empty endpoint"
PRISM, PRISM_PRODUCTION = "Prism as it comes", "Prism in production mode"


def run(bench: Bench) -> Report:
    """Measure."""
    report = Report("attach", TITLE)
    seconds = bench.seconds
    with ExitStack() as stack:
        postgres = stack.enter_context(bench.postgres())
        pg_url, pg_two_url, floor_url, team_url = (postgres.create_database() for _ in range(4))
        sqlite_url = bench.new_sqlite()
        floors.prepare_postgres(floor_url)
        sqlite_floor = floors.SqliteFloor(bench.new_folder() / "floor.db")
        wait_for(prepare(pg_url))
        wait_for(prepare(pg_two_url))
        wait_for(prepare(sqlite_url))
        wait_for(filling.fill(team_url, bench.size(1_000_000, 100_000)))
        pg = stack.enter_context(serving(bench, pg_url))
        pg_two = stack.enter_context(serving(bench, pg_two_url, processes=2))
        sqlite = stack.enter_context(serving(bench, sqlite_url))
        team = stack.enter_context(peers.team_stack(bench, team_url))
        empty = stack.enter_context(peers.empty_endpoint(bench))
        document = bench.new_folder() / "openapi.json"
        document.write_text(pg.get("/openapi.json"))
        mock = stack.enter_context(peers.prism(bench, document, production=False))
        mock_production = stack.enter_context(peers.prism(bench, document, production=True))
        folder = bench.new_folder()
        many = MessageFile(folder / "many", attach_messages(bench.tokens(ACCOUNTS)))
        mocked = MessageFile(folder / "mocked", prism_messages(bench.tokens(ACCOUNTS)))
        hot = MessageFile(folder / "hot", attach_messages(bench.tokens(1)))

        def attach(server: Server, messages: MessageFile, connections: int = 32) -> Step:
            return lambda: drive(server, messages, connections=connections, seconds=seconds)

        def peer(server: Server, messages: MessageFile = many) -> Step:
            return lambda: wrk.drive(server.port, messages, connections=32, seconds=seconds)

        def postgres_floor(accounts: int) -> Step:
            return lambda: floors.postgres_floor(floor_url, seconds, accounts=accounts)

        steps: dict[str, Step] = {
            PG_FLOOR_MANY: postgres_floor(ACCOUNTS),
            PG_32: attach(pg, many),
            PG_TWO_32: attach(pg_two, many),
            PG_128: attach(pg, many, 128),
            PG_TWO_128: attach(pg_two, many, 128),
            PG_FLOOR_HOT: postgres_floor(1),
            PG_HOT: attach(pg, hot),
            PG_TWO_HOT: attach(pg_two, hot),
            SQLITE_FLOOR: lambda: sqlite_floor.measure(seconds),
            SQLITE_32: attach(sqlite, many),
            SQLITE_128: attach(sqlite, many, 128),
            TEAM: _counted(team_url, peer(team)),
            EMPTY: peer(empty),
            PRISM: peer(mock, mocked),
            PRISM_PRODUCTION: peer(mock_production, mocked),
        }
        products = (pg, many), (pg_two, many), (sqlite, many)
        for server, messages in *products, (team, many), (empty, many), (mock, mocked):
            wrk.warm_up(server.port, messages)
        wrk.warm_up(mock_production.port, mocked)
        report.figures = bench.measure(steps)
        report.rates(
            "32 connections unless told; floors: pgbench with 8 clients, bare sqlite3 alone", list(steps)
        )
        _judge(report)
        for name, server, step in (("PostgreSQL", pg, PG_32), ("SQLite", sqlite, SQLITE_32)):
            _measure_latency(bench, report, name, server, many, median(report.figures, step) / 2)
        for name, url in (
            ("PostgreSQL", pg_url),
            ("PostgreSQL with two processes", pg_two_url),
            ("SQLite", sqlite_url),
        ):
            report.at_most(f"findings of the auditor afterwards, {name}", asyncio.run(findings(url)), 0)
    return report


def _counted(url: str, step: Step) -> Step:
    """A load on the good team's stack, after which its own table shows that it sold what it answered."""

    def run_and_count() -> Measured:
        before = asyncio.run(filling.count_rentals(url))
        found = step()
        sold = asyncio.run(filling.count_rentals(url)) - before
        if not found["answers"] <= sold <= found["answers"] + 64:
            raise wrk.BadLoad(f"the good team's stack answered {found['answers']} and sold {sold}")
        return found

    return run_and_count


def _judge(report: Report) -> None:
    figures = report.figures
    for what, over, under, wanted in (
        ("PostgreSQL, many accounts, 32 connections: attach / floor", PG_32, PG_FLOOR_MANY, 1.6),
        ("... with two processes", PG_TWO_32, PG_FLOOR_MANY, 1.6),
        ("PostgreSQL, many accounts, 128 connections: attach / floor", PG_128, PG_FLOOR_MANY, 1.8),
        ("... with two processes for 128", PG_TWO_128, PG_FLOOR_MANY, 1.8),
        ("PostgreSQL, one hot account: attach / floor", PG_HOT, PG_FLOOR_HOT, 3.5),
        ("... with two processes for one account", PG_TWO_HOT, PG_FLOOR_HOT, 3.5),
        ("SQLite: attach / floor", SQLITE_32, SQLITE_FLOOR, 1.2),
        ("attach on PostgreSQL / a good team's stack", PG_32, TEAM, 12),
        ("attach on PostgreSQL / Prism as it comes", PG_32, PRISM, 2.5),
        ("attach on PostgreSQL / Prism in production mode", PG_32, PRISM_PRODUCTION, 1.3),
    ):
        report.at_least(what, ratio(figures, over, under), wanted, " x")
    steps = PG_32, PG_128, PG_HOT, PG_TWO_32, PG_TWO_128, PG_TWO_HOT, SQLITE_32, SQLITE_128
    cpu = {step: median(figures, step, "cpu_us") for step in steps}
    rows = [[step, f"{value:,.0f}"] for step, value in cpu.items()]
    report.tables.append(Grid("Processor time of the server process", ("what", "µs per attach"), rows))


def _measure_latency(
    bench: Bench, report: Report, name: str, server: Server, messages: MessageFile, rate: float
) -> None:
    """Latency at half the top rate, beside how late this machine wakes a process that only sleeps."""
    seconds = bench.seconds

    def with_noise() -> Measured:
        load = Load(server.port, messages, per_second=rate, seconds=seconds)
        noise = machine_noise(seconds)
        return load.result() | {f"noise_{key}": value for key, value in noise.items()}

    step = f"half the top rate on {name}"
    report.figures |= bench.measure({step: with_noise})
    figures = report.figures
    report.at_most(f"p99 at half the top rate, {name}", median(figures, step, "p99_ms"), 25, " ms")
    report.notes.append(
        f"{name} at {rate:,.0f} attaches a second: p50 {median(figures, step, 'p50_ms'):.1f} ms,"
        f" p99 {median(figures, step, 'p99_ms'):.1f} ms. A process that only sleeps a millisecond at a time woke"
        f" {median(figures, step, 'noise_p99_ms'):.1f} ms late at its p99 meanwhile."
    )
