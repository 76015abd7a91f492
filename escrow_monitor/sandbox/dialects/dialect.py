"""What every dialect of the invented banks is asked and answers: no sockets, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from escrow_monitor.sandbox.district import SandboxBank


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request. `path` lies below the bank's own; header names are lower case; a name given twice in the query
    stands once."""

    method: str
    target: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer. `headers` come on top of type and length."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


class Dialect(Protocol):
    """One interface, spoken for every bank that has it, over one district."""

    def answer(self, request: Request, *, bank: SandboxBank, at: datetime, garbage: bool) -> Answer:
        """Check the request as the bank would, and answer it as of `at`; `garbage`: wrongly, in one of many ways."""

    def limited(self, request: Request, *, bank: SandboxBank) -> Answer:
        """What the bank says when it was asked too often."""

    def settings(self, bank: SandboxBank, *, base_url: str) -> Mapping[str, object]:
        """What an operator would write into `[banks.NAME]` to reach the bank."""
