"""Whoever may no longer spend does not: orders go by callers that are remembered, and what the store says counts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import bindparam, text, update

from numberline.api import callers
from numberline.domain import errors
from numberline.domain.access import AccessKey, Role
from numberline.domain.errors import ErrorKind
from numberline.service.accounts import set_account_flags
from numberline.service.keys import revoke_key, set_key_roles
from numberline.store.contract import Store
from numberline.store.opening import open_store
from numberline.store.schema import ACCESS_TRIGGERS, access_key
from numberline.store.statements import Statement
from numberline.store.transaction import Transaction
from tests.kit import world
from tests.kit.tokens import public_pem
from tests.kit.world import START, Town

ATTACH: Final[dict[str, Any]] = {
    "country_code": "US",
    "phone_category_name": "local",
    "phone_region_id": world.HOLLYWOOD,
}
BUYER: Final = world.CHILD
KEY: Final = f"owner-{BUYER}"
_REPLACE_KEY: Final = Statement(
    update(access_key).where(access_key.c.id == KEY).values(public_key_pem=bindparam("pem"))
)

Change = Callable[[Store], Awaitable[Any]]


@pytest.fixture
async def elsewhere(town_url: str) -> AsyncIterator[Store]:
    """The same store in another process, as it were."""
    store = open_store(town_url)
    yield store
    await store.close()


async def _attach(town: Town, asked: dict[str, Any] = ATTACH, **options: Any) -> dict[str, Any]:
    return await town.call("AttachPhoneNumber", asked, **({"account": BUYER} | options))


async def _code(town: Town, asked: dict[str, Any] = ATTACH, **options: Any) -> int | None:
    answer = await _attach(town, asked, **options)
    code: int | None = answer.get("error", {}).get("code")
    return code


async def _replace_key(store: Store) -> None:
    other = public_pem(rsa.generate_private_key(65_537, 2_048))
    await store.write(lambda work: work.connection.execute(_REPLACE_KEY, {"pem": other}))


REVOCATIONS: Final[dict[str, tuple[Change, ErrorKind]]] = {
    "the key is gone": (lambda store: revoke_key(store, KEY), errors.AUTHORIZATION_FAILED),
    "the key is another": (_replace_key, errors.AUTHORIZATION_FAILED),
    "the key has another role": (
        lambda store: set_key_roles(store, KEY, [Role.CALLS_SMS]),
        errors.FORBIDDEN_COMMAND,
    ),
    "the key has no roles": (lambda store: set_key_roles(store, KEY, []), errors.FORBIDDEN_COMMAND),
    "the account is closed": (
        lambda store: set_account_flags(store, BUYER, is_active=False),
        errors.ACCOUNT_NOT_ACTIVATED,
    ),
}


@pytest.mark.parametrize("name", REVOCATIONS)
async def test_what_another_process_takes_away_is_gone_with_the_next_order(
    town: Town, elsewhere: Store, name: str
) -> None:
    revoke, kind = REVOCATIONS[name]
    for _ in range(2):
        assert (await _attach(town))["result"] == 1
    before = await town.wallet(BUYER)
    await revoke(elsewhere)
    assert await _code(town) == kind.code
    # Nor is a stranger told what else is wrong with an order, or what was answered to its owner.
    assert await _code(town, ATTACH | {"phone_region_id": 99_999}) == kind.code
    assert await _code(town, {"phone_count": "many"}) == kind.code
    assert await town.wallet(BUYER) == before
    assert (await town.audit()).is_clean


LOOKS: Final[dict[str, dict[str, Any]]] = {
    "GetPhoneNumbers": {},
    "GetNewPhoneNumbers": ATTACH,
}


@pytest.mark.parametrize("name", REVOCATIONS)
async def test_what_another_process_takes_away_is_gone_with_the_next_look(
    town: Town, elsewhere: Store, name: str
) -> None:
    """Somebody else buys meanwhile, so that reads begin before the caller has been confirmed."""
    revoke, kind = REVOCATIONS[name]

    async def look(method: str, **more: Any) -> int | None:
        await _attach(town, account=world.PARENT)
        answer = await town.call(method, LOOKS[method] | more, account=BUYER)
        code: int | None = answer.get("error", {}).get("code")
        return code

    for method in (*LOOKS, *LOOKS):
        assert await look(method) is None
    assert town.dispatcher._authenticator.is_store_changing
    await revoke(elsewhere)
    for method in LOOKS:
        assert await look(method) == kind.code
        # Nor is a stranger told what else is wrong.
        assert await look(method, count="many", phone_region_id=99_999) == kind.code


async def test_what_another_process_grants_counts_with_the_next_look(town: Town, elsewhere: Store) -> None:
    for role, code in ((Role.CALLS_SMS, errors.FORBIDDEN_COMMAND.code), (Role.OWNER, None)) * 2:
        await set_key_roles(elsewhere, KEY, [role])
        for _ in range(2):
            await _attach(town, account=world.PARENT)
            answer = await town.call("GetPhoneNumbers", account=BUYER)
            assert answer.get("error", {}).get("code") == code


async def test_an_answer_that_is_kept_is_not_for_whoever_comes_after(town: Town, elsewhere: Store) -> None:
    assert (await _attach(town, idempotency_key="mine"))["result"] == 1
    await revoke_key(elsewhere, KEY)
    assert await _code(town, idempotency_key="mine") == errors.AUTHORIZATION_FAILED.code


async def test_what_another_process_grants_counts_with_the_next_order(town: Town, elsewhere: Store) -> None:
    await set_key_roles(elsewhere, KEY, [Role.SUPPORT])
    assert await _code(town) == errors.FORBIDDEN_COMMAND.code
    await set_key_roles(elsewhere, KEY, [Role.OWNER])
    assert await _code(town) is None
    await set_account_flags(elsewhere, BUYER, is_active=False)
    assert await _code(town) == errors.ACCOUNT_NOT_ACTIVATED.code
    await set_account_flags(elsewhere, BUYER, is_active=True)
    assert await _code(town) is None


async def test_others_are_asked_for_anew_and_go_on(town: Town, elsewhere: Store) -> None:
    for account in (BUYER, world.PARENT):
        assert (await _attach(town, account=account))["result"] == 1
    await revoke_key(elsewhere, KEY)
    for _ in range(2):
        assert (await _attach(town, account=world.PARENT))["result"] == 1


async def test_nothing_is_remembered_for_long(
    town: Town, elsewhere: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should a store not tell of a change, as one that was put back to an earlier day."""
    assert (await _attach(town))["result"] == 1
    await elsewhere.write(_without_triggers(lambda work: work.delete_key(KEY)))
    assert await _code(town) is None, "this is what triggers are for"
    monkeypatch.setattr(callers, "KNOWN_SECONDS", 0.0)
    assert await _code(town) == errors.AUTHORIZATION_FAILED.code


