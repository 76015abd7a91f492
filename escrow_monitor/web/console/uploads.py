"""A form with a file as browsers send it (RFC 7578): its fields and its file."""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.requests import Request

from escrow_monitor.web.problems import Problem

MULTIPART = "multipart/form-data"
PARTS_MAX = 20
HEAD_BYTES_MAX = 4_096
FIELD_BYTES_MAX = 64 * 1024

_BOUNDARY = re.compile(r'boundary="?([A-Za-z0-9\'()+_,./:=?-]{1,70})"?', re.ASCII)
_NAMED = re.compile(r'\b(name|filename)="([^"]*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file as it was sent. The name is what the sender's machine calls it."""

    filename: str
    content: bytes


def is_multipart(request: Request) -> bool:
    """True if it says that it is such a form."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == MULTIPART


async def body_of(request: Request, *, bytes_max: int) -> bytes:
    """The body, read no further than it may be long. Raises Problem 413."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > bytes_max:
            raise Problem(413, f"this is larger than {bytes_max // 1024 // 1024} MiB")
        parts.append(part)
    return b"".join(parts)


def parsed(content_type: str, body: bytes) -> tuple[dict[str, str], Upload | None]:
    """The fields, the first of each name, and the first file that was chosen. Raises Problem 400."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise Problem(400, "the form cannot be read: it names no boundary")
    fields: dict[str, str] = {}
    upload: Upload | None = None
    pieces = (b"\r\n" + body).split(b"\r\n--" + found[1].encode())
    if len(pieces) < 3 or len(pieces) > PARTS_MAX + 2 or not pieces[-1].startswith(b"--"):
        raise Problem(400, "the form cannot be read: it is cut off, or has too many parts")
    for piece in pieces[1:-1]:
        head, gap, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        named = _names(head)
        if not gap or "name" not in named:
            raise Problem(400, "the form cannot be read: a part has no name")
        if "filename" not in named:
            fields.setdefault(named["name"], _text(content))
        elif named["filename"] and upload is None:
            upload = Upload(filename=named["filename"], content=content)
    return fields, upload


def _names(head: bytes) -> dict[str, str]:
    """What the part's Content-Disposition says. Browsers write a quote in a name as %22, and no others."""
    if len(head) > HEAD_BYTES_MAX:
        raise Problem(400, "the form cannot be read: a part begins with too much")
    for line in _text(head).split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-disposition":
            return {key: text.replace("%22", '"') for key, text in _NAMED.findall(value)}
    return {}


def _text(content: bytes) -> str:
    if len(content) > FIELD_BYTES_MAX:
        raise Problem(413, "a field of the form is too long")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Problem(400, "the form cannot be read: it is not UTF-8") from error
