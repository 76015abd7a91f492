"""The city as files: what a real deployment imports, and the statements of its banks, as they stand on a day.

Nothing in them tells who will close. A lesson that nobody has answered by that day is `requested`; a refund that was
not paid by then is only claimed.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from itertools import groupby
from pathlib import Path

from escrow_monitor.domain.money import Money, decimal_text
from escrow_monitor.domain.statements import Entry, Statement, StatementKind, numbered
from escrow_monitor.sandbox.city.city import CURRENCY, City
from escrow_monitor.sandbox.city.life import Days, EntryRow, Life
from escrow_monitor.sandbox.district import DAY_DELIVERED, ZONE
from escrow_monitor.sandbox.statement_writers import camt053

KINDS = ("institutions", "accounts", "contracts", "charges", "lessons", "refund-claims", "complaints", "notices")
"""The files, in the order in which they are imported."""

_HEADERS = {
    "institutions": ("uscc", "name", "kind", "licence_no", "licence_expires_on", "district", "status"),
    "accounts": ("account_no", "uscc", "bank", "connector", "purpose", "mode", "currency", "opened_on"),
    "contracts": (
        "contract_no", "uscc", "student_ref", "course", "signed_on", "starts_on", "ends_on", "lessons_paid",
        "lessons_gift", "gift_policy", "fee",
    ),
    "charges": ("charge_no", "contract_no", "paid_on", "amount", "channel", "account_no", "bank_ref"),
    "lessons": ("contract_no", "session_no", "taught_on", "status", "requested_on", "decided_on"),
    "refund-claims": ("claim_no", "contract_no", "claimed_on", "amount", "cause"),
    "complaints": ("complaint_no", "uscc", "received_on", "channel", "complainant_ref", "topic"),
    "notices": ("notice_no", "uscc", "noticed_on", "kind", "source"),
}
_COURSES = ("钢琴", "舞蹈", "书法", "编程", "围棋", "游泳")


def write_files(
    city: City, folder: Path, *, through: date | None = None, lives: Iterable[Life] | None = None
) -> dict[str, Path]:
    """Write every import file with what is recorded by the end of `through` (default: the last day).

    `lives` are the city's, where somebody has them already.
    """
    last = city.days - 1 if through is None else (through - city.starts_on).days
    folder.mkdir(parents=True, exist_ok=True)
    paths = {kind: folder / f"{kind}.csv" for kind in KINDS}
    files = {kind: path.open("w", encoding="utf-8", newline="") for kind, path in paths.items()}
    try:
        writers = {kind: csv.writer(file) for kind, file in files.items()}
        for kind, writer in writers.items():
            writer.writerow(_HEADERS[kind])
        for life in city.lives() if lives is None else lives:
            for kind, rows in rows_of(city, life, last=last):
                writers[kind].writerows(rows)
    finally:
        for file in files.values():
            file.close()
    return paths


def rows_of(city: City, life: Life, *, last: int) -> Iterator[tuple[str, Iterable[tuple[object, ...]]]]:
    """The rows of one institution for every file, with what is recorded by the end of day `last`."""
    place, on = life.plan.place, city.calendar.date_of
    one, account = city.institution(place), city.account(place)
    yield "institutions", [(
        one.uscc, one.name, one.kind, one.licence_no, one.licence_expires_on, one.district, "operating"
    )]
    yield "accounts", [(
        account.account_no, account.uscc, account.bank, account.connector, account.purpose, account.mode,
        account.currency, account.opened_on,
    )]
    yield "contracts", (
        (
            contract_no(place, row.number), one.uscc, f"S-{place:05d}-{row.student:05d}",
            _COURSES[row.number % len(_COURSES)], on(row.signed), on(row.starts), on(row.ends), row.lessons, row.gifts,
            "paid_first" if row.gifts else "", _yuan(row.fee_fen),
        )
        for row in life.contracts if row.signed <= last
    )
    yield "charges", (
        (
            f"JF-{place:05d}-{row.number:06d}", contract_no(place, row.contract), on(row.paid), _yuan(row.fen),
            row.channel, account.account_no if row.reference else "", row.reference,
        )
        for row in life.charges if row.paid <= last
    )
    yield "lessons", _lessons(place, life, last, city.calendar)
    yield "refund-claims", (
        (
            claim_no(place, row.number), contract_no(place, row.contract), on(row.claimed), _yuan(row.fen), "consumer"
        )
        for row in life.claims if row.claimed <= last
    )
    yield "complaints", (
        (
            f"TS-{place:05d}-{row.number:05d}", one.uscc, on(row.received), "12345",
            f"C-{place:05d}-{row.complainant:05d}", row.topic,
        )
        for row in life.complaints if row.received <= last
    )
    yield "notices", (
        (f"TZ-{place:05d}-{number:04d}", one.uscc, on(row.day), row.kind, "registers")
        for number, row in enumerate(life.notices, 1) if row.day <= last
    )


def contract_no(place: int, number: int) -> str:
    """The number of a contract."""
    return f"HT-{place:05d}-{number:06d}"


def claim_no(place: int, number: int) -> str:
    """The number of a refund claim. The bank's reference of the refund carries the same digits."""
    return f"TF-{place:05d}-{number:06d}"


