"""From a request as it came to its parameters: query, urlencoded, multipart and JSON bodies, in any mix.

Where the vendor's clients depart from the standards this file follows the clients:

* .NET writes part names without quotes and quotes the boundary; both are read.
* A JSON body `{}` beside a full query, and `Content-Type: application/json` on a GET without a body, mean nothing.
* A name given in body and query counts as given in the body. Repeated names in one place form a list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec
from python_multipart.multipart import parse_options_header

from numberline.domain import limits
from numberline.domain.errors import INVALID_ARGUMENTS, Refusal


class RawRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request as a door received it; names no web framework.

    `command` is the last part of the path, or None. `authorization` and `idempotency_key` hold the values of the
    headers of these names, one for each time the header came.
    """

    command: str | None
    query: bytes = b""
    body: bytes = b""
    content_type: str = ""
    authorization: tuple[str, ...] = ()
    idempotency_key: tuple[str, ...] = ()


class RawAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer as a door shall send it. `method` and `code` are for the books: what was called, how it was refused."""

    status: int
    body: bytes
    content_type: str = "application/json"
    method: str | None = None
    code: int | None = None


_Scalar = str | int | float | bool | None
# The type bounds the depth: an object or a list in a list is refused where it begins, however deep it is.
_JSON_BODY: Final = msgspec.json.Decoder(dict[str, _Scalar | list[_Scalar]])


def read_parameters(request: RawRequest) -> dict[str, list[str]]:
    """All parameters of a request by name, each with its values in order; unreadable bodies are refused with 101."""
    found = _read_pairs(request.query)
    body = request.body
    if body:
        found |= _read_body(request.content_type, body)
    if len(found) > limits.PARAMETER_COUNT:
        raise _unreadable("too many parameters")
    return found


def _unreadable(reason: str) -> Refusal:
    return Refusal(INVALID_ARGUMENTS, reason=reason)


def _read_body(content_type: str, body: bytes) -> dict[str, list[str]]:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        return _collect(_read_multipart(content_type, body))
    if media_type == "application/x-www-form-urlencoded":
        return _read_pairs(body)
    return _read_json(body) if media_type == "application/json" else _read_untyped(body)


def _read_untyped(body: bytes) -> dict[str, list[str]]:
    # A body without a usable type is what scripts send; it is read as what it looks like.
    start = body.lstrip()[:1]
    return _read_json(body) if start in (b"{", b"") else _read_pairs(body)


def _read_pairs(query: bytes) -> dict[str, list[str]]:
    if query.count(b"&") >= limits.PARAMETER_COUNT:
        raise _unreadable("too many parameters")
    if b"%" in query or b"+" in query:
        return _collect(_split_quoted(query))
    # Nothing is written in another way than it reads: most requests are decoded in one go.
    return _collect(pair.partition("=")[::2] for pair in _decode(query).split("&") if pair)


def _split_quoted(query: bytes) -> Iterator[tuple[str, str]]:
    for pair in query.split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            yield _unquote(name), _unquote(value)


def _collect(pairs: Iterable[tuple[str, ...]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        values = found.get(name)
        if values is None:
            found[name] = [value]
        else:
            values.append(value)
    return found


def _unquote(text: bytes) -> str:
    if b"+" in text:
        text = text.replace(b"+", b" ")
    if b"%" in text:
        text = unquote_to_bytes(text)
    return _decode(text)


def _decode(text: bytes) -> str:
    # Bytes that are no UTF-8 become lone surrogates, which no parameter accepts: the fault gets a name.
    return text.decode("utf-8", "surrogateescape")


def _read_json(body: bytes) -> dict[str, list[str]]:
    if not body.strip():
        return {}
    try:
        members = _JSON_BODY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        raise _unreadable(
            "the body is not a JSON object of texts, numbers, booleans and lists of them"
        ) from None
    return {name: [_as_text(value)] for name, value in members.items()}


def _as_text(value: _Scalar | list[_Scalar]) -> str:
    # A list keeps its JSON spelling: parameters read JSON lists wherever they come from, so all forms meet there.
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool | list):
        return msgspec.json.encode(value).decode()
    return str(value)


def _read_multipart(content_type: str, body: bytes) -> Iterator[tuple[str, str]]:
    # The whole body is at hand and small, so it is cut at its boundaries; a streaming parser costs ten times as much.
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise _unreadable("the multipart body has no boundary")
    _, *parts = (b"\r\n" + body).split(b"\r\n--" + boundary)
    if not parts or not parts[-1].startswith(b"--"):
        raise _unreadable("the multipart body is cut short")
    if len(parts) > limits.PARAMETER_COUNT:
        raise _unreadable("too many parameters")
    for part in parts[:-1]:
        yield _read_part(part)


def _read_part(part: bytes) -> tuple[str, str]:
    head, end, content = part.lstrip(b" \t").partition(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        header, _, value = line.partition(b":")
        if header.strip().lower() == b"content-disposition":
            name = parse_options_header(value)[1].get(b"name")
            if end and name is not None:
                return _decode(name), _decode(content)
    raise _unreadable("a part of the multipart body has no name")
