"""Whoever changes who may do what raises a revision, whichever program does it: triggers of the database see to that."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# A new account has no keys yet, so nobody can have been refused or admitted for its sake.
_IDENTITY: Final = "name, parent_id, is_active, is_frozen, currency, billing_country, api_key_hash"
_CHANGES: Final = (
    ("account", "update", f"UPDATE OF {_IDENTITY}"),
    ("account", "delete", "DELETE"),
    ("access_key", "insert", "INSERT"),
    ("access_key", "update", "UPDATE"),
    ("access_key", "delete", "DELETE"),
    ("key_role", "insert", "INSERT"),
    ("key_role", "update", "UPDATE"),
    ("key_role", "delete", "DELETE"),
)
_RAISE: Final = "UPDATE access_revision SET revision = revision + 1"
_FUNCTION: Final = (
    "CREATE FUNCTION raise_access_revision() RETURNS trigger LANGUAGE plpgsql"
    f" AS $$ BEGIN {_RAISE}; RETURN NULL; END $$"
)


def upgrade() -> None:
    """Apply."""
    made = op.create_table(
        "access_revision",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column(
            "revision",
            sa.BigInteger(),
            nullable=False,
            comment="rises with every change of keys, roles and what admits an account",
        ),
        sa.CheckConstraint("id = 1", name=op.f("ck_access_revision_single_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_revision")),
    )
    op.bulk_insert(made, [{"id": 1, "revision": 0}])
    is_sqlite = op.get_context().dialect.name == "sqlite"
    if not is_sqlite:
        op.execute(_FUNCTION)
    for table, what, event in _CHANGES:
        head = f"CREATE TRIGGER {table}_{what}_is_seen AFTER {event} ON {table}"
        op.execute(
            f"{head} BEGIN {_RAISE}; END"
            if is_sqlite
            else f"{head} FOR EACH STATEMENT EXECUTE FUNCTION raise_access_revision()"
        )


def downgrade() -> None:
    """Take back."""
    is_sqlite = op.get_context().dialect.name == "sqlite"
    for table, what, _ in _CHANGES:
        op.execute(f"DROP TRIGGER {table}_{what}_is_seen" + ("" if is_sqlite else f" ON {table}"))
    if not is_sqlite:
        op.execute("DROP FUNCTION raise_access_revision()")
    op.drop_table("access_revision")
