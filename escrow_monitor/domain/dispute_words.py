"""What the states, moves, roles and refusals of a refund dispute are called, in Chinese and English."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from escrow_monitor.domain.findings import Sentence


class CaseState(StrEnum):
    """Where a dispute stands. Of `closed` and `withdrawn` people cannot move it any more."""

    CLAIMED = "claimed"
    GATHERING = "gathering"
    QUOTED = "quoted"
    ACCEPTED = "accepted"
    CONTESTED = "contested"
    RULED = "ruled"
    ORDERED = "ordered"
    PAID = "paid"
    CLOSED = "closed"
    WITHDRAWN = "withdrawn"


class Move(StrEnum):
    """One step of a case. `open`, `deem` and those that say what the bank shows are the system's alone."""

    OPEN = "open"
    GATHER = "gather"
    QUOTE = "quote"
    ACCEPT = "accept"
    CONTEST = "contest"
    SETTLE = "settle"
    DEEM = "deem"
    PROPOSE = "propose"
    CONFIRM = "confirm"
    REJECT = "reject"
    ORDER = "order"
    SEE = "see"
    SEE_PART = "see_part"
    UNSEE = "unsee"
    UNSEE_PART = "unsee_part"
    CLOSE = "close"
    WITHDRAW = "withdraw"


class Role(StrEnum):
    """On whose behalf a move is made. `second` is staff who did not propose the ruling."""

    STAFF = "staff"
    INSTITUTION = "institution"
    FAMILY = "family"
    SECOND = "second"
    SYSTEM = "system"


class RefusedReason(StrEnum):
    """Why a move is not made."""

    NO_REASON = "no_reason"
    NOT_FROM_HERE = "not_from_here"
    NOT_YOUR_ROLE = "not_your_role"
    OWN_RULING = "own_ruling"
    NO_PROPOSAL = "no_proposal"
    AMOUNT_NEEDED = "amount_needed"
    AMOUNT_NOT_TAKEN = "amount_not_taken"
    ANOTHER_CURRENCY = "another_currency"
    NOT_ABOVE_ZERO = "not_above_zero"
    NOTHING_ASKED = "nothing_asked"
    LESS_THAN_ASKED = "less_than_asked"
    LESS_THAN_AGREED = "less_than_agreed"
    MORE_THAN_CLAIMED = "more_than_claimed"
    ALL_IS_AGREED = "all_is_agreed"
    NOT_CONCEDED_BY_FAMILY = "not_conceded_by_family"
    NOTHING_TO_ORDER = "nothing_to_order"
    NOT_ALL_SEEN = "not_all_seen"
    ALL_SEEN = "all_seen"
    NEVER_SEEN = "never_seen"
    MONEY_UNDER_WAY = "money_under_way"
    MONEY_STILL_DUE = "money_still_due"
    TIME_IS_OVER = "time_is_over"
    CONTESTED_BEFORE = "contested_before"
    NOTHING_TO_PAY = "nothing_to_pay"


