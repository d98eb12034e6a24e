"""Questions of identity: accounts, keys and their roles."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import bindparam, delete, select
from sqlalchemy.sql.selectable import FromClause

from numberline.domain.access import AccessKey, Account, Role
from numberline.domain.clock import to_micros
from numberline.store.contract import Row, State
from numberline.store.questions import Questions
from numberline.store.schema import access_key, access_revision, account, key_role
from numberline.store.statements import Statement, insert_into, state_mark, within


def identity_of(table: FromClause) -> tuple[Any, ...]:
    """The columns that `to_account` reads, of the account table or an alias of it."""
    columns = table.c
    return (
        columns.id,
        columns.name,
        columns.parent_id,
        columns.is_active,
        columns.is_frozen,
        columns.currency,
        columns.billing_country,
        columns.api_key_hash,
    )


# The key that signed, and the id of the account its bearer wants to act as.
Claim = tuple[str, int]


class FoundCaller(NamedTuple):
    """The key, the account that owns it, and the account to act as where there is one.

    Told in a `state` of the store, and at a `revision` of access.
    """

    key: AccessKey
    owner: Account
    acting: Account | None
    state: State
    revision: int


_ROLES_BY_NAME: Final = {role.value: role for role in Role}
_owner = account.alias("owner")

_ACCOUNT_BY_ID = Statement(select(*identity_of(account)).where(account.c.id == bindparam("account_id")))
_ACCOUNTS = Statement(select(*identity_of(account)).where(within(account.c.id, "account_ids")))
_ACCOUNT_BY_NAME = Statement(select(*identity_of(account)).where(account.c.name == bindparam("name")))
_ACCOUNT_BY_EMAIL = Statement(select(*identity_of(account)).where(account.c.email == bindparam("email")))
# One row per role of a key, one with an absent role for a key that has none.
_KEY_HOLDERS = Statement(
    select(
        access_key.c.id,
        access_key.c.account_id,
        access_key.c.public_key_pem,
        key_role.c.role,
        state_mark(),
        select(access_revision.c.revision).scalar_subquery(),
        *identity_of(_owner),
    )
    .select_from(
        access_key.join(_owner, _owner.c.id == access_key.c.account_id).outerjoin(
            key_role, key_role.c.key_id == access_key.c.id
        )
    )
    .where(within(access_key.c.id, "key_ids", of_text=True))
)
_READ_REVISION = Statement(select(access_revision.c.revision, state_mark()))
_KEYS = Statement(
    select(access_key.c.id, access_key.c.account_id, access_key.c.public_key_pem, access_key.c.description)
    .where(access_key.c.account_id == bindparam("account_id"))
    .order_by(access_key.c.created_at, access_key.c.id)
)
_ROLES = Statement(
    select(key_role.c.key_id, key_role.c.role)
    .where(within(key_role.c.key_id, "key_ids", of_text=True))
    .order_by(key_role.c.key_id, key_role.c.role)
)
_CHILDREN = Statement(
    select(account.c.id).where(account.c.parent_id == bindparam("account_id")).order_by(account.c.id)
)
_INSERT_KEY = insert_into(access_key)
_INSERT_ROLE = insert_into(key_role)
_DELETE_ROLES = Statement(delete(key_role).where(key_role.c.key_id == bindparam("key_id")))
_DELETE_KEY = Statement(
    delete(access_key).where(access_key.c.id == bindparam("key_id")).returning(access_key.c.id)
)


def to_account(row: Sequence[Any]) -> Account:
    """Read the columns of `identity_of`."""
    account_id, name, parent_id, is_active, is_frozen, currency, country, api_key_hash = row
    return Account(
        account_id, name, parent_id, bool(is_active), bool(is_frozen), currency, country, api_key_hash
    )


class AccessQuestions(Questions):
    """Who is calling, and what keys there are."""

    async def find_callers(self, asked: Collection[Claim]) -> dict[Claim, FoundCaller]:
        """What claims of callers rest on, for many at once; a claim with an unknown key is left out."""
        rows = await self.connection.fetch(_KEY_HOLDERS, {"key_ids": list({key_id for key_id, _ in asked})})
        roles: dict[str, set[Role]] = {row[0]: set() for row in rows}
        for row in rows:
            if row[3] is not None:
                roles[row[0]].add(_ROLES_BY_NAME[row[3]])
        keys = {row[0]: AccessKey(row[0], row[1], bytes(row[2]), frozenset(roles[row[0]])) for row in rows}
        accounts = {row[1]: to_account(row[6:]) for row in rows}
        # Nearly everybody acts as the account that owns the key.
        missing = {acting_id for key_id, acting_id in asked if key_id in keys} - accounts.keys() - {0}
        if missing:
            found = await self.connection.fetch(_ACCOUNTS, {"account_ids": list(missing)})
            accounts |= {row[0]: to_account(tuple(row)) for row in found}
        return {
            (key_id, acting_id): FoundCaller(
                key,
                accounts[key.account_id],
                accounts.get(acting_id),
                self.connection.state(rows[0][4]),
                rows[0][5],
            )
            for key_id, acting_id in asked
            if (key := keys.get(key_id)) is not None
        }

    async def find_access_revision(self) -> tuple[int, State]:
        """The revision of keys, roles and what admits accounts, which rises with every change; and the store's state."""
        [(revision, mark)] = await self.connection.fetch(_READ_REVISION)
        return revision, self.connection.state(mark)

    async def find_account(self, account_id: int) -> Account | None:
        """The account of an id."""
        return _one_account(await self.connection.fetch(_ACCOUNT_BY_ID, {"account_id": account_id}))

    async def find_account_by_name(self, name: str) -> Account | None:
        """The account of a name."""
        return _one_account(await self.connection.fetch(_ACCOUNT_BY_NAME, {"name": name}))

    async def find_account_by_email(self, email: str) -> Account | None:
        """The account of an e-mail address."""
        return _one_account(await self.connection.fetch(_ACCOUNT_BY_EMAIL, {"email": email}))

    async def child_ids(self, account_id: int) -> list[int]:
        """The ids of an account's children."""
        return [row[0] for row in await self.connection.fetch(_CHILDREN, {"account_id": account_id})]

    async def list_keys(self, account_id: int) -> list[tuple[AccessKey, str]]:
        """The keys of an account, oldest first, each with its description."""
        rows = await self.connection.fetch(_KEYS, {"account_id": account_id})
        held: dict[str, set[Role]] = {row[0]: set() for row in rows}
        for key_id, role in await self.connection.fetch(_ROLES, {"key_ids": list(held)}):
            held[key_id].add(Role(role))
        return [(AccessKey(row[0], row[1], bytes(row[2]), frozenset(held[row[0]])), row[3]) for row in rows]

    async def insert_key(self, key: AccessKey, description: str, now: datetime) -> None:
        """Register the public half of a key with its roles."""
        values = {"id": key.id, "account_id": key.account_id, "public_key_pem": key.public_key_pem}
        values |= {"description": description, "created_at": to_micros(now)}
        await self.connection.write_rows((_INSERT_KEY, [_INSERT_KEY.row(values)]))
        await self._insert_roles(key.id, key.roles)

    async def set_roles(self, key_id: str, roles: Iterable[Role]) -> None:
        """Replace the roles of a key."""
        await self.connection.execute(_DELETE_ROLES, {"key_id": key_id})
        await self._insert_roles(key_id, roles)

    async def delete_key(self, key_id: str) -> bool:
        """Remove a key with its roles; tells whether there was one."""
        await self.connection.execute(_DELETE_ROLES, {"key_id": key_id})
        return bool(await self.connection.fetch(_DELETE_KEY, {"key_id": key_id}))

    async def _insert_roles(self, key_id: str, roles: Iterable[Role]) -> None:
        rows = [(key_id, role.value) for role in sorted(roles)]
        await self.connection.write_rows((_INSERT_ROLE, rows))


def _one_account(rows: Sequence[Row]) -> Account | None:
    return to_account(tuple(rows[0])) if rows else None
