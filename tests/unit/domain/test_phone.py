"""Phone numbers: any usual spelling is understood, everything else is refused, and blocks are thousands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numberline.domain.phone import BLOCK_SIZE, block_of, ending_of, parse_number, without_separators

numbers = st.integers(1_000, 10**15 - 1)


@pytest.mark.parametrize(
    "text",
    [
        "15552850126",
        "+15552850126",
        " 15552850126 ",
        "+1 (555) 285-0126",
        "1.555.285.0126",
        "1/555/2850126",
        "1\u00a0555\u00a02850126",
        "1\t5552850126",
    ],
)
def test_one_number_in_many_spellings(text: str) -> None:
    assert parse_number(text) == 15552850126


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "()",
        "123",
        "1234567890123456",
        "05552850126",
        "0015552850126",
        "1555285012x",
        "1_555_285_0126",
        "15552850126e0",
        "１５５５２８５０１２６",
        "١٥٥٥٢٨٥٠١٢٦",
        "15552850126\n",
        "15552850126\x00",
        "tel:15552850126",
        "1555285*",
        "1,555,285,0126",
    ],
)
def test_what_is_no_number(text: str) -> None:
    assert parse_number(text) is None


@given(numbers, st.lists(st.sampled_from(" -().+/"), max_size=20), st.randoms(use_true_random=False))
def test_separators_never_change_the_number(number: int, signs: list[str], chance: object) -> None:
    written = list(str(number))
    for sign in signs:
        written.insert(chance.randrange(len(written) + 1), sign)  # type: ignore[attr-defined]
    text = "".join(written)
    assert without_separators(text) == str(number)
    assert parse_number(text) == number


@given(st.text(max_size=20))
def test_no_text_breaks_the_reader(text: str) -> None:
    found = parse_number(text)
    assert found is None or 1_000 <= found < 10**15


@given(numbers)
def test_block_and_ending_make_the_number(number: int) -> None:
    assert block_of(number) * BLOCK_SIZE + ending_of(number) == number
    assert 0 <= ending_of(number) < BLOCK_SIZE
    assert str(number) == f"{block_of(number)}{ending_of(number):03d}"
