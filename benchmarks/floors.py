"""The floors: what the databases alone do, one hand-written transaction per attach, without HTTP, tokens or Python.

The same rows as the product writes: a number taken, a wallet moved and guarded, a rental, a movement, four postings
and a charge. The stock is a row per number with a partial index, the usual way.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

import asyncpg

from benchmarks import tools
from benchmarks.report import Measured

NUMBERS: Final = 400_000
ACCOUNTS: Final = 64
CLIENTS: Final = 8

_TABLES: Final = """
CREATE TABLE number (number bigint PRIMARY KEY, region_id bigint NOT NULL, account_id bigint);
CREATE TABLE wallet (account_id bigint PRIMARY KEY, funds bigint NOT NULL CHECK (funds >= 0), held bigint NOT NULL);
CREATE TABLE rental ({id}, number bigint NOT NULL, account_id bigint NOT NULL,
  purchased_at bigint NOT NULL, renews_on text NOT NULL, fee bigint NOT NULL, tax bigint NOT NULL,
  is_frozen boolean NOT NULL, is_canceled boolean NOT NULL, auto_charge boolean NOT NULL);
CREATE UNIQUE INDEX uq_rental_number ON rental (number);
CREATE INDEX ix_rental_account ON rental (account_id, purchased_at, number);
CREATE TABLE movement ({id}, account_id bigint NOT NULL, kind text NOT NULL,
  currency text NOT NULL, moved_at bigint NOT NULL, actor text NOT NULL);
CREATE INDEX ix_movement_account ON movement (account_id, id);
CREATE TABLE posting (movement_id bigint NOT NULL, position smallint NOT NULL, book text NOT NULL,
  purpose text NOT NULL, rental_id bigint, amount bigint NOT NULL, PRIMARY KEY (movement_id, position));
CREATE TABLE charge (rental_id bigint NOT NULL, period_on text NOT NULL, account_id bigint NOT NULL,
  fee bigint NOT NULL, tax bigint NOT NULL, status text NOT NULL, PRIMARY KEY (rental_id, period_on));
CREATE INDEX ix_number_free ON number (region_id, number) WHERE account_id IS NULL;
"""

# A random start spreads the takers and keeps the index from rotting at its head.
_PGBENCH: Final = """\\set account random(1, {accounts})
\\set start random(1, {numbers})
WITH picked AS (SELECT number FROM number WHERE region_id = 1 AND account_id IS NULL AND number >= :start
    ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED),
  taken AS (UPDATE number n SET account_id = :account FROM picked WHERE n.number = picked.number RETURNING n.number),
  paid AS (UPDATE wallet SET funds = funds - 2000000, held = held + 1000000
    WHERE account_id = :account AND funds >= 2000000 RETURNING account_id),
  rented AS (INSERT INTO rental (number, account_id, purchased_at, renews_on, fee, tax, is_frozen, is_canceled,
      auto_charge) SELECT taken.number, paid.account_id, 1, '2026-12-01', 1000000, 0, false, false, true
    FROM taken, paid RETURNING id, account_id),
  moved AS (INSERT INTO movement (account_id, kind, currency, moved_at, actor)
    SELECT account_id, 'purchase', 'USD', 1, 'key-x' FROM rented RETURNING id),
  posted AS (INSERT INTO posting SELECT moved.id, p.position, p.book, p.purpose, rented.id, p.amount
    FROM moved, rented, (VALUES (0, 'funds', 'setup', -1000000), (1, 'sales', 'setup', 1000000),
      (2, 'funds', 'month', -1000000), (3, 'held', 'month', 1000000)) AS p(position, book, purpose, amount))
INSERT INTO charge SELECT id, '2026-11-01', account_id, 1000000, 0, 'held' FROM rented;
"""


def prepare_postgres(url: str) -> None:
    """Create and fill the floor's tables."""

    async def fill() -> None:
        connection = await asyncpg.connect(url)
        identity = "id bigint GENERATED ALWAYS AS IDENTITY (CACHE 100) PRIMARY KEY"
        await connection.execute(_TABLES.format(id=identity))
        await connection.execute(
            f"INSERT INTO number SELECT n, 1, NULL FROM generate_series(1, {2 * NUMBERS}) n"
        )
        await connection.execute(
            f"INSERT INTO wallet SELECT n, 1000000000000000, 0 FROM generate_series(1, {ACCOUNTS}) n"
        )
        await connection.execute("VACUUM ANALYZE")
        await connection.close()

    asyncio.run(fill())


def postgres_floor(url: str, seconds: float, *, accounts: int) -> Measured:
    """Attaches a second by pgbench with prepared statements."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(_PGBENCH.format(accounts=accounts, numbers=NUMBERS))
        script.flush()
        options = f"-n -M prepared -c {CLIENTS} -j 2 -T {max(1, round(seconds))} -f {script.name}"
        command = [str(tools.pgbench()), *options.split(), url]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"tps = ([0-9.]+)", done.stdout)
    assert found, done.stdout
    return {"per_second": float(found.group(1))}


def sqlite_floor(folder: Path, seconds: float, *, accounts: int) -> Measured:
    """Attaches a second by a bare sqlite3 loop: WAL, synchronous=FULL, one transaction each."""
    connection = sqlite3.connect(folder / "floor.db", isolation_level=None)
    connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;")
    connection.executescript("".join(f"DROP TABLE IF EXISTS {name};" for name in _NAMES))
    connection.executescript(_TABLES.format(id="id integer PRIMARY KEY"))
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO number VALUES (?, 1, NULL)", ((n,) for n in range(1, 100_001)))
    connection.executemany(
        "INSERT INTO wallet VALUES (?, 1000000000000000, 0)", ((n,) for n in range(1, ACCOUNTS + 1))
    )
    connection.execute("COMMIT")
    began_at, done = time.perf_counter(), 0
    while time.perf_counter() - began_at < seconds:
        _attach_once(connection, done % accounts + 1)
        done += 1
    rate = done / (time.perf_counter() - began_at)
    connection.close()
    return {"per_second": rate}


_NAMES: Final = ("number", "wallet", "rental", "movement", "posting", "charge")


def _attach_once(connection: sqlite3.Connection, account: int) -> None:
    run = connection.execute
    run("BEGIN IMMEDIATE")
    (number,) = run(
        "SELECT number FROM number WHERE region_id = 1 AND account_id IS NULL ORDER BY number LIMIT 1"
    ).fetchone()
    run("UPDATE number SET account_id = ? WHERE number = ?", (account, number))
    run("UPDATE wallet SET funds = funds - 2000000, held = held + 1000000 WHERE account_id = ?", (account,))
    rental = run(
        "INSERT INTO rental (number, account_id, purchased_at, renews_on, fee, tax, is_frozen, is_canceled, auto_charge)"
        " VALUES (?, ?, 1, '2026-12-01', 1000000, 0, 0, 0, 1)",
        (number, account),
    ).lastrowid
    moved = run(
        "INSERT INTO movement (account_id, kind, currency, moved_at, actor) VALUES (?, 'purchase', 'USD', 1, 'key-x')",
        (account,),
    ).lastrowid
    connection.executemany(
        "INSERT INTO posting VALUES (?, ?, ?, ?, ?, ?)",
        (
            (moved, 0, "funds", "setup", rental, -1000000),
            (moved, 1, "sales", "setup", rental, 1000000),
            (moved, 2, "funds", "month", rental, -1000000),
            (moved, 3, "held", "month", rental, 1000000),
        ),
    )
    run("INSERT INTO charge VALUES (?, '2026-11-01', ?, 1000000, 0, 'held')", (rental, account))
    run("COMMIT")
