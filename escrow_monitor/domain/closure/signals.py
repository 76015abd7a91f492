"""W1 to W18 of domain.md section 4, each from one view: an intensity from 0 (nothing) to 1 (plain), known or not, why.

    view --each SIGNAL--> intensity, known            signals
    view, one row, one SIGNAL --> a sentence with its figures, in Chinese and English            explain

An intensity never falls when there is less money, a later refund or one more complaint. Where too little is known to
say (a young institution, too few contracts, a silent bank) a signal is unknown, which is not 0: the index widens its
range, and what the signal last said still counts.

    signals_money.py      W1 to W4, W18    balance, outflow, releases, what never came
    signals_families.py   W6 to W8         refunds that wait, claims, complaints
    signals_teaching.py   W5, W9 to W11    lessons, confirmations, sales, prices
    signals_standing.py   W12 to W17       registers and other departments, silence of a feed
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from escrow_monitor.domain.closure import signals_families as families
from escrow_monitor.domain.closure import signals_money as money
from escrow_monitor.domain.closure import signals_standing as standing
from escrow_monitor.domain.closure import signals_teaching as teaching
from escrow_monitor.domain.closure.series import Bools, Floats, View
from escrow_monitor.domain.closure.windows import Facts, Measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One signal: what measures it, which of the W it is, and its sentence in two languages, filled by its figures.

    `statements`: it says nothing of an account of which no statement ever came. `books`: nor of an institution whose
    contracts nobody recorded, or only of those in custody: nothing owed is not nothing known to be owed.
    """

    measure: Callable[[Facts], Measured]
    number: str
    zh: str
    en: str
    statements: bool = False
    books: Literal["", "custody", "all"] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """The signals of one morning. Both arrays: a row an institution, a column a signal, in the order of `names`.

    `intensity` of an unknown signal is what it last was, 0 if it never was.
    """

    names: tuple[str, ...]
    intensity: Floats
    known: Bools

    def of(self, name: str) -> Floats:
        """The intensity of one signal, by institution."""
        return np.asarray(self.intensity[:, self.names.index(name)], dtype=np.float64)


def signals(view: View) -> Signals:
    """Every signal of every institution."""
    facts = Facts(view)
    found = [one.measure(facts) for one in SIGNALS.values()]
    spoken = np.stack([_can_speak(one, facts) for one in SIGNALS.values()], axis=1)
    return Signals(
        names=tuple(SIGNALS), intensity=np.stack([one.intensity for one in found], axis=1) * spoken,
        known=np.stack([one.known for one in found], axis=1) & spoken,
    )


def _can_speak(signal: Signal, facts: Facts) -> Bools:
    """Of whom there is anything at all that a signal rests on."""
    able = facts.always
    if signal.statements:
        able = able & (facts.view.through > 0)
    if signal.books:
        able = able & (facts.has_books | ~facts.custody if signal.books == "custody" else facts.has_books)
    return able


def explain(view: View, row: int, name: str) -> tuple[str, str]:
    """What a signal saw of the institution in one row, with its figures: a Chinese and an English sentence part."""
    signal = SIGNALS[name]
    found = signal.measure(Facts(_only(view, row)))
    figures = {each: _words(each, values[0]) for each, values in found.figures.items()}
    zh, en = signal.zh.format_map(figures), signal.en.format_map(figures)
    if not found.known[0]:
        return f"{zh}（数据不足或已中断，为最近一次所知）", f"{en} (as last known: too little is heard since)"
    return zh, en


def _only(view: View, row: int) -> View:
    part = slice(row, row + 1)
    return replace(
        view, custody=view.custody[part], licence_ends=view.licence_ends[part], began=view.began[part],
        seen=view.seen[part], through=view.through[part],
        values={name: array[part] for name, array in view.values.items()},
    )


def _words(name: str, value: np.float64) -> str:
    """A figure as people read it: `_fen` in yuan, `_share` in percent, the rest as a number."""
    if not np.isfinite(value):
        return "?"
    if name.endswith("_fen"):
        fen = round(abs(value))
        return f"{'-' if value < 0 else ''}{fen // 100:,}.{fen % 100:02d}"
    if name.endswith("_share"):
        return f"{100 * value:.0f}%" if abs(value) >= 0.1 else f"{100 * value:.1f}%"
    return f"{value:.0f}" if value == round(value) else f"{value:.1f}"


