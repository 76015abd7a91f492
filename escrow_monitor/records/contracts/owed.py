"""What institutions owe families, as each of their accounts has to hold it: what lies in the others counts for it."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from sqlmodel import Session

from escrow_monitor.clock import ZONE
from escrow_monitor.domain.accounts import AccountStatus, BalanceKind
from escrow_monitor.domain.clauses import FullLiability, Schedule
from escrow_monitor.domain.obligation import ObligationFacts
from escrow_monitor.domain.own_transfers import SUPERVISED
from escrow_monitor.records.bulk import Reader, fetch, run
from escrow_monitor.records.contracts.sums import obligations, paid_since

PAID_LATELY_DAYS = 14
"""No balance counts for longer: after the longest run of days off the next closing is due."""

_SUPERVISED = ", ".join(repr(str(purpose)) for purpose in sorted(SUPERVISED))


class _Holding(NamedTuple):
    """What one account holds for families, `fen` None where nobody can say, and how old that may be taken to be."""

    account_no: str
    fen: int | None
    on: date | None


class Owed:
    """Looks up, for some institutions at a time, what they owe and which of their accounts hold what of it."""

    def __init__(self, session: Session, *, now: datetime, charge_months: int) -> None:
        today = now.astimezone(ZONE).date()
        month = today.year * 12 + today.month - charge_months
        self._session = session
        self._months_from = f"{month // 12:04d}-{month % 12 + 1:02d}" if charge_months else "9999"
        self._since = today - timedelta(days=PAID_LATELY_DAYS)
        self._paid: Mapping[tuple[str, str], Mapping[FullLiability | Schedule, Mapping[date, int]]] | None = None
        self._facts: dict[tuple[str, str], ObligationFacts] = {}
        self._holdings: dict[tuple[str, str], list[_Holding]] = {}

    def look_up(self, usccs: Collection[str]) -> None:
        """Read all that is asked next."""
        facts = obligations(self._session, usccs, months_from=self._months_from)
        if facts and self._paid is None:
            # Once for all: it costs as much as was paid in these days, not as much as there are institutions.
            self._paid = paid_since(self._session, self._since)
        paid = self._paid or {}
        self._facts = {
            key: replace(each, paid_lately=paid[key]) if key in paid else each for key, each in facts.items()
        }
        self._holdings = _holdings(self._session, {uscc for uscc, _ in facts}) if facts else {}

    def by(self, account_no: str, uscc: str | None, currency: str) -> ObligationFacts | None:
        """What the holder of an account owes in its currency; None while no such contract is recorded."""
        key = (uscc or "", currency)
        facts = self._facts.get(key)
        if facts is None:
            return None
        others = [each for each in self._holdings.get(key, ()) if each.account_no != account_no]
        if not others:
            return facts
        held = [each.fen for each in others if each.fen is not None]
        return replace(
            facts, others=len(others), elsewhere=sum(held) if len(held) == len(others) else None,
            elsewhere_on=min((each.on for each in others if each.on is not None), default=None),
        )


def sharing(session: Session, account_nos: Sequence[str]) -> list[str]:
    """The accounts of the same institutions and currencies where families' money may lie in several accounts."""
    if not account_nos or run(session, "SELECT uscc FROM institution_obligations LIMIT 1").first() is None:
        return []
    return [account_no for (account_no,) in fetch(
        session,
        f"{_TOGETHER} SELECT a.account_no FROM accounts a JOIN together g ON g.uscc = a.uscc"
        f" AND g.currency = a.currency WHERE g.uscc IN"
        " (SELECT uscc FROM accounts WHERE account_no IN EACH(:account_nos))", account_nos=account_nos,
    )]


_TOGETHER = f"""
    WITH together AS (
        SELECT a.uscc, a.currency FROM accounts a JOIN institution_obligations o
            ON o.uscc = a.uscc AND o.currency = a.currency
        WHERE a.purpose IN ({_SUPERVISED}) GROUP BY a.uscc, a.currency HAVING count(*) > 1
    )
"""


def _holdings(session: Session, usccs: Collection[str]) -> dict[tuple[str, str], list[_Holding]]:
    day = Reader(session).day
    found: dict[tuple[str, str], list[_Holding]] = {}
    for account_no, uscc, currency, *state in fetch(
        session,
        "SELECT a.account_no, a.uscc, a.currency, s.status, s.booked_fen, s.booked_kind, s.booked_day, s.held_fen,"
        " s.held_day FROM accounts a JOIN account_states s ON s.account_no = a.account_no"
        f" WHERE a.uscc IN EACH(:keys) AND a.purpose IN ({_SUPERVISED}) ORDER BY a.account_no", keys=sorted(usccs),
    ):
        status, booked, kind, booked_day, held, held_day = state
        cells = (status, booked, kind, day(booked_day), held, day(held_day))
        found.setdefault((uscc, currency), []).append(_holding(account_no, cells))
    return found


def _holding(account_no: str, cells: Sequence[Any]) -> _Holding:
    """Booked minus held, never below nothing: what one account is overdrawn by, no other owes to families."""
    status, fen, kind, on, held, held_day = cells
    if status == AccountStatus.CLOSED:
        return _Holding(account_no, 0, None)
    if fen is None:
        return _Holding(account_no, None, None)
    if held is not None and held_day < on:
        # What is held on the day of the balance is not stated yet.
        return _Holding(account_no, None, on)
    if kind == BalanceKind.BOOKED_INTRADAY:
        # It counts until its own day's closing is due, as the closing of the day before would.
        on -= timedelta(days=1)
    return _Holding(account_no, max(0, fen - max(0, held or 0)), on)
