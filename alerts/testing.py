"""What every AlertBook and every Channel must pass, and a channel that only remembers."""

# ruff: noqa: S101 - these are tests: they assert, wherever they are shipped.

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from alerts.alert import (
    Alert,
    AlertKey,
    Clear,
    DecisionKind,
    FeedEntry,
    Figure,
    Reason,
    Severity,
    Signal,
    Status,
    TransitionKind,
    Why,
    alert_id_of,
)
from alerts.book import AlertBook, Decided
from alerts.channel import Channel, DigestChannel, Owed
from alerts.decisions import Acknowledge, Act, Confirm, Propose, Snooze, TakeBack
from alerts.delivery import NotSent, Sent, message_id

START = datetime(2026, 3, 2, 1, 30, tzinfo=UTC)


def key_of(subject: str = "62170001", *, rule: str = "floor", period: str = "2026-03") -> AlertKey:
    return AlertKey(rule, subject, period)


def signal_of(
    key: AlertKey | None = None,
    severity: Severity | None = Severity.RED,
    *,
    at: datetime = START,
    holds: Severity | None = None,
    open_after: timedelta = timedelta(0),
    balance_fen: int = 99_00,
    labels: Mapping[str, str] | None = None,
) -> Signal:
    """A signal of a floor that is not met, examined at `at`."""
    return Signal(
        key=key_of() if key is None else key,
        severity=severity,
        holds=holds,
        standing="breached",
        why=Why(zh=f"余额 {balance_fen} 分，低于底线 10000 分", en=f"holds {balance_fen} fen, the floor is 10000 fen"),
        figures={"balance_fen": balance_fen, "floor_fen": 100_00, "currency": "CNY", "top_up_by": None},
        labels={"uscc": "91510300MA62000000", "account_no": "62170001", "district": "510302"}
        if labels is None
        else labels,
        as_of=at,
        open_after=open_after,
    )


def clear_of(
    key: AlertKey | None = None, *, at: datetime = START, resolve_after: timedelta = timedelta(0)
) -> Clear:
    """An examination at `at` that found the floor met."""
    figures: dict[str, Figure] = {"balance_fen": 120_00, "floor_fen": 100_00}
    return Clear(
        key=key_of() if key is None else key,
        standing="met",
        why=Why(zh="余额 12000 分，不低于底线 10000 分", en="holds 12000 fen, the floor is 10000 fen"),
        figures=figures,
        as_of=at,
        resolve_after=resolve_after,
    )


def entry_of(seq: int = 1, **changes: object) -> FeedEntry:
    """A feed entry as a book would publish it: an opened red alert under `signal_of()`."""
    signal = signal_of()
    fields: dict[str, object] = {
        "seq": seq,
        "alert_id": alert_id_of(signal.key),
        "transition": TransitionKind.OPENED,
        "reason": Reason.CONDITION_SEEN,
        "key": signal.key,
        "severity": Severity.RED,
        "standing": signal.standing,
        "why": signal.why,
        "figures": signal.figures,
        "labels": signal.labels,
        "as_of": START,
        "recorded_at": START + timedelta(seconds=seq),
        "opened_at": START + timedelta(seconds=seq),
        "audit_seq": seq,
        "audit_head": f"{seq:064x}",
    }
    return FeedEntry(**(fields | changes))  # type: ignore[arg-type]  # the names are FeedEntry's own


class RecordingChannel:
    """Remembers what it was asked to send, and answers as it is told (Sent, unless `answer` says otherwise)."""

    def __init__(
        self, name: str = "recording", answer: Callable[[FeedEntry], Sent | NotSent] | None = None
    ) -> None:
        self.name = name
        self.sent: list[tuple[str, FeedEntry]] = []
        self._answer = answer

    def send(self, entry: FeedEntry, *, message_id: str) -> Sent | NotSent:
        self.sent.append((message_id, entry))
        return Sent(detail="recorded") if self._answer is None else self._answer(entry)

    def ping(self, *, message_id: str) -> Sent | NotSent:
        """Remember the test as a message about an invented entry."""
        return self.send(entry_of(0), message_id=message_id)

    def preview(self, entry: FeedEntry) -> str:
        return entry.why.en

    def close(self) -> None:
        """Nothing is held."""


