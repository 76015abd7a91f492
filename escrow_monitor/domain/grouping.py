"""Which groups of lines and expected items tie exactly, and which of them are in every solution.

    line 100      expected 30, 40, 60      only 40 + 60 ties: one solution, one certain group
    line 100      expected 30, 40, 60, 70  40 + 60 and 30 + 70 tie: two solutions, nothing is certain

A solution is a set of groups that share no item and that leaves open only what must stay open: no other such set covers
all that it covers and more. For pairs alone these are the largest pairings.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

Group = tuple[tuple[int, ...], tuple[int, ...]]
"""Places of lines, places of expected items; both sorted, neither empty."""
GROUP_VERTICES_MAX = 200
"""No solutions are looked for where more items hang together: the search steps once an item."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """How far is searched. Beyond it an item is said not to be searched, never that nothing fits.

    `items`: so many of each side in one group. `candidates`: so many of each side that could be in one group with an
    expected item and are no larger than can tie. `nodes`: so many steps around one expected item, and again for the
    solutions of what hangs together.
    """

    items: int
    candidates: int
    nodes: int


@dataclass(slots=True)
class Groups:
    """What was found, and the places around which not everything was looked at."""

    found: list[Group] = field(default_factory=list)
    unsearched_lines: set[int] = field(default_factory=set)
    unsearched_expected: set[int] = field(default_factory=set)


class BeyondBound(Exception):
    """There is more to search than the bound allows."""


def tying_groups(
    amounts: tuple[Mapping[int, int], Mapping[int, int]], fitting: Mapping[int, Sequence[int]], *, bound: Bound,
    crowded: Groups,
) -> Groups:
    """All groups that tie exactly, are no sum of smaller ones, and of which every line fits every expected item.

    `amounts` of lines and of expected items by place, all above zero. `fitting`: for each expected item the lines that
    fit it whatever the amounts. Every group is found from the largest of its expected items. `crowded`: what the caller
    saw at once to be beyond the bound.
    """
    world, result = _World(amounts, fitting, bound), crowded
    for line in result.unsearched_lines:
        # What could share a group with what the caller left out is not looked at either.
        result.unsearched_expected.update(world.upward[place] for place in world.reach.get(line, ()))
    unseen: dict[int, int] = {}
    for first in world.upward:
        lines, smaller = world.around(first)
        try:
            result.found += _from_largest(world, first, lines, smaller)
        except BeyondBound:
            result.unsearched_expected.add(first)
            for line, end in smaller.items():
                unseen[line] = max(unseen.get(line, 0), end)
    for line, end in unseen.items():
        result.unsearched_lines.add(line)
        result.unsearched_expected.update(world.upward[place] for place in world.reach[line][:end])
    return result


class _World:
    """Who fits whom, the expected items from the smallest amount up."""

    def __init__(
        self, amounts: tuple[Mapping[int, int], Mapping[int, int]], fitting: Mapping[int, Sequence[int]], bound: Bound
    ) -> None:
        self.line_fen, self.expected_fen = amounts
        self.fitting, self.bound = fitting, bound
        self.upward = sorted(fitting, key=lambda one: (self.expected_fen[one], one))
        self.rank = {one: place for place, one in enumerate(self.upward)}
        self.reach: dict[int, list[int]] = {}
        """For each line the ranks of the expected items that it fits."""
        for rank, expected in enumerate(self.upward):
            for line in fitting[expected]:
                self.reach.setdefault(line, []).append(rank)

    def around(self, first: int) -> tuple[list[int], dict[int, int]]:
        """The lines that could be in a group of which `first` is the largest, and for each up to where in its `reach`
        the others of that group are: with a line, or an item, that is larger than all together nothing ties."""
        fen, items = self.expected_fen[first], self.bound.items
        lines = [line for line in sorted(self.fitting[first]) if self.line_fen[line] <= items * fen]
        room = sum(sorted((self.line_fen[line] for line in lines), reverse=True)[:items]) - fen
        if room < 0:
            return [], {}
        return lines, {
            line: min(
                bisect_left(self.reach[line], self.rank[first]), bisect_right(self.reach[line], room, key=self._fen_of)
            )
            for line in lines
        }

    def _fen_of(self, rank: int) -> int:
        return self.expected_fen[self.upward[rank]]


def _from_largest(world: _World, first: int, lines: list[int], smaller: Mapping[int, int]) -> list[Group]:
    """The groups of which this expected item is the largest."""
    bound, expected_fen = world.bound, world.expected_fen
    if len(lines) > bound.candidates or any(end > bound.candidates for end in smaller.values()):
        raise BeyondBound
    others = sorted({world.upward[place] for line in lines for place in world.reach[line][: smaller[line]]})
    if len(others) > bound.candidates:
        raise BeyondBound
    bit = {line: 1 << place for place, line in enumerate(lines)}
    common = {other: sum(bit[line] for line in world.fitting[other] if line in bit) for other in (first, *others)}
    sums = _subset_sums(lines, world.line_fen, bit, bound)
    largest = max(sums, default=0)
    found: list[Group] = []
    steps = 0
    stack: list[tuple[tuple[int, ...], int, int, int]] = [((first,), 0, common[first], expected_fen[first])]
    while stack:
        chosen, start, lines_left, total = stack.pop()
        steps += 1
        for mask, members in sums.get(total, ()):
            steps += 1
            if not mask & ~lines_left and not _is_sum_of_smaller(members, chosen, world.line_fen, expected_fen):
                found.append((members, tuple(sorted(chosen))))
        if steps > bound.nodes:
            raise BeyondBound
        if len(chosen) == bound.items:
            continue
        for place in range(start, len(others)):
            other = others[place]
            left, more = lines_left & common[other], total + expected_fen[other]
            if left and more <= largest:
                stack.append(((*chosen, other), place + 1, left, more))
    return found


def _subset_sums(
    lines: list[int], line_fen: Mapping[int, int], bit: Mapping[int, int], bound: Bound
) -> dict[int, list[tuple[int, tuple[int, ...]]]]:
    sums: dict[int, list[tuple[int, tuple[int, ...]]]] = {}
    steps = 0
    for size in range(1, min(bound.items, len(lines)) + 1):
        for members in combinations(lines, size):
            steps += 1
            if steps > bound.nodes:
                raise BeyondBound
            total = sum(line_fen[line] for line in members)
            sums.setdefault(total, []).append((sum(bit[line] for line in members), members))
    return sums


def _is_sum_of_smaller(
    lines: tuple[int, ...], expected: tuple[int, ...], line_fen: Mapping[int, int], expected_fen: Mapping[int, int]
) -> bool:
    """Whether a part of these lines ties with a part of these expected items: then the rest does, too."""
    if len(lines) == 1 or len(expected) == 1:
        return False
    return not _part_sums([line_fen[line] for line in lines]).isdisjoint(
        _part_sums([expected_fen[one] for one in expected])
    )


def _part_sums(amounts: list[int]) -> set[int]:
    return {sum(part) for size in range(1, len(amounts)) for part in combinations(amounts, size)}


def certain_groups(groups: Sequence[tuple[int, ...]], *, nodes: int) -> list[int]:
    """Which of these groups of items (indices into `groups`) belong to every solution.

    Raises BeyondBound after so many steps.
    """
    vertices = sorted({vertex for group in groups for vertex in group})
    if len(vertices) > GROUP_VERTICES_MAX:
        raise BeyondBound
    place_of = {vertex: place for place, vertex in enumerate(vertices)}
    starting: list[list[tuple[int, int]]] = [[] for _ in vertices]
    for number, group in enumerate(groups):
        places = sorted(place_of[vertex] for vertex in group)
        starting[places[0]].append((sum(1 << place for place in places), 1 << number))
    best = _solutions(starting, nodes)
    in_all = -1
    for chosen in best.values():
        in_all &= chosen
    return [number for number in range(len(groups)) if best and in_all >> number & 1]


def _solutions(starting: list[list[tuple[int, int]]], nodes: int) -> dict[int, int]:
    """What the solutions cover, each with the groups that all solutions of that cover have in common.

    From item to item: it stays open, is covered already, or one of the groups that begin with it is taken. What two
    beginnings leave free alike is solved once; a cover within another one is dropped at once.
    """
    known: dict[tuple[int, int], dict[int, int]] = {}
    spent = 0

    def solve(place: int, used: int) -> dict[int, int]:
        nonlocal spent
        if place == len(starting):
            return {0: 0}
        used &= -1 << place
        state = (place, used)
        if state in known:
            return known[state]
        found: dict[int, int] = dict(solve(place + 1, used))
        if not used >> place & 1:
            for mask, number in starting[place]:
                if mask & used:
                    continue
                for cover, chosen in solve(place + 1, used | mask).items():
                    whole, both = cover | mask, chosen | number
                    found[whole] = found[whole] & both if whole in found else both
        spent += 1 + len(found)
        if spent > nodes:
            raise BeyondBound
        known[state] = result = _undominated(found)
        return result

    return solve(0, 0)


def _undominated(found: dict[int, int]) -> dict[int, int]:
    if len(found) < 2:
        return found
    kept: dict[int, int] = {}
    for cover in sorted(found, key=lambda mask: (-mask.bit_count(), mask)):
        if not any(cover & other == cover for other in kept):
            kept[cover] = found[cover]
    return kept
