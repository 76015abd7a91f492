"""The days of every institution, for the closure watch; what registers report of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_KINDS = (
    "new_representative", "new_address", "new_campus", "wage_arrears", "rent_arrears", "licence_revoked",
    "account_frozen", "large_outlay_approved",
)


def upgrade() -> None:
    _notices()
    _institution_days()


def downgrade() -> None:
    for table in (
        "institution_day_layout", "institution_month_totals", "institution_day_months", "institution_day_states",
        "institution_day_marks", "notices",
    ):
        op.drop_table(table)


def _notices() -> None:
    op.create_table(
        "notices",
        sa.Column("notice_no", sa.String(), nullable=False),
        sa.Column("uscc", sa.String(), nullable=False),
        sa.Column("noticed_on", sa.Date(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=True),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(f"kind IN ({', '.join(map(repr, _KINDS))})", name="ck_notices_kind"),
        sa.PrimaryKeyConstraint("notice_no", name="pk_notices"),
    )
    op.create_index("ix_notices_uscc_noticed_on", "notices", ["uscc", "noticed_on"])


def _institution_days() -> None:
    op.create_table(
        "institution_day_marks",
        sa.Column("uscc", sa.String(), nullable=False),
        sa.Column("from_on", sa.Date(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("uscc", name="pk_institution_day_marks"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "institution_day_states",
        sa.Column("uscc", sa.String(), nullable=False),
        sa.Column("first_on", sa.Date(), nullable=False),
        sa.Column("last_on", sa.Date(), nullable=False),
        sa.Column("began_on", sa.Date(), nullable=True),
        sa.Column("closed_accounts", sa.BigInteger(), nullable=False),
        sa.Column("made", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("uscc", name="pk_institution_day_states"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "institution_day_months",
        sa.Column("uscc", sa.String(), nullable=False),
        sa.Column("month", sa.BigInteger(), nullable=False),
        sa.Column("figures", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("uscc", "month", name="pk_institution_day_months"),
    )
    op.create_table(
        "institution_month_totals",
        sa.Column("month", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("figures", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("month", name="pk_institution_month_totals"),
    )
    op.create_table(
        "institution_day_layout",
        sa.Column("one_row", sa.Integer(), nullable=False),
        sa.Column("layout", sa.String(), nullable=False),
        sa.Column("law_version", sa.String(), nullable=False),
        sa.CheckConstraint("one_row = 1", name="ck_institution_day_layout_one_row"),
        sa.PrimaryKeyConstraint("one_row", name="pk_institution_day_layout"),
    )
