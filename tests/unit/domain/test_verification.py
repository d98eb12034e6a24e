"""What a number that demands a verification means for its buyer."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import product

import pytest

from numberline.domain import errors
from numberline.domain.errors import Refusal
from numberline.domain.verification import IN_PROGRESS, REQUIRED, VERIFIED, Pending, Verification, demand

TODAY = date(2026, 1, 31)
DAY = timedelta(days=1)


@pytest.mark.parametrize("status", [REQUIRED, IN_PROGRESS])
@pytest.mark.parametrize("hold", [None, TODAY + DAY, date(2026, 12, 31)])
def test_an_unverified_buyer_gets_a_hold(status: str, hold: date | None) -> None:
    found = demand("RU", Verification("RU", status), hold, TODAY, 14)
    assert found == Pending("RU", status, date(2026, 2, 14))


def test_a_buyer_nobody_has_heard_of_is_unverified() -> None:
    assert demand("RU", Verification("RU"), None, TODAY, 1) == Pending("RU", REQUIRED, TODAY + DAY)


@pytest.mark.parametrize("hold", [None, TODAY - DAY, TODAY, TODAY + DAY])
@pytest.mark.parametrize("lapsed", [None, date(2020, 1, 1)])
def test_a_verified_buyer_waits_for_nothing(hold: date | None, lapsed: date | None) -> None:
    assert demand("RU", Verification("RU", VERIFIED, lapsed), hold, TODAY, 14) is None


@pytest.mark.parametrize(
    ("status", "trouble"),
    [
        *product(
            [REQUIRED, IN_PROGRESS], [(None, TODAY), (None, TODAY - DAY), (TODAY, None), (TODAY, TODAY + DAY)]
        )
    ],
)
def test_a_hold_that_ran_out_refuses(status: str, trouble: tuple[date | None, date | None]) -> None:
    lapsed, hold = trouble
    with pytest.raises(Refusal) as caught:
        demand("RU", Verification("RU", status, lapsed), hold, TODAY, 14)
    expected = errors.VERIFICATION_IN_PROGRESS if status == IN_PROGRESS else errors.VERIFICATION_REQUIRED
    assert caught.value.kind is expected
    assert caught.value.details == {"verification_name": "RU"}
    assert "RU" in caught.value.sentence
