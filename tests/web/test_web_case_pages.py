"""The pages of refund cases: the board with its clocks, one case, and what its forms do, once and by who may."""

from __future__ import annotations

import hashlib
import re
from datetime import date, timedelta
from urllib.parse import urlencode

import httpx
import pytest

from escrow_monitor.domain.contracts import Charge, Contract, Lesson, LessonStatus
from escrow_monitor.domain.dispute_words import STATES, CaseState
from escrow_monitor.domain.disputes import TRANSITIONS
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.permissions import UserRole
from escrow_monitor.domain.visibility import Visible
from escrow_monitor.records.accounts import save_institutions
from escrow_monitor.records.contracts import case_book, case_pages
from escrow_monitor.records.contracts import sums as contract_sums
from escrow_monitor.records.contracts.case_pages import AskedCases
from escrow_monitor.records.contracts.charges import save_charges
from escrow_monitor.records.contracts.contracts import save_contracts
from escrow_monitor.records.contracts.lessons import save_lessons
from escrow_monitor.records.contracts.refund_claims import record_refund_claims
from escrow_monitor.records.database import Database
from escrow_monitor.records.people import sessions, users
from escrow_monitor.web.console.case import ORDER
from escrow_monitor.web.console.uploads import parsed
from escrow_monitor.web.console.words import WORDS
from escrow_monitor.web.csrf import token_of
from escrow_monitor.web.guard import COOKIE
from escrow_monitor.web.problems import Problem
from tests.web.web_world import HOME, NAMES, Site, World, uscc

TODAY = date(2026, 11, 20)
FORM = "application/x-www-form-urlencoded"
SCRIPT = "<script>alert(1)</script>"


def filled(world: World, count: int = 12) -> Site:
    """Claims of the first two institutions, the odd ones of the second, one a day; half of each asks for 3,500.00."""
    with world.database.write() as session, contract_sums.kept_up(session, on=TODAY):
        save_contracts(session, [
            Contract(
                contract_no=f"HT/{n}", uscc=uscc(n % 2), student_ref="S-1", course=f"钢琴 {SCRIPT}", lessons_paid=48,
                fee=Money(4800_00, "CNY"), signed_on=date(2026, 8, 20), starts_on=date(2026, 9, 1),
                refund_deadline_days=15,
            ) for n in range(count)
        ], now=world.now)
        save_charges(session, [
            Charge(charge_no=f"J-{n}", contract_no=f"HT/{n}", paid_on=date(2026, 8, 20), amount=Money(4800_00, "CNY"))
            for n in range(count)
        ], now=world.now)
        save_lessons(session, [
            Lesson(contract_no=f"HT/{n}", session_no=lesson, status=LessonStatus.CONFIRMED,
                   taught_on=date(2026, 9, lesson), decided_on=date(2026, 9, lesson))
            for n in range(count) for lesson in range(1, 14)
        ], now=world.now)
        assert not record_refund_claims(session, [
            (n, f"TF/{n}", f"HT/{n}", TODAY - timedelta(days=count - n), None, None, "consumer", f"转学 {SCRIPT}",
             (3_500_000, None)[n % 2])
            for n in range(count)
        ], now=world.now).faults
    for name, role in (
        ("li", UserRole.STAFF), ("wang", UserRole.REGULATOR), ("zhou", UserRole.REGULATOR), ("kan", UserRole.VIEWER),
    ):
        person(world, name, role)
    return Site(world)


@pytest.fixture
def desk(world: World) -> Site:
    return filled(world)


TOKENS: dict[str, str] = {}


def person(world: World, name: str, role: UserRole, districts: tuple[str, ...] | None = None) -> None:
    with world.database.write() as session:
        users.add(
            session, name=name, display_name=name, role=role, districts=districts, uscc=None, password_hash="none",
            now=world.now,
        )
        _, TOKENS[name] = sessions.begin(session, user_name=name, address="192.0.2.1", agent="", now=world.now)


