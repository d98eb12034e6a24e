"""Every way the vendor's clients, guides and users call a method, sent to one application, and the order of checks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import urlencode

import httpx
import pytest

from numberline.api.codec import RawRequest
from numberline.api.methods import REGISTRY
from numberline.domain.access import Role
from numberline.doors.http.app import create_app
from tests.kit import world
from tests.kit.tokens import token
from tests.kit.world import API_KEY, Town

BASE: Final = "/platform_api"
METHOD: Final = "GetNewPhoneNumbers"
ASKED: Final = {
    "country_code": "US",
    "phone_category_name": "local",
    "phone_region_id": str(world.HOLLYWOOD),
    "count": "2",
}
FORM: Final = "application/x-www-form-urlencoded"
JSON: Final = "application/json"


@pytest.fixture
async def client(town: Town) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the town's HTTP application, with the parent's token."""
    app = create_app(town.services, town.dispatcher, REGISTRY)
    transport = httpx.ASGITransport(app=app)
    headers = {"Authorization": town.bearer(world.PARENT)}
    async with httpx.AsyncClient(transport=transport, base_url="https://town", headers=headers) as found:
        yield found


def _multipart(fields: dict[str, str], *, quoted: bool) -> tuple[bytes, str]:
    """A multipart body; .NET leaves the names bare and quotes the boundary, the others do the opposite."""
    mark, boundary = ('"', "x-boundary") if quoted else ("", "a-1:b")
    parts = "".join(
        f"--{boundary}\r\nContent-Disposition: form-data; name={mark}{name}{mark}\r\n"
        f"{'' if quoted else 'Content-Type: text/plain; charset=utf-8' + chr(13) + chr(10)}\r\n{value}\r\n"
        for name, value in fields.items()
    )
    shown = boundary if quoted else f'"{boundary}"'
    return f"{parts}--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={shown}"


_QUOTED: Final = _multipart(ASKED, quoted=True)
_DOTNET: Final = _multipart(ASKED | {"cmd": METHOD}, quoted=False)
_NODE: Final = _multipart(ASKED | {"cmd": METHOD}, quoted=True)
_QUERY: Final = urlencode(ASKED)
_HALF: Final = urlencode({name: ASKED[name] for name in ("country_code", "phone_category_name")})
_OTHER_HALF: Final = {name: ASKED[name] for name in ("phone_region_id", "count")}

