"""The fates of the invented district, seen through the rules and the shipped policy packs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta

import pytest

from escrow_monitor.domain.accounts import BalanceKind, Known
from escrow_monitor.domain.findings import Finding, Level, Standing
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.policy import PolicyBook
from escrow_monitor.domain.positions import DayFlow, MonthFlow, Position
from escrow_monitor.domain.rules import RULES
from escrow_monitor.policies import load_policies
from escrow_monitor.sandbox.district import ZONE, District, last_closed_day, replay_district, standing_district, tick
from escrow_monitor.sandbox.fates import CAST, Fate

TODAY = date(2026, 11, 22)
REPLAYED = replay_district(seed=1, today=TODAY)


@pytest.fixture(scope="module")
def policies() -> PolicyBook:
    return load_policies(examples=True)


def position(
    district: District, place: int, at: datetime, *, heard: datetime, below_since: datetime | None
) -> Position:
    """What a monitor knows at `at` that last heard from the bank at `heard`."""
    account, closed = district.account(place), last_closed_day(heard)
    number = account.account_no
    months: dict[str, MonthFlow] = {}
    flows: dict[date, list[Money]] = defaultdict(list)
    for offset in range((closed - district.starts_on).days + 1):
        day = district.starts_on + timedelta(days=offset)
        flows[day] = [entry.amount for entry in district.entries(number, day)]
        month = months.get(f"{day:%Y-%m}", MonthFlow(credits_fen=0, debits_fen=0))
        months[f"{day:%Y-%m}"] = MonthFlow(
            credits_fen=month.credits_fen + sum(a.minor_units for a in flows[day] if a.minor_units > 0),
            debits_fen=month.debits_fen - sum(a.minor_units for a in flows[day] if a.minor_units < 0),
        )
    closing = Known(
        amount=district.balance(number, closed), kind=BalanceKind.BOOKED_CLOSING, on=closed, final=True,
        as_of=datetime.combine(closed, time(23, 59, 59), ZONE), fetched_at=heard,
    )
    running = Known(
        amount=district.balance_at(number, heard), kind=BalanceKind.BOOKED_INTRADAY, on=tick(heard).date(),
        as_of=heard, fetched_at=heard, final=False,
    )
    recent = [closed - timedelta(days=back) for back in range(3)]
    return Position(
        account=account, institution=district.institution(place),
        booked=running if account.connector == "berlin_group" else closing, closing=closing,
        status=district.status_at(number, heard), status_as_of=heard, months=months,
        days=tuple(
            DayFlow(
                on=day, debits_fen=sum(debits), largest_debit_fen=max(debits),
                previous_closing_fen=district.opening(number, day).minor_units,
            )
            for day in recent if (debits := [-a.minor_units for a in flows[day] if a.minor_units < 0])
        ),
        entries_from=district.starts_on, entries_to=closed, below_since=below_since, registered_at=at,
        last_answer_at=heard,
    )


def examine(district: District, place: int, policies: PolicyBook, at: datetime, known: Position) -> list[Finding]:
    policy = policies.effective(institution=known.institution, account=known.account, on=at.astimezone(ZONE).date())
    return [finding for rule in RULES for finding in rule(known, policy, at)]


def replay(
    district: District, place: int, policies: PolicyBook, days: int
) -> Iterator[tuple[int, datetime, dict[str, list[Finding]]]]:
    """Look four times a day, as a monitor does that hears from a healthy bank."""
    below_since: datetime | None = None
    for day in range(days):
        for hour in (8, 12, 16, 23):
            at = datetime.combine(district.story_on + timedelta(days=day), time(hour, 30), ZONE)
            known = position(district, place, at, heard=at, below_since=below_since)
            by_rule: dict[str, list[Finding]] = defaultdict(list)
            for finding in examine(district, place, policies, at, known):
                by_rule[finding.rule].append(finding)
            (floor,) = by_rule["floor"]
            below_since = (below_since or at) if floor.standing is Standing.BREACHED else None
            yield day, at, by_rule


def levels(district: District, fate: Fate, policies: PolicyBook, rule: str, days: int = 24) -> dict[int, Level | None]:
    """The worst level of a rule on each day."""
    worst: dict[int, Level | None] = {}
    for day, _, by_rule in replay(district, CAST.index(fate), policies, days):
        for finding in by_rule[rule]:
            before = worst.get(day)
            if before is None or (finding.level is not None and finding.level.rank > before.rank):
                worst[day] = finding.level
    return worst


def test_the_slow_decline_goes_yellow_orange_and_red_in_that_order(policies: PolicyBook) -> None:
    seen = levels(REPLAYED, Fate.SLOW_DECLINE, policies, "floor", days=15)
    colours = list(dict.fromkeys(seen.values()))
    assert colours == [None, Level.YELLOW, Level.ORANGE, Level.RED]
    assert min(day for day, level in seen.items() if level is Level.RED) <= 10


def test_the_sudden_outflow_is_red_and_a_large_outflow_and_at_last_topped_up_late(policies: PolicyBook) -> None:
    seen = levels(REPLAYED, Fate.SUDDEN_OUTFLOW, policies, "floor", days=30)
    assert seen[2] is None
    assert seen[3] is seen[26] is Level.RED
    assert seen[29] is None
    assert levels(REPLAYED, Fate.SUDDEN_OUTFLOW, policies, "large_outflow", days=6)[4] is not None
    assert Level.RED in levels(REPLAYED, Fate.SUDDEN_OUTFLOW, policies, "late_top_up", days=8).values()


def test_the_account_that_is_topped_up_in_time_is_orange_for_a_weekend_and_never_late(policies: PolicyBook) -> None:
    falls = REPLAYED.story.falls_on
    seen = levels(REPLAYED, Fate.TOP_UP, policies, "floor")
    assert {day for day, level in seen.items() if level is Level.ORANGE} == {falls, falls + 1, falls + 2, falls + 3}
    assert seen[falls + 4] is None
    assert falls <= 14
    assert set(levels(REPLAYED, Fate.TOP_UP, policies, "late_top_up").values()) == {None}


def test_the_account_that_is_topped_up_late_is_late(policies: PolicyBook) -> None:
    assert Level.RED in levels(REPLAYED, Fate.LATE_TOP_UP, policies, "late_top_up").values()
    seen = levels(REPLAYED, Fate.LATE_TOP_UP, policies, "floor")
    assert seen[4] is Level.ORANGE
    assert seen[10] is Level.RED  # below for longer than the grace
    assert seen[23] is None


def test_the_dip_is_yellow_and_goes_away(policies: PolicyBook) -> None:
    seen = levels(REPLAYED, Fate.YELLOW_DIP, policies, "floor")
    assert seen[2] is None
    assert all(seen[day] is Level.YELLOW for day in range(4, 14))
    assert seen[17] is None


def test_a_frozen_account_is_red_until_it_is_released(policies: PolicyBook) -> None:
    seen = levels(REPLAYED, Fate.FROZEN, policies, "account_status")
    assert seen[5] is None
    assert seen[6] is seen[20] is Level.RED
    assert seen[22] is None


def test_the_month_outflow_passes_the_cap_without_one_large_day(policies: PolicyBook) -> None:
    seen = levels(REPLAYED, Fate.MONTH_OUTFLOW, policies, "outflow_cap", days=15)
    assert seen[3] is None
    assert seen[12] is Level.RED
    assert set(levels(REPLAYED, Fate.MONTH_OUTFLOW, policies, "large_outflow", days=15).values()) <= {None}


@pytest.mark.parametrize("fate", [Fate.HEALTHY, Fate.TWIN_ENTRIES])
def test_a_healthy_account_is_never_spoken_of(policies: PolicyBook, fate: Fate) -> None:
    for _, at, by_rule in replay(REPLAYED, CAST.index(fate), policies, 46):
        for findings in by_rule.values():
            for finding in findings:
                assert (finding.standing, finding.level) == (Standing.MET, None), (at, finding.why_en)


def test_a_bank_that_fell_silent_leaves_its_accounts_unknown_and_not_fresh(policies: PolicyBook) -> None:
    place = REPLAYED.places_at("nanhu")[0]
    silent = REPLAYED.story_on + timedelta(days=REPLAYED.story.silent.start)
    heard = datetime.combine(silent - timedelta(days=1), time(23, 50), ZONE)
    at = datetime.combine(silent + timedelta(days=3), time(12, 30), ZONE)
    known = position(REPLAYED, place, at, heard=heard, below_since=None)
    by_rule = {finding.rule: finding for finding in examine(REPLAYED, place, policies, at, known)}
    assert by_rule["floor"].standing is Standing.UNKNOWN
    assert by_rule["freshness"].standing is Standing.BREACHED


@pytest.mark.parametrize("today", [TODAY, date(2026, 3, 1), date(2026, 6, 5), date(2026, 10, 8)])
def test_a_standing_district_shows_every_standing_and_colour_at_once(policies: PolicyBook, today: date) -> None:
    at = datetime.combine(today, time(13), ZONE)
    district = standing_district(seed=1, at=at)
    found: set[tuple[Standing, Level | None]] = set()
    for place in range(district.institution_count):
        bank = district.bank_of(place)
        heard = at
        if bank.name in ("nanhu", "haitang"):
            heard = datetime.combine(district.delivered_through(bank.name, at) + timedelta(days=1), time(2), ZONE)
        known = position(district, place, at, heard=heard, below_since=None)
        (floor,) = [one for one in examine(district, place, policies, at, known) if one.rule == "floor"]
        found.add((floor.standing, floor.level))
    assert found == {
        (Standing.MET, None), (Standing.MET, Level.YELLOW), (Standing.BREACHED, Level.ORANGE),
        (Standing.BREACHED, Level.RED), (Standing.UNKNOWN, None),
    }
