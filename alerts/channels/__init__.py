"""The ways out that we know, one file each."""

from __future__ import annotations

from alerts.channel import Channel
from alerts.channels.alertmanager import AlertmanagerChannel
from alerts.channels.apprise import AppriseChannel
from alerts.channels.dingtalk import DingtalkChannel
from alerts.channels.email import EmailChannel
from alerts.channels.feishu import FeishuChannel
from alerts.channels.log import LogChannel
from alerts.channels.webhook import WebhookChannel
from alerts.channels.wecom import WecomChannel

CHANNELS: dict[str, type[Channel]] = {
    "log": LogChannel,
    "webhook": WebhookChannel,
    "email": EmailChannel,
    "wecom": WecomChannel,
    "dingtalk": DingtalkChannel,
    "feishu": FeishuChannel,
    "alertmanager": AlertmanagerChannel,
    "apprise": AppriseChannel,
}
