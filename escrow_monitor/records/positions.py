"""What is known of the accounts that are due for a check, and what the check concluded."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any, NamedTuple

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, Session

from escrow_monitor.domain.accounts import (
    Account,
    AccountStatus,
    Balance,
    BalanceKind,
    Known,
    Missing,
    Unknown,
)
from escrow_monitor.domain.findings import Level, Standing, account_subject
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.positions import DayFlow, MonthFlow, Position
from escrow_monitor.domain.statements import RefusalReason
from escrow_monitor.domain.visibility import EVERYTHING, Visible
from escrow_monitor.records.accounts import ACCOUNT_COLUMNS, account_cells, account_reader, holders, institutions
from escrow_monitor.records.alerts.book import WAITS_TO_BE_SEEN_AGAIN
from escrow_monitor.records.bank.breaks import open_breaks
from escrow_monitor.records.bank.corrections import corrections
from escrow_monitor.records.bulk import Reader, as_json, fetch, from_json, run, staged, uncollected
from escrow_monitor.records.columns import Row, fen, large, one_of
from escrow_monitor.records.contracts.owed import Owed, sharing
from escrow_monitor.records.visible import conditions

GAPS_SHOWN_MAX = 31
MONTHS_BACK = 36
"""No clause looks further back than three years."""


class AccountStandingRow(Row, table=True):
    """What the last check concluded of an account, and of which input, policies and time that is true.

    `checked_facts` is the input's `input_version - balance_moves`. Where `quiet_from_fen` is set, a booked balance of
    the same kind and day from there on changes no conclusion while those facts stay and `recheck_at` has not come.
    """

    __tablename__ = "account_standings"
    __table_args__ = (
        CheckConstraint(one_of("standing", Standing), "standing"),
        CheckConstraint(one_of("level", Level), "level"),
        # All that the figures add up: they are read from this index alone.
        Index("ix_account_standings_sums", "standing", "district", "required_fen", "balance_fen"),
        Index("ix_account_standings_colours", "standing", "level", "district"),
        {"sqlite_with_rowid": False},
    )

    account_no: str = Field(primary_key=True, foreign_key="accounts.account_no")
    district: str | None = None
    standing: str = Standing.UNKNOWN.value
    level: str | None = None
    required_fen: int | None = fen(default=None)
    required_complete: bool = False
    balance_fen: int | None = fen(default=None)
    below_since: datetime | None = None
    recheck_at: datetime | None = None
    findings: str = "[]"
    checked_version: int = large(default=0)
    checked_facts: int | None = large(default=None)
    quiet_from_fen: int | None = fen(default=None)
    checked_policy_version: str | None = None
    checked_at: datetime | None = None


class DuePosition(NamedTuple):
    """A position, and the versions of the input it was read from: give them back with the standing."""

    position: Position
    input_version: int
    facts_version: int


class AccountStanding(NamedTuple):
    """What one check concluded of one account. `input_version` and `facts_version` are those its position came with.

    `required_fen` is the floor (a lower bound unless `required_complete`), `balance_fen` what was held against it;
    None where not known. `below_since` is the bank's time, `recheck_at` when time alone may change the answer.
    `findings` are those that were not met, JSON-ready. `quiet_from_fen`: from this booked balance on, of the same kind
    and day, the same would be concluded; None where nothing of the kind can be said.
    """

    account_no: str
    input_version: int
    standing: Standing
    level: Level | None = None
    required_fen: int | None = None
    required_complete: bool = False
    balance_fen: int | None = None
    below_since: datetime | None = None
    recheck_at: datetime | None = None
    findings: Sequence[Mapping[str, object]] = ()
    facts_version: int | None = None
    quiet_from_fen: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedAccount:
    """An account with what the last check concluded (`checked_at` None: never checked) and its newest balances."""

    account: Account
    institution: Institution | None
    standing: AccountStanding
    checked_at: datetime | None
    booked: Balance
    closing: Balance
    held: Balance
    available: Balance
    last_answer_at: datetime | None
    last_refusal: RefusalReason | None


def positions_due(
    session: Session, *, now: datetime, policy_version: str, days_from: date, large_debit_fen_min: int | None,
    charge_months: int = 0, account_nos: Sequence[str] | None = None, everything: bool = False,
    together: bool = False, chunk: int = 10_000,
) -> Iterator[list[DuePosition]]:
    """The positions that a check could now answer otherwise, by account number, in lists of at most `chunk`.

    Due is an account of which something new was recorded, whose `recheck_at` has come, that was checked under other
    policies, or of which an alert waits to open or to end; with `everything` each one is. `days` of a position holds
    the days from `days_from` on whose debits reach `large_debit_fen_min` (None: all days with debits), and those that
    came late or were corrected since then; `corrections` what was corrected since then; `charges` of its obligations
    the last `charge_months` months.
    With `together` accounts that hold the same families' money are due together, asked for or not: what one holds
    another need not.
    """
    due = _due(session, now, policy_version, account_nos, everything, together)
    if not due:
        return
    owed = Owed(session, now=now, charge_months=charge_months)
    for start in range(0, len(due), chunk):
        keys = due[start : start + chunk]
        with uncollected():
            known = {item.uscc: item for item in holders(session, keys)}
            history = _History(session, keys, days_from, large_debit_fen_min, now)
            owed.look_up(known)
            read = _position_reader(Reader(session), known, history, owed)
            rows = fetch(session, _POSITIONS, keys=keys, first=keys[0], last=keys[-1])
            positions = [DuePosition(read(row), row[_VERSION], row[_FACTS]) for row in rows]
        yield positions


def due_count(
    session: Session, *, now: datetime, policy_version: str, account_nos: Sequence[str] | None = None,
    everything: bool = False, together: bool = False,
) -> int:
    """How many positions `positions_due` would give now."""
    return len(_due(session, now, policy_version, account_nos, everything, together))


def save_standings(
    session: Session, standings: Sequence[AccountStanding], *, now: datetime, policy_version: str
) -> None:
    """Keep what a check concluded. An account whose input moved on meanwhile stays due."""
    rows = (
        (
            item.account_no, item.input_version, item.standing.value, None if item.level is None else item.level.value,
            item.required_fen, item.required_complete, item.balance_fen, item.below_since, item.recheck_at,
            as_json(list(item.findings)) if item.findings else "[]", item.facts_version, item.quiet_from_fen,
        )
        for item in sorted(standings, key=lambda item: item.account_no)
    )
    with staged(session, "incoming_standings", _STANDING, rows):
        run(
            session,
            "UPDATE account_standings SET "
            + ", ".join(f"{column} = i.{column}" for column in _STANDING if column != "account_no")
            + ", checked_policy_version = :policy_version, checked_at = :now"
            " FROM incoming_standings i WHERE i.account_no = account_standings.account_no",
            now=now, policy_version=policy_version,
        )


def pass_quiet(
    session: Session, *, now: datetime, policy_version: str, checked_since: datetime, after: str, limit: int
) -> tuple[int, str | None]:
    """Bring the standings up to date of which it is certain that a check would conclude the same again.

    That is a standing of this policy version and since `checked_since` that is met, silent and without alert, before
    its `recheck_at`, where nothing is new but the balance and that is one at which the rules said they stay silent.
    Looks at `limit` accounts with numbers above `after`; returns how many were brought up to date, and the last number
    looked at (None: there are no more). What another process judges meanwhile stays as it says: a row is written only
    while the check it was found by is still its last.
    """
    last = run(
        session, "SELECT account_no FROM account_standings WHERE account_no > :after ORDER BY account_no LIMIT 1"
        " OFFSET :place", after=after, place=limit - 1,
    ).scalar()
    done = run(
        session,
        # Read in the order of both tables, then written: SQLite would else go by an index, and jump for each account.
        "UPDATE account_standings SET checked_version = q.input_version, balance_fen = q.booked_fen, checked_at = :now"
        " FROM (WITH quiet AS MATERIALIZED ("
        "SELECT s.account_no, s.input_version, s.booked_fen, t.checked_version, t.checked_at"
        " FROM account_states s CROSS JOIN account_standings t"
        " WHERE t.account_no = s.account_no AND s.account_no > :after AND t.account_no > :after"
        + ("" if last is None else " AND s.account_no <= :last AND t.account_no <= :last")
        + f" AND {_STAYS_QUIET}) SELECT * FROM quiet) q WHERE q.account_no = account_standings.account_no"
        " AND account_standings.checked_version = q.checked_version AND account_standings.checked_at = q.checked_at",
        now=now, policy_version=policy_version, checked_since=checked_since, after=after,
        **({} if last is None else {"last": last}),
    ).rowcount
    return done, last


def checked_versions(session: Session, account_nos: Sequence[str]) -> dict[str, int]:
    """The version of the input on which each account was last judged; 0 before the first time."""
    rows = fetch(
        session,
        "SELECT account_no, checked_version FROM account_standings WHERE account_no IN EACH(:account_nos)",
        account_nos=account_nos,
    )
    return {account_no: version or 0 for account_no, version in rows}


def standing_counts(session: Session, *, visible: Visible = EVERYTHING) -> dict[Standing, int]:
    """How many accounts stand how; never checked counts as unknown."""
    where, given = conditions(visible, uscc="a.uscc")
    source = "account_standings t" + (" JOIN accounts a ON a.account_no = t.account_no" if where else "")
    rows = run(
        session, f"SELECT t.standing, count(*) FROM {source} WHERE {' AND '.join(where) or 'true'} GROUP BY t.standing",
        **given,
    )
    return {Standing(standing): count for standing, count in rows}


def checked_accounts(
    session: Session, *, standing: Standing | None = None, level: Level | None = None, bank: str | None = None,
    district: str | None = None, uscc: str | None = None, account_nos: Sequence[str] | None = None,
    after: str = "", limit: int | None = 100, visible: Visible = EVERYTHING,
) -> list[CheckedAccount]:
    """The accounts that fit all that is asked, with their standing, by number from `after` on; `limit` None: all."""
    asked: dict[str, Any] = {
        "t.standing": standing and standing.value, "t.level": level and level.value, "a.bank": bank,
        "t.district": district, "a.uscc": uscc,
    }
    given = {column[2:]: value for column, value in asked.items() if value is not None}
    where = [f"{column} = :{column[2:]}" for column, value in asked.items() if value is not None]
    if account_nos is not None:
        where.append("a.account_no IN EACH(:account_nos)")
        given["account_nos"] = account_nos
    seen, values = conditions(visible, uscc="a.uscc")
    where, given = [*where, *seen], given | values
    rows = run(
        session,
        f"{_CHECKED} WHERE {' AND '.join(['a.account_no > :after', *where])} ORDER BY a.account_no"
        + ("" if limit is None else " LIMIT :limit"),
        after=after, **given, **({} if limit is None else {"limit": limit}),
    ).all()
    wanted = {row[1] for row in rows if row[1] is not None}
    known = {item.uscc: item for item in institutions(session, usccs=wanted)} if wanted else {}
    return list(map(_checked_reader(Reader(session), known), rows))


# due positions

_BALANCES = ("booked", "closing", "held", "available")
_BALANCE_CELLS = ", ".join(
    f"s.{slot}_{part}" for slot in _BALANCES for part in ("fen", "kind", "day", "as_of", "fetched_at", "final")
)
_STATES = f"""
    SELECT {account_cells("a")}, {_BALANCE_CELLS}, s.status, s.status_as_of, s.covered_from, s.covered_to,
        t.below_since, a.recorded_at, s.last_answer_at, s.last_refusal, s.refusals_in_a_row, s.input_version,
        s.input_version - s.balance_moves
