"""What is known of institutions at the end of a day, gathered for their reconciliation from all rooms of the records.

Sums of contracts are made for two days at once: the day before coverage began, and the day at hand. Neither is the day
for whose end `contract_sums` keeps its own, so they are made here from the rows.
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, NamedTuple

from sqlmodel import Session

from escrow_monitor.domain.accounts import Mode
from escrow_monitor.domain.contracts import GiftPolicy
from escrow_monitor.domain.entitlement import entitled_fen
from escrow_monitor.domain.matching import match_id
from escrow_monitor.domain.reconciliation import (
    AccountSpan,
    BankEntry,
    Books,
    ChargedItem,
    ContractSpan,
    Earned,
    RefundedItem,
)
from escrow_monitor.records.bulk import Reader, fetch, from_json, staged
from escrow_monitor.records.contracts.cases import case_no_of
from escrow_monitor.records.matching.sources import (
    CHARGE_ID,
    REFUND_ID,
    SUPERVISED_SQL,
    StoredEntry,
    World,
    asked_institutions,
    entries_of,
)

MISSING_DAYS_MAX = 20
"""So many missing days an account are named."""
_DAY = timedelta(days=1)
_DOUBTS_UNCLEAR = ("ambiguous", "not_searched", "amount_differs")
"""It fits something, but not for certain or not exactly: money came, though not known for which charge or not all."""


class SeenMatch(NamedTuple):
    """A match that stands for refunds: its name, the cases it pays with what was expected of each, when the last of it
    was booked, and how much that was. Amounts above zero."""

    match_id: str
    expected_items: int
    cases: tuple[tuple[str, int], ...]
    paid_on: date
    amount_fen: int
    currency: str

    @property
    def amounts(self) -> dict[str, int]:
        """What each case got: all that went out where it is one, else what was expected of each."""
        return {self.cases[0][0]: self.amount_fen} if len(self.cases) == 1 else dict(self.cases)

    @property
    def numbers(self) -> tuple[str, ...]:
        """Under which numbers its refunds are recorded: its own, or with the case's behind it where it pays several."""
        if len(self.cases) == 1:
            return (self.match_id,)
        return tuple(f"{self.match_id}#{case_no}" for case_no, _ in self.cases)


@dataclass(slots=True, kw_only=True)
class _Account:
    account_no: str
    mode: Mode
    span: AccountSpan


@dataclass(slots=True)
class _World:
    """One world while it is gathered."""

    on: date
    accounts: list[_Account] = field(default_factory=list)
    entries: list[StoredEntry] = field(default_factory=list)
    charges: list[tuple[str, str, date, int, int | None, str | None]] = field(default_factory=list)
    refunds: list[tuple[str, str, date, int]] = field(default_factory=list)
    contracts: list[tuple[Any, ...]] = field(default_factory=list)
    lesson_days: set[date] = field(default_factory=set)

    @property
    def before(self) -> date:
        """The day before coverage began; the day at hand where it never did."""
        began = [one.span.began_on for one in self.accounts if one.span.began_on is not None]
        return min(began) - _DAY if began else self.on


def newest_common_days(session: Session, usccs: Collection[str]) -> dict[World, date | None]:
    """Of each institution and currency with contracts or supervised accounts: the last day that every account of it is
    covered. None where there is no account, or one without any statement."""
    reader = Reader(session)
    with asked_institutions(session, usccs):
        worlds: dict[World, date | None] = {
            World(*row): None for row in fetch(
                session,
                "SELECT k.uscc, k.currency FROM reconciled r JOIN institution_obligations k ON k.uscc = r.uscc UNION"
                f" SELECT a.uscc, a.currency FROM reconciled r JOIN accounts a ON a.uscc = r.uscc"
                f" AND a.purpose IN ({SUPERVISED_SQL})",
            )
        }
        for uscc, currency, day, never in fetch(
            session,
            "SELECT a.uscc, a.currency, min(s.covered_to), count(*) - count(s.covered_to) FROM reconciled r"
            f" JOIN accounts a ON a.uscc = r.uscc AND a.purpose IN ({SUPERVISED_SQL})"
            " JOIN account_states s ON s.account_no = a.account_no GROUP BY a.uscc, a.currency",
        ):
            worlds[World(uscc, currency)] = None if never else reader.on(day)
    return worlds


