"""An account's rentals lie in the order of their purchase: a page of them is read, not sorted out of all."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_LIVE: Final = sa.text("detached_at IS NULL")
_BEFORE: Final = "ix_rental_account_id", ["account_id", "number"]
_NOW: Final = "ix_rental_account_purchased", ["account_id", "purchased_at", "number"]


def upgrade() -> None:
    """Apply."""
    _replace(_BEFORE, _NOW)


def downgrade() -> None:
    """Take back."""
    _replace(_NOW, _BEFORE)


def _replace(old: tuple[str, list[str]], new: tuple[str, list[str]]) -> None:
    op.drop_index(old[0], table_name="rental")
    op.create_index(new[0], "rental", new[1], postgresql_where=_LIVE, sqlite_where=_LIVE)
