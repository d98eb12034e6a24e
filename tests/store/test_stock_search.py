"""Searching the stock, on both engines, against regular expressions over all numbers there are."""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import pytest

from numberline.domain.blocks import ALL_FREE, Block, Mask, numbers_in, range_bits
from numberline.domain.catalog import Offer
from numberline.service import stock_search
from numberline.service.stock_search import Search
from numberline.store.contract import Store
from numberline.store.migrate import migrate
from numberline.store.opening import open_store
from numberline.store.transaction import Transaction
from tests.kit.world import CATALOG, HOLLYWOOD, NEW_YORK

OURS = [1, 3]
STRANGER = 2
Found = tuple[int, int]


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    await migrate(store_url)
    opened = open_store(store_url)
    offers = [Offer(1, HOLLYWOOD, ""), Offer(2, NEW_YORK, ""), Offer(3, HOLLYWOOD, "gold")]

    async def fill(work: Transaction) -> None:
        await work.replace_catalog(CATALOG)
        await work.insert_offers(offers)

    await opened.write(fill)
    yield opened
    await opened.close()


async def bring_in(store: Store, blocks: list[Block]) -> None:
    await store.write(lambda work: work.insert_blocks(blocks))


async def search(
    store: Store, pattern: str, offset: int, count: int, *, offers: Sequence[int] = OURS
) -> tuple[list[Found], int]:
    page = await store.read(lambda ask: Search(ask, offers, Mask(pattern)).page(offset, count))
    return page.items, page.total


class Reference:
    """What should be found: every number for sale, with its offer, by number."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        self._offers = {
            number: block.offer_id
            for block in blocks
            if block.offer_id in OURS
            for number in numbers_in(block.prefix, block.free_map)
        }
        self.numbers = sorted(self._offers)
        self._text = "\n".join(map(str, self.numbers))
        self._found: dict[str, list[int]] = {}

    def search(self, pattern: str, offset: int, count: int) -> tuple[list[Found], int]:
        if pattern not in self._found:
            expression = re.compile("^" + re.sub(r"\*+", "[0-9]*", pattern) + "$", re.MULTILINE)
            self._found[pattern] = [int(text) for text in expression.findall(self._text)]
        found = self._found[pattern]
        return [(self._offers[number], number) for number in found[offset : offset + count]], len(found)


def random_map(rng: random.Random) -> int:
    kind = rng.randrange(6)
    if kind == 0:
        return ALL_FREE
    if kind == 1:
        return 1 << rng.randrange(1000)
    if kind == 2:
        return range_bits(*sorted((rng.randrange(1000), rng.randrange(1000))))
    if kind == 3:
        return ALL_FREE ^ 1 << rng.randrange(1000)
    if kind == 4:
        return 0
    return rng.getrandbits(1000)


def random_stock(rng: random.Random) -> list[Block]:
    """Thousands close together and far apart, of numbers of several lengths; some are shared by the offers."""
    near = range(1555280, 1555290)
    prefixes = {base * 10 + rng.randrange(10) for base in near for _ in range(3)}
    prefixes |= {
        rng.randrange(10**digits, 10 ** (digits + 1)) for digits in (0, 2, 3, 5, 8) for _ in range(4)
    }
    blocks = []
    for prefix in prefixes:
        rest = ALL_FREE
        for offer in rng.sample([*OURS, STRANGER], rng.randint(1, 3)):
            bits = random_map(rng) & rest
            rest &= ~bits
            blocks.append(Block(offer, prefix, bits.bit_count(), bits))
    return blocks


def random_mask(rng: random.Random, numbers: list[int]) -> str:
    """A number with holes, or anything at all."""
    if rng.random() < 0.2:
        return "".join(rng.choices("0159*", k=rng.randint(1, 6)))
    text = str(rng.choice(numbers))
    for _ in range(rng.randint(0, 3)):
        start = rng.randrange(len(text) + 1)
        text = text[:start] + "*" + text[start + rng.randrange(6) :]
    return text


@pytest.mark.parametrize("look", [1, 5, 32])
async def test_every_page_of_every_mask(
    store: Store, rng: random.Random, monkeypatch: pytest.MonkeyPatch, look: int
) -> None:
    monkeypatch.setattr(stock_search, "_FIRST_LOOK", look)
    monkeypatch.setattr(stock_search, "PIECE_BLOCKS", 4 * look)
    blocks = random_stock(rng)
    await bring_in(store, blocks)
    reference = Reference(blocks)
    for _ in range(100):
        pattern = random_mask(rng, reference.numbers)
        total = reference.search(pattern, 0, 0)[1]
        offset = rng.choice([0, 0, max(total - 10, 0), rng.randrange(total + 10), 10**15])
        asked = (pattern, offset, rng.choice([0, 1, 20, 1000]))
        assert await search(store, *asked) == reference.search(*asked), asked
    assert await search(store, "*", 0, 10**6) == reference.search("*", 0, 10**6)


@pytest.mark.parametrize("ways", [{"early"}, {"late"}, {"early", "late"}, set()])
async def test_a_page_is_the_same_from_whichever_end_it_is_found(
    store: Store, rng: random.Random, monkeypatch: pytest.MonkeyPatch, ways: set[str]
) -> None:
    monkeypatch.setattr(stock_search, "_EARLY", 10**9 if "early" in ways else -1)
    monkeypatch.setattr(stock_search, "_LATE", 10**9 if "late" in ways else -1)
    monkeypatch.setattr(stock_search, "_FIRST_LOOK", rng.choice([1, 3, 30]))
    blocks = random_stock(rng)
    await bring_in(store, blocks)
    reference = Reference(blocks)
    total = len(reference.numbers)
    for _ in range(40):
        offset = rng.choice(
            [0, total, total + 1, max(total - rng.randrange(1, 50), 0), rng.randrange(total + 1)]
        )
        asked = ("*", offset, rng.choice([0, 1, 20, 1000]))
        assert await search(store, *asked) == reference.search(*asked), asked


async def test_millions_that_are_whole(store: Store, rng: random.Random) -> None:
    """They are counted without a look at their blocks, unless something of them is sold or lies with another offer."""
    whole = [Block(rng.choice(OURS), prefix, 1000, ALL_FREE) for prefix in range(15551000, 15552100)]
    started = whole[1050]
    started.free_map ^= 1 << 777
    others = [Block(1, 15553000, 1000, ALL_FREE), Block(STRANGER, 15553001, 1000, ALL_FREE)]
    await bring_in(store, [*whole, *others])
    reference = Reference([*whole, *others])
    for pattern in ("*", "*555*", "1555*99", "*0000", "15552050777", "15552050*", "*1*1*1*", "2*"):
        total = reference.search(pattern, 0, 0)[1]
        for offset in (0, total // 2, max(total - 20, 0)):
            assert await search(store, pattern, offset, 20) == reference.search(pattern, offset, 20), pattern


async def test_millions_of_one_offer_that_have_sold_something(store: Store, rng: random.Random) -> None:
    """Only what is missing from them is counted, unless a thousand has sold out."""
    blocks = [Block(1, prefix, 1000, ALL_FREE) for prefix in range(15551000, 15554000)]
    for started in rng.sample(blocks[:2000], 40):
        started.free_map = random_map(rng) or 1
    blocks[2500].free_map = 0
    await bring_in(store, blocks)
    reference = Reference(blocks)
    for pattern in ("*", "*555*", "1555*99", "*0000", "15552*0*", "15553*0*", "*1*1*1*"):
        total = reference.search(pattern, 0, 0)[1]
        for offset in (0, total // 2, max(total - 20, 0)):
            found = await search(store, pattern, offset, 20, offers=[1])
            assert found == reference.search(pattern, offset, 20), pattern


async def test_a_thousand_that_sells_out_while_it_is_counted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was among the started ones, and then it is not: its million is looked into as a whole."""
    blocks = [Block(1, prefix, 1000, ALL_FREE) for prefix in range(15551000, 15552000)]
    blocks[7].free_map = 0b1
    await bring_in(store, blocks)
    seen = Transaction.started_kept

    async def but_one(self: Transaction, *arguments: Any) -> list[Any]:
        return [row for row in await seen(self, *arguments) if row[0] != blocks[7].prefix]

    monkeypatch.setattr(Transaction, "started_kept", but_one)
    _, total = await search(store, "*7*", 0, 0, offers=[1])
    assert total == Reference(blocks).search("*7*", 0, 0)[1]


