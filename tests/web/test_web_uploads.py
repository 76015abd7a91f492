"""Forms with a file: read the same however they are cut on the way, and refused where they are too much."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from escrow_monitor.web.console.uploads import FIELD_BYTES_MAX, PARTS_MAX, Upload, parsed, received
from escrow_monitor.web.problems import Problem

KIND = "multipart/form-data; boundary=mark"


def part(disposition: str, content: bytes) -> bytes:
    return b"--mark\r\nContent-Disposition: form-data; " + disposition.encode() + b"\r\n\r\n" + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--mark--\r\n"


def sent(body: bytes, cuts: list[int], *, bytes_max: int = 1 << 20) -> tuple[dict[str, str], Upload | None]:
    """The form as it comes in over a connection, in pieces."""
    ends = [0, *sorted(cuts), len(body)]
    pieces: Iterator[bytes] = iter([body[a:b] for a, b in pairwise(ends)])

    async def receive() -> Message:
        piece = next(pieces, None)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    request = Request({"type": "http", "method": "POST", "headers": [(b"content-type", KIND.encode())]}, receive)
    return asyncio.run(received(request, bytes_max=bytes_max))


@given(content=st.binary(max_size=300), note=st.text(st.characters(codec="utf-8"), max_size=30), data=st.data())
def test_a_file_comes_out_as_it_was_sent_however_it_is_cut(content: bytes, note: str, data: st.DataObject) -> None:
    body = form(
        part('name="note"', note.encode()), part('name="file"; filename="合同 %22一%22.pdf"', content),
        part('name="note"', b"again"), part('name="other"; filename="b"', b"second"),
    )
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=8))
    expected = ({"note": note}, Upload(filename='合同 "一".pdf', content=content))
    if b"\r\n--mark" not in content and "\r\n--mark" not in note:
        assert sent(body, cuts) == expected
        assert parsed(KIND, body) == expected


def test_a_field_without_a_chosen_file_has_none() -> None:
    assert parsed(KIND, form(part('name="file"; filename=""', b""))) == ({}, None)


@pytest.mark.parametrize(("body", "status"), [
    (form(part('name="a"', b"x" * (FIELD_BYTES_MAX + 1))), 413),
    (form(*[part('name="a"', b"x")] * (PARTS_MAX + 1)), 400),
    (form(b'--mark\r\nX: ' + b"y" * 5_000 + b'\r\nContent-Disposition: form-data; name="a"\r\n\r\nv\r\n'), 400),
    (form(b"--mark\r\n" + b"X: y\r\n" * 20 + b'Content-Disposition: form-data; name="a"\r\n\r\nv\r\n'), 400),
    (form(part("", b"x")), 400), (part('name="a"', b"x"), 400), (b"", 400), (form(part('name="a"', b"\xff")), 400),
    (form(part('name="f"; filename="a"', b"x" * 3_000)), 413),
])
def test_what_is_too_much_or_no_form_is_refused(body: bytes, status: int) -> None:
    with pytest.raises(Problem) as refused:
        sent(body, [len(body) // 2], bytes_max=2_000 if b"filename" in body else 1 << 20)
    assert refused.value.status == status


def test_what_is_too_large_is_not_read_to_its_end() -> None:
    taken = 0

    async def receive() -> Message:
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": b"x" * 1_000, "more_body": True}

    request = Request({"type": "http", "method": "POST", "headers": [(b"content-type", KIND.encode())]}, receive)
    with pytest.raises(Problem):
        asyncio.run(received(request, bytes_max=10_000))
    assert taken <= 11
