"""The HTTP application around the dispatcher, spoken to as ASGI."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from typing import Any

import httpx
import pytest

from numberline.api.codec import RawAnswer, RawRequest
from numberline.api.dispatch import Reply
from numberline.api.methods import REGISTRY
from numberline.domain import limits
from numberline.doors.http.app import create_app
from numberline.store.errors import StoreUnavailable
from tests.unit.api.fakes import FakeServices


class Echo:
    """A dispatcher that remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[RawRequest] = []

    def begin(self, _request: RawRequest, _reply: Reply) -> bool:
        return False

    async def answer(self, request: RawRequest, *, may_recall: bool = True) -> RawAnswer:
        del may_recall
        self.requests.append(request)
        return RawAnswer(status=200, body=b'{"result":1}', method="AttachPhoneNumber")


class Site:
    def __init__(self) -> None:
        self.echo = Echo()
        self.services = FakeServices()
        self.app = create_app(self.services, self.echo, REGISTRY)  # type: ignore[arg-type]

    def send(self, verb: str, path: str, **more: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                return await client.request(verb, path, **more)

        return asyncio.run(send())


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("/platform_api", None),
        ("/platform_api/", None),
        ("/platform_api/AttachPhoneNumber", "AttachPhoneNumber"),
        ("/platform_api/AttachPhoneNumber/", "AttachPhoneNumber"),
    ],
)
@pytest.mark.parametrize("verb", ["GET", "POST"])
def test_commands_come_by_path(site: Site, verb: str, path: str, command: str | None):
    answer = site.send(
        verb, path + "?a=1", headers={"Authorization": "Bearer x", "Idempotency-Key": "k"}, content=b"{}"
    )
    assert (answer.status_code, answer.json(), answer.headers["content-type"]) == (
        200,
        {"result": 1},
        "application/json",
    )
    request = site.echo.requests[0]
    assert (request.command, request.query, request.body) == (command, b"a=1", b"{}")
    assert (request.authorization, request.idempotency_key) == (("Bearer x",), ("k",))


@pytest.mark.parametrize("verb", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_verbs_are_not_served(site: Site, verb: str):
    answer = site.send(verb, "/platform_api/AttachPhoneNumber")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")
    assert answer.json()["error"]["code"] == 101


def test_deeper_paths_are_unknown(site: Site):
    answer = site.send("POST", "/platform_api/a/b")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, 103)
    assert site.echo.requests == []


def test_a_body_beyond_the_limit_is_refused(site: Site):
    answer = site.send("POST", "/platform_api/X", content=b"x" * (limits.REQUEST_BODY_BYTES + 1))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, 101)


def test_a_client_that_left_is_not_answered(site: Site):
    sent: list[object] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    async def send(message: object) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/platform_api", "query_string": b"", "headers": []}
    asyncio.run(site.app(scope, receive, send))  # type: ignore[arg-type]
    assert sent == site.echo.requests == []


def test_health_and_readiness(site: Site):
    assert site.send("GET", "/healthz").status_code == 200
    assert site.send("GET", "/readyz").status_code == 200
    site.services.store.trouble = StoreUnavailable("the password is x")
    answer = site.send("GET", "/readyz")
    assert answer.status_code == 503
    assert "password" not in answer.text
    assert site.send("GET", "/healthz").status_code == 200


def test_a_server_whose_desk_is_away_is_not_ready(site: Site):
    site.services.desk.trouble = StoreUnavailable("the desk does not answer")
    assert site.send("GET", "/readyz").status_code == 503


def test_requests_are_counted(site: Site):
    site.send("POST", "/platform_api/AttachPhoneNumber")
    answer = site.send("GET", "/metrics")
    assert 'method="AttachPhoneNumber"' in answer.text


def test_documents_are_served(site: Site):
    assert site.send("GET", "/openapi.json").json()["openapi"] == "3.1.0"
    assert "AttachPhoneNumber" in site.send("GET", "/docs").text


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_may_load_nothing_but_their_own_style(site: Site, path: str):
    answer = site.send("GET", path)
    policy = answer.headers["content-security-policy"]
    style = re.search(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    assert style is not None
    assert f"sha256-{base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()}" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("verb", "path", "status"),
    [("GET", "/nowhere", 404), ("GET", "/platform_apix", 404), ("POST", "/docs", 405)],
)
def test_other_paths_are_unknown(site: Site, verb: str, path: str, status: int):
    answer = site.send(verb, path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
