"""What a line of the bridge is made of and why a run is not complete: the closed sets, and their sentences."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from escrow_monitor.domain.findings import Sentence


class Label(StrEnum):
    """What a line of the bridge is made of, in the order in which it is written."""

    OPENING = "opening"
    JOINED_LATER = "joined_later"
    EARNED_NOT_DRAWN = "earned_not_drawn"
    DRAWN_AHEAD = "drawn_ahead"
    TAUGHT_UNPAID = "taught_unpaid"
    IN_TRANSIT = "in_transit"
    NOT_RECEIVED = "not_received"
    EARLY_CREDIT = "early_credit"
    CREDIT_WITHOUT_CHARGE = "credit_without_charge"
    UNCLEAR = "unclear"
    MATCH_DIFFERENCE = "match_difference"
    REFUND_NOT_RECORDED = "refund_not_recorded"
    REFUND_NOT_SEEN = "refund_not_seen"
    PAID_IN = "paid_in"
    INTEREST = "interest"
    FEES = "fees"
    OWN_TRANSFERS = "own_transfers"
    REVERSALS = "reversals"
    UNCLEAR_REVERSAL = "unclear_reversal"
    IMPOSSIBLE = "impossible"
    BANK_DIFFERS = "bank_differs"


class Why(StrEnum):
    """Why a reconciliation is not complete."""

    NO_CONTRACT = "no_contract"
    NO_ACCOUNT = "no_account"
    NO_STATEMENT = "no_statement"
    NO_CLOSING = "no_closing"
    DAYS_MISSING = "days_missing"
    JOINED_LATER = "joined_later"
    IMPOSSIBLE_CONTRACT = "impossible_contract"
    UNCLEAR_REVERSAL = "unclear_reversal"
    NOT_SEARCHED = "not_searched"
    CALENDAR_UNKNOWN = "calendar_unknown"
    RESIDUAL = "residual"


LABELS: Mapping[Label, Sentence] = {
    Label.OPENING: Sentence(
        zh="期初：流水覆盖开始时账上已有及在途的资金，减去当时欠家庭的金额",
        en="opening: what lay in the accounts or was on its way when coverage began, less what families were owed then",
    ),
    Label.JOINED_LATER: Sentence(
        zh="后来才纳入的账户，其流水开始时已有的余额",
        en="accounts taken in later: what lay in them when their own statements began",
    ),
    Label.EARNED_NOT_DRAWN: Sentence(
        zh="已授课应得，尚未划出", en="earned by teaching and not drawn out yet"
    ),
    Label.DRAWN_AHEAD: Sentence(
        zh="划出超过已授课应得（超前划拨）", en="drawn out ahead of teaching"
    ),
    Label.TAUGHT_UNPAID: Sentence(
        zh="个别家庭已授课或已退费超过其所缴，不得用其他家庭的钱抵补",
        en="taught to some families, or given back to them, beyond what they paid: no other family's money pays for it",
    ),
    Label.IN_TRANSIT: Sentence(
        zh="已缴费，尚在到账时限内（或其间对账单缺失），未见入账",
        en="charges not seen yet: within their time, or statements of that time are missing",
    ),
    Label.NOT_RECEIVED: Sentence(
        zh="已缴费，次一工作日日终仍未进入监管账户",
        en="charges not received: no account shows them by the end of the next working day",
    ),
    Label.EARLY_CREDIT: Sentence(
        zh="已入账，对应的缴费记录日期在后", en="credits whose charges are dated later"
    ),
    Label.CREDIT_WITHOUT_CHARGE: Sentence(
        zh="入账，但没有对应的缴费记录", en="credits that no charge explains"
    ),
    Label.UNCLEAR: Sentence(
        zh="缴费与入账有多种对应方式，或流水号相同而金额不同（差额）",
        en="charges and credits that fit each other in several ways, or by their reference but not their amount: the "
        "credits less the charges",
    ),
    Label.MATCH_DIFFERENCE: Sentence(
        zh="已匹配项目的金额差", en="differences of amount within matches"
    ),
    Label.REFUND_NOT_RECORDED: Sentence(
        zh="账户已付出的退费，合同记录中没有", en="paid out as refunds, but no contract's record says so"
    ),
    Label.REFUND_NOT_SEEN: Sentence(
        zh="记录称已退费，账户流水中未见", en="recorded as refunded, but no account shows it"
    ),
    Label.PAID_IN: Sentence(
        zh="机构从其结算账户转入的自有资金", en="the institution's own money, paid in from its settlement account"
    ),
    Label.INTEREST: Sentence(zh="利息", en="interest"),
    Label.FEES: Sentence(zh="银行费用", en="bank fees"),
    Label.OWN_TRANSFERS: Sentence(
        zh="本机构监管账户之间的转账（一出一入，差额为在途）",
        en="transfers between its own supervised accounts, what is left of them being on its way",
    ),
    Label.REVERSALS: Sentence(
        zh="冲正及被冲正的分录（相互抵销）", en="reversals and what they took back, which cancel out"
    ),
    Label.UNCLEAR_REVERSAL: Sentence(
        zh="冲正分录，找不到被冲正的原分录", en="reversals of which it is not known what they took back"
    ),
    Label.IMPOSSIBLE: Sentence(
        zh="记录自相矛盾的合同（未计入应有金额）", en="contracts that cannot be right, and are in no sum"
    ),
    Label.BANK_DIFFERS: Sentence(
        zh="银行单独提供的日终余额与其对账单不符",
        en="closing balances that the bank states otherwise than its statements do",
    ),
}
"""What each line says."""

WHYS: Mapping[Why, Sentence] = {
    Why.NO_CONTRACT: Sentence(
        zh="没有该机构的合同记录，欠家庭的金额未知；请导入合同",
        en="no contract of it is recorded, so what families are owed is not known; import the contracts",
    ),
    Why.NO_ACCOUNT: Sentence(
        zh="没有登记该机构的监管账户；请导入账户", en="no supervised account of it is registered; import the accounts"
    ),
    Why.NO_STATEMENT: Sentence(
        zh="{count} 个账户从未有过对账单（{ids}）；请取得并导入",
        en="of {count} accounts there was never a statement ({ids}); obtain and load them",
    ),
    Why.NO_CLOSING: Sentence(
        zh="{count} 个账户没有 {on} 的最终日终余额（{ids}，最近为 {closing_on}）；请取得并导入对账单",
        en="{count} accounts have no final closing of {on} ({ids}, the newest is of {closing_on}); obtain and load the "
        "statements",
    ),
    Why.DAYS_MISSING: Sentence(
        zh="{count} 个账户缺 {days} 天的对账单，最早为 {first}（{ids}）；请向银行补取并导入",
        en="{days} days of statements are missing of {count} accounts, the first {first} ({ids}); obtain and load them",
    ),
    Why.JOINED_LATER: Sentence(
        zh="{count} 个账户的流水自 {began_on} 才开始且已有余额 {opening}（{ids}），此前自 {first} 起的往来未知；"
        "请补充导入更早的对账单",
        en="the statements of {count} accounts begin only on {began_on}, with {opening} in them ({ids}): what went "
        "through them from {first} on is not known; load the earlier statements",
    ),
    Why.IMPOSSIBLE_CONTRACT: Sentence(
        zh="{count} 份合同的记录自相矛盾（{ids}），未计入应有金额；请更正合同、缴费或退费记录",
        en="{count} contracts cannot be right as they are recorded ({ids}) and are in no sum; correct their records",
    ),
    Why.UNCLEAR_REVERSAL: Sentence(
        zh="{count} 笔冲正无法确定冲的是哪一笔（{ids}）；请向银行核实",
        en="of {count} reversals it is not known what they took back ({ids}); ask the bank",
    ),
    Why.NOT_SEARCHED: Sentence(
        zh="{items} 个未匹配项目的候选过多，未作搜索；请用 matches make 手工匹配，或补全银行流水号",
        en="{items} open items have too many candidates and were not searched; match them by hand with matches make, "
        "or record the bank's references",
    ),
    Why.CALENDAR_UNKNOWN: Sentence(
        zh="{year} 年的工作日未知（日历 {calendar}），到账时限无法判断；请更新节假日库",
        en="the working days of {year} are not known to the calendar {calendar}, so it is not known by when money was "
        "due; install a newer holiday library",
    ),
    Why.RESIDUAL: Sentence(
        zh="有 {residual} 未能解释：流水与日终余额不能相互推算；请核对期间的对账单",
        en="{residual} is left unexplained: the entries do not lead to the closing balances; look at the statements in "
        "between",
    ),
}
"""What each reason says, and what can be done."""
