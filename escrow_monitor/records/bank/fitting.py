"""Which statements fit what is stored, and what each of them brings that is new.

    fits        if each day it shares with what is stored opened and closed with the same amounts, and the days
                beside it close and open with its own
    corrects    if it says something else of a day that the same source stated before, and joins the day before:
                the day is covered anew, and the next covered day is re-opened if it no longer follows
    superseded  if just this statement was taken before and corrected since: it changes nothing back
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from sqlmodel import Session

from escrow_monitor.domain.accounts import Account
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.statements import Entry, Refusal, RefusalReason, Statement, check_ties
from escrow_monitor.records.bulk import Reader, as_json, fetch, run

STATEMENT_DAYS_MAX = 1_100
"""A statement over more than three years is a date read wrongly."""
NEIGHBOUR_DAYS = 31
"""How far around a statement we look for the one before and the one after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A statement with where it came from: a bank or a file, and the bytes."""

    statement: Statement
    source: str
    raw_sha256: str | None
    received_at: datetime | None = None
    """When it first came, if that was before now: it cannot correct what came later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoveredDay:
    """How a covered day opened and closed, in fen, and the statement that says so; `stated_at` None: just now."""

    opening_fen: int
    closing_fen: int
    number: str
    source: str = ""
    statement_id: str = ""
    stated_at: datetime | None = None

    @property
    def figures(self) -> tuple[int, int]:
        """What two statements of one day must agree on."""
        return self.opening_fen, self.closing_fen


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedEntry:
    """An entry that counts on a covered or re-opened day: its key, the day it was booked, and the amount in fen."""

    identity: str
    booked_on: date
    amount_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectedDay:
    """A day that was stated before and is now stated otherwise. `reopened` is the day after it that no longer
    follows."""

    day: date
    before: CoveredDay
    after: CoveredDay
    removed: tuple[StatedEntry, ...] = ()
    added: tuple[Entry, ...] = ()
    reopened: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A statement that fits: the days it covers first or anew, the entries that nobody stated before, the days it
    shows to be missing, and those it shows not to be; what it corrects, and the days it re-opens."""

    received: Received
    statement_id: str
    days: Mapping[date, CoveredDay]
    entries: tuple[Entry, ...]
    missing: tuple[date, ...]
    explained: tuple[date, ...] = ()
    corrected: tuple[CorrectedDay, ...] = ()
    reopened: tuple[date, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The statements that bring something new, the refusals by account, and those without effect because they were
    corrected since they first came."""

    taken: tuple[Taken, ...]
    refusals: dict[str, list[Refusal]]
    superseded: tuple[Received, ...] = ()


@dataclass(slots=True)
class _Stored:
    """What is stored of one account, moved on by each statement taken.

    `covered` and `reopened` are its days; `entries` those of the days that a received statement states once more;
    `known` the received statements that were taken before; `fresh` the days that statements of this batch cover.
    """

    covered: dict[date, CoveredDay] = field(default_factory=dict)
    reopened: dict[date, CoveredDay] = field(default_factory=dict)
    entries: dict[date, list[StatedEntry]] = field(default_factory=lambda: defaultdict(list))
    known: set[str] = field(default_factory=set)
    fresh: set[date] = field(default_factory=set)

    def before(self, day: date) -> CoveredDay | None:
        """What was stated of a day until now."""
        return self.covered.get(day) or self.reopened.get(day)


@dataclass(frozen=True, slots=True)
class _Said:
    """One final statement, day by day, with the entries in each day's figures; of a notice, no day."""

    item: Received
    statement_id: str
    days: Mapping[date, CoveredDay]
    entries: Mapping[date, Sequence[Entry]]

    def entries_of(self, day: date) -> Sequence[Entry]:
        """The entries that make the difference between the day's opening and its closing."""
        return self.entries.get(day, ())

    def may_correct(self, theirs: CoveredDay, stored: _Stored) -> bool:
        """Whether this one is a later word of the same source, and of the same weight.

        An opening reckoned back from the closing ties whatever the entries say: it must join the day before.
        """
        if theirs.source != self.item.source:
            return False
        if self.item.statement.opening_derived and min(self.days) - timedelta(days=1) not in stored.covered:
            return False
        received_at = self.item.received_at
        return received_at is None or (theirs.stated_at is not None and theirs.stated_at <= received_at)


