"""A channel that hands entries to Apprise, which knows some hundred services more: Pushplus, Bark, ntfy, Slack, SMS ...

Apprise is an extra (escrow-monitor[apprise]). It says yes or no and not why, so that every no is passing. What it calls
and how it proves itself there is its own affair: private addresses are not refused, redirects may be followed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from alerts.alert import FeedEntry, Severity
from alerts.channel import Owed
from alerts.channel.notice import Lang, Notice, NoticeOf, headline, notice_of_test
from alerts.channel.outward import TIMEOUT_SECONDS_DEFAULT
from alerts.delivery import NotSent, Sent

DIGEST_MAX = 10
# Apprise takes HTTP 200 for a yes, and these say no with HTTP 200 as well: an alert would be lost in silence.
_OWN_CHANNELS: Mapping[str, str] = {
    "wecombot": "wecom", "dingtalk": "dingtalk", "feishu": "feishu", "lark": "feishu",
}
_KINDS = {Severity.RED: "failure", Severity.ORANGE: "warning", Severity.YELLOW: "warning", Severity.INFO: "info"}


class AppriseChannel:
    """Sends to one Apprise address, `service://...`; secret, for tokens stand in it.

    Raises ValueError for an address that Apprise does not know, for a service that has a channel of its own, and
    where Apprise is not installed.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        notice_of: NoticeOf,
        home_url: str,
        lang: Lang = "zh",
        timeout_seconds: int = TIMEOUT_SECONDS_DEFAULT,
    ) -> None:
        self.name = name
        self._notice_of = notice_of
        self._home_url = home_url
        self._lang: Lang = lang
        self._service = _service(url, timeout_seconds)

    def send(self, entry: FeedEntry, *, message_id: str) -> Sent | NotSent:
        return self._notify([self._notice_of(entry)])

    def send_digest(self, owed: Sequence[Owed]) -> Sent | NotSent:
        """Several entries in one message; Apprise cuts what is too long for the service."""
        return self._notify([self._notice_of(entry) for entry, _ in owed])

    def fits(self, owed: Sequence[Owed]) -> int:
        """A few."""
        return min(len(owed), DIGEST_MAX)

    def ping(self, *, message_id: str) -> Sent | NotSent:
        """A message marked as a test."""
        return self._notify([notice_of_test(message_id, url=self._home_url, lang=self._lang)])

    def preview(self, entry: FeedEntry) -> str:
        """Title and text."""
        notices = [self._notice_of(entry)]
        return f"{headline(notices)}\n\n{_text(notices)}"

    def close(self) -> None:
        """Nothing is held."""

    def _notify(self, notices: Sequence[Notice]) -> Sent | NotSent:
        worst = max((notice.severity for notice in notices), key=lambda severity: severity.rank)
        done = self._service.notify(
            body=_text(notices), title=headline(notices), notify_type=_KINDS[worst], body_format="text"
        )
        if done:
            return Sent(detail=f"{self._service.service_name} took it")
        return NotSent(detail=f"{self._service.service_name} did not take it", permanent=False)


def _text(notices: Sequence[Notice]) -> str:
    colon = "：" if notices[0].lang == "zh" else ": "
    return "\n\n".join(
        "\n".join([
            *([notice.title] if len(notices) > 1 else []),
            *(f"{name}{colon}{value}" for name, value in notice.facts),
            notice.url,
        ])
        for notice in notices
    )


def _service(url: str, timeout_seconds: int) -> Any:
    """The service of an address. Any: the extra may not be there, so its types cannot be named."""
    schema = url.split("://", 1)[0].strip().lower()
    if own := _OWN_CHANNELS.get(schema):
        raise ValueError(f'Apprise does not hear a refusal of {schema}: use type = "{own}"')
    try:
        apprise = import_module("apprise")
    except ModuleNotFoundError as missing:
        raise ValueError("Apprise is not installed: pip install escrow-monitor[apprise]") from missing
    service = apprise.Apprise.instantiate(url, suppress_exceptions=True)
    if service is None:
        raise ValueError("Apprise does not know this address: see its list of services")
    service.overflow_mode = "split"
    service.socket_connect_timeout = service.socket_read_timeout = float(timeout_seconds)
    return service
