"""The desk: decide in memory, write in sets, commit once.

Requests that spend queue here. The desk takes all that wait, opens one transaction, locks what they need in a fixed
order, lets the domain decide each in turn, writes all results together, commits, and answers. One request alone
costs what it always did; under load the commit and the round trips are shared.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from numberline.domain.catalog import Catalog
from numberline.domain.errors import Refusal
from numberline.domain.working_set import Needs, WorkingSet
from numberline.service.catalog import CatalogCache
from numberline.store.contract import DistantWriter, Store, Writer
from numberline.store.errors import REFUSALS, CommitUnknown, ConstraintViolated, StoreBusy, StoreUnavailable
from numberline.store.memory import Memory, Offers, Recalled, Verdict
from numberline.store.sale import Shortage, changes_of
from numberline.store.transaction import Transaction

BATCH_MAX: Final = 64
# Most of what a batch costs it costs for one order too: where orders come together, a few wait a moment for more.
FEW: Final = 8
GATHERING_SECONDS: Final = 0.001
_CATALOG_TRIES: Final = 3
# Failures that no single order of a batch can be blamed for.
_OF_ALL: Final = (StoreUnavailable, StoreBusy, CommitUnknown)
log = logging.getLogger(__name__)


class Order(Protocol):
    """A request that spends."""

    @property
    def access_revision(self) -> int | None:
        """The revision of who may do what at which its caller was remembered; None if the store has been asked since."""

    def needs(self, catalog: Catalog) -> Needs:
        """What must be locked before it can be decided; raises Refusal when that is clear already."""

    def decide(self, world: WorkingSet, catalog: Catalog) -> bytes:
        """Carry it out on the working set and return the answer's body.

        Raises Refusal, and then has changed nothing.
        """


class Served(msgspec.Struct, frozen=True):
    """What a batch was like: how long each of its orders had waited, and how many numbers it attached."""

    waits_seconds: list[float]
    attached: int


class PortableOrder(Order, Protocol):
    """An order that a desk in another process can be given, by its ticket."""

    @property
    def ticket(self) -> msgspec.Struct:
        """The order as it came, without what has been worked out since."""


class Taker(Protocol):
    """Whoever waits for the answer to an order. Only the first answer counts."""

    def is_gone(self) -> bool:
        """Whether nobody waits any more."""

    def accept(self, body: bytes) -> None:
        """Answer with a body, once the effects of the order are durable."""

    def refuse(self, reason: BaseException) -> None:
        """Answer with a Refusal, or with whatever went wrong."""


class Awaited(msgspec.Struct):
    """A taker that is waited for."""

    answer: asyncio.Future[bytes]

    def is_gone(self) -> bool:
        """Whether nobody waits any more."""
        return self.answer.done()

    def accept(self, body: bytes) -> None:
        """Answer with a body."""
        if not self.answer.done():
            self.answer.set_result(body)

    def refuse(self, reason: BaseException) -> None:
        """Answer with an exception."""
        if not self.answer.done():
            self.answer.set_exception(reason)


class Counter(Protocol):
    """Where orders are handed in: the desk itself, or the way to one in another process."""

    async def submit(self, order: PortableOrder) -> bytes:
        """Queue an order; returns the body of its answer once its effects are durable, or raises Refusal."""

    def hand_in(self, order: PortableOrder, taker: Taker) -> bool:
        """Queue an order whose answer the taker will be given; False if that cannot be done without waiting."""

    async def check(self) -> None:
        """Raise StoreUnavailable unless orders can be handed in."""

    async def close(self) -> None:
        """Let go, once all that was handed in has been answered."""


class Waiting(Taker, Protocol):
    """An order in the queue of a desk, and whoever waits for its answer."""

    order: Order
    since: float


class _WaitingHere(msgspec.Struct):
    """One who waits in the process of the desk."""

    order: Order
    since: float
    taker: Taker

    def is_gone(self) -> bool:
        return self.taker.is_gone()

    def accept(self, body: bytes) -> None:
        self.taker.accept(body)

    def refuse(self, reason: BaseException) -> None:
        self.taker.refuse(reason)


class CallerOutdated(Exception):
    """The store may say otherwise by now about a caller who was only remembered; the order had no effect."""


# The answer to each order, and how many numbers were attached.
_Outcome = tuple[list[bytes | Refusal | CallerOutdated], int]


class _LookAgain(Exception):
    """Too little of some offers was found without waiting for others."""

    def __init__(self, shortage: Shortage) -> None:
        super().__init__(shortage)
        self.shortage = shortage


class _CatalogMoved(Exception):
    """The catalogue changed between the plan and the transaction."""

    def __init__(self, revision: int) -> None:
        super().__init__(revision)
        self.revision = revision


class Desk:
    """One per process; serves the orders that wait in batches of up to `batch_max`."""

    def __init__(
        self,
        store: Store,
        catalog: CatalogCache,
        *,
        batch_max: int = BATCH_MAX,
        observe: Callable[[Served], None] = lambda _: None,
    ) -> None:
        """`observe` is told of every batch that was committed."""
        self._store = store
        self._writer = store.writer()
        self._courier = self._writer if isinstance(self._writer, DistantWriter) else None
        self._catalog = catalog
        self._memory = Memory()
        self._batch_max = batch_max
        self._observe = observe
        self._waiting: deque[Waiting] = deque()
        self._has_work = asyncio.Event()
        self._is_closing = False
        self._last_size = 0
        self._server: asyncio.Task[None] | None = None

    async def submit(self, order: Order) -> bytes:
        """Queue an order; returns the body of its answer once its effects are durable, or raises Refusal."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.hand_in(order, Awaited(answer))
        return await answer

    def hand_in(self, order: Order, taker: Taker) -> bool:
        """Queue an order whose answer the taker will be given."""
        self.enter(_WaitingHere(order, time.perf_counter(), taker))
        return True

    def enter(self, waiting: Waiting) -> None:
        """Queue an order; whoever waits for it is told."""
        if self._server is None:
            self._server = asyncio.create_task(self._serve(), name="desk")
        self._waiting.append(waiting)
        self._has_work.set()

    async def check(self) -> None:
        """Nothing to complain of: whoever can ask is where the desk is."""

    async def close(self) -> None:
        """Serve what waits, then stop."""
        if self._server is not None:
            self._is_closing = True
            self._has_work.set()
            await asyncio.gather(self._server, return_exceptions=True)
            self._is_closing, self._server = False, None

    async def _serve(self) -> None:
        try:
            while self._waiting or not self._is_closing:
                await self._serve_next()
        finally:
            await self._writer.rest()

    async def _serve_next(self) -> None:
        if not self._waiting:
            # Whoever was at hand before the last commit may have gone away.
            await self._writer.rest()
            await self._has_work.wait()
        if self._has_company_on_its_way():
            await asyncio.sleep(GATHERING_SECONDS)
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._batch_max))]
        self._last_size = len(batch)
        if not self._waiting and not self._is_closing:
            self._has_work.clear()
        try:
            # Whoever went away before the desk came to them has not bought anything.
            await self._settle([waiting for waiting in batch if not waiting.is_gone()])
        except Exception:
            log.exception("the desk failed a batch")
        finally:
            for waiting in batch:
                waiting.refuse(StoreUnavailable("the desk was closed"))

    def _has_company_on_its_way(self) -> bool:
        """Whether few wait where more came last time. Who buys one number after the other never waits for anybody."""
        came_together = self._last_size > 1 and not self._is_closing
        return came_together and len(self._waiting) < min(FEW, 2 * self._last_size)

    async def _settle(self, batch: list[Waiting]) -> None:
        """Serve a batch; when it fails as a whole, serve its orders one by one, so that each gets its own answer."""
        if not batch:
            return
        began_at = time.perf_counter()
        try:
            answers, attached = await self._transact([waiting.order for waiting in batch])
        except Exception as error:  # noqa: BLE001 - whatever happened belongs to those who wait
            await self._part(batch, error)
            return
        for waiting, answer in zip(batch, answers, strict=True):
            waiting.accept(answer) if isinstance(answer, bytes) else waiting.refuse(answer)
        # Books about the desk must never keep it from working.
        with contextlib.suppress(Exception):
            self._observe(Served([began_at - waiting.since for waiting in batch], attached))

    async def _part(self, batch: list[Waiting], error: Exception) -> None:
        if len(batch) == 1 or isinstance(error, _OF_ALL):
            for waiting in batch:
                waiting.refuse(_as_refusal(error))
            return
        for waiting in batch:
            await self._settle([waiting])

    def _has_waiting(self) -> bool:
        return bool(self._waiting)

    async def _transact(self, orders: list[Order]) -> _Outcome:
        """Serve orders in one transaction, against the catalogue of that transaction."""
        catalog = await self._catalog.current()
        for _ in range(_CATALOG_TRIES):
            try:
                return await _Batch(orders, catalog, self._memory).run(
                    self._store, self._writer, self._has_waiting, courier=self._courier
                )
            except _CatalogMoved as moved:
                catalog = await self._catalog.of(moved.revision)
        raise AssertionError("the catalogue changed during each of several tries")


