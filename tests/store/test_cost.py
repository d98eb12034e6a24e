"""What can be held fast of the speed where times are noise: how often a batch asks the database, by which plans its
questions are answered, and how much memory an attach takes.
"""

from __future__ import annotations

import asyncio
import gc
import re
import sqlite3
import tracemalloc
from collections.abc import Iterator, Mapping
from typing import Any, Final

import asyncpg
import pytest
from sqlalchemy import bindparam, select

from numberline.store import access, accounts, catalog, memory, questions, rentals, sale, stock
from numberline.store.migrate import migrate
from numberline.store.postgres import PostgresStore
from numberline.store.postgres_connections import BY_INDEX, READING
from numberline.store.schema import rental
from numberline.store.sqlite import SqliteStore
from numberline.store.statements import Engine, Statement
from tests.kit import world
from tests.kit.world import Town

IN_HOLLYWOOD: Final = {
    "country_code": "US",
    "phone_category_name": "local",
    "phone_region_id": world.HOLLYWOOD,
}


# --- Exchanges -------------------------------------------------------------------------------------------------------


class Overheard:
    """What a town asks its database from now on."""

    def __init__(self, store: Any) -> None:
        self.texts: list[str] = []
        if isinstance(store, SqliteStore):
            for connection in store._connections:
                connection.set_trace_callback(self.texts.append)
        else:
            assert isinstance(store, PostgresStore)
            for connection, _ in (*store._to_read._kept, *store._to_look._kept, *store._to_write._kept):
                connection.add_query_logger(lambda query: self.texts.append(query.query))

    def kinds(self) -> list[str]:
        """The first words of all that was asked."""
        return [text.replace(";", " ").split()[0] for text in self.texts]

    def with_word(self, word: str) -> list[str]:
        """The texts in which a word stands."""
        return [text for text in self.texts if word in text]

    def writing(self) -> list[str]:
        """The first words of what the last transaction that wrote something asked."""
        kinds = self.kinds()
        begin = max(place for place, kind in enumerate(kinds) if kind == "BEGIN")
        return kinds[begin:]


async def buy(town: Town, *wanted: dict[str, Any], count: int = 1) -> None:
    """Buy all that is wanted so often, everything at once."""
    orders = [town.call("AttachPhoneNumber", one) for one in wanted for _ in range(count)]
    assert all(answer.get("result") == 1 for answer in await asyncio.gather(*orders))


_SQLITE_BATCH: Final = (
    ["BEGIN"] + 4 * ["SELECT"] + 2 * ["UPDATE"] + 2 * ["UPDATE"] + 4 * ["INSERT"] + ["COMMIT"]
)


@pytest.mark.parametrize("count", [1, 8])
async def test_a_batch_of_any_size_is_five_exchanges_with_postgresql(town: Town, count: int) -> None:
    """Each costs more than an attach does. SQLite has no exchanges; its statements are counted instead."""
    # Connections are opened, statements prepared and ids fetched by what comes first.
    await buy(town, IN_HOLLYWOOD, count=count)
    town.desk._memory.forget()
    heard = Overheard(town.store)
    await buy(town, IN_HOLLYWOOD, count=count)
    if town.store.engine == "postgres":
        # Lock the wallets; load buyers, revision and blocks; write everything.
        assert heard.writing() == ["BEGIN", "SELECT", "SELECT", "WITH", "COMMIT"]
    else:
        assert heard.writing() == _SQLITE_BATCH


@pytest.mark.parametrize("count", [1, 8])
async def test_a_batch_whose_needs_are_remembered_is_one_exchange_with_postgresql(
    town: Town, count: int
) -> None:
    """One statement locks, compares, writes and commits. With SQLite there is nothing to be spared."""
    for _ in range(2):  # to remember, and for asyncpg to learn the statement's types
        await buy(town, IN_HOLLYWOOD, count=count)
    heard = Overheard(town.store)
    await buy(town, IN_HOLLYWOOD, count=count)
    if town.store.engine == "postgres":
        [text] = [text for text in heard.texts if "public_key_pem" not in text]
        assert text.startswith("WITH held AS")
    else:
        assert heard.writing() == _SQLITE_BATCH


