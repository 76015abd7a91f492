"""Every command, as a newcomer tries them one after the other in the folder that `demo --once` leaves behind."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import sys
import tomllib
from contextlib import closing, redirect_stdout
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from journey_command import Said, here, run

from escrow_monitor import cli

HEAVY = (
    "sqlmodel", "sqlalchemy", "alembic", "fastapi", "uvicorn", "httpx", "aiohttp", "dbos", "apscheduler", "pydantic",
    "structlog", "prometheus_client", "rich",
)
MT940 = """\
:20:1
:25:{account}
:28C:1/1
:60F:C261119CNY100,00
:61:2611201120D30,00NTRFNONREF
:86:退费
:62F:C261120CNY70,00
-
"""


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `demo --once` leaves; copy it before anything is changed in it."""
    folder = tmp_path_factory.mktemp("demo") / "town"
    run("demo", "--once", "--dir", folder, "--port", "0", at=folder.parent).must(1)
    return folder


@pytest.fixture
def copy(demo_folder: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(demo_folder, tmp_path / "town"))


def english(folder: Path, *words: object) -> Said:
    return here("--lang", "en", *words, at=folder)


# Help


def commands(words: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """This command and all below it, as `--help` lists them."""
    with redirect_stdout(StringIO()) as out:
        assert cli.run([*words, "--help"]) == 0
    _, _, listed = out.getvalue().partition("Commands:\n")
    names = re.findall(r"^  ([a-z][a-z-]*)", listed, re.MULTILINE)
    return [words, *(found for name in names for found in commands((*words, name)))]


def test_every_command_has_help() -> None:
    assert {" ".join(words) for words in commands()} >= {
        "demo", "run", "daemon", "serve", "round", "import", "statements load", "statements coverage", "accounts list",
        "accounts probe", "doctor",
        "accounts show", "institutions list", "institutions show", "alerts list", "alerts show", "feed", "policy list",
        "policy show", "policy check", "policy effective", "audit verify", "audit export",
        "audit seal", "audit keygen", "audit key", "audit hand-over", "keys create", "keys list", "keys revoke",
        "config show", "config check", "config schema", "db upgrade",
    }


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom escrow_monitor.cli import run\ncode = run(['--help'])\n"
        f"print(code, *sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)\n"
    )
    (tmp_path / "help.py").write_text(script)
    said = run(at=tmp_path, prefix=[sys.executable, "help.py"])
    assert (said.code, said.err.strip()) == (0, "0")
    assert "Usage: escrow-monitor" in said.out


def test_without_a_command_the_help_is_shown(tmp_path: Path) -> None:
    said = run(at=tmp_path)
    assert said.code == 2
    assert "Usage: escrow-monitor" in said.out + said.err


# Questions: in both languages, for people and for programs, with the exit code that scripts rely on

QUESTIONS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (1, ("accounts", "list")),
    (1, ("accounts", "list", "--standing", "breached")),
    (0, ("accounts", "list", "--standing", "met")),
    (0, ("institutions", "list")),
    (1, ("alerts", "list")),
    (1, ("alerts", "list", "--severity", "red")),
    (0, ("alerts", "list", "--rule", "round_late")),
    (0, ("feed",)),
    (1, ("statements", "coverage")),
    (0, ("policy", "list")),
    (0, ("policy", "show", "cn-510300")),
    (0, ("keys", "list")),
    (0, ("audit", "verify")),
)


@pytest.mark.parametrize(("code", "words"), QUESTIONS, ids=lambda one: one if isinstance(one, int) else " ".join(one))
def test_a_question_is_answered_in_both_languages_and_as_json(
    demo_folder: Path, code: int, words: tuple[str, ...]
) -> None:
    answers = {lang: here("--lang", lang, *words, at=demo_folder).must(code) for lang in ("zh", "en")}
    assert all(said.out and not said.err for said in answers.values())
    if words[0] in ("alerts", "feed") and "round_late" not in words:
        assert re.search("[一-鿿]{4}", answers["zh"].out)
        assert "the floor is" in answers["en"].out
    said = here(*words, "--json", at=demo_folder).must(code)
    documents = said.json_lines() if words == ("feed",) else said.json()
    assert documents or "round_late" in words or words[0] == "keys"
    assert said.err == ""


