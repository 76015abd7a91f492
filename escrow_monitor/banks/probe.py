"""One real try of a bank's interface for one account, everything seen on the way kept for showing, nothing recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, SecretStr

from escrow_monitor.banks.certificates import bank_files
from escrow_monitor.banks.connector import Pull, PullOutcome, PullRequest
from escrow_monitor.banks.making import make_connector
from escrow_monitor.banks.observing import CallSeen
from escrow_monitor.banks.reach import Door, Reach, knock
from escrow_monitor.banks.redaction import Redactor
from escrow_monitor.banks.secrets import secret_texts
from escrow_monitor.clock import Clock
from escrow_monitor.domain.certificates import CertificateState
from escrow_monitor.domain.statements import Refusal
from escrow_monitor.settings import Settings
from escrow_monitor.settings.banks import BankSection


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One document of the bank, redacted: which call brought it (None: what a call's envelope held)."""

    call: int | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallShown:
    """One attempt to call the bank, without its body. `status` None: no answer came."""

    method: str
    path: str
    status: int | None
    seconds: float
    size_bytes: int
    media_type: str
    refusal: Refusal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What one try brought. Everything here is fit to be shown."""

    bank: str
    connector: str
    configuration: Mapping[str, str]
    certificates: tuple[CertificateState, ...]
    reach: Reach
    calls: tuple[CallShown, ...]
    documents: tuple[Shown, ...]
    outcome: PullOutcome | None
    refusals: tuple[Refusal, ...]

    @property
    def answered(self) -> bool:
        """Whether the bank gave any answer to a call, be it a refusal."""
        return isinstance(self.outcome, Pull) or any(call.status is not None for call in self.calls)


def probe(
    settings: Settings, request: PullRequest, *, clock: Clock, real_now: Callable[[], datetime]
) -> Probe:
    """Knock at the bank of the account and pull it once, without repeats.

    Raises ConfigurationError when the section cannot be used at all.
    """
    account = request.account
    bank = settings.banks[account.bank]
    redactor = Redactor(
        secrets=secret_texts(settings, bank),
        accounts=[text for text in (account.account_no, account.external_id) if text],
    )
    once = settings.model_copy(update={"banks": {account.bank: bank.model_copy(update={"retries": 0})}})
    calls: list[CallSeen] = []
    with closing(make_connector(once, account.bank, clock, observe=calls.append)) as connector:
        reach = knock(door_of(settings, bank), now_of=real_now)
        now = clock.now()
        outcome = next(iter(connector.pull([request], now=now)), None)
    return Probe(
        bank=account.bank,
        connector=bank.connector,
        configuration=_configuration(settings, bank, redactor),
        certificates=tuple(bank_files(settings, account.bank, bank, now=real_now())),
        reach=reach,
        calls=tuple(_fit(call, redactor) for call in calls),
        documents=tuple(_documents(calls, outcome, redactor)),
        outcome=outcome,
        refusals=tuple(_plain(refusal, redactor) for refusal in _refusals(outcome)),
    )


def door_of(settings: Settings, bank: BankSection) -> Door:
    """Where a configured bank is, and the certificates for it."""

    def path(file: Path | None) -> str | None:
        return None if file is None else str(settings.path(file))

    return Door(
        base_url=bank.base_url, ca_file=path(bank.ca_file), cert_file=path(bank.cert_file),
        key_file=path(bank.key_file),
    )


def _configuration(settings: Settings, bank: BankSection, redactor: Redactor) -> dict[str, str]:
    """The section as it is used: secrets as set or not set, files with whether they can be read."""
    return {name: _setting(settings, value, redactor) for name, value in bank}


def _setting(settings: Settings, value: object, redactor: Redactor) -> str:
    match value:
        case None:
            return "not set"
        case SecretStr():
            return "set"
        case Path():
            path = settings.path(value)
            try:
                path.open("rb").close()
            except OSError as error:
                return f"{path}: {error.strerror}"
            return str(path)
        case BaseModel():
            given = ((name, below) for name, below in value if name in value.model_fields_set)
            return "; ".join(f"{name} {_setting(settings, below, redactor)}" for name, below in given)
        case dict():
            return "; ".join(f"{name} {_setting(settings, below, redactor)}" for name, below in value.items()) or "none"
        case tuple() | list():
            return ", ".join(_setting(settings, below, redactor) for below in value) or "none"
        case _:
            return redactor.line(str(value))


def _fit(call: CallSeen, redactor: Redactor) -> CallShown:
    return CallShown(
        method=call.method, path=redactor.path(call.path), status=call.status, seconds=call.seconds,
        size_bytes=len(call.content), media_type=call.media_type,
        refusal=None if call.refusal is None else _plain(call.refusal, redactor),
    )


def _documents(calls: list[CallSeen], outcome: PullOutcome | None, redactor: Redactor) -> Iterator[Shown]:
    """What the bank said, call by call; then what we read if it is not what came: the inside of an envelope."""
    for number, call in enumerate(calls, 1):
        if call.content:
            failed = call.status is None or not 200 <= call.status < 300
            yield Shown(call=number, text=redactor.document(call.content, call.media_type, error=failed))
    came = {call.content for call in calls}
    for raw in outcome.raw if outcome is not None else ():
        if raw.content not in came:
            yield Shown(call=None, text=redactor.document(raw.content, raw.media_type))


def _refusals(outcome: PullOutcome | None) -> tuple[Refusal, ...]:
    if outcome is None:
        return ()
    return outcome.refusals if isinstance(outcome, Pull) else (outcome.refusal,)


def _plain(refusal: Refusal, redactor: Redactor) -> Refusal:
    return Refusal(
        reason=refusal.reason, where=redactor.line(refusal.where),
        field=None if refusal.field is None else redactor.line(refusal.field), detail=redactor.line(refusal.detail),
    )
