"""An institution in its own refund cases: what it answers, what it reads of them, and what stays among supervisors."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from escrow_monitor.domain.permissions import UserRole
from escrow_monitor.records.contracts import case_book
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.people import keys, sessions, users
from tests.web.test_web_case_pages import TOKENS, filled, look, move, moves_of, offered, send, text_of, upload
from tests.web.web_world import Site, World, uscc

INTERNAL = "只给监管人员看的话"
A = "/api/v1/cases"


@pytest.fixture
def desk(world: World) -> Site:
    """Staff as on the desk of cases, and people of the first two schools; even cases are the first's."""
    site = filled(world)
    for name, number in (("school", 0), ("rival", 1)):
        with world.database.write() as session:
            users.add(
                session, name=name, display_name=f"{name} 老师", role=UserRole.INSTITUTION, districts=None,
                uscc=uscc(number), password_hash="none", now=world.now,
            )
            _, TOKENS[name] = sessions.begin(session, user_name=name, address="192.0.2.1", agent="", now=world.now)
            _, world.secrets[name] = keys.create(
                session, name=name, scopes=["read", "answer"], expires_at=None, now=world.now, owner=name
            )
    world.key("decider", "read", "decide")
    return site


def answer(site: Site, name: str, who: str = "school", case: str = "TF/8", **fields: str) -> httpx.Response:
    return send(site, f"/cases/{case}/answers", who, move=name, **{"reason": "我方意见", **fields})


def post(site: Site, path: str, body: object, key: str | None = "school", **headers: str) -> httpx.Response:
    content = json.dumps(body).encode()
    return site.send("POST", path, key=key, content=content, content_type="application/json", **headers)


def audited(site: Site, kind: str) -> list[dict[str, Any]]:
    with site.world.database.read() as session:
        return [
            {**one.payload, "by": one.actor} for one in audit.records(session, limit=10_000) if one.kind == kind
        ]


# what it answers


def test_it_sees_its_own_cases_and_is_offered_its_own_answers(desk: Site) -> None:
    board = look(desk, "/cases", "school").text
    assert {int(n) % 2 for n in re.findall(r'class="no" href="/cases/TF/(\d+)"', board)} == {0}
    page = look(desk, "/cases/TF/8", "school")
    assert offered(page) == ["accept", "contest"]
    text = text_of(page)
    for word in ("Your answer", "Agree to all that is asked", "Contest the claim", "Say that it is paid",
                 "s answer by", "¥3,500.00 must then go back"):
        assert word in text, word
    for word in ("您的答复", "同意全部退费请求", "提出异议", "说明已经付款"):
        assert word in text_of(look(desk, "/cases/TF/8", "school", lang="zh")), word


def test_it_agrees_and_that_is_said_by_it_everywhere(desk: Site) -> None:
    done = answer(desk, "accept")
    assert (done.status_code, done.headers["location"]) == (303, "/cases/TF/8?done=move-2")
    with desk.world.database.read() as session:
        made = case_book.case_moves(session, ["TF/8"])[-1]
    assert (made.move.value, made.role.value, made.actor, made.to_state.value) == (
        "accept", "institution", "user:school", "accepted"
    )
    [entry] = [one for one in audited(desk, "case.moved") if one["case_no"] == "TF/8"]
    assert (entry["by"], entry["role"], entry["reason"]) == ("user:school", "institution", "我方意见")
    for who in ("li", "school"):
        assert "school 老师 · for the institution" in text_of(look(desk, "/cases/TF/8", who))
    # It has answered: what comes next is not its to do.
    assert offered(look(desk, "/cases/TF/8", "school")) == []
    assert "Nothing is for you to answer now" in text_of(look(desk, "/cases/TF/8", "school"))
    assert answer(desk, "contest").status_code == 409


def test_it_contests_with_grounds_and_the_part_it_agrees_to(desk: Site) -> None:
    assert answer(desk, "contest", reason=" ").status_code == 422
    refused = answer(desk, "contest", amount="许多")
    assert refused.status_code == 422
    assert "The amount “许多” is none" in text_of(refused)
    assert answer(desk, "contest", amount="￥1,000", reason="已上课时有签到").status_code == 303
    with desk.world.database.read() as session:
        found = case_book.case(session, "TF/8")
    assert found is not None
    assert (found.case.state.value, found.case.agreed.text) == ("contested", "1000.00")
    again = answer(desk, "contest")
    assert again.status_code == 409
    assert "further" in text_of(look(desk, "/cases/TF/8", "school"))
    assert "已提出过异议" in text_of(send(
        desk, "/cases/TF/8/answers", "school", lang="zh", move="contest", reason="x", amount="900"
    ))
    assert answer(desk, "contest", amount="1200").status_code == 303


