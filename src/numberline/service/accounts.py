"""What operators do to accounts: open them, pay money in and out, freeze and thaw them.

Whatever a person typed wrongly is an `InvalidAccount`, whose message is a sentence for that person.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import datetime
from typing import Final

import msgspec
import pycountry

from numberline.domain import errors, ledger
from numberline.domain.access import Account
from numberline.domain.account import Profile, Wallet
from numberline.domain.clock import Clock
from numberline.domain.errors import Refusal
from numberline.domain.ledger import Movement
from numberline.domain.money import MAX_MICROS, format_amount
from numberline.domain.working_set import Buyer
from numberline.store.accounts import AccountRecord
from numberline.store.contract import Store
from numberline.store.errors import ConstraintViolated
from numberline.store.transaction import Transaction

# Always accepted, whatever rates are known; others need a rate.
CURRENCIES: Final = frozenset({"USD", "EUR", "RUB", "KZT"})
EMAIL_CHARACTERS_MAX: Final = 254
_API_KEY_BYTES: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)
_EMAIL: Final = re.compile(r"[^@\s,;<>\"]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+", re.ASCII)
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
_TAKEN: Final = {
    "uq_account_name": "The name belongs to another account.",
    "uq_account_email": "The e-mail address belongs to another account.",
}
_NO_PROFILE: Final = Profile()


class InvalidAccount(ValueError):
    """What was given of an account cannot be accepted; nothing was changed."""


class UnknownAccount(ValueError):
    """There is no account of this id."""

    def __init__(self, account_id: int) -> None:
        super().__init__(f"There is no account {account_id}.")
        self.account_id = account_id


class CreatedAccount(msgspec.Struct, frozen=True):
    """A new account; its API key is shown this once, the store keeps only a hash of it."""

    account_id: int
    api_key: str | None


class NewAccount(msgspec.Struct, frozen=True, kw_only=True):
    """What an account is opened with; money in micros of `currency`.

    `billing_country` is empty while unknown: such an account cannot buy. `rental_limit` None: no limit.
    """

    name: str
    email: str
    currency: str
    billing_country: str
    parent_id: int | None = None
    credit_limit_micros: int = 0
    rental_limit: int | None = None
    is_active: bool = True
    is_frozen: bool = False
    profile: Profile = _NO_PROFILE


# --- opening ---------------------------------------------------------------------------------------------------


async def create_account(
    store: Store,
    clock: Clock,
    *,
    name: str,
    email: str,
    currency: str,
    billing_country: str,
    parent_id: int | None = None,
    credit_limit_micros: int = 0,
    rental_limit: int | None = None,
    is_active: bool = True,
    profile: Profile = _NO_PROFILE,
    with_api_key: bool = False,
) -> CreatedAccount:
    """Open an account with an empty wallet; raises `InvalidAccount`.

    `currency` is one of `CURRENCIES` or has a rate; `billing_country` is an ISO 3166 code or empty. A parent must be
    an account without a parent of its own.
    """
    wanted = NewAccount(
        name=name,
        email=email,
        currency=currency,
        billing_country=billing_country,
        parent_id=parent_id,
        credit_limit_micros=credit_limit_micros,
        rental_limit=rental_limit,
        is_active=is_active,
        profile=profile,
    )
    api_key = secrets.token_urlsafe(_API_KEY_BYTES) if with_api_key else None
    now = clock.now()
    try:
        account_id = await store.write(lambda work: open_account(work, now, wanted, api_key))
    except ConstraintViolated as violated:
        if violated.constraint in _TAKEN:
            raise InvalidAccount(_TAKEN[violated.constraint]) from None
        raise
    return CreatedAccount(account_id, api_key)


async def open_account(work: Transaction, now: datetime, wanted: NewAccount, api_key: str | None) -> int:
    """Open an account inside a unit of work and return its id; raises `InvalidAccount`."""
    _check_shape(wanted)
    await _check_references(work, wanted)
    (account_id,) = await work.connection.reserve_ids("account", 1)
    identity = Account(
        account_id,
        wanted.name,
        wanted.parent_id,
        wanted.is_active,
        wanted.is_frozen,
        wanted.currency,
        wanted.billing_country,
        None if api_key is None else hashlib.sha256(api_key.encode()).digest(),
    )
    wallet = Wallet(0, 0, wanted.credit_limit_micros, 0, wanted.rental_limit)
    record = AccountRecord(identity, wanted.email, wanted.profile, wallet, now)
    await work.insert_account(record)
    return account_id


def _check_shape(wanted: NewAccount) -> None:
    if not _NAME.fullmatch(wanted.name):
        raise InvalidAccount("A name has up to 63 letters, digits, dots, hyphens and underscores.")
    if len(wanted.email) > EMAIL_CHARACTERS_MAX or not _EMAIL.fullmatch(wanted.email):
        raise InvalidAccount(f"This is not an e-mail address: {wanted.email!r}.")
    if not _CURRENCY.fullmatch(wanted.currency):
        raise InvalidAccount(f"A currency is three capitals such as USD, not {wanted.currency!r}.")
    if wanted.billing_country and not _is_country(wanted.billing_country):
        raise InvalidAccount(
            f"A billing country is an ISO 3166 code such as US, not {wanted.billing_country!r}."
        )
    if not 0 <= wanted.credit_limit_micros <= MAX_MICROS:
        raise InvalidAccount("A credit limit is not negative, and at most a million million units.")
    if wanted.rental_limit is not None and not 0 <= wanted.rental_limit < 2**31:
        raise InvalidAccount("A limit of rentals is not negative, and less than two billion.")


def _is_country(code: str) -> bool:
    # pycountry looks codes up in any case; the catalogue's taxes are kept under capitals.
    return code.isupper() and pycountry.countries.get(alpha_2=code) is not None


async def _check_references(work: Transaction, wanted: NewAccount) -> None:
    if wanted.currency not in CURRENCIES and wanted.currency not in await work.list_currencies():
        raise InvalidAccount(f"The catalogue has no rate for the currency {wanted.currency}.")
    if wanted.parent_id is None:
        return
    parent = await work.find_account(wanted.parent_id)
    if parent is None:
        raise InvalidAccount(f"There is no account {wanted.parent_id} to be the parent.")
    if parent.parent_id is not None:
        raise InvalidAccount(f"Account {parent.id} is itself a child and cannot be a parent.")


# --- money -----------------------------------------------------------------------------------------------------


async def credit_account(
    store: Store, clock: Clock, account_id: int, amount_micros: int, *, actor: str, note: str
) -> Wallet:
    """Pay money into an account, or out of it when negative, and return the wallet after it.

    Raises `UnknownAccount`, `InvalidAccount` for a sum of nothing or out of range, and Refusal INSUFFICIENT_MONEY
    when more is to be paid out than funds and credit limit allow.
    """
    now = clock.now()
    return await store.write(lambda work: pay_in(work, now, account_id, amount_micros, actor, note))


async def pay_in(
    work: Transaction, now: datetime, account_id: int, amount_micros: int, actor: str, note: str
) -> Wallet:
    """Pay money in or out inside a unit of work; raises as `credit_account`."""
    if amount_micros == 0:
        raise InvalidAccount("A payment moves something.")
    buyer = await _lock(work, account_id)
    wallet, currency = buyer.wallet, buyer.account.currency
    after = wallet.funds_micros + amount_micros
    if max(abs(amount_micros), abs(after)) > MAX_MICROS:
        raise InvalidAccount("The sum is out of range.")
    if after + wallet.credit_limit_micros < 0:
        needed, available = format_amount(-amount_micros), format_amount(wallet.available_micros)
        raise Refusal(errors.INSUFFICIENT_MONEY, needed=needed, available=available, currency=currency)
    (movement_id,) = await work.connection.reserve_ids("movement", 1)
    moved = Movement(
        id=movement_id,
        account_id=account_id,
        kind="credit",
        currency=currency,
        moved_at=now,
        actor=actor,
        note=note,
        postings=ledger.credit_postings(amount_micros),
    )
    ledger.apply(wallet, moved.postings)
    await work.save_wallets([buyer])
    await work.insert_movements([moved])
    return wallet


async def _lock(work: Transaction, account_id: int) -> Buyer:
    buyers = await work.lock_buyers([account_id], verifications=False)
    if account_id not in buyers:
        raise UnknownAccount(account_id)
    return buyers[account_id]


# --- looking and switching -------------------------------------------------------------------------------------


async def set_account_flags(
    store: Store, account_id: int, *, is_active: bool | None = None, is_frozen: bool | None = None
) -> AccountRecord:
    """Activate, deactivate, freeze or thaw an account; None leaves a flag alone. Raises `UnknownAccount`."""

    async def change(work: Transaction) -> AccountRecord:
        # The wallet's lock keeps purchases and other changes of the flags waiting.
        present = (await _lock(work, account_id)).account
        await work.set_flags(
            account_id,
            is_active=present.is_active if is_active is None else is_active,
            is_frozen=present.is_frozen if is_frozen is None else is_frozen,
        )
        return await _find(work, account_id)

    return await store.write(change)


async def show_account_record(store: Store, account_id: int) -> AccountRecord:
    """All that is kept of an account; raises `UnknownAccount`."""
    return await store.read(lambda ask: _find(ask, account_id))


async def list_accounts(store: Store) -> list[AccountRecord]:
    """Every account, by id."""
    return await store.read(lambda ask: ask.list_records())


async def _find(ask: Transaction, account_id: int) -> AccountRecord:
    record = await ask.find_record(account_id)
    if record is None:
        raise UnknownAccount(account_id)
    return record
