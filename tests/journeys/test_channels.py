"""The channels as an operator meets them: configured in a file, listed, looked at, tested, and fed by a round."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme
from journey_command import Said, here

from alerts.alert import AlertKey, Clear, Signal
from alerts.testing import signal_of
from escrow_monitor.clock import FixedClock
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.settings import load_settings
from escrow_monitor.wiring import App, assembled
from tests.alerts.platforms import Dingtalk, Feishu, Reply, Wall, Wecom, nobody, platform

# Apprise loads every service that it knows, and one of them what Python is about to leave out.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

NOW = datetime(2026, 3, 23, 1, 15, tzinfo=UTC)
"""In the past: what is owed is due by the machine's own clock."""
DEPLOY = Path(__file__).parents[2] / "deploy"


class RealWall(Wall):
    """The machine's own clock: a command signs by it."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class Town:
    """A folder with a configuration, and far sides on loopback."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack = folder, stack
        self.wecom, self.dingtalk, self.feishu = Wecom(wall=RealWall()), Dingtalk(wall=RealWall()), Feishu()
        self.feishu.wall = RealWall()

    def configure(self, text: str) -> None:
        (self.folder / "escrow-monitor.toml").write_text(text, encoding="utf-8")

    def robots(self) -> None:
        """Three robots, with all that is secret in files or in the environment's place."""
        ports = [self.stack.enter_context(platform(side)) for side in (self.wecom, self.dingtalk, self.feishu)]
        for name, secret in {
            "duty-url": f"http://127.0.0.1:{ports[0]}/cgi-bin/webhook/send?key={self.wecom.key}\n",
            "ding-url": f"http://127.0.0.1:{ports[1]}/robot/send?access_token={self.dingtalk.token}\n",
            "ding-secret": f"{self.dingtalk.secret}\n",
        }.items():
            (self.folder / name).write_text(secret)
        self.configure(f"""\
[channels.duty]
type = "wecom"
url_file = "duty-url"
allow_private = true

[channels.ding]
type = "dingtalk"
url_file = "ding-url"
secret_file = "ding-secret"
language = "en"
allow_private = true

[channels.fei]
type = "feishu"
url = "http://127.0.0.1:{ports[2]}/open-apis/bot/v2/hook/{self.feishu.token}"
secret = "{self.feishu.secret}"
allow_private = true
""")

    def says(self, *words: object) -> Said:
        return here("--lang", "en", *words, at=self.folder)

    def secrets(self) -> list[str]:
        signing = [str(self.dingtalk.secret), str(self.feishu.secret)]
        return [self.wecom.key, self.dingtalk.token, self.feishu.token, *signing]


@pytest.fixture
def apprise() -> None:
    if importlib.util.find_spec("apprise") is None:
        if os.environ.get("CI"):
            pytest.fail("apprise is not installed: pip install escrow-monitor[apprise]")
        pytest.skip("apprise is not installed")


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with ExitStack() as stack:
        yield Town(tmp_path, stack)


def test_a_test_message_reaches_each_robot_and_no_command_shows_a_secret(town: Town) -> None:
    town.robots()
    said = [town.says("db", "upgrade").must(0), town.says("config", "check").must(0)]
    for name in ("duty", "ding", "fei"):
        said += [town.says("channels", "test", name).must(0), town.says("channels", "preview", name).must(0)]
    said += [town.says("channels", "list").must(0), town.says("config", "show").must(0), town.says("doctor")]
    assert "测试" in town.wecom.taken[0]["markdown"]["content"]
    assert "test message" in town.dingtalk.taken[0]["markdown"]["text"]
    assert len(town.feishu.taken) == 1
    shown = "".join(one.out + one.err for one in said)
    assert not [secret for secret in town.secrets() if secret in shown]


def test_a_robot_that_refuses_ends_the_test_with_3_and_its_own_words(town: Town) -> None:
    town.robots()
    town.says("db", "upgrade").must(0)
    town.wecom.says = Reply({"errcode": 93000, "errmsg": f"invalid webhook url {town.wecom.key}"})
    sentence = town.says("channels", "test", "duty").refusal(3, "for good", "errcode 93000: invalid webhook url ***")
    assert town.wecom.key not in sentence
    town.wecom.says = Reply({"errcode": 45009, "errmsg": "api freq out of limit"})
    town.says("channels", "test", "duty").refusal(3, "for now", "45009")
    town.says("channels", "test", "nobody").refusal(2, "duty, ding, fei")


