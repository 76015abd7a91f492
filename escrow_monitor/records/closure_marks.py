"""From which day on the kept day figures of an institution are out of date: said by whoever records something of it.

    a lesson confirmed on the 9th          from the 9th on
    a charge that moves to another day     from the earlier of the two on
    a statement that joins a Friday        from the Saturday on: it explains the days between

A mark is set in the transaction that records, so none is missed; `closure_days.bring_up` takes it away again.
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date

from sqlmodel import Session

from escrow_monitor.records.bulk import Cell, is_sqlite, run, staged

EVER = date(1, 1, 1)
"""From the beginning."""


def mark_staged(session: Session, table: str, *, changed: bool) -> None:
    """Mark the institutions that the staged rows of a table tell of, before they are merged.

    `changed`: some rows of the same key are there already, which said something else.
    """
    if table in _OF_STAGED:
        least = "min" if is_sqlite(session) else "least"
        new, with_changed = _OF_STAGED[table]
        _mark(session, (with_changed if changed else new).format(least=least))


def mark_institution_days(session: Session, days: Iterable[tuple[str, date]]) -> None:
    """Mark institutions from these days on."""
    found: dict[str, date] = {}
    for uscc, day in days:
        found[uscc] = min(day, found.get(uscc, day))
    if found:
        with staged(session, "marked_days", {"uscc": str, "day": date}, sorted(found.items())):
            _mark(session, "SELECT uscc, day FROM marked_days")


def mark_account_days(session: Session, days: Collection[tuple[str, date]]) -> None:
    """Mark the holders of these accounts from these days on, and from the covered day before: the days between it and
    such a day may be explained now."""
    if not days:
        return
    first: dict[str, date] = {}
    for account_no, day in days:
        first[account_no] = min(day, first.get(account_no, day))
    with staged(session, "marked_days", {"account_no": str, "day": date}, sorted(first.items())):
        _mark(
            session,
            "SELECT a.uscc, coalesce((SELECT max(d.day) FROM account_days d WHERE d.account_no = m.account_no"
            " AND d.covered AND d.day < m.day), :ever) AS day"
            " FROM marked_days m JOIN accounts a ON a.account_no = m.account_no WHERE a.uscc IS NOT NULL",
            ever=EVER,
        )


def mark_where(session: Session, source: str, **given: Cell | list[str]) -> None:
    """Mark what a query of our own gives as `uscc, day`."""
    _mark(session, source, **given)


def _mark(session: Session, source: str, **given: Cell | list[str]) -> None:
    least = "min" if is_sqlite(session) else "least"
    run(
        session,
        "INSERT INTO institution_day_marks (uscc, from_on, version)"
        f" SELECT uscc, min(day), 1 FROM ({source}) AS marked WHERE day IS NOT NULL GROUP BY uscc"
        f" ON CONFLICT (uscc) DO UPDATE SET from_on = {least}(institution_day_marks.from_on, excluded.from_on),"
        " version = institution_day_marks.version + 1", **given,
    )


def _of_contract(table: str, day: str, *, key: str) -> tuple[str, str]:
    new = f"SELECT k.uscc, i.{day} AS day FROM incoming_{table} i JOIN contracts k ON k.contract_no = i.contract_no"
    return new, (
        f"{new} UNION ALL SELECT k.uscc, t.{day} AS day FROM incoming_{table} i JOIN {table} t ON t.{key} = i.{key}"
        " JOIN contracts k ON k.contract_no = t.contract_no"
    )


def _of_institution(table: str, day: str, *, key: str) -> tuple[str, str]:
    new = f"SELECT i.uscc, i.{day} AS day FROM incoming_{table} i"
    return new, f"{new} UNION ALL SELECT t.uscc, t.{day} FROM incoming_{table} i JOIN {table} t ON t.{key} = i.{key}"


_FAR = "'9999-12-31'"
_LESSON_DAYS = ", ".join(f"coalesce({{0}}.{column}, {_FAR})" for column in ("taught_on", "requested_on", "decided_on"))
_LATER_DAYS = ", ".join(
    f"coalesce({column}, {_FAR})" for column in ("i.decided_on", "t.decided_on", "t.silence_on")
)
# A lesson that was taught when it was, and is answered now: what was taught is as it was.
_ANSWERED = "t.taught_on = i.taught_on AND t.status <> 'cancelled' AND i.status <> 'cancelled'"
_LESSONS = (
    "SELECT k.uscc, CASE WHEN t.contract_no IS NULL THEN {{least}}({new}) WHEN {answered} THEN {{least}}({later},"
    " CASE WHEN i.decided_on IS NULL THEN coalesce(i.requested_on, {far}) ELSE {far} END)"
    " ELSE {{least}}({new}, {old}, coalesce(t.silence_on, {far})) END AS day"
    " FROM incoming_lessons i JOIN contracts k ON k.contract_no = i.contract_no"
    " LEFT JOIN lessons t ON t.contract_no = i.contract_no AND t.session_no = i.session_no"
).format(
    new=_LESSON_DAYS.format("i"), old=_LESSON_DAYS.format("t"), later=_LATER_DAYS, answered=_ANSWERED, far=_FAR,
)
_OF_STAGED = {
    # What a contract says of its fee and lessons counts from the day it was signed.
    "contracts": (
        "SELECT i.uscc, i.signed_on AS day FROM incoming_contracts i",
        "SELECT i.uscc, {least}(i.signed_on, coalesce(t.signed_on, i.signed_on)) AS day FROM incoming_contracts i"
        " LEFT JOIN contracts t ON t.contract_no = i.contract_no UNION ALL SELECT t.uscc, t.signed_on"
        " FROM incoming_contracts i JOIN contracts t ON t.contract_no = i.contract_no",
    ),
    "charges": _of_contract("charges", "paid_on", key="charge_no"),
    "lessons": (
        f"SELECT k.uscc, {{least}}({_LESSON_DAYS.format('i')}) AS day FROM incoming_lessons i"
        " JOIN contracts k ON k.contract_no = i.contract_no",
        _LESSONS,
    ),
    "refunds": _of_contract("refunds", "paid_on", key="refund_no"),
    "refund_claims": _of_contract("refund_claims", "claimed_on", key="claim_no"),
    "complaints": _of_institution("complaints", "received_on", key="complaint_no"),
    "notices": _of_institution("notices", "noticed_on", key="notice_no"),
}
