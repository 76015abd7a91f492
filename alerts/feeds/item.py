"""One feed entry as its readers see it: the JSON Feed 1.1 item that every renderer and every webhook carries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, TypedDict
from uuid import UUID, uuid5

from alerts.alert import FeedEntry, Figure, Reason, Severity, TransitionKind
from alerts.routing import RouteReason

Lang = Literal["zh", "en"]

LANGUAGE_TAGS: Mapping[Lang, str] = {"zh": "zh-CN", "en": "en"}

SEVERITY_WORDS: Mapping[Severity, Mapping[Lang, str]] = {
    Severity.INFO: {"zh": "提示", "en": "info"},
    Severity.YELLOW: {"zh": "黄色", "en": "yellow"},
    Severity.ORANGE: {"zh": "橙色", "en": "orange"},
    Severity.RED: {"zh": "红色", "en": "red"},
}
TRANSITION_WORDS: Mapping[TransitionKind, Mapping[Lang, str]] = {
    TransitionKind.OPENED: {"zh": "新预警", "en": "opened"},
    TransitionKind.ESCALATED: {"zh": "升级", "en": "escalated"},
    TransitionKind.EASED: {"zh": "降级", "en": "eased"},
    TransitionKind.ACKNOWLEDGED: {"zh": "已确认", "en": "acknowledged"},
    TransitionKind.SNOOZED: {"zh": "已暂缓", "en": "snoozed"},
    TransitionKind.ACCEPTED: {"zh": "已接受", "en": "accepted"},
    TransitionKind.RESOLVED: {"zh": "已解除", "en": "resolved"},
    TransitionKind.REOPENED: {"zh": "再次预警", "en": "reopened"},
    TransitionKind.RESUMED: {"zh": "恢复提醒", "en": "resumed"},
}
REASON_WORDS: Mapping[Reason, Mapping[Lang, str]] = {
    Reason.CONDITION_SEEN: {"zh": "查见该情形", "en": "the condition was seen"},
    Reason.CONDITION_HELD: {"zh": "该情形持续已满规定时间", "en": "the condition held as long as it must"},
    Reason.SEVERITY_ROSE: {"zh": "情形加重", "en": "it got worse"},
    Reason.SEVERITY_FELL: {"zh": "情形减轻", "en": "it got better"},
    Reason.EXAMINED_AND_ABSENT: {"zh": "经查已不存在", "en": "examined and found absent"},
    Reason.SEEN_AGAIN: {"zh": "再次查见", "en": "it was seen again"},
    Reason.WORSE_THAN_ACCEPTED: {"zh": "比已接受的更严重", "en": "worse than what was accepted"},
    Reason.OTHER_EVIDENCE: {"zh": "依据与当时不同", "en": "the evidence is not what it was then"},
    Reason.NOT_HELD_LONG_ENOUGH: {"zh": "持续时间未满", "en": "it has not held long enough"},
    Reason.NOT_ABSENT_LONG_ENOUGH: {"zh": "消失时间未满", "en": "it has not been absent long enough"},
    Reason.WITHIN_MARGIN: {"zh": "仍在缓冲范围内", "en": "within the margin"},
    Reason.UNCHANGED: {"zh": "没有变化", "en": "nothing changed"},
    Reason.NOT_EXAMINED: {"zh": "未经核查", "en": "it was not examined"},
    Reason.OLDER_THAN_KNOWN: {"zh": "依据早于已知情况", "en": "the evidence is older than what is known"},
    Reason.NEVER_OPENED: {"zh": "尚未构成预警即已消失", "en": "it went before it opened"},
    Reason.ACKNOWLEDGED: {"zh": "已有人确认", "en": "somebody acknowledged it"},
    Reason.SNOOZED: {"zh": "已暂缓提醒", "en": "somebody snoozed it"},
    Reason.ACCEPTANCE_PROPOSED: {
        "zh": "已提议接受，待另一人复核", "en": "acceptance is proposed and waits for another person",
    },
    Reason.ACCEPTED: {"zh": "已经两人接受", "en": "two people accepted it"},
    Reason.TAKEN_BACK: {"zh": "决定已撤回", "en": "the decision was taken back"},
    Reason.RAN_OUT: {"zh": "决定已到期", "en": "the decision ran out"},
    Reason.REPLACED: {"zh": "已由新的决定代替", "en": "a newer decision took its place"},
    Reason.ALERT_ENDED: {"zh": "预警已结束", "en": "the alert ended"},
    Reason.NOT_OPEN: {"zh": "该预警未开启，无可决定", "en": "the alert is not open: there is nothing to decide"},
    Reason.NO_PERSON: {"zh": "没有说明是谁决定的", "en": "nobody is named who decides"},
    Reason.NO_NOTE: {"zh": "没有说明理由", "en": "no reason is given: add a note"},
    Reason.NOTE_TOO_LONG: {"zh": "说明过长（最多 500 字）", "en": "the note is longer than 500 characters"},
    Reason.ENDS_TOO_SOON: {"zh": "截止时间不在将来", "en": "the end does not lie ahead"},
    Reason.ENDS_TOO_LATE: {
        "zh": "截止时间过远（确认最长 30 天，暂缓最长 14 天）",
        "en": "the end is too far off: 30 days at most for an acknowledgement, 14 for a snooze",
    },
    Reason.ALREADY_ACCEPTED: {"zh": "该预警已被接受", "en": "the alert is accepted already"},
    Reason.NOTHING_PROPOSED: {"zh": "没有待复核的接受提议", "en": "no acceptance is proposed: propose it first"},
    Reason.SAME_PERSON: {"zh": "提议人与复核人是同一人", "en": "whoever proposed it cannot confirm it"},
    Reason.NOTHING_TO_TAKE_BACK: {
        "zh": "没有可撤回的决定", "en": "no such decision stands: there is nothing to take back",
    },
}
"""What each reason says to people."""


ROUTE_WORDS: Mapping[RouteReason, Mapping[Lang, str]] = {
    RouteReason.ASKED_FOR: {"zh": "已订阅", "en": "it is asked for"},
    RouteReason.NOBODY_ACKNOWLEDGED: {"zh": "逾时无人确认", "en": "nobody acknowledged it in time"},
    RouteReason.HEARD_OF: {"zh": "此前已通知过该预警", "en": "they heard of the alert before"},
    RouteReason.INHIBITED: {"zh": "由更重的预警代为通知", "en": "a graver alert speaks for it"},
    RouteReason.SILENCED: {"zh": "静默中", "en": "silenced"},
    RouteReason.SNOOZED: {"zh": "已暂缓提醒", "en": "snoozed"},
    RouteReason.ACCEPTED: {"zh": "已经两人接受", "en": "accepted by two people"},
    RouteReason.ON_THE_LADDER: {"zh": "尚未到逐级上报时间", "en": "its rung of the ladder is not reached"},
    RouteReason.GATHERED: {"zh": "等待同类一并发送", "en": "waits for what belongs with it"},
    RouteReason.QUIET_HOURS: {"zh": "免打扰时段", "en": "quiet hours"},
    RouteReason.NOT_ASKED_FOR: {"zh": "未订阅", "en": "not asked for"},
    RouteReason.NOT_HEARD_OF: {"zh": "此前未通知过该预警", "en": "they never heard of the alert"},
    RouteReason.ENDED_MEANWHILE: {"zh": "其间已解除", "en": "it ended meanwhile"},
    RouteReason.NEWER_CALL: {"zh": "已有更新的通知", "en": "a newer call says more"},
    RouteReason.ACKNOWLEDGED: {"zh": "已有人确认", "en": "somebody acknowledged it"},
    RouteReason.STORM: {"zh": "一次核查新增过多，合并为一条", "en": "too many at once: one alert speaks for all"},
}
"""What people are told of why a channel was given something, or was not."""


class EscrowFacts(TypedDict):
    """The machine's part of an item. `uscc`, `account_no`, `bank` and `district` are null where they do not apply."""

    seq: int
    alert_id: str
    transition: str
    reason: str
    rule: str
    severity: str
    standing: str
    uscc: str | None
    account_no: str | None
    bank: str | None
    district: str | None
    subject: str
    period: str
    as_of: str
    recorded_at: str
    why: str
    why_en: str
    figures: dict[str, Figure]
    audit_seq: int
    audit_head: str


