"""Files through the pages: tried first, wrong rows in their place, and exactly what was tried is imported."""

from __future__ import annotations

import hashlib
import io
import re
import time
from datetime import timedelta
from typing import Any

import httpx
import pytest

from escrow_monitor.actions.import_columns import COLUMNS, template
from escrow_monitor.actions.import_files import BadRow
from escrow_monitor.actions.import_kinds import KINDS
from escrow_monitor.records import uploads
from escrow_monitor.records.accounts import institution
from escrow_monitor.records.bulk import run
from escrow_monitor.records.evidence import audit
from escrow_monitor.web.console import imports
from escrow_monitor.web.console.imports import bad_views
from escrow_monitor.web.console.words import WORDS
from escrow_monitor.web.console.words.imports import fault_in, reason_in
from tests.web.web_world import Site, World

GOOD = "uscc,name,district\n91110000600037341L,晨光艺术培训学校,510302\n".encode()
BAD = (
    "统一社会信用代码,机构名称,类别\n91110000600037341L,晨光艺术培训学校,非学科类\n"
    "91110000600037341X,远航英语,非学科类\n,<script>alert(1)</script>,非学科类\n"
).encode("gb18030")


@pytest.fixture
def desk(empty: World) -> Site:
    empty.key("clerk", "read", "import")
    empty.key("other", "read", "import")
    return Site(empty)


def sent(site: Site, content: bytes, *, kind: str = "institutions", name: str = "a.csv", key: str = "clerk") -> str:
    answer = site.send(
        "POST", f"/imports/files?kind={kind}&filename={name}", key=key, content=content,
        content_type="application/octet-stream",
    )
    assert answer.status_code == 201, answer.text
    assert answer.json()["sha256"] == hashlib.sha256(content).hexdigest()
    return str(answer.json()["location"])


def settled(site: Site, path: str, *, key: str = "clerk", lang: str = "en") -> str:
    """The page once nothing is at work any more."""
    for _ in range(400):
        html = site.get(f"{path}?lang={lang}", key=key).text
        if "hx-trigger" not in html:
            return html
        time.sleep(0.05)
    raise AssertionError("it is still at work")


def form(site: Site, path: str, body: str, *, key: str = "clerk") -> httpx.Response:
    return site.send(
        "POST", path, key=key, content=body.encode(), content_type="application/x-www-form-urlencoded"
    )


def imported(world: World) -> list[Any]:
    with world.database.read() as session:
        return [record.payload for record in audit.records(session, kind="file.imported")]


def test_a_good_file_is_tried_then_confirmed_and_stands_in_the_history(desk: Site) -> None:
    assert "No file was imported yet" in desk.get("/imports?lang=en", key="clerk").text
    path = sent(desk, GOOD)
    html = settled(desk, path)
    assert "nothing is kept yet" in html
    assert imported(desk.world) == []
    digest = hashlib.sha256(GOOD).hexdigest()
    assert f'name="sha256" value="{digest}"' in html
    answer = form(desk, f"{path}/confirm", f"sha256={digest}")
    assert (answer.status_code, answer.headers["location"]) == (303, path)
    assert "1 new, 0 updated, 0 as they were." in settled(desk, path)
    [done] = imported(desk.world)
    assert (done["sha256"], done["new"], done["file"]) == (digest, 1, "a.csv")
    with desk.world.database.read() as session:
        assert institution(session, "91110000600037341L") is not None
    page = desk.get("/imports", key="clerk").text
    assert "a.csv" in page
    assert "key:clerk" in page
    assert "/audit" not in page
    assert form(desk, f"{path}/confirm", f"sha256={digest}").status_code == 409


def test_wrong_rows_stand_where_they_are_in_the_reader_s_language(desk: Site) -> None:
    path = sent(desk, BAD)
    html = settled(desk, path, lang="zh")
    assert "统一社会信用代码有误：校验位应为 L" in html
    assert "必填，不能为空" in html
    assert re.search(r'<th scope="row" class="number"[^>]*>3</th>', html)
    assert "<mark>91110000600037341X</mark>" in html
    assert "远航英语" in html
    assert "<script>alert" not in html
    assert "&lt;script&gt;" in html
    english = settled(desk, path, lang="en")
    assert "its check character should be L" in english


def test_a_file_with_wrong_rows_is_kept_only_without_them_and_only_if_that_is_said(desk: Site) -> None:
    path = sent(desk, BAD)
    settled(desk, path)
    digest = hashlib.sha256(BAD).hexdigest()
    refused = form(desk, f"{path}/confirm", f"sha256={digest}")
    assert refused.status_code == 409
    assert imported(desk.world) == []
    assert form(desk, f"{path}/confirm", f"sha256={digest}&skip_bad_rows=yes").status_code == 303
    assert "1 new" in settled(desk, path)
    [done] = imported(desk.world)
    assert (done["new"], done["bad"]) == (1, 2)


def test_what_is_confirmed_is_what_was_tried_and_nothing_else(desk: Site) -> None:
    path = sent(desk, GOOD)
    settled(desk, path)
    refused = form(desk, f"{path}/confirm", "sha256=" + "0" * 64)
    assert refused.status_code == 409
    assert "不是试读过的内容" in refused.text
    assert imported(desk.world) == []


def test_a_row_that_fits_no_more_when_it_is_confirmed_keeps_the_whole_file_out(desk: Site) -> None:
    charge = b"charge_no,contract_no,paid_on,amount\nJ-1,HT-404,2026-09-01,100.00\n"
    html = settled(desk, sent(desk, charge, kind="charges"))
    assert "no such contract: import it first" in html
    assert "Import it" not in html


