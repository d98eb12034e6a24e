"""Statements: written once in SQLAlchemy Core, compiled once per engine to text and the order of its parameters.

SQLAlchemy is the language here, not the driver: the text goes straight to asyncpg or sqlite3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from typing import Any, Final, Literal

from sqlalchemy import ARRAY, BigInteger, Index, Table, Text, bindparam, select
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import Executable
from sqlalchemy.sql.elements import BindParameter, ColumnElement
from sqlalchemy.sql.selectable import Select
from sqlalchemy.types import Boolean

Engine = Literal["sqlite", "postgres"]
Rows = Sequence[tuple[Any, ...]]
_PARAMETER = re.compile(r"\$(\d+)")


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

    def __init__(self, expression: Executable, *, sqlite_index: Index | None = None) -> None:
        """`sqlite_index` is what SQLite shall read its table by, where it would choose worse."""
        self._expression = expression
        self._sqlite_index = sqlite_index
        self._compiled: dict[Engine, tuple[str, tuple[str, ...], Mapping[str, Any]]] = {}

    def text(self, engine: Engine) -> str:
        """The SQL for an engine."""
        return self._for(engine)[0]

    def text_from(self, first: int) -> str:
        """The SQL for PostgreSQL, its parameters numbered from `first`."""
        return _PARAMETER.sub(lambda found: f"${int(found[1]) + first - 1}", self.text("postgres"))

    def parameters(self, engine: Engine) -> int:
        """How many parameters the engine's text has."""
        return len(self._for(engine)[1])

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
            found = (self._hinted(engine, str(compiled)), tuple(compiled.positiontup or ()), constants)
            self._compiled[engine] = found
        return found

    def _hinted(self, engine: Engine, text: str) -> str:
        index = self._sqlite_index
        if engine != "sqlite" or index is None:
            return text
        assert index.table is not None, "an index is of a table"
        table = f"FROM {index.table.name} "
        assert table in text, "a hint is for a table that is read"
        return text.replace(table, f"{table}INDEXED BY {index.name} ")


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


class state_mark(ColumnElement[Any]):  # noqa: N801 - reads as a function, like SQLAlchemy's own
    """A value that never comes back once something else has become visible to the connection."""

    inherit_cache = True
    type = Text()


@compiles(state_mark, "postgresql")
def _state_mark_postgres(_element: state_mark, _compiler: Any, **_options: Any) -> str:
    # Which transactions are visible. In a subquery it is worked out once for all rows.
    return "(SELECT pg_current_snapshot()::text)"


@compiles(state_mark, "sqlite")
def _state_mark_sqlite(_element: state_mark, _compiler: Any, **_options: Any) -> str:
    return "(SELECT data_version FROM pragma_data_version)"


class RowChange:
    """A change made once per row of values. A row is a tuple in the order of `columns`."""

    _next_condition = "AND"

    def __init__(self, columns: tuple[str, ...], parameters: int, row_text: str, set_text: str) -> None:
        """`row_text` makes the change for one row on SQLite, `set_text` for `{rows}`, on PostgreSQL `parameters`."""
        self.columns: Final = columns
        self.parameters: Final = parameters
        self.row_text: Final = row_text
        self._set_text: Final = set_text

    def row(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """The row of some values by column name; a missing one raises KeyError."""
        assert len(values) == len(self.columns), "a row has no other columns"
        return tuple([values[name] for name in self.columns])

    def values_text(self, count: int) -> str:
        """The SQL for SQLite that makes the change for `count` rows, whose values follow each other."""
        if count == 1:
            return self.row_text
        rows = ", ".join([f"({', '.join('?' * len(self.columns))})"] * count)
        named = ", ".join(f"column{place} AS {name}" for place, name in enumerate(self.columns, 1))
        return self._set_text.format(rows=f"(SELECT {named} FROM (VALUES {rows})) AS v")  # noqa: S608 - names of the schema

    def arguments(self, rows: Rows) -> list[Rows]:
        """What stands for some rows in the parameters of `set_text`."""
        raise NotImplementedError

    def set_text(self, first: int = 1, *, only_if: str = "") -> str:
        """The SQL for PostgreSQL, its parameters numbered from `first`; `only_if` is a condition for all rows."""
        text = self._set_text.format(rows=self._unnest(first))
        return f"{text} {self._next_condition} {only_if}" if only_if else text

    def _unnest(self, first: int) -> str:
        raise NotImplementedError


class _Insert(RowChange):
    """To PostgreSQL rows travel as one array of the table's own row type: it reads them faster than arrays of values."""

    _next_condition = "WHERE"

    def __init__(self, table: Table) -> None:
        columns = tuple(column.name for column in table.c)
        head = f"INSERT INTO {table.name} ({', '.join(columns)})"
        row_text = f"{head} VALUES ({', '.join('?' * len(columns))})"
        super().__init__(columns, 1, row_text, f"{head} SELECT * FROM {{rows}}")  # noqa: S608 - names of the schema
        self._table: Final = table.name

    def arguments(self, rows: Rows) -> list[Rows]:
        return [rows]

    def _unnest(self, first: int) -> str:
        return f"unnest(${first}::{self._table}[])"


class _Update(RowChange):
    """No type has just these columns, so to PostgreSQL each of them travels as an array of its values."""

    def __init__(self, table: Table, key: tuple[str, ...], columns: tuple[str, ...], *, adds: bool) -> None:
        row_keys = " AND ".join(f"{name} = ?{place}" for place, name in enumerate(key, 1))
        row_sets = ", ".join(
            f"{name} = {f'{name} + ' if adds else ''}?{place}"
            for place, name in enumerate(columns, 1 + len(key))
        )
        sets = ", ".join(f"{name} = {f't.{name} + ' if adds else ''}v.{name}" for name in columns)
        keys = " AND ".join(f"t.{name} = v.{name}" for name in key)
        super().__init__(
            key + columns,
            len(key + columns),
            f"UPDATE {table.name} SET {row_sets} WHERE {row_keys}",  # noqa: S608 - names of the schema
            f"UPDATE {table.name} AS t SET {sets} FROM {{rows}} WHERE {keys}",  # noqa: S608 - names of the schema
        )
        self._table: Final = table

    @cached_property
    def _types(self) -> tuple[str, ...]:
        types = (self._table.c[name].type for name in self.columns)
        return tuple(str(kind.compile(dialect=_dialect("postgres"))) for kind in types)

    def arguments(self, rows: Rows) -> list[Rows]:
        return list(zip(*rows, strict=True))

    def _unnest(self, first: int) -> str:
        arrays = ", ".join(f"${place}::{kind}[]" for place, kind in enumerate(self._types, first))
        return f"unnest({arrays}) AS v({', '.join(self.columns)})"


def insert_into(table: Table) -> RowChange:
    """Insert rows, every column given in the table's order."""
    return _Insert(table)


def update_rows(table: Table, key: tuple[str, ...], *columns: str) -> RowChange:
    """Set `columns` of the rows that `key` names; the key's values come first."""
    return _Update(table, key, columns, adds=False)


def add_to_rows(table: Table, key: tuple[str, ...], *columns: str) -> RowChange:
    """Add to `columns` of the rows that `key` names, whatever stands in them; the key's values come first."""
    return _Update(table, key, columns, adds=True)


def select_all(table: Table) -> Select[Any]:
    """Select every column of a table, in the table's order."""
    return select(*table.c)
