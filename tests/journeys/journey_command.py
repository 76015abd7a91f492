"""The command line as a person has it: a process of its own, its exit code, and what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from escrow_monitor import cli

ROOT = Path(__file__).parents[2]
COMMAND_SECONDS_MAX = 120


@dataclass(frozen=True, slots=True)
class Said:
    """What one command answered."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Its one JSON document."""
        return json.loads(self.out)

    def json_lines(self) -> list[Any]:
        """Its JSON objects, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    def must(self, code: int) -> Said:
        """Itself, if it ended with this code."""
        assert self.code == code, f"exit {self.code}\n{self.out}\n{self.err}"
        assert "Traceback" not in self.err, self.err
        return self

    def refusal(self, code: int, *words: str) -> str:
        """The one plain sentence it ended with, which must contain these words."""
        self.must(code)
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        assert self.out == "", self.out
        for word in words:
            assert word in lines[0], lines[0]
        return lines[0]


def arguments(*words: object) -> list[str]:
    """The command as an argument vector."""
    return [sys.executable, "-m", "escrow_monitor", *map(str, words)]


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """A person's environment, without any setting of ours left in it."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("ESCROW_MONITOR_")}
    return {**plain, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", "PYTHONWARNINGS": "default", **(more or {})}


def run(
    *words: object, at: Path, env: Mapping[str, str] | None = None, prefix: Sequence[str] = (),
    preexec: Callable[[], None] | None = None,
) -> Said:
    """Run `escrow-monitor WORDS` in the folder `at` and wait for its end."""
    done = subprocess.run(
        [*prefix, *arguments(*words)], cwd=at, env=environment(env), capture_output=True, check=False,
        timeout=COMMAND_SECONDS_MAX, stdin=subprocess.DEVNULL, preexec_fn=preexec,
    )
    return Said(done.returncode, done.stdout.decode(), done.stderr.decode())


def here(*words: object, at: Path) -> Said:
    """The same within this process, where many commands are asked: their start takes far longer than their work."""
    with chdir(at), redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        code = cli.run([str(word) for word in words])
    return Said(code, out.getvalue(), err.getvalue())
