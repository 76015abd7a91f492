"""The tables of the office: the audit record, the policies in force for somebody, what ran, and how banks answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date

import orjson

from escrow_monitor.actions.effective_floors import EffectiveFloor, effective_floors
from escrow_monitor.actions.table_export import Cell, Column, ExportTable, Kind, Row
from escrow_monitor.domain.permissions import Permission
from escrow_monitor.records import accounts as register
from escrow_monitor.records import runs
from escrow_monitor.records.bank import pulls
from escrow_monitor.records.evidence import search as audit_search
from escrow_monitor.records.evidence.audit import AuditRecord
from escrow_monitor.web.console import audit, operations
from escrow_monitor.web.console.gate import Gate
from escrow_monitor.web.console.pages import asked_day
from escrow_monitor.web.console.tables import ROWS_A_PIECE, Asked, Taken, piecewise
from escrow_monitor.web.guard import Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import scope_of

RUNS_MAX = 10_000
"""The newest runs are told of: the rest is in the log."""

AUDIT = ExportTable(name="audit", zh="审计记录", en="Audit record", columns=(
    Column("序号", "Number", Kind.COUNT), Column("时间", "At", Kind.INSTANT), Column("类别", "Kind"),
    Column("类别代码", "Kind (code)"), Column("操作人", "Actor"), Column("内容", "About"), Column("明细", "Payload"),
    Column("散列", "Hash"),
))
EFFECTIVE = ExportTable(name="effective-policy", zh="适用政策", en="Policy in force", columns=(
    Column("统一社会信用代码", "USCC"), Column("账户", "Account"), Column("日期", "On", Kind.DATE),
    Column("条款", "Clause"), Column("条款编号", "Clause id"), Column("类别", "Kind"), Column("依据", "Source"),
    Column("生效", "In force from", Kind.DATE), Column("失效", "To", Kind.DATE), Column("决定性", "Governs"),
    Column("币种", "Currency"), Column("要求金额", "Demands", Kind.MONEY), Column("说明", "Why"),
))
RUNS = ExportTable(name="runs", zh="例行任务", en="Runs", columns=(
    Column("任务", "Round"), Column("分片", "Shard"), Column("计划时间", "Scheduled at", Kind.INSTANT),
    Column("开始", "Started at", Kind.INSTANT), Column("结束", "Finished at", Kind.INSTANT), Column("结果", "Outcome"),
    Column("次数", "Times begun", Kind.COUNT), Column("计数", "Counts"), Column("说明", "Detail"),
))
BANKS = ExportTable(name="banks", zh="银行应答", en="Banks", columns=(
    Column("银行", "Bank"), Column("账户数", "Accounts", Kind.COUNT),
    Column("未应答账户", "Silent accounts", Kind.COUNT),
    Column("最近应答", "Last answer", Kind.INSTANT), Column("未能采用的原因", "Refusals"),
))


def tables(guard: Guard, ports: WebPorts) -> list[Taken]:
    """All of them, each for who may open its page."""
    auditors = Gate(guard, ports, here="audit", needs=Permission.AUDIT, whole=True)
    readers = Gate(guard, ports, here="policies", needs=Permission.READ)
    operators = Gate(guard, ports, here="operations", needs=Permission.OPERATIONS)
    return [
        Taken(path="/audit", table=AUDIT, rows=_audit, gate=auditors, personal=True),
        Taken(path="/policies/effective", table=EFFECTIVE, rows=_effective, gate=readers),
        Taken(path="/operations/runs", table=RUNS, rows=_runs, gate=operators),
        Taken(path="/operations/banks", table=BANKS, rows=_banks, gate=operators),
    ]


def _audit(asked: Asked) -> Iterable[Row]:
    page, words = audit.asked_page(asked.request.query_params, asked.ports), asked.words

    def ask(before: int | None) -> tuple[list[AuditRecord], int | None]:
        with asked.ports.database.read() as session:
            found = audit_search.search(session, page.asked, before=before, limit=ROWS_A_PIECE)
        return list(found.records), found.go_on

    def row(one: AuditRecord) -> Row:
        return (
            one.seq, one.at, words.name("entry", one.kind), one.kind, one.actor, audit.about(asked.lang, one),
            orjson.dumps(one.payload, default=str).decode(), one.head,
        )

    return piecewise(ask, row)


def _effective(asked: Asked) -> Iterable[Row] | None:
    query, ports = asked.request.query_params, asked.ports
    uscc = query.get("uscc", "").strip()[:40]
    on = asked_day(query.get("on", "").strip(), asked.now.astimezone(ports.zone).date())
    with ports.database.read() as session:
        found = register.institution(session, uscc) if uscc else None
        if found is None or not scope_of(asked.who).covers_institution(found):
            return None
        floors = effective_floors(session, found, policies=ports.policies, on=on, now=asked.now)
    return (row for one in floors for row in _clauses(asked, found.uscc, one, on))


def _clauses(asked: Asked, uscc: str, one: EffectiveFloor, on: date) -> Iterator[Row]:
    words, required = asked.words, one.required
    parts = {part.clause.id: part for part in required.parts}
    governing = None if required.governing is None else required.governing.id
    for clause in one.policy.clauses:
        part = parts.get(clause.id)
        demanded: tuple[Cell, ...] = (None,) * 4 if part is None else (
            words("pol_governs") if clause.id == governing else None, part.currency, part.amount,
            part.why_zh if asked.lang == "zh" else part.why_en,
        )
        yield (
            uscc, one.account_no, on, words.of(clause.title), clause.id, words.name("clause", clause.kind),
            words.of(clause.basis), clause.effective_from, clause.effective_to, *demanded,
        )


def _runs(asked: Asked) -> Iterable[Row]:
    only, words = asked.request.query_params.get("round", "").strip(), asked.words
    if len(only) > operations.ROUND_CHARACTERS_MAX:
        raise Problem(400, f"round is at most {operations.ROUND_CHARACTERS_MAX} characters")
    with asked.ports.database.read() as session:
        found = runs.recent(session, limit=RUNS_MAX, round=only or None)
    return (
        (
            words.name("round", one.round), one.shard, one.scheduled_at, one.started_at, one.finished_at,
            words.name("outcome", one.outcome or "running"), one.begun,
            " ".join(f"{name}={count}" for name, count in one.counts.items()), one.detail,
        )
        for one in found
    )


def _banks(asked: Asked) -> Iterable[Row]:
    words = asked.words
    with asked.ports.database.read() as session:
        found = pulls.bank_answers(session, visible=scope_of(asked.who))
    return (
        (
            one.bank, one.accounts, one.silent, one.last_answer_at,
            " · ".join(f"{words.name('refusal', reason)} {count}" for reason, count in one.refusals.items()),
        )
        for one in found
    )


