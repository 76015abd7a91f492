"""Decide who hears what and when: subscriptions, inhibition, silences, quiet hours, the ladder, storms. Pure.

Everything is published in the feed before this is asked, and owed to every channel; here it is decided of one entry for
one subscriber whether it goes now, waits, or is withheld. It is decided anew each time it is due, from what is stored
then and never from the order in which things arrived. What waits is not lost: it goes when what it waits for is over.

    entry                                            goes when                            withheld for good when
    -----------------------------------------------  -----------------------------------  --------------------------
    a call: opened, reopened, escalated, resumed     it is asked for, and nothing of      it ended meanwhile, a newer
                                                     the below holds it back              call says more, or a storm
    news: eased, acknowledged, snoozed, accepted,    the subscriber heard of the alert    they never heard of it
    resolved                                         in this episode

A call waits, with the first of these as the reason: a graver alert speaks for it (inhibited); a silence; a snooze or an
acceptance; the ladder (nobody has acknowledged it for so long, counted in working time); a moment for what belongs
together to come together; quiet hours. Red is not gathered, and silenced only by what two people agreed on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import TypeAlias, TypeVar
from zoneinfo import ZoneInfo

from alerts.alert import Alert, DecisionKind, FeedEntry, Severity, Status, TransitionKind
from alerts.decisions import person, quiet_by, standing

ASK_AGAIN = timedelta(minutes=5)
"""What waits for something whose end nobody knows is looked at again so often."""
CAUSE_INSTITUTIONS_MIN = 3
"""From so many institutions on, what they have in common is the news, not each of them."""
CALLS = frozenset({
    TransitionKind.OPENED, TransitionKind.REOPENED, TransitionKind.ESCALATED, TransitionKind.RESUMED,
})
BEGINNINGS = frozenset({TransitionKind.OPENED, TransitionKind.REOPENED})
STORM_RULE = "alert_storm"
"""The rule of the alert that speaks for a storm: it is never part of one."""


class RouteReason(StrEnum):
    """Why an entry goes to a subscriber, waits or is withheld. Closed: kept with the delivery."""

    # goes
    ASKED_FOR = "asked_for"
    NOBODY_ACKNOWLEDGED = "nobody_acknowledged"
    HEARD_OF = "heard_of"
    # waits
    INHIBITED = "inhibited"
    SILENCED = "silenced"
    SNOOZED = "snoozed"
    ACCEPTED = "accepted"
    ON_THE_LADDER = "on_the_ladder"
    GATHERED = "gathered"
    QUIET_HOURS = "quiet_hours"
    # withheld
    NOT_ASKED_FOR = "not_asked_for"
    NOT_HEARD_OF = "not_heard_of"
    ENDED_MEANWHILE = "ended_meanwhile"
    NEWER_CALL = "newer_call"
    ACKNOWLEDGED = "acknowledged"
    STORM = "storm"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietHours:
    """From `begins` to `ends` by the clock of `zone`, over midnight too; a call as bad as `wakes` goes all the same."""

    begins: time
    ends: time
    zone: ZoneInfo
    wakes: Severity = Severity.RED

    def end_of(self, now: datetime) -> datetime | None:
        """When the quiet hours that run now end; None where none run."""
        there = now.astimezone(self.zone)
        clock = there.time()
        if self.begins <= self.ends:
            running, over_midnight = self.begins <= clock < self.ends, False
        else:
            running, over_midnight = clock >= self.begins or clock < self.ends, clock >= self.begins
        if not running:
            return None
        day = there.date() + timedelta(days=1) if over_midnight else there.date()
        return datetime.combine(day, self.ends, self.zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """Who listens on a channel, and to what. Empty means all.

    `districts` are the beginnings of GB/T 2260 codes: `51` is a province, `510302` a district. `after` is a rung of the
    ladder, named by `rung`: nothing comes before it was open and unacknowledged so long, in working time. What is about
    our own means and names no institution or district is heard by whoever hears all districts and institutions.
    """

    name: str
    severity_min: Severity = Severity.INFO
    districts: tuple[str, ...] = ()
    institutions: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    quiet: QuietHours | None = None
    gather: timedelta = timedelta(0)
    after: timedelta = timedelta(0)
    rung: str = ""

    def asks_for(self, told: FeedEntry | Alert) -> bool:
        """Whether a call, or an alert as it is now, is one that they subscribed to."""
        if told.severity.rank < self.severity_min.rank or (self.rules and told.key.rule not in self.rules):
            return False
        if told.key.rule == STORM_RULE:
            return True  # whoever is spared the single calls must hear of it
        district, uscc = told.labels.get("district", ""), told.labels.get("uscc", "")
        if self.districts and not district.startswith(self.districts):
            return False
        return not self.institutions or uscc in self.institutions


class SilenceState(StrEnum):
    """What has become of a silence."""

    PROPOSED = "proposed"
    TO_COME = "to_come"
    IN_FORCE = "in_force"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Nobody is called about what fits all `matchers` (label or `rule`, `subject`: value) until `ends_at`.

    Who made it and why is kept with it. Red is spared by it, unless it is meant for red too (`red`): then it is a
    proposal and hides nothing at all until another person has confirmed it.
    """

    silence_id: str
    matchers: Mapping[str, str]
    author: str
    reason: str
    starts_at: datetime
    ends_at: datetime
    red: bool = False
    confirmed_by: str | None = None

    @property
    def is_proposed(self) -> bool:
        """Whether it waits for the second pair of eyes."""
        return self.red and self.confirmed_by is None

    def state(self, now: datetime) -> SilenceState:
        """What has become of it by now; a proposal that nobody confirmed in its time has ended."""
        if now >= self.ends_at:
            return SilenceState.ENDED
        if self.is_proposed:
            return SilenceState.PROPOSED
        return SilenceState.IN_FORCE if self.starts_at <= now else SilenceState.TO_COME

    def holds(self, now: datetime) -> bool:
        """Whether it is in force."""
        return self.state(now) is SilenceState.IN_FORCE

    def fits(self, alert: Alert) -> bool:
        """Whether its matchers fit this alert, however grave that is."""
        return all(_facts(alert).get(name) == value for name, value in self.matchers.items())

    def hides(self, alert: Alert) -> bool:
        """Whether it would hide this alert."""
        return (self.red or alert.severity is not Severity.RED) and self.fits(alert)

    def is_by(self, who: str) -> bool:
        """Whether the person behind a credential is its author, whichever way they came."""
        return person(self.author).casefold() == person(who).casefold()


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Something known to be so, that may speak for lesser alerts: an open alert, or a state of the register."""

    source_id: str
    rule: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inhibition:
    """A source of the rule `by` speaks for open alerts with the same value of the label `same`.

    Of all rules where `rules` is empty; only for those less bad than `below`, where that is given.
    """

    by: str
    same: str
    rules: frozenset[str] = frozenset()
    below: Severity | None = None

    def quiets(self, alert: Alert, source: Source) -> bool:
        """Whether this source speaks for the alert."""
        return (
            source.rule == self.by
            and alert.key.rule != self.by
            and (not self.rules or alert.key.rule in self.rules)
            and (self.below is None or alert.severity.rank < self.below.rank)
            and bool(alert.labels.get(self.same))
            and alert.labels.get(self.same) == source.labels.get(self.same)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is stored that bears on one entry for one subscriber: the alert as it is now, and what they have heard.

    `is_storm`: the entry is one of too many new ones of one round.
    """

    alert: Alert
    heard_of: bool = False
    newest_call: int = 0
    is_storm: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is stored that bears on every entry."""

    silences: Sequence[Silence] = ()
    sources: Sequence[Source] = ()
    inhibitions: Sequence[Inhibition] = ()
    working_time_after: Callable[[datetime, timedelta], datetime] = field(default=lambda at, length: at + length)
    _speakers: Mapping[tuple[str, str, str], Sequence[Source]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        found: dict[tuple[str, str, str], list[Source]] = {}
        for source in self.sources:
            for name, value in source.labels.items():
                found.setdefault((source.rule, name, value), []).append(source)
        object.__setattr__(self, "_speakers", found)

    def speakers(self, inhibition: Inhibition, alert: Alert) -> Sequence[Source]:
        """The sources that may speak for an alert by this inhibition: few, of however many there are."""
        return self._speakers.get((inhibition.by, inhibition.same, alert.labels.get(inhibition.same, "")), ())


@dataclass(frozen=True, slots=True)
class Goes:
    """It goes now."""

    reason: RouteReason


@dataclass(frozen=True, slots=True)
class Waits:
    """It is asked about again at `until`. `by` names what holds it back."""

    reason: RouteReason
    until: datetime
    by: str = ""


@dataclass(frozen=True, slots=True)
class Withheld:
    """It does not go to this subscriber; it stands in the feed."""

    reason: RouteReason
    by: str = ""


Route: TypeAlias = Goes | Waits | Withheld


def route(entry: FeedEntry, subscriber: Subscriber, known: Known, world: World, *, now: datetime) -> Route:
    """Decide about one entry for one subscriber."""
    if entry.transition not in CALLS:
        return Goes(RouteReason.HEARD_OF) if known.heard_of else Withheld(RouteReason.NOT_HEARD_OF)
    if not subscriber.asks_for(entry):
        return Withheld(RouteReason.NOT_ASKED_FOR)
    if known.alert.status is not Status.OPEN:
        return Withheld(RouteReason.ENDED_MEANWHILE)
    if entry.seq < known.newest_call:
        return Withheld(RouteReason.NEWER_CALL, by=str(known.newest_call))
    if known.is_storm and entry.key.rule != STORM_RULE:
        return Withheld(RouteReason.STORM)
    return (
        _inhibited(known.alert, world, now)
        or _silenced(known.alert, world, now)
        or _decided(known.alert, now)
        or _on_the_ladder(entry.recorded_at, subscriber, known.alert, world, now)
        or _not_now(entry.recorded_at, entry, subscriber, now)
        or Goes(RouteReason.NOBODY_ACKNOWLEDGED if subscriber.after else RouteReason.ASKED_FOR)
    )


def repeats(
    alert: Alert, subscriber: Subscriber, *, heard_of: bool, decided: bool, world: World, now: datetime
) -> bool:
    """Whether an alert is among those said again to a far side that forgets.

    What they heard of is, while nothing keeps it quiet. What was never owed to them (`decided` False: it is older than
    the channel) is as a call would be; what was, and was held back or withheld, must not come in by this door.
    """
    if alert.status is not Status.OPEN:
        return False
    if _inhibited(alert, world, now) or _silenced(alert, world, now) or _decided(alert, now):
        return False
    if heard_of or decided or not subscriber.asks_for(alert):
        return heard_of
    since = alert.opened_at or alert.first_seen_at
    return (_on_the_ladder(since, subscriber, alert, world, now) or _not_now(since, alert, subscriber, now)) is None


def hidden_by(silence: Silence, alerts: Iterable[Alert]) -> list[Alert]:
    """What a silence would hide of these: its preview."""
    return [alert for alert in alerts if alert.status is Status.OPEN and silence.hides(alert)]


T = TypeVar("T")


def groups(items: Sequence[T], entry_of: Callable[[T], FeedEntry]) -> list[list[T]]:
    """Put together what belongs together, each group in feed order, the groups in the order of their first entries.

    What strikes CAUSE_INSTITUTIONS_MIN institutions or more by one cause (one rule, at one bank where one is named) is
    one group; the rest goes by institution, and what names none by rule.
    """
    struck: dict[tuple[str, str], set[str]] = {}
    for item in items:
        entry = entry_of(item)
        struck.setdefault(_cause(entry), set()).add(entry.labels.get("uscc", ""))
    found: dict[tuple[str, ...], list[T]] = {}
    for item in sorted(items, key=lambda one: entry_of(one).seq):
        entry = entry_of(item)
        uscc, cause = entry.labels.get("uscc", ""), _cause(entry)
        shared = not uscc or len(struck[cause] - {""}) >= CAUSE_INSTITUTIONS_MIN
        found.setdefault(("cause", *cause) if shared else ("institution", uscc), []).append(item)
    return list(found.values())


def _cause(entry: FeedEntry) -> tuple[str, str]:
    return entry.key.rule, entry.labels.get("bank", "")


def _facts(alert: Alert) -> Mapping[str, str]:
    return {**alert.labels, "rule": alert.key.rule, "subject": alert.key.subject, "period": alert.key.period}


def _inhibited(alert: Alert, world: World, now: datetime) -> Waits | None:
    for inhibition in world.inhibitions:
        for source in world.speakers(inhibition, alert):
            if source.source_id != alert.alert_id and inhibition.quiets(alert, source):
                return Waits(RouteReason.INHIBITED, now + ASK_AGAIN, by=source.source_id)
    return None


def _silenced(alert: Alert, world: World, now: datetime) -> Waits | None:
    hiding = [silence for silence in world.silences if silence.holds(now) and silence.hides(alert)]
    if not hiding:
        return None
    longest = max(hiding, key=lambda silence: silence.ends_at)
    # Looked at again before it ends: it may be ended early, and the alert may turn red.
    return Waits(RouteReason.SILENCED, min(longest.ends_at, now + ASK_AGAIN), by=longest.silence_id)


def _decided(alert: Alert, now: datetime) -> Waits | None:
    decision = quiet_by(alert, now=now)
    if decision is None or decision.kind is DecisionKind.ACKNOWLEDGEMENT:
        return None
    reason = RouteReason.SNOOZED if decision.kind is DecisionKind.SNOOZE else RouteReason.ACCEPTED
    return Waits(reason, min(decision.until or now + ASK_AGAIN, now + ASK_AGAIN), by=decision.by)


def _on_the_ladder(
    since: datetime, subscriber: Subscriber, alert: Alert, world: World, now: datetime
) -> Waits | Withheld | None:
    if not subscriber.after:
        return None
    due = world.working_time_after(since, subscriber.after)
    if now < due:
        return Waits(RouteReason.ON_THE_LADDER, due, by=subscriber.rung)
    held = standing(alert, DecisionKind.ACKNOWLEDGEMENT, now=now)
    return None if held is None else Withheld(RouteReason.ACKNOWLEDGED, by=held.by)


def _not_now(since: datetime, told: FeedEntry | Alert, subscriber: Subscriber, now: datetime) -> Waits | None:
    quiet = subscriber.quiet
    end = None if quiet is None or told.severity.rank >= quiet.wakes.rank else quiet.end_of(now)
    if end is not None:
        return Waits(RouteReason.QUIET_HOURS, end)
    gathered = since + subscriber.gather
    # A clock that was set back must not make it wait longer.
    if told.severity is not Severity.RED and since <= now < gathered:
        return Waits(RouteReason.GATHERED, gathered)
    return None
