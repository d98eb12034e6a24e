"""What the files of questions have in common: a connection, and reading rows into the domain's terms."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numberline.store.contract import Connection


class Questions:
    """Questions put through one connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection


def day(text: str | None) -> date | None:
    """A day as the store keeps it, or None."""
    return None if text is None else date.fromisoformat(text)
