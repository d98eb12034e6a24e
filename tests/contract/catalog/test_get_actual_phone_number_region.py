"""GetActualPhoneNumberRegion on the wire: one region as it is now, for any key, also one without roles."""

from __future__ import annotations

from typing import Any, Final

from tests.kit import world
from tests.kit.world import Town

METHOD: Final = "GetActualPhoneNumberRegion"
HOLLYWOOD: Final[dict[str, Any]] = {
    "country_code": "US",
    "phone_category_name": "GEOGRAPHIC",
    "phone_region_id": world.HOLLYWOOD,
}
MOSCOW: Final[dict[str, Any]] = {
    "country_code": "RU",
    "phone_category_name": "GEOGRAPHIC",
    "phone_region_id": world.MOSCOW,
}


async def test_it_is_the_same_object_as_in_the_list(town: Town) -> None:
    for asked in (HOLLYWOOD, MOSCOW, MOSCOW | {"locale": "RU"}, HOLLYWOOD | {"country_state": "CA"}):
        answer = await town.call(METHOD, asked)
        [listed] = (await town.call("GetPhoneNumberRegions", asked))["result"]
        assert answer == {"result": listed}, asked
    assert answer["result"]["phone_region_id"] == world.HOLLYWOOD


async def test_the_stock_is_fresh(town: Town) -> None:
    await town.call("AttachPhoneNumber", HOLLYWOOD | {"phone_count": 5})
    assert (await town.call(METHOD, HOLLYWOOD))["result"]["phone_count"] == 2_995


async def test_a_region_without_stock_is_shown(town: Town) -> None:
    found = (await town.call(METHOD, HOLLYWOOD | {"phone_region_id": world.EMPTY}))["result"]
    assert (found["phone_region_name"], found["phone_count"]) == ("Ghost Town", 0)


async def test_a_key_without_any_role_is_enough(town: Town) -> None:
    nobody = world.role_key(None)
    assert (await town.call(METHOD, HOLLYWOOD, key_id=nobody))["result"]["phone_count"] == 3_000
    assert (await town.call("GetPhoneNumberRegions", HOLLYWOOD, key_id=nobody))["error"]["code"] == 104


async def test_verification_is_the_callers(town: Town) -> None:
    for account, status in ((world.RUSSIAN_PROGRESS, "IN_PROGRESS"), (world.RUSSIAN_VERIFIED, None)):
        found = (await town.call(METHOD, MOSCOW, account=account))["result"]
        assert found.get("verification_status") == status


async def test_refusals(town: Town) -> None:
    for asked, code, field in (
        ({}, 134, "country_code"),
        ({"country_code": "US"}, 134, "phone_category_name"),
        ({"country_code": "US", "phone_category_name": "GEOGRAPHIC"}, 134, "phone_region_id"),
        (HOLLYWOOD | {"phone_region_id": ""}, 134, "phone_region_id"),
        (HOLLYWOOD | {"country_code": "ZZ"}, 239, "country_code"),
        (HOLLYWOOD | {"phone_category_name": "TOLLFREE"}, 241, "phone_region_id"),
        (HOLLYWOOD | {"phone_category_name": "MOBILE"}, 240, "phone_category_name"),
        (HOLLYWOOD | {"phone_region_id": world.MOSCOW}, 241, "phone_region_id"),
        (HOLLYWOOD | {"country_state": "NY"}, 242, "country_state"),
        (HOLLYWOOD | {"country_state": "ZZ"}, 242, "country_state"),
        (HOLLYWOOD | {"locale": "DE"}, 496, "locale"),
    ):
        error = (await town.call(METHOD, asked))["error"]
        assert (error["code"], error["field_name"]) == (code, field), asked
