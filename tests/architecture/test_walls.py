"""The walls between rooms, held by a machine."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (ROOT / "escrow_monitor", ROOT / "alerts")


def sources(*folders: Path) -> list[Path]:
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_import_contracts_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0


def test_no_module_imports_itself_by_a_detour() -> None:
    """Imports inside functions count, and so does a package that imports the file that imports it.

    The contract sees circles among siblings only.
    """
    graph = grimp.build_graph("escrow_monitor", "alerts", cache_dir=None)
    # Raises a CycleError that names the circle.
    TopologicalSorter({name: graph.find_modules_directly_imported_by(name) for name in graph.modules}).prepare()


def test_float_does_not_occur_in_the_domain() -> None:
    """But where it says how likely something is: chances are no amounts, and what comes in is whole fen."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources(ROOT / "escrow_monitor" / "domain")
        if path.parent.name != "closure" and path.name != "closure_watch.py"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if (isinstance(node, ast.Name) and node.id == "float")
        or (isinstance(node, ast.Constant) and isinstance(node.value, float))
    ]
    assert found == []


def test_every_module_opens_with_one_sentence_that_says_what_lives_there() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in sources(*PACKAGES)
        if "versions" not in path.parts and not (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").strip()
    ]
    assert silent == []


def test_only_the_clock_reads_the_clock() -> None:
    reading = re.compile(r"datetime\.now\(|date\.today\(|time\.time\(|utcnow\(")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sources(*PACKAGES)
        if path.name != "clock.py"
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if reading.search(line)
    ]
    assert found == []


def test_the_top_level_is_as_given() -> None:
    allowed = {"escrow_monitor", "alerts", "deploy", "tests", "pyproject.toml", "README.md"}
    listed = {line.split("/")[0] for line in _tracked()}
    assert {name for name in listed if not name.startswith(".")} <= allowed


def test_no_lock_file_is_tracked() -> None:
    locks = re.compile(r"(^|/)(uv\.lock|pylock.*\.toml|poetry\.lock|pdm\.lock)$")
    assert [line for line in _tracked() if locks.search(line)] == []


def test_every_suppression_names_its_code_and_its_reason() -> None:
    bare = re.compile(r"#\s*(noqa(?!: ?[A-Z]+[0-9]+)|type:\s*ignore(?!\[))")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sources(*PACKAGES)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if bare.search(line)
    ]
    assert found == []


def _tracked() -> list[str]:
    import subprocess

    try:
        answer = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return answer.stdout.splitlines()
