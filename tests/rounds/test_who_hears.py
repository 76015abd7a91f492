"""What is owed is sent, waits or is withheld by what is stored, on both databases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from alerts.alert import Alert, AlertKey, Clear, DecisionKind, FeedEntry, Severity, Signal, alert_id_of
from alerts.channel import Owed
from alerts.decisions import Acknowledge, Confirm, Propose, Snooze, TakeBack
from alerts.delivery import NotSent, Sent
from alerts.routing import STORM_RULE, SilenceState, Subscriber
from alerts.testing import RecordingChannel, clear_of, key_of, signal_of
from escrow_monitor.actions import silence_alerts
from escrow_monitor.actions.silence_alerts import SilenceRefused, UnknownSilence
from escrow_monitor.clock import ZONE
from escrow_monitor.domain import happenings
from escrow_monitor.domain.calendar import calendar_for
from escrow_monitor.domain.institutions import Institution, InstitutionStatus
from escrow_monitor.domain.working_time import working_time_after
from escrow_monitor.errors import ConfigurationError, UsageError
from escrow_monitor.records.accounts import save_institutions
from escrow_monitor.records.alerts import deliveries
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.alerts.routes import HeldBack, held_back
from escrow_monitor.records.alerts.silences import silences
from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence import audit
from escrow_monitor.rounds.deliver_alerts import deliver_alerts
from escrow_monitor.rounds.who_hears import Routing, routing_of
from escrow_monitor.settings import load_settings
from escrow_monitor.settings.channels import Together

NOW = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)  # a Friday, 10:00 in Shanghai
MINUTE = timedelta(minutes=1)
LABELS = {"uscc": "91510300MA62000000", "bank": "northbank", "district": "510302", "account_no": "62170001"}
BOTH = ("office", "mirror")


class House:
    """A database, a subscriber that listens on `office`, and a channel `mirror` that is told everything."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = NOW
        self.subscriber = Subscriber(name="office")
        self.office, self.mirror = RecordingChannel("office", self.answer), RecordingChannel("mirror")
        self.fails = False
        self.storm_above = 200

    def answer(self, entry: FeedEntry) -> Sent | NotSent:
        return NotSent(detail="down", permanent=False) if self.fails else Sent(detail="taken")

    def say(self, *words: Signal | Clear, minutes: int = 0) -> None:
        self.now += minutes * MINUTE
        said = [replace(word, as_of=self.now) for word in words]
        with self.database.write() as session:
            RecordsAlertBook(session, channels=BOTH).advance(
                signals=[word for word in said if isinstance(word, Signal)],
                clears=[word for word in said if isinstance(word, Clear)], now=self.now, cause="round:test",
            )

    def act(self, key: AlertKey, *acts: object) -> None:
        with self.database.write() as session:
            for act in acts:
                RecordsAlertBook(session, channels=BOTH).decide(alert_id_of(key), act, now=self.now)  # type: ignore[arg-type]

    def heard(self, minutes: int = 0, channel: RecordingChannel | None = None) -> list[str]:
        """What the subscriber was told by a round of deliveries that many minutes later: rule and transition."""
        self.now += minutes * MINUTE
        asked = channel or self.office
        before = len(asked.sent)
        routing = None if asked is self.mirror else Routing(
            subscriber=self.subscriber, storm_above=self.storm_above, channels=BOTH,
            working_time_after=partial(working_time_after, calendar=calendar_for("CN"), zone=ZONE),
        )
        deliver_alerts(
            database=self.database, channels={asked.name: asked}, channel=asked.name, claimant="me",
            scheduled_at=self.now, now_of=lambda: self.now, watch=lambda **told: None, routing=routing,
        )
        return [f"{entry.key.rule} {entry.transition}" for _, entry in asked.sent[before:]]

    def held(self, key: AlertKey) -> list[tuple[str, bool]]:
        """Why and whether finally the subscriber was not told of what was published of an alert."""
        with self.database.read() as session:
            found: list[HeldBack] = held_back(session, alert_id_of(key))
        return [(one.reason, one.until is None) for one in found]


@pytest.fixture
def house(database: Database) -> House:
    return House(database)


def seen(rule: str, severity: Severity = Severity.ORANGE, *, labels: Mapping[str, str] = LABELS) -> Signal:
    return signal_of(key_of(rule=rule), severity, labels=labels)


