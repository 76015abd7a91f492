"""The words of tables at a terminal in Chinese: heads of columns, and values of closed sets as on the console."""

from __future__ import annotations

from collections.abc import Mapping

HEADS: Mapping[str, str] = {
    "account": "账户", "accounts": "账户数", "address": "地址", "agreed": "已同意", "bank": "银行", "began": "开始",
    "booked": "入账日", "break": "差异", "by": "何人", "case": "案件", "check": "检查", "claimed": "申请金额",
    "claimed on": "申请日期", "clauses": "条款", "contract": "合同", "corrections": "更正", "course": "课程",
    "coverage": "覆盖率", "covered from": "覆盖自", "covered to": "覆盖至", "currency": "币种", "day": "日期",
    "days covered": "覆盖天数", "days missing": "缺失天数", "decided": "认定日期", "delivered": "已送达",
    "district": "行政区划", "districts": "行政区划", "due": "应退", "earned": "机构应得", "ends": "到期",
    "expires": "到期", "fault": "故障", "fee": "课程费用", "found": "情况", "given up": "已放弃", "host": "主机",
    "id": "编号", "impact": "影响", "institution": "机构", "item": "事项", "items": "项数",
    "jurisdiction": "适用地区", "key": "密钥", "kind": "种类", "language": "语言", "last tried": "上次重试",
    "lesson": "课次", "level": "级别", "lines": "行数", "match": "配对", "missing": "缺失",
    "missing since": "缺失自", "name": "名称", "net": "差额", "next deadline": "下一时限", "only": "仅限",
    "open": "有效", "owed": "尚欠家庭", "paid": "已缴", "perhaps": "可能是", "person": "姓名", "quiet": "暂不提醒",
    "re-opened": "重新打开", "reference": "摘要编号", "refunded": "已退", "requested": "申请确认",
    "required": "应有", "residual": "未能解释", "role": "角色", "rule": "规则", "scopes": "权限", "seen": "所见",
    "seq": "编号", "severity": "级别", "signed": "签订", "since": "起", "standing": "状态", "state": "进展",
    "status": "状态", "student": "学员", "subject": "对象", "taught": "上课", "text": "摘要", "title": "名称",
    "tries": "重试次数", "type": "类型", "uscc": "信用代码", "user": "用户", "verified": "已核实", "what": "事项",
    "who": "何人", "why": "原因", "wrong": "有误", "complete": "完整", "is": "内容", "mark": "标记",
    "balance CNY": "余额 CNY", "floor CNY": "最低余额 CNY",
}
"""Heads of columns by the English ones; what is not listed stays as it is."""
CELLS: Mapping[str, str] = {
    "standing": "standing", "level": "level", "severity": "level", "rule": "rule", "outcome": "outcome", "role": "role",
    "round": "round",
}
"""Columns whose values are a closed set, and under which kind the console lists its words."""
LESSONS: Mapping[str, str] = {
    "requested": "已申请确认", "confirmed": "已确认", "deemed": "视为确认", "disputed": "有争议", "cancelled": "已取消",
}
LEVELS: Mapping[str, str] = {"ok": "正常", "warn": "注意", "bad": "有误"}


def head(column: str) -> str:
    """The head of a column in Chinese."""
    return HEADS.get(column, column)


def cell(column: str, value: object) -> str:
    """What stands in a column, in Chinese where it is one of a closed set."""
    from escrow_monitor.web.console.words import WORDS

    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "是" if value else "否"
    text = str(value)
    if column in CELLS:
        found = WORDS.get(f"{CELLS[column]}.{text}")
        return found["zh"] if found is not None else text
    if column == "status":
        return LESSONS.get(text, text)
    return LEVELS.get(text, text)


def name(kind: str, key: str, lang: str) -> str:
    """The display name of a rule, a round, an outcome or a field that rounds count, as the console has it."""
    from escrow_monitor.web.console.words import Words

    return Words("zh" if lang == "zh" else "en").name(kind, key)
