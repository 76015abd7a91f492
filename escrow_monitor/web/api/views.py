"""The JSON shapes that more than one noun uses, and what every list has in common."""

from __future__ import annotations

from datetime import date, datetime
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from escrow_monitor.domain.accounts import Balance, Known
from escrow_monitor.domain.money import decimal_text

LIMIT_DEFAULT = 100
LIMIT_MAX = 1_000
TEXT_CHARACTERS_MAX = 100
AFTER_CHARACTERS_MAX = 1_000

V = TypeVar("V", bound=BaseModel)


class Asked(BaseModel):
    """What every list can be asked. A parameter it does not know is an error: a typo must not drop a filter."""

    model_config = ConfigDict(extra="forbid")

    after: str = Field(
        default="", max_length=AFTER_CHARACTERS_MAX, description="go on after the page that gave this as its `after`"
    )
    limit: int = Field(default=LIMIT_DEFAULT, ge=1, le=LIMIT_MAX)


class ListView(BaseModel, Generic[V]):
    """One page of a list. `after` is what to ask for the next page with; null when this is the last."""

    items: list[V]
    after: str | None


class BalanceView(BaseModel):
    """One balance a bank stated."""

    amount: str
    amount_fen: int
    kind: str
    on: date
    as_of: datetime
    fetched_at: datetime
    final: bool


def balance_view(balance: Balance) -> BalanceView | None:
    """A known balance; null for an unknown one, which is not zero."""
    if not isinstance(balance, Known):
        return None
    return BalanceView(
        amount=balance.amount.text, amount_fen=balance.amount.minor_units, kind=balance.kind.value, on=balance.on,
        as_of=balance.as_of, fetched_at=balance.fetched_at, final=balance.final,
    )


def money_text(fen: int | None, currency: str) -> str | None:
    """Plain decimal text of minor units; null stays null."""
    return None if fen is None else decimal_text(fen, currency)


def page_of(items: list[V], keys: list[str], limit: int) -> ListView[V]:
    """A page from items read with `limit + 1`: one too many says there is more. `keys` are what `after` takes."""
    has_more = len(items) > limit
    return ListView[V](items=items[:limit], after=keys[limit - 1] if has_more else None)
