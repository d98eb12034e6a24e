"""Known heads against the parser: what is found in a block without it is what it would have found, or nothing."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
import uvicorn
from hypothesis import example, given
from hypothesis import strategies as st
from uvicorn.server import ServerState

from numberline.api.codec import RawAnswer, RawRequest
from numberline.api.dispatch import Reply
from numberline.domain import limits
from numberline.doors.http import heads
from numberline.doors.http.api_door import ApiDoor, Split
from numberline.doors.http.guard import GuardedProtocol
from numberline.doors.http.heads import KnownHead

TOKEN = b"eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOjF9.c2ln-_"
BLOCK = (
    b"POST /platform_api/AttachPhoneNumber?country_code=US&phone_number=%5B1%5D HTTP/1.1\r\nHost: localhost:8443\r\n"
    b"Authorization: Bearer " + TOKEN + b"\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
)
ASKED = RawRequest(
    command="AttachPhoneNumber",
    query=b"country_code=US&phone_number=%5B1%5D",
    body=b"{}",
    content_type="application/json",
    authorization=("Bearer " + TOKEN.decode(),),
)


class Ear:
    """A dispatcher that only listens."""

    def __init__(self) -> None:
        self.heard: list[RawRequest] = []

    async def answer(self, request: RawRequest, *, may_recall: bool = True) -> RawAnswer:
        raise AssertionError(f"{request} was begun, {may_recall}")

    def begin(self, request: RawRequest, _reply: Reply) -> bool:
        self.heard.append(request)
        return True


class Line:
    """A transport that goes nowhere."""

    def __getattr__(self, _name: str) -> Any:
        return lambda *_args: None

    def is_closing(self) -> bool:
        return False

    def can_write_eof(self) -> bool:
        return False


async def parse(block: bytes) -> list[RawRequest]:
    """What the guard finds in a block that comes first on its connection."""
    ear = Ear()
    config = uvicorn.Config(Split(ApiDoor(ear), Line()), lifespan="off", access_log=False, log_config=None)  # type: ignore[arg-type]
    protocol = GuardedProtocol(config=config, server_state=ServerState(), app_state={})
    protocol.connection_made(Line())  # type: ignore[arg-type]
    protocol.data_received(block)
    is_whole = protocol._phase == 0 and protocol._refusal is None
    protocol.connection_lost(None)
    return ear.heard if is_whole else []


def known() -> KnownHead:
    found = KnownHead.learn(BLOCK, ASKED)
    assert found is not None
    return found


def test_a_head_finds_the_request_it_was_learned_from() -> None:
    assert known().find(BLOCK) == ASKED
    assert asyncio.run(parse(BLOCK)) == [ASKED]


def test_a_head_finds_what_else_is_asked_with_it() -> None:
    block = BLOCK.replace(b"AttachPhoneNumber?country_code=US&phone_number=%5B1%5D", b"GetRegions").replace(
        TOKEN, b"a.b.c"
    )
    found = known().find(block)
    assert found is not None
    assert (found.command, found.query, found.authorization) == ("GetRegions", b"", ("Bearer a.b.c",))


@pytest.mark.parametrize(
    "block",
    [
        BLOCK.replace(b"POST", b"PUT"),
        BLOCK.replace(b"AttachPhoneNumber", b""),
        BLOCK.replace(b"Authorization", b"X"),
        BLOCK.replace(b"Bearer", b"Basic"),
        BLOCK.replace(b"/platform_api/", b"/x/"),
        BLOCK[:-1],
        BLOCK[:-20],
        BLOCK + b"{",
        b"",
    ],
)
def test_nothing_is_learned_from_what_is_of_another_kind(block: bytes) -> None:
    assert KnownHead.learn(block, ASKED) is None


def test_a_head_knows_no_large_block() -> None:
    large = BLOCK.replace(b"country_code=US", b"x" * limits.URL_BYTES)
    assert known().find(large) is None


PIECES = [b"\r\n", b"\n", b"\r", b" ", b"\t", b"\0", b"#", b"%", b"\xe9", b"\x7f", b":", b"?", b"/", b"\"", b"<", b"{}", b"..",
          b" HTTP/1.1", b"\r\n\r\n", b"\r\nX: y", b"\r\n x", b"Authorization: Bearer a", b"\r\nAuthorization: Bearer a", TOKEN,
          b"\r\nContent-Length: 2", b"\r\nTransfer-Encoding: chunked", b"\r\nHost: b", BLOCK]  # fmt: skip


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """The block with a few cuts and additions, most of them where its holes are."""
    block = BLOCK
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(block)))
        end = min(len(block), start + draw(st.sampled_from([0, 0, 0, 1, 2, 5, 40])))
        block = block[:start] + draw(st.sampled_from(PIECES) | st.binary(max_size=3)) + block[end:]
    return block


@given(mutants())
@example(BLOCK.replace(TOKEN, b"a\r\nX: y"))
@example(BLOCK.replace(TOKEN, b""))
@example(BLOCK.replace(b"?country_code", b"?a HTTP/1.1\r\nX: y?country_code"))
def test_what_a_head_finds_is_what_the_parser_finds(block: bytes) -> None:
    found = known().find(block)
    if found is not None:
        assert asyncio.run(parse(block)) == [found]


def test_without_its_patterns_the_comparison_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The canary: a head that takes anything for a target or a token is found out."""
    anything = re.compile(rb"(?s)([^?]*)\??(.*)")
    monkeypatch.setattr(heads, "_TARGET", anything)
    monkeypatch.setattr(heads, "_TOKEN", anything)
    with pytest.raises((AssertionError, UnicodeDecodeError, BaseExceptionGroup)):
        test_what_a_head_finds_is_what_the_parser_finds()
