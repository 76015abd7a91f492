"""What each contract, and each institution over its contracts, comes to: kept up change by change.

    contracts, charges, lessons, refunds  --touched-->  contract_accounts  --difference-->  institution_obligations
                                                        contract_months    --difference-->  institution_months
                                                        contract_clauses   --difference-->  institution_clauses

Sums hold for the end of one day, which `contract_sums_day` names, and by the law that `contract_laws` keeps of each
institution. A contract is made anew when a row of it changed, when that law did, or when a day comes on which something
recorded earlier begins to count (`next_change_on`). The accounts of its institution are then due for a check.
`recompute` makes everything anew, by the same SQL, with the same result, and says where it is another.
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field, Session

from escrow_monitor.domain.clauses import FullLiability, PeriodFees, Schedule
from escrow_monitor.domain.contract_law import SummedTerms, read_terms
from escrow_monitor.domain.entitlement import Taught
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.obligation import ObligationFacts
from escrow_monitor.records.accounts import lock_banks
from escrow_monitor.records.bulk import Reader, fetch, is_sqlite, run, texts
from escrow_monitor.records.columns import Row, fen, large
from escrow_monitor.records.contracts.clause_sums import make_clauses
from escrow_monitor.records.contracts.contracts import contract_count
from escrow_monitor.records.contracts.laws import terms_of
from escrow_monitor.records.contracts.lessons import set_silences
from escrow_monitor.records.incoming import touch
from escrow_monitor.records.reconciliation_marks import mark_touched_contracts

Progress = Callable[[int, int | None], None]


class ContractAccountRow(Row, table=True):
    """The sums of one contract. Without `obligation_fen` its ledger is impossible: more went back than was paid."""

    __tablename__ = "contract_accounts"
    __table_args__ = (
        Index(
            "ix_contract_accounts_next_change_on", "next_change_on",
            sqlite_where=text("next_change_on IS NOT NULL"), postgresql_where=text("next_change_on IS NOT NULL"),
        ),
        {"sqlite_with_rowid": False},
    )

    contract_no: str = Field(primary_key=True)
    uscc: str = Field(index=True)
    currency: str
    paid_fen: int = fen()
    refunded_fen: int = fen()
    confirmed: int = large()
    disputed: int = large()
    pending: int = large()
    unknown: int = large()
    entitled_fen: int = fen()
    disputed_fen: int = fen()
    obligation_fen: int | None = fen(default=None)
    next_change_on: date | None = None


class ContractMonthRow(Row, table=True):
    """What was charged under one contract in one calendar month (`2026-11`)."""

    __tablename__ = "contract_months"
    __table_args__ = ({"sqlite_with_rowid": False},)

    contract_no: str = Field(primary_key=True)
    month: str = Field(primary_key=True)
    uscc: str
    currency: str
    charged_fen: int = fen()


class InstitutionObligationRow(Row, table=True):
    """FULL_LIABILITY of one institution in one currency; `impossible` contracts are counted and in no sum."""

    __tablename__ = "institution_obligations"
    __table_args__ = ({"sqlite_with_rowid": False},)

    uscc: str = Field(primary_key=True)
    currency: str = Field(primary_key=True)
    contracts: int = large()
    impossible: int = large()
    obligation_fen: int = fen()


class InstitutionMonthRow(Row, table=True):
    """What an institution charged in one calendar month; `contracts` is over how many."""

    __tablename__ = "institution_months"
    __table_args__ = ({"sqlite_with_rowid": False},)

    uscc: str = Field(primary_key=True)
    currency: str = Field(primary_key=True)
    month: str = Field(primary_key=True)
    contracts: int = large()
    charged_fen: int = fen()


class ContractSumsDayRow(Row, table=True):
    """The day for whose end all sums hold, and the version of the laws that they were last kept by: one row."""

    __tablename__ = "contract_sums_day"
    __table_args__ = (CheckConstraint("one_row = 1", "one_row"),)

    one_row: int = Field(primary_key=True)
    day: date
    law_version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractSums:
    """What a contract comes to at the end of day `on`. `obligation` None: its ledger is impossible."""

    contract_no: str
    uscc: str
    on: date
    taught: Taught
    paid: Money
    refunded: Money
    entitled: Money
    disputed: Money
    obligation: Money | None


@contextmanager
def kept_up(session: Session, *, on: date) -> Iterator[None]:
    """Keep all sums right, as of the end of `on`, whatever the block does to contracts, charges, lessons and refunds.

    Nobody else changes them until the transaction ends. Days do not go back: where sums hold for a later day already,
    they stay with that one.
    """
    _lock(session)
    session.connection().exec_driver_sql("CREATE TEMPORARY TABLE touched_contracts (contract_no text PRIMARY KEY)")
    _pass(session, on)
    yield
    mark_touched_contracts(session)
    _renew(session)
    # After a failure the transaction is rolled back, and the table with it.
    session.connection().exec_driver_sql("DROP TABLE touched_contracts")


def bring_to(session: Session, on: date) -> None:
    """Let the days pass up to the end of `on`: only what begins to count by then is made anew."""
    with kept_up(session, on=on):
        pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Differs:
    """How many rows of a table of sums came out otherwise when they were made anew, and one of the contracts or
    institutions, by its number."""

    table: str
    rows: int
    example: str


def recompute(session: Session, on: date, *, progress: Progress | None = None) -> tuple[Differs, ...]:
    """Make every sum anew from all rows, as of the end of `on`, or of the later day they already hold for.

    Returns where that differs from what was kept up to that day: nowhere, unless something is wrong. `progress` hears
    how many contracts were done, of how many.
    """
    bring_to(session, on)
    _lock(session)
    for table in _SUMS:
        run(session, f"CREATE TEMPORARY TABLE kept_{table} AS SELECT * FROM {table}")
        run(session, f"DELETE FROM {table}")
    total, done, after = contract_count(session), 0, ""
    while done < total:
        last = run(
            session, "SELECT max(contract_no) FROM (SELECT contract_no FROM contracts WHERE contract_no > :after"
            " ORDER BY contract_no LIMIT :count) AS piece", after=after, count=CONTRACTS_A_PIECE,
        ).scalar_one()
        _make(session, " AND {0}.contract_no > :after AND {0}.contract_no <= :last", after=after, last=last)
        done, after = min(done + CONTRACTS_A_PIECE, total), last
        if progress is not None:
            progress(done, total)
    _add(session, "")
    differs = tuple(found for table in _SUMS for found in _differences(session, table))
    for table in _SUMS:
        run(session, f"DROP TABLE kept_{table}")
    return differs


def _differences(session: Session, table: str) -> Iterator[Differs]:
    key = "contract_no" if table.startswith("contract_") else "uscc"
    made, was = (
        fetch(session, f"SELECT {key}, uscc FROM (SELECT * FROM {one} EXCEPT SELECT * FROM {other}) AS differing")
        for one, other in ((table, f"kept_{table}"), (f"kept_{table}", table))
    )
    if made or was:
        _make_accounts_due(session, {uscc for _, uscc in [*made, *was]})
        yield Differs(
            table=table, rows=max(len(made), len(was)), example=min(number for number, _ in [*made, *was])
        )


def day_of_sums(session: Session) -> date | None:
    """The day for whose end all sums hold. None before the first contract came."""
    return Reader(session).day(run(session, "SELECT day FROM contract_sums_day").scalar())


def contract_sums(
    session: Session, *, contract_nos: Sequence[str] | None = None, uscc: str | None = None
) -> dict[str, ContractSums]:
    """The sums of the contracts that fit all that is asked, by number."""
    on = day_of_sums(session)
    if on is None:
        return {}
    given: dict[str, Any] = {}
    where = []
    if uscc is not None:
        where.append("uscc = :uscc")
        given["uscc"] = uscc
    if contract_nos is not None:
        where.append("contract_no IN EACH(:contract_nos)")
        given["contract_nos"] = contract_nos
    rows = fetch(
        session,
        "SELECT contract_no, uscc, currency, confirmed, disputed, pending, unknown, paid_fen, refunded_fen,"
        " entitled_fen, disputed_fen, obligation_fen FROM contract_accounts"
        f" WHERE {' AND '.join(where) or 'true'} ORDER BY contract_no", **given,
    )
    return {
        row[0]: ContractSums(
            contract_no=row[0], uscc=row[1], on=on, taught=Taught(*row[3:7]), paid=Money(row[7], row[2]),
            refunded=Money(row[8], row[2]), entitled=Money(row[9], row[2]), disputed=Money(row[10], row[2]),
            obligation=None if row[11] is None else Money(row[11], row[2]),
        )
        for row in rows
    }


def obligations(
    session: Session, usccs: Collection[str], *, months_from: str = ""
) -> Mapping[tuple[str, str], ObligationFacts]:
    """What these institutions owe families, by code and currency; who has no contract is not in it.

    Charges are given from the calendar month `months_from` (`2026-09`) on.
    """
    on = day_of_sums(session)
    if on is None or not usccs:
        return {}
    keys = sorted(set(usccs))
    owed = fetch(
        session,
        "SELECT uscc, currency, obligation_fen, impossible FROM institution_obligations"
        " WHERE uscc IN EACH(:keys) ORDER BY uscc, currency", keys=keys,
    )
    if not owed:
        return {}
    charges: dict[tuple[str, str], dict[str, int]] = {}
    for uscc, currency, month, charged in fetch(
        session,
        "SELECT uscc, currency, month, charged_fen FROM institution_months"
        " WHERE uscc IN EACH(:keys) AND month >= :months_from ORDER BY uscc, currency, month",
        keys=keys, months_from=months_from,
    ):
        charges.setdefault((uscc, currency), {})[month] = charged
    terms, amounts = terms_of(session, keys), _clause_amounts(session, keys)
    return {
        (uscc, currency): ObligationFacts(
            on=on, currency=currency, full_liability=obligation, charges=charges.get((uscc, currency), {}),
            # Where no contract adds anything there is no row, and the sum is nothing.
            by_terms={each: amounts.get((uscc, currency, each), 0) for each in terms.get(uscc, ())},
            complete=not impossible,
        )
        for uscc, currency, obligation, impossible in owed
    }


def paid_since(
    session: Session, day: date
) -> Mapping[tuple[str, str], Mapping[FullLiability | Schedule, Mapping[date, int]]]:
    """What of each sum was paid on each day after `day`, by institution and currency.

    Contract by contract: what was paid last is what is left of it last.
    """
    on = Reader(session).on
    paid: dict[tuple[str, str], dict[FullLiability | Schedule, dict[date, int]]] = {}
    for uscc, currency, terms, paid_on, amount in fetch(session, _PAID_SINCE, day=day):
        key = FullLiability() if terms is None else read_terms(terms)
        if amount and not isinstance(key, PeriodFees):
            paid.setdefault((uscc, currency), {}).setdefault(key, {})[on(paid_on)] = amount
    return paid


_PAID_SINCE = """
    WITH lately AS (
        SELECT contract_no, paid_on, amount_fen, sum(amount_fen) OVER (
            PARTITION BY contract_no ORDER BY paid_on DESC
        ) AS since_fen
        FROM (
            SELECT c.contract_no, c.paid_on, sum(c.amount_fen) AS amount_fen FROM charges c
            WHERE c.paid_on > :day AND c.paid_on <= (SELECT day FROM contract_sums_day)
            GROUP BY c.contract_no, c.paid_on
        ) AS days
    ), parts AS (
        SELECT a.uscc, a.currency, NULL AS terms, l.paid_on, l.amount_fen, l.since_fen, a.obligation_fen AS sum_fen
        FROM lately l JOIN contract_accounts a ON a.contract_no = l.contract_no WHERE a.obligation_fen IS NOT NULL
        UNION ALL
        SELECT b.uscc, b.currency, b.terms, l.paid_on, l.amount_fen, l.since_fen, b.amount_fen
        FROM lately l JOIN contract_clauses b ON b.contract_no = l.contract_no WHERE b.terms LIKE 'schedule %'
    )
    SELECT uscc, currency, terms, paid_on, CAST(sum(
        CASE WHEN since_fen < sum_fen THEN since_fen ELSE sum_fen END
        - CASE WHEN since_fen - amount_fen < sum_fen THEN since_fen - amount_fen ELSE sum_fen END
    ) AS BIGINT) FROM parts GROUP BY uscc, currency, terms, paid_on
