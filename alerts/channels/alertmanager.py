"""A channel that keeps what is open firing in Alertmanager (API v2), and ends there what has ended here.

Alertmanager knows an alert by its labels, so the severity is one of them and a change of severity ends one alert and
begins another. It keeps no alerts over a restart and lets them lapse at `endsAt`; therefore all that is open is said
again by `renew`, which also asks what Alertmanager still has of ours and ends what is not open any more: a message that
came late, or was given up, does no lasting harm.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypedDict

import orjson

from alerts.alert import Alert, FeedEntry, Severity, TransitionKind
from alerts.channel import Owed
from alerts.channel.notice import TEST_TITLES, Lang, NoticeOf
from alerts.channel.outward import TIMEOUT_SECONDS_DEFAULT, Answer, Outward, verdict
from alerts.delivery import NotSent, Sent

ALERTS_PATH = "/api/v2/alerts"
DIGEST_MAX = 200
RENEW_BATCH = 1000
RENEW_SECONDS_DEFAULT = 60
# A day: only our own word ends an alert early, never our silence over a restart or a night.
LAPSE_SECONDS_DEFAULT = 86_400
ANSWER_BYTES_MAX = 64 * 1024 * 1024
TEST_NAME = "EscrowMonitorTest"
TEST_SECONDS = 60

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """How Alertmanager, or what stands before it, knows us."""

    token: str | None = None
    user: str | None = None
    password: str | None = None

    def headers(self) -> dict[str, str]:
        """The Authorization header, if any."""
        if self.token is not None:
            return {"authorization": f"Bearer {self.token}"}
        if self.user is not None:
            pair = base64.b64encode(f"{self.user}:{self.password or ''}".encode()).decode()
            return {"authorization": f"Basic {pair}"}
        return {}


class PostableAlert(TypedDict):
    """An alert as API v2 takes it; instants are RFC 3339."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    startsAt: str
    endsAt: str
    generatorURL: str


