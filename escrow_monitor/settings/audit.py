"""Sections about what is proven and watched: the audit chain, and the watchdog outside of the clock."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from escrow_monitor.settings.section import Seconds, Section


class AuditSettings(Section):
    """How the audit chain is hashed, and the Ed25519 key that seals it once a day; without a key nothing is sealed.

    `key_file` is a PEM file, for instance "$CREDENTIALS_DIRECTORY/audit-key"; `key` the same text from the environment.
    """

    algorithm: Literal["sha256", "sm3"] = "sha256"
    key: SecretStr | None = None
    key_file: Path | None = None


class WatchdogSettings(Section):
    """A thread outside of clock and engine that looks every so often whether rounds, deliveries and seals are late.

    `url` is called after each look (healthchecks and its like): the address itself when all is in time, with /fail and
    the sentence when not, with /start when the process begins. Whoever listens there misses us when we are dead.
    `url_file` holds the same where the address is a secret. `deliveries_late_after_seconds` is how long a delivery may
    be owed. `backups` is a folder whose newest file must not be older than `backup_late_after_seconds`.
    """

    every_seconds: int = Field(default=60, ge=1, le=3600)
    url: str | None = Field(default=None, pattern=r"^https?://[^?#]+$")
    url_file: Path | None = None
    timeout_seconds: Seconds = 10
    deliveries_late_after_seconds: Seconds = 3600
    backups: Path | None = None
    backup_late_after_seconds: Seconds = 93_600
