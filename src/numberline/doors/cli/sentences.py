"""What a person is told of an exception: one sentence, without a traceback."""

from __future__ import annotations

import errno
from typing import Final

from numberline.domain.errors import Refusal
from numberline.settings import BadSettings
from numberline.store.errors import (
    CommitUnknown,
    ConstraintViolated,
    SchemaMismatch,
    StoreBusy,
    StoreUnavailable,
)

_MEANS: Final = {
    "uq_account_name": "Another account has that name.",
    "uq_account_email": "Another account has that e-mail address.",
    "pk_account": "Another account has that id.",
    "pk_access_key": "Another key has that id.",
}
_FULL: Final = ("disk is full", "No space left", "could not extend file")


def describe(error: Exception) -> tuple[str, int]:
    """The sentence for an exception and the exit code it deserves."""
    if isinstance(error, BadSettings):
        return "\n".join(error.problems), 2
    return _sentence(error), 1


def _sentence(error: Exception) -> str:
    text = str(error).strip()
    if any(sign in text for sign in _FULL) or getattr(error, "errno", None) == errno.ENOSPC:
        return "The disk is full: nothing more can be stored until there is room."
    if isinstance(error, ConstraintViolated):
        return _MEANS.get(error.constraint, f"The store refused the change: {error.constraint}.")
    if isinstance(error, SchemaMismatch):
        return f"{_capital(text)}; `numberline init` upgrades an older one."
    if isinstance(error, StoreBusy):
        return "The store is busy: another program holds it. Try again."
    if isinstance(error, CommitUnknown):
        return "The store broke off while it was saving: look before you repeat the command."
    if isinstance(error, StoreUnavailable):
        return f"The database cannot be used: {_first_line(error)}."
    if isinstance(error, Refusal):
        return error.sentence
    if isinstance(error, OSError):
        return _of_system(error)
    if isinstance(error, ValueError) and text:
        return _capital(text) if text.endswith(".") else f"{_capital(text)}."
    return f"Unexpected: {type(error).__name__}: {_first_line(error)}. `numberline --debug ...` tells where."


def _of_system(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    if error.filename:
        return f"{error.filename}: {reason}."
    if isinstance(error, ConnectionError):
        return f"The database cannot be reached: {reason}."
    return f"{_capital(reason)}."


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
