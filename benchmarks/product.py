"""The product as its operators run it, a process of its own over plain HTTP, and loads whose outcome is checked."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from benchmarks import wrk
from benchmarks.bench import Bench
from benchmarks.messages import MessageFile
from benchmarks.report import Measured
from tests.kit.leash import Leash, free_port, stop

_OUTCOME = re.compile(
    r'^numberline_requests_total\{method="(\w+)",outcome="(\w+)"\} ([0-9.e+]+)$', re.MULTILINE
)
_REFUSED = re.compile(r"^numberline_refused_requests_total\{[^}]*\} ([0-9.e+]+)$", re.MULTILINE)
_START_SECONDS: Final = 30
_SETTLE_SECONDS: Final = 5
# A machine that is busy with something else may well stand still for a tenth of a second.
_SETTLED_LOOKS: Final = 3


@dataclass(frozen=True)
class Server:
    """A running HTTP server of any kind."""

    port: int
    pid: int

    def get(self, path: str) -> str:
        """The body of a GET answered with 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        assert answer.status == http.HTTPStatus.OK, f"GET {path}: {answer.status} {body[:200]}"
        return body

    def memory(self) -> Measured:
        """Resident memory of its largest process, and of all together with what they share counted once, in MB."""
        found = [one.memory_full_info() for one in self._processes()]
        return {"rss_mb": max(one.rss for one in found) / 1e6, "all_mb": sum(one.pss for one in found) / 1e6}

    def cpu_seconds(self) -> float:
        """Processor time that its processes have used."""
        times = [one.cpu_times() for one in self._processes()]
        return float(sum(one.user + one.system for one in times))

    def _processes(self) -> list[psutil.Process]:
        parent = psutil.Process(self.pid)
        return [parent, *parent.children(recursive=True)]


@contextmanager
def running(
    bench: Bench, command: list[str], *, port: int, ready: str, environment: dict[str, str] | None = None
) -> Iterator[Server]:
    """Any server as a child process, from its first good answer to GET `ready` until the end of the block."""
    log = bench.new_folder() / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=environment, start_new_session=True
        )
    leash = Leash(process.pid)
    try:
        _wait_until_ready(process, port, ready, log)
        yield Server(port, process.pid)
    finally:
        stop(process, within_seconds=15)
        leash.release()


@contextmanager
def serving(bench: Bench, url: str, *, processes: int = 1, source: Path | None = None) -> Iterator[Server]:
    """`numberline serve` on a store; `source` is where another build than this one lies."""
    port = free_port()
    command = [sys.executable, "-m", "numberline", "serve", "--home", str(bench.new_folder() / "home")]
    command += ["--port", str(port), "--database", url, "--plain-http", "--processes", str(processes)]
    environment = None if source is None else {**os.environ, "PYTHONPATH": str(source)}
    with running(bench, command, port=port, ready="/readyz", environment=environment) as server:
        yield server


def outcomes(server: Server) -> dict[tuple[str, str], float]:
    """How many requests were answered, by method and outcome; what the guard refused is counted as well."""
    page = server.get("/metrics")
    found = {(method, outcome): float(count) for method, outcome, count in _OUTCOME.findall(page)}
    found["", "refused"] = sum(map(float, _REFUSED.findall(page)))
    return found


def drive(
    server: Server,
    messages: MessageFile,
    *,
    connections: int,
    seconds: float,
    once: bool = False,
    method: str = "AttachPhoneNumber",
    alone: bool = True,
) -> Measured:
    """Load the product with wrk, and see in its own counters that every request succeeded.

    The server may have answered a few more than wrk has read when its time was up, one per connection at most.
    `alone` is False where others call the server as well: then only failures are looked for.
    """
    before = outcomes(server)
    used = server.cpu_seconds()
    found = wrk.drive(server.port, messages, connections=connections, seconds=seconds, once=once)
    used = server.cpu_seconds() - used
    changed = _settled(server, before)
    good = changed.pop((method, "ok"), 0.0)
    if alone and any(changed.values()):
        raise wrk.BadLoad(f"not only successes of {method}: {changed}")
    if any(count for (_, outcome), count in changed.items() if outcome != "ok"):
        raise wrk.BadLoad(f"failures: {changed}")
    unread = good - found["answers"]
    if not 0 <= unread <= (0 if once else connections):
        raise wrk.BadLoad(f"wrk read {found['answers']} answers, the server counted {good}")
    if once and good != messages.count:
        raise wrk.BadLoad(f"{messages.count} messages were to be sent, the server counted {good}")
    found["cpu_us"] = 1e6 * used / good
    return found


def drive_together(
    servers: Sequence[Server],
    messages: Sequence[MessageFile],
    *,
    connections: int,
    seconds: float,
    once: bool = False,
) -> Measured:
    """Load several servers at the same time, each with its share of the connections; rates are sums, latencies the worst."""
    each = connections // len(servers)
    with ThreadPoolExecutor(len(servers)) as threads:
        loads = [
            threads.submit(drive, server, file, connections=each, seconds=seconds, once=once)
            for server, file in zip(servers, messages, strict=True)
        ]
        found = [load.result() for load in loads]
    sums = {name: sum(one[name] for one in found) for name in ("answers", "per_second")}
    return {name: max(one[name] for one in found) for name in found[0]} | sums


def _settled(server: Server, before: dict[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """What was counted since; waits until requests still under way have been counted too."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    last, same = outcomes(server), 0
    while time.monotonic() < deadline and same < _SETTLED_LOOKS:
        time.sleep(0.1)
        now = outcomes(server)
        same = same + 1 if now == last else 0
        last = now
    return {key: count - before.get(key, 0.0) for key, count in last.items()}


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, path: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended:\n{log.read_text()[-4_000:]}")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
            connection.request("GET", path)
            if connection.getresponse().status < http.HTTPStatus.INTERNAL_SERVER_ERROR:
                return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"the server did not become ready:\n{log.read_text()[-4_000:]}")
