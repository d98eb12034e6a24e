"""The wall in front of the HTTP parser: deadlines, sizes and one strict reading of what a request is.

A stock server keeps an unfinished request for as long as its sender likes, takes heads of any size, and
forgives shapes that two servers in a row may read in two ways (request smuggling). Middleware cannot mend
that, for it runs when parsing is over. So:

* the application sees a request only when it is whole: it never waits for a slow body, and whatever is
  refused here has had no effect;
* a refusal is our JSON envelope with a fitting status and ``Connection: close``, sent after the answers that
  are still owed to earlier requests on the connection, and then the connection is closed;
* what the parser refuses by itself (bare line feeds, folded headers, NUL, blanks before the colon,
  contradictory lengths) is pinned by tests and not looked for twice.

The usual request arrives in one block, and for it no timer is ever made. One to the API goes to its door without the
detour over ASGI (see ``api_door``).
"""

import asyncio
import fcntl
import json
import logging
import re
import socket
import sys
import termios
from typing import Any, cast
from urllib.parse import unquote

import httptools
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from numberline.api.codec import RawAnswer, RawRequest
from numberline.domain import limits
from numberline.doors.http import telemetry
from numberline.doors.http.api_door import TELLING_HEADERS, ApiDoor, Split, Turn, is_api_path, read_request
from numberline.doors.http.heads import KnownHead

log = logging.getLogger(__name__)

_IDLE, _HEAD, _BODY = range(3)

