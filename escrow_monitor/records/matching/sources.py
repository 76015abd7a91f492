"""What is offered to matching: booked entries of supervised accounts as bank lines, charges and refunds as expected.

    entries   final, not superseded, of supervised accounts     less reversal pairs, own transfers, interest, bank fees
              what went out only while some refund is expected
    charges   from when coverage began, less the window          of contracts of these institutions
    refunds   cases in which money must go out                   kept once they are matched

What was offered and is no more (a correction did not repeat it, it was linked since) is withdrawn. Only what differs
from what was offered before is touched, so to offer again changes nothing.
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from sqlmodel import Session

from escrow_monitor.domain.entry_nature import EntryNature, entry_nature
from escrow_monitor.domain.matching import BankLine, Expected, ExpectedKind
from escrow_monitor.domain.own_transfers import SUPERVISED
from escrow_monitor.domain.reconciliation import Nature
from escrow_monitor.records.bulk import Reader, fetch, staged
from escrow_monitor.records.matching.matching import record_items, withdraw_items

LOOK_BACK_DAYS = 7
"""Charges of so many days before coverage began are offered: they may have been on their way then."""
PAID_EARLY_DAYS = 31
"""What went out so many days before a refund was agreed on may have been that refund."""
CHARGE_ID, REFUND_ID, ENTRY_ID = "charge:", "refund:", "entry:"


class World(NamedTuple):
    """One institution in one currency."""

    uscc: str
    currency: str


class StoredEntry(NamedTuple):
    """An entry of a supervised account that counts, with what it is. `match` numbers the match that it is in."""

    uscc: str
    currency: str
    entry_id: str
    account_no: str
    booked_on: date
    counted_on: date
    amount_fen: int
    bank_ref: str | None
    text: str
    nature: Nature
    match: int | None
    doubt: str | None

    @property
    def line(self) -> BankLine | None:
        """What matching gets of it; None where it is nothing that could be a charge or a refund."""
        if self.nature not in (Nature.OTHER, Nature.REFUND) or not self.amount_fen:
            return None
        return BankLine(
            line_id=self.entry_id, uscc=self.uscc, currency=self.currency, account_no=self.account_no,
            on=self.booked_on, amount_fen=self.amount_fen, reference=self.bank_ref, text=self.text,
        )


@dataclass(slots=True)
class Offered:
    """What changed: offered anew or otherwise, and withdrawn."""

    lines: int = 0
    expected: int = 0
    withdrawn: int = 0

    @property
    def changed(self) -> bool:
        """Whether there is anything new to match."""
        return bool(self.lines or self.expected or self.withdrawn)


def offer(session: Session, usccs: Collection[str], refunds: Sequence[Expected], *, now: datetime) -> Offered:
    """Bring what matching knows of these institutions up to what is recorded.

    `refunds` are all that are expected now, of any institution; those that were offered before and are neither expected
    any more nor matched are withdrawn.
    """
    done = Offered()
    with asked_institutions(session, usccs):
        lines, gone = _lines(session, refunds)
        expected = _charges(session)
    expected += [one for one in refunds if one.uscc in usccs]
    wanted = {one.expected_id for one in refunds}
    dropped = sorted(key for key, uscc in open_refunds(session).items() if uscc in usccs and key not in wanted)
    withdraw_items(session, line_ids=gone, expected_ids=dropped, now=now)
    done.withdrawn = len(gone) + len(dropped)
    done.lines = record_items(session, lines=lines, now=now)
    done.expected = record_items(session, expected=expected, now=now)
    return done


@contextmanager
def asked_institutions(session: Session, usccs: Collection[str]) -> Iterator[None]:
    """Stage institutions as `reconciled` for the queries of this room."""
    with staged(session, "reconciled", {"uscc": str}, ((uscc,) for uscc in sorted(set(usccs)))):
        yield


def entries_of(session: Session, *, where: str = "true") -> list[StoredEntry]:
    """The counting entries of the supervised accounts of the asked institutions, as far as `where` (of entry `e`, state
    `s`) lets them through."""
    reader = Reader(session)
    found = fetch(session, _ENTRIES.format(where=where))
    purposes = {str(purpose) for purpose in SUPERVISED}
    return [
        StoredEntry(
            uscc=row[0], currency=row[1], entry_id=row[2], account_no=row[3], booked_on=reader.on(row[4]),
            counted_on=reader.on(row[5]), amount_fen=row[6], bank_ref=row[7], text=row[8],
            nature=_nature(row[6], row[8], reversal=bool(row[9]), link=row[10], other=row[11], purposes=purposes),
            match=row[12], doubt=row[13],
        )
        for row in found
    ]


def _nature(
    amount_fen: int, text: str, *, reversal: bool, link: str | None, other: str | None, purposes: Collection[str]
) -> Nature:
    if link == "reversal":
        return Nature.REVERSAL
    if reversal:
        return Nature.UNCLEAR_REVERSAL
    if link == "own_transfer":
        if other in purposes:
            return Nature.OWN_TRANSFER
        # To a settlement account it is a release; from there, the institution's own money.
        return Nature.PAID_IN if amount_fen > 0 else Nature.RELEASE
    return _BY_WORDS[entry_nature(text, amount_fen)]


_BY_WORDS: Mapping[EntryNature, Nature] = {
    EntryNature.INTEREST: Nature.INTEREST, EntryNature.FEE: Nature.FEE, EntryNature.REFUND: Nature.REFUND,
    EntryNature.OTHER: Nature.OTHER,
}


def entry_id_sql(entry: str) -> str:
    """SQL for the id of an entry: its account and day, and enough of its identity to tell it from any other."""
    return (
        f"'{ENTRY_ID}' || {entry}.account_no || '/' || CAST({entry}.booked_on AS text) || '/'"
        f" || substr({entry}.identity, 1, 16)"
    )


SUPERVISED_SQL = ", ".join(repr(str(purpose)) for purpose in sorted(SUPERVISED))
_ENTRIES = f"""
    SELECT a.uscc, a.currency, {entry_id_sql("e")}, e.account_no, e.booked_on, coalesce(e.accounted_on, e.booked_on),
        e.amount_fen, e.bank_ref, e.text, e.reversal, coalesce(l.kind, o.kind), x.purpose,
        coalesce(m.line_no, y.line_no), d.kind
    FROM reconciled r JOIN accounts a ON a.uscc = r.uscc AND a.purpose IN ({SUPERVISED_SQL})
    JOIN account_states s ON s.account_no = a.account_no
    JOIN entries e ON e.account_no = a.account_no AND e.final AND e.superseded_at IS NULL
    LEFT JOIN entry_links l ON l.account_no = e.account_no AND l.booked_on = e.booked_on AND l.identity = e.identity
    LEFT JOIN entry_links o ON o.other_account_no = e.account_no AND o.other_booked_on = e.booked_on
        AND o.other_identity = e.identity
    LEFT JOIN accounts x ON x.account_no = coalesce(l.other_account_no, o.account_no)
    LEFT JOIN match_lines q ON q.line_id = {entry_id_sql("e")}
    LEFT JOIN matches m ON m.line_no = q.line_no
    LEFT JOIN match_more y ON y.is_line AND y.item_no = q.line_no
    LEFT JOIN match_doubts d ON d.is_line AND d.item_no = q.line_no
    WHERE {{where}}
