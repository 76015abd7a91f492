"""A refund that is due is seen in the bank by its day (R07)."""

from __future__ import annotations

from datetime import datetime

from escrow_monitor.domain.findings import Finding, Level, Sentence, Standing, Value, institution_subject
from escrow_monitor.domain.institution_position import InstitutionPosition, RefundFacts
from escrow_monitor.domain.policy import EffectivePolicy
from escrow_monitor.domain.timetable import start_of_day

RULE = "refund_overdue"


def examine(position: InstitutionPosition, policy: EffectivePolicy, now: datetime) -> tuple[Finding, ...]:
    """Red once a refund's last day is over and the bank did not show it.

    Yellow where refunds are agreed on that neither contract nor policy sets a day for: they never become late, and
    somebody has to set one. What nobody can compute is unknown here; that it is so, the rule about differences says.
    """
    subject = institution_subject(position.institution.uscc)
    facts = position.refunds
    if facts is None:
        return (Finding(rule=RULE, subject=subject, standing=Standing.UNKNOWN, sentence=_NOT_LOOKED_AT, as_of=now),)
    to_come = [each.next_due_on for each in facts if each.next_due_on is not None]
    recheck_at = start_of_day(policy, min(to_come)) if to_come else None
    open_cases = sum(each.open_cases for each in facts)
    late = [each for each in facts if each.overdue]
    undated = [each for each in facts if each.undated]
    if late:
        standing, level, sentence, values = Standing.BREACHED, Level.RED, _LATE, _late(late, policy)
    elif undated:
        standing, level, sentence, values = Standing.UNKNOWN, Level.YELLOW, _UNDATED, _undated(undated)
    elif any(each.unquotable for each in facts):
        standing, level, sentence, values = Standing.UNKNOWN, None, _UNKNOWN, {}
    else:
        standing, level, sentence, values = Standing.MET, None, _MET, {}
    return (
        Finding(
            rule=RULE, subject=subject, standing=standing, level=level, sentence=sentence, as_of=now,
            values={**values, "open_cases": open_cases}, recheck_at=recheck_at,
        ),
    )


def _late(late: list[RefundFacts], policy: EffectivePolicy) -> dict[str, Value]:
    """Of several currencies the one in which something is late for longest; cases are counted over all."""
    worst = min(late, key=lambda each: (each.overdue_oldest_on or each.on, each.currency))
    clause = policy.refund_terms.payment
    return {
        "overdue": sum(each.overdue for each in late), "amount": worst.overdue_amount,
        "oldest_due_on": worst.overdue_oldest_on, "case": worst.overdue_case, "on": worst.on,
        "clause": None if clause is None else clause.id,
    }


def _undated(undated: list[RefundFacts]) -> dict[str, Value]:
    first = undated[0]
    return {
        "undated": sum(each.undated for each in undated), "amount": first.undated_amount, "case": first.undated_case,
        "on": first.on,
    }


_NOT_LOOKED_AT = Sentence(
    zh="退费案件未检查，是否有逾期退费未知",
    en="the refund cases were not looked at, so whether a refund is late is not known",
)
_LATE = Sentence(
    zh="截至 {on}，{overdue} 笔应退费用到期而银行未见退款，共 {amount}；最早的案件 {case} 应于 {oldest_due_on} 前退清；"
    "请责令机构立即退费，必要时从监管账户直接退付",
    en="{overdue} refunds are due and not seen in the bank by {on}, {amount} in all; the oldest, case {case}, was due "
    "by {oldest_due_on}; have the institution pay at once, or pay from the escrow account",
)
_UNDATED = Sentence(
    zh="截至 {on}，{undated} 笔退费已同意而银行未见退款，共 {amount}（如案件 {case}），合同和规定都没有退费期限；"
    "请为其确定期限，并在本地规则中登记退费时限",
    en="{undated} refunds are agreed on and not seen in the bank by {on}, {amount} in all (e.g. case {case}), and "
    "neither contract nor policy sets a day; set one, and enter the time for refunds in the local policy",
)
_UNKNOWN = Sentence(
    zh="{open_cases} 个退费案件中有的无法计算应退金额，是否逾期未知",
    en="of {open_cases} refund cases some cannot be computed, so whether one is late is not known",
)
_MET = Sentence(
    zh="{open_cases} 个未结退费案件，没有逾期", en="{open_cases} refund cases are open and none is late"
)
