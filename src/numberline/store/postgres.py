"""The PostgreSQL engine: asyncpg with prepared statements, as many processes and machines as one likes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar

import asyncpg

from numberline.store.contract import NOTHING, Changes, Question, Row, State, Work
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
READING: Final = {
    "application_name": "numberline",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "lock_timeout": "2s",
    "statement_timeout": "60s",
    "synchronous_commit": "on",
    "idle_in_transaction_session_timeout": "30s",
}
# Who writes, and who looks up callers, asks for a few rows that an index finds. PostgreSQL would rather read a small table
# whole, though one that sales write to all the time is mostly old versions.
BY_INDEX: Final = READING | dict.fromkeys(("enable_seqscan", "enable_hashjoin", "enable_mergejoin"), "off")

# How a commit ends without an answer; a server that shuts down may have made it durable before it says so.
_CUT_OFF: Final = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InterfaceError,
)
# A kept connection may have been cut off while nobody looked, as asyncpg finds out by and by.
_FOUND_CUT: Final = (StoreUnavailable, asyncpg.InternalClientError)


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
def _conditional(condition: Statement, changes: tuple[RowChange, ...]) -> str:
    """One statement that makes changes if the row of another begins with TRUE, and returns that row."""
    parts, first = (
        [f"held AS MATERIALIZED ({condition.text('postgres')})"],
        condition.parameters("postgres") + 1,
    )
    for place, change in enumerate(changes):
        text = change.set_text(first, only_if="(SELECT is_held FROM held)")
        parts.append(f"change_{place} AS ({text})")
        first += change.parameters
    return f"WITH {', '.join(parts)} SELECT * FROM held"  # noqa: S608 - compiled SQL


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

    def state(self, mark: Hashable) -> State:
        """A server that comes back after a crash may use the ids of lost transactions again, over new connections."""
        return self._connection, mark


async def _nothing_to_reset(_connection: Any) -> None:
    """Units of work end their transactions and set nothing else; asyncpg's own reset is one exchange more for each."""


class PostgresStore:
    """A store in a PostgreSQL database."""

    engine: Engine = "postgres"

    def __init__(self, url: str) -> None:
        self._url = url
        self._to_read = _Pool(url, READING)
        self._to_write = _Pool(url, BY_INDEX)
        self._ids_connection: Any = None
        self._brief_connection: Any = None
        self._is_brief_busy = False
        self._ids = _IdRanges(self)

    async def read(self, ask: Work[T], *, snapshot: bool = False, brief: bool = False) -> T:
        """Run a unit of work that only reads."""
        if brief and not snapshot and not self._is_brief_busy:
            is_kept = self._brief_connection is not None
            try:
                return await self._read_briefly(ask)
            except _FOUND_CUT:
                if not is_kept:
                    raise
        async with self.connection() as connection:
            if not snapshot:
                return await ask(Transaction(PostgresConnection(connection, self._ids)))
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                # Whoever wants one instant of everything reads for longer than a request may.
                await connection.execute("SET LOCAL statement_timeout = 0")
                return await ask(Transaction(PostgresConnection(connection, self._ids)))

    async def _read_briefly(self, ask: Work[T]) -> T:
        """Read over a connection of one's own: the way through the pool costs as much as a small question."""
        self._is_brief_busy = True
        try:
            with translated():
                if self._brief_connection is None or self._brief_connection.is_closed():
                    self._brief_connection = await self._connect()
                return await ask(Transaction(PostgresConnection(self._brief_connection, self._ids)))
        except BaseException:
            # Whatever was the matter with it, the next read begins with another one.
            connection, self._brief_connection = self._brief_connection, None
            if connection is not None:
                connection.terminate()
            raise
        finally:
            self._is_brief_busy = False

    async def write(self, work: Work[T]) -> T:
        """Run a unit of work in one durable transaction; again after a deadlock or serialization failure."""
        return await self.writer().write(work, more=lambda: False)

    def writer(self) -> PostgresWriter:
        """A writer of its own."""
        return PostgresWriter(self._to_write.opened, self._ids)

    async def check(self) -> None:
        """Raise unless the server answers."""
        async with self.connection() as connection:
            await connection.fetchval("SELECT 1")

    async def close(self) -> None:
        """Finish what runs and close all connections."""
        for pool in (self._to_read, self._to_write):
            await pool.close()
        for connection in (self._ids_connection, self._brief_connection):
            if connection is not None:
                await connection.close()
        self._ids_connection = self._brief_connection = None

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """Borrow a connection; what goes wrong inside is said in the store's terms."""
        with translated():
            pool = await self._to_read.opened()
            async with pool.acquire() as connection:
                yield connection

    async def fetch_ids(self, name: str, count: int) -> range:
        """A range of ids, over a connection that no unit of work can hold.

        Units of work ask for ids while they hold connections of the pool: when all of them are held, waiting for one
        more would be waiting for each other. One call at a time.
        """
        with translated():
            if self._ids_connection is None or self._ids_connection.is_closed():
                self._ids_connection = await self._connect()
            arguments = RESERVE_IDS.arguments("postgres", {"name_": name, "count_": count})
            after = await self._ids_connection.fetchval(RESERVE_IDS.text("postgres"), *arguments)
        return range(after - count, after)

    async def _connect(self) -> Any:
        """A connection beside the pool."""
        return await asyncpg.connect(self._url, server_settings=BY_INDEX, command_timeout=60)


