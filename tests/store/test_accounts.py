"""Accounts on both engines: opening, money in and out, flags."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from numberline.domain import errors
from numberline.domain.account import Profile
from numberline.domain.catalog import CatalogRows
from numberline.domain.clock import ManualClock
from numberline.domain.errors import Refusal
from numberline.service.accounts import (
    InvalidAccount,
    UnknownAccount,
    create_account,
    credit_account,
    list_accounts,
    set_account_flags,
    show_account_record,
)
from numberline.store.audit import audit
from numberline.store.contract import Store
from numberline.store.migrate import migrate
from numberline.store.opening import open_store

NOW = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)
CLOCK = ManualClock(NOW)
UNIT = 1_000_000
ANN: dict[str, Any] = {"name": "ann", "email": "ann@example.com", "currency": "USD", "billing_country": "US"}


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    await migrate(store_url)
    opened = open_store(store_url)
    yield opened
    await opened.close()


async def test_an_account_is_kept_as_it_was_opened(store: Store) -> None:
    profile = Profile(first_name="Ann", language_code="en")
    created = await create_account(
        store, CLOCK, **ANN, credit_limit_micros=5 * UNIT, rental_limit=7, profile=profile, with_api_key=True
    )
    record = await show_account_record(store, created.account_id)
    assert (record.account.name, record.email, record.account.billing_country) == (
        "ann",
        "ann@example.com",
        "US",
    )
    assert (record.wallet.funds_micros, record.wallet.credit_limit_micros, record.wallet.rental_limit) == (
        0,
        5 * UNIT,
        7,
    )
    assert (record.profile, record.created_at) == (profile, NOW)
    assert created.api_key is not None
    assert len(created.api_key) >= 43
    assert record.account.api_key_hash == hashlib.sha256(created.api_key.encode()).digest()


async def test_without_asking_there_is_no_api_key(store: Store) -> None:
    created = await create_account(store, CLOCK, **ANN | {"billing_country": ""}, is_active=False)
    assert created.api_key is None
    record = await show_account_record(store, created.account_id)
    assert (record.account.api_key_hash, record.account.is_active, record.account.billing_country) == (
        None,
        False,
        "",
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "two words"},
        {"name": "x" * 64},
        {"name": "-ann"},
        {"email": "ann"},
        {"email": "ann@localhost"},
        {"email": "ann@@example.com"},
        {"email": f"ann@{'x' * 250}.com"},
        {"currency": "usd"},
        {"currency": "XYZ"},
        {"currency": "US$"},
        {"billing_country": "us"},
        {"billing_country": "ZZ"},
        {"billing_country": "USA"},
        {"credit_limit_micros": -1},
        {"credit_limit_micros": 10**19},
        {"rental_limit": -1},
        {"rental_limit": 2**31},
        {"parent_id": 77},
    ],
    ids=str,
)
async def test_what_cannot_be_an_account(sqlite_url: str, wrong: dict[str, Any]) -> None:
    await migrate(sqlite_url)
    store = open_store(sqlite_url)
    with pytest.raises(InvalidAccount):
        await create_account(store, CLOCK, **ANN | wrong)
    assert await list_accounts(store) == []
    await store.close()


async def test_names_and_addresses_belong_to_one_account(store: Store) -> None:
    await create_account(store, CLOCK, **ANN)
    with pytest.raises(InvalidAccount, match="name belongs"):
        await create_account(store, CLOCK, **ANN | {"email": "other@example.com"})
    with pytest.raises(InvalidAccount, match="e-mail address belongs"):
        await create_account(store, CLOCK, **ANN | {"name": "other"})


async def test_a_currency_needs_a_rate_or_a_place_among_the_usual(store: Store) -> None:
    rows = CatalogRows(0, [], [], [], [], [], {}, {"SEK": 10_400_000}, [])
    await store.write(lambda work: work.replace_catalog(rows))
    for currency in ("USD", "EUR", "RUB", "KZT", "SEK"):
        await create_account(
            store, CLOCK, **ANN | {"name": currency, "email": f"{currency}@example.com", "currency": currency}
        )
    with pytest.raises(InvalidAccount, match="no rate for the currency NOK"):
        await create_account(store, CLOCK, **ANN | {"currency": "NOK"})


async def test_a_child_has_no_children(store: Store) -> None:
    parent = await create_account(store, CLOCK, **ANN)
    child = {"name": "child", "email": "child@example.com", "parent_id": parent.account_id}
    created = await create_account(store, CLOCK, **ANN | child)
    grandchild = {"name": "grand", "email": "grand@example.com", "parent_id": created.account_id}
    with pytest.raises(InvalidAccount, match="is itself a child"):
        await create_account(store, CLOCK, **ANN | grandchild)
    assert [record.account.parent_id for record in await list_accounts(store)] == [None, parent.account_id]


async def pay(store: Store, account_id: int, micros: int) -> int:
    wallet = await credit_account(store, CLOCK, account_id, micros, actor="operator", note="a test")
    return wallet.funds_micros


async def test_money_goes_in_and_out_down_to_the_credit_limit(store: Store) -> None:
    account_id = (await create_account(store, CLOCK, **ANN, credit_limit_micros=3 * UNIT)).account_id
    assert await pay(store, account_id, 10 * UNIT) == 10 * UNIT
    assert await pay(store, account_id, -13 * UNIT) == -3 * UNIT
    with pytest.raises(Refusal) as refused:
        await pay(store, account_id, -1)
    assert refused.value.kind == errors.INSUFFICIENT_MONEY
    assert refused.value.sentence == "Insufficient money: 0.000001 USD needed, 0 available."
    assert (await show_account_record(store, account_id)).wallet.funds_micros == -3 * UNIT
    assert (await audit(store)).is_clean


async def test_sums_of_nothing_or_out_of_range(store: Store) -> None:
    account_id = (await create_account(store, CLOCK, **ANN)).account_id
    for micros in (0, 10**18 + 1, -(10**18) - 1):
        with pytest.raises(InvalidAccount):
            await pay(store, account_id, micros)
    await pay(store, account_id, 10**18)
    with pytest.raises(InvalidAccount):
        await pay(store, account_id, 1)
    with pytest.raises(UnknownAccount):
        await pay(store, 77, 1)


async def test_payments_at_once_all_count(store: Store) -> None:
    account_id = (await create_account(store, CLOCK, **ANN)).account_id
    await asyncio.gather(*(pay(store, account_id, UNIT) for _ in range(30)))
    assert (await show_account_record(store, account_id)).wallet.funds_micros == 30 * UNIT
    assert (await audit(store)).is_clean


async def test_accounts_opened_at_once_get_ids_of_their_own(store: Store) -> None:
    """More units of work than the pool has connections, each in need of a range of ids."""
    opened = [ANN | {"name": f"a{i}", "email": f"a{i}@example.com"} for i in range(30)]
    created = await asyncio.wait_for(
        asyncio.gather(*(create_account(store, CLOCK, **account) for account in opened)), timeout=20
    )
    assert len({one.account_id for one in created}) == 30


async def test_flags_change_one_by_one(store: Store) -> None:
    account_id = (await create_account(store, CLOCK, **ANN)).account_id
    frozen = await set_account_flags(store, account_id, is_frozen=True)
    assert (frozen.account.is_active, frozen.account.is_frozen) == (True, True)
    inactive = await set_account_flags(store, account_id, is_active=False)
    assert (inactive.account.is_active, inactive.account.is_frozen) == (False, True)
    with pytest.raises(UnknownAccount):
        await set_account_flags(store, 77, is_frozen=True)
    with pytest.raises(UnknownAccount):
        await show_account_record(store, 77)