@pytest.mark.parametrize(
    ("pattern", "asked"),
    [("*0000", "started_kept"), ("*7*", "started_kept"), ("*5000001", "all_kept"), ("1555*", None)],
)
async def test_a_million_is_looked_into_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, pattern: str, asked: str | None
) -> None:
    """For what is missing from started thousands, or, where matches lie close together, for all of them."""
    blocks = [Block(1, prefix, 1000, ALL_FREE) for prefix in range(15555000, 15556000)]
    for block in blocks[9::10]:
        block.free_map ^= 1 << 1 | 1 << 777
    await bring_in(store, blocks)
    looks: list[str] = []
    for name in ("started_kept", "all_kept"):
        look = getattr(Transaction, name)

        async def counted(self: Transaction, *rest: Any, name: str = name, look: Any = look) -> list[Any]:
            looks.append(name)
            found: list[Any] = await look(self, *rest)
            return found

        monkeypatch.setattr(Transaction, name, counted)
    found = await search(store, pattern, 0, 20, offers=[1])
    assert found == Reference(blocks).search(pattern, 0, 20)
    assert looks == ([asked] if asked else [])


async def test_short_numbers_of_several_lengths_are_counted_once(store: Store) -> None:
    """A beginning stands for one run of prefixes per length, and the shortest lie in one million."""
    blocks = [Block(1, prefix, 2, 0b11) for prefix in (1, 12, 123, 1234)]
    await bring_in(store, blocks)
    for pattern in ("1*", "12*", "1*1", "*"):
        assert await search(store, pattern, 0, 20) == Reference(blocks).search(pattern, 0, 20), pattern


async def test_an_empty_region_and_offers_that_are_none(store: Store) -> None:
    assert await search(store, "*", 0, 20) == ([], 0)
    assert await search(store, "1555*", 0, 20) == ([], 0)
    page = await store.read(lambda ask: Search(ask, [], Mask("*")).page(0, 20))
    assert (page.items, page.total) == ([], 0)
