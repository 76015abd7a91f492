"""Policies on pages: what they say, whom they reach, what if, and a change that needs two people."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from escrow_monitor.actions import change_policy
from escrow_monitor.actions.change_policy import ChangeRefusal
from escrow_monitor.domain.clauses import ClauseKind, Found
from escrow_monitor.errors import UsageError
from escrow_monitor.policies import load_policies
from escrow_monitor.records.accounts import institutions
from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.people import keys
from escrow_monitor.records.policy_reach import alike, institution_counts
from escrow_monitor.web.app import create_app
from escrow_monitor.web.console.policies import reaches
from escrow_monitor.web.console.words import WORDS
from escrow_monitor.web.ports import AskedBackTest, LawFolder, Progress
from tests.web.test_web_pages import Page, said
from tests.web.web_world import NOW, Site, World, uscc

PACK = """id = "local-510302"
title = "自流井区本地设置"
title_en = "Ziliujing, local setting"
jurisdiction = "510302"

[[clause]]
id = "local-510302/fixed"
kind = "fixed"
title = "固定最低余额 {amount} 元"
title_en = "a fixed floor of {amount} yuan"
effective_from = 2020-01-01
verified = false
amount = "{amount}.00"
[clause.source]
title = "区教育局通知"
found = "NF"
"""
RESULT: Mapping[str, Any] = {
    "closure_watch": {
        "method": "closure_watch", "closures": 2, "recall_red_14d": 1.0, "lead_days_first_orange_median": 40.0,
        "false_reds_per_100_institution_years": 0.5, "protected_share": None,
    },
    "forecast": {}, "calibration": [], "past": {"from": "2025-01-01", "to": "2025-12-31"},
}


class Bureau:
    """The pages over a district, with a folder of packs and people of two kinds."""

    def __init__(self, world: World, folder: Path | None) -> None:
        self.world, self.folder = world, folder
        self.asked: list[AskedBackTest] = []
        for name, scopes, owner in (("li", ["admin"], None), ("wang", ["admin"], None), ("staff", ["read"], None)):
            with world.database.write() as session:
                _, world.secrets[name] = keys.create(
                    session, name=name, scopes=scopes, expires_at=None, now=world.now, owner=owner
                )
        ports = world.ports()
        law = None if folder is None else LawFolder(path=folder, read=lambda: load_policies([folder]))
        book = load_policies([] if folder is None else [folder])
        self.site = Site(world, create_app(replace(ports, law=law, policies=book, back_test=self._replayed)))

    def _replayed(self, asked: AskedBackTest, hear: Progress) -> Mapping[str, Any]:
        self.asked.append(asked)
        hear(1, 2)
        if asked.hindsight:
            raise UsageError("nothing was recorded")
        return RESULT

    def form(self, path: str, body: str = "x=y", *, key: str = "li") -> httpx.Response:
        return self.site.send(
            "POST", path, key=key, content=body.encode(), content_type="application/x-www-form-urlencoded"
        )

    def propose(
        self, text: str, *, note: str = "局务会决定", key: str = "li", filename: str = "a.toml"
    ) -> httpx.Response:
        mark = "XXMARKXX"
        body = (
            f'--{mark}\r\nContent-Disposition: form-data; name="note"\r\n\r\n{note}\r\n--{mark}\r\n'
            f'Content-Disposition: form-data; name="file"; filename="{filename}"\r\n'
            f"Content-Type: application/octet-stream\r\n\r\n{text}\r\n--{mark}--\r\n"
        )
        return self.site.send(
            "POST", "/policies/changes?lang=en", key=key, content=body.encode(),
            content_type=f"multipart/form-data; boundary={mark}",
        )

    def settled(self, path: str, *, key: str = "li") -> str:
        for _ in range(400):
            html = self.site.get(f"{path}?lang=en", key=key).text
            if "hx-trigger" not in html:
                assert Page(html).blocked == []
                return html
            time.sleep(0.05)
        raise AssertionError("it is still at work")


@pytest.fixture
def bureau(world: World, tmp_path: Path) -> Bureau:
    (tmp_path / "law").mkdir()
    return Bureau(world, tmp_path / "law")


def test_the_list_says_what_holds_for_whom_and_what_is_missing(bureau: Bureau) -> None:
    text = said(bureau.site, "/policies?lang=en", key="staff")
    assert "Zigong, Sichuan" in text
    assert "applies to no registered institution now" in text
    # Two of six are below by 16,880.00 and .01 and so on; the fourth and the last too, for all hold the same.
    assert "cn-510300 510300 1, 1 verified 6 6" in text
    assert "¥600,000" in text


def test_sums_are_those_of_the_accounts_one_by_one(database: Database) -> None:
    world = World(database=database).bad_morning()
    book = load_policies()
    with world.database.read() as session:
        groups, counts = alike(session), institution_counts(session)
        assert sum(counts.values()) == len(institutions(session)) == 6
    found = reaches(book, groups, counts, on=NOW.date()).packs["cn-510300"]
    assert (found.institutions, found.accounts, found.floors, found.below) == (6, 6, 6, 6)
    assert found.required_fen == {"CNY": 600_000_00}
    assert found.short_fen == {"CNY": sum(100_000_00 - 83_120_00 - number for number in range(6))}


def test_a_pack_shows_every_clause_with_its_source(bureau: Bureau) -> None:
    book = load_policies()
    for pack in book.packs.values():
        text = said(bureau.site, f"/policies/packs/{pack.id}?lang=en", key="staff")
        for clause in pack.clauses:
            assert clause.id in text
            assert " ".join(clause.title.en.split()) in text
    assert bureau.site.get("/policies/packs/none", key="staff").status_code == 404


def test_what_holds_for_one_institution(bureau: Bureau) -> None:
    text = said(bureau.site, f"/policies/effective?uscc={uscc(0)}&lang=en", key="staff")
    assert "20 % of the credits of the last three calendar months" in text
    assert "cn-000000 → cn-510300" in text
    assert "There is no such institution" in said(bureau.site, "/policies/effective?uscc=x&lang=en", status=404)
    assert bureau.site.get("/policies/effective?on=today", key="staff").status_code == 400


def test_a_what_if_is_begun_watched_and_shown(bureau: Bureau) -> None:
    answer = bureau.form("/policies/back-tests", "policies=floor%3A0.30+cn-510300&past=city")
    html = bureau.settled(answer.headers["location"])
    assert bureau.asked == [AskedBackTest(policies=("floor:0.30", "cn-510300"), city=True)]
    assert "2 closures" in html
    assert "100.0 %" in html
    assert bureau.site.get(answer.headers["location"], key="wang").status_code == 200  # an administrator
    assert bureau.site.get(answer.headers["location"], key="staff").status_code == 404
    refused = bureau.form("/policies/back-tests", "policies=&past=hindsight")
    assert "nothing was recorded" in bureau.settled(refused.headers["location"])


@pytest.mark.parametrize("words", [
    "/etc/passwd.toml", "floor:x", "a.toml", "floor:0.1 floor:0.2 floor:0.3 floor:0.4 floor:0.5",
])
def test_no_word_of_a_what_if_is_a_file(bureau: Bureau, words: str) -> None:
    answer = bureau.form("/policies/back-tests", f"policies={words}&past=city")
    assert answer.status_code == 400
    assert "不是可以比较的政策" in answer.text
    assert bureau.asked == []


def test_a_change_needs_another_person_and_is_then_a_file(bureau: Bureau) -> None:
    assert bureau.folder is not None
    path = bureau.propose(PACK.format(amount=90_000)).headers["location"]
    html = bureau.settled(path)
    assert "You proposed this" in html
    assert "Confirm and write it" not in html
    own = bureau.form(f"{path}/accept?lang=en")
    assert own.status_code == 409
    assert "whoever proposed it cannot confirm it" in own.text
    assert list(bureau.folder.iterdir()) == []
    assert "Confirm and write it" in bureau.settled(path, key="wang")
    assert bureau.form(f"{path}/accept", key="wang").status_code == 303
    assert (bureau.folder / "local-510302.toml").read_text("utf-8") == PACK.format(amount=90_000)
    assert "they hold once the service is started again" in bureau.site.get("/policies?lang=en", key="li").text
    assert bureau.form(f"{path}/accept", key="wang").status_code == 409
    with bureau.world.database.read() as session:
        kinds = [record.kind for record in audit.records(session, limit=1000) if record.kind.startswith("policy.")]
    assert kinds == ["policy.proposed", "policy.accepted"]


def test_the_file_that_a_change_replaces_stays_beside_it(bureau: Bureau) -> None:
    assert bureau.folder is not None
    (bureau.folder / "ours.toml").write_text(PACK.format(amount=50_000), "utf-8")
    path = bureau.propose(PACK.format(amount=60_000)).headers["location"]
    html = bureau.settled(path, key="wang")
    assert "<del>-title_en = &#34;a fixed floor of 50000 yuan&#34;</del>" in html
    assert bureau.form(f"{path}/accept", key="wang").status_code == 303
    files = {file.name: file.read_text("utf-8") for file in bureau.folder.iterdir()}
    seq = path.rpartition("/")[2]
    assert files == {"ours.toml": PACK.format(amount=60_000), f"ours.toml.before-{seq}": PACK.format(amount=50_000)}
    assert load_policies([bureau.folder]).pack("local-510302")


def test_the_effect_names_who_would_fall_below(bureau: Bureau) -> None:
    path = bureau.propose(PACK.format(amount=90_000)).headers["location"]
    html = bureau.settled(path, key="wang")
    # What is known of the accounts are balances of 83,120.00 and up, but for two of a silent bank.
    assert "Would fall below" in html
    assert "晨光艺术培训学校" in html
    assert "90,000.00" in html
    low = bureau.propose(PACK.format(amount=10)).headers["location"]
    assert "No account would fall below." in bureau.settled(low, key="wang")


def test_a_change_can_be_withdrawn_and_is_then_over(bureau: Bureau) -> None:
    path = bureau.propose(PACK.format(amount=1)).headers["location"]
    assert bureau.form(f"{path}/withdraw").status_code == 303
    assert "withdrawn" in bureau.settled(path)
    assert bureau.form(f"{path}/accept", key="wang").status_code == 409
    assert bureau.site.get("/policies/changes/1", key="li").status_code == 404


@pytest.mark.parametrize(("text", "status", "said_so"), [
    ("id = 1", 422, "The pack is wrong"), ("{", 422, "is not TOML"),
    (PACK.format(amount=1).replace("local-510302\"", "cn-510300\""), 409, "comes with the program"),
    (PACK.format(amount=1).replace('kind = "fixed"', 'kind = "fixt"'), 422, "The pack is wrong"),
])
def test_a_pack_that_is_wrong_is_not_even_proposed(bureau: Bureau, text: str, status: int, said_so: str) -> None:
    answer = bureau.propose(text)
    assert answer.status_code == status
    assert said_so in answer.text
    assert "Nobody has proposed a change yet" in answer.text


def test_a_change_needs_a_reason_and_a_file(bureau: Bureau) -> None:
    assert bureau.propose(PACK.format(amount=1), note=" ").status_code == 409
    assert bureau.form("/policies/changes", "note=why").status_code == 400
    assert bureau.propose(PACK.format(amount=1), key="staff").status_code == 403


def test_without_a_folder_the_page_says_what_to_configure(world: World) -> None:
    bureau = Bureau(world, None)
    assert "no policy folder is configured" in bureau.site.get("/policies?lang=en", key="li").text
    assert bureau.propose(PACK.format(amount=1)).status_code == 409


def test_two_keys_of_one_person_are_one_pair_of_eyes(bureau: Bureau) -> None:
    found = change_policy.propose(
        bureau.world.database, content=PACK.format(amount=1).encode(), filename="a.toml", note="x",
        folder=bureau.folder, book=load_policies(), by="user:Li", now=NOW,
    )
    assert found.is_by("key:li")
    assert not found.is_by("key:lin")


def test_everything_that_can_be_said_is_said() -> None:
    assert {f"clause.{kind.value}" for kind in ClauseKind} | {f"pol_found.{one.value}" for one in Found} <= set(WORDS)
    assert set(change_policy.WORDS) == set(ChangeRefusal)
