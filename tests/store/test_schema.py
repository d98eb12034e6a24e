"""The migrations make exactly the tables that the program believes in, and can be taken back and made again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

import asyncpg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    CheckConstraint,
    Connection,
    ForeignKeyConstraint,
    UniqueConstraint,
    bindparam,
    create_engine,
    inspect,
    text,
    update,
)
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from numberline.domain.blocks import ALL_FREE, Block
from numberline.store.contract import Work
from numberline.store.errors import ConstraintViolated
from numberline.store.migrate import HEAD, alembic_config, current_revision, migrate, upgrade
from numberline.store.opening import open_store
from numberline.store.schema import block, metadata
from numberline.store.statements import Statement, select_all
from numberline.store.transaction import Transaction
from tests.kit import world
from tests.kit.world import Town, build_town

T = TypeVar("T")
LOCAL: Final = {"country_code": "US", "phone_category_name": "local", "phone_region_id": world.HOLLYWOOD}


async def _look(url: str, look: Callable[[Connection], T]) -> T:
    """Ask SQLAlchemy's inspection, which only knows connections of its own."""
    if url.startswith("sqlite"):
        engine = create_engine(url, poolclass=NullPool)
        try:
            with engine.connect() as connection:
                return look(connection)
        finally:
            engine.dispose()
    connect = partial(asyncpg.connect, url)
    async_engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with async_engine.connect() as connection:
            return await connection.run_sync(look)
    finally:
        await async_engine.dispose()


async def _tables(url: str) -> set[str]:
    return await _look(
        url, lambda connection: set(inspect(connection).get_table_names()) - {"alembic_version"}
    )


def _differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "compare_server_default": True}
    )
    return list(compare_metadata(context, metadata))


def _columns_of(connection: Connection) -> dict[str, list[str]]:
    look = inspect(connection)
    return {name: [column["name"] for column in look.get_columns(name)] for name in metadata.tables}


def _names_in(connection: Connection) -> set[str]:
    found, look = set[str | None](), inspect(connection)
    for table in set(metadata.tables) & set(look.get_table_names()):
        found.add(look.get_pk_constraint(table)["name"])
        for ask in (
            look.get_unique_constraints,
            look.get_check_constraints,
            look.get_foreign_keys,
            look.get_indexes,
        ):
            found |= {one["name"] for one in ask(table)}
    return {name for name in found if name is not None}


def _names_wanted() -> set[str]:
    tables = metadata.tables.values()
    constraints = {str(one.name) for table in tables for one in table.constraints}
    return constraints | {str(one.name) for table in tables for one in table.indexes}


async def test_the_migrations_make_exactly_the_metadata(store_url: str) -> None:
    await migrate(store_url)
    assert await _look(store_url, _differences) == []
    assert await _tables(store_url) == set(metadata.tables)


async def test_columns_stand_in_the_order_of_the_metadata(store_url: str) -> None:
    """PostgreSQL is given rows as values of the table's own row type, which go by their places."""
    await migrate(store_url)
    wanted = {table.name: table.columns.keys() for table in metadata.tables.values()}
    assert await _look(store_url, _columns_of) == wanted


async def test_every_constraint_bears_its_name(store_url: str) -> None:
    await migrate(store_url)
    assert await _look(store_url, _names_in) == _names_wanted()


def test_every_constraint_has_a_name_and_none_contains_another() -> None:
    """The auditor looks for names in the text of SQLite's schema, where one inside another would pass for it."""
    for table in metadata.tables.values():
        kinds = (CheckConstraint, ForeignKeyConstraint, UniqueConstraint)
        assert all(one.name for one in table.constraints if isinstance(one, kinds)), table.name
    names = _names_wanted()
    assert not [(one, other) for one in names for other in names if one != other and one in other]


async def test_partial_indexes_keep_their_predicate(store_url: str) -> None:
    await migrate(store_url)

    def predicates(connection: Connection) -> dict[str | None, str]:
        key = f"{connection.dialect.name}_where"
        return {
            one["name"]: str(one.get("dialect_options", {}).get(key, "")).strip("()").lower()
            for table in metadata.tables
            for one in inspect(connection).get_indexes(table)
        }

    found = await _look(store_url, predicates)
    assert found["uq_rental_number"] == found["ix_rental_account_purchased"] == "detached_at is null"
    assert found["ix_block_open"] in ("is_open", "is_open = 1")
    assert found["ix_block_prefix"] == ""


async def test_the_head_of_the_migrations_is_the_one_the_program_wants(sqlite_url: str) -> None:
    assert ScriptDirectory.from_config(alembic_config(sqlite_url)).get_heads() == [HEAD]


async def test_migrating_twice_is_migrating_once(store_url: str) -> None:
    assert await current_revision(store_url) is None
    await migrate(store_url)
    assert await current_revision(store_url) == HEAD
    await migrate(store_url)
    await asyncio.to_thread(upgrade, store_url)
    assert await _look(store_url, _differences) == []


async def test_down_to_nothing_and_up_again_with_a_town_inside(town_url: str) -> None:
    await asyncio.to_thread(command.downgrade, alembic_config(town_url), "base")
    assert await current_revision(town_url) is None
    assert await _tables(town_url) == set()
    await migrate(town_url)
    assert await _look(town_url, _differences) == []
    town = await build_town(open_store(town_url))
    assert (await town.call("AttachPhoneNumber", LOCAL))["result"] == 1
    report = await town.audit()
    assert report.is_clean, report.findings
    await town.close()


