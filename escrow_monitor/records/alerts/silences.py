"""Silences: who wants nobody called about what, until when and why; those of red with their second pair of eyes."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Field, Session

from alerts.routing import Silence
from escrow_monitor.records.bulk import Reader, as_json, from_json, insert, run
from escrow_monitor.records.columns import Row
from escrow_monitor.records.evidence import audit


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
    red: bool = False
    confirmed_by: str | None = None
    confirmed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSilence:
    """A silence, when it was confirmed, and who ended it before its time."""

    silence: Silence
    ended_by: str | None
    confirmed_at: datetime | None = None


def add(session: Session, silence: Silence, *, now: datetime) -> None:
    """Keep a silence and write it into the audit chain: made, or, if it is meant for red too, only proposed."""
    insert(session, "silences", _COLUMNS, [(
        silence.silence_id, as_json(dict(silence.matchers)), silence.author, silence.reason, silence.starts_at,
        silence.ends_at, silence.red, silence.confirmed_by,
    )])
    kind = "silence.proposed" if silence.is_proposed else "silence.made"
    audit.append(session, kind=kind, actor=silence.author, now=now, payload=_payload(silence))


def confirm(session: Session, silence: Silence, *, by: str, now: datetime) -> bool:
    """Let a proposal take effect; False if it is none any more. Who may is decided by the caller."""
    done = run(
        session,
        "UPDATE silences SET confirmed_by = :by, confirmed_at = :now"
        " WHERE silence_id = :id AND red AND confirmed_by IS NULL AND ends_at > :now",
        id=silence.silence_id, by=by, now=now,
    ).rowcount
    if done:
        payload = {**_payload(silence), "proposed_by": silence.author}
        audit.append(session, kind="silence.confirmed", actor=by, payload=payload, now=now)
    return done > 0


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
    return _kept(session, "" if at is None else "WHERE ends_at > :at", **({} if at is None else {"at": at}))


def silence(session: Session, silence_id: str) -> KeptSilence | None:
    """One silence, whatever has become of it."""
    return next(iter(_kept(session, "WHERE silence_id = :id", id=silence_id)), None)


def _kept(session: Session, where: str, **given: str | datetime) -> list[KeptSilence]:
    reader = Reader(session)
    rows = run(
        session,
        f"SELECT {', '.join(_COLUMNS)}, ended_by, confirmed_at FROM silences {where}"
        " ORDER BY ends_at DESC, silence_id", **given,
    )
    return [
        KeptSilence(
            silence=Silence(
                silence_id=row[0], matchers=from_json(row[1]), author=row[2], reason=row[3],
                starts_at=reader.at(row[4]), ends_at=reader.at(row[5]), red=bool(row[6]), confirmed_by=row[7],
            ),
            ended_by=row[8], confirmed_at=reader.instant(row[9]),
        )
        for row in rows
    ]


def _payload(silence: Silence) -> dict[str, object]:
    return {
        "silence_id": silence.silence_id, "matchers": dict(silence.matchers), "reason": silence.reason,
        "starts_at": silence.starts_at.isoformat(), "ends_at": silence.ends_at.isoformat(),
        "red": "yes" if silence.red else "no",
    }


_COLUMNS = {
    "silence_id": str, "matchers": str, "author": str, "reason": str, "starts_at": datetime, "ends_at": datetime,
    "red": bool, "confirmed_by": str,
}
