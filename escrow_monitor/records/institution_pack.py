"""All that is recorded of one institution, table by table and piece by piece: what a resolution pack is made of.

A part says its columns, where they come from and how it is gone through: `whole` at once, account by account in the
order of its key, or some contracts at a time. However large an institution is, one piece is held in memory.
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson
from sqlmodel import Session

from escrow_monitor.domain.money import Money
from escrow_monitor.records.bank.days import COUNTS
from escrow_monitor.records.bulk import Reader, fetch, from_json, texts
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.evidence.chain import head_after

ROWS_AT_ONCE = 5_000
CONTRACTS_AT_ONCE = 2_000


class Way(StrEnum):
    """How a part is gone through."""

    WHOLE = "whole"
    ACCOUNTS = "accounts"
    CONTRACTS = "contracts"


class Kind(StrEnum):
    """What a column holds. Money comes with the currency of its row."""

    TEXT = "t"
    MONEY = "m"
    DATE = "d"
    INSTANT = "i"
    COUNT = "n"
    CLAIM = "b"


@dataclass(frozen=True, slots=True)
class PartColumn:
    """One column: its name in the file, the SQL it comes from, and what it holds."""

    name: str
    sql: str
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One table of a pack. `source` is all after FROM, its condition included; `key` orders the rows and is unique.

    Of an account's part the key goes on after `account_no`, which is not in it.
    """

    name: str
    columns: tuple[PartColumn, ...]
    source: str
    key: tuple[str, ...]
    way: Way = Way.WHOLE
    currency: str = "'CNY'"


def _part(
    name: str, columns: str, source: str, *, key: str, way: Way = Way.WHOLE, currency: str = "'CNY'"
) -> Part:
    """`a.day:d` is a date named day, `x.amount_fen:m` money named amount, `s.note=why` a text named why."""
    found = []
    for each in columns.split(","):
        told, _, kind = each.strip().partition(":")
        sql, _, given = told.rpartition("=") if "=" in told else (told, "", "")
        found.append(PartColumn(given or sql.rpartition(".")[2].removesuffix("_fen"), sql, Kind(kind or "t")))
    return Part(
        name=name, columns=tuple(found), source=source, key=tuple(each.strip() for each in key.split(",")), way=way,
        currency=currency,
    )


_A, _K, _OF = Way.ACCOUNTS, Way.CONTRACTS, "= :uscc"

