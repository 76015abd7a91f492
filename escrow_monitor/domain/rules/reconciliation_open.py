"""A reconciliation must be complete, and what it leaves open must not grow old."""

from __future__ import annotations

from datetime import datetime

from escrow_monitor.domain.bridge import BridgeLine, Reconciliation
from escrow_monitor.domain.bridge_words import Label
from escrow_monitor.domain.calendar import CalendarUnknown, working_days_between
from escrow_monitor.domain.findings import Finding, Level, Sentence, Standing, Value, institution_subject
from escrow_monitor.domain.institution_position import InstitutionPosition
from escrow_monitor.domain.policy import EffectivePolicy
from escrow_monitor.domain.timetable import calendar_unknown

RULE = "reconciliation_open"
LEVEL = Level.YELLOW
"""A choice of ours: the floor and the other rules say what is grave; this says that nobody knows, or nobody looks."""
OLD_WORKING_DAYS = 5
"""For so many working days a timing difference may be one; a choice of ours."""
OPEN_ITEMS = frozenset({
    Label.CREDIT_WITHOUT_CHARGE, Label.EARLY_CREDIT, Label.UNCLEAR, Label.REFUND_NOT_RECORDED, Label.REFUND_NOT_SEEN,
    Label.MATCH_DIFFERENCE, Label.OWN_TRANSFERS, Label.BANK_DIFFERS, Label.IN_TRANSIT,
})
"""Lines of which each item should go away by itself; charges not received have a rule of their own."""


def examine(position: InstitutionPosition, policy: EffectivePolicy, now: datetime) -> tuple[Finding, ...]:
    """Unknown while a reconciliation is not complete; breached while items are open for too long."""
    return tuple(_examine(position, one, policy, now) for one in position.reconciliations)


def _examine(
    position: InstitutionPosition, run: Reconciliation, policy: EffectivePolicy, now: datetime
) -> Finding:
    subject, period = institution_subject(position.institution.uscc), run.period
    values: dict[str, Value] = {"on": run.on, "net": run.net, "residual": run.residual}
    if not run.complete:
        values |= {
            "reasons": len(run.missing), "why": run.missing[0].why.value, "first_zh": run.missing[0].zh,
            "first_en": run.missing[0].en,
        }
        return Finding(
            rule=RULE, subject=subject, period=period, standing=Standing.UNKNOWN, level=LEVEL, sentence=_INCOMPLETE,
            values=values, as_of=now,
        )
    try:
        old = [line for line in run.lines if _is_old(line, run, policy)]
    except CalendarUnknown as unknown:
        return calendar_unknown(unknown, rule=RULE, subject=subject, now=now, period=period)
    if not old:
        return Finding(
            rule=RULE, subject=subject, period=period, standing=Standing.MET, sentence=_MET, values=values, as_of=now
        )
    oldest = min(old, key=lambda line: (line.oldest_on or run.on, line.label))
    values |= {
        "items": sum(line.count for line in old), "since": oldest.oldest_on, "kind": oldest.label.value,
        "impact": oldest.impact, "kind_zh": oldest.sentence.zh, "kind_en": oldest.sentence.en,
        "allowed_working_days": OLD_WORKING_DAYS,
    }
    return Finding(
        rule=RULE, subject=subject, period=period, standing=Standing.BREACHED, level=LEVEL, sentence=_OLD,
        values=values, as_of=now,
    )


def _is_old(line: BridgeLine, run: Reconciliation, policy: EffectivePolicy) -> bool:
    if line.label not in OPEN_ITEMS or line.oldest_on is None or not line.impact.minor_units:
        return False
    return working_days_between(line.oldest_on, run.on, policy.calendar) > OLD_WORKING_DAYS


_MET = Sentence(
    zh="{on} 的对账完整，差额 {net} 已逐项说明，没有久挂的项目",
    en="the reconciliation of {on} is complete: its net of {net} is explained line by line, and nothing is open for "
    "long",
)
_INCOMPLETE = Sentence(
    zh="{on} 的对账不完整（{reasons} 项原因），结论不可靠；首先：{first_zh}",
    en="the reconciliation of {on} is not complete ({reasons} reasons), so it proves nothing; first: {first_en}",
)
_OLD = Sentence(
    zh="{on} 的对账有 {items} 个未清项目，最早自 {since} 起，已超过 {allowed_working_days} 个工作日："
    "{kind_zh}（{impact}）；请逐项核实，手工匹配（matches make）或更正记录",
    en="{items} items of the reconciliation of {on} are open, the first since {since}, longer than "
    "{allowed_working_days} working days: {kind_en} ({impact}); look at each, match it by hand (matches make) or "
    "correct the records",
)
