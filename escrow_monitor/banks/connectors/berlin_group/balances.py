"""From balances as Berlin Group states them to readings.

    closingBooked      -> BOOKED_CLOSING, final      interimBooked -> BOOKED_INTRADAY
    interimAvailable   -> AVAILABLE                  all others, and any that includes a credit limit, are left aside

A balance is of the bank's instant: the end of its referenceDate, else its lastChangeDateTime, else the answer. So an
answer of hours ago, given again by a machine in between, stays of hours ago. A closing of today is not final: the day
is not over.
"""

from __future__ import annotations

from escrow_monitor.banks.answer_reading import Json, Moment, check_one_voice
from escrow_monitor.banks.connectors.berlin_group.fields import amount_of
from escrow_monitor.banks.statement_reading import refused
from escrow_monitor.domain.accounts import Account, BalanceKind, Reading
from escrow_monitor.domain.statements import RefusalReason

SOURCE = "berlin_group"

_KINDS = {
    "closingBooked": BalanceKind.BOOKED_CLOSING,
    "interimBooked": BalanceKind.BOOKED_INTRADAY,
    "interimAvailable": BalanceKind.AVAILABLE,
}


def readings_of(
    balances: object, account: Account, where: str, raw_sha256: str, moment: Moment
) -> tuple[Reading, ...]:
    """The readings of one account, all or, when any of them cannot be taken, none (Refused)."""
    if not isinstance(balances, list):
        raise refused(RefusalReason.NO_BALANCE, where, "balances", "the answer states no balances")
    readings: list[Reading] = []
    for stated in balances:
        if not isinstance(stated, dict):
            raise refused(RefusalReason.MALFORMED, where, "balances", "a balance that is no object")
        kind = _balance_kind(stated, where)
        if kind is not None:
            readings.append(_reading(stated, kind, account, where, raw_sha256, moment))
    if not readings:
        raise refused(RefusalReason.NO_BALANCE, where, "balances", "no booked and no available balance among them")
    if len(readings) > 1:
        check_one_voice(readings, where)
    return tuple(readings)


def _balance_kind(stated: Json, where: str) -> BalanceKind | None:
    """What the balance is to us; None for the kinds that are left aside."""
    name = stated.get("balanceType")
    if not isinstance(name, str):
        raise refused(RefusalReason.MISSING_FIELD, where, "balanceType", "a balance of no stated kind")
    includes = stated.get("creditLimitIncluded")
    if includes is not None and includes is not False:
        return None  # money the holder may borrow is not money that is there
    return _KINDS.get(name)


def _reading(
    stated: Json, kind: BalanceKind, account: Account, where: str, raw_sha256: str, moment: Moment
) -> Reading:
    amount = amount_of(stated.get("balanceAmount"), account, where, "balanceAmount")
    day, changed = stated.get("referenceDate"), stated.get("lastChangeDateTime")
    changed_at = None if changed is None else moment.instant(changed, where, "lastChangeDateTime")
    final = kind is BalanceKind.BOOKED_CLOSING
    if day is not None:
        on, as_of = moment.day(day, where)
        if final and on == moment.today:
            kind, final = BalanceKind.BOOKED_INTRADAY, False
    elif final:
        raise refused(RefusalReason.MISSING_FIELD, where, "referenceDate", "a closing balance of no stated day")
    elif changed_at is not None:
        as_of = min(changed_at, moment.fetched_at)
        on = as_of.astimezone(moment.zone).date()
    else:
        on, as_of = moment.today, moment.fetched_at
    return Reading(
        account_no=account.account_no, kind=kind, amount=amount, on=on, as_of=as_of, fetched_at=moment.fetched_at,
        final=final, source=SOURCE, raw_sha256=raw_sha256,
    )
