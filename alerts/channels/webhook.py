"""A channel that posts each entry, signed by Standard Webhooks, as a CloudEvent to an HTTP address."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import httpx
import orjson
from cloudevents.core.exceptions import CloudEventValidationError
from cloudevents.core.v1.event import CloudEvent
from standardwebhooks.webhooks import Webhook

from alerts.alert import FeedEntry
from alerts.channel.outward import TIMEOUT_SECONDS_DEFAULT, Outward, verdict
from alerts.channel.pace import Pace
from alerts.delivery import NotSent, Sent

CONTENT_TYPE = "application/cloudevents+json"
EVENT_TYPE_PREFIX = "escrow.alert."
PING_TYPE = "escrow.ping"
# Standard Webhooks, "Signature scheme": a secret is 24 to 64 random bytes.
SECRET_BYTES_MIN, SECRET_BYTES_MAX = 24, 64


class WebhookChannel:
    """Posts to one address. 2xx is Sent; 4xx (but 408, 409, 425, 429) is permanent, everything else is passing.

    `secrets` are the live secrets (`whsec_` and base64); while one replaces another there are two, and each message
    carries a signature by each. `item_of` gives the feed item that is the event's data, `source` is the event's
    source: the address of this service. `now_of` must tell the real time, never a replayed one: receivers refuse
    what is more than five minutes away from their own clock. A ping is an event of its own type, `escrow.ping`.

    Where it may call is decided by `alerts.channel.outward`: no private address unless `allow_private`, no redirects.
    A receiver that says Retry-After is left alone for so long. Raises ValueError for an address or a secret that can
    never work.
    """

    def __init__(
        self,
        name: str,
        url: str,
        secrets: Sequence[str],
        *,
        source: str,
        item_of: Callable[[FeedEntry], Mapping[str, object]],
        now_of: Callable[[], datetime],
        allow_private: bool = False,
        timeout_seconds: int = TIMEOUT_SECONDS_DEFAULT,
        ca_file: Path | None = None,
        client: httpx.Client | None = None,
    ) -> None:
        self.name = name
        self._signers = _signers(secrets)
        if not source:
            raise ValueError("a webhook needs the address of this service as the source of its events")
        self._source = source
        self._item_of = item_of
        self._now_of = now_of
        self._pace = Pace()
        self._outward = Outward(
            url, what="the webhook's address", allow_private=allow_private, timeout_seconds=timeout_seconds,
            ca_file=ca_file, client=client,
        )

    def send(self, entry: FeedEntry, *, message_id: str) -> Sent | NotSent:
        try:
            body = self._body(entry, message_id)
        except (TypeError, CloudEventValidationError) as unfit:
            return NotSent(detail=f"the entry cannot be written as an event: {type(unfit).__name__}", permanent=True)
        return self._post(body, message_id)

    def ping(self, *, message_id: str) -> Sent | NotSent:
        """An event that only asks whether the receiver is there and knows the secret."""
        return self._post(self._event(message_id, PING_TYPE, self._now_of(), {"test": True}), message_id)

    def preview(self, entry: FeedEntry) -> str:
        """The event."""
        return orjson.dumps(
            orjson.loads(self._body(entry, f"evt_{entry.seq}_{self.name}")), option=orjson.OPT_INDENT_2
        ).decode()

    def ready_in(self) -> float:
        """How long the receiver still asked to be left alone."""
        return self._pace.ready_in()

    def close(self) -> None:
        """Close the connections; a client that was handed in is its owner's to close."""
        self._outward.close()

    def _post(self, body: bytes, message_id: str) -> Sent | NotSent:
        answer = self._outward.post(body, self._headers(body, message_id), reads=False)
        if isinstance(answer, NotSent):
            return answer
        if answer.rest_seconds is not None and not answer.is_success:
            self._pace.hold(answer.rest_seconds)
        return verdict(answer)

    def _body(self, entry: FeedEntry, message_id: str) -> bytes:
        """The event as structured JSON. The same on every attempt, so that a repeat is recognisable by its bytes."""
        return self._event(
            message_id, EVENT_TYPE_PREFIX + entry.transition.value, entry.recorded_at, dict(self._item_of(entry)),
            subject=entry.key.subject or "-",
        )

    def _event(
        self, message_id: str, type_: str, at: datetime, data: dict[str, object], *, subject: str | None = None
    ) -> bytes:
        attributes: dict[str, object] = {
            "specversion": "1.0",
            "id": message_id,
            "source": self._source,
            "type": type_,
            "time": at,
            "datacontenttype": "application/json",
        }
        if subject is not None:
            attributes["subject"] = subject
        event = CloudEvent(attributes=attributes, data=data)
        # The library checks the attributes; orjson writes them, for the library escapes every Chinese character.
        return orjson.dumps({**event.get_attributes(), "data": event.get_data()})

    def _headers(self, body: bytes, message_id: str) -> dict[str, str]:
        # The library takes whatever zone it is given for UTC.
        now = self._now_of().astimezone(UTC)
        text = body.decode()
        return {
            "content-type": CONTENT_TYPE,
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(_signed(signer, message_id, now, text) for signer in self._signers),
        }


def _signed(signer: Webhook, message_id: str, now: datetime, text: str) -> str:
    signature: str = signer.sign(msg_id=message_id, timestamp=now, data=text)
    return signature


def _signers(secrets: Sequence[str]) -> tuple[Webhook, ...]:
    """One signer a secret. The message of the error never shows a secret."""
    if not secrets:
        raise ValueError("a webhook needs at least one secret (whsec_ and base64)")
    return tuple(Webhook(_secret_bytes(secret)) for secret in secrets)


def _secret_bytes(secret: str) -> bytes:
    """Our own reading of a secret: the library's decoder skips what is not base64 and takes one of any length."""
    text = secret.removeprefix("whsec_")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        key = b""
    if not SECRET_BYTES_MIN <= len(key) <= SECRET_BYTES_MAX:
        raise ValueError("a webhook's secret is whsec_ followed by the base64 of 24 to 64 random bytes")
    return key
