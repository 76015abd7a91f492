"""What the program stands on and what it did last: databases, the engine's queue, the rounds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from escrow_monitor.cli.checkup.check import Area, Check, Look
from escrow_monitor.domain.findings import Standing
from escrow_monitor.domain.rules.round_late import examine_round
from escrow_monitor.errors import DatabaseError
from escrow_monitor.records import runs
from escrow_monitor.records.database import Database
from escrow_monitor.records.health import server, try_write


def database(look: Look) -> Iterator[Check]:
    """It answers, is current, takes what is written, and has the same time."""
    database, pick = look.app.database, look.pick
    before = look.app.real_now()
    with database.read() as session:
        found = server(session)
    after = look.app.real_now()
    yield look.ok("database", f"{database.name}, {found.version}")
    try:
        database.check()
        try_write(database, now=after)
    except DatabaseError as error:
        yield look.bad("database", Area.OUTSIDE, str(error), "")
        return
    yield look.ok("database", pick(zh="结构为当前版本，可以写入", en="its tables are current and it takes writes"))
    if found.now is not None:
        yield look.skew("database clock", found.now - (before + (after - before) / 2))


def engine(look: Look) -> Iterator[Check]:
    """The queue of the daemon has its place."""
    url = look.settings.engine_url
    if url == look.settings.database_url:
        yield look.ok("engine", look.pick(zh="与业务数据库相同", en="in the same database"))
        return
    engine = Database(url)
    try:
        if engine.is_sqlite and not Path(engine.name).exists():
            yield look.ok("engine", look.pick(
                zh=f"{engine.name} 尚未建立，首次启动时建立", en=f"{engine.name} is made at the first start"
            ))
            return
        with engine.read() as session:
            server(session)
        yield look.ok("engine", engine.name)
    finally:
        engine.close()


def rounds(look: Look) -> Iterator[Check]:
    """No round is late."""
    now = look.app.clock.now()
    with look.app.database.read() as session:
        last, since = runs.last_success(session), runs.first_begun_at(session) or now
    for name, every in look.app.late_after().items():
        finding = examine_round(name=name, last_success_at=last.get(name), expected_every=every, since=since, now=now)
        if finding.standing is Standing.MET and name not in last:
            yield look.warn(
                f"round {name}", Area.DATA, look.pick(zh="还没有运行过", en="has not run yet"),
                look.pick(zh="启动服务", en="start the service"),
            )
        else:
            yield look.finding(f"round {name}", Area.DATA, finding)
