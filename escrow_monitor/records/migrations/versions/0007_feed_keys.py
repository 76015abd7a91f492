"""A key of a subscriber reads its own part of the feed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("feed_filter", sa.String(), nullable=True))


def downgrade() -> None:
    op.drop_column("api_keys", "feed_filter")