def _without_triggers(
    work: Callable[[Transaction], Awaitable[Any]],
) -> Callable[[Transaction], Awaitable[Any]]:
    async def lifted(transaction: Transaction) -> None:
        for name in ACCESS_TRIGGERS:
            where = f" ON {name.rsplit('_', 3)[0]}" if transaction.connection.engine == "postgres" else ""
            await transaction.connection.execute(Statement(text(f"DROP TRIGGER {name}{where}")))
        await work(transaction)

    return lifted


@pytest.mark.parametrize("is_broken", [False, True], ids=["whole", "canary"])
@pytest.mark.parametrize("method", ["AttachPhoneNumber", "GetPhoneNumbers"])
async def test_no_request_that_begins_after_a_revocation_is_served(
    town: Town, elsewhere: Store, rng: random.Random, method: str, is_broken: bool
) -> None:
    """Requests without a pause while keys come and go. The canary leaves the triggers out, and must be found out."""
    if is_broken:
        await elsewhere.write(_without_triggers(_nothing))
    revocations, too_late = 0, 0
    is_revoked, is_over = False, False

    async def ask() -> None:
        nonlocal too_late
        while not is_over:
            was_revoked, count = is_revoked, revocations
            answer = await town.call(method, ATTACH if method == "AttachPhoneNumber" else {}, account=BUYER)
            # The key was gone when the request began, and nobody has brought it back since.
            too_late += was_revoked and is_revoked and count == revocations and "result" in answer
            await asyncio.sleep(0)

    async def come_and_go() -> None:
        nonlocal is_revoked, revocations, is_over
        key = AccessKey(KEY, BUYER, public_pem(), frozenset({Role.OWNER}))
        for _ in range(8):
            await asyncio.sleep(rng.random() / 20)
            await revoke_key(elsewhere, KEY)
            is_revoked, revocations = True, revocations + 1
            await asyncio.sleep(rng.random() / 20)
            is_revoked = False
            await elsewhere.write(lambda work: work.insert_key(key, "", START))
        is_over = True

    async def keep_the_store_changing() -> None:
        while not is_over:
            await _attach(town, account=world.PARENT)

    await asyncio.gather(come_and_go(), keep_the_store_changing(), *(ask() for _ in range(8)))
    assert (too_late > 0) == is_broken
    assert (await town.audit()).findings == [] or is_broken


async def _nothing(_work: Transaction) -> None:
    pass


# --- The revision ----------------------------------------------------------------------------------------------------


async def test_only_what_may_admit_or_refuse_somebody_raises_the_revision(
    town: Town, elsewhere: Store
) -> None:
    async def revision() -> int:
        return (await town.store.read(lambda ask: ask.find_access_revision()))[0]

    before = await revision()
    assert (await _attach(town))["result"] == 1
    await town.call("GetAccountInfo", account=BUYER)
    assert await revision() == before
    for name in sorted(REVOCATIONS, key="the key is gone".__eq__):
        await REVOCATIONS[name][0](elsewhere)
        now = await revision()
        assert now > before
        before = now
