"""What the closure watch says of one institution on one morning: its level, why, and what is at stake.

    arrays of a morning  --morning.py, one row-->  Outlook  -->  a sentence, an alert, a page

This file knows no arrays: whoever shows an outlook need not load them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

from escrow_monitor.domain.findings import Level
from escrow_monitor.domain.money import Money

LEVELS: tuple[Level | None, ...] = (None, Level.YELLOW, Level.ORANGE, Level.RED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One signal that speaks: its name, its points of log odds, and what it saw. `new`: not there a week before."""

    name: str
    points: float
    zh: str
    en: str
    new: bool = False


class Ahead(NamedTuple):
    """The forecast so many days ahead, in fen: 10 %, 50 % and 90 % of the balance and of what families are owed."""

    days: int
    balance: tuple[int, int, int]
    owed: tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """One institution on the morning of `on`. `level` is held over the days; `said` is this morning's alone.

    `chances`: by horizon in days, between 0 and 1; `chance_high` within 60 days if all that is unknown were at its
    worst. `balance` and `owed` at the last known day; `exposed` is families' money that no balance stands
    behind, `exposed_then` the same at the end of the forecast. `ahead` is the forecast, empty where none can be made.
    `breach_in`: days until the account holds less than it must (10 %, 50 %, 90 %), -1 for not within 90 days; None
    where it is not known; `breach_zh` and `breach_en` say it. `unsure`: too much is unknown to say that
    nothing is wrong.
    """

    uscc: str
    on: date
    level: Level | None
    said: Level | None
    chances: Mapping[int, float]
    chance_high: float
    balance: Money
    owed: Money
    exposed: Money
    exposed_then: Money | None
    ahead: tuple[Ahead, ...]
    breach_in: tuple[int, int, int] | None
    breach_zh: str
    breach_en: str
    reasons: tuple[Reason, ...]
    unsure: bool
    model: str
    books: bool = True
    """False where no contract is recorded: then `owed` and what is exposed are not 0 but unknown."""

    def as_json(self) -> dict[str, Any]:
        """JSON-ready, complete: `outlook_of` reads it back."""
        return {
            "uscc": self.uscc, "on": self.on.isoformat(), "level": self.level, "said": self.said,
            "chances": {str(days): round(chance, 4) for days, chance in self.chances.items()},
            "chance_high": round(self.chance_high, 4), "currency": self.owed.currency,
            "balance_fen": self.balance.minor_units, "owed_fen": self.owed.minor_units,
            "exposed_fen": self.exposed.minor_units,
            "exposed_then_fen": None if self.exposed_then is None else self.exposed_then.minor_units,
            "ahead": [[one.days, list(one.balance), list(one.owed)] for one in self.ahead],
            "breach_in": None if self.breach_in is None else list(self.breach_in),
            "breach_zh": self.breach_zh, "breach_en": self.breach_en,
            "reasons": [
                {"name": one.name, "points": round(one.points, 3), "zh": one.zh, "en": one.en, "new": one.new}
                for one in self.reasons
            ],
            "unsure": self.unsure, "model": self.model, "books": self.books,
        }


def outlook_of(document: Mapping[str, Any]) -> Outlook:
    """Read back what `as_json` wrote."""
    def money(name: str) -> Money:
        return Money(int(document[name]), str(document["currency"]))

    def level(name: str) -> Level | None:
        return None if document[name] is None else Level(document[name])

    breach = document["breach_in"]
    return Outlook(
        uscc=str(document["uscc"]), on=date.fromisoformat(document["on"]), level=level("level"), said=level("said"),
        chances={int(days): float(chance) for days, chance in document["chances"].items()},
        chance_high=float(document["chance_high"]), balance=money("balance_fen"), owed=money("owed_fen"),
        exposed=money("exposed_fen"),
        exposed_then=None if document["exposed_then_fen"] is None else money("exposed_then_fen"),
        breach_zh=str(document["breach_zh"]), breach_en=str(document["breach_en"]),
        ahead=tuple(Ahead(days, tuple(balance), tuple(owed)) for days, balance, owed in document["ahead"]),
        breach_in=None if breach is None else (int(breach[0]), int(breach[1]), int(breach[2])),
        reasons=tuple(Reason(**one) for one in document["reasons"]), unsure=bool(document["unsure"]),
        model=str(document["model"]), books=bool(document["books"]),
    )
