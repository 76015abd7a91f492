"""What a refund quote says of its grounds and lines, in Chinese and English, with the texts they rest on.

[unverified] marks what was not read at its source: the clauses of the model contract are known by name, their wording
is not, and the number of the article of the seven-day right was not found.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from escrow_monitor.domain.clauses import Clause, SevenDayRight
from escrow_monitor.domain.clocks import DueBy
from escrow_monitor.domain.contracts import DeadlineUnit
from escrow_monitor.domain.findings import Sentence, Value, as_text

_DIGITS_MAX = 12


class Ground(StrEnum):
    """On what a refund rests. `custom` is what parties or a ruling settled; this program does not compute it."""

    FULL_REFUND_WINDOW = "full_refund_window"
    SEVEN_DAY_RIGHT = "seven_day_right"
    NOT_STARTED = "not_started"
    PRO_RATA = "pro_rata"
    INSTITUTION_BREACH = "institution_breach"
    FORCE_MAJEURE = "force_majeure"
    CUSTOM = "custom"


class Label(StrEnum):
    """What a line of a quote is."""

    SEVEN_DAY_CHARGE = "seven_day_charge"
    LESSONS_PAID = "lessons_paid"
    LESSONS_TAUGHT = "lessons_taught"
    LESSONS_DISPUTED = "lessons_disputed"
    MATERIALS_PAID = "materials_paid"
    MATERIALS_KEPT = "materials_kept"
    OVERPAID = "overpaid"
    ALREADY_REFUNDED = "already_refunded"
    NOTHING_BELOW_ZERO = "nothing_below_zero"
    BREACH_PENALTY = "breach_penalty"
    LATE_PENALTY = "late_penalty"


class Why(NamedTuple):
    """Sentences said one after the other, and the figures in them."""

    sentences: tuple[Sentence, ...]
    values: Mapping[str, Value]

    @property
    def zh(self) -> str:
        """In Chinese, figures filled in."""
        return "；".join(each.zh for each in self.sentences).format_map(_texts(self.values))

    @property
    def en(self) -> str:
        """In English, figures filled in."""
        return "; ".join(each.en for each in self.sentences).format_map(_texts(self.values))


def why(*sentences: Sentence, **values: Value) -> Why:
    """Put sentences and their figures together."""
    return Why(sentences, values)


def plain(text: str) -> str:
    """A pack's text inside a sentence: its braces are not ours to fill."""
    return text.replace("{", "{{").replace("}", "}}")


def ratio_text(value: Fraction) -> str:
    """A ratio as it was agreed: `0.0005`, `12.5`; one that no decimal gives as `1/3`."""
    digits = 0
    while 10**digits % value.denominator and digits < _DIGITS_MAX:
        digits += 1
    scaled, rest = divmod(abs(value.numerator) * 10**digits, value.denominator)
    if rest:
        return f"{value.numerator}/{value.denominator}"
    sign = "-" if value < 0 else ""
    whole, part = divmod(scaled, 10**digits)
    return f"{sign}{whole}.{part:0{digits}d}" if digits else f"{sign}{whole}"


@lru_cache(maxsize=64)
def basis_of(clause: Clause[SevenDayRight]) -> Sentence:
    """Where the seven-day right comes from; which of its articles says so was not found."""
    basis, article = clause.basis, clause.source.article
    if article is not None or not clause.verified:
        return Sentence(zh=f"依据：{plain(basis.zh)}", en=f"by {plain(basis.en)}")
    return Sentence(
        zh=f"依据：{plain(basis.zh)}（条号[未核实]）", en=f"by {plain(basis.en)} (number of the article [unverified])"
    )


def _texts(values: Mapping[str, Value]) -> dict[str, str]:
    return {name: as_text(value) for name, value in values.items()}


def _model_contract(clause: str, clause_en: str) -> Sentence:
    return Sentence(
        zh=f"依据：《中小学生校外培训服务合同（示范文本）》GF-2021-2604“{clause}”条款[未核实]",
        en=f"by the model contract GF-2021-2604, clause {clause_en} ({clause}) [unverified]",
    )


