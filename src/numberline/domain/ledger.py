"""Double entry with holds: every movement of money is a group of postings that sums to zero.

The books, seen from the operator: an account's `funds` and what is `held` of them; `sales` and `tax` earned;
`cash`, the outside world that money comes in from. Balances can be recomputed from the postings at any time.
"""

from __future__ import annotations

from datetime import date, datetime
from functools import lru_cache
from typing import Literal

import msgspec

from numberline.domain.account import Wallet, WalletChange
from numberline.domain.pricing import Quote
from numberline.domain.rental import Rental

Book = Literal["funds", "held", "sales", "tax", "cash"]
Purpose = Literal["setup", "setup_tax", "month", "month_tax", "credit"]
ChargeStatus = Literal["held", "posted", "voided"]
# A posting of whatever rental.
_Leg = tuple[Book, Purpose, int]


class Posting(msgspec.Struct, frozen=True):
    """One leg of a movement, in micros of its currency; positive adds to the book."""

    book: Book
    purpose: Purpose
    amount_micros: int
    rental_id: int | None = None


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """A group of postings of one account and currency: who moved how much, when and why."""

    id: int
    account_id: int
    kind: Literal["purchase", "credit"]
    currency: str
    moved_at: datetime
    actor: str
    note: str = ""
    postings: tuple[Posting, ...]


class Charge(msgspec.Struct, frozen=True):
    """The one payment for one rental and period: held first, then posted or voided, once."""

    rental_id: int
    period_on: date
    account_id: int
    fee_micros: int
    tax_micros: int
    status: ChargeStatus


def purchase_postings(rental_id: int, quote: Quote) -> list[Posting]:
    """The postings of buying one number: set-up fee and tax charged, the month's fee and tax held.

    Where tax is inside the price the month is charged at once, and the tax is split off the fee.
    """
    return [Posting(book, purpose, amount, rental_id) for book, purpose, amount in _purchase_legs(quote)]


@lru_cache(maxsize=1_024)
def _purchase_legs(quote: Quote) -> tuple[_Leg, ...]:
    """The same for every number of one price."""
    if quote.tax_inside:
        return _charged("setup", quote.setup_micros - quote.setup_tax_micros, quote.setup_tax_micros) + (
            _charged("month", quote.month_micros - quote.month_tax_micros, quote.month_tax_micros)
        )
    charged = _charged("setup", quote.setup_micros, quote.setup_tax_micros)
    held = _transfer("month", "held", quote.month_micros)
    return charged + held + _transfer("month_tax", "held", quote.month_tax_micros)


def _charged(purpose: Literal["setup", "month"], net: int, tax: int) -> tuple[_Leg, ...]:
    tax_purpose: Purpose = "setup_tax" if purpose == "setup" else "month_tax"
    return _transfer(purpose, "sales", net) + _transfer(tax_purpose, "tax", tax)


def _transfer(purpose: Purpose, book: Book, amount: int) -> tuple[_Leg, ...]:
    """Move an amount out of the funds into another book; nothing for a zero amount."""
    assert amount >= 0, "prices and taxes are not negative"
    if not amount:
        return ()
    return ("funds", purpose, -amount), (book, purpose, amount)


def credit_postings(amount_micros: int) -> tuple[Posting, ...]:
    """The postings of money paid in (or, negative, paid out)."""
    assert amount_micros != 0, "a credit moves something"
    return (Posting("cash", "credit", -amount_micros), Posting("funds", "credit", amount_micros))


def first_charge(rental: Rental, quote: Quote, period_on: date) -> Charge:
    """The charge for the first month of a rental; `fee + tax` is what the account pays for it."""
    status: ChargeStatus = "posted" if quote.tax_inside else "held"
    return Charge(
        rental.id, period_on, rental.account_id, quote.month_micros, quote.month_reserve_micros, status
    )


def apply(wallet: Wallet, postings: tuple[Posting, ...], *, rentals: int = 0) -> WalletChange:
    """Bring a wallet up to date with a movement's postings, by which `rentals` begin; returns what that adds to it.

    Checked on both sides, in production too: the group sums to zero, and the wallet stays within its limit.
    """
    total = funds = held = 0
    for posting in postings:
        amount = posting.amount_micros
        total += amount
        if posting.book == "funds":
            funds += amount
        elif posting.book == "held":
            held += amount
    change = WalletChange(funds, held, rentals)
    wallet.change(change)
    assert total == 0, "a movement sums to zero"
    assert wallet.available_micros >= 0, "no overdraft beyond the credit limit"
    assert wallet.held_micros >= 0, "no more is released than was held"
    return change
