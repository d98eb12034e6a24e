"""Reads while attaches run at full rate: how much later their answers come than in a quiet server."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

from benchmarks import wrk
from benchmarks.bench import Bench, wait_for
from benchmarks.load import Load
from benchmarks.messages import MessageFile, attach_messages, list_messages, search_messages
from benchmarks.product import Server, drive, serving
from benchmarks.report import Grid, Measured, Report, Step, median, ratio
from benchmarks.world import ACCOUNTS, prepare

TITLE: Final = "Reads beside attaches"

_READS_PER_SECOND: Final = 50
_METHODS: Final = ("GetPhoneNumbers", "GetNewPhoneNumbers")


def run(bench: Bench) -> Report:
    """Measure."""
    report = Report("reads", TITLE)
    folder, tokens = bench.new_folder(), bench.tokens(ACCOUNTS)
    attaches = MessageFile(folder / "attach", attach_messages(tokens))
    reads = {
        "GetPhoneNumbers": MessageFile(folder / "list", list_messages(tokens)),
        "GetNewPhoneNumbers": MessageFile(folder / "search", search_messages(tokens)),
    }
    with ExitStack() as stack:
        postgres = stack.enter_context(bench.postgres())
        steps: dict[str, Step] = {}
        for engine, url in (("PostgreSQL", postgres.create_database()), ("SQLite", bench.new_sqlite())):
            wait_for(prepare(url))
            server = stack.enter_context(serving(bench, url))
            wrk.warm_up(server.port, attaches)
            steps[f"quiet, {engine}"] = _reading(bench, server, reads, None)
            steps[f"beside attaches, {engine}"] = _reading(bench, server, reads, attaches)
        report.figures = bench.measure(steps)
    rows = []
    for engine in ("PostgreSQL", "SQLite"):
        busy, quiet = f"beside attaches, {engine}", f"quiet, {engine}"
        for method in _METHODS:
            key = f"{method}_p99_ms"
            values = [median(report.figures, step, key) for step in (quiet, busy)]
            rows.append([f"{method}, {engine}", *(f"{value:.1f}" for value in values)])
            growth = ratio(report.figures, busy, quiet, key)
            report.at_most(f"{method} on {engine}: p99 beside attaches / quiet", growth, 3, " x")
        rate = median(report.figures, busy)
        report.notes.append(
            f"{engine}: {rate:,.0f} attaches a second beside {_READS_PER_SECOND} reads of each method."
        )
    report.tables.append(Grid("p99 of reads, ms", ("what", "quiet", "beside attaches"), rows))
    return report


def _reading(
    bench: Bench, server: Server, reads: dict[str, MessageFile], attaches: MessageFile | None
) -> Step:
    # Twice as long as other steps: a 99th percentile needs its hundreds of answers.
    seconds = 2 * bench.seconds

    def step() -> Measured:
        loads = {
            method: Load(server.port, messages, per_second=_READS_PER_SECOND, seconds=seconds, connections=8)
            for method, messages in reads.items()
        }
        found: Measured = {}
        if attaches is not None:
            found = drive(server, attaches, connections=32, seconds=seconds, alone=False)
        for method, load in loads.items():
            found |= {f"{method}_{key}": value for key, value in load.result().items()}
        return found

    return step