def statements(city: City, life: Life, *, first: int, last: int) -> Iterator[Statement]:
    """The final statement of each day from `first` to `last` of one account."""
    account_no, on = city.account_no(life.plan.place), city.calendar.date_of
    by_day = {day: list(rows) for day, rows in groupby(life.entries, key=lambda row: row.day)}
    for day in range(first, last + 1):
        opening = life.opening_fen if day == 0 else life.balance_fen[day - 1]
        yield Statement(
            account_no=account_no, currency=CURRENCY, kind=StatementKind.END_OF_DAY,
            number=f"{on(day):%y}{on(day).timetuple().tm_yday:03d}", opening=Money(opening, CURRENCY),
            opening_on=on(day), closing=Money(life.balance_fen[day], CURRENCY), closing_on=on(day), covers_from=on(day),
            covers_to=on(day), entries=tuple(_entries(account_no, on(day), by_day.get(day, ()))), where="sandbox:city",
        )


def write_statements(
    city: City, folder: Path, *, first: date, last: date, lives: Iterable[Life] | None = None
) -> list[Path]:
    """Write the days from `first` to `last` as camt.053, one file an account; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    span = (first - city.starts_on).days, (last - city.starts_on).days
    written = []
    for life in city.lives() if lives is None else lives:
        account_no = city.account_no(life.plan.place)
        path = folder / f"{city.bank(life.plan.place)}-{account_no[-6:]}-{first:%Y%m%d}-{last:%Y%m%d}.camt.xml"
        created_at = datetime.combine(last + timedelta(days=1), DAY_DELIVERED, ZONE)
        path.write_bytes(camt053(
            statements(city, life, first=span[0], last=span[1]), created_at=created_at, message_id=path.name[:35]
        ))
        written.append(path)
    return written


def _entries(account_no: str, day: date, rows: Iterable[EntryRow]) -> Iterable[Entry]:
    return numbered(
        Entry(
            account_no=account_no, booked_on=day, value_on=day, amount=Money(row.fen, CURRENCY),
            bank_ref=row.reference or None, text=row.text,
        )
        for row in rows
    )


def _lessons(place: int, life: Life, last: int, days: Days) -> Iterator[tuple[object, ...]]:
    on = days.date_of
    for row in life.lessons:
        if row.taught <= last:
            is_decided = row.decided <= last
            status = ("deemed" if row.deemed else "confirmed") if is_decided else "requested"
            yield (
                contract_no(place, row.contract), row.session, on(row.taught), status, on(row.taught),
                on(row.decided) if is_decided else "",
            )


def _yuan(fen: int) -> str:
    return decimal_text(fen, CURRENCY)
