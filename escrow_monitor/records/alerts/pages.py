"""The inbox of alerts: those that fit what is asked, the most urgent first, a page at a time; and tries of many."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlmodel import Session

from alerts.alert import Severity
from alerts.delivery import Attempt, AttemptOutcome
from escrow_monitor.domain.findings import Standing
from escrow_monitor.domain.visibility import EVERYTHING, Visible
from escrow_monitor.records.alerts.alarms import RANK
from escrow_monitor.records.bulk import Reader, fetch, run, texts
from escrow_monitor.records.visible import conditions

Quiet = Literal["loud", "quiet", "proposed"]
"""Whom nobody keeps quiet; whom somebody does; what waits for the second pair of eyes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedAlerts:
    """Filters that all must fit. `text` is part of an institution's name, a credit code or an account's number;
    `district` a code or its beginning. `resolved`: those that are over, in place of those that are open."""

    text: str | None = None
    severity: Severity | None = None
    rule: str | None = None
    district: str | None = None
    uscc: str | None = None
    quiet: Quiet | None = None
    resolved: bool = False
    visible: Visible = EVERYTHING


class AlertPlace(NamedTuple):
    """Where an alert stands in the list: what is kept quiet last, then the worst, the surest, the longest first."""

    quiet: int
    rank: int
    unsure: int
    at: datetime
    alert_id: str


class AlertCount(NamedTuple):
    """How many open alerts of a rule are so bad, and whether somebody keeps them quiet."""

    rule: str
    severity: Severity
    quiet: bool
    alerts: int


_QUIET = """SELECT DISTINCT d.alert_id FROM alert_decisions d WHERE d.ended_at IS NULL AND d.kind <> 'proposal'
 AND (d.until_at IS NULL OR d.until_at > :now)"""
_PROPOSED = """SELECT d.alert_id FROM alert_decisions d WHERE d.ended_at IS NULL AND d.kind = 'proposal'
 AND (d.until_at IS NULL OR d.until_at > :now)"""
_UNSURE = f"CASE WHEN a.standing = '{Standing.BREACHED}' THEN 0 ELSE 1 END"
_IS_QUIET = "CASE WHEN q.alert_id IS NULL THEN 0 ELSE 1 END"


def alert_page(
    session: Session, asked: AskedAlerts, *, after: AlertPlace | None = None, limit: int, now: datetime
) -> list[AlertPlace]:
    """The places of at most `limit` alerts that fit, behind `after`: by urgency, or what is over the newest first."""
    where, given = _fitting(asked)
    if asked.resolved:
        place, order = f"0, {RANK}, 0, a.resolved_at, a.alert_id", "a.resolved_at DESC, a.alert_id"
        beyond = "(a.resolved_at < :at OR (a.resolved_at = :at AND a.alert_id > :alert_id))"
    else:
        place = f"{_IS_QUIET}, {RANK}, {_UNSURE}, a.opened_at, a.alert_id"
        order = f"{_IS_QUIET}, {RANK} DESC, {_UNSURE}, a.opened_at, a.alert_id"
        beyond = (f"({_IS_QUIET}, -({RANK}), {_UNSURE}, a.opened_at, a.alert_id)"
                  " > (:quiet, :rank, :unsure, :at, :alert_id)")
        given["now"] = now
    if after is not None:
        where.append(beyond)
        given |= {"at": after.at, "alert_id": after.alert_id}
        if not asked.resolved:
            given |= {"quiet": after.quiet, "rank": -after.rank, "unsure": after.unsure}
    joined = "" if asked.resolved else f" LEFT JOIN ({_QUIET}) q ON q.alert_id = a.alert_id"
    at = Reader(session).at
    return [
        AlertPlace(row[0], row[1], row[2], at(row[3]), row[4]) for row in run(
            session,
            f"SELECT {place} FROM alerts a{joined} WHERE {' AND '.join(where)} ORDER BY {order} LIMIT :limit",
            limit=limit, **given,
        )
    ]


