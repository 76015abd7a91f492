"""The city that lives: the same by seed, its books in order, and nothing exported tells who will close."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from escrow_monitor.actions.import_files import import_file
from escrow_monitor.records.contracts.sums import contract_sums
from escrow_monitor.records.database import Database
from escrow_monitor.sandbox.city.city import City
from escrow_monitor.sandbox.city.courses import COURSES, HEALTHY, Ending, forces_at
from escrow_monitor.sandbox.city.export import KINDS, contract_no, statements, write_files
from escrow_monitor.sandbox.city.life import Life, live
from escrow_monitor.sandbox.city.plans import CitySettings, Plan

FIRST = date(2024, 3, 1)
CITY = City(seed=5, institutions=24, starts_on=FIRST, days=420, settings=CitySettings(closing_rate=0.8))
PLAIN = Plan(place=1, students=60, price_fen=100_00, custody=True, floor_multiple=2.0, spells=())


def closing(ending: Ending, *, custody: bool = True) -> Life:
    course = COURSES[ending].days[1]
    plan = replace(PLAIN, ending=ending, onset=400 - course, closes=400, custody=custody)
    return live(plan, seed="ways", days=CITY.calendar)


def coverage(life: Life, day: int) -> float:
    return life.balance_fen[day] / max(life.owed_fen[day], 1)


def files_of(city: City, folder: Path, through: date) -> dict[str, str]:
    return {
        kind: hashlib.sha256(path.read_bytes()).hexdigest()
        for kind, path in write_files(city, folder, through=through).items()
    }


def test_one_seed_is_one_city_and_another_seed_another(tmp_path: Path) -> None:
    small = City(seed=3, institutions=4, starts_on=FIRST, days=200)
    again, other = replace(small), replace(small, seed=4)
    through = FIRST + timedelta(days=199)
    assert files_of(small, tmp_path / "a", through) == files_of(again, tmp_path / "b", through)
    assert files_of(small, tmp_path / "a", through)["lessons"] != files_of(other, tmp_path / "c", through)["lessons"]


def test_every_balance_is_the_one_before_and_its_entries() -> None:
    for life in CITY.lives():
        moved: dict[int, int] = defaultdict(int)
        for row in life.entries:
            moved[row.day] += row.fen
        before = life.opening_fen
        for day, balance in enumerate(life.balance_fen):
            assert balance == before + moved[day] >= 0
            before = balance


def test_a_healthy_institution_under_custody_holds_what_it_owes() -> None:
    healthy = [plan for plan in CITY.plans if plan.ending is None and plan.custody]
    assert healthy
    for plan in healthy:
        life = CITY.life(plan.place)
        booked = {row.reference: row.day for row in life.entries if row.reference}
        on_its_way: dict[int, int] = defaultdict(int)
        for charge in life.charges:
            for day in range(charge.paid, booked.get(f"{plan.place:06d}{charge.number:07d}", charge.paid)):
                on_its_way[day] += charge.fen
        # What is paid on the last days is booked after them.
        for day in range(CITY.days - 10):
            # Lessons are released a working day after they are confirmed, so a little more lies there than is owed.
            assert life.balance_fen[day] + on_its_way[day] >= life.owed_fen[day], (plan, day)
            assert coverage(life, day) < 1.35


@pytest.mark.parametrize("ending", [each for each in Ending if each is not Ending.SUDDEN_THEFT])
def test_every_way_to_close_leaves_families_short_and_shows_in_no_single_day(ending: Ending) -> None:
    life = closing(ending, custody=ending is not Ending.SLOW_DECLINE)
    assert life.plan.onset is not None
    # Of a frozen account nothing can be drawn any more, and families go on paying for a while.
    lowest = min(coverage(life, day) for day in range(life.plan.onset, 401))
    assert lowest < 0.8 * coverage(life, life.plan.onset)
    assert not any(row.signed > 400 for row in life.contracts)
    assert not any(row.taught > 400 for row in life.lessons)
    assert any(row.received > 400 for row in life.complaints), "families find out"


def test_a_sudden_theft_shows_nothing_before_its_day() -> None:
    life = closing(Ending.SUDDEN_THEFT)
    assert coverage(life, 398) > 0.93
    assert coverage(life, 400) < 0.15


def test_forces_begin_healthy_and_end_as_the_course_says() -> None:
    for course in COURSES.values():
        assert forces_at(course, 0.0, 1.3) == HEALTHY
        assert forces_at(course, 1.0, 1.0) == pytest.approx(course.knots[-1][1])


def test_a_hidden_contract_is_owed_and_in_no_file() -> None:
    life = closing(Ending.SIPHONING)
    recorded = {row.number for row in life.contracts}
    assert recorded < set(range(1, max(recorded) + 1)), "some were never recorded"
    assert {row.contract for row in life.charges} == recorded
    assert {row.contract for row in life.lessons} <= recorded


def test_the_files_are_imported_without_a_bad_row_and_the_sums_are_the_city_s(
    database: Database, tmp_path: Path
) -> None:
    city = City(seed=8, institutions=3, starts_on=FIRST, days=150)
    on = FIRST + timedelta(days=149)
    paths = write_files(city, tmp_path, through=on)
    now = datetime.combine(on, time(14), UTC)
    for kind in KINDS:
        with paths[kind].open("rb") as stream:
            done = import_file(
                database, kind=kind, stream=stream, filename=paths[kind].name, actor="test", now=now
            )
        assert not done.bad, (kind, done.bad_rows)
    life = city.life(0)
    counted: dict[int, int] = defaultdict(int)
    for row in life.lessons:
        counted[row.contract] += row.decided <= 149
    with database.read() as session:
        sums = contract_sums(session, uscc=city.uscc(0))
    assert sums
    for row in life.contracts:
        assert sums[contract_no(0, row.number)].taught.confirmed == counted[row.number]


def test_statements_join_day_by_day() -> None:
    life = CITY.life(2)
    days = list(statements(CITY, life, first=0, last=CITY.days - 1))
    for before, after in pairwise(days):
        assert before.closing == after.opening
        assert after.opening.minor_units + sum(entry.amount.minor_units for entry in after.entries) == (
            after.closing.minor_units
        )
