"""Blocks as bit maps against sets of numbers, and masks against regular expressions over whole thousands."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from numberline.domain.blocks import (
    ALL_FREE,
    MAP_BYTES,
    Block,
    Mask,
    count_matching,
    is_packed,
    numbers_in,
    pack,
    range_bits,
    unpack,
)
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
@example(0)
@example(ALL_FREE)
@example(1)
@example(1 << 999)
@example(int("01" * 500, 2))
@example(sum(1 << ending for ending in range(0, 124, 2)))
@example(sum(1 << ending for ending in range(0, 126, 2)))
def test_packing_loses_nothing(bits: int) -> None:
    data = pack(bits)
    assert unpack(data) == bits
    assert is_packed(data)
    assert (data is None) == (bits == ALL_FREE)
    edges = (bits ^ bits >> 1).bit_count()
    assert data is None or len(data) == min(2 * edges, MAP_BYTES)


def test_a_map_is_kept_as_its_edges_while_they_are_few() -> None:
    assert pack(0) == b""
    assert pack(1) == b"\x01\x00"
    assert pack(1 << 999) == b"\xe7\x03\xe8\x03"
    assert pack(range_bits(7, 255)) == b"\x07\x00\x00\x01"
    assert pack(ALL_FREE ^ 1 << 126) == b"\x7e\x00\x7f\x00\xe8\x03"
    many = sum(1 << ending for ending in range(0, 1000, 2))
    assert pack(many) == b"\x55" * MAP_BYTES


def test_a_map_kept_as_bits_is_read_whatever_it_holds() -> None:
    """Stores that were filled before maps were kept as edges have only such."""
    assert unpack(b"\x01" + bytes(MAP_BYTES - 1)) == 1
    assert unpack(b"\xff" * MAP_BYTES) == ALL_FREE
    assert is_packed(b"\xff" * MAP_BYTES)


@pytest.mark.parametrize(
    "data",
    [
        b"\x00",
        b"\x00\x00",
        b"\x02\x00\x02\x00",
        b"\x02\x00\x01\x00",
        b"\xe9\x03",
        bytes(124),
        bytes(126),
        b"\x01\x00\x02",
    ],
)
def test_what_packing_never_gives_is_known(data: bytes) -> None:
    assert not is_packed(data)


@pytest.mark.parametrize("data", [b"\x00", b"\xe9\x03", bytes(126), b"\x01\x00\x02"])
def test_what_cannot_be_a_map_is_not_read(data: bytes) -> None:
    with pytest.raises(ValueError, match="a map"):
        unpack(data)


@given(maps, maps)
def test_matching_endings_are_counted_in_kept_maps(bits: int, endings: int) -> None:
    for wanted in (endings, ALL_FREE, 0):
        assert count_matching(pack(bits), bits.bit_count(), wanted) == (bits & wanted).bit_count()


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
@given(masks, st.integers(0, 99_999))
@example("*555*", 15552)
@example("*0000", 0)
@example("1", 0)
def test_a_million_is_the_sum_of_its_thousands(pattern: str, million: int) -> None:
    found = Mask(pattern).in_million(million)
    assert found.count == sum(bits.bit_count() for bits in found.endings)
    inside = {place for first, last in found.runs for place in range(first, last + 1)}
    assert inside == {place for place, bits in enumerate(found.endings) if bits}
    assert all(one[1] + 1 < other[0] for one, other in pairwise(found.runs))


@settings(max_examples=100)
@given(masks, st.integers(1, 10**12 - 1))
@example("15552850126", 15552850)
@example("1555*", 1)
@example("1555*", 15)
@example("155*9", 155)
@example("*", 10**12 - 1)
@example("1234567890123456*", 1)
@example("0*", 1)
def test_what_matches_lies_in_the_runs_of_the_head(pattern: str, prefix: int) -> None:
    runs = Mask(pattern).prefix_runs()
    assert all(one[1] < other[0] for one, other in pairwise(runs)), "none overlap"
    if Mask(pattern).endings(prefix):
        assert any(first <= prefix <= last for first, last in runs)


def test_a_head_leaves_few_prefixes() -> None:
    assert Mask("15552850126").prefix_runs() == [(15552850, 15552850)]
    assert Mask("15552*").prefix_runs()[:4] == [(15, 15), (155, 155), (1555, 1555), (15552, 15552)]
    assert (15552000, 15552999) in Mask("15552*").prefix_runs()
    assert len(Mask("15552*").prefix_runs()) == 11


@given(st.text("12*", min_size=1, max_size=14), st.text("12", min_size=1, max_size=9))
def test_states_stay_few(pattern: str, digits: str) -> None:
    """A mask of many stars would otherwise have a state for every set of its places."""
    mask = Mask(pattern)
    for end in range(len(digits)):
        mask.in_million(int(digits[: end + 1]))
    assert len(mask._steps) <= 2 * len(pattern) + 2


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
