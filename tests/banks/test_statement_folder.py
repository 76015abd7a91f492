"""A folder of statement files: what is finished is received, what is not is left alone."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from escrow_monitor.banks.connectors.statement_folder import ReceivedFile, StatementFolder
from escrow_monitor.domain.statements import Refusal, RefusalReason

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)


def put(folder: Path, name: str, content: bytes = b"x", *, age_seconds: float = 60) -> Path:
    path = folder / name
    path.write_bytes(content)
    at = (NOW - timedelta(seconds=age_seconds)).timestamp()
    os.utime(path, (at, at))
    return path


def test_finished_files_are_received_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.sta", "a.xml", "工行.sta"):
        put(tmp_path, name, name.encode())
    received = list(StatementFolder(folder=tmp_path).received(NOW))
    assert received == [
        ReceivedFile(path=tmp_path / name, content=name.encode(), sha256=hashlib.sha256(name.encode()).hexdigest())
        for name in ("a.xml", "b.sta", "工行.sta")
    ]
    assert sorted(os.listdir(tmp_path)) == ["a.xml", "b.sta", "工行.sta"]


def test_unfinished_hidden_and_unwanted_files_are_left_alone(tmp_path: Path) -> None:
    for name in (".a.sta", "a.sta.part", "a.TMP", "a.filepart", "notes.txt"):
        put(tmp_path, name)
    put(tmp_path, "new.sta", age_seconds=1)
    (tmp_path / "folder.sta").mkdir()
    (tmp_path / "gone.sta").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.sta")
    watched = StatementFolder(folder=tmp_path, patterns=("*.sta", "*.xml"))
    assert list(watched.received(NOW)) == []
    assert len(list(watched.received(NOW + timedelta(seconds=2)))) == 1


def test_a_file_from_the_future_of_a_replayed_clock_is_received(tmp_path: Path) -> None:
    put(tmp_path, "a.sta", age_seconds=-86_400)
    assert len(list(StatementFolder(folder=tmp_path).received(NOW))) == 1


def test_a_file_too_large_is_refused_and_the_others_are_received(tmp_path: Path) -> None:
    put(tmp_path, "a.sta", b"x" * 101)
    put(tmp_path, "b.sta", b"x" * 100)
    first, second = StatementFolder(folder=tmp_path, size_max=100).received(NOW)
    assert isinstance(first, Refusal)
    assert (first.reason, first.where) == (RefusalReason.TOO_LARGE, str(tmp_path / "a.sta"))
    assert isinstance(second, ReceivedFile)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.sta").symlink_to(tmp_path / "a.sta")  # a circle; even root cannot read it
    (refusal,) = StatementFolder(folder=tmp_path).received(NOW)
    assert isinstance(refusal, Refusal)
    assert refusal.reason is RefusalReason.UNREACHABLE


def test_a_folder_that_is_not_there_is_a_refusal(tmp_path: Path) -> None:
    (refusal,) = StatementFolder(folder=tmp_path / "nowhere").received(NOW)
    assert isinstance(refusal, Refusal)
    assert refusal.reason is RefusalReason.UNREACHABLE
