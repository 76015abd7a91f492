"""The tables of institutions and their money: register, contracts, statement days, cases, reconciliations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from decimal import Decimal
from functools import partial

from escrow_monitor.actions.show_case import CaseShown, shown_cases
from escrow_monitor.actions.table_export import Cell, Column, ExportTable, Kind, Row
from escrow_monitor.domain.dispute_words import STATES
from escrow_monitor.domain.disputes import OPEN_STATES
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.matching import BankLine, Break, Expected
from escrow_monitor.domain.money import Money
from escrow_monitor.records import accounts as register
from escrow_monitor.records import institution_pages
from escrow_monitor.records.bank import coverage
from escrow_monitor.records.contracts import case_pages
from escrow_monitor.records.contracts.case_book import day_of
from escrow_monitor.records.contracts.case_pages import CasePlace, FoundCase
from escrow_monitor.records.contracts.contracts import contracts
from escrow_monitor.records.contracts.sums import contract_sums
from escrow_monitor.records.institution_pages import InstitutionLine, Place
from escrow_monitor.records.reconciliation import pages as reconciliation_pages
from escrow_monitor.records.reconciliation.pages import NewestLine
from escrow_monitor.web.console import cases, institutions, reconcile
from escrow_monitor.web.console.tables import ROWS_A_PIECE, Asked, Taken, piecewise
from escrow_monitor.web.console.words import Words
from escrow_monitor.web.who import scope_of

STATEMENT_DAYS = 63
"""So far back statement days are told of an account without any."""
ITEMS_MAX = 100_000

INSTITUTIONS = ExportTable(name="institutions", zh="机构", en="Institutions", columns=(
    Column("统一社会信用代码", "USCC"), Column("机构名称", "Institution"), Column("区划", "District"),
    Column("所在地", "Place"), Column("类别", "Kind"), Column("经营状态", "Status"), Column("结论", "Standing"),
    Column("最高预警等级", "Worst alert level"), Column("账户", "Account"), Column("银行", "Bank"),
    Column("币种", "Currency"), Column("余额", "Balance", Kind.MONEY), Column("最低余额", "Floor", Kind.MONEY),
    Column("核查时间", "Checked at", Kind.INSTANT), Column("账户数", "Accounts", Kind.COUNT),
    Column("未解除预警数", "Open alerts", Kind.COUNT), Column("最严重的预警", "Worst alert"),
    Column("预警开始时间", "Alert since", Kind.INSTANT), Column("银行最近应答", "Bank's last answer", Kind.INSTANT),
    Column("对账单覆盖至", "Statements to", Kind.DATE), Column("关停风险等级", "Closure level"),
    Column("60 天内关停可能性", "Chance of closing in 60 days", Kind.SHARE),
))
CONTRACTS = ExportTable(name="contracts", zh="合同", en="Contracts", columns=(
    Column("合同编号", "Contract"), Column("统一社会信用代码", "USCC"), Column("学员代号", "Student (pseudonym)"),
    Column("课程", "Course"), Column("签订日期", "Signed on", Kind.DATE), Column("开课日期", "Starts on", Kind.DATE),
    Column("结课日期", "Ends on", Kind.DATE), Column("课时", "Lessons", Kind.COUNT),
    Column("赠送课时", "Gift lessons", Kind.COUNT), Column("币种", "Currency"), Column("学费", "Fee", Kind.MONEY),
    Column("材料费", "Materials fee", Kind.MONEY), Column("已缴", "Paid", Kind.MONEY),
    Column("已退", "Refunded", Kind.MONEY), Column("已消课金额", "Earned", Kind.MONEY),
    Column("应付家长余额", "Owed to the family", Kind.MONEY), Column("截至", "At the end of", Kind.DATE),
    Column("合同状态", "Status"),
))
STATEMENT_COVERAGE = ExportTable(name="statement-days", zh="对账单覆盖", en="Statement days", columns=(
    Column("统一社会信用代码", "USCC"), Column("账户", "Account"), Column("银行", "Bank"),
    Column("日期", "Day", Kind.DATE), Column("状态", "State"),
))
CASES = ExportTable(name="cases", zh="退费案件", en="Refund cases", columns=(
    Column("案件编号", "Case"), Column("合同编号", "Contract"), Column("统一社会信用代码", "USCC"),
    Column("机构名称", "Institution"), Column("状态", "State"), Column("申请日期", "Claimed on", Kind.DATE),
    Column("币种", "Currency"), Column("申请金额", "Claimed", Kind.MONEY), Column("测算金额", "Computed", Kind.MONEY),
    Column("确定应退", "Agreed", Kind.MONEY), Column("责令退还", "Ordered", Kind.MONEY),
    Column("银行已见退还", "Seen paid in bank", Kind.MONEY), Column("下一期限", "Next deadline", Kind.DATE),
))
RECONCILIATIONS = ExportTable(name="reconciliations", zh="对账", en="Reconciliations", columns=(
    Column("统一社会信用代码", "USCC"), Column("机构名称", "Institution"), Column("币种", "Currency"),
    Column("对账日", "Day", Kind.DATE), Column("应存", "Required", Kind.MONEY),
    Column("银行余额", "In the bank", Kind.MONEY), Column("差额", "Net", Kind.MONEY),
    Column("未解释", "Unexplained", Kind.MONEY), Column("完整", "Complete"),
    Column("待处理项", "Items open", Kind.COUNT), Column("最近确认", "Confirmed at", Kind.INSTANT),
))
ITEMS = ExportTable(name="open-items", zh="未达账项", en="Open items", columns=(
    Column("统一社会信用代码", "USCC"), Column("账户", "Account"), Column("一侧", "Side"), Column("类别", "Kind"),
    Column("原因", "Why it is open"), Column("日期", "Day", Kind.DATE), Column("币种", "Currency"),
    Column("金额", "Amount", Kind.MONEY), Column("参考号", "Reference"), Column("摘要", "Text"), Column("编号", "Id"),
))


def tables() -> list[Taken]:
    """All of them, for whoever may read the page."""
    return [
        Taken(path="/institutions", table=INSTITUTIONS, rows=_institutions),
        Taken(path="/institutions/{uscc}/contracts", table=CONTRACTS, rows=_contracts, about="uscc", personal=True),
        Taken(path="/institutions/{uscc}/statement-days", table=STATEMENT_COVERAGE, rows=_statement_days, about="uscc"),
        Taken(path="/cases", table=CASES, rows=_cases, personal=True),
        Taken(path="/reconcile", table=RECONCILIATIONS, rows=_reconciliations),
        Taken(path="/reconcile/{uscc}/items", table=ITEMS, rows=_items, about="uscc", personal=True),
    ]


def _institutions(asked: Asked) -> Iterable[Row]:
    filters = institutions.filters_of(asked.request.query_params, scope_of(asked.who))
    words = asked.words

    def ask(after: Place | None) -> tuple[list[InstitutionLine], Place | None]:
        with asked.ports.database.read() as session:
            lines = list(institution_pages.page(
                session, filters.asked, after=after, limit=ROWS_A_PIECE, by_code=filters.by_code
            ))
        return lines, lines[-1].place if len(lines) == ROWS_A_PIECE else None

    def row(line: InstitutionLine) -> Row:
        one, weak = line.institution, line.weakest
        alert = line.alerts[0] if line.alerts else None
        known: tuple[Cell, ...] = (None,) * 6 if weak is None else (
            weak.account_no, weak.bank, weak.currency, _amount(weak.balance_fen, weak.currency),
            _amount(weak.required_fen, weak.currency), weak.checked_at,
        )
        return (
            one.uscc, one.name, one.district, institutions.place_name(one.district, asked.ports.policies),
            words.name("kind", one.kind) if one.kind else None, words.name("status", one.status),
            words.name("standing", line.standing), None if alert is None else words.name("level", alert.severity),
            *known, len(line.accounts), len(line.alerts), None if alert is None else words.of(alert.why),
            None if alert is None else alert.opened_at, None if weak is None else weak.last_answer_at,
            None if weak is None else weak.covered_to,
            None if line.closure is None or line.closure.level is None else words.name("level", line.closure.level),
            None if line.closure is None else Decimal(f"{line.closure.chance:.4f}"),
        )

    return piecewise(ask, row)


def _contracts(asked: Asked) -> Iterable[Row] | None:
    found = _theirs(asked)
    if found is None:
        return None

    def ask(after: str | None) -> tuple[list[Row], str | None]:
        with asked.ports.database.read() as session:
            several = contracts(session, uscc=found.uscc, after=after, limit=ROWS_A_PIECE)
            sums = contract_sums(session, contract_nos=[one.contract_no for one in several])
        rows: list[Row] = []
        for one in several:
            sum_ = sums.get(one.contract_no)
            rows.append((
                one.contract_no, one.uscc, one.student_ref, one.course, one.signed_on, one.starts_on, one.ends_on,
                one.lessons_paid, one.lessons_gift, one.fee.currency, one.fee, one.materials_fee,
                *((None,) * 5 if sum_ is None else (sum_.paid, sum_.refunded, sum_.entitled, sum_.obligation, sum_.on)),
                one.status,
            ))
        return rows, several[-1].contract_no if len(several) == ROWS_A_PIECE else None

    return piecewise(ask, _same)


def _statement_days(asked: Asked) -> Iterable[Row] | None:
    found = _theirs(asked)
    if found is None:
        return None
    today, words = asked.now.astimezone(asked.ports.zone).date(), asked.words

    def rows() -> Iterator[Row]:
        with asked.ports.database.read() as session:
            held = register.accounts(session, uscc=found.uscc)
        for account in held:
            with asked.ports.database.read() as session:
                known = coverage.coverage(session, account.account_no)
                begin = known[0].covered_from if known else None
                days = coverage.days(
                    session, account.account_no, begin or today - timedelta(days=STATEMENT_DAYS), today
                )
            for day, state in days:
                yield found.uscc, account.account_no, account.bank, day, words.name("cover", state)

    return rows()


def _cases(asked: Asked) -> Iterable[Row]:
    filters = cases.filters_of(asked.request.query_params, scope_of(asked.who))
    states = (*OPEN_STATES, *cases.ENDED) if filters.state is None else (filters.state,)
    today = day_of(asked.now)

    def ask(place: tuple[int, CasePlace | None] | None) -> tuple[list[Row], tuple[int, CasePlace | None] | None]:
        number, after = place or (0, None)
        with asked.ports.database.read() as session:
            several = case_pages.page(session, filters.asked, states[number], after=after, limit=ROWS_A_PIECE)
            shown = shown_cases(session, asked.ports.policies, [one.record for one in several], on=today,
                                visible=scope_of(asked.who))
        rows = [_case(one, each) for one, each in zip(several, shown, strict=True)]
        if len(several) == ROWS_A_PIECE:
            return rows, (number, several[-1].place)
        return rows, (number + 1, None) if number + 1 < len(states) else None

    return piecewise(ask, _same)


def _case(found: FoundCase, shown: CaseShown) -> Row:
    case, next_ = shown.case, shown.next_deadline
    return (
        case.case_no, case.contract_no, case.uscc, found.institution, STATES[case.state], case.claimed_on,
        case.currency, case.claimed, case.quoted, case.agreed, case.ordered, case.paid,
        None if next_ is None else next_.last_day,
    )


def _reconciliations(asked: Asked) -> Iterable[Row]:
    filters = reconcile.filters_of(asked.request.query_params, scope_of(asked.who))
    words = asked.words

    def ask(after: tuple[str, str] | None) -> tuple[list[NewestLine], tuple[str, str] | None]:
        with asked.ports.database.read() as session:
            lines = reconciliation_pages.newest_lines(
                session, filters.asked, after=after or ("", ""), limit=ROWS_A_PIECE
            )
        last = lines[-1].stored if len(lines) == ROWS_A_PIECE else None
        return lines, None if last is None else (last.uscc, last.currency)

    def row(line: NewestLine) -> Row:
        one, said = line.stored, line.stored.document
        amounts = (_amount(said.get(name), one.currency) for name in ("required_fen", "bank_fen", "net_fen",
                                                                     "residual_fen"))
        return (
            one.uscc, line.institution, one.currency, one.day, *amounts,
            words("rec_complete" if one.complete else "rec_incomplete"), line.breaks, one.confirmed_at,
        )

    return piecewise(ask, row)


def _items(asked: Asked) -> Iterable[Row] | None:
    found = _theirs(asked)
    if found is None:
        return None
    with asked.ports.database.read() as session:
        items = reconciliation_pages.open_items(session, found.uscc, limit=ITEMS_MAX)
    of = partial(_item, asked.words)
    return (
        of(one, items.lines.get(one.item_id) if one.is_line else items.expected.get(one.item_id))
        for one in items.breaks
    )


def _item(words: Words, one: Break, item: BankLine | Expected | None) -> Row:
    if item is None:
        return (*(None,) * 4, words.name("rec_near", one.kind), one.on, *(None,) * 4, one.item_id)
    line, kind, text = (True, None, item.text) if isinstance(item, BankLine) else (False, item.kind, None)
    return (
        item.uscc, item.account_no, words("rec_line" if line else "rec_open_items"),
        None if kind is None else words.name("rec_item", kind), words.name("rec_near", one.kind), item.on,
        item.currency, Money(item.amount_fen, item.currency), item.reference, text, one.item_id,
    )


def _theirs(asked: Asked) -> Institution | None:
    """The institution that the path names, if the reader may see it."""
    with asked.ports.database.read() as session:
        found = register.institution(session, asked.request.path_params["uscc"])
    return found if found is not None and scope_of(asked.who).covers_institution(found) else None


def _amount(fen: int | None, currency: str) -> Money | None:
    return None if fen is None else Money(fen, currency)


def _same(row: Row) -> Row:
    return row
