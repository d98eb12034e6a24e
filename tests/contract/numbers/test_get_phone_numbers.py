"""GetPhoneNumbers on the wire: every filter lets some through and keeps others out, every order orders.

The neighbourhood below is bought over the wire; what no method can do yet (freezing, giving up, other fees) is
written straight into the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import msgspec
import pytest
from sqlalchemy import update

from numberline.api.methods.numbers import GET_PHONE_NUMBERS
from numberline.store.schema import rental, verification
from numberline.store.statements import Statement
from numberline.store.transaction import Transaction
from tests.kit import world
from tests.kit.world import Town

METHOD: Final = "GetPhoneNumbers"
HOLLYWOOD, NEW_YORK, SANDBOX, TOLLFREE, MOSCOW, BERLIN = (
    15552850126,
    15592850001,
    15562850007,
    18005550150,
    74990001005,
    493023125010,
)
ALL: Final = {HOLLYWOOD, NEW_YORK, SANDBOX, TOLLFREE, MOSCOW, BERLIN}


async def _buy(town: Town, number: int, account: int = world.PARENT, **more: Any) -> None:
    answer = await town.call("AttachPhoneNumber", {"phone_number": number, **more}, account=account)
    assert answer["result"] == 1, answer


async def _change(town: Town, number: int, **values: Any) -> None:
    async def change(work: Transaction) -> None:
        await work.connection.execute(
            Statement(update(rental).where(rental.c.number == number).values(**values))
        )

    await town.store.write(change)


async def _verify(town: Town, account: int, status: str) -> None:
    async def change(work: Transaction) -> None:
        statement = update(verification).where(verification.c.account_id == account).values(status=status)
        await work.connection.execute(Statement(statement))

    await town.store.write(change)


@pytest.fixture
async def street(town: Town) -> Town:
    """A parent with six numbers, bought a day apart, of which one is frozen, one given up and one not renewed."""
    for number in (HOLLYWOOD, NEW_YORK, SANDBOX, TOLLFREE, MOSCOW):
        await _buy(town, number)
        town.clock.advance(timedelta(days=1))
    await _buy(town, BERLIN, regulation_address_id=world.VERIFIED_BERLIN)
    await _change(town, NEW_YORK, is_frozen=True)
    await _change(town, TOLLFREE, is_canceled=True)
    await _change(town, SANDBOX, auto_charge=False)
    return town


async def _listed(town: Town, asked: Mapping[str, Any], account: int = world.PARENT) -> list[int]:
    answer = await town.call(METHOD, asked, account=account)
    assert answer["count"] == len(answer["result"]), answer
    return [item["phone_id"] for item in answer["result"]]


# --- what an item says -----------------------------------------------------------------------------------------

MANDATORY: Final = {
    "phone_id",
    "phone_number",
    "phone_price",
    "phone_country_code",
    "phone_next_renewal",
    "phone_purchase_date",
    "deactivated",
    "canceled",
    "auto_charge",
    "category_name",
    "can_be_used",
    "is_sms_supported",
    "is_sms_enabled",
    "emergency_calls_to_be_enabled",
    "emergency_calls_enabled",
    "subscription_id",
    "modified",
}


async def test_an_item_field_by_field(town: Town) -> None:
    await _buy(town, HOLLYWOOD)
    answer = await town.call(METHOD)
    [item] = answer["result"]
    assert isinstance(item.pop("subscription_id"), int)
    assert item == {
        "phone_id": HOLLYWOOD,
        "phone_number": "15552850126",
        "phone_price": 1,
        "phone_country_code": "US",
        "activation_status": "ACTIVE",
        "phone_next_renewal": "2026-02-28",
        "phone_purchase_date": "2026-01-31 12:30:15",
        "deactivated": False,
        "canceled": False,
        "auto_charge": True,
        "category_name": "GEOGRAPHIC",
        "can_be_used": True,
        "is_sms_supported": True,
        "is_sms_enabled": False,
        "emergency_calls_to_be_enabled": False,
        "emergency_calls_enabled": False,
        "phone_region_name": "Hollywood",
        "modified": "2026-01-31 12:30:15",
    }
    assert (answer["total_count"], answer["count"]) == (1, 1)
    assert list(answer) == ["result", "total_count", "count"]


async def test_every_item_has_every_mandatory_field_whatever_its_state(street: Town) -> None:
    for item in (await street.call(METHOD))["result"]:
        assert item.keys() >= MANDATORY
        assert None not in item.values()
        for flag in ("deactivated", "canceled", "auto_charge", "can_be_used", "is_sms_supported"):
            assert isinstance(item[flag], bool)
    declared = {field.wire for field in GET_PHONE_NUMBERS.answer.shape.fields if not field.optional}  # type: ignore[union-attr]
    assert MANDATORY | {"activation_status"} == declared


async def test_a_frozen_number_says_so(street: Town) -> None:
    [item] = (await street.call(METHOD, {"phone_id": NEW_YORK}))["result"]
    assert (item["deactivated"], item["activation_status"]) == (True, "DEACTIVATED")


@pytest.mark.parametrize(
    ("account", "status", "usable"),
    [
        (world.RUSSIAN, "REQUIRED", False),
        (world.RUSSIAN_PROGRESS, "IN_PROGRESS", False),
        (world.RUSSIAN_VERIFIED, "VERIFIED", True),
    ],
)
async def test_verification_is_told_where_it_is_needed(
    town: Town, account: int, status: str, usable: bool
) -> None:
    await _buy(town, MOSCOW, account)
    await _buy(town, HOLLYWOOD, account)
    russian, other = (await town.call(METHOD, {"order_by": "phone_country_code"}, account=account))["result"]
    assert (russian["required_verification"], russian["verification_status"]) == ("RU", status)
    assert russian["can_be_used"] is usable
    assert russian.get("unverified_hold_until") == (None if usable else "2026-02-14")
    assert russian["phone_price"] == 120
    assert other["can_be_used"] is True
    assert not {"required_verification", "verification_status", "unverified_hold_until"} & other.keys()


async def test_fees_keep_their_fraction_in_the_accounts_currency(town: Town) -> None:
    await _buy(town, HOLLYWOOD, world.GERMAN)
    [item] = (await town.call(METHOD, account=world.GERMAN))["result"]
    assert item["phone_price"] == 0.92


async def test_an_account_without_numbers_has_an_empty_list(town: Town) -> None:
    assert await town.call(METHOD) == {"result": [], "total_count": 0, "count": 0}


# --- filters ---------------------------------------------------------------------------------------------------

# What is asked, and which of the six are listed.
FILTERS: Final[list[tuple[dict[str, Any], set[int]]]] = [
    ({}, ALL),
    ({"phone_id": HOLLYWOOD}, {HOLLYWOOD}),
    ({"phone_id": f"{HOLLYWOOD};{MOSCOW};1999"}, {HOLLYWOOD, MOSCOW}),
    ({"phone_id": f"[{HOLLYWOOD},{MOSCOW}]"}, {HOLLYWOOD, MOSCOW}),
    ({"phone_id": "1999"}, set()),
    ({"phone_number": "+1 (555) 285-0126"}, {HOLLYWOOD}),
    ({"phone_number": f"{BERLIN};19995550100"}, {BERLIN}),
    ({"phone_id": f"{HOLLYWOOD};{MOSCOW}", "phone_number": f"{MOSCOW};{BERLIN}"}, {MOSCOW}),
    ({"activation_status": "ACTIVE"}, ALL - {NEW_YORK}),
    ({"activation_status": "DEACTIVATED"}, {NEW_YORK}),
    ({"activation_status": "active;deactivated"}, ALL),
    ({"activation_status": "ACTIVATING;PROVISIONING"}, set()),
    ({"activation_status": "ACTIVE", "deactivated": "true"}, set()),
    ({"is_bound_to_application": "false"}, ALL),
    ({"is_bound_to_application": "true"}, set()),
    ({"is_bound_to_rule": "false"}, ALL),
    ({"is_bound_to_rule": "true"}, set()),
    ({"rule_id": "5"}, set()),
    ({"rule_name": "in"}, set()),
    ({"application_id": "0", "application_name": ""}, ALL),
    ({"phone_template": "155"}, {HOLLYWOOD, NEW_YORK, SANDBOX}),
    ({"phone_template": "15552850126"}, {HOLLYWOOD}),
    ({"phone_template": "155528501267"}, set()),
    ({"phone_template": "555"}, set()),
    ({"phone_template": "%"}, set()),
    ({"phone_template": "1_5"}, set()),
    ({"country_code": "RU"}, {MOSCOW}),
    ({"country_code": "ru;DE"}, {MOSCOW, BERLIN}),
    ({"country_code": "JP"}, set()),
    ({"phone_category_name": "TOLLFREE"}, {TOLLFREE}),
    ({"phone_category_name": "local"}, ALL - {TOLLFREE}),
    ({"phone_category_name": "geographic;tollfree"}, ALL),
    ({"phone_category_name": "MOBILE"}, set()),
    ({"canceled": "true"}, {TOLLFREE}),
    ({"canceled": "False"}, ALL - {TOLLFREE}),
    ({"deactivated": "1"}, {NEW_YORK}),
    ({"deactivated": "0"}, ALL - {NEW_YORK}),
    ({"auto_charge": "false"}, {SANDBOX}),
    ({"auto_charge": "true"}, ALL - {SANDBOX}),
    ({"from_phone_next_renewal": "2026-03-04"}, {MOSCOW, BERLIN}),
    ({"to_phone_next_renewal": "2026-02-28"}, {HOLLYWOOD}),
    (
        {"from_phone_next_renewal": "2026-03-01", "to_phone_next_renewal": "2026-03-02 23:59:59"},
        {NEW_YORK, SANDBOX},
    ),
    ({"from_phone_next_renewal": "2026-03-06"}, set()),
    ({"from_phone_purchase_date": "2026-02-04 12:30:15"}, {MOSCOW, BERLIN}),
    ({"from_phone_purchase_date": "2026-02-04 12:30:16"}, {BERLIN}),
    ({"to_phone_purchase_date": "2026-01-31 12:30:15"}, {HOLLYWOOD}),
    ({"to_phone_purchase_date": "2026-01-31 12:30:14"}, set()),
    ({"to_phone_purchase_date": "2026-02-02"}, {HOLLYWOOD, NEW_YORK}),
    ({"from_phone_purchase_date": "2026-02-01", "to_phone_purchase_date": "2026-02-03"}, {NEW_YORK, SANDBOX}),
    ({"verification_name": "RU"}, {MOSCOW}),
    ({"verification_name": "DE"}, set()),
    ({"verification_status": "REQUIRED"}, {MOSCOW}),
    ({"verification_status": "IN_PROGRESS;VERIFIED"}, set()),
    ({"from_unverified_hold_until": "2026-02-18"}, {MOSCOW}),
    ({"from_unverified_hold_until": "2026-02-19"}, set()),
    ({"to_unverified_hold_until": "2026-02-18"}, {MOSCOW}),
    ({"to_unverified_hold_until": "2026-02-17"}, set()),
    ({"can_be_used": "false"}, {MOSCOW}),
    ({"can_be_used": "true"}, ALL - {MOSCOW}),
    ({"sandbox": "True"}, {SANDBOX}),
    ({"sandbox": "false"}, ALL - {SANDBOX}),
    ({"sandbox": "all"}, ALL),
    ({"phone_region_name": "Moscow"}, {MOSCOW}),
    ({"phone_region_name": "moscow;HOLLYWOOD;Nowhere"}, {MOSCOW, HOLLYWOOD}),
    ({"phone_region_name": "Nowhere"}, set()),
    ({"sms_supported": "true"}, {HOLLYWOOD, NEW_YORK}),
    ({"sms_supported": "false"}, ALL - {HOLLYWOOD, NEW_YORK}),
    ({"sms_supported": "false", "sandbox": "true"}, {SANDBOX}),
    ({"country_code": "US", "canceled": "false", "deactivated": "false"}, {HOLLYWOOD, SANDBOX}),
]


async def test_every_filter_lets_some_through_and_keeps_others_out(street: Town) -> None:
    for asked, expected in FILTERS:
        answer = await street.call(METHOD, asked)
        listed = [item["phone_id"] for item in answer["result"]]
        assert set(listed) == expected, asked
        assert answer["total_count"] == answer["count"] == len(listed) == len(expected), asked


def test_the_table_leaves_no_filter_out() -> None:
    elsewhere = {"child_account_id", "children_phones_only", "order_by", "count", "offset"}
    tried = {name for asked, _ in FILTERS for name in asked}
    assert tried | elsewhere == {param.wire for param in GET_PHONE_NUMBERS.params}


async def test_a_purchase_within_the_second_that_is_shown_is_found_by_it(town: Town) -> None:
    town.clock.advance(timedelta(milliseconds=400))
    await _buy(town, HOLLYWOOD)
    shown = (await town.call(METHOD))["result"][0]["phone_purchase_date"]
    between = {"from_phone_purchase_date": shown, "to_phone_purchase_date": shown}
    assert await _listed(town, between) == [HOLLYWOOD]


async def test_regions_are_found_by_names_beyond_ascii(town: Town) -> None:
    first, *others = world.CATALOG.regions
    renamed = msgspec.structs.replace(first, name_en="Çorovodë", name_ru="Чоровода")
    rows = msgspec.structs.replace(world.CATALOG, regions=[renamed, *others])
    await town.store.write(lambda work: work.replace_catalog(rows))
    await _buy(town, HOLLYWOOD)
    for name in ("Çorovodë", "çorovodë", "ÇOROVODË", "чоровода"):
        assert await _listed(town, {"phone_region_name": name}) == [HOLLYWOOD], name


async def test_a_verified_number_stays_listed_as_verified(town: Town) -> None:
    await _buy(town, MOSCOW, world.RUSSIAN_PROGRESS)
    await _verify(town, world.RUSSIAN_PROGRESS, "VERIFIED")
    asked = {"verification_status": "VERIFIED", "can_be_used": "true"}
    assert await _listed(town, asked, world.RUSSIAN_PROGRESS) == [MOSCOW]


# --- order and pages -------------------------------------------------------------------------------------------

_OLDEST_FIRST: Final = [HOLLYWOOD, NEW_YORK, SANDBOX, TOLLFREE, MOSCOW, BERLIN]
_BY_NUMBER: Final = sorted(ALL)


def _first(*chosen: int) -> list[int]:
    """Some numbers in front, the others by number after them."""
    return [*chosen, *(number for number in _BY_NUMBER if number not in chosen)]


ORDERS: Final = [
    (None, _OLDEST_FIRST[::-1]),
    ("phone_number", _BY_NUMBER),
    ("phone_price", [SANDBOX, BERLIN, MOSCOW, HOLLYWOOD, NEW_YORK, TOLLFREE]),
    ("phone_country_code", [BERLIN, MOSCOW, HOLLYWOOD, SANDBOX, NEW_YORK, TOLLFREE]),
    ("deactivated", _first(NEW_YORK)),
    ("purchase_date", _OLDEST_FIRST[::-1]),
    ("phone_next_renewal", _OLDEST_FIRST),
    ("verification_status", [*(number for number in _BY_NUMBER if number != MOSCOW), MOSCOW]),
    ("unverified_hold_until", [*(number for number in _BY_NUMBER if number != MOSCOW), MOSCOW]),
    ("verification_name", [*(number for number in _BY_NUMBER if number != MOSCOW), MOSCOW]),
    ("phone_country_code;purchase_date", [BERLIN, MOSCOW, TOLLFREE, SANDBOX, NEW_YORK, HOLLYWOOD]),
    ("deactivated;phone_next_renewal", [NEW_YORK, HOLLYWOOD, SANDBOX, TOLLFREE, MOSCOW, BERLIN]),
]


async def test_every_key_orders_the_list(street: Town) -> None:
    # Fees worked out by hand: 990,000 euro micros at 0.92 and 120 roubles at 90.5 are 1.08 and 1.33 dollars.
    await _change(street, HOLLYWOOD, fee_micros=2_000_000)
    await _change(street, NEW_YORK, fee_micros=2_500_000)
    for key, expected in ORDERS:
        asked = {} if key is None else {"order_by": key}
        assert await _listed(street, asked) == expected, key


def test_the_table_leaves_no_key_out() -> None:
    tried = {key for keys, _ in ORDERS if keys for key in keys.split(";")}
    [declared] = [param.choices for param in GET_PHONE_NUMBERS.params if param.wire == "order_by"]
    assert tried == set(declared)


async def test_pages_never_overlap_and_miss_nothing(street: Town) -> None:
    for key in ("deactivated", "phone_country_code", "phone_price", None):
        order = {} if key is None else {"order_by": key}
        pages: list[int] = []
        for offset in range(0, 8, 2):
            answer = await street.call(METHOD, {**order, "count": 2, "offset": offset})
            assert answer["total_count"] == 6
            pages += [item["phone_id"] for item in answer["result"]]
        assert pages == await _listed(street, order), key


async def test_a_page_beyond_the_end_is_empty(street: Town) -> None:
    assert await street.call(METHOD, {"offset": 6}) == {"result": [], "total_count": 6, "count": 0}
    assert await _listed(street, {"offset": 5, "count": 100}) == [HOLLYWOOD]


async def test_a_page_holds_a_hundred_by_default_and_a_thousand_at_most(town: Town) -> None:
    place = {"country_code": "US", "phone_category_name": "local", "phone_region_id": world.HOLLYWOOD}
    for _ in range(10):
        await town.call("AttachPhoneNumber", {**place, "phone_count": 100})
    await town.call("AttachPhoneNumber", {**place, "phone_count": 5})
    assert len(await _listed(town, {})) == 100
    assert len(await _listed(town, {"count": 1_000})) == 1_000
    answer = await town.call(METHOD, {"count": 5_000})
    assert (answer["total_count"], answer["count"]) == (1_005, 1_000), "capped without a word"


# --- children --------------------------------------------------------------------------------------------------


@pytest.fixture
async def family(town: Town) -> Town:
    """The parent and its two children with a number each, and a stranger with one."""
    for place, account in enumerate((world.PARENT, world.CHILD, world.SIBLING, world.STRANGER)):
        await _buy(town, 15552850000 + place, account)
    return town


CHILDREN: Final[list[tuple[dict[str, Any], set[int]]]] = [
    ({}, {0}),
    ({"children_phones_only": "false"}, {0}),
    ({"child_account_id": "all"}, {0, 1, 2}),
    ({"child_account_id": world.CHILD}, {0, 1}),
    ({"child_account_id": f"{world.CHILD};{world.SIBLING}"}, {0, 1, 2}),
    ({"children_phones_only": "true"}, {1, 2}),
    ({"children_phones_only": "True", "child_account_id": "all"}, {1, 2}),
    ({"children_phones_only": "1", "child_account_id": world.SIBLING}, {2}),
    ({"child_account_id": "all", "phone_number": "15552850001;15552850003"}, {1}),
]


async def test_numbers_of_children_are_listed_when_asked_for(family: Town) -> None:
    for asked, endings in CHILDREN:
        assert {number - 15552850000 for number in await _listed(family, asked)} == endings, asked


async def test_an_account_that_is_no_child_is_refused(family: Town) -> None:
    for child in (world.STRANGER, world.PARENT, f"{world.CHILD};{world.STRANGER}", 99_999, "some"):
        error = (await family.call(METHOD, {"child_account_id": child}))["error"]
        assert (error["code"], error["field_name"]) == (194, "child_account_id"), child


async def test_a_child_sees_only_itself(family: Town) -> None:
    assert await _listed(family, {"child_account_id": "all"}, world.CHILD) == [15552850001]
    assert await _listed(family, {"children_phones_only": "true"}, world.CHILD) == []


# --- refusals --------------------------------------------------------------------------------------------------


REFUSALS: Final[list[tuple[dict[str, Any], int, str | None]]] = [
    ({"count": 0}, 496, "count"),
    ({"count": -1}, 496, "count"),
    ({"count": "many"}, 496, "count"),
    ({"offset": -1}, 496, "offset"),
    ({"order_by": "colour"}, 496, "order_by"),
    ({"order_by": "phone_number,phone_price"}, 496, "order_by"),
    ({"sandbox": "maybe"}, 496, "sandbox"),
    ({"canceled": "yes"}, 496, "canceled"),
    ({"phone_id": "one"}, 181, "phone_id"),
    ({"phone_number": "one"}, 121, "phone_number"),
    ({"activation_status": "ASLEEP"}, 542, "activation_status"),
    ({"application_id": 5}, 116, "application_id"),
    ({"application_name": "app"}, 107, "application_name"),
    ({"application_id": 5, "application_name": "app"}, 458, None),
    ({"country_code": "ZZ"}, 239, "country_code"),
    ({"phone_category_name": "PIGEON"}, 240, "phone_category_name"),
    ({"verification_status": "MAYBE"}, 326, "verification_status"),
    ({"from_phone_next_renewal": "soon"}, 111, "from_phone_next_renewal"),
    ({"from_phone_next_renewal": "2026-02-30"}, 111, "from_phone_next_renewal"),
    ({"from_phone_purchase_date": "2026-02-03T12:00:00"}, 111, "from_phone_purchase_date"),
    (
        {"from_phone_next_renewal": "2026-03-02", "to_phone_next_renewal": "2026-03-01"},
        258,
        "to_phone_next_renewal",
    ),
    (
        {"from_phone_purchase_date": "2026-03-02", "to_phone_purchase_date": "2026-03-01"},
        283,
        "to_phone_purchase_date",
    ),
    (
        {"from_unverified_hold_until": "2026-03-02", "to_unverified_hold_until": "2026-03-01"},
        325,
        "to_unverified_hold_until",
    ),
]


async def test_every_refusal_has_its_code(town: Town) -> None:
    for asked, code, field in REFUSALS:
        error = (await town.call(METHOD, asked))["error"]
        assert (error["code"], error.get("field_name")) == (code, field), asked
