"""Who may do what: roles, keys and callers."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from enum import StrEnum
from typing import Final

import msgspec


class Role(StrEnum):
    """The vendor's roles, spelled as on the wire."""

    OWNER = "Owner"
    ADMIN = "Admin"
    DEVELOPER = "Developer"
    SUPERVISOR = "Supervisor"
    SUPPORT = "Support"
    ACCOUNTANT = "Accountant"
    PAYER = "Payer"
    PAYER_NO_VERIFY = "PayerNoVerify"
    PHONE_NUMBER_MANAGER = "PhoneNumberManager"
    VERIFICATION = "Verification"
    CALLS_SMS = "CallsSMS"
    SCENARIOS = "Scenarios"
    CALL_LIST_MANAGER = "Call list manager"
    USER_MANAGER = "User manager"
    ACD_MANAGER = "ACD Manager"
    CALL_HISTORY = "CallHistory"


class RoleRule(msgspec.Struct, frozen=True):
    """Which callers a method admits.

    `roles` empty: any caller with at least one role. `without_roles`: a key that holds no role at all is admitted too.
    """

    roles: frozenset[Role]
    without_roles: bool = False

    def admits(self, held: frozenset[Role]) -> bool:
        """Tell whether a key holding exactly `held` may call the method."""
        if not held:
            return self.without_roles
        return not self.roles or bool(self.roles & held)


def any_of(*roles: Role) -> RoleRule:
    """Admit callers that hold at least one of the roles."""
    return RoleRule(frozenset(roles))


ANYONE: Final = RoleRule(frozenset())
ANYONE_EVEN_WITHOUT_ROLES: Final = RoleRule(frozenset(), without_roles=True)
OWNER: Final = frozenset({Role.OWNER})


class Account(msgspec.Struct, frozen=True):
    """What identity checks need to know of an account, and what prices depend on.

    `billing_country` is empty while unknown.
    """

    id: int
    name: str
    parent_id: int | None
    is_active: bool
    is_frozen: bool
    currency: str
    billing_country: str = ""
    api_key_hash: bytes | None = None


class AccessKey(msgspec.Struct, frozen=True):
    """A service-account key: only its public half is ever stored."""

    id: str
    account_id: int
    public_key_pem: bytes
    roles: frozenset[Role]


class Caller(msgspec.Struct, frozen=True):
    """The account a request acts as, with the roles of the credential it was made with.

    `actor` names the credential in the books: `key:<id>` or `api-key`. `api_key` is the plain key when, and only
    when, the caller presented one. `known_in` is the state of the store that vouched for them, where that was told;
    `remembered_at` the revision of access at which it did so some time ago: whatever they spend rests on its being the same.
    """

    account: Account
    roles: frozenset[Role]
    actor: str
    api_key: str | None = None
    known_in: Hashable | None = None
    remembered_at: int | None = None


def may_act_as(owner: Account, target: Account) -> bool:
    """Tell whether a key of `owner` may act as `target`: itself or one of its children."""
    return owner.id in (target.id, target.parent_id)


def parse_roles(names: Iterable[str]) -> frozenset[Role]:
    """Read role names as the wire spells them, without regard to case; an unknown one raises ValueError."""
    known = {role.value.casefold(): role for role in Role}
    try:
        return frozenset(known[name.strip().casefold()] for name in names)
    except KeyError as error:
        raise ValueError(f"unknown role: {error.args[0]}") from None