class FeedItem(TypedDict):
    """A JSON Feed 1.1 item; instants are RFC 3339 with a zone."""

    id: str
    url: str
    title: str
    content_text: str
    date_published: str
    language: str
    tags: list[str]
    _escrow: EscrowFacts


def feed_item(entry: FeedEntry, *, home_url: str, lang: Lang = "zh") -> FeedItem:
    """Return the item of a feed entry. `lang` picks the title; the content always says it in both languages.

    Only `url` depends on `home_url`: the id is made from the entry's number and its place in the audit chain, so it
    stays the same when the service moves, and two services never share one.
    """
    zh, en = clean(entry.why.zh), clean(entry.why.en)
    return {
        "id": item_urn(entry),
        "url": f"{home_url.rstrip('/')}/alerts/{entry.alert_id}",
        "title": _title(entry, zh if lang == "zh" else en, lang),
        "content_text": f"{zh}\n{en}",
        "date_published": entry.recorded_at.isoformat(),
        "language": LANGUAGE_TAGS[lang],
        "tags": [entry.severity.value, entry.transition.value, clean(entry.key.rule)],
        "_escrow": _facts(entry, zh, en),
    }


def item_urn(entry: FeedEntry) -> str:
    """The entry's stable id, `urn:uuid:...` (RFC 4122, version 5)."""
    return f"urn:uuid:{uuid5(_ENTRIES, f'{entry.seq}:{entry.audit_head}')}"


