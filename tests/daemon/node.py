"""One daemon as a process of its own, whose rounds only write down that they began and ended.

    python -m tests.daemon.node FOLDER ENGINE_URL EXECUTOR_ID [CRON [ROUND_SECONDS [STOP_SECONDS]]]
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from escrow_monitor.daemon.daemon import Daemon, DaemonPorts
from escrow_monitor.daemon.lifetime import run_until_stopped
from escrow_monitor.daemon.plan import Plan


class Journal:
    """Lines appended by many processes to one file, each in a single write."""

    def __init__(self, folder: Path, node: str) -> None:
        self._path = folder / "journal.jsonl"
        self._node = node

    def write(self, what: str, **keys: object) -> None:
        line = json.dumps({"what": what, "node": self._node, "at": time.time(), **keys}, default=str) + "\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, line.encode())
        os.close(descriptor)


def main(folder: str, url: str, node: str, cron: str = "* * * * * *", round_seconds: str = "0", stop: str = "5") -> int:
    room = Path(folder)
    beats = room / "beats"
    beats.mkdir(exist_ok=True)
    journal = Journal(room, node)

    def perform(name: str, shard: str, at: datetime) -> Mapping[str, object]:
        journal.write("begin", round=name, shard=shard, tick=at.isoformat())
        if name == "pull":
            time.sleep(float(round_seconds))
        journal.write("end", round=name, shard=shard, tick=at.isoformat())
        return {"news": name == "pull"}

    def silent(seconds: int) -> list[str]:
        return [path.name for path in beats.iterdir() if time.time() - path.stat().st_mtime > seconds]

    daemon = Daemon(DaemonPorts(
        plans=(
            Plan(round="pull", cron=cron, shards=lambda: ("icbc", "boc")),
            Plan(round="check", follows=("pull",)),
        ),
        perform=perform, engine_url=url, executor_id=node, zone=ZoneInfo("Asia/Shanghai"),
        tell=lambda event, keys: journal.write(event, **keys), beat=lambda name: (beats / name).touch(), silent=silent,
        beat_seconds=0.5, silent_seconds=2,
    ))
    return run_until_stopped(
        [daemon], stop_seconds=float(stop), tell=lambda event, keys: journal.write(event, **keys)
    )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
