"""PostgreSQL takes any offer's share of the stock for small, and any account's share of the rentals.

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

# How many there are, as it were. Rentals are joined, for which an account may well have thousands of them.
_SHARED: Final = (("block", "offer_id", 10_000), ("rental", "account_id", 100))


def upgrade() -> None:
    """Apply."""
    _change("SET (n_distinct = {count})")


def downgrade() -> None:
    """Take back."""
    _change("RESET (n_distinct)")


def _change(setting: str) -> None:
    if op.get_context().dialect.name == "sqlite":
        return
    for table, column, count in _SHARED:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} {setting.format(count=count)}")
        # What is known of the table now would stay true until it has changed a lot.
        op.execute(f"ANALYZE {table}")
