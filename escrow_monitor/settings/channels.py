"""The channels that alerts are pushed to: one section a kind, told apart by `type`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from escrow_monitor.settings.hears import HearsSettings
from escrow_monitor.settings.section import Seconds, Section

Language = Literal["zh", "en"]
Together = Literal["related", "everything", "nothing"]
"""What goes into one message of all that is due at once: what belongs together by institution or cause, everything that
fits, or each alone."""


class LogChannelSettings(Section):
    """Every entry as a line of the log."""

    type: Literal["log"]


class ChannelSection(Section):
    """What holds for every channel that calls somebody."""

    language: Language = "zh"
    timeout_seconds: Seconds = 10
    hears: HearsSettings | None = None


class WebhookSettings(ChannelSection):
    """Standard Webhooks. Both secrets stand here while one replaces the other."""

    type: Literal["webhook"] = "webhook"
    url: str = Field(pattern=r"^https?://")
    secrets: tuple[SecretStr, ...] = ()
    secrets_files: tuple[Path, ...] = ()
    allow_private: bool = False
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _signed(self) -> WebhookSettings:
        if not self.secrets and not self.secrets_files:
            raise ValueError("a webhook needs at least one secret: set secrets_files")
        return self


class _SecretAddress(ChannelSection):
    """A channel whose address is a secret, for its key stands in it."""

    url: SecretStr | None = None
    url_file: Path | None = None

    @model_validator(mode="after")
    def _addressed(self) -> _SecretAddress:
        if (self.url is None) == (self.url_file is None):
            raise ValueError("set url_file, a file with the address, or url")
        return self


class RobotSection(_SecretAddress):
    """A group robot: the address as the platform shows it, key and all. `keyword` where the robot demands one."""

    together: Together = "related"
    keyword: str = Field(default="", max_length=20)
    allow_private: bool = False
    ca_file: Path | None = None


class WecomSettings(RobotSection):
    """企业微信. `markup` false sends text, which WeChat shows as well."""

    type: Literal["wecom"]
    markup: bool = True


class SignedRobotSection(RobotSection):
    """A robot that may demand a signature (加签, 签名校验)."""

    secret: SecretStr | None = None
    secret_file: Path | None = None


class DingtalkSettings(SignedRobotSection):
    """钉钉."""

    type: Literal["dingtalk"]


class FeishuSettings(SignedRobotSection):
    """飞书."""

    type: Literal["feishu"]


class EmailSettings(ChannelSection):
    """SMTP. `tls` is starttls (demanded, not tried), tls from the first byte on, or none on a line that is safe."""

    type: Literal["email"]
    together: Together = "related"
    host: str = Field(min_length=1)
    port: int | None = Field(default=None, ge=1, le=65_535)
    tls: Literal["starttls", "tls", "none"] = "starttls"
    ca_file: Path | None = None
    user: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    sender: str
    recipients: tuple[str, ...] = Field(min_length=1, max_length=50)
    timeout_seconds: Seconds = 20

    @property
    def port_used(self) -> int:
        """The usual port of the way it is secured, unless another was said."""
        return self.port or {"starttls": 587, "tls": 465, "none": 25}[self.tls]


class AlertmanagerSettings(ChannelSection):
    """Prometheus Alertmanager: every member of one cluster, each address up to but without /api/v2."""

    type: Literal["alertmanager"]
    together: Together = "everything"
    urls: tuple[str, ...] = Field(min_length=1, max_length=10)
    ca_file: Path | None = None
    token: SecretStr | None = None
    token_file: Path | None = None
    user: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    renew_seconds: Seconds = 60
    lapse_seconds: Seconds = 86_400


class AppriseSettings(_SecretAddress):
    """Any service that Apprise knows. Needs the extra: escrow-monitor[apprise]."""

    type: Literal["apprise"]
    together: Together = "related"


ChannelSettings = Annotated[
    WebhookSettings | LogChannelSettings | WecomSettings | DingtalkSettings | FeishuSettings | EmailSettings
    | AlertmanagerSettings | AppriseSettings,
    Field(discriminator="type"),
]
CHANNEL_SECTIONS: dict[str, type[Section]] = {
    "webhook": WebhookSettings, "log": LogChannelSettings, "wecom": WecomSettings, "dingtalk": DingtalkSettings,
    "feishu": FeishuSettings, "email": EmailSettings, "alertmanager": AlertmanagerSettings, "apprise": AppriseSettings,
}
