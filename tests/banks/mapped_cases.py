"""What the tests of both mapping connectors share: a bank made from TOML text, and outcomes told as lines."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

from bank_server import BankServer, Reply, Request

from escrow_monitor.banks.connector import BankConnector, Pull, PullOutcome, PullRequest
from escrow_monitor.banks.making import make_connector
from escrow_monitor.clock import FixedClock
from escrow_monitor.domain.accounts import Account
from escrow_monitor.domain.statements import Statement
from escrow_monitor.settings import Settings, load_settings

GOLDEN = Path(__file__).parent / "golden"
NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)  # noon in Shanghai
NUMBER = "6222000000000012345"
OTHER = "7111010182600196886"


def account(bank: str, number: str = NUMBER, **more: str) -> Account:
    return Account(account_no=number, bank=bank, connector="json_bank", currency="CNY", **more)  # type: ignore[arg-type]


def section(text: str, bank: str, **changes: object) -> dict[str, object]:
    """The bank's section; a change is named like `balances__unit` and replaces or adds a key, None takes it away."""
    found: dict[str, object] = tomllib.loads(text)["banks"][bank]
    for name, value in changes.items():
        *places, last = name.split("__")
        inside: dict[str, object] = found
        for place in places:
            inside = inside.setdefault(place, {})  # type: ignore[assignment]
        if value is None:
            inside.pop(last, None)
        else:
            inside[last] = value
    return found


def settings_of(found: Mapping[str, object], bank: str, folder: Path | None = None) -> Settings:
    return Settings.model_validate({"banks": {bank: found}, "folder": folder or Path()})


def refused_config(text: str, folder: Path) -> str:
    """What is said about a configuration file that cannot be used."""
    from escrow_monitor.errors import ConfigurationError

    path = folder / "escrow-monitor.toml"
    path.write_text(text, encoding="utf-8")
    try:
        settings = load_settings(path, {})
        for name in settings.banks:
            make_connector(settings, name, FixedClock(NOW)).close()
    except ConfigurationError as error:
        return str(error)
    raise AssertionError("the configuration was taken")


@contextmanager
def connected(
    handler: Callable[[Request], Reply], found: Mapping[str, object], bank: str, *, folder: Path | None = None,
    now: datetime = NOW,
) -> Iterator[tuple[BankConnector, BankServer]]:
    with BankServer(handler) as server:
        path = str(found["base_url"]).removeprefix("http://127.0.0.1:1")
        settings = settings_of({**found, "base_url": f"{server.url}{path}"}, bank, folder)
        connector = make_connector(settings, bank, FixedClock(now))
        try:
            yield connector, server
        finally:
            connector.close()


def pulled(
    handler: Callable[[Request], Reply], found: Mapping[str, object], bank: str, *numbers: str,
    since: date | None = None, folder: Path | None = None, now: datetime = NOW,
) -> list[PullOutcome]:
    """The outcomes for these accounts, in the order of the numbers."""
    wanted = numbers or (NUMBER,)
    requests = [PullRequest(account=account(bank, number), statements_from=since) for number in wanted]
    with connected(handler, found, bank, folder=folder, now=now) as (connector, _):
        outcomes = {one.account_no: one for one in connector.pull(requests, now=now)}
    assert set(outcomes) == set(wanted)
    return [outcomes[number] for number in wanted]


def told(outcome: PullOutcome) -> str:
    """An outcome as lines."""
    if not isinstance(outcome, Pull):
        return f"{outcome.refusal.reason}: {outcome.refusal.detail}"
    lines = [
        f"{one.kind} {one.amount} of {one.on} at {one.as_of:%m-%d %H:%M:%S}{' final' if one.final else ''}"
        for one in outcome.readings
    ]
    lines.append(f"account {outcome.account_status}")
    lines += [_statement(one) for one in outcome.statements]
    lines += [f"not taken: {one.reason}: {one.detail}" for one in outcome.refusals]
    return "\n".join(lines)


def _statement(one: Statement) -> str:
    head = f"{one.kind} {one.opening} to {one.closing}, covers {one.covers_from}..{one.covers_to}"
    return "\n".join([head] + [
        f"  {entry.booked_on} {entry.amount.text} {entry.bank_ref} {entry.text!r}"
        f"{' reversal' if entry.reversal else ''}{' named' if entry.counterparty_sha256 else ''}"
        for entry in one.entries
    ])


def always(body: bytes | object, status: int = 200) -> Callable[[Request], Reply]:
    return lambda request: Reply(body=body, status=status)

