"""Memory of a server: at rest, under load, and how it grows with the requests served."""

from __future__ import annotations

import time
from typing import Final

from benchmarks.bench import Bench, wait_for
from benchmarks.chart import Point, draw
from benchmarks.messages import MessageFile, attach_messages
from benchmarks.product import drive, serving
from benchmarks.report import Grid, Measured, Report
from benchmarks.world import ACCOUNTS, prepare

TITLE: Final = "Memory"

_REST_SECONDS: Final = 2
# Caches fill and pools open at first; growth is counted from here on.
_SETTLED_SHARE: Final = 0.25


def run(bench: Bench) -> Report:
    """Measure."""
    report = Report("memory", TITLE)
    wanted = bench.size(1_000_000 if bench.full else 100_000, 2_000)
    messages = MessageFile(bench.new_folder() / "attach", attach_messages(bench.tokens(ACCOUNTS)))
    with bench.postgres() as postgres:
        for engine, url in (("PostgreSQL", postgres.create_database()), ("SQLite", bench.new_sqlite())):
            wait_for(prepare(url, blocks=2 * wanted // 1_000 + 100))
            with bench.console.status(f"{wanted:,} attaches on {engine}"):
                report.figures[engine] = _watch(bench, url, messages, wanted)
    for engine, curve in report.figures.items():
        settled = next(one for one in curve if one["requests"] >= _SETTLED_SHARE * curve[-1]["requests"])
        served = curve[-1]["requests"] - settled["requests"]
        growth = curve[-1]["rss_mb"] - settled["rss_mb"]
        report.at_most(f"at rest, {engine}", curve[0]["rss_mb"], 100, " MB")
        report.at_most(f"under load, {engine}", max(one["rss_mb"] for one in curve), 160, " MB")
        report.notes.append(
            f"{engine}: {curve[-1]['requests']:,.0f} attaches; over the last {served:,.0f} of them the server grew by"
            f" {growth:+.1f} MB. All its processes together had {curve[0]['all_mb']:.0f} MB at rest and"
            f" {curve[-1]['all_mb']:.0f} MB at the end, what they share counted once."
        )
        rows = [[f"{one['requests']:,.0f}", f"{one['rss_mb']:.1f}"] for one in _thinned(curve)]
        report.tables.append(
            Grid(f"Resident memory of the largest process, {engine}", ("attaches", "MB"), rows)
        )
    report.pictures["memory"] = draw(
        "Memory of a server's largest process under load",
        "attaches served",
        "resident memory, MB",
        {
            engine: [Point(one["requests"], *(one["rss_mb"],) * 3) for one in _thinned(curve)]
            for engine, curve in report.figures.items()
        },
        logarithmic=False,
    )
    return report


def _watch(bench: Bench, url: str, messages: MessageFile, wanted: int) -> list[Measured]:
    with serving(bench, url) as server:
        time.sleep(_REST_SECONDS)
        curve: list[Measured] = [{"requests": 0, **server.memory()}]
        served = 0.0
        while served < wanted:
            served += drive(server, messages, connections=32, seconds=bench.seconds)["answers"]
            curve.append({"requests": served, **server.memory()})
    return curve


def _thinned(curve: list[Measured]) -> list[Measured]:
    """At most some ten points, the first and the last among them."""
    step = max(1, len(curve) // 10)
    return [*curve[:-1:step], curve[-1]]
