"""When a delivery is tried again, and when it is given up."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.delivery import (
    ATTEMPTS_MAX,
    BACKOFF_SECONDS_FIRST,
    BACKOFF_SECONDS_MAX,
    JITTER_PERCENT_MAX,
    AttemptOutcome,
    Dead,
    Delivered,
    Delivery,
    Later,
    NotSent,
    Sent,
    after_attempt,
    message_id,
    outcome_of,
)
from alerts.testing import START, entry_of

OWED = Delivery(
    delivery_id="evt_1_log", channel="log", entry=entry_of(1), attempts=0, due_at=START, created_at=START
)
PASSING = NotSent(detail="HTTP 503", permanent=False)
PERMANENT = NotSent(detail="HTTP 410", permanent=True)


@pytest.mark.parametrize(
    ("attempts", "result", "becomes"),
    [
        (0, Sent(detail="HTTP 204"), Delivered()),
        (ATTEMPTS_MAX + 5, Sent(detail="HTTP 204"), Delivered()),
        (0, PERMANENT, Dead("permanent: HTTP 410")),
        (0, PASSING, Later(START + timedelta(seconds=15))),
        (1, PASSING, Later(START + timedelta(seconds=30))),
        (5, PASSING, Later(START + timedelta(minutes=8))),
        (11, PASSING, Later(START + timedelta(hours=6))),
        (ATTEMPTS_MAX - 2, PASSING, Later(START + timedelta(hours=6))),
        (ATTEMPTS_MAX - 1, PASSING, Dead("gave up after 24 attempts: HTTP 503")),
        (ATTEMPTS_MAX, PASSING, Dead("gave up after 25 attempts: HTTP 503")),
    ],
)
def test_what_becomes_of_a_delivery(attempts: int, result: Sent | NotSent, becomes: Delivered | Later | Dead) -> None:
    assert after_attempt(replace(OWED, attempts=attempts), result, now=START, jitter=0) == becomes


@pytest.mark.parametrize(
    ("result", "word"),
    [
        (Sent(detail="ok"), AttemptOutcome.SENT),
        (PASSING, AttemptOutcome.PASSING_FAILURE),
        (PERMANENT, AttemptOutcome.PERMANENT_FAILURE),
    ],
)
def test_every_result_has_its_word(result: Sent | NotSent, word: AttemptOutcome) -> None:
    assert outcome_of(result) is word


def test_a_receiver_that_broke_on_friday_evening_is_still_tried_on_monday_morning() -> None:
    now, attempts = START, 0
    while True:
        match after_attempt(replace(OWED, attempts=attempts), PASSING, now=now, jitter=0):
            case Later(due_at):
                now, attempts = due_at, attempts + 1
            case Dead():
                break
            case Delivered():
                raise AssertionError("nothing was delivered")
    assert attempts + 1 == ATTEMPTS_MAX
    assert now - START > timedelta(hours=64)


@settings(deadline=None)
@given(st.integers(0, ATTEMPTS_MAX - 2), st.integers(0, JITTER_PERCENT_MAX))
def test_the_wait_grows_within_its_bounds(attempts: int, jitter: int) -> None:
    def wait(tries: int, percent: int) -> timedelta:
        outcome = after_attempt(replace(OWED, attempts=tries), PASSING, now=START, jitter=percent)
        assert isinstance(outcome, Later)
        return outcome.due_at - START

    assert wait(attempts, 0) <= wait(attempts, jitter) <= wait(attempts, 0) * (100 + JITTER_PERCENT_MAX) / 100
    assert timedelta(seconds=BACKOFF_SECONDS_FIRST) <= wait(attempts, 0) <= timedelta(seconds=BACKOFF_SECONDS_MAX)
    if attempts:
        assert wait(attempts - 1, jitter) <= wait(attempts, jitter)


@settings(deadline=None)
@given(st.integers(), st.integers(-1000, 1000))
def test_no_jitter_and_no_count_brings_it_out_of_bounds(jitter: int, attempts: int) -> None:
    outcome = after_attempt(replace(OWED, attempts=attempts), PASSING, now=START, jitter=jitter)
    if isinstance(outcome, Later):
        waited = (outcome.due_at - START).total_seconds()
        assert BACKOFF_SECONDS_FIRST <= waited <= BACKOFF_SECONDS_MAX * (100 + JITTER_PERCENT_MAX) // 100


def test_an_id_is_the_same_each_time_and_another_for_another_channel() -> None:
    assert message_id(12, "log") == "evt_12_log"
    assert message_id(12, "district_5103-hook") == "evt_12_district_5103-hook"


@pytest.mark.parametrize("name", ["", "a.b", "区", "a b", "-a", "a" * 41, "a\n"])
def test_a_name_that_cannot_stand_in_a_signed_id_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a channel is named"):
        message_id(1, name)
