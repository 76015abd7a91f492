"""The bridge from what is required to what is in the bank, beside an independent replay of generated little worlds."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

import pytest

from escrow_monitor.domain.accounts import Mode
from escrow_monitor.domain.bridge_words import LABELS, WHYS, Label, Why
from escrow_monitor.domain.calendar import CalendarUnknown
from escrow_monitor.domain.entry_nature import FEE_MINOR_UNITS_MAX, EntryNature, entry_nature
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.reconciliation import (
    EVIDENCE_MAX,
    AccountSpan,
    BankEntry,
    Books,
    ChargedItem,
    ContractSpan,
    Earned,
    Nature,
    RefundedItem,
    reconcile,
)

USCC = "91110000600037341L"
BEGAN, ON = date(2026, 11, 2), date(2026, 11, 20)
DAY = timedelta(days=1)
BEFORE = BEGAN - DAY


@dataclass(frozen=True)
class Weekdays:
    """Monday to Friday; nothing is known from `ends` on."""

    name: str = "weekdays"
    ends: date = date(2100, 1, 1)

    def is_working_day(self, day: date) -> bool:
        if day >= self.ends:
            raise CalendarUnknown(calendar=self.name, year=day.year)
        return day.weekday() < 5


CALENDAR = Weekdays()


def account(opening: int = 0, closing: int = 0, **said: object) -> AccountSpan:
    given = {"account_no": "A1", "began_on": BEGAN, "opening_fen": opening, "closing_on": ON, "closing_fen": closing}
    return AccountSpan(**{**given, **said})  # type: ignore[arg-type]


def books(**said: object) -> Books:
    given = {"uscc": USCC, "currency": "CNY", "on": ON, "modes": frozenset({Mode.CUSTODY})}
    return Books(**{**given, **said})  # type: ignore[arg-type]


def lines(of: Books) -> dict[Label, int]:
    found = reconcile(of, calendar=CALENDAR)
    assert found.residual.minor_units == 0
    return {line.label: line.impact.minor_units for line in found.lines}


# one thing at a time


def test_a_contract_paid_taught_and_drawn_in_step_leaves_nothing_to_explain() -> None:
    found = reconcile(books(
        accounts=(account(0, 3500),),
        entries=[BankEntry("e1", BEGAN, 4800, match="1"), BankEntry("e2", ON, -1300)],
        charges=[ChargedItem("c1", BEGAN, 4800, match="1")],
        contracts=[ContractSpan("k", Earned(), Earned(4800, 1300, 0))],
        lesson_days=[ON],
    ), calendar=CALENDAR)
    assert (found.net.minor_units, found.residual.minor_units, found.complete) == (0, 0, True)
    assert [(line.label, line.impact.minor_units) for line in found.lines] == [
        (Label.OPENING, 0), (Label.EARNED_NOT_DRAWN, 0)
    ]
    assert (found.earned, found.released, found.idle_days) == (Money(1300, "CNY"), Money(1300, "CNY"), 0)


def test_what_was_drawn_ahead_of_teaching_is_excused_only_by_what_lay_there_before() -> None:
    found = reconcile(books(
        accounts=(account(700, 3300),),
        entries=[BankEntry("e1", BEGAN, 4800, match="1"), BankEntry("e2", ON, -2200)],
        charges=[ChargedItem("c1", BEGAN, 4800, match="1")],
        contracts=[ContractSpan("k", Earned(), Earned(4800, 1300, 0))],
    ), calendar=CALENDAR)
    assert found.ahead.minor_units == 900
    assert found.opening_surplus.minor_units == 700
    assert found.ahead_unexcused.minor_units == 200
    assert found.is_wrong


def test_lessons_of_a_family_that_has_not_paid_for_them_may_not_be_drawn_from_other_families() -> None:
    found = lines(books(
        accounts=(account(0, 0),), contracts=[ContractSpan("k", Earned(), Earned(0, 1300, 0))],
    ))
    assert found == {Label.OPENING: 0, Label.EARNED_NOT_DRAWN: 1300, Label.TAUGHT_UNPAID: -1300}
    drawn = reconcile(books(
        accounts=(account(0, 0),), entries=[BankEntry("e1", BEGAN, 1000), BankEntry("e2", ON, -1000)],
        contracts=[ContractSpan("k", Earned(), Earned(0, 1300, 0))],
    ), calendar=CALENDAR)
    assert drawn.ahead_unexcused.minor_units == 1000


@pytest.mark.parametrize(("paid_on", "label"), [
    (date(2026, 11, 19), Label.NOT_RECEIVED),  # due by Friday the 20th
    (date(2026, 11, 20), Label.IN_TRANSIT),  # due by Monday
    (date(2026, 11, 13), Label.NOT_RECEIVED),
])
def test_a_charge_is_late_from_the_end_of_the_next_working_day_on(paid_on: date, label: Label) -> None:
    assert lines(books(
        accounts=(account(),), charges=[ChargedItem("c1", paid_on, 4800)],
        contracts=[ContractSpan("k", Earned(), Earned(4800, 0, 0))],
    ))[label] == -4800


def test_a_charge_whose_day_has_no_statement_is_not_late_but_unknown() -> None:
    found = reconcile(books(
        accounts=(account(missing=(date(2026, 11, 10),), missing_count=1),),
        charges=[ChargedItem("c1", date(2026, 11, 9), 4800), ChargedItem("c2", date(2026, 11, 6), 100)],
        contracts=[ContractSpan("k", Earned(), Earned(4900, 0, 0))],
    ), calendar=CALENDAR)
    assert found.known_through == date(2026, 11, 9)
    assert [one.why for one in found.missing] == [Why.DAYS_MISSING]
    assert found.unreceived.minor_units == 100  # due on the 9th, of which every statement is there
    assert found.impact(Label.IN_TRANSIT).minor_units == -4800


def test_twins_that_could_be_each_other_s_are_missing_only_as_far_as_they_certainly_are() -> None:
    twins = [ChargedItem(f"c{n}", date(2026, 11, 9), 300, unclear=True) for n in range(3)]
    found = reconcile(books(
        accounts=(account(0, 600),),
        entries=[BankEntry(f"e{n}", date(2026, 11, 9), 300, unclear=True) for n in range(2)], charges=twins,
        contracts=[ContractSpan("k", Earned(), Earned(900, 0, 0))],
    ), calendar=CALENDAR)
    assert found.impact(Label.UNCLEAR).minor_units == -300
    assert (found.unreceived.minor_units, found.unreceived_since) == (300, date(2026, 11, 9))
    assert found.complete


def test_what_was_on_its_way_when_coverage_began_is_part_of_the_opening() -> None:
    assert lines(books(
        accounts=(account(0, 500),), entries=[BankEntry("e1", BEGAN, 500, match="1")],
        charges=[ChargedItem("c1", BEFORE, 500, match="1")],
        contracts=[ContractSpan("k", Earned(500, 0, 0), Earned(500, 0, 0))],
    )) == {Label.OPENING: 0}


def test_a_bank_that_says_otherwise_than_its_statement_is_a_line() -> None:
    found = reconcile(books(
        accounts=(account(100, 100, stated_fen=90),), contracts=[ContractSpan("k", Earned(100), Earned(100))],
    ), calendar=CALENDAR)
    assert found.impact(Label.BANK_DIFFERS).minor_units == -10
    assert (found.bank.minor_units, found.own.minor_units, found.residual.minor_units) == (90, 100, 0)


def test_entries_that_do_not_lead_to_the_closing_make_the_run_incomplete() -> None:
    found = reconcile(books(
        accounts=(account(0, 77),), contracts=[ContractSpan("k", Earned(), Earned())],
    ), calendar=CALENDAR)
    assert found.residual.minor_units == 77
    assert [one.why for one in found.missing] == [Why.RESIDUAL]


@pytest.mark.parametrize(("said", "why"), [
    ({"contracts": []}, Why.NO_CONTRACT),
    ({"accounts": ()}, Why.NO_ACCOUNT),
    ({"accounts": (AccountSpan("A1"),)}, Why.NO_STATEMENT),
    ({"accounts": (account(closing_on=date(2026, 11, 18)),)}, Why.NO_CLOSING),
    ({"accounts": (account(missing=(date(2026, 11, 10),), missing_count=1),)}, Why.DAYS_MISSING),
    (
        {"accounts": (account(), AccountSpan("A2", date(2026, 11, 9), 5, ON, 5))}, Why.JOINED_LATER,
    ),
    ({"contracts": [ContractSpan("k", Earned(), Earned(), impossible=True)]}, Why.IMPOSSIBLE_CONTRACT),
    ({"entries": [BankEntry("e", ON, 0, Nature.UNCLEAR_REVERSAL)]}, Why.UNCLEAR_REVERSAL),
    ({"not_searched": 3}, Why.NOT_SEARCHED),
])
def test_what_is_not_known_makes_the_run_incomplete_and_says_what_to_do(said: dict[str, object], why: Why) -> None:
    found = reconcile(
        books(**{"accounts": (account(),), "contracts": [ContractSpan("k", Earned(), Earned())], **said}),
        calendar=CALENDAR,
    )
    assert [one.why for one in found.missing] == [why]
    assert found.residual.minor_units == 0
    assert not found.complete
    assert found.is_wrong
    [only] = found.missing
    for sentence in (only.zh, only.en):
        assert "{" not in sentence
        assert "None" not in sentence


def test_a_calendar_that_ends_makes_it_unknown_by_when_money_was_due() -> None:
    found = reconcile(books(
        accounts=(account(),), charges=[ChargedItem("c", date(2026, 11, 17), 5)],
        contracts=[ContractSpan("k", Earned(), Earned(5))],
    ), calendar=Weekdays(ends=date(2026, 11, 18)))
    assert [one.why for one in found.missing] == [Why.CALENDAR_UNKNOWN]
    assert found.unreceived.minor_units == 0


def test_releases_without_a_lesson_since_the_one_before_are_told_apart() -> None:
    found = reconcile(books(
        accounts=(account(0, 0),),
        entries=[
            BankEntry("e0", BEGAN, 900), BankEntry("e1", date(2026, 11, 9), -300),
            BankEntry("e2", date(2026, 11, 11), -300), BankEntry("e3", date(2026, 11, 16), -300),
        ],
        contracts=[ContractSpan("k", Earned(), Earned())], lesson_days=[date(2026, 11, 12)],
    ), calendar=CALENDAR)
    assert (found.idle_days, found.idle_last_on) == (1, date(2026, 11, 11))
    assert found.idle_amount == Money(300, "CNY")


def test_a_line_names_some_ids_and_counts_all() -> None:
    found = reconcile(books(
        accounts=(account(),), contracts=[ContractSpan("k", Earned(), Earned(50))],
        charges=[ChargedItem(f"c{n:03d}", ON, 1) for n in range(50)],
    ), calendar=CALENDAR)
    line = found.by_label[Label.IN_TRANSIT]
    assert (line.count, len(line.evidence), line.evidence[0]) == (50, EVIDENCE_MAX, "c000")


def test_every_label_and_every_reason_speaks_both_languages() -> None:
    assert set(LABELS) == set(Label)
    assert set(WHYS) == set(Why)
    for sentence in (*LABELS.values(), *WHYS.values()):
        assert sentence.zh.strip()
        assert sentence.en.strip()


@pytest.mark.parametrize(("text", "fen", "nature"), [
    ("结息 2026Q3", 1234, EntryNature.INTEREST),
    ("INTEREST CREDIT", 1234, EntryNature.INTEREST),
    ("贷款利息", -500_00, EntryNature.OTHER),
    ("账户管理费", -10_00, EntryNature.FEE),
    ("手续费", -FEE_MINOR_UNITS_MAX, EntryNature.FEE),
    ("手续费", -FEE_MINOR_UNITS_MAX - 1, EntryNature.OTHER),
    ("利息税", -1_00, EntryNature.FEE),
    ("退学费 HT-1", -500_00, EntryNature.REFUND),
    ("Refunded HT-1", -500_00, EntryNature.REFUND),
    ("退费", 500_00, EntryNature.OTHER),
    ("培训服务费", -500_00, EntryNature.OTHER),
    ("", -1, EntryNature.OTHER),
])
def test_words_excuse_nothing_that_could_empty_an_account(text: str, fen: int, nature: EntryNature) -> None:
    assert entry_nature(text, fen) is nature


# the replay: a world is a list of things that happened, each of which says itself what it should come to


@dataclass
class World:
    """What happened to one institution, told day by day, and what each thing should add to each line."""

    random: random.Random
    expect: Counter[Label] = field(default_factory=Counter)
    entries: list[BankEntry] = field(default_factory=list)
    charges: list[ChargedItem] = field(default_factory=list)
    refunds: list[RefundedItem] = field(default_factory=list)
    refund_matches: set[str] = field(default_factory=set)
    open_matches: set[str] = field(default_factory=set)
    paid: Counter[tuple[str, bool]] = field(default_factory=Counter)
    gone: Counter[tuple[str, bool]] = field(default_factory=Counter)
    next_no: int = 0

    def number(self, kind: str) -> str:
        self.next_no += 1
        return f"{kind}{self.next_no}"

    def day(self, first: date = BEGAN, last: date = ON) -> date:
        return first + self.random.randrange((last - first).days + 1) * DAY

    def book(self, fen: int, on: date, nature: Nature = Nature.OTHER, match: str | None = None, **more: bool) -> None:
        if on <= ON:
            self.entries.append(BankEntry(self.number("e"), on, fen, nature, match, **more))

    def charge(self, contract: str, fen: int, on: date, match: str | None = None, *, unclear: bool = False) -> None:
        self.charges.append(ChargedItem(self.number("c"), on, fen, match, unclear))
        self.paid[contract, on < BEGAN] += fen


def due(day: date) -> date:
    day += DAY
    while day.weekday() > 4:
        day += DAY
    return day


def unseen(day: date) -> Label:
    return Label.NOT_RECEIVED if due(day) <= ON else Label.IN_TRANSIT


def paid(world: World, contract: str, fen: int, on: date) -> None:
    """Paid, and booked some days later, perhaps after today."""
    booked, name = on + world.random.randrange(5) * DAY, world.number("m")
    world.charge(contract, fen, on, name)
    world.book(fen, booked, match=name)
    if booked > ON:
        world.open_matches.add(name)
        world.expect[unseen(on)] -= fen


def never_seen(world: World, contract: str, fen: int, on: date) -> None:
    world.charge(contract, fen, on)
    world.expect[unseen(on)] -= fen


def differing(world: World, contract: str, fen: int, on: date) -> None:
    name, more = world.number("m"), world.random.randrange(-3, 4)
    world.charge(contract, fen + 3, on, name)
    world.book(fen + 3 + more, on, match=name)
    world.expect[Label.MATCH_DIFFERENCE] += more


def on_its_way(world: World, contract: str, fen: int, on: date) -> None:
    """Paid before coverage, came after it began."""
    name = world.number("m")
    world.charge(contract, fen, BEFORE - DAY, name)
    world.book(fen, on, match=name)
    world.expect[Label.OPENING] += fen


def in_two_parts(world: World, contract: str, fen: int, on: date) -> None:
    """The second part perhaps after today."""
    name, later = world.number("m"), on + world.random.randrange(4) * DAY
    world.charge(contract, fen + 10, on, name)
    world.book(fen, on, match=name)
    world.book(10, later, match=name)
    if later > ON:
        world.open_matches.add(name)
        world.expect[unseen(on)] -= 10


def early(world: World, contract: str, fen: int, on: date) -> None:
    """Booked today, its charge dated tomorrow."""
    name = world.number("m")
    world.book(fen, on, match=name)
    world.open_matches.add(name)
    world.expect[Label.EARLY_CREDIT] += fen


def unexplained(world: World, contract: str, fen: int, on: date) -> None:
    unclear = world.random.random() < 0.5
    world.book(fen, on, unclear=unclear)
    world.expect[Label.UNCLEAR if unclear else Label.CREDIT_WITHOUT_CHARGE] += fen


def unclear_charge(world: World, contract: str, fen: int, on: date) -> None:
    world.charge(contract, fen, on, unclear=True)
    world.expect[Label.UNCLEAR] -= fen


def out(world: World, contract: str, fen: int, on: date) -> None:
    """A release, or what the words call a refund."""
    words = world.random.choice([Nature.OTHER, Nature.RELEASE, Nature.REFUND])
    world.book(-fen, on, words)
    world.expect[Label.REFUND_NOT_RECORDED if words is Nature.REFUND else Label.EARNED_NOT_DRAWN] -= fen


def refund(world: World, contract: str, fen: int, on: date) -> None:
    """Seen and recorded, or only one of the two, or of another amount."""
    name, seen, recorded = world.number("m"), world.random.random() < 0.8, world.random.random() < 0.8
    more = world.random.choice([0, 0, 7])
    if seen:
        world.refund_matches.add(name)
        world.book(-fen, on, match=name)
    if recorded:
        world.refunds.append(RefundedItem(world.number("r"), on, fen + more, name if seen else None))
        world.gone[contract, False] += fen + more
    if seen and recorded:
        world.expect[Label.MATCH_DIFFERENCE] += more
    elif seen:
        world.expect[Label.REFUND_NOT_RECORDED] -= fen
    elif recorded:
        world.expect[Label.REFUND_NOT_SEEN] += fen + more


def there_and_back(world: World, contract: str, fen: int, on: date) -> None:
    later = on + world.random.randrange(3) * DAY
    world.book(fen, on, Nature.REVERSAL)
    world.book(-fen, later, Nature.REVERSAL)
    if later > ON:
        world.expect[Label.REVERSALS] += fen


def by_nature(world: World, contract: str, fen: int, on: date) -> None:
    nature, label, sign = world.random.choice([
        (Nature.INTEREST, Label.INTEREST, 1), (Nature.PAID_IN, Label.PAID_IN, 1), (Nature.FEE, Label.FEES, -1),
        (Nature.OWN_TRANSFER, Label.OWN_TRANSFERS, 1),
    ])
    world.book(sign * fen, on, nature)
    world.expect[label] += sign * fen


HAPPENINGS = (
    paid, never_seen, differing, on_its_way, in_two_parts, early, unexplained, unclear_charge, out, refund,
    there_and_back, by_nature,
)


def happen(world: World, contract: str) -> None:
    """One thing, at random."""
    chance = world.random
    chance.choice(HAPPENINGS)(world, contract, chance.randrange(1, 5000), world.day())


def played(seed: int) -> tuple[Books, Counter[Label], int, int]:
    """A world, what each line should be, what is required and what is in the bank."""
    chance = random.Random(seed)
    world = World(random=chance)
    names = [f"k{n}" for n in range(chance.randrange(1, 5))]
    opening = chance.randrange(0, 9000)
    for name in names:
        world.paid[name, True] += chance.randrange(0, 4000)
    for _ in range(chance.randrange(0, 14)):
        happen(world, chance.choice(names))
    spans, required, before = [], 0, 0
    for name in names:
        old, new = world.paid[name, True], world.paid[name, True] + world.paid[name, False]
        back = world.gone[name, False]
        earned_before, earned = sorted((chance.randrange(0, 3000), chance.randrange(0, 3000)))
        impossible = chance.random() < 0.1
        spans.append(ContractSpan(name, Earned(old, earned_before, 0), Earned(new, earned, back), impossible))
        world.expect[Label.EARNED_NOT_DRAWN] += earned - earned_before
        owes, owed = new - earned - back, old - earned_before
        if impossible:
            world.expect[Label.IMPOSSIBLE] += owes - owed
            continue
        required += max(0, owes)
        before += max(0, owed)
        world.expect[Label.TAUGHT_UNPAID] -= max(0, -owes) - max(0, -owed)
    world.expect[Label.OPENING] += opening - before
    bank = opening + sum(entry.amount_fen for entry in world.entries)
    stated = bank + chance.choice([0, 0, 0, 5])
    world.expect[Label.BANK_DIFFERS] += stated - bank
    if world.expect[Label.EARNED_NOT_DRAWN] < 0:
        world.expect[Label.DRAWN_AHEAD] = world.expect.pop(Label.EARNED_NOT_DRAWN)
    for rows in (world.entries, world.charges, world.refunds):
        chance.shuffle(rows)  # type: ignore[arg-type]  # whichever
    # Charges of before that no line of the bank explains are in the opening, as owed.
    return books(
        accounts=(account(opening, bank, stated_fen=None if stated == bank else stated),), entries=world.entries,
        charges=world.charges, refunds=world.refunds, contracts=spans, refund_matches=world.refund_matches,
        open_matches=world.open_matches,
    ), world.expect, required, stated


def check_replay(seed: int) -> None:
    of, expect, required, bank = played(seed)
    found = reconcile(of, calendar=CALENDAR)
    assert (found.required.minor_units, found.bank.minor_units) == (required, bank), seed
    assert {line.label: line.impact.minor_units for line in found.lines if line.impact.minor_units} == {
        label: fen for label, fen in expect.items() if fen
    }, seed
    assert found.residual.minor_units == 0, seed
    impossible = any(one.impossible for one in of.contracts)
    assert [one.why for one in found.missing] == ([Why.IMPOSSIBLE_CONTRACT] if impossible else []), seed


def test_the_bridge_of_every_little_world_is_what_its_replay_says() -> None:
    for seed in range(3_000):
        check_replay(seed)


def test_the_order_of_what_is_known_makes_no_difference() -> None:
    for seed in range(200):
        of, *_ = played(seed)
        chance = random.Random(-seed)
        other = replace(
            of, entries=chance.sample(list(of.entries), len(of.entries)),
            charges=chance.sample(list(of.charges), len(of.charges)),
            refunds=chance.sample(list(of.refunds), len(of.refunds)),
            contracts=chance.sample(list(of.contracts), len(of.contracts)),
        )
        assert reconcile(of, calendar=CALENDAR).as_json() == reconcile(other, calendar=CALENDAR).as_json()
