"""To whom policies apply: accounts, floors and shortfalls, added up by all that decides which clauses hold."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from dataclasses import dataclass

from sqlmodel import Session

from escrow_monitor.domain.accounts import Mode, Purpose
from escrow_monitor.domain.institutions import InstitutionKind
from escrow_monitor.domain.visibility import EVERYTHING, Visible
from escrow_monitor.records.bulk import run
from escrow_monitor.records.visible import conditions


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """Accounts that every policy treats alike, in one currency, as the last check found them.

    `unknown` have no known floor or balance, and are in no sum of both; `below` hold less than their floor.
    """

    district: str | None
    policy: str | None
    kind: InstitutionKind | None
    purpose: Purpose
    mode: Mode
    currency: str
    accounts: int
    unknown: int
    required_fen: int
    below: int
    short_fen: int


def alike(session: Session, *, visible: Visible = EVERYTHING) -> list[Alike]:
    """All accounts of registered institutions, added up."""
    where, given = conditions(visible, uscc="a.uscc")
    rows = run(
        session,
        "SELECT i.district, i.policy, i.kind, a.purpose, a.mode, a.currency, count(*),"
        " sum(CASE WHEN s.required_fen IS NULL OR s.balance_fen IS NULL THEN 1 ELSE 0 END),"
        " sum(coalesce(s.required_fen, 0)),"
        " sum(CASE WHEN s.balance_fen < s.required_fen THEN 1 ELSE 0 END),"
        " sum(CASE WHEN s.balance_fen < s.required_fen THEN s.required_fen - s.balance_fen ELSE 0 END)"
        " FROM accounts a JOIN institutions i ON i.uscc = a.uscc"
        " LEFT JOIN account_standings s ON s.account_no = a.account_no"
        f" WHERE {' AND '.join(where) or 'true'}"
        " GROUP BY i.district, i.policy, i.kind, a.purpose, a.mode, a.currency", **given,
    )
    return [
        Alike(
            district=row[0], policy=row[1], kind=InstitutionKind(row[2]) if row[2] else None, purpose=Purpose(row[3]),
            mode=Mode(row[4]), currency=row[5], accounts=int(row[6]), unknown=int(row[7]), required_fen=int(row[8]),
            below=int(row[9]), short_fen=int(row[10]),
        )
        for row in rows
    ]


def institution_counts(
    session: Session, *, visible: Visible = EVERYTHING
) -> dict[tuple[str | None, str | None, InstitutionKind | None], int]:
    """How many institutions there are by district, named policy and kind."""
    where, given = conditions(visible, uscc="i.uscc")
    rows = run(
        session,
        f"SELECT i.district, i.policy, i.kind, count(*) FROM institutions i WHERE {' AND '.join(where) or 'true'}"
        " GROUP BY i.district, i.policy, i.kind", **given,
    )
    return {(row[0], row[1], InstitutionKind(row[2]) if row[2] else None): int(row[3]) for row in rows}
