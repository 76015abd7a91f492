"""What is matched and what is open, of all institutions at once, for lists that are gone through page by page."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlmodel import Session

from escrow_monitor.domain.matching import BankLine, Break, BreakKind, Expected, Match, Tier
from escrow_monitor.domain.matching import break_id as break_id_of
from escrow_monitor.domain.matching import match_id as match_id_of
from escrow_monitor.records.bulk import Reader, fetch, from_json
from escrow_monitor.records.matching.decisions import BASES, StoredMatch
from escrow_monitor.records.matching.items import EXPECTED, LINES, load
from escrow_monitor.records.sorted_lists import KEY, Listing

_IN_DISTRICT = "{0} IN (SELECT d.uscc FROM institutions d WHERE d.district LIKE :district)"

MATCHES = Listing(
    key="l.line_id", source="matches m JOIN match_lines l ON l.line_no = m.line_no", holder="l.uscc",
    columns={
        KEY: ("l.line_id", str), "on": ("l.booked_on", date), "made_at": ("m.made_at", datetime),
        "residual": ("m.residual_fen", int),
    },
    fits={
        "uscc": "l.uscc = :uscc", "account_no": "l.account_no = :account_no", "tier": "m.tier = :tier",
        "district": _IN_DISTRICT.format("l.uscc"), "first": "l.booked_on >= :first", "last": "l.booked_on <= :last",
    },
)
"""Matches, each by the first of its bank lines."""

_OPEN = (
    f"(SELECT l.line_id AS item_id, 1 AS is_line, l.line_no AS item_no, l.uscc, l.account_no, l.booked_on AS on_day,"
    f" l.amount_fen AS impact_fen, '{BreakKind.UNEXPLAINED}' AS plain, l.currency AS currency"
    " FROM open_lines o JOIN match_lines l ON l.line_no = o.line_no"
    " UNION ALL SELECT e.expected_id, 0, e.expected_no, e.uscc, e.account_no, e.expected_on, -e.amount_fen,"
    f" '{BreakKind.MISSING}', e.currency"
    " FROM open_expected o JOIN match_expected e ON e.expected_no = o.expected_no)"
)
_DOUBTS = "LEFT JOIN match_doubts t ON t.item_no = x.item_no AND t.is_line = (x.is_line = 1)"

BREAKS = Listing(
    key="x.item_id", source=f"{_OPEN} x {_DOUBTS}", holder="x.uscc",
    columns={KEY: ("x.item_id", str), "on": ("x.on_day", date), "impact": ("x.impact_fen", int)},
    fits={
        "uscc": "x.uscc = :uscc", "account_no": "x.account_no = :account_no",
        "kind": "coalesce(t.kind, x.plain) = :kind", "district": _IN_DISTRICT.format("x.uscc"),
        "side_line": "x.is_line = 1", "side_expected": "x.is_line = 0",
    },
)
"""Bank lines and expected items in no match, each by its id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenItem:
    """An open item and whose it is. `account_no` None: expected on whichever account."""

    broken: Break
    uscc: str
    account_no: str | None
    currency: str


def matches_by_line(session: Session, line_ids: Sequence[str]) -> dict[str, StoredMatch]:
    """The matches that begin with these bank lines, by that line."""
    if not line_ids:
        return {}
    reader = Reader(session)
    rows = fetch(
        session, "SELECT l.line_id, m.line_no, m.expected_no, m.tier, m.residual_fen, m.made_at, m.made_by, m.reason"
        " FROM match_lines l JOIN matches m ON m.line_no = l.line_no WHERE l.line_id IN EACH(:ids)",
        ids=sorted(set(line_ids)),
    )
    lines, expected = _members(session, [(row[1], row[2]) for row in rows])
    found = {}
    for line_id, number, _, tier, residual, made_at, made_by, reason in rows:
        ours = tuple(sorted(lines[number], key=lambda line: line.line_id))
        theirs = tuple(sorted(expected[number], key=lambda one: one.expected_id))
        ids = tuple(line.line_id for line in ours), tuple(one.expected_id for one in theirs)
        found[line_id] = StoredMatch(
            match=Match(
                match_id=match_id_of(*ids), tier=Tier(tier), line_ids=ids[0], expected_ids=ids[1],
                residual_fen=residual, basis=reason or BASES.get(Tier(tier), ""),
            ),
            lines=ours, expected=theirs, made_at=reader.at(made_at), made_by=made_by,
        )
    return found


def _members(
    session: Session, matches: Sequence[tuple[int, int]]
) -> tuple[dict[int, list[BankLine]], dict[int, list[Expected]]]:
    """The items of each match, by the number of its first line."""
    lines: dict[int, list[BankLine]] = defaultdict(list)
    expected: dict[int, list[Expected]] = defaultdict(list)
    numbers = _listed(first for first, _ in matches)
    more = fetch(session, f"SELECT is_line, item_no, line_no FROM match_more WHERE line_no IN ({numbers})")
    of_line = {first: first for first, _ in matches} | {item: first for is_line, item, first in more if is_line}
    of_item = {item: first for first, item in matches} | {item: first for is_line, item, first in more if not is_line}
    for number, line in load(session, LINES, _listed(of_line)):
        lines[of_line[number]].append(line)
    for number, one in load(session, EXPECTED, _listed(of_item)):
        expected[of_item[number]].append(one)
    return lines, expected


def _listed(numbers: Iterable[int]) -> str:
    """Numbers of ours as SQL: a reading session has no table of its own to put them in."""
    return ", ".join(str(int(number)) for number in sorted(numbers)) or "NULL"


def open_items(session: Session, item_ids: Sequence[str]) -> dict[str, OpenItem]:
    """These items, as far as they are open, by id."""
    if not item_ids:
        return {}
    reader = Reader(session)
    rows = fetch(
        session, "SELECT x.item_id, x.is_line, x.uscc, x.account_no, x.on_day, x.impact_fen,"
        f" coalesce(t.kind, x.plain), t.near, x.currency FROM {_OPEN} x {_DOUBTS} WHERE x.item_id IN EACH(:ids)",
        ids=sorted(set(item_ids)),
    )
    return {
        row[0]: OpenItem(
            broken=Break(
                break_id=break_id_of(row[0], is_line=bool(row[1])), kind=BreakKind(row[6]), item_id=row[0],
                is_line=bool(row[1]), on=reader.on(row[4]), impact_fen=row[5],
                near=tuple(from_json(row[7])) if row[7] else (),
            ),
            uscc=row[2], account_no=row[3], currency=row[8],
        )
        for row in rows
    }

