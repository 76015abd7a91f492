"""Say what is due back under contracts: of one, or of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

from escrow_monitor.domain.contracts import Cause, RefundClaim
from escrow_monitor.domain.entitlement import Impossible, Ledger
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.policy import PolicyBook
from escrow_monitor.domain.refund_quote import Quote, quote
from escrow_monitor.domain.visibility import EVERYTHING, Visible
from escrow_monitor.errors import EscrowMonitorError, UsageError
from escrow_monitor.records.accounts import institution, institutions
from escrow_monitor.records.contracts.ledgers import contract_count, every_ledger, ledgers
from escrow_monitor.records.contracts.refund_claims import refund_claims
from escrow_monitor.records.database import Database
from escrow_monitor.records.visible import may_see

Progress = Callable[[int, int | None], None]


class RecordsImpossible(EscrowMonitorError):
    """The records of a contract cannot be right, so nothing is computed from them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quoted:
    """A quote with what it was made for."""

    ledger: Ledger
    institution: Institution | None
    quote: Quote | Impossible


def quote_refund(
    database: Database, policies: PolicyBook, *, contract_no: str, on: date, cause: Cause | None = None,
    claim_no: str | None = None, visible: Visible = EVERYTHING,
) -> Quoted:
    """What is due under one contract at the end of `on` if it is claimed that day; on its claim, by the claim's day.

    Without a cause it is the consumer's own, or the claim's. Raises UsageError for a contract or claim that is not
    known (or may not be seen), and for a claim that is only made later.
    """
    with database.read() as session:
        ledger = ledgers(session, [contract_no]).get(contract_no)
        if ledger is None or not may_see(session, visible, ledger.contract.uscc):
            raise UsageError(f"contract {contract_no} is not known: see contracts list")
        claims = refund_claims(session, claim_nos=[claim_no]) if claim_no is not None else []
        holder = institution(session, ledger.contract.uscc)
    claim = _claim(claims, contract_no, claim_no, on)
    return Quoted(ledger=ledger, institution=holder, quote=_quote(
        ledger, holder, policies, on=on, claimed_on=on if claim is None else claim.claimed_on,
        cause=cause or (Cause.CONSUMER if claim is None else claim.cause),
    ))


def quote_refunds(
    database: Database, policies: PolicyBook, *, on: date, cause: Cause = Cause.CONSUMER, uscc: str | None = None,
    progress: Progress | None = None,
) -> Iterator[Quote | Impossible]:
    """What is due under every contract, or every one of an institution, by number: a piece at a time, of one moment."""
    with database.read() as session:
        total = contract_count(session, uscc=uscc) if progress is not None else 0
        holders = {one.uscc: one for one in institutions(session)}
        done = 0
        for piece in every_ledger(session, uscc=uscc):
            for ledger in piece:
                yield _quote(
                    ledger, holders.get(ledger.contract.uscc), policies, on=on, claimed_on=on, cause=cause
                )
            done += len(piece)
            if progress is not None:
                progress(done, max(done, total))


def must_be_possible(found: Quoted) -> Quote:
    """The quote. Raises RecordsImpossible where the records cannot be right."""
    if isinstance(found.quote, Impossible):
        raise RecordsImpossible(f"contract {found.quote.contract_no}: {found.quote.why_en}")
    return found.quote


def _claim(claims: list[RefundClaim], contract_no: str, claim_no: str | None, on: date) -> RefundClaim | None:
    if claim_no is None:
        return None
    claim = next((one for one in claims if one.contract_no == contract_no), None)
    if claim is None:
        raise UsageError(f"there is no claim {claim_no} under contract {contract_no}: see contracts show {contract_no}")
    if claim.claimed_on > on:
        raise UsageError(f"claim {claim_no} is of {claim.claimed_on}, after {on}: choose that day or a later one")
    return claim


def _quote(
    ledger: Ledger, holder: Institution | None, policies: PolicyBook, *, on: date, claimed_on: date, cause: Cause
) -> Quote | Impossible:
    policy = policies.effective(institution=holder, account=None, on=claimed_on)
    return quote(
        ledger, on=on, cause=cause, terms=policy.refund_terms, calendar=policy.calendar, claimed_on=claimed_on
    )
