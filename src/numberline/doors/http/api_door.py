"""The API behind HTTP: one door with two ways in, whose answers are the same to the byte.

The short way serves nearly all traffic. The guard holds a request back until it is whole, so nothing is left to be
received piece by piece, and an answer is one block of bytes: ASGI's scope, messages and checks would be most of what
such a request costs. The long way is ASGI: for tests, and for whatever stands between the server and the door.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterable
from typing import Any, Final, Protocol, cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from numberline.api.codec import RawAnswer, RawRequest
from numberline.api.dispatch import Reply
from numberline.api.render import render_error
from numberline.domain import limits
from numberline.domain.errors import INVALID_ARGUMENTS, UNKNOWN_COMMAND, Refusal
from numberline.doors.http import telemetry

log = logging.getLogger(__name__)

API_PATH: Final = "/platform_api"
# The headers that the door reads. Whoever calls `ApiDoor.answer` may leave out all others.
TELLING_HEADERS: Final = frozenset({b"content-type", b"authorization", b"idempotency-key"})

# What uvicorn says when an application fails.
_DEFECT: Final = b"Internal Server Error"
_DEFECT_HEADERS: Final = (
    (b"content-type", b"text/plain; charset=utf-8"),
    (b"content-length", b"%d" % len(_DEFECT)),
    (b"connection", b"close"),
)


class Answerer(Protocol):
    """What stands behind the door: the dispatcher."""

    async def answer(self, request: RawRequest, *, may_recall: bool = True) -> RawAnswer:
        """Answer one request; raises nothing but a cancellation."""

    def begin(self, request: RawRequest, reply: Reply) -> bool:
        """Have a request answered without waiting for anything here; False if it wants to be answered."""


class _Gone(Exception):
    """The client left before its request was complete."""


def is_api_path(path: str) -> bool:
    """Whether a path, with its escapes resolved, is the API's or below it."""
    return path.startswith(API_PATH) and path[len(API_PATH) :][:1] in ("", "/")


