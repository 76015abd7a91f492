"""Files that are made for who asks: written whole to a temporary file, then sent from there, one at a time made."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from typing import IO

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from escrow_monitor.web.problems import Problem

PIECE_BYTES = 256 * 1024
AGAIN_SECONDS = 20


class OneAtATime:
    """Lets one file be made at a time: each reads much, and a row of them would hold up every page."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._busy = threading.Lock()

    @contextmanager
    def making(self) -> Iterator[None]:
        """Raises Problem 503 while another is being made."""
        if not self._busy.acquire(blocking=False):
            raise Problem(
                503, f"another {self._what} is being made: ask again in a moment",
                headers={"Retry-After": str(AGAIN_SECONDS)},
            )
        try:
            yield
        finally:
            self._busy.release()


def spooled(pieces: Iterable[bytes]) -> IO[bytes]:
    """The pieces as a file at its beginning: a slow reader must not hold the records open."""
    file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed when it was sent
    for piece in pieces:
        file.write(piece)
    file.seek(0)
    return file


def handed_out(file: IO[bytes], *, name: str, media_type: str, inline: bool = False) -> StreamingResponse:
    """The file as it goes out, piece by piece; `name` is plain ASCII. `inline` is for what programs read."""
    kind = "inline" if inline else "attachment"
    return StreamingResponse(_pieces(file), media_type=media_type, headers={
        "Cache-Control": "no-store", "Content-Disposition": f'{kind}; filename="{name}"',
    })


async def _pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while piece := await run_in_threadpool(file.read, PIECE_BYTES):
            yield piece
