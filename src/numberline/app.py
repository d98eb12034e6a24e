"""The parts of a running server put together, in the one place that knows them all."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numberline.api.dispatch import Dispatcher
from numberline.api.methods import REGISTRY
from numberline.domain.clock import Clock, SystemClock
from numberline.doors.http import telemetry
from numberline.doors.http.app import create_app
from numberline.service.catalog import CatalogCache
from numberline.service.context import Policy, Services
from numberline.service.desk import Desk, Served
from numberline.settings import PREFIX, Settings, load_settings
from numberline.store.migrate import require_head
from numberline.store.opening import open_store

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import ASGIApp

log = logging.getLogger(__name__)

_SWITCH_SECONDS: Final = 0.0005


def compose(settings: Settings, clock: Clock) -> Services:
    """The running parts. Nothing is opened yet; `open_and_close` does that around their use."""
    store = open_store(settings.database)
    catalog = CatalogCache(store)
    return Services(
        store=store,
        catalog=catalog,
        desk=Desk(store, catalog, observe=_count),
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


def create_server_app(settings: Settings, clock: Clock) -> ASGIApp:
    """The whole server as an ASGI application, which opens and closes its parts with its lifespan."""
    services = compose(settings, clock)
    return create_app(
        services, Dispatcher(services, REGISTRY), REGISTRY, lifespan=_lifespan(services, settings)
    )


def create_app_from_environment() -> ASGIApp:
    """The application of one process of several, which finds its settings in the environment."""
    app = create_server_app(load_settings(Path(os.environ[f"{PREFIX}HOME"])), SystemClock())
    # Threads that read and commit on SQLite want the interpreter back from a busy event loop: after so long they get it.
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.freeze()  # what is loaded by now stays as long as the process: the collector need not look at it again
    return app


def _lifespan(
    services: Services, settings: Settings
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    return lambda _app: open_and_close(services, settings.database)
