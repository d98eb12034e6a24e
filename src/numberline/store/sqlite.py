"""The SQLite engine: one writer thread and a few reader threads, each with a connection of its own.

`synchronous=FULL` is a promise, not a preference: below it a power cut takes back what was acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import math
import re
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import IO, Any, Final, TypeVar, cast

from sqlalchemy import PrimaryKeyConstraint, UniqueConstraint

from numberline.store.contract import NOTHING, Changes, Question, Row, State, Work
from numberline.store.errors import (
    CommitUnknown,
    ConstraintViolated,
    SchemaMismatch,
    StoreBusy,
    StoreUnavailable,
)
from numberline.store.questions import RESERVE_IDS
from numberline.store.schema import metadata
from numberline.store.statements import Engine, RowChange, Statement
from numberline.store.transaction import Transaction

T = TypeVar("T")

BUSY_SECONDS: Final = 10
READER_COUNT: Final = 2
ROWS_AT_ONCE_MAX: Final = 64
STATEMENTS_KEPT: Final = 512
# SQLite's own steps between two looks at how long a read has taken, and how many looks it has; a millisecond or two.
BRIEF_STEPS: Final = 10_000
BRIEF_LOOKS_MAX: Final = 10
_SYNCHRONOUS_FULL: Final = 2


@lru_cache(maxsize=512)
def _values_text(change: RowChange, count: int) -> str:
    return change.values_text(count)


def _rows_at_once(left: int) -> int:
    """The largest power of two, up to a limit, so that few different statements have to be kept prepared."""
    return 1 << min(left.bit_length() - 1, ROWS_AT_ONCE_MAX.bit_length() - 1)


class SqliteConnection:
    """A connection whose calls never wait: they run to their end in the thread that owns it."""

    engine: Engine = "sqlite"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def fetch(self, statement: Statement, values: Mapping[str, Any] = NOTHING) -> Sequence[Row]:
        """Run a statement and return its rows."""
        return self._run(statement, values).fetchall()

    async def fetch_each(self, *questions: Question) -> Sequence[Sequence[Row]]:
        """Run statements one after the other and return the rows of each."""
        return [self._run(statement, values).fetchall() for statement, values in questions]

    async def execute(self, statement: Statement, values: Mapping[str, Any] = NOTHING) -> None:
        """Run a statement that returns nothing."""
        self._run(statement, values)

    async def write_rows(self, *changes: Changes) -> None:
        """Make changes once per row of each, many rows in one statement.

        Each statement that runs lets another thread have the interpreter, and waits to get it back.
        """
        for change, rows in changes:
            start = 0
            while start < len(rows):
                size = _rows_at_once(len(rows) - start)
                values = list(chain.from_iterable(rows[start : start + size]))
                self._connection.execute(_values_text(change, size), values)
                start += size

    async def reserve_ids(self, name: str, count: int) -> Sequence[int]:
        """Ids from the counter, inside this transaction: a rollback gives them back."""
        after = int(self._run(RESERVE_IDS, {"name_": name, "count_": count}).fetchone()[0])
        return range(after - count, after)

    def state(self, mark: Hashable) -> State:
        """Marks count what others wrote since the connection was opened."""
        return self._connection, mark

    def _run(self, statement: Statement, values: Mapping[str, Any]) -> sqlite3.Cursor:
        return self._connection.execute(
            statement.text("sqlite"), _plain(statement.arguments("sqlite", values))
        )


class SqliteStore:
    """A store in one file."""

    engine: Engine = "sqlite"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: tuple[int, int] | None = None
        self._turn = self.turn()
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._writers: list[SqliteWriter] = []
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="sqlite-writer")
        self._readers = ThreadPoolExecutor(READER_COUNT, thread_name_prefix="sqlite-reader")

    async def read(self, ask: Work[T], *, snapshot: bool = False, brief: bool = False) -> T:
        """Run a unit of work that only reads; it always sees one instant."""
        del snapshot
        if brief:
            # In a thread each row would let the loop have the interpreter, and wait to get it back. Readers wait for
            # no writer, and what turns out to take long is begun again where it keeps nobody waiting.
            with contextlib.suppress(StoreBusy), translated():
                return self._read_briefly(ask)
        return cast("T", await self._in(self._readers, self._read, ask))

    async def write(self, work: Work[T]) -> T:
        """Run a unit of work in one durable transaction."""
        return cast("T", await self._in(self._writer, self._write, work))

    def writer(self) -> SqliteWriter:
        """A writer of its own."""
        self._writers.append(SqliteWriter(self))
        return self._writers[-1]

    async def check(self) -> None:
        """Raise unless the file can be read and is as durable as promised."""
        await self._in(self._readers, self._check)

    async def close(self) -> None:
        """Finish what runs and close all connections."""
        for pool in (self._writer, self._readers):
            await asyncio.to_thread(pool.shutdown)
        for writer in self._writers:
            await asyncio.to_thread(writer.close)
        self._writers.clear()
        for connection in self._connections:
            connection.close()
        self._connections.clear()
        self._turn.close()

    async def _in(self, pool: ThreadPoolExecutor, task: Any, *arguments: Any) -> Any:
        # A caller that goes away must not leave the thread's outcome unobserved, hence the shield.
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(pool, task, *arguments))

    def _connection(self) -> sqlite3.Connection:
        self.check_file()
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._local.connection = self.connected(BUSY_SECONDS)
        return found

    def _read_briefly(self, ask: Work[T]) -> T:
        """Read without waiting for anybody, and break off what takes long: StoreBusy."""
        self.check_file()
        brief: _BriefReader | None = getattr(self._local, "brief", None)
        if brief is None:
            brief = self._local.brief = _BriefReader(self.connected(busy_seconds=0))
        return brief.read(ask)

    def check_file(self) -> None:
        """Raise `StoreUnavailable` when the file was removed or replaced.

        SQLite would go on with it, and what it acknowledged would be lost.
        """
        present = _identity(self._path)
        if self._file is None:
            self._file = present
        elif present != self._file:
            raise StoreUnavailable(f"{self._path} is no longer the file that was opened")

    def connected(self, busy_seconds: float) -> sqlite3.Connection:
        """A new connection, which is closed with the store."""
        made = connect(self._path, busy_seconds)
        self._connections.append(made)
        return made

    def turn(self) -> _Turn:
        """The queue for the right to write, with a place of its own in it."""
        return _Turn(self._path.with_name(self._path.name + ".turn"))

    def _read(self, ask: Work[T]) -> T:
        with translated():
            return _read(self._connection(), ask)

    def _write(self, work: Work[T]) -> T:
        with translated(), self._turn:
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = _to_its_end(work(Transaction(SqliteConnection(connection))))
            except BaseException:
                _roll_back(connection)
                raise
            _commit(connection)
            return result

    def _check(self) -> None:
        with translated():
            level = self._connection().execute("PRAGMA synchronous").fetchone()[0]
            if level != _SYNCHRONOUS_FULL:
                raise SchemaMismatch(f"SQLite runs with synchronous={level}; FULL is required")


class _BriefReader:
    """Reads over a connection that breaks off what takes more than a few looks.

    SQLite goes on counting the steps of a statement from one run to the next, so a look may come at any time.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._looks_left = math.inf
        connection.set_progress_handler(self._is_over, BRIEF_STEPS)

    def read(self, ask: Work[T]) -> T:
        return _read(self._connection, lambda transaction: self._limited(ask(transaction)))

    async def _limited(self, asked: Awaitable[T]) -> T:
        # Only what is asked: a transaction whose end was broken off would never end.
        self._looks_left = BRIEF_LOOKS_MAX
        try:
            return await asked
        finally:
            self._looks_left = math.inf

    def _is_over(self) -> bool:
        self._looks_left -= 1
        return self._looks_left < 0


