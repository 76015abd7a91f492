"""What the bank says a day closed with must be what its statements' entries give: the external check."""

from __future__ import annotations

from datetime import datetime

from escrow_monitor.domain.findings import Finding, Level, Sentence, Standing, Value, account_subject
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.policy import EffectivePolicy
from escrow_monitor.domain.positions import Position

RULE = "external_check"
LEVEL = Level.ORANGE
"""A choice of ours, not law. One of two records of parents' money is wrong, and until it is known which, no figure of
the account can be relied on; but nothing shows yet that money is missing, which the floor would say in red."""


def examine(position: Position, policy: EffectivePolicy, now: datetime) -> tuple[Finding, ...]:
    """Breached while a day's two closings differ. An account without any statement has no finding.

    A closing stated for a day that no statement covers says nothing here: the day is missing, and that rule speaks.
    Values of a breach: `on`, `stated`, `rolled`, `difference` (stated less rolled) of the oldest day that differs, from
    which the later ones may follow; `since` when it was found; `days`, how many differ.
    """
    if position.entries_from is None:
        return ()
    subject, currency = account_subject(position.account.account_no), position.account.currency
    if not position.breaks:
        return (
            Finding(
                rule=RULE, subject=subject, standing=Standing.MET, sentence=_AGREES, as_of=now,
                values={"covered_to": position.entries_to},
            ),
        )
    first = position.breaks[0]
    values: dict[str, Value] = {
        "bank": position.account.bank,
        "on": first.on,
        "stated": Money(first.stated_fen, currency),
        "rolled": Money(first.rolled_fen, currency),
        "difference": Money(first.stated_fen - first.rolled_fen, currency),
        "since": first.found_at.astimezone(policy.zone),
        "days": position.break_count,
    }
    return (
        Finding(
            rule=RULE, subject=subject, standing=Standing.BREACHED, level=LEVEL, values=values, as_of=now,
            sentence=_DIFFERS if position.break_count == 1 else _DIFFER,
        ),
    )


_AGREES = Sentence(
    zh="截至 {covered_to}，银行单独提供的日终余额与流水推算无差异",
    en="no closing balance that the bank stated apart from its statements differs from our entries up to {covered_to}",
)
_DIFFERS = Sentence(
    zh="{on} 日终余额：{bank} 称 {stated}，按流水推算为 {rolled}，相差 {difference}，自 {since} 起未消除；"
    "请向银行核实哪一个正确，取得缺少或更正的对账单并导入，查清前按较低者掌握",
    en="{on} closed with {stated} says {bank}, with {rolled} by the entries: a difference of {difference}, open since "
    "{since}; ask the bank which is right, load the statement that was missing or corrected, and until then rely on no "
    "more than the lower",
)
_DIFFER = Sentence(
    zh="{days} 天的日终余额与流水推算不符，最早为 {on}：{bank} 称 {stated}，按流水推算为 {rolled}，相差 {difference}，"
    "自 {since} 起未消除；请先查最早一天，向银行核实，取得缺少或更正的对账单并导入，查清前按较低者掌握",
    en="{days} days closed otherwise than by the entries, first {on}: {stated} says {bank}, {rolled} by the entries, a "
    "difference of {difference}, open since {since}; begin with the first, ask the bank which is right, load the "
    "statement that was missing or corrected, and until then rely on no more than the lower",
)
