"""What an invented bank answers in a JSON form of its own: pinyin names, amounts in fen as numbers, signed requests.

    POST /yandu/gateway/yecx   {"tou": {...}, "ti": {"zhlb": ["6219..."]}}   余额查询, at most 50 accounts
    POST /yandu/gateway/mxcx   {"tou": {...}, "ti": {"zh", "ksrq", "zzrq", "ym", "myts"}}   明细查询, 31 days

    ti.zhxx: zh 账号, bz 币种, zmye 账面余额, kyye 可用余额, djje 冻结金额, zrye 昨日余额, zrrq 昨日, zhzt 账户状态
"""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from escrow_monitor.domain.accounts import AccountStatus
from escrow_monitor.domain.statements import Entry
from escrow_monitor.sandbox.dialects.dialect import Answer, Request
from escrow_monitor.sandbox.district import ZONE, District, SandboxBank, last_closed_day, tick

ACCOUNTS_MAX = 50
DAYS_MAX = 31
ROWS_MAX = 100
CLOCK_SECONDS_MAX = 600
"""How far the request's time may be from the bank's."""
_STATUS = {AccountStatus.ACTIVE: "0", AccountStatus.FROZEN: "1", AccountStatus.CLOSED: "9", AccountStatus.UNKNOWN: "8"}
_ID = re.compile(r"[0-9a-f]{32}\Z")
_TRUNCATED_EVERY_HOURS = 4


class Garbage(StrEnum):
    """The ways in which the garbage bank answers wrongly, taken in turn hour by hour, account by account."""

    EXPONENT = "exponent"
    OTHER_ACCOUNT = "other_account"
    DECIMALS = "decimals"
    WRONG_CURRENCY = "wrong_currency"
    TOMORROW = "tomorrow"
    NAN = "nan"
    TWENTY_DIGITS = "twenty_digits"
    GROUPED = "grouped"
    LISTED = "listed"
    MISSING = "missing"
    TWICE = "twice"


GARBAGE = tuple(Garbage)


class _Wrong(Exception):
    """A request that is answered with a code, or with a status of HTTP."""

    def __init__(self, code: str, text: str, *, status: int = 200) -> None:
        super().__init__(text)
        self.code, self.text, self.status = code, text, status