class ChannelSuite:
    """What every channel must pass. A subclass gives two fixtures.

    `channel` reaches somebody who takes everything; `broken_channel` reaches nobody, or one who fails for now.
    """

    def test_it_has_a_name_that_can_stand_in_a_message_id(self, channel: Channel) -> None:
        assert message_id(1, channel.name) == f"evt_1_{channel.name}"

    def test_what_is_taken_is_sent(self, channel: Channel) -> None:
        answer = channel.send(entry_of(1), message_id="evt_1_x")
        assert isinstance(answer, Sent)
        assert answer.detail

    def test_a_repeat_under_the_same_id_is_no_fault(self, channel: Channel) -> None:
        answers = [channel.send(entry_of(1), message_id="evt_1_x") for _ in range(2)]
        assert all(isinstance(answer, Sent) for answer in answers)

    def test_every_kind_and_severity_can_be_sent(self, channel: Channel) -> None:
        for seq, kind in enumerate(TransitionKind, start=1):
            for severity in Severity:
                entry = entry_of(seq, transition=kind, severity=severity, opened_at=None)
                assert isinstance(channel.send(entry, message_id=f"evt_{seq}_x"), Sent)

    def test_a_sentence_with_anything_in_it_can_be_sent(self, channel: Channel) -> None:
        why = Why(zh="甲\x00乙\n<&>\"'\u2028 余额", en="a\x1b[31m\ttab \U0001f4b0")
        entry = entry_of(1, why=why, labels={}, figures={})
        assert isinstance(channel.send(entry, message_id="evt_1_x"), Sent)

    def test_what_the_other_side_fails_to_do_is_an_answer_and_may_be_tried_again(
        self, broken_channel: Channel
    ) -> None:
        for answer in (broken_channel.send(entry_of(1), message_id="evt_1_x"), broken_channel.ping(message_id="t")):
            assert isinstance(answer, NotSent)
            assert not answer.permanent
            assert answer.detail

    def test_a_sentence_that_is_very_long_can_be_sent(self, channel: Channel) -> None:
        entry = entry_of(1, why=Why(zh="余额低于底线，" * 1500, en="below the floor, " * 1500))
        assert isinstance(channel.send(entry, message_id="evt_1_x"), Sent)

    def test_a_test_message_can_be_sent(self, channel: Channel) -> None:
        assert isinstance(channel.ping(message_id="test_1_x"), Sent)

    def test_a_preview_calls_nobody_and_shows_the_entry(self, broken_channel: Channel) -> None:
        shown = broken_channel.preview(entry_of(7))
        assert "floor" in shown
        assert "10000" in shown

    def test_several_together_are_sent(self, channel: Channel) -> None:
        if not isinstance(channel, DigestChannel):
            return
        owed = [Owed(entry_of(seq), f"evt_{seq}_x") for seq in range(1, 8)]
        assert 1 <= channel.fits(owed) <= 7
        assert channel.fits(owed[:1]) == 1
        assert isinstance(channel.send_digest(owed[: channel.fits(owed)]), Sent)

    def test_it_can_be_closed_twice(self, channel: Channel) -> None:
        channel.send(entry_of(1), message_id="evt_1_x")
        channel.close()
        channel.close()


