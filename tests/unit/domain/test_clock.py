"""Instants as stores keep them, days as the rules see them, and a clock that is moved by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numberline.domain.clock import ManualClock, SystemClock, day_of, from_micros, to_micros

zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
# Hypothesis takes its bounds without a zone.
_FIRST, _LAST = (datetime(year, 1, 2, tzinfo=UTC).replace(tzinfo=None) for year in (1900, 2500))
instants = st.datetimes(_FIRST, _LAST, timezones=zones)


@given(instants)
def test_an_instant_comes_back_whole_from_its_micros(instant: datetime) -> None:
    found = from_micros(to_micros(instant))
    assert found == instant
    assert found.tzinfo is UTC
    assert found.microsecond == instant.microsecond


@given(instants, instants)
def test_micros_keep_the_order(one: datetime, other: datetime) -> None:
    assert (to_micros(one) < to_micros(other)) == (one < other)


def test_micros_count_from_1970() -> None:
    assert to_micros(datetime(1970, 1, 1, tzinfo=UTC)) == 0
    assert to_micros(datetime(1970, 1, 2, tzinfo=UTC)) == 86_400_000_000
    assert to_micros(datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)) == -1


@pytest.mark.parametrize(
    ("instant", "day"),
    [
        (datetime(2026, 1, 31, 23, 59, 59, 999_999, tzinfo=UTC), date(2026, 1, 31)),
        (datetime(2026, 2, 1, tzinfo=UTC), date(2026, 2, 1)),
        (datetime(2026, 2, 1, 2, 30, tzinfo=timezone(timedelta(hours=3))), date(2026, 1, 31)),
        (datetime(2026, 1, 31, 20, tzinfo=timezone(timedelta(hours=-5))), date(2026, 2, 1)),
    ],
)
def test_days_are_those_of_utc(instant: datetime, day: date) -> None:
    assert day_of(instant) == day


def test_a_manual_clock_stands_until_it_is_moved() -> None:
    clock = ManualClock(datetime(2026, 1, 31, tzinfo=UTC))
    assert clock.now() == clock.now()
    clock.advance(timedelta(days=1))
    assert clock.now() == datetime(2026, 2, 1, tzinfo=UTC)
    clock.advance(timedelta(days=-2))
    assert clock.now() == datetime(2026, 1, 30, tzinfo=UTC)


def test_a_clock_without_a_zone_is_a_defect() -> None:
    with pytest.raises(AssertionError):
        ManualClock(datetime(2026, 1, 31, tzinfo=UTC).replace(tzinfo=None))


def test_the_clock_of_production_tells_utc() -> None:
    before = datetime.now(UTC)
    now = SystemClock().now()
    assert before <= now <= datetime.now(UTC)
    assert now.utcoffset() == timedelta(0)
