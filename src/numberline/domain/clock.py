"""Time is a parameter: nothing reads the wall clock but a `Clock`."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Clock(Protocol):
    """Tells the present instant."""

    def now(self) -> datetime:
        """The present instant, in UTC."""


class SystemClock:
    """The clock of production."""

    def now(self) -> datetime:
        """The machine's time, in UTC."""
        return datetime.fromtimestamp(time.time(), UTC)


class ManualClock:
    """A clock that stands until it is moved; of the same shape as the real one."""

    def __init__(self, start: datetime) -> None:
        assert start.tzinfo is not None, "instants carry their zone"
        self._now = start

    def now(self) -> datetime:
        """The instant the clock was last set to."""
        return self._now

    def advance(self, by: timedelta) -> None:
        """Move the clock; a negative step moves it back."""
        self._now += by


def to_micros(instant: datetime) -> int:
    """An instant as whole microseconds since 1970 in UTC, the form in which stores keep it."""
    return (instant - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The instant that `to_micros` gave `micros` for."""
    return _EPOCH + timedelta(microseconds=micros)


def day_of(instant: datetime) -> date:
    """The UTC day an instant falls on."""
    return instant.astimezone(UTC).date()
