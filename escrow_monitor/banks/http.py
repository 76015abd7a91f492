"""The one way out to a bank's HTTP interface: bounded, retried where that is safe, silent about secrets."""

from __future__ import annotations

import asyncio
import random
import re
import ssl
import threading
import time as stopwatch
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeAlias, TypeVar
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import aiohttp
import httpx
from aiolimiter import AsyncLimiter
from httpx_aiohttp import AiohttpTransport
from httpx_aiohttp.transport import AiohttpResponseStream
from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState
from purgatory.service._async.circuitbreaker import AsyncCircuitBreaker
from yarl import URL

from escrow_monitor.banks.observing import CallSeen, remember_certificate
from escrow_monitor.clock import ZONE, Clock
from escrow_monitor.domain.statements import Refusal, RefusalReason
from escrow_monitor.errors import ConfigurationError, OutsideError

RETRY_AFTER_SECONDS_MAX = 30
"""We wait this long when a bank asks us to; longer and this round goes on without the answer."""
BACKOFF_SECONDS = 0.5
BACKOFF_SECONDS_MAX = 10
ERROR_BODY_BYTES_MAX = 64 * 1024
HANDFUL = 64
HANDFULS_WAITING_MAX = 30
"""So many times 64 answers may wait for whoever iterates; then the calls pause."""
HAND_OVER_SECONDS = 0.005
CLOSE_SECONDS = 5
KEEP_ALIVE_SECONDS = 15
DETAIL_CHARACTERS_MAX = 200

RequestSigner: TypeAlias = Callable[[str, str, Mapping[str, str], bytes], Mapping[str, str]]
"""(method, url, headers, body) -> headers to add, e.g. Digest and Signature."""

T = TypeVar("T")
R = TypeVar("R")
Emit: TypeAlias = Callable[[R], Awaitable[None]]

_REASONS = {
    401: RefusalReason.UNAUTHORIZED,
    403: RefusalReason.FORBIDDEN,
    404: RefusalReason.NOT_FOUND,
    408: RefusalReason.TIMEOUT,
    429: RefusalReason.RATE_LIMITED,
}
_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9_.~-]+)+/?\Z", re.ASCII)
"""A path without anything that a URL would quote, resolve or cut off."""
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "escrow-monitor"}
_PASSING_STATUS = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Window:
    """Local times between which a bank may be called, the end not included; it may reach over midnight."""

    begins: time
    ends: time

    def holds(self, at: time) -> bool:
        """Whether a local time lies inside."""
        if self.begins <= self.ends:
            return self.begins <= at < self.ends
        return at >= self.begins or at < self.ends


@dataclass(frozen=True, slots=True, kw_only=True)
class BankHttp:
    """How one bank's interface is called. Secrets do not appear when it is printed.

    `timeout_seconds` bounds each attempt from connecting to the last byte. `calls_per_second` None: no rate limit.
    The circuit opens after `circuit_failures` attempts in a row without a usable answer and stays open for
    `circuit_open_seconds`. Plain http is for loopback only, unless `plain_http` says that a private line carries it.
    `observe` hears of every attempt, `met` of the certificate (DER) the bank shows with every connection.
    Outside all `windows` (none: any time) nothing is called; calls wait out the `quiet_minutes` of every hour. Both are
    local times in `zone`.
    """

    base_url: str
    timeout_seconds: float = 20
    concurrency: int = 20
    calls_per_second: float | None = None
    retries: int = 2
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    token: str | None = field(default=None, repr=False)
    circuit_failures: int = 5
    circuit_open_seconds: float = 60
    body_bytes_max: int = 64 * 1024 * 1024
    plain_http: bool = False
    sign_request: RequestSigner | None = field(default=None, repr=False)
    windows: tuple[Window, ...] = ()
    quiet_minutes: tuple[int, ...] = ()
    zone: ZoneInfo = ZONE
    observe: Callable[[CallSeen], None] | None = field(default=None, repr=False)
    met: Callable[[bytes], None] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A bank's answer of status 2xx, whole."""

    path: str
    content: bytes
    media_type: str
    fetched_at: datetime
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """As the bank sent them; names are found in any case."""


