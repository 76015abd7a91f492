"""A round that does not run when it must is itself reported: the watch over the watch."""

from __future__ import annotations

from datetime import datetime, timedelta

from escrow_monitor.domain.findings import Finding, Level, Sentence, Standing, Value, round_subject

RULE = "round_late"
SLACK_MAX = timedelta(hours=1)
"""A round is late once its next success is overdue by its own interval, and by no more than this."""
RED_AFTER_INTERVALS = 5


def examine_round(
    *, name: str, last_success_at: datetime | None, expected_every: timedelta, since: datetime, now: datetime
) -> Finding:
    """Hold the last success against the interval the schedule promises.

    `since` is when the round was first scheduled here: a round that never succeeded is late from then on.
    """
    counted_from = since if last_success_at is None else last_success_at
    late_at = counted_from + expected_every + min(expected_every, SLACK_MAX)
    values: dict[str, Value] = {
        "round": name, "last_success_at": last_success_at, "since": since,
        "expected_every_seconds": int(expected_every.total_seconds()), "late_at": late_at,
    }
    if now < late_at:
        return Finding(
            rule=RULE, subject=round_subject(name), standing=Standing.MET, sentence=_RUNS, as_of=now, values=values,
            recheck_at=late_at,
        )
    red_at = counted_from + RED_AFTER_INTERVALS * expected_every + SLACK_MAX
    return Finding(
        rule=RULE, subject=round_subject(name), standing=Standing.BREACHED, as_of=now, values=values,
        level=Level.RED if now >= red_at else Level.ORANGE,
        sentence=_NEVER if last_success_at is None else _LATE,
        recheck_at=red_at if now < red_at else None,
    )


_RUNS = Sentence(
    zh="任务 {round} 最近成功于 {last_success_at}，下一次应在 {late_at} 之前",
    en="the round {round} last succeeded at {last_success_at}; the next success is expected before {late_at}",
)
_LATE = Sentence(
    zh="任务 {round} 自 {last_success_at} 起未再成功（应每 {expected_every_seconds} 秒一次），其间的情况无人查看；"
    "请检查守护进程、数据库与银行连接",
    en="the round {round} has not succeeded since {last_success_at} (expected every {expected_every_seconds} s), so "
    "nobody has looked since; check the daemon, the database and the banks",
)
_NEVER = Sentence(
    zh="任务 {round} 自 {since} 排定以来从未成功（应每 {expected_every_seconds} 秒一次），情况无人查看；"
    "请检查守护进程、数据库与银行连接",
    en="the round {round} has never succeeded since it was scheduled at {since} (expected every "
    "{expected_every_seconds} s), so nobody is looking; check the daemon, the database and the banks",
)
