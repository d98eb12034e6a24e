"""Where a pick begins: at the thousand in which the last one found something, and from the top before it gives up."""

from __future__ import annotations

from typing import Final

import pytest

from numberline.store import memory
from tests.kit import world
from tests.kit.world import Town

_SANDBOX_OFFER: Final = 2
_LOW, _HIGH = 15562850, 15562851


async def buy(town: Town, count: int = 1) -> list[int]:
    """Buy numbers of the sandbox, which are free of charge; gives the thousands they are of."""
    answer = await town.call(
        "AttachPhoneNumber",
        {
            "country_code": "US",
            "phone_category_name": "GEOGRAPHIC",
            "phone_region_id": world.SANDBOX,
            "phone_count": count,
        },
    )
    return [int(number["phone_number"]) // 1_000 for number in answer["phone_numbers"]]


async def add_above(town: Town) -> None:
    """Stock that lies above what has been sold from."""
    above = world.blocks(_SANDBOX_OFFER, _HIGH * 1_000, _HIGH * 1_000 + 999)
    await town.store.write(lambda write: write.insert_blocks(above))


async def test_a_pick_begins_where_the_last_one_found_something(town: Town) -> None:
    assert await buy(town) == [_LOW]
    await add_above(town)
    assert await buy(town) == [_LOW]


async def test_now_and_then_a_pick_begins_at_the_top(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LOOKS_PER_HEAD", 3)
    assert await buy(town) == [_LOW]
    await add_above(town)
    assert [await buy(town) for _ in range(4)] == [[_LOW], [_LOW], [_LOW], [_HIGH]]


async def test_nobody_is_refused_while_there_is_stock_above(town: Town) -> None:
    assert await buy(town) == [_LOW]
    await add_above(town)
    # 99 are left below, which is too few: so the pick begins again, at the top.
    assert await buy(town, 100) == [_HIGH] * 100
    assert await buy(town) == [_HIGH]
    assert (await town.audit()).findings == []
