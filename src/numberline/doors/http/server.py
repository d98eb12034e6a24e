"""Running the HTTP doors: listen first, then one uvicorn server here or several under uvicorn's supervisor.

Listening comes before anything else starts, so that a taken port is one sentence and not a half-started
product. A stop (SIGTERM or Ctrl-C) finishes the requests under way, lets go of the rest, and ends within ten
seconds with exit code 0.
"""

import asyncio
import errno
import logging
import multiprocessing
import os
import signal
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
import uvloop
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import SIGNALS, Multiprocess

from numberline.domain import limits
from numberline.doors.http import telemetry
from numberline.doors.http.guard import GuardedProtocol
from numberline.doors.http.tls import Certificates

log = logging.getLogger(__name__)

BACKLOG = 2_048
_GRACEFUL_SECONDS = 6  # for requests under way; the rest is for the application's own shutdown


class CannotListen(Exception):
    """The address cannot be listened on; the text is one sentence for the operator."""

    def __init__(self, port: int, reason: str) -> None:
        super().__init__(f"Cannot listen on port {port}: {reason}.")
        self.port = port
        self.reason = reason


def serve(
    target: str | Callable[[], Any],
    *,
    host: str,
    port: int,
    certificates: Certificates | None,
    processes: int = 1,
    on_ready: Callable[[], None] | None = None,
    log_level: str = "info",
    log_as_json: bool = False,
    trusted_proxies: Sequence[str] = (),
    keep_alive_seconds: int = limits.KEEP_ALIVE_SECONDS,
    protocol: type[GuardedProtocol] = GuardedProtocol,
) -> int:
    """Serve an ASGI application until told to stop. The exit code: 0, or 3 if the application would not
    start.

    ``target`` is a factory without arguments, or its import string ``module:name``. With more than one
    process it must be the string, and the factory finds its settings in the environment. ``certificates``
    None means plain HTTP. ``on_ready`` is called once, when requests are answered. ``trusted_proxies`` are
    the peers whose X-Forwarded-For is believed, none by default.

    Raises CannotListen before anything has started, ValueError for several processes without an import
    string.
    """
    if processes > 1 and not isinstance(target, str):
        raise ValueError("Several processes need the application as an import string.")
    sockets = _listen(host, port)
    config = _Config(
        target,
        factory=True,
        host=host,
        port=port,
        workers=processes,
        http=protocol,
        ws="none",
        loop="numberline.doors.http.server:Loop",
        lifespan="on",
        interface="asgi3",
        access_log=False,
        server_header=False,
        log_config=None,
        log_level="debug" if log_level == "debug" else "warning",
        our_log_level=log_level,
        our_log_as_json=log_as_json,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
        backlog=BACKLOG,
        timeout_keep_alive=keep_alive_seconds,
        timeout_graceful_shutdown=_GRACEFUL_SECONDS,
        **_tls_options(certificates),
    )
    with ExitStack() as stack:
        for listener in sockets:
            stack.callback(listener.close)
        stack.enter_context(_stop_signals_leave())
        try:
            return (_run_one if processes == 1 else _run_many)(config, sockets, on_ready or (lambda: None))
        except SystemExit as leaving:
            return leaving.code if isinstance(leaving.code, int) else 0


class _Config(uvicorn.Config):
    """uvicorn's settings; our logging is set up wherever uvicorn would set up its own, in every worker
    too.
    """

    def __init__(self, *args: Any, our_log_level: str, our_log_as_json: bool, **kwargs: Any) -> None:
        self.our_log = our_log_level, our_log_as_json
        super().__init__(*args, **kwargs)

    def configure_logging(self) -> None:
        super().configure_logging()
        telemetry.configure_logging(*self.our_log)


class Loop(uvloop.Loop):
    """uvloop with our deadlines on the ends of a TLS connection; uvicorn offers no way to set them."""

    async def create_server(self, *args: Any, **kwargs: Any) -> Any:
        """Listen as uvloop does."""
        if kwargs.get("ssl") is not None:
            kwargs.setdefault("ssl_handshake_timeout", limits.TLS_HANDSHAKE_SECONDS)
            # The farewell includes sending what is unsent, however long; the guard watches that it goes on.
            kwargs.setdefault("ssl_shutdown_timeout", 20 * limits.RESPONSE_DRAIN_SECONDS)
        return await super().create_server(*args, **kwargs)


