"""Reads that requests share: those that arrive while a read of the same is under way share the next one.

Nothing is kept. A read answers only requests that arrived before it began, so that nobody is told what was true
before they asked: a number bought a moment ago is gone from the next search, however many search at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar, cast

import msgspec

T = TypeVar("T")


class _Waiting(msgspec.Struct, frozen=True):
    """A read that has not begun yet, and what all who wait for it will be answered with."""

    read: Callable[[], Awaitable[Any]]
    answer: asyncio.Future[Any]


class SharedReads:
    """For each key at most one read under way and one that waits for it to end; belongs to one event loop."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, _Waiting] = {}
        self._under_way: dict[Hashable, asyncio.Task[None]] = {}

    async def read(self, key: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """What a read that begins from now on returns; whatever it raises is raised to each who shares it.

        Reads of one key must be interchangeable: one of them is run for all who wait. One who is cancelled leaves
        the others waiting.
        """
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = _Waiting(read, asyncio.get_running_loop().create_future())
            if key not in self._under_way:
                self._under_way[key] = asyncio.create_task(self._run(key))
        return cast("T", await asyncio.shield(waiting.answer))

    async def _run(self, key: Hashable) -> None:
        """Read for those who wait, again and again until nobody does."""
        try:
            # Who arrives once a read is taken from here waits for the next.
            while waiting := self._waiting.pop(key, None):
                await _answer(waiting)
        finally:
            del self._under_way[key]
            if left := self._waiting.pop(key, None):
                left.answer.cancel()


async def _answer(waiting: _Waiting) -> None:
    try:
        found = await waiting.read()
    except Exception as error:  # noqa: BLE001 - it is theirs who wait
        waiting.answer.set_exception(error)
        # They may all have gone, and asyncio would complain of an exception that nobody looked at.
        waiting.answer.exception()
    except BaseException:
        waiting.answer.cancel()
        raise
    else:
        waiting.answer.set_result(found)
