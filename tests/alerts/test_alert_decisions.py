"""What people decide about alerts: a table of refusals, every short life in full, and long random ones.

The invariants, in words:

    1  A decision is over the status, never one: an alert is open after an act as it was before, but for an event that
       is accepted (it ends) and an accepted event that is taken back (it opens again).
    2  An alert ends only when it was examined and found absent, or as an event that two different people accepted.
    3  What keeps an alert quiet was decided in this episode, about nothing less bad, and has not run out.
    4  Once the alert was worse than what a decision was about, that decision never counts again.
    5  Nobody accepts what they themselves proposed, and the evidence of an acceptance is that of its proposal.
    6  A refused act, and one that says what stands already, changes nothing and is not heard of.
    7  What is heard tells it all: replayed, it gives which alerts are open, how bad, and what keeps each quiet.
    8  Every act has one reason of the closed set, every change counts one version, and an id never changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from alerts.alert import (
    Alert,
    Clear,
    DecisionKind,
    FeedEntry,
    Reason,
    Severity,
    Signal,
    Status,
    Transition,
    TransitionKind,
    alert_id_of,
)
from alerts.book import MemoryAlertBook
from alerts.decisions import (
    ACKNOWLEDGED_FOR_MAX,
    NOTE_CHARACTERS_MAX,
    PROPOSED_FOR,
    REFUSALS,
    SNOOZED_FOR_MAX,
    Acknowledge,
    Act,
    Confirm,
    Propose,
    Snooze,
    TakeBack,
    carried,
    decide,
    person,
    quiet_by,
    run_out,
)
from alerts.feeds.item import REASON_WORDS
from alerts.lifecycle import transitions
from alerts.testing import START, clear_of, key_of, signal_of

HOUR = timedelta(hours=1)
KINDS = {
    TransitionKind.ACKNOWLEDGED: DecisionKind.ACKNOWLEDGEMENT,
    TransitionKind.SNOOZED: DecisionKind.SNOOZE,
    TransitionKind.ACCEPTED: DecisionKind.ACCEPTANCE,
}


def opened(severity: Severity = Severity.ORANGE, at: datetime = START) -> Alert:
    said = transitions(open_alerts={}, signals=[signal_of(severity=severity, at=at)], clears=[], now=at)
    return said.changed[0]


def told(alert: Alert, *words: Signal | Clear, now: datetime) -> Alert:
    said = transitions(
        open_alerts={alert.key: alert}, signals=[word for word in words if isinstance(word, Signal)],
        clears=[word for word in words if isinstance(word, Clear)], now=now,
    )
    return said.changed[0] if said.changed else alert


def done(alert: Alert, *acts: Act, now: datetime = START) -> Alert:
    for act in acts:
        ruling = decide(alert, act, now=now)
        assert not ruling.is_refused, ruling.reason
        alert = ruling.alert
    return alert


def snooze(by: str = "key:li", until: datetime = START + 9 * HOUR) -> Snooze:
    return Snooze(by=by, note="they pay tomorrow", until=until)


ACCEPTING = (Propose(by="key:li", note="agreed", ends=False), Confirm(by="key:wang"))
ACCEPTING_EVENT = (Propose(by="key:li", note="agreed", ends=True), Confirm(by="key:wang"))


# ---- stories ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("act", "reason"), [
    (Acknowledge(by=" ", note="", until=START + HOUR), Reason.NO_PERSON),
    (Acknowledge(by="key:", note="", until=START + HOUR), Reason.NO_PERSON),
    (Acknowledge(by="li", note="x" * (NOTE_CHARACTERS_MAX + 1), until=START + HOUR), Reason.NOTE_TOO_LONG),
    (Acknowledge(by="li", note="", until=START), Reason.ENDS_TOO_SOON),
    (Acknowledge(by="li", note="", until=START + ACKNOWLEDGED_FOR_MAX + HOUR), Reason.ENDS_TOO_LATE),
    (Acknowledge(by="li", note="x" * NOTE_CHARACTERS_MAX, until=START + ACKNOWLEDGED_FOR_MAX), Reason.ACKNOWLEDGED),
    (Snooze(by="li", note="\n", until=START + HOUR), Reason.NO_NOTE),
    (Snooze(by="li", note="n", until=START - HOUR), Reason.ENDS_TOO_SOON),
    (Snooze(by="li", note="n", until=START + SNOOZED_FOR_MAX + HOUR), Reason.ENDS_TOO_LATE),
    (Snooze(by="li", note="n", until=START + SNOOZED_FOR_MAX), Reason.SNOOZED),
    (Propose(by="li", note="", ends=False), Reason.NO_NOTE),
    (Confirm(by="li"), Reason.NOTHING_PROPOSED),
    (TakeBack(by="li", note="n", kind=DecisionKind.SNOOZE), Reason.NOTHING_TO_TAKE_BACK),
    (TakeBack(by="li", note="", kind=DecisionKind.SNOOZE), Reason.NO_NOTE),
])
def test_an_act_is_refused_for_the_plainest_reason_or_done(act: Act, reason: Reason) -> None:
    alert = opened()
    ruling = decide(alert, act, now=START)
    assert ruling.reason is reason
    assert ruling.is_refused == (reason in REFUSALS) == (ruling.alert == alert)


@pytest.mark.parametrize("act", [
    Acknowledge(by="li", note="", until=START + HOUR), snooze(), *ACCEPTING,
])
def test_what_is_not_open_or_accepted_already_is_not_decided_about(act: Act) -> None:
    ended = told(opened(), clear_of(), now=START)
    assert decide(ended, act, now=START).reason is Reason.NOT_OPEN
    for accepting in (ACCEPTING, ACCEPTING_EVENT):
        assert decide(done(opened(), *accepting), act, now=START).reason is Reason.ALREADY_ACCEPTED


def test_a_snoozed_alert_is_quiet_until_its_hour_and_an_acknowledged_one_until_its_own() -> None:
    alert = done(
        opened(), Acknowledge(by="key:li", note="", until=START + 3 * HOUR), snooze(until=START + HOUR)
    )

    def quiet(at: datetime) -> DecisionKind | None:
        found = quiet_by(alert, now=at)
        return None if found is None else found.kind

    assert quiet(START) is DecisionKind.SNOOZE
    assert quiet(START + HOUR) is DecisionKind.ACKNOWLEDGEMENT
    assert quiet(START + 3 * HOUR) is None
    ruling = run_out(alert, now=START + 2 * HOUR)
    assert [one.decision.kind for one in ruling.ended] == [DecisionKind.SNOOZE]
    assert [decision.kind for decision in ruling.alert.decisions] == [DecisionKind.ACKNOWLEDGEMENT]
    assert "ran out" in ruling.transitions[0].alert.why.en


def test_a_proposal_keeps_nothing_quiet_and_waits_two_weeks() -> None:
    alert = done(opened(), ACCEPTING[0])
    assert quiet_by(alert, now=START) is None
    late = START + PROPOSED_FOR
    assert decide(alert, ACCEPTING[1], now=late).reason is Reason.NOTHING_PROPOSED
    ruling = run_out(alert, now=late)
    assert (ruling.reason, ruling.transitions, ruling.alert.decisions) == (Reason.RAN_OUT, (), ())


def test_the_same_person_is_known_whichever_way_they_come() -> None:
    assert {person(by) for by in ("key:li", "cli:li", "li", "key: li ")} == {"li"}
    alert = done(opened(), ACCEPTING[0])
    assert decide(alert, Confirm(by="CLI:LI"), now=START).reason is Reason.SAME_PERSON


def test_a_proposal_is_over_when_the_alert_gets_worse_or_the_event_is_told_otherwise() -> None:
    same = signal_of(severity=Severity.ORANGE, at=START + HOUR)
    otherwise = signal_of(severity=Severity.ORANGE, at=START + HOUR, balance_fen=1)
    worse = signal_of(severity=Severity.RED, at=START + HOUR)
    for proposal, signal, reason in (
        (ACCEPTING[0], worse, Reason.SEVERITY_ROSE), (ACCEPTING[0], otherwise, None),
        (ACCEPTING_EVENT[0], otherwise, Reason.OTHER_EVIDENCE), (ACCEPTING_EVENT[0], same, None),
    ):
        alert = done(opened(), proposal)
        said = transitions(open_alerts={alert.key: alert}, signals=[signal], clears=[], now=START + HOUR)
        assert [one.reason for one in said.ended] == ([] if reason is None else [reason])
        assert (said.changed[0].decisions == ()) == (reason is not None)


def test_what_was_accepted_is_what_was_proposed_though_the_figures_moved_since() -> None:
    alert = told(done(opened(), ACCEPTING[0]), signal_of(severity=Severity.YELLOW, at=START + HOUR, balance_fen=1),
                 now=START + HOUR)
    (accepted,) = done(alert, ACCEPTING[1], now=START + HOUR).decisions
    assert (accepted.evidence.severity, accepted.evidence.figures["balance_fen"]) == (Severity.ORANGE, 99_00)


def test_an_accepted_event_told_worse_must_hold_its_time_before_it_opens_again() -> None:
    alert = done(opened(), *ACCEPTING_EVENT)
    worse = signal_of(severity=Severity.RED, at=START + HOUR, open_after=HOUR)
    waiting = told(alert, worse, now=START + HOUR)
    assert (waiting.status, len(waiting.decisions)) == (Status.PENDING, 1)
    back = told(waiting, signal_of(severity=Severity.ORANGE, at=START + 2 * HOUR), now=START + 2 * HOUR)
    assert (back.status, len(back.decisions)) == (Status.RESOLVED, 1)
    again = told(waiting, replace(worse, as_of=START + 3 * HOUR), now=START + 3 * HOUR)
    assert (again.status, again.decisions) == (Status.OPEN, ())


def test_an_alert_without_decisions_carries_none() -> None:
    assert carried(opened(), opened(Severity.RED)) == (opened(Severity.RED), ())
    assert run_out(opened(), now=START).reason is Reason.UNCHANGED


def test_every_reason_has_its_words_in_both_languages() -> None:
    assert set(REASON_WORDS) == set(Reason)
    assert all(words["zh"] and words["en"] for words in REASON_WORDS.values())


# ---- every sequence of events up to length six -------------------------------------------------------------------

LENGTH = 6
LASTS, HAPPENED = False, True


Quiet = tuple[DecisionKind, datetime | None, Severity]
"""What keeps an alert quiet, until when, and up to which severity."""


@dataclass(frozen=True)
class Heard:
    """What a reader of the feed alone believes, and what the test remembers beside the alert itself."""

    open: bool = False
    severity: Severity | None = None
    quiet: frozenset[Quiet] = frozenset()
    outgrown: frozenset[tuple[DecisionKind, datetime]] = frozenset()
    proposer: str | None = None


Step = Callable[[Alert | None, datetime], tuple[Alert | None, tuple[Transition, ...], Reason | None]]


def by_signal(severity: Severity | None, fen: int = 99_00, *, holds: Severity | None = None, age: int = 0) -> Step:
    def step(alert: Alert | None, now: datetime) -> tuple[Alert | None, tuple[Transition, ...], Reason | None]:
        word = signal_of(severity=severity, holds=holds, at=now - age * HOUR, balance_fen=fen)
        return _examined(alert, [word], [], now)

    return step


def by_clear() -> Step:
    return lambda alert, now: _examined(alert, [], [clear_of(at=now)], now)


def _examined(
    alert: Alert | None, signals: list[Signal], clears: list[Clear], now: datetime
) -> tuple[Alert | None, tuple[Transition, ...], Reason | None]:
    said = transitions(
        open_alerts={} if alert is None else {alert.key: alert}, signals=signals, clears=clears, now=now
    )
    return (said.changed[0] if said.changed else alert), said.transitions, None


def by_act(make: Callable[[datetime], Act]) -> Step:
    def step(alert: Alert | None, now: datetime) -> tuple[Alert | None, tuple[Transition, ...], Reason | None]:
        if alert is None:
            return None, (), None
        act = make(now)
        ruling = decide(alert, act, now=now)
        again = decide(ruling.alert, act, now=now)
        assert again.alert == ruling.alert or not again.is_refused
        return ruling.alert, ruling.transitions, ruling.reason

    return step


def by_time() -> Step:
    def step(alert: Alert | None, now: datetime) -> tuple[Alert | None, tuple[Transition, ...], Reason | None]:
        if alert is None:
            return None, (), None
        ruling = run_out(alert, now=now)
        return ruling.alert, ruling.transitions, None

    return step


def events(nature: bool) -> dict[str, Step]:
    """Everything that can happen to one alert, an hour apart. Acknowledgements end after two hours, snoozes after one
    and a half, so that each can still count, have run out unnoticed, and have run out noticed."""
    return {
        "nothing": lambda alert, now: (alert, (), None),
        "yellow": by_signal(Severity.YELLOW),
        "orange": by_signal(Severity.ORANGE),
        "red": by_signal(Severity.RED),
        "orange, other figures": by_signal(Severity.ORANGE, 1),
        "margin": by_signal(None, holds=Severity.YELLOW),
        "old": by_signal(Severity.RED, age=24),
        "clear": by_clear(),
        "time": by_time(),
        "acknowledge": by_act(lambda now: Acknowledge(by="key:li", note="", until=now + 2 * HOUR)),
        "snooze": by_act(lambda now: Snooze(by="key:li", note="n", until=now + 3 * HOUR / 2)),
        "propose": by_act(lambda now: Propose(by="key:li", note="n", ends=nature)),
        "propose, another": by_act(lambda now: Propose(by="key:wang", note="n", ends=nature)),
        "confirm": by_act(lambda now: Confirm(by="key:wang")),
        "take back acknowledgement": by_act(
            lambda now: TakeBack(by="key:wang", note="n", kind=DecisionKind.ACKNOWLEDGEMENT)
        ),
        "take back snooze": by_act(lambda now: TakeBack(by="key:wang", note="n", kind=DecisionKind.SNOOZE)),
        "take back acceptance": by_act(lambda now: TakeBack(by="key:zhao", note="n", kind=DecisionKind.ACCEPTANCE)),
    }


def heard(before: Heard, transition: Transition) -> Heard:
    """What the reader believes after one more entry. Knows the feed's own words only."""
    alert, kind = transition.alert, transition.kind
    match kind:
        case TransitionKind.OPENED | TransitionKind.REOPENED:
            return replace(before, open=True, severity=alert.severity, quiet=frozenset())
        case TransitionKind.ESCALATED:
            left = frozenset(one for one in before.quiet if one[2].rank >= alert.severity.rank)
            return replace(before, severity=alert.severity, quiet=left)
        case TransitionKind.EASED:
            return replace(before, severity=alert.severity)
        case TransitionKind.RESOLVED:
            return replace(before, open=False, quiet=frozenset())
        case TransitionKind.ACKNOWLEDGED | TransitionKind.SNOOZED | TransitionKind.ACCEPTED:
            until = alert.figures["decision_until"]
            made: Quiet = (
                KINDS[kind], None if until is None else datetime.fromisoformat(str(until)),
                Severity(str(alert.figures["decision_severity"])),
            )
            rest = {one for one in before.quiet if one[0] is not made[0]}
            return replace(before, quiet=frozenset({made} if made[1] is None else {made, *rest}))
        case TransitionKind.RESUMED:
            over = DecisionKind(str(alert.figures["decision"]))
            return replace(before, quiet=frozenset(one for one in before.quiet if one[0] is not over))


