"""The rental: what an account holds of a number, and the calendar by which it renews.

| state       | on the wire                                         | enters by                            | leaves by |
|-------------|-----------------------------------------------------|--------------------------------------|-----------|
| free        | GetNewPhoneNumbers                                  | import, end of quarantine            | attach    |
| attached    | deactivated=false, canceled=false                   | attach                               | freeze, cancel, hold expiry |
| unverified  | + required_verification, unverified_hold_until      | attach where verification is missing | verification, hold expiry |
| frozen      | deactivated=true                                    | renewal not paid                     | payment, one period later |
| canceled    | canceled=true                                       | giving the number up                 | end of the paid period |
| quarantined | nowhere                                             | any detachment                       | after the quarantine |
"""

from __future__ import annotations

from calendar import monthrange
from datetime import date, datetime
from functools import lru_cache
from typing import Final

import msgspec

# What the carrier's side says of a number; frozen numbers carry no calls.
ACTIVE_STATUS: Final = "ACTIVE"
FROZEN_STATUS: Final = "DEACTIVATED"


class Rental(msgspec.Struct, frozen=True, kw_only=True):
    """One account's hold on one number; fees in micros of the account's currency.

    `verification` names what the number's region demands, empty for nothing; `unverified_until` is the day the
    number is taken away unless the account is verified.
    """

    id: int
    number: int
    account_id: int
    offer_id: int
    region_id: int
    purchased_at: datetime
    renews_on: date
    anchor_day: int
    fee_micros: int
    tax_micros: int
    is_frozen: bool = False
    is_canceled: bool = False
    auto_charge: bool = True
    unverified_until: date | None = None
    verification: str = ""
    regulation_address_id: int | None = None
    modified_at: datetime


@lru_cache(maxsize=128)
def next_renewal(day: date, anchor_day: int) -> date:
    """The renewal after `day`: the anchor day of the next month, or that month's last day where it is shorter."""
    assert 1 <= anchor_day <= 31, "an anchor is a day of a month"
    year, month = (day.year + 1, 1) if day.month == 12 else (day.year, day.month + 1)
    return date(year, month, min(anchor_day, monthrange(year, month)[1]))
