"""The identity of an alert, and the order of the colours."""

from __future__ import annotations

from alerts.alert import AlertKey, Severity, alert_id_of


def test_the_colours_are_ordered_by_how_bad_they_are() -> None:
    assert sorted(Severity, key=lambda severity: severity.rank) == ["info", "yellow", "orange", "red"]


def test_an_id_depends_on_every_part_of_the_key_and_on_where_the_parts_end() -> None:
    keys = [AlertKey("a", "b", "c"), AlertKey("ab", "", "c"), AlertKey("a", "bc", ""), AlertKey("a", "b", "d")]
    assert len({alert_id_of(key) for key in keys}) == 4
    assert alert_id_of(AlertKey("a", "b", "c")) == alert_id_of(AlertKey("a", "b", "c"))
    assert all(len(alert_id_of(key)) == 20 for key in keys)


def test_a_key_reads_as_a_path() -> None:
    assert str(AlertKey("floor", "62170001", "2026-03")) == "floor/62170001/2026-03"
