"""Roles, and for whom a key may act."""

from __future__ import annotations

from itertools import combinations

import pytest

from numberline.domain.access import (
    ANYONE,
    ANYONE_EVEN_WITHOUT_ROLES,
    Account,
    Role,
    any_of,
    may_act_as,
    parse_roles,
)


def _account(account_id: int, parent_id: int | None = None) -> Account:
    return Account(account_id, str(account_id), parent_id, is_active=True, is_frozen=False, currency="USD")


PARENT, CHILD, GRANDCHILD, STRANGER = _account(1), _account(2, 1), _account(3, 2), _account(4)


def test_one_of_the_listed_roles_is_enough() -> None:
    rule = any_of(Role.OWNER, Role.ADMIN)
    for held in map(frozenset, combinations(Role, 2)):
        assert rule.admits(held) == bool(held & {Role.OWNER, Role.ADMIN})
    assert not rule.admits(frozenset())


def test_an_empty_list_admits_any_role_but_not_none_at_all() -> None:
    assert all(ANYONE.admits(frozenset({role})) for role in Role)
    assert not ANYONE.admits(frozenset())


def test_some_methods_are_open_to_keys_without_roles() -> None:
    assert ANYONE_EVEN_WITHOUT_ROLES.admits(frozenset())
    assert all(ANYONE_EVEN_WITHOUT_ROLES.admits(frozenset({role})) for role in Role)


@pytest.mark.parametrize(
    ("owner", "target", "may"),
    [
        (PARENT, PARENT, True),
        (PARENT, CHILD, True),
        (CHILD, PARENT, False),
        (PARENT, GRANDCHILD, False),
        (CHILD, GRANDCHILD, True),
        (PARENT, STRANGER, False),
        (STRANGER, CHILD, False),
    ],
)
def test_a_key_acts_for_its_account_and_the_accounts_children(
    owner: Account, target: Account, may: bool
) -> None:
    assert may_act_as(owner, target) is may


def test_roles_are_read_as_the_wire_spells_them_in_any_case() -> None:
    assert parse_roles(role.value for role in Role) == frozenset(Role)
    assert parse_roles([" owner ", "CALL LIST MANAGER", "Owner"]) == {Role.OWNER, Role.CALL_LIST_MANAGER}
    assert parse_roles([]) == frozenset()


@pytest.mark.parametrize("name", ["", "root", "Own", "Owner;Admin"])
def test_an_unknown_role_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="unknown role"):
        parse_roles(["Owner", name])
