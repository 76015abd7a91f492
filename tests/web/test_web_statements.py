"""Statement files, coverage and entries over HTTP: the same refusals as on the command line, and who may see whose."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest

from escrow_monitor.domain.accounts import Account
from escrow_monitor.domain.permissions import UserRole
from escrow_monitor.records.accounts import save_accounts
from escrow_monitor.records.bank.coverage import refresh_gaps
from escrow_monitor.records.bank.refusals import refusal_json
from escrow_monitor.records.bulk import as_json
from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.people import keys, users
from escrow_monitor.records.statement_lists import refused_for
from escrow_monitor.web.app import create_app
from tests.web.web_world import Site, World, uscc

A = "/api/v1"
FILE = (Path(__file__).parents[1] / "banks" / "golden" / "two_days_and_pages.sta").read_bytes()
ACCOUNT = "6222000000000012345"


@pytest.fixture
def desk(database: Database) -> Site:
    world = World(database=database)
    world.institutions(2)
    world.key("reader", "read")
    world.key("clerk", "read", "import")
    now = world.now.replace(day=23)
    with database.write() as session:
        save_accounts(session, [Account(
            account_no=ACCOUNT, bank="files", connector="statement_folder", currency="CNY", uscc=uscc(0),
        )], now=world.now)
    world.now = now
    return Site(world)


def load(site: Site, content: bytes = FILE, query: str = "filename=a.sta", **headers: str) -> httpx.Response:
    key = headers.pop("key", "clerk")
    return site.send("POST", f"{A}/statements?{query}", key=key, content=content, **headers)


def listed(site: Site, path: str, *, key: str = "reader") -> list[dict[str, Any]]:
    answer = site.get(f"{A}{path}", key=key)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def test_a_file_is_loaded_once_and_stands_in_the_list_with_who_sent_it(desk: Site) -> None:
    answer = load(desk, idempotency_key="k")
    assert answer.status_code == 200, answer.text
    done = answer.json()
    assert (done["loaded"], done["already"], done["format"], done["entries"]) == (True, False, "mt940", 4)
    assert load(desk, idempotency_key="k").content == answer.content
    assert load(desk).json()["already"] is True
    [file] = listed(desk, "/statements")
    assert (file["sha256"], file["result"], file["source"]) == (hashlib.sha256(FILE).hexdigest(), "loaded", "api")
    assert desk.get(f"{A}/statements/{file['sha256']}").json() == file
    with desk.world.database.read() as session:
        [told] = [one for one in audit.records(session) if one.kind == "statements.loaded"]
    assert told.actor == "key:clerk"


def test_a_refused_file_says_why_and_is_found_by_its_reason(desk: Site) -> None:
    damaged = FILE.replace(b":62F:C261121CNY654979,50", b":62F:C261121CNY654979,51")
    answer = load(desk, damaged)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    [error, *_] = answer.json()["errors"]
    assert error["reason"] == "does_not_tie"
    assert load(desk, b"nonsense").status_code == 422
    assert len(listed(desk, "/statements?result=refused")) == 2
    [found] = listed(desk, "/statements?reason=does_not_tie&limit=1")
    assert found["sha256"] == hashlib.sha256(damaged).hexdigest()
    assert [one["reason"] for one in found["refusals"]] == ["does_not_tie"]
    newest = desk.get(f"{A}/statements?limit=1&sort=sha256").json()
    rest = desk.get(f"{A}/statements?limit=1&sort=sha256&after={newest['after']}").json()
    assert sorted((newest["items"][0]["sha256"], rest["items"][0]["sha256"])) == [
        newest["items"][0]["sha256"], rest["items"][0]["sha256"]
    ]
    assert rest["after"] is None


def test_the_pattern_of_a_reason_is_that_of_what_is_kept() -> None:
    from escrow_monitor.domain.statements import Refusal, RefusalReason

    kept = as_json([refusal_json(Refusal(reason=RefusalReason.TIMEOUT, where="a", field=None, detail="b"))])
    pattern = refused_for("timeout")
    assert pattern is not None
    assert pattern.strip("%") in kept


def test_a_file_of_another_account_and_a_format_that_there_is_not_are_refused(desk: Site) -> None:
    wrong = load(desk, query="filename=a.sta&account_no=1")
    assert wrong.json()["errors"][0]["reason"] == "wrong_account"
    unknown = load(desk, query="filename=a.sta&format=profile:none")
    assert (unknown.status_code, "there is no format" in unknown.text) == (422, True)
    stranger = FILE.replace(b"6222000000000012345", b"6222000000000099999")
    assert load(desk, stranger).status_code == 422
    made = load(desk, stranger, query="filename=a.sta&register=true&bank=files")
    assert (made.status_code, made.json()["accounts_registered"]) == (200, 1)


def test_what_is_covered_and_missing_is_listed_and_shown_day_by_day(desk: Site) -> None:
    assert load(desk).status_code == 200
    with desk.world.database.write() as session:
        refresh_gaps(
            session, through=date(2026, 11, 22), is_working_day=lambda day: True, now=desk.world.now
        )
    [one] = listed(desk, "/coverage?missing=true")
    assert (one["account_no"], one["covered_from"], one["covered_to"], one["missing_count"]) == (
        ACCOUNT, "2026-11-20", "2026-11-21", 1
    )
    assert [(gap["day"], gap["reason"], gap["tries"]) for gap in one["gaps"]] == [("2026-11-22", "working_day", 0)]
    assert ACCOUNT not in [each["account_no"] for each in listed(desk, "/coverage?missing=false")]
    assert listed(desk, "/coverage?sort=-missing&limit=1")[0]["account_no"] == ACCOUNT
    shown = desk.get(f"{A}/accounts/{ACCOUNT}/coverage").json()
    assert (shown["days_covered"], shown["corrections"]) == (2, [])
    assert shown["gaps"] == one["gaps"]
    assert desk.get(f"{A}/accounts/1/coverage").status_code == 404


def test_entries_are_gone_through_page_by_page_with_what_reverses_what(desk: Site) -> None:
    assert load(desk).status_code == 200
    whole = listed(desk, f"/accounts/{ACCOUNT}/entries")
    assert sorted(one["amount_fen"] for one in whole) == [-350_000_50, -4980_00, 4980_00, 4980_00]
    roles = [one["link"]["role"] for one in whole if one["link"]]
    assert sorted(roles) == ["reversed_by", "reverses"]
    seen: list[dict[str, Any]] = []
    after = ""
    while True:
        page = desk.get(f"{A}/accounts/{ACCOUNT}/entries?limit=3&after={after}").json()
        seen += page["items"]
        if (after := page["after"]) is None:
            break
    assert seen == whole
    assert listed(desk, f"/accounts/{ACCOUNT}/entries?from=2026-11-21") == []
    assert len(listed(desk, f"/accounts/{ACCOUNT}/entries?to=2026-11-20")) == 4
    assert desk.get(f"{A}/accounts/{ACCOUNT}/entries?after=x").status_code == 422


def test_files_are_for_who_sees_everything_and_accounts_for_who_sees_them(desk: Site) -> None:
    world = desk.world
    assert load(desk).status_code == 200
    with world.database.write() as session:
        for name, districts in (("shi", ["3710"]), ("du", ["5103"])):
            users.add(
                session, name=name, display_name=name, role=UserRole.ADMIN, districts=districts, uscc=None,
                password_hash="none", now=world.now,
            )
            _, world.secrets[name] = keys.create(
                session, name=name, scopes=["admin"], expires_at=None, now=world.now, owner=name
            )
    for name in ("shi", "du"):
        assert desk.get(f"{A}/statements", key=name).status_code == 403
        assert load(desk, key=name).status_code == 403
    assert load(desk, key="reader").status_code == 403
    assert listed(desk, "/coverage", key="shi") == []
    assert ACCOUNT in [one["account_no"] for one in listed(desk, "/coverage", key="du")]
    for part in ("coverage", "entries"):
        path = f"{A}/accounts/*/{part}"
        hidden, absent = (desk.get(path.replace("*", number), key="shi") for number in (ACCOUNT, "1"))
        assert (hidden.status_code, absent.status_code) == (404, 404)
        assert hidden.text.replace(ACCOUNT, "1") == absent.text


def test_a_file_that_is_too_large_is_not_read_to_its_end(desk: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from escrow_monitor.web.api import statements

    monkeypatch.setattr(statements, "FILE_BYTES_MAX", 100)
    assert load(desk).status_code == 413


def test_profiles_of_the_configuration_read_sheets(desk: Site) -> None:
    site = Site(desk.world, create_app(replace(desk.world.ports(), profiles={})))
    assert "there is no format" in load(site, query="filename=a.csv&format=profile:icbc").text
