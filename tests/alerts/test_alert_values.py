"""The identity of an alert, and the order of the colours."""

from __future__ import annotations

import pytest

from alerts.alert import AlertKey, Severity, alert_id_of


def test_the_colours_are_ordered_by_how_bad_they_are() -> None:
    assert sorted(Severity, key=lambda severity: severity.rank) == ["info", "yellow", "orange", "red"]


def test_an_id_depends_on_every_part_of_the_key_and_on_where_the_parts_end() -> None:
    keys = [AlertKey("a", "b", "c"), AlertKey("ab", "", "c"), AlertKey("a", "bc", ""), AlertKey("a", "b", "d")]
    assert len({alert_id_of(key) for key in keys}) == 4
    assert alert_id_of(AlertKey("a", "b", "c")) == alert_id_of(AlertKey("a", "b", "c"))
    assert all(len(alert_id_of(key)) == 20 for key in keys)


@pytest.mark.parametrize(("key", "alert_id"), [
    (AlertKey("floor", "account:6222021200019876543", "continuous"), "7ea2370ee965a0272a5c"),
    (AlertKey("large_outflow", "account:6222021200019876543", "2026-11-20"), "78db54b0354155341ce8"),
    (AlertKey("outflow_cap", "account:6222021200019876543", "2026-11"), "910c46ed1e4a5e94aa00"),
    (AlertKey("round_late", "round:check-balances", "continuous"), "30a4197a775bbc76dc73"),
    (AlertKey("", "", ""), "b8c9e440ead3ddaccf7c"),
    (AlertKey("底线", "账户:甲", "三月"), "10fb94a3c037326763b7"),
])
def test_an_id_is_for_ever(key: AlertKey, alert_id: str) -> None:
    """Readers keep these ids: another algorithm would make every alert a new one to them."""
    assert alert_id_of(key) == alert_id


def test_a_key_reads_as_a_path() -> None:
    assert str(AlertKey("floor", "62170001", "2026-03")) == "floor/62170001/2026-03"