def test_an_account_is_shown_with_every_rules_sentence(demo_folder: Path) -> None:
    found = english(demo_folder, "accounts", "list", "--json").json()
    breached = next(one for one in found if one["standing"] == "breached" and one["level"] == "red")
    said = english(demo_folder, "accounts", "show", breached["account_no"]).must(0)
    assert breached["account_no"] in said.out
    shown = english(demo_folder, "accounts", "show", breached["account_no"], "--json").must(0).json()
    rules = {finding["rule"]: finding for finding in shown["findings"]}
    assert {"floor", "freshness", "large_outflow", "account_status"} <= set(rules)
    assert shown["balance_fen"] == round(float(shown["balance"]) * 100)
    one = english(demo_folder, "institutions", "show", breached["uscc"], "--json").must(0).json()
    assert breached["account_no"] in {account["account_no"] for account in one["accounts"]}
    assert one["name"] in here("--lang", "zh", "institutions", "show", breached["uscc"], at=demo_folder).must(0).out
    english(demo_folder, "institutions", "show", "91110000600037341L").refusal(2, "91110000600037341L")


def test_an_alert_is_shown_with_everything_that_was_published_of_it(demo_folder: Path) -> None:
    alert = english(demo_folder, "alerts", "list", "--json").json()[0]
    history = english(demo_folder, "alerts", "show", alert["alert_id"], "--json").must(0).json()
    assert {item["_escrow"]["alert_id"] for item in history} == {alert["alert_id"]}
    assert alert["why_en"] in english(demo_folder, "alerts", "show", alert["alert_id"]).must(0).out
    english(demo_folder, "alerts", "show", "no-such").refusal(2, "no-such")
    english(demo_folder, "alerts", "list", "--severity", "purple").refusal(2, "purple", "red")


def test_the_feed_goes_on_after_any_number(demo_folder: Path) -> None:
    items = english(demo_folder, "feed", "--json").must(0).json_lines()
    numbers = [item["_escrow"]["seq"] for item in items]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 8
    assert english(demo_folder, "feed", "--json", "--after", 5).json_lines() == items[5:]
    assert english(demo_folder, "feed", "--json", "--after", 2, "--limit", 3).json_lines() == items[2:5]
    assert english(demo_folder, "feed", "--json", "--after", numbers[-1]).must(0).out == ""
    english(demo_folder, "feed", "--after", -1).refusal(2, "--after")


def test_the_same_words_are_tab_separated_in_a_pipe(demo_folder: Path) -> None:
    head, *rows = english(demo_folder, "accounts", "list").out.splitlines()
    assert head.split("\t")[0] == "account"
    assert {len(row.split("\t")) for row in rows} == {len(head.split("\t"))}
    assert "\x1b" not in head


# Policies

PACK = """\
id = "local-510300"
title = "自贡本地设置"
title_en = "Zigong, local setting"
jurisdiction = "510300"

[[clause]]
id = "local-510300/fixed-old"
kind = "fixed"
title = "旧固定最低余额"
title_en = "the old fixed minimum"
amount = "1000000.00"
effective_from = 2024-01-01
effective_to = 2025-06-30
verified = false
[clause.source]
title = "本地"
found = "NF"

[[clause]]
id = "local-510300/fixed-new"
kind = "fixed"
title = "新固定最低余额"
title_en = "the new fixed minimum"
amount = "2000000.00"
effective_from = 2025-07-01
verified = false
[clause.source]
title = "本地"
found = "NF"
"""


def test_a_change_of_law_gives_the_right_floor_on_each_side_of_its_date(copy: Path) -> None:
    (copy / "packs").mkdir()
    (copy / "packs" / "local.toml").write_text(PACK, encoding="utf-8")
    said = english(copy, "policy", "check", "packs/local.toml").must(0)
    assert "2 clauses" in said.out
    assert said.out.count("local setting, source not verified") == 2
    assert english(copy, "policy", "check", "packs/local.toml", "--json").must(0).json()["clauses"] == 2

    config = copy / "escrow-monitor.toml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace('folders = ["policies"]', 'folders = ["packs"]'), encoding="utf-8")
    assert "local-510300" in {pack["id"] for pack in english(copy, "policy", "list", "--json").must(0).json()}
    institutions = english(copy, "institutions", "list", "--json").must(0).json()
    uscc = next(one["uscc"] for one in institutions if one["district"].startswith("5103") and one["accounts"])

    def floor(on: str) -> Any:
        return english(copy, "policy", "effective", uscc, "--on", on, "--json").must(0).json()["accounts"][0]

    assert [floor(on)["floor"] for on in ("2025-06-30", "2025-07-01")] == ["1000000.00", "2000000.00"]
    assert floor("2025-07-01")["governing"] == "local-510300/fixed-new"
    said = english(copy, "policy", "effective", uscc, "--on", "2025-07-01").must(0)
    assert "2000000.00" in said.out
    assert "本地设置，来源未核实" in here("--lang", "zh", "policy", "effective", uscc, at=copy).must(0).out
    english(copy, "policy", "effective", uscc, "--on", "2025-02-30").refusal(2, "2025-02-30")


