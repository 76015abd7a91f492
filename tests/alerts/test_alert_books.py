"""The book in memory passes the suite that every book must pass."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from alerts.alert import Why
from alerts.book import MemoryAlertBook
from alerts.testing import START, AlertBookSuite, clear_of, key_of, signal_of


class TestMemoryAlertBook(AlertBookSuite):
    @pytest.fixture
    def book(self) -> MemoryAlertBook:
        return MemoryAlertBook()


def test_every_entry_is_owed_to_every_channel_from_the_moment_it_is_published() -> None:
    book = MemoryAlertBook(channels=["log", "district-webhook"])
    book.advance(signals=[signal_of()], clears=[], now=START, cause="check")
    assert [(d.delivery_id, d.channel, d.attempts, d.due_at) for d in book.owed] == [
        ("evt_1_log", "log", 0, START),
        ("evt_1_district-webhook", "district-webhook", 0, START),
    ]


def test_nothing_is_kept_when_anything_fails() -> None:
    book = MemoryAlertBook(channels=["no.dots.allowed"])
    with pytest.raises(ValueError, match="a channel is named"):
        book.advance(signals=[signal_of()], clears=[], now=START, cause="check")
    assert (book.head(), book.alerts, book.owed, book.entries(after=0, limit=9)) == (0, {}, [], [])


def test_the_chain_depends_on_everything_before_and_on_the_sentence() -> None:
    def heads(*sentences: str, cause: str = "check") -> list[str]:
        book = MemoryAlertBook()
        for hour, sentence in enumerate(sentences):
            signal = signal_of(key_of(str(hour)))
            book.advance(
                signals=[type(signal)(**{**_fields(signal), "why": Why(sentence, sentence)})],
                clears=[],
                now=START + timedelta(hours=hour),
                cause=cause,
            )
        return [entry.audit_head for entry in book.entries(after=0, limit=9)]

    assert heads("a", "b") == heads("a", "b")
    assert heads("a", "b")[0] == heads("a", "c")[0]
    assert heads("a", "b")[1] != heads("a", "c")[1]
    assert heads("a", "b")[1] != heads("x", "b")[1]
    assert heads("a")[0] != heads("a", cause="person")[0]


def _fields(value: object) -> dict[str, object]:
    return {name: getattr(value, name) for name in type(value).__dataclass_fields__}  # type: ignore[attr-defined]


def test_many_threads_get_dense_numbers() -> None:
    book = MemoryAlertBook()

    def work(worker: int) -> None:
        for step in range(50):
            key = key_of(f"{worker}-{step}")
            book.advance(signals=[signal_of(key)], clears=[], now=START, cause="check")
            book.advance(signals=[], clears=[clear_of(key)], now=START, cause="check")

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.seq for entry in book.entries(after=0, limit=1000)] == list(range(1, 401))
    assert book.open_alerts() == []


def test_pages_before_the_beginning_are_the_first_page() -> None:
    book = MemoryAlertBook()
    book.advance(signals=[signal_of()], clears=[], now=START, cause="check")
    assert [entry.seq for entry in book.entries(after=-5, limit=5)] == [1]
    assert book.entries(after=0, limit=-1) == []
