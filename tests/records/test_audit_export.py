"""An export of the audit chain: damaged in any way, both verifiers name the damage, and by the same name."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence import audit, seals
from escrow_monitor.records.evidence.chain import ALGORITHMS, canonical_entry, head_after
from escrow_monitor.records.evidence.export import Exported, export_lines, verify_export
from escrow_monitor.records.evidence.seal_keys import SealKey, new_key, read_key

SCRIPT = Path(__file__).parents[2] / "deploy" / "verify_audit.py"
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
DAY = date(2026, 11, 21)
KEY, OTHER = (read_key(new_key(), what="test") for _ in range(2))
DAYS, A_DAY = 4, 5

Lines = list[dict[str, object]]


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verify_audit", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


verify_audit = load_script()


def written(database: Database, key: SealKey | None = KEY) -> bytes:
    with database.read() as session:
        lines = export_lines(session, key, now=NOW, exported=Exported())
        return "".join(f"{line}\n" for line in lines).encode()


def fill(database: Database, *, seed: str, key: SealKey | None = KEY, algorithm: str = "sha256") -> bytes:
    """Four days of five entries, each day sealed, then two entries that are not; exported."""
    for day in range(DAYS + 1):
        with database.write() as session:
            for number in range(A_DAY if day < DAYS else 2):
                payload = {"seed": seed, "day": day, "n": number, "名": "值"}
                audit.append(session, kind="test.entry", actor="admin", payload=payload, now=NOW)
            if day == 0:
                audit.use_algorithm(session, algorithm, now=NOW)
            if key is not None and day < DAYS:
                at = NOW + timedelta(days=day)
                seals.put_seal(session, key, day=DAY + timedelta(days=day), actor="round:seal-audit", now=at)
    return written(database, key)


def ours(content: bytes, **expected: object) -> tuple[str | None, int | None]:
    verdict = verify_export(lambda: io.BytesIO(content), **expected)  # type: ignore[arg-type]
    assert (verdict.fault is None) == (verdict.detail == "")
    return verdict.fault and verdict.fault.value, verdict.at_seq


def theirs(content: bytes, **expected: object) -> tuple[str | None, int | None]:
    verifier = verify_audit.Verifier(io.BytesIO(content), **expected)
    try:
        verifier.verify()
    except verify_audit.Fault as fault:
        name, at, detail = fault.args
        assert detail
        return name, at
    return None, None


def found(content: bytes, **expected: object) -> tuple[str | None, int | None]:
    """What both verifiers say: the same."""
    first, second = ours(content, **expected), theirs(content, **expected)
    assert first == second
    return first


class Worlds(dict[str, bytes]):
    """Exports by name. They are long, so a failure does not print them."""

    def __repr__(self) -> str:
        return f"Worlds({', '.join(self)})"


@pytest.fixture(scope="module")
def worlds(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Worlds:
    """Exports of four histories: ours, another one under the same key, one in SM3, one that nobody sealed."""
    made = Worlds()
    kinds: dict[str, tuple[SealKey | None, str]] = {
        "ours": (KEY, "sha256"), "another": (KEY, "sha256"), "sm3": (KEY, "sm3"), "unsealed": (None, "sha256"),
    }
    for name, (key, algorithm) in kinds.items():
        path = tmp_path_factory.mktemp(name) / "chain.db"
        path.write_bytes(sqlite_template.read_bytes())
        database = Database(f"sqlite:///{path}")
        made[name] = fill(database, seed=name, key=key, algorithm=algorithm)
        database.close()
    return made


def parsed(content: bytes) -> Lines:
    return [json.loads(line) for line in content.splitlines()]


def joined(lines: Sequence[object]) -> bytes:
    return "".join(f"{json.dumps(line)}\n" for line in lines).encode()


def test_an_export_that_nobody_touched_is_whole_for_both(database: Database) -> None:
    content = fill(database, seed="x")
    assert found(content) == (None, None)
    assert found(content, expected_key=KEY.key_id) == (None, None)
    assert found(content, expected_key=OTHER.key_id)[0] == "re_keyed"
    with database.read() as session:
        witnesses = {seq: head for seq, (_, head, _) in enumerate(audit.lines(session), 1)}
    assert found(content, witnesses=witnesses) == (None, None)
    assert found(content, witnesses={3: "0" * 64}) == ("rewritten", 3)
    assert found(content, witnesses={99: "0" * 64})[0] == "tail_cut"


def test_an_empty_chain_makes_an_export_that_is_whole(database: Database) -> None:
    assert found(written(database, None)) == (None, None)


def test_every_world_is_whole(worlds: Worlds) -> None:
    assert {name: found(content) for name, content in worlds.items()} == dict.fromkeys(worlds, (None, None))


def test_a_key_that_handed_over_is_followed_in_an_export(database: Database) -> None:
    fill(database, seed="x")
    with database.write() as session:
        seals.take_key(session, OTHER, before=KEY, actor="admin", now=NOW)
        seals.put_seal(session, OTHER, day=DAY, actor="round:seal-audit", now=NOW)
    assert found(written(database, OTHER), expected_key=KEY.key_id) == (None, None)
    assert found(written(database, KEY))[0] == "re_keyed"
    assert found(written(database, None))[0] == "end_edited"


# Damage: each takes the lines and a source of chance and gives what it made, with the name that it must be given.

Damage = Callable[[Lines, random.Random], tuple[object, str]]


def places(lines: Lines, part: str) -> list[int]:
    return [place for place, line in enumerate(lines) if part in line]


def other_character(text: str, chance: random.Random) -> str:
    place = chance.randrange(len(text))
    return text[:place] + chance.choice([c for c in "0123456789abcdef" if c != text[place].lower()]) + text[place + 1 :]


def edit_text(lines: Lines, chance: random.Random) -> tuple[object, str]:
    line = lines[chance.choice(places(lines, "entry"))]
    line["entry"] = other_character(str(line["entry"]), chance)
    return lines, "edited"


def edit_head(lines: Lines, chance: random.Random) -> tuple[object, str]:
    line = lines[chance.choice(places(lines, "entry"))]
    line["head"] = other_character(str(line["head"]), chance)
    return lines, "edited"


def edit_algorithm(lines: Lines, chance: random.Random) -> tuple[object, str]:
    line = lines[chance.choice(places(lines, "entry"))]
    line["algorithm"] = chance.choice([name for name in (*ALGORITHMS, "md5", "") if name != line["algorithm"]])
    return lines, "edited"


def drop_entry(lines: Lines, chance: random.Random) -> tuple[object, str]:
    del lines[chance.choice(places(lines, "entry")[:-1])]
    return lines, "missing"


def cut_tail(lines: Lines, chance: random.Random) -> tuple[object, str]:
    entries = places(lines, "entry")
    first = chance.choice(entries)
    return [*lines[:first], lines[-1]], "tail_cut"


def cut_file(lines: Lines, chance: random.Random) -> tuple[object, str]:
    content = joined(lines)
    return content[: chance.randrange(len(content) - 1)], "tail_cut"


def swap_entries(lines: Lines, chance: random.Random) -> tuple[object, str]:
    one, two = chance.sample(places(lines, "entry"), 2)
    lines[one], lines[two] = lines[two], lines[one]
    return lines, "reordered"


def repeat_entry(lines: Lines, chance: random.Random) -> tuple[object, str]:
    place = chance.choice(places(lines, "entry"))
    later = chance.randrange(place + 1, len(lines))
    lines.insert(later, lines[place])
    return lines, "repeated"


def drop_seal(lines: Lines, chance: random.Random) -> tuple[object, str]:
    del lines[chance.choice(places(lines, "seal"))]
    return lines, "seal_missing"


def edit_seal(lines: Lines, chance: random.Random) -> tuple[object, str]:
    line = lines[chance.choice(places(lines, "seal"))]
    name = chance.choice(["seal", "signature"])
    line[name] = other_character(str(line[name]), chance)
    return lines, "seal_edited"


def swap_seals(lines: Lines, chance: random.Random) -> tuple[object, str]:
    one, two = chance.sample(places(lines, "seal"), 2)
    lines[one], lines[two] = lines[two], lines[one]
    return lines, "seal_reordered"


def repeat_seal(lines: Lines, chance: random.Random) -> tuple[object, str]:
    place = chance.choice(places(lines, "seal"))
    lines.insert(place, lines[place])
    return lines, "seal_reordered"


def sign_seal_again(lines: Lines, chance: random.Random) -> tuple[object, str]:
    """One seal is signed anew, with the thief's own key."""
    line = lines[chance.choice(places(lines, "seal"))]
    said = json.loads(str(line["seal"]))
    said |= {"key_id": OTHER.key_id, "public_key": OTHER.public_key}
    line["seal"] = json.dumps(said)
    line["signature"] = OTHER.sign(str(line["seal"]))
    return lines, "re_keyed"


