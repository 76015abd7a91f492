"""What every bank's answers add: corrections, breaks and links, answers kept once, and whose turn it is at a bank."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _corrections()
    _breaks_and_links()
    _answers()
    _turns()
    _certificates()


def downgrade() -> None:
    _drop_certificates()
    _drop_turns()
    _drop_answers()
    _drop_breaks_and_links()
    _drop_corrections()


def _corrections() -> None:
    op.add_column("statements", sa.Column("superseded_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("statements", sa.Column("superseded_by", sa.String(), nullable=True))
    op.add_column("entries", sa.Column("accounted_on", sa.Date(), nullable=True))
    op.add_column("entries", sa.Column("superseded_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("entries", sa.Column("superseded_by", sa.String(), nullable=True))
    op.add_column("account_days", sa.Column("reopened_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("account_days", sa.Column("news_at", sa.DateTime(timezone=True), nullable=True))
    is_news = sa.text("news_at IS NOT NULL")
    op.create_index(
        "ix_account_days_news_at", "account_days", ["news_at"], sqlite_where=is_news, postgresql_where=is_news
    )
    op.add_column("coverage_gaps", sa.Column("reason", sa.String(), nullable=False, server_default="working_day"))
    op.add_column("coverage_gaps", sa.Column("tries", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("coverage_gaps", sa.Column("tried_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("coverage_gaps", sa.Column("try_after", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "statement_corrections",
        sa.Column("account_no", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in (
                "opening_before_fen", "opening_after_fen", "closing_before_fen", "closing_after_fen",
                "added", "added_credits_fen", "added_debits_fen",
                "removed", "removed_credits_fen", "removed_debits_fen",
            )
        ),
        sa.Column("reopened_day", sa.Date(), nullable=True),
        *(
            sa.Column(name, sa.String(), nullable=False)
            for name in ("source", "source_before", "statement_id", "statement_id_before")
        ),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account_no", "day", "number", name="pk_statement_corrections"),
    )
    op.create_index("ix_statement_corrections_recorded_at", "statement_corrections", ["recorded_at"])
    # An entry dated outside its statement's days is in the figures of the nearest of them.
    op.execute(
        "UPDATE entries SET accounted_on = CASE WHEN booked_on < coalesce(s.covers_from, s.covers_to, s.closing_on)"
        " THEN coalesce(s.covers_from, s.covers_to, s.closing_on) WHEN booked_on > coalesce(s.covers_to, s.closing_on)"
        " THEN coalesce(s.covers_to, s.closing_on) ELSE booked_on END FROM statements s"
        " WHERE s.statement_id = entries.statement_id AND entries.final AND s.kind = 'end_of_day'"
    )


def _drop_corrections() -> None:
    op.drop_index("ix_statement_corrections_recorded_at", "statement_corrections")
    op.drop_table("statement_corrections")
    # The older program does not know that they no longer count.
    op.execute("DELETE FROM entries WHERE superseded_at IS NOT NULL")
    op.drop_index("ix_account_days_news_at", "account_days")
    for table, columns in (
        ("coverage_gaps", ("try_after", "tried_at", "tries", "reason")),
        ("account_days", ("news_at", "reopened_at")),
        ("entries", ("superseded_by", "superseded_at", "accounted_on")),
        ("statements", ("superseded_by", "superseded_at")),
    ):
        for column in columns:
            op.drop_column(table, column)


LINKED = ("reversed_credits_fen", "reversed_debits_fen", "own_credits_fen", "own_debits_fen")
FEN_MAX = 2**53 - 1


def _breaks_and_links() -> None:
    for table in ("account_days", "account_months"):
        for column in LINKED:
            op.add_column(table, sa.Column(column, sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("entries", sa.Column("counterparty_account_sha256", sa.String(), nullable=True))
    op.create_index("ix_entries_account_no_amount_fen_booked_on", "entries", ["account_no", "amount_fen", "booked_on"])
    op.create_index(
        "ix_entries_reversal", "entries", ["account_no", "booked_on"],
        sqlite_where=sa.text("reversal"), postgresql_where=sa.text("reversal"),
    )
    op.create_table(
        "balance_breaks",
        sa.Column("account_no", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("stated_fen", sa.BigInteger(), nullable=False),
        sa.Column("stated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rolled_fen", sa.BigInteger(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cleared_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('closing')", name="ck_balance_breaks_kind"),
        sa.CheckConstraint(f"stated_fen BETWEEN -{FEN_MAX} AND {FEN_MAX}", name="ck_balance_breaks_stated_fen"),
        sa.CheckConstraint(f"rolled_fen BETWEEN -{FEN_MAX} AND {FEN_MAX}", name="ck_balance_breaks_rolled_fen"),
        sa.PrimaryKeyConstraint("account_no", "day", "kind", name="pk_balance_breaks"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_balance_breaks_cleared_at_account_no", "balance_breaks", ["cleared_at", "account_no"])
    op.create_table(
        "entry_links",
        sa.Column("account_no", sa.String(), nullable=False),
        sa.Column("booked_on", sa.Date(), nullable=False),
        sa.Column("identity", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("other_account_no", sa.String(), nullable=False),
        sa.Column("other_booked_on", sa.Date(), nullable=False),
        sa.Column("other_identity", sa.String(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("basis", sa.String(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('reversal', 'own_transfer')", name="ck_entry_links_kind"),
        sa.CheckConstraint(
            "basis IN ('reference', 'counterparty', 'text', 'amount', 'both_accounts', 'one_account')",
            name="ck_entry_links_basis",
        ),
        sa.CheckConstraint(f"amount_fen BETWEEN -{FEN_MAX} AND {FEN_MAX}", name="ck_entry_links_amount_fen"),
        sa.PrimaryKeyConstraint("account_no", "booked_on", "identity", name="pk_entry_links"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_entry_links_other", "entry_links", ["other_account_no", "other_booked_on", "other_identity"]
    )


def _drop_breaks_and_links() -> None:
    op.drop_table("entry_links")
    op.drop_table("balance_breaks")
    op.drop_index("ix_entries_reversal", "entries")
    op.drop_index("ix_entries_account_no_amount_fen_booked_on", "entries")
    op.drop_column("entries", "counterparty_account_sha256")
    for table in ("account_days", "account_months"):
        for column in LINKED:
            op.drop_column(table, column)


def _answers() -> None:
    op.add_column("account_states", sa.Column("balance_moves", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("account_standings", sa.Column("checked_facts", sa.BigInteger(), nullable=True))
    op.add_column("account_standings", sa.Column("quiet_from_fen", sa.BigInteger(), nullable=True))


def _drop_answers() -> None:
    op.drop_column("account_standings", "quiet_from_fen")
    op.drop_column("account_standings", "checked_facts")
    op.drop_column("account_states", "balance_moves")


def _turns() -> None:
    op.create_table(
        "bank_turns",
        sa.Column("bank", sa.String(), nullable=False),
        sa.Column("holder", sa.String(), nullable=True),
        sa.Column("claimant", sa.String(), nullable=True),
        sa.Column("since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("held_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rest_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("bank", name="pk_bank_turns"),
    )


def _drop_turns() -> None:
    op.drop_table("bank_turns")


def _certificates() -> None:
    op.create_table(
        "bank_certificates",
        sa.Column("bank", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("issuer", sa.String(), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("not_after", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("bank", name="pk_bank_certificates"),
    )


def _drop_certificates() -> None:
    op.drop_table("bank_certificates")
