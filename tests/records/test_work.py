"""Runs, deliveries, keys, nodes: what the work itself leaves behind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Thread

import pytest
from sqlmodel import Session

from alerts.delivery import Attempt, AttemptOutcome, Dead, Delivered, Delivery, Later
from alerts.testing import key_of, signal_of
from escrow_monitor.records import nodes, runs
from escrow_monitor.records.alerts import deliveries
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.alerts.deliveries import DeliveryCounts
from escrow_monitor.records.bank.turns import Turn, free_turns, give_turn_back, keep_turn, take_turn
from escrow_monitor.records.database import Database
from escrow_monitor.records.people import keys
from escrow_monitor.records.runs import AlreadyDone, Begun, Outcome

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
RUN = {"round": "pull_balances", "shard": "northbank", "scheduled_at": NOW}


def test_a_round_that_finished_is_not_done_again(database: Database) -> None:
    with database.write() as session:
        assert runs.begin(session, **RUN, now=NOW) == Begun(1)
        runs.finish(session, **RUN, outcome=Outcome.WRONG, counts={"silent": 2}, detail="2 silent", now=NOW + MINUTE)
        again = runs.begin(session, **RUN, now=NOW + 2 * MINUTE)
        assert isinstance(again, AlreadyDone)
        assert (again.run.outcome, again.run.counts, again.run.detail) == (Outcome.WRONG, {"silent": 2}, "2 silent")
        assert runs.begin(session, **{**RUN, "shard": "southbank"}, now=NOW) == Begun(1)


def test_a_round_that_broke_off_or_failed_begins_again(database: Database) -> None:
    with database.write() as session:
        assert runs.begin(session, **RUN, now=NOW) == Begun(1)
        assert runs.begin(session, **RUN, now=NOW + MINUTE) == Begun(2)
        runs.finish(session, **RUN, outcome=Outcome.ERROR, counts={}, detail="database", now=NOW + MINUTE)
        assert runs.last_success(session) == {}
        assert runs.begin(session, **RUN, now=NOW + 2 * MINUTE) == Begun(3)


def test_the_last_success_of_each_round_is_known(database: Database) -> None:
    with database.write() as session:
        for minutes, round_, outcome in (
            (0, "check_balances", Outcome.OK), (1, "check_balances", Outcome.WRONG),
            (2, "check_balances", Outcome.ERROR), (0, "pull_balances", Outcome.OK), (0, "deliver", Outcome.ERROR),
        ):
            runs.finish(
                session, round=round_, shard="all", scheduled_at=NOW + minutes * MINUTE, outcome=outcome, counts={},
                now=NOW + minutes * MINUTE,
            )
        assert runs.last_success(session) == {"check_balances": NOW + MINUTE, "pull_balances": NOW}
        assert [run.scheduled_at for run in runs.recent(session, limit=2)] == [NOW + 2 * MINUTE, NOW + MINUTE]
        assert len(runs.recent(session, round="check_balances")) == 3


def owe(database: Database, *subjects: str, channels: tuple[str, ...] = ("log", "hook")) -> None:
    with database.write() as session:
        RecordsAlertBook(session, channels=channels).advance(
            signals=[signal_of(key_of(subject)) for subject in subjects], clears=[], now=NOW, cause="round:test"
        )


def claim(database: Database, claimant: str = "one", minutes: int = 0, **asked: object) -> list[Delivery]:
    with database.write() as session:
        return deliveries.claim(
            session, limit=10, now=NOW + minutes * MINUTE, lease_seconds=60, claimant=claimant,
            **asked,  # type: ignore[arg-type]
        )


def attempt_of(delivery: Delivery, outcome: AttemptOutcome = AttemptOutcome.SENT) -> Attempt:
    return Attempt(delivery_id=delivery.delivery_id, at=NOW, outcome=outcome, detail="200", took_ms=12)


def test_what_is_owed_is_claimed_in_feed_order_by_one_at_a_time(database: Database) -> None:
    owe(database, "a", "b")
    assert [item.delivery_id for item in claim(database)] == ["evt_1_hook", "evt_1_log", "evt_2_hook", "evt_2_log"]
    assert claim(database, "two") == []
    assert len(claim(database, "two", minutes=1)) == 4, "the lease has run out"


def test_a_channel_is_claimed_by_itself(database: Database) -> None:
    owe(database, "a", "b")
    found = claim(database, channel="log")
    assert [(item.channel, item.entry.seq, item.attempts) for item in found] == [("log", 1, 0), ("log", 2, 0)]


def test_tries_are_kept_and_decide_what_becomes_of_a_delivery(database: Database) -> None:
    owe(database, "a", channels=("log", "hook", "dead"))
    dead, hook, log = claim(database)
    with database.write() as session:
        assert deliveries.settle(session, [
            (log, attempt_of(log), Delivered()),
            (hook, attempt_of(hook, AttemptOutcome.PASSING_FAILURE), Later(NOW + 5 * MINUTE)),
            (dead, attempt_of(dead, AttemptOutcome.PERMANENT_FAILURE), Dead("permanent: 410")),
        ], now=NOW) == 3
        assert deliveries.counts(session) == {
            "dead": DeliveryCounts(dead=1), "hook": DeliveryCounts(due=1), "log": DeliveryCounts(delivered=1),
        }
        assert deliveries.attempts(session, log.delivery_id) == [attempt_of(log)]
        assert deliveries.given_up(session, channel="dead", limit=9) == ["evt_1_dead"]
    assert claim(database, minutes=4) == []
    [again] = claim(database, minutes=5)
    assert (again.delivery_id, again.attempts) == ("evt_1_hook", 1)
    with database.write() as session:
        assert deliveries.settle(session, [(log, attempt_of(log), Delivered())], now=NOW) == 0
        assert len(deliveries.attempts(session, log.delivery_id)) == 2, "a try that was made is kept"
        assert deliveries.revive(session, ["evt_1_dead", "evt_1_log"], now=NOW) == 1


def test_two_claimants_at_once_never_get_the_same(database: Database) -> None:
    owe(database, *"abcdefghij")
    got: dict[str, list[str]] = {}

    def take(name: str) -> None:
        with database.write() as session:
            found = deliveries.claim(session, limit=7, now=NOW, lease_seconds=60, claimant=name)
            got[name] = [item.delivery_id for item in found]

    threads = [Thread(target=take, args=(name,)) for name in ("one", "two", "three")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = [delivery_id for found in got.values() for delivery_id in found]
    assert len(taken) == len(set(taken)) == 20


def test_a_key_opens_until_it_expires_or_is_revoked(database: Database) -> None:
    with database.write() as session:
        key, secret = keys.create(session, name="demo", scopes={"read", "metrics"}, expires_at=NOW + MINUTE, now=NOW)
        other, other_secret = keys.create(session, name="forever", scopes=["admin"], expires_at=None, now=NOW)
    assert secret.startswith("emk_")
    with database.write() as session:
        assert keys.verify(session, secret, now=NOW) == key
        assert keys.verify(session, secret, now=NOW + MINUTE) is None
        assert keys.verify(session, secret + "x", now=NOW) is None
        assert keys.verify(session, "", now=NOW) is None
        assert keys.revoke(session, other.key_id, now=NOW)
        assert not keys.revoke(session, other.key_id, now=NOW)
        assert keys.verify(session, other_secret, now=NOW) is None
        assert {item.name for item in keys.known(session)} == {"demo", "forever"}


def test_the_secret_of_a_key_stands_nowhere(database: Database, database_url: str, backend: str) -> None:
    from sqlalchemy import text

    with database.write() as session:
        _, secret = keys.create(session, name="demo", scopes={"read"}, expires_at=None, now=NOW)
        row = session.execute(text("SELECT * FROM api_keys")).one()
    assert secret not in str(row)
    assert secret[4:] not in str(row)


def test_a_node_that_stopped_beating_is_found_and_forgotten(database: Database) -> None:
    with database.write() as session:
        nodes.beat(session, "one", now=NOW)
        nodes.beat(session, "two", now=NOW)
        nodes.beat(session, "two", now=NOW + MINUTE)
        assert nodes.silent_since(session, NOW + MINUTE) == ["one"]
        assert nodes.last_beats(session) == {"one": NOW, "two": NOW + MINUTE}
        nodes.forget(session, "one")
        assert nodes.silent_since(session, NOW + 9 * MINUTE) == ["two"]


@pytest.mark.parametrize("threads", [4])
def test_numbers_stay_dense_when_many_publish_at_once(database: Database, threads: int) -> None:
    def publish(name: str) -> None:
        for number in range(5):
            owe(database, f"{name}-{number}")

    workers = [Thread(target=publish, args=(str(number),)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    with database.read() as session:
        entries = RecordsAlertBook(session).entries(after=0, limit=100)
        assert [entry.seq for entry in entries] == list(range(1, threads * 5 + 1))


def turn(session: Session, bank: str, holder: str, claimant: str, now: datetime, until: datetime) -> Turn:
    return take_turn(session, bank, holder=holder, claimant=claimant, now=now, until=until)


def test_a_bank_is_asked_by_one_sweep_at_a_time(database: Database) -> None:
    with database.write() as session:
        first = turn(session, "northbank", "10:04", "one", NOW, NOW + 5 * MINUTE)
        second = turn(session, "northbank", "10:19", "two", NOW + MINUTE, NOW + 6 * MINUTE)
        other = turn(session, "southbank", "10:19", "two", NOW + MINUTE, NOW + 6 * MINUTE)
    assert (first.mine, second.mine, other.mine) == (True, False, True)
    assert (second.holder, second.since) == ("10:04", NOW)


def test_a_sweep_that_goes_on_keeps_its_turn_and_a_dead_one_loses_it(database: Database) -> None:
    with database.write() as session:
        turn(session, "northbank", "10:04", "one", NOW, NOW + 5 * MINUTE)
        assert keep_turn(session, "northbank", holder="10:04", until=NOW + 9 * MINUTE)
        assert not turn(session, "northbank", "10:19", "two", NOW + 8 * MINUTE, NOW + 20 * MINUTE).mine
        assert turn(session, "northbank", "10:19", "two", NOW + 9 * MINUTE, NOW + 20 * MINUTE).mine
        assert not keep_turn(session, "northbank", holder="10:04", until=NOW + 30 * MINUTE)


def test_a_run_taken_over_after_a_crash_takes_its_own_turn_up_again(database: Database) -> None:
    with database.write() as session:
        turn(session, "northbank", "10:04", "one", NOW, NOW + 5 * MINUTE)
        assert turn(session, "northbank", "10:04", "one", NOW + MINUTE, NOW + 6 * MINUTE).mine


def test_a_process_that_starts_anew_frees_what_it_held_and_no_more(database: Database) -> None:
    with database.write() as session:
        turn(session, "northbank", "10:04", "one", NOW, NOW + 5 * MINUTE)
        turn(session, "southbank", "10:04", "two", NOW, NOW + 5 * MINUTE)
        free_turns(session, claimant="one")
        free = [
            take_turn(session, bank, holder="10:05", claimant="one", now=NOW, until=NOW).mine
            for bank in ("northbank", "southbank")
        ]
        assert free == [True, False]


def test_what_a_bank_asked_for_outlives_the_sweep_it_was_said_to(database: Database) -> None:
    with database.write() as session:
        turn(session, "northbank", "10:04", "one", NOW, NOW + 5 * MINUTE)
        give_turn_back(session, "northbank", holder="10:04", rest_until=NOW + 60 * MINUTE)
        following = turn(session, "northbank", "10:19", "two", NOW + MINUTE, NOW + 6 * MINUTE)
        assert (following.mine, following.rest_until) == (True, NOW + 60 * MINUTE)
        give_turn_back(session, "northbank", holder="10:19", rest_until=None)
        assert turn(session, "northbank", "10:34", "one", NOW, NOW).rest_until == NOW + 60 * MINUTE
