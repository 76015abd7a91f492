"""A refund statement as a page that prints on A4: for the family, the institution and the file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from importlib.resources import files

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined

from escrow_monitor.domain.refund_quote import Quote
from escrow_monitor.domain.refund_statement import Language, statement_of

TAGS = {Language.ZH: "zh-CN", Language.EN: "en"}
STYLESHEET = "statement.css"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What stands over a statement besides the quote. `student_ref` is a pseudonym."""

    institution: str
    uscc: str
    course: str
    student_ref: str
    claim_no: str | None = None


def statement_page(
    quote: Quote, language: Language, *, heading: Heading, written_on: date, stylesheet_url: str | None = None
) -> str:
    """Write the page. It carries its own styles, unless it is told where they are."""
    return _templates().get_template("refund_statement.html").render(
        s=statement_of(quote, language), w=_WORDS[language], tag=TAGS[language], heading=heading,
        written_on=written_on.isoformat(), currency=quote.currency, digest=quote_digest(quote),
        stylesheet_url=stylesheet_url, styles=None if stylesheet_url else _styles(),
        has_penalty=bool(quote.penalty_lines),
    )


def quote_digest(quote: Quote) -> str:
    """The SHA-256 of the quote's JSON with sorted keys: two statements of one quote have the same."""
    return hashlib.sha256(orjson.dumps(quote.as_json(), option=orjson.OPT_SORT_KEYS)).hexdigest()


@lru_cache(maxsize=1)
def _styles() -> str:
    return files("escrow_monitor.web.console").joinpath("static", STYLESHEET).read_text("utf-8")


@lru_cache(maxsize=1)
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("escrow_monitor.web.console"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, auto_reload=False,
    )


_WORDS = {
    Language.ZH: {
        "institution": "机构", "uscc": "统一社会信用代码", "course": "课程", "student": "学员代号", "claim": "退费申请",
        "refund": "应退金额", "due": "应于此日前退清", "ground": "退费依据", "sum": "逐项计算", "item": "项目",
        "amount": "金额", "why": "说明和依据", "total": "应退合计", "penalty": "违约金（另计，不含在应退金额内）",
        "penalty_total": "违约金合计", "others": "未采用的其他依据", "would_be": "可退", "with_penalty": "违约金",
        "standing": "是否成立", "notes": "说明", "family": "家长（代号）签收", "of_institution": "机构签章",
        "staff": "经办人", "on_day": "日期", "written": "制表日期", "digest": "计算结果校验值 SHA-256",
    },
    Language.EN: {
        "institution": "Institution", "uscc": "Social credit code", "course": "Course", "student": "Student",
        "claim": "Claim", "refund": "Amount to be refunded", "due": "to be paid by the end of", "ground": "Ground",
        "sum": "Line by line", "item": "Item", "amount": "Amount", "why": "Why, and on what it rests",
        "total": "Refund", "penalty": "Penalty (beside the refund, not part of it)", "penalty_total": "Penalty",
        "others": "Grounds that were not applied", "would_be": "Refund", "with_penalty": "Penalty",
        "standing": "Holds?", "notes": "Notes", "family": "Received by the family", "of_institution": "Institution",
        "staff": "Prepared by", "on_day": "Date", "written": "Written on", "digest": "SHA-256 of this computation",
    },
}
