"""What people decide about alerts, silences, what was withheld, and answers to writes that may be repeated."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLE = "alert_decisions"
KINDS = "'acknowledgement', 'snooze', 'proposal', 'acceptance'"
SEVERITIES = "'info', 'yellow', 'orange', 'red'"


def upgrade() -> None:
    _alert_decisions()
    _kept_answers()
    _silences()
    _withheld()


def downgrade() -> None:
    op.drop_index("ix_feed_entries_recorded_at", "feed_entries")
    op.drop_table("withheld_deliveries")
    op.drop_table("silences")
    op.drop_table("kept_answers")
    op.drop_table(TABLE)


def _alert_decisions() -> None:
    op.create_table(
        TABLE,
        sa.Column("audit_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("alert_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("decided_by", sa.String(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("standing", sa.String(), nullable=False),
        sa.Column("why_zh", sa.String(), nullable=False),
        sa.Column("why_en", sa.String(), nullable=False),
        sa.Column("figures", sa.String(), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("proposed_by", sa.String(), nullable=True),
        sa.Column("ends", sa.Boolean(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_by", sa.String(), nullable=True),
        sa.Column("ended_reason", sa.String(), nullable=True),
        sa.CheckConstraint(f"kind IN ({KINDS})", name=f"ck_{TABLE}_kind"),
        sa.CheckConstraint(f"severity IN ({SEVERITIES})", name=f"ck_{TABLE}_severity"),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.alert_id"], name=f"fk_{TABLE}_alert_id_alerts"),
        sa.PrimaryKeyConstraint("audit_seq", name=f"pk_{TABLE}"),
    )
    op.create_index(f"ix_{TABLE}_alert_id", TABLE, ["alert_id"])
    op.create_index(
        f"uq_{TABLE}_standing", TABLE, ["alert_id", "kind"], unique=True,
        sqlite_where=sa.text("ended_at IS NULL"), postgresql_where=sa.text("ended_at IS NULL"),
    )


def _kept_answers() -> None:
    op.create_table(
        "kept_answers",
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("idempotency_key", sa.String(), nullable=False),
        sa.Column("asked_sha256", sa.String(), nullable=False),
        sa.Column("status", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("actor", "idempotency_key", name="pk_kept_answers"),
    )


def _silences() -> None:
    op.create_table(
        "silences",
        sa.Column("silence_id", sa.String(), nullable=False),
        sa.Column("matchers", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_by", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("silence_id", name="pk_silences"),
    )
    op.create_index("ix_silences_ends_at", "silences", ["ends_at"])


def _withheld() -> None:
    op.create_table(
        "withheld_deliveries",
        sa.Column("delivery_id", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("held_by", sa.String(), nullable=False),
        sa.Column("withheld_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["seq"], ["feed_entries.seq"], name="fk_withheld_deliveries_seq_feed_entries"),
        sa.PrimaryKeyConstraint("delivery_id", name="pk_withheld_deliveries"),
    )
    op.create_index("ix_withheld_deliveries_seq", "withheld_deliveries", ["seq"])
    # How many alerts one round opened is asked by its instant.
    op.create_index("ix_feed_entries_recorded_at", "feed_entries", ["recorded_at"])
