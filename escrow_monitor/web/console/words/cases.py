"""What the pages about refund cases say, and the forms of all pages, in Chinese and English."""

from __future__ import annotations

from collections.abc import Mapping

from alerts.feeds.item import Lang

CASE_WORDS: Mapping[str, Mapping[Lang, str]] = {
    "nav_cases": {"zh": "退费案件", "en": "Cases"},
    # forms of all pages
    "form_refused": {"zh": "没有做成", "en": "This was not done"},
    "form_used": {
        "zh": "这张表单已经用别的内容提交过一次。请核对下方记录，再重新填写。",
        "en": "This form was sent before with something else in it. Look at the record below, then fill it in again.",
    },
    "form_too_old": {
        "zh": "页面打开得太久，或不是从本系统打开的，为安全起见没有提交。请返回上一页刷新后再提交。",
        "en": "This page was open too long, or is not one of ours, so nothing was sent. Go back, load it again and"
              " send it once more.",
    },
    "form_not_yours": {
        "zh": "您的账户没有这项操作的权限。需要时请联系管理员。",
        "en": "Your account may not do this. Ask an administrator if you need to.",
    },
    "form_too_large": {"zh": "提交的内容太大，没有保存。", "en": "What was sent is too large; nothing was kept."},
    "form_unreadable": {
        "zh": "提交的内容不完整，没有保存。请返回重试。",
        "en": "What was sent cannot be read; nothing was kept. Go back and try again.",
    },
    "back_home": {"zh": "回到今日", "en": "Back to today"},
    # the board
    "cases_title": {"zh": "退费案件", "en": "Refund cases"},
    "cases_open": {"zh": "未结 {count} 件", "en": "{count} open"},
    "cases_board_none": {"zh": "还没有退费案件", "en": "There is no refund case yet"},
    "cases_board_none_do": {
        "zh": "案件随退费申请建立。请导入申请：escrow-monitor import refund-claims 文件.csv；"
              "表头见 escrow-monitor import template refund-claims。",
        "en": "A case begins with a claim. Import claims: escrow-monitor import refund-claims FILE.csv; for its header"
              " see escrow-monitor import template refund-claims.",
    },
    "cases_fit_none": {"zh": "没有符合条件的案件", "en": "No case fits"},
    "cases_fit_none_do": {
        "zh": "请减少筛选条件，或核对案件号与合同号；只能看到您有权查看的辖区。",
        "en": "Take away a filter, or check the numbers; only the districts you may see are searched.",
    },
    "cases_find": {"zh": "案件号、合同号或机构", "en": "Case, contract or institution"},
    "cases_state": {"zh": "进展", "en": "State"},
    "cases_state_all": {"zh": "全部未结", "en": "all open"},
    "cases_of_one": {"zh": "只看机构 {name}", "en": "Only of {name}"},
    "cases_column_none": {"zh": "没有", "en": "none"},
    "cases_more_of": {"zh": "全部 {count} 件", "en": "All {count}"},
    "cases_ended": {"zh": "已了结", "en": "Ended"},
    "cases_oldest": {"zh": "最早提出的在前", "en": "claimed first, shown first"},
    "cases_newest": {"zh": "最近提出的在前", "en": "claimed last, shown first"},
    "cases_to_board": {"zh": "回到看板", "en": "Back to the board"},
    "case_claimed_on": {"zh": "{day} 提出", "en": "claimed {day}"},
    "case_no_amount": {"zh": "申请未写金额", "en": "no amount claimed"},
    "case_outstanding_of": {"zh": "尚待到账 {amount}", "en": "{amount} not seen yet"},
    "case_waits_second": {"zh": "裁定待复核", "en": "a ruling waits for a second person"},
    # clocks
    "clock_left": {"zh": "还剩 {count} 天", "en": "{count} days left"},
    "clock_left_one": {"zh": "还剩 1 天", "en": "1 day left"},
    "clock_today": {"zh": "今天到期", "en": "due today"},
    "clock_over": {"zh": "已逾期 {count} 天", "en": "{count} days overdue"},
    "clock_over_one": {"zh": "已逾期 1 天", "en": "1 day overdue"},
    "clock_answer": {"zh": "机构答复", "en": "institution's answer"},
    "clock_payment": {"zh": "退款到账", "en": "money seen in the bank"},
    "clock_until": {"zh": "{what}，{day} 前", "en": "{what} by {day}"},
    "clock_deemed": {"zh": "未答复，{day} 起视为同意", "en": "no answer: deemed agreed from {day}"},
    "clock_none": {"zh": "没有进行中的期限", "en": "No deadline runs"},
    "clocks": {"zh": "期限", "en": "Deadlines"},
    # one case
    "case_title": {"zh": "退费案件 {case}", "en": "Refund case {case}"},
    "case_missing": {"zh": "没有这个案件", "en": "There is no such case"},
    "case_missing_do": {
        "zh": "没有案件 {case}，或它不在您有权查看的辖区内。请回到案件看板查找。",
        "en": "There is no case {case} in what you may see. Look for it on the board.",
    },
    "case_all": {"zh": "全部案件", "en": "All cases"},
    "case_institution": {"zh": "机构", "en": "Institution"},
    "case_contract": {"zh": "合同", "en": "Contract"},
    "case_course": {"zh": "课程", "en": "Course"},
    "case_student": {"zh": "学员代号", "en": "Student"},
    "case_signed": {"zh": "{day} 签订", "en": "signed {day}"},
    "case_fee": {"zh": "{lessons} 课时 {fee}", "en": "{lessons} lessons for {fee}"},
    "case_claimed": {"zh": "提出日期", "en": "Claimed on"},
    "case_cause": {"zh": "原因", "en": "Cause"},
    "case_claim_note": {"zh": "申请说明", "en": "The claim says"},
    "case_money": {"zh": "金额", "en": "Amounts"},
    "case_asked": {"zh": "家长请求", "en": "Asked for"},
    "case_due": {"zh": "今日应退", "en": "Due today"},
    "case_agreed": {"zh": "已同意", "en": "Agreed"},
    "case_ordered": {"zh": "已指令", "en": "Ordered"},
    "case_paid": {"zh": "银行已见", "en": "Seen in the bank"},
    "case_outstanding": {"zh": "尚待到账", "en": "Not seen yet"},
    "case_held": {"zh": "争议中，暂留", "en": "In dispute, held"},
    "case_next": {"zh": "下一步", "en": "What can be done now"},
    "case_next_none": {
        "zh": "现在没有需要人做的步骤：系统在等银行到账或期限届满。",
        "en": "Nothing is for people to do now: the money in the bank, or a deadline, moves this case on.",
    },
    "case_next_ended": {"zh": "案件已了结，不能再推进。", "en": "The case has ended and is not moved any more."},
    "case_read_only": {
        "zh": "您可以查看此案；推进案件需要经办权限。",
        "en": "You may look at this case; to move it needs the permission to decide.",
    },
    "case_not_yet": {"zh": "现在还不能做的", "en": "What cannot be done yet"},
    "case_proposal": {
        "zh": "{who} 已拟定裁定，应退 {amount}，须由另一人复核后生效。",
        "en": "{who} proposed a ruling of {amount}. It holds once a second person confirms it.",
    },
    "case_own_ruling": {
        "zh": "这项裁定是您本人拟定的，不能由您复核。请让另一位有复核权限的人员确认或退回。",
        "en": "You proposed this ruling yourself, so you cannot confirm it or send it back. Another person with the"
              " permission to confirm must.",
    },
    "case_second_needed": {
        "zh": "复核或退回裁定需要复核权限（监管人员）。您可以改拟裁定。",
        "en": "To confirm a ruling or send it back needs the permission to confirm (a regulator). You may propose"
              " another one.",
    },
    "case_reason": {
        "zh": "理由（必填，写入记录，机构可见）",
        "en": "Reason (required, kept in the record, read by the institution)",
    },
    "case_amount": {"zh": "金额（{currency}）", "en": "Amount ({currency})"},
    "case_amount_optional": {"zh": "金额（{currency}，可不填）", "en": "Amount ({currency}, may be left open)"},
    "case_role": {"zh": "由谁提出", "en": "On whose behalf"},
    "case_do": {"zh": "确定", "en": "Do it"},
    "do.gather": {"zh": "要求补充材料", "en": "Ask for records"},
    "do.quote": {"zh": "计算应退金额", "en": "Compute what is due"},
    "do.accept": {"zh": "记录机构同意", "en": "The institution agrees"},
    "do.contest": {"zh": "记录异议", "en": "Somebody contests"},
    "do.settle": {"zh": "记录双方和解", "en": "Both settled"},
    "do.propose": {"zh": "拟定裁定", "en": "Propose a ruling"},
    "do.confirm": {"zh": "复核同意裁定", "en": "Confirm the ruling"},
    "do.reject": {"zh": "退回裁定", "en": "Send the ruling back"},
    "do.order": {"zh": "指令退费", "en": "Order the refund"},
    "do.close": {"zh": "结案", "en": "Close the case"},
    "do.withdraw": {"zh": "记录家长撤回", "en": "The family withdraws"},
    "hint.gather": {
        "zh": "向机构或家长要课时、缴费等材料；期限照常计算。",
        "en": "Records are asked for; the deadlines run on.",
    },
    "hint.quote": {
        "zh": "按合同与规定算出今日应退 {due}，并把算式存入案卷。",
        "en": "What contract and law give today, {due}, is computed and kept with its lines.",
    },
    "hint.quote_unknown": {
        "zh": "按合同与规定计算，并把算式存入案卷。", "en": "What contract and law give is computed and kept.",
    },
    "hint.accept": {
        "zh": "不填金额即同意全部请求；只同意一部分请用“记录异议”。",
        "en": "Without an amount: all that is asked for. For a part of it, use “Somebody contests”.",
    },
    "hint.contest": {
        "zh": "机构不同意全部时，写明它同意的金额，同意的部分可以先退；家长不服时不填金额。",
        "en": "Where the institution agrees to a part, write that amount: it can go out at once. A family contests"
              " without an amount.",
    },
    "hint.settle": {
        "zh": "双方谈妥的退款总额（包括已经同意的部分）。",
        "en": "The whole refund both agreed on, what was agreed before included.",
    },
    "hint.propose": {
        "zh": "裁定的退款总额。须由另一人复核后生效。",
        "en": "The whole refund by the ruling. It holds once a second person confirms it.",
    },
    "hint.confirm": {"zh": "裁定立即生效，应退 {amount}。", "en": "The ruling holds at once: {amount} goes back."},
    "hint.reject": {"zh": "拟定的裁定作废，案件仍有争议。", "en": "The proposal is void; the case stays contested."},
    "hint.order": {
        "zh": "指令从监管账户退 {amount}；到账由银行流水自动确认。",
        "en": "{amount} is ordered from the escrow account; the bank's entries show when it is paid.",
    },
    "hint.close": {"zh": "已无待退金额，案件归档。", "en": "Nothing is left to be paid; the case is filed."},
    "hint.withdraw": {
        "zh": "家长不再要求退费；之后不能再推进。", "en": "The family asks for nothing more; the case ends.",
    },
    "case_bad_amount": {
        "zh": "金额“{amount}”看不懂。请写成 3200 或 3200.50，不带单位。",
        "en": "The amount “{amount}” is none. Write it as 3200 or 3200.50, without a unit.",
    },
    "case_no_reason": {
        "zh": "请写明理由：每一步都要有理由，并写入记录。",
        "en": "Say why: every move keeps its reason in the record.",
    },
    "case_reason_long": {"zh": "理由最多 {count} 字。", "en": "A reason is at most {count} characters."},
    "case_role_needed": {
        "zh": "请选择异议由机构还是家长提出。", "en": "Choose on whose behalf it is contested.",
    },
    "case_unknown_move": {"zh": "没有这一步。", "en": "There is no such move."},
    "case_cannot_quote": {
        "zh": "合同记录有误，算不出应退金额：{why}。请先更正记录。",
        "en": "Nothing can be computed, for the records of the contract cannot be right: {why}. Correct them first.",
    },
    "case_refused_other": {"zh": "没有做成：{detail}", "en": "This was not done: {detail}"},
    # the sum
    "case_sum": {"zh": "应退金额怎么算出来的", "en": "How the sum is made"},
    "case_sum_on": {"zh": "按 {day} 计算", "en": "computed for {day}"},
    "case_line": {"zh": "项目", "en": "Line"},
    "case_line_amount": {"zh": "金额（{currency}）", "en": "Amount ({currency})"},
    "case_line_why": {"zh": "依据", "en": "Why"},
    "case_total": {"zh": "应退合计", "en": "Refund"},
    "case_penalty": {"zh": "违约金（另计）", "en": "Penalty (beside it)"},
    "case_ground": {"zh": "退费依据", "en": "Ground"},
    "case_pay_by": {"zh": "退清期限", "en": "To be paid by"},
    "case_pay_by_unknown": {"zh": "未知", "en": "not known"},
    "case_others": {"zh": "没有采用的其他依据", "en": "Grounds that were not applied"},
    "case_holds": {"zh": "是否成立", "en": "Holds?"},
    "case_would_be": {"zh": "可退", "en": "Would give"},
    "holds.yes": {"zh": "成立", "en": "yes"},
    "holds.no": {"zh": "不成立", "en": "no"},
    "holds.open": {"zh": "待定", "en": "open"},
    "case_statement": {"zh": "打印退费计算书", "en": "Printable refund statement"},
    "case_kept_quotes": {"zh": "存入案卷的计算", "en": "Kept computations"},
    "case_kept_quote": {
        "zh": "{day} 计算：应退 {amount}（{who}）", "en": "computed for {day}: {amount} ({who})",
    },
    # evidence, notes, timeline
    "case_evidence": {"zh": "证据材料", "en": "Evidence"},
    "case_evidence_none": {
        "zh": "还没有材料。请上传合同、缴费凭证、聊天记录等。",
        "en": "No document yet. Upload the contract, receipts, messages.",
    },
    "case_document": {"zh": "文件", "en": "Document"},
    "case_size": {"zh": "大小", "en": "Size"},
    "case_by": {"zh": "上传人", "en": "By"},
    "case_when": {"zh": "时间", "en": "When"},
    "case_sha": {"zh": "SHA-256 {digest}…", "en": "SHA-256 {digest}…"},
    "case_kib": {"zh": "{count} KiB", "en": "{count} KiB"},
    "case_upload": {"zh": "上传材料", "en": "Add a document"},
    "case_file": {"zh": "文件（最大 {count} MiB）", "en": "File (up to {count} MiB)"},
    "case_file_note": {"zh": "说明（可不填）", "en": "What it is (may be left open)"},
    "case_upload_do": {"zh": "上传", "en": "Upload"},
    "case_no_file": {"zh": "请先选择文件。", "en": "Choose a file first."},
    "case_file_empty": {"zh": "文件“{name}”是空的。", "en": "The file “{name}” is empty."},
    "case_file_large": {
        "zh": "文件超过 {count} MiB，没有保存。", "en": "The file is larger than {count} MiB and was not kept.",
    },
    "case_file_name": {
        "zh": "文件名不能用：请改成一行、不超过 {count} 字的名称。",
        "en": "The file's name cannot be used: one line of at most {count} characters.",
    },
    "case_timeline": {"zh": "经过", "en": "What happened"},
    "case_from_to": {"zh": "{old} → {new}", "en": "{old} → {new}"},
    "case_note": {"zh": "备注", "en": "Note"},
    "case_note_add": {"zh": "添加备注", "en": "Add a note"},
    "case_note_text": {"zh": "备注内容（写入后不能修改）", "en": "Text (it is not changed later)"},
    "case_note_do": {"zh": "保存备注", "en": "Keep the note"},
    "case_note_empty": {"zh": "备注是空的。", "en": "The note is empty."},
    "case_note_long": {"zh": "备注最多 {count} 字。", "en": "A note is at most {count} characters."},
    "case_attached": {"zh": "上传材料 {name}", "en": "added {name}"},
    "case_computed": {"zh": "计算存入案卷：应退 {amount}", "en": "computation kept: {amount}"},
    "case_behalf": {"zh": "代表{role}", "en": "for {role}"},
    "case_done_move": {"zh": "已记录：{what}。", "en": "Recorded: {what}."},
    "case_done_note": {"zh": "备注已保存。", "en": "The note is kept."},
    "case_done_evidence": {"zh": "材料已保存。", "en": "The document is kept."},
    # what the institution of a case says itself
    "case_your_answer": {"zh": "您的答复", "en": "Your answer"},
    "do.own.accept": {"zh": "同意全部退费请求", "en": "Agree to all that is asked"},
    "do.own.contest": {"zh": "提出异议", "en": "Contest the claim"},
    "do.own.contest_more": {"zh": "多同意一部分", "en": "Agree to more"},
    "do.own.said_paid": {"zh": "说明已经付款", "en": "Say that it is paid"},
    "hint.own.accept": {
        "zh": "同意后应退 {amount}，不能收回；到账以银行流水为准。",
        "en": "{amount} must then go back, which is not taken back. It is paid once the bank shows it.",
    },
    "hint.own.contest": {
        "zh": "写明异议的理由；愿意先退一部分时写上金额，这部分可以先退，其余等待裁定。",
        "en": "Write your grounds. If you agree to a part, write its amount: that part can go out at once, the rest"
              " waits for a ruling.",
    },
    "hint.own.contest_more": {
        "zh": "已提出异议，已同意 {agreed}。愿意多退请写比它更多的金额；补充理由请写备注。",
        "en": "It is contested, and {agreed} is agreed to. To agree to more, write an amount above it; further grounds"
              " go into a note.",
    },
    "hint.own.said_paid": {
        "zh": "填写银行流水号便于核对。这只是您的说明：银行流水显示到账之前，案件仍算未付。",
        "en": "The bank's reference helps to find it. This is what you say: until the bank shows the money, the case"
              " stays unpaid.",
    },
    "case_amount_agreed": {"zh": "同意退的总额（{currency}）", "en": "The whole amount you agree to ({currency})"},
    "case_amount_agreed_optional": {
        "zh": "同意先退的金额（{currency}，可不填）", "en": "The part you agree to ({currency}, may be left open)",
    },
    "case_reason_own": {
        "zh": "理由（必填，写入记录，监管人员可见）",
        "en": "Reason (required, kept in the record, read by supervisors)",
    },
    "case_own_none": {
        "zh": "现在不需要您答复：案件在等裁定、银行到账或期限届满。",
        "en": "Nothing is for you to answer now: a ruling, the money in the bank or a deadline moves this case on.",
    },
    "case_own_is_read": {"zh": "监管人员可见。", "en": "Supervisors read this."},
    "case_said_day": {"zh": "付款日期", "en": "Paid on"},
    "case_said_reference": {"zh": "银行流水号", "en": "The bank's reference"},
    "case_said_note": {"zh": "说明（可不填）", "en": "Remark (may be left open)"},
    "case_said_title": {"zh": "机构自称已付", "en": "The institution says it paid"},
    "case_said_line": {"zh": "{day} {amount}，流水号 {reference}", "en": "{amount} on {day}, reference {reference}"},
    "case_said_proves_nothing": {
        "zh": "这是机构的说明，不作为到账依据；到账以银行流水为准。",
        "en": "This is what the institution says and proves nothing: it is paid once the bank shows it.",
    },
    "case_said_paid": {
        "zh": "称已付款 {amount}（{day}，流水号 {reference}）",
        "en": "says it paid {amount} on {day}, reference {reference}",
    },
    "case_said_no_amount": {"zh": "请写明付了多少。", "en": "Say how much was paid."},
    "case_said_no_day": {"zh": "请写明付款日期。", "en": "Say on which day it was paid."},
    "case_said_to_come": {"zh": "付款日期还没到。", "en": "That day is still to come."},
    "case_said_no_reference": {
        "zh": "请写银行流水号：一行，最多 {count} 字。",
        "en": "Write the bank's reference: one line of at most {count} characters.",
    },
    "case_done_said": {"zh": "您的付款说明已保存。", "en": "What you said of the payment is kept."},
    "case_said_by_institution": {"zh": "机构所述", "en": "said by the institution"},
    "case_show_institution": {"zh": "机构也可以看到", "en": "The institution reads this too"},
    "audience.supervisors": {"zh": "仅监管人员可见", "en": "supervisors only"},
    "audience.institution": {"zh": "机构可见", "en": "the institution reads this"},
    "who.staff": {"zh": "监管人员", "en": "supervisors"},
    "who.institution": {"zh": "机构", "en": "the institution"},
    "who.import": {"zh": "数据导入", "en": "import"},
    "who.system": {"zh": "系统", "en": "the system"},
    "who.cli": {"zh": "{name}（命令行）", "en": "{name} (command line)"},
    "who.key": {"zh": "{name}（接口）", "en": "{name} (API)"},
}
