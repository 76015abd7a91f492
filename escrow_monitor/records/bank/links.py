"""Which entries belong together: a reversal and what it took back, the two ends of an own transfer.

    new entries    those of the touched days, and the stored ones that they could belong to
    decided anew   every pair that a new entry could change, by the rules of `domain.reversals` and `own_transfers`
    summed anew    the part of the flows of a day and a month that was undone, or that never left the institution

Links follow from the entries alone, so it does not matter in which order they came.
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import permutations
from typing import Any

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, Session

from escrow_monitor.domain.accounts import Account
from escrow_monitor.domain.entry_links import Basis, Booked, EntryKey, EntryLink, LinkKind
from escrow_monitor.domain.own_transfers import (
    EARLY_DAYS_MAX,
    TRANSFER_DAYS_MAX,
    OwnAccount,
    link_transfers,
    own_account,
)
from escrow_monitor.domain.reversals import REVERSAL_DAYS_MAX, link_reversals, pair_reversals
from escrow_monitor.records.accounts import account_cells, account_reader, lock_banks, make_due, save_accounts
from escrow_monitor.records.bank.days import COUNTS, counts, mark_news, sum_linked, touched
from escrow_monitor.records.bank.fitting import Taken
from escrow_monitor.records.bulk import Reader, fetch, run, staged
from escrow_monitor.records.closure_marks import mark_account_days
from escrow_monitor.records.columns import Row, exact, fen, one_of


class EntryLinkRow(Row, table=True):
    """Two entries that belong together: a reversal and what it took back, or a debit and its credit."""

    __tablename__ = "entry_links"
    __table_args__ = (
        CheckConstraint(one_of("kind", LinkKind), "kind"),
        CheckConstraint(one_of("basis", Basis), "basis"),
        CheckConstraint(exact("amount_fen"), "amount_fen"),
        Index("ix_entry_links_other", "other_account_no", "other_booked_on", "other_identity"),
        {"sqlite_with_rowid": False},
    )

    account_no: str = Field(primary_key=True)
    booked_on: date = Field(primary_key=True)
    identity: str = Field(primary_key=True)
    kind: str
    other_account_no: str
    other_booked_on: date
    other_identity: str
    amount_fen: int = fen()
    basis: str
    recorded_at: datetime


def link_entries(session: Session, taken: Sequence[Taken], *, now: datetime) -> None:
    """Link what these statements brought, and bring the flows up to it. Their days are summed already."""
    days: dict[str, set[date]] = defaultdict(set)
    for item in taken:
        days[item.received.statement.account_no] |= touched(item)
    with staged(session, "touched_accounts", _TOUCHED, _spans(days)):
        changed = _relink_reversals(session, now)
        changed |= _relink_transfers(session, days, changed, now)
        linked = {(account_no, day) for account_no, day in _linked_days(session) if day in days[account_no]}
    _bring_up(session, changed, linked, now)


def register_accounts(session: Session, items: Iterable[Account], *, now: datetime) -> int:
    """Keep accounts as `save_accounts` does, and see their transfers anew: whose an account is, and what for, decides.

    An account may be registered, or given to its institution, long after its first entries came.
    """
    lock_banks(session)
    changed = save_accounts(session, items, now=now)
    if changed:
        _relink_accounts(session, now)
    return changed


def _relink_accounts(session: Session, now: datetime) -> None:
    """Decide the transfers of the accounts that changed just now as if all their entries were new."""
    day, days = Reader(session).on, defaultdict[str, set[date]](set)
    for account_no, cell in fetch(
        session,
        "SELECT a.account_no, d.day FROM accounts a JOIN account_days d ON d.account_no = a.account_no"
        " WHERE a.changed_at = :now AND EXISTS (SELECT 1 FROM accounts b WHERE b.uscc = a.uscc"
        " AND b.account_no <> a.account_no)", now=now,
    ):
        days[account_no].add(day(cell))
    old = _links(session, *(
        f"accounts a JOIN entry_links l ON l.{end}account_no = a.account_no"
        " WHERE a.changed_at = :now AND l.kind = 'own_transfer'" for end in ("", "other_")
    ), now=now)
    changed = _replace(session, old, (), {}, now)
    for account_no, booked_on in _days_of(changed):
        days[account_no].add(booked_on)
    with staged(session, "touched_accounts", _TOUCHED, _spans(days)):
        changed |= _relink_transfers(session, days, (), now)
    _bring_up(session, changed, (), now)


_TOUCHED = {"account_no": str, "first": date, "last": date, "until": date}


def _spans(days: Mapping[str, Collection[date]]) -> Iterator[tuple[str, date, date, date]]:
    """Each account with its first and last day, and the last day on which one of them may be reversed."""
    for account_no, found in sorted(days.items()):
        if found:
            yield account_no, min(found), max(found), _later(max(found), REVERSAL_DAYS_MAX)


def _bring_up(
    session: Session, changed: Collection[EntryKey], linked: Collection[tuple[str, date]], now: datetime
) -> None:
    """Sum up what links undo, where they changed and on the touched days that have any; the rules look once more."""
    sum_linked(session, sorted({*linked, *_days_of(changed)}))
    # Of a day long past that was too large, nothing may be left now.
    mark_news(session, _days_of(changed), now)
    mark_account_days(session, _days_of(changed))
    make_due(session, {account_no for account_no, _, _ in changed})


def entry_links(
    session: Session, account_no: str, *, days_from: date | None = None, days_to: date | None = None
) -> dict[EntryKey, EntryLink]:
    """The links of an account's entries of these days, by the entry of this account (or both, of one account)."""
    found = _links(
        session,
        *(
            f"entry_links l WHERE l.{end}account_no = :account_no AND l.{end}booked_on BETWEEN :first AND :last"
            for end in ("", "other_")
        ),
        account_no=account_no, first=days_from or date.min, last=days_to or date.max,
    )
    return {key: link for link in found for key in (link.one, link.other) if key[0] == account_no}


