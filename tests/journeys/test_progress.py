"""Long work moves a bar on a terminal; in a pipe there is none, and results are never mixed with it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import tempfile
from pathlib import Path

import pytest
from journey_command import arguments, environment, run
from operator_world import ACCOUNT, configure, good

from bank_server import BankServer  # isort: skip

BARS = "━"


def on_a_terminal(*words: object, at: Path) -> tuple[int, str, str]:
    """Run a command whose standard error is a terminal and whose standard output is none: code, output, terminal."""
    ours, theirs = pty.openpty()
    try:
        # Into a file: a pipe that nobody reads while the terminal is read holds 64 KB, and then the command.
        with tempfile.TemporaryFile() as printed, subprocess.Popen(
            arguments(*words), cwd=at, env={**environment(), "TERM": "xterm", "LC_ALL": "C.UTF-8", "COLUMNS": "100"},
            stdout=printed, stderr=theirs, stdin=subprocess.DEVNULL,
        ) as command:
            os.close(theirs)
            seen = _drained(ours)
            command.wait()
            printed.seek(0)
            out = printed.read().decode()
        return command.returncode, out, seen.decode(errors="replace")
    finally:
        os.close(ours)


def _drained(terminal: int) -> bytes:
    seen = b""
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # how Linux says that nobody holds the other end any more
            return seen
        if not chunk:
            return seen
        seen += chunk


@pytest.fixture
def town(tmp_path: Path) -> Path:
    numbers = [f"{ACCOUNT[:-3]}{number:03d}" for number in range(40)]
    (tmp_path / "accounts.csv").write_text("account_no,bank\n" + "".join(f"{number},icbc\n" for number in numbers))
    configure(tmp_path, {})
    run("import", "accounts", "accounts.csv", at=tmp_path).must(0)
    return tmp_path


def test_a_sweep_and_a_check_move_a_bar_on_a_terminal(town: Path) -> None:
    with BankServer(good) as server:
        configure(town, {"icbc": server.url})
        code, out, seen = on_a_terminal("round", "pull-balances", "--json", at=town)
    assert code == 1  # the bank answers about one account whatever it is asked
    assert json.loads(out)[0]["counts"]["accounts"] == 40
    assert BARS in seen
    assert "pull-balances icbc" in seen
    assert "40/40" in seen
    code, out, seen = on_a_terminal("round", "check-balances", "--json", at=town)
    assert json.loads(out)[0]["counts"]["accounts"] == 40
    assert "check-balances all" in seen
    assert "40/40" in seen


@pytest.mark.parametrize(
    "words", [("round", "check-balances", "--json"), ("import", "accounts", "accounts.csv", "--json")], ids=" ".join
)
def test_in_a_pipe_there_is_no_bar(town: Path, words: tuple[str, ...]) -> None:
    said = run(*words, at=town)
    assert said.json()
    assert said.err == ""
    assert BARS not in said.out


def test_files_and_imports_move_a_bar_too(town: Path) -> None:
    code, out, seen = on_a_terminal("import", "accounts", "accounts.csv", "--json", at=town)
    assert (code, json.loads(out)["rows"]) == (0, 40)
    assert "import accounts" in seen
    files = []
    for number in range(5):
        files.append(town / f"{number}.csv")
        files[-1].write_text("nothing that anybody reads")
    code, out, seen = on_a_terminal("statements", "load", *files, "--json", at=town)
    assert (code, len(json.loads(out))) == (1, 5)
    assert "5/5" in seen


@pytest.mark.slow
def test_one_cycle_of_the_demo_moves_bars(tmp_path: Path) -> None:
    code, out, seen = on_a_terminal("demo", "--once", "--json", at=tmp_path)
    assert code in (0, 1)
    assert json.loads(out)["rounds"]
    assert BARS in seen
