"""Which reversal takes back which entry, and which debit and credit are one transfer between own accounts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_monitor.domain.accounts import Account, Purpose
from escrow_monitor.domain.entry_links import Basis, Booked, EntryLink
from escrow_monitor.domain.own_transfers import (
    EARLY_DAYS_MAX,
    TRANSFER_DAYS_MAX,
    OwnAccount,
    is_neutral,
    link_transfers,
    own_account,
)
from escrow_monitor.domain.reversals import REVERSAL_DAYS_MAX, link_reversals, pair_reversals
from escrow_monitor.domain.statements import account_digest

MON = date(2026, 11, 9)
_numbers = count()


def booked(amount: int, day: int = 0, account: str = "A", **known: object) -> Booked:
    """An entry so many days after Monday."""
    names = {"ref": "bank_ref", "party": "counterparty_sha256", "other": "counterparty_account_sha256"}
    fields = {names.get(name, name): value for name, value in known.items()}
    return Booked(account, MON + timedelta(days=day), f"{next(_numbers):04d}", amount, **fields)  # type: ignore[arg-type]


def linked(links: Sequence[EntryLink], *entries: Booked) -> list[tuple[int, int, Basis]]:
    """The links as places in the list of entries."""
    places = {entry.key: place for place, entry in enumerate(entries)}
    return sorted((places[link.one], places[link.other], link.basis) for link in links)


# reversals


@pytest.mark.parametrize(
    ("reversal", "originals", "found", "why"),
    [
        (booked(-300, 1), [booked(300)], (0, Basis.AMOUNT), "nothing else of that amount"),
        (booked(-300), [booked(300)], (0, Basis.AMOUNT), "the same day"),
        (booked(300, 1), [booked(-300)], (0, Basis.AMOUNT), "a debit taken back"),
        (booked(-300, 1), [booked(300, 2)], None, "booked after it"),
        (booked(-300, REVERSAL_DAYS_MAX), [booked(300)], (0, Basis.AMOUNT), "just near enough"),
        (booked(-300, REVERSAL_DAYS_MAX + 1), [booked(300)], None, "too long ago"),
        (booked(-300, 1), [booked(301)], None, "another amount"),
        (booked(-300, 1), [booked(-300)], None, "not opposite"),
        (booked(-300, 1), [booked(300, account="B")], None, "another account"),
        (booked(-300, 1), [booked(300, text="a"), booked(300, text="b")], None, "both fit alike"),
        (booked(-300, 1, ref="r"), [booked(300, ref="r"), booked(300, ref="s")], (0, Basis.REFERENCE), "reference"),
        (booked(-300, 1, ref="r"), [booked(300, ref="r"), booked(300, 1, ref="r")], None, "one reference, two entries"),
        (
            booked(-300, 1, ref="r", text="t"), [booked(300, ref="r"), booked(300, 1, ref="r", text="t")],
            (1, Basis.REFERENCE), "one reference, and the text tells",
        ),
        (booked(-300, 1, party="p"), [booked(300, party="q"), booked(300, party="p")], (1, Basis.COUNTERPARTY), "who"),
        (booked(-300, 1, party="p"), [booked(300, party="q")], None, "somebody else's money"),
        (booked(-300, 1, party="p"), [booked(300)], (0, Basis.AMOUNT), "the bank did not say who"),
        (booked(-300, 1, text="t"), [booked(300, text="u"), booked(300, text="t")], (1, Basis.TEXT), "text"),
        (
            booked(-300, 1, ref="r", text="t"), [booked(300, ref="r"), booked(300, text="t")],
            (0, Basis.REFERENCE), "a reference is worth more than a text",
        ),
        (
            booked(-300, 1), [booked(300, text="t"), booked(300, text="t", occurrence=2)],
            (0, Basis.AMOUNT), "of identical twins any will do",
        ),
    ],
)
def test_a_reversal_takes_back_the_one_entry_that_fits_best(
    reversal: Booked, originals: list[Booked], found: tuple[int, Basis] | None, why: str
) -> None:
    links = link_reversals([reversal], originals)
    assert linked(links, *originals, reversal) == ([] if found is None else [(len(originals), *found)]), why


def test_two_reversals_of_one_entry_are_both_left_open() -> None:
    first, second, original = booked(-300, 1, text="a"), booked(-300, 2, text="b"), booked(300)
    paired = pair_reversals([first, second], [original])
    assert paired.pairs == ()
    assert {one.key for one in paired.unclear} == {first.key, second.key}


def test_a_reversal_of_nothing_known_is_not_unclear() -> None:
    assert pair_reversals([booked(-300)], [booked(200)]).unclear == ()


def test_twin_reversals_take_back_twin_entries_one_each() -> None:
    twins = [booked(300, text="t", occurrence=n) for n in (1, 2, 3)]
    reversals = [booked(-300, 1, text="t", occurrence=n) for n in (1, 2)]
    links = link_reversals(reversals, twins)
    assert linked(links, *twins, *reversals) == [(3, 0, Basis.TEXT), (4, 1, Basis.TEXT)]


# own transfers

A, B, S = (
    Account(account_no=number, bank=bank, connector="c", currency="CNY", uscc="91510300000000000X", purpose=purpose)
    for number, bank, purpose in (("A", "one", Purpose.ESCROW), ("B", "two", Purpose.ESCROW),
                                  ("S", "two", Purpose.SETTLEMENT))
)
OTHER = replace(A, account_no="O", uscc="other")
DOLLAR = replace(A, account_no="D", currency="USD")
OWN: dict[str, OwnAccount] = {
    one.account_no: found for one in (A, B, S, OTHER, DOLLAR) if (found := own_account(one)) is not None
}
IS = {number: account_digest(number) for number in OWN}


@pytest.mark.parametrize(
    ("entries", "found", "why"),
    [
        ([booked(-500, other=IS["B"]), booked(500, account="B", other=IS["A"])], Basis.BOTH_ACCOUNTS, "both say so"),
        ([booked(-500, other=IS["B"]), booked(500, 3, "B")], Basis.ONE_ACCOUNT, "over a weekend"),
        ([booked(-500), booked(500, account="B", other=IS["A"])], Basis.ONE_ACCOUNT, "the credit's bank says so"),
        ([booked(-500, other=IS["B"]), booked(500, TRANSFER_DAYS_MAX, "B")], Basis.ONE_ACCOUNT, "just in time"),
        ([booked(-500, other=IS["B"]), booked(500, TRANSFER_DAYS_MAX + 1, "B")], None, "too late"),
        ([booked(-500, EARLY_DAYS_MAX, other=IS["B"]), booked(500, 0, "B")], Basis.ONE_ACCOUNT, "books closed early"),
        ([booked(-500, EARLY_DAYS_MAX + 1, other=IS["B"]), booked(500, 0, "B")], None, "the credit came first"),
        ([booked(-500, other=IS["B"]), booked(499, account="B")], None, "another amount"),
        ([booked(-500, other=IS["B"]), booked(500, account="B", other=IS["S"])], None, "the other bank says otherwise"),
        ([booked(-500, other="somebody"), booked(500, account="B", other=IS["A"])], None, "so does ours"),
        ([booked(-500), booked(500, account="B")], None, "the amount alone says nothing"),
        ([booked(-500, text="调拨"), booked(500, account="B", text="调拨")], Basis.REFERENCE, "one text, one day"),
        ([booked(-500, ref="r"), booked(500, account="B", ref="r")], Basis.REFERENCE, "one reference, one day"),
        ([booked(-500, ref="r"), booked(500, 1, "B", ref="r")], None, "one reference, but another day"),
        (
            [booked(-500, ref="r"), booked(500, account="B", ref="r"), booked(500, account="S", ref="r")],
            None, "two accounts it could have gone to",
        ),
        ([booked(-500, other=IS["O"]), booked(500, account="O")], None, "another institution"),
        ([booked(-500, other=IS["D"]), booked(500, account="D")], None, "another currency"),
        ([booked(-500, other=IS["A"]), booked(500, account="A")], None, "one account"),
        ([booked(-500, other=IS["B"], account="unknown"), booked(500, account="B")], None, "an account nobody knows"),
        ([booked(0, other=IS["B"]), booked(0, account="B")], None, "nothing moved"),
        (
            [booked(-500, other=IS["B"]), booked(500, 0, "B"), booked(500, 1, "B", text="学费")],
            Basis.ONE_ACCOUNT, "the nearest day, not a parent's fee of the same amount",
        ),
    ],
)
def test_a_transfer_between_own_accounts_is_told_by_evidence(
    entries: list[Booked], found: Basis | None, why: str
) -> None:
    links = link_transfers(entries, OWN)
    assert linked(links, *entries) == ([] if found is None else [(0, 1, found)]), why


def test_the_same_sum_moved_every_day_is_paired_day_by_day() -> None:
    debits = [booked(-500, day, other=IS["B"]) for day in range(5)]
    credits = [booked(500, day, "B", other=IS["A"]) for day in range(5)]
    links = link_transfers([*credits, *debits], OWN)
    assert linked(links, *debits, *credits) == [(day, day + 5, Basis.BOTH_ACCOUNTS) for day in range(5)]


def test_only_a_transfer_between_supervised_accounts_is_neutral() -> None:
    kinds = list(Purpose)
    assert {(one, other) for one in kinds for other in kinds if is_neutral(one, other)} == {
        (one, other) for one in (Purpose.ESCROW, Purpose.DEPOSIT) for other in (Purpose.ESCROW, Purpose.DEPOSIT)
    }


def test_an_account_is_known_by_its_number_however_it_is_spaced_and_by_the_banks_own_name() -> None:
    known = own_account(replace(A, account_no="de89 3704", external_id="Ext-1"))
    assert known is not None
    assert known.digests == {account_digest("DE893704"), account_digest("EXT-1")}
    assert own_account(replace(A, uscc=None)) is None
    assert account_digest("") is account_digest(None) is account_digest("  ") is None


# whatever the entries are

entry = st.builds(
    booked,
    st.sampled_from([-500, -300, 300, 500]), st.integers(0, 8), st.sampled_from(["A", "B", "S"]),
    ref=st.sampled_from([None, None, "r", "s"]), text=st.sampled_from(["", "t", "u"]),
    party=st.sampled_from([None, "p", "q"]), other=st.sampled_from([None, None, IS["A"], IS["B"], IS["S"], "else"]),
    occurrence=st.integers(1, 2),
)


@given(entries=st.lists(entry, max_size=24), seed=st.randoms(use_true_random=False))
def test_links_never_share_an_entry_and_do_not_depend_on_the_order(entries: list[Booked], seed: object) -> None:
    reversals, others = entries[::3], [each for place, each in enumerate(entries) if place % 3]
    found = link_reversals(reversals, others), link_transfers(entries, OWN)
    amounts = {each.key: each.amount_fen for each in entries}
    for links in found:
        ends = Counter(key for link in links for key in (link.one, link.other))
        assert set(ends.values()) <= {1}
        assert all(amounts[link.one] == -amounts[link.other] for link in links)
    for each in (reversals, others, entries):
        seed.shuffle(each)  # type: ignore[attr-defined]
    assert set(link_reversals(reversals, others)) == set(found[0])
    assert set(link_transfers(entries, OWN)) == set(found[1])


@given(entries=st.lists(entry, max_size=24), new=entry)
def test_a_new_entry_changes_only_the_pairs_of_the_entries_it_fits(entries: list[Booked], new: Booked) -> None:
    before, after = set(link_transfers(entries, OWN)), set(link_transfers([*entries, new], OWN))
    for link in before ^ after:
        # One end fits the new entry, or is it: same amount on the other side, on another account of the institution.
        ends = {each.key: each for each in [*entries, new] if each.key in (link.one, link.other)}
        assert any(end.amount_fen == -new.amount_fen or end.key == new.key for end in ends.values())
