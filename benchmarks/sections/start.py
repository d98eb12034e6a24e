"""Starting: from `numberline up` on an existing home to the first answered attach; and what the command line imports."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import jwt

from benchmarks.bench import Bench
from benchmarks.messages import ATTACH, message
from benchmarks.report import Grid, Measured, Report, median
from tests.kit.leash import Leash, free_port, stop

TITLE: Final = "Start"

_RUNS: Final = 5
_PATIENCE_SECONDS: Final = 60
UP, IMPORT, BARE = "up to the first answered attach", "import of the command line", "Python alone"


def run(bench: Bench) -> Report:
    """Measure."""
    report = Report("start", TITLE)
    home = bench.new_folder() / "home"
    _start_and_attach(home)  # makes the home
    steps = {
        UP: lambda: _start_and_attach(home),
        IMPORT: lambda: _python("import numberline.doors.cli.main"),
        BARE: lambda: _python("pass"),
    }
    report.figures = bench.measure(steps, rounds=1 if bench.quick else _RUNS)
    rows = [
        [name, f"{median(report.figures, name, 'seconds'):.3f}", _spread(rounds)]
        for name, rounds in report.figures.items()
    ]
    report.tables.append(Grid("Seconds, each in a new process", ("what", "median", "spread"), rows))
    report.at_most("`up` on an existing home to the first answered attach", _seconds(report, UP), 1.0, " s")
    alone = 1_000 * (_seconds(report, IMPORT) - _seconds(report, BARE))
    report.notes.append(f"Importing the command line costs {alone:.0f} ms more than Python alone.")
    return report


def _seconds(report: Report, step: str) -> float:
    return median(report.figures, step, "seconds")


def _spread(rounds: list[Measured]) -> str:
    times = [one["seconds"] for one in rounds]
    return f"{min(times):.3f}-{max(times):.3f}"


def _python(code: str) -> Measured:
    began_at = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return {"seconds": time.perf_counter() - began_at}


def _start_and_attach(home: Path) -> Measured:
    """Run `up` until it has answered an attach over HTTPS, as a user's first call would be answered."""
    port = free_port()
    is_new = not home.exists()
    prepared = None if is_new else (_trust(home), _attach(home))
    began_at = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "numberline", "up", "--home", str(home), "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    leash = Leash(process.pid)
    try:
        connection = _connect(process, port)
        trust, request = prepared or (_trust(home), _attach(home))
        with trust.wrap_socket(connection, server_hostname="localhost") as secured:
            secured.sendall(request)
            answer = b""
            while not answer.endswith(b"}"):
                answer += secured.recv(65_536)
        took = time.perf_counter() - began_at
    finally:
        stop(process, within_seconds=15)
        leash.release()
    assert b'"result":1' in answer, answer
    return {"seconds": took}


def _connect(process: subprocess.Popen[bytes], port: int) -> socket.socket:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_SECONDS)
        except ConnectionRefusedError:
            time.sleep(0.005)
    raise RuntimeError("the server did not start to listen")


def _trust(home: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=home / "ca.pem")


def _attach(home: Path) -> bytes:
    credentials: dict[str, Any] = json.loads((home / "credentials.json").read_text())
    now = int(time.time())
    claims = {"iss": str(credentials["account_id"]), "iat": now, "exp": now + 600}
    headers = {"kid": credentials["key_id"]}
    bearer = jwt.encode(claims, credentials["private_key"], algorithm="RS256", headers=headers)
    return message("AttachPhoneNumber", ATTACH, bearer)
