"""What a person meets who gives the program something wrong, or whose machine fails under it.

One plain sentence on stderr, no traceback, the exit code that says whose fault it is, and nothing half written.
"""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from journey_command import Said, here, run

MT940 = """\
:20:1
:25:440302001
:28C:1/1
:60F:C261119CNY100,00
:61:2611201120D30,00NTRFNONREF
:86:退费
:62F:C261120CNY70,00
-
"""
CAMT = """\
<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.02"><BkToCstmrStmt><Stmt><Id>1</Id>
<Acct><Id><Othr><Id>440302001</Id></Othr></Id><Ccy>CNY</Ccy></Acct>
<Bal><Tp><CdOrPrtry><Cd>OPBD</Cd></CdOrPrtry></Tp><Amt Ccy="CNY">100.00</Amt><CdtDbtInd>CRDT</CdtDbtInd>
<Dt><Dt>2026-11-20</Dt></Dt></Bal>
<Bal><Tp><CdOrPrtry><Cd>CLBD</Cd></CdOrPrtry></Tp><Amt Ccy="CNY">70.00</Amt><CdtDbtInd>CRDT</CdtDbtInd>
<Dt><Dt>2026-11-20</Dt></Dt></Bal>
<Ntry><Amt Ccy="CNY">30.00</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts>BOOK</Sts>
<BookgDt><Dt>2026-11-20</Dt></BookgDt></Ntry>
</Stmt></BkToCstmrStmt></Document>
"""
BOMB = '<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {name} "{f"&{below};" * 20}">' for below, name in zip("abcdefgh", "bcdefghi", strict=True)
) + "]>" + CAMT.partition("?>")[2].replace("<Id>1</Id>", "<Id>&i;</Id>", 1)
PACK = """\
id = "local-440305"
title = "南山区本地设置"
title_en = "Nanshan, local setting"
jurisdiction = "440305"

[[clause]]
id = "local-440305/fixed"
kind = "fixed"
title = "固定最低余额"
title_en = "a fixed minimum"
amount = "100000.00"
effective_from = 2024-01-01
verified = false
[clause.source]
title = "本地"
found = "NF"
"""


def chained(*, opening: str = "70,00", closing: str = "40,00") -> str:
    """The same account's file of the day after."""
    text = MT940.replace("261120", "261121").replace("261119", "261120").replace("1120D", "1121D")
    return text.replace("70,00", closing).replace("100,00", opening)


# The configuration


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[databse]\nurl = "x"\n', ("databse", "did you mean database?")),
        ("[web]\nprot = 1\n", ("web.prot", "did you mean port?")),
        ('[banks.icbc]\nbase_url = "http://x"\ntimeout_second = 3\n', ("banks.icbc", "did you mean timeout_seconds?")),
        ('[channels.a]\ntype = "webhook"\nurl = "http://x"\nsecret_files = ["x"]\n', ("did you mean secrets_files?",)),
        ('[channels.a]\ntype = "webhook"\nurl = "http://x"\nsecrets = ["geheim"]\n', ("channels.a", "whsec_")),
        ('[channels.a]\ntype = "webhook"\nurl = "http://x"\nsecrets_files = ["no"]\n', ("secrets_files", "no")),
        ('[web]\nport = "many"\n', ("web.port",)),
        ('[database]\nurl = "mysql://me:geheim@h/x"\n', ("mysql", "postgresql+psycopg://")),
        ("[web\n", ("not valid TOML", "line 1")),
        ('[schedule]\nzone = "Mars/Base"\n', ("Mars/Base", "Asia/Shanghai")),
        ('[schedule]\npull_balances = "sometimes"\n', ("schedule.pull_balances", "sometimes")),
        ('[policies]\nfolders = ["nowhere"]\n', ("nowhere", "no such policy folder")),
    ],
)
def test_a_configuration_that_is_wrong_is_refused_with_what_to_do(
    tmp_path: Path, text: str, words: Sequence[str]
) -> None:
    (tmp_path / "wrong.toml").write_text(text, encoding="utf-8")
    sentence = here("--config", "wrong.toml", "config", "check", at=tmp_path).refusal(2, *words)
    assert "geheim" not in sentence
    assert not list(tmp_path.glob("*.db"))


