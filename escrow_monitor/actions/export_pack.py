"""The resolution pack: all that is recorded of one institution as one ZIP file, with the hash of every part.

    records, a piece at a time --> CSV, JSON Lines --> ZIP        sums are taken while the rows go by
    the sums held against each other --> checks --> summary.html, manifest.json

After CASS 10A: who is owed what, which account, the last reconciliation, to be had at once when an institution has
closed its doors. The same records and instant give the same bytes. That it was made is written in the audit record.
"""

from __future__ import annotations

import hashlib
import heapq
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import IO, Any
from zoneinfo import ZoneInfo

import orjson

from alerts.feeds.item import Lang
from escrow_monitor.actions.effective_floors import EffectiveFloor, effective_floors
from escrow_monitor.actions.pack_page import summary_page
from escrow_monitor.actions.pack_told import Check, OwedLine, Pack, PackFile, PackTold, Seen
from escrow_monitor.actions.table_export import Column, ExportTable, csv_pieces
from escrow_monitor.actions.table_export import Kind as CellKind
from escrow_monitor.clock import ZONE
from escrow_monitor.domain.clauses import Clause
from escrow_monitor.domain.contracts import Cause
from escrow_monitor.domain.entitlement import Impossible
from escrow_monitor.domain.findings import Sentence
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.money import decimal_text
from escrow_monitor.domain.policy import PolicyBook
from escrow_monitor.domain.refund_quote import quote
from escrow_monitor.errors import UsageError
from escrow_monitor.records.accounts import accounts, institution
from escrow_monitor.records.contracts.ledgers import every_ledger
from escrow_monitor.records.contracts.sums import day_of_sums
from escrow_monitor.records.database import Session
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.institution_pack import (
    PARTS,
    Kind,
    Part,
    audit_about,
    case_quotes,
    kept_obligations,
    newest_bridges,
    rows,
)

FORMAT = "escrow-monitor resolution pack 1"
LARGEST_SHOWN = 100
OPEN_SHOWN = 200
LINES_A_PIECE = 500
COMPRESSED = 6

Progress = Callable[[int, int | None], None]

ABOUT: Mapping[str, Sentence] = {
    "institution": Sentence(zh="机构登记信息", en="the institution as registered"),
    "accounts": Sentence(
        zh="账户、开户行、最新余额（时间、是否日终）和核查结论", en="accounts, banks, newest balances, standing"
    ),
    "account-days": Sentence(zh="各账户逐日发生额和余额", en="each account day by day"),
    "entries": Sentence(
        zh="银行流水；counts 为 1 的计入发生额", en="bank entries; those with counts 1 are in the days"
    ),
    "statements": Sentence(zh="收到的对账单及原件校验值", en="statements received, with the hash of their bytes"),
    "statement-gaps": Sentence(zh="缺少对账单的日期", en="days without a final statement"),
    "balance-breaks": Sentence(
        zh="银行余额与流水推算不符的日期", en="days that the bank closed otherwise than its entries give"
    ),
    "corrections": Sentence(zh="银行更正过的日期", en="days that the bank corrected"),
    "contracts": Sentence(
        zh="合同及已缴、已上课、已退、尚欠（owed）", en="contracts with paid, taught, refunded and owed"
    ),
    "charges": Sentence(zh="缴费", en="what families paid"),
    "lessons": Sentence(zh="课时", en="lessons"),
    "refunds": Sentence(zh="银行已见的退费", en="refunds seen in the bank"),
    "refund-claims": Sentence(zh="退费申请", en="refund claims"),
    "cases": Sentence(zh="退费案件", en="refund cases"),
    "case-moves": Sentence(zh="案件经过：谁、何时、为何", en="what happened in each case: who, when, why"),
    "case-notes": Sentence(zh="案件记录", en="notes on cases"),
    "case-evidence": Sentence(
        zh="案件证据清单和校验值（不含原件）", en="evidence of cases by hash, without the documents"
    ),
    "case-said-payments": Sentence(
        zh="机构自称已付的退费（以银行所见为准）", en="refunds that the institution says it paid; the bank prevails"
    ),
    "complaints": Sentence(zh="投诉", en="complaints"),
    "notices": Sentence(zh="外部通报", en="notices from registers"),
    "matches": Sentence(zh="已匹配的流水与缴费、退费", en="bank lines matched with charges and refunds"),
    "open-lines": Sentence(zh="未匹配的银行流水", en="bank lines that are not matched"),
    "open-expected": Sentence(zh="未在银行见到的缴费、退费", en="charges and refunds not seen in the bank"),
    "reconciliations": Sentence(zh="历次对账", en="every reconciliation"),
    "alerts": Sentence(zh="预警", en="alerts"),
    "alert-decisions": Sentence(zh="对预警的处置", en="what was decided about alerts"),
    "feed": Sentence(zh="预警流中的每次变化", en="each change of an alert as the feed carried it"),
    "closure-watch": Sentence(zh="逐日关停研判", en="what the closure watch said each day"),
}
"""What is in each table."""