@pytest.mark.usefixtures("apprise")
def test_every_kind_of_channel_can_be_looked_at_before_there_is_an_alert_and_after(town: Town) -> None:
    trustme.CA().cert_pem.write_to_path(str(town.folder / "ca.pem"))
    town.configure(f"""\
[channels.log]
type = "log"

[channels.hook]
type = "webhook"
url = "https://hook.invalid/x"
secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
ca_file = "ca.pem"

[channels.mail]
type = "email"
host = "mail.invalid"
ca_file = "ca.pem"
user = "escrow"
password = "mail-geheim"
sender = "资金监管 <alerts@escrow.example>"
recipients = ["chief@bureau.example"]

[channels.am]
type = "alertmanager"
urls = ["http://127.0.0.1:{nobody()}", "http://127.0.0.1:{nobody()}"]
token = "am-geheim"

[channels.push]
type = "apprise"
url = "json://127.0.0.1:{nobody()}/push-geheim"
""")
    town.says("db", "upgrade").must(0)
    names = [one["name"] for one in town.says("channels", "list", "--json").must(0).json()]
    assert names == ["log", "hook", "mail", "am", "push"]
    for name in names:
        said = town.says("channels", "preview", name).must(0)
        assert "invented" in said.err
        assert "99.00" in said.out
    open_alerts(town.folder, "62170001", "62170002")
    for name in names:
        assert "余额 9900 分" in town.says("channels", "preview", name).must(0).out
        said = town.says("channels", "preview", name, "--entry", 1).must(0)
        assert "geheim" not in said.out
    town.says("channels", "preview", "log", "--entry", 3).refusal(2, "no feed entry 3")
    for name in names[1:]:
        town.says("channels", "test", name).refusal(3, name)
    rows = {one["name"]: one for one in town.says("channels", "list", "--json").json()}
    assert {name: (row["host"], row["due"]) for name, row in rows.items()} == {
        "log": (None, 2), "hook": ("hook.invalid", 2), "mail": ("mail.invalid", 2), "am": ("127.0.0.1", 2),
        "push": (None, 2),
    }
    table = town.says("channels", "list").out.splitlines()
    assert table[0].split("\t")[:5] == ["name", "type", "host", "language", "due"]


def test_a_channel_that_cannot_be_made_is_listed_with_what_is_wrong_and_stops_no_other(town: Town) -> None:
    town.robots()
    (town.folder / "ding-url").unlink()
    town.says("db", "upgrade").must(0)
    rows = {one["name"]: one for one in town.says("channels", "list", "--json").must(1).json()}
    assert "channels.ding.url_file: cannot read ding-url" in rows["ding"]["fault"]
    assert rows["duty"]["fault"] is None
    open_alerts(town.folder, "62170001")
    with app_of(town.folder) as app:
        app.perform("deliver-alerts", "duty", NOW)
    assert len(town.wecom.taken) == 1


@pytest.mark.parametrize(("text", "words"), [
    ('type = "wecom"\n', ("channels.a", "set url_file")),
    ('type = "wecom"\nurl = "https://x.example/?key=geheim-key"\nurl_file = "b"\n', ("channels.a", "set url_file")),
    ('type = "wecom"\nurl = "ftp://x.example/?key=geheim-key"\n', ("channels.a", "the robot's address")),
    ('type = "wecom"\nurl_fiel = "x"\n', ("url_fiel", "did you mean url_file?")),
    ('type = "pigeon"\n', ("channels.a", "dingtalk")),
    ('type = "email"\nhost = "x"\nsender = "a@b.example"\n', ("channels.a.recipients",)),
    ('type = "email"\nhost = "x"\nsender = "nobody"\nrecipients = ["a@b.example"]\n', ("no e-mail address",)),
    (
        'type = "email"\nhost = "x"\ntls = "none"\nuser = "u"\npassword = "geheim"\nsender = "a@b.example"\n'
        'recipients = ["a@b.example"]\n', ("in the clear",),
    ),
    ('type = "alertmanager"\nurls = ["http://x:9093"]\nlapse_seconds = 60\n', ("lapse_seconds",)),
    ('type = "alertmanager"\nurls = ["x:9093"]\n', ("Alertmanager's address",)),
    ('type = "apprise"\nurl = "dingtalk://geheim"\n', ('type = "dingtalk"',)),
])
def test_a_section_that_is_wrong_is_refused_with_what_to_do(town: Town, text: str, words: tuple[str, ...]) -> None:
    town.configure(f"[channels.a]\n{text}")
    sentence = town.says("config", "check").refusal(2, *words)
    assert "geheim" not in sentence


