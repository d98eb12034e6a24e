"""Running and stopping for real: other processes, real signals, loopback sockets."""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from numberline.doors.http.server import CannotListen, serve
from numberline.doors.http.tls import Certificates, ensure_certificates

APPLICATION = """
import asyncio, json, os, signal
from numberline.doors.http import telemetry


def make():
    if os.environ.get("SERVED") == "broken":
        raise RuntimeError("no settings")
    if os.environ.get("SERVED") == "stopped early":
        os.kill(os.getpid(), signal.SIGTERM)
    telemetry.know_methods(["Counted"])
    return application


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    path = scope["path"]
    if path == "/slow":
        await asyncio.sleep(0.3)
    if path == "/endless":
        await asyncio.sleep(60)
    telemetry.count_request("Counted", None, 0.001)
    headers = [(b"content-type", b"application/json")]
    if path == "/metrics":
        body, content_type = telemetry.render_metrics()
    else:
        body = json.dumps({"pid": os.getpid(), "scheme": scope["scheme"], "client": scope["client"][0]}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def lifespan(receive, send):
    await receive()
    if os.environ.get("SERVED") == "failing":
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        return
    await send({"type": "lifespan.startup.complete"})
    await receive()
    os.write(1, b"lifespan over\\n")  # in one call: print would let another process in before the newline
    if os.environ.get("SERVED") == "hanging":
        await asyncio.sleep(60)
    await send({"type": "lifespan.shutdown.complete"})
"""

RUN = """
import json, pathlib, sys
from numberline.domain import limits
from numberline.doors.http.server import serve
from numberline.doors.http.tls import Certificates

limits.TLS_HANDSHAKE_SECONDS = 0.5

if __name__ == "__main__":
    port, processes, files, options = json.loads(sys.argv[1])
    certificates = Certificates(*[pathlib.Path(file) for file in files]) if files else None
    ready = lambda: print("ready", flush=True)
    sys.exit(
        serve("served:make", host="127.0.0.1", port=port, certificates=certificates, processes=processes,
              on_ready=ready, **options)
    )
"""


