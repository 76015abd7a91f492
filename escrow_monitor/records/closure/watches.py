"""What the closure watch concluded of every institution: where each stands, and its history.

    closure_states    one row an institution: the newest morning
    closure_outlooks  the mornings that are worth keeping: every one with a level or a change, and each Monday
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, Session

from escrow_monitor.domain.closure.outlook import Outlook, outlook_of
from escrow_monitor.domain.visibility import EVERYTHING, Visible
from escrow_monitor.records.bulk import Reader, fetch, run, staged
from escrow_monitor.records.columns import Row, exact, fen
from escrow_monitor.records.visible import conditions

PPM = 1_000_000
MONDAY = 0


class ClosureStateRow(Row, table=True):
    """The newest morning of one institution. Chances in parts per million; `held` and `said` are 0 (none) to 3 (red).

    `document` is the whole outlook.
    """

    __tablename__ = "closure_states"
    __table_args__ = (
        CheckConstraint("held BETWEEN 0 AND 3 AND said BETWEEN 0 AND 3", "levels"),
        CheckConstraint(exact("exposed_fen"), "exposed_exact"),
        Index("ix_closure_states_held", "held", "chance_ppm"),
        # What pages add up is read from this index alone.
        Index("ix_closure_states_sums", "held", "unsure", "exposed_fen"),
        {"sqlite_with_rowid": False},
    )

    uscc: str = Field(primary_key=True)
    judged_on: date
    judged_at: datetime
    held: int
    said: int
    quiet: int
    chance_ppm: int
    chance_high_ppm: int
    exposed_fen: int = fen()
    unsure: bool
    model: str
    document: str


class ClosureOutlookRow(Row, table=True):
    """One morning that is worth keeping, the whole outlook only where there is a level."""

    __tablename__ = "closure_outlooks"
    __table_args__ = ({"sqlite_with_rowid": False},)

    uscc: str = Field(primary_key=True)
    judged_on: date = Field(primary_key=True)
    held: int
    said: int
    chance_ppm: int
    exposed_fen: int = fen()
    document: str | None = None
    judged_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosureState:
    """Where an institution stands: `held` 0 to 3, lower for `quiet` mornings, judged on the morning of `judged_on`."""

    judged_on: date
    held: int
    quiet: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One institution as it is to be kept: its outlook, and its levels (0 to 3) as numbers."""

    outlook: Outlook
    held: int
    said: int
    quiet: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosureStanding:
    """The newest outlook of an institution, and when it was made."""

    outlook: Outlook
    judged_at: datetime


_STATE = {
    "uscc": str, "judged_on": date, "judged_at": datetime, "held": int, "said": int, "quiet": int, "chance_ppm": int,
    "chance_high_ppm": int, "exposed_fen": int, "unsure": bool, "model": str, "document": str,
}
_MORNING = {
    "uscc": str, "judged_on": date, "held": int, "said": int, "chance_ppm": int, "exposed_fen": int, "document": str,
    "judged_at": datetime,
}


def watched_institutions(session: Session) -> list[str]:
    """The institutions that are watched: all that have not closed."""
    return [uscc for (uscc,) in fetch(session, "SELECT uscc FROM institutions WHERE status <> 'closed' ORDER BY uscc")]


def due_for_watch(session: Session, *, morning: datetime, moving_rules: Sequence[str]) -> list[str]:
    """Those not judged since this morning began, and those of which one of these rules told since they were judged."""
    rows = fetch(
        session,
        "SELECT i.uscc FROM institutions i LEFT JOIN closure_states s ON s.uscc = i.uscc WHERE i.status <> 'closed'"
        " AND (s.uscc IS NULL OR s.judged_at < :morning) UNION SELECT a.uscc FROM alerts a JOIN closure_states s"
        " ON s.uscc = a.uscc JOIN institutions i ON i.uscc = a.uscc WHERE a.status = 'open' AND i.status <> 'closed'"
        " AND a.rule IN EACH(:rules) AND a.opened_at > s.judged_at ORDER BY 1",
        morning=morning, rules=list(moving_rules),
    )
    return [uscc for (uscc,) in rows]


def closure_states(session: Session, usccs: Sequence[str]) -> dict[str, ClosureState]:
    """Where these institutions stand; one that was never judged is missing."""
    on = Reader(session).on
    return {
        uscc: ClosureState(judged_on=on(day), held=held, quiet=quiet) for uscc, day, held, quiet in fetch(
            session, "SELECT uscc, judged_on, held, quiet FROM closure_states WHERE uscc IN EACH(:usccs)",
            usccs=list(usccs),
        )
    }


def closure_standing(session: Session, uscc: str) -> ClosureStanding | None:
    """The newest outlook of an institution; None if it was never judged."""
    return next(iter(_standings(session, "WHERE uscc = :uscc", uscc=uscc)), None)


