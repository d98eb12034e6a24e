"""AttachPhoneNumber on the wire: what it answers, what it costs, and every way it refuses."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from numberline.api.methods import REGISTRY
from numberline.api.registry import refusals_of
from numberline.domain import errors
from numberline.domain.errors import ErrorKind
from tests.kit import world
from tests.kit.world import UNIT, Town, snapshot

METHOD = "AttachPhoneNumber"
LOCAL: dict[str, Any] = {
    "country_code": "US",
    "phone_category_name": "local",
    "phone_region_id": world.HOLLYWOOD,
}
BERLIN: dict[str, Any] = {
    "country_code": "DE",
    "phone_category_name": "GEOGRAPHIC",
    "phone_region_id": world.BERLIN,
}
MOSCOW: dict[str, Any] = {
    "country_code": "RU",
    "phone_category_name": "GEOGRAPHIC",
    "phone_region_id": world.MOSCOW,
}


async def test_the_contracts_own_example(town: Town) -> None:
    asked = LOCAL | {"phone_number": '["+15552850126"]'}
    answer = await town.call(METHOD, asked)
    assert answer == {
        "result": 1,
        "phone_numbers": [{"phone_id": 15552850126, "phone_number": "15552850126"}],
    }
    assert (await town.call(METHOD, asked))["error"]["code"] == 395
    assert (await town.call(METHOD, asked, account=world.STRANGER))["error"]["code"] == 182
    assert (await town.audit()).is_clean


@pytest.mark.parametrize(
    "spelling",
    [
        "15552850126",
        "+15552850126",
        " 15552850126",
        "+1 (555) 285-0126",
        "1-555-285-0126",
        '["15552850126"]',
        "15552850126;",
        "15552850126;15552850126",
    ],
)
async def test_numbers_in_any_spelling_without_locators(town: Town, spelling: str) -> None:
    answer = await town.call(METHOD, {"phone_number": spelling})
    assert answer["phone_numbers"] == [{"phone_id": 15552850126, "phone_number": "15552850126"}]


async def test_by_count_takes_the_high_end_and_one_by_default(town: Town) -> None:
    answer = await town.call(METHOD, LOCAL | {"phone_count": 3})
    assert [one["phone_id"] for one in answer["phone_numbers"]] == [15552852999, 15552852998, 15552852997]
    answer = await town.call(METHOD, LOCAL)
    assert [one["phone_id"] for one in answer["phone_numbers"]] == [15552852996]
    assert (await town.audit()).is_clean


async def test_by_count_runs_on_into_the_next_block(town: Town) -> None:
    for _ in range(10):
        await town.call(METHOD, LOCAL | {"phone_count": 99})
    answer = await town.call(METHOD, LOCAL | {"phone_count": 50})
    numbers = [one["phone_id"] for one in answer["phone_numbers"]]
    assert numbers == [*range(15552852009, 15552851999, -1), *range(15552851999, 15552851959, -1)]
    assert (await town.audit()).is_clean


async def test_absent_values_as_go_sends_them(town: Town) -> None:
    answer = await town.call(METHOD, LOCAL | {"phone_count": "0", "phone_number": "15552850001"})
    assert answer["phone_numbers"][0]["phone_id"] == 15552850001
    answer = await town.call(METHOD, LOCAL | {"phone_count": "1", "phone_number": "", "country_state": ""})
    assert answer["result"] == 1


async def test_the_cheapest_offer_of_a_region_is_sold_first(town: Town) -> None:
    asked = LOCAL | {"phone_region_id": world.TWO_TIER}
    before = await town.wallet()
    answer = await town.call(METHOD, asked | {"phone_count": 5})
    assert [one["phone_id"] for one in answer["phone_numbers"]] == list(range(15582850014, 15582850009, -1))
    spent = before.funds_micros - (await town.wallet()).funds_micros
    assert spent == 5 * (3 * UNIT + 3 * 82_500)
    await town.call(METHOD, asked)
    spent = before.funds_micros - (await town.wallet()).funds_micros
    assert spent == 5 * (3 * UNIT + 3 * 82_500) + 99 * UNIT + 99 * 82_500
    assert (await town.audit()).is_clean


async def test_money_is_charged_and_held(town: Town) -> None:
    before = await town.wallet()
    await town.call(METHOD, LOCAL | {"phone_count": 2})
    after = await town.wallet()
    setup, month = 2 * (2 * UNIT + 165_000), 2 * (1 * UNIT + 82_500)
    assert before.funds_micros - after.funds_micros == setup + month
    assert after.held_micros == month
    assert after.rental_count == 2


async def test_rubles_are_charged_at_once_with_the_tax_inside(town: Town) -> None:
    before = await town.wallet(world.RUSSIAN_VERIFIED)
    answer = await town.call(METHOD, MOSCOW, account=world.RUSSIAN_VERIFIED)
    assert set(answer["phone_numbers"][0]) == {"phone_id", "phone_number"}
    after = await town.wallet(world.RUSSIAN_VERIFIED)
    assert before.funds_micros - after.funds_micros == 180 * UNIT
    assert after.held_micros == 0
    assert (await town.audit()).is_clean


async def test_prices_are_converted_and_taxed_by_the_billing_country(town: Town) -> None:
    before = await town.wallet(world.GERMAN)
    await town.call(METHOD, LOCAL, account=world.GERMAN)
    spent = before.funds_micros - (await town.wallet(world.GERMAN)).funds_micros
    assert spent == 3 * 920_000 + 3 * 920_000 * 19 // 100


async def test_sandbox_numbers_are_free(town: Town) -> None:
    before = await town.wallet(world.POOR)
    await town.call(METHOD, LOCAL | {"phone_region_id": world.SANDBOX}, account=world.POOR)
    after = await town.wallet(world.POOR)
    assert after.funds_micros == before.funds_micros
    assert after.rental_count == 1
    assert (await town.audit()).is_clean


@pytest.mark.parametrize(
    ("account", "status"), [(world.RUSSIAN, "REQUIRED"), (world.RUSSIAN_PROGRESS, "IN_PROGRESS")]
)
async def test_unverified_accounts_get_a_hold_of_fourteen_days(town: Town, account: int, status: str) -> None:
    answer = await town.call(METHOD, MOSCOW, account=account)
    assert answer["phone_numbers"] == [
        {
            "phone_id": 74990001999,
            "phone_number": "74990001999",
            "required_verification": "RU",
            "verification_status": status,
            "unverified_hold_until": "2026-02-14",
        }
    ]
    listed = (await town.call("GetPhoneNumbers", account=account))["result"][0]
    assert listed["can_be_used"] is False
    assert listed["phone_next_renewal"] == "2026-02-28"


@pytest.mark.parametrize(
    ("account", "code"),
    [(world.RUSSIAN, 281), (world.RUSSIAN_PROGRESS, 282), (world.LAPSED, 281), (world.LAPSED_PROGRESS, 282)],
)
async def test_a_hold_that_ran_out_refuses_further_numbers(town: Town, account: int, code: int) -> None:
    if account in (world.RUSSIAN, world.RUSSIAN_PROGRESS):
        await town.call(METHOD, MOSCOW, account=account)
        town.clock.advance(timedelta(days=14))
    before = await town.wallet(account)
    error = (await town.call(METHOD, MOSCOW, account=account))["error"]
    assert error["code"] == code
    assert error["details"] == {"verification_name": "RU"}
    assert await town.wallet(account) == before


async def test_a_verified_address_opens_a_regulated_region(town: Town) -> None:
    answer = await town.call(METHOD, BERLIN | {"regulation_address_id": world.VERIFIED_BERLIN})
    assert answer["result"] == 1
    answer = await town.call(METHOD, LOCAL | {"regulation_address_id": 99_999})
    assert answer["result"] == 1, "an address is ignored where none is needed"


def _case(kind: ErrorKind, field: str | None, params: dict[str, Any], account: int = world.PARENT) -> Any:
    name = f"{kind.code}-{kind.name}-{field}"
    return pytest.param(kind, field, params, account, id=name)


REFUSALS = [
    _case(errors.ACCOUNT_FROZEN, None, LOCAL, world.FROZEN),
    _case(errors.ACCOUNT_NOT_ACTIVATED, None, LOCAL, world.INACTIVE),
    _case(errors.REQUIRED_IS_EMPTY, "country_code", {}),
    _case(errors.REQUIRED_IS_EMPTY, "phone_category_name", {"country_code": "US"}),
    _case(
        errors.REQUIRED_IS_EMPTY, "phone_region_id", {"country_code": "US", "phone_category_name": "local"}
    ),
    _case(errors.ONLY_ONE_OF, None, LOCAL | {"phone_count": 1, "phone_number": "15552850126"}),
    _case(errors.INVALID_COUNTRY, "country_code", LOCAL | {"country_code": "ZZ"}),
    _case(errors.INVALID_COUNTRY, "country_code", LOCAL | {"country_code": "AQ"}),
    _case(errors.INVALID_COUNTRY, "country_code", {"country_code": "DE", "phone_number": "15552850126"}),
    _case(errors.INVALID_CATEGORY, "phone_category_name", LOCAL | {"phone_category_name": "MOBILE"}),
    _case(
        errors.INVALID_CATEGORY,
        "phone_category_name",
        {"country_code": "US", "phone_category_name": "TOLLFREE", "phone_number": "15552850126"},
    ),
    _case(errors.INVALID_REGION, "phone_region_id", LOCAL | {"phone_region_id": 9_999}),
    _case(errors.INVALID_REGION, "phone_region_id", LOCAL | {"phone_region_id": world.BERLIN}),
    _case(errors.INVALID_REGION, "phone_region_id", LOCAL | {"phone_region_id": "one"}),
    _case(errors.INVALID_REGION, "phone_region_id", LOCAL | {"phone_region_id": "١٠١"}),
    _case(errors.INVALID_REGION, "phone_region_id", LOCAL | {"phone_region_id": 9_007_199_254_740_993}),
    _case(
        errors.INVALID_REGION,
        "phone_region_id",
        {"phone_region_id": world.NEW_YORK, "phone_number": "15552850126"},
    ),
    _case(errors.INVALID_STATE, "country_state", LOCAL | {"country_state": "ZZ"}),
    _case(errors.INVALID_STATE, "country_state", LOCAL | {"country_state": "NY"}),
    _case(errors.INVALID_COUNT, "phone_count", LOCAL | {"phone_count": -1}),
    _case(errors.INVALID_COUNT, "phone_count", LOCAL | {"phone_count": 101}),
    _case(errors.INVALID_COUNT, "phone_count", LOCAL | {"phone_count": "1_0"}),
    _case(errors.INVALID_NUMBER, "phone_number", {"phone_number": "not a number"}),
    _case(errors.INVALID_NUMBER, "phone_number", {"phone_number": "１５５５２８５０１２６"}),
    _case(errors.INVALID_NUMBER, "phone_number", {"phone_number": "19995550100"}),
    _case(errors.INVALID_NUMBER, "phone_number", {"phone_number": "15552850126;19995550100"}),
    _case(errors.NUMBER_ALREADY_YOURS, "phone_number", {"phone_number": "15552850500"}),
    _case(errors.NUMBER_TAKEN, "phone_number", {"phone_number": "15552850500"}, world.STRANGER),
    _case(errors.NUMBER_TAKEN, "phone_number", {"phone_number": "15552850126;15552850500"}, world.CHILD),
    _case(errors.NOT_SOLD_BY_NUMBER, "phone_number", {"phone_number": "81300001000"}),
    _case(errors.NO_STOCK, None, LOCAL | {"phone_region_id": world.EMPTY}),
    _case(errors.LESS_STOCK, "phone_count", LOCAL | {"phone_region_id": world.NEW_YORK, "phone_count": 4}),
    _case(errors.ADDRESS_REQUIRED, "regulation_address_id", BERLIN),
    _case(errors.ADDRESS_UNKNOWN, "regulation_address_id", BERLIN | {"regulation_address_id": 99}),
    _case(
        errors.ADDRESS_UNKNOWN,
        "regulation_address_id",
        BERLIN | {"regulation_address_id": world.STRANGERS_BERLIN},
    ),
    _case(
        errors.ADDRESS_DECLINED,
        "regulation_address_id",
        BERLIN | {"regulation_address_id": world.DECLINED_BERLIN},
    ),
    _case(
        errors.ADDRESS_PENDING,
        "regulation_address_id",
        BERLIN | {"regulation_address_id": world.PENDING_BERLIN},
    ),
    _case(
        errors.ADDRESS_PENDING,
        "regulation_address_id",
        BERLIN | {"regulation_address_id": world.DOCUMENTS_BERLIN},
    ),
    _case(
        errors.ADDRESS_MISMATCH,
        "regulation_address_id",
        BERLIN | {"regulation_address_id": world.VERIFIED_HAMBURG},
    ),
    _case(errors.VERIFICATION_REQUIRED, None, MOSCOW, world.LAPSED),
    _case(errors.VERIFICATION_IN_PROGRESS, None, MOSCOW, world.LAPSED_PROGRESS),
    _case(errors.RENTAL_LIMIT, None, LOCAL | {"phone_count": 3}, world.LIMITED),
    _case(
        errors.NOT_PRICED,
        None,
        {"country_code": "FR", "phone_category_name": "GEOGRAPHIC", "phone_region_id": world.UNPRICED},
    ),
    _case(errors.NOT_PRICED, None, LOCAL, world.POLE),
    _case(errors.BILLING_ADDRESS_REQUIRED, None, LOCAL, world.HOMELESS),
    _case(errors.INSUFFICIENT_MONEY, None, LOCAL, world.POOR),
    _case(errors.INVALID, "force_verification", LOCAL | {"force_verification": "perhaps"}),
]


@pytest.mark.parametrize(("kind", "field", "params", "account"), REFUSALS)
async def test_every_refusal_has_its_code_and_changes_nothing(
    town: Town, kind: ErrorKind, field: str | None, params: dict[str, Any], account: int
) -> None:
    await town.call(METHOD, {"phone_number": "15552850500"})
    wallet, before = await town.wallet(account), snapshot(await town.audit())
    error = (await town.call(METHOD, params, account=account))["error"]
    assert (error["code"], error.get("field_name")) == (kind.code, field)
    assert error["msg"].endswith((".", "0", "1", "2", "3"))
    assert "{" not in error["msg"]
    report = await town.audit()
    assert report.is_clean, report.findings
    assert snapshot(report) == before
    assert await town.wallet(account) == wallet


def test_the_table_covers_every_declared_refusal_of_the_domain() -> None:
    """A refusal that is declared and never provoked would be a promise nobody has seen kept."""
    declared = set(refusals_of(next(method for method in REGISTRY if method.wire == METHOD)))
    elsewhere = {
        errors.AUTHORIZATION_FAILED,
        errors.FORBIDDEN_COMMAND,
        errors.INVALID_TOKEN_FORMAT,
        errors.INVALID_TOKEN_TTL,
        errors.TOKEN_ISSUED_IN_FUTURE,
        errors.TOKEN_EXPIRED,
        errors.INVALID_ARGUMENTS,
        errors.VALUE_NOT_UNIQUE,
        errors.INTERNAL_ERROR,
        errors.STORE_UNAVAILABLE,
        errors.COMMIT_UNKNOWN,
        errors.TRY_LATER,
        errors.LENGTH_EXCEEDED,
        errors.MISSING_CMD,
        errors.UNKNOWN_COMMAND,
    }
    table = {case.values[0] for case in REFUSALS}
    assert declared - elsewhere <= table, sorted(kind.name for kind in declared - elsewhere - table)


async def test_less_stock_tells_how_many_are_left(town: Town) -> None:
    error = (await town.call(METHOD, LOCAL | {"phone_region_id": world.NEW_YORK, "phone_count": 4}))["error"]
    assert error["msg"].endswith("3")


async def test_one_key_one_effect_one_answer(town: Town) -> None:
    first = await town.call(METHOD, LOCAL, idempotency_key="order-1")
    wallet = await town.wallet()
    again = await town.call(METHOD, LOCAL | {"phone_category_name": "local"}, idempotency_key="order-1")
    assert again == first
    assert await town.wallet() == wallet
    other = await town.call(METHOD, LOCAL | {"phone_count": 2}, idempotency_key="order-1")
    assert other["error"]["code"] == 493
    theirs = await town.call(METHOD, LOCAL, account=world.STRANGER, idempotency_key="order-1")
    assert theirs["phone_numbers"] != first["phone_numbers"], "a key belongs to its account"
    assert (await town.audit()).is_clean


async def test_a_refused_request_keeps_its_key_free(town: Town) -> None:
    asked = LOCAL | {"phone_region_id": world.NEW_YORK, "phone_count": 4}
    assert (await town.call(METHOD, asked, idempotency_key="k"))["error"]["code"] == 332
    assert (await town.call(METHOD, asked | {"phone_count": 3}, idempotency_key="k"))["result"] == 1


@pytest.mark.parametrize("key", ["x" * 256, "tab\there", "ключ"])
async def test_unfit_idempotency_keys_are_refused(town: Town, key: str) -> None:
    error = (await town.call(METHOD, LOCAL, idempotency_key=key))["error"]
    assert (error["code"], error["field_name"]) == (496, "Idempotency-Key")


async def test_a_parent_buys_for_its_child(town: Town) -> None:
    answer = await town.call(METHOD, LOCAL, account=world.CHILD, key_id=f"owner-{world.PARENT}")
    number = answer["phone_numbers"][0]["phone_number"]
    asked = {"phone_number": number}
    assert (await town.call("IsAccountPhoneNumber", asked, account=world.CHILD))["result"] is True
    assert (await town.call("IsAccountPhoneNumber", asked))["result"] is False
    assert (await town.call("GetPhoneNumbers", {"child_account_id": "all"}))["total_count"] == 1
