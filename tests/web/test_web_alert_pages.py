"""The pages of alerts, silences, deliveries and subscriptions: what they say, and what their forms do, once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

import escrow_monitor.domain.rules as rules
from alerts.alert import DecisionKind, FeedEntry, Figure, Severity, Signal, Why
from alerts.routing import Silence
from escrow_monitor.domain.permissions import UserRole
from escrow_monitor.records.alerts import silences as silence_records
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.bulk import run
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.people import keys, sessions, users
from escrow_monitor.web.app import create_app
from escrow_monitor.web.console.alert import _TOLD_OTHERWISE
from escrow_monitor.web.console.words import WORDS
from escrow_monitor.web.csrf import token_of
from escrow_monitor.web.guard import COOKIE
from tests.web.web_world import HOME, NAMES, NOW, Site, World, alert_key, bank, no, uscc

FORM = "application/x-www-form-urlencoded"
SCRIPT = "<script>alert(1)</script>"
CHANNELS = ("duty", "log")
TOKENS: dict[str, str] = {}


def person(world: World, name: str, role: UserRole, districts: tuple[str, ...] | None = None) -> None:
    with world.database.write() as session:
        users.add(
            session, name=name, display_name=name, role=role, districts=districts, uscc=None, password_hash="none",
            now=world.now,
        )
        _, TOKENS[name] = sessions.begin(session, user_name=name, address="192.0.2.1", agent="", now=world.now)


def staffed(world: World) -> Site:
    for name, role in (
        ("li", UserRole.STAFF), ("wang", UserRole.REGULATOR), ("zhou", UserRole.REGULATOR), ("kan", UserRole.VIEWER),
        ("boss", UserRole.ADMIN),
    ):
        person(world, name, role)
    person(world, "far", UserRole.ADMIN, ("37",))
    return Site(world, create_app(replace(world.ports(), channels=CHANNELS)))


@pytest.fixture
def desk(world: World) -> Site:
    return staffed(world)


def look(site: Site, path: str, who: str = "li", *, lang: str = "en") -> httpx.Response:
    return site.get(path, key=None, cookie=f"{COOKIE}={TOKENS[who]}; escrow_lang={lang}")


def text_of(answer: httpx.Response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text))


def said(answer: httpx.Response) -> str:
    found = re.search(r'<p class="wrong"[^>]*>([^<]*)</p>', answer.text)
    return found[1] if found else ""


def send(site: Site, path: str, who: str = "li", **fields: str | list[str]) -> httpx.Response:
    named = {name.rstrip("_"): value for name, value in fields.items()}
    body = {"csrf": token_of(TOKENS[who]), **named}
    return site.send(
        "POST", path, key=None, content=urlencode(body, doseq=True).encode(), content_type=FORM, origin=HOME,
        cookie=f"{COOKIE}={TOKENS[who]}; escrow_lang=en",
    )


def raise_(world: World, number: int, *, rule: str = "floor", figures: Mapping[str, Figure] | None = None,
           severity: Severity = Severity.RED, channels: tuple[str, ...] = ()) -> FeedEntry:
    signal = Signal(
        key=alert_key(number, rule), severity=severity, standing="breached", as_of=world.now, figures=figures or {},
        why=Why(zh=f"低于最低余额 {SCRIPT}", en=f"below the floor {SCRIPT}"),
        labels={"uscc": uscc(number), "account_no": no(number), "bank": bank(number), "district": "510302"},
    )
    with world.database.write() as session:
        [entry] = RecordsAlertBook(session, channels=channels).advance(
            signals=[signal], clears=(), now=world.now, cause="test"
        )
    return entry


def listed(answer: httpx.Response) -> list[str]:
    return re.findall(r'<li class="[^"]*" id="alert-([0-9a-f]+)">', answer.text)


def open_ids(world: World) -> list[str]:
    with world.database.read() as session:
        return [one.alert_id for one in RecordsAlertBook(session).open_alerts()]


def id_of(world: World, number: int, rule: str = "floor") -> str:
    with world.database.read() as session:
        [found] = [
            one for one in RecordsAlertBook(session).open_alerts(rule=rule) if one.key == alert_key(number, rule)
        ]
    return found.alert_id


def decisions(world: World, alert_id: str) -> list[tuple[str, str, bool]]:
    with world.database.read() as session:
        return [
            (one.decision.kind.value, one.decision.by, one.ended_at is None)
            for one in RecordsAlertBook(session).decisions(alert_id)
        ]


def decide(site: Site, alert_id: str, act: str, who: str = "li", **fields: str) -> httpx.Response:
    return send(site, f"/alerts/{alert_id}/decisions", who, act=act, **fields)


# the inbox


def test_the_worst_come_first_then_the_surest_and_what_is_in_hand_last(desk: Site, world: World) -> None:
    order = [(0, "floor"), (1, "floor"), (2, "floor"), (4, "freshness"), (3, "floor")]
    ids = [id_of(world, number, rule) for number, rule in order]
    found = listed(look(desk, "/alerts"))
    assert found[:2] == sorted(ids[:2])
    assert found[2:] == ids[2:]
    assert decide(desk, found[0], "acknowledge", note="电话已联系").status_code == 303
    answer = look(desk, "/alerts")
    assert listed(answer) == [*found[1:], found[0]]
    assert "acknowledged by li until 21 Nov 10:30" in text_of(answer)
    assert "5 open · 1 of them in hand" in text_of(answer)


@pytest.mark.parametrize(("query", "count"), [
    ("severity=red", 2), ("severity=info", 0), ("rule=freshness", 1), ("rule=nonsense", 0), ("district=5103", 5),
    ("district=37", 0), (f"uscc={uscc(0)}", 1), (f"q={NAMES[0][:2]}", 1), (f"q={no(1)}", 1), ("q=%25", 0),
    ("quiet=loud", 5), ("quiet=quiet", 0), ("quiet=proposed", 0), ("status=resolved", 1),
    ("severity=red&rule=floor&q=nobody", 0),
])
def test_a_filter_leaves_what_fits(desk: Site, query: str, count: int) -> None:
    answer = look(desk, f"/alerts?{query}")
    assert answer.status_code == 200
    assert len(listed(answer)) == count
    assert ("No alert fits" in answer.text) == (count == 0)


@pytest.mark.parametrize("query", [
    "sverity=red", "severity=purple", "district=abc", "quiet=maybe", "status=gone", "after=x", "after=0~9~0~1~a",
    "after=1~2~3", "q=" + "x" * 101,
])
def test_a_filter_that_cannot_be_is_refused_not_ignored(desk: Site, query: str) -> None:
    assert look(desk, f"/alerts?{query}").status_code == 400


def test_every_alert_stands_on_one_page_and_only_one(empty: World) -> None:
    empty.institutions(130)
    for number in range(130):
        empty.signal(number, severity=(Severity.RED, Severity.ORANGE, Severity.YELLOW)[number % 3])
    site, found, path = staffed(empty), [], "/alerts"
    while path:
        answer = look(site, path)
        found += listed(answer)
        onward = re.search(r'href="(/alerts\?[^"]+)" rel="next"', answer.text)
        path = onward[1].replace("&amp;", "&") if onward else ""
    assert len(found) == len(set(found)) == 130
    levels = [re.search(rf'<li class="(\w+)" id="alert-{one}"', look(site, "/alerts").text) for one in found[:50]]
    assert {one[1] for one in levels[:43] if one} == {"red"}


def test_of_those_that_are_over_the_newest_come_first_and_page_on(empty: World) -> None:
    empty.institutions(60)
    for number in range(60):
        empty.now = NOW + timedelta(minutes=number)
        empty.signal(number)
        empty.clear(number)
    site = staffed(empty)
    answer = look(site, "/alerts?status=resolved")
    first = listed(answer)
    onward = re.search(r'href="(/alerts\?[^"]+)" rel="next"', answer.text)
    assert onward is not None
    rest = listed(look(site, onward[1].replace("&amp;", "&")))
    assert (len(first), len(rest), len({*first, *rest})) == (50, 10, 60)
    assert NAMES[59 % len(NAMES)] in answer.text
    assert 'name="alert"' not in answer.text


def test_an_empty_inbox_says_where_to_look(empty: World) -> None:
    answer = look(staffed(empty), "/alerts", lang="zh")
    assert "没有未解除的预警" in answer.text
    assert "“今日”页" in answer.text


def test_who_is_limited_sees_and_decides_nothing_of_others(desk: Site, world: World) -> None:
    assert listed(look(desk, "/alerts", "far")) == []
    alert_id = id_of(world, 0)
    hidden, absent = (look(desk, f"/alerts/{one}", "far") for one in (alert_id, "0" * 20))
    assert (hidden.status_code, absent.status_code) == (404, 404)
    assert hidden.text == absent.text
    assert send(desk, "/alerts/acknowledge", "far", alert=alert_id).status_code == 404
    assert decide(desk, alert_id, "acknowledge", "far").status_code == 404
    assert decisions(world, alert_id) == []
    for path in ("/silences", "/deliveries"):
        assert look(desk, path, "far").status_code == 403
        assert path not in look(desk, "/alerts", "far").text


def test_who_may_not_decide_is_shown_nothing_to_choose(desk: Site, world: World) -> None:
    assert 'type="checkbox"' not in look(desk, "/alerts", "kan").text
    alert_id = id_of(world, 0)
    assert "/decisions" not in look(desk, f"/alerts/{alert_id}", "kan").text
    assert decide(desk, alert_id, "acknowledge", "kan").status_code == 403


# several at once


def test_several_are_acknowledged_with_a_note_and_an_end_once(desk: Site, world: World) -> None:
    ids = [id_of(world, number) for number in (0, 1)]
    asked: dict[str, str | list[str]] = {"alert": ids, "note": "已通知属地", "for_": "3d", "once": "f-1"}
    first = send(desk, "/alerts/acknowledge?severity=red", "li", **asked)
    again = send(desk, "/alerts/acknowledge?severity=red", "li", **asked)
    assert first.headers["location"] == again.headers["location"] == "/alerts?severity=red&done=2-0"
    assert "2 acknowledged." in look(desk, first.headers["location"]).text
    for alert_id in ids:
        assert decisions(world, alert_id) == [("acknowledgement", "user:li", True)]
    with world.database.read() as session:
        held = RecordsAlertBook(session).alert(ids[0])
    assert held is not None
    [decision] = held.decisions
    assert (decision.note, decision.until) == ("已通知属地", NOW + timedelta(days=3))


def test_what_ended_meanwhile_is_counted_and_the_rest_acknowledged(desk: Site, world: World) -> None:
    ids = [id_of(world, number) for number in (0, 1)]
    world.clear(1)
    answer = send(desk, "/alerts/acknowledge", alert=ids)
    assert answer.headers["location"] == "/alerts?done=1-1"
    assert "1 acknowledged; 1 ended" in look(desk, "/alerts?done=1-1").text


@pytest.mark.parametrize(("fields", "sentence"), [
    ({"for_": "9y"}, "Choose how long, or write the day and time it ends."),
    ({"until": "yesterday"}, "Choose how long, or write the day and time it ends."),
    ({"until": "2026-11-19T09:00"}, "The end does not lie ahead."),
    ({"until": "2027-11-19T09:00"}, "The end is too far off: 30 days at most for an acknowledgement, 14 for a snooze."),
    ({"note": "打 13812345678"}, WORDS["alert_note_named"]["en"]),
    ({"note": "x" * 501}, "The note is longer than 500 characters."),
])
def test_what_cannot_be_is_said_beside_the_form_and_what_was_chosen_stays(
    desk: Site, world: World, fields: dict[str, str], sentence: str,
) -> None:
    alert_id = id_of(world, 0)
    answer = send(desk, "/alerts/acknowledge", alert=[alert_id], **fields)
    assert answer.status_code in (409, 422)
    assert said(answer) == sentence
    assert re.search(rf'value="{alert_id}"[^>]* checked', answer.text)
    assert decisions(world, alert_id) == []
    one = decide(desk, alert_id, "acknowledge", **fields)
    assert (said(one), "<details class=\"move\" name=\"act\" open>" in one.text) == (sentence, True)


def test_nothing_chosen_is_nothing_done(desk: Site) -> None:
    answer = send(desk, "/alerts/acknowledge", note="why")
    assert (answer.status_code, said(answer)) == (422, "Select at least one alert.")


def test_an_end_is_read_by_the_clock_of_the_place(desk: Site, world: World) -> None:
    alert_id = id_of(world, 0)
    assert decide(desk, alert_id, "snooze", note="等待银行", until="2026-11-21T09:00").status_code == 303
    assert "snoozed by li until 21 Nov 09:00" in text_of(look(desk, f"/alerts/{alert_id}"))


# one alert


def test_an_alert_says_what_it_rests_on_in_the_words_of_people(desk: Site, world: World) -> None:
    entry = raise_(world, 5, rule="late_top_up", severity=Severity.ORANGE, figures={
        "balance": "83120.45", "balance_fen": 83_120_45, "coverage": "0.8312", "since": "2026-11-17T01:00:00+00:00",
        "stated_on": "2026-11-19", "working_days": 3, "verified": False, "clause": None, "times": "2.0000",
        "reasons_zh": "拖欠房租；停课 14 天", "reasons_en": "rent is owed; no lessons for 14 days",
        "last_refusal": "timeout", "late_after_seconds": 7200, "status": "frozen", "kind_zh": "未达账",
        "kind_en": "open",
    })
    zh = text_of(look(desk, f"/alerts/{entry.alert_id}", lang="zh"))
    for text in ("余额 83,120.45 元", "83.1 %", "11月17日 09:00", "余额日期 11月19日", "工作日数 3", "条款已核对 否",
                 "条款 未知", "次数 2", "上次失败原因 超时", "逾时界限 2 小时", "账户状态 冻结", "类别 未达账",
                 "拖欠房租", "停课 14 天"):
        assert text in zh, text
    en = text_of(look(desk, f"/alerts/{entry.alert_id}"))
    for text in ("balance 83,120.45 CNY", "rent is owed", "account status frozen", "kind open", "floor"):
        assert text in en, text
    assert SCRIPT not in look(desk, f"/alerts/{entry.alert_id}").text


def test_every_figure_of_every_rule_has_a_name() -> None:
    """What a rule calls its values is found in its text: a new one needs a word."""
    folder = Path(rules.__file__).parent
    names = set()
    for file in folder.glob("*.py"):
        text = file.read_text("utf-8")
        if "Finding(" in text:
            names |= set(re.findall(r'"([a-z][a-z_]*)": ', text))
            names |= {one[:-1] for one in re.findall(r'f"([a-z][a-z_]*_)\{', text)}
    names -= {"chance", ""}
    named = {name.removesuffix("_zh") for name in names if not _TOLD_OTHERWISE.match(name)}
    assert len(named) > 60
    assert sorted(name for name in named if f"figure.{name}" not in WORDS) == []


def test_to_accept_takes_two_and_ones_own_proposal_is_refused_in_a_sentence(desk: Site, world: World) -> None:
    alert_id = id_of(world, 0)
    assert said(decide(desk, alert_id, "propose", "wang")) == "No reason is given: add a note."
    assert decide(desk, alert_id, "propose", "wang", note="专项协议").status_code == 303
    mine = look(desk, f"/alerts/{alert_id}", "wang").text
    assert "you proposed this yourself" in mine
    assert 'value="confirm"' not in mine
    own = decide(desk, alert_id, "confirm", "wang")
    assert (own.status_code, said(own)) == (409, WORDS["alert_own_proposal"]["en"])
    staff = decide(desk, alert_id, "confirm", "li")
    assert (staff.status_code, said(staff)) == (403, WORDS["alert_second_needed"]["en"])
    assert listed(look(desk, "/alerts?quiet=proposed", "zhou")) == [alert_id]
    assert "1 alert waits for a second person" in look(desk, "/alerts", "zhou").text
    assert 'value="confirm"' in look(desk, f"/alerts/{alert_id}", "zhou").text
    assert decide(desk, alert_id, "confirm", "zhou").headers["location"] == f"/alerts/{alert_id}?done=confirm"
    assert [kind for kind, _, stands in decisions(world, alert_id) if stands] == ["acceptance"]
    told = text_of(look(desk, f"/alerts/{alert_id}?done=confirm", "kan"))
    assert "Accepted: proposed by wang, confirmed by zhou." in told
    assert decide(desk, alert_id, "take-back", decision="acceptance", note="协议终止").status_code == 303
    assert all(not stands for *_, stands in decisions(world, alert_id))


def test_an_act_that_there_is_not_is_refused(desk: Site, world: World) -> None:
    alert_id = id_of(world, 0)
    assert decide(desk, alert_id, "delete").status_code == 422
    assert decide(desk, alert_id, "take-back", decision="nonsense", note="x").status_code == 422
    assert decide(desk, alert_id, "take-back", decision=DecisionKind.SNOOZE.value, note="x").status_code == 409


def test_the_page_says_who_heard_and_why_others_did_not(desk: Site, world: World) -> None:
    entry = raise_(world, 5, channels=CHANNELS)
    with world.database.write() as session:
        run(session, "UPDATE deliveries SET state = 'delivered', settled_at = :now WHERE channel = 'log'", now=NOW)
        run(session, "UPDATE deliveries SET detail = 'waits: silenced ab12', due_at = :due WHERE channel = 'duty'",
            due=NOW + timedelta(minutes=5))
    text = text_of(look(desk, f"/alerts/{entry.alert_id}"))
    assert "log delivered no. 8 reopened · 10:30 it is asked for" in text
    assert "duty waits no. 8 reopened silenced · silence ab12 looked at again 10:35" in text
    with world.database.write() as session:
        run(session, "DELETE FROM deliveries WHERE channel = 'duty'")
        run(session, "INSERT INTO withheld_deliveries (delivery_id, channel, seq, reason, held_by, withheld_at)"
                     " VALUES ('evt_8_duty', 'duty', 8, 'storm', '', :now)", now=NOW)
    assert "duty not sent no. 8 reopened · 10:30 too many at once" in text_of(look(desk, f"/alerts/{entry.alert_id}"))


def test_a_silence_in_force_is_named_on_the_alert_that_it_hides(desk: Site, world: World) -> None:
    made = Silence(
        silence_id="abcd1234", matchers={"rule": "floor"}, author="user:li", reason="系统演练", starts_at=NOW,
        ends_at=NOW + timedelta(hours=4),
    )
    with world.database.write() as session:
        silence_records.add(session, made, now=NOW)
    assert "The silence abcd1234 holds calls back until 14:30" in text_of(look(desk, f"/alerts/{id_of(world, 2)}"))
    assert "abcd1234" not in look(desk, f"/alerts/{id_of(world, 0)}").text


def test_what_was_given_up_is_sent_again_from_the_alert(desk: Site, world: World) -> None:
    entry = raise_(world, 5, channels=CHANNELS)
    give_up(world, "log")
    page = look(desk, f"/alerts/{entry.alert_id}").text
    assert "gave up after 24 attempts" in page
    answer = send(desk, "/deliveries/resend", delivery="evt_8_log", alert=entry.alert_id, once="f")
    assert answer.headers["location"] == f"/alerts/{entry.alert_id}?done=resent"
    assert states(world) == {"evt_8_duty": "due", "evt_8_log": "due"}


def give_up(world: World, channel: str) -> None:
    with world.database.write() as session:
        run(session, "UPDATE deliveries SET state = 'dead', attempts = 24, settled_at = :now,"
                     " detail = 'gave up after 24 attempts: 503' WHERE channel = :channel", now=NOW, channel=channel)


def states(world: World) -> dict[str, str]:
    with world.database.read() as session:
        return dict(tuple(row) for row in run(session, "SELECT delivery_id, state FROM deliveries ORDER BY 1"))


# silences


def silence(site: Site, who: str = "li", do: str = "make", **fields: str) -> httpx.Response:
    return send(site, "/silences", who, do=do, **{"rule": "floor", "reason": "系统演练", "for_": "4h", **fields})


def kept(world: World) -> list[Silence]:
    with world.database.read() as session:
        return [one.silence for one in silence_records.silences(session)]


def test_a_silence_is_looked_at_before_it_is_made(desk: Site, world: World) -> None:
    tried = silence(desk, do="preview")
    assert (tried.status_code, kept(world)) == (200, [])
    text = text_of(tried)
    assert "Nobody would be called about 2 open alerts." in text
    assert "2 that fit are red and still called about." in text
    assert NAMES[2] in text
    assert 'value="make"' in tried.text
    assert 'value="make"' not in look(desk, "/silences").text
    made = silence(desk, once="f")
    assert silence(desk, once="f").headers["location"] == made.headers["location"]
    [found] = kept(world)
    assert (found.author, found.ends_at, found.red) == ("user:li", NOW + timedelta(hours=4), False)
    assert made.headers["location"] == f"/silences?done=made#silence-{found.silence_id}"
    shown = text_of(look(desk, "/silences?done=made", "kan"))
    assert "The silence is in force." in shown
    assert "hides 2 open alerts" in shown
    assert send(desk, f"/silences/{found.silence_id}/end", "wang").status_code == 303
    assert "ended early by wang" in text_of(look(desk, "/silences"))


def test_a_silence_of_red_takes_two(desk: Site, world: World) -> None:
    assert silence(desk, "wang", red="yes").headers["location"].startswith("/silences?done=proposed")
    [found] = kept(world)
    path = f"/silences/{found.silence_id}/confirm"
    assert "would hide 4 open alerts" in text_of(look(desk, "/silences"))
    assert "You proposed this yourself" in text_of(look(desk, "/silences", "wang"))
    assert path not in look(desk, "/silences", "wang").text
    own = send(desk, path, "wang")
    assert (own.status_code, said(own)) == (409, WORDS["silence_own_proposal"]["en"])
    assert said(send(desk, path, "li")) == WORDS["silence_second_needed"]["en"]
    assert path in look(desk, "/silences", "zhou").text
    assert send(desk, path, "zhou").status_code == 303
    assert said(send(desk, path, "boss")).startswith("The silence waits for nobody")
    assert [one.confirmed_by for one in kept(world)] == ["user:zhou"]


@pytest.mark.parametrize(("fields", "sentence"), [
    ({"rule": ""}, WORDS["silence_no_matcher"]["en"]), ({"reason": " "}, "Say why."),
    ({"reason": "x" * 501}, "The reason has at most 500 characters."),
    ({"until": "2027-01-01T00:00"}, "It must end ahead, and within 31 days."),
    ({"until": "2026-11-01T00:00"}, "It must end ahead, and within 31 days."),
])
def test_a_silence_that_cannot_be_is_refused_and_the_form_stays_filled(
    desk: Site, world: World, fields: dict[str, str], sentence: str,
) -> None:
    answer = silence(desk, bank="自贡银行" if fields.get("rule") != "" else "", **fields)
    assert (answer.status_code, said(answer), kept(world)) == (422, sentence, [])
    assert (re.search(r'id="m-bank"[^>]* value="自贡银行"', answer.text) is None) == (fields.get("rule") == "")


def test_a_silence_that_there_is_not_is_told_so(desk: Site) -> None:
    assert send(desk, "/silences/nothing/end").status_code == 404
    assert silence(desk, "far").status_code == 403


# deliveries


def test_the_log_shows_every_channel_and_sends_again_once(desk: Site, world: World) -> None:
    for number in (3, 4, 5):
        raise_(world, number, rule="large_outflow", channels=CHANNELS)
    give_up(world, "log")
    text = text_of(look(desk, "/deliveries"))
    assert re.search(r"duty 3 .*?log 0 3 last 10:30", text)
    assert len(re.findall(r'name="delivery"', look(desk, "/deliveries?state=dead").text)) == 3
    assert "None fits" in look(desk, "/deliveries?state=delivered").text
    chosen: dict[str, str | list[str]] = {"delivery": ["evt_8_log"], "once": "f-1"}
    first = send(desk, "/deliveries/resend", "li", **chosen)
    assert send(desk, "/deliveries/resend", "li", **chosen).headers["location"] == first.headers["location"]
    assert first.headers["location"] == "/deliveries?done=1"
    late = send(desk, "/deliveries/resend", once="f-2", delivery=["evt_8_log"])
    assert (late.status_code, said(late)) == (409, WORDS["resend_not_dead"]["en"])
    every = send(desk, "/deliveries/resend", channel="log")
    assert every.headers["location"] == "/deliveries?channel=log&done=2"
    assert set(states(world).values()) == {"due"}
    assert said(send(desk, "/deliveries/resend", channel="gone")) == WORDS["resend_no_channel"]["en"]
    assert said(send(desk, "/deliveries/resend")) == WORDS["resend_none_chosen"]["en"]
    with world.database.read() as session:
        assert [one.actor for one in audit.records(session) if one.kind == "delivery.resent"] == ["user:li"] * 2
        assert audit.verify(session).whole


@pytest.mark.parametrize("query", ["sate=due", "state=lost", "after=nonsense"])
def test_a_filter_of_the_log_that_cannot_be_is_refused(desk: Site, query: str) -> None:
    assert look(desk, f"/deliveries?{query}").status_code == 400


# subscriptions


def test_the_addresses_carry_what_was_chosen(desk: Site) -> None:
    text = look(desk, "/subscriptions?severity=orange&district=5103").text.replace("&amp;", "&")
    for path in ("/feeds/alerts.atom?lang=en&", "/feeds/alerts.json?lang=en&", "/feeds/alerts/events?"):
        assert f"{HOME}{path}severity=orange&district=5103<" in text
    wrong = look(desk, "/subscriptions?uscc=12")
    assert (wrong.status_code, said(wrong)) == (400, WORDS["feed_filter_wrong"]["en"])
    assert look(desk, "/subscriptions?nonsense=1").status_code == 400


def test_a_key_is_made_once_shown_once_and_opens_its_part_of_the_feed(desk: Site, world: World) -> None:
    asked = {"name": "市教育局", "lasts": "90", "uscc": uscc(0), "once": "k-1"}
    first, again = (send(desk, "/subscriptions/keys", "boss", **asked) for _ in range(2))
    found = re.search(r'<code class="secret">(emk_[\w-]+)</code>', first.text)
    assert found is not None
    assert found[1] in again.text
    with world.database.read() as session:
        [key] = [one for one in keys.known(session) if one.name == "市教育局"]
    assert (key.scopes, key.only.asked, key.expires_at) == (
        frozenset({"feed"}), {"uscc": uscc(0)}, NOW + timedelta(days=90)
    )
    world.secrets["city"] = found[1]
    items = desk.get("/feeds/alerts.json", key="city").json()["items"]
    assert {one["_escrow"]["uscc"] for one in items} == {uscc(0)}
    page = look(desk, "/subscriptions", "boss").text
    assert found[1] not in page
    assert send(desk, f"/subscriptions/keys/{key.key_id}/revoke", "boss").status_code == 303
    assert send(desk, f"/subscriptions/keys/{key.key_id}/revoke", "boss").status_code == 303
    assert desk.get("/feeds/alerts.json", key="city").status_code == 401


def test_keys_are_for_administrators_of_everything(desk: Site, world: World) -> None:
    for who in ("li", "wang", "far"):
        assert "/subscriptions/keys" not in look(desk, "/subscriptions", who).text
        assert send(desk, "/subscriptions/keys", who, name="x", lasts="30").status_code == 403
    with world.database.read() as session:
        [reader] = [one for one in keys.known(session) if one.name == "reader"]
    # What is no subscriber's key is not revoked here.
    assert send(desk, f"/subscriptions/keys/{reader.key_id}/revoke", "boss").status_code == 404
    for fields in ({"name": ""}, {"name": "x" * 61}, {"lasts": "5000"}, {"uscc": "12"}):
        assert send(desk, "/subscriptions/keys", "boss", **{"name": "x", "lasts": "30", **fields}).status_code == 422
