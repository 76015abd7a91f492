"""Rows of one file that have the same key: which are the same again, and which contradict each other."""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterable
from typing import NamedTuple

PARTS = 64


class Twins(NamedTuple):
    """`again` are the lines that repeat an earlier one; `differing` those that contradict another, with that line."""

    again: frozenset[int]
    differing: dict[int, int]


class TwinSearch:
    """Takes every row of a file, and says in the end which keys came twice: in twenty bytes a row, whatever its length.

    Keys and facts are compared by their 64-bit hashes, seeded anew in every process: of ten million different keys,
    two are taken for one in one of 400,000 files, which is then refused and not misread.
    """

    def __init__(self) -> None:
        self._keys = [array("q") for _ in range(PARTS)]
        self._facts = [array("q") for _ in range(PARTS)]
        self._lines = [array("L") for _ in range(PARTS)]

    def add(self, lines: Iterable[int], keys: Iterable[Hashable], rows: Iterable[Hashable]) -> None:
        """Note some rows: the line, the key and all cells of each."""
        all_keys, all_facts, all_lines = self._keys, self._facts, self._lines
        for line, key, facts in zip(lines, map(hash, keys), map(hash, rows), strict=True):
            part = key % PARTS
            all_keys[part].append(key)
            all_facts[part].append(facts)
            all_lines[part].append(line)

    def found(self) -> Twins:
        """What came twice."""
        again: set[int] = set()
        differing: dict[int, int] = {}
        for keys, facts, lines in zip(self._keys, self._facts, self._lines, strict=True):
            # Most files have none, and that is seen at once.
            if len(set(keys)) == len(keys):
                continue
            first: dict[int, tuple[int, int]] = {}
            for key, fact, line in zip(keys, facts, lines, strict=True):
                seen_fact, seen_line = first.setdefault(key, (fact, line))
                if seen_line == line:
                    continue
                if seen_fact == fact:
                    again.add(line)
                else:
                    differing[line] = seen_line
                    differing.setdefault(seen_line, line)
        return Twins(frozenset(again), differing)
