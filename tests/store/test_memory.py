"""What a desk remembers is never believed: whatever others have changed since is seen by the next sale."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

import asyncpg
import msgspec
import pytest
from sqlalchemy import update

from numberline.domain.access import Account
from numberline.domain.account import Wallet, WalletChange
from numberline.domain.blocks import ALL_FREE, Block
from numberline.domain.working_set import Buyer, Needs, WorkingSet
from numberline.service import desk as desks
from numberline.store import memory, postgres
from numberline.store.memory import Memory, Verdict
from numberline.store.migrate import migrate
from numberline.store.opening import open_store
from numberline.store.schema import wallet
from numberline.store.statements import Statement
from numberline.store.transaction import Transaction
from tests.kit import world
from tests.kit.world import Town, build_town

IN_HOLLYWOOD: Final = {
    "country_code": "US",
    "phone_category_name": "local",
    "phone_region_id": world.HOLLYWOOD,
}
INSUFFICIENT_MONEY, FROZEN, LIMITED = 127, 104, 314


async def buy(town: Town, count: int = 1) -> list[int]:
    """Buy numbers of Hollywood in as many orders, all at once."""
    answers = await asyncio.gather(*(town.call("AttachPhoneNumber", IN_HOLLYWOOD) for _ in range(count)))
    return [answer["phone_numbers"][0]["phone_id"] for answer in answers]


async def refusal(town: Town) -> int:
    """The code with which an order for a number of Hollywood is refused."""
    answer = await town.call("AttachPhoneNumber", IN_HOLLYWOOD)
    code: int = answer["error"]["code"]
    return code


class Ways:
    """How the batches of all desks went: by memory, by a memory that was wrong, or by asking."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.by_memory = self.wrong = self.asked = 0
        run_by_memory, run_asking = desks._Batch._run_by_memory, desks._Batch._run_asking

        async def by_memory(batch: Any, *rest: Any) -> Any:
            found = await run_by_memory(batch, *rest)
            self.wrong += found is None
            self.by_memory += found is not None
            return found

        async def asking(batch: Any, *rest: Any) -> Any:
            self.asked += 1
            return await run_asking(batch, *rest)

        monkeypatch.setattr(desks._Batch, "_run_by_memory", by_memory)
        monkeypatch.setattr(desks._Batch, "_run_asking", asking)


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Ways:
    return Ways(monkeypatch)


# --- What others change, on either engine ----------------------------------------------------------------------------


async def empty_wallet(write: Transaction) -> None:
    buyer = (await write.lock_buyers([world.PARENT]))[world.PARENT]
    buyer.wallet.funds_micros = -buyer.wallet.credit_limit_micros
    await write.save_wallets([buyer])


async def set_frozen(town: Town, is_frozen: bool) -> None:
    await town.store.write(lambda write: write.set_flags(world.PARENT, is_active=True, is_frozen=is_frozen))


async def test_a_wallet_that_was_emptied_meanwhile_buys_nothing(town: Town) -> None:
    await buy(town)
    await town.store.write(empty_wallet)
    assert [await refusal(town) for _ in range(2)] == [INSUFFICIENT_MONEY] * 2


async def test_a_frozen_account_buys_nothing_from_the_next_request_on(town: Town) -> None:
    await buy(town)
    await set_frozen(town, True)
    assert await refusal(town) == FROZEN
    await set_frozen(town, False)
    assert await buy(town)


async def test_a_price_that_changed_is_paid_by_the_next_buyer(town: Town) -> None:
    paid = []
    for factor in (1, 2):
        rows = await town.store.read(lambda ask: ask.load_catalog(), snapshot=True)
        rows.prices[:] = [
            msgspec.structs.replace(price, setup_micros=factor * price.setup_micros) for price in rows.prices
        ]
        await town.store.write(lambda write, rows=rows: write.replace_catalog(rows))  # type: ignore[misc]
        await buy(town)
        before = (await town.wallet()).funds_micros
        await buy(town)
        paid.append(before - (await town.wallet()).funds_micros)
    assert paid[1] > paid[0]


async def test_refusals_by_memory_are_as_true_as_sales(town: Town, ways: Ways) -> None:
    await buy(town)

    async def leave_a_little(write: Transaction) -> None:
        buyer = (await write.lock_buyers([world.PARENT]))[world.PARENT]
        buyer.wallet.funds_micros = 1 - buyer.wallet.credit_limit_micros
        await write.save_wallets([buyer])

    await town.store.write(leave_a_little)
    assert await refusal(town) == INSUFFICIENT_MONEY
    await town.store.write(lambda write: _add_funds(write, 10**9))
    assert await buy(town)