def judge(session: Session, received: Sequence[Received], known: Mapping[str, Account]) -> Judged:
    """Hold statements against their accounts and what is stored, in the order of their days."""
    taken: list[Taken] = []
    superseded: list[Received] = []
    refusals: dict[str, list[Refusal]] = {}
    fit: list[_Said] = []
    for item in sorted(received, key=_order):
        refusal = _unfit(item.statement, known.get(item.statement.account_no))
        if refusal is None:
            fit.append(_said(item))
        else:
            refusals.setdefault(item.statement.account_no, []).append(refusal)
    stored = _stored(session, fit)
    for said in fit:
        account_no = said.item.statement.account_no
        verdict = _verdict(said, stored[account_no])
        if verdict is None:
            superseded.append(said.item)
        elif isinstance(verdict, Refusal):
            refusals.setdefault(account_no, []).append(verdict)
        elif verdict.days or verdict.entries:
            taken.append(verdict)
    return Judged(taken=tuple(taken), refusals=refusals, superseded=tuple(superseded))


def _verdict(said: _Said, stored: _Stored) -> Taken | Refusal | None:
    """What becomes of one statement; None: nothing, for it was corrected since. What it brings counts as stored."""
    differing = [day for day, mine in said.days.items() if _differs(mine, stored.covered.get(day))]
    if differing and said.statement_id in stored.known:
        return None
    for day in differing:
        theirs = stored.covered[day]
        if day in stored.fresh or not said.may_correct(theirs, stored):
            return _contradicts(said, day, theirs, in_one_file=day in stored.fresh)
    refusal = _unjoined(said, stored)
    if refusal is not None:
        return refusal
    # The same figures in other words are no news; the same balances by other amounts are a correction.
    differing += [] if said.statement_id in stored.known else [
        day for day in said.days if day not in differing and _is_restated(said, day, stored)
    ]
    return _taken(said, stored, set(differing))


def _order(item: Received) -> tuple[str, bool, date]:
    """By account, final ones first, by their first day: notices then meet the days that are covered."""
    return item.statement.account_no, not item.statement.final, item.statement.covers_from or date.min


def _said(item: Received) -> _Said:
    statement_id = _statement_id(item.statement)
    if not item.statement.final:
        return _Said(item, statement_id, {}, {})
    entries = _entries_by_day(item.statement)
    return _Said(item, statement_id, _days(item, statement_id, entries), entries)


# what is stored


def _stored(session: Session, fit: Sequence[_Said]) -> dict[str, _Stored]:
    """What is stored around these statements, by account."""
    stored: dict[str, _Stored] = defaultdict(_Stored)
    edges = [
        day for said in fit
        for day in (said.days or [entry.booked_on for entry in said.item.statement.entries])
    ]
    if not edges:
        return stored
    reader, margin = Reader(session), timedelta(days=NEIGHBOUR_DAYS)
    for account_no, day, covered, opening_fen, closing_fen, statement_id, number_, source, stated_at in run(
        session,
        "SELECT d.account_no, d.day, d.covered, d.opening_fen, d.closing_fen, d.statement_id, s.number, s.source,"
        " s.recorded_at"
        " FROM account_days d LEFT JOIN statements s ON s.statement_id = d.statement_id"
        " WHERE (d.covered OR d.reopened_at IS NOT NULL) AND d.account_no IN EACH(:account_nos)"
        " AND d.day BETWEEN :first AND :last",
        account_nos=sorted({said.item.statement.account_no for said in fit}),
        first=max(min(edges), date.min + margin) - margin, last=min(max(edges), date.max - margin) + margin,
    ):
        known = stored[account_no].covered if covered else stored[account_no].reopened
        known[reader.on(day)] = CoveredDay(
            opening_fen=opening_fen, closing_fen=closing_fen, number=number_ or "", source=source or "",
            statement_id=statement_id or "", stated_at=reader.instant(stated_at),
        )
    _add_versions(session, [said for said in fit if _states_again(said, stored)], stored)
    return stored


def _states_again(said: _Said, stored: Mapping[str, _Stored]) -> bool:
    """Whether a statement speaks of a day that another one spoke of before."""
    account_no = said.item.statement.account_no
    return account_no in stored and any(stored[account_no].before(day) is not None for day in said.days)


