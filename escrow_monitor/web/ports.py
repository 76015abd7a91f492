"""What the web needs from outside, as one frozen value that wiring fills in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from escrow_monitor.banks.formats.csv_profile import Profile
from escrow_monitor.clock import ZONE, Clock
from escrow_monitor.domain.policy import PolicyBook
from escrow_monitor.metrics import Metrics
from escrow_monitor.policies import load_policies
from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence.seal_keys import SealKey
from escrow_monitor.web.limits import WITHOUT, Rates
from escrow_monitor.web.oidc import Provider

ANSWER_AGE_SECONDS_MAX = 0.25
Progress = Callable[[int, int | None], None]

STREAMS_MAX = 200
BEAT_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One condition of being ready. `detail` goes to the log, not to the stranger who asks `/readyz`."""

    name: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedRound:
    """A round the clock starts, and how long after its last success it counts as late."""

    name: str
    late_after: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class LawFolder:
    """The folder of packs that people may change, and all packs as they stand on disk now."""

    path: Path
    read: Callable[[], PolicyBook]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedBackTest:
    """Which past is to be replayed, a sandbox city's or what is recorded, and the policies to compare beside ours."""

    policies: tuple[str, ...]
    city: bool
    institutions: int = 120
    years: int = 2
    seed: int = 77
    hindsight: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WebPorts:
    """Everything the web is given.

    `home_url` is how readers reach us: it is in every feed link. `rounds` are those that must run, the one named
    "check-balances" being the one that judges accounts. `checks` adds conditions to `/readyz` (is the clock fresh).
    `channels` are the names of the channels that are owed what a person's decision publishes.
    `reconcile` does what was asked for under an id; without it, a daemon takes it up.
    `policies` are those that shipped, unless others are given.
    `answer_age_seconds_max` bounds how old a feed's head or a key's validity may be: with 0 each request asks anew.
    `law` is where packs that people change stand; without it none can be. `back_test` replays a past and says how each
    method would have done. `seal_key` signs the end of an export of the audit record.
    `profiles` are those by which CSV and XLSX statements are read.
    `real_now` is the machine's time, where `clock` replays the past: sessions live in it.
    `oidc` is where people sign in who have no password here.
    `rates` say how often one caller may ask; without, as often as they like.
    An event stream that has nothing to say says so every `beat_seconds`, and its key is looked at again.
    """

    database: Database
    clock: Clock
    metrics: Metrics
    home_url: str
    rounds: Sequence[ExpectedRound] = ()
    checks: Callable[[], Sequence[Check]] = tuple
    channels: Sequence[str] = ()
    reconcile: Callable[[str], object] | None = None
    policies: PolicyBook = field(default_factory=load_policies)
    law: LawFolder | None = None
    back_test: Callable[[AskedBackTest, Progress], Mapping[str, Any]] | None = None
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    seal_key: Callable[[], SealKey | None] = lambda: None
    zone: ZoneInfo = ZONE
    answer_age_seconds_max: float = ANSWER_AGE_SECONDS_MAX
    streams_max: int = STREAMS_MAX
    rates: Rates = WITHOUT
    beat_seconds: float = BEAT_SECONDS
    real_now: Callable[[], datetime] | None = None
    oidc: Provider | None = None

    def people_now(self) -> datetime:
        """The time by which people sign in and out."""
        return self.clock.now() if self.real_now is None else self.real_now()
