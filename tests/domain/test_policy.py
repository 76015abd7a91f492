"""Policies: which clauses hold for whom on which day, and packs that are refused with what to write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time
from fractions import Fraction

import pytest

from escrow_monitor.domain import policy as policy_module
from escrow_monitor.domain.accounts import Account, Mode, Purpose
from escrow_monitor.domain.institutions import Institution, InstitutionKind
from escrow_monitor.domain.policy import EffectivePolicy, PolicyBook, ancestry, parse_pack
from escrow_monitor.errors import PolicyError

Make = Callable[..., dict[str, object]]
DAY = date(2026, 11, 20)


def book_of(*packs: dict[str, object]) -> PolicyBook:
    return PolicyBook([parse_pack(pack, where=f"{pack['id']}.toml") for pack in packs])


def holder(district: str | None, policy: str | None = None, kind: InstitutionKind | None = None) -> Institution:
    return Institution(uscc="91110000600037341L", name="启航", district=district, policy=policy, kind=kind)


def ids(law: EffectivePolicy) -> list[str]:
    return [clause.id for clause in law.clauses]


def test_the_chain_runs_from_the_nation_to_the_place() -> None:
    assert ancestry("510302") == ("000000", "510000", "510300", "510302")
    assert ancestry("510300") == ("000000", "510000", "510300")
    assert ancestry("000000") == ("000000",)
    assert ancestry(None) == ("000000",)
    assert ancestry("GB-ENG") == ("GB", "GB-ENG")
    assert ancestry("GB") == ("GB",)


@pytest.mark.parametrize(
    ("on", "amount"),
    [
        ("2025-12-31", None),
        ("2026-01-01", "100.00 CNY"),
        ("2026-06-30", "100.00 CNY"),
        ("2026-07-01", "250.00 CNY"),
        ("2026-12-31", "250.00 CNY"),
        ("2027-01-01", None),
    ],
)
def test_a_change_of_law_gives_the_right_clause_on_each_side_of_its_date(
    clause: Make, pack: Make, account: Account, on: str, amount: str | None
) -> None:
    book = book_of(
        pack(
            clause("fixed", clause_id="t/old", amount="100.00", effective_from=date(2026, 1, 1),
                   effective_to=date(2026, 6, 30)),
            clause("fixed", clause_id="t/new", amount="250.00", effective_from=date(2026, 7, 1),
                   effective_to=date(2026, 12, 31)),
        )
    )
    law = book.effective(institution=None, account=account, on=date.fromisoformat(on))
    assert [str(each.terms.tiers[0].amount) for each in law.floor_clauses] == ([amount] if amount else [])


def test_the_days_on_which_the_law_changes_are_known(clause: Make, pack: Make, account: Account) -> None:
    book = book_of(
        pack(clause("fixed", amount="1.00", effective_from=date(2026, 7, 1), effective_to=date(2026, 12, 31)))
    )

    def changes(on: date) -> tuple[date | None, date | None]:
        law = book.effective(institution=None, account=account, on=on)
        return law.last_change_on, law.next_change_on

    assert changes(date(2026, 6, 30)) == (None, date(2026, 7, 1))
    assert changes(date(2026, 7, 1)) == (date(2026, 7, 1), date(2027, 1, 1))
    assert changes(date(2027, 1, 1)) == (date(2027, 1, 1), None)


def test_floors_add_up_along_the_chain_and_a_local_clause_may_replace_a_wider_one(
    clause: Make, pack: Make, account: Account
) -> None:
    national = pack(clause("fixed", clause_id="n/floor", amount="1.00"), clause("top_up", working_days=5))
    local = pack(
        clause("fixed", clause_id="l/floor", amount="2.00"),
        clause("top_up", clause_id="l/top-up", working_days=2),
        clause("fixed", clause_id="l/later", amount="3.00", replaces=["n/floor"], effective_from=date(2026, 12, 1)),
        jurisdiction="510300", currency="CNY",
    )
    book = book_of(national, local)
    now = book.effective(institution=holder("510302"), account=account, on=DAY)
    assert ids(now) == ["n/floor", "t/top_up", "l/floor", "l/top-up"]
    assert now.top_up is not None
    assert now.top_up.terms.working_days == 2, "of the clock clauses the most local holds"
    later = book.effective(institution=holder("510302"), account=account, on=date(2026, 12, 1))
    assert ids(later) == ["t/top_up", "l/floor", "l/top-up", "l/later"]
    elsewhere = book.effective(institution=holder("330106"), account=account, on=DAY)
    assert ids(elsewhere) == ["n/floor", "t/top_up"]
    assert elsewhere.jurisdiction == "000000"


def test_of_two_clock_clauses_of_one_place_the_newer_holds(clause: Make, pack: Make, account: Account) -> None:
    law = book_of(
        pack(
            clause("top_up", clause_id="t/new", working_days=2, effective_from=date(2026, 1, 1)),
            clause("top_up", clause_id="t/old", working_days=9),
        )
    ).effective(institution=None, account=account, on=DAY)
    assert law.top_up is not None
    assert law.top_up.id == "t/new"


def test_a_pack_named_by_the_institution_takes_the_place_of_the_local_end(
    clause: Make, pack: Make, account: Account
) -> None:
    book = book_of(
        pack(clause("fixed", clause_id="n/1", amount="1.00")),
        pack(clause("fixed", clause_id="p/1", amount="1.00"), jurisdiction="510000"),
        pack(clause("fixed", clause_id="c/1", amount="1.00"), jurisdiction="510300"),
        {**pack(clause("fixed", clause_id="s/1", amount="1.00"), jurisdiction="510300"), "id": "special"},
        pack(clause("fixed", clause_id="d/1", amount="1.00"), jurisdiction="510302"),
    )
    law = book.effective(institution=holder("510302", policy="special"), account=account, on=DAY)
    assert ids(law) == ["n/1", "p/1", "s/1"]
    assert law.missing_pack is None


def test_a_named_pack_that_is_not_loaded_is_said_and_the_district_still_holds(
    clause: Make, pack: Make, account: Account
) -> None:
    book = book_of(pack(clause("fixed", amount="1.00")))
    law = book.effective(institution=holder("510302", policy="gone"), account=account, on=DAY)
    assert law.missing_pack == "gone"
    assert ids(law) == ["t/fixed"]
    with pytest.raises(PolicyError, match="did you mean 't-000000'"):
        book.pack("t-00000")
    with pytest.raises(PolicyError, match="known: t-000000"):
        book.pack("completely different")


def test_without_any_pack_the_defaults_hold(account: Account) -> None:
    law = PolicyBook([]).effective(institution=None, account=account, on=DAY)
    assert (law.calendar.name, law.zone.key, law.jurisdiction) == ("CN", "Asia/Shanghai", "000000")
    assert law.freshness.terms.final_by == time(12, 0)
    assert not law.freshness.verified
    assert law.red_after_working_days is None


def test_clauses_apply_by_kind_purpose_and_mode(clause: Make, pack: Make, account: Account) -> None:
    book = book_of(
        pack(
            clause("fixed", clause_id="t/subject", amount="1.00", applies={"kinds": ["subject"]}),
            clause("fixed", clause_id="t/custody", amount="1.00", applies={"modes": ["custody"]}),
            clause("fixed", clause_id="t/deposit", amount="1.00", applies={"purposes": ["deposit"]}),
        )
    )

    def holds(institution: Institution | None, **changed: object) -> list[str]:
        return ids(book.effective(institution=institution, account=replace(account, **changed), on=DAY))

    assert holds(holder(None, kind=InstitutionKind.SUBJECT)) == ["t/subject"]
    assert holds(holder(None, kind=InstitutionKind.NON_SUBJECT)) == []
    assert holds(None) == ["t/subject"], "while nobody says what kind it is, the stricter reading holds"
    assert holds(holder(None, kind=InstitutionKind.NON_SUBJECT), mode=Mode.CUSTODY) == ["t/custody"]
    assert holds(None, purpose=Purpose.DEPOSIT) == ["t/subject", "t/deposit"]
    assert holds(None, purpose=Purpose.SETTLEMENT) == []


def test_accounts_alike_share_one_policy_and_the_memory_is_bounded(
    clause: Make, pack: Make, account: Account
) -> None:
    book = book_of(pack(clause("fixed", amount="1.00")))
    one = book.effective(institution=holder("510302"), account=account, on=DAY)
    assert book.effective(institution=holder("510302"), account=replace(account, account_no="9"), on=DAY) is one
    for number in range(policy_module.EFFECTIVE_POLICIES_MAX):
        book.effective(institution=holder(f"{number:06d}"), account=account, on=DAY)
    assert book.effective(institution=holder("510302"), account=account, on=DAY) is not one


def test_the_least_debit_worth_a_look_is_known_unless_a_share_decides(clause: Make, pack: Make) -> None:
    assert book_of(pack(clause("fixed", amount="1.00"))).large_debit_minor_units_min() is None
    by_amount = [
        clause("large_debit", clause_id=f"t/{amount}", amount=amount, per="entry") for amount in ("500.00", "200.00")
    ]
    assert book_of(pack(*by_amount)).large_debit_minor_units_min() == 200_00
    share = clause("large_debit", clause_id="t/share", share_of_previous_closing="0.5", per="day")
    assert book_of(pack(*by_amount, share)).large_debit_minor_units_min() is None


def test_the_ladder_and_the_place_of_a_pack_come_from_the_most_local_that_says(
    clause: Make, pack: Make, account: Account
) -> None:
    book = book_of(
        pack(calendar="CN", zone="Asia/Shanghai", ladder={"yellow_below": "1.20", "red_after_working_days": 4}),
        pack(jurisdiction="510300", ladder={"red_below": "0.5"}),
        {**pack(jurisdiction="GB-ENG", calendar="GB-ENG", zone="Europe/London", currency="GBP"), "id": "gb-eng"},
    )
    nation = book.effective(institution=None, account=account, on=DAY)
    assert (nation.ladder.yellow_below, nation.red_after_working_days) == (Fraction(6, 5), 4)
    local = book.effective(institution=holder("510300"), account=account, on=DAY)
    assert (local.ladder.yellow_below, local.ladder.red_below) == (Fraction(11, 10), Fraction(1, 2))
    england = book.effective(institution=holder(None, policy="gb-eng"), account=account, on=DAY)
    assert (england.calendar.name, england.zone.key, england.pack_ids) == ("GB-ENG", "Europe/London", ("gb-eng",))


def test_a_clause_that_replaces_nothing_that_is_there_is_refused(clause: Make, pack: Make) -> None:
    with pytest.raises(PolicyError, match=r"replaces 't/fixd': not there; did you mean 't/fixed'"):
        book_of(pack(clause("fixed", amount="1.00"), clause("top_up", working_days=1, replaces=["t/fixd"])))
    with pytest.raises(PolicyError, match=r"replaces 'zzz': not there$"):
        book_of(pack(clause("top_up", working_days=1, replaces=["zzz"])))


def test_the_basis_names_the_document_or_says_that_nobody_verified_it(clause: Make, pack: Make) -> None:
    sure, unsure = parse_pack(
        pack(
            clause("fixed", amount="1.00"),
            clause("fixed", clause_id="t/2", amount="1.00", verified=False, source={"title": "传闻", "found": "K"}),
        ),
        where="t",
    ).clauses
    assert sure.basis.zh == "某办法 某教〔2020〕1号，来源已查到"
    assert unsure.basis.zh == "本地设置，来源未核实"
    assert unsure.basis.en == "local setting, source not verified"


LOW = {"amount": "1.00", "credits_below": "5.00"}
K_SOURCE = {"title": "x", "found": "K"}
FAULTS: list[tuple[str, dict[str, object], str]] = [
    ("fixed", {}, "'amount' is missing"),
    ("fixed", {"tiers": [], "months": 3}, "the last tier, and only the last"),
    ("fixed", {"amount": 100}, "amount must be an amount in quotes"),
    ("fixed", {"amount": "1e5"}, "'1e5' is not a plain decimal amount"),
    ("fixed", {"amount": "-1.00"}, "is below zero"),
    ("fixed", {"amuont": "1.00"}, "'amount' is missing; did you mean it by 'amuont'?"),
    ("fixed", {"amount": "1.00", "mnths": 3}, "unknown key 'mnths'"),
    ("fixed", {"amount": "1.00", "xyz": 3}, "unknown key 'xyz'; known here: "),
    ("fixed", {"tiers": [LOW], "months": 3}, "the last tier, and only the last"),
    ("fixed", {"tiers": [{"amount": "1.00"}, {"amount": "2.00"}], "months": 3}, "the last tier, and only the last"),
    ("fixed", {"tiers": [{**LOW, "amount": "3.00"}, {"amount": "2.00"}], "months": 3}, "tiers must rise"),
    ("fixed", {"tiers": [LOW, {**LOW, "amount": "2.00"}, {"amount": "3.00"}], "months": 3}, "tiers must rise"),
    ("fixed", {"tiers": [{"amount": "1.00"}]}, "'months' is missing"),
    ("fixed", {"tiers": [{"amount": "1.00", "oops": 1}], "months": 1}, "tiers 1: unknown key 'oops'"),
    ("fixed", {"tiers": "x"}, "tiers must be a list of tables"),
    ("ratio_window", {"ratio": 1, "months": 3}, 'ratio must be a decimal in quotes such as "0.20"'),
    ("ratio_window", {"ratio": "1/5", "months": 3}, 'ratio must be a decimal in quotes such as "0.20"'),
    ("ratio_window", {"ratio": "0.20", "months": 0}, "months must be a whole number from 1 to 24"),
    ("ratio_window", {"ratio": "0.20", "months": True}, "months must be a whole number"),
    ("ratio_window", {"ratio": "0.20", "months": 3, "of": "contracts"}, "'contracts' is not known; known: credits"),
    ("schedule", {"parts": []}, "parts must be a list of whole numbers from 1 to 1000 such as [30, 30, 40]"),
    ("schedule", {"parts": [30, 0]}, "parts must be a list of whole numbers"),
    ("schedule", {"parts": [True]}, "parts must be a list of whole numbers"),
    ("period_fees", {}, "'months' is missing"),
    ("lesson_confirmation", {"working_days": 0}, "working_days must be a whole number from 1"),
    ("refund_answer", {"working_days": 5, "deemed_from": "nextday"}, "did you mean 'next_day'?"),
    ("refund_payment", {"days_before_start": 5}, "'days_after_start' is missing"),
    ("refund_payment", {"days_before_start": 5, "days_after_start": 15, "unit": "days"}, "unit = 'days' is not known"),
    ("seven_day_right", {"days": "7"}, "days must be a whole number"),
    ("fee_cap", {}, "a fee cap needs lessons, months, amount, months_before_start or channels"),
    ("fee_cap", {"subject_kinds": ["subject"]}, "a fee cap needs lessons, months, amount"),
    ("fee_cap", {"lessons": 60, "lessons_left": 20}, "an exception from months_before_start, which is missing"),
    ("fee_cap", {"lessons": 0}, "lessons must be a whole number from 1 to 1000"),
    ("fee_cap", {"amount": 5000}, 'amount must be an amount in quotes such as "50000.00"'),
    ("fee_cap", {"channels": "loan"}, "channels must be a list of texts"),
    ("fee_cap", {"lessons": 60, "subject_kinds": ["sports"]}, "'sports' is not known; known: subject, non_subject"),
    ("ratio_window", {"ratio": "0.20", "moths": 3}, "'months' is missing; did you mean it by 'moths'?"),
    ("large_debit", {"per": "day"}, "needs amount or share_of_previous_closing"),
    ("large_debit", {"per": "dya", "amount": "1.00"}, "per = 'dya' is not known; did you mean 'day'?"),
    ("large_debit", {"per": "week", "amount": "1.00"}, "per = 'week' is not known; known: entry, day"),
    ("top_up", {"working_days": -1}, "working_days must be a whole number from 0"),
    ("freshness", {"final_by": "noon"}, "is not a time of day"),
    ("freshness", {"final_by": "12:00+08:00"}, "carries no zone"),
    ("freshness", {"final_by": 12}, "final_by must be text in quotes"),
    ("top_up", {"working_days": 1, "title": " "}, "title must be text in quotes"),
    ("top_up", {"working_days": 1, "verified": "yes"}, "verified must be true or false"),
    ("top_up", {"working_days": 1, "source": K_SOURCE}, "verified = true needs a source that was read"),
    ("top_up", {"working_days": 1, "source": {"title": "x", "found": "F", "page": "3"}}, "source: unknown key 'page'"),
    ("top_up", {"working_days": 1, "source": "x"}, "source must be a table"),
    ("top_up", {"working_days": 1, "applies": {"kind": ["subject"]}}, "unknown key 'kind'; did you mean 'kinds'?"),
    ("top_up", {"working_days": 1, "applies": {"kinds": "subject"}}, "kinds must be a list of texts"),
    ("top_up", {"working_days": 1, "replaces": [1]}, "replaces must be a list of texts"),
    ("top_up", {"working_days": 1, "effective_from": "2026-01-01"}, "must be a date without quotes"),
    ("top_up", {"working_days": 1, "effective_from": datetime(2026, 1, 1, tzinfo=UTC)}, "must be a date without"),
    ("top_up", {"working_days": 1, "effective_to": date(2019, 1, 1)}, "effective_to 2019-01-01 is before"),
    ("topup", {}, "kind = 'topup' is not known; did you mean 'top_up'?"),
]


@pytest.mark.parametrize(("kind", "terms", "said"), FAULTS)
def test_a_wrong_clause_is_refused_with_place_and_remedy(
    clause: Make, pack: Make, kind: str, terms: dict[str, object], said: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_pack(pack(clause(kind, clause_id="t/x", **terms)), where="t.toml")
    assert said in str(caught.value)
    assert str(caught.value).startswith("t.toml: clause t/x")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"id": "Ä"}, "t.toml: id = 'Ä' must be small letters"),
        ({"jurisdiction": "51"}, "must be a GB/T 2260 code of six digits"),
        ({"currency": "yuan"}, "three capitals such as CNY"),
        ({"calendar": "XX"}, "t.toml: calendar: 'XX' is not a calendar we have"),
        ({"zone": "Asia/Nowhere"}, "zone: 'Asia/Nowhere' is not a time zone"),
        ({"zone": "../etc"}, "is not a time zone"),
        ({"ladder": {"yellow": "1.1"}}, "ladder: unknown key 'yellow'"),
        ({"ladder": {"red_below": "1.5"}}, "must rise in this order"),
        ({"ladder": 3}, "ladder must be a table"),
        ({"clause": [3]}, "clause must be a list of tables"),
        ({"juristiction": "000000"}, "unknown key 'juristiction'; did you mean 'jurisdiction'?"),
    ],
)
def test_a_wrong_pack_is_refused_with_place_and_remedy(pack: Make, changed: dict[str, object], said: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_pack({**pack(), **changed}, where="t.toml")
    assert said in str(caught.value)


def test_two_clauses_or_packs_of_one_id_are_refused(clause: Make, pack: Make) -> None:
    with pytest.raises(PolicyError, match="two clauses have the id 't/top_up'"):
        parse_pack(pack(clause("top_up", working_days=1), clause("top_up", working_days=2)), where="t.toml")
    with pytest.raises(PolicyError, match=r"two policy packs have the id 't-000000': t-000000\.toml and t-0"):
        book_of(pack(), pack())
    with pytest.raises(PolicyError, match="the clause id 't/top_up' is taken by pack t-000000"):
        book_of(pack(clause("top_up", working_days=1)), pack(clause("top_up", working_days=1), jurisdiction="510000"))
