"""`/api/v1/accounts`: supervised accounts with their newest balance and standing."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from escrow_monitor.domain.accounts import Mode, Purpose
from escrow_monitor.domain.findings import Level, Standing
from escrow_monitor.records.positions import CheckedAccount, checked_accounts
from escrow_monitor.records.sorted_lists import ACCOUNTS, begins
from escrow_monitor.web.api.sorting import BY, District, sorted_page
from escrow_monitor.web.api.views import (
    TEXT_CHARACTERS_MAX,
    Asked,
    BalanceView,
    ListView,
    balance_view,
    money_text,
)
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Asker


class AskedAccounts(Asked):
    """Filters that all must fit. `margin` is the balance less the floor, lowest first the most is missing."""

    sort: Literal[
        "account_no", "-account_no", "balance", "-balance", "required", "-required", "margin", "-margin", "bank",
        "-bank", "uscc", "-uscc", "below_since", "-below_since", "checked_at", "-checked_at",
    ] = Field(default="account_no", description=BY)
    standing: Standing | None = None
    level: Level | None = None
    bank: str | None = Field(default=None, max_length=TEXT_CHARACTERS_MAX)
    district: District
    uscc: str | None = Field(default=None, max_length=18)
    purpose: Purpose | None = None
    mode: Mode | None = None


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
    def accounts(asked: Annotated[AskedAccounts, Query()], who: Asker) -> ListView[AccountView]:
        """Accounts, with filters, in the order that was asked for."""
        with ports.database.read() as session:
            return sorted_page(
                session, ACCOUNTS, sort=asked.sort, after=asked.after, limit=asked.limit, visible=who.visible,
                given={
                    "standing": asked.standing, "level": asked.level, "bank": asked.bank,
                    "district": begins(asked.district), "uscc": asked.uscc, "purpose": asked.purpose,
                    "mode": asked.mode,
                },
                read=lambda keys: {
                    one.account.account_no: one for one in checked_accounts(session, account_nos=keys, limit=None)
                },
                view=account_view,
            )

    @routes.get("/accounts/{account_no}")
    def account(account_no: str, who: Asker) -> AccountView:
        """One account."""
        missing = Problem(404, f"no account {account_no[:40]!r} is registered")
        with ports.database.read() as session:
            found = checked_accounts(session, account_nos=[account_no])
            if not found:
                raise missing
            who.check_sees(session, found[0].account.uscc, missing, what="account")
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