@pytest.mark.parametrize("order", [("bank_silent", "freshness"), ("freshness", "bank_silent")])
def test_a_silent_bank_speaks_for_its_accounts_in_whatever_order_they_came(
    house: House, order: tuple[str, str]
) -> None:
    for rule in order:
        house.say(seen(rule, labels={"bank": "northbank"} if rule == "bank_silent" else LABELS))
    assert house.heard() == ["bank_silent opened"]
    assert house.held(key_of(rule="freshness")) == [("inhibited", False)]
    assert house.heard(minutes=10) == []
    house.say(clear_of(key_of(rule="bank_silent")))
    assert sorted(house.heard(minutes=10)) == ["bank_silent resolved", "freshness opened"]
    assert sorted(house.heard(channel=house.mirror)) == [
        "bank_silent opened", "bank_silent resolved", "freshness opened"
    ]


def test_what_ended_while_it_waited_is_never_told_and_its_end_neither(house: House) -> None:
    house.say(seen("bank_silent"), seen("freshness"))
    assert house.heard() == ["bank_silent opened"]
    house.say(clear_of(key_of(rule="freshness")), minutes=2)
    assert house.heard(minutes=10) == []
    assert house.held(key_of(rule="freshness")) == [("ended_meanwhile", True), ("not_heard_of", True)]
    house.say(seen("freshness"), clear_of(key_of(rule="bank_silent")), minutes=2)
    assert house.heard(minutes=10) == ["freshness reopened", "bank_silent resolved"]
    house.say(clear_of(key_of(rule="freshness")))
    assert house.heard() == ["freshness resolved"]


def test_a_closing_institution_is_called_about_for_what_is_red_only(house: House) -> None:
    closing = Institution(uscc=LABELS["uscc"], name="晨光艺术培训学校", status=InstitutionStatus.CLOSING)
    with house.database.write() as session:
        save_institutions(session, [closing], now=NOW)
    house.say(seen("floor", Severity.RED), seen("large_outflow"))
    assert house.heard() == ["floor opened"]
    assert house.held(key_of(rule="large_outflow")) == [("inhibited", False)]
    house.say(seen("large_outflow", Severity.RED), minutes=1)
    assert house.heard(minutes=10) == ["large_outflow escalated"]
    assert house.held(key_of(rule="large_outflow")) == [("newer_call", True)]


def test_of_a_storm_one_alert_tells_and_the_feed_carries_all(house: House) -> None:
    house.storm_above = 5
    house.say(*(signal_of(key_of(f"a{number}"), labels=LABELS) for number in range(6)))
    assert house.heard() == [f"{STORM_RULE} opened"]
    assert house.heard() == []
    assert len(house.heard(channel=house.mirror)) == 7
    with house.database.read() as session:
        entries = RecordsAlertBook(session).entries(after=0, limit=99)
        assert audit.verify(session).whole
    assert [entry.seq for entry in entries] == [*range(1, 8)]
    assert (entries[-1].figures["count"], entries[-1].figures["last_seq"]) == (6, 6)
    assert house.held(key_of("a3")) == [("storm", True)]
    house.say(signal_of(key_of("b"), labels=LABELS), minutes=1)
    assert house.heard() == ["floor opened"]
    assert STORM_RULE == happenings.STORM_RULE
    assert happenings.has_happened(STORM_RULE, NOW.isoformat(), today=NOW.date())


def test_a_silence_holds_back_until_it_is_ended(house: House) -> None:
    asked = silence_alerts.silence_of(
        matchers={"bank": "northbank"}, author="cli:li", reason="the bank moves house", starts_at=None, now=house.now,
        ends_at=house.now + 600 * MINUTE,
    )
    house.say(seen("floor"), seen("feed_gap", Severity.RED))
    with house.database.write() as session:
        preview = silence_alerts.preview(session, asked)
        silence_alerts.make(session, asked, now=house.now)
    assert [alert.key.rule for alert in preview.hidden] == ["floor"]
    assert [alert.key.rule for alert in preview.spared] == ["feed_gap"]
    assert house.heard() == ["feed_gap opened"]
    assert house.held(key_of()) == [("silenced", False)]
    with house.database.write() as session:
        silence_alerts.end(session, asked.silence_id, by="cli:wang", now=house.now + 10 * MINUTE)
    assert house.heard(minutes=11) == ["floor opened"]
    with house.database.write() as session:
        with pytest.raises(SilenceRefused, match="has ended"):
            silence_alerts.end(session, asked.silence_id, by="cli:wang", now=house.now)
        with pytest.raises(UnknownSilence, match="no silence"):
            silence_alerts.end(session, "nothing", by="cli:wang", now=house.now)
        assert [kept.ended_by for kept in silences(session)] == ["cli:wang"]
        assert silences(session, at=house.now) == []
        kinds = [record.kind for record in audit.records(session)]
    assert [kind for kind in kinds if kind.startswith("silence")] == ["silence.made", "silence.ended"]