class Served:
    """A server in a process of its own."""

    def __init__(
        self, folder: Path, processes: int, certificates: Certificates | None, state: str, options: Any
    ) -> None:
        (folder / "served.py").write_text(APPLICATION)
        (folder / "run.py").write_text(RUN)
        self.port = free_port()
        self.trust = ssl.create_default_context(cafile=str(certificates.ca)) if certificates else None
        files = (
            [str(certificates.ca), str(certificates.certificate), str(certificates.key)]
            if certificates
            else None
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]), "SERVED": state}
        self.process = subprocess.Popen(
            [sys.executable, str(folder / "run.py"), json.dumps([self.port, processes, files, options])],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.stopped: tuple[str, str] | None = None
        self.answered = 0

    def wait_ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n", self.stop()

    def connection(self, timeout: float = 10) -> http.client.HTTPConnection:
        if self.trust is not None:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=self.trust)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def get(self, path: str, headers: dict[str, str] | None = None) -> Any:
        connection = self.connection()
        try:
            connection.request("GET", path, headers={"Connection": "close", **(headers or {})})
            answer = connection.getresponse()
            assert answer.getheader("server") is None
            body = answer.read()
            self.answered += 1
            return body.decode() if path == "/metrics" else json.loads(body)
        finally:
            connection.close()

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float, str, str]:
        """Exit code, seconds it took, standard output and error."""
        began = time.monotonic()
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, time.monotonic() - began, out, err


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(
        processes: int = 1,
        certificates: Certificates | None = None,
        state: str = "",
        ready: bool = True,
        **options: Any,
    ) -> Served:
        started.append(Served(tmp_path, processes, certificates, state, options))
        if ready:
            started[-1].wait_ready()
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until(is_so: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


# Starting.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_process_serves_and_stops_with_zero(served: Callable[..., Served], number: int) -> None:
    server = served()
    assert server.get("/") == {"pid": server.process.pid, "scheme": "http", "client": "127.0.0.1"}
    code, seconds, out, err = server.stop(number)
    assert (code, out, err) == (0, "lifespan over\n", "")
    assert seconds < 3


def test_a_taken_port_is_one_sentence_before_anything_starts() -> None:
    made: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        for processes, target in ((1, lambda: made.append(1)), (2, "nowhere:make")):
            with pytest.raises(CannotListen) as caught:
                serve(target, host="127.0.0.1", port=port, certificates=None, processes=processes)
            assert (
                str(caught.value) == f"Cannot listen on port {port}: another program already listens there."
            )
            assert caught.value.port == port
    assert made == []


@pytest.mark.parametrize(
    ("host", "port", "reason"),
    [
        ("no-such-host.invalid", 8443, "the host 'no-such-host.invalid' is not known"),
        ("192.0.2.1", 8443, "the host is not an address of this machine"),
        ("127.0.0.1", 99_999, "there is no such port"),
        ("127.0.0.1", -1, "there is no such port"),
    ],
)
def test_an_impossible_address_is_one_sentence(host: str, port: int, reason: str) -> None:
    # In a process of its own: here the tests may not even look up a host beyond loopback.
    ask = (
        "from numberline.doors.http.server import CannotListen, serve\n"
        f"try: serve('nowhere:make', host={host!r}, port={port}, certificates=None)\n"
        "except CannotListen as error: print(error, end='')"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    asked = subprocess.run(
        [sys.executable, "-c", ask], env=environment, check=True, capture_output=True, text=True
    )
    assert (asked.stdout, asked.stderr) == (f"Cannot listen on port {port}: {reason}.", "")


def test_many_processes_need_an_import_string() -> None:
    with pytest.raises(ValueError, match="import string"):
        serve(lambda: None, host="127.0.0.1", port=free_port(), certificates=None, processes=2)


@pytest.mark.parametrize("processes", [1, 2])
def test_an_application_that_does_not_start_is_exit_3(served: Callable[..., Served], processes: int) -> None:
    server = served(processes=processes, state="failing", ready=False)
    out, err = server.process.communicate(timeout=20)
    assert server.process.returncode == 3
    assert out == ""
    assert "no database" in err


def test_a_stop_before_the_start_is_over_still_is_exit_0(served: Callable[..., Served]) -> None:
    server = served(state="stopped early", ready=False)
    _, err = server.process.communicate(timeout=20)
    assert (server.process.returncode, err) == (0, "")


def test_tls_from_1_2_on_and_no_other_protocol(served: Callable[..., Served], tmp_path: Path) -> None:
    server = served(certificates=ensure_certificates(tmp_path, []))
    assert server.get("/")["scheme"] == "https"
    assert server.trust is not None
    for least, expected in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
        server.trust.maximum_version = least
        with (
            socket.create_connection(("127.0.0.1", server.port)) as plain,
            server.trust.wrap_socket(plain, server_hostname="localhost") as client,
        ):
            assert client.version() == expected
    hello_of_tls_1_1 = bytes.fromhex("160302002f0100002b0302" + "00" * 32 + "000004c014c00a" + "0100")
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
        client.sendall(hello_of_tls_1_1)
        assert client.recv(100)[:1] in (b"\x15", b"")  # an alert, or nothing


def test_a_handshake_that_is_never_made_is_cut_off(served: Callable[..., Served], tmp_path: Path) -> None:
    server = served(certificates=ensure_certificates(tmp_path, []))
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
        client.sendall(b"\x16")
        assert client.recv(100) == b""
    assert time.monotonic() - began < 2
    assert server.stop()[3] == ""


def test_only_trusted_proxies_speak_for_others(served: Callable[..., Served]) -> None:
    claim = {"X-Forwarded-For": "203.0.113.9"}
    assert served().get("/", claim)["client"] == "127.0.0.1"
    assert served(trusted_proxies=["127.0.0.1"]).get("/", claim)["client"] == "203.0.113.9"


# Stopping.


def flood(server: Served, path: str, callers: int) -> tuple[list[int], list[str], Callable[[], None]]:
    """Callers that ask without pause on kept connections until told that the connection closes.

    Gives the answers' sizes, the requests that were cut off, and a function that waits for the callers.
    """
    whole: list[int] = []
    cut: list[str] = []

    def ask() -> None:
        connection = server.connection()
        try:
            connection.connect()
        except OSError:
            return
        while True:
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                whole.append(len(answer.read()))
            except (OSError, http.client.HTTPException) as error:
                cut.append(repr(error))
                return
            if answer.getheader("connection") == "close":
                return

    threads = [threading.Thread(target=ask) for _ in range(callers)]
    for thread in threads:
        thread.start()

    def wait() -> None:
        for thread in threads:
            thread.join()

    return whole, cut, wait


@pytest.mark.parametrize(("processes", "path"), [(1, "/"), (1, "/slow"), (2, "/"), (2, "/slow")])
@pytest.mark.parametrize("is_tls", [False, True])
def test_a_stop_under_load_cuts_no_answer(
    served: Callable[..., Served], tmp_path: Path, processes: int, path: str, is_tls: bool
) -> None:
    server = served(processes=processes, certificates=ensure_certificates(tmp_path, []) if is_tls else None)
    whole, cut, wait = flood(server, path, callers=24)
    time.sleep(1)
    code, seconds, _, err = server.stop()
    wait()
    assert cut == []
    assert len(whole) > 24
    assert (code, err) == (0, "")
    assert seconds < 5


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("state", ["", "hanging"])
def test_a_stop_ends_within_ten_seconds_whatever_the_application_does(
    served: Callable[..., Served], processes: int, state: str
) -> None:
    server = served(processes=processes, state=state)
    connection = server.connection(timeout=20)
    connection.request("GET", "/endless")
    time.sleep(0.3)
    code, seconds, _, _ = server.stop()
    connection.close()
    assert code == 0
    assert seconds < 9.5


# Many processes.


def pids_seen(server: Served, count: int) -> set[int]:
    pids: set[int] = set()
    deadline = time.monotonic() + 10
    while len(pids) < count:
        assert time.monotonic() < deadline, f"only {pids} answer"
        pids.add(server.get("/")["pid"])
    return pids


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_two_processes_serve_and_stop(served: Callable[..., Served], number: int) -> None:
    server = served(processes=2)
    pids = pids_seen(server, 2)
    assert server.process.pid not in pids
    code, seconds, out, err = server.stop(number)
    assert (code, out, err) == (0, "lifespan over\n" * 2, "")
    assert seconds < 5
    assert not any(is_running(pid) for pid in pids)


def test_a_worker_that_dies_is_replaced_and_its_counts_are_kept(served: Callable[..., Served]) -> None:
    server = served(processes=2)
    pids = pids_seen(server, 2)

    def all_are_counted() -> bool:
        # What one process has answered another tells a moment later.
        return count_of(server.get("/metrics")) == server.answered

    wait_until(all_are_counted)
    os.kill(min(pids), signal.SIGKILL)
    wait_until(lambda: len({server.get("/")["pid"] for _ in range(20)} - pids) == 1)
    wait_until(all_are_counted)
    assert server.stop()[0] == 0


def count_of(page: str) -> float:
    start = 'numberline_requests_total{method="Counted",outcome="ok"} '
    return next(float(line.removeprefix(start)) for line in page.splitlines() if line.startswith(start))


def test_workers_do_not_outlive_their_supervisor(served: Callable[..., Served]) -> None:
    server = served(processes=2)
    pids = pids_seen(server, 2)
    server.process.kill()
    wait_until(lambda: not any(is_running(pid) for pid in pids))
    with socket.create_server(("127.0.0.1", server.port)):
        pass
