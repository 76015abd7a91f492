"""Deliver what is due: in order, side by side, and nothing lost when a channel fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from alerts.alert import FeedEntry
from alerts.channel import Channel, Owed
from alerts.delivery import AttemptOutcome, Dead, Delivered, Delivery, Later, NotSent, Sent, message_id
from alerts.dispatch import FAILURES_RUNNING_MAX, Dispatched, dispatch
from alerts.testing import START, RecordingChannel, entry_of


def owed(seq: int, channel: str, attempts: int = 0) -> Delivery:
    return Delivery(
        delivery_id=message_id(seq, channel),
        channel=channel,
        entry=entry_of(seq),
        attempts=attempts,
        due_at=START,
        created_at=START,
    )


def now() -> datetime:
    return START


def by_channel(done: list[Dispatched], channel: str) -> list[Dispatched]:
    return [d for d in done if d.delivery.channel == channel]


def test_each_channel_hears_in_feed_order_under_the_delivery_s_own_id() -> None:
    a, b = RecordingChannel("a"), RecordingChannel("b")
    due = [owed(seq, name) for seq in (3, 1, 2) for name in ("b", "a")]
    done = list(dispatch(due, {"a": a, "b": b}, now_of=now))
    assert [message for message, _ in a.sent] == ["evt_1_a", "evt_2_a", "evt_3_a"]
    assert [entry.seq for _, entry in b.sent] == [1, 2, 3]
    assert [d.delivery.entry.seq for d in by_channel(done, "a")] == [1, 2, 3]
    assert all(d.outcome == Delivered() and d.attempt.outcome is AttemptOutcome.SENT for d in done)
    assert all(d.attempt.at == START and d.attempt.took_ms >= 0 for d in done)


def test_nothing_due_is_nothing_done() -> None:
    assert list(dispatch([], {"a": RecordingChannel("a")}, now_of=now)) == []


def test_a_slow_channel_delays_no_other() -> None:
    others_are_done = threading.Event()

    class Slow:
        name = "slow"

        def send(self, entry: FeedEntry, *, message_id: str) -> Sent | NotSent:
            # If the others waited for us, nobody would ever set this.
            return Sent(detail="at last") if others_are_done.wait(10) else NotSent(detail="", permanent=True)

    channels: dict[str, Channel] = {"slow": Slow(), "fast": RecordingChannel("fast")}
    due = [owed(1, "slow"), owed(1, "fast"), owed(2, "fast"), owed(3, "fast")]
    seen: list[str] = []
    for done in dispatch(due, channels, now_of=now):
        seen.append(done.delivery.delivery_id)
        assert done.outcome == Delivered()
        if len(seen) == 3:
            others_are_done.set()
    assert seen == ["evt_1_fast", "evt_2_fast", "evt_3_fast", "evt_1_slow"]


def test_a_channel_that_nobody_knows_is_dead_and_says_so() -> None:
    known = RecordingChannel("known")
    done = list(dispatch([owed(1, "gone"), owed(2, "known")], {"known": known}, now_of=now))
    (gone,) = by_channel(done, "gone")
    assert gone.outcome == Dead("no channel is named 'gone'")
    assert gone.attempt.outcome is AttemptOutcome.PERMANENT_FAILURE
    assert len(known.sent) == 1


def test_a_failure_is_owed_again_later_and_does_not_hold_up_the_next() -> None:
    def answer(entry: FeedEntry) -> Sent | NotSent:
        return NotSent(detail="HTTP 503", permanent=False) if entry.seq == 1 else Sent(detail="HTTP 200")

    channel = RecordingChannel("a", answer)
    first, second = dispatch([owed(1, "a"), owed(2, "a")], {"a": channel}, now_of=now)
    assert isinstance(first.outcome, Later)
    assert START + timedelta(seconds=15) <= first.outcome.due_at <= START + timedelta(seconds=18)
    assert second.outcome == Delivered()


def test_what_failed_together_does_not_come_back_together() -> None:
    down = RecordingChannel("a", lambda entry: NotSent(detail="HTTP 503", permanent=False))
    due_again = set()
    for seq in range(1, 50):
        for done in dispatch([owed(seq, "a", attempts=6)], {"a": down}, now_of=now):
            assert isinstance(done.outcome, Later)
            due_again.add(done.outcome.due_at)
    assert len(due_again) > 10


def test_a_channel_that_is_down_is_not_asked_for_the_rest() -> None:
    down = RecordingChannel("down", lambda entry: NotSent(detail="no answer", permanent=False))
    up = RecordingChannel("up")
    due = [owed(seq, name) for seq in range(1, 11) for name in ("down", "up")]
    done = list(dispatch(due, {"down": down, "up": up}, now_of=now))
    assert len(by_channel(done, "down")) == len(down.sent) == FAILURES_RUNNING_MAX
    assert len(by_channel(done, "up")) == 10


def test_one_entry_that_can_never_be_taken_does_not_stop_the_others() -> None:
    def answer(entry: FeedEntry) -> Sent | NotSent:
        return Sent(detail="ok") if entry.seq == 10 else NotSent(detail="HTTP 400", permanent=True)

    done = list(dispatch([owed(seq, "a") for seq in range(1, 11)], {"a": RecordingChannel("a", answer)}, now_of=now))
    assert [type(d.outcome) for d in done] == [Dead] * 9 + [Delivered]


def test_a_channel_with_a_fault_harms_only_itself_and_its_detail_tells_no_secret() -> None:
    def answer(entry: FeedEntry) -> Sent | NotSent:
        raise RuntimeError("whsec_secret")

    broken, fine = RecordingChannel("broken", answer), RecordingChannel("fine")
    done = list(dispatch([owed(1, "broken"), owed(1, "fine")], {"broken": broken, "fine": fine}, now_of=now))
    (fault,) = by_channel(done, "broken")
    assert isinstance(fault.outcome, Later)
    assert fault.attempt.detail == "the channel itself failed: RuntimeError"
    assert by_channel(done, "fine")[0].outcome == Delivered()


def test_a_channel_that_never_returns_is_not_waited_for_without_end() -> None:
    let_go = threading.Event()

    class Hanging:
        name = "hanging"

        def send(self, entry: FeedEntry, *, message_id: str) -> Sent | NotSent:
            let_go.wait(30)
            return Sent(detail="too late")

    channels: dict[str, Channel] = {"hanging": Hanging(), "fine": RecordingChannel("fine")}
    done = list(dispatch([owed(1, "hanging"), owed(1, "fine")], channels, now_of=now, seconds_max=1))
    assert [d.delivery.channel for d in done] == ["fine"]
    let_go.set()


def test_a_caller_that_stops_asking_stops_the_sending() -> None:
    asked = threading.Semaphore(0)

    class OneByOne:
        name = "a"
        count = 0

        def send(self, entry: FeedEntry, *, message_id: str) -> Sent | NotSent:
            self.count += 1
            asked.acquire(timeout=10)
            return Sent(detail="ok")

    channel = OneByOne()
    going = dispatch([owed(seq, "a") for seq in range(1, 101)], {"a": channel}, now_of=now)
    asked.release()
    assert next(going).delivery.entry.seq == 1
    going.close()
    asked.release(100)
    for thread in threading.enumerate():
        if thread.name == "channel-a":
            thread.join(10)
    assert channel.count <= 2


# ---- channels that can do more --------------------------------------------------------------------------------------


class Digesting(RecordingChannel):
    """Takes up to three entries in one message; refuses for good every message that holds the number `poison`."""

    def __init__(self, poison: int = 0, permanent: bool = True) -> None:
        super().__init__("d")
        self.messages: list[list[int]] = []
        self._poison, self._permanent = poison, permanent

    def send(self, entry: FeedEntry, *, message_id: str) -> Sent | NotSent:
        return self.send_digest([Owed(entry, message_id)])

    def fits(self, owed: Sequence[Owed]) -> int:
        return min(len(owed), 3)

    def send_digest(self, owed: Sequence[Owed]) -> Sent | NotSent:
        self.messages.append([entry.seq for entry, _ in owed])
        if self._poison in self.messages[-1]:
            return NotSent(detail="no", permanent=self._permanent)
        return Sent(detail="ok")


def test_several_entries_go_in_one_message_and_each_has_its_own_attempt() -> None:
    channel = Digesting()
    done = list(dispatch([owed(seq, "d") for seq in range(1, 8)], {"d": channel}, now_of=now))
    assert channel.messages == [[1, 2, 3], [4, 5, 6], [7]]
    assert [d.attempt.delivery_id for d in done] == [f"evt_{seq}_d" for seq in range(1, 8)]
    assert all(d.outcome == Delivered() for d in done)


def test_one_that_spoils_a_message_for_good_spoils_only_itself() -> None:
    channel = Digesting(poison=2)
    done = list(dispatch([owed(seq, "d") for seq in range(1, 6)], {"d": channel}, now_of=now))
    assert channel.messages == [[1, 2, 3], [1], [2], [3], [4, 5]]
    assert [type(d.outcome) for d in done] == [Delivered, Dead, Delivered, Delivered, Delivered]


def test_a_message_that_fails_for_now_is_one_failure_and_each_of_it_is_owed_again() -> None:
    channel = Digesting(poison=2, permanent=False)
    done = list(dispatch([owed(seq, "d") for seq in range(1, 6)], {"d": channel}, now_of=now))
    assert channel.messages == [[1, 2, 3], [4, 5]]
    assert [type(d.outcome) for d in done] == [Later, Later, Later, Delivered, Delivered]


class Paced(RecordingChannel):
    """May be called at once `free` times, and then after `wait` seconds each."""

    def __init__(self, free: int, wait: float) -> None:
        super().__init__("p")
        self._free, self._wait = free, wait

    def ready_in(self) -> float:
        return 0.0 if len(self.sent) < self._free else self._wait


def test_a_channel_is_waited_for_until_it_may_be_called() -> None:
    channel = Paced(free=2, wait=0.1)
    began = time.monotonic()
    done = list(dispatch([owed(seq, "p") for seq in range(1, 5)], {"p": channel}, now_of=now))
    assert [d.outcome for d in done] == [Delivered()] * 4
    assert 0.2 <= time.monotonic() - began < 5


def test_a_channel_that_wants_a_longer_rest_is_left_alone_and_what_it_is_owed_stays_owed() -> None:
    channel = Paced(free=2, wait=600)
    began = time.monotonic()
    done = list(dispatch([owed(seq, "p") for seq in range(1, 5)], {"p": channel}, now_of=now))
    assert [d.delivery.entry.seq for d in done] == [1, 2]
    assert time.monotonic() - began < 5


def test_a_fault_in_how_much_fits_is_no_reason_not_to_send() -> None:
    class Faulty(Digesting):
        def fits(self, owed: Sequence[Owed]) -> int:
            raise RuntimeError

    channel = Faulty()
    done = list(dispatch([owed(1, "d"), owed(2, "d")], {"d": channel}, now_of=now))
    assert channel.messages == [[1], [2]]
    assert [d.outcome for d in done] == [Delivered()] * 2
