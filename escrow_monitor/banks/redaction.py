"""A bank's answer made fit to be shown: its shape, balances, dates and types stay, whose money it is does not.

    {"iban": "DE40100100103307118608", "amount": "5000.00", "creditorName": "Wang", "bookingDate": "2026-11-20"}
    {"iban": "…8608", "amount": "5000.00", "creditorName": "[text, 4 characters]", "bookingDate": "2026-11-20"}

Nothing is shown because it looks harmless by name alone: a value stays only if it reads as an amount, a date, a
currency, or a one-word code where the key speaks of a type, status or code. Everything else is replaced.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from urllib.parse import parse_qsl, quote
from xml.etree.ElementTree import Element, ParseError

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

ITEMS_MAX = 20
"""Of a list longer than this only the beginning is shown."""
LINES_MAX = 400
DEPTH_MAX = 40
HIDDEN = "[redacted]"

_DIGITS = re.compile(r"\d{12,}")
_GROUPS = re.compile(r"\b\d{4}(?:[ -]\d{4}){2,}(?:[ -]\d{1,4})?\b")
_LONG_DIGITS = re.compile(r"\d(?:[ -]?\d){5,}")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b")
_AMOUNT = re.compile(r"[+-]?(?:\d{1,11}|\d{1,3}(?:,\d{3}){1,3})[.,]\d{1,9}", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,11}", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?", re.ASCII)
_TIME = re.compile(r"\d{2}:\d{2}(:\d{2})?", re.ASCII)
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}", re.ASCII)
_KEY = re.compile(r"[A-Za-z_@$#\u4e00-\u9fff][\w.:@$#-]{0,63}")

_SECRET_KEY = re.compile(
    r"token|consent|secret|passw|cursor|auth|signature|cert|continu|(^|_)key$|令牌|密码|签名", re.I
)
_ACCOUNT_KEY = re.compile(
    r"acc(oun)?t?(no|nbr|num|_|$)|acct|iban|bban|maskedpan|(^|_)pan$|card|^identification|^accnbr|eacc|账号|帐号|卡号",
    re.I,
)
_IDENTITY_KEY = re.compile(
    r"id$|ident|nbr$|number|phone|mobile|tel|licen|ref|serial|seq|href|link|url|mail|编号|流水|电话", re.I
)
_TEXT_KEY = re.compile(
    r"name|nam$|nm$|text|addr|remit|narr|memo|party|purpose|usage|holder|owner|note|remark|户名|名称|摘要|附言", re.I
)
_AMOUNT_KEY = re.compile(r"am(oun)?t|bal|blv|sum|total|count|cnt|size|limit|lmt|fen|金额|余额", re.I)
_DATE_KEY = re.compile(r"da(te|y|t)|dt$|time|tim$|tm$|_at$|since|日期|时间", re.I)
_CURRENCY_KEY = re.compile(r"cur|ccy|币", re.I)
_CODE_KEY = re.compile(
    r"type|typ$|tp$|status|stat(e|us)?$|sts|stscod|code|cod$|(^|_)cd$|indicator|ind$|kind|level|result|flag|flg$|drcr|"
    r"cddbt|direction|category|version|method|币种|类型|状态|借贷|代码|返回码|标志", re.I,
)
_MESSAGE_KEY = re.compile(
    r"^(err(or)?|result|rtn|ret|resp(onse)?|rsp)_?(msg|message|text|txt|desc(ription)?|inf)$|^(返回|错误|响应)信息$",
    re.I,
)
_ERROR_KEY = re.compile(r"^(text|msg|message|detail|title|error|error_description|description|reason|path)$", re.I)
_WORDS = frozenset({
    "closingbooked", "openingbooked", "interimbooked", "interimavailable", "expected", "forwardavailable",
    "noninvoiced", "openingavailable", "closingavailable", "interimcleared", "openingcleared", "closingcleared",
    "previouslyclosedbooked", "information", "booked", "pending", "enabled", "deleted", "blocked", "credit", "debit",
    "crdt", "dbit", "clbd", "opbd", "itbd", "clav", "itav", "opav", "fwav", "prcd", "xpcd", "info", "ptcy", "cacc",
    "business", "personal", "currentaccount", "true", "false", "yes", "no", "ok", "success",
    "借", "贷", "借方", "贷方", "收", "付", "收入", "支出", "正常", "冻结", "销户", "成功", "失败", "人民币",
    "是", "否",
})
"""Codes of the standards that stay whatever their key is called."""


class Redactor:
    """Knows what must not be seen: `secrets` vanish, `accounts` are shown by their last four characters."""

    def __init__(self, *, secrets: Iterable[str] = (), accounts: Iterable[str] = ()) -> None:
        hidden = {secret: HIDDEN for secret in secrets if len(secret) >= 4}
        hidden |= {account: last_four(account) for account in accounts if len(account) >= 4}
        hidden |= {quote(text, safe=""): shown for text, shown in hidden.items()}
        # The longest first: one may be part of another.
        self._hidden = sorted(hidden.items(), key=lambda pair: len(pair[0]), reverse=True)

    def line(self, text: str) -> str:
        """One of our own sentences or a place: without secrets, account numbers and long digit runs."""
        text = _one_line(text)
        for hidden, shown in self._hidden:
            text = text.replace(hidden, shown)
        for pattern in (_IBAN, _GROUPS):
            text = pattern.sub(lambda found: last_four(found[0]), text)
        return _DIGITS.sub(lambda found: last_four(found[0]), text)

    def path(self, path: str) -> str:
        """A called path with its query: what the query carries is treated like a document's values."""
        place, mark, query = path.partition("?")
        pairs = [f"{self._key(key)}={self._value(key, value)}" for key, value in parse_qsl(query, True)]
        return self.line(place) + (mark and "?" + "&".join(pairs))

    def document(self, content: bytes, media_type: str = "", *, error: bool = False) -> str:
        """The document, pretty-printed and redacted. In an `error` the bank's sentence about our call stays."""
        text = _decoded(content)
        lines = self._lines(text, "json" in media_type or text.lstrip()[:1] in ("{", "["), error)
        shown: list[str] = []
        for line in lines:
            if len(shown) == LINES_MAX:
                shown.append("… (cut here)")
                break
            shown.append(line)
        return "\n".join(shown)

    def _lines(self, text: str, is_json: bool, error: bool) -> Iterator[str]:
        if is_json:
            try:
                document = json.loads(text, parse_float=_Number, parse_int=_Number, parse_constant=_Number)
            except (ValueError, RecursionError):
                return self._text(text)
            return self._json(document, "", 0, error)
        if text.lstrip()[:1] == "<":
            try:
                root = ElementTree.fromstring(text, forbid_dtd=True)
            except (ParseError, DefusedXmlException, ValueError):
                return self._text(text)
            return self._xml(root, 0, error)
        return self._text(text)

    def _json(
        self, value: object, key: str, depth: int, error: bool, *, before: str = "", after: str = ""
    ) -> Iterator[str]:
        pad = "  " * depth
        match value:
            case dict() | list() if depth >= DEPTH_MAX:
                yield f"{pad}{before}…{after}"
            case dict():
                yield f"{pad}{before}{{"
                pairs = list(value.items())
                for place, (name, below) in enumerate(pairs, 1):
                    comma = "," if place < len(pairs) else ""
                    label = f'"{self._key(str(name))}": '
                    yield from self._json(below, str(name), depth + 1, error, before=label, after=comma)
                yield f"{pad}}}{after}"
            case list():
                yield f"{pad}{before}["
                for place, below in enumerate(value[:ITEMS_MAX], 1):
                    comma = "," if place < len(value) else ""
                    yield from self._json(below, key, depth + 1, error, after=comma)
                if len(value) > ITEMS_MAX:
                    yield f"{pad}  … {len(value) - ITEMS_MAX} more"
                yield f"{pad}]{after}"
            case _:
                yield f"{pad}{before}{self._scalar(value, key, error)}{after}"

    def _scalar(self, value: object, key: str, error: bool) -> str:
        if value is None or isinstance(value, bool):
            return json.dumps(value)
        shown = self._value(key, str(value), error)
        return shown if isinstance(value, _Number) and shown == str(value) else json.dumps(shown, ensure_ascii=False)

    def _xml(self, element: Element, depth: int, error: bool) -> Iterator[str]:
        pad, tag = "  " * depth, _local(element.tag)
        name = self._key(tag)
        attributes = "".join(
            f' {self._key(_local(key))}="{self._value(_local(key), value, error)}"' for key, value in element.items()
        )
        text = (element.text or "").strip()
        said = self._value(tag, text, error) if text else ""
        below = list(element)
        if not below or depth >= DEPTH_MAX:
            yield f"{pad}<{name}{attributes}>{said}</{name}>" if said else f"{pad}<{name}{attributes}/>"
            return
        yield f"{pad}<{name}{attributes}>{said}"
        for child in below[:ITEMS_MAX]:
            yield from self._xml(child, depth + 1, error)
            if (child.tail or "").strip():
                yield f"{pad}  {self._value(tag, (child.tail or '').strip(), error)}"
        if len(below) > ITEMS_MAX:
            yield f"{pad}  … {len(below) - ITEMS_MAX} more"
        yield f"{pad}</{name}>"

    def _text(self, text: str) -> Iterator[str]:
        """Of a text without structure only amounts and dates stay."""
        for line in text.splitlines():
            words = [word if _is_amount(word) or _is_time(word, "") else "…" for word in line.split()]
            shown = [word for place, word in enumerate(words) if word != "…" or words[place - 1 : place] != ["…"]]
            yield self.line(" ".join(shown))

    def _key(self, key: str) -> str:
        """A key is the bank's word for a thing, not a thing; one that is not such a word is not shown."""
        return self.line(key) if _KEY.fullmatch(key) and not _LONG_DIGITS.search(key) else "[key]"

    def _value(self, key: str, value: str, error: bool = False) -> str:
        value = value.strip()
        known = any(hidden in value for hidden, _ in self._hidden)
        if _is_time(value, key) and not known:
            return f"{value[:8]}T{value[8:]}" if len(value) == 14 and value.isdigit() else value
        if known or self.line(value) != _one_line(value) or _SECRET_KEY.search(key):
            return self._hidden_value(key, value, error)
        return value if not value or _is_amount(value) or _stays(key, value) else self._hidden_value(key, value, error)

    def _hidden_value(self, key: str, value: str, error: bool) -> str:
        for hidden, shown in self._hidden:
            if value == hidden:
                return shown
        if _SECRET_KEY.search(key) and not _MESSAGE_KEY.search(key):
            return HIDDEN if value else ""
        if _MESSAGE_KEY.search(key) or (error and _ERROR_KEY.search(key)):
            return _LONG_DIGITS.sub(lambda found: last_four(found[0]), self.line(value))[:300]
        if _ACCOUNT_KEY.search(key) and not _TEXT_KEY.search(key):
            return last_four(value)
        return f"[text, {len(value)} characters]"