async def test_an_order_does_not_ask_for_a_caller_who_is_remembered(town: Town) -> None:
    await buy(town, IN_HOLLYWOOD)
    heard = Overheard(town.store)
    await buy(town, IN_HOLLYWOOD, count=8)
    assert heard.with_word("public_key_pem") == []


async def test_who_only_looks_and_is_remembered_is_confirmed_by_the_revision_alone(town: Town) -> None:
    await town.call("GetAccountInfo")
    heard = Overheard(town.store)
    await town.call("GetAccountInfo")
    assert heard.with_word("public_key_pem") == []
    assert len(heard.with_word("access_revision")) == 1


async def test_a_search_that_nothing_has_changed_since_asks_for_its_caller_alone(town: Town) -> None:
    searches = [IN_HOLLYWOOD, IN_HOLLYWOOD | {"phone_number_mask": "*99", "count": "5"}]
    # The first rounds open connections, which makes new states, as if the store were changing.
    for _ in range(5):
        answers = [await town.call("GetNewPhoneNumbers", one) for one in searches]
    heard = Overheard(town.store)
    # Accounts that pay alike share what is kept.
    again = [await town.call("GetNewPhoneNumbers", one, account=world.CHILD) for one in searches]
    asked = [text for text in heard.texts if "access_revision" not in text]
    assert (again, [kind for kind in asked if kind.startswith(("SELECT", "WITH"))]) == (answers, [])
    await buy(town, IN_HOLLYWOOD)
    assert (await town.call("GetNewPhoneNumbers", searches[0]))["total_count"] == 2_999


async def test_a_batch_that_follows_another_begins_with_its_end(town: Town) -> None:
    """PostgreSQL is spared one exchange; and once nobody waits, nothing is left begun."""
    await buy(town, IN_HOLLYWOOD)
    town.desk._batch_max = 2
    heard = Overheard(town.store)
    kept = [
        town.call("AttachPhoneNumber", IN_HOLLYWOOD, idempotency_key=f"key {place}") for place in range(4)
    ]
    assert all(answer.get("result") == 1 for answer in await asyncio.gather(*kept))
    if town.store.engine != "postgres":
        return
    transactions = [text.strip(";") for text in heard.texts if text.startswith(("BEGIN", "COMMIT"))]
    assert transactions == ["BEGIN", "COMMIT AND CHAIN", "COMMIT"]
    begun = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in %'"
    )
    assert await town.store._to_read.use(lambda connection: connection.fetchval(begun)) == 0  # type: ignore[attr-defined]


async def test_regions_are_picked_from_together(town: Town) -> None:
    """However many regions the orders of a batch name, PostgreSQL is asked once for blocks of all of them."""
    places = (world.HOLLYWOOD, world.SANDBOX, world.TWO_TIER)
    wanted = [IN_HOLLYWOOD | {"phone_region_id": place} for place in places]
    await buy(town, *wanted)
    town.desk._memory.forget()
    heard = Overheard(town.store)
    await buy(town, *wanted)
    if town.store.engine == "postgres":
        assert len(heard.writing()) == 5


async def test_requests_that_come_together_are_identified_in_one_question(town: Town) -> None:
    async def look(*accounts: int) -> None:
        await asyncio.gather(*(town.call("GetAccountInfo", account=account) for account in accounts))

    await look(*[world.PARENT] * 8)
    heard = Overheard(town.store)
    await look(*[world.CHILD, world.SIBLING] * 8)
    assert len(heard.with_word("public_key_pem")) == 1, "who is not remembered"
    await look(*[world.CHILD, world.SIBLING] * 8)
    assert len(heard.with_word("public_key_pem")) == 1
    assert len(heard.with_word("access_revision.revision")) == 2, "who is"


# --- Plans -----------------------------------------------------------------------------------------------------------

