"""Verification of accounts: some countries' numbers may be used only by a verified account."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

import msgspec

from numberline.domain import errors
from numberline.domain.errors import Refusal

REQUIRED: Final = "REQUIRED"
IN_PROGRESS: Final = "IN_PROGRESS"
VERIFIED: Final = "VERIFIED"


class Verification(msgspec.Struct, frozen=True):
    """How far an account has come with one verification.

    `lapsed_on` is the day a number was lost, or its hold ran out, because the account was still unverified.
    """

    name: str
    status: str = REQUIRED
    lapsed_on: date | None = None


class Pending(msgspec.Struct, frozen=True):
    """A verification that a number being bought still waits for."""

    name: str
    status: str
    until: date


def demand(
    name: str, held: Verification, open_hold_until: date | None, today: date, hold_days: int
) -> Pending | None:
    """What a number demanding verification `name` means for its buyer.

    None: the account is verified. Otherwise the number is held for `hold_days`, unless an earlier hold has run
    out: then the purchase is refused, in one way while documents are missing, in another while they are examined.
    `open_hold_until` is the earliest hold date among the account's live numbers.
    """
    if held.status == VERIFIED:
        return None
    is_overdue = held.lapsed_on is not None or (open_hold_until is not None and open_hold_until <= today)
    if is_overdue:
        kind = errors.VERIFICATION_IN_PROGRESS if held.status == IN_PROGRESS else errors.VERIFICATION_REQUIRED
        raise Refusal(kind, verification=name, details={"verification_name": name})
    return Pending(name, held.status, today + timedelta(days=hold_days))
