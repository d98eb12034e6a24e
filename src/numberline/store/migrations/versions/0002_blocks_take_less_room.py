"""Blocks take less room: no row ids on SQLite, fuller pages on PostgreSQL.

Maps stay as they are: one that is kept as bits is read as ever, and kept as edges when its block next changes.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_OLD_COMMENT: Final = "1000 bits, ending 0 lowest; absent: all thousand free"
_NEW_COMMENT: Final = "edges or 1000 bits, see domain.blocks.pack; absent: all thousand free"


def upgrade() -> None:
    """Apply."""
    if op.get_context().dialect.name == "sqlite":
        _make_anew(with_rowid=False)
    else:
        _alter(fillfactor=90, old=_OLD_COMMENT, new=_NEW_COMMENT)


def downgrade() -> None:
    """Take back; only the program of the time before cannot read the maps that were kept as edges since."""
    if op.get_context().dialect.name == "sqlite":
        _make_anew(with_rowid=True)
    else:
        _alter(fillfactor=70, old=_NEW_COMMENT, new=_OLD_COMMENT)


def _alter(*, fillfactor: int, old: str, new: str) -> None:
    op.alter_column("block", "free_map", existing_type=sa.LargeBinary(), comment=new, existing_comment=old)
    # Pages that are there keep their room; it is used up by and by.
    op.execute(f"ALTER TABLE block SET (fillfactor = {fillfactor})")


def _make_anew(*, with_rowid: bool) -> None:
    """SQLite cannot change how a table is kept, so its rows move to a new one."""
    op.create_table(
        "new_block",
        sa.Column("offer_id", sa.Integer(), nullable=False),
        sa.Column("prefix", sa.BigInteger(), nullable=False),
        sa.Column("stocked_count", sa.SmallInteger(), nullable=False),
        sa.Column("free_count", sa.SmallInteger(), nullable=False),
        sa.Column("free_map", sa.LargeBinary(), nullable=True),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "free_count >= 0 AND free_count <= stocked_count AND stocked_count <= 1000",
            name=op.f("ck_block_counts"),
        ),
        sa.CheckConstraint("is_open = (free_count > 0)", name=op.f("ck_block_open")),
        sa.ForeignKeyConstraint(["offer_id"], ["offer.id"], name=op.f("fk_block_offer")),
        sa.PrimaryKeyConstraint("offer_id", "prefix", name=op.f("pk_block")),
        sqlite_with_rowid=with_rowid,
    )
    columns = "offer_id, prefix, stocked_count, free_count, free_map, is_open"
    op.execute(f"INSERT INTO new_block SELECT {columns} FROM block ORDER BY offer_id, prefix")  # noqa: S608 - no input
    op.drop_table("block")
    op.rename_table("new_block", "block")
    op.create_index(
        "ix_block_open", "block", ["offer_id", "prefix"], unique=False, sqlite_where=sa.text("is_open = 1")
    )
    op.create_index("ix_block_prefix", "block", ["prefix"], unique=False)
