"""Sums over every account, apart by district: counted once for everybody, and added up for what each may see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlmodel import Session

from escrow_monitor.domain.findings import Level, Standing
from escrow_monitor.domain.visibility import Visible
from escrow_monitor.records.bank.pulls import BankAnswers
from escrow_monitor.records.bulk import Reader, fetch


class BankTally(NamedTuple):
    """So many accounts of a district at a bank were refused the same when last asked, or not; and the newest answer."""

    district: str | None
    bank: str
    refusal: str | None
    accounts: int
    last_answer_at: datetime | None


class StandingTally(NamedTuple):
    """So many accounts of a district stand so."""

    district: str | None
    standing: Standing
    level: Level | None
    accounts: int


def bank_tallies(session: Session) -> list[BankTally]:
    """Of all accounts. A hundred thousand take a few tenths of a second: for who asks seldom, and shares it."""
    instant = Reader(session).instant
    return [
        BankTally(district, bank, refusal, int(count), instant(at)) for district, bank, refusal, count, at in fetch(
            session,
            "SELECT t.district, s.bank, s.last_refusal, count(*), max(s.last_answer_at) FROM account_states s"
            " JOIN account_standings t ON t.account_no = s.account_no"
            " GROUP BY t.district, s.bank, s.last_refusal",
        )
    ]


def standing_tallies(session: Session) -> list[StandingTally]:
    """Of all accounts, from an index alone; never checked is unknown."""
    return [
        StandingTally(district, Standing(standing), Level(level) if level else None, int(count))
        for district, standing, level, count in fetch(
            session, "SELECT district, standing, level, count(*) FROM account_standings"
            " GROUP BY standing, level, district",
        )
    ]


def unsure_tallies(session: Session) -> list[tuple[str | None, int]]:
    """Of how many institutions without a level too little is known to be at ease, by district."""
    return [(district, int(count)) for district, count in fetch(
        session, "SELECT i.district, count(*) FROM closure_states c LEFT JOIN institutions i ON i.uscc = c.uscc"
        " WHERE c.held = 0 AND c.unsure GROUP BY i.district",
    )]


def banks_of(tallies: Sequence[BankTally], visible: Visible) -> list[BankAnswers]:
    """How the banks answer for the accounts of the districts that may be seen, by name. Not for one institution."""
    found: dict[str, list[BankTally]] = {}
    for one in tallies:
        if visible.covers(uscc=None, district=one.district):
            found.setdefault(one.bank, []).append(one)
    return [_answers(bank, found[bank]) for bank in sorted(found)]


def standings_of(
    tallies: Sequence[StandingTally], visible: Visible
) -> Mapping[tuple[Standing, Level | None], int]:
    """How many accounts of the districts that may be seen have which standing and colour. Not for one institution."""
    found: dict[tuple[Standing, Level | None], int] = {}
    for one in tallies:
        if visible.covers(uscc=None, district=one.district):
            found[one.standing, one.level] = found.get((one.standing, one.level), 0) + one.accounts
    return found


def unsure_of(tallies: Sequence[tuple[str | None, int]], visible: Visible) -> int:
    """The same sum of `unsure_tallies`. Not for one institution."""
    return sum(count for district, count in tallies if visible.covers(uscc=None, district=district))


def _answers(bank: str, parts: Sequence[BankTally]) -> BankAnswers:
    refusals: dict[str, int] = {}
    for one in parts:
        if one.refusal is not None:
            refusals[one.refusal] = refusals.get(one.refusal, 0) + one.accounts
    return BankAnswers(
        bank=bank, accounts=sum(one.accounts for one in parts), silent=sum(refusals.values()),
        last_answer_at=max((one.last_answer_at for one in parts if one.last_answer_at is not None), default=None),
        refusals=refusals,
    )