"""


def _lines(session: Session, refunds: Sequence[Expected]) -> tuple[list[BankLine], list[str]]:
    """The lines that are new or different, and the ids of those offered that are none any more.

    Nearly all that goes out is a release, for which nothing is expected: it is offered while some refund is.
    """
    first: dict[str, date] = {}
    for refund in refunds:
        first[refund.uscc] = min(refund.on, first.get(refund.uscc, refund.on))
    wanted = {}
    for one in entries_of(session):
        line = one.line
        if line is not None and (line.amount_fen > 0 or one.match is not None or (
            one.uscc in first and line.on >= first[one.uscc] - timedelta(days=PAID_EARLY_DAYS)
        )):
            wanted[line.line_id] = line
    reader = Reader(session)
    known = fetch(session, _KNOWN_LINES)
    gone = [row[0] for row in known if row[0] not in wanted]
    same = {
        row[0] for row in known
        if row[0] in wanted and wanted[row[0]] == BankLine(
            line_id=row[0], uscc=row[1], currency=row[2], account_no=row[3], on=reader.on(row[4]), amount_fen=row[5],
            reference=row[6], text=row[7],
        )
    }
    return [wanted[key] for key in sorted(wanted) if key not in same], sorted(gone)


_KNOWN_LINES = f"""
    SELECT q.line_id, q.uscc, q.currency, q.account_no, q.booked_on, q.amount_fen, q.reference, q.text
    FROM reconciled r JOIN accounts a ON a.uscc = r.uscc
    JOIN entries e ON e.account_no = a.account_no
    JOIN match_lines q ON q.line_id = {entry_id_sql("e")}