class AlertmanagerChannel:
    """Posts to every Alertmanager of one cluster; Sent when one of them took it, for `renew` brings up the others.

    `urls` are their addresses up to but without `/api/v2`. Each alert carries `sent_by`, by which this channel knows
    its own; two channels must not share a name.
    """

    def __init__(
        self,
        name: str,
        urls: Sequence[str],
        *,
        notice_of: NoticeOf,
        home_url: str,
        now_of: Callable[[], datetime],
        lang: Lang = "zh",
        credentials: Credentials | None = None,
        renew_seconds: int = RENEW_SECONDS_DEFAULT,
        lapse_seconds: int = LAPSE_SECONDS_DEFAULT,
        timeout_seconds: int = TIMEOUT_SECONDS_DEFAULT,
        ca_file: Path | None = None,
    ) -> None:
        if not urls:
            raise ValueError("Alertmanager needs at least one address")
        if lapse_seconds < 2 * renew_seconds:
            raise ValueError("an alert must not lapse before it is said again: lapse_seconds is at least twice as long")
        self.name = name
        self._outwards = [
            Outward(
                url.rstrip("/") + ALERTS_PATH, what="Alertmanager's address", allow_private=True,
                timeout_seconds=timeout_seconds, ca_file=ca_file, bytes_max=ANSWER_BYTES_MAX,
            )
            for url in urls
        ]
        self._notice_of = notice_of
        self._home_url = home_url.rstrip("/")
        self._now_of = now_of
        self._lang: Lang = lang
        self._headers = {"content-type": "application/json", **(credentials or Credentials()).headers()}
        self._renew_seconds = renew_seconds
        self._lapse = timedelta(seconds=lapse_seconds)
        self._renewed_at: float | None = None

    def send(self, entry: FeedEntry, *, message_id: str) -> Sent | NotSent:
        return self._post(self._of_entry(entry, self._now_of()))

    def send_digest(self, owed: Sequence[Owed]) -> Sent | NotSent:
        """Several entries in one call, in order: what comes later wins."""
        now = self._now_of()
        latest = {_identity(alert["labels"]): alert for entry, _ in owed for alert in self._of_entry(entry, now)}
        return self._post(list(latest.values()))

    def fits(self, owed: Sequence[Owed]) -> int:
        """A bounded body."""
        return min(len(owed), DIGEST_MAX)

    def ping(self, *, message_id: str) -> Sent | NotSent:
        """An alert of its own name and of no severity that ends by itself after a minute."""
        now = self._now_of()
        labels = {"alertname": TEST_NAME, "sent_by": self._sent_by, "test": "true", "message_id": message_id}
        return self._post([{
            "labels": labels, "annotations": {"summary": TEST_TITLES[self._lang]}, "startsAt": _instant(now),
            "endsAt": _instant(now + timedelta(seconds=TEST_SECONDS)), "generatorURL": self._home_url,
        }])

    def preview(self, entry: FeedEntry) -> str:
        """The alerts as they would be posted now."""
        return orjson.dumps(self._of_entry(entry, self._now_of()), option=orjson.OPT_INDENT_2).decode()

    def renew_in(self) -> float:
        """Seconds until all that is open should be said again; at once after a start."""
        if self._renewed_at is None:
            return 0.0
        return max(0.0, self._renewed_at + self._renew_seconds - time.monotonic())

    def renew(self, open_alerts: Sequence[Alert]) -> Sent | NotSent:
        """Say again what is open, then end what this channel once said and is not open any more."""
        self._renewed_at = time.monotonic()
        now = self._now_of()
        bodies = [self._of_open(alert, now) for alert in open_alerts]
        results = [self._renew_one(outward, bodies, now) for outward in self._outwards]
        return _joint(results)

    def close(self) -> None:
        """Close the connections."""
        for outward in self._outwards:
            outward.close()

    @property
    def _sent_by(self) -> str:
        return f"escrow-monitor/{self.name}"

    def _of_entry(self, entry: FeedEntry, now: datetime) -> list[PostableAlert]:
        """The alert in its severity, and an end for what it may have been before."""
        notice = self._notice_of(entry)
        ended = entry.transition is TransitionKind.RESOLVED
        starts_at = entry.opened_at or entry.recorded_at
        annotations = self._annotations(notice.title, entry.why.zh, entry.why.en, entry.standing, entry.as_of)
        made = []
        for severity in Severity:
            fires = severity is entry.severity and not ended
            if not fires and entry.transition is TransitionKind.OPENED:
                continue  # it was nothing before
            labels = self._labels(entry.labels, entry.alert_id, entry.key.rule, entry.key.subject, entry.key.period)
            # An end ahead of Alertmanager's clock would leave the alert firing.
            ends_at = now + self._lapse if fires else min(now, max(entry.recorded_at, starts_at))
            made.append(_alert(
                {**labels, "severity": severity.value}, annotations, starts_at=min(starts_at, ends_at),
                ends_at=ends_at, url=notice.url,
            ))
        return made

    def _of_open(self, alert: Alert, now: datetime) -> PostableAlert:
        labels = self._labels(alert.labels, alert.alert_id, alert.key.rule, alert.key.subject, alert.key.period)
        sentence = alert.why.zh if self._lang == "zh" else alert.why.en
        return _alert(
            {**labels, "severity": alert.severity.value},
            self._annotations(sentence, alert.why.zh, alert.why.en, alert.standing, alert.as_of),
            starts_at=min(alert.opened_at or alert.first_seen_at, now), ends_at=now + self._lapse,
            url=f"{self._home_url}/alerts/{alert.alert_id}",
        )

    def _labels(
        self, given: Mapping[str, str], alert_id: str, rule: str, subject: str, period: str
    ) -> dict[str, str]:
        """Ours first: no label of the alert may take the place of what it is known by."""
        labels = {
            "alertname": rule, "sent_by": self._sent_by, "alert_id": alert_id, "subject": subject, "period": period,
        }
        for name, value in given.items():
            labels.setdefault(_label_name(name), value)
        return {name: _utf8(value) for name, value in labels.items() if value}

    def _annotations(self, summary: str, zh: str, en: str, standing: str, as_of: datetime) -> dict[str, str]:
        said = {
            "summary": summary, "why": zh, "why_en": en, "standing": standing, "as_of": _instant(as_of),
        }
        return {name: _utf8(value) for name, value in said.items()}

    def _post(self, alerts: Sequence[PostableAlert]) -> Sent | NotSent:
        content = orjson.dumps(alerts)
        return _joint([_posted(outward.post(content, self._headers)) for outward in self._outwards])

    def _renew_one(
        self, outward: Outward, bodies: Sequence[PostableAlert], now: datetime
    ) -> Sent | NotSent:
        for start in range(0, len(bodies), RENEW_BATCH):
            said = _posted(outward.post(orjson.dumps(bodies[start : start + RENEW_BATCH]), self._headers))
            if isinstance(said, NotSent):
                return said
        held = self._held(outward)
        if isinstance(held, NotSent):
            return held
        left = [_ended(alert, now) for alert in _left_behind(held, bodies, self._renew_seconds)]
        if left:
            said = _posted(outward.post(orjson.dumps(left), self._headers))
            if isinstance(said, NotSent):
                return said
        return Sent(detail=f"{len(bodies)} said again, {len(left)} ended")

    def _held(self, outward: Outward) -> _Held | NotSent:
        """What Alertmanager has of ours and takes for firing."""
        query = {
            "filter": f'sent_by="{self._sent_by}"', "active": "true", "silenced": "true", "inhibited": "true",
            "unprocessed": "true",
        }
        answer = outward.get(outward.url.copy_merge_params(query), self._headers)
        if isinstance(answer, NotSent) or not answer.is_success:
            return answer if isinstance(answer, NotSent) else _as_not_sent(verdict(answer))
        try:
            found = orjson.loads(answer.body)
            return _Held(
                alerts=[
                    _HeldAlert(
                        labels={str(name): str(value) for name, value in one["labels"].items()},
                        annotations={str(name): str(value) for name, value in one["annotations"].items()},
                        starts_at=str(one["startsAt"]),
                        url=str(one.get("generatorURL") or self._home_url),
                        updated_at=datetime.fromisoformat(one["updatedAt"]),
                    )
                    for one in found
                ],
                date=answer.date or self._now_of(),
            )
        except (ValueError, TypeError, KeyError, AttributeError) as strange:
            return NotSent(detail=f"its list of alerts is not understood: {type(strange).__name__}", permanent=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _HeldAlert:
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: str
    url: str
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """What one Alertmanager has, and the time when it said so: by its own clock where it tells it."""

    alerts: Sequence[_HeldAlert]
    date: datetime


def _left_behind(
    held: _Held, bodies: Sequence[PostableAlert], renew_seconds: int
) -> Iterable[_HeldAlert]:
    """What it has and we did not say again, unless it was said so lately that another hand may just have said it."""
    said = {_identity(body["labels"]) for body in bodies}
    for alert in held.alerts:
        old = held.date - alert.updated_at >= timedelta(seconds=renew_seconds)
        if old and _identity(alert.labels) not in said and alert.labels.get("alertname") != TEST_NAME:
            yield alert


def _identity(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """What Alertmanager knows an alert by."""
    return tuple(sorted(labels.items()))


def _alert(
    labels: Mapping[str, str], annotations: Mapping[str, str], *, starts_at: datetime, ends_at: datetime, url: str
) -> PostableAlert:
    return {
        "labels": dict(labels), "annotations": dict(annotations), "startsAt": _instant(starts_at),
        "endsAt": _instant(ends_at), "generatorURL": url,
    }


def _ended(alert: _HeldAlert, now: datetime) -> PostableAlert:
    return {
        "labels": dict(alert.labels), "annotations": dict(alert.annotations), "startsAt": alert.starts_at,
        "endsAt": _instant(max(now, datetime.fromisoformat(alert.starts_at))), "generatorURL": alert.url,
    }


def _posted(answer: Answer | NotSent) -> Sent | NotSent:
    return answer if isinstance(answer, NotSent) else verdict(answer)


def _as_not_sent(result: Sent | NotSent) -> NotSent:
    return result if isinstance(result, NotSent) else NotSent(detail=result.detail, permanent=False)


def _joint(results: Sequence[Sent | NotSent]) -> Sent | NotSent:
    """One of a cluster that took it is enough; refused for good only where each refuses for good."""
    taken = [result for result in results if isinstance(result, Sent)]
    refused = [result for result in results if isinstance(result, NotSent)]
    if not taken:
        return NotSent(
            detail="; ".join(dict.fromkeys(result.detail for result in refused)),
            permanent=all(result.permanent for result in refused),
        )
    if not refused:
        return taken[0]
    return Sent(detail=f"{taken[0].detail}; {len(refused)} of {len(results)} did not take it: {refused[0].detail}")


def _label_name(name: str) -> str:
    """A name as Alertmanager takes it: letters, digits and underscores, no digit first."""
    fit = _NOT_IN_A_NAME.sub("_", name)
    return f"_{fit}" if fit[:1].isdigit() or not fit else fit


def _utf8(text: str) -> str:
    """The text without what UTF-8 cannot carry."""
    return text.encode("utf-8", "replace").decode()


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