PARTS: tuple[Part, ...] = (
    _part(
        "institution", "i.uscc, i.name, i.kind, i.district, i.grid, i.licence_no, i.licence_expires_on:d, i.status,"
        " i.policy, i.recorded_at:i, i.changed_at:i", f"institutions i WHERE i.uscc {_OF}", key="i.uscc",
    ),
    _part(
        "accounts", "a.account_no, a.bank, a.connector, a.currency, a.purpose, a.mode, a.opened_on:d, a.external_id,"
        " s.status, s.status_as_of:i, s.booked_fen:m, s.booked_kind, s.booked_day:d, s.booked_as_of:i,"
        " s.booked_fetched_at:i, s.booked_final:b, s.held_fen:m, s.held_day:d, s.held_as_of:i, s.closing_fen:m,"
        " s.closing_day:d, s.closing_as_of:i, s.available_fen:m, s.available_as_of:i, s.covered_from:d, s.covered_to:d,"
        " s.last_answer_at:i, s.last_refusal, s.refusals_in_a_row:n, t.standing, t.level, t.required_fen:m,"
        " t.required_complete:b, t.balance_fen=checked_balance:m, t.below_since:i, t.checked_at:i",
        "accounts a JOIN account_states s ON s.account_no = a.account_no"
        f" JOIN account_standings t ON t.account_no = a.account_no WHERE a.uscc {_OF}",
        key="a.account_no", currency="a.currency",
    ),
    _part(
        "account-days", "d.account_no, d.day:d, d.covered:b, d.opening_fen:m, d.credits_fen:m, d.debits_fen:m,"
        " d.closing_fen:m, d.reversed_credits_fen:m, d.reversed_debits_fen:m, d.own_credits_fen:m, d.own_debits_fen:m,"
        " d.largest_debit_fen:m, d.statement_id, d.reopened_at:i",
        "account_days d JOIN accounts a ON a.account_no = d.account_no WHERE d.account_no = :account_no",
        key="d.day", way=_A, currency="a.currency",
    ),
    _part(
        "entries", "e.account_no, e.booked_on:d, e.identity, e.value_on:d, e.accounted_on:d, e.amount_fen:m,"
        " e.bank_ref, e.text, e.occurrence:n, e.reversal:b, e.final:b,"
        f" CASE WHEN {COUNTS} THEN 1 ELSE 0 END=counts:b, e.statement_id, e.recorded_at:i,"
        " e.superseded_at:i",
        "entries e JOIN accounts a ON a.account_no = e.account_no LEFT JOIN account_days d"
        " ON d.account_no = e.account_no AND d.day = e.accounted_on WHERE e.account_no = :account_no",
        key="e.booked_on, e.identity", way=_A, currency="a.currency",
    ),
    _part(
        "statements", "s.account_no, s.statement_id, s.kind, s.number, s.opening_fen:m, s.opening_on:d,"
        " s.closing_fen:m, s.closing_on:d, s.covers_from:d, s.covers_to:d, s.entries:n, s.source, s.place,"
        " s.raw_sha256, s.recorded_at:i, s.superseded_at:i, s.superseded_by",
        "statements s JOIN accounts a ON a.account_no = s.account_no WHERE s.account_no = :account_no",
        key="s.statement_id", way=_A, currency="a.currency",
    ),
    _part(
        "statement-gaps", "g.account_no, g.day:d, g.reason, g.found_at:i, g.filled_at:i, g.tries:n, g.tried_at:i",
        "coverage_gaps g WHERE g.account_no = :account_no", key="g.day", way=_A,
    ),
    _part(
        "balance-breaks", "b.account_no, b.day:d, b.kind, b.stated_fen:m, b.rolled_fen:m, b.stated_at:i, b.found_at:i,"
        " b.cleared_at:i",
        "balance_breaks b JOIN accounts a ON a.account_no = b.account_no WHERE b.account_no = :account_no",
        key="b.day, b.kind", way=_A, currency="a.currency",
    ),
    _part(
        "corrections", "c.account_no, c.day:d, c.number:n, c.opening_before_fen:m, c.opening_after_fen:m,"
        " c.closing_before_fen:m, c.closing_after_fen:m, c.added:n, c.removed:n, c.source, c.source_before,"
        " c.statement_id, c.statement_id_before, c.recorded_at:i",
        "statement_corrections c JOIN accounts a ON a.account_no = c.account_no WHERE c.account_no = :account_no",
        key="c.day, c.number", way=_A, currency="a.currency",
    ),
    _part(
        "contracts", "c.contract_no, c.student_ref, c.course, c.subject_kind, c.signed_on:d, c.starts_on:d,"
        " c.ends_on:d, c.lessons_paid:n, c.lessons_gift:n, c.gift_policy, c.currency, c.fee_fen:m,"
        " c.materials_fee_fen:m, c.materials_delivered:b, c.full_refund_days_before:n, c.full_refund_days_after:n,"
        " c.full_refund_lessons:n, c.prior_same_service:b, c.refund_deadline_days:n, c.refund_deadline_unit,"
        " c.late_daily_rate, c.penalty_pct_remaining, c.template_id, c.status, s.paid_fen:m,"
        " s.confirmed=lessons_confirmed:n, s.disputed=lessons_disputed:n,"
        " s.pending=lessons_pending:n, s.unknown=lessons_unknown:n, s.entitled_fen:m,"
        " s.disputed_fen=disputed_amount:m, s.refunded_fen:m, s.obligation_fen=owed:m",
        "contracts c LEFT JOIN contract_accounts s ON s.contract_no = c.contract_no"
        " WHERE c.contract_no IN EACH(:contract_nos)", key="c.contract_no", way=_K, currency="c.currency",
    ),
    _part(
        "charges", "c.contract_no, c.charge_no, c.paid_on:d, c.amount_fen:m, c.currency, c.channel, c.account_no,"
        " c.bank_ref, c.recorded_at:i", "charges c WHERE c.contract_no IN EACH(:contract_nos)",
        key="c.contract_no, c.charge_no", way=_K, currency="c.currency",
    ),
    _part(
        "lessons", "l.contract_no, l.session_no:n, l.taught_on:d, l.status, l.requested_on:d, l.decided_on:d,"
        " l.silence_on:d", "lessons l WHERE l.contract_no IN EACH(:contract_nos)", key="l.contract_no, l.session_no",
        way=_K,
    ),
    _part(
        "refunds", "r.contract_no, r.refund_no, r.paid_on:d, r.amount_fen:m, r.currency, r.claim_no, r.recorded_at:i",
        "refunds r WHERE r.contract_no IN EACH(:contract_nos)", key="r.contract_no, r.refund_no", way=_K,
        currency="r.currency",
    ),
    _part(
        "refund-claims", "q.contract_no, q.claim_no, q.claimed_on:d, q.amount_fen:m, q.currency, q.cause, q.note,"
        " q.recorded_at:i", "refund_claims q WHERE q.contract_no IN EACH(:contract_nos)",
        key="q.contract_no, q.claim_no", way=_K, currency="q.currency",
    ),
    _part(
        "cases", "c.case_no, q.contract_no, q.claimed_on:d, q.amount_fen=claimed:m, q.cause, c.state, c.moves:n,"
        " c.quoted_fen:m, c.agreed_fen:m, c.ordered_fen:m, c.paid_fen:m, c.proposed_fen:m, c.proposed_by, c.ruled:b,"
        " c.opened_at:i, c.changed_at:i",
        "refund_claims q JOIN cases c ON c.case_no = q.claim_no WHERE q.contract_no IN EACH(:contract_nos)",
        key="q.contract_no, c.case_no", way=_K, currency="q.currency",
    ),
    _part(
        "case-moves", "m.case_no, m.move_no:n, m.move, m.from_state, m.to_state, m.role, m.actor, m.reason,"
        " m.amount_fen:m, m.payable_fen:m, m.reference, m.moved_on:d, m.moved_at:i",
        "refund_claims q JOIN case_moves m ON m.case_no = q.claim_no WHERE q.contract_no IN EACH(:contract_nos)",
        key="q.contract_no, m.case_no, m.move_no", way=_K, currency="q.currency",
    ),
    _part(
        "case-notes", "n.case_no, n.note_no:n, n.actor, n.role, n.audience, n.text, n.noted_at:i",
        "refund_claims q JOIN case_notes n ON n.case_no = q.claim_no WHERE q.contract_no IN EACH(:contract_nos)",
        key="q.contract_no, n.case_no, n.note_no", way=_K,
    ),
    _part(
        "case-evidence", "e.case_no, e.evidence_no:n, e.filename, e.media_type, e.size:n, e.sha256, e.actor,"
        " e.role, e.audience, e.note,"
        " e.attached_at:i",
        "refund_claims q JOIN case_evidence e ON e.case_no = q.claim_no WHERE q.contract_no IN EACH(:contract_nos)",
        key="q.contract_no, e.case_no, e.evidence_no", way=_K,
    ),
    _part(
        "case-said-payments", "p.case_no, p.said_no:n, p.paid_on:d, p.amount_fen:m, p.bank_ref, p.note, p.actor,"
        " p.said_at:i",
        "refund_claims q JOIN case_said_payments p ON p.case_no = q.claim_no"
        " WHERE q.contract_no IN EACH(:contract_nos)",
        key="q.contract_no, p.case_no, p.said_no", way=_K, currency="q.currency",
    ),
    _part(
        "complaints", "c.complaint_no, c.received_on:d, c.channel, c.complainant_ref, c.topic, c.note, c.recorded_at:i",
        f"complaints c WHERE c.uscc {_OF}", key="c.received_on, c.complaint_no",
    ),
    _part(
        "notices", "n.notice_no, n.noticed_on:d, n.kind, n.source, n.note, n.recorded_at:i",
        f"notices n WHERE n.uscc {_OF}", key="n.noticed_on, n.notice_no",
    ),
    _part(
        "matches", "l.line_id, l.account_no, l.booked_on:d, l.amount_fen:m, e.expected_id, e.kind=expected_kind,"
        " e.expected_on:d, e.amount_fen=expected_amount:m, m.tier, m.residual_fen:m, m.made_at:i, m.made_by, m.reason",
        "match_lines l JOIN matches m ON m.line_no = l.line_no JOIN match_expected e ON e.expected_no = m.expected_no"
        f" WHERE l.uscc {_OF}", key="l.booked_on, l.line_id, e.expected_id", currency="l.currency",
    ),
    _part(
        "open-lines", "l.line_id, l.account_no, l.booked_on:d, l.amount_fen:m, l.currency, l.reference, l.text,"
        " (SELECT min(x.kind) FROM match_doubts x WHERE x.is_line AND x.item_no = l.line_no)=doubt",
        "match_houses h JOIN open_lines o ON o.house_key = h.house_key JOIN match_lines l ON l.line_no = o.line_no"
        f" WHERE h.uscc {_OF} AND l.uscc {_OF}", key="l.booked_on, l.line_id", currency="l.currency",
    ),
    _part(
        "open-expected", "e.expected_id, e.kind, e.account_no, e.expected_on:d, e.amount_fen:m, e.currency,"
        " e.reference,"
        " (SELECT min(x.kind) FROM match_doubts x WHERE NOT x.is_line AND x.item_no = e.expected_no)=doubt",
        "match_houses h JOIN open_expected o ON o.house_key = h.house_key"
        f" JOIN match_expected e ON e.expected_no = o.expected_no WHERE h.uscc {_OF} AND e.uscc {_OF}",
        key="e.expected_on, e.expected_id", currency="e.currency",
    ),
    _part(
        "reconciliations", "r.recon_no:n, r.currency, r.day:d, r.required_fen:m, r.own_fen:m, r.bank_fen:m,"
        " r.net_fen:m, r.residual_fen:m, r.complete:b, r.digest, r.actor, r.recorded_at:i, r.confirmed_at:i",
        f"reconciliations r WHERE r.uscc {_OF}", key="r.recon_no", currency="r.currency",
    ),
    _part(
        "alerts", "a.alert_id, a.rule, a.subject, a.period, a.status, a.severity, a.standing, a.account_no, a.bank,"
        " a.why_zh, a.why_en, a.figures, a.as_of:i, a.first_seen_at:i, a.opened_at:i, a.resolved_at:i, a.episode:n",
        f"alerts a WHERE a.uscc {_OF}", key="a.first_seen_at, a.alert_id",
    ),
    _part(
        "alert-decisions", "d.audit_seq:n, d.alert_id, d.kind, d.decided_by, d.note, d.decided_at:i, d.until_at:i,"
        " d.severity, d.standing, d.proposed_by, d.ended_at:i, d.ended_by, d.ended_reason",
        f"alerts a JOIN alert_decisions d ON d.alert_id = a.alert_id WHERE a.uscc {_OF}", key="d.audit_seq, d.kind",
    ),
    _part(
        "feed", "f.seq:n, f.alert_id, f.transition, f.reason, f.rule, f.severity, f.standing, f.why_zh, f.why_en,"
        " f.figures, f.as_of:i, f.recorded_at:i, f.audit_seq:n, f.audit_head",
        f"alerts a JOIN feed_entries f ON f.alert_id = a.alert_id WHERE a.uscc {_OF}", key="f.seq",
    ),
    _part(
        "closure-watch", "c.judged_on:d, c.held:n, c.said:n, c.chance_ppm:n, c.exposed_fen:m, c.judged_at:i",
        f"closure_outlooks c WHERE c.uscc {_OF}", key="c.judged_on",
    ),
)
"""Every table of a pack, in the order in which it has them."""