def _no_content() -> bytes:
    return b""


class _Call(NamedTuple):
    """One call to make, perhaps several times. Headers and content are made anew for each attempt.

    `address` is the whole URL as it is sent, `place` its path as people read it.
    """

    method: str
    address: str
    place: str
    headers: Callable[[], Mapping[str, str]]
    content: Callable[[], bytes] = _no_content
    media_type: str | None = None
    safe: bool = True


class CallRefused(OutsideError):
    """A call to a bank brought no answer that can be used.

    `passing` says whether the same call may succeed later; `content` is the start of the bank's error body, for the
    connector that knows how to read it. It never goes into a refusal as it is: banks echo what they were sent.
    """

    def __init__(
        self, refusal: Refusal, *, passing: bool, status: int | None = None, content: bytes = b"",
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal
        self.passing = passing
        self.status = status
        self.content = content
        self.retry_after_seconds = retry_after_seconds


class BankClient:
    """One bank's HTTP client. Calls run on an event loop in a thread of their own; the caller stays synchronous.

    Raises ConfigurationError when address, certificates or key cannot be used.
    """

    def __init__(self, settings: BankHttp, *, clock: Clock, secrets: Sequence[str] = ()) -> None:
        self.settings = settings
        self._clock = clock
        self._base = _base_url(settings)
        self._origin = f"{self._base.scheme}://{self._base.netloc.decode('ascii')}"
        self._base_path = self._base.path.rstrip("/")
        self._plain_url = URL(self._origin, encoded=True)
        self._secrets = _secrets(settings, secrets)
        self._tls = _tls_context(settings) if self._base.scheme == "https" else None
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._connections: AiohttpTransport | None = None
        self._always_sent = {**_HEADERS, **settings.headers}
        self._authorization = None if settings.token is None else f"Bearer {settings.token}"
        self._circuit: AsyncCircuitBreaker | None = None
        self.rest_until: datetime | None = None
        """Until when the bank has asked not to be called again."""
        self._slots, self._limiter = asyncio.Semaphore(settings.concurrency), _limiter(settings.calls_per_second)
        # A refusal that will not pass (401, 404) is an answer: the bank is there.
        self._circuits = AsyncCircuitBreakerFactory(
            default_threshold=settings.circuit_failures, default_ttl=settings.circuit_open_seconds,
            exclude=[asyncio.CancelledError, (CallRefused, _is_an_answer)],
        )

    def each(self, items: Iterable[T], work: Callable[[T], Awaitable[R]]) -> Iterator[R]:
        """Yield `work(item)` for every item as they finish, `concurrency` of them at a time. Work must not raise."""

        async def produce(emit: Emit[R]) -> None:
            waiting = iter(items)

            async def worker() -> None:
                for item in waiting:
                    await emit(await work(item))

            async with asyncio.TaskGroup() as group:
                for _ in range(self.settings.concurrency):
                    group.create_task(worker())

        return self.stream(produce)

    def stream(self, produce: Callable[[Emit[R]], Coroutine[Any, Any, None]]) -> Iterator[R]:
        """Run `produce` on the client's loop and yield what it emits, here and synchronously."""
        handed_over: SimpleQueue[list[R] | None] = SimpleQueue()
        loop = self._started_loop()
        waiting: list[R] = []

        def hand_over() -> None:
            if waiting:
                handed_over.put(waiting.copy())
                waiting.clear()

        async def emit(answer: R) -> None:
            # Waking the other thread costs more than a call's own work, so answers go over by the handful.
            waiting.append(answer)
            if len(waiting) == 1:
                loop.call_later(HAND_OVER_SECONDS, hand_over)
            elif len(waiting) >= HANDFUL:
                hand_over()
            while handed_over.qsize() >= HANDFULS_WAITING_MAX:  # noqa: ASYNC110 - a thread, not a task, takes them
                await asyncio.sleep(0.01)

        async def run() -> None:
            try:
                await produce(emit)
            finally:
                hand_over()
                handed_over.put(None)

        running = asyncio.run_coroutine_threadsafe(run(), loop)
        try:
            while (answers := handed_over.get()) is not None:
                yield from answers
            running.result()
        finally:
            running.cancel()

    async def get(
        self, path: str, *, params: Mapping[str, str] | None = None,
        headers: Callable[[], Mapping[str, str]] = dict,
    ) -> Answer:
        """Call a path below the base URL (or an absolute URL of the same origin). `headers` are made for each attempt.

        Raises CallRefused. Passing failures are tried again, at the bank's own pace when it names one.
        """
        return await self._tried(_Call("GET", *self._address(path, params), headers))

    async def post(
        self, path: str, *, content: Callable[[], bytes], media_type: str, safe: bool,
        params: Mapping[str, str] | None = None, headers: Callable[[], Mapping[str, str]] = dict,
    ) -> Answer:
        """Send what `content` makes for each attempt. `safe`: a question that may be asked again after a failure.

        Raises CallRefused, as `get` does.
        """
        return await self._tried(_Call("POST", *self._address(path, params), headers, content, media_type, safe))

    async def _tried(self, call: _Call) -> Answer:
        attempt = 0
        while True:
            try:
                return await self._attempt(call)
            except CallRefused as error:
                wait = self._wait_seconds(error, attempt) if call.safe else None
                if wait is None:
                    self._note_rest(error)
                    raise
            attempt += 1
            await asyncio.sleep(wait)

    def rest(self, until: datetime) -> None:
        """Call nothing until then: the bank has asked for it."""
        if self.rest_until is None or until > self.rest_until:
            self.rest_until = until

    def _note_rest(self, error: CallRefused) -> None:
        """A bank that names a time beyond our patience is not called before it."""
        if error.retry_after_seconds is not None and error.retry_after_seconds > RETRY_AFTER_SECONDS_MAX:
            self.rest(self._clock.now() + timedelta(seconds=error.retry_after_seconds))

    async def _permitted(self, call: _Call) -> None:
        """Return when the bank may be called; raise CallRefused when it may not be for longer than a minute."""
        settings = self.settings
        while settings.windows or settings.quiet_minutes or self.rest_until is not None:
            now = self._clock.now()
            local = now.astimezone(settings.zone)
            if self.rest_until is not None and now < self.rest_until:
                detail = f"not called: the bank asked not to be called before {self.rest_until.isoformat()}"
                raise self.refused(RefusalReason.RATE_LIMITED, call.place, detail)
            if settings.windows and not any(window.holds(local.time()) for window in settings.windows):
                detail = f"not called: {local:%H:%M} is outside the times at which this bank may be called"
                raise self.refused(RefusalReason.OUTSIDE_HOURS, call.place, detail)
            if local.minute not in settings.quiet_minutes:
                return
            await asyncio.sleep(min(60 - local.second, 1))

    def url(self, path: str, params: Mapping[str, str] | None = None) -> httpx.URL:
        """The full address of a path or link. Raises CallRefused for one that leaves the bank's origin."""
        try:
            plain = not path or (path.startswith("/") and not path.startswith("//"))
            below = self._below_base(path) if plain else self._followed(httpx.URL(path))
            return httpx.URL(f"{self._origin}{below}{'?' + urlencode(params) if params else ''}")
        except httpx.InvalidURL as error:
            detail = f"a link that is no address: {error}"
            raise self.refused(RefusalReason.MALFORMED, self._base.path, detail) from error

    def _address(self, path: str, params: Mapping[str, str] | None) -> tuple[str, str]:
        """The full address as text, and its path. Nearly all paths need nothing of what makes a URL expensive."""
        if _PLAIN_PATH.match(path) and "/." not in path:
            below = self._below_base(path)
            return f"{self._origin}{below}{'?' + urlencode(params) if params else ''}", below
        url = self.url(path, params)
        return str(url), url.path

    def _below_base(self, path: str) -> str:
        """Links may or may not repeat the base URL's own path."""
        base = self._base_path
        return path if base and path.startswith(base + "/") else base + path

    def _followed(self, link: httpx.URL) -> str:
        below = link.raw_path.decode("ascii")
        if not link.host and not link.scheme:
            return self._below_base("/" + below.lstrip("/"))
        if (link.scheme, link.host, link.port) != (self._base.scheme, self._base.host, self._base.port):
            raise self.refused(RefusalReason.MALFORMED, link.path, "a link that leaves the bank's own address")
        return below

    def refused(self, reason: RefusalReason, where: str, detail: str, *, passing: bool = False) -> CallRefused:
        """The exception for one refusal, its text freed of secrets."""
        refusal = Refusal(reason=reason, where=self.redact(where), field=None, detail=self.redact(detail))
        return CallRefused(refusal, passing=passing)

    def redact(self, text: str) -> str:
        """The text without any of the client's secrets."""
        for secret in self._secrets:
            text = text.replace(secret, "[redacted]")
        return text

    def close(self) -> None:
        """End the loop and its connections. The client can be used again; it then starts anew."""
        with self._lock:
            loop, thread, connections = self._loop, self._thread, self._connections
            self._loop = self._thread = self._connections = None
        if loop is None or thread is None:
            return
        try:
            asyncio.run_coroutine_threadsafe(_shut(connections), loop).result(CLOSE_SECONDS)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(CLOSE_SECONDS)
            loop.close()

    def _started_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = _new_loop()
                # These belong to the loop they are first waited for on.
                self._slots = asyncio.Semaphore(self.settings.concurrency)
                self._limiter = _limiter(self.settings.calls_per_second)
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name=f"bank-{self._base.host}", daemon=True
                )
                self._thread.start()
            return self._loop

    def _session(self) -> aiohttp.ClientSession:
        """The session below httpx's transport: httpx around each call would cost more than the call itself.

        It follows no redirect, keeps no cookie, and leaves compressed bodies to httpx's decoders.
        """
        if self._connections is None:
            connector = aiohttp.TCPConnector(
                limit=self.settings.concurrency, keepalive_timeout=KEEP_ALIVE_SECONDS,
                ssl=self._tls if self._tls is not None else False,  # plain http: there is nothing to verify
            )
            self._connections = AiohttpTransport(client=aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # one clock is enough: `_once` bounds all
            ))
        return self._connections.get_client()

    async def _attempt(self, call: _Call) -> Answer:
        if (circuit := self._circuit) is None:
            circuit = self._circuit = await self._circuits.get_breaker(self._base.host)
        try:
            # Asked before the queue as well: behind an open circuit nobody waits for a slot or a turn.
            circuit.context.handle_new_request()
            async with self._slots:
                await self._permitted(call)
                if self._limiter is not None:
                    await self._limiter.acquire()
                async with circuit:
                    observe = self.settings.observe
                    return await (self._once(call) if observe is None else self._observed(call, observe))
        except OpenedState as opened:
            # purgatory raises the same object every time: without this its traceback would grow with every call.
            opened.__traceback__ = None
            detail = f"not called: the last {self.settings.circuit_failures} attempts brought no answer"
            raise self.refused(RefusalReason.CIRCUIT_OPEN, call.place, detail) from None

    async def _observed(self, call: _Call, observe: Callable[[CallSeen], None]) -> Answer:
        began, path = stopwatch.monotonic(), call.address.removeprefix(self._origin)
        try:
            answer = await self._once(call)
        except CallRefused as error:
            observe(CallSeen(
                method=call.method, path=path, status=error.status, seconds=stopwatch.monotonic() - began,
                refusal=error.refusal, content=error.content,
            ))
            raise
        observe(CallSeen(
            method=call.method, path=path, status=answer.status, seconds=stopwatch.monotonic() - began,
            media_type=answer.media_type, content=answer.content,
        ))
        return answer

    async def _once(self, call: _Call) -> Answer:
        content = call.content()
        try:
            async with asyncio.timeout(self.settings.timeout_seconds):
                response = await self._session().request(
                    call.method, self._target(call), headers=self._sent(call, content),
                    data=content or None, allow_redirects=False,
                )
                try:
                    return await self._read(response, call)
                finally:
                    response.release()
        except TimeoutError as error:
            raise self._timed_out(call) from error
        except httpx.DecodingError as error:
            raise self.refused(RefusalReason.MALFORMED, call.place, "the answer's compression is broken") from error
        except (httpx.HTTPError, aiohttp.ClientError, OSError) as error:
            if isinstance(error.__cause__, TimeoutError):
                raise self._timed_out(call) from error
            raise self.refused(RefusalReason.UNREACHABLE, call.place, _told(error), passing=True) from error

    def _target(self, call: _Call) -> URL:
        """The address as aiohttp takes it. Where it is origin and path alone, taking a text apart costs thrice that."""
        if call.address == self._origin + call.place:
            return self._plain_url.with_path(call.place, encoded=True)
        return URL(call.address, encoded=True)

    def _sent(self, call: _Call, content: bytes) -> dict[str, str]:
        """The headers of one attempt."""
        sent = {**self._always_sent, **call.headers()}
        if call.media_type is not None:
            sent["Content-Type"] = call.media_type
        if self._authorization is not None:
            sent["Authorization"] = self._authorization
        if self.settings.sign_request is not None:
            sent.update(self.settings.sign_request(call.method, call.address, sent, content))
        return sent

    async def _read(self, response: aiohttp.ClientResponse, call: _Call) -> Answer:
        status = response.status
        if not 200 <= status < 300:
            raise self._refused_status(response, call, await _first_bytes(response, ERROR_BODY_BYTES_MAX))
        content = await _first_bytes(response, self.settings.body_bytes_max + 1)
        if len(content) > self.settings.body_bytes_max:
            detail = f"the answer is larger than {self.settings.body_bytes_max} bytes"
            raise self.refused(RefusalReason.TOO_LARGE, call.place, detail)
        return Answer(
            path=self.redact(call.place), content=content, fetched_at=self._clock.now(), status=status,
            headers=response.headers,
            media_type=response.headers.get("Content-Type", "application/octet-stream").partition(";")[0].strip(),
        )

    def _refused_status(self, response: aiohttp.ClientResponse, call: _Call, content: bytes) -> CallRefused:
        status = response.status
        reason = _REASONS.get(status, RefusalReason.SERVER_ERROR if status >= 500 else RefusalReason.UNEXPECTED_STATUS)
        refusal = Refusal(
            reason=reason, where=self.redact(call.place), field="status",
            detail=f"the bank answered with status {status}",
        )
        return CallRefused(
            refusal, passing=status in _PASSING_STATUS, status=status, content=content,
            retry_after_seconds=_retry_after_seconds(response.headers.get("Retry-After"), self._clock.now()),
        )

    def _timed_out(self, call: _Call) -> CallRefused:
        detail = f"no whole answer within {self.settings.timeout_seconds:g} seconds"
        return self.refused(RefusalReason.TIMEOUT, call.place, detail, passing=True)

    def _wait_seconds(self, error: CallRefused, attempt: int) -> float | None:
        """How long to wait before the next attempt; None to give up."""
        if not error.passing or attempt >= self.settings.retries:
            return None
        if error.retry_after_seconds is not None:
            return error.retry_after_seconds if error.retry_after_seconds <= RETRY_AFTER_SECONDS_MAX else None
        if error.status == 429:
            return None  # it asked for fewer calls and named no time: another call is the wrong answer
        most: float = min(BACKOFF_SECONDS * 2**attempt, BACKOFF_SECONDS_MAX)
        return most * (0.5 + random.random() / 2)  # noqa: S311 - spreads the calls, protects nothing