# Verb, address, body, its type.
STYLES: Final[dict[str, tuple[str, str, bytes, str | None]]] = {
    "path, query": ("POST", f"{BASE}/{METHOD}?{_QUERY}", b"", None),
    "path, query, JSON type and an empty object": ("POST", f"{BASE}/{METHOD}?{_QUERY}", b"{}", JSON),
    "path, form": ("POST", f"{BASE}/{METHOD}", _QUERY.encode(), FORM),
    "path with a slash, form": ("POST", f"{BASE}/{METHOD}/", _QUERY.encode(), FORM),
    "path, multipart": ("POST", f"{BASE}/{METHOD}", *_QUOTED),
    "path, JSON": ("POST", f"{BASE}/{METHOD}", json.dumps(ASKED).encode(), JSON),
    "path, JSON with numbers": (
        "POST",
        f"{BASE}/{METHOD}",
        json.dumps(ASKED | {"phone_region_id": world.HOLLYWOOD, "count": 2}).encode(),
        f"{JSON}; charset=utf-8",
    ),
    "path in other letters": ("POST", f"{BASE}/getnewphonenumbers?{_QUERY}", b"", None),
    "GET": ("GET", f"{BASE}/{METHOD}?{_QUERY}", b"", None),
    "GET with a slash": ("GET", f"{BASE}/{METHOD}/?{_QUERY}", b"", None),
    "GET with a JSON type and no body": ("GET", f"{BASE}/{METHOD}?{_QUERY}", b"", JSON),
    "cmd in a form, as Python": ("POST", BASE, f"{_QUERY}&cmd={METHOD}".encode(), FORM),
    "cmd after a slash": ("POST", f"{BASE}/", f"{_QUERY}&cmd={METHOD}".encode(), FORM),
    "cmd in a multipart body, as Node": ("POST", BASE, *_NODE),
    "cmd in the query": ("GET", f"{BASE}?cmd={METHOD}&{_QUERY}", b"", None),
    "cmd in the query, form": ("POST", f"{BASE}?cmd={METHOD}", _QUERY.encode(), FORM),
    "cmd in JSON": ("POST", BASE, json.dumps(ASKED | {"cmd": METHOD}).encode(), JSON),
    "cmd in other letters": ("POST", BASE, f"{_QUERY}&cmd=GETNEWPHONENUMBERS".encode(), FORM),
    "path and cmd, multipart, as .NET": ("POST", f"{BASE}/{METHOD}", *_DOTNET),
    "path and another cmd": ("POST", f"{BASE}/{METHOD}?cmd=GetAccountInfo&{_QUERY}", b"", None),
    "half in the query, half in a form": (
        "POST",
        f"{BASE}/{METHOD}?{_HALF}",
        urlencode(_OTHER_HALF).encode(),
        FORM,
    ),
    "half in the query, half in multipart": (
        "POST",
        f"{BASE}/{METHOD}?{_HALF}",
        *_multipart(_OTHER_HALF, quoted=True),
    ),
    "half in the query, half in JSON": (
        "POST",
        f"{BASE}/{METHOD}?{_HALF}",
        json.dumps(_OTHER_HALF).encode(),
        JSON,
    ),
    "the body wins over the query": (
        "POST",
        f"{BASE}/{METHOD}?{_QUERY}&count=7",
        b"count=2",
        FORM,
    ),
    "the last of a repeated scalar counts": ("POST", f"{BASE}/{METHOD}?count=9&{_QUERY}", b"", None),
    "a form without its type": ("POST", f"{BASE}/{METHOD}", _QUERY.encode(), None),
    "unknown names beside it": (
        "POST",
        f"{BASE}/{METHOD}?{_QUERY}&account_id=7&forceVerification=1",
        b"",
        None,
    ),
}


async def test_every_calling_style_gets_the_same_answer(town: Town, client: httpx.AsyncClient) -> None:
    expected = await town.call(METHOD, ASKED)
    assert expected["count"] == 2
    for name, (verb, address, body, content_type) in STYLES.items():
        headers = {} if content_type is None else {"Content-Type": content_type}
        answer = await client.request(verb, address, content=body, headers=headers)
        assert answer.status_code == 200, name
        assert answer.headers["content-type"].partition(";")[0] == JSON, name
        assert answer.json() == expected, name


async def test_lists_in_every_spelling(client: httpx.AsyncClient) -> None:
    spellings: list[tuple[str, bytes, str]] = [
        ("?country_code=US;DE", b"", FORM),
        ("?country_code=%5B%22US%22%2C%22DE%22%5D", b"", FORM),
        ("?country_code=US&country_code=DE", b"", FORM),
        ("?country_code=+US+;;de;US", b"", FORM),
        ("", b"country_code=US%3BDE", FORM),
        ("", b'{"country_code": ["US", "DE"]}', JSON),
        ("", b'{"country_code": "US;DE"}', JSON),
    ]
    for query, body, content_type in spellings:
        answer = await client.post(
            f"{BASE}/GetPhoneNumberCategories{query}", content=body, headers={"Content-Type": content_type}
        )
        assert [item["country_code"] for item in answer.json()["result"]] == ["US", "DE"], (query, body)


async def test_booleans_in_every_spelling(client: httpx.AsyncClient) -> None:
    for text, is_shown in (
        ("True", True),
        ("true", True),
        ("1", True),
        ("False", False),
        ("false", False),
        ("0", False),
    ):
        answer = await client.get(f"{BASE}/GetAccountInfo", params={"return_live_balance": text})
        assert ("live_balance" in answer.json()["result"]) is is_shown, text
    answer = await client.post(f"{BASE}/GetAccountInfo", json={"return_live_balance": False})
    assert "live_balance" not in answer.json()["result"]


