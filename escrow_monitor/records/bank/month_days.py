"""A calendar month of supervised accounts as it is recorded now, some accounts at a time: for the monthly return."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import chain

import numpy as np
from sqlmodel import Session

from escrow_monitor.clock import ZONE
from escrow_monitor.domain.account_month import Bools, Ints
from escrow_monitor.domain.accounts import Account, AccountStatus
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.own_transfers import SUPERVISED
from escrow_monitor.domain.visibility import EVERYTHING, Visible
from escrow_monitor.records.accounts import account_cells, account_reader, institutions
from escrow_monitor.records.bulk import Reader, fetch, is_sqlite
from escrow_monitor.records.visible import conditions

ACCOUNTS_AT_ONCE = 5_000
STATED_LATER_DAYS = 5
"""What a bank says it holds back on a day it says on that day, or a long weekend later."""
STANDING_CREDITS = "credits_fen - reversed_credits_fen - own_credits_fen"
STANDING_DEBITS = "debits_fen - reversed_debits_fen - own_debits_fen"

_SUPERVISED = ", ".join(repr(str(purpose)) for purpose in sorted(SUPERVISED))


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredAccount:
    """An account of the return: its holder, the first day of which a statement is known, and since when it is closed.
    """

    account: Account
    institution: Institution | None
    covered_from: date | None
    closed_on: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedDays:
    """What statements say of accounts day by day, in fen: a row an account, a column a day.

    `balance` is the closing less what the bank said it held back that day, where `covered`. `moved`: something was
    booked on a day that no final statement covers. `gap`: a day that was found missing and still is.
    """

    balance: Ints
    covered: Bools
    moved: Bools
    gap: Bools
    received: Ints
    paid_out: Ints


def account_pieces(
    session: Session, *, district: str | None = None, visible: Visible = EVERYTHING, at_once: int = ACCOUNTS_AT_ONCE
) -> Iterator[list[RegisteredAccount]]:
    """The supervised accounts by holder and number, so many at a time; those of one holder come together.

    `district` is the beginning of the code of the district that the holder is in now.
    """
    reader, read = Reader(session), account_reader(Reader(session))
    where, given = conditions(visible, uscc="a.uscc")
    if district:
        where.append("i.district LIKE :district")
        given["district"] = f"{district}%"
    rows = fetch(
        session,
        f"SELECT {account_cells('a')}, s.covered_from, s.status, s.status_as_of FROM accounts a"
        " JOIN account_states s ON s.account_no = a.account_no LEFT JOIN institutions i ON i.uscc = a.uscc"
        f" WHERE a.purpose IN ({_SUPERVISED}){''.join(f' AND {each}' for each in where)}"
        " ORDER BY a.uscc, a.currency, a.account_no", **given,
    )
    start = 0
    while start < len(rows):
        stop = min(start + at_once, len(rows))
        while stop < len(rows) and rows[stop][1] is not None and rows[stop][1] == rows[stop - 1][1]:
            stop += 1
        piece = [(read(row), *row[-3:]) for row in rows[start:stop]]
        held = {one.uscc: one for one in institutions(session, usccs={each[0].uscc for each in piece if each[0].uscc})}
        yield [
            RegisteredAccount(
                account=account, institution=None if account.uscc is None else held.get(account.uscc),
                covered_from=reader.day(covered_from), closed_on=_closed_on(status, reader.instant(status_as_of)),
            )
            for account, covered_from, status, status_as_of in piece
        ]
        start = stop


def recorded_days(session: Session, account_nos: Sequence[str], first: date, last: date) -> RecordedDays:
    """The days from `first` to `last` of these accounts, in their order."""
    width = (last - first).days + 1
    places = {number: place for place, number in enumerate(account_nos)}
    columns = _columns(session, first, width)
    shape = (len(account_nos), width)
    balance, received, paid_out = (np.zeros(shape, np.int64) for _ in range(3))
    covered, moved, gap = (np.zeros(shape, np.bool_) for _ in range(3))
    rows = fetch(
        session, _DAYS.format(day=_DAY_NUMBER[is_sqlite(session)]), keys=list(account_nos), first=first, last=last
    )
    if rows:
        # All whole numbers: a million cells become an array at once.
        width = len(rows[0]) - 1
        cells = np.fromiter(
            chain.from_iterable(row[1:] for row in rows), np.int64, len(rows) * width
        ).reshape(-1, width)
        place = np.fromiter((places[row[0]] for row in rows), np.int64, len(rows))
        at = (place, cells[:, 0] - (first - _DAY_ZERO).days)
        here = cells[:, 1] == 1
        covered[at], balance[at] = here, np.where(here, cells[:, 2], 0)
        received[at], paid_out[at] = cells[:, 3], cells[:, 4]
        moved[at] = ~here & (cells[:, 5] == 1)
    for account_no, missing in fetch(
        session,
        "SELECT account_no, day FROM coverage_gaps WHERE filled_at IS NULL AND day BETWEEN :first AND :last"
        " AND account_no IN EACH(:keys)", keys=list(account_nos), first=first, last=last,
    ):
        gap[places[account_no], columns[missing]] = True
    for account_no, on, held in _held(session, account_nos, first, last):
        balance[places[account_no], columns[on]] -= held * int(covered[places[account_no], columns[on]])
    return RecordedDays(
        balance=balance, covered=covered, moved=moved, gap=gap, received=np.maximum(received, 0),
        paid_out=np.maximum(paid_out, 0),
    )


def credited_months(
    session: Session, account_nos: Sequence[str], *, first: str, last: str
) -> Mapping[str, Mapping[str, int]]:
    """What was credited and stands, by account and month (`2026-11`), from `first` to `last`."""
    found: dict[str, dict[str, int]] = {}
    for account_no, month, fen in fetch(
        session,
        f"SELECT account_no, month, {STANDING_CREDITS} FROM account_months"
        " WHERE account_no IN EACH(:keys) AND month BETWEEN :first AND :last",
        keys=list(account_nos), first=first, last=last,
    ):
        found.setdefault(account_no, {})[month] = int(fen)
    return found


def first_gaps(session: Session, account_nos: Sequence[str], *, first: date, last: date) -> Mapping[str, date]:
    """The newest day from `first` to `last` that is missing of each account, where one is."""
    on = Reader(session).on
    return {
        account_no: on(day) for account_no, day in fetch(
            session,
            "SELECT account_no, max(day) FROM coverage_gaps WHERE filled_at IS NULL AND day BETWEEN :first AND :last"
            " AND account_no IN EACH(:keys) GROUP BY account_no", keys=list(account_nos), first=first, last=last,
        )
    }


def _held(session: Session, account_nos: Sequence[str], first: date, last: date) -> Iterator[tuple[str, object, int]]:
    """What the bank last said it held back on each day, above nothing."""
    between = {
        "begins": datetime.combine(first - timedelta(days=1), time(), UTC),
        "ends": datetime.combine(last + timedelta(days=STATED_LATER_DAYS), time(), UTC),
    }
    some = fetch(
        session,
        "SELECT DISTINCT account_no FROM readings WHERE account_no IN EACH(:keys) AND as_of BETWEEN :begins AND :ends"
        " AND kind = 'held' AND amount_fen > 0", keys=list(account_nos), **between,
    )
    if not some:
        return
    newest: dict[tuple[str, object], int] = {}
    for account_no, day, fen in fetch(
        session,
        "SELECT account_no, day, amount_fen FROM readings WHERE account_no IN EACH(:keys)"
        " AND as_of BETWEEN :begins AND :ends AND kind = 'held' AND day BETWEEN :first AND :last"
        " ORDER BY account_no, as_of, fetched_at", keys=[each for (each,) in some], first=first, last=last, **between,
    ):
        newest[account_no, day] = fen
    yield from ((account_no, day, max(0, fen)) for (account_no, day), fen in newest.items())


_DAY_ZERO = date(2000, 1, 1)
_DAY_NUMBER = {True: "CAST(julianday(d.day) - 2451544.5 AS INTEGER)", False: "d.day - DATE '2000-01-01'"}
"""How many days after _DAY_ZERO, on SQLite and on PostgreSQL."""
_DAYS = f"""
    SELECT d.account_no, {{day}}, CASE WHEN d.covered AND d.closing_fen IS NOT NULL THEN 1 ELSE 0 END,
        coalesce(d.closing_fen, 0), {STANDING_CREDITS}, {STANDING_DEBITS},
        CASE WHEN d.credits_fen <> 0 OR d.debits_fen <> 0 THEN 1 ELSE 0 END
    FROM account_days d WHERE d.account_no IN EACH(:keys) AND d.day BETWEEN :first AND :last
"""


def _columns(session: Session, first: date, width: int) -> Mapping[object, int]:
    days = [first + timedelta(days=column) for column in range(width)]
    lite = is_sqlite(session)
    return {(day.isoformat() if lite else day): column for column, day in enumerate(days)}


def _closed_on(status: str, as_of: datetime | None) -> date | None:
    if status != AccountStatus.CLOSED or as_of is None:
        return None
    return as_of.astimezone(ZONE).date()
