"""Who signs in from outside, and long work that outlives the process that began it."""

from __future__ import annotations

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _people()
    _works()


def downgrade() -> None:
    """Take away what `upgrade` made, the newest first."""


def _people() -> None:
    """Identities of people at an OIDC provider."""


def _works() -> None:
    """Long work, its progress and its result; files that were sent for it."""
