"""GetPhoneNumberCategories on the wire: countries with the kinds of numbers they have."""

from __future__ import annotations

from typing import Any, Final

from numberline.domain.access import Role
from tests.kit import world
from tests.kit.world import Town

METHOD: Final = "GetPhoneNumberCategories"


async def _countries(town: Town, asked: dict[str, Any]) -> dict[str, list[str]]:
    answer = await town.call(METHOD, asked)
    assert answer["count"] == len(answer["result"])
    return {
        item["country_code"]: [kind["phone_category_name"] for kind in item["phone_categories"]]
        for item in answer["result"]
    }


async def test_an_item_field_by_field(town: Town) -> None:
    assert await town.call(METHOD, {"country_code": "US"}) == {
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
                        "localized_phone_region_name": "Region",
                    },
                    {
                        "phone_category_name": "TOLLFREE",
                        "country_has_states": False,
                        "localized_country_name": "United States",
                        "localized_phone_category_name": "Toll-free",
                        "localized_phone_region_name": "Region",
                    },
                ],
                "emergency_calls_to_be_enabled": False,
            }
        ],
        "count": 1,
    }


async def test_countries_that_have_regions_are_listed_by_code(town: Town) -> None:
    found = await _countries(town, {})
    assert list(found) == ["DE", "FR", "JP", "RU", "US"], "Antarctica has no numbers"
    assert found["US"] == ["GEOGRAPHIC", "TOLLFREE"]
    assert found["RU"] == ["GEOGRAPHIC"]


async def test_only_the_countries_asked_for(town: Town) -> None:
    assert list(await _countries(town, {"country_code": "ru"})) == ["RU"]
    assert list(await _countries(town, {"country_code": "RU;DE"})) == ["RU", "DE"]
    assert list(await _countries(town, {"country_code": '["JP"]'})) == ["JP"]


async def test_test_numbers_and_real_numbers(town: Town) -> None:
    everything = await _countries(town, {})
    assert await _countries(town, {"sandbox": "all"}) == everything
    assert await _countries(town, {"sandbox": "False"}) == everything
    assert await _countries(town, {"sandbox": "true"}) == {"US": ["GEOGRAPHIC"]}


async def test_names_in_russian(town: Town) -> None:
    for locale in ("RU", "ru"):
        answer = await town.call(METHOD, {"country_code": "DE", "locale": locale})
        [item] = answer["result"]
        [kind] = item["phone_categories"]
        assert item["localized_country_name"] == kind["localized_country_name"] == "Германия"
        assert kind["localized_phone_category_name"] == "Географический"
        assert kind["localized_phone_region_name"] == "Регион"
        assert kind["phone_category_name"] == "GEOGRAPHIC", "names for machines stay as they are"


async def test_emergency_calls_follow_the_rules(town: Town) -> None:
    flags = {
        item["country_code"]: item["emergency_calls_to_be_enabled"]
        for item in (await town.call(METHOD))["result"]
    }
    assert flags == {"DE": True, "FR": False, "JP": False, "RU": False, "US": False}


async def test_refusals(town: Town) -> None:
    for asked, code, field in (
        ({"country_code": "ZZ"}, 239, "country_code"),
        ({"country_code": "US;AQ"}, 239, "country_code"),
        ({"sandbox": "maybe"}, 496, "sandbox"),
        ({"locale": "FR"}, 496, "locale"),
    ):
        error = (await town.call(METHOD, asked))["error"]
        assert (error["code"], error["field_name"]) == (code, field), asked


async def test_a_payer_may_look_and_a_developer_may_not(town: Town) -> None:
    assert "result" in await town.call(METHOD, key_id=world.role_key(Role.PAYER))
    assert (await town.call(METHOD, key_id=world.role_key(Role.DEVELOPER)))["error"]["code"] == 104
