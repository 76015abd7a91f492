"""Long work over several web nodes: begun on one, watched from another, and told lost when its process is gone."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest

from escrow_monitor.clock import FixedClock
from escrow_monitor.domain.permissions import UserRole
from escrow_monitor.errors import UsageError
from escrow_monitor.records import uploads
from escrow_monitor.records import works as records
from escrow_monitor.records.accounts import institution
from escrow_monitor.records.bulk import texts
from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.people import keys, users
from escrow_monitor.records.works import StoredWork, WorkState
from escrow_monitor.web.alive import is_gone, this_process
from escrow_monitor.web.api import imports as api_imports
from escrow_monitor.web.app import create_app
from escrow_monitor.web.ports import AskedBackTest
from escrow_monitor.web.works import OWN_MAX, SILENT_FOR, Kind, Progress, TooMuchWork, Works
from tests.web.web_world import NOW, Site, World

A = "/api/v1"
ONE = "91110000600037341L"
GOOD = f"uscc,name,district\n{ONE},晨光艺术培训学校,510302\n".encode()
BAD = b"uscc,name\n91110000600037341X,a\n"
COUNT: Kind[int] = Kind(name="count", shape=int, running_max=1)
RESULT = {
    "closure_watch": {
        "method": "closure_watch", "closures": 3, "recall_red_14d": 0.97, "lead_days_first_orange_median": 90,
        "false_reds_per_100_institution_years": 0.2, "protected_share": None,
    },
    "past": {"from": "2025-01-01", "to": "2026-11-19"},
}


@pytest.fixture
def office(database: Database) -> World:
    """Somebody who imports, another who does, an auditor of everything, and a reader."""
    world = World(database=database)
    world.key("reader", "read")
    world.key("clerk", "read", "import")
    world.key("other", "read", "import")
    world.key("admin", "admin")
    return world


def node(world: World, **ports: object) -> Site:
    """One web process in front of the records."""
    return Site(world, create_app(replace(world.ports(), **ports)))  # type: ignore[arg-type]


def ended(site: Site, path: str, *, key: str = "clerk") -> Any:
    """What is said of a piece of work once it is over."""
    for _ in range(1_200):
        answer = site.get(path, key=key)
        assert answer.status_code == 200, answer.text
        if answer.json()["state"] not in ("queued", "running"):
            return answer.json()
        time.sleep(0.05)
    raise AssertionError("it is still at work")


def post(site: Site, path: str, body: object = None, *, key: str = "admin", **headers: str) -> httpx.Response:
    return site.send(
        "POST", path, key=key, content=orjson.dumps(body or {}), content_type="application/json", **headers
    )


def load(site: Site, content: bytes, query: str = "filename=a.csv", **headers: str) -> httpx.Response:
    key = headers.pop("key", "clerk")
    return site.send("POST", f"{A}/imports/institutions?{query}", key=key, content=content, **headers)


def form(site: Site, path: str, body: str) -> httpx.Response:
    return site.send(
        "POST", path, key="clerk", content=body.encode(), content_type="application/x-www-form-urlencoded"
    )


def waited(until: Callable[[], object]) -> None:
    for _ in range(1_200):
        if until():
            return
        time.sleep(0.05)
    raise AssertionError("it does not come about")


# two nodes


def test_a_file_is_tried_on_one_node_and_confirmed_on_another(office: World) -> None:
    one, two = node(office), node(office)
    sent = one.send("POST", "/imports/files?kind=institutions&filename=a.csv", key="clerk", content=GOOD)
    path = sent.json()["location"]
    waited(lambda: "nothing is kept yet" in two.get(f"{path}?lang=en", key="clerk").text)
    assert two.get(path, key="other").status_code == 404
    body = f"sha256={hashlib.sha256(GOOD).hexdigest()}"
    assert form(two, f"{path}/confirm", body).status_code == 303
    waited(lambda: "1 new, 0 updated" in one.get(f"{path}?lang=en", key="clerk").text)
    assert form(one, f"{path}/confirm", body).status_code == 409
    with office.database.read() as session:
        assert institution(session, ONE) is not None
        assert len([*audit.records(session, kind="file.imported")]) == 1


def test_two_nodes_that_confirm_at_once_import_once(office: World) -> None:
    nodes = [node(office), node(office)]
    path = nodes[0].send(
        "POST", "/imports/files?kind=institutions&filename=a.csv", key="clerk", content=GOOD
    ).json()["location"]
    waited(lambda: "nothing is kept yet" in nodes[1].get(f"{path}?lang=en", key="clerk").text)
    body, answers = f"sha256={hashlib.sha256(GOOD).hexdigest()}", []
    together = [
        threading.Thread(target=lambda site=site: answers.append(form(site, f"{path}/confirm", body).status_code))
        for site in nodes
    ]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    assert sorted(answers) == [303, 409]
    waited(lambda: "1 new, 0 updated" in nodes[0].get(f"{path}?lang=en", key="clerk").text)


def test_progress_is_seen_from_another_node_and_after_a_restart(office: World) -> None:
    here, there = works(office), works(office)
    go_on = threading.Event()

    def count(hear: Progress) -> int:
        hear(3, 10)
        assert go_on.wait(60)
        return 42

    begun = here.begin(count, kind=COUNT, owner="key:clerk", subject="ten")
    waited(lambda: _of(there, begun.work_id).done == 3)
    seen = _of(there, begun.work_id)
    assert (seen.state, seen.total, seen.share, seen.subject, seen.result) == (
        WorkState.RUNNING, 10, 30, "ten", None
    )
    go_on.set()
    waited(lambda: _of(there, begun.work_id).state is WorkState.DONE)
    assert _of(works(office), begun.work_id).result == 42
    assert here.of(begun.work_id, kind=COUNT, owner="key:other") is None
    assert here.of(begun.work_id, kind=COUNT, owner=None) is not None


def test_work_waits_for_its_turn_and_too_much_of_one_s_own_is_refused(office: World) -> None:
    here = works(office)
    go_on = threading.Event()

    def count(hear: Progress) -> int:
        assert go_on.wait(60)
        return 1

    begun = [here.begin(count, kind=COUNT, owner="key:clerk") for _ in range(OWN_MAX)]
    assert [_of(here, one.work_id).state for one in begun] == [
        WorkState.RUNNING, *[WorkState.QUEUED] * (OWN_MAX - 1)
    ]
    with pytest.raises(TooMuchWork):
        here.begin(count, kind=COUNT, owner="key:clerk")
    theirs = here.begin(count, kind=COUNT, owner="key:other")
    go_on.set()
    for one in (*begun, theirs):
        waited(lambda one=one: _of(here, one.work_id, owner=None).state is WorkState.DONE)  # type: ignore[misc]


def test_a_failure_says_its_sentence_and_one_that_nobody_foresaw_only_that(office: World) -> None:
    here = works(office)

    def refuse(hear: Progress) -> int:
        raise UsageError("nothing was recorded")

    def fail(hear: Progress) -> int:
        raise ZeroDivisionError("secret")

    for do, sentence in ((refuse, "nothing was recorded"), (fail, "")):
        begun = here.begin(do, kind=COUNT, owner="key:clerk")
        waited(lambda begun=begun: not _of(here, begun.work_id).is_open)  # type: ignore[misc]
        found = _of(here, begun.work_id)
        assert (found.state, found.error) == (WorkState.FAILED, sentence)


# a process that is gone


def test_the_work_of_a_killed_process_is_lost_and_never_running_for_ever(office: World) -> None:
    script = (
        "import sys, time\n"
        "from escrow_monitor.clock import SystemClock\n"
        "from escrow_monitor.records.database import Database\n"
        "from escrow_monitor.web.works import Works\n"
        "from escrow_monitor.web.long_work import VERIFICATION\n"
        "def do(hear):\n    hear(5, 9)\n    time.sleep(60)\n"
        "works = Works(Database(sys.argv[1]), now=SystemClock().now, tick_seconds=0.05)\n"
        "print(works.begin(do, kind=VERIFICATION, owner='key:admin').work_id, flush=True)\n"
        "time.sleep(60)\n"
    )
    url = office.database._url.render_as_string(hide_password=False)
    process = subprocess.Popen([sys.executable, "-c", script, url], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        work_id = process.stdout.readline().strip()
        site = Site(office)
        path = f"{A}/audit/verifications/{work_id}"
        waited(lambda: site.get(path, key="admin").json()["done"] == 5)
        assert site.get(path, key="admin").json()["state"] == "running"
    finally:
        process.kill()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()
    lost = site.get(path, key="admin").json()
    assert (lost["state"], lost["problem"]["status"]) == ("lost", 503)
    assert "ask for it anew" in lost["problem"]["detail"]
    html = site.get(f"/audit/verifications/{work_id}?lang=en", key="admin").text
    assert "This work was cut off" in html
    assert "hx-trigger" not in html


def test_a_process_of_another_machine_is_lost_once_it_is_silent_and_back_when_it_speaks(office: World) -> None:
    entered(office, "W1", process="elsewhere/7/1")
    assert _of(works(office), "W1").state is WorkState.RUNNING
    office.now += SILENT_FOR + timedelta(seconds=1)
    assert _of(works(office), "W1").state is WorkState.LOST
    with office.database.write() as session:
        records.beat(session, [records.Beat(work_id="W1", is_running=True, done=7, total=9)], now=office.now)
    assert (_of(works(office), "W1").state, _of(works(office), "W1").done) == (WorkState.RUNNING, 7)


def test_a_process_of_this_machine_is_looked_for_however_silent_it_is(office: World) -> None:
    """A large import on SQLite holds the file for minutes, in which it cannot write that it lives."""
    entered(office, "W1", process=this_process())
    office.now += timedelta(minutes=20)
    assert _of(works(office), "W1").state is WorkState.RUNNING
    office.now += timedelta(hours=1)
    assert _of(works(office), "W1").state is WorkState.LOST


def test_a_process_s_number_that_another_has_now_is_not_taken_for_it() -> None:
    machine, number, began = this_process().split("/")
    assert is_gone(this_process()) is False
    assert is_gone(f"{machine}/{number}/{int(began) - 1}") is True
    assert is_gone(f"elsewhere/{number}/{began}") is None
    assert is_gone("nonsense") is None


def test_a_node_that_is_stopped_says_that_its_work_is_lost(office: World) -> None:
    here = works(office)
    stop = threading.Event()
    begun = here.begin(lambda hear: 1 if stop.wait(60) else 2, kind=COUNT, owner="key:clerk")
    here.close()
    with office.database.read() as session:
        found = records.work(session, begun.work_id)
    assert found is not None
    assert found.state is WorkState.LOST
    stop.set()
    # It came to its end all the same: what was done is not denied.
    waited(lambda: _of(here, begun.work_id).state is WorkState.DONE)


def test_what_is_old_is_forgotten_and_what_fell_silent_is_written_off(office: World) -> None:
    entered(office, "W1", process="elsewhere/7/1")
    for number in range(records.KEPT_MAX + 3):
        entered(office, f"E{number:03d}", process="elsewhere/7/1", state=WorkState.DONE)
    with office.database.write() as session:
        assert records.forget_old(session, now=office.now) == 3
        records.forget_old(session, now=office.now + records.SILENT_FOR_GOOD + timedelta(seconds=1))
        found = records.work(session, "W1")
        assert found is not None
        assert found.state is WorkState.LOST
        records.forget_old(session, now=office.now + records.KEPT_FOR + timedelta(hours=2))
        assert records.work(session, "W1") is None
        assert records.newest(session, kind="count", owner=None, limit=100) == []


# over the API


def test_an_import_that_does_not_wait_is_answered_202_and_followed(office: World) -> None:
    site = node(office)
    answer = load(site, GOOD, prefer="wait=1, respond-async")
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "respond-async")
    body, path = answer.json(), answer.headers["location"]
    assert (body["state"], body["owner"], body["kind"], body["file"]) == (
        "queued", "key:clerk", "institutions", "a.csv"
    )
    assert path == f"{A}/imports/institutions/{body['id']}"
    done = ended(node(office), path)
    assert (done["state"], done["result"]["new"], done["result"]["kept"], done["problem"]) == ("done", 1, True, None)
    assert (done["done"], done["total"]) == (1, 1)
    listed = site.get(f"{A}/imports", key="clerk").json()["items"]
    assert [(one["id"], one["result"]) for one in listed] == [(body["id"], None)]
    assert site.get(f"{A}/imports", key="other").json()["items"] == []
    assert site.get(path, key="other").status_code == 404
    assert site.get(path.replace("institutions", "charges"), key="clerk").status_code == 404
    assert site.get(path, key="admin").status_code == 200


def test_a_small_import_is_answered_when_it_is_done_and_a_large_one_is_not(
    office: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = node(office)
    assert load(site, GOOD).status_code == 200
    monkeypatch.setattr(api_imports, "ANSWERED_AT_ONCE_BYTES_MAX", 20)
    answer = load(site, GOOD)
    assert answer.status_code == 202
    assert ended(site, answer.headers["location"])["result"]["changed"] == 0


@pytest.mark.parametrize(("content", "status", "word"), [
    (BAD, 422, "1 of 1 rows are wrong"), (b"uscc,colour\n1,2\n", 400, "colour"), (b"", 400, "empty"),
])
def test_an_import_that_fails_says_what_a_waiting_one_would_have_been_answered(
    office: World, content: bytes, status: int, word: str
) -> None:
    site = node(office)
    answer = load(site, content, prefer="respond-async")
    failed = ended(site, answer.headers["location"])
    assert (failed["state"], failed["problem"]["status"]) == ("failed", status)
    assert word in failed["problem"]["detail"]
    assert failed["problem"]["errors"] if status == 422 else "errors" not in failed["problem"]


def test_an_import_is_begun_once_for_one_key(office: World) -> None:
    one, two = node(office), node(office)
    first = load(one, GOOD, prefer="respond-async", idempotency_key="k1")
    second = load(two, GOOD, prefer="respond-async", idempotency_key="k1")
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.headers["location"] == second.headers["location"]
    assert first.content == second.content
    assert load(two, GOOD + b"\n", prefer="respond-async", idempotency_key="k1").status_code == 409
    ended(two, first.headers["location"])
    with office.database.read() as session:
        assert len([*audit.records(session, kind="file.imported")]) == 1


def test_who_is_limited_to_a_district_loads_nothing_and_sees_no_work_of_others(office: World) -> None:
    with office.database.write() as session:
        users.add(
            session, name="xiao", display_name="肖", role=UserRole.ADMIN, districts=["5103"], uscc=None,
            password_hash="none", now=office.now,
        )
        _, office.secrets["xiao"] = keys.create(
            session, name="xiao", scopes=["admin"], expires_at=None, now=office.now, owner="xiao"
        )
    site = node(office)
    assert load(site, GOOD, prefer="respond-async", key="xiao").status_code == 403
    path = load(site, GOOD, prefer="respond-async").headers["location"]
    assert site.get(path, key="xiao").status_code == 404
    assert site.get(f"{A}/imports", key="xiao").json()["items"] == []
    assert post(site, f"{A}/backtests", {"past": "records"}, key="xiao").status_code in (403, 409)


def test_the_record_is_verified_and_held_against_what_others_kept(office: World) -> None:
    site = node(office)
    with office.database.write() as session:
        audit.append(session, kind="test", actor="test", now=NOW, payload={})
        head = audit.head(session)
    answer = post(site, f"{A}/audit/verifications", {"witnesses": [{"seq": head.seq, "head": head.head}]})
    assert answer.status_code == 202
    done = ended(node(office), answer.headers["location"], key="admin")
    assert (done["state"], done["result"]["whole"], done["result"]["fault"]) == ("done", True, None)
    assert done["result"]["head"]["seq"] >= head.seq
    wrong = post(site, f"{A}/audit/verifications", {"witnesses": [{"seq": head.seq, "head": "0" * 64}]})
    broken = ended(site, wrong.headers["location"], key="admin")
    assert (broken["state"], broken["result"]["whole"], broken["result"]["at_seq"]) == ("done", False, head.seq)
    # Both began at the standing clock's one instant: which comes first is not said, that each comes once is.
    page = site.get(f"{A}/audit/verifications?limit=1", key="admin").json()
    older = site.get(f"{A}/audit/verifications?limit=1&after={page['after']}", key="admin").json()
    assert {one["id"] for one in page["items"] + older["items"]} == {broken["id"], done["id"]}
    assert (len(page["items"]), len(older["items"]), older["after"]) == (1, 1, None)


def test_too_much_asked_for_at_once_is_told_to_wait(office: World) -> None:
    go_on = threading.Event()

    def slowly(asked: AskedBackTest, hear: Progress) -> Mapping[str, Any]:
        assert go_on.wait(60)
        return RESULT

    site = node(office, back_test=slowly)
    answers = [post(site, f"{A}/backtests", {"seed": seed}) for seed in range(OWN_MAX + 1)]
    assert [one.status_code for one in answers] == [*[202] * OWN_MAX, 429]
    assert int(answers[-1].headers["retry-after"]) > 0
    go_on.set()
    for one in answers[:-1]:
        ended(site, one.headers["location"], key="admin")


def test_a_back_test_is_asked_for_over_the_api(office: World) -> None:
    asked_for: list[AskedBackTest] = []

    def replayed(asked: AskedBackTest, hear: Progress) -> Mapping[str, Any]:
        asked_for.append(asked)
        hear(1, 2)
        if asked.hindsight:
            raise UsageError("nothing was recorded")
        return RESULT

    site = node(office, back_test=replayed)
    answer = post(site, f"{A}/backtests", {"policies": ["floor:0.30"], "institutions": 20, "seed": 5})
    done = ended(site, answer.headers["location"], key="admin")
    assert (done["state"], done["result"], done["policies"], done["past"]) == ("done", RESULT, ["floor:0.30"], "city")
    [asked] = asked_for
    assert (asked.institutions, asked.seed, asked.city) == (20, 5, True)
    page = site.get(answer.headers["location"].replace(f"{A}/backtests", "/policies/back-tests"), key="admin")
    assert "2026-11-19" in page.text
    refused = ended(
        site, post(site, f"{A}/backtests", {"past": "hindsight"}).headers["location"], key="admin"
    )
    assert (refused["state"], refused["problem"]["detail"]) == ("failed", "nothing was recorded")
    assert post(site, f"{A}/backtests", {"policies": ["../secret.toml"]}).status_code == 422
    assert post(node(office), f"{A}/backtests").status_code == 409


def test_the_record_goes_out_whole_and_says_that_it_was_taken(office: World) -> None:
    site = node(office)
    answer = post(site, f"{A}/audit/exports", idempotency_key="k")
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert post(site, f"{A}/audit/exports", idempotency_key="k").status_code == 200
    with office.database.read() as session:
        assert len([*audit.records(session, kind="audit.exported")]) == 1
    assert b"audit.exported" in answer.content


def works(world: World) -> Works:
    return Works(world.database, now=FixedClock(world.now).now, tick_seconds=0.02)


def _of(site: Works, work_id: str, *, owner: str | None = "key:clerk") -> Any:
    found = site.of(work_id, kind=COUNT, owner=owner)
    assert found is not None
    return found


def entered(world: World, work_id: str, *, process: str, state: WorkState = WorkState.RUNNING) -> datetime:
    with world.database.write() as session:
        records.enter(session, StoredWork(
            work_id=work_id, kind="count", owner="key:clerk", process=process, state=state, begun_at=world.now,
            beat_at=world.now,
        ))
    return world.now


def test_a_file_is_taken_by_one_of_two_and_what_the_other_entered_is_not_kept(office: World) -> None:
    with office.database.write() as session:
        uploads.begin(session, "f1", owner="key:clerk", kind="institutions", filename="a.csv", now=office.now)
        uploads.add_part(session, "f1", 0, GOOD, now=office.now)
        uploads.complete(session, "f1", sha256="0" * 64, size=len(GOOD), trial_id="W1", now=office.now)
        assert [b"".join(uploads.parts(session, "f1"))] == [GOOD]
        assert uploads.take(session, "f1", keeping_id="W2", now=office.now)
        assert not uploads.take(session, "f1", keeping_id="W3", now=office.now)
        found = uploads.upload(session, "f1", owner="key:clerk", now=office.now)
        assert found is not None
        assert found.keeping_id == "W2"
        assert uploads.upload(session, "f1", owner="key:other", now=office.now) is None


def test_more_bytes_than_there_is_room_for_are_refused_and_nobody_s_file_is_dropped_for_them(
    office: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "BYTES_MAX", len(GOOD) + 10)
    site = node(office)
    query = "/imports/files?kind=institutions&filename=a.csv"
    first = site.send("POST", query, key="clerk", content=GOOD)
    assert (first.status_code, site.send("POST", query, key="other", content=GOOD).status_code) == (201, 503)
    waited(lambda: "nothing is kept yet" in site.get(f"{first.json()['location']}?lang=en", key="clerk").text)
    with office.database.read() as session:
        assert len(texts(session, "SELECT file_id FROM uploads")) == 1