def must_hold(
    name: str, was: Alert | None, alert: Alert | None, changes: tuple[Transition, ...], reason: Reason | None,
    before: Heard, now: datetime,
) -> Heard:
    """Check all invariants of one step; return what is believed after it."""
    after = before
    for transition in changes:
        after = heard(after, transition)
    if alert is None:
        assert was is None
        return after
    was_open, is_open = was is not None and was.status is Status.OPEN, alert.status is Status.OPEN
    # 1
    if reason is not None and was_open != is_open:
        accepted_event = alert.decision(DecisionKind.ACCEPTANCE) if was_open else None
        assert (accepted_event is not None and accepted_event.ends) or reason is Reason.TAKEN_BACK
    # 2
    if was_open and not is_open:
        assert name in {"clear", "confirm"}
        assert name == "clear" or alert.decisions[0].proposed_by != alert.decisions[0].by
    # 3
    quiet = quiet_by(alert, now=now)
    if quiet is not None and is_open:
        assert alert.severity.rank <= quiet.evidence.severity.rank
        assert alert.opened_at is not None
        assert alert.opened_at <= quiet.at <= now
        assert quiet.until is None or now < quiet.until
    # 4
    outgrown = {
        *before.outgrown,
        *((one.kind, one.at) for one in (was.decisions if was else ())
          if is_open and alert.severity.rank > one.evidence.severity.rank),
    }
    assert not outgrown & {(one.kind, one.at) for one in alert.decisions}
    # 5
    for one in alert.decisions:
        if one.kind is DecisionKind.ACCEPTANCE:
            assert one.proposed_by is not None
            assert person(one.proposed_by) != person(one.by)
            held = was.decision(DecisionKind.ACCEPTANCE) or was.decision(DecisionKind.PROPOSAL) if was else None
            assert held is not None
            assert held.evidence == one.evidence
    # 6
    if reason in REFUSALS or reason is Reason.UNCHANGED:
        assert alert == was
        assert changes == ()
    # 7
    assert after.open == is_open
    assert not is_open or after.severity is alert.severity
    believed = {one for one in after.quiet if one[1] is None or one[1] > now}
    real = {
        (one.kind, one.until, one.evidence.severity) for one in alert.decisions
        if one.kind is not DecisionKind.PROPOSAL and (one.until is None or one.until > now)
    }
    assert not is_open or believed == real
    # 8
    assert alert.alert_id == alert_id_of(alert.key)
    assert was is None or alert.version == was.version + (alert != was)
    assert len({one.kind for one in alert.decisions}) == len(alert.decisions)
    return replace(after, outgrown=frozenset(outgrown))


