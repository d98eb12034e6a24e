"""Search the stock for numbers that can be bought by exact value."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, groupby, islice
from typing import Final

import msgspec

from numberline.domain import errors
from numberline.domain.blocks import Block, Mask, numbers_in
from numberline.domain.catalog import Catalog, Region
from numberline.domain.errors import Refusal
from numberline.domain.paging import Page
from numberline.domain.phone import without_separators
from numberline.domain.pricing import Quote, quote
from numberline.service.context import Call
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
    found = await call.services.store.read(lambda ask: _find(ask, catalog, region, mask, order))
    buyer = await call.services.store.read(lambda ask: ask.find_buyer(call.caller.account.id))
    assert buyer is not None, "a caller has an account"
    tiers = {offer_id: catalog.offers[offer_id].tier for offer_id, _ in found.items}
    prices = {
        offer_id: quote(catalog, region, tier, buyer.account.currency, buyer.billing_country)
        for offer_id, tier in tiers.items()
    }
    return Page([_view(number, region, prices[offer_id]) for offer_id, number in found.items], found.total)


def _mask(text: str | None) -> Mask | None:
    """Read a mask, which may be spelled with the signs that numbers are spelled with."""
    if text is None:
        return None
    try:
        return Mask(without_separators(text))
    except ValueError:
        raise Refusal(errors.INVALID_NUMBER, number=text[:MASK_SHOWN]) from None


async def _find(
    ask: Transaction, catalog: Catalog, region: Region, mask: Mask | None, order: SearchOrder
) -> Page[tuple[int, int]]:
    """One page of offer and number, lowest number first, and how many match in all."""
    offer_ids = [offer.id for offer in catalog.offers_of(region.id)]
    if mask is not None:
        return _matching(await ask.open_maps(offer_ids), mask, order)
    # Offers may share a thousand, and its numbers are then listed together: skip thousands, not blocks.
    counted: dict[int, int] = {}
    for prefix, free_count, _ in await ask.open_blocks(offer_ids):
        counted[prefix] = counted.get(prefix, 0) + free_count
    skipped, first = 0, 0
    wanted: list[int] = []
    for prefix, free_count in counted.items():
        if skipped + free_count > order.offset and len(wanted) <= order.count:
            first = skipped if not wanted else first
            wanted.append(prefix)
        skipped += free_count
        if skipped >= order.offset + order.count:
            break
    blocks = [one for one in await ask.find_blocks(set(wanted)) if one.offer_id in offer_ids]
    numbers = _numbers(blocks)
    start = order.offset - first
    return Page(list(islice(numbers, start, start + order.count)), sum(counted.values()))


def _matching(blocks: list[Block], mask: Mask, order: SearchOrder) -> Page[tuple[int, int]]:
    matched = [
        msgspec.structs.replace(one, free_map=one.free_map & mask.endings(one.prefix)) for one in blocks
    ]
    total = sum(one.free_count for one in matched)
    return Page(list(islice(_numbers(matched), order.offset, order.offset + order.count)), total)


def _numbers(blocks: list[Block]) -> Iterator[tuple[int, int]]:
    """Offer and number of every free number, lowest number first, also where offers share a thousand."""
    for _, sharing in groupby(blocks, key=lambda one: one.prefix):
        lists = [
            [(number, one.offer_id) for number in numbers_in(one.prefix, one.free_map)] for one in sharing
        ]
        yield from ((offer_id, number) for number, offer_id in sorted(chain.from_iterable(lists)))


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