"""


def _clause_amounts(session: Session, keys: Sequence[str]) -> dict[tuple[str, str, SummedTerms], int]:
    return {
        (uscc, currency, read_terms(terms)): amount for uscc, currency, terms, amount in fetch(
            session, "SELECT uscc, currency, terms, amount_fen FROM institution_clauses WHERE uscc IN EACH(:keys)",
            keys=keys,
        )
    }


def _lock(session: Session) -> None:
    if not is_sqlite(session):
        run(session, "SELECT pg_advisory_xact_lock(hashtext('escrow_monitor.contracts'))")


def _set_day(session: Session, on: date) -> date:
    run(
        session,
        "INSERT INTO contract_sums_day (one_row, day) VALUES (1, :day) ON CONFLICT (one_row) DO UPDATE"
        " SET day = excluded.day WHERE contract_sums_day.day < excluded.day", day=on,
    )
    day = day_of_sums(session)
    assert day is not None, "it was just set"  # noqa: S101 - the row is there
    return day


def _pass(session: Session, on: date) -> None:
    day = _set_day(session, on)
    touch(session, "SELECT contract_no FROM contract_accounts WHERE next_change_on <= :day", day=day)
    touch(session, "SELECT DISTINCT contract_no FROM contract_clauses WHERE next_change_on <= :day", day=day)


def _renew(session: Session) -> None:
    """Take the touched contracts out of the institutions' sums, make them anew, and add them again."""
    count = int(run(session, "SELECT count(*) FROM touched_contracts").scalar_one())
    if not count:
        return
    if not is_sqlite(session):
        session.connection().exec_driver_sql("ANALYZE touched_contracts")
        if count >= _MANY_TOUCHED:
            # What was just loaded the server has not looked at yet, and it would read all of it for a few contracts.
            session.connection().exec_driver_sql("ANALYZE contracts, charges, lessons, refunds")
    touched = " WHERE contract_no IN (SELECT contract_no FROM touched_contracts)"
    moved = _institutions(session, touched)
    for source, target, keys, sums in _TOTALS:
        same = " AND ".join(f"old.{key} = {target}.{key}" for key in keys.split(", "))
        names = ", ".join(sums)
        less = ", ".join(f"{name} = {target}.{name} - old.{name}" for name in sums)
        run(
            session,
            f"WITH old({keys}, {names}) AS ({_totals(source, keys, sums, touched)})"
            f" UPDATE {target} SET {less} FROM old WHERE {same}",
        )
        run(session, f"DELETE FROM {target} WHERE contracts = 0 AND uscc IN (SELECT uscc FROM {source}{touched})")
    for table in ("contract_months", "contract_clauses"):
        run(session, f"DELETE FROM {table}{touched}")
    _make(session, " AND {0}.contract_no IN (SELECT contract_no FROM touched_contracts)")
    _add(session, touched)
    _make_accounts_due(session, moved | _institutions(session, touched))


