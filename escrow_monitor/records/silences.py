"""Silences: who wants nobody called about what, until when and why."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Field, Session

from alerts.routing import Silence
from escrow_monitor.records import audit
from escrow_monitor.records.bulk import Reader, as_json, from_json, insert, run
from escrow_monitor.records.columns import Row


class SilenceRow(Row, table=True):
    """One silence. Ending it early moves its end; nothing of it is ever deleted."""

    __tablename__ = "silences"

    silence_id: str = Field(primary_key=True)
    matchers: str
    author: str
    reason: str
    starts_at: datetime
    ends_at: datetime = Field(index=True)
    ended_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSilence:
    """A silence, and who ended it before its time."""

    silence: Silence
    ended_by: str | None


def add(session: Session, silence: Silence, *, now: datetime) -> None:
    """Keep a silence and write it into the audit chain."""
    insert(session, "silences", _COLUMNS, [(
        silence.silence_id, as_json(dict(silence.matchers)), silence.author, silence.reason, silence.starts_at,
        silence.ends_at,
    )])
    audit.append(session, kind="silence.made", actor=silence.author, now=now, payload={
        "silence_id": silence.silence_id, "matchers": dict(silence.matchers), "reason": silence.reason,
        "starts_at": silence.starts_at.isoformat(), "ends_at": silence.ends_at.isoformat(),
    })


def end(session: Session, silence_id: str, *, by: str, now: datetime) -> bool:
    """End a silence now; False if none of this id is still to end."""
    done = run(
        session, "UPDATE silences SET ends_at = :now, ended_by = :by WHERE silence_id = :id AND ends_at > :now",
        id=silence_id, by=by, now=now,
    ).rowcount
    if done:
        audit.append(session, kind="silence.ended", actor=by, payload={"silence_id": silence_id}, now=now)
    return done > 0


def silences(session: Session, *, at: datetime | None = None) -> list[KeptSilence]:
    """The silences that have not ended at `at`, or all there ever were; those that end last first."""
    reader = Reader(session)
    where, given = ("", {}) if at is None else ("WHERE ends_at > :at", {"at": at})
    rows = run(
        session, f"SELECT {', '.join(_COLUMNS)}, ended_by FROM silences {where} ORDER BY ends_at DESC, silence_id",
        **given,
    )
    return [
        KeptSilence(
            silence=Silence(
                silence_id=row[0], matchers=from_json(row[1]), author=row[2], reason=row[3],
                starts_at=reader.at(row[4]), ends_at=reader.at(row[5]),
            ),
            ended_by=row[6],
        )
        for row in rows
    ]


_COLUMNS = {
    "silence_id": str, "matchers": str, "author": str, "reason": str, "starts_at": datetime, "ends_at": datetime,
}
