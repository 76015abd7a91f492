"""Which plans can work, whom a leader's end concerns, and what a tick is called."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from escrow_monitor.daemon.plan import Plan, check_plans, follower_shards, followers_of, tick_id
from escrow_monitor.errors import ConfigurationError

PULL = Plan(round="pull-balances", cron="* * * * *", shards=lambda: ("icbc", "boc"))
CHECK = Plan(round="check-balances", follows=("pull-balances",))
DELIVER = Plan(round="deliver-alerts", follows=("check-balances",), shards=lambda: ("log", "webhook"))


def test_a_chain_of_leaders_and_followers_is_accepted() -> None:
    check_plans([PULL, CHECK, DELIVER])


@pytest.mark.parametrize(
    ("plans", "words"),
    [
        ([PULL, PULL], "planned twice"),
        ([Plan(round="a:b", cron="* * * * *")], "colons"),
        ([Plan(round="", cron="* * * * *")], "cannot be named"),
        ([Plan(round="lonely")], "Nothing starts the round lonely"),
        ([CHECK], "follows pull-balances, which is not planned"),
        ([Plan(round="a", follows=("b",)), Plan(round="b", follows=("a",), cron="* * * * *")], "follow each other"),
        ([Plan(round="a", follows=("a",))], "circle"),
    ],
)
def test_plans_that_cannot_work_are_refused(plans: list[Plan], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        check_plans(plans)


def test_followers_are_found_by_their_leader() -> None:
    assert followers_of("pull-balances", [PULL, CHECK, DELIVER]) == (CHECK,)
    assert followers_of("deliver-alerts", [PULL, CHECK, DELIVER]) == ()


def test_a_follower_runs_for_the_same_shard_if_it_has_it_and_for_all_of_its_own_if_not() -> None:
    assert follower_shards(CHECK, "icbc") == ("all",)
    assert follower_shards(DELIVER, "all") == ("log", "webhook")
    assert follower_shards(PULL, "boc") == ("boc",)


def test_the_same_instant_in_two_zones_is_one_tick() -> None:
    utc = datetime(2026, 11, 22, 1, 4, tzinfo=UTC)
    assert tick_id("check-balances", "all", utc) == "check-balances:all:2026-11-22T01:04:00+00:00"
    assert tick_id("check-balances", "all", utc.astimezone(ZoneInfo("Asia/Shanghai"))) == tick_id(
        "check-balances", "all", utc
    )


def test_a_tick_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        tick_id("check-balances", "all", datetime(2026, 11, 22, 1, 4))  # noqa: DTZ001  # the point of the test
