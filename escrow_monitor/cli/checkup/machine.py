"""This machine and its configuration: versions, files, secrets, zones, policies, folders, disk."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import stat
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from pydantic import BaseModel

from escrow_monitor.banks.secrets import given_secrets, secret_files
from escrow_monitor.cli.checkup.check import Area, Check, Look
from escrow_monitor.domain.calendar import CalendarUnknown, WorkingCalendar
from escrow_monitor.domain.rules.calendar_ends import examine_calendar
from escrow_monitor.settings import CONFIG_NAME, Settings
from escrow_monitor.settings.section import zone_of
from escrow_monitor.wiring import calendars_of

DISK_WARN_BYTES = 1024**3
DISK_BAD_BYTES = 100 * 1024**2
YEARS_TRIED = 10


def program(look: Look) -> Iterator[Check]:
    """Which program this is."""
    version = importlib.metadata.version("escrow-monitor")
    yield look.ok("program", f"escrow-monitor {version}, Python {platform.python_version()}")


def configuration(look: Look) -> Iterator[Check]:
    """Which file is in force, and whether its secrets are kept."""
    file = config_file(look)
    if file is None:
        yield look.warn(
            "configuration", Area.CONFIGURATION,
            look.pick(zh="没有配置文件，全部使用默认值", en="no configuration file: all defaults"),
            look.pick(zh=f"写一个 {CONFIG_NAME}", en=f"write an {CONFIG_NAME}"),
        )
        return
    inline = any(True for _, section in sections_of(look.settings) for _ in given_secrets(section))
    if inline and _others_can_read(file):
        yield look.warn(
            "configuration", Area.CONFIGURATION,
            look.pick(zh=f"{file} 含有密钥且人人可读", en=f"{file} holds secrets and everybody can read it"),
            f"chmod o-rwx {file}",
        )
    else:
        yield look.ok("configuration", str(file))
    if look.settings.clock is not None:
        yield look.warn(
            "configuration", Area.CONFIGURATION,
            look.pick(zh="使用演示时钟，重演过去", en="runs on the demo's clock, which replays the past"),
            look.pick(zh="正式运行请删去 [clock]", en="remove [clock] in earnest"),
        )


def secrets(look: Look) -> Iterator[Check]:
    """Files of secrets: there, readable by us, and by nobody else."""
    count = 0
    named = (pair for where, section in sections_of(look.settings) for pair in secret_files(section, where))
    for key, file in named:
        path = look.settings.path(file)
        count += 1
        try:
            path.open("rb").close()
        except OSError as error:
            yield look.bad(
                "secrets", Area.CONFIGURATION, f"{key}: {path}: {error.strerror}",
                look.pick(zh="放好该文件并让服务用户可读", en="put it there, readable by the user of the service"),
            )
            continue
        if _others_can_read(path):
            yield look.warn(
                "secrets", Area.CONFIGURATION,
                look.pick(zh=f"{key}：{path} 人人可读", en=f"{key}: everybody can read {path}"), f"chmod 600 {path}",
            )
    yield look.ok("secrets", look.pick(zh=f"密钥文件 {count} 个", en=f"{count} files of secrets"))


def zones(look: Look) -> Iterator[Check]:
    """Every zone that is named is one."""
    sections = (*look.settings.banks.values(), *look.settings.folders.values(), look.settings.schedule)
    names = sorted({section.zone for section in sections})
    for name in names:
        zone_of(name)
    yield look.ok("time zones", f"{', '.join(names)}; tzdata {importlib.metadata.version('tzdata')}")


def policies(look: Look) -> Iterator[Check]:
    """The packs load, and their calendars know the days to come."""
    packs, now = look.app.policies.packs, look.app.clock.now()
    yield look.ok("policies", look.pick(zh=f"政策包 {len(packs)} 个", en=f"{len(packs)} packs"))
    for calendar in calendars_of(look.app.policies):
        today = now.astimezone(zone_of(look.settings.schedule.zone)).date()
        finding = examine_calendar(calendar, today=today, now=now)
        if finding.level is None:
            last = _last_year(calendar, today.year)
            yield look.ok(f"calendar {calendar.name}", look.pick(zh=f"已知至 {last} 年", en=f"known to {last}"))
        else:
            yield look.finding(f"calendar {calendar.name}", Area.DATA, finding)


def folders(look: Look) -> Iterator[Check]:
    """The watched folders are there and can be read."""
    for name, folder in look.settings.folders.items():
        path = look.settings.path(folder.path)
        if path.is_dir() and os.access(path, os.R_OK | os.X_OK):
            yield look.ok(f"folder {name}", str(path))
        else:
            yield look.bad(
                f"folder {name}", Area.CONFIGURATION,
                look.pick(zh=f"{path} 不是可读的文件夹", en=f"{path} is no folder that can be read"),
                look.pick(zh="建立文件夹，或更正 path 与权限", en="make it, or correct path and permissions"),
            )


def disk(look: Look) -> Iterator[Check]:
    """Room beside an SQLite database, and who may read it."""
    database = look.app.database
    if not database.is_sqlite:
        return
    folder = Path(database.name).parent
    free = shutil.disk_usage(folder).free
    found = look.pick(zh=f"{folder} 剩余 {free // 1024**2} MiB", en=f"{free // 1024**2} MiB free in {folder}")
    do = look.pick(zh="清理磁盘：写满即停止记录", en="make room: a full disk ends all recording")
    if free < DISK_BAD_BYTES:
        yield look.bad("disk", Area.OUTSIDE, found, do)
    elif free < DISK_WARN_BYTES:
        yield look.warn("disk", Area.OUTSIDE, found, do)
    else:
        yield look.ok("disk", found)
    if Path(database.name).exists() and _others_can_read(Path(database.name)):
        yield look.warn(
            "disk", Area.CONFIGURATION,
            look.pick(zh=f"{database.name} 人人可读", en=f"everybody can read {database.name}"),
            f"chmod 600 {database.name}",
        )


def config_file(look: Look) -> Path | None:
    """The file that the settings were read from; None where there is none."""
    given = look.frame.config or look.frame.environ.get("ESCROW_MONITOR_CONFIG")
    if given:
        return Path(given)
    return Path(CONFIG_NAME) if Path(CONFIG_NAME).is_file() else None


def sections_of(settings: Settings) -> Iterator[tuple[str, BaseModel]]:
    """The sections that may name secrets, with their place."""
    yield from ((f"banks.{name}", bank) for name, bank in settings.banks.items())
    yield from ((f"channels.{name}", channel) for name, channel in settings.channels.items())


def _others_can_read(path: Path) -> bool:
    return bool(path.stat().st_mode & stat.S_IROTH)


def _last_year(calendar: WorkingCalendar, year: int) -> int:
    """The last year of which the working days are known, looked for as far as it matters."""
    for later in range(year + 1, year + YEARS_TRIED):
        try:
            calendar.is_working_day(date(later, 1, 1))
        except CalendarUnknown:
            return later - 1
    return year + YEARS_TRIED
