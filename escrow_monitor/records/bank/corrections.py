"""What sources said otherwise about a day after it had been stated: nothing is lost, the older word no longer counts.

    Monday   opened 100.00, closed 150.00     the old statement, superseded; its entry +50.00 no longer counts
             opened 100.00, closed 120.00     the new one, with +20.00 instead
    Tuesday  opened 150.00                    no longer follows: re-opened, and asked for again
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Index
from sqlmodel import Field, Session

from escrow_monitor.domain.positions import Correction
from escrow_monitor.records.bank.fitting import CorrectedDay, Taken
from escrow_monitor.records.bulk import Reader, fetch, run, staged
from escrow_monitor.records.columns import Row, fen, large
from escrow_monitor.records.evidence import audit

AUDIT_KIND = "statement.corrected"


class StatementCorrectionRow(Row, table=True):
    """One day that its source stated otherwise than before: the figures of both, and the entries between them.

    `number` counts the corrections of one day from 1. `reopened_day` is the day after it that no longer followed.
    """

    __tablename__ = "statement_corrections"
    __table_args__ = (Index(None, "recorded_at"),)

    account_no: str = Field(primary_key=True)
    day: date = Field(primary_key=True)
    number: int = large(primary_key=True, sa_column_kwargs={"autoincrement": False})
    opening_before_fen: int = fen()
    opening_after_fen: int = fen()
    closing_before_fen: int = fen()
    closing_after_fen: int = fen()
    added: int = large()
    added_credits_fen: int = fen()
    added_debits_fen: int = fen()
    removed: int = large()
    removed_credits_fen: int = fen()
    removed_debits_fen: int = fen()
    reopened_day: date | None = None
    source: str
    source_before: str
    statement_id: str
    statement_id_before: str
    recorded_at: datetime


def corrections(
    session: Session, *, account_nos: Sequence[str] | None = None, recorded_from: datetime | None = None
) -> dict[str, list[Correction]]:
    """The corrections of these accounts (None: of all) recorded since then, by account, oldest first."""
    where, given = ["true"], {}
    if account_nos is not None:
        where.append("account_no IN EACH(:account_nos)")
        given["account_nos"] = account_nos
    if recorded_from is not None:
        where.append("recorded_at >= :recorded_from")
        given["recorded_from"] = recorded_from  # type: ignore[assignment]
    reader, found = Reader(session), defaultdict(list)
    for row in fetch(
        session,
        f"SELECT account_no, {', '.join(_SHOWN)} FROM statement_corrections WHERE {' AND '.join(where)}"
        " ORDER BY account_no, recorded_at, day, number", **given,
    ):
        found[row[0]].append(_correction(reader, row[1:]))
    return dict(found)


_SHOWN = (
    "day", "number", "opening_before_fen", "opening_after_fen", "closing_before_fen", "closing_after_fen", "added",
    "added_credits_fen", "added_debits_fen", "removed", "removed_credits_fen", "removed_debits_fen", "reopened_day",
    "source", "recorded_at",
)


def _correction(reader: Reader, row: Sequence[Any]) -> Correction:
    return Correction(
        on=reader.on(row[0]), number=row[1], opening_before_fen=row[2], opening_after_fen=row[3],
        closing_before_fen=row[4], closing_after_fen=row[5], added=row[6], added_credits_fen=row[7],
        added_debits_fen=row[8], removed=row[9], removed_credits_fen=row[10], removed_debits_fen=row[11],
        reopened=reader.day(row[12]), source=row[13], recorded_at=reader.at(row[14]),
    )


# for the other tables of this room


def supersede_entries(session: Session, taken: Sequence[Taken], *, now: datetime) -> None:
    """Keep what these statements correct; the entries that they do not repeat no longer count.

    A superseded entry gives its key free, for a later correction may bring it back; it keeps all else.
    """
    pairs = [(item, one) for item in taken for one in item.corrected]
    if not pairs:
        return
    numbers = _next_numbers(session, pairs)
    names = ", ".join(_CORRECTION)
    rows = (_cells(item, one, numbers[_place(item, one)], now) for item, one in pairs)
    with staged(session, "incoming_corrections", _CORRECTION, rows):
        run(session, f"INSERT INTO statement_corrections ({names}) SELECT {names} FROM incoming_corrections")
    gone = (
        (
            item.received.statement.account_no, entry.booked_on, entry.identity,
            f"{entry.identity}@{one.day}/{numbers[_place(item, one)]}", item.statement_id,
        )
        for item, one in pairs for entry in one.removed
    )
    columns = {"account_no": str, "booked_on": date, "identity": str, "freed": str, "statement_id": str}
    with staged(session, "superseded_entries", columns, gone):
        run(
            session,
            "UPDATE entries SET superseded_at = :now, superseded_by = g.statement_id, identity = g.freed"
            " FROM superseded_entries g WHERE entries.account_no = g.account_no"
            " AND entries.booked_on = g.booked_on AND entries.identity = g.identity", now=now,
        )


def supersede_statements(session: Session, taken: Sequence[Taken], *, now: datetime) -> None:
    """Mark the statements of which no day is left, the days being covered anew."""
    by = {
        one.before.statement_id: item.statement_id for item in taken for one in item.corrected
        if one.before.statement_id not in ("", item.statement_id)
    }
    if not by:
        return
    with staged(session, "superseded_statements", {"statement_id": str, "superseded_by": str}, sorted(by.items())):
        run(
            session,
            "UPDATE statements SET superseded_at = :now, superseded_by = g.superseded_by"
            " FROM superseded_statements g WHERE statements.statement_id = g.statement_id"
            " AND statements.superseded_at IS NULL AND NOT EXISTS (SELECT 1 FROM account_days d"
            " WHERE d.account_no = statements.account_no AND d.statement_id = statements.statement_id)", now=now,
        )


def audit_corrections(session: Session, taken: Sequence[Taken], *, now: datetime) -> None:
    """Append an entry a correcting statement to the chain, in its source's name. Takes the chain's lock: come last."""
    entries = [
        audit.AuditEntry(
            kind=AUDIT_KIND, actor=audit.source_actor(item.received.source),
            payload={
                "account_no": item.received.statement.account_no, "statement_id": item.statement_id,
                "raw_sha256": item.received.raw_sha256, "days": [_payload(one) for one in item.corrected],
            },
        )
        for item in taken if item.corrected
    ]
    if entries:
        audit.append_many(session, entries, now=now)


_CORRECTION = {
    "account_no": str, "day": date, "number": int, "opening_before_fen": int, "opening_after_fen": int,
    "closing_before_fen": int, "closing_after_fen": int, "added": int, "added_credits_fen": int,
    "added_debits_fen": int, "removed": int, "removed_credits_fen": int, "removed_debits_fen": int,
    "reopened_day": date, "source": str, "source_before": str, "statement_id": str, "statement_id_before": str,
    "recorded_at": datetime,
}


def _place(item: Taken, one: CorrectedDay) -> tuple[str, date]:
    return item.received.statement.account_no, one.day


def _next_numbers(session: Session, pairs: Sequence[tuple[Taken, CorrectedDay]]) -> dict[tuple[str, date], int]:
    """The number of each of these corrections: a day is corrected at most once in one transaction."""
    reader = Reader(session)
    counted = {
        (account_no, reader.on(day)): count for account_no, day, count in fetch(
            session,
            "SELECT account_no, day, max(number) FROM statement_corrections"
            " WHERE account_no IN EACH(:account_nos) GROUP BY account_no, day",
            account_nos=sorted({item.received.statement.account_no for item, _ in pairs}),
        )
    }
    return {_place(item, one): counted.get(_place(item, one), 0) + 1 for item, one in pairs}


def _cells(item: Taken, one: CorrectedDay, number: int, now: datetime) -> tuple[object, ...]:
    return (
        item.received.statement.account_no, one.day, number,
        one.before.opening_fen, one.after.opening_fen, one.before.closing_fen, one.after.closing_fen,
        len(one.added), *_flows(_added(one)), len(one.removed), *_flows(_removed(one)), one.reopened,
        item.received.source, one.before.source, item.statement_id, one.before.statement_id, now,
    )


def _payload(one: CorrectedDay) -> dict[str, object]:
    (added_credits, added_debits), (removed_credits, removed_debits) = _flows(_added(one)), _flows(_removed(one))
    return {
        "day": one.day.isoformat(), "statement_id_before": one.before.statement_id,
        "opening_before_fen": one.before.opening_fen, "opening_after_fen": one.after.opening_fen,
        "closing_before_fen": one.before.closing_fen, "closing_after_fen": one.after.closing_fen,
        "added": len(one.added), "added_credits_fen": added_credits, "added_debits_fen": added_debits,
        "removed": len(one.removed), "removed_credits_fen": removed_credits, "removed_debits_fen": removed_debits,
        "reopened": None if one.reopened is None else one.reopened.isoformat(),
    }


def _added(one: CorrectedDay) -> Iterator[int]:
    return (entry.amount.minor_units for entry in one.added)


def _removed(one: CorrectedDay) -> Iterator[int]:
    return (entry.amount_fen for entry in one.removed)


def _flows(amounts: Iterator[int]) -> tuple[int, int]:
    """Credits and debits, both above zero."""
    credits = debits = 0
    for amount in amounts:
        if amount > 0:
            credits += amount
        else:
            debits -= amount
    return credits, debits
