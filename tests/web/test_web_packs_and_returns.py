"""The resolution pack and the monthly return over HTTP and on pages: who gets them, what they hold, what is said."""

from __future__ import annotations

import hashlib
import io
import threading
import time
import zipfile

import pytest

from escrow_monitor.domain.permissions import UserRole
from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence.search import AskedAudit, search
from escrow_monitor.records.people import sessions, users
from escrow_monitor.web.csrf import token_of
from escrow_monitor.web.guard import COOKIE
from escrow_monitor.web.handed_out import OneAtATime
from escrow_monitor.web.problems import Problem
from tests.web.test_web_pages import Page
from tests.web.web_world import HOME, NAMES, Site, World, no, uscc

PACK = f"/api/v1/institutions/{uscc(0)}/pack"


@pytest.fixture
def site(database: Database) -> Site:
    world = World(database=database).bad_morning()
    world.key("reader", "read")
    world.key("whole", "read", "admin")
    return Site(world)


def signed_in(site: Site, role: UserRole, **limits: object) -> dict[str, str]:
    """The headers of a browser of one who signed in."""
    with site.world.database.write() as session:
        users.add(
            session, name=role.value, display_name="", role=role, password_hash="none", now=site.world.now,
            districts=limits.get("districts"), uscc=limits.get("uscc"),  # type: ignore[arg-type]
        )
        _, token = sessions.begin(session, user_name=role.value, address="192.0.2.1", agent="", now=site.world.now)
    return {"cookie": f"{COOKIE}={token}", "x_csrf_token": token_of(token), "origin": HOME}


def test_a_pack_comes_as_a_file_and_is_on_record_with_its_hash(site: Site) -> None:
    answer = site.get(PACK, key="whole")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == f'attachment; filename="pack-{uscc(0)}-20261120-103000.zip"'
    assert answer.headers["cache-control"] == "no-store"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert NAMES[0] in archive.read(f"pack-{uscc(0)}/summary.html").decode()
        assert no(1) not in archive.read(f"pack-{uscc(0)}/accounts.csv").decode()
    with site.world.database.read() as session:
        [entry] = search(session, AskedAudit(kind="pack.exported"), limit=5).records
    assert (entry.actor, entry.payload["uscc"]) == ("key:whole", uscc(0))
    assert entry.payload["sha256"] == hashlib.sha256(answer.content).hexdigest()
    assert site.get(PACK.replace(uscc(0), "91NOBODY"), key="whole").status_code == 404
    english = site.get(f"{PACK}?lang=en", key="whole")
    with zipfile.ZipFile(io.BytesIO(english.content)) as archive:
        assert b"Resolution pack" in archive.read(f"pack-{uscc(0)}/summary.html")


def test_an_institution_does_not_get_its_own_pack_and_nobody_that_of_another_district(site: Site) -> None:
    """It holds notes, decisions and what the record says of it: it is for who hands over, not for who closed."""
    own = signed_in(site, UserRole.INSTITUTION, uscc=uscc(0))
    assert site.get(PACK, key=None, **own).status_code == 403
    auditor = signed_in(site, UserRole.AUDITOR, districts=("37",))
    assert site.get(PACK, key=None, **auditor).status_code == 404
    assert site.get(PACK, key="reader").status_code == 403
    with site.world.database.read() as session:
        assert search(session, AskedAudit(kind="pack.exported"), limit=5).records == []


def test_the_button_stands_on_the_page_of_who_may_and_takes_the_pack(site: Site) -> None:
    regulator, viewer = (signed_in(site, role) for role in (UserRole.REGULATOR, UserRole.VIEWER))
    page = site.get(f"/institutions/{uscc(0)}?lang=en", key=None, **regulator).text
    assert f'action="/institutions/{uscc(0)}/pack"' in page
    assert Page(page).blocked == []
    assert "Download the pack" in page
    assert "/pack" not in site.get(f"/institutions/{uscc(0)}", key=None, **viewer).text
    taken = site.send("POST", f"/institutions/{uscc(0)}/pack", key=None, content=b"", **regulator)
    assert taken.status_code == 200
    assert taken.headers["content-type"] == "application/zip"
    gone = site.send("POST", "/institutions/91NOBODY/pack", key=None, content=b"", **regulator)
    assert gone.status_code == 404
    forged = {**regulator, "x_csrf_token": "x"}
    assert site.send("POST", f"/institutions/{uscc(0)}/pack", key=None, content=b"", **forged).status_code == 403


