"""Who hears what and when: subscriptions, inhibition, silences, the ladder, quiet hours, storms, groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, time, timedelta
from itertools import permutations
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.alert import Alert, FeedEntry, Severity, Status, TransitionKind, alert_id_of
from alerts.decisions import Acknowledge, Confirm, Propose, Snooze, decide
from alerts.lifecycle import transitions
from alerts.routing import (
    ASK_AGAIN,
    CALLS,
    STORM_RULE,
    Goes,
    Inhibition,
    Known,
    QuietHours,
    Route,
    RouteReason,
    Silence,
    Source,
    Subscriber,
    Waits,
    Withheld,
    World,
    groups,
    hidden_by,
    route,
)
from alerts.testing import START, entry_of, key_of, signal_of

HOUR = timedelta(hours=1)
SHANGHAI = ZoneInfo("Asia/Shanghai")  # START is 09:30 there, on a Monday
LABELS = {"uscc": "91510300MA62000000", "account_no": "62170001", "district": "510302", "bank": "northbank"}
OFFICE = Subscriber(name="office")
NOTHING = World()


def alert_of(severity: Severity = Severity.ORANGE, *, rule: str = "floor", labels: Mapping[str, str] = LABELS) -> Alert:
    signal = signal_of(key_of(rule=rule), severity, labels=labels)
    return transitions(open_alerts={}, signals=[signal], clears=[], now=START).changed[0]


def call(
    alert: Alert, kind: TransitionKind = TransitionKind.OPENED, *, seq: int = 1, at: datetime = START
) -> FeedEntry:
    return entry_of(
        seq, alert_id=alert.alert_id, transition=kind, key=alert.key, severity=alert.severity, labels=alert.labels,
        recorded_at=at,
    )


def asked(
    alert: Alert | None = None, subscriber: Subscriber = OFFICE, world: World = NOTHING, *, at: datetime = START,
    kind: TransitionKind = TransitionKind.OPENED, **known: object,
) -> Route:
    alert = alert_of() if alert is None else alert
    facts = replace(Known(alert=alert), **known)  # type: ignore[arg-type]  # the names are Known's own
    return route(call(alert, kind), subscriber, facts, world, now=at)


def done(alert: Alert, *acts: object) -> Alert:
    for act in acts:
        alert = decide(alert, act, now=START).alert  # type: ignore[arg-type]
    return alert


@pytest.mark.parametrize(("subscriber", "hears"), [
    (OFFICE, True),
    (replace(OFFICE, severity_min=Severity.ORANGE), True),
    (replace(OFFICE, severity_min=Severity.RED), False),
    (replace(OFFICE, districts=("51",)), True),
    (replace(OFFICE, districts=("510303", "510302")), True),
    (replace(OFFICE, districts=("510303",)), False),
    (replace(OFFICE, institutions=("91510300MA62000000",)), True),
    (replace(OFFICE, institutions=("91510300MA62000001",)), False),
    (replace(OFFICE, rules=("floor",)), True),
    (replace(OFFICE, rules=("freshness",)), False),
])
def test_a_subscriber_hears_what_they_asked_for(subscriber: Subscriber, hears: bool) -> None:
    wanted: Route = Goes(RouteReason.ASKED_FOR) if hears else Withheld(RouteReason.NOT_ASKED_FOR)
    assert asked(subscriber=subscriber) == wanted


def test_what_names_no_district_is_not_for_one_district_but_a_storm_is_for_all() -> None:
    ours = alert_of(rule="round_late", labels={})
    assert asked(ours, replace(OFFICE, districts=("51",))) == Withheld(RouteReason.NOT_ASKED_FOR)
    storm = alert_of(Severity.RED, rule=STORM_RULE, labels={})
    assert asked(storm, replace(OFFICE, districts=("51",), institutions=("x",))) == Goes(RouteReason.ASKED_FOR)


@pytest.mark.parametrize("kind", sorted(set(TransitionKind) - CALLS))
def test_news_goes_to_whoever_heard_of_it_however_bad_it_is_now(kind: TransitionKind) -> None:
    choosy = replace(OFFICE, severity_min=Severity.RED)
    assert asked(subscriber=choosy, kind=kind, heard_of=True) == Goes(RouteReason.HEARD_OF)
    assert asked(kind=kind) == Withheld(RouteReason.NOT_HEARD_OF)


def test_a_call_that_came_too_late_is_withheld() -> None:
    ended = replace(alert_of(), status=Status.RESOLVED)
    assert asked(ended) == Withheld(RouteReason.ENDED_MEANWHILE)
    assert asked(newest_call=2) == Withheld(RouteReason.NEWER_CALL, by="2")
    assert asked(newest_call=1) == Goes(RouteReason.ASKED_FOR)


def test_of_a_storm_nothing_goes_singly_but_what_speaks_for_it() -> None:
    assert asked(alert_of(Severity.RED), is_storm=True) == Withheld(RouteReason.STORM)
    storm = alert_of(Severity.RED, rule=STORM_RULE, labels={})
    assert asked(storm, is_storm=True) == Goes(RouteReason.ASKED_FOR)


SILENT_BANK = Inhibition(by="bank_silent", same="bank", rules=frozenset({"freshness", "feed_gap"}))
CLOSING = Inhibition(by="institution_closing", same="uscc", below=Severity.RED)


@pytest.mark.parametrize(("rule", "severity", "source", "inhibited"), [
    ("freshness", Severity.ORANGE, ("bank_silent", {"bank": "northbank"}), True),
    ("feed_gap", Severity.RED, ("bank_silent", {"bank": "northbank"}), True),
    ("floor", Severity.ORANGE, ("bank_silent", {"bank": "northbank"}), False),
    ("freshness", Severity.ORANGE, ("bank_silent", {"bank": "southbank"}), False),
    ("freshness", Severity.ORANGE, ("bank_silent", {}), False),
    ("floor", Severity.ORANGE, ("institution_closing", {"uscc": LABELS["uscc"]}), True),
    ("floor", Severity.RED, ("institution_closing", {"uscc": LABELS["uscc"]}), False),
    ("floor", Severity.ORANGE, ("institution_closing", {"uscc": "another"}), False),
])
def test_a_graver_thing_speaks_for_lesser_ones(
    rule: str, severity: Severity, source: tuple[str, dict[str, str]], inhibited: bool
) -> None:
    world = World(sources=[Source(source_id="s", rule=source[0], labels=source[1])], inhibitions=[SILENT_BANK, CLOSING])
    wanted: Route = Goes(RouteReason.ASKED_FOR)
    if inhibited:
        wanted = Waits(RouteReason.INHIBITED, START + ASK_AGAIN, by="s")
    assert asked(alert_of(severity, rule=rule), world=world) == wanted


def test_what_lacks_the_label_is_spoken_for_by_nobody_and_nothing_by_itself() -> None:
    bank = alert_of(rule="bank_silent", labels={"bank": "northbank"})
    itself = Source(source_id=bank.alert_id, rule="bank_silent", labels=bank.labels)
    world = World(sources=[itself], inhibitions=[SILENT_BANK])
    assert asked(bank, world=world) == Goes(RouteReason.ASKED_FOR)
    assert asked(alert_of(rule="freshness", labels={}), world=world) == Goes(RouteReason.ASKED_FOR)
    every = replace(SILENT_BANK, rules=frozenset())
    assert asked(alert_of(rule="bank_silent"), world=World(sources=[replace(itself, source_id="other")],
                                                           inhibitions=[every])) == Goes(RouteReason.ASKED_FOR)


def test_the_order_of_what_is_stored_does_not_matter() -> None:
    sources = [
        Source(source_id="bank", rule="bank_silent", labels={"bank": "northbank"}),
        Source(source_id="house", rule="institution_closing", labels={"uscc": LABELS["uscc"]}),
        Source(source_id="other", rule="bank_silent", labels={"bank": "southbank"}),
    ]
    found = {
        asked(alert_of(rule="freshness"), world=World(sources=order, inhibitions=[SILENT_BANK, CLOSING]))
        for order in permutations(sources)
    }
    assert found == {Waits(RouteReason.INHIBITED, START + ASK_AGAIN, by="bank")}


def silence(hours: int = 8, **matchers: str) -> Silence:
    return Silence(
        silence_id=f"s{hours}", matchers=matchers, author="key:li", reason="the bank moves house", starts_at=START,
        ends_at=START + hours * HOUR,
    )


def test_a_silence_holds_back_what_fits_all_its_matchers_while_it_holds() -> None:
    world = World(silences=[silence(1, bank="northbank"), silence(8, bank="northbank", rule="floor")])
    assert asked(world=world) == Waits(RouteReason.SILENCED, START + ASK_AGAIN, by="s8")
    almost = START + 8 * HOUR - ASK_AGAIN / 2
    assert asked(world=world, at=almost) == Waits(RouteReason.SILENCED, START + 8 * HOUR, by="s8")
    assert asked(world=world, at=START + 8 * HOUR) == Goes(RouteReason.ASKED_FOR)
    assert asked(world=world, at=START - HOUR) == Goes(RouteReason.ASKED_FOR)
    assert asked(world=World(silences=[silence(bank="northbank", rule="freshness")])) == Goes(RouteReason.ASKED_FOR)


def test_red_is_never_silenced() -> None:
    assert asked(alert_of(Severity.RED), world=World(silences=[silence(bank="northbank")])) == Goes(
        RouteReason.ASKED_FOR
    )


def test_the_preview_of_a_silence_is_what_it_hides() -> None:
    alerts = [alert_of(), alert_of(Severity.RED), alert_of(labels={}), replace(alert_of(), status=Status.RESOLVED)]
    assert hidden_by(silence(bank="northbank"), alerts) == [alerts[0]]
    assert hidden_by(silence(subject=key_of().subject), alerts) == [alerts[0], alerts[2]]


def test_what_people_decided_holds_a_call_back_until_it_is_over() -> None:
    snoozed = done(alert_of(), Snooze(by="key:li", note="n", until=START + HOUR))
    assert asked(snoozed) == Waits(RouteReason.SNOOZED, START + ASK_AGAIN, by="key:li")
    assert asked(snoozed, at=START + HOUR) == Goes(RouteReason.ASKED_FOR)
    accepted = done(alert_of(), Propose(by="key:li", note="n", ends=False), Confirm(by="key:wang"))
    assert asked(accepted) == Waits(RouteReason.ACCEPTED, START + ASK_AGAIN, by="key:wang")
    acknowledged = done(alert_of(), Acknowledge(by="key:li", note="", until=START + HOUR))
    assert asked(acknowledged) == Goes(RouteReason.ASKED_FOR)


def test_a_rung_of_the_ladder_hears_only_of_what_nobody_acknowledged_in_time() -> None:
    def double(at: datetime, length: timedelta) -> datetime:
        return at + 2 * length

    head, world = replace(OFFICE, after=4 * HOUR), World(working_time_after=double)
    due = START + 8 * HOUR
    assert asked(subscriber=head, world=world) == Waits(RouteReason.ON_THE_LADDER, due)
    assert asked(subscriber=head, world=world, at=due) == Goes(RouteReason.NOBODY_ACKNOWLEDGED)
    held = done(alert_of(), Acknowledge(by="key:li", note="", until=START + 24 * HOUR))
    assert asked(held, head, world, at=due) == Withheld(RouteReason.ACKNOWLEDGED, by="key:li")
    forgotten = done(alert_of(), Acknowledge(by="key:li", note="", until=START + HOUR))
    assert asked(forgotten, head, world, at=due) == Goes(RouteReason.NOBODY_ACKNOWLEDGED)


NIGHT = QuietHours(begins=time(22), ends=time(7, 30), zone=SHANGHAI)


@pytest.mark.parametrize(("clock", "ends"), [
    ("2026-03-02T21:59:59+08:00", None),
    ("2026-03-02T22:00:00+08:00", "2026-03-03T07:30:00+08:00"),
    ("2026-03-03T00:00:00+08:00", "2026-03-03T07:30:00+08:00"),
    ("2026-03-03T07:29:59+08:00", "2026-03-03T07:30:00+08:00"),
    ("2026-03-03T07:30:00+08:00", None),
])
def test_in_quiet_hours_only_what_wakes_comes(clock: str, ends: str | None) -> None:
    at, sleeper = datetime.fromisoformat(clock), replace(OFFICE, quiet=NIGHT)
    wanted: Route = Goes(RouteReason.ASKED_FOR)
    if ends is not None:
        wanted = Waits(RouteReason.QUIET_HOURS, datetime.fromisoformat(ends))
    assert asked(subscriber=sleeper, at=at) == wanted
    assert asked(alert_of(Severity.RED), sleeper, at=at) == Goes(RouteReason.ASKED_FOR)


def test_quiet_hours_within_a_day_end_the_same_day() -> None:
    noon = replace(NIGHT, begins=time(12), ends=time(14))
    assert noon.end_of(datetime(2026, 3, 2, 13, tzinfo=SHANGHAI)) == datetime(2026, 3, 2, 14, tzinfo=SHANGHAI)
    assert noon.end_of(datetime(2026, 3, 2, 14, tzinfo=SHANGHAI)) is None


def test_what_is_not_red_waits_a_moment_for_what_belongs_with_it() -> None:
    patient = replace(OFFICE, gather=timedelta(seconds=150))
    assert asked(subscriber=patient) == Waits(RouteReason.GATHERED, START + patient.gather)
    assert asked(subscriber=patient, at=START + patient.gather) == Goes(RouteReason.ASKED_FOR)
    assert asked(alert_of(Severity.RED), patient) == Goes(RouteReason.ASKED_FOR)


def placed(seq: int, rule: str, uscc: str = "", bank: str = "") -> FeedEntry:
    labels = {name: value for name, value in (("uscc", uscc), ("bank", bank)) if value}
    key = key_of(f"{seq}", rule=rule)
    return entry_of(seq, key=key, alert_id=alert_id_of(key), labels=labels)


def test_what_belongs_together_goes_together_by_institution_or_by_what_struck_many() -> None:
    entries = [
        placed(1, "floor", "a", "n"), placed(2, "freshness", "a", "s"), placed(3, "freshness", "b", "s"),
        placed(4, "floor", "b", "n"), placed(5, "freshness", "c", "s"), placed(6, "large_outflow", "a", "n"),
        placed(7, "round_late"), placed(8, "calendar_ends"), placed(9, "round_late"),
    ]
    found = [[entry.seq for entry in group] for group in groups(entries[::-1], lambda entry: entry)]
    assert found == [[1, 6], [2, 3, 5], [4], [7, 9], [8]]


severities = st.sampled_from(list(Severity))


@given(
    severity=severities, kind=st.sampled_from(list(TransitionKind)), heard=st.booleans(), storm=st.booleans(),
    newest=st.integers(0, 2), hour=st.integers(0, 23), after=st.integers(0, 8), wakes=severities, minimum=severities,
    bank=st.sampled_from(["northbank", "southbank"]), silenced=st.booleans(), is_open=st.booleans(),
)
def test_whatever_is_stored_an_entry_goes_is_withheld_or_waits_for_a_time_that_lies_ahead(
    severity: Severity, kind: TransitionKind, heard: bool, storm: bool, newest: int, hour: int, after: int,
    wakes: Severity, minimum: Severity, bank: str, silenced: bool, is_open: bool,
) -> None:
    """And red that is asked for waits for nothing but a graver alert, the ladder, a snooze or hours of sleep."""
    now = START.replace(hour=hour) + timedelta(days=1)
    alert = replace(alert_of(severity), status=Status.OPEN if is_open else Status.RESOLVED)
    subscriber = replace(OFFICE, severity_min=minimum, quiet=replace(NIGHT, wakes=wakes), after=after * HOUR)
    world = World(
        silences=[silence(99, bank="northbank")] if silenced else [],
        sources=[Source(source_id="s", rule="bank_silent", labels={"bank": bank})],
        inhibitions=[replace(SILENT_BANK, rules=frozenset())],
    )
    known = Known(alert=alert, heard_of=heard, is_storm=storm, newest_call=newest)
    found = route(call(alert, kind), subscriber, known, world, now=now)
    match found:
        case Waits(reason=reason, until=until):
            assert until > now
            assert kind in CALLS
            assert severity is not Severity.RED or reason not in {RouteReason.SILENCED, RouteReason.GATHERED}
        case Goes():
            assert heard or kind in CALLS
        case Withheld(reason=reason):
            assert reason is not RouteReason.ACKNOWLEDGED
    assert found == route(call(alert, kind), subscriber, known, world, now=now)
