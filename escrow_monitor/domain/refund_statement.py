"""A refund quote as one reads it out to a family: every figure and sentence in one language, ready to be laid out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from escrow_monitor.domain import refund_words as words
from escrow_monitor.domain.findings import Sentence
from escrow_monitor.domain.refund_quote import Alternative, Line, Quote
from escrow_monitor.domain.refund_words import Why


class Language(StrEnum):
    """In which language a statement is written."""

    ZH = "zh"
    EN = "en"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementRow:
    """One row: what it is, its amount as people write it (`-1,300.00`), and why."""

    title: str
    amount: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementOther:
    """A ground that was not applied: what it would give, whether it holds, and why."""

    title: str
    refund: str
    penalty: str
    standing: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundStatement:
    """A quote in one language. `rows` add up to `total`, `penalty_rows` to `penalty`. All text is plain, unescaped."""

    language: Language
    title: str
    facts: tuple[tuple[str, str], ...]
    ground: str
    ground_why: str
    rows: tuple[StatementRow, ...]
    total: str
    penalty_rows: tuple[StatementRow, ...]
    penalty: str
    due: str
    due_why: str
    others: tuple[StatementOther, ...]
    notes: tuple[str, ...]


def statement_of(quote: Quote, language: Language) -> RefundStatement:
    """Write a quote out in one language."""

    def say(sentence: Sentence | Why) -> str:
        return sentence.zh if language is Language.ZH else sentence.en

    def row(line: Line) -> StatementRow:
        return StatementRow(title=say(words.TITLES[line.label]), amount=line.amount.grouped, why=say(line.why))

    def other(each: Alternative) -> StatementOther:
        return StatementOther(
            title=say(words.GROUNDS[each.ground]), refund=each.refund.grouped, penalty=each.penalty.grouped,
            standing=say(_STANDINGS[each.valid]), why=say(each.why),
        )

    facts = (
        (_CONTRACT, quote.contract_no),
        (_CLAIMED_ON, quote.claimed_on.isoformat()),
        (_ON, quote.on.isoformat()),
        (_CAUSE, say(words.CAUSES[quote.cause.value])),
        (_CURRENCY, quote.currency),
        (_PAID, quote.paid.grouped),
        (_LESSONS, str(quote.taught.confirmed)),
    )
    return RefundStatement(
        language=language, title=say(_TITLE), facts=tuple((say(name), value) for name, value in facts),
        ground=say(words.GROUNDS[quote.ground]), ground_why=say(quote.why),
        rows=tuple(row(line) for line in quote.lines), total=quote.refund.grouped,
        penalty_rows=tuple(row(line) for line in quote.penalty_lines), penalty=quote.penalty.grouped,
        due=say(_NO_DAY) if quote.due_on is None else quote.due_on.isoformat(), due_why=say(quote.due_why),
        others=tuple(other(each) for each in quote.alternatives), notes=(say(_UNVERIFIED),),
    )


_TITLE = Sentence(zh="退费计算书", en="Refund statement")
_CONTRACT = Sentence(zh="合同编号", en="Contract")
_CLAIMED_ON = Sentence(zh="提出日期", en="Claimed on")
_ON = Sentence(zh="计算日期", en="Computed for")
_CAUSE = Sentence(zh="退费原因", en="Cause")
_CURRENCY = Sentence(zh="币种", en="Currency")
_PAID = Sentence(zh="已缴金额", en="Paid")
_LESSONS = Sentence(zh="已确认课时", en="Lessons confirmed")
_NO_DAY = Sentence(zh="未知", en="not known")
_UNVERIFIED = Sentence(
    zh="标注[未核实]的条款尚未核对原文；以双方签订的合同和裁决为准",
    en="what is marked [unverified] was not checked against its source; the signed contract and any ruling prevail",
)
_STANDINGS = {
    True: Sentence(zh="成立", en="holds"),
    False: Sentence(zh="不成立", en="does not hold"),
    None: Sentence(zh="待定", en="open"),
}
