"""A city that was imported is replayed as recorded history: what came later changes nothing of an earlier morning."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pytest

from escrow_monitor.actions.backtest import BASELINES
from escrow_monitor.actions.import_files import import_file
from escrow_monitor.actions.recorded_past import recorded_back_test, recorded_past, replay_recorded
from escrow_monitor.clock import ZONE
from escrow_monitor.domain.closure.back_test import Said
from escrow_monitor.domain.closure.index import shipped_model
from escrow_monitor.domain.institutions import InstitutionStatus
from escrow_monitor.errors import UsageError
from escrow_monitor.policies import load_policies
from escrow_monitor.records.accounts import institutions, save_institutions
from escrow_monitor.records.bank.statements import record_statements
from escrow_monitor.records.database import Database
from escrow_monitor.sandbox.city.city import City
from escrow_monitor.sandbox.city.export import KINDS, statements, write_files
from escrow_monitor.sandbox.city.plans import CitySettings

CITY = City(
    seed=8, institutions=3, starts_on=date(2025, 1, 1), days=180, settings=CitySettings(students=(20, 40), noise=2.0)
)
LAW = load_policies()


def morning_of(day: int) -> datetime:
    return datetime.combine(CITY.starts_on + timedelta(days=day), time(6), ZONE)


def record(database: Database, folder: Path, *, first: int, last: int) -> None:
    """Everything up to the end of day `last`, and the statements from day `first`, on the next morning."""
    now = morning_of(last + 1)
    paths = write_files(CITY, folder, through=CITY.starts_on + timedelta(days=last))
    for kind in KINDS:
        with paths[kind].open("rb") as stream:
            assert not import_file(
                database, kind=kind, stream=stream, filename=paths[kind].name, actor="test", now=now
            ).bad
    with database.write() as session:
        for life in CITY.lives():
            found = list(statements(CITY, life, first=first, last=last))
            assert record_statements(session, found, source="test", raw_sha256="0" * 64, now=now) == []


def replayed(database: Database, days: range, *, now: datetime) -> Said:
    with database.read() as session:
        past = recorded_past(session, first=None, last=None, now=now, policies=LAW)
        return replay_recorded(session, past, days, BASELINES, shipped_model(), None)


@pytest.mark.slow
def test_what_was_recorded_later_changes_nothing_of_an_earlier_morning(database: Database, tmp_path: Path) -> None:
    record(database, tmp_path, first=0, last=109)
    record(database, tmp_path, first=110, last=139)
    days = range(100, 141, 4)
    before = replayed(database, days, now=morning_of(140) + timedelta(hours=3))
    record(database, tmp_path, first=140, last=169)
    after = replayed(database, days, now=morning_of(170) + timedelta(hours=3))
    for name, levels in before.levels.items():
        assert (levels == after.levels[name]).all(), name
    for horizon, chances in before.chances.items():
        assert (chances == after.chances[horizon]).all(), horizon
    with database.read() as session:
        past = recorded_past(session, first=None, last=None, now=morning_of(170), policies=LAW)
        found = recorded_back_test(
            session, past, BASELINES, shipped_model(), about={}, institutions_per_supervisor=100, step_days=7
        )
    assert (found.first, found.last) == (CITY.starts_on + timedelta(days=120), CITY.starts_on + timedelta(days=169))
    assert all(one.years == pytest.approx(3 * 50 / 365) for one in found.scores)
    # Nothing was known of the balance before the first statements came: no floor could be below it.
    assert not before.levels["below_obligation"][:, :10].any()


@pytest.mark.slow
def test_a_closed_institution_closed_with_its_last_lesson(database: Database, tmp_path: Path) -> None:
    record(database, tmp_path, first=0, last=169)
    closing = CITY.uscc(1)
    with database.write() as session:
        [one] = [each for each in institutions(session) if each.uscc == closing]
        save_institutions(session, [replace(one, status=InstitutionStatus.CLOSED)], now=morning_of(172))
    with database.read() as session:
        with pytest.raises(UsageError, match=r"can be evaluated, not those from 2025-06-01"):
            recorded_past(session, first=date(2025, 6, 1), last=None, now=morning_of(175), policies=LAW)
        past = recorded_past(session, first=None, last=None, now=morning_of(175), policies=LAW, hindsight=True)
        assert past.late_share > 0.5
        found = recorded_back_test(
            session, past, BASELINES, shipped_model(), about={}, institutions_per_supervisor=100, hindsight=True
        )
    row = past.series.ids.index(closing)
    last_taught = int(np.flatnonzero(past.series.values["taught"][row]).max())
    [one_closed] = found.scores[0].closures
    assert (one_closed.uscc, one_closed.cause) == (closing, "unknown")
    assert one_closed.closed_on == CITY.starts_on + timedelta(days=last_taught)
    assert found.first == CITY.starts_on + timedelta(days=120)


def test_without_history_there_is_nothing_to_replay(database: Database) -> None:
    with database.read() as session, pytest.raises(UsageError, match="no statement is recorded"):
        recorded_past(session, first=None, last=None, now=morning_of(140), policies=LAW)
