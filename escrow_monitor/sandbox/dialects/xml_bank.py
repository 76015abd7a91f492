"""What the front-end machine of an invented bank answers: XML in GBK with Chinese names, amounts in yuan.

    POST /fuxi/b2e    交易代码 QD01 签到    a token for the day
                      交易代码 YE01 余额    at most 20 accounts, a code for each
                      交易代码 MX01 明细    entries from the newest back with the balance after each, 20 a page
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from escrow_monitor.domain.accounts import AccountStatus
from escrow_monitor.domain.money import decimal_text
from escrow_monitor.sandbox.dialects.dialect import Answer, Request
from escrow_monitor.sandbox.district import CURRENCY, ZONE, District, SandboxBank, last_closed_day, tick

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element  # the type alone; what parses is defusedxml

ACCOUNTS_MAX = 20
DAYS_MAX = 92
ROWS_MAX = 20
_STATUS = {
    AccountStatus.ACTIVE: "正常", AccountStatus.FROZEN: "冻结", AccountStatus.CLOSED: "销户",
    AccountStatus.UNKNOWN: "未知",
}
_DECLARATION = re.compile(rb"\A<\?xml version=[\"']1.0[\"'] encoding=[\"']GBK[\"']\?>")
_CURSOR = re.compile(r"X([0-9]{1,6})\Z", re.ASCII)
_TRUNCATED_EVERY_HOURS = 4
_BOMB = '<!DOCTYPE 报文 [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


class Garbage(StrEnum):
    """The ways in which the garbage bank answers wrongly, taken in turn hour by hour, account by account."""

    EXPONENT = "exponent"
    OTHER_ACCOUNT = "other_account"
    UTF8 = "utf8"
    WRONG_CURRENCY = "wrong_currency"
    BOMB = "bomb"
    TOMORROW = "tomorrow"
    GROUPED = "grouped"
    MISSING = "missing"
    TWICE = "twice"
    NESTED = "nested"
    LOST_CHARACTERS = "lost_characters"


GARBAGE = tuple(Garbage)


class _Wrong(Exception):
    """A request that is answered with a code."""

    def __init__(self, code: str, text: str, *, status: int = 200) -> None:
        super().__init__(text)
        self.code, self.text, self.status = code, text, status


@dataclass
class XmlBankDialect:
    """The XML form for all banks of a district that have it."""

    district: District

    def answer(self, request: Request, *, bank: SandboxBank, at: datetime, garbage: bool) -> Answer:
        """Answer one request at an instant, with a code in 报文头/返回码 where it is wrong."""
        code, place = "", 0
        try:
            document = _document(request)
            code = _text(document, "报文头/交易代码")
            self._check(document, bank, code, at)
            match code:
                case "QD01":
                    body = f"<令牌>{session_token(bank, at.date())}</令牌>"
                case "YE01":
                    body, place = self._balances(bank, document, at)
                case "MX01":
                    body, place = self._entries(bank, document, at)
                case _:
                    raise _Wrong("B001", "交易代码不存在")
        except _Wrong as wrong:
            return _written(_message(code, wrong.code, wrong.text, ""), status=wrong.status)
        message = _message(code, "0000", "交易成功", body)
        if not garbage or code == "QD01":
            return _written(message)
        if at.hour % _TRUNCATED_EVERY_HOURS == 0:
            return _written(message[:-40])
        return _spoilt(message, GARBAGE[(at.hour + place) % len(GARBAGE)], at.date())

    def limited(self, request: Request, *, bank: SandboxBank) -> Answer:
        """The bank was asked too often."""
        return _written(_message("", "B429", "请求过于频繁，请稍后再试", ""))

    def settings(self, bank: SandboxBank, *, base_url: str) -> Mapping[str, object]:
        """What an operator would write into `[banks.NAME]`."""
        codes: dict[str, object] = {
            "path": "报文头/返回码", "equals": "0000", "message": "报文头/返回信息",
            "reasons": {"B101": "unauthorized", "B107": "unauthorized", "B429": "rate_limited"},
        }
        head = (
            '<?xml version="1.0" encoding="GBK"?><报文><报文头><交易代码>{}</交易代码>'
            "<流水号>{{request_id}}</流水号><客户号>{}</客户号>{}</报文头><报文体>{}</报文体></报文>"
        )
        token = "<令牌>{session}</令牌>"  # noqa: S105 - a name in a template
        return {
            "connector": "xml_bank", "base_url": base_url, "encoding": "gbk", "currencies": {"01": "CNY"},
            "secrets": {"password": bank.token},
            "session": {
                "method": "POST", "path": "/b2e", "success": codes, "token": "报文体/令牌", "ended": "B107",
                "body": head.format("QD01", bank.consent_id, "<密码>{secret.password}</密码>", ""),
            },
            "balances": {
                "method": "POST", "path": "/b2e", "success": codes, "batch_size": ACCOUNTS_MAX,
                "body": head.format("YE01", bank.consent_id, token, "<账户列表>{accounts}</账户列表>"),
                "each": "<账户><账号>{account_no}</账号></账户>",
                "accounts": "报文体/账户列表/账户", "account": "账号", "currency": "币种",
                "row_success": {"path": "@返回码", "equals": "0000", "reasons": {"B104": "not_found"}},
                "status": {"path": "账户状态", "map": {"正常": "active", "冻结": "frozen", "销户": "closed"}},
                "readings": [
                    {"kind": "booked_intraday", "amount": "账面余额"},
                    {"kind": "available", "amount": "可用余额"},
                    {"kind": "held", "amount": "冻结金额", "optional": True},
                    {"kind": "booked_closing", "amount": "上日余额", "day": "上日日期"},
                ],
            },
            "statements": {
                "method": "POST", "path": "/b2e", "success": {**codes, "nothing": "B200"}, "days_max": DAYS_MAX,
                "body": head.format(
                    "MX01", bank.consent_id, token,
                    "<账号>{account_no}</账号><起始日期>{from:%Y%m%d}</起始日期><终止日期>{to:%Y%m%d}</终止日期>"
                    "<续查标志>{cursor}</续查标志>",
                ),
                "account": "报文体/账号", "currency": "/报文体/币种",
                "entries": "报文体/明细列表/明细", "sign": "indicator", "amount": "发生额",
                "direction": {"path": "借贷标志", "credit": "贷", "debit": "借"},
                "balance_after": "余额", "order": "newest_first", "booked_on": "交易日期", "day_format": "%Y%m%d",
                "reference": "交易序号", "text": ["摘要"],
                "paging": {"by": "cursor", "next": "报文体/续查标志", "more": "报文体/后页标志", "more_is": "1"},
            },
        }

    def _check(self, document: Element, bank: SandboxBank, code: str, at: datetime) -> None:
        if _text(document, "报文头/客户号") != bank.consent_id:
            raise _Wrong("B100", "客户号不存在")
        if not re.fullmatch(r"[0-9a-f]{32}", _text(document, "报文头/流水号")):
            raise _Wrong("B002", "流水号格式错误")
        if code == "QD01":
            if _text(document, "报文头/密码") != bank.token:
                raise _Wrong("B101", "密码错误")
        elif _text(document, "报文头/令牌") != session_token(bank, at.date()):
            raise _Wrong("B107", "令牌失效，请重新签到")

    def _balances(self, bank: SandboxBank, document: Element, at: datetime) -> tuple[str, int]:
        numbers = [(one.text or "").strip() for one in document.findall("报文体/账户列表/账户/账号")]
        if not 1 <= len(numbers) <= ACCOUNTS_MAX:
            raise _Wrong("B003", f"账户个数须为1至{ACCOUNTS_MAX}")
        rows = [self._balance(bank, number, at) for number in numbers]
        return f"<账户列表>{''.join(rows)}</账户列表>", self._place(bank, numbers[0]) or 0

    def _balance(self, bank: SandboxBank, number: str, at: datetime) -> str:
        place = self._place(bank, number)
        if place is None:
            return f'<账户 返回码="B104" 返回信息="账户未签约"><账号>{escape(number)}</账号></账户>'
        closed = last_closed_day(at)
        closing, running = (
            decimal_text(self.district.scaled(place, fen), CURRENCY)
            for fen in self.district.struck(place, closed=closed, at=tick(at))
        )
        return (
            f'<账户 返回码="0000"><账号>{number}</账号><户名>{escape(self.district.institution(place).name)}</户名>'
            f"<币种>01</币种><账面余额>{running}</账面余额><可用余额> {running} </可用余额><冻结金额/>"
            f"<上日余额>{closing}</上日余额><上日日期>{closed}</上日日期>"
            f"<账户状态>{_STATUS[self.district.status_on(place, at.date())]}</账户状态></账户>"
        )

    def _entries(self, bank: SandboxBank, document: Element, at: datetime) -> tuple[str, int]:
        number = _text(document, "报文体/账号")
        place = self._place(bank, number)
        if place is None:
            raise _Wrong("B104", "账户未签约")
        first, last = _day(document, "起始日期"), _day(document, "终止日期")
        if last < first or (last - first).days >= DAYS_MAX or last >= at.date():
            raise _Wrong("B006", f"日期区间错误，不得超过{DAYS_MAX}天且须早于当日")
        start = _start(_text(document, "报文体/续查标志"))
        rows = self._rows(number, max(first, self.district.starts_on), last)
        if not rows:
            raise _Wrong("B200", "无符合条件的记录")
        if start >= len(rows):
            raise _Wrong("B007", "续查标志错误")
        more = start + ROWS_MAX < len(rows)
        return (
            f"<账号>{number}</账号><币种>01</币种><明细列表>{''.join(rows[start : start + ROWS_MAX])}</明细列表>"
            f"<后页标志>{int(more)}</后页标志><续查标志>{f'X{start + ROWS_MAX}' if more else ''}</续查标志>"
        ), place

    def _rows(self, number: str, first: date, last: date) -> list[str]:
        """The entries from the newest back, each with the balance after it."""
        found: list[str] = []
        day = first
        balance = self.district.opening(number, first) if first <= last else None
        while day <= last and balance is not None:
            for entry in self.district.entries(number, day):
                balance += entry.amount
                fen = entry.amount.minor_units
                found.append(
                    f"<明细><交易日期>{day:%Y%m%d}</交易日期><交易序号>{entry.bank_ref or ''}</交易序号>"
                    f"<借贷标志>{'借' if fen < 0 else '贷'}</借贷标志>"
                    f"<发生额>{decimal_text(abs(fen), CURRENCY)}</发生额><余额>{balance.text}</余额>"
                    f"<摘要>{escape(entry.text)}</摘要></明细>"
                )
            day += timedelta(days=1)
        return found[::-1]

    def _place(self, bank: SandboxBank, number: str) -> int | None:
        try:
            place = self.district.place(number)
        except (KeyError, ValueError):
            return None
        return place if self.district.bank_of(place).name == bank.name else None


def session_token(bank: SandboxBank, day: date) -> str:
    """The token that a sign-in gives; it holds for one day."""
    return hashlib.sha256(f"{bank.token}:{day}".encode()).hexdigest()[:24]


def _document(request: Request) -> Element:
    """The request's document. Raises _Wrong for what this machine would not take."""
    if request.method != "POST" or request.path != "/b2e":
        raise _Wrong("B000", "请求地址错误", status=404)
    declaration = _DECLARATION.match(request.body)
    if declaration is None:
        raise _Wrong("B005", "报文编码必须为GBK")
    try:
        text = request.body[declaration.end() :].decode("gbk")
        parsed: Element = fromstring(text, forbid_dtd=True)
    except (UnicodeDecodeError, ParseError, DefusedXmlException):
        raise _Wrong("B005", "报文格式错误") from None
    if parsed.tag != "报文":
        raise _Wrong("B005", "报文格式错误")
    return parsed


