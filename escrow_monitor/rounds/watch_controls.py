"""What the watchdog does in its own thread: see what is late, and say so though nothing else may run any more.

records -> findings (late rounds, deliveries, seals, backups) -> alert book -> deliveries, if theirs is what is late
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from alerts.alert import AlertKey
from escrow_monitor.domain.findings import Finding
from escrow_monitor.domain.rules.backup_late import examine_backup
from escrow_monitor.domain.rules.delivery_late import RULE, SUBJECT_PREFIX, examine_deliveries, examine_removed
from escrow_monitor.domain.rules.round_late import examine_round
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.controls import Controls, Owed, controls
from escrow_monitor.records.database import Database
from escrow_monitor.rounds.signals import Patience, signal_or_clear, split

CAUSE = "system:watchdog"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What one look found: a sentence for each thing that is late, and whether deliveries are."""

    late: tuple[str, ...]
    deliveries_late: bool = False


def watch_controls(
    *,
    database: Database,
    channels: Sequence[str],
    patience: Patience,
    late_after: Mapping[str, timedelta],
    deliveries_late_after: timedelta,
    backups: Path | None = None,
    backup_late_after: timedelta = timedelta(days=1),
    now: datetime,
) -> Watched:
    """Look once. Writes only while something is late, or no longer is."""
    with database.read() as session:
        seen = controls(session, now=now)
        live = RecordsAlertBook(session).open_keys()
    rounds = _rounds(seen, late_after, now)
    deliveries = [_delivery(seen, channel, deliveries_late_after, now) for channel in channels]
    deliveries += _removed(live, channels, now)
    findings = [*rounds, *deliveries]
    if backups is not None:
        newest_at = newest_file_at(backups)
        findings.append(
            examine_backup(folder=backups.name, newest_at=newest_at, late_after=backup_late_after, now=now)
        )
    signals, clears = split(
        spoken
        for finding in findings
        if (spoken := signal_or_clear(finding, labels={}, live=live, patience=patience))
    )
    if signals or clears:
        with database.write() as session:
            RecordsAlertBook(session, channels=channels).advance(
                signals=signals, clears=clears, now=now, cause=CAUSE
            )
    late = [finding for finding in findings if finding.level is not None]
    return Watched(
        late=tuple(finding.why_en for finding in late),
        deliveries_late=any(finding.values.get("round") == "deliver-alerts" for finding in late),
    )


def newest_file_at(folder: Path) -> datetime | None:
    """When the newest file of a folder was last changed; None where there is none or nobody may look.

    Hidden ones do not count: so a backup is called while it is being written.
    """
    try:
        times = [
            entry.stat().st_mtime for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith(".")
        ]
    except OSError:
        return None
    return datetime.fromtimestamp(max(times), UTC) if times else None


def _rounds(seen: Controls, late_after: Mapping[str, timedelta], now: datetime) -> list[Finding]:
    # Every round, the one that watches the others too: nobody else watches that.
    return [
        examine_round(
            name=name, last_success_at=seen.last_success.get(name), expected_every=every,
            since=seen.first_begun_at or now, now=now,
        )
        for name, every in late_after.items()
    ]


def _delivery(seen: Controls, channel: str, late_after: timedelta, now: datetime) -> Finding:
    owed = seen.owed.get(channel, Owed())
    return examine_deliveries(
        channel=channel, owed=owed.count, owed_since=owed.since, given_up=owed.given_up,
        given_up_since=owed.given_up_since, late_after=late_after, now=now,
    )


def _removed(live: Collection[AlertKey], channels: Sequence[str], now: datetime) -> list[Finding]:
    """Channels that an alert is open about and that were taken out of the configuration."""
    named = {key.subject.removeprefix(SUBJECT_PREFIX) for key in live if key.rule == RULE}
    return [examine_removed(channel, now=now) for channel in sorted(named - set(channels))]