STATES: Mapping[CaseState, Sentence] = {
    CaseState.CLAIMED: Sentence(zh="已申请", en="claimed"),
    CaseState.GATHERING: Sentence(zh="收集材料", en="gathering records"),
    CaseState.QUOTED: Sentence(zh="已计算", en="quoted"),
    CaseState.ACCEPTED: Sentence(zh="已同意", en="accepted"),
    CaseState.CONTESTED: Sentence(zh="有争议", en="contested"),
    CaseState.RULED: Sentence(zh="已裁定", en="ruled"),
    CaseState.ORDERED: Sentence(zh="已指令退费", en="ordered"),
    CaseState.PAID: Sentence(zh="银行已见退款", en="paid, seen in the bank"),
    CaseState.CLOSED: Sentence(zh="已结案", en="closed"),
    CaseState.WITHDRAWN: Sentence(zh="已撤回", en="withdrawn"),
}
MOVES: Mapping[Move, Sentence] = {
    Move.OPEN: Sentence(zh="立案", en="opened"),
    Move.GATHER: Sentence(zh="收集材料", en="records asked for"),
    Move.QUOTE: Sentence(zh="计算应退金额", en="quoted"),
    Move.ACCEPT: Sentence(zh="机构同意", en="accepted by the institution"),
    Move.CONTEST: Sentence(zh="提出异议", en="contested"),
    Move.SETTLE: Sentence(zh="双方和解", en="settled by both"),
    Move.DEEM: Sentence(zh="逾期未答复，视为同意", en="deemed agreed by silence"),
    Move.PROPOSE: Sentence(zh="拟定裁定", en="ruling proposed"),
    Move.CONFIRM: Sentence(zh="复核裁定", en="ruling confirmed"),
    Move.REJECT: Sentence(zh="退回裁定", en="ruling sent back"),
    Move.ORDER: Sentence(zh="指令退费", en="refund ordered"),
    Move.SEE: Sentence(zh="银行已见全部退款", en="seen in the bank"),
    Move.SEE_PART: Sentence(zh="银行已见部分退款", en="partly seen in the bank"),
    Move.UNSEE: Sentence(zh="退款匹配撤销", en="no longer seen in the bank"),
    Move.UNSEE_PART: Sentence(zh="部分退款匹配撤销", en="part no longer seen in the bank"),
    Move.CLOSE: Sentence(zh="结案", en="closed"),
    Move.WITHDRAW: Sentence(zh="撤回申请", en="withdrawn"),
}
ROLES: Mapping[Role, Sentence] = {
    Role.STAFF: Sentence(zh="经办人员", en="staff"),
    Role.INSTITUTION: Sentence(zh="机构", en="the institution"),
    Role.FAMILY: Sentence(zh="家长", en="the family"),
    Role.SECOND: Sentence(zh="复核人", en="a second person"),
    Role.SYSTEM: Sentence(zh="系统", en="the system"),
}
REFUSALS: Mapping[RefusedReason, Sentence] = {
    RefusedReason.NO_REASON: Sentence(
        zh="案件 {case}：每一步都要写明理由", en="case {case}: every move says why, and no reason was given"
    ),
    RefusedReason.NOT_FROM_HERE: Sentence(
        zh="案件 {case} 现为“{state_zh}”，不能“{move_zh}”；此时可以：{open_zh}",
        en="case {case} is {state_en}, from where the move {move} is not made; possible now: {open_en}",
    ),
    RefusedReason.NOT_YOUR_ROLE: Sentence(
        zh="案件 {case}：“{move_zh}”只能由{roles_zh}作出，不能由{role_zh}作出",
        en="case {case}: the move {move} is made by {roles_en}, not by {role_en}",
    ),
    RefusedReason.OWN_RULING: Sentence(
        zh="案件 {case}：裁定由 {proposer} 拟定，须由另一人复核",
        en="case {case}: {proposer} proposed this ruling, so somebody else must confirm it or send it back",
    ),
    RefusedReason.NO_PROPOSAL: Sentence(
        zh="案件 {case}：尚无拟定的裁定", en="case {case}: no ruling is proposed"
    ),
    RefusedReason.AMOUNT_NEEDED: Sentence(
        zh="案件 {case}：“{move_zh}”须写明金额", en="case {case}: the move {move} needs an amount"
    ),
    RefusedReason.AMOUNT_NOT_TAKEN: Sentence(
        zh="案件 {case}：“{move_zh}”不带金额", en="case {case}: the move {move} takes no amount"
    ),
    RefusedReason.ANOTHER_CURRENCY: Sentence(
        zh="案件 {case} 以 {currency} 计，不能用 {amount}", en="case {case} is in {currency}, which {amount} is not"
    ),
    RefusedReason.NOT_ABOVE_ZERO: Sentence(
        zh="案件 {case}：金额 {amount} 应大于零", en="case {case}: {amount} is not above zero"
    ),
    RefusedReason.NOTHING_ASKED: Sentence(
        zh="案件 {case}：申请未写金额，也还没有计算；请先计算应退金额",
        en="case {case}: the claim names no amount and nothing is computed yet; quote it first",
    ),
    RefusedReason.LESS_THAN_ASKED: Sentence(
        zh="案件 {case}：{amount} 少于请求的 {asked}；只同意一部分请用“提出异议”并写明同意的金额，"
        "双方谈妥请用“双方和解”",
        en="case {case}: {amount} is less than the {asked} asked for; to agree to a part, contest with that amount, "
        "and where both agree on less, settle",
    ),
    RefusedReason.LESS_THAN_AGREED: Sentence(
        zh="案件 {case}：{amount} 少于已经同意的 {agreed}，同意的部分不能收回",
        en="case {case}: {amount} is less than the {agreed} agreed already, which is not taken back",
    ),
    RefusedReason.MORE_THAN_CLAIMED: Sentence(
        zh="案件 {case}：{amount} 多于请求和计算中较大的 {top}",
        en="case {case}: {amount} is more than {top}, the larger of what is claimed and what was computed",
    ),
    RefusedReason.ALL_IS_AGREED: Sentence(
        zh="案件 {case}：请求的 {asked} 已全部同意，没有可争议的部分",
        en="case {case}: all of the {asked} asked for is agreed, nothing is left to contest",
    ),
    RefusedReason.NOT_CONCEDED_BY_FAMILY: Sentence(
        zh="案件 {case}：同意多少由机构表示，家长提出异议时不写金额",
        en="case {case}: how much is agreed to is for the institution to say; a family contests without an amount",
    ),
    RefusedReason.NOTHING_TO_ORDER: Sentence(
        zh="案件 {case}：同意的 {agreed} 都已指令或已退，没有可指令的金额；有争议的部分须先裁定",
        en="case {case}: of the {agreed} agreed nothing is left to order; what is in dispute waits for its ruling",
    ),
    RefusedReason.NOT_ALL_SEEN: Sentence(
        zh="案件 {case}：银行只见 {paid}，少于同意的 {agreed}",
        en="case {case}: the bank shows {paid}, less than the {agreed} agreed",
    ),
    RefusedReason.ALL_SEEN: Sentence(
        zh="案件 {case}：银行已见 {paid}，同意的 {agreed} 已退清",
        en="case {case}: the bank shows {paid}, all of the {agreed} agreed",
    ),
    RefusedReason.NEVER_SEEN: Sentence(
        zh="案件 {case}：银行共见 {paid}，不能撤销 {amount}",
        en="case {case}: the bank was seen to pay {paid}, so {amount} cannot be taken back",
    ),
    RefusedReason.MONEY_UNDER_WAY: Sentence(
        zh="案件 {case}：已指令 {ordered}、已退 {paid}，不能撤回；剩余部分可以和解",
        en="case {case}: {ordered} is ordered and {paid} seen paid, so it cannot be withdrawn; settle what is left",
    ),
    RefusedReason.MONEY_STILL_DUE: Sentence(
        zh="案件 {case}：银行尚未见到同意的退款中的 {outstanding}，不能结案",
        en="case {case}: {outstanding} of what is agreed was not seen in the bank, so it is not closed",
    ),
    # Of what an institution answers itself.
    RefusedReason.TIME_IS_OVER: Sentence(
        zh="案件 {case}：答复期已过，自 {late_from} 起未答复视为同意；有异议请联系监管人员",
        en="case {case}: the time to answer is over, silence counts as consent from {late_from}; to object, call the "
        "supervisors",
    ),
    RefusedReason.CONTESTED_BEFORE: Sentence(
        zh="案件 {case}：已提出过异议；愿意多退请写明比 {agreed} 更多的金额，补充理由请写备注",
        en="case {case}: it is contested already; to agree to more, write an amount above {agreed}, and what is to be "
        "added to the grounds as a note",
    ),
    RefusedReason.NOTHING_TO_PAY: Sentence(
        zh="案件 {case} 现为“{state_zh}”，没有待退款项",
        en="case {case} is {state_en}, and nothing is left to be paid",
    ),
}
