"""Reversals and own transfers: found however the entries come, and what they undo is taken out of the flows."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import date, timedelta

import pytest
from sqlalchemy import text

from escrow_monitor.domain.accounts import Account, Purpose
from escrow_monitor.domain.entry_links import Basis, Booked, EntryLink, LinkKind
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.own_transfers import link_transfers, own_account
from escrow_monitor.domain.positions import Position
from escrow_monitor.domain.reversals import link_reversals
from escrow_monitor.domain.statements import Entry, Statement, StatementKind, account_digest, numbered
from escrow_monitor.records.accounts import lock_states
from escrow_monitor.records.bank.links import entry_links, register_accounts, unclear_reversals
from escrow_monitor.records.bank.statements import record_statements, stored_entries
from escrow_monitor.records.database import Database
from escrow_monitor.records.positions import positions_due
from tests.records.conftest import ACCOUNTS, NOW, statement_of

MON = date(2026, 11, 2)
OURS, KIN, STRANGER = ACCOUNTS[1], ACCOUNTS[4], ACCOUNTS[2]
"""The first two are one institution's, at two banks."""


def entry(amount: int, day: int = 0, account: Account = OURS, **known: object) -> Entry:
    if isinstance(named := known.pop("names", None), Account):
        known["counterparty_account_sha256"] = account_digest(named.account_no)
    return Entry(
        account_no=account.account_no, booked_on=MON + timedelta(days=day), amount=Money(amount, "CNY"),
        **known,  # type: ignore[arg-type]
    )


def day_of(opening: int, *entries: Entry, final: bool = True) -> Statement:
    """A statement of one day with these entries, or a notice of them."""
    kind = StatementKind.END_OF_DAY if final else StatementKind.NOTICE
    account = next(one for one in ACCOUNTS if one.account_no == entries[0].account_no)
    amounts = [each.amount.minor_units for each in entries]
    whole = statement_of(entries[0].booked_on, opening, *amounts, account=account, kind=kind)
    return replace(whole, entries=numbered(entries))


def load(database: Database, *statements: Statement) -> None:
    with database.write() as session:
        refusals = record_statements(session, statements, source="t", raw_sha256="0" * 64, now=NOW)
    assert refusals == []


def links(database: Database, account: Account = OURS) -> list[tuple[LinkKind, Basis, date, date]]:
    with database.read() as session:
        found = entry_links(session, account.account_no)
    return sorted((link.kind, link.basis, link.one[1], link.other[1]) for link in set(found.values()))


def position(database: Database, account: Account = OURS) -> tuple[Position, int]:
    with database.read() as session:
        [[found]] = positions_due(
            session, now=NOW, policy_version="1", days_from=date(2026, 11, 1), large_debit_fen_min=None,
            account_nos=[account.account_no], everything=True,
        )
    return found.position, found.input_version


def flows(database: Database, account: Account = OURS) -> dict[str, tuple[int, int]]:
    """What stands of each month: credits and debits."""
    return {
        month: (flow.credits_fen, flow.debits_fen) for month, flow in position(database, account)[0].months.items()
    }


def test_a_credit_that_was_reversed_is_no_receipt_and_its_reversal_no_outflow(district: Database) -> None:
    load(district, day_of(0, entry(500_00), entry(300_00, text="学费")))
    assert flows(district) == {"2026-11": (800_00, 0)}
    before = position(district)[1]
    load(district, day_of(800_00, entry(-300_00, 1, text="学费", reversal=True), entry(-100_00, 1)))
    assert links(district) == [(LinkKind.REVERSAL, Basis.TEXT, MON + timedelta(days=1), MON)]
    assert flows(district) == {"2026-11": (500_00, 100_00)}
    found, version = position(district)
    assert version > before, "what a rule sees has changed"
    [day] = found.days
    assert (day.debits_fen, day.largest_debit_fen, day.own_debits_fen) == (100_00, 100_00, 0)


def test_a_debit_that_was_reversed_in_the_next_month_never_left(district: Database) -> None:
    load(district, day_of(900_00, entry(-700_00, 28)), day_of(200_00, entry(700_00, 30, reversal=True)))
    assert flows(district) == {"2026-11": (0, 0), "2026-12": (0, 0)}
    [day] = position(district)[0].days
    assert (day.on, day.debits_fen, day.largest_debit_fen) == (MON + timedelta(days=28), 0, 0)


def test_a_reversal_waits_for_an_entry_that_comes_late(district: Database) -> None:
    load(district, day_of(300_00, entry(-300_00, 4, reversal=True)))
    assert links(district) == []
    assert flows(district) == {"2026-11": (0, 300_00)}
    load(district, day_of(0, entry(300_00, 1)))
    assert len(links(district)) == 1
    assert flows(district) == {"2026-11": (0, 0)}