def test_red_is_silenced_by_two_people_only_and_only_while_the_silence_lasts(house: House) -> None:
    asked = silence_alerts.silence_of(
        matchers={"bank": "northbank"}, author="cli:li", reason="a drill", starts_at=None, now=house.now, red=True,
        ends_at=house.now + 30 * MINUTE,
    )
    house.say(seen("floor"), seen("feed_gap", Severity.RED))
    with house.database.write() as session:
        assert [alert.key.rule for alert in silence_alerts.preview(session, asked).hidden] == ["feed_gap", "floor"]
        silence_alerts.make(session, asked, now=house.now)
        for same in ("cli:li", "key:Li "):
            with pytest.raises(SilenceRefused, match="cannot confirm it"):
                silence_alerts.confirm(session, asked.silence_id, by=same, now=house.now)
    assert sorted(house.heard()) == ["feed_gap opened", "floor opened"], "a proposal hides nothing, not even orange"
    house.say(seen("floor", Severity.RED), minutes=1)
    with house.database.write() as session:
        kept = silence_alerts.confirm(session, asked.silence_id, by="key:wang", now=house.now)
        with pytest.raises(SilenceRefused, match="waits for nobody"):
            silence_alerts.confirm(session, asked.silence_id, by="key:zhao", now=house.now)
    assert (kept.silence.confirmed_by, kept.confirmed_at) == ("key:wang", house.now)
    assert house.heard(minutes=6) == []
    assert house.held(key_of())[-1] == ("silenced", False)
    assert house.heard(minutes=30) == ["floor escalated"]
    assert [one.split()[1] for one in house.heard(channel=house.mirror)] == ["opened", "opened", "escalated"]
    with house.database.read() as session:
        kinds = [record.kind for record in audit.records(session)]
        assert audit.verify(session).whole
    assert [kind for kind in kinds if kind.startswith("silence")] == ["silence.proposed", "silence.confirmed"]


def test_a_proposal_that_nobody_confirmed_in_its_time_is_over(house: House) -> None:
    asked = silence_alerts.silence_of(
        matchers={"bank": "northbank"}, author="cli:li", reason="a drill", starts_at=None, now=house.now, red=True,
        ends_at=house.now + 30 * MINUTE,
    )
    with house.database.write() as session:
        silence_alerts.make(session, asked, now=house.now)
        with pytest.raises(SilenceRefused, match="has ended"):
            silence_alerts.confirm(session, asked.silence_id, by="cli:wang", now=house.now + 30 * MINUTE)
    assert asked.state(house.now) is SilenceState.PROPOSED
    assert asked.state(house.now + 30 * MINUTE) is SilenceState.ENDED


class Forgetful(RecordingChannel):
    """A channel whose far side forgets: it keeps what is said again."""

    def __init__(self) -> None:
        super().__init__("office")
        self.said: list[list[str]] = []

    def renew_in(self) -> float:
        return 0.0

    def renew(self, open_alerts: Sequence[Alert]) -> Sent:
        self.said.append(sorted(alert.key.rule for alert in open_alerts))
        return Sent(detail="")


