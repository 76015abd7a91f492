"""The bridge from what families are owed to what is in the bank: every difference named, down to nothing left over.

    owed to families by 20 November                 42,000.00
      opening                                         +  500.00   lay there beyond what was owed when coverage began
      earned and not drawn                            +1,300.00   lessons taught and paid for, not taken out yet
      charges not received in time                    -4,800.00   a contract says paid, no account shows it
      interest                                        +   12.34
    in the bank                                     39,012.34     net -2,987.66, nothing left over

Every entry of the bank, every charge and every contract is in exactly one line, so the lines add up to the net whatever
happened. What is not known (a day without its statement, a contract that cannot be right) makes the run INCOMPLETE and
is said; a residual does as well.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from escrow_monitor.domain.accounts import Mode
from escrow_monitor.domain.bridge import BridgeLine, Missing, Reconciliation
from escrow_monitor.domain.bridge_words import Label, Why
from escrow_monitor.domain.calendar import CalendarUnknown, WorkingCalendar, next_working_day_after
from escrow_monitor.domain.findings import Value
from escrow_monitor.domain.money import Money

EVIDENCE_MAX = 20
"""So many ids a line names; the count is of all."""
_NAMED_MAX = 3
_DAY = timedelta(days=1)


class Nature(StrEnum):
    """What an entry is, apart from any match."""

    OTHER = "other"
    INTEREST = "interest"
    FEE = "fee"
    REFUND = "refund"
    RELEASE = "release"
    OWN_TRANSFER = "own_transfer"
    PAID_IN = "paid_in"
    REVERSAL = "reversal"
    UNCLEAR_REVERSAL = "unclear_reversal"


# what is known


class AccountSpan(NamedTuple):
    """One supervised account from its first covered day to the last that closed by the day at hand, in minor units.

    Without any statement by then all but the number are None. `stated_fen` is what the bank says it closed with where
    that is not what its statement says. `missing` are the days in between without a statement, oldest first.
    """

    account_no: str
    began_on: date | None = None
    opening_fen: int | None = None
    closing_on: date | None = None
    closing_fen: int | None = None
    stated_fen: int | None = None
    missing: tuple[date, ...] = ()
    missing_count: int = 0


class BankEntry(NamedTuple):
    """A booked entry of one of these accounts, in the figures of day `on`. `match` is the match that it is in."""

    entry_id: str
    on: date
    amount_fen: int
    nature: Nature = Nature.OTHER
    match: str | None = None
    unclear: bool = False


class ChargedItem(NamedTuple):
    """A charge paid by the day at hand. `account_no` where the record says on which account it must be."""

    charge_id: str
    paid_on: date
    amount_fen: int
    match: str | None = None
    unclear: bool = False


class RefundedItem(NamedTuple):
    """Money that our records say went back to a family; `match` is what saw it."""

    refund_id: str
    paid_on: date
    amount_fen: int
    match: str | None = None


class Earned(NamedTuple):
    """The sums of a contract by the end of a day, in minor units."""

    paid: int = 0
    entitled: int = 0
    refunded: int = 0

    @property
    def owed(self) -> int:
        """What this family is owed; never below zero, for no other family may pay for it."""
        return max(0, self.paid - self.entitled - self.refunded)

    @property
    def overdrawn(self) -> int:
        """What was taught to it or given back to it beyond what it paid."""
        return max(0, self.entitled + self.refunded - self.paid)

    @property
    def drawable(self) -> int:
        """What the institution may have drawn under this contract."""
        return self.entitled - self.overdrawn


class ContractSpan(NamedTuple):
    """A contract before coverage began and by the day at hand. `impossible`: it can be in no sum."""

    contract_no: str
    before: Earned
    now: Earned
    impossible: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """All that is known of one institution in one currency at the end of day `on`.

    `entries`, `charges` and `refunds` are those that count by then, charges from before coverage began among them.
    Without any coverage each contract is the same before and now. `refund_matches` are the matches that stand for a
    refund, `open_matches` those with a member that is not here: it comes after the day, or is no more. `lesson_days`
    are the days on which some lesson was newly earned, `not_searched` how many open items had too many candidates;
    `modes` how the money of the accounts is supervised.
    """

    uscc: str
    currency: str
    on: date
    modes: frozenset[Mode] = frozenset()
    accounts: tuple[AccountSpan, ...] = ()
    entries: Sequence[BankEntry] = ()
    charges: Sequence[ChargedItem] = ()
    refunds: Sequence[RefundedItem] = ()
    contracts: Sequence[ContractSpan] = ()
    refund_matches: Collection[str] = frozenset()
    open_matches: Collection[str] = frozenset()
    lesson_days: Collection[date] = frozenset()
    not_searched: int = 0

    @property
    def began_on(self) -> date | None:
        """The first covered day of any account."""
        return min((one.began_on for one in self.accounts if one.began_on is not None), default=None)


def reconcile(books: Books, *, calendar: WorkingCalendar) -> Reconciliation:
    """Explain the difference between what is required and what is in the bank."""
    work = _Work(books, calendar)
    work.openings()
    work.entries()
    work.matches()
    work.charges()
    work.refunds()
    work.contracts()
    work.banks()
    return work.result()


class _Sum:
    """One line while it is made."""

    __slots__ = ("fen", "items")

    def __init__(self) -> None:
        self.fen = 0
        self.items: list[tuple[date, str]] = []


class _Work:
    def __init__(self, books: Books, calendar: WorkingCalendar) -> None:
        self.books, self.calendar = books, calendar
        self.lines: dict[Label, _Sum] = defaultdict(_Sum)
        self.missing: dict[Why, tuple[dict[str, Value], list[str]]] = {}
        self.began_on = books.began_on or books.on + _DAY
        self.known_through = _known_through(books, calendar, self.lack)
        self.due: dict[date, date | None] = {}
        self.released: dict[date, int] = defaultdict(int)
        self.late: list[tuple[date, str, int]] = []
        self.unclear_credits = 0
        self.late_unclear: list[tuple[date, str, int]] = []
        self.by_match: dict[str, tuple[list[BankEntry], list[ChargedItem]]] = {}
        self.before = self.now = self.drawable = self.overdrawn = 0

    # small steps

    def add(self, label: Label, fen: int, on: date, *ids: str) -> None:
        line = self.lines[label]
        line.fen += fen
        line.items += [(on, one) for one in ids]

    def lack(self, why: Why, evidence: Iterable[str] = (), **values: Value) -> None:
        _, ids = self.missing.setdefault(why, (dict(values), []))
        ids += evidence

    def due_on(self, paid_on: date) -> date | None:
        if paid_on not in self.due:
            try:
                self.due[paid_on] = next_working_day_after(paid_on, self.calendar)
            except CalendarUnknown as unknown:
                self.lack(Why.CALENDAR_UNKNOWN, calendar=unknown.calendar, year=unknown.year)
                self.due[paid_on] = None
        return self.due[paid_on]

    def is_late(self, paid_on: date) -> bool:
        """Whether a charge should have been credited by a day of which every statement is known."""
        due_on = self.due_on(paid_on)
        return due_on is not None and self.known_through is not None and due_on <= self.known_through

    # the steps

    def openings(self) -> None:
        for account in self.books.accounts:
            if account.began_on is None or account.opening_fen is None:
                continue
            if account.began_on <= self.began_on:
                self.add(Label.OPENING, account.opening_fen, account.began_on, f"account:{account.account_no}")
            elif account.opening_fen:
                self.add(Label.JOINED_LATER, account.opening_fen, account.began_on, f"account:{account.account_no}")
                self.lack(
                    Why.JOINED_LATER, [f"account:{account.account_no}"], first=self.began_on, began_on=account.began_on,
                    opening=Money(account.opening_fen, self.books.currency),
                )

    def entries(self) -> None:
        for entry in self.books.entries:
            label = _NATURES.get(entry.nature)
            if label is not None:
                self.add(label, entry.amount_fen, entry.on, entry.entry_id)
                if label is Label.UNCLEAR_REVERSAL:
                    self.lack(Why.UNCLEAR_REVERSAL, [entry.entry_id])
            elif entry.match is not None:
                self.by_match.setdefault(entry.match, ([], []))[0].append(entry)
            else:
                self.unmatched(entry)

    def unmatched(self, entry: BankEntry) -> None:
        if entry.amount_fen < 0:
            if entry.nature is Nature.REFUND:
                self.add(Label.REFUND_NOT_RECORDED, entry.amount_fen, entry.on, entry.entry_id)
            else:
                self.released[entry.on] -= entry.amount_fen
                self.add(Label.DRAWN_AHEAD, entry.amount_fen, entry.on, entry.entry_id)
        elif entry.unclear:
            self.unclear_credits += entry.amount_fen
            self.add(Label.UNCLEAR, entry.amount_fen, entry.on, entry.entry_id)
        else:
            self.add(Label.CREDIT_WITHOUT_CHARGE, entry.amount_fen, entry.on, entry.entry_id)

    def charges(self) -> None:
        for charge in self.books.charges:
            if charge.match is not None:
                continue
            if charge.paid_on < self.began_on:
                continue  # in the opening, as owed; no statement could show it
            late = self.is_late(charge.paid_on)
            if charge.unclear:
                self.add(Label.UNCLEAR, -charge.amount_fen, charge.paid_on, charge.charge_id)
                if late:
                    self.late_unclear.append((charge.paid_on, charge.charge_id, charge.amount_fen))
            else:
                self.unseen(charge.paid_on, charge.amount_fen, late, charge.charge_id)

    def unseen(self, paid_on: date, fen: int, late: bool, *ids: str) -> None:
        self.add(Label.NOT_RECEIVED if late else Label.IN_TRANSIT, -fen, paid_on, *ids)
        if late:
            self.late.append((paid_on, ids[0], fen))

    def matches(self) -> None:
        for charge in self.books.charges:
            if charge.match is not None:
                self.by_match.setdefault(charge.match, ([], []))[1].append(charge)
        for match, (entries, charges) in self.by_match.items():
            if match not in self.books.refund_matches:
                self.matched(match, entries, charges)

    def matched(self, match: str, entries: list[BankEntry], charges: list[ChargedItem]) -> None:
        """A match of charges: what is there of it by now. Plain is one entry, one charge, nothing between them."""
        received = sum(entry.amount_fen for entry in entries)
        old = sum(charge.amount_fen for charge in charges if charge.paid_on < self.began_on)
        new = sum(charge.amount_fen for charge in charges) - old
        whole = bool(entries) and match not in self.books.open_matches
        arrived = old if whole else min(old, received)
        if arrived:
            # It was owed when coverage began and on its way.
            self.add(Label.OPENING, arrived, self.began_on, *(entry.entry_id for entry in entries))
        rest = received - arrived - new
        if not rest:
            return
        if whole:
            self.add(
                Label.MATCH_DIFFERENCE, rest, max(entry.on for entry in entries),
                *(one.charge_id for one in charges), *(one.entry_id for one in entries),
            )
        elif rest > 0:
            self.add(Label.EARLY_CREDIT, rest, min(entry.on for entry in entries), *(e.entry_id for e in entries))
        else:
            since = min(charge.paid_on for charge in charges if charge.paid_on >= self.began_on)
            ids = [charge.charge_id for charge in charges if charge.paid_on >= self.began_on]
            self.unseen(since, -rest, self.is_late(since), *ids)

    def refunds(self) -> None:
        """What left as refunds beside what the contracts say went back."""
        recorded: dict[str, int] = defaultdict(int)
        for refund in self.books.refunds:
            if refund.paid_on < self.began_on:
                continue
            if refund.match in self.books.refund_matches and self.by_match.get(refund.match or "", ([], []))[0]:
                recorded[refund.match or ""] += refund.amount_fen
            else:
                self.add(Label.REFUND_NOT_SEEN, refund.amount_fen, refund.paid_on, refund.refund_id)
        for match in self.books.refund_matches:
            entries = self.by_match.get(match, ([], []))[0]
            if not entries:
                continue
            seen = sum(entry.amount_fen for entry in entries)
            on = max(entry.on for entry in entries)
            if match not in recorded:
                self.add(Label.REFUND_NOT_RECORDED, seen, on, *(entry.entry_id for entry in entries))
            elif seen + recorded[match]:
                self.add(Label.MATCH_DIFFERENCE, seen + recorded[match], on, *(entry.entry_id for entry in entries))

    def contracts(self) -> None:
        for one in self.books.contracts:
            before, now = one.before, one.now
            if one.impossible:
                flows = now.paid - before.paid - (now.entitled - before.entitled) - (now.refunded - before.refunded)
                self.add(Label.IMPOSSIBLE, flows, self.books.on, f"contract:{one.contract_no}")
                self.lack(Why.IMPOSSIBLE_CONTRACT, [f"contract:{one.contract_no}"])
                self.drawable += now.entitled - before.entitled
                self.add(Label.EARNED_NOT_DRAWN, now.entitled - before.entitled, self.books.on)
                continue
            self.before += before.owed
            self.now += now.owed
            self.drawable += now.drawable - before.drawable
            self.add(Label.EARNED_NOT_DRAWN, now.entitled - before.entitled, self.books.on)
            overdrawn = now.overdrawn - before.overdrawn
            if overdrawn:
                self.add(Label.TAUGHT_UNPAID, -overdrawn, self.books.on, f"contract:{one.contract_no}")
        self.add(Label.OPENING, -self.before, self.began_on)
        if not self.books.contracts:
            self.lack(Why.NO_CONTRACT)

    def banks(self) -> None:
        for account in self.books.accounts:
            if account.stated_fen is not None and account.closing_fen is not None and account.closing_on is not None:
                self.add(
                    Label.BANK_DIFFERS, account.stated_fen - account.closing_fen, account.closing_on,
                    f"account:{account.account_no}",
                )
        if self.books.not_searched:
            self.lack(Why.NOT_SEARCHED, items=self.books.not_searched)

    # the end

    def result(self) -> Reconciliation:
        books = self.books
        self._draw()
        bank = own = 0
        for account in books.accounts:
            own += account.opening_fen or 0
            bank += (account.closing_fen if account.stated_fen is None else account.stated_fen) or 0
        own += sum(entry.amount_fen for entry in books.entries)
        lines = tuple(_line(label, self.lines[label], books.currency) for label in Label if _speaks(self.lines, label))
        residual = bank - self.now - sum(line.impact.minor_units for line in lines)
        if residual:
            self.lack(Why.RESIDUAL, residual=Money(residual, books.currency))
        idle = _idle(self.released, books.lesson_days, self.began_on)
        # Of what fits in several ways it is not known which arrived, but it is known that not all did.
        short = max(0, sum(fen for _, _, fen in self.late_unclear) - self.unclear_credits)
        late = sorted(self.late + (self.late_unclear if short else []))
        return Reconciliation(
            uscc=books.uscc, currency=books.currency, on=books.on, modes=books.modes, began_on=books.began_on,
            known_through=self.known_through,
            required=Money(self.now, books.currency), own=Money(own, books.currency),
            bank=Money(bank, books.currency), lines=lines,
            missing=tuple(_missing(why, *self.missing[why]) for why in Why if why in self.missing),
            earned=Money(self.drawable, books.currency), released=Money(sum(self.released.values()), books.currency),
            idle_days=len(idle), idle_amount=Money(sum(idle.values()), books.currency),
            idle_last_on=max(idle, default=None),
            unreceived=Money(sum(fen for _, _, fen in self.late) + short, books.currency),
            unreceived_count=len(self.late) or (1 if short else 0),
            unreceived_since=late[0][0] if late else None, unreceived_example=late[0][1] if late else None,
        )

    def _draw(self) -> None:
        """What was earned less what was drawn is one line: above nothing it lies there still, below it is ahead."""
        earned, drawn = self.lines.pop(Label.EARNED_NOT_DRAWN, _Sum()), self.lines.pop(Label.DRAWN_AHEAD, _Sum())
        both = _Sum()
        both.fen = earned.fen + drawn.fen
        both.items = drawn.items
        if both.fen or both.items:
            self.lines[Label.EARNED_NOT_DRAWN if both.fen >= 0 else Label.DRAWN_AHEAD] = both


_NATURES = {
    Nature.INTEREST: Label.INTEREST, Nature.FEE: Label.FEES, Nature.OWN_TRANSFER: Label.OWN_TRANSFERS,
    Nature.PAID_IN: Label.PAID_IN, Nature.REVERSAL: Label.REVERSALS, Nature.UNCLEAR_REVERSAL: Label.UNCLEAR_REVERSAL,
}
"""What goes to its line whatever it is matched with."""


def _known_through(
    books: Books, calendar: WorkingCalendar, lack: Callable[..., None]
) -> date | None:
    """The last day up to which no statement of any account is missing."""
    if not books.accounts:
        lack(Why.NO_ACCOUNT)
    known: list[date | None] = [None] if not books.accounts else []
    for account in books.accounts:
        evidence = [f"account:{account.account_no}"]
        if account.began_on is None or account.closing_on is None:
            lack(Why.NO_STATEMENT, evidence)
            known.append(None)
            continue
        through = books.on
        try:
            tail = next_working_day_after(account.closing_on, calendar)
        except CalendarUnknown as unknown:
            lack(Why.CALENDAR_UNKNOWN, calendar=unknown.calendar, year=unknown.year)
            tail = account.closing_on + _DAY
        if tail <= books.on:
            lack(Why.NO_CLOSING, evidence, on=books.on, closing_on=account.closing_on)
            through = tail - _DAY
        if account.missing:
            lack(Why.DAYS_MISSING, evidence, days=account.missing_count, first=account.missing[0])
            through = min(through, account.missing[0] - _DAY)
        known.append(through)
    days = [day for day in known if day is not None]
    return min(days) if len(days) == len(known) else None


def _idle(released: Mapping[date, int], lesson_days: Collection[date], began_on: date) -> dict[date, int]:
    """What was released on days with no lesson newly earned since the release before. What the first was for, nobody
    can say: it may be lessons from before coverage began."""
    taught = sorted(day for day in lesson_days if day >= began_on)
    days = sorted(released)
    return {
        day: released[day] for before, day in pairwise(days)
        if bisect_right(taught, before) == bisect_right(taught, day)
    }


_NEWEST_FIRST = frozenset({Label.EARNED_NOT_DRAWN, Label.DRAWN_AHEAD})


def _line(label: Label, made: _Sum, currency: str) -> BridgeLine:
    sign = -1 if label in _NEWEST_FIRST else 1
    items = sorted(made.items, key=lambda item: (sign * item[0].toordinal(), item[1]))
    return BridgeLine(
        label=label, impact=Money(made.fen, currency), count=len(items),
        oldest_on=min((on for on, _ in items), default=None), evidence=tuple(one for _, one in items[:EVIDENCE_MAX]),
    )


def _speaks(lines: Mapping[Label, _Sum], label: Label) -> bool:
    return label in lines and bool(lines[label].fen or lines[label].items)


def _missing(why: Why, values: Mapping[str, Value], ids: Sequence[str]) -> Missing:
    told = sorted(set(ids))
    shown = ", ".join(one.partition(":")[2] for one in told[:_NAMED_MAX])
    return Missing(
        why=why, values=tuple({"count": len(told), "ids": shown, **values}.items()), evidence=tuple(told[:EVIDENCE_MAX])
    )
