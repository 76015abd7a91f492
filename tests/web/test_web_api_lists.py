"""Lists of the API: filters, order, pages that stay true, 304, limits, and what a request may not be."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from alerts.alert import Severity
from escrow_monitor.domain.accounts import Account
from escrow_monitor.domain.contracts import Contract
from escrow_monitor.domain.findings import Level, Standing
from escrow_monitor.domain.institutions import Institution, InstitutionKind, InstitutionStatus
from escrow_monitor.domain.money import Money
from escrow_monitor.records.accounts import save_accounts, save_institutions
from escrow_monitor.records.contracts import sums as contract_sums
from escrow_monitor.records.contracts.contracts import save_contracts
from escrow_monitor.records.database import Database
from escrow_monitor.web.api.taken import BODY_BYTES_MAX
from escrow_monitor.web.app import create_app
from escrow_monitor.web.limits import CALLERS_MAX, Kind, Limits, Rate, Rates
from tests.web.web_world import Site, World, bank, no, uscc

A = "/api/v1"
EACH = 7


@pytest.fixture
def district(database: Database) -> Site:
    """Seven institutions in two cities on either database; the last has no account, the fifth no known balance."""
    world = World(database=database)
    world.key("reader", "read")
    world.key("decider", "read", "decide")
    with database.write() as session:
        save_institutions(session, [
            Institution(
                uscc=uscc(n), name=f"第{'丙甲乙丁戊己庚'[n]}培训学校", district=("510302", "371082")[n % 2],
                kind=InstitutionKind.SUBJECT if n < 3 else None, policy="national" if n == 1 else None,
                status=InstitutionStatus.CLOSING if n == 2 else InstitutionStatus.OPERATING,
                licence_expires_on=None if n in (0, 3) else date(2027, 1, 1 + n // 2),
            )
            for n in range(EACH)
        ], now=world.now)
        save_accounts(session, [
            Account(account_no=no(n), bank=bank(n), connector="berlin_group", currency="CNY", uscc=uscc(n))
            for n in range(EACH - 1)
        ], now=world.now)
    world.standings(
        (Standing.BREACHED, Level.RED), (Standing.MET, None), (Standing.BREACHED, Level.ORANGE), (Standing.MET, None),
        (Standing.UNKNOWN, None), (Standing.MET, Level.YELLOW),
    )
    with database.write() as session, contract_sums.kept_up(session, on=date(2026, 11, 20)):
        save_contracts(session, [
            Contract(
                contract_no=f"HT/{n}", uscc=uscc(n % 3), student_ref="S-1", course="钢琴", lessons_paid=48,
                fee=Money((n % 2 + 1) * 4800_00, "CNY"), signed_on=date(2026, 8, 20 - n % 3),
                starts_on=None if n == 2 else date(2026, 9, 1 + n),
            )
            for n in range(5)
        ], now=world.now)
    for n, severity in ((0, Severity.RED), (2, Severity.ORANGE), (0, Severity.YELLOW), (5, Severity.YELLOW)):
        world.signal(n, severity=severity, rule="floor" if severity is not Severity.YELLOW else "early_warning")
    return Site(world)


@pytest.fixture
def plain(world: World) -> Site:
    """For what has nothing to do with which database it is."""
    world.key("decider", "read", "decide")
    return Site(world)


def whole(site: Site, path: str, *, limit: int = 2) -> list[dict[str, Any]]:
    """All of a list, page by page."""
    found: list[dict[str, Any]] = []
    after = ""
    for _ in range(20):
        joint = "&" if "?" in path else "?"
        page = site.get(f"{A}/{path}{joint}limit={limit}" + (f"&after={after}" if after else ""))
        assert page.status_code == 200, page.text
        found += page.json()["items"]
        after = page.json()["after"]
        if after is None:
            return found
    raise AssertionError("this list has no end")


@pytest.mark.parametrize(("query", "fits"), [
    ("", range(EACH)), ("district=5103", (0, 2, 4, 6)), ("district=371082", (1, 3, 5)), ("kind=subject", (0, 1, 2)),
    ("status=closing", (2,)), ("policy=national", (1,)), ("standing=breached", (0, 2)), ("standing=met", (1, 3, 5)),
    ("standing=unknown", (4, 6)), ("level=red", (0,)), ("level=orange", (2,)), ("level=yellow", (5,)),
    ("text=%E7%94%B2", (1,)), ("text=" + uscc(3)[-3:], (3,)), ("text=%25", ()), ("text=_", ()),
    ("standing=breached&district=51&level=orange", (2,)),
])
def test_institutions_are_found_by_what_they_are(district: Site, query: str, fits: Any) -> None:
    assert [one["uscc"] for one in whole(district, f"institutions?{query}")] == [uscc(n) for n in fits]


ORDERS = {
    "institutions": ("uscc", ["uscc", "name", "district", "status", "licence_expires_on"]),
    "accounts": ("account_no", [
        "account_no", "balance", "required", "margin", "bank", "uscc", "below_since", "checked_at",
    ]),
    "alerts": ("alert_id", ["alert_id", "severity", "opened_at", "seen_at", "rule"]),
    "cases": ("case_no", ["case_no", "claimed_on", "changed_at", "opened_at", "claimed", "state"]),
    "outlooks": ("uscc", ["level", "exposed", "uscc"]),
    "contracts": ("contract_no", ["contract_no", "signed_on", "starts_on", "uscc", "fee"]),
}


@pytest.mark.parametrize("noun", ORDERS)
def test_every_order_has_every_row_once_whatever_the_size_of_a_page(district: Site, noun: str) -> None:
    key, orders = ORDERS[noun]
    everything = {one[key] for one in whole(district, noun)}
    for order in orders:
        for sort in (order, f"-{order}"):
            pages = [
                [one[key] for one in whole(district, f"{noun}?sort={sort}", limit=limit)] for limit in (1, 2, 3, 100)
            ]
            assert len(set(map(tuple, pages))) == 1, sort
            assert sorted(pages[0]) == sorted(everything), sort


def test_what_has_no_value_comes_last_both_ways(district: Site) -> None:
    up = [one["licence_expires_on"] for one in whole(district, "institutions?sort=licence_expires_on")]
    down = [one["licence_expires_on"] for one in whole(district, "institutions?sort=-licence_expires_on")]
    assert up[-2:] == down[-2:] == [None, None]
    assert up[:-2] == sorted(up[:-2]) == down[:-2][::-1]


def test_alerts_by_severity_have_red_first(district: Site) -> None:
    assert [one["severity"] for one in whole(district, "alerts?sort=-severity")] == [
        "red", "orange", "yellow", "yellow",
    ]


def test_a_page_goes_on_where_it_was_though_rows_came_and_went(district: Site) -> None:
    first = district.get(f"{A}/institutions?sort=name&limit=3").json()
    with district.world.database.write() as session:
        save_institutions(session, [Institution(uscc=uscc(90), name="0", district="510302")], now=district.world.now)
    rest = district.get(f"{A}/institutions?sort=name&after={first['after']}").json()
    shown = [one["uscc"] for one in (*first["items"], *rest["items"])]
    assert sorted(shown) == [uscc(n) for n in range(EACH)]


@pytest.mark.parametrize("after", ["x", "W10", "eyJhIjoxfQ", "WyJuYW1lIixmYWxzZSwxLCJ4Il0", "WyJuYW1lIixmYWxzZSwiYSJd"])
def test_a_cursor_that_is_not_of_this_order_is_refused(plain: Site, after: str) -> None:
    refused = plain.get(f"{A}/institutions?sort=name&after={after}")
    assert refused.status_code == 422
    assert "begin again" in refused.json()["detail"]
    other = plain.get(f"{A}/institutions?sort=name&limit=1").json()["after"]
    assert plain.get(f"{A}/institutions?sort=-name&after={other}").status_code == 422


@pytest.mark.parametrize("path", [
    "institutions?sort=password", "accounts?sort=findings", "institutions?districts=51", "institutions?district=5%25",
    "institutions?limit=0", "institutions?limit=1001", "alerts?severity=purple", "accounts?limit=ten",
    "contracts/HT-1/refund-quote?on=1700000000", "banks?bank=x",
])
def test_what_is_not_understood_is_refused_and_never_left_out(plain: Site, path: str) -> None:
    refused = plain.get(f"{A}/{path}")
    assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")


def test_a_contract_whose_number_holds_a_slash_is_shown_with_its_sums(district: Site) -> None:
    found = district.get(f"{A}/contracts/HT/3").json()
    assert (found["contract_no"], found["fee_fen"], found["sums"]["paid_fen"]) == ("HT/3", 2 * 4800_00, 0)
    assert district.get(f"{A}/contracts/HT/3/refund-quote").status_code == 200


# unchanged


@pytest.mark.parametrize("path", ["institutions", f"institutions/{uscc(0)}", "accounts", "alerts", "openapi.json"])
def test_what_did_not_change_is_304(plain: Site, path: str) -> None:
    first = plain.get(f"{A}/{path}")
    again = plain.get(f"{A}/{path}", if_none_match=f'"x", {first.headers["etag"]}')
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert "content-type" not in again.headers
    assert "authorization" in first.headers["vary"].lower()
    assert plain.get(f"{A}/{path}", if_none_match='"x"').status_code == 200


def test_a_change_is_a_new_tag(plain: Site) -> None:
    first = plain.get(f"{A}/institutions").headers["etag"]
    with plain.world.database.write() as session:
        save_institutions(session, [Institution(uscc=uscc(0), name="新名", district="510302")], now=plain.world.now)
    assert plain.get(f"{A}/institutions", if_none_match=first).status_code == 200


def test_an_error_has_no_tag(plain: Site) -> None:
    assert "etag" not in plain.get(f"{A}/institutions/nobody").headers


# what is not taken


def posted(site: Site, body: bytes) -> httpx.Response:
    return site.send("POST", f"{A}/reconciliations", key="decider", content=body, content_type="application/json")


def test_a_body_that_is_not_json_is_415_and_one_too_large_413(plain: Site) -> None:
    path = f"{A}/reconciliations"
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        refused = plain.send("POST", path, key="decider", content=b"{}", content_type=content_type)
        assert (refused.status_code, refused.headers["content-type"]) == (415, "application/problem+json")
    refused = posted(plain, b" " * (BODY_BYTES_MAX + 1))
    assert refused.status_code == 413


def test_a_body_of_unsaid_length_ends_where_it_is_too_large(plain: Site) -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while sent < 64:
            sent += 1
            yield b" " * (BODY_BYTES_MAX // 4)

    async def answer() -> httpx.Response:
        transport = httpx.ASGITransport(app=plain.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://monitor.test") as client:
            return await client.post(f"{A}/reconciliations", content=endless(), headers={
                "Content-Type": "application/json",
                "Authorization": f"Bearer {plain.world.secrets['decider']}",
            })

    assert asyncio.run(answer()).status_code == 413
    assert sent <= 8


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b'{"uscc": "\xff"}', b"", b"[]", b"null"])
def test_a_body_that_cannot_be_read_is_a_problem(plain: Site, content: bytes) -> None:
    refused = posted(plain, content)
    assert refused.status_code in (400, 422)
    assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("body", [
    b'{"full": "yes"}', b'{"full": 1}', b'{"day": 1700000000}', b'{"day": "1700000000"}', b'{"uscc": 91510300}',
    b'{"institution": "x"}', b'{"uscc": "a\\u0000b"}', b'{"uscc": "\\ud800"}',
])
def test_nothing_is_taken_for_what_it_is_not(plain: Site, body: bytes) -> None:
    refused = posted(plain, body)
    assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")


def test_a_misspelt_dry_run_makes_nothing(plain: Site) -> None:
    body = b'{"matchers": {"bank": "x"}, "reason": "x", "ends_at": "2026-11-21T09:00:00+08:00"}'
    refused = plain.send(
        "POST", f"{A}/silences?dryrun=true", key="decider", content=body, content_type="application/json"
    )
    assert refused.status_code == 422
    assert "dry_run" in refused.json()["detail"]
    assert plain.get(f"{A}/silences").json()["items"] == []


def test_a_zero_character_reaches_no_database(plain: Site) -> None:
    for path in ("institutions/a%00b", "institutions?text=a%00b", "accounts?sort=bank&after=a%00b"):
        assert plain.get(f"{A}/{path}").status_code == 400


def test_a_wrong_method_says_all_that_are_right(plain: Site) -> None:
    refused = plain.send("PUT", f"{A}/silences")
    assert refused.status_code == 405
    assert refused.headers["allow"] == "GET, POST"
    assert refused.headers["content-type"] == "application/problem+json"
    assert plain.get(f"{A}/nothing").headers["content-type"] == "application/problem+json"


# limits


def limited(world: World, rates: Rates) -> FastAPI:
    return create_app(replace(world.ports(), rates=rates))


def test_one_too_many_is_429_and_says_when_to_come_back(world: World) -> None:
    world.key("feeder", "feed")
    site = Site(world, limited(world, Rates(requests=Rate(per_second=0.01, burst=3))))
    answers = [site.get(f"{A}/banks") for _ in range(4)]
    assert [one.status_code for one in answers] == [200, 200, 200, 429]
    assert 60 < int(answers[-1].headers["retry-after"]) <= 100
    assert answers[-1].headers["content-type"] == "application/problem+json"
    # Another caller, and the feed of the same one, are counted apart.
    assert site.get(f"{A}/banks", key="admin").status_code == 200
    assert site.get("/feeds/alerts.json").status_code == 200
    assert site.get("/healthz", key=None).status_code == 200


def test_strangers_are_counted_by_address_and_keep_nobody_out(world: World) -> None:
    site = Site(world, limited(world, Rates(strangers=Rate(per_second=0.01, burst=2))))
    wrong = "Bearer emk_" + "x" * 43
    assert [site.get(f"{A}/banks", key=None, authorization=wrong).status_code for _ in range(3)] == [401, 401, 429]
    assert site.get(f"{A}/banks", key=None).status_code == 429
    assert site.get(f"{A}/banks").status_code == 200


def test_a_bucket_refills_and_few_are_kept() -> None:
    limits = Limits(Rates(requests=Rate(per_second=2, burst=2)))
    assert [limits.take(Kind.REQUESTS, "a", now=0) for _ in range(3)] == [0, 0, 1]
    assert [limits.take(Kind.REQUESTS, "a", now=0.5) for _ in range(2)] == [0, 1]
    assert [limits.take(Kind.REQUESTS, "a", now=100) for _ in range(3)] == [0, 0, 1]
    for number in range(CALLERS_MAX + 5):
        assert limits.take(Kind.REQUESTS, str(number), now=100) == 0
    assert limits.take(Kind.REQUESTS, "a", now=100) == 0