def test_what_is_said_again_is_what_the_channel_hears_of(house: House) -> None:
    house.office = forgetful = Forgetful()
    house.subscriber = replace(house.subscriber, severity_min=Severity.ORANGE)
    with house.database.write() as session:  # before there was a channel: it is owed to nobody
        RecordsAlertBook(session).advance(
            signals=[replace(seen("release_ahead"), as_of=NOW), replace(seen("fee_cap", Severity.YELLOW), as_of=NOW)],
            clears=[], now=NOW, cause="test",
        )
    house.say(
        seen("floor"), seen("outflow_cap", Severity.YELLOW), seen("bank_silent", labels={"bank": "northbank"}),
        seen("freshness"), seen("refund_overdue"), minutes=1,
    )
    house.act(key_of(rule="refund_overdue"), Snooze(by="key:li", note="tomorrow", until=NOW + 60 * MINUTE))
    house.heard()
    assert forgetful.said.pop() == ["bank_silent", "floor", "release_ahead"]
    house.say(seen("floor", Severity.YELLOW), minutes=1)
    house.heard()
    assert forgetful.said.pop() == ["bank_silent", "floor", "release_ahead"], "what eased is open still"
    asked = silence_alerts.silence_of(
        matchers={"rule": "floor"}, author="cli:li", reason="known", starts_at=None, now=house.now,
        ends_at=house.now + 20 * MINUTE,
    )
    with house.database.write() as session:
        silence_alerts.make(session, asked, now=house.now)
    house.heard(minutes=1)
    assert forgetful.said.pop() == ["bank_silent", "release_ahead"]
    house.say(clear_of(key_of(rule="bank_silent")), minutes=30)
    house.heard()
    assert forgetful.said.pop() == ["floor", "freshness", "release_ahead"]
    house.act(key_of(rule="floor"), Acknowledge(by="key:li", note="", until=house.now + 60 * MINUTE))
    house.heard()
    assert "floor" in forgetful.said.pop(), "somebody sees to it: it is not gone"


def test_a_storm_does_not_come_in_by_what_is_said_again(house: House) -> None:
    house.office, house.storm_above = Forgetful(), 2
    house.say(*(signal_of(key_of(f"a{number}"), labels=LABELS) for number in range(3)))
    house.heard()
    house.heard()
    assert house.office.said[-1] == [STORM_RULE]  # type: ignore[attr-defined]


class Digests(RecordingChannel):
    """A channel that puts several into one message."""

    def __init__(self) -> None:
        super().__init__("mirror")
        self.letters: list[list[str]] = []

    def fits(self, owed: Sequence[Owed]) -> int:
        return len(owed)

    def send(self, entry: FeedEntry, *, message_id: str) -> Sent | NotSent:
        return self.send_digest([Owed(entry, message_id)])

    def send_digest(self, owed: Sequence[Owed]) -> Sent | NotSent:
        self.letters.append([message_id for _, message_id in owed])
        return Sent(detail="")


@pytest.mark.parametrize(("together", "letters"), [
    ("related", [[1, 3], [2], [4, 5, 6]]), ("everything", [[1, 2, 3, 4, 5, 6]]),
    ("nothing", [[1], [2], [3], [4], [5], [6]]),
])
def test_what_belongs_together_is_one_message_and_each_has_its_own_delivery(
    house: House, together: Together, letters: list[list[int]]
) -> None:
    house.mirror = mirror = Digests()

    def of(rule: str, uscc: str, subject: str) -> Signal:
        return signal_of(key_of(subject, rule=rule), labels={"uscc": uscc, "bank": "northbank"})

    house.say(
        of("floor", "one", "a"), of("floor", "two", "b"), of("refund_overdue", "one", "c"),
        of("large_outflow", "one", "d"), of("large_outflow", "two", "e"), of("large_outflow", "three", "f"),
    )
    deliver_alerts(
        database=house.database, channels={"mirror": mirror}, channel="mirror", claimant="me", scheduled_at=NOW,
        now_of=lambda: NOW, watch=lambda **told: None, together=together,
    )
    assert mirror.letters == [[f"evt_{seq}_mirror" for seq in letter] for letter in letters]
    with house.database.read() as session:
        assert deliveries.counts(session)["mirror"].delivered == 6
        assert [len(deliveries.attempts(session, f"evt_{seq}_mirror")) for seq in range(1, 7)] == [1] * 6


@pytest.mark.parametrize(("changes", "told"), [
    ({"matchers": {}}, "needs a matcher"), ({"matchers": {"name": "x"}}, "matches nothing"),
    ({"matchers": {"bank": ""}}, "matches nothing"), ({"reason": " "}, "needs a reason"), ({"author": ""}, "who makes"),
    ({"ends_at": NOW}, "ends ahead"), ({"ends_at": NOW + timedelta(days=32)}, "31 days"),
    ({"starts_at": NOW + timedelta(days=2)}, "ends ahead"),
])
def test_a_silence_that_cannot_be_is_refused(changes: dict[str, object], told: str) -> None:
    asked: dict[str, object] = {
        "matchers": {"bank": "northbank"}, "author": "li", "reason": "r", "starts_at": None, "now": NOW,
        "ends_at": NOW + timedelta(days=1),
    }
    with pytest.raises(UsageError, match=told):
        silence_alerts.silence_of(**{**asked, **changes})  # type: ignore[arg-type]


