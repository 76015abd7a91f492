"""People decide about alerts on the command line: acknowledge, snooze, accept by two, take back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from journey_command import Said, here

from alerts.alert import Severity
from alerts.testing import key_of, signal_of
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.database import Database


@pytest.fixture
def folder(sqlite_template: Path, tmp_path: Path) -> Path:
    """A house with two alerts: a balance that is low, and money that left."""
    (tmp_path / "escrow.db").write_bytes(sqlite_template.read_bytes())
    (tmp_path / "escrow-monitor.toml").write_text('[channels.log]\ntype = "log"\n', encoding="utf-8")
    now = datetime.now(UTC) - timedelta(hours=1)
    tell(tmp_path, signal_of(key_of(), Severity.ORANGE, at=now), signal_of(key_of(rule="large_outflow"), at=now))
    return tmp_path


def english(folder: Path, *words: object) -> Said:
    return here("--lang", "en", *words, at=folder)


def tell(folder: Path, *signals: object) -> list[str]:
    database = Database(f"sqlite:///{folder / 'escrow.db'}")
    with database.write() as session:
        entries = RecordsAlertBook(session).advance(
            signals=signals, clears=[], now=datetime.now(UTC), cause="test",  # type: ignore[arg-type]
        )
    database.close()
    return [entry.transition.value for entry in entries]


def test_an_alert_is_acknowledged_snoozed_and_called_again(folder: Path) -> None:
    [low] = english(folder, "alerts", "list", "--rule", "floor", "--json").must(1).json()
    done = english(
        folder, "alerts", "ack", low["alert_id"], "--by", "li", "--note", "called them", "--json"
    ).must(0).json()
    assert (done["reason"], done["published"], done["decisions"][0]["by"]) == ("acknowledged", [3], "cli:li")
    [low] = english(folder, "alerts", "list", "--rule", "floor", "--json").must(1).json()
    assert low["quiet"] == "acknowledgement"
    english(folder, "alerts", "snooze", low["alert_id"], "--note", "n").refusal(2, "--for")
    english(folder, "alerts", "snooze", low["alert_id"], "--note", "n", "--for", "a while").refusal(2, "8h")
    english(folder, "alerts", "snooze", low["alert_id"], "--note", "n", "--for", "90d").refusal(2, "ends_too_late")
    english(folder, "alerts", "snooze", low["alert_id"], "--note", "n", "--for", "8h").must(0)
    assert "snooze" in english(folder, "alerts", "list").must(1).out
    later = datetime.now(UTC)
    assert tell(folder, signal_of(key_of(), Severity.RED, at=later)) == ["escalated"]
    shown = english(folder, "alerts", "show", low["alert_id"]).must(0).out
    assert shown.count("it got worse") == 3
    [low] = english(folder, "alerts", "list", "--rule", "floor", "--json").must(1).json()
    assert (low["quiet"], low["decisions"]) == (None, [])
    items = english(folder, "feed", "--json").must(0).json_lines()
    assert [item["_escrow"]["transition"] for item in items] == [
        "opened", "opened", "acknowledged", "snoozed", "escalated"
    ]
    english(folder, "audit", "verify").must(0)


def test_money_that_left_is_accepted_by_two_and_ends(folder: Path) -> None:
    [left] = english(folder, "alerts", "list", "--rule", "large_outflow", "--json").must(1).json()
    english(folder, "alerts", "accept", left["alert_id"], "--by", "li").refusal(2, "no_note")
    said = english(folder, "alerts", "accept", left["alert_id"], "--by", "li", "--note", "the rent, as agreed").must(0)
    assert "waits for another person" in said.out
    english(folder, "alerts", "accept", left["alert_id"], "--by", "Li", "--confirm").refusal(2, "same_person")
    said = here("--lang", "zh", "alerts", "accept", left["alert_id"], "--by", "wang", "--confirm", at=folder).must(0)
    assert "已经两人接受" in said.out
    assert english(folder, "alerts", "list", "--rule", "large_outflow", "--json").must(0).json() == []
    assert tell(folder, signal_of(key_of(rule="large_outflow"), at=datetime.now(UTC))) == []
    english(folder, "alerts", "take-back", left["alert_id"], "acceptance", "--note", "forged").must(0)
    assert english(folder, "alerts", "list", "--rule", "large_outflow", "--json").must(1).json()[0]["quiet"] is None
    english(folder, "alerts", "take-back", left["alert_id"], "mistake", "--note", "n").refusal(2, "snooze")
    english(folder, "alerts", "ack", "no-such").refusal(2, "no-such")


def test_what_ran_out_is_published_by_the_watch(folder: Path) -> None:
    [low] = english(folder, "alerts", "list", "--rule", "floor", "--json").must(1).json()
    english(folder, "alerts", "ack", low["alert_id"], "--for", "1m").must(0)
    ahead = (datetime.now(UTC) + timedelta(minutes=2)).isoformat()
    english(folder, "round", "watch-rounds", "--at", ahead)
    items = english(folder, "feed", "--json", "--after", 3).must(0).json_lines()
    resumed = [item["_escrow"] for item in items if item["_escrow"]["transition"] == "resumed"]
    assert [(one["alert_id"], one["reason"]) for one in resumed] == [(low["alert_id"], "ran_out")]


def test_a_silence_is_tried_made_listed_and_ended(folder: Path) -> None:
    tried = english(
        folder, "silences", "add", "bank=northbank", "--reason", "it moves house", "--for", "8h", "--dry-run", "--json"
    ).must(0).json()
    assert (tried["made"], tried["hides"]) == (False, [])
    assert english(folder, "silences", "list", "--json").must(0).json() == []
    words = ("district=510302", "rule=floor", "--reason", "known", "--for", "8h")
    said = english(folder, "silences", "add", *words).must(0)
    [kept] = english(folder, "silences", "list", "--json").must(0).json()
    assert (kept["matchers"], kept["reason"]) == ({"district": "510302", "rule": "floor"}, "known")
    assert said.out.startswith(f"{kept['silence_id']}: district=510302 rule=floor hides 1 open alerts")
    english(folder, "silences", "add", "floor", "--reason", "r", "--for", "8h").refusal(2, "bank=NAME")
    english(folder, "silences", "add", "rule=floor", "--reason", "r").refusal(2, "--for")
    english(folder, "silences", "end", kept["silence_id"], "--by", "wang").must(0)
    english(folder, "silences", "end", kept["silence_id"]).refusal(2, "silences list")
    assert kept["silence_id"] in english(folder, "silences", "list", "--all").must(0).out


def test_a_silence_of_red_is_proposed_by_one_and_confirmed_by_another(folder: Path) -> None:
    words = ("silences", "add", "rule=large_outflow", "--reason", "a drill", "--for", "8h", "--by", "li")
    spared = english(folder, *words, "--dry-run").must(0).out
    assert "hides 0 open alerts" in spared
    assert "1 more fit but are red" in spared
    assert "once another person has confirmed it" in english(folder, *words, "--red").must(0).out
    [kept] = english(folder, "silences", "list", "--json").must(0).json()
    assert (kept["state"], kept["red"], kept["confirmed_by"]) == ("proposed", True, None)
    english(folder, "silences", "confirm", kept["silence_id"], "--by", "LI").refusal(2, "cannot confirm it")
    english(folder, "silences", "confirm", "nothing", "--by", "wang").refusal(2, "no silence")
    said = here("--lang", "zh", "silences", "confirm", kept["silence_id"], "--by", "wang", at=folder).must(0).out
    assert "现有 1 条预警不再通知" in said
    english(folder, "silences", "confirm", kept["silence_id"], "--by", "zhao").refusal(2, "waits for nobody")
    table = here("--lang", "zh", "silences", "list", at=folder).must(0).out.splitlines()
    assert table[0].split("\t")[:4] == ["编号", "状态", "匹配", "红色"]
    assert table[1].split("\t")[1:4] == ["生效中", "rule=large_outflow", "是"]
    done = english(folder, "silences", "end", kept["silence_id"], "--by", "li", "--json").must(0).json()
    assert (done["state"], done["ended_by"], done["confirmed_by"]) == ("ended", "cli:li", "cli:wang")
    english(folder, "audit", "verify").must(0)
