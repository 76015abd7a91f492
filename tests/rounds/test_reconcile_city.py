"""A city lived through the Spring Festival, imported as files and statements: healthy books explain themselves."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from pathlib import Path

import pytest

from escrow_monitor.actions.import_files import import_file
from escrow_monitor.policies import load_policies
from escrow_monitor.records.bank.statements import record_statements
from escrow_monitor.records.database import Database
from escrow_monitor.records.reconciliation.reconciliations import by_numbers
from escrow_monitor.rounds.reconcile import reconcile_institutions
from escrow_monitor.rounds.signals import Patience
from escrow_monitor.sandbox.city.city import City
from escrow_monitor.sandbox.city.export import KINDS, statements, write_files
from escrow_monitor.sandbox.city.plans import CitySettings

ON = date(2025, 2, 28)
CITY = City(
    seed=2, institutions=5, starts_on=date(2025, 1, 1), days=70,
    settings=CitySettings(closing_rate=0, custody_share=1, awkward_rate=0, statement_fault_rate=0, students=(40, 90)),
)


@pytest.fixture
def told(database: Database, tmp_path: Path) -> Database:
    """All that is recorded by the end of `ON`."""
    now = datetime.combine(ON, time(14), UTC)
    paths = write_files(CITY, tmp_path, through=ON)
    for kind in KINDS:
        with paths[kind].open("rb") as stream:
            done = import_file(
                database, kind=kind, stream=stream, filename=paths[kind].name, actor="test", now=now
            )
        assert not done.bad
    last = (ON - CITY.starts_on).days
    for life in CITY.lives():
        with database.write() as session:
            refused = record_statements(
                session, list(statements(CITY, life, first=0, last=last)), source="city", raw_sha256="ab" * 32, now=now
            )
        assert refused == []
    return database


def test_what_is_paid_before_the_festival_and_booked_after_it_is_no_alarm(told: Database) -> None:
    done = reconcile_institutions(
        database=told, policies=load_policies(), channels=(), patience=Patience(),
        now=datetime.combine(ON, time(15), UTC), actor="test", day=ON,
    )
    assert done.counts["incomplete"] == 0
    with told.read() as session:
        found = by_numbers(session, list(done.numbers))
    assert len(found) == CITY.institutions
    # Without a reference, so that nothing but amount and day can find it.
    across = 0
    for one in found:
        document = one.document
        assert document["residual"] == "0.00"
        labels = {line["label"] for line in document["lines"]}
        assert not labels & {"not_received", "credit_without_charge", "drawn_ahead", "unclear", "bank_differs"}, labels
        assert document["not_received"]["count"] == 0
    for life in CITY.lives():
        booked = {row.reference: row.day for row in life.entries if row.reference}
        across += sum(
            booked.get(f"{life.plan.place:06d}{row.number:07d}", row.paid) - row.paid > 5
            for row in life.charges if row.paid >= 0 and not row.reference
        )
    assert across > 0, "nothing was paid before the festival and booked after it: the test shows nothing"
