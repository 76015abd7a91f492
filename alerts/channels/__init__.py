"""The ways out that we know, one file each."""

from __future__ import annotations

from alerts.channels.log import LogChannel
from alerts.channels.webhook import WebhookChannel

CHANNELS: dict[str, type[LogChannel] | type[WebhookChannel]] = {
    "log": LogChannel,
    "webhook": WebhookChannel,
}
