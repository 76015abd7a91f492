"""Levels over the days: raised on the morning that says so, lowered one step only after some quiet mornings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from escrow_monitor.domain.closure.series import Bools, Ints

QUIET_DAYS = 14
"""Mornings below a level before it is lowered by one step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Where each institution stands: 0 nothing, 1 yellow, 2 orange, 3 red; and for how many mornings it was lower."""

    held: Ints
    quiet: Ints


def no_levels(count: int) -> Levels:
    """Before the first morning."""
    return Levels(held=np.zeros(count, dtype=np.int64), quiet=np.zeros(count, dtype=np.int64))


def next_levels(before: Levels, said: Ints, *, days: int | Ints = 1, heard: Bools | None = None) -> Levels:
    """The levels after a morning that says `said`, `days` after the one before.

    A morning on which an institution's bank was silent (`heard` False) raises a level as any other does, but it is no
    quiet one: of that the bank would have to speak.
    """
    lower = said < before.held
    passed = np.full(said.shape, days, dtype=np.int64) if heard is None else np.where(heard, days, 0)
    quiet = np.where(lower, before.quiet + passed, 0)
    falls = lower & (quiet >= QUIET_DAYS)
    held = np.where(falls, np.maximum(before.held - 1, said), np.maximum(before.held, said))
    return Levels(held=held, quiet=np.where(falls, 0, quiet))