def test_what_a_channel_refused_for_good_is_listed_and_sent_again(town: Town) -> None:
    town.robots()
    town.says("db", "upgrade").must(0)
    open_alerts(town.folder, "62170001", "62170002")
    assert town.says("deliveries", "list", "--json").must(0).json()[0]["state"] == "due"
    town.wecom.says = Reply({"errcode": 93000, "errmsg": "no such robot"})
    with app_of(town.folder) as app:
        app.perform("deliver-alerts", "duty", NOW)
    rows = town.says("deliveries", "list", "--state", "dead", "--json").must(1).json()
    assert [row["delivery_id"] for row in rows] == ["evt_2_duty", "evt_1_duty"]
    assert "errcode 93000" in rows[0]["detail"]
    table = here("--lang", "zh", "deliveries", "list", "--channel", "duty", at=town.folder).must(1).out.splitlines()
    assert table[0].split("\t")[:3] == ["编号", "状态", "次数"]
    assert table[1].split("\t")[:3] == ["evt_2_duty", "已放弃", "1"]
    shown = here("--lang", "zh", "deliveries", "show", "evt_2_duty", at=town.folder).must(0).out
    assert "被拒绝" in shown
    assert town.says("deliveries", "show", "evt_2_duty", "--json").must(0).json()["tries"][0]["outcome"] == (
        "permanent_failure"
    )
    town.says("deliveries", "show", "evt_9_duty").refusal(2, "deliveries list")
    town.says("deliveries", "list", "--state", "lost").refusal(2, "withheld")
    town.says("deliveries", "list", "--after", "lost").refusal(2, "evt_12_log")
    town.says("deliveries", "resend").refusal(2, "--channel")
    town.says("deliveries", "resend", "--channel", "pigeon").refusal(2, "no channel")
    town.wecom.says = None
    done = town.says("deliveries", "resend", "evt_2_duty", "--by", "li", "--json").must(0).json()
    assert done == {"resent": ["evt_2_duty"], "left": False}
    town.says("deliveries", "resend", "evt_2_duty").refusal(2, "is due")
    assert "1" in town.says("deliveries", "resend", "--channel", "duty", "--by", "li").must(0).out
    with app_of(town.folder) as app:
        app.perform("deliver-alerts", "duty", NOW + timedelta(minutes=1))
    assert town.says("deliveries", "list", "--state", "dead", "--json").must(0).json() == []
    assert len(town.wecom.taken) == 1, "both in one message: they are of one institution"
    town.says("audit", "verify").must(0)


# ---- rounds -------------------------------------------------------------------------------------------------------


def app_of(folder: Path, now: datetime = NOW) -> Any:
    return assembled(load_settings(folder / "escrow-monitor.toml", {}), clock=FixedClock(now))


def advance(app: App, *words: Signal | Clear, now: datetime = NOW) -> None:
    with app.database.write() as session:
        RecordsAlertBook(session, channels=tuple(app.settings.channels)).advance(
            signals=[word for word in words if isinstance(word, Signal)],
            clears=[word for word in words if isinstance(word, Clear)], now=now, cause="test",
        )


def open_alerts(folder: Path, *subjects: str) -> None:
    with app_of(folder) as app:
        advance(app, *(signal_of(AlertKey("floor", subject, "2026-03"), at=NOW) for subject in subjects))


class Manager:
    """An Alertmanager that only counts what is posted to it, and has nothing."""

    def __init__(self) -> None:
        self.posted: list[list[Any]] = []
        self.status = 200

    def __call__(self, call: Any) -> Reply:
        if call.body:
            self.posted.append(json.loads(call.body))
            return Reply({}, status=self.status)
        return Reply([])


def test_a_round_says_again_what_is_open_and_not_at_every_turn(town: Town) -> None:
    manager = Manager()
    port = town.stack.enter_context(platform(manager))
    town.configure(f'[channels.am]\ntype = "alertmanager"\nurls = ["http://127.0.0.1:{port}"]\n')
    town.says("db", "upgrade").must(0)
    open_alerts(town.folder, "1", "2", "3")
    with app_of(town.folder) as app:
        turn = partial(app.perform, "deliver-alerts", "am")
        first = turn(NOW)
        assert (first.counts["delivered"], first.counts["renewed"]) == (3, 3)
        assert [len(posted) for posted in manager.posted] == [3, 3]
        assert "renewed" not in turn(NOW + timedelta(seconds=10)).counts
    with app_of(town.folder) as app:
        # After a restart at once, for what was told may have been lost with us.
        assert app.perform("deliver-alerts", "am", NOW + timedelta(seconds=20)).counts["renewed"] == 3
    manager.status = 503
    with app_of(town.folder) as app:
        failed = app.perform("deliver-alerts", "am", NOW + timedelta(seconds=30))
        assert (failed.counts["not_renewed"], failed.outcome.value) == (1, "wrong")


# ---- what lies in deploy/ -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("apprise")
def test_every_channel_of_the_example_configuration_is_accepted_when_it_is_taken_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (DEPLOY / "escrow-monitor.toml").read_text(encoding="utf-8")
    section = text.split("# One section for each channel")[1].split("\n[logs]")[0]
    commented = re.compile(r"^# (?=\[\[?(?:channels|alerts)\.|[a-z_]+ = )", re.MULTILINE)
    taken_in = commented.sub("", "# One section" + section)
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name in re.findall(r"\$CREDENTIALS_DIRECTORY/([a-z-]+)", taken_in):
        is_address, webhook = name.endswith("-url"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        address = "json://push.example/" if name.startswith("push") else "https://robot.example/send?key=abcdefgh"
        (secrets / name).write_text(address if is_address else webhook)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(secrets))
    (tmp_path / "example.toml").write_text(taken_in, encoding="utf-8")
    settings = load_settings(tmp_path / "example.toml", {})
    assert {chosen.type for chosen in settings.channels.values()} == {
        "log", "webhook", "email", "wecom", "dingtalk", "feishu", "alertmanager", "apprise",
    }
    assert [rung.channels for rung in settings.alerts.ladder] == [("duty_mail",), ("duty_wecom",)]
    with assembled(settings) as app:
        assert set(app.channels) == set(settings.channels)
