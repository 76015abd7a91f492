"""What every AlertBook and every Channel must pass, and a channel that only remembers."""

# ruff: noqa: S101 - these are tests: they assert, wherever they are shipped.

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from alerts.alert import (
    AlertKey,
    Clear,
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
from alerts.book import AlertBook
from alerts.channel import Channel
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
        answer = broken_channel.send(entry_of(1), message_id="evt_1_x")
        assert isinstance(answer, NotSent)
        assert not answer.permanent
        assert answer.detail


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


def _said(book: AlertBook, now: datetime, *words: Signal | Clear) -> tuple[FeedEntry, ...]:
    """Tell the book what one examination said."""
    signals: Sequence[Signal] = [word for word in words if isinstance(word, Signal)]
    clears: Sequence[Clear] = [word for word in words if isinstance(word, Clear)]
    return book.advance(signals=signals, clears=clears, now=now, cause="test")