class _Batch:
    """Orders with what they need, as one catalogue sees it."""

    def __init__(self, orders: list[Order], catalog: Catalog, memory: Memory) -> None:
        self._orders = orders
        self._catalog = catalog
        self._memory = memory
        self._needs = Needs()
        self._early: dict[int, Refusal] = {}
        self._accounts: dict[int, set[int]] = {}
        for place, order in enumerate(orders):
            try:
                needs = order.needs(catalog)
                self._accounts[place] = needs.account_ids
                self._needs.add(needs)
            except Refusal as refusal:
                self._early[place] = refusal

    async def run(
        self,
        store: Store,
        writer: Writer,
        more: Callable[[], bool],
        *,
        courier: DistantWriter | None = None,
    ) -> _Outcome:
        """Serve the orders; `courier` is the writer once more, if it spares journeys to remember."""
        if len(self._early) == len(self._orders):
            self._check_revision(await store.read(lambda ask: ask.find_catalog_revision()))
            access_revision, _ = await store.read(lambda ask: ask.find_access_revision())
            return self._answer_all(access_revision, self._early.__getitem__), 0
        if courier is not None:
            return await self._run_remembering(courier, more)
        return (await self._run_asking(writer, more))[0]

    async def _run_remembering(self, writer: DistantWriter, more: Callable[[], bool]) -> _Outcome:
        """By memory if all that is needed is remembered and still so, otherwise by asking for it."""
        is_served = self._memory.serves(self._needs)
        try:
            recalled = self._memory.recall(self._needs, self._catalog.revision) if is_served else None
            outcome = await self._run_by_memory(recalled, writer, more) if recalled else None
            if outcome is None:
                # After this one the next is likely to be one statement, which begins and ends a transaction by itself.
                outcome, world = await self._run_asking(writer, (lambda: False) if is_served else more)
                self._memory.keep_seen(world, are_picked=is_served)
        except BaseException:
            self._memory.forget()
            raise
        return outcome

    async def _run_by_memory(
        self, recalled: Recalled, writer: DistantWriter, more: Callable[[], bool]
    ) -> _Outcome | None:
        """Decide on what is remembered; None when it was no longer so, and nothing was saved."""
        rental_ids = await writer.reserve_ids("rental", self._needs.rentals)
        movement_ids = await writer.reserve_ids("movement", self._needs.movements)
        world = recalled.world(iter(rental_ids), iter(movement_ids))
        answers = self._decide_all(world)
        try:
            is_held = recalled.is_held(world.effects.wallets, self._refused(answers))
            row = await writer.write_if(is_held, *changes_of(world.effects), more=more)
        except StoreBusy:
            # Asking is tried more than once, and then says whether others are in the way for good.
            self._memory.distrust()
            return None
        verdict = Verdict(*row)
        if not verdict.are_blocks_same:
            self._memory.give_way(recalled)
            return None
        if not verdict.is_held:
            self._memory.distrust()
            return None
        self._memory.keep_recalled(world.effects, verdict)
        return answers, len(world.effects.rentals)

    async def _run_asking(self, writer: Writer, more: Callable[[], bool]) -> tuple[_Outcome, WorkingSet]:
        """Lock and load what is needed, decide and save."""
        patient: frozenset[Offers] = frozenset()
        while True:
            try:
                return await writer.write(partial(self._work, patient), more=more)
            except _LookAgain as look:
                patient = look.shortage.offers

    async def _work(self, patient: frozenset[Offers], work: Transaction) -> tuple[_Outcome, WorkingSet]:
        world = await work.lock_for_sale(self._needs, patient, self._memory)
        if isinstance(world, Shortage):
            raise _LookAgain(world)
        self._check_revision(world.catalog_revision)
        answers = self._decide_all(world)
        await work.save(world.effects)
        return (answers, len(world.effects.rentals)), world

    def _decide_all(self, world: WorkingSet) -> list[bytes | Refusal | CallerOutdated]:
        return self._answer_all(
            world.access_revision,
            lambda place: self._early.get(place) or self._decide(self._orders[place], world),
        )

    def _answer_all(
        self, access_revision: int, answer: Callable[[int], bytes | Refusal]
    ) -> list[bytes | Refusal | CallerOutdated]:
        """The answer to each order by its place, but to those whose callers may be others by now."""
        return [
            answer(place) if order.access_revision in (None, access_revision) else CallerOutdated()
            for place, order in enumerate(self._orders)
        ]

    def _refused(self, answers: list[bytes | Refusal | CallerOutdated]) -> set[int]:
        """The accounts of orders that were refused for what was found of them."""
        refused: set[int] = set()
        for place, accounts in self._accounts.items():
            if isinstance(answers[place], Refusal):
                refused |= accounts
        return refused

    def _check_revision(self, revision: int) -> None:
        if revision != self._catalog.revision:
            raise _CatalogMoved(revision)

    def _decide(self, order: Order, world: WorkingSet) -> bytes | Refusal:
        try:
            return order.decide(world, self._catalog)
        except Refusal as refusal:
            return refusal


def _as_refusal(error: Exception) -> BaseException:
    """A constraint that stands for a refusal becomes that refusal; all else stays what it is."""
    kind = REFUSALS.get(error.constraint) if isinstance(error, ConstraintViolated) else None
    return error if kind is None else Refusal(kind, **_UNKNOWN_VALUES)


# A constraint tells neither the number nor the sums; it fires only where the domain has overlooked something.
_UNKNOWN_VALUES: Final[dict[str, Any]] = dict.fromkeys(
    ("number", "needed", "available", "currency", "limit"), "?"
)
