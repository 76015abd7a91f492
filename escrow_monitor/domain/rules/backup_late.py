"""A backup that was not made is itself reported: it is missed only on the day when it is needed."""

from __future__ import annotations

from datetime import datetime, timedelta

from escrow_monitor.domain.findings import Finding, Level, Sentence, Standing

RULE = "backup_late"


def examine_backup(
    *, folder: str, newest_at: datetime | None, late_after: timedelta, now: datetime
) -> Finding:
    """Breached while the newest file of the folder is older than `late_after`, or there is none."""
    is_late = newest_at is None or now - newest_at > late_after
    return Finding(
        rule=RULE, subject="backup:database", as_of=now,
        standing=Standing.BREACHED if is_late else Standing.MET, level=Level.ORANGE if is_late else None,
        sentence=_NONE if newest_at is None else _LATE if is_late else _MADE,
        values={"folder": folder, "newest_at": newest_at, "late_after_seconds": int(late_after.total_seconds())},
    )


_LATE = Sentence(
    zh="最近一次备份是 {newest_at}（{folder}），已超过 {late_after_seconds} 秒；请检查备份任务",
    en="the newest backup in {folder} is of {newest_at}, more than {late_after_seconds} s ago; check what makes it",
)
_NONE = Sentence(
    zh="{folder} 中没有任何备份；请检查备份任务",
    en="there is no backup in {folder}; check what makes it",
)
_MADE = Sentence(zh="最近一次备份是 {newest_at}", en="the newest backup is of {newest_at}")
