"""What people decided about alerts: what stands, what is over and why, each with its evidence as it was."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field, Session

from alerts.alert import Decision, DecisionKind, Evidence, Reason, Severity, Why
from alerts.book import PastDecision
from alerts.decisions import Ended
from escrow_monitor.records.bulk import Reader, as_json, from_json, insert, run
from escrow_monitor.records.columns import Row, large, one_of

ASKED_ONE_BY_ONE_MAX = 500
"""About more alerts than this, all that stands is read instead: few alerts are decided about."""


class AlertDecisionRow(Row, table=True):
    """One decision, under the number of its entry in the audit chain. Only its end is ever written afterwards."""

    __tablename__ = "alert_decisions"
    __table_args__ = (
        CheckConstraint(one_of("kind", DecisionKind), "kind"),
        CheckConstraint(one_of("severity", Severity), "severity"),
        Index(
            "uq_alert_decisions_standing", "alert_id", "kind", unique=True,
            sqlite_where=text("ended_at IS NULL"), postgresql_where=text("ended_at IS NULL"),
        ),
    )

    audit_seq: int = large(primary_key=True, sa_column_kwargs={"autoincrement": False})
    alert_id: str = Field(foreign_key="alerts.alert_id", index=True)
    kind: str
    decided_by: str
    note: str
    decided_at: datetime
    until_at: datetime | None = None
    severity: str
    standing: str
    why_zh: str
    why_en: str
    figures: str
    as_of: datetime
    proposed_by: str | None = None
    ends: bool
    ended_at: datetime | None = None
    ended_by: str | None = None
    ended_reason: str | None = None


def standing(session: Session, alert_ids: Sequence[str]) -> Mapping[str, tuple[Decision, ...]]:
    """The decisions that stand about these alerts, run out or not, by alert, in the order of the kinds."""
    if not alert_ids:
        return {}
    if len(alert_ids) > ASKED_ONE_BY_ONE_MAX:
        rows = run(session, f"SELECT alert_id, {_CELLS} FROM alert_decisions WHERE ended_at IS NULL")
    else:
        rows = run(
            session,
            f"SELECT alert_id, {_CELLS} FROM alert_decisions WHERE ended_at IS NULL AND alert_id IN EACH(:alert_ids)",
            alert_ids=alert_ids,
        )
    reader = Reader(session)
    found: dict[str, list[Decision]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(_decision(reader, row[1:]))
    return {alert_id: tuple(sorted(some, key=_place)) for alert_id, some in found.items()}


def history(session: Session, alert_id: str) -> list[PastDecision]:
    """All that was ever decided about an alert, in order."""
    reader = Reader(session)
    rows = run(
        session,
        f"SELECT {_CELLS}, ended_at, ended_by, ended_reason FROM alert_decisions WHERE alert_id = :alert_id"
        " ORDER BY audit_seq", alert_id=alert_id,
    )
    return [
        PastDecision(
            decision=_decision(reader, row), ended_at=reader.instant(row[-3]), ended_by=row[-2],
            ended_reason=None if row[-1] is None else Reason(row[-1]),
        )
        for row in rows
    ]


def over_by(session: Session, now: datetime) -> list[str]:
    """The alerts about which something stands that has run out by now, by id."""
    rows = run(
        session,
        "SELECT DISTINCT alert_id FROM alert_decisions WHERE ended_at IS NULL AND until_at <= :now ORDER BY alert_id",
        now=now,
    )
    return [alert_id for (alert_id,) in rows]


def begin(session: Session, made: Iterable[tuple[int, str, Decision]]) -> None:
    """Keep new decisions: the number of the audit entry, the alert and the decision of each."""
    insert(session, "alert_decisions", _COLUMNS, (
        (
            audit_seq, alert_id, one.kind.value, one.by, one.note, one.at, one.until, one.evidence.severity.value,
            one.evidence.standing, one.evidence.why.zh, one.evidence.why.en, as_json(dict(one.evidence.figures)),
            one.evidence.as_of, one.proposed_by, one.ends,
        )
        for audit_seq, alert_id, one in made
    ))


def end(session: Session, ended: Iterable[Ended], *, by: str, now: datetime) -> None:
    """Note that decisions are over, who ended them and why."""
    for one in ended:
        run(
            session,
            "UPDATE alert_decisions SET ended_at = :now, ended_by = :by, ended_reason = :reason"
            " WHERE alert_id = :alert_id AND kind = :kind AND ended_at IS NULL",
            now=now, by=by, reason=one.reason.value, alert_id=one.alert_id, kind=one.decision.kind.value,
        )


_COLUMNS = {
    "audit_seq": int, "alert_id": str, "kind": str, "decided_by": str, "note": str, "decided_at": datetime,
    "until_at": datetime, "severity": str, "standing": str, "why_zh": str, "why_en": str, "figures": str,
    "as_of": datetime, "proposed_by": str, "ends": bool,
}
_CELLS = ", ".join(list(_COLUMNS)[2:])
_ORDER = {kind: place for place, kind in enumerate(DecisionKind)}


def _place(decision: Decision) -> int:
    return _ORDER[decision.kind]


def _decision(reader: Reader, row: Sequence[Any]) -> Decision:
    return Decision(
        kind=DecisionKind(row[0]), by=row[1], note=row[2], at=reader.at(row[3]), until=reader.instant(row[4]),
        evidence=Evidence(
            severity=Severity(row[5]), standing=row[6], why=Why(zh=row[7], en=row[8]), figures=from_json(row[9]),
            as_of=reader.at(row[10]),
        ),
        proposed_by=row[11], ends=bool(row[12]),
    )
