"""Which open items a person might look at together, because their texts are alike: proposed, never matched.

    line      3,000.00  "张小明 合同 HT-2026-00817 学费"       open, its reference says nothing
    expected  3,000.00  reference HT-2026-00187              open: two digits changed places, 70 of 100
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from escrow_monitor.domain.matching import BankLine, Expected, accounts_fit, reference_key

PIECE = 3
"""Texts are compared by their pieces of three characters."""
SCORE_MIN = 60
PROPOSALS_A_LINE_MAX = 3
PIECE_ITEMS_MAX = 200
"""A piece that more references than these have in common ("HT-", a year) tells none of them from the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Two open items whose texts are alike. `score`: so many of a hundred pieces of the reference are in the text."""

    line_id: str
    expected_id: str
    score: int
    difference_fen: int
    why: str


def proposals(lines: Iterable[BankLine], expected: Iterable[Expected]) -> tuple[Proposal, ...]:
    """The likeliest expected items for each open line, at most three, best first. Deterministic."""
    items = sorted(expected, key=lambda one: one.expected_id)
    pieces: list[frozenset[str]] = [_pieces(reference_key(one.reference) or "") for one in items]
    having: dict[tuple[str, str, bool, str], list[int]] = defaultdict(list)
    for place, one in enumerate(items):
        for piece in sorted(pieces[place]):
            having[one.uscc, one.currency, one.amount_fen > 0, piece].append(place)
    found: list[Proposal] = []
    for line in sorted(lines, key=lambda one: one.line_id):
        text = _pieces(reference_key(f"{line.reference or ''}{line.text}") or "")
        shared: Counter[int] = Counter()
        for piece in text:
            places = having.get((line.uscc, line.currency, line.amount_fen > 0, piece), [])
            if len(places) <= PIECE_ITEMS_MAX:
                shared.update(places)
        scored = [
            (100 * count // len(pieces[place]), items[place]) for place, count in shared.items()
            if accounts_fit(line, items[place])
        ]
        likely = sorted(
            (one for one in scored if one[0] >= SCORE_MIN),
            key=lambda one: (-one[0], abs(line.amount_fen - one[1].amount_fen), one[1].expected_id),
        )
        found += [_proposal(line, one, score) for score, one in likely[:PROPOSALS_A_LINE_MAX]]
    return tuple(found)


def _proposal(line: BankLine, one: Expected, score: int) -> Proposal:
    difference = line.amount_fen - one.amount_fen
    return Proposal(
        line_id=line.line_id, expected_id=one.expected_id, score=score, difference_fen=difference,
        why=f"its text has {score} of 100 parts of the reference"
            + ("" if difference else ", and the amount is the same"),
    )


def _pieces(text: str) -> frozenset[str]:
    if not text:
        return frozenset()
    return frozenset(text[start : start + PIECE] for start in range(max(1, len(text) - PIECE + 1)))
