"""The summary of a resolution pack as one page that prints on A4 and needs nothing beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from html import escape
from typing import Any

from alerts.feeds.item import LANGUAGE_TAGS, SEVERITY_WORDS, Lang
from escrow_monitor.actions.pack_told import PackTold
from escrow_monitor.domain.bridge_words import LABELS, Label
from escrow_monitor.domain.dispute_words import STATES, CaseState
from escrow_monitor.domain.findings import Sentence
from escrow_monitor.domain.money import Money

GAPS_SHOWN = 31
CLAUSES_SHOWN = 60


def summary_page(told: PackTold, lang: Lang) -> str:
    """Write the page."""
    return _Page(told, lang).text()


class _Page:
    def __init__(self, told: PackTold, lang: Lang) -> None:
        self._told, self._lang = told, lang

    def text(self) -> str:
        told, w = self._told, self._w
        title = f"{told.institution.name} · {w('title')}"
        parts = (
            self._head(), self._who(), self._money(), self._accounts(), self._owed(), self._cases(), self._bridge(),
            self._open_items(), self._coverage(), self._alerts(), self._policy(), self._checks(), self._files(),
        )
        return (
            f'<!doctype html>\n<html lang="{LANGUAGE_TAGS[self._lang]}"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(title)}</title><style>{_STYLES}</style></head><body>\n"
            + "\n".join(parts) + "\n</body></html>\n"
        )

    # parts

    def _head(self) -> str:
        told = self._told
        bad = [check for check in told.checks if check.residual]
        verdict = self._w("agrees") if not bad else self._w("differs").format(count=len(bad))
        return (
            f"<header><p class=quiet>{self._t('title')}</p><h1>{escape(told.institution.name)}</h1>"
            f'<p class="{"good" if not bad else "bad"}">{escape(verdict)}</p>'
            f"<p class=quiet>{self._t('intro')}</p></header>"
        )

    def _who(self) -> str:
        one, told = self._told.institution, self._told
        facts = (
            ("uscc", one.uscc), ("kind", one.kind and self._w(one.kind.value)), ("status", self._w(one.status.value)),
            ("district", one.district), ("grid", one.grid), ("licence", one.licence_no),
            ("licence_to", one.licence_expires_on), ("made_at", self._at(told.made_at)), ("made_by", told.actor),
            ("sums_on", told.sums_on), ("version", f"escrow-monitor {told.version}; {told.policy_version}"),
            ("chain", f"{told.head_seq}  {told.head}"),
        )
        rows = "".join(f"<div><dt>{self._t(name)}</dt><dd>{self._cell(value)}</dd></div>" for name, value in facts)
        return f"<section><dl class=facts>{rows}</dl></section>"

    def _money(self) -> str:
        """Held against owed, by currency. What is not known of one account is not known of the sum."""
        seen = self._told.seen
        rows = []
        for currency in sorted({*(row["currency"] for row in seen.accounts), *seen.contracts}):
            booked = [row["booked"] for row in seen.accounts if row["currency"] == currency]
            held = None if not booked or None in booked else sum(each.minor_units for each in booked)
            owed = seen.owed[currency] if seen.contracts[currency] else None
            left = None if held is None or owed is None else held - owed
            unsure = self._w("at_least") if seen.impossible and owed is not None else ""
            rows.append((
                currency, self._fen(held, currency), (unsure + " " if unsure else "") + self._fen(owed, currency),
                self._fen(left, currency), self._fen(seen.due[currency] if owed is not None else None, currency),
                str(seen.contracts[currency]), str(seen.families[currency]),
            ))
        return self._section("money", self._table(
            ("currency", "held", "owed", "left", "due", "contracts", "families"), rows, numbers=range(1, 7)
        ), note="money_note")

    def _accounts(self) -> str:
        rows = []
        for row in self._told.seen.accounts:
            sure = self._w("never" if row["booked"] is None else "final" if row["booked_final"] else "intraday")
            rows.append((
                row["account_no"], row["bank"], f"{self._w(row['purpose'])} / {self._w(row['mode'])}",
                self._w(f"account_{row['status']}"),
                self._money_cell(row["booked"]), f"{sure}, {self._at(row['booked_as_of'])}" if row["booked"] else sure,
                self._money_cell(row["held"]), self._money_cell(row["required"]), self._standing(row["standing"]),
            ))
        return self._section("accounts", self._table(
            ("account", "bank", "purpose", "status", "balance", "certainty", "frozen", "floor", "standing"), rows,
            numbers=(4, 6, 7), short=(3, 8),
        ))

    def _owed(self) -> str:
        seen = self._told.seen
        lines = sorted(seen.largest, key=lambda line: (-line.fen, line.contract_no))
        rows = [(line.contract_no, line.student_ref, self._fen(line.fen, line.currency)) for line in lines]
        told = self._w("owed_note").format(shown=len(rows), count=sum(seen.families.values()))
        bad = ""
        if seen.impossible:
            some = ", ".join(seen.impossible[:10])
            bad = f"<p class=bad>{escape(self._w('impossible').format(count=len(seen.impossible), some=some))}</p>"
        return self._section("who_is_owed", bad + self._table(("contract", "student", "owed"), rows, numbers=(2,)),
                             text=told)

    def _cases(self) -> str:
        seen = self._told.seen
        states = " · ".join(f"{self._case_state(state)} {count}" for state, count in sorted(seen.cases.items()))
        rows = [
            (
                row["case_no"], row["contract_no"], row["claimed_on"], self._case_state(row["state"]),
                self._money_cell(row["claimed"]), self._money_cell(row["quoted"]), self._money_cell(row["paid"]),
            )
            for row in seen.open_cases
        ]
        return self._section("cases", self._table(
            ("case", "contract", "claimed_on", "state", "claimed", "quoted", "paid"), rows, numbers=(4, 5, 6)
        ), text=states)

    def _bridge(self) -> str:
        parts = []
        for bridge in self._told.bridges:
            currency = bridge["currency"]
            rows = [(self._w("owed"), "", self._fen(bridge["required_fen"], currency))]
            rows += [
                (self._say(LABELS[Label(line["label"])]), f"{line['items']}", self._fen(line["impact_fen"], currency))
                for line in bridge["lines"]
            ]
            rows.append((self._w("residual"), "", self._fen(bridge["residual_fen"], currency)))
            rows.append((self._w("in_bank"), "", self._fen(bridge["bank_fen"], currency)))
            whole = self._w("complete" if bridge["complete"] else "incomplete")
            parts.append(f"<h3>{escape(bridge['day'])} · {escape(whole)}</h3>" + self._table(
                ("line", "items", "amount"), rows, numbers=(1, 2)
            ))
        return self._section("bridge", "".join(parts) or self._none())

    def _open_items(self) -> str:
        seen = self._told.seen
        rows = [
            (self._w(name), str(seen.open_items[name]), "; ".join(
                f"{self._fen(fen, currency)} {currency}" for (of, currency), fen in sorted(seen.open_amounts.items())
                if of == name
            )) for name in ("open-lines", "open-expected")
        ]
        return self._section("open_items", self._table(("what", "items", "amount"), rows, numbers=(1, 2)))

    def _coverage(self) -> str:
        seen = self._told.seen
        rows = []
        for row in seen.accounts:
            gaps = seen.gaps.get(row["account_no"], [])
            shown = ", ".join(day.isoformat() for day in gaps[-GAPS_SHOWN:])
            more = "" if len(gaps) <= GAPS_SHOWN else f" … ({len(gaps)})"
            rows.append((
                row["account_no"], row["covered_from"], row["covered_to"], str(seen.days_covered[row["account_no"]]),
                f"{shown}{more}" or self._w("no_gaps"),
            ))
        return self._section("coverage", self._table(
            ("account", "from", "to", "days", "missing"), rows, numbers=(3,)
        ))

    def _alerts(self) -> str:
        seen = self._told.seen
        rows = [
            (
                SEVERITY_WORDS_OF[row["severity"]][self._lang], row["rule"], self._at(row["opened_at"]),
                row["why_zh"] if self._lang == "zh" else row["why_en"],
            )
            for row in seen.alerts
        ]
        decided = [
            (row["decided_at"] and self._at(row["decided_at"]), row["kind"], row["decided_by"], row["note"])
            for row in seen.decisions
        ]
        found = self._section("alerts", self._table(("severity", "rule", "since", "why"), rows, short=(0, 1)))
        if decided:
            found += self._section("decisions", self._table(("when", "what", "who", "why"), decided, short=(1,)))
        return found

    def _policy(self) -> str:
        clauses = {clause.id: clause for one in self._told.floors for clause in one.policy.clauses}
        rows = [
            (self._say(clause.title), clause.effective_from, self._say(clause.basis))
            for clause in list(clauses.values())[:CLAUSES_SHOWN]
        ]
        floors = [
            (one.account_no, "–" if one.required.amount is None else one.required.amount.grouped,
             self._w("whole" if one.required.complete else "not_whole"),
             "; ".join(part.why_zh if self._lang == "zh" else part.why_en for part in one.required.parts))
            for one in self._told.floors
        ]
        return self._section(
            "floors", self._table(("account", "floor", "sure", "why"), floors, numbers=(1,), short=(0, 2))
        ) + self._section("policy", self._table(("clause", "in_force", "source"), rows, short=(1,)))

    def _checks(self) -> str:
        rows = [
            (
                self._say(check.what), check.text(check.left), check.text(check.right), check.text(check.residual),
                self._w("yes" if not check.residual else "no"),
            )
            for check in self._told.checks
        ]
        return self._section("checks", self._table(
            ("check", "left_sum", "right_sum", "residual", "agrees_col"), rows, numbers=(1, 2, 3)
        ))

    def _files(self) -> str:
        rows = [
            (file.name, "" if file.rows is None else str(file.rows), self._say(file.what), file.sha256)
            for file in self._told.files
        ]
        return self._section("files", self._table(("file", "rows", "what", "sha"), rows, numbers=(1,), codes=(3,)),
                             note="files_note")

    # how it is written

    def _section(self, name: str, body: str, *, note: str = "", text: str = "") -> str:
        said = f"<p class=quiet>{self._t(note)}</p>" if note else ""
        said += f"<p class=quiet>{escape(text)}</p>" if text else ""
        return f"<section><h2>{self._t(name)}</h2>{said}{body}</section>"

    def _table(
        self, heads: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Iterable[int] = (),
        codes: Iterable[int] = (), short: Iterable[int] = (),
    ) -> str:
        classes = dict.fromkeys(short, " class=short") | dict.fromkeys(codes, " class=code")
        classes |= dict.fromkeys(numbers, " class=number")

        def kind(place: int) -> str:
            return classes.get(place, "")

        lines = [
            "<tr>" + "".join(f"<td{kind(place)}>{self._cell(cell)}</td>" for place, cell in enumerate(row)) + "</tr>"
            for row in rows
        ]
        if not lines:
            return self._none()
        head = "".join(f'<th scope="col"{kind(place)}>{self._t(name)}</th>' for place, name in enumerate(heads))
        return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"

    def _none(self) -> str:
        return f"<p>{self._t('none')}</p>"

    def _cell(self, value: object) -> str:
        if value is None or value == "":
            return f"<span class=quiet>{self._t('unknown')}</span>" if value is None else ""
        if isinstance(value, datetime):
            return escape(self._at(value))
        return escape(value.isoformat() if isinstance(value, date) else str(value))

    def _fen(self, fen: int | None, currency: str) -> str:
        return self._w("unknown") if fen is None else Money(fen, currency).grouped

    def _money_cell(self, amount: Money | None) -> str | None:
        return None if amount is None else amount.grouped

    def _standing(self, standing: str | None) -> str:
        return self._w(f"standing_{standing}") if standing in ("met", "breached", "unknown") else str(standing)

    def _case_state(self, state: str) -> str:
        return self._say(STATES[CaseState(state)])

    def _at(self, at: datetime | None) -> str:
        return self._w("unknown") if at is None else f"{at.astimezone(self._told.zone):%Y-%m-%d %H:%M:%S %z}"

    def _say(self, sentence: Sentence) -> str:
        return sentence.zh if self._lang == "zh" else sentence.en

    def _w(self, name: str) -> str:
        return self._say(_WORDS[name])

    def _t(self, name: str) -> str:
        return escape(self._w(name))


SEVERITY_WORDS_OF: Mapping[str, Mapping[Lang, str]] = {
    severity.value: words for severity, words in SEVERITY_WORDS.items()
}


def _words(**pairs: tuple[str, str]) -> dict[str, Sentence]:
    return {name: Sentence(zh=zh, en=en) for name, (zh, en) in pairs.items()}


_WORDS: Mapping[str, Any] = {
    **_words(
        title=("处置档案", "Resolution pack"),
        agrees=("各项合计核对一致，残差为 0。", "All sums agree: every residual is 0."),
        differs=("有 {count} 项合计不一致：见「合计核对」，使用前请先查明。",
                 "{count} sums do not agree: see “Sums held against each other” and find out why before use."),
        intro=("本页汇总同一压缩包内的文件；金额以文件为准。学员仅以代号列示。未知即未知，不按零计算。",
               "This page sums up the files of the same archive; the files prevail. Students are pseudonyms only. "
               "What is not known is said to be so and never counted as zero."),
        uscc=("统一社会信用代码", "Social credit code"), kind=("类别", "Kind"), status=("状态", "Status"),
        district=("区县", "District"), grid=("网格", "Grid"), licence=("办学许可证", "Licence"),
        licence_to=("有效期至", "Licence until"), made_at=("生成时间", "Made at"), made_by=("生成人", "Made by"),
        sums_on=("合同汇总截至（日终）", "Sums over contracts hold for the end of"),
        version=("程序和政策版本", "Program and policies"),
        chain=("审计链末端（序号、哈希）", "Head of the audit chain"),
        money=("账上资金与应付家庭金额", "Held and owed"),
        money_note=("账上为各账户最新余额之和；有一个账户未知即为未知。差额为负表示不足。应退为今日因机构原因全部终止时的退费合计。",
                    "Held is the newest balance of all accounts, unknown where one is. A difference below zero is "
                    "missing. Due is what all refunds would come to if the institution ended every contract."),
        currency=("币种", "Currency"), held=("账上资金", "Held"), owed=("应付家庭", "Owed to families"),
        left=("差额", "Difference"), due=("应退（机构原因）", "Due back"), contracts=("合同数", "Contracts"),
        families=("尚欠的合同数", "of them owed"), at_least=("至少", "at least"),
        accounts=("账户和最新余额", "Accounts and newest balances"), account=("账号", "Account"), bank=("银行", "Bank"),
        purpose=("用途／方式", "Purpose / mode"), balance=("最新余额", "Newest balance"),
        certainty=("性质和银行时间", "Certainty, bank's time"), frozen=("冻结", "Held back"),
        floor=("最低余额", "Floor"),
        standing=("核查结论", "Standing"), never=("从未取得", "never stated"), final=("日终", "final"),
        intraday=("日间，非最终", "intraday, not final"), standing_met=("达标", "met"),
        standing_breached=("未达标", "breached"), standing_unknown=("未知", "unknown"),
        who_is_owed=("应付金额最大的合同", "The contracts that are owed most"), contract=("合同", "Contract"),
        student=("学员代号", "Student (pseudonym)"),
        owed_note=("列出 {shown} 份，共 {count} 份尚欠；全部见 contracts.csv，逐项计算见 owed.jsonl。",
                   "{shown} of {count} that are owed; all in contracts.csv, line by line in owed.jsonl."),
        impossible=("{count} 份合同记录不可能成立，未计入任何合计：{some}",
                    "the records of {count} contracts cannot be right and are in no sum: {some}"),
        cases=("退费案件", "Refund cases"), case=("案件", "Case"), claimed_on=("申请日", "Claimed on"),
        state=("状态", "State"), claimed=("申请金额", "Claimed"), quoted=("计算金额", "Quoted"), paid=("已退", "Paid"),
        bridge=("最近一次对账", "The newest reconciliation"), line=("行", "Line"), items=("笔数", "Items"),
        amount=("金额", "Amount"), residual=("残差", "Residual"), in_bank=("银行余额", "In the bank"),
        complete=("完整", "complete"), incomplete=("不完整", "INCOMPLETE"),
        open_items=("未匹配项", "Not matched"), what=("内容", "What"),
        coverage=("对账单覆盖", "Statement coverage"), to=("至", "To"), days=("覆盖天数", "Days covered"),
        missing=("缺少的日期", "Missing days"), no_gaps=("无已知缺日", "no known gap"),
        alerts=("未解除的预警", "Open alerts"), severity=("级别", "Severity"), rule=("规则", "Rule"),
        since=("起", "Since"),
        why=("原因", "Why"), decisions=("对预警的处置", "What was decided"), when=("时间", "When"), who=("人", "Who"),
        floors=("各账户最低余额", "Floors of the accounts"), sure=("是否确定", "Certainty"), whole=("确定", "whole"),
        not_whole=("不确定", "not whole"), policy=("现行条款及来源", "Clauses in force and their sources"),
        clause=("条款", "Clause"), in_force=("生效", "In force from"), source=("来源", "Source"),
        checks=("合计核对", "Sums held against each other"), check=("核对内容", "Check"), left_sum=("左", "Left"),
        right_sum=("右", "Right"), agrees_col=("一致", "Agrees"), yes=("是", "yes"), no=("否", "NO"),
        files=("文件清单", "Files"), file=("文件", "File"), rows=("行数", "Rows"), sha=("SHA-256", "SHA-256"),
        files_note=("CSV 为 UTF-8；可能被电子表格当作公式或数字的文字前加单引号。本页和其后的文件的校验值见 SHA256SUMS "
                    "和 manifest.json；压缩包本身的校验值记在审计记录中。",
                    "CSV is UTF-8; a text that a sheet could take for a formula or number begins with an apostrophe. "
                    "The hashes of this page and the files after it are in SHA256SUMS and manifest.json; that of the "
                    "archive itself is in the audit record."),
        none=("无", "none"), unknown=("未知", "not known"),
    ),
    **_words(
        subject=("学科类", "subject"), non_subject=("非学科类", "non-subject"), operating=("正常", "operating"),
        suspended=("暂停", "suspended"), closing=("停办中", "closing"), closed=("已停办", "closed"),
        escrow=("监管专户", "escrow"), deposit=("保证金", "deposit"), settlement=("结算", "settlement"),
        custody=("托管", "custody"), account_active=("正常", "active"), account_frozen=("冻结", "frozen"),
        account_closed=("销户", "closed"), account_unknown=("未知", "not stated"),
    ),
    "from": Sentence(zh="自", en="From"),
    "open-lines": Sentence(zh="未匹配的银行流水", en="bank lines that are not matched"),
    "open-expected": Sentence(zh="未在银行见到的缴费、退费", en="charges and refunds not seen in the bank"),
}
_STYLES = """
@page{size:A4;margin:14mm 12mm}*{box-sizing:border-box}
body{font:14px/1.5 "Noto Sans CJK SC","Source Han Sans SC","PingFang SC","Microsoft YaHei",system-ui,sans-serif;
color:#111;background:#fff;max-width:190mm;margin:0 auto;padding:8mm 4mm}
h1{font-size:24px;margin:0 0 4px}h2{font-size:17px;margin:22px 0 6px;border-bottom:1px solid #999;break-after:avoid}
h3{font-size:14px;margin:12px 0 4px;break-after:avoid}p{margin:4px 0}.quiet{color:#555}
.good,.bad{padding:6px 10px;border-left:4px solid #18794e;background:#f2f7f4}
.bad{border-color:#b42318;background:#fdf3f2}
dl.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(60mm,1fr));gap:2px 12px;margin:8px 0}
dl.facts div{display:flex;gap:8px;min-width:0}dt{color:#555;flex:none}dd{margin:0;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%;font-size:12px}th,td{border-bottom:1px solid #ddd;padding:3px 6px;
text-align:left;vertical-align:top;overflow-wrap:anywhere}thead{display:table-header-group}tr{break-inside:avoid}
.number{text-align:right;font-variant-numeric:tabular-nums;overflow-wrap:normal}
.short,.number{white-space:nowrap}.code{font:10px/1.4 monospace}
@media print{body{max-width:none;padding:0;font-size:12px}table{font-size:10.5px}}
""".strip().replace("\n", "")