def test_a_configuration_that_is_not_there_is_said(tmp_path: Path) -> None:
    run("--config", "none.toml", "accounts", "list", at=tmp_path).refusal(2, "none.toml", "No such file")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ESCROW_MONITOR_WEB__PROT", ("web.prot", "did you mean port?")),
        ("ESCROW_MONITOR_WBE__PORT", ("wbe", "did you mean web?")),
        ("ESCROW_MONITOR_DATABASE_URL", ("did you mean ESCROW_MONITOR_DATABASE__URL?",)),
    ],
)
def test_a_variable_that_is_misspelled_is_not_passed_over(tmp_path: Path, name: str, words: Sequence[str]) -> None:
    run("accounts", "list", at=tmp_path, env={name: "1"}).refusal(2, *words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("acounts", "list"), ("acounts",)),
        (("accounts", "show"), ("account_no",)),
        (("accounts", "list", "--colour"), ("--colour",)),
        (("--lang", "de", "accounts", "list"), ("zh or en",)),
        (("round", "make-money"), ("make-money", "pull-balances")),
        (("round", "check-balances", "--at", "yesterday"), ("yesterday", "2026-11-20T09:00:00+08:00")),
        (("statements", "load", "none.sta"), ("none.sta", "no such file")),
        (("statements", "load", "wrong.toml", "--format", "mt9"), ("mt9", "mt940")),
        (("policy", "check", "none.toml"), ("none.toml", "no such file")),
        (("policy", "show", "none"), ("none", "cn-000000")),
        (("import", "houses", "wrong.toml"), ("houses", "institutions")),
        (("demo", "--json"), ("--once",)),
    ],
)
def test_a_command_that_is_wrong_is_refused_with_what_to_do(
    tmp_path: Path, words: Sequence[str], said: Sequence[str]
) -> None:
    (tmp_path / "wrong.toml").write_text("")
    here("db", "upgrade", at=tmp_path).must(0)
    here(*words, at=tmp_path).refusal(2, *said)


# Policies


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("amount =", "amuont =", ("local-440305/fixed", "amount", "amuont")),
        ('"100000.00"', "100000.00", ("amount in quotes",)),
        ('"100000.00"', '"1e5"', ("1e5", "plain decimal")),
        ('kind = "fixed"', 'kind = "fxed"', ("did you mean 'fixed'?",)),
        ("jurisdiction", "jurisdction", ("jurisdiction", "jurisdction")),
        ("verified = false", "verified = true", ("verified",)),
        ("effective_from = 2024-01-01", 'effective_from = "2024"', ("effective_from",)),
    ],
)
def test_a_policy_pack_that_is_wrong_is_refused_with_the_nearest_name(
    tmp_path: Path, old: str, new: str, words: Sequence[str]
) -> None:
    (tmp_path / "local.toml").write_text(PACK.replace(old, new, 1), encoding="utf-8")
    here("policy", "check", "local.toml", at=tmp_path).refusal(2, "local.toml", *words)