async def _add_funds(write: Transaction, micros: int) -> None:
    buyer = (await write.lock_buyers([world.PARENT]))[world.PARENT]
    buyer.wallet.funds_micros += micros
    await write.save_wallets([buyer])


async def test_a_wallet_that_others_changed_need_not_be_asked_for_while_it_pays(
    town: Town, ways: Ways
) -> None:
    """What others add or take stays in the wallet, and what is remembered afterwards is what is in it."""
    await buy(town)
    price = await _price(town)
    for change in (10**9, -5 * 10**8, price, -price):
        await town.store.write(lambda write, change=change: _add_funds(write, change))  # type: ignore[misc]
        before = await town.wallet()
        await buy(town, 2)
        after = await town.wallet()
        assert after.funds_micros == before.funds_micros - 2 * price
        assert after.rental_count == before.rental_count + 2
    if town.store.engine == "postgres":
        assert ways.wrong == 0

    # Down to the last number that it pays for, by what is remembered alone.
    asked = ways.asked
    rest = (await town.wallet()).available_micros
    await town.store.write(lambda write: _add_funds(write, 3 * price - 1 - rest))
    await buy(town, 2)
    assert await refusal(town) == INSUFFICIENT_MONEY
    assert (await town.wallet()).available_micros == price - 1
    if town.store.engine == "postgres":
        assert (ways.asked, ways.wrong) == (asked, 0)


async def _price(town: Town) -> int:
    before = (await town.wallet()).funds_micros
    await buy(town)
    return before - (await town.wallet()).funds_micros


async def test_a_limit_that_others_lowered_meanwhile_holds(town: Town, ways: Ways) -> None:
    await buy(town)
    held = (await town.wallet()).rental_count
    await town.store.write(lambda write: _limit_rentals(write, held + 1))
    assert await buy(town)
    assert await refusal(town) == LIMITED
    await town.store.write(lambda write: _limit_rentals(write, None))
    assert await buy(town)


async def _limit_rentals(write: Transaction, limit: int | None) -> None:
    changed = update(wallet).where(wallet.c.account_id == world.PARENT).values(rental_limit=limit)
    await write.connection.execute(Statement(changed))


async def test_two_desks_that_remember_the_same_thousand_sell_each_number_once(
    town_url: str, ways: Ways
) -> None:
    towns = [Town(open_store(town_url)) for _ in range(2)]
    sold: list[int] = []
    for _ in range(6):
        for town in towns:
            sold += await buy(town, 3)
    for _ in range(6):
        for found in await asyncio.gather(*(buy(town, 3) for town in towns)):
            sold += found
    assert len(set(sold)) == len(sold) == 72
    assert (await towns[0].audit()).findings == []
    if towns[0].store.engine == "postgres":
        assert ways.wrong == 1, "once each of them has found the other's thousand, they go their own ways"
        assert ways.by_memory > ways.asked
    for town in towns:
        await town.close()


async def test_what_is_asked_for_each_time_keeps_the_memory_true(town: Town, ways: Ways) -> None:
    """Orders under keys and for exact numbers change the same wallet and the same thousand."""
    [first] = await buy(town)
    under_key = await town.call("AttachPhoneNumber", IN_HOLLYWOOD, idempotency_key="a")
    exactly = await town.call("AttachPhoneNumber", IN_HOLLYWOOD | {"phone_number": str(first - 7)})
    low = await town.call("AttachPhoneNumber", IN_HOLLYWOOD | {"phone_number": "15552850000"})
    assert {answer.get("result") for answer in (under_key, exactly, low)} == {1}
    [last] = await buy(town)
    assert last == first - 2, "numbers are still sold from the high end"
    assert ways.wrong == 0
    if town.store.engine == "postgres":
        assert ways.by_memory == 1


async def test_a_desk_by_itself_asks_once_and_remembers(town: Town, ways: Ways) -> None:
    sold = [number for _ in range(20) for number in await buy(town, 3)]
    assert len(set(sold)) == 60
    assert (await town.audit()).findings == []
    if town.store.engine == "postgres":
        assert (ways.asked, ways.by_memory, ways.wrong) == (1, 19, 0)
    else:
        assert (ways.asked, ways.by_memory) == (20, 0), "asking costs SQLite nothing"


# --- What is changed while the statement waits, on PostgreSQL, where it can wait --------------------------------------


@pytest.fixture
async def distant_town(postgres_url: str) -> AsyncIterator[Town]:
    await migrate(postgres_url)
    found = await build_town(open_store(postgres_url))
    yield found
    await found.close()


async def _until_somebody_waits(connection: asyncpg.Connection) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    for _ in range(1_000):
        if await connection.fetchval(waiting):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody waits")


