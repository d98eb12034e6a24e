"""The decision whether and how an account gets the numbers it asks for: all of them, or a refusal.

The refusals stand in the order in which they are checked: references, stock, regulation address, verification,
money. Nothing is changed until the last one has passed.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Final

import msgspec

from numberline.domain import errors, ledger
from numberline.domain.blocks import Block
from numberline.domain.catalog import CATEGORIES, Catalog, Country, Region, Rule, canonical_category
from numberline.domain.clock import day_of
from numberline.domain.errors import Refusal
from numberline.domain.ledger import Movement, Posting
from numberline.domain.money import format_amount
from numberline.domain.phone import block_of
from numberline.domain.pricing import Quote, quote
from numberline.domain.regulation import check_address
from numberline.domain.rental import Rental, next_renewal
from numberline.domain.verification import Pending, demand
from numberline.domain.working_set import Buyer, Needs, WorkingSet

# Of one snapshot of the catalogue: what can be asked for by count are a few positions.
_PLANS_MAX: Final = 4_096


class AttachOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What a buyer asks for: `count` numbers of a position of the catalogue, or exactly `numbers`.

    With exact numbers, whatever is given of the position only checks them.
    """

    country: str | None = None
    category: str | None = None
    region_id: int | None = None
    state: str | None = None
    count: int | None = None
    numbers: list[int] | None = None
    regulation_address_id: int | None = None
    force_verification: bool | None = None


class Attached(msgspec.Struct, frozen=True):
    """A number just bought, with the verification it still waits for, if any."""

    number: int
    pending: Pending | None


class Terms(msgspec.Struct, frozen=True):
    """Who buys, when, with which credential, and under which of the operator's choices."""

    account_id: int
    actor: str
    now: datetime
    unverified_hold_days: int
    attach_count_max: int


class Plan(msgspec.Struct, frozen=True):
    """An order whose references have been resolved against one revision of the catalogue.

    `numbers` are to be bought exactly, else `count` from `region`; `place` is what was given as a check.
    """

    place: tuple[str | None, str | None, str | None]
    region: Region | None
    numbers: tuple[int, ...]
    count: int
    address_id: int | None


class _Pick(msgspec.Struct, frozen=True):
    """A free number and where it lies."""

    number: int
    block: Block
    region: Region
    rule: Rule
    tier: str


def plan(order: AttachOrder, catalog: Catalog, terms: Terms) -> Plan:
    """Resolve what an order names; refuses in the order country, category, state, region, count."""
    if order.numbers is not None:
        return _plan(order, catalog, terms)
    what = order, terms.attach_count_max
    known = catalog.plans.get(what)
    if known is None:
        if len(catalog.plans) >= _PLANS_MAX:
            catalog.plans.clear()
        known = catalog.plans[what] = _plan(order, catalog, terms)
    return known


def _plan(order: AttachOrder, catalog: Catalog, terms: Terms) -> Plan:
    country = catalog.country(order.country) if order.country else None
    category = _category(catalog, country, order.category) if order.category else None
    state = catalog.state(country, order.state) if country else order.state and order.state.strip().upper()
    region = None
    if country and category and order.region_id is not None:
        region = catalog.region(country, category, state, order.region_id)
    elif order.region_id is not None and (region := catalog.regions.get(order.region_id)) is None:
        raise Refusal(errors.INVALID_REGION)
    numbers = tuple(order.numbers or ())
    count = len(numbers) or (1 if order.count is None else order.count)
    if not 1 <= count <= terms.attach_count_max:
        raise Refusal(errors.INVALID_COUNT, limit=terms.attach_count_max)
    place = (country.code if country else None, category, state)
    return Plan(place, region, numbers, count, order.regulation_address_id)


def _category(catalog: Catalog, country: Country | None, name: str) -> str:
    """The category of a name; without a country it need only be one that there is."""
    if country is not None:
        return catalog.category(country, name)
    code = canonical_category(name)
    if code not in CATEGORIES:
        raise Refusal(errors.INVALID_CATEGORY)
    return code