"""
_FROM = """
    FROM accounts a JOIN account_states s ON s.account_no = a.account_no
    JOIN account_standings t ON t.account_no = a.account_no
"""
_POSITIONS = f"""
    {_STATES} {_FROM} WHERE a.account_no IN EACH(:keys) AND a.account_no BETWEEN :first AND :last
        AND s.account_no BETWEEN :first AND :last AND t.account_no BETWEEN :first AND :last
    ORDER BY a.account_no
"""
"""The bounds say nothing new, but by them PostgreSQL reads a chunk of each table instead of all of it."""
_CHECKED = f"""
    {_STATES}, t.standing, t.level, t.required_fen, t.required_complete, t.balance_fen, t.recheck_at, t.findings,
        t.checked_at, t.checked_version
    {_FROM}
"""
_BOOKED = len(ACCOUNT_COLUMNS)
_CLOSING, _HELD, _AVAILABLE, _REST = _BOOKED + 6, _BOOKED + 12, _BOOKED + 18, _BOOKED + 24
_VERSION = _REST + 9
_FACTS = _VERSION + 1

_WAITING = f"""
    SELECT substr(subject, {len(account_subject("")) + 1}) FROM alerts
    WHERE {WAITS_TO_BE_SEEN_AGAIN} AND subject LIKE '{account_subject("")}%'