def account_numbers(session: Session, usccs: Collection[str]) -> dict[str, list[str]]:
    """The supervised accounts of these institutions."""
    found: dict[str, list[str]] = defaultdict(list)
    with asked_institutions(session, usccs):
        for uscc, account_no in fetch(
            session,
            "SELECT a.uscc, a.account_no FROM reconciled r JOIN accounts a ON a.uscc = r.uscc"
            f" AND a.purpose IN ({SUPERVISED_SQL}) ORDER BY a.account_no",
        ):
            found[uscc].append(account_no)
    return found


def books_of(session: Session, asked: Mapping[World, date]) -> dict[World, Books]:
    """The books of these institutions, each at the end of its day."""
    worlds = {world: _World(on) for world, on in asked.items()}
    with asked_institutions(session, {world.uscc for world in asked}):
        _add_accounts(session, worlds)
        for entry in entries_of(session):
            world = worlds.get(World(entry.uscc, entry.currency))
            if world is not None:
                world.entries.append(entry)
        rows = ((*world, one.before, one.on) for world, one in sorted(worlds.items()))
        columns = {"uscc": str, "currency": str, "before": date, "day": date}
        with staged(session, "reconciled_worlds", columns, rows):
            _add_contracts(session, worlds)
    seen = _refund_matches(session, (
        one.match for world in worlds.values() for one in world.entries if one.match is not None and one.amount_fen < 0
    ))
    sizes = _sizes(session, {
        one.match for world in worlds.values() for one in world.entries if one.match is not None
    } | {one[4] for world in worlds.values() for one in world.charges if one[4] is not None})
    parted = _taken_apart(session)
    return {world: _books(world, found, seen, sizes, parted) for world, found in worlds.items()}


def seen_refunds(session: Session, usccs: Collection[str]) -> list[SeenMatch]:
    """The matches of these institutions that stand for refunds."""
    with asked_institutions(session, usccs):
        roots = [one.match for one in entries_of(session, where="e.amount_fen < 0")]
    return sorted(_refund_matches(session, roots).values())


def recorded_refunds(session: Session, usccs: Collection[str]) -> set[str]:
    """The numbers of the refunds that are recorded under contracts of these institutions."""
    with asked_institutions(session, usccs):
        return {number for (number,) in fetch(
            session,
            "SELECT f.refund_no FROM reconciled r JOIN contracts k ON k.uscc = r.uscc"
            " JOIN refunds f ON f.contract_no = k.contract_no",
        )}


# accounts


def _add_accounts(session: Session, worlds: Mapping[World, _World]) -> None:
    reader = Reader(session)
    covered: dict[str, tuple[World, date | None]] = {}
    for uscc, currency, account_no, mode, covered_from in fetch(
        session,
        "SELECT a.uscc, a.currency, a.account_no, a.mode, s.covered_from FROM reconciled r"
        f" JOIN accounts a ON a.uscc = r.uscc AND a.purpose IN ({SUPERVISED_SQL})"
        " JOIN account_states s ON s.account_no = a.account_no ORDER BY a.account_no",
    ):
        world = World(uscc, currency)
        if world not in worlds:
            continue
        began_on = reader.day(covered_from)
        worlds[world].accounts.append(_Account(
            account_no=account_no, mode=Mode(mode), span=AccountSpan(account_no)
        ))
        if began_on is not None and began_on <= worlds[world].on:
            covered[account_no] = (world, began_on)
    columns = {"account_no": str, "first": date, "last": date}
    rows = [(no, began_on, worlds[world].on) for no, (world, began_on) in covered.items()]
    with staged(session, "reconciled_accounts", columns, rows):
        spans = _spans(session)
    for found in worlds.values():
        for one in found.accounts:
            one.span = spans.get(one.account_no, one.span)