BY_FULL_REFUND = _model_contract("全额退费", "full refund")
BY_PRO_RATA = _model_contract("开课后退费", "refund after the start")
BY_MATERIALS = _model_contract("资料费", "materials")
BY_DEADLINE = _model_contract("退费时限", "time for paying back")
BY_BREACH = _model_contract("甲方违约", "breach by the institution")
BY_LATE = _model_contract("逾期退费", "late refund")
BY_FORCE_MAJEURE = _model_contract("不可抗力", "force majeure")
BY_CONSUMER_LAW = Sentence(
    zh="依据：《消费者权益保护法》第五十三条，预收款方式经营者未按约定提供服务的，应退回预付款；利息的利率和起算日未核实，未计算",
    en="by article 53 of the Consumer Protection Law, an operator that does not perform pays prepaid money back; "
    "interest is not computed, its rate and first day are [unverified]",
)

TITLES: Mapping[Label, Sentence] = {
    Label.SEVEN_DAY_CHARGE: Sentence(zh="七日内缴费，全额返还", en="paid within seven days, back in full"),
    Label.LESSONS_PAID: Sentence(zh="已缴课时费", en="paid for lessons"),
    Label.LESSONS_TAUGHT: Sentence(zh="已消课时", en="lessons taught"),
    Label.LESSONS_DISPUTED: Sentence(zh="有争议课时（暂不退）", en="lessons in dispute, held until decided"),
    Label.MATERIALS_PAID: Sentence(zh="已缴资料费", en="paid for materials"),
    Label.MATERIALS_KEPT: Sentence(zh="已发放资料，不退", en="materials delivered, kept"),
    Label.OVERPAID: Sentence(zh="多缴", en="overpaid"),
    Label.ALREADY_REFUNDED: Sentence(zh="此前已退", en="already refunded"),
    Label.NOTHING_BELOW_ZERO: Sentence(zh="不低于零", en="not below zero"),
    Label.BREACH_PENALTY: Sentence(zh="违约金", en="penalty for breach"),
    Label.LATE_PENALTY: Sentence(zh="逾期违约金", en="penalty for paying late"),
}

GROUNDS: Mapping[Ground, Sentence] = {
    Ground.FULL_REFUND_WINDOW: Sentence(zh="合同约定的全额退费期", en="the contract's full-refund window"),
    Ground.SEVEN_DAY_RIGHT: Sentence(zh="付款后七日内返还本金", en="the principal back within seven days of paying"),
    Ground.NOT_STARTED: Sentence(zh="尚未开课", en="the course has not started"),
    Ground.PRO_RATA: Sentence(zh="按课时比例退费", en="pro rata by lessons"),
    Ground.INSTITUTION_BREACH: Sentence(zh="机构违约", en="breach by the institution"),
    Ground.FORCE_MAJEURE: Sentence(zh="不可抗力", en="force majeure"),
    Ground.CUSTOM: Sentence(zh="另行约定或裁决", en="as settled or ruled"),
}

# Grounds: why they hold, do not, or cannot be said to.

WINDOW_NOT_AGREED = Sentence(zh="合同未约定全额退费期", en="the contract agrees no full-refund window")
WINDOW_BEFORE = Sentence(
    zh="{claimed_on} 提出，不晚于开课日 {starts_on} 前 {before} 天",
    en="claimed on {claimed_on}, at least {before} days before the start on {starts_on}",
)
WINDOW_AFTER = Sentence(
    zh="{claimed_on} 提出，不晚于开课日 {starts_on} 后 {after} 天",
    en="claimed on {claimed_on}, at most {after} days after the start on {starts_on}",
)
WINDOW_LESSONS = Sentence(
    zh="已消 {taught} 课时，未超过约定的 {lessons} 课时", en="lessons taken: {taught}, at most {lessons} were agreed"
)
WINDOW_LESSONS_DISPUTED = Sentence(
    zh="已消 {taught} 课时，另有 {disputed} 课时有争议，裁定前无法判断是否超过约定的 {lessons} 课时",
    en="lessons taken: {taught}, in dispute: {disputed}; whether more than the {lessons} agreed were taken is open",
)
WINDOW_START_UNKNOWN = Sentence(
    zh="约定了以开课日计算的全额退费期，但未登记开课日",
    en="the window runs from the start, and the start is not recorded",
)
WINDOW_PASSED = Sentence(zh="已超过约定的全额退费期", en="the agreed full-refund window has passed")

