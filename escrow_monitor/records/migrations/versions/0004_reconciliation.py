"""Bank lines held against what is expected, reconciliations, and refund disputes as cases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

FEN_MAX = 2**53 - 1
TIERS = "'reference', 'reference_total', 'amount', 'tolerance', 'group', 'manual'"


def upgrade() -> None:
    _matching()
    _reconciliations()
    _cases()
    _clause_sums()


def downgrade() -> None:
    _drop_clause_sums()
    _drop_cases()
    _drop_reconciliations()
    _drop_matching()


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


def _matching() -> None:
    _offered()
    for table, number in (("open_lines", "line_no"), ("open_expected", "expected_no")):
        op.create_table(
            table,
            *_numbers("pair_key", number),
            *_wholes("reference_key", "reference_check", nullable=True),
            *_wholes("house_key"),
            *_wholes("account_key", nullable=table == "open_expected"),
            *_wholes("day", "size_fen"),
            sa.PrimaryKeyConstraint("pair_key", number, name=f"pk_{table}"),
            sqlite_with_rowid=False,
        )
        op.create_index(f"ix_{table}_reference_key", table, ["reference_key"])
        op.create_index(f"ix_{table}_house_key_size_fen_day", table, ["house_key", "size_fen", "day"])
        op.create_index(f"ix_{table}_{number}", table, [number])
    op.create_table(
        "match_houses",
        *_texts("uscc"),
        *_numbers("house_key"),
        sa.PrimaryKeyConstraint("uscc", "house_key", name="pk_match_houses"),
        sqlite_with_rowid=False,
    )
    _matched()
    for table, columns in (("match_pending", []), ("match_doubts", _texts("kind", "near"))):
        op.create_table(
            table,
            sa.Column("is_line", sa.Boolean(), nullable=False),
            *_numbers("item_no"),
            *columns,
            *([sa.CheckConstraint(
                "kind IN ('unexplained', 'missing', 'amount_differs', 'ambiguous', 'not_searched')",
                name="ck_match_doubts_kind",
            )] if columns else []),
            sa.PrimaryKeyConstraint("is_line", "item_no", name=f"pk_{table}"),
            sqlite_with_rowid=False,
        )


def _numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), autoincrement=False, nullable=False) for name in names]


def _offered() -> None:
    op.create_table(
        "match_lines",
        *_numbers("line_no"),
        *_texts("line_id", "uscc", "currency", "account_no"),
        *_days("booked_on"),
        *_wholes("amount_fen"),
        *_texts("reference", nullable=True),
        *_texts("text"),
        *_times("recorded_at"),
        _exact("match_lines", "amount_fen"),
        sa.PrimaryKeyConstraint("line_no", name="pk_match_lines"),
        sa.UniqueConstraint("line_id", name="uq_match_lines_line_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_match_lines_uscc_booked_on", "match_lines", ["uscc", "booked_on"])
    op.create_table(
        "match_expected",
        *_numbers("expected_no"),
        *_texts("expected_id", "kind", "uscc", "currency"),
        *_texts("account_no", nullable=True),
        *_days("expected_on"),
        *_wholes("amount_fen"),
        *_texts("reference", nullable=True),
        *_times("recorded_at"),
        sa.CheckConstraint("kind IN ('charge', 'release', 'refund')", name="ck_match_expected_kind"),
        _exact("match_expected", "amount_fen"),
        sa.PrimaryKeyConstraint("expected_no", name="pk_match_expected"),
        sa.UniqueConstraint("expected_id", name="uq_match_expected_expected_id"),
        sqlite_with_rowid=False,
    )


def _matched() -> None:
    op.create_table(
        "matches",
        *_numbers("line_no", "expected_no"),
        *_texts("tier"),
        *_wholes("residual_fen"),
        *_times("made_at"),
        *_texts("made_by", "reason", nullable=True),
        sa.CheckConstraint(f"tier IN ({TIERS})", name="ck_matches_tier"),
        _exact("matches", "residual_fen"),
        sa.PrimaryKeyConstraint("line_no", name="pk_matches"),
        sa.UniqueConstraint("expected_no", name="uq_matches_expected_no"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "match_more",
        sa.Column("is_line", sa.Boolean(), nullable=False),
        *_numbers("item_no", "line_no"),
        sa.PrimaryKeyConstraint("is_line", "item_no", name="pk_match_more"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_match_more_line_no", "match_more", ["line_no"])
    op.create_table(
        "undone_matches",
        *_numbers("undone_no"),
        *_texts("match_id", "line_ids", "expected_ids", "tier"),
        *_wholes("residual_fen"),
        *_times("made_at"),
        *_texts("made_by", "made_for", nullable=True),
        *_times("undone_at"),
        *_texts("undone_by", nullable=True),
        *_texts("reason"),
        sa.Column("lifted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(f"tier IN ({TIERS})", name="ck_undone_matches_tier"),
        sa.PrimaryKeyConstraint("undone_no", name="pk_undone_matches"),
    )
    for column in ("match_id", "lifted_at"):
        op.create_index(f"ix_undone_matches_{column}", "undone_matches", [column])


def _drop_matching() -> None:
    for table in (
        "match_doubts", "match_pending", "undone_matches", "match_more", "matches", "match_houses", "open_expected",
        "open_lines", "match_expected", "match_lines",
    ):
        op.drop_table(table)


# What reconciliations found.


LABELS = (
    "'opening', 'joined_later', 'earned_not_drawn', 'drawn_ahead', 'taught_unpaid', 'in_transit', 'not_received',"
    " 'early_credit', 'credit_without_charge', 'unclear', 'match_difference', 'refund_not_recorded',"
    " 'refund_not_seen', 'paid_in', 'interest', 'fees', 'own_transfers', 'reversals', 'unclear_reversal',"
    " 'impossible', 'bank_differs'"
)


def _reconciliations() -> None:
    op.create_table(
        "reconciliations",
        *_numbers("recon_no"),
        *_texts("uscc", "currency"),
        *_days("day"),
        *_wholes("required_fen", "own_fen", "bank_fen", "net_fen", "residual_fen"),
        sa.Column("complete", sa.Boolean(), nullable=False),
        *_texts("document", "digest", "actor"),
        *_times("started_at", "recorded_at", "confirmed_at"),
        *(_exact("reconciliations", column) for column in ("required_fen", "own_fen", "bank_fen", "net_fen")),
        sa.PrimaryKeyConstraint("recon_no", name="pk_reconciliations"),
    )
    op.create_index(
        "ix_reconciliations_uscc_currency_day_recon_no", "reconciliations", ["uscc", "currency", "day", "recon_no"]
    )
    op.create_table(
        "reconciliation_lines",
        *_numbers("recon_no"),
        *_texts("label"),
        *_wholes("impact_fen", "items"),
        *_days("oldest_on", nullable=True),
        sa.CheckConstraint(f"label IN ({LABELS})", name="ck_reconciliation_lines_label"),
        _exact("reconciliation_lines", "impact_fen"),
        sa.PrimaryKeyConstraint("recon_no", "label", name="pk_reconciliation_lines"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "reconciliation_states",
        *_texts("uscc", "currency"),
        *_wholes("recon_no"),
        *_days("day"),
        *_wholes("breaks"),
        *_texts("facts", "policy_version"),
        *_times("recheck_at", "checked_at"),
        sa.PrimaryKeyConstraint("uscc", "currency", name="pk_reconciliation_states"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_reconciliation_states_breaks", "reconciliation_states", ["breaks"], sqlite_where=sa.text("breaks > 0"),
        postgresql_where=sa.text("breaks > 0"),
    )
    op.create_table(
        "reconciliation_marks",
        *_texts("uscc"),
        *_wholes("version"),
        sa.PrimaryKeyConstraint("uscc", name="pk_reconciliation_marks"),
        sqlite_with_rowid=False,
    )
    _asked_reconciliations()


def _asked_reconciliations() -> None:
    op.create_table(
        "asked_reconciliations",
        *_texts("request_id", "actor"),
        *_times("asked_at"),
        *_texts("uscc", nullable=True),
        *_days("day", nullable=True),
        sa.Column("whole", sa.Boolean(), nullable=False),
        *_texts("state"),
        *_wholes("done"),
        *_wholes("total", nullable=True),
        *(sa.Column(name, sa.DateTime(timezone=True), nullable=True)
          for name in ("started_at", "touched_at", "finished_at")),
        *_texts("found"),
        *_texts("problem", nullable=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'running', 'done', 'failed')", name="ck_asked_reconciliations_state"
        ),
        sa.PrimaryKeyConstraint("request_id", name="pk_asked_reconciliations"),
    )
    op.create_index("ix_asked_reconciliations_state_asked_at", "asked_reconciliations", ["state", "asked_at"])


def _drop_reconciliations() -> None:
    for table in (
        "asked_reconciliations", "reconciliation_marks", "reconciliation_states", "reconciliation_lines",
        "reconciliations",
    ):
        op.drop_table(table)


# Refund disputes as cases.


CASE_STATES = (
    "'claimed', 'gathering', 'quoted', 'accepted', 'contested', 'ruled', 'ordered', 'paid', 'closed', 'withdrawn'"
)
CASE_MOVES = (
    "'open', 'gather', 'quote', 'accept', 'contest', 'settle', 'deem', 'propose', 'confirm', 'reject', 'order', 'see',"
    " 'see_part', 'unsee', 'unsee_part', 'close', 'withdraw'"
)
CASE_TABLES = ("case_moves", "case_notes", "case_evidence", "case_quotes")
"""Rows of these are only ever added."""


def _cases() -> None:
    op.create_table(
        "cases",
        *_texts("case_no", "state"),
        *_wholes("moves"),
        *_wholes("quoted_fen", nullable=True),
        *_wholes("agreed_fen", "ordered_fen", "paid_fen"),
        *_wholes("proposed_fen", nullable=True),
        *_texts("proposed_by", nullable=True),
        sa.Column("ruled", sa.Boolean(), nullable=False),
        *_times("opened_at", "changed_at"),
        sa.CheckConstraint(f"state IN ({CASE_STATES})", name="ck_cases_state"),
        *(_exact("cases", name) for name in ("quoted_fen", "agreed_fen", "ordered_fen", "paid_fen", "proposed_fen")),
        sa.PrimaryKeyConstraint("case_no", name="pk_cases"),
    )
    op.create_index("ix_cases_state_case_no", "cases", ["state", "case_no"])
    op.create_table(
        "case_moves",
        *_texts("case_no"),
        *_numbers("move_no"),
        *_texts("move"),
        *_texts("from_state", nullable=True),
        *_texts("to_state", "role", "actor", "reason"),
        *_wholes("amount_fen", nullable=True),
        *_wholes("payable_fen"),
        *_texts("reference", nullable=True),
        *_days("moved_on"),
        *_times("moved_at"),
        sa.CheckConstraint(f"move IN ({CASE_MOVES})", name="ck_case_moves_move"),
        sa.CheckConstraint(f"from_state IN ({CASE_STATES})", name="ck_case_moves_from_state"),
        sa.CheckConstraint(f"to_state IN ({CASE_STATES})", name="ck_case_moves_to_state"),
        sa.CheckConstraint(
            "role IN ('staff', 'institution', 'family', 'second', 'system')", name="ck_case_moves_role"
        ),
        _exact("case_moves", "amount_fen"),
        _exact("case_moves", "payable_fen"),
        sa.PrimaryKeyConstraint("case_no", "move_no", name="pk_case_moves"),
    )
    op.create_index("ix_case_moves_reference", "case_moves", ["reference"])
    _case_papers()
    for table in CASE_TABLES:
        _refuse(table, ("UPDATE", "DELETE"))
    _refuse("cases", ("DELETE",))


def _case_papers() -> None:
    op.create_table(
        "case_notes",
        *_texts("case_no"),
        *_numbers("note_no"),
        *_texts("actor", "text"),
        *_times("noted_at"),
        sa.PrimaryKeyConstraint("case_no", "note_no", name="pk_case_notes"),
    )
    op.create_table(
        "case_evidence",
        *_texts("case_no"),
        *_numbers("evidence_no"),
        *_texts("sha256", "filename", "media_type"),
        *_wholes("size"),
        *_texts("actor", "note"),
        *_times("attached_at"),
        sa.PrimaryKeyConstraint("case_no", "evidence_no", name="pk_case_evidence"),
    )
    op.create_index("ix_case_evidence_sha256", "case_evidence", ["sha256"])
    op.create_table(
        "case_quotes",
        *_texts("case_no"),
        *_numbers("quote_no"),
        *_days("quoted_on"),
        *_wholes("refund_fen", "penalty_fen"),
        *_texts("policy_version", "quote", "actor"),
        *_times("quoted_at"),
        sa.PrimaryKeyConstraint("case_no", "quote_no", name="pk_case_quotes"),
    )


def _refuse(table: str, changes: tuple[str, ...]) -> None:
    """Have the database itself refuse to change rows of a table; PostgreSQL has the function since the first tables."""
    if op.get_bind().dialect.name == "sqlite":
        for change in changes:
            op.execute(
                f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table}"
                f" BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
        return
    op.execute(
        f"CREATE TRIGGER {table}_no_change BEFORE {' OR '.join(changes)} ON {table}"
        " FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def _drop_cases() -> None:
    # The triggers go with their tables.
    for table in (*CASE_TABLES, "cases"):
        op.drop_table(table)


# What floor clauses over contracts come to.


def _clause_sums() -> None:
    op.add_column("contract_sums_day", sa.Column("law_version", sa.String(), nullable=True))
    op.create_index("ix_charges_paid_on", "charges", ["paid_on"])
    op.create_table(
        "contract_laws",
        *_texts("uscc", "silence"),
        sa.Column("stale", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("uscc", name="pk_contract_laws"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "institution_terms",
        *_texts("uscc", "terms"),
        sa.PrimaryKeyConstraint("uscc", "terms", name="pk_institution_terms"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "contract_clauses",
        *_texts("contract_no", "terms", "uscc", "currency"),
        *_wholes("amount_fen"),
        *_days("next_change_on", nullable=True),
        sa.PrimaryKeyConstraint("contract_no", "terms", name="pk_contract_clauses"),
        sqlite_with_rowid=False,
    )
    changes = sa.text("next_change_on IS NOT NULL")
    op.create_index(
        "ix_contract_clauses_next_change_on", "contract_clauses", ["next_change_on"], sqlite_where=changes,
        postgresql_where=changes,
    )
    op.create_table(
        "institution_clauses",
        *_texts("uscc", "currency", "terms"),
        *_wholes("contracts", "amount_fen"),
        sa.PrimaryKeyConstraint("uscc", "currency", "terms", name="pk_institution_clauses"),
        sqlite_with_rowid=False,
    )


def _drop_clause_sums() -> None:
    for table in ("institution_clauses", "contract_clauses", "institution_terms", "contract_laws"):
        op.drop_table(table)
    op.drop_index("ix_charges_paid_on", "charges")
    with op.batch_alter_table("contract_sums_day") as altered:
        altered.drop_column("law_version")
