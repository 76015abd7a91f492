"""A channel that posts each entry, signed by Standard Webhooks, as a CloudEvent to an HTTP address."""

from __future__ import annotations

import base64
import ipaddress
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
import orjson
from cloudevents.core.exceptions import CloudEventValidationError
from cloudevents.core.v1.event import CloudEvent
from standardwebhooks.webhooks import Webhook

from alerts.alert import FeedEntry
from alerts.delivery import NotSent, Sent

CONTENT_TYPE = "application/cloudevents+json"
EVENT_TYPE_PREFIX = "escrow.alert."
TIMEOUT_SECONDS_DEFAULT = 10
ADDRESSES_MAX = 4
ANSWER_CHARACTERS_KEPT = 200
# Standard Webhooks, "Signature scheme": a secret is 24 to 64 random bytes.
SECRET_BYTES_MIN, SECRET_BYTES_MAX = 24, 64

# Answers below 500 that say "not now" rather than "not ever": timeout, conflict, too early, too many.
PASSING_CLIENT_ERRORS = frozenset({408, 409, 425, 429})

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class WebhookChannel:
    """Posts to one address. 2xx is Sent; 4xx (but 408, 409, 425, 429) is permanent, everything else is passing.

    `secrets` are the live secrets (`whsec_` and base64); while one replaces another there are two, and each message
    carries a signature by each. `item_of` gives the feed item that is the event's data, `source` is the event's
    source: the address of this service. `now_of` must tell the real time, never a replayed one: receivers refuse
    what is more than five minutes away from their own clock.

    An address that is not public (loopback, private, link-local, reserved) is refused unless `allow_private`, and
    the check binds the connection: the name is resolved once and that address is called. Redirects are not followed.
    Raises ValueError for an address or a secret that can never work.
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
        client: httpx.Client | None = None,
    ) -> None:
        self.name = name
        self._url = _checked_url(url)
        self._host = self._url.raw_host.decode("ascii").strip("[]")
        self._signers = _signers(secrets)
        if not source:
            raise ValueError("a webhook needs the address of this service as the source of its events")
        self._source = source
        self._item_of = item_of
        self._now_of = now_of
        self._allow_private = allow_private
        self._timeout = httpx.Timeout(timeout_seconds)
        self._client = client
        self._owns_client = client is None

    def send(self, entry: FeedEntry, *, message_id: str) -> Sent | NotSent:
        try:
            body = self._body(entry, message_id)
        except (TypeError, CloudEventValidationError) as unfit:
            return NotSent(detail=f"the entry cannot be written as an event: {type(unfit).__name__}", permanent=True)
        addresses = self._addresses()
        if isinstance(addresses, NotSent):
            return addresses
        headers = self._headers(body, message_id)
        result = NotSent(detail="the name has no address", permanent=False)
        for address in addresses[:ADDRESSES_MAX]:
            answer = self._exchange(address, body, headers)
            if not isinstance(answer, _Unreached):
                return answer
            # Nothing was sent yet, so the next address of the same name may be tried in the same attempt.
            result = NotSent(detail=answer.detail, permanent=False)
        return result

    def close(self) -> None:
        """Close the connections; a client that was handed in is its owner's to close."""
        if self._owns_client and self._client is not None:
            self._client.close()
            self._client = None

    def _body(self, entry: FeedEntry, message_id: str) -> bytes:
        """The event as structured JSON. The same on every attempt, so that a repeat is recognisable by its bytes."""
        event = CloudEvent(
            attributes={
                "specversion": "1.0",
                "id": message_id,
                "source": self._source,
                "type": EVENT_TYPE_PREFIX + entry.transition.value,
                "time": entry.recorded_at,
                "subject": entry.key.subject or "-",
                "datacontenttype": "application/json",
            },
            data=dict(self._item_of(entry)),
        )
        # The library checks the attributes; orjson writes them, for the library escapes every Chinese character.
        return orjson.dumps({**event.get_attributes(), "data": event.get_data()})

    def _headers(self, body: bytes, message_id: str) -> dict[str, str]:
        # The library takes whatever zone it is given for UTC.
        now = self._now_of().astimezone(UTC)
        text = body.decode()
        return {
            "host": self._url.netloc.decode("ascii"),
            "content-type": CONTENT_TYPE,
            "accept-encoding": "identity",
            "user-agent": "escrow-monitor",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(_signed(signer, message_id, now, text) for signer in self._signers),
        }

    def _addresses(self) -> list[Address] | NotSent:
        """Where the name points now, or why it may not be called."""
        host = self._host
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as unknown:
            return NotSent(detail=f"{host} cannot be resolved: {type(unknown).__name__}", permanent=False)
        addresses = list(dict.fromkeys(ipaddress.ip_address(str(entry[4][0]).split("%")[0]) for entry in found))
        if not self._allow_private and not all(is_public(address) for address in addresses):
            # One bad address condemns the name: a name that points inside and outside is how guards are evaded.
            return NotSent(detail=f"{host} is not a public address and private ones are not allowed", permanent=True)
        return addresses

    def _exchange(self, address: Address, body: bytes, headers: dict[str, str]) -> Sent | NotSent | _Unreached:
        """One POST to one address; TLS still proves the name, for `sni_hostname` is what the certificate must say."""
        if self._client is None:
            # Made at the first message: reading the machine's certificates takes longer than the message.
            self._client = httpx.Client(trust_env=False, follow_redirects=False)
        try:
            with self._client.stream(
                "POST",
                self._url.copy_with(host=str(address)),
                content=body,
                headers=headers,
                timeout=self._timeout,
                follow_redirects=False,
                extensions={"sni_hostname": self._host},
            ) as response:
                return _judged(response)
        except (httpx.ConnectError, httpx.ConnectTimeout) as unreached:
            return _Unreached(detail=f"{self._host} could not be reached: {type(unreached).__name__}")
        except httpx.HTTPError as failed:
            return NotSent(detail=f"{self._host} did not answer: {type(failed).__name__}", permanent=False)


