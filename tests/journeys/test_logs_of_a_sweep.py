"""Whatever a bank does, what is logged of it holds no secret, no account number and nobody's name."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
import tomli_w

from escrow_monitor.clock import FixedClock
from escrow_monitor.logs import configure
from escrow_monitor.records.accounts import save_accounts, save_institutions
from escrow_monitor.records.runs import recent
from escrow_monitor.sandbox.banks import SandboxBanks
from escrow_monitor.sandbox.dialects import DIALECTS
from escrow_monitor.sandbox.district import Condition, standing_district
from escrow_monitor.settings import load_settings
from escrow_monitor.wiring import assembled

AT = datetime(2026, 11, 20, 4, 7, tzinfo=UTC)
BANK = "yandu"
SECRETS = ("token", "consent_id", "sm2_private_key", "sm4_key", "key", "password", "secrets", "fields")


@pytest.fixture
def captured() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure(format="json", level="DEBUG", stream=stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


def secrets_of(section: Mapping[str, object]) -> set[str]:
    """The texts under keys of secrets, at any depth."""
    found: set[str] = set()
    for name, value in section.items():
        if isinstance(value, Mapping):
            found |= secrets_of(value)
        elif name in SECRETS and isinstance(value, str):
            found.add(value)
    return found


@pytest.mark.parametrize("condition", [*Condition, "wrong_token"])
@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_nothing_of_a_secret_or_an_account_reaches_a_log(
    tmp_path: Path, captured: io.StringIO, dialect: str, condition: Condition | str
) -> None:
    district = standing_district(seed=3, at=AT, institutions=12)
    with SandboxBanks(
        district=district, clock=FixedClock(AT), dialects={BANK: dialect}, slow_seconds=0.02, silent_seconds=0.02
    ) as banks:
        section = {**banks.settings(BANK), "retries": 0, "circuit_failures": 2}
        if isinstance(condition, Condition):
            banks.override(BANK, condition)
        elif "token" in section:
            section["token"] = "geheim-99887766554433"
        config = tmp_path / "escrow-monitor.toml"
        config.write_text(tomli_w.dumps({"banks": {BANK: section}}), encoding="utf-8")
        with assembled(load_settings(config, {}), clock=FixedClock(AT)) as app:
            app.database.upgrade()
            with app.database.write() as session:
                save_institutions(session, district.institutions(), now=AT)
                save_accounts(session, [one for one in district.accounts() if one.bank == BANK], now=AT)
            for name, shard in (("pull-balances", BANK), ("check-balances", "all"), ("watch-rounds", "all")):
                app.perform(name, shard, AT)
            with app.database.read() as session:
                details = " ".join(run.detail for run in recent(session))
    said = captured.getvalue() + details
    assert said.count("round.finished") == 3
    hidden = secrets_of(section) | {one.account_no for one in district.accounts()}
    hidden |= {one.external_id for one in district.accounts() if one.external_id}
    hidden |= {one.name for one in district.institutions()}
    assert len(hidden) > 24
    assert [text for text in hidden if text in said] == []
