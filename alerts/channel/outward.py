"""The way out over HTTP: one address, resolved once and pinned, no redirects, every answer bounded in size and time."""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from alerts.delivery import NotSent, Sent

TIMEOUT_SECONDS_DEFAULT = 10
ADDRESSES_MAX = 4
ANSWER_CHARACTERS_KEPT = 200
ANSWER_BYTES_MAX = 64 * 1024
REST_SECONDS_MAX = 3600

# Answers below 500 that say "not now" rather than "not ever": timeout, conflict, too early, too many.
PASSING_CLIENT_ERRORS = frozenset({408, 409, 425, 429})

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def addresses_of(host: str) -> list[str]:
    """Where the machine's resolver says that a name is now; raises OSError or UnicodeError."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back. `body` is its beginning, as much as arrived in time; `date` is the far side's clock."""

    status: int
    body: bytes
    date: datetime | None = None
    rest_seconds: int | None = None

    @property
    def is_success(self) -> bool:
        """2xx."""
        return 200 <= self.status < 300


class Outward:
    """Calls one address.

    An address that is not public (loopback, private, link-local, reserved) is refused unless `allow_private`, and the
    check binds the connection: the name is resolved once a call and that address is called, so a name that changes
    between check and call (DNS rebinding) gains nothing. `what` names the address in errors, which never show it:
    in the address of a chat robot stands its key. Raises ValueError for an address that can never work.
    """

    def __init__(
        self,
        url: str,
        *,
        what: str,
        allow_private: bool = False,
        timeout_seconds: int = TIMEOUT_SECONDS_DEFAULT,
        ca_file: Path | None = None,
        client: httpx.Client | None = None,
        bytes_max: int = ANSWER_BYTES_MAX,
        resolve: Callable[[str], Sequence[str]] = addresses_of,
    ) -> None:
        self.url = checked_url(url, what=what)
        self.host = self.url.raw_host.decode("ascii").strip("[]")
        self._allow_private = allow_private
        self._timeout_seconds = timeout_seconds
        self._bytes_max = bytes_max
        self._resolve = resolve
        self._verify = _trusting(ca_file, what=what)
        self._client = client
        self._owns_client = client is None

    def post(
        self, content: bytes, headers: Mapping[str, str], *, url: httpx.URL | None = None, reads: bool = True
    ) -> Answer | NotSent:
        """Send a body. `url` is another path or query of the same address; `reads` False leaves a good answer unread.

        NotSent when there is no answer: permanent where the address must not be called, else passing.
        """
        return self._call("POST", url or self.url, content, headers, reads=reads)

    def get(self, url: httpx.URL, headers: Mapping[str, str]) -> Answer | NotSent:
        """Ask for something at the same address."""
        return self._call("GET", url, b"", headers, reads=True)

    def close(self) -> None:
        """Close the connections; a client that was handed in is its owner's to close."""
        if self._owns_client and self._client is not None:
            self._client.close()
            self._client = None

    def _call(
        self, method: str, url: httpx.URL, content: bytes, headers: Mapping[str, str], *, reads: bool
    ) -> Answer | NotSent:
        addresses = self._addresses()
        if isinstance(addresses, NotSent):
            return addresses
        result = NotSent(detail="the name has no address", permanent=False)
        for address in addresses[:ADDRESSES_MAX]:
            answer = self._exchange(address, method, url, content, headers, reads=reads)
            if not isinstance(answer, _Unreached):
                return answer
            # Nothing was sent yet, so the next address of the same name may be tried in the same attempt.
            result = NotSent(detail=answer.detail, permanent=False)
        return result

    def _addresses(self) -> list[Address] | NotSent:
        """Where the name points now, or why it may not be called."""
        host = self.host
        try:
            found = self._resolve(host)
        except (OSError, UnicodeError) as unknown:
            return NotSent(detail=f"{host} cannot be resolved: {type(unknown).__name__}", permanent=False)
        addresses = list(dict.fromkeys(ipaddress.ip_address(address.split("%")[0]) for address in found))
        if not self._allow_private and not all(is_public(address) for address in addresses):
            # One bad address condemns the name: a name that points inside and outside is how guards are evaded.
            return NotSent(detail=f"{host} is not a public address and private ones are not allowed", permanent=True)
        return addresses

    def _exchange(
        self, address: Address, method: str, url: httpx.URL, content: bytes, headers: Mapping[str, str], *, reads: bool
    ) -> Answer | NotSent | _Unreached:
        """One call of one address; TLS still proves the name, for `sni_hostname` is what the certificate must say."""
        if self._client is None:
            # Made at the first message: reading the machine's certificates takes longer than the message.
            self._client = httpx.Client(trust_env=False, follow_redirects=False, verify=self._verify)
        ends_at = time.monotonic() + self._timeout_seconds
        try:
            with self._client.stream(
                method,
                url.copy_with(host=str(address)),
                content=content,
                headers={
                    **headers,
                    "host": url.netloc.decode("ascii"),
                    "accept-encoding": "identity",
                    "user-agent": "escrow-monitor",
                },
                timeout=httpx.Timeout(self._timeout_seconds),
                follow_redirects=False,
                extensions={"sni_hostname": self.host},
            ) as response:
                body = b"" if response.is_success and not reads else self._beginning(response, ends_at)
                return Answer(
                    status=response.status_code,
                    body=body,
                    date=_instant(response.headers.get("date")),
                    rest_seconds=_rest(response.headers.get("retry-after")),
                )
        except (httpx.ConnectError, httpx.ConnectTimeout) as unreached:
            return _Unreached(detail=f"{self.host} could not be reached: {type(unreached).__name__}")
        except httpx.HTTPError as failed:
            return NotSent(detail=f"{self.host} did not answer: {type(failed).__name__}", permanent=False)

    def _beginning(self, response: httpx.Response, ends_at: float) -> bytes:
        """As much of the body as comes in time, up to the bound: a far side that drips bytes is not waited for."""
        body = bytearray()
        try:
            for piece in response.iter_raw():
                body += piece
                if len(body) >= self._bytes_max or time.monotonic() > ends_at:
                    break
        except httpx.HTTPError:
            pass
        return bytes(body[: self._bytes_max])


