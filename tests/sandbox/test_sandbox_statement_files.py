"""The statement files of the invented banks: what is written is what our readers, and others, read."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import mt940 as other_reader
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_monitor.banks.connectors.statement_folder import StatementFolder
from escrow_monitor.banks.formats import StatementFile, read_statements
from escrow_monitor.clock import ReplayClock
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.statements import Entry, Statement, StatementKind, numbered
from escrow_monitor.sandbox.delivery import FolderDelivery
from escrow_monitor.sandbox.district import ZONE, delivery_of, replay_district, standing_district
from escrow_monitor.sandbox.statement_files import write_due, write_folder, write_history
from escrow_monitor.sandbox.statement_writers import camt053, mt940

DISTRICT = replay_district(seed=7, today=date(2026, 11, 22))
REPLAY_FROM = DISTRICT.replay_from


def read(path: Path) -> tuple[Statement, ...]:
    result = read_statements(path.read_bytes(), filename=path.name, zone=ZONE)
    assert isinstance(result, StatementFile), result.refusals
    return result.statements


def digest(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("daily", [True, False])
def test_history_covers_every_day_of_every_account_as_the_district_has_it(tmp_path: Path, daily: bool) -> None:
    statements: dict[str, list[Statement]] = defaultdict(list)
    for path in write_history(DISTRICT, tmp_path, at=REPLAY_FROM, daily=daily):
        for statement in read(path):
            statements[statement.account_no].append(statement)
    assert set(statements) == {account.account_no for account in DISTRICT.accounts()}
    for number, found in statements.items():
        expected_from = DISTRICT.starts_on
        for statement in found:
            assert statement.covers_from == expected_from
            assert statement.covers_to is not None
            stated = DISTRICT.statement(number, statement.covers_from, statement.covers_to)
            assert (statement.opening, statement.closing) == (stated.opening, stated.closing)
            assert statement.entries == stated.entries
            expected_from = statement.covers_to + timedelta(days=1)
        assert expected_from == DISTRICT.story_on


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        district = replay_district(seed=7, today=date(2026, 11, 22))
        write_history(district, tmp_path / name, at=REPLAY_FROM)
        write_folder(district, tmp_path / name, through=date(2026, 10, 20))
    assert digest(tmp_path / "one") == digest(tmp_path / "two")


def test_files_that_are_there_are_left_alone(tmp_path: Path) -> None:
    assert write_history(DISTRICT, tmp_path, at=REPLAY_FROM)
    assert write_history(DISTRICT, tmp_path, at=REPLAY_FROM) == []


def test_the_files_of_a_day_appear_the_next_morning_and_chain_to_the_history(tmp_path: Path) -> None:
    history = [s for path in write_history(DISTRICT, tmp_path, at=REPLAY_FROM) for s in read(path)]
    daily = tmp_path / "daily"
    first = DISTRICT.story_on
    assert write_due(DISTRICT, daily, at=delivery_of(first) - timedelta(seconds=1)) == []
    due = write_due(DISTRICT, daily, at=delivery_of(first))
    assert [path.name for path in due] == [f"chengshan-{first:%Y%m%d}.xml", f"chengshan-{first:%Y%m%d}.sta"][::-1]
    for path in due:
        (statement,) = read(path)
        before = [s for s in history if s.account_no == statement.account_no][-1]
        assert statement.covers_from == first
        assert statement.opening == before.closing


def test_a_watching_folder_takes_the_files_although_the_clock_replays_the_past(tmp_path: Path) -> None:
    now = delivery_of(DISTRICT.story_on) + timedelta(minutes=5)
    written = write_due(DISTRICT, tmp_path, at=now)
    received = list(StatementFolder(folder=tmp_path).received(now))
    assert [getattr(one, "path", one) for one in received] == sorted(written)


def test_twins_stay_two_through_the_file(tmp_path: Path) -> None:
    day = DISTRICT.story_on + timedelta(days=5)
    number = DISTRICT.account_no(9)
    stated = DISTRICT.statement(number, day, day)
    for content in (mt940([stated]), camt053([stated], created_at=delivery_of(day), message_id="X")):
        result = read_statements(content, filename="f", zone=ZONE)
        assert isinstance(result, StatementFile)
        twins = [entry.occurrence for entry in result.statements[0].entries if entry.bank_ref is None]
        assert twins == [1, 2]


def test_an_independent_reader_reads_our_mt940_alike() -> None:
    number, first = DISTRICT.account_no(2), DISTRICT.story_on
    stated = DISTRICT.statement(number, first, first + timedelta(days=9))
    read_by_other = other_reader.parse(mt940([stated]).decode())
    assert read_by_other.data["account_identification"] == number
    assert [round(t.data["amount"].amount * 100) for t in read_by_other] == [
        entry.amount.minor_units for entry in stated.entries
    ]
    assert stated.closing is not None
    assert read_by_other.data["final_closing_balance"].amount.amount * 100 == stated.closing.minor_units


def test_a_standing_district_delivers_no_file_of_the_days_its_banks_faltered(tmp_path: Path) -> None:
    at = datetime(2026, 11, 19, 12, 30, tzinfo=ZONE)
    district = standing_district(seed=1, at=at)
    last: dict[str, date] = {}
    for path in write_history(district, tmp_path, at=at):
        for statement in read(path):
            assert statement.covers_to is not None
            bank = path.name.partition("-")[0]
            last[bank] = max(last.get(bank, date.min), statement.covers_to)
    assert last["yandu"] == last["chengshan"] == date(2026, 11, 18)
    assert last["nanhu"] == date(2026, 11, 7)
    assert last["haitang"] == date(2026, 11, 9)


amounts = st.integers(-(10**12), 10**12)


@given(opening=amounts, moves=st.lists(amounts.filter(bool), max_size=8), text=st.sampled_from(["", "学费", "a<b>&c"]))
def test_any_statement_comes_back_from_both_formats(opening: int, moves: list[int], text: str) -> None:
    day, number = date(2026, 2, 28), "6219014815284300519"
    entries = numbered(
        Entry(account_no=number, booked_on=day, value_on=day, amount=Money(fen, "CNY"), text=text, bank_ref=f"R{at}")
        for at, fen in enumerate(moves)
    )
    stated = Statement(
        account_no=number, currency="CNY", kind=StatementKind.END_OF_DAY, number="26059",
        opening=Money(opening, "CNY"), opening_on=day, closing=Money(opening + sum(moves), "CNY"), closing_on=day,
        covers_from=day, covers_to=day, entries=entries, where="test",
    )
    for content in (mt940([stated]), camt053([stated], created_at=delivery_of(day), message_id="X")):
        result = read_statements(content, filename="f", zone=ZONE)
        assert isinstance(result, StatementFile), result.refusals
        (back,) = result.statements
        assert (back.account_no, back.opening, back.closing) == (number, stated.opening, stated.closing)
        assert (back.covers_from, back.covers_to, back.entries) == (day, day, entries)


def test_files_appear_while_the_clock_goes_on(tmp_path: Path) -> None:
    start = delivery_of(DISTRICT.story_on) - timedelta(minutes=5)
    clock = ReplayClock(replay_from=start, started_at=datetime.now(UTC), speed=86_400 * 4)
    with FolderDelivery(district=DISTRICT, clock=clock, folder=tmp_path):
        until = time.monotonic() + 10
        while len(list(tmp_path.glob("chengshan-*"))) < 6 and time.monotonic() < until:
            time.sleep(0.05)
    names = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("."))
    first = DISTRICT.story_on
    assert names[:4] == [
        f"chengshan-{day:%Y%m%d}.{suffix}" for day in (first, first + timedelta(days=1)) for suffix in ("sta", "xml")
    ]