def sign_end_again(lines: Lines, chance: random.Random) -> tuple[object, str]:
    end = lines[-1]
    said = json.loads(str(end["end"])) | {"key_id": OTHER.key_id, "public_key": OTHER.public_key}
    end["end"] = json.dumps(said)
    end["signature"] = OTHER.sign(str(end["end"]))
    return lines, "re_keyed"


def edit_end(lines: Lines, chance: random.Random) -> tuple[object, str]:
    name = chance.choice(["end", "signature"])
    lines[-1][name] = chance.choice([None, other_character(str(lines[-1][name]), chance)])
    if lines[-1]["end"] is None:
        return lines, "unreadable"
    return lines, "end_edited"


def scribble(lines: Lines, chance: random.Random) -> tuple[object, str]:
    content = joined(lines).splitlines(keepends=True)
    place = chance.randrange(len(content))
    strange = chance.choice([b"\n", b"[]\n", b"{}\n", b'{"entry": 1}\n', b"\xff\xfe\n", b"null\n", b"{\n"])
    content[place] = strange
    return b"".join(content), "unreadable"


def append_entry(lines: Lines, chance: random.Random) -> tuple[object, str]:
    """Anybody can write one more entry that follows: nobody signed it."""
    last = lines[places(lines, "entry")[-1]]
    seq = json.loads(str(last["entry"]))["seq"] + 1
    head, algorithm = str(last["head"]), str(last["algorithm"])
    text = canonical_entry(seq=seq, prev=head, at=NOW, kind="x", actor="y", payload={"n": chance.randrange(9)})
    entry = {"entry": text.decode(), "head": head_after(head, text, algorithm), "algorithm": algorithm}
    lines.insert(-1, entry)
    return lines, "appended"


