"""A server in a process of its own, the installed program or a peer, for as long as it is measured."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from escrow_monitor.cli.stage import free_port

__all__ = ["cpu_seconds", "free_port", "installed", "peak_mb", "serving"]

START_SECONDS_MAX = 60


def installed(folder: Path, command: str) -> list[str]:
    """The command line of the installed program with the configuration of this folder."""
    return [sys.executable, "-m", "escrow_monitor", "--config", str(folder / "escrow-monitor.toml"), command]


@contextmanager
def serving(command: Sequence[str], port: int, folder: Path) -> Iterator[int]:
    """Run it, wait until it answers on this port, and yield its process id; its output goes to a file in `folder`."""
    said = folder / "program.log"
    with (
        said.open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": os.getcwd()}) as process,
    ):
        try:
            until = time.monotonic() + START_SECONDS_MAX
            while not _answers(port):
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"it did not start: {said.read_text()[-500:]}")
                time.sleep(0.05)
            yield process.pid
        finally:
            process.terminate()
            process.wait(timeout=START_SECONDS_MAX)


def peak_mb(pid: int) -> float:
    """The most memory that a running process ever held."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def cpu_seconds(pid: int) -> float:
    """The CPU time that a running process has used: what a busy machine does not change much."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _answers(port: int) -> bool:
    try:
        # A peer has no such page: that it answers at all is enough.
        return httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False, timeout=5).status_code in (200, 404)
    except httpx.TransportError:
        return False
