"""A channel that does not take what is owed to it is itself reported: an alert that nobody heard is none."""

from __future__ import annotations

from datetime import datetime, timedelta

from escrow_monitor.domain.findings import Finding, Level, Sentence, Standing

RULE = "delivery_late"
RED_AFTER_TIMES = 4
SUBJECT_PREFIX = "channel:"


def examine_deliveries(
    *, channel: str, owed: int, owed_since: datetime | None, late_after: timedelta, now: datetime, given_up: int = 0,
    given_up_since: datetime | None = None,
) -> Finding:
    """Breached once the oldest delivery that should be out is owed for longer than `late_after`; red at four times.

    And at once when deliveries were given up (`given_up`) and the channel has taken nothing newer since: whoever
    refuses for good is owed nothing any more, and would never be late.
    """
    is_late = owed_since is not None and now - owed_since > late_after
    since = min(at for at in (owed_since, given_up_since, now) if at is not None)
    is_wrong = is_late or given_up > 0
    is_red = is_wrong and now - since > RED_AFTER_TIMES * late_after
    return Finding(
        rule=RULE, subject=f"{SUBJECT_PREFIX}{channel}", as_of=now,
        standing=Standing.BREACHED if is_wrong else Standing.MET,
        level=None if not is_wrong else Level.RED if is_red else Level.ORANGE,
        sentence=_LATE if is_late else _GIVEN_UP if given_up else _IN_TIME,
        values={
            "channel": channel, "owed": owed, "owed_since": owed_since, "given_up": given_up,
            "given_up_since": given_up_since, "late_after_seconds": int(late_after.total_seconds()),
        },
    )


def examine_removed(channel: str, *, now: datetime) -> Finding:
    """A channel that is not configured any more, about which an alert is open: there is nothing to be late."""
    return Finding(
        rule=RULE, subject=f"{SUBJECT_PREFIX}{channel}", as_of=now, standing=Standing.MET, level=None,
        sentence=_REMOVED, values={"channel": channel},
    )


_LATE = Sentence(
    zh="通道 {channel} 有 {owed} 条预警未送达，最早一条自 {owed_since} 起待发；请检查该通道及守护进程",
    en="the channel {channel} is owed {owed} alerts, the oldest since {owed_since}; check the channel and the daemon",
)
_GIVEN_UP = Sentence(
    zh="通道 {channel} 拒收，已有 {given_up} 条预警放弃发送，最早一条于 {given_up_since}；请修复该通道后重发",
    en="the channel {channel} refuses for good: {given_up} alerts were given up, the first at {given_up_since}; "
    "mend it and send them again",
)
_IN_TIME = Sentence(
    zh="通道 {channel} 没有迟发的预警",
    en="the channel {channel} is owed nothing that is late",
)
_REMOVED = Sentence(
    zh="通道 {channel} 已不在配置中",
    en="the channel {channel} is not configured any more",
)
