"""How much must lie in an account, clause by clause, and whether that figure is whole or only a lower bound.

    FIXED          50,000.00                                  whole
    RATIO_WINDOW   0.20 x credits of Sep, Oct, Nov            whole if every working day of them is covered,
                                                              else a lower bound: more credits only raise it
    required = the largest; whole only if every clause is
"""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from escrow_monitor.domain.clauses import Fixed, FloorClause, RatioWindow
from escrow_monitor.domain.findings import Sentence, Value, as_text
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.policy import EffectivePolicy
from escrow_monitor.domain.positions import Position
from escrow_monitor.domain.timetable import any_working_day

# Named tuples, here and in shortfall.py: a round builds hundreds of thousands, and frozen dataclasses cost thrice that.


class RequiredPart(NamedTuple):
    """What one clause demands of an account in `currency`. `amount` None: not known; not `complete`: at least that.

    Where entries were counted: their `credits_fen` from `credits_from` to `credits_to`, the last day covered.
    """

    clause: FloorClause
    amount: Money | None
    complete: bool
    sentence: Sentence
    currency: str
    credits_fen: int | None = None
    credits_from: date | None = None
    credits_to: date | None = None

    @property
    def values(self) -> dict[str, Value]:
        """The figures of the sentence."""
        terms = self.clause.terms
        return {
            "amount": self.amount,
            "clause_amount": terms.tiers[-1].amount if isinstance(terms, Fixed) else None,
            "ratio": terms.ratio if isinstance(terms, RatioWindow) else None,
            "months": terms.months,
            "currency": self.currency,
            "credits": None if self.credits_fen is None else Money(self.credits_fen, self.currency),
            "credits_from": self.credits_from,
            "credits_to": self.credits_to,
        }

    @property
    def why_zh(self) -> str:
        """How it was computed, in Chinese."""
        return self.sentence.zh.format_map({name: as_text(value) for name, value in self.values.items()})

    @property
    def why_en(self) -> str:
        """How it was computed, in English."""
        return self.sentence.en.format_map({name: as_text(value) for name, value in self.values.items()})


class Required(NamedTuple):
    """The floor: the largest known part. `amount` None: no clause, or none whose amount is known; see `parts`.

    `governing` is the clause that gives the amount. `leans_on_entries`: some part was computed from booked entries.
    """

    amount: Money | None
    complete: bool
    parts: tuple[RequiredPart, ...]
    governing: FloorClause | None
    leans_on_entries: bool = False


_NOTHING = Required(amount=None, complete=True, parts=(), governing=None)


def required_balance(
    position: Position, policy: EffectivePolicy, *, on: date, due: date | None = None
) -> Required:
    """Return what must lie in the account on `on`; of the last n months, the month of `on` is the last.

    `due` is the last day whose final statement may be expected by now: entries that cannot be here yet make the floor
    no less whole. Without it every day up to `on` is expected. Raises CalendarUnknown.
    """
    clauses = policy.floor_clauses
    if not clauses:
        return _NOTHING
    expected_to = on if due is None or due > on else due
    parts = tuple([_part(clause, position, policy, on, expected_to) for clause in clauses])
    best: RequiredPart | None = None
    complete, leans = True, False
    for part in parts:
        complete = complete and part.complete
        leans = leans or part.clause.terms.months > 0
        if part.amount is not None and (
            best is None or best.amount is None or part.amount.minor_units > best.amount.minor_units
        ):
            best = part
    if best is None:
        return Required(amount=None, complete=False, parts=parts, governing=None, leans_on_entries=leans)
    return Required(
        amount=best.amount, complete=complete, parts=parts, governing=best.clause, leans_on_entries=leans
    )


def _part(
    clause: FloorClause, position: Position, policy: EffectivePolicy, on: date, expected_to: date
) -> RequiredPart:
    terms, currency = clause.terms, position.account.currency
    if isinstance(terms, Fixed):
        amount = terms.tiers[-1].amount
        if amount.currency != currency:
            return RequiredPart(
                clause=clause, amount=None, complete=False, sentence=_OTHER_CURRENCY, currency=currency
            )
        if not terms.months:
            return RequiredPart(clause=clause, amount=amount, complete=True, sentence=_FIXED, currency=currency)
    months, first = window(on.year, on.month, terms.months)
    credited = _credits(position, months)
    if credited is None:
        return RequiredPart(
            clause=clause, amount=None, complete=False, sentence=_NO_ENTRIES, currency=currency, credits_from=first
        )
    covered = covers(position, policy, first, expected_to)
    if isinstance(terms, RatioWindow):
        amount = Money(share(credited, terms.ratio), currency)
        sentence = _WINDOW if covered else _WINDOW_AT_LEAST
    else:
        tier = next(
            each for each in terms.tiers if each.credits_below is None or credited < each.credits_below.minor_units
        )
        amount = tier.amount
        # Credits we have not seen could only lift the account into a higher tier; from the last there is none.
        covered = covered or tier.credits_below is None
        sentence = _TIER if covered else _TIER_AT_LEAST
    return RequiredPart(
        clause=clause, amount=amount, complete=covered, sentence=sentence, currency=currency, credits_fen=credited,
        credits_from=first, credits_to=position.entries_to,
    )


