"""One feed entry as a notice to people: for chat robots and e-mail."""

from __future__ import annotations

from datetime import UTC, tzinfo

from alerts.alert import FeedEntry
from alerts.channel.notice import Lang, Notice
from alerts.feeds.item import clean, feed_item

_NAMES: dict[Lang, dict[str, str]] = {
    "zh": {
        "name": "机构", "uscc": "统一社会信用代码", "bank": "银行", "account_no": "账户", "district": "区划",
        "rule": "规则", "as_of": "数据时间", "seq": "编号",
    },
    "en": {
        "name": "institution", "uscc": "USCC", "bank": "bank", "account_no": "account", "district": "district",
        "rule": "rule", "as_of": "as of", "seq": "number",
    },
}
_LABELS = ("name", "uscc", "bank", "account_no", "district")
ACCOUNT_DIGITS_SHOWN = 4


def notice(entry: FeedEntry, *, home_url: str, lang: Lang = "zh", zone: tzinfo = UTC) -> Notice:
    """What people are told of an entry, with times in `zone`. Of an account number only the last digits are shown."""
    item = feed_item(entry, home_url=home_url, lang=lang)
    names = _NAMES[lang]
    values = {label: " ".join(clean(entry.labels.get(label, "")).split()) for label in _LABELS}
    values["account_no"] = _ending(values["account_no"], lang)
    values["rule"] = " ".join(clean(entry.key.rule).split())
    values["as_of"] = f"{entry.as_of.astimezone(zone):%Y-%m-%d %H:%M %z}"
    values["seq"] = str(entry.seq)
    return Notice(
        seq=entry.seq,
        severity=entry.severity,
        title=item["title"],
        facts=tuple((names[name], value) for name, value in values.items() if value),
        url=item["url"],
        lang=lang,
        about=values["name"] or values["uscc"],
        cause=" ".join(part for part in (values["rule"], values["bank"]) if part),
    )


def _ending(account_no: str, lang: Lang) -> str:
    if not account_no:
        return ""
    shown = account_no[-ACCOUNT_DIGITS_SHOWN:] if len(account_no) > ACCOUNT_DIGITS_SHOWN else ""
    return f"尾号 {shown}" if lang == "zh" else f"ending in {shown}"
