"""What the files of questions have in common: a connection, and reading rows into the domain's terms."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, update

from numberline.store.schema import id_range, wallet
from numberline.store.statements import Statement

if TYPE_CHECKING:
    from numberline.store.contract import Connection


# Takes the next `count_` ids of a kind and returns the first id after them.
RESERVE_IDS: Final = Statement(
    update(id_range)
    .where(id_range.c.name == bindparam("name_"))
    .values(next_id=id_range.c.next_id + bindparam("count_"))
    .returning(id_range.c.next_id)
)

# A wallet as the domain has it, column by column.
MONEY: Final = (
    wallet.c.funds_micros,
    wallet.c.held_micros,
    wallet.c.credit_limit_micros,
    wallet.c.rental_count,
    wallet.c.rental_limit,
)


class Questions:
    """Questions put through one connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection


def day(text: str | None) -> date | None:
    """A day as the store keeps it, or None."""
    return None if text is None else date.fromisoformat(text)
