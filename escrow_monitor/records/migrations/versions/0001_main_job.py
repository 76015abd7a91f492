"""The tables of the main job, and the triggers that keep feed and audit chain append-only."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

APPEND_ONLY = ("audit_entries", "feed_entries")


def upgrade() -> None:
    _create_tables()
    op.execute("INSERT INTO chain_head (one_row, audit_seq, audit_head, feed_seq) VALUES (1, 0, '" + "0" * 64 + "', 0)")
    if op.get_bind().dialect.name == "sqlite":
        _refuse_changes_sqlite()
    else:
        _refuse_changes_postgresql()


def downgrade() -> None:
    op.drop_table("delivery_attempts")
    op.drop_table("deliveries")
    op.drop_table("account_states")
    op.drop_table("account_standings")
    op.drop_table("statements")
    op.drop_table("statement_files")
    op.drop_table("runs")
    op.drop_table("readings")
    op.drop_table("raw_documents")
    op.drop_table("pulls")
    op.drop_table("nodes")
    op.drop_table("institutions")
    op.drop_table("feed_entries")
    op.drop_table("entries")
    op.drop_table("coverage_gaps")
    op.drop_table("chain_head")
    op.drop_table("audit_entries")
    op.drop_table("api_keys")
    op.drop_table("alerts")
    op.drop_table("accounts")
    op.drop_table("account_months")
    op.drop_table("account_days")
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION refuse_change()")


def _refuse_changes_sqlite() -> None:
    for table in APPEND_ONLY:
        for change in ("update", "delete"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{change} BEFORE {change.upper()} ON {table}"
                f" BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )


def _refuse_changes_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def _create_tables() -> None:
    op.create_table(
        "account_days",
        sa.Column("account_no", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("covered", sa.Boolean(), nullable=False),
        sa.Column("opening_fen", sa.BigInteger(), nullable=True),
        sa.Column("closing_fen", sa.BigInteger(), nullable=True),
        sa.Column("credits_fen", sa.BigInteger(), nullable=False),
        sa.Column("debits_fen", sa.BigInteger(), nullable=False),
        sa.Column("largest_debit_fen", sa.BigInteger(), nullable=False),
        sa.Column("statement_id", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("account_no", "day", name="pk_account_days"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "account_months",
        sa.Column("account_no", sa.String(), nullable=False),
        sa.Column("month", sa.String(), nullable=False),
        sa.Column("credits_fen", sa.BigInteger(), nullable=False),
        sa.Column("debits_fen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_no", "month", name="pk_account_months"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "accounts",
        sa.Column("account_no", sa.String(), nullable=False),
        sa.Column("uscc", sa.String(), nullable=True),
        sa.Column("bank", sa.String(), nullable=False),
        sa.Column("connector", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("mode", sa.String(), nullable=False),
        sa.Column("opened_on", sa.Date(), nullable=True),
        sa.Column("external_id", sa.String(), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("mode IN ('custody', 'deposit', 'floor')", name="ck_accounts_mode"),
        sa.CheckConstraint("purpose IN ('escrow', 'deposit', 'settlement')", name="ck_accounts_purpose"),
        sa.PrimaryKeyConstraint("account_no", name="pk_accounts"),
    )
    op.create_index("ix_accounts_bank", "accounts", ["bank"])
    op.create_index("ix_accounts_uscc", "accounts", ["uscc"])
    op.create_table(
        "alerts",
        sa.Column("alert_id", sa.String(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("period", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("standing", sa.String(), nullable=False),
        sa.Column("why_zh", sa.String(), nullable=False),
        sa.Column("why_en", sa.String(), nullable=False),
        sa.Column("figures", sa.String(), nullable=False),
        sa.Column("labels", sa.String(), nullable=False),
        sa.Column("uscc", sa.String(), nullable=True),
        sa.Column("account_no", sa.String(), nullable=True),
        sa.Column("bank", sa.String(), nullable=True),
        sa.Column("district", sa.String(), nullable=True),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("absent_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("episode", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("severity IN ('info', 'yellow', 'orange', 'red')", name="ck_alerts_severity"),
        sa.CheckConstraint("status IN ('pending', 'open', 'resolved')", name="ck_alerts_status"),
        sa.PrimaryKeyConstraint("alert_id", name="pk_alerts"),
        sa.UniqueConstraint("subject", "rule", "period", name="uq_alerts_subject_rule_period"),
    )
    op.create_index("ix_alerts_status_rule_severity", "alerts", ["status", "rule", "severity"])
    op.create_index("ix_alerts_uscc", "alerts", ["uscc"])
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("secret_sha256", sa.String(), nullable=False),
        sa.Column("scopes", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("key_id", name="pk_api_keys"),
        sa.UniqueConstraint("secret_sha256", name="uq_api_keys_secret_sha256"),
    )
    op.create_table(
        "audit_entries",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("algorithm", sa.String(), nullable=False),
        sa.Column("canonical", sa.String(), nullable=False),
        sa.Column("head", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit_entries"),
    )
    op.create_index("ix_audit_entries_kind", "audit_entries", ["kind"])
    op.create_table(
        "chain_head",
        sa.Column("one_row", sa.Integer(), nullable=False),
        sa.Column("audit_seq", sa.BigInteger(), nullable=False),
        sa.Column("audit_head", sa.String(), nullable=False),
        sa.Column("feed_seq", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("one_row = 1", name="ck_chain_head_one_row"),
        sa.PrimaryKeyConstraint("one_row", name="pk_chain_head"),
    )
    op.create_table(
        "coverage_gaps",
        sa.Column("account_no", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("filled_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("account_no", "day", name="pk_coverage_gaps"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_coverage_gaps_filled_at", "coverage_gaps", ["filled_at"])
    op.create_table(
        "entries",
        sa.Column("account_no", sa.String(), nullable=False),
        sa.Column("booked_on", sa.Date(), nullable=False),
        sa.Column("identity", sa.String(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("value_on", sa.Date(), nullable=True),
        sa.Column("bank_ref", sa.String(), nullable=True),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("occurrence", sa.BigInteger(), nullable=False),
        sa.Column("reversal", sa.Boolean(), nullable=False),
        sa.Column("counterparty_sha256", sa.String(), nullable=True),
        sa.Column("final", sa.Boolean(), nullable=False),
        sa.Column("statement_id", sa.String(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("amount_fen BETWEEN -9007199254740991 AND 9007199254740991", name="ck_entries_amount_fen"),
        sa.PrimaryKeyConstraint("account_no", "booked_on", "identity", name="pk_entries"),
    )
    op.create_table(
        "feed_entries",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("alert_id", sa.String(), nullable=False),
        sa.Column("transition", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("period", sa.String(), nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("standing", sa.String(), nullable=False),
        sa.Column("why_zh", sa.String(), nullable=False),
        sa.Column("why_en", sa.String(), nullable=False),
        sa.Column("figures", sa.String(), nullable=False),
        sa.Column("labels", sa.String(), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("audit_seq", sa.BigInteger(), nullable=False),
        sa.Column("audit_head", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_feed_entries"),
        sa.UniqueConstraint("audit_seq", name="uq_feed_entries_audit_seq"),
    )
    op.create_index("ix_feed_entries_alert_id", "feed_entries", ["alert_id"])
    op.create_table(
        "institutions",
        sa.Column("uscc", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=True),
        sa.Column("district", sa.String(), nullable=True),
        sa.Column("grid", sa.String(), nullable=True),
        sa.Column("licence_no", sa.String(), nullable=True),
        sa.Column("licence_expires_on", sa.Date(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("policy", sa.String(), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('subject', 'non_subject')", name="ck_institutions_kind"),
        sa.CheckConstraint("status IN ('operating', 'suspended', 'closing', 'closed')", name="ck_institutions_status"),
        sa.PrimaryKeyConstraint("uscc", name="pk_institutions"),
    )
    op.create_index("ix_institutions_district", "institutions", ["district"])
    op.create_table(
        "nodes",
        sa.Column("executor_id", sa.String(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("beat_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("executor_id", name="pk_nodes"),
    )
    op.create_table(
        "pulls",
        sa.Column("scheduled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("account_no", sa.String(), nullable=False),
        sa.Column("bank", sa.String(), nullable=False),
        sa.Column("answered", sa.Boolean(), nullable=False),
        sa.Column("refusal", sa.String(), nullable=True),
        sa.Column("place", sa.String(), nullable=True),
        sa.Column("field", sa.String(), nullable=True),
        sa.Column("detail", sa.String(), nullable=True),
        sa.Column("partial_refusals", sa.String(), nullable=False),
        sa.Column("raw_sha256s", sa.String(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("scheduled_at", "account_no", name="pk_pulls"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "raw_documents",
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("media_type", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("content_zlib", sa.LargeBinary(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_raw_documents"),
    )
    op.create_table(
        "readings",
        sa.Column("account_no", sa.String(), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("final", sa.Boolean(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("raw_sha256", sa.String(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('booked_closing', 'booked_intraday', 'available', 'held')",
            name="ck_readings_kind",
        ),
        sa.CheckConstraint("amount_fen BETWEEN -9007199254740991 AND 9007199254740991", name="ck_readings_amount_fen"),
        sa.PrimaryKeyConstraint("account_no", "as_of", "kind", "amount_fen", "final", name="pk_readings"),
    )
    op.create_table(
        "runs",
        sa.Column("round", sa.String(), nullable=False),
        sa.Column("shard", sa.String(), nullable=False),
        sa.Column("scheduled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("counts", sa.String(), nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("begun", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("outcome IN ('ok', 'wrong', 'error')", name="ck_runs_outcome"),
        sa.PrimaryKeyConstraint("round", "shard", "scheduled_at", name="pk_runs"),
    )
    op.create_index("ix_runs_round_finished_at", "runs", ["round", "finished_at"])
    op.create_index("ix_runs_started_at", "runs", ["started_at"])
    op.create_table(
        "statement_files",
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("format", sa.String(), nullable=True),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("statements", sa.BigInteger(), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("refusals", sa.String(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("outcome IN ('loaded', 'refused')", name="ck_statement_files_outcome"),
        sa.PrimaryKeyConstraint("sha256", name="pk_statement_files"),
    )
    op.create_index("ix_statement_files_recorded_at", "statement_files", ["recorded_at"])
    op.create_table(
        "statements",
        sa.Column("statement_id", sa.String(), nullable=False),
        sa.Column("account_no", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("opening_fen", sa.BigInteger(), nullable=True),
        sa.Column("opening_on", sa.Date(), nullable=True),
        sa.Column("closing_fen", sa.BigInteger(), nullable=True),
        sa.Column("closing_on", sa.Date(), nullable=True),
        sa.Column("covers_from", sa.Date(), nullable=True),
        sa.Column("covers_to", sa.Date(), nullable=True),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("place", sa.String(), nullable=False),
        sa.Column("raw_sha256", sa.String(), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('end_of_day', 'intraday', 'notice')", name="ck_statements_kind"),
        sa.PrimaryKeyConstraint("statement_id", name="pk_statements"),
    )
    op.create_index("ix_statements_account_no_covers_to", "statements", ["account_no", "covers_to"])
    op.create_table(
        "account_standings",
        sa.Column("account_no", sa.String(), nullable=False),
        sa.Column("district", sa.String(), nullable=True),
        sa.Column("standing", sa.String(), nullable=False),
        sa.Column("level", sa.String(), nullable=True),
        sa.Column("required_fen", sa.BigInteger(), nullable=True),
        sa.Column("required_complete", sa.Boolean(), nullable=False),
        sa.Column("balance_fen", sa.BigInteger(), nullable=True),
        sa.Column("below_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("recheck_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("findings", sa.String(), nullable=False),
        sa.Column("checked_version", sa.BigInteger(), nullable=False),
        sa.Column("checked_policy_version", sa.String(), nullable=True),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("level IN ('info', 'yellow', 'orange', 'red')", name="ck_account_standings_level"),
        sa.CheckConstraint("standing IN ('met', 'breached', 'unknown')", name="ck_account_standings_standing"),
        sa.ForeignKeyConstraint(
            ["account_no"], ["accounts.account_no"], name="fk_account_standings_account_no_accounts"
        ),
        sa.PrimaryKeyConstraint("account_no", name="pk_account_standings"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_account_standings_sums", "account_standings", ["standing", "district", "required_fen", "balance_fen"]
    )
    op.create_table(
        "account_states",
        sa.Column("account_no", sa.String(), nullable=False),
        sa.Column("bank", sa.String(), nullable=False),
        sa.Column("input_version", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("status_as_of", sa.DateTime(timezone=True), nullable=True),
        sa.Column("booked_fen", sa.BigInteger(), nullable=True),
        sa.Column("booked_kind", sa.String(), nullable=True),
        sa.Column("booked_day", sa.Date(), nullable=True),
        sa.Column("booked_as_of", sa.DateTime(timezone=True), nullable=True),
        sa.Column("booked_fetched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("booked_final", sa.Boolean(), nullable=True),
        sa.Column("closing_fen", sa.BigInteger(), nullable=True),
        sa.Column("closing_kind", sa.String(), nullable=True),
        sa.Column("closing_day", sa.Date(), nullable=True),
        sa.Column("closing_as_of", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closing_fetched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closing_final", sa.Boolean(), nullable=True),
        sa.Column("held_fen", sa.BigInteger(), nullable=True),
        sa.Column("held_kind", sa.String(), nullable=True),
        sa.Column("held_day", sa.Date(), nullable=True),
        sa.Column("held_as_of", sa.DateTime(timezone=True), nullable=True),
        sa.Column("held_fetched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("held_final", sa.Boolean(), nullable=True),
        sa.Column("available_fen", sa.BigInteger(), nullable=True),
        sa.Column("available_kind", sa.String(), nullable=True),
        sa.Column("available_day", sa.Date(), nullable=True),
        sa.Column("available_as_of", sa.DateTime(timezone=True), nullable=True),
        sa.Column("available_fetched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("available_final", sa.Boolean(), nullable=True),
        sa.Column("covered_from", sa.Date(), nullable=True),
        sa.Column("covered_to", sa.Date(), nullable=True),
        sa.Column("gaps_to", sa.Date(), nullable=True),
        sa.Column("last_answer_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_refusal", sa.String(), nullable=True),
        sa.Column("refusals_in_a_row", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("status IN ('active', 'frozen', 'closed', 'unknown')", name="ck_account_states_status"),
        sa.ForeignKeyConstraint(["account_no"], ["accounts.account_no"], name="fk_account_states_account_no_accounts"),
        sa.PrimaryKeyConstraint("account_no", name="pk_account_states"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_account_states_bank_booked_as_of", "account_states", ["bank", "booked_as_of"])
    op.create_table(
        "deliveries",
        sa.Column("delivery_id", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("claimant", sa.String(), nullable=True),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('due', 'delivered', 'dead')", name="ck_deliveries_state"),
        sa.ForeignKeyConstraint(["seq"], ["feed_entries.seq"], name="fk_deliveries_seq_feed_entries"),
        sa.PrimaryKeyConstraint("delivery_id", name="pk_deliveries"),
    )
    op.create_index("ix_deliveries_seq", "deliveries", ["seq"])
    op.create_index("ix_deliveries_state_due_at", "deliveries", ["state", "due_at"])
    op.create_table(
        "delivery_attempts",
        sa.Column("delivery_id", sa.String(), nullable=False),
        sa.Column("times", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("took_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.delivery_id"], name="fk_delivery_attempts_delivery_id_deliveries"
        ),
        sa.PrimaryKeyConstraint("delivery_id", "times", name="pk_delivery_attempts"),
    )
