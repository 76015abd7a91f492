"""A back-test as a page: the methods side by side, how early each warned, and how far its chances can be believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from math import sqrt
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from escrow_monitor.web.charts import Axis, Line, line_chart

STYLESHEET = "back_test.css"
WINDOW_DAYS = 180
MISSES_MAX = 200
APART = frozenset({"forecast", "calibration", "past"})
SHARE_MARKS = tuple((tenth / 10, f"{tenth * 10} %") for tenth in range(0, 11, 2))
FIGURES = (
    ("closures", ""), ("recall_red_14d", "%"), ("lead_days_first_orange_median", "d"), ("lead_days_p10", "d"),
    ("lead_days_first_red_median", "d"), ("false_reds_per_100_institution_years", ""), ("protected_share", "%"),
    ("alerts_per_supervisor_week", ""),
)
"""The figures of the table and their units: a share, days, or a plain number."""


def back_test_page(document: Mapping[str, Any], language: str) -> str:
    """Write the page from the JSON of a back-test, so that both say the same. It stands by itself."""
    words = _WORDS["zh" if language == "zh" else "en"]
    methods = [one for name, one in document.items() if name not in APART]
    extra = [one for one in methods if one["method"] not in ("closure_watch", "static_floor", "below_obligation")]
    causes = sorted({cause for one in methods for cause in one["recall_by_cause"]})
    watch = methods[0]
    return _templates().get_template("back_test.html").render(
        w=words, tag="zh-CN" if language == "zh" else "en", past=document["past"], methods=methods, figures=FIGURES,
        show=_shown, forecast=document["forecast"], causes=causes, calibration=document["calibration"],
        lead_chart=_lead_chart(methods, words), calibration_chart=_calibration_chart(document["calibration"], words),
        misses=watch["misses"][:MISSES_MAX], misses_left=max(0, len(watch["misses"]) - MISSES_MAX),
        pair=extra[:2] if len(extra) >= 2 else [], change=_change,
        styles=files("escrow_monitor.web.console").joinpath("static", STYLESHEET).read_text("utf-8"),
    )


def _lead_chart(methods: Sequence[Mapping[str, Any]], words: Mapping[str, str]) -> Markup:
    """By each day before closing: of how many closures there had been a red."""
    return line_chart(
        words["lead_chart"], Axis(
            title=words["days_before"], first=WINDOW_DAYS, last=0,
            marks=[(days, str(days)) for days in range(0, WINDOW_DAYS + 1, 30)],
        ),
        Axis(title=words["share_warned"], first=0, last=1, marks=SHARE_MARKS),
        [Line(name=one["method"], steps=True, points=_warned_by(one["lead_days_first_red"])) for one in methods],
    )


def _warned_by(leads: Sequence[int]) -> list[tuple[float, float]]:
    # A lead of 0 stands for never, or for the day itself: neither is a warning.
    if not leads:
        return []
    marks = [WINDOW_DAYS, *sorted({lead for lead in leads if 0 < lead < WINDOW_DAYS}, reverse=True), 0]
    return [(mark, sum(lead >= max(mark, 1) for lead in leads) / len(leads)) for mark in marks]


def _calibration_chart(found: Sequence[Mapping[str, Any]], words: Mapping[str, str]) -> Markup:
    return line_chart(
        words["calibration_chart"], Axis(title=words["chance"], first=0, last=1, marks=SHARE_MARKS),
        Axis(title=words["happened"], first=0, last=1, marks=SHARE_MARKS),
        [
            Line(
                name=words["within"].format(days=one["horizon_days"]),
                points=[(each["chance"], each["happened"]) for each in one["bins"]],
                dots=[min(7.0, 2 + sqrt(each["mornings"]) / 12) for each in one["bins"]],
            )
            for one in found
        ],
        diagonal=True,
    )


def _shown(value: float | None, unit: str = "") -> str:
    """A figure as people read it; nothing can be said where there is none."""
    if value is None:
        return "—"
    if unit == "%":
        return f"{100 * value:.1f} %"
    return f"{value:.0f}" if unit == "d" or float(value).is_integer() else f"{value:.2f}"


def _change(one: float | None, other: float | None, unit: str = "") -> str:
    """How much more the other is."""
    if one is None or other is None:
        return "—"
    by = other - one
    return ("+" if by > 0 else "−" if by < 0 else "±") + _shown(abs(by), unit)


@lru_cache(maxsize=1)
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("escrow_monitor.web.console"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, auto_reload=False,
    )


_WORDS: Mapping[str, Mapping[str, str]] = {
    "zh": {
        "city": "沙盒城市", "records": "已登记的历史",
        "title": "预警回测报告", "source": "数据来源", "span": "评估期间", "institutions": "机构数",
        "supervised": "每名监管人员负责的机构数", "seed": "城市种子", "table": "各方法对比", "method": "方法",
        "closures": "关停数", "recall_red_14d": "关停前14天以上已发红色",
        "lead_days_first_orange_median": "首次橙色提前天数（中位数）",
        "lead_days_p10": "首次橙色提前天数（10%分位）", "lead_days_first_red_median": "首次红色提前天数（中位数）",
        "false_reds_per_100_institution_years": "每百机构年误报红色",
        "protected_share": "首次红色时家长资金仍在账的比例", "alerts_per_supervisor_week": "每人每周预警数",
        "colours": "各方法的颜色含义", "lead": "预警提前量",
        "lead_chart": "关停前各天数时，已发过红色预警的关停比例", "days_before": "关停前天数",
        "share_warned": "已发红色的关停", "calibration": "概率校准",
        "calibration_chart": "预测的关停概率与实际关停比例", "chance": "预测概率", "happened": "实际关停",
        "within": "{days} 天内", "diagonal": "虚线：预测与实际一致。圆点越大，样本越多。",
        "causes": "按关停原因的红色召回率（14天）", "cause": "原因", "misses": "预警系统漏报的关停",
        "institution": "机构", "closed_on": "关停日", "orange": "橙色提前天数", "red": "红色提前天数",
        "never": "从未", "none": "没有漏报。", "more": "另有 {count} 家", "pair": "两项政策对比",
        "difference": "差异", "forecast": "预测区间", "band": "80% 区间的实际覆盖率",
        "apart": "突发盗取（不可预见，已计入上表，另列如下）", "brier": "Brier 分数",
        "mornings": "机构日（每周一次）", "closed": "其中关停", "horizon": "期限", "interval": "95% 区间",
        "standing": "期末仍为红色的误报", "definitions": "口径",
        "notes": (
            "关停：最后营业日在评估期间内的机构，其窗口为该日及此前180天。红色、橙色按连续的早晨计为一段，触"
            "及窗口的一段有效，提前天数自窗口内第一个早晨算起，最多180天；从未预警按0天计入中位数。窗口之外的"
            "红色均为误报；机构年只计窗口外的天数。仍在账比例：首次红色当日账户余额，占应在账的家长资金（应付"
            "家长金额×该账户平时的覆盖率）的比例，没有红色按0计。预警：等级上升的早晨，不论颜色。每个早晨只使"
            "用当时已收到的数据。"
        ),
    },
    "en": {
        "city": "sandbox city", "records": "recorded history",
        "title": "Back-test of the early warning", "source": "Past", "span": "Evaluated",
        "institutions": "Institutions", "supervised": "Institutions a supervisor has", "seed": "Seed of the city",
        "table": "The methods side by side", "method": "Method", "closures": "Closures",
        "recall_red_14d": "Red at least 14 days before",
        "lead_days_first_orange_median": "First orange, days before (median)",
        "lead_days_p10": "First orange, days before (10th percentile)",
        "lead_days_first_red_median": "First red, days before (median)",
        "false_reds_per_100_institution_years": "False reds per 100 institution-years",
        "protected_share": "Families' money still there at the first red",
        "alerts_per_supervisor_week": "Alerts per supervisor and week",
        "colours": "What the colours of each method are", "lead": "How early",
        "lead_chart": "Share of closures with a red, by days before closing", "days_before": "days before closing",
        "share_warned": "closures with a red by then", "calibration": "How far the chances can be believed",
        "calibration_chart": "Chance of closing that was told, against the share that closed",
        "chance": "chance that was told", "happened": "closed", "within": "within {days} days",
        "diagonal": "Dotted: what was told is what happened. A larger dot stands for more mornings.",
        "causes": "Recall of red 14 days before, by cause", "cause": "Cause",
        "misses": "Closures that the closure watch missed", "institution": "Institution", "closed_on": "Closed on",
        "orange": "Orange, days before", "red": "Red, days before", "never": "never", "none": "None was missed.",
        "more": "and {count} more", "pair": "Two policies compared", "difference": "Difference",
        "forecast": "Forecast", "band": "Coverage of the 80 % band",
        "apart": "Sudden thefts (nobody can foresee them; they count above, and stand here apart)",
        "brier": "Brier score", "mornings": "Institution-mornings (one a week)", "closed": "Of which closed",
        "horizon": "Horizon", "interval": "95 % interval", "standing": "False reds that stand at the end",
        "definitions": "What counts",
        "notes": (
            "A closure is an institution whose last day lies within the evaluated mornings; its window is "
            "that day and the 180 days before. Red and orange are counted in runs of mornings: one that "
            "touches a window is right, and its lead counts from the first such morning in the window, so it "
            "is at most 180 days; never warned is 0 in a median. Every other red run is false; "
            "institution-years are those outside the windows. Money still there: the balance on the morning "
            "of the first red, of what families' money should lie there (owed times what was usual for the "
            "account); without a red, nothing. An alert is a morning on which a level rises, to whatever "
            "colour. Every morning knows only what had arrived by then."
        ),
    },
}
