"""What every section of the configuration is made of."""

from __future__ import annotations

from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field

from escrow_monitor.errors import ConfigurationError

Seconds = Annotated[int, Field(gt=0, le=604_800)]


class Section(BaseModel):
    """A table of the configuration file: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def zone_of(name: str) -> ZoneInfo:
    """The time zone of that name, or a ConfigurationError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigurationError(f"{name!r} is not a time zone: write it like Asia/Shanghai") from error
