"""Show the calling account and its balance."""

from __future__ import annotations

from datetime import datetime

import msgspec

from numberline.domain.account import Profile
from numberline.service.context import Call


class AccountOrder(msgspec.Struct, frozen=True, kw_only=True):
    """`live_balance` false leaves the live balance out."""

    live_balance: bool = True


class AccountView(msgspec.Struct, frozen=True, kw_only=True):
    """An account as its owner sees it; money in micros of `currency`.

    `balance_micros` is what is neither spent nor held, `fixed_balance_micros` includes the held money.
    """

    account_id: int
    name: str
    email: str
    api_key: str | None
    created_at: datetime
    billing_country: str | None
    is_active: bool
    is_frozen: bool
    balance_micros: int
    live_balance_micros: int | None
    fixed_balance_micros: int
    held_micros: int
    credit_limit_micros: int
    currency: str
    profile: Profile
    api_address: str


async def show_account(call: Call, order: AccountOrder) -> AccountView:
    """Show the calling account."""
    caller = call.caller
    record = await call.services.store.read(lambda ask: ask.find_record(caller.account.id), brief=True)
    assert record is not None, "a caller has an account"
    wallet = record.wallet
    return AccountView(
        account_id=record.account.id,
        name=record.account.name,
        email=record.email,
        api_key=caller.api_key,
        created_at=record.created_at,
        billing_country=record.account.billing_country or None,
        is_active=record.account.is_active,
        is_frozen=record.account.is_frozen,
        balance_micros=wallet.funds_micros,
        live_balance_micros=wallet.funds_micros if order.live_balance else None,
        fixed_balance_micros=wallet.funds_micros + wallet.held_micros,
        held_micros=wallet.held_micros,
        credit_limit_micros=wallet.credit_limit_micros,
        currency=record.account.currency,
        profile=record.profile,
        api_address=call.services.policy.api_address,
    )
