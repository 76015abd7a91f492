"""Which rows a list shows next: those that fit, in the order that was asked for, after the one shown last."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from sqlmodel import Session

from alerts.alert import Severity
from escrow_monitor.domain.findings import Standing
from escrow_monitor.domain.visibility import EVERYTHING, Visible
from escrow_monitor.records.alerts.alarms import RANK
from escrow_monitor.records.bulk import Reader, fetch, is_sqlite
from escrow_monitor.records.visible import conditions

Value = str | int | date | datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One noun: its key, where its rows come from, and by which columns (name: SQL and type) they may be sorted.

    `fits` are the filters: the SQL of each by its name, bound to a value of that name.
    """

    key: str
    source: str
    holder: str
    columns: Mapping[str, tuple[str, type]]
    fits: Mapping[str, str]
    always: str = "true"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sort:
    """By one column, upwards or downwards, and by the key where it is equal; what has no value comes last both ways."""

    by: str
    down: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The row that was shown last: its key, and what it is sorted by."""

    key: str
    value: Value = None


def places(
    session: Session, listing: Listing, sort: Sort, *, given: Mapping[str, Any], after: Place | None, limit: int,
    visible: Visible = EVERYTHING,
) -> list[Place]:
    """At most `limit` rows that fit all of `given` (a None leaves a filter out), each by its key and sorted value."""
    column, kind = listing.columns[sort.by]
    wanted = {name: value for name, value in given.items() if value is not None}
    where, values = conditions(visible, uscc=listing.holder)
    like = "LIKE" if is_sqlite(session) else "ILIKE"
    where += [listing.always, *(listing.fits[name].replace("~~", like) for name in wanted)]
    if after is not None:
        condition, bound = _after(listing.key, column, sort, after)
        where.append(condition)
        values |= bound
    way = " DESC" if sort.down else ""
    order = f"{column}{way}" if sort.by == KEY else f"({column} IS NULL), {column}{way}, {listing.key}{way}"
    rows = fetch(
        session,
        f"SELECT {listing.key}, {column} FROM {listing.source} WHERE {' AND '.join(where)} ORDER BY {order}"
        " LIMIT :limit",
        limit=limit, **{name: value for name, value in wanted.items() if f":{name}" in listing.fits[name]}, **values,
    )
    read = _reading(session, kind)
    return [Place(key=str(row[0]), value=read(row[1])) for row in rows]


def _after(key: str, column: str, sort: Sort, after: Place) -> tuple[str, dict[str, Any]]:
    further = "<" if sort.down else ">"
    if sort.by == KEY:
        return f"{key} {further} :after_key", {"after_key": after.key}
    if after.value is None:
        return f"({column} IS NULL AND {key} {further} :after_key)", {"after_key": after.key}
    return (
        f"({column} {further} :after_value OR {column} IS NULL OR ({column} = :after_value AND {key} {further}"
        " :after_key))",
        {"after_key": after.key, "after_value": after.value},
    )


def _reading(session: Session, kind: type) -> Callable[[Any], Value]:
    reader = Reader(session)
    if kind is datetime:
        return reader.instant
    return reader.day if kind is date else lambda cell: cell


def begins(code: str | None) -> str | None:
    """The pattern of all districts that begin so: a city's code stands for all of it."""
    return None if code is None else f"{code}%"


def part(text: str | None) -> str | None:
    """The pattern of all texts that hold this one."""
    return None if text is None else "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"


KEY: Final = "key"
_DISTRICT = "{0} LIKE :district"
_BREACHED = (
    "SELECT b.uscc FROM account_standings w JOIN accounts b ON b.account_no = w.account_no"
    f" WHERE w.standing = '{Standing.BREACHED}' AND b.uscc IS NOT NULL"
)
_NOT_MET = (
    "SELECT 1 FROM accounts b JOIN account_standings w ON w.account_no = b.account_no WHERE b.uscc = i.uscc"
    f" AND w.standing <> '{Standing.MET}'"
)
_HAS = "SELECT 1 FROM accounts b WHERE b.uscc = i.uscc"
STANDS = {
    Standing.BREACHED: f"i.uscc IN ({_BREACHED})",
    Standing.MET: f"EXISTS ({_HAS}) AND NOT EXISTS ({_NOT_MET})",
    Standing.UNKNOWN: f"i.uscc NOT IN ({_BREACHED}) AND (EXISTS ({_NOT_MET}) OR NOT EXISTS ({_HAS}))",
}
"""That an institution stands so: as the worst of its accounts; without one it is unknown."""


