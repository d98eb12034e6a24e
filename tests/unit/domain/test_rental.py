"""The calendar of renewals, for every day of 430 years: the anchor day, or the month's last where it is shorter."""

from __future__ import annotations

from calendar import isleap
from datetime import date, timedelta

import pytest

from numberline.domain.rental import next_renewal

# Written out instead of asked of the calendar module, which the code under test asks.
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
FIRST, LAST = date(1970, 1, 1), date(2400, 12, 31)


def _last_day(year: int, month: int) -> int:
    return 29 if month == 2 and isleap(year) else _DAYS[month - 1]


def test_every_day_of_430_years_renews_in_the_next_month() -> None:
    day, one = FIRST, timedelta(days=1)
    while day <= LAST:
        found = next_renewal(day, day.day)
        months = (found.year - day.year) * 12 + found.month - day.month
        assert months == 1, day
        assert found.day == min(day.day, _last_day(found.year, found.month)), day
        day += one


@pytest.mark.parametrize("anchor", range(1, 32))
def test_no_anchor_drifts_in_430_years(anchor: int) -> None:
    day = date(1970, 1, anchor)
    for step in range(1, 430 * 12):
        earlier, day = day, next_renewal(day, anchor)
        assert day > earlier
        year, month = 1970 + step // 12, step % 12 + 1
        assert day == date(year, month, min(anchor, _last_day(year, month)))


@pytest.mark.parametrize(("year", "february"), [(2026, 28), (2028, 29), (2000, 29), (2100, 28)])
def test_the_thirty_first_comes_back_after_february(year: int, february: int) -> None:
    first = next_renewal(date(year, 1, 31), 31)
    second = next_renewal(first, 31)
    third = next_renewal(second, 31)
    assert (first, second, third) == (date(year, 2, february), date(year, 3, 31), date(year, 4, 30))


def test_december_is_followed_by_january() -> None:
    assert next_renewal(date(2026, 12, 31), 31) == date(2027, 1, 31)


@pytest.mark.parametrize("anchor", [0, 32, -1])
def test_an_anchor_is_a_day_of_a_month(anchor: int) -> None:
    with pytest.raises(AssertionError):
        next_renewal(date(2026, 1, 1), anchor)
