"""The short way to the API against the long one: the same requests seen, the same bytes answered."""

import asyncio
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import uvicorn

from numberline.api.codec import RawAnswer, RawRequest
from numberline.api.dispatch import Reply
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
        self.recalled: list[bool] = []

    def begin(self, request: RawRequest, reply: Reply) -> bool:
        """Answers in the next turn of the loop what asks for it, as a desk would."""
        if request.command == "Stuck":
            self.asked.append(request)
            return True
        if request.command not in ("Soon", "Anew"):
            return False
        answer = RawAnswer(status=200, body=b'{"result":1}', method=request.command)
        tell = reply.start_over if request.command == "Anew" else partial(reply.take, answer)
        if request.command == "Soon":
            self.asked.append(request)
            self.done.append(request.command)
        asyncio.get_running_loop().call_soon(tell)
        return True

    async def answer(self, request: RawRequest, *, may_recall: bool = True) -> RawAnswer:
        self.asked.append(request)
        self.recalled.append(may_recall)
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


def read_answers(client: socket.socket, count: int) -> bytes:
    """Read until so many answers are there, or the end."""
    said = b""
    while said.count(b"HTTP/1.1 2") + said.count(b"HTTP/1.1 4") + said.count(b"HTTP/1.1 5") < count:
        piece = client.recv(65_536)
        if not piece:
            break
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


def bearing(
    token: bytes, line: bytes = b"POST " + API + b"/A?n=1", headers: bytes = b"", body: bytes = b"{}"
) -> bytes:
    return ask(line, b"Authorization: Bearer " + token + b"\r\n" + headers, body)


# Each is sent once the one before has been answered, so that the head of the first is known when the second comes.
SERIES = {
    "another token": [bearing(b"a.b.c"), bearing(b"d-_.e.f")],
    "another method": [bearing(b"a"), bearing(b"a", b"POST " + API + b"/B")],
    "another query": [bearing(b"a"), bearing(b"a", b"POST " + API + b"/A?x=%5B1%5D&y=a+b&z=;/?:@")],
    "no query": [
        bearing(b"a"),
        bearing(b"a", b"POST " + API + b"/A"),
        bearing(b"a", b"POST " + API + b"/A?"),
    ],
    "no command": [
        bearing(b"a"),
        bearing(b"a", b"POST " + API + b"/?cmd=A"),
        bearing(b"a", b"POST " + API + b"?cmd=A"),
    ],
    "escaped commands": [
        bearing(b"a"),
        bearing(b"a", b"POST " + API + b"/%41"),
        bearing(b"a", b"POST " + API + b"/a%2fb"),
    ],
    "deeper": [bearing(b"a"), bearing(b"a", b"POST " + API + b"/A/B")],
    "other verbs": [
        bearing(b"a", verb + API + b"/A") for verb in (b"GET ", b"POST ", b"HEAD ", b"PUT ", b"GET ")
    ],
    "a body of the same length": [bearing(b"a"), bearing(b"a", body=b"[]")],
    "a longer body": [bearing(b"a"), bearing(b"a", body=b"{} ")],
    "another header": [bearing(b"a"), bearing(b"a", headers=b"Idempotency-Key: k\r\n"), bearing(b"a")],
    "the same key": [bearing(b"a", headers=b"Idempotency-Key: k\r\n")] * 3,
    "no credentials": [bearing(b"a"), ask(b"POST " + API + b"/A", b"", b"{}"), bearing(b"b")],
    "another scheme": [
        bearing(b"a"),
        bearing(b"a").replace(b"Bearer", b"bearer"),
        bearing(b"a").replace(b"Bearer", b"Basic"),
    ],
    "two tokens": [
        bearing(b"a"),
        bearing(b"a\r\nAuthorization: Bearer b"),
        bearing(b"a\r\nX-Authorization: Bearer b"),
    ],
    "a header that is nearly the one": [bearing(b"a").replace(b"Authorization", b"X-Authorization")] * 2,
    "a token that is none": [
        bearing(b"a"),
        bearing(b"a b"),
        bearing(b" a"),
        bearing(b"a "),
        bearing(b"a\xe9"),
        bearing(b""),
    ],
    "a request in a token": [bearing(b"a"), bearing(b"a\r\nContent-Length: 2\r\n\r\n{}" + LAST)],
    "a line in a token": [bearing(b"a"), bearing(b"a\nX: y")],
    "a line in a query": [bearing(b"a"), bearing(b"a", b"POST " + API + b"/A?a HTTP/1.1\r\nX: y")],
    "marks in a query": [
        bearing(b"a"),
        bearing(b"a", b"POST " + API + b'/A?"<>^`{|}\\'),
        bearing(b"a", b"POST " + API + b"/A?#"),
    ],
    "1.0": [bearing(b"a"), bearing(b"a").replace(b"HTTP/1.1", b"HTTP/1.0")],
    "two in one block": [bearing(b"a"), bearing(b"b") * 2, bearing(b"c") + ask(b"GET /page")],
    "a close": [bearing(b"a"), bearing(b"a", headers=CLOSE)],
    "chunks": [
        bearing(b"a"),
        bearing(b"a", headers=b"Transfer-Encoding: chunked\r\n", body=b"").replace(
            b"\r\n\r\n", b"\r\n\r\n0\r\n\r\n"
        ),
    ]
    * 2,
    "continue": [bearing(b"a", headers=b"Expect: 100-continue\r\n")] * 2,
    "upgrade": [bearing(b"a", headers=b"Connection: upgrade\r\nUpgrade: h2c\r\n")] * 2,
    "pages between": [bearing(b"a"), ask(b"GET /page"), bearing(b"b"), ask(b"GET /page")],
    "a defect": [bearing(b"a"), bearing(b"a", b"POST " + API + b"/Broken")],
    "long": [bearing(b"a"), bearing(b"a", b"POST " + API + b"/A?" + b"x" * limits.URL_BYTES)],
    "ever another head": [bearing(b"a", headers=b"X: %d\r\n" % place) for place in range(12)]
    + [bearing(b"a")] * 2,
}


