"""A storm of buyers over several servers of one store, and what must be true afterwards."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from numberline.domain.catalog import Offer
from numberline.store.audit import audit
from numberline.store.migrate import migrate
from numberline.store.opening import open_store
from numberline.store.transaction import Transaction
from tests.kit import world
from tests.kit.load import Client
from tests.kit.tokens import token
from tests.kit.world import blocks, build_town

FIRST, COUNT = 15572850000, 500
CLIENTS, ATTEMPTS = 64, 5_000
# Each server has buyers of its own: were they shared, the locks on their wallets would hide those on the stock.
BUYERS: Final = ((world.PARENT, world.CHILD), (world.SIBLING, world.STRANGER))
# What a loser of a race may be told: taken, its own already, nothing left, less left than asked for.
LOST: Final = frozenset({182, 395, 331, 332})


class Storm(msgspec.Struct):
    """What the buyers saw: numbers sold to whom, refusals by code, and when there was said to be nothing left."""

    sold: list[tuple[int, int]] = msgspec.field(default_factory=list)
    codes: Counter[int] = msgspec.field(default_factory=Counter)
    statuses: Counter[int] = msgspec.field(default_factory=Counter)
    first_empty_at: float = float("inf")
    last_sale_began_at: float = 0.0

    def complaints(self) -> list[str]:
        """Everything that a correct server never does."""
        found = []
        numbers = [number for number, _ in self.sold]
        if len(numbers) != COUNT or len(set(numbers)) != COUNT:
            found.append(f"{len(numbers)} sold, {len(set(numbers))} of them different, {COUNT} in stock")
        if set(self.codes) - LOST:
            found.append(f"refused with {dict(self.codes)}")
        if set(self.statuses) - {200}:
            found.append(f"HTTP statuses {dict(self.statuses)}")
        if self.last_sale_began_at > self.first_empty_at:
            found.append("somebody was told that nothing was left, and a later buyer got a number")
        return found


async def prepare(url: str) -> None:
    """The town, with a region of exactly the numbers to fight for."""
    await migrate(url)
    town = await build_town(open_store(url))
    await stock(town)
    await town.close()


async def stock(town: world.Town) -> None:
    """Put the numbers to fight for into the town's empty region."""

    async def add(write: Transaction) -> None:
        await write.insert_offers([Offer(99, world.EMPTY, "")])
        await write.insert_blocks(blocks(99, FIRST, FIRST + COUNT - 1))

    await town.store.write(add)


async def rage(ports: Sequence[int], trust: ssl.SSLContext, rng: random.Random) -> Storm:
    """Let the clients buy, half by number and half by count, until all attempts are used up."""
    storm = Storm()
    bearers = {
        buyer: "Bearer " + token(buyer, f"owner-{buyer}", life=3_600) for buyers in BUYERS for buyer in buyers
    }
    seeds = [rng.randrange(2**32) for _ in range(CLIENTS)]
    clients = [
        _buy(storm, Client(ports[place % 2], trust), BUYERS[place % 2], bearers, random.Random(seed))
        for place, seed in enumerate(seeds)
    ]
    await asyncio.gather(*clients)
    return storm


async def _buy(
    storm: Storm, client: Client, buyers: tuple[int, ...], bearers: dict[int, str], rng: random.Random
) -> None:
    async with client:
        for _ in range(ATTEMPTS // CLIENTS + 1):
            buyer = rng.choice(buyers)
            began_at = time.monotonic()
            status, answer = await client.call("AttachPhoneNumber", _order(rng), bearers[buyer])
            storm.statuses[status] += 1
            if "error" in answer:
                code = answer["error"]["code"]
                storm.codes[code] += 1
                if code == 331:
                    storm.first_empty_at = min(storm.first_empty_at, time.monotonic())
                continue
            storm.last_sale_began_at = max(storm.last_sale_began_at, began_at)
            storm.sold += [(sold["phone_id"], buyer) for sold in answer["phone_numbers"]]


def _order(rng: random.Random) -> dict[str, object]:
    if rng.random() < 0.5:
        wanted = rng.sample(range(FIRST, FIRST + COUNT), rng.choice((1, 1, 1, 2)))
        return {"phone_number": ";".join(map(str, wanted))}
    where = {"country_code": "US", "phone_category_name": "local", "phone_region_id": world.EMPTY}
    return where | {"phone_count": rng.choice((1, 1, 1, 2, 3))}


async def aftermath(url: str, storm: Storm) -> list[str]:
    """Compare what the buyers were told with what the store holds, and audit it."""
    store = open_store(url)
    try:
        report = await audit(store)
        found = [f"{one.check}: {one.subject}: {one.message}" for one in report.findings]
        for number, buyer in storm.sold:
            owner = await store.read(lambda ask, number=number: ask.find_owner(number))  # type: ignore[misc]
            if owner != buyer:
                found.append(f"{number} was sold to {buyer} and belongs to {owner}")
        return found
    finally:
        await store.close()
