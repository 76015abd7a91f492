"""Which entry a reversal takes back.

    Mon  + 3,000.00  fees              a credit booked by mistake
    Tue  - 3,000.00  fees  reversal    takes it back: neither counts as money that came or left
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta

from escrow_monitor.domain.entry_links import Basis, Booked, EntryLink, Fit, LinkKind, Paired, mutual_best

REVERSAL_DAYS_MAX = 31
"""A reversal takes back an entry of its own day or of the 31 before. Banks correct themselves within days, or when the
month's end shows it; the farther back one looks, the more fees of the same amount it could be mistaken for."""


def link_reversals(reversals: Iterable[Booked], originals: Iterable[Booked]) -> tuple[EntryLink, ...]:
    """Link each reversal to the one entry it takes back, if only one fits best.

    `originals` are entries that are no reversals themselves. Both may hold several accounts. The same bank reference
    is worth more than the same counterparty, that more than the same text; by amount alone nothing else may fit.
    """
    return tuple(
        EntryLink(kind=LinkKind.REVERSAL, one=fit.one.key, other=fit.other.key, basis=fit.basis)
        for fit in pair_reversals(reversals, originals).pairs
    )


def pair_reversals(reversals: Iterable[Booked], originals: Iterable[Booked]) -> Paired:
    """The same with the fits themselves, and the reversals that could be of several entries."""
    by_amount: dict[tuple[str, int], list[Booked]] = defaultdict(list)
    for original in originals:
        by_amount[original.account_no, original.amount_fen].append(original)
    return mutual_best(
        fit
        for reversal in reversals
        for original in by_amount[reversal.account_no, -reversal.amount_fen]
        if (fit := _fit(reversal, original)) is not None
    )


def _fit(reversal: Booked, original: Booked) -> Fit | None:
    if not timedelta(0) <= reversal.booked_on - original.booked_on <= timedelta(days=REVERSAL_DAYS_MAX):
        return None
    same_ref = reversal.bank_ref is not None and reversal.bank_ref == original.bank_ref
    theirs, other = reversal.counterparty_sha256, original.counterparty_sha256
    same_party = theirs is not None and theirs == other
    same_text = reversal.text != "" and reversal.text == original.text
    if not same_ref and theirs is not None and other is not None and not same_party:
        return None  # somebody else's money
    if same_ref:
        basis = Basis.REFERENCE
    elif same_party:
        basis = Basis.COUNTERPARTY
    else:
        basis = Basis.TEXT if same_text else Basis.AMOUNT
    return Fit(one=reversal, other=original, strength=(same_ref, same_party, same_text), basis=basis)