def look(site: Site, path: str, who: str = "li", *, lang: str = "en") -> httpx.Response:
    return site.get(path, key=None, cookie=f"{COOKIE}={TOKENS[who]}; escrow_lang={lang}")


def text_of(answer: httpx.Response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text))


def send(
    site: Site, path: str, who: str = "li", *, once: str | None = None, csrf: str | None = None, lang: str = "en",
    **fields: str,
) -> httpx.Response:
    body = {"csrf": token_of(TOKENS[who]) if csrf is None else csrf, **({"once": once} if once else {}), **fields}
    return site.send(
        "POST", path, key=None, content=urlencode(body).encode(), content_type=FORM, origin=HOME,
        cookie=f"{COOKIE}={TOKENS[who]}; escrow_lang={lang}",
    )


def move(site: Site, name: str, who: str = "li", case: str = "TF/0", **fields: str) -> httpx.Response:
    return send(site, f"/cases/{case}/moves", who, move=name, **{"reason": "by the records", **fields})


def moves_of(site: Site, case: str = "TF/0") -> list[str]:
    with site.world.database.read() as session:
        return [one.move.value for one in case_book.case_moves(session, [case])]


def offered(answer: httpx.Response) -> list[str]:
    return re.findall(r'name="move" value="(\w+)"', answer.text)


# words


def test_every_move_and_state_has_its_words() -> None:
    people = {move for move, lead in TRANSITIONS.items() if lead.by != {"system"}}
    assert set(ORDER) == people
    assert {f"do.{move.value}" for move in people} | {f"hint.{move.value}" for move in people} <= set(WORDS)
    assert set(STATES) == set(CaseState)


# the board


def test_the_board_has_the_cases_of_each_state_the_oldest_first_with_their_clocks(desk: Site) -> None:
    assert move(desk, "accept", case="TF/0").status_code == 303
    answer = look(desk, "/cases")
    numbers = re.findall(r'<a class="no" href="/cases/([^"]+)">', answer.text)
    # Seven were claimed before the others and six are shown; the accepted one stands in its own column.
    assert numbers == [f"TF/{n}" for n in (1, 2, 3, 4, 5, 6)] + ["TF/0"]
    text = text_of(answer)
    for word in ("12 open", "All 11", "3,500.00", "no amount claimed", "no answer: deemed agreed from", "4 days left",
                 "money seen in the bank by", NAMES[0], "HT/1"):
        assert word in text, word
    assert "¥3,500.00 not seen yet" in text


def test_a_late_payment_is_marked(world: World) -> None:
    site = filled(world, 20)
    text = text_of(look(site, "/cases"))
    assert "5 days overdue" in text
    assert 'class="ticket red"' in look(site, "/cases").text


def test_pages_of_a_state_follow_one_another_without_loss(database: Database) -> None:
    world = World(database=database)
    world.institutions(2)
    site = filled(world, 70)
    for state, expected in (("claimed", [f"TF/{n}" for n in range(70)]), ("withdrawn", [])):
        seen: list[str] = []
        path: str | None = f"/cases?state={state}&q=TF"
        while path is not None:
            html = look(site, path).text
            seen += re.findall(r'<a class="no" href="/cases/([^"]+)">', html)
            more = re.search(r'href="(/cases\?[^"]*)" rel="next"', html)
            path = more[1].replace("&amp;", "&") if more else None
        assert seen == expected
    for n in range(40):
        assert move(site, "withdraw", case=f"TF/{n}").status_code == 303
    first = look(site, "/cases?state=withdrawn").text
    assert re.findall(r'<a class="no" href="/cases/([^"]+)">', first)[:2] == ["TF/39", "TF/38"]