# One process.


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            async with asyncio.timeout(limits.STOP_SECONDS):
                await super().shutdown(sockets)
        except TimeoutError:
            log.exception("the application did not stop in time and is left behind")


def _run_one(config: uvicorn.Config, sockets: list[socket.socket], on_ready: Callable[[], None]) -> int:
    server = _Server(config, on_ready)
    server.run(sockets)
    return 0 if server.started else STARTUP_FAILURE


# Many processes.


class _Workers(Multiprocess):
    """uvicorn's supervisor, which restarts dead workers, with news of readiness and an end that cannot
    hang.
    """

    on_ready: Callable[[], None] | None = None

    def keep_subprocess_alive(self) -> None:
        before = [*self.processes]
        super().keep_subprocess_alive()
        for ended in before:
            if ended not in self.processes:
                log.error("worker %s ended (exit code %s) and is begun again", ended.pid, ended.exitcode)
        if self.on_ready and all(process.is_ready(timeout=1) for process in self.processes):
            self.on_ready()
            self.on_ready = None

    def terminate_all(self) -> None:
        # Ours is one more handle on the socket: left open, connections would queue where nobody accepts them.
        for listener in self.sockets:
            listener.close()
        super().terminate_all()

    def join_all(self) -> None:
        deadline = time.monotonic() + limits.STOP_SECONDS
        for process in self.processes:
            process.process.join(max(0.0, deadline - time.monotonic()))
            if process.process.is_alive():
                log.error("worker %s did not stop in time and is killed", process.pid)
                process.process.kill()
                process.process.join()


def _run_many(config: uvicorn.Config, sockets: list[socket.socket], on_ready: Callable[[], None]) -> int:
    config.callback_notify, config.timeout_notify = _stop_if_orphaned, 1
    with tempfile.TemporaryDirectory(prefix="numberline-metrics-") as directory, _metrics_in(directory):
        handlers = {number: signal.getsignal(number) for number in SIGNALS}
        workers = _Workers(config, sockets)
        workers.on_ready = on_ready
        try:
            workers.run()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    is_failed = any(process.exitcode == STARTUP_FAILURE for process in workers.processes)
    return STARTUP_FAILURE if is_failed else 0


async def _stop_if_orphaned() -> None:
    """A worker whose supervisor was killed must not go on holding the port."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _metrics_in(directory: str) -> Iterator[None]:
    """Have the workers count into files that any of them can add up; they inherit the variable."""
    before = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
    try:
        yield
    finally:
        del os.environ["PROMETHEUS_MULTIPROC_DIR"]
        if before is not None:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = before


# Listening, TLS and signals.


def _listen(host: str, port: int) -> list[socket.socket]:
    """A listening socket for each address ``host`` stands for."""
    if not 0 <= port < 65_536:
        raise CannotListen(port, "there is no such port")  # the resolver would take the remainder
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotListen(port, f"the host {host!r} is not known") from error
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    with ExitStack() as opened:
        for family, _, _, _, address in dict.fromkeys(found):
            try:
                sockets.append(opened.enter_context(_listener(address[:2], family)))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise CannotListen(port, _reason(error)) from error
                missing = error  # "localhost" may stand for ::1 on a machine without IPv6; the other will do
        if missing is not None and not sockets:
            raise CannotListen(port, _reason(missing)) from missing
        opened.pop_all()
    return sockets


def _listener(address: Any, family: int) -> socket.socket:
    return socket.create_server(address, family=family, backlog=BACKLOG)


def _reason(error: OSError) -> str:
    return _REASONS.get(error.errno or 0, error.strerror or str(error))


_NOT_HERE = errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT
_REASONS = {
    errno.EADDRINUSE: "another program already listens there",
    errno.EACCES: "this user may not open it (ports below 1024 need more rights)",
    errno.EADDRNOTAVAIL: "the host is not an address of this machine",
}


def _tls_options(certificates: Certificates | None) -> dict[str, Any]:
    if certificates is None:
        return {}
    files: dict[str, Path] = {"ssl_certfile": certificates.certificate, "ssl_keyfile": certificates.key}
    return {**files, "ssl_context_factory": _tls_context}


def _tls_context(_config: uvicorn.Config, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    context = default()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    return context


@contextmanager
def _stop_signals_leave() -> Iterator[None]:
    """Make a stop signal end in exit code 0.

    uvicorn handles the signals while it serves and raises them again when it is done; they also may come
    before it is there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)