def closure_standings(session: Session, usccs: Sequence[str]) -> dict[str, ClosureStanding]:
    """What the closure watch says of these institutions, of those that it has judged."""
    found = _standings(session, "WHERE uscc IN EACH(:usccs)", usccs=list(usccs))
    return {one.outlook.uscc: one for one in found}


def warned_of(
    session: Session, *, least: int = 1, limit: int, visible: Visible = EVERYTHING
) -> list[ClosureStanding]:
    """The institutions that hold this level or a higher one, the highest and likeliest first."""
    where, given = conditions(visible, uscc="uscc")
    return _standings(
        session, f"WHERE {' AND '.join(('held >= :least', *where))} ORDER BY held DESC, chance_ppm DESC, uscc"
        " LIMIT :limit", least=least, limit=limit, **given,
    )


def standings_held(session: Session, usccs: Sequence[str]) -> list[ClosureStanding]:
    """What holds of these institutions, in their order; one that was never judged is left out."""
    found = {one.outlook.uscc: one for one in _standings(session, "WHERE uscc IN EACH(:usccs)", usccs=list(usccs))}
    return [found[uscc] for uscc in usccs if uscc in found]


def _standings(session: Session, which: str, **values: str | int | list[str]) -> list[ClosureStanding]:
    at = Reader(session).at
    return [
        ClosureStanding(outlook=outlook_of(json.loads(document)), judged_at=at(judged_at))
        for document, judged_at in fetch(session, f"SELECT document, judged_at FROM closure_states {which}", **values)
    ]


def reasons_before(session: Session, usccs: Sequence[str], *, on: date) -> dict[str, frozenset[str]]:
    """The names of the reasons that the newest kept morning up to `on` gave, of those institutions that have one."""
    rows = fetch(
        session,
        "SELECT o.uscc, o.document FROM closure_outlooks o JOIN (SELECT uscc, max(judged_on) AS newest FROM"
        " closure_outlooks WHERE uscc IN EACH(:usccs) AND judged_on <= :day GROUP BY uscc) n"
        " ON n.uscc = o.uscc AND n.newest = o.judged_on",
        usccs=list(usccs), day=on,
    )
    return {
        uscc: frozenset(one["name"] for one in json.loads(document)["reasons"]) if document else frozenset()
        for uscc, document in rows
    }


def save_judged(session: Session, judged: Sequence[Judged], *, on: date, model: str, now: datetime) -> None:
    """Keep a morning of these institutions. The same morning again replaces what it said before."""
    names = ", ".join(_STATE)
    sets = ", ".join(f"{name} = excluded.{name}" for name in _STATE if name != "uscc")
    rows = [_cells(one, on, model, now) for one in judged]
    with staged(session, "judged_now", _STATE, rows):
        # Before the state is moved: the history keeps a morning that changes something.
        kept = "n.held > 0 OR n.said > 0 OR coalesce(s.held, 0) > 0 OR s.uscc IS NULL"
        if on.weekday() == MONDAY:
            kept = "true"
        morning = ", ".join(_MORNING)
        again = ", ".join(f"{name} = excluded.{name}" for name in _MORNING if name not in ("uscc", "judged_on"))
        run(
            session,
            f"INSERT INTO closure_outlooks ({morning}) SELECT"
            f" {', '.join(map(_kept_cell, _MORNING))} FROM judged_now n LEFT JOIN closure_states s"
            f" ON s.uscc = n.uscc WHERE {kept} ON CONFLICT (uscc, judged_on) DO UPDATE SET {again}",
        )
        run(
            session,
            f"INSERT INTO closure_states ({names}) SELECT {names} FROM judged_now WHERE true"
            f" ON CONFLICT (uscc) DO UPDATE SET {sets} WHERE closure_states.judged_on <= excluded.judged_on",
        )


def _kept_cell(name: str) -> str:
    # The many quiet Mondays need no words.
    return "CASE WHEN n.held > 0 OR n.said > 0 THEN n.document END" if name == "document" else f"n.{name}"


def _cells(one: Judged, on: date, model: str, now: datetime) -> tuple[object, ...]:
    outlook = one.outlook
    document = json.dumps(outlook.as_json(), ensure_ascii=False, separators=(",", ":"))
    return (
        outlook.uscc, on, now, one.held, one.said, one.quiet, round(outlook.chances[60] * PPM),
        round(outlook.chance_high * PPM), outlook.exposed.minor_units, outlook.unsure, model, document,
    )


def outlook_history(session: Session, uscc: str) -> Iterable[Mapping[str, object]]:
    """The kept mornings of one institution, the oldest first."""
    on = Reader(session).on
    return [
        {"on": on(day), "held": held, "said": said, "chance": ppm / PPM, "exposed_fen": exposed}
        for day, held, said, ppm, exposed in fetch(
            session,
            "SELECT judged_on, held, said, chance_ppm, exposed_fen FROM closure_outlooks WHERE uscc = :uscc"
            " ORDER BY judged_on", uscc=uscc,
        )
    ]