def pack_name(uscc: str, now: datetime) -> str:
    """What the file is called."""
    return f"pack-{uscc}-{now.astimezone(ZONE):%Y%m%d-%H%M%S}.zip"


def export_pack(
    session: Session, out: IO[bytes], *, uscc: str, policies: PolicyBook, now: datetime, actor: str, version: str,
    lang: Lang = "zh", zone: ZoneInfo = ZONE, progress: Progress | None = None,
) -> Pack:
    """Write the pack of an institution as it is recorded in this snapshot. Raises UsageError for one not known.

    Who calls must `note_export` afterwards, with the hash of what was written, before it leaves the house.
    """
    holder = institution(session, uscc)
    if holder is None:
        raise UsageError(f"institution {uscc} is not known: see institutions list")
    maker = _Maker(session, out, holder, now=now, zone=zone, progress=progress)
    with maker.archive:
        maker.tables()
        maker.sums(policies)
        bridges, floors = maker.bridges(), maker.policy(policies)
        maker.audit()
        known = audit.head(session)
        checks = maker.checks(bridges)
        told = PackTold(
            institution=holder, made_at=now, actor=actor, version=version, zone=zone, sums_on=day_of_sums(session),
            seen=maker.seen, bridges=bridges, floors=floors, checks=checks, files=tuple(maker.files),
            head_seq=known.seq, head=known.head, policy_version=policies.version,
        )
        maker.write("summary.html", [summary_page(told, lang).encode()], what=Sentence(
            zh="可打印的摘要", en="this summary, to print"
        ))
        maker.sha256sums()
        maker.write("manifest.json", [_manifest(told, maker.files)], what=Sentence(zh="清单", en="manifest"))
    return Pack(
        uscc=uscc, name=holder.name, files=tuple(maker.files), checks=checks, head_seq=known.seq, head=known.head
    )


def note_export(session: Session, pack: Pack, *, sha256: str, size: int, actor: str, now: datetime) -> None:
    """Write down who took the pack, when, and which bytes."""
    audit.append(session, kind="pack.exported", actor=actor, now=now, payload={
        "uscc": pack.uscc, "sha256": sha256, "size": size, "files": len(pack.files), "reconciles": pack.reconciles,
        "head_seq": pack.head_seq, "head": pack.head,
    })


