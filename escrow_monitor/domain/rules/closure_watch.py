"""An institution may be about to close with families' money: what the closure watch says, as one finding.

Nothing in it is law: levels, chances and the terms behind them are fitted (`domain/closure/model.toml`) and judged by
back-test. What a supervisor may do is the ladder of domain.md 5.1, proposed only: a person decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from fractions import Fraction
from typing import TYPE_CHECKING

from escrow_monitor.domain.findings import Finding, Level, Sentence, Standing, Value, institution_subject

if TYPE_CHECKING:
    # Arrays are loaded by the round that makes outlooks, and not by whoever asks what rules there are.
    from escrow_monitor.domain.closure.outlook import Outlook

RULE = "closure_watch"


def examine(outlook: Outlook, now: datetime) -> Finding:
    """Breached at a level, met where enough is known to say that nothing is wrong, else unknown."""
    values: dict[str, Value] = {
        "on": outlook.on, "level": outlook.level, "said": outlook.said,
        **{f"chance_{days}": _share(chance) for days, chance in outlook.chances.items()},
        "chance_high": _share(outlook.chance_high), "percent": percent_words(outlook.chances[60]),
        "balance": outlook.balance, "owed": outlook.owed if outlook.books else None,
        "exposed": outlook.exposed if outlook.books else None,
        "exposed_then": outlook.exposed_then if outlook.books else None,
        "reasons_zh": "；".join(f"{one.zh}{'（本周新增）' if one.new else ''}" for one in outlook.reasons)
        or "各项征兆合计",
        "reasons_en": "; ".join(f"{one.en}{' (new this week)' if one.new else ''}" for one in outlook.reasons)
        or "many small signs together",
        "reasons": ", ".join(one.name for one in outlook.reasons), "model": outlook.model,
    }
    values["stake_zh"], values["stake_en"] = _stake(outlook)
    if outlook.breach_in is not None:
        values |= dict(zip(("breach_early_days", "breach_days", "breach_late_days"), outlook.breach_in, strict=True))
    standing = Standing.BREACHED if outlook.level else Standing.UNKNOWN if outlook.unsure else Standing.MET
    sentence = SENTENCES[outlook.level] if outlook.level else _UNKNOWN if outlook.unsure else _MET
    return Finding(
        rule=RULE, subject=institution_subject(outlook.uscc), standing=standing, level=outlook.level,
        sentence=sentence, values=values, as_of=now,
    )


def _stake(outlook: Outlook) -> tuple[str, str]:
    """How much of families' money is at stake, now and in 90 days, as far as it is known."""
    if not outlook.books:
        return (
            f"合同未登记，应付家长金额未知；账户余额 {outlook.balance}；{outlook.breach_zh}",
            f"no contract is recorded, so what families are owed is not known; the account holds {outlook.balance}; "
            f"{outlook.breach_en}",
        )
    then_zh = then_en = ""
    if outlook.exposed_then is not None:
        then_zh, then_en = f"，90 天后约 {outlook.exposed_then}", f" and {outlook.exposed_then} in 90 days"
    return (
        f"家长预付款 {outlook.owed}，账户余额 {outlook.balance}，缺口 {outlook.exposed}{then_zh}；{outlook.breach_zh}",
        f"families are owed {outlook.owed}, the account holds {outlook.balance}; {outlook.exposed} is not covered now"
        f"{then_en}; {outlook.breach_en}",
    )


def _share(chance: float) -> Fraction:
    return Fraction(round(chance * 10_000), 10_000)


def percent_words(chance: float) -> str:
    """As people say it: no more digits than it deserves, and never quite sure."""
    if chance < 0.01:
        return "<1%"
    return ">95%" if chance > 0.95 else f"{round(chance * 100)}%"


_MET = Sentence(
    zh="截至 {on}，未见关停征兆：60 天内关停可能性 {percent}；{stake_zh}",
    en="on {on} nothing points to a closure: {percent} within 60 days; {stake_en}",
)
_UNKNOWN = Sentence(
    zh="截至 {on}，数据不足，不能排除关停风险；已知部分显示 60 天内关停可能性 {percent}；{stake_zh}",
    en="on {on} too little is known to rule out a closure; what is known says {percent} within 60 days; {stake_en}",
)
STEPS: Mapping[Level, tuple[str, str]] = {
    Level.YELLOW: ("提醒机构并核实上述情况", "remind the institution and look into the above"),
    Level.ORANGE: (
        "约谈负责人，要求书面说明并提供消课与划款明细",
        "summon those in charge; have them explain in writing, with lessons and releases one by one",
    ),
    Level.RED: (
        "当日约谈并现场核查，责令限期整改，研究暂停划拨与停止招收学员",
        "summon and inspect on site today, order rectification by a date, consider stopping releases and enrolment",
    ),
}
"""What may be done at each level, in Chinese and English."""


def _sentence(level: Level) -> Sentence:
    zh, en = STEPS[level]
    return Sentence(
        zh=f"疑似关停征兆：{{reasons_zh}}。60 天内关停可能性约 {{percent}}；{{stake_zh}}。建议：{zh}（由监管人员决定）",
        en=f"it may be about to close: {{reasons_en}}. About {{percent}} within 60 days; {{stake_en}}. "
        f"Proposed: {en} (a person decides)",
    )


SENTENCES: Mapping[Level, Sentence] = {level: _sentence(level) for level in STEPS}
