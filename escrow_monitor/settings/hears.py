"""Who listens on a channel and to what: the section `hears` of a channel."""

from __future__ import annotations

from datetime import time
from typing import Annotated, Literal

from pydantic import Field, model_validator

from escrow_monitor.settings.section import Section

Level = Literal["info", "yellow", "orange", "red"]


class HearsSettings(Section):
    """A subscriber. A channel without this section is told everything at once, as the feed is.

    `districts` are codes or their beginnings, `institutions` credit codes; empty means all. Between `quiet_from` and
    `quiet_to` (by the clock of `zone`) only what is as bad as `wakes` comes; the rest comes when the hours are over.
    What is not red waits `gather_seconds` for what belongs with it. With `after_working_minutes` the channel is a rung
    of the ladder: it hears of what nobody acknowledged for so long while offices were open.
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