def _institutions(session: Session, where: str) -> set[str]:
    return set(texts(session, f"SELECT DISTINCT uscc FROM contract_accounts{where}"))


def _make_accounts_due(session: Session, usccs: Collection[str]) -> None:
    """What these institutions owe is another: a fact of each of their accounts, and no move of a balance."""
    keys = sorted(usccs)
    if not is_sqlite(session):
        lock_banks(session, texts(session, "SELECT DISTINCT bank FROM accounts WHERE uscc IN EACH(:keys)", keys=keys))
    run(
        session,
        "UPDATE account_states SET input_version = input_version + 1 WHERE account_no IN"
        " (SELECT account_no FROM accounts WHERE uscc IN EACH(:keys))", keys=keys,
    )


_MANY_TOUCHED = 5_000

_TOTALS = (
    ("contract_accounts", "institution_obligations", "uscc, currency", {
        "contracts": "count(*)", "impossible": "count(*) - count(obligation_fen)",
        "obligation_fen": "coalesce(sum(obligation_fen), 0)",
    }),
    ("contract_months", "institution_months", "uscc, currency, month", {
        "contracts": "count(*)", "charged_fen": "sum(charged_fen)",
    }),
    ("contract_clauses", "institution_clauses", "uscc, currency, terms", {
        "contracts": "count(*)", "amount_fen": "sum(amount_fen)",
    }),
)
"""Where sums come from, where they go, by what, and how each is made."""
_SUMS = tuple(table for source, target, _, _ in _TOTALS for table in (source, target))

