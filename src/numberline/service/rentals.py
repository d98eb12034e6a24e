"""The numbers an account rents."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Final, Literal

import msgspec

from numberline.domain import errors
from numberline.domain.catalog import CATEGORIES, Catalog, canonical_category
from numberline.domain.errors import Refusal
from numberline.domain.paging import Page
from numberline.domain.rental import ACTIVE_STATUS, FROZEN_STATUS
from numberline.domain.verification import VERIFIED
from numberline.service.context import Call
from numberline.store.rentals import ListedRental, RentalFilter

# Instants are shown in whole seconds; one that is shown as the last of an interval lies within it.
_REST_OF_SECOND: Final = timedelta(microseconds=999_999)
_STATUS_IS_FROZEN: Final = {FROZEN_STATUS: True, ACTIVE_STATUS: False}


class RentalsOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Filters (joined by AND; dates inclusive on both ends), order and page of a list of rentals.

    `child_ids` adds the numbers of those children, `"all"` of every child.
    """

    ids: list[int] | None = None
    numbers: list[int] | None = None
    activation_statuses: list[str] | None = None
    application_ids: list[int] | None = None
    application_names: list[str] | None = None
    is_bound: bool | None = None
    template: str | None = None
    countries: list[str] | None = None
    categories: list[str] | None = None
    is_canceled: bool | None = None
    is_frozen: bool | None = None
    auto_charge: bool | None = None
    renews_from: date | None = None
    renews_to: date | None = None
    purchased_from: datetime | None = None
    purchased_to: datetime | None = None
    child_ids: list[int] | Literal["all"] | None = None
    children_only: bool = False
    verification_name: str | None = None
    verification_statuses: list[str] | None = None
    hold_from: date | None = None
    hold_to: date | None = None
    can_be_used: bool | None = None
    order_by: list[str] | None = None
    sandbox: str | None = None
    count: int = 100
    offset: int = 0
    region_names: list[str] | None = None
    rule_ids: list[int] | None = None
    rule_names: list[str] | None = None
    is_bound_to_rule: bool | None = None
    sms_supported: bool | None = None


class RentalView(msgspec.Struct, frozen=True, kw_only=True):
    """A rented number as its owner sees it; the fee is in micros of the account's currency, without tax."""

    number: int
    fee_micros: int
    country: str
    activation_status: str
    renews_on: date
    purchased_at: datetime
    is_frozen: bool
    is_canceled: bool
    auto_charge: bool
    category: str
    required_verification: str | None
    verification_status: str | None
    unverified_until: date | None
    can_be_used: bool
    is_sms_supported: bool
    is_sms_enabled: bool
    emergency_calls_to_be_enabled: bool
    emergency_calls_enabled: bool
    rental_id: int
    region_name: str | None
    modified_at: datetime


class OwnershipOrder(msgspec.Struct, frozen=True, kw_only=True):
    """The number that is asked about."""

    number: int


async def list_rentals(call: Call, order: RentalsOrder) -> Page[RentalView]:
    """List the live rentals of the calling account, and of its children when asked.

    Refuses an account that is no child, and applications, of which there are none; ids that name nothing of the
    account's simply match nothing.
    """
    if order.application_ids:
        raise Refusal(errors.INVALID_APPLICATION)
    if order.application_names:
        raise Refusal(errors.INVALID_APPLICATION_NAME)
    catalog = await call.services.catalog.current()
    account_ids = await _account_ids(call, order)
    frozen = _frozen_states(order)
    wanted = _filter(order, catalog, account_ids, frozen)
    is_bound = order.is_bound or order.is_bound_to_rule or order.rule_ids or order.rule_names
    if is_bound or not account_ids or not frozen:
        return Page([], 0)
    found = await call.services.store.read(lambda ask: ask.list_rentals(wanted), brief=True)
    return Page([_view(one, catalog) for one in found.items], found.total)


async def owns_number(call: Call, order: OwnershipOrder) -> bool:
    """Tell whether the calling account itself rents the number."""
    owner = await call.services.store.read(lambda ask: ask.find_owner(order.number), brief=True)
    return owner is not None and owner == call.caller.account.id


