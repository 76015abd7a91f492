"""`/api/v1/accounts`: supervised accounts with their newest balance and standing."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from escrow_monitor.domain.findings import Level, Standing
from escrow_monitor.records.positions import CheckedAccount, checked_accounts
from escrow_monitor.web.api.views import (
    TEXT_CHARACTERS_MAX,
    Asked,
    BalanceView,
    ListView,
    balance_view,
    money_text,
    page_of,
)
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem


class AskedAccounts(Asked):
    """Filters that all must fit."""

    standing: Standing | None = None
    level: Level | None = None
    bank: str | None = Field(default=None, max_length=TEXT_CHARACTERS_MAX)
    district: str | None = Field(default=None, max_length=6)
    uscc: str | None = Field(default=None, max_length=18)


class AccountView(BaseModel):
    """One account. `required` is the floor, a lower bound unless `required_complete`; null is unknown, never zero."""

    account_no: str
    uscc: str | None
    institution: str | None
    district: str | None
    bank: str
    connector: str
    currency: str
    purpose: str
    mode: str
    opened_on: date | None
    standing: Standing
    level: Level | None
    required: str | None
    required_fen: int | None
    required_complete: bool
    balance: str | None
    balance_fen: int | None
    below_since: datetime | None
    checked_at: datetime | None
    booked: BalanceView | None
    closing: BalanceView | None
    held: BalanceView | None
    available: BalanceView | None
    last_answer_at: datetime | None
    last_refusal: str | None
    findings: list[dict[str, object]]


def router(ports: WebPorts) -> APIRouter:
    """The routes of this noun."""
    routes = APIRouter(tags=["accounts"])

    @routes.get("/accounts")
    def accounts(asked: Annotated[AskedAccounts, Query()]) -> ListView[AccountView]:
        """Accounts by number, with filters."""
        with ports.database.read() as session:
            found = checked_accounts(
                session, standing=asked.standing, level=asked.level, bank=asked.bank, district=asked.district,
                uscc=asked.uscc, after=asked.after, limit=asked.limit + 1,
            )
        views = [account_view(item) for item in found]
        return page_of(views, [view.account_no for view in views], asked.limit)

    @routes.get("/accounts/{account_no}")
    def account(account_no: str) -> AccountView:
        """One account."""
        with ports.database.read() as session:
            found = checked_accounts(session, account_nos=[account_no])
        if not found:
            raise Problem(404, f"no account {account_no[:40]!r} is registered")
        return account_view(found[0])

    return routes


def account_view(item: CheckedAccount) -> AccountView:
    """The JSON shape of an account."""
    account, institution, standing = item.account, item.institution, item.standing
    return AccountView(
        account_no=account.account_no, uscc=account.uscc, institution=institution.name if institution else None,
        district=institution.district if institution else None, bank=account.bank, connector=account.connector,
        currency=account.currency, purpose=account.purpose.value, mode=account.mode.value, opened_on=account.opened_on,
        standing=standing.standing, level=standing.level,
        required=money_text(standing.required_fen, account.currency), required_fen=standing.required_fen,
        required_complete=standing.required_complete, balance=money_text(standing.balance_fen, account.currency),
        balance_fen=standing.balance_fen, below_since=standing.below_since, checked_at=item.checked_at,
        booked=balance_view(item.booked), closing=balance_view(item.closing),
        held=balance_view(item.held), available=balance_view(item.available), last_answer_at=item.last_answer_at,
        last_refusal=item.last_refusal.value if item.last_refusal else None,
        findings=[dict(finding) for finding in standing.findings],
    )
