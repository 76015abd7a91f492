"""What each kind of imported file holds: its columns in two languages, an example row, and the words of closed sets."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import NamedTuple


class ColumnText(NamedTuple):
    """A column for people: its Chinese name, and an example in English and, where it differs, in Chinese."""

    zh: str
    example: str = ""
    example_zh: str | None = None


_USCC = "91110000600037341L"

COLUMNS: Mapping[str, Mapping[str, ColumnText]] = {
    "institutions": {
        "uscc": ColumnText("统一社会信用代码", _USCC),
        "name": ColumnText("机构名称", "Chenguang Art School", "晨光艺术培训学校"),
        "kind": ColumnText("类别", "non_subject", "非学科类"),
        "licence_no": ColumnText("办学许可证编号", "135030260000001"),
        "licence_expires_on": ColumnText("许可证有效期", "2028-06-30"),
        "district": ColumnText("行政区划代码", "510302"),
        "grid": ColumnText("网格", "G-07"),
        "status": ColumnText("状态", "operating", "正常办学"),
        "policy": ColumnText("政策包", ""),
    },
    "accounts": {
        "account_no": ColumnText("账号", "6222021200019876543"),
        "uscc": ColumnText("统一社会信用代码", _USCC),
        "bank": ColumnText("银行", "icbc"),
        "connector": ColumnText("接口", "statement_folder"),
        "purpose": ColumnText("用途", "escrow", "资金监管"),
        "mode": ColumnText("监管方式", "custody", "银行托管"),
        "currency": ColumnText("币种", "CNY"),
        "opened_on": ColumnText("开户日期", "2024-09-02"),
        "external_id": ColumnText("银行内部编号", ""),
    },
    "contracts": {
        "contract_no": ColumnText("合同编号", "HT-2026-0001"),
        "uscc": ColumnText("统一社会信用代码", _USCC),
        "student_ref": ColumnText("学员代号", "S-10045"),
        "course": ColumnText("课程", "Piano, beginners", "钢琴启蒙"),
        "subject_kind": ColumnText("学科类别", "non_subject", "非学科类"),
        "signed_on": ColumnText("签订日期", "2026-02-20"),
        "starts_on": ColumnText("开课日期", "2026-03-01"),
        "ends_on": ColumnText("结课日期", "2026-08-31"),
        "lessons_paid": ColumnText("付费课时", "48"),
        "lessons_gift": ColumnText("赠送课时", "0"),
        "gift_policy": ColumnText("赠课计算方式", "paid_first", "先用付费课时"),
        "fee": ColumnText("课程费用", "4800.00"),
        "materials_fee": ColumnText("教材费", "200.00"),
        "materials_delivered": ColumnText("教材已交付", "true", "是"),
        "full_refund_days_before": ColumnText("开课前全额退费天数", "3"),
        "full_refund_days_after": ColumnText("开课后全额退费天数", ""),
        "full_refund_lessons": ColumnText("全额退费课时上限", ""),
        "prior_same_service": ColumnText("曾购同类服务", "false", "否"),
        "refund_deadline_days": ColumnText("退费期限天数", "15"),
        "refund_deadline_unit": ColumnText("退费期限单位", "working", "工作日"),
        "late_daily_rate": ColumnText("逾期日利率", "0.0005", "0.05%"),
        "penalty_pct_remaining": ColumnText("违约金百分比", "20"),
        "template_id": ColumnText("合同范本", "GF-2021-2604"),
        "status": ColumnText("合同状态", "active", "履行中"),
        "currency": ColumnText("币种", "CNY"),
    },
    "charges": {
        "charge_no": ColumnText("缴费编号", "JF-2026-0001"),
        "contract_no": ColumnText("合同编号", "HT-2026-0001"),
        "paid_on": ColumnText("缴费日期", "2026-02-20"),
        "amount": ColumnText("金额", "4800.00"),
        "channel": ColumnText("缴费渠道", "bank transfer", "银行转账"),
        "account_no": ColumnText("账号", "6222021200019876543"),
        "bank_ref": ColumnText("银行流水号", "20260220000017"),
        "currency": ColumnText("币种", "CNY"),
    },
    "lessons": {
        "contract_no": ColumnText("合同编号", "HT-2026-0001"),
        "session_no": ColumnText("课次", "1"),
        "taught_on": ColumnText("上课日期", "2026-03-01"),
        "status": ColumnText("消课状态", "confirmed", "已确认"),
        "requested_on": ColumnText("申请确认日期", "2026-03-01"),
        "decided_on": ColumnText("确认日期", "2026-03-02"),
    },
    "refund-claims": {
        "claim_no": ColumnText("退费申请编号", "TF-2026-0001"),
        "contract_no": ColumnText("合同编号", "HT-2026-0001"),
        "claimed_on": ColumnText("申请日期", "2026-05-06"),
        "amount": ColumnText("金额", "3500.00"),
        "cause": ColumnText("退费原因", "consumer", "消费者原因"),
        "note": ColumnText("备注", ""),
        "currency": ColumnText("币种", "CNY"),
    },
    "complaints": {
        "complaint_no": ColumnText("投诉编号", "TS-2026-0001"),
        "uscc": ColumnText("统一社会信用代码", _USCC),
        "received_on": ColumnText("收到日期", "2026-05-06"),
        "channel": ColumnText("投诉渠道", "12345"),
        "complainant_ref": ColumnText("投诉人代号", "C-20017"),
        "topic": ColumnText("投诉事项", "refund", "退费"),
        "note": ColumnText("备注", ""),
    },
    "notices": {
        "notice_no": ColumnText("通报编号", "TZ-2026-0001"),
        "uscc": ColumnText("统一社会信用代码", _USCC),
        "noticed_on": ColumnText("发生日期", "2026-05-06"),
        "kind": ColumnText("通报事项", "wage_arrears", "拖欠工资"),
        "source": ColumnText("通报部门", "labour inspection", "人社局"),
        "note": ColumnText("备注", ""),
    },
}
"""By kind, in the order of a template."""

NEEDED: Mapping[str, tuple[str, ...]] = {
    "institutions": ("uscc", "name"),
    "accounts": ("account_no", "bank"),
    "contracts": ("contract_no", "uscc", "student_ref", "course", "signed_on", "lessons_paid", "fee"),
    "charges": ("charge_no", "contract_no", "paid_on", "amount"),
    "lessons": ("contract_no", "session_no", "status"),
    "refund-claims": ("claim_no", "contract_no", "claimed_on", "cause"),
    "complaints": ("complaint_no", "uscc", "received_on"),
    "notices": ("notice_no", "uscc", "noticed_on", "kind"),
}
"""The columns that must be there and filled."""

WORDS: Mapping[str, Mapping[str, str]] = {
    "kind": {"subject": "学科类", "non_subject": "非学科类"},
    "institution_status": {
        "operating": "正常办学", "suspended": "停业", "closing": "终止清算", "closed": "已注销",
    },
    "purpose": {"escrow": "资金监管", "deposit": "风险保证金", "settlement": "日常结算"},
    "mode": {"custody": "银行托管", "deposit": "风险保证金", "floor": "最低余额"},
    "gift_policy": {"paid_first": "先用付费课时", "blended": "合并计算"},
    "refund_deadline_unit": {"working": "工作日", "calendar": "自然日"},
    "lesson_status": {
        "requested": "待确认", "confirmed": "已确认", "deemed": "视同确认", "disputed": "有争议", "cancelled": "已取消",
    },
    "cause": {
        "consumer": "消费者原因", "institution": "机构原因", "force_majeure": "不可抗力", "window": "全额退费期",
    },
    "notice_kind": {
        "new_representative": "变更法定代表人", "new_address": "变更地址", "new_campus": "新设校区",
        "wage_arrears": "拖欠工资", "rent_arrears": "拖欠房租", "licence_revoked": "吊销办学许可证",
        "account_frozen": "账户冻结", "large_outlay_approved": "批准大额支出",
    },
}
"""The Chinese words of closed sets, by the set; both are understood."""


def template(kind: str, language: str) -> str:
    """A header row and an example, as CSV."""
    columns = COLUMNS[kind]
    chinese = language == "zh"
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([text.zh for text in columns.values()] if chinese else list(columns))
    writer.writerow([
        text.example if not chinese or text.example_zh is None else text.example_zh for text in columns.values()
    ])
    return out.getvalue()


def described() -> str:
    """Every kind with the pairs of its columns, `*` where one must be filled."""
    return "\n\n".join(
        f"{kind}: " + ", ".join(
            f"{name}{'*' if name in NEEDED[kind] else ''} {text.zh}" for name, text in columns.items()
        )
        for kind, columns in COLUMNS.items()
    )