def request_id() -> str:
    """A fresh UUID for a header that tells calls apart: no secret, so not from the system's source of secrets."""
    digits = f"{random.getrandbits(128):032x}"
    variant = "89ab"[int(digits[16], 16) % 4]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


async def _first_bytes(response: aiohttp.ClientResponse, most: int) -> bytes:
    """At most about `most` bytes of the body; more is not read. A compressed one goes through httpx's decoders."""
    if "Content-Encoding" in response.headers:
        encoded = httpx.Response(
            response.status, headers=response.raw_headers, stream=AiohttpResponseStream(response)
        )
        return await _joined(encoded.aiter_bytes(), most)
    if response.content.at_eof():
        return b""
    first = await response.content.readany()
    if response.content.at_eof() or len(first) >= most:
        return first  # the usual answer is there in one piece
    return first + await _joined(response.content.iter_any(), most - len(first))


async def _joined(pieces: AsyncIterable[bytes], most: int) -> bytes:
    chunks, size = [], 0
    async for chunk in pieces:
        chunks.append(chunk)
        size += len(chunk)
        if size >= most:
            break
    return b"".join(chunks)


async def _shut(connections: AiohttpTransport | None) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    if connections is not None:
        await connections.aclose()
    await asyncio.get_running_loop().shutdown_asyncgens()


