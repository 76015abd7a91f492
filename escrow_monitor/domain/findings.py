"""What a rule concluded about one subject: met, breached or unknown, and one sentence why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from fractions import Fraction
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from escrow_monitor.domain.money import Money

CONTINUOUS = "continuous"
"""The period of a condition that has no calendar period of its own."""

Value: TypeAlias = Money | Fraction | date | datetime | int | str | None
Figure: TypeAlias = str | int | None


class Standing(StrEnum):
    """The three answers of a rule. Unknown is never met."""

    MET = "met"
    BREACHED = "breached"
    UNKNOWN = "unknown"


class Level(StrEnum):
    """How bad: info, yellow (关注), orange (预警), red (严重). Order by `rank`."""

    INFO = "info"
    YELLOW = "yellow"
    ORANGE = "orange"
    RED = "red"

    @property
    def rank(self) -> int:
        """1 (info) to 4 (red)."""
        return _RANK[self]


_RANK = {Level.INFO: 1, Level.YELLOW: 2, Level.ORANGE: 3, Level.RED: 4}


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence in both languages, its figures' names in braces: `holds {balance}, the floor is {required}`."""

    zh: str
    en: str


_NO_VALUES: Mapping[str, Value] = MappingProxyType({})


# A named tuple, as are others that a round builds by the hundred thousand: a frozen dataclass costs thrice that.


class Finding(NamedTuple):
    """What one rule concluded about one account (or bank, or round) for one period.

    `level` is None when nobody need hear of it. `holds` is the level that an alert already open keeps although the
    figure has come back across its threshold by less than the margin (hysteresis); never below `level`.
    `values` fill the sentence and are the figures: one source for both. `as_of` is the time of the evidence.
    `recheck_at` is the earliest instant at which the answer can change by the passing of time alone.
    """

    rule: str
    subject: str
    standing: Standing
    sentence: Sentence
    as_of: datetime
    period: str = CONTINUOUS
    level: Level | None = None
    holds: Level | None = None
    values: Mapping[str, Value] = _NO_VALUES
    recheck_at: datetime | None = None

    @property
    def why_zh(self) -> str:
        """The sentence in Chinese, figures filled in."""
        return self.sentence.zh.format_map({name: as_text(value) for name, value in self.values.items()})

    @property
    def why_en(self) -> str:
        """The sentence in English, figures filled in."""
        return self.sentence.en.format_map({name: as_text(value) for name, value in self.values.items()})

    @property
    def figures(self) -> dict[str, Figure]:
        """The values, JSON-ready: money as plain decimal text and beside it `<name>_fen`; ratios as decimal text."""
        result: dict[str, Figure] = {}
        for name, value in self.values.items():
            if isinstance(value, Money):
                result[name] = value.text
                result[f"{name}_fen"] = value.minor_units
            elif isinstance(value, int):
                result[name] = value
            else:
                result[name] = None if value is None else as_text(value)
        return result


def as_text(value: Value) -> str:
    """Write a value as people read it in a sentence: `99.00 CNY`, `0.8312`, `2026-11-20`."""
    if isinstance(value, Money):
        return str(value)
    if isinstance(value, Fraction):
        return _ratio_text(value)
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, date):
        return value.isoformat()
    return "-" if value is None else str(value)


def _ratio_text(value: Fraction) -> str:
    """Four decimals, cut towards zero: a coverage of 0.99999 must not read as 1.0000."""
    scaled = int(abs(value) * 10_000)
    return f"{'-' if value < 0 else ''}{scaled // 10_000}.{scaled % 10_000:04d}"


def account_subject(account_no: str) -> str:
    """The subject of findings and alerts about an account."""
    return f"account:{account_no}"


def institution_subject(uscc: str) -> str:
    """The subject of findings and alerts about an institution."""
    return f"institution:{uscc}"


def round_subject(name: str) -> str:
    """The subject of findings and alerts about a round."""
    return f"round:{name}"
