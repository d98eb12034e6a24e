"""The floors: what the databases alone do, one hand-written transaction per attach, without HTTP, tokens or Python.

The very rows that the product writes, in its own tables with all their constraints: a wallet guarded and moved, a
rental, a movement, four postings and a charge. Only the stock is the usual one, a row per number with a partial index.
"""

from __future__ import annotations

import re
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

import asyncpg

from benchmarks import tools
from benchmarks.bench import wait_for
from benchmarks.report import Measured
from benchmarks.world import ACCOUNTS, FIRST_ACCOUNT, prepare

NUMBERS: Final = 400_000
CLIENTS: Final = 8

# As many again beyond the last random start, so that nobody finds nothing.
_STOCK: Final = f"""
CREATE TABLE number (number bigint PRIMARY KEY, region_id bigint NOT NULL, account_id bigint);
INSERT INTO number WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {2 * NUMBERS})
  SELECT n, 1, NULL FROM n;
CREATE INDEX ix_number_free ON number (region_id, number) WHERE account_id IS NULL;
"""
# Ids far beyond those of the accounts' first credits, fetched by each connection a hundred at a time.
_FIRST_ID: Final = 1_000_000
_SEQUENCES: Final = f"""
CREATE SEQUENCE rental_ids START {_FIRST_ID} CACHE 100;
CREATE SEQUENCE movement_ids START {_FIRST_ID} CACHE 100;
"""

_PAY: Final = """UPDATE wallet
  SET funds_micros = funds_micros - 2000000, held_micros = held_micros + 1000000, rental_count = rental_count + 1
  WHERE account_id = {account} AND funds_micros + credit_limit_micros >= 2000000
    AND (rental_limit IS NULL OR rental_count < rental_limit)"""
_POSTINGS: Final = """(VALUES (0, 'funds', 'setup', -1000000), (1, 'sales', 'setup', 1000000),
  (2, 'funds', 'month', -1000000), (3, 'held', 'month', 1000000))"""

# A random start spreads the takers and keeps the index from rotting at its head.
_PGBENCH: Final = f"""\\set account random({FIRST_ACCOUNT}, {{last_account}})
\\set start random(1, {NUMBERS})
WITH picked AS (SELECT number FROM number WHERE region_id = 1 AND account_id IS NULL AND number >= :start
    ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED),
  taken AS (UPDATE number n SET account_id = :account FROM picked WHERE n.number = picked.number RETURNING n.number),
  paid AS ({_PAY.format(account=":account")} RETURNING account_id),
  rented AS (INSERT INTO rental
    SELECT nextval('rental_ids'), number, account_id, 1, 101, 1, '2026-12-01', 1, 1000000, 0, false, false, true,
      NULL::text, '', NULL::bigint, 1, NULL::bigint
    FROM taken, paid RETURNING id, account_id),
  moved AS (INSERT INTO movement
    SELECT nextval('movement_ids'), account_id, 'purchase', 'USD', 1, 'k1000', '' FROM rented RETURNING id),
  posted AS (INSERT INTO posting SELECT moved.id, p.position, p.book, p.purpose, rented.id, p.amount
    FROM moved, rented, {_POSTINGS} AS p(position, book, purpose, amount))
INSERT INTO charge SELECT id, '2026-11-01', account_id, 1000000, 0, 'held' FROM rented;
"""


def prepare_postgres(url: str) -> None:
    """Fill the product's tables with accounts, and add the floor's own stock."""

    async def add_stock() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(_STOCK + _SEQUENCES)
        await connection.execute("VACUUM ANALYZE")
        await connection.close()

    wait_for(prepare(url, blocks=0))
    wait_for(add_stock())


def postgres_floor(url: str, seconds: float, *, accounts: int) -> Measured:
    """Attaches a second by pgbench with prepared statements."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(_PGBENCH.format(last_account=FIRST_ACCOUNT + accounts - 1))
        script.flush()
        options = f"-n -M prepared -c {CLIENTS} -j 2 -T {max(1, round(seconds))} -f {script.name}"
        command = [str(tools.pgbench()), *options.split(), url]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"tps = ([0-9.]+)", done.stdout)
    assert found, done.stdout
    return {"per_second": float(found.group(1))}


class SqliteFloor:
    """A bare sqlite3 loop on a file of its own: WAL, synchronous=FULL, one transaction an attach."""

    def __init__(self, path: Path) -> None:
        wait_for(prepare(f"sqlite:///{path}", blocks=0))
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
        )
        self._connection.executescript(_STOCK)
        self._done = 0

    def measure(self, seconds: float) -> Measured:
        """Attaches a second, the accounts in turn."""
        began_at, before = time.perf_counter(), self._done
        while time.perf_counter() - began_at < seconds:
            self._attach_once(FIRST_ACCOUNT + self._done % ACCOUNTS, _FIRST_ID + self._done)
            self._done += 1
        return {"per_second": (self._done - before) / (time.perf_counter() - began_at)}

    def _attach_once(self, account: int, own_id: int) -> None:
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        (number,) = run(
            "SELECT number FROM number WHERE region_id = 1 AND account_id IS NULL ORDER BY number LIMIT 1"
        ).fetchone()
        run("UPDATE number SET account_id = ? WHERE number = ?", (account, number))
        paid = run(_PAY.format(account="?"), (account,))
        assert paid.rowcount == 1, "everybody is rich"
        run(
            "INSERT INTO rental VALUES (?, ?, ?, 1, 101, 1, '2026-12-01', 1, 1000000, 0, 0, 0, 1, NULL, '', NULL, 1, NULL)",
            (own_id, number, account),
        )
        run("INSERT INTO movement VALUES (?, ?, 'purchase', 'USD', 1, 'k1000', '')", (own_id, account))
        run(
            f"INSERT INTO posting SELECT ?1, column1, column2, column3, ?1, column4 FROM {_POSTINGS}",
            (own_id,),
        )
        run("INSERT INTO charge VALUES (?, '2026-11-01', ?, 1000000, 0, 'held')", (own_id, account))
        run("COMMIT")
