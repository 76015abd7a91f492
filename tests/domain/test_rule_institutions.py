"""The rules about families' money, as a table: what a reconciliation comes to, and what they say of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from escrow_monitor.domain.accounts import Mode
from escrow_monitor.domain.bridge import Reconciliation
from escrow_monitor.domain.calendar import calendar_for
from escrow_monitor.domain.findings import Finding, Level, Standing
from escrow_monitor.domain.institution_position import InstitutionPosition
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.reconciliation import (
    AccountSpan,
    BankEntry,
    Books,
    ChargedItem,
    ContractSpan,
    Earned,
    Nature,
    reconcile,
)
from escrow_monitor.domain.rules import receipt_outside_escrow, reconciliation_open, release_ahead
from escrow_monitor.policies import load_policies

NOW = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
BEGAN, ON = date(2026, 11, 2), date(2026, 11, 20)
SCHOOL = Institution(uscc="91110000600037341L", name="启明", district="110108")
POLICY = load_policies().effective(institution=SCHOOL, account=None, on=date(2026, 11, 21))


def run_of(
    *entries: BankEntry, charges: tuple[ChargedItem, ...] = (), earned: Earned | None = None,
    opening: int = 0, **said: Any,
) -> Reconciliation:
    closing = opening + sum(entry.amount_fen for entry in entries)
    given: dict[str, Any] = {
        "uscc": SCHOOL.uscc, "currency": "CNY", "on": ON, "modes": frozenset({Mode.CUSTODY}), "entries": entries,
        "accounts": (AccountSpan("A1", BEGAN, opening, ON, closing),), "charges": charges,
        "contracts": [ContractSpan("K1", Earned(), earned or Earned())],
    }
    return reconcile(Books(**{**given, **said}), calendar=calendar_for("CN"))


def say(rule: Any, *runs: Reconciliation) -> Finding:
    [finding] = rule.examine(InstitutionPosition(institution=SCHOOL, reconciliations=runs), POLICY, NOW)
    for sentence in (finding.why_zh, finding.why_en):
        assert "{" not in sentence
        assert "None" not in sentence
    assert finding.subject == f"institution:{SCHOOL.uscc}"
    assert isinstance(finding.figures, dict)
    return finding  # type: ignore[no-any-return]


WELL = run_of(BankEntry("e", ON, 48_00, match="1"), charges=(ChargedItem("charge:J1", ON, 48_00, "1"),),
              earned=Earned(48_00))
GAP = run_of(on=ON, accounts=(AccountSpan("A1", BEGAN, 0, date(2026, 11, 18), 0),))


@pytest.mark.parametrize("rule", [release_ahead, receipt_outside_escrow, reconciliation_open])
def test_where_all_is_well_nobody_hears_of_it(rule: Any) -> None:
    finding = say(rule, WELL)
    assert (finding.standing, finding.level, finding.period) == (Standing.MET, None, "continuous")


@pytest.mark.parametrize(("rule", "level"), [
    (release_ahead, None), (receipt_outside_escrow, None), (reconciliation_open, Level.YELLOW),
])
def test_what_is_not_known_is_not_well_and_is_said_once(rule: Any, level: Level | None) -> None:
    finding = say(rule, GAP)
    assert (finding.standing, finding.level) == (Standing.UNKNOWN, level)


def test_drawing_ahead_of_teaching_is_red() -> None:
    finding = say(release_ahead, run_of(BankEntry("e", ON, -5_00), opening=3_00))
    assert (finding.standing, finding.level) == (Standing.BREACHED, Level.RED)
    assert finding.values["ahead"] == Money(2_00, "CNY")
    assert "2.00 CNY" in finding.why_en
    assert "3.00 CNY" in finding.why_zh


@pytest.mark.parametrize("entries", [
    (BankEntry("e", ON, -3_00),),  # lay there before
    (BankEntry("f", ON, 2_00, Nature.PAID_IN), BankEntry("e", ON, -5_00)),  # its own money, in and out
])
def test_what_lay_there_before_and_what_it_paid_in_itself_may_be_drawn(entries: tuple[BankEntry, ...]) -> None:
    assert say(release_ahead, run_of(*entries, opening=3_00)).standing is Standing.MET


def test_a_floor_leaves_free_what_is_above_it() -> None:
    run = run_of(BankEntry("e", ON, -5_00), opening=3_00, modes=frozenset({Mode.FLOOR}))
    position = InstitutionPosition(institution=SCHOOL, reconciliations=(run,))
    assert release_ahead.examine(position, replace(POLICY, floor_clauses=()), NOW) == ()


def test_money_that_is_seen_leaving_ahead_is_red_even_where_a_day_is_missing() -> None:
    run = run_of(
        BankEntry("e", date(2026, 11, 10), -5_00), accounts=(AccountSpan("A1", BEGAN, 0, date(2026, 11, 18), -5_00),)
    )
    finding = say(release_ahead, run)
    assert (finding.standing, finding.level) == (Standing.BREACHED, Level.RED)
    assert "not complete" in finding.why_en


def test_a_receipt_that_no_account_shows_by_the_next_working_day_is_red() -> None:
    charges = (ChargedItem("charge:J1", date(2026, 11, 18), 48_00), ChargedItem("charge:J2", ON, 1_00))
    finding = say(receipt_outside_escrow, run_of(charges=charges, earned=Earned(49_00)))
    assert (finding.standing, finding.level) == (Standing.BREACHED, Level.RED)
    assert finding.values["amount"] == Money(48_00, "CNY")
    assert (finding.values["example"], finding.values["since"]) == ("J1", date(2026, 11, 18))


@pytest.mark.parametrize(("on", "standing"), [
    (date(2026, 11, 12), Standing.BREACHED), (date(2026, 11, 13), Standing.MET),
])
def test_an_open_item_grows_old_after_five_working_days(on: date, standing: Standing) -> None:
    finding = say(reconciliation_open, run_of(BankEntry("e", on, 7_00)))
    assert finding.standing is standing
    if standing is Standing.BREACHED:
        assert (finding.level, finding.values["kind"]) == (Level.YELLOW, "credit_without_charge")


def test_another_currency_has_an_alert_of_its_own() -> None:
    euro = run_of(currency="EUR")
    position = InstitutionPosition(institution=SCHOOL, reconciliations=(WELL, euro))
    assert [one.period for one in receipt_outside_escrow.examine(position, POLICY, NOW)] == [
        "continuous", "continuous:EUR"
    ]
