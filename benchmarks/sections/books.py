"""Books: what ten million rentals and fifty million postings in the books do to the cost of an attach."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from typing import Final

from benchmarks import wrk
from benchmarks.bench import Bench, wait_for
from benchmarks.books import POSTINGS_EACH, fill_books
from benchmarks.messages import MessageFile, attach_messages
from benchmarks.product import Server, drive, serving
from benchmarks.report import Report, Step, ratio
from benchmarks.world import ACCOUNTS, findings, prepare

TITLE: Final = "Books"


def run(bench: Bench) -> Report:
    """Measure."""
    report = Report("books", TITLE)
    # SQLite takes minutes to write what PostgreSQL writes with two connections: it gets less unless time is given.
    rentals = {
        "PostgreSQL": bench.size(10_000_000, 100_000),
        "SQLite": bench.size(10_000_000 if bench.full else 1_000_000, 100_000),
    }
    messages = MessageFile(bench.new_folder() / "attach", attach_messages(bench.tokens(ACCOUNTS)))
    with ExitStack() as stack:
        postgres = stack.enter_context(bench.postgres())
        steps: dict[str, Step] = {}
        filled = []
        for engine, wanted in rentals.items():
            for name in ("empty books", "full books"):
                url = postgres.create_database() if engine == "PostgreSQL" else bench.new_sqlite()
                wait_for(prepare(url))
                if name == "full books":
                    began_at = time.monotonic()
                    with bench.console.status(f"writing {wanted:,} rentals on {engine}"):
                        count = asyncio.run(fill_books(url, wanted))
                    report.notes.append(
                        f"{engine}: {count:,} rentals and {POSTINGS_EACH * count:,} postings,"
                        f" written in {time.monotonic() - began_at:,.0f} s."
                    )
                    filled.append(url)
                server = stack.enter_context(serving(bench, url))
                wrk.warm_up(server.port, messages)
                steps[f"{name}, {engine}"] = _load(bench, server, messages)
        report.figures = bench.measure(steps)
        report.rates("Attach, 32 connections, many accounts", list(steps))
        for engine in rentals:
            value = ratio(report.figures, f"full books, {engine}", f"empty books, {engine}")
            report.at_least(f"{engine}: full books / empty books", value, 0.85, " x")
        if bench.quick:  # millions of rows take the auditor minutes; the same statements wrote these
            for url in filled:
                report.at_most("findings of the auditor", asyncio.run(findings(url)), 0)
    return report


def _load(bench: Bench, server: Server, messages: MessageFile) -> Step:
    return lambda: drive(server, messages, connections=32, seconds=bench.seconds)