CONTRACTS_A_PIECE = 50_000
"""So many are made anew at once: what the database sorts and keeps meanwhile stays small."""


def _totals(source: str, keys: str, sums: Mapping[str, str], where: str) -> str:
    # A sum of bigint is a numeric on PostgreSQL.
    made = ", ".join(f"CAST({each} AS BIGINT)" for each in sums.values())
    return f"SELECT {keys}, {made} FROM {source}{where} GROUP BY {keys}"


def _add(session: Session, where: str) -> None:
    for source, target, keys, sums in _TOTALS:
        names = ", ".join(sums)
        more = ", ".join(f"{name} = {target}.{name} + excluded.{name}" for name in sums)
        run(
            session,
            f"INSERT INTO {target} ({keys}, {names}) SELECT * FROM ({_totals(source, keys, sums, where)}) AS made"
            f" WHERE true ON CONFLICT ({keys}) DO UPDATE SET {more}",
        )


def _make(session: Session, only: str, **given: str) -> None:
    """Make the sums of those contracts that `only`, an AND with a place for the table, lets through."""
    day = day_of_sums(session)
    assert day is not None, "it was set before"  # noqa: S101 - by _pass or bring_to
    set_silences(session, only, **given)
    least = "min" if is_sqlite(session) else "least"
    parts = {f"only_{alias}": only.format(alias) for alias in ("k", "c", "l", "r")}
    run(session, _ACCOUNTS.format(least=least, **parts), day=day, never=date.max, **given)
    run(session, _MONTHS.format(**parts), day=day, **given)
    make_clauses(session, day, only, **given)