def last_four(text: str) -> str:
    """`…1234`; of something short nothing at all."""
    plain = re.sub(r"\W", "", text)
    return f"…{plain[-4:]}" if len(plain) >= 8 else "…"


class _Number(str):
    """A JSON number as it was written: read as a float it would show another figure."""

    __slots__ = ()


def _stays(key: str, value: str) -> bool:
    """Whether a value that is no amount and no time is a count, a currency or a code."""
    named = bool(_TEXT_KEY.search(key) or _ACCOUNT_KEY.search(key) or _IDENTITY_KEY.search(key))
    if _WHOLE.fullmatch(value):
        return (bool(_AMOUNT_KEY.search(key)) and not named) or len(value) <= (2 if named else 5)
    if _CURRENCY_KEY.search(key) and re.fullmatch(r"[A-Z]{3}", value, re.ASCII):
        return True
    if value.lower() in _WORDS:
        return True
    coded = bool(_CODE_KEY.search(key)) and not _TEXT_KEY.search(key) and not _ACCOUNT_KEY.search(key)
    return coded and bool(_CODE.fullmatch(value)) and not _LONG_DIGITS.search(value)


def _is_amount(value: str) -> bool:
    return bool(_AMOUNT.fullmatch(value))


def _is_time(value: str, key: str) -> bool:
    """A date or time. One written in digits alone counts only where the key does not speak of an account or number."""
    if _INSTANT.fullmatch(value) or _TIME.fullmatch(value) or _DAY.fullmatch(value):
        return True
    if not re.fullmatch(r"\d{8}|\d{14}", value, re.ASCII) or not _DATE_KEY.search(key):
        return False
    try:
        datetime.strptime(value[8:] or "000000", "%H%M%S")  # noqa: DTZ007 - only whether it is one
        return 1990 <= date.fromisoformat(value[:8]).year <= 2100
    except ValueError:
        return False


def _one_line(text: str) -> str:
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def _local(tag: object) -> str:
    return str(tag).rpartition("}")[2]


def _decoded(content: bytes) -> str:
    """Text of unknown encoding: UTF-8, else GB18030, which Chinese front-end machines still write."""
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            # Python's strings have no encoding: an XML declaration of one would contradict.
            return re.sub(r"^\s*<\?xml[^>]*\?>", "", content.decode(encoding))
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1")
