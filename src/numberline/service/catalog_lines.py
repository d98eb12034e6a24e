"""The files of a catalogue, line by line: columns, keys, and how each value is written and read.

| file          | columns that make a row unique                | replaces its part |
|---------------|-----------------------------------------------|-------------------|
| countries.csv | country_code                                  | yes               |
| states.csv    | country_code, state_code                      | yes               |
| regions.csv   | region_id                                     | no, it adds to it |
| prices.csv    | country_code, category, region_id, tier       | yes               |
| rules.csv     | country_code, category, region_id             | yes               |
| taxes.csv     | billing_country                               | yes               |
| rates.csv     | currency                                      | yes               |
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, BinaryIO, Final

import msgspec

from numberline.domain.catalog import (
    ANY,
    ANY_REGION,
    CATEGORIES,
    CatalogRows,
    Country,
    Price,
    Region,
    Rule,
    State,
    canonical_category,
)
from numberline.domain.money import format_amount, parse_amount
from numberline.domain.regulation import ADDRESS_TYPES
from numberline.service.catalog_check import FileProblem
from numberline.service.csv_table import Table, TableRow
from numberline.service.stock_csv import TIER_CHARACTERS_MAX

_COUNTRY: Final = re.compile(r"[A-Z]{2}", re.ASCII)
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
_STATE: Final = re.compile(r"[A-Z0-9]{1,3}", re.ASCII)
_CALLING_CODE: Final = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)
_AREA_CODE: Final = re.compile(r"[0-9]{0,10}", re.ASCII)
_REGION_ID: Final = re.compile(r"[1-9][0-9]{0,14}", re.ASCII)
_VERIFICATION: Final = re.compile(r"[A-Z0-9_]{0,32}", re.ASCII)
_TRUE: Final = frozenset({"true", "yes", "1"})
_FALSE: Final = frozenset({"false", "no", "0"})
_NAME_CHARACTERS_MAX: Final = 200
# A percent has four decimals at most: then it is a whole number of millionths.
_PPM_PER_PERCENT: Final = 10_000
_MICROS_PER_PPM: Final = 100


class FileFormat(msgspec.Struct, frozen=True, eq=False):
    """One file: its columns, how a row is read and written, its key, and its part of a catalogue.

    `keeps`: rows that the file does not have stay in the catalogue.
    """

    name: str
    columns: tuple[str, ...]
    read: Callable[[TableRow], Any]
    write: Callable[[Any], tuple[object, ...]]
    key: Callable[[Any], Any]
    rows_of: Callable[[CatalogRows], list[Any]]
    replace: Callable[[CatalogRows, list[Any]], CatalogRows]
    keeps: bool = False

    def part(self, rows: CatalogRows) -> dict[Any, Any]:
        """The file's part of a catalogue, by key."""
        return {self.key(row): row for row in self.rows_of(rows)}


def read_lines(
    kind: FileFormat, stream: BinaryIO
) -> tuple[dict[Any, Any], dict[Any, int], list[FileProblem]]:
    """The rows of a file by key, the line of each key, and the problems of the other lines."""
    table = Table(stream, kind.columns)
    rows: dict[Any, Any] = {}
    lines: dict[Any, int] = {}
    problems: list[FileProblem] = []
    for line in table:
        try:
            row = kind.read(line)
        except ValueError as fault:
            problems.append(FileProblem(kind.name, line.line, line.text, str(fault)))
            continue
        key = kind.key(row)
        if key in lines:
            sentence = f"Line {lines[key]} has the same key already."
            problems.append(FileProblem(kind.name, line.line, line.text, sentence))
            continue
        rows[key], lines[key] = row, line.line
    problems += [FileProblem(kind.name, one.line, one.text, one.sentence) for one in table.problems]
    return rows, lines, sorted(problems, key=lambda problem: problem.line)


# --- reading values; each raises ValueError with a sentence ---


def _match(row: TableRow, column: str, pattern: re.Pattern[str], what: str) -> str:
    text = row[column]
    if not pattern.fullmatch(text):
        raise ValueError(f"{column} is not {what}: {text!r}.")
    return text


