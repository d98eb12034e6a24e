"""Open the store a URL names."""

from __future__ import annotations

from pathlib import Path

from numberline.store.contract import Store


def open_store(url: str) -> Store:
    """The store of `sqlite:///path` or `postgresql://user:password@host:port/database`; ValueError otherwise."""
    if url.startswith("sqlite:///"):
        from numberline.store.sqlite import SqliteStore  # noqa: PLC0415 - only the engine in use is loaded

        return SqliteStore(Path(url.removeprefix("sqlite:///")))
    if url.startswith(("postgresql://", "postgres://")):
        from numberline.store.postgres import PostgresStore  # noqa: PLC0415 - only the engine in use is loaded

        return PostgresStore(url)
    raise ValueError("a database URL begins with sqlite:/// or postgresql://")