def rewrite(lines: Lines, chance: random.Random) -> tuple[object, str]:
    """From an entry on every hash is made right: only what was signed does not fit."""
    entries = places(lines, "entry")
    first = chance.choice(entries)
    head = str(lines[first - 1]["head"]) if first != entries[0] else "0" * 64
    for place in entries[entries.index(first) :]:
        line = lines[place]
        said = json.loads(str(line["entry"])) | {"prev": head}
        if place == first:
            said["at"] = "2026-01-01T00:00:00.000000+00:00"
        text = json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        head = head_after(head, text.encode(), str(line["algorithm"]))
        line |= {"entry": text, "head": head}
    return lines, "rewritten"


ANY_DAMAGE: tuple[Damage, ...] = (
    edit_text, edit_head, edit_algorithm, drop_entry, cut_tail, cut_file, swap_entries, repeat_entry, drop_seal,
    edit_seal, swap_seals, repeat_seal, sign_seal_again, sign_end_again, edit_end, scribble, append_entry, rewrite,
)


def damaged_and_named(content: bytes, damage: Damage, seed: int) -> None:
    made, name = damage(parsed(content), random.Random(seed))
    after = made if isinstance(made, bytes) else joined(made)  # type: ignore[arg-type]
    if after != content:
        assert found(after)[0] == name


@pytest.mark.parametrize("damage", ANY_DAMAGE, ids=lambda damage: damage.__name__)
def test_each_damage_is_found_and_has_its_name(worlds: Worlds, damage: Damage) -> None:
    for seed in (1, 2):
        damaged_and_named(worlds["ours"], damage, seed)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ANY_DAMAGE, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("world", ["ours", "sm3"])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage_is_found_and_has_its_name(
    worlds: Worlds, world: str, damage: Damage, seed: int
) -> None:
    damaged_and_named(worlds[world], damage, seed)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_part_of_another_history_is_named_where_it_begins(worlds: Worlds, seed: int) -> None:
    lines, other = parsed(worlds["ours"]), parsed(worlds["another"])
    chance = random.Random(seed)
    entries = places(lines, "entry")
    first, last = sorted(chance.sample(entries[1:], 2))
    lines[first : last + 1] = other[first : last + 1]
    assert found(joined(lines)) == ("spliced", entries.index(first) + 1)


def test_a_seal_of_another_history_is_named(worlds: Worlds) -> None:
    lines, other = parsed(worlds["ours"]), parsed(worlds["another"])
    lines[3] = other[3]
    assert found(joined(lines)) == ("seal_spliced", 3)
    lines = parsed(worlds["ours"])
    lines[1] = other[1]
    assert found(joined(lines))[0] == "rewritten"


