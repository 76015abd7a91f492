"""The seals of the audit chain, and the last gap in what SQLite refuses to change."""

# ruff: noqa: S608 - SQL is put together from our own constants only.

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

APPEND_ONLY = {"audit_entries": "seq", "feed_entries": "seq", "audit_seals": "number"}


def upgrade() -> None:
    op.create_table(
        "audit_seals",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("canonical", sa.String(), nullable=False),
        sa.Column("signature", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_audit_seals"),
    )
    if op.get_bind().dialect.name == "sqlite":
        _refuse_sqlite()
    else:
        _refuse_postgresql()


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for table in APPEND_ONLY:
            op.execute(f"DROP TRIGGER {table}_no_replace")
    op.drop_table("audit_seals")


def _refuse_sqlite() -> None:
    for change in ("update", "delete"):
        op.execute(
            f"CREATE TRIGGER audit_seals_no_{change} BEFORE {change.upper()} ON audit_seals"
            " BEGIN SELECT RAISE(ABORT, 'audit_seals is append-only'); END"
        )
    # INSERT OR REPLACE deletes the old row without asking the trigger on DELETE.
    for table, key in APPEND_ONLY.items():
        op.execute(
            f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table}"
            f" WHEN EXISTS (SELECT 1 FROM {table} WHERE {key} = NEW.{key})"
            f" BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )


def _refuse_postgresql() -> None:
    op.execute(
        "CREATE TRIGGER audit_seals_no_change BEFORE UPDATE OR DELETE ON audit_seals"
        " FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER audit_seals_no_truncate BEFORE TRUNCATE ON audit_seals"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
