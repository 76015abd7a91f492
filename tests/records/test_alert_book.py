"""The book of alerts on a database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from alerts.alert import Status
from alerts.testing import START, AlertBookSuite, clear_of, key_of, signal_of
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence import audit


class TestRecordsAlertBook(AlertBookSuite):
    """The suite that every book passes, here in one transaction a test."""

    @pytest.fixture
    def book(self, database: Database) -> Iterator[RecordsAlertBook]:
        with database.write() as session:
            yield RecordsAlertBook(session, channels=("log", "hook"))
            assert audit.verify(session).whole


def advance(database: Database, *words: object, minutes: int = 0, undo: bool = False) -> None:
    """Say words about alerts in a transaction of its own."""
    signals = [word for word in words if hasattr(word, "holds")]
    clears = [word for word in words if not hasattr(word, "holds")]
    with database.write() as session:
        RecordsAlertBook(session, channels=("log",)).advance(
            signals=signals, clears=clears, now=START + timedelta(minutes=minutes), cause="round:test",  # type: ignore[arg-type]
        )
        if undo:
            raise ZeroDivisionError


def test_what_is_rolled_back_used_up_no_number(database: Database) -> None:
    advance(database, signal_of(key_of("a")))
    with pytest.raises(ZeroDivisionError):
        advance(database, signal_of(key_of("b")), undo=True)
    advance(database, signal_of(key_of("c")))
    with database.read() as session:
        book = RecordsAlertBook(session)
        assert [entry.seq for entry in book.entries(after=0, limit=10)] == [1, 2]
        assert [entry.key.subject for entry in book.entries(after=0, limit=10)] == ["a", "c"]
        assert book.head() == audit.head(session).seq == 2
        assert audit.verify(session).whole


def test_alerts_are_found_by_their_labels_and_keys(database: Database) -> None:
    labels = {"bank": "northbank", "district": "510300", "account_no": "a", "uscc": "u"}
    advance(database, signal_of(key_of("a"), labels=labels), signal_of(key_of("b"), labels={"bank": "southbank"}))
    advance(database, clear_of(key_of("b"), at=START + timedelta(minutes=1)), minutes=1)
    advance(database, signal_of(key_of("c"), open_after=timedelta(days=1)), minutes=2)
    with database.read() as session:
        book = RecordsAlertBook(session)
        [alert] = book.open_alerts()
        assert alert.key == key_of("a")
        assert book.open_alerts(bank="northbank", district="510300", account_no="a", uscc="u") == [alert]
        assert book.open_alerts(bank="southbank") == []
        assert book.alert(alert.alert_id) == alert
        assert book.alert("nothing") is None
        assert book.open_keys() == {key_of("a"), key_of("c")}
        assert book.open_keys(subjects=["a", "b"]) == {key_of("a")}
        assert book.open_keys(rules=["freshness"]) == set()
        resolved = book.entries(after=2, limit=1)[0]
        assert [entry.transition for entry in book.history(resolved.alert_id)] == ["opened", "resolved"]
        ended = book.alert(resolved.alert_id)
        assert ended is not None
        assert ended.status is Status.RESOLVED


def test_the_feed_is_read_from_its_newest_end_too(database: Database) -> None:
    advance(database, *(signal_of(key_of(str(number))) for number in range(5)))
    with database.read() as session:
        book = RecordsAlertBook(session)
        assert [entry.seq for entry in book.newest(limit=2)] == [5, 4]
        assert [entry.seq for entry in book.newest(before=4, limit=10)] == [3, 2, 1]
        entry = book.entry(3)
        assert entry is not None
        assert entry.seq == 3
        assert book.entry(6) is None
