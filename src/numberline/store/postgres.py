"""The PostgreSQL engine: asyncpg with prepared statements, as many processes and machines as one likes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar

import asyncpg

from numberline.store.contract import NOTHING, Changes, Question, Row, Work
from numberline.store.errors import (
    CommitUnknown,
    ConstraintViolated,
    LockNotFree,
    StoreBusy,
    StoreError,
    StoreUnavailable,
)
from numberline.store.questions import RESERVE_IDS
from numberline.store.statements import Engine, RowChange, Statement
from numberline.store.transaction import Transaction

T = TypeVar("T")

POOL_SIZE: Final = 8
ATTEMPTS: Final = 3
ID_RANGE: Final = 1_000
ROWS_MAX: Final = 5_000
# JIT compiles for longer than our statements run, and custom plans are planned anew each time.
_SERVER_SETTINGS: Final = {
    "application_name": "numberline",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "lock_timeout": "2s",
    "statement_timeout": "60s",
    "synchronous_commit": "on",
    "idle_in_transaction_session_timeout": "30s",
}

# How a commit ends without an answer; a server that shuts down may have made it durable before it says so.
_CUT_OFF: Final = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InterfaceError,
)


@lru_cache(maxsize=256)
def _joined(changes: tuple[RowChange, ...]) -> str:
    """One statement for several changes: all but the last stand before it as common table expressions."""
    texts, first = [], 1
    for change in changes:
        texts.append(change.set_text(first))
        first += change.parameters
    before = ", ".join(f"change_{place} AS ({text})" for place, text in enumerate(texts[:-1]))
    return f"WITH {before} {texts[-1]}" if before else texts[-1]


@lru_cache(maxsize=256)
def _together(statements: tuple[Statement, ...]) -> str:
    """One statement that returns one row, which has the rows of each as an array."""
    texts, first = [], 1
    for statement in statements:
        text = statement.text_from(first)
        texts.append(f"(SELECT array_agg(found) FROM ({text}) AS found)")  # noqa: S608 - compiled SQL
        first += statement.parameters("postgres")
    return f"SELECT {', '.join(texts)}"


class PostgresConnection:
    """A pooled connection inside a unit of work."""

    engine: Engine = "postgres"

    def __init__(self, connection: Any, ids: _IdRanges) -> None:
        self._connection = connection
        self._ids = ids

    async def fetch(self, statement: Statement, values: Mapping[str, Any] = NOTHING) -> Sequence[Row]:
        """Run a statement and return its rows."""
        rows: Sequence[Row] = await self._connection.fetch(
            statement.text("postgres"), *statement.arguments("postgres", values)
        )
        return rows

    async def fetch_each(self, *questions: Question) -> Sequence[Sequence[Row]]:
        """Run statements one after the other and return the rows of each, as one statement."""
        if len(questions) == 1:
            return [await self.fetch(*questions[0])]
        text = _together(tuple(statement for statement, _ in questions))
        arguments = [value for asked, values in questions for value in asked.arguments("postgres", values)]
        found = await self._connection.fetchrow(text, *arguments)
        return [rows or () for rows in found]

    async def execute(self, statement: Statement, values: Mapping[str, Any] = NOTHING) -> None:
        """Run a statement that returns nothing."""
        await self._connection.fetch(statement.text("postgres"), *statement.arguments("postgres", values))

    async def write_rows(self, *changes: Changes) -> None:
        """Make changes once per row of each, all in one statement; long lists go in pieces."""
        given = [(change, rows) for change, rows in changes if rows]
        if any(len(rows) > ROWS_MAX for _, rows in given):
            for change, rows in given:
                for start in range(0, len(rows), ROWS_MAX):
                    await self._write_rows([(change, rows[start : start + ROWS_MAX])])
        elif given:
            await self._write_rows(given)

    async def _write_rows(self, changes: list[Changes]) -> None:
        arguments = [argument for change, rows in changes for argument in change.arguments(rows)]
        await self._connection.fetch(_joined(tuple(change for change, _ in changes)), *arguments)

    async def reserve_ids(self, name: str, count: int) -> Sequence[int]:
        """Ids from the ranges this process has fetched."""
        return await self._ids.take(name, count)


async def _nothing_to_reset(_connection: Any) -> None:
    """Units of work end their transactions and set nothing else; asyncpg's own reset is one exchange more for each."""


