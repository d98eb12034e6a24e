"""IsAccountPhoneNumber on the wire: yes for the calling account's own numbers, no for everything else."""

from __future__ import annotations

from typing import Final

import pytest

from tests.kit import world
from tests.kit.world import Town

METHOD: Final = "IsAccountPhoneNumber"
NUMBER: Final = "15552850126"


@pytest.fixture
async def owned(town: Town) -> Town:
    """A town in which the parent rents the number."""
    await town.call("AttachPhoneNumber", {"phone_number": NUMBER})
    return town


async def test_an_own_number_in_any_spelling(owned: Town) -> None:
    for spelling in (NUMBER, f"+{NUMBER}", " 15552850126", "+1 (555) 285-0126"):
        assert await owned.call(METHOD, {"phone_number": spelling}) == {"result": True}, spelling


async def test_free_and_unknown_numbers_are_not_owned(owned: Town) -> None:
    for number in ("15552850127", "19995550100", "4930231250", "999999999999999"):
        assert await owned.call(METHOD, {"phone_number": number}) == {"result": False}, number


async def test_numbers_of_others_are_not_owned(owned: Town) -> None:
    for account in (world.CHILD, world.STRANGER, world.FROZEN):
        assert await owned.call(METHOD, {"phone_number": NUMBER}, account=account) == {"result": False}


async def test_numbers_of_children_do_not_count(town: Town) -> None:
    await town.call("AttachPhoneNumber", {"phone_number": NUMBER}, account=world.CHILD)
    assert await town.call(METHOD, {"phone_number": NUMBER}) == {"result": False}


async def test_what_is_no_number_is_refused(town: Town) -> None:
    for number, code in (("", 134), (" ", 134), ("number", 121), ("123", 121), ("1555*", 121), ("0", 121)):
        error = (await town.call(METHOD, {"phone_number": number}))["error"]
        assert (error["code"], error["field_name"]) == (code, "phone_number"), number
    assert (await town.call(METHOD))["error"]["code"] == 134