async def test_credentials_in_the_query_and_parameters_in_the_body(town: Town) -> None:
    request = RawRequest(
        command=METHOD,
        query=urlencode({"account_id": world.PARENT, "api_key": API_KEY}).encode(),
        body=_QUERY.encode(),
        content_type=FORM,
    )
    answer = await town.dispatcher.answer(request)
    assert json.loads(answer.body)["count"] == 2


# --- what is no call -------------------------------------------------------------------------------------------


async def test_other_verbs_and_paths(client: httpx.AsyncClient) -> None:
    for verb in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = await client.request(verb, f"{BASE}/{METHOD}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (405, 101), verb
        assert answer.headers["allow"] == "GET, POST"
    answer = await client.get(f"{BASE}/PhoneNumbers/{METHOD}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, 103)


async def test_names_that_are_no_method(town: Town, client: httpx.AsyncClient) -> None:
    for name in (
        "Batch",
        "BatchCommands",
        "Nonsense",
        "GetNewPhoneNumber",
        "GetNewPhoneNumbers2",
        "%20",
        "😀",
    ):
        for verb in ("GET", "POST"):
            answer = await client.request(verb, f"{BASE}/{name}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (200, 103), name
        answer = await client.post(BASE, data={"cmd": name})
        assert answer.json()["error"]["code"] == 103, name
    assert (await client.post(f"{BASE}/Batch")).json() == {"error": {"msg": "Unknown command.", "code": 103}}


async def test_without_a_command_there_is_no_call(client: httpx.AsyncClient) -> None:
    for answer in (
        await client.post(BASE),
        await client.get(f"{BASE}/?count=1"),
        await client.post(BASE, data={"cmd": ""}),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (200, 102)


async def test_bodies_that_cannot_be_read(client: httpx.AsyncClient) -> None:
    for body, content_type in (
        (b"{", JSON),
        (b"[1]", JSON),
        (b'{"count": {"a": 1}}', JSON),
        (b"--x\r\n", "multipart/form-data; boundary=x"),
        (b"count=1", "multipart/form-data"),
    ):
        answer = await client.post(f"{BASE}/{METHOD}", content=body, headers={"Content-Type": content_type})
        assert (answer.status_code, answer.json()["error"]["code"]) == (200, 101), body


# --- the order of checks ---------------------------------------------------------------------------------------


async def test_command_then_credentials_then_role_then_parameters(town: Town) -> None:
    bad, good = "phone_count=many", urlencode({"phone_number": 15552850126})
    nobody, developer = None, town.bearer(world.PARENT, world.role_key(Role.DEVELOPER))
    expired = "Bearer " + token(world.PARENT, f"owner-{world.PARENT}", now=town.clock.now().timestamp() - 900)
    owner = town.bearer(world.PARENT)
    ladder: list[tuple[str, str | None, str, int]] = [
        ("Nonsense", nobody, bad, 103),
        ("Nonsense", owner, bad, 103),
        ("AttachPhoneNumber", nobody, bad, 100),
        ("AttachPhoneNumber", "Bearer nonsense", bad, 447),
        ("AttachPhoneNumber", expired, bad, 456),
        ("AttachPhoneNumber", town.bearer(world.INACTIVE), bad, 131),
        ("AttachPhoneNumber", developer, bad, 104),
        ("AttachPhoneNumber", developer, good, 104),
        ("AttachPhoneNumber", owner, "", 134),
        ("AttachPhoneNumber", owner, f"{good}&phone_count=many", 458),
        ("AttachPhoneNumber", owner, "phone_number=many&country_code=ZZ", 121),
        ("AttachPhoneNumber", owner, f"{good}&country_code=ZZ", 239),
    ]
    for command, bearer, query, code in ladder:
        request = RawRequest(
            command=command, query=query.encode(), authorization=() if bearer is None else (bearer,)
        )
        answer: dict[str, Any] = json.loads((await town.dispatcher.answer(request)).body)
        assert answer["error"]["code"] == code, (command, query, answer)
    assert (await town.call("GetPhoneNumbers"))["total_count"] == 0, "nothing was bought on the way"