def unclear_reversals(session: Session, account_no: str) -> set[EntryKey]:
    """The reversals of an account that could be of several entries, so that none of them is believed to be undone."""
    where = "e.account_no = :account_no AND e.reversal"
    reversals = _counting(session, "entries e", where=where, account_no=account_no)
    if not reversals:
        return set()
    originals = _counting(
        session, "(SELECT DISTINCT account_no, amount_fen FROM entries WHERE account_no = :account_no AND reversal) r"
                 " CROSS JOIN entries e",
        where="e.account_no = r.account_no AND e.amount_fen = -r.amount_fen AND NOT e.reversal", account_no=account_no,
    )
    return {one.key for one in pair_reversals(reversals, originals).unclear}


# reversals


def _relink_reversals(session: Session, now: datetime) -> set[EntryKey]:
    """Decide anew each reversal that a touched day could change; return the entries whose link is another one now.

    A reversal shares its candidates only with those of the same amount on the same account, so these go together. The
    farthest that a new entry can change is a reversal that shares a candidate with one that it fits, and to decide that
    one takes the reversals that share a candidate with it: no more of the history is read.
    """
    day = Reader(session).on
    found = fetch(
        session,
        "SELECT DISTINCT r.account_no, abs(r.amount_fen), t.first, t.last FROM touched_accounts t"
        " JOIN entries r ON r.account_no = t.account_no AND r.reversal AND r.booked_on BETWEEN t.first AND t.until",
    )
    if not found:
        return set()
    reach = REVERSAL_DAYS_MAX
    spans = {
        (account_no, amount): (_later(day(first), -reach), _later(day(last), 2 * reach))
        for account_no, amount, first, last in found
    }
    rows = (
        (*group, first, last, _later(first, -reach), _later(last, reach)) for group, (first, last) in spans.items()
    )
    with staged(session, "reversal_groups", _GROUP, rows):
        reversals = _counting(
            session, "reversal_groups g CROSS JOIN entries e",
            where="e.account_no = g.account_no AND e.reversal AND e.booked_on BETWEEN g.read_first AND g.read_last"
                  " AND abs(e.amount_fen) = g.amount_fen",
        )
        old = _links(
            session, "reversal_groups g JOIN entry_links l ON l.account_no = g.account_no AND l.kind = 'reversal'"
                     " AND l.amount_fen = g.amount_fen AND l.booked_on BETWEEN g.first AND g.last WHERE true",
        )
    amounts = {one.key: abs(one.amount_fen) for one in reversals}
    new = []
    for link in link_reversals(reversals, _originals(session, reversals)):
        first, last = spans[link.one[0], amounts[link.one]]
        if first <= link.one[1] <= last:
            new.append(link)
    return _replace(session, old, new, amounts, now)


