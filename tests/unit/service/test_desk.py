"""The desk against stores of a few lines: who waits is served in order, and nobody's trouble becomes another's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import pytest

from numberline.domain import errors
from numberline.domain.catalog import Catalog, CatalogRows
from numberline.domain.errors import Refusal
from numberline.domain.working_set import Effects, Needs, WorkingSet
from numberline.service import desk
from numberline.service.catalog import CatalogCache
from numberline.service.desk import CallerOutdated, Desk, Served
from numberline.store.contract import Store
from numberline.store.errors import CommitUnknown, ConstraintViolated, StoreBusy, StoreError, StoreUnavailable
from numberline.store.memory import Memory, Offers
from numberline.store.sale import Shortage


def catalog_of(revision: int) -> Catalog:
    return Catalog(CatalogRows(revision, [], [], [], [], [], {}, {}, []))


class FakeCatalogs:
    """Hands out the revision it was given until a later one is asked for."""

    def __init__(self) -> None:
        self.held = catalog_of(1)

    async def current(self) -> Catalog:
        return self.held

    async def of(self, revision: int) -> Catalog:
        if self.held.revision < revision:
            self.held = catalog_of(revision)
        return self.held


SCARCE: Final = frozenset({(1, 2)})


class FakeStore:
    """Counts its transactions; `troubles` are raised by the next ones, `gate` holds them until it is opened.

    It is both the store and the transaction of it.
    """

    def __init__(self) -> None:
        self.revision = 1
        self.access_revision = 1
        self.scarce = False
        self.troubles: list[Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.transactions: list[Needs] = []
        self.patient: list[frozenset[Offers]] = []
        self.saved: list[Effects] = []

    def writer(self) -> FakeStore:
        return self

    async def rest(self) -> None:
        pass

    async def write(self, work: Callable[[FakeStore], Awaitable[Any]], *, more: Callable[[], bool]) -> Any:
        del more
        await self.gate.wait()
        result = await work(self)
        if self.troubles:
            raise self.troubles.pop(0)
        return result

    async def read(self, ask: Callable[[FakeStore], Awaitable[Any]]) -> Any:
        return await ask(self)

    async def find_catalog_revision(self) -> int:
        return self.revision

    async def find_access_revision(self) -> tuple[int, None]:
        return self.access_revision, None

    async def lock_for_sale(
        self, needs: Needs, patient: frozenset[Offers], _memory: Memory
    ) -> WorkingSet | Shortage:
        self.transactions.append(needs)
        self.patient.append(patient)
        if self.scarce and not patient:
            return Shortage(SCARCE)
        return WorkingSet(
            catalog_revision=self.revision,
            access_revision=self.access_revision,
            buyers={},
            blocks={},
            owners={},
            addresses={},
            answers={},
            rental_ids=iter(()),
            movement_ids=iter(()),
        )

    async def save(self, effects: Effects) -> None:
        self.saved.append(effects)


class FakeOrder:
    """Answers its name, or does what it was told to do instead; keeps a diary of what was asked of it."""

    def __init__(
        self,
        name: str,
        diary: list[str],
        *,
        early: Exception | None = None,
        late: Exception | None = None,
        access_revision: int | None = None,
    ) -> None:
        self.name, self.diary, self.early, self.late = name, diary, early, late
        self.planned_at: list[int] = []
        self.access_revision = access_revision

    def needs(self, catalog: Catalog) -> Needs:
        self.planned_at.append(catalog.revision)
        if self.early is not None:
            raise self.early
        return Needs(account_ids={1}, rentals=1)

    def decide(self, world: WorkingSet, catalog: Catalog) -> bytes:
        assert world.catalog_revision == catalog.revision == self.planned_at[-1]
        self.diary.append(self.name)
        if self.late is not None:
            raise self.late
        return self.name.encode()


class Office:
    """A desk with its fakes."""

    def __init__(self, batch_max: int = 64) -> None:
        self.store, self.catalogs, self.diary, self.sizes = (
            FakeStore(),
            FakeCatalogs(),
            list[str](),
            list[int](),
        )
        self.desk = Desk(
            cast("Store", self.store),
            cast("CatalogCache", self.catalogs),
            batch_max=batch_max,
            observe=self.observe,
        )

    def observe(self, served: Served) -> None:
        assert min(served.waits_seconds) >= 0
        self.sizes.append(len(served.waits_seconds))

    def order(self, name: str, **does: Any) -> FakeOrder:
        return FakeOrder(name, self.diary, **does)

    async def together(self, *orders: FakeOrder) -> list[bytes | BaseException]:
        """Submit orders so that they wait together, as one batch."""
        return await asyncio.gather(*(self.desk.submit(order) for order in orders), return_exceptions=True)


@pytest.fixture
async def office() -> Office:
    return Office()


async def test_one_order_is_one_transaction(office: Office) -> None:
    assert await office.desk.submit(office.order("a")) == b"a"
    assert len(office.store.transactions) == len(office.store.saved) == 1
    await office.desk.close()


async def test_who_waits_together_is_served_in_one_transaction_first_come_first(office: Office) -> None:
    names = [f"order {place}" for place in range(20)]
    answers = await office.together(*map(office.order, names))
    assert answers == [name.encode() for name in names]
    assert office.diary == names
    assert (office.sizes, len(office.store.transactions)) == ([20], 1)
    assert office.store.transactions[0].rentals == 20, "the batch locks what all of it needs, once"
    await office.desk.close()


async def test_where_orders_come_together_a_few_wait_a_moment_for_more(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "GATHERING_SECONDS", 0.05)
    await office.together(office.order("a"), office.order("b"))
    early = asyncio.create_task(office.desk.submit(office.order("early")))
    await asyncio.sleep(0.01)
    late = office.desk.submit(office.order("late"))
    assert [*await asyncio.gather(early, late)] == [b"early", b"late"]
    await office.together(*(office.order(f"many {place}") for place in range(desk.FEW)))
    assert office.sizes == [2, 2, desk.FEW]
    await office.desk.close()


async def test_who_comes_alone_waits_for_nobody(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "GATHERING_SECONDS", 60.0)
    for name in ("a", "b", "c"):
        assert await asyncio.wait_for(office.desk.submit(office.order(name)), 10) == name.encode()
    assert office.sizes == [1, 1, 1]
    many = [office.order(f"many {place}") for place in range(desk.FEW)]
    await asyncio.wait_for(office.together(*many), 10)
    assert office.sizes[3:] == [desk.FEW], "enough have come"
    await office.desk.close()


async def test_a_batch_has_a_limit_and_the_rest_comes_next() -> None:
    office = Office(batch_max=8)
    names = [f"order {place}" for place in range(20)]
    assert await office.together(*map(office.order, names)) == [name.encode() for name in names]
    assert office.diary == names
    assert office.sizes == [8, 8, 4]
    await office.desk.close()


async def test_orders_that_come_during_a_transaction_share_the_next(office: Office) -> None:
    office.store.gate.clear()
    first = asyncio.create_task(office.desk.submit(office.order("first")))
    await asyncio.sleep(0.01)
    later = [asyncio.create_task(office.desk.submit(office.order(f"later {place}"))) for place in range(3)]
    await asyncio.sleep(0.01)
    assert office.diary == []
    office.store.gate.set()
    assert await asyncio.gather(first, *later) == [b"first", b"later 0", b"later 1", b"later 2"]
    assert office.sizes == [1, 3]
    await office.desk.close()


async def test_an_order_whose_caller_may_be_another_by_now_is_not_decided(office: Office) -> None:
    office.store.access_revision = 7
    asked, same = office.order("asked"), office.order("same", access_revision=7)
    outdated = office.order("outdated", access_revision=6)
    early = Refusal(errors.INVALID_COUNTRY)
    refused = office.order("refused", early=early, access_revision=6)
    answers = await office.together(asked, outdated, same, refused)
    assert [answers[0], answers[2]] == [b"asked", b"same"]
    assert isinstance(answers[1], CallerOutdated)
    assert isinstance(answers[3], CallerOutdated), "a stranger is not told what is wrong with an order"
    assert office.diary == ["asked", "same"]
    await office.desk.close()


async def test_callers_are_compared_where_every_order_is_refused_beforehand(office: Office) -> None:
    early = Refusal(errors.INVALID_COUNTRY)
    asked, outdated = (office.order("", early=early, access_revision=known) for known in (None, 0))
    answers = await office.together(asked, outdated)
    assert answers[0] is early
    assert isinstance(answers[1], CallerOutdated)
    assert office.store.transactions == []
    await office.desk.close()


async def test_a_refusal_is_an_answer_like_any_other(office: Office) -> None:
    refusal, early = Refusal(errors.NO_STOCK), Refusal(errors.INVALID_COUNTRY)
    answers = await office.together(
        office.order("a"), office.order("b", late=refusal), office.order("c", early=early), office.order("d")
    )
    assert answers == [b"a", refusal, early, b"d"]
    assert office.diary == ["a", "b", "d"], "what is refused early is not decided"
    assert len(office.store.transactions) == 1
    await office.desk.close()


async def test_when_all_are_refused_early_no_transaction_is_needed(office: Office) -> None:
    refusals = [Refusal(errors.INVALID_COUNTRY), Refusal(errors.INVALID_REGION)]
    answers = await office.together(*(office.order("x", early=refusal) for refusal in refusals))
    assert answers == refusals
    assert office.store.transactions == []
    await office.desk.close()


@pytest.mark.parametrize("when", ["early", "late"])
async def test_a_defect_hits_only_the_order_that_has_it(office: Office, when: str) -> None:
    defect = ZeroDivisionError("a defect")
    orders = [office.order("a"), office.order("b", **{when: defect}), office.order("c")]
    assert await office.together(*orders) == [b"a", defect, b"c"]
    assert len(office.store.saved) == 2, "the batch was rolled back and its orders served one by one"
    assert await office.desk.submit(office.order("d")) == b"d"
    await office.desk.close()


async def test_a_constraint_that_stands_for_a_refusal_becomes_it_for_the_one_it_hit(office: Office) -> None:
    # Once for the batch as a whole, once for the first order alone; the second order then passes.
    office.store.troubles = [ConstraintViolated("uq_rental_number"), ConstraintViolated("uq_rental_number")]
    refused, served = await office.together(office.order("a"), office.order("b"))
    assert isinstance(refused, Refusal)
    assert refused.kind is errors.NUMBER_TAKEN
    assert refused.sentence
    assert served == b"b"
    await office.desk.close()


async def test_any_other_constraint_is_a_defect(office: Office) -> None:
    trouble = ConstraintViolated("ck_block_counts")
    office.store.troubles = [trouble]
    assert await office.together(office.order("a")) == [trouble]
    await office.desk.close()


@pytest.mark.parametrize("trouble", [StoreUnavailable("gone"), StoreBusy("locked"), CommitUnknown("cut off")])
async def test_a_failing_store_fails_the_whole_batch_and_is_not_asked_again(
    office: Office, trouble: StoreError
) -> None:
    office.store.troubles = [trouble]
    answers = await office.together(*(office.order(name) for name in "abc"))
    assert answers == [trouble] * 3
    assert len(office.store.transactions) == 1, "after an unknown outcome a second try could sell twice"
    assert await office.desk.submit(office.order("d")) == b"d", "the desk goes on"
    await office.desk.close()


async def test_a_catalogue_that_moved_since_the_plan_makes_a_new_plan(office: Office) -> None:
    office.store.revision = 5
    orders = [office.order("a"), office.order("b")]
    assert await office.together(*orders) == [b"a", b"b"]
    assert [order.planned_at for order in orders] == [[1, 5], [1, 5]]
    assert len(office.store.saved) == 1, "nothing is written under the old catalogue"
    await office.desk.close()


async def test_a_catalogue_that_never_rests_is_given_up_in_the_end(office: Office) -> None:
    class Restless(FakeCatalogs):
        async def of(self, revision: int) -> Catalog:
            office.store.revision += 1
            return await super().of(revision)

    office.desk._catalog = cast("CatalogCache", Restless())
    office.store.revision = 2
    [answer] = await office.together(office.order("a"))
    assert isinstance(answer, AssertionError)
    assert office.store.saved == []
    await office.desk.close()


async def test_scarce_stock_is_looked_for_again_patiently(office: Office) -> None:
    office.store.scarce = True
    assert await office.together(office.order("a"), office.order("b")) == [b"a", b"b"]
    assert office.store.patient == [frozenset(), SCARCE]
    assert office.diary == ["a", "b"]
    await office.desk.close()


async def test_a_caller_who_leaves_disturbs_nobody(office: Office) -> None:
    office.store.gate.clear()
    leaving = asyncio.create_task(office.desk.submit(office.order("leaving")))
    staying = asyncio.create_task(office.desk.submit(office.order("staying")))
    await asyncio.sleep(0.01)
    leaving.cancel()
    office.store.gate.set()
    assert await staying == b"staying"
    assert office.diary == ["leaving", "staying"], "an order once taken is carried out"
    await office.desk.close()


async def test_closing_serves_what_waits(office: Office) -> None:
    office.store.gate.clear()
    waiting = [asyncio.create_task(office.desk.submit(office.order(f"order {place}"))) for place in range(5)]
    await asyncio.sleep(0.01)
    closing = asyncio.create_task(office.desk.close())
    await asyncio.sleep(0.01)
    assert not closing.done()
    office.store.gate.set()
    await closing
    assert [task.result() for task in waiting] == [f"order {place}".encode() for place in range(5)]


async def test_closing_an_idle_desk_is_nothing_and_it_may_open_again(office: Office) -> None:
    await office.desk.close()
    assert await office.desk.submit(office.order("a")) == b"a"
    await office.desk.close()
    await office.desk.close()
    assert await office.desk.submit(office.order("b")) == b"b"
    await office.desk.close()


async def test_an_observer_that_fails_stops_nobody() -> None:
    office = Office()
    office.desk = Desk(office.store, office.catalogs, observe=_fail)  # type: ignore[arg-type]
    assert await office.together(office.order("a")) == [b"a"]
    assert await office.together(office.order("b")) == [b"b"]
    await office.desk.close()


def _fail(_: object) -> None:
    raise RuntimeError("no room in the books")


async def test_whoever_went_away_is_not_served(office: Office) -> None:
    office.store.gate.clear()
    first = asyncio.create_task(office.desk.submit(office.order("a")))
    second = asyncio.create_task(office.desk.submit(office.order("b")))
    await asyncio.sleep(0.01)
    third = asyncio.create_task(office.desk.submit(office.order("c")))
    await asyncio.sleep(0.01)
    third.cancel()
    await asyncio.sleep(0.01)
    office.store.gate.set()
    assert (await first, await second) == (b"a", b"b")
    await office.desk.close()
    assert "c" not in office.diary
