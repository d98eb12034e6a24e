"""Statements: written once in SQLAlchemy Core, compiled once per engine to text and the order of its parameters.

SQLAlchemy is the language here, not the driver: the text goes straight to asyncpg or sqlite3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from sqlalchemy import ARRAY, BigInteger, Table, Text, bindparam, insert, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import Executable
from sqlalchemy.sql.elements import BindParameter, ColumnElement
from sqlalchemy.sql.selectable import Select
from sqlalchemy.types import Boolean

Engine = Literal["sqlite", "postgres"]

_DIALECTS: Mapping[Engine, Dialect] = {
    "sqlite": sqlite.dialect(paramstyle="qmark"),
    "postgres": asyncpg.dialect(),  # type: ignore[no-untyped-call]
}


class Statement:
    """One statement, compiled for an engine when it is first used there."""

    def __init__(self, expression: Executable) -> None:
        self._expression = expression
        self._compiled: dict[Engine, tuple[str, tuple[str, ...], Mapping[str, Any]]] = {}

    def text(self, engine: Engine) -> str:
        """The SQL for an engine."""
        return self._for(engine)[0]

    def arguments(self, engine: Engine, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """The values in the order the engine's text wants them; a missing one raises KeyError."""
        _, names, constants = self._for(engine)
        return tuple(constants[name] if name in constants else values[name] for name in names)

    def _for(self, engine: Engine) -> tuple[str, tuple[str, ...], Mapping[str, Any]]:
        found = self._compiled.get(engine)
        if found is None:
            compiled: Any = self._expression.compile(dialect=_DIALECTS[engine])  # type: ignore[attr-defined]
            # Constants of the expression are parameters too, with a value of their own.
            constants = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
            found = (str(compiled), tuple(compiled.positiontup or ()), constants)
            self._compiled[engine] = found
        return found


class within(ColumnElement[bool]):  # noqa: N801 - reads as an operator, like SQLAlchemy's own
    """`column` is one of a list that is passed as a single parameter, so that the text never changes."""

    inherit_cache = False
    type = Boolean()

    def __init__(self, column: ColumnElement[Any], name: str, *, of_text: bool = False) -> None:
        self.column = column
        self.values: BindParameter[Any] = bindparam(name, type_=ARRAY(Text if of_text else BigInteger))

    def self_group(self, against: Any = None) -> within:
        """Itself: SQLAlchemy would write `(...) = 1` for SQLite, and that no index can answer."""
        return self


@compiles(within, "postgresql")
def _within_postgres(element: within, compiler: Any, **options: Any) -> str:
    column = compiler.process(element.column, **options)
    return f"{column} = ANY ({compiler.process(element.values, **options)})"


@compiles(within, "sqlite")
def _within_sqlite(element: within, compiler: Any, **options: Any) -> str:
    column = compiler.process(element.column, **options)
    values = compiler.process(element.values, **options)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608 - both parts are compiled SQL


def insert_into(table: Table) -> Statement:
    """Insert one row, every column given by its name."""
    return Statement(
        insert(table).values({column.name: bindparam(column.name, type_=column.type) for column in table.c})
    )


def select_all(table: Table) -> Select[Any]:
    """Select every column of a table, in the table's order."""
    return select(*table.c)
