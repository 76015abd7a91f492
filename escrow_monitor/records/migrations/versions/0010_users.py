"""People who sign in, their roles, districts and sessions; whose key a key is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "users",
        *_texts("name", "display_name", "role"),
        *_texts("districts", "uscc", nullable=True),
        *_texts("password_hash"),
        *_instants("created_at", "changed_at", "password_set_at"),
        *_instants("disabled_at", nullable=True),
        sa.CheckConstraint(
            "role IN ('viewer', 'staff', 'regulator', 'auditor', 'admin', 'institution')", name=op.f("ck_users_role")
        ),
        sa.CheckConstraint("(role = 'institution') = (uscc IS NOT NULL)", name=op.f("ck_users_institution")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_users")),
    )
    op.create_table(
        "sessions",
        *_texts("session_id", "token_sha256"),
        *_texts("user_name", "key_id", nullable=True),
        *_texts("address", "agent"),
        *_instants("began_at", "seen_at", "expires_at"),
        *_instants("ended_at", nullable=True),
        *_texts("ended_reason", nullable=True),
        sa.CheckConstraint("(user_name IS NULL) <> (key_id IS NULL)", name=op.f("ck_sessions_of_one")),
        sa.CheckConstraint(
            "ended_reason IN ('signed_out', 'replaced', 'revoked', 'password_changed', 'disabled')",
            name=op.f("ck_sessions_ended_reason"),
        ),
        sa.ForeignKeyConstraint(["user_name"], ["users.name"], name=op.f("fk_sessions_user_name_users")),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.key_id"], name=op.f("fk_sessions_key_id_api_keys")),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_sessions_token_sha256")),
    )
    op.create_index("ix_sessions_user_name", "sessions", ["user_name"])
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])
    op.create_table(
        "sign_in_tries",
        *_texts("subject"),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        *_instants("last_at"),
        *_instants("locked_until", nullable=True),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_sign_in_tries")),
    )
    op.create_index("ix_sign_in_tries_last_at", "sign_in_tries", ["last_at"])
    op.add_column("api_keys", sa.Column("owner", sa.String(), nullable=True))


def downgrade() -> None:
    op.drop_column("api_keys", "owner")
    op.drop_table("sign_in_tries")
    op.drop_table("sessions")
    op.drop_table("users")


def _texts(*names: str, nullable: bool = False) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.String(), nullable=nullable) for name in names]


def _instants(*names: str, nullable: bool = False) -> list[sa.Column[object]]:
    return [sa.Column(name, sa.DateTime(timezone=True), nullable=nullable) for name in names]