def _spans(session: Session) -> dict[str, AccountSpan]:
    reader = Reader(session)
    closings = {row[0]: row for row in fetch(session, _CLOSINGS)}
    missing: dict[str, list[date]] = defaultdict(list)
    for account_no, day in fetch(
        session,
        "SELECT g.account_no, g.day FROM reconciled_accounts r JOIN coverage_gaps g ON g.account_no = r.account_no"
        " AND g.filled_at IS NULL AND g.day BETWEEN r.first AND r.last ORDER BY g.account_no, g.day",
    ):
        missing[account_no].append(reader.on(day))
    spans = {}
    for account_no, began_on, opening_fen, closing_on, closing_fen, stated_fen in closings.values():
        last = reader.on(closing_on)
        # What is missing after the last closing is another matter: the day itself has none.
        between = [day for day in missing[account_no] if day < last]
        spans[account_no] = AccountSpan(
            account_no=account_no, began_on=reader.on(began_on), opening_fen=opening_fen, closing_on=last,
            closing_fen=closing_fen, stated_fen=stated_fen, missing=tuple(between[:MISSING_DAYS_MAX]),
            missing_count=len(between),
        )
    return spans


_CLOSINGS = """
    SELECT n.account_no, n.first, f.opening_fen, n.closing_on, c.closing_fen, b.stated_fen
    FROM (
        SELECT r.account_no, r.first, (SELECT max(d.day) FROM account_days d WHERE d.account_no = r.account_no
            AND d.covered AND d.day BETWEEN r.first AND r.last) AS closing_on
        FROM reconciled_accounts r
    ) n
    JOIN account_days f ON f.account_no = n.account_no AND f.day = n.first
    JOIN account_days c ON c.account_no = n.account_no AND c.day = n.closing_on
    LEFT JOIN balance_breaks b ON b.account_no = n.account_no AND b.day = n.closing_on AND b.kind = 'closing'
        AND b.cleared_at IS NULL
    ORDER BY n.account_no
"""


# contracts


def _add_contracts(session: Session, worlds: Mapping[World, _World]) -> None:
    reader = Reader(session)
    for uscc, currency, *terms in fetch(session, _CONTRACTS):
        worlds[World(uscc, currency)].contracts.append(tuple(terms))
    for uscc, currency, contract_no, number, paid_on, amount_fen, match, doubt in fetch(session, _CHARGES):
        worlds[World(uscc, currency)].charges.append(
            (contract_no, f"{CHARGE_ID}{number}", reader.on(paid_on), amount_fen, match, doubt)
        )
    for uscc, currency, contract_no, number, paid_on, amount_fen in fetch(session, _REFUNDS):
        worlds[World(uscc, currency)].refunds.append((contract_no, number, reader.on(paid_on), amount_fen))
    for uscc, currency, day in fetch(session, _LESSON_DAYS):
        worlds[World(uscc, currency)].lesson_days.add(reader.on(day))


def _confirmed(day: str) -> str:
    """SQL: lesson `l` is earned by that day: taught by it, and confirmed, deemed or agreed to by silence by it."""
    return (
        f"l.taught_on <= {day} AND ((l.status IN ('confirmed', 'deemed') AND l.decided_on <= {day})"
        f" OR ((l.status = 'requested' OR (l.status = 'deemed' AND l.decided_on IS NULL)) AND l.silence_on <= {day}))"
    )


_DECIDED = "CASE WHEN l.status IN ('confirmed', 'deemed') AND l.decided_on IS NOT NULL THEN l.decided_on" \
    " ELSE l.silence_on END"
_CONTRACTS = f"""
    SELECT w.uscc, w.currency, k.contract_no, k.fee_fen, k.lessons_paid, k.lessons_gift, k.gift_policy,
        count(CASE WHEN {_confirmed("w.before")} THEN 1 END), count(CASE WHEN {_confirmed("w.day")} THEN 1 END)
    FROM reconciled_worlds w JOIN contracts k ON k.uscc = w.uscc AND k.currency = w.currency
    LEFT JOIN lessons l ON l.contract_no = k.contract_no
    GROUP BY w.uscc, w.currency, k.contract_no, k.fee_fen, k.lessons_paid, k.lessons_gift, k.gift_policy
    ORDER BY k.contract_no
"""
_LESSON_DAYS = f"""
    SELECT DISTINCT w.uscc, w.currency, CASE WHEN l.taught_on > {_DECIDED} THEN l.taught_on ELSE {_DECIDED} END
    FROM reconciled_worlds w JOIN contracts k ON k.uscc = w.uscc AND k.currency = w.currency
    JOIN lessons l ON l.contract_no = k.contract_no
    WHERE {_confirmed("w.day")} AND NOT coalesce({_confirmed("w.before")}, false)
"""
_CHARGES = f"""
    SELECT w.uscc, w.currency, c.contract_no, c.charge_no, c.paid_on, c.amount_fen,
        coalesce(m.line_no, y.line_no), d.kind
    FROM reconciled_worlds w JOIN contracts k ON k.uscc = w.uscc AND k.currency = w.currency
    JOIN charges c ON c.contract_no = k.contract_no AND c.paid_on <= w.day
    LEFT JOIN match_expected q ON q.expected_id = '{CHARGE_ID}' || c.charge_no
    LEFT JOIN matches m ON m.expected_no = q.expected_no
    LEFT JOIN match_more y ON NOT y.is_line AND y.item_no = q.expected_no
    LEFT JOIN match_doubts d ON NOT d.is_line AND d.item_no = q.expected_no
"""
_REFUNDS = """
    SELECT w.uscc, w.currency, f.contract_no, f.refund_no, f.paid_on, f.amount_fen
    FROM reconciled_worlds w JOIN contracts k ON k.uscc = w.uscc AND k.currency = w.currency
    JOIN refunds f ON f.contract_no = k.contract_no AND f.paid_on <= w.day
"""


