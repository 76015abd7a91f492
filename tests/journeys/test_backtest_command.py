"""`backtest` as a person asks it: a city's past in one command, its table, its report, and what it refuses."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from journey_command import here, run
from test_progress import BARS, on_a_terminal

from escrow_monitor.clock import ZONE
from escrow_monitor.sandbox.city.city import City
from escrow_monitor.sandbox.city.export import KINDS, write_files, write_statements
from escrow_monitor.sandbox.city.plans import CitySettings

CITY = ("backtest", "--city", "--institutions", "24", "--years", "1.5", "--seed", "77")
PROMISED = (
    "closures", "recall_red_14d", "lead_days_first_orange_median", "lead_days_p10",
    "false_reds_per_100_institution_years", "protected_share", "alerts_per_supervisor_week",
)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("city")
    said = run(
        *CITY, "--policy", "floor:0.30", "--policy", "cn-460000", "--policy", "watch:0.02,0.05,0.2",
        "--alerts", "alerts.jsonl", "--report", "report.html", "--json", at=folder,
    ).must(0)
    return folder, said.json()


@pytest.mark.slow
def test_every_method_gives_every_figure_that_is_promised(told: tuple[Path, Any]) -> None:
    document = told[1]
    methods = [name for name, one in document.items() if isinstance(one, dict) and "method" in one]
    assert methods == [
        "closure_watch", "static_floor", "below_obligation", "floor:0.30", "cn-460000", "watch:0.02,0.05,0.2",
    ]
    for name in methods:
        assert set(PROMISED) <= set(document[name])
        assert document[name]["closures"] == document["closure_watch"]["closures"] > 0
    assert 0 < document["forecast"]["band80_coverage"] < 1
    assert document["past"]["seed"] == 77


@pytest.mark.slow
def test_a_policy_of_full_liability_asks_what_the_books_say_is_owed(told: tuple[Path, Any]) -> None:
    document = told[1]
    assert {name: document["cn-460000"][name] for name in PROMISED} == {
        name: document["below_obligation"][name] for name in PROMISED
    }


@pytest.mark.slow
def test_the_alerts_are_lines_of_json_that_agree_with_the_count(told: tuple[Path, Any]) -> None:
    folder, document = told
    alerts = [json.loads(line) for line in (folder / "alerts.jsonl").read_text("utf-8").splitlines()]
    assert alerts
    assert all(list(one) == ["uscc", "severity", "rule", "opened_on", "resolved_on"] for one in alerts)
    assert [one["opened_on"] for one in alerts] == sorted(one["opened_on"] for one in alerts)
    misses = {one["uscc"] for one in document["closure_watch"]["misses"] if one["lead_days_first_red"] is None}
    assert not misses & {one["uscc"] for one in alerts if one["severity"] == "red"}


@pytest.mark.slow
def test_the_report_stands_by_itself_and_shows_two_policies_side_by_side(told: tuple[Path, Any]) -> None:
    page = (told[0] / "report.html").read_text("utf-8")
    assert page.count("<svg") == 2
    assert "Two policies compared" in page
    assert not re.search(r"<script|<link|@import|src=|href=", page)
    assert re.findall(r"https?://[^\s\"<]+", page) == ["http://www.w3.org/2000/svg"] * 2


@pytest.mark.slow
def test_one_core_and_two_say_the_same(told: tuple[Path, Any], tmp_path: Path) -> None:
    again = here(
        *CITY, "--policy", "floor:0.30", "--policy", "cn-460000", "--policy", "watch:0.02,0.05,0.2", "--processes", "1",
        "--json", at=tmp_path,
    ).must(0)
    assert again.json() == told[1]


@pytest.mark.slow
def test_people_get_a_table_and_the_report_in_their_language(tmp_path: Path) -> None:
    said = here(
        "--lang", "zh", *CITY, "--from", "2024-08-01", "--to", "2025-03-31", "--report", "r.html", at=tmp_path
    ).must(0)
    assert [line.split("\t")[0] for line in said.out.splitlines()[:4]] == [
        "method", "closure_watch", "static_floor", "below_obligation",
    ]
    assert "2024-08-01 至 2025-03-31" in said.out
    assert "预警回测报告" in (tmp_path / "r.html").read_text("utf-8")


@pytest.mark.slow
def test_a_bar_moves_on_a_terminal(tmp_path: Path) -> None:
    code, out, terminal = on_a_terminal(*CITY, "--json", at=tmp_path)
    assert code == 0
    assert "closure_watch" in json.loads(out)
    assert BARS in terminal
    assert "institutions" in terminal


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--city", "--institutions", "2", "--seed", "1"), "no institution of this city closes"),
        (("--city", "--institutions", "0"), "1 to"),
        (("--city", "--years", "0.2"), "121 are needed"),
        (("--city", "--years", "-1"), "at most 10 years"),
        (("--city", "--strength", "plain"), "two numbers"),
        (("--city", "--strength", "2,1"), "the lower one first"),
        (("--city", "--from", "2025-02-01", "--to", "2025-01-01"), "lies after"),
        (("--city", "--from", "2023-02-01"), "can be evaluated"),
        (("--city", "--from", "soon"), "is not a date"),
        (("--city", "--policy", "cn-46000"), "did you mean 'cn-460000'"),
        (("--city", "--policy", "cn-140802"), "needs the terms of every contract"),
        (("--city", "--policy", "cn-330000"), "asks for no floor"),
        (("--city", "--policy", "floor:lots"), "write floor:0.30"),
        (("--city", "--policy", "floor:0.3:0"), "write floor:0.30"),
        (("--city", "--policy", "watch:0.5,0.1,0.2"), "rise from yellow"),
        (("--city", "--policy", "draft.toml"), "no such policy file"),
        (("--city", "--per-supervisor", "0"), "at least one institution"),
        (("--city", "--hindsight"), "recorded history"),
        (("--seed", "3"), "add --city"),
    ],
)
def test_bad_input_gets_one_plain_sentence(words: tuple[str, ...], named: str, tmp_path: Path) -> None:
    here("backtest", *words, at=tmp_path).refusal(2, named)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A city whose last day was yesterday, imported by hand today."""
    folder = tmp_path_factory.mktemp("town")
    days = 150
    city = City(
        seed=8, institutions=3, starts_on=datetime.now(ZONE).date() - timedelta(days=days), days=days,
        settings=CitySettings(students=(20, 40)),
    )
    paths = write_files(city, folder)
    for kind in KINDS:
        here("import", kind, paths[kind], at=folder).must(0)
    files = write_statements(city, folder / "statements", first=city.starts_on, last=city.ends_on)
    here("statements", "load", *files, at=folder).must(0)
    return folder


@pytest.mark.slow
def test_what_would_a_floor_of_30_percent_have_said_is_one_command(town: Path) -> None:
    said = here("--lang", "en", "backtest", "--policy", "floor:0.30", "--hindsight", "--json", at=town).must(0)
    document = said.json()
    assert said.err == ""
    assert document["past"]["source"] == "records"
    assert document["past"]["institutions"] == 3
    assert document["floor:0.30"]["closures"] == 0
    assert document["floor:0.30"]["recall_red_14d"] is None
    assert document["floor:0.30"]["institution_years"] > 0


@pytest.mark.slow
def test_history_that_was_recorded_late_says_so_on_its_own_mornings(town: Path) -> None:
    yesterday = datetime.now(ZONE).date() - timedelta(days=1)
    here("backtest", at=town).refusal(2, "nothing was recorded before", "--hindsight")
    tomorrow = yesterday + timedelta(days=2)
    here("backtest", "--to", tomorrow, at=town).refusal(2, f"--to {tomorrow} is not over yet")


def test_without_statements_there_is_no_history_to_replay(tmp_path: Path) -> None:
    here("db", "upgrade", at=tmp_path).must(0)
    here("backtest", at=tmp_path).refusal(2, "no statement is recorded", "add --city")
