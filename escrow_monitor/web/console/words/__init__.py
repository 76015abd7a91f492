"""What the console says, in Chinese and English, and how it writes time and money."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from markupsafe import Markup

from alerts.feeds.item import LANGUAGE_TAGS, Lang
from escrow_monitor.domain.money import Money
from escrow_monitor.web.console.words.alerts import ALERT_WORDS
from escrow_monitor.web.console.words.audit import AUDIT_WORDS
from escrow_monitor.web.console.words.cases import CASE_WORDS
from escrow_monitor.web.console.words.imports import IMPORT_WORDS
from escrow_monitor.web.console.words.institutions import INSTITUTION_WORDS
from escrow_monitor.web.console.words.operations import OPERATIONS_WORDS
from escrow_monitor.web.console.words.people import PEOPLE_WORDS
from escrow_monitor.web.console.words.policies import POLICY_WORDS
from escrow_monitor.web.console.words.problems import PROBLEM_WORDS
from escrow_monitor.web.console.words.reconcile import RECONCILE_WORDS
from escrow_monitor.web.console.words.returns import RETURN_WORDS

_WAN, _YI = 10_000_00, 100_000_000_00
"""万 and 亿 yuan, in fen."""
SHARE_TENTHS_MAX = 9999
"""Of a floor of a few yuan anything is a hundred times as much: nobody is helped by how many times."""

_WORDS: Mapping[str, Mapping[Lang, str]] = {
    "product": {"zh": "预付资金监管", "en": "Escrow monitor"},
    "today": {"zh": "今日", "en": "Today"},
    "as_of": {"zh": "截至", "en": "as of"},
    "other_language": {"zh": "English", "en": "中文"},
    "sign_out": {"zh": "退出", "en": "Sign out"},
    "live": {"zh": "实时", "en": "live"},
    "not_live": {"zh": "实时连接已断开，页面可能不是最新", "en": "The live connection is down: this page may be old"},
    "skip": {"zh": "跳到正文", "en": "Skip to the page"},
    "nav_main": {"zh": "主导航", "en": "Main"},
    "nav_today": {"zh": "今日", "en": "Today"},
    "nav_institutions": {"zh": "机构", "en": "Institutions"},
    "theme_dark": {"zh": "切换到深色", "en": "Dark colours"},
    "theme_light": {"zh": "切换到浅色", "en": "Light colours"},
    # the first line
    "accounts_all": {"zh": "共 {count} 个监管账户", "en": "{count} supervised accounts"},
    "accounts_none": {"zh": "还没有登记任何账户", "en": "No account is registered yet"},
    "red": {"zh": "红色", "en": "red"},
    "orange": {"zh": "橙色", "en": "orange"},
    "yellow": {"zh": "黄色", "en": "yellow"},
    "unknown": {"zh": "未知", "en": "unknown"},
    "met": {"zh": "达标", "en": "met"},
    "red_hint": {"zh": "严重不足或账户异常", "en": "far below, or the account itself is wrong"},
    "orange_hint": {"zh": "低于要求", "en": "below what is required"},
    "yellow_hint": {"zh": "接近要求，须关注", "en": "close to what is required"},
    "unknown_hint": {"zh": "数据不足，不能视为达标", "en": "not enough data: this is not “met”"},
    "met_hint": {"zh": "已核查，符合要求", "en": "examined and in order"},
    "check_late": {
        "zh": "核查没有按时完成：以下数字可能已过时。上次完成：{at}",
        "en": "The check did not run on time: the figures below may be old. Last finished: {at}",
    },
    "check_never": {
        "zh": "还没有完成过一次核查：目前不能对任何账户下结论。",
        "en": "No check has finished yet: nothing can be said about any account.",
    },
    # at a glance
    "glance": {"zh": "要点", "en": "At a glance"},
    "glance_exposed": {
        "zh": "可能关停 {count} 家，家长预付款 {amount} 没有余额对应",
        "en": "{count} may close, {amount} of families' money not covered",
    },
    "glance_exposed_none": {"zh": "目前没有关停预警", "en": "no closure is warned of"},
    "glance_silent": {"zh": "{count} 家银行没有答复：{banks}", "en": "{count} silent: {banks}"},
    "glance_banks_partly": {"zh": "有银行只答复了部分账户", "en": "some banks answer in part"},
    "glance_missed": {"zh": "没有按时完成：{rounds}", "en": "missed: {rounds}"},
    "listed": {"zh": "、", "en": ", "},
    # call first
    "call_first": {"zh": "先联系", "en": "Call first"},
    "call_first_hint": {
        "zh": "最严重、拖得最久的机构", "en": "the worst, and of those the longest waiting",
    },
    "call_none": {"zh": "目前没有需要联系的机构。", "en": "No institution needs a call now."},
    "call_none_unknown": {
        "zh": "目前没有已知的不达标机构；仍有 {count} 个账户情况未知。",
        "en": "No institution is known to be below; {count} accounts are unknown.",
    },
    "more_institutions": {
        "zh": "另有 {count} 家机构有未解除的预警", "en": "{count} more institutions have open alerts",
    },
    "more_alerts": {"zh": "另有 {count} 条", "en": "{count} more"},
    "since": {"zh": "{at} 起预警", "en": "alert since {at}"},
    "quiet_acknowledgement": {"zh": "{who} 已确认，至 {at}", "en": "acknowledged by {who} until {at}"},
    "quiet_snooze": {"zh": "{who} 已暂缓，至 {at}", "en": "snoozed by {who} until {at}"},
    "quiet_acceptance": {"zh": "已接受，{who} 复核", "en": "accepted, confirmed by {who}"},
    "account": {"zh": "账户", "en": "account"},
    "no_institution": {"zh": "未登记所属机构", "en": "no institution registered"},
    # banks
    "banks": {"zh": "银行", "en": "Banks"},
    "banks_counted": {
        "zh": "银行一栏最多晚 20 秒；账户分布和预警随时是最新的。",
        "en": "What is said of banks may be 20 seconds old; how accounts stand and alerts are always the newest.",
    },
    "silent_banks": {"zh": "没有回音的银行", "en": "Silent banks"},
    "banks_fine": {"zh": "问过的银行都已答复。", "en": "Every bank that was asked answers."},
    "banks_none": {"zh": "还没有向任何银行查询过。", "en": "No bank was asked yet."},
    "bank": {"zh": "银行", "en": "bank"},
    "accounts": {"zh": "账户数", "en": "accounts"},
    "last_answer": {"zh": "上次答复", "en": "last answer"},
    "oldest_balance": {"zh": "最旧余额", "en": "oldest balance"},
    "never": {"zh": "从未", "en": "never"},
    "refused_accounts": {"zh": "{count} 个账户查询失败", "en": "{count} accounts not answered"},
    "silent_line": {
        "zh": "{bank} 没有答复：{reason}，影响 {count} 个账户，上次答复 {at}",
        "en": "{bank} does not answer: {reason}; {count} accounts; last answer {at}",
    },
    "answers": {"zh": "有答复", "en": "answers"},
    "partly": {"zh": "部分有答复", "en": "answers in part"},
    "not_asked": {"zh": "未查询", "en": "not asked"},
    "silent": {"zh": "没有答复", "en": "silent"},
    "state": {"zh": "状态", "en": "state"},
    # rounds
    "rounds": {"zh": "例行任务", "en": "Rounds"},
    "missed_rounds": {"zh": "没有按时完成的任务", "en": "Missed rounds"},
    "rounds_fine": {"zh": "所有例行任务都按时完成。", "en": "Every round ran on time."},
    "round": {"zh": "任务", "en": "round"},
    "last_success": {"zh": "上次完成", "en": "last success"},
    "on_time": {"zh": "按时", "en": "on time"},
    "late": {"zh": "已误时", "en": "late"},
    # feed
    "newest": {"zh": "最新动态", "en": "Newest in the feed"},
    "feed_none": {"zh": "预警流中还没有内容。", "en": "Nothing was published yet."},
    "feed_links": {"zh": "订阅", "en": "subscribe"},
    "figures_unknown": {
        "zh": "读不到记录：现在不能对任何账户下结论。这不表示一切正常。",
        "en": "The records cannot be read: nothing can be said about any account now. This is not an all-clear.",
    },
    "try_again": {
        "zh": "请稍后再试；若持续如此，请通知运维人员。",
        "en": "Try again shortly; if it stays so, tell the operators.",
    },
    # sign in
    "sign_in": {"zh": "登录", "en": "Sign in"},
    "sign_in_text": {
        "zh": "请输入访问密钥（以 emk_ 开头）。密钥由管理员用 escrow-monitor keys create 生成。",
        "en": "Enter your API key (it begins with emk_). An administrator makes one with escrow-monitor keys create.",
    },
    "api_key": {"zh": "访问密钥", "en": "API key"},
    "sign_in_wrong": {
        "zh": "用户名、密码或密钥不对，或者账户已停用。",
        "en": "The name, password or key is wrong, or the account is closed.",
    },
    "sign_in_locked": {
        "zh": "失败次数过多，请约 {count} 分钟后再试。",
        "en": "Too many failures: try again in about {count} min.",
    },
    "sign_in_by_key": {"zh": "用访问密钥登录", "en": "Sign in with an API key"},
    "user_name": {"zh": "用户名", "en": "User name"},
    "password": {"zh": "密码", "en": "Password"},
    # rules
    "rule.floor": {"zh": "最低余额", "en": "minimum balance"},
    "rule.late_top_up": {"zh": "逾期未补足", "en": "late top-up"},
    "rule.large_outflow": {"zh": "大额支出", "en": "large outflow"},
    "rule.outflow_cap": {"zh": "月支出上限", "en": "monthly outflow cap"},
    "rule.freshness": {"zh": "数据时效", "en": "freshness"},
    "rule.feed_gap": {"zh": "对账单缺口", "en": "statement gap"},
    "rule.external_check": {"zh": "银行余额与流水核对", "en": "bank balance against entries"},
    "rule.corrected_statement": {"zh": "对账单更正", "en": "corrected statement"},
    "rule.account_status": {"zh": "账户状态", "en": "account status"},
    "rule.release_ahead": {"zh": "超前划拨", "en": "drawn ahead of teaching"},
    "rule.refund_overdue": {"zh": "退费逾期", "en": "refund overdue"},
    "rule.refund_mismatch": {"zh": "退费金额不符", "en": "refund claims that differ"},
    "rule.receipt_outside_escrow": {"zh": "体外收费", "en": "receipts outside escrow"},
    "rule.fee_cap": {"zh": "收费上限", "en": "fee caps"},
    "rule.closure_watch": {"zh": "关停预警", "en": "closure watch"},
    "rule.reconciliation_open": {"zh": "对账未清", "en": "reconciliation open"},
    "rule.calendar_ends": {"zh": "工作日历将尽", "en": "working calendar ends"},
    "rule.certificate_ends": {"zh": "证书将到期", "en": "certificate ends"},
    "rule.bank_silent": {"zh": "银行无应答", "en": "bank silent"},
    "rule.alert_storm": {"zh": "预警集中爆发", "en": "alert storm"},
    "rule.round_late": {"zh": "任务误时", "en": "round late"},
    "rule.delivery_late": {"zh": "预警迟发", "en": "delivery late"},
    "rule.backup_late": {"zh": "备份误时", "en": "backup late"},
    # rounds by name
    "round.pull-balances": {"zh": "查询余额", "en": "pull balances"},
    "round.load-statements": {"zh": "读取对账单", "en": "load statements"},
    "round.check-balances": {"zh": "核查余额", "en": "check balances"},
    "round.reconcile": {"zh": "三方对账", "en": "reconcile"},
    "round.deliver-alerts": {"zh": "发送预警", "en": "deliver alerts"},
    "round.watch-rounds": {"zh": "检查任务是否按时", "en": "watch rounds"},
    "round.watch-closure": {"zh": "研判关停风险", "en": "watch for closures"},
    "round.seal-audit": {"zh": "封存审计记录", "en": "seal the audit record"},
    # refusals, as a bank's silence is explained
    "refusal.timeout": {"zh": "超时", "en": "timed out"},
    "refusal.unreachable": {"zh": "连接不上", "en": "cannot be reached"},
    "refusal.unauthorized": {"zh": "拒绝了我们的凭证", "en": "refused our credentials"},
    "refusal.forbidden": {"zh": "不允许查询", "en": "does not allow the question"},
    "refusal.not_found": {"zh": "查无此账户", "en": "does not know the account"},
    "refusal.rate_limited": {"zh": "限制了查询频率", "en": "limits how often we ask"},
    "refusal.consent_expired": {"zh": "授权已过期", "en": "the consent has expired"},
    "refusal.server_error": {"zh": "银行系统出错", "en": "an error at the bank"},
    "refusal.unexpected_status": {"zh": "答复无法识别", "en": "an answer we do not know"},
    "refusal.circuit_open": {"zh": "连续失败，暂停查询", "en": "failed too often, paused"},
    "refusal.outside_hours": {"zh": "不在该行允许查询的时段", "en": "outside the bank's hours for calls"},
    "refusal.too_large": {"zh": "答复过大", "en": "the answer is too large"},
    "refusal.not_configured": {"zh": "尚未配置", "en": "not configured"},
    "refusal.bad_signature": {"zh": "签名不符", "en": "the signature does not fit"},
    "refusal.malformed": {"zh": "答复格式错误", "en": "the answer cannot be read"},
    "refusal.missing_field": {"zh": "答复缺少内容", "en": "the answer lacks a field"},
    "refusal.bad_amount": {"zh": "金额无法识别", "en": "an amount that is none"},
    "refusal.bad_date": {"zh": "日期无法识别", "en": "a date that is none"},
    "refusal.dated_in_future": {"zh": "日期在未来", "en": "a date in the future"},
    "refusal.wrong_currency": {"zh": "币种不符", "en": "another currency"},
    "refusal.wrong_account": {"zh": "答复的是另一账户", "en": "an answer for another account"},
    "refusal.unknown_account": {"zh": "账户未登记", "en": "an account we do not know"},
    "refusal.no_balance": {"zh": "答复中没有余额", "en": "no balance in the answer"},
    "refusal.empty": {"zh": "答复为空", "en": "an empty answer"},
    "refusal.unknown_format": {"zh": "格式未知", "en": "an unknown format"},
    "refusal.does_not_tie": {"zh": "收支与余额对不上", "en": "sums that do not tie"},
    "refusal.does_not_chain": {"zh": "与前一日余额不衔接", "en": "does not follow the day before"},
    "refusal.contradicts": {"zh": "与已收数据矛盾", "en": "contradicts what was received"},
    "refusal.unsafe_xml": {"zh": "文件不安全", "en": "unsafe XML"},
}
PARTS = (
    _WORDS, INSTITUTION_WORDS, CASE_WORDS, RECONCILE_WORDS, ALERT_WORDS, IMPORT_WORDS, POLICY_WORDS, AUDIT_WORDS,
    OPERATIONS_WORDS, RETURN_WORDS, PROBLEM_WORDS, PEOPLE_WORDS,
)
"""The words of the frame and of each room. No name is in two of them."""
WORDS: Mapping[str, Mapping[Lang, str]] = {name: said for part in PARTS for name, said in part.items()}
"""Every word of every page. No page has one that is not in it."""


class Said(Protocol):
    """Something said in both languages."""

    @property
    def zh(self) -> str: ...
    @property
    def en(self) -> str: ...


class Words:
    """The words of one language. An unknown name is a mistake; `name` falls back for what others may add."""

    def __init__(self, lang: Lang) -> None:
        self.lang = lang
        self.tag = LANGUAGE_TAGS[lang]

    def __call__(self, word: str, **values: object) -> str:
        """The word with its values filled in; markup among them stays markup, and makes the whole so."""
        said = WORDS[word][self.lang]
        if any(isinstance(value, Markup) for value in values.values()):
            return Markup(said).format(**values)  # noqa: S704 - the word is ours, and format escapes what is not markup
        return said.format(**values)

    def of(self, said: Said | None) -> str:
        """A sentence that is there in both languages, in this one; "" for None."""
        return "" if said is None else said.zh if self.lang == "zh" else said.en

    def name(self, kind: str, key: str) -> str:
        """The display name of a rule, a round or a refusal; its key in plain words where none is listed."""
        found = WORDS.get(f"{kind}.{key}")
        return found[self.lang] if found is not None else key.replace("_", " ")

    def money(self, minor_units: int, currency: str = "CNY") -> str:
        """An amount as people say it, cut, never rounded up: 8.31 万元, CNY 83,120."""
        size, sign = abs(minor_units), "-" if minor_units < 0 else ""
        if currency != "CNY":
            return f"{self.exact(minor_units, currency)} {currency}"
        if self.lang == "zh":
            for unit, name in ((_YI, "亿元"), (_WAN, "万元")):
                if size >= unit:
                    whole, part = divmod(size * 100 // unit, 100)
                    return f"{sign}{whole:,}.{part:02d} {name}"
            return f"{self.exact(minor_units)} 元"
        if size >= _WAN:
            return f"{sign}¥{size // 100:,}"
        return f"{sign}¥{self.exact(size)}"

    def exact(self, minor_units: int, currency: str = "CNY") -> str:
        """The same to the last fen: 83,120.45."""
        return Money(minor_units, currency).grouped

    def share(self, part: int, whole: int) -> str:
        """A part in percent with one digit, cut: what is not all of it never reads 100.0 %."""
        tenths = part * 1000 // whole
        if tenths > SHARE_TENTHS_MAX:
            return "> 999 %"
        return f"{tenths // 10:,}.{tenths % 10} %"

    def day(self, on: date, *, today: date | None = None) -> str:
        """A calendar day: 11月23日, 23 Nov; with its year where that is not today's."""
        is_this_year = today is not None and on.year == today.year
        if self.lang == "zh":
            return f"{on.month}月{on.day}日" if is_this_year else f"{on.year}年{on.month}月{on.day}日"
        return f"{on.day} {on:%b}" if is_this_year else f"{on.day} {on:%b} {on.year}"

    def when(self, at: datetime | None, *, now: datetime, zone: ZoneInfo) -> str:
        """An instant as people say it: today only the time, else the day too; never for None."""
        if at is None:
            return self("never")
        there, today = at.astimezone(zone), now.astimezone(zone)
        clock = f"{there:%H:%M}"
        if there.date() == today.date():
            return clock
        if self.lang == "zh":
            day = f"{there.month}月{there.day}日"
            return f"{there.year}年{day}" if there.year != today.year else f"{day} {clock}"
        day = f"{there.day} {there:%b}"
        return f"{day} {there.year}" if there.year != today.year else f"{day} {clock}"

    def long(self, span: timedelta) -> str:
        """A length of time in its largest unit: 3 天, 5 小时, 12 分钟."""
        minutes = max(0, int(span.total_seconds() // 60))
        for size, zh, en in ((1440, "天", "day"), (60, "小时", "hour"), (1, "分钟", "minute")):
            if minutes >= size or size == 1:
                count = minutes // size
                return f"{count} {zh}" if self.lang == "zh" else f"{count} {en}{'' if count == 1 else 's'}"
        raise AssertionError("the last unit always fits")