# What grows with the business. None of it may be read from end to end to serve a request.
LARGE: Final = (
    "account",
    "wallet",
    "access_key",
    "key_role",
    "verification",
    "region",
    "block",
    "rental",
    "movement",
    "posting",
    "charge",
    "idempotency",
)
# These say something about all rows: the list of accounts and the summary of the stock, for operators, and the catalogue,
# which a process reads when it has changed.
OF_ALL_ROWS: Final = {"accounts._ALL_RECORDS", "stock._SUMMARY", "catalog._REGIONS"}
# How many offers and accounts share all rows: PostgreSQL must not take the index for useless where they are few.
SHARES: Final = (2, 500)


def statements() -> Iterator[tuple[str, Statement]]:
    """Every statement that serves requests, by its name."""
    for module in (access, accounts, catalog, questions, rentals, sale, stock):
        for name, found in vars(module).items():
            place = f"{module.__name__.rpartition('.')[2]}.{name}"
            if isinstance(found, Statement):
                yield place, found
            elif isinstance(found, dict):
                yield from (
                    (f"{place}[{key}]", one) for key, one in found.items() if isinstance(one, Statement)
                )
    for shape, what in (
        (rentals._Shape((), is_of_one=True), "of one"),
        (rentals._Shape((), is_of_one=False), "of several"),
        (rentals._Shape(("numbers",), is_of_one=True), "of numbers"),
        (rentals._Shape(tuple(rentals._CONDITIONS), is_of_one=False), "with every filter"),
    ):
        yield f"rentals._counting {what}", rentals._counting(shape)
        yield f"rentals._listing {what}", rentals._listing(shape, ())
        yield f"rentals._listing {what}, ordered", rentals._listing(shape, ("country", "verification_status"))
    yield "canary", Statement(select(rental.c.id).where(rental.c.fee_micros == bindparam("fee")))


async def fill(connection: asyncpg.Connection, shares: int) -> None:
    """Some ten thousand rows in every large table, which is enough for PostgreSQL to prefer an index."""
    await connection.execute("SET session_replication_role = replica")  # no references are checked
    for table in (*LARGE, "offer"):
        columns = await connection.fetch(
            "SELECT column_name AS name, data_type AS kind, is_nullable = 'YES' AS may_lack"
            " FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position",
            table,
        )
        for found in await connection.fetch(
            "SELECT conname AS name FROM pg_constraint WHERE conrelid = $1::text::regclass AND contype = 'c'",
            table,
        ):
            await connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {found['name']}")
        values = ", ".join(_value(table, shares, *column) for column in columns)
        await connection.execute(f"INSERT INTO {table} SELECT {values} FROM generate_series(1, 20000) AS n")
    await connection.execute("ANALYZE")


def _value(table: str, shares: int, name: str, kind: str, may_lack: bool) -> str:
    if may_lack:
        return "NULL"
    if kind in ("bigint", "integer"):
        # Many rows share an account, an offer or a region, but each account has few of these.
        is_shared = name in ("account_id", "offer_id", "region_id") and table not in (
            "wallet",
            "verification",
        )
        return f"n % {shares}" if is_shared else "1000000 + n"
    return {"smallint": "1", "boolean": "TRUE", "bytea": "'x'"}.get(kind, "'t' || n")


async def plans_of_postgres(url: str, shares: int) -> dict[str, str]:
    """The generic plans of each statement, as connections that read and connections that write ask for them."""
    connection = await asyncpg.connect(url)
    await fill(connection, shares)
    await connection.close()
    reading, writing = await _plans(url, READING), await _plans(url, BY_INDEX)
    return {name: f"{plan}\n{writing[name]}" for name, plan in reading.items()}


async def _plans(url: str, settings: Mapping[str, str]) -> dict[str, str]:
    connection = await asyncpg.connect(url, server_settings=dict(settings))
    plans = {}
    for name, statement in (*statements(), ("memory.IS_HELD", memory.IS_HELD)):
        await connection.execute(f"PREPARE asked AS {statement.text('postgres')}")
        count = statement.parameters("postgres")
        values = f"({', '.join(['NULL'] * count)})" if count else ""
        rows = await connection.fetch(f"EXPLAIN (COSTS OFF) EXECUTE asked{values}")
        plans[name] = "\n".join(row[0] for row in rows)
        await connection.execute("DEALLOCATE asked")
    await connection.close()
    return plans