SEVEN_DAYS_NO_CLAUSE = Sentence(
    zh="{on} 没有生效的七日返还条款", en="no clause of a seven-day right is in force on {on}"
)
SEVEN_DAYS_PASSED = Sentence(
    zh="{claimed_on} 前 {days} 日内没有可返还的缴费", en="no charge was paid within {days} days before {claimed_on}"
)
SEVEN_DAYS_KNOWN_BEFORE = Sentence(
    zh="订立合同时消费者已接受过相同服务，不适用",
    en="the consumer had received the same service before signing, so it does not apply",
)
SEVEN_DAYS_PRIOR_UNKNOWN = Sentence(
    zh="未登记订立合同时是否已接受过相同服务；如未接受过即适用",
    en="whether the same service had been received before signing is not recorded; if not, it applies",
)
SEVEN_DAYS_HOLDS = Sentence(
    zh="付款后 {days} 日内提出，且订立合同时未接受过相同服务",
    en="claimed within {days} days of paying, and the same service had not been received before signing",
)
SEVEN_DAY_CHARGE = Sentence(
    zh="缴费 {charge} 于 {paid_on} 支付，{claimed_on} 提出，未满 {days} 日",
    en="charge {charge} was paid on {paid_on}, claimed on {claimed_on}, within {days} days",
)
NOT_STARTED = Sentence(
    zh="{claimed_on} 提出时课程（{starts_on} 开课）尚未开始，没有已消课时",
    en="claimed on {claimed_on}, before the start on {starts_on}, and no lesson was taught",
)
NOT_STARTED_UNKNOWN = Sentence(
    zh="未登记开课日，也没有课时记录", en="the start is not recorded, and neither is any lesson"
)
STARTED = Sentence(zh="课程已经开始", en="the course has started")
PRO_RATA = Sentence(
    zh="已缴课时费减去已消课时和有争议课时的金额",
    en="what was paid for lessons less those taught and those in dispute",
)
CAUSE_CLAIMED = Sentence(zh="退费原因：{cause_zh}", en="the cause claimed is {cause_en}")
CAUSE_OTHER = Sentence(
    zh="所主张的退费原因为{cause_zh}，不适用", en="the cause claimed is {cause_en}, so it does not apply"
)
NO_PENALTY = Sentence(zh="不计违约金", en="no penalty")
NO_MORE = Sentence(zh="同样成立，但金额不更高", en="it holds too, but gives no more")
OTHER_READING = {
    "paid_first": Sentence(
        zh="若赠课不计价、先消付费课时：已消金额为 {entitled}",
        en="if gift lessons have no price and paid lessons are used up first, {entitled} is earned",
    ),
    "blended": Sentence(
        zh="若学费由付费课时与赠课分摊：已消金额为 {entitled}",
        en="if the fee is spread over paid and gift lessons, {entitled} is earned",
    ),
}

# Lines.

