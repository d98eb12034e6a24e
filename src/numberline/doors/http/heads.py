"""Heads of requests that a connection has sent before: read once by the parser, and known again.

A client says the same in each of its requests but for what it asks and, perhaps, its token. Where all else is to the byte
what the strict parser has accepted on the same connection, there is nothing left to be judged but the two holes, and
these are looked at by patterns that admit less than the parser does.
"""

from __future__ import annotations

import re
from typing import Final, Self

import msgspec

from numberline.api.codec import RawRequest
from numberline.domain import limits
from numberline.doors.http.api_door import API_PATH

_START = re.compile(rb"(?:GET|POST) " + API_PATH.encode() + rb"/")
# What nothing can be read in two ways from, escapes included; the command is one word.
_TARGET = re.compile(rb"([0-9A-Za-z]+)(?:\?([0-9A-Za-z\-._~!$&'()*+,;=:@/?%]*))?")
_TOKEN = re.compile(rb"[0-9A-Za-z\-_.]+")
_TOKEN_LINE = re.compile(rb"\r\nauthorization: bearer ", re.IGNORECASE)
_BLOCK_BYTES_MAX: Final = min(limits.REQUEST_HEAD_BYTES, limits.URL_BYTES)


class KnownHead(msgspec.Struct, frozen=True):
    """A head with holes: one for the command and the query behind `start`, one for the token between `middle` and `end`.

    What else the API looks at in a head is the same for every request with this one.
    """

    start: bytes
    middle: bytes
    end: bytes
    body_bytes: int
    content_type: str
    idempotency_key: tuple[str, ...]

    @classmethod
    def learn(cls, block: bytes, asked: RawRequest) -> Self | None:
        """The head of a request that the parser has accepted and found to be all of a block; None if it is of another kind."""
        start, line = _START.match(block), _TOKEN_LINE.search(block)
        if start is None or line is None:
            return None
        target_end = block.find(b" ", start.end())
        token_end = block.find(b"\r\n", line.end())
        body_at = block.find(b"\r\n\r\n") + 4
        middle, end = block[target_end : line.end()], block[token_end:body_at]
        body_bytes = len(block) - body_at
        known = cls(start[0], middle, end, body_bytes, asked.content_type, asked.idempotency_key)
        # What it would read in another way than the parser has is none of its kind.
        return known if known.find(block) == asked else None

    def find(self, block: bytes) -> RawRequest | None:
        """The request that a block is, if it is a whole one with this head; None leaves it to the parser."""
        if not block.startswith(self.start) or len(block) > _BLOCK_BYTES_MAX:
            return None
        target_at = len(self.start)
        target_end = block.find(self.middle, target_at)
        token_at = target_end + len(self.middle)
        token_end = block.find(self.end, token_at)
        body_at = token_end + len(self.end)
        if target_end < 0 or token_end < 0 or len(block) - body_at != self.body_bytes:
            return None
        target = _TARGET.fullmatch(block, target_at, target_end)
        if target is None or _TOKEN.fullmatch(block, token_at, token_end) is None:
            return None
        command, query = target.groups(b"")
        return RawRequest(
            command=command.decode("ascii"),
            query=query,
            body=block[body_at:],
            content_type=self.content_type,
            # With the scheme as it was sent, which is part of the line before the token.
            authorization=(block[token_at - len(_SCHEME) : token_end].decode("ascii"),),
            idempotency_key=self.idempotency_key,
        )


_SCHEME: Final = b"Bearer "
