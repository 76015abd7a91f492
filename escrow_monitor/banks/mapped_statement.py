"""From the pages of entries of one account and period to its statement: stated, or worked out and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

from escrow_monitor.banks.answer_reading import Moment
from escrow_monitor.banks.connector import Raw
from escrow_monitor.banks.http import Answer
from escrow_monitor.banks.mapping import Place, StatementsRule
from escrow_monitor.banks.statement_reading import EntryLine, end_of_day, entries_only, refused
from escrow_monitor.domain.accounts import Account
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.statements import RefusalReason, Statement, StatementKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One answer with its rows; `top` is None where the bank says that there is nothing to tell."""

    answer: Answer
    raw: Raw
    moment: Moment
    rows: tuple[Place, ...]
    top: Place | None


def statement_of(
    rule: StatementsRule, pages: Sequence[Page], account: Account, *, span: tuple[date, date], closing: Money | None
) -> tuple[Statement, ...]:
    """The statement of the days asked for; entries alone, where no balance is known, are a notice.

    `closing` is the final balance of the last day, where it is known from elsewhere: it speaks for days without any
    entry. Raises Refused.
    """
    for page in pages:
        if page.top is not None and (page.rows or rule.opening is not None):
            rule.check_page(page.top, account)
    read = [rule.line(row, account) for page in pages for row in page.rows]
    if rule.newest_first:
        read.reverse()
    lines = [line for line, _ in read]
    _check_period(lines, span)
    where, number = pages[0].answer.path, f"{span[0]}..{span[1]}"
    if rule.opening is not None and any(page.top is not None for page in pages):
        return _as_stated(rule, pages, lines, account, span, where)
    if rule.balance_after is not None and read:
        opens, closes = _worked_out([(line, after) for line, after in read if after is not None])
        if closing is not None and closes != closing:
            detail = f"the last entry leaves {closes.text}, the bank's final balance of {span[1]} is {closing.text}"
            raise refused(RefusalReason.CONTRADICTS, where, "balance_after", detail)
    elif not read and closing is not None:
        opens = closes = closing
    else:
        return _notice(account, number, lines, where)
    return (
        end_of_day(
            account_no=account.account_no, currency=account.currency, number=number, opening=opens, opening_on=span[0],
            closing=closes, closing_on=span[1], lines=lines, where=where, begins_on=span[0], opening_derived=True,
        ),
    )


def _as_stated(
    rule: StatementsRule, pages: Sequence[Page], lines: Sequence[EntryLine], account: Account,
    span: tuple[date, date], where: str,
) -> tuple[Statement, ...]:
    """Opening and closing as every page repeats them; entries after the closing stay a notice."""
    assert rule.opening is not None  # noqa: S101 - asked for only where it is
    assert rule.closing is not None  # noqa: S101 - they go together
    currency = account.currency
    said = {
        (rule.opening.read(page.top, currency, on=span[0]), rule.closing.read(page.top, currency, on=span[1]))
        for page in pages if page.top is not None
    }
    if len(said) != 1:
        detail = "the pages state different opening or closing balances"
        raise refused(RefusalReason.CONTRADICTS, where, rule.opening.amount.path.path, detail)
    ((opening, opening_on), (closing, closing_on)), = said
    if closing_on < span[0]:
        return ()  # no day that is new has closed yet
    number = f"{span[0]}..{span[1]}"
    # The opening may be dated by the first day asked for or by the day before: the period begins as asked.
    begins_on = span[0] if span[0] - timedelta(days=1) <= opening_on <= span[0] else None
    after = [line for line in lines if line.stated_on is not None and line.stated_on > closing_on]
    whole = end_of_day(
        account_no=account.account_no, currency=account.currency, number=number, opening=opening, opening_on=opening_on,
        closing=closing, closing_on=closing_on, lines=[line for line in lines if line not in after], where=where,
        begins_on=begins_on,
    )
    return (whole, *_notice(account, number, after, where))


def _worked_out(read: Sequence[tuple[EntryLine, Money]]) -> tuple[Money, Money]:
    """Opening and closing from the balance after each entry, which must follow from the one before."""
    for (_, before), (line, after) in pairwise(read):
        if before + line.amount != after:
            detail = f"{before.text} + {line.amount.text} is not {after.text}, the balance it states after the entry"
            raise refused(RefusalReason.DOES_NOT_TIE, line.where, "balance_after", detail)
    first, after_first = read[0]
    return after_first - first.amount, read[-1][1]


def _check_period(lines: Sequence[EntryLine], span: tuple[date, date]) -> None:
    for line in lines:
        if line.stated_on is not None and not span[0] <= line.stated_on <= span[1]:
            detail = f"booked on {line.stated_on}, asked for were {span[0]} to {span[1]}"
            raise refused(RefusalReason.BAD_DATE, line.where, "booked_on", detail)


def _notice(account: Account, number: str, lines: Sequence[EntryLine], where: str) -> tuple[Statement, ...]:
    if not lines:
        return ()
    return (
        entries_only(
            account_no=account.account_no, currency=account.currency, kind=StatementKind.NOTICE, number=number,
            lines=lines, where=where,
        ),
    )
