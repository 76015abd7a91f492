"""What pages share between readers: it crosses neither what each may see nor their language, and shows what is new."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import Engine, event

from alerts.alert import AlertKey, Severity, Signal, Why
from escrow_monitor.actions import decide_alert
from escrow_monitor.domain.accounts import Account
from escrow_monitor.domain.findings import Level, Standing, account_subject
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.permissions import UserRole
from escrow_monitor.records.accounts import save_accounts, save_institutions
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.database import Database
from escrow_monitor.records.people import sessions, users
from escrow_monitor.records.positions import AccountStanding, save_standings
from escrow_monitor.web.fresh import Fresh
from escrow_monitor.web.guard import COOKIE
from tests.web.web_world import HOME, Site, World, bank, no, uscc

DISTRICTS = ("510302", "371082", "440101")
LONG = 60.0
"""Seconds for which answers are kept here: whatever is shared, is."""
PAGES = (
    "/", "/institutions", "/institutions?level=red", "/institutions?standing=breached", "/institutions?closure=any",
    "/institutions?q=学校", "/institutions?order=code", "/alerts", "/alerts?severity=red", "/alerts?q=学校",
    "/alerts?status=resolved", "/operations", "/policies", "/policies/packs/cn-510300", "/cases", "/reconcile",
)
WHOLE_PAGES = ("/deliveries", "/silences", "/subscriptions", "/audit", "/imports")


def name(number: int) -> str:
    return f"{('东', '西', '南')[number % 3]}区{number}号学校"


def town(database: Database, *, each: int) -> World:
    """`each` institutions in three districts, all below their floor."""
    world = World(database=database)
    numbers = range(3 * each)
    with database.write() as session:
        save_institutions(session, [
            Institution(uscc=uscc(number), name=name(number), district=DISTRICTS[number % 3]) for number in numbers
        ], now=world.now)
        save_accounts(session, [
            Account(account_no=no(number), bank=bank(number), connector="x", currency="CNY", uscc=uscc(number))
            for number in numbers
        ], now=world.now)
        save_standings(session, [
            AccountStanding(
                account_no=no(number), input_version=1, standing=Standing.BREACHED, level=Level.RED,
                required_fen=100_000_00, required_complete=True, balance_fen=1_00,
            )
            for number in numbers
        ], now=world.now, policy_version="1")
        RecordsAlertBook(session, channels=["log"]).advance(
            signals=[alarm(world, number) for number in numbers], clears=(), now=world.now, cause="test"
        )
    world.key("reader", "read")
    return world


def alarm(world: World, number: int, rule: str = "floor") -> Signal:
    return Signal(
        key=AlertKey(rule, account_subject(no(number)), "continuous"), severity=Severity.RED, standing="breached",
        why=Why(zh=f"{name(number)}低于最低余额", en=f"{name(number)} is below its floor"), as_of=world.now, figures={},
        labels={
            "uscc": uscc(number), "account_no": no(number), "bank": bank(number), "district": DISTRICTS[number % 3]
        },
    )


class Crowd:
    """Somebody of each district, of one institution and of everything, in front of one site."""

    def __init__(self, world: World) -> None:
        self.site = Site(world, world.app(answer_age_seconds_max=LONG))
        self.tokens: dict[str, str] = {}
        with world.database.write() as session:
            for who, role, districts, own in (
                ("whole", UserRole.ADMIN, None, None), ("east", UserRole.REGULATOR, ("5103",), None),
                ("west", UserRole.STAFF, ("371082",), None), ("south", UserRole.VIEWER, ("44",), None),
                ("school", UserRole.INSTITUTION, None, uscc(3)), ("nowhere", UserRole.VIEWER, (), None),
            ):
                users.add(
                    session, name=who, display_name=who, role=role, districts=districts, uscc=own,
                    password_hash="none", now=world.now,
                )
                _, self.tokens[who] = sessions.begin(
                    session, user_name=who, address="192.0.2.1", agent="", now=world.now
                )

    def ask(self, *asked: tuple[str, str]) -> list[httpx.Response]:
        """All of these (who, path) at once, in one loop: what is shared outlives no loop."""
        async def answers() -> list[httpx.Response]:
            transport = httpx.ASGITransport(app=self.site.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=HOME) as client:
                first = [await self._get(client, *asked[0])]
                return first + list(await asyncio.gather(*(self._get(client, *one) for one in asked[1:])))

        return asyncio.run(answers())

    async def _get(self, client: httpx.AsyncClient, who: str, path: str) -> httpx.Response:
        return await client.get(path, headers={"cookie": f"{COOKIE}={self.tokens[who]}"})


OWN = {"east": {0, 3, 6}, "west": {1, 4, 7}, "south": {2, 5, 8}, "school": {3}, "nowhere": set[int](),
       "whole": set(range(9))}


@pytest.fixture
def crowd(database: Database) -> Crowd:
    return Crowd(town(database, each=3))


@pytest.mark.parametrize("path", PAGES)
def test_nobody_is_shown_what_another_may_see(crowd: Crowd, path: str) -> None:
    """Everybody asks for the same within one moment, who sees everything first: all that can be shared is there."""
    order = ("whole", "east", "west", "school", "south", "nowhere", "east", "whole", "school", "west")
    for who, answer in zip(order, crowd.ask(*((who, path) for who in order)), strict=True):
        assert answer.status_code in (200, 403), (who, path)
        told = {number for number in range(9) if name(number) in answer.text or uscc(number) in answer.text}
        assert told <= OWN[who], (who, path)
        if path in ("/", "/institutions", "/alerts", "/alerts?severity=red"):
            assert told == OWN[who], (who, path)


@pytest.mark.parametrize("path", [*PAGES, *WHOLE_PAGES])
def test_a_language_is_not_another_s(crowd: Crowd, path: str) -> None:
    mark = "&" if "?" in path else "?"
    asked = [("whole", f"{path}{mark}lang={lang}") for lang in ("zh", "en", "zh", "en")]
    first, second, third, fourth = crowd.ask(*asked)
    for chinese, english in ((first, second), (third, fourth)):
        assert (chinese.headers["content-language"], english.headers["content-language"]) == ("zh-CN", "en")
        assert '<html lang="zh-CN"' in chinese.text
        assert '<html lang="en"' in english.text
        title = re.search(r"<title>(.*?)</title>", english.text)
        assert title is not None
        assert "Escrow monitor" in title[1]


def test_the_figures_of_a_part_are_those_of_the_part_alone(crowd: Crowd) -> None:
    whole, east, school = crowd.ask(("whole", "/?lang=en"), ("east", "/?lang=en"), ("school", "/?lang=en"))
    assert "9 supervised accounts" in whole.text
    assert "3 supervised accounts" in east.text
    assert "1 supervised account" in school.text


def test_whoever_has_just_decided_something_sees_it_in_the_inbox(crowd: Crowd) -> None:
    """However long answers are kept: of the feed, of proposals (which it does not carry) and of what is published."""
    world = crowd.site.world

    async def walk() -> None:
        transport = httpx.ASGITransport(app=crowd.site.app)
        async with httpx.AsyncClient(transport=transport, base_url=HOME) as client:
            headers = {"cookie": f"{COOKIE}={crowd.tokens['whole']}"}

            async def shown(query: str) -> set[str]:
                text = (await client.get(f"/alerts{query}", headers=headers)).text
                return set(re.findall(r'href="/alerts/([0-9a-f]{20})', text))

            one, two, *rest = sorted(await shown("?quiet=loud"))
            assert len(rest) == 7
            with world.database.write() as session:
                book = RecordsAlertBook(session)
                until = world.now + timedelta(hours=4)
                decide_alert.acknowledge(book, one, by="user:x", note="", until=until, now=world.now)
            assert await shown("?quiet=loud") == {two, *rest}
            with world.database.write() as session:
                book = RecordsAlertBook(session)
                decide_alert.propose(book, two, by="user:x", note="known to the district", now=world.now)
            assert await shown("?quiet=proposed") == {two}
            with world.database.write() as session:
                RecordsAlertBook(session).advance(
                    signals=[alarm(world, 0, "freshness")], clears=(), now=world.now, cause="test"
                )
            assert len(await shown("?rule=freshness")) == 1

    asyncio.run(walk())


# what a page costs


@pytest.fixture
def said() -> Iterator[list[str]]:
    """The statements that were put to any database."""
    found: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        if not statement.startswith(("PRAGMA", "BEGIN")):
            found.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield found
    event.remove(Engine, "before_cursor_execute", note)


def test_no_page_asks_more_questions_when_there_is_more_to_show(
    sqlite_template: object, tmp_path: object, said: list[str]
) -> None:
    """Eight times as many institutions, alerts and deliveries: not one statement more, whatever is shared or not."""
    counts: list[dict[str, int]] = []
    for each in (2, 16):
        path = f"{tmp_path}/{each}.db"
        database = Database(f"sqlite:///{path}")
        database.upgrade()
        crowd = Crowd(town(database, each=each))
        crowd.site.app = crowd.site.world.app()
        found = {}
        for page in (*PAGES, *WHOLE_PAGES, f"/institutions/{uscc(0)}", f"/institutions/{uscc(0)}/chart.json"):
            for who in ("whole", "west"):
                said.clear()
                [answer] = crowd.ask((who, page))
                assert answer.status_code in (200, 403, 404), page
                found[f"{who} {page}"] = len(said)
        counts.append(found)
        database.close()
    few, many = counts
    assert {page: (few[page], many[page]) for page in few if many[page] > few[page]} == {}


# one answer for many


def test_an_answer_that_is_late_is_given_while_the_next_is_asked_for() -> None:
    async def walk() -> list[int]:
        asked: list[int] = []

        def ask() -> int:
            asked.append(len(asked) + 1)
            return asked[-1]

        fresh = Fresh(ask, age_seconds_max=0.05, late_seconds_max=LONG)
        found = [await fresh.get(), await fresh.get()]
        await asyncio.sleep(0.06)
        found.append(await fresh.get())
        await asyncio.sleep(0.03)
        return [*found, await fresh.get()]

    assert asyncio.run(walk()) == [1, 1, 1, 2]


def test_an_answer_that_is_too_late_is_not_given() -> None:
    async def walk() -> None:
        answers = iter([1])
        fresh = Fresh(lambda: next(answers), age_seconds_max=0.01, late_seconds_max=0.02)
        assert await fresh.get() == 1
        await asyncio.sleep(0.05)
        with pytest.raises(RuntimeError):
            await fresh.get()

    asyncio.run(walk())


def test_an_error_behind_nobody_s_back_is_heard_by_the_next_who_waits() -> None:
    async def walk() -> None:
        answers = iter(range(1))

        def ask() -> int:
            try:
                return next(answers)
            except StopIteration:
                raise ValueError("nothing more") from None

        fresh = Fresh(ask, age_seconds_max=0.01, late_seconds_max=0.05)
        assert await fresh.get() == 0
        await asyncio.sleep(0.02)
        assert await fresh.get() == 0
        await asyncio.sleep(0.08)
        with pytest.raises(ValueError, match="nothing more"):
            await fresh.get()

    asyncio.run(walk())