def needs(plan: Plan, catalog: Catalog, terms: Terms) -> Needs:
    """What has to be locked and loaded before a plan can be decided."""
    wanted: dict[tuple[int, ...], int] = {}
    if not plan.numbers:
        assert plan.region is not None, "buying by count names a region"
        wanted[catalog.offer_ids_of(plan.region.id)] = plan.count
    return Needs(
        account_ids={terms.account_id},
        numbers=set(plan.numbers),
        wanted=wanted,
        address_ids=set() if plan.address_id is None else {plan.address_id},
        verifications=bool(plan.numbers) or bool(plan.region and catalog.rule(plan.region).verification),
        rentals=plan.count,
        movements=1,
    )


def decide(plan: Plan, world: WorkingSet, catalog: Catalog, terms: Terms) -> list[Attached]:
    """Carry a plan out on the working set, or refuse it and leave the working set as it was."""
    buyer = world.buyers[terms.account_id]
    if buyer.account.is_frozen:
        raise Refusal(errors.ACCOUNT_FROZEN)
    picks = _exact(plan, world, catalog, buyer) if plan.numbers else _from_stock(plan, world, catalog)
    _check_addresses(plan, picks, world, buyer)
    pending = _pending(picks, buyer, terms)
    quotes = _affordable(picks, catalog, buyer)
    return _sell(plan, picks, quotes, pending, world, buyer, terms)


def _exact(plan: Plan, world: WorkingSet, catalog: Catalog, buyer: Buyer) -> list[_Pick]:
    return [_pick(plan, number, world, catalog, buyer) for number in plan.numbers]


def _pick(plan: Plan, number: int, world: WorkingSet, catalog: Catalog, buyer: Buyer) -> _Pick:
    owner = world.owners.get(number)
    if owner == buyer.account.id:
        raise Refusal(errors.NUMBER_ALREADY_YOURS, number=number)
    if owner is not None:
        raise Refusal(errors.NUMBER_TAKEN, number=number)
    block = world.block_with(number)
    offer = catalog.offers.get(block.offer_id) if block else None
    if block is None or offer is None:
        raise Refusal(errors.INVALID_NUMBER, number=number)
    region = catalog.regions[offer.region_id]
    _check_place(plan, region)
    rule = catalog.rule(region)
    if not rule.can_buy_by_number:
        raise Refusal(errors.NOT_SOLD_BY_NUMBER)
    return _Pick(number, block, region, rule, offer.tier)


def _check_place(plan: Plan, region: Region) -> None:
    """Refuse a number that lies elsewhere than the buyer believes."""
    country, category, state = plan.place
    if country is not None and region.country != country:
        raise Refusal(errors.INVALID_COUNTRY)
    if category is not None and region.category != category:
        raise Refusal(errors.INVALID_CATEGORY)
    if state is not None and region.state != state:
        raise Refusal(errors.INVALID_STATE)
    if plan.region is not None and region.id != plan.region.id:
        raise Refusal(errors.INVALID_REGION)


def _from_stock(plan: Plan, world: WorkingSet, catalog: Catalog) -> list[_Pick]:
    region = plan.region
    assert region is not None, "buying by count names a region"
    rule = catalog.rule(region)
    picks: list[_Pick] = []
    for block in world.blocks_of(catalog.offer_ids_of(region.id)):
        tier = catalog.offers[block.offer_id].tier
        picks += [
            _Pick(number, block, region, rule, tier) for number in block.highest(plan.count - len(picks))
        ]
        if len(picks) == plan.count:
            return picks
    raise Refusal(errors.LESS_STOCK, left=len(picks)) if picks else Refusal(errors.NO_STOCK)


def _check_addresses(plan: Plan, picks: list[_Pick], world: WorkingSet, buyer: Buyer) -> None:
    """Refuse numbers whose region demands an address unless a fitting one is given; elsewhere it is ignored."""
    for pick in picks:
        address_type = pick.rule.regulation_address
        if not address_type:
            continue
        if plan.address_id is None:
            raise Refusal(errors.ADDRESS_REQUIRED)
        check_address(pick.region, address_type, world.addresses.get(plan.address_id), buyer.account.id)


