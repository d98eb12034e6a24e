"""What a store promises, on both engines: all or nothing, constraints by name, and troubles by their kind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
import pytest
from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Table, func, literal, select, text

from numberline.domain import errors
from numberline.domain.verification import Verification
from numberline.store import sqlite
from numberline.store.contract import Store, Work
from numberline.store.errors import (
    REFUSALS,
    CommitUnknown,
    ConstraintViolated,
    SchemaMismatch,
    StoreBusy,
    StoreUnavailable,
)
from numberline.store.migrate import migrate
from numberline.store.opening import open_store
from numberline.store.postgres_connections import CONNECTIONS_MAX
from numberline.store.schema import metadata
from numberline.store.statements import Statement
from numberline.store.transaction import Transaction
from tests.kit import world
from tests.kit.postgres import PostgresServer
from tests.kit.world import Town, snapshot

LOCAL: Final = {"country_code": "US", "phone_category_name": "local", "phone_region_id": world.HOLLYWOOD}


class Boom(Exception):
    """What a unit of work raises here."""


async def _run(store: Store, sql: str) -> None:
    statement = Statement(text(sql))
    await store.write(lambda work: work.connection.execute(statement))


async def _ask(store: Store, sql: str) -> Any:
    statement = Statement(text(sql))
    rows = await store.read(lambda ask: ask.connection.fetch(statement))
    return rows[0][0]


async def _verify(work: Transaction) -> None:
    await work.insert_verification(world.PARENT, Verification("XX", "VERIFIED"))


async def _is_verified(store: Store) -> bool:
    return bool(await _ask(store, "SELECT count(*) FROM verification WHERE name = 'XX'"))


def _path_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


# --- all or nothing --------------------------------------------------------------------------------------------


async def test_what_a_unit_of_work_wrote_is_there_when_it_returns(town: Town) -> None:
    await town.store.write(_verify)
    other = open_store(_url_of(town))
    assert await _is_verified(other)
    await other.close()


def _inserting(number: int) -> Work[None]:
    statement = Statement(text(f"INSERT INTO kept VALUES ({number})"))
    return lambda work: work.connection.execute(statement)


_END_THE_IDLE: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND state = 'idle in transaction'"
)


async def test_a_writer_makes_each_unit_durable_by_itself(store_url: str) -> None:
    """However many follow each other, and whatever one of them raises."""
    await migrate(store_url)
    store = open_store(store_url)
    await _run(store, "CREATE TABLE kept (number bigint)")
    writer = store.writer()

    async def work(transaction: Transaction) -> None:
        await _inserting(9)(transaction)
        raise Boom

    for place, more in enumerate((True, True, False), 1):
        await writer.write(_inserting(place), more=lambda more=more: more)  # type: ignore[misc]
        assert await _ask(store, "SELECT count(*) FROM kept WHERE number < 9") == place
        with pytest.raises(Boom):
            await writer.write(work, more=lambda: True)
        await writer.rest()
    assert await _ask(store, "SELECT count(*) FROM kept") == 3
    await store.close()


async def test_a_writer_waits_for_whoever_is_writing(store_url: str) -> None:
    await migrate(store_url)
    store = open_store(store_url)
    await _run(store, "CREATE TABLE kept (number bigint PRIMARY KEY)")

    async def linger(work: Transaction) -> None:
        await _inserting(1)(work)
        if store.engine == "sqlite":
            time.sleep(0.3)  # noqa: ASYNC251 - in the writing thread
        else:
            await asyncio.sleep(0.3)

    lingering = asyncio.create_task(store.write(linger))
    await asyncio.sleep(0.1)
    writer = store.writer()
    await asyncio.gather(writer.write(_inserting(2), more=lambda: False), store.write(_inserting(3)))
    await lingering
    assert await _ask(store, "SELECT sum(number) FROM kept") == 6
    await store.close()


async def test_whatever_a_unit_of_work_raises_takes_all_of_it_back(town: Town) -> None:
    async def work(transaction: Transaction) -> None:
        await _verify(transaction)
        raise Boom

    with pytest.raises(Boom):
        await town.store.write(work)
    assert not await _is_verified(town.store)
    await town.store.write(_verify)
    assert await _is_verified(town.store), "the store goes on"


async def test_a_unit_of_work_sees_what_it_wrote_and_others_do_not_yet(town: Town) -> None:
    seen: list[int] = []

    async def work(transaction: Transaction) -> None:
        await _verify(transaction)
        rows = await transaction.connection.fetch(
            Statement(text("SELECT count(*) FROM verification WHERE name = 'XX'"))
        )
        seen.append(rows[0][0])
        raise Boom

    with pytest.raises(Boom):
        await town.store.write(work)
    assert seen == [1]


async def test_a_snapshot_sees_one_instant(town: Town) -> None:
    count = Statement(text("SELECT count(*) FROM verification"))

    async def ask(reading: Transaction) -> list[int]:
        seen = [(await reading.connection.fetch(count))[0][0]]
        if town.store.engine == "sqlite":
            with sqlite3.connect(_path_of(_url_of(town))) as other:
                other.execute(f"INSERT INTO verification VALUES ({world.PARENT}, 'XX', 'VERIFIED', NULL)")
            other.close()
        else:
            await town.store.write(_verify)
        return [*seen, (await reading.connection.fetch(count))[0][0]]

    first, second = await town.store.read(ask, snapshot=True)
    assert first == second
    assert await _is_verified(town.store)


async def test_ids_are_never_given_twice(town: Town) -> None:
    other = open_store(_url_of(town))
    taken: list[int] = []

    async def take(work: Transaction) -> list[int]:
        return list(await work.connection.reserve_ids("movement", 7))

    for store in (town.store, other, town.store, other):
        found = await store.write(take)
        assert len(found) == 7
        taken += found
    assert len(set(taken)) == 28
    await other.close()


async def test_an_unknown_kind_of_statement_is_a_defect_and_no_outage(town: Town) -> None:
    for sql in ("SELECT * FROM nowhere", "SELEKT 1"):
        with pytest.raises((sqlite3.OperationalError, asyncpg.SyntaxOrAccessError)):
            await _run(town.store, sql)


async def test_only_known_urls_are_opened() -> None:
    for url in ("mysql://localhost/x", "", "numberline.db", "sqlite://"):
        with pytest.raises(ValueError, match="begins with"):
            open_store(url)


def _url_of(town: Town) -> str:
    store: Any = town.store
    return f"sqlite:///{store._path}" if town.store.engine == "sqlite" else str(store._server._url)


# --- constraints -----------------------------------------------------------------------------------------------

_NUMBER: Final = "(SELECT min(number) FROM rental)"
# A statement for each check and unique constraint; primary keys are tried by repeating a row of each table.
VIOLATIONS: Final = {
    "uq_rental_number": (
        "INSERT INTO rental SELECT id + 100000, number, account_id, offer_id, region_id, purchased_at, renews_on,"
        " anchor_day, fee_micros, tax_micros, is_frozen, is_canceled, auto_charge, unverified_until, verification,"
        " regulation_address_id, modified_at, detached_at FROM rental"
    ),
    "uq_account_name": "UPDATE account SET name = 'account-1001' WHERE id = 1000",
    "uq_account_email": "UPDATE account SET email = '1001@example.test' WHERE id = 1000",
    "uq_offer_position": "UPDATE offer SET tier = '' WHERE id = 3",
    "ck_price_not_negative": "UPDATE price SET setup_micros = -1",
    "ck_tax_rate_rate": "UPDATE tax_rate SET rate_ppm = 1000001",
    "ck_currency_rate_positive": "UPDATE currency_rate SET per_usd_micros = 0",
    "ck_access_revision_single_row": "INSERT INTO access_revision SELECT 2, revision FROM access_revision",
    "ck_catalog_revision_single_row": "INSERT INTO catalog_revision SELECT 2, revision FROM catalog_revision",
    "ck_block_counts": "UPDATE block SET stocked_count = 1001",
    "ck_block_open": "UPDATE block SET is_open = false WHERE free_count > 0",
    "ck_wallet_no_overdraft": "UPDATE wallet SET funds_micros = -1 WHERE account_id = 1000",
    "ck_wallet_held_not_negative": "UPDATE wallet SET held_micros = -1 WHERE account_id = 1000",
    "ck_wallet_credit_not_negative": "UPDATE wallet SET credit_limit_micros = -1 WHERE account_id = 1000",
    "ck_wallet_count_not_negative": "UPDATE wallet SET rental_count = -1 WHERE account_id = 1000",
    "ck_wallet_rental_limit": "UPDATE wallet SET rental_limit = 0 WHERE account_id = 1000",
    "ck_verification_status": "UPDATE verification SET status = 'MAYBE'",
    "ck_regulation_address_status": "UPDATE regulation_address SET status = 'MAYBE'",
    "ck_rental_anchor_day": "UPDATE rental SET anchor_day = 32",
    "ck_posting_book": "UPDATE posting SET book = 'novel'",
    "ck_posting_not_zero": "UPDATE posting SET amount_micros = 0",
    "ck_charge_status": "UPDATE charge SET status = 'lost'",
    "ck_charge_not_negative": "UPDATE charge SET tax_micros = -1",
} | {f"pk_{table}": f"INSERT INTO {table} SELECT * FROM {table}" for table in metadata.tables}
REFERENCES: Final = {
    "fk_offer_region": "UPDATE offer SET region_id = 99999 WHERE id = 1",
    "fk_block_offer": "UPDATE block SET offer_id = 99999 WHERE prefix = 15552852",
    "fk_account_parent": "UPDATE account SET parent_id = 99999 WHERE id = 1001",
    "fk_access_key_account": "UPDATE access_key SET account_id = 99999",
    "fk_key_role_access_key": "INSERT INTO key_role VALUES ('nobody', 'Owner')",
    "fk_verification_account": "INSERT INTO verification VALUES (99999, 'RU', 'VERIFIED', NULL)",
    "fk_regulation_address_account": "UPDATE regulation_address SET account_id = 99999",
    "fk_rental_address": "UPDATE rental SET regulation_address_id = 99999",
    "fk_wallet_account": "UPDATE wallet SET account_id = 99999 WHERE account_id = 1000",
}


def _names(table: Table, *, references: bool) -> Iterator[str]:
    for one in table.constraints:
        if isinstance(one, ForeignKeyConstraint) == references:
            yield str(one.name)
    if not references:
        yield from (str(one.name) for one in table.indexes if one.unique)


def test_the_tables_leave_no_constraint_out() -> None:
    tables = metadata.tables.values()
    assert set(VIOLATIONS) == {name for table in tables for name in _names(table, references=False)}
    assert set(REFERENCES) == {name for table in tables for name in _names(table, references=True)}
    assert any(isinstance(one, CheckConstraint) for table in tables for one in table.constraints)


async def test_a_violated_constraint_is_called_by_its_name_and_changes_nothing(town: Town) -> None:
    await town.call("AttachPhoneNumber", LOCAL, idempotency_key="key")
    before = snapshot(await town.audit())
    for name, sql in VIOLATIONS.items():
        with pytest.raises(ConstraintViolated) as caught:
            await _run(town.store, sql)
        assert caught.value.constraint == name, sql
    for name, sql in REFERENCES.items():
        with pytest.raises(ConstraintViolated) as caught:
            await _run(town.store, sql)
        # SQLite does not say which reference was broken.
        assert caught.value.constraint in (name, "FOREIGN KEY constraint failed"), sql
        assert town.store.engine == "sqlite" or caught.value.constraint == name
    report = await town.audit()
    assert report.is_clean, report.findings
    assert snapshot(report) == before


def test_the_constraints_that_stand_for_refusals_exist() -> None:
    assert set(REFUSALS) <= set(VIOLATIONS)
    assert REFUSALS["uq_rental_number"] is errors.NUMBER_TAKEN
    assert REFUSALS["ck_wallet_no_overdraft"] is errors.INSUFFICIENT_MONEY


# --- PostgreSQL: down, back, cut off, entangled ----------------------------------------------------------------


async def test_a_server_that_is_down_is_unavailable_and_comes_back() -> None:
    with PostgresServer() as server:
        store = open_store(server.create_database())
        await _run(store, "CREATE TABLE kept (number bigint)")

        async def work(transaction: Transaction) -> None:
            await transaction.connection.execute(Statement(text("INSERT INTO kept VALUES (1)")))
            await asyncio.to_thread(server.kill9)
            await transaction.connection.execute(Statement(text("INSERT INTO kept VALUES (2)")))

        with pytest.raises(StoreUnavailable):
            await store.write(work)
        for attempt in (_run(store, "INSERT INTO kept VALUES (3)"), _ask(store, "SELECT 1"), store.check()):
            with pytest.raises(StoreUnavailable):
                await attempt
        await asyncio.to_thread(server.restart)
        await store.check()
        assert await _ask(store, "SELECT count(*) FROM kept") == 0, "nothing of the transaction is left"
        await _run(store, "INSERT INTO kept VALUES (4)")
        assert await _ask(store, "SELECT count(*) FROM kept") == 1
        await store.close()


async def test_a_server_that_was_never_there_is_unavailable() -> None:
    store = open_store("postgresql://nobody@127.0.0.1:9/nowhere")
    for attempt in (_run(store, "SELECT 1"), _ask(store, "SELECT 1"), store.check()):
        with pytest.raises(StoreUnavailable):
            await attempt
    await store.close()


class Scissors:
    """A way to the server that breaks off at a COMMIT: before the server gets it, or instead of its answer."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self.cut: str | None = None

    async def open(self) -> int:
        """Listen, and return the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Stop listening."""
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        answers = asyncio.create_task(self._pass_on(far_reader, writer))
        # A client that gives a connection up may leave something unread, which resets it.
        with contextlib.suppress(ConnectionResetError):
            while data := await reader.read(65_536):
                if self.cut and b"COMMIT" in data:
                    answers.cancel()
                    await asyncio.wait([answers])
                    if self.cut == "answer":
                        far_writer.write(data)
                        await far_reader.read(65_536)
                    break
                far_writer.write(data)
        for one in (writer, far_writer):
            one.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()