"""
"""Entries are never deleted, so every line that was offered is found by its entry."""


def _charges(session: Session) -> list[Expected]:
    """The charges that are new to matching or different, from when coverage of the institution began."""
    reader = Reader(session)
    began = {
        (uscc, currency): reader.on(day) for uscc, currency, day in fetch(
            session,
            "SELECT a.uscc, a.currency, min(s.covered_from) FROM reconciled r JOIN accounts a ON a.uscc = r.uscc"
            f" AND a.purpose IN ({SUPERVISED_SQL}) JOIN account_states s ON s.account_no = a.account_no"
            " WHERE s.covered_from IS NOT NULL GROUP BY a.uscc, a.currency",
        )
    }
    spans = {"uscc": str, "currency": str, "first": date}
    rows = ((*key, first - timedelta(days=LOOK_BACK_DAYS)) for key, first in sorted(began.items()))
    with staged(session, "reconciled_from", spans, rows):
        return [_charge(row, reader) for row in fetch(session, _NEW_CHARGES)]


def _charge(row: Sequence[Any], reader: Reader) -> Expected:
    return Expected(
        expected_id=f"{CHARGE_ID}{row[0]}", kind=ExpectedKind.CHARGE, uscc=row[1], on=reader.on(row[2]),
        amount_fen=row[3], reference=row[4], account_no=row[5], currency=row[6],
    )


_NEW_CHARGES = f"""
    SELECT c.charge_no, k.uscc, c.paid_on, c.amount_fen, c.bank_ref, c.account_no, c.currency
    FROM reconciled_from f JOIN contracts k ON k.uscc = f.uscc AND k.currency = f.currency
    JOIN charges c ON c.contract_no = k.contract_no AND c.paid_on >= f.first AND c.amount_fen > 0
    LEFT JOIN match_expected q ON q.expected_id = '{CHARGE_ID}' || c.charge_no
    WHERE q.expected_no IS NULL OR q.uscc <> k.uscc OR q.expected_on <> c.paid_on OR q.amount_fen <> c.amount_fen
        OR q.reference IS DISTINCT FROM c.bank_ref OR q.account_no IS DISTINCT FROM c.account_no
        OR q.currency <> c.currency
    ORDER BY c.charge_no
"""


def open_refunds(session: Session) -> dict[str, str]:
    """The refunds that are open in matching, with their institutions."""
    return dict(fetch(
        session,
        "SELECT e.expected_id, e.uscc FROM open_expected o JOIN match_expected e ON e.expected_no = o.expected_no"
        " WHERE e.kind = 'refund'",
    ))