# Statement files


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose database knows the account 440302001, from one good file."""
    folder = tmp_path_factory.mktemp("registered")
    (folder / "good.sta").write_text(MT940, encoding="utf-8")
    run("statements", "load", "--register", "good.sta", at=folder).must(0)
    return folder


@pytest.mark.parametrize(
    ("name", "content", "options", "reason", "words"),
    [
        ("tie.sta", MT940.replace("70,00", "70,01"), (), "does_not_tie", ("tie.sta:7", ":62F:", "off by 0.01")),
        ("tie.xml", CAMT.replace(">70.00<", ">70.01<"), (), "does_not_tie", ("tie.xml", "70.01")),
        ("cut.sta", MT940.partition(":62F:")[0], (), "missing_field", ("cut.sta", ":62F:")),
        ("cut.xml", CAMT[:400], (), "malformed", ("cut.xml",)),
        ("bomb.xml", BOMB, (), "unsafe_xml", ("bomb.xml",)),
        ("entity.xml", CAMT.replace("<Document", '<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><Document')
         .replace("<Id>1</Id>", "<Id>&x;</Id>", 1), (), "unsafe_xml", ("entity.xml",)),
        ("amount.sta", MT940.replace("70,00", "7e1,"), (), "bad_amount", ("amount.sta:7",)),
        ("digits.xml", CAMT.replace(">70.00<", ">12345678901234567890<"), (), "bad_amount", ("digits.xml",)),
        ("usd.sta", MT940.replace("CNY", "USD"), (), "wrong_currency", ("usd.sta",)),
        ("stranger.sta", MT940.replace("440302001", "440302999"), (), "unknown_account", ("440302999", "register")),
        ("other.sta", MT940.replace("440302001", "440302888"), ("--account", "440302001"), "wrong_account", ("asked",)),
        ("chain.sta", chained(opening="71,00", closing="41,00"), (), "does_not_chain", ("chain.sta", "71.00", "70.00")),
        ("letter.txt", "Dear bank,\nhello", (), "unknown_format", ("letter.txt", "camt")),
        ("empty.sta", "", (), "empty", ("empty.sta",)),
    ],
)
def test_a_file_that_cannot_be_trusted_is_refused_whole_with_place_and_reason(
    registered: Path, name: str, content: str, options: Sequence[str], reason: str, words: Sequence[str]
) -> None:
    (registered / name).write_text(content, encoding="utf-8")
    before = facts(registered / "escrow.db")
    said = here("--lang", "en", "statements", "load", *options, name, at=registered).must(1)
    assert said.out == ""
    first, *sentences = said.err.splitlines()
    assert first == f"{name}: refused"
    assert len(sentences) == 1
    assert sentences[0].endswith(f"({reason})")
    for word in words:
        assert word in sentences[0]
    assert "root:" not in said.err
    # Its bytes are kept as evidence; nothing that it says is.
    assert facts(registered / "escrow.db") == {**before, "raw_documents": before["raw_documents"] + 1}


def test_one_refused_file_keeps_no_other_out(registered: Path) -> None:
    (registered / "next.sta").write_text(chained(), encoding="utf-8")
    (registered / "torn.sta").write_text(MT940.replace("70,00", "70,02"), encoding="utf-8")
    said = here("statements", "load", "--json", "torn.sta", "next.sta", at=registered).must(1)
    torn, good = said.json()
    assert (torn["loaded"], torn["refusals"][0]["reason"], good["loaded"]) == (False, "does_not_tie", True)


# The machine


def test_a_database_on_a_server_that_is_not_there(tmp_path: Path) -> None:
    url = "postgresql+psycopg://regulator:geheim%40wort@127.0.0.1:1/escrow"
    (tmp_path / "escrow-monitor.toml").write_text(f'[database]\nurl = "{url}"\n')
    for words in (("accounts", "list"), ("--debug", "accounts", "list"), ("round", "check-balances"), ("serve",)):
        said = run(*words, at=tmp_path)
        last = said.err.splitlines()[-1]
        assert said.code == 3
        assert "127.0.0.1/escrow cannot be reached" in last
        assert "geheim" not in said.err + said.out
        assert ("Traceback" in said.err) == ("--debug" in words)


def test_a_database_server_that_refuses_the_password_is_said_without_it(tmp_path: Path, postgres_url: str) -> None:
    url = postgres_url.replace("postgres@", "nobody_we_know:geheim@")
    said = run("accounts", "list", at=tmp_path, env={"ESCROW_MONITOR_DATABASE__URL": url})
    assert "geheim" not in said.refusal(3, "nobody_we_know")


def test_a_database_that_vanished_is_never_replaced_by_an_empty_one(registered: Path, tmp_path: Path) -> None:
    folder = tmp_path / "house"
    shutil.copytree(registered, folder)
    (folder / "escrow.db").rename(tmp_path / "aside.db")
    questions = (
        ("accounts", "list"), ("alerts", "list"), ("feed",), ("audit", "verify"), ("statements", "coverage"),
        ("institutions", "list"), ("keys", "list"), ("round", "check-balances"),
    )
    for words in questions:
        here(*words, at=folder).refusal(3, "escrow.db", "db upgrade")
        assert not (folder / "escrow.db").exists()
    (tmp_path / "aside.db").rename(folder / "escrow.db")
    run("audit", "verify", at=folder).must(0)


def test_a_folder_that_vanished_is_said(tmp_path: Path) -> None:
    url = {"ESCROW_MONITOR_DATABASE__URL": "sqlite:///gone/away/escrow.db"}
    run("accounts", "list", at=tmp_path, env=url).refusal(3, "gone/away/escrow.db")
    assert not (tmp_path / "gone").exists()


def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "escrow.db").write_bytes(b"These are my holiday photographs.\n" * 500)
    before = (tmp_path / "escrow.db").read_bytes()
    run("accounts", "list", at=tmp_path).refusal(3, "escrow.db", "not a database")
    run("db", "upgrade", at=tmp_path).refusal(3, "escrow.db", "not a database")
    assert (tmp_path / "escrow.db").read_bytes() == before


@pytest.mark.slow
def test_a_database_that_another_program_holds_is_said_after_a_while(registered: Path, tmp_path: Path) -> None:
    folder = tmp_path / "house"
    shutil.copytree(registered, folder)
    (folder / "next.sta").write_text(chained(), encoding="utf-8")
    with closing(sqlite3.connect(folder / "escrow.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        run("statements", "load", "next.sta", at=folder).refusal(3, "escrow.db", "locked by another program")
        other.execute("ROLLBACK")
    run("statements", "load", "next.sta", at=folder).must(0)


IN_A_NAME_SPACE = ("unshare", "--map-root-user", "--mount")
"""Whatever is mounted below is seen by this one command only, and ends with it."""


def can_mount() -> bool:
    """Whether this machine lets us mount something of our own."""
    return shutil.which("unshare") is not None and not subprocess.run(
        [*IN_A_NAME_SPACE, "mount", "-t", "tmpfs", "none", "/mnt"], check=False, capture_output=True
    ).returncode


def test_a_folder_that_may_not_be_written_to_is_said(registered: Path, tmp_path: Path) -> None:
    folder = tmp_path / "house"
    shutil.copytree(registered, folder)
    (folder / "next.sta").write_text(chained().replace(":20:1", ":20:9"), encoding="utf-8")
    before = (folder / "escrow.db").read_bytes()
    prefix: Sequence[str] = ()
    if os.geteuid() == 0:  # permissions do not bind root: a read-only file system does
        if not can_mount():
            pytest.skip("root, on a machine that does not let us mount a read-only file system")
        script = f'mount --bind "{folder}" "{folder}" && mount -o remount,ro,bind "{folder}" && cd "{folder}" && "$@"'
        prefix = [*IN_A_NAME_SPACE, "sh", "-c", script, "sh"]
    else:
        (folder / "escrow.db").chmod(0o444)
        folder.chmod(0o555)
    try:
        run("statements", "load", "next.sta", at=folder, prefix=prefix).refusal(3, "escrow.db")
        new = {"ESCROW_MONITOR_DATABASE__URL": "sqlite:///new.db"}
        run("db", "upgrade", at=folder, prefix=prefix, env=new).refusal(3, "new.db", "cannot be made")
    finally:
        folder.chmod(0o755)
    assert (folder / "escrow.db").read_bytes() == before


# A full disk. Eight files of many entries are loaded where only some fit.

FILES, ENTRIES = 8, 400
ROOM_BYTES = 700_000
CONFIGURATION = '[folders.bank]\npath = "inbox"\nbank = "bank"\nregister_accounts = true\nsettle_seconds = 0\n'


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A current, empty database beside a folder of statement files."""
    folder = tmp_path_factory.mktemp("crowded")
    (folder / "inbox").mkdir()
    (folder / "escrow-monitor.toml").write_text(CONFIGURATION)
    for number in range(FILES):
        lines = "".join(
            f":61:2611201120C1,00NTRFNONREF//{number}-{line}\n:86:学费 {number} {line}\n" for line in range(ENTRIES)
        )
        (folder / "inbox" / f"{number}.sta").write_text(
            f":20:{number}\n:25:44030200{number}\n:28C:1/1\n:60F:C261119CNY0,00\n{lines}"
            f":62F:C261120CNY{ENTRIES},00\n-\n", encoding="utf-8",
        )
    run("db", "upgrade", at=folder).must(0)
    return folder


