"""Browse the catalogue: countries, states and regions, with stock and prices for the calling account."""

from __future__ import annotations

import msgspec

from numberline.domain import errors
from numberline.domain.catalog import Catalog, Country, Region, Rule
from numberline.domain.errors import Refusal
from numberline.domain.pricing import quote
from numberline.domain.verification import VERIFIED
from numberline.domain.working_set import Buyer
from numberline.service import locale
from numberline.service.context import Call
from numberline.store.transaction import Transaction


class CategoriesOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Which countries to show; `sandbox` is `all`, `true` or `false`."""

    countries: list[str] | None = None
    sandbox: str | None = None
    locale: str | None = None


class CategoryView(msgspec.Struct, frozen=True):
    """One kind of numbers of a country."""

    category: str
    has_states: bool
    country_name: str
    category_name: str
    region_name: str


class CountryView(msgspec.Struct, frozen=True):
    """A country and the kinds of numbers it has."""

    country: str
    name: str
    calling_code: str
    can_list: bool
    categories: list[CategoryView]
    emergency_calls: bool


class StatesOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Which states to show."""

    country: str
    category: str | None = None
    state: str | None = None


class StateView(msgspec.Struct, frozen=True):
    """A state of a country that is sold by state."""

    code: str
    name: str


class RegionsOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Which regions to show; `omit_empty` leaves out those without stock."""

    country: str
    category: str
    state: str | None = None
    omit_empty: bool = True
    region_id: int | None = None
    region_name: str | None = None
    area_code: str | None = None
    locale: str | None = None


class RegionOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Which region to show."""

    country: str
    category: str
    region_id: int
    state: str | None = None
    locale: str | None = None


class RegionView(msgspec.Struct, frozen=True, kw_only=True):
    """A region with its stock, requirements and prices.

    `local_*` are in the price list's currency, the other prices in the account's; all in micros and absent where no
    price is set.
    """

    region_id: int
    name: str
    area_code: str
    free_count: int
    required_verification: str | None
    verification_status: str | None
    needs_address: bool | None
    address_type: str | None
    sms: bool
    country: str
    country_name: str
    category: str
    category_name: str
    localized_name: str
    currency: str
    fee_micros: int | None = None
    setup_micros: int | None = None
    fee_tax_micros: int | None = None
    setup_tax_micros: int | None = None
    local_fee_micros: int | None = None
    local_setup_micros: int | None = None
    local_currency: str | None = None
    period: str = "0-1-0 0:0:0"


async def list_categories(call: Call, order: CategoriesOrder) -> list[CountryView]:
    """List the countries that have regions in the catalogue, with their kinds of numbers.

    Test numbers and real ones alike unless `sandbox` asks otherwise. Refuses an unknown country.
    """
    catalog = await call.services.catalog.current()
    if order.countries is None:
        countries = sorted(catalog.countries.values(), key=lambda country: country.code)
    else:
        countries = [catalog.country(code) for code in order.countries]
    views = [_country_view(catalog, country, order) for country in countries]
    return [view for view in views if view.categories]


async def list_states(call: Call, order: StatesOrder) -> list[StateView]:
    """List the states of a country; empty where it is not sold by state. Refuses what the catalogue lacks."""
    catalog = await call.services.catalog.current()
    country = catalog.country(order.country)
    if order.category is not None and not catalog.has_states(
        country.code, catalog.category(country, order.category)
    ):
        return []
    chosen = catalog.state(country, order.state)
    return [
        StateView(one.code, one.name) for one in catalog.states_of(country.code) if chosen in (None, one.code)
    ]


async def list_regions(call: Call, order: RegionsOrder) -> list[RegionView]:
    """List the regions of a country and category, by name.

    Refuses what the catalogue lacks, and a country that is looked up by state when no state, region, name or code
    narrows the list.
    """
    catalog = await call.services.catalog.current()
    country = catalog.country(order.country)
    category = catalog.category(country, order.category)
    state = catalog.state(country, order.state)
    if order.region_id is not None:
        regions = [catalog.region(country, category, state, order.region_id)]
    elif (
        state is None
        and catalog.has_states(country.code, category)
        and not (order.region_name or order.area_code)
    ):
        raise Refusal(errors.INVALID_STATE)
    else:
        regions = [one for one in catalog.regions_of(country.code, category) if _is_wanted(one, order, state)]
    views = await _region_views(call, catalog, regions, order.locale)
    shown = [view for view in views if view.free_count or not order.omit_empty]
    return sorted(shown, key=lambda view: (view.name, view.area_code, view.region_id))


async def show_region(call: Call, order: RegionOrder) -> RegionView:
    """Show one region with its present stock. Refuses what the catalogue lacks."""
    catalog = await call.services.catalog.current()
    country = catalog.country(order.country)
    category = catalog.category(country, order.category)
    region = catalog.region(country, category, catalog.state(country, order.state), order.region_id)
    return (await _region_views(call, catalog, [region], order.locale))[0]


