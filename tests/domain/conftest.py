"""Accounts and laws to examine, with one thing changed at a time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime

import pytest

from escrow_monitor.domain.accounts import Account, BalanceKind, Known
from escrow_monitor.domain.money import parse_amount
from escrow_monitor.domain.policy import EffectivePolicy, PolicyBook, parse_pack
from escrow_monitor.domain.positions import Position

ACCOUNT = Account(account_no="6222000000000001", bank="bank-a", connector="berlin_group", currency="CNY")
SOURCE = {"title": "某办法", "document_no": "某教〔2020〕1号", "found": "F"}


@pytest.fixture
def account() -> Account:
    return ACCOUNT


@pytest.fixture
def clause() -> Callable[..., dict[str, object]]:
    """A clause as TOML would give it: `clause("fixed", amount="100.00")`."""

    def make(kind: str, *, clause_id: str | None = None, **terms: object) -> dict[str, object]:
        return {
            "id": clause_id or f"t/{kind}", "kind": kind, "title": f"条款 {kind}", "title_en": f"clause {kind}",
            "effective_from": date(2020, 1, 1), "verified": True, "source": SOURCE, **terms,
        }

    return make


@pytest.fixture
def pack() -> Callable[..., dict[str, object]]:
    """A pack as TOML would give it: `pack(clause(...), jurisdiction="510300")`."""

    def make(*clauses: dict[str, object], jurisdiction: str = "000000", **more: object) -> dict[str, object]:
        return {
            "id": f"t-{jurisdiction}".lower(), "title": "测试", "title_en": "test", "jurisdiction": jurisdiction,
            "clause": list(clauses), **more,
        }

    return make


@pytest.fixture
def law(pack: Callable[..., dict[str, object]]) -> Callable[..., EffectivePolicy]:
    """What holds on 2026-11-20 (a Friday) where these clauses are the nation's."""

    def make(*clauses: dict[str, object], on: date = date(2026, 11, 20), account: Account = ACCOUNT, **more: object):
        book = PolicyBook([parse_pack(pack(*clauses, **more), where="t.toml")])
        return book.effective(institution=None, account=account, on=on)

    return make


@pytest.fixture
def at() -> Callable[[str], datetime]:
    """An instant from Shanghai's wall clock: `at("2026-11-20 10:00")`."""
    return lambda text: datetime.fromisoformat(f"{text}:00+08:00").astimezone(UTC)


@pytest.fixture
def closing(at: Callable[[str], datetime]) -> Callable[..., Known]:
    """A final closing booked balance: `closing("99.00", "2026-11-19")`."""

    def make(amount: str, on: str = "2026-11-19", *, currency: str = "CNY", final: bool = True) -> Known:
        return Known(
            amount=parse_amount(amount, currency), kind=BalanceKind.BOOKED_CLOSING, on=date.fromisoformat(on),
            as_of=at(f"{on} 23:59"), fetched_at=at(f"{on} 23:59"), final=final,
        )

    return make


@pytest.fixture
def intraday(at: Callable[[str], datetime]) -> Callable[..., Known]:
    """An intraday booked balance: `intraday("99.00", "2026-11-20 09:00")`."""

    def make(amount: str, when: str) -> Known:
        return Known(
            amount=parse_amount(amount, "CNY"), kind=BalanceKind.BOOKED_INTRADAY, on=date.fromisoformat(when[:10]),
            as_of=at(when), fetched_at=at(when), final=False,
        )

    return make


@pytest.fixture
def held(at: Callable[[str], datetime]) -> Callable[..., Known]:
    """What the bank says is held: `held("5.00", "2026-11-19")`."""

    def make(amount: str, on: str) -> Known:
        return Known(
            amount=parse_amount(amount, "CNY"), kind=BalanceKind.HELD, on=date.fromisoformat(on),
            as_of=at(f"{on} 23:59"), fetched_at=at(f"{on} 23:59"), final=True,
        )

    return make


@pytest.fixture
def position() -> Callable[..., Position]:
    """An account of which nothing is known but what is said here."""

    def make(**known: object) -> Position:
        return Position(**{"account": ACCOUNT, **known})  # type: ignore[arg-type]  # names are checked at run time

    return make


