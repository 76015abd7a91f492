"""What is due back under a contract on a day: every ground that can be thought of, the best that holds, each line.

    4,800.00 for 48 lessons, 13 confirmed, claimed by the consumer
        paid for lessons        4,800.00
        lessons taught         -1,300.00
        refund                  3,500.00      ground pro_rata; the other grounds are its alternatives

The lines add up to the refund by construction. Penalties stand apart: they are owed beside a refund, not as part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from escrow_monitor.domain import refund_words as words
from escrow_monitor.domain.calendar import WorkingCalendar
from escrow_monitor.domain.clocks import ConfirmationClock, Due, days_late, refund_due
from escrow_monitor.domain.contracts import Cause, Charge, GiftPolicy
from escrow_monitor.domain.entitlement import Impossible, Ledger, Split, Taught, fault, taught_by
from escrow_monitor.domain.findings import Sentence
from escrow_monitor.domain.money import Money, round_half_up
from escrow_monitor.domain.policy import RefundTerms
from escrow_monitor.domain.refund_grounds import (
    Facts,
    Holds,
    facts_of,
    gift_agreed,
    grounds,
    has_started,
    read_otherwise,
)
from escrow_monitor.domain.refund_words import Ground, Label, Why, why


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a sum. Below zero: taken off."""

    label: Label
    amount: Money
    why: Why


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """A ground that was not applied, or the applied one under the other reading of gift lessons.

    `refund` and `penalty` are what would be due on it. `valid` None: whether it holds is not known.
    """

    ground: Ground
    refund: Money
    penalty: Money
    valid: bool | None
    why: Why
    gift_policy: GiftPolicy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What is due under one contract on day `on` for a claim of `claimed_on`, and why.

    `entitled` is what the lessons counted have earned of the whole fee, whether or not the ground takes it off.
    `refund` is the sum of `lines`, `penalty` that of `penalty_lines`. `gift_policy` is the reading that was used; where
    gift lessons were given and it is not agreed, `gift_agreed` is False and the other reading is an alternative.
    """

    contract_no: str
    on: date
    claimed_on: date
    cause: Cause
    ground: Ground
    why: Why
    taught: Taught
    gift_policy: GiftPolicy
    gift_agreed: bool
    paid: Money
    entitled: Money
    disputed: Money
    materials_kept: Money
    already_refunded: Money
    refund: Money
    penalty: Money
    due: Due
    lines: tuple[Line, ...]
    penalty_lines: tuple[Line, ...]
    alternatives: tuple[Alternative, ...]

    @property
    def currency(self) -> str:
        """The currency of every amount."""
        return self.refund.currency

    @property
    def due_on(self) -> date | None:
        """By the end of which day the refund must be paid, or None: see `due_why`."""
        return self.due.day

    @property
    def due_why(self) -> Why:
        """Where the day comes from, or why there is none."""
        return _due_why(self.due, self.claimed_on)

    def as_json(self) -> dict[str, object]:
        """JSON-ready. Amounts are plain decimals, each with its minor units beside it as `<name>_fen`."""
        due_why = self.due_why
        return {
            "contract_no": self.contract_no,
            "on": self.on.isoformat(),
            "claimed_on": self.claimed_on.isoformat(),
            "cause": self.cause.value,
            "ground": self.ground.value,
            "why": self.why.zh,
            "why_en": self.why.en,
            "currency": self.currency,
            **_amount("paid", self.paid),
            **_amount("entitled", self.entitled),
            **_amount("disputed", self.disputed),
            **_amount("materials_kept", self.materials_kept),
            **_amount("already_refunded", self.already_refunded),
            **_amount("refund", self.refund),
            **_amount("penalty", self.penalty),
            "due_on": None if self.due_on is None else self.due_on.isoformat(),
            "due_why": due_why.zh,
            "due_why_en": due_why.en,
            "lines": [_line_json(line) for line in self.lines],
            "penalty_lines": [_line_json(line) for line in self.penalty_lines],
            "alternatives": [_alternative_json(each) for each in self.alternatives],
        }


def quote(
    ledger: Ledger, *, on: date, cause: Cause, terms: RefundTerms, calendar: WorkingCalendar,
    claimed_on: date | None = None,
) -> Quote | Impossible:
    """Say what is due at the end of `on` for a claim of `claimed_on` (default `on`), never later than `on`.

    Grounds are judged by the day of the claim. Lessons taught up to it count if they are decided by `on`, so that a
    confirmation that crosses a claim still counts. Of the grounds that hold, the one that gives most, refund and
    penalty together, is applied; what has gone back already does not change which. A ledger that cannot be right is
    said to be so.
    """
    claimed_on = on if claimed_on is None else claimed_on
    if claimed_on > on:
        raise ValueError(f"a claim of {claimed_on} cannot be quoted on {on}, before it is made")
    wrong = fault(ledger, on)
    if wrong is not None:
        return wrong
    clock = None if terms.confirmation is None else ConfirmationClock(clause=terms.confirmation, calendar=calendar)
    taught = taught_by(ledger.lessons, on, clock=clock, taught_until=claimed_on)
    facts = facts_of(ledger, on, claimed_on, cause, terms, taught)
    judged = [_judge(facts, ground, holds) for ground, holds in grounds(facts).items()]
    # Of equals the one that is listed first: `max` keeps it.
    best = max((each for each in judged if each.holds.valid), key=lambda each: (each.owed + each.penalty, each.owed))
    due = refund_due(
        facts.contract, claimed_on, has_started=has_started(facts), payment=terms.payment, calendar=calendar
    )
    return _quote(facts, best, judged, due)


class _Judged(NamedTuple):
    """What one ground gives; `owed` before what has gone back already is taken off."""

    ground: Ground
    holds: Holds
    lines: tuple[Line, ...]
    owed: int
    refund: int
    penalty_lines: tuple[Line, ...]
    penalty: int


# What each ground gives.


def _judge(facts: Facts, ground: Ground, holds: Holds) -> _Judged:
    lines = _lines(facts, ground)
    penalty_lines: tuple[Line, ...] = ()
    if ground is Ground.INSTITUTION_BREACH:
        penalty_lines = (_breach_penalty(facts),)
    return _Judged(
        ground=ground, holds=holds, lines=lines, owed=_owed(lines),
        refund=sum(line.amount.minor_units for line in lines),
        penalty_lines=penalty_lines, penalty=sum(line.amount.minor_units for line in penalty_lines),
    )


def _lines(facts: Facts, ground: Ground) -> tuple[Line, ...]:
    """The sum of one ground. The last line lifts it to zero where more has gone back than was due."""
    lines = [*_due_lines(facts, ground)]
    if facts.refunded:
        lines.append(_line(
            facts, Label.ALREADY_REFUNDED, -facts.refunded,
            why(words.ALREADY_REFUNDED, on=facts.on, refunded=facts.money(facts.refunded)),
        ))
    total = sum(line.amount.minor_units for line in lines)
    if total < 0:
        lines.append(_line(facts, Label.NOTHING_BELOW_ZERO, -total, why(words.NOTHING_BELOW_ZERO)))
    return tuple(lines)


def _due_lines(facts: Facts, ground: Ground) -> list[Line]:
    lines: list[Line] = []
    of_right = Split(0, 0, 0)
    if ground is Ground.SEVEN_DAY_RIGHT:
        of_right = facts.of_right
        lines += [_seven_day_line(facts, charge) for charge in facts.right]
    lines += _lesson_lines(facts, ground, facts.of_paid.lessons - of_right.lessons)
    lines += _material_lines(facts, facts.of_paid.materials - of_right.materials)
    over = facts.of_paid.over - of_right.over
    if over:
        lines.append(_line(facts, Label.OVERPAID, over, why(words.OVERPAID)))
    return lines


def _seven_day_line(facts: Facts, charge: Charge) -> Line:
    clause = facts.terms.seven_day
    return _line(facts, Label.SEVEN_DAY_CHARGE, charge.amount.minor_units, why(
        words.SEVEN_DAY_CHARGE, charge=charge.charge_no, paid_on=charge.paid_on, claimed_on=facts.claimed_on,
        days=None if clause is None else clause.terms.days,
    ))


def _lesson_lines(facts: Facts, ground: Ground, money: int) -> list[Line]:
    """What was paid for lessons, and what of it stays with the institution or waits for a decision."""
    whole = ground in (Ground.FULL_REFUND_WINDOW, Ground.NOT_STARTED)
    if ground is Ground.SEVEN_DAY_RIGHT and facts.right:
        if not money:
            return []
        said: tuple[Sentence, ...] = (words.LESSONS_PAID_REST,)
    elif whole and facts.taught.confirmed:
        said = (words.LESSONS_PAID, words.NOT_DEDUCTED)
    else:
        said = (words.LESSONS_PAID,)
    paid_why = why(*said, paid=facts.money(facts.paid), fee=facts.contract.fee, taught=facts.taught.confirmed)
    lines = [_line(facts, Label.LESSONS_PAID, money, paid_why)]
    if whole:
        return lines
    taken = min(facts.entitled, money)
    lines.append(_line(facts, Label.LESSONS_TAUGHT, -taken, _taught_why(facts, taken)))
    waiting = min(facts.disputed, money - taken)
    if facts.taught.disputed:
        lines.append(_line(facts, Label.LESSONS_DISPUTED, -waiting, why(
            words.LESSONS_DISPUTED, disputed=facts.taught.disputed, value=facts.money(facts.disputed),
        )))
    return lines


def _taught_why(facts: Facts, taken: int) -> Why:
    contract, taught, gifts = facts.contract, facts.taught, facts.contract.lessons_gift
    priced = contract.lessons_paid + (0 if facts.gift_policy is GiftPolicy.PAID_FIRST else gifts)
    sentences = [words.LESSONS_TAUGHT]
    if taught.confirmed > priced:
        sentences.append(words.MORE_TAUGHT)
    if not gift_agreed(contract):
        sentences.append(words.GIFTS_NOT_AGREED)
    elif gifts:
        sentences.append(words.GIFTS_FREE if facts.gift_policy is GiftPolicy.PAID_FIRST else words.GIFTS_SPREAD)
    if taken < facts.entitled:
        sentences.append(words.ONLY_WHAT_WAS_PAID)
    if taught.pending:
        sentences.append(words.PENDING)
    if taught.unknown:
        sentences.append(words.LESSONS_UNKNOWN)
    return why(
        *sentences, words.BY_PRO_RATA, fee=contract.fee, taught=min(taught.confirmed, priced), lessons=priced,
        entitled=facts.money(facts.entitled), all=taught.confirmed, gifts=gifts, deducted=facts.money(taken),
        pending=taught.pending, unknown=taught.unknown,
    )


def _material_lines(facts: Facts, money: int) -> list[Line]:
    """What was paid for materials; what was delivered is kept whatever the ground."""
    delivered = facts.contract.materials_delivered
    said = {
        True: words.MATERIALS_DELIVERED, False: words.MATERIALS_NOT_DELIVERED, None: words.MATERIALS_NOT_RECORDED
    }[delivered]
    lines = []
    if money:
        lines.append(_line(facts, Label.MATERIALS_PAID, money, why(
            words.MATERIALS_PAID, said, words.BY_MATERIALS, materials_fee=facts.contract.materials_fee
        )))
    if facts.materials_kept:
        lines.append(_line(facts, Label.MATERIALS_KEPT, -facts.materials_kept, why(said, words.BY_MATERIALS)))
    return lines


def _breach_penalty(facts: Facts) -> Line:
    percent = facts.contract.penalty_pct_remaining
    if percent is None:
        return _line(facts, Label.BREACH_PENALTY, 0, why(words.NO_BREACH_PENALTY, words.BY_BREACH))
    untaught = facts.untaught
    return _line(facts, Label.BREACH_PENALTY, round_half_up(untaught * percent / 100), why(
        words.BREACH_PENALTY, words.BY_BREACH, untaught=facts.money(untaught), percent=words.ratio_text(percent),
    ))


def _late_penalty(facts: Facts, lines: tuple[Line, ...], due_on: date | None) -> Line | None:
    """The agreed daily rate of what was still owed, for each day after the due one; None where nothing was agreed.

    What was paid back late counts for the days it was late.
    """
    rate = facts.contract.late_daily_rate
    if rate is None or due_on is None or facts.on <= due_on:
        return None
    owed = _owed(lines)
    money_days = 0
    for paid_on, amount in facts.refunds:
        paid = min(amount, owed)
        owed -= paid
        money_days += paid * days_late(due_on, paid_on)
    money_days += owed * days_late(due_on, facts.on)
    if not money_days:
        return None
    return _line(facts, Label.LATE_PENALTY, round_half_up(money_days * rate), why(
        words.LATE_PENALTY, words.BY_LATE, due_on=due_on, rate=words.ratio_text(rate), on=facts.on,
        days=days_late(due_on, facts.on),
    ))


def _owed(lines: tuple[Line, ...]) -> int:
    """What the lines come to before what has gone back is taken off."""
    paid_back = (Label.ALREADY_REFUNDED, Label.NOTHING_BELOW_ZERO)
    return sum(line.amount.minor_units for line in lines if line.label not in paid_back)


def _line(facts: Facts, label: Label, minor_units: int, because: Why) -> Line:
    return Line(label=label, amount=facts.money(minor_units), why=because)


# The answer.


def _quote(facts: Facts, best: _Judged, judged: list[_Judged], due: Due) -> Quote:
    late = _late_penalty(facts, best.lines, due.day)
    penalty_lines = best.penalty_lines if late is None else (*best.penalty_lines, late)
    return Quote(
        contract_no=facts.contract.contract_no, on=facts.on, claimed_on=facts.claimed_on, cause=facts.cause,
        ground=best.ground, why=best.holds.why, taught=facts.taught,
        gift_policy=facts.gift_policy, gift_agreed=gift_agreed(facts.contract),
        paid=facts.money(facts.paid),
        entitled=facts.money(facts.entitled),
        disputed=facts.money(facts.disputed),
        materials_kept=facts.money(facts.materials_kept),
        already_refunded=facts.money(facts.refunded),
        refund=facts.money(best.refund),
        penalty=facts.money(sum(line.amount.minor_units for line in penalty_lines)),
        due=due, lines=best.lines, penalty_lines=penalty_lines,
        alternatives=(
            *_other_reading(facts, best), *(_other_ground(facts, each) for each in judged if each is not best)
        ),
    )


def _other_reading(facts: Facts, best: _Judged) -> tuple[Alternative, ...]:
    otherwise = read_otherwise(facts)
    if otherwise is None:
        return ()
    other = _judge(otherwise, best.ground, best.holds)
    if (other.refund, other.penalty) == (best.refund, best.penalty):
        return ()
    reading = words.OTHER_READING[otherwise.gift_policy.value]
    return (Alternative(
        ground=best.ground, refund=facts.money(other.refund), penalty=facts.money(other.penalty), valid=None,
        why=why(reading, entitled=facts.money(otherwise.entitled)), gift_policy=otherwise.gift_policy,
    ),)


def _other_ground(facts: Facts, each: _Judged) -> Alternative:
    because = each.holds.why
    if each.holds.valid:
        because = Why((words.NO_MORE, *because.sentences), because.values)
    return Alternative(
        ground=each.ground, refund=facts.money(each.refund), penalty=facts.money(each.penalty),
        valid=each.holds.valid, why=because,
    )


def _due_why(due: Due, claimed_on: date) -> Why:
    unit_zh, unit_en = ("", "") if due.unit is None else words.UNITS[due.unit]
    clause = due.clause
    return why(
        words.DUE[due.by], claimed_on=claimed_on, days=due.days, unit_zh=unit_zh, unit_en=unit_en,
        year=None if due.unknown is None else due.unknown.year,
        title_zh=None if clause is None else clause.title.zh, title_en=None if clause is None else clause.title.en,
        basis_zh=None if clause is None else clause.basis.zh, basis_en=None if clause is None else clause.basis.en,
    )


def _amount(name: str, money: Money) -> Mapping[str, object]:
    return {name: money.text, f"{name}_fen": money.minor_units}


def _line_json(line: Line) -> dict[str, object]:
    title = words.TITLES[line.label]
    return {
        "label": line.label.value, "title": title.zh, "title_en": title.en, **_amount("amount", line.amount),
        "why": line.why.zh, "why_en": line.why.en,
    }


def _alternative_json(each: Alternative) -> dict[str, object]:
    return {
        "ground": each.ground.value, **_amount("refund", each.refund), **_amount("penalty", each.penalty),
        "valid": each.valid, "gift_policy": None if each.gift_policy is None else each.gift_policy.value,
        "why": each.why.zh, "why_en": each.why.en,
    }
