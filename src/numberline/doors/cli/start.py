"""Starting the HTTP door from a command: certificates, environment of the workers, and a note of where it listens."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from numberline.doors.cli.home import RUNNING, read_json, write_json
from numberline.doors.cli.terminal import Trouble, misused, note

if TYPE_CHECKING:
    from numberline.doors.http.tls import Certificates
    from numberline.settings import Settings

_TARGET = "numberline.app:create_app_from_environment"


def hasten() -> None:
    """Leave the garbage until the server is ready: loading its parts makes little and takes a sixth longer with it."""
    gc.disable()


def certificates_of(settings: Settings) -> Certificates | None:
    """What to listen with: the operator's own files, or a certificate under the home's authority; None for HTTP."""
    from numberline.doors.http import tls  # noqa: PLC0415 - cryptography is slow to load

    if settings.plain_http:
        return None
    try:
        if settings.certificate is not None and settings.private_key is not None:
            return tls.own_certificates(settings.certificate, settings.private_key)
        return tls.ensure_certificates(settings.home, _names(settings))
    except ValueError as error:
        misused(str(error))


def _names(settings: Settings) -> list[str]:
    from numberline.settings import EVERYWHERE  # noqa: PLC0415

    own = [] if settings.host in EVERYWHERE else [settings.host]
    return [*own, *settings.host_names]


def start_server(settings: Settings, certificates: Certificates | None, on_ready: Callable[[], None]) -> None:
    """Serve until told to stop, then return; Trouble when it would not start."""
    from numberline.app import DESK_SOCKETS, desk_count, serve_desk_from_environment  # noqa: PLC0415
    from numberline.doors.desk.process import desk_processes  # noqa: PLC0415
    from numberline.doors.http import telemetry  # noqa: PLC0415
    from numberline.doors.http.server import CannotListen, serve  # noqa: PLC0415

    os.environ.update(settings.to_environment())
    telemetry.configure_logging(settings.log_level, settings.log_format == "json")
    running = settings.home / RUNNING

    def announce() -> None:
        gc.enable()
        write_json(running, {"url": settings.base_url, "pid": os.getpid()})
        on_ready()

    try:
        with desk_processes(serve_desk_from_environment, desk_count(settings)) as socket_paths:
            os.environ[DESK_SOCKETS] = os.pathsep.join(map(str, socket_paths))
            code = serve(
                _TARGET,
                host="" if settings.host == "*" else settings.host,
                port=settings.port,
                certificates=certificates,
                processes=settings.processes,
                on_ready=announce,
                log_level=settings.log_level,
                log_as_json=settings.log_format == "json",
                trusted_proxies=settings.trusted_proxies,
            )
    except CannotListen as error:
        hint = " Choose another with --port." if "already" in error.reason else ""
        raise Trouble(f"{error}{hint}") from None
    finally:
        _forget(running)
    if code:
        raise Trouble("The server did not start; the lines above tell why.", code)
    note("Stopped.")


def _forget(running: Path) -> None:
    """Take the note back, unless another server of the same home has written its own since."""
    if (read_json(running) or {}).get("pid") == os.getpid():
        running.unlink(missing_ok=True)