# Statements


def test_a_file_can_be_tried_at_once(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"{number}.sta").write_text(MT940.format(account=f"44030200{number}"), encoding="utf-8")
    said = english(tmp_path, "statements", "load", "1.sta").must(1)
    assert "unknown_account" in said.err
    said = english(tmp_path, "statements", "load", "--register", "--bank", "icbc", "1.sta", "2.sta").must(0)
    assert said.out.count("1 statements, 1 entries, 1 accounts registered") == 2
    again = english(tmp_path, "statements", "load", "1.sta", "--json").must(0).json()[0]
    assert (again["already"], again["loaded"]) == (True, True)
    found = english(tmp_path, "accounts", "list", "--json").json()
    assert [(one["account_no"], one["bank"], one["standing"]) for one in found] == [
        ("440302001", "icbc", "unknown"), ("440302002", "icbc", "unknown"),
    ]
    coverage = english(tmp_path, "statements", "coverage", "--account", "440302001", "--json").must(0).json()
    assert (coverage[0]["covered_to"], coverage[0]["missing"]) == ("2026-11-20", [])
    english(tmp_path, "statements", "coverage", "--account", "1").refusal(2, "account 1")


# The register


def test_institutions_and_accounts_are_imported_from_either_encoding_once(tmp_path: Path) -> None:
    institutions = "统一社会信用代码,机构名称,行政区划代码\n91110000600037341L,晨光艺术培训学校,510302\n"
    (tmp_path / "institutions.csv").write_bytes(institutions.encode("gb18030"))
    accounts = "account_no,uscc,bank\n62220001,91110000600037341L,icbc\n62220002,,icbc\n"
    (tmp_path / "accounts.csv").write_bytes(b"\xef\xbb\xbf" + accounts.encode())

    english(tmp_path, "import", "accounts", "accounts.csv").must(1)  # whose they are is not known yet
    said = english(tmp_path, "import", "institutions", "institutions.csv", "--dry-run", "--json").must(0).json()
    assert (said["rows"], said["bad_rows"]) == (1, [])
    assert english(tmp_path, "institutions", "list", "--json").must(0).json() == []
    assert english(tmp_path, "import", "institutions", "institutions.csv", "--json").must(0).json()["changed"] == 1
    assert english(tmp_path, "import", "institutions", "institutions.csv", "--json").must(0).json()["changed"] == 0
    assert english(tmp_path, "import", "accounts", "accounts.csv", "--json").must(0).json()["changed"] == 2
    found = english(tmp_path, "institutions", "list", "--json").must(0).json()
    assert [(one["name"], one["accounts"]) for one in found] == [("晨光艺术培训学校", 1)]


