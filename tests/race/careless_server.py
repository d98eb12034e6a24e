"""The product with its locks left out: the canary of the race tests, which must fail against it."""

from __future__ import annotations

import sqlite3
from typing import Any

from numberline.store import sale, sqlite, stock
from numberline.store.statements import Engine, Statement


class _Unlocked(Statement):
    """A statement without its locking clause."""

    def text(self, engine: Engine) -> str:
        return super().text(engine).split(" FOR UPDATE")[0]


def _unlock(module: Any, name: str) -> None:
    statement = getattr(module, name)
    setattr(module, name, _Unlocked(statement._expression))


class _NoTurn:
    """Lets everybody write at once."""

    def __init__(self, _path: object) -> None:
        pass

    def __enter__(self) -> None:
        pass

    def comes_at_once(self) -> bool:
        return True

    def __exit__(self, *_: object) -> None:
        pass

    def close(self) -> None:
        pass


class _Hasty(sqlite3.Connection):
    """Reads before it asks for the right to write, and writes whatever it then decided."""

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        if sql == "BEGIN IMMEDIATE":
            sql = "BEGIN"
        return super().execute(sql, *arguments)


def main() -> None:
    """Leave the locks out, then run the product's command line."""
    for module, name in ((sale, "_PICKED_BLOCKS"), (sale, "_PATIENT_BLOCKS"), (stock, "_LOCKED_BLOCKS")):
        _unlock(module, name)
    sqlite._Turn = _NoTurn  # type: ignore[assignment,misc]
    connect = sqlite.connect

    def hasty(path: Any, busy_seconds: float = sqlite.BUSY_SECONDS) -> sqlite3.Connection:
        original = sqlite3.connect
        sqlite.sqlite3.connect = lambda *arguments, **options: original(*arguments, **options, factory=_Hasty)  # type: ignore[attr-defined]
        try:
            return connect(path, busy_seconds)
        finally:
            sqlite.sqlite3.connect = original  # type: ignore[attr-defined]

    sqlite.connect = hasty
    from numberline.doors.cli.main import run

    run()


if __name__ == "__main__":
    main()
