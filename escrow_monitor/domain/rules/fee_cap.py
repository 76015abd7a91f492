"""An institution may not take too much from a family at once, too early, or as a loan (R06).

What was taken so is heard of for as long as the families have not had all of it taught or given back.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from escrow_monitor.domain.clauses import Clause, FeeCap
from escrow_monitor.domain.findings import Finding, Level, Sentence, Standing, Value, institution_subject
from escrow_monitor.domain.institution_position import FeeCapFacts, InstitutionPosition
from escrow_monitor.domain.policy import EffectivePolicy

RULE = "fee_cap"
CLAUSES_TOLD_MAX = 5


def examine(position: InstitutionPosition, policy: EffectivePolicy, now: datetime) -> tuple[Finding, ...]:
    """One finding over all caps, yellow where any was passed: how often, since when, by which clause, and an example.

    Values, a set a clause: `count`, `first_on`, `example`, `largest`, `clause` and `verified`, with its number behind.
    """
    subject = institution_subject(position.institution.uscc)
    if position.fee_caps is None:
        return (Finding(rule=RULE, subject=subject, standing=Standing.UNKNOWN, sentence=_NOT_LOOKED, as_of=now),)
    clauses = {clause.id: clause for clause in policy.fee_caps}
    passed = [(clauses[each.clause_id], each) for each in position.fee_caps if each.clause_id in clauses]
    if not passed:
        return (Finding(rule=RULE, subject=subject, standing=Standing.MET, sentence=_WITHIN, as_of=now),)
    values: dict[str, Value] = {"clauses": len(passed)}
    for number, (clause, facts) in enumerate(passed[:CLAUSES_TOLD_MAX], 1):
        values.update({
            f"count_{number}": facts.count, f"first_on_{number}": facts.first_on,
            f"example_{number}": facts.example_no, f"largest_{number}": facts.largest,
            f"clause_{number}": clause.id, f"verified_{number}": clause.verified,
        })
    return (Finding(
        rule=RULE, subject=subject, standing=Standing.BREACHED, level=Level.YELLOW, sentence=_beyond(passed),
        values=values, as_of=now,
    ),)


def _beyond(passed: Sequence[tuple[Clause[FeeCap], FeeCapFacts]]) -> Sentence:
    told = passed[:CLAUSES_TOLD_MAX]
    more = len(passed) - len(told)
    zh = "；".join(
        f"{_plain(clause.title.zh)}（{_plain(clause.basis.zh)}）：自 {{first_on_{number}}} 起超出 "
        f"{{count_{number}}} 次，最大 {{largest_{number}}}，如 {{example_{number}}}"
        for number, (clause, _) in enumerate(told, 1)
    )
    en = "; ".join(
        f"{_plain(clause.title.en)} ({_plain(clause.basis.en)}): passed {{count_{number}}} times since "
        f"{{first_on_{number}}}, by {{largest_{number}}} at most, e.g. {{example_{number}}}"
        for number, (clause, _) in enumerate(told, 1)
    )
    return Sentence(
        zh=f"向家庭一次性收费超出规定：{zh}" + (f"；另有 {more} 条" if more else "")
        + "；请机构退还超收部分或说明情况，或更正数据",
        en=f"more was taken from families at once than may be: {en}" + (f"; and {more} more" if more else "")
        + "; have the institution give back what is too much or explain it, or correct the records",
    )


def _plain(text: str) -> str:
    """A pack's text inside a sentence: its braces are not ours to fill."""
    return text.replace("{", "{{").replace("}", "}}")


_NOT_LOOKED = Sentence(
    zh="尚未核查一次性收费是否超出规定", en="whether too much was taken from families at once was not looked at"
)
_WITHIN = Sentence(
    zh="未发现尚未消课的一次性收费超出规定",
    en="nothing that is still owed to families was taken beyond what may be taken at once",
)
