"""Read the statement files that arrived in one watched folder, whole file or nothing.

folder -> bytes (kept, hashed) -> formats -> Statement | Refusal -> records: entries, days, gaps
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from escrow_monitor.banks.connectors.statement_folder import StatementFolder
from escrow_monitor.banks.formats.csv_profile import Profile
from escrow_monitor.domain.statements import Refusal
from escrow_monitor.records.bank.statement_files import Registration, settled_files
from escrow_monitor.records.database import Database
from escrow_monitor.rounds.report import Outcome, Progress, Report, counted
from escrow_monitor.rounds.statement_file import load_file

NAME = "load-statements"


def load_statements(
    *,
    database: Database,
    folder: StatementFolder,
    name: str,
    zone: ZoneInfo,
    registration: Registration | None,
    format: str = "auto",
    profiles: Mapping[str, Profile] | None = None,
    scheduled_at: datetime,
    now_of: Callable[[], datetime],
    progress: Progress | None = None,
) -> Report:
    """Load what is new in one folder. A refused file is recorded with its reasons."""
    with database.read() as session:
        known = settled_files(session)
    counts = {"files": 0, "loaded": 0, "refused": 0, "known": 0, "statements": 0, "entries": 0}
    counts |= {"corrected": 0, "superseded": 0}
    refusals: list[Refusal] = []
    for received in counted(folder.received(now_of()), progress, total=None):
        counts["files"] += 1
        if isinstance(received, Refusal):
            counts["refused"] += 1
            refusals.append(received)
            continue
        if received.sha256 in known:
            counts["known"] += 1
            continue
        outcome = load_file(
            database,
            content=received.content,
            filename=received.path.name,
            source=f"folder:{name}",
            zone=zone,
            registration=registration,
            format=format,
            profiles=profiles,
            now=now_of(),
        )
        counts["loaded" if outcome.loaded else "refused"] += 1
        counts["statements"] += outcome.statements
        counts["entries"] += outcome.entries
        counts["corrected"] += outcome.corrected
        counts["superseded"] += outcome.superseded
        refusals.extend(outcome.refusals)
    return Report(
        round=NAME,
        shard=name,
        scheduled_at=scheduled_at,
        outcome=Outcome.WRONG if counts["refused"] else Outcome.OK,
        counts=counts,
        detail="; ".join(str(refusal) for refusal in refusals[:5]),
        news=counts["loaded"] > 0,
    )
