"""What the pages about cases ask: how many stand where, and the next of each state."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlmodel import Session

from escrow_monitor.domain.dispute_words import CaseState
from escrow_monitor.domain.disputes import OPEN_STATES
from escrow_monitor.domain.visibility import EVERYTHING, Visible
from escrow_monitor.records.bulk import fetch, is_sqlite
from escrow_monitor.records.contracts.case_book import CaseRecord, cases
from escrow_monitor.records.visible import conditions


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedCases:
    """Which cases are asked for; None leaves a part open.

    `text` is part of the number of the case or the contract, or of the institution's name, or the beginning of its
    code; `district` is the beginning of its district's.
    """

    text: str | None = None
    district: str | None = None
    uscc: str | None = None
    visible: Visible = EVERYTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class CasePlace:
    """Where a list goes on: after this case, claimed that day."""

    claimed_on: date
    case_no: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCase:
    """A case with the name of its institution."""

    record: CaseRecord
    institution: str

    @property
    def place(self) -> CasePlace:
        """Where a list goes on after it."""
        return CasePlace(claimed_on=self.record.case.claimed_on, case_no=self.record.case.case_no)


def counts(session: Session, asked: AskedCases) -> Mapping[CaseState, int]:
    """How many cases stand in each state; a state without any is not there."""
    where, given = _where(session, asked)
    return {
        CaseState(state): int(count) for state, count in fetch(
            session,
            f"SELECT k.state, count(*) {'FROM cases k' if where == 'true' else _FROM} WHERE {where} GROUP BY k.state",
            **given,
        )
    }


def oldest_of_each(session: Session, asked: AskedCases, *, limit: int) -> Mapping[CaseState, list[FoundCase]]:
    """The cases of each open state that were claimed first, at most `limit` of each."""
    where, given = _where(session, asked)
    return _by_state(session, fetch(
        session,
        "SELECT placed.case_no, coalesce(i.name, t.uscc) FROM (SELECT k.case_no, c.contract_no, row_number() OVER"
        " (PARTITION BY k.state ORDER BY c.claimed_on, k.case_no) AS place"
        f" {_BARE if where == 'true' else _FROM} WHERE {where} AND k.state IN EACH(:states)) AS placed"
        " JOIN contracts t ON t.contract_no = placed.contract_no LEFT JOIN institutions i ON i.uscc = t.uscc"
        " WHERE place <= :most",
        states=[state.value for state in OPEN_STATES], most=limit, **given,
    ))


def page(
    session: Session, asked: AskedCases, state: CaseState, *, after: CasePlace | None = None, limit: int
) -> list[FoundCase]:
    """At most `limit` cases of one state, those that were claimed first; of an ended one those claimed last."""
    where, given = _where(session, asked)
    is_open = state in OPEN_STATES
    if after is not None:
        where += f" AND (c.claimed_on, k.case_no) {'>' if is_open else '<'} (:claimed_on, :after)"
        given |= {"claimed_on": after.claimed_on, "after": after.case_no}
    order = "c.claimed_on, k.case_no" if is_open else "c.claimed_on DESC, k.case_no DESC"
    found = _by_state(session, fetch(
        session,
        f"SELECT k.case_no, coalesce(i.name, t.uscc) {_FROM} WHERE {where} AND k.state = :state"
        f" ORDER BY {order} LIMIT :most", state=state.value, most=limit, **given,
    ))
    return found.get(state, []) if is_open else found.get(state, [])[::-1]


_BARE = "FROM cases k JOIN refund_claims c ON c.claim_no = k.case_no"
_FROM = (
    f"{_BARE} JOIN contracts t ON t.contract_no = c.contract_no LEFT JOIN institutions i ON i.uscc = t.uscc"
)
"""With what filters ask about; without any, cases and their claims are enough to say which come first."""


def _where(session: Session, asked: AskedCases) -> tuple[str, dict[str, Any]]:
    """The condition, with its values."""
    where, given = conditions(asked.visible, uscc="t.uscc")
    if asked.uscc is not None:
        where.append("t.uscc = :uscc")
        given["uscc"] = asked.uscc
    if asked.district is not None:
        where.append("i.district LIKE :district")
        given["district"] = f"{asked.district}%"
    if asked.text is not None:
        like = "LIKE" if is_sqlite(session) else "ILIKE"
        names = ("k.case_no", "c.contract_no", "i.name")
        where.append("(" + " OR ".join((
            *(f"{name} {like} :part ESCAPE '\\'" for name in names), "t.uscc LIKE :code ESCAPE '\\'",
        )) + ")")
        escaped = asked.text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        given |= {"part": f"%{escaped}%", "code": f"{escaped.upper()}%"}
    return " AND ".join(where) or "true", given


def _by_state(session: Session, rows: Sequence[Sequence[Any]]) -> dict[CaseState, list[FoundCase]]:
    names: dict[str, str] = {row[0]: row[1] for row in rows}
    found = [
        FoundCase(record=record, institution=names[record.case.case_no])
        for record in (cases(session, case_nos=sorted(names)) if names else ())
    ]
    by_state: dict[CaseState, list[FoundCase]] = {}
    for one in sorted(found, key=lambda one: (one.place.claimed_on, one.place.case_no)):
        by_state.setdefault(one.record.case.state, []).append(one)
    return by_state
