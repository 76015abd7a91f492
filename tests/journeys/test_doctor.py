"""`doctor`: everything an operator should know, one line each, and not one secret among them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from journey_command import Said, here, run
from operator_world import ACCOUNT, SECRETS, configure, good

from bank_server import BankServer, Reply  # isort: skip
from tls_world import TlsWorld  # isort: skip


def english(folder: Path, *words: object) -> Said:
    return here("--lang", "en", *words, at=folder)


def checkup(folder: Path, *words: object, code: int) -> Mapping[str, list[tuple[str, str]]]:
    """The lines of `doctor` by check: (state, what was found)."""
    said = english(folder, "doctor", "--json", *words).must(code)
    for secret in (*SECRETS, "geheim"):
        assert secret not in said.out + said.err
    found: dict[str, list[tuple[str, str]]] = {}
    for line in said.json()["checks"]:
        found.setdefault(line["check"], []).append((line["state"], line["found"]))
    assert said.json()["exit_code"] == code
    return found


def states(found: Mapping[str, list[tuple[str, str]]]) -> dict[str, str]:
    order = ("ok", "warn", "unknown", "bad")
    return {name: max((state for state, _ in lines), key=order.index) for name, lines in found.items()}


@pytest.fixture
def tls(tmp_path: Path) -> TlsWorld:
    return TlsWorld.at(tmp_path / "tls")


def test_a_house_in_order_is_told_so_on_both_databases(tmp_path: Path, tls: TlsWorld, database_url: str) -> None:
    (tmp_path / "statements").mkdir()
    ours = tls.client(until=datetime.now(UTC) + timedelta(days=99))
    with tls.server(good, until=datetime.now(UTC) + timedelta(days=200)) as server:
        configure(
            tmp_path, {"icbc": server.url}, database=database_url,
            bank_more=f'ca_file = "{tls.ca}"\ncert_file = "{ours}"\n',
            more='\n[folders.in]\npath = "statements"\nbank = "icbc"\n',
        )
        (tmp_path / "accounts.csv").write_text(f"account_no,bank\n{ACCOUNT},icbc\n")
        english(tmp_path, "import", "accounts", "accounts.csv").must(0)
        english(tmp_path, "round", "pull-balances")
        found = checkup(tmp_path, code=0)
        offline = checkup(tmp_path, "--offline", code=0)
    assert {name for name, state in states(found).items() if state == "bad"} == set()
    for name in (
        "program", "configuration", "secrets", "time zones", "policies", "database", "engine", "folder in", "bank icbc",
        "bank icbc clock", "bank icbc answers", "bank icbc certificate (client)", "bank icbc certificate (authority)",
        "bank icbc certificate (server)", "round pull-balances",
    ):
        assert states(found)[name] == "ok", (name, found[name])
    assert ("database clock" in found) == database_url.startswith("postgresql")
    assert ("disk" in found) == database_url.startswith("sqlite")
    # What the round saw of the bank's certificate is known without calling anybody.
    assert states(offline)["bank icbc certificate (server)"] == "ok"
    assert "bank icbc clock" not in offline


@pytest.mark.parametrize(("days", "state", "code"), [(20, "ok", 0), (10, "warn", 0), (1, "bad", 3), (-1, "bad", 3)])
def test_the_banks_certificate_is_counted_down(
    tmp_path: Path, tls: TlsWorld, days: int, state: str, code: int
) -> None:
    english_database(tmp_path)
    with tls.server(good, until=datetime.now(UTC) + timedelta(days=days, hours=1)) as server:
        configure(tmp_path, {"icbc": server.url}, bank_more=f'ca_file = "{tls.ca}"\n')
        found = checkup(tmp_path, code=code)
    assert states(found)["bank icbc certificate (server)"] == state
    assert states(found)["bank icbc"] == ("bad" if days < 0 else "ok")


def english_database(folder: Path) -> None:
    configure(folder, {})
    english(folder, "db", "upgrade").must(0)


@pytest.mark.parametrize(("days", "state", "code"), [(20, "warn", 0), (2, "bad", 2), (-1, "bad", 2)])
def test_our_own_certificate_is_counted_down_without_calling_anybody(
    tmp_path: Path, tls: TlsWorld, days: int, state: str, code: int
) -> None:
    english_database(tmp_path)
    ours = tls.client(until=datetime.now(UTC) + timedelta(days=days, hours=1))
    configure(tmp_path, {"icbc": "http://127.0.0.1:1"}, bank_more=f'cert_file = "{ours}"\n')
    assert states(checkup(tmp_path, "--offline", code=code))["bank icbc certificate (client)"] == state


@pytest.mark.parametrize(
    ("seconds", "state", "code"), [(0, "ok", 0), (60, "warn", 0), (-60, "warn", 0), (900, "bad", 3)]
)
def test_a_banks_clock_is_compared_with_ours(tmp_path: Path, seconds: int, state: str, code: int) -> None:
    english_database(tmp_path)

    def answer(_: object) -> Reply:
        return Reply(headers={"Date": format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)})

    with BankServer(answer) as server:
        configure(tmp_path, {"icbc": server.url})
        assert states(checkup(tmp_path, code=code))["bank icbc clock"] == state


def test_a_bank_that_cannot_be_reached_is_the_outside(tmp_path: Path) -> None:
    english_database(tmp_path)
    configure(tmp_path, {"icbc": "http://127.0.0.1:1", "boc": "https://no-such-bank.invalid"})
    found = checkup(tmp_path, code=3)
    assert states(found)["bank icbc"] == states(found)["bank boc"] == "bad"
    assert states(checkup(tmp_path, "--offline", code=1))["bank boc certificate (server)"] == "unknown"


def test_wrong_configuration_comes_before_everything(tmp_path: Path) -> None:
    english_database(tmp_path)
    configure(
        tmp_path, {"icbc": "http://127.0.0.1:1"}, bank_more='ca_file = "none.pem"\n',
        more='\n[folders.in]\npath = "nowhere"\nbank = "icbc"\n\n'
        '[channels.hook]\ntype = "webhook"\nurl = "https://hook.invalid/"\nsecrets_files = ["none"]\n',
    )
    (tmp_path / "token").chmod(0o644)
    (tmp_path / "consent").unlink()
    found = states(checkup(tmp_path, code=2))
    assert found["folder in"] == found["secrets"] == found["channel hook"] == found["bank icbc"] == "bad"
    said = english(tmp_path, "doctor", "--offline").must(2).out
    assert re.search(r"warn\tsecrets\tbanks.icbc.token_file: everybody can read .*token\tchmod 600", said)
    assert "consent: No such file" in said


def test_secrets_in_a_file_that_everybody_can_read_are_a_warning(tmp_path: Path) -> None:
    english_database(tmp_path)
    file = configure(tmp_path, {"icbc": "http://127.0.0.1:1"}, bank_more='token = "tok-geheim-in-line"\n')
    file.chmod(0o644)
    assert states(checkup(tmp_path, "--offline", code=0))["configuration"] == "warn"
    file.chmod(0o600)
    assert states(checkup(tmp_path, "--offline", code=0))["configuration"] == "ok"


def test_a_channel_whose_host_has_no_address_is_the_outside(tmp_path: Path) -> None:
    english_database(tmp_path)
    (tmp_path / "hook").write_text("whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    configure(
        tmp_path, {},
        more='\n[channels.hook]\ntype = "webhook"\nurl = "https://hook.invalid/"\nsecrets_files = ["hook"]\n',
    )
    assert states(checkup(tmp_path, code=3))["channel hook"] == "bad"
    assert states(checkup(tmp_path, "--offline", code=0))["channel hook"] == "ok"


@pytest.mark.parametrize(
    "url", ["sqlite:///none.db", "postgresql+psycopg://me:db-geheim@127.0.0.1:1/x"], ids=["sqlite", "postgresql"]
)
def test_without_a_database_the_rest_is_still_told(tmp_path: Path, url: str) -> None:
    configure(tmp_path, {"icbc": "http://127.0.0.1:1"}, database=url)
    found = states(checkup(tmp_path, "--offline", code=3))
    assert found["database"] == "bad"
    assert found["rounds"] == found["bank answers"] == "unknown"
    assert found["policies"] == "ok"
    assert not (tmp_path / "none.db").exists()


def test_a_round_that_stopped_is_data_that_is_wrong(tmp_path: Path) -> None:
    english_database(tmp_path)
    long_ago = (datetime.now(UTC) - timedelta(days=2)).isoformat()
    for name in ("check-balances", "watch-rounds"):
        english(tmp_path, "round", name, "--at", long_ago)
    found = checkup(tmp_path, "--offline", code=1)
    assert states(found)["round check-balances"] == "bad"
    assert "since" in found["round check-balances"][0][1]


def test_it_speaks_both_languages_and_wrong_words_are_usage(tmp_path: Path) -> None:
    english_database(tmp_path)
    said = run("--lang", "zh", "--debug", "doctor", "--offline", at=tmp_path).must(0)
    assert re.search("[一-鿿]{4}", said.out)
    assert said.err == ""
    (tmp_path / "escrow-monitor.toml").write_text("[bancs.x]\n")
    english(tmp_path, "doctor").refusal(2, "bancs")
