"""The far sides of the channels, on loopback: each checks what the real one is published to check."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes, hmac

HOUR = 3600


@dataclass(frozen=True)
class Call:
    """What one call brought."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What is answered."""

    document: object
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@contextmanager
def platform(answer: Callable[[Call], Reply], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve one platform on loopback; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self._take()

        def do_GET(self) -> None:
            self._take()

        def _take(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = answer(Call(parts.path, query, headers, body))
            said = json.dumps(reply.document, ensure_ascii=False).encode()
            self.send_response(reply.status)
            self.send_header("content-type", "application/json; charset=utf-8")
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(said)))
            # A caller may have gone before it heard the answer: that is its affair.
            with suppress(OSError):
                self.end_headers()
                self.wfile.write(said)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def silent() -> Iterator[int]:
    """One who takes connections and says nothing; its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


def nobody() -> int:
    """A port where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


class Wall:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 23, 9, 15, tzinfo=UTC)
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at.timestamp() + self.seconds, UTC)


def signed(key: str, message: str) -> str:
    """Base64 of HMAC-SHA256, by another library than the channels'."""
    one = hmac.HMAC(key.encode(), hashes.SHA256())
    one.update(message.encode())
    return base64.b64encode(one.finalize()).decode()


@dataclass
class Platform:
    """What the three robots' platforms have in common: they count, they read JSON, they keep what they took."""

    limits: tuple[tuple[int, float], ...] = ()
    wall: Wall = field(default_factory=Wall)
    taken: list[dict[str, Any]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)
    says: Reply | None = None
    _times: deque[float] = field(default_factory=lambda: deque(maxlen=1000))

    def too_often(self) -> bool:
        at = self.wall.seconds
        self._times.append(at)
        return any(sum(then > at - span for then in self._times) > calls for calls, span in self.limits)

    def read(self, call: Call) -> dict[str, Any] | None:
        self.bodies.append(call.body)
        if not call.headers.get("content-type", "").startswith("application/json"):
            return None
        try:
            document = json.loads(call.body.decode("utf-8"))
        except ValueError:
            return None
        return document if isinstance(document, dict) else None


@dataclass
class Wecom(Platform):
    """https://developer.work.weixin.qq.com/document/path/91770 ."""

    key: str = "633a31f6-7f9c-4bc4-97a0-0ec1eefa5898"
    limits: tuple[tuple[int, float], ...] = ((20, 60),)

    def __call__(self, call: Call) -> Reply:
        if self.says is not None:
            return self.says
        code, said = self._judge(call)
        if code:
            self.refusals.append(code)
        return Reply({"errcode": code, "errmsg": said})

    def _judge(self, call: Call) -> tuple[int, str]:
        if call.path != "/cgi-bin/webhook/send" or call.query != {"key": self.key}:
            return 93000, f"invalid webhook url, hint: [1704540159128593240839785] {call.query.get('key')}"
        if self.too_often():
            return 45009, "api freq out of limit"
        document = self.read(call)
        if document is None:
            return 40035, "invalid json"
        kind = document.get("msgtype")
        limit = {"text": 2048, "markdown": 4096}.get(str(kind))
        if limit is None:
            return 40008, "invalid message type"
        content = document.get(str(kind), {}).get("content")
        if not isinstance(content, str) or not content:
            return 44004, "empty content"
        if len(content.encode("utf-8")) > limit:
            return 40058, f"{kind}.content exceed max length {limit}. invalid Request Parameter"
        self.taken.append(document)
        return 0, "ok"


