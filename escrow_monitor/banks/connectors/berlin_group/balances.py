"""From balances as Berlin Group states them to readings.

    closingBooked      -> BOOKED_CLOSING, final      interimBooked -> BOOKED_INTRADAY
    interimAvailable   -> AVAILABLE                  all others, and any that includes a credit limit, are left aside

A balance is of the bank's instant: the end of its referenceDate, else its lastChangeDateTime, else the answer. So an
answer of hours ago, given again by a machine in between, stays of hours ago. A closing of today is not final: the day
is not over.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TypeAlias

from escrow_monitor.banks.answer_reading import Json, Moment, check_one_voice
from escrow_monitor.banks.connectors.berlin_group.fields import amount_of
from escrow_monitor.banks.statement_reading import refused
from escrow_monitor.domain.accounts import Account, BalanceKind, Reading
from escrow_monitor.domain.statements import RefusalReason

SOURCE = "berlin_group"

_Dated: TypeAlias = tuple[BalanceKind, bool, date, datetime]

_KINDS = {
    "closingBooked": BalanceKind.BOOKED_CLOSING,
    "interimBooked": BalanceKind.BOOKED_INTRADAY,
    "interimAvailable": BalanceKind.AVAILABLE,
}


class BalanceReader:
    """Reads the balances of one answer. It remembers what it made of times: the accounts of one answer share them."""

    def __init__(self, moment: Moment, raw_sha256: str) -> None:
        self._moment = moment
        self._raw_sha256 = raw_sha256
        self._dated: dict[tuple[BalanceKind, object, object], _Dated] = {}

    def readings_of(self, balances: object, account: Account, where: str) -> tuple[Reading, ...]:
        """The readings of one account, all or, when any of them cannot be taken, none (Refused)."""
        if not isinstance(balances, list):
            raise refused(RefusalReason.NO_BALANCE, where, "balances", "the answer states no balances")
        readings: list[Reading] = []
        for stated in balances:
            if not isinstance(stated, dict):
                raise refused(RefusalReason.MALFORMED, where, "balances", "a balance that is no object")
            kind = _balance_kind(stated, where)
            if kind is not None:
                readings.append(self._reading(stated, kind, account, where))
        if not readings:
            raise refused(RefusalReason.NO_BALANCE, where, "balances", "no booked and no available balance among them")
        if len(readings) > 1:
            check_one_voice(readings, where)
        return tuple(readings)

    def _reading(self, stated: Json, kind: BalanceKind, account: Account, where: str) -> Reading:
        amount = amount_of(stated.get("balanceAmount"), account, where, "balanceAmount")
        day, changed = stated.get("referenceDate"), stated.get("lastChangeDateTime")
        try:
            dated = self._dated[kind, day, changed]
        except (KeyError, TypeError):  # the first of its kind, or a list where a date should be
            dated = self._dated[kind, day, changed] = _dated(kind, day, changed, where, self._moment)
        kind, final, on, as_of = dated
        # In the order of the fields: by name this takes twice as long, and a sweep makes hundreds of thousands.
        return Reading(
            account.account_no, kind, amount, on, as_of, self._moment.fetched_at, final, SOURCE, self._raw_sha256
        )


def _balance_kind(stated: Json, where: str) -> BalanceKind | None:
    """What the balance is to us; None for the kinds that are left aside."""
    name = stated.get("balanceType")
    if not isinstance(name, str):
        raise refused(RefusalReason.MISSING_FIELD, where, "balanceType", "a balance of no stated kind")
    includes = stated.get("creditLimitIncluded")
    if includes is not None and includes is not False:
        return None  # money the holder may borrow is not money that is there
    return _KINDS.get(name)


def _dated(kind: BalanceKind, day: object, changed: object, where: str, moment: Moment) -> _Dated:
    """What a balance is by its time: kind, whether final, its day and its instant."""
    changed_at = None if changed is None else moment.instant(changed, where, "lastChangeDateTime")
    final = kind is BalanceKind.BOOKED_CLOSING
    if day is not None:
        on, as_of = moment.day(day, where)
        if final and on == moment.today:
            return BalanceKind.BOOKED_INTRADAY, False, on, as_of
    elif final:
        raise refused(RefusalReason.MISSING_FIELD, where, "referenceDate", "a closing balance of no stated day")
    elif changed_at is not None:
        as_of = min(changed_at, moment.fetched_at)
        on = as_of.astimezone(moment.zone).date()
    else:
        on, as_of = moment.today, moment.fetched_at
    return kind, final, on, as_of
