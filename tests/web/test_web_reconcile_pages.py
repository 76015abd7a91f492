"""The pages of reconciliations: started and followed, the bridge, and matches made and undone by hand, once."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from datetime import date, timedelta
from urllib.parse import urlencode

import httpx
import pytest

from escrow_monitor.domain.bridge_words import Label
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.matching import BankLine, BreakKind, Expected, ExpectedKind, Tier
from escrow_monitor.domain.permissions import UserRole
from escrow_monitor.errors import EscrowMonitorError
from escrow_monitor.policies import load_policies
from escrow_monitor.records.accounts import save_institutions
from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.matching.decisions import match_of
from escrow_monitor.records.matching.matching import match_institutions, record_items
from escrow_monitor.records.people import sessions, users
from escrow_monitor.records.reconciliation.pages import (
    AskedNewest,
    institutions_named,
    newest_lines,
    open_count,
    recently_asked,
)
from escrow_monitor.records.reconciliation.reconciliations import AskedState, asked, finish, progressed
from escrow_monitor.rounds.reconcile import MATCH_POLICY, reconcile_asked
from escrow_monitor.rounds.signals import Patience
from escrow_monitor.web.app import create_app
from escrow_monitor.web.console.words import WORDS
from escrow_monitor.web.csrf import token_of
from escrow_monitor.web.guard import COOKIE
from tests.web.web_world import HOME, NAMES, NOW, Site, World, no, uscc

FORM = "application/x-www-form-urlencoded"
SCRIPT = "<script>alert(1)</script>"
TOKENS: dict[str, str] = {}
PEOPLE = (
    ("li", UserRole.STAFF, None), ("kan", UserRole.VIEWER, None), ("local", UserRole.REGULATOR, ("44",)),
)


def site_of(world: World, *, works: bool = True) -> Site:
    """Two institutions with open items, the second in another district, and a program that does what is asked."""
    with world.database.write() as session:
        save_institutions(session, [Institution(uscc=uscc(1), name="外区学校", district="440101")], now=world.now)
        for name, role, districts in PEOPLE:
            users.add(
                session, name=name, display_name=name, role=role, districts=districts, uscc=None, password_hash="none",
                now=world.now,
            )
            _, TOKENS[name] = sessions.begin(session, user_name=name, address="192.0.2.1", agent="", now=world.now)
        for number in (0, 1):
            record_items(session, lines=[
                line(number, "a", 2800_00), line(number, "b", 2800_00), line(number, "c", 1500_00, "HT-911"),
                line(number, "d", 77_00, text=SCRIPT), line(number, "e", 600_00, "HT-600"),
            ], expected=[
                item(number, "1", 2800_00), item(number, "2", 2800_00), item(number, "3", 1600_00, "HT-911"),
                item(number, "5", 600_00, "HT-600"),
            ], now=world.now)
            match_institutions(session, MATCH_POLICY, [uscc(number)], now=world.now)
    policies = load_policies()
    ports = world.ports()
    if works:
        ports = replace(ports, reconcile=lambda request_id: reconcile_asked(
            request_id, database=world.database, policies=policies, channels=(), patience=Patience(), now=world.now
        ))
    return Site(world, create_app(ports))


@pytest.fixture
def desk(world: World) -> Site:
    return site_of(world)


def line_id(number: int, name: str) -> str:
    return f"entry:{no(number)}/2026-11-17/{name}"


def line(number: int, name: str, fen: int, reference: str | None = None, text: str = "学费") -> BankLine:
    return BankLine(
        line_id=line_id(number, name), uscc=uscc(number), account_no=no(number), on=date(2026, 11, 17), amount_fen=fen,
        reference=reference, text=text,
    )


def item(number: int, name: str, fen: int, reference: str | None = None) -> Expected:
    return Expected(
        expected_id=f"charge:JF-{number}{name}", kind=ExpectedKind.CHARGE, uscc=uscc(number), on=date(2026, 11, 16),
        amount_fen=fen, reference=reference,
    )


def look(site: Site, path: str, who: str = "li", *, lang: str = "en") -> httpx.Response:
    return site.get(path, key=None, cookie=f"{COOKIE}={TOKENS[who]}; escrow_lang={lang}")


def text_of(answer: httpx.Response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text))


def send(
    site: Site, path: str, who: str = "li", *, lang: str = "en", many: Collection[tuple[str, str]] = (), **fields: str
) -> httpx.Response:
    body = [("csrf", token_of(TOKENS[who])), *fields.items(), *many]
    return site.send(
        "POST", path, key=None, content=urlencode(body).encode(), content_type=FORM, origin=HOME,
        cookie=f"{COOKIE}={TOKENS[who]}; escrow_lang={lang}",
    )


def match(
    site: Site, lines: str, items: str, who: str = "li", *, number: int = 0, of: int = 0, **more: str
) -> httpx.Response:
    chosen = [("line", line_id(of, name)) for name in lines] + [("item", f"charge:JF-{of}{name}") for name in items]
    return send(site, f"/reconcile/{uscc(number)}/matches", who, many=chosen, **{"reason": "by the receipt", **more})


def kinds(site: Site, kind: str) -> int:
    with site.world.database.read() as session:
        return [one.kind for one in audit.records(session)].count(kind)


# words


def test_everything_that_has_a_name_has_its_words() -> None:
    named = [f"rec_near.{kind}" for kind in BreakKind] + [f"rec_tier.{tier}" for tier in Tier]
    named += [f"rec_state.{state}" for state in AskedState] + [f"rec_item.{kind}" for kind in ExpectedKind]
    assert set(named) <= set(WORDS)
    assert "not_received" in set(Label)


# the list and the start


def test_a_reconciliation_is_started_and_followed_to_its_bridge(desk: Site) -> None:
    started = send(desk, "/reconcile", institution="晨光")
    assert started.status_code == 303
    text = text_of(look(desk, started.headers["location"]))
    for word in ("What came out", NAMES[0], "1 reconciliations: 1 incomplete", "Held by the bank", "Unexplained", "li"):
        assert word in text, word
    overview = text_of(look(desk, "/reconcile"))
    assert "incomplete" in overview
    assert "done" in overview
    desk_text = text_of(look(desk, f"/reconcile/{uscc(0)}"))
    assert "History" in desk_text
    past = re.search(rf'href="(/reconcile/{uscc(0)}/\d+)"', look(desk, f"/reconcile/{uscc(0)}").text)
    assert past is not None
    assert "Unexplained" in text_of(look(desk, past[1]))
    # The number is of another institution: it is not there.
    assert look(desk, past[1].replace(uscc(0), uscc(1))).status_code == 404


def test_all_of_which_something_is_new_are_done_for_who_sees_all(desk: Site) -> None:
    started = send(desk, "/reconcile", whole="yes", institution="")
    answer = look(desk, started.headers["location"])
    assert "every institution, made anew" in text_of(answer)
    refused = send(desk, "/reconcile", "local", institution="")
    assert refused.status_code == 422
    assert "say which institution" in text_of(refused)
    assert look(desk, started.headers["location"], "local").status_code == 404
    assert send(desk, "/reconcile", "local", institution="外区").status_code == 303


@pytest.mark.parametrize(("fields", "word"), [
    ({"institution": "没有的"}, "No institution “没有的”"), ({"institution": "9151"}, "Several institutions fit"),
    ({"institution": uscc(0), "day": "soon"}, "“soon” is no day"), ({"uscc": uscc(77)}, "No institution"),
    ({"institution": uscc(0), "day": (NOW + timedelta(days=3)).date().isoformat()}, "still to come"),
])
def test_what_cannot_be_started_is_said_beside_the_form(desk: Site, fields: dict[str, str], word: str) -> None:
    answer = send(desk, "/reconcile", **fields)
    assert answer.status_code == 422
    [said] = re.findall(r'<p class="wrong"[^>]*>([^<]+)', answer.text)
    assert word in said
    if "Several" in word:
        assert f'name="uscc" value="{uscc(2)}"' in answer.text
    assert kinds(desk, "reconciliation.asked") == 0
    assert re.search(r'<p class="wrong"[^>]*>[^<]*[\u4e00-\u9fff]', send(desk, "/reconcile", lang="zh", **fields).text)


def test_a_start_that_is_sent_twice_is_one(desk: Site) -> None:
    first, second = (send(desk, "/reconcile", uscc=uscc(0), once="t1") for _ in range(2))
    assert first.headers["location"] == second.headers["location"]
    assert kinds(desk, "reconciliation.asked") == 1
    assert send(desk, "/reconcile", uscc=uscc(2), once="t1").status_code == 409


def test_progress_is_shown_while_it_goes_and_renews_itself(world: World) -> None:
    site = site_of(world, works=False)
    path = send(site, "/reconcile", uscc=uscc(0)).headers["location"]
    waiting = look(site, path).text
    assert 'hx-trigger="every 1s"' in waiting
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in waiting
    assert "Getting ready" in waiting
    request_id = path.rpartition("/")[2]
    with world.database.write() as session:
        session.connection().exec_driver_sql("UPDATE asked_reconciliations SET state = 'running'")
        progressed(session, request_id, done=1200, total=4000, now=world.now)
    running = look(site, path).text
    assert '<progress aria-label="A reconciliation under way" max="4000" value="1200">' in running
    assert "1,200 of 4,000 institutions done" in running
    with world.database.write() as session:
        finish(session, request_id, found=None, problem="the bank's file is broken", now=world.now)
    failed = look(site, path).text
    assert "hx-trigger" not in failed
    assert "the bank&#39;s file is broken" in failed


def test_what_fails_is_told_to_who_asked(world: World) -> None:
    def fails(request_id: str) -> None:
        with world.database.write() as session:
            finish(session, request_id, found=None, problem="no", now=world.now)
        raise EscrowMonitorError("no")

    site = site_of(world)
    broken = Site(world, create_app(replace(world.ports(), reconcile=fails)))
    path = send(broken, "/reconcile", uscc=uscc(0)).headers["location"]
    assert "It was not finished: no" in text_of(look(site, path))


def test_the_list_is_filtered_and_read_page_by_page(database: Database) -> None:
    world = World(database=database)
    world.institutions(40)
    site = site_of(world)
    for number in range(40):
        assert send(site, "/reconcile", uscc=uscc(number)).status_code == 303
    first = look(site, "/reconcile").text
    more = re.search(r'href="(/reconcile\?[^"]*)" rel="next"', first)
    assert more is not None
    second = look(site, more[1].replace("&amp;", "&")).text
    rows = [
        re.findall(r'scope="row"><a href="/reconcile/(\w{18})"', part.split('id="asked"')[0])
        for part in (first, second)
    ]
    assert rows[0] + rows[1] == [uscc(number) for number in range(40)]
    with database.read() as session:
        for wanted, count in (
            (AskedNewest(to_do=True), 40), (AskedNewest(district="44"), 1), (AskedNewest(text="外区"), 1),
            (AskedNewest(text="%"), 0), (AskedNewest(text=uscc(3).lower()), 1),
        ):
            assert len(newest_lines(session, wanted, limit=100)) == count, wanted
        assert institutions_named(session, uscc(3).lower()) == [(uscc(3), NAMES[3])]
        assert len(institutions_named(session, "晨光")) == 7
        assert len(recently_asked(session)) == 10
        assert [one.uscc for one in recently_asked(session, uscc=uscc(3))] == [uscc(3)]


@pytest.mark.parametrize("query", ["only=x", "sort=x", "district=x", "q=" + "x" * 101])
def test_a_filter_that_is_none_is_refused(desk: Site, query: str) -> None:
    assert look(desk, f"/reconcile?{query}").status_code == 400


def test_empty_pages_say_what_to_do(desk: Site) -> None:
    assert "Import institutions, contracts and charges" in text_of(look(desk, "/reconcile"))
    assert "None fits" in text_of(look(desk, "/reconcile?q=zzz"))
    text = text_of(look(desk, f"/reconcile/{uscc(2)}"))
    assert "Nothing is open" in text
    assert "was not reconciled yet" in text


# matches


def test_what_might_belong_together_is_offered_the_likeliest_first(desk: Site) -> None:
    html = look(desk, f"/reconcile/{uscc(0)}").text
    text = text_of(look(desk, f"/reconcile/{uscc(0)}"))
    assert text.count("fits in more than one way") >= 4
    assert "differs by -100.00" in text
    assert SCRIPT not in html
    assert html.count('data-card="settle"') == 3
    assert html.count('data-card="matched"') == 1
    assert re.findall(r'type="radio" name="item" value="([^"]+)" checked', html) == [
        "charge:JF-01", "charge:JF-01", "charge:JF-03",
    ]
    reader = look(desk, f"/reconcile/{uscc(0)}", "kan").text
    assert re.findall(r'<form method="post" action="([^"?]+)', reader) == ["/sign-out"]
    assert 'type="radio"' not in reader


def test_a_match_by_hand_is_made_undone_and_not_made_again_by_itself(desk: Site) -> None:
    done = match(desk, "a", "2")
    assert done.status_code == 303
    page = text_of(look(desk, done.headers["location"]))
    assert "Matched." in page
    assert "by hand: by the receipt" in page
    with desk.world.database.read() as session:
        found = match_of(session, line_id=line_id(0, "a"))
        assert found is not None
        assert (found.made_by, found.match.tier) == ("user:li", Tier.MANUAL)
        assert found.match.expected_ids == ("charge:JF-02",)
    undone = send(desk, f"/reconcile/{uscc(0)}/undo", item=line_id(0, "a"), reason="the wrong child")
    assert undone.headers["location"].endswith("?done=undo")
    assert "not matched like that by themselves" in text_of(look(desk, undone.headers["location"]))
    with desk.world.database.read() as session:
        assert match_of(session, line_id=line_id(0, "a")) is None
    assert (kinds(desk, "match.made"), kinds(desk, "match.undone")) == (1, 1)


def test_several_of_each_side_are_matched_with_a_difference_that_the_reason_explains(desk: Site) -> None:
    before = open_items(desk)
    assert match(desk, "bc", "13", reason="one transfer for two").status_code == 303
    assert open_items(desk) == before - 4
    text = text_of(look(desk, f"/reconcile/{uscc(0)}"))
    assert "differs by -100.00" in text
    assert "one transfer for two" in text


def open_items(site: Site) -> int:
    with site.world.database.read() as session:
        return open_count(session, uscc(0))


@pytest.mark.parametrize(("lines", "items", "more", "status", "word"), [
    ("a", "2", {"reason": " "}, 422, "keeps its reason"), ("a", "", {}, 422, "at least one of each side"),
    ("", "1", {}, 422, "at least one of each side"), ("a", "9", {}, 409, "not open any more"),
    ("e", "5", {}, 409, "not open any more"), ("a", "1", {"reason": "x" * 4001}, 422, "at most 4000"),
])
def test_what_cannot_be_matched_is_said_in_words(
    desk: Site, lines: str, items: str, more: dict[str, str], status: int, word: str
) -> None:
    answer = match(desk, lines, items, **more)
    assert answer.status_code == status
    [said] = re.findall(r'<p class="wrong"[^>]*role="alert"[^>]*>([^<]+)', answer.text)
    assert word in said
    assert kinds(desk, "match.made") == 0


@pytest.mark.parametrize("form", [
    "free", f"settle:{no(0)}", f"settle:entry:{no(0)}/2026-11-17/a", f"undo:entry:{no(0)}/2026-11-17/e", "undo:x",
    "undo-made", "", "<x>",
])
def test_a_refusal_is_said_once_wherever_it_came_from(desk: Site, form: str) -> None:
    for path in ("matches", "undo"):
        answer = send(desk, f"/reconcile/{uscc(0)}/{path}", form=form, reason="x", item="nothing")
        assert answer.text.count('class="wrong"') == 1, path


def test_another_institution_s_items_are_neither_matched_nor_undone(desk: Site) -> None:
    assert look(desk, f"/reconcile/{uscc(0)}", "local").status_code == 404
    assert match(desk, "a", "1", "local").status_code == 404
    # From the page of their own institution, with the ids of another's.
    answer = match(desk, "a", "1", "local", number=1, of=0)
    assert answer.status_code == 409
    assert "not open any more" in text_of(answer)
    taken = send(desk, f"/reconcile/{uscc(1)}/undo", "local", item=line_id(0, "e"), reason="x")
    assert taken.status_code == 409
    assert "in no match" in text_of(taken)
    assert (kinds(desk, "match.made"), kinds(desk, "match.undone")) == (0, 0)
    assert match(desk, "a", "1", "local", number=1, of=1).status_code == 303
    made = urlencode({"made": line_id(0, "e")})
    assert "Matched." not in text_of(look(desk, f"/reconcile/{uscc(1)}?{made}", "local"))
    assert "HT-600" not in text_of(look(desk, f"/reconcile/{uscc(1)}?find=JF-05", "local"))


def test_a_match_sent_twice_is_made_once(desk: Site) -> None:
    first, second = (match(desk, "a", "1", once="t1") for _ in range(2))
    assert first.headers["location"] == second.headers["location"]
    assert kinds(desk, "match.made") == 1
    assert match(desk, "b", "2", once="t1").status_code == 409
    assert [match(desk, "b", "2", "kan").status_code, kinds(desk, "match.made")] == [403, 1]


def test_a_match_is_found_by_the_number_that_people_know(desk: Site) -> None:
    for name in ("JF-05", "charge:JF-05", line_id(0, "e"), line_id(0, "e").removeprefix("entry:")):
        text = text_of(look(desk, f"/reconcile/{uscc(0)}?{urlencode({'find': name})}"))
        assert "same reference and amount" in text, name
    assert "“JF-15” is in no match" in text_of(look(desk, f"/reconcile/{uscc(0)}?find=JF-15"))


def test_what_is_not_there_is_said_in_words(desk: Site) -> None:
    one = f"/reconcile/{uscc(0)}"
    for path in (f"/reconcile/{uscc(77)}", "/reconcile/runs/R0", f"{one}/9", f"{one}/{10**30}"):
        answer = look(desk, path)
        assert answer.status_code == 404, path
        assert "There is no such reconciliation" in text_of(answer), path


def test_no_page_breaks_our_content_policy(desk: Site) -> None:
    run = send(desk, "/reconcile", uscc=uscc(0)).headers["location"]
    for path in ("/reconcile", run, f"/reconcile/{uscc(0)}", "/reconcile/runs/x"):
        html = look(desk, path).text
        assert not re.search(r"<[^>]+\s(style|on\w+)=", html), path
        assert re.findall(r"<script(?![^>]*\ssrc=)", html) == [], path
    with desk.world.database.read() as session:
        found = asked(session, run.rpartition("/")[2])
    assert found is not None
    assert found.actor == "user:li"
    assert found.day is None