def _originals(session: Session, reversals: Iterable[Booked]) -> list[Booked]:
    """The entries that count and that one of these could take back."""
    windows = sorted({
        (one.account_no, -one.amount_fen, _later(one.booked_on, -REVERSAL_DAYS_MAX), one.booked_on)
        for one in reversals
    })
    if not windows:
        return []
    columns = {"account_no": str, "amount_fen": int, "first": date, "last": date}
    with staged(session, "reversal_windows", columns, windows):
        return _counting(
            session, "reversal_windows w CROSS JOIN entries e",
            where="e.account_no = w.account_no AND e.amount_fen = w.amount_fen"
                  " AND e.booked_on BETWEEN w.first AND w.last AND NOT e.reversal",
        )


# own transfers


def _relink_transfers(
    session: Session, days: Mapping[str, Collection[date]], changed: Collection[EntryKey], now: datetime
) -> set[EntryKey]:
    """Decide anew each transfer that a touched day could change; return the entries whose link is another one now.

    Whether two entries are a pair depends on the entries that fit either of them. A new entry changes the choice of
    those it fits, so the pairs of all of these are decided anew, for which those that fit them are asked what else
    they fit. Three questions, however many entries there are. `changed` are those whose reversal is another one now.
    """
    kin = _kin(session)
    own_days = {(account_no, day) for account_no in kin for day in days.get(account_no, ())}
    own_days |= {place for place in _days_of(changed) if place[0] in kin}
    if not own_days:
        return set()
    near: dict[EntryKey, Booked] = {}
    with staged(session, "kin", _KIN, _kin_pairs(kin)):
        rows = ((account_no, day, *_window(day)) for account_no, day in sorted(own_days))
        with staged(session, "asked", {"account_no": str, "day": date, "first": date, "last": date}, rows):
            decided = _fitting(session, near, "n.account_no = q.account_no AND n.booked_on = q.day")
            for link in _links(session, *_LINKS_OF_DAYS):
                decided |= {link.one, link.other}
        if not decided:
            return set()
        beside = _fitting_these(session, near, decided)
        _fitting_these(session, near, beside - decided)
    with staged(session, "decided", _KEY, sorted(decided)):
        old = _links(session, *_LINKS_OF_DECIDED)
    new = [link for link in link_transfers(near.values(), kin) if link.one in decided or link.other in decided]
    return _replace(session, old, new, {key: abs(one.amount_fen) for key, one in near.items()}, now)


def _kin(session: Session) -> dict[str, OwnAccount]:
    """The accounts of the touched institutions that have more than one."""
    read = account_reader(Reader(session))
    found = (own_account(read(row)) for row in fetch(
        session,
        f"SELECT {account_cells('a')} FROM accounts a WHERE a.uscc IN (SELECT b.uscc FROM"
        " touched_accounts t JOIN accounts b ON b.account_no = t.account_no"
        " JOIN accounts c ON c.uscc = b.uscc AND c.account_no <> b.account_no)",
    ))
    return {one.account_no: one for one in found if one is not None}


def _kin_pairs(kin: Mapping[str, OwnAccount]) -> Iterator[tuple[str | None, ...]]:
    """Each account beside each other one of its institution in the same currency, with the digests of both."""
    houses: dict[tuple[str, str], list[OwnAccount]] = defaultdict(list)
    for one in kin.values():
        houses[one.uscc, one.currency].append(one)
    for house in houses.values():
        for one, other in permutations(house, 2):
            yield one.account_no, other.account_no, *_two(one.digests), *_two(other.digests)


