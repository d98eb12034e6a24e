"""Two processes of one server, and two servers on one store: as fast as one, nobody refused while stock is left, no deadlocks."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

from benchmarks import wrk
from benchmarks.bench import Bench, wait_for
from benchmarks.messages import MessageFile, attach_messages, crossing_messages
from benchmarks.product import Server, drive, drive_together, serving
from benchmarks.report import Measured, Report, Step, ratio
from benchmarks.world import ACCOUNTS, FIRST_PREFIX, prepare
from tests.kit.postgres import PostgresServer, name_of

TITLE: Final = "Two processes on one store"

_LONG_SECONDS: Final = 1_800
# Of 32, two desks have too few for themselves to make large batches of; of 128 they have more than one has of 32.
_CONNECTIONS: Final = (32, 128)


def run(bench: Bench) -> Report:
    """Measure."""
    report = Report("processes", TITLE)
    messages = MessageFile(bench.new_folder() / "attach", attach_messages(bench.tokens(ACCOUNTS)))
    with ExitStack() as stack:
        postgres = stack.enter_context(bench.postgres(max_connections="300"))
        steps: dict[str, Step] = {}
        for engine in ("PostgreSQL", "SQLite"):
            url = _new_store(bench, postgres, engine)
            wait_for(prepare(url))
            for name, processes in (("one process", (1,)), ("two processes", (2,)), ("two servers", (1, 1))):
                servers = [stack.enter_context(serving(bench, url, processes=count)) for count in processes]
                for server in servers:
                    wrk.warm_up(server.port, messages)
                for connections in _CONNECTIONS:
                    steps[_step(name, engine, connections)] = _load(bench, servers, messages, connections)
        report.figures = bench.measure(steps)
        report.rates("Attach, many accounts", list(steps))
        for engine in ("PostgreSQL", "SQLite"):
            for connections in _CONNECTIONS:
                two, one = (_step(name, engine, connections) for name in ("two processes", "one process"))
                what = f"{engine}, {connections} connections: two processes / one process"
                report.at_least(what, ratio(report.figures, two, one), 1, " x")
                apart = _step("two servers", engine, connections)
                what = f"{engine}, {connections} connections: two servers / one process"
                report.at_least(what, ratio(report.figures, apart, one), 1, " x")
        for engine in ("PostgreSQL", "SQLite"):
            _sell_out(bench, report, postgres, engine)
            _cross(bench, report, postgres, engine)
    return report


def _step(name: str, engine: str, connections: int) -> str:
    return f"{name}, {engine}, {connections} connections"


def _load(bench: Bench, servers: list[Server], messages: MessageFile, connections: int) -> Step:
    if len(servers) == 1:
        return lambda: drive(servers[0], messages, connections=connections, seconds=bench.seconds)
    files = [messages] * len(servers)
    return lambda: drive_together(servers, files, connections=connections, seconds=bench.seconds)


def _spend(bench: Bench, url: str, messages: list[bytes]) -> Measured:
    """Send every message once, half of them to either of two servers."""
    halves = [MessageFile(bench.new_folder() / "half", messages[place::2]) for place in range(2)]
    with serving(bench, url) as first, serving(bench, url) as second:
        return drive_together((first, second), halves, connections=32, seconds=_LONG_SECONDS, once=True)


def _sell_out(bench: Bench, report: Report, postgres: PostgresServer, engine: str) -> None:
    """As many buyers as numbers: with a wrong word about the stock, one of them would be refused."""
    blocks = bench.size(10, 2)
    url = _new_store(bench, postgres, engine)
    wait_for(prepare(url, blocks=blocks))
    tokens = bench.tokens(ACCOUNTS)
    bearers = (tokens[place % len(tokens)] for place in range(1_000 * blocks))
    with bench.console.status(f"selling out on {engine}"):
        found = _spend(bench, url, list(attach_messages(list(bearers))))
    report.figures[f"selling out, {engine}"] = [found]
    report.notes.append(
        f"{engine}: {1_000 * blocks:,} buyers of {1_000 * blocks:,} numbers over two servers, nobody refused."
    )


def _cross(bench: Bench, report: Report, postgres: PostgresServer, engine: str) -> None:
    """Buyers of the same two blocks in opposite orders."""
    count = bench.size(100_000 if bench.full else 10_000, 1_000)
    url = _new_store(bench, postgres, engine)
    wait_for(prepare(url, blocks=2 * -(-count // 1_000)))
    with bench.console.status(f"crossing orders on {engine}"):
        found = _spend(bench, url, list(crossing_messages(bench.tokens(ACCOUNTS), count, FIRST_PREFIX)))
    report.figures[f"crossing orders, {engine}"] = [found]
    report.notes.append(
        f"{engine}: {count:,} buyers of two numbers each, in crossing orders: nobody refused,"
        f" {found['per_second']:,.0f} a second."
    )
    if engine == "PostgreSQL":
        question = f"SELECT deadlocks FROM pg_stat_database WHERE datname = '{name_of(url)}'"
        report.at_most("deadlocks over crossing orders", int(postgres.execute(question)), 0)


def _new_store(bench: Bench, postgres: PostgresServer, engine: str) -> str:
    return postgres.create_database() if engine == "PostgreSQL" else bench.new_sqlite()