def test_after_its_time_it_cannot_contest_any_more_but_agree(desk: Site) -> None:
    """TF/0 was claimed twelve days ago, and five working days are over."""
    page = look(desk, "/cases/TF/0", "school")
    assert offered(page) == ["accept"]
    assert "silence counts as consent" in text_of(page)
    late = answer(desk, "contest", case="TF/0")
    assert late.status_code == 409
    assert "silence counts as consent" in text_of(late)
    assert post(desk, f"{A}/TF/0/answers", {"move": "contest", "reason": "x"}).json()["errors"][0]["reason"] == (
        "time_is_over"
    )
    assert answer(desk, "accept", case="TF/0").status_code == 303


@pytest.mark.parametrize("name", [
    "gather", "quote", "settle", "propose", "confirm", "reject", "order", "see", "see_part", "unsee", "deem", "close",
    "withdraw", "open",
])
def test_it_never_rules_closes_or_moves_what_is_not_its_own(desk: Site, name: str) -> None:
    assert answer(desk, name).status_code == 409
    assert move(desk, name, "school", "TF/8", amount="1").status_code == 403
    told = post(desk, f"{A}/TF/8/answers", {"move": name, "reason": "x"})
    assert (told.status_code, told.json()["errors"][0]["reason"]) == (409, "not_your_role")
    assert post(desk, f"{A}/TF/8/moves", {"move": name, "reason": "x", "role": "institution"}).status_code == 403
    assert moves_of(desk, "TF/8") == ["open"]


def test_that_it_says_it_paid_proves_nothing(desk: Site) -> None:
    fields = {"amount": "3500", "paid_on": "2026-11-19", "bank_ref": "LS20261119-7", "note": "已由基本户退回"}
    done = send(desk, "/cases/TF/8/said-payments", "school", **fields)
    assert (done.status_code, done.headers["location"]) == (303, "/cases/TF/8?done=said-1")
    for who in ("school", "li"):
        text = text_of(look(desk, "/cases/TF/8", who))
        for word in ("The institution says it paid", "¥3,500.00 on 19 Nov, reference LS20261119-7", "proves nothing",
                     "已由基本户退回", "Seen in the bank ¥0.00"):
            assert word in text, word
    with desk.world.database.read() as session:
        found = case_book.case(session, "TF/8")
    assert found is not None
    assert (found.case.paid.minor_units, found.case.moves) == (0, 1)
    [entry] = audited(desk, "case.said_paid")
    assert (entry["by"], entry["bank_ref"], entry["amount"]) == ("user:school", "LS20261119-7", "3500.00")
    for wrong, word in (
        ({"amount": ""}, "how much"), ({"amount": "x"}, "is none"), ({"bank_ref": " "}, "reference"),
        ({"paid_on": "2026-11-21"}, "still to come"), ({"paid_on": "yesterday"}, "which day"),
        ({"amount": "0"}, "above zero"),
    ):
        refused = send(desk, "/cases/TF/8/said-payments", "school", **{**fields, **wrong})
        assert refused.status_code in (409, 422), wrong
        assert word in text_of(refused), wrong
        assert 'value="LS20261119-7"' in refused.text or "bank_ref" in wrong
    assert move(desk, "withdraw", case="TF/8").status_code == 303
    assert send(desk, "/cases/TF/8/said-payments", "school", **fields).status_code == 409
    assert send(desk, "/cases/TF/8/said-payments", "li", **fields).status_code == 403


# what stays among supervisors