async def test_an_upgrade_of_a_store_in_use_keeps_its_data(town_url: str) -> None:
    store = open_store(town_url)
    before = await store.read(lambda ask: ask.list_records())
    await asyncio.to_thread(upgrade, town_url)
    assert await store.read(lambda ask: ask.list_records()) == before
    await store.close()


async def test_maps_kept_as_bits_outlive_the_upgrade_and_the_way_back(store_url: str) -> None:
    """The first schema's program kept every map of a started thousand as 125 bytes."""
    await asyncio.to_thread(upgrade, store_url, "0001")
    town = await build_town(open_store(store_url))
    evens = Block(5, 15592852, 500, sum(1 << ending for ending in range(0, 1000, 2)))
    await town.store.write(lambda work: work.insert_blocks([evens]))
    await town.store.write(_keep_maps_as_bits)
    before = await _stock(town)
    await town.close()
    config = alembic_config(store_url)
    for change in (command.upgrade, command.downgrade, command.upgrade):
        await asyncio.to_thread(change, config, "head" if change is command.upgrade else "0001")
        town = Town(open_store(store_url))
        assert await _stock(town) == before
        # The auditor misses what later migrations have added.
        findings = (await town.audit()).findings
        assert change is command.downgrade or not findings, findings
        await town.close()
    assert await _look(store_url, _differences) == []
    assert await _look(store_url, _names_in) == _names_wanted()
    town = Town(open_store(store_url))
    assert (await town.call("AttachPhoneNumber", LOCAL))["result"] == 1
    report = await town.audit()
    assert report.is_clean, report.findings
    await town.close()


# What 0003 takes away: the parents of these are certain while the desk writes.
UNDECLARED: Final = {
    *("fk_rental_account", "fk_rental_offer", "fk_movement_account", "fk_posting_movement"),
    *("fk_charge_rental", "fk_charge_account", "fk_idempotency_account"),
}


# What later migrations bring, and what they take away.
LATER: Final = {"pk_access_revision", "ck_access_revision_single_row", "ix_rental_account_purchased"}
EARLIER: Final = {"ix_rental_account_id"}


async def test_references_go_and_come_back_with_all_the_books_in_place(town_url: str) -> None:
    town = Town(open_store(town_url))
    await town.call("AttachPhoneNumber", LOCAL | {"phone_count": 2}, idempotency_key="key")
    before = await _books(town)
    await town.close()
    config = alembic_config(town_url)
    await asyncio.to_thread(command.downgrade, config, "0002")
    assert await _look(town_url, _names_in) == (_names_wanted() | UNDECLARED | EARLIER) - LATER
    town = Town(open_store(town_url))
    assert await _books(town) == before
    for name, sql in ORPHANS.items():
        with pytest.raises(ConstraintViolated) as caught:
            await town.store.write(_running(sql))
        assert caught.value.constraint in (name, "FOREIGN KEY constraint failed"), sql
    await town.close()
    await asyncio.to_thread(command.upgrade, config, "head")
    assert await _look(town_url, _names_in) == _names_wanted()
    assert await _look(town_url, _differences) == []
    town = Town(open_store(town_url))
    assert await _books(town) == before
    assert (await town.call("AttachPhoneNumber", LOCAL))["result"] == 1
    report = await town.audit()
    assert report.is_clean, report.findings
    await town.close()


ORPHANS: Final = {
    name: "UPDATE {0} SET {1}_id = {1}_id + 99999".format(*name.split("_")[1:]) for name in UNDECLARED
}


async def _books(town: Town) -> dict[str, list[tuple[Any, ...]]]:
    tables = {name.split("_")[1] for name in UNDECLARED}
    return {name: await town.store.read(_all_of(name)) for name in tables}


def _all_of(name: str) -> Work[list[tuple[Any, ...]]]:
    async def ask(transaction: Transaction) -> list[tuple[Any, ...]]:
        rows = await transaction.connection.fetch(Statement(select_all(metadata.tables[name])))
        return sorted((tuple(row) for row in rows), key=repr)

    return ask


def _running(sql: str) -> Work[None]:
    return lambda work: work.connection.execute(Statement(text(sql)))


async def _stock(town: Town) -> list[Block]:
    return await town.store.read(lambda ask: ask.find_blocks(range(1, 10**12)))


async def _keep_maps_as_bits(work: Transaction) -> None:
    for found in await work.find_blocks(range(1, 10**12)):
        if found.free_map != ALL_FREE:
            bits = found.free_map.to_bytes(125, "little")
            await work.connection.execute(
                _KEEP_MAP, {"offer": found.offer_id, "at": found.prefix, "bits": bits}
            )


_KEEP_MAP: Final = Statement(
    update(block)
    .where(block.c.offer_id == bindparam("offer"), block.c.prefix == bindparam("at"))
    .values(free_map=bindparam("bits"))
)


async def test_the_blocks_of_an_offer_lie_together(sqlite_url: str) -> None:
    await migrate(sqlite_url)

    def declared(connection: Connection) -> str:
        return str(connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'block'").scalar())

    sql = await _look(sqlite_url, declared)
    assert sql.rstrip().endswith("WITHOUT ROWID")
    assert "PRIMARY KEY (offer_id, prefix)" in sql
