"""Shared reads: one for all who came before it began, none for who came later."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from itertools import count

import pytest

from numberline.service.coalesce import KEPT_MAX, GatheredReads, SharedReads


class Source:
    """Something to read, which says how often it was; reads wait at a gate."""

    def __init__(self) -> None:
        self.began = 0
        self.value = 0
        self.gate = asyncio.Event()
        self.failure: BaseException | None = None

    async def read(self) -> int:
        self.began += 1
        seen = self.value
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return seen


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def shared() -> SharedReads:
    return SharedReads()


async def test_requests_of_one_moment_share_a_read(shared: SharedReads, source: Source) -> None:
    asking = [asyncio.create_task(shared.read("key", source.read)) for _ in range(20)]
    await settle()
    source.gate.set()
    assert await asyncio.gather(*asking) == [0] * 20
    assert source.began == 1


async def test_a_read_that_began_before_is_not_shared(shared: SharedReads, source: Source) -> None:
    early = asyncio.create_task(shared.read("key", source.read))
    await settle()
    source.value = 1
    late = [asyncio.create_task(shared.read("key", source.read)) for _ in range(20)]
    await settle()
    assert source.began == 1, "the next read waits for the one under way"
    source.gate.set()
    assert await early == 0
    assert await asyncio.gather(*late) == [1] * 20
    assert source.began == 2


async def test_who_asks_after_a_change_is_told_of_it_however_many_ask(shared: SharedReads) -> None:
    """Twenty ask over and over while something counts up: none may be told less than what held when it asked."""
    state = 0

    async def read() -> int:
        seen = state
        await asyncio.sleep(0)
        return seen

    async def ask(times: int) -> None:
        for _ in range(times):
            before = state
            assert await shared.read("key", read) >= before

    async def change() -> None:
        nonlocal state
        for state in count(1):  # noqa: B007 - what is read is the variable itself
            await asyncio.sleep(0)

    changing = asyncio.create_task(change())
    await asyncio.gather(*(ask(50) for _ in range(20)))
    changing.cancel()


async def test_what_was_read_is_told_again_in_the_same_state_alone(
    shared: SharedReads, source: Source
) -> None:
    source.gate.set()
    assert await shared.read("key", source.read, state="first") == 0
    assert await shared.read("key", source.read, state="first") == 0
    assert source.began == 1
    source.value = 1
    assert await shared.read("other", source.read, state="first") == 1, "keys have results of their own"
    assert await shared.read("key", source.read, state="second") == 1
    assert await shared.read("key", source.read, state="first") == 1, "only the latest is kept"
    assert source.began == 4


async def test_without_a_state_nothing_is_kept_and_nothing_told_again(
    shared: SharedReads, source: Source
) -> None:
    source.gate.set()
    for began in (1, 2):
        await shared.read("key", source.read)
        assert source.began == began
    await shared.read("key", source.read, state="first")
    source.value = 1
    assert await shared.read("key", source.read) == 1
    assert await shared.read("key", source.read, state="first") == 1, (
        "what was not known to hold is forgotten"
    )


async def test_a_result_counts_as_of_the_state_that_its_first_reader_knew(
    shared: SharedReads, source: Source
) -> None:
    """Who joins may know a later one, but the read began for the first; to take the earlier can never be wrong."""
    held = asyncio.create_task(shared.read("key", source.read, state="first"))
    await settle()
    joining = [
        asyncio.create_task(shared.read("key", source.read, state=state)) for state in ("second", "third")
    ]
    await settle()
    source.gate.set()
    await asyncio.gather(held, *joining)
    assert source.began == 2
    await shared.read("key", source.read, state="second")
    assert source.began == 2
    await shared.read("key", source.read, state="third")
    assert source.began == 3


async def test_a_failure_is_not_kept(shared: SharedReads, source: Source) -> None:
    source.gate.set()
    source.failure = RuntimeError("the store is gone")
    with pytest.raises(RuntimeError):
        await shared.read("key", source.read, state="first")
    source.failure = None
    assert await shared.read("key", source.read, state="first") == 0


async def test_only_the_latest_results_are_kept(shared: SharedReads, source: Source) -> None:
    source.gate.set()
    for key in range(KEPT_MAX + 1):
        await shared.read(key, source.read, state="first")
    source.value = 1
    assert await shared.read(1, source.read, state="first") == 0
    assert await shared.read(0, source.read, state="first") == 1


async def test_keys_do_not_wait_for_each_other(shared: SharedReads, source: Source) -> None:
    other = Source()
    other.gate.set()
    held = asyncio.create_task(shared.read("held", source.read))
    await settle()
    assert await shared.read("other", other.read) == 0
    source.gate.set()
    await held


async def test_a_failure_is_told_to_each_and_forgotten(shared: SharedReads, source: Source) -> None:
    source.failure = RuntimeError("the store is gone")
    asking = [asyncio.create_task(shared.read("key", source.read)) for _ in range(3)]
    await settle()
    source.gate.set()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert found == [source.failure] * 3
    source.failure = None
    assert await shared.read("key", source.read) == 0


async def test_who_goes_away_leaves_the_others_waiting(shared: SharedReads, source: Source) -> None:
    asking = [asyncio.create_task(shared.read("key", source.read)) for _ in range(3)]
    await settle()
    asking[0].cancel()
    await settle()
    assert asking[0].cancelled()
    source.gate.set()
    assert await asyncio.gather(*asking[1:]) == [0, 0]


async def test_when_all_go_away_a_failure_disturbs_nobody(shared: SharedReads, source: Source) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    source.failure = RuntimeError("the store is gone")
    asking = asyncio.create_task(shared.read("key", source.read))
    await settle()
    asking.cancel()
    source.gate.set()
    await settle()
    source.failure = None
    assert await shared.read("key", source.read) == 0
    assert complaints == []


async def test_a_read_that_is_cancelled_cancels_who_waits_and_nothing_is_left(
    shared: SharedReads, source: Source
) -> None:
    early = asyncio.create_task(shared.read("key", source.read))
    await settle()
    late = asyncio.create_task(shared.read("key", source.read))
    await settle()
    shared._under_way["key"].cancel()
    found = await asyncio.gather(early, late, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in found)
    await settle()
    assert (shared._waiting, shared._under_way) == ({}, {})
    source.gate.set()
    assert await shared.read("key", source.read) == 0


async def test_nothing_is_kept_of_keys_that_nobody_asks_for(shared: SharedReads, source: Source) -> None:
    source.gate.set()
    for key in range(100):
        await shared.read(key, source.read)
    await settle()
    assert (shared._waiting, shared._under_way) == ({}, {})


class Shelf:
    """Something to read by keys, which keeps what it was asked; reads wait at a gate."""

    def __init__(self) -> None:
        self.values = {"a": 1, "b": 2}
        self.asked: list[set[str]] = []
        self.gate = asyncio.Event()
        self.failure: Exception | None = None

    async def read(self, keys: Collection[str]) -> dict[str, int]:
        self.asked.append(set(keys))
        seen = dict(self.values)
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return seen


async def test_keys_asked_for_in_one_moment_are_read_together() -> None:
    shelf = Shelf()
    gathered = GatheredReads(shelf.read)
    asking = [asyncio.ensure_future(gathered.find(key)) for key in ("a", "b", "a", "unknown")]
    shelf.gate.set()
    assert await asyncio.gather(*asking) == [1, 2, 1, None]
    assert shelf.asked == [{"a", "b", "unknown"}]


async def test_a_key_is_never_answered_by_a_read_that_began_before() -> None:
    shelf = Shelf()
    gathered = GatheredReads(shelf.read)
    first = asyncio.ensure_future(gathered.find("a"))
    await settle()
    shelf.values["a"] = 5
    second = asyncio.ensure_future(gathered.find("a"))
    await settle()
    shelf.gate.set()
    assert (await first, await second) == (1, 5)
    assert shelf.asked == [{"a"}, {"a"}]


async def test_a_failed_read_is_told_to_all_who_asked_and_forgotten() -> None:
    shelf = Shelf()
    shelf.failure = OSError("gone")
    shelf.gate.set()
    gathered = GatheredReads(shelf.read)
    told = await asyncio.gather(gathered.find("a"), gathered.find("b"), return_exceptions=True)
    assert [str(each) for each in told] == ["gone", "gone"]
    shelf.failure = None
    assert await gathered.find("b") == 2


async def test_who_goes_away_leaves_those_who_asked_with_them() -> None:
    shelf = Shelf()
    gathered = GatheredReads(shelf.read)
    leaving, staying = (asyncio.ensure_future(gathered.find(key)) for key in ("a", "a"))
    await settle()
    leaving.cancel()
    await settle()
    shelf.gate.set()
    assert await staying == 1
    assert leaving.cancelled()