"""
_STAYS_QUIET = f"""
    t.quiet_from_fen IS NOT NULL AND s.booked_fen >= t.quiet_from_fen
    AND s.input_version > t.checked_version
    AND s.input_version - s.balance_moves = t.checked_facts
    AND t.standing = '{Standing.MET}' AND t.level IS NULL
    AND t.findings = '[]' AND t.below_since IS NULL
    AND t.checked_policy_version = :policy_version AND t.recheck_at > :now
    AND t.checked_at >= :checked_since AND t.checked_at <= :now
    AND t.account_no NOT IN (
        SELECT substr(subject, {len(account_subject("")) + 1}) FROM alerts
        WHERE status IN ('open', 'pending') AND subject LIKE '{account_subject("")}%'
    )
"""

_STANDING_CREDITS = "credits_fen - reversed_credits_fen - own_credits_fen"
_STANDING_DEBITS = "debits_fen - reversed_debits_fen - own_debits_fen"
_NEVER = Unknown(reason=Missing.NEVER_STATED)
_KINDS = {str(kind): kind for kind in BalanceKind}
_STATUSES = {str(status): status for status in AccountStatus}
_NO_MONTHS: Mapping[str, MonthFlow] = {}
_STANDING = {
    "account_no": str, "checked_version": int, "standing": str, "level": str, "required_fen": int,
    "required_complete": bool, "balance_fen": int, "below_since": datetime, "recheck_at": datetime, "findings": str,
    "checked_facts": int, "quiet_from_fen": int,
}


def _due(
    session: Session, now: datetime, policy_version: str, account_nos: Sequence[str] | None, everything: bool,
    together: bool,
) -> list[str]:
    where = ["true"]
    given: dict[str, Any] = {}
    if not everything:
        where.append(
            "(s.input_version <> t.checked_version OR t.recheck_at <= :now"
            f" OR t.checked_policy_version IS DISTINCT FROM :policy_version OR s.account_no IN ({_WAITING}))"
        )
        given = {"now": now, "policy_version": policy_version}
    if account_nos is not None:
        where.append("s.account_no IN EACH(:account_nos)")
        given["account_nos"] = list(account_nos)
    rows = fetch(
        session,
        "SELECT s.account_no FROM account_states s JOIN account_standings t ON t.account_no = s.account_no"
        f" WHERE {' AND '.join(where)} ORDER BY s.account_no", **given,
    )
    due = [account_no for (account_no,) in rows]
    beside = sharing(session, due) if together else []
    return sorted({*due, *beside}) if beside else due


class _History:
    """What statements say of the accounts of one chunk: months, large days, gaps and breaks, by account."""

    def __init__(
        self, session: Session, keys: list[str], days_from: date, large_debit_fen_min: int | None, now: datetime
    ) -> None:
        reader = Reader(session)
        self.months: dict[str, dict[str, MonthFlow]] = {}
        self.days: dict[str, list[DayFlow]] = {}
        self.gaps: dict[str, list[date]] = {}
        first_month = f"{now.year - MONTHS_BACK // 12:04d}-{now.month:02d}"
        for account_no, month, credits_fen, debits_fen in fetch(
            session,
            f"SELECT account_no, month, {_STANDING_CREDITS}, {_STANDING_DEBITS} FROM account_months"
            " WHERE account_no IN EACH(:keys) AND month >= :first_month", keys=keys, first_month=first_month,
        ):
            self.months.setdefault(account_no, {})[month] = MonthFlow(credits_fen=credits_fen, debits_fen=debits_fen)
        since = datetime.combine(days_from, time(), UTC)
        self.corrections = corrections(session, account_nos=keys, recorded_from=since)
        # Of an older day, or a smaller sum, something was heard since then: a late statement, or a correction after
        # which nothing may be left of what was too much.
        for which in (
            "day >= :days_from AND debits_fen >= :least",
            "news_at >= :since AND (day < :days_from OR debits_fen < :least)",
        ):
            for account_no, day, debits_fen, largest_debit_fen, opening_fen, own_debits_fen in fetch(
                session,
                # Large before links, and nothing left of it by now: it is still looked at, to say just that.
                f"SELECT account_no, day, {_STANDING_DEBITS}, largest_debit_fen, opening_fen, own_debits_fen"
                " FROM account_days"
                f" WHERE account_no IN EACH(:keys) AND {which} ORDER BY account_no, day",
                keys=keys, days_from=days_from, least=max(large_debit_fen_min or 1, 1),
                **({"since": since} if ":since" in which else {}),
            ):
                self.days.setdefault(account_no, []).append(DayFlow(
                    on=reader.on(day), debits_fen=debits_fen, largest_debit_fen=largest_debit_fen,
                    previous_closing_fen=opening_fen, own_debits_fen=own_debits_fen,
                ))
        for account_no, day in run(
            session,
            "SELECT account_no, day FROM coverage_gaps WHERE filled_at IS NULL AND account_no IN EACH(:keys)"
            " ORDER BY account_no, day DESC", keys=keys,
        ):
            self.gaps.setdefault(account_no, []).append(reader.on(day))
        self.breaks = open_breaks(session, keys)


def _position_reader(
    reader: Reader, known: Mapping[str, Institution], history: _History, owed: Owed
) -> Callable[[Sequence[Any]], Position]:
    account_of, day, instant, at = account_reader(reader), reader.day, reader.instant, reader.at

    def read(row: Sequence[Any]) -> Position:
        currency, account_no = row[4], row[0]
        status, status_as_of, covered_from, covered_to, below_since, recorded_at, answer_at, refusal, in_a_row = (
            row[_REST:_VERSION]
        )
        booked = _NEVER if row[_BOOKED] is None else _known(reader, row, _BOOKED, currency)
        gaps, breaks = history.gaps.get(account_no, ()), history.breaks.get(account_no, ())
        return Position(
            account=account_of(row),
            institution=known.get(row[1]),
            booked=booked,
            closing=_closing(reader, row, booked, currency),
            held=_NEVER if row[_HELD] is None else _known(reader, row, _HELD, currency),
            available=_NEVER if row[_AVAILABLE] is None else _known(reader, row, _AVAILABLE, currency),
            status=_STATUSES[status],
            status_as_of=instant(status_as_of),
            months=history.months.get(account_no, _NO_MONTHS),
            days=tuple(history.days.get(account_no, ())),
            entries_from=day(covered_from),
            entries_to=day(covered_to),
            gaps=tuple(gaps[:GAPS_SHOWN_MAX]),
            gap_count=len(gaps),
            breaks=tuple(breaks[:GAPS_SHOWN_MAX]),
            break_count=len(breaks),
            below_since=instant(below_since),
            registered_at=at(recorded_at),
            last_answer_at=instant(answer_at),
            last_refusal=None if refusal is None else RefusalReason(refusal),
            refusals_in_a_row=in_a_row,
            corrections=tuple(history.corrections.get(account_no, ())),
            obligations=owed.by(account_no, row[1], currency),
        )

    return read


def _known(reader: Reader, row: Sequence[Any], start: int, currency: str) -> Known:
    minor_units, kind, day, as_of, fetched_at, final = row[start : start + 6]
    return Known(
        # Never NULL where there is an amount.
        Money(minor_units, currency), _KINDS[kind], reader.day(day), reader.instant(as_of),  # type: ignore[arg-type]
        reader.instant(fetched_at), bool(final),  # type: ignore[arg-type]
    )


def _closing(reader: Reader, row: Sequence[Any], booked: Balance, currency: str) -> Balance:
    if row[_CLOSING] is None:
        return _NEVER
    # The newest booked balance often is the final closing itself.
    if row[_CLOSING : _CLOSING + 6] == row[_BOOKED : _BOOKED + 6]:
        return booked
    return _known(reader, row, _CLOSING, currency)


def _checked_reader(
    reader: Reader, known: Mapping[str, Institution]
) -> Callable[[Sequence[Any]], CheckedAccount]:
    account_of = account_reader(reader)

    def read(row: Sequence[Any]) -> CheckedAccount:
        standing, level, required_fen, complete, balance_fen, recheck_at, findings, checked_at, version = row[-9:]
        refusal, below_since = row[_REST + 7], row[_REST + 4]
        booked: Balance = _NEVER if row[_BOOKED] is None else _known(reader, row, _BOOKED, row[4])
        return CheckedAccount(
            account=account_of(row),
            institution=known.get(row[1]),
            standing=AccountStanding(
                account_no=row[0], input_version=version, standing=Standing(standing),
                level=Level(level) if level else None, required_fen=required_fen, required_complete=bool(complete),
                balance_fen=balance_fen, below_since=reader.instant(below_since),
                recheck_at=reader.instant(recheck_at), findings=tuple(from_json(findings)),
            ),
            checked_at=reader.instant(checked_at),
            booked=booked,
            closing=_closing(reader, row, booked, row[4]),
            held=_NEVER if row[_HELD] is None else _known(reader, row, _HELD, row[4]),
            available=_NEVER if row[_AVAILABLE] is None else _known(reader, row, _AVAILABLE, row[4]),
            last_answer_at=reader.instant(row[_REST + 6]),
            last_refusal=RefusalReason(refusal) if refusal else None,
        )

    return read
