"""An invented feed entry, by which a channel can be looked at before there is a real one."""

from __future__ import annotations

from datetime import datetime

from alerts.alert import AlertKey, FeedEntry, Reason, Severity, TransitionKind, Why, alert_id_of


def example_entry(now: datetime) -> FeedEntry:
    """An account below its floor; nothing in it exists."""
    key = AlertKey("floor", "EXAMPLE-0001", f"{now:%Y-%m}")
    return FeedEntry(
        seq=1,
        alert_id=alert_id_of(key),
        transition=TransitionKind.OPENED,
        reason=Reason.CONDITION_SEEN,
        key=key,
        severity=Severity.RED,
        standing="breached",
        why=Why(
            zh="（示例）余额 99.00 元，低于底线 100.00 元，差 1.00 元",
            en="(example) holds 99.00 CNY, the floor is 100.00 CNY, 1.00 CNY are missing",
        ),
        figures={"balance_minor_units": 99_00, "floor_minor_units": 100_00, "currency": "CNY"},
        labels={"account_no": "EXAMPLE-0001", "bank": "example", "name": "示例培训学校", "district": "000000"},
        as_of=now,
        recorded_at=now,
        opened_at=now,
        audit_seq=1,
        audit_head="0" * 64,
    )