class SqliteWriter:
    """Writes units of work that are short, one after the other, on the event loop itself; the commit has a thread.

    In a thread each statement would let the loop have the interpreter and wait to get it back, for longer than the
    statement takes. What cannot begin at once is left to the store's writing thread.
    """

    def __init__(self, store: SqliteStore) -> None:
        self._store: Final = store
        self._turn: Final = store.turn()
        self._committer: Final = ThreadPoolExecutor(1, thread_name_prefix="sqlite-committer")
        self._connection: sqlite3.Connection | None = None
        self._is_writing = False

    async def write(self, work: Work[T], *, more: Callable[[], bool]) -> T:
        """Run a unit of work in one durable transaction."""
        del more
        with translated():
            connection = self._begun()
        if connection is None:
            return await self._store.write(work)
        with translated():
            try:
                result = _to_its_end(work(Transaction(SqliteConnection(connection))))
            except BaseException:
                self._end(_roll_back, connection)
                raise
            loop = asyncio.get_running_loop()
            # A caller that goes away must not leave the thread's outcome unobserved, hence the shield.
            await asyncio.shield(loop.run_in_executor(self._committer, self._end, _commit, connection))
        return result

    async def rest(self) -> None:
        """Hold nothing."""

    def close(self) -> None:
        """Finish what runs."""
        self._committer.shutdown()
        self._turn.close()

    def _begun(self) -> sqlite3.Connection | None:
        """A connection in a transaction; None where somebody else is writing."""
        if self._is_writing or not self._turn.comes_at_once():
            return None
        self._is_writing = True
        try:
            self._store.check_file()
            if self._connection is None:
                self._connection = self._store.connected(busy_seconds=0)
            with translated():
                self._connection.execute("BEGIN IMMEDIATE")
        except StoreBusy:
            self._leave()
            return None
        except BaseException:
            self._leave()
            raise
        return self._connection

    def _end(self, end: Callable[[sqlite3.Connection], None], connection: sqlite3.Connection) -> None:
        try:
            end(connection)
        finally:
            self._leave()

    def _leave(self) -> None:
        self._turn.__exit__()
        self._is_writing = False


