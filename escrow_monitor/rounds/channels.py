"""Makes the configured channels that deliveries go to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import assert_never
from urllib.parse import urlsplit

from alerts.channel import Channel
from alerts.channel.notice import NoticeOf
from escrow_monitor.clock import ZONE
from escrow_monitor.errors import ConfigurationError
from escrow_monitor.logs import log as logger
from escrow_monitor.settings import Settings
from escrow_monitor.settings.channels import (
    AlertmanagerSettings,
    AppriseSettings,
    ChannelSection,
    DingtalkSettings,
    EmailSettings,
    FeishuSettings,
    LogChannelSettings,
    RobotSection,
    WebhookSettings,
    WecomSettings,
)


def make_channel(settings: Settings, name: str, *, home_url: str, now_of: Callable[[], datetime]) -> Channel:
    """Build one configured channel; nobody is called. `now_of` is the machine's clock: signatures are dated by it.

    Raises ConfigurationError with the section for what can never work, and never shows a secret.
    """
    chosen = settings.channels[name]
    maker = _Maker(settings, name, home_url, now_of)
    try:
        match chosen:
            case LogChannelSettings():
                return maker.log()
            case WebhookSettings():
                return maker.webhook(chosen)
            case WecomSettings() | DingtalkSettings() | FeishuSettings():
                return maker.robot(chosen)
            case EmailSettings():
                return maker.email(chosen)
            case AlertmanagerSettings():
                return maker.alertmanager(chosen)
            case AppriseSettings():
                return maker.apprise(chosen)
            case _ as never:
                assert_never(never)
    except ValueError as error:
        raise ConfigurationError(f"channels.{name}: {error}") from error


def host_of(settings: Settings, name: str) -> str | None:
    """The host that a channel calls, of several the first, and nothing more of its address; None where it calls nobody
    or its library finds the way. Raises ConfigurationError where the address stands in a file that cannot be read."""
    chosen = settings.channels[name]
    match chosen:
        case LogChannelSettings() | AppriseSettings():
            return None
        case WebhookSettings():
            return urlsplit(chosen.url).hostname
        case WecomSettings() | DingtalkSettings() | FeishuSettings():
            return urlsplit(address_of(settings, name, chosen)).hostname
        case EmailSettings():
            return chosen.host
        case AlertmanagerSettings():
            return urlsplit(chosen.urls[0]).hostname
        case _ as never:
            assert_never(never)


def address_of(settings: Settings, name: str, chosen: RobotSection | AppriseSettings) -> str:
    """The address that is a secret."""
    return settings.secret(chosen.url, chosen.url_file, what=f"channels.{name}.url_file") or ""


class _Maker:
    """What every kind needs. The libraries behind the channels are imported only when one is made."""

    def __init__(self, settings: Settings, name: str, home_url: str, now_of: Callable[[], datetime]) -> None:
        self._settings, self._name, self._home_url, self._now_of = settings, name, home_url, now_of

    def log(self) -> Channel:
        from alerts.channels.log import LogChannel

        log = logger("alerts")
        # Labels are texts, so that only a test message holds True.
        return LogChannel(
            self._name,
            lambda item: log.info("channel.tested" if item.get("test") is True else "alert.published", **item),
        )

    def webhook(self, chosen: WebhookSettings) -> Channel:
        from alerts.channels.webhook import WebhookChannel
        from alerts.feeds.item import feed_item

        secrets = [secret.get_secret_value() for secret in chosen.secrets]
        for file in chosen.secrets_files:
            secret = self._settings.secret(None, file, what=f"channels.{self._name}.secrets_files")
            secrets.extend((secret or "").split())
        return WebhookChannel(
            self._name,
            chosen.url,
            secrets,
            source=self._home_url,
            item_of=partial(feed_item, home_url=self._home_url, lang=chosen.language),
            now_of=self._now_of,
            allow_private=chosen.allow_private,
            timeout_seconds=chosen.timeout_seconds,
            ca_file=chosen.ca_file and self._settings.path(chosen.ca_file),
        )

    def robot(self, chosen: WecomSettings | DingtalkSettings | FeishuSettings) -> Channel:
        from alerts.channel.robot import Way
        from alerts.channels.dingtalk import DingtalkChannel
        from alerts.channels.feishu import FeishuChannel
        from alerts.channels.wecom import WecomChannel

        way = Way(
            url=address_of(self._settings, self._name, chosen),
            notice_of=self._notice_of(chosen),
            home_url=self._home_url,
            lang=chosen.language,
            now_of=self._now_of,
            keyword=chosen.keyword,
            allow_private=chosen.allow_private,
            timeout_seconds=chosen.timeout_seconds,
            ca_file=chosen.ca_file and self._settings.path(chosen.ca_file),
        )
        if isinstance(chosen, WecomSettings):
            return WecomChannel(self._name, way, markup=chosen.markup)
        secret = self._settings.secret(chosen.secret, chosen.secret_file, what=f"channels.{self._name}.secret_file")
        made = DingtalkChannel if isinstance(chosen, DingtalkSettings) else FeishuChannel
        return made(self._name, way, secret=secret or None)

    def email(self, chosen: EmailSettings) -> Channel:
        from alerts.channels.email import EmailChannel, Mailbox

        password = self._settings.secret(
            chosen.password, chosen.password_file, what=f"channels.{self._name}.password_file"
        )
        return EmailChannel(
            self._name,
            Mailbox(
                host=chosen.host, port=chosen.port_used, tls=chosen.tls, user=chosen.user, password=password,
                ca_file=chosen.ca_file and self._settings.path(chosen.ca_file), timeout_seconds=chosen.timeout_seconds,
            ),
            sender=chosen.sender,
            recipients=chosen.recipients,
            notice_of=self._notice_of(chosen),
            home_url=self._home_url,
            now_of=self._now_of,
            lang=chosen.language,
        )

    def alertmanager(self, chosen: AlertmanagerSettings) -> Channel:
        from alerts.channels.alertmanager import AlertmanagerChannel, Credentials

        what = f"channels.{self._name}"
        return AlertmanagerChannel(
            self._name,
            chosen.urls,
            notice_of=self._notice_of(chosen),
            home_url=self._home_url,
            now_of=self._now_of,
            lang=chosen.language,
            credentials=Credentials(
                token=self._settings.secret(chosen.token, chosen.token_file, what=f"{what}.token_file"),
                user=chosen.user,
                password=self._settings.secret(chosen.password, chosen.password_file, what=f"{what}.password_file"),
            ),
            renew_seconds=chosen.renew_seconds,
            lapse_seconds=chosen.lapse_seconds,
            timeout_seconds=chosen.timeout_seconds,
            ca_file=chosen.ca_file and self._settings.path(chosen.ca_file),
        )

    def apprise(self, chosen: AppriseSettings) -> Channel:
        from alerts.channels.apprise import AppriseChannel

        return AppriseChannel(
            self._name, address_of(self._settings, self._name, chosen), notice_of=self._notice_of(chosen),
            home_url=self._home_url, lang=chosen.language, timeout_seconds=chosen.timeout_seconds,
        )

    def _notice_of(self, chosen: ChannelSection) -> NoticeOf:
        from alerts.feeds.notice import notice

        return partial(notice, home_url=self._home_url, lang=chosen.language, zone=ZONE)
