"""Tables as people and spreadsheets save them: which encoding, which delimiter, which column is which.

A record is one line: a quote that is never closed then spoils that line and none after it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import BinaryIO, Final, TextIO

import msgspec

from numberline.domain.stock_import import Problem

_DELIMITERS: Final = ",;\t"
_BYTE_ORDER_MARK: Final = "\ufeff"
_SHOWN_CHARACTERS: Final = 120
# A remark begins with `#`, but so does a spreadsheet's error in the first column, which must not go unnoticed.
_REMARK: Final = re.compile(r"\s*#(?!(?:N/A|VALUE!|REF!|NAME\?|NUM!|NULL!|DIV/0!|#+)\s*(?:[,;\t]|$))")


class TableRow(msgspec.Struct, frozen=True):
    """The values of one line by column; an absent column's value is empty."""

    line: int
    text: str
    values: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.values.get(column, "")


class Table:
    """The rows of a CSV file, read as they are asked for; `problems` fills up meanwhile.

    Columns are found by their names in the first line, in any order and case; unknown ones are left out. Blank
    lines and lines that begin with `#` are passed over. The values come without the blanks around them.
    """

    def __init__(
        self,
        stream: TextIO | BinaryIO,
        required: Collection[str],
        optional: Collection[str] = (),
        *,
        synonyms: Mapping[str, str] | None = None,
    ) -> None:
        self.problems: list[Problem] = []
        self.line_count = 0
        self._stream = stream
        self._required = required
        self._known = {name: name for name in (*required, *optional)} | dict(synonyms or {})

    def __iter__(self) -> Iterator[TableRow]:
        records = self._records()
        columns: list[str | None] | None = None
        delimiter = ","
        for number, text in records:
            if columns is None:
                if text[:4].casefold() == "sep=":
                    continue
                delimiter = max(_DELIMITERS, key=text.count)
                columns = self._columns(number, text, delimiter)
                if columns is None:
                    return
                continue
            if (row := self._row(number, text, delimiter, columns)) is not None:
                yield row
        if columns is None:
            self._report(1, "", "The file has no line with the names of its columns.")

    def _records(self) -> Iterator[tuple[int, str]]:
        """Every line that says something, with its number."""
        stream = as_text(self._stream)
        try:
            for line in stream:
                self.line_count += 1
                text = line.rstrip("\r\n")
                if self.line_count == 1:
                    text = text.removeprefix(_BYTE_ORDER_MARK)
                if text.strip() and not ("#" in text and _REMARK.match(text)):
                    yield self.line_count, text
        finally:
            # Whoever opened the bytes closes them.
            if isinstance(stream, io.TextIOWrapper) and stream is not self._stream:
                stream.detach()

    def _columns(self, number: int, text: str, delimiter: str) -> list[str | None] | None:
        """The known name of each column; None, with problems reported, when the header will not do."""
        cells = self._cells(number, text, delimiter)
        if cells is None:
            return None
        columns = [self._known.get(_as_name(cell)) for cell in cells]
        named = [column for column in columns if column is not None]
        faults = [f"The column {name} is missing." for name in self._required if name not in named]
        faults += [
            f"The column {name} occurs twice." for name in sorted({n for n in named if named.count(n) > 1})
        ]
        for fault in faults:
            self._report(number, text, fault)
        return None if faults else columns

    def _row(self, number: int, text: str, delimiter: str, columns: Sequence[str | None]) -> TableRow | None:
        cells = self._cells(number, text, delimiter)
        if cells is None or not any(cells):
            return None
        if any(cells[len(columns) :]):
            self._report(
                number, text, f"The line has {len(cells)} values, the first line names {len(columns)}."
            )
            return None
        values = {column: cell for column, cell in zip(columns, cells, strict=False) if column is not None}
        return TableRow(number, text, values)

    def _cells(self, number: int, text: str, delimiter: str) -> list[str] | None:
        if '"' not in text:
            return [cell.strip() for cell in text.split(delimiter)]
        try:
            cells = next(csv.reader([text], delimiter=delimiter, strict=True))
        except csv.Error:
            self._report(number, text, "A quotation mark is not closed, or stands inside a value.")
            return None
        return [cell.strip() for cell in cells]

    def _report(self, number: int, text: str, sentence: str) -> None:
        self.problems.append(Problem(number, text[:_SHOWN_CHARACTERS], sentence))


def _as_name(cell: str) -> str:
    return cell.strip().casefold().replace(" ", "_").replace("-", "_")


def as_text(stream: TextIO | BinaryIO) -> TextIO:
    """A stream as text: bytes are read as the UTF-16 that spreadsheets write, or else as UTF-8.

    Bytes that are neither become U+FFFD, which no column but a remark can hold unnoticed.
    """
    if isinstance(stream, io.TextIOBase):
        return stream
    raw = stream if isinstance(stream, io.BufferedReader) else io.BytesIO(stream.read())  # type: ignore[arg-type]
    head = raw.peek(4)[:4] if isinstance(raw, io.BufferedReader) else raw.getvalue()[:4]
    return io.TextIOWrapper(raw, encoding=_encoding(head), errors="replace", newline="")


def _encoding(head: bytes) -> str:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    # Without a mark: the header's first letters are ASCII, so every other byte is zero.
    if head[1::2] == b"\0\0":
        return "utf-16-le"
    if head[::2] == b"\0\0":
        return "utf-16-be"
    return "utf-8-sig"