def _country(row: TableRow, column: str = "country_code") -> str:
    return _match(row, column, _COUNTRY, "a country code of two capitals")


def _any_country(row: TableRow) -> str:
    return ANY if row["country_code"] == ANY else _country(row)


def _category(row: TableRow) -> str:
    found = canonical_category(row["category"])
    if found not in CATEGORIES:
        raise ValueError(f"category is none of {', '.join(CATEGORIES)}: {row['category']!r}.")
    return found


def _any_category(row: TableRow) -> str:
    return ANY if row["category"] == ANY else _category(row)


def _region_id(row: TableRow) -> int:
    return int(_match(row, "region_id", _REGION_ID, "the id of a region"))


def _any_region(row: TableRow) -> int:
    return _region_id(row) if row["region_id"] else ANY_REGION


def _name(row: TableRow, column: str) -> str:
    text = row[column]
    if not text or len(text) > _NAME_CHARACTERS_MAX:
        raise ValueError(f"{column} is not a name of 1 to {_NAME_CHARACTERS_MAX} characters.")
    if "\ufffd" in text:
        raise ValueError(f"{column} is damaged; save the file as UTF-8.")
    return text


def _amount(row: TableRow, column: str) -> int:
    try:
        found = parse_amount(row[column])
    except ValueError:
        found = -1
    if found < 0:
        raise ValueError(f"{column} is not an amount such as 12.50: {row[column]!r}.")
    return found


def _flag(row: TableRow, column: str) -> bool:
    text = row[column].casefold()
    if text not in _TRUE | _FALSE:
        raise ValueError(f"{column} is neither true nor false: {row[column]!r}.")
    return text in _TRUE


def _position(row: TableRow) -> tuple[str, str, int]:
    found = _any_country(row), _any_category(row), _any_region(row)
    if found[2] != ANY_REGION and ANY in found:
        raise ValueError("A line for one region names its country and category.")
    return found


# --- reading and writing rows ---


def _read_country(row: TableRow) -> Country:
    calling_code = _match(row, "calling_code", _CALLING_CODE, "a calling code")
    return Country(_country(row), calling_code, _name(row, "name_en"), _name(row, "name_ru"))


def _read_state(row: TableRow) -> State:
    code = _match(row, "state_code", _STATE, "the code of a state")
    return State(_country(row), code, _name(row, "name_en"))


def _read_region(row: TableRow) -> Region:
    return Region(
        id=_region_id(row),
        country=_country(row),
        category=_category(row),
        state=_match(row, "state_code", _STATE, "the code of a state") if row["state_code"] else "",
        area_code=_match(row, "area_code", _AREA_CODE, "an area code"),
        name_en=_name(row, "name_en"),
        name_ru=_name(row, "name_ru"),
    )


def _read_price(row: TableRow) -> Price:
    tier = row["tier"]
    if len(tier) > TIER_CHARACTERS_MAX:
        raise ValueError(f"tier is longer than {TIER_CHARACTERS_MAX} characters.")
    currency = _match(row, "currency", _CURRENCY, "a currency of three capitals")
    return Price(*_position(row), tier, currency, _amount(row, "monthly_fee"), _amount(row, "setup_fee"))


def _write_price(row: Price) -> tuple[object, ...]:
    fees = format_amount(row.monthly_micros), format_amount(row.setup_micros)
    return (row.country, row.category, row.region_id or "", row.tier, row.currency, *fees)


def _read_rule(row: TableRow) -> Rule:
    address = row["regulation_address"]
    if address and address not in ADDRESS_TYPES:
        raise ValueError(f"regulation_address is neither empty nor one of {', '.join(ADDRESS_TYPES)}.")
    return Rule(
        *_position(row),
        can_list=_flag(row, "can_list"),
        can_buy_by_number=_flag(row, "can_buy_by_number"),
        sms=_flag(row, "sms"),
        regulation_address=address,
        verification=_match(row, "verification", _VERIFICATION, "the name of a verification in capitals"),
        sandbox=_flag(row, "sandbox"),
        emergency_calls=_flag(row, "emergency_calls"),
    )


