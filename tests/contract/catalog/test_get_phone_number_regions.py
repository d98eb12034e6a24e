"""GetPhoneNumberRegions on the wire: regions with their stock, what they demand, and the caller's prices."""

from __future__ import annotations

from typing import Any, Final

import pytest

from numberline.api.methods.catalog import REGION
from tests.kit import world
from tests.kit.world import Town

METHOD: Final = "GetPhoneNumberRegions"
US: Final = {"country_code": "US", "phone_category_name": "GEOGRAPHIC"}
CALIFORNIA: Final = US | {"country_state": "CA"}
RUSSIA: Final = {"country_code": "RU", "phone_category_name": "GEOGRAPHIC"}
GERMANY: Final = {"country_code": "DE", "phone_category_name": "GEOGRAPHIC"}

HOLLYWOOD_ITEM: Final[dict[str, Any]] = {
    "phone_region_id": world.HOLLYWOOD,
    "phone_region_name": "Hollywood",
    "phone_region_code": "555",
    "phone_count": 3_000,
    "phone_period": "0-1-0 0:0:0",
    "is_sms_supported": True,
    "multiple_numbers_price": [],
    "localized_country_name": "United States",
    "localized_phone_category_name": "Geographic",
    "localized_phone_region_name": "Hollywood",
    "phone_price": 1,
    "phone_installation_price": 2,
    "phone_tax_reserve": 0.0825,
    "phone_installation_tax_reserve": 0.165,
    "local_price": 1,
    "local_installation_price": 2,
    "local_currency": "USD",
    "account_price": 1,
    "account_installation_price": 2,
    "account_currency": "USD",
    "country_code": "US",
    "phone_category_name": "GEOGRAPHIC",
}


async def _regions(town: Town, asked: dict[str, Any], account: int = world.PARENT) -> list[int]:
    answer = await town.call(METHOD, asked, account=account)
    assert answer["count"] == len(answer["result"])
    return [item["phone_region_id"] for item in answer["result"]]


async def _region(town: Town, asked: dict[str, Any], account: int = world.PARENT) -> dict[str, Any]:
    [item] = (await town.call(METHOD, asked, account=account))["result"]
    assert isinstance(item, dict)
    return item


async def test_an_item_field_by_field(town: Town) -> None:
    asked = CALIFORNIA | {"phone_region_id": world.HOLLYWOOD}
    assert await town.call(METHOD, asked) == {"result": [HOLLYWOOD_ITEM], "count": 1}


def test_every_mandatory_field_of_the_contract_is_declared_as_such() -> None:
    mandatory = {field.wire for field in REGION.fields if not field.optional}
    assert mandatory >= {
        "phone_region_id",
        "phone_region_name",
        "phone_region_code",
        "phone_count",
        "phone_period",
        "is_sms_supported",
        "multiple_numbers_price",
        "localized_country_name",
        "localized_phone_category_name",
        "localized_phone_region_name",
    }


async def test_regions_of_a_state_by_name_without_empty_ones(town: Town) -> None:
    assert await _regions(town, CALIFORNIA) == [world.HOLLYWOOD, world.SANDBOX, world.TWO_TIER]
    assert await _regions(town, US | {"country_state": "NY"}) == [world.NEW_YORK]
    assert await _regions(town, US | {"country_state": "TX"}) == []
    assert await _regions(town, GERMANY) == [world.BERLIN, world.HAMBURG]


async def test_empty_regions_are_shown_when_asked_for(town: Town) -> None:
    assert world.EMPTY not in await _regions(town, CALIFORNIA | {"omit_empty": "true"})
    assert await _regions(town, CALIFORNIA | {"omit_empty": "False"}) == [
        world.EMPTY,
        world.HOLLYWOOD,
        world.SANDBOX,
        world.TWO_TIER,
    ]
    empty = await _region(town, CALIFORNIA | {"omit_empty": "0", "phone_region_id": world.EMPTY})
    assert (empty["phone_count"], empty["phone_price"]) == (0, 1), "a price is known before there is stock"


async def test_a_region_sold_out_is_empty(town: Town) -> None:
    await town.call("AttachPhoneNumber", US | {"phone_region_id": world.NEW_YORK, "phone_count": 3})
    assert await _regions(town, US | {"country_state": "NY"}) == []


async def test_the_stock_is_that_of_all_offers_and_the_price_that_of_the_cheapest(town: Town) -> None:
    asked = CALIFORNIA | {"phone_region_id": world.TWO_TIER}
    item = await _region(town, asked)
    assert (item["phone_count"], item["phone_price"], item["phone_installation_price"]) == (15, 1, 2)
    await town.call("AttachPhoneNumber", US | {"phone_region_id": world.TWO_TIER, "phone_count": 4})
    assert (await _region(town, asked))["phone_count"] == 11


async def test_filters(town: Town) -> None:
    for asked, expected in (
        (US | {"phone_region_id": world.HOLLYWOOD}, [world.HOLLYWOOD]),
        (US | {"phone_region_name": "Hollywood"}, [world.HOLLYWOOD]),
        (US | {"phone_region_name": " hollywood "}, [world.HOLLYWOOD]),
        (US | {"phone_region_name": "голливуд"}, [world.HOLLYWOOD]),
        (US | {"phone_region_name": "Holly"}, []),
        (US | {"phone_region_code": "559"}, [world.NEW_YORK]),
        (US | {"phone_region_code": "55"}, []),
        (CALIFORNIA | {"phone_region_code": "559"}, []),
        (CALIFORNIA | {"phone_region_name": "New York"}, []),
        (CALIFORNIA | {"phone_region_code": "555", "phone_region_name": "Sandbox"}, []),
        (GERMANY | {"phone_region_code": "40"}, [world.HAMBURG]),
        ({"country_code": "us", "phone_category_name": "local", "country_state": "ny"}, [world.NEW_YORK]),
        ({"country_code": "US", "phone_category_name": "TOLLFREE"}, [world.TOLLFREE]),
    ):
        assert await _regions(town, asked) == expected, asked