def _share(lessons: str) -> str:
    """SQL: `round_half_up(fee x min(lessons, of) / of)`. The fee is split so that no product leaves 64 bits.

    With fee = q x of + r: fee x n / of = q x n + r x n / of, whose first part is whole, and r x n < of x of.
    """
    n = f"CASE WHEN {lessons} < lessons_of THEN {lessons} ELSE lessons_of END"
    return f"fee_fen / lessons_of * ({n}) + (2 * (fee_fen % lessons_of) * ({n}) + lessons_of) / (2 * lessons_of)"


_CONFIRMED = (
    "l.taught_on <= :day AND (l.status IN ('confirmed', 'deemed') AND l.decided_on <= :day"
    " OR (l.status = 'requested' OR l.status = 'deemed' AND l.decided_on IS NULL) AND l.silence_on <= :day)"
)
_DISPUTED = "l.taught_on <= :day AND l.status = 'disputed' AND (l.decided_on IS NULL OR l.decided_on <= :day)"
_UNKNOWN = (
    "l.status <> 'cancelled' AND (l.taught_on IS NULL OR l.taught_on <= :day AND l.decided_on IS NULL"
    " AND (l.status = 'confirmed' OR l.status = 'deemed' AND l.silence_on IS NULL))"
)
_TAUGHT = "l.status <> 'cancelled' AND (l.taught_on IS NULL OR l.taught_on <= :day)"


def _later(column: str, when: str = "true") -> str:
    """SQL: the first day of this column that is still to come."""
    return f"coalesce(min(CASE WHEN {when} AND {column} > :day THEN {column} END), :never)"


