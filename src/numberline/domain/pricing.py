"""What a number costs an account: list price, converted to the account's currency, with its taxes."""

from __future__ import annotations

from typing import Final

import msgspec

from numberline.domain import errors
from numberline.domain.catalog import Catalog, Region
from numberline.domain.errors import Refusal
from numberline.domain.money import scale

PPM: Final = 1_000_000
# Prices in these currencies contain the tax, and all of it is charged at once.
TAX_INSIDE: Final = frozenset({"RUB"})


class Quote(msgspec.Struct, frozen=True):
    """The cost of one number, in micros of `currency`.

    Fees are what is taken besides the tax reserves; where `tax_inside`, the reserves are 0, the fees contain
    `setup_tax_micros` and `month_tax_micros`, and the month is charged at once instead of held.
    """

    currency: str
    setup_micros: int
    month_micros: int
    setup_tax_micros: int
    month_tax_micros: int
    tax_inside: bool

    @property
    def setup_reserve_micros(self) -> int:
        """Tax that is taken on top of the set-up fee."""
        return 0 if self.tax_inside else self.setup_tax_micros

    @property
    def month_reserve_micros(self) -> int:
        """Tax that is taken on top of the month's fee."""
        return 0 if self.tax_inside else self.month_tax_micros

    @property
    def total_micros(self) -> int:
        """All that a purchase takes or holds."""
        return self.setup_micros + self.month_micros + self.setup_reserve_micros + self.month_reserve_micros


def quote(catalog: Catalog, region: Region, tier: str, currency: str, billing_country: str) -> Quote:
    """Price one number of a region and tier for an account.

    Refuses a position without a price, a currency without a rate, and an account whose taxes cannot be known.
    Numbers of a sandbox region are free.
    """
    what = region.id, tier, currency, billing_country
    known = catalog.quotes.get(what)
    if known is None:
        known = catalog.quotes[what] = _quote(catalog, region, tier, currency, billing_country)
    return known


def _quote(catalog: Catalog, region: Region, tier: str, currency: str, billing_country: str) -> Quote:
    if catalog.rule(region).sandbox:
        return Quote(currency, 0, 0, 0, 0, currency in TAX_INSIDE)
    price = catalog.price(region, tier)
    if price is None:
        raise Refusal(errors.NOT_PRICED, currency=currency)
    if not billing_country:
        raise Refusal(errors.BILLING_ADDRESS_REQUIRED)
    setup = convert(catalog, price.setup_micros, price.currency, currency)
    month = convert(catalog, price.monthly_micros, price.currency, currency)
    return _taxed(currency, setup, month, catalog.tax_ppm.get(billing_country, 0))


def _taxed(currency: str, setup: int, month: int, rate_ppm: int) -> Quote:
    if currency not in TAX_INSIDE:
        return Quote(currency, setup, month, scale(setup, rate_ppm, PPM), scale(month, rate_ppm, PPM), False)
    gross = PPM + rate_ppm
    return Quote(currency, setup, month, scale(setup, rate_ppm, gross), scale(month, rate_ppm, gross), True)


def convert(catalog: Catalog, micros: int, source: str, target: str) -> int:
    """Convert between currencies at the catalogue's rates to the dollar; refuses a currency without a rate."""
    if source == target:
        return micros
    source_rate = catalog.per_usd_micros.get(source)
    target_rate = catalog.per_usd_micros.get(target)
    if source_rate is None or target_rate is None:
        raise Refusal(errors.NOT_PRICED, currency=target)
    return scale(micros, target_rate, source_rate)
