"""Matching by brute force: every way to pair and group a few items is tried. Shares no code with the engine.

Written from what matching promises. A solution is a set of candidates that share no item, and such that no other set
covers everything it covers and more. What is in every solution is matched; what is a candidate and is not matched is
ambiguous. Evidence in order; each step keeps the candidates of those before it; all again until nothing is found.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, combinations
from typing import Any

FEW = 12
"""Of so many candidates every set is written down."""
Members = frozenset[tuple[str, str]]
"""("line" or "expected", id) of everything in one match."""


@dataclass
class Answer:
    """Each item is in a match, in `ambiguous`, or simply open."""

    matches: dict[Members, str] = field(default_factory=dict)
    ambiguous: set[tuple[str, str]] = field(default_factory=set)


def answer(lines: Iterable[Any], expected: Iterable[Any], policy: Any, taken_apart: Iterable[Members] = ()) -> Answer:
    """What must come of it."""
    return _Oracle(list(lines), list(expected), policy, set(taken_apart)).run()


class _Oracle:
    def __init__(self, lines: list[Any], expected: list[Any], policy: Any, taken_apart: set[Members]) -> None:
        self.items: dict[tuple[str, str], Any] = {("line", one.line_id): one for one in lines}
        self.items |= {("expected", one.expected_id): one for one in expected}
        self.policy, self.taken_apart = policy, taken_apart
        self.answer = Answer()
        self.open = set(self.items)

    def run(self) -> Answer:
        for reference in sorted({self.reference(key) or "" for key in self.items} - {""}):
            # Accounts of one reference may not fit each other: who has nobody takes no part.
            for world in self.worlds():
                circle = {key for key in world if self.reference(key) == reference}
                self.repeat({key for key in circle if self.has_kin(key, circle)}, near=False)
        named = {key for key in self.open if self.is_named(key)}
        for world in self.worlds():
            self.repeat(world - named, near=True)
        return self.answer

    # what fits

    def worlds(self) -> list[set[tuple[str, str]]]:
        found: dict[Any, set[tuple[str, str]]] = {}
        for key, item in self.items.items():
            if key in self.open:
                found.setdefault((item.uscc, item.currency, item.amount_fen > 0), set()).add(key)
        return list(found.values())

    def reference(self, key: tuple[str, str]) -> str | None:
        text = self.items[key].reference
        if text is None:
            return None
        plain = unicodedata.normalize("NFKC", text)
        return "".join(letter for letter in plain if not letter.isspace()).upper() or None

    def same_account(self, line: Any, other: Any) -> bool:
        return other.account_no in (None, line.account_no)

    def has_kin(self, key: tuple[str, str], circle: set[tuple[str, str]]) -> bool:
        others = [other for other in circle if other[0] != key[0]]
        if key[0] == "line":
            return any(self.same_account(self.items[key], self.items[other]) for other in others)
        return any(self.same_account(self.items[other], self.items[key]) for other in others)

    def is_named(self, key: tuple[str, str]) -> bool:
        mine, item = self.reference(key), self.items[key]
        if mine is None:
            return False
        circle = {
            other for other in self.open
            if self.reference(other) == mine and self.items[other].uscc == item.uscc
            and self.items[other].currency == item.currency
            and (self.items[other].amount_fen > 0) == (item.amount_fen > 0)
        }
        return self.has_kin(key, circle)

    def fits(self, members: Members, *, near: bool) -> bool:
        if members in self.taken_apart:
            return False
        ours = [self.items[key] for key in members if key[0] == "line"]
        theirs = [self.items[key] for key in members if key[0] == "expected"]
        return all(
            self.same_account(line, other)
            and (not near or -self.policy.days_before <= (line.on - other.on).days <= self.policy.days_after)
            for line in ours for other in theirs
        )

    def off(self, members: Iterable[tuple[str, str]]) -> int:
        return sum(
            self.items[key].amount_fen if key[0] == "line" else -self.items[key].amount_fen for key in members
        )

    def tolerated(self, members: Members) -> bool:
        bank = sum(abs(self.items[key].amount_fen) for key in members if key[0] == "line")
        ours = sum(abs(self.items[key].amount_fen) for key in members if key[0] == "expected")
        base = {"bank": bank, "expected": ours, "larger": max(bank, ours)}[str(self.policy.base)]
        off = abs(self.off(members))
        return off <= self.policy.tolerance_fen or off * 10_000 <= base * self.policy.tolerance_basis_points

    # steps

    def repeat(self, circle: set[tuple[str, str]], *, near: bool) -> None:
        while True:
            circle = circle & self.open
            before = len(self.answer.matches)
            candidates = self.steps(circle, near=near)
            if len(self.answer.matches) == before:
                self.answer.ambiguous |= {key for members in candidates for key in members}
                return

    def steps(self, circle: set[tuple[str, str]], *, near: bool) -> list[Members]:
        if near:
            found = self.decide(list(self.pairs(circle, near=True, exact=True)), "amount", near)
        else:
            self.decide(list(self.pairs(circle, near=True, exact=True)), "reference", near)
            found = self.decide(list(self.pairs(circle, near=False, exact=True)), "reference", near)
            rest = frozenset(circle & self.open)
            kinds = {key[0] for key in rest}
            if len(kinds) == 2 and len(rest) > 2 and self.off(rest) == 0 and self.fits(rest, near=False):
                self.make(rest, "reference_total")
        if self.policy.tolerance_fen or self.policy.tolerance_basis_points:
            found = self.decide(list(self.pairs(circle, near=near, exact=False)), "tolerance", near)
        found = [members for members in found if members <= self.open]
        if self.policy.group_items_max > 1:
            groups = [members for members in self.groups(circle, near=near) if members not in found]
            found = self.decide(found + groups, "group", near)
        return found

    def pairs(self, circle: set[tuple[str, str]], *, near: bool, exact: bool) -> Iterator[Members]:
        still = sorted(circle & self.open)
        for one, other in combinations(still, 2):
            members = frozenset((one, other))
            alike = self.off(members) == 0 if exact else self.tolerated(members)
            if one[0] != other[0] and alike and self.fits(members, near=near):
                yield members

    def groups(self, circle: set[tuple[str, str]], *, near: bool) -> Iterator[Members]:
        sides = [sorted(key for key in circle & self.open if key[0] == side) for side in ("line", "expected")]
        parts = [
            [frozenset(part) for size in range(1, self.policy.group_items_max + 1) for part in combinations(side, size)]
            for side in sides
        ]
        tying = [ours | theirs for ours in parts[0] for theirs in parts[1] if self.off(ours | theirs) == 0]
        for members in tying:
            if self.fits(members, near=near) and not any(smaller < members for smaller in tying):
                yield members

    def decide(self, candidates: list[Members], tier: str, near: bool) -> list[Members]:
        for members in (in_every_solution if len(candidates) <= FEW else in_every_cover)(candidates):
            self.make(members, self.tier(members, tier, near))
        return [members for members in candidates if members <= self.open]

    def tier(self, members: Members, tier: str, near: bool) -> str:
        if tier == "group" and len(members) == 2:
            exact = "amount" if near else "reference"
            return exact if self.off(members) == 0 else "tolerance"
        return tier

    def make(self, members: Members, tier: str) -> None:
        assert members <= self.open, "an item was used twice"
        self.answer.matches[members] = tier
        self.open -= members


def in_every_solution(candidates: list[Members]) -> frozenset[Members]:
    """The candidates that all solutions contain: every set of candidates is written down."""
    every: list[frozenset[Members]] = []

    def extend(start: int, chosen: tuple[Members, ...], used: frozenset[tuple[str, str]]) -> None:
        every.append(frozenset(chosen))
        for place in range(start, len(candidates)):
            if not used & candidates[place]:
                extend(place + 1, (*chosen, candidates[place]), used | candidates[place])

    extend(0, (), frozenset())
    covers = {frozenset(chain.from_iterable(one)) for one in every}
    best = {cover for cover in covers if not any(cover < other for other in covers)}
    return frozenset.intersection(*(one for one in every if frozenset(chain.from_iterable(one)) in best))


def in_every_cover(candidates: list[Members]) -> frozenset[Members]:
    """The same for more candidates: of each cover only what all sets that cover just this have in common."""
    places = {key: place for place, key in enumerate(sorted(frozenset(chain.from_iterable(candidates))))}
    common: dict[int, frozenset[Members]] = {0: frozenset()}
    for members in candidates:
        mine = sum(1 << places[key] for key in members)
        for cover, shared in list(common.items()):
            if not cover & mine:
                more, whole = shared | {members}, cover | mine
                common[whole] = common[whole] & more if whole in common else more
    bits = [1 << place for place in range(len(places))]
    within = bytearray(1 << len(places))
    """Whether some cover has all of these items and perhaps more."""
    for mask in range(len(within) - 1, -1, -1):
        within[mask] = mask in common or any(not mask & bit and within[mask | bit] for bit in bits)
    best = (mask for mask in common if not any(not mask & bit and within[mask | bit] for bit in bits))
    return frozenset.intersection(*(common[mask] for mask in best))
