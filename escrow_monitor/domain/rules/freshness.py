"""The final balance of the last working day must be here by its deadline (R10)."""

from __future__ import annotations

from datetime import date, datetime

from escrow_monitor.domain.accounts import Known
from escrow_monitor.domain.calendar import CalendarUnknown
from escrow_monitor.domain.findings import Finding, Level, Sentence, Standing, Value, account_subject
from escrow_monitor.domain.policy import EffectivePolicy
from escrow_monitor.domain.positions import Position
from escrow_monitor.domain.timetable import calendar_unknown, due_at, due_day, overdue_at, working_days_after

RULE = "freshness"


def examine(position: Position, policy: EffectivePolicy, now: datetime) -> tuple[Finding, ...]:
    """Breached while no final balance of the last day due, or of a later day, is here: a silent bank is heard of."""
    subject = account_subject(position.account.account_no)
    try:
        due = due_day(policy, now)
        closing = position.closing
        if isinstance(closing, Known):
            if closing.on >= due:
                return (
                    Finding(
                        rule=RULE, subject=subject, standing=Standing.MET, sentence=_HERE, as_of=closing.as_of,
                        values={"closing_on": closing.on, "due": due}, recheck_at=overdue_at(policy, closing.on),
                    ),
                )
            return (_missing(position, policy, subject, now, due=due, last=closing.on),)
        opened_on, registered_at = position.account.opened_on, position.registered_at
        too_young = opened_on is not None and opened_on > due
        if too_young or (registered_at is not None and registered_at > due_at(policy, due)):
            return (
                Finding(
                    rule=RULE, subject=subject, standing=Standing.UNKNOWN, sentence=_NOT_DUE, as_of=now,
                    values={"opened_on": opened_on, "registered_at": registered_at}, recheck_at=overdue_at(policy, due),
                ),
            )
        first = None if registered_at is None else registered_at.astimezone(policy.zone).date()
        return (_missing(position, policy, subject, now, due=due, last=first),)
    except CalendarUnknown as unknown:
        return (calendar_unknown(unknown, rule=RULE, subject=subject, now=now),)


def _missing(
    position: Position, policy: EffectivePolicy, subject: str, now: datetime, *, due: date, last: date | None
) -> Finding:
    clause = policy.freshness
    missed = 1 if last is None else max(1, working_days_after(policy, last, due))
    level = clause.terms.level
    if missed > clause.terms.orange_after_working_days and level.rank < Level.ORANGE.rank:
        level = Level.ORANGE
    closing = position.closing
    values: dict[str, Value] = {
        "due": due,
        "due_at": due_at(policy, due).astimezone(policy.zone),
        "missed_working_days": missed,
        "closing_on": closing.on if isinstance(closing, Known) else None,
        "bank": position.account.bank,
        "last_answer_at": position.last_answer_at,
        "last_refusal": position.last_refusal,
        "refusals_in_a_row": position.refusals_in_a_row,
        "clause": clause.id,
        "verified": clause.verified,
    }
    told = _NEVER if position.last_answer_at is None else _LATE
    if position.last_refusal is not None:
        told = _REFUSED
    return Finding(
        rule=RULE, subject=subject, standing=Standing.BREACHED, level=level, values=values, as_of=now,
        sentence=told[isinstance(closing, Known)],
        # Each deadline that passes is one more day missed.
        recheck_at=overdue_at(policy, due),
    )


_HERE = Sentence(
    zh="已有 {closing_on} 的日终余额，应到 {due}", en="the final balance of {closing_on} is here, {due} was due"
)
_NOT_DUE = Sentence(
    zh="账户开立于 {opened_on}，登记于 {registered_at}，首个日终余额尚未到期",
    en="the account was opened on {opened_on} and registered at {registered_at}; its first final "
    "balance is not due yet",
)
# Keyed by whether there ever was a final balance.
_HAD_ONE = {
    True: (
        "缺少 {due} 的日终余额（应于 {due_at} 前取得），最近一次为 {closing_on}，"
        "已缺 {missed_working_days} 个工作日；",
        "no final balance of {due} (due by {due_at}), the newest is of {closing_on}, "
        "{missed_working_days} working days missed; ",
    ),
    False: (
        "缺少 {due} 的日终余额（应于 {due_at} 前取得），该账户从未有过日终余额；",
        "no final balance of {due} (due by {due_at}), nor was there ever one of this account; ",
    ),
}
_LATE = {
    had_one: Sentence(
        zh=zh + "{bank} 最近应答 {last_answer_at}；请联系银行或导入对账单",
        en=en + "{bank} last answered at {last_answer_at}; ask the bank, or load its statement",
    )
    for had_one, (zh, en) in _HAD_ONE.items()
}
_NEVER = {
    had_one: Sentence(
        zh=zh + "{bank} 从未应答；请联系银行或导入对账单",
        en=en + "{bank} has never answered; ask the bank, or load its statement",
    )
    for had_one, (zh, en) in _HAD_ONE.items()
}
_REFUSED = {
    had_one: Sentence(
        zh=zh + "{bank} 连续 {refusals_in_a_row} 次未给出可用应答（{last_refusal}）；请联系银行或导入对账单",
        en=en + "{refusals_in_a_row} answers of {bank} in a row could not be taken ({last_refusal}); "
        "ask the bank, or load its statement",
    )
    for had_one, (zh, en) in _HAD_ONE.items()
}