@pytest.mark.parametrize("cut", ["request", "answer"])
async def test_a_commit_without_an_answer_is_unknown(postgres_url: str, cut: str) -> None:
    parts = urlsplit(postgres_url)
    scissors = Scissors(parts.port or 0)
    port = await scissors.open()
    store = open_store(postgres_url.replace(f":{parts.port}/", f":{port}/"))
    await _run(store, "CREATE TABLE kept (number bigint)")
    scissors.cut = cut
    with pytest.raises(CommitUnknown):
        await _run(store, "INSERT INTO kept VALUES (1)")
    scissors.cut = None
    happened = cut == "answer"
    assert await _ask(store, "SELECT count(*) FROM kept") == (1 if happened else 0), "whole, or not at all"
    await store.close()
    await scissors.close()


async def test_an_operator_who_ends_the_session_makes_the_work_fail_and_not_the_store(
    postgres_url: str,
) -> None:
    store = open_store(postgres_url)
    victim = "SELECT pg_terminate_backend(pg_backend_pid())"
    with pytest.raises(StoreUnavailable):
        await _run(store, victim)
    await _run(store, "CREATE TABLE kept (number bigint)")
    await store.close()


async def test_a_writer_whose_kept_connection_was_cut_takes_another(postgres_url: str) -> None:
    store = open_store(postgres_url)
    await _run(store, "CREATE TABLE kept (number bigint)")
    writer = store.writer()
    await writer.write(_inserting(1), more=lambda: True)
    await _run(store, _END_THE_IDLE)
    await writer.write(_inserting(2), more=lambda: False)
    assert await _ask(store, "SELECT count(*) FROM kept") == 2
    await store.close()


