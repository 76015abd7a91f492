"""From the arrays of one morning to the outlook of one institution.

    assess(view), forecast(view), levels  --one row-->  Outlook
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from escrow_monitor.domain.closure.forecast import Forecast, breach_sentence
from escrow_monitor.domain.closure.index import SHOWN, Assessment, Model
from escrow_monitor.domain.closure.levels import Levels
from escrow_monitor.domain.closure.outlook import LEVELS, Ahead, Outlook, Reason
from escrow_monitor.domain.closure.series import Bools, Floats, View
from escrow_monitor.domain.closure.signals import explain
from escrow_monitor.domain.closure.windows import SILENT_DAYS, Facts
from escrow_monitor.domain.money import Money

CURRENCY = "CNY"
"""What families pay in; day figures are in its fen."""
REASONS_MAX = 5
AHEAD_DAYS = (0, 7, 14, 30, 45, 60, 75, 90)
"""Of which days ahead the forecast is kept."""
@dataclass(frozen=True, kw_only=True)
class Morning:
    """All that one morning says of many institutions, a row each."""

    view: View
    assessment: Assessment
    forecast: Forecast
    levels: Levels
    model: Model

    @cached_property
    def unsure(self) -> Bools:
        """Of whom nothing good can be said."""
        return unsure(self.view, self.assessment, self.model)

    @cached_property
    def _books(self) -> Bools:
        return Facts(self.view).has_books

    @cached_property
    def _held(self) -> Floats:
        return self.view.last("balance_fen")

    @cached_property
    def _owed(self) -> Floats:
        return self.view.last("owed_fen")

    def outlook(self, row: int, uscc: str, *, known_reasons: Collection[str] | None, why: bool = True) -> Outlook:
        """What it says of the institution in one row. `known_reasons`: those of a week ago, None if not watched.

        `why` False leaves the reasons out: nobody asks for those of the many of which nothing is told.
        """
        assessment, ahead = self.assessment, self.forecast
        known = bool(ahead.known[row])
        zh, en = breach_sentence(ahead, row)
        early, middle, late = (int(days) for days in ahead.breach_days[row])
        return Outlook(
            uscc=uscc, on=self.view.day, level=LEVELS[int(self.levels.held[row])],
            said=LEVELS[int(assessment.level[row])],
            chances={days: float(chance[row]) for days, chance in assessment.chance.items()},
            chance_high=float(assessment.chance_high[SHOWN][row]), balance=_money(self._held[row]),
            owed=_money(self._owed[row]), exposed=_money(ahead.short[row, 0, 1]),
            exposed_then=_money(ahead.short[row, -1, 1]) if known else None,
            ahead=_ahead(row, ahead) if known else (), breach_zh=zh, breach_en=en,
            breach_in=(early, middle, late) if known else None,
            reasons=tuple(_reasons(row, self.view, assessment, known_reasons)) if why else (),
            unsure=bool(self.unsure[row]), model=self.model.version, books=bool(self._books[row]),
        )


def unsure(view: View, assessment: Assessment, model: Model) -> Bools:
    """Where nothing good can be said: the bank is silent, or what is unknown could by itself make it orange."""
    silent = view.silence() > SILENT_DAYS
    return np.asarray(silent | (assessment.chance_high[SHOWN] >= model.orange), dtype=np.bool_)


def _money(value: float) -> Money:
    return Money(round(float(value)), CURRENCY)


def _ahead(row: int, forecast: Forecast) -> tuple[Ahead, ...]:
    balance, owed = np.rint(forecast.balance[row]), np.rint(forecast.owed[row])
    return tuple(
        Ahead(days, _three(balance[days]), _three(owed[days])) for days in AHEAD_DAYS if days < balance.shape[0]
    )


def _three(values: Floats) -> tuple[int, int, int]:
    low, middle, high = values.tolist()
    return int(low), int(middle), int(high)


def _reasons(row: int, view: View, assessment: Assessment, before: Collection[str] | None) -> Sequence[Reason]:
    """The signals that weigh most, the heaviest first."""
    points, names = assessment.points[row], assessment.signals.names
    speaking = [place for place in np.argsort(-points, kind="stable") if points[place] > 0][:REASONS_MAX]
    found = []
    for place in speaking:
        zh, en = explain(view, row, names[place])
        found.append(Reason(
            name=names[place], points=float(points[place]), zh=zh, en=en,
            new=before is not None and names[place] not in before,
        ))
    return found
