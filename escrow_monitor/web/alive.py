"""Whether a process that said it is at work is still there."""

from __future__ import annotations

import os
import socket
from functools import lru_cache
from pathlib import Path

_PROC = Path("/proc")


def this_process() -> str:
    """A name that no other process ever has: the machine, its number, and when it began."""
    return f"{_machine()}/{os.getpid()}/{_began(os.getpid())}"


def is_gone(process: str) -> bool | None:
    """True if that process has ended, False if it lives; None where this machine cannot say: it is another's."""
    machine, _, rest = process.rpartition("/")[0].rpartition("/")
    if machine != _machine() or not machine or not rest.isdecimal():
        return None
    began = _began(int(rest))
    return began is None or f"{machine}/{rest}/{began}" != process


@lru_cache(maxsize=1)
def _machine() -> str:
    """This boot of this machine and the numbering of processes seen from here: two containers share neither."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{socket.gethostname()}:{boot}:{os.stat(_PROC / 'self/ns/pid').st_ino}".replace("/", "-")
    except OSError:
        return ""  # no such system: what others say of themselves must do


def _began(pid: int) -> str | None:
    """When it began, in ticks since the boot; None if there is no such process, or only its end to be read."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else fields[19]