async def _backend(reading: Transaction) -> int:
    asked = select(func.pg_backend_pid())
    return int((await reading.connection.fetch(Statement(asked)))[0][0])


async def _end(url: str, *backends: int) -> None:
    store = open_store(url)
    await _run(
        store, f"SELECT pg_terminate_backend(pid) FROM unnest(ARRAY[{', '.join(map(str, backends))}]) AS pid"
    )
    await store.close()


@pytest.mark.parametrize("brief", [True, False])
async def test_reads_outlive_their_connection(postgres_url: str, brief: bool) -> None:
    store = open_store(postgres_url)
    first = await store.read(_backend, brief=brief)
    assert await store.read(_backend, brief=brief) == first, "the one that was used last comes first"
    await _end(postgres_url, first)
    others = {await store.read(_backend, brief=brief) for _ in range(3)}
    assert len(others) == 1
    assert first not in others
    await store.close()


async def test_all_kept_connections_may_turn_out_to_be_cut(postgres_url: str) -> None:
    store = open_store(postgres_url)

    async def linger(reading: Transaction) -> int:
        await asyncio.sleep(0.05)
        return await _backend(reading)

    kept = set(await asyncio.gather(*(store.read(linger, brief=True) for _ in range(4))))
    assert len(kept) == 4
    await _end(postgres_url, *kept)
    assert not kept & set(await asyncio.gather(*(store.read(_backend, brief=True) for _ in range(4))))
    await store.write(_backend)
    await store.close()


