"""What the page of the monthly return and the button of the resolution pack say, in Chinese and English."""

from __future__ import annotations

from collections.abc import Mapping

from alerts.feeds.item import Lang

RETURN_WORDS: Mapping[str, Mapping[Lang, str]] = {
    "nav_returns": {"zh": "月报", "en": "Returns"},
    "returns": {"zh": "月报", "en": "Monthly return"},
    "returns_of": {"zh": "{month} 月报", "en": "Monthly return {month}"},
    "returns_month": {"zh": "月份", "en": "Month"},
    "returns_district": {"zh": "区县代码（可选）", "en": "District code (optional)"},
    "returns_show": {"zh": "查看", "en": "Show"},
    "returns_again": {"zh": "重新生成", "en": "Make it anew"},
    "returns_made": {"zh": "生成于", "en": "Made at"},
    "returns_making": {"zh": "正在生成月报", "en": "The return is being made"},
    "returns_make": {"zh": "生成", "en": "Make it"},
    "returns_choose": {"zh": "请选择月份", "en": "Choose a month"},
    "returns_choose_do": {
        "zh": "按当前记录逐日计算每个监管账户；账户多时需要几秒。",
        "en": "Every supervised account is worked out day by day from what is recorded now; many take some seconds.",
    },
    "returns_complete": {"zh": "完整", "en": "complete"},
    "returns_incomplete": {"zh": "不完整", "en": "incomplete"},
    "returns_take": {"zh": "下载", "en": "Take it along"},
    "returns_totals": {"zh": "合计", "en": "In all"},
    "returns_districts": {"zh": "各区县", "en": "Districts"},
    "returns_institutions": {"zh": "有不足或未知天数的机构", "en": "Institutions with days short or unknown"},
    "returns_more": {
        "zh": "仅列出其中 {shown} 家（共 {count} 家）；下载文件含全部。",
        "en": "{shown} of {count} are shown; the file has all.",
    },
    "returns_none_short": {"zh": "没有机构有不足或未知的天数。", "en": "No institution has a day short or unknown."},
    "returns_nothing": {"zh": "本月没有任何监管账户", "en": "There is no supervised account in this month"},
    "returns_nothing_do": {
        "zh": "请先导入机构和账户：escrow-monitor import accounts 文件。",
        "en": "Import institutions and accounts first: escrow-monitor import accounts FILE.",
    },
    "ret_currency": {"zh": "币种", "en": "Currency"},
    "ret_district": {"zh": "区县", "en": "District"},
    "ret_no_district": {"zh": "未登记区县", "en": "no district"},
    "ret_institution": {"zh": "机构", "en": "Institution"},
    "ret_accounts": {"zh": "账户", "en": "Accounts"},
    "ret_days": {"zh": "应报天数", "en": "Days"},
    "ret_met": {"zh": "达标", "en": "Met"},
    "ret_short": {"zh": "不足", "en": "Short"},
    "ret_unknown": {"zh": "未知", "en": "Unknown"},
    "ret_shortfall": {"zh": "最大差额", "en": "Largest shortfall"},
    "ret_paid_out": {"zh": "支出", "en": "Paid out"},
    "ret_above": {"zh": "其中超额部分", "en": "of it excess"},
    "ret_breaches": {"zh": "余额不足：新发生／已解除", "en": "Breaches opened / resolved"},
    "ret_items": {"zh": "未达项", "en": "Not reconciled"},
    "ret_lowest": {"zh": "最低日终余额", "en": "Lowest balance"},
    "ret_floor": {"zh": "最低余额（月末）", "en": "Floor (last day)"},
    "pack": {"zh": "处置档案", "en": "Resolution pack"},
    "pack_hint": {
        "zh": "机构停业时移交用：账户、余额、合同和应退金额、退费案件、对账、预警、审计记录，一个 ZIP 文件，含校验值。"
              "下载会记入审计记录。",
        "en": "To hand over when an institution has closed: accounts, balances, contracts and what is owed, cases, "
              "reconciliations, alerts and audit entries, one ZIP file with its hashes. Taking it is written in the "
              "audit record.",
    },
    "pack_take": {"zh": "下载处置档案", "en": "Download the pack"},
}
