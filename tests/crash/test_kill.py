"""kill -9 during attaches: nothing acknowledged is lost, nothing is sold twice, and the auditor is clean.

How: clients buy under idempotency keys while the server is killed at a random moment; the server comes back on the
same store; every request whose answer was cut off is repeated under its key. Acknowledged means that the client has
read the whole answer.

The desk is killed by itself as well, under a server that lives on: there every request gets an answer, and one that
tells of an unknown outcome is repeated at once, under its key, as its sentence says.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil
import pytest

from numberline.domain import errors
from numberline.domain.catalog import Offer
from numberline.store.audit import audit
from numberline.store.migrate import migrate
from numberline.store.opening import open_store
from numberline.store.transaction import Transaction
from tests.kit import world
from tests.kit.load import Broken, Client
from tests.kit.server import ServerProcess
from tests.kit.tokens import token
from tests.kit.world import blocks, build_town

ROOT: Final = Path(__file__).parents[2]
CYCLES, RASH_CYCLES, CLIENTS = 25, 3, 16
DESK_KILLS: Final = 6  # the rest between two desks doubles with each that dies young
_DESK_SECONDS, _TRIES = 15.0, 20
FIRST, LAST = 15572850000, 15572899999
BUYERS: Final = (world.PARENT, world.CHILD, world.SIBLING, world.STRANGER)
WHERE: Final = {"country_code": "US", "phone_category_name": "local", "phone_region_id": world.EMPTY}


class Ledger(msgspec.Struct):
    """What the clients know: numbers acknowledged with their buyer, and requests without an answer, by key."""

    acknowledged: dict[int, int] = msgspec.field(default_factory=dict)
    doubles: list[int] = msgspec.field(default_factory=list)
    unknown: dict[str, tuple[int, dict[str, Any]]] = msgspec.field(default_factory=dict)
    refused: list[dict[str, Any]] = msgspec.field(default_factory=list)

    def note(self, buyer: int, answer: dict[str, Any]) -> None:
        """Write an answer down."""
        if "error" in answer:
            self.refused.append(answer["error"])
            return
        for sold in answer["phone_numbers"]:
            if sold["phone_id"] in self.acknowledged:
                self.doubles.append(sold["phone_id"])
            self.acknowledged[sold["phone_id"]] = buyer


async def _stocked(url: str) -> None:
    await migrate(url)
    town = await build_town(open_store(url))

    async def add(write: Transaction) -> None:
        await write.insert_offers([Offer(99, world.EMPTY, "")])
        await write.insert_blocks(blocks(99, FIRST, LAST))

    await town.store.write(add)
    await town.close()


async def _until_killed(server: ServerProcess, ledger: Ledger, rng: random.Random, keys: count[int]) -> None:
    """Buy with many clients until the server is killed under them."""
    trust, bearers = server.trust(), _bearers()
    clients = [
        _buy(Client(server.port, trust), ledger, bearers, random.Random(rng.random()), keys)
        for _ in range(CLIENTS)
    ]
    buying = asyncio.gather(*clients)
    await asyncio.sleep(rng.uniform(0.05, 0.5))
    await asyncio.to_thread(server.kill9)
    await buying


def _bearers() -> dict[int, str]:
    return {buyer: "Bearer " + token(buyer, f"owner-{buyer}", life=3_600) for buyer in BUYERS}


async def _buy(
    client: Client, ledger: Ledger, bearers: dict[int, str], rng: random.Random, keys: count[int]
) -> None:
    while True:
        buyer, key, asked = _choose(rng, keys)
        try:
            status, answer = await client.call(
                "AttachPhoneNumber", asked, bearers[buyer], idempotency_key=key
            )
        except Broken:
            ledger.unknown[key] = (buyer, asked)
            return
        assert status == 200
        ledger.note(buyer, answer)


def _choose(rng: random.Random, keys: count[int]) -> tuple[int, str, dict[str, Any]]:
    """A buyer, a key, and what to buy under it."""
    return rng.choice(BUYERS), f"key-{next(keys)}", WHERE | {"phone_count": rng.choice((1, 1, 2))}


async def _repeat_unknown(server: ServerProcess, ledger: Ledger) -> int:
    """Ask again, under their keys, for what was never answered."""
    async with Client(server.port, server.trust()) as client:
        for key, (buyer, asked) in ledger.unknown.items():
            bearer = "Bearer " + token(buyer, f"owner-{buyer}")
            _, answer = await client.call("AttachPhoneNumber", asked, bearer, idempotency_key=key)
            ledger.note(buyer, answer)
    repeated = len(ledger.unknown)
    ledger.unknown.clear()
    return repeated


async def _lost(url: str, ledger: Ledger) -> list[str]:
    """What was acknowledged and is not there, and what is there and was not acknowledged."""
    store = open_store(url)
    try:
        report = await audit(store)
        found = [f"{one.check}: {one.subject}: {one.message}" for one in report.findings]
        for number, buyer in ledger.acknowledged.items():
            if await store.read(lambda ask, number=number: ask.find_owner(number)) != buyer:  # type: ignore[misc]
                found.append(f"{number} was acknowledged to {buyer} and is lost")
        if report.counts["rental"] != len(ledger.acknowledged):
            found.append(f"{report.counts['rental']} rentals, {len(ledger.acknowledged)} acknowledged")
        return found
    finally:
        await store.close()


def _cycles(url: str, server: ServerProcess, rng: random.Random, cycles: int) -> tuple[Ledger, list[str]]:
    ledger, keys, repeated = Ledger(), count(), 0
    for _ in range(cycles):
        asyncio.run(_until_killed(server, ledger, rng, keys))
        server.start()
        repeated += asyncio.run(_repeat_unknown(server, ledger))
    server.stop()
    print(f"{cycles} kills, {len(ledger.acknowledged)} acknowledged, {repeated} repeated under their keys")
    return ledger, asyncio.run(_lost(url, ledger))


@pytest.mark.parametrize("cycles", [CYCLES, pytest.param(200, marks=pytest.mark.soak)])
def test_kill_9_loses_nothing(
    store_url: str, start_server: Callable[..., ServerProcess], rng: random.Random, cycles: int
) -> None:
    asyncio.run(_stocked(store_url))
    server = start_server(command="serve", database=store_url)
    ledger, complaints = _cycles(store_url, server, rng, cycles)
    assert not complaints, complaints[:10]
    assert not ledger.doubles, ledger.doubles[:10]
    assert not ledger.refused, ledger.refused[:3]
    assert len(ledger.acknowledged) > cycles * 5, "the kills must fall into real work"


def test_the_killer_notices_answers_before_commits(
    store_url: str, start_server: Callable[..., ServerProcess], rng: random.Random
) -> None:
    """The canary: a server that answers before its work is durable must be found out, and for that alone."""
    asyncio.run(_stocked(store_url))
    environment = {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    server = start_server(
        command="serve", database=store_url, module="tests.crash.rash_server", environment=environment
    )
    ledger, complaints = _cycles(store_url, server, rng, RASH_CYCLES)
    assert not ledger.refused, ledger.refused[:3]
    assert len(ledger.acknowledged) > RASH_CYCLES * 5, "the kills must fall into real work"
    assert ledger.doubles or any("is lost" in found for found in complaints), complaints[:10]


# Only the desk.


async def _kill_desks(server: ServerProcess, ledger: Ledger, rng: random.Random, kills: int) -> int:
    """Buy with many clients while one desk after the other is killed; how often they had to ask again."""
    trust, bearers, keys, is_over = server.trust(), _bearers(), count(), asyncio.Event()
    clients = [
        _buy_until_over(
            Client(server.port, trust), ledger, bearers, random.Random(rng.random()), keys, is_over
        )
        for _ in range(CLIENTS)
    ]
    buying = asyncio.gather(*clients)
    for _ in range(kills):
        desk = await asyncio.to_thread(_find_desk, server)
        await asyncio.sleep(rng.uniform(0.05, 0.5))
        desk.kill()
        await asyncio.to_thread(desk.wait, _DESK_SECONDS)
    await asyncio.to_thread(_find_desk, server)
    is_over.set()
    return sum(await buying)


def _find_desk(server: ServerProcess) -> psutil.Process:
    """The desk that runs, once it does: its keeper is the server's child, and it is the keeper's."""
    deadline = time.monotonic() + _DESK_SECONDS
    while time.monotonic() < deadline:
        for keeper in psutil.Process(server.pid).children():
            for desk in keeper.children():
                if desk.status() != psutil.STATUS_ZOMBIE:
                    return desk
        time.sleep(0.02)
    raise AssertionError("the desk was not begun again")


async def _buy_until_over(
    client: Client,
    ledger: Ledger,
    bearers: dict[int, str],
    rng: random.Random,
    keys: count[int],
    is_over: asyncio.Event,
) -> int:
    """Buy and never leave an answer open; how often that took another request."""
    repeated = 0
    async with client:
        while not is_over.is_set():
            buyer, key, asked = _choose(rng, keys)
            for _ in range(_TRIES):
                status, answer = await client.call(
                    "AttachPhoneNumber", asked, bearers[buyer], idempotency_key=key
                )
                assert status == 200
                if answer.get("error", {}).get("code") != errors.COMMIT_UNKNOWN.code:
                    break
                repeated += 1
                await asyncio.sleep(0.05)
            ledger.note(buyer, answer)
    return repeated


def test_kill_9_of_the_desk_alone_loses_nothing_and_the_server_lives_on(
    store_url: str, start_server: Callable[..., ServerProcess], rng: random.Random
) -> None:
    asyncio.run(_stocked(store_url))
    server, ledger = start_server(command="serve", database=store_url), Ledger()
    repeated = asyncio.run(_kill_desks(server, ledger, rng, DESK_KILLS))
    assert server.stop() == 0
    print(
        f"{DESK_KILLS} kills, {len(ledger.acknowledged)} acknowledged, {repeated} repeated under their keys"
    )
    complaints = asyncio.run(_lost(store_url, ledger))
    assert not complaints, complaints[:10]
    assert not ledger.doubles, ledger.doubles[:10]
    assert not ledger.refused, ledger.refused[:3]
    assert len(ledger.acknowledged) > DESK_KILLS * 5, "the kills must fall into real work"
    assert repeated >= DESK_KILLS, "each kill must cut somebody off"
