"""The lifecycle: a table of stories, every small case against a second opinion, and long random lives."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from alerts.alert import (
    Alert,
    AlertKey,
    Clear,
    FeedEntry,
    Reason,
    Severity,
    Signal,
    Status,
    TransitionKind,
)
from alerts.book import MemoryAlertBook
from alerts.lifecycle import Transitions, transitions
from alerts.testing import START, clear_of, key_of, signal_of

HOUR = timedelta(hours=1)
SEVERITIES = (None, *Severity)
YELLOW, ORANGE, RED = Severity.YELLOW, Severity.ORANGE, Severity.RED


def said(known: Alert | None, *words: Signal | Clear, now: datetime = START) -> Transitions:
    return transitions(
        open_alerts={} if known is None else {known.key: known},
        signals=[word for word in words if isinstance(word, Signal)],
        clears=[word for word in words if isinstance(word, Clear)],
        now=now,
    )


def after(known: Alert | None, *words: Signal | Clear, now: datetime = START) -> Alert | None:
    decided = said(known, *words, now=now)
    return decided.changed[0] if decided.changed else known


def opened(severity: Severity = RED, at: datetime = START) -> Alert:
    alert = after(None, signal_of(severity=severity, at=at), now=at)
    assert alert is not None
    return alert


def resolved(at: datetime = START) -> Alert:
    alert = after(opened(at=at), clear_of(at=at), now=at)
    assert alert is not None
    return alert


def pending(at: datetime = START, open_after: timedelta = HOUR) -> Alert:
    alert = after(None, signal_of(at=at, open_after=open_after), now=at)
    assert alert is not None
    return alert


# ---- stories ----------------------------------------------------------------------------------------------------


def test_a_bank_that_did_not_answer_resolves_nothing() -> None:
    decided = transitions(open_alerts={key_of(): opened()}, signals=[], clears=[], now=START + HOUR)
    assert decided == Transitions(changed=(), transitions=(), verdicts=())


def test_a_clear_of_another_key_resolves_nothing() -> None:
    decided = transitions(
        open_alerts={key_of("a"): opened()}, signals=[], clears=[clear_of(key_of("b"))], now=START + HOUR
    )
    assert decided.changed == ()
    assert [(d.key.subject, d.reason) for d in decided.verdicts] == [("b", Reason.UNCHANGED)]


def test_a_signal_that_says_neither_severity_nor_margin_says_nothing() -> None:
    for known in (None, opened(), resolved(), pending()):
        decided = said(known, signal_of(severity=None, at=START + HOUR), now=START + HOUR)
        assert decided.changed == ()
        assert decided.verdicts[0].reason is Reason.NOT_EXAMINED


@pytest.mark.parametrize(
    ("was", "severity", "holds", "becomes", "reason"),
    [
        (YELLOW, RED, RED, RED, Reason.SEVERITY_ROSE),
        (RED, RED, RED, RED, Reason.UNCHANGED),
        (RED, ORANGE, RED, RED, Reason.WITHIN_MARGIN),
        (RED, ORANGE, ORANGE, ORANGE, Reason.SEVERITY_FELL),
        (RED, ORANGE, None, ORANGE, Reason.SEVERITY_FELL),
        (RED, YELLOW, ORANGE, ORANGE, Reason.SEVERITY_FELL),
        (YELLOW, None, YELLOW, YELLOW, Reason.WITHIN_MARGIN),
        (RED, None, YELLOW, YELLOW, Reason.SEVERITY_FELL),
        (YELLOW, None, RED, YELLOW, Reason.WITHIN_MARGIN),
        (YELLOW, ORANGE, RED, ORANGE, Reason.SEVERITY_ROSE),
    ],
)
def test_an_open_alert_moves_by_what_is_seen_and_what_the_margin_holds(
    was: Severity, severity: Severity | None, holds: Severity | None, becomes: Severity, reason: Reason
) -> None:
    decided = said(opened(was), signal_of(severity=severity, holds=holds, at=START + HOUR), now=START + HOUR)
    assert decided.changed[0].severity is becomes
    assert decided.verdicts[0].reason is reason
    assert len(decided.transitions) == (0 if reason in {Reason.UNCHANGED, Reason.WITHIN_MARGIN} else 1)


def test_something_in_the_margin_opens_nothing() -> None:
    decided = said(None, signal_of(severity=None, holds=YELLOW))
    assert decided.changed == ()
    assert decided.verdicts[0].reason is Reason.WITHIN_MARGIN


def test_a_condition_opens_only_after_it_has_held() -> None:
    alert = pending()
    assert (alert.status, alert.opened_at) == (Status.PENDING, None)
    almost = said(alert, signal_of(at=START + HOUR, open_after=HOUR), now=START + HOUR - timedelta(seconds=1))
    assert (almost.transitions, almost.verdicts[0].reason) == ((), Reason.NOT_HELD_LONG_ENOUGH)
    held = said(almost.changed[0], signal_of(at=START + HOUR, open_after=HOUR), now=START + HOUR)
    (transition,) = held.transitions
    assert (transition.kind, transition.reason) == (TransitionKind.OPENED, Reason.CONDITION_HELD)
    assert (transition.alert.first_seen_at, transition.alert.opened_at) == (START, START + HOUR)


def test_one_that_went_before_it_opened_was_never_heard_of() -> None:
    for word in (clear_of(at=START + HOUR), signal_of(severity=None, holds=RED, at=START + HOUR)):
        decided = said(pending(open_after=2 * HOUR), word, now=START + HOUR)
        assert decided.transitions == ()
        assert decided.verdicts[0].reason is Reason.NEVER_OPENED
        assert decided.changed[0].status is Status.RESOLVED
        again = said(decided.changed[0], signal_of(at=START + 2 * HOUR), now=START + 2 * HOUR)
        assert again.transitions[0].kind is TransitionKind.OPENED
        assert again.changed[0].episode == 1


def test_the_for_time_begins_again_after_a_break() -> None:
    broken = after(pending(open_after=2 * HOUR), clear_of(at=START + HOUR), now=START + HOUR)
    again = after(broken, signal_of(at=START + 2 * HOUR, open_after=2 * HOUR), now=START + 2 * HOUR)
    assert again is not None
    assert (again.status, again.first_seen_at) == (Status.PENDING, START + 2 * HOUR)


def test_one_that_ended_reopens_in_place() -> None:
    decided = said(resolved(), signal_of(at=START + HOUR), now=START + HOUR)
    (transition,) = decided.transitions
    assert (transition.kind, transition.reason) == (TransitionKind.REOPENED, Reason.SEEN_AGAIN)
    assert (transition.alert.episode, transition.alert.alert_id) == (2, opened().alert_id)
    assert (transition.alert.resolved_at, transition.alert.opened_at) == (None, START + HOUR)


def test_one_that_ended_and_waits_to_reopen_keeps_the_end_of_its_last_episode() -> None:
    waiting = after(resolved(), signal_of(at=START + HOUR, open_after=HOUR), now=START + HOUR)
    assert waiting is not None
    assert (waiting.status, waiting.episode, waiting.resolved_at) == (Status.PENDING, 1, START)
    gone = after(waiting, clear_of(at=START + 2 * HOUR), now=START + 2 * HOUR)
    assert gone is not None
    assert (gone.status, gone.opened_at, gone.resolved_at) == (Status.RESOLVED, START, START)
    reopened = said(waiting, signal_of(at=START + 2 * HOUR, open_after=HOUR), now=START + 2 * HOUR)
    assert reopened.transitions[0].kind is TransitionKind.REOPENED
    assert reopened.changed[0].episode == 2


def test_absence_must_last_before_an_alert_ends_and_a_sighting_breaks_it() -> None:
    at = [START + n * HOUR for n in range(6)]
    first = said(opened(), clear_of(at=at[1], resolve_after=2 * HOUR), now=at[1])
    assert (first.transitions, first.verdicts[0].reason) == ((), Reason.NOT_ABSENT_LONG_ENOUGH)
    assert first.changed[0].absent_since == at[1]
    seen = after(first.changed[0], signal_of(severity=None, holds=RED, at=at[2]), now=at[2])
    assert seen is not None
    assert (seen.status, seen.absent_since) == (Status.OPEN, None)
    second = after(seen, clear_of(at=at[3], resolve_after=2 * HOUR), now=at[3])
    third = said(second, clear_of(at=at[5], resolve_after=2 * HOUR), now=at[5])
    assert third.transitions[0].reason is Reason.EXAMINED_AND_ABSENT
    assert (third.changed[0].resolved_at, third.changed[0].absent_since) == (at[5], None)


def test_an_alert_says_what_its_last_examination_said() -> None:
    clear = clear_of(at=START + HOUR)
    ended = after(opened(), clear, now=START + HOUR)
    absent = after(opened(), clear_of(at=START + HOUR, resolve_after=HOUR), now=START + HOUR)
    dropped = after(pending(), clear, now=START + HOUR)
    for alert in (ended, absent, dropped):
        assert alert is not None
        assert (alert.standing, alert.why, alert.figures) == (clear.standing, clear.why, clear.figures)
        assert alert.labels == signal_of().labels
    signal = signal_of(at=START + HOUR, balance_fen=1, labels={"bank": "b"})
    for known in (opened(), pending(), resolved(), None):
        alert = after(known, signal, now=START + HOUR)
        assert alert is not None
        assert (alert.standing, alert.why) == (signal.standing, signal.why)
        assert (alert.figures, alert.labels) == (signal.figures, signal.labels)
        assert (alert.as_of, alert.seen_at) == (START + HOUR, START + HOUR)


def test_a_resolved_alert_keeps_the_sentence_it_ended_with_but_not_an_older_time() -> None:
    ended = resolved()
    for word in (clear_of(at=START + HOUR), signal_of(severity=None, holds=RED, at=START + HOUR)):
        noted = after(ended, word, now=START + HOUR)
        assert noted == replace(ended, as_of=START + HOUR, seen_at=START + HOUR, version=ended.version + 1)
        assert said(noted, signal_of(at=START + HOUR / 2), now=START + 2 * HOUR).changed == ()
    assert said(ended, clear_of(), now=START + HOUR).changed == ()


def test_of_two_words_about_one_key_the_newest_counts_and_of_equally_new_the_worst() -> None:
    cases = [
        ([clear_of(at=START), signal_of(at=START)], "open"),
        ([clear_of(at=START + HOUR), signal_of(at=START)], None),
        ([signal_of(severity=YELLOW), signal_of(severity=RED)], "open"),
        ([signal_of(severity=None, at=START + HOUR), signal_of(severity=RED, at=START)], "open"),
    ]
    for words, status in cases:
        for order in itertools.permutations(words):
            decided = said(None, *order, now=START + HOUR)
            assert len(decided.verdicts) == 1
            assert [alert.status.value for alert in decided.changed] == ([] if status is None else [status])
            assert all(alert.severity is RED for alert in decided.changed)


def test_of_two_words_that_weigh_the_same_the_first_counts() -> None:
    decided = said(None, signal_of(balance_fen=1), signal_of(balance_fen=2))
    assert decided.changed[0].figures["balance_fen"] == 1


def test_keys_are_decided_in_the_order_in_which_they_were_spoken_of() -> None:
    signals = [signal_of(key_of(subject)) for subject in "cab"]
    decided = transitions(open_alerts={}, signals=signals, clears=[clear_of(key_of("0"))], now=START)
    assert [d.key.subject for d in decided.verdicts] == ["c", "a", "b", "0"]
    assert [t.alert.key.subject for t in decided.transitions] == ["c", "a", "b"]


# ---- every small case, against a second opinion ------------------------------------------------------------------


def every_known() -> Iterator[Alert | None]:
    """Nothing, and every status with every history that can lead to it."""
    yield None
    for severity in Severity:
        waiting = replace(pending(), severity=severity)
        yield waiting
        yield replace(waiting, opened_at=START - 9 * HOUR, resolved_at=START - 8 * HOUR)
        for absent_since in (None, START):
            yield replace(opened(severity), absent_since=absent_since)
        yield replace(resolved(), severity=severity)
        yield replace(resolved(), severity=severity, opened_at=None)


def every_word() -> Iterator[Signal | Clear]:
    for at, lasting in itertools.product((START - HOUR, START, START + HOUR), (timedelta(0), HOUR, 2 * HOUR)):
        yield clear_of(at=at, resolve_after=lasting)
        for severity, holds in itertools.product(SEVERITIES, SEVERITIES):
            yield signal_of(severity=severity, holds=holds, at=at, open_after=lasting)


def rank(severity: Severity | None) -> int:
    return severity.rank if severity else 0


def opinion(known: Alert | None, word: Signal | Clear, now: datetime) -> tuple[str, int, str | None]:
    """The same decision written another way: status, severity rank and transition that must come out."""
    status = known.status.value if known else "none"
    level = rank(known.severity) if known else 0
    ever = known is not None and known.opened_at is not None
    if known and word.as_of < known.as_of:
        return status, level, None
    if isinstance(word, Clear):
        waited = now - (known.absent_since or now) if known else timedelta(0)
        table = {
            "none": ("none", None),
            "pending": ("resolved", None),
            "resolved": ("resolved", None),
            "open": ("resolved", "resolved") if waited >= word.resolve_after else ("open", None),
        }
        becomes, kind = table[status]
        return becomes, level, kind
    seen, held = rank(word.severity), rank(word.holds)
    if seen == held == 0:
        return status, level, None
    if status == "open":
        to = max(seen, min(level, held))
        return "open", to, "escalated" if to > level else "eased" if to < level else None
    if not seen:
        return ("resolved" if status == "pending" else status), level, None
    waited = now - known.first_seen_at if known and status == "pending" else timedelta(0)
    if waited < word.open_after:
        return "pending", seen, None
    return "open", seen, "reopened" if ever else "opened"


def must_be_whole(alert: Alert) -> None:
    """What holds of every alert at any time."""
    assert alert.first_seen_at <= alert.seen_at
    match alert.status:
        case Status.OPEN:
            assert alert.opened_at is not None
            assert alert.resolved_at is None
        case Status.RESOLVED:
            assert alert.resolved_at is not None
            assert alert.absent_since is None
        case Status.PENDING:
            assert alert.absent_since is None
            assert alert.opened_at is None or alert.resolved_at is not None


def test_every_small_case_comes_out_as_a_second_opinion_says() -> None:
    cases = 0
    for known, word, now in itertools.product(every_known(), every_word(), (START + HOUR, START + 3 * HOUR)):
        decided = said(known, word, now=now)
        status, level, kind = opinion(known, word, now)
        alert = decided.changed[0] if decided.changed else known
        assert (alert.status.value if alert else "none", rank(alert.severity) if alert else 0) == (status, level)
        assert [t.kind.value for t in decided.transitions] == ([] if kind is None else [kind])
        assert len(decided.verdicts) == 1
        assert all(t.alert in decided.changed and t.at == now for t in decided.transitions)
        for changed in decided.changed:
            must_be_whole(changed)
            assert changed != known
            assert changed.version == (1 if known is None else known.version + 1)
            assert changed.episode == (known.episode if known else 1) + (kind == "reopened")
        again = said(alert, word, now=now)
        assert (again.changed, again.transitions) == ((), ())
        cases += 1
    assert cases > 9000


# ---- long lives -------------------------------------------------------------------------------------------------

KEYS = [key_of(subject, period=period) for subject in ("a", "b") for period in ("2026-03", "2026-04")]
hours = st.integers(0, 4).map(lambda n: n * HOUR)
severities = st.sampled_from(SEVERITIES)


@st.composite
def word_about(draw: st.DrawFn, now: datetime) -> Signal | Clear:
    key, at = draw(st.sampled_from(KEYS)), now - draw(hours)
    if draw(st.booleans()):
        return clear_of(key, at=at, resolve_after=draw(hours))
    return signal_of(key, draw(severities), holds=draw(severities), at=at, open_after=draw(hours))


class Life(RuleBasedStateMachine):
    """A book that is told anything in any order: the feed alone must tell which alerts are open, and how bad."""

    def __init__(self) -> None:
        super().__init__()
        self.book = MemoryAlertBook(channels=["log", "webhook"])
        self.now = START
        self.heard: dict[AlertKey, Severity] = {}
        self.seen: list[FeedEntry] = []

    @rule(data=st.data(), hours_later=st.integers(0, 5), count=st.integers(0, 5))
    def examine(self, data: st.DataObject, hours_later: int, count: int) -> None:
        self.now += hours_later * HOUR
        words = [data.draw(word_about(self.now)) for _ in range(count)]
        spoken_of = {word.key for word in words}
        before = dict(self.book.alerts)
        entries = self.book.advance(
            signals=[word for word in words if isinstance(word, Signal)],
            clears=[word for word in words if isinstance(word, Clear)],
            now=self.now,
            cause="test",
        )
        assert all(before.get(key) == alert for key, alert in self.book.alerts.items() if key not in spoken_of)
        cleared = {word.key for word in words if isinstance(word, Clear)}
        assert all(e.key in cleared for e in entries if e.transition is TransitionKind.RESOLVED)
        for entry in entries:
            self.hear(entry)

    def hear(self, entry: FeedEntry) -> None:
        was = self.heard.get(entry.key)
        match entry.transition:
            case TransitionKind.OPENED | TransitionKind.REOPENED:
                assert was is None
            case TransitionKind.ESCALATED:
                assert was is not None
                assert entry.severity.rank > was.rank
            case TransitionKind.EASED:
                assert was is not None
                assert entry.severity.rank < was.rank
            case TransitionKind.RESOLVED:
                assert was is entry.severity
            case other:
                raise AssertionError(f"the lifecycle does not {other}")
        if entry.transition is TransitionKind.RESOLVED:
            del self.heard[entry.key]
        else:
            self.heard[entry.key] = entry.severity
        self.seen.append(entry)

    @invariant()
    def the_feed_tells_what_is_open(self) -> None:
        assert {alert.key: alert.severity for alert in self.book.open_alerts()} == self.heard

    @invariant()
    def the_feed_is_dense_and_never_changes(self) -> None:
        assert self.book.entries(after=0, limit=10**6) == self.seen
        assert [entry.seq for entry in self.seen] == list(range(1, self.book.head() + 1))

    @invariant()
    def every_entry_is_owed_once_to_every_channel(self) -> None:
        assert [d.delivery_id for d in self.book.owed] == [
            f"evt_{entry.seq}_{channel}" for entry in self.seen for channel in ("log", "webhook")
        ]

    @invariant()
    def every_alert_is_whole(self) -> None:
        for alert in self.book.alerts.values():
            must_be_whole(alert)


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=50, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    words=st.lists(word_about(START + 6 * HOUR), max_size=6, unique_by=lambda word: word.key),
    chance=st.randoms(use_true_random=False),
)
def test_the_order_of_the_words_does_not_change_what_is_decided(words: list[Signal | Clear], chance: Random) -> None:
    known = {key: replace(opened(), key=key, as_of=START + 3 * HOUR) for key in KEYS[:2]}

    def decided(in_order: list[Signal | Clear]) -> set[tuple[AlertKey, Status, Severity]]:
        result = transitions(
            open_alerts=known,
            signals=[word for word in in_order if isinstance(word, Signal)],
            clears=[word for word in in_order if isinstance(word, Clear)],
            now=START + 6 * HOUR,
        )
        return {(alert.key, alert.status, alert.severity) for alert in result.changed}

    shuffled = list(words)
    chance.shuffle(shuffled)
    assert decided(shuffled) == decided(words)
