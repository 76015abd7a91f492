"""Every interface there is can be tried out: the probe shows what was said and read, and nothing of whose it is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import pytest

from escrow_monitor.banks.connector import Pull, PullRequest
from escrow_monitor.banks.probe import probe
from escrow_monitor.clock import ZONE, FixedClock, SystemClock
from escrow_monitor.sandbox.banks import SandboxBanks
from escrow_monitor.sandbox.dialects import DIALECTS
from escrow_monitor.sandbox.district import standing_district
from escrow_monitor.settings import Settings

AT = datetime(2026, 11, 20, 4, 7, tzinfo=UTC)
BANK = "yandu"


def texts_of(value: object) -> list[str]:
    if isinstance(value, Mapping):
        return [text for below in value.values() for text in texts_of(below)]
    if isinstance(value, list | tuple):
        return [text for below in value for text in texts_of(below)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_the_probe_reads_it_and_shows_nobodys_money(dialect: str) -> None:
    district = standing_district(seed=3, at=AT, institutions=12)
    account = next(one for one in district.accounts() if one.bank == BANK)
    with SandboxBanks(district=district, clock=FixedClock(AT), dialects={BANK: dialect}) as banks:
        section = banks.settings(BANK)
        tried = probe(
            Settings.model_validate({"banks": {BANK: section}}),
            PullRequest(account=account, statements_from=AT.astimezone(ZONE).date() - timedelta(days=5)),
            clock=FixedClock(AT), real_now=SystemClock().now,
        )
    assert isinstance(tried.outcome, Pull), tried.refusals
    assert tried.outcome.readings
    assert tried.answered
    assert tried.calls
    assert tried.documents
    assert all(call.status == 200 for call in tried.calls)
    shown = json.dumps(
        [asdict(one) for one in (*tried.calls, *tried.documents, *tried.refusals)] + [dict(tried.configuration)],
        ensure_ascii=False, default=str,
    )
    hidden = {one.account_no for one in district.accounts()} | {one.external_id for one in district.accounts()}
    keys = ("token", "consent_id", "sm2_private_key", "sm4_key", "secrets")
    secret = {text for key in keys for text in texts_of(section.get(key))}
    names = {one.name for one in district.institutions()}
    for text in (hidden | secret | names) - {None}:
        assert str(text) not in shown
    # Our own sections may carry long numbers in patterns; what the bank said may not.
    assert not re.search(r"\d{12,}", "".join(one.text for one in tried.documents))
    assert not re.search(r"\d{12,}", "".join(call.path for call in tried.calls))
