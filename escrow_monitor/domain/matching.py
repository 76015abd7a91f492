"""Which bank lines are which expected charges, releases and refunds: decided only where one answer is possible.

Every decision follows one definition. A *solution* pairs off items that fit, each at most once, and leaves open only
what must stay open: no other solution covers all that it covers and more. A match is made if it is in *every*
solution. What could be matched in several ways is *ambiguous*; what lies beyond the bound of the search is *not
searched*; only what nothing fits is unexplained or missing.

Evidence goes before evidence. What a step decides stands, the next works with what is left:

    reference         the same reference and amount; where a reference comes several times, within the window first
    reference_total   all that is open of one reference, on both sides, ties
    tolerance, group  of the same reference, as below, at any date

Then, among the items whose reference no open item of the other side carries (the others wait for their own):

    amount            the same amount within the window of days
    tolerance         nearly the same amount within the window
    group             several lines against several expected items, at most so many a side, within the window and exact

Each step looks at all candidates of the steps before it as well, and all begin again until none finds anything: to
match what is left open finds nothing new. The order of the input makes no difference.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from escrow_monitor.domain.grouping import BeyondBound, Bound, Group, Groups, certain_groups, tying_groups
from escrow_monitor.domain.pairing import certain_pairs, components
from escrow_monitor.errors import EscrowMonitorError

BASIS_POINTS = 10_000
"""A hundredth of a percent is one of these."""
TOLERANCE_BASIS_POINTS_MAX = 1_000
"""A tenth. Beyond it, anything would be nearly the same as anything."""
CANDIDATES_SHOWN_MAX = 20


class MatchingError(EscrowMonitorError, ValueError):
    """These items cannot be matched as asked."""


class ExpectedKind(StrEnum):
    """What is expected to move."""

    CHARGE = "charge"
    RELEASE = "release"
    REFUND = "refund"


class Base(StrEnum):
    """Of which amount a percentage is taken."""

    BANK = "bank"
    EXPECTED = "expected"
    LARGER = "larger"


class Tier(StrEnum):
    """By what evidence a match was made."""

    REFERENCE = "reference"
    REFERENCE_TOTAL = "reference_total"
    AMOUNT = "amount"
    TOLERANCE = "tolerance"
    GROUP = "group"
    MANUAL = "manual"


class BreakKind(StrEnum):
    """Why an item is open."""

    UNEXPLAINED = "unexplained"
    """The bank booked it, and nothing of ours fits."""
    MISSING = "missing"
    """We expect it, and nothing in the bank fits."""
    AMOUNT_DIFFERS = "amount_differs"
    """The other side has its reference with another amount."""
    AMBIGUOUS = "ambiguous"
    """It fits in more than one way."""
    NOT_SEARCHED = "not_searched"
    """There were more candidates than the bound of the search allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BankLine:
    """One entry of a statement. `amount_fen` is signed and not zero; `uscc` whose account it is."""

    line_id: str
    uscc: str
    account_no: str
    on: date
    amount_fen: int
    reference: str | None = None
    text: str = ""
    currency: str = "CNY"

    def __post_init__(self) -> None:
        if not self.amount_fen:
            raise MatchingError(f"bank line {self.line_id} moves nothing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A movement that our records say the bank should show: money in above zero, money out below.

    `account_no` None: on whichever account of the institution.
    """

    expected_id: str
    kind: ExpectedKind
    uscc: str
    on: date
    amount_fen: int
    reference: str | None = None
    account_no: str | None = None
    currency: str = "CNY"

    def __post_init__(self) -> None:
        if not self.amount_fen:
            raise MatchingError(f"expected item {self.expected_id} moves nothing")


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchPolicy:
    """What counts as the same.

    A line may be booked `days_before` to `days_after` days around the day expected. Amounts may differ by
    `tolerance_fen`, or by `tolerance_basis_points` hundredths of a percent of `base` (parts of a fen do not count),
    whichever allows more; both zero: no tolerance. A group has at most `group_items_max` items a side (1: no groups),
    taken from at most `candidates_max` a side, in at most `nodes_max` steps; where more than `pairs_max` pairs of
    nearly the same amount hang together, none is tried.
    """

    days_before: int = 1
    days_after: int = 5
    tolerance_fen: int = 0
    tolerance_basis_points: int = 0
    base: Base = Base.EXPECTED
    group_items_max: int = 4
    candidates_max: int = 24
    nodes_max: int = 50_000
    pairs_max: int = 250_000

    def __post_init__(self) -> None:
        numbers = (
            self.days_before, self.days_after, self.tolerance_fen, self.group_items_max - 1, self.candidates_max - 1,
            self.nodes_max - 1, self.pairs_max - 1,
        )
        if min(numbers) < 0 or not 0 <= self.tolerance_basis_points <= TOLERANCE_BASIS_POINTS_MAX:
            raise MatchingError("a bound of the matching policy is out of range")

    @property
    def tolerates(self) -> bool:
        """Whether amounts may differ at all."""
        return self.tolerance_fen > 0 or self.tolerance_basis_points > 0

    def allowed(self, bank_fen: int, expected_fen: int) -> int:
        """By how many fen these two amounts (without sign) may differ."""
        base = {Base.BANK: bank_fen, Base.EXPECTED: expected_fen, Base.LARGER: max(bank_fen, expected_fen)}[self.base]
        return max(self.tolerance_fen, base * self.tolerance_basis_points // BASIS_POINTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Lines and expected items that are one. `residual_fen`: the lines less the expected items."""

    match_id: str
    tier: Tier
    line_ids: tuple[str, ...]
    expected_ids: tuple[str, ...]
    residual_fen: int
    basis: str


Candidate = tuple[tuple[str, ...], tuple[str, ...]]
"""Lines and expected items that could be one match."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ambiguous:
    """Items that hang together and can be matched in several ways, with the first of these candidates.

    `groups_searched` False: pairs alone were compared, groups are beyond the bound.
    """

    line_ids: tuple[str, ...]
    expected_ids: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    groups_searched: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSearched:
    """Items that no pair fits and around which there is too much to try every group."""

    line_ids: tuple[str, ...]
    expected_ids: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """An open item. Its id is that of the item, whatever the kind becomes: it is the same break until it is matched.

    `impact_fen` is what it adds to bank less expected; `near` the ids on the other side that it is open about.
    """

    break_id: str
    kind: BreakKind
    item_id: str
    is_line: bool
    on: date
    impact_fen: int
    near: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """What came of it; every item is in one match or is one break. All are sorted.

    Lines less expected items = residuals of the matches + impacts of the breaks.
    """

    matches: tuple[Match, ...]
    breaks: tuple[Break, ...]
    ambiguous: tuple[Ambiguous, ...]
    not_searched: tuple[NotSearched, ...]


def match(
    lines: Iterable[BankLine], expected: Iterable[Expected], policy: MatchPolicy, *,
    undone: Collection[str] = frozenset(), references_only: bool = False,
) -> Matching:
    """Match what is open. `undone`: ids of matches that a person took apart, and that are not made again.

    `references_only` stops before the steps that go by amount and day alone.
    """
    work = _Work(lines, expected, policy, undone)
    for places in work.of_references():
        _settle(work, *places, near=False)
    for places in () if references_only else work.of_institutions():
        _settle(work, *places, near=True)
    return work.result()


def reference_key(reference: str | None) -> str | None:
    """What two writings of a reference have in common, whatever the width, capitals and spaces. None if nothing."""
    if reference is None:
        return None
    return "".join(unicodedata.normalize("NFKC", reference).split()).upper() or None


def match_id(line_ids: Iterable[str], expected_ids: Iterable[str]) -> str:
    """The name of a match: the same for the same members, whoever made it and when."""
    return "m" + _digest([sorted(line_ids), sorted(expected_ids)])


def break_id(item_id: str, *, is_line: bool) -> str:
    """The name of the break that this item is while it is open."""
    return "b" + _digest(["line" if is_line else "expected", item_id])


def accounts_fit(line: BankLine, expected: Expected) -> bool:
    """Whether the line is on the account on which the item is expected."""
    return expected.account_no is None or expected.account_no == line.account_no


def _digest(members: Sequence[object]) -> str:
    text = json.dumps(members, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@dataclass(slots=True)
class _Round:
    """What one pass over some items found and did not decide."""

    pairs: list[Group] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    unsearched: set[int] = field(default_factory=set)
    """Vertices; see `_vertex`."""


class _Work:
    """The items by place, in an order of their own, and what was decided of them."""

    def __init__(
        self, lines: Iterable[BankLine], expected: Iterable[Expected], policy: MatchPolicy, undone: Collection[str]
    ) -> None:
        self.lines = sorted(lines, key=lambda line: (line.on, line.line_id))
        self.expected = sorted(expected, key=lambda one: (one.on, one.expected_id))
        self.policy, self.undone = policy, frozenset(undone)
        for kind, ids in (
            ("bank line", {line.line_id for line in self.lines}), ("item", {one.expected_id for one in self.expected})
        ):
            if len(ids) != len(self.lines if kind == "bank line" else self.expected):
                raise MatchingError(f"a {kind} is given twice")
        self.line_fen = [abs(line.amount_fen) for line in self.lines]
        self.expected_fen = [abs(one.amount_fen) for one in self.expected]
        self.line_refs = [reference_key(line.reference) for line in self.lines]
        self.expected_refs = [reference_key(one.reference) for one in self.expected]
        self.open_lines = set(range(len(self.lines)))
        self.open_expected = set(range(len(self.expected)))
        self.matches: list[Match] = []
        self.ambiguous: list[Ambiguous] = []
        self.unsearched: set[int] = set()
        self.kinds: dict[int, tuple[BreakKind, tuple[str, ...]]] = {}

    def of_references(self) -> list[tuple[list[int], list[int]]]:
        """The open items of each reference (of an institution, currency and direction) that both sides carry.

        Only those that some item of the other side could be, by its account.
        """
        shared = []
        for lines, expected in self._universes(by_reference=True):
            wanted = {self.expected[place].account_no for place in expected}
            held = {self.lines[place].account_no for place in lines}
            both = (
                [place for place in lines if None in wanted or self.lines[place].account_no in wanted],
                [place for place in expected if self.expected[place].account_no in (*held, None)],
            )
            if all(both):
                shared.append(both)
        return shared

    def of_institutions(self) -> list[tuple[list[int], list[int]]]:
        """The open items of each institution, currency and direction that do not wait for one of their reference."""
        named = self.of_references()
        lines = {place for found, _ in named for place in found}
        expected = {place for _, found in named for place in found}
        return [
            ([place for place in ours if place not in lines], [place for place in theirs if place not in expected])
            for ours, theirs in self._universes(by_reference=False)
        ]

    def _universes(self, *, by_reference: bool) -> list[tuple[list[int], list[int]]]:
        found: dict[object, tuple[list[int], list[int]]] = {}
        for side, places in enumerate((sorted(self.open_lines), sorted(self.open_expected))):
            for place in places:
                item = (self.lines, self.expected)[side][place]
                reference = (self.line_refs, self.expected_refs)[side][place] if by_reference else ""
                if reference is not None:
                    key = (item.uscc, item.currency, item.amount_fen > 0, reference)
                    found.setdefault(key, ([], []))[side].append(place)
        return [places for places in found.values() if all(places)]

    def accounts_fit(self, line: int, expected: int) -> bool:
        return accounts_fit(self.lines[line], self.expected[expected])

    def may(self, group: Group) -> bool:
        """Whether nobody took just this match apart."""
        return not self.undone or match_id(*self.ids(group)) not in self.undone

    def ids(self, group: Group) -> Candidate:
        return (
            tuple(sorted(self.lines[place].line_id for place in group[0])),
            tuple(sorted(self.expected[place].expected_id for place in group[1])),
        )

    def take(self, group: Group, tier: Tier, basis: str) -> None:
        line_ids, expected_ids = self.ids(group)
        self.open_lines.difference_update(group[0])
        self.open_expected.difference_update(group[1])
        residual = sum(self.lines[place].amount_fen for place in group[0]) - sum(
            self.expected[place].amount_fen for place in group[1]
        )
        self.matches.append(Match(
            match_id=match_id(line_ids, expected_ids), tier=tier, line_ids=line_ids, expected_ids=expected_ids,
            residual_fen=residual, basis=basis,
        ))

    def result(self) -> Matching:
        """What was decided, and the breaks that are left."""
        self._note_differing()
        left = [
            vertex for vertex in self.unsearched
            if vertex // 2 in (self.open_lines if vertex % 2 else self.open_expected)
            and self.kinds.get(vertex, (BreakKind.AMOUNT_DIFFERS, ()))[0] is BreakKind.AMOUNT_DIFFERS
        ]
        for vertex in left:
            self.kinds[vertex] = (BreakKind.NOT_SEARCHED, ())
        return Matching(
            matches=tuple(sorted(self.matches, key=lambda made: (made.line_ids, made.expected_ids))),
            breaks=(
                *(self._break(_vertex(True, place)) for place in sorted(self.open_lines)),
                *(self._break(_vertex(False, place)) for place in sorted(self.open_expected)),
            ),
            ambiguous=tuple(sorted(self.ambiguous, key=lambda one: (one.line_ids, one.expected_ids))),
            not_searched=self._not_searched(left),
        )

    def _break(self, vertex: int) -> Break:
        if vertex % 2:
            line = self.lines[vertex // 2]
            item_id, on, impact, plain = line.line_id, line.on, line.amount_fen, BreakKind.UNEXPLAINED
        else:
            one = self.expected[vertex // 2]
            item_id, on, impact, plain = one.expected_id, one.on, -one.amount_fen, BreakKind.MISSING
        kind, near = self.kinds.get(vertex, (plain, ()))
        is_line = bool(vertex % 2)
        return Break(
            break_id=break_id(item_id, is_line=is_line), kind=kind, item_id=item_id, is_line=is_line, on=on,
            impact_fen=impact, near=near,
        )

    def _not_searched(self, vertices: Iterable[int]) -> tuple[NotSearched, ...]:
        policy = self.policy
        universes: dict[tuple[str, str, bool], list[int]] = defaultdict(list)
        for vertex in vertices:
            item = self.lines[vertex // 2] if vertex % 2 else self.expected[vertex // 2]
            universes[item.uscc, item.currency, item.amount_fen > 0].append(vertex)
        found = []
        for key in sorted(universes):
            line_ids, expected_ids = self.ids(_group_of(universes[key]))
            found.append(NotSearched(
                line_ids=line_ids, expected_ids=expected_ids,
                reason=f"more than {policy.candidates_max} candidates a side, {policy.pairs_max:,} pairs or"
                       f" {policy.nodes_max:,} steps",
            ))
        return tuple(found)

    def _note_differing(self) -> None:
        for lines, expected in self.of_references():
            held: dict[str | None, list[int]] = defaultdict(list)
            wanted: dict[str | None, list[int]] = defaultdict(list)
            for place in lines:
                held[self.lines[place].account_no].append(place)
            for place in expected:
                wanted[self.expected[place].account_no].append(place)
            for place in lines:
                near = (wanted[self.lines[place].account_no] + wanted[None])[:CANDIDATES_SHOWN_MAX]
                self.kinds.setdefault(_vertex(True, place), (BreakKind.AMOUNT_DIFFERS, self.ids(((), tuple(near)))[1]))
            for place in expected:
                account_no = self.expected[place].account_no
                near = (lines if account_no is None else held[account_no])[:CANDIDATES_SHOWN_MAX]
                self.kinds.setdefault(_vertex(False, place), (BreakKind.AMOUNT_DIFFERS, self.ids((tuple(near), ()))[0]))


def _settle(work: _Work, lines: list[int], expected: list[int], *, near: bool) -> None:
    """Take every step over these items, again and again until none finds anything."""
    while True:
        lines = [place for place in lines if place in work.open_lines]
        expected = [place for place in expected if place in work.open_expected]
        if not lines or not expected:
            return
        before = len(work.matches)
        made = _pass(work, lines, expected, near=near)
        if len(work.matches) == before:
            _leave(work, made)
            return


@dataclass(frozen=True, slots=True)
class _Step:
    """One look at pairs. `near`: dates within the window; `tolerant`: amounts nearly the same."""

    tier: Tier
    basis: str
    near: bool
    tolerant: bool = False


_AMOUNT = _Step(Tier.AMOUNT, "the same amount, dates near", near=True)
_NEARLY = _Step(Tier.TOLERANCE, "amounts nearly the same, dates near", near=True, tolerant=True)
_REFERENCE_NEAR = _Step(Tier.REFERENCE, "the same reference and amount, dates near", near=True)
_REFERENCE = _Step(Tier.REFERENCE, "the same reference and amount", near=False)
_REFERENCE_NEARLY = _Step(Tier.TOLERANCE, "the same reference, amounts nearly the same", near=False, tolerant=True)


def _pass(work: _Work, lines: list[int], expected: list[int], *, near: bool) -> _Round:
    """Every step once. Returns what the last ones found and could not decide: they see what all before them saw."""
    if near:
        made = _pair_off(work, lines, expected, _AMOUNT)
    else:
        _pair_off(work, lines, expected, _REFERENCE_NEAR)
        made = _pair_off(work, lines, expected, _REFERENCE)
        _take_total(work, lines, expected)
    if work.policy.tolerates:
        made = _pair_off(work, lines, expected, _NEARLY if near else _REFERENCE_NEARLY)
    made.pairs = [pair for pair in made.pairs if _is_open(work, pair)]
    if work.policy.group_items_max > 1:
        _group_off(work, lines, expected, made, near=near)
    return made


def _is_open(work: _Work, group: Group) -> bool:
    return work.open_lines.issuperset(group[0]) and work.open_expected.issuperset(group[1])


def _pair_off(work: _Work, lines: list[int], expected: list[int], step: _Step) -> _Round:
    """Take the pairs that are in every largest pairing; return the others, and what is too crowded to try."""
    made = _Round()
    pairs: list[tuple[int, int]] = []
    for block in _blocks(work, lines, expected, tolerant=step.tolerant):
        found = _block_pairs(work, *block, near=step.near, tolerant=step.tolerant)
        if found is None:
            made.unsearched.update(_vertices((tuple(block[0]), tuple(block[1]))))
        else:
            pairs += found
    for line, other in certain_pairs(pairs):
        work.take(((line,), (other,)), step.tier, step.basis)
    made.pairs = [pair for pair in (((line,), (other,)) for line, other in pairs) if _is_open(work, pair)]
    return made


def _blocks(
    work: _Work, lines: list[int], expected: list[int], *, tolerant: bool
) -> Iterator[tuple[list[int], list[int]]]:
    """Items whose amounts are the same, or are each nearly the same as the next: pairs lie within one block."""
    by_amount: dict[int, tuple[list[int], list[int]]] = {}
    for side, places, amounts, still_open in (
        (0, lines, work.line_fen, work.open_lines), (1, expected, work.expected_fen, work.open_expected)
    ):
        for place in places:
            if place in still_open:
                by_amount.setdefault(amounts[place], ([], []))[side].append(place)
    block: tuple[list[int], list[int]] = ([], [])
    last = None
    for amount in sorted(by_amount):
        if last is not None and not (tolerant and amount - last <= work.policy.allowed(amount, amount)):
            if all(block):
                yield block
            block = ([], [])
        block[0].extend(by_amount[amount][0])
        block[1].extend(by_amount[amount][1])
        last = amount
    if all(block):
        yield block


def _block_pairs(
    work: _Work, lines: list[int], expected: list[int], *, near: bool, tolerant: bool
) -> list[tuple[int, int]] | None:
    """The pairs of a block that fit; None if more have to be looked at than the policy allows."""
    policy = work.policy
    expected = sorted(expected)
    days = [work.expected[place].on.toordinal() for place in expected]
    spans = []
    for line in lines:
        on = work.lines[line].on.toordinal()
        start = bisect_left(days, on - policy.days_after) if near else 0
        spans.append((line, start, bisect_right(days, on + policy.days_before) if near else len(days)))
    if sum(end - start for _, start, end in spans) > policy.pairs_max:
        return None
    return [
        (line, other)
        for line, start, end in spans for other in expected[start:end]
        if work.accounts_fit(line, other)
        and (not tolerant or _nearly(policy, work.line_fen[line], work.expected_fen[other]))
        and work.may(((line,), (other,)))
    ]


def _nearly(policy: MatchPolicy, bank_fen: int, expected_fen: int) -> bool:
    return abs(bank_fen - expected_fen) <= policy.allowed(bank_fen, expected_fen)


def _take_total(work: _Work, lines: list[int], expected: list[int]) -> None:
    """Match all that is open of one reference, if it ties and every line is on an account that every item allows."""
    group: Group = (
        tuple(place for place in lines if place in work.open_lines),
        tuple(place for place in expected if place in work.open_expected),
    )
    if not all(group) or len(group[0]) + len(group[1]) < 3:
        return
    if sum(work.line_fen[place] for place in group[0]) != sum(work.expected_fen[place] for place in group[1]):
        return
    wanted = {work.expected[place].account_no for place in group[1]} - {None}
    held = {work.lines[place].account_no for place in group[0]}
    if (wanted and (len(wanted) > 1 or held != wanted)) or not work.may(group):
        return
    work.take(group, Tier.REFERENCE_TOTAL, "all of the same reference, the sums tie")


def _group_off(work: _Work, lines: list[int], expected: list[int], made: _Round, *, near: bool) -> None:
    """Take the groups that are in every solution of what hangs together."""
    bound = Bound(
        items=work.policy.group_items_max, candidates=work.policy.candidates_max, nodes=work.policy.nodes_max
    )
    found = _tying(work, lines, expected, bound, near=near)
    made.unsearched |= _vertices_of(found)
    known = set(made.pairs)
    made.groups = [group for group in found.found if group not in known and work.may(group)]
    every = made.pairs + made.groups
    vertices = [_vertices(group) for group in every]
    for indices in components(vertices):
        part = [every[index] for index in indices]
        members = {vertex for index in indices for vertex in vertices[index]}
        if all(len(group[0]) == len(group[1]) == 1 for group in part) or members & made.unsearched:
            continue
        try:
            certain = certain_groups([vertices[index] for index in indices], nodes=work.policy.nodes_max)
        except BeyondBound:
            made.unsearched |= members
            continue
        for place in certain:
            work.take(part[place], *_evidence(work, part[place], near=near))


def _evidence(work: _Work, group: Group, *, near: bool) -> tuple[Tier, str]:
    """A pair may be certain only because the groups around it are."""
    by = "dates near" if near else "the same reference"
    if len(group[0]) + len(group[1]) > 2:
        return Tier.GROUP, f"the sums tie, {by}"
    if _ties(work, group):
        return (Tier.AMOUNT if near else Tier.REFERENCE), f"the same amount, {by}, nothing else is possible"
    return Tier.TOLERANCE, f"amounts nearly the same, {by}, nothing else is possible"


def _ties(work: _Work, group: Group) -> bool:
    return sum(work.line_fen[place] for place in group[0]) == sum(work.expected_fen[place] for place in group[1])


def _tying(work: _Work, lines: list[int], expected: list[int], bound: Bound, *, near: bool) -> Groups:
    policy = work.policy
    accounts: dict[str | None, list[int]] = defaultdict(list)
    for place in lines:
        if place in work.open_lines:
            accounts[None].append(place)
            accounts[work.lines[place].account_no].append(place)
    days = {key: [work.lines[place].on.toordinal() for place in places] for key, places in accounts.items()}
    fitting: dict[int, list[int]] = {}
    crowded = Groups()
    wide: dict[str | None, list[tuple[int, int]]] = defaultdict(list)
    for one in expected:
        key = work.expected[one].account_no
        if one not in work.open_expected or key not in accounts:
            continue
        on = work.expected[one].on.toordinal()
        start = bisect_left(days[key], on - policy.days_before) if near else 0
        end = bisect_right(days[key], on + policy.days_after) if near else len(days[key])
        if end - start > bound.candidates:
            crowded.unsearched_expected.add(one)
            wide[key].append((start, end))
        else:
            fitting[one] = accounts[key][start:end]
    for key, spans in wide.items():
        crowded.unsearched_lines.update(place for start, end in _union(spans) for place in accounts[key][start:end])
    line_fen = {place: work.line_fen[place] for place in accounts[None]}
    expected_fen = {place: work.expected_fen[place] for place in fitting}
    return tying_groups((line_fen, expected_fen), fitting, bound=bound, crowded=crowded)


def _union(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same places as these spans, each once."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _vertices_of(found: Groups) -> set[int]:
    return set(_vertices((tuple(found.unsearched_lines), tuple(found.unsearched_expected))))


def _group_of(vertices: Iterable[int]) -> Group:
    both = list(vertices)
    return tuple(one // 2 for one in both if one % 2), tuple(one // 2 for one in both if not one % 2)


def _vertex(is_line: bool, place: int) -> int:
    """Lines and expected items in one numbering."""
    return 2 * place + is_line


def _vertices(group: Group) -> tuple[int, ...]:
    return (*(_vertex(True, place) for place in group[0]), *(_vertex(False, place) for place in group[1]))


def _leave(work: _Work, made: _Round) -> None:
    """Say of what stays open why: ambiguous, or not searched."""
    pairs = set(made.pairs)
    for part in _hanging(made.pairs + made.groups):
        members = {vertex for group in part for vertex in _vertices(group)}
        if not members & made.unsearched:
            _note_ambiguous(work, part, searched=True)
            continue
        for smaller in _hanging([group for group in part if group in pairs]):
            _note_ambiguous(work, smaller, searched=False)
        made.unsearched |= members
    work.unsearched |= made.unsearched


def _hanging(groups: Sequence[Group]) -> list[list[Group]]:
    return [[groups[index] for index in indices] for indices in components([_vertices(group) for group in groups])]


def _note_ambiguous(work: _Work, part: list[Group], *, searched: bool) -> None:
    lines = {place for group in part for place in group[0]}
    expected = {place for group in part for place in group[1]}
    near: dict[int, set[str]] = defaultdict(set)
    for group in part:
        line_ids, expected_ids = work.ids(group)
        for place in group[0]:
            near[_vertex(True, place)].update(expected_ids)
        for place in group[1]:
            near[_vertex(False, place)].update(line_ids)
    for vertex, ids in near.items():
        work.kinds[vertex] = (BreakKind.AMBIGUOUS, tuple(sorted(ids))[:CANDIDATES_SHOWN_MAX])
    line_ids, expected_ids = work.ids((tuple(lines), tuple(expected)))
    work.ambiguous.append(Ambiguous(
        line_ids=line_ids, expected_ids=expected_ids, groups_searched=searched,
        candidates=tuple(sorted(work.ids(group) for group in part)[:CANDIDATES_SHOWN_MAX]),
    ))
