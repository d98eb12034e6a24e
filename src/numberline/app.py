"""The parts of a running server put together, in the one place that knows them all."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop

from numberline.api.dispatch import Dispatcher
from numberline.api.methods import REGISTRY
from numberline.api.methods.numbers import ATTACH_PHONE_NUMBER
from numberline.api.render import build_render
from numberline.domain.clock import Clock, SystemClock
from numberline.doors.desk.client import DistantDesk
from numberline.doors.desk.messages import Ticket
from numberline.doors.desk.process import take_desk
from numberline.doors.desk.server import DeskServer
from numberline.doors.http import telemetry
from numberline.doors.http.app import create_app
from numberline.service.attach import AttachAtDesk
from numberline.service.catalog import CatalogCache
from numberline.service.context import Policy, Services
from numberline.service.desk import Counter, Desk, Order, Served
from numberline.settings import PREFIX, Settings, load_settings
from numberline.store.migrate import require_head
from numberline.store.opening import engine_of, open_store

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import ASGIApp

log = logging.getLogger(__name__)

# Where the desks' processes listen; told to the processes that serve.
DESK_SOCKETS: Final = f"{PREFIX}DESK_SOCKETS"
_SWITCH_SECONDS: Final = 0.0005


def compose(settings: Settings, clock: Clock, desk: Counter | None = None) -> Services:
    """The running parts, with a desk of their own unless there is one elsewhere.

    Nothing is opened yet; `open_and_close` does that around their use.
    """
    store = open_store(settings.database)
    catalog = CatalogCache(store)
    return Services(
        store=store,
        catalog=catalog,
        desk=desk or Desk(store, catalog, observe=_count),
        clock=clock,
        policy=Policy(
            unverified_hold_days=settings.unverified_hold_days,
            attach_count_max=settings.attach_count_max,
            api_address=settings.api_address,
        ),
    )


def _count(served: Served) -> None:
    telemetry.count_batch(served.waits_seconds)
    telemetry.count_attached(served.attached)


@asynccontextmanager
async def open_and_close(services: Services, url: str) -> AsyncIterator[None]:
    """See that the store is the one this program was written for; at the end serve what waits and let go.

    Raises `SchemaMismatch` and `StoreUnavailable`.
    """
    try:
        await require_head(services.store, url)
        # The first caller should not be the one who waits for the catalogue.
        await services.catalog.current()
        yield
    finally:
        await services.desk.close()
        await services.store.close()


def create_server_app(settings: Settings, clock: Clock, desk: Counter | None = None) -> ASGIApp:
    """The whole server as an ASGI application, which opens and closes its parts with its lifespan."""
    services = compose(settings, clock, desk)
    return create_app(
        services, Dispatcher(services, REGISTRY), REGISTRY, lifespan=_lifespan(services, settings)
    )


def create_app_from_environment() -> ASGIApp:
    """The application of a process that serves, which finds its settings and the way to its desk in the environment."""
    socket_paths = [Path(path) for path in os.environ[DESK_SOCKETS].split(os.pathsep)]
    desk = DistantDesk(take_desk(socket_paths), observe=_count)
    app = create_server_app(_settings_from_environment(), SystemClock(), desk)
    _settle_in()
    return app


def desk_count(settings: Settings) -> int:
    """How many desks serve the processes of a server: SQLite has one writer, PostgreSQL as many as one likes."""
    return 1 if engine_of(settings.database) == "sqlite" else settings.processes


def serve_desk_from_environment(listener: socket.socket, leash: int) -> None:
    """The whole life of a desk's process: serve on a listening socket until the pipe is closed."""
    _settle_in()
    gc.enable()  # a server that starts does without
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve_desk(_settings_from_environment(), listener, leash))


async def _serve_desk(settings: Settings, listener: socket.socket, leash: int) -> None:
    store = open_store(settings.database)
    try:
        await DeskServer(store, CatalogCache(store), _accept).serve(listener, leash)
    finally:
        await store.close()


_render_attached: Final = build_render(ATTACH_PHONE_NUMBER.answer)


def _accept(ticket: Ticket) -> Order:
    return AttachAtDesk(ticket, _render_attached)


def _settings_from_environment() -> Settings:
    return load_settings(Path(os.environ[f"{PREFIX}HOME"]))


def _settle_in() -> None:
    # Threads that read and commit on SQLite want the interpreter back from a busy event loop: after so long they get it.
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.freeze()  # what is loaded by now stays as long as the process: the collector need not look at it again


def _lifespan(
    services: Services, settings: Settings
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    return lambda _app: open_and_close(services, settings.database)
