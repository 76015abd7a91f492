"""R01: the floor, what is sure about it, and what is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_monitor.domain.accounts import Account, BalanceKind, Known, Missing, Purpose, Unknown
from escrow_monitor.domain.findings import Finding, Level, Standing
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.policy import EffectivePolicy, PolicyBook, parse_pack
from escrow_monitor.domain.positions import MonthFlow, Position
from escrow_monitor.domain.rules import floor

Make = Callable[..., dict[str, object]]
Law = Callable[..., EffectivePolicy]
Positions = Callable[..., Position]
Balance = Callable[..., Known]
At = Callable[[str], datetime]


@pytest.fixture
def hundred(law: Law, clause: Make) -> EffectivePolicy:
    """A floor of 100.00, two working days to top up."""
    return law(clause("fixed", amount="100.00"), clause("top_up", working_days=2))


@pytest.fixture
def now(at: At) -> datetime:
    return at("2026-11-20 10:00")


def one(position: Position, policy: EffectivePolicy, now: datetime) -> Finding:
    (finding,) = floor.examine(position, policy, now)
    return finding


@pytest.mark.parametrize(
    ("balance", "standing", "level", "holds"),
    [
        ("200.00", Standing.MET, None, None),
        ("112.00", Standing.MET, None, None),
        ("111.99", Standing.MET, None, Level.YELLOW),
        ("110.00", Standing.MET, None, Level.YELLOW),
        ("109.99", Standing.MET, Level.YELLOW, Level.YELLOW),
        ("102.00", Standing.MET, Level.YELLOW, Level.YELLOW),
        ("101.99", Standing.MET, Level.YELLOW, Level.ORANGE),
        ("100.00", Standing.MET, Level.YELLOW, Level.ORANGE),
        ("99.99", Standing.BREACHED, Level.ORANGE, Level.ORANGE),
        ("82.00", Standing.BREACHED, Level.ORANGE, Level.ORANGE),
        ("81.99", Standing.BREACHED, Level.ORANGE, Level.RED),
        ("80.00", Standing.BREACHED, Level.ORANGE, Level.RED),
        ("79.99", Standing.BREACHED, Level.RED, Level.RED),
        ("0.00", Standing.BREACHED, Level.RED, Level.RED),
        ("-5.00", Standing.BREACHED, Level.RED, Level.RED),
    ],
)
def test_the_ladder_with_its_margin(
    hundred: EffectivePolicy, position: Positions, closing: Balance, now: datetime,
    balance: str, standing: Standing, level: Level | None, holds: Level | None,
) -> None:
    finding = one(position(booked=closing(balance)), hundred, now)
    assert (finding.standing, finding.level, finding.holds) == (standing, level, holds)
    assert finding.as_of == closing(balance).as_of


def test_a_breach_says_what_since_when_how_sure_and_what_to_do(
    hundred: EffectivePolicy, position: Positions, closing: Balance, now: datetime
) -> None:
    finding = one(position(booked=closing("83.12")), hundred, now)
    assert finding.why_en == (
        "holds 83.12 CNY (final closing booked balance of 2026-11-19), the floor is 100.00 CNY: 0.8312 of it, below "
        "since 2026-11-19T23:59:00+08:00; by clause fixed (某办法 某教〔2020〕1号, source found); pay in 16.88 CNY "
        "by the end of 2026-11-23 (某办法 某教〔2020〕1号, source found), or have the bank or the institution "
        "correct the figures"
    )
    assert finding.why_zh == (
        "余额 83.12 CNY（日终记账余额，已最终确认，2026-11-19），低于最低余额 100.00 CNY，为其 0.8312，"
        "自 2026-11-19T23:59:00+08:00 起不足；依据：条款 fixed（某办法 某教〔2020〕1号，来源已查到）；"
        "请于 2026-11-23 日终前（某办法 某教〔2020〕1号，来源已查到）补足 16.88 CNY，或由银行、机构更正数据"
    )
    assert finding.figures["balance_fen"] == 8312
    assert finding.figures["required"] == "100.00"
    assert finding.figures["shortfall_fen"] == 1688
    assert finding.figures["held"] == "not stated"
    assert finding.figures["verified"] is True


def test_a_local_setting_that_nobody_verified_says_so(
    law: Law, clause: Make, position: Positions, closing: Balance, now: datetime
) -> None:
    source = {"title": "{x}", "found": "NF"}
    unsure = law(clause("fixed", amount="100.00", verified=False, source=source, title="{条款}"))
    for balance in ("99.00", "105.00"):
        finding = one(position(booked=closing(balance)), unsure, now)
        assert "local setting, source not verified" in finding.why_en
        assert "本地设置，来源未核实" in finding.why_zh
        assert "{条款}" in finding.why_zh
    assert "pay in 5.00 CNY, or have" in one(position(booked=closing("95.00")), unsure, now).why_en


def test_the_floor_follows_the_law_of_the_day(
    clause: Make, pack: Make, position: Positions, closing: Balance, at: At, account: Account
) -> None:
    local = pack(
        clause("fixed", clause_id="l/old", amount="100.00", effective_to=date(2026, 11, 30)),
        clause("fixed", clause_id="l/new", amount="150.00", effective_from=date(2026, 12, 1)),
        jurisdiction="330106",
    )
    book = PolicyBook([parse_pack(local, where="l.toml")])
    holder = Institution(uscc="91110000600037341L", name="启航", district="330106")

    def examined(on: str, balance_on: str) -> Finding:
        law = book.effective(institution=holder, account=account, on=date.fromisoformat(on))
        return one(position(booked=closing("120.00", balance_on)), law, at(f"{on} 10:00"))

    before = examined("2026-11-30", "2026-11-27")
    assert (before.standing, before.level, before.figures["required"]) == (Standing.MET, None, "100.00")
    assert before.recheck_at == at("2026-12-01 00:00"), "the new law is looked at on its first instant"
    after = examined("2026-12-01", "2026-11-30")
    assert (after.standing, after.level, after.figures["required"]) == (Standing.BREACHED, Level.ORANGE, "150.00")
    assert after.values["since"] == at("2026-12-01 00:00"), "below since the law began, not since the balance"
    later = examined("2026-12-03", "2026-12-02")
    assert later.values["since"] == at("2026-12-02 23:59")


def test_money_that_is_held_does_not_count(
    hundred: EffectivePolicy, position: Positions, closing: Balance, held: Balance, now: datetime
) -> None:
    finding = one(position(booked=closing("120.00"), held=held("25.00", "2026-11-19")), hundred, now)
    assert finding.standing is Standing.BREACHED
    assert (finding.figures["balance"], finding.figures["held"]) == ("95.00", "25.00")
    nothing = one(position(booked=closing("120.00"), held=held("0.00", "2026-11-19")), hundred, now)
    assert nothing.standing is Standing.MET


@pytest.mark.parametrize("old", [True, False])
def test_where_the_bank_states_holds_but_not_yet_for_that_day_only_a_breach_is_sure(
    hundred: EffectivePolicy, position: Positions, closing: Balance, held: Balance, now: datetime, old: bool
) -> None:
    known = held("1.00", "2026-11-18") if old else Unknown(reason=Missing.HELD_UNKNOWN)
    unsure = one(position(booked=closing("120.00"), held=known), hundred, now)
    assert (unsure.standing, unsure.level) == (Standing.UNKNOWN, None)
    assert "holds at most 120.00 CNY" in unsure.why_en
    sure = one(position(booked=closing("90.00"), held=known), hundred, now)
    assert sure.standing is Standing.BREACHED
    assert "holds at most 90.00 CNY" in sure.why_en
    assert "余额至多 90.00 CNY" in sure.why_zh


def test_a_balance_that_was_never_stated_or_is_too_old_is_not_known_and_never_met(
    hundred: EffectivePolicy, position: Positions, closing: Balance, now: datetime, at: At
) -> None:
    never = one(position(), hundred, now)
    assert (never.standing, never.level, never.holds) == (Standing.UNKNOWN, None, None)
    assert never.why_en.startswith("bank-a has never stated a booked balance")
    assert never.figures["balance"] is None
    assert never.figures["required"] == "100.00"
    since = at("2026-11-10 23:59")
    old = one(position(booked=closing("500.00", "2026-11-17"), below_since=since), hundred, now)
    assert (old.standing, old.level, old.figures["balance"]) == (Standing.UNKNOWN, None, None)
    assert "is of 2026-11-17, too old to count" in old.why_en
    assert old.values["since"] == since, "silence does not end a shortfall"


@pytest.mark.parametrize(
    ("when", "standing"),
    [
        ("2026-11-20 11:59", Standing.MET),
        ("2026-11-20 12:00", Standing.UNKNOWN),
    ],
)
def test_a_closing_counts_until_the_next_days_is_due(
    hundred: EffectivePolicy, position: Positions, closing: Balance, at: At, when: str, standing: Standing
) -> None:
    finding = one(position(booked=closing("500.00", "2026-11-18")), hundred, at(when))
    assert finding.standing is standing
    assert finding.recheck_at == (at("2026-11-20 12:00") if standing is Standing.MET else None)


@pytest.mark.parametrize(
    ("when", "balance"),
    [
        ("2026-11-23 09:00", "90.00"),
        ("2026-11-24 11:59", "90.00"),
        ("2026-11-24 12:00", None),
    ],
)
def test_an_intraday_balance_counts_until_its_own_days_closing_is_due(
    hundred: EffectivePolicy, position: Positions, closing: Balance, intraday: Balance, at: At, when: str,
    balance: str | None,
) -> None:
    known = position(booked=intraday("90.00", "2026-11-23 08:30"), closing=closing("500.00", "2026-11-20"))
    finding = one(known, hundred, at(when))
    assert finding.figures["balance"] == balance
    if balance:
        assert "intraday booked balance, not yet final of 2026-11-23" in finding.why_en
        assert finding.recheck_at == at("2026-11-24 12:00")


def test_an_intraday_balance_may_be_given_hours_after_which_the_closing_before_counts(
    law: Law, clause: Make, position: Positions, closing: Balance, intraday: Balance, at: At
) -> None:
    strict = law(clause("fixed", amount="100.00"), clause("freshness", final_by="12:00", intraday_hours_max=4))
    known = position(booked=intraday("90.00", "2026-11-20 09:00"), closing=closing("500.00", "2026-11-19"))
    fresh = one(known, strict, at("2026-11-20 13:00"))
    assert (fresh.figures["balance"], fresh.recheck_at) == ("90.00", at("2026-11-20 13:00").replace(second=1))
    assert one(known, strict, at("2026-11-20 13:01")).figures["balance"] == "500.00"
    alone = one(replace(known, closing=Unknown(reason=Missing.NEVER_STATED)), strict, at("2026-11-20 13:01"))
    assert alone.standing is Standing.UNKNOWN


WINDOW = {"months": {"2026-11": MonthFlow(credits_fen=500_00, debits_fen=0)}, "entries_to": date(2026, 11, 19)}


def test_a_floor_that_is_only_a_lower_bound_can_be_breached_but_not_met(
    law: Law, clause: Make, position: Positions, closing: Balance, now: datetime, at: At
) -> None:
    fifth = law(clause("ratio_window", ratio="0.20", months=3))
    partly = {**WINDOW, "entries_from": date(2026, 11, 2)}
    unsure = one(position(booked=closing("120.00"), **partly), fifth, now)
    assert (unsure.standing, unsure.level) == (Standing.UNKNOWN, None)
    assert unsure.why_en == (
        "holds 120.00 CNY, the floor is at least 100.00 CNY, so whether it is held is not known: at least 100.00 CNY: "
        "0.2000 x the known credits of 500.00 CNY from 2026-09-01; not every day is covered"
    )
    sure = one(position(booked=closing("99.00"), **partly), fifth, now)
    assert sure.standing is Standing.BREACHED
    assert "the floor is at least 100.00 CNY (statements are missing, it may be more)" in sure.why_en
    assert "最低余额至少 100.00 CNY（期间流水不全，实际要求可能更高）" in sure.why_zh
    assert sure.figures["complete"] is False
    nothing = one(position(booked=closing("120.00")), fifth, now)
    assert (nothing.standing, nothing.figures["required"]) == (Standing.UNKNOWN, None)
    assert nothing.why_en.startswith("holds 120.00 CNY, the floor is not known: no entry was ever received")


def test_an_account_is_looked_at_again_when_its_entries_grow_too_old(
    law: Law, clause: Make, position: Positions, intraday: Balance, closing: Balance, at: At
) -> None:
    fifth = law(clause("ratio_window", ratio="0.20", months=3))
    known = position(booked=intraday("500.00", "2026-11-20 09:00"), entries_from=date(2026, 9, 1), **WINDOW)
    assert one(known, fifth, at("2026-11-20 10:00")).recheck_at == at("2026-11-23 12:00")
    behind = replace(known, entries_to=date(2026, 11, 18))
    morning = one(behind, fifth, at("2026-11-20 10:00"))
    assert (morning.standing, morning.recheck_at) == (Standing.MET, at("2026-11-20 12:00"))
    noon = one(behind, fifth, at("2026-11-20 12:00"))
    assert (noon.standing, noon.recheck_at) == (Standing.UNKNOWN, at("2026-11-23 12:00"))
    ahead = replace(known, booked=closing("500.00"), entries_to=date(2026, 11, 19))
    assert one(ahead, fifth, at("2026-11-20 10:00")).recheck_at == at("2026-11-23 12:00")


def test_where_no_floor_is_set_or_its_pack_is_missing_nothing_is_called_met(
    law: Law, clause: Make, position: Positions, closing: Balance, now: datetime, account: Account,
    hundred: EffectivePolicy,
) -> None:
    none = one(position(booked=closing("1.00")), law(), now)
    assert (none.standing, none.level) == (Standing.UNKNOWN, None)
    assert "no floor clause is in force in 000000 on 2026-11-20" in none.why_en
    settlement = position(account=replace(account, purpose=Purpose.SETTLEMENT), booked=closing("1.00"))
    assert floor.examine(settlement, law(), now) == ()
    missing = one(position(booked=closing("500.00")), replace(hundred, missing_pack="cn-999999"), now)
    assert missing.standing is Standing.UNKNOWN
    assert "the policy pack cn-999999 that the institution is registered under is not loaded" in missing.why_en


@pytest.mark.parametrize(
    ("balance_on", "kind", "level"),
    [
        ("2026-11-20", "closing", Level.ORANGE),
        ("2026-11-23", "intraday", Level.ORANGE),
        ("2026-11-23", "closing", Level.RED),
        ("2026-11-24", "intraday", Level.RED),
    ],
)
def test_a_shortfall_past_its_grace_is_red_once_a_balance_shows_it(
    hundred: EffectivePolicy, position: Positions, closing: Balance, intraday: Balance, at: At,
    balance_on: str, kind: str, level: Level,
) -> None:
    booked = closing("95.00", balance_on) if kind == "closing" else intraday("95.00", f"{balance_on} 09:00")
    known = position(booked=booked, below_since=at("2026-11-19 23:59"))
    finding = one(known, hundred, at("2026-11-24 10:00"))
    assert (finding.standing, finding.level, finding.holds) == (Standing.BREACHED, level, level)
    assert finding.values["since"] == at("2026-11-19 23:59")
    assert finding.values["top_up_by"] == date(2026, 11, 23)


def test_the_ladder_may_have_its_own_days(
    law: Law, clause: Make, position: Positions, closing: Balance, now: datetime, at: At
) -> None:
    patient = law(clause("fixed", amount="100.00"), ladder={"red_after_working_days": 9})
    known = position(booked=closing("95.00"), below_since=at("2026-11-16 23:59"))
    assert one(known, patient, now).level is Level.ORANGE
    strict = law(clause("fixed", amount="100.00"), ladder={"red_after_working_days": 1})
    assert one(known, strict, now).level is Level.RED


def test_a_ladder_that_starts_below_the_floor_still_hears_of_a_breach(
    law: Law, clause: Make, position: Positions, closing: Balance, now: datetime
) -> None:
    late = law(
        clause("fixed", amount="100.00"),
        ladder={"yellow_below": "0.90", "orange_below": "0.70", "red_below": "0.50", "margin": "0"},
    )
    assert one(position(booked=closing("95.00")), late, now).level is Level.YELLOW


def test_a_floor_of_nothing_is_held_by_nothing_and_broken_by_an_overdraft(
    law: Law, clause: Make, position: Positions, closing: Balance, now: datetime
) -> None:
    nothing = law(clause("fixed", amount="0.00"))
    assert one(position(booked=closing("0.00")), nothing, now).level is None
    overdrawn = one(position(booked=closing("-1.00")), nothing, now)
    assert (overdrawn.level, overdrawn.figures["coverage"]) == (Level.RED, None)


def test_a_year_that_the_calendar_does_not_know_leaves_the_floor_unknown(
    law: Law, clause: Make, position: Positions, closing: Balance, at: At
) -> None:
    beyond = law(clause("fixed", amount="100.00"), on=date(2099, 3, 2))
    finding = one(position(booked=closing("1.00", "2099-03-01")), beyond, at("2099-03-02 10:00"))
    assert (finding.standing, finding.level) == (Standing.UNKNOWN, None)
    assert finding.why_en.startswith("the working days of 2099 are not known to the calendar CN")


def test_a_shortfall_on_the_eve_of_an_unknown_year_is_still_a_shortfall(
    position: Positions, closing: Balance, at: At, clause: Make, law: Law
) -> None:
    england = law(
        clause("fixed", amount="100.00"), clause("top_up", working_days=3), calendar="GB", zone="Asia/Shanghai",
        on=date(2100, 12, 31),
    )
    finding = one(position(booked=closing("95.00", "2100-12-30")), england, at("2100-12-31 10:00"))
    assert (finding.standing, finding.level, finding.values["top_up_by"]) == (Standing.BREACHED, Level.ORANGE, None)
    assert finding.recheck_at == at("2101-01-01 00:00"), "from then on nobody knows which days are worked"


@given(st.integers(-10**6, 10**6), st.integers(0, 10**6))
def test_holds_is_never_below_the_level_and_a_breach_always_has_one(balance: int, required: int) -> None:
    text = f"{required // 100}.{required % 100:02d}"
    made = parse_pack(
        {
            "id": "t", "title": "t", "title_en": "t", "jurisdiction": "000000",
            "clause": [{
                "id": "t/f", "kind": "fixed", "title": "t", "title_en": "t", "amount": text, "verified": False,
                "effective_from": date(2020, 1, 1), "source": {"title": "t", "found": "D"},
            }],
        },
        where="t",
    )
    account = Account(account_no="1", bank="b", connector="c", currency="CNY")
    law = PolicyBook([made]).effective(institution=None, account=account, on=date(2026, 11, 20))
    as_of = datetime(2026, 11, 19, 15, 59, tzinfo=UTC)
    booked = Known(
        amount=Money(balance, "CNY"), kind=BalanceKind.BOOKED_CLOSING, on=date(2026, 11, 19), as_of=as_of,
        fetched_at=as_of, final=True,
    )
    finding = one(Position(account=account, booked=booked), law, datetime(2026, 11, 20, 2, tzinfo=UTC))
    assert (finding.standing is Standing.BREACHED) == (balance < required)
    assert finding.standing is not Standing.BREACHED or finding.level is not None
    assert finding.level is None or (finding.holds is not None and finding.holds.rank >= finding.level.rank)
    assert finding.why_zh
    assert finding.why_en
