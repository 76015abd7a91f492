"""Whom open alerts are about, the most urgent first, and what was published of late: counted where the rows are."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import NamedTuple

from sqlmodel import Session

from alerts.alert import Severity, TransitionKind, Why
from escrow_monitor.domain.closure.outlook import LEVELS
from escrow_monitor.domain.findings import Level, Standing
from escrow_monitor.domain.visibility import EVERYTHING, Visible
from escrow_monitor.records.bulk import fetch, run
from escrow_monitor.records.visible import conditions

RANK = "CASE severity WHEN 'red' THEN 4 WHEN 'orange' THEN 3 WHEN 'yellow' THEN 2 ELSE 1 END"
"""SQL: how bad an alert is, 4 for red."""


class Call(NamedTuple):
    """An institution (or an account of nobody) to call: its most urgent alert, and how many it has."""

    alert_id: str
    holder: str
    alerts: int


def first_calls(
    session: Session, *, no_data_rules: Collection[str], silent_banks: Collection[str], now: datetime,
    visible: Visible = EVERYTHING, limit: int,
) -> tuple[list[Call], int]:
    """The most urgent holders of open alerts, at most `limit`, and how many there are.

    Worst first; then what is known to be wrong before what is not known; then the longest open. What a person keeps
    quiet comes last. Left out is what only says (`no_data_rules`) that one of the `silent_banks` is silent.
    """
    where, given = conditions(visible, uscc="a.uscc")
    rows = fetch(
        session,
        f"""
        WITH told AS (
            SELECT a.alert_id, coalesce(a.uscc, a.account_no) AS holder, {RANK} AS rank,
                CASE WHEN a.standing = '{Standing.BREACHED}' THEN 0 ELSE 1 END AS unsure, a.opened_at,
                CASE WHEN q.alert_id IS NULL THEN 0 ELSE 1 END AS quiet
            FROM alerts a LEFT JOIN (
                SELECT DISTINCT d.alert_id FROM alert_decisions d WHERE d.ended_at IS NULL AND d.kind <> 'proposal'
                    AND (d.until_at IS NULL OR d.until_at > :now)
            ) q ON q.alert_id = a.alert_id
            WHERE a.status = 'open' AND coalesce(a.uscc, a.account_no) IS NOT NULL
                AND NOT (a.rule IN EACH(:no_data_rules) AND coalesce(a.bank, '') IN EACH(:silent_banks))
                {"".join(f" AND {part}" for part in where)}
        ), placed AS (
            SELECT told.*, row_number() OVER (
                PARTITION BY holder ORDER BY quiet, rank DESC, unsure, opened_at, alert_id
            ) AS place, count(*) OVER (PARTITION BY holder) AS alerts FROM told
        )
        SELECT alert_id, holder, alerts, count(*) OVER () FROM placed WHERE place = 1
        ORDER BY quiet, rank DESC, unsure, opened_at, alert_id LIMIT :limit
        """,
        no_data_rules=sorted(no_data_rules), silent_banks=sorted(silent_banks), now=now, limit=limit, **given,
    )
    return [Call(*row[:3]) for row in rows], rows[0][3] if rows else 0


def notices(
    session: Session, *, not_rules: Collection[str], visible: Visible = EVERYTHING
) -> list[tuple[str, Why]]:
    """What the open alerts say that are about no institution and no account, but our own means, with their rule."""
    where, given = conditions(visible, uscc="uscc")
    return [(rule, Why(zh=zh, en=en)) for rule, zh, en in run(
        session,
        "SELECT rule, why_zh, why_en FROM alerts WHERE status = 'open' AND uscc IS NULL AND account_no IS NULL"
        f" AND NOT rule IN EACH(:not_rules){''.join(f' AND {part}' for part in where)}"
        " ORDER BY rule, subject, period", not_rules=sorted(not_rules), **given,
    )]


def account_counts(
    session: Session, *, visible: Visible = EVERYTHING
) -> Mapping[tuple[Standing, Level | None], int]:
    """How many accounts have which standing and colour; never checked counts as unknown."""
    where, given = conditions(visible, uscc="a.uscc")
    source = "account_standings t" + (" JOIN accounts a ON a.account_no = t.account_no" if where else "")
    return {
        (Standing(standing), Level(level) if level else None): count for standing, level, count in run(
            session,
            f"SELECT t.standing, t.level, count(*) FROM {source} WHERE {' AND '.join(where) or 'true'}"
            " GROUP BY t.standing, t.level", **given,
        )
    }


class ClosureSum(NamedTuple):
    """How many institutions the closure watch holds at one level, and families' money that nothing stands behind."""

    institutions: int
    exposed_fen: int


def closure_sums(
    session: Session, *, visible: Visible = EVERYTHING
) -> tuple[Mapping[Level, ClosureSum], int]:
    """What the closure watch holds at each level; and of how many without one too little is known to be at ease."""
    where, given = conditions(visible, uscc="c.uscc")
    also = "".join(f" AND {part}" for part in where)
    rows = run(
        session,
        "SELECT c.held, count(*), sum(c.exposed_fen) FROM closure_states c"
        f" WHERE (c.held > 0 OR c.held = 0 AND c.unsure){also} GROUP BY c.held", **given,
    )
    found = {held: ClosureSum(int(count), int(exposed or 0)) for held, count, exposed in rows}
    return (
        {level: found[place] for place, level in enumerate(LEVELS) if level is not None and place in found},
        found[0].institutions if 0 in found else 0,
    )


def published_since(
    session: Session, since: datetime, *, visible: Visible = EVERYTHING
) -> Mapping[tuple[TransitionKind, Severity], int]:
    """How much of what kind and how bad was published since then."""
    where, given = conditions(visible, uscc="a.uscc")
    inside = f" AND alert_id IN (SELECT a.alert_id FROM alerts a WHERE {' AND '.join(where)})" if where else ""
    return {
        (TransitionKind(kind), Severity(severity)): count for kind, severity, count in run(
            session,
            f"SELECT transition, severity, count(*) FROM feed_entries WHERE recorded_at >= :since{inside}"
            " GROUP BY transition, severity", since=since, **given,
        )
    }
