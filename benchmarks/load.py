"""The load generator: a process of its own that keeps N connections busy for a while and reports what it saw.

Run with a plan on standard input: {"port", "connections", "seconds", "requests": [base64, ...]}. Each connection sends
its next request as soon as it has read the answer to the last; requests are complete HTTP messages made beforehand.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from itertools import cycle
from typing import Final, cast

import uvloop

# What was sent before the end is still counted.
_LAST_ANSWERS_SECONDS: Final = 0.3


class Connection(asyncio.Protocol):
    """One busy connection."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._buffer = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        """Read an answer to its end, note it, and go on."""
        self._buffer += data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        place = self._buffer.find(b"content-length: ") + 16
        length = int(self._buffer[place : self._buffer.find(b"\r", place)])
        if len(self._buffer) < head_end + 4 + length:
            return
        self._run.note(time.perf_counter() - self._sent_at, b'"error"' in self._buffer)
        self._buffer = b""
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a connection that the server ended."""
        if not self._run.is_over():
            self._run.broken += 1

    def _send(self) -> None:
        if self._run.is_over():
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(next(self._run.requests))


class Run:
    """What is sent and what was seen."""

    def __init__(self, requests: list[bytes], seconds: float) -> None:
        self.requests = cycle(requests)
        self.latencies: list[float] = []
        self.errors = 0
        self.broken = 0
        self._began_at = time.perf_counter()
        self._last_at = self._began_at
        self._ends_at = self._began_at + seconds

    def is_over(self) -> bool:
        """Tell whether time is up."""
        return time.perf_counter() >= self._ends_at

    def note(self, seconds: float, is_error: bool) -> None:
        """Note one answer."""
        self.latencies.append(seconds)
        self.errors += is_error
        self._last_at = time.perf_counter()

    def report(self) -> dict[str, float]:
        """Rate and latencies in milliseconds."""
        ordered = sorted(self.latencies)
        took = self._last_at - self._began_at
        return {
            "per_second": len(ordered) / took,
            "p50_ms": 1_000 * ordered[len(ordered) // 2],
            "p99_ms": 1_000 * ordered[len(ordered) * 99 // 100],
            "answers": len(ordered),
            "errors": self.errors,
            "broken": self.broken,
        }


async def _main(plan: dict[str, object]) -> dict[str, float]:
    requests = [base64.b64decode(one) for one in plan["requests"]]  # type: ignore[attr-defined]
    loop = asyncio.get_running_loop()
    run = Run(requests, float(plan["seconds"]))  # type: ignore[arg-type]
    for _ in range(int(plan["connections"])):  # type: ignore[call-overload]
        await loop.create_connection(lambda: Connection(run), "127.0.0.1", int(plan["port"]))  # type: ignore[call-overload]
    await asyncio.sleep(float(plan["seconds"]) + _LAST_ANSWERS_SECONDS)  # type: ignore[arg-type]
    return run.report()


if __name__ == "__main__":
    print(json.dumps(uvloop.run(_main(json.load(sys.stdin)))))
