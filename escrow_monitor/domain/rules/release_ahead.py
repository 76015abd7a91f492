"""Money leaves custody in step with teaching: no more may be drawn than lessons have earned."""

from __future__ import annotations

from datetime import datetime

from escrow_monitor.domain.accounts import Mode
from escrow_monitor.domain.bridge import Reconciliation
from escrow_monitor.domain.clauses import FullLiability
from escrow_monitor.domain.findings import Finding, Level, Sentence, Standing, Value, institution_subject
from escrow_monitor.domain.institution_position import InstitutionPosition
from escrow_monitor.domain.policy import EffectivePolicy

RULE = "release_ahead"
LEVEL = Level.RED
"""Release in step with and in proportion to teaching is the heart of bank custody (domain.md N8); R04 of its list."""


def examine(position: InstitutionPosition, policy: EffectivePolicy, now: datetime) -> tuple[Finding, ...]:
    """Breached while more was drawn since coverage began than was taught and paid for.

    What lay there beyond what was owed when coverage began, and what the institution paid in of its own, may be drawn
    as well. Only where the money is in custody; a floor leaves free what is above it. Met is said only of a complete
    reconciliation; what was seen leaving counts in any.
    """
    custody = any(isinstance(clause.terms, FullLiability) for clause in policy.floor_clauses)
    return tuple(
        _examine(position, one, now) for one in position.reconciliations if custody or Mode.CUSTODY in one.modes
    )


def _examine(position: InstitutionPosition, run: Reconciliation, now: datetime) -> Finding:
    values: dict[str, Value] = {
        "on": run.on, "began_on": run.began_on, "released": run.released, "earned": run.earned,
        "ahead": run.ahead_unexcused, "opening_surplus": run.opening_surplus, "idle_days": run.idle_days,
        "idle_amount": run.idle_amount, "idle_last_on": run.idle_last_on, "complete": str(run.complete).lower(),
    }
    breached = run.ahead_unexcused.minor_units > 0
    sentence = _MET if run.complete else _UNKNOWN
    if breached:
        sentence = _SENTENCES[run.idle_days > 0, run.complete]
    standing = Standing.BREACHED if breached else Standing.MET if run.complete else Standing.UNKNOWN
    return Finding(
        rule=RULE, subject=institution_subject(position.institution.uscc), period=run.period, standing=standing,
        level=LEVEL if breached else None, sentence=sentence, values=values, as_of=now,
    )


_MET = Sentence(
    zh="自 {began_on} 至 {on}，划出 {released}，未超过已授课应得 {earned}（及期初结余 {opening_surplus}）",
    en="from {began_on} to {on} {released} was drawn, no more than the {earned} earned by teaching (and the "
    "{opening_surplus} that lay there before)",
)
_UNKNOWN = Sentence(
    zh="截至 {on} 所见划出 {released}，已授课应得 {earned}；对账不完整，是否超前划拨未知",
    en="by {on} {released} was seen to be drawn and {earned} was earned by teaching; the reconciliation is not "
    "complete, so whether more was drawn is not known",
)


def _ahead(*, idle: bool, complete: bool) -> Sentence:
    zh_idle = "，其中 {idle_days} 天的划出之前没有新确认的课时" if idle else ""
    en_idle = ", and on {idle_days} days with no lesson confirmed since the time before" if idle else ""
    return Sentence(
        zh="自 {began_on} 至 {on}，划出 {released}，已授课且已缴费的应得仅 {earned}，期初结余 {opening_surplus}，"
        f"超前划拨 {{ahead}}{zh_idle}；请核实划出用途，要求机构补回，或补录已确认的课时"
        + ("" if complete else "（对账不完整）"),
        en="from {began_on} to {on} {released} was drawn, {earned} was earned by teaching that was paid for and "
        f"{{opening_surplus}} lay there before: {{ahead}} was drawn ahead of teaching{en_idle}; find out what it was "
        "for, have the institution pay it back, or record the lessons that were confirmed"
        + ("" if complete else " (the reconciliation is not complete)"),
    )


_SENTENCES = {
    (idle, complete): _ahead(idle=idle, complete=complete) for idle in (False, True) for complete in (False, True)
}