def test_a_register_with_a_bad_row_is_refused_whole_and_every_bad_row_listed(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(
        "uscc,name,district,licence_expires_on\n"
        "91110000600037341L,好学校,510302,2027-01-01\n"
        "91110000600037341X,坏校验码,510302,\n"
        "91110000600037341L,重复,51,2027-13-01\n"
        "91350100M000100Y43,,510302,\n",
        encoding="utf-8",
    )
    said = english(tmp_path, "import", "institutions", "rows.csv", "--json").must(1).json()
    assert [(bad["line"], bad["column"]) for bad in said["bad_rows"]] == [(3, "uscc"), (4, "district"), (5, "name")]
    said = english(tmp_path, "import", "institutions", "rows.csv").must(1)
    assert [line.partition(",")[0] for line in said.err.splitlines()] == ["line 3", "line 4", "line 5"]
    assert english(tmp_path, "institutions", "list", "--json").must(0).json() == []
    (tmp_path / "headless.csv").write_text("uscc,nmae\n", encoding="utf-8")
    english(tmp_path, "import", "institutions", "headless.csv").refusal(2, "headless.csv", "nmae", "name")
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe\x00\x81")
    english(tmp_path, "import", "institutions", "picture.csv").refusal(2, "picture.csv")


# Keys, configuration, audit


def test_a_key_is_shown_once_kept_as_a_hash_and_revoked(tmp_path: Path) -> None:
    made = english(tmp_path, "keys", "create", "grafana", "--scope", "metrics", "--days", 7, "--json").must(0).json()
    assert re.fullmatch(r"emk_[A-Za-z0-9_-]{43}", made["key"])
    plain = english(tmp_path, "keys", "create", "reader").must(0)
    assert re.fullmatch(r"emk_[A-Za-z0-9_-]{43}\n", plain.out)
    assert "shown this once" in plain.err
    for secret in (made["key"], plain.out.strip()):
        assert secret.encode() not in (tmp_path / "escrow.db").read_bytes()
    listed = english(tmp_path, "keys", "list", "--json").must(0).json()
    assert {(one["name"], tuple(one["scopes"]), one["open"]) for one in listed} == {
        ("grafana", ("metrics",), True), ("reader", ("read",), True),
    }
    english(tmp_path, "keys", "revoke", made["key_id"]).must(0)
    english(tmp_path, "keys", "revoke", made["key_id"]).refusal(2, made["key_id"])
    listed = english(tmp_path, "keys", "list", "--json").json()
    assert {one["name"]: one["open"] for one in listed} == {"grafana": False, "reader": True}
    english(tmp_path, "keys", "create", "x", "--scope", "everything").refusal(2, "everything", "metrics")
    assert english(tmp_path, "audit", "verify", "--json").must(0).json()["entries"] == 3


def test_the_configuration_is_shown_without_a_single_secret(copy: Path) -> None:
    config = copy / "escrow-monitor.toml"
    before = tomllib.loads(config.read_text(encoding="utf-8"))
    tables = [table for bank in before["banks"].values() for table in (bank, bank.get("sign", {}))]
    secrets = [table[name] for table in tables for name in ("token", "consent_id", "key") if name in table]
    assert len(secrets) > len(before["banks"])
    config.write_text(
        config.read_text(encoding="utf-8")
        .replace("sqlite:///escrow.db", "postgresql+psycopg://me:db-geheim@127.0.0.1:1/x")
        + '\n[channels.hook]\ntype = "webhook"\nurl = "https://u:url-geheim@example.test/"\n'
        'secrets = ["hook-geheim"]\n',
        encoding="utf-8",
    )
    said = run("config", "show", at=copy).must(0)
    assert json.loads(said.out)["banks"].keys() == before["banks"].keys()
    for secret in (*secrets, "geheim"):
        assert secret not in said.out
    assert "127.0.0.1:1/x" in said.out
    assert "[banks" not in run("config", "schema", at=copy).must(0).out


def test_a_good_configuration_is_said_to_be_good(demo_folder: Path) -> None:
    assert "5 banks" in english(demo_folder, "config", "check").must(0).out
    schema = english(demo_folder, "config", "schema").must(0).json()
    assert {"database", "banks", "channels", "schedule"} <= schema["properties"].keys()


def test_the_audit_names_what_was_edited(copy: Path) -> None:
    with closing(sqlite3.connect(copy / "escrow.db")) as connection:
        triggers = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit_entries'"
        ).fetchall()
        assert triggers
        for (name,) in triggers:
            connection.execute(f'DROP TRIGGER "{name}"')
        seq, old = connection.execute(
            "SELECT seq, canonical FROM audit_entries WHERE canonical LIKE '%\"rule\":\"floor\"%' ORDER BY seq LIMIT 1"
        ).fetchone()
        new = old.replace("floor", "fl00r", 1)
        connection.execute("UPDATE audit_entries SET canonical = ? WHERE seq = ?", (new, seq))
        connection.commit()
    said = english(copy, "audit", "verify").must(1)
    assert f"edited at {seq}" in said.err
    verdict = english(copy, "audit", "verify", "--json").must(1).json()
    assert (verdict["whole"], verdict["fault"], verdict["at_seq"]) == (False, "edited", seq)


# Work


def test_a_round_says_what_it_did_and_a_second_time_that_it_was_done(copy: Path) -> None:
    at = datetime.now().astimezone().isoformat(timespec="seconds")
    said = english(copy, "round", "check-balances", "--at", at, "--json").must(0).json()
    assert (said[0]["round"], said[0]["outcome"], said[0]["repeated"]) == ("check-balances", "ok", False)
    assert "(already done)" in english(copy, "round", "check-balances", "--at", at).must(0).out
    # The sandbox banks are gone with the demo: each of their accounts is a recorded refusal.
    said = english(copy, "round", "pull-balances", "--json").must(1).json()
    assert {one["counts"]["answered"] for one in said} == {0}
    assert all(one["counts"]["refused"] == one["counts"]["accounts"] > 0 for one in said)
    account = english(copy, "accounts", "list", "--json").json()[0]["account_no"]
    said = english(copy, "round", "check-balances", "--account", account, "--json").json()
    assert said[0]["counts"]["accounts"] <= 1
    english(copy, "round", "pull-balances", "--shard", "atlantis").refusal(2, "atlantis")