@pytest.mark.slow
@pytest.mark.parametrize("nature", [LASTS, HAPPENED], ids=["what lasts", "what happened"])
def test_every_sequence_of_events_up_to_length_six_keeps_the_invariants(nature: bool) -> None:
    every_sequence(nature, LENGTH)


@pytest.mark.parametrize("nature", [LASTS, HAPPENED], ids=["what lasts", "what happened"])
def test_every_sequence_of_events_up_to_length_four_keeps_the_invariants(nature: bool) -> None:
    every_sequence(nature, 4)


def every_sequence(nature: bool, length: int) -> None:
    """Walk all sequences at once. Two that lead to the same alert and the same beliefs go on as one.

    So each step of each sequence is checked, though most are checked only once: a step depends on nothing else.
    """
    alphabet = events(nature)
    paths: dict[tuple[str, Heard], tuple[Alert | None, Heard, int, tuple[str, ...]]] = {
        ("", Heard()): (None, Heard(), 1, ())
    }
    for place in range(length):
        now = START + place * HOUR
        reached: dict[tuple[str, Heard], tuple[Alert | None, Heard, int, tuple[str, ...]]] = {}
        for was, believed, count, path in paths.values():
            for name, step in alphabet.items():
                alert, changes, reason = step(was, now)
                try:
                    after = must_hold(name, was, alert, changes, reason, believed, now)
                except AssertionError as error:
                    raise AssertionError(f"after {[*path, name]}: {error}") from error
                state = (repr(alert), after)
                seen = reached.get(state)
                reached[state] = (alert, after, count + (seen[2] if seen else 0), (*path, name))
        paths = reached
    assert sum(count for _, _, count, _ in paths.values()) == len(alphabet) ** length


