"""The balance must not fall below the floor (R01)."""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction
from functools import lru_cache
from typing import TypeAlias

from escrow_monitor.domain.accounts import BalanceKind, Known, Purpose, Unknown
from escrow_monitor.domain.calendar import CalendarUnknown
from escrow_monitor.domain.findings import Finding, Level, Sentence, Standing, Value, account_subject
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.policy import EffectivePolicy
from escrow_monitor.domain.positions import Position
from escrow_monitor.domain.shortfall import Compared, NotCompared, Why, floor_state, is_late, top_up_by
from escrow_monitor.domain.timetable import calendar_unknown

RULE = "floor"
NOT_STATED = "not stated"

Steps: TypeAlias = tuple[tuple[int, int, Level], ...]


def examine(position: Position, policy: EffectivePolicy, now: datetime) -> tuple[Finding, ...]:
    """Hold booked minus held against the largest floor clause.

    Values, unless the calendar is unknown: `balance` and `required` (Money or None), `complete` (False: the floor is at
    least that), `since` (the bank's time since when it is below, or None), `clause` and `verified` (or None), `held`.
    An account that is neither escrow nor deposit and that no clause speaks of has no floor and no finding.
    """
    subject = account_subject(position.account.account_no)
    try:
        state = floor_state(position, policy, now)
    except CalendarUnknown as unknown:
        return (calendar_unknown(unknown, rule=RULE, subject=subject, now=now),)
    if isinstance(state, NotCompared):
        if state.why is Why.NO_FLOOR and position.account.purpose is Purpose.SETTLEMENT:
            return ()
        return (_not_known(state, policy, position, subject, now),)
    if state.below_since is None:
        return (_holds(state, policy, position, subject),)
    return (_below(state, policy, position, subject, since=state.below_since),)