def _is_an_answer(error: BaseException) -> bool:
    return isinstance(error, CallRefused) and (not error.passing or error.status == 429)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # not on every platform
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def _limiter(calls_per_second: float | None) -> AsyncLimiter | None:
    if calls_per_second is None:
        return None
    if calls_per_second <= 0:
        raise ConfigurationError(f"calls_per_second is {calls_per_second}, it must be above zero")
    return AsyncLimiter(calls_per_second, 1) if calls_per_second >= 1 else AsyncLimiter(1, 1 / calls_per_second)


def _base_url(settings: BankHttp) -> httpx.URL:
    try:
        url = httpx.URL(settings.base_url)
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"a bank's base_url is no address: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigurationError("a bank's base_url must begin with https:// and name a host")
    if url.userinfo:
        raise ConfigurationError(f"base_url of {url.host} carries credentials: they belong in the token or a header")
    if url.scheme == "http" and not settings.plain_http and not _is_loopback(url.host):
        what_to_do = "use https, or set plain_http where a private line carries it"
        raise ConfigurationError(f"base_url of {url.host} is plain http: {what_to_do}")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _secrets(settings: BankHttp, more: Sequence[str]) -> tuple[str, ...]:
    """Everything that must not be seen in an error, the longest first."""
    secrets = {*more, *settings.headers.values(), settings.token or ""}
    return tuple(sorted((secret for secret in secrets if len(secret) >= 4), key=len, reverse=True))


def _tls_context(settings: BankHttp) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.cert_file is not None:
            context.load_cert_chain(settings.cert_file, settings.key_file)
        if settings.met is not None:
            remember_certificate(context, settings.met)
    except (OSError, ssl.SSLError) as error:
        named = ", ".join(name for name in (settings.ca_file, settings.cert_file, settings.key_file) if name)
        raise ConfigurationError(f"certificates or key of a bank cannot be used ({named}): {error}") from error
    return context


def _told(error: BaseException) -> str:
    """What an exception says, on one line and bounded."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:DETAIL_CHARACTERS_MAX]


def _retry_after_seconds(value: str | None, now: datetime) -> float | None:
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(min(int(value[:9]), 10**6))
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())
