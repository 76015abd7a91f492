"""The bytes that were received, each content once."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from datetime import datetime

from sqlmodel import Field, Session

from escrow_monitor.records.bulk import insert_new, run, texts
from escrow_monitor.records.columns import Row, large


class RawDocumentRow(Row, table=True):
    """Bytes as they were received, compressed, once for each SHA-256."""

    __tablename__ = "raw_documents"

    sha256: str = Field(primary_key=True)
    media_type: str
    size: int = large()
    content_zlib: bytes
    recorded_at: datetime


def raw_document(session: Session, sha256: str) -> bytes | None:
    """Bytes as they were received."""
    found = run(session, "SELECT content_zlib FROM raw_documents WHERE sha256 = :sha256", sha256=sha256).scalar()
    return None if found is None else zlib.decompress(bytes(found))


def keep_documents(session: Session, documents: Iterable[tuple[str, bytes, str]], *, now: datetime) -> None:
    """Keep (SHA-256, bytes, media type), each content once."""
    given = {sha256: (content, media_type) for sha256, content, media_type in documents}
    if not given:
        return
    for sha256 in texts(session, "SELECT sha256 FROM raw_documents WHERE sha256 IN EACH(:given)", given=sorted(given)):
        del given[sha256]
    columns = {"sha256": str, "media_type": str, "size": int, "content_zlib": bytes, "recorded_at": datetime}
    insert_new(session, "raw_documents", columns, (
        # Level 1: half the time of the default for a tenth more room.
        (sha256, media_type, len(content), zlib.compress(content, 1), now)
        for sha256, (content, media_type) in sorted(given.items())
    ))
