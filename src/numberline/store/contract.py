"""What a store promises, whichever engine keeps it.

A unit of work is an async function over a `Transaction`. `Store.write` runs it in one transaction: all of it is
durable when the call returns, or none of it happened. On PostgreSQL it runs on the event loop; on SQLite the whole
of it runs in the writer's thread, one hop for one unit of work. A `Writer` is for many short ones in a row, as the
desk has them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, runtime_checkable

from numberline.store.statements import Engine, RowChange, Rows, Statement

if TYPE_CHECKING:
    from numberline.store.transaction import Transaction

T = TypeVar("T")
Work = Callable[["Transaction"], Awaitable[T]]
Row = Sequence[Any]
# A statement that returns rows, and its values by name.
Question = tuple[Statement, Mapping[str, Any]]
# What to do once per row, and the rows.
Changes = tuple[RowChange, Rows]
# A state of the store: while it is equal, nothing has become durable in between. Different ones may be equal in truth.
State = Hashable
NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Connection(Protocol):
    """One engine's connection inside a transaction; statements take their values by name."""

    engine: Engine

    async def fetch(self, statement: Statement, values: Mapping[str, Any] = NOTHING) -> Sequence[Row]:
        """Run a statement and return its rows."""

    async def fetch_each(self, *questions: Question) -> Sequence[Sequence[Row]]:
        """Run statements one after the other and return the rows of each, all in one exchange with the server.

        None of them sees what has become durable since the first began, but in rows that it locks.
        """

    async def execute(self, statement: Statement, values: Mapping[str, Any] = NOTHING) -> None:
        """Run a statement that returns nothing."""

    async def write_rows(self, *changes: Changes) -> None:
        """Make changes once per row of each, all of them in one exchange with the server."""

    async def reserve_ids(self, name: str, count: int) -> Sequence[int]:
        """Ids of a kind that nobody else has or will get; some may stay unused."""

    def state(self, mark: Hashable) -> State:
        """The state of the store in which a statement over this connection returned a `state_mark`."""


class Writer(Protocol):
    """Writes units of work that follow each other closely; one at a time."""

    async def write(self, work: Work[T], *, more: Callable[[], bool]) -> T:
        """The same as `Store.write`; `more` is asked before the commit whether the next one is at hand already."""

    async def rest(self) -> None:
        """Hold nothing for a next one."""


@runtime_checkable
class DistantWriter(Writer, Protocol):
    """A writer for whom every exchange is a journey, so that what was written last is worth remembering."""

    async def write_if(self, condition: Question, *changes: Changes, more: Callable[[], bool]) -> Row:
        """Make changes in a durable transaction of one exchange, if a statement's one row begins with TRUE.

        Returns that row. Raises what `Store.write` raises; `more` is asked whether the next is at hand already.
        """

    async def reserve_ids(self, name: str, count: int) -> Sequence[int]:
        """Ids of a kind that nobody else has or will get; some may stay unused."""


class Store(Protocol):
    """A store of either engine."""

    engine: Engine

    async def read(self, ask: Work[T], *, snapshot: bool = False, brief: bool = False) -> T:
        """Run a unit of work that only reads.

        With `snapshot` all its statements see one instant. `brief` says that it is likely to be short: an engine
        in this process runs it at once, and once more elsewhere should it turn out to be long. Raises `StoreUnavailable`.
        """

    async def write(self, work: Work[T]) -> T:
        """Run a unit of work in one durable transaction; it may be run again when the engine asks for it.

        Whatever it raises rolls it back. Raises `StoreUnavailable`, `StoreBusy`, `ConstraintViolated` and
        `CommitUnknown`.
        """

    def writer(self) -> Writer:
        """A writer of its own."""

    async def check(self) -> None:
        """Raise `StoreUnavailable` or `SchemaMismatch` unless the store can serve."""

    async def close(self) -> None:
        """Finish what runs and let go of all connections."""
