"""The short way to the API against the long one: the same requests seen, the same bytes answered."""

import asyncio
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn

from numberline.api.codec import RawAnswer, RawRequest
from numberline.domain import limits
from numberline.doors.http.api_door import ApiDoor, Split, is_api_path
from numberline.doors.http.guard import GuardedProtocol

HOST = b"Host: a\r\n"
LARGE = b"x" * 2**23
CLOSE = b"Connection: close\r\n"
LAST = b"GET /platform_api/Last HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n"


class Office:
    """A dispatcher that remembers what it was asked, and does what the command says."""

    def __init__(self) -> None:
        self.asked: list[RawRequest] = []
        self.done: list[str | None] = []

    async def answer(self, request: RawRequest) -> RawAnswer:
        self.asked.append(request)
        if request.command == "Slow":
            async with asyncio.timeout(5):  # works in tasks only
                await asyncio.sleep(0.3)
        if request.command == "Broken":
            raise RuntimeError("broken")
        self.done.append(request.command)
        if request.command == "Large":
            return RawAnswer(status=200, body=LARGE)
        if request.command == "Text":
            return RawAnswer(status=503, body=b"later", content_type="text/plain; charset=utf-8")
        return RawAnswer(status=200, body=b'{"result":1}', method=request.command)


class OnlyShort(ApiDoor):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("came the long way")


class Quick(GuardedProtocol):
    head_seconds = 0.6
    drain_seconds = 0.5
    linger_seconds = 0.1


class Town:
    """A running server."""

    def __init__(self, is_short: bool, *, behind_proxies: bool = False) -> None:
        self.office = Office()
        split = Split((OnlyShort if is_short else ApiDoor)(self.office), pages)

        async def wrapped(scope: Any, receive: Any, send: Any) -> None:
            await split(scope, receive, send)

        listener = socket.create_server(("127.0.0.1", 0))
        self.address = listener.getsockname()
        self.server = uvicorn.Server(
            uvicorn.Config(
                split if is_short else wrapped,
                http=Quick,
                ws="none",
                loop="numberline.doors.http.server:Loop",
                lifespan="off",
                interface="asgi3",
                access_log=False,
                proxy_headers=behind_proxies,
                server_header=False,
                headers=[("X-Extra", "1")],
                log_config=None,
                log_level="critical",
                timeout_keep_alive=1,
                timeout_graceful_shutdown=3,
            )
        )
        self.thread = threading.Thread(target=self.server.run, args=([listener],))
        self.thread.start()
        wait_until(lambda: self.server.started)

    def connect(self) -> socket.socket:
        client = socket.create_connection(self.address, timeout=8)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def exchange(self, *pieces: bytes) -> bytes:
        with self.connect() as client:
            for piece in pieces:
                client.sendall(piece)
                time.sleep(0.02 if len(pieces) > 1 else 0)
            return read_all(client)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(15)
        assert not self.thread.is_alive()


async def pages(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"page"})


def wait_until(is_so: Callable[[], bool], seconds: float = 8) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def read_all(client: socket.socket) -> bytes:
    said = b""
    while piece := client.recv(65_536):
        said += piece
    return said


@pytest.fixture(scope="module")
def short() -> Iterator[Town]:
    town = Town(is_short=True)
    yield town
    town.stop()


@pytest.fixture(scope="module")
def long() -> Iterator[Town]:
    town = Town(is_short=False)
    yield town
    town.stop()


@pytest.fixture(params=["short", "long"])
def town(request: pytest.FixtureRequest) -> Town:
    chosen: Town = request.getfixturevalue(request.param)
    return chosen


def ask(line: bytes, headers: bytes = b"", body: bytes = b"", version: bytes = b"1.1") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    return line + b" HTTP/" + version + b"\r\n" + HOST + headers + length + b"\r\n" + body


