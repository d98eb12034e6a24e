"""Money: integers of one millionth of a currency unit, and the one place that rounds."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

MICROS_PER_UNIT: Final = 1_000_000
# Sums stay far inside the signed 64 bits of both engines.
MAX_MICROS: Final = 10**15 * MICROS_PER_UNIT // 1_000
_DECIMAL = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,6})?", re.ASCII)


def parse_amount(text: str) -> int:
    """Read a plain decimal such as `12.50` into micros; ValueError on anything else or on a seventh decimal."""
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"not an amount of money: {text!r}")
    amount = int(Decimal(text) * MICROS_PER_UNIT)
    if abs(amount) > MAX_MICROS:
        raise ValueError(f"amount out of range: {text!r}")
    return amount


def format_amount(micros: int) -> str:
    """Write micros as the shortest plain decimal: `12`, `0.5`, `-3.25`."""
    sign = "-" if micros < 0 else ""
    units, rest = divmod(abs(micros), MICROS_PER_UNIT)
    if not rest:
        return f"{sign}{units}"
    return f"{sign}{units}.{rest:06d}".rstrip("0")


def to_decimal(micros: int) -> Decimal:
    """Micros as the decimal that is written on the wire, without a fraction where there is none."""
    return Decimal(format_amount(micros))


def scale(micros: int, numerator: int, denominator: int) -> int:
    """Multiply by a ratio and round half away from zero to the micro.

    The only place of the product that rounds money.
    """
    assert denominator > 0, "a ratio has a positive denominator"
    product = micros * numerator
    magnitude = (2 * abs(product) + denominator) // (2 * denominator)
    return magnitude if product >= 0 else -magnitude
