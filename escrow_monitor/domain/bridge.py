"""What came of a reconciliation: the lines of the bridge, what is missing, and the figures of the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from escrow_monitor.domain.accounts import Mode
from escrow_monitor.domain.bridge_words import LABELS, WHYS, Label, Why
from escrow_monitor.domain.findings import CONTINUOUS, Sentence, Value, as_text
from escrow_monitor.domain.money import Money

CURRENCY_DEFAULT = "CNY"


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeLine:
    """One line: what it adds to bank less required, of how many items, since when, and the ids of some of them."""

    label: Label
    impact: Money
    count: int
    oldest_on: date | None = None
    evidence: tuple[str, ...] = ()

    @property
    def sentence(self) -> Sentence:
        """What the line says."""
        return LABELS[self.label]


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """One reason why a run is not complete, with what fills its sentence and the ids that it is about."""

    why: Why
    values: tuple[tuple[str, Value], ...] = ()
    evidence: tuple[str, ...] = ()

    @property
    def zh(self) -> str:
        """In Chinese."""
        return WHYS[self.why].zh.format_map({name: as_text(value) for name, value in self.values})

    @property
    def en(self) -> str:
        """In English."""
        return WHYS[self.why].en.format_map({name: as_text(value) for name, value in self.values})


@dataclass(frozen=True, kw_only=True)
class Reconciliation:
    """What came of one run. net = bank - required = the lines + residual.

    `own` is what our own roll-forward of the entries gives. `known_through` is the last day of which every account's
    statement is there. `earned` is what may have been drawn since coverage began, `released` what was; `idle_*` are
    days on which money was released although no lesson had been taught since the release before.
    `unreceived` is what is certain of NOT_RECEIVED and UNCLEAR: charges past their day of which no money came.
    """

    uscc: str
    currency: str
    on: date
    modes: frozenset[Mode]
    began_on: date | None
    known_through: date | None
    required: Money
    own: Money
    bank: Money
    lines: tuple[BridgeLine, ...]
    missing: tuple[Missing, ...]
    earned: Money
    released: Money
    idle_days: int = 0
    idle_amount: Money | None = None
    idle_last_on: date | None = None
    unreceived: Money
    unreceived_count: int = 0
    unreceived_since: date | None = None
    unreceived_example: str | None = None

    @property
    def net(self) -> Money:
        """Bank less required."""
        return self.bank - self.required

    @property
    def residual(self) -> Money:
        """What the lines leave unexplained: nothing, or the run is not complete."""
        return self.net - _sum((line.impact for line in self.lines), self.currency)

    @property
    def period(self) -> str:
        """The period of its alerts: one a currency, that of the house without a name of its own."""
        return CONTINUOUS if self.currency == CURRENCY_DEFAULT else f"{CONTINUOUS}:{self.currency}"

    @property
    def complete(self) -> bool:
        """Whether everything was known and nothing is left over."""
        return not self.missing

    @cached_property
    def by_label(self) -> Mapping[Label, BridgeLine]:
        """The lines by what they are made of."""
        return {line.label: line for line in self.lines}

    def impact(self, label: Label) -> Money:
        """What one line adds; nothing where it is not there."""
        line = self.by_label.get(label)
        return Money(0, self.currency) if line is None else line.impact

    @property
    def ahead(self) -> Money:
        """What was drawn beyond what may have been drawn since coverage began; below zero: so much lies there still."""
        return self.released - self.earned

    @property
    def opening_surplus(self) -> Money:
        """What lay there beyond what was owed when coverage began: it may be drawn as well. Never below zero."""
        return max(self.impact(Label.OPENING), Money(0, self.currency))

    @property
    def ahead_unexcused(self) -> Money:
        """What was drawn ahead of teaching and was neither there before coverage nor the institution's own money."""
        own = max(self.impact(Label.PAID_IN), Money(0, self.currency))
        return max(self.ahead - self.opening_surplus - own, Money(0, self.currency))

    @property
    def is_wrong(self) -> bool:
        """Whether a person must look: it is not complete, or something is not as it should be."""
        amounts = (self.unreceived, self.ahead_unexcused if Mode.CUSTODY in self.modes else None)
        return (
            not self.complete or any(one is not None and one.minor_units > 0 for one in amounts)
            or not _WRONG.isdisjoint(self.by_label)
        )

    def as_json(self) -> dict[str, object]:
        """JSON-ready, the same bytes for the same run."""
        return {
            "uscc": self.uscc, "currency": self.currency, "day": self.on.isoformat(), "complete": self.complete,
            "is_wrong": self.is_wrong,
            "began_on": _iso(self.began_on), "known_through": _iso(self.known_through),
            "modes": sorted(mode.value for mode in self.modes),
            **_money("required", self.required), **_money("own", self.own), **_money("bank", self.bank),
            **_money("net", self.net), **_money("residual", self.residual),
            "lines": [
                {
                    "label": line.label.value, **_money("impact", line.impact), "count": line.count,
                    "oldest_on": _iso(line.oldest_on), "zh": line.sentence.zh, "en": line.sentence.en,
                    "evidence": list(line.evidence),
                }
                for line in self.lines
            ],
            "incomplete": [
                {"why": one.why.value, "zh": one.zh, "en": one.en, "evidence": list(one.evidence)}
                for one in self.missing
            ],
            **_money("earned", self.earned), **_money("released", self.released),
            **_money("released_ahead", self.ahead_unexcused),
            "releases_without_lessons": {
                "days": self.idle_days, "amount": None if self.idle_amount is None else self.idle_amount.text,
                "last_on": _iso(self.idle_last_on),
            },
            "not_received": {
                "count": self.unreceived_count, **_money("amount", self.unreceived),
                "since": _iso(self.unreceived_since), "example": self.unreceived_example,
            },
        }


BREAKS = frozenset({
    Label.NOT_RECEIVED, Label.EARLY_CREDIT, Label.CREDIT_WITHOUT_CHARGE, Label.UNCLEAR, Label.MATCH_DIFFERENCE,
    Label.REFUND_NOT_RECORDED, Label.REFUND_NOT_SEEN, Label.UNCLEAR_REVERSAL, Label.IMPOSSIBLE,
})
"""Lines of items that a person has to clear up; what is in transit or was drawn is none."""
_WRONG = frozenset({Label.BANK_DIFFERS, Label.REFUND_NOT_SEEN, Label.REFUND_NOT_RECORDED})
"""Lines that should not be there."""


def _iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def _money(name: str, amount: Money) -> dict[str, object]:
    return {name: amount.text, f"{name}_fen": amount.minor_units}


def _sum(amounts: Iterable[Money], currency: str) -> Money:
    return Money(sum(amount.minor_units for amount in amounts), currency)
