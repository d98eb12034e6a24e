"""Questions about accounts: their money, profile, verifications and regulation addresses."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, datetime
from typing import Final

import msgspec
from sqlalchemy import bindparam, func, select, update

from numberline.domain.access import Account
from numberline.domain.account import Profile, Wallet, WalletChange
from numberline.domain.clock import from_micros, to_micros
from numberline.domain.ledger import Movement
from numberline.domain.regulation import AddressDetails, RegulationAddress
from numberline.domain.verification import Verification
from numberline.domain.working_set import Buyer
from numberline.store.access import identity_of, to_account
from numberline.store.contract import Row
from numberline.store.memory import version_of
from numberline.store.questions import MONEY, Questions, day
from numberline.store.schema import (
    account,
    movement,
    posting,
    regulation_address,
    rental,
    verification,
    wallet,
)
from numberline.store.statements import Statement, add_to_rows, insert_into, select_all, update_rows, within


class AccountRecord(msgspec.Struct, frozen=True):
    """An account with all that is kept of it."""

    account: Account
    email: str
    profile: Profile
    wallet: Wallet
    created_at: datetime


_with_wallet = account.join(wallet, wallet.c.account_id == account.c.id)
_BUYERS = (
    select(*identity_of(account), *MONEY, version_of(account), version_of(wallet))
    .select_from(_with_wallet)
    .where(within(account.c.id, "account_ids"))
    .order_by(account.c.id)
)
READ_BUYERS = Statement(_BUYERS)
_MONEY_AT: Final = len(identity_of(account))
_VERSIONS_AT: Final = _MONEY_AT + len(MONEY)
_LOCK_WALLETS = Statement(
    select(wallet.c.account_id)
    .where(within(wallet.c.account_id, "account_ids"))
    .order_by(wallet.c.account_id)
    .with_for_update()
)
_VERIFICATIONS = Statement(select_all(verification).where(within(verification.c.account_id, "account_ids")))
_OPEN_HOLDS = Statement(
    select(rental.c.account_id, rental.c.verification, func.min(rental.c.unverified_until))
    .where(within(rental.c.account_id, "account_ids"), rental.c.detached_at.is_(None))
    .where(rental.c.unverified_until.is_not(None))
    .group_by(rental.c.account_id, rental.c.verification)
)
_ADDRESSES = Statement(select_all(regulation_address).where(within(regulation_address.c.id, "address_ids")))
_RECORDS = (
    select(
        *identity_of(account),
        account.c.email,
        account.c.profile,
        account.c.created_at,
        *MONEY,
    )
    .select_from(_with_wallet)
    .order_by(account.c.id)
)
_RECORD = Statement(_RECORDS.where(account.c.id == bindparam("account_id")))
_ALL_RECORDS = Statement(_RECORDS)
_INSERT_ACCOUNT = insert_into(account)
_INSERT_WALLET = insert_into(wallet)
_INSERT_ADDRESS = insert_into(regulation_address)
_INSERT_VERIFICATION = insert_into(verification)
_WALLET_ROW = "funds_micros", "held_micros", "rental_count"
_SAVE_WALLETS = update_rows(wallet, ("account_id",), *_WALLET_ROW)
CHANGE_WALLETS = add_to_rows(wallet, ("account_id",), *_WALLET_ROW)
_SET_FLAGS = Statement(
    update(account)
    .where(account.c.id == bindparam("id_"))
    .values(is_active=bindparam("active"), is_frozen=bindparam("frozen"))
)
INSERT_MOVEMENTS = insert_into(movement)
INSERT_POSTINGS = insert_into(posting)


class AccountQuestions(Questions):
    """Accounts and their money."""

    async def lock_buyers(
        self, account_ids: Collection[int], *, verifications: bool = True
    ) -> dict[int, Buyer]:
        """Lock the wallets of some accounts, in the order of their ids, and load what spending needs to know."""
        ids = await self.lock_wallets(account_ids)
        return await self.to_buyers(await self.connection.fetch(READ_BUYERS, ids), verifications)

    async def lock_wallets(self, account_ids: Collection[int]) -> dict[str, list[int]]:
        """Lock the wallets of some accounts, in the order of their ids; returns the values for `READ_BUYERS`.

        Buyers are read after the wait for the lock, not with it: PostgreSQL shows a waiter the locked row anew, but
        what it joined to that row as it was before.
        """
        ids = {"account_ids": sorted(account_ids)}
        await self.connection.fetch(_LOCK_WALLETS, ids)
        return ids

    async def find_buyer(self, account_id: int) -> Buyer | None:
        """The same of one account without locking, for reading only."""
        rows = await self.connection.fetch(READ_BUYERS, {"account_ids": [account_id]})
        return (await self.to_buyers(rows, verifications=True)).get(account_id)

    async def to_buyers(self, rows: Collection[Row], verifications: bool) -> dict[int, Buyer]:
        """The buyers of rows that `READ_BUYERS` found, with how far they are verified if that may matter."""
        buyers = {
            row[0]: Buyer(to_account(row[:_MONEY_AT]), Wallet(*row[_MONEY_AT:_VERSIONS_AT]), {}, {})
            for row in rows
        }
        if not verifications:
            return buyers
        ids = {"account_ids": sorted(buyers)}
        for account_id, name, status, lapsed_on in await self.connection.fetch(_VERIFICATIONS, ids):
            buyers[account_id].verifications[name] = Verification(name, status, day(lapsed_on))
        for account_id, name, until in await self.connection.fetch(_OPEN_HOLDS, ids):
            buyers[account_id].open_holds[name] = date.fromisoformat(until)
        return buyers

    async def find_addresses(self, address_ids: Collection[int]) -> dict[int, RegulationAddress]:
        """The regulation addresses of some ids, whoever owns them."""
        if not address_ids:
            return {}
        rows = await self.connection.fetch(_ADDRESSES, {"address_ids": sorted(address_ids)})
        return {row[0]: _to_address(row) for row in rows}

    async def find_record(self, account_id: int) -> AccountRecord | None:
        """All that is kept of an account."""
        rows = await self.connection.fetch(_RECORD, {"account_id": account_id})
        return _to_record(rows[0]) if rows else None

    async def list_records(self) -> list[AccountRecord]:
        """Every account, by id."""
        return [_to_record(row) for row in await self.connection.fetch(_ALL_RECORDS)]

    async def insert_account(self, record: AccountRecord) -> None:
        """Create an account; its wallet starts empty, whatever the record's says of money."""
        identity = record.account
        row = {
            "id": identity.id,
            "parent_id": identity.parent_id,
            "name": identity.name,
            "email": record.email,
            "currency": identity.currency,
            "billing_country": identity.billing_country,
            "is_active": identity.is_active,
            "is_frozen": identity.is_frozen,
            "api_key_hash": identity.api_key_hash,
            "profile": msgspec.json.encode(record.profile),
            "created_at": to_micros(record.created_at),
        }
        await self.connection.write_rows((_INSERT_ACCOUNT, [_INSERT_ACCOUNT.row(row)]))
        limits = {
            "credit_limit_micros": record.wallet.credit_limit_micros,
            "rental_limit": record.wallet.rental_limit,
        }
        empty = {"account_id": identity.id, "funds_micros": 0, "held_micros": 0, "rental_count": 0}
        await self.connection.write_rows((_INSERT_WALLET, [_INSERT_WALLET.row(empty | limits)]))

    async def set_flags(self, account_id: int, *, is_active: bool, is_frozen: bool) -> None:
        """Activate, freeze or thaw an account."""
        await self.connection.execute(
            _SET_FLAGS, {"id_": account_id, "active": is_active, "frozen": is_frozen}
        )

    async def insert_verification(self, account_id: int, held: Verification) -> None:
        """Record how far an account has come with a verification."""
        lapsed_on = None if held.lapsed_on is None else held.lapsed_on.isoformat()
        values = {"account_id": account_id, "name": held.name, "status": held.status, "lapsed_on": lapsed_on}
        await self.connection.write_rows((_INSERT_VERIFICATION, [_INSERT_VERIFICATION.row(values)]))

    async def insert_address(self, address: RegulationAddress, now: datetime) -> None:
        """Record a regulation address."""
        values = {
            "id": address.id,
            "account_id": address.account_id,
            "country_code": address.country,
            "category": address.category,
            "area_code": address.area_code,
            "status": address.status,
            "details": msgspec.json.encode(address.details),
            "created_at": to_micros(now),
        }
        await self.connection.write_rows((_INSERT_ADDRESS, [_INSERT_ADDRESS.row(values)]))

    async def save_wallets(self, buyers: Collection[Buyer]) -> None:
        """Write back the wallets of locked accounts."""
        rows = [
            (buyer.account.id, buyer.wallet.funds_micros, buyer.wallet.held_micros, buyer.wallet.rental_count)
            for buyer in buyers
        ]
        await self.connection.write_rows((_SAVE_WALLETS, rows))

    async def insert_movements(self, movements: Collection[Movement]) -> None:
        """Write movements with their postings."""
        await self.connection.write_rows(
            (INSERT_MOVEMENTS, movement_rows(movements)), (INSERT_POSTINGS, posting_rows(movements))
        )


