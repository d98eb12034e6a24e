"""What crosses between the doors and the desk's process: orders one way, answers the other.

A message is a frame: four bytes that tell the length, then MessagePack. Both ends are one program, started together, so
there are no versions.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from numberline.domain.errors import ErrorKind, Refusal
from numberline.service.attach import AttachTicket
from numberline.service.desk import CallerOutdated, Served
from numberline.store.errors import CommitUnknown, LockNotFree, StoreBusy, StoreUnavailable

log = logging.getLogger(__name__)

_LENGTH_BYTES: Final = 4

# One kind of order so far; a tagged union once there are more.
Ticket = AttachTicket


class Refused(msgspec.Struct, frozen=True, array_like=True, tag="refused"):
    """A refusal, taken apart."""

    kind: ErrorKind
    parameter: str | None
    details: dict[str, str] | None
    values: dict[str, Any]


class Failed(msgspec.Struct, frozen=True, array_like=True, tag="failed"):
    """Anything else that went wrong: a trouble that the other side knows by its name, or a defect."""

    kind: str
    text: str


class Answers(msgspec.Struct, frozen=True, array_like=True):
    """Answers by the numbers of their orders, and the batches that the receiver is to count."""

    answers: list[tuple[int, bytes | Refused | Failed]]
    served: list[Served]


# No orders are a greeting, and this is how it is returned: somebody is there.
GREETING: Final = Answers([], [])


class DeskFailed(Exception):
    """The desk failed an order by a defect, which its own log tells more about."""


_TROUBLES: Final[dict[str, type[Exception]]] = {
    kind.__name__: kind for kind in (StoreUnavailable, CommitUnknown, StoreBusy, LockNotFree, CallerOutdated)
}

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_orders: Final = msgspec.msgpack.Decoder(list[tuple[int, Ticket]]).decode
_decode_answers: Final = msgspec.msgpack.Decoder(Answers).decode


def write_orders(orders: list[tuple[int, msgspec.Struct]]) -> bytes:
    """A frame of numbered tickets."""
    return _framed(_encode(orders))


def read_orders(message: bytes) -> list[tuple[int, Ticket]]:
    """The numbered tickets of a frame."""
    return _decode_orders(message)


def write_answers(answers: Answers) -> bytes:
    """A frame of answers."""
    return _framed(_encode(answers))


def read_answers(message: bytes) -> Answers:
    """The answers of a frame."""
    return _decode_answers(message)


def _framed(message: bytes) -> bytes:
    return len(message).to_bytes(_LENGTH_BYTES, "big") + message


class Frames:
    """Puts frames together again from the pieces in which they arrive."""

    def __init__(self) -> None:
        self._rest = b""

    def take_in(self, piece: bytes) -> Iterator[bytes]:
        """The messages that a piece completes."""
        data = self._rest + piece if self._rest else piece
        start = 0
        while (begin := start + _LENGTH_BYTES) <= len(data):
            end = begin + int.from_bytes(data[start:begin], "big")
            if end > len(data):
                break
            yield data[begin:end]
            start = end
        self._rest = data[start:]


def take_apart(reason: BaseException) -> Refused | Failed:
    """What tells the other side why there is no answer; what the other side could not explain is logged here."""
    if isinstance(reason, Refusal):
        details = None if reason.details is None else dict(reason.details)
        return Refused(reason.kind, reason.parameter, details, reason.values)
    name = next((name for name, kind in _TROUBLES.items() if isinstance(reason, kind)), None)
    if name is None:
        log.error("the desk failed an order", exc_info=reason)
    return Failed(name or type(reason).__name__, str(reason))


def put_together(told: Refused | Failed) -> Exception:
    """The exception that the desk met with."""
    if isinstance(told, Refused):
        return Refusal(told.kind, parameter=told.parameter, details=told.details, **told.values)
    trouble = _TROUBLES.get(told.kind)
    return DeskFailed(f"{told.kind}: {told.text}") if trouble is None else trouble(told.text)
