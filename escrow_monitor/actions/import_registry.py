"""Register institutions and accounts from a CSV file: the whole file or nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import TypeVar

from escrow_monitor.domain.accounts import Account, Mode, Purpose
from escrow_monitor.domain.institutions import (
    Institution,
    InstitutionKind,
    InstitutionStatus,
    check_uscc,
)
from escrow_monitor.errors import EscrowMonitorError, UsageError
from escrow_monitor.records import audit
from escrow_monitor.records.accounts import institutions, save_accounts, save_institutions
from escrow_monitor.records.database import Database

E = TypeVar("E", bound=StrEnum)
Row = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRow:
    """One thing wrong with a file: the line (the header is 1), the column, the value and why."""

    line: int
    column: str
    value: str
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.column} {self.value!r}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What became of a file: nothing was kept if there is any bad row."""

    rows: int
    changed: int = 0
    bad_rows: tuple[BadRow, ...] = field(default=())

    def as_json(self) -> dict[str, object]:
        """The outcome as a JSON object."""
        return {
            "rows": self.rows,
            "changed": self.changed,
            "bad_rows": [
                {"line": bad.line, "column": bad.column, "value": bad.value, "reason": bad.reason}
                for bad in self.bad_rows
            ],
        }


class _Bad(EscrowMonitorError):
    """One column of a row cannot be read."""

    def __init__(self, column: str, value: str, reason: str) -> None:
        super().__init__(f"{column} {value!r}: {reason}")
        self.column, self.value, self.reason = column, value, reason


INSTITUTION_COLUMNS = {
    "uscc": "统一社会信用代码",
    "name": "机构名称",
    "kind": "类别",
    "licence_no": "办学许可证编号",
    "licence_expires_on": "许可证有效期",
    "district": "行政区划代码",
    "grid": "网格",
    "status": "状态",
    "policy": "政策包",
}
ACCOUNT_COLUMNS = {
    "account_no": "账号",
    "uscc": "统一社会信用代码",
    "bank": "银行",
    "connector": "接口",
    "purpose": "用途",
    "mode": "监管方式",
    "currency": "币种",
    "opened_on": "开户日期",
    "external_id": "银行内部编号",
}
KINDS = {"institutions": INSTITUTION_COLUMNS, "accounts": ACCOUNT_COLUMNS}
NEEDED = {"institutions": {"uscc", "name"}, "accounts": {"account_no", "bank"}}


def import_registry(
    database: Database, *, kind: str, content: bytes, filename: str, dry_run: bool, actor: str, now: datetime
) -> Imported:
    """Read, check and keep. Loading the same file twice changes nothing. Raises UsageError for an unreadable file."""
    rows = read_rows(content, columns=KINDS[kind], needed=NEEDED[kind], filename=filename)
    make: Callable[[Row], Institution | Account] = institution_of if kind == "institutions" else account_of
    items: list[Institution | Account] = []
    bad: list[BadRow] = []
    seen: dict[str, int] = {}
    for line, row in rows:
        try:
            item = make(row)
            key = item.uscc if isinstance(item, Institution) else item.account_no
            if key in seen:
                raise _Bad(next(iter(KINDS[kind])), key or "", f"stands already on line {seen[key]}")
            seen[key or ""] = line
            items.append(item)
        except _Bad as wrong:
            bad.append(BadRow(line=line, column=wrong.column, value=wrong.value, reason=wrong.reason))
    with database.write() as session:
        if kind == "accounts":
            known = {one.uscc for one in institutions(session)}
            bad += [
                BadRow(
                    line=seen[one.account_no],
                    column="uscc",
                    value=one.uscc or "",
                    reason="no such institution: import it first",
                )
                for one in items
                if isinstance(one, Account) and one.uscc is not None and one.uscc not in known
            ]
        if bad or dry_run:
            return Imported(rows=len(rows), bad_rows=tuple(sorted(bad, key=lambda one: one.line)))
        if kind == "institutions":
            changed = save_institutions(session, [one for one in items if isinstance(one, Institution)], now=now)
        else:
            changed = save_accounts(session, [one for one in items if isinstance(one, Account)], now=now)
        if changed:
            payload = {"kind": kind, "file": filename, "rows": len(rows), "changed": changed}
            audit.append(session, kind="registry.imported", actor=actor, payload=payload, now=now)
    return Imported(rows=len(rows), changed=changed)