@pytest.mark.parametrize(("query", "found"), [
    ("q=TF/3", {"TF/3"}), ("q=ht/4", {"TF/4"}), (f"uscc={uscc(0)}&state=claimed", {f"TF/{n}" for n in range(0, 12, 2)}),
    ("district=5103&q=TF/11", {"TF/11"}), ("district=44", set()), ("q=%25", set()), ("state=paid", set()),
    (f"q={uscc(1)}&state=claimed", {f"TF/{n}" for n in range(1, 12, 2)}),
])
def test_filters_all_must_fit(database: Database, query: str, found: set[str]) -> None:
    world = World(database=database)
    world.institutions(2)
    html = look(filled(world), f"/cases?{query}").text
    assert set(re.findall(r'<a class="no" href="/cases/([^"]+)">', html)) == found


@pytest.mark.parametrize("query", ["state=lost", "stat=paid", "district=x", "after=x&state=paid", "after=2026-01-01~x",
                                   "q=" + "x" * 101])
def test_a_filter_that_is_none_is_refused(desk: Site, query: str) -> None:
    assert look(desk, f"/cases?{query}").status_code == 400


def test_an_empty_board_says_what_to_do(world: World) -> None:
    person(world, "li", UserRole.STAFF)
    assert "import refund-claims" in text_of(look(Site(world), "/cases"))
    filled_site = filled_again(world)
    assert "Take away a filter" in text_of(look(filled_site, "/cases?q=nothing"))


def filled_again(world: World) -> Site:
    with world.database.write() as session, contract_sums.kept_up(session, on=TODAY):
        save_contracts(session, [Contract(
            contract_no="HT/0", uscc=uscc(0), student_ref="S", course="c", lessons_paid=1, fee=Money(100_00, "CNY"),
            signed_on=date(2026, 8, 20),
        )], now=world.now)
        record_refund_claims(session, [
            (0, "TF/0", "HT/0", TODAY, None, None, "consumer", "", None)
        ], now=world.now)
    return Site(world)


def test_who_sees_a_part_finds_no_other(database: Database) -> None:
    world = World(database=database)
    world.institutions(2)
    site = filled(world)
    with database.write() as session:
        save_institutions(session, [Institution(uscc=uscc(1), name="外区学校", district="440101")], now=world.now)
    with database.read() as session:
        local, own, nothing = Visible(districts=("5103",)), Visible(uscc=uscc(1)), Visible(districts=())
        for visible, count in ((local, 6), (own, 6), (nothing, 0)):
            asked = AskedCases(visible=visible)
            assert sum(case_pages.counts(session, asked).values()) == count
            assert sum(map(len, case_pages.oldest_of_each(session, asked, limit=20).values())) == count
            assert len(case_pages.page(session, asked, CaseState.CLAIMED, limit=20)) == count
    person(world, "local", UserRole.REGULATOR, ("5103",))
    board = look(site, "/cases", "local").text
    assert "外区学校" not in board
    assert "TF/1<" not in board
    for path in ("/cases/TF/1", "/cases/TF/1/evidence/1"):
        assert look(site, path, "local").status_code == 404
    assert move(site, "gather", "local", "TF/1").status_code == 404
    assert send(site, "/cases/TF/1/notes", "local", text="x").status_code == 404
    assert moves_of(site, "TF/1") == ["open"]


# one case


def test_a_case_says_what_is_due_line_by_line_and_shows_imported_markup_as_text(desk: Site) -> None:
    answer = look(desk, "/cases/TF/0")
    text = text_of(answer)
    for word in (
        "Refund case TF/0", "claimed", "HT/0", "48 lessons for ¥4,800.00", "paid for lessons", "4,800.00",
        "lessons taught", "-1,300.00", "Refund", "3,500.00", "pro rata by lessons", "Grounds that were not applied",
        "No document yet", "opened", "the claim was imported", "the institution", "Deadlines",
    ):
        assert word in text, word
    assert SCRIPT not in answer.text
    assert "&lt;script&gt;" in answer.text
    assert '/refund-statement?claim=TF/0&amp;lang=en"' in answer.text
    assert "申请已导入" in text_of(look(desk, "/cases/TF/0", lang="zh"))