# matches


def _refund_matches(session: Session, roots: Iterable[int | None]) -> dict[int, SeenMatch]:
    """Those of these matches that stand for refunds, with what they pay."""
    reader = Reader(session)
    asked = sorted({root for root in roots if root is not None})
    with staged(session, "reconciled_matches", {"line_no": int}, ((root,) for root in asked)):
        expected: dict[int, list[tuple[str, int]]] = defaultdict(list)
        for root, key, fen in fetch(session, _EXPECTED_OF):
            expected[root].append((key, fen))
        lines: dict[int, list[tuple[str, date, int, str]]] = defaultdict(list)
        for root, key, day, fen, currency in fetch(session, _LINES_OF):
            lines[root].append((key, reader.on(day), fen, currency))
    return {
        root: SeenMatch(
            match_id=match_id([line[0] for line in lines[root]], [key for key, _ in items]),
            expected_items=len(items), cases=tuple(sorted(_by_case(items).items())),
            paid_on=max(line[1] for line in lines[root]), amount_fen=-sum(line[2] for line in lines[root]),
            currency=lines[root][0][3],
        )
        for root, items in expected.items()
    }


def _by_case(items: Iterable[tuple[str, int]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for key, fen in items:
        found[case_no_of(key)] -= fen
    return found


_EXPECTED_OF = """
    SELECT r.line_no, e.expected_id, e.amount_fen FROM reconciled_matches r
    JOIN matches m ON m.line_no = r.line_no JOIN match_expected e ON e.expected_no = m.expected_no
    WHERE e.kind = 'refund'
    UNION ALL
    SELECT r.line_no, e.expected_id, e.amount_fen FROM reconciled_matches r
    JOIN match_more y ON y.line_no = r.line_no AND NOT y.is_line JOIN match_expected e ON e.expected_no = y.item_no
    WHERE e.kind = 'refund'
"""
_LINES_OF = """
    SELECT r.line_no, q.line_id, q.booked_on, q.amount_fen, q.currency FROM reconciled_matches r
    JOIN match_lines q ON q.line_no = r.line_no
    UNION ALL
    SELECT r.line_no, q.line_id, q.booked_on, q.amount_fen, q.currency FROM reconciled_matches r
    JOIN match_more y ON y.line_no = r.line_no AND y.is_line JOIN match_lines q ON q.line_no = y.item_no
"""


def _taken_apart(session: Session) -> set[str]:
    """The items of matches that a person took apart: they carry one reference and are not each other's all the same."""
    rows = fetch(session, "SELECT line_ids, expected_ids FROM undone_matches WHERE lifted_at IS NULL")
    return {key for row in rows for cell in row for key in from_json(cell)}


def _sizes(session: Session, roots: Collection[int]) -> Counter[int]:
    """Of how many items each of these matches is."""
    sizes = Counter(dict.fromkeys(roots, 2))
    with staged(session, "reconciled_matches", {"line_no": int}, ((root,) for root in sorted(roots))):
        for root, more in fetch(
            session,
            "SELECT r.line_no, count(*) FROM reconciled_matches r JOIN match_more y ON y.line_no = r.line_no"
            " GROUP BY r.line_no",
        ):
            sizes[root] += more
    return sizes


# put together


def _is_unclear(key: str, doubt: str | None, parted: Collection[str]) -> bool:
    return doubt in _DOUBTS_UNCLEAR and not (doubt == "amount_differs" and key in parted)


def _books(
    world: World, found: _World, seen: Mapping[int, SeenMatch], sizes: Mapping[int, int], parted: Collection[str]
) -> Books:
    spans = {one.account_no: one.span for one in found.accounts}
    entries = [one for one in found.entries if _is_within(one, spans.get(one.account_no))]
    here = Counter(one.match for one in entries if one.match is not None)
    here.update(one[4] for one in found.charges if one[4] is not None)
    here.update({root: one.expected_items for root, one in seen.items()})
    names = {number: str(root) for root, one in seen.items() for number in one.numbers}
    doubts = [one.doubt for one in entries] + [one[5] for one in found.charges]
    return Books(
        uscc=world.uscc, currency=world.currency, on=found.on,
        modes=frozenset(one.mode for one in found.accounts), accounts=tuple(one.span for one in found.accounts),
        entries=[
            BankEntry(
                entry_id=one.entry_id, on=one.counted_on, amount_fen=one.amount_fen, nature=one.nature,
                match=None if one.match is None else str(one.match),
                unclear=_is_unclear(one.entry_id, one.doubt, parted),
            )
            for one in entries
        ],
        charges=[
            ChargedItem(
                charge_id=charge_id, paid_on=paid_on, amount_fen=fen, match=None if match is None else str(match),
                unclear=_is_unclear(charge_id, doubt, parted),
            )
            for _, charge_id, paid_on, fen, match, doubt in found.charges
        ],
        refunds=[
            RefundedItem(refund_id=f"{REFUND_ID}{no}", paid_on=paid_on, amount_fen=fen, match=names.get(no))
            for _, no, paid_on, fen in found.refunds
        ],
        contracts=_contract_spans(found),
        refund_matches=frozenset(str(root) for root in seen),
        open_matches=frozenset(str(root) for root, count in here.items() if count < sizes.get(root, 2)),
        lesson_days=frozenset(found.lesson_days),
        not_searched=sum(doubt == "not_searched" for doubt in doubts),
    )


def _is_within(entry: StoredEntry, span: AccountSpan | None) -> bool:
    """Whether an entry is in the figures of a day between the account's first and its closing."""
    return (
        span is not None and span.began_on is not None and span.closing_on is not None
        and span.began_on <= entry.counted_on <= span.closing_on
    )


def _contract_spans(found: _World) -> list[ContractSpan]:
    before = found.before
    paid, gone = _by_contract(found.charges), _by_contract(found.refunds)
    spans = []
    for contract_no, fee, lessons_paid, lessons_gift, gift_policy, taught_before, taught in found.contracts:
        policy = None if gift_policy is None else GiftPolicy(gift_policy)
        earned = [
            entitled_fen(fee, count, lessons_paid=lessons_paid, lessons_gift=lessons_gift, gift_policy=policy)
            for count in (taught_before, taught)
        ]
        charged, refunded = paid.get(contract_no, ()), gone.get(contract_no, ())
        spans.append(ContractSpan(
            contract_no=contract_no,
            before=Earned(_until(charged, before), earned[0], _until(refunded, before)),
            now=Earned(_until(charged, found.on), earned[1], _until(refunded, found.on)),
            impossible=bool(refunded) and _is_impossible(charged, refunded),
        ))
    return spans


def _by_contract(rows: Sequence[tuple[Any, ...]]) -> dict[str, list[tuple[date, int]]]:
    found: dict[str, list[tuple[date, int]]] = defaultdict(list)
    for row in rows:
        found[row[0]].append((row[2], row[3]))
    return found


def _until(rows: Iterable[tuple[date, int]], day: date) -> int:
    return sum(fen for on, fen in rows if on <= day)


def _is_impossible(charged: Iterable[tuple[date, int]], refunded: Iterable[tuple[date, int]]) -> bool:
    """Whether by some day more had gone back than had been paid."""
    left = 0
    for _, _, fen in sorted([*((on, 0, fen) for on, fen in charged), *((on, 1, -fen) for on, fen in refunded)]):
        left += fen
        if left < 0:
            return True
    return False
