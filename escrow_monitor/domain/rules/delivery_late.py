"""What is owed to a channel and does not go out is itself reported: an alert that nobody heard is none."""

from __future__ import annotations

from datetime import datetime, timedelta

from escrow_monitor.domain.findings import Finding, Level, Sentence, Standing

RULE = "delivery_late"
RED_AFTER_TIMES = 4


def examine_deliveries(
    *, channel: str, owed: int, owed_since: datetime | None, late_after: timedelta, now: datetime
) -> Finding:
    """Breached once the oldest delivery that should be out is owed for longer than `late_after`; red at four times."""
    is_late = owed_since is not None and now - owed_since > late_after
    is_red = owed_since is not None and now - owed_since > RED_AFTER_TIMES * late_after
    return Finding(
        rule=RULE, subject=f"channel:{channel}", as_of=now,
        standing=Standing.BREACHED if is_late else Standing.MET,
        level=None if not is_late else Level.RED if is_red else Level.ORANGE,
        sentence=_LATE if is_late else _IN_TIME,
        values={
            "channel": channel, "owed": owed, "owed_since": owed_since,
            "late_after_seconds": int(late_after.total_seconds()),
        },
    )


_LATE = Sentence(
    zh="通道 {channel} 有 {owed} 条预警未送达，最早一条自 {owed_since} 起待发；请检查该通道及守护进程",
    en="the channel {channel} is owed {owed} alerts, the oldest since {owed_since}; check the channel and the daemon",
)
_IN_TIME = Sentence(
    zh="通道 {channel} 没有迟发的预警",
    en="the channel {channel} is owed nothing that is late",
)