class OutsideChannelSuite(ChannelSuite):
    """What every channel that calls somebody must pass besides. A subclass gives three more fixtures.

    `refusing_channel` reaches one who refuses it for good, `silent_channel` one who takes the connection and says
    nothing (with a timeout of a second), `secrets` are the words that must never show.
    """

    def test_a_refusal_for_good_is_permanent_and_says_why(
        self, refusing_channel: Channel, secrets: Sequence[str]
    ) -> None:
        for answer in (refusing_channel.send(entry_of(1), message_id="evt_1_x"), refusing_channel.ping(message_id="t")):
            assert isinstance(answer, NotSent)
            assert answer.permanent
            assert answer.detail
            assert not [secret for secret in secrets if secret in answer.detail]

    def test_one_who_says_nothing_is_not_waited_for_without_end(
        self, silent_channel: Channel, secrets: Sequence[str]
    ) -> None:
        began = time.monotonic()
        answer = silent_channel.send(entry_of(1), message_id="evt_1_x")
        assert isinstance(answer, NotSent)
        assert not answer.permanent
        assert time.monotonic() - began < 8
        assert not [secret for secret in secrets if secret in answer.detail]

    def test_no_secret_shows(
        self, channel: Channel, broken_channel: Channel, secrets: Sequence[str]
    ) -> None:
        answers = [channel.send(entry_of(1), message_id="evt_1_x"), broken_channel.ping(message_id="t")]
        shown = " ".join([channel.preview(entry_of(1)), *(answer.detail for answer in answers)])
        assert secrets
        assert not [secret for secret in secrets if secret in shown]


