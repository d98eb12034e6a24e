"""PostgreSQL takes any offer's share of the stock, and any account's of the rentals, for a hundredth of a percent.

Its plans are made before the values are known. Where few offers hold all stock it would expect half of it from each, and
go through the whole table, or through other offers' blocks, instead of taking the index that begins with the offer.
"""

from __future__ import annotations

from typing import Final

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_SHARED: Final = (("block", "offer_id"), ("rental", "account_id"))


def upgrade() -> None:
    """Apply."""
    _change("SET (n_distinct = 10000)")


def downgrade() -> None:
    """Take back."""
    _change("RESET (n_distinct)")


def _change(setting: str) -> None:
    if op.get_context().dialect.name == "sqlite":
        return
    for table, column in _SHARED:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} {setting}")
        # What is known of the table now would stay true until it has changed a lot.
        op.execute(f"ANALYZE {table}")