_ACCOUNTS = f"""
    WITH paid AS (
        SELECT c.contract_no, CAST(sum(CASE WHEN c.paid_on <= :day THEN c.amount_fen ELSE 0 END) AS BIGINT) AS paid_fen,
            {_later("c.paid_on")} AS next_on
        FROM charges c WHERE true{{only_c}} GROUP BY c.contract_no
    ), gone AS (
        SELECT r.contract_no, CAST(sum(CASE WHEN r.paid_on <= :day THEN r.amount_fen ELSE 0 END) AS BIGINT) AS gone_fen,
            {_later("r.paid_on")} AS next_on
        FROM refunds r WHERE true{{only_r}} GROUP BY r.contract_no
    ), moves AS (
        SELECT contract_no, paid_on AS day, 0 AS kind, amount_fen FROM charges
        WHERE contract_no IN (SELECT contract_no FROM gone)
        UNION ALL
        SELECT r.contract_no, r.paid_on, 1, -r.amount_fen FROM refunds r WHERE true{{only_r}}
    ), impossible AS (
        SELECT DISTINCT contract_no FROM (
            SELECT contract_no, sum(amount_fen) OVER (PARTITION BY contract_no ORDER BY day, kind) AS left_fen
            FROM moves WHERE day <= :day
        ) AS rolled WHERE left_fen < 0
    ), taught AS (
        SELECT l.contract_no, count(CASE WHEN {_CONFIRMED} THEN 1 END) AS confirmed,
            count(CASE WHEN {_DISPUTED} THEN 1 END) AS disputed, count(CASE WHEN {_UNKNOWN} THEN 1 END) AS unknown,
            count(CASE WHEN {_TAUGHT} THEN 1 END) AS taught,
            {{least}}({_later("l.taught_on", "l.status <> 'cancelled'")},
                {_later("l.decided_on", "l.status <> 'cancelled'")},
                {_later("l.silence_on", "l.status <> 'cancelled'")}) AS next_on
        FROM lessons l WHERE true{{only_l}} GROUP BY l.contract_no
    ), facts AS (
        SELECT k.contract_no, k.uscc, k.currency, k.fee_fen,
            CASE WHEN k.gift_policy = 'paid_first' THEN k.lessons_paid ELSE k.lessons_paid + k.lessons_gift END
                AS lessons_of,
            coalesce(paid.paid_fen, 0) AS paid_fen, coalesce(gone.gone_fen, 0) AS gone_fen,
            coalesce(taught.confirmed, 0) AS confirmed, coalesce(taught.disputed, 0) AS disputed,
            coalesce(taught.unknown, 0) AS unknown, coalesce(taught.taught, 0) AS taught,
            impossible.contract_no IS NOT NULL AS is_impossible,
            {{least}}(coalesce(paid.next_on, :never), coalesce(gone.next_on, :never), coalesce(taught.next_on, :never))
                AS next_on
        FROM contracts k
        LEFT JOIN paid ON paid.contract_no = k.contract_no
        LEFT JOIN gone ON gone.contract_no = k.contract_no
        LEFT JOIN taught ON taught.contract_no = k.contract_no
        LEFT JOIN impossible ON impossible.contract_no = k.contract_no
        WHERE true{{only_k}}
    ), earned AS (
        SELECT facts.*, {_share("confirmed")} AS entitled_fen, {_share("(confirmed + disputed)")} AS with_disputed_fen
        FROM facts
    )
    INSERT INTO contract_accounts (contract_no, uscc, currency, paid_fen, refunded_fen, confirmed, disputed, pending,
        unknown, entitled_fen, disputed_fen, obligation_fen, next_change_on)
    SELECT contract_no, uscc, currency, paid_fen, gone_fen, confirmed, disputed,
        taught - confirmed - disputed - unknown, unknown, entitled_fen, with_disputed_fen - entitled_fen,
        CASE WHEN is_impossible THEN NULL WHEN paid_fen > entitled_fen + gone_fen
            THEN paid_fen - entitled_fen - gone_fen ELSE 0 END,
        CASE WHEN next_on < :never THEN next_on END
    FROM earned WHERE true
    ON CONFLICT (contract_no) DO UPDATE SET uscc = excluded.uscc, currency = excluded.currency,
        paid_fen = excluded.paid_fen, refunded_fen = excluded.refunded_fen, confirmed = excluded.confirmed,
        disputed = excluded.disputed, pending = excluded.pending, unknown = excluded.unknown,
        entitled_fen = excluded.entitled_fen, disputed_fen = excluded.disputed_fen,
        obligation_fen = excluded.obligation_fen, next_change_on = excluded.next_change_on
"""

_MONTHS = """
    INSERT INTO contract_months (contract_no, month, uscc, currency, charged_fen)
    SELECT c.contract_no, substr(CAST(c.paid_on AS text), 1, 7), k.uscc, k.currency,
        CAST(sum(c.amount_fen) AS BIGINT)
    FROM charges c JOIN contracts k ON k.contract_no = c.contract_no
    WHERE c.paid_on <= :day{only_c}
    GROUP BY c.contract_no, substr(CAST(c.paid_on AS text), 1, 7), k.uscc, k.currency
"""