def test_what_supervisors_write_among_themselves_the_institution_reads_nowhere(desk: Site) -> None:
    """Notes, documents, a ruling that nobody confirmed, and who proposed it."""
    case = "/cases/TF/0"
    assert send(desk, f"{case}/notes", text=INTERNAL).status_code == 303
    assert send(desk, f"{case}/notes", text="给机构的话", shown="yes").status_code == 303
    assert upload(desk, b"internal", "内部.pdf", note=INTERNAL).status_code == 303
    assert move(desk, "contest", role="institution", amount="100").status_code == 303
    assert move(desk, "propose", "wang", amount="3217", reason=INTERNAL).status_code == 303
    secret = (INTERNAL, "内部.pdf", "3217", "3,217", "wang")
    places = [
        case, "/cases", "/cases?state=contested", "/", f"/institutions/{uscc(0)}", "/alerts", f"/reconcile/{uscc(0)}",
        A, f"{A}/TF/0", f"{A}/TF/0/moves", "/feeds/alerts.json", "/feeds/alerts.atom",
        "/api/v1/contracts/HT/0/refund-statement?claim=TF/0", "/api/v1/contracts/HT/0/refund-quote?claim=TF/0",
        "/cases.csv", "/institutions.csv",
    ]
    for path in places:
        found = look(desk, path, "school")
        assert found.status_code == 200 or path == "/cases.csv", path
        for word in secret:
            assert word not in found.text, (path, word)
    assert look(desk, f"{case}/evidence/1", "school").status_code == 404
    assert look(desk, f"{case}/evidence/1").content == b"internal"
    detail = desk.get(f"{A}/TF/0", key="school").json()
    assert [one["text"] for one in detail["notes"]] == ["给机构的话"]
    assert (detail["evidence"], detail["proposal"]) == ([], None)
    assert [one["move"] for one in detail["moves"]] == ["open", "contest"]
    assert {one["actor"] for one in (*detail["moves"], *detail["notes"])} == {"import", "staff", "institution"}
    assert detail["possible_moves"] == ["accept", "contest"]
    staff = desk.get(f"{A}/TF/0").json()
    assert (len(staff["notes"]), len(staff["evidence"]), staff["proposal"]["by"]) == (2, 1, "user:wang")
    for word in ("supervisors only", "the institution reads this"):
        assert word in text_of(look(desk, case))
    # Once somebody else confirms it the ruling is out, with its grounds.
    assert move(desk, "confirm", "zhou", reason="同意").status_code == 303
    text = text_of(look(desk, case, "school"))
    assert INTERNAL in text
    assert "¥3,217.00" in text
    assert "wang" not in text


def test_its_notes_and_documents_are_marked_as_said_by_it(desk: Site) -> None:
    assert send(desk, "/cases/TF/0/notes", "school", text="家长已签收 21 课时").status_code == 303
    assert upload(desk, b"sheet", "签到表.pdf", "school").status_code == 303
    assert upload(desk, b"x" * (25 * 1024 * 1024 + 1), who="school").status_code == 422
    assert send(desk, "/cases/TF/0/notes", "school", text="退" * 10_001).status_code == 422
    for who in ("li", "school"):
        page = look(desk, "/cases/TF/0", who)
        assert text_of(page).count("said by the institution") == 3, who
        assert look(desk, "/cases/TF/0/evidence/1", who).content == b"sheet"
    for kind in ("case.noted", "case.evidence_attached"):
        [entry] = audited(desk, kind)
        assert (entry["by"], entry["role"], entry["audience"]) == ("user:school", "institution", "institution"), kind
    detail = desk.get(f"{A}/TF/0").json()
    assert [(one["role"], one["actor"]) for one in (*detail["notes"], *detail["evidence"])] == [
        ("institution", "user:school")
    ] * 2


def test_what_staff_record_on_its_behalf_names_nobody_to_it(desk: Site) -> None:
    assert move(desk, "accept", "wang").status_code == 303
    assert "wang" not in look(desk, "/cases/TF/0", "school").text
    assert desk.get(f"{A}/TF/0/moves", key="school").json()["items"][-1]["actor"] == "institution"
    assert desk.get(f"{A}/TF/0/moves").json()["items"][-1]["actor"] == "user:wang"


# the interface


