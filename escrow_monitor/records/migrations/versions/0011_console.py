"""Who signs in from outside, and long work that outlives the process that began it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _people()
    _works()
    _cases()
    _register()
    _indexes()


def downgrade() -> None:
    """Take away what `upgrade` made, the newest first."""
    op.drop_index("ix_deliveries_state_channel", "deliveries")
    op.drop_index("ix_alerts_banks", "alerts")
    op.drop_index("ix_account_standings_colours", "account_standings")
    op.create_index("ix_account_standings_colours", "account_standings", ["standing", "level"])
    op.drop_table("register_version")
    for table in ("upload_parts", "uploads", "works"):
        op.drop_table(table)
    _drop_cases()
    op.drop_table("identities")


def _people() -> None:
    """Identities of people at an OIDC provider."""
    op.create_table(
        "identities",
        sa.Column("issuer", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("user_name", sa.String(), nullable=False),
        sa.Column("linked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("linked_by", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["user_name"], ["users.name"], name=op.f("fk_identities_user_name_users")),
        sa.PrimaryKeyConstraint("issuer", "subject", name=op.f("pk_identities")),
        sa.UniqueConstraint("user_name", "issuer", name=op.f("uq_identities_user_name_issuer")),
    )


def _works() -> None:
    """Long work, its progress and its result; files that were sent for it."""
    op.create_table(
        "works",
        *(sa.Column(name, sa.String(), nullable=False) for name in (
            "work_id", "kind", "owner", "subject", "asked", "process", "state",
        )),
        sa.Column("done", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=True),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("beat_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("result", sa.String(), nullable=True),
        sa.Column("error", sa.String(), nullable=False),
        sa.CheckConstraint("state IN ('queued', 'running', 'done', 'failed', 'lost')", name=op.f("ck_works_state")),
        sa.PrimaryKeyConstraint("work_id", name=op.f("pk_works")),
    )
    op.create_index("ix_works_kind_owner_begun_at", "works", ["kind", "owner", "begun_at"])
    op.create_index("ix_works_beat_at", "works", ["beat_at"])
    op.create_table(
        "uploads",
        *(sa.Column(name, sa.String(), nullable=False) for name in ("file_id", "owner", "kind", "filename", "sha256")),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("touched_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("trial_id", sa.String(), nullable=True),
        sa.Column("keeping_id", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("file_id", name=op.f("pk_uploads")),
    )
    op.create_index("ix_uploads_touched_at", "uploads", ["touched_at"])
    op.create_table(
        "upload_parts",
        sa.Column("file_id", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("content_zlib", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("file_id", "number", name=op.f("pk_upload_parts")),
    )


def _cases() -> None:
    """Who said what in a dispute and who reads it; payments that an institution says it made."""
    marks = (
        ("role", "staff", "'staff', 'institution', 'family', 'second', 'system'"),
        # What was written before was written for supervisors.
        ("audience", "supervisors", "'supervisors', 'institution'"),
    )
    for table in ("case_notes", "case_evidence"):
        for name, default, values in marks:
            # In words of SQL, for both databases know a column with its check, and alembic adds none on SQLite.
            op.execute(
                f"ALTER TABLE {table} ADD COLUMN {name} VARCHAR DEFAULT '{default}' NOT NULL"
                f" CONSTRAINT ck_{table}_{name} CHECK ({name} IN ({values}))"
            )
    op.create_table(
        "case_said_payments",
        sa.Column("case_no", sa.String(), nullable=False),
        sa.Column("said_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("paid_on", sa.Date(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("bank_ref", "note", "actor")),
        sa.Column("said_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("amount_fen BETWEEN 1 AND 9007199254740991", name="ck_case_said_payments_amount_fen"),
        sa.PrimaryKeyConstraint("case_no", "said_no", name="pk_case_said_payments"),
    )
    if op.get_bind().dialect.name == "sqlite":
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER case_said_payments_no_{change.lower()} BEFORE {change} ON case_said_payments"
                " BEGIN SELECT RAISE(ABORT, 'case_said_payments is append-only'); END"
            )
        return
    op.execute(
        "CREATE TRIGGER case_said_payments_no_change BEFORE UPDATE OR DELETE ON case_said_payments"
        " FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER case_said_payments_no_truncate BEFORE TRUNCATE ON case_said_payments"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def _drop_cases() -> None:
    op.drop_table("case_said_payments")
    for table in ("case_notes", "case_evidence"):
        for name in ("role", "audience"):
            op.execute(f"ALTER TABLE {table} DROP COLUMN {name}")


def _register() -> None:
    """How often the register changed, for who holds all names of it in memory."""
    made = op.create_table(
        "register_version",
        sa.Column("one", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_register_version")),
    )
    op.bulk_insert(made, [{"one": 1, "version": 0}])


def _indexes() -> None:
    """What pages add up: accounts by standing and district, the banks of open alerts, deliveries by channel."""
    op.drop_index("ix_account_standings_colours", "account_standings")
    op.create_index("ix_account_standings_colours", "account_standings", ["standing", "level", "district"])
    op.create_index("ix_alerts_banks", "alerts", ["status", "bank"])
    op.create_index("ix_deliveries_state_channel", "deliveries", ["state", "channel"])
