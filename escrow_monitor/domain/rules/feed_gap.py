"""No working day between covered days may go without its statement for long."""

from __future__ import annotations

from datetime import datetime

from escrow_monitor.domain.calendar import CalendarUnknown
from escrow_monitor.domain.findings import Finding, Sentence, Standing, Value, account_subject
from escrow_monitor.domain.policy import EffectivePolicy
from escrow_monitor.domain.positions import Position
from escrow_monitor.domain.timetable import (
    calendar_unknown,
    start_of_day,
    working_days_after,
    working_days_later,
)

RULE = "feed_gap"


def examine(position: Position, policy: EffectivePolicy, now: datetime) -> tuple[Finding, ...]:
    """Breached while a gap is older than the clause allows. An account without any statement has no finding."""
    clause = policy.feed_gap
    if clause is None or position.entries_from is None:
        return ()
    subject = account_subject(position.account.account_no)
    values: dict[str, Value] = {"gaps": position.gap_count, "covered_to": position.entries_to}
    if not position.gap_count:
        return (
            Finding(rule=RULE, subject=subject, standing=Standing.MET, sentence=_WHOLE, values=values, as_of=now),
        )
    allowed = clause.terms.working_days
    today = now.astimezone(policy.zone).date()
    try:
        old = [gap for gap in position.gaps if working_days_after(policy, gap, today) > allowed]
    except CalendarUnknown as unknown:
        return (calendar_unknown(unknown, rule=RULE, subject=subject, now=now),)
    unlisted = position.gap_count - len(position.gaps)
    values["allowed_working_days"], values["clause"], values["verified"] = allowed, clause.id, clause.verified
    if not old and not unlisted:
        # The oldest gap is the first to have lasted too long: on the working day after the last one allowed.
        late_on = working_days_later(policy, position.gaps[-1], allowed + 1)
        return (
            Finding(
                rule=RULE, subject=subject, standing=Standing.MET, sentence=_YOUNG, values=values, as_of=now,
                recheck_at=None if late_on is None else start_of_day(policy, late_on),
            ),
        )
    # Gaps that are not listed are older than every one that is.
    values["overdue"] = len(old) + unlisted
    values["newest"] = old[0] if old else None
    values["days"] = ", ".join(gap.isoformat() for gap in old[:DAYS_NAMED_MAX])
    return (
        Finding(
            rule=RULE, subject=subject, standing=Standing.BREACHED, level=clause.terms.level, sentence=_OLD,
            values=values, as_of=now,
        ),
    )


DAYS_NAMED_MAX = 5

_WHOLE = Sentence(zh="至 {covered_to} 的对账单无缺日", en="no working day up to {covered_to} misses its statement")
_YOUNG = Sentence(
    zh="缺 {gaps} 个工作日的对账单，尚在允许的 {allowed_working_days} 个工作日内",
    en="{gaps} working days miss their statement, none for more than the {allowed_working_days} working days allowed",
)
_OLD = Sentence(
    zh="{overdue} 个工作日缺对账单已超过 {allowed_working_days} 个工作日（如 {days}），其间流水未知；"
    "请向银行补取并导入",
    en="{overdue} working days have missed their statement for more than {allowed_working_days} working days (such as "
    "{days}), what was booked then is not known; obtain the statements from the bank and load them",
)
