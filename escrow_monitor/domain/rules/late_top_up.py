"""A shortfall must be topped up within the days the policy gives (R02)."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

from escrow_monitor.domain.calendar import CalendarUnknown
from escrow_monitor.domain.findings import Finding, Level, Sentence, Standing, Value, account_subject
from escrow_monitor.domain.policy import EffectivePolicy
from escrow_monitor.domain.positions import Position
from escrow_monitor.domain.shortfall import NotCompared, floor_state, is_late, top_up_by
from escrow_monitor.domain.timetable import calendar_unknown

RULE = "late_top_up"


def examine(position: Position, policy: EffectivePolicy, now: datetime) -> tuple[Finding, ...]:
    """Red once a balance stated after the last day to top up still shows the shortfall. No clause, no finding."""
    clause = policy.top_up
    if clause is None or not policy.floor_clauses:
        return ()
    subject = account_subject(position.account.account_no)
    try:
        state = floor_state(position, policy, now)
    except CalendarUnknown as unknown:
        return (calendar_unknown(unknown, rule=RULE, subject=subject, now=now),)
    if isinstance(state, NotCompared):
        return (
            Finding(
                rule=RULE, subject=subject, standing=Standing.UNKNOWN, sentence=_NOT_KNOWN, recheck_at=state.recheck_at,
                as_of=now if state.stated is None else state.stated.as_of, values={"since": state.below_since},
            ),
        )
    since = state.below_since
    if since is None:
        return (
            Finding(
                rule=RULE, subject=subject, standing=Standing.MET, sentence=_HOLDS, as_of=state.stated.as_of,
                values={"balance": state.balance, "required": state.floor}, recheck_at=state.recheck_at,
            ),
        )
    days = clause.terms.working_days
    late = is_late(state.stated, policy, since=since, working_days=days)
    values: dict[str, Value] = {
        "balance": state.balance, "required": state.floor, "shortfall": state.floor - state.balance,
        "since": since.astimezone(policy.zone), "stated_on": state.stated.on, "working_days": days,
        "top_up_by": top_up_by(policy, since, working_days=days),
        "clause": clause.id, "verified": clause.verified,
    }
    return (
        Finding(
            rule=RULE, subject=subject, standing=Standing.BREACHED if late else Standing.MET, as_of=state.stated.as_of,
            level=Level.RED if late else None, sentence=_late(clause.basis) if late else _RUNNING, values=values,
            recheck_at=state.recheck_at,
        ),
    )


@lru_cache(maxsize=256)
def _late(basis: Sentence) -> Sentence:
    zh, en = (text.replace("{", "{{").replace("}", "}}") for text in (basis.zh, basis.en))
    return Sentence(
        zh="自 {since} 起的不足应于 {top_up_by} 日终前（{working_days} 个工作日，" + zh + "）补足，"
        "而 {stated_on} 余额仍为 {balance}，最低余额 {required}，缺 {shortfall}；请约谈机构并核实资金去向",
        en="the shortfall since {since} was to be topped up by the end of {top_up_by} ({working_days} working days, "
        + en + "), but on {stated_on} the account holds {balance} and the floor is {required}: {shortfall} short; "
        "summon the institution and ask where the money went",
    )


_HOLDS = Sentence(
    zh="余额 {balance}，最低余额 {required}，无须补足",
    en="holds {balance}, the floor is {required}: nothing to top up",
)
_RUNNING = Sentence(
    zh="自 {since} 起不足 {shortfall}，补足期限至 {top_up_by} 日终，最近余额为 {stated_on}",
    en="{shortfall} short since {since}, to be topped up by the end of {top_up_by}; the newest balance is of "
    "{stated_on}",
)
_NOT_KNOWN = Sentence(
    zh="是否满足最低余额未知，无法判断是否逾期未补足",
    en="whether the floor is held is not known, so neither is whether a top-up is late",
)
