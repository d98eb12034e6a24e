"""Who may call what: every method with a key of every role, granted and taken away again.

The vendor's table is written out here as data and compared with the declarations, so that a slip in a declaration
cannot confirm itself. A call without parameters is enough: roles are judged before parameters.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from functools import partial
from typing import Any, Final

import pytest

from numberline.api.method import Method
from numberline.api.methods import REGISTRY
from numberline.api.registry import BadDeclaration, check
from numberline.domain.access import OWNER, AccessKey, Role
from numberline.store.transaction import Transaction
from tests.kit import world
from tests.kit.tokens import public_pem
from tests.kit.world import START, Town, role_key

_BUYERS: Final = {Role.OWNER, Role.ADMIN, Role.ACCOUNTANT}
_BROWSERS: Final = {Role.OWNER, Role.ADMIN, Role.ACCOUNTANT, Role.PAYER}
_READERS: Final = {
    Role.OWNER,
    Role.ADMIN,
    Role.DEVELOPER,
    Role.SUPERVISOR,
    Role.ACCOUNTANT,
    Role.SUPPORT,
    Role.PAYER,
}
_EVERYBODY: Final = {*Role, None}

# The vendor's table: whom each method admits. None stands for a key that holds no role.
ADMITTED: Final[dict[str, set[Role] | set[Role | None]]] = {
    "AttachPhoneNumber": _BUYERS,
    "GetPhoneNumbers": _READERS,
    "IsAccountPhoneNumber": _READERS,
    "GetNewPhoneNumbers": _BUYERS,
    "GetPhoneNumberCategories": _BROWSERS,
    "GetPhoneNumberCountryStates": _BROWSERS,
    "GetPhoneNumberRegions": _BROWSERS,
    "GetActualPhoneNumberRegion": _EVERYBODY,
    "GetAccountInfo": _EVERYBODY,
}

FORBIDDEN: Final = 104
KEY: Final = role_key(None)


async def is_admitted(town: Town, method: str, key_id: str) -> bool:
    answer = await town.call(method, key_id=key_id)
    code = answer.get("error", {}).get("code")
    assert code not in (100, 2), "the key itself was refused"
    return code != FORBIDDEN


async def set_roles(town: Town, roles: Iterable[Role], key_id: str = KEY) -> None:
    await town.store.write(lambda work: work.set_roles(key_id, roles))


def test_the_table_names_every_method() -> None:
    assert {method.wire for method in REGISTRY} == set(ADMITTED)


@pytest.mark.parametrize("method", REGISTRY.methods, ids=lambda method: method.wire)
def test_declarations_equal_the_vendors_table(method: Method) -> None:
    admitted = {role for role in Role if method.roles.admits(frozenset({role}))}
    without_roles = {None} if method.roles.admits(frozenset()) else set()
    assert admitted | without_roles == ADMITTED[method.wire]


async def test_every_method_with_a_key_of_every_role(town: Town) -> None:
    keys: dict[Role | None, str] = {role: f"matrix-{place}" for place, role in enumerate((*Role, None))}
    for role, key_id in keys.items():
        roles = frozenset({role}) if role else frozenset[Role]()
        key = AccessKey(key_id, world.PARENT, public_pem(), roles)
        await town.store.write(partial(Transaction.insert_key, key=key, description="", now=START))
    wrong = [
        (method, role)
        for method, admitted in ADMITTED.items()
        for role, key_id in keys.items()
        if await is_admitted(town, method, key_id) != (role in admitted)
    ]
    assert wrong == []
    print(f"role matrix: {len(ADMITTED) * (len(Role) + 1)} cells")


async def test_granting_and_removing_counts_on_the_very_next_call(town: Town) -> None:
    """One key gains each role in turn and loses it again; the call in between tells."""
    wrong = []
    for role in Role:
        for held in ({role}, set[Role]()):
            await set_roles(town, held)
            for method, admitted in ADMITTED.items():
                expected = bool(held & admitted) if held else None in admitted
                if await is_admitted(town, method, KEY) != expected:
                    wrong.append((method, role, held))
    assert wrong == []


async def test_any_one_of_several_roles_is_enough(town: Town) -> None:
    wrong = []
    for pair in itertools.combinations(Role, 2):
        await set_roles(town, pair)
        wrong += [
            (method, pair)
            for method in ("AttachPhoneNumber", "GetPhoneNumberRegions", "GetAccountInfo")
            if await is_admitted(town, method, KEY) != bool(set(pair) & ADMITTED[method])
        ]
    assert wrong == []
    await set_roles(town, Role)
    assert all([await is_admitted(town, method, KEY) for method in ADMITTED])
    await set_roles(town, set(Role) - _BUYERS)
    assert not await is_admitted(town, "AttachPhoneNumber", KEY)
    await set_roles(town, ())
    assert not await is_admitted(town, "GetPhoneNumbers", KEY)


async def test_the_roles_of_a_key_hold_for_children_too(town: Town) -> None:
    for method, admitted in ADMITTED.items():
        for role in (Role.SUPPORT, Role.PAYER, Role.CALL_HISTORY):
            answer = await town.call(method, account=world.CHILD, key_id=role_key(role))
            assert (answer.get("error", {}).get("code") == FORBIDDEN) == (role not in admitted), (
                method,
                role,
            )


async def test_a_deleted_key_fails_on_the_next_call(town: Town) -> None:
    for method, role in zip(ADMITTED, Role, strict=False):
        await set_roles(town, OWNER, key_id := role_key(role).replace(" ", "-"))
        assert await is_admitted(town, method, key_id)
        assert await town.store.write(partial(Transaction.delete_key, key_id=key_id))
        assert (await town.call(method, key_id=key_id))["error"]["code"] == 100


async def test_an_api_key_is_an_owner(town: Town) -> None:
    credentials = {"account_id": world.PARENT, "api_key": world.API_KEY}
    for method in ADMITTED:
        answer = await town.call(method, credentials)
        assert answer.get("error", {}).get("code") != FORBIDDEN


@pytest.mark.parametrize("rule", [None, frozenset({Role.OWNER}), "Owner", True, [Role.OWNER]])
def test_a_method_without_a_role_rule_cannot_be_registered(rule: Any) -> None:
    declared = next(iter(REGISTRY))
    values = {name: getattr(declared, name) for name in Method.__struct_fields__}
    with pytest.raises(BadDeclaration):
        check(Method(**(values | {"roles": rule})))
    with pytest.raises(TypeError):
        Method(**{name: value for name, value in values.items() if name != "roles"})
