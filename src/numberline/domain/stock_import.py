"""What a file of numbers means for the stock: overlaps inside it, and the blocks it would add.

Lines are kept as ranges and sorted by number, never unrolled: a billion numbers in ranges are a few pieces, a million
scattered single numbers are a million, made one after the other.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from numberline.domain.blocks import ALL_FREE, Block, range_bits
from numberline.domain.phone import BLOCK_SIZE, block_of, ending_of

# A slip of the finger must not put half a numbering plan on sale.
RANGE_NUMBERS_MAX: Final = 100_000_000

# Where stock belongs: region id and price tier.
Place = tuple[int, str]


class StockLine(msgspec.Struct, frozen=True, gc=False):
    """Numbers to add, `first` to `last`, both included; `line` is where the file says so."""

    country: str
    category: str
    region_id: int
    tier: str
    first: int
    last: int
    line: int

    @property
    def place(self) -> Place:
        """Where the numbers belong."""
        return (self.region_id, self.tier)

    @property
    def count(self) -> int:
        """How many numbers the line adds."""
        return self.last - self.first + 1

    @property
    def text(self) -> str:
        """The range as people write it."""
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


class Problem(msgspec.Struct, frozen=True):
    """What is wrong on one line of a file: the text at fault, and a sentence about it."""

    line: int
    text: str
    sentence: str


class Piece(msgspec.Struct, frozen=True, gc=False):
    """The same map of endings in each of the blocks `first_prefix..last_prefix` of one place.

    Whole thousands come as one piece for all of them, anything less as a piece for one block.
    """

    place: Place
    first_prefix: int
    last_prefix: int
    bits: int

    @property
    def block_count(self) -> int:
        """How many blocks the piece fills."""
        return self.last_prefix - self.first_prefix + 1


def shape_fault(line: StockLine) -> str | None:
    """What is wrong with a range in itself, or None."""
    if len(str(line.first)) != len(str(line.last)):
        return "The first and the last number differ in length."
    if line.first > line.last:
        return "The first number is greater than the last."
    if line.count > RANGE_NUMBERS_MAX:
        return f"The range holds {line.count:,} numbers; {RANGE_NUMBERS_MAX:,} is the most a line may add."
    return None


def sort_lines(lines: Iterable[StockLine]) -> list[StockLine]:
    """The lines by number, as everything below wants them."""
    return sorted(lines, key=lambda line: (line.first, line.last, line.line))


def without_overlaps(lines: Iterable[StockLine]) -> tuple[list[StockLine], list[Problem]]:
    """The lines by number, without those that repeat numbers of an earlier line, and a problem for each of these."""
    kept = sort_lines(lines)
    problems: list[Problem] = []
    # A line that goes may have hidden that two which stay overlap, hence again until none does.
    while found := _find_overlaps(kept):
        problems += found
        gone = {problem.line for problem in found}
        kept = [line for line in kept if line.line not in gone]
    return kept, sorted(problems, key=lambda problem: problem.line)


def _find_overlaps(lines: Sequence[StockLine]) -> list[Problem]:
    problems: list[Problem] = []
    reach: StockLine | None = None
    for line in lines:
        if reach is not None and line.first <= reach.last:
            problems.append(_overlap(line, reach))
        if reach is None or line.last > reach.last:
            reach = line
    return problems


def _overlap(one: StockLine, other: StockLine) -> Problem:
    earlier, later = sorted((one, other), key=lambda line: line.line)
    if (one.first, one.last) == (other.first, other.last):
        return Problem(later.line, later.text, f"Line {earlier.line} has the same already.")
    first, last = max(one.first, other.first), min(one.last, other.last)
    shared = str(first) if first == last else f"{first}-{last}"
    return Problem(later.line, later.text, f"Line {earlier.line} ({earlier.text}) has {shared} already.")


def cut(lines: Iterable[StockLine]) -> Iterator[Piece]:
    """The pieces that sorted lines without overlaps consist of, by rising prefix; one per place and block."""
    prefix = -1
    parts: dict[Place, int] = {}
    for line in lines:
        first, last = block_of(line.first), block_of(line.last)
        if first != prefix:
            yield from _parts(prefix, parts)
            prefix, parts = first, {}
        if first == last:
            bits = range_bits(ending_of(line.first), ending_of(line.last))
            parts[line.place] = parts.get(line.place, 0) | bits
            continue
        whole_first, whole_last = first, last
        if ending_of(line.first):
            parts[line.place] = parts.get(line.place, 0) | range_bits(ending_of(line.first), BLOCK_SIZE - 1)
            whole_first += 1
        yield from _parts(prefix, parts)
        prefix, parts = last, {}
        if ending_of(line.last) != BLOCK_SIZE - 1:
            parts[line.place] = range_bits(0, ending_of(line.last))
            whole_last -= 1
        if whole_first <= whole_last:
            yield Piece(line.place, whole_first, whole_last, ALL_FREE)
    yield from _parts(prefix, parts)


def _parts(prefix: int, parts: dict[Place, int]) -> Iterator[Piece]:
    for place, bits in parts.items():
        yield Piece(place, prefix, prefix, bits)


def split(piece: Piece, existing: Collection[int]) -> Iterator[tuple[Piece, bool]]:
    """A piece in parts, each with whether its block is among `existing` (sorted prefixes inside the piece)."""
    start = piece.first_prefix
    for prefix in existing:
        if start < prefix:
            yield Piece(piece.place, start, prefix - 1, piece.bits), False
        yield Piece(piece.place, prefix, prefix, piece.bits), True
        start = prefix + 1
    if start <= piece.last_prefix:
        yield Piece(piece.place, start, piece.last_prefix, piece.bits), False


def prefix_chunks(lines: Iterable[StockLine], size: int) -> Iterator[Sequence[int]]:
    """The prefixes that sorted lines touch, each once and rising, in chunks of at most `size`.

    A chunk without gaps is a `range`.
    """
    chunk: list[int] = []
    done = -1
    for line in lines:
        start, last = max(block_of(line.first), done + 1), block_of(line.last)
        if last - start >= size:
            if chunk:
                yield chunk
                chunk = []
            for first in range(start, last + 1, size):
                yield range(first, min(first + size, last + 1))
        else:
            chunk.extend(range(start, last + 1))
        done = max(done, last)
        while len(chunk) >= size:
            yield chunk[:size]
            chunk = chunk[size:]
    if chunk:
        yield chunk


class StockCheck:
    """Compares sorted lines without overlaps with the blocks and rentals there are, block by block."""

    def __init__(self, lines: Sequence[StockLine]) -> None:
        self._lines = lines
        self._found: dict[int, tuple[int, int]] = {}
        self._crowded: dict[int, int] = {}

    def compare(self, blocks: Iterable[Block], rented: Iterable[int]) -> None:
        """Note which lines hold numbers that are free in one of the blocks, or rented."""
        taken: dict[int, int] = {}
        stocked: dict[int, int] = {}
        for block in blocks:
            taken[block.prefix] = taken.get(block.prefix, 0) | block.free_map
            stocked[block.prefix] = stocked.get(block.prefix, 0) + block.stocked_count
        for number in rented:
            prefix = block_of(number)
            taken[prefix] = taken.get(prefix, 0) | 1 << ending_of(number)
        for prefix, bits in taken.items():
            self._compare_block(prefix, bits, stocked.get(prefix, 0))

    def _compare_block(self, prefix: int, taken: int, stocked_count: int) -> None:
        base = prefix * BLOCK_SIZE
        place = bisect_left(self._lines, base, key=lambda line: line.last)
        wanted = 0
        while place < len(self._lines) and (line := self._lines[place]).first < base + BLOCK_SIZE:
            bits = range_bits(max(line.first - base, 0), min(line.last - base, BLOCK_SIZE - 1))
            wanted += bits.bit_count()
            if clash := bits & taken:
                count, first = self._found.get(place, (0, base + (clash & -clash).bit_length() - 1))
                self._found[place] = (count + clash.bit_count(), first)
            elif stocked_count + wanted > BLOCK_SIZE:
                # Numbers that are neither free nor rented, such as those that rest between two owners.
                self._crowded[place] = prefix
            place += 1

    def problems(self) -> list[Problem]:
        """One problem per line that holds numbers already in stock."""
        found = {place: self._in_stock(place, *known) for place, known in self._found.items()}
        for place, prefix in self._crowded.items():
            found.setdefault(place, self._too_many(place, prefix))
        return sorted(found.values(), key=lambda problem: problem.line)

    def _in_stock(self, place: int, count: int, first: int) -> Problem:
        line = self._lines[place]
        if line.count == 1:
            return Problem(line.line, line.text, "The number is in stock already.")
        sentence = f"{count:,} of {line.count:,} numbers are in stock already, the first of them {first}."
        return Problem(line.line, line.text, sentence)

    def _too_many(self, place: int, prefix: int) -> Problem:
        line = self._lines[place]
        sentence = f"The thousand {prefix}xxx would have more than a thousand numbers in stock."
        return Problem(line.line, line.text, sentence)
