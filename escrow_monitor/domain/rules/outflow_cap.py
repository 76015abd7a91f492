"""The debits of a calendar month may not pass a multiple of the floor (R03)."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import lru_cache

from escrow_monitor.domain.calendar import CalendarUnknown
from escrow_monitor.domain.clauses import Clause, OutflowCap
from escrow_monitor.domain.findings import Finding, Sentence, Standing, Value, account_subject
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.policy import EffectivePolicy
from escrow_monitor.domain.positions import Position
from escrow_monitor.domain.requirement import Required, covers, required_balance, share, window
from escrow_monitor.domain.timetable import calendar_unknown, due_day, overdue_at, start_of_day

RULE = "outflow_cap"


def examine(position: Position, policy: EffectivePolicy, now: datetime) -> tuple[Finding, ...]:
    """One finding for this month, one for the month before, whose last days may come late; the month is the period."""
    if not policy.outflow_caps:
        return ()
    subject = account_subject(position.account.account_no)
    # Of several caps the smallest is the one to keep.
    clause = min(policy.outflow_caps, key=lambda each: each.terms.times)
    today = now.astimezone(policy.zone).date()
    (before, this), first = window(today.year, today.month, 2)
    last = today.replace(day=1) - timedelta(days=1)
    changed = policy.last_change_on
    try:
        due = due_day(policy, now)
        now_finding = _examine_month(position, policy, clause, this, (last + timedelta(days=1), today), due, now)
        if changed is not None and changed > last:
            # The month before had another law, which is not ours to judge by today's.
            return (now_finding,)
        return (_examine_month(position, policy, clause, before, (first, last), due, now), now_finding)
    except CalendarUnknown as unknown:
        return (calendar_unknown(unknown, rule=RULE, subject=subject, now=now, period=this),)


def _examine_month(
    position: Position, policy: EffectivePolicy, clause: Clause[OutflowCap], month: str, days: tuple[date, date],
    due: date, now: datetime,
) -> Finding:
    first, last = days
    required = required_balance(position, policy, on=last, due=due)
    flow = position.months.get(month)
    values: dict[str, Value] = {
        "month": month, "times": clause.terms.times, "required": required.amount,
        "clause": clause.id,
        "verified": clause.verified and (required.governing is None or required.governing.verified),
    }
    standing, sentence = Standing.UNKNOWN, _NO_ENTRIES
    if required.amount is None:
        sentence = _NO_FLOOR
    elif flow is not None or position.entries_from is not None:
        debits = 0 if flow is None else flow.debits_fen
        cap = share(required.amount.minor_units, clause.terms.times)
        values["debits"] = Money(debits, required.amount.currency)
        values["cap"] = Money(cap, required.amount.currency)
        if debits > cap:
            if required.complete:
                standing, sentence = Standing.BREACHED, _over(clause.basis, _floor_basis(required))
            else:
                sentence = _FLOOR_MAY_BE_MORE
        elif covers(position, policy, first, min(last, due)):
            # Should the floor be more than we know, the cap is only higher.
            standing, sentence = Standing.MET, _WITHIN
        else:
            sentence = _GAPS
    entries_to = position.entries_to
    return Finding(
        rule=RULE, subject=account_subject(position.account.account_no), period=month, standing=standing,
        sentence=sentence, level=clause.terms.level if standing is Standing.BREACHED else None, values=values,
        as_of=now if entries_to is None else min(now, start_of_day(policy, min(entries_to, last) + timedelta(days=1))),
        recheck_at=_recheck(policy, entries_to, now),
    )


def _recheck(policy: EffectivePolicy, entries_to: date | None, now: datetime) -> datetime | None:
    """Once the next day's statement is due and not here, the days we have no longer answer for the month."""
    if entries_to is None:
        return None
    at = overdue_at(policy, entries_to)
    return at if at > now else None


def _floor_basis(required: Required) -> Sentence:
    """Where the floor that the cap is a multiple of comes from: the cap is no surer than its floor."""
    assert required.governing is not None, "a floor that is known has a clause"  # noqa: S101  # says why None cannot be
    return required.governing.basis


@lru_cache(maxsize=256)
def _over(basis: Sentence, floor_basis: Sentence) -> Sentence:
    zh, en, floor_zh, floor_en = (
        text.replace("{", "{{").replace("}", "}}") for text in (basis.zh, basis.en, floor_basis.zh, floor_basis.en)
    )
    return Sentence(
        zh="{month} 累计支出 {debits}，超过上限 {cap}（条款 {clause}，" + zh + "：最低余额 {required} 的 {times} 倍；"
        "该最低余额：" + floor_zh + "）；请停止拨付并核实用途",
        en="{debits} left in {month}, more than the cap of {cap} (clause {clause}, " + en + ": {times} x the floor of "
        "{required}, itself by: " + floor_en + "); stop payments and ask what for",
    )


_WITHIN = Sentence(
    zh="{month} 累计支出 {debits}，未超过上限 {cap}", en="{debits} left in {month}, within the cap of {cap}"
)
_NO_FLOOR = Sentence(
    zh="最低余额未知，无法计算 {month} 的支出上限；请在本地政策包中设置最低余额",
    en="the floor is not known, so neither is the cap of {month}; set a floor in a local policy pack",
)
_NO_ENTRIES = Sentence(
    zh="尚无任何流水，{month} 的支出未知", en="no entry was ever received, so what left in {month} is not known"
)
_FLOOR_MAY_BE_MORE = Sentence(
    zh="{month} 累计支出 {debits}，上限至少 {cap}，但流水不全，上限可能更高，无法判断",
    en="{debits} left in {month}, the cap is at least {cap} and, as statements are missing, may be more: not known",
)
_GAPS = Sentence(
    zh="{month} 已知支出 {debits}，上限 {cap}，但流水不全，无法判断",
    en="{debits} are known to have left in {month}, the cap is {cap}, but statements are missing: not known",
)