LESSONS_PAID = Sentence(zh="已缴 {paid}，其中不超过学费 {fee} 的部分", en="of the {paid} paid, up to the fee of {fee}")
LESSONS_PAID_REST = Sentence(
    zh="七日返还以外的缴费中用于学费的部分", en="what the other charges paid towards the fee"
)
NOT_DEDUCTED = Sentence(
    zh="已消 {taught} 课时不扣除", en="nothing is taken off for lessons taught ({taught})"
)
LESSONS_TAUGHT = Sentence(
    zh="学费 {fee} × {taught} ÷ {lessons} 课时，四舍五入为 {entitled}",
    en="the fee of {fee} x {taught} / {lessons} lessons, half up: {entitled}",
)
MORE_TAUGHT = Sentence(
    zh="已消 {all} 课时，多于计价课时，按全部计", en="{all} lessons were taught, more than have a price: all of the fee"
)
GIFTS_FREE = Sentence(zh="{gifts} 节赠课不计价", en="gift lessons ({gifts}) have no price")
GIFTS_SPREAD = Sentence(zh="含 {gifts} 节赠课", en="gift lessons among them: {gifts}")
GIFTS_NOT_AGREED = Sentence(
    zh="合同未约定 {gifts} 节赠课如何计价，法律也没有默认规则：取对家长退费较大的算法，另一算法列于备选",
    en="how gift lessons ({gifts}) count was not agreed and no law says it: the reading that pays the family more is "
    "taken, the other is among the alternatives",
)
ONLY_WHAT_WAS_PAID = Sentence(
    zh="但只缴了部分学费，扣除不超过 {deducted}", en="but no more than the {deducted} paid for them can be taken off"
)
PENDING = Sentence(
    zh="另有 {pending} 课时待确认，未扣除", en="lessons not answered yet, not taken off: {pending}"
)
LESSONS_UNKNOWN = Sentence(
    zh="有 {unknown} 课时日期或日历不全，未扣除",
    en="lessons that lack a day or a calendar, not taken off: {unknown}",
)
LESSONS_DISPUTED = Sentence(
    zh="{disputed} 课时有争议，金额 {value}，裁定前既不归机构也不退",
    en="lessons in dispute: {disputed}, worth {value}, neither earned nor refundable until decided",
)
MATERIALS_PAID = Sentence(
    zh="资料费 {materials_fee} 中已缴的部分", en="what was paid of the materials fee of {materials_fee}"
)
MATERIALS_DELIVERED = Sentence(zh="资料登记为已发放，不退", en="the materials are recorded as delivered and are kept")
MATERIALS_NOT_DELIVERED = Sentence(
    zh="资料登记为未发放，予以退还", en="the materials are recorded as not delivered: refunded"
)
MATERIALS_NOT_RECORDED = Sentence(
    zh="未登记资料是否发放，予以退还", en="whether the materials were delivered is not recorded: refunded"
)
OVERPAID = Sentence(
    zh="超过学费和资料费的部分，应予退还", en="what was paid beyond fee and materials goes back in any case"
)
ALREADY_REFUNDED = Sentence(zh="截至 {on} 已退 {refunded}", en="{refunded} had gone back by {on}")
NOTHING_BELOW_ZERO = Sentence(
    zh="已退超过应退，应退金额为零", en="more has gone back than was due, so nothing is due"
)
BREACH_PENALTY = Sentence(
    zh="未消学费 {untaught} 的 {percent}%", en="{percent} % of the untaught fee of {untaught}"
)
NO_BREACH_PENALTY = Sentence(zh="合同未约定违约金比例", en="the contract agrees no penalty for breach")
LATE_PENALTY = Sentence(
    zh="应于 {due_on} 前退清，逾期金额按每日 {rate} 计，自次日至 {on} 共 {days} 日",
    en="due by {due_on}; a daily rate of {rate} of what was overdue, over {days} days from the day after to {on}",
)

DUE: Mapping[DueBy, Sentence] = {
    DueBy.CONTRACT: Sentence(
        zh="合同约定自 {claimed_on} 起 {days} 个{unit_zh}内退费",
        en="the contract says within {days} {unit_en} days of {claimed_on}",
    ),
    DueBy.POLICY: Sentence(
        zh="自 {claimed_on} 起 {days} 个{unit_zh}内退费：{title_zh}（{basis_zh}）",
        en="within {days} {unit_en} days of {claimed_on}: {title_en} ({basis_en})",
    ),
    DueBy.NOT_AGREED: Sentence(
        zh="合同未约定退费时限，也没有生效的规定", en="neither the contract nor a clause in force sets a day"
    ),
    DueBy.START_UNKNOWN: Sentence(
        zh="退费时限取决于是否开课，但未登记开课日",
        en="the day depends on whether the course had started, and the start is not recorded",
    ),
    DueBy.CALENDAR_UNKNOWN: Sentence(
        zh="自 {claimed_on} 起 {days} 个{unit_zh}，但 {year} 年的工作日未知",
        en="within {days} {unit_en} days of {claimed_on}, but the working days of {year} are not known",
    ),
}
UNITS: Mapping[DeadlineUnit, tuple[str, str]] = {
    DeadlineUnit.WORKING: ("工作日", "working"),
    DeadlineUnit.CALENDAR: ("自然日", "calendar"),
}
CAUSES: Mapping[str, Sentence] = {
    "consumer": Sentence(zh="家长自身原因", en="the consumer's own"),
    "institution": Sentence(zh="机构原因", en="the institution"),
    "force_majeure": Sentence(zh="不可抗力", en="force majeure"),
    "window": Sentence(zh="全额退费期", en="the full-refund window"),
}
