"""A certificate that will end is an alert before it does: ours from its file, the bank's as it was last seen."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from journey_command import Said, here
from operator_world import ACCOUNT, configure, good

from tls_world import TlsWorld  # isort: skip


def english(folder: Path, *words: object) -> Said:
    return here("--lang", "en", *words, at=folder)


def days(number: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=number)


def open_alerts(folder: Path) -> Mapping[str, str]:
    """By whose certificate it is, how grave."""
    listed = english(folder, "alerts", "list", "--rule", "certificate_ends", "--json").json()
    return {one["subject"].removeprefix("certificate:"): one["severity"] for one in listed}


def register(folder: Path) -> None:
    (folder / "accounts.csv").write_text(f"account_no,bank\n{ACCOUNT},icbc\n")
    english(folder, "import", "accounts", "accounts.csv").must(0)


def test_ours_is_reported_until_it_is_replaced(tmp_path: Path, database_url: str) -> None:
    tls = TlsWorld.at(tmp_path / "tls")
    ours = tls.client(until=days(10))
    sections = f'ca_file = "{tls.ca}"\ncert_file = "{ours}"\n'
    configure(tmp_path, {"icbc": "https://127.0.0.1:1"}, database=database_url, bank_more=sections)
    said = english(tmp_path, "round", "watch-rounds", "--json").must(1).json()
    assert said[0]["counts"]["certificates"] == 3
    assert open_alerts(tmp_path) == {"icbc:client": "orange"}
    tls.client(until=days(1))
    english(tmp_path, "round", "watch-rounds").must(1)
    assert open_alerts(tmp_path) == {"icbc:client": "red"}
    ours.unlink()
    english(tmp_path, "round", "watch-rounds").must(1)
    assert open_alerts(tmp_path) == {"icbc:client": "orange"}, "what cannot be read is unknown, and said"
    tls.client(until=days(300))
    english(tmp_path, "round", "watch-rounds")
    assert open_alerts(tmp_path) == {}


def test_one_that_the_configuration_no_longer_names_is_closed(tmp_path: Path) -> None:
    tls = TlsWorld.at(tmp_path / "tls")
    ours = tls.client(until=days(1))
    configure(tmp_path, {"icbc": "http://127.0.0.1:1"}, bank_more=f'cert_file = "{ours}"\n')
    english(tmp_path, "db", "upgrade").must(0)
    english(tmp_path, "round", "watch-rounds").must(1)
    assert open_alerts(tmp_path) == {"icbc:client": "red"}
    configure(tmp_path, {})
    english(tmp_path, "round", "watch-rounds")
    assert open_alerts(tmp_path) == {}


def test_the_banks_own_is_known_from_the_last_round_that_reached_it(tmp_path: Path, database_url: str) -> None:
    tls = TlsWorld.at(tmp_path / "tls")
    sections = f'ca_file = "{tls.ca}"\n'
    for until, expected in ((days(5), {"icbc:server": "orange"}), (days(300), {})):
        with tls.server(good, until=until) as server:
            configure(tmp_path, {"icbc": server.url}, database=database_url, bank_more=sections)
            register(tmp_path)
            said = english(tmp_path, "round", "pull-balances", "--json").json()
            assert said[0]["counts"]["answered"] == 1
        # Nobody answers any more, and still it is known.
        english(tmp_path, "round", "watch-rounds")
        assert open_alerts(tmp_path) == expected
