"""Much money leaving in one entry or one day is reported (R03).

What a reversal took back did not leave, nor what went to another supervised account of the institution: the latter is
named beside what did.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache

from escrow_monitor.domain.clauses import Clause, LargeDebit, Per
from escrow_monitor.domain.findings import Finding, Level, Sentence, Standing, Value, account_subject
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.policy import EffectivePolicy
from escrow_monitor.domain.positions import DayFlow, Position
from escrow_monitor.domain.requirement import share
from escrow_monitor.domain.timetable import start_of_day

RULE = "large_outflow"


def examine(position: Position, policy: EffectivePolicy, now: datetime) -> tuple[Finding, ...]:
    """One finding for each recent day with debits; the day is the period, so each stands for itself."""
    if not position.days or not policy.large_debits:
        return ()
    return tuple([_examine_day(position, day, policy, now) for day in position.days])


def _examine_day(position: Position, day: DayFlow, policy: EffectivePolicy, now: datetime) -> Finding:
    currency = position.account.currency
    level: Level | None = None
    own = bool(day.own_debits_fen)
    standing, sentence = Standing.MET, _SMALL_OWN if own else _SMALL
    values: dict[str, Value] = {
        "on": day.on,
        "debits": Money(day.debits_fen, currency),
        "largest_debit": Money(day.largest_debit_fen, currency),
        "previous_closing": None if day.previous_closing_fen is None else Money(day.previous_closing_fen, currency),
    }
    if own:
        values["own_debits"] = Money(day.own_debits_fen, currency)
        values["booked_debits"] = Money(day.debits_fen + day.own_debits_fen, currency)
    for clause in policy.large_debits:
        terms = clause.terms
        moved = day.debits_fen if terms.per is Per.DAY else day.largest_debit_fen
        limits, all_known = _limits(clause, day, currency)
        passed = [limit for limit in limits if moved > limit]
        if passed and (level is None or terms.level.rank > level.rank):
            level, standing = terms.level, Standing.BREACHED
            sentence = _large(terms.per, clause.basis, own)
            values["limit"] = Money(max(passed), currency)
            values["clause"], values["verified"] = clause.id, clause.verified
        elif not all_known and standing is Standing.MET:
            standing, sentence = Standing.UNKNOWN, _NOT_KNOWN_OWN if own else _NOT_KNOWN
            values["clause"] = clause.id
    return Finding(
        rule=RULE, subject=account_subject(position.account.account_no), period=day.on.isoformat(), standing=standing,
        sentence=sentence, level=level, values=values,
        as_of=min(now, start_of_day(policy, day.on + timedelta(days=1))),
    )


def _limits(clause: Clause[LargeDebit], day: DayFlow, currency: str) -> tuple[list[int], bool]:
    """What may not be passed, in minor units, and whether every limit of the clause could be worked out."""
    terms = clause.terms
    limits, all_known = [], True
    if terms.amount is not None:
        if terms.amount.currency == currency:
            limits.append(terms.amount.minor_units)
        else:
            all_known = False
    if terms.share_of_previous_closing is not None:
        if day.previous_closing_fen is None:
            all_known = False
        else:
            # Of an overdrawn account nothing may leave.
            limits.append(share(max(0, day.previous_closing_fen), terms.share_of_previous_closing))
    return limits, all_known


@lru_cache(maxsize=256)
def _large(per: Per, basis: Sentence, own: bool) -> Sentence:
    zh_left, en_left = (_LEFT_OWN if own else _LEFT)
    zh, en = (text.replace("{", "{{").replace("}", "}}") for text in (basis.zh, basis.en))
    if per is Per.DAY:
        return Sentence(
            zh=zh_left + "，超过单日限额 {limit}（前日余额 {previous_closing}；条款 {clause}，"
            + zh + "）；请核实用途与审批",
            en=en_left + ", more than the day's limit of {limit} (the closing before was "
            "{previous_closing}; clause {clause}, " + en + "); ask what for and who approved it",
        )
    return Sentence(
        zh="{on} 单笔支出 {largest_debit}，超过单笔限额 {limit}（条款 {clause}，" + zh + "）"
        + ("；" + zh_left if own else "") + "；请核实用途与审批",
        en="one debit of {largest_debit} on {on}, more than the limit of {limit} (clause {clause}, " + en + "); "
        + (en_left + "; " if own else "") + "ask what for and who approved it",
    )


_LEFT = ("{on} 共支出 {debits}", "{debits} left on {on}")
_LEFT_OWN = (
    "{on} 共支出 {booked_debits}，其中 {own_debits} 转入本机构其他监管账户，其余 {debits}",
    "of {booked_debits} booked out on {on}, {own_debits} went to the institution's own escrow account, {debits} left",
)


def _small(left: tuple[str, str]) -> Sentence:
    return Sentence(zh=left[0] + "，未超过限额", en=left[1] + ", within the limits")


def _not_known(left: tuple[str, str]) -> Sentence:
    return Sentence(
        zh=left[0] + "，前日余额 {previous_closing} 或币种不明，无法按条款 {clause} 判断",
        en=left[1] + "; the closing before ({previous_closing}) or the currency does not let clause {clause} decide",
    )


_SMALL, _SMALL_OWN = _small(_LEFT), _small(_LEFT_OWN)
_NOT_KNOWN, _NOT_KNOWN_OWN = _not_known(_LEFT), _not_known(_LEFT_OWN)