def test_only_what_this_person_may_do_now_is_offered(desk: Site) -> None:
    assert offered(look(desk, "/cases/TF/0")) == ["quote", "gather", "accept", "contest", "settle", "withdraw"]
    reader = look(desk, "/cases/TF/0", "kan")
    assert offered(reader) == []
    assert "needs the permission to decide" in text_of(reader)
    assert "<textarea" not in reader.text
    # Nothing is claimed and nothing computed: nobody can agree to it yet, and it says why.
    assert offered(look(desk, "/cases/TF/1")) == ["quote", "gather", "withdraw"]
    assert "quote it first" in text_of(look(desk, "/cases/TF/1"))


def test_a_case_is_walked_by_its_forms(desk: Site) -> None:
    done = move(desk, "quote")
    assert (done.status_code, done.headers["location"]) == (303, "/cases/TF/0?done=move-2")
    assert "Recorded: quoted." in text_of(look(desk, done.headers["location"]))
    assert move(desk, "accept", reason="signed").status_code == 303
    assert move(desk, "order").status_code == 303
    text = text_of(look(desk, "/cases/TF/0"))
    for word in ("ordered", "signed", "for the institution", "quoted → accepted", "¥3,500.00", "computed for 20 Nov"):
        assert word in text, word
    assert moves_of(desk) == ["open", "quote", "accept", "order"]
    with desk.world.database.read() as session:
        assert {one.actor for one in case_book.case_moves(session, ["TF/0"])[1:]} == {"user:li"}


def test_one_s_own_ruling_is_confirmed_by_another(desk: Site) -> None:
    assert move(desk, "contest", role="institution", amount="￥3,000").status_code == 303
    assert move(desk, "propose", "wang", amount="3200").status_code == 303
    own = look(desk, "/cases/TF/0", "wang")
    assert "You proposed this ruling yourself" in text_of(own)
    assert not {"confirm", "reject"} & set(offered(own))
    assert "这项裁定是您本人拟定的，不能由您复核" in text_of(look(desk, "/cases/TF/0", "wang", lang="zh"))
    refused = move(desk, "confirm", "wang")
    assert refused.status_code == 409
    assert "You proposed this ruling yourself" in text_of(refused)
    # Staff have no say in it, and are told whose it is.
    assert not {"confirm", "reject"} & set(offered(look(desk, "/cases/TF/0")))
    assert "the permission to confirm" in text_of(look(desk, "/cases/TF/0"))
    assert move(desk, "confirm").status_code == 403
    assert moves_of(desk) == ["open", "contest", "propose"]
    other = look(desk, "/cases/TF/0", "zhou")
    assert offered(other)[:2] == ["confirm", "reject"]
    assert "wang proposed a ruling of ¥3,200.00" in text_of(other)
    assert move(desk, "confirm", "zhou").status_code == 303
    assert "ruled" in text_of(look(desk, "/cases/TF/0"))


@pytest.mark.parametrize(("fields", "status", "word"), [
    ({"move": "gather", "reason": " "}, 422, "Say why"),
    ({"move": "settle", "amount": "three"}, 422, "The amount “three” is none"),
    ({"move": "settle"}, 409, "needs an amount"), ({"move": "settle", "amount": "9999"}, 409, "more than 3500.00 CNY"),
    ({"move": "contest"}, 422, "on whose behalf"), ({"move": "contest", "role": "system"}, 422, "on whose behalf"),
    ({"move": "fly"}, 422, "There is no such move"), ({"move": "see_part", "amount": "1"}, 409, "made by the system"),
    ({"move": "order"}, 409, "from where the move order is not made"),
    ({"move": "gather", "reason": "x" * 4001}, 422, "at most 4000 characters"),
])
def test_what_is_refused_is_said_beside_the_form_and_what_was_written_is_kept(
    desk: Site, fields: dict[str, str], status: int, word: str
) -> None:
    answer = send(desk, "/cases/TF/0/moves", **{"reason": "my reason", **fields})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    [said] = re.findall(r'<p class="wrong"[^>]*role="alert"[^>]*>([^<]+)', answer.text)
    assert word in said
    if fields["move"] == "settle" and "amount" in fields:
        assert f'value="{fields["amount"]}"' in answer.text
        assert "my reason</textarea>" in answer.text
    assert moves_of(desk) == ["open"]
    zh = send(desk, "/cases/TF/0/moves", lang="zh", **{"reason": "my reason", **fields})
    [said] = re.findall(r'<p class="wrong"[^>]*role="alert"[^>]*>([^<]+)', zh.text)
    assert re.search(r"[\u4e00-\u9fff]", said)


