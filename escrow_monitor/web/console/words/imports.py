"""What the import pages say, in Chinese and English, and why rows are refused, in Chinese."""

from __future__ import annotations

import re
from collections.abc import Mapping

from alerts.feeds.item import Lang

IMPORT_WORDS: Mapping[str, Mapping[Lang, str]] = {
    "nav_imports": {"zh": "导入", "en": "Import"},
    # who is not let in, on all pages
    "no_entry": {"zh": "您的账户看不到这一页", "en": "Your account may not open this page"},
    "no_entry_import": {
        "zh": "导入文件需要“导入”权限：工作人员、监管人员或管理员。",
        "en": "Files are imported by staff, regulators and administrators.",
    },
    "no_entry_audit": {
        "zh": "审计记录供监管人员、审计人员和管理员查看。",
        "en": "The audit record is for regulators, auditors and administrators.",
    },
    "no_entry_operations": {
        "zh": "运行状况供监管部门的人员查看。", "en": "How the program runs is for the people of the authority.",
    },
    "no_entry_confirm": {
        "zh": "复核供监管人员和管理员。",
        "en": "The second pair of eyes are regulators and administrators.",
    },
    "no_entry_decide": {
        "zh": "提出更改需要“处置”权限：工作人员、监管人员或管理员。",
        "en": "Changes are proposed by staff, regulators and administrators.",
    },
    "no_entry_read": {"zh": "这把密钥没有查看的权限。", "en": "This key may not read."},
    "no_entry_feed": {"zh": "这把密钥没有订阅预警的权限。", "en": "This key may not read the feed."},
    "no_entry_metrics": {"zh": "指标供管理员查看。", "en": "Metrics are for administrators."},
    "no_entry_admin": {"zh": "这一页供管理员使用。", "en": "This page is for administrators."},
    "no_entry_limited": {
        "zh": "这一页涉及全部机构，而您的账户只限于部分辖区或一家机构。",
        "en": "This page is about every institution, and your account is limited to some districts or one institution.",
    },
    "no_entry_do": {"zh": "需要时请联系管理员。", "en": "Ask an administrator if you need it."},
    "to_today": {"zh": "回到今日", "en": "Back to today"},
    # work that takes a while, on all pages
    "work_running": {"zh": "正在处理……", "en": "At work …"},
    "work_queued": {"zh": "正在排队……", "en": "Waiting for its turn …"},
    "work_lost": {"zh": "这项任务中断了", "en": "This work was cut off"},
    "work_lost_do": {
        "zh": "执行它的进程已停止，不知道做到了哪里。请重新开始；若是导入，再导一遍无妨：已登记的内容不会重复登记。",
        "en": "The process that was at it has stopped, and how far it came is not known. Begin it anew; an import may "
              "be done again: what is recorded already is not recorded twice.",
    },
    "work_done_of": {"zh": "已处理 {done} / {total}", "en": "{done} of {total}"},
    "work_done": {"zh": "已处理 {done}", "en": "{done} so far"},
    "work_stay": {
        "zh": "可以离开此页，稍后用同一网址回来查看。",
        "en": "You may leave: the same address shows the outcome later.",
    },
    "work_failed": {
        "zh": "没有做成，原因已写入日志，请通知运维人员。", "en": "This failed; the log says why. Tell the operators.",
    },
    "work_too_much": {
        "zh": "正在处理的任务太多，请等其中一项结束后再试。",
        "en": "As much is at work as may be at once: wait for one to end.",
    },
    "work_gone": {"zh": "这项任务已不在了", "en": "This is no longer here"},
    "work_gone_do": {
        "zh": "结果保留七天，送来未确认的文件保留三十分钟；也可能是别人的任务。请重新开始。",
        "en": "Results are kept for seven days, files that nobody confirms for thirty minutes; or it is somebody "
              "else's. Begin anew.",
    },
    "begin_anew": {"zh": "重新开始", "en": "Begin anew"},
    "needs_script": {
        "zh": "上传需要浏览器启用 JavaScript；也可用命令行：escrow-monitor import 类别 文件。",
        "en": "Sending a file needs JavaScript; or use the command line: escrow-monitor import KIND FILE.",
    },
    # the page
    "imports": {"zh": "导入数据", "en": "Import files"},
    "imports_hint": {
        "zh": "先试读，再确认：确认之前不写入任何数据。",
        "en": "Files are tried first: nothing is kept before you confirm.",
    },
    "import_choose": {"zh": "选择文件", "en": "Choose a file"},
    "import_kind": {"zh": "数据类别", "en": "What it holds"},
    "import_file": {
        "zh": "文件（CSV、XLSX 或 JSON Lines，最大 {size} MB）",
        "en": "File (CSV, XLSX or JSON Lines, at most {size} MB)",
    },
    "import_upload": {"zh": "上传并试读", "en": "Send and try"},
    "import_sending": {"zh": "正在上传", "en": "Sending"},
    "import_no_file": {"zh": "请先选择一个文件。", "en": "Choose a file first."},
    "import_too_large": {
        "zh": "文件大于 {size} MB：请拆成几个文件。", "en": "The file is larger than {size} MB: cut it into parts.",
    },
    "import_not_sent": {"zh": "上传没有完成，请重试。", "en": "The file did not arrive: try again."},
    "import_lost_way": {"zh": "请刷新页面后再试。", "en": "Load the page again, then try once more."},
    "templates": {"zh": "模板与列", "en": "Templates and columns"},
    "templates_hint": {
        "zh": "表头中英文均可；加粗的列必填；空单元格表示未知或未约定，不是零。",
        "en": "A header in either language will do; columns in bold must be filled; an empty cell means unknown or not"
              " agreed, never zero.",
    },
    "template_zh": {"zh": "中文模板", "en": "Chinese template"},
    "template_en": {"zh": "英文模板", "en": "English template"},
    "template_of": {"zh": "{kind}：{which}", "en": "{kind}: {which}"},
    "col_columns": {"zh": "列", "en": "Columns"},
    "col_template": {"zh": "模板", "en": "Template"},
    "import_history": {"zh": "导入记录", "en": "What was imported"},
    "import_history_none": {"zh": "还没有导入过文件", "en": "No file was imported yet"},
    "import_history_none_do": {
        "zh": "请先导入机构和账户，再导入合同、缴费和课时。",
        "en": "Begin with institutions and accounts, then contracts, charges and lessons.",
    },
    "import_history_all": {"zh": "全部记录见审计", "en": "All of them in the audit record"},
    "col_when": {"zh": "时间", "en": "When"},
    "col_who": {"zh": "操作人", "en": "Who"},
    "col_what": {"zh": "类别", "en": "Kind"},
    "col_file": {"zh": "文件", "en": "File"},
    "col_rows": {"zh": "行数", "en": "Rows"},
    "col_new": {"zh": "新增", "en": "New"},
    "col_updated": {"zh": "更新", "en": "Updated"},
    "col_bad": {"zh": "有误", "en": "Bad"},
    "import_kind.institutions": {"zh": "机构", "en": "institutions"},
    "import_kind.accounts": {"zh": "账户", "en": "accounts"},
    "import_kind.contracts": {"zh": "合同", "en": "contracts"},
    "import_kind.charges": {"zh": "缴费", "en": "charges"},
    "import_kind.lessons": {"zh": "课时", "en": "lessons"},
    "import_kind.refund-claims": {"zh": "退费申请", "en": "refund claims"},
    "import_kind.complaints": {"zh": "投诉", "en": "complaints"},
    "import_kind.notices": {"zh": "通报事项", "en": "notices"},
    # a file that was sent
    "import_of": {"zh": "{kind}：{file}", "en": "{kind}: {file}"},
    "import_checking": {"zh": "正在试读", "en": "Trying the file"},
    "import_keeping": {"zh": "正在写入", "en": "Importing"},
    "import_preview": {"zh": "试读结果：还没有写入任何数据", "en": "This is what would happen: nothing is kept yet"},
    "import_kept": {"zh": "已写入", "en": "Imported"},
    "import_kept_sentence": {
        "zh": "新增 {new} 行，更新 {updated} 行，未变 {same} 行。",
        "en": "{new} new, {updated} updated, {same} as they were.",
    },
    "import_nothing_new": {
        "zh": "文件内容与已有记录完全相同，没有任何变化。", "en": "All of it was recorded just so: nothing changed.",
    },
    "import_none_kept": {
        "zh": "确认之后有行不再符合记录，因此没有写入任何数据。请查看下表。",
        "en": "Since the trial, rows no longer fit the records, so nothing was kept. See below.",
    },
    "import_unreadable": {"zh": "这个文件读不了", "en": "This file cannot be read"},
    "import_unreadable_do": {
        "zh": "请按提示更正文件后重新上传；可先下载模板对照表头。",
        "en": "Mend the file and send it again; a template shows the header.",
    },
    "fig_rows": {"zh": "行数", "en": "Rows"},
    "fig_new": {"zh": "新增", "en": "New"},
    "fig_updated": {"zh": "更新", "en": "Updated"},
    "fig_same": {"zh": "未变", "en": "As they were"},
    "fig_bad": {"zh": "有误", "en": "Bad"},
    "fig_hash": {"zh": "文件指纹（SHA-256）", "en": "Fingerprint (SHA-256)"},
    "bad_rows": {"zh": "有误的行", "en": "Rows that are wrong"},
    "bad_rows_first": {"zh": "前 {shown} 处，共 {count} 处", "en": "the first {shown} of {count}"},
    "bad_not_compared": {
        "zh": "有误的行太多，没有再与已有记录核对；先更正这些。",
        "en": "So many are wrong that the file was not compared with the records: mend these first.",
    },
    "bad_caption": {
        "zh": "每一行：行号、列、值、原因，其下是该行全部内容，有误的单元格已标出",
        "en": "Each: line, column, value, reason; below it the whole row with the wrong cell marked",
    },
    "file_line": {"zh": "行", "en": "Line"},
    "col_column": {"zh": "列", "en": "Column"},
    "col_value": {"zh": "值", "en": "Value"},
    "col_reason": {"zh": "原因", "en": "Reason"},
    "whole_row": {"zh": "整行", "en": "the whole row"},
    "empty_cell": {"zh": "空", "en": "empty"},
    "import_all_good": {"zh": "所有行都可以导入。", "en": "Every row can be imported."},
    "import_confirm": {"zh": "确认导入", "en": "Import it"},
    "import_confirm_good": {"zh": "只导入没有错误的 {count} 行", "en": "Import the {count} good rows only"},
    "import_skip": {
        "zh": "跳过有误的 {count} 行，只导入其余的行", "en": "Leave out the {count} bad rows and import the others",
    },
    "import_must_skip": {
        "zh": "整个文件要么全部写入，要么不写入：请更正后重新上传，或勾选跳过有误的行。",
        "en": "A file is kept whole or not at all: mend it and send it again, or leave out the bad rows.",
    },
    "import_exact": {
        "zh": "导入的正是刚才试读的内容（按指纹核对），上传后本机文件再改动不影响。",
        "en": "Imported is exactly what was tried, by its fingerprint: later changes to your file do not matter.",
    },
    "import_discard": {"zh": "放弃", "en": "Discard"},
    "import_another": {"zh": "再导入一个文件", "en": "Import another file"},
    "import_other_bytes": {
        "zh": "要确认的不是试读过的内容，没有写入。请核对后再确认。",
        "en": "What was to be confirmed is not what was tried; nothing was kept. Look again, then confirm.",
    },
    "import_not_now": {
        "zh": "这个文件现在不能确认：还在处理，或已经导入过。",
        "en": "This file cannot be confirmed now: it is at work, or imported already.",
    },
}