# Rows are in the order of their table's columns.


def wallet_rows(changes: Mapping[int, WalletChange]) -> list[tuple[object, ...]]:
    """Changes of wallets by account id, as rows of `CHANGE_WALLETS`."""
    return [
        (account_id, change.funds_micros, change.held_micros, change.rental_count)
        for account_id, change in sorted(changes.items())
    ]


def movement_rows(movements: Collection[Movement]) -> list[tuple[object, ...]]:
    """Movements as rows, without their postings."""
    return [
        (
            moved.id,
            moved.account_id,
            moved.kind,
            moved.currency,
            to_micros(moved.moved_at),
            moved.actor,
            moved.note,
        )
        for moved in movements
    ]


def posting_rows(movements: Collection[Movement]) -> list[tuple[object, ...]]:
    """The postings of movements as rows."""
    return [
        (moved.id, position, leg.book, leg.purpose, leg.rental_id, leg.amount_micros)
        for moved in movements
        for position, leg in enumerate(moved.postings)
    ]


def _to_record(row: Row) -> AccountRecord:
    values = tuple(row)
    email, profile, created_at, *money = values[_MONEY_AT:]
    return AccountRecord(
        to_account(values[:_MONEY_AT]),
        email,
        msgspec.json.decode(profile, type=Profile),
        Wallet(*money),
        from_micros(created_at),
    )


def _to_address(row: Row) -> RegulationAddress:
    address_id, account_id, country, category, area_code, status, details, _ = row
    decoded = msgspec.json.decode(details, type=AddressDetails)
    return RegulationAddress(address_id, account_id, country, category, area_code, status, decoded)