@pytest.mark.parametrize(("content", "said"), [
    (b"uscc,colour\n1,2\n", "没有“colour”这一列"), (b"uscc\n1\n", "缺少列：name (机构名称)"),
    (b"\xff\xfe\x00\x01", "既不是 UTF-8 也不是 GB18030 文字"),
    (b'uscc,name\n"a"x,b\n', "不是 CSV 格式"),
])
def test_a_file_that_is_no_table_says_why_in_words(desk: Site, content: bytes, said: str) -> None:
    html = settled(desk, sent(desk, content), lang="zh")
    assert "这个文件读不了" in html
    assert said in html


def test_the_file_of_one_is_not_there_for_another(desk: Site) -> None:
    path = sent(desk, GOOD)
    settled(desk, path)
    assert desk.get(path, key="other").status_code == 404
    body = f"sha256={hashlib.sha256(GOOD).hexdigest()}"
    assert form(desk, f"{path}/confirm", body, key="other").status_code == 404
    assert form(desk, f"{path}/discard", "x=y", key="other").status_code == 303
    assert desk.get(path, key="clerk").status_code == 200
    assert form(desk, f"{path}/discard", "x=y").status_code == 303
    assert desk.get(path, key="clerk").status_code == 404


@pytest.mark.parametrize(("query", "content"), [
    ("kind=x&filename=a", GOOD), ("kind=charges&filename=", GOOD), ("kind=charges&filename=a%2Fb", GOOD),
    ("kind=charges&filename=a%0Ab", GOOD), ("kind=charges&filename=" + "a" * 201, GOOD),
    ("kind=charges&filename=a", b""),
])
def test_what_cannot_be_a_file_is_refused(desk: Site, query: str, content: bytes) -> None:
    assert desk.send("POST", f"/imports/files?{query}", key="clerk", content=content).status_code == 400


def test_a_file_that_nobody_asks_for_any_more_is_dropped_with_its_bytes(desk: Site) -> None:
    path = sent(desk, GOOD)
    settled(desk, path)
    assert pieces(desk.world) == 1
    desk.world.now += uploads.KEPT_FOR + timedelta(seconds=1)
    later = Site(desk.world)
    assert later.get(path, key="clerk").status_code == 404
    with desk.world.database.write() as session:
        assert uploads.forget_old(session, now=desk.world.now) == 1
    assert pieces(desk.world) == 0


def test_the_oldest_file_of_somebody_makes_room_for_a_new_one_of_theirs(desk: Site) -> None:
    first, another = sent(desk, GOOD, name="0.csv"), sent(desk, GOOD, name="o.csv", key="other")
    settled(desk, first)
    settled(desk, another, key="other")
    desk.world.now += timedelta(seconds=1)
    later = Site(desk.world)
    for number in range(uploads.OWN_MAX):
        settled(later, sent(later, GOOD, name=f"n{number}.csv"))
    assert desk.get(first, key="clerk").status_code == 404
    assert desk.get(another, key="other").status_code == 200


def test_a_file_comes_in_pieces_and_its_bytes_go_once_it_is_imported(
    desk: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "PIECE_BYTES", 16)
    content = b"uscc,name\n" + "".join(f"91510300MA6000000{n},n{n}\n" for n in range(9)).encode()
    path = sent(desk, content)
    settled(desk, path)
    body = f"sha256={hashlib.sha256(content).hexdigest()}&skip_bad_rows=yes"
    assert form(desk, f"{path}/confirm", body).status_code == 303
    settled(desk, path)
    assert pieces(desk.world) == 0


def pieces(world: World) -> int:
    with world.database.read() as session:
        return int(run(session, "SELECT count(*) FROM upload_parts").scalar_one())


def test_templates_open_in_a_sheet_and_are_understood_again(desk: Site) -> None:
    for kind in COLUMNS:
        for lang in ("zh", "en"):
            answer = desk.get(f"/imports/templates/{kind}.csv?header={lang}", key="clerk")
            assert answer.content.decode("utf-8-sig") == template(kind, lang)
            assert f'filename="{kind}.csv"' in answer.headers["content-disposition"]
    assert desk.get("/imports/templates/x.csv", key="clerk").status_code == 404


def test_a_workbook_s_wrong_row_shows_no_more_than_its_reason_may() -> None:
    content = "contract_no,uscc,student_ref,course,signed_on,lessons_paid,fee\n" \
              "HT-1,91110000600037341L,13812345678,钢琴,2026-09-01,x,100\n"
    [one] = bad_views(
        io.BytesIO(content.encode()), "contracts", "a.csv",
        [BadRow(line=2, column="lessons_paid", value="x", reason="is not a whole number from 1 to 100000")],
    )
    shown = {name: (cell, wrong) for name, cell, wrong in one.cells}
    assert shown["lessons_paid"] == ("x", True)
    assert "13812345678" not in str(shown)
    assert shown["uscc"] == ("91110000600037341L", False)


def test_every_kind_has_its_words_and_reasons_are_said_in_chinese() -> None:
    assert {f"import_kind.{kind}" for kind in KINDS} <= set(WORDS)
    assert reason_in("zh", "is before starts_on 2026-09-01") == "早于 starts_on 2026-09-01"
    assert reason_in("zh", "something new") == "something new"
    assert reason_in("en", "must not be empty") == "must not be empty"
    assert fault_in("zh", "a.csv", "a.csv, line 3: is UTF-8 text, but damaged here: export the file again") == (
        "第 3 行：文字在此处损坏：请重新导出文件"
    )
    assert fault_in("en", "a.csv", "a.csv: is empty") == "is empty"
