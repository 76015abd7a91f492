"""What lies in deploy/ is accepted by those who will read it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from escrow_monitor.daemon.plan import EVENTS
from escrow_monitor.daemon.schedule import parse_cron
from escrow_monitor.domain.statements import RefusalReason
from escrow_monitor.settings import Settings, load_settings

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_the_example_configuration_is_accepted() -> None:
    settings = load_settings(DEPLOY / "escrow-monitor.toml", {})
    assert set(settings.banks) == {"icbc"}
    assert set(settings.channels) == {"log", "city_platform"}


@pytest.mark.parametrize("name", sorted({*Settings().schedule.model_dump()} - {"zone", "late_after_seconds"}))
def test_the_times_of_the_example_and_the_defaults_are_cron_expressions_and_the_same(name: str) -> None:
    example = getattr(load_settings(DEPLOY / "escrow-monitor.toml", {}).schedule, name)
    assert example == getattr(Settings().schedule, name)
    assert parse_cron(example, zone=ZoneInfo("Asia/Shanghai"))


def test_the_runbook_says_what_every_refusal_reason_means() -> None:
    runbook = (DEPLOY / "runbook.md").read_text(encoding="utf-8")
    section = runbook.split("## Refusal reasons")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == {reason.value for reason in RefusalReason}


def test_the_runbook_says_what_every_bad_event_means() -> None:
    runbook = (DEPLOY / "runbook.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:round|engine|lifetime)\.\w+)`", runbook))
    assert named <= set(EVENTS)
    assert {name for name in EVENTS if name.startswith("round.")} <= named


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_no_fault_in_the_units(tmp_path: Path) -> None:
    for unit in (*(DEPLOY / "systemd").glob("*.service"), *(DEPLOY / "systemd").glob("*.timer")):
        # The program is not installed where the tests run, and systemd looks for it.
        text = unit.read_text().replace("/opt/escrow-monitor/bin/escrow-monitor", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    units = ["escrow-monitor.service", "escrow-monitor-daemon@1.service", "escrow-monitor-web.service",
             "escrow-monitor-backup.service", "escrow-monitor-backup.timer"]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / unit) for unit in units)],
        capture_output=True, text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_accepts_the_scrape_configuration(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("emk_example")
    text = (DEPLOY / "prometheus.yml").read_text().replace("/etc/prometheus/escrow-monitor.key", str(key))
    (tmp_path / "prometheus.yml").write_text(text)
    shutil.copy(DEPLOY / "prometheus-rules.yml", tmp_path)
    done = subprocess.run(
        ["promtool", "check", "config", str(tmp_path / "prometheus.yml")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
