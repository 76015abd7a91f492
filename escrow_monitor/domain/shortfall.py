"""Whether an account holds its floor, as far as that can be said, and since when it does not.

    booked 99.00 - held 5.00 = 94.00    floor 100.00             below
    booked 120.00                       floor at least 100.00    not known: the floor may be higher
    booked  99.00                       floor at least 100.00    below, for sure
    booked 120.00 of last week          floor 100.00             not known: the balance is too old
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from escrow_monitor.domain.accounts import BalanceKind, Known, Missing, Unknown
from escrow_monitor.domain.clauses import FloorClause
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.policy import EffectivePolicy
from escrow_monitor.domain.positions import Position
from escrow_monitor.domain.requirement import Required, required_balance
from escrow_monitor.domain.timetable import change_at, changed_at, due_day, overdue_at, working_days_later

_DAY = timedelta(days=1)


class Compared(NamedTuple):
    """A balance was held against a floor, and the answer is sure.

    `balance` is what counts: booked minus held, from `stated`. `at_most`: the bank states what is held but not yet for
    that day, so it may be still less. `floor` comes from `clause`; where `required` is not complete it may be still
    more. `below_since` is the bank's time since when the balance has been below without a break, None where it is not.
    """

    balance: Money
    floor: Money
    clause: FloorClause
    stated: Known
    at_most: bool
    required: Required
    below_since: datetime | None
    recheck_at: datetime | None


class Why(StrEnum):
    """Why a balance and a floor could not be compared."""

    POLICY_MISSING = "policy_missing"
    NO_FLOOR = "no_floor"
    NEVER_STATED = "never_stated"
    TOO_OLD = "too_old"
    FLOOR_UNKNOWN = "floor_unknown"
    FLOOR_LOWER_BOUND = "floor_lower_bound"
    HELD_UNKNOWN = "held_unknown"


class NotCompared(NamedTuple):
    """It cannot be said whether the floor is held. `below_since` stays as it was: silence does not end a shortfall."""

    why: Why
    balance: Money | None
    stated: Known | None
    required: Required
    below_since: datetime | None
    recheck_at: datetime | None


FloorState: TypeAlias = Compared | NotCompared


def floor_state(position: Position, policy: EffectivePolicy, now: datetime) -> FloorState:
    """Hold the newest usable balance against the floor of its day. Raises CalendarUnknown.

    Two rules ask this of the same position, one right after the other, so the last answer is kept.
    """
    global _last
    before, law, at, state = _last
    if before is position and law is policy and at is now and state is not None:
        return state
    state = _floor_state(position, policy, now)
    _last = (position, policy, now, state)
    return state


_last: tuple[Position | None, EffectivePolicy | None, datetime | None, FloorState | None] = (None, None, None, None)


def _floor_state(position: Position, policy: EffectivePolicy, now: datetime) -> FloorState:
    due = due_day(policy, now)
    stated = usable_balance(position, policy, now, due)
    if stated is None:
        never = isinstance(position.booked, Unknown)
        return NotCompared(
            why=Why.NEVER_STATED if never else Why.TOO_OLD, balance=None, stated=None,
            # The floor of today is worth showing although there is nothing to hold against it.
            required=required_balance(position, policy, on=policy.on, due=due),
            below_since=position.below_since, recheck_at=change_at(policy),
        )
    required = required_balance(position, policy, on=stated.on, due=due)
    net, at_most = _net(position, stated)
    recheck_at = _recheck(position, policy, required, stated, now)
    floor, clause = required.amount, required.governing
    if policy.missing_pack is not None:
        why = Why.POLICY_MISSING
    elif floor is None or clause is None:
        why = Why.FLOOR_UNKNOWN if required.parts else Why.NO_FLOOR
    elif net.minor_units < floor.minor_units:
        # Unseen credits only raise the floor, unseen holds only lower the balance: it is below whatever they are.
        return Compared(
            balance=net, floor=floor, clause=clause, stated=stated, at_most=at_most, required=required,
            below_since=position.below_since or _begins(policy, stated), recheck_at=recheck_at,
        )
    elif not required.complete:
        why = Why.FLOOR_LOWER_BOUND
    elif at_most:
        why = Why.HELD_UNKNOWN
    else:
        return Compared(
            balance=net, floor=floor, clause=clause, stated=stated, at_most=False, required=required,
            below_since=None, recheck_at=recheck_at,
        )
    return NotCompared(
        why=why, balance=net, stated=stated, required=required, below_since=position.below_since, recheck_at=recheck_at
    )


def usable_balance(position: Position, policy: EffectivePolicy, now: datetime, due: date) -> Known | None:
    """The newest booked balance that is not too old, or None.

    A closing counts until the next day's is due. An intraday one counts until its own day's closing is due, and where
    the clause sets a number of hours not longer than that; past it the closing before may still count.
    """
    booked = position.booked
    if isinstance(booked, Unknown):
        return None
    if booked.kind is not BalanceKind.BOOKED_INTRADAY:
        return booked if booked.on >= due else None
    hours = policy.freshness.terms.intraday_hours_max
    if booked.on > due and (hours is None or now - booked.as_of <= timedelta(hours=hours)):
        return booked
    closing = position.closing
    return closing if isinstance(closing, Known) and closing.on >= due else None


def is_late(stated: Known, policy: EffectivePolicy, *, since: datetime, working_days: int) -> bool:
    """Whether this balance, which shows the shortfall that began at `since`, was stated after the last day to top up.

    Time alone proves nothing: a shortfall last seen before that day's end may have been topped up since.
    """
    last_day = top_up_by(policy, since, working_days=working_days)
    if last_day is None:
        # That day lies in a year nobody knows yet, and no balance has been stated in it.
        return False
    closing = stated.kind is not BalanceKind.BOOKED_INTRADAY
    return stated.on > last_day or (stated.on == last_day and closing)


def top_up_by(policy: EffectivePolicy, since: datetime, *, working_days: int) -> date | None:
    """The last day for topping up a shortfall that began at `since`; None while the calendar of its year is unknown."""
    return working_days_later(policy, since.astimezone(policy.zone).date(), working_days)


def _net(position: Position, stated: Known) -> tuple[Money, bool]:
    """Booked minus held, and whether that is only an upper bound. Where nothing was ever said of holds: the booked."""
    held = position.held
    if isinstance(held, Unknown):
        return stated.amount, held.reason is not Missing.NEVER_STATED
    if held.on < stated.on:
        return stated.amount, True
    if held.amount.minor_units <= 0:
        return stated.amount, False
    return stated.amount - held.amount, False


def _begins(policy: EffectivePolicy, stated: Known) -> datetime:
    """When a shortfall that is new began: with its balance, or with the law if that is younger than the balance."""
    changed = changed_at(policy)
    return stated.as_of if changed is None or changed <= stated.as_of else changed


def _recheck(
    position: Position, policy: EffectivePolicy, required: Required, stated: Known, now: datetime
) -> datetime | None:
    """When time alone can change the answer: the balance grows too old, the entries do, or another law begins."""
    intraday = stated.kind is BalanceKind.BOOKED_INTRADAY
    at = overdue_at(policy, stated.on - _DAY if intraday else stated.on)
    change = change_at(policy)
    if change is not None and change < at:
        at = change
    hours = policy.freshness.terms.intraday_hours_max
    if intraday and hours is not None:
        # One second more: at the very hour it still counts.
        at = min(at, stated.as_of + timedelta(hours=hours, seconds=1))
    entries_to = position.entries_to
    if required.leans_on_entries and entries_to is not None and entries_to < stated.on:
        entries_old_at = overdue_at(policy, entries_to)
        if now < entries_old_at < at:
            at = entries_old_at
    return at if at > now else None
