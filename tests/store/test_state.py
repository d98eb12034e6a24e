"""States of the store: whoever is told the same one twice has missed nothing, and searches may rest on that."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Hashable
from typing import Final

import pytest
from sqlalchemy import func, select, update

from numberline.store.access import FoundCaller
from numberline.store.contract import State, Store
from numberline.store.opening import open_store
from numberline.store.postgres import PostgresConnection
from numberline.store.schema import id_range
from numberline.store.sqlite import SqliteConnection
from numberline.store.statements import Statement
from numberline.store.transaction import Transaction
from tests.kit import world
from tests.kit.world import Town

OWNER: Final = (f"owner-{world.PARENT}", world.PARENT)
_COUNTED: Final = Statement(select(func.sum(id_range.c.next_id)))
_COUNT_ON: Final = Statement(update(id_range).values(next_id=id_range.c.next_id + 1))


async def _caller(store: Store) -> FoundCaller:
    return (await store.read(lambda ask: ask.find_callers({OWNER}), brief=True))[OWNER]


async def _state(store: Store) -> State:
    return (await _caller(store)).state


async def _counted(store: Store) -> int:
    async def ask(reading: Transaction) -> int:
        return int((await reading.connection.fetch(_COUNTED))[0][0])

    return await store.read(ask)


async def _count_on(write: Transaction) -> None:
    await write.connection.execute(_COUNT_ON)


async def test_a_store_that_nobody_writes_to_stays_in_one_state(town: Town) -> None:
    await _counted(town.store)
    states = {await _state(town.store) for _ in range(10)}
    await _counted(town.store)
    assert states == {await _state(town.store)}


async def test_what_becomes_durable_makes_another_state_whoever_wrote_it(town: Town, town_url: str) -> None:
    other = open_store(town_url)
    states = [await _state(town.store)]
    for writing in (town.store, other, town.store):
        await writing.write(_count_on)
        states.append(await _state(town.store))
    await other.close()
    assert len(set(states)) == len(states)


async def test_what_was_under_way_makes_another_state_when_it_is_done(town: Town, town_url: str) -> None:
    """It had begun before, so the order in which things begin does not tell."""
    other, has_written, may_end = open_store(town_url), threading.Event(), threading.Event()

    async def write_slowly(write: Transaction) -> None:
        await _count_on(write)
        has_written.set()
        if other.engine == "sqlite":
            assert may_end.wait(10)
        else:
            await asyncio.to_thread(may_end.wait, 10)

    writing = asyncio.create_task(other.write(write_slowly))
    await asyncio.to_thread(has_written.wait, 10)
    before, contents = await _state(town.store), await _counted(town.store)
    may_end.set()
    await writing
    await other.close()
    assert await _state(town.store) != before
    assert await _counted(town.store) > contents


async def test_states_of_different_stores_are_never_equal(town: Town, town_url: str) -> None:
    other = open_store(town_url)
    assert await _state(other) != await _state(town.store)
    await other.close()


async def test_a_connection_that_is_opened_makes_another_state(town: Town) -> None:
    """A server that lost its last transactions in a crash numbers the next ones as it numbered those."""
    before = await _state(town.store)
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(town.store.read(_linger, brief=True))
    if town.store.engine == "postgres":
        assert await _state(town.store) != before
    before = await _state(town.store)
    assert await _state(town.store) == before


async def _linger(_reading: Transaction) -> None:
    if _reading.connection.engine == "postgres":
        await asyncio.sleep(0.01)


async def test_equal_states_have_equal_contents(
    town: Town, town_url: str, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await _contradictions(town, town_url, rng) == []
    # The canary: marks that stand still must be found out.
    kind = SqliteConnection if town.store.engine == "sqlite" else PostgresConnection
    monkeypatch.setattr(kind, "state", lambda _connection, _mark: "the same")
    assert await _contradictions(town, town_url, rng) != []


async def _contradictions(town: Town, url: str, rng: random.Random) -> list[tuple[int, int]]:
    """Contents that were read after one and the same state, while others wrote, finished and gave up at random."""
    others = [open_store(url) for _ in range(2)]
    seen: dict[Hashable, int] = {}
    found: list[tuple[int, int]] = []

    async def write(store: Store) -> None:
        async def work(writing: Transaction) -> None:
            await _count_on(writing)
            if store.engine == "postgres":
                await asyncio.sleep(rng.random() / 100)
            if rng.random() < 0.3:
                raise _GivesUp

        for _ in range(20):
            await asyncio.sleep(rng.random() / 100)
            with contextlib.suppress(_GivesUp):
                await store.write(work)

    async def look() -> None:
        while not all(one.done() for one in writing):
            state = await _state(town.store)
            contents = await _counted(town.store)
            # A state tells of what is read later only if it is seen again after that.
            if await _state(town.store) == state and seen.setdefault(state, contents) != contents:
                found.append((seen[state], contents))

    writing = [asyncio.create_task(write(one)) for one in others]
    await look()
    await asyncio.gather(*writing)
    for one in others:
        await one.close()
    return found


class _GivesUp(Exception):
    pass
