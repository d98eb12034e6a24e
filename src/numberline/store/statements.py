"""Statements: written once in SQLAlchemy Core, compiled once per engine to text and the order of its parameters.

SQLAlchemy is the language here, not the driver: the text goes straight to asyncpg or sqlite3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from operator import itemgetter
from typing import Any, Final, Literal

from sqlalchemy import ARRAY, BigInteger, Table, Text, bindparam, select
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import Executable
from sqlalchemy.sql.elements import BindParameter, ColumnElement
from sqlalchemy.sql.selectable import Select
from sqlalchemy.types import Boolean

Engine = Literal["sqlite", "postgres"]


@cache
def _dialect(engine: Engine) -> Dialect:
    """How an engine spells SQL; only the engine in use is loaded."""
    if engine == "sqlite":
        from sqlalchemy.dialects import sqlite  # noqa: PLC0415

        return sqlite.dialect(paramstyle="qmark")
    from sqlalchemy.dialects.postgresql import asyncpg  # noqa: PLC0415

    return asyncpg.dialect()  # type: ignore[no-untyped-call]


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
        given = {**values, **constants} if constants else values
        return tuple([given[name] for name in names])

    def _for(self, engine: Engine) -> tuple[str, tuple[str, ...], Mapping[str, Any]]:
        found = self._compiled.get(engine)
        if found is None:
            compiled: Any = self._expression.compile(dialect=_dialect(engine))  # type: ignore[attr-defined]
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


class RowChange:
    """A change made once per row of values, which are given by column name.

    To PostgreSQL all rows travel as one array per column, in one statement; SQLite takes some rows at a time.
    """

    def __init__(self, table: Table, columns: tuple[str, ...], row_text: str, set_text: str) -> None:
        self.columns: Final = columns
        self.row_text: Final = row_text
        self._set_text: Final = set_text
        self._table: Final = table
        assert len(columns) > 1, "an itemgetter of one name does not make a tuple"
        # The values of one row in the order of `row_text`.
        self.arguments: Final[Callable[[Mapping[str, Any]], tuple[Any, ...]]] = itemgetter(*columns)

    def arrays(self, rows: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
        """The values of all rows, one tuple per column."""
        return list(zip(*map(self.arguments, rows), strict=True))

    @cached_property
    def _types(self) -> tuple[str, ...]:
        types = (self._table.c[name].type for name in self.columns)
        return tuple(str(kind.compile(dialect=_dialect("postgres"))) for kind in types)

    def values_text(self, count: int) -> str:
        """The SQL for SQLite that makes the change for `count` rows, whose values follow each other."""
        if count == 1:
            return self.row_text
        rows = ", ".join([f"({', '.join('?' * len(self.columns))})"] * count)
        named = ", ".join(f"column{place} AS {name}" for place, name in enumerate(self.columns, 1))
        return self._set_text.format(rows=f"(SELECT {named} FROM (VALUES {rows})) AS v")  # noqa: S608 - names of the schema

    def set_text(self, first: int = 1) -> str:
        """The SQL for PostgreSQL, its parameters numbered from `first`."""
        arrays = ", ".join(f"${place}::{kind}[]" for place, kind in enumerate(self._types, first))
        return self._set_text.format(rows=f"unnest({arrays}) AS v({', '.join(self.columns)})")


def insert_into(table: Table) -> RowChange:
    """Insert rows, every column given."""
    columns = tuple(column.name for column in table.c)
    head = f"INSERT INTO {table.name} ({', '.join(columns)})"
    row_text = f"{head} VALUES ({', '.join('?' * len(columns))})"
    return RowChange(table, columns, row_text, f"{head} SELECT * FROM {{rows}}")  # noqa: S608 - names of the schema


def update_rows(table: Table, key: tuple[str, ...], *columns: str) -> RowChange:
    """Set `columns` of the rows that `key` names."""
    row_sets = ", ".join(f"{name} = ?" for name in columns)
    row_keys = " AND ".join(f"{name} = ?" for name in key)
    sets = ", ".join(f"{name} = v.{name}" for name in columns)
    keys = " AND ".join(f"t.{name} = v.{name}" for name in key)
    set_text = f"UPDATE {table.name} AS t SET {sets} FROM {{rows}} WHERE {keys}"  # noqa: S608 - names of the schema
    row_text = f"UPDATE {table.name} SET {row_sets} WHERE {row_keys}"  # noqa: S608 - names of the schema
    return RowChange(table, columns + key, row_text, set_text)


def select_all(table: Table) -> Select[Any]:
    """Select every column of a table, in the table's order."""
    return select(*table.c)
