"""A monthly return as people and programs take it along: CSV, a workbook, or JSON, all of the same rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from zoneinfo import ZoneInfo

import orjson

from alerts.feeds.item import Lang
from escrow_monitor.actions.monthly_return import COUNTED, Level, MonthlyReturn, ReturnRow
from escrow_monitor.actions.table_export import (
    CSV_TYPE,
    XLSX_TYPE,
    Cell,
    Column,
    ExportTable,
    Kind,
    csv_pieces,
    xlsx_pieces,
)
from escrow_monitor.domain.findings import Sentence
from escrow_monitor.domain.money import Money, decimal_text

JSON_TYPE = "application/json"
FORMATS: Mapping[str, str] = {"json": JSON_TYPE, "csv": CSV_TYPE, "xlsx": XLSX_TYPE}
"""How a return can be written, and the media type of each."""
DEPTHS: Mapping[str, frozenset[Level]] = {
    "districts": frozenset({Level.ALL, Level.DISTRICT}),
    "institutions": frozenset({Level.ALL, Level.DISTRICT, Level.INSTITUTION}),
    "accounts": frozenset(Level),
}
"""How far down a return goes."""
AMOUNTS = (
    "highest", "lowest", "floor_last", "shortfall", "received", "paid_out", "paid_above", "paid_below", "paid_apart",
)
ROWS_A_PIECE = 500

_MONEY, _COUNT, _DATE = Kind.MONEY, Kind.COUNT, Kind.DATE
COLUMNS: Mapping[str, Column] = {
    "month": Column("月份", "month"),
    "level": Column("层级", "level"),
    "district": Column("区县", "district"),
    "uscc": Column("统一社会信用代码", "USCC"),
    "name": Column("机构", "institution"),
    "account_no": Column("账号", "account"),
    "bank": Column("银行", "bank"),
    "currency": Column("币种", "currency"),
    "institutions": Column("机构数", "institutions", _COUNT),
    "accounts": Column("账户数", "accounts", _COUNT),
    "highest": Column("最高余额", "highest balance", _MONEY),
    "highest_on": Column("最高余额日", "on", _DATE),
    "lowest": Column("最低日终余额", "lowest balance", _MONEY),
    "lowest_on": Column("最低日终余额日", "on (lowest)", _DATE),
    "floor_last": Column("应存最低余额（月末）", "floor of the last day", _MONEY),
    "floor_whole": Column("最低余额是否确定", "floor is whole"),
    "days_due": Column("应报天数", "days that count", _COUNT),
    "days_met": Column("达标天数", "days met", _COUNT),
    "days_short": Column("不足天数", "days short", _COUNT),
    "days_balance_unknown": Column("余额未知天数", "days of unknown balance", _COUNT),
    "days_floor_unknown": Column("最低余额未知天数", "days of unknown floor", _COUNT),
    "accounts_short": Column("曾不足的账户数", "accounts that were short", _COUNT),
    "accounts_unknown": Column("有未知天数的账户数", "accounts with unknown days", _COUNT),
    "statement_gaps": Column("缺对账单天数", "days without a statement", _COUNT),
    "shortfall": Column("最大差额", "largest shortfall", _MONEY),
    "shortfall_on": Column("最大差额日", "on (shortfall)", _DATE),
    "received": Column("入账", "received", _MONEY),
    "paid_out": Column("支出", "paid out", _MONEY),
    "paid_above": Column("其中支取超额部分", "of it excess withdrawn", _MONEY),
    "paid_below": Column("其中动用最低余额", "of it out of the floor", _MONEY),
    "paid_apart": Column("其中无法判断", "of it cannot be said", _MONEY),
    "breaches_opened": Column("新发生的余额不足", "breaches opened", _COUNT),
    "breaches_resolved": Column("已解除的余额不足", "breaches resolved", _COUNT),
    "alerts_opened": Column("新发生的预警", "alerts opened", _COUNT),
    "alerts_resolved": Column("已解除的预警", "alerts resolved", _COUNT),
    "reconciled_on": Column("最近对账日", "reconciled for", _DATE),
    "reconciled": Column("对账是否完整", "reconciliation complete"),
    "items": Column("未达项", "items not reconciled", _COUNT),
    "institutions_unreconciled": Column("未完整对账的机构数", "institutions not reconciled", _COUNT),
    "note": Column("说明", "note"),
}
"""The columns by the names that JSON has for them."""
LEVELS: Mapping[Level, Sentence] = {
    Level.ALL: Sentence(zh="合计", en="all"),
    Level.DISTRICT: Sentence(zh="区县", en="district"),
    Level.INSTITUTION: Sentence(zh="机构", en="institution"),
    Level.ACCOUNT: Sentence(zh="账户", en="account"),
}
ABOUT = Sentence(zh="说明", en="about")
YES, NO = Sentence(zh="是", en="yes"), Sentence(zh="否", en="no")
AT_LEAST = Sentence(zh="否（至少）", en="no, at least")
NO_DISTRICT = Sentence(zh="未登记区县", en="no district")

TABLE = ExportTable(name="monthly-return", zh="月报", en="Monthly return", columns=tuple(COLUMNS.values()))


def pieces(found: MonthlyReturn, *, form: str, depth: str, lang: Lang, zone: ZoneInfo) -> Iterator[bytes]:
    """The return in one of FORMATS, as far down as one of DEPTHS, piece by piece."""
    levels = DEPTHS[depth]
    if form == "json":
        return _json_pieces(found, levels)
    write = xlsx_pieces if form == "xlsx" else csv_pieces
    return write(TABLE, _rows(found, levels, zone), lang=lang, zone=zone)


def header(found: MonthlyReturn, zone: ZoneInfo) -> list[Sentence]:
    """What stands above a return: of what, of whom, when it was made, whether it is complete, what it says."""
    asked, at = found.asked, f"{found.generated_at.astimezone(zone):%Y-%m-%d %H:%M:%S %z}"
    where = Sentence(zh="全部区县", en="all districts")
    if asked.district is not None:
        where = Sentence(zh=f"区县代码以 {asked.district} 开头", en=f"districts that begin with {asked.district}")
    if not asked.visible.is_everything:
        where = Sentence(zh=f"{where.zh}（仅限您可见范围）", en=f"{where.en}, as far as you may see")
    said = [
        Sentence(
            zh=f"监管账户月报 {asked.month}（{asked.first} 至 {asked.last}），{where.zh}",
            en=f"Monthly return {asked.month} ({asked.first} to {asked.last}), {where.en}",
        ),
        Sentence(
            zh=f"生成于 {at}；政策版本 {found.policy_version}；按生成时的记录计算",
            en=f"made at {at}; policies {found.policy_version}; from what is recorded by then",
        ),
        found.sentence,
        _WHAT,
    ]
    unseen = found.unseen_alerts
    if unseen.opened or unseen.resolved:
        said.append(Sentence(
            zh=f"另有 {unseen.opened} 条新预警、{unseen.resolved} 条解除，与本表机构和账户无关（如银行、程序自身）",
            en=f"beside these, {unseen.opened} alerts opened and {unseen.resolved} were resolved that are about no "
               "institution or account here, such as banks or the program itself",
        ))
    return said


def document_head(found: MonthlyReturn) -> dict[str, object]:
    """What a JSON return says of itself."""
    asked, sentence = found.asked, found.sentence
    return {
        "month": asked.month, "from": asked.first.isoformat(), "to": asked.last.isoformat(), "has_ended": found.ended,
        "days_over": found.days_over, "district": asked.district, "limited": not asked.visible.is_everything,
        "generated_at": found.generated_at.isoformat(timespec="seconds"), "policy_version": found.policy_version,
        "complete": found.complete, "sentence": {"zh": sentence.zh, "en": sentence.en},
        "residuals": dict(found.residuals),
        "other_alerts": {"opened": found.unseen_alerts.opened, "resolved": found.unseen_alerts.resolved},
    }


def row_json(row: ReturnRow) -> dict[str, object]:
    """One row; an amount as text and, under a name that ends in `_fen`, in minor units. null is not known."""
    told: dict[str, object] = {}
    for name in COLUMNS:
        if name in ("month", "note"):
            continue
        value = getattr(row.counts, name) if name in COUNTED else getattr(row, name)
        if name in AMOUNTS:
            told[name] = None if value is None else decimal_text(value, row.currency)
            told[f"{name}_fen"] = value
        elif isinstance(value, date):
            told[name] = value.isoformat()
        else:
            told[name] = value
    return told


def _json_pieces(found: MonthlyReturn, levels: frozenset[Level]) -> Iterator[bytes]:
    yield orjson.dumps(document_head(found))[:-1] + b',"rows":['
    lines: list[bytes] = []
    begun = False
    for row in found.rows:
        if row.level not in levels:
            continue
        lines.append(orjson.dumps(row_json(row)))
        if len(lines) >= ROWS_A_PIECE:
            yield (b",\n" if begun else b"\n") + b",\n".join(lines)
            begun, lines = True, []
    if lines:
        yield (b",\n" if begun else b"\n") + b",\n".join(lines)
    yield b"\n]}\n"


def _rows(found: MonthlyReturn, levels: frozenset[Level], zone: ZoneInfo) -> Iterator[Sequence[Cell]]:
    empty: list[Cell] = [None] * (len(COLUMNS) - 3)
    for sentence in header(found, zone):
        yield [found.asked.month, ABOUT, *empty, sentence]
    for row in found.rows:
        if row.level in levels:
            yield [found.asked.month, *(cell_of(row, name) for name in COLUMNS if name not in ("month", "note")), None]


def cell_of(row: ReturnRow, name: str) -> Cell:
    """One cell of a row as a table has it."""
    value = getattr(row.counts, name) if name in COUNTED else getattr(row, name)
    if name == "level":
        return LEVELS[row.level]
    if name == "district" and value is None and row.level is not Level.ALL:
        return NO_DISTRICT
    if value is None:
        return None
    if name in AMOUNTS:
        return Money(value, row.currency)
    if name == "floor_whole":
        return YES if value else AT_LEAST
    if name == "reconciled":
        return YES if value else NO
    found: Cell = value
    return found


_WHAT = Sentence(
    zh="不足：日终余额（已扣银行冻结）低于当日应存最低余额；未知不算达标。超额部分指支出前高于最低余额的金额。"
       "机构的最高、最低余额为其各账户合计；区县和合计的最大差额为单个机构的最大值。",
    en="Short: the closing balance, less what the bank holds back, is below the floor of that day; unknown is not met. "
       "Excess is what lay above the floor before it was paid out. Highest and lowest of an institution are of all its "
       "accounts together; the largest shortfall of districts and of all is that of one institution.",
)
