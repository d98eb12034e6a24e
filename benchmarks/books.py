"""Full books: millions of rentals with their movements, postings and charges, written by the databases themselves.

Every rental has a movement of five postings that sum to zero, and a held charge; wallets agree with them. The numbers
lie in a region of their own, whose blocks are sold out. Nothing is sold from there, so what an attach costs beside such
books is owed to the books alone.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg

from benchmarks.world import ACCOUNTS, FIRST_ACCOUNT, OTHER_OFFER, OTHER_PREFIX, OTHER_REGION
from numberline.domain.blocks import Block
from numberline.domain.phone import BLOCK_SIZE
from numberline.store.opening import open_store

POSTINGS_EACH: Final = 5
_FIRST_ID: Final = 1_000_000
_FEE: Final = 1_000_000
_SETUP_TAX: Final = 200_000
_CHUNK: Final = 1_000_000
_CHUNK_BLOCKS: Final = 10_000

_RENTALS: Final = """
INSERT INTO rental (id, number, account_id, offer_id, region_id, purchased_at, renews_on, anchor_day, fee_micros,
  tax_micros, is_frozen, is_canceled, auto_charge, unverified_until, verification, regulation_address_id, modified_at,
  detached_at)
SELECT {first_id} + n, {first_number} + n, {first_account} + n % {accounts}, {offer}, {region}, {at}, '{renews_on}',
  {day}, {fee}, 0, false, false, true, NULL, '', NULL, {at}, NULL FROM {numbers}"""
_CHARGES: Final = """
INSERT INTO charge (rental_id, period_on, account_id, fee_micros, tax_micros, status)
SELECT {first_id} + n, '{bought_on}', {first_account} + n % {accounts}, {fee}, 0, 'held' FROM {numbers}"""
_MOVEMENTS: Final = """
INSERT INTO movement (id, account_id, kind, currency, moved_at, actor, note)
SELECT {first_id} + n, {first_account} + n % {accounts}, 'purchase', 'USD', {at}, 'key:bench', '' FROM {numbers}"""
_POSTINGS: Final = """
INSERT INTO posting (movement_id, position, book, purpose, rental_id, amount_micros)
SELECT {first_id} + n, leg.position, leg.book, leg.purpose, {first_id} + n, leg.amount FROM {numbers}
CROSS JOIN (SELECT 0 AS position, 'funds' AS book, 'setup' AS purpose, -{fee} - {setup_tax} AS amount
  UNION ALL SELECT 1, 'sales', 'setup', {fee} UNION ALL SELECT 2, 'tax', 'setup_tax', {setup_tax}
  UNION ALL SELECT 3, 'funds', 'month', -{fee} UNION ALL SELECT 4, 'held', 'month', {fee}) AS leg"""
_WALLETS: Final = """
UPDATE wallet SET funds_micros = funds_micros - CAST({each} AS bigint) * (2 * {fee} + {setup_tax}),
  held_micros = held_micros + CAST({each} AS bigint) * {fee}, rental_count = rental_count + {each}"""
_IDS: Final = """
INSERT INTO id_range (name, next_id) VALUES ('rental', {next_id}), ('movement', {next_id})
ON CONFLICT (name) DO UPDATE SET next_id = excluded.next_id"""


async def fill_books(url: str, rentals: int) -> int:
    """Write that many rentals into a prepared store, rounded to what its accounts share evenly; tells how many."""
    each = max(1, rentals // ACCOUNTS)
    count = each * ACCOUNTS
    await _add_sold_out_blocks(url, count)
    words = _words(count, each)
    if url.startswith("sqlite"):
        await asyncio.to_thread(_fill_sqlite, url, words, count)
    else:
        await _fill_postgres(url, words, count)
    return count


def _words(count: int, each: int) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "first_id": _FIRST_ID,
        "next_id": _FIRST_ID + count,
        "first_number": OTHER_PREFIX * BLOCK_SIZE,
        "first_account": FIRST_ACCOUNT,
        "accounts": ACCOUNTS,
        "offer": OTHER_OFFER,
        "region": OTHER_REGION,
        "at": int(now.timestamp() * 1_000_000),
        "day": now.day,
        "bought_on": now.date().isoformat(),
        "renews_on": (now + timedelta(days=30)).date().isoformat(),
        "fee": _FEE,
        "setup_tax": _SETUP_TAX,
        "each": each,
    }


async def _add_sold_out_blocks(url: str, count: int) -> None:
    store = open_store(url)
    blocks = [
        Block(OTHER_OFFER, OTHER_PREFIX + first // BLOCK_SIZE, min(BLOCK_SIZE, count - first), 0)
        for first in range(0, count, BLOCK_SIZE)
    ]
    for start in range(0, len(blocks), _CHUNK_BLOCKS):
        chunk = blocks[start : start + _CHUNK_BLOCKS]
        await store.write(lambda write, chunk=chunk: write.insert_blocks(chunk))  # type: ignore[misc]
    await store.close()


async def _fill_postgres(url: str, words: dict[str, Any], count: int) -> None:
    """Two connections write two tables each; references hold by construction and are not looked up row by row."""

    async def write(*statements: str) -> None:
        connection = await asyncpg.connect(url)
        await connection.execute("SET session_replication_role = replica; SET synchronous_commit = off")
        for statement in statements:
            for first in range(0, count, _CHUNK):
                numbers = f"generate_series({first}, {min(first + _CHUNK, count) - 1}) AS n"
                await connection.execute(statement.format(numbers=numbers, **words), timeout=3_600)
        await connection.close()

    await asyncio.gather(write(_RENTALS, _CHARGES, _MOVEMENTS), write(_POSTINGS))
    connection = await asyncpg.connect(url)
    await connection.execute(_WALLETS.format(**words))
    await connection.execute(_IDS.format(**words))
    await connection.execute("VACUUM ANALYZE", timeout=3_600)
    await connection.execute("CHECKPOINT")
    await connection.close()


def _fill_sqlite(url: str, words: dict[str, Any], count: int) -> None:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -500000")
        for statement in (_RENTALS, _CHARGES, _MOVEMENTS, _POSTINGS):
            for first in range(0, count, _CHUNK):
                last = min(first + _CHUNK, count) - 1
                numbers = f"counted{first}"
                counted = (
                    f"WITH RECURSIVE {numbers}(n) AS (SELECT {first} UNION ALL"
                    f" SELECT n + 1 FROM {numbers} WHERE n < {last}) "
                )
                connection.execute(counted + statement.format(numbers=numbers, **words))
        connection.execute(_WALLETS.format(**words))
        connection.execute(_IDS.format(**words))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