# ---- long lives -------------------------------------------------------------------------------------------------

PEOPLE = st.sampled_from(["key:li", "key:wang", "cli:li"])
KEYS = [key_of(subject) for subject in ("a", "b")]
hours = st.integers(0, 30).map(lambda n: n * HOUR)


class Office(RuleBasedStateMachine):
    """A book that is told anything, in which anybody decides anything: the feed alone must tell what is quiet."""

    def __init__(self) -> None:
        super().__init__()
        self.book = MemoryAlertBook(channels=["log"])
        self.now = START
        self.believed = {alert_id_of(key): Heard() for key in KEYS}

    def hear(self, entries: tuple[FeedEntry, ...]) -> None:
        for entry in entries:
            alert = self.book.alert(entry.alert_id)
            assert alert is not None
            told_so = Transition(
                kind=entry.transition, reason=entry.reason, at=entry.recorded_at,
                alert=replace(alert, severity=entry.severity, figures=entry.figures),
            )
            self.believed[entry.alert_id] = heard(self.believed[entry.alert_id], told_so)

    @rule(later=hours)
    def wait(self, later: timedelta) -> None:
        self.now += later

    @rule(data=st.data(), key=st.sampled_from(KEYS), fen=st.sampled_from([1, 2]))
    def examine(self, data: st.DataObject, key: object, fen: int) -> None:
        severity = data.draw(st.sampled_from([None, *Severity]))
        at = self.now - data.draw(hours) * data.draw(st.integers(0, 1))
        signals, clears = [], []
        if severity is None:
            clears = [clear_of(key, at=at, resolve_after=data.draw(hours))]  # type: ignore[arg-type]
        else:
            signals = [signal_of(key, severity, at=at, balance_fen=fen, open_after=data.draw(hours) / 10)]  # type: ignore[arg-type]
        self.hear(self.book.advance(signals=signals, clears=clears, now=self.now, cause="test"))

    @rule(data=st.data(), key=st.sampled_from(KEYS), by=PEOPLE)
    def act(self, data: st.DataObject, key: object, by: str) -> None:
        until = self.now + data.draw(st.integers(-1, 40 * 24)) * HOUR
        act = data.draw(st.sampled_from([
            Acknowledge(by=by, note="", until=until), Snooze(by=by, note="n", until=until),
            Propose(by=by, note="n", ends=key == KEYS[0]), Confirm(by=by),
            *(TakeBack(by=by, note="n", kind=kind) for kind in DecisionKind),
        ]))
        alert_id = alert_id_of(key)  # type: ignore[arg-type]
        before = self.book.alert(alert_id)
        decided = self.book.decide(alert_id, act, now=self.now)
        assert (decided is None) == (before is None)
        if decided is not None:
            assert decided.reason in REASON_WORDS
            assert decided.alert == self.book.alert(alert_id)
            assert (decided.reason in REFUSALS or decided.reason is Reason.UNCHANGED) == (decided.alert == before)
            self.hear(decided.entries)

    @rule()
    def time_goes_by(self) -> None:
        self.hear(self.book.run_out(now=self.now))
        for alert in self.book.alerts.values():
            assert all(one.until is None or one.until > self.now for one in alert.decisions)

    @invariant()
    def the_feed_tells_what_is_open_and_quiet(self) -> None:
        for alert_id, believed in self.believed.items():
            alert = self.book.alert(alert_id)
            is_open = alert is not None and alert.status is Status.OPEN
            assert believed.open == is_open
            if alert is not None and is_open:
                assert believed.severity is alert.severity
                still = {one for one in believed.quiet if one[1] is None or one[1] > self.now}
                assert {one[0] for one in still} == {
                    one.kind for one in alert.decisions
                    if one.kind is not DecisionKind.PROPOSAL and (one.until is None or one.until > self.now)
                }

    @invariant()
    def what_stands_stands_in_the_history_and_nothing_else_does(self) -> None:
        for alert in self.book.alerts.values():
            past = self.book.decisions(alert.alert_id)
            assert {one.decision.kind for one in past if one.ended_at is None} == {d.kind for d in alert.decisions}
            assert all((one.ended_at is None) == (one.ended_reason is None) for one in past)

    @invariant()
    def the_feed_is_dense(self) -> None:
        assert [entry.seq for entry in self.book.entries(after=0, limit=10_000)] == [*range(1, self.book.head() + 1)]


TestOffice = Office.TestCase
TestOffice.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


