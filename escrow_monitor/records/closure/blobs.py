"""One month of one institution as bytes, and back: only what is not nothing, which is little of a month.

    columns x days, 64 bits  --sums as steps-->  places and values that are not 0  --zlib-->  some hundred bytes

A sum that lasts (a balance, what is owed) is kept as its steps from day to day; values take 32 bits where all fit.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np

from escrow_monitor.domain.closure.series import COLUMNS, Ints

LIVE = "unseen_fen"
"""Not kept: a few open items say it at any time, and matching changes them without a word to anybody."""
KEPT = tuple(name for name in COLUMNS if name != LIVE)
LAG = "lag"
"""The last column: after how many days a day's statement was here, -1 if it never was."""
ROWS = (*KEPT, LAG)
LAYOUT = "sparse:" + ",".join(ROWS)
"""What is kept is made anew where this is another."""
_LASTING = np.array([
    name in ("balance_fen", "owed_fen", "active", "overdue", "overdue_fen") for name in ROWS
], np.bool_)
_LEVEL = 1
_NARROW_MAX = 2**31 - 1
_MARK = (b"4", b"8")


def pack(figures: Ints) -> list[bytes]:
    """The blobs of many institutions: figures of shape (institutions, ROWS, days)."""
    count, rows, days = figures.shape
    steps = np.where(_LASTING[None, :, None], np.diff(figures, axis=2, prepend=0), figures).reshape(count, rows * days)
    owners, places = np.nonzero(steps)
    values = steps[owners, places]
    ends = np.searchsorted(owners, np.arange(count), side="right").tolist()
    wide = np.zeros(count, np.bool_)
    wide[owners[np.abs(values) > _NARROW_MAX]] = True
    found, start = [], 0
    where = places.astype("<u2").tobytes()
    narrow, full = values.astype("<i4").tobytes(), values.astype("<i8").tobytes()
    for is_wide, end in zip(wide.tolist(), ends, strict=True):
        body = full[8 * start : 8 * end] if is_wide else narrow[4 * start : 4 * end]
        found.append(_MARK[is_wide] + zlib.compress(where[2 * start : 2 * end] + body, _LEVEL))
        start = end
    return found


def unpack(blobs: Sequence[bytes], days: int) -> Ints:
    """The figures of blobs of one month."""
    figures = np.zeros((len(blobs), len(ROWS), days), np.int64)
    unpack_into(figures, np.arange(len(blobs)), blobs, slice(0, days))
    return figures


def unpack_into(figures: Ints, institutions: Ints, blobs: Sequence[bytes], month: slice) -> None:
    """Write blobs into these days of contiguous zeros of shape (institutions, ROWS, days), each to its institution."""
    flat, days = figures.reshape(-1), month.stop - month.start
    for is_wide, width in enumerate((4, 8)):
        mine = [place for place, blob in enumerate(blobs) if blob[:1] == _MARK[is_wide]]
        raw = [zlib.decompress(memoryview(blobs[place])[1:]) for place in mine]
        counts = np.array([len(each) // (2 + width) for each in raw], np.int64)
        ends = (2 * counts).tolist()
        places = np.frombuffer(b"".join([each[:end] for each, end in zip(raw, ends, strict=True)]), "<u2")
        values = np.frombuffer(b"".join([each[end:] for each, end in zip(raw, ends, strict=True)]), f"<i{width}")
        # Where each of a month's places lies within an institution.
        within = np.add.outer(np.arange(len(ROWS)) * figures.shape[2], np.arange(days) + month.start).reshape(-1)
        begins = institutions[mine] * (len(ROWS) * figures.shape[2])
        flat[np.repeat(begins, counts) + within[places]] = values
    for row in np.flatnonzero(_LASTING):
        lasting = figures[:, row, month]
        np.cumsum(lasting, axis=1, out=lasting)


def month_of(day: date) -> int:
    """The number of a month, from the year 0."""
    return day.year * 12 + day.month - 1


def first_of(month: int) -> date:
    """Its first day."""
    return date(month // 12, month % 12 + 1, 1)


def last_of(month: int) -> date:
    """Its last day."""
    return first_of(month + 1) - timedelta(days=1)
