"""Requests as an operator writes them: text with names in braces, whose values cannot break out of their place.

    /accounts/{account_no}/balances          {account_no} is percent-encoded
    <begin>{from:%Y%m%d}</begin>             text of an element or attribute is escaped
    {"from": "{from}", "list": "{accounts}"} values of JSON are put in before it is written
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from string import Formatter
from typing import TypeAlias
from urllib.parse import quote

from escrow_monitor.banks.statement_reading import refused
from escrow_monitor.domain.accounts import Account
from escrow_monitor.domain.statements import RefusalReason
from escrow_monitor.errors import ConfigurationError

Value: TypeAlias = str | int | date | None
Values: TypeAlias = Mapping[str, Value]

ACCOUNT_NAMES = frozenset({"account_no", "external_id"})
CALL_NAMES = frozenset({"today", "timestamp", "request_id", "session"})
PERIOD_NAMES = frozenset({"from", "to"})
PAGE_NAMES = frozenset({"page", "size", "offset", "cursor"})
LIST_NAME = "accounts"

_DATES = frozenset({"today", "timestamp", "from", "to"})
_ISO = {"timestamp": "%Y%m%d%H%M%S"}
_HEADER = re.compile(r"[\t\x20-\x7e]*\Z")


@dataclass(frozen=True, slots=True)
class _Slot:
    name: str
    form: str


@dataclass(frozen=True, slots=True)
class Template:
    """A text with slots. `key` is where it stands in the configuration."""

    key: str
    parts: tuple[str | _Slot, ...]

    @property
    def names(self) -> frozenset[str]:
        """The names it asks for."""
        return frozenset(part.name for part in self.parts if isinstance(part, _Slot))

    def render(self, values: Values, escape: Callable[[str], str] = str) -> str:
        """The text with its slots filled. Raises Refused when the account lacks what it asks for."""
        return "".join(
            part if isinstance(part, str) else escape(_written(part, values, self.key)) for part in self.parts
        )


def compiled(text: str, key: str, names: frozenset[str]) -> Template:
    """The template. Raises ConfigurationError for a name that is not among `names` or a stray brace."""
    parts: list[str | _Slot] = []
    try:
        for literal, name, form, conversion in Formatter().parse(text):
            if literal:
                parts.append(literal)
            if name is None:
                continue
            if conversion:
                raise ValueError(f"!{conversion} is not known here")
            parts.append(_slot(name, form or "", names))
    except ValueError as error:
        raise ConfigurationError(f"{key}: {error}; a brace that is meant as one is written twice: {{{{ }}}}") from error
    return Template(key, tuple(parts))


def _slot(name: str, form: str, names: frozenset[str]) -> _Slot:
    if name not in names:
        raise ValueError(f"unknown name {{{name}}}: known are {', '.join(sorted(names))}")
    if form and name not in _DATES:
        raise ValueError(f"{{{name}:{form}}}: only a date has a form")
    if form and "%" not in form:
        raise ValueError(f"{{{name}:{form}}}: write the form of a date like %Y%m%d")
    return _Slot(name, form)


def _written(slot: _Slot, values: Values, key: str) -> str:
    value = values.get(slot.name)
    if value is None:
        what = "the account has no external_id" if slot.name == "external_id" else f"there is no {slot.name}"
        raise refused(RefusalReason.NOT_CONFIGURED, key, slot.name, f"{what}, and the request asks for it")
    if isinstance(value, date):
        form = slot.form or _ISO.get(slot.name, "%Y-%m-%d")
        if isinstance(value, datetime):
            form = form.replace("%3f", f"{value.microsecond // 1000:03d}")
        return value.strftime(form)
    return str(value)


def in_path(text: str) -> str:
    """A value as one segment of a path. Raises Refused for one that would climb out of it."""
    if text in ("", ".", ".."):
        raise refused(RefusalReason.NOT_CONFIGURED, "path", None, f"{text!r} cannot stand in an address")
    return quote(text, safe="")


def in_header(text: str) -> str:
    """A value as it may stand in a header. Raises Refused for line breaks and what is not ASCII."""
    if not _HEADER.match(text):
        raise refused(RefusalReason.NOT_CONFIGURED, "headers", None, "a value that cannot stand in a header")
    return text


def values_of_account(account: Account) -> Values:
    """What a template may say of an account."""
    return {"account_no": account.account_no, "external_id": account.external_id}


def values_of_call(now: datetime) -> Values:
    """What a template may say of a call: `now` in the bank's zone, and an id that no other call has."""
    return {"today": now.date(), "timestamp": now, "request_id": uuid.uuid4().hex}
