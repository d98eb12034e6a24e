"""Stock: a billion numbers imported, and what they and hard use do to the cost of an attach."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import asyncpg

from benchmarks import wrk
from benchmarks.bench import Bench, wait_for
from benchmarks.messages import MessageFile, attach_messages
from benchmarks.product import Server, drive, serving
from benchmarks.report import Grid, Report, Step, ratio
from benchmarks.world import (
    FIRST_PREFIX,
    OFFER,
    OTHER_REGION,
    prepare,
    sell_blocks,
)
from tests.kit.postgres import PostgresServer, name_of

TITLE: Final = "Stock"

_FIRST_NUMBER: Final = 12_000_000_000
_RANGE: Final = 1_000_000
# So many that an old snapshot, which keeps every version of a wallet, leaves few of each in the way of the next:
# what is measured here are blocks.
_ACCOUNTS: Final = 1_000
_SNAPSHOT: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM account"


def run(bench: Bench) -> Report:
    """Measure."""
    report = Report("stock", TITLE)
    with bench.postgres(max_connections="300") as postgres:
        _import(bench, report, postgres)
        _attach(bench, report, postgres)
    return report


# --- importing -------------------------------------------------------------------------------------------------


def _import(bench: Bench, report: Report, postgres: PostgresServer) -> None:
    numbers, scattered = bench.size(1_000_000_000, 20_000_000), bench.size(1_000_000, 20_000)
    whole_file = _write_csv(bench.new_folder() / "whole.csv", _ranges(numbers))
    scattered_file = _write_csv(bench.new_folder() / "scattered.csv", _singles(scattered))
    rows = []
    for engine, whole_mb in (("SQLite", 60), ("PostgreSQL", 150)):
        for what, file, limit_mb in (("whole", whole_file, whole_mb), ("scattered", scattered_file, 250)):
            url = bench.new_sqlite() if engine == "SQLite" else postgres.create_database()
            wait_for(prepare(url, blocks=0))
            empty_mb = _size_mb(url, postgres)
            with bench.console.status(f"importing the {what} file on {engine}"):
                took = _run_import(bench, url, file)
            size_mb = _size_mb(url, postgres) - empty_mb
            count = numbers if what == "whole" else scattered
            rows.append([f"{count:,} {what}, {engine}", f"{took:.1f}", f"{size_mb:,.1f}"])
            report.figures[f"import, {what}, {engine}"] = [{"seconds": took, "mb": size_mb, "numbers": count}]
            if what == "whole":
                report.at_most(f"{count:,} numbers imported as blocks, {engine}", took, 20, " s")
            report.at_most(f"{count:,} numbers {what} on disk, {engine}", size_mb, limit_mb, " MB")
    title = "Imported by `numberline stock import`: ranges of a million each; single numbers, each of another thousand"
    report.tables.append(Grid(title, ("numbers", "seconds", "MB on disk"), rows))


def _run_import(bench: Bench, url: str, file: Path) -> float:
    environment = {**os.environ, "NUMBERLINE_DATABASE": url}
    command = [sys.executable, "-m", "numberline", "stock", "import", str(file)]
    command += ["--home", str(bench.new_folder()), "--json"]
    began_at = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    took = time.perf_counter() - began_at
    if done.returncode != 0:
        raise RuntimeError(f"stock import:\n{done.stdout[-2_000:]}{done.stderr[-2_000:]}")
    return took


def _write_csv(path: Path, ranges: Iterable[tuple[int, int]]) -> Path:
    with path.open("w") as file:
        file.write("country_code,category,region_id,first_number,last_number\n")
        file.writelines(f"US,GEOGRAPHIC,{OTHER_REGION},{first},{last}\n" for first, last in ranges)
    return path


def _ranges(numbers: int) -> Iterable[tuple[int, int]]:
    starts = range(_FIRST_NUMBER, _FIRST_NUMBER + numbers, _RANGE)
    return ((start, start + _RANGE - 1) for start in starts)


def _singles(count: int) -> Iterable[tuple[int, int]]:
    chance = random.Random(1)
    for place in range(count):
        number = _FIRST_NUMBER + 1_000 * place + chance.randrange(1_000)
        yield number, number


def _size_mb(url: str, postgres: PostgresServer) -> float:
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///"))
        return sum(one.stat().st_size for one in path.parent.glob(f"{path.name}*")) / 1e6
    postgres.execute("CHECKPOINT")
    return int(postgres.execute(f"SELECT pg_database_size('{name_of(url)}')")) / 1e6


# --- attaching -------------------------------------------------------------------------------------------------

_MILLION, _BILLION, _FRESH = "a million in stock", "a billion in stock", "a fresh region"
_SOLD, _TAKEN = "99 % sold", "a million taken from the head"
_HELD = "a million taken under an old snapshot"


def _attach(bench: Bench, report: Report, postgres: PostgresServer) -> None:
    """Rates on stores that differ in one thing, in turn."""
    region = bench.size(20_000, 500)
    taken = bench.size(1_000, 20)
    states: dict[str, tuple[int, Any]] = {
        _MILLION: (1_000, None),
        _BILLION: (bench.size(1_000_000, 20_000), None),
        _FRESH: (region, None),
        _SOLD: (region, lambda url: _sell(url, region - max(region // 100, 50), region, 1_000)),
        _TAKEN: (region, lambda url: _sell_without_vacuum(url, taken, region)),
        _HELD: (region, lambda url: _sell_without_vacuum(url, taken, region)),
    }
    engines = {"PostgreSQL": list(states), "SQLite": [_MILLION, _BILLION, _FRESH, _SOLD]}
    messages = MessageFile(bench.new_folder() / "attach", attach_messages(bench.tokens(_ACCOUNTS)))
    with ExitStack() as stack:
        steps: dict[str, Step] = {}
        for engine, wanted in engines.items():
            for state in wanted:
                url = bench.new_sqlite() if engine == "SQLite" else postgres.create_database()
                blocks, wear = states[state]
                with bench.console.status(f"preparing {state} on {engine}"):
                    wait_for(prepare(url, blocks=blocks, accounts=_ACCOUNTS))
                    if state == _HELD:
                        stack.enter_context(_Snapshot(url))
                    if wear is not None:
                        wait_for(wear(url))
                server = stack.enter_context(serving(bench, url))
                wrk.warm_up(server.port, messages)
                steps[f"{state}, {engine}"] = _load(bench, server, messages)
        report.figures |= bench.measure(steps)
    report.rates("Attach, 32 connections, many accounts", list(steps))
    for engine, wanted in engines.items():
        for state, beside in ((_BILLION, _MILLION), (_SOLD, _FRESH), (_TAKEN, _FRESH), (_HELD, _FRESH)):
            if state in wanted:
                value = ratio(report.figures, f"{state}, {engine}", f"{beside}, {engine}")
                report.at_least(f"{engine}: {state} / {beside}", value, 0.9, " x")


def _load(bench: Bench, server: Server, messages: MessageFile) -> Step:
    return lambda: drive(server, messages, connections=32, seconds=bench.seconds)


def _sell(url: str, count: int, region: int, takes_each: int) -> Coroutine[Any, Any, None]:
    """Empty the upper blocks, which pickers take first."""
    return sell_blocks(url, OFFER, FIRST_PREFIX + region - count, count, takes_each=takes_each)


async def _sell_without_vacuum(url: str, count: int, region: int) -> None:
    connection = await asyncpg.connect(url)
    for table in ("block", "wallet"):
        await connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
    await connection.close()
    # As the desk takes under load: some forty numbers in a transaction.
    await _sell(url, count, region, 40)


class _Snapshot:
    """A transaction that keeps seeing the store as it was, as a dump does."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> None:
        self._connection = self._loop.run_until_complete(asyncpg.connect(self._url))
        self._loop.run_until_complete(self._connection.execute(_SNAPSHOT))

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self._connection.close())
        self._loop.close()
