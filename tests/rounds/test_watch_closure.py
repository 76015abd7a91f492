"""The closure watch over a small city, imported as files and statements: who is warned of, when, and what is said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest

from alerts.alert import FeedEntry, TransitionKind
from escrow_monitor.actions.import_files import import_file
from escrow_monitor.domain.closure.index import shipped_model
from escrow_monitor.errors import UsageError
from escrow_monitor.policies import load_policies
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.bank.statements import record_statements
from escrow_monitor.records.closure.watches import closure_standing, closure_states, outlook_history
from escrow_monitor.records.database import Database
from escrow_monitor.rounds.report import Outcome, Report
from escrow_monitor.rounds.signals import Patience
from escrow_monitor.rounds.watch_closure import watch_closure
from escrow_monitor.sandbox.city.city import City
from escrow_monitor.sandbox.city.courses import Ending
from escrow_monitor.sandbox.city.export import KINDS, statements, write_files
from escrow_monitor.sandbox.city.plans import CitySettings

CITY = City(
    seed=11, institutions=8, starts_on=date(2025, 1, 1), days=300,
    settings=CitySettings(
        closing_rate=0.6, custody_share=1, awkward_rate=0, statement_fault_rate=0, students=(20, 45),
        strength=(1.1, 1.3), endings=((Ending.SIPHONING, 1), (Ending.PROMOTION_FLIGHT, 1)),
    ),
)
CLOSING = [plan.place for plan in CITY.plans if plan.closes is not None]


def bring(database: Database, folder: Path, through: date, *, since: date | None = None) -> None:
    """Import all that is known by the end of a day."""
    now = datetime.combine(through + timedelta(days=1), time(22), UTC) - timedelta(days=1)
    lives = list(CITY.lives())
    paths = write_files(CITY, folder, through=through, lives=lives)
    for kind in KINDS:
        with paths[kind].open("rb") as stream:
            done = import_file(database, kind=kind, stream=stream, filename=paths[kind].name, actor="test", now=now)
        assert not done.bad, done.bad_rows
    first = 0 if since is None else (since - CITY.starts_on).days + 1
    for life in lives:
        rows = list(statements(CITY, life, first=first, last=(through - CITY.starts_on).days))
        with database.write() as session:
            assert record_statements(session, rows, source="city", raw_sha256="ab" * 32, now=now) == []


def judge(database: Database, morning: date, *, hour: int = 8, usccs: Sequence[str] | None = None) -> Report:
    now = datetime.combine(morning, time(hour), UTC) - timedelta(hours=8)
    return watch_closure(
        database=database, channels=("log",), patience=Patience(), policies=load_policies(), model=shipped_model(),
        scheduled_at=now, now=now, usccs=usccs,
    )


def feed(database: Database) -> list[FeedEntry]:
    with database.read() as session:
        return [
            one for one in RecordsAlertBook(session).entries(after=0, limit=1_000) if one.key.rule == "closure_watch"
        ]


@pytest.fixture
def near_the_end(database: Database, tmp_path: Path) -> tuple[Database, date]:
    """Everything known ten days before the first of them closes."""
    closes = min(CITY.plans[place].closes or 0 for place in CLOSING)
    through = CITY.starts_on + timedelta(days=closes - 10)
    bring(database, tmp_path, through)
    return database, through + timedelta(days=1)


@pytest.mark.slow
def test_the_one_that_will_close_is_warned_of_with_reasons_and_the_healthy_are_not(
    near_the_end: tuple[Database, date],
) -> None:
    database, morning = near_the_end
    report = judge(database, morning)
    assert report.counts["institutions"] == CITY.institutions
    assert report.outcome is Outcome.WRONG
    first = min(CLOSING, key=lambda place: CITY.plans[place].closes or 0)
    healthy = {CITY.uscc(plan.place) for plan in CITY.plans if plan.ending is None}
    told = {one.labels["uscc"]: one for one in feed(database)}
    assert CITY.uscc(first) in told
    assert not {uscc for uscc, one in told.items() if one.severity.value in ("orange", "red")} & healthy
    one = told[CITY.uscc(first)]
    assert one.severity.value == "red"
    assert one.labels["district"]
    for words in ("within 60 days", "Proposed", "families are owed"):
        assert words in one.why.en
    assert "建议" in one.why.zh
    assert one.figures["exposed_fen"] is not None
    with database.read() as session:
        standing = closure_standing(session, CITY.uscc(first))
    assert standing is not None
    outlook = standing.outlook
    assert outlook.ahead
    assert outlook.on == morning
    assert outlook.reasons
    assert outlook.reasons[0].points >= outlook.reasons[-1].points > 0
    assert json.loads(json.dumps(outlook.as_json())) == outlook.as_json()


@pytest.mark.slow
def test_a_morning_is_judged_once_and_again_only_when_asked(near_the_end: tuple[Database, date]) -> None:
    database, morning = near_the_end
    judge(database, morning)
    before = feed(database)
    assert judge(database, morning, hour=9).counts["institutions"] == 0
    some = CITY.uscc(CLOSING[0])
    assert judge(database, morning, hour=9, usccs=[some]).counts["institutions"] == 1
    assert feed(database) == before
    with database.read() as session:
        assert closure_states(session, [some])[some].quiet == 0
    with pytest.raises(UsageError, match="no open institution"):
        judge(database, morning, usccs=["91110000600037341L"])


@pytest.mark.slow
def test_a_level_is_kept_while_the_bank_is_silent(near_the_end: tuple[Database, date]) -> None:
    database, morning = near_the_end
    judge(database, morning)
    warned = [one.labels["uscc"] for one in feed(database)]
    assert warned
    for days in (10, 20, 30):
        judge(database, morning + timedelta(days=days))
    assert not [one for one in feed(database) if one.transition in (TransitionKind.RESOLVED, TransitionKind.EASED)]
    with database.read() as session:
        history = list(outlook_history(session, warned[0]))
    assert [one["on"] for one in history] == [morning, *(morning + timedelta(days=days) for days in (10, 20, 30))]


def test_nobody_to_watch_is_no_error(database: Database) -> None:
    report = judge(database, date(2025, 6, 2))
    assert report.counts["institutions"] == 0
    assert report.outcome is Outcome.OK