@pytest.mark.parametrize("ends", ["COMMIT", "ROLLBACK"])
async def test_a_wallet_that_changes_while_it_is_waited_for_is_read_anew(
    distant_town: Town, postgres_url: str, ways: Ways, ends: str
) -> None:
    await buy(distant_town)
    other = await asyncpg.connect(postgres_url)
    await other.execute("BEGIN")
    await other.execute(
        f"UPDATE wallet SET funds_micros = -credit_limit_micros WHERE account_id = {world.PARENT}"
    )
    buying = asyncio.create_task(distant_town.call("AttachPhoneNumber", IN_HOLLYWOOD))
    await _until_somebody_waits(other)
    await other.execute(ends)
    answer = await buying
    await other.close()
    assert ways.wrong == (ends == "COMMIT")
    if ends == "COMMIT":
        assert answer["error"]["code"] == INSUFFICIENT_MONEY
    else:
        assert answer["result"] == 1


async def test_a_wallet_that_changes_while_it_is_waited_for_keeps_what_others_took(
    distant_town: Town, postgres_url: str, ways: Ways
) -> None:
    """The statement began before the change: it must add to what the wallet has become."""
    await buy(distant_town)
    price = await _price(distant_town)
    before = await distant_town.wallet()
    other = await asyncpg.connect(postgres_url)
    await other.execute("BEGIN")
    await other.execute(
        f"UPDATE wallet SET funds_micros = funds_micros - 7, rental_count = rental_count + 5"
        f" WHERE account_id = {world.PARENT}"
    )
    buying = asyncio.create_task(buy(distant_town))
    await _until_somebody_waits(other)
    await other.execute("COMMIT")
    await other.close()
    await buying
    after = await distant_town.wallet()
    assert (after.funds_micros, after.rental_count) == (
        before.funds_micros - 7 - price,
        before.rental_count + 6,
    )
    assert ways.wrong == 0


async def test_a_thousand_that_somebody_holds_is_not_waited_for(
    distant_town: Town, postgres_url: str, ways: Ways
) -> None:
    [first] = await buy(distant_town)
    other = await asyncpg.connect(postgres_url)
    await other.execute("BEGIN")
    await other.execute(f"SELECT * FROM block WHERE prefix = {first // 1_000} FOR UPDATE")
    [second] = await buy(distant_town)
    await other.execute("ROLLBACK")
    await other.close()
    assert first // 1_000 != second // 1_000
    assert ways.wrong == 1


@pytest.mark.parametrize("change", ["kept", "emptied"])
async def test_a_thousand_that_was_changed_is_found_out(
    distant_town: Town, postgres_url: str, ways: Ways, change: str
) -> None:
    """Also a change that leaves every value as it was."""
    [first] = await buy(distant_town)
    other = await asyncpg.connect(postgres_url)
    sets = (
        "stocked_count = stocked_count"
        if change == "kept"
        else "free_map = '\\x', free_count = 0, is_open = FALSE"
    )
    await other.execute(f"UPDATE block SET {sets} WHERE prefix = {first // 1_000}")
    await other.close()
    [second] = await buy(distant_town)
    assert ways.wrong == 1
    assert second // 1_000 != first // 1_000, "whoever changed it is left to it"


async def test_a_deadlock_is_no_refusal(
    distant_town: Town, ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    await buy(distant_town)

    async def deadlock(*_: object) -> None:
        raise asyncpg.DeadlockDetectedError("made up")

    monkeypatch.setattr(postgres.PostgresWriter, "_write_if", deadlock)
    assert await buy(distant_town)
    assert ways.wrong == 1


async def test_a_cut_connection_is_an_unknown_outcome_and_the_next_sale_goes_on(
    distant_town: Town, postgres_url: str
) -> None:
    await buy(distant_town)
    other = await asyncpg.connect(postgres_url)
    await other.execute("BEGIN")
    await other.execute(f"SELECT * FROM wallet WHERE account_id = {world.PARENT} FOR UPDATE")
    buying = asyncio.create_task(distant_town.call("AttachPhoneNumber", IN_HOLLYWOOD))
    await _until_somebody_waits(other)
    await other.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    )
    answer = await buying
    await other.execute("ROLLBACK")
    await other.close()
    assert "outcome is unknown" in answer["error"]["msg"]
    assert await buy(distant_town)
    assert (await distant_town.audit()).findings == []


# --- Memory by itself ------------------------------------------------------------------------------------------------


