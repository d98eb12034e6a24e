"""Money: what is read is what is written, and the one place that rounds is compared with exact fractions."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from numberline.domain.money import (
    MAX_MICROS,
    MICROS_PER_UNIT,
    format_amount,
    parse_amount,
    scale,
    to_decimal,
)

# The largest amount that can be written in twelve digits before the point.
LARGEST = MAX_MICROS - 1
amounts = st.integers(-LARGEST, LARGEST)


def _half_away_from_zero(value: Fraction) -> int:
    whole, rest = divmod(abs(value), 1)
    magnitude = int(whole) + (rest >= Fraction(1, 2))
    return magnitude if value >= 0 else -magnitude


@given(amounts)
@example(0)
@example(1)
@example(-1)
@example(LARGEST)
@example(-LARGEST)
def test_what_is_written_reads_back_as_the_same(micros: int) -> None:
    text = format_amount(micros)
    assert parse_amount(text) == micros
    assert Fraction(text) == Fraction(micros, MICROS_PER_UNIT)


@given(amounts)
def test_the_text_is_the_shortest_there_is(micros: int) -> None:
    text = format_amount(micros)
    assert not ("." in text and text.endswith(("0", ".")))
    assert "e" not in text.lower()
    assert text != "-0"
    assert to_decimal(micros) == Decimal(text)


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "0"),
        (12_000_000, "12"),
        (500_000, "0.5"),
        (-3_250_000, "-3.25"),
        (1, "0.000001"),
        (-1, "-0.000001"),
        (10_000_000, "10"),
        (100_000, "0.1"),
    ],
)
def test_amounts_by_hand(micros: int, text: str) -> None:
    assert format_amount(micros) == text
    assert parse_amount(text) == micros


@pytest.mark.parametrize(
    ("text", "micros"), [("1.50", 1_500_000), ("007", 7_000_000), ("-0", 0), ("0.10", 100_000)]
)
def test_zeros_that_say_nothing_are_read(text: str, micros: int) -> None:
    assert parse_amount(text) == micros


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ".",
        ".5",
        "5.",
        "+5",
        "--5",
        " 5",
        "5 ",
        "5\n",
        "1,5",
        "1_000",
        "1e3",
        "1E3",
        "0x10",
        "NaN",
        "Infinity",
        "0.1234567",
        "1.0000000",
        "٥",
        "५",
        "１２",
        "1.５",
        "−5",
        "$5",
        "1.2.3",
        "1000000000001",
        "999999999999999999999",
        "1000000000000.000001",
    ],
)
def test_anything_but_a_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="amount"):
        parse_amount(text)


def test_the_largest_amount_is_taken_and_one_micro_more_is_not() -> None:
    assert parse_amount("999999999999.999999") == LARGEST
    assert parse_amount("-999999999999.999999") == -LARGEST
    with pytest.raises(ValueError, match="amount"):
        parse_amount(format_amount(LARGEST + 1))
    assert 8 * MAX_MICROS < 2**63, "sums of several fit the engines' integers"


@given(amounts, st.integers(-(10**12), 10**12), st.integers(1, 10**12))
@example(1, 1, 2)
@example(-1, 1, 2)
@example(3, 1, 2)
@example(-3, 1, 2)
@example(2, 1, 4)
@example(0, 5, 7)
@example(1_000_000, 82_500, 1_000_000)
def test_scaling_rounds_half_away_from_zero(micros: int, numerator: int, denominator: int) -> None:
    assert scale(micros, numerator, denominator) == _half_away_from_zero(
        Fraction(micros * numerator, denominator)
    )


@given(amounts, st.integers(0, 10**9), st.integers(1, 10**9))
def test_scaling_knows_no_sign(micros: int, numerator: int, denominator: int) -> None:
    assert scale(-micros, numerator, denominator) == -scale(micros, numerator, denominator)


@pytest.mark.parametrize("denominator", [0, -1])
def test_a_ratio_without_a_positive_denominator_is_a_defect(denominator: int) -> None:
    with pytest.raises(AssertionError):
        scale(1, 1, denominator)