def test_a_form_sent_twice_is_done_once_and_leads_to_the_same_place(desk: Site) -> None:
    first, second = (move(desk, "gather", once="t1") for _ in range(2))
    assert (first.status_code, first.headers["location"]) == (303, second.headers["location"])
    assert moves_of(desk) == ["open", "gather"]
    other = move(desk, "quote", once="t1")
    assert other.status_code == 409
    assert "sent before with something else" in text_of(other)
    for _ in range(2):
        assert send(desk, "/cases/TF/0/notes", once="t2", text="once").status_code == 303
    with desk.world.database.read() as session:
        assert len(case_book.case_notes(session, "TF/0")) == 1
    tokens = re.findall(r'name="once" value="([^"]+)"', look(desk, "/cases/TF/0").text)
    assert len(tokens) == len(set(tokens)) > 5


def test_a_form_that_is_not_ours_changes_nothing(desk: Site) -> None:
    forged = send(desk, "/cases/TF/0/moves", csrf="0" * 64, move="gather", reason="x")
    assert forged.status_code == 403
    assert "open too long" in text_of(forged)
    assert "may not do this" in text_of(send(desk, "/cases/TF/0/notes", "kan", text="x"))
    stranger = desk.send("POST", "/cases/TF/0/notes", key=None, content=b"text=x", content_type=FORM, origin=HOME)
    assert stranger.status_code == 303
    assert stranger.headers["location"].startswith("/sign-in")
    foreign = desk.send(
        "POST", "/cases/TF/0/notes", key=None, content=b"text=x", content_type=FORM, origin="http://evil.test",
        cookie=f"{COOKIE}={TOKENS['li']}", x_csrf_token=token_of(TOKENS["li"]),
    )
    assert foreign.status_code == 403
    assert moves_of(desk) == ["open"]
    with desk.world.database.read() as session:
        assert case_book.case_notes(session, "TF/0") == []


def test_a_note_of_ten_thousand_characters_is_kept_and_one_more_is_not(desk: Site) -> None:
    assert send(desk, "/cases/TF/0/notes", text="退" * 10_000).status_code == 303
    long = send(desk, "/cases/TF/0/notes", text="退" * 10_001)
    assert long.status_code == 422
    assert "at most 10000 characters" in text_of(long)
    assert "The note is empty" in text_of(send(desk, "/cases/TF/0/notes", text=" "))
    assert "The note is kept" in text_of(look(desk, "/cases/TF/0?done=note-1"))
    assert send(desk, "/cases/TF/0/notes", text="x" * 300_000).status_code == 413


# evidence


def upload(
    site: Site, content: bytes, filename: str = "合同.pdf", who: str = "li", *, csrf: str | None = None,
    boundary: bytes = b"----b0undary", once: str = "", note: str = "signed by both",
) -> httpx.Response:
    token = token_of(TOKENS[who]) if csrf is None else csrf
    parts = [
        f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode()
        for name, value in (("csrf", token), ("note", note), ("once", once))
    ]
    parts.append(
        f'Content-Disposition: form-data; name="file"; filename="{filename}"\r\n'.encode()
        + b"Content-Type: text/html\r\n\r\n" + content
    )
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + boundary + b"--\r\n"
    return site.send(
        "POST", "/cases/TF/0/evidence", key=None, content=body, origin=HOME,
        content_type=f"multipart/form-data; boundary={boundary.decode()}",
        cookie=f"{COOKIE}={TOKENS[who]}; escrow_lang=en",
    )


