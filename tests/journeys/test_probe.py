"""`accounts probe`: a person connects an account, sees what the bank says and what we read, and no secret at all."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from journey_command import Said, here, run
from operator_world import ACCOUNT, SECRETS, configure, good, refusing, today

from escrow_monitor.cli.advice import ADVICE
from escrow_monitor.domain.statements import RefusalReason

from bank_server import BankServer, Reply, Request  # isort: skip
from tls_world import TlsWorld  # isort: skip


def english(folder: Path, *words: object) -> Said:
    return here("--lang", "en", *words, at=folder)


def keeps_quiet(said: Said) -> None:
    """No secret, account number, counterparty or long number in what was printed; fingerprints are hexadecimal."""
    printed = re.sub(r"\b[0-9a-f]{64}\b", "", said.out + said.err)
    for secret in SECRETS:
        assert secret not in printed
    assert "geheim" not in printed
    assert not re.search(r"\d{12,}", printed)


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_an_account_that_is_not_registered_is_tried_over_tls(tmp_path: Path, lang: str, debug: bool) -> None:
    world = TlsWorld.at(tmp_path / "tls")
    with world.server(good, until=datetime.now(UTC) + timedelta(days=9)) as server:
        configure(tmp_path, {"icbc": server.url}, bank_more=f'ca_file = "{world.ca}"\n')
        words = ["--debug"] if debug else []
        said = run(
            *words, "--lang", lang, "accounts", "probe", ACCOUNT, "--bank", "icbc", "--statements-from",
            (today() - timedelta(days=3)).date(), at=tmp_path,
        ).must(0)
    keeps_quiet(said)
    for shown in ("…6543", "closingBooked", "5000.00", "bank door", "TLSv1", "-12.00", "/v1/accounts/…6543/balances",
                  "booked_closing", "200", "[text, "):
        assert shown in said.out
    assert "consent_id_file" in said.out
    assert not (tmp_path / "escrow.db").exists()


def test_what_a_program_is_told_is_one_document(tmp_path: Path) -> None:
    with BankServer(good) as server:
        configure(tmp_path, {"icbc": server.url})
        said = english(tmp_path, "accounts", "probe", ACCOUNT, "--bank", "icbc", "--json").must(0)
    keeps_quiet(said)
    document = said.json()
    assert document["readings"] == [{
        "kind": "booked_closing", "amount": "5000.00", "amount_fen": 500_000, "currency": "CNY",
        "on": (today() - timedelta(days=1)).date().isoformat(), "as_of": document["readings"][0]["as_of"],
        "final": True,
    }]
    assert [call["status"] for call in document["calls"]] == [200]
    assert document["calls"][0]["bytes"] > 100
    assert document["configuration"]["token"] == "not set"
    assert [step["step"] for step in document["connection"]["steps"]] == ["name", "connection", "clock"]
    assert abs(document["connection"]["clock_skew_seconds"]) < 5


def test_an_answer_that_is_a_refusal_says_what_to_do(tmp_path: Path) -> None:
    with BankServer(refusing) as server:
        configure(tmp_path, {"icbc": server.url})
        said = english(tmp_path, "accounts", "probe", ACCOUNT, "--bank", "icbc").must(1)
    keeps_quiet(said)
    assert "TOKEN_INVALID" in said.out
    assert "the token [redacted] of …6543 is not valid" in said.out
    assert "renew the token file" in said.out


def test_an_answer_that_cannot_be_read_is_a_refusal_too(tmp_path: Path) -> None:
    def strange(request: Request) -> Reply:
        return Reply(body={"balances": [{"balanceType": "closingBooked", "balanceAmount": {"amount": "1e5"}}]})

    with BankServer(strange) as server:
        configure(tmp_path, {"icbc": server.url})
        document = english(tmp_path, "accounts", "probe", ACCOUNT, "--bank", "icbc", "--json").must(1).json()
    assert document["refused"] is True
    assert document["refusals"][0]["do"]
    assert document["documents"][0]["call"] == 1


def test_a_bank_that_does_not_answer_is_a_three(tmp_path: Path) -> None:
    configure(tmp_path, {"icbc": "http://127.0.0.1:1"})
    said = english(tmp_path, "accounts", "probe", ACCOUNT, "--bank", "icbc").must(3)
    keeps_quiet(said)
    assert "connection   failed" in said.out
    assert "check DNS" in said.out


def test_a_registered_account_needs_no_more_than_its_number_and_nothing_is_recorded(
    tmp_path: Path, database_url: str
) -> None:
    with BankServer(good) as server:
        configure(tmp_path, {"icbc": server.url}, database=database_url)
        (tmp_path / "accounts.csv").write_text(f"account_no,bank\n{ACCOUNT},icbc\n")
        english(tmp_path, "import", "accounts", "accounts.csv").must(0)
        keeps_quiet(english(tmp_path, "accounts", "probe", ACCOUNT).must(0))
        shown = english(tmp_path, "accounts", "show", ACCOUNT, "--json").json()
    assert shown["balance"] is None


def test_what_is_missing_is_one_plain_sentence(tmp_path: Path) -> None:
    configure(tmp_path, {"icbc": "http://127.0.0.1:1"})
    english(tmp_path, "accounts", "probe", ACCOUNT, "--bank", "boc").refusal(2, "boc")
    english(tmp_path, "accounts", "probe", ACCOUNT).refusal(3, "db upgrade")
    english(tmp_path, "db", "upgrade").must(0)
    english(tmp_path, "accounts", "probe", ACCOUNT).refusal(2, "--bank")
    english(tmp_path, "accounts", "probe", ACCOUNT, "--bank", "icbc", "--statements-from", "soon").refusal(2, "soon")


def test_there_is_advice_for_every_refusal() -> None:
    assert {reason.value for reason in RefusalReason} <= set(ADVICE)