@pytest.mark.slow
@given(seed=st.integers(0, 2**32), count=st.integers(1, 6))
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bytes_changed_anywhere_never_pass_and_never_break_a_verifier(
    worlds: Worlds, seed: int, count: int
) -> None:
    chance = random.Random(seed)
    content = bytearray(worlds["ours"])
    for _ in range(count):
        content[chance.randrange(len(content))] = chance.randrange(256)
    name, _ = found(bytes(content))
    if name is None:
        # What was changed may mean the same, e.g. a space in place of another or a name that nobody reads.
        assert [said_of(line) for line in parsed(bytes(content))] == [said_of(line) for line in parsed(worlds["ours"])]


def said_of(line: dict[str, object]) -> dict[str, object]:
    return {name: line.get(name) for name in ("seal", "entry", "end", "head", "algorithm", "signature")}


def test_of_two_damages_the_one_that_comes_first_in_the_file_is_named(worlds: Worlds) -> None:
    lines = parsed(worlds["ours"])
    lines[1]["signature"] = "0" * 128
    content = joined(lines).splitlines(keepends=True)
    content[3] = b"{\n"
    assert found(b"".join(content)) == ("seal_edited", 1)


def test_an_unsealed_chain_is_whole_but_says_so(worlds: Worlds, tmp_path: Path) -> None:
    file = tmp_path / "export.jsonl"
    file.write_bytes(worlds["unsealed"])
    done = run_script(str(file))
    assert (done.returncode, "not sealed" in done.stdout) == (0, True)


# The script as an auditor runs it, and its own arithmetic.


def run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    """With nothing installed: isolated from our packages and from the environment."""
    return subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), *arguments], capture_output=True, text=True, check=False
    )


def test_an_auditor_runs_the_script_with_nothing_installed(worlds: Worlds, tmp_path: Path) -> None:
    file = tmp_path / "export.jsonl"
    file.write_bytes(worlds["ours"])
    done = run_script(str(file), "--key", KEY.key_id)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"key  {KEY.key_id}" in done.stdout
    said = json.loads(run_script(str(file), "--json", "--witness", f"2:{'0' * 64}").stdout)
    assert (said["fault"], said["at_seq"], said["whole"]) == ("rewritten", 2, False)
    assert run_script(str(file), "--key", OTHER.key_id).returncode == 1
    assert run_script(str(tmp_path / "nowhere")).returncode == 2
    assert run_script(str(file), "--witness", "2:short").returncode == 2




RFC_8032 = (
    # (public key, message, signature) of section 7.1, tests 1, 2, 3 and SHA(abc)
    ("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
    ("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
    ("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"),
    ("ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
     "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704"),
)


@pytest.mark.parametrize(("public_key", "message", "signature"), RFC_8032)
def test_the_scripts_signatures_are_those_of_rfc_8032(public_key: str, message: str, signature: str) -> None:
    key, said, signed = map(bytes.fromhex, (public_key, message, signature))
    assert verify_audit.is_signed(key, said, signed)
    assert not verify_audit.is_signed(key, said + b"!", signed)
    for place in range(0, 64, 7):
        assert not verify_audit.is_signed(key, said, signed[:place] + bytes([signed[place] ^ 1]) + signed[place + 1 :])
    # The same signature with the order added to its second half is refused: RFC 8032, 5.1.7.
    more = (int.from_bytes(signed[32:], "little") + verify_audit.ORDER).to_bytes(32, "little")
    assert not verify_audit.is_signed(key, said, signed[:32] + more)


@given(message=st.binary(max_size=300))
@settings(max_examples=40, deadline=None)
def test_the_scripts_signatures_are_those_of_the_library(message: bytes) -> None:
    public_key, signature = bytes.fromhex(KEY.public_key), KEY.private.sign(message)
    assert verify_audit.is_signed(public_key, message, signature)
    assert not verify_audit.is_signed(bytes.fromhex(OTHER.public_key), message, signature)


def test_the_scripts_sm3_is_that_of_the_standard() -> None:
    """GB/T 32905-2016, appendix A."""
    examples = {
        b"abc": "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0",
        b"abcd" * 16: "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732",
    }
    assert {content: verify_audit.sm3(content).hex() for content in examples} == examples


@given(content=st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_the_scripts_sm3_is_that_of_openssl(content: bytes) -> None:
    assert verify_audit.sm3(content) == hashlib.new("sm3", content).digest()


def test_the_script_uses_nothing_but_the_standard_library_and_old_grammar() -> None:
    import ast

    tree = ast.parse(SCRIPT.read_text("utf-8"), feature_version=(3, 8))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported <= sys.stdlib_module_names
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(tree))
