"""The one way out to a bank's HTTP interface: bounded, retried where that is safe, silent about secrets."""

from __future__ import annotations

import asyncio
import random
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from queue import SimpleQueue
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlencode

import aiohttp
import httpx
from aiolimiter import AsyncLimiter
from httpx_aiohttp import AiohttpTransport
from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState

from escrow_monitor.clock import Clock
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
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "escrow-monitor"}
_PASSING_STATUS = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class BankHttp:
    """How one bank's interface is called. Secrets do not appear when it is printed.

    `timeout_seconds` bounds each attempt from connecting to the last byte. `calls_per_second` None: no rate limit.
    The circuit opens after `circuit_failures` attempts in a row without a usable answer and stays open for
    `circuit_open_seconds`. Plain http is for loopback only, unless `plain_http` says that a private line carries it.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A bank's answer of status 2xx, whole."""

    path: str
    content: bytes
    media_type: str
    fetched_at: datetime


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
        self._secrets = _secrets(settings, secrets)
        self._tls = _tls_context(settings) if self._base.scheme == "https" else None
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._connections: AiohttpTransport | None = None
        self._timeout = httpx.Timeout(settings.timeout_seconds).as_dict()
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
        url = self.url(path, params)
        attempt = 0
        while True:
            try:
                return await self._attempt(url, headers)
            except CallRefused as error:
                wait = self._wait_seconds(error, attempt)
                if wait is None:
                    raise
            attempt += 1
            await asyncio.sleep(wait)

    def url(self, path: str, params: Mapping[str, str] | None = None) -> httpx.URL:
        """The full address of a path or link. Raises CallRefused for one that leaves the bank's origin."""
        try:
            plain = path.startswith("/") and not path.startswith("//")
            below = self._below_base(path) if plain else self._followed(httpx.URL(path))
            return httpx.URL(f"{self._origin}{below}{'?' + urlencode(params) if params else ''}")
        except httpx.InvalidURL as error:
            detail = f"a link that is no address: {error}"
            raise self.refused(RefusalReason.MALFORMED, self._base.path, detail) from error

    def _below_base(self, path: str) -> str:
        """Links may or may not repeat the base URL's own path."""
        base = self._base.path.rstrip("/")
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

    def _transport(self) -> AiohttpTransport:
        """The bare transport: httpx's client around it would follow nothing and keep no cookie, at twice the cost."""
        if self._connections is None:
            limits = httpx.Limits(max_connections=self.settings.concurrency, keepalive_expiry=15)
            verify = self._tls if self._tls is not None else False  # plain http: there is nothing to verify
            self._connections = AiohttpTransport(verify=verify, limits=limits, trust_env=False)
        return self._connections

    async def _attempt(self, url: httpx.URL, headers: Callable[[], Mapping[str, str]]) -> Answer:
        circuit = await self._circuits.get_breaker(self._base.host)
        try:
            # Asked before the queue as well: behind an open circuit nobody waits for a slot or a turn.
            circuit.context.handle_new_request()
            async with self._slots:
                if self._limiter is not None:
                    await self._limiter.acquire()
                async with circuit:
                    return await self._once(url, headers())
        except OpenedState as opened:
            # purgatory raises the same object every time: without this its traceback would grow with every call.
            opened.__traceback__ = None
            detail = f"not called: the last {self.settings.circuit_failures} attempts brought no answer"
            raise self.refused(RefusalReason.CIRCUIT_OPEN, url.path, detail) from None

    async def _once(self, url: httpx.URL, headers: Mapping[str, str]) -> Answer:
        try:
            async with asyncio.timeout(self.settings.timeout_seconds):
                response = await self._transport().handle_async_request(self._request(url, headers))
                try:
                    return await self._read(response, url)
                finally:
                    await response.aclose()
        except TimeoutError as error:
            raise self._timed_out(url) from error
        except httpx.DecodingError as error:
            raise self.refused(RefusalReason.MALFORMED, url.path, "the answer's compression is broken") from error
        except (httpx.HTTPError, aiohttp.ClientError, OSError) as error:
            if isinstance(error, TimeoutError) or isinstance(error.__cause__, TimeoutError):
                raise self._timed_out(url) from error
            raise self.refused(RefusalReason.UNREACHABLE, url.path, _told(error), passing=True) from error

    def _request(self, url: httpx.URL, headers: Mapping[str, str]) -> httpx.Request:
        sent = {**_HEADERS, **self.settings.headers, **headers}
        if self.settings.token is not None:
            sent["Authorization"] = f"Bearer {self.settings.token}"
        if self.settings.sign_request is not None:
            sent.update(self.settings.sign_request("GET", str(url), sent, b""))
        return httpx.Request("GET", url, headers=sent, extensions={"timeout": self._timeout})

    async def _read(self, response: httpx.Response, url: httpx.URL) -> Answer:
        status = response.status_code
        if not 200 <= status < 300:
            content = await _first_bytes(response, ERROR_BODY_BYTES_MAX)
            raise self._refused_status(response, url, content)
        content = await _first_bytes(response, self.settings.body_bytes_max + 1)
        if len(content) > self.settings.body_bytes_max:
            detail = f"the answer is larger than {self.settings.body_bytes_max} bytes"
            raise self.refused(RefusalReason.TOO_LARGE, url.path, detail)
        return Answer(
            path=self.redact(url.path), content=content, fetched_at=self._clock.now(),
            media_type=response.headers.get("Content-Type", "application/octet-stream").partition(";")[0].strip(),
        )

    def _refused_status(self, response: httpx.Response, url: httpx.URL, content: bytes) -> CallRefused:
        status = response.status_code
        reason = _REASONS.get(status, RefusalReason.SERVER_ERROR if status >= 500 else RefusalReason.UNEXPECTED_STATUS)
        refusal = Refusal(
            reason=reason, where=self.redact(url.path), field="status", detail=f"the bank answered with status {status}"
        )
        return CallRefused(
            refusal, passing=status in _PASSING_STATUS, status=status, content=content,
            retry_after_seconds=_retry_after_seconds(response.headers.get("Retry-After"), self._clock.now()),
        )

    def _timed_out(self, url: httpx.URL) -> CallRefused:
        detail = f"no whole answer within {self.settings.timeout_seconds:g} seconds"
        return self.refused(RefusalReason.TIMEOUT, url.path, detail, passing=True)

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


async def _first_bytes(response: httpx.Response, most: int) -> bytes:
    """At most about `most` bytes of the body; more is not read."""
    chunks, size = [], 0
    async for chunk in response.aiter_bytes():
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
