"""The command among other programs: completion by the shell, a reader that goes away, tables at a terminal."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from journey_command import arguments, environment, here, run

ACCOUNTS = "account_no,uscc,bank\n" + "".join(f"622200{number:013},,icbc\n" for number in range(400))
MANY = 60_000


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("office")
    (folder / "accounts.csv").write_text(ACCOUNTS, "utf-8")
    here("import", "accounts", "accounts.csv", at=folder).must(0)
    return folder


@pytest.mark.parametrize(("typed", "place", "offered"), [
    ("acc", 1, {"accounts"}), ("alerts s", 2, {"show", "snooze"}), ("round pu", 2, {"pull-balances"}),
    ("import c", 2, {"contracts", "charges", "complaints"}), ("policy ", 2, {"list", "show", "check", "effective"}),
])
def test_the_shell_completes_nouns_verbs_and_names(tmp_path: Path, typed: str, place: int, offered: set[str]) -> None:
    asked = {
        "COMP_WORDS": f"escrow-monitor {typed}", "COMP_CWORD": str(place), "_ESCROW_MONITOR_COMPLETE": "complete_bash"
    }
    assert set(run(at=tmp_path, env=asked).out.split()) == offered


def test_the_script_of_each_shell_is_shown(tmp_path: Path) -> None:
    # Typer looks which shell it was called from; there may be none above a test.
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    shown = [run("--show-completion", shell, at=tmp_path, env=named).must(0).out for shell in ("bash", "zsh", "fish")]
    assert all("_ESCROW_MONITOR_COMPLETE" in script for script in shown)
    assert len(set(shown)) == len(shown)


@pytest.mark.parametrize("words", [("accounts", "list", "--json"), ("statements", "coverage"), ("policy", "list")])
def test_a_reader_that_goes_away_is_no_finding(office: Path, words: tuple[str, ...]) -> None:
    command = subprocess.Popen(
        arguments(*words), cwd=office, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert command.stdout is not None
    command.stdout.close()
    _, told = command.communicate(timeout=120)
    assert command.returncode == 0
    assert told == b""


@pytest.mark.slow
def test_who_stops_an_import_has_loaded_nothing_and_can_load_it_all(tmp_path: Path) -> None:
    (tmp_path / "accounts.csv").write_text(
        "account_no,uscc,bank\n" + "".join(f"622200{number:013},,icbc\n" for number in range(MANY)), "utf-8"
    )
    run("db", "upgrade", at=tmp_path).must(0)
    stopped = 0
    for after_seconds in (0.8, 1.3):
        command = subprocess.Popen(
            arguments("import", "accounts", "accounts.csv"), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        time.sleep(after_seconds)
        command.send_signal(signal.SIGINT)
        _, told = command.communicate(timeout=120)
        if command.returncode == 0:
            break
        assert (command.returncode, told) == (130, b"stopped\n")
        stopped += 1
        assert here("accounts", "list", "--json", at=tmp_path).json() == []
    assert stopped
    here("import", "accounts", "accounts.csv", at=tmp_path).must(0)
    assert len(here("accounts", "list", "--json", at=tmp_path).json()) == MANY


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_a_table_fits_eighty_columns_and_breaks_no_amount(office: Path, lang: str) -> None:
    ours, theirs = pty.openpty()
    command = subprocess.Popen(
        arguments("--lang", lang, "accounts", "list"), cwd=office, stdin=subprocess.DEVNULL, stdout=theirs,
        stderr=theirs, env={**environment(), "TERM": "xterm", "COLUMNS": "80", "NO_COLOR": "1"},
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:  # the other end is closed: all is read
        pass
    os.close(ours)
    assert command.wait(120) == 1
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).splitlines()
    assert len(lines) > 400
    wide = re.compile(r"[ᄀ-ᅟ⺀-꓏가-힣＀-￠]")
    assert max(len(line) + len(wide.findall(line)) for line in lines) <= 80
    assert ("账户" if lang == "zh" else "account") in shown.decode()
