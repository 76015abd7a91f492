"""Statements to write, and every format they are written in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from zoneinfo import ZoneInfo

from escrow_monitor.banks.formats import PROFILE, FileRefused, StatementFile, read_statements
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.statements import Entry, Statement, StatementKind, numbered
from escrow_monitor.sandbox.statement_writers import CSV_PROFILE, bai2, camt053, csv_table, mt940, ofx

ZONE = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
FIRST = date(2026, 11, 19)
PROFILES = {CSV_PROFILE.name: CSV_PROFILE}


@dataclass(frozen=True, kw_only=True)
class Written:
    """One writer, and what its format can say: entries of many days, reversals, entries without a reference."""

    write: Callable[[Sequence[Statement]], bytes]
    format: str
    many_days: bool = True
    reversals: bool = True
    needs_references: bool = False
    one_statement: bool = False


WRITERS: Mapping[str, Written] = {
    "mt940": Written(write=mt940, format="mt940"),
    "camt053": Written(write=lambda s: camt053(s, created_at=NOW, message_id="M1"), format="camt"),
    "bai2": Written(write=lambda s: bai2(s, created_at=NOW), format="bai2", many_days=False),
    "ofx1": Written(
        write=lambda s: ofx(s, created_at=NOW), format="ofx", reversals=False, needs_references=True
    ),
    "ofx2": Written(
        write=lambda s: ofx(s, created_at=NOW, xml=True), format="ofx", reversals=False, needs_references=True
    ),
    "csv": Written(
        write=lambda s: csv_table(s[0]), format=f"{PROFILE}{CSV_PROFILE.name}", one_statement=True
    ),
}


def read(content: bytes, format: str = "auto") -> StatementFile | FileRefused:
    return read_statements(content, filename="f", format=format, zone=ZONE, profiles=PROFILES)


def entry(account_no: str, day: int, fen: int, *, ref: str | None = None, text: str = "", **more: object) -> Entry:
    return Entry(
        account_no=account_no, booked_on=FIRST + timedelta(days=day), amount=Money(fen, "CNY"), bank_ref=ref, text=text,
        value_on=FIRST + timedelta(days=day), **more,  # type: ignore[arg-type]
    )


def chained(account_no: str, opening: int, days: Sequence[Sequence[Entry]]) -> list[Statement]:
    """A statement for each day, each opening with the closing before."""
    closings = list(accumulate((sum(one.amount.minor_units for one in day) for day in days), initial=opening))
    return [
        Statement(
            account_no=account_no, currency="CNY", kind=StatementKind.END_OF_DAY, number=str(26000 + place),
            opening=Money(closings[place], "CNY"), opening_on=FIRST + timedelta(days=place),
            closing=Money(closings[place + 1], "CNY"), closing_on=FIRST + timedelta(days=place),
            covers_from=FIRST + timedelta(days=place), covers_to=FIRST + timedelta(days=place),
            entries=numbered(day), where="test",
        )
        for place, day in enumerate(days)
    ]


def spanning(statements: Sequence[Statement]) -> Statement:
    """One statement over the days of several."""
    first, last = statements[0], statements[-1]
    return Statement(
        account_no=first.account_no, currency="CNY", kind=StatementKind.END_OF_DAY, number=first.number,
        opening=first.opening, opening_on=first.opening_on, closing=last.closing, closing_on=last.closing_on,
        covers_from=first.covers_from, covers_to=last.covers_to, where="test",
        entries=numbered(one for statement in statements for one in statement.entries),
    )
