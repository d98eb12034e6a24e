"""Bring a store's schema up to date with Alembic, on either engine."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numberline.store.contract import Store
from numberline.store.errors import SchemaMismatch, StoreUnavailable

if TYPE_CHECKING:
    from alembic.config import Config

HEAD: Final = "0006"
_MIGRATIONS: Final = Path(__file__).parent / "migrations"


async def migrate(url: str) -> None:
    """Create or upgrade the schema of the store a URL names; nothing happens when it is up to date."""
    if await current_revision(url) == HEAD:
        return
    import asyncio  # noqa: PLC0415 - Alembic is slow to load and seldom needed

    await asyncio.to_thread(upgrade, url)


def upgrade(url: str, revision: str = "head") -> None:
    """Run the migrations up to a revision; blocks. Raises `StoreUnavailable`."""
    from alembic import command  # noqa: PLC0415 - slow to load and seldom needed
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415

    try:
        command.upgrade(alembic_config(url), revision)
    except DBAPIError as error:
        raise StoreUnavailable(str(error.orig)) from error
    except OSError as error:
        raise StoreUnavailable(str(error)) from error


def alembic_config(url: str) -> Config:
    """What Alembic needs to know of a store."""
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["url"] = url
    return config


async def current_revision(url: str) -> str | None:
    """The revision of a store's schema; None when it has none yet. Raises `StoreUnavailable`."""
    if url.startswith("sqlite:///"):
        return _sqlite_revision(Path(url.removeprefix("sqlite:///")))
    return await _postgres_revision(url)


def _sqlite_revision(path: Path) -> str | None:
    from numberline.store.sqlite import translated  # noqa: PLC0415 - only the engine in use is loaded

    if not path.exists():
        return None
    with translated(), closing(sqlite3.connect(path)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return None if row is None else str(row[0])


async def _postgres_revision(url: str) -> str | None:
    import asyncpg  # noqa: PLC0415 - only the engine in use is loaded

    from numberline.store.postgres_connections import translated  # noqa: PLC0415

    with translated():
        connection = await asyncpg.connect(url)
        try:
            if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
                return None
            revision: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
            return revision
        finally:
            await connection.close()


async def require_head(store: Store, url: str) -> None:
    """Raise `SchemaMismatch` unless the schema is the one this program was written for."""
    await store.check()
    found = await current_revision(url)
    if found != HEAD:
        raise SchemaMismatch(f"the store's schema is at {found or 'nothing'}, this program needs {HEAD}")