@lru_cache(maxsize=4096)
def window(year: int, month: int, months: int) -> tuple[tuple[str, ...], date]:
    """The keys of the `months` calendar months that end with this one, and the first day of the first."""
    last = year * 12 + month - 1
    keys = tuple(f"{each // 12:04d}-{each % 12 + 1:02d}" for each in range(last - months + 1, last + 1))
    return keys, date(int(keys[0][:4]), int(keys[0][5:]), 1)


def covers(position: Position, policy: EffectivePolicy, first: date, last: date) -> bool:
    """Whether final statements account for every working day from `first` to `last`. Raises CalendarUnknown.

    Days before the account was opened need none, nor does a day off at either edge.
    """
    entries_from, entries_to = position.entries_from, position.entries_to
    if entries_from is None or entries_to is None:
        return False
    opened_on = position.account.opened_on
    if opened_on is not None and opened_on > first:
        first = opened_on
    if entries_from > first and any_working_day(policy, first, _before(entries_from)):
        return False
    if entries_to < last and any_working_day(policy, _after(entries_to), last):
        return False
    if not position.gap_count:
        return True
    # Only the newest gaps are listed: where more exist than are listed, those lie before the oldest of the list.
    unlisted = position.gap_count > len(position.gaps) and (not position.gaps or position.gaps[-1] > first)
    return not unlisted and not any(first <= gap <= last for gap in position.gaps)


def share(minor_units: int, ratio: Fraction) -> int:
    """`ratio` times an amount that is not negative, half up, without building fractions: it runs once an account."""
    return (2 * minor_units * ratio.numerator + ratio.denominator) // (2 * ratio.denominator)


def _credits(position: Position, months: tuple[str, ...]) -> int | None:
    """What was credited in these months as far as we know; None when we were never given a single entry or day."""
    if position.entries_from is None and not position.months:
        return None
    flows = position.months
    return sum(flows[month].credits_fen for month in months if month in flows)


def _before(day: date) -> date:
    return date.fromordinal(day.toordinal() - 1)


def _after(day: date) -> date:
    return date.fromordinal(day.toordinal() + 1)


_FIXED = Sentence(zh="固定金额 {amount}", en="a fixed amount of {amount}")
_OTHER_CURRENCY = Sentence(
    zh="条款金额为 {clause_amount}，账户币种为 {currency}，无法比较",
    en="the clause says {clause_amount}, the account is in {currency}: they cannot be compared",
)
_NO_ENTRIES = Sentence(
    zh="尚无任何流水，自 {credits_from} 起 {months} 个自然月的入账额未知",
    en="no entry was ever received, so the credits of the {months} calendar months from {credits_from} are not known",
)
_WINDOW = Sentence(
    zh="{ratio} × 自 {credits_from} 至 {credits_to} 的入账额 {credits} = {amount}",
    en="{ratio} x the credits of {credits} from {credits_from} to {credits_to} = {amount}",
)
_WINDOW_AT_LEAST = Sentence(
    zh="至少 {amount}：{ratio} × 自 {credits_from} 起已知入账额 {credits}，期间流水不全",
    en="at least {amount}: {ratio} x the known credits of {credits} from {credits_from}; not every day is covered",
)
_TIER = Sentence(
    zh="按自 {credits_from} 至 {credits_to} 的入账额 {credits} 对应档次为 {amount}",
    en="{amount}, the tier for credits of {credits} from {credits_from} to {credits_to}",
)
_TIER_AT_LEAST = Sentence(
    zh="至少 {amount}：按自 {credits_from} 起已知入账额 {credits} 的档次，期间流水不全",
    en="at least {amount}, the tier for the known credits of {credits} from {credits_from}; not every day is covered",
)
