"""The ledger and the stock against a model of forty lines, step by step, on both engines.

How: Hypothesis drives the wire methods and the operator's credits in any order, alone and many at once, with repeats
under one key, restarts and clock steps. After every step wallets, owners and the auditor must agree with the model.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from numberline.domain import money, pricing
from numberline.domain.access import OWNER, Account, Caller
from numberline.domain.errors import Refusal
from numberline.service.accounts import credit_account
from numberline.service.attach import AttachedNumber, AttachOrder, attach_numbers
from numberline.service.context import Call
from numberline.store.opening import open_store
from numberline.store.transaction import Transaction
from tests.kit import world
from tests.kit.postgres import PostgresServer, name_of
from tests.kit.world import UNIT, Town

ACCOUNTS = (world.PARENT, world.GERMAN, world.RUSSIAN_VERIFIED, world.POOR)
# What one number of an ordinary US offer costs: taken for good, and held. Worked out by hand from the price list:
# 2 + 1 dollars; 8.25 % tax; 0.92 euros and 19 %; 90.5 rubles with everything inside and nothing held.
US_COST = {
    world.PARENT: (2_165_000, 1_082_500),
    world.POOR: (2_165_000, 1_082_500),
    world.GERMAN: (2_189_600, 1_094_800),
    world.RUSSIAN_VERIFIED: (271_500_000, 0),
}
FIRST, LAST = 15552850000, 15552852999
WHERE = {"country_code": "US", "phone_category_name": "GEOGRAPHIC"}
accounts = st.sampled_from(ACCOUNTS)
numbers = st.integers(0, 12).map(lambda place: FIRST + place * 211 + place % 3)


class Model(msgspec.Struct):
    """What ought to be: who owns which number, what is free, and everybody's money."""

    funds: dict[int, int]
    held: dict[int, int]
    owners: dict[int, int] = msgspec.field(default_factory=dict)
    hollywood: set[int] = msgspec.field(default_factory=lambda: set(range(FIRST, LAST + 1)))
    new_york: set[int] = msgspec.field(default_factory=lambda: {15592850000, 15592850001, 15592850002})

    def buy(self, account: int, wanted: list[int]) -> list[int] | int:
        """The numbers bought, or the code of the refusal."""
        for number in wanted:
            if number in self.owners:
                return 395 if self.owners[number] == account else 182
        charged, held = US_COST[account]
        if len(wanted) * (charged + held) > self.funds[account]:
            return 127
        self.funds[account] -= len(wanted) * (charged + held)
        self.held[account] += len(wanted) * held
        for number in wanted:
            self.owners[number] = account
            self.hollywood.discard(number)
            self.new_york.discard(number)
        return wanted

    def pick(self, account: int, free: set[int], count: int) -> list[int] | int:
        """The same for a buyer by count, who gets the highest."""
        if len(free) < count:
            return 332 if free else 331
        return self.buy(account, sorted(free, reverse=True)[:count])


