"""The way between doors and a desk over a real socket: each order gets its own answer, whoever comes and goes."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

import pytest

from numberline.domain import errors
from numberline.domain.attach import AttachOrder, Terms
from numberline.domain.errors import Refusal
from numberline.doors.desk import client, server
from numberline.doors.desk.client import DistantDesk
from numberline.doors.desk.messages import GREETING, Answers, DeskFailed, Ticket, write_answers
from numberline.doors.desk.server import DeskServer
from numberline.service.attach import AttachTicket
from numberline.service.catalog import CatalogCache
from numberline.service.desk import Awaited, Served
from numberline.store.contract import Store
from numberline.store.errors import (
    CommitUnknown,
    ConstraintViolated,
    LockNotFree,
    StoreBusy,
    StoreError,
    StoreUnavailable,
)
from tests.unit.service.test_desk import FakeCatalogs, FakeOrder, FakeStore

NOW: Final = datetime(2026, 3, 1, tzinfo=UTC)
_PATIENCE_SECONDS: Final = 10.0


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Each test on the loop of the standard library and on the one that the product runs on."""
    return "asyncio", {"use_uvloop": request.param}


class DistantOrder(FakeOrder):
    """A fake order whose ticket leads the desk to it: it goes by its name."""

    @property
    def ticket(self) -> AttachTicket:
        return AttachTicket(
            order=AttachOrder(), terms=Terms(1, self.name, NOW, 14, 100), promise=None, access_revision=None
        )


class Door:
    """One door, and the sizes of the batches it was told of."""

    def __init__(self, path: Path) -> None:
        self.sizes: list[int] = []
        self.desk = DistantDesk(path, observe=self._observe)

    def _observe(self, served: Served) -> None:
        assert min(served.waits_seconds) >= 0
        self.sizes.append(len(served.waits_seconds))

    async def submit(self, order: DistantOrder) -> bytes:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await self.desk.submit(order)

    def hand_in(self, *orders: DistantOrder) -> list[asyncio.Task[bytes]]:
        """Submit orders in one turn of the loop; later they are answered."""
        return [asyncio.create_task(self.submit(order)) for order in orders]

    async def together(self, *orders: DistantOrder) -> list[bytes | BaseException]:
        return await asyncio.gather(*self.hand_in(*orders), return_exceptions=True)

    def vanish(self) -> None:
        """Cut the connection, as the end of the process does."""
        way = self.desk._way
        assert way is not None
        assert way._transport is not None
        way._transport.abort()


class Station:
    """A desk with its fakes, which listens on a socket, and doors to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store, self.catalogs, self.diary = FakeStore(), FakeCatalogs(), list[str]()
        self.doors: list[Door] = []
        self.accepted: list[str] = []
        self._orders: dict[str, DistantOrder] = {}
        self._leash: int | None = None
        self._held: int | None = None

    def order(self, name: str, **does: Any) -> DistantOrder:
        self._orders[name] = DistantOrder(name, self.diary, **does)
        return self._orders[name]

    def _accept(self, ticket: Ticket) -> DistantOrder:
        self.accepted.append(ticket.terms.actor)
        return self._orders[ticket.terms.actor]

    def open(self) -> None:
        """Listen, and serve until let go."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        listener.listen()
        self._leash, self._held = os.pipe()
        self.server = DeskServer(cast("Store", self.store), cast("CatalogCache", self.catalogs), self._accept)
        self.serving = asyncio.create_task(self.server.serve(listener, self._leash))

    def let_go(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None

    async def close(self) -> None:
        """Close the doors, let go, and wait for the end of the desk and its connections."""
        for door in self.doors:
            await door.desk.close()
        if self._leash is None:
            return
        self.let_go()
        await self.serving
        os.close(self._leash)
        self._leash = None
        self.path.unlink(missing_ok=True)
        await asyncio.sleep(0.01)  # for the ends of the connections

    async def door(self) -> Door:
        """A door whose connection is open already, so that what it hands in at once goes at once."""
        door = Door(self.path)
        self.doors.append(door)
        await door.submit(self.order(f"first of door {len(self.doors)}"))
        self.diary.clear()
        door.sizes.clear()
        return door

    async def hold(self, door: Door) -> asyncio.Task[bytes]:
        """Have the desk begin a batch of one order, "held", that lasts until the gate is opened."""
        self.store.gate.clear()
        [held] = door.hand_in(self.order("held"))
        await until(lambda: "held" in self.accepted)
        await self.has_waiting(0)
        return held

    async def has_waiting(self, count: int) -> None:
        """Until so many orders wait at the desk, beside those of its batch."""
        await until(lambda: len(self.server.desk._waiting) == count)


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while not is_so():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.001)