_REASONS: tuple[tuple[str, str], ...] = (
    (r"must not be empty", "必填，不能为空"),
    (r"is not one line of at most (\d+) characters", r"必须是不超过 \1 个字符的一行文字"),
    (r"is longer than (\d+) characters", r"超过 \1 个字符"),
    (r"is garbled: .*", "是乱码：文字曾以不同编码写入和读取"),
    (r"holds a character that is none", "含有无效字符"),
    (r"looks like .*: give a pseudonym", "像是真实个人信息：请改用代号"),
    (r"is not a date: write it like (\S+)", r"不是日期：请写成 \1"),
    (r"is not a date: there is no such day", "不是日期：没有这一天"),
    (r"is not a date between (\d+) and (\d+)", r"日期不在 \1 年至 \2 年之间"),
    (r"is not a whole number from (\d+) to (\d+)", r"必须是 \1 到 \2 的整数"),
    (r"is not a plain decimal amount: write it like (\S+)", r"不是金额：请写成 \1"),
    (r"is finer than any currency's smallest unit", "小数位数过多"),
    (r"is finer than the smallest unit of (\w+)", r"比 \1 的最小单位还小：小数位数过多"),
    (r"is below zero", "不能小于零"),
    (r"is not above zero", "必须大于零"),
    (r"is more than is kept exactly", "金额过大"),
    (r"is more than the whole: .*", "超过了全部：比例请写成 0.0005 或 0.05%"),
    (r"is more than 100 percent", "超过 100%"),
    (r"is neither true nor false: .*", "请填 是、否、true、false、1 或 0"),
    (r"must be one of (.*)", r"必须是其中之一：\1"),
    (r"is not a GB/T 2260 code of six digits", "不是六位行政区划代码"),
    (r"is not a currency code \(ISO 4217\)", "不是货币代码（如 CNY）"),
    (r"is not a plain decimal, with or without a percent sign", "不是小数或百分数"),
    (
        r"is not a unified social credit code: 18 digits and capitals.*",
        "不是统一社会信用代码：应为 18 位数字和大写字母（无 I、O、S、V、Z）",
    ),
    (
        r"is not a unified social credit code: its check character should be (\w)",
        r"统一社会信用代码有误：校验位应为 \1",
    ),
    (r"is before (\w+) (\S+)", r"早于 \1 \2"),
    (r"a lesson that is only requested has none", "仅待确认的课时没有确认日期"),
    (r"stands on line (\d+) as well, with other facts", r"与第 \1 行重复，但内容不同"),
    (r"has (\d+) cells under (\d+) columns", r"有 \1 个单元格，而表头有 \2 列"),
    (r"is not JSON: .*", "不是 JSON"),
    (r"is not a JSON object", "不是 JSON 对象"),
    (r"is neither a text nor a number", "既不是文字也不是数字"),
    (r"is a formula: put its value there instead", "是公式：请改填数值"),
    (r"is an error of the sheet", "是表格错误值"),
    (r"is a time, not a date", "是时间，不是日期"),
    (r"is a number of more than (\d+) digits, .*", r"是超过 \1 位的数字，表格会舍入：请把单元格设为文本"),
    (r"no such contract: import it first", "没有这份合同：请先导入合同"),
    (r"no such account: import it first", "没有这个账户：请先导入账户"),
    (r"no such institution: import it first", "没有这家机构：请先导入机构"),
    (r"two currencies: the contract is in (\w+), this account is kept in (\w+)", r"币种不一：合同为 \1，账户为 \2"),
    (r"two currencies: the contract is in (\w+)", r"币种不一：合同为 \1"),
    (r"paid before the contract was signed on (\S+)", r"缴费早于合同签订日 \1"),
    (r"claimed before the contract was signed on (\S+)", r"申请早于合同签订日 \1"),
    (r"taught before the contract was signed on (\S+)", r"上课早于合同签订日 \1"),
    (r"this account is kept in (\w+), and that cannot become (\w+)", r"该账户币种为 \1，不能改为 \2"),
    (r"the contract is recorded in (\w+), and that cannot become (\w+)", r"该合同币种为 \1，不能改为 \2"),
    (r"a charge under this contract was paid on (\S+), before that day", r"该合同有一笔缴费在 \1，早于这一天"),
    (r"a lesson under this contract was taught on (\S+), before that day", r"该合同有一节课在 \1，早于这一天"),
)
_FILES: tuple[tuple[str, str], ...] = (
    (r"is empty", "文件是空的"),
    (r"there is no column '(.*)'; did you mean (.*)\?", r"没有“\1”这一列；是不是“\2”？"),
    (r"there is no column '(.*)'; the columns are (.*)", r"没有“\1”这一列；可用的列：\2"),
    (r"the column (.*) is there twice", r"列“\1”出现了两次"),
    (r"the column (.*) is missing", r"缺少列：\1"),
    (r"is longer than (\d+) bytes, which no row is", r"一行超过 \1 字节，不是表格"),
    (r"is UTF-8 text, but damaged here: export the file again", "文字在此处损坏：请重新导出文件"),
    (r"is neither UTF-8 nor GB18030 text", "既不是 UTF-8 也不是 GB18030 文字"),
    (r"is not CSV: .*", "不是 CSV 格式"),
)


def reason_in(lang: Lang, reason: str) -> str:
    """Why a row is refused, in a language; as it is where nobody has said it in Chinese."""
    return reason if lang == "en" else _said(reason, _REASONS) or reason


def fault_in(lang: Lang, filename: str, error: str) -> str:
    """Why a file cannot be read, without its name."""
    told = error.removeprefix(filename).removeprefix(": ").removeprefix(", ")
    if lang == "en":
        return told
    line = re.match(r"line (\d+): ", told)
    rest = told[line.end():] if line else told
    return (f"第 {line[1]} 行：" if line else "") + (_said(rest, _FILES) or _said(rest, _REASONS) or rest)


def _said(reason: str, sentences: tuple[tuple[str, str], ...]) -> str | None:
    for pattern, zh in sentences:
        if found := re.fullmatch(pattern, reason, re.DOTALL):
            return found.expand(zh)
    return None
