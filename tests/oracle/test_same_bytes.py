"""Same input, same bytes: whatever the order of rows, the hash seed, the time zone and the locale."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import same_bytes

HERE = Path(__file__).parent


@pytest.mark.parametrize("seed", [1, 7])
def test_the_order_of_rows_changes_nothing(seed: int) -> None:
    assert same_bytes.digest(seed) == same_bytes.digest(0)


@pytest.mark.parametrize(
    ("hash_seed", "zone", "language"),
    [
        ("0", "Asia/Shanghai", "C.UTF-8"), ("4242", "America/Los_Angeles", "C"),
        ("7", "Pacific/Kiritimati", "tr_TR.UTF-8"),
    ],
)
def test_neither_hash_seed_nor_zone_nor_locale_changes_a_byte(hash_seed: str, zone: str, language: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "TZ": zone, "LC_ALL": language}
    path = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    answer = subprocess.run(
        [sys.executable, str(HERE / "same_bytes.py"), "3"], env={**environment, "PYTHONPATH": path},
        capture_output=True, text=True, check=True, timeout=120,
    )
    assert answer.stdout.strip() == same_bytes.digest(0)