def _add_versions(session: Session, again: Sequence[_Said], stored: Mapping[str, _Stored]) -> None:
    """Which of these statements were taken before, and the entries of the days that the others state once more."""
    if not again:
        return
    ids = [said.statement_id for said in again]
    known = {statement_id for (statement_id,) in fetch(
        session, "SELECT statement_id FROM statements WHERE statement_id IN EACH(:ids)", ids=ids
    )}
    for said in again:
        account = stored[said.item.statement.account_no]
        if said.statement_id in known:
            account.known.add(said.statement_id)
    days = [day for said in again for day in said.days]
    reader = Reader(session)
    for account_no, day, identity, booked_on, amount_fen in fetch(
        session,
        "SELECT account_no, coalesce(accounted_on, booked_on), identity, booked_on, amount_fen FROM entries"
        " WHERE account_no IN EACH(:account_nos) AND final AND superseded_at IS NULL"
        " AND coalesce(accounted_on, booked_on) BETWEEN :first AND :last ORDER BY identity",
        account_nos=sorted({said.item.statement.account_no for said in again}), first=min(days), last=max(days),
    ):
        stored[account_no].entries[reader.on(day)].append(
            StatedEntry(identity=identity, booked_on=reader.on(booked_on), amount_fen=amount_fen)
        )


# whether it fits


def _unfit(statement: Statement, account: Account | None) -> Refusal | None:
    """What is wrong with a statement by itself and its account."""
    if account is None:
        return Refusal(
            reason=RefusalReason.UNKNOWN_ACCOUNT, where=statement.where, field="account",
            detail=f"account {statement.account_no} is not in the register",
        )
    if statement.currency != account.currency:
        return Refusal(
            reason=RefusalReason.WRONG_CURRENCY, where=statement.where, field="currency",
            detail=f"the statement is in {statement.currency}, account {account.account_no} in {account.currency}",
        )
    if statement.final:
        first, last = span_of(statement)
        if not 0 <= (last - first).days < STATEMENT_DAYS_MAX:
            return Refusal(
                reason=RefusalReason.BAD_DATE, where=statement.where, field="covers_from",
                detail=f"the statement covers {first} to {last}: at most {STATEMENT_DAYS_MAX} days are taken",
            )
    return check_ties(statement)


def _differs(mine: CoveredDay, theirs: CoveredDay | None) -> bool:
    return theirs is not None and mine.figures != theirs.figures


def _is_restated(said: _Said, day: date, stored: _Stored) -> bool:
    """Whether the source that stated a day states it again with the same balances, but by other amounts."""
    theirs = stored.covered.get(day)
    if theirs is None or day in stored.fresh or not said.may_correct(theirs, stored):
        return False
    return not _same_amounts(said.entries_of(day), stored.entries[day])


def _same_amounts(mine: Sequence[Entry], theirs: Sequence[StatedEntry]) -> bool:
    """Whether two lists are the same bookings, be it in other words."""
    return Counter((entry.booked_on, entry.amount.minor_units) for entry in mine) == Counter(
        (entry.booked_on, entry.amount_fen) for entry in theirs
    )


def _contradicts(said: _Said, day: date, theirs: CoveredDay, *, in_one_file: bool) -> Refusal:
    statement, mine = said.item.statement, said.days[day]
    field = "closing" if mine.closing_fen != theirs.closing_fen else "opening"
    says, kept = (mine.closing_fen, theirs.closing_fen) if field == "closing" else (
        mine.opening_fen, theirs.opening_fen
    )
    before = "a statement received with it" if in_one_file else f"a statement of {theirs.source} taken before"
    return Refusal(
        reason=RefusalReason.CONTRADICTS, where=statement.where, field=field,
        detail=f"{said.item.source} says {_money(says, statement)} for the {field} of {day}, "
               f"{before} says {_money(kept, statement)}",
    )


