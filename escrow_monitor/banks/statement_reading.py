"""What every statement format shares: how it refuses, which days a statement covers, how statements of a file chain."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise

from escrow_monitor.domain.money import AmountError, Money, parse_amount
from escrow_monitor.domain.statements import (
    Entry,
    Refusal,
    RefusalReason,
    Statement,
    StatementKind,
    check_chains,
    check_ties,
    numbered,
)
from escrow_monitor.domain.statements import account_digest as account_digest  # readers look for it here
from escrow_monitor.errors import StatementRefused

ENTRY_TEXT_MAX = 1_000
"""Characters of an entry's text that are kept."""

YEAR_MIN = 1980
"""Two-digit years begin here; an older date is a digit read wrongly."""

_DAY = timedelta(days=1)
_ACCOUNT_NO = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z ._/~*-]{0,33}[0-9A-Za-z])?\Z", re.ASCII)


class Refused(StatementRefused):
    """A statement file cannot be taken as it is; `refusals` says where and why."""

    def __init__(self, *refusals: Refusal) -> None:
        super().__init__("; ".join(str(refusal) for refusal in refusals))
        self.refusals = refusals


def refused(reason: RefusalReason, where: str, field: str | None, detail: str) -> Refused:
    """The exception for one refusal."""
    return Refused(Refusal(reason=reason, where=where, field=field, detail=detail))


def amount_of(text: str, currency: str, *, where: str, field: str) -> Money:
    """An unsigned plain decimal as money, or Refused with BAD_AMOUNT."""
    try:
        amount = parse_amount(text, currency)
    except AmountError as error:
        raise refused(RefusalReason.BAD_AMOUNT, where, field, str(error)) from error
    if text[:1] in "+-":
        raise refused(RefusalReason.BAD_AMOUNT, where, field, f"{text!r} carries a sign; the direction stands apart")
    return amount


