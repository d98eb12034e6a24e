"""The HTTP application: the API behind one raw ASGI endpoint, and a few pages around it.

The API's path is matched by hand, since it serves nearly all traffic; all else goes through Starlette's router.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from numberline.api.codec import RawAnswer, RawRequest
from numberline.api.dispatch import Dispatcher
from numberline.api.openapi import build_openapi
from numberline.api.reference import STYLE, render_landing, render_reference
from numberline.api.registry import Registry
from numberline.api.render import render_error
from numberline.domain import limits
from numberline.domain.errors import INVALID_ARGUMENTS, UNKNOWN_COMMAND, Refusal
from numberline.doors.http import telemetry
from numberline.service.context import Services
from numberline.store.errors import StoreError

log = logging.getLogger(__name__)

API_PATH: Final = "/platform_api"

_PLAIN_HEADERS: Final = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
]
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


class _TooLarge(Exception):
    """The body is larger than the limit."""


class _Gone(Exception):
    """The client left before its request was complete."""


class ApiDoor:
    """The API as an ASGI application. Every answer is JSON, also those with a status other than 200."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher: Final = dispatcher

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request below the API's path."""
        started = time.perf_counter()
        try:
            answer = await self._answer(scope, receive)
        except _Gone:
            return
        telemetry.count_request(
            answer.method or telemetry.UNKNOWN_METHOD, answer.code, time.perf_counter() - started
        )
        await _send(answer, send)

    async def _answer(self, scope: Scope, receive: Receive) -> RawAnswer:
        command = scope["path"][len(API_PATH) :].strip("/")
        if "/" in command:
            return _answer_refusal(404, Refusal(UNKNOWN_COMMAND))
        if scope["method"] not in ("GET", "POST"):
            return _answer_refusal(405, Refusal(INVALID_ARGUMENTS, reason="only GET and POST are served"))
        try:
            body = await _read_body(receive)
        except _TooLarge:
            reason = f"the body is larger than {limits.REQUEST_BODY_BYTES} bytes"
            return _answer_refusal(413, Refusal(INVALID_ARGUMENTS, reason=reason))
        return await self._dispatcher.answer(_to_request(scope, command or None, body))


def _to_request(scope: Scope, command: str | None, body: bytes) -> RawRequest:
    content_type, authorization, idempotency_key = "", [], []
    for name, value in scope["headers"]:
        if name == b"content-type":
            content_type = value.decode("latin-1")
        elif name == b"authorization":
            authorization.append(value.decode("latin-1"))
        elif name == b"idempotency-key":
            idempotency_key.append(value.decode("latin-1"))
    return RawRequest(
        command=command,
        query=scope["query_string"],
        body=body,
        content_type=content_type,
        authorization=tuple(authorization),
        idempotency_key=tuple(idempotency_key),
    )


async def _read_body(receive: Receive) -> bytes:
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limits.REQUEST_BODY_BYTES:
            raise _TooLarge
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _answer_refusal(status: int, refusal: Refusal) -> RawAnswer:
    return RawAnswer(status=status, body=render_error(refusal, None), code=refusal.kind.code)


async def _send(answer: RawAnswer, send: Send) -> None:
    headers = [
        (b"content-type", answer.content_type.encode("ascii")),
        (b"content-length", str(len(answer.body)).encode("ascii")),
        *_PLAIN_HEADERS,
    ]
    if answer.status == 405:
        headers.append((b"allow", b"GET, POST"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


class _Split:
    """Sends API requests to the API and everything else to the pages."""

    def __init__(self, api: ASGIApp, pages: ASGIApp) -> None:
        self._api: Final = api
        self._pages: Final = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_api = scope["type"] == "http" and (scope["path"] + "/").startswith(API_PATH + "/")
        await (self._api if is_api else self._pages)(scope, receive, send)


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
    return _Split(ApiDoor(dispatcher), pages)


def _page_routes(services: Services, registry: Registry) -> list[Route]:
    openapi = json.dumps(build_openapi(registry), ensure_ascii=False).encode()
    reference, landing = render_reference(registry), render_landing(registry)

    async def show_ready(_request: Request) -> Response:
        try:
            await services.store.check()
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
        return Response(openapi, media_type="application/json")

    async def show_reference(_request: Request) -> Response:
        return HTMLResponse(reference, headers=_PAGE_HEADERS)

    async def show_landing(_request: Request) -> Response:
        return HTMLResponse(landing, headers=_PAGE_HEADERS)

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
