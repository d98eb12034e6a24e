"""Reading a bearer token, strictly: a JWT in compact form, signed with RS256, with nothing left to interpretation.

Nothing here trusts the token; it only says what the token claims, so that the key can be looked up and the
signature checked. Headers that point at keys (`jwk`, `jku`, `x5u`, `x5c`) are never looked at.
"""

from __future__ import annotations

import binascii
import json
from functools import lru_cache
from typing import Any, Final, NoReturn

import msgspec

from numberline.domain import limits
from numberline.domain.errors import INVALID_TOKEN_FORMAT, Refusal

# From the alphabet of tokens to the one that is decoded; what only the latter has becomes something it has not.
_TO_STANDARD: Final = bytes.maketrans(b"-_+/=", b"+/\0\0\0")
_INSTANT_MAX: Final = 2**53
_LETTERS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
# By how many letters the last group of four has: no byte can end after one of them, and after two or three the lowest
# four or two bits are left over.
_LAST_LETTERS: Final = (_LETTERS, b"", _LETTERS[::16], _LETTERS[::4])


class Token(msgspec.Struct, frozen=True):
    """What a readable token claims. Instants are whole seconds since 1970; `issuer` is as it came, of any type."""

    key_id: str
    issuer: object
    issued_at: int
    expires_at: int
    not_before: int | None
    signed: bytes
    signature: bytes


class _Unreadable(Exception):
    """The token is not what it should be."""


@lru_cache(maxsize=1_024)
def read_token(text: str) -> Token:
    """Read a token; a Refusal (447) when it is not a JWT of the one kind that is accepted.

    Remembered, since several clients use a token until it expires and reading it depends on nothing else.
    """
    try:
        return _read(text)
    except (_Unreadable, ValueError, RecursionError):
        raise Refusal(INVALID_TOKEN_FORMAT) from None


def _read(text: str) -> Token:
    if len(text) > limits.TOKEN_BYTES:
        _unreadable()
    parts = text.split(".")
    if len(parts) != 3:
        _unreadable()
    key_id = _read_header(parts[0])
    claims = _read_claims(_read_part(parts[1]))
    signature = _read_part(parts[2])
    return Token(
        key_id=key_id,
        issuer=claims.get("iss"),
        issued_at=_instant(claims.get("iat")),
        expires_at=_instant(claims.get("exp")),
        not_before=_instant(claims["nbf"]) if "nbf" in claims else None,
        signed=text[: text.rindex(".")].encode("ascii"),
        signature=signature,
    )


def _read_part(part: str) -> bytes:
    encoded = part.encode("ascii").translate(_TO_STANDARD)
    # Of the texts that decode to the same bytes only the one that encoding would give is accepted: the bits of its
    # last letter that belong to no byte are 0.
    if not encoded or encoded[-1] not in _LAST_LETTERS[len(encoded) % 4]:
        _unreadable()
    return binascii.a2b_base64(encoded + b"=" * (-len(encoded) % 4), strict_mode=True)


def _read_claims(text: bytes) -> dict[str, Any]:
    """Members of an object; quickly where its members are plain and as many as its colons, so that none comes twice."""
    try:
        claims = _PLAIN_OBJECT.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _read_object(text)
    return claims if len(claims) == text.count(b":") else _read_object(text)


def _read_object(text: bytes) -> dict[str, Any]:
    found = _JSON.decode(text.decode("utf-8"))
    if not isinstance(found, dict):
        _unreadable()
    return found


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        _unreadable()
    return members


@lru_cache(maxsize=1_024)
def _read_header(part: str) -> str:
    """The id of the key, from a header; remembered, since all tokens made with one key begin alike."""
    header = _read_object(_read_part(part))
    # `crit` names extensions that must be understood, and none is; `b64` and `zip` would change what is signed.
    if header.get("alg") != "RS256" or header.keys() & {"crit", "b64", "zip"}:
        _unreadable()
    key_id = header.get("kid")
    if not isinstance(key_id, str) or not key_id:
        _unreadable()
    return key_id


def _instant(value: object) -> int:
    if type(value) is not int or abs(value) > _INSTANT_MAX:
        _unreadable()
    return value


def _unreadable(_constant: str = "") -> NoReturn:
    raise _Unreadable


_PLAIN_OBJECT: Final = msgspec.json.Decoder(dict[str, str | int | float | bool | None])
_JSON: Final = json.JSONDecoder(object_pairs_hook=_without_duplicates, parse_constant=_unreadable)