def test_one_is_made_at_a_time() -> None:
    one, inside, go_on = OneAtATime("pack"), threading.Event(), threading.Event()

    def make() -> None:
        with one.making():
            inside.set()
            go_on.wait(10)

    other = threading.Thread(target=make)
    other.start()
    assert inside.wait(10)
    with pytest.raises(Problem) as raised, one.making():
        pass
    assert raised.value.status == 503
    go_on.set()
    other.join()
    with one.making():
        pass


def test_a_return_is_json_csv_or_a_workbook(site: Site) -> None:
    told = site.get("/api/v1/returns/2026-10").json()
    assert told["complete"] is False
    assert told["rows"][0]["days_balance_unknown"] == 6 * 31
    assert told["rows"][0]["days_met"] == 0, "nothing is known of October, and that is never met"
    csv = site.get("/api/v1/returns/2026-10?format=csv&lang=en&detail=districts")
    assert csv.headers["content-disposition"] == 'attachment; filename="return-2026-10.csv"'
    assert csv.text.startswith("\ufeffmonth,level,")
    book = site.get("/api/v1/returns/2026-10?format=xlsx&district=5103")
    assert book.headers["content-disposition"] == 'attachment; filename="return-2026-10-5103.xlsx"'
    assert zipfile.ZipFile(io.BytesIO(book.content)).testzip() is None
    for wrong, status in (
        ("2026-12", 404), ("2026-1", 404), ("2026-10?format=pdf", 422), ("2026-10?district=x", 422),
        ("2026-10?nonsense=1", 422),
    ):
        assert site.get(f"/api/v1/returns/{wrong}").status_code == status, wrong


def test_a_return_is_of_what_somebody_may_see(site: Site) -> None:
    own = signed_in(site, UserRole.INSTITUTION, uscc=uscc(2))
    told = site.get("/api/v1/returns/2026-10", key=None, **own).json()
    assert told["limited"] is True
    assert {row["uscc"] for row in told["rows"] if row["level"] == "account"} == {uscc(2)}
    elsewhere = signed_in(site, UserRole.VIEWER, districts=("37",))
    assert site.get("/api/v1/returns/2026-10", key=None, **elsewhere).json()["rows"] == []


def test_the_page_makes_no_return_unasked_and_says_what_is_unknown(site: Site) -> None:
    asked = site.get("/returns?lang=en").text
    assert "Choose a month" in asked
    assert site.get("/returns?month=2026-11&district=5103").headers["location"] == "/returns/2026-11?district=5103"
    page = site.get("/returns/2026-11?lang=en").text
    assert "Make it" in page
    assert "Incomplete" not in page
    made(site, "2026-11")
    for lang, said in (("en", "Incomplete: the month has not ended"), ("zh", "不完整：本月尚未结束")):
        page = site.get(f"/returns/2026-11?lang={lang}").text
        assert said in page
        assert Page(page).blocked == []
        assert 'href="/returns/2026-11/file.xlsx"' in page
        assert NAMES[0] in page
    taken = site.get("/returns/2026-11/file.csv?district=5103")
    assert taken.headers["content-disposition"] == 'attachment; filename="return-2026-11-5103.csv"'
    made(site, "2026-11", district="99")
    assert "there is no supervised account" in site.get("/returns/2026-11?district=99&lang=en").text.lower()
    assert "Incomplete" in site.get("/returns/2026-11?lang=en").text, "of another part another return is kept"
    for path, status in (
        ("/returns/2026-13", 404), ("/returns/2027-01", 404), ("/returns/2026-11/file.pdf", 404),
        ("/returns/2026-11?district=x", 400),
    ):
        assert site.get(path).status_code == status, path


def test_a_return_that_was_made_is_shown_to_who_had_it_made_for_what_they_saw(site: Site) -> None:
    own = signed_in(site, UserRole.INSTITUTION, uscc=uscc(2))
    made(site, "2026-10")
    assert "Made at" in site.get("/returns/2026-10?lang=en").text
    assert "Made at" not in site.get("/returns/2026-10?lang=en", key=None, **own).text


def made(site: Site, month: str, district: str = "") -> None:
    """Have it made, and wait until it is."""
    path = f"/returns/{month}" + (f"?district={district}" if district else "")
    answer = site.send(
        "POST", f"/returns/{month}", content=f"district={district}".encode(),
        content_type="application/x-www-form-urlencoded",
    )
    assert (answer.status_code, answer.headers["location"]) == (303, path), answer.text
    deadline = time.monotonic() + 30
    while 'hx-trigger="every 1s"' in site.get(path).text:
        assert time.monotonic() < deadline
        time.sleep(0.05)