def alert_counts(session: Session, asked: AskedAlerts, *, now: datetime) -> list[AlertCount]:
    """How many open alerts there are by rule, severity and quiet, whatever is asked of those three."""
    where, given = _fitting(AskedAlerts(
        text=asked.text, district=asked.district, uscc=asked.uscc, visible=asked.visible
    ))
    return [
        AlertCount(rule=rule, severity=Severity(severity), quiet=bool(quiet), alerts=count)
        for rule, severity, quiet, count in fetch(
            session,
            f"SELECT a.rule, a.severity, {_IS_QUIET}, count(*) FROM alerts a LEFT JOIN ({_QUIET}) q"
            f" ON q.alert_id = a.alert_id WHERE {' AND '.join(where)} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
            now=now, **given,
        )
    ]


def proposed_count(session: Session, *, now: datetime, visible: Visible = EVERYTHING) -> int:
    """How many open alerts wait for the second pair of eyes."""
    where, given = _fitting(AskedAlerts(quiet="proposed", visible=visible))
    return int(run(
        session, f"SELECT count(*) FROM alerts a WHERE {' AND '.join(where)}", **{**given, "now": now}
    ).scalar_one())


def holder_names(session: Session, usccs: Sequence[str]) -> Mapping[str, str]:
    """The names of these institutions, as far as they are registered."""
    return dict(tuple(row) for row in fetch(
        session, "SELECT uscc, name FROM institutions WHERE uscc IN EACH(:usccs)", usccs=list(usccs)
    ))


def alarmed_banks(session: Session) -> list[str]:
    """The banks that open alerts are about, by name."""
    # Stepped through the index: of one bank there are many.
    return texts(
        session,
        "WITH RECURSIVE found(bank) AS (SELECT min(bank) FROM alerts WHERE status = 'open' UNION ALL"
        " SELECT (SELECT min(a.bank) FROM alerts a WHERE a.status = 'open' AND a.bank > found.bank) FROM found"
        " WHERE found.bank IS NOT NULL)"
        " SELECT bank FROM found WHERE bank IS NOT NULL",
    )


def tries_of(session: Session, delivery_ids: Sequence[str]) -> Mapping[str, Sequence[Attempt]]:
    """Every try of each of these deliveries, in order; one that was never tried is absent."""
    at = Reader(session).at
    found: dict[str, list[Attempt]] = {}
    for delivery_id, when, outcome, detail, took_ms in run(
        session,
        "SELECT delivery_id, at, outcome, detail, took_ms FROM delivery_attempts WHERE delivery_id IN EACH(:ids)"
        " ORDER BY delivery_id, times", ids=list(delivery_ids),
    ):
        found.setdefault(delivery_id, []).append(Attempt(
            delivery_id=delivery_id, at=at(when), outcome=AttemptOutcome(outcome), detail=detail, took_ms=took_ms
        ))
    return found


def _fitting(asked: AskedAlerts) -> tuple[list[str], dict[str, Any]]:
    where, given = conditions(asked.visible, uscc="a.uscc")
    where.append(f"a.status = '{'resolved' if asked.resolved else 'open'}'")
    for name in ("severity", "rule", "uscc"):
        value = getattr(asked, name)
        if value is not None:
            where.append(f"a.{name} = :{name}")
            given[name] = str(value)
    if asked.district is not None:
        where.append("a.district LIKE :district")
        given["district"] = f"{asked.district}%"
    if asked.text is not None:
        plain = asked.text.lower().replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
        where.append(
            "(a.account_no = :text OR a.uscc = :text OR EXISTS (SELECT 1 FROM institutions i WHERE i.uscc = a.uscc"
            " AND lower(i.name) LIKE :like ESCAPE '\\'))"
        )
        given |= {"text": asked.text, "like": f"%{plain}%"}
    if asked.quiet is not None and not asked.resolved:
        chosen = _PROPOSED if asked.quiet == "proposed" else _QUIET
        where.append(f"a.alert_id {'NOT IN' if asked.quiet == 'loud' else 'IN'} ({chosen})")
    return where, given
