"""Alembic's environment: runs the migrations on the engine of the URL it is given."""

from __future__ import annotations

import asyncio
import sqlite3
from functools import partial

import asyncpg
from alembic import context
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from numberline.store.schema import metadata


def _run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()


async def _run_on_postgres(url: str) -> None:
    # asyncpg reads the URL itself, with the options that SQLAlchemy would not understand.
    connect = partial(asyncpg.connect, url)
    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.run_sync(_run)
    await engine.dispose()


def _leave_transactions_to_us(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None


def _main() -> None:
    url = context.config.attributes["url"]
    if url.startswith("sqlite"):
        engine = create_engine(url, poolclass=NullPool)
        # Python's driver leaves DDL outside transactions unless it is told not to meddle.
        event.listen(engine, "connect", _leave_transactions_to_us)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        with engine.begin() as connection:
            _run(connection)
        engine.dispose()
    else:
        asyncio.run(_run_on_postgres(url))


_main()