class PostgresStore:
    """A store in a PostgreSQL database."""

    engine: Engine = "postgres"

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool: Any = None
        self._opening = asyncio.Lock()
        self._ids_connection: Any = None
        self._ids = _IdRanges(self)

    async def read(self, ask: Work[T], *, snapshot: bool = False, brief: bool = False) -> T:
        """Run a unit of work that only reads."""
        del brief
        async with self.connection() as connection:
            if not snapshot:
                return await ask(Transaction(PostgresConnection(connection, self._ids)))
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                # Whoever wants one instant of everything reads for longer than a request may.
                await connection.execute("SET LOCAL statement_timeout = 0")
                return await ask(Transaction(PostgresConnection(connection, self._ids)))

    async def write(self, work: Work[T]) -> T:
        """Run a unit of work in one durable transaction; again after a deadlock or serialization failure."""
        for attempt in range(ATTEMPTS):
            try:
                return await self._write(work)
            except StoreBusy:
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def _write(self, work: Work[T]) -> T:
        async with self.connection() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                result = await work(Transaction(PostgresConnection(connection, self._ids)))
            except BaseException:
                with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                    await transaction.rollback()
                raise
            try:
                await transaction.commit()
            except _CUT_OFF as error:
                raise CommitUnknown(str(error)) from error
            return result

    async def check(self) -> None:
        """Raise unless the server answers."""
        async with self.connection() as connection:
            await connection.fetchval("SELECT 1")

    async def close(self) -> None:
        """Finish what runs and close all connections."""
        if self._pool is not None:
            await self._pool.close()
            self._pool = None
        if self._ids_connection is not None:
            await self._ids_connection.close()
            self._ids_connection = None

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """Borrow a connection; what goes wrong inside is said in the store's terms."""
        with translated():
            pool = await self._opened()
            async with pool.acquire() as connection:
                yield connection

    async def fetch_ids(self, name: str, count: int) -> range:
        """A range of ids, over a connection that no unit of work can hold.

        Units of work ask for ids while they hold connections of the pool: when all of them are held, waiting for one
        more would be waiting for each other. One call at a time.
        """
        with translated():
            if self._ids_connection is None or self._ids_connection.is_closed():
                self._ids_connection = await asyncpg.connect(
                    self._url, server_settings=_SERVER_SETTINGS, command_timeout=60
                )
            arguments = RESERVE_IDS.arguments("postgres", {"name_": name, "count_": count})
            after = await self._ids_connection.fetchval(RESERVE_IDS.text("postgres"), *arguments)
        return range(after - count, after)

    async def _opened(self) -> Any:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=1,
                    max_size=POOL_SIZE,
                    server_settings=_SERVER_SETTINGS,
                    statement_cache_size=256,
                    reset=_nothing_to_reset,
                )
            return self._pool


class _IdRanges:
    """Ranges of ids fetched outside any unit of work, so that no transaction waits for another one's counter."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self._ranges: dict[str, list[range]] = {}
        self._fetching = asyncio.Lock()

    async def take(self, name: str, count: int) -> Sequence[int]:
        taken: list[int] = []
        async with self._fetching:
            while len(taken) < count:
                ranges = self._ranges.setdefault(name, [])
                if not ranges:
                    ranges.append(await self._store.fetch_ids(name, max(ID_RANGE, count)))
                missing = count - len(taken)
                taken += ranges[0][:missing]
                ranges[0] = ranges[0][missing:]
                if not ranges[0]:
                    ranges.pop(0)
        return taken


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Say in the store's terms what asyncpg complains about."""
    try:
        yield
    except StoreError:
        raise
    except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError) as error:
        raise StoreBusy(str(error)) from error
    except asyncpg.LockNotAvailableError as error:
        raise LockNotFree(str(error)) from error
    except asyncpg.IntegrityConstraintViolationError as error:
        raise ConstraintViolated(error.constraint_name or str(error)) from error
    except (asyncpg.SyntaxOrAccessError, asyncpg.DataError):
        raise  # a statement or value that makes no sense is a defect, not an outage
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise StoreUnavailable(str(error)) from error
