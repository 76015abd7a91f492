"""Which debit and which credit are one transfer between an institution's own accounts.

    escrow A   Fri  - 50,000.00  to the account of B
    escrow B   Mon  + 50,000.00                          one transfer: no money left escrow, none came in
    settlement Mon  + 50,000.00                          a release: the money did leave escrow
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from escrow_monitor.domain.accounts import Account, Purpose
from escrow_monitor.domain.entry_links import Basis, Booked, EntryLink, Fit, LinkKind, mutual_best
from escrow_monitor.domain.statements import account_digest

TRANSFER_DAYS_MAX = 5
"""The credit is booked at most so many days after the debit: a weekend, the working days beside it, and one."""
EARLY_DAYS_MAX = 1
"""A bank that closes its books early dates a debit a day after the other bank's credit."""
SUPERVISED = frozenset({Purpose.ESCROW, Purpose.DEPOSIT})
"""A transfer between two of these leaves the supervised money as it was. One to a settlement account is a release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnAccount:
    """An account of an institution as its banks may name it."""

    account_no: str
    uscc: str
    currency: str
    digests: frozenset[str]


def own_account(account: Account) -> OwnAccount | None:
    """How transfers know this account; None while nobody has said whose it is."""
    if account.uscc is None:
        return None
    digests = (account_digest(account.account_no), account_digest(account.external_id))
    return OwnAccount(
        account_no=account.account_no, uscc=account.uscc, currency=account.currency,
        digests=frozenset(digest for digest in digests if digest is not None),
    )


def is_neutral(one: Purpose, other: Purpose) -> bool:
    """Whether a transfer between accounts of these purposes neither brings in nor takes out supervised money."""
    return one in SUPERVISED and other in SUPERVISED


def link_transfers(entries: Iterable[Booked], own: Mapping[str, OwnAccount]) -> tuple[EntryLink, ...]:
    """Link debits to credits of the same amount on another account of the same institution.

    Entries of accounts that are not in `own` are left aside; reversals and what they took back must not be among them.
    Two that name each other's accounts fit best, then those of which one does; where neither bank names any account,
    the day and the reference or text must be the same. The nearer the days, the better.
    """
    credits: dict[tuple[str, str, int], list[Booked]] = defaultdict(list)
    debits: list[Booked] = []
    for entry in entries:
        account = own.get(entry.account_no)
        if account is None or entry.amount_fen == 0:
            continue
        if entry.amount_fen < 0:
            debits.append(entry)
        else:
            credits[account.uscc, account.currency, entry.amount_fen].append(entry)
    fits = mutual_best(
        fit
        for debit in debits
        for credit in credits[own[debit.account_no].uscc, own[debit.account_no].currency, -debit.amount_fen]
        if (fit := _fit(debit, credit, own)) is not None
    )
    return tuple(
        EntryLink(kind=LinkKind.OWN_TRANSFER, one=fit.one.key, other=fit.other.key, basis=fit.basis)
        for fit in fits.pairs
    )


def _fit(debit: Booked, credit: Booked, own: Mapping[str, OwnAccount]) -> Fit | None:
    days = (credit.booked_on - debit.booked_on).days
    if debit.account_no == credit.account_no or not -EARLY_DAYS_MAX <= days <= TRANSFER_DAYS_MAX:
        return None
    names = [entry.counterparty_account_sha256 for entry in (debit, credit)]
    wanted = [own[entry.account_no].digests for entry in (credit, debit)]
    if any(name is not None and name not in digests for name, digests in zip(names, wanted, strict=True)):
        return None  # a bank says the money went to, or came from, somebody else
    named = sum(name is not None for name in names)
    same_ref = debit.bank_ref is not None and debit.bank_ref == credit.bank_ref
    same_text = debit.text != "" and debit.text == credit.text
    if not named and (days != 0 or not (same_ref or same_text)):
        return None
    basis = (Basis.REFERENCE, Basis.ONE_ACCOUNT, Basis.BOTH_ACCOUNTS)[named]
    return Fit(one=debit, other=credit, strength=(named, same_ref or same_text, -abs(days)), basis=basis)
