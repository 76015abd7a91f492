"""Contracts with what was paid, taught and claimed under them, and what they come to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

FEN_MAX = 2**53 - 1


def upgrade() -> None:
    _contracts()
    _contract_sums()


def downgrade() -> None:
    _drop_contract_sums()
    _drop_contracts()


def _texts(*names: str, nullable: bool = False) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.String(), nullable=nullable) for name in names]


def _days(*names: str, nullable: bool = False) -> list[sa.Column[object]]:
    return [sa.Column(name, sa.Date(), nullable=nullable) for name in names]


def _wholes(*names: str, nullable: bool = False) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=nullable) for name in names]


def _times(*names: str) -> list[sa.Column[object]]:
    return [sa.Column(name, sa.DateTime(timezone=True), nullable=False) for name in names]


def _exact(table: str, column: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(f"{column} BETWEEN -{FEN_MAX} AND {FEN_MAX}", name=f"ck_{table}_{column}")


def _contracts() -> None:
    op.create_table(
        "contracts",
        *_texts("contract_no", "uscc", "student_ref", "course"),
        *_texts("subject_kind", nullable=True),
        *_days("signed_on"),
        *_days("starts_on", "ends_on", nullable=True),
        *_wholes("lessons_paid", "lessons_gift"),
        *_texts("gift_policy", nullable=True),
        *_texts("currency"),
        *_wholes("fee_fen"),
        *_wholes("materials_fee_fen", nullable=True),
        sa.Column("materials_delivered", sa.Boolean(), nullable=True),
        *_wholes("full_refund_days_before", "full_refund_days_after", "full_refund_lessons", nullable=True),
        sa.Column("prior_same_service", sa.Boolean(), nullable=True),
        *_wholes("refund_deadline_days", nullable=True),
        *_texts(
            "refund_deadline_unit", "late_daily_rate", "penalty_pct_remaining", "template_id", "status", nullable=True
        ),
        *_times("recorded_at", "changed_at"),
        sa.CheckConstraint("subject_kind IN ('subject', 'non_subject')", name="ck_contracts_subject_kind"),
        sa.CheckConstraint("gift_policy IN ('paid_first', 'blended')", name="ck_contracts_gift_policy"),
        sa.CheckConstraint(
            "refund_deadline_unit IN ('working', 'calendar')", name="ck_contracts_refund_deadline_unit"
        ),
        _exact("contracts", "fee_fen"),
        _exact("contracts", "materials_fee_fen"),
        sa.PrimaryKeyConstraint("contract_no", name="pk_contracts"),
    )
    op.create_index("ix_contracts_uscc", "contracts", ["uscc"])
    _charges_and_lessons()
    _claims_and_complaints()


def _charges_and_lessons() -> None:
    op.create_table(
        "charges",
        *_texts("charge_no", "contract_no"),
        *_days("paid_on"),
        *_wholes("amount_fen"),
        *_texts("currency"),
        *_texts("channel", "account_no", "bank_ref", nullable=True),
        *_times("recorded_at", "changed_at"),
        _exact("charges", "amount_fen"),
        sa.PrimaryKeyConstraint("charge_no", name="pk_charges"),
    )
    for column in ("contract_no", "account_no", "bank_ref"):
        op.create_index(f"ix_charges_{column}", "charges", [column])
    op.create_table(
        "lessons",
        *_texts("contract_no"),
        sa.Column("session_no", sa.BigInteger(), autoincrement=False, nullable=False),
        *_texts("status"),
        *_days("taught_on", "requested_on", "decided_on", "silence_on", nullable=True),
        *_times("changed_at"),
        sa.CheckConstraint(
            "status IN ('requested', 'confirmed', 'deemed', 'disputed', 'cancelled')", name="ck_lessons_status"
        ),
        sa.PrimaryKeyConstraint("contract_no", "session_no", name="pk_lessons"),
        sqlite_with_rowid=False,
    )
    is_open = sa.text("(status = 'requested' OR (status = 'deemed' AND decided_on IS NULL))")
    op.create_index("ix_lessons_open", "lessons", ["requested_on"], sqlite_where=is_open, postgresql_where=is_open)


def _claims_and_complaints() -> None:
    op.create_table(
        "refund_claims",
        *_texts("claim_no", "contract_no"),
        *_days("claimed_on"),
        *_wholes("amount_fen", nullable=True),
        *_texts("currency", "cause", "note"),
        *_times("recorded_at", "changed_at"),
        sa.CheckConstraint(
            "cause IN ('consumer', 'institution', 'force_majeure', 'window')", name="ck_refund_claims_cause"
        ),
        _exact("refund_claims", "amount_fen"),
        sa.PrimaryKeyConstraint("claim_no", name="pk_refund_claims"),
    )
    for column in ("contract_no", "claimed_on"):
        op.create_index(f"ix_refund_claims_{column}", "refund_claims", [column])
    op.create_table(
        "refunds",
        *_texts("refund_no", "contract_no"),
        *_days("paid_on"),
        *_wholes("amount_fen"),
        *_texts("currency"),
        *_texts("claim_no", nullable=True),
        *_times("recorded_at", "changed_at"),
        _exact("refunds", "amount_fen"),
        sa.PrimaryKeyConstraint("refund_no", name="pk_refunds"),
    )
    for column in ("contract_no", "claim_no"):
        op.create_index(f"ix_refunds_{column}", "refunds", [column])
    op.create_table(
        "complaints",
        *_texts("complaint_no", "uscc"),
        *_days("received_on"),
        *_texts("channel", "complainant_ref", "topic", nullable=True),
        *_texts("note"),
        *_times("recorded_at", "changed_at"),
        sa.PrimaryKeyConstraint("complaint_no", name="pk_complaints"),
    )
    op.create_index("ix_complaints_uscc_received_on", "complaints", ["uscc", "received_on"])


def _drop_contracts() -> None:
    for table in ("complaints", "refunds", "refund_claims", "lessons", "charges", "contracts"):
        op.drop_table(table)


def _contract_sums() -> None:
    op.create_table(
        "contract_accounts",
        *_texts("contract_no", "uscc", "currency"),
        *_wholes("paid_fen", "refunded_fen", "confirmed", "disputed", "pending", "unknown", "entitled_fen"),
        *_wholes("disputed_fen"),
        *_wholes("obligation_fen", nullable=True),
        *_days("next_change_on", nullable=True),
        sa.PrimaryKeyConstraint("contract_no", name="pk_contract_accounts"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_contract_accounts_uscc", "contract_accounts", ["uscc"])
    changes = sa.text("next_change_on IS NOT NULL")
    op.create_index(
        "ix_contract_accounts_next_change_on", "contract_accounts", ["next_change_on"], sqlite_where=changes,
        postgresql_where=changes,
    )
    op.create_table(
        "contract_months",
        *_texts("contract_no", "month", "uscc", "currency"),
        *_wholes("charged_fen"),
        sa.PrimaryKeyConstraint("contract_no", "month", name="pk_contract_months"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "institution_obligations",
        *_texts("uscc", "currency"),
        *_wholes("contracts", "impossible", "obligation_fen"),
        sa.PrimaryKeyConstraint("uscc", "currency", name="pk_institution_obligations"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "institution_months",
        *_texts("uscc", "currency", "month"),
        *_wholes("contracts", "charged_fen"),
        sa.PrimaryKeyConstraint("uscc", "currency", "month", name="pk_institution_months"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "contract_sums_day",
        sa.Column("one_row", sa.Integer(), nullable=False),
        *_days("day"),
        sa.CheckConstraint("one_row = 1", name="ck_contract_sums_day_one_row"),
        sa.PrimaryKeyConstraint("one_row", name="pk_contract_sums_day"),
    )


def _drop_contract_sums() -> None:
    for table in (
        "contract_sums_day", "institution_months", "institution_obligations", "contract_months", "contract_accounts"
    ):
        op.drop_table(table)
