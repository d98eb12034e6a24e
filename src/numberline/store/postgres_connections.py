"""Connections to PostgreSQL: their settings, how they are lent, and what their complaints are called in the store."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

import asyncpg

from numberline.store.errors import (
    ConstraintViolated,
    LockNotFree,
    StoreBusy,
    StoreError,
    StoreUnavailable,
)

T = TypeVar("T")

CONNECTIONS_MAX: Final = 8
STATEMENTS_KEPT: Final = 256
# What stands between may forget a connection that nobody uses, without a word to either end.
KEPT_SECONDS_MAX: Final = 300.0
# A server that says nothing for as long is gone; but for who reads everything at one instant.
SILENT_SECONDS: Final = 60.0
# JIT compiles for longer than our statements run, and custom plans are planned anew each time.
READING: Final[Mapping[str, str]] = {
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
BY_INDEX: Final[Mapping[str, str]] = {
    **READING,
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}

# What asyncpg says of a connection that is no more, as it finds out by and by.
_CUT_OFF: Final = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
# The server, or whoever waits for it, has had enough of a statement.
_TOO_LONG: Final = (asyncpg.QueryCanceledError, TimeoutError)


def is_cut_off(trouble: BaseException) -> bool:
    """Whether a connection was lost, which a kept one may have been while nobody looked."""
    said = trouble.__cause__ if isinstance(trouble, StoreUnavailable) else trouble
    return isinstance(said, _CUT_OFF) and not isinstance(said, _TOO_LONG)


class Server:
    """Where connections come from. Its era is another after every connection that was opened, so also after a crash."""

    def __init__(self, url: str) -> None:
        self.era = object()
        self._url: Final = url

    async def connect(self, settings: Mapping[str, str]) -> Any:
        """Open a connection."""
        connection = await asyncpg.connect(
            self._url,
            server_settings=dict(settings),
            statement_cache_size=STATEMENTS_KEPT,
            command_timeout=SILENT_SECONDS if settings is BY_INDEX else None,
        )
        self.era = object()
        return connection


class Connections:
    """Connections with some settings, opened when they are needed; whichever was used last is lent first.

    asyncpg's own pool takes a connection back in a task of its own, for which whoever has read waits.
    """

    def __init__(self, server: Server, settings: Mapping[str, str]) -> None:
        self._server: Final = server
        self._settings: Final = settings
        self._kept: Final[list[tuple[Any, float]]] = []
        self._room: Final = asyncio.Semaphore(CONNECTIONS_MAX)

    async def use(self, read: Callable[[Any], Awaitable[T]]) -> T:
        """Read over a connection, and once more over a new one if a kept one turns out to be cut off."""
        connection, is_kept = await self.borrow()
        try:
            return await self._use(connection, read)
        except (StoreUnavailable, asyncpg.InternalClientError) as trouble:
            if not (is_kept and is_cut_off(trouble)):
                raise
        while self._kept:  # whatever cut one has cut the others
            self._kept.pop()[0].terminate()
        connection, _ = await self.borrow()
        return await self._use(connection, read)

    async def _use(self, connection: Any, read: Callable[[Any], Awaitable[T]]) -> T:
        is_whole = False
        try:
            with translated():
                found = await read(connection)
            is_whole = not connection.is_in_transaction()
        except StoreUnavailable:
            raise
        except Exception:
            is_whole = not connection.is_in_transaction()
            raise
        finally:
            self.give_back(connection, is_whole=is_whole)
        return found

    async def borrow(self) -> tuple[Any, bool]:
        """A connection, and whether it has been used before."""
        await self._room.acquire()
        while self._kept:
            connection, kept_at = self._kept.pop()
            if not connection.is_closed() and time.monotonic() - kept_at < KEPT_SECONDS_MAX:
                return connection, True
            connection.terminate()
        try:
            with translated():
                return await self._server.connect(self._settings), False
        except BaseException:
            self._room.release()
            raise

    def give_back(self, connection: Any, *, is_whole: bool) -> None:
        """Take a connection back; nobody gets it again unless it is whole."""
        if is_whole and not connection.is_closed():
            self._kept.append((connection, time.monotonic()))
        else:
            connection.terminate()
        self._room.release()

    async def close(self) -> None:
        """Wait until all are given back, and close them."""
        for _ in range(CONNECTIONS_MAX):
            await self._room.acquire()
        while self._kept:
            await self._kept.pop()[0].close()
        for _ in range(CONNECTIONS_MAX):
            self._room.release()


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
