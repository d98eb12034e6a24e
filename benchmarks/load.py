"""Paced load: a process of its own that sends requests at given instants and reports exact latencies.

Latency counts from the instant a request was due, not from when it could be sent: a server that stalls makes the
requests behind wait, and that is seen. Run as `python -m benchmarks.load PORT FILE FIRST RATE SECONDS CONNECTIONS`, with
a file of messages; the place to begin at comes third.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any, Final, cast

import uvloop

from benchmarks.report import Measured

# What was sent before the end is still counted.
_LAST_ANSWERS_SECONDS: Final = 5.0


class Load:
    """A load under way, in its own process."""

    def __init__(
        self, port: int, messages: Any, *, per_second: float, seconds: float, connections: int = 64
    ) -> None:
        self._messages = messages
        words = [port, messages.path, messages.first, per_second, seconds, connections]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load", *map(str, words)], stdout=subprocess.PIPE, text=True
        )

    def result(self) -> Measured:
        """Wait for its end; rate, and latencies in milliseconds."""
        said, _ = self._process.communicate()
        assert self._process.returncode == 0, "the load generator failed"
        found: Measured = json.loads(said)
        assert not found["errors"], found
        self._messages.advance(int(found["answers"]))
        return found


def percentile(ordered: list[float], percent: float) -> float:
    """The nearest-rank percentile of sorted values."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def machine_noise(seconds: float) -> Measured:
    """How late a process wakes that only sleeps a millisecond at a time: what latencies owe to the machine."""
    late: list[float] = []
    ends_at = time.perf_counter() + seconds
    while (began_at := time.perf_counter()) < ends_at:
        time.sleep(0.001)
        late.append(1_000 * (time.perf_counter() - began_at) - 1)
    late.sort()
    return {"p50_ms": percentile(late, 50), "p99_ms": percentile(late, 99), "max_ms": late[-1]}


def read_messages(path: Path) -> list[bytes]:
    """The messages of a file, each after its length on a line of its own."""
    data, place, found = path.read_bytes(), 0, []
    while place < len(data):
        end = data.index(b"\n", place)
        length = int(data[place:end])
        found.append(data[end + 1 : end + 1 + length])
        place = end + 1 + length
    return found


class _Connection(asyncio.Protocol):
    """One connection: busy with a request or waiting for the next."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._buffer = b""
        self._due_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Stand ready."""
        self._transport = cast("asyncio.Transport", transport)
        self._run.is_idle(self)

    def send(self, message: bytes, due_at: float) -> None:
        """Send a request."""
        self._due_at = due_at
        self._transport.write(message)

    def data_received(self, data: bytes) -> None:
        """Read an answer to its end and note it."""
        self._buffer += data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        place = self._buffer.find(b"content-length: ") + 16
        length = int(self._buffer[place : self._buffer.find(b"\r", place)])
        if len(self._buffer) < head_end + 4 + length:
            return
        self._run.note(time.perf_counter() - self._due_at, b'"error"' in self._buffer)
        self._buffer = b""
        self._run.is_idle(self)


class _Run:
    """What is due, what was seen."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.errors = 0
        self._idle: deque[_Connection] = deque()
        self._due: deque[tuple[bytes, float]] = deque()
        self._noted = asyncio.Event()

    def is_idle(self, connection: _Connection) -> None:
        """Give a free connection what is overdue, or remember it."""
        if self._due:
            connection.send(*self._due.popleft())
        else:
            self._idle.append(connection)

    def send(self, message: bytes, due_at: float) -> None:
        """Send what is due, at once if a connection is free."""
        if self._idle:
            self._idle.popleft().send(message, due_at)
        else:
            self._due.append((message, due_at))

    def note(self, seconds: float, is_error: bool) -> None:
        """Note one answer."""
        self.latencies.append(seconds)
        self.errors += is_error
        self._noted.set()

    async def all_answered(self, count: int) -> None:
        """Wait until as many answers are in."""
        while len(self.latencies) < count:
            self._noted.clear()
            await self._noted.wait()


async def _main(port: int, path: Path, first: int, rate: float, seconds: float, connections: int) -> Measured:
    messages, run = read_messages(path), _Run()
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(lambda: _Connection(run), "127.0.0.1", port)
    began_at, count = time.perf_counter(), max(1, round(rate * seconds))
    for place in range(count):
        due_at = began_at + place / rate
        if (wait := due_at - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        run.send(messages[(first + place) % len(messages)], due_at)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(run.all_answered(count), _LAST_ANSWERS_SECONDS)
    return _summary(run, count, time.perf_counter() - began_at)


def _summary(run: _Run, count: int, seconds: float) -> Measured:
    ordered = sorted(1_000 * one for one in run.latencies)
    return {
        "per_second": len(ordered) / seconds,
        "p50_ms": percentile(ordered, 50),
        "p99_ms": percentile(ordered, 99),
        "max_ms": ordered[-1],
        "answers": len(ordered),
        "errors": run.errors + count - len(ordered),
    }


if __name__ == "__main__":
    port_, path_, first_, rate_, seconds_, connections_ = sys.argv[1:]
    print(
        json.dumps(
            uvloop.run(
                _main(int(port_), Path(path_), int(first_), float(rate_), float(seconds_), int(connections_))
            )
        )
    )
