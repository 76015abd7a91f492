"""A small district: two banks, three institutions, six accounts."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from escrow_monitor.domain.accounts import Account, BalanceKind, Reading
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.statements import Entry, Statement, StatementKind, numbered
from escrow_monitor.records.accounts import save_accounts, save_institutions
from escrow_monitor.records.bank.pulls import PullRecord
from escrow_monitor.records.database import Database

NOW = datetime(2026, 11, 20, 8, 0, 13, 250_000, tzinfo=UTC)
INSTITUTIONS = tuple(
    Institution(uscc=f"9151030000000000{n}", name=f"第{n}艺术培训学校", district=district)
    for n, district in enumerate(("510300", "371082", None))
)
ACCOUNTS = tuple(
    Account(
        account_no=f"6217000{n}", bank="northbank" if n < 4 else "southbank", connector="berlin_group",
        currency="CNY", uscc=INSTITUTIONS[n % 3].uscc, external_id=f"ext-{n}",
    )
    for n in range(6)
)


@pytest.fixture
def district(database: Database) -> Database:
    """A database in which the small district is registered."""
    with database.write() as session:
        save_institutions(session, INSTITUTIONS, now=NOW)
        save_accounts(session, ACCOUNTS, now=NOW)
    return database


def reading_of(
    account: Account = ACCOUNTS[0], fen: int = 100_00, *, at: datetime = NOW,
    kind: BalanceKind = BalanceKind.BOOKED_INTRADAY, final: bool = False, fetched_at: datetime | None = None,
) -> Reading:
    """A balance stated at `at` and fetched a second later."""
    return Reading(
        account_no=account.account_no, kind=kind, amount=Money(fen, account.currency), on=at.date(), as_of=at,
        fetched_at=fetched_at or at + timedelta(seconds=1), final=final, source="berlin_group", raw_sha256="ab" * 32,
    )


def pull_of(account: Account = ACCOUNTS[0], *readings: Reading, at: datetime = NOW, **changes: object) -> PullRecord:
    """A bank's answer with these balances."""
    fields: dict[str, object] = {
        "account_no": account.account_no, "bank": account.bank, "readings": readings, "started_at": at,
        "finished_at": at + timedelta(seconds=1),
    }
    return PullRecord(**{**fields, **changes})  # type: ignore[arg-type]


def statement_of(
    day: date, opening: int, *amounts: int, account: Account = ACCOUNTS[0], to: date | None = None,
    texts: tuple[str, ...] | None = None, kind: StatementKind = StatementKind.END_OF_DAY, number: str = "",
    closing: int | None = None, currency: str = "CNY",
) -> Statement:
    """A statement of one day (or until `to`, everything booked on the first) whose sums tie unless told otherwise."""
    entries = numbered(
        Entry(
            account_no=account.account_no, booked_on=day, amount=Money(amount, currency),
            text=texts[place] if texts else f"entry {place}",
        )
        for place, amount in enumerate(amounts)
    )
    final = kind is StatementKind.END_OF_DAY
    return Statement(
        account_no=account.account_no, currency=currency, kind=kind, number=number,
        opening=Money(opening, currency) if final else None, opening_on=day if final else None,
        closing=Money(opening + sum(amounts) if closing is None else closing, currency) if final else None,
        closing_on=(to or day) if final else None, covers_from=day if final else None,
        covers_to=(to or day) if final else None, entries=entries, where=f"{day}.sta:1",
    )