def _two(digests: Collection[str]) -> tuple[str | None, str | None]:
    first, second, *_ = (*sorted(digests), None, None)
    return first, second


def _fitting(session: Session, near: dict[EntryKey, Booked], asked: str) -> set[EntryKey]:
    """The entries asked for that fit one of another own account, and those; what may be linked goes to `near`."""
    mine, theirs = f"{_cells('n')}, {_may('n', 'm')}", f"{_cells('e')}, {_may('e', 'd')}"
    rows = fetch(
        session,
        f"SELECT {mine}, {theirs} FROM asked q JOIN entries n ON {asked}"
        " JOIN kin k ON k.account_no = n.account_no JOIN entries e ON e.account_no = k.other_no"
        " AND e.amount_fen = -n.amount_fen AND e.booked_on BETWEEN q.first AND q.last"
        " LEFT JOIN account_days m ON m.account_no = n.account_no AND m.day = n.booked_on"
        " LEFT JOIN account_days d ON d.account_no = e.account_no AND d.day = e.booked_on"
        f" WHERE n.amount_fen <> 0 AND {_EVIDENCE}",
    )
    found: set[EntryKey] = set()
    read, width = _reader(session), len(Booked._fields)
    for row in rows:
        for start in (0, width + 1):
            entry = read(row[start : start + width])
            found.add(entry.key)
            if row[start + width]:
                near[entry.key] = entry
    return found


def _fitting_these(session: Session, near: dict[EntryKey, Booked], keys: Collection[EntryKey]) -> set[EntryKey]:
    if not keys:
        return set()
    rows = ((*key, *_window(key[1])) for key in sorted(keys))
    with staged(session, "asked", {**_KEY, "first": date, "last": date}, rows):
        return _fitting(
            session, near,
            "n.account_no = q.account_no AND n.booked_on = q.booked_on AND n.identity = q.identity",
        )


def _may(entry: str, day: str) -> str:
    """Whether an entry may be an end of a transfer: it counts, and neither takes back another one nor is taken back."""
    return (
        f"({counts(entry, day)} AND NOT {entry}.reversal AND NOT EXISTS (SELECT 1 FROM entry_links x"
        f" WHERE x.other_account_no = {entry}.account_no AND x.other_booked_on = {entry}.booked_on"
        f" AND x.other_identity = {entry}.identity AND x.kind = 'reversal'))"
    )


_EVIDENCE = """(
    n.counterparty_account_sha256 IN (k.other_first, k.other_second)
    OR e.counterparty_account_sha256 IN (k.own_first, k.own_second)
    OR (n.counterparty_account_sha256 IS NULL AND e.counterparty_account_sha256 IS NULL AND e.booked_on = n.booked_on
        AND (n.bank_ref = e.bank_ref OR (n.text <> '' AND n.text = e.text)))
)"""
"""What `domain.own_transfers` can use at all: without it, every fee of the same amount would be a candidate."""
_KIN = {
    "account_no": str, "other_no": str, "own_first": str, "own_second": str, "other_first": str, "other_second": str,
}


# links as they are stored

_GROUP = {
    "account_no": str, "amount_fen": int, "first": date, "last": date, "read_first": date, "read_last": date,
}
_KEY = {"account_no": str, "booked_on": date, "identity": str}
_LINKS_OF_DAYS = tuple(
    f"asked q JOIN entry_links l ON l.{end}account_no = q.account_no AND l.{end}booked_on = q.day"
    " WHERE l.kind = 'own_transfer'" for end in ("", "other_")
)
_LINKS_OF_DECIDED = tuple(
    f"decided q JOIN entry_links l ON l.{end}account_no = q.account_no AND l.{end}booked_on = q.booked_on"
    f" AND l.{end}identity = q.identity WHERE l.kind = 'own_transfer'" for end in ("", "other_")
)
_LINK = {
    **_KEY, "kind": str, "other_account_no": str, "other_booked_on": date, "other_identity": str, "amount_fen": int,
    "basis": str,
}


