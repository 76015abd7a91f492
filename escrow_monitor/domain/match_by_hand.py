"""A match by a person: of whatever they choose, with a reason, which also has to explain what is left over."""

from __future__ import annotations

from collections.abc import Collection

from escrow_monitor.domain.matching import BankLine, Expected, Match, MatchingError, Tier, match_id


def hand_match(lines: Collection[BankLine], expected: Collection[Expected], *, reason: str) -> Match:
    """A match of these items by a person. Raises MatchingError if they cannot be one."""
    if not reason.strip():
        raise MatchingError("a match by hand needs a reason")
    if not lines or not expected:
        raise MatchingError("a match needs a bank line and an expected item")
    worlds = {(line.uscc, line.currency) for line in lines} | {(one.uscc, one.currency) for one in expected}
    if len(worlds) > 1:
        raise MatchingError("these items are of more than one institution or currency")
    line_ids = tuple(sorted(line.line_id for line in lines))
    expected_ids = tuple(sorted(one.expected_id for one in expected))
    residual = sum(line.amount_fen for line in lines) - sum(one.amount_fen for one in expected)
    return Match(
        match_id=match_id(line_ids, expected_ids), tier=Tier.MANUAL, line_ids=line_ids, expected_ids=expected_ids,
        residual_fen=residual, basis=reason.strip(),
    )
