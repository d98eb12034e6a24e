"""The methods that browse the catalogue and search the stock."""

from __future__ import annotations

from typing import Final

from numberline.api.method import Answer, Effect, Example, Field, Form, Kind, Method, Param, Shape
from numberline.domain import errors, limits
from numberline.domain.access import ANYONE_EVEN_WITHOUT_ROLES, Role, any_of
from numberline.service.browse import (
    CategoriesOrder,
    CategoryView,
    CountryView,
    RegionOrder,
    RegionsOrder,
    RegionView,
    StatesOrder,
    StateView,
    list_categories,
    list_regions,
    list_states,
    show_region,
)
from numberline.service.search import FreeNumber, SearchOrder, search_numbers

GROUP: Final = "PhoneNumbers"

_BROWSERS: Final = any_of(Role.OWNER, Role.ADMIN, Role.ACCOUNTANT, Role.PAYER)
_LOCALES: Final = ("EN", "RU")


def _country(doc: str, *, required: bool = False, documented_required: bool = False) -> Param:
    return Param(
        wire="country_code",
        into="country",
        doc=doc,
        example="US",
        required=required,
        documented_required=documented_required,
        refused_as=errors.INVALID_COUNTRY,
    )


def _category(*, required: bool = False, documented_required: bool = False) -> Param:
    return Param(
        wire="phone_category_name",
        into="category",
        doc="The kind of number, as GetPhoneNumberCategories names it.",
        example="GEOGRAPHIC",
        required=required,
        documented_required=documented_required,
        refused_as=errors.INVALID_CATEGORY,
    )


def _region(*, required: bool = False, documented_required: bool = False) -> Param:
    return Param(
        wire="phone_region_id",
        into="region_id",
        doc="The region, as GetPhoneNumberRegions numbers it.",
        example=101,
        required=required,
        documented_required=documented_required,
        refused_as=errors.INVALID_REGION,
    )


_STATE: Final = Param(
    wire="country_state",
    into="state",
    doc="The state, in countries that are sold by state.",
    example="CA",
    refused_as=errors.INVALID_STATE,
)
_LOCALE: Final = Param(
    wire="locale",
    into="locale",
    doc="The language of the `localized_` members.",
    choices=_LOCALES,
    default="EN",
)
_PLACE_REFUSALS: Final = (
    (errors.INVALID_COUNTRY, "country_code"),
    (errors.INVALID_CATEGORY, "phone_category_name"),
    (errors.INVALID_REGION, "phone_region_id"),
    (errors.INVALID_STATE, "country_state"),
)
_PRICE_REFUSALS: Final = ((errors.NOT_PRICED, None), (errors.BILLING_ADDRESS_REQUIRED, None))

FREE: Final = Shape(
    "NewPhoneInfoType",
    FreeNumber,
    (
        Field(
            "phone_id",
            "number",
            Kind.INTEGER,
            "The id of the number: the number itself; kept when it is bought.",
        ),
        Field("phone_number", "number", Kind.NUMBER, "The number, international, digits only."),
        Field("phone_price", "fee_micros", Kind.MONEY, "The monthly fee without tax."),
        Field("phone_installation_price", "setup_micros", Kind.MONEY, "The one-off fee without tax."),
        Field("phone_country_code", "country", Kind.TEXT, "The country of the number."),
        Field(
            "phone_period",
            "period",
            Kind.TEXT,
            "What the monthly fee pays for: years-months-days and a time.",
        ),
        Field("phone_category_name", "category", Kind.TEXT, "The kind of number."),
        Field("phone_region_name", "region_name", Kind.TEXT, "The region of the number."),
        Field(
            "phone_installation_tax_reserve", "setup_tax_micros", Kind.MONEY, "The tax on the one-off fee."
        ),
        Field("phone_tax_reserve", "fee_tax_micros", Kind.MONEY, "The tax on the monthly fee."),
    ),
)

