"""What is open, held in memory: moved on by the feed it is what the database says, for whoever may see it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from alerts.alert import DecisionKind, Severity
from escrow_monitor.actions import decide_alert
from escrow_monitor.domain.accounts import Account
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.visibility import Visible
from escrow_monitor.records import institution_pages, tallies
from escrow_monitor.records.accounts import save_accounts, save_institutions
from escrow_monitor.records.alerts import alarms, chosen
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.alerts.open_now import PUBLISHED_WITHIN, OpenNow, OpenNowReader
from escrow_monitor.records.alerts.pages import (
    AlertPlace,
    AskedAlerts,
    alarmed_banks,
    alert_counts,
    alert_page,
    proposed_count,
)
from escrow_monitor.records.bank import pulls
from escrow_monitor.records.database import Database, Session
from escrow_monitor.records.directory import Directory, directory, register_version
from tests.web.web_world import NAMES, NOW, World, bank, no, uscc

SEES = (
    Visible(), Visible(districts=("5103",)), Visible(districts=("510302",)), Visible(districts=("44", "3710")),
    Visible(districts=()), Visible(uscc=uscc(1)), Visible(uscc=uscc(2), districts=("44",)),
)
ELSEWHERE = {2: "440101", 4: "371082"}


@pytest.fixture
def world(database: Database) -> World:
    """The bad morning, with two of the six in other districts and an account that belongs to nobody."""
    world = World(database=database)
    world.bad_morning()
    with database.write() as session:
        save_institutions(session, [
            Institution(uscc=uscc(number), name=NAMES[number], district=code) for number, code in ELSEWHERE.items()
        ], now=world.now)
        save_accounts(session, [Account(account_no=no(9), bank=bank(9), connector="x", currency="CNY")], now=world.now)
    world.signal(9)
    return world


def moment(session: Session, reader: OpenNowReader, world: World, names: Directory | None = None) -> OpenNow:
    held = names or directory(session)
    assert held is not None
    found = reader.read(session, held, now=world.now)
    assert found is not None
    return found


def test_moved_on_by_what_is_published_and_decided_it_is_what_is_read_as_a_whole(world: World) -> None:
    reader = OpenNowReader()
    with world.database.read() as session:
        names = directory(session)
        assert names is not None
        alert_id = moment(session, reader, world, names).alerts[0].alert_id

    def decided(verb: Any, **values: Any) -> None:
        with world.database.write() as session:
            verb(RecordsAlertBook(session), alert_id, by="user:li", now=world.now, **values)

    until = world.now + timedelta(hours=4)
    steps: tuple[Callable[[], object], ...] = (
        lambda: world.signal(1, severity=Severity.ORANGE), lambda: world.signal(3, severity=Severity.RED),
        lambda: world.signal(5), lambda: world.clear(0), lambda: world.signal(0, rule="freshness"),
        lambda: decided(decide_alert.acknowledge, note="", until=until),
        lambda: decided(decide_alert.take_back, note="x", kind=DecisionKind.ACKNOWLEDGEMENT),
        lambda: decided(decide_alert.propose, note="known to the district"),
        lambda: decided(decide_alert.snooze, note="x", until=until),
        # Time alone: what was put off is loud again.
        lambda: setattr(world, "now", world.now + timedelta(hours=5)),
        lambda: world.clear(4, rule="freshness"),
        lambda: setattr(world, "now", world.now + timedelta(days=2)),
        lambda: world.signal(2, severity=Severity.RED),
    )
    for place, step in enumerate(steps):
        step()
        with world.database.read() as session:
            moved, whole = moment(session, reader, world, names), moment(session, OpenNowReader(), world, names)
        for part in ("seq", "alerts", "alarmed", "closures"):
            assert getattr(moved, part) == getattr(whole, part), (place, part)
        # What has become older than a day may still be held.
        assert moved.published is not None
        assert [one for one in moved.published if one.at >= world.now - PUBLISHED_WITHIN] == whole.published, place
    assert {one.quiet for one in moved.alerts} == {0}


def test_it_is_not_moved_back_by_who_began_to_look_earlier(world: World) -> None:
    reader = OpenNowReader()
    with world.database.read() as earlier:
        names = directory(earlier)
        world.signal(5)
        with world.database.read() as later:
            seen = moment(later, reader, world, names)
        assert moment(earlier, reader, world, names) is seen


@pytest.mark.parametrize("visible", SEES, ids=repr)
def test_what_is_chosen_from_memory_is_what_the_database_says(world: World, visible: Visible) -> None:
    now, since = world.now, world.now - timedelta(hours=1)
    with world.database.write() as session:
        book = RecordsAlertBook(session)
        first, second, *_ = [one.alert_id for one in moment(session, OpenNowReader(), world).alerts]
        decide_alert.acknowledge(book, first, by="user:li", note="", until=now + timedelta(hours=4), now=now)
        decide_alert.propose(book, second, by="user:li", note="known to the district", now=now)
    with world.database.read() as session:
        held = moment(session, OpenNowReader(), world)
        for asked in asks(visible):
            assert chosen.counts(held, asked) == alert_counts(session, asked, now=now), asked
            after: AlertPlace | None = None
            while True:
                page = alert_page(session, asked, after=after, limit=2, now=now)
                assert chosen.page(held, asked, after=after, limit=2) == page, asked
                if not page:
                    break
                after = page[-1]
        assert chosen.proposed_count(held, visible) == proposed_count(session, now=now, visible=visible)
        assert chosen.alarmed_banks(held) == alarmed_banks(session)
        for silent in ((), ("川南农商行",)):
            choice: dict[str, Any] = {"no_data_rules": ("freshness",), "silent_banks": silent, "visible": visible}
            assert chosen.first_calls(held, **choice, limit=2) == alarms.first_calls(
                session, **choice, limit=2, now=now
            )
        assert chosen.published_since(held, since, visible) == alarms.published_since(session, since, visible=visible)
        book = RecordsAlertBook(session)
        seqs = chosen.newest(held, visible, limit=3)
        assert seqs is not None
        assert book.numbered(seqs) == book.newest(limit=3, visible=visible)


def asks(visible: Visible) -> list[AskedAlerts]:
    return [
        AskedAlerts(visible=visible, **each) for each in (
            {}, {"severity": Severity.RED}, {"rule": "freshness"}, {"district": "5103"}, {"district": "44"},
            {"uscc": uscc(1)}, {"text": "英语"}, {"text": uscc(2)}, {"text": no(9)}, {"text": "%"}, {"text": "_"},
            {"quiet": "loud"}, {"quiet": "quiet"}, {"quiet": "proposed"},
            {"quiet": "loud", "text": "学", "rule": "floor"},
        )
    ]


@pytest.mark.parametrize("visible", [one for one in SEES if one.uscc is None], ids=repr)
def test_sums_by_district_add_up_to_what_the_database_counts(world: World, visible: Visible) -> None:
    with world.database.read() as session:
        assert tallies.banks_of(tallies.bank_tallies(session), visible) == pulls.bank_answers(session, visible=visible)
        assert tallies.standings_of(tallies.standing_tallies(session), visible) == (
            alarms.account_counts(session, visible=visible)
        )
        _, unsure = alarms.closure_sums(session, visible=visible)
        assert tallies.unsure_of(tallies.unsure_tallies(session), visible) == unsure


@pytest.mark.parametrize("visible", SEES, ids=repr)
def test_the_directory_counts_and_lists_what_is_registered(world: World, visible: Visible) -> None:
    with world.database.read() as session:
        names = directory(session)
        assert names is not None
        assert names.count(visible) == institution_pages.count(session, visible)
        assert names.districts(visible) == institution_pages.districts(session, visible)
        assert [names.covers(visible, uscc(number)) for number in range(6)] == [
            visible.covers(uscc=uscc(number), district=ELSEWHERE.get(number, "510302")) for number in range(6)
        ]


def test_names_are_found_by_any_part_and_codes_by_their_beginning() -> None:
    names = Directory(1, sorted([
        ("A1", "Bright Star", None, None), ("A2", "star\nlight", None, None), ("B1", "学校学校", None, None),
        ("B2", "", None, None), ("STAR1", "x", None, None),
    ]))
    assert names.named("STAR", limit=9) == ["A1", "A2", "STAR1"]
    assert names.named("star", limit=2) == ["A1", "A2"]
    assert names.named("学校", limit=9) == ["B1"]
    assert names.named("b", limit=9) == ["A1", "B1", "B2"]
    assert names.named("r s", limit=9) == []
    assert names.named("r\n", limit=9) == []


def test_the_register_has_a_new_version_when_an_institution_changes_and_only_then(world: World) -> None:
    def version() -> int:
        with world.database.read() as session:
            return register_version(session)

    before = version()
    same = Institution(uscc=uscc(2), name=NAMES[2], district=ELSEWHERE[2])
    for found, expected in ((same, before), (Institution(uscc=uscc(2), name="改名"), before + 1)):
        with world.database.write() as session:
            save_institutions(session, [found], now=world.now)
        assert version() == expected


def test_what_is_not_held_is_not_said_to_be_nothing() -> None:
    held = OpenNow(directory=Directory(1, []), seq=0, alerts=(), alarmed=(), closures=(), published=None)
    assert chosen.published_since(held, NOW, Visible()) is None
    assert chosen.newest(held, Visible(), limit=3) is None
