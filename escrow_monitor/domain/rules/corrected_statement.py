"""A day that was closed and is stated otherwise afterwards is told, whatever the reason."""

from __future__ import annotations

from datetime import datetime

from escrow_monitor.domain.findings import Finding, Level, Sentence, Standing, Value, account_subject
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.policy import EffectivePolicy
from escrow_monitor.domain.positions import Correction, Position

RULE = "corrected_statement"


def examine(position: Position, policy: EffectivePolicy, now: datetime) -> tuple[Finding, ...]:
    """One finding for each day corrected lately; the day is the period, the newest correction of it speaks.

    Yellow when a correction moved the closing balance, information when only what was booked changed.
    """
    if not position.corrections:
        return ()
    newest = {one.on: one for one in position.corrections}
    moved = {one.on for one in position.corrections if one.closing_before_fen != one.closing_after_fen}
    return tuple([_examine_day(position, one, one.on in moved) for one in newest.values()])


def _examine_day(position: Position, one: Correction, has_moved: bool) -> Finding:
    def money(fen: int) -> Money:
        return Money(fen, position.account.currency)

    values: dict[str, Value] = {
        "on": one.on, "source": one.source, "times": one.number,
        "closing_before": money(one.closing_before_fen), "closing": money(one.closing_after_fen),
        "opening_before": money(one.opening_before_fen), "opening": money(one.opening_after_fen),
        "added": one.added, "added_credits": money(one.added_credits_fen), "added_debits": money(one.added_debits_fen),
        "removed": one.removed, "removed_credits": money(one.removed_credits_fen),
        "removed_debits": money(one.removed_debits_fen), "reopened": one.reopened,
    }
    if one.closing_before_fen == one.closing_after_fen:
        sentence = _ENTRIES
    else:
        # Where nothing but the opening moved, there are no entries to tell of.
        sentence = _CLOSING[one.reopened is not None, bool(one.added or one.removed)]
    return Finding(
        rule=RULE, subject=account_subject(position.account.account_no), period=one.on.isoformat(),
        standing=Standing.BREACHED, level=Level.YELLOW if has_moved else Level.INFO, sentence=sentence, values=values,
        as_of=one.recorded_at,
    )


_FLOWS_ZH = (
    "撤销 {removed} 笔（入 {removed_credits}、出 {removed_debits}），补记 {added} 笔（入 {added_credits}、"
    "出 {added_debits}）"
)
_FLOWS_EN = (
    "{removed} entries taken back (in {removed_credits}, out {removed_debits}), {added} added (in {added_credits}, "
    "out {added_debits})"
)
_CLOSING = {
    (reopens, booked): Sentence(
        zh="{source} 更正 {on} 的日终余额：原 {closing_before}，现 {closing}；"
        + (_FLOWS_ZH if booked else "流水未变，期初余额由 {opening_before} 变为 {opening}")
        + ("；{reopened} 与之不衔接，已重新索取" if reopens else "") + "；请向银行核实原因",
        en="{source} corrected the closing of {on} from {closing_before} to {closing}; "
        + (_FLOWS_EN if booked else "what was booked stands, the opening moved from {opening_before} to {opening}")
        + ("; {reopened} no longer follows and is asked for again" if reopens else "") + "; ask the bank why",
    )
    for reopens in (True, False) for booked in (True, False)
}
"""Keyed by whether the next day is re-opened, and whether what was booked changed."""
_ENTRIES = Sentence(
    zh="{source} 更正 {on} 的流水，日终余额 {closing} 不变；" + _FLOWS_ZH,
    en="{source} corrected what was booked on {on}, the closing of {closing} stands; " + _FLOWS_EN,
)
