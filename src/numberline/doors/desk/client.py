"""The doors' end of the way to a desk in another process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Final, cast

import msgspec

from numberline.doors.desk.messages import GREETING, Frames, put_together, read_answers, write_orders
from numberline.service.desk import Awaited, PortableOrder, Served, Taker
from numberline.store.errors import CommitUnknown, StoreUnavailable

# A desk that died is begun again meanwhile.
_GREETING_SECONDS: Final = 5.0
# How often a way that closes looks whether somebody still waits: who does may also give up.
_CLOSING_LOOK_SECONDS: Final = 0.02


class DistantDesk:
    """Hands orders in at the desk that listens on a Unix socket; one per process, on its event loop."""

    def __init__(self, path: Path, *, observe: Callable[[Served], None] = lambda _: None) -> None:
        """`observe` is told of batches that were committed; each is told to one of the doors."""
        self._path: Final = path
        self._observe: Final = observe
        self._way: _Way | None = None
        self._opening: Final = asyncio.Lock()

    async def submit(self, order: PortableOrder) -> bytes:
        """Queue an order; returns the body of its answer once its effects are durable, or raises Refusal.

        StoreUnavailable when no desk answers, CommitUnknown when it went away after it was given the order.
        """
        way = self._way
        if way is None or way.is_closed:
            way = await self._open()
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        way.send(order.ticket, Awaited(answer))
        return await answer

    def hand_in(self, order: PortableOrder, taker: Taker) -> bool:
        """Queue an order whose answer the taker will be given, or what `submit` raises; False while no desk answers."""
        way = self._way
        if way is None or way.is_closed:
            return False
        way.send(order.ticket, taker)
        return True

    async def check(self) -> None:
        """Raise StoreUnavailable unless the desk answers."""
        if self._way is None or self._way.is_closed:
            await self._open()
        else:
            await self._way.greet()

    async def close(self) -> None:
        """Wait for what was handed in, then let go."""
        if self._way is not None:
            await self._way.close()
            self._way = None

    async def _open(self) -> _Way:
        async with self._opening:
            if self._way is None or self._way.is_closed:
                loop = asyncio.get_running_loop()
                try:
                    _, way = await loop.create_unix_connection(lambda: _Way(self._observe), str(self._path))
                except OSError as error:
                    raise StoreUnavailable(f"the desk is away: {error}") from error
                # A connection may only have queued: nothing is handed over before somebody is there to take it.
                try:
                    await way.greet()
                except BaseException:
                    way.leave()
                    raise
                self._way = way
            return self._way


class _Way(asyncio.Protocol):
    """One connection to the desk. What is handed in during one turn of the event loop goes as one message."""

    def __init__(self, observe: Callable[[Served], None]) -> None:
        self.is_closed = False
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self._frames = Frames()
        self._numbers = count()
        self._unsent: list[tuple[int, msgspec.Struct]] = []
        self._unanswered: dict[int, Taker] = {}
        self._greetings: deque[asyncio.Future[None]] = deque()
        self._transport: asyncio.WriteTransport | None = None

    async def greet(self) -> None:
        """Wait for a sign of life; StoreUnavailable when there is none in time."""
        answer: asyncio.Future[None] = self._loop.create_future()
        self._greetings.append(answer)
        self._write([])
        try:
            async with asyncio.timeout(_GREETING_SECONDS):
                await answer
        except TimeoutError as error:
            raise StoreUnavailable("the desk does not answer") from error

    def send(self, ticket: msgspec.Struct, taker: Taker) -> None:
        if self.is_closed:
            raise StoreUnavailable("the desk went away")
        if not self._unsent:
            self._loop.call_soon(self._send_all)
        number = next(self._numbers)
        self._unsent.append((number, ticket))
        self._unanswered[number] = taker

    async def close(self) -> None:
        while not all(taker.is_gone() for taker in self._unanswered.values()):  # noqa: ASYNC110 - who gives up tells nobody
            await asyncio.sleep(_CLOSING_LOOK_SECONDS)
        self.leave()

    def leave(self) -> None:
        self.is_closed = True
        if self._transport is not None:
            self._transport.close()

    def _send_all(self) -> None:
        orders, self._unsent = self._unsent, []
        try:
            self._write(orders)
        except Exception as error:  # noqa: BLE001 - it is theirs whose orders cannot be sent
            for number, _ in orders:
                self._unanswered.pop(number).refuse(error)

    def _write(self, orders: list[tuple[int, msgspec.Struct]]) -> None:
        if self._transport is not None and not self.is_closed:
            self._transport.write(write_orders(orders))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        for message in self._frames.take_in(data):
            answers = read_answers(message)
            if answers == GREETING:
                _settle(self._greetings.popleft())
            for number, told in answers.answers:
                taker = self._unanswered.pop(number)
                if isinstance(told, bytes):
                    taker.accept(told)
                else:
                    taker.refuse(put_together(told))
            for served in answers.served:
                self._observe(served)

    def connection_lost(self, _error: Exception | None) -> None:
        self.is_closed = True
        for greeting in self._greetings:
            if not greeting.done():
                greeting.set_exception(StoreUnavailable("the desk went away"))
        unanswered, self._unanswered = self._unanswered, {}
        unsent = {number for number, _ in self._unsent}
        for number, taker in unanswered.items():
            taker.refuse(_lost(number in unsent))


def _settle(greeting: asyncio.Future[None]) -> None:
    if not greeting.done():
        greeting.set_result(None)


def _lost(is_unsent: bool) -> Exception:
    # What the desk has received it may have carried out.
    return StoreUnavailable("the desk went away") if is_unsent else CommitUnknown("the desk went away")
