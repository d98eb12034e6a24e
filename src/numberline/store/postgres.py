"""The PostgreSQL engine: asyncpg with prepared statements, as many processes and machines as one likes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar

import asyncpg

from numberline.store.contract import NOTHING, Changes, Question, Row, State, Work
from numberline.store.errors import CommitUnknown, StoreBusy, StoreUnavailable
from numberline.store.postgres_connections import (
    BY_INDEX,
    READING,
    Connections,
    Server,
    is_cut_off,
    translated,
)
from numberline.store.questions import RESERVE_IDS
from numberline.store.statements import Engine, RowChange, Statement
from numberline.store.transaction import Transaction

log = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPTS: Final = 3
ID_RANGE: Final = 1_000
ROWS_MAX: Final = 5_000
# How a commit ends without an answer; a server that shuts down may have made it durable before it says so.
_CUT_OFF: Final = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InterfaceError,
)

_UNANSWERED: Final = (asyncio.CancelledError, TimeoutError, CommitUnknown)


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
    """A connection inside a unit of work."""

    engine: Engine = "postgres"

    def __init__(self, connection: Any, server: Server, ids: _IdRanges) -> None:
        self._connection = connection
        self._ids = ids
        self._era = server.era

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
        """A server that comes back after a crash may use the ids of lost transactions again, in another era."""
        return self._era, mark


class PostgresStore:
    """A store in a PostgreSQL database."""

    engine: Engine = "postgres"

    def __init__(self, url: str) -> None:
        self._server = Server(url)
        self._to_read = Connections(self._server, READING)
        self._to_look = Connections(self._server, BY_INDEX)
        self._to_write = Connections(self._server, BY_INDEX)
        self._ids_connection: Any = None
        self._ids = _IdRanges(self)

    async def read(self, ask: Work[T], *, snapshot: bool = False, brief: bool = False) -> T:
        """Run a unit of work that only reads."""
        connections = self._to_look if brief else self._to_read

        async def run(connection: Any) -> T:
            asked = Transaction(PostgresConnection(connection, self._server, self._ids))
            if not snapshot:
                return await ask(asked)
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                # Whoever wants one instant of everything reads for longer than a request may.
                await connection.execute("SET LOCAL statement_timeout = 0")
                return await ask(asked)

        return await connections.use(run)

    async def write(self, work: Work[T]) -> T:
        """Run a unit of work in one durable transaction; again after a deadlock or serialization failure."""
        return await self.writer().write(work, more=lambda: False)

    def writer(self) -> PostgresWriter:
        """A writer of its own."""
        return PostgresWriter(self._server, self._to_write, self._ids)

    async def check(self) -> None:
        """Raise unless the server answers."""
        await self._to_read.use(lambda connection: connection.fetchval("SELECT 1"))

    async def close(self) -> None:
        """Finish what runs and close all connections."""
        for connections in (self._to_read, self._to_look, self._to_write):
            await connections.close()
        if self._ids_connection is not None:
            await self._ids_connection.close()
        self._ids_connection = None

    async def fetch_ids(self, name: str, count: int) -> range:
        """A range of ids, over a connection that no unit of work can hold.

        Units of work ask for ids while they hold connections that were lent: when all of them are, waiting for one
        more would be waiting for each other. One call at a time.
        """
        with translated():
            if self._ids_connection is None or self._ids_connection.is_closed():
                self._ids_connection = await self._server.connect(BY_INDEX)
            arguments = RESERVE_IDS.arguments("postgres", {"name_": name, "count_": count})
            after = await self._ids_connection.fetchval(RESERVE_IDS.text("postgres"), *arguments)
        return range(after - count, after)


class PostgresWriter:
    """Writes units of work one after the other.

    While more are at hand it keeps its connection, and the end of one transaction begins the next: that saves an
    exchange, which costs more than an attach.
    """

    def __init__(self, server: Server, connections: Connections, ids: _IdRanges) -> None:
        self._server: Final = server
        self._connections: Final = connections
        self._ids: Final = ids
        self._connection: Any = None
        self._is_kept = False

    async def write(self, work: Work[T], *, more: Callable[[], bool]) -> T:
        """Run a unit of work in one durable transaction; again after a deadlock or serialization failure."""
        for attempt in range(ATTEMPTS):
            is_last = attempt == ATTEMPTS - 1
            try:
                with translated():
                    return await self._write(work, more)
            except StoreBusy:
                if is_last:
                    raise
            except (StoreUnavailable, asyncpg.InternalClientError) as trouble:
                if is_last or not (self._is_kept and is_cut_off(trouble)):
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def write_if(self, condition: Question, *changes: Changes, more: Callable[[], bool]) -> Row:
        """Make changes in one statement that is a transaction of its own, if another's row begins with TRUE."""
        try:
            with translated():
                row = await self._write_if(condition, [(change, rows) for change, rows in changes if rows])
        except BaseException as trouble:
            await self._rest_after(trouble)
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

    async def _rest_after(self, trouble: BaseException) -> None:
        # A statement whose answer nobody waited for may still be under way.
        if self._connection is not None and isinstance(trouble, _UNANSWERED):
            self._connection.terminate()
        await self.rest()

    async def rest(self) -> None:
        """Give the connection back; what it has begun comes to nothing."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        is_whole = False
        try:
            if not connection.is_closed() and connection.is_in_transaction():
                await connection.execute("ROLLBACK")
            is_whole = True
        except Exception:  # whatever is the matter with it, nobody shall have it again
            log.debug("a connection is given up", exc_info=True)
        finally:
            self._connections.give_back(connection, is_whole=is_whole)

    async def _write(self, work: Work[T], more: Callable[[], bool]) -> T:
        try:
            connection = await self._begun()
            result = await work(Transaction(PostgresConnection(connection, self._server, self._ids)))
            goes_on = more()
            await _commit(connection, "COMMIT AND CHAIN" if goes_on else "COMMIT")
        except BaseException as trouble:
            await self._rest_after(trouble)
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
        if self._connection is not None and self._connection.is_closed():
            await self.rest()
        self._is_kept = self._connection is not None
        if self._connection is None:
            self._connection, self._is_kept = await self._connections.borrow()
        return self._connection


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
