"""A form with a file as browsers send it (RFC 7578): its fields and its file, read as it comes and no further."""

from __future__ import annotations

from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from escrow_monitor.web.problems import Problem

MULTIPART = "multipart/form-data"
PARTS_MAX = 20
HEADERS_MAX = 8
HEAD_BYTES_MAX = 4_096
FIELD_BYTES_MAX = 64 * 1024

_DISPOSITION = b"content-disposition"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file as it was sent. The name is what the sender's machine calls it."""

    filename: str
    content: bytes


def is_multipart(request: Request) -> bool:
    """True if it says that it is such a form."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == MULTIPART


async def received(request: Request, *, bytes_max: int) -> tuple[dict[str, str], Upload | None]:
    """The fields and the file of a request, read no further than it may be long. Raises Problem 400 and 413."""
    form, size = _Form(request.headers.get("content-type", "")), 0
    async for part in request.stream():
        size += len(part)
        if size > bytes_max:
            raise Problem(413, f"this is larger than {bytes_max // 1024 // 1024} MiB")
        form.take(part)
    return form.end()


def parsed(content_type: str, body: bytes) -> tuple[dict[str, str], Upload | None]:
    """The fields, the first of each name, and the first file that was chosen. Raises Problem 400 and 413."""
    form = _Form(content_type)
    form.take(body)
    return form.end()


@dataclass(kw_only=True)
class _Part:
    """A part that is coming in. `name` None: nothing says yet what it is."""

    name: str | None = None
    filename: str | None = None
    content: bytearray = field(default_factory=bytearray)


class _Form:
    """A form that is coming in: the parser tells what it meets, and this keeps it."""

    def __init__(self, content_type: str) -> None:
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if not boundary:
            raise _unreadable("it names no boundary")
        self._fields: dict[str, str] = {}
        self._upload: Upload | None = None
        self._parts, self._is_whole = 0, False
        self._part = _Part()
        self._header, self._value = bytearray(), bytearray()
        try:
            self._parser = MultipartParser(boundary, {
                "on_part_begin": self._begins, "on_header_field": self._has_header, "on_header_value": self._has_value,
                "on_header_end": self._header_ends, "on_headers_finished": self._is_named,
                "on_part_data": self._has_data, "on_part_end": self._ends, "on_end": self._is_over,
            }, max_header_count=HEADERS_MAX, max_header_size=HEAD_BYTES_MAX)
        except FormParserError as error:
            raise _unreadable("its boundary is too long") from error

    def take(self, content: bytes) -> None:
        """Some more of it. Raises Problem 400 and 413."""
        try:
            self._parser.write(content)
        except FormParserError as error:
            raise _unreadable("a part begins with too much, or not as it must") from error

    def end(self) -> tuple[dict[str, str], Upload | None]:
        """All of it. Raises Problem 400."""
        if not self._is_whole:
            raise _unreadable("it is cut off")
        return self._fields, self._upload

    # what the parser meets

    def _begins(self) -> None:
        self._parts += 1
        if self._parts > PARTS_MAX:
            raise _unreadable("it has too many parts")
        self._part = _Part()

    def _has_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _has_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_ends(self) -> None:
        if bytes(self._header).lower() == _DISPOSITION:
            _, options = parse_options_header(bytes(self._value))
            if b"name" in options:
                self._part.name = _name(options[b"name"])
            if b"filename" in options:
                self._part.filename = _name(options[b"filename"])
        self._header, self._value = bytearray(), bytearray()

    def _is_named(self) -> None:
        if self._part.name is None:
            raise _unreadable("a part has no name")

    def _has_data(self, data: bytes, start: int, end: int) -> None:
        if self._part.filename is None and len(self._part.content) + end - start > FIELD_BYTES_MAX:
            raise Problem(413, "a field of the form is too long")
        if self._part.filename is None or (self._part.filename and self._upload is None):
            self._part.content += data[start:end]

    def _ends(self) -> None:
        part = self._part
        if part.filename is None:
            self._fields.setdefault(str(part.name), _text(bytes(part.content)))
        elif part.filename and self._upload is None:
            self._upload = Upload(filename=part.filename, content=bytes(part.content))

    def _is_over(self) -> None:
        self._is_whole = True


def _name(value: bytes) -> str:
    """A name as browsers write it: a quote in it as %22, and no others."""
    return _text(value).replace("%22", '"')


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise _unreadable("it is not UTF-8") from error


def _unreadable(why: str) -> Problem:
    return Problem(400, f"the form cannot be read: {why}")