def plans_of_sqlite(url: str) -> dict[str, str]:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    plans = {}
    for name, statement in statements():
        text = statement.text("sqlite")
        rows = connection.execute(
            f"EXPLAIN QUERY PLAN {text}", [None] * statement.parameters("sqlite")
        ).fetchall()
        plans[name] = "\n".join(row[3] for row in rows)
    connection.close()
    return plans


def scanned(engine: Engine, plan: str) -> set[str]:
    """The tables that a plan reads from end to end."""
    if engine == "sqlite":
        return set(re.findall(r"SCAN (\w+)", plan))
    # An index without a condition is the whole table as well.
    whole = r"(?:Seq Scan|Index(?: Only)? Scan(?: Backward)? using \w+) on (\w+)(?!.*\n *Index Cond)"
    return set(re.findall(whole, plan))


@pytest.mark.parametrize("shares", SHARES)
async def test_thousands_that_are_sold_out_are_not_gone_through(store_url: str, shares: int) -> None:
    """The pick takes the highest thousand with stock: whatever is above it has been sold, sooner or later all of it."""
    await migrate(store_url)
    is_sqlite = store_url.startswith("sqlite")
    plans = plans_of_sqlite(store_url) if is_sqlite else await plans_of_postgres(store_url, shares)
    assert re.search(
        r"(?i)\busing index ix_block_open|backward using ix_block_open", plans["sale._PICKED_BLOCKS"]
    )


@pytest.mark.parametrize("shares", SHARES)
async def test_a_question_about_one_offer_does_not_go_through_others(store_url: str, shares: int) -> None:
    await migrate(store_url)
    is_sqlite = store_url.startswith("sqlite")
    plans = plans_of_sqlite(store_url) if is_sqlite else await plans_of_postgres(store_url, shares)
    of_one = ("_FREE_COUNT", "_MILLIONS", "_ALL_KEPT", "_STARTED_KEPT", "_FIRST_KEPT", "_LAST_OPEN")
    assert [name for name in of_one if "ix_block_prefix" in plans[f"stock.{name}"]] == []


@pytest.mark.parametrize("shares", SHARES)
async def test_a_page_of_rentals_is_not_sorted_out_of_all_of_them(store_url: str, shares: int) -> None:
    """An account may have a hundred thousand. One number of them is looked up among all numbers, at most one of each."""
    await migrate(store_url)
    is_sqlite = store_url.startswith("sqlite")
    plans = plans_of_sqlite(store_url) if is_sqlite else await plans_of_postgres(store_url, shares)
    page = plans["rentals._listing of one"]
    assert re.search(r"(?i)(using index|backward using) ix_rental_account_purchased", page)
    assert not re.search(r"Sort|ORDER BY", page)
    assert "rental" not in plans["rentals._counting of one"].replace("rental_count", "")
    # PostgreSQL knows how many rows there are, and may well find it cheaper to go through a few.
    assert not is_sqlite or "uq_rental_number" in plans["rentals._listing of numbers"]


@pytest.mark.parametrize("shares", SHARES)
async def test_no_statement_reads_a_large_table_from_end_to_end(store_url: str, shares: int) -> None:
    await migrate(store_url)
    engine: Engine = "sqlite" if store_url.startswith("sqlite") else "postgres"
    plans = plans_of_sqlite(store_url) if engine == "sqlite" else await plans_of_postgres(store_url, shares)
    # `owner` is another name of the account table.
    found = {name: scanned(engine, plan) & {*LARGE, "owner"} for name, plan in plans.items()}
    found = {name: tables for name, tables in found.items() if tables and name not in OF_ALL_ROWS}
    assert found == {"canary": {"rental"}}


# --- Memory ----------------------------------------------------------------------------------------------------------


async def test_what_an_attach_allocates_is_given_back(town: Town) -> None:
    """A server that kept a kilobyte of each request would need a gigabyte after a million."""
    await buy(town, IN_HOLLYWOOD, count=64)
    gc.collect()
    tracemalloc.start()
    try:
        await buy(town, IN_HOLLYWOOD, count=16)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(16):
            await buy(town, IN_HOLLYWOOD, count=16)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 256 * 300, "a little may be kept of each, for what is counted and cached"