def quiet_from(position: Position, policy: EffectivePolicy, now: datetime) -> Money | None:
    """From which booked balance on, of the same kind and day, this rule concludes the same and nobody need hear of it.

    To be asked of a position that `examine` found to be met. None where nothing of the kind can be said: the balance
    that counts is not the newest, something is held, its age in hours counts, the floor leans on sums over contracts
    (other accounts of the institution may cover them), or other accounts may count on this one for theirs.
    """
    try:
        state = floor_state(position, policy, now)
    except CalendarUnknown:
        return None
    if isinstance(state, NotCompared) or state.below_since is not None or state.stated is not position.booked:
        return None
    if state.balance.minor_units != state.stated.amount.minor_units:
        return None
    intraday = state.stated.kind is BalanceKind.BOOKED_INTRADAY
    if intraday and policy.freshness.terms.intraday_hours_max is not None:
        return None
    if any(part.obligation_fen is not None for part in state.required.parts):
        return None
    if position.obligations is not None and position.obligations.others:
        return None
    floor = state.floor.minor_units
    numerator, denominator, _mildest = _steps(policy)[1][-1]
    return Money(max(floor, -(-floor * numerator // denominator)), state.floor.currency)


def _holds(state: Compared, policy: EffectivePolicy, position: Position, subject: str) -> Finding:
    balance, floor = state.balance.minor_units, state.floor.minor_units
    opens_at, eases_at = _steps(policy)
    values = _values(state, position)
    level, sentence = None, _HOLDS
    holds = _level(balance, floor, eases_at)
    if holds is not None:
        level = _level(balance, floor, opens_at)
        values["coverage"] = Fraction(balance, floor)
        values["spare"] = state.balance - state.floor
    if level is not None:
        values["stated_on"] = state.stated.on
        sentence = _narrowly(_which(state), state.clause.title, state.clause.basis, _owed(state, values))
    return Finding(
        rule=RULE, subject=subject, standing=Standing.MET, sentence=sentence, as_of=state.stated.as_of, level=level,
        holds=holds, values=values, recheck_at=state.recheck_at,
    )


def _below(
    state: Compared, policy: EffectivePolicy, position: Position, subject: str, *, since: datetime
) -> Finding:
    balance, floor = state.balance.minor_units, state.floor.minor_units
    opens_at, eases_at = _steps(policy)
    # Below a floor of nothing the account is overdrawn, and coverage has no meaning.
    level = (_level(balance, floor, opens_at) or Level.YELLOW) if floor else Level.RED
    grace = policy.red_after_working_days
    if grace is not None and is_late(state.stated, policy, since=since, working_days=grace):
        level = Level.RED
    eased = _level(balance, floor, eases_at)
    values = _values(state, position)
    values["since"] = since.astimezone(policy.zone)
    values["shortfall"] = state.floor - state.balance
    values["coverage"] = Fraction(balance, floor) if floor else None
    values["stated_on"] = state.stated.on
    by, day_basis = None, None
    if policy.top_up is not None:
        by = top_up_by(policy, since, working_days=policy.top_up.terms.working_days)
        day_basis = None if by is None else policy.top_up.basis
    values["top_up_by"] = by
    return Finding(
        rule=RULE, subject=subject, standing=Standing.BREACHED, as_of=state.stated.as_of, level=level,
        holds=level if eased is None or eased.rank < level.rank else eased,
        sentence=_short(
            which=_which(state), at_most=state.at_most, at_least=not state.required.complete,
            title=state.clause.title, basis=state.clause.basis,
            day_basis=day_basis, owed=_owed(state, values),
        ),
        values=values, recheck_at=state.recheck_at,
    )


def _not_known(
    state: NotCompared, policy: EffectivePolicy, position: Position, subject: str, now: datetime
) -> Finding:
    values = _values(state, position)
    values["bank"] = position.account.bank
    values["jurisdiction"] = policy.jurisdiction
    values["on"] = policy.on
    values["pack"] = policy.missing_pack
    booked = position.booked
    values["stated_on"] = booked.on if isinstance(booked, Known) else None
    sentence = _UNKNOWN[state.why]
    if state.why is Why.FLOOR_UNKNOWN or state.why is Why.FLOOR_LOWER_BOUND:
        part = next(part for part in state.required.parts if not part.complete)
        sentence = _because(sentence, part.sentence)
        values.update(part.values)
    return Finding(
        rule=RULE, subject=subject, standing=Standing.UNKNOWN, sentence=sentence, values=values,
        as_of=now if state.stated is None else state.stated.as_of, recheck_at=state.recheck_at,
    )


def _owed(state: Compared, values: dict[str, Value]) -> Sentence | None:
    """How the floor follows from what families are owed, where it does; its figures are put to the others."""
    part = next(part for part in state.required.parts if part.clause is state.clause)
    if part.obligation_fen is None:
        return None
    values.update(part.values)
    return part.sentence


def _values(state: Compared | NotCompared, position: Position) -> dict[str, Value]:
    held, clause = position.held, state.required.governing
    return {
        "balance": state.balance,
        "required": state.required.amount,
        "complete": state.required.complete,
        "since": state.below_since,
        "held": NOT_STATED if isinstance(held, Unknown) else held.amount,
        "clause": None if clause is None else clause.id,
        "verified": None if clause is None else clause.verified,
    }


@lru_cache(maxsize=4096)
def _steps(policy: EffectivePolicy) -> tuple[Steps, Steps]:
    """Worst first: coverage below numerator/denominator is that level. For opening, and with the margin for easing."""
    ladder = policy.ladder
    marks = ((ladder.red_below, Level.RED), (ladder.orange_below, Level.ORANGE), (ladder.yellow_below, Level.YELLOW))
    opens = tuple((mark.numerator, mark.denominator, level) for mark, level in marks)
    wider = ((mark + ladder.margin, level) for mark, level in marks)
    return opens, tuple((mark.numerator, mark.denominator, level) for mark, level in wider)


def _level(balance: int, floor: int, steps: Steps) -> Level | None:
    numerator, denominator, _mildest = steps[-1]
    if balance * denominator >= floor * numerator:
        return None
    return next(level for numerator, denominator, level in steps if balance * denominator < floor * numerator)


def _which(state: Compared) -> tuple[bool, bool]:
    return state.stated.kind is BalanceKind.BOOKED_INTRADAY, state.stated.final


@lru_cache(maxsize=1024)
def _short(
    *, which: tuple[bool, bool], at_most: bool, at_least: bool, title: Sentence, basis: Sentence,
    day_basis: Sentence | None, owed: Sentence | None,
) -> Sentence:
    """What is wrong, since when, how sure, and what can be done: one sentence, put together once a combination."""
    zh_kind, en_kind = _KINDS[which]
    zh_most, en_most = ("至多", "at most ") if at_most else ("", "")
    zh_least, en_least = ("至少", "at least ") if at_least else ("", "")
    zh_known, en_known = _MORE[owed is not None] if at_least else ("", "")
    zh_owed, en_owed = ("", "") if owed is None else (f"；{owed.zh}", f" [{owed.en}]")
    zh_by = en_by = ""
    if day_basis is not None:
        # The floor may be law and the day by which to top up a default of ours: each carries its own basis.
        zh_by = f"于 {{top_up_by}} 日终前（{_plain(day_basis.zh)}）"
        en_by = f" by the end of {{top_up_by}} ({_plain(day_basis.en)})"
    return Sentence(
        zh=f"余额{zh_most} {{balance}}（{zh_kind}，{{stated_on}}），低于最低余额{zh_least} {{required}}{zh_known}，"
        f"为其 {{coverage}}，自 {{since}} 起不足；依据：{_plain(title.zh)}（{_plain(basis.zh)}）{zh_owed}；"
        f"请{zh_by}补足 {{shortfall}}，或由银行、机构更正数据",
        en=f"holds {en_most}{{balance}} ({en_kind} of {{stated_on}}), the floor is {en_least}{{required}}{en_known}: "
        f"{{coverage}} of it, below since {{since}}; by {_plain(title.en)} ({_plain(basis.en)}){en_owed}; "
        f"pay in {{shortfall}}{en_by}, or have the bank or the institution correct the figures",
    )


@lru_cache(maxsize=1024)
def _narrowly(which: tuple[bool, bool], title: Sentence, basis: Sentence, owed: Sentence | None) -> Sentence:
    zh_kind, en_kind = _KINDS[which]
    zh_owed, en_owed = ("", "") if owed is None else (f"；{owed.zh}", f" [{owed.en}]")
    return Sentence(
        zh=f"余额 {{balance}}（{zh_kind}，{{stated_on}}）仅为最低余额 {{required}} 的 {{coverage}}，只多出 {{spare}}；"
        f"依据：{_plain(title.zh)}（{_plain(basis.zh)}）{zh_owed}；请在低于最低余额之前补充资金",
        en=f"holds {{balance}} ({en_kind} of {{stated_on}}), only {{coverage}} of the floor of {{required}}, "
        f"{{spare}} to spare; by {_plain(title.en)} ({_plain(basis.en)}){en_owed}; pay in before it falls below",
    )


@lru_cache(maxsize=1024)
def _because(sentence: Sentence, reason: Sentence) -> Sentence:
    return Sentence(zh=sentence.zh + reason.zh, en=sentence.en + reason.en)


def _plain(text: str) -> str:
    """A pack's text inside a sentence: its braces are not ours to fill."""
    return text.replace("{", "{{").replace("}", "}}")


_KINDS = {
    (False, True): ("日终记账余额，已最终确认", "final closing booked balance"),
    (False, False): ("日终记账余额，尚未最终确认", "closing booked balance, not yet final"),
    (True, True): ("日间记账余额，已最终确认", "final intraday booked balance"),
    (True, False): ("日间记账余额，尚未最终确认", "intraday booked balance, not yet final"),
}
_MORE = {
    False: ("（期间流水不全，实际要求可能更高）", " (statements are missing, it may be more)"),
    True: ("（数据不全，实际要求可能更高）", " (it may be more)"),
}
_HOLDS = Sentence(zh="余额 {balance}，最低余额 {required}", en="holds {balance}, the floor is {required}")
_UNKNOWN = {
    Why.NEVER_STATED: Sentence(
        zh="{bank} 从未提供记账余额，无法判断是否满足最低余额；请核实账户接口",
        en="{bank} has never stated a booked balance, so whether the floor is held is not known; check the connection",
    ),
    Why.TOO_OLD: Sentence(
        zh="{bank} 最近的记账余额为 {stated_on}，已过期，无法判断是否满足最低余额；请取得新的余额",
        en="the newest booked balance from {bank} is of {stated_on}, too old to count, so whether the floor is held is "
        "not known; obtain a newer one",
    ),
    Why.POLICY_MISSING: Sentence(
        zh="余额 {balance}，但机构登记的政策包 {pack} 未加载，最低余额未知；请加载该政策包或更正登记",
        en="holds {balance}, but the policy pack {pack} that the institution is registered under is not loaded, so its "
        "floor is not known; load it or correct the register",
    ),
    Why.NO_FLOOR: Sentence(
        zh="余额 {balance}，但 {on} 在 {jurisdiction} 没有生效的最低余额条款，无法判断；请在本地政策包中设置",
        en="holds {balance}, but no floor clause is in force in {jurisdiction} on {on}, so there is nothing to hold it "
        "against; set one in a local policy pack",
    ),
    Why.HELD_UNKNOWN: Sentence(
        zh="余额至多 {balance}，最低余额 {required}；银行尚未提供 {stated_on} 的冻结金额，无法判断",
        en="holds at most {balance}, the floor is {required}; what is held on {stated_on} is not stated yet, so "
        "whether the floor is held is not known",
    ),
    Why.FLOOR_UNKNOWN: Sentence(
        zh="余额 {balance}，最低余额未知，无法判断：", en="holds {balance}, the floor is not known: "
    ),
    Why.FLOOR_LOWER_BOUND: Sentence(
        zh="余额 {balance}，最低余额至少 {required}，是否满足未知：",
        en="holds {balance}, the floor is at least {required}, so whether it is held is not known: ",
    ),
}