def _country_view(catalog: Catalog, country: Country, order: CategoriesOrder) -> CountryView:
    categories = [
        code for code in catalog.categories_of(country.code) if _fits_sandbox(catalog, country, code, order)
    ]
    name = locale.country_name(country, order.locale)
    rules = [catalog.position_rule(country.code, category) for category in categories]
    return CountryView(
        country=country.code,
        name=name,
        calling_code=country.calling_code,
        can_list=any(rule.can_list for rule in rules),
        categories=[
            CategoryView(
                category=category,
                has_states=catalog.has_states(country.code, category),
                country_name=name,
                category_name=locale.category_name(category, order.locale),
                region_name=locale.region_word(order.locale),
            )
            for category in categories
        ],
        emergency_calls=any(rule.emergency_calls for rule in rules),
    )


def _fits_sandbox(catalog: Catalog, country: Country, category: str, order: CategoriesOrder) -> bool:
    """Tell whether a category has regions of the wanted sort: real ones, test ones, or either."""
    if order.sandbox in (None, "all"):
        return True
    wanted = order.sandbox == "true"
    return any(
        catalog.rule(region).sandbox == wanted for region in catalog.regions_of(country.code, category)
    )


def _is_wanted(region: Region, order: RegionsOrder, state: str | None) -> bool:
    if state is not None and region.state != state:
        return False
    if order.area_code is not None and region.area_code != order.area_code.strip():
        return False
    if order.region_name is None:
        return True
    return order.region_name.strip().casefold() in (region.name_en.casefold(), region.name_ru.casefold())


async def _region_views(
    call: Call, catalog: Catalog, regions: list[Region], language: str | None
) -> list[RegionView]:
    offer_ids = [offer.id for region in regions for offer in catalog.offers_of(region.id)]
    account_id = call.caller.account.id

    async def ask(store: Transaction) -> tuple[dict[int, int], Buyer | None]:
        return await store.count_free(offer_ids) if offer_ids else {}, await store.find_buyer(account_id)

    services, key = call.services, ("free", account_id, tuple(offer_ids))
    counts, buyer = await services.shared.read(
        key, lambda: services.store.read(ask), state=call.caller.known_in
    )
    assert buyer is not None, "a caller has an account"
    return [_region_view(catalog, region, counts, buyer, language) for region in regions]


def _region_view(
    catalog: Catalog, region: Region, counts: dict[int, int], buyer: Buyer, language: str | None
) -> RegionView:
    rule = catalog.rule(region)
    view = RegionView(
        region_id=region.id,
        name=region.name_en,
        area_code=region.area_code,
        free_count=sum(counts.get(offer.id, 0) for offer in catalog.offers_of(region.id)),
        required_verification=None,
        verification_status=None,
        needs_address=True if rule.regulation_address else None,
        address_type=rule.regulation_address or None,
        sms=rule.sms,
        country=region.country,
        country_name=locale.country_name(catalog.countries[region.country], language),
        category=region.category,
        category_name=locale.category_name(region.category, language),
        localized_name=locale.region_name(region, language),
        currency=buyer.account.currency,
    )
    stocked = [offer.tier for offer in catalog.offers_of(region.id) if counts.get(offer.id)]
    return _with_prices(
        catalog, region, stocked[0] if stocked else "", _with_verification(view, rule, buyer), buyer
    )


def _with_verification(view: RegionView, rule: Rule, buyer: Buyer) -> RegionView:
    """Show a verification only where it is demanded and still missing."""
    held = buyer.verification(rule.verification)
    if not rule.verification or held.status == VERIFIED:
        return view
    return msgspec.structs.replace(
        view, required_verification=rule.verification, verification_status=held.status
    )


def _with_prices(catalog: Catalog, region: Region, tier: str, view: RegionView, buyer: Buyer) -> RegionView:
    """Show the prices a buyer by count would meet now, and only where the account could be charged."""
    price = catalog.price(region, tier)
    try:
        priced = quote(catalog, region, tier, buyer.account.currency, buyer.account.billing_country)
    except Refusal:
        return view
    is_free = catalog.rule(region).sandbox
    return msgspec.structs.replace(
        view,
        fee_micros=priced.month_micros,
        setup_micros=priced.setup_micros,
        fee_tax_micros=priced.month_reserve_micros,
        setup_tax_micros=priced.setup_reserve_micros,
        local_fee_micros=None if price is None else 0 if is_free else price.monthly_micros,
        local_setup_micros=None if price is None else 0 if is_free else price.setup_micros,
        local_currency=price.currency if price else None,
    )
