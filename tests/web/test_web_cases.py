"""Refund cases over HTTP: looked at by readers, moved by who may decide, quoted and written out."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import httpx
import pytest

from escrow_monitor.domain.contracts import Charge, Contract, Lesson, LessonStatus
from escrow_monitor.domain.money import Money
from escrow_monitor.records.contracts import sums as contract_sums
from escrow_monitor.records.contracts.charges import save_charges
from escrow_monitor.records.contracts.contracts import save_contracts
from escrow_monitor.records.contracts.lessons import save_lessons
from escrow_monitor.records.contracts.refund_claims import record_refund_claims
from escrow_monitor.records.evidence import audit
from tests.web.web_world import Site, World, uscc

TODAY = date(2026, 11, 20)
SIGNED = date(2026, 8, 20)


@pytest.fixture
def cases(world: World) -> Site:
    """Two contracts of the first institution, 13 of 48 lessons taught, and a claim under each."""
    with world.database.write() as session, contract_sums.kept_up(session, on=TODAY):
        save_contracts(session, [
            Contract(
                contract_no=f"HT/{number}", uscc=uscc(0), student_ref="S-1", course="<b>钢琴</b>", lessons_paid=48,
                fee=Money(4800_00, "CNY"), signed_on=SIGNED, starts_on=date(2026, 9, 1), refund_deadline_days=15,
            )
            for number in (1, 2)
        ], now=world.now)
        save_charges(session, [
            Charge(charge_no=f"J-{n}", contract_no=f"HT/{n}", paid_on=SIGNED, amount=Money(4800_00, "CNY"))
            for n in (1, 2)
        ], now=world.now)
        save_lessons(session, [
            Lesson(contract_no=f"HT/{number}", session_no=lesson, status=LessonStatus.CONFIRMED,
                   taught_on=date(2026, 9, lesson), decided_on=date(2026, 9, lesson))
            for number in (1, 2) for lesson in range(1, 14)
        ], now=world.now)
        record_refund_claims(session, [
            (number, f"TF-{number}", f"HT/{number}", date(2026, 11, 10), None, None, "consumer", "", amount)
            for number, amount in ((1, 3_500_000), (2, None))
        ], now=world.now)
    world.key("li", "read", "decide")
    world.key("wang", "read", "decide")
    return Site(world)


def move(
    site: Site, what: str, *, key: str | None = "li", case: str = "TF-1", again: str | None = None, **said: Any
) -> httpx.Response:
    headers = {"content_type": "application/json"} | ({"idempotency_key": again} if again else {})
    body = json.dumps({"move": what, "reason": "有理由", **said}).encode()
    return site.send("POST", f"/api/v1/cases/{case}/moves", key=key, content=body, **headers)


def test_cases_are_listed_with_what_is_due_and_by_when(cases: Site) -> None:
    found = cases.get("/api/v1/cases").json()
    assert [(one["case_no"], one["claimed"], one["due"], one["state"]) for one in found["items"]] == [
        ("TF-1", "3500.00", "3500.00", "claimed"), ("TF-2", None, "3500.00", "claimed"),
    ]
    first = found["items"][0]
    assert (first["due_fen"], first["due_on"], first["uscc"]) == (3500_00, "2026-11-25", uscc(0))
    assert [(one["kind"], one["last_day"], one["passed"]) for one in first["deadlines"]] == [
        ("answer", "2026-11-17", True), ("payment", "2026-11-25", False)
    ]
    assert first["next_deadline"]["kind"] == "payment"
    page = cases.get("/api/v1/cases?limit=1").json()
    assert (len(page["items"]), page["after"]) == (1, "TF-1")
    assert cases.get("/api/v1/cases?after=TF-1").json()["items"][0]["case_no"] == "TF-2"
    for nothing in ("state=paid", f"uscc={uscc(1)}", "contract_no=HT"):
        assert cases.get(f"/api/v1/cases?{nothing}").json()["items"] == []
    for wrong in ("state=lost", "stat=paid"):
        assert cases.get(f"/api/v1/cases?{wrong}").status_code == 422


def test_a_case_is_walked_to_its_order_and_shows_all_that_was_done(cases: Site) -> None:
    assert move(cases, "quote").json()["amount"] == "3500.00"
    accepted = move(cases, "accept")
    assert accepted.status_code == 201
    said = accepted.json()
    assert (said["from"], said["to"], said["role"], said["actor"], said["payable_fen"]) == (
        "quoted", "accepted", "institution", "key:li", 3500_00
    )
    assert move(cases, "order").json()["to"] == "ordered"
    found = cases.get("/api/v1/cases/TF-1").json()
    assert (found["state"], found["ordered"], found["outstanding"]) == ("ordered", "3500.00", "3500.00")
    assert [one["move"] for one in found["moves"]] == ["open", "quote", "accept", "order"]
    assert found["quotes"][0]["quote"]["refund"] == found["quote"]["refund"] == "3500.00"
    assert found["possible_moves"] == ["contest"]
    assert cases.get("/api/v1/cases/TF-1/moves").json()["items"] == found["moves"]
    assert 'escrow_cases_open{state="ordered"} 1.0' in cases.get("/metrics", key="scraper").text


def test_a_ruling_takes_two_keys(cases: Site) -> None:
    assert move(cases, "contest", role="institution", amount="3000.00").status_code == 201
    assert move(cases, "propose", amount="3200").status_code == 201
    own = move(cases, "confirm")
    assert (own.status_code, own.json()["errors"][0]["reason"]) == (409, "own_ruling")
    assert "另一人" in own.json()["errors"][0]["zh"]
    assert own.headers["content-type"] == "application/problem+json"
    assert move(cases, "confirm", key="wang").json()["to"] == "ruled"


def test_the_same_request_makes_one_move_and_is_answered_the_same(cases: Site) -> None:
    first, second = move(cases, "gather", again="k1"), move(cases, "gather", again="k1")
    assert first.status_code == second.status_code == 201
    assert first.content == second.content
    assert len(cases.get("/api/v1/cases/TF-1").json()["moves"]) == 2
    assert move(cases, "quote", again="k1").status_code == 409
    # What was refused is refused the same again, and another caller's key is another key.
    assert [move(cases, "order", again="k2").status_code for _ in range(2)] == [409, 409]
    assert move(cases, "quote", again="k1", key="wang").status_code == 201


@pytest.mark.parametrize(("said", "status"), [
    ({"what": "order"}, 409), ({"what": "see", "amount": "1"}, 409), ({"what": "fly"}, 422),
    ({"what": "settle", "amount": "1e5"}, 422), ({"what": "settle", "amount": 5}, 422),
    ({"what": "gather", "role": "system"}, 422), ({"what": "contest"}, 422), ({"what": "gather", "reason": ""}, 422),
    ({"what": "gather", "hurry": True}, 422), ({"what": "quote", "amount": "1"}, 422),
    ({"what": "gather", "case": "TF-9"}, 404), ({"what": "gather", "key": "reader"}, 403),
    ({"what": "gather", "key": None}, 401),
])
def test_a_move_that_cannot_be_made_is_a_problem_and_changes_nothing(
    cases: Site, said: dict[str, Any], status: int
) -> None:
    answer = move(cases, **said)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    with cases.world.database.read() as session:
        assert [one.kind for one in audit.records(session, limit=1_000) if one.kind.startswith("case")] == [
            "cases.opened"
        ]


def test_another_site_moves_no_case(cases: Site) -> None:
    answer = cases.send(
        "POST", "/api/v1/cases/TF-1/moves", key="li", content=b'{"move":"gather","reason":"x"}',
        content_type="application/json", origin="http://evil.test",
    )
    assert answer.status_code == 403


def test_a_case_that_is_not_there(cases: Site) -> None:
    assert cases.get("/api/v1/cases/TF-9").status_code == 404
    assert cases.get("/api/v1/cases/TF-9/moves").status_code == 404


def test_a_quote_of_a_day_and_a_cause(cases: Site) -> None:
    found = cases.get("/api/v1/contracts/HT/1/refund-quote?on=2026-11-12&cause=institution").json()
    assert (found["refund"], found["ground"], found["on"], found["due_on"]) == (
        "3500.00", "institution_breach", "2026-11-12", "2026-11-27"
    )
    assert sum(line["amount_fen"] for line in found["lines"]) == found["refund_fen"]
    today = cases.get("/api/v1/contracts/HT/1/refund-quote").json()
    assert (today["on"], today["cause"]) == ("2026-11-20", "consumer")
    by_claim = cases.get("/api/v1/contracts/HT/1/refund-quote?claim=TF-1").json()
    assert by_claim["claimed_on"] == "2026-11-10"
    for path, status in (
        ("HT/9/refund-quote", 404), ("HT/1/refund-quote?claim=TF-2", 404), ("HT/1/refund-quote?on=soon", 422),
        ("HT/1/refund-quote?cause=rain", 422), ("HT/1/refund-quote?day=2026-11-12", 422),
        ("HT/1/refund-statement?lang=fr", 422),
    ):
        assert cases.get(f"/api/v1/contracts/{path}").status_code == status


@pytest.mark.parametrize(("lang", "title"), [("zh", "退费计算书"), ("en", "Refund statement")])
def test_the_statement_is_a_page_that_the_browser_may_show(cases: Site, lang: str, title: str) -> None:
    answer = cases.get(f"/api/v1/contracts/HT/1/refund-statement?lang={lang}&claim=TF-1")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = answer.text
    assert title in page
    assert "3,500.00" in page
    assert "&lt;b&gt;钢琴&lt;/b&gt;" in page
    # The policy of this site forbids styles in the page: they are beside it.
    assert "<style" not in page
    assert "style=" not in page
    sheet = page.partition('<link rel="stylesheet" href="')[2].partition('"')[0]
    styles = cases.get(sheet, key=None)
    assert styles.headers["content-type"] == "text/css; charset=utf-8"
    assert "size: A4" in styles.text


def test_records_that_cannot_be_right_are_a_problem(cases: Site) -> None:
    from escrow_monitor.records.contracts.cases import SeenRefund, note_seen

    with cases.world.database.write() as session:
        note_seen(session, [SeenRefund("TF-1", "m1", TODAY, Money(9_000_00, "CNY"))], now=cases.world.now)
    for path in ("contracts/HT/1/refund-quote", "contracts/HT/1/refund-statement"):
        answer = cases.get(f"/api/v1/{path}")
        assert (answer.status_code, "9000.00" in answer.json()["detail"]) == (409, True)
    assert move(cases, "quote").status_code == 409
    found = cases.get("/api/v1/cases/TF-1").json()
    assert (found["due"], found["quote"]["impossible"]) == (None, "refund_larger_than_paid")