def _message(code: str, answer: str, text: str, body: str) -> str:
    return (
        f'<?xml version="1.0" encoding="GBK"?>\n<报文><报文头><交易代码>{escape(code)}</交易代码>'
        f"<返回码>{answer}</返回码><返回信息>{text}</返回信息></报文头><报文体>{body}</报文体></报文>"
    )


def _written(message: str, *, status: int = 200, encoding: str = "gb18030") -> Answer:
    return Answer(status, message.encode(encoding), "application/xml")


def _spoilt(message: str, form: Garbage, today: date) -> Answer:
    """A correct message made wrong in one way."""
    if form is Garbage.UTF8:
        return _written(message, encoding="utf-8")
    return _written(spoil(message, form, today))


def spoil(message: str, form: Garbage, today: date) -> str:
    """Return a correct message made wrong in one way."""
    figure = r"<(账面余额|发生额)>[^<]*</\1>"
    wrong = {
        Garbage.EXPONENT: r"<\1>1e5</\1>", Garbage.GROUPED: r"<\1>1,234.56</\1>", Garbage.MISSING: "",
        Garbage.TWICE: r"<\1>1.00</\1><\1>2.00</\1>", Garbage.NESTED: r"<\1><元>1.00</元></\1>",
    }
    match form:
        case Garbage.OTHER_ACCOUNT:
            return re.sub(r"<账号>([0-9]+)</账号>", lambda found: f"<账号>{found[1][::-1]}</账号>", message)
        case Garbage.WRONG_CURRENCY:
            return message.replace("<币种>01</币种>", "<币种>14</币种>")
        case Garbage.TOMORROW:
            tomorrow = today + timedelta(days=1)
            message = re.sub(r"<上日日期>[^<]*<", f"<上日日期>{tomorrow}<", message)
            return re.sub(r"<交易日期>[^<]*<", f"<交易日期>{tomorrow:%Y%m%d}<", message)
        case Garbage.BOMB:
            return message.replace("<报文>", f"{_BOMB}<报文>", 1)
        case Garbage.LOST_CHARACTERS:
            return message.replace("交易成功", "锟斤拷锟斤拷")
        case _:
            return re.sub(figure, wrong.get(form, ""), message)


def _text(document: Element, path: str) -> str:
    return (document.findtext(path) or "").strip()


def _day(document: Element, name: str) -> date:
    try:
        return datetime.strptime(_text(document, f"报文体/{name}"), "%Y%m%d").replace(tzinfo=ZONE).date()
    except ValueError:
        raise _Wrong("B006", "日期格式错误") from None


def _start(cursor: str) -> int:
    """Where a page begins. Raises _Wrong for a cursor this machine has not given."""
    if not cursor:
        return 0
    found = _CURSOR.match(cursor)
    if found is None or int(found[1]) % ROWS_MAX:
        raise _Wrong("B007", "续查标志错误")
    return int(found[1])
