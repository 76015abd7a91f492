"""The demo, as a newcomer starts it: one cycle with a report, or a district that lives until Ctrl-C."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from journey_command import arguments, environment, run

URLS_SECONDS_MAX = 40
LIFE_SECONDS_MAX = 120


def once(folder: Path, *words: object, lang: str = "en") -> Any:
    return run("--lang", lang, "demo", "--once", "--port", "0", *words, at=folder)


def test_one_cycle_prints_the_accounts_by_standing_and_why_in_both_languages(tmp_path: Path) -> None:
    said = once(tmp_path).must(1)
    for words in (
        "Accounts by standing", "breached", "unknown", "the floor is", "no final balance of", "frozen",
        "it may be about to close", "families are owed",
    ):
        assert words in said.out
    assert {"red", "orange", "yellow"} <= set(re.findall(r"^\d+\t(\w+)\t", said.out, re.MULTILINE))
    assert said.err == ""
    assert list(tmp_path.iterdir()) == []
    said = once(tmp_path, lang="zh").must(1)
    for words in ("账户状态", "未达标", "最低余额"):
        assert words in said.out


def test_the_same_seed_gives_the_same_standings(tmp_path: Path) -> None:
    def standings(folder: str, seed: int) -> list[tuple[object, ...]]:
        once(tmp_path, "--dir", folder, "--seed", seed, "--institutions", 6, "--families", 1).must(1)
        found = run("accounts", "list", "--json", at=tmp_path / folder).json()
        assert len(found) == 7
        return [(one["account_no"], one["uscc"], one["standing"], one["level"], one["required"]) for one in found]

    first = standings("a", 7)
    assert standings("b", 7) == first
    assert standings("c", 8) != first


def test_the_folder_of_a_cycle_can_be_gone_over_again(tmp_path: Path) -> None:
    first = once(tmp_path, "--dir", "town", "--json").must(1).json()
    again = once(tmp_path, "--dir", "town", "--json").must(1).json()
    assert sum(again["accounts"].values()) == sum(first["accounts"].values()) == 20
    assert again["alerts"][: len(first["alerts"])] == first["alerts"]
    loads = next(one for one in again["rounds"] if one["round"] == "load-statements")
    assert loads["counts"]["refused"] == 0
    run("audit", "verify", at=tmp_path / "town").must(0)


@dataclass
class Living:
    """A demo that runs, and what it has printed so far."""

    process: subprocess.Popen[bytes]
    folder: Path
    printed: list[str] = field(default_factory=list)

    def listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed.append(line.decode().rstrip("\n"))

    def value(self, name: str) -> str:
        """What is printed after a name: `console  http://...`."""
        return next(line.split()[-1] for line in self.printed if line.split()[: len(name.split())] == name.split())

    def get(self, name: str, query: str = "") -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.value('sign-in key')}"}
        return httpx.get(self.value(name) + query, headers=headers, trust_env=False, timeout=20)

    def items(self) -> list[dict[str, Any]]:
        """The whole feed in order."""
        found: list[dict[str, Any]] = []
        while page := self.get("JSON", f"?after={len(found)}&limit=100").json()["items"]:
            found.extend(page)
        return found


@contextmanager
def living(folder: Path) -> Iterator[Living]:
    log = folder.parent / "demo.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            arguments("--lang", "en", "demo", "--dir", folder, "--port", "0"), cwd=folder.parent, env=environment(),
            stdout=subprocess.PIPE, stderr=errors,
        )
    demo = Living(process, folder)
    listener = threading.Thread(target=demo.listen, daemon=True)
    listener.start()
    try:
        wait(lambda: "Ctrl-C stops it" in demo.printed or process.poll() is not None, URLS_SECONDS_MAX)
        assert process.poll() is None, log.read_text()
        yield demo
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        listener.join(10)
        assert process.stdout is not None
        process.stdout.close()
    assert "Traceback" not in log.read_text(), log.read_text()


def wait(holds: Callable[[], object], seconds: float) -> None:
    """Wait until it holds."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"it did not come to hold within {seconds} seconds"
        time.sleep(0.2)


def told(demo: Living) -> set[tuple[str, str]]:
    """(rule, transition) and (severity, transition) of everything in the feed."""
    facts = [item["_escrow"] for item in demo.items()]
    return {(fact[what], fact["transition"]) for fact in facts for what in ("rule", "severity")}


# Accounts turn yellow, orange and red; one bank falls silent and comes back.
LIFE = {
    ("yellow", "opened"), ("orange", "opened"), ("red", "opened"), ("floor", "opened"), ("freshness", "opened"),
    ("freshness", "resolved"),
}


@pytest.mark.slow
def test_the_district_lives_until_it_is_stopped_and_goes_on_after(tmp_path: Path) -> None:
    folder = tmp_path / "town"
    with living(folder) as demo:
        assert httpx.get(demo.value("console"), trust_env=False, timeout=20).status_code in (303, 401)
        assert demo.get("console").status_code == 200
        assert httpx.get(demo.value("metrics"), trust_env=False, timeout=20).status_code == 401
        wait(lambda: told(demo) >= LIFE, LIFE_SECONDS_MAX)
        metrics = demo.get("metrics").text
        assert re.search(r'^escrow_accounts\{standing="met"\} [1-9]', metrics, re.MULTILINE)
        assert re.search(r"^escrow_feed_sequence [1-9]", metrics, re.MULTILINE)
        entries = demo.items()
        assert [item["_escrow"]["seq"] for item in entries] == list(range(1, len(entries) + 1))
        # Another terminal, while it lives.
        run("feed", at=folder).must(0)

        demo.process.send_signal(signal.SIGTERM)
        assert demo.process.wait(30) == 0

    run("audit", "verify", at=folder).must(0)
    assert run("feed", "--json", at=folder).must(0).json_lines()[: len(entries)] == entries
    assert len(run("accounts", "list", "--json", at=folder).json()) == 20
    # And it can be started again in the same folder, where the feed goes on.
    with living(folder) as demo:
        assert len(demo.items()) >= len(entries)
        demo.process.send_signal(signal.SIGINT)
        assert demo.process.wait(30) == 0