def _links(session: Session, *sources: str, **given: str | date | datetime) -> list[EntryLink]:
    """The links of these sources, each once."""
    reader = Reader(session)
    cells = "l.account_no, l.booked_on, l.identity, l.kind, l.other_account_no, l.other_booked_on, l.other_identity"
    rows = fetch(
        session, " UNION ".join(f"SELECT {cells}, l.basis FROM {source}" for source in sources), **given
    )
    return [
        EntryLink(
            one=(row[0], reader.on(row[1]), row[2]), kind=LinkKind(row[3]),
            other=(row[4], reader.on(row[5]), row[6]), basis=Basis(row[7]),
        )
        for row in rows
    ]


def _replace(
    session: Session, old: Iterable[EntryLink], new: Iterable[EntryLink], amounts: Mapping[EntryKey, int],
    now: datetime,
) -> set[EntryKey]:
    """Let the new links take the place of the old ones; return the entries of those that are not both."""
    before, after = set(old), set(new)
    gone, fresh = before - after, after - before
    if gone:
        with staged(session, "gone_links", _KEY, sorted(link.one for link in gone)):
            run(
                session,
                "DELETE FROM entry_links WHERE EXISTS (SELECT 1 FROM gone_links g"
                " WHERE g.account_no = entry_links.account_no AND g.booked_on = entry_links.booked_on"
                " AND g.identity = entry_links.identity)",
            )
    if fresh:
        rows = sorted(
            (*link.one, link.kind.value, *link.other, amounts[link.one], link.basis.value) for link in fresh
        )
        names = ", ".join(_LINK)
        with staged(session, "fresh_links", _LINK, rows):
            run(
                session,
                f"INSERT INTO entry_links ({names}, recorded_at) SELECT {names}, :now FROM fresh_links", now=now,
            )
    return {key for link in gone | fresh for key in (link.one, link.other)}


def _linked_days(session: Session) -> set[tuple[str, date]]:
    """The days on which an entry is linked, from the first to the last that was touched of each account."""
    day = Reader(session).on
    rows = fetch(session, " UNION ".join(
        f"SELECT t.account_no, l.{end}booked_on FROM touched_accounts t"
        f" JOIN entry_links l ON l.{end}account_no = t.account_no AND l.{end}booked_on BETWEEN t.first AND t.last"
        for end in ("", "other_")
    ))
    return {(account_no, day(cell)) for account_no, cell in rows}


# entries


def _cells(entry: str) -> str:
    return ", ".join(f"{entry}.{name}" for name in Booked._fields)


def _reader(session: Session) -> Callable[[Sequence[Any]], Booked]:
    day = Reader(session).on
    return lambda row: Booked(row[0], day(row[1]), *row[2:])


def _counting(session: Session, source: str, *, where: str, **given: str) -> list[Booked]:
    """The entries `e` of a source that count, each once. SQLite keeps the order of a CROSS JOIN: the few rows first."""
    rows = fetch(
        session,
        f"SELECT {_cells('e')} FROM {source}"
        f" LEFT JOIN account_days d ON d.account_no = e.account_no AND d.day = e.booked_on WHERE {where} AND {COUNTS}",
        **given,
    )
    return list({one.key: one for one in map(_reader(session), rows)}.values())


def _days_of(keys: Iterable[EntryKey]) -> set[tuple[str, date]]:
    return {(account_no, booked_on) for account_no, booked_on, _ in keys}


def _window(day: date) -> tuple[date, date]:
    """The days around one on which the other end of a transfer may be booked, whichever end this is."""
    widest = max(TRANSFER_DAYS_MAX, EARLY_DAYS_MAX)
    return _later(day, -widest), _later(day, widest)


def _later(day: date, days: int) -> date:
    """So many days later; at the ends of the calendar the last day there is."""
    return date.fromordinal(min(max(day.toordinal() + days, date.min.toordinal()), date.max.toordinal()))