def test_it_answers_over_http_with_a_key_of_its_own(desk: Site) -> None:
    body = {"move": "contest", "reason": "课时有争议", "amount": "500.00"}
    first, again = (post(desk, f"{A}/TF/8/answers", body, idempotency_key="k") for _ in range(2))
    assert (first.status_code, first.content) == (201, again.content)
    told = first.json()
    assert (told["role"], told["actor"], told["to"], told["amount"]) == (
        "institution", "key:school", "contested", "500.00"
    )
    assert post(desk, f"{A}/TF/8/answers", {**body, "amount": "600"}, idempotency_key="k").status_code == 409
    said = post(desk, f"{A}/TF/8/said-payments", {"amount": "500", "paid_on": "2026-11-18", "bank_ref": "L1"})
    assert (said.status_code, said.json()["amount_fen"]) == (201, 500_00)
    noted = post(desk, f"{A}/TF/8/notes", {"text": "补充说明", "audience": "supervisors"})
    assert (noted.status_code, noted.json()["role"], noted.json()["audience"]) == (201, "institution", "institution")
    paper = desk.send(
        "POST", f"{A}/TF/8/evidence?filename=a.pdf", key="school", content=b"%PDF", content_type="application/pdf"
    )
    assert (paper.status_code, paper.json()["role"], paper.json()["size"]) == (201, "institution", 4)
    large = desk.send(
        "POST", f"{A}/TF/8/evidence?filename=a.pdf", key="school", content=b"x" * (25 * 1024 * 1024 + 1)
    )
    assert large.status_code == 413
    detail = desk.get(f"{A}/TF/8", key="school").json()
    assert (len(detail["said_payments"]), len(detail["notes"]), len(detail["evidence"])) == (1, 1, 1)
    for wrong in (
        {"move": "contest"}, {"move": "fly", "reason": "x"}, {"move": "accept", "reason": "x", "role": "staff"}
    ):
        assert post(desk, f"{A}/TF/8/answers", wrong).status_code == 422
    future = {"amount": "5", "paid_on": "2027-01-01", "bank_ref": "L"}
    assert post(desk, f"{A}/TF/8/said-payments", future).status_code == 422


def test_staff_note_over_http_for_themselves_unless_they_say_otherwise(desk: Site) -> None:
    assert post(desk, f"{A}/TF/8/notes", {"text": INTERNAL}, "decider").json()["audience"] == "supervisors"
    shown = post(desk, f"{A}/TF/8/notes", {"text": "x", "audience": "institution"}, "decider").json()
    assert (shown["audience"], shown["role"]) == ("institution", "staff")
    assert [one["text"] for one in desk.get(f"{A}/TF/8", key="school").json()["notes"]] == ["x"]


def test_nobody_else_answers_for_an_institution(desk: Site) -> None:
    """Not another institution, not staff, not a key of nobody with the scope, not an administrator's."""
    world, body = desk.world, {"move": "accept", "reason": "x"}
    world.key("nobody", "read", "answer")
    world.key("root", "admin")
    for key, status in (("rival", 404), ("decider", 403), ("nobody", 403), ("root", 403)):
        assert post(desk, f"{A}/TF/8/answers", body, key).status_code == status, key
        assert post(desk, f"{A}/TF/8/said-payments", {
            "amount": "1", "paid_on": "2026-11-01", "bank_ref": "x"
        }, key).status_code == status, key
    for key, status in (("rival", 404), ("nobody", 403)):
        assert post(desk, f"{A}/TF/8/notes", {"text": "x"}, key).status_code == status, key
    for who, status in (("rival", 404), ("li", 403), ("kan", 403)):
        assert answer(desk, "accept", who).status_code == status, who
    for what in ("notes", "evidence"):
        assert send(desk, f"/cases/TF/8/{what}", "rival", text="x").status_code == 404
    assert moves_of(desk, "TF/8") == ["open"]


def test_an_attempt_on_another_s_case_is_in_the_log(desk: Site) -> None:
    body = {"move": "accept", "reason": "x"}
    with capture_logs() as logs:
        for path in ("/cases/TF/8", "/cases/TF/8/evidence/1", f"{A}/TF/8", f"{A}/TF/8/moves"):
            assert look(desk, path, "rival").status_code == 404
        assert answer(desk, "accept", "rival").status_code == 404
        assert post(desk, f"{A}/TF/8/answers", body, "rival").status_code == 404
        assert look(desk, "/cases/TF/99", "rival").status_code == 404
    told = [(one["who"], one["what"], one["why"]) for one in logs if one["event"] == "web.denied"]
    assert told == [("user:rival", "case", "not_visible")] * 5 + [("key:rival", "case", "not_visible")]
