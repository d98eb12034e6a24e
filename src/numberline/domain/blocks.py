"""Stock as thousands-blocks: a bit map of the free numbers among those that share all but three digits.

A map is a Python integer of 1000 bits; bit 0 is the number ending in 000. Taking a number clears its bit. A store keeps
a map as the list of its edges, the places where free and not free meet, as long as that is shorter than the bits
themselves: one number or a range of them costs two edges, and so does a number missing from an untouched thousand.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from struct import error as StructError  # noqa: N812 - an exception in all but name
from typing import Final

import msgspec

from numberline.domain.phone import BLOCK_SIZE, block_of, ending_of

ALL_FREE: Final = (1 << BLOCK_SIZE) - 1
MAP_BYTES: Final = BLOCK_SIZE // 8
ENDING_DIGITS: Final = 3
# E.164 allows no more.
NUMBER_DIGITS_MAX: Final = 15
_EDGE_BYTES: Final = 2
# A whole map has an odd number of bytes and a list of edges an even one, so that each is known by its length.
_EDGES_MAX: Final = (MAP_BYTES - 1) // _EDGE_BYTES
_EDGES: Final = tuple(Struct(f"<{count}H") for count in range(_EDGES_MAX + 1))
_BELOW: Final = tuple((1 << edge) - 1 for edge in range(BLOCK_SIZE + 1))


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
    """A map as stores keep it: None when all thousand are free, else its edges or, where these are many, 125 bytes.

    An edge is the ending of the number above it, 1 to 1000, in two bytes with the lower one first; edges rise.
    """
    if free_map == ALL_FREE:
        return None
    differs = free_map ^ free_map >> 1
    count = differs.bit_count()
    if count > _EDGES_MAX:
        return free_map.to_bytes(MAP_BYTES, "little")
    return _EDGES[count].pack(*(ending + 1 for ending in numbers_in(0, differs)))


def unpack(data: bytes | None) -> int:
    """The map that `pack` gave `data` for; ValueError for most of what it never gave, see `is_packed`."""
    if data is None:
        return ALL_FREE
    if len(data) == MAP_BYTES:
        return int.from_bytes(data, "little")
    bits = 0
    try:
        for edge in _EDGES[len(data) // _EDGE_BYTES].unpack(data):
            bits ^= _BELOW[edge]
    except (IndexError, StructError) as error:
        raise ValueError(f"a map is never kept as {data.hex()}") from error
    return bits


def is_packed(data: bytes | None) -> bool:
    """Tell whether `pack` may have given `data`, now or when it kept every map as bits."""
    try:
        return data is None or len(data) == MAP_BYTES or pack(unpack(data)) == data
    except ValueError:
        return False


def count_matching(data: bytes | None, free_count: int, endings: int) -> int:
    """How many of a kept map's `free_count` numbers have one of some endings, unpacked only where it must be."""
    if endings == ALL_FREE:
        return free_count
    if data is None:
        return endings.bit_count()
    return (unpack(data) & endings).bit_count()


class Million(msgspec.Struct, frozen=True):
    """What a mask matches of a million numbers that share all but six digits.

    `endings` has a map for each of the thousand prefixes; `count` is how many bits they have together; `runs` are the
    stretches of prefixes, both ends included and counted from the first, whose maps have any.
    """

    endings: list[int]
    count: int
    runs: list[tuple[int, int]]