SIGNALS: Mapping[str, Signal] = {
    "w1_cover_gap": Signal(
        measure=money.cover_gap, number="W1", statements=True, books="all",
        zh="专户余额比应付未消课金额少 {gap_fen} 元（缺口 {gap_share}）",
        en="the account holds {gap_fen} less than families are owed ({gap_share} of it is missing)",
    ),
    "w1_cover_deep": Signal(
        measure=money.cover_deep, number="W1", statements=True, books="all",
        zh="缺口已达应付未消课金额的 {gap_share}，共 {gap_fen} 元",
        en="the gap has reached {gap_share} of what families are owed, {gap_fen}",
    ),
    "w1_floor_gap": Signal(
        measure=money.floor_gap, number="W1", statements=True,
        zh="扣除逾期退费后余额 {balance_fen} 元，为近三个月收费两成（{required_fen} 元）的 {times} 倍",
        en="the balance less refunds overdue, {balance_fen}, is {times} times a fifth of three months' receipts "
        "({required_fen})",
    ),
    "w1_cover_drop": Signal(
        measure=money.cover_drop, number="W1", statements=True, books="custody",
        zh="资金覆盖率降至 {now_share}，平时为 {usual_share}",
        en="the cover has fallen to {now_share} from a usual {usual_share}",
    ),
    "w2_outflow": Signal(
        measure=money.outflow, number="W2", statements=True, books="custody",
        zh="近 14 天内单日转出超出已消课金额 {day_fen} 元，占前一日余额 {day_share}",
        en="on one of the last 14 days {day_fen} left beyond what was earned, {day_share} of the balance before",
    ),
    "w2_balance_fall": Signal(
        measure=money.balance_fall, number="W2", statements=True,
        zh="扣除逾期退费后余额 42 天内由 {before_fen} 元降至 {balance_fen} 元（降 {fall_share}）",
        en="the balance less refunds overdue fell from {before_fen} to {balance_fen} within 42 days "
        "({fall_share} less)",
    ),
    "w3_released_ahead": Signal(
        measure=money.released_ahead, number="W3", statements=True, books="all",
        zh="近 {days} 天划拨超出已消课金额 {ahead_fen} 元，占应付未消课金额 {ahead_share}",
        en="releases of the last {days} days exceed lessons taught by {ahead_fen}, {ahead_share} of what is owed",
    ),
    "w3_released_far_ahead": Signal(
        measure=money.released_far_ahead, number="W3", statements=True, books="all",
        zh="划拨远超消课进度：近 {days} 天超出 {ahead_fen} 元（{ahead_share}）",
        en="releases ran far ahead of lessons: by {ahead_fen} in the last {days} days ({ahead_share})",
    ),
    "w4_outside": Signal(
        measure=money.outside, number="W4", statements=True, books="all",
        zh="近 {days} 天收费中 {unseen_fen} 元（{unseen_share}）未进入专户",
        en="{unseen_fen} of the charges of the last {days} days ({unseen_share}) never reached the account",
    ),
    "w4_mostly_outside": Signal(
        measure=money.mostly_outside, number="W4", statements=True, books="all",
        zh="体外收费占比已达 {unseen_share}（{unseen_fen} 元）",
        en="a large part of what families pay, {unseen_share} ({unseen_fen}), bypasses the account",
    ),
    "w5_over_cap": Signal(
        measure=teaching.over_cap, number="W5",
        zh="近 60 天超时长或超限额合同占 {lately_share}，平时为 {usual_share}",
        en="{lately_share} of the contracts of 60 days are beyond the fee caps, usually {usual_share}",
    ),
    "w5_long_packages": Signal(
        measure=teaching.long_packages, number="W5",
        zh="近 60 天平均每份合同 {lately} 课时，平时为 {usual} 课时",
        en="contracts of 60 days are {lately} lessons long on average, usually {usual}",
    ),
    "w6_refund_arrears": Signal(
        measure=families.refund_arrears, number="W6",
        zh="{overdue} 笔退费逾期未付，共 {overdue_fen} 元", en="{overdue} refunds are overdue, {overdue_fen} in all",
    ),
    "w6_refunds_waiting": Signal(
        measure=families.refunds_waiting, number="W6",
        zh="近 28 天平均每天有 {waiting} 笔退费逾期，现有 {overdue} 笔",
        en="on the average day of the last 28, {waiting} refunds were overdue; {overdue} are now",
    ),
    "w7_claim_burst": Signal(
        measure=families.claim_burst, number="W7",
        zh="近 28 天退费申请 {count} 笔，同期同规模机构约 {expected} 笔",
        en="{count} refund claims in 28 days where {expected} would be usual",
    ),
    "w8_complaint_burst": Signal(
        measure=families.complaint_burst, number="W8",
        zh="近 28 天投诉 {count} 件，同期同规模机构约 {expected} 件",
        en="{count} complaints in 28 days where {expected} would be usual",
    ),
    "w9_idle": Signal(
        measure=teaching.idle, number="W9",
        zh="近 14 天仅上课 {count} 节，按同期水平少 {fewer_share}",
        en="only {count} lessons in 14 days, {fewer_share} fewer than usual for the season",
    ),
    "w9_teaching_down": Signal(
        measure=teaching.teaching_down, number="W9",
        zh="近 42 天上课 {count} 节，按同期水平少 {fewer_share}",
        en="{count} lessons in 42 days, {fewer_share} fewer than usual for the season",
    ),
    "w10_deemed_share": Signal(
        measure=teaching.deemed_share, number="W10",
        zh="近 42 天 {counted} 节消课中 {deemed_share} 无人确认、超时默认",
        en="nobody confirmed {deemed_share} of the {counted} lessons counted in 42 days",
    ),
    "w10_excess_lessons": Signal(
        measure=teaching.excess_lessons, number="W10",
        zh="近 28 天登记上课 {taught} 节，按在读人数比同期水平多 {more_share}",
        en="{taught} lessons recorded in 28 days, {more_share} more per family than usual for the season",
    ),
    "w11_promotion": Signal(
        measure=teaching.promotion, number="W11",
        zh="近 42 天收费 {charged_fen} 元，为同期水平的 {times} 倍",
        en="{charged_fen} charged in 42 days, {times} times the usual for the season",
    ),
    "w11_discount": Signal(
        measure=teaching.discount, number="W11",
        zh="课时单价降至 {price_fen} 元，平时 {usual_fen} 元（低 {less_share}）",
        en="a lesson sells for {price_fen}, usually {usual_fen} ({less_share} less)",
    ),
    "w11_enrolment_down": Signal(
        measure=teaching.enrolment_down, number="W11",
        zh="近 70 天新签 {signed} 份合同，同期水平约 {expected} 份",
        en="{signed} contracts signed in 70 days where {expected} would be usual for the season",
    ),
    "w12_expansion": Signal(
        measure=standing.expansion, number="W12",
        zh="半年内新增 {campuses} 个校区", en="{campuses} new campuses within six months",
    ),
    "w13_new_hands": Signal(
        measure=standing.new_hands, number="W13",
        zh="近 120 天法定代表人或地址变更 {changes} 次",
        en="the representative or the address changed {changes} times in 120 days",
    ),
    "w14_unpaid_others": Signal(
        measure=standing.unpaid_others, number="W14",
        zh="近 240 天欠薪 {wages} 次、欠租 {rent} 次",
        en="unpaid wages reported {wages} times and rent {rent} times in 240 days",
    ),
    "w15_licence_revoked": Signal(
        measure=standing.licence_revoked, number="W15", zh="办学许可证已被吊销", en="the licence was revoked",
    ),
    "w15_licence_ends": Signal(
        measure=standing.licence_ends, number="W15",
        zh="办学许可证剩余 {left} 天（负数为已过期）", en="{left} days are left of the licence (below 0: it has ended)",
    ),
    "w16_bank_silent": Signal(
        measure=standing.silence, number="W16", zh="{days} 天未收到银行对账数据", en="no statement for {days} days",
    ),
    "w16_platform_silent": Signal(
        measure=standing.platform_silence, number="W16",
        zh="{days} 天未登记任何上课或合同", en="no lesson and no contract recorded for {days} days",
    ),
    "w17_account_frozen": Signal(
        measure=standing.frozen, number="W17", zh="专户已被冻结", en="the account was frozen",
    ),
    "w18_manual_releases": Signal(
        measure=money.manual_releases, number="W18", statements=True, books="all",
        zh="近 28 天 {manual_fen} 元转出无对应消课（占应付未消课金额 {manual_share}）",
        en="{manual_fen} left in 28 days without a lesson behind it ({manual_share} of what is owed)",
    ),
}


__all__ = ["SIGNALS", "Signal", "Signals", "explain", "signals"]
