"""How far we get at a bank's door: its name, a connection, TLS with its certificate, and its clock.

    name -> address      connection      TLS: certificate, ours too      HEAD without credentials: the bank's clock

No account is named and no token sent. What stands in the way is a step that says so, not an exception.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar
from urllib.parse import urlsplit

from escrow_monitor.banks.certificates import certificate_of
from escrow_monitor.domain.certificates import Certificate

T = TypeVar("T")

SECONDS_MAX = 10.0
SKEW_WARN = timedelta(seconds=30)
SKEW_BAD = timedelta(minutes=5)
"""So much is the difference that answers are refused for: `dated_in_future`."""


class StepName(StrEnum):
    """What is tried, in this order; each needs the one before."""

    NAME = "name"
    CONNECTION = "connection"
    TLS = "tls"
    CLOCK = "clock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing tried: `ok` None means that it could not be told. `detail` holds no secret."""

    name: StepName
    ok: bool | None
    detail: str
    seconds: float = 0.0


@dataclass(slots=True, kw_only=True)
class Reach:
    """What was found at one address. `skew` is the bank's clock less ours; None when it did not say."""

    host: str
    port: int
    steps: list[Step] = field(default_factory=list)
    certificate: Certificate | None = None
    trusted: bool | None = None
    skew: timedelta | None = None

    @property
    def reached(self) -> bool:
        """Whether the bank answered at all."""
        return all(step.ok for step in self.steps if step.name is not StepName.CLOCK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where to knock, and with which certificates."""

    base_url: str
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


def knock(door: Door, *, now_of: Callable[[], datetime], seconds_max: float = SECONDS_MAX) -> Reach:
    """Go step by step until one fails; each takes at most about `seconds_max`."""
    url = urlsplit(door.base_url)
    secure = url.scheme == "https"
    reach = Reach(host=url.hostname or "", port=url.port or (443 if secure else 80))
    with ExitStack() as opened:
        try:
            with _step(reach, StepName.NAME) as say:
                addresses = _resolved(reach.host, reach.port, seconds_max)
                say(", ".join(sorted({address[4][0] for address in addresses})[:4]))
            with _step(reach, StepName.CONNECTION) as say:
                connection = opened.enter_context(closing(_connected(addresses, seconds_max)))
                say(f"port {reach.port}")
            if secure:
                with _step(reach, StepName.TLS) as say:
                    connection = opened.enter_context(closing(_secured(connection, door, reach)))
                    say(connection.version() or "TLS")
        except _Failed:
            if secure and reach.steps[-1].name is StepName.TLS:
                _look_unverified(addresses, reach, seconds_max)
            return reach
        _ask_the_time(connection, url.path or "/", reach, now_of)
    return reach


def resolves(host: str, *, seconds_max: float = SECONDS_MAX) -> None:
    """Raise OSError unless the name has an address."""
    _resolved(host, 443, seconds_max)


class _Failed(Exception):
    """A step did not succeed; what it was is in the last step."""


@contextmanager
def _step(reach: Reach, name: StepName) -> Iterator[Callable[[str], None]]:
    """Time one step and keep how it ended; raises _Failed where the next makes no sense."""
    began, said = time.monotonic(), [""]
    try:
        yield lambda text: said.__setitem__(0, text)
    except (OSError, UnicodeError) as error:
        detail = _plain(error)
        reach.steps.append(Step(name=name, ok=False, detail=detail, seconds=time.monotonic() - began))
        raise _Failed from error
    reach.steps.append(Step(name=name, ok=True, detail=said[0], seconds=time.monotonic() - began))


def _resolved(host: str, port: int, seconds_max: float) -> list[Any]:
    """The addresses of a name. The system's resolver knows no time limit: a thread waits for it, not we."""
    return within(seconds_max, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


def within(seconds_max: float, do: Callable[[], T]) -> T:
    """Do something that may hang, and leave it hanging in a thread that ends with the program: TimeoutError."""
    done: SimpleQueue[T | Exception] = SimpleQueue()

    def work() -> None:
        try:
            done.put(do())
        except Exception as error:
            # Handed over and raised where it is waited for.
            done.put(error)

    Thread(target=work, daemon=True).start()
    try:
        result = done.get(timeout=seconds_max)
    except Empty:
        raise TimeoutError from None
    if isinstance(result, Exception):
        raise result
    return result


def _connected(addresses: Sequence[Any], seconds_max: float) -> socket.socket:
    """A connection to the first address that takes one."""
    last: OSError | None = None
    for family, kind, protocol, _, address in addresses:
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(seconds_max)
        try:
            connection.connect(address)
        except OSError as error:
            connection.close()
            last = error
        else:
            return connection
    raise last or OSError("the name has no address")


def _secured(connection: socket.socket, door: Door, reach: Reach) -> ssl.SSLSocket:
    """TLS as the connector does it: the bank's certificate verified, ours shown."""
    context = ssl.create_default_context(cafile=door.ca_file)
    if door.cert_file is not None:
        context.load_cert_chain(door.cert_file, door.key_file)
    wrapped = context.wrap_socket(connection, server_hostname=reach.host)
    reach.certificate, reach.trusted = certificate_of(wrapped.getpeercert(binary_form=True) or b""), True
    return wrapped


def _look_unverified(addresses: Sequence[Any], reach: Reach, seconds_max: float) -> None:
    """What certificate is it that was not accepted? Nothing is sent over this connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        suppress(OSError),
        closing(_connected(addresses, seconds_max)) as connection,
        closing(context.wrap_socket(connection, server_hostname=reach.host)) as wrapped,
    ):
        reach.certificate = certificate_of(wrapped.getpeercert(binary_form=True) or b"")
        reach.trusted = False


def _ask_the_time(connection: socket.socket, path: str, reach: Reach, now_of: Callable[[], datetime]) -> None:
    """HEAD without credentials: whatever the status, the answer carries the bank's clock."""
    began, asked_at = time.monotonic(), now_of()
    caller = http.client.HTTPConnection(reach.host, reach.port)
    caller.sock = connection
    try:
        caller.request("HEAD", path, headers={"User-Agent": "escrow-monitor", "Connection": "close"})
        answer = caller.getresponse()
        stated = answer.getheader("Date")
    except (OSError, http.client.HTTPException) as error:
        # In TLS 1.3 a server that does not like our certificate says so only now, or closes without a word.
        wants = "; does it want a certificate of ours?" if reach.trusted else ""
        ok = False if isinstance(error, ssl.SSLError) else None
        _add(reach, ok, f"no answer to HEAD: {_plain(error)}{wants}", began)
        return
    took = timedelta(seconds=time.monotonic() - began)
    at = _instant(stated)
    if at is None:
        _add(reach, None, "the answer carries no Date", began)
        return
    # The header is cut to whole seconds: half a second is the best guess of what it meant.
    reach.skew = at + timedelta(seconds=0.5) - (asked_at + took / 2)
    _add(reach, abs(reach.skew) <= SKEW_BAD, f"{reach.skew.total_seconds():+.0f} s against ours", began)


def _add(reach: Reach, ok: bool | None, detail: str, began: float) -> None:
    reach.steps.append(Step(name=StepName.CLOCK, ok=ok, detail=detail, seconds=time.monotonic() - began))


def _instant(stated: str | None) -> datetime | None:
    try:
        at = parsedate_to_datetime(stated) if stated else None
    except ValueError:
        return None
    return None if at is None else (at if at.tzinfo else at.replace(tzinfo=UTC))


def _plain(error: BaseException) -> str:
    """What went wrong, in a few words of which none is a secret."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"the bank's certificate is not accepted: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS: {' '.join((error.reason or str(error)).lower().replace('_', ' ').split())}"
        case socket.gaierror():
            return f"the name is not known ({error.strerror})"
        case TimeoutError():
            return "no answer in time"
        case OSError():
            return error.strerror or str(error) or type(error).__name__
        case _:
            return str(error) or type(error).__name__
