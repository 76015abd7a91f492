"""Delivers the statement files of the invented banks: which file appears where, and when.

    Statement values  ->  mt940(...) | camt053(...)  ->  bytes  ->  a file that appears whole, dated as delivered
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

from escrow_monitor.domain.statements import Statement
from escrow_monitor.sandbox.district import District, delivery_of
from escrow_monitor.sandbox.statement_writers import camt053, mt940


def write_history(
    district: District, folder: Path, *, at: datetime, since: date | None = None, daily: bool | None = None
) -> list[Path]:
    """Write what every bank has delivered by `at`, a file a bank, month and format; return the new files in order.

    `since` (default: the district's first day) skips whole months before it. `daily` gives each day its statement;
    otherwise one statement spans the month, which is smaller (the default above 500 institutions).
    """
    each_day = district.institution_count <= 500 if daily is None else daily
    written: list[Path] = []
    for bank in district.banks:
        last = district.delivered_through(bank.name, at)
        for first, end in _months(max(since or district.starts_on, district.starts_on), last):
            spans = [(day, day) for day in _days(first, end)] if each_day else [(first, end)]
            written += _write(district, folder, bank.name, f"{bank.name}-{first:%Y%m}", spans)
    return written


def write_folder(district: District, folder: Path, *, through: date, since: date | None = None) -> list[Path]:
    """Write the daily files that the bank without an interface delivers for the days up to `through`, included.

    Files that are there already are left alone, so it can be called as often as wanted. `since` defaults to the first
    day of the story: earlier days are history. Returns the new files in order.
    """
    written: list[Path] = []
    for bank in district.banks:
        if bank.connector == "statement_folder":
            for day in _days(since or district.story_on, through):
                written += _write(district, folder, bank.name, f"{bank.name}-{day:%Y%m%d}", [(day, day)])
    return written


def write_due(district: District, folder: Path, *, at: datetime) -> list[Path]:
    """Write the daily files that have become due by `at`: day D's files on the morning of D + 1."""
    written: list[Path] = []
    for bank in district.banks:
        if bank.connector == "statement_folder":
            written += write_folder(district, folder, through=district.delivered_through(bank.name, at))
    return written


def _write(
    district: District, folder: Path, bank: str, stem: str, spans: Sequence[tuple[date, date]]
) -> Iterator[Path]:
    """Accounts at even places get MT940, those at odd places camt.053."""
    delivered_at = delivery_of(spans[-1][1])
    places = district.places_at(bank)
    even = [district.account_no(place) for place in places if place % 2 == 0]
    odd = [district.account_no(place) for place in places if place % 2]

    def statements(numbers: Sequence[str]) -> Iterator[Statement]:
        return (district.statement(number, first, last) for number in numbers for first, last in spans)

    if even:
        yield from _appear(folder / f"{stem}.sta", delivered_at, lambda: mt940(statements(even)))
    if odd:
        yield from _appear(
            folder / f"{stem}.xml", delivered_at,
            lambda: camt053(statements(odd), created_at=delivered_at, message_id=stem.upper()),
        )


def _appear(path: Path, delivered_at: datetime, content: Callable[[], bytes]) -> Iterator[Path]:
    """Let a file appear whole under its name, dated by the clock of the district, which may replay the past."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content())
    os.utime(part, (delivered_at.timestamp(), delivered_at.timestamp()))
    part.replace(path)
    yield path


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def _months(first: date, last: date) -> Iterator[tuple[date, date]]:
    """Cut the days from `first` to `last` at the ends of months."""
    while first <= last:
        following = date(first.year + first.month // 12, first.month % 12 + 1, 1)
        yield first, min(last, following - timedelta(days=1))
        first = following
