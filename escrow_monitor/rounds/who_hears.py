"""Decides of what is owed to a subscriber what goes now, what waits and what is withheld, from what is stored.

deliveries due -> alerts as they are, what was heard, silences, silent banks, closing institutions, storms
               -> alerts.routing.route -> sent / due later, with the reason / withheld, with the reason
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import assert_never

from alerts.alert import Alert, AlertKey, Severity, Signal, Why, alert_id_of
from alerts.delivery import Delivery
from alerts.routing import (
    STORM_RULE,
    Goes,
    Inhibition,
    QuietHours,
    Route,
    Source,
    Subscriber,
    Waits,
    Withheld,
    World,
    repeats,
    route,
)
from escrow_monitor.domain.calendar import calendar_for
from escrow_monitor.domain.rules import bank_silent, feed_gap, freshness
from escrow_monitor.domain.working_time import working_time_after
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.alerts.routes import (
    Facts,
    Holding,
    NewAlerts,
    ever_owed,
    facts,
    heard_of,
    holding,
    postpone,
    withhold,
)
from escrow_monitor.records.database import Database
from escrow_monitor.settings import Settings
from escrow_monitor.settings.channels import Together
from escrow_monitor.settings.hears import HearsSettings, OfficeHoursSettings
from escrow_monitor.settings.section import zone_of

CLOSING = "institution_closing"
"""The source that the register is: an institution that is closing or closed."""
INHIBITIONS = (
    Inhibition(by=bank_silent.RULE, same="bank", rules=frozenset({freshness.RULE, feed_gap.RULE})),
    Inhibition(by=CLOSING, same="uscc", below=Severity.RED),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """A subscriber, how their time without acknowledgement counts, the cap on new alerts, and who is owed an entry."""

    subscriber: Subscriber
    working_time_after: Callable[[datetime, timedelta], datetime]
    storm_above: int
    channels: Sequence[str]


def routing_of(settings: Settings, name: str) -> Routing | None:
    """Who listens on a channel, and on which rung of the ladder; None where it is told everything."""
    chosen = settings.alerts
    hears: HearsSettings | None = getattr(settings.channels.get(name), "hears", None)
    rung = next((rung for rung in chosen.ladder if name in rung.channels), None)
    if hears is None and rung is None:
        return None
    hears = hears or HearsSettings()
    quiet = None
    if hears.quiet_from is not None and hears.quiet_to is not None:
        quiet = QuietHours(
            begins=hears.quiet_from, ends=hears.quiet_to, zone=zone_of(hears.zone), wakes=Severity(hears.wakes)
        )
    severities = [Severity(hears.severity), *([] if rung is None else [Severity(rung.severity)])]
    return Routing(
        subscriber=Subscriber(
            name=name, severity_min=max(severities, key=lambda one: one.rank), districts=hears.districts,
            institutions=hears.institutions, rules=hears.rules, quiet=quiet,
            gather=timedelta(seconds=hears.gather_seconds),
            after=timedelta(minutes=hears.after_working_minutes if rung is None else rung.after_minutes),
            rung="" if rung is None else rung.name,
        ),
        working_time_after=_always if rung is not None and rung.counts == "always" else _office(chosen.office_hours),
        storm_above=chosen.storm_above, channels=tuple(settings.channels),
    )


def together_of(settings: Settings, name: str) -> Together:
    """What goes into one message on a channel; those that take one entry at a time are not asked."""
    together: Together = getattr(settings.channels.get(name), "together", "related")
    return together


def _office(hours: OfficeHoursSettings) -> Callable[[datetime, timedelta], datetime]:
    return partial(
        working_time_after, calendar=calendar_for(hours.calendar), zone=zone_of(hours.zone), opens_at=hours.opens,
        closes_at=hours.closes,
    )


def _always(at: datetime, length: timedelta) -> datetime:
    return at + length


def go_now(
    database: Database, due: Sequence[Delivery], routing: Routing, *, claimant: str, now: datetime,
    counts: Counter[str],
) -> list[Delivery]:
    """What of these goes now; the rest is given back or withheld, with its reason.

    What was tried before was decided before: it goes on being tried.
    """
    fresh = [one for one in due if not one.attempts]
    going = [one for one in due if one.attempts]
    waiting: list[tuple[Delivery, Waits]] = []
    withheld: list[tuple[Delivery, Withheld]] = []
    if fresh:
        with database.write() as session:
            found = facts(
                session, fresh, channel=routing.subscriber.name, speaking=[bank_silent.RULE], claimant=claimant, now=now
            )
            _tell_of_storms(RecordsAlertBook(session, channels=routing.channels), found, routing, now)
            world = _world(found.holding, routing)
            for one in fresh:
                match _route(one, found, routing, world, now):
                    case Goes():
                        going.append(one)
                    case Waits() as wait:
                        waiting.append((one, wait))
                    case Withheld() as why:
                        withheld.append((one, why))
                    case _ as never:
                        assert_never(never)
            postpone(session, waiting)
            withhold(session, withheld, now=now)
    counts["waits"] += len(waiting)
    counts["withheld"] += len(withheld)
    return going


def said_again(database: Database, routing: Routing | None, *, now: datetime) -> list[Alert]:
    """The open alerts that are repeated on a channel whose far side forgets: what it hears of, all without routing."""
    with database.read() as session:
        found = RecordsAlertBook(session).open_alerts()
        if routing is None:
            return found
        name, ids = routing.subscriber.name, [alert.alert_id for alert in found]
        heard = heard_of(session, name, ids, claimant="", now=now)
        decided = ever_owed(session, name, ids)
        world = _world(holding(session, found, speaking=[bank_silent.RULE], now=now), routing)
    return [
        alert for alert in found
        if repeats(
            alert, routing.subscriber, heard_of=alert.alert_id in heard, decided=alert.alert_id in decided,
            world=world, now=now,
        )
    ]


def _route(delivery: Delivery, found: Facts, routing: Routing, world: World, now: datetime) -> Route:
    known = found.known(delivery, storm_above=routing.storm_above)
    return route(delivery.entry, routing.subscriber, known, world, now=now)


def _world(found: Holding, routing: Routing) -> World:
    sources = [
        *(Source(source_id=alert.alert_id, rule=alert.key.rule, labels=alert.labels) for alert in found.speaking),
        *(Source(source_id=f"{CLOSING}:{uscc}", rule=CLOSING, labels={"uscc": uscc}) for uscc in found.closing),
    ]
    return World(
        silences=found.silences, sources=sources, inhibitions=INHIBITIONS,
        working_time_after=routing.working_time_after,
    )


def _tell_of_storms(book: RecordsAlertBook, found: Facts, routing: Routing, now: datetime) -> None:
    """One alert for each round that opened too many; the first channel that meets it says it for all."""
    storms = [_storm(at, new, routing.storm_above) for at, new in found.new.items() if new.count > routing.storm_above]
    untold = [storm for storm in storms if book.alert(alert_id_of(storm.key)) is None]
    if untold:
        book.advance(signals=untold, clears=[], now=now, cause="system:routing")


def _storm(at: datetime, new: NewAlerts, storm_above: int) -> Signal:
    count, first, last = new.count, new.first_seq, new.last_seq
    return Signal(
        key=AlertKey(STORM_RULE, "feed", at.isoformat()), severity=Severity.RED, standing="breached",
        why=Why(
            zh=f"一次核查新增 {count} 条预警（超过 {storm_above} 条），不逐条发送；"
            f"全部在预警流第 {first} 至 {last} 号，请统一研判",
            en=f"one round opened {count} alerts (more than {storm_above}): none is sent singly, all stand in the feed "
            f"from {first} to {last}; look at them together",
        ),
        figures={"count": count, "first_seq": first, "last_seq": last, "storm_above": storm_above}, as_of=at,
    )
