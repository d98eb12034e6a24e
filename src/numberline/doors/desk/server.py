"""The desk's end of the way: orders of other processes queue at the desk, and its answers go back in one message a batch."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from typing import Final, cast

import msgspec

from numberline.doors.desk.messages import (
    GREETING,
    Answers,
    Failed,
    Frames,
    Refused,
    Ticket,
    read_orders,
    take_apart,
    write_answers,
)
from numberline.service.catalog import CatalogCache
from numberline.service.desk import Desk, Order, Served
from numberline.store.contract import Store

log = logging.getLogger(__name__)

Accept = Callable[[Ticket], Order]


class DeskServer:
    """A desk, and the connections over which it is given orders."""

    def __init__(self, store: Store, catalog: CatalogCache, accept: Accept) -> None:
        """`accept` makes an order of its ticket."""
        self.accept: Final = accept
        self.desk: Final = Desk(store, catalog, observe=self._send_batch)
        self._to_answer: dict[_Hatch, None] = {}

    async def serve(self, listener: socket.socket, leash: int) -> None:
        """Serve on a listening socket until the pipe is closed whose reading end is given, then answer what waits."""
        loop = asyncio.get_running_loop()
        let_go = asyncio.Event()
        loop.add_reader(leash, let_go.set)
        door = await loop.create_unix_server(lambda: _Hatch(self), sock=listener)
        await let_go.wait()
        loop.remove_reader(leash)
        door.close()
        await self.desk.close()

    def _send_batch(self, served: Served) -> None:
        """A batch is done: send its answers, and tell one of those who get some to count it."""
        if listening := next((hatch for hatch in self._to_answer if not hatch.is_closed), None):
            listening.served.append(served)
        self._send_answers()

    def answer_soon(self, hatch: _Hatch) -> None:
        """Send a hatch's answers after the batch, or by and by if the batch fails."""
        if not self._to_answer:
            asyncio.get_running_loop().call_soon(self._send_answers)
        self._to_answer[hatch] = None

    def _send_answers(self) -> None:
        hatches, self._to_answer = self._to_answer, {}
        for hatch in hatches:
            hatch.send()


class _Hatch(asyncio.Protocol):
    """One connection of a door."""

    def __init__(self, server: DeskServer) -> None:
        self.is_closed = False
        self.answers: list[tuple[int, bytes | Refused | Failed]] = []
        self.served: list[Served] = []
        self._server = server
        self._frames = Frames()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        since = time.perf_counter()
        for message in self._frames.take_in(data):
            orders = read_orders(message)
            if not orders:
                self._write(GREETING)
            for number, ticket in orders:
                self._server.desk.enter(_WaitingThere(self._server.accept(ticket), since, number, self))

    def connection_lost(self, _error: Exception | None) -> None:
        self.is_closed = True

    def answer(self, number: int, told: bytes | Refused | Failed) -> None:
        if not self.answers:
            self._server.answer_soon(self)
        self.answers.append((number, told))

    def send(self) -> None:
        answers = Answers(self.answers, self.served)
        self.answers, self.served = [], []
        self._write(answers)

    def _write(self, answers: Answers) -> None:
        if self._transport is None or self.is_closed:
            return
        try:
            self._transport.write(write_answers(answers))
        except Exception:
            log.exception("answers of the desk could not be sent")
            # So that nobody waits for them any longer.
            self._transport.abort()


class _WaitingThere(msgspec.Struct):
    """One who waits in another process."""

    order: Order
    since: float
    number: int
    hatch: _Hatch
    is_answered: bool = False

    def is_gone(self) -> bool:
        return self.is_answered or self.hatch.is_closed

    def accept(self, body: bytes) -> None:
        if not self.is_answered:
            self.is_answered = True
            self.hatch.answer(self.number, body)

    def refuse(self, reason: BaseException) -> None:
        if not self.is_answered:
            self.is_answered = True
            self.hatch.answer(self.number, take_apart(reason))