class ApiDoor:
    """The API as an ASGI application. Every answer is JSON, also those with a status other than 200."""

    def __init__(self, dispatcher: Answerer) -> None:
        self._dispatcher: Final = dispatcher
        self._head_defaults: object = None
        self._heads: Final[dict[tuple[int, str, bool], tuple[bytes, bytes]]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request below the API's path, the long way."""
        try:
            body = await _read_body(receive)
        except _Gone:
            return
        began_at = time.perf_counter()
        asked = read_request(scope["method"], scope["path"], scope["query_string"], scope["headers"], body)
        answer = await self.answer(asked)
        seconds = time.perf_counter() - began_at
        telemetry.count_request(answer.method or telemetry.UNKNOWN_METHOD, answer.code, seconds)
        headers = _headers_of(answer, b"%d" % len(answer.body))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def answer(self, asked: RawRequest | RawAnswer, *, may_recall: bool = True) -> RawAnswer:
        """Answer what `read_request` has made of a request."""
        if isinstance(asked, RawAnswer):
            return asked
        return await self._dispatcher.answer(asked, may_recall=may_recall)

    def begin(self, asked: RawRequest | RawAnswer, reply: Reply) -> bool:
        """Have it answered without waiting for anything here; False if it wants to be answered."""
        return isinstance(asked, RawRequest) and self._dispatcher.begin(asked, reply)

    def write_head(self, answer: RawAnswer, defaults: list[tuple[bytes, bytes]], keep_alive: bool) -> bytes:
        """The head of an answer as uvicorn would write it; ``defaults`` are the server's own headers."""
        if defaults is not self._head_defaults:
            # uvicorn makes a new list every second, for the date in it.
            self._heads.clear()
            self._head_defaults = defaults
        key = answer.status, answer.content_type, keep_alive
        around_length = self._heads.get(key)
        if around_length is None:
            headers = [*defaults, *_headers_of(answer, b"\0")]
            if not keep_alive:
                headers.append((b"connection", b"close"))
            before, _, after = _write_lines(answer.status, headers).partition(b"\0")
            around_length = self._heads[key] = before, after
        return b"%b%d%b" % (around_length[0], len(answer.body), around_length[1])


def _headers_of(answer: RawAnswer, length: bytes) -> list[tuple[bytes, bytes]]:
    headers = [
        (b"content-type", answer.content_type.encode("ascii")),
        (b"content-length", length),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if answer.status == 405:
        headers.append((b"allow", b"GET, POST"))
    return headers


def _write_lines(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    lines = b"".join(name.lower() + b": " + value + b"\r\n" for name, value in headers)
    return STATUS_LINE[status] + lines + b"\r\n"


def read_request(
    method: str, path: str, query: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes | None
) -> RawRequest | RawAnswer:
    """What the API is asked, or the answer to what is nothing that it could be asked; a body too large to be read is None."""
    return _refuse(method, path, body) or _to_request(path, query, headers, body or b"")


def _refuse(method: str, path: str, body: bytes | None) -> RawAnswer | None:
    if "/" in path[len(API_PATH) :].strip("/"):
        return _answer_refusal(404, Refusal(UNKNOWN_COMMAND))
    if method not in ("GET", "POST"):
        return _answer_refusal(405, Refusal(INVALID_ARGUMENTS, reason="only GET and POST are served"))
    if body is None:
        reason = f"the body is larger than {limits.REQUEST_BODY_BYTES} bytes"
        return _answer_refusal(413, Refusal(INVALID_ARGUMENTS, reason=reason))
    return None


def _answer_refusal(status: int, refusal: Refusal) -> RawAnswer:
    return RawAnswer(status=status, body=render_error(refusal, None), code=refusal.kind.code)


def _to_request(path: str, query: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> RawRequest:
    content_type = ""
    authorization: tuple[str, ...] = ()
    idempotency_key: tuple[str, ...] = ()
    for name, value in headers:
        if name == b"content-type":
            content_type = value.decode("latin-1")
        elif name == b"authorization":
            authorization += (value.decode("latin-1"),)
        elif name == b"idempotency-key":
            idempotency_key += (value.decode("latin-1"),)
    return RawRequest(
        command=path[len(API_PATH) :].strip("/") or None,
        query=query,
        body=body,
        content_type=content_type,
        authorization=authorization,
        idempotency_key=idempotency_key,
    )


async def _read_body(receive: Receive) -> bytes | None:
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limits.REQUEST_BODY_BYTES:
            return None
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


class Split:
    """Sends API requests to the API and everything else to the pages."""

    def __init__(self, api: ApiDoor, pages: ASGIApp) -> None:
        self.api: Final = api
        self._pages: Final = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection: the long way, or the life of the application."""
        is_api = scope["type"] == "http" and is_api_path(scope["path"])
        await (self.api if is_api else self._pages)(scope, receive, send)


# The short way.


class Turn:
    """One whole request on a connection and its answer. To uvicorn it looks like its own kind of cycle."""

    __slots__ = (
        "_asked",
        "_began_at",
        "_door",
        "_is_head",
        "_protocol",
        "disconnected",
        "keep_alive",
        "response_complete",
        "task",
    )

    # uvicorn sets it when the client leaves; nobody here waits for that.
    message_event: Final = asyncio.Event()

    def __init__(
        self,
        protocol: HttpToolsProtocol,
        door: ApiDoor,
        asked: RawRequest | RawAnswer,
        *,
        is_head: bool,
        keep_alive: bool,
    ) -> None:
        """`is_head`: whether the body of the answer is only asked about."""
        self._protocol: HttpToolsProtocol | None = protocol
        self._door = door
        self._asked = asked
        self._began_at = 0.0
        self._is_head = is_head
        self.keep_alive = keep_alive
        self.disconnected = False
        self.response_complete = False
        self.task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Have the request answered; it is its turn now."""
        protocol = self._protocol
        assert protocol is not None, "a turn comes once"
        if self.disconnected:
            self._end()  # the client left before its turn came
            return
        self._began_at = time.perf_counter()
        if self._door.begin(self._asked, self):
            # uvicorn waits for its tasks when it stops, and cancels them in the end; this is as good as one.
            protocol.tasks.add(cast("Any", self))
        else:
            self._send_later(self._door.answer(self._asked))

    def is_gone(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self._protocol is None

    def cancel(self, msg: object = None) -> None:
        """Wait no longer, as a task that is cancelled: soon, for uvicorn is going through its tasks."""
        del msg
        if self._protocol is not None:
            self._protocol.loop.call_soon(self._give_up)

    def _give_up(self) -> None:
        protocol = self._protocol
        if protocol is None:
            return
        log.error("a request to the API came to no answer")
        if not protocol.flow.write_paused:
            self._send_defect(protocol)
        self._end()

    def take(self, answer: RawAnswer) -> None:
        """Send the answer, which somebody else has found."""
        protocol = self._protocol
        if protocol is None:
            return
        if protocol.flow.write_paused and not self.disconnected:
            self._send_later(_told(answer))
            return
        try:
            self._send(protocol, answer)
        except Exception:
            log.exception("an answer of the API could not be sent")
            protocol.transport.abort()
        finally:
            self._end()

    def start_over(self) -> None:
        """Have the request answered anew, its caller asked for."""
        if self._protocol is not None:
            self._send_later(self._door.answer(self._asked, may_recall=False))

    def _send_later(self, found: Coroutine[Any, Any, RawAnswer]) -> None:
        """Send an answer that has to be waited for, in a task that uvicorn knows of for a stop."""
        protocol = self._protocol
        assert protocol is not None, "there is an answer to come"
        self.task = protocol.loop.create_task(self._wait_and_send(protocol, found))
        protocol.tasks.add(self.task)

    async def _wait_and_send(
        self, protocol: HttpToolsProtocol, found: Coroutine[Any, Any, RawAnswer]
    ) -> None:
        try:
            protocol.flow.resume_reading()
            answer = await found
            if protocol.flow.write_paused and not self.disconnected:
                await protocol.flow.drain()
            self._send(protocol, answer)
        except BaseException:  # also a cancellation, which means that a stop can wait no longer
            log.exception("a request to the API came to no answer")
            await self._end_badly(protocol)
        finally:
            self._end()

    def _send(self, protocol: HttpToolsProtocol, answer: RawAnswer) -> None:
        seconds = time.perf_counter() - self._began_at
        telemetry.count_request(answer.method or telemetry.UNKNOWN_METHOD, answer.code, seconds)
        if not self.disconnected:
            defaults = protocol.server_state.default_headers
            self._write(protocol, self._door.write_head(answer, defaults, self.keep_alive), answer.body)

    def _write(self, protocol: HttpToolsProtocol, head: bytes, body: bytes) -> None:
        self.response_complete = True
        protocol.transport.write(head if self._is_head else head + body)
        if not self.keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()

    async def _end_badly(self, protocol: HttpToolsProtocol) -> None:
        if self.response_complete:
            protocol.transport.close()
            return
        if protocol.flow.write_paused and not self.disconnected:
            await protocol.flow.drain()
        self._send_defect(protocol)

    def _send_defect(self, protocol: HttpToolsProtocol) -> None:
        if not self.disconnected:
            self.keep_alive = False
            headers = (*protocol.server_state.default_headers, *_DEFECT_HEADERS)
            self._write(protocol, _write_lines(500, headers), _DEFECT)

    def _end(self) -> None:
        """Let go of everything: the connection keeps its last turn, and needs no more of it."""
        protocol, self._protocol = self._protocol, None
        self._asked = _NOTHING_ASKED
        # At once: a callback of the task, which is uvicorn's way, would be one more round of the loop.
        if protocol is not None:
            protocol.tasks.discard(cast("Any", self))
            if self.task is not None:
                protocol.tasks.discard(self.task)
                self.task = None


_NOTHING_ASKED: Final = RawRequest(command=None)


async def _told(answer: RawAnswer) -> RawAnswer:
    return answer
