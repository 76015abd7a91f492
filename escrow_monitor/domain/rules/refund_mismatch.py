"""What a family claims back is what contract and law give, and can be computed (R08)."""

from __future__ import annotations

from datetime import datetime

from escrow_monitor.domain.findings import Finding, Level, Sentence, Standing, Value, institution_subject
from escrow_monitor.domain.institution_position import InstitutionPosition, RefundFacts
from escrow_monitor.domain.policy import EffectivePolicy

RULE = "refund_mismatch"
LEVEL = Level.YELLOW
"""Nobody has lost anything yet: somebody must look at the sums before they agree or rule."""


def examine(position: InstitutionPosition, policy: EffectivePolicy, now: datetime) -> tuple[Finding, ...]:
    """Yellow while a claim that is not decided asks for another amount than is due, or what is due cannot be said."""
    subject = institution_subject(position.institution.uscc)
    facts = position.refunds
    if facts is None:
        return (Finding(rule=RULE, subject=subject, standing=Standing.UNKNOWN, sentence=_NOT_LOOKED_AT, as_of=now),)
    differing = [each for each in facts if each.differing]
    unquotable = [each for each in facts if each.unquotable]
    if differing:
        standing, level, sentence, values = Standing.BREACHED, LEVEL, _DIFFERS, _differing(differing)
    elif unquotable:
        standing, level, sentence = Standing.UNKNOWN, LEVEL, _UNQUOTABLE
        values = {"case": unquotable[0].unquotable_case}
    else:
        standing, level, sentence, values = Standing.MET, None, _MET, {}
    counts: dict[str, Value] = {
        "unquotable": sum(each.unquotable for each in facts), "open_cases": sum(each.open_cases for each in facts),
    }
    return (
        Finding(
            rule=RULE, subject=subject, standing=standing, level=level, sentence=sentence, as_of=now,
            values={**values, **counts},
        ),
    )


def _differing(differing: list[RefundFacts]) -> dict[str, Value]:
    """Of several currencies the first by name; cases are counted over all."""
    first = differing[0]
    return {
        "differing": sum(each.differing for each in differing), "difference": first.difference_max,
        "case": first.differing_case, "on": first.on,
    }


_NOT_LOOKED_AT = Sentence(
    zh="退费案件未检查，申请金额是否与应退金额一致未知",
    en="the refund cases were not looked at, so whether claims agree with what is due is not known",
)
_DIFFERS = Sentence(
    zh="截至 {on}，{differing} 个退费案件的申请金额与按合同和规定计算的应退金额不符，最大相差 {difference}"
    "（案件 {case}）；请用 cases show 查看逐项计算，核对课时、资料和赠课，再协商或裁定",
    en="{differing} refund cases claim another amount than contract and law give on {on}, by up to {difference} (case "
    "{case}); look at the sum line by line with cases show, check lessons, materials and gifts, then settle or rule",
)
_UNQUOTABLE = Sentence(
    zh="{unquotable} 个退费案件无法计算应退金额（如案件 {case}）：合同记录自相矛盾；请更正缴费、课时或退费记录",
    en="what is due cannot be computed for {unquotable} refund cases (e.g. case {case}): the records of the contract "
    "cannot be right; correct its charges, lessons or refunds",
)
_MET = Sentence(
    zh="{open_cases} 个未结退费案件，申请金额与应退金额相符",
    en="{open_cases} refund cases are open and what they claim agrees with what is due",
)
