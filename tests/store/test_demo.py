"""The demo world on both engines: sound books, and an account for every situation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import jwt
import pytest

from numberline.domain.access import OWNER, Role
from numberline.domain.catalog import Catalog
from numberline.domain.clock import ManualClock
from numberline.domain.pricing import quote
from numberline.domain.regulation import check_address
from numberline.service.accounts import list_accounts
from numberline.service.demo import DemoWorld, build_demo_world
from numberline.service.keys import list_keys
from numberline.service.stock import show_stock
from numberline.store.audit import audit
from numberline.store.contract import Store
from numberline.store.migrate import migrate
from numberline.store.opening import open_store

CLOCK = ManualClock(datetime(2026, 5, 1, tzinfo=UTC))


@pytest.fixture
async def built(store_url: str) -> AsyncIterator[tuple[Store, DemoWorld]]:
    await migrate(store_url)
    store = open_store(store_url)
    yield store, await build_demo_world(store, CLOCK)
    await store.close()


async def test_the_demo_world(built: tuple[Store, DemoWorld]) -> None:
    store, world = built
    report = await audit(store)
    assert report.is_clean, report.findings
    await accounts_are_as_told(store, world)
    await keys_are_as_told(store, world)
    await addresses_serve_berlin(store, world)
    await money_buys_hollywood(store, world)


async def accounts_are_as_told(store: Store, world: DemoWorld) -> None:
    records = {record.account.name: record for record in await list_accounts(store)}
    assert {name: record.account.id for name, record in records.items()} == world.accounts
    assert records["demo-child"].account.parent_id == world.accounts["demo"]
    assert records["demo"].wallet.credit_limit_micros == 0
    assert records["demo"].account.api_key_hash is not None
    assert records["demo-poor"].wallet.funds_micros == 10_000
    assert [name for name, record in records.items() if record.account.is_frozen] == ["demo-frozen"]
    assert {record.account.currency for record in records.values()} == {"USD", "EUR", "RUB", "KZT"}
    for name, status in {
        "demo-ru": "REQUIRED",
        "demo-ru-progress": "IN_PROGRESS",
        "demo-ru-verified": "VERIFIED",
    }.items():
        buyer = await store.read(lambda ask, name=name: ask.find_buyer(world.accounts[name]))  # type: ignore[misc]
        assert buyer.verification("RU").status == status


async def keys_are_as_told(store: Store, world: DemoWorld) -> None:
    assert world.credentials.account_email == "demo@numberline.invalid"
    roles = {
        description: key.roles
        for account_id in world.accounts.values()
        for key, description in await list_keys(store, account_id)
    }
    assert roles == {
        **dict.fromkeys(world.accounts, OWNER),
        "demo-admin": {Role.ADMIN},
        "demo-accountant": {Role.ACCOUNTANT},
        "demo-developer": {Role.DEVELOPER},
        "demo-payer": {Role.PAYER},
        "demo-no-role": frozenset(),
    }
    assert set(world.keys) == set(roles)
    for name, file in world.keys.items():
        claim = (file.key_id, file.account_id)
        found = (await store.read(lambda ask, claim=claim: ask.find_callers({claim})))[claim]  # type: ignore[misc]
        signed = jwt.encode({"iss": name}, file.private_key, algorithm="RS256")
        assert jwt.decode(
            signed, found[0].public_key_pem, algorithms=["RS256"], options={"verify_iss": False}
        )


async def addresses_serve_berlin(store: Store, world: DemoWorld) -> None:
    catalog = Catalog(await store.read(lambda ask: ask.load_catalog()))
    berlin = catalog.regions[4778]
    assert catalog.rule(berlin).regulation_address == "LOCAL"
    assert [(one.account, one.status) for one in world.addresses] == [
        ("demo", "VERIFIED"),
        ("demo", "IN_PROGRESS"),
        ("demo-de", "VERIFIED"),
        ("demo-de", "IN_PROGRESS"),
    ]
    ids = [one.address_id for one in world.addresses]
    kept = await store.read(lambda ask: ask.find_addresses(ids))
    for one in world.addresses:
        if one.status == "VERIFIED":
            check_address(berlin, "LOCAL", kept[one.address_id], world.accounts[one.account])


async def money_buys_hollywood(store: Store, world: DemoWorld) -> None:
    catalog = Catalog(await store.read(lambda ask: ask.load_catalog()))
    summaries = await show_stock(store, catalog)
    assert sum(summary.free for summary in summaries) == world.numbers
    (hollywood,) = [summary for summary in summaries if summary.region_id == 101]
    assert hollywood.free == 15_000
    cost = quote(catalog, catalog.regions[101], "", "USD", "US").total_micros * hollywood.free
    record = await store.read(lambda ask: ask.find_record(world.accounts["demo"]))
    assert record is not None
    assert record.wallet.available_micros >= cost > 0