def _unjoined(said: _Said, stored: _Stored) -> Refusal | None:
    """Whether the statement taken before closed, and the one after opened, with other amounts than this one.

    A day that was stated before may close otherwise than the next one opened: then that one is re-opened instead.
    """
    if not said.days:
        return None
    statement, covered = said.item.statement, stored.covered
    first, last = min(said.days), max(said.days)
    before, after = _before(covered, first), _after(covered, last)
    opens, closes = said.days[first], said.days[last]
    is_new_opening = first not in covered or covered[first].opening_fen != opens.opening_fen
    if before is not None and is_new_opening:
        theirs = covered[before]
        if theirs.closing_fen != opens.opening_fen and _must_join(before, first, theirs.number, opens.number):
            return Refusal(
                reason=RefusalReason.DOES_NOT_CHAIN, where=statement.where, field="opening",
                detail=f"opens with {_money(opens.opening_fen, statement)}, "
                       f"but {before} closed with {_money(theirs.closing_fen, statement)}",
            )
    if after is not None and stored.before(last) is None:
        theirs = covered[after]
        if theirs.opening_fen != closes.closing_fen and _must_join(last, after, closes.number, theirs.number):
            return Refusal(
                reason=RefusalReason.DOES_NOT_CHAIN, where=statement.where, field="closing",
                detail=f"closes with {_money(closes.closing_fen, statement)}, "
                       f"but {after} opened with {_money(theirs.opening_fen, statement)}",
            )
    return None


def _must_join(before: date, after: date, number_before: str, number_after: str) -> bool:
    """Whether nothing can lie between two statements: the next day, or the bank's next number."""
    if (after - before).days == 1:
        return True
    numbers = [text.partition("/")[0] for text in (number_before, number_after)]
    return all(text.isascii() and text.isdigit() for text in numbers) and int(numbers[1]) - int(numbers[0]) == 1


# what it brings


def _taken(said: _Said, stored: _Stored, differing: Collection[date]) -> Taken:
    """What of a fitting statement is new; what is stored moves on by it."""
    statement = said.item.statement
    days = {day: figures for day, figures in said.days.items() if day not in stored.covered or day in differing}
    reopened = _reopened(days, stored)
    corrected = tuple(_corrections(said, days, stored, reopened))
    if statement.final:
        unchanged = {day for day in days if stored.before(day) is not None} - {one.day for one in corrected}
        corrections = {one.day: one for one in corrected}
        # A re-opened day may come again as it was: its entries are known.
        news = tuple(
            entry for day in days if day not in unchanged
            for entry in (corrections[day].added if day in corrections else said.entries_of(day))
        )
    else:
        # A day that a final statement states is complete: a notice brings the same money in other words.
        news = tuple(entry for entry in statement.entries if stored.before(entry.booked_on) is None)
    if reopened is not None:
        stored.reopened[reopened] = stored.covered.pop(reopened)
    for day, figures in days.items():
        stored.reopened.pop(day, None)
        stored.covered[day] = figures
    stored.fresh.update(days)
    return Taken(
        received=said.item, statement_id=said.statement_id, days=days, entries=news, corrected=corrected,
        missing=tuple(_beside(days, stored, joined=False, reopened=reopened)),
        explained=tuple(_beside(days, stored, joined=True, reopened=reopened)),
        reopened=() if reopened is None else (reopened,),
    )


def _reopened(days: Mapping[date, CoveredDay], stored: _Stored) -> date | None:
    """The next covered day, if it followed the old closing of a day that now closes otherwise."""
    last = max(days, default=None)
    old = None if last is None else stored.before(last)
    after = None if last is None else _after(stored.covered, last)
    if last is None or old is None or after is None or after in days:
        return None
    closing_fen, theirs = days[last].closing_fen, stored.covered[after]
    if theirs.opening_fen == closing_fen:
        return None
    must_follow = _must_join(last, after, days[last].number, theirs.number)
    return after if must_follow or theirs.opening_fen == old.closing_fen != closing_fen else None


def _corrections(
    said: _Said, days: Mapping[date, CoveredDay], stored: _Stored, reopened: date | None
) -> Iterator[CorrectedDay]:
    """How these days were stated before, where that was otherwise."""
    for day, after in days.items():
        before = stored.before(day)
        if before is None:
            continue
        mine, theirs = said.entries_of(day), stored.entries[day]
        correction = CorrectedDay(day=day, before=before, after=after)
        if not _same_amounts(mine, theirs):
            keys = {identity_of(entry, day): entry for entry in mine}
            kept = {entry.identity for entry in theirs}
            correction = replace(
                correction,
                removed=tuple(entry for entry in theirs if entry.identity not in keys),
                added=tuple(entry for identity, entry in keys.items() if identity not in kept),
            )
        elif before.figures == after.figures:
            continue
        yield replace(correction, reopened=reopened if day == max(days) else None)


