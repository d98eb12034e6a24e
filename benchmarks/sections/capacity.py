"""Capacity: what an attach and a search take of each part that can run out, for `docs/capacity.md`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Final

import psutil

from benchmarks import wrk
from benchmarks.bench import Bench, wait_for
from benchmarks.messages import MessageFile, attach_messages, search_messages
from benchmarks.product import Server, drive, serving
from benchmarks.report import Grid, Measured, Report, Step, median
from benchmarks.world import ACCOUNTS, prepare
from tests.kit.postgres import PostgresServer, name_of

TITLE: Final = "What an attach and a search take"

_CONNECTIONS: Final = 32
_COLUMNS: Final = (
    ("cpu_us", "server, µs of processor"),
    ("database_us", "PostgreSQL, µs of processor"),
    ("log_bytes", "bytes of its log"),
    ("kept_bytes", "bytes kept"),
)


def run(bench: Bench) -> Report:
    """Measure."""
    report = Report("capacity", TITLE)
    folder, tokens = bench.new_folder(), bench.tokens(ACCOUNTS)
    attaches = MessageFile(folder / "attach", attach_messages(tokens))
    searches = MessageFile(folder / "search", search_messages(tokens))
    with ExitStack() as stack:
        postgres = stack.enter_context(bench.postgres())
        steps: dict[str, Step] = {}
        for processes in (1, 2):
            url = postgres.create_database()
            wait_for(prepare(url))
            server = stack.enter_context(serving(bench, url, processes=processes))
            wrk.warm_up(server.port, attaches)
            name = f"PostgreSQL, {processes} process{'es' if processes > 1 else ''}"
            for connections in (_CONNECTIONS, 128):
                steps[f"attach, {name}, {connections} connections"] = _attaching(
                    bench, server, attaches, connections, postgres, url
                )
            steps[f"search, {name}, {_CONNECTIONS} connections"] = _searching(
                bench, server, searches, postgres
            )
        url = bench.new_sqlite()
        wait_for(prepare(url))
        server = stack.enter_context(serving(bench, url))
        wrk.warm_up(server.port, attaches)
        steps[f"attach, SQLite, {_CONNECTIONS} connections"] = _writing_a_file(bench, server, attaches, url)
        report.figures = bench.measure(steps)
    rows = [[step, f"{median(report.figures, step):,.0f}", *_costs(report, step)] for step in steps]
    titles = ("what", "a second", *(title for _, title in _COLUMNS))
    report.tables.append(Grid("Each, end to end", titles, rows))
    return report


def _costs(report: Report, step: str) -> list[str]:
    known = report.figures[step][0]
    return [f"{median(report.figures, step, key):,.0f}" if key in known else "" for key, _ in _COLUMNS]


def _attaching(
    bench: Bench,
    server: Server,
    messages: MessageFile,
    connections: int,
    postgres: PostgresServer,
    url: str,
) -> Step:
    def step() -> Measured:
        log, kept, used = _log_bytes(postgres), _kept_bytes(postgres, url), _cpu_seconds(postgres)
        found = drive(server, messages, connections=connections, seconds=bench.seconds)
        return found | {
            "database_us": 1e6 * (_cpu_seconds(postgres) - used) / found["answers"],
            "log_bytes": (_log_bytes(postgres) - log) / found["answers"],
            "kept_bytes": (_kept_bytes(postgres, url) - kept) / found["answers"],
        }

    return step


def _searching(bench: Bench, server: Server, messages: MessageFile, postgres: PostgresServer) -> Step:
    def step() -> Measured:
        used = _cpu_seconds(postgres)
        found = drive(
            server, messages, connections=_CONNECTIONS, seconds=bench.seconds, method="GetNewPhoneNumbers"
        )
        return found | {"database_us": 1e6 * (_cpu_seconds(postgres) - used) / found["answers"]}

    return step


def _writing_a_file(bench: Bench, server: Server, messages: MessageFile, url: str) -> Step:
    path = Path(url.removeprefix("sqlite:///"))

    def step() -> Measured:
        kept = path.stat().st_size
        found = drive(server, messages, connections=_CONNECTIONS, seconds=bench.seconds)
        return found | {"kept_bytes": (path.stat().st_size - kept) / found["answers"]}

    return step


def _cpu_seconds(postgres: PostgresServer) -> float:
    parent = psutil.Process(postgres.pid)
    times = [one.cpu_times() for one in [parent, *parent.children(recursive=True)]]
    return float(sum(one.user + one.system for one in times))


def _log_bytes(postgres: PostgresServer) -> int:
    return int(postgres.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))


def _kept_bytes(postgres: PostgresServer, url: str) -> int:
    return int(postgres.execute(f"SELECT pg_database_size('{name_of(url)}')"))