def _alarmed(severity: Severity) -> str:
    worse = ", ".join(f"'{each}'" for each in Severity if each.rank > severity.rank)
    holders = "SELECT x.uscc FROM alerts x WHERE x.status = 'open' AND x.uscc IS NOT NULL AND x.severity"
    return f"i.uscc IN ({holders} = '{severity}')" + (f" AND i.uscc NOT IN ({holders} IN ({worse}))" if worse else "")


INSTITUTIONS = Listing(
    key="i.uscc", source="institutions i", holder="i.uscc",
    columns={
        KEY: ("i.uscc", str), "name": ("i.name", str), "district": ("i.district", str), "status": ("i.status", str),
        "licence_expires_on": ("i.licence_expires_on", date),
    },
    fits={
        "district": _DISTRICT.format("i.district"), "kind": "i.kind = :kind", "status": "i.status = :status",
        "policy": "i.policy = :policy",
        "text": "(i.name ~~ :text ESCAPE '\\' OR i.uscc ~~ :text ESCAPE '\\')",
        **{f"standing_{standing}": condition for standing, condition in STANDS.items()},
        **{f"level_{severity}": _alarmed(severity) for severity in Severity},
    },
)
ACCOUNTS = Listing(
    key="a.account_no", holder="a.uscc",
    source="accounts a JOIN account_standings t ON t.account_no = a.account_no",
    columns={
        KEY: ("a.account_no", str), "balance": ("t.balance_fen", int), "required": ("t.required_fen", int),
        "margin": ("(t.balance_fen - t.required_fen)", int), "bank": ("a.bank", str), "uscc": ("a.uscc", str),
        "below_since": ("t.below_since", datetime), "checked_at": ("t.checked_at", datetime),
    },
    fits={
        "standing": "t.standing = :standing", "level": "t.level = :level", "bank": "a.bank = :bank",
        "district": _DISTRICT.format("t.district"), "uscc": "a.uscc = :uscc", "purpose": "a.purpose = :purpose",
        "mode": "a.mode = :mode",
    },
)
ALERTS = Listing(
    key="a.alert_id", source="alerts a", holder="a.uscc", always="a.status = 'open'",
    columns={
        KEY: ("a.alert_id", str), "severity": (RANK.replace("severity", "a.severity"), int),
        "opened_at": ("a.opened_at", datetime), "seen_at": ("a.seen_at", datetime), "rule": ("a.rule", str),
    },
    fits={
        "severity": "a.severity = :severity", "rule": "a.rule = :rule", "uscc": "a.uscc = :uscc",
        "account_no": "a.account_no = :account_no", "bank": "a.bank = :bank", "standing": "a.standing = :standing",
        "district": _DISTRICT.format("a.district"),
    },
)
CASES = Listing(
    key="k.case_no", holder="t.uscc",
    source="cases k JOIN refund_claims c ON c.claim_no = k.case_no JOIN contracts t ON t.contract_no = c.contract_no",
    columns={
        KEY: ("k.case_no", str), "claimed_on": ("c.claimed_on", date), "changed_at": ("k.changed_at", datetime),
        "opened_at": ("k.opened_at", datetime), "claimed": ("c.amount_fen", int), "state": ("k.state", str),
    },
    fits={
        "state": "k.state = :state", "uscc": "t.uscc = :uscc", "contract_no": "c.contract_no = :contract_no",
        "district": "t.uscc IN (SELECT d.uscc FROM institutions d WHERE " + _DISTRICT.format("d.district") + ")",
    },
)
OUTLOOKS = Listing(
    key="s.uscc", source="closure_states s", holder="s.uscc",
    columns={
        # The level first, then the likeliest.
        "level": ("(s.held * 10000000 + s.chance_ppm)", int), "exposed": ("s.exposed_fen", int), KEY: ("s.uscc", str),
    },
    fits={
        "least": "s.held >= :least",
        "district": "s.uscc IN (SELECT d.uscc FROM institutions d WHERE " + _DISTRICT.format("d.district") + ")",
    },
)
CONTRACTS = Listing(
    key="t.contract_no", source="contracts t", holder="t.uscc",
    columns={
        KEY: ("t.contract_no", str), "signed_on": ("t.signed_on", date), "starts_on": ("t.starts_on", date),
        "uscc": ("t.uscc", str), "fee": ("t.fee_fen", int),
    },
    fits={
        "uscc": "t.uscc = :uscc", "status": "t.status = :status",
        "district": "t.uscc IN (SELECT d.uscc FROM institutions d WHERE " + _DISTRICT.format("d.district") + ")",
    },
)