async def test_names_in_russian(town: Town) -> None:
    item = await _region(town, RUSSIA | {"locale": "RU"})
    assert item["localized_country_name"] == "Россия"
    assert item["localized_phone_category_name"] == "Географический"
    assert item["localized_phone_region_name"] == "Москва"
    assert item["phone_region_name"] == "Moscow"


# --- what a region demands -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("account", "status"),
    [
        (world.PARENT, "REQUIRED"),
        (world.RUSSIAN, "REQUIRED"),
        (world.RUSSIAN_PROGRESS, "IN_PROGRESS"),
        (world.RUSSIAN_VERIFIED, None),
    ],
)
async def test_a_missing_verification_is_told_to_whom_it_concerns(
    town: Town, account: int, status: str | None
) -> None:
    item = await _region(town, RUSSIA, account)
    assert item.get("verification_status") == status
    assert item.get("required_verification") == ("RU" if status else None)
    elsewhere = await _region(town, US | {"country_state": "NY"}, account)
    assert not {"verification_status", "required_verification"} & elsewhere.keys()


async def test_a_demanded_address_is_told_and_elsewhere_left_out(town: Town) -> None:
    item = await _region(town, GERMANY | {"phone_region_code": "30"})
    assert (item["is_need_regulation_address"], item["regulation_address_type"]) == (True, "LOCAL")
    elsewhere = await _region(town, RUSSIA)
    assert not {"is_need_regulation_address", "regulation_address_type"} & elsewhere.keys()
    assert elsewhere["is_sms_supported"] is False


# --- prices ----------------------------------------------------------------------------------------------------

# Fee, set-up, their taxes; the price list's fee, set-up and currency; the account's currency.
PRICES: Final[list[tuple[int, dict[str, Any], tuple[float, ...], tuple[float, float, str], str]]] = [
    (world.PARENT, RUSSIA, (1.325967, 0.662983, 0.109392, 0.054696), (120, 60, "RUR"), "USD"),
    (world.RUSSIAN, RUSSIA, (120, 60, 0, 0), (120, 60, "RUR"), "RUR"),
    (world.GERMAN, GERMANY | {"phone_region_code": "30"}, (0.99, 10, 0.1881, 1.9), (0.99, 10, "EUR"), "EUR"),
    (world.GERMAN, US | {"country_state": "NY"}, (0.92, 1.84, 0.1748, 0.3496), (1, 2, "USD"), "EUR"),
    (world.PARENT, US | {"phone_region_id": world.SANDBOX}, (0, 0, 0, 0), (0, 0, "USD"), "USD"),
]


async def test_prices_of_the_list_and_of_the_account(town: Town) -> None:
    for account, asked, (fee, setup, fee_tax, setup_tax), local, currency in PRICES:
        item = await _region(town, asked, account)
        assert (item["phone_price"], item["phone_installation_price"]) == (fee, setup), asked
        assert (item["account_price"], item["account_installation_price"]) == (fee, setup), asked
        assert (item["phone_tax_reserve"], item["phone_installation_tax_reserve"]) == (fee_tax, setup_tax), (
            asked
        )
        found = (item["local_price"], item["local_installation_price"], item["local_currency"])
        assert found == local, asked
        assert item["account_currency"] == currency
        assert item["multiple_numbers_price"] == []


@pytest.mark.parametrize(
    ("account", "asked"),
    [
        (world.PARENT, {"country_code": "FR", "phone_category_name": "GEOGRAPHIC"}),
        (world.POLE, GERMANY | {"phone_region_code": "30"}),
        (world.HOMELESS, GERMANY | {"phone_region_code": "30"}),
    ],
)
async def test_where_nothing_could_be_charged_there_is_no_price(
    town: Town, account: int, asked: dict[str, str]
) -> None:
    item = await _region(town, asked, account)
    assert item["phone_count"] > 0
    priced = {name for name in item if name.endswith(("_price", "_reserve", "local_currency"))}
    assert priced == {"multiple_numbers_price"}


# --- refusals --------------------------------------------------------------------------------------------------


async def test_every_refusal_has_its_code(town: Town) -> None:
    for asked, code, field in (
        ({}, 134, "country_code"),
        ({"country_code": "US"}, 134, "phone_category_name"),
        (US, 242, "country_state"),
        (US | {"omit_empty": "false"}, 242, "country_state"),
        (US | {"country_state": "ZZ"}, 242, "country_state"),
        (GERMANY | {"country_state": "CA"}, 242, "country_state"),
        (US | {"country_state": "NY", "phone_region_id": world.HOLLYWOOD}, 242, "country_state"),
        (US | {"country_code": "ZZ"}, 239, "country_code"),
        (US | {"phone_category_name": "MOBILE"}, 240, "phone_category_name"),
        (US | {"phone_region_id": world.BERLIN}, 241, "phone_region_id"),
        (US | {"phone_region_id": 9_999}, 241, "phone_region_id"),
        (CALIFORNIA | {"omit_empty": "perhaps"}, 496, "omit_empty"),
        (CALIFORNIA | {"locale": "DE"}, 496, "locale"),
    ):
        error = (await town.call(METHOD, asked))["error"]
        assert (error["code"], error["field_name"]) == (code, field), asked
