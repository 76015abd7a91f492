"""What every bank interface shares in reading an answer: its time, its account, its dates, and how it is refused."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import TypeAlias
from zoneinfo import ZoneInfo

import orjson

from escrow_monitor.banks.connector import PullRefused, PullRequest, Raw
from escrow_monitor.banks.http import Answer, CallRefused
from escrow_monitor.banks.statement_reading import Refused, refused
from escrow_monitor.domain.accounts import BalanceKind, Reading
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.statements import Refusal, RefusalReason

PAGES_MAX = 10_000
"""Pages of one answer that are followed; 5 million accounts at 500 a page."""
CLOCK_SKEW = timedelta(minutes=5)
"""A bank's clock may run ahead of ours by so much before its instants count as being of the future."""

Json: TypeAlias = Mapping[str, object]

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z", re.ASCII)


@dataclass(slots=True)
class Moment:
    """When an answer came, in the bank's zone, and the end of each day it speaks of."""

    zone: ZoneInfo
    fetched_at: datetime
    today: date = field(init=False)
    days: dict[str, tuple[date, datetime]] = field(default_factory=dict)
    instants: dict[object, datetime] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.today = self.fetched_at.astimezone(self.zone).date()

    def day(self, text: object, where: str, name: str = "referenceDate") -> tuple[date, datetime]:
        """A date as the bank writes it, and its last second, but never after the answer itself.

        Raises Refused for what is no date or lies after today at the bank.
        """
        known = self.days.get(text) if isinstance(text, str) else None
        if known is None:
            on = date_of(text, where, name)
            self.days[str(text)] = known = (on, self.end_of(on, where, name))
        return known

    def end_of(self, on: date, where: str, name: str) -> datetime:
        """The last second of a day at the bank, but never after the answer itself. Raises Refused for a later day."""
        if on > self.today:
            detail = f"dated {on}, and in {self.zone.key} it is {self.today}"
            raise refused(RefusalReason.DATED_IN_FUTURE, where, name, detail)
        return min(_last_second(on, self.zone), self.fetched_at)

    def instant(self, text: object, where: str, name: str) -> datetime:
        """An instant as the bank writes it, in its own zone where it names none. Raises Refused for one to come."""
        known = self.instants.get(text) if isinstance(text, str) else None
        if known is not None:
            return known
        try:
            at = datetime.fromisoformat(text) if isinstance(text, str) else None
        except ValueError:
            at = None
        if at is None:
            raise refused(RefusalReason.BAD_DATE, where, name, f"{str(text)[:40]!r} is no instant")
        at = (at if at.tzinfo is not None else at.replace(tzinfo=self.zone)).astimezone(UTC)
        if at > self.fetched_at + CLOCK_SKEW:
            raise refused(RefusalReason.DATED_IN_FUTURE, where, name, f"{text} is later than now")
        self.instants[text] = at
        return at


@lru_cache(maxsize=1024)
def _last_second(on: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(on, time(23, 59, 59), zone).astimezone(UTC)


def check_one_voice(readings: Sequence[Reading], where: str) -> None:
    """Two figures for one kind and day contradict each other: Refused."""
    if len({(reading.kind, reading.on) for reading in readings}) == len(readings):
        return
    said: dict[tuple[BalanceKind, date], Money] = {}
    for reading in readings:
        before = said.setdefault((reading.kind, reading.on), reading.amount)
        if before != reading.amount:
            detail = f"{reading.kind} of {reading.on} is stated as {before.text} and as {reading.amount.text}"
            raise refused(RefusalReason.CONTRADICTS, where, "balances", detail)


def is_same_account(ours: str, theirs: str) -> bool:
    """Whether two numbers name one account: an IBAN is country, check digits and the national number."""
    if ours == theirs:
        return True
    shorter, longer = sorted((ours, theirs), key=len)
    return len(shorter) >= 6 and longer[:2].isalpha() and longer.endswith(shorter)


def plain_id(text: str) -> str:
    """An account number without the blanks people write into it, in capitals."""
    return text.replace(" ", "").upper() if " " in text or not text.isdigit() else text


def masked(number: str) -> str:
    """An account number as it may be shown: its last four characters."""
    return number if len(number) <= 4 else f"…{number[-4:]}"


def document_of(answer: Answer) -> Json:
    """The answer as a JSON object. Raises Refused."""
    try:
        document = orjson.loads(answer.content)
    except orjson.JSONDecodeError as error:
        detail = f"not JSON: {error.msg} at character {error.pos}"
        raise refused(RefusalReason.MALFORMED, answer.path, None, detail) from error
    return object_of(document, answer.path, "the answer")


def object_of(value: object, where: str, name: str) -> Json:
    """A JSON object, or Refused."""
    if value is None:
        raise refused(RefusalReason.MISSING_FIELD, where, name, "not there")
    if not isinstance(value, dict):
        raise refused(RefusalReason.MALFORMED, where, name, "not an object")
    return value


def date_of(text: object, where: str, name: str) -> date:
    """A date written like 2026-11-20, or Refused."""
    if text is None:
        raise refused(RefusalReason.MISSING_FIELD, where, name, "not there")
    try:
        if isinstance(text, str) and _DATE.match(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise refused(RefusalReason.BAD_DATE, where, name, f"{str(text)[:40]!r} is no date")


def text_of(value: object) -> str | None:
    """A text that says something, else None."""
    return value if isinstance(value, str) and value else None


def raw_of(answer: Answer) -> Raw:
    """The answer's bytes as evidence."""
    return Raw(
        sha256=hashlib.sha256(answer.content).hexdigest(), content=answer.content, media_type=answer.media_type
    )


def refusals_of(error: CallRefused | Refused) -> tuple[Refusal, ...]:
    """Why a call or an answer was not taken."""
    return error.refusals if isinstance(error, Refused) else (error.refusal,)


def refused_pull(
    request: PullRequest, bank: str, refusal: Refusal, *, raw: Sequence[Raw], started_at: datetime,
    finished_at: datetime,
) -> PullRefused:
    """The outcome of a request whose answer was not taken."""
    return PullRefused(
        account_no=request.account.account_no, bank=bank, refusal=refusal, raw=tuple(raw), started_at=started_at,
        finished_at=finished_at,
    )