class _Turn:
    """A queue between processes for the right to write: the kernel wakes the next one at once, where SQLite's own
    busy handler would sleep and try again. Whoever waits for longer than `BUSY_SECONDS` gives up with StoreBusy.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: Any = None

    def __enter__(self) -> None:
        if not self.comes_at_once():
            self._wait()

    def comes_at_once(self) -> bool:
        """Take the turn unless somebody else has it."""
        try:
            if self._handle is None:
                self._handle = self._path.open("ab")
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise StoreUnavailable(str(error)) from error
        return True

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._handle, fcntl.LOCK_UN)

    def close(self) -> None:
        if self._handle is not None:
            self._handle.close()

    def _wait(self) -> None:
        """Queue up with a handle of its own, which lets go of a turn that comes too late."""
        waiting = _Waiting(self._path.open("ab"))
        if not waiting.comes_within(BUSY_SECONDS):
            raise StoreBusy("another process is writing")
        self._handle.close()
        self._handle = waiting.handle


class _Waiting:
    """A wait for the turn in a thread of its own: the kernel's lock knows no deadline."""

    def __init__(self, handle: IO[bytes]) -> None:
        self.handle = handle
        self._settled = threading.Lock()
        self._has_come = threading.Event()
        self._is_given_up = False
        threading.Thread(target=self._wait, name="sqlite-turn", daemon=True).start()

    def comes_within(self, seconds: float) -> bool:
        """Wait for the turn; once this is False, the turn will be let go whenever it comes."""
        if self._has_come.wait(seconds):
            return True
        with self._settled:
            self._is_given_up = not self._has_come.is_set()
        return not self._is_given_up

    def _wait(self) -> None:
        fcntl.flock(self.handle, fcntl.LOCK_EX)
        with self._settled:
            if self._is_given_up:
                self.handle.close()
            else:
                self._has_come.set()


def connect(path: Path, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """Open a store's file with the settings its promises rest on."""
    connection = sqlite3.connect(
        path,
        timeout=busy_seconds,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=STATEMENTS_KEPT,
    )
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA cache_size=-16000")
    except BaseException:
        connection.close()
        raise
    return connection


def _identity(path: Path) -> tuple[int, int]:
    """Which file a path names at this moment."""
    try:
        found = path.stat()
    except OSError as error:
        raise StoreUnavailable(str(error)) from error
    return found.st_dev, found.st_ino


def _read(connection: sqlite3.Connection, ask: Work[T]) -> T:
    connection.execute("BEGIN")
    try:
        return _to_its_end(ask(Transaction(SqliteConnection(connection))))
    finally:
        _roll_back(connection)


def _to_its_end(work: Awaitable[T]) -> T:
    """Run a coroutine that never waits for anything outside this thread."""
    coroutine = cast("Coroutine[Any, Any, T]", work)
    try:
        coroutine.send(None)
    except StopIteration as done:
        return cast("T", done.value)
    coroutine.close()
    raise AssertionError("a unit of work on SQLite waits for nothing but its transaction")


def _plain(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Lists travel as JSON; all else is what sqlite3 knows."""
    return tuple(
        json.dumps(list(value)) if isinstance(value, (list, set, tuple)) else value for value in arguments
    )


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _commit(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        # SQLite rolls back by itself when the disk fails it; only then is there nothing left to undo.
        if connection.in_transaction:
            _roll_back(connection)
            raise
        raise CommitUnknown(str(error)) from error


# SQLite names the columns where PostgreSQL names the constraint over them.
_UNIQUE_COLUMNS: Final = {
    ", ".join(f"{table.name}.{column.name}" for column in one.columns): str(one.name)
    for table in metadata.tables.values()
    for one in [
        *(found for found in table.constraints if isinstance(found, PrimaryKeyConstraint | UniqueConstraint)),
        *(found for found in table.indexes if found.unique),
    ]
}
# The last is of a read that was broken off for being long.
_BUSY: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_INTERRUPT)
_FAILED = re.compile(r"(?:UNIQUE|CHECK) constraint failed: (?:index ')?([^']+)")


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Say in the store's terms what sqlite3 complains about."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        found = _FAILED.search(str(error))
        subject = found.group(1) if found else str(error)
        raise ConstraintViolated(_UNIQUE_COLUMNS.get(subject, subject)) from error
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:
            raise  # a statement that makes no sense is a defect, not an outage
        is_busy = error.sqlite_errorcode & 0xFF in _BUSY
        raise (StoreBusy if is_busy else StoreUnavailable)(str(error)) from error
    except sqlite3.DatabaseError as error:
        raise StoreUnavailable(str(error)) from error
