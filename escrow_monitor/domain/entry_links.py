"""Two booked entries that belong together, and how such pairs are told: each is the other's best, or there is no pair.

    debit 50 on Mon  --names-->  credit 50 on Mon      each other's best: a pair
                     --names-->  credit 50 on Wed      farther away: not the best
    reversal of 30   --------->  30 "fees"             both fit alike: no pair, for a guess would move money
                     --------->  30 "books"
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import NamedTuple, TypeAlias

EntryKey: TypeAlias = tuple[str, date, str]
"""Account, booking day and identity: which stored entry is meant."""
Strength: TypeAlias = tuple[int, ...]
"""How well two entries fit; the larger the better. Strengths of one kind of link have the same length."""


class LinkKind(StrEnum):
    """What two entries are to each other."""

    REVERSAL = "reversal"
    OWN_TRANSFER = "own_transfer"


class Basis(StrEnum):
    """Why two entries are believed to belong together, beside amount and day."""

    REFERENCE = "reference"
    """Both carry the bank's same reference, or (an own transfer) the same text on the same day."""
    COUNTERPARTY = "counterparty"
    """The other side is the same."""
    TEXT = "text"
    """The text is the same."""
    AMOUNT = "amount"
    """Nothing else of that amount is near."""
    BOTH_ACCOUNTS = "both_accounts"
    """Each entry names the other's account as its other side."""
    ONE_ACCOUNT = "one_account"
    """One entry names the other's account; the bank of the other names none."""


class Booked(NamedTuple):
    """A stored entry as far as links need it. `amount_fen` is signed."""

    account_no: str
    booked_on: date
    identity: str
    amount_fen: int
    bank_ref: str | None = None
    text: str = ""
    occurrence: int = 1
    counterparty_sha256: str | None = None
    counterparty_account_sha256: str | None = None

    @property
    def key(self) -> EntryKey:
        """Which entry this is."""
        return (self.account_no, self.booked_on, self.identity)

    @property
    def likeness(self) -> Hashable:
        """What identical twins share: which of them is meant makes no difference to any sum."""
        return (
            self.account_no, self.booked_on, self.amount_fen, self.bank_ref, self.text, self.counterparty_sha256,
            self.counterparty_account_sha256,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryLink:
    """Two entries that belong together: `one` reversed `other`, or `one` is the debit and `other` the credit."""

    kind: LinkKind
    one: EntryKey
    other: EntryKey
    basis: Basis


class Fit(NamedTuple):
    """Two entries that could belong together, and how well they fit."""

    one: Booked
    other: Booked
    strength: Strength
    basis: Basis


class Paired(NamedTuple):
    """The fits that are each other's best, and the entries on the side of `one` for which several fit equally well."""

    pairs: tuple[Fit, ...]
    unclear: tuple[Booked, ...]


def mutual_best(fits: Iterable[Fit]) -> Paired:
    """Pair the entries that are each other's best fit. Where two different ones fit equally well there is no pair.

    No entry is in two pairs, and the order of the fits does not matter. Whether two entries are a pair depends on
    their own fits alone, so that a new entry can only change the pairs of the entries that it fits.
    """
    from_one: dict[EntryKey, list[Fit]] = {}
    from_other: dict[EntryKey, list[Fit]] = {}
    for fit in fits:
        from_one.setdefault(fit.one.key, []).append(fit)
        from_other.setdefault(fit.other.key, []).append(fit)
    chosen = {key: _choice(found, side="other") for key, found in from_one.items()}
    choosing = {key: _choice(found, side="one") for key, found in from_other.items()}
    pairs = [fit for fit in chosen.values() if fit is not None and _agrees(fit, choosing)]
    paired = {fit.one.key for fit in pairs}
    # One whose best is somebody else's better fit is unclear as well: what it belongs to is not known.
    unclear = [found[0].one for key, found in from_one.items() if key not in paired]
    return Paired(
        pairs=tuple(sorted(pairs, key=lambda fit: fit.one.key)), unclear=tuple(sorted(unclear, key=lambda one: one.key))
    )


def _agrees(fit: Fit, choosing: Mapping[EntryKey, Fit | None]) -> bool:
    back = choosing[fit.other.key]
    return back is not None and back.one.key == fit.one.key


def _choice(fits: list[Fit], *, side: str) -> Fit | None:
    """The best of one entry's fits, or None where different entries are equally good."""
    best = max(fit.strength for fit in fits)
    found = [fit for fit in fits if fit.strength == best]
    theirs = [(fit.other if side == "other" else fit.one, fit) for fit in found]
    if len({entry.likeness for entry, _ in theirs}) > 1:
        return None
    # Twins pair off by their occurrence: the first with the first.
    mine = found[0].one if side == "other" else found[0].other
    return min(theirs, key=lambda each: (each[0].occurrence != mine.occurrence, each[0].occurrence, each[0].key))[1]