@pytest.mark.parametrize("content", [b"%PDF-1.4\r\n\r\n\x00\xff--\r\n", b"\r\n", bytes(range(256)) * 1000])
def test_a_document_comes_back_byte_for_byte(desk: Site, content: bytes) -> None:
    done = upload(desk, content)
    assert (done.status_code, done.headers["location"]) == (303, "/cases/TF/0?done=evidence-1")
    page = text_of(look(desk, done.headers["location"]))
    for word in ("The document is kept", "合同.pdf", "signed by both", hashlib.sha256(content).hexdigest()[:12], "li"):
        assert word in page, word
    kept = look(desk, "/cases/TF/0/evidence/1", "kan")
    assert kept.content == content
    assert kept.headers["content-type"] == "application/pdf"
    assert kept.headers["content-disposition"] == "attachment; filename*=UTF-8''%E5%90%88%E5%90%8C.pdf"
    assert kept.headers["x-content-type-options"] == "nosniff"
    assert look(desk, "/cases/TF/0/evidence/2").status_code == 404


def test_a_page_that_somebody_uploads_is_a_file_to_keep(desk: Site) -> None:
    assert upload(desk, b"<script>", "x.html").status_code == 303
    kept = look(desk, "/cases/TF/0/evidence/1")
    assert kept.headers["content-type"] == "application/octet-stream"
    assert kept.headers["content-disposition"].startswith("attachment")


def test_a_file_that_cannot_be_kept_is_said_beside_the_form(desk: Site) -> None:
    for content, name, word in (
        (b"", "a.pdf", "is empty"), (b"x", "", "Choose a file first"), (b"x", "x" * 201, "at most 200 characters"),
    ):
        answer = upload(desk, content, name)
        assert answer.status_code == 422
        assert word in text_of(answer)
    assert upload(desk, b"x", csrf="0" * 64).status_code == 403
    assert upload(desk, b"x", who="kan").status_code == 403
    assert upload(desk, b"x" * (25 * 1024 * 1024 + 1)).status_code == 422
    assert upload(desk, b"x" * (26 * 1024 * 1024)).status_code == 413
    with desk.world.database.read() as session:
        assert case_book.case_evidence(session, "TF/0") == []
    assert [upload(desk, b"x", once="t").status_code for _ in range(2)] == [303, 303]
    with desk.world.database.read() as session:
        assert len(case_book.case_evidence(session, "TF/0")) == 1


@pytest.mark.parametrize(("kind", "body"), [
    ("multipart/form-data", b"--x\r\n"), ("multipart/form-data; boundary=x", b""),
    ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\ncut off"),
    ("multipart/form-data; boundary=x", b"--x\r\nno name\r\n\r\nv\r\n--x--\r\n"),
    ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\xff\r\n--x--\r\n"),
    ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nv\r\n" * 30 + b"--x--"),
])
def test_a_form_that_cannot_be_read_is_refused_in_words(desk: Site, kind: str, body: bytes) -> None:
    with pytest.raises(Problem):
        parsed(kind, body)
    answer = desk.send(
        "POST", "/cases/TF/0/evidence", key=None, content=body, content_type=kind, origin=HOME,
        cookie=f"{COOKIE}={TOKENS['li']}; escrow_lang=en",
    )
    assert answer.status_code == 400
    assert "cannot be read" in text_of(answer)


def test_what_is_not_there_is_said_in_words(desk: Site) -> None:
    answer = look(desk, "/cases/TF/99")
    assert answer.status_code == 404
    assert "There is no such case" in text_of(answer)


def test_no_page_of_a_case_breaks_our_content_policy(desk: Site) -> None:
    for path in ("/cases", "/cases/TF/0", "/cases/TF/99", "/cases?state=claimed"):
        html = look(desk, path).text
        assert not re.search(r"<[^>]+\s(style|on\w+)=", html), path
        assert re.findall(r"<script(?![^>]*\ssrc=)", html) == [], path
