"""Runs the migrations through the connection that `records.database` hands over."""

from __future__ import annotations

from alembic import context

from escrow_monitor.records.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # SQLite cannot alter most things in place: batches copy the table.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
