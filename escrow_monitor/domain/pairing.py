"""Which pairs belong to every largest pairing of a graph of candidates.

    a - 1    a has only 1, so b must take 2: both pairs are in the one largest pairing
    b - 1
    b - 2

    c - 3    c or d, nobody can say which: 3 pairs off in every largest pairing, but with neither for certain
    d - 3

What one line could be is never decided by looking at that line alone: a pick that takes away another line's only
partner would make the pairing smaller, and is not in every largest one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Edge = tuple[int, int]
"""A left and a right place; the two sides are numbered apart."""


def certain_pairs(edges: Iterable[Edge]) -> list[Edge]:
    """The pairs that every largest pairing contains, sorted. Time grows with edges x side in the worst case.

    A pair of one largest pairing is in all of them unless it can be swapped away: by a path that begins at somebody
    who has no partner, or by a circle of alternatives (Berge; the same test that persistent arcs of all-different
    constraints pass).
    """
    choices: dict[int, list[int]] = {}
    for left, right in sorted(set(edges)):
        choices.setdefault(left, []).append(right)
    partner_of_left, partner_of_right = _largest(choices)
    loose = _loose(choices, partner_of_left, partner_of_right)
    circle = _circles(choices, partner_of_left, partner_of_right)
    return [
        (left, right) for left, right in sorted(partner_of_left.items())
        if left not in loose and circle[left] is None
    ]


def components(edges: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """Group edges (each a tuple of vertices) that hang together; the groups hold indices into `edges`."""
    parent: dict[int, int] = {}

    def root(vertex: int) -> int:
        while parent.setdefault(vertex, vertex) != vertex:
            parent[vertex] = vertex = parent[parent[vertex]]
        return vertex

    for edge in edges:
        first = root(edge[0])
        for vertex in edge[1:]:
            parent[root(vertex)] = first
    found: dict[int, list[int]] = {}
    for place, edge in enumerate(edges):
        found.setdefault(root(edge[0]), []).append(place)
    return list(found.values())


def _largest(choices: dict[int, list[int]]) -> tuple[dict[int, int], dict[int, int]]:
    """One largest pairing: grow it along alternating paths until there are none (breadth first, so never recursive)."""
    of_left: dict[int, int] = {}
    of_right: dict[int, int] = {}
    for left, rights in choices.items():
        free = next((right for right in rights if right not in of_right), None)
        if free is not None:
            of_left[left], of_right[free] = free, left
    for left in choices:
        if left not in of_left:
            _grow(left, choices, of_left, of_right)
    return of_left, of_right


def _grow(start: int, choices: dict[int, list[int]], of_left: dict[int, int], of_right: dict[int, int]) -> None:
    came_from: dict[int, int] = {}
    queue = [start]
    for left in queue:
        for right in choices[left]:
            if right in came_from:
                continue
            came_from[right] = left
            if right in of_right:
                queue.append(of_right[right])
                continue
            here: int | None = right
            while here is not None:
                mover = came_from[here]
                before = of_left.get(mover)
                of_left[mover], of_right[here] = here, mover
                here = before
            return


def _loose(choices: dict[int, list[int]], of_left: dict[int, int], of_right: dict[int, int]) -> set[int]:
    """The paired lefts that some largest pairing pairs otherwise or leaves alone, for somebody without a partner."""
    loose: set[int] = set()
    # From a left without a partner: to a right it could take, whose partner would then be the one left alone.
    queue = [left for left in choices if left not in of_left]
    for left in queue:
        for right in choices[left]:
            other = of_right[right]
            if other not in loose:
                loose.add(other)
                queue.append(other)
    # From a right without a partner: a left that could take it, whose right would then be the one left alone.
    wanted_by: dict[int, list[int]] = {}
    for left, rights in choices.items():
        for right in rights:
            wanted_by.setdefault(right, []).append(left)
    alone = [right for right in wanted_by if right not in of_right]
    seen = set(alone)
    for right in alone:
        for left in wanted_by[right]:
            loose.add(left)
            freed = of_left[left]
            if freed not in seen:
                seen.add(freed)
                alone.append(freed)
    return loose


def _circles(
    choices: dict[int, list[int]], of_left: dict[int, int], of_right: dict[int, int]
) -> dict[int, int | None]:
    """For each paired left the circle of alternatives it is on, or None: strongly connected parts (Tarjan)."""
    steps = {
        left: [of_right[right] for right in choices[left] if right in of_right and right != of_left[left]]
        for left in of_left
    }
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    circle: dict[int, int | None] = {}
    for start in steps:
        if start in index:
            continue
        work = [(start, iter(steps[start]))]
        index[start] = low[start] = len(index)
        stack.append(start)
        while work:
            left, rest = work[-1]
            for other in rest:
                if other not in index:
                    index[other] = low[other] = len(index)
                    stack.append(other)
                    work.append((other, iter(steps[other])))
                    break
                if other not in circle:
                    low[left] = min(low[left], index[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[left])
                if low[left] == index[left]:
                    _close(left, stack, circle)
    return circle


def _close(root: int, stack: list[int], circle: dict[int, int | None]) -> None:
    size = len(stack) - stack.index(root)
    members = stack[-size:]
    del stack[-size:]
    for member in members:
        circle[member] = root if size > 1 else None