@dataclass
class JsonBankDialect:
    """The JSON form for all banks of a district that have it."""

    district: District

    def answer(self, request: Request, *, bank: SandboxBank, at: datetime, garbage: bool) -> Answer:
        """Answer one request at an instant, with a code in `tou.fhm` where it is wrong."""
        document: dict[str, object] = {}
        try:
            document = self._checked(request, bank, at)
            inside = _table(document, "ti")
            match (request.path, _table(document, "tou").get("jydm")):
                case ("/gateway/yecx", "YECX"):
                    body = self._balances(bank, inside, at, garbage=garbage)
                case ("/gateway/mxcx", "MXCX"):
                    body = self._entries(bank, inside, at, garbage=garbage)
                case _:
                    raise _Wrong("E1001", "交易代码不存在", status=404)
        except _Wrong as wrong:
            return Answer(wrong.status, _text(_head(document, at, wrong.code, wrong.text), None))
        answer = _text(_head(document, at, "000000", "交易成功"), body)
        if garbage and at.hour % _TRUNCATED_EVERY_HOURS == 0:
            return Answer(200, answer[:-40])
        return Answer(200, answer)

    def limited(self, request: Request, *, bank: SandboxBank) -> Answer:
        """The bank was asked too often; it says so with status 200."""
        return Answer(200, json.dumps({"tou": {"fhm": "E9429", "fhxx": "访问过于频繁"}}, ensure_ascii=False).encode())

    def settings(self, bank: SandboxBank, *, base_url: str) -> Mapping[str, object]:
        """What an operator would write into `[banks.NAME]`."""
        codes: dict[str, object] = {
            "path": "tou.fhm", "equals": ["000000"], "message": "tou.fhxx",
            "reasons": {"E9001": "unauthorized", "E9002": "unauthorized", "E9429": "rate_limited"},
        }
        return {
            "connector": "json_bank", "base_url": base_url, "token": bank.token, "numbers": "literal",
            "currencies": {"156": "CNY"},
            "sign": {
                "algorithm": "hmac_sha256", "key": signing_key(bank), "parts": ["timestamp", "body"],
                "header": "X-Qm", "timestamp_header": "X-Sjc",
            },
            "balances": {
                "method": "POST", "path": "/gateway/yecx", "batch_size": ACCOUNTS_MAX,
                "body": {"tou": {"jydm": "YECX", "lsh": "{request_id}"}, "ti": {"zhlb": "{accounts}"}},
                "success": codes, "accounts": "ti.zhxx", "account": "zh", "currency": "bz", "unit": "fen",
                "row_success": {
                    "path": "fhm", "equals": "000000", "message": "fhxx", "reasons": {"E0104": "not_found"},
                },
                "status": {"path": "zhzt", "map": {"0": "active", "1": "frozen", "9": "closed"}},
                "readings": [
                    {"kind": "booked_intraday", "amount": "zmye", "as_of": "/tou.sj", "as_of_format": "%Y%m%d%H%M%S"},
                    {"kind": "available", "amount": "kyye"},
                    {"kind": "held", "amount": "djje"},
                    {"kind": "booked_closing", "amount": "zrye", "day": "zrrq", "day_format": "%Y%m%d"},
                ],
            },
            "statements": {
                "method": "POST", "path": "/gateway/mxcx", "days_max": DAYS_MAX,
                "body": {
                    "tou": {"jydm": "MXCX", "lsh": "{request_id}"},
                    "ti": {
                        "zh": "{account_no}", "ksrq": "{from:%Y%m%d}", "zzrq": "{to:%Y%m%d}", "ym": "{page}",
                        "myts": "{size}",
                    },
                },
                "success": {**codes, "nothing": ["E2001"]}, "account": "ti.zh", "currency": "bz", "unit": "fen",
                "entries": "ti.mxlb", "sign": "indicator", "amount": "jyje",
                "direction": {"path": "jdbz", "credit": "C", "debit": "D"},
                "opening": {"amount": "ti.qcye"},
                "closing": {"amount": "ti.qmye", "day": "ti.qmrq", "day_format": "%Y%m%d"},
                "booked_on": "jyrq", "value_on": "qxrq", "day_format": "%Y%m%d", "reference": "jylsh", "text": "zy",
                "reversal": {"path": "cxbz", "equals": "1"},
                "paging": {"by": "page", "size": ROWS_MAX, "total": "ti.zbs"},
            },
        }

    def _checked(self, request: Request, bank: SandboxBank, at: datetime) -> dict[str, object]:
        """The request's document. Raises _Wrong for one that this bank would not take."""
        if request.method != "POST":
            raise _Wrong("E9000", "请求方式错误", status=405)
        if request.headers.get("authorization") != f"Bearer {bank.token}":
            raise _Wrong("E9001", "令牌无效", status=401)
        if not request.headers.get("content-type", "").startswith("application/json"):
            raise _Wrong("E9003", "报文格式错误", status=415)
        told = request.headers.get("x-sjc", "")
        signed = base64.b64encode(
            hmac.digest(signing_key(bank).encode(), told.encode() + b"\n" + request.body, "sha256")
        ).decode()
        if not hmac.compare_digest(signed.encode(), request.headers.get("x-qm", "").encode()):
            raise _Wrong("E9002", "验签失败")
        try:
            sent_at = datetime.strptime(told, "%Y%m%d%H%M%S").replace(tzinfo=ZONE)
        except ValueError:
            raise _Wrong("E9004", "时间戳格式错误") from None
        if abs((sent_at - at).total_seconds()) > CLOCK_SECONDS_MAX:
            raise _Wrong("E9004", "时间戳超出允许范围")
        try:
            document = json.loads(request.body.decode())
        except ValueError:
            raise _Wrong("E9003", "报文格式错误") from None
        if not isinstance(document, dict) or not _ID.match(str(_table(document, "tou").get("lsh", ""))):
            raise _Wrong("E1002", "流水号必输")
        return document

    def _balances(self, bank: SandboxBank, asked: Mapping[str, object], at: datetime, *, garbage: bool) -> str:
        numbers = asked.get("zhlb")
        if not isinstance(numbers, list) or not 1 <= len(numbers) <= ACCOUNTS_MAX:
            raise _Wrong("E1003", f"账号个数须为1至{ACCOUNTS_MAX}")
        rows = [self._balance(bank, str(number), at) for number in numbers]
        if garbage:
            form = GARBAGE[(at.hour + (self._place(bank, str(numbers[0])) or 0)) % len(GARBAGE)]
            rows = [spoil(row, "zmye", form, at.date()) for row in rows]
        return f'{{"zhxx":[{",".join(rows)}]}}'

    def _balance(self, bank: SandboxBank, number: str, at: datetime) -> str:
        place = self._place(bank, number)
        if place is None:
            return json.dumps({"zh": number, "fhm": "E0104", "fhxx": f"账号{number}未签约"}, ensure_ascii=False)
        closed = last_closed_day(at)
        closing, running = (
            self.district.scaled(place, fen) for fen in self.district.struck(place, closed=closed, at=tick(at))
        )
        status = _STATUS[self.district.status_on(place, at.date())]
        return (
            f'{{"zh":"{number}","fhm":"000000","fhxx":"","bz":"156","zmye":{running},"kyye":{running},"djje":0,'
            f'"zrye":{closing},"zrrq":"{closed:%Y%m%d}","zhzt":"{status}"}}'
        )

    def _entries(self, bank: SandboxBank, asked: Mapping[str, object], at: datetime, *, garbage: bool) -> str:
        number = str(asked.get("zh", ""))
        place = self._place(bank, number)
        if place is None:
            raise _Wrong("E0104", "账号未签约")
        first, last = _day(asked, "ksrq"), _day(asked, "zzrq")
        if last < first or (last - first).days >= DAYS_MAX:
            raise _Wrong("E1008", f"查询区间不得超过{DAYS_MAX}天")
        page, size = _whole(asked, "ym"), _whole(asked, "myts")
        if page < 1 or not 1 <= size <= ROWS_MAX:
            raise _Wrong("E1009", f"每页条数须为1至{ROWS_MAX}")
        first, last = max(first, self.district.starts_on), min(last, last_closed_day(at))
        if first > last:
            raise _Wrong("E2001", "无符合条件的记录")
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        entries = [entry for day in days for entry in self.district.entries(number, day)]
        rows = [_entry(entry) for entry in entries[(page - 1) * size : page * size]]
        opening = self.district.opening(number, first).minor_units
        closing = self.district.balance(number, last).minor_units
        body = (
            f'{{"zh":"{number}","zbs":{len(entries)},"qcye":{opening},"qmye":{closing},"qmrq":"{last:%Y%m%d}",'
            f'"mxlb":[{",".join(rows)}]}}'
        )
        return spoil(body, "qmye", GARBAGE[(at.hour + place) % len(GARBAGE)], at.date()) if garbage else body

    def _place(self, bank: SandboxBank, number: str) -> int | None:
        try:
            place = self.district.place(number)
        except KeyError:
            return None
        return place if self.district.bank_of(place).name == bank.name else None