GET_NEW_PHONE_NUMBERS: Final = Method(
    wire="GetNewPhoneNumbers",
    summary="Search the stock for numbers that can be bought by exact value.",
    group=GROUP,
    roles=any_of(Role.OWNER, Role.ADMIN, Role.ACCOUNTANT),
    effect=Effect.READS,
    order=SearchOrder,
    run=search_numbers,
    notes="Country, category and region are given together. Money is in the account's currency.",
    params=(
        _country("The country, two letters of ISO 3166.", documented_required=True),
        _category(documented_required=True),
        _region(documented_required=True),
        _STATE,
        Param(
            wire="count",
            into="count",
            doc=f"How many numbers a page holds; above {limits.PAGE_SIZE} it is lowered to that.",
            at_least=1,
            capped_at=limits.PAGE_SIZE,
        ),
        Param(wire="offset", into="offset", doc="How many numbers to skip."),
        Param(
            wire="phone_number_mask",
            into="mask",
            doc="Digits the number shall have; `*` stands for any run of digits, also none.",
            example="1555*26",
            refused_as=errors.INVALID_NUMBER,
        ),
    ),
    together=(("country_code", "phone_category_name", "phone_region_id"),),
    answer=Answer(form=Form.PAGE, shape=FREE),
    refusals=(
        *_PLACE_REFUSALS,
        *_PRICE_REFUSALS,
        (errors.INVALID_NUMBER, "phone_number_mask"),
        (errors.NOT_LISTED, None),
        (errors.NO_STOCK, None),
    ),
    example=Example(
        {"country_code": "US", "phone_category_name": "GEOGRAPHIC", "phone_region_id": "101", "count": "1"},
        {
            "result": [
                {
                    "phone_id": 15552850126,
                    "phone_number": "15552850126",
                    "phone_price": 0.45,
                    "phone_installation_price": 10.2,
                    "phone_country_code": "US",
                    "phone_period": "0-1-0 0:0:0",
                    "phone_category_name": "GEOGRAPHIC",
                    "phone_region_name": "California",
                    "phone_installation_tax_reserve": 0,
                    "phone_tax_reserve": 0,
                }
            ],
            "total_count": 400,
            "count": 1,
        },
    ),
)

CATEGORY: Final = Shape(
    "PhoneNumberCountryCategoryInfoType",
    CategoryView,
    (
        Field("phone_category_name", "category", Kind.TEXT, "The kind of number."),
        Field("country_has_states", "has_states", Kind.BOOLEAN, "Whether this kind is sold by state."),
        Field("localized_country_name", "country_name", Kind.TEXT, "The country's name."),
        Field("localized_phone_category_name", "category_name", Kind.TEXT, "The kind's name."),
        Field(
            "localized_phone_region_name",
            "region_name",
            Kind.TEXT,
            "The region's name, where there is only one.",
        ),
    ),
)
COUNTRY: Final = Shape(
    "PhoneNumberCountryInfoType",
    CountryView,
    (
        Field("country_code", "country", Kind.TEXT, "The country, two letters of ISO 3166."),
        Field("localized_country_name", "name", Kind.TEXT, "The country's name."),
        Field("phone_prefix", "calling_code", Kind.TEXT, "The country's calling code."),
        Field(
            "can_list_phone_numbers",
            "can_list",
            Kind.BOOLEAN,
            "Whether GetNewPhoneNumbers lists numbers; otherwise they are bought by count.",
        ),
        Field(
            "phone_categories", "categories", Kind.OBJECT, "The kinds of numbers.", shape=CATEGORY, many=True
        ),
        Field(
            "emergency_calls_to_be_enabled",
            "emergency_calls",
            Kind.BOOLEAN,
            "Whether emergency calls can be enabled.",
        ),
    ),
)

GET_PHONE_NUMBER_CATEGORIES: Final = Method(
    wire="GetPhoneNumberCategories",
    summary="List countries and the kinds of numbers each has.",
    group=GROUP,
    roles=_BROWSERS,
    effect=Effect.READS,
    order=CategoriesOrder,
    run=list_categories,
    params=(
        Param(
            wire="country_code",
            into="countries",
            doc="Only these countries.",
            example="US",
            refused_as=errors.INVALID_COUNTRY,
        ),
        Param(
            wire="sandbox",
            into="sandbox",
            doc="Test numbers, real numbers, or both.",
            choices=("all", "true", "false"),
        ),
        _LOCALE,
    ),
    answer=Answer(form=Form.LIST, shape=COUNTRY, counted=True),
    refusals=((errors.INVALID_COUNTRY, "country_code"),),
    example=Example(
        {"country_code": "US"},
        {
            "result": [
                {
                    "country_code": "US",
                    "localized_country_name": "United States",
                    "phone_prefix": "1",
                    "can_list_phone_numbers": True,
                    "phone_categories": [
                        {
                            "phone_category_name": "GEOGRAPHIC",
                            "country_has_states": True,
                            "localized_country_name": "United States",
                            "localized_phone_category_name": "Geographic",
                            "localized_phone_region_name": "",
                        }
                    ],
                    "emergency_calls_to_be_enabled": False,
                }
            ],
            "count": 1,
        },
    ),
)