@dataclass
class Dingtalk(Platform):
    """https://open.dingtalk.com/document/orgapp/custom-robot-access ."""

    token: str = "566cc69da782ec1f8a8b4a2d"
    secret: str | None = "SEC4f6a2b9c7d8e1f0a"
    keyword: str | None = None
    limits: tuple[tuple[int, float], ...] = ((20, 60),)

    def __call__(self, call: Call) -> Reply:
        if self.says is not None:
            return self.says
        code, said = self._judge(call)
        if code:
            self.refusals.append(code)
        return Reply({"errcode": code, "errmsg": said})

    def _judge(self, call: Call) -> tuple[int, str]:
        if call.path != "/robot/send" or call.query.get("access_token") != self.token:
            return 300001, "token is not exist"
        if self.too_often():
            return 130101, "send too fast, exceed 20 times per minute"
        if self.secret is not None and (wrong := self._unsigned(call, self.secret)):
            return 310000, wrong
        if len(call.body) > 20_000:
            return 460101, "message too long, exceed 20000 bytes"
        return self._content(call)

    def _unsigned(self, call: Call, secret: str) -> str | None:
        timestamp = call.query.get("timestamp", "")
        if not timestamp.isdigit() or abs(int(timestamp) / 1000 - self.wall.now().timestamp()) > HOUR:
            return "invalid timestamp"
        sign = call.query.get("sign")
        return None if sign == signed(secret, f"{timestamp}\n{secret}") else f"sign not match {sign}"

    def _content(self, call: Call) -> tuple[int, str]:
        document = self.read(call)
        if document is None:
            return 43004, "无效的HTTP HEADER Content-Type"
        if document.get("msgtype") != "markdown":
            return 400105, "unsupported msgtype"
        markdown = document.get("markdown", {})
        if not all(isinstance(markdown.get(name), str) and markdown[name] for name in ("title", "text")):
            return 40035, "param error"
        if self.keyword is not None and self.keyword not in markdown["text"]:
            return 310000, "keywords not in content"
        self.taken.append(document)
        return 0, "ok"


@dataclass
class Feishu(Platform):
    """https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot ."""

    token: str = "9f3c1b52-7c1e-4c2b-9d57-4f2f4a3c8e10"
    secret: str | None = "Dk3sVh0aPq2XcR9t"
    old: bool = False
    limits: tuple[tuple[int, float], ...] = ((100, 60), (5, 1))

    def __call__(self, call: Call) -> Reply:
        if self.says is not None:
            return self.says
        code, said = self._judge(call)
        if code:
            self.refusals.append(code)
            return Reply({"code": code, "msg": said, "data": {}})
        if self.old:
            return Reply({"Extra": None, "StatusCode": 0, "StatusMessage": "success"})
        return Reply({"StatusCode": 0, "StatusMessage": "success", "code": 0, "data": {}, "msg": "success"})

    def _judge(self, call: Call) -> tuple[int, str]:
        if call.path != f"/open-apis/bot/v2/hook/{self.token}":
            return 19001, "param invalid: incoming webhook access token invalid"
        if self.too_often():
            return 11232, "frequency limited psm[lark.oapi.app_platform_runtime]appID[1500]"
        document = self.read(call)
        if document is None or len(call.body) > 20 * 1024:
            return 9499, "Bad Request"
        if self.secret is not None:
            timestamp = str(document.get("timestamp", ""))
            right = timestamp.isdigit() and abs(int(timestamp) - self.wall.now().timestamp()) <= HOUR
            if not right or document.get("sign") != signed(f"{timestamp}\n{self.secret}", ""):
                return 19021, "sign match fail or timestamp is not within one hour from current time"
        if not self._shaped(document):
            return 9499, "Bad Request"
        self.taken.append(document)
        return 0, "success"

    @staticmethod
    def _shaped(document: dict[str, Any]) -> bool:
        if document.get("msg_type") != "post":
            return False
        languages = document.get("content", {}).get("post", {})
        return bool(languages) and all(
            name in {"zh_cn", "en_us", "ja_jp"}
            and isinstance(post.get("title"), str)
            and all(
                isinstance(piece.get("text"), str) and piece.get("tag") in {"text", "a"}
                for line in post["content"] for piece in line
            )
            for name, post in languages.items()
        )
