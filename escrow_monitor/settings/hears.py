"""Who listens on a channel and to what: the section `hears` of a channel, the ladder and the office hours it counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import time
from typing import Annotated, Literal

from pydantic import Field, model_validator

from escrow_monitor.domain.calendar import calendar_for
from escrow_monitor.domain.working_time import CLOSES, OPENS
from escrow_monitor.errors import ConfigurationError, PolicyError
from escrow_monitor.settings.section import Section, zone_of

Level = Literal["info", "yellow", "orange", "red"]


class HearsSettings(Section):
    """A subscriber. A channel without this section is told everything at once, as the feed is.

    `districts` are codes or their beginnings, `institutions` credit codes; empty means all. Between `quiet_from` and
    `quiet_to` (by the clock of `zone`) only what is as bad as `wakes` comes; the rest comes when the hours are over.
    What is not red waits `gather_seconds` for what belongs with it. With `after_working_minutes` the channel is a rung
    of the ladder by itself: it hears of what nobody acknowledged for so long while offices were open.
    """

    severity: Level = "info"
    districts: tuple[Annotated[str, Field(pattern=r"^[0-9]{2,6}$")], ...] = ()
    institutions: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    quiet_from: time | None = None
    quiet_to: time | None = None
    wakes: Level = "red"
    zone: str = "Asia/Shanghai"
    gather_seconds: int = Field(default=150, ge=0, le=3600)
    after_working_minutes: int = Field(default=0, ge=0, le=60 * 9 * 30)

    @model_validator(mode="after")
    def _both_ends(self) -> HearsSettings:
        if (self.quiet_from is None) != (self.quiet_to is None):
            raise ValueError("quiet hours have two ends: set quiet_from and quiet_to")
        return self


class OfficeHoursSettings(Section):
    """When offices are open: from `opens` to `closes` by the clock of `zone`, on the working days of `calendar`.

    `calendar` is CN, with its make-up weekends, or an ISO 3166 code such as GB or GB-ENG.
    """

    calendar: str = "CN"
    zone: str = "Asia/Shanghai"
    opens: time = OPENS
    closes: time = CLOSES

    @model_validator(mode="after")
    def _can_be(self) -> OfficeHoursSettings:
        if self.opens.tzinfo is not None or self.closes.tzinfo is not None or self.opens >= self.closes:
            raise ValueError("offices open before they close on the same day: write opens and closes like \"09:00\"")
        try:
            calendar_for(self.calendar)
            zone_of(self.zone)
        except (PolicyError, ConfigurationError) as error:
            raise ValueError(str(error)) from error
        return self


class RungSettings(Section):
    """One rung of the ladder: its channels hear of what nobody has acknowledged for `after_minutes`.

    `counts` says which minutes: "working", those in which offices are open, or "always". Below `severity` nothing comes
    so far.
    """

    name: str = Field(min_length=1, max_length=40)
    after_minutes: int = Field(ge=1, le=60 * 24 * 30)
    counts: Literal["working", "always"] = "working"
    severity: Level = "info"
    channels: tuple[str, ...] = Field(min_length=1)


def check_ladder(rungs: Sequence[RungSettings], channels: Mapping[str, Section]) -> None:
    """Raise ValueError for a ladder that nobody can have meant."""
    met: set[str] = set()
    for name in _repeated(rung.name for rung in rungs):
        raise ValueError(f"alerts.ladder: two rungs are named {name!r}")
    for counts in ("working", "always"):
        minutes = [rung.after_minutes for rung in rungs if rung.counts == counts]
        if minutes != sorted(set(minutes)):
            raise ValueError("alerts.ladder: each rung comes later than the one before: raise its after_minutes")
    for rung in rungs:
        for channel in rung.channels:
            where = f"alerts.ladder: the rung {rung.name!r}"
            if channel not in channels:
                raise ValueError(f"{where} calls {channel!r}, which is no channel: add [channels.{channel}]")
            if channel in met:
                raise ValueError(f"{where} calls {channel!r}, which stands on another rung already")
            section = channels[channel]
            if "hears" not in type(section).model_fields:
                raise ValueError(f"{where} calls {channel!r}, which calls nobody")
            hears: HearsSettings | None = getattr(section, "hears", None)
            if hears is not None and hears.after_working_minutes:
                raise ValueError(f"{where} says when {channel!r} hears: take its after_working_minutes out")
            met.add(channel)


def _repeated(names: Iterable[str]) -> list[str]:
    met: set[str] = set()
    return [name for name in names if name in met or met.add(name)]  # type: ignore[func-returns-value]  # add says nothing