async def test_a_cut_that_nobody_has_noticed_is_found_out_by_the_next_read(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(postgres_url)
    first = await store.read(_backend)
    await _end(postgres_url, first)
    asked = iter([False, False])
    really = asyncpg.connection.Connection.is_closed
    monkeypatch.setattr(
        asyncpg.connection.Connection,
        "is_closed",
        lambda connection: next(asked, None) is None and really(connection),
    )
    assert await store.read(_backend) != first
    assert next(asked, None) is None, "the connection was believed to live"
    await store.close()


async def test_a_read_that_fails_for_good_is_not_begun_again(postgres_url: str) -> None:
    store = open_store(postgres_url)
    await store.read(_backend)
    begun = 0

    async def take_too_long(reading: Transaction) -> None:
        nonlocal begun
        begun += 1
        await reading.connection.fetch(Statement(text("SET statement_timeout = 50")))
        await reading.connection.fetch(Statement(text("SELECT pg_sleep(1)")))

    for run in (store.read, store.write):
        with pytest.raises(StoreUnavailable):
            await run(take_too_long)
        await store.write(_backend)
    assert begun == 2
    await store.close()


async def test_a_connection_whose_answer_nobody_waited_for_is_given_up(postgres_url: str) -> None:
    store = open_store(postgres_url)
    first = await store.write(_backend)

    async def sleep(work: Transaction) -> None:
        await work.connection.fetch(Statement(text("SELECT pg_sleep(10)")))

    sleeping = asyncio.create_task(store.write(sleep))
    await asyncio.sleep(0.1)
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping
    assert await store.write(_backend) != first
    await store.close()


async def test_readers_wait_for_a_connection_where_all_are_lent(postgres_url: str) -> None:
    store = open_store(postgres_url)

    async def linger(reading: Transaction) -> int:
        await asyncio.sleep(0.02)
        return await _backend(reading)

    found = await asyncio.gather(*(store.read(linger) for _ in range(3 * CONNECTIONS_MAX)))
    assert len(found) == 3 * CONNECTIONS_MAX
    assert len(set(found)) == CONNECTIONS_MAX
    await store.close()


async def test_a_connection_is_kept_after_a_refusal_and_given_up_after_a_cancellation(
    postgres_url: str,
) -> None:
    store = open_store(postgres_url)
    first = await store.read(_backend)

    async def refuse(_reading: Transaction) -> None:
        raise Boom

    async def sleep(reading: Transaction) -> None:
        await reading.connection.fetch(Statement(text("SELECT pg_sleep(10)")))

    with pytest.raises(Boom):
        await store.read(refuse)
    assert await store.read(_backend) == first
    sleeping = asyncio.create_task(store.read(sleep))
    await asyncio.sleep(0.1)
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping
    assert await store.read(_backend) != first
    await store.close()


async def test_a_deadlock_is_broken_and_both_finish(postgres_url: str) -> None:
    store = open_store(postgres_url)
    await _run(store, "CREATE TABLE kept (id bigint PRIMARY KEY, number bigint)")
    await _run(store, "INSERT INTO kept VALUES (1, 0), (2, 0)")
    met = asyncio.Barrier(2)
    first_try = {1: True, 2: True}

    async def work(transaction: Transaction, one: int, other: int) -> None:
        await transaction.connection.execute(
            Statement(text(f"UPDATE kept SET number = number + 1 WHERE id = {one}"))
        )
        if first_try.pop(one, False):
            await met.wait()
        await transaction.connection.execute(
            Statement(text(f"UPDATE kept SET number = number + 1 WHERE id = {other}"))
        )

    await asyncio.gather(store.write(lambda t: work(t, 1, 2)), store.write(lambda t: work(t, 2, 1)))
    assert await _ask(store, "SELECT sum(number) FROM kept") == 4
    await store.close()


# --- SQLite: durable, gone, read-only, full --------------------------------------------------------------------


@pytest.fixture
async def file(sqlite_url: str) -> AsyncIterator[tuple[Store, Path]]:
    """An open SQLite store with one table."""
    path = _path_of(sqlite_url)
    sqlite3.connect(path).close()
    path.touch()
    store = open_store(sqlite_url)
    await _run(store, "CREATE TABLE kept (number bigint, filling text)")
    yield store, path
    await store.close()


async def test_every_connection_is_as_durable_as_promised(file: tuple[Store, Path]) -> None:
    store, _ = file
    await store.check()
    expected = {"synchronous": 2, "journal_mode": "wal", "foreign_keys": 1}
    for pragma, value in expected.items():
        statement = Statement(text(f"PRAGMA {pragma}"))
        for run in (store.read, store.write):
            rows = await run(lambda work, statement=statement: work.connection.fetch(statement))  # type: ignore[misc]
            assert rows[0][0] == value, pragma


async def test_less_durability_is_refused(file: tuple[Store, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    _, path = file

    def careless(path: Path, _busy_seconds: float) -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    monkeypatch.setattr(sqlite, "connect", careless)
    store = open_store(f"sqlite:///{path}")
    with pytest.raises(SchemaMismatch, match="FULL"):
        await store.check()
    await store.close()


async def test_a_file_that_is_gone_is_unavailable_until_it_is_back(file: tuple[Store, Path]) -> None:
    store, path = file
    await _run(store, "INSERT INTO kept VALUES (1, '')")
    await _ask(store, "SELECT 1")
    aside = path.with_name("aside")
    path.rename(aside)
    for attempt in (_run(store, "INSERT INTO kept VALUES (2, '')"), _ask(store, "SELECT 1"), store.check()):
        with pytest.raises(StoreUnavailable):
            await attempt
    assert not path.exists(), "nobody makes an empty store in its place"
    path.write_bytes(aside.read_bytes())
    with pytest.raises(StoreUnavailable, match="no longer the file"):
        await _run(store, "INSERT INTO kept VALUES (3, '')")
    os.replace(aside, path)  # noqa: PTH105 - the one word that says: this very file
    await _run(store, "INSERT INTO kept VALUES (4, '')")
    assert await _ask(store, "SELECT sum(number) FROM kept") == 5


@pytest.mark.parametrize("name", ["nowhere.db", "no/folder/nowhere.db"])
async def test_a_file_that_was_never_there_is_unavailable(tmp_path: Path, name: str) -> None:
    store = open_store(f"sqlite:///{tmp_path / name}")
    for attempt in (_run(store, "SELECT 1"), _ask(store, "SELECT 1"), store.check()):
        with pytest.raises(StoreUnavailable):
            await attempt
    assert not (tmp_path / name).exists()
    await store.close()


@pytest.mark.parametrize("content", [b"no database, but some text of a certain length\n" * 100])
async def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "text.db"
    path.write_bytes(content)
    store = open_store(f"sqlite:///{path}")
    for attempt in (_run(store, "SELECT 1"), _ask(store, "SELECT 1"), store.check()):
        with pytest.raises(StoreUnavailable):
            await attempt
    assert path.read_bytes() == content
    await store.close()


async def test_a_read_only_file_can_be_read(
    file: tuple[Store, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened read-only by SQLite itself: permissions would not stop a test that root runs."""
    _, path = file

    def reading(path: Path, _busy_seconds: float) -> sqlite3.Connection:
        return sqlite3.connect(
            f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
        )

    monkeypatch.setattr(sqlite, "connect", reading)
    store = open_store(f"sqlite:///{path}")
    assert await _ask(store, "SELECT count(*) FROM kept") == 0
    with pytest.raises(StoreUnavailable, match="readonly"):
        await _run(store, "INSERT INTO kept VALUES (1, '')")
    await store.close()


async def test_a_folder_that_takes_no_files_is_unavailable(
    file: tuple[Store, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, path = file
    path.with_name(f"{path.name}.turn").unlink()
    path.with_name(f"{path.name}.turn").mkdir()
    store = open_store(f"sqlite:///{path}")
    with pytest.raises(StoreUnavailable):
        await _run(store, "INSERT INTO kept VALUES (1, '')")
    assert await _ask(store, "SELECT count(*) FROM kept") == 0
    await store.close()


_FILLING: Final = "INSERT INTO kept VALUES (1, '" + "x" * 200_000 + "')"


async def test_a_full_store_takes_nothing_and_goes_on_when_there_is_room(file: tuple[Store, Path]) -> None:
    store, _ = file
    await _run(store, "PRAGMA max_page_count=10")
    with pytest.raises(StoreUnavailable, match="full"):
        await _run(store, _FILLING)
    assert await _ask(store, "SELECT count(*) FROM kept") == 0
    await _run(store, "PRAGMA max_page_count=1000000")
    await _run(store, _FILLING)
    assert await _ask(store, "SELECT count(*) FROM kept") == 1


async def test_a_disk_that_fails_during_the_commit_leaves_the_outcome_unknown(
    file: tuple[Store, Path],
) -> None:
    store, path = file
    await _run(store, "INSERT INTO kept VALUES (1, '')")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file of this process may grow beyond what the log has now and a little more.
    log_bytes = path.with_name(f"{path.name}-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (log_bytes + 50_000, hard))
    try:
        with pytest.raises(CommitUnknown):
            await _run(store, _FILLING)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert await _ask(store, "SELECT count(*) FROM kept") == 1, "whole, or not at all: here not at all"
    await _run(store, _FILLING)
    assert await _ask(store, "SELECT count(*) FROM kept") == 2
    assert await _ask(store, "PRAGMA integrity_check") == "ok"


async def test_another_program_that_holds_the_file_makes_it_busy(
    file: tuple[Store, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, path = file
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    store = open_store(f"sqlite:///{path}")
    rude = sqlite3.connect(path, isolation_level=None)
    rude.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusy):
        await _run(store, "INSERT INTO kept VALUES (1, '')")
    assert await _ask(store, "SELECT count(*) FROM kept") == 0, "readers never wait"
    rude.execute("ROLLBACK")
    rude.close()
    await _run(store, "INSERT INTO kept VALUES (1, '')")
    await store.close()


async def test_a_unit_of_work_may_wait_for_nothing_else(file: tuple[Store, Path]) -> None:
    store, _ = file

    async def work(transaction: Transaction) -> None:
        await transaction.connection.execute(Statement(text("INSERT INTO kept VALUES (1, '')")))
        await asyncio.sleep(0)

    with pytest.raises(AssertionError, match="waits for nothing"):
        await store.write(work)
    assert await _ask(store, "SELECT count(*) FROM kept") == 0


async def test_many_writers_at_once_lose_nothing(file: tuple[Store, Path]) -> None:
    store, path = file
    other = open_store(f"sqlite:///{path}")
    await asyncio.gather(
        *(_run(one, "INSERT INTO kept VALUES (1, '')") for one in (store, other) for _ in range(20))
    )
    assert await _ask(store, "SELECT sum(number) FROM kept") == 40
    await other.close()


async def test_a_brief_question_is_answered_while_another_writes(store_url: str) -> None:
    await migrate(store_url)
    store = open_store(store_url)
    entered, leave = threading.Event(), threading.Event()

    async def hold(write: Transaction) -> None:
        await write.count_free([1])
        entered.set()
        if store.engine == "sqlite":
            assert leave.wait(10)
        else:
            await asyncio.to_thread(leave.wait, 10)

    writing = asyncio.create_task(store.write(hold))
    await asyncio.to_thread(entered.wait, 10)
    try:
        assert await store.read(lambda ask: ask.find_callers({("nobody", 0)}), brief=True) == {}
    finally:
        leave.set()
        await writing
        await store.close()


async def test_a_brief_question_that_turns_out_long_is_answered_elsewhere(store_url: str) -> None:
    await migrate(store_url)
    store = open_store(store_url)
    threads: list[str] = []
    counted = select(literal(1).label("number")).cte("counted", recursive=True)
    counted = counted.union_all(select(counted.c.number + 1).where(counted.c.number < 100_000))
    counting = Statement(select(func.count()).select_from(counted))

    async def ask(reading: Transaction) -> int:
        threads.append(threading.current_thread().name)
        return int((await reading.connection.fetch(counting))[0][0])

    assert await store.read(ask, brief=True) == 100_000
    assert len(threads) == (2 if store.engine == "sqlite" else 1)
    assert store.engine != "sqlite" or threads[1].startswith("sqlite-reader")
    await store.close()


async def test_however_many_short_questions_are_asked_each_is_answered_at_once(store_url: str) -> None:
    """SQLite counts the steps of a statement from one run to the next; the limit is on each run."""
    await migrate(store_url)
    store = open_store(store_url)
    threads: set[str] = set()

    async def ask(reading: Transaction) -> int:
        threads.add(threading.current_thread().name)
        return await reading.find_catalog_revision()

    for _ in range(60_000 if store.engine == "sqlite" else 60):
        await store.read(ask, brief=True)
    assert threads == {threading.current_thread().name}
    await store.close()
