"""Read files of numbers: every spelling people use is understood, every number a spreadsheet has spoilt is reported.

What cannot be read with certainty is never guessed: a number on sale that is not the carrier's is worse than a line
that has to be mended by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from sys import intern
from typing import BinaryIO, Final, TextIO

import msgspec

from numberline.domain.catalog import canonical_category
from numberline.domain.stock_import import Problem, StockLine
from numberline.service.csv_table import Table, TableRow

Progress = Callable[[int, int], None]

COLUMNS: Final = ("country_code", "category", "region_id", "tier", "first_number", "last_number")
_REQUIRED: Final = ("country_code", "category", "region_id", "first_number")
_OPTIONAL: Final = ("tier", "last_number")
TIER_CHARACTERS_MAX: Final = 64
LINES_PER_REPORT: Final = 10_000

# Blanks of every width, and the invisible signs that come along when numbers are copied from a page or a phone.
_INVISIBLE: Final = re.compile("[\\s\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\u00ad]+")
_QUOTES: Final = str.maketrans("", "", "\"'`´‘’“”„«»")
_HYPHENS: Final = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"))
_SEPARATORS: Final = str.maketrans("", "", "-()./[]")
_FORMULA: Final = re.compile(r'="[^"]*"')
_SCIENTIFIC: Final = re.compile(r"\+?([0-9])(?:[.,]([0-9]+))?[eE]\+?([0-9]{1,2})", re.ASCII)
_LOOKS_SCIENTIFIC: Final = re.compile(r"[-+]?[0-9.,]+[eE][-+]?[0-9]+", re.ASCII)
# `15552850126.0`: a whole number that passed through a decimal one. Three zeros could be digits of the number.
_WHOLE: Final = re.compile(r"(\+?[0-9][0-9,]*)[.,]0{0,2}", re.ASCII)
_THOUSANDS: Final = re.compile(r"\+?[0-9]{1,3}(?:,[0-9]{3})+", re.ASCII)
_SINGLE_POINT: Final = re.compile(r"[0-9]+\.[0-9]+", re.ASCII)
_TWO_NUMBERS: Final = re.compile(r"\+?[0-9]{9,}[-/]+\+?[0-9]+", re.ASCII)
_TRUNK_ZERO: Final = re.compile(r"[0-9]\(0\)", re.ASCII)
_DIGITS: Final = re.compile(r"[0-9]+", re.ASCII)
_DIGITS_MIN, _DIGITS_MAX = 4, 15
# Most numbers of most files; the rest of this page is for the others.
_PLAIN: Final = re.compile(r"[1-9][0-9]{3,14}", re.ASCII)


class StockFile(msgspec.Struct, frozen=True):
    """The lines of a file that could be read, and the problems of those that could not."""

    lines: list[StockLine]
    problems: list[Problem]


class Damaged(ValueError):
    """A cell that does not say for certain what it means; the message is a sentence for people."""


def read_stock_csv(stream: TextIO | BinaryIO, *, progress: Progress | None = None) -> StockFile:
    """Read a CSV file with the columns of `COLUMNS`; `number` is another name for `first_number`.

    The order of the columns does not matter and further ones are left out; `tier` and `last_number` may be missing. The
    delimiter is a comma, semicolon or tab. A stream of bytes may be UTF-8 or UTF-16. `progress` is called with
    (lines read, 0) now and then.
    """
    table = Table(stream, _REQUIRED, _OPTIONAL, synonyms={"number": "first_number"})
    lines: list[StockLine] = []
    problems: list[Problem] = []
    for count, row in enumerate(table, start=1):
        try:
            lines.append(_read_line(row))
        except Damaged as fault:
            problems.append(Problem(row.line, row.text, str(fault)))
        if progress is not None and count % LINES_PER_REPORT == 0:
            progress(table.line_count, 0)
    if progress is not None:
        progress(table.line_count, 0)
    return StockFile(lines, sorted(table.problems + problems, key=lambda problem: problem.line))


def _read_line(row: TableRow) -> StockLine:
    country = row["country_code"].upper()
    category = canonical_category(row["category"])
    tier = row["tier"]
    for column, value in (("country_code", country), ("category", category)):
        if not value:
            raise Damaged(f"{column} is empty.")
    if len(tier) > TIER_CHARACTERS_MAX:
        raise Damaged(f"tier is longer than {TIER_CHARACTERS_MAX} characters.")
    first = _cell("first_number", row["first_number"])
    # One object for both ends of a single number: a million of them are then smaller by a fifth.
    last = _cell("last_number", row["last_number"]) if row["last_number"] else first
    region_id = _region_id(row["region_id"])
    return StockLine(intern(country), intern(category), region_id, intern(tier), first, last, row.line)


def _cell(column: str, text: str) -> int:
    try:
        return read_number(text)
    except Damaged as fault:
        raise Damaged(f"{column}: {fault}") from None


def _region_id(text: str) -> int:
    found = _WHOLE.fullmatch(text + "." if _DIGITS.fullmatch(text) else text)
    if found is None or len(digits := found.group(1)) > _DIGITS_MAX or not digits.isdecimal():
        raise Damaged("region_id is empty." if not text else "region_id is not a number.")
    return int(digits)


def read_number(text: str) -> int:
    """Read one phone number in international form; raises `Damaged` unless its digits are certain."""
    if _PLAIN.fullmatch(text):
        return int(text)
    plain = _bare(text)
    if not plain:
        raise Damaged("the number is missing.")
    digits = _certain(plain).removeprefix("+").translate(_SEPARATORS)
    if not _DIGITS.fullmatch(digits):
        raise Damaged("this is not a phone number.")
    if digits.startswith("0"):
        raise Damaged("a number in international form does not begin with 0.")
    if not _DIGITS_MIN <= len(digits) <= _DIGITS_MAX:
        raise Damaged(f"the number has {len(digits)} digits instead of {_DIGITS_MIN} to {_DIGITS_MAX}.")
    return int(digits)


def _bare(text: str) -> str:
    """A cell without blanks and quotation marks, and with one kind of hyphen."""
    content = text.strip()
    if _FORMULA.fullmatch(content):
        content = content[1:]
    return _INVISIBLE.sub("", content).translate(_QUOTES).translate(_HYPHENS)


def _certain(plain: str) -> str:
    """The number without what spreadsheets do to numbers; raises `Damaged` where digits may be lost or made up."""
    if _LOOKS_SCIENTIFIC.fullmatch(plain):
        return _from_scientific(plain)
    if plain.startswith("-"):
        raise Damaged("this is the result of a calculation, not a phone number.")
    if plain.startswith("#"):
        raise Damaged("the spreadsheet shows an error instead of the number.")
    if _TWO_NUMBERS.fullmatch(plain):
        raise Damaged("this looks like two numbers in one cell; give the second as last_number.")
    if _TRUNK_ZERO.search(plain):
        raise Damaged("a 0 in brackets is dialled inside the country only; leave it out.")
    if not plain.startswith("+") and (whole := _WHOLE.fullmatch(plain)):
        plain = whole.group(1)
    elif plain.startswith("+") and plain.endswith((".0", ".00")) and plain.count(".") == 1:
        plain = plain[: plain.index(".")]
    if _THOUSANDS.fullmatch(plain):
        return plain.replace(",", "")
    if _SINGLE_POINT.fullmatch(plain):
        raise Damaged("this is a decimal number; format the column as text.")
    return plain


def _from_scientific(plain: str) -> str:
    """A number such as 1.5552850126E+10, provided that all its digits are still there."""
    found = _SCIENTIFIC.fullmatch(plain)
    if found is not None:
        whole, fraction, exponent = found.group(1), found.group(2) or "", int(found.group(3))
        if len(fraction) >= exponent and not fraction[exponent:].strip("0"):
            return whole + fraction[:exponent]
    raise Damaged("the spreadsheet has rounded the number and lost digits; format the column as text.")
