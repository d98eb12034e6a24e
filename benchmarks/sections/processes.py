"""Two processes on one store: as fast as one at least, nobody refused while stock is left, no deadlocks."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

from benchmarks import wrk
from benchmarks.bench import Bench, wait_for
from benchmarks.messages import MessageFile, attach_messages, crossing_messages
from benchmarks.product import Server, drive, serving
from benchmarks.report import Report, Step, ratio
from benchmarks.world import ACCOUNTS, FIRST_PREFIX, prepare
from tests.kit.postgres import PostgresServer, name_of

TITLE: Final = "Two processes on one store"

_LONG_SECONDS: Final = 1_800
# Of 32, two processes have too few for themselves to make large batches of; of 128 they have more than one has of 32.
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
            for count, name in ((1, "one process"), (2, "two processes")):
                server = stack.enter_context(serving(bench, url, processes=count))
                wrk.warm_up(server.port, messages)
                for connections in _CONNECTIONS:
                    steps[_step(name, engine, connections)] = _load(bench, server, messages, connections)
        report.figures = bench.measure(steps)
        report.rates("Attach, many accounts", list(steps))
        for engine in ("PostgreSQL", "SQLite"):
            for connections in _CONNECTIONS:
                two, one = (_step(name, engine, connections) for name in ("two processes", "one process"))
                what = f"{engine}, {connections} connections: two processes / one process"
                report.at_least(what, ratio(report.figures, two, one), 1, " x")
        for engine in ("PostgreSQL", "SQLite"):
            _sell_out(bench, report, postgres, engine)
            _cross(bench, report, postgres, engine)
    return report


def _step(name: str, engine: str, connections: int) -> str:
    return f"{name}, {engine}, {connections} connections"


def _load(bench: Bench, server: Server, messages: MessageFile, connections: int) -> Step:
    return lambda: drive(server, messages, connections=connections, seconds=bench.seconds)


def _sell_out(bench: Bench, report: Report, postgres: PostgresServer, engine: str) -> None:
    """As many buyers as numbers: with a wrong word about the stock, one of them would be refused."""
    blocks = bench.size(10, 2)
    url = _new_store(bench, postgres, engine)
    wait_for(prepare(url, blocks=blocks))
    tokens = bench.tokens(ACCOUNTS)
    bearers = (tokens[place % len(tokens)] for place in range(1_000 * blocks))
    messages = MessageFile(bench.new_folder() / "all", attach_messages(list(bearers)))
    with bench.console.status(f"selling out on {engine}"), serving(bench, url, processes=2) as server:
        found = drive(server, messages, connections=32, seconds=_LONG_SECONDS, once=True)
    report.figures[f"selling out, {engine}"] = [found]
    report.notes.append(
        f"{engine}: {1_000 * blocks:,} buyers of {1_000 * blocks:,} numbers over two processes, nobody refused."
    )


def _cross(bench: Bench, report: Report, postgres: PostgresServer, engine: str) -> None:
    """Buyers of the same two blocks in opposite orders."""
    count = bench.size(100_000 if bench.full else 10_000, 1_000)
    url = _new_store(bench, postgres, engine)
    wait_for(prepare(url, blocks=2 * -(-count // 1_000)))
    crossing = crossing_messages(bench.tokens(ACCOUNTS), count, FIRST_PREFIX)
    messages = MessageFile(bench.new_folder() / "crossing", crossing)
    with bench.console.status(f"crossing orders on {engine}"), serving(bench, url, processes=2) as server:
        found = drive(server, messages, connections=32, seconds=_LONG_SECONDS, once=True)
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