def test_a_reversal_that_could_be_of_several_entries_is_left_open_and_said_to_be(district: Database) -> None:
    load(district, day_of(0, entry(300_00)))
    load(district, day_of(300_00, entry(-300_00, 4, reversal=True)))
    assert len(links(district)) == 1
    load(district, day_of(300_00, entry(300_00, 1, text="late")))
    assert links(district) == [], "the late one fits as well"
    assert flows(district) == {"2026-11": (600_00, 300_00)}
    with district.read() as session:
        [key] = unclear_reversals(session, OURS.account_no)
        assert key[1] == MON + timedelta(days=4)
        assert unclear_reversals(session, KIN.account_no) == set()


def test_a_notice_is_linked_until_the_statement_says_otherwise(district: Database) -> None:
    load(district, day_of(0, entry(300_00), final=False), day_of(0, entry(-300_00, 1, reversal=True), final=False))
    assert len(links(district)) == 1
    load(district, day_of(0, entry(200_00)))
    assert links(district) == [], "the statement of that day knows of no such credit"
    assert flows(district) == {"2026-11": (200_00, 300_00)}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_transfer_to_the_institutions_own_escrow_is_no_outflow_and_no_receipt(
    district: Database, order: tuple[int, int]
) -> None:
    both = (
        day_of(900_00, entry(-700_00, names=KIN), entry(-10_00)),
        day_of(0, entry(700_00, 3, KIN), entry(5_00, 3, KIN)),
    )
    load(district, both[order[0]])
    load(district, both[order[1]])
    assert links(district) == links(district, KIN) == [
        (LinkKind.OWN_TRANSFER, Basis.ONE_ACCOUNT, MON, MON + timedelta(days=3))
    ]
    assert (flows(district), flows(district, KIN)) == ({"2026-11": (0, 10_00)}, {"2026-11": (5_00, 0)})
    [day] = position(district)[0].days
    assert (day.debits_fen, day.largest_debit_fen, day.own_debits_fen) == (10_00, 10_00, 700_00)


def test_the_other_account_is_due_when_a_transfer_is_found(district: Database) -> None:
    load(district, day_of(900_00, entry(-700_00, names=KIN)))
    before = position(district)[1]
    load(district, day_of(0, entry(700_00, account=KIN)))
    assert position(district)[1] > before


def test_a_release_to_the_settlement_account_is_linked_and_still_an_outflow(district: Database) -> None:
    with district.write() as session:
        register_accounts(session, [replace(KIN, purpose=Purpose.SETTLEMENT)], now=NOW)
    load(district, day_of(900_00, entry(-700_00, names=KIN)), day_of(0, entry(700_00, 0, KIN, names=OURS)))
    assert links(district) == [(LinkKind.OWN_TRANSFER, Basis.BOTH_ACCOUNTS, MON, MON)]
    assert (flows(district), flows(district, KIN)) == ({"2026-11": (0, 700_00)}, {"2026-11": (700_00, 0)})


def test_a_transfer_that_was_reversed_is_a_reversal_alone(district: Database) -> None:
    load(district, day_of(900_00, entry(-700_00, names=KIN)), day_of(0, entry(700_00, 1, KIN, names=OURS)))
    load(district, day_of(200_00, entry(700_00, 2, names=KIN, reversal=True)))
    assert [kind for kind, *_ in links(district)] == [LinkKind.REVERSAL]
    assert links(district, KIN) == [], "its credit belongs to nothing known now"
    assert flows(district, KIN) == {"2026-11": (700_00, 0)}


def test_the_same_amount_at_another_institution_is_not_a_transfer(district: Database) -> None:
    load(
        district, day_of(900_00, entry(-700_00, names=STRANGER)),
        day_of(0, entry(700_00, 0, STRANGER, names=OURS)),
    )
    assert links(district) == links(district, STRANGER) == []


def test_an_entry_that_a_correction_takes_out_loses_its_link(district: Database) -> None:
    load(district, day_of(900_00, entry(-700_00, names=KIN)), day_of(0, entry(700_00, account=KIN)))
    load(district, day_of(900_00, entry(-600_00, names=KIN)))
    assert links(district) == links(district, KIN) == []
    assert (flows(district), flows(district, KIN)) == ({"2026-11": (0, 600_00)}, {"2026-11": (700_00, 0)})


def test_what_an_account_is_for_and_whose_it_is_may_be_said_long_after_its_entries_came(district: Database) -> None:
    later = NOW + timedelta(hours=1)

    def register(account: Account, hours: int) -> int:
        with district.write() as session:
            return register_accounts(session, [account], now=later + timedelta(hours=hours))

    register(replace(KIN, uscc=None), 0)
    load(district, day_of(900_00, entry(-700_00, names=KIN)), day_of(0, entry(700_00, 0, KIN, names=OURS)))
    assert links(district) == []
    before = position(district)[1]
    register(KIN, 1)
    assert links(district) == links(district, KIN) == [(LinkKind.OWN_TRANSFER, Basis.BOTH_ACCOUNTS, MON, MON)]
    assert (flows(district), flows(district, KIN)) == ({"2026-11": (0, 0)}, {"2026-11": (0, 0)})
    assert position(district)[1] > before
    register(replace(KIN, purpose=Purpose.SETTLEMENT), 2)
    assert len(links(district)) == 1
    assert (flows(district), flows(district, KIN)) == ({"2026-11": (0, 700_00)}, {"2026-11": (700_00, 0)})
    register(replace(KIN, uscc=STRANGER.uscc), 3)
    assert links(district) == links(district, KIN) == []
    assert (flows(district), flows(district, KIN)) == ({"2026-11": (0, 700_00)}, {"2026-11": (700_00, 0)})
    assert register(replace(KIN, uscc=STRANGER.uscc), 4) == 0