def test_the_next_rung_hears_only_of_what_nobody_acknowledged(house: House) -> None:
    house.subscriber = replace(house.subscriber, after=60 * MINUTE)
    house.say(seen("floor"), seen("feed_gap"))
    assert house.heard() == []
    assert house.held(key_of()) == [("on_the_ladder", False)]
    house.act(key_of(), Acknowledge(by="key:li", note="", until=NOW + 600 * MINUTE))
    assert house.heard(minutes=61) == ["feed_gap opened"]
    assert house.held(key_of()) == [("acknowledged", True), ("not_heard_of", True)]


def test_a_snooze_that_is_over_is_told_once(house: House) -> None:
    house.say(seen("floor"))
    house.act(key_of(), Snooze(by="key:li", note="tomorrow", until=NOW + 30 * MINUTE))
    assert house.heard() == []
    house.now += 30 * MINUTE
    with house.database.write() as session:
        RecordsAlertBook(session, channels=BOTH).run_out(now=house.now)
    assert house.heard(minutes=5) == ["floor resumed"]
    assert ("newer_call", True) in house.held(key_of())


def test_what_was_accepted_waits_until_it_is_taken_back(house: House) -> None:
    house.say(seen("floor"))
    house.act(key_of(), Propose(by="key:li", note="agreed", ends=False), Confirm(by="key:wang"))
    assert house.heard() == []
    house.act(key_of(), TakeBack(by="key:wang", note="no", kind=DecisionKind.ACCEPTANCE))
    assert house.heard(minutes=6) == ["floor resumed"]


def test_what_was_tried_is_tried_on_and_its_end_is_told(house: House) -> None:
    house.say(seen("floor"))
    house.fails = True
    assert house.heard() == ["floor opened"]
    house.say(clear_of(key_of()), minutes=1)
    house.fails = False
    assert house.heard(minutes=1) == ["floor opened", "floor resolved"]


def test_a_channel_that_is_down_is_not_tried_group_by_group(house: House) -> None:
    house.say(*(
        signal_of(key_of(f"a{number}"), labels={"uscc": f"u{number}", "bank": f"b{number}"}) for number in range(20)
    ))
    house.subscriber = replace(house.subscriber, rules=())
    house.fails = True
    assert len(house.heard()) == 3
    with house.database.read() as session:
        assert deliveries.counts(session)["office"].due == 20


def test_working_time_stands_still_at_night_and_on_days_off() -> None:
    calendar = calendar_for("CN")

    def after(at: str, hours: int) -> str:
        return working_time_after(
            datetime.fromisoformat(at), timedelta(hours=hours), calendar=calendar, zone=ZONE
        ).isoformat()

    assert after("2026-11-20T10:00:00+08:00", 4) == "2026-11-20T14:00:00+08:00"
    assert after("2026-11-20T17:00:00+08:00", 4) == "2026-11-23T12:00:00+08:00"
    assert after("2026-11-20T23:00:00+08:00", 1) == "2026-11-23T10:00:00+08:00"
    assert after("2026-11-21T12:00:00+08:00", 9) == "2026-11-23T18:00:00+08:00"
    assert after("2026-11-20T09:00:00+08:00", 10) == "2026-11-23T10:00:00+08:00"
    assert after("2090-01-01T09:00:00+08:00", 10) == "2090-01-02T10:00:00+08:00"


def test_the_configuration_says_who_listens(tmp_path: Path) -> None:
    def settings(hears: str) -> Routing | None:
        (tmp_path / "c.toml").write_text(
            '[channels.hook]\ntype = "webhook"\nurl = "https://hook.example/x"\n'
            'secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]\n'
            + hears, encoding="utf-8",
        )
        return routing_of(load_settings(tmp_path / "c.toml", {}), "hook")

    assert settings("") is None
    routing = settings(
        '[channels.hook.hears]\nseverity = "orange"\ndistricts = ["51"]\nquiet_from = "22:00"\nquiet_to = "07:30"\n'
        "after_working_minutes = 120\n"
    )
    assert routing is not None
    subscriber = routing.subscriber
    assert (subscriber.severity_min, subscriber.districts, subscriber.after) == (
        Severity.ORANGE, ("51",), timedelta(hours=2)
    )
    assert subscriber.quiet is not None
    assert (subscriber.quiet.wakes, routing.storm_above, routing.channels) == (Severity.RED, 200, ("hook",))
    for wrong in ('quiet_from = "22:00"', 'severity = "purple"', 'districts = ["x"]', "nobody = 1"):
        with pytest.raises(ConfigurationError):
            settings(f"[channels.hook.hears]\n{wrong}\n")