def refusal(answer: Answer) -> NotSent:
    """What an answer beyond 2xx means: 4xx (but 408, 409, 425, 429) is permanent, everything else is passing."""
    permanent = 400 <= answer.status < 500 and answer.status not in PASSING_CLIENT_ERRORS
    said = said_by(answer.body)
    return NotSent(detail=f"HTTP {answer.status}: {said}" if said else f"HTTP {answer.status}", permanent=permanent)


def verdict(answer: Answer) -> Sent | NotSent:
    """What an answer means where its status says it all."""
    return Sent(detail=f"HTTP {answer.status}") if answer.is_success else refusal(answer)


def said_by(body: bytes) -> str:
    """The beginning of what a far side said, on one line."""
    text = re.sub(r"[\s\x00-\x1f\x7f]+", " ", body[: ANSWER_CHARACTERS_KEPT * 4].decode("utf-8", "replace")).strip()
    return text[:ANSWER_CHARACTERS_KEPT]


def is_public(address: Address) -> bool:
    """Whether an address is on the open internet: not private, loopback, link-local, reserved or multicast.

    IPv6 forms that carry an IPv4 address are judged by the address they carry.
    """
    if isinstance(address, ipaddress.IPv6Address):
        carried = address.ipv4_mapped or address.sixtofour
        if carried is not None:
            return is_public(carried)
    return address.is_global and not address.is_multicast and not address.is_reserved


def checked_url(url: str, *, what: str) -> httpx.URL:
    """An absolute http or https URL without a password in it; the error never shows it."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as wrong:
        raise ValueError(f"{what} is no URL") from wrong
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ValueError(f"{what} must begin with https:// or http:// and name a host")
    if parsed.userinfo:
        raise ValueError(f"{what} must not carry a user name or password")
    return parsed


@dataclass(frozen=True, slots=True)
class _Unreached:
    """The connection failed before anything was sent."""

    detail: str


def _trusting(ca_file: Path | None, *, what: str) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except (OSError, ssl.SSLError) as unreadable:
        raise ValueError(f"the certificate authority of {what} cannot be read from {ca_file}") from unreadable


def _instant(text: str | None) -> datetime | None:
    """The date of a header (RFC 9110, section 5.6.7)."""
    try:
        moment = None if text is None else parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _rest(text: str | None) -> int | None:
    """The seconds of a Retry-After header, at most an hour; its other form, a date, is not worth a second clock."""
    return min(int(text), REST_SECONDS_MAX) if text is not None and re.fullmatch(r"[0-9]{1,9}", text) else None
