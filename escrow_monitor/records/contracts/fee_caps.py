"""What families paid at once beyond a cap, by institution, while not all of it is taught or given back."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date

from sqlmodel import Session

from escrow_monitor.domain.clauses import Clause, FeeCap
from escrow_monitor.domain.contracts import SubjectKind
from escrow_monitor.domain.fee_caps import PaidAtOnce, is_beyond, is_early
from escrow_monitor.domain.institution_position import FeeCapFacts
from escrow_monitor.domain.institutions import InstitutionKind
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.policy import PolicyBook
from escrow_monitor.records.accounts import institutions
from escrow_monitor.records.bulk import Reader, fetch, is_sqlite

SHORTEST_MONTH_DAYS = 28

_Caps = tuple[Clause[FeeCap], ...]


def fee_cap_facts(
    session: Session, usccs: Sequence[str], *, on: date, policies: PolicyBook
) -> dict[str, tuple[FeeCapFacts, ...]]:
    """What is beyond each cap that holds for these institutions, as of the end of `on`, by code and then clause.

    Every institution is in it that is registered; none of its caps where nothing is beyond one.
    """
    found: dict[str, tuple[FeeCapFacts, ...]] = {}
    alike: dict[_Caps, list[str]] = {}
    kinds: dict[str, InstitutionKind | None] = {}
    for one in institutions(session, usccs=usccs):
        found[one.uscc], kinds[one.uscc] = (), one.kind
        caps = policies.effective(institution=one, account=None, on=on).fee_caps
        if caps:
            alike.setdefault(caps, []).append(one.uscc)
    for caps, keys in alike.items():
        beyond: dict[str, dict[str, list[PaidAtOnce]]] = {}
        for uscc, paid in _candidates(session, caps, keys, on):
            if paid.subject_kind is None and kinds[uscc] is not None:
                paid = replace(paid, subject_kind=SubjectKind(str(kinds[uscc])))
            for clause in caps:
                if is_beyond(clause, paid):
                    beyond.setdefault(uscc, {}).setdefault(clause.id, []).append(paid)
        found.update({
            uscc: tuple(_facts(clause.id, by_clause[clause.id]) for clause in caps if clause.id in by_clause)
            for uscc, by_clause in beyond.items()
        })
    return found


def _facts(clause_id: str, paid: Sequence[PaidAtOnce]) -> FeeCapFacts:
    first = min(paid, key=lambda one: (one.paid_on, one.charge_no))
    # One institution may take several currencies; the largest of the first one's is told.
    largest = max(one.amount for one in paid if one.currency == first.currency)
    return FeeCapFacts(
        clause_id=clause_id, count=len(paid), first_on=first.paid_on, example_no=first.charge_no,
        largest=Money(largest, first.currency),
    )


def _candidates(
    session: Session, caps: _Caps, usccs: Sequence[str], on: date
) -> Iterator[tuple[str, PaidAtOnce]]:
    """What may be beyond a cap. The database leaves out what cannot be, by a bound that is a little too low."""
    reader = Reader(session)
    words = sorted({word for clause in caps for word in clause.terms.channels})
    days = (lambda one, other: f"CAST(julianday({one}) - julianday({other}) AS INTEGER)") if is_sqlite(session) else (
        lambda one, other: f"({one} - {other})"
    )
    rows = fetch(session, _PAID.format(bounds=_bounds(caps, days)), usccs=usccs, on=on, words=words)
    found = [
        (row[0], PaidAtOnce(
            charge_no=row[1], paid_on=reader.on(row[2]), amount=row[3], currency=row[4], fee=row[5], lessons=row[6],
            starts_on=reader.day(row[7]), ends_on=reader.day(row[8]),
            subject_kind=SubjectKind(row[9]) if row[9] else None,
            channels=frozenset([row[10]] if row[10] else []),
        ))
        for row in rows
    ]
    excepting = [clause.terms for clause in caps if clause.terms.lessons_left is not None]
    early = [paid.charge_no for _, paid in found if any(is_early(terms, paid) for terms in excepting)]
    left: dict[str, int] = dict(fetch(session, _LESSONS_LEFT, charge_nos=early) if early else [])
    for uscc, paid in found:
        yield uscc, replace(paid, lessons_left=left[paid.charge_no]) if paid.charge_no in left else paid


def _bounds(caps: _Caps, days: Callable[[str, str], str]) -> str:
    """SQL: what was paid at once may be beyond one of these caps."""
    paid, course = "sum(c.amount_fen)", f"({days('k.ends_on', 'k.starts_on')} + 1)"
    parts = ["false"]
    for terms in {clause.terms for clause in caps}:
        if terms.lessons is not None:
            parts.append(f"k.lessons_paid > {terms.lessons} AND {paid} > {terms.lessons} * k.fee_fen / k.lessons_paid")
        if terms.months is not None:
            period = terms.months * SHORTEST_MONTH_DAYS
            parts.append(f"{course} > {period} AND {paid} > {period} * k.fee_fen / {course}")
        if terms.amount is not None:
            parts.append(f"{paid} > {terms.amount.minor_units}")
        if terms.months_before_start is not None:
            parts.append(f"{days('k.starts_on', 'c.paid_on')} > {terms.months_before_start * SHORTEST_MONTH_DAYS}")
    return " OR ".join(sorted(f"({part})" for part in parts))


_WORD = "CASE WHEN lower(trim(c.channel)) IN EACH(:words) THEN lower(trim(c.channel)) END"
_PAID = f"""
    SELECT k.uscc, min(c.charge_no), c.paid_on, CAST(sum(c.amount_fen) AS BIGINT), k.currency, k.fee_fen,
        k.lessons_paid, k.starts_on, k.ends_on, k.subject_kind, max({_WORD})
    FROM contracts k JOIN contract_accounts a ON a.contract_no = k.contract_no
    JOIN charges c ON c.contract_no = k.contract_no
    WHERE k.uscc IN EACH(:usccs) AND (a.obligation_fen IS NULL OR a.obligation_fen > 0) AND c.paid_on <= :on
    GROUP BY k.contract_no, c.paid_on HAVING max({_WORD}) IS NOT NULL OR {{bounds}}
    ORDER BY k.contract_no, c.paid_on
"""
_LESSONS_LEFT = """
    SELECT charge_no, min(left_over) FROM (
        SELECT c.charge_no, o.lessons_paid + o.lessons_gift - (
            SELECT count(*) FROM lessons l
            WHERE l.contract_no = o.contract_no AND l.taught_on <= c.paid_on AND l.status <> 'cancelled'
        ) AS left_over
        FROM charges c JOIN contracts k ON k.contract_no = c.contract_no
        JOIN contracts o ON o.uscc = k.uscc AND o.student_ref = k.student_ref AND o.contract_no <> k.contract_no
            AND o.signed_on <= c.paid_on
        WHERE c.charge_no IN EACH(:charge_nos)
    ) AS others GROUP BY charge_no
"""
"""Of that other contract of the student of which least was left on the day of a charge: how many lessons."""