def _pending(picks: list[_Pick], buyer: Buyer, terms: Terms) -> dict[str, Pending | None]:
    """What each verification that the numbers demand means for the buyer, by its name."""
    demanded = {pick.rule.verification for pick in picks if pick.rule.verification}
    if not demanded:
        return {}
    today = day_of(terms.now)
    return {
        name: demand(
            name, buyer.verification(name), buyer.open_holds.get(name), today, terms.unverified_hold_days
        )
        for name in sorted(demanded)
    }


def _affordable(picks: list[_Pick], catalog: Catalog, buyer: Buyer) -> list[Quote]:
    """Price every pick; refuses when the account has not the room or the money for all of them."""
    if not buyer.wallet.has_room_for(len(picks)):
        raise Refusal(errors.RENTAL_LIMIT, limit=buyer.wallet.rental_limit)
    currency, country = buyer.account.currency, buyer.account.billing_country
    quotes = [quote(catalog, pick.region, pick.tier, currency, country) for pick in picks]
    needed = sum(priced.total_micros for priced in quotes)
    available = buyer.wallet.available_micros
    if needed > available:
        shown = format_amount(max(available, 0))
        raise Refusal(
            errors.INSUFFICIENT_MONEY, needed=format_amount(needed), available=shown, currency=currency
        )
    return quotes


def _sell(
    plan: Plan,
    picks: list[_Pick],
    quotes: list[Quote],
    pending: dict[str, Pending | None],
    world: WorkingSet,
    buyer: Buyer,
    terms: Terms,
) -> list[Attached]:
    """Write the sale into the working set; nothing can refuse any more."""
    today = day_of(terms.now)
    postings: list[Posting] = []
    attached: list[Attached] = []
    for pick, priced in zip(picks, quotes, strict=True):
        waits_for = pending.get(pick.rule.verification)
        address_id = plan.address_id if pick.rule.regulation_address else None
        rental = _rental(next(world.rental_ids), pick, priced, waits_for, address_id, terms, today)
        world.attach(pick.block, rental, ledger.first_charge(rental, priced, today))
        postings += ledger.purchase_postings(rental.id, priced)
        attached.append(Attached(pick.number, waits_for))
        if waits_for is not None:
            buyer.open_holds[waits_for.name] = min(
                waits_for.until, buyer.open_holds.get(waits_for.name, date.max)
            )
    _pay(tuple(postings), len(picks), world, buyer, terms)
    return attached


def _pay(postings: tuple[Posting, ...], count: int, world: WorkingSet, buyer: Buyer, terms: Terms) -> None:
    change = ledger.apply(buyer.wallet, postings, rentals=count)
    movement = Movement(
        id=next(world.movement_ids),
        account_id=buyer.account.id,
        kind="purchase",
        currency=buyer.account.currency,
        moved_at=terms.now,
        actor=terms.actor,
        postings=postings,
    )
    world.record(movement, change)


def _rental(
    rental_id: int,
    pick: _Pick,
    priced: Quote,
    waits_for: Pending | None,
    address_id: int | None,
    terms: Terms,
    today: date,
) -> Rental:
    assert block_of(pick.number) == pick.block.prefix, "a number lies in its block"
    return Rental(
        id=rental_id,
        number=pick.number,
        account_id=terms.account_id,
        offer_id=pick.block.offer_id,
        region_id=pick.region.id,
        purchased_at=terms.now,
        renews_on=next_renewal(today, today.day),
        anchor_day=today.day,
        fee_micros=priced.month_micros,
        tax_micros=priced.month_reserve_micros,
        unverified_until=waits_for.until if waits_for else None,
        verification=pick.rule.verification,
        regulation_address_id=address_id,
        modified_at=terms.now,
    )
