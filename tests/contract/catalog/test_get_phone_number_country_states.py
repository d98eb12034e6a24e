"""GetPhoneNumberCountryStates on the wire: the states of a country that is sold by state."""

from __future__ import annotations

from typing import Any, Final

from tests.kit.world import Town

METHOD: Final = "GetPhoneNumberCountryStates"
CALIFORNIA: Final = {"country_state": "CA", "country_state_name": "California"}
NEW_YORK: Final = {"country_state": "NY", "country_state_name": "New York"}
TEXAS: Final = {"country_state": "TX", "country_state_name": "Texas"}


async def test_states_by_name(town: Town) -> None:
    answer = await town.call(METHOD, {"country_code": "US", "phone_category_name": "GEOGRAPHIC"})
    assert answer == {"result": [CALIFORNIA, NEW_YORK, TEXAS], "count": 3}


async def test_what_narrows_the_list(town: Town) -> None:
    asked: list[tuple[dict[str, Any], list[dict[str, str]]]] = [
        ({"country_code": "us"}, [CALIFORNIA, NEW_YORK, TEXAS]),
        ({"country_code": "US", "phone_category_name": "local"}, [CALIFORNIA, NEW_YORK, TEXAS]),
        ({"country_code": "US", "country_state": "ny"}, [NEW_YORK]),
        ({"country_code": "US", "phone_category_name": "TOLLFREE"}, []),
        ({"country_code": "DE"}, []),
        ({"country_code": "DE", "phone_category_name": "GEOGRAPHIC"}, []),
    ]
    for params, expected in asked:
        answer = await town.call(METHOD, params)
        assert answer == {"result": expected, "count": len(expected)}, params


async def test_refusals(town: Town) -> None:
    for asked, code, field in (
        ({}, 134, "country_code"),
        ({"country_code": "ZZ"}, 239, "country_code"),
        ({"country_code": "US", "phone_category_name": "MOBILE"}, 240, "phone_category_name"),
        ({"country_code": "US", "country_state": "ZZ"}, 242, "country_state"),
        ({"country_code": "DE", "country_state": "CA"}, 242, "country_state"),
    ):
        error = (await town.call(METHOD, asked))["error"]
        assert (error["code"], error["field_name"]) == (code, field), asked