class _Maker:
    """Writes the files one after the other and adds up what goes by."""

    def __init__(
        self, session: Session, out: IO[bytes], holder: Institution, *, now: datetime, zone: ZoneInfo,
        progress: Progress | None,
    ) -> None:
        self._session, self._holder, self._zone, self._progress = session, holder, zone, progress
        self._accounts = [one.account_no for one in accounts(session, uscc=holder.uscc)]
        self._at = now.astimezone(zone)
        self._rows = 0
        self.archive = zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSED)
        self.files: list[PackFile] = []
        self.seen = Seen()
        self._on = day_of_sums(session)

    def write(
        self, name: str, pieces: Iterable[bytes], *, what: Sentence, rows: Callable[[], int] | None = None
    ) -> None:
        """Put a file into the archive and keep its hash."""
        entry = zipfile.ZipInfo(f"pack-{self._holder.uscc}/{name}", self._at.timetuple()[:6])
        entry.compress_type, entry.external_attr, entry.create_system = zipfile.ZIP_DEFLATED, 0o644 << 16, 3
        digest, size = hashlib.sha256(), 0
        with self.archive.open(entry, "w", force_zip64=True) as file:
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
                file.write(piece)
        self.files.append(PackFile(
            name=name, sha256=digest.hexdigest(), size=size, rows=None if rows is None else rows(), what=what
        ))

    def tables(self) -> None:
        """Every table as CSV."""
        for part in PARTS:
            names = [column.name for column in part.columns]
            table = ExportTable(
                name=part.name, zh=part.name, en=part.name,
                columns=[Column(column.name, column.name, _KINDS[column.kind]) for column in part.columns],
            )
            counted = _Counted(self._noted(part, names))
            self.write(
                f"{part.name}.csv", csv_pieces(table, counted, lang="zh", zone=self._zone), what=ABOUT[part.name],
                rows=counted.count,
            )

    def sums(self, policies: PolicyBook) -> None:
        """What each contract comes to, from its own rows, line by line; and what would be due if it ended for cause."""
        counted = _Counted(self._quotes(policies))
        self.write("owed.jsonl", _lines(counted), rows=counted.count, what=Sentence(
            zh="每份合同的应退金额逐项计算（机构原因），由缴费、课时、退费重新算出",
            en="what is due under each contract if the institution ends it, line by line, made anew from its rows",
        ))
        quoted = _Counted(case_quotes(self._session, self._holder.uscc))
        self.write("case-quotes.jsonl", _lines(quoted), rows=quoted.count, what=Sentence(
            zh="案件中历次退费计算", en="every computation made for a case"
        ))

    def bridges(self) -> Sequence[Mapping[str, Any]]:
        """The newest reconciliation of each currency."""
        found = newest_bridges(self._session, self._holder.uscc)
        self.write("bridges.jsonl", _lines(found), rows=lambda: len(found), what=Sentence(
            zh="最近一次对账的差异桥，逐行", en="the bridge of the newest reconciliation, line by line"
        ))
        return found

    def policy(self, policies: PolicyBook) -> Sequence[EffectiveFloor]:
        """The clauses in force with their sources, and the floor they give each account."""
        today = self._at.date()
        floors = effective_floors(self._session, self._holder, policies=policies, on=today, now=self._at)
        self.write("policy.json", [orjson.dumps({
            "on": today.isoformat(), "policy_version": policies.version,
            "accounts": [_floor_json(one) for one in floors],
        }, option=orjson.OPT_INDENT_2)], what=Sentence(
            zh="现行政策条款及来源，各账户最低余额", en="clauses in force with their sources, and each account's floor"
        ))
        return floors

    def audit(self) -> None:
        """The entries of the record about it, each with its place in the chain."""
        def heard(holds: bool) -> None:
            self.seen.entries += 1
            self.seen.entries_wrong += not holds

        counted = _Counted(audit_about(
            self._session, uscc=self._holder.uscc, account_nos=self._accounts, seen=heard
        ))
        self.write("audit.jsonl", _lines(counted), rows=counted.count, what=Sentence(
            zh="与本机构有关的审计记录：head = 摘要(before 的字节 + entry 的字节)；同时涉及其他机构的不含正文",
            en="audit entries about it: head is the hash of the bytes of before and then of entry; one that names "
               "others too is without its text",
        ))

    def sha256sums(self) -> None:
        """For `sha256sum -c`."""
        text = "".join(f"{file.sha256}  {file.name}\n" for file in self.files)
        self.write("SHA256SUMS", [text.encode()], what=Sentence(
            zh="以上文件的校验值，可用 sha256sum -c 核对", en="the hashes of the files above, for sha256sum -c"
        ))

    def checks(self, bridges: Sequence[Mapping[str, Any]]) -> Sequence[Check]:
        """The sums of the files, held against each other and against what is kept up."""
        seen, kept = self.seen, kept_obligations(self._session, self._holder.uscc)
        found = []
        for currency in sorted({*seen.contracts, *kept}):
            _, _, owed = kept.get(currency, (0, 0, 0))
            for name, what, left, right in (
                ("owed_kept", _CHECKS["owed_kept"], seen.owed[currency], owed),
                ("owed_anew", _CHECKS["owed_anew"], seen.owed[currency], seen.owed_anew[currency]),
                ("paid", _CHECKS["paid"], seen.paid[currency], seen.charged[currency]),
                ("refunded", _CHECKS["refunded"], seen.refunded[currency], seen.given_back[currency]),
            ):
                found.append(Check(name=name, what=what, left=left, right=right, currency=currency))
        for currency in sorted({*seen.flow, *seen.booked}):
            found.append(Check(
                name="entries", what=_CHECKS["entries"], left=seen.flow[currency], right=seen.booked[currency],
                currency=currency,
            ))
        found.append(Check(name="days", what=_CHECKS["days"], left=seen.days_wrong, right=0))
        for bridge in bridges:
            lines = sum(line["impact_fen"] for line in bridge["lines"])
            found.append(Check(
                name="bridge", what=_CHECKS["bridge"], left=bridge["required_fen"] + lines, right=bridge["bank_fen"],
                currency=bridge["currency"],
            ))
        found.append(Check(name="audit", what=_CHECKS["audit"], left=seen.entries_wrong, right=0))
        return tuple(found)

    # what goes by

    def _noted(self, part: Part, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        note = getattr(self, f"_note_{part.name.replace('-', '_')}", None)
        for row in rows(self._session, part, uscc=self._holder.uscc, account_nos=self._accounts):
            if note is not None:
                note(dict(zip(names, row, strict=True)))
            self._rows += 1
            if self._progress is not None and self._rows % 1_000 == 0:
                self._progress(self._rows, None)
            yield row

    def _note_accounts(self, row: dict[str, Any]) -> None:
        self.seen.accounts.append(row)

    def _note_account_days(self, row: dict[str, Any]) -> None:
        seen = self.seen
        credits, debits = row["credits"], row["debits"]
        seen.flow[credits.currency] += credits.minor_units - debits.minor_units
        if not row["covered"]:
            return
        seen.days_covered[row["account_no"]] += 1
        opening, closing = row["opening"], row["closing"]
        if opening is not None and closing is not None and opening + credits - debits != closing:
            seen.days_wrong += 1

    def _note_entries(self, row: dict[str, Any]) -> None:
        if row["counts"]:
            self.seen.booked[row["amount"].currency] += row["amount"].minor_units

    def _note_statement_gaps(self, row: dict[str, Any]) -> None:
        if row["filled_at"] is None:
            self.seen.gaps.setdefault(row["account_no"], []).append(row["day"])

    def _note_contracts(self, row: dict[str, Any]) -> None:
        seen, currency, owed = self.seen, row["currency"], row["owed"]
        seen.contracts[currency] += 1
        for name, total in (("paid", seen.paid), ("refunded", seen.refunded), ("owed", seen.owed)):
            if row[name] is not None:
                total[currency] += row[name].minor_units
        if owed is not None and owed.minor_units:
            seen.families[currency] += 1
            line = OwedLine(owed.minor_units, row["contract_no"], row["student_ref"], currency)
            push = heapq.heappush if len(seen.largest) < LARGEST_SHOWN else heapq.heappushpop
            push(seen.largest, line)

    def _note_charges(self, row: dict[str, Any]) -> None:
        if self._on is not None and row["paid_on"] <= self._on:
            self.seen.charged[row["currency"]] += row["amount"].minor_units

    def _note_refunds(self, row: dict[str, Any]) -> None:
        if self._on is not None and row["paid_on"] <= self._on:
            self.seen.given_back[row["currency"]] += row["amount"].minor_units

    def _note_cases(self, row: dict[str, Any]) -> None:
        self.seen.cases[row["state"]] += 1
        if row["state"] != "closed" and len(self.seen.open_cases) < OPEN_SHOWN:
            self.seen.open_cases.append(row)

    def _note_open_lines(self, row: dict[str, Any]) -> None:
        self._open("open-lines", row)

    def _note_open_expected(self, row: dict[str, Any]) -> None:
        self._open("open-expected", row)

    def _open(self, name: str, row: dict[str, Any]) -> None:
        self.seen.open_items[name] += 1
        self.seen.open_amounts[name, row["currency"]] += row["amount"].minor_units

    def _note_alerts(self, row: dict[str, Any]) -> None:
        if row["status"] == "open":
            self.seen.alerts.append(row)

    def _note_alert_decisions(self, row: dict[str, Any]) -> None:
        if len(self.seen.decisions) < OPEN_SHOWN:
            self.seen.decisions.append(row)

    def _quotes(self, policies: PolicyBook) -> Iterator[dict[str, Any]]:
        if self._on is None:
            return
        policy = policies.effective(institution=self._holder, account=None, on=self._on)
        for piece in every_ledger(self._session, uscc=self._holder.uscc):
            for ledger in piece:
                found = quote(
                    ledger, on=self._on, cause=Cause.INSTITUTION, terms=policy.refund_terms,
                    calendar=policy.calendar, claimed_on=self._on,
                )
                if isinstance(found, Impossible):
                    self.seen.impossible.append(ledger.contract.contract_no)
                    yield found.as_json()
                    continue
                owed = max(0, (found.paid - found.entitled - found.already_refunded).minor_units)
                self.seen.owed_anew[found.currency] += owed
                self.seen.due[found.currency] += found.refund.minor_units
                self.seen.penalty[found.currency] += found.penalty.minor_units
                yield {
                    "student_ref": ledger.contract.student_ref, "owed": decimal_text(owed, found.currency),
                    "owed_fen": owed, **found.as_json(),
                }


class _Counted:
    """Rows that are counted while they go by."""

    def __init__(self, found: Iterable[Any]) -> None:
        self._found, self._count = found, 0

    def __iter__(self) -> Iterator[Any]:
        for each in self._found:
            self._count += 1
            yield each

    def count(self) -> int:
        """How many went by."""
        return self._count


def _lines(documents: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """JSON Lines, some at a time."""
    piece: list[bytes] = []
    for document in documents:
        piece.append(orjson.dumps(document))
        if len(piece) >= LINES_A_PIECE:
            yield b"\n".join(piece) + b"\n"
            piece = []
    if piece:
        yield b"\n".join(piece) + b"\n"


def _manifest(told: PackTold, files: Sequence[PackFile]) -> bytes:
    return orjson.dumps({
        "format": FORMAT, "uscc": told.institution.uscc, "name": told.institution.name,
        "made_at": told.made_at.isoformat(timespec="seconds"), "made_by": told.actor,
        "program": f"escrow-monitor {told.version}", "policy_version": told.policy_version,
        "sums_on": None if told.sums_on is None else told.sums_on.isoformat(),
        "audit": {"seq": told.head_seq, "head": told.head},
        "files": [
            {"name": file.name, "sha256": file.sha256, "size": file.size, "rows": file.rows, "what": asdict(file.what)}
            for file in files
        ],
        "checks": [
            {
                "name": check.name, "what": asdict(check.what), "currency": check.currency, "left": check.left,
                "right": check.right, "residual": check.residual,
            }
            for check in told.checks
        ],
        "reconciles": not any(check.residual for check in told.checks),
    }, option=orjson.OPT_INDENT_2) + b"\n"


def _floor_json(one: EffectiveFloor) -> dict[str, object]:
    required = one.required
    return {
        "account_no": one.account_no, "packs": list(one.policy.pack_ids), "missing_pack": one.policy.missing_pack,
        "floor": None if required.amount is None else required.amount.text, "complete": required.complete,
        "governing": None if required.governing is None else required.governing.id,
        "parts": [
            {
                "clause": part.clause.id, "amount": None if part.amount is None else part.amount.text,
                "complete": part.complete, "why": part.why_zh, "why_en": part.why_en,
            }
            for part in required.parts
        ],
        "clauses": [_clause_json(clause) for clause in one.policy.clauses],
    }


def _clause_json(clause: Clause[Any]) -> dict[str, object]:
    source = clause.source
    return {
        "id": clause.id, "kind": clause.kind.value, "title": clause.title.zh, "title_en": clause.title.en,
        "effective_from": clause.effective_from.isoformat(), "verified": clause.verified,
        "effective_to": None if clause.effective_to is None else clause.effective_to.isoformat(),
        "basis": clause.basis.zh, "basis_en": clause.basis.en, "source": {
            "title": source.title, "document_no": source.document_no, "article": source.article, "url": source.url,
            "found": source.found.value, "remark": source.remark,
        },
    }


_KINDS = {
    Kind.TEXT: CellKind.TEXT, Kind.MONEY: CellKind.MONEY, Kind.DATE: CellKind.DATE, Kind.INSTANT: CellKind.INSTANT,
    Kind.COUNT: CellKind.COUNT, Kind.CLAIM: CellKind.COUNT,
}
_CHECKS: Mapping[str, Sentence] = {
    "owed_kept": Sentence(
        zh="contracts.csv 的 owed 合计 = 系统累计的应付家庭金额",
        en="the owed of contracts.csv in all = what is kept up as owed to families",
    ),
    "owed_anew": Sentence(
        zh="contracts.csv 的 owed 合计 = owed.jsonl 由明细重算的合计",
        en="the owed of contracts.csv in all = owed.jsonl, made anew from every row",
    ),
    "paid": Sentence(
        zh="contracts.csv 的 paid 合计 = charges.csv 合计（截至汇总日）",
        en="the paid of contracts.csv in all = charges.csv up to the day of the sums",
    ),
    "refunded": Sentence(
        zh="contracts.csv 的 refunded 合计 = refunds.csv 合计（截至汇总日）",
        en="the refunded of contracts.csv in all = refunds.csv up to the day of the sums",
    ),
    "entries": Sentence(
        zh="account-days.csv 的收支净额 = entries.csv 中计入的流水合计",
        en="credits less debits of account-days.csv = the entries of entries.csv that count",
    ),
    "days": Sentence(
        zh="期初 + 收入 - 支出 ≠ 期末的天数 = 0", en="days whose opening + credits - debits is not their closing = 0"
    ),
    "bridge": Sentence(
        zh="应付家庭金额 + 差异桥各行 = 银行余额", en="owed to families + the lines of the bridge = in the bank"
    ),
    "audit": Sentence(
        zh="哈希与其在链中位置不符的审计记录数 = 0",
        en="audit entries whose hash does not fit their place in the chain = 0",
    ),
}
