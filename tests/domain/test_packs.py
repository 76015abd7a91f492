"""The shipped packs: every one can be read, and none calls verified what nobody has read."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from fractions import Fraction
from pathlib import Path

import pytest

from escrow_monitor.domain.accounts import Account, Mode, Purpose
from escrow_monitor.domain.clauses import FloorTerms
from escrow_monitor.domain.contracts import DeadlineUnit
from escrow_monitor.domain.findings import Level
from escrow_monitor.domain.institutions import Institution, InstitutionKind
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.policy import (
    NOT_VERIFIED,
    DeemedFrom,
    Fixed,
    Found,
    FullLiability,
    LessonConfirmation,
    PolicyBook,
    RatioWindow,
    RefundAnswer,
    RefundPayment,
    Schedule,
    SevenDayRight,
)
from escrow_monitor.errors import PolicyError
from escrow_monitor.policies import PACK_BYTES_MAX, load_pack, load_policies


@pytest.fixture(scope="module")
def book() -> PolicyBook:
    return load_policies()


def institution(district: str | None, policy: str | None = None) -> Institution:
    return Institution(uscc="91110000600037341L", name="启航", district=district, policy=policy)


def test_every_pack_can_be_read_and_says_its_place(book: PolicyBook) -> None:
    assert {pack.jurisdiction for pack in book.packs.values()} >= {
        "000000", "110000", "140802", "330000", "371082", "500000", "500106", "510100", "510300",
    }
    for pack in book.packs.values():
        assert pack.id == f"cn-{pack.jurisdiction}"
        assert pack.where.startswith(pack.jurisdiction)
        assert pack.title.zh
        assert pack.title.en


def test_verified_means_that_the_source_was_read_and_is_named(book: PolicyBook) -> None:
    for pack in book.packs.values():
        for clause in pack.clauses:
            assert clause.source.title
            if clause.verified:
                assert clause.source.found is Found.READ
                assert clause.basis.en.endswith("source found")
            else:
                assert clause.basis == NOT_VERIFIED


def test_the_nation_names_no_floor_and_none_of_its_defaults_is_called_law(book: PolicyBook) -> None:
    nation = book.pack("cn-000000")
    assert not [clause for clause in nation.clauses if isinstance(clause.terms, FloorTerms)]
    read = {clause.id for clause in nation.clauses if clause.verified}
    assert read == {
        "cn-000000/lesson-confirmation", "cn-000000/refund-answer", "cn-000000/seven-day-right",
        "cn-000000/fee-cap-lessons", "cn-000000/fee-cap-months", "cn-000000/fee-cap-loans",
    }


def test_the_platforms_clocks_and_the_seven_day_right_hold_everywhere(book: PolicyBook) -> None:
    terms = book.effective(institution=institution("510302"), account=None, on=date(2026, 11, 20)).refund_terms
    assert terms.confirmation is not None
    assert terms.confirmation.terms == LessonConfirmation(working_days=15, deemed_from=DeemedFrom.NEXT_DAY)
    assert terms.answer is not None
    assert terms.answer.terms == RefundAnswer(working_days=5, deemed_from=DeemedFrom.NEXT_DAY)
    assert terms.seven_day is not None
    assert (terms.seven_day.terms, terms.seven_day.effective_from) == (SevenDayRight(days=7), date(2025, 5, 1))
    assert terms.seven_day.source.document_no == "法释〔2025〕4号"
    assert terms.payment is None, "no national text that was read sets a deadline for paying"
    for clause in (terms.confirmation, terms.answer, terms.seven_day):
        assert clause.verified
        assert clause.source.url
        assert clause.source.remark
        assert clause.basis.zh.endswith("来源已查到")
    before = book.effective(institution=None, account=None, on=date(2025, 4, 30)).refund_terms
    assert before.seven_day is None
    assert before.confirmation is not None


def test_a_familys_clause_changes_nothing_for_an_account(book: PolicyBook, account: Account) -> None:
    law = book.effective(institution=institution("510302"), account=account, on=date(2025, 5, 20))
    assert law.last_change_on == date(2020, 9, 1), "the seven-day right of 2025-05-01 is none of its floor's business"


def test_beijing_says_when_a_refund_is_paid_and_holds_subject_training_to_all_it_owes(
    book: PolicyBook, account: Account
) -> None:
    subject = replace(institution("110105"), kind=InstitutionKind.SUBJECT)
    law = book.effective(institution=subject, account=account, on=date(2026, 11, 20))
    assert law.refund_terms.payment is not None
    assert law.refund_terms.payment.terms == RefundPayment(
        days_before_start=5, days_after_start=15, unit=DeadlineUnit.CALENDAR
    )
    assert [clause.terms for clause in law.floor_clauses] == [FullLiability()]
    other = replace(subject, kind=InstitutionKind.NON_SUBJECT)
    assert book.effective(institution=other, account=account, on=date(2026, 11, 20)).refund_terms.payment is None


def test_shapingba_releases_30_30_40_and_yanhus_thirds_are_an_assumption(book: PolicyBook, account: Account) -> None:
    (floor,) = book.effective(institution=institution("500106"), account=account, on=date(2026, 11, 20)).floor_clauses
    assert (floor.terms, floor.verified) == (Schedule(parts=(30, 30, 40)), True)
    (thirds,) = book.effective(institution=institution("140802"), account=account, on=date(2026, 11, 20)).floor_clauses
    assert (thirds.terms, thirds.basis) == (Schedule(parts=(1, 1, 1)), NOT_VERIFIED)


@pytest.mark.parametrize(
    ("district", "mode", "floors"),
    [
        ("460100", Mode.CUSTODY, 1), ("460100", Mode.FLOOR, 1), ("370200", Mode.CUSTODY, 1),
        ("410100", Mode.CUSTODY, 1), ("410100", Mode.DEPOSIT, 0), ("510104", Mode.CUSTODY, 0),
    ],
)
def test_custody_asks_for_all_that_is_owed(
    book: PolicyBook, account: Account, district: str, mode: Mode, floors: int
) -> None:
    law = book.effective(
        institution=institution(district), account=replace(account, mode=mode), on=date(2026, 11, 20)
    )
    assert [clause.terms for clause in law.floor_clauses] == [FullLiability()] * floors


def test_zigong_asks_for_a_fifth_of_three_months_credits(book: PolicyBook, account: Account) -> None:
    law = book.effective(institution=institution("510302"), account=account, on=date(2026, 11, 20))
    (floor,) = law.floor_clauses
    assert floor.terms == RatioWindow(ratio=Fraction(1, 5), months=3)
    assert law.pack_ids == ("cn-000000", "cn-510300")
    assert law.top_up is not None
    assert law.freshness.id == "cn-000000/freshness"
    assert law.feed_gap is not None
    assert law.calendar.name == "CN"
    assert law.zone.key == "Asia/Shanghai"


def test_rongcheng_caps_the_month_at_twice_a_minimum_that_it_does_not_name(book: PolicyBook, account: Account) -> None:
    law = book.effective(institution=institution("371082"), account=account, on=date(2026, 11, 20))
    assert law.floor_clauses == ()
    (cap,) = law.outflow_caps
    assert (cap.terms.times, cap.terms.level, cap.verified) == (2, Level.RED, True)


def test_the_example_shows_how_a_bureau_sets_its_own_minimum(account: Account) -> None:
    law = load_policies(examples=True).effective(
        institution=institution("371082"), account=account, on=date(2026, 11, 20)
    )
    (floor,) = law.floor_clauses
    assert isinstance(floor.terms, Fixed)
    assert floor.terms.tiers[-1].amount == Money(200_000_00, "CNY")
    assert not floor.verified


def test_a_settlement_account_has_no_floor(book: PolicyBook) -> None:
    account = Account(account_no="2", bank="b", connector="c", currency="CNY", purpose=Purpose.SETTLEMENT)
    law = book.effective(institution=institution("510300"), account=account, on=date(2026, 11, 20))
    assert law.floor_clauses == ()
    assert law.top_up is None
    assert law.large_debits == ()


PACK = """
id = "local"
title = "本地"
title_en = "local"
jurisdiction = "330106"
[[clause]]
id = "local/fixed"
kind = "fixed"
title = "固定"
title_en = "fixed"
amount = "50000.00"
effective_from = 2026-01-01
verified = false
source = { title = "区教育局", found = "NF" }
"""


def test_a_folder_of_ones_own_is_read_beside_the_shipped_packs(tmp_path: Path, account: Account) -> None:
    (tmp_path / "local.toml").write_text("\ufeff" + PACK, encoding="utf-8")
    (tmp_path / ".hidden.toml").write_text("not toml", encoding="utf-8")
    (tmp_path / "readme.txt").write_text("not toml", encoding="utf-8")
    book = load_policies([tmp_path])
    law = book.effective(institution=institution("330106"), account=account, on=date(2026, 11, 20))
    assert law.pack_ids == ("cn-000000", "cn-330000", "local")
    assert book.version != load_policies().version
    assert load_pack(tmp_path / "local.toml").id == "local"
    assert str(tmp_path) in book.pack("local").where


def test_the_version_depends_on_what_is_said_and_not_on_where(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.toml").write_text(PACK, encoding="utf-8")
    versions = {name: load_policies([tmp_path / name]).version for name in ("a", "b")}
    assert versions["a"] == versions["b"]
    (tmp_path / "b" / "b.toml").write_text(PACK.replace("50000.00", "50000.01"), encoding="utf-8")
    assert load_policies([tmp_path / "b"]).version != versions["a"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"id = ", "is not TOML"),
        (b"#" * (PACK_BYTES_MAX + 1), "too many for a policy pack"),
        (PACK.replace('"local"', '"cn-330000"', 1).encode(), "two policy packs have the id 'cn-330000'"),
        (PACK.replace("local/fixed", "cn-510300/window-20").encode(), "the clause id 'cn-510300/window-20' is taken"),
        (PACK.replace("amount =", "amuont =").encode(), "'amount' is missing; did you mean it by 'amuont'?"),
    ],
)
def test_a_pack_that_cannot_be_taken_names_its_file_and_fault(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "bad.toml").write_bytes(content)
    with pytest.raises(PolicyError, match=r"bad\.toml") as caught:
        load_policies([tmp_path])
    assert said in str(caught.value)


def test_a_folder_or_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="no such policy folder"):
        load_policies([tmp_path / "none"])
    with pytest.raises(PolicyError, match="cannot be read"):
        load_pack(tmp_path / "none.toml")


def test_a_pack_is_plain_data(book: PolicyBook) -> None:
    assert json.dumps([pack.notes for pack in book.packs.values()], ensure_ascii=False)
