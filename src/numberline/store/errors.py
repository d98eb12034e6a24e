"""What can go wrong in a store, in terms both engines share."""

from __future__ import annotations

from typing import Final

from numberline.domain import errors
from numberline.domain.errors import ErrorKind


class StoreError(Exception):
    """The base of all that follows."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or failed; the transaction had no effect."""


class CommitUnknown(StoreError):
    """The store broke off during the commit: the transaction happened whole, or not at all."""


class StoreBusy(StoreError):
    """A lock was not to be had in time; the transaction had no effect."""


class LockNotFree(StoreError):
    """A row that the work needs is held by somebody else for too long; the transaction had no effect."""


class ConstraintViolated(StoreError):
    """A named constraint refused a write; the transaction had no effect."""

    def __init__(self, constraint: str) -> None:
        super().__init__(constraint)
        self.constraint = constraint


class SchemaMismatch(StoreError):
    """The store's schema is not the one this program was written for."""


# What a constraint means to a caller. Anything absent here is a defect, should it ever refuse a write.
REFUSALS: Final[dict[str, ErrorKind]] = {
    "uq_rental_number": errors.NUMBER_TAKEN,
    "ck_wallet_no_overdraft": errors.INSUFFICIENT_MONEY,
    "ck_wallet_rental_limit": errors.RENTAL_LIMIT,
}
