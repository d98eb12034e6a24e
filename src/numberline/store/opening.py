"""Open the store a URL names."""

from __future__ import annotations

from pathlib import Path

from numberline.store.contract import Store
from numberline.store.statements import Engine


def engine_of(url: str) -> Engine:
    """The engine of `sqlite:///path` or `postgresql://user:password@host:port/database`; ValueError otherwise."""
    if url.startswith("sqlite:///"):
        return "sqlite"
    if url.startswith(("postgresql://", "postgres://")):
        return "postgres"
    raise ValueError("a database URL begins with sqlite:/// or postgresql://")


def open_store(url: str) -> Store:
    """The store of a URL; ValueError as from `engine_of`."""
    if engine_of(url) == "sqlite":
        from numberline.store.sqlite import SqliteStore  # noqa: PLC0415 - only the engine in use is loaded

        return SqliteStore(Path(url.removeprefix("sqlite:///")))
    from numberline.store.postgres import PostgresStore  # noqa: PLC0415 - only the engine in use is loaded

    return PostgresStore(url)