def _beside(
    days: Mapping[date, CoveredDay], stored: _Stored, *, joined: bool, reopened: date | None
) -> Iterator[date]:
    """The days between these and the covered ones beside them, if the balances are the same across them (`joined`:
    nothing need have been booked there), or if they differ (something must have been)."""
    if not days:
        return
    covered = stored.covered
    first, last = min(days), max(days)
    before, after = _before(covered, first), _after(covered, last)
    if before is not None and (covered[before].closing_fen == days[first].opening_fen) is joined:
        yield from _between(before, first)
    if after is not None and reopened is None and (covered[after].opening_fen == days[last].closing_fen) is joined:
        yield from _between(last, after)


def _between(before: date, after: date) -> Iterator[date]:
    for step in range(1, (after - before).days):
        yield before + timedelta(days=step)


def _before(stored: Mapping[date, CoveredDay], day: date) -> date | None:
    for step in range(1, NEIGHBOUR_DAYS + 1):
        if day - timedelta(days=step) in stored:
            return day - timedelta(days=step)
    return None


def _after(stored: Mapping[date, CoveredDay], day: date) -> date | None:
    for step in range(1, NEIGHBOUR_DAYS + 1):
        if day + timedelta(days=step) in stored:
            return day + timedelta(days=step)
    return None


# one statement by itself


def _entries_by_day(statement: Statement) -> dict[date, list[Entry]]:
    """The entries of a final statement by the day whose figures they are in: their own, or the nearest covered."""
    first, last = span_of(statement)
    found: dict[date, list[Entry]] = defaultdict(list)
    for entry in statement.entries:
        found[min(max(entry.booked_on, first), last)].append(entry)
    return found


def _days(item: Received, statement_id: str, entries: Mapping[date, Sequence[Entry]]) -> dict[date, CoveredDay]:
    """Each day a final statement covers with its opening and closing: the opening plus what was booked by then."""
    statement = item.statement
    assert statement.opening is not None, "only final statements come here"  # noqa: S101
    first, last = span_of(statement)
    result, balance = {}, statement.opening.minor_units
    for step in range((last - first).days + 1):
        day = first + timedelta(days=step)
        closing = balance + sum(entry.amount.minor_units for entry in entries.get(day, ()))
        result[day] = CoveredDay(
            opening_fen=balance, closing_fen=closing, number=statement.number, source=item.source,
            statement_id=statement_id,
        )
        balance = closing
    return result


def accounted_on(entry: Entry, statement: Statement) -> date | None:
    """The day in whose figures a final statement has an entry; None for a notice."""
    if not statement.final:
        return None
    first, last = span_of(statement)
    return min(max(entry.booked_on, first), last)


def identity_of(entry: Entry, day: date | None) -> str:
    """Two sightings of one entry in the figures of `day` have the same; twins have not, by their occurrence.

    An entry in the figures of another day than its own is not the one that its own day's statement shows.
    """
    account_no, booked_on, minor_units, bank_ref, text = entry.identity
    parts = [account_no, booked_on.isoformat(), minor_units, bank_ref, text, entry.occurrence]
    if day is not None and day != booked_on:
        parts.append(day.isoformat())
    return hashlib.sha256(as_json(parts).encode()).hexdigest()


def span_of(statement: Statement) -> tuple[date, date]:
    """First and last day, both included. A statement that gives only its closing date covers that day."""
    last = statement.covers_to or statement.closing_on or statement.covers_from or statement.opening_on
    first = statement.covers_from or last
    if first is None or last is None:
        raise ValueError(f"{statement.where}: a final statement has a date, says its reader, but this one has none")
    return first, last


def _money(minor_units: int, statement: Statement) -> Money:
    return Money(minor_units, statement.currency)


def _statement_id(statement: Statement) -> str:
    figures = (
        statement.account_no, statement.kind.value, statement.number,
        statement.opening and statement.opening.minor_units, statement.closing and statement.closing.minor_units,
        str(statement.covers_from), str(statement.covers_to),
        [(*entry.identity[:1], str(entry.booked_on), *entry.identity[2:]) for entry in statement.entries],
    )
    return hashlib.sha256(as_json(figures).encode()).hexdigest()[:32]
