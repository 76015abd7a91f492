"""What contracts come to under clauses that count another way than FULL_LIABILITY: PERIOD_FEES and SCHEDULE.

    institution_terms   which ways of counting an institution's clauses ask for: `period_fees 3`, `schedule 30,30,40`
    contract_clauses    each of its contracts under each of them, and the day on which that changes by itself
    institution_clauses their sums

`domain.obligation` has the formulas (`period_fee_on`, `scheduled_held`). What needs a calendar of months is worked out
there, once a day on which courses start; the rest is SQL.
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from sqlalchemy import Index, text
from sqlmodel import Field, Session

from escrow_monitor.domain.clauses import PeriodFees
from escrow_monitor.domain.contract_law import SummedTerms, read_terms, terms_text
from escrow_monitor.domain.obligation import months_between, months_later
from escrow_monitor.records.bulk import Reader, fetch, is_sqlite, run, staged
from escrow_monitor.records.columns import Row, fen, large


class ContractClauseRow(Row, table=True):
    """What one contract adds to a clause with these terms. A contract whose ledger is impossible adds to none."""

    __tablename__ = "contract_clauses"
    __table_args__ = (
        Index(
            "ix_contract_clauses_next_change_on", "next_change_on",
            sqlite_where=text("next_change_on IS NOT NULL"), postgresql_where=text("next_change_on IS NOT NULL"),
        ),
        {"sqlite_with_rowid": False},
    )

    contract_no: str = Field(primary_key=True)
    terms: str = Field(primary_key=True)
    uscc: str
    currency: str
    amount_fen: int = fen()
    next_change_on: date | None = None


class InstitutionClauseRow(Row, table=True):
    """What the contracts of an institution add to a clause with these terms, and how many they are."""

    __tablename__ = "institution_clauses"
    __table_args__ = ({"sqlite_with_rowid": False},)

    uscc: str = Field(primary_key=True)
    currency: str = Field(primary_key=True)
    terms: str = Field(primary_key=True)
    contracts: int = large()
    amount_fen: int = fen()


def make_clauses(session: Session, day: date, only: str, **given: str) -> None:
    """Make what contracts add to clauses, as of the end of `day`; of those none is there yet.

    `only` is an AND with a place for the table's alias, which lets through the contracts that are meant.
    """
    read = Reader(session)
    in_use = [read_terms(terms) for (terms,) in fetch(session, "SELECT DISTINCT terms FROM institution_terms")]
    if not in_use:
        return
    starts = [
        read.on(starts_on) for (starts_on,) in fetch(
            session,
            "SELECT DISTINCT k.starts_on FROM contracts k WHERE k.starts_on IS NOT NULL"
            f" AND k.uscc IN (SELECT uscc FROM institution_terms){only.format('k')}", **given,
        )
    ]
    columns = {"terms": str, "starts_on": date, "part": int, "whole": int, "next_on": date}
    with staged(session, "course_starts", columns, (row for terms in in_use for row in _starts(terms, starts, day))):
        lite = is_sqlite(session)
        for sql in (_PERIOD_FEES, _SCHEDULE):
            run(session, sql.format(
                only=only.format("k"),
                course="CAST(julianday(k.ends_on) - julianday(k.starts_on) AS INTEGER) + 1" if lite
                else "k.ends_on - k.starts_on + 1",
                day_after_end="date(k.ends_on, '+1 day')" if lite else "k.ends_on + 1",
            ), **({"day": day} if ":day" in sql else {}), **given)


def _starts(
    terms: SummedTerms, starts: list[date], day: date
) -> Iterator[tuple[str, date, int, int, date | None]]:
    """For each day on which courses start: the days of its period, or the part let go, and when more will be."""
    name = terms_text(terms)
    if isinstance(terms, PeriodFees):
        for start in starts:
            yield name, start, (_months_later(start, terms.months) - start).days, 0, None
        return
    whole = sum(terms.parts)
    for start in starts:
        months = months_between(start, day) if start <= day else -1
        is_last = months + 1 >= len(terms.parts)
        yield (
            name, start, sum(terms.parts[: months + 1]), whole, None if is_last else _months_later(start, months + 1)
        )


def _months_later(start: date, months: int) -> date:
    """No course starts so late that its last period ends beyond the last day there is; if one does, with that day."""
    return months_later(start, months) if start < date.max - timedelta(days=31 * (months + 1)) else date.max


_PERIOD_FEES = """
    INSERT INTO contract_clauses (contract_no, terms, uscc, currency, amount_fen, next_change_on)
    SELECT contract_no, terms, uscc, currency,
        CASE WHEN signed_on > :day OR ends_on < :day OR paid_fen <= refunded_fen THEN 0
            WHEN course IS NULL OR course < 1 OR course <= period THEN fee_fen
            ELSE fee_fen / course * period + (2 * (fee_fen % course) * period + course) / (2 * course) END,
        CASE WHEN signed_on > :day THEN signed_on WHEN ends_on >= :day THEN day_after_end END
    FROM (
        SELECT k.contract_no, t.terms, k.uscc, k.currency, k.fee_fen, k.signed_on, k.ends_on, a.paid_fen,
            a.refunded_fen, s.part AS period, {course} AS course,
            CASE WHEN k.ends_on < '9999-12-31' THEN {day_after_end} END AS day_after_end
        FROM contracts k JOIN contract_accounts a ON a.contract_no = k.contract_no
        JOIN institution_terms t ON t.uscc = k.uscc
        LEFT JOIN course_starts s ON s.terms = t.terms AND s.starts_on = k.starts_on
        WHERE a.obligation_fen IS NOT NULL AND t.terms LIKE 'period_fees %'{only}
    ) AS found
"""
_SCHEDULE = """
    INSERT INTO contract_clauses (contract_no, terms, uscc, currency, amount_fen, next_change_on)
    SELECT contract_no, terms, uscc, currency, CASE WHEN left_fen > 0 THEN left_fen ELSE 0 END, next_on
    FROM (
        SELECT k.contract_no, t.terms, k.uscc, k.currency, s.next_on, a.paid_fen - a.refunded_fen - CASE
            WHEN s.part IS NULL THEN 0
            ELSE a.paid_fen / s.whole * s.part
                + (2 * (a.paid_fen % s.whole) * s.part + s.whole) / (2 * s.whole) END AS left_fen
        FROM contracts k JOIN contract_accounts a ON a.contract_no = k.contract_no
        JOIN institution_terms t ON t.uscc = k.uscc
        LEFT JOIN course_starts s ON s.terms = t.terms AND s.starts_on = k.starts_on
        WHERE a.obligation_fen IS NOT NULL AND t.terms LIKE 'schedule %'{only}
    ) AS found
"""