_STRANGE_HEADS_MAX = 8
_SLASH = ord("/")
_HOST = re.compile(rb"[0-9A-Za-z._~%\-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
# The headers that somebody looks at before the application does.
_TELLING = TELLING_HEADERS | {b"host", b"content-length", b"transfer-encoding", b"expect"}


class Refused(Exception):
    """The bytes of a request that is not going to be answered by the application.

    ``status`` is the HTTP status (400, 408, 413, 414 or 431), ``sentence`` what the sender is told.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's httptools protocol with deadlines, limits and strictness.

    The class attributes are seconds; a subclass may shorten them. Sizes and counts are those of
    ``domain.limits``.
    """

    # Slots, for CPython is quick with the first thirty attributes of an object, and uvicorn uses nearly all.
    __slots__ = (
        "_began_at",
        "_block",
        "_body",
        "_deadline",
        "_door",
        "_drain",
        "_good_host",
        "_head_count",
        "_idle_since",
        "_is_block_its_own",
        "_known_head",
        "_linger",
        "_phase",
        "_received",
        "_refusal",
        "_stopping",
        "_strange_heads",
        "_swallowed",
        "_taken_bytes",
        "_telling",
        "_version",
    )

    head_seconds = limits.REQUEST_HEAD_SECONDS
    body_seconds = limits.REQUEST_BODY_SECONDS
    drain_seconds = limits.RESPONSE_DRAIN_SECONDS
    linger_seconds = limits.LINGER_SECONDS
    stop_grace_seconds = limits.STOP_GRACE_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.url = b""
        self.headers = []
        self._phase = _IDLE
        # Raw bytes of the request being read; of a pipelined one, only those after the block it began in.
        self._received = 0
        self._is_block_its_own = False  # whether the request began where a block began
        self._known_head: KnownHead | None = None
        self._strange_heads = 0  # that came since the known one last did
        self._block = b""  # what the parser is given
        self._good_host: bytes | None = None  # the last one that passed; a client says the same each time
        self._began_at = 0.0  # loop time of its first byte, known once it has a deadline
        self._head_count = 0  # headers before the body, so that trailers show
        self._telling: list[tuple[bytes, bytes]] = []
        self._version = "1.1"
        self._body = bytearray()
        self._door = self._find_door()
        self._refusal: Refused | None = None
        self._swallowed = 0
        self._taken_bytes = 0
        self._stopping = False
        self._idle_since = 0.0  # loop time of the last answer
        self._deadline: asyncio.TimerHandle | None = None
        self._drain: asyncio.TimerHandle | None = None
        self._linger: asyncio.TimerHandle | None = None

    def _find_door(self) -> ApiDoor | None:
        """The door that API requests may be handed to directly: none if uvicorn would do anything else for them."""
        app: object = self.app
        if isinstance(app, ProxyHeadersMiddleware):
            app = app.app  # it tells who called, which the API does not ask
        config = self.config
        is_special = config.access_log or config.root_path or config.reset_contextvars
        is_plain = config.limit_concurrency is None and not is_special
        return app.api if is_plain and isinstance(app, Split) else None

    # The connection.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give a new connection the same time for its first byte as for a head."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(self.head_seconds, self._deadline_passed)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel every timer; nothing of this connection outlives it."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._cancel_deadline()
        for timer in (self._drain, self._linger):
            if timer is not None:
                timer.cancel()
        self._drain = self._linger = None

    def data_received(self, data: bytes) -> None:
        """Parse one block, then judge what is still unfinished."""
        if self._refusal is not None:
            self._swallow(len(data))
            return
        if self._known_head is not None and self._phase == _IDLE and self._is_nothing_owed():
            asked = self._known_head.find(data)
            if asked is not None:
                self._strange_heads = 0
                self._begin_turn(asked, is_head=False, keep_alive=not self._stopping)
                return
        if self._phase == _IDLE:
            # Not left to the parser: blank lines ahead of a request start no message, yet are not free.
            self._phase = _HEAD
            self._is_block_its_own = True
            if self._deadline is not None:
                self._cancel_deadline()
        self._received += len(data)
        self._block = data
        try:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._feed_without_upgrade(data, upgrade)
            if self._phase != _IDLE:
                self._check_unfinished()
        except httptools.HttpParserError as error:
            self._refuse(_refusal_in(error))
        except Refused as refusal:
            self._refuse(refusal)
        finally:
            self._block = b""

    def shutdown(self) -> None:
        """Finish what is under way and close.

        An idle connection stays readable for a moment: its client may just be sending a request, and cannot
        know that it is late.
        """
        self._stopping = True
        if not self._is_nothing_owed():
            self.cycle.keep_alive = False
        elif self._phase == _IDLE and self._refusal is None:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.stop_grace_seconds, self.timeout_keep_alive_handler
            )

    # The parser's callbacks.

    def on_message_begin(self) -> None:
        """Start a request; a pipelined one may begin in the middle of a block."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._telling = []
        self._phase = _HEAD

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header, and apart from the others one that matters here."""
        header = name.lower(), value
        self.headers.append(header)
        if header[0] in _TELLING:
            self._telling.append(header)

    def on_headers_complete(self) -> None:
        """Judge the head. The application is not called yet: that waits for the body."""
        self._check_head()
        self._head_count = len(self.headers)
        self._phase = _BODY
        if self.expect_100_continue and not self.parser.should_upgrade():
            self.expect_100_continue = False
            if self._is_nothing_owed():
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Collect a piece of the body, within its limit."""
        self._body += body
        if len(self._body) > limits.REQUEST_BODY_BYTES:
            raise Refused(413, _BODY_TOO_LARGE)

    def on_message_complete(self) -> None:
        """Hand the whole request to the application."""
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise Refused(400, "This is not a proxy.")
            return  # comes again, see _feed_without_upgrade
        if len(self.headers) != self._head_count:
            raise Refused(400, "Trailers after a chunked body are not accepted.")
        if len(self.pipeline) >= limits.PIPELINED_REQUESTS:
            raise Refused(400, f"At most {limits.PIPELINED_REQUESTS} requests may wait on one connection.")
        if self._deadline is not None:
            self._cancel_deadline()
        is_whole_block = self._is_block_its_own and self._received == len(self._block)
        self._phase = _IDLE
        self._received = 0
        self._is_block_its_own = False
        body, self._body = self._body, bytearray()
        if self._door is not None:
            target, _, query = self.url.partition(b"?")
            path = target.decode("ascii")
            if "%" in path:
                path = unquote(path)
            if is_api_path(path):
                self._answer_api(path, query, bytes(body), is_whole_block=is_whole_block)
                return
        self._begin_cycle(body)

    def _answer_api(self, path: str, query: bytes, body: bytes, *, is_whole_block: bool) -> None:
        """Begin the answer to a request of the API, and remember its head for the next one."""
        method = self.parser.get_method().decode("ascii")
        asked = read_request(method, path, query, self._telling, body)
        keep_alive = self._version != "1.0" and self.parser.should_keep_alive()
        if is_whole_block and keep_alive and isinstance(asked, RawRequest):
            self._learn_head(asked)
        self._begin_turn(asked, is_head=method == "HEAD", keep_alive=keep_alive and not self._stopping)

    def _learn_head(self, asked: RawRequest) -> None:
        # A client whose heads differ each time is not learned from for ever.
        if self._strange_heads < _STRANGE_HEADS_MAX:
            self._strange_heads += 1
            is_plain = not any(name == b"expect" for name, _ in self._telling)
            self._known_head = KnownHead.learn(self._block, asked) if is_plain else None

    def _begin_turn(self, asked: RawRequest | RawAnswer, *, is_head: bool, keep_alive: bool) -> None:
        """Start the answer to a request of the API, or put it behind those still owed."""
        assert self._door is not None, "it has been looked for"
        is_free = self._is_nothing_owed()
        turn = Turn(self, self._door, asked, is_head=is_head, keep_alive=keep_alive)
        self.cycle = cast("Any", turn)
        if is_free:
            turn.begin()
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, cast("Any", self._door)))

    def _begin_cycle(self, body: bytearray) -> None:
        """Start or queue any other request as uvicorn does."""
        url, headers = self.url, self.headers
        super().on_message_begin()  # makes the scope
        self.url, self.headers = url, headers
        self.scope["headers"] = headers
        super().on_headers_complete()
        cycle = self.cycle
        cycle.body = body
        cycle.more_body = False
        cycle.message_event.set()
        if self._stopping:
            cycle.keep_alive = False

    def on_response_complete(self) -> None:
        """Go on with what waits on this connection: the next request, a refusal, or the close."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self._see_off()
            return
        was_paused = self.flow.read_paused
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        if self.pipeline:
            self.flow.pause_reading()  # or the queue would grow without end
        elif self._refusal is not None:
            if self._is_nothing_owed():
                self._send_refusal(self._refusal)
        elif self._phase != _IDLE:
            if was_paused:
                self._restart_deadline()  # the next request is half here
        elif self._is_nothing_owed():
            self._stay_open()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if isinstance(cycle, Turn):
            cycle.begin()
        else:
            super()._start_asgi_task(cycle, app)

    def _stay_open(self) -> None:
        """Wait for another request. The timer of the last wait is left running: it looks at the time itself."""
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    # Reading.

    def _feed_without_upgrade(self, data: bytes, upgrade: httptools.HttpParserUpgrade) -> None:
        """Ignore an offer to upgrade the protocol, as HTTP allows; ``data`` is the block it was found in.

        The parser takes such an offer as the end of HTTP on the connection and would drop the body (Java's
        client offers h2c with its first plain-text request). So the head is read once more without the offer,
        and then the rest.
        """
        while True:
            data = self._head_without_upgrade() + data[upgrade.args[0] :]
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as another:
                upgrade = another

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + version]
        lines += [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _check_head(self) -> None:
        """Raise ``Refused`` unless the head is within its limits and can be read in one way only."""
        # What came in one small block needs no adding up.
        is_small = self._is_block_its_own and self._received <= limits.REQUEST_HEAD_BYTES
        self._check_sizes(0 if is_small else self._head_bytes())
        hosts = codings = lengths = 0
        for name, value in self._telling:
            if name == b"host":
                hosts += 1
                self._check_host(value)
            elif name == b"content-length":
                lengths += 1
                # The parser took digits only; int() would take offence at thousands of leading zeros.
                if len(value) > 20 or int(value) > limits.REQUEST_BODY_BYTES:
                    raise Refused(413, _BODY_TOO_LARGE)
            elif name == b"transfer-encoding":
                codings += 1
                if value.lower() != b"chunked":
                    raise Refused(400, "The only transfer encoding accepted is chunked.")
            elif name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
        self._version = version = self.parser.get_http_version()
        if version != "1.1" and (version != "1.0" or codings):
            raise Refused(400, "Requests are HTTP/1.1, or HTTP/1.0 without a transfer encoding.")
        if hosts != 1 and (hosts or version == "1.1"):
            raise Refused(400, "A request has exactly one Host header.")
        if codings + lengths > 1:
            raise Refused(400, "A request states the length of its body once.")
        # An absolute URI could contradict the Host header. Visible ASCII is the parser's own rule.
        if self.url[0] != _SLASH or b"#" in self.url:
            raise Refused(400, "The request target is a path, with or without a query.")

    def _check_host(self, value: bytes) -> None:
        if value == self._good_host:
            return
        if not _HOST.fullmatch(value):
            raise Refused(400, "The Host header is not a host name.")
        self._good_host = value

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _check_sizes(self, head_bytes: int) -> None:
        if len(self.url) > limits.URL_BYTES:
            raise Refused(414, f"The URL is over {limits.URL_BYTES} bytes; parameters may go in the body.")
        if len(self.headers) > limits.HEADER_COUNT:
            raise Refused(431, f"The request has more than {limits.HEADER_COUNT} headers.")
        if head_bytes > limits.REQUEST_HEAD_BYTES:
            raise Refused(431, f"The request head is larger than {limits.REQUEST_HEAD_BYTES} bytes.")

    def _check_unfinished(self) -> None:
        """Raise ``Refused`` for a part request that is too big already; else see that it has a deadline."""
        if self._phase == _HEAD:
            self._check_sizes(self._received)
        elif self._received - len(self._body) > limits.REQUEST_HEAD_BYTES + limits.CHUNK_FRAMING_BYTES:
            raise Refused(413, "The chunked body is mostly framing.")
        if self._deadline is None:
            self._restart_deadline()

    def _deadline_passed(self) -> None:
        self._deadline = None
        if self._phase == _IDLE:
            self.transport.close()  # connected and said nothing: there is nobody to tell
        elif self.flow.read_paused:
            self._restart_deadline()  # it is us who do not read: earlier requests of the pipeline come first
        elif self._phase == _HEAD:
            self._refuse(Refused(408, f"The request head took more than {self.head_seconds:g} seconds."))
        elif (left_seconds := self._began_at + self.body_seconds - self.loop.time()) > 0:
            self._deadline = self.loop.call_later(left_seconds, self._deadline_passed)
        else:
            self._refuse(Refused(408, f"The request took more than {self.body_seconds:g} seconds."))

    def _restart_deadline(self) -> None:
        self._cancel_deadline()
        self._began_at = self.loop.time()
        self._deadline = self.loop.call_later(self.head_seconds, self._deadline_passed)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    # Refusing.

    def _is_nothing_owed(self) -> bool:
        # uvicorn declares the cycle as always there, yet it is None before the first request.
        return self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]

    def _refuse(self, refusal: Refused) -> None:
        """End the conversation with ``refusal``, now or behind the answers still owed."""
        log.debug("request refused: %s %s", refusal.status, refusal.sentence)
        telemetry.count_refusal(refusal.status)
        self._refusal = refusal.with_traceback(None)  # its frames would hold what was refused
        self._body = bytearray()
        self.headers = []
        self._telling = []
        self._cancel_deadline()
        if self._is_nothing_owed():
            self._send_refusal(refusal)

    def _send_refusal(self, refusal: Refused) -> None:
        if self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self.transport.write(_envelope(refusal, self.server_state.default_headers))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._linger = self.loop.call_later(self.linger_seconds, self._close)

    def _swallow(self, size: int) -> None:
        """Read on without looking, so that the refusal reaches a client that is still sending."""
        self._swallowed += size
        if self._swallowed > limits.LINGER_BYTES and self._is_nothing_owed():
            self._close()

    # Writing and closing.

    def pause_writing(self) -> None:
        """Note a reader slower than us."""
        super().pause_writing()
        self._watch_unsent()

    def resume_writing(self) -> None:
        """The reader has caught up; on a closing connection it must still take the rest."""
        super().resume_writing()
        if self._drain is not None and not self.transport.is_closing():
            self._drain.cancel()
            self._drain = None

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that has been idle for long enough, even if its last answer was never read."""
        self.timeout_keep_alive_task = None
        if self._phase != _IDLE or self._refusal is not None or not self._is_nothing_owed():
            return
        left_seconds = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left_seconds > 0 and not self._stopping:
            self.timeout_keep_alive_task = self.loop.call_later(left_seconds, self.timeout_keep_alive_handler)
        else:
            self._close()

    def _close(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
        self._see_off()

    def _see_off(self) -> None:
        """Do not wait for ever on a closing connection: not for its reader, and not for a TLS farewell."""
        self._watch_unsent()
        if self.scheme == "https":
            if self._linger is not None:
                self._linger.cancel()
            self._linger = self.loop.call_later(self.linger_seconds, self._hang_up)

    def _hang_up(self) -> None:
        if _unsent_bytes(self.transport):
            self._see_off()
        else:
            self.transport.abort()

    def _watch_unsent(self) -> None:
        if self._drain is None and _unsent_bytes(self.transport):
            self._taken_bytes = _taken_bytes(self.transport)
            self._drain = self.loop.call_later(self.drain_seconds, self._check_drained)

    def _check_drained(self) -> None:
        self._drain = None
        taken_bytes = _taken_bytes(self.transport) - self._taken_bytes
        if _unsent_bytes(self.transport) and taken_bytes < limits.RESPONSE_DRAIN_BYTES:
            self.transport.abort()
        else:
            self._watch_unsent()


def _unsent_bytes(transport: asyncio.Transport) -> int:
    """What the peer's machine has not acknowledged. Under TLS the transport's own figure leaves most of it out."""
    connection = transport.get_extra_info("socket")
    if connection is None or connection.fileno() < 0:
        return 0  # just lost
    queued: bytes = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
    return transport.get_write_buffer_size() + int.from_bytes(queued, sys.byteorder)


def _taken_bytes(transport: asyncio.Transport) -> int:
    """A figure that grows with what the peer's machine acknowledges."""
    connection = transport.get_extra_info("socket")
    if connection is None or sys.platform != "linux":
        return -_unsent_bytes(transport)
    info: bytes = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 128)
    return int.from_bytes(info[120:128], sys.byteorder)  # tcpi_bytes_acked, since Linux 4.1


_BODY_TOO_LARGE = f"The request body is larger than {limits.REQUEST_BODY_BYTES} bytes."


def _refusal_in(error: httptools.HttpParserError) -> Refused:
    """The refusal a callback raised inside the parser, or the plain one for what is not HTTP."""
    cause = error.__context__
    if isinstance(cause, Refused):
        return cause
    if cause is not None and not isinstance(cause, httptools.HttpParserError):
        log.error("the HTTP guard failed on a request", exc_info=cause)
    return Refused(400, "The request is not well-formed HTTP.")


def _envelope(refusal: Refused, default_headers: list[tuple[bytes, bytes]]) -> bytes:
    """A whole answer: the vendor's error envelope, code 101, and the promise to close."""
    body = json.dumps({"error": {"code": 101, "msg": refusal.sentence}}, separators=(",", ":")).encode()
    headers = [
        *default_headers,
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    return STATUS_LINE[refusal.status] + lines + b"\r\n" + body
