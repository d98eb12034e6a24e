"""Search the stock for numbers that can be bought by exact value."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec

from numberline.domain import errors
from numberline.domain.access import Account
from numberline.domain.blocks import Mask
from numberline.domain.catalog import Catalog, Region
from numberline.domain.errors import Refusal
from numberline.domain.paging import Page
from numberline.domain.phone import without_separators
from numberline.domain.pricing import Quote, quote
from numberline.service.context import Call
from numberline.service.stock_search import Search
from numberline.store.transaction import Transaction

MASK_SHOWN: Final = 40


class SearchOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A position of the catalogue, a mask (`*` is any run of digits, also none) and a page."""

    country: str | None = None
    category: str | None = None
    region_id: int | None = None
    state: str | None = None
    mask: str | None = None
    count: int = 20
    offset: int = 0


class FreeNumber(msgspec.Struct, frozen=True):
    """A number for sale, priced for the calling account; money in micros of the account's currency, net of tax."""

    number: int
    fee_micros: int
    setup_micros: int
    fee_tax_micros: int
    setup_tax_micros: int
    country: str
    category: str
    region_name: str
    period: str = "0-1-0 0:0:0"


async def search_numbers(call: Call, order: SearchOrder) -> Page[FreeNumber]:
    """List free numbers of a position of the catalogue, lowest first.

    Without any locator the list is that of numbers set aside for the account, of which there are none. Refuses a
    position that does not exist, is not priced for the account, or is not listed.
    """
    if order.country is None and order.category is None and order.region_id is None:
        return Page([], 0)
    assert order.country is not None, "locators come together"
    assert order.category is not None, "locators come together"
    assert order.region_id is not None, "locators come together"
    catalog = await call.services.catalog.current()
    country = catalog.country(order.country)
    category = catalog.category(country, order.category)
    region = catalog.region(country, category, catalog.state(country, order.state), order.region_id)
    if not catalog.rule(region).can_list:
        raise Refusal(errors.NOT_LISTED)
    mask = _mask(order.mask)
    return await _shared_page(call, catalog, region, mask, order)


def _mask(text: str | None) -> Mask:
    """Read a mask, which may be spelled with the signs that numbers are spelled with; without one all match."""
    if text is None:
        return _EVERYTHING
    try:
        return _read_mask(without_separators(text))
    except ValueError:
        raise Refusal(errors.INVALID_NUMBER, number=text[:MASK_SHOWN]) from None


# A mask learns from each search; a few are kept, for a page is seldom the only one.
_read_mask: Final = lru_cache(maxsize=32)(Mask)
_EVERYTHING: Final = Mask("*")


async def _shared_page(
    call: Call, catalog: Catalog, region: Region, mask: Mask, order: SearchOrder
) -> Page[FreeNumber]:
    """The page in a read that equal searches share, whoever makes them: of one price are many accounts."""
    services, account = call.services, call.caller.account

    async def ask(store: Transaction) -> Page[FreeNumber]:
        found = await Search(store, catalog.offer_ids_of(region.id), mask).page(order.offset, order.count)
        return Page(_views(found.items, catalog, region, account), found.total)

    place = catalog.revision, region.id, account.currency, account.billing_country
    key = ("search", place, mask.pattern, order.offset, order.count)
    # Of ten million numbers the first page takes a millisecond; what takes longer by far need not be tried.
    is_brief = mask.matches_all and not order.offset
    return await services.shared.read(
        key, lambda: services.store.read(ask, brief=is_brief), state=call.caller.known_in
    )


def _views(
    found: list[tuple[int, int]], catalog: Catalog, region: Region, account: Account
) -> list[FreeNumber]:
    """Offers and numbers as an account sees them."""
    tiers = {offer_id: catalog.offers[offer_id].tier for offer_id, _ in found}
    prices = {
        offer_id: quote(catalog, region, tier, account.currency, account.billing_country)
        for offer_id, tier in tiers.items()
    }
    return [_view(number, region, prices[offer_id]) for offer_id, number in found]


def _view(number: int, region: Region, priced: Quote) -> FreeNumber:
    return FreeNumber(
        number=number,
        fee_micros=priced.month_micros,
        setup_micros=priced.setup_micros,
        fee_tax_micros=priced.month_reserve_micros,
        setup_tax_micros=priced.setup_reserve_micros,
        country=region.country,
        category=region.category,
        region_name=region.name_en,
    )
