"""Decides of what is owed to a subscriber what goes now, what waits and what is withheld, from what is stored.

deliveries due -> alerts as they are, what was heard, silences, silent banks, closing institutions, storms
               -> alerts.routing.route -> sent / due later, with the reason / withheld, with the reason
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import assert_never

from alerts.alert import AlertKey, Severity, Signal, Why, alert_id_of
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
    groups,
    route,
)
from escrow_monitor.clock import ZONE
from escrow_monitor.domain.calendar import WorkingCalendar
from escrow_monitor.domain.rules import bank_silent, feed_gap, freshness
from escrow_monitor.domain.working_time import working_time_after
from escrow_monitor.records.alert_book import RecordsAlertBook
from escrow_monitor.records.database import Database
from escrow_monitor.records.routes import Facts, NewAlerts, facts, postpone, withhold
from escrow_monitor.settings import Settings
from escrow_monitor.settings.section import zone_of

CLOSING = "institution_closing"
"""The source that the register is: an institution that is closing or closed."""
INHIBITIONS = (
    Inhibition(by=bank_silent.RULE, same="bank", rules=frozenset({freshness.RULE, feed_gap.RULE})),
    Inhibition(by=CLOSING, same="uscc", below=Severity.RED),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """A subscriber, and what is the same for all: the working days, the cap on new alerts, who is owed an entry."""

    subscriber: Subscriber
    calendar: WorkingCalendar
    storm_above: int
    channels: Sequence[str]


def routing_of(settings: Settings, name: str, *, calendar: WorkingCalendar) -> Routing | None:
    """Who listens on a channel; None where it is told everything."""
    hears = getattr(settings.channels.get(name), "hears", None)
    if hears is None:
        return None
    quiet = None
    if hears.quiet_from is not None:
        quiet = QuietHours(
            begins=hears.quiet_from, ends=hears.quiet_to, zone=zone_of(hears.zone), wakes=Severity(hears.wakes)
        )
    return Routing(
        subscriber=Subscriber(
            name=name, severity_min=Severity(hears.severity), districts=hears.districts,
            institutions=hears.institutions, rules=hears.rules, quiet=quiet,
            gather=timedelta(seconds=hears.gather_seconds), after=timedelta(minutes=hears.after_working_minutes),
        ),
        calendar=calendar, storm_above=settings.alerts.storm_above, channels=tuple(settings.channels),
    )


def go_now(
    database: Database, due: Sequence[Delivery], routing: Routing, *, claimant: str, now: datetime,
    counts: Counter[str],
) -> list[list[Delivery]]:
    """What of these goes now, in groups that belong together; the rest is given back or withheld, with its reason.

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
            for one in fresh:
                match _route(one, found, routing, now):
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
    return groups(going, lambda one: one.entry)


def _route(delivery: Delivery, found: Facts, routing: Routing, now: datetime) -> Route:
    sources = [
        *(Source(source_id=alert.alert_id, rule=alert.key.rule, labels=alert.labels) for alert in found.speaking),
        *(Source(source_id=f"{CLOSING}:{uscc}", rule=CLOSING, labels={"uscc": uscc}) for uscc in found.closing),
    ]
    world = World(
        silences=found.silences, sources=sources, inhibitions=INHIBITIONS,
        working_time_after=partial(working_time_after, calendar=routing.calendar, zone=ZONE),
    )
    known = found.known(delivery, storm_above=routing.storm_above)
    return route(delivery.entry, routing.subscriber, known, world, now=now)


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