def _write_rule(row: Rule) -> tuple[object, ...]:
    values = msgspec.structs.astuple(row)
    shown = [str(value).lower() if isinstance(value, bool) else value for value in values[3:]]
    return (row.country, row.category, row.region_id or "", *shown)


def _read_tax(row: TableRow) -> tuple[str, int]:
    micros = _amount(row, "rate_percent")
    ppm, rest = divmod(micros, _MICROS_PER_PPM)
    if rest or ppm > 100 * _PPM_PER_PERCENT:
        raise ValueError(f"rate_percent is not 0 to 100 with four decimals: {row['rate_percent']!r}.")
    return _country(row, "billing_country"), ppm


def _write_tax(row: tuple[str, int]) -> tuple[object, ...]:
    return (row[0], format_amount(row[1] * _MICROS_PER_PPM))


def _read_rate(row: TableRow) -> tuple[str, int]:
    per_usd = _amount(row, "per_usd")
    currency = _match(row, "currency", _CURRENCY, "a currency of three capitals")
    if not per_usd:
        raise ValueError("per_usd is zero.")
    if currency == "USD" and row["per_usd"].rstrip("0").rstrip(".") != "1":
        raise ValueError("One dollar costs one dollar.")
    return currency, per_usd


def _write_rate(row: tuple[str, int]) -> tuple[object, ...]:
    return (row[0], format_amount(row[1]))


def _replace(field: str) -> Callable[[CatalogRows, list[Any]], CatalogRows]:
    return lambda rows, part: msgspec.structs.replace(rows, **{field: part})


def _replace_pairs(field: str) -> Callable[[CatalogRows, list[Any]], CatalogRows]:
    return lambda rows, part: msgspec.structs.replace(rows, **{field: dict(part)})


FILES: Final = (
    FileFormat(
        "countries.csv",
        ("country_code", "calling_code", "name_en", "name_ru"),
        _read_country,
        msgspec.structs.astuple,
        lambda row: row.code,
        lambda rows: rows.countries,
        _replace("countries"),
    ),
    FileFormat(
        "states.csv",
        ("country_code", "state_code", "name_en"),
        _read_state,
        msgspec.structs.astuple,
        lambda row: (row.country, row.code),
        lambda rows: rows.states,
        _replace("states"),
    ),
    FileFormat(
        "regions.csv",
        ("region_id", "country_code", "category", "state_code", "area_code", "name_en", "name_ru"),
        _read_region,
        msgspec.structs.astuple,
        lambda row: row.id,
        lambda rows: rows.regions,
        _replace("regions"),
        keeps=True,
    ),
    FileFormat(
        "prices.csv",
        ("country_code", "category", "region_id", "tier", "currency", "monthly_fee", "setup_fee"),
        _read_price,
        _write_price,
        lambda row: (row.country, row.category, row.region_id, row.tier),
        lambda rows: rows.prices,
        _replace("prices"),
    ),
    FileFormat(
        "rules.csv",
        (
            *("country_code", "category", "region_id", "can_list", "can_buy_by_number", "sms"),
            *("regulation_address", "verification", "sandbox", "emergency_calls"),
        ),
        _read_rule,
        _write_rule,
        lambda row: (row.country, row.category, row.region_id),
        lambda rows: rows.rules,
        _replace("rules"),
    ),
    FileFormat(
        "taxes.csv",
        ("billing_country", "rate_percent"),
        _read_tax,
        _write_tax,
        lambda row: row[0],
        lambda rows: list(rows.tax_ppm.items()),
        _replace_pairs("tax_ppm"),
    ),
    FileFormat(
        "rates.csv",
        ("currency", "per_usd"),
        _read_rate,
        _write_rate,
        lambda row: row[0],
        lambda rows: list(rows.per_usd_micros.items()),
        _replace_pairs("per_usd_micros"),
    ),
)
