"""What the closure watch concluded, morning by morning."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_EXACT = 9_007_199_254_740_991
_INDEXES = (
    ("ix_alerts_holders", "alerts", ["status", "uscc", "severity", "opened_at"]),
    ("ix_account_standings_colours", "account_standings", ["standing", "level"]),
    ("ix_institutions_places", "institutions", ["district", "uscc"]),
)
"""What the pages of a hundred thousand institutions are read from."""


def upgrade() -> None:
    _silences_of_red()
    _indexes_of_pages()
    op.create_table(
        "closure_states",
        sa.Column("uscc", sa.String(), nullable=False),
        sa.Column("judged_on", sa.Date(), nullable=False),
        sa.Column("judged_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("held", sa.Integer(), nullable=False),
        sa.Column("said", sa.Integer(), nullable=False),
        sa.Column("quiet", sa.Integer(), nullable=False),
        sa.Column("chance_ppm", sa.Integer(), nullable=False),
        sa.Column("chance_high_ppm", sa.Integer(), nullable=False),
        sa.Column("exposed_fen", sa.BigInteger(), nullable=False),
        sa.Column("unsure", sa.Boolean(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("document", sa.String(), nullable=False),
        sa.CheckConstraint("held BETWEEN 0 AND 3 AND said BETWEEN 0 AND 3", name=op.f("ck_closure_states_levels")),
        sa.CheckConstraint(
            f"exposed_fen BETWEEN -{_EXACT} AND {_EXACT}", name=op.f("ck_closure_states_exposed_exact")
        ),
        sa.PrimaryKeyConstraint("uscc", name=op.f("pk_closure_states")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_closure_states_held", "closure_states", ["held", "chance_ppm"])
    op.create_index("ix_closure_states_sums", "closure_states", ["held", "unsure", "exposed_fen"])
    op.create_table(
        "closure_outlooks",
        sa.Column("uscc", sa.String(), nullable=False),
        sa.Column("judged_on", sa.Date(), nullable=False),
        sa.Column("held", sa.Integer(), nullable=False),
        sa.Column("said", sa.Integer(), nullable=False),
        sa.Column("chance_ppm", sa.Integer(), nullable=False),
        sa.Column("exposed_fen", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.String(), nullable=True),
        sa.Column("judged_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("uscc", "judged_on", name=op.f("pk_closure_outlooks")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_index("ix_institution_alarms_urgency", "institution_alarms")
    op.drop_table("institution_alarms")
    for name, table, _ in _INDEXES:
        op.drop_index(name, table)
    for column in ("confirmed_at", "confirmed_by", "red"):
        op.drop_column("silences", column)
    op.drop_table("closure_outlooks")
    op.drop_index("ix_closure_states_sums", "closure_states")
    op.drop_index("ix_closure_states_held", "closure_states")
    op.drop_table("closure_states")


def _indexes_of_pages() -> None:
    for name, table, columns in _INDEXES:
        op.create_index(name, table, columns)
    op.create_table(
        "institution_alarms",
        sa.Column("uscc", sa.String(), nullable=False),
        sa.Column("urgency", sa.Integer(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("alerts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("uscc", name=op.f("pk_institution_alarms")),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO institution_alarms (uscc, urgency, opened_at, alerts) SELECT uscc, min(CASE severity"
        " WHEN 'red' THEN 0 WHEN 'orange' THEN 1 WHEN 'yellow' THEN 2 ELSE 3 END), min(opened_at), count(*) FROM alerts"
        " WHERE status = 'open' AND opened_at IS NOT NULL AND uscc IS NOT NULL GROUP BY uscc"
    )
    op.create_index("ix_institution_alarms_urgency", "institution_alarms", ["urgency", "opened_at", "uscc"])


def _silences_of_red() -> None:
    """A silence that is meant for red too waits for a second person."""
    op.add_column("silences", sa.Column("red", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("silences", sa.Column("confirmed_by", sa.String(), nullable=True))
    op.add_column("silences", sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True))