STATE: Final = Shape(
    "PhoneNumberCountryStateInfoType",
    StateView,
    (
        Field("country_state", "code", Kind.TEXT, "The state's code."),
        Field("country_state_name", "name", Kind.TEXT, "The state's name."),
    ),
)

GET_PHONE_NUMBER_COUNTRY_STATES: Final = Method(
    wire="GetPhoneNumberCountryStates",
    summary="List the states of a country that is sold by state.",
    group=GROUP,
    roles=_BROWSERS,
    effect=Effect.READS,
    order=StatesOrder,
    run=list_states,
    notes="A country that is not sold by state has an empty list.",
    params=(
        _country("The country, two letters of ISO 3166.", required=True),
        _category(documented_required=True),
        _STATE,
    ),
    answer=Answer(form=Form.LIST, shape=STATE, counted=True),
    refusals=(
        (errors.INVALID_COUNTRY, "country_code"),
        (errors.INVALID_CATEGORY, "phone_category_name"),
        (errors.INVALID_STATE, "country_state"),
    ),
    example=Example(
        {"country_code": "US", "phone_category_name": "GEOGRAPHIC", "country_state": "AL"},
        {"result": [{"country_state": "AL", "country_state_name": "Alabama"}], "count": 1},
    ),
)

REGION: Final = Shape(
    "PhoneNumberCountryRegionInfoType",
    RegionView,
    (
        Field("phone_region_id", "region_id", Kind.INTEGER, "The region's id."),
        Field("phone_region_name", "name", Kind.TEXT, "The region's name."),
        Field("phone_region_code", "area_code", Kind.TEXT, "The area code."),
        Field("phone_count", "free_count", Kind.INTEGER, "How many numbers are in stock."),
        Field(
            "verification_status",
            "verification_status",
            Kind.CHOICE,
            "How far the account's verification is; only where it is needed and missing.",
            optional=True,
            choices=("REQUIRED", "IN_PROGRESS"),
        ),
        Field(
            "required_verification",
            "required_verification",
            Kind.TEXT,
            "The country whose account verification is missing.",
            optional=True,
        ),
        Field(
            "phone_period",
            "period",
            Kind.TEXT,
            "What the monthly fee pays for: years-months-days and a time.",
        ),
        Field(
            "is_need_regulation_address",
            "needs_address",
            Kind.BOOLEAN,
            "Whether an address must be given at purchase.",
            optional=True,
        ),
        Field(
            "regulation_address_type",
            "address_type",
            Kind.CHOICE,
            "Where that address must lie.",
            optional=True,
            choices=("LOCAL", "NATIONAL", "WORLDWIDE"),
        ),
        Field("is_sms_supported", "sms", Kind.BOOLEAN, "Whether its numbers can take SMS."),
        Field(
            "multiple_numbers_price",
            None,
            Kind.TEXT,
            "Offers of several numbers at once; there are none.",
            many=True,
            always_empty=True,
        ),
        Field("localized_country_name", "country_name", Kind.TEXT, "The country's name."),
        Field("localized_phone_category_name", "category_name", Kind.TEXT, "The kind's name."),
        Field(
            "localized_phone_region_name",
            "localized_name",
            Kind.TEXT,
            "The region's name in the language asked for.",
        ),
        Field("phone_price", "fee_micros", Kind.MONEY, "The monthly fee without tax.", optional=True),
        Field(
            "phone_installation_price",
            "setup_micros",
            Kind.MONEY,
            "The one-off fee without tax.",
            optional=True,
        ),
        Field(
            "phone_tax_reserve", "fee_tax_micros", Kind.MONEY, "The tax on the monthly fee.", optional=True
        ),
        Field(
            "phone_installation_tax_reserve",
            "setup_tax_micros",
            Kind.MONEY,
            "The tax on the one-off fee.",
            optional=True,
        ),
        Field(
            "local_price",
            "local_fee_micros",
            Kind.MONEY,
            "The monthly fee in the price list's currency.",
            optional=True,
        ),
        Field(
            "local_installation_price",
            "local_setup_micros",
            Kind.MONEY,
            "The one-off fee in the price list's currency.",
            optional=True,
        ),
        Field("local_currency", "local_currency", Kind.CURRENCY, "The price list's currency.", optional=True),
        Field(
            "account_price",
            "fee_micros",
            Kind.MONEY,
            "The monthly fee in the account's currency.",
            optional=True,
        ),
        Field(
            "account_installation_price",
            "setup_micros",
            Kind.MONEY,
            "The one-off fee in the account's currency.",
            optional=True,
        ),
        Field("account_currency", "currency", Kind.CURRENCY, "The account's currency.", optional=True),
        Field("country_code", "country", Kind.TEXT, "The country, two letters of ISO 3166."),
        Field("phone_category_name", "category", Kind.TEXT, "The kind of number."),
    ),
)
_REGION_EXAMPLE: Final = {
    "phone_region_id": 101,
    "phone_region_name": "California",
    "phone_region_code": "555",
    "phone_count": 1123,
    "phone_period": "0-1-0 0:0:0",
    "is_sms_supported": True,
    "localized_country_name": "United States",
    "localized_phone_category_name": "Geographic",
    "localized_phone_region_name": "California",
    "phone_price": 0.45,
    "phone_installation_price": 10.2,
    "phone_tax_reserve": 0,
    "phone_installation_tax_reserve": 0,
    "local_price": 0.45,
    "local_installation_price": 10.2,
    "local_currency": "USD",
    "account_price": 0.45,
    "account_installation_price": 10.2,
    "account_currency": "USD",
    "country_code": "US",
    "phone_category_name": "GEOGRAPHIC",
    "multiple_numbers_price": [],
}

