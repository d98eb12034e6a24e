"""From raw parameters to a typed order, in the contract's order: presence, exclusivity, types, intervals.

Scalars go through strict ASCII readers: Python's `int()` would take foreign digits, underscores and signs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any, Final

import msgspec

from numberline.api.method import Kind, Method, Range
from numberline.api.registry import Bound, bind, refusal_of
from numberline.domain import limits
from numberline.domain.errors import (
    LENGTH_EXCEEDED,
    ONLY_ONE_OF,
    REQUIRED_IS_EMPTY,
    Refusal,
)
from numberline.domain.phone import parse_number

# By name, the values given for it in the order they came; a text, never a number, whatever the body was.
RawParameters = Mapping[str, list[str]]

_INTEGER = re.compile(r"[0-9]{1,16}", re.ASCII)
_INTEGER_MAX: Final = 2**53 - 1  # what every client holds exactly
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}", re.ASCII)
# Control characters, and what is left of bytes that were no UTF-8.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SHOWABLE = re.compile(r"[0-9A-Za-z ()+,.\-]{1,40}", re.ASCII)
_Item = str | int | float | bool
_JSON_LIST: Final = msgspec.json.Decoder(list[_Item])


def read_integer(text: str) -> int:
    """ASCII digits alone, up to 53 bits; ValueError otherwise."""
    if not _INTEGER.fullmatch(text):
        raise ValueError("not an integer")
    value = int(text)
    if value > _INTEGER_MAX:
        raise ValueError("beyond 53 bits")
    return value


def read_boolean(text: str) -> bool:
    """`true`, `false`, `1` or `0`, in any case; ValueError otherwise."""
    value = _BOOLEANS.get(text.lower())
    if value is None:
        raise ValueError("not a boolean")
    return value


def read_timestamp(text: str) -> datetime:
    """`YYYY-MM-DD HH:MM:SS` in UTC, or a bare date as its midnight; ValueError otherwise."""
    if not (_TIMESTAMP.fullmatch(text) or _DATE.fullmatch(text)):
        raise ValueError("not a timestamp")
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def read_date(text: str) -> date:
    """`YYYY-MM-DD`; a time part is accepted and dropped, since some clients always send one."""
    return read_timestamp(text).date()


def read_text(text: str) -> str:
    """Any text without control characters; ValueError otherwise."""
    if _UNFIT.search(text):
        raise ValueError("control characters")
    return text


def read_number(text: str) -> int:
    """A phone number in any usual spelling; ValueError otherwise."""
    number = parse_number(text)
    if number is None:
        raise ValueError("not a phone number")
    return number


def split_list(values: list[str]) -> list[str]:
    """The items of a list in any of its spellings, trimmed, in order, empty ones dropped.

    A value that starts with `[` and is a JSON array gives its items as they stand; any other is cut at `;`.
    """
    items = [item.strip() for value in values for item in _split(value.strip())]
    return [item for item in items if item]


def _split(value: str) -> list[str]:
    if value.startswith("["):
        try:
            return [_plain(item) for item in _JSON_LIST.decode(value)]
        except (msgspec.DecodeError, ValueError):
            pass
    return value.split(";")


def _plain(item: _Item) -> str:
    if isinstance(item, bool):
        return "true" if item else "false"
    return str(item)


def showable(text: str) -> str:
    """A value as it may be repeated in a message: plain short text, or a question mark."""
    return text if _SHOWABLE.fullmatch(text) else "?"


_READERS: Final[dict[Kind, Callable[[str], Any]]] = {
    Kind.TEXT: read_text,
    Kind.INTEGER: read_integer,
    Kind.BOOLEAN: read_boolean,
    Kind.DATE: read_date,
    Kind.TIMESTAMP: read_timestamp,
    Kind.NUMBER: read_number,
}


class _Reader:
    """Reads one parameter; built once per declaration."""

    def __init__(self, bound: Bound) -> None:
        param = bound.param
        self.wire: Final = param.wire
        self.into: Final = param.into
        self.required: Final = param.required or param.required_unless is not None
        self.required_unless: Final = param.required_unless
        self.many: Final = bound.many
        self.refused_as: Final = refusal_of(bound)
        self._zero_is_absent: Final = param.zero_is_absent
        self._accepts_all: Final = param.accepts_all
        self._at_least: Final = param.at_least
        self._at_most: Final = param.at_most
        self._capped_at: Final = param.capped_at
        self._items_max: Final = param.items_max or limits.LIST_ITEMS
        self._choices: Final = {
            choice.lower(): param.meanings.get(choice, choice) for choice in param.choices
        }
        self._is_integer: Final = bound.kind is Kind.INTEGER
        self._convert: Final[Callable[[str], Any]] = self._choose if param.choices else _READERS[bound.kind]

    def present(self, values: list[str]) -> list[str] | None:
        """The values trimmed, or None where they amount to nothing given."""
        trimmed = [text for value in values if (text := value.strip())]
        if not trimmed or (self._zero_is_absent and trimmed[-1] == "0"):
            return None
        # `;` and `[]` are lists that hold nothing.
        return trimmed if not self.many or split_list(trimmed) else None

    def read(self, values: list[str]) -> Any:
        """The typed value; a scalar given repeatedly counts as last given."""
        for value in values:
            if len(value) > limits.PARAMETER_BYTES:
                raise self._too_long(f"{limits.PARAMETER_BYTES} characters")
        return self._read_list(values) if self.many else self._read_one(values[-1])

    def _read_list(self, values: list[str]) -> Any:
        items = split_list(values)
        if self._accepts_all and len(items) == 1 and items[0].lower() == "all":
            return "all"
        if len(items) > self._items_max:
            raise self._too_long(f"{self._items_max} items")
        return list(dict.fromkeys(self._read_one(item) for item in items))

    def _read_one(self, text: str) -> Any:
        try:
            value = self._convert(text)
        except ValueError:
            raise self._refusal(text) from None
        if self._is_integer:
            return self._within(value, text)
        return value

    def _within(self, value: int, text: str) -> int:
        if value < self._at_least or (self._at_most is not None and value > self._at_most):
            raise self._refusal(text)
        return value if self._capped_at is None else min(value, self._capped_at)

    def _choose(self, text: str) -> str:
        choice = self._choices.get(text.lower())
        if choice is None:
            raise ValueError("not one of the choices")
        return choice

    def _refusal(self, text: str) -> Refusal:
        # Sentences differ in what they name; each takes what it needs.
        return Refusal(self.refused_as, parameter=self.wire, number=showable(text), limit=self._at_most)

    def _too_long(self, limit: str) -> Refusal:
        return Refusal(LENGTH_EXCEEDED, parameter=self.wire, limit=limit)


class OrderParser:
    """Turns raw parameters into the order of one method; built once from the declaration."""

    def __init__(self, method: Method) -> None:
        self._order: Final = method.order
        self._readers: Final = tuple(_Reader(bound) for bound in bind(method))
        self._required: Final = tuple(
            (reader.wire, reader.required_unless) for reader in self._readers if reader.required
        )
        self._together: Final = method.together
        self._exclusive: Final = method.exclusive
        into = {reader.wire: reader.into for reader in self._readers}
        self._ranges: Final = tuple((span, into[span.lower], into[span.upper]) for span in method.ranges)

    def parse(self, raw: RawParameters) -> Any:
        """The typed order; a Refusal names the one parameter at fault. Unknown names are ignored."""
        given = self._find_given(raw)
        self._check_presence(given)
        for group in self._exclusive:
            _check_exclusive(group, given)
        values = {reader.into: reader.read(texts) for reader, texts in given.values()}
        for span, lower, upper in self._ranges:
            _check_range(span, values.get(lower), values.get(upper))
        return self._order(**values)

    def _find_given(self, raw: RawParameters) -> dict[str, tuple[_Reader, list[str]]]:
        given = {}
        for reader in self._readers:
            values = raw.get(reader.wire)
            if values is not None and (texts := reader.present(values)) is not None:
                given[reader.wire] = (reader, texts)
        return given

    def _check_presence(self, given: Mapping[str, object]) -> None:
        for name, unless in self._required:
            if name not in given and unless not in given:
                raise Refusal(REQUIRED_IS_EMPTY, parameter=name)
        for group in self._together:
            _check_together(group, given)


def _check_together(group: tuple[str, ...], given: Mapping[str, object]) -> None:
    missing = [name for name in group if name not in given]
    if missing and len(missing) < len(group):
        raise Refusal(REQUIRED_IS_EMPTY, parameter=missing[0])


def _check_exclusive(group: tuple[str, ...], given: Mapping[str, object]) -> None:
    names = [name for name in group if name in given]
    if len(names) > 1:
        raise Refusal(ONLY_ONE_OF, names=", ".join(names))


def _check_range(span: Range, lower: Any, upper: Any) -> None:
    if lower is not None and upper is not None and lower > upper:
        raise Refusal(span.refused_as, parameter=span.upper)