def test_who_records_entries_holds_the_banks_of_the_institutions_other_accounts(district: Database) -> None:
    with district.write() as session:
        assert lock_states(session, [OURS.account_no], booked=[OURS.account_no]) == {OURS.account_no}
        if "sqlite" not in str(session.get_bind().dialect.name):
            held = session.execute(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")).scalar()
            assert held == 2, "one bank alone could be summing up the very day whose link is decided here"


def _world(dice: random.Random) -> list[Statement]:
    """Ten days of two accounts of one institution and one of another, full of amounts that could be each other's."""
    statements = []
    for account in (OURS, KIN, STRANGER):
        others = [one for one in (OURS, KIN, STRANGER) if one is not account]
        balance = 0
        for day in range(10):
            found = [
                entry(
                    dice.choice([-300, 300, -500, 500]), day, account, text=dice.choice(["", "t", "u"]),
                    bank_ref=dice.choice([None, None, "r", "s"]), reversal=dice.random() < 0.25,
                    names=dice.choice([None, *others]),
                )
                for _ in range(dice.randrange(1, 5))
            ]
            if dice.random() < 0.3:
                # What a notice says first, the statement may say otherwise.
                statements.append(day_of(0, *dice.sample(found, 1), entry(300, day, account, text="gone"), final=False))
            statements.append(day_of(balance, *found))
            balance += sum(each.amount.minor_units for each in found)
    return statements


@pytest.mark.parametrize("seed", range(6))
def test_links_are_those_of_all_entries_at_once_in_whatever_order_they_came(district: Database, seed: int) -> None:
    dice = random.Random(seed)
    statements = _world(dice)
    dice.shuffle(statements)
    while statements:
        size = dice.randrange(1, 9)
        load(district, *statements[:size])
        del statements[:size]
    accounts = (OURS, KIN, STRANGER)
    stored: list[tuple[Booked, bool]] = []
    found: set[EntryLink] = set()
    with district.read() as session:
        for account in accounts:
            stored += [
                (Booked(
                    *key, each.amount.minor_units, each.bank_ref, each.text, each.occurrence, each.counterparty_sha256,
                    each.counterparty_account_sha256,
                ), each.reversal)
                for key, each in stored_entries(session, account.account_no)
            ]
            found |= set(entry_links(session, account.account_no).values())
    reversed_ = link_reversals([one for one, flag in stored if flag], [one for one, flag in stored if not flag])
    undone = {key for link in reversed_ for key in (link.one, link.other)}
    own = {one.account_no: known for one in accounts if (known := own_account(one)) is not None}
    transfers = link_transfers([one for one, flag in stored if not flag and one.key not in undone], own)
    assert found == {*reversed_, *transfers}
    assert len({link.kind for link in found}) == 2, "a world in which nothing is linked shows nothing"
    assert set(Counter(key for link in found for key in (link.one, link.other)).values()) == {1}
    moved = {key for link in transfers for key in (link.one, link.other)}
    _check_sums(district, [one for one, _ in stored], undone, moved)


def _check_sums(
    database: Database, stored: list[Booked], undone: set[tuple[str, date, str]], own: set[tuple[str, date, str]]
) -> None:
    """Gross flows tie with the balances, and they are what stands, what was undone and what stayed in the house."""
    wanted: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0] * 7)
    for one in stored:
        sums, amount = wanted[one.account_no, one.booked_on.isoformat()], abs(one.amount_fen)
        side = 0 if one.amount_fen > 0 else 1
        sums[side] += amount
        if one.key in undone:
            sums[2 + side] += amount
        elif one.key in own:
            sums[4 + side] += amount
        elif side:
            sums[6] = max(sums[6], amount)
    columns = "credits_fen, debits_fen, reversed_credits_fen, reversed_debits_fen, own_credits_fen, own_debits_fen"
    with database.read() as session:
        days = session.execute(text(
            f"SELECT account_no, day, {columns}, largest_debit_fen, opening_fen, closing_fen FROM account_days"
        )).all()
        months = session.execute(text(f"SELECT account_no, month, {columns} FROM account_months")).all()
    assert {(row[0], str(row[1])): [*row[2:9]] for row in days} == wanted
    assert all(row.opening_fen + row.credits_fen - row.debits_fen == row.closing_fen for row in days)
    summed: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0] * 6)
    for (account_no, day), sums in wanted.items():
        month = summed[account_no, day[:7]]
        month[:] = [before + now for before, now in zip(month, sums[:6], strict=True)]
    assert {(row[0], row[1]): [*row[2:]] for row in months} == summed
