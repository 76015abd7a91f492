"""How much must lie in an account, clause by clause, and whether that figure is whole or only a lower bound.

    FIXED          50,000.00                                  whole
    RATIO_WINDOW   0.20 x credits of Sep, Oct, Nov            whole if every working day of them is covered,
                                                              else a lower bound: more credits only raise it
    FULL_LIABILITY what is owed to families                   whole if every contract is recorded
    required = the largest; whole only if every clause is
"""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from escrow_monitor.domain.clauses import (
    Fixed,
    FloorClause,
    FullLiability,
    PeriodFees,
    RatioOf,
    RatioWindow,
    Schedule,
)
from escrow_monitor.domain.findings import Sentence, Value, as_text
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.obligation import ObligationFacts
from escrow_monitor.domain.policy import EffectivePolicy
from escrow_monitor.domain.positions import Position
from escrow_monitor.domain.timetable import any_working_day

# Named tuples, here and in shortfall.py: a round builds hundreds of thousands, and frozen dataclasses cost thrice that.


class RequiredPart(NamedTuple):
    """What one clause demands of an account in `currency`. `amount` None: not known; not `complete`: at least that.

    Where entries were counted: their `credits_fen` from `credits_from` to `credits_to`, the last day covered. Where
    contracts were: the `obligation_fen` at the end of `obligation_on`, without the `paid_later_fen` that families paid
    after the day of the balance, that `elsewhere_fen` in other accounts covers in part.
    """

    clause: FloorClause
    amount: Money | None
    complete: bool
    sentence: Sentence
    currency: str
    credits_fen: int | None = None
    credits_from: date | None = None
    credits_to: date | None = None
    obligation_fen: int | None = None
    obligation_on: date | None = None
    paid_later_fen: int | None = None
    elsewhere_fen: int | None = None

    @property
    def values(self) -> dict[str, Value]:
        """The figures of the sentence."""
        terms = self.clause.terms
        return {
            "amount": self.amount,
            "clause_amount": terms.tiers[-1].amount if isinstance(terms, Fixed) else None,
            "ratio": terms.ratio if isinstance(terms, RatioWindow) else None,
            "months": terms.months if isinstance(terms, Fixed | RatioWindow | PeriodFees) else None,
            "parts": ", ".join(str(part) for part in terms.parts) if isinstance(terms, Schedule) else None,
            "currency": self.currency,
            "credits": _money(self.credits_fen, self.currency),
            "credits_from": self.credits_from,
            "credits_to": self.credits_to,
            "obligation": _money(self.obligation_fen, self.currency),
            "obligation_on": self.obligation_on,
            "paid_later": _money(self.paid_later_fen, self.currency),
            "elsewhere": _money(self.elsewhere_fen, self.currency),
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
        leans = leans or part.credits_from is not None
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
    elif not isinstance(terms, RatioWindow) or terms.of is RatioOf.CHARGES:
        return _of_contracts(clause, position, on, expected_to)
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


def _of_contracts(clause: FloorClause, position: Position, on: date, expected_to: date) -> RequiredPart:
    """What a clause demands by the contracts recorded, less what lies in the institution's other accounts for it."""
    facts, currency = position.obligations, position.account.currency
    owed = None if facts is None or facts.currency != currency else _owed(clause, facts, on)
    part = RequiredPart(clause=clause, amount=None, complete=False, sentence=_NO_CONTRACTS, currency=currency)
    if facts is None or owed is None:
        return part
    elsewhere, later = facts.elsewhere, _paid_later(clause, facts, on)
    if facts.elsewhere_on is not None and facts.elsewhere_on < expected_to:
        # As old as that, the balances of the other accounts count no more than one of this account would.
        elsewhere = None
    owed = max(0, owed - later)
    part = part._replace(
        obligation_fen=owed, obligation_on=facts.on, paid_later_fen=later or None, elsewhere_fen=elsewhere
    )
    if elsewhere is None:
        return part._replace(sentence=_ELSEWHERE_UNKNOWN)
    # Sums older than the last day that can be known say too little: contracts may have been signed since.
    complete = facts.complete and facts.on >= expected_to
    return part._replace(
        amount=Money(max(0, owed - elsewhere), currency), complete=complete,
        sentence=_OWED[type(clause.terms), complete, later > 0, elsewhere > 0],
    )


def _owed(clause: FloorClause, facts: ObligationFacts, on: date) -> int | None:
    """The sum over contracts that a clause speaks of; None where it is not recorded."""
    terms = clause.terms
    if isinstance(terms, FullLiability):
        return facts.full_liability
    if isinstance(terms, RatioWindow):
        months, _ = window(on.year, on.month, terms.months)
        charges = facts.charges
        return None if charges is None else share(sum(charges.get(month, 0) for month in months), terms.ratio)
    return facts.by_terms.get(terms) if isinstance(terms, PeriodFees | Schedule) else None


def _paid_later(clause: FloorClause, facts: ObligationFacts, on: date) -> int:
    """What of the sum was paid after the day of the balance: to miss it there would be a false alarm every morning."""
    terms = clause.terms
    if not isinstance(terms, FullLiability | Schedule):
        return 0
    return sum(amount for day, amount in facts.paid_lately.get(terms, {}).items() if day > on)


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


def _money(minor_units: int | None, currency: str) -> Money | None:
    return None if minor_units is None else Money(minor_units, currency)


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
_NO_CONTRACTS = Sentence(
    zh="尚无本条款所需的合同数据，应存金额未知",
    en="the contracts that this clause needs are not recorded, so it is not known",
)
_ELSEWHERE_UNKNOWN = Sentence(
    zh="按合同共须存放 {obligation}，由机构多个账户共同承担，其他账户的余额未知，本账户应存金额未知",
    en="{obligation} by the contracts lie on several accounts together; what the others hold is not known, so neither "
    "is the part of this one",
)
_OWED_BY = {
    FullLiability: ("未消课、未退费的金额", "all that is paid for, not yet taught and not paid back,"),
    PeriodFees: ("全部学员 {months} 个月的学费", "the fees of all students for {months} months"),
    Schedule: ("按 {parts} 逐月拨付尚未拨付的金额", "what the monthly release of {parts} has not let go"),
    RatioWindow: ("{ratio} × 最近 {months} 个自然月的缴费", "{ratio} x the charges of {months} calendar months"),
}


def _owed_sentence(zh: str, en: str, complete: bool, later: bool, elsewhere: bool) -> Sentence:
    zh_least, en_least = ("", "") if complete else ("至少 ", "at least ")
    zh_gap, en_gap = ("", "") if complete else ("，合同数据不全", "; not every contract is recorded")
    zh_later, en_later = "，不含余额日之后缴入的 {paid_later}", " without {paid_later} paid after the balance's day"
    zh_rest, en_rest = ("，其他账户存有 {elsewhere}", " less {elsewhere} in other accounts") if elsewhere else ("", "")
    if not later:
        zh_later = en_later = ""
    return Sentence(
        zh=f"{zh_least}{{amount}}：截至 {{obligation_on}}，{zh}为 {{obligation}}{zh_later}{zh_rest}{zh_gap}",
        en=f"{en_least}{{amount}}: {en} at the end of {{obligation_on}}, {{obligation}}{en_later}{en_rest}{en_gap}",
    )


_OWED = {
    (terms, complete, later, elsewhere): _owed_sentence(zh, en, complete, later, elsewhere)
    for terms, (zh, en) in _OWED_BY.items()
    for complete in (True, False)
    for later in (True, False)
    for elsewhere in (True, False)
}