API = b"/platform_api"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
CORPUS = {
    "get": ask(b"GET " + API + b"/GetRegions?country_code=US&a=%20b+c", CLOSE),
    "command as a parameter": ask(b"GET " + API + b"?cmd=GetRegions", CLOSE),
    "command in the body": ask(b"POST " + API + b"/", FORM + CLOSE, b"cmd=GetRegions&a=1"),
    "question marks": ask(b"GET " + API + b"/A??b=?&c=//", CLOSE),
    "empty query": ask(b"GET " + API + b"/A?", CLOSE),
    "slash behind": ask(b"GET " + API + b"/A/", CLOSE),
    "slashes": ask(b"GET " + API + b"//A//", CLOSE),
    "escapes": ask(b"GET /platform%5Fapi/Get%52egions%C3%A9", CLOSE),
    "an escaped slash": ask(b"GET " + API + b"/a%2Fb", CLOSE),
    "a bad escape": ask(b"GET " + API + b"/a%zz%ff", CLOSE),
    "post": ask(b"POST " + API + b"/A", b"Content-Type: application/json\r\n" + CLOSE, b'{"a":1}'),
    "two content types": ask(b"POST " + API + b"/A", FORM + b"content-TYPE: text/\xe9\r\n" + CLOSE, b"a=1"),
    "credentials": ask(
        b"POST " + API + b"/A",
        b"AUTHORIZATION: Bearer a\r\nauthorization: Bearer b\r\nIdempotency-Key: k\r\nidempotency-key: l\r\nX: y\r\n"
        + CLOSE,
        b"a=1",
    ),
    "chunked": ask(b"POST " + API + b"/A", b"Transfer-Encoding: chunked\r\n" + CLOSE)
    + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    "head": ask(b"HEAD " + API + b"/A", CLOSE),
    "put": ask(b"PUT " + API + b"/A", CLOSE, b"a=1"),
    "delete": ask(b"DELETE " + API, CLOSE),
    "options": ask(b"OPTIONS " + API + b"/A", CLOSE),
    "deeper": ask(b"GET " + API + b"/a/b", CLOSE),
    "deeper put": ask(b"PUT " + API + b"/a/b", CLOSE),
    "nearly the path": ask(b"GET /platform_apix", CLOSE),
    "a page": ask(b"GET /healthz?x", CLOSE),
    "another content type": ask(b"GET " + API + b"/Text", CLOSE),
    "a defect": ask(b"GET " + API + b"/Broken"),
    "a defect between others": ask(b"GET " + API + b"/A") + ask(b"GET " + API + b"/Broken") + LAST,
    "large": ask(b"GET " + API + b"/Large", CLOSE),
    "1.0": ask(b"GET " + API + b"/A", version=b"1.0"),
    "1.0 with keep-alive": ask(b"GET " + API + b"/A", b"Connection: keep-alive\r\n", version=b"1.0"),
    "1.0 without a host": b"GET " + API + b"/A HTTP/1.0\r\n\r\n",
    "keep-alive until the timer": ask(b"GET " + API + b"/A"),
    "pipelined": ask(b"GET " + API + b"/A?n=1") * 3 + LAST,
    "pipelined behind a slow one": ask(b"GET " + API + b"/Slow")
    + ask(b"GET /page")
    + ask(b"GET " + API)
    + LAST,
    "pipelined behind a close": LAST * 3,
    "a page between": ask(b"GET /page") + ask(b"POST " + API + b"/A", b"", b"a=1") + ask(b"GET /page") + LAST,
    "too many pipelined": ask(b"GET " + API + b"/Slow") + LAST * (limits.PIPELINED_REQUESTS + 1),
    "continue": ask(b"POST " + API + b"/A", b"Expect: 100-continue\r\n" + CLOSE, b"abc"),
    "an offer to upgrade": ask(b"POST " + API + b"/A", b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"a=1")
    + LAST,
    "refused behind an answer": ask(b"GET " + API + b"/Slow") + b"GET / HTTP/1.1\r\n\r\n",
    "trailers": ask(b"POST " + API + b"/A", b"Transfer-Encoding: chunked\r\n")
    + b"0\r\nExpect: 100-continue\r\n\r\n",
}