class SaleMachine(RuleBasedStateMachine):
    """Set up by `_machine` with a way to get a copy of the town on one engine."""

    new_town: Callable[[], Any]

    @initialize()
    def open(self) -> None:
        self.runner = asyncio.Runner()
        self.copy = self.new_town()
        self.url = self.copy.__enter__()
        self.town = self._open()
        funds = dict.fromkeys(ACCOUNTS, 100_000 * UNIT) | {world.POOR: 10_000}
        self.model = Model(funds, dict.fromkeys(ACCOUNTS, 0))
        self.answers: dict[str, tuple[int, dict[str, Any], dict[str, Any]]] = {}

    def _open(self) -> Town:
        async def opened() -> Town:
            return Town(open_store(self.url))

        return self.runner.run(opened())

    def teardown(self) -> None:
        if hasattr(self, "town"):
            self.runner.run(self.town.close())
            self.runner.close()
            self.copy.__exit__(None, None, None)

    # --- steps ---

    @rule(account=accounts, wanted=st.lists(numbers, min_size=1, max_size=4, unique=True))
    def buy_exactly(self, account: int, wanted: list[int]) -> None:
        self._expect(account, {"phone_number": ";".join(map(str, wanted))}, self.model.buy(account, wanted))

    @rule(account=accounts, count=st.integers(1, 100))
    def buy_by_count(self, account: int, count: int) -> None:
        asked = WHERE | {"phone_region_id": world.HOLLYWOOD, "phone_count": count}
        self._expect(account, asked, self.model.pick(account, self.model.hollywood, count))

    @rule(account=accounts, count=st.integers(1, 3))
    def buy_the_scarce(self, account: int, count: int) -> None:
        asked = WHERE | {"phone_region_id": world.NEW_YORK, "phone_count": count}
        self._expect(account, asked, self.model.pick(account, self.model.new_york, count))

    @rule(
        orders=st.lists(st.tuples(accounts, st.one_of(numbers, st.integers(1, 30))), min_size=2, max_size=12)
    )
    def buy_all_at_once(self, orders: list[tuple[int, int]]) -> None:
        """Many orders in one batch are decided in the order in which they came to the desk."""
        placed, expected = [], []
        for account, what in orders:
            if what > 1_000:
                placed.append((account, AttachOrder(numbers=[what])))
                expected.append(self.model.buy(account, [what]))
            else:
                placed.append(
                    (
                        account,
                        AttachOrder(
                            country="US", category="GEOGRAPHIC", region_id=world.HOLLYWOOD, count=what
                        ),
                    )
                )
                expected.append(self.model.pick(account, self.model.hollywood, what))
        assert self.runner.run(self._attach_together(placed)) == expected

    @rule(account=accounts, key=st.sampled_from("abc"), count=st.integers(1, 2))
    def buy_under_a_key(self, account: int, key: str, count: int) -> None:
        asked = WHERE | {"phone_region_id": world.HOLLYWOOD, "phone_count": count}
        earlier = self.answers.get(f"{account}:{key}")
        answer = self._call(account, asked, key)
        if earlier is not None:
            same = earlier[1] == asked
            assert answer == earlier[2] if same else answer["error"]["code"] == 493
            return
        self._check(answer, self.model.pick(account, self.model.hollywood, count))
        if "result" in answer:
            self.answers[f"{account}:{key}"] = (account, asked, answer)

    @rule(account=accounts, amount=st.integers(-5 * UNIT, 20 * UNIT).filter(bool))
    def move_money(self, account: int, amount: int) -> None:
        move = credit_account(self.town.store, self.town.clock, account, amount, actor="test", note="")
        if self.model.funds[account] + amount < 0:
            with pytest.raises(Refusal, match="INSUFFICIENT_MONEY"):
                self.runner.run(move)
        else:
            self.runner.run(move)
            self.model.funds[account] += amount

    @rule(hours=st.integers(1, 24 * 40))
    def time_passes(self, hours: int) -> None:
        self.town.clock.advance(timedelta(hours=hours))

    @rule()
    def restart(self) -> None:
        now = self.town.clock.now()
        self.runner.run(self.town.close())
        self.town = self._open()
        self.town.clock.advance(now - self.town.clock.now())

    # --- what must hold after each ---

    @invariant()
    def money_agrees(self) -> None:
        for account in ACCOUNTS:
            wallet = self.runner.run(self.town.wallet(account))
            assert (wallet.funds_micros, wallet.held_micros) == (
                self.model.funds[account],
                self.model.held[account],
            )

    @invariant()
    def stock_agrees(self) -> None:
        asked = WHERE | {"phone_region_id": world.HOLLYWOOD}
        found = self.runner.run(self.town.call("GetActualPhoneNumberRegion", asked))
        assert found["result"]["phone_count"] == len(self.model.hollywood)
        report = self.runner.run(self.town.audit())
        assert report.is_clean, report.findings
        assert report.counts["rental"] == len(self.model.owners)

    def _call(self, account: int, asked: dict[str, Any], key: str | None = None) -> dict[str, Any]:
        return self.runner.run(
            self.town.call("AttachPhoneNumber", asked, account=account, idempotency_key=key)
        )

    def _expect(self, account: int, asked: dict[str, Any], expected: list[int] | int) -> None:
        self._check(self._call(account, asked), expected)

    async def _attach_together(self, placed: list[tuple[int, AttachOrder]]) -> list[list[int] | int]:
        """Straight to the desk: on the way there, credentials are checked in any order."""
        calls: dict[int, Call] = {}
        for account in ACCOUNTS:
            owner = await self.town.store.read(partial(_find_account, account))
            assert owner is not None
            calls[account] = Call(Caller(owner, OWNER, "test"), self.town.services)
        return await asyncio.gather(*(_sell(calls[account], order) for account, order in placed))

    @staticmethod
    def _check(answer: dict[str, Any], expected: list[int] | int) -> None:
        if isinstance(expected, int):
            assert answer["error"]["code"] == expected, answer
        else:
            assert [one["phone_id"] for one in answer["phone_numbers"]] == expected


async def _find_account(account: int, ask: Transaction) -> Account | None:
    return await ask.find_account(account)


async def _sell(call: Call, order: AttachOrder) -> list[int] | int:
    def render(sold: Sequence[AttachedNumber]) -> bytes:
        return json.dumps([one.number for one in sold]).encode()

    try:
        sold: list[int] = json.loads(await call.services.desk.submit(attach_numbers(call, order, render)))
    except Refusal as refusal:
        return refusal.kind.code
    return sold


def _machine(copies: Callable[[], Any]) -> type[SaleMachine]:
    return type("Machine", (SaleMachine,), {"new_town": staticmethod(copies)})


@contextmanager
def _sqlite_copy(template: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "town.db"
        shutil.copy(template.removeprefix("sqlite:///"), copy)
        yield f"sqlite:///{copy}"


@contextmanager
def _postgres_copy(server: PostgresServer, template: str) -> Iterator[str]:
    url = server.create_database(template=name_of(template))
    yield url
    server.drop(url)


STEPS = settings(max_examples=12, stateful_step_count=25, deadline=None)


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_the_books_follow_the_model(
    engine: str, town_template: dict[str, str], hasty_postgres_server: PostgresServer
) -> None:
    template = town_template[engine]
    if engine == "sqlite":
        machine = _machine(lambda: _sqlite_copy(template))
    else:
        machine = _machine(lambda: _postgres_copy(hasty_postgres_server, template))
    run_state_machine_as_test(machine, settings=STEPS)


def test_the_machine_notices_a_wrong_price(
    town_template: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The canary: a server that charges one micro too little must be found out."""
    honest = money.scale
    monkeypatch.setattr(pricing, "scale", lambda *ratio: max(honest(*ratio) - 1, 0))
    machine = _machine(lambda: _sqlite_copy(town_template["sqlite"]))
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=settings(STEPS, max_examples=5, phases=[Phase.generate]))