class _Pool:
    """Connections with some settings, opened when the first is needed."""

    def __init__(self, url: str, settings: dict[str, str]) -> None:
        self._url: Final = url
        self._settings: Final = settings
        self._pool: Any = None
        self._opening: Final = asyncio.Lock()

    async def opened(self) -> Any:
        """The pool, open."""
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=1,
                    max_size=POOL_SIZE,
                    server_settings=self._settings,
                    statement_cache_size=256,
                    reset=_nothing_to_reset,
                )
            return self._pool

    async def close(self) -> None:
        """Finish what runs and close all connections."""
        if self._pool is not None:
            await self._pool.close()
            self._pool = None


class PostgresWriter:
    """Writes units of work one after the other.

    While more are at hand it keeps its connection, and the end of one transaction begins the next: that saves an
    exchange and the way through the pool, which together cost more than an attach.
    """

    def __init__(self, open_pool: Callable[[], Awaitable[Any]], ids: _IdRanges) -> None:
        self._open_pool: Final = open_pool
        self._ids: Final = ids
        self._pool: Any = None
        self._connection: Any = None

    async def write(self, work: Work[T], *, more: Callable[[], bool]) -> T:
        """Run a unit of work in one durable transaction; again after a deadlock or serialization failure."""
        for attempt in range(ATTEMPTS):
            is_last, is_kept = attempt == ATTEMPTS - 1, self._connection is not None
            try:
                with translated():
                    return await self._write(work, more)
            except StoreBusy:
                if is_last:
                    raise
            except _FOUND_CUT:
                if is_last or not is_kept:
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def write_if(self, condition: Question, *changes: Changes, more: Callable[[], bool]) -> Row:
        """Make changes in one statement that is a transaction of its own, if another's row begins with TRUE."""
        try:
            with translated():
                row = await self._write_if(condition, [(change, rows) for change, rows in changes if rows])
        except BaseException:
            await self.rest()
            raise
        if not more():
            await self.rest()
        return row

    async def _write_if(self, condition: Question, changes: list[Changes]) -> Row:
        statement, values = condition
        text = _conditional(statement, tuple(change for change, _ in changes))
        arguments = [argument for change, rows in changes for argument in change.arguments(rows)]
        connection = await self._at_hand()
        if connection.is_in_transaction():
            await connection.execute("ROLLBACK")
        try:
            row: Row = await connection.fetchrow(text, *statement.arguments("postgres", values), *arguments)
        except asyncpg.QueryCanceledError:
            raise
        except _CUT_OFF as error:
            raise CommitUnknown(str(error)) from error
        return row

    async def reserve_ids(self, name: str, count: int) -> Sequence[int]:
        """Ids from the ranges this process has fetched."""
        return await self._ids.take(name, count)

    async def rest(self) -> None:
        """Give the connection back; what it has begun comes to nothing."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            if connection.is_in_transaction():
                await connection.execute("ROLLBACK")
        except Exception:  # noqa: BLE001 - whatever is the matter with it, nobody shall have it again
            with contextlib.suppress(asyncpg.InterfaceError):  # the pool has taken it back already
                connection.terminate()
        await self._pool.release(connection)

    async def _write(self, work: Work[T], more: Callable[[], bool]) -> T:
        try:
            connection = await self._begun()
            result = await work(Transaction(PostgresConnection(connection, self._ids)))
            goes_on = more()
            await _commit(connection, "COMMIT AND CHAIN" if goes_on else "COMMIT")
        except BaseException:
            await self.rest()
            raise
        if not goes_on:
            await self.rest()
        return result

    async def _begun(self) -> Any:
        connection = await self._at_hand()
        if not connection.is_in_transaction():
            await connection.execute("BEGIN")
        return connection

    async def _at_hand(self) -> Any:
        if self._connection is not None and _is_lost(self._connection):
            await self.rest()
        if self._connection is None:
            self._pool = await self._open_pool()
            self._connection = await self._pool.acquire()
        return self._connection


def _is_lost(connection: Any) -> bool:
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:
        return True  # the pool has taken it back


async def _commit(connection: Any, text: str) -> None:
    try:
        await connection.execute(text)
    except _CUT_OFF as error:
        raise CommitUnknown(str(error)) from error


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
