"""Phone numbers: read in any usual spelling, kept as integers, split into thousands-blocks."""

from __future__ import annotations

import re
from typing import Final

BLOCK_SIZE: Final = 1_000
_SEPARATORS: Final = str.maketrans("", "", " \u00a0\t-()./+")
# E.164 allows 15 digits; the shortest international numbers in use have 7, test ranges may be shorter.
_DIGITS = re.compile(r"[1-9][0-9]{3,14}", re.ASCII)


def parse_number(text: str) -> int | None:
    """Read an international number with or without `+`, blanks, hyphens, dots or brackets.

    Returns the digits as an integer, or None when the text is no phone number.
    """
    digits = without_separators(text)
    return int(digits) if _DIGITS.fullmatch(digits) else None


def without_separators(text: str) -> str:
    """A number or mask without the signs that people put between digits."""
    return text.translate(_SEPARATORS)


def block_of(number: int) -> int:
    """The block a number belongs to: all but its last three digits."""
    return number // BLOCK_SIZE


def ending_of(number: int) -> int:
    """The place of a number within its block, 0..999."""
    return number % BLOCK_SIZE