def rows(session: Session, part: Part, *, uscc: str, account_nos: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The rows of one part, decoded: Money, dates, instants in UTC, True or False; None is not known."""
    if part.way is Way.ACCOUNTS:
        for account_no in account_nos:
            yield from _paged(session, part, account_no=account_no)
    elif part.way is Way.CONTRACTS:
        for contract_nos in contract_pieces(session, uscc):
            yield from _decoded(session, part, fetch(
                session, f"{_select(part)} ORDER BY {', '.join(part.key)}", contract_nos=contract_nos
            ))
    else:
        yield from _paged(session, part, uscc=uscc)


def contract_pieces(session: Session, uscc: str) -> Iterator[list[str]]:
    """The numbers of its contracts in order, some at a time."""
    after = ""
    while found := texts(
        session, "SELECT contract_no FROM contracts WHERE uscc = :uscc AND contract_no > :after"
        f" ORDER BY contract_no LIMIT {CONTRACTS_AT_ONCE:d}", uscc=uscc, after=after,
    ):
        yield found
        after = found[-1]


def case_quotes(session: Session, uscc: str) -> Iterator[dict[str, Any]]:
    """What was computed for the cases, each time."""
    at, on = Reader(session).at, Reader(session).on
    for contract_nos in contract_pieces(session, uscc):
        for case_no, quote_no, quoted_on, policy_version, document, actor, quoted_at in fetch(
            session,
            "SELECT k.case_no, k.quote_no, k.quoted_on, k.policy_version, k.quote, k.actor, k.quoted_at"
            " FROM refund_claims q JOIN case_quotes k ON k.case_no = q.claim_no"
            " WHERE q.contract_no IN EACH(:contract_nos) ORDER BY q.contract_no, k.case_no, k.quote_no",
            contract_nos=contract_nos,
        ):
            yield {
                "case_no": case_no, "quote_no": quote_no, "quoted_on": on(quoted_on).isoformat(), "actor": actor,
                "quoted_at": at(quoted_at).isoformat(), "policy_version": policy_version, "quote": from_json(document),
            }


def newest_bridges(session: Session, uscc: str) -> list[dict[str, Any]]:
    """The newest reconciliation of each currency, whole."""
    on = Reader(session).on
    return [
        {
            "recon_no": number, "currency": currency, "day": on(day).isoformat(), "required_fen": required,
            "bank_fen": bank, "net_fen": net, "residual_fen": residual, "complete": bool(complete),
            "document": from_json(document),
            "lines": [
                {"label": label, "impact_fen": impact, "items": items, "oldest_on": None if oldest is None
                 else on(oldest).isoformat()}
                for label, impact, items, oldest in fetch(
                    session, "SELECT label, impact_fen, items, oldest_on FROM reconciliation_lines"
                    " WHERE recon_no = :recon_no ORDER BY label", recon_no=number,
                )
            ],
        }
        for number, currency, day, required, bank, net, residual, complete, document in fetch(
            session,
            "SELECT r.recon_no, r.currency, r.day, r.required_fen, r.bank_fen, r.net_fen, r.residual_fen, r.complete,"
            " r.document FROM reconciliation_states s JOIN reconciliations r ON r.recon_no = s.recon_no"
            " WHERE s.uscc = :uscc ORDER BY r.currency", uscc=uscc,
        )
    ]


def kept_obligations(session: Session, uscc: str) -> dict[str, tuple[int, int, int]]:
    """What it owes families as it is kept up, by currency: contracts, impossible ones, and the sum in fen."""
    return {
        currency: (int(contracts), int(impossible), int(owed)) for currency, contracts, impossible, owed in fetch(
            session, "SELECT currency, contracts, impossible, obligation_fen FROM institution_obligations"
            " WHERE uscc = :uscc ORDER BY currency", uscc=uscc,
        )
    }


def audit_about(
    session: Session, *, uscc: str, account_nos: Sequence[str], seen: Callable[[bool], None]
) -> Iterator[dict[str, Any]]:
    """The entries of the record that name this institution, or an account, contract, claim or alert of its.

    Each with the head before it, so that its place in the chain can be worked out again; `seen` is told of each whether
    it can. One that names others as well comes without its text, which is not this institution's to be handed over.
    The whole chain is gone through once.
    """
    about = {uscc, *account_nos, *(f"account:{number}" for number in account_nos), f"institution:{uscc}"}
    for contract_nos in contract_pieces(session, uscc):
        about.update(contract_nos)
        about.update(texts(
            session, "SELECT claim_no FROM refund_claims WHERE contract_no IN EACH(:contract_nos)",
            contract_nos=contract_nos,
        ))
    about.update(texts(session, "SELECT alert_id FROM alerts WHERE uscc = :uscc", uscc=uscc))
    before = audit.GENESIS_HEAD
    for seq, (canonical, head, algorithm) in enumerate(audit.lines(session), 1):
        said = orjson.loads(canonical)
        ours = sorted(about.intersection(_words(said["payload"])))
        if ours:
            seen(head_after(before, canonical.encode(), algorithm) == head)
            others = _names_others(said["payload"], about)
            yield {
                "seq": seq, "kind": said["kind"], "at": said["at"], "before": before,
                "entry": None if others else canonical, "head": head, "algorithm": algorithm, "names": ours,
            }
        before = head


def _words(value: Any) -> Iterator[str]:
    """Every text inside a payload."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _words(each)
    elif isinstance(value, list):
        for each in value:
            yield from _words(each)


def _names_others(value: Any, about: Collection[str]) -> bool:
    """Whether what is spoken of stands in a list beside what is not: an entry about many, as of a file or a round."""
    if isinstance(value, dict):
        return any(_names_others(each, about) for each in value.values())
    if not isinstance(value, list):
        return False
    ours = [any(word in about for word in _words(each)) for each in value]
    return any(ours) and (not all(ours) or any(_names_others(each, about) for each in value))


def _select(part: Part, where: str = "") -> str:
    columns = ", ".join(column.sql for column in part.columns)
    # The key comes last, so that the next page can go on after it; before it the currency of the row.
    return f"SELECT {columns}, {part.currency}, {', '.join(part.key)} FROM {part.source}{where}"


def _paged(session: Session, part: Part, **given: str) -> Iterator[tuple[Any, ...]]:
    """Row after row in the order of the key, a page at a time: as many rows as there may be, few are in memory."""
    order = f" ORDER BY {', '.join(part.key)} LIMIT {ROWS_AT_ONCE:d}"
    after: dict[str, Any] = {}
    while True:
        names = ", ".join(f":after{place}" for place in range(len(part.key)))
        where = f" AND ({', '.join(part.key)}) > ({names})" if after else ""
        found = fetch(session, _select(part, where) + order, **given, **after)
        yield from _decoded(session, part, found)
        if len(found) < ROWS_AT_ONCE:
            return
        last = found[-1][-len(part.key):]
        after = {f"after{place}": cell for place, cell in enumerate(last)}


def _decoded(session: Session, part: Part, found: Sequence[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    reader = Reader(session)
    kinds = [column.kind for column in part.columns]
    width = len(kinds)
    for row in found:
        currency = row[width]
        yield tuple(_cell(reader, kind, cell, currency) for kind, cell in zip(kinds, row[:width], strict=True))


def _cell(reader: Reader, kind: Kind, cell: Any, currency: str) -> Any:
    if cell is None:
        return None
    if kind is Kind.MONEY:
        return Money(int(cell), currency)
    if kind is Kind.DATE:
        return reader.day(cell)
    if kind is Kind.INSTANT:
        return reader.instant(cell)
    if kind is Kind.CLAIM:
        return bool(cell)
    return int(cell) if kind is Kind.COUNT else cell
