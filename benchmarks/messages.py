"""Complete HTTP requests, made before anything is measured, each with a token of its own as the vendor's SDKs send."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from benchmarks.world import FIRST_ACCOUNT
from tests.kit.tokens import token

# Issued up to ten minutes ago and good for most of an hour, like those of clients that keep a token for a while.
_AGES_SECONDS: Final = range(600)
_LIVES_SECONDS: Final = range(3_000, 3_500)

ATTACH: Final = {
    "country_code": "US",
    "phone_category_name": "GEOGRAPHIC",
    "phone_region_id": "101",
    "phone_count": "1",
}
SEARCH: Final = {
    "country_code": "US",
    "phone_category_name": "GEOGRAPHIC",
    "phone_region_id": "101",
    "count": "20",
}


class MessageFile:
    """Messages in the form that `wrk.lua` and `load.py` read, and the place where the next load begins."""

    def __init__(self, path: Path, messages: Iterable[bytes]) -> None:
        self.path = path
        self.first = 0
        self.count = 0
        with path.open("wb") as file:
            for message in messages:
                file.write(b"%d\n" % len(message))
                file.write(message)
                self.count += 1

    def advance(self, sent: int) -> None:
        """Begin behind what was sent."""
        self.first = (self.first + sent) % self.count


def sign_tokens(count: int, accounts: int) -> list[str]:
    """Bearer tokens of the first `accounts` accounts in turn, all different."""
    now = time.time()

    def sign(place: int) -> str:
        account = FIRST_ACCOUNT + place % accounts
        age = _AGES_SECONDS[place % len(_AGES_SECONDS)]
        life = _LIVES_SECONDS[place // len(_AGES_SECONDS) % len(_LIVES_SECONDS)]
        return token(account, f"k{account}", now=now - age, life=life)

    sign(0)  # makes the key pair, which threads would make twice
    with ThreadPoolExecutor() as pool:  # signing leaves Python's lock alone
        return list(pool.map(sign, range(count), chunksize=64))


def message(method: str, parameters: dict[str, str], bearer: str) -> bytes:
    """A call as JSON with its parameters in the query, as the SDKs make it."""
    return (
        f"POST /platform_api/{method}?{urlencode(parameters)} HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {bearer}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
    ).encode()


def attach_messages(tokens: Sequence[str]) -> Iterable[bytes]:
    """Buy one number, whichever it is."""
    return (message("AttachPhoneNumber", ATTACH, bearer) for bearer in tokens)


def prism_messages(tokens: Sequence[str]) -> Iterable[bytes]:
    """The same for Prism, which knows the document's paths without their root, and for these no body at all."""
    for bearer in tokens:
        yield (
            f"POST /AttachPhoneNumber?{urlencode(ATTACH)} HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {bearer}\r\nContent-Length: 0\r\n\r\n"
        ).encode()


def search_messages(tokens: Sequence[str]) -> Iterable[bytes]:
    """List 20 numbers of a region."""
    return (message("GetNewPhoneNumbers", SEARCH, bearer) for bearer in tokens)


def list_messages(tokens: Sequence[str]) -> Iterable[bytes]:
    """List the caller's first 20 numbers."""
    return (message("GetPhoneNumbers", {"count": "20"}, bearer) for bearer in tokens)


def crossing_messages(tokens: Sequence[str], count: int, first_prefix: int) -> Iterable[bytes]:
    """Buy two numbers of two blocks, every other time in the opposite order: locks taken as asked would cross."""
    bearers = itertools.cycle(tokens)
    asked = {name: value for name, value in ATTACH.items() if name != "phone_count"}
    for place in range(count):
        base = (first_prefix + 2 * (place // 1_000)) * 1_000 + place % 1_000
        pair = (base, base + 1_000) if place % 2 else (base + 1_000, base)
        yield message("AttachPhoneNumber", {**asked, "phone_number": f"{pair[0]};{pair[1]}"}, next(bearers))
