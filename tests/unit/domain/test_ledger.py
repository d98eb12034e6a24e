"""The ledger: every movement sums to zero, wallets follow their postings, and an overdraft is a defect."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numberline.domain.account import Wallet
from numberline.domain.ledger import Posting, apply, credit_postings, first_charge, purchase_postings
from numberline.domain.pricing import Quote
from numberline.domain.rental import Rental

amounts = st.integers(0, 10**15)


@st.composite
def quotes(draw: st.DrawFn) -> Quote:
    setup, month, inside = draw(amounts), draw(amounts), draw(st.booleans())
    most = (setup, month) if inside else (10**15, 10**15)
    return Quote(
        "RUB" if inside else "USD",
        setup,
        month,
        draw(st.integers(0, most[0])),
        draw(st.integers(0, most[1])),
        inside,
    )


def _into(postings: list[Posting], book: str) -> int:
    return sum(posting.amount_micros for posting in postings if posting.book == book)


def _rental() -> Rental:
    now = datetime(2026, 1, 31, tzinfo=UTC)
    return Rental(
        id=5,
        number=15552850126,
        account_id=7,
        offer_id=1,
        region_id=1,
        purchased_at=now,
        renews_on=date(2026, 2, 28),
        anchor_day=31,
        fee_micros=1,
        tax_micros=1,
        modified_at=now,
    )


@given(quotes())
def test_a_purchase_sums_to_zero_and_takes_the_quoted_total(priced: Quote) -> None:
    postings = purchase_postings(5, priced)
    assert sum(posting.amount_micros for posting in postings) == 0
    assert -_into(postings, "funds") == priced.total_micros
    assert all(posting.amount_micros and posting.rental_id == 5 for posting in postings)
    # Leg by leg, too: what leaves the funds for a purpose arrives for that purpose.
    for purpose in {posting.purpose for posting in postings}:
        assert sum(posting.amount_micros for posting in postings if posting.purpose == purpose) == 0


@given(quotes())
def test_the_month_is_held_unless_its_tax_is_inside(priced: Quote) -> None:
    postings = purchase_postings(5, priced)
    held, tax = _into(postings, "held"), _into(postings, "tax")
    if priced.tax_inside:
        assert held == 0
        assert tax == priced.setup_tax_micros + priced.month_tax_micros
        assert _into(postings, "sales") == priced.total_micros - tax
    else:
        assert held == priced.month_micros + priced.month_tax_micros
        assert tax == priced.setup_tax_micros
        assert _into(postings, "sales") == priced.setup_micros


@given(quotes())
def test_the_first_charge_is_what_the_month_costs(priced: Quote) -> None:
    charge = first_charge(_rental(), priced, date(2026, 1, 31))
    postings = purchase_postings(5, priced)
    paid = -sum(
        posting.amount_micros
        for posting in postings
        if posting.book == "funds" and posting.purpose in ("month", "month_tax")
    )
    assert charge.fee_micros + charge.tax_micros == paid
    assert charge.status == ("posted" if priced.tax_inside else "held")
    assert (charge.rental_id, charge.account_id, charge.period_on) == (5, 7, date(2026, 1, 31))


@given(quotes(), st.integers(0, 10**16), st.integers(0, 10**16))
def test_a_wallet_follows_its_postings(priced: Quote, held: int, credit_limit: int) -> None:
    wallet = Wallet(priced.total_micros - credit_limit, held, credit_limit, 0)
    postings = purchase_postings(5, priced)
    apply(wallet, tuple(postings))
    assert wallet.available_micros == 0, "to the last micro of the limit, and no further"
    assert wallet.held_micros == held + _into(postings, "held")


@given(quotes(), st.integers(0, 10**16))
def test_an_overdraft_of_one_micro_is_a_defect(priced: Quote, credit_limit: int) -> None:
    wallet = Wallet(priced.total_micros - 1 - credit_limit, 0, credit_limit, 0)
    with pytest.raises(AssertionError, match="overdraft"):
        apply(wallet, (*purchase_postings(5, priced), *credit_postings(-1), *credit_postings(1)))


@given(st.integers(-(10**15), 10**15).filter(bool))
def test_a_credit_comes_out_of_the_cash(amount: int) -> None:
    postings = credit_postings(amount)
    assert sum(posting.amount_micros for posting in postings) == 0
    wallet = Wallet(10**15, 3, 0, 0)
    apply(wallet, postings)
    assert (wallet.funds_micros, wallet.held_micros) == (10**15 + amount, 3)


def test_what_is_no_movement_is_a_defect() -> None:
    with pytest.raises(AssertionError, match="moves something"):
        credit_postings(0)
    with pytest.raises(AssertionError, match="sums to zero"):
        apply(Wallet(10, 0, 0, 0), (Posting("funds", "credit", 1),))
    with pytest.raises(AssertionError, match="not negative"):
        purchase_postings(1, Quote("USD", -1, 0, 0, 0, tax_inside=False))


def test_no_more_is_released_than_was_held() -> None:
    back = (Posting("held", "month", -2), Posting("funds", "month", 2))
    apply(Wallet(0, 2, 0, 0), back)
    with pytest.raises(AssertionError, match="released"):
        apply(Wallet(0, 1, 0, 0), back)


@pytest.mark.parametrize(
    ("limit", "count", "fits"), [(None, 10**6, True), (5, 2, True), (5, 3, False), (3, 0, True)]
)
def test_the_room_for_rentals(limit: int | None, count: int, fits: bool) -> None:
    assert Wallet(0, 0, 0, 3, limit).has_room_for(count) is fits