@pytest.fixture
async def station(tmp_path: Path) -> AsyncIterator[Station]:
    station = Station(tmp_path / "desk")
    station.open()
    yield station
    station.store.gate.set()
    await station.close()


def names(count: int, who: str = "order") -> list[str]:
    return [f"{who} {place}" for place in range(count)]


def counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[int]:
    """How many orders or answers each message held that a module has written."""
    sizes: list[int] = []
    write = getattr(module, name)

    def counting(told: Any) -> bytes:
        sizes.append(len(told if isinstance(told, list) else told.answers))
        return write(told)

    monkeypatch.setattr(module, name, counting)
    return sizes


# Answers.


async def test_an_order_gets_its_answer(station: Station) -> None:
    door = Door(station.path)
    station.doors.append(door)
    assert await door.submit(station.order("a")) == b"a"
    assert (station.diary, door.sizes) == (["a"], [1])


async def test_what_is_handed_in_at_once_is_one_batch_and_comes_back_in_one_go(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = await station.door()
    asked, answered = (
        counted(monkeypatch, client, "write_orders"),
        counted(monkeypatch, server, "write_answers"),
    )
    assert await door.together(*map(station.order, names(50))) == [name.encode() for name in names(50)]
    assert station.diary == names(50), "first come, first served"
    assert (asked, answered, door.sizes) == ([50], [50], [50])


async def test_the_first_orders_of_a_door_share_the_connection_that_the_first_opens(station: Station) -> None:
    door = Door(station.path)
    station.doors.append(door)
    assert await door.together(*map(station.order, names(20))) == [name.encode() for name in names(20)]
    assert sum(door.sizes) == 20
    assert door.desk._way is not None
    assert next(door.desk._way._numbers) == 20, "one way carried them all"


async def test_orders_of_two_doors_share_a_batch_and_it_is_counted_once(station: Station) -> None:
    one, other = await station.door(), await station.door()
    held = await station.hold(one)
    ones = one.hand_in(*map(station.order, names(3, "one")))
    await station.has_waiting(3)
    others = other.hand_in(*map(station.order, names(2, "other")))
    await station.has_waiting(5)
    station.store.gate.set()
    assert await held == b"held"
    assert await asyncio.gather(*ones) == [b"one 0", b"one 1", b"one 2"]
    assert await asyncio.gather(*others) == [b"other 0", b"other 1"]
    assert station.diary == ["held", *names(3, "one"), *names(2, "other")]
    assert sorted(one.sizes + other.sizes) == [1, 5]


async def test_many_batches_are_each_counted_once(station: Station) -> None:
    doors = [await station.door(), await station.door()]
    held = await station.hold(doors[0])
    waiting = [
        task
        for place, door in enumerate(doors)
        for task in door.hand_in(*map(station.order, names(100, f"door {place}")))
    ]
    await station.has_waiting(200)
    station.store.gate.set()
    answers = await asyncio.gather(held, *waiting)
    assert answers == [b"held", *(name.encode() for place in (0, 1) for name in names(100, f"door {place}"))]
    assert sorted(doors[0].sizes + doors[1].sizes) == [1, 8, 64, 64, 64]


# Refusals and troubles.


async def test_refusals_come_to_those_they_are_for(station: Station) -> None:
    door = await station.door()
    late = Refusal(errors.INSUFFICIENT_MONEY, needed="1.00", available="0.50", currency="USD")
    early = Refusal(errors.INVALID_COUNTRY, parameter="country_code", details={"why": "so"})
    served, dear, unknown = await door.together(
        station.order("a"), station.order("b", late=late), station.order("c", early=early)
    )
    assert served == b"a"
    assert isinstance(dear, Refusal)
    assert (dear.kind, dear.sentence) == (late.kind, late.sentence)
    assert isinstance(unknown, Refusal)
    assert (unknown.kind, unknown.parameter, unknown.details) == (early.kind, "country_code", {"why": "so"})
    assert door.sizes == [3]


@pytest.mark.parametrize("trouble", [StoreUnavailable("gone"), StoreBusy("locked"), CommitUnknown("cut off")])
async def test_a_trouble_of_the_store_comes_to_all_of_its_batch(
    station: Station, trouble: StoreError
) -> None:
    door = await station.door()
    station.store.troubles = [trouble]
    for answer in await door.together(*map(station.order, "abc")):
        assert (type(answer), str(answer)) == (type(trouble), str(trouble))
    assert door.sizes == [], "only what was committed is counted"
    assert await door.submit(station.order("d")) == b"d", "the desk goes on"


async def test_a_lock_that_is_not_free_comes_to_the_one_it_hit(station: Station) -> None:
    door = await station.door()
    station.store.troubles = [LockNotFree("held"), LockNotFree("held")]
    hit, served = await door.together(station.order("a"), station.order("b"))
    assert (type(hit), served) == (LockNotFree, b"b")


async def test_a_constraint_that_stands_for_a_refusal_comes_as_it(station: Station) -> None:
    door = await station.door()
    station.store.troubles = [ConstraintViolated("uq_rental_number")]
    [refused] = await door.together(station.order("a"))
    assert isinstance(refused, Refusal)
    assert refused.kind == errors.NUMBER_TAKEN


@pytest.mark.parametrize("when", ["early", "late"])
async def test_a_defect_hits_only_the_order_that_has_it(station: Station, when: str) -> None:
    door = await station.door()
    defect = ZeroDivisionError("a defect")
    orders = [station.order("a"), station.order("b", **{when: defect}), station.order("c")]
    first, failed, last = await door.together(*orders)
    assert (first, last) == (b"a", b"c")
    assert isinstance(failed, DeskFailed)
    assert str(failed) == "ZeroDivisionError: a defect"


# Whoever goes away.


async def test_a_submit_that_is_cancelled_disturbs_nobody(station: Station) -> None:
    door = await station.door()
    held = await station.hold(door)
    leaving, staying = door.hand_in(station.order("leaving"), station.order("staying"))
    await station.has_waiting(2)
    leaving.cancel()
    held.cancel()
    station.store.gate.set()
    assert await staying == b"staying"
    assert leaving.cancelled()
    assert await door.submit(station.order("next")) == b"next"


async def test_a_door_that_went_away_before_the_desk_came_to_its_order_has_not_bought_anything(
    station: Station,
) -> None:
    staying, leaving = await station.door(), await station.door()
    held = await station.hold(staying)
    [lost] = leaving.hand_in(station.order("lost"))
    await station.has_waiting(1)
    leaving.vanish()
    with pytest.raises(CommitUnknown):
        await lost
    await until(station.server.desk._waiting[0].is_gone)
    [later] = staying.hand_in(station.order("later"))
    await station.has_waiting(2)
    station.store.gate.set()
    assert (await held, await later) == (b"held", b"later")
    assert station.diary == ["held", "later"]


async def test_a_door_that_went_away_during_its_batch_leaves_the_others_their_answers(
    station: Station,
) -> None:
    staying, leaving = await station.door(), await station.door()
    held = await station.hold(leaving)
    [later] = staying.hand_in(station.order("later"))
    await station.has_waiting(1)
    leaving.vanish()
    with pytest.raises(CommitUnknown):
        await held
    station.store.gate.set()
    assert await later == b"later"
    assert station.diary == ["held", "later"], "an order once taken is carried out"


# The desk comes and goes.


async def test_without_a_desk_nothing_was_changed(tmp_path: Path) -> None:
    door = Door(tmp_path / "desk")
    answers = await door.together(DistantOrder("a", []), DistantOrder("b", []))
    assert [type(answer) for answer in answers] == [StoreUnavailable, StoreUnavailable]
    with pytest.raises(StoreUnavailable):
        await door.desk.check()
    await door.desk.close()


async def test_a_desk_that_listens_is_in_order(station: Station) -> None:
    door = Door(station.path)
    station.doors.append(door)
    await door.desk.check()
    assert await door.submit(station.order("a")) == b"a"
    await door.desk.check()


async def test_a_desk_that_is_back_on_its_path_is_found_by_the_next_order(station: Station) -> None:
    door = await station.door()
    station.let_go()
    await station.serving
    door.vanish()
    await until(lambda: door.desk._way is not None and door.desk._way.is_closed)
    with pytest.raises(StoreUnavailable):
        await door.submit(station.order("a"))
    await station.close()
    station.open()
    assert await door.together(*map(station.order, "bc")) == [b"b", b"c"]
    assert station.diary == ["b", "c"]


async def test_what_a_desk_leaves_unanswered_may_have_been_carried_out(tmp_path: Path) -> None:
    dies = asyncio.Event()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(write_answers(GREETING))
        await dies.wait()
        writer.close()

    station = Station(tmp_path / "desk")
    door = Door(station.path)
    station.doors.append(door)
    async with await asyncio.start_unix_server(hang_up, station.path):
        unanswered = asyncio.gather(*door.hand_in(*map(station.order, "abc")), return_exceptions=True)
        await until(lambda: (way := door.desk._way) is not None and len(way._unanswered) == 3)
        await until(lambda: (way := door.desk._way) is not None and not way._unsent)
        dies.set()
        assert [type(answer) for answer in await unanswered] == [CommitUnknown] * 3
    station.path.unlink(missing_ok=True)
    station.open()
    assert await door.submit(station.order("d")) == b"d", "the next desk is found"
    await station.close()


async def test_what_was_not_sent_when_the_desk_went_away_was_not_carried_out(station: Station) -> None:
    door = await station.door()
    held = await station.hold(door)
    way = door.desk._way
    assert way is not None
    unsent = asyncio.get_running_loop().create_future()
    way.send(station.order("unsent").ticket, Awaited(unsent))
    door.vanish()
    way.connection_lost(None)  # before the turn of the loop in which it would have been sent
    with pytest.raises(StoreUnavailable):
        await unsent
    with pytest.raises(CommitUnknown):
        await held
    station.store.gate.set()
    assert await door.submit(station.order("next")) == b"next"
    assert station.diary == ["held", "next"]


# Closing.


async def test_closing_a_door_waits_for_what_was_handed_in(station: Station) -> None:
    door = await station.door()
    held = await station.hold(door)
    waiting = door.hand_in(*map(station.order, names(5)))
    await station.has_waiting(5)
    closing = asyncio.create_task(door.desk.close())
    await asyncio.sleep(0.01)
    assert not closing.done()
    station.store.gate.set()
    await closing
    assert [task.done() and task.result() for task in (held, *waiting)] == [
        b"held",
        *map(str.encode, names(5)),
    ]


async def test_closing_a_door_sends_what_was_only_just_handed_in(station: Station) -> None:
    door = await station.door()
    waiting = door.hand_in(*map(station.order, names(5)))
    await asyncio.sleep(0)
    await door.desk.close()
    assert [task.done() and task.result() for task in waiting] == [*map(str.encode, names(5))]


async def test_a_closed_door_may_be_used_again(station: Station) -> None:
    door = Door(station.path)
    station.doors.append(door)
    await door.desk.close()
    assert await door.submit(station.order("a")) == b"a"
    await door.desk.close()
    await door.desk.close()
    assert await door.submit(station.order("b")) == b"b"


async def test_a_desk_that_is_let_go_answers_what_waits_and_ends(station: Station) -> None:
    door = await station.door()
    held = await station.hold(door)
    waiting = door.hand_in(*map(station.order, names(5)))
    await station.has_waiting(5)
    station.let_go()
    await asyncio.sleep(0.01)
    assert not station.serving.done()
    station.store.gate.set()
    assert await asyncio.gather(held, *waiting) == [b"held", *map(str.encode, names(5))]
    async with asyncio.timeout(_PATIENCE_SECONDS):
        await station.serving


async def test_an_idle_desk_that_is_let_go_ends(station: Station) -> None:
    station.let_go()
    async with asyncio.timeout(_PATIENCE_SECONDS):
        await station.serving


async def test_a_socket_that_nobody_serves_is_no_desk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a desk is begun again connections queue; what is handed in then has not been carried out by anybody."""
    monkeypatch.setattr(client, "_GREETING_SECONDS", 0.1)
    path = tmp_path / "desk"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        door = Door(path)
        with pytest.raises(StoreUnavailable):
            await door.submit(DistantOrder("a", []))
        with pytest.raises(StoreUnavailable):
            await door.desk.check()
    await door.desk.close()


async def test_a_desk_is_asked_for_a_sign_of_life_over_an_open_way_too(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = await station.door()
    await door.desk.check()
    monkeypatch.setattr(client, "_GREETING_SECONDS", 0.1)
    monkeypatch.setattr(server, "GREETING", Answers([], [Served([0.0], 0)]))
    way = door.desk._way
    with pytest.raises(StoreUnavailable):
        await door.desk.check()
    assert await door.submit(station.order("a")) == b"a"
    assert door.desk._way is way, "a question after the desk's health costs nobody an answer"


async def test_a_batch_is_counted_by_a_door_that_is_still_there(station: Station) -> None:
    gone, stays = await station.door(), await station.door()
    held = await station.hold(stays)
    going = gone.hand_in(station.order("gone"))
    staying = stays.hand_in(station.order("stays"))
    await station.has_waiting(2)
    first, station.store.gate = station.store.gate, asyncio.Event()
    first.set()
    await held
    await station.has_waiting(0)
    gone.vanish()
    await asyncio.sleep(0.01)
    station.store.gate.set()
    assert await staying[0] == b"stays"
    assert stays.sizes == [1, 2]
    await asyncio.gather(*going, return_exceptions=True)


async def test_answers_that_cannot_be_sent_leave_nobody_waiting(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = await station.door()
    unsendable = Refusal(errors.NO_STOCK, left=object())
    answers = await door.together(station.order("a", late=unsendable), station.order("b"))
    assert [type(answer) for answer in answers] == [CommitUnknown] * 2
    assert await door.submit(station.order("c")) == b"c"


async def test_an_order_that_cannot_be_sent_leaves_nobody_waiting(station: Station) -> None:
    door = await station.door()
    way = door.desk._way
    assert way is not None
    unsendable = asyncio.get_running_loop().create_future()
    way.send(cast("AttachTicket", object()), Awaited(unsendable))
    with pytest.raises(TypeError):
        await unsendable
    assert await door.submit(station.order("a")) == b"a"


async def test_nothing_is_handed_over_on_a_closed_way(station: Station) -> None:
    door = await station.door()
    way = door.desk._way
    assert way is not None
    await way.close()
    with pytest.raises(StoreUnavailable):
        way.send(station.order("late").ticket, Awaited(asyncio.get_running_loop().create_future()))
