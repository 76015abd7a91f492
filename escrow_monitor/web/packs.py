"""The resolution pack as the API and the button take it: made for who asks, and on record before it leaves."""

from __future__ import annotations

import hashlib
import tempfile
from importlib.metadata import version
from typing import IO

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from alerts.feeds.item import Lang
from escrow_monitor.actions.export_pack import export_pack, note_export, pack_name
from escrow_monitor.records.accounts import institution
from escrow_monitor.web.handed_out import OneAtATime, handed_out
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Who

ZIP_TYPE = "application/zip"


async def taken_pack(ports: WebPorts, one: OneAtATime, who: Who, *, uscc: str, lang: Lang) -> Response:
    """The pack as it goes out. Raises Problem 404 for an institution that is not theirs to see, 503 while one is made.

    Every pack is made for one who asks: its hash is on record under their name before the first byte leaves.
    """
    return await run_in_threadpool(_taken, ports, one, who, uscc, lang)


def _taken(ports: WebPorts, one: OneAtATime, who: Who, uscc: str, lang: Lang) -> Response:
    now, missing = ports.clock.now(), Problem(404, f"no institution {uscc[:40]!r} is registered")
    file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed when it was sent
    try:
        with one.making(), ports.database.read() as session:
            if institution(session, uscc) is None:
                raise missing
            who.check_sees(session, uscc, missing, what="pack")
            made = export_pack(
                session, file, uscc=uscc, policies=ports.policies, now=now, actor=who.actor,
                version=version("escrow-monitor"), lang=lang, zone=ports.zone,
            )
        size = file.tell()
        file.seek(0)
        digest = hashlib.sha256()
        while piece := file.read(1024 * 1024):
            digest.update(piece)
        with ports.database.write() as session:
            note_export(
                session, made, sha256=digest.hexdigest(), size=size, actor=who.actor, now=ports.people_now()
            )
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return handed_out(file, name=pack_name(uscc, now), media_type=ZIP_TYPE)