def _world(*prefixes: int, accounts: Iterable[int] = (1,)) -> WorkingSet:
    identities = {one: Account(one, f"a{one}", None, True, False, "USD", "US") for one in accounts}
    return WorkingSet(
        catalog_revision=1,
        access_revision=1,
        buyers={one: Buyer(found, Wallet(0, 0, 0, 0), {}, {}) for one, found in identities.items()},
        blocks={(7, prefix): Block(7, prefix, 1_000, ALL_FREE) for prefix in prefixes},
        owners={},
        addresses={},
        answers={},
        rental_ids=iter(()),
        movement_ids=iter(()),
    )


def _seen(world: WorkingSet) -> Memory:
    found = Memory()
    found.heads.note(7, list(world.blocks.values()))
    found.see_anew()
    found.see_buyers([(account_id, 10, 20) for account_id in world.buyers], own_version=99)
    found.see_blocks(list(world.blocks.values()), [30 for _ in world.blocks])
    found.keep_seen(world, are_picked=True)
    return found


def _held(version: int, *other_wallets: tuple[int, ...]) -> Verdict:
    return Verdict(True, version, True, other_wallets)


def _needs(count: int = 1, **more: Any) -> Needs:
    found = Needs(account_ids={1}, wanted={(7, 8): count}, rentals=count, movements=1)
    for name, value in more.items():
        setattr(found, name, value)
    return found


def test_what_is_asked_for_each_time_is_not_for_memory() -> None:
    found = Memory()
    assert found.serves(_needs())
    assert not found.serves(_needs(numbers={1}))
    assert not found.serves(_needs(verifications=True))
    assert not found.serves(_needs(address_ids={1}))
    assert not found.serves(_needs(rentals=5_000))


def test_all_that_is_needed_must_be_remembered() -> None:
    found = _seen(_world(5, 4))
    assert found.recall(_needs(account_ids={1, 2}), 1) is None
    assert found.recall(_needs(wanted={(8,): 1}), 1) is None
    assert found.recall(_needs(wanted={(): 1}), 1) is None
    assert found.recall(_needs(2_001), 1) is None
    recalled = found.recall(_needs(1_001), 1)
    assert recalled is not None
    assert list(recalled.world(iter(()), iter(())).blocks) == [(7, 5), (7, 4)]
    assert recalled.is_held({1: WalletChange(-5, 3, 2)}, ())[1] == {
        "account_ids": [1],
        "account_versions": [10],
        "wallet_versions": [20],
        "spent": [5],
        "rented": [2],
        "offer_ids": [7, 7],
        "prefixes": [5, 4],
        "block_versions": [30, 30],
        "catalog": 1,
        "access": 1,
    }


def test_what_was_saved_has_the_version_of_what_saved_it() -> None:
    found = _seen(_world(5))
    recalled = found.recall(_needs(), 1)
    assert recalled is not None
    world_ = recalled.world(iter(()), iter(()))
    world_.effects.wallets[1] = WalletChange()
    world_.effects.blocks[7, 5] = world_.blocks[7, 5]
    found.keep_recalled(world_.effects, _held(100))
    recalled = found.recall(_needs(), 1)
    assert recalled is not None
    asked = recalled.is_held({}, ())[1]
    assert (asked["account_versions"], asked["wallet_versions"], asked["block_versions"]) == (
        [10],
        [100],
        [100],
    )


def test_a_thousand_that_is_sold_out_is_forgotten() -> None:
    found = _seen(_world(5))
    recalled = found.recall(_needs(), 1)
    assert recalled is not None
    world_ = recalled.world(iter(()), iter(()))
    world_.blocks[7, 5].free_map = 0
    world_.effects.blocks[7, 5] = world_.blocks[7, 5]
    found.keep_recalled(world_.effects, _held(100))
    assert found.recall(_needs(), 1) is None


def test_a_memory_that_is_often_wrong_is_asked_more_and_more_seldom() -> None:
    found, pauses = Memory(), []
    for _ in range(5):
        found.distrust()
        pauses.append(0)
        while found._pause:
            assert found.recall(_needs(), 1) is None
            pauses[-1] += 1
    assert pauses == [3, 15, 63, 63, 63]


def test_now_and_then_a_look_from_the_top_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LOOKS_PER_HEAD", 3)
    found = _seen(_world(5))
    assert [found.recall(_needs(), 1) is not None for _ in range(5)] == [True, True, True, False, False]


def test_what_is_remembered_is_forgotten_when_it_was_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database may be put back to an earlier day, and would count the same versions anew."""
    found = _seen(_world(5))
    later = time.monotonic() + memory._FRESH_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert found.recall(_needs(), 1) is None
    assert not found._buyers


def test_memory_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_BUYERS_MAX", 10)
    found = _seen(_world(*range(20, 0, -1), accounts=range(1, 12)))
    assert len(found._blocks[7]) == memory._BLOCKS_MAX
    found.keep_seen(_world(accounts=()), are_picked=True)
    assert not found._buyers