HOOKS = "".join(
    f"""[channels.{name}]
type = "webhook"
url = "https://hook.example/x"
secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
""" for name in ("duty", "head", "bureau")
) + '[channels.log]\ntype = "log"\n[channels.bureau.hears]\nseverity = "orange"\nafter_working_minutes = 5\n'
LADDER = """
[alerts.office_hours]
opens = "08:30"
closes = "17:30"
[[alerts.ladder]]
name = "科长"
after_minutes = 60
channels = ["duty"]
[[alerts.ladder]]
name = "分管领导"
after_minutes = 15
counts = "always"
severity = "red"
channels = ["head"]
"""


def test_the_ladder_is_configured_by_rung(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(HOOKS + LADDER, encoding="utf-8")
    settings = load_settings(tmp_path / "c.toml", {})
    duty, head, bureau = (routing_of(settings, name) for name in ("duty", "head", "bureau"))
    assert duty is not None
    assert head is not None
    assert bureau is not None
    assert (duty.subscriber.after, duty.subscriber.rung) == (60 * MINUTE, "科长")
    assert (head.subscriber.after, head.subscriber.severity_min) == (15 * MINUTE, Severity.RED)
    assert (bureau.subscriber.after, bureau.subscriber.severity_min) == (5 * MINUTE, Severity.ORANGE)
    friday = datetime(2026, 11, 20, 17, 0, tzinfo=ZONE)
    assert duty.working_time_after(friday, 60 * MINUTE) == datetime(2026, 11, 23, 9, 0, tzinfo=ZONE)
    assert head.working_time_after(friday, 60 * MINUTE) == friday + 60 * MINUTE


def test_a_rung_that_is_not_reached_says_which_it_is(house: House) -> None:
    house.subscriber = replace(house.subscriber, after=60 * MINUTE, rung="科长")
    house.say(seen("floor"))
    assert house.heard() == []
    with house.database.read() as session:
        assert [(one.reason, one.by) for one in held_back(session, alert_id_of(key_of()))] == [
            ("on_the_ladder", "科长")
        ]


@pytest.mark.parametrize(("wrong", "told"), [
    ('[[alerts.ladder]]\nname = "a"\nafter_minutes = 5\nchannels = ["nobody"]\n', "no channel"),
    ('[[alerts.ladder]]\nname = "a"\nafter_minutes = 5\nchannels = ["log"]\n', "calls nobody"),
    ('[[alerts.ladder]]\nname = "a"\nafter_minutes = 5\nchannels = ["bureau"]\n', "after_working_minutes out"),
    ('[[alerts.ladder]]\nname = "a"\nafter_minutes = 0\nchannels = ["duty"]\n', "after_minutes"),
    ('[[alerts.ladder]]\nname = "a"\nafter_minutes = 5\nchannels = []\n', "channels"),
    (LADDER + '[[alerts.ladder]]\nname = "b"\nafter_minutes = 90\nchannels = ["duty"]\n', "another rung"),
    (LADDER + '[[alerts.ladder]]\nname = "b"\nafter_minutes = 60\nchannels = ["bureau"]\n', "later than"),
    (LADDER + '[[alerts.ladder]]\nname = "科长"\nafter_minutes = 90\nchannels = ["bureau"]\n', "two rungs"),
    ('[[alerts.ladder]]\nname = "a"\nafter_minuets = 5\nchannels = ["duty"]\n', "after_minutes"),
    ('[alerts.office_hours]\nopens = "18:00"\ncloses = "09:00"\n', "open before they close"),
    ('[alerts.office_hours]\ncalendar = "XX"\n', "not a calendar"),
    ('[alerts.office_hours]\nzone = "Mars/Olympus"\n', "time zone"),
])
def test_a_ladder_that_nobody_can_mean_is_refused(tmp_path: Path, wrong: str, told: str) -> None:
    (tmp_path / "c.toml").write_text(HOOKS + wrong, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=told):
        load_settings(tmp_path / "c.toml", {})
