"""Blocks as bit maps against sets of numbers, and masks against regular expressions over whole thousands."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from numberline.domain.blocks import ALL_FREE, MAP_BYTES, Block, Mask, numbers_in, pack, range_bits, unpack
from numberline.domain.phone import BLOCK_SIZE

PREFIX = 15552850
endings = st.sets(st.integers(0, BLOCK_SIZE - 1), max_size=40)
maps = st.one_of(
    st.just(0),
    st.just(ALL_FREE),
    endings.map(lambda chosen: sum(1 << ending for ending in chosen)),
    endings.map(lambda chosen: ALL_FREE ^ sum(1 << ending for ending in chosen)),
    st.integers(0, ALL_FREE),
)
prefixes = st.integers(1, 10**12 - 1)


def _numbers(prefix: int, bits: int) -> set[int]:
    return {prefix * BLOCK_SIZE + ending for ending in range(BLOCK_SIZE) if bits >> ending & 1}


@settings(max_examples=50)
@given(prefixes, maps)
def test_a_block_has_exactly_the_numbers_of_its_bits(prefix: int, bits: int) -> None:
    block, model = Block(1, prefix, BLOCK_SIZE, bits), _numbers(prefix, bits)
    assert block.free_count == len(model)
    assert {number for number in range(prefix * 1000, prefix * 1000 + 1000) if block.has(number)} == model
    assert not block.has(prefix * 1000 - 1)
    assert not block.has(prefix * 1000 + 1000)
    assert list(numbers_in(prefix, bits)) == sorted(model)


@settings(max_examples=50)
@given(prefixes, maps, st.integers(0, 1_200))
def test_pickers_get_the_highest_numbers(prefix: int, bits: int, count: int) -> None:
    block = Block(1, prefix, BLOCK_SIZE, bits)
    assert block.highest(count) == sorted(_numbers(prefix, bits), reverse=True)[:count]
    assert block.free_map == bits, "looking takes nothing"


@settings(max_examples=50)
@given(maps, st.lists(st.integers(0, BLOCK_SIZE - 1), max_size=30))
def test_a_number_is_taken_once(bits: int, taken: list[int]) -> None:
    block, model = Block(1, PREFIX, BLOCK_SIZE, bits), _numbers(PREFIX, bits)
    for ending in taken:
        number = PREFIX * BLOCK_SIZE + ending
        if number in model:
            block.take(number)
            model.remove(number)
        else:
            with pytest.raises(AssertionError):
                block.take(number)
        assert _numbers(PREFIX, block.free_map) == model


def test_a_number_of_another_block_cannot_be_taken() -> None:
    with pytest.raises(AssertionError):
        Block(1, PREFIX, BLOCK_SIZE, ALL_FREE).take((PREFIX + 1) * BLOCK_SIZE)


@given(maps)
def test_packing_loses_nothing(bits: int) -> None:
    data = pack(bits)
    assert unpack(data) == bits
    assert (data is None) == (bits == ALL_FREE)
    assert data is None or len(data) == MAP_BYTES


def test_the_lowest_bit_of_the_first_byte_is_the_ending_000() -> None:
    assert pack(1) == b"\x01" + bytes(MAP_BYTES - 1)
    assert pack(1 << 999) == bytes(MAP_BYTES - 1) + b"\x80"


@given(st.integers(0, 999), st.integers(0, 999))
def test_ranges_include_both_ends(one: int, other: int) -> None:
    first, last = sorted((one, other))
    assert _numbers(0, range_bits(first, last)) == set(range(first, last + 1))


masks = st.text("0123456789***", min_size=1, max_size=14).filter(lambda text: text.count("*") <= 6)


@settings(max_examples=150)
@given(masks, st.integers(1, 99_999_999))
@example("*", 15552850)
@example("**", 15552850)
@example("*555*", 15552850)
@example("1555*126", 15552850)
@example("15552850126", 15552850)
@example("15552850", 15552850)
@example("*0", 1)
@example("1*1*1*1", 1111)
@example("***9***9***9***", 9)
def test_masks_match_as_regular_expressions_do(pattern: str, prefix: int) -> None:
    expression = re.compile(re.sub(r"\*+", "[0-9]*", pattern))
    expected = {
        number
        for number in range(prefix * BLOCK_SIZE, prefix * BLOCK_SIZE + BLOCK_SIZE)
        if expression.fullmatch(str(number))
    }
    assert _numbers(prefix, Mask(pattern).endings(prefix)) == expected


@settings(max_examples=60)
@given(st.integers(1, 9_999_999), st.lists(st.integers(0, 10), max_size=4), st.integers(0, 999))
def test_masks_cut_out_of_a_number_match_it(prefix: int, cuts: list[int], ending: int) -> None:
    text = f"{prefix}{ending:03d}"
    for cut in cuts:
        text = text[:cut] + "*" + text[cut + 2 :]
    number = f"{prefix}{ending:03d}"
    assert fnmatchcase(number, text) == bool(Mask(text).endings(prefix) >> ending & 1)


@pytest.mark.parametrize("pattern", ["", "?", "1555-", "1555%", "+1555", "１", "*a*", "1 555", "[0-9]"])
def test_a_mask_has_only_digits_and_stars(pattern: str) -> None:
    with pytest.raises(ValueError, match="a mask has only digits"):
        Mask(pattern)