@pytest.mark.parametrize("shape", CORPUS)
def test_both_ways_see_and_say_the_same(short: Town, long: Town, shape: str) -> None:
    said: list[bytes] = []
    for town in (short, long):
        town.office.asked.clear()
        answer = town.exchange(CORPUS[shape])
        assert answer.startswith(b"HTTP/1.1 ")
        said.append(re.sub(rb"\r\ndate: [^\r]+", b"\r\ndate: now", answer))
    assert said[0] == said[1]
    assert short.office.asked == long.office.asked


def test_both_ways_take_requests_in_pieces(short: Town, long: Town) -> None:
    whole = ask(b"POST /platform_api/A?b=c", FORM, b"a=1&b=2") + LAST
    pieces = [whole[at : at + 7] for at in range(0, len(whole), 7)]
    said = [re.sub(rb"\r\ndate: [^\r]+", b"", town.exchange(*pieces)) for town in (short, long)]
    assert said[0] == said[1]
    assert said[0].count(b"HTTP/1.1 200 OK") == 2


def test_many_requests_on_one_connection(town: Town) -> None:
    before = town.server.server_state.total_requests
    with town.connect() as client:
        for _ in range(200):
            client.sendall(ask(b"GET /platform_api/A"))
            assert client.recv(65_536).endswith(b'{"result":1}')
        client.sendall(LAST)
        assert b"\r\nconnection: close\r\n" in read_all(client)
    assert town.server.server_state.total_requests == before + 201
    wait_until(lambda: not town.server.server_state.tasks)


def test_a_client_that_leaves_stops_nothing(town: Town) -> None:
    town.office.asked.clear()
    town.office.done.clear()
    with town.connect() as client:
        client.sendall(ask(b"GET /platform_api/Slow") + ask(b"GET /platform_api/Never"))
        wait_until(lambda: bool(town.office.asked))
    wait_until(lambda: bool(town.office.done))
    wait_until(lambda: not town.server.server_state.tasks)
    assert town.office.done == ["Slow"]


def test_a_reader_that_reads_late_gets_everything(town: Town) -> None:
    with town.connect() as client:
        client.sendall(ask(b"GET /platform_api/Large") * 2 + LAST)
        time.sleep(0.2)
        said = read_all(client)
    assert said.count(LARGE) == 2
    assert said.endswith(b'{"result":1}')


def test_a_connection_keeps_no_body(short: Town) -> None:
    with short.connect() as client:
        client.sendall(ask(b"POST /platform_api/A", b"", b"a" * 100_000))
        assert client.recv(65_536).endswith(b'{"result":1}')
        connection: Any
        (connection,) = short.server.server_state.connections
        wait_until(lambda: connection.cycle._protocol is None)
        assert connection.cycle._body == connection._body == b""


def test_behind_trusted_proxies_the_way_is_as_short() -> None:
    """Who called is told to the pages; the API does not ask."""
    town = Town(is_short=True, behind_proxies=True)
    said = town.exchange(LAST.replace(CLOSE, CLOSE + b"X-Forwarded-For: 203.0.113.9\r\n"))
    assert said.startswith(b"HTTP/1.1 200 OK")
    assert said.endswith(b'{"result":1}')
    town.stop()


@pytest.mark.parametrize("is_short", [True, False])
def test_a_stop_waits_for_what_is_under_way(is_short: bool) -> None:
    town = Town(is_short)
    with town.connect() as client:
        client.sendall(ask(b"GET /platform_api/Slow"))
        wait_until(lambda: bool(town.office.asked))
        town.stop()
        said = read_all(client)
    assert said.endswith(b'{"result":1}')
    assert b"\r\nconnection: close\r\n" in said


def test_what_is_the_apis_path() -> None:
    paths = ["/platform_api", "/platform_api/", "/platform_api/A", "/platform_apix", "/platform_ap", "/", ""]
    assert [is_api_path(path) for path in paths] == [True, True, True, False, False, False, False]
