"""Prices: converted, taxed by the billing country, with the tax on top or inside; no micro is made or lost."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from numberline.domain import errors
from numberline.domain.catalog import Catalog, CatalogRows, Country, Price, Region, Rule
from numberline.domain.errors import ErrorKind, Refusal
from numberline.domain.pricing import PPM, Quote, convert, quote

UNIT = 1_000_000
REGION = Region(1, "US", "GEOGRAPHIC", "", "555", "Town", "Город")
SANDBOX = Region(2, "US", "GEOGRAPHIC", "", "556", "Sandbox", "Песочница")
RATES = {"USD": UNIT, "EUR": 920_000, "RUB": 90_500_000, "KZT": 470_000_000}
TAXES = {"US": 82_500, "DE": 190_000, "RU": 220_000, "XX": PPM}
prices = st.integers(0, 10**15)
rates = st.integers(1, 10**12)
taxes = st.integers(0, PPM)


def build(
    monthly: int = UNIT,
    setup: int = 2 * UNIT,
    currency: str = "USD",
    *,
    per_usd: dict[str, int] | None = None,
    tax_ppm: dict[str, int] | None = None,
) -> Catalog:
    return Catalog(
        CatalogRows(
            revision=1,
            countries=[Country("US", "1", "United States", "США")],
            states=[],
            regions=[REGION, SANDBOX],
            prices=[Price("US", "*", 0, "", currency, monthly, setup)],
            rules=[Rule("US", "GEOGRAPHIC", 2, sandbox=True)],
            tax_ppm=TAXES if tax_ppm is None else tax_ppm,
            per_usd_micros=RATES if per_usd is None else per_usd,
            offers=[],
        )
    )


@pytest.mark.parametrize(
    ("monthly", "setup", "listed", "currency", "country", "expected"),
    [
        # setup, month, setup tax, month tax, inside
        (UNIT, 2 * UNIT, "USD", "USD", "US", (2_000_000, 1_000_000, 165_000, 82_500, False)),
        (UNIT, 2 * UNIT, "USD", "EUR", "DE", (1_840_000, 920_000, 349_600, 174_800, False)),
        (UNIT, 2 * UNIT, "USD", "RUB", "RU", (181_000_000, 90_500_000, 32_639_344, 16_319_672, True)),
        (920_000, 0, "EUR", "USD", "US", (0, 1_000_000, 0, 82_500, False)),
        (920_000, 0, "EUR", "RUB", "DE", (0, 90_500_000, 0, 14_449_580, True)),
        (UNIT, 2 * UNIT, "USD", "USD", "FR", (2_000_000, 1_000_000, 0, 0, False)),
        (UNIT, 2 * UNIT, "USD", "USD", "XX", (2_000_000, 1_000_000, 2_000_000, 1_000_000, False)),
        (0, 0, "USD", "EUR", "DE", (0, 0, 0, 0, False)),
        # half a micro, rounded away from zero: 6 * 0.0825 = 0.495 and 200 * 0.0825 = 16.5
        (200, 6, "USD", "USD", "US", (6, 200, 0, 17, False)),
    ],
)
def test_quotes_by_hand(
    monthly: int,
    setup: int,
    listed: str,
    currency: str,
    country: str,
    expected: tuple[int, int, int, int, bool],
) -> None:
    assert quote(build(monthly, setup, listed), REGION, "", currency, country) == Quote(currency, *expected)


@given(prices, prices, st.sampled_from(sorted(RATES)), taxes)
@example(1, 1, "RUB", 220_000)
@example(10**15, 10**15, "RUB", PPM)
def test_the_total_is_the_sum_of_its_parts(monthly: int, setup: int, currency: str, tax: int) -> None:
    found = quote(build(monthly, setup, tax_ppm={"US": tax}), REGION, "", currency, "US")
    parts = (found.setup_micros, found.month_micros, found.setup_reserve_micros, found.month_reserve_micros)
    assert found.total_micros == sum(parts)
    assert min(parts) >= 0
    assert found.tax_inside == (currency == "RUB")
    assert found.tax_inside or parts[2:] == (found.setup_tax_micros, found.month_tax_micros)


@given(prices, prices, taxes)
def test_tax_inside_only_splits_what_is_paid(monthly: int, setup: int, tax: int) -> None:
    found = quote(build(monthly, setup, "RUB", tax_ppm={"RU": tax}), REGION, "", "RUB", "RU")
    assert found.total_micros == monthly + setup
    assert (found.setup_reserve_micros, found.month_reserve_micros) == (0, 0)
    for gross, inside in ((monthly, found.month_tax_micros), (setup, found.setup_tax_micros)):
        net = gross - inside
        assert 0 <= inside <= gross
        # The split is the nearest one to net * rate = tax.
        assert abs(Fraction(gross * tax, PPM + tax) - inside) <= Fraction(1, 2)
        assert abs(Fraction(net * tax, PPM) - inside) <= 2


@given(prices, rates, rates)
def test_conversion_is_the_nearest_micro_and_keeps_the_order(amount: int, source: int, target: int) -> None:
    catalog = build(per_usd={"EUR": source, "KZT": target})
    found = convert(catalog, amount, "EUR", "KZT")
    assert abs(Fraction(amount * target, source) - found) <= Fraction(1, 2)
    assert found <= convert(catalog, amount + 1, "EUR", "KZT")


@given(prices)
def test_a_currency_converts_into_itself_even_without_a_rate(amount: int) -> None:
    assert convert(build(per_usd={}), amount, "PLN", "PLN") == amount


@pytest.mark.parametrize(
    ("catalog", "tier", "currency", "country", "kind"),
    [
        (build(), "gold", "USD", "US", errors.NOT_PRICED),
        (build(), "", "PLN", "US", errors.NOT_PRICED),
        (build(currency="PLN"), "", "USD", "US", errors.NOT_PRICED),
        (build(per_usd={}), "", "EUR", "US", errors.NOT_PRICED),
        (build(), "", "USD", "", errors.BILLING_ADDRESS_REQUIRED),
    ],
)
def test_what_cannot_be_priced_is_refused(
    catalog: Catalog, tier: str, currency: str, country: str, kind: ErrorKind
) -> None:
    with pytest.raises(Refusal) as caught:
        quote(catalog, REGION, tier, currency, country)
    assert caught.value.kind is kind


@pytest.mark.parametrize(("currency", "country"), [("USD", "US"), ("RUB", "RU"), ("PLN", ""), ("EUR", "")])
def test_sandbox_numbers_are_free_for_everybody(currency: str, country: str) -> None:
    found = quote(build(), SANDBOX, "nonsense", currency, country)
    assert found.total_micros == 0
    assert found.currency == currency
