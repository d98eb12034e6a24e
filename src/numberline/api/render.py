"""From a view to the body of an answer, and from a refusal to the error envelope.

Built once per declaration into plain tables; a request walks tuples. What clients insist on: optional members are
left out rather than null, whole amounts of money carry no `.0`, `error` never appears beside a result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

import msgspec

from numberline.api.method import Answer, Field, Form, Kind
from numberline.domain.errors import Refusal
from numberline.domain.money import MICROS_PER_UNIT, to_decimal

Render = Callable[[Any], bytes]

_encode: Final = msgspec.json.Encoder(decimal_format="number").encode
# ISO 4217 renamed the rouble in 1998; the vendor's API never followed.
_WIRE_CURRENCIES: Final = {"RUB": "RUR"}


@lru_cache(maxsize=4_096)
def _write_money(micros: int) -> object:
    units, rest = divmod(micros, MICROS_PER_UNIT)
    return to_decimal(micros) if rest else units


def _write_timestamp(instant: datetime) -> str:
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "seconds")


def _write_currency(code: str) -> str:
    return _WIRE_CURRENCIES.get(code, code)


_WRITERS: Final[dict[Kind, Callable[[Any], object]]] = {
    Kind.NUMBER: str,
    Kind.MONEY: _write_money,
    Kind.TIMESTAMP: _write_timestamp,
    Kind.CURRENCY: _write_currency,
}


class _ShapeWriter:
    """Writes the members of one object."""

    def __init__(self, fields: Iterable[Field]) -> None:
        fields = tuple(fields)
        sent = [(field, field.source) for field in fields if field.source is not None]
        self._members: Final = tuple((field.wire, _writer_of(field)) for field, _ in sent)
        self._read: Final = _reader_of([source for _, source in sent])
        self._empty: Final = tuple(field.wire for field in fields if field.always_empty)

    def write(self, view: Any) -> dict[str, object]:
        members: dict[str, object] = {
            wire: value if writer is None else writer(value)
            for (wire, writer), value in zip(self._members, self._read(view), strict=True)
            if value is not None
        }
        for wire in self._empty:
            members[wire] = []
        return members


def _reader_of(sources: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Reads the attributes of a view in one go."""
    if len(sources) > 1:
        return attrgetter(*sources)
    return lambda view: tuple(getattr(view, source) for source in sources)


def _writer_of(field: Field) -> Callable[[Any], object] | None:
    writer = _ShapeWriter(field.shape.fields).write if field.shape else _WRITERS.get(field.kind)
    return _many(writer) if writer and field.many else writer


def _many(writer: Callable[[Any], object]) -> Callable[[Any], object]:
    return lambda values: [writer(value) for value in values]


def build_render(answer: Answer) -> Render:
    """The function that writes the body of an answer from the view its form calls for."""
    if answer.form is Form.FLAG:
        return lambda flag: _encode({"result": flag})
    assert answer.shape is not None, "the registry has checked it"
    write = _ShapeWriter(answer.shape.fields).write
    if answer.form is Form.PAGE:
        return lambda page: _encode(_page([write(each) for each in page.items], page.total))
    if answer.form is Form.DONE:
        name = answer.list_name
        return lambda views: _encode({"result": 1, name: [write(each) for each in views]})
    if answer.form is Form.LIST:
        counted = answer.counted
        return lambda views: _encode(_list([write(each) for each in views], counted=counted))
    beside = _ShapeWriter(answer.beside).write
    return lambda view: _encode({"result": write(view), **beside(view)})


def _page(items: list[dict[str, object]], total: int) -> dict[str, object]:
    return {"result": items, "total_count": total, "count": len(items)}


def _list(items: list[dict[str, object]], *, counted: bool) -> dict[str, object]:
    return {"result": items, "count": len(items)} if counted else {"result": items}


# Sentences repeat what the caller sent, and end up in logs, terminals and pages: letters, digits and plain marks pass.
_UNSHOWN = re.compile(r"[^\w ,.;:!?()+*'/-]")


class _Values(dict[str, object]):
    """The values of a sentence; one that its raiser did not know is a question mark, never a second failure."""

    def __missing__(self, name: str) -> str:
        return "?"


def _shown(value: object) -> object:
    return _UNSHOWN.sub("?", value) if isinstance(value, str) else value


def render_error(refusal: Refusal, parameter: str | None) -> bytes:
    """The error envelope; `parameter` is the wire name of the parameter at fault, if it is one."""
    values = {name: _shown(value) for name, value in refusal.values.items()}
    error: dict[str, object] = {
        "msg": refusal.kind.sentence.format_map(_Values({"parameter": parameter or "?", **values})),
        "code": refusal.kind.code,
    }
    if parameter is not None:
        error["field_name"] = parameter
    if refusal.details:
        error["details"] = dict(refusal.details)
    return _encode({"error": error})
