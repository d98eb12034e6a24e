"""The tables that every purchase adds to lose the references whose parents are certain; the auditor checks them."""

from __future__ import annotations

import re
from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Table, column and the table that the column refers to by its id.
_REFERENCES: Final = (
    ("rental", "account_id", "account"),
    ("rental", "offer_id", "offer"),
    ("movement", "account_id", "account"),
    ("posting", "movement_id", "movement"),
    ("charge", "rental_id", "rental"),
    ("charge", "account_id", "account"),
    ("idempotency", "account_id", "account"),
)


def upgrade() -> None:
    """Apply."""
    for table, column, parent in _REFERENCES:
        if op.get_context().dialect.name == "sqlite":
            _make_anew(table, _declared(table).replace(_clause_in(table, column, parent), ""))
        else:
            op.drop_constraint(f"fk_{table}_{parent}", table, type_="foreignkey")


def downgrade() -> None:
    """Take back; refused by PostgreSQL when a row has lost its parent since."""
    for table, column, parent in _REFERENCES:
        if op.get_context().dialect.name == "sqlite":
            clause = f", CONSTRAINT fk_{table}_{parent} FOREIGN KEY({column}) REFERENCES {parent} (id)"
            _make_anew(table, f"{_declared(table).rstrip().removesuffix(')')}{clause})")
        else:
            op.create_foreign_key(op.f(f"fk_{table}_{parent}"), table, parent, [column], ["id"])


def _clause_in(table: str, column: str, parent: str) -> str:
    """The reference as the table's declaration spells it."""
    pattern = rf",\s*CONSTRAINT fk_{table}_{parent} FOREIGN KEY\s*\({column}\) REFERENCES {parent} \(id\)"
    found = re.search(pattern, _declared(table))
    assert found, f"{table} does not declare fk_{table}_{parent}"
    return found.group()


def _declared(table: str) -> str:
    """A table as SQLite's own record declares it, so that nothing but the reference changes."""
    query = sa.text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = :table")
    return str(op.get_bind().execute(query, {"table": table}).scalar_one())


def _make_anew(table: str, declaration: str) -> None:
    """SQLite cannot change the constraints of a table, so its rows move to a new one."""
    query = sa.text("SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name = :table AND sql <> ''")
    indexes = op.get_bind().execute(query, {"table": table}).scalars().all()
    run = op.get_bind().exec_driver_sql
    run(re.sub(rf'^CREATE TABLE "?{table}"?', f"CREATE TABLE new_{table}", declaration))
    run(f"INSERT INTO new_{table} SELECT * FROM {table}")  # noqa: S608 - names of this file
    op.drop_table(table)
    op.rename_table(f"new_{table}", table)
    for index in indexes:
        run(index)
