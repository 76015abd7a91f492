"""Matching in the database: what is plain by set-based SQL, what hangs together by the pure engine, the same result.

    of one reference and amount, one line and one item     SQL, joined by a 64-bit key, compared in full
    all of a reference ties, no two amounts are the same   SQL
    the rest of a reference that both sides carry          `domain.matching`, a reference at a time
    the same or nearly the same amount, nothing else near  SQL: neither of the two has another candidate
    the rest                                               `domain.matching`, all that hangs together at once

A pair that has no other candidate at all is in every solution, and to take it changes nothing for anybody else: that is
why it may be taken first. `match_all` looks at everything that is open; `match_new` at what is new since the last run
and at what that touches; `match_institutions` at a few institutions.
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from sqlmodel import Session

from escrow_monitor.domain.matching import (
    BASIS_POINTS,
    BankLine,
    Base,
    BreakKind,
    Expected,
    Match,
    Matching,
    MatchPolicy,
    Tier,
    match,
)
from escrow_monitor.records.bulk import as_json, fetch, insert, is_sqlite, run, staged
from escrow_monitor.records.matching.decisions import forget, undone
from escrow_monitor.records.matching.items import (
    EXPECTED,
    HALVES,
    LINES,
    Half,
    Item,
    Side,
    add,
    load,
    new_and_changed,
    one_at_a_time,
    temporary,
)

WHOLE_SHARE = 4
"""If more than one in so many open items is new, all are looked at: that is faster than to find what they touch."""
PAIR = "e.pair_key = l.pair_key AND e.reference_check = l.reference_check AND e.size_fen = l.size_fen"
"""The same reference and amount, compared in full: the key is of 64 bits, with the check there are 128."""
ACCOUNT = "(e.account_key IS NULL OR e.account_key = l.account_key)"
PLAIN = frozenset({BreakKind.UNEXPLAINED, BreakKind.MISSING})


@dataclass(slots=True)
class MatchRun:
    """What a run did: matches made by tier, and how much is open after it."""

    made: Counter[str] = field(default_factory=Counter)
    open_lines: int = 0
    open_expected: int = 0


def record_items(
    session: Session, *, lines: Iterable[BankLine] = (), expected: Iterable[Expected] = (), now: datetime
) -> int:
    """Take in bank lines and expected items; return how many are new or changed.

    Known ones that did not change are left alone. One that changed is taken out of its match, which is then not made
    again by itself unless it is right again.
    """
    one_at_a_time(session)
    return _record(session, LINES, lines, now) + _record(session, EXPECTED, expected, now)


def withdraw_items(
    session: Session, *, line_ids: Sequence[str] = (), expected_ids: Sequence[str] = (), now: datetime
) -> None:
    """Forget items that are no more, e.g. entries that a correction did not repeat. Their matches are taken apart."""
    one_at_a_time(session)
    forget(session, LINES, line_ids, now=now, reason="a bank line of it was withdrawn")
    forget(session, EXPECTED, expected_ids, now=now, reason="an expected item of it was withdrawn")


def match_all(session: Session, policy: MatchPolicy, *, now: datetime) -> MatchRun:
    """Match everything that is open."""
    one_at_a_time(session)
    for table in ("match_pending", "match_doubts"):
        run(session, f"DELETE FROM {table}")
    with ExitStack() as kept:
        made = _Run(session, policy, now, kept.enter_context(undone(session)), whole=True)
        kept.enter_context(made.exact_pairs("open_lines l JOIN open_expected e"))
        for half in HALVES:
            kept.enter_context(temporary(session, half.left_table, _left(half), index=("reference_key", "pair_key")))
        made.totals()
        made.references("SELECT reference_key FROM left_lines WHERE reference_key IS NOT NULL")
        for half in HALVES:
            kept.enter_context(
                temporary(session, half.free_table, _free(half), index=("house_key, size_fen, day", half.number))
            )
        made.lone_pairs(Tier.AMOUNT)
        if policy.tolerates:
            made.lone_pairs(Tier.TOLERANCE)
        made.hanging()
        for half in HALVES:
            made.close_matched(half)
        return made.result()


def match_new(session: Session, policy: MatchPolicy, *, now: datetime) -> MatchRun:
    """Match what is new or open again, and what that touches.

    With groups that is all that is open at the institutions of it: a policy without groups touches far less.
    """
    one_at_a_time(session)
    pending = int(run(session, "SELECT count(*) FROM match_pending").scalar_one())
    everything = sum(
        int(run(session, f"SELECT count(*) FROM {side.open_table}").scalar_one()) for side in HALVES
    )
    if pending * WHOLE_SHARE > everything:
        return match_all(session, policy, now=now)
    if policy.group_items_max > 1:
        usccs = " UNION ".join(
            f"SELECT s.uscc FROM match_pending p JOIN {half.table} s ON s.{half.number} = p.item_no"
            f" WHERE {_IS_LINE[half.is_line]}" for half in HALVES
        )
        return match_institutions(session, policy, [uscc for (uscc,) in fetch(session, usccs)], now=now)[0]
    with undone(session) as apart, temporary(session, "pending", "SELECT is_line, item_no FROM match_pending"):
        made = _Run(session, policy, now, apart, whole=False)
        run(session, "DELETE FROM match_pending")
        asked = " UNION ".join(_of_pending(half) for half in HALVES)
        with temporary(session, "asked", asked):
            touched = made.touched()
            with made.exact_pairs(
                "(SELECT DISTINCT pair_key FROM asked) q JOIN open_lines l ON l.pair_key = q.pair_key"
                " JOIN open_expected e"
            ):
                pass
            made.references("SELECT reference_key FROM asked WHERE reference_key IS NOT NULL")
        made.nearby(touched)
        return made.result()


def match_institutions(
    session: Session, policy: MatchPolicy, usccs: Sequence[str], *, now: datetime
) -> tuple[MatchRun, Matching]:
    """Match everything that is open at these institutions, groups included, by the pure engine alone."""
    one_at_a_time(session)
    with staged(session, "asked_houses", {"uscc": str}, ((uscc,) for uscc in set(usccs))):
        numbers = [
            [number for (number,) in fetch(
                session,
                f"SELECT o.{half.number} FROM asked_houses q JOIN match_houses h ON h.uscc = q.uscc"
                f" JOIN {half.open_table} o ON o.house_key = h.house_key",
            )]
            for half in HALVES
        ]
    with undone(session) as apart:
        made = _Run(session, policy, now, apart, whole=False)
        found = made.decide(*numbers)
    for half, theirs in zip(HALVES, numbers, strict=True):
        with staged(session, "looked_at", {"no": int}, ((number,) for number in theirs)):
            run(
                session,
                "DELETE FROM match_pending WHERE is_line = :is_line AND item_no IN (SELECT no FROM looked_at)",
                is_line=half.is_line,
            )
    return made.result(), found


def _record(session: Session, side: Side[Item], items: Iterable[Item], now: datetime) -> int:
    new, changed = new_and_changed(session, side, items)
    if changed:
        forget(
            session, side, [side.cells(item)[0] for item in changed], now=now,
            reason=f"the {side.name} changed",
        )
    fresh = sorted(new + changed, key=lambda item: str(side.cells(item)[0]))
    add(session, side, fresh, now=now)
    return len(fresh)


def _left(half: Half) -> str:
    """What is open and not in one of the pairs that the run has just made."""
    return (
        f"SELECT o.* FROM {half.open_table} o WHERE NOT EXISTS (SELECT 1 FROM pairs p"
        f" WHERE p.pair_key = o.pair_key AND p.{half.number} = o.{half.number})"
    )


def _free(side: Half) -> str:
    """What is left and does not wait for somebody of its reference."""
    ours, theirs = ("l", "e") if side.is_line else ("e", "l")
    other = HALVES[side.is_line]
    return (
        f"SELECT {ours}.* FROM {side.left_table} {ours} WHERE {ours}.reference_key IS NULL OR NOT EXISTS ("
        f"SELECT 1 FROM {other.left_table} {theirs} WHERE {theirs}.reference_key = {ours}.reference_key"
        f" AND {theirs}.reference_check = {ours}.reference_check AND {ACCOUNT})"
    )


def _of_pending(half: Half) -> str:
    return (
        f"SELECT o.pair_key, o.reference_key FROM pending p JOIN {half.open_table} o ON o.{half.number} = p.item_no"
        f" WHERE {_IS_LINE[half.is_line]}"
    )


_IS_LINE = {True: "p.is_line", False: "NOT p.is_line"}


def _is_free(half: Half) -> str:
    """Whether open item `l` (or `e`) does not wait for somebody of its reference."""
    ours, theirs = ("l", "e") if half.is_line else ("e", "l")
    return (
        f"({ours}.reference_key IS NULL OR NOT EXISTS (SELECT 1 FROM {HALVES[half.is_line].open_table} {theirs}"
        f" WHERE {theirs}.reference_key = {ours}.reference_key"
        f" AND {theirs}.reference_check = {ours}.reference_check AND {ACCOUNT}))"
    )


class _Run:
    """One run: what it has made so far, and the steps."""

    def __init__(
        self, session: Session, policy: MatchPolicy, now: datetime, taken_apart: frozenset[str], *, whole: bool
    ) -> None:
        self.session, self.policy, self.now = session, policy, now
        self.undone = taken_apart
        self.made: Counter[str] = Counter()
        self.whole = whole

    def result(self) -> MatchRun:
        """What was done, and how much is open now."""
        return MatchRun(
            made=self.made,
            **{
                side.open_table: int(run(self.session, f"SELECT count(*) FROM {side.open_table}").scalar_one())
                for side in HALVES
            },
        )

    # steps in SQL

    @contextmanager
    def exact_pairs(self, source: str) -> Iterator[None]:
        """Match each line and item of one reference and amount, if there is one of each: they are `pairs`."""
        pairs = (
            "SELECT l.pair_key, min(l.line_no) AS line_no, min(e.expected_no) AS expected_no"
            f" FROM {source} ON {PAIR} WHERE l.reference_key IS NOT NULL AND {ACCOUNT} {self._not_undone()}"
            " GROUP BY l.pair_key HAVING count(*) = 1"
        )
        with temporary(self.session, "pairs", pairs, index=("pair_key",)):
            self.made[Tier.REFERENCE] += run(
                self.session,
                "INSERT INTO matches (line_no, expected_no, tier, residual_fen, made_at)"
                " SELECT line_no, expected_no, 'reference', 0, :now FROM pairs ORDER BY line_no", now=self.now,
            ).rowcount
            if not self.whole:
                rows = fetch(self.session, "SELECT line_no, expected_no FROM pairs")
                for place, half in enumerate(HALVES):
                    self._delete_open(half, [row[place] for row in rows])
            yield

    def totals(self) -> None:
        """Match all that is left of a reference, if it ties and no two amounts are the same."""
        if self.undone:
            return  # the engine knows which of them a person took apart
        sums = (
            "SELECT reference_key, reference_check, min({0}) AS {0}, count(*) AS items, sum(size_fen) AS fen,"
            " min(account_key) AS account_low, max(account_key) AS account_high FROM {1}"
            " WHERE reference_key IS NOT NULL GROUP BY reference_key, reference_check"
        )
        query = (
            "SELECT a.reference_key, a.reference_check, a.line_no, b.expected_no"
            f" FROM ({sums.format('line_no', 'left_lines')}) a JOIN ({sums.format('expected_no', 'left_expected')}) b"
            " ON b.reference_key = a.reference_key AND b.reference_check = a.reference_check"
            " WHERE a.fen = b.fen AND a.items + b.items > 2 AND (b.account_low IS NULL OR (b.account_low ="
            " b.account_high AND a.account_low = a.account_high AND a.account_low = b.account_low))"
            " AND NOT EXISTS (SELECT 1 FROM left_lines l JOIN left_expected e"
            f" ON {PAIR} WHERE l.reference_key = a.reference_key AND l.reference_check = a.reference_check)"
        )
        with temporary(self.session, "totals", query, index=("reference_key",)):
            found = run(
                self.session,
                "INSERT INTO matches (line_no, expected_no, tier, residual_fen, made_at)"
                " SELECT line_no, expected_no, 'reference_total', 0, :now FROM totals", now=self.now,
            )
            self.made[Tier.REFERENCE_TOTAL] += found.rowcount
            for side, is_line in ((LINES, "true"), (EXPECTED, "false")):
                left = side.left_table
                run(
                    self.session,
                    f"INSERT INTO match_more (is_line, item_no, line_no) SELECT {is_line}, o.{side.number}, t.line_no"
                    f" FROM totals t JOIN {left} o ON o.reference_key = t.reference_key"
                    f" AND o.reference_check = t.reference_check WHERE o.{side.number} <> t.{side.number}",
                )
                run(
                    self.session,
                    f"DELETE FROM {left} WHERE reference_key IS NOT NULL AND EXISTS (SELECT 1 FROM totals t"
                    f" WHERE t.reference_key = {left}.reference_key AND t.reference_check = {left}.reference_check)",
                )

    def lone_pairs(self, tier: Tier) -> None:
        """Match each free line and item of which neither has another candidate."""
        lines = self._lone(LINES, EXPECTED, tier)
        expected = self._lone(EXPECTED, LINES, tier)
        with (
            temporary(self.session, "lone_lines", lines, index=("expected_no",)),
            temporary(self.session, "lone_expected", expected, index=("expected_no",)),
        ):
            # The keys are hashes: what they stand for is compared before two items become one.
            pairs = (
                "SELECT a.line_no, a.expected_no, l.amount_fen - e.amount_fen AS residual_fen FROM lone_lines a"
                " JOIN lone_expected b ON b.expected_no = a.expected_no AND b.line_no = a.line_no"
                " JOIN match_lines l ON l.line_no = a.line_no JOIN match_expected e ON e.expected_no = a.expected_no"
                " WHERE l.uscc = e.uscc AND l.currency = e.currency"
                " AND (e.account_no IS NULL OR e.account_no = l.account_no)"
            )
            with temporary(self.session, "lone_pairs", pairs, index=("line_no",)):
                found = run(
                    self.session,
                    "INSERT INTO matches (line_no, expected_no, tier, residual_fen, made_at)"
                    " SELECT line_no, expected_no, :tier, residual_fen, :now FROM lone_pairs ORDER BY line_no",
                    tier=tier.value, now=self.now,
                )
                self.made[tier] += found.rowcount
                for side in HALVES:
                    for table in (side.free_table, side.left_table):
                        run(
                            self.session,
                            f"DELETE FROM {table} WHERE {side.number} IN"
                            f" (SELECT {side.number} FROM lone_pairs)",
                        )

    def _lone(self, mine: Half, theirs: Half, tier: Tier) -> str:
        """The free items of a side that have exactly one candidate, with it."""
        ours, others = ("l", "e") if mine.is_line else ("e", "l")
        return (
            f"SELECT one.{mine.number}, one.other AS {theirs.number} FROM ("
            f" SELECT {ours}.{mine.number}, (SELECT CASE WHEN count(*) = 1 THEN min(found.no) END FROM ("
            f" SELECT {others}.{theirs.number} AS no FROM {theirs.free_table} {others}"
            f" WHERE {self._fits(tier, from_line=mine.is_line)} LIMIT 2) found) AS other"
            f" FROM {mine.free_table} {ours}) one WHERE one.other IS NOT NULL"
        )

    def _fits(self, tier: Tier, *, from_line: bool) -> str:
        """Whether free line `l` and item `e` fit, written so that an index of the side looked for is used."""
        before, after = int(self.policy.days_before), int(self.policy.days_after)
        days = (
            f"e.day BETWEEN l.day - {after} AND l.day + {before}" if from_line
            else f"l.day BETWEEN e.day - {before} AND e.day + {after}"
        )
        fits = f"e.house_key = l.house_key AND {days} AND {ACCOUNT} {self._not_undone()}"
        if tier is Tier.AMOUNT:
            return f"{fits} AND e.size_fen = l.size_fen"
        wanted, known = ("e.size_fen", "l.size_fen") if from_line else ("l.size_fen", "e.size_fen")
        points, fen = int(self.policy.tolerance_basis_points), int(self.policy.tolerance_fen)
        # Wide enough for every base; what is in it is compared exactly.
        reach = f"({fen} + {_share(known, points, BASIS_POINTS - points)} + 2)"
        base = {
            Base.BANK: "l.size_fen", Base.EXPECTED: "e.size_fen",
            Base.LARGER: "CASE WHEN l.size_fen > e.size_fen THEN l.size_fen ELSE e.size_fen END",
        }[self.policy.base]
        off = "abs(l.size_fen - e.size_fen)"
        return (
            f"{fits} AND {wanted} BETWEEN {known} - {reach} AND {known} + {reach}"
            f" AND ({off} <= {fen} OR {off} <= {_share(f'({base})', points, BASIS_POINTS)})"
        )

    def _not_undone(self) -> str:
        if not self.undone:
            return ""
        return (
            "AND NOT EXISTS (SELECT 1 FROM undone_pairs u WHERE u.line_no = l.line_no"
            " AND u.expected_no = e.expected_no)"
        )

    # steps through the engine

    def references(self, keys: str) -> None:
        """Decide what is still open of references that both sides carry, among those that a query gives."""
        lines, expected = (half.left_table if self.whole else half.open_table for half in HALVES)
        shared = (
            f"SELECT DISTINCT l.reference_key FROM (SELECT DISTINCT reference_key FROM ({keys}) given) q"
            f" JOIN {lines} l ON l.reference_key = q.reference_key JOIN {expected} e"
            f" ON e.reference_key = l.reference_key AND e.reference_check = l.reference_check AND {ACCOUNT}"
        )
        with temporary(self.session, "shared", shared):
            numbers = [
                [number for (number,) in fetch(
                    self.session,
                    f"SELECT o.{number_of} FROM shared q JOIN {table} o ON o.reference_key = q.reference_key",
                )]
                for number_of, table in ((LINES.number, lines), (EXPECTED.number, expected))
            ]
        self.decide(*numbers, references_only=True)

    def hanging(self) -> None:
        """Decide the free items that have a candidate left: with groups, all of an institution may hang together."""
        numbers = []
        for mine, theirs in (HALVES, HALVES[::-1]):
            ours, others = ("l", "e") if mine.is_line else ("e", "l")
            if self.policy.group_items_max > 1:
                fits = "e.house_key = l.house_key"
            else:
                tier = Tier.TOLERANCE if self.policy.tolerates else Tier.AMOUNT
                fits = self._fits(tier, from_line=mine.is_line)
            rows = fetch(
                self.session,
                f"SELECT {ours}.{mine.number} FROM {mine.free_table} {ours} WHERE EXISTS (SELECT 1"
                f" FROM {theirs.free_table} {others} WHERE {fits})",
            )
            numbers.append([number for (number,) in rows])
        self.decide(*numbers)

    def touched(self) -> tuple[set[int], set[int]]:
        """What is new, what carries the reference of something new, and what either of them could be.

        These are asked for before anything is matched: who could be somebody that is matched now may be certain then.
        """
        near = [
            {number for (number,) in fetch(
                self.session,
                f"SELECT p.item_no FROM pending p WHERE {_IS_LINE[half.is_line]} UNION SELECT o.{half.number}"
                f" FROM asked q JOIN {half.open_table} o ON o.reference_key = q.reference_key",
            )}
            for half in HALVES
        ]
        return (near[0] | self._beside(near[1], is_line=False), near[1] | self._beside(near[0], is_line=True))

    def nearby(self, touched: tuple[set[int], set[int]]) -> None:
        """Decide the free ones of these, what those could be, and so on until nothing is added."""
        seen: tuple[set[int], set[int]] = (set(), set())
        fresh = [self._free_of(half, numbers) for half, numbers in zip(HALVES, touched, strict=True)]
        while any(fresh):
            beside: list[set[int]] = [set(), set()]
            for side, numbers in enumerate(fresh):
                seen[side].update(numbers)
            for side, numbers in enumerate(fresh):
                other = HALVES[1 - side]
                found = self._beside(numbers, is_line=side == 0) - seen[1 - side]
                beside[1 - side] = self._free_of(other, found)
            fresh = beside
        self.decide(sorted(seen[0]), sorted(seen[1]))

    def _free_of(self, half: Half, numbers: set[int]) -> set[int]:
        if not numbers:
            return set()
        ours = "l" if half.is_line else "e"
        with staged(self.session, "perhaps_free", {"no": int}, ((each,) for each in sorted(numbers))):
            rows = fetch(
                self.session,
                f"SELECT {ours}.{half.number} FROM perhaps_free f JOIN {half.open_table} {ours}"
                f" ON {ours}.{half.number} = f.no WHERE {_is_free(half)}",
            )
        return {found for (found,) in rows}

    def _beside(self, numbers: set[int], *, is_line: bool) -> set[int]:
        """What is open on the other side and near in day and amount."""
        if not numbers:
            return set()
        tier = Tier.TOLERANCE if self.policy.tolerates else Tier.AMOUNT
        own, other = (LINES, EXPECTED) if is_line else (EXPECTED, LINES)
        mine, theirs = ("l", "e") if is_line else ("e", "l")
        with staged(self.session, "frontier", {"no": int}, ((each,) for each in sorted(numbers))):
            rows = fetch(
                self.session,
                # LEFT keeps SQLite from beginning at the far end, with everything that is open.
                f"SELECT DISTINCT {theirs}.{other.number} FROM frontier f LEFT JOIN {own.open_table} {mine}"
                f" ON {mine}.{own.number} = f.no LEFT JOIN {other.open_table} {theirs}"
                f" ON {self._fits(tier, from_line=is_line)}",
            )
        return {found for (found,) in rows if found is not None}

    def decide(
        self, line_nos: Sequence[int], expected_nos: Sequence[int], *, references_only: bool = False
    ) -> Matching:
        """Let the engine match these, and keep what it says of them."""
        lines, line_numbers = self._load(LINES, line_nos)
        expected, expected_numbers = self._load(EXPECTED, expected_nos)
        found = match(lines, expected, self.policy, undone=self.undone, references_only=references_only)
        self._keep(found.matches, line_numbers, expected_numbers)
        self._note_doubts(found, line_numbers, expected_numbers)
        return found

    def _load(self, side: Side[Item], numbers: Sequence[int]) -> tuple[list[Item], dict[str, int]]:
        if not numbers:
            return [], {}
        with staged(self.session, "loaded", {"no": int}, ((number,) for number in numbers)):
            rows = load(self.session, side, "SELECT no FROM loaded")
        return [item for _, item in rows], {str(side.cells(item)[0]): number for number, item in rows}

    # what is kept

    def _keep(
        self, matches: Sequence[Match], line_numbers: Mapping[str, int], expected_numbers: Mapping[str, int]
    ) -> None:
        first: list[tuple[int, int, str, int, datetime]] = []
        more: list[tuple[bool, int, int]] = []
        for made in matches:
            self.made[made.tier] += 1
            line_nos = sorted(line_numbers[key] for key in made.line_ids)
            expected_nos = sorted(expected_numbers[key] for key in made.expected_ids)
            first.append((line_nos[0], expected_nos[0], made.tier.value, made.residual_fen, self.now))
            more += [(True, number, line_nos[0]) for number in line_nos[1:]]
            more += [(False, number, line_nos[0]) for number in expected_nos[1:]]
        if not first:
            return
        insert(self.session, "matches", {
            "line_no": int, "expected_no": int, "tier": str, "residual_fen": int, "made_at": datetime,
        }, sorted(first))
        insert(self.session, "match_more", {"is_line": bool, "item_no": int, "line_no": int}, sorted(more))
        for side in HALVES:
            closed = [row[0] if side.is_line else row[1] for row in first]
            closed += [number for is_line, number, _ in more if is_line is side.is_line]
            self._delete_open(side, closed)

    def _delete_open(self, side: Half, numbers: Sequence[int]) -> None:
        table = side.left_table if self.whole else side.open_table
        with staged(self.session, "closed_items", {"no": int}, ((number,) for number in numbers)):
            gone = run(
                self.session, f"DELETE FROM {table} WHERE {side.number} IN (SELECT no FROM closed_items)"
            ).rowcount
            if not self.whole:
                run(
                    self.session,
                    "DELETE FROM match_doubts WHERE is_line = :is_line AND item_no IN (SELECT no FROM closed_items)",
                    is_line=side.is_line,
                )
        assert gone == len(numbers), "an item was matched that was not open"  # noqa: S101 - the lock promises it

    def close_matched(self, half: Half) -> None:
        """Bring the open table to what the whole run has left."""
        count = {
            table: int(run(self.session, f"SELECT count(*) FROM {table}").scalar_one())
            for table in (half.open_table, half.left_table)
        }
        if is_sqlite(self.session) and 2 * count[half.left_table] < count[half.open_table]:
            # To empty a table and fill it again is faster than to take most of its rows out of four trees one by one.
            run(self.session, f"DELETE FROM {half.open_table}")
            run(self.session, f"INSERT INTO {half.open_table} SELECT * FROM {half.left_table} ORDER BY pair_key")
        elif count[half.left_table] < count[half.open_table]:
            run(
                self.session,
                f"DELETE FROM {half.open_table} AS o WHERE NOT EXISTS (SELECT 1 FROM {half.left_table} x"
                f" WHERE x.pair_key = o.pair_key AND x.{half.number} = o.{half.number})",
            )

    def _note_doubts(
        self, found: Matching, line_numbers: Mapping[str, int], expected_numbers: Mapping[str, int]
    ) -> None:
        numbers = {True: line_numbers, False: expected_numbers}
        for is_line, known in numbers.items():
            with staged(self.session, "seen_items", {"no": int}, ((number,) for number in known.values())):
                run(
                    self.session,
                    "DELETE FROM match_doubts WHERE is_line = :is_line AND item_no IN (SELECT no FROM seen_items)",
                    is_line=is_line,
                )
        rows = sorted(
            (one.is_line, numbers[one.is_line][one.item_id], one.kind.value, as_json(list(one.near)))
            for one in found.breaks if one.kind not in PLAIN
        )
        insert(
            self.session, "match_doubts", {"is_line": bool, "item_no": int, "kind": str, "near": str}, rows
        )


def _share(amount: str, points: int, whole: int) -> str:
    """SQL for `amount * points // whole`, in parts that stay within 64 bits."""
    return f"({amount} / {whole} * {points} + {amount} % {whole} * {points} / {whole})"
