"""GetNewPhoneNumbers on the wire: what is for sale, page by page, at the caller's own price."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest

from numberline.store.opening import open_store
from tests.kit import world
from tests.kit.world import Town, blocks

METHOD: Final = "GetNewPhoneNumbers"
LOCAL: Final[dict[str, Any]] = {
    "country_code": "US",
    "phone_category_name": "local",
    "phone_region_id": world.HOLLYWOOD,
}
TWO_TIER: Final = LOCAL | {"phone_region_id": world.TWO_TIER}
MOSCOW: Final[dict[str, Any]] = {
    "country_code": "RU",
    "phone_category_name": "GEOGRAPHIC",
    "phone_region_id": world.MOSCOW,
}
FIRST, LAST = 15552850000, 15552852999


async def _found(town: Town, asked: dict[str, Any], account: int = world.PARENT) -> tuple[list[int], int]:
    """The numbers of a page, and how many there are in all."""
    answer = await town.call(METHOD, asked, account=account)
    assert answer["count"] == len(answer["result"]), answer
    return [item["phone_id"] for item in answer["result"]], answer["total_count"]


async def test_an_item_field_by_field(town: Town) -> None:
    answer = await town.call(METHOD, LOCAL | {"count": 1})
    assert answer == {
        "result": [
            {
                "phone_id": FIRST,
                "phone_number": "15552850000",
                "phone_price": 1,
                "phone_installation_price": 2,
                "phone_country_code": "US",
                "phone_period": "0-1-0 0:0:0",
                "phone_category_name": "GEOGRAPHIC",
                "phone_region_name": "Hollywood",
                "phone_installation_tax_reserve": 0.165,
                "phone_tax_reserve": 0.0825,
            }
        ],
        "total_count": 3_000,
        "count": 1,
    }
    assert list(answer) == ["result", "total_count", "count"]


async def test_what_is_listed_can_be_bought_and_is_then_gone(town: Town) -> None:
    [number], total = await _found(town, LOCAL | {"count": 1})
    bought = await town.call("AttachPhoneNumber", LOCAL | {"phone_number": number})
    assert bought["phone_numbers"][0]["phone_id"] == number, "the id stays the same"
    [next_number], left = await _found(town, LOCAL | {"count": 1})
    assert (next_number, left) == (number + 1, total - 1)


async def test_what_another_process_sells_is_gone_from_the_next_answer(town: Town, town_url: str) -> None:
    other = Town(open_store(town_url))
    for place in range(5):
        for looking in (town, other, town):
            assert await _found(looking, LOCAL | {"count": 1}) == ([FIRST + place], 3_000 - place)
        bought = await other.call("AttachPhoneNumber", LOCAL | {"phone_number": FIRST + place})
        assert bought["result"] == 1
    await other.close()


# --- pages -----------------------------------------------------------------------------------------------------


async def test_pages_in_order_twenty_by_default(town: Town) -> None:
    assert await _found(town, LOCAL) == (list(range(FIRST, FIRST + 20)), 3_000)
    for offset, count in ((20, 20), (990, 30), (1_999, 2), (2_990, 100), (3_000, 5), (10**15, 5)):
        expected = list(range(FIRST, LAST + 1))[offset : offset + count]
        assert await _found(town, LOCAL | {"offset": offset, "count": count}) == (expected, 3_000), offset


async def test_a_page_is_capped_at_a_thousand(town: Town) -> None:
    numbers, total = await _found(town, LOCAL | {"count": 5_000})
    assert (numbers, total) == (list(range(FIRST, FIRST + 1_000)), 3_000)


async def test_pages_close_up_over_what_was_sold(town: Town) -> None:
    sold = {FIRST, FIRST + 7, FIRST + 999, FIRST + 1_000, FIRST + 2_500}
    await town.call("AttachPhoneNumber", {"phone_number": ";".join(map(str, sold))})
    left = [number for number in range(FIRST, LAST + 1) if number not in sold]
    for offset in (0, 5, 990, 996, 1_990, 2_490):
        asked = LOCAL | {"offset": offset, "count": 15}
        assert await _found(town, asked) == (left[offset : offset + 15], len(left)), offset


async def test_pages_of_a_region_with_two_offers_in_one_thousand(town: Town) -> None:
    """Fifteen numbers, ten of them dearer: the lowest first, each on exactly one page, at its own price."""
    numbers = list(range(15582850000, 15582850015))
    for count in (1, 2, 4, 7, 15, 20):
        pages = [await _found(town, TWO_TIER | {"offset": at, "count": count}) for at in range(0, 15, count)]
        assert [number for page, _ in pages for number in page] == numbers, count
        assert {total for _, total in pages} == {15}
    prices = {
        item["phone_id"]: (item["phone_price"], item["phone_installation_price"])
        for item in (await town.call(METHOD, TWO_TIER))["result"]
    }
    assert prices == {number: (9, 90) if number < 15582850010 else (1, 2) for number in numbers}


async def test_pages_of_two_offers_over_several_thousands(town: Town) -> None:
    # Offer 3 gets the even and offer 4 the odd numbers of a second thousand, and a third belongs to offer 4.
    even = sum(1 << ending for ending in range(0, 1_000, 2))
    [evens], [odds], third = (blocks(offer, 15582851000, 15582851999) for offer in (3, 4, 4))
    evens.free_map, evens.stocked_count = even, 500
    odds.free_map, odds.stocked_count = even << 1, 500
    third[0].prefix += 1
    await town.store.write(lambda work: work.insert_blocks([evens, odds, *third]))
    numbers = [*range(15582850000, 15582850015), *range(15582851000, 15582853000)]
    for offset in (0, 10, 14, 500, 512, 515, 1_010, 1_014, 1_015, 1_500, 2_000):
        asked = TWO_TIER | {"offset": offset, "count": 30}
        assert await _found(town, asked) == (numbers[offset : offset + 30], 2_015), offset


# --- masks -----------------------------------------------------------------------------------------------------


async def test_masks_find_exactly_what_they_describe(town: Town) -> None:
    masks = (
        "*555*",
        "1555*126",
        "15552850126",
        "*0126",
        "1555285*",
        "*",
        "*77*7",
        "**9**9**",
        "9*",
        "155528",
        "*5*5*5*0*",
    )
    for mask in masks:
        expression = re.compile(re.sub(r"\*+", "[0-9]*", mask))
        expected = [number for number in range(FIRST, LAST + 1) if expression.fullmatch(str(number))]
        asked = LOCAL | {"phone_number_mask": mask, "count": 1_000}
        assert await _found(town, asked) == (expected[:1_000], len(expected)), mask


async def test_masks_may_be_spelled_as_numbers_are(town: Town) -> None:
    for mask in ("+1 (555) 285-0126", "+1 555 * 126", "1-555-*-126"):
        numbers, _ = await _found(town, LOCAL | {"phone_number_mask": mask})
        assert FIRST + 126 in numbers, mask


async def test_pages_of_a_mask_never_overlap(town: Town) -> None:
    await town.call("AttachPhoneNumber", {"phone_number": "15552851126"})
    asked = LOCAL | {"phone_number_mask": "*26", "count": 4}
    pages = [await _found(town, asked | {"offset": at}) for at in range(0, 32, 4)]
    expected = [n for n in range(FIRST, LAST + 1) if n % 100 == 26 and n != 15552851126]
    assert [number for page, _ in pages for number in page] == expected
    assert {total for _, total in pages} == {29}


async def test_a_mask_over_two_offers_lists_the_lowest_first_too(town: Town) -> None:
    asked = TWO_TIER | {"phone_number_mask": "1558285*"}
    assert await _found(town, asked | {"offset": 8, "count": 4}) == (
        list(range(15582850008, 15582850012)),
        15,
    )


async def test_what_is_no_mask_is_refused(town: Town) -> None:
    for mask in ("abc", "1555?", "1555%", "１５５５*", "*\x00", "[0-9]"):
        error = (await town.call(METHOD, LOCAL | {"phone_number_mask": mask}))["error"]
        assert (error["code"], error["field_name"]) == (121, "phone_number_mask"), mask


# --- prices ----------------------------------------------------------------------------------------------------

# Set-up, month, tax on the set-up, tax on the month, worked out by hand from the price list.
PRICES: Final = [
    (world.PARENT, LOCAL, (2, 1, 0.165, 0.0825)),
    (world.GERMAN, LOCAL, (1.84, 0.92, 0.3496, 0.1748)),
    (world.RUSSIAN, LOCAL, (181, 90.5, 0, 0)),
    (world.RUSSIAN, MOSCOW, (60, 120, 0, 0)),
    # 60 and 120 roubles at 90.5 to the dollar, and 8.25 %, each to the micro.
    (world.PARENT, MOSCOW, (0.662983, 1.325967, 0.054696, 0.109392)),
    # Three thousand three hundred thousandths of a dollar in euros, with 19 %.
    (
        world.GERMAN,
        {"country_code": "JP", "phone_category_name": "GEOGRAPHIC", "phone_region_id": world.TOKYO},
        (0, 3.066666, 0, 0.582667),
    ),
    (world.PARENT, LOCAL | {"phone_region_id": world.SANDBOX}, (0, 0, 0, 0)),
]


async def test_prices_are_the_callers_own(town: Town) -> None:
    for account, asked, expected in PRICES:
        item = (await town.call(METHOD, asked | {"count": 1}, account=account))["result"][0]
        names = (
            "phone_installation_price",
            "phone_price",
            "phone_installation_tax_reserve",
            "phone_tax_reserve",
        )
        assert tuple(item[name] for name in names) == expected, (account, asked)


async def test_the_listed_price_is_what_a_purchase_takes(town: Town) -> None:
    for account, asked, (setup, month, setup_tax, month_tax) in PRICES[:5]:
        [number], _ = await _found(town, asked | {"count": 1}, account)
        before = await town.wallet(account)
        await town.call("AttachPhoneNumber", {"phone_number": number}, account=account)
        taken = before.funds_micros - (await town.wallet(account)).funds_micros
        assert taken == round((setup + month + setup_tax + month_tax) * 1_000_000), (account, asked)


# --- without locators, and refusals ----------------------------------------------------------------------------


async def test_without_locators_the_list_is_that_of_numbers_set_aside(town: Town) -> None:
    nothing = {"result": [], "total_count": 0, "count": 0}
    assert await town.call(METHOD) == nothing
    assert await town.call(METHOD, {"phone_number_mask": "1555*", "count": 5}) == nothing


async def test_a_region_without_stock_has_an_empty_list(town: Town) -> None:
    assert await _found(town, LOCAL | {"phone_region_id": world.EMPTY}) == ([], 0)


REFUSALS: Final[list[tuple[dict[str, Any], int, str | None]]] = [
    ({"country_code": "US"}, 134, "phone_category_name"),
    ({"country_code": "US", "phone_category_name": "local"}, 134, "phone_region_id"),
    ({"phone_region_id": world.HOLLYWOOD}, 134, "country_code"),
    ({"phone_category_name": "local", "phone_region_id": world.HOLLYWOOD}, 134, "country_code"),
    (LOCAL | {"country_code": "ZZ"}, 239, "country_code"),
    (LOCAL | {"country_code": "AQ"}, 239, "country_code"),
    (LOCAL | {"phone_category_name": "MOBILE"}, 240, "phone_category_name"),
    (LOCAL | {"phone_region_id": 9_999}, 241, "phone_region_id"),
    (LOCAL | {"phone_region_id": world.BERLIN}, 241, "phone_region_id"),
    (LOCAL | {"phone_region_id": "hollywood"}, 241, "phone_region_id"),
    (LOCAL | {"country_state": "ZZ"}, 242, "country_state"),
    (LOCAL | {"country_state": "NY"}, 242, "country_state"),
    (LOCAL | {"count": 0}, 496, "count"),
    (LOCAL | {"count": -5}, 496, "count"),
    (LOCAL | {"offset": -1}, 496, "offset"),
    (
        {"country_code": "US", "phone_category_name": "TOLLFREE", "phone_region_id": world.TOLLFREE},
        529,
        None,
    ),
    (
        {"country_code": "FR", "phone_category_name": "GEOGRAPHIC", "phone_region_id": world.UNPRICED},
        5,
        None,
    ),
]


async def test_every_refusal_has_its_code(town: Town) -> None:
    for asked, code, field in REFUSALS:
        error = (await town.call(METHOD, asked))["error"]
        assert (error["code"], error.get("field_name")) == (code, field), asked


@pytest.mark.parametrize(("account", "code"), [(world.HOMELESS, 543), (world.POLE, 5)])
async def test_who_cannot_be_charged_sees_no_prices(town: Town, account: int, code: int) -> None:
    assert (await town.call(METHOD, LOCAL, account=account))["error"]["code"] == code


async def test_the_state_may_be_given_where_it_is_right(town: Town) -> None:
    assert await _found(town, LOCAL | {"country_state": "ca", "count": 1}) == ([FIRST], 3_000)
