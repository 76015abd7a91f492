"""A certificate that ends is reported in time, by who must renew it; one that cannot be read is never fine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from escrow_monitor.domain.certificates import Certificate, CertificateRole, CertificateState
from escrow_monitor.domain.findings import Level, Standing
from escrow_monitor.domain.rules.certificate_ends import RULE, examine_certificates, examine_unused

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
CLIENT, AUTHORITY, SERVER = CertificateRole.CLIENT, CertificateRole.AUTHORITY, CertificateRole.SERVER


def ending(days: float, *, begins: datetime = NOW - timedelta(days=300)) -> Certificate:
    return Certificate(
        subject="escrow.example", issuer="CFCA", not_before=begins, not_after=NOW + timedelta(days=days),
        sha256="ab" * 32,
    )


def state(role: CertificateRole, *certificates: Certificate) -> CertificateState:
    return CertificateState(bank="icbc", role=role, certificates=certificates, seen_at=NOW, unknown_why="not there")


@pytest.mark.parametrize(
    ("role", "days", "level"),
    [
        (CLIENT, 30.1, None), (CLIENT, 30, Level.YELLOW), (CLIENT, 14.1, Level.YELLOW), (CLIENT, 14, Level.ORANGE),
        (CLIENT, 3.1, Level.ORANGE), (CLIENT, 3, Level.RED), (CLIENT, 0, Level.RED), (CLIENT, -1, Level.RED),
        (AUTHORITY, 31, None), (AUTHORITY, 14, Level.ORANGE), (AUTHORITY, -1, Level.RED),
        (SERVER, 15, None), (SERVER, 14, Level.YELLOW), (SERVER, 7, Level.ORANGE), (SERVER, 2, Level.RED),
        (SERVER, -1, Level.RED),
    ],
)
def test_the_fewer_days_are_left_the_graver_it_is(role: CertificateRole, days: float, level: Level | None) -> None:
    finding = examine_certificates(state(role, ending(days)), now=NOW)
    assert (finding.rule, finding.subject, finding.level) == (RULE, f"certificate:icbc:{role.value}", level)
    assert finding.standing is (Standing.MET if level is None else Standing.BREACHED)
    assert "icbc" in finding.why_zh
    assert "icbc" in finding.why_en
    assert ("ended" in finding.why_en) == (days <= 0)
    assert (finding.recheck_at is None) == (days <= 0)


@pytest.mark.parametrize("role", [CLIENT, AUTHORITY, SERVER])
def test_one_that_does_not_hold_yet_is_as_useless_as_one_that_ended(role: CertificateRole) -> None:
    finding = examine_certificates(state(role, ending(300, begins=NOW + timedelta(days=1))), now=NOW)
    assert (finding.standing, finding.level) == (Standing.BREACHED, Level.RED)
    assert "clock" in finding.why_en
    assert finding.recheck_at == NOW + timedelta(days=1)


@pytest.mark.parametrize(("role", "level"), [(CLIENT, Level.ORANGE), (AUTHORITY, Level.ORANGE), (SERVER, None)])
def test_one_that_is_not_known_is_never_fine(role: CertificateRole, level: Level | None) -> None:
    finding = examine_certificates(state(role), now=NOW)
    assert (finding.standing, finding.level) == (Standing.UNKNOWN, level)
    assert "not there" in finding.why_en
    assert "not there" in finding.why_zh


def test_of_a_chain_the_first_to_end_decides() -> None:
    finding = examine_certificates(state(CLIENT, ending(300), ending(2)), now=NOW)
    assert finding.level is Level.RED


def test_an_authority_that_is_being_replaced_is_only_worth_a_word() -> None:
    assert examine_certificates(state(AUTHORITY, ending(-5), ending(900)), now=NOW).level is Level.YELLOW
    assert examine_certificates(state(AUTHORITY, ending(-5), ending(10)), now=NOW).level is Level.ORANGE
    assert examine_certificates(state(AUTHORITY, ending(400), ending(900)), now=NOW).level is None


def test_time_alone_changes_the_answer_when_it_says() -> None:
    one = state(CLIENT, ending(45))
    moment, levels = NOW, []
    while (finding := examine_certificates(one, now=moment)).recheck_at is not None:
        before = examine_certificates(one, now=finding.recheck_at - timedelta(seconds=1))
        assert before.level is finding.level
        levels.append(finding.level)
        moment = finding.recheck_at
    assert [*levels, finding.level] == [None, Level.YELLOW, Level.ORANGE, Level.RED, Level.RED]


def test_one_that_nobody_uses_any_more_closes_its_alert() -> None:
    finding = examine_unused("certificate:old:client", now=NOW)
    assert (finding.standing, finding.level, finding.subject) == (Standing.MET, None, "certificate:old:client")
    assert "certificate:old:client" in finding.why_zh
    assert "certificate:old:client" in finding.why_en
