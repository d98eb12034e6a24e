"""The guard against real sockets: what it cuts, what it refuses, and what must go on working beside it."""

import asyncio
import json
import logging
import resource
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from numberline.domain import limits
from numberline.doors.http.guard import GuardedProtocol
from numberline.doors.http.tls import Certificates, ensure_certificates

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class Quick(GuardedProtocol):
    """The guard with a clock that tests can wait for."""

    head_seconds = 0.6
    body_seconds = 1.2
    drain_seconds = 0.5
    linger_seconds = 0.1


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Says what it was asked; /slow takes a while and reads no body, /large answers with 32 MiB."""
    body = b""
    more = scope["path"] != "/slow"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        more = message.get("more_body", False)
    seen.append((scope["path"], len(body)))
    if scope["path"] == "/slow":
        await asyncio.sleep(1)
    answer = b"x" * 2**25 if scope["path"] == "/large" else json.dumps([scope["path"], len(body)]).encode()
    headers = [(b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


seen: list[tuple[str, int]] = []


@dataclass
class Town:
    """A running server and how to talk to it."""

    server: uvicorn.Server
    address: tuple[str, int]
    trust: ssl.SSLContext | None
    clients: list[socket.socket] = field(default_factory=list)

    def connect(self, receive_bytes: int | None = None) -> socket.socket:
        client = socket.socket()
        if receive_bytes is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        client.settimeout(8)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.connect(self.address)
        if self.trust is not None:
            client = self.trust.wrap_socket(client, server_hostname="localhost", suppress_ragged_eofs=True)
        self.clients.append(client)
        return client

    def exchange(self, *pieces: bytes) -> bytes:
        """Send the pieces as far as the server takes them; everything it says until it closes."""
        client = self.connect()
        try:
            for piece in pieces:
                client.sendall(piece)
        except OSError:
            pass
        return read_all(client)

    def connections(self) -> int:
        return len(self.server.server_state.connections)

    def honest(self) -> None:
        assert self.exchange(LAST).startswith(b"HTTP/1.1 200")


@pytest.fixture(scope="module", params=["http", "https"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    certificates = trust = None
    if request.param == "https":
        certificates = ensure_certificates(tmp_path_factory.mktemp("home"), [])
        trust = ssl.create_default_context(cafile=str(certificates.ca))
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    server = uvicorn.Server(_config(certificates))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    wait_until(lambda: server.started)
    yield Town(server, listener.getsockname(), trust)
    server.should_exit = True
    thread.join(15)
    assert not thread.is_alive()


def _config(certificates: Certificates | None) -> uvicorn.Config:
    files: dict[str, Path] = {}
    if certificates is not None:
        files = {"ssl_certfile": certificates.certificate, "ssl_keyfile": certificates.key}
    return uvicorn.Config(
        application,
        http=Quick,
        ws="none",
        loop="numberline.doors.http.server:Loop",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        server_header=False,
        log_config=None,
        log_level="critical",
        timeout_keep_alive=1,
        **files,  # type: ignore[arg-type]
    )


@pytest.fixture
def town(running: Town) -> Iterator[Town]:
    seen.clear()
    yield running
    for client in running.clients:
        client.close()
    running.clients.clear()
    wait_until(lambda: running.connections() == 0)


def wait_until(is_so: Callable[[], bool], seconds: float = 8) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def read_all(client: socket.socket) -> bytes:
    """Everything until the server closes; a server that does not close is a failure."""
    said = b""
    while True:
        try:
            piece = client.recv(65_536)
        except TimeoutError:
            raise AssertionError(f"not closed after {said[:300]!r}") from None
        except OSError:
            return said
        if not piece:
            return said
        said += piece


def read_answer(client: socket.socket) -> bytes:
    """The body of one answer on a connection that stays open."""
    said = b""
    while True:
        said += client.recv(65_536)
        head, ended, body = said.partition(b"\r\n\r\n")
        if ended and len(body) >= int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]):
            assert head.startswith(b"HTTP/1.1 200")
            return body


def refusal_of(said: bytes) -> tuple[int, str]:
    """Status and sentence of an answer that must be one refusal, whole, and nothing else."""
    head, _, body = said.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert b"connection: close" in lines
    assert b"content-type: application/json" in lines
    assert b"content-length: %d" % len(body) in lines
    assert not any(line.startswith(b"server:") for line in lines)
    error = json.loads(body)
    assert error["error"].keys() == {"code", "msg"}
    assert error["error"]["code"] == 101
    return int(head.split()[1]), error["error"]["msg"]


# Shapes.

HOSTLESS = b"GET / HTTP/1.1\r\n"
NOT_HTTP = {
    "length and coding": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "same length twice": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "two lengths": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "list of lengths": POST + b"Content-Length: 3, 3\r\n\r\nabc",
    "signed length": POST + b"Content-Length: +3\r\n\r\nabc",
    "negative length": POST + b"Content-Length: -3\r\n\r\nabc",
    "hexadecimal length": POST + b"Content-Length: 0x3\r\n\r\nabc",
    "no length": POST + b"Content-Length:\r\n\r\nabc",
    "overflowing length": POST + b"Content-Length: 99999999999999999999\r\n\r\nabc",
    "two hosts": GET + b"Host: b\r\n\r\n",
    "same host twice": GET + b"Host: a\r\n\r\n",
    "no host": HOSTLESS + b"\r\n",
    "empty host": HOSTLESS + b"Host:\r\n\r\n",
    "host with path": HOSTLESS + b"Host: a/b\r\n\r\n",
    "host with user": HOSTLESS + b"Host: u@a\r\n\r\n",
    "host list": HOSTLESS + b"Host: a, b\r\n\r\n",
    "two hosts in 1.0": b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    "folded header": GET + b"X: a\r\n b\r\n\r\n",
    "folded with tab": GET + b"X: a\r\n\tb\r\n\r\n",
    "folded when empty": GET + b"X:\r\n b\r\n\r\n",
    "folded first": HOSTLESS + b" Host: a\r\n\r\n",
    "line feed after request line": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "line feed after header": GET + b"X: a\nY: b\r\n\r\n",
    "line feed at the end": GET + b"\n",
    "line feeds only": b"GET / HTTP/1.1\nHost: a\n\n",
    "bare carriage return": GET + b"X: a\rY: b\r\n\r\n",
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked, identity": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunked in 1.0": b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "blank before colon": GET + b"X : a\r\n\r\n",
    "blank before colon of length": POST + b"Content-Length : 3\r\n\r\nabc",
    "tab before colon": GET + b"X\t: a\r\n\r\n",
    "NUL in value": GET + b"X: a\0b\r\n\r\n",
    "NUL in name": GET + b"X\0: a\r\n\r\n",
    "NUL in target": b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "control in value": GET + b"X: a\x01b\r\n\r\n",
    "no colon": GET + b"Xa\r\n\r\n",
    "empty name": GET + b": a\r\n\r\n",
    "absolute target": b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "fragment": b"GET /#a HTTP/1.1\r\nHost: a\r\n\r\n",
    "star target": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "connect": b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "connect to path": b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
    "blank in target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "bytes in target": b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
    "unknown verb": b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n",
    "small verb": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "version 0.9": b"GET /\r\n\r\n",
    "version 1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "version 2": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "preface of 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "line feed in chunks": CHUNKED + b"3\nabc\n0\n\n",
    "line feed after chunk": CHUNKED + b"3\r\nabc\n0\r\n\r\n",
    "line feed in extension": CHUNKED + b"3;a\nabc\r\n0\r\n\r\n",
    "blank after chunk size": CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n",
    "prefixed chunk size": CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n",
    "overflowing chunk size": CHUNKED + b"fffffffffffffffff\r\n",
    "chunk longer than said": CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n",
    "trailer": CHUNKED + b"0\r\nX: y\r\n\r\n",
    "telling trailer": CHUNKED + b"0\r\nAuthorization: y\r\nX: z\r\n\r\n",
    "not HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}


@pytest.mark.parametrize("shape", NOT_HTTP)
def test_a_shape_that_can_be_read_in_two_ways_is_400_and_closed(town: Town, shape: str) -> None:
    said = town.exchange(NOT_HTTP[shape], GET + b"\r\n")
    assert refusal_of(said)[0] == 400
    assert seen == []


def test_shapes_are_refused_alike_when_they_arrive_byte_by_byte(town: Town) -> None:
    shapes = list(NOT_HTTP.items())
    refused: list[tuple[str, int]] = []

    def refuse() -> None:
        while shapes:
            shape, request = shapes.pop()
            said = town.exchange(*[request[place : place + 1] for place in range(len(request))])
            refused.append((shape, refusal_of(said)[0]))

    in_threads(8, refuse)
    assert sorted(refused) == sorted((shape, 400) for shape in NOT_HTTP)
    assert seen == []


@pytest.mark.parametrize(
    "request_bytes",
    [
        GET + b"\r\n",
        b"\r\n" + GET + b"\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET //a?b=%2B1;c[] HTTP/1.1\r\nHost: [::1]:8443\r\n\r\n",
        POST + b"Content-Length: 0\r\n\r\n",
        POST + b"Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
        CHUNKED + b"3;name=value\r\nabc\r\n0\r\n\r\n",
        GET + b"X: caf\xe9\tau lait\r\n\r\n",
    ],
)
def test_honest_shapes_pass(town: Town, request_bytes: bytes) -> None:
    assert town.exchange(request_bytes, LAST).startswith(b"HTTP/1.1 200")


# Sizes.


def test_sizes_are_refused_with_their_own_status(town: Town) -> None:
    number = limits.REQUEST_BODY_BYTES
    cases: dict[str, tuple[int, tuple[bytes, ...]]] = {
        "1 MB head": (431, (GET + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n",)),
        "1 MB head of many": (431, (GET + b"X: a\r\n" * 170_000 + b"\r\n",)),
        "endless head": (431, (GET + b"X: ", *[b"a" * 1000] * 40)),
        "head a little large": (
            431,
            (GET + b"".join(b"X: %s\r\n" % (b"a" * 990) for _ in range(17)) + b"\r\n",),
        ),
        "2,000 headers": (431, (GET + b"X: a\r\n" * 2_000 + b"\r\n",)),
        "65 headers": (431, (GET + b"X: a\r\n" * 64 + b"\r\n",)),
        "endless blank lines": (431, (b"\r\n" * 20_000,)),
        "long URL": (414, (b"GET /" + b"a" * 8_192 + b" HTTP/1.1\r\nHost: a\r\n\r\n",)),
        "1 MB URL": (414, (b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",)),
        "body with length": (413, (POST + b"Content-Length: %d\r\n\r\n" % (number + 1),)),
        "100 MB with length": (413, (POST + b"Content-Length: 100000000\r\n\r\n", *[b"a" * 65_536] * 1_500)),
        "100 MB in chunks": (413, (CHUNKED, *[b"10000\r\n" + b"a" * 65_536 + b"\r\n"] * 1_500)),
        "one huge chunk": (413, (CHUNKED, b"7ffffff\r\n", *[b"a" * 65_536] * 20)),
        "chunk extensions": (413, (CHUNKED, b"1;", *[b"a" * 65_536] * 10)),
        "tiny chunks": (413, (CHUNKED, *[b"1\r\na\r\n" * 1_000] * 30)),
    }
    for name, (status, pieces) in cases.items():
        began = time.monotonic()
        said = town.exchange(*pieces)
        assert refusal_of(said)[0] == status, name
        assert time.monotonic() - began < 2, name
    assert seen == []
    town.honest()


def test_what_was_refused_is_not_kept(town: Town) -> None:
    kilobytes = 1_200 * (b"400\r\n" + b"a" * 1_024 + b"\r\n")
    assert refusal_of(town.exchange(CHUNKED, kilobytes))[0] == 413
    before = resident_bytes()
    for _ in range(60):
        assert refusal_of(town.exchange(CHUNKED, kilobytes))[0] == 413
    assert resident_bytes() - before < 20_000_000


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_what_just_fits_is_served(town: Town) -> None:
    body = b"a" * limits.REQUEST_BODY_BYTES
    head = POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert town.exchange(head, body).endswith(b'["/", 1048576]')
    chunks = b"".join(b"1000\r\n" + body[:4096] + b"\r\n" for _ in range(256)) + b"0\r\n\r\n"
    head = POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert town.exchange(head + chunks).endswith(b'["/", 1048576]')
    url = b"/" + b"a" * (limits.URL_BYTES - 1)
    assert b" 200 " in town.exchange(b"GET " + url + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert b" 200 " in town.exchange(GET + b"X: a\r\n" * 62 + b"Connection: close\r\n\r\n")


# Time.


def trickle(town: Town, first: bytes, each: bytes, pause_seconds: float = 0.1) -> tuple[bytes, float]:
    """Keep sending a little; what was said and after how many seconds the connection ended."""
    client = town.connect()
    began = time.monotonic()
    client.sendall(first)
    client.settimeout(pause_seconds)
    said = b""
    while time.monotonic() - began < 6:
        try:
            if not (piece := client.recv(4096)):
                return said, time.monotonic() - began
            said += piece
        except TimeoutError:
            try:
                client.sendall(each)
            except OSError:
                client.settimeout(2)
                return said + read_all(client), time.monotonic() - began
        except OSError:
            return said, time.monotonic() - began
    raise AssertionError(f"still open after 6 s, having said {said!r}")


def in_threads(count: int, work: Callable[[], Any]) -> list[Any]:
    done: list[Any] = []
    threads = [threading.Thread(target=lambda: done.append(work())) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done


def test_a_hundred_trickling_heads_are_cut_while_honest_requests_succeed(town: Town) -> None:
    stopped = threading.Event()
    served: list[float] = []

    def honest() -> None:
        while not stopped.is_set():
            began = time.monotonic()
            town.honest()
            served.append(time.monotonic() - began)

    with_honest = threading.Thread(target=honest)
    with_honest.start()
    ended = in_threads(100, lambda: trickle(town, GET, b"X: a\r\n"))
    stopped.set()
    with_honest.join()
    assert len(ended) == 100
    for said, seconds in ended:
        assert refusal_of(said)[0] == 408
        assert seconds < Quick.head_seconds + 1
    assert len(served) > 10
    assert max(served) < 1.5


def test_slow_bodies_are_cut(town: Town) -> None:
    with_length = POST + b"Content-Length: 1000\r\n\r\n"
    ended = in_threads(20, lambda: trickle(town, with_length, b"a"))
    ended += in_threads(20, lambda: trickle(town, CHUNKED, b"1\r\na\r\n"))
    assert len(ended) == 40
    for said, seconds in ended:
        assert refusal_of(said)[0] == 408
        assert Quick.head_seconds < seconds < Quick.body_seconds + 1
    assert seen == []


def test_a_body_may_take_longer_than_a_head(town: Town) -> None:
    client = town.connect()
    client.sendall(POST + b"Connection: close\r\nContent-Length: 3\r\n\r\na")
    time.sleep(Quick.head_seconds + 0.2)
    client.sendall(b"bc")
    assert read_all(client).endswith(b'["/", 3]')


@pytest.mark.parametrize("first", [b"", b"\r\n", b"G", GET, GET + b"\r\n" + GET])
def test_a_connection_that_falls_silent_is_closed(town: Town, first: bytes) -> None:
    client = town.connect()
    began = time.monotonic()
    if first:
        client.sendall(first)
    said = read_all(client)
    assert time.monotonic() - began < Quick.head_seconds + 1
    if first:
        assert refusal_of(said[said.rindex(b"HTTP/1.1") :])[0] == 408
    else:
        assert said == b""


def test_an_idle_connection_is_kept_for_uvicorns_own_time(town: Town) -> None:
    client = town.connect()
    client.sendall(GET + b"\r\n")
    assert read_answer(client) == b'["/", 0]'
    time.sleep(Quick.head_seconds + 0.2)
    client.sendall(GET + b"\r\n")
    assert read_answer(client) == b'["/", 0]'
    began = time.monotonic()
    assert read_all(client) == b""
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("ending", [b"\r\n", b"Connection: close\r\n\r\n"])
def test_a_reader_that_does_not_read_is_cut_off(town: Town, ending: bytes) -> None:
    client = town.connect(receive_bytes=4096)
    client.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n" + ending)
    wait_until(lambda: seen == [("/large", 0)])
    assert town.connections() == 1
    wait_until(lambda: town.connections() == 0, seconds=Quick.drain_seconds + 5)


def test_a_reader_that_reads_slowly_but_steadily_is_served(town: Town) -> None:
    client = town.connect()
    client.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    size = 0
    began = time.monotonic()
    while piece := client.recv(2**18):
        size += len(piece)
        time.sleep(1.5 * len(piece) / 2**25)
    assert size > 2**25
    assert time.monotonic() - began > 2 * Quick.drain_seconds


# What must go on working.


def test_many_requests_on_one_connection(town: Town) -> None:
    client = town.connect()
    for size in range(20):
        client.sendall(POST + b"Content-Length: %d\r\n\r\n" % size)
        client.sendall(b"a" * size)
        assert read_answer(client) == b'["/", %d]' % size


def test_pipelined_requests_are_answered_in_order(town: Town) -> None:
    requests = [
        b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab" % number for number in range(30)
    ]
    whole = b"".join(requests) + LAST
    expected = [b'["/%d", 2]' % number for number in range(30)] + [b'["/last", 0]']
    for pieces in (
        [whole],
        [whole[:777], whole[777:]],
        [whole[at : at + 50] for at in range(0, len(whole), 50)],
    ):
        said = town.exchange(*pieces)
        assert [part.partition(b"\r\n\r\n")[2] for part in said.split(b"HTTP/1.1 200 OK")[1:]] == expected


def test_an_endless_pipeline_is_refused_behind_its_answers(town: Town) -> None:
    said = town.exchange((GET + b"\r\n") * 2_000)
    assert said.count(b"HTTP/1.1 200 OK") == limits.PIPELINED_REQUESTS + 1
    assert refusal_of(said[said.rindex(b"HTTP/1.1 400") :])[0] == 400


def test_a_refusal_waits_for_the_answers_still_owed(town: Town) -> None:
    slow = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
    bad = [b"rubbish\r\n\r\n", POST + b"Content-Length: 9999999\r\n\r\n", GET]
    for said in in_threads(3, lambda: town.exchange(slow + slow, bad.pop())):
        assert said.count(b'["/slow", 0]') == 2
        last = said[said.rindex(b"HTTP/1.1") :]
        assert refusal_of(last)[0] in (400, 408, 413)
        assert said.index(b'["/slow", 0]') < said.index(last)


def test_time_does_not_run_while_the_server_itself_does_not_read(town: Town) -> None:
    slow = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
    client = town.connect()
    client.sendall(slow + slow + LAST[:20])  # the second waits for the first, the third is cut short
    time.sleep(Quick.head_seconds + 0.9)
    client.sendall(LAST[20:])
    said = read_all(client)
    assert said.count(b'["/slow", 0]') == 2
    assert said.endswith(b'["/last", 0]')


def test_continue_is_said_once_and_only_to_a_good_head(town: Town) -> None:
    client = town.connect()
    client.sendall(POST + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: 2\r\n\r\n")
    assert client.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.sendall(b"ab")
    said = read_all(client)
    assert said.startswith(b"HTTP/1.1 200")
    assert said.endswith(b'["/", 2]')
    said = town.exchange(POST + b"Expect: 100-continue\r\nContent-Length: 20000000\r\n\r\n")
    assert refusal_of(said)[0] == 413


@pytest.mark.parametrize("cut", [1, 20, 90, 10_000])
def test_an_offer_to_upgrade_is_ignored_and_costs_no_body(town: Town, cut: int) -> None:
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
    request = POST + offer + b"Content-Length: 3\r\n\r\nabc"
    request += POST + offer + b"Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"
    request += GET + b"Connection: upgrade, close\r\nUpgrade: websocket\r\n\r\n"
    said = town.exchange(request[:cut], request[cut:])
    assert [part.partition(b"\r\n\r\n")[2] for part in said.split(b"HTTP/1.1 200 OK")[1:]] == [
        b'["/", 3]',
        b'["/", 4]',
        b'["/", 0]',
    ]


def test_the_application_sees_only_whole_requests(town: Town) -> None:
    client = town.connect()
    client.sendall(POST + b"Content-Length: 10\r\n\r\n12345")
    client.close()
    town.honest()
    assert seen == [("/last", 0)]


def test_no_timer_outlives_its_connection(town: Town) -> None:
    """A protocol is garbage as soon as its connection is lost; a pending timer would hold it."""
    import gc
    import weakref

    kept: list[weakref.ref[Any]] = []
    for request in (b"", b"G", GET, GET + b"\r\n", POST + b"Content-Length: 5\r\n\r\na", b"rubbish\r\n\r\n"):
        client = town.connect()
        if request:
            client.sendall(request)
        wait_until(lambda: town.connections() > 0)
        time.sleep(0.05)
        kept += [weakref.ref(connection) for connection in list(town.server.server_state.connections)]
        client.close()
        wait_until(lambda: town.connections() == 0)
        time.sleep(0.05)
    town.honest()
    gc.collect()
    assert len(kept) == 6
    assert [ref for ref in kept if ref() is not None] == []


def test_refusals_do_not_fill_the_log(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        for request in (b"rubbish\r\n\r\n", GET + b"Host: b\r\n\r\n"):
            town.exchange(request)
    assert caplog.records == []