class AlertBookSuite:
    """What every AlertBook must pass. A subclass gives a fixture `book`: an empty book, ready to write."""

    def test_an_empty_book_says_so(self, book: AlertBook) -> None:
        assert book.head() == 0
        assert book.entries(after=0, limit=10) == []
        assert book.open_alerts() == []

    def test_a_signal_opens_an_alert_and_publishes_it_as_number_one(self, book: AlertBook) -> None:
        signal = signal_of()
        (entry,) = _said(book, START, signal)
        assert (entry.seq, entry.transition, entry.reason) == (1, TransitionKind.OPENED, Reason.CONDITION_SEEN)
        assert entry.alert_id == alert_id_of(signal.key)
        assert (entry.recorded_at, entry.as_of, entry.opened_at) == (START, START, START)
        assert book.head() == 1
        (alert,) = book.open_alerts()
        assert (alert.status, alert.severity, alert.episode) == (Status.OPEN, Severity.RED, 1)

    def test_what_is_read_back_is_what_was_published(self, book: AlertBook) -> None:
        published = _said(book, START, signal_of(), signal_of(key_of("b"), Severity.YELLOW, labels={}))
        assert tuple(book.entries(after=0, limit=10)) == published
        first, second = book.entries(after=0, limit=10)
        assert dict(first.figures) == dict(signal_of().figures)
        assert dict(first.labels) == dict(signal_of().labels)
        assert first.why == signal_of().why
        assert dict(second.labels) == {}
        assert all(entry.as_of.tzinfo is not None and entry.recorded_at.tzinfo is not None for entry in published)

    def test_the_same_words_again_publish_nothing(self, book: AlertBook) -> None:
        _said(book, START, signal_of())
        before = book.open_alerts()
        assert _said(book, START, signal_of()) == ()
        assert book.open_alerts() == before
        assert book.head() == 1

    def test_new_figures_of_the_same_severity_are_kept_but_not_published(self, book: AlertBook) -> None:
        _said(book, START, signal_of())
        later = START + timedelta(hours=1)
        assert _said(book, later, signal_of(at=later, balance_fen=98_00)) == ()
        (alert,) = book.open_alerts()
        assert alert.figures["balance_fen"] == 98_00
        assert (alert.seen_at, alert.as_of, alert.opened_at) == (later, later, START)
        assert book.entries(after=0, limit=10)[0].figures["balance_fen"] == 99_00

    def test_the_numbers_are_dense_over_many_advances(self, book: AlertBook) -> None:
        for step in range(6):
            at = START + timedelta(hours=step)
            _said(book, at, *(signal_of(key_of(f"{step}-{n}"), at=at) for n in range(step)))
        entries = book.entries(after=0, limit=100)
        assert [entry.seq for entry in entries] == list(range(1, 16))
        assert book.head() == 15

    def test_entries_are_read_in_pages_in_order(self, book: AlertBook) -> None:
        _said(book, START, *(signal_of(key_of(f"{n:02}")) for n in range(7)))
        assert [entry.seq for entry in book.entries(after=0, limit=3)] == [1, 2, 3]
        assert [entry.seq for entry in book.entries(after=3, limit=3)] == [4, 5, 6]
        assert [entry.seq for entry in book.entries(after=6, limit=3)] == [7]
        assert book.entries(after=7, limit=3) == []
        assert book.entries(after=99, limit=3) == []

    def test_an_alert_rises_falls_and_resolves_in_the_feed(self, book: AlertBook) -> None:
        hours = [START + timedelta(hours=hour) for hour in range(4)]
        _said(book, hours[0], signal_of(severity=Severity.YELLOW))
        _said(book, hours[1], signal_of(severity=Severity.RED, at=hours[1]))
        _said(book, hours[2], signal_of(severity=Severity.ORANGE, at=hours[2]))
        _said(book, hours[3], clear_of(at=hours[3]))
        entries = book.entries(after=0, limit=10)
        assert [entry.transition.value for entry in entries] == ["opened", "escalated", "eased", "resolved"]
        assert [entry.severity.value for entry in entries] == ["yellow", "red", "orange", "orange"]
        assert entries[-1].standing == "met"
        assert book.open_alerts() == []

    def test_what_was_not_examined_stays_open(self, book: AlertBook) -> None:
        _said(book, START, signal_of(key_of("a")), signal_of(key_of("b")))
        later = START + timedelta(days=1)
        _said(book, later, clear_of(key_of("a"), at=later))
        assert [alert.key.subject for alert in book.open_alerts()] == ["b"]
        assert _said(book, later + timedelta(days=1)) == ()
        assert [alert.key.subject for alert in book.open_alerts()] == ["b"]

    def test_a_clear_in_april_does_not_end_march(self, book: AlertBook) -> None:
        _said(book, START, signal_of(key_of(period="2026-03")))
        later = START + timedelta(days=31)
        assert _said(book, later, clear_of(key_of(period="2026-04"), at=later)) == ()
        assert [alert.key.period for alert in book.open_alerts()] == ["2026-03"]

    def test_an_alert_that_ended_reopens_under_the_same_id(self, book: AlertBook) -> None:
        hours = [START + timedelta(hours=hour) for hour in range(3)]
        (opened,) = _said(book, hours[0], signal_of())
        _said(book, hours[1], clear_of(at=hours[1]))
        (reopened,) = _said(book, hours[2], signal_of(at=hours[2]))
        assert (reopened.transition, reopened.alert_id) == (TransitionKind.REOPENED, opened.alert_id)
        (alert,) = book.open_alerts()
        assert (alert.episode, alert.opened_at, alert.resolved_at) == (2, hours[2], None)

    def test_the_for_time_is_remembered_between_advances(self, book: AlertBook) -> None:
        hold = timedelta(hours=2)
        hours = [START + timedelta(hours=hour) for hour in range(3)]
        assert _said(book, hours[0], signal_of(open_after=hold)) == ()
        assert book.open_alerts() == []
        assert _said(book, hours[1], signal_of(at=hours[1], open_after=hold)) == ()
        (entry,) = _said(book, hours[2], signal_of(at=hours[2], open_after=hold))
        assert (entry.seq, entry.reason, entry.opened_at) == (1, Reason.CONDITION_HELD, hours[2])

    def test_absence_is_remembered_between_advances(self, book: AlertBook) -> None:
        calm = timedelta(hours=2)
        hours = [START + timedelta(hours=hour) for hour in range(4)]
        _said(book, hours[0], signal_of())
        assert _said(book, hours[1], clear_of(at=hours[1], resolve_after=calm)) == ()
        assert book.open_alerts()[0].absent_since == hours[1]
        assert _said(book, hours[2], clear_of(at=hours[2], resolve_after=calm)) == ()
        (entry,) = _said(book, hours[3], clear_of(at=hours[3], resolve_after=calm))
        assert entry.transition is TransitionKind.RESOLVED

    def test_evidence_older_than_what_is_known_changes_nothing(self, book: AlertBook) -> None:
        _said(book, START, signal_of())
        assert _said(book, START + timedelta(hours=1), clear_of(at=START - timedelta(hours=1))) == ()
        assert len(book.open_alerts()) == 1

    def test_every_entry_is_bound_to_the_audit_chain(self, book: AlertBook) -> None:
        _said(book, START, signal_of(key_of("a")), signal_of(key_of("b")))
        later = START + timedelta(hours=1)
        _said(book, later, clear_of(key_of("a"), at=later))
        entries = book.entries(after=0, limit=10)
        heads = [entry.audit_head for entry in entries]
        assert len(set(heads)) == len(entries) == 3
        assert all(len(head) == 64 and int(head, 16) >= 0 for head in heads)
        places = [entry.audit_seq for entry in entries]
        assert places == sorted(set(places))

    def test_many_at_once_are_published_in_the_order_in_which_they_were_said(self, book: AlertBook) -> None:
        keys = [key_of(f"{n * 7919 % 1000:04}") for n in range(1000)]
        entries = _said(book, START, *(signal_of(key) for key in keys))
        assert [entry.key for entry in entries] == keys
        assert [alert.key for alert in book.open_alerts()] == sorted(keys)


    # what people decide

    def test_an_acknowledgement_is_published_with_who_until_when_and_why(self, book: AlertBook) -> None:
        _said(book, START, signal_of())
        later, until = START + timedelta(hours=1), START + timedelta(days=1)
        (entry,) = _did(book, later, Acknowledge(by="key:li", note="called them", until=until)).entries
        assert (entry.seq, entry.transition, entry.reason) == (2, TransitionKind.ACKNOWLEDGED, Reason.ACKNOWLEDGED)
        assert (entry.severity, entry.recorded_at, entry.as_of, entry.opened_at) == (Severity.RED, later, START, START)
        figures = dict(entry.figures)
        assert figures["balance_fen"] == 99_00
        assert (figures["decision_by"], figures["decision_note"]) == ("li", "called them")
        assert figures["decision_until"] == until.isoformat(timespec="minutes")
        assert "called them" in entry.why.zh
        assert entry.why.en.endswith(signal_of().why.en)
        assert book.entries(after=1, limit=9) == [entry]
        (alert,) = book.open_alerts()
        (decision,) = alert.decisions
        assert (decision.kind, decision.by, decision.until) == (DecisionKind.ACKNOWLEDGEMENT, "key:li", until)
        assert (decision.evidence.severity, decision.at) == (Severity.RED, later)
        assert (alert.status, alert.why, alert.figures) == (Status.OPEN, signal_of().why, signal_of().figures)
        assert book.alert(alert.alert_id) == alert

    def test_the_same_act_again_publishes_nothing_and_another_persons_takes_its_place(self, book: AlertBook) -> None:
        _said(book, START, signal_of())
        act = Acknowledge(by="key:li", note="", until=START + timedelta(days=1))
        _did(book, START, act)
        before = _the(book)
        again = _did(book, START + timedelta(minutes=1), act)
        assert (again.reason, again.entries, again.alert, _the(book)) == (Reason.UNCHANGED, (), before, before)
        other = _did(book, START + timedelta(hours=1), replace(act, by="key:wang"))
        assert [entry.seq for entry in other.entries] == [3]
        past = book.decisions(before.alert_id)
        assert [(one.decision.by, one.ended_reason, one.ended_by) for one in past] == [
            ("key:li", Reason.REPLACED, "key:wang"), ("key:wang", None, None),
        ]

    def test_a_worse_severity_ends_what_was_decided_and_easing_does_not_bring_it_back(self, book: AlertBook) -> None:
        hours = [START + timedelta(hours=hour) for hour in range(4)]
        until = START + timedelta(days=2)
        _said(book, hours[0], signal_of(severity=Severity.ORANGE))
        _did(book, hours[0], Acknowledge(by="key:li", note="", until=until))
        _did(book, hours[0], Snooze(by="key:li", note="they pay tomorrow", until=until))
        _said(book, hours[1], signal_of(severity=Severity.YELLOW, at=hours[1]))
        assert len(_the(book).decisions) == 2
        _said(book, hours[2], signal_of(severity=Severity.RED, at=hours[2]))
        _said(book, hours[3], signal_of(severity=Severity.ORANGE, at=hours[3]))
        alert = _the(book)
        assert alert.decisions == ()
        assert [(one.ended_reason, one.ended_at) for one in book.decisions(alert.alert_id)] == [
            (Reason.SEVERITY_ROSE, hours[2])
        ] * 2

    def test_what_lasts_is_accepted_by_two_and_stays_open_until_it_ends(self, book: AlertBook) -> None:
        hours = [START + timedelta(hours=hour) for hour in range(5)]
        _said(book, hours[0], signal_of())
        _did(book, hours[0], Acknowledge(by="key:li", note="", until=hours[4]))
        proposed = _did(book, hours[1], Propose(by="key:li", note="a parent pays in cash", ends=False))
        assert (proposed.reason, proposed.entries, book.head()) == (Reason.ACCEPTANCE_PROPOSED, (), 2)
        _said(book, hours[2], signal_of(at=hours[2], balance_fen=98_00))
        for same in ("key:li", "cli:Li "):
            assert _did(book, hours[2], Confirm(by=same)).reason is Reason.SAME_PERSON
        (entry,) = _did(book, hours[3], Confirm(by="key:wang")).entries
        assert (entry.transition, entry.reason) == (TransitionKind.ACCEPTED, Reason.ACCEPTED)
        assert (entry.figures["decision_proposed_by"], entry.figures["decision_by"]) == ("li", "wang")
        (accepted,) = _the(book).decisions
        assert (accepted.kind, accepted.proposed_by, accepted.until) == (DecisionKind.ACCEPTANCE, "key:li", None)
        assert accepted.evidence.figures["balance_fen"] == 99_00
        assert _said(book, hours[3], signal_of(at=hours[3], balance_fen=97_00)) == ()
        assert _the(book).decisions == (accepted,)
        _said(book, hours[4], clear_of(at=hours[4]))
        past = book.decisions(entry.alert_id)
        assert [(one.decision.kind.value, one.ended_reason) for one in past] == [
            ("acknowledgement", Reason.ACCEPTED), ("proposal", Reason.ACCEPTED), ("acceptance", Reason.ALERT_ENDED),
        ]
        assert past[-1].decision == accepted

    def test_an_accepted_event_ends_and_the_same_evidence_does_not_bring_it_back(self, book: AlertBook) -> None:
        hours = [START + timedelta(hours=hour) for hour in range(5)]
        _said(book, hours[0], signal_of(severity=Severity.ORANGE))
        _accept_event(book, hours[0])
        entries = book.entries(after=0, limit=9)
        assert [entry.transition.value for entry in entries] == ["opened", "accepted", "resolved"]
        assert entries[-1].reason is Reason.ACCEPTED
        assert book.open_alerts() == []
        again = signal_of(severity=Severity.YELLOW, at=hours[1])
        assert _said(book, hours[1], again) == ()
        assert _said(book, hours[1], clear_of(at=hours[1])) == ()
        (other,) = _said(book, hours[2], signal_of(severity=Severity.ORANGE, at=hours[2], balance_fen=1))
        assert (other.transition, other.reason) == (TransitionKind.REOPENED, Reason.OTHER_EVIDENCE)
        _accept_event(book, hours[3])
        (worse,) = _said(book, hours[4], signal_of(severity=Severity.RED, at=hours[4], balance_fen=1))
        assert (worse.transition, worse.reason) == (TransitionKind.REOPENED, Reason.WORSE_THAN_ACCEPTED)
        assert _the(book).decisions == ()

    def test_whoever_takes_back_an_accepted_event_opens_it_again(self, book: AlertBook) -> None:
        _said(book, START, signal_of())
        _accept_event(book, START)
        later = START + timedelta(days=1)
        act = TakeBack(by="key:zhao", note="wrong", kind=DecisionKind.ACCEPTANCE)
        done = book.decide(alert_id_of(key_of()), act, now=later)
        assert done is not None
        (entry,) = done.entries
        assert (entry.transition, entry.reason) == (TransitionKind.REOPENED, Reason.TAKEN_BACK)
        alert = _the(book)
        assert (alert.episode, alert.opened_at, alert.decisions) == (2, later, ())
        assert book.decisions(alert.alert_id)[-1].ended_by == "key:zhao"

    def test_what_has_run_out_is_published_once(self, book: AlertBook) -> None:
        _said(book, START, signal_of(key_of("a")), signal_of(key_of("b")))
        first, second = book.open_alerts()
        end = START + timedelta(hours=2)
        for alert in (second, first):
            book.decide(alert.alert_id, Snooze(by="key:li", note="later", until=end), now=START)
        book.decide(first.alert_id, Propose(by="key:li", note="fine", ends=False), now=START)
        assert book.run_out(now=end - timedelta(seconds=1)) == ()
        entries = book.run_out(now=end)
        assert [(entry.key.subject, entry.transition.value, entry.reason.value) for entry in entries] == [
            ("a", "resumed", "ran_out"), ("b", "resumed", "ran_out"),
        ]
        assert book.run_out(now=end) == ()
        much_later = START + timedelta(days=60)
        assert book.run_out(now=much_later) == ()
        assert [one.ended_reason for one in book.decisions(first.alert_id)] == [Reason.RAN_OUT] * 2

    def test_what_is_refused_leaves_no_trace(self, book: AlertBook) -> None:
        _said(book, START, signal_of())
        before, entries = _the(book), book.entries(after=0, limit=9)
        for act, reason in (
            (Acknowledge(by="", note="", until=START + timedelta(hours=1)), Reason.NO_PERSON),
            (Acknowledge(by="key:li", note="", until=START), Reason.ENDS_TOO_SOON),
            (Snooze(by="key:li", note=" ", until=START + timedelta(hours=1)), Reason.NO_NOTE),
            (Confirm(by="key:li"), Reason.NOTHING_PROPOSED),
            (TakeBack(by="key:li", note="no", kind=DecisionKind.SNOOZE), Reason.NOTHING_TO_TAKE_BACK),
        ):
            done = _did(book, START, act)
            assert (done.reason, done.entries, done.alert) == (reason, (), before)
        assert (_the(book), book.entries(after=0, limit=9)) == (before, entries)
        assert book.decisions(before.alert_id) == []
        assert book.decide("nothing", Confirm(by="key:li"), now=START) is None
        later = START + timedelta(hours=1)
        _said(book, later, clear_of(at=later))
        late = Acknowledge(by="key:li", note="", until=later + timedelta(hours=1))
        refused = book.decide(before.alert_id, late, now=later)
        assert refused is not None
        assert refused.reason is Reason.NOT_OPEN


def _the(book: AlertBook) -> Alert:
    """The one alert that is open."""
    (alert,) = book.open_alerts()
    return alert


def _did(book: AlertBook, now: datetime, act: Act) -> Decided:
    """Let a person decide about the one alert that is open."""
    done = book.decide(_the(book).alert_id, act, now=now)
    assert done is not None
    return done


def _accept_event(book: AlertBook, now: datetime) -> None:
    _did(book, now, Propose(by="key:li", note="a refund that was agreed", ends=True))
    assert _did(book, now, Confirm(by="key:wang", note="seen the papers")).reason is Reason.ACCEPTED


def _said(book: AlertBook, now: datetime, *words: Signal | Clear) -> tuple[FeedEntry, ...]:
    """Tell the book what one examination said."""
    signals: Sequence[Signal] = [word for word in words if isinstance(word, Signal)]
    clears: Sequence[Clear] = [word for word in words if isinstance(word, Clear)]
    return book.advance(signals=signals, clears=clears, now=now, cause="test")