class Mask:
    """A search pattern over whole numbers, in which `*` stands for any run of digits, also none.

    The places of the pattern where one can stand are bits of a state. What follows a million's digits depends on the
    state alone, and of states there are few, so that even many millions cost little.
    """

    def __init__(self, pattern: str) -> None:
        """Raises ValueError unless the pattern consists of digits and `*`."""
        if not pattern or not all(sign in "0123456789*" for sign in pattern):
            raise ValueError(f"a mask has only digits and '*': {pattern!r}")
        while "**" in pattern:
            pattern = pattern.replace("**", "*")
        self.pattern = pattern
        self.matches_all = pattern == "*"
        self._stars = _places(pattern, "*")
        self._digits = [_places(pattern, digit) for digit in "0123456789"]
        self._steps: dict[int, list[int]] = {}
        self._endings: dict[tuple[int, int], int] = {}
        self._millions: dict[int | None, Million] = {}

    def endings(self, prefix: int) -> int:
        """The bit map of the endings of block `prefix` that match."""
        million, thousand = divmod(prefix, BLOCK_SIZE)
        return self.in_million(million).endings[thousand]

    def in_million(self, million: int) -> Million:
        """What matches of the numbers that are `million` without their last six digits."""
        state = self._walk(str(million)) if million else None
        found = self._millions.get(state)
        if found is None:
            found = self._millions[state] = self._look_into(state)
        return found

    def prefix_runs(self) -> list[tuple[int, int]]:
        """The runs of prefixes, both ends included, outside which no number matches: those of the literal head."""
        head, star, _ = self.pattern.partition("*")
        if head.startswith("0") or len(self.pattern) - self.pattern.count("*") > NUMBER_DIGITS_MAX:
            return []
        if not head:
            return [(0, 10 ** (NUMBER_DIGITS_MAX - ENDING_DIGITS) - 1)]
        lengths = range(len(head), NUMBER_DIGITS_MAX + 1) if star else [len(head)]
        return [
            (int(head) * 10**more // BLOCK_SIZE, ((int(head) + 1) * 10**more - 1) // BLOCK_SIZE)
            for more in (length - len(head) for length in lengths if length > ENDING_DIGITS)
        ]

    def _look_into(self, state: int | None) -> Million:
        if state is None:
            # The lowest prefixes have no million above them, and no leading zeros.
            states = [self._walk(str(prefix)) for prefix in range(BLOCK_SIZE)]
        else:
            step = self._next
            states = [three for one in step(state) for two in step(one) for three in step(two)]
        endings = [self._endings_after(one, ENDING_DIGITS) for one in states]
        return Million(endings, sum(bits.bit_count() for bits in endings), _runs(endings))

    def _endings_after(self, state: int, digits: int) -> int:
        """The bit map of the runs of so many digits that complete the pattern from a state."""
        if not digits or not state:
            return state >> len(self.pattern) & 1
        found = self._endings.get((state, digits))
        if found is None:
            found, each = 0, 10 ** (digits - 1)
            for digit, after in enumerate(self._next(state)):
                found |= self._endings_after(after, digits - 1) << digit * each
            self._endings[state, digits] = found
        return found

    def _walk(self, digits: str) -> int:
        state = self._settled(1)
        for digit in digits:
            state = self._next(state)[int(digit)]
        return state

    def _next(self, state: int) -> list[int]:
        """The states after each digit."""
        found = self._steps.get(state)
        if found is None:
            stays = state & self._stars
            found = [self._settled((state & places) << 1 | stays) for places in self._digits]
            self._steps[state] = found
        return found

    def _settled(self, state: int) -> int:
        """Let a `*` that one stands at stand for nothing as well; two never stand together.

        Whatever can be completed from before a `*` can be completed from it, so its place makes earlier ones idle.
        That leaves no more states than the pattern has signs.
        """
        state |= (state & self._stars) << 1
        last_star = (state & self._stars).bit_length() - 1
        return state >> last_star << last_star if last_star > 0 else state


def _places(pattern: str, sign: str) -> int:
    """The bits of the places where a sign stands."""
    return sum(1 << place for place, found in enumerate(pattern) if found == sign)


def _runs(maps: list[int]) -> list[tuple[int, int]]:
    """The stretches of a list of maps in which none is empty."""
    runs: list[tuple[int, int]] = []
    for place, bits in enumerate(maps):
        if not bits:
            continue
        if runs and runs[-1][1] == place - 1:
            runs[-1] = (runs[-1][0], place)
        else:
            runs.append((place, place))
    return runs
