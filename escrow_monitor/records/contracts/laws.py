"""By what law the sums over each institution's contracts are kept, as it was last told by the policies."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlmodel import Field, Session

from escrow_monitor.domain.contract_law import ContractLaw, SilenceClock, SummedTerms, read_terms, terms_text
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.records.accounts import institutions
from escrow_monitor.records.bulk import fetch, insert_new, run, staged, texts
from escrow_monitor.records.closure_marks import mark_where
from escrow_monitor.records.columns import Row
from escrow_monitor.records.contracts.lessons import OPEN
from escrow_monitor.records.incoming import touch


class ContractLawRow(Row, table=True):
    """The clock of silence of one institution's lessons (empty: silence says nothing). `stale`: it has changed."""

    __tablename__ = "contract_laws"
    __table_args__ = ({"sqlite_with_rowid": False},)

    uscc: str = Field(primary_key=True)
    silence: str
    stale: bool


class InstitutionTermsRow(Row, table=True):
    """A way of counting contracts that some clause for this institution asks for."""

    __tablename__ = "institution_terms"
    __table_args__ = ({"sqlite_with_rowid": False},)

    uscc: str = Field(primary_key=True)
    terms: str = Field(primary_key=True)


def law_version(session: Session) -> str | None:
    """The version of the laws that the sums are kept by. None before the first."""
    version: str | None = run(session, "SELECT law_version FROM contract_sums_day").scalar()
    return version


def lawless(session: Session, *, version: str) -> list[Institution]:
    """The institutions of which it must be said by what law their contracts are summed: new ones and changed ones.

    Where the version is another, that is all of them.
    """
    if law_version(session) != version:
        return institutions(session)
    missing = texts(
        session,
        "SELECT i.uscc FROM institutions i LEFT JOIN contract_laws w ON w.uscc = i.uscc"
        " WHERE w.uscc IS NULL OR w.stale",
    )
    return institutions(session, usccs=missing) if missing else []


def set_laws(session: Session, laws: Mapping[str, ContractLaw], *, version: str) -> None:
    """Keep the laws of these institutions, by code; contracts that come to something else by them are made anew.

    Runs inside `contract_sums.kept_up`.
    """
    _set_silences(session, laws)
    _set_terms(session, laws)
    run(session, "UPDATE contract_sums_day SET law_version = :version", version=version)


def terms_of(session: Session, usccs: Collection[str]) -> dict[str, list[SummedTerms]]:
    """The terms by which the contracts of each institution are summed."""
    found: dict[str, list[SummedTerms]] = {}
    for uscc, terms in fetch(
        session, "SELECT uscc, terms FROM institution_terms WHERE uscc IN EACH(:keys) ORDER BY uscc, terms",
        keys=sorted(usccs),
    ):
        found.setdefault(uscc, []).append(read_terms(terms))
    return found


def _set_silences(session: Session, laws: Mapping[str, ContractLaw]) -> None:
    rows = [(uscc, _text(law.silence)) for uscc, law in sorted(laws.items())]
    with staged(session, "told_laws", {"uscc": str, "silence": str}, rows):
        touch(
            session,
            "SELECT DISTINCT l.contract_no FROM lessons l JOIN contracts k ON k.contract_no = l.contract_no"
            " JOIN told_laws t ON t.uscc = k.uscc LEFT JOIN contract_laws w ON w.uscc = t.uscc"
            f" WHERE {OPEN.format('l.')} AND coalesce(w.silence, '') <> t.silence",
        )
        mark_where(
            session,
            "SELECT k.uscc, min(l.requested_on) AS day FROM lessons l JOIN contracts k ON k.contract_no = l.contract_no"
            " JOIN told_laws t ON t.uscc = k.uscc LEFT JOIN contract_laws w ON w.uscc = t.uscc"
            f" WHERE {OPEN.format('l.')} AND coalesce(w.silence, '') <> t.silence GROUP BY k.uscc",
        )
        run(
            session,
            "INSERT INTO contract_laws (uscc, silence, stale) SELECT uscc, silence, false FROM told_laws WHERE true"
            " ON CONFLICT (uscc) DO UPDATE SET silence = excluded.silence, stale = false"
            " WHERE contract_laws.silence <> excluded.silence OR contract_laws.stale",
        )


def _set_terms(session: Session, laws: Mapping[str, ContractLaw]) -> None:
    keys = sorted(laws)
    before: dict[str, set[str]] = {}
    for uscc, terms in fetch(
        session, "SELECT uscc, terms FROM institution_terms WHERE uscc IN EACH(:keys)", keys=keys
    ):
        before.setdefault(uscc, set()).add(terms)
    told = {uscc: {terms_text(each) for each in law.terms} for uscc, law in laws.items()}
    changed = [uscc for uscc in keys if told[uscc] != before.get(uscc, set())]
    if not changed:
        return
    run(session, "DELETE FROM institution_terms WHERE uscc IN EACH(:changed)", changed=changed)
    insert_new(
        session, "institution_terms", {"uscc": str, "terms": str},
        [(uscc, terms) for uscc in changed for terms in sorted(told[uscc])],
    )
    touch(session, "SELECT contract_no FROM contracts WHERE uscc IN EACH(:changed)", changed=changed)


def _text(clock: SilenceClock | None) -> str:
    return "" if clock is None else clock.text
