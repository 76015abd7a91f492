"""`accounts probe`: what a person connecting an account needs to see, step by step, in order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from escrow_monitor.banks.connector import Pull, PullRefused, PullRequest
from escrow_monitor.banks.probe import Probe, probe
from escrow_monitor.banks.reach import SKEW_WARN, Step
from escrow_monitor.banks.redaction import last_four
from escrow_monitor.cli.advice import advice
from escrow_monitor.cli.frame import Frame
from escrow_monitor.cli.output import print_json, say
from escrow_monitor.domain.accounts import Account, Reading
from escrow_monitor.domain.certificates import Certificate
from escrow_monitor.domain.statements import Refusal, Statement, check_ties
from escrow_monitor.errors import DatabaseError, UsageError
from escrow_monitor.records.accounts import accounts
from escrow_monitor.wiring import assembled

if TYPE_CHECKING:
    from datetime import date

    from escrow_monitor.wiring import App

ANSWERED, REFUSED, SILENT = 0, 1, 3


def probe_account(
    frame: Frame, account_no: str, *, bank: str | None, currency: str, external_id: str | None,
    statements_from: date | None, as_json: bool,
) -> int:
    """Try the connection, print what was seen, return the exit code. Nothing is recorded."""
    with assembled(frame.settings) as app:
        account = _account(app, account_no, bank=bank, currency=currency, external_id=external_id)
        if account.bank not in frame.settings.banks:
            raise UsageError(f"no bank {account.bank!r} is configured: add [banks.{account.bank}]")
        tried = probe(
            frame.settings, PullRequest(account=account, statements_from=statements_from), clock=app.clock,
            real_now=app.real_now,
        )
        now = app.real_now()
    if as_json:
        print_json(_document(tried, account, frame, now))
    else:
        for line in _lines(tried, account, frame, now):
            say(line)
    return _code(tried)


def _code(tried: Probe) -> int:
    if not tried.answered:
        return SILENT
    return ANSWERED if isinstance(tried.outcome, Pull) and not tried.refusals else REFUSED


def _account(app: App, account_no: str, *, bank: str | None, currency: str, external_id: str | None) -> Account:
    """The account as registered, or the one that the options describe."""
    try:
        with app.database.read() as session:
            known = accounts(session, account_nos=[account_no])
    except DatabaseError:
        if bank is None:
            raise
        known = []  # whoever tries a bank out need not have a database yet
    if known and bank in (None, known[0].bank):
        return known[0]
    if bank is None:
        raise UsageError(
            f"account {account_no} is not registered: name its bank with --bank, or register it with import accounts"
        )
    return Account(
        account_no=account_no, bank=bank, connector=getattr(app.settings.banks.get(bank), "connector", ""),
        currency=currency, external_id=external_id,
    )


def _lines(tried: Probe, account: Account, frame: Frame, now: datetime) -> Iterator[str]:
    pick = frame.pick
    yield pick(
        zh=f"试连 {last_four(account.account_no)}，银行 {tried.bank}（{tried.connector}）；不作任何记录",
        en=f"Trying {last_four(account.account_no)} at bank {tried.bank} ({tried.connector}); nothing is recorded",
    )
    yield ""
    yield pick(zh="1 配置", en="1 configuration")
    yield from (f"  {name:<22} {value}" for name, value in tried.configuration.items())
    for state in tried.certificates:
        shown = [_certificate(one, now) for one in state.certificates] or [state.unknown_why]
        yield from (f"  {state.role.value:<22} {text}" for text in shown)
    yield ""
    yield pick(zh="2 连接", en="2 connection") + f"  {tried.reach.host}:{tried.reach.port}"
    yield from (_step(step, tried) for step in tried.reach.steps)
    if tried.reach.certificate is not None:
        yield f"  {'certificate':<12}      {_certificate(tried.reach.certificate, now)}"
    yield ""
    yield from _called(tried, frame)
    yield pick(zh="4 读到", en="4 what we read")
    yield from (f"  {line}" for line in _read(tried, frame))


def _called(tried: Probe, frame: Frame) -> Iterator[str]:
    """Every call with its answer below."""
    yield frame.pick(zh="3 调用与答复（已脱敏）", en="3 calls and answers (redacted)")
    if not tried.calls:
        yield frame.pick(zh="  没有发出任何调用", en="  no call was made")
    for number, call in enumerate(tried.calls, 1):
        status = frame.pick(zh="无答复", en="no answer") if call.status is None else str(call.status)
        what = f"{call.size_bytes} bytes {call.media_type}".rstrip()
        yield f"  [{number}] {call.method} {call.path} -> {status}, {call.seconds * 1000:.0f} ms, {what}"
        if call.refusal is not None:
            yield f"      {call.refusal}"
        for shown in tried.documents:
            if shown.call == number:
                yield from (f"      {line}" for line in shown.text.splitlines())
    for shown in tried.documents:
        if shown.call is None:
            yield frame.pick(zh="  解开后的内容", en="  what was inside")
            yield from (f"      {line}" for line in shown.text.splitlines())
    yield ""


def _read(tried: Probe, frame: Frame) -> Iterator[str]:
    if isinstance(tried.outcome, Pull):
        pull = tried.outcome
        for reading in pull.readings:
            final = frame.pick(zh="终值", en="final") if reading.final else frame.pick(zh="非终值", en="not final")
            yield f"{reading.kind.value:<16} {reading.amount}  {reading.on}  {reading.as_of.isoformat()}  {final}"
        for statement in pull.statements:
            yield _statement(statement, frame)
        yield frame.pick(zh="账户状态", en="account status") + f"  {pull.account_status.value}"
    for refusal in tried.refusals:
        yield frame.pick(zh="拒收", en="refused") + f"  {refusal}"
        yield frame.pick(zh="  处理：", en="  do: ") + advice(refusal.reason.value, frame.language)
    if tried.outcome is None:
        yield frame.pick(zh="连接器没有给出任何结果", en="the connector gave no outcome")


def _statement(statement: Statement, frame: Frame) -> str:
    ties = check_ties(statement)
    said = frame.pick(zh="勾稽一致", en="ties") if ties is None and statement.closing is not None else "-"
    return (
        f"{statement.kind.value:<16} {statement.covers_from} .. {statement.covers_to}  {statement.opening} -> "
        f"{statement.closing}, {len(statement.entries)} entries, {said if ties is None else ties.detail}"
    )


def _step(step: Step, tried: Probe) -> str:
    word = {True: "ok", False: "failed", None: "unknown"}[step.ok]
    if step.ok and tried.reach.skew is not None and step.name == "clock" and abs(tried.reach.skew) > SKEW_WARN:
        word = "warn"
    return f"  {step.name.value:<12} {word:<8} {step.detail} ({step.seconds * 1000:.0f} ms)"


def _certificate(certificate: Certificate, now: datetime) -> str:
    days = (certificate.not_after - now).days
    return f"{certificate.subject}; by {certificate.issuer}; until {certificate.not_after:%Y-%m-%d}, {days} days"


def _document(tried: Probe, account: Account, frame: Frame, now: datetime) -> dict[str, object]:
    """The same as one JSON document."""
    pull = tried.outcome if isinstance(tried.outcome, Pull) else None
    return {
        "account": last_four(account.account_no), "bank": tried.bank, "connector": tried.connector,
        "exit_code": _code(tried), "configuration": dict(tried.configuration),
        "own_certificates": [
            {"role": state.role.value, "unknown_why": state.unknown_why,
             "certificates": [_certificate_json(one, now) for one in state.certificates]}
            for state in tried.certificates
        ],
        "connection": {
            "host": tried.reach.host, "port": tried.reach.port,
            "steps": [
                {"step": step.name.value, "ok": step.ok, "detail": step.detail, "seconds": round(step.seconds, 4)}
                for step in tried.reach.steps
            ],
            "clock_skew_seconds": None if tried.reach.skew is None else round(tried.reach.skew.total_seconds(), 1),
            "certificate": None if tried.reach.certificate is None else {
                **_certificate_json(tried.reach.certificate, now), "trusted": tried.reach.trusted
            },
        },
        "calls": [
            {"method": call.method, "path": call.path, "status": call.status, "seconds": round(call.seconds, 4),
             "bytes": call.size_bytes, "media_type": call.media_type,
             "refusal": None if call.refusal is None else _refusal_json(call.refusal, frame)}
            for call in tried.calls
        ],
        "documents": [{"call": shown.call, "text": shown.text} for shown in tried.documents],
        "readings": [_reading_json(reading) for reading in pull.readings] if pull else [],
        "statements": [_statement_json(statement) for statement in pull.statements] if pull else [],
        "account_status": pull.account_status.value if pull else None,
        "refused": isinstance(tried.outcome, PullRefused),
        "refusals": [_refusal_json(refusal, frame) for refusal in tried.refusals],
    }


def _certificate_json(certificate: Certificate, now: datetime) -> dict[str, object]:
    return {
        "subject": certificate.subject, "issuer": certificate.issuer, "not_after": certificate.not_after.isoformat(),
        "days_left": (certificate.not_after - now).days, "sha256": certificate.sha256,
    }


def _reading_json(reading: Reading) -> dict[str, object]:
    return {
        "kind": reading.kind.value, "amount": reading.amount.text, "amount_fen": reading.amount.minor_units,
        "currency": reading.amount.currency, "on": reading.on.isoformat(), "as_of": reading.as_of.isoformat(),
        "final": reading.final,
    }


def _statement_json(statement: Statement) -> dict[str, object]:
    ties = check_ties(statement)
    return {
        "kind": statement.kind.value, "currency": statement.currency,
        "covers_from": statement.covers_from and statement.covers_from.isoformat(),
        "covers_to": statement.covers_to and statement.covers_to.isoformat(),
        "opening": statement.opening and statement.opening.text,
        "closing": statement.closing and statement.closing.text, "entries": len(statement.entries),
        "ties": None if statement.closing is None else ties is None, "final": statement.final,
    }


def _refusal_json(refusal: Refusal, frame: Frame) -> dict[str, object]:
    return {
        "reason": refusal.reason.value, "where": refusal.where, "field": refusal.field, "detail": refusal.detail,
        "do": advice(refusal.reason.value, frame.language),
    }