def signing_key(bank: SandboxBank) -> str:
    """The secret with which requests to a bank are signed."""
    return f"{bank.token}-qm"


def spoil(body: str, field: str, form: Garbage, today: date) -> str:
    """Return a correct JSON text made wrong in one way; `field` is the amount that suffers."""
    amount = re.search(rf'"{field}":(-?[0-9]+)', body)
    if amount is None:
        return body
    wrong = {
        Garbage.EXPONENT: "1e5", Garbage.DECIMALS: f"{amount[1]}.5", Garbage.NAN: "NaN",
        Garbage.TWENTY_DIGITS: "12345678901234567890", Garbage.GROUPED: '"1,234,567"', Garbage.LISTED: "[1,2]",
        Garbage.MISSING: "null", Garbage.TWICE: f'1,"{field}":{amount[1]}',
    }
    match form:
        case Garbage.WRONG_CURRENCY:
            return body.replace('"bz":"156"', '"bz":"840"')
        case Garbage.TOMORROW:
            return re.sub(r'"(zrrq|qmrq)":"[0-9]+"', rf'"\1":"{today + timedelta(days=1):%Y%m%d}"', body)
        case Garbage.OTHER_ACCOUNT:
            return re.sub(r'"zh":"([0-9]+)"', lambda found: f'"zh":"{found[1][::-1]}"', body)
        case _:
            return f"{body[: amount.start(1)]}{wrong[form]}{body[amount.end(1) :]}"


def _entry(entry: Entry) -> str:
    fen = entry.amount.minor_units
    reference = json.dumps(entry.bank_ref)
    return (
        f'{{"jyrq":"{entry.booked_on:%Y%m%d}","qxrq":"{entry.value_on or entry.booked_on:%Y%m%d}","jylsh":{reference},'
        f'"bz":"156","jdbz":"{"D" if fen < 0 else "C"}","jyje":{abs(fen)},'
        f'"zy":{json.dumps(entry.text, ensure_ascii=False)},"cxbz":"{int(entry.reversal)}"}}'
    )


def _head(document: Mapping[str, object], at: datetime, code: str, text: str) -> str:
    sent = _table(document, "tou")
    return json.dumps(
        {
            "jydm": str(sent.get("jydm", ""))[:8], "lsh": str(sent.get("lsh", ""))[:32], "fhm": code, "fhxx": text,
            "sj": f"{tick(at):%Y%m%d%H%M%S}",
        },
        ensure_ascii=False,
    )


def _text(head: str, body: str | None) -> bytes:
    return (f'{{"tou":{head}}}' if body is None else f'{{"tou":{head},"ti":{body}}}').encode()


def _table(document: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _day(asked: Mapping[str, object], name: str) -> date:
    try:
        return datetime.strptime(str(asked.get(name, "")), "%Y%m%d").replace(tzinfo=ZONE).date()
    except ValueError:
        raise _Wrong("E1007", f"{name}日期格式错误") from None


def _whole(asked: Mapping[str, object], name: str) -> int:
    text = str(asked.get(name, ""))
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise _Wrong("E1009", f"{name}须为整数")
    return int(text)