def clean(text: str) -> str:
    """The text without what neither XML 1.0 nor UTF-8 can carry: control characters and lone surrogates."""
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text)


def _title(entry: FeedEntry, sentence: str, lang: Lang) -> str:
    severity, transition = SEVERITY_WORDS[entry.severity][lang], TRANSITION_WORDS[entry.transition][lang]
    one_line = " ".join(sentence.split())
    return f"【{severity}·{transition}】{one_line}" if lang == "zh" else f"[{severity}, {transition}] {one_line}"


def _facts(entry: FeedEntry, zh: str, en: str) -> EscrowFacts:
    return {
        "seq": entry.seq,
        "alert_id": entry.alert_id,
        "transition": entry.transition.value,
        "reason": entry.reason.value,
        "rule": clean(entry.key.rule),
        "severity": entry.severity.value,
        "standing": clean(entry.standing),
        "uscc": _label(entry, "uscc"),
        "account_no": _label(entry, "account_no"),
        "bank": _label(entry, "bank"),
        "district": _label(entry, "district"),
        "subject": clean(entry.key.subject),
        "period": clean(entry.key.period),
        "as_of": entry.as_of.isoformat(),
        "recorded_at": entry.recorded_at.isoformat(),
        "why": zh,
        "why_en": en,
        "figures": {
            clean(name): clean(figure) if isinstance(figure, str) else figure for name, figure in entry.figures.items()
        },
        "audit_seq": entry.audit_seq,
        "audit_head": entry.audit_head,
    }


def _label(entry: FeedEntry, name: str) -> str | None:
    """A label, or None: an empty one is as good as none."""
    return clean(entry.labels.get(name, "")) or None


_ENTRIES = UUID("5f0c2f0e-6f0b-5c53-9d4e-0b6a6f2f7a11")
# XML 1.0, production [2] Char: tab, line feed, carriage return and everything from space on, but no surrogates,
# no U+FFFE and no U+FFFF. C1 controls are allowed there but mean nothing in a sentence.
_UNSAFE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
