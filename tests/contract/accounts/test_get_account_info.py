"""GetAccountInfo on the wire: who the caller is, and money that adds up before and after a purchase."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import urlencode

from numberline.api.codec import RawRequest
from tests.kit import world
from tests.kit.world import API_KEY, Town

METHOD: Final = "GetAccountInfo"
LOCAL: Final[dict[str, Any]] = {
    "country_code": "US",
    "phone_category_name": "local",
    "phone_region_id": world.HOLLYWOOD,
}


async def _with_api_key(town: Town, params: dict[str, Any]) -> dict[str, Any]:
    request = RawRequest(command=METHOD, query=urlencode(params).encode())
    answer: dict[str, Any] = json.loads((await town.dispatcher.answer(request)).body)
    return answer


async def test_the_answer_field_by_field(town: Town) -> None:
    assert await town.call(METHOD) == {
        "result": {
            "account_id": world.PARENT,
            "account_name": "account-1000",
            "account_email": "1000@example.test",
            "account_first_name": "Test",
            "created": "2026-01-31 12:30:15",
            "billing_address_country_code": "US",
            "active": True,
            "frozen": False,
            "balance": 100_000,
            "live_balance": 100_000,
            "fixed_balance": 100_000,
            "money_on_hold": 0,
            "credit_limit": 0,
            "currency": "USD",
        },
        "api_address": "localhost:8443",
        "debugger_address": "localhost:8443",
    }


async def test_a_purchase_moves_the_balance_and_holds_the_month(town: Town) -> None:
    await town.call("AttachPhoneNumber", LOCAL | {"phone_count": 2})
    found = (await town.call(METHOD))["result"]
    # Twice 2 dollars and 8.25 % at once, twice 1 dollar and 8.25 % held.
    assert found["fixed_balance"] == 99_995.67
    assert found["money_on_hold"] == 2.165
    assert found["balance"] == found["live_balance"] == 99_993.505
    assert round(found["fixed_balance"] - found["money_on_hold"], 6) == found["balance"]


async def test_roubles_are_charged_at_once_and_spelled_as_the_vendor_does(town: Town) -> None:
    asked = {"country_code": "RU", "phone_category_name": "GEOGRAPHIC", "phone_region_id": world.MOSCOW}
    await town.call("AttachPhoneNumber", asked, account=world.RUSSIAN_VERIFIED)
    found = (await town.call(METHOD, account=world.RUSSIAN_VERIFIED))["result"]
    assert found["currency"] == "RUR"
    assert (found["balance"], found["fixed_balance"], found["money_on_hold"]) == (99_820, 99_820, 0)


async def test_the_live_balance_may_be_declined(town: Town) -> None:
    for asked, is_shown in (
        ({}, True),
        ({"return_live_balance": "true"}, True),
        ({"return_live_balance": "False"}, False),
    ):
        found = (await town.call(METHOD, asked))["result"]
        assert ("live_balance" in found) is is_shown, asked
        assert found["balance"] == 100_000


async def test_the_api_key_is_shown_only_to_who_presented_it(town: Town) -> None:
    for who in (
        {"account_id": world.PARENT},
        {"account_name": "account-1000"},
        {"account_email": "1000@example.test"},
    ):
        found = (await _with_api_key(town, {**who, "api_key": API_KEY}))["result"]
        assert (found["account_id"], found["api_key"]) == (world.PARENT, API_KEY)
    assert "api_key" not in (await town.call(METHOD))["result"]
    assert "api_key" not in (await town.call(METHOD, {"api_key": API_KEY}))["result"], "the header wins"


async def test_a_wrong_or_half_given_api_key_is_refused(town: Town) -> None:
    for params in (
        {},
        {"account_id": world.PARENT},
        {"api_key": API_KEY},
        {"account_id": world.PARENT, "api_key": "wrong"},
        {"account_id": world.CHILD, "api_key": API_KEY},
        {"account_id": world.CHILD, "api_key": ""},
        {"account_id": world.PARENT, "account_name": "account-1000", "api_key": API_KEY},
    ):
        assert (await _with_api_key(town, params))["error"]["code"] == 100, params


async def test_a_key_without_any_role_is_enough(town: Town) -> None:
    found = await town.call(METHOD, key_id=world.role_key(None))
    assert found["result"]["account_id"] == world.PARENT


async def test_a_parent_sees_its_childs_account_by_acting_as_it(town: Town) -> None:
    found = await town.call(METHOD, account=world.CHILD, key_id=f"owner-{world.PARENT}")
    assert found["result"]["account_id"] == world.CHILD
    refused = await town.call(METHOD, account=world.STRANGER, key_id=f"owner-{world.PARENT}")
    assert refused["error"]["code"] == 100


async def test_a_frozen_account_may_look_and_an_inactive_one_may_not(town: Town) -> None:
    assert (await town.call(METHOD, account=world.FROZEN))["result"]["frozen"] is True
    assert (await town.call(METHOD, account=world.INACTIVE))["error"]["code"] == 131


async def test_an_account_without_billing_address_has_no_country(town: Town) -> None:
    assert "billing_address_country_code" not in (await town.call(METHOD, account=world.HOMELESS))["result"]


async def test_a_flag_that_is_none_is_refused(town: Town) -> None:
    for value in ("maybe", "2", "да"):
        error = (await town.call(METHOD, {"return_live_balance": value}))["error"]
        assert (error["code"], error["field_name"]) == (496, "return_live_balance"), value