def read_rows(content: bytes, *, columns: Mapping[str, str], needed: set[str], filename: str) -> list[tuple[int, Row]]:
    """Rows with their line numbers; UTF-8 and GB18030 are told apart, headers are in either language."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = content.decode("gb18030")
        except UnicodeDecodeError as error:
            raise UsageError(f"{filename}: is neither UTF-8 nor GB18030 text (byte {error.start})") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    names = {**{zh: name for name, zh in columns.items()}, **{name: name for name in columns}}
    try:
        header = [cell.strip() for cell in next(reader, [])]
        strange = [cell for cell in header if cell not in names]
        if strange:
            raise UsageError(f"{filename}: unknown column {strange[0]!r}; the columns are {', '.join(columns)}")
        missing = sorted(needed - {names[cell] for cell in header})
        if missing:
            raise UsageError(f"{filename}: the column {missing[0]} is missing")
        rows: list[tuple[int, Row]] = []
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise UsageError(f"{filename}, line {reader.line_num}: {len(cells)} cells under {len(header)} columns")
            rows.append(
                (reader.line_num, {names[head]: cell.strip() for head, cell in zip(header, cells, strict=True)})
            )
    except csv.Error as error:
        raise UsageError(f"{filename}, line {reader.line_num}: is not CSV: {error}") from error
    return rows


def institution_of(row: Row) -> Institution:
    """An institution from a row; empty cells mean not known."""
    district = row.get("district") or None
    if district is not None and not (len(district) == 6 and district.isascii() and district.isdigit()):
        raise _Bad("district", district, "is not a GB/T 2260 code of six digits")
    return Institution(
        uscc=_uscc(row),
        name=_needed(row, "name"),
        kind=_enum(row, "kind", InstitutionKind),
        district=district,
        grid=row.get("grid") or None,
        licence_no=row.get("licence_no") or None,
        licence_expires_on=_day(row, "licence_expires_on"),
        status=_enum(row, "status", InstitutionStatus) or InstitutionStatus.OPERATING,
        policy=row.get("policy") or None,
    )


def account_of(row: Row) -> Account:
    """An account from a row; currency CNY, purpose escrow and mode floor unless said."""
    currency = row.get("currency") or "CNY"
    if not (len(currency) == 3 and currency.isascii() and currency.isupper()):
        raise _Bad("currency", currency, "is not a currency code (ISO 4217)")
    return Account(
        account_no=_needed(row, "account_no"),
        bank=_needed(row, "bank"),
        connector=row.get("connector") or "berlin_group",
        currency=currency,
        uscc=_uscc(row) if row.get("uscc") else None,
        purpose=_enum(row, "purpose", Purpose) or Purpose.ESCROW,
        mode=_enum(row, "mode", Mode) or Mode.FLOOR,
        opened_on=_day(row, "opened_on"),
        external_id=row.get("external_id") or None,
    )


def _needed(row: Row, column: str) -> str:
    value = row.get(column, "")
    if not value:
        raise _Bad(column, value, "must not be empty")
    return value


def _uscc(row: Row) -> str:
    value = _needed(row, "uscc")
    try:
        return check_uscc(value)
    except EscrowMonitorError as error:
        raise _Bad("uscc", value, str(error)) from error


def _enum(row: Row, column: str, values: type[E]) -> E | None:
    value = row.get(column) or None
    if value is None:
        return None
    try:
        return values(value)
    except ValueError:
        raise _Bad(column, value, f"must be one of {', '.join(values)}") from None


def _day(row: Row, column: str) -> date | None:
    value = row.get(column) or None
    if value is None:
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise _Bad(column, value, "is not a date: write it like 2026-11-20") from None
