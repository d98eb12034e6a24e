"""Stock as thousands-blocks: a bit map of the free numbers among those that share all but three digits.

A map is a Python integer of 1000 bits; bit 0 is the number ending in 000. Taking a number clears its bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import msgspec

from numberline.domain.phone import BLOCK_SIZE, block_of, ending_of

ALL_FREE: Final = (1 << BLOCK_SIZE) - 1
MAP_BYTES: Final = BLOCK_SIZE // 8


class Block(msgspec.Struct):
    """One thousands-block of one offer: which of its numbers are free.

    `stocked_count` numbers of the thousand belong to the offer; `free_map` has a bit for each that is for sale.
    """

    offer_id: int
    prefix: int
    stocked_count: int
    free_map: int

    @property
    def free_count(self) -> int:
        """How many numbers of the block are for sale."""
        return self.free_map.bit_count()

    def has(self, number: int) -> bool:
        """Tell whether the number is for sale here."""
        return block_of(number) == self.prefix and bool(self.free_map >> ending_of(number) & 1)

    def take(self, number: int) -> None:
        """Mark a number as sold; it must have been for sale."""
        assert self.has(number), "only a free number can be taken"
        self.free_map &= ~(1 << ending_of(number))

    def highest(self, count: int) -> list[int]:
        """Up to `count` numbers for sale, from the high end: pickers take here, shoppers look at the low end."""
        found: list[int] = []
        rest = self.free_map
        while rest and len(found) < count:
            ending = rest.bit_length() - 1
            found.append(self.prefix * BLOCK_SIZE + ending)
            rest ^= 1 << ending
        return found


def numbers_in(prefix: int, bits: int) -> Iterator[int]:
    """The numbers of a block whose bits are set, lowest first."""
    base = prefix * BLOCK_SIZE
    while bits:
        lowest = bits & -bits
        yield base + lowest.bit_length() - 1
        bits ^= lowest


def range_bits(first_ending: int, last_ending: int) -> int:
    """The map with the endings `first_ending..last_ending` set, both included."""
    return (1 << last_ending + 1) - (1 << first_ending)


def pack(free_map: int) -> bytes | None:
    """A map as stores keep it: 125 bytes, or None when all thousand are free."""
    return None if free_map == ALL_FREE else free_map.to_bytes(MAP_BYTES, "little")


def unpack(data: bytes | None) -> int:
    """The map that `pack` gave `data` for."""
    return ALL_FREE if data is None else int.from_bytes(data, "little")


class Mask:
    """A search pattern over whole numbers, in which `*` stands for any run of digits, also none.

    A block's prefix is tested once and its thousand endings with one precomputed bit map.
    """

    def __init__(self, pattern: str) -> None:
        """Raises ValueError unless the pattern consists of digits and `*`."""
        if not pattern or not all(sign in "0123456789*" for sign in pattern):
            raise ValueError(f"a mask has only digits and '*': {pattern!r}")
        while "**" in pattern:
            pattern = pattern.replace("**", "*")
        self.pattern = pattern

    def endings(self, prefix: int) -> int:
        """The bit map of the endings of block `prefix` that match."""
        states = _advance(self.pattern, _closure(self.pattern, frozenset({0})), str(prefix))
        return _matching_endings(self.pattern, states) if states else 0


def _closure(pattern: str, states: frozenset[int]) -> frozenset[int]:
    """Add the places reachable by letting a `*` stand for nothing."""
    reached = set(states)
    for state in states:
        place = state
        while place < len(pattern) and pattern[place] == "*":
            place += 1
            reached.add(place)
    return frozenset(reached)


def _advance(pattern: str, states: frozenset[int], digits: str) -> frozenset[int]:
    """The places of the pattern one can stand at after reading `digits`."""
    for digit in digits:
        moved = {
            place if pattern[place] == "*" else place + 1
            for place in states
            if place < len(pattern) and pattern[place] in ("*", digit)
        }
        states = _closure(pattern, frozenset(moved))
        if not states:
            break
    return states


@lru_cache(maxsize=4_096)
def _matching_endings(pattern: str, states: frozenset[int]) -> int:
    """The bit map of the three-digit endings that complete the pattern from the given places."""
    bits = 0
    for ending in range(BLOCK_SIZE):
        if len(pattern) in _advance(pattern, states, f"{ending:03d}"):
            bits |= 1 << ending
    return bits
