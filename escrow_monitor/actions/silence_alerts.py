"""Make, preview, confirm and end silences: nobody is called about what fits, and the feed still carries it.

    who asks (a key, a login) + what they ask --> a silence, checked --> records: silence, audit
    for red too                               --> a proposal         --> another person confirms --> in force

All of it happens inside the caller's transaction.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from alerts.alert import Alert, Severity
from alerts.routing import Silence
from escrow_monitor.errors import UsageError
from escrow_monitor.logs import log
from escrow_monitor.records.alerts import silences
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.alerts.silences import KeptSilence
from escrow_monitor.records.database import Session

MATCHERS = ("rule", "subject", "period", "uscc", "account_no", "bank", "district")
SILENCE_MAX = timedelta(days=31)
REASON_CHARACTERS_MAX = 500
_RED, _LESS = (Severity.RED,), (Severity.INFO, Severity.YELLOW, Severity.ORANGE)


class SilenceRefusal(StrEnum):
    """Why nothing is done about a silence. Closed: shown by these words."""

    ENDED = "ended"
    NOT_PROPOSED = "not_proposed"
    SAME_PERSON = "same_person"


WORDS: Mapping[SilenceRefusal, Mapping[str, str]] = {
    SilenceRefusal.ENDED: {"zh": "该静默已经结束", "en": "the silence has ended"},
    SilenceRefusal.NOT_PROPOSED: {
        "zh": "该静默没有待复核的提议：不含红色预警，或已复核",
        "en": "the silence waits for nobody: it spares what is red, or is confirmed already",
    },
    SilenceRefusal.SAME_PERSON: {"zh": "提议人与复核人是同一人", "en": "whoever proposed it cannot confirm it"},
}


class SilenceRefused(UsageError):
    """Nothing is done about this silence."""

    def __init__(self, reason: SilenceRefusal) -> None:
        super().__init__(f"{WORDS[reason]['en']}: see silences list --all")
        self.reason = reason


class UnknownSilence(UsageError):
    """No such silence is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a silence would hide of what is open now, by key, and what is red and fits but is spared by it.

    The counts tell of all, where only the first are listed.
    """

    hidden_count: int
    hidden: Sequence[Alert]
    spared_count: int = 0
    spared: Sequence[Alert] = ()


def silence_of(
    *, matchers: Mapping[str, str], author: str, reason: str, starts_at: datetime | None, ends_at: datetime,
    now: datetime, red: bool = False,
) -> Silence:
    """A silence as it is asked for, checked. Raises UsageError."""
    begins = starts_at or now
    if not matchers:
        raise UsageError(f"a silence needs a matcher, such as bank=NAME: one of {', '.join(MATCHERS)}")
    for name, value in matchers.items():
        if name not in MATCHERS or not value:
            raise UsageError(f"{name[:40]!r} matches nothing: write NAME=VALUE with one of {', '.join(MATCHERS)}")
    if not reason.strip() or len(reason) > REASON_CHARACTERS_MAX:
        raise UsageError(f"a silence needs a reason of at most {REASON_CHARACTERS_MAX} characters")
    if not author.partition(":")[2].strip() and not author.strip(": "):
        raise UsageError("say who makes the silence")
    if not (now < ends_at and begins < ends_at <= begins + SILENCE_MAX):
        raise UsageError(f"a silence ends ahead, at most {SILENCE_MAX.days} days after it begins")
    return Silence(
        silence_id=secrets.token_hex(4), matchers=dict(matchers), author=author, reason=reason.strip(),
        starts_at=begins, ends_at=ends_at, red=red,
    )


def preview(session: Session, silence: Silence, *, limit: int | None = None) -> Preview:
    """What it would hide now, listing at most `limit`; red is hidden only by one that is meant for it."""
    book, matchers = RecordsAlertBook(session), silence.matchers
    hidden_count, hidden = book.open_fitting(
        matchers, severities=_LESS + _RED if silence.red else _LESS, limit=limit
    )
    spared_count, spared = (0, []) if silence.red else book.open_fitting(matchers, severities=_RED, limit=limit)
    return Preview(hidden_count=hidden_count, hidden=hidden, spared_count=spared_count, spared=spared)


def make(session: Session, silence: Silence, *, now: datetime) -> None:
    """Keep it. It holds from its beginning on, or, if it is meant for red too, once another person has confirmed it."""
    silences.add(session, silence, now=now)
    log(__name__).info(
        "silence.proposed" if silence.is_proposed else "silence.made", silence_id=silence.silence_id, by=silence.author,
        matchers=dict(silence.matchers), ends_at=silence.ends_at.isoformat(),
    )


def confirm(session: Session, silence_id: str, *, by: str, now: datetime) -> KeptSilence:
    """The second pair of eyes on a silence of red. Raises UnknownSilence, SilenceRefused."""
    kept = _known(session, silence_id, now)
    if not kept.silence.is_proposed:
        raise SilenceRefused(SilenceRefusal.NOT_PROPOSED)
    if kept.silence.is_by(by):
        raise SilenceRefused(SilenceRefusal.SAME_PERSON)
    if not silences.confirm(session, kept.silence, by=by, now=now):
        raise SilenceRefused(SilenceRefusal.NOT_PROPOSED)
    log(__name__).info("silence.confirmed", silence_id=silence_id, by=by, proposed_by=kept.silence.author)
    return _known(session, silence_id, now)


def end(session: Session, silence_id: str, *, by: str, now: datetime) -> KeptSilence:
    """End it now, proposed or in force, whoever made it. Raises UnknownSilence, SilenceRefused."""
    _known(session, silence_id, now)
    if not silences.end(session, silence_id, by=by, now=now):
        raise SilenceRefused(SilenceRefusal.ENDED)
    log(__name__).info("silence.ended", silence_id=silence_id, by=by)
    found = silences.silence(session, silence_id)
    assert found is not None  # noqa: S101 - a silence that is known stays known
    return found


def _known(session: Session, silence_id: str, now: datetime) -> KeptSilence:
    found = silences.silence(session, silence_id)
    if found is None:
        raise UnknownSilence(f"no silence {silence_id[:40]!r} is known: see silences list")
    if found.silence.ends_at <= now:
        raise SilenceRefused(SilenceRefusal.ENDED)
    return found
