"""Reads that requests share: those that arrive while a read is under way share the next one.

`SharedReads` is for requests that want the same, `GatheredReads` for requests that want rows of one kind by their keys.
A read answers only requests that arrived before it began, so that nobody is told what was true before they asked: a
number bought a moment ago is gone from the next search, however many search at once. What was read before is told again
to those alone who know that the store has not changed since.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec

from numberline.store.contract import State

# Turns of the event loop; each takes in the requests that came during the one before.
GATHERING_TURNS_MAX: Final = 16
# Results of shared reads; a search's largest page takes some 200 kB.
KEPT_MAX: Final = 32

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


class _Waiting(msgspec.Struct, frozen=True):
    """A read that has not begun yet, the state of the store that was seen before, and those who wait for it."""

    read: Callable[[], Awaitable[Any]]
    state: State | None
    answers: list[asyncio.Future[Any]]


class SharedReads:
    """For each key at most one read under way and one that waits for it to end; belongs to one event loop.

    The latest results are kept with the state of the store that was seen before they were read: whoever has been told of
    an equal one since knows that they still hold.
    """

    def __init__(self) -> None:
        self._waiting: dict[Hashable, _Waiting] = {}
        self._under_way: dict[Hashable, asyncio.Task[None]] = {}
        self._kept: dict[Hashable, tuple[State, Any]] = {}

    async def read(self, key: Hashable, read: Callable[[], Awaitable[T]], *, state: State | None = None) -> T:
        """What a read that begins from now on returns; whatever it raises is raised to each who shares it.

        Reads of one key must be interchangeable: one of them is run for all who wait. One who is cancelled leaves
        the others waiting. `state` is one that the store was in since the request arrived.
        """
        if state is not None and (kept := self._kept.get(key)) is not None and kept[0] == state:
            found: T = kept[1]
            return found
        return await self.begin(key, read, state=state)

    def begin(
        self, key: Hashable, read: Callable[[], Awaitable[T]], *, state: State | None = None
    ) -> asyncio.Future[T]:
        """As `read`, for who has something else to do meanwhile; nothing is told again."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = _Waiting(read, state, [])
            if key not in self._under_way:
                self._under_way[key] = asyncio.create_task(self._run(key))
        waiting.answers.append(answer)
        return answer

    async def _run(self, key: Hashable) -> None:
        """Read for those who wait, again and again until nobody does."""
        try:
            # Who arrives once a read is taken from here waits for the next.
            while waiting := self._waiting.pop(key, None):
                await self._answer(key, waiting)
        finally:
            del self._under_way[key]
            if left := self._waiting.pop(key, None):
                _cancel(left.answers)

    async def _answer(self, key: Hashable, waiting: _Waiting) -> None:
        try:
            found = await waiting.read()
        except Exception as error:  # noqa: BLE001 - it is theirs who wait
            _refuse(waiting.answers, error)
        except BaseException:
            _cancel(waiting.answers)
            raise
        else:
            self._keep(key, waiting.state, found)
            for answer in waiting.answers:
                if not answer.done():
                    answer.set_result(found)

    def _keep(self, key: Hashable, state: State | None, found: object) -> None:
        self._kept.pop(key, None)
        if state is not None:
            self._kept[key] = state, found
        if len(self._kept) > KEPT_MAX:
            del self._kept[next(iter(self._kept))]


def _refuse(answers: Iterable[asyncio.Future[Any]], error: Exception) -> None:
    for answer in answers:
        if not answer.done():
            answer.set_exception(error)


def _cancel(answers: Iterable[asyncio.Future[Any]]) -> None:
    for answer in answers:
        answer.cancel()


class GatheredReads(Generic[K, T]):
    """At most one read under way, for all keys that were asked for before it began; belongs to one event loop."""

    def __init__(self, read: Callable[[Collection[K]], Awaitable[Mapping[K, T]]]) -> None:
        """`read` finds what there is of a set of keys."""
        self._read: Final = read
        self._waiting: list[tuple[K, asyncio.Future[T | None]]] = []
        self._reader: asyncio.Task[None] | None = None

    async def find(self, key: K) -> T | None:
        """What a read that begins from now on finds under a key, or None; raises what that read raises."""
        answer: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((key, answer))
        if self._reader is None:
            self._reader = asyncio.create_task(self._serve(), name="gathered reads")
        return await answer

    async def _serve(self) -> None:
        """Read for those who wait, again and again until nobody does."""
        asked: list[tuple[K, asyncio.Future[T | None]]] = []
        try:
            while self._waiting:
                await self._gather()
                asked, self._waiting = self._waiting, []
                await self._answer(asked)
        finally:
            # Only a loop that is being closed leaves somebody waiting.
            self._reader = None
            _cancel(answer for _, answer in asked + self._waiting)
            self._waiting.clear()

    async def _gather(self) -> None:
        """Let those come who are on their way: a read costs about the same for one as for all of them."""
        for _ in range(GATHERING_TURNS_MAX):
            count = len(self._waiting)
            await asyncio.sleep(0)
            if len(self._waiting) == count:
                return

    async def _answer(self, asked: list[tuple[K, asyncio.Future[T | None]]]) -> None:
        try:
            found = await self._read({key for key, _ in asked})
        except Exception as error:  # noqa: BLE001 - it is theirs who wait
            _refuse((answer for _, answer in asked), error)
            return
        for key, answer in asked:
            if not answer.done():
                answer.set_result(found.get(key))
