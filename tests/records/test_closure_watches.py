"""Where institutions stand in the closure watch, and which mornings are kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

from escrow_monitor.domain.closure.outlook import Outlook, Reason
from escrow_monitor.domain.findings import Level
from escrow_monitor.domain.institutions import Institution, InstitutionStatus
from escrow_monitor.domain.money import Money
from escrow_monitor.records.accounts import save_institutions
from escrow_monitor.records.closure.watches import (
    Judged,
    closure_standing,
    closure_states,
    due_for_watch,
    outlook_history,
    reasons_before,
    save_judged,
    warned_of,
    watched_institutions,
)
from escrow_monitor.records.database import Database

SCHOOL, CLOSED = "91110000600037341L", "91110000802100433B"
TUESDAY = date(2026, 11, 17)


def at(day: date, hour: int = 8) -> datetime:
    return datetime.combine(day, time(hour), UTC)


def outlook(day: date, name: str = "w1_gap", level: Level | None = Level.ORANGE) -> Outlook:
    return Outlook(
        uscc=SCHOOL, on=day, level=level, said=level, chances={30: 0.1, 60: 0.2, 90: 0.3},
        chance_high=0.4, balance=Money(1_00, "CNY"), owed=Money(2_00, "CNY"), exposed=Money(1_00, "CNY"),
        exposed_then=None, ahead=(), breach_in=None, breach_zh="未知", breach_en="not known",
        reasons=(Reason(name=name, points=1.0, zh="因", en="why"),),
        unsure=False, model="1",
    )


def judged(day: date, held: int, *, said: int | None = None, name: str = "w1_gap", quiet: int = 0) -> Judged:
    level = (None, Level.YELLOW, Level.ORANGE, Level.RED)[held]
    return Judged(
        outlook=outlook(day, name, level), held=held, said=held if said is None else said, quiet=quiet
    )


def keep(database: Database, day: date, one: Judged, *, hour: int = 8) -> None:
    with database.write() as session:
        save_judged(session, [one], on=day, model="1", now=at(day, hour))


def test_the_newest_morning_is_where_it_stands_and_an_older_one_never_takes_its_place(database: Database) -> None:
    keep(database, TUESDAY, judged(TUESDAY, 2))
    keep(database, TUESDAY + timedelta(days=1), judged(TUESDAY + timedelta(days=1), 3, quiet=1))
    keep(database, TUESDAY, judged(TUESDAY, 1))
    with database.read() as session:
        state = closure_states(session, [SCHOOL, CLOSED])
        assert set(state) == {SCHOOL}
        assert (state[SCHOOL].held, state[SCHOOL].quiet) == (3, 1)
        assert state[SCHOOL].judged_on == TUESDAY + timedelta(days=1)
        standing = closure_standing(session, SCHOOL)
        assert standing is not None
        assert standing.outlook == outlook(TUESDAY + timedelta(days=1), level=Level.RED)
        assert standing.judged_at == at(TUESDAY + timedelta(days=1))
        assert warned_of(session, least=3, limit=5) == [standing]
        assert closure_standing(session, CLOSED) is None


def test_quiet_mornings_are_kept_on_mondays_and_where_something_changes(database: Database) -> None:
    held = [0, 0, 2, 0, 0, 0, 0, 0]  # Tuesday to Tuesday
    for number, level in enumerate(held):
        day = TUESDAY + timedelta(days=number)
        keep(database, day, judged(day, level))
    with database.read() as session:
        kept = {one["on"]: one["held"] for one in outlook_history(session, SCHOOL)}
    monday = date(2026, 11, 23)
    assert kept == {
        TUESDAY: 0,  # the first that is known
        TUESDAY + timedelta(days=2): 2, TUESDAY + timedelta(days=3): 0, monday: 0,
    }


def test_the_same_morning_again_replaces_what_it_said(database: Database) -> None:
    keep(database, TUESDAY, judged(TUESDAY, 1))
    keep(database, TUESDAY, judged(TUESDAY, 3), hour=12)
    with database.read() as session:
        assert [one["held"] for one in outlook_history(session, SCHOOL)] == [3]


def test_the_reasons_of_a_week_ago_are_those_of_the_newest_morning_up_to_then(database: Database) -> None:
    for number, name in enumerate(("w1", "w2", "w3")):
        day = TUESDAY + timedelta(days=number)
        keep(database, day, judged(day, 2, name=name))
    with database.read() as session:
        assert reasons_before(session, [SCHOOL], on=TUESDAY - timedelta(days=1)) == {}
        assert reasons_before(session, [SCHOOL], on=TUESDAY + timedelta(days=1)) == {SCHOOL: frozenset({"w2"})}
        assert reasons_before(session, [SCHOOL], on=TUESDAY + timedelta(days=9)) == {SCHOOL: frozenset({"w3"})}


def test_due_is_who_was_not_judged_this_morning_and_never_who_has_closed(database: Database) -> None:
    school = Institution(uscc=SCHOOL, name="启明")
    with database.write() as session:
        save_institutions(
            session, [school, replace(school, uscc=CLOSED, status=InstitutionStatus.CLOSED)], now=at(TUESDAY)
        )
    with database.read() as session:
        assert watched_institutions(session) == [SCHOOL]
        assert due_for_watch(session, morning=at(TUESDAY), moving_rules=("floor",)) == [SCHOOL]
    keep(database, TUESDAY, judged(TUESDAY, 0))
    with database.read() as session:
        assert due_for_watch(session, morning=at(TUESDAY), moving_rules=("floor",)) == []
        assert due_for_watch(session, morning=at(TUESDAY, 9), moving_rules=("floor",)) == [SCHOOL]
