"""The HTTP application: the API behind its own door, and a few pages around it.

The API's path is matched by hand, since it serves nearly all traffic; all else goes through Starlette's router.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from numberline.api.dispatch import Dispatcher
from numberline.api.openapi import build_openapi
from numberline.api.reference import STYLE, render_landing, render_reference
from numberline.api.registry import Registry
from numberline.doors.http import telemetry
from numberline.doors.http.api_door import ApiDoor, Split
from numberline.service.context import Services
from numberline.store.errors import StoreError

log = logging.getLogger(__name__)

_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
# The pages carry one style sheet and no script; its hash says so, and nothing else may load or frame them.
_PAGE_HEADERS: Final = {
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


def create_app(
    services: Services,
    dispatcher: Dispatcher,
    registry: Registry,
    *,
    routes: Sequence[BaseRoute] = (),
    lifespan: Callable[[Starlette], Any] | None = None,
) -> ASGIApp:
    """The whole HTTP application: the API, health, metrics, documents, and the `routes` of other doors."""
    telemetry.know_methods(method.wire for method in registry)
    pages = Starlette(
        routes=[*_page_routes(services, registry), *routes],
        exception_handlers={HTTPException: _answer_http_error},
        lifespan=lifespan,
    )
    return Split(ApiDoor(dispatcher), pages)


def _page_routes(services: Services, registry: Registry) -> list[Route]:
    # Made when they are first asked for: a server that starts has better things to do.
    @cache
    def make_openapi() -> bytes:
        return json.dumps(build_openapi(registry), ensure_ascii=False).encode()

    @cache
    def make_reference() -> str:
        return render_reference(registry)

    @cache
    def make_landing() -> str:
        return render_landing(registry)

    async def show_ready(_request: Request) -> Response:
        try:
            await services.store.check()
            await services.desk.check()
        except StoreError as trouble:
            log.warning("not ready: %r", trouble)
            return JSONResponse({"status": "the store is out of reach"}, status_code=503)
        return JSONResponse({"status": "ready"})

    async def show_health(_request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def show_metrics(_request: Request) -> Response:
        page, content_type = telemetry.render_metrics()
        return Response(page, headers={"content-type": content_type})

    async def show_openapi(_request: Request) -> Response:
        return Response(make_openapi(), media_type="application/json")

    async def show_reference(_request: Request) -> Response:
        return HTMLResponse(make_reference(), headers=_PAGE_HEADERS)

    async def show_landing(_request: Request) -> Response:
        return HTMLResponse(make_landing(), headers=_PAGE_HEADERS)

    return [
        Route("/", show_landing),
        Route("/docs", show_reference),
        Route("/openapi.json", show_openapi),
        Route("/healthz", show_health),
        Route("/readyz", show_ready),
        Route("/metrics", show_metrics),
    ]


async def _answer_http_error(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return JSONResponse({"status": str(getattr(error, "detail", "error"))}, status_code=status)