def decoded(content: bytes) -> str:
    """Text of a file that does not say its encoding: UTF-8, else GB18030, else Latin-1.

    Figures are ASCII in all of them; the choice matters to names and purposes alone.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    if re.search(rb"[\x81-\xfe]{2}", content):
        try:
            return content.decode("gb18030")
        except UnicodeDecodeError:
            pass
    return content.decode("latin-1")


def is_account_no(text: str) -> bool:
    """Whether it can be an account number: letters and digits, with a few marks between them, at most 35."""
    return _ACCOUNT_NO.match(text) is not None


def short_date(text: str, *, where: str, field: str) -> date:
    """YYMMDD; 80..99 are read as the last century, as SWIFT does. Or Refused with BAD_DATE."""
    try:
        if len(text) != 6 or not (text.isascii() and text.isdigit()):
            raise ValueError(text)
        year = int(text[:2])
        return date(1900 + year if year >= 80 else 2000 + year, int(text[2:4]), int(text[4:6]))
    except ValueError as error:
        raise refused(RefusalReason.BAD_DATE, where, field, f"{text!r} is no date") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryLine:
    """A booked line as a format reads it, before the whole statement says which day it belongs to.

    `stated_on` is the booking day if the bank states one, `value_on` the value day.
    `counterparty_account_sha256` is the `account_digest` of the other side's account number, where the bank gives it.
    """

    amount: Money
    stated_on: date | None
    value_on: date | None
    bank_ref: str | None
    text: str
    reversal: bool
    counterparty_sha256: str | None
    where: str
    counterparty_account_sha256: str | None = None


def covered_days(*, opening_on: date, closing_on: date, stated: Iterable[date]) -> tuple[date, date]:
    """The days, both included, that an end-of-day statement accounts for.

    Banks date the opening balance in two ways: by the day that closed before, or by the first day of the period.
    (opening_on, closing_on] is right for the first and modest for the second. So:

        opening on 20, closing on 20                    covers 20
        opening on 20, closing on 22                    covers 21..22
        ... and an entry is booked on 20 or before      covers 20..22
        ... and the file's statement before closed 19   covers 20..22

    An entry that was booked before opening_on never stretches the cover further back than opening_on: that one late
    line is in this statement says nothing about the other lines of its day, and a gap must not hide behind it.
    """
    first = opening_on if opening_on == closing_on else opening_on + _DAY
    if any(day <= opening_on for day in stated):
        first = opening_on
    return first, closing_on


def booked_entries(
    lines: Sequence[EntryLine], *, account_no: str, covers_from: date | None, covers_to: date | None
) -> tuple[Entry, ...]:
    """The lines as entries. Where the bank states no booking day it is the value day, moved into the covered days.

    Raises Refused when a stated booking day is after the closing balance, or when a line of a report that covers no
    days states no day at all.
    """
    entries = []
    for line in lines:
        booked_on = line.stated_on or line.value_on or covers_to
        if any(day is not None and day.year < YEAR_MIN for day in (line.stated_on, line.value_on)):
            detail = f"a date before {YEAR_MIN}: no account is kept that old"
            raise refused(RefusalReason.BAD_DATE, line.where, "booking date", detail)
        if booked_on is None:
            raise refused(RefusalReason.MISSING_FIELD, line.where, "booking date", "neither booking nor value date")
        if covers_from is not None and covers_to is not None:
            if line.stated_on is None:
                booked_on = min(max(booked_on, covers_from), covers_to)
            elif booked_on > covers_to:
                raise refused(
                    RefusalReason.BAD_DATE, line.where, "booking date",
                    f"booked on {booked_on}, but the statement closes on {covers_to}",
                )
        entries.append(
            Entry(
                account_no=account_no, booked_on=booked_on, amount=line.amount, value_on=line.value_on,
                bank_ref=line.bank_ref, text=line.text, reversal=line.reversal,
                counterparty_sha256=line.counterparty_sha256,
                counterparty_account_sha256=line.counterparty_account_sha256,
            )
        )
    return numbered(entries)


def end_of_day(
    *, account_no: str, currency: str, number: str, opening: Money, opening_on: date, closing: Money, closing_on: date,
    lines: Sequence[EntryLine], where: str, available: Money | None = None, begins_on: date | None = None,
    opening_derived: bool = False,
) -> Statement:
    """A whole end-of-day statement with its days. `begins_on` is the first day, where the bank states it.

    Raises Refused when it closes before it opens or an entry lies after its closing.
    """
    if opening_on.year < YEAR_MIN:
        raise refused(RefusalReason.BAD_DATE, where, "opening", f"opens on {opening_on}, before {YEAR_MIN}")
    if closing_on < opening_on:
        raise refused(
            RefusalReason.BAD_DATE, where, "closing",
            f"closes on {closing_on}, before it opens on {opening_on}",
        )
    stated = [line.stated_on for line in lines if line.stated_on is not None]
    covers_from, covers_to = covered_days(
        opening_on=opening_on, closing_on=closing_on, stated=stated if begins_on is None else [*stated, begins_on]
    )
    return Statement(
        account_no=account_no, currency=currency, kind=StatementKind.END_OF_DAY, number=number,
        opening=opening, opening_on=opening_on, closing=closing, closing_on=closing_on,
        covers_from=covers_from, covers_to=covers_to,
        entries=booked_entries(lines, account_no=account_no, covers_from=covers_from, covers_to=covers_to),
        where=where, available=available, opening_derived=opening_derived,
    )


def entries_only(
    *, account_no: str, currency: str, kind: StatementKind, number: str, lines: Sequence[EntryLine], where: str
) -> Statement:
    """An intraday report or a notice: entries that were seen, no balance and no covered day."""
    return Statement(
        account_no=account_no, currency=currency, kind=kind, number=number, opening=None, opening_on=None,
        closing=None, closing_on=None, covers_from=None, covers_to=None, where=where,
        entries=booked_entries(lines, account_no=account_no, covers_from=None, covers_to=None),
    )


def checked(statements: Sequence[Statement], *, today: date | None) -> tuple[Statement, ...]:
    """The statements of one file: each ties, an account's chain, none is of tomorrow. Or Refused with every fault.

    Within one file an account's statements must chain without a hole, even over a weekend: a file that jumps has lost
    a statement, and nothing in it can say which figure to believe.
    """
    faults: list[Refusal] = []
    for statement in statements:
        faults.extend(_faults_alone(statement, today))
    if faults:
        raise Refused(*faults)
    trimmed = list(statements)
    for places in _by_account(statements).values():
        for before, after in pairwise(places):
            fault, trimmed[after] = _joint(trimmed[before], trimmed[after])
            faults.extend(fault)
    if faults:
        raise Refused(*faults)
    return tuple(trimmed)


def _faults_alone(statement: Statement, today: date | None) -> Iterable[Refusal]:
    try:
        untied = check_ties(statement)
    except AmountError as error:
        detail = f"the entries add up to more than can be kept: {error}"
        untied = Refusal(reason=RefusalReason.BAD_AMOUNT, where=statement.where, field="closing", detail=detail)
    if untied is not None:
        yield untied
    for entry in statement.entries:
        # check_ties looks at the entries only where there are balances.
        if statement.opening is None and entry.amount.currency != statement.currency:
            yield Refusal(
                reason=RefusalReason.WRONG_CURRENCY, where=statement.where, field="entry",
                detail=f"an entry of {entry.booked_on} is in {entry.amount.currency}, not in {statement.currency}",
            )
    latest = max([entry.booked_on for entry in statement.entries], default=statement.closing_on)
    if statement.closing_on is not None:
        latest = statement.closing_on
    if today is not None and latest is not None and latest > today:
        yield Refusal(
            reason=RefusalReason.DATED_IN_FUTURE, where=statement.where, field="closing",
            detail=f"dated {latest}, and today is {today}",
        )


def _by_account(statements: Sequence[Statement]) -> dict[str, list[int]]:
    """Places of the end-of-day statements of each account, oldest first; of one day, in the order of the file."""
    places: dict[str, list[int]] = {}
    for place, statement in enumerate(statements):
        if statement.final:
            places.setdefault(statement.account_no, []).append(place)
    for found in places.values():
        found.sort(key=lambda place: (statements[place].closing_on, statements[place].opening_on))
    return places


def _joint(before: Statement, after: Statement) -> tuple[list[Refusal], Statement]:
    """What is wrong between two statements that follow each other, and the later one cut to its own days."""
    if before.closing is None or before.closing_on is None:
        return [], after  # not a final statement: it has nothing to chain to
    broken = check_chains(before.closing, before.closing_on, after)
    if broken is not None:
        return [broken], after
    if before.covers_to is None or after.covers_from is None or after.covers_to is None:
        return [], after
    if after.opening_on == before.closing_on + _DAY:
        # The two meet and tie, so this bank dates the opening by the first day of the period.
        return [], replace(after, covers_from=after.opening_on)
    if after.covers_from > before.covers_to:
        return [], after
    if before.closing_on == after.opening_on and after.covers_to > before.covers_to:
        # An entry dated on the day the statement before closed: that day is already accounted for.
        return [], replace(after, covers_from=before.covers_to + _DAY)
    return [
        Refusal(
            reason=RefusalReason.CONTRADICTS, where=after.where, field="closing",
            detail=(
                f"covers {after.covers_from} to {after.covers_to}, but another statement of the account in this file "
                f"covers {before.covers_from} to {before.covers_to}"
            ),
        )
    ], after


def counterparty_digest(*parts: str | None) -> str | None:
    """What stands for the other side of an entry; None where the bank names nobody."""
    named = [" ".join(part.split()) for part in parts if part and part.strip()]
    return hashlib.sha256("\n".join(named).encode()).hexdigest() if named else None


def plain_text(*parts: str) -> str:
    """Text of an entry on one line, without control characters, cut to ENTRY_TEXT_MAX."""
    joined = " ".join(" ".join(part.split()) for part in parts if part and not part.isspace())
    return "".join(char for char in joined if char.isprintable())[:ENTRY_TEXT_MAX]
