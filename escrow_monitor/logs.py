"""How this program writes its log: one JSON object a line, or coloured lines for a terminal, without secrets."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager
from typing import Any, Literal, TextIO, cast

import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.typing import EventDict, Processor, WrappedLogger

HIDDEN = "***"
DEPTH_MAX = 6
TEXT_CHARACTERS_MAX = 8_000

_SECRET_WORDS = frozenset({
    "authorization", "token", "secret", "secrets", "password", "passwd", "key", "apikey", "cookie", "credential",
    "credentials", "signature",
})
_SECRET_NAMES = frozenset({"consent_id", "set_cookie", "private_key"})
# These end in a secret word and are none, or hold long digits that are no account number.
_OPEN_NAMES = frozenset({"alert_key", "idempotency_key", "uscc", "institution", "run_id", "sha256", "raw_sha256",
                         "audit_head", "timestamp", "level", "logger"})

_TOKENS = re.compile(r"\b(?:emk_|ems_|whsec_)[A-Za-z0-9_+/=-]{6,}")
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(?<=://)([^\s/:@]*):[^\s/@]+@")
_ASSIGNED = re.compile(
    r"(?i)\b(authorization|consent[-_]id|(?:api[-_]?)?token|access_token|client_secret|secret|password|api[-_]?key)"
    r"(\"?\s*[:=]\s*\"?)(?!\*)[^\s\"'&,;}]{3,}"
)
# Twelve digits in a row, or in groups of four as people write them, are taken for an account or card number.
_LONG_NUMBER = re.compile(r"(?<![0-9])(?:[0-9]{12,}|(?:[0-9]{4}[ -]){3,}[0-9]{1,7})(?![0-9])")


def configure(
    *, format: Literal["json", "console"] = "json", level: str = "INFO", stream: TextIO | None = None,
) -> None:
    """Send every log line of this process, of libraries too, to `stream` (standard error) in one form."""
    out = stream if stream is not None else sys.stderr
    shared: list[Processor] = [
        merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level, *shared, structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.StackInfoRenderer(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            redact,  # after the traceback became text: exceptions carry secrets too
            *_renderers(format, out),
        ],
    ))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # One line a request is the reverse proxy's work; the libraries' chatter hides what the operator must see.
    for name in ("uvicorn.access", "httpx", "httpcore", "apscheduler", "alembic"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def log(name: str = "escrow_monitor") -> structlog.stdlib.BoundLogger:
    """Return a logger: `log().info("round.finished", round="pull_balances", silent=2)`."""
    return structlog.stdlib.get_logger(name)


def bound(**keys: object) -> AbstractContextManager[None]:
    """Add keys (run_id, round, bank, institution, ...) to every line of this thread or task inside the block."""
    return cast("AbstractContextManager[None]", bound_contextvars(**keys))


def redact(logger: WrappedLogger | None, method: str, event: EventDict) -> EventDict:
    """Hide secrets by name and by shape, and mask account numbers to their last four digits."""
    return {name: _clean(name, value, depth=0) for name, value in event.items()}


def masked(text: str) -> str:
    """Return the text without keys, tokens and passwords, and with long numbers cut to their last four digits."""
    text = _TOKENS.sub(HIDDEN, text)
    text = _BEARER.sub(rf"\1 {HIDDEN}", text)
    text = _URL_PASSWORD.sub(rf"\1:{HIDDEN}@", text)
    text = _ASSIGNED.sub(rf"\1\2{HIDDEN}", text)
    return _LONG_NUMBER.sub(lambda match: HIDDEN + re.sub("[^0-9]", "", match[0])[-4:], text)


def _clean(name: str, value: object, *, depth: int) -> object:
    if _is_secret(name):
        return None if value is None else HIDDEN
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth > DEPTH_MAX:
        return "..."
    if isinstance(value, Mapping):
        return {masked(str(key)): _clean(str(key), inner, depth=depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(name, inner, depth=depth + 1) for inner in value]
    text = value if isinstance(value, str) else str(value)
    if len(text) > TEXT_CHARACTERS_MAX:
        text = text[:TEXT_CHARACTERS_MAX] + "..."
    return text if name.lower() in _OPEN_NAMES else masked(text)


def _is_secret(name: str) -> bool:
    low = re.sub(r"[-. ]", "_", name).lower()
    if low in _OPEN_NAMES:
        return False
    return low in _SECRET_NAMES or not _SECRET_WORDS.isdisjoint(low.split("_"))


def _renderers(format: Literal["json", "console"], out: TextIO) -> list[Processor]:
    if format == "console":
        return [structlog.dev.ConsoleRenderer(colors=out.isatty())]
    return [_first_the_event, structlog.processors.JSONRenderer(serializer=_json)]


def _first_the_event(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """People read the first columns: time, level, event; then the rest as it came."""
    first = {name: event.pop(name) for name in ("timestamp", "level", "event") if name in event}
    return {**first, **event}


def _json(value: MutableMapping[str, Any], **_: object) -> str:
    # `Any`: the library's edge. Chinese stays readable in the file.
    return json.dumps(value, ensure_ascii=False, default=str)