@pytest.fixture(params=["tmpfs", "file size limit"])
def full_disk(request: pytest.FixtureRequest, crowded: Path, tmp_path: Path) -> Iterator[Callable[..., Said]]:
    """Runs a command in a copy of the crowded folder, where the database has little room to grow."""
    folder = tmp_path / "house"
    shutil.copytree(crowded, folder)
    size = (folder / "escrow.db").stat().st_size + ROOM_BYTES
    if request.param == "tmpfs":
        url = {"ESCROW_MONITOR_DATABASE__URL": "sqlite:///disk/escrow.db"}
        # A file system of its own in a name space of its own: it ends with the command, so the database is copied out.
        script = (
            f"mkdir -p disk && mount -t tmpfs -o size={size} none disk && cp escrow.db* disk/ || exit 99; "
            '"$@"; code=$?; rm -f escrow.db*; cp disk/escrow.db* . ; exit $code'
        )
        prefix = [*IN_A_NAME_SPACE, "sh", "-c", script, "sh"]
        if not can_mount():
            pytest.skip("this machine does not let us mount a file system of our own")
        yield lambda *words: run(*words, at=folder, env=url, prefix=prefix)
    else:

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        yield lambda *words: run(*words, at=folder, preexec=limit)


def test_a_full_disk_is_said_and_keeps_whole_files_only(full_disk: Callable[..., Said], tmp_path: Path) -> None:
    folder = tmp_path / "house"
    said = full_disk("round", "load-statements", "--at", "2026-11-21T09:00:00+08:00")
    said.refusal(3, "escrow.db")
    assert any(words in said.err for words in ("no room left", "cannot be read or written")), said.err

    found = facts(folder / "escrow.db")
    kept = found["statements"]
    assert 0 < kept < FILES
    assert found["entries"] == kept * ENTRIES
    assert found["accounts"] == found["raw_documents"] == kept
    run("audit", "verify", at=folder).must(0)

    # With room again, the same round at the same scheduled time goes on to the end.
    run("round", "load-statements", "--at", "2026-11-21T09:00:00+08:00", at=folder).must(0)
    found = facts(folder / "escrow.db")
    assert (found["statements"], found["entries"]) == (FILES, FILES * ENTRIES)


def facts(path: Path) -> dict[str, int]:
    """How much of everything the database holds, asked of SQLite itself; the file must be sound."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        return {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("accounts", "statements", "entries", "readings", "account_days", "raw_documents")
        }