async def _account_ids(call: Call, order: RentalsOrder) -> list[int]:
    """Whose rentals are to be listed."""
    own = [] if order.children_only else [call.caller.account.id]
    if order.child_ids is None and not order.children_only:
        return own
    children = await call.services.store.read(lambda ask: ask.child_ids(call.caller.account.id), brief=True)
    chosen = children if order.child_ids in (None, "all") else order.child_ids
    if not set(chosen) <= set(children):
        raise Refusal(errors.INVALID_CHILD)
    return own + [child for child in children if child in chosen]


def _filter(order: RentalsOrder, catalog: Catalog, account_ids: list[int], frozen: set[bool]) -> RentalFilter:
    numbers = order.numbers
    if order.ids is not None:
        # A number is its own id on the wire.
        numbers = order.ids if numbers is None else [number for number in order.ids if number in numbers]
    return RentalFilter(
        account_ids=account_ids,
        numbers=numbers,
        template=order.template,
        region_ids=_region_ids(order, catalog),
        is_canceled=order.is_canceled,
        is_frozen=None if len(frozen) > 1 else next(iter(frozen), None),
        auto_charge=order.auto_charge,
        renews_from=order.renews_from,
        renews_to=order.renews_to,
        purchased_from=order.purchased_from,
        purchased_to=None if order.purchased_to is None else order.purchased_to + _REST_OF_SECOND,
        verification_name=order.verification_name,
        verification_statuses=order.verification_statuses,
        hold_from=order.hold_from,
        hold_to=order.hold_to,
        can_be_used=order.can_be_used,
        order_by=tuple(order.order_by or ()),
        count=order.count,
        offset=order.offset,
    )


def _categories(order: RentalsOrder) -> list[str] | None:
    if order.categories is None:
        return None
    categories = [canonical_category(name) for name in order.categories]
    if not set(categories) <= set(CATEGORIES):
        raise Refusal(errors.INVALID_CATEGORY)
    return categories


def _frozen_states(order: RentalsOrder) -> set[bool]:
    """Which of frozen and not frozen pass both the flag and the activation status, which follows from the flag."""
    states = {True, False} if order.is_frozen is None else {order.is_frozen}
    if order.activation_statuses is not None:
        states &= {
            _STATUS_IS_FROZEN[status] for status in order.activation_statuses if status in _STATUS_IS_FROZEN
        }
    return states


def _region_ids(order: RentalsOrder, catalog: Catalog) -> list[int] | None:
    """The regions that fit the filters on places, names, SMS and test numbers; None when there is no such filter."""
    sandbox = None if order.sandbox in (None, "all") else order.sandbox == "true"
    countries = None if order.countries is None else {catalog.country(code).code for code in order.countries}
    categories = _categories(order)
    # Compared here and not in the store: engines differ in what they take for the same letter in another case.
    names = None if order.region_names is None else {name.casefold() for name in order.region_names}
    if all(asked is None for asked in (countries, categories, names, sandbox, order.sms_supported)):
        return None
    return [
        region.id
        for region in catalog.regions.values()
        if (countries is None or region.country in countries)
        and (categories is None or region.category in categories)
        and (names is None or not names.isdisjoint((region.name_en.casefold(), region.name_ru.casefold())))
        and sandbox in (None, catalog.rule(region).sandbox)
        and order.sms_supported in (None, catalog.rule(region).sms)
    ]


def _view(found: ListedRental, catalog: Catalog) -> RentalView:
    rental = found.rental
    region = catalog.regions[rental.region_id]
    rule = catalog.rule(region)
    return RentalView(
        number=rental.number,
        fee_micros=rental.fee_micros,
        country=region.country,
        activation_status=FROZEN_STATUS if rental.is_frozen else ACTIVE_STATUS,
        renews_on=rental.renews_on,
        purchased_at=rental.purchased_at,
        is_frozen=rental.is_frozen,
        is_canceled=rental.is_canceled,
        auto_charge=rental.auto_charge,
        category=region.category,
        required_verification=rental.verification or None,
        verification_status=found.verification_status,
        unverified_until=rental.unverified_until,
        can_be_used=found.verification_status in (None, VERIFIED),
        is_sms_supported=rule.sms,
        is_sms_enabled=False,
        emergency_calls_to_be_enabled=rule.emergency_calls,
        emergency_calls_enabled=False,
        rental_id=rental.id,
        region_name=region.name_en,
        modified_at=rental.modified_at,
    )