GET_PHONE_NUMBER_REGIONS: Final = Method(
    wire="GetPhoneNumberRegions",
    summary="List regions with their stock, prices and requirements.",
    group=GROUP,
    roles=_BROWSERS,
    effect=Effect.READS,
    order=RegionsOrder,
    run=list_regions,
    notes="Where a country is sold by state, the state must be given.",
    params=(
        _country("The country, two letters of ISO 3166.", required=True),
        _category(required=True),
        _STATE,
        Param(wire="omit_empty", into="omit_empty", doc="Leave out regions without stock."),
        _region(),
        Param(
            wire="phone_region_name",
            into="region_name",
            doc="Only the region of this name.",
            example="California",
        ),
        Param(
            wire="phone_region_code", into="area_code", doc="Only regions of this area code.", example="555"
        ),
        _LOCALE,
    ),
    answer=Answer(form=Form.LIST, shape=REGION, counted=True),
    refusals=(*_PLACE_REFUSALS, *_PRICE_REFUSALS),
    example=Example(
        {"country_code": "US", "phone_category_name": "GEOGRAPHIC", "country_state": "CA"},
        {"result": [_REGION_EXAMPLE], "count": 1},
    ),
)

GET_ACTUAL_PHONE_NUMBER_REGION: Final = Method(
    wire="GetActualPhoneNumberRegion",
    summary="Show one region with its present stock.",
    group=GROUP,
    roles=ANYONE_EVEN_WITHOUT_ROLES,
    effect=Effect.READS,
    order=RegionOrder,
    run=show_region,
    params=(
        _country("The country, two letters of ISO 3166.", required=True),
        _category(required=True),
        _region(required=True),
        _STATE,
        _LOCALE,
    ),
    answer=Answer(form=Form.OBJECT, shape=REGION),
    refusals=(*_PLACE_REFUSALS, *_PRICE_REFUSALS),
    example=Example(
        {"country_code": "US", "phone_category_name": "GEOGRAPHIC", "phone_region_id": "101"},
        {"result": _REGION_EXAMPLE},
    ),
)

METHODS: Final = (
    GET_NEW_PHONE_NUMBERS,
    GET_PHONE_NUMBER_CATEGORIES,
    GET_PHONE_NUMBER_COUNTRY_STATES,
    GET_PHONE_NUMBER_REGIONS,
    GET_ACTUAL_PHONE_NUMBER_REGION,
)