def is_public(address: Address) -> bool:
    """Whether an address is on the open internet: not private, loopback, link-local, reserved or multicast.

    IPv6 forms that carry an IPv4 address are judged by the address they carry.
    """
    if isinstance(address, ipaddress.IPv6Address):
        carried = address.ipv4_mapped or address.sixtofour
        if carried is not None:
            return is_public(carried)
    return address.is_global and not address.is_multicast and not address.is_reserved


@dataclass(frozen=True, slots=True)
class _Unreached:
    """The connection failed before anything was sent."""

    detail: str


def _judged(response: httpx.Response) -> Sent | NotSent:
    """What an answer means for the delivery."""
    status = response.status_code
    if response.is_success:
        return Sent(detail=f"HTTP {status}")
    permanent = response.is_client_error and status not in PASSING_CLIENT_ERRORS
    return NotSent(detail=f"HTTP {status}{_said(response)}", permanent=permanent)


def _said(response: httpx.Response) -> str:
    """The beginning of what a refusing receiver said: the first piece that arrives, never the whole body."""
    try:
        piece = next(response.iter_raw(), b"")
    except httpx.HTTPError:
        return ""
    text = re.sub(r"[\s\x00-\x1f\x7f]+", " ", piece[: ANSWER_CHARACTERS_KEPT * 4].decode("utf-8", "replace")).strip()
    return f": {text[:ANSWER_CHARACTERS_KEPT]}" if text else ""


def _signed(signer: Webhook, message_id: str, now: datetime, text: str) -> str:
    signature: str = signer.sign(msg_id=message_id, timestamp=now, data=text)
    return signature


def _checked_url(url: str) -> httpx.URL:
    """An absolute http or https URL without a password in it."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as wrong:
        raise ValueError(f"the webhook's address is no URL: {wrong}") from wrong
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ValueError("the webhook's address must begin with https:// or http:// and name a host")
    if parsed.userinfo:
        raise ValueError("the webhook's address must not carry a user name or password")
    return parsed


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