@pytest.mark.parametrize("name", SERIES)
def test_both_ways_see_and_say_the_same_of_one_after_the_other(short: Town, long: Town, name: str) -> None:
    said: list[bytes] = []
    for town in (short, long):
        town.office.asked.clear()
        answers = b""
        with town.connect() as client:
            for block in SERIES[name]:
                client.sendall(block)
                answers += read_answers(client, 1)
            if b"connection: close" not in answers and CLOSE not in block:
                client.sendall(LAST)
            answers += read_all(client)
        said.append(re.sub(rb"\r\ndate: [^\r]+", b"\r\ndate: now", answers))
    assert said[0] == said[1]
    assert short.office.asked == long.office.asked


def test_a_known_head_is_not_parsed_again(short: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[int] = []
    complete = Quick.on_message_complete

    def count_and_complete(self: Quick) -> None:
        parsed.append(1)
        complete(self)

    monkeypatch.setattr(Quick, "on_message_complete", count_and_complete)
    with short.connect() as client:
        for block in [bearing(b"a"), bearing(b"b", b"POST " + API + b"/B?x"), bearing(b"c"), LAST]:
            client.sendall(block)
            read_answers(client, 1)
    assert len(parsed) == 2, "the first and the last"


def test_what_is_answered_without_a_task_is_answered_like_all_else(short: Town) -> None:
    short.office.recalled.clear()
    heads, after = [], b"\r\n\r\n" + b'{"result":1}'
    for command in (b"Soon", b"A", b"Anew"):
        with short.connect() as client:
            client.sendall(
                ask(b"GET " + API + b"/" + command) * 2 + ask(b"HEAD " + API + b"/" + command, CLOSE)
            )
            said = read_all(client)
            assert said.count(after) == 2
            heads.append(re.sub(rb"\r\ndate: [^\r]+", b"", said))
    assert heads[0] == heads[1] == heads[2]
    assert short.office.recalled == [True] * 2 + [False] * 2, "who starts over is asked for"
    wait_until(lambda: not short.server.server_state.tasks)


def test_who_left_before_the_answer_came_disturbs_nobody(short: Town) -> None:
    short.office.done.clear()
    with short.connect() as client:
        client.sendall(ask(b"GET " + API + b"/Soon") + ask(b"GET " + API + b"/Soon"))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_until(lambda: bool(short.office.done))
    assert short.exchange(LAST).endswith(b'{"result":1}')


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
        assert connection.cycle._asked.body == connection._body == connection._block == b""


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


@pytest.mark.parametrize("leaves", [False, True])
def test_a_stop_waits_no_longer_for_what_was_handed_in_than_for_a_task(leaves: bool) -> None:
    town = Town(is_short=True)
    with town.connect() as client:
        client.sendall(ask(b"GET " + API + b"/Stuck"))
        wait_until(lambda: bool(town.office.asked))
        assert len(town.server.server_state.tasks) == 1
        if leaves:
            client.close()
        began_at = time.monotonic()
        town.stop()
        assert 2.5 < time.monotonic() - began_at < 8, "for as long as uvicorn is told to be graceful"
        said = b"" if leaves else read_all(client)
    assert said.startswith(b"" if leaves else b"HTTP/1.1 500 ")
    assert not town.server.server_state.tasks


def test_what_is_the_apis_path() -> None:
    paths = ["/platform_api", "/platform_api/", "/platform_api/A", "/platform_apix", "/platform_ap", "/", ""]
    assert [is_api_path(path) for path in paths] == [True, True, True, False, False, False, False]
