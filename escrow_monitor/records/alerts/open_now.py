"""All that is open now, in memory, in the order of urgency: made once, then brought up to each new feed entry.

A page that chose from ten thousand alerts by SQL would spend a tenth of a second on it. `OpenNow` is one moment, never
changed after; `OpenNowReader` makes the next from the last by what the feed has published since, and by what people
have decided. What changes without either (a standing, an amount) is seen when the whole is read again.
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from sqlmodel import Session

from alerts.alert import Severity, TransitionKind
from escrow_monitor.domain.closure.outlook import LEVELS
from escrow_monitor.domain.findings import Level, Standing
from escrow_monitor.domain.visibility import Visible
from escrow_monitor.records.bulk import Reader, fetch, run
from escrow_monitor.records.directory import Directory

OPEN_MAX = 30_000
"""Of so many open alerts all are held in memory."""
CHANGED_MAX = 1_000
"""When more than this was published since the last time, all is read again."""
PUBLISHED_WITHIN = timedelta(days=1)
PUBLISHED_MAX = 60_000
"""Of so many entries of a day it is known what each was."""
VIEWERS_MAX = 64


class OpenAlert(NamedTuple):
    """An open alert as lists choose by it, in the order in which they show it: fields that compare stand first.

    `rank` counts down from red (-4). `district` is the label, `place` where its institution is now, `name` its name in
    small letters; both None where none is registered.
    """

    quiet: int
    rank: int
    unsure: int
    opened_at: datetime
    alert_id: str
    rule: str
    severity: Severity
    proposed: bool
    uscc: str | None
    account_no: str | None
    bank: str | None
    district: str | None
    place: str | None
    name: str | None


class AlarmedInstitution(NamedTuple):
    """What a list chooses and orders institutions with open alerts by. `standing` is that of its worst account."""

    urgency: int
    opened_at: datetime
    uscc: str
    name: str
    district: str | None
    kind: str | None
    standing: Standing | None
    closure: Level | None


class HeldClosure(NamedTuple):
    """A level that the closure watch holds, the highest and likeliest first in order."""

    rank: int
    chance: int
    uscc: str
    exposed_fen: int
    place: str | None

    @property
    def level(self) -> Level:
        """The level that is held."""
        level = LEVELS[-self.rank]
        assert level is not None, "not held"  # noqa: S101 - only those that are held are read
        return level


class Published(NamedTuple):
    """What kind of entry the feed carried, how bad, and about whom."""

    seq: int
    at: datetime
    kind: TransitionKind
    severity: Severity
    uscc: str | None
    place: str | None
    alert_id: str


Placed = TypeVar("Placed", OpenAlert, HeldClosure, Published)
Ordered = TypeVar("Ordered", OpenAlert, HeldClosure, AlarmedInstitution)
Row = TypeVar("Row")


class OpenNow:
    """One moment. `published` is None where more was published within a day than is held."""

    def __init__(
        self, *, directory: Directory, seq: int, alerts: Sequence[OpenAlert],
        alarmed: Sequence[AlarmedInstitution], closures: Sequence[HeldClosure], published: Sequence[Published] | None,
    ) -> None:
        self.directory, self.seq, self.alerts = directory, seq, alerts
        self.alarmed, self.closures, self.published = alarmed, closures, published
        self._alerts_of: dict[Visible, Sequence[OpenAlert]] = {}
        self._alarmed_of: dict[Visible, Sequence[AlarmedInstitution]] = {}

    def seen_by(self, visible: Visible) -> Sequence[OpenAlert]:
        """The open alerts that may be seen, by urgency."""
        if visible.is_everything:
            return self.alerts
        return _kept(self._alerts_of, visible, lambda: self.theirs(self.alerts, visible))

    def alarmed_by(self, visible: Visible) -> Sequence[AlarmedInstitution]:
        """The institutions with open alerts that may be seen, by urgency."""
        if visible.is_everything:
            return self.alarmed
        places = self.directory.places(visible)
        return _kept(self._alarmed_of, visible, lambda: [
            one for one in self.alarmed
            if one.district in places and (visible.uscc is None or one.uscc == visible.uscc)
        ])

    def theirs(self, found: Sequence[Placed], visible: Visible) -> Sequence[Placed]:
        """What of these belongs to an institution that may be seen."""
        if visible.is_everything:
            return found
        places = self.directory.places(visible)
        if visible.uscc is not None:
            return [one for one in found if one.uscc == visible.uscc and one.place in places]
        return [one for one in found if one.place in places]


def _kept(known: dict[Visible, Sequence[Row]], visible: Visible, choose: Callable[[], Sequence[Row]]) -> Sequence[Row]:
    found = known.get(visible)
    if found is None:
        found = choose()
        if len(known) < VIEWERS_MAX:
            known[visible] = found
    return found


class _Decided(NamedTuple):
    """The alerts that somebody keeps quiet now, and those that wait for the second pair of eyes."""

    quiet: frozenset[str]
    proposed: frozenset[str]

    def differs_from(self, other: _Decided) -> frozenset[str]:
        return (self.quiet ^ other.quiet) | (self.proposed ^ other.proposed)


class OpenNowReader:
    """Reads the next moment from the records, one at a time."""

    def __init__(self, before: OpenNow | None = None) -> None:
        """All is read again, but for what the feed said until the moment `before`: that never changes."""
        self._before = before
        self._alerts: dict[str, OpenAlert] = {}
        self._alarmed: dict[str, AlarmedInstitution] = {}
        self._closures: dict[str, HeldClosure] = {}
        self._last: OpenNow | None = None
        self._decided = _Decided(frozenset(), frozenset())
        self._reading = threading.Lock()

    def read(self, session: Session, directory: Directory, *, now: datetime) -> OpenNow | None:
        """What is open by what this session sees, or later; None for more than is held in memory."""
        head = int(run(session, "SELECT feed_seq FROM chain_head").scalar_one())
        decided = _decided(session, now)
        with self._reading:
            last = self._last
            if last is None or last.directory is not directory:
                published = _published(session, directory, last or self._before, now=now)
                return self._read_all(session, directory, published, head, decided)
            if last.seq > head or (last.seq == head and self._decided == decided):
                return last
            published = _published(session, directory, last, now=now)
            if published is None or head - last.seq > CHANGED_MAX:
                return self._read_all(session, directory, published, head, decided)
            begin = bisect_right(published, last.seq, key=lambda one: one.seq)
            changed = {one.alert_id: one.uscc for one in published[begin:]} | {
                alert_id: self._alerts[alert_id].uscc for alert_id in decided.differs_from(self._decided)
                if alert_id in self._alerts
            }
            return self._moved(session, directory, published, changed, head, decided)

    def _read_all(
        self, session: Session, directory: Directory, published: list[Published] | None, head: int, decided: _Decided
    ) -> OpenNow | None:
        found = _alerts(session, directory, None, decided)
        if len(found) > OPEN_MAX:
            self._last = None
            return None
        self._alerts = {one.alert_id: one for one in found}
        self._closures = {one.uscc: one for one in _closures(session, directory, None)}
        self._alarmed = _alarmed(session, directory, found, self._closures, whole=True)
        self._decided = decided
        self._last = OpenNow(
            directory=directory, seq=head, published=published, alerts=sorted(found),
            alarmed=sorted(self._alarmed.values()), closures=sorted(self._closures.values()),
        )
        return self._last

    def _moved(
        self, session: Session, directory: Directory, published: list[Published], changed: Mapping[str, str | None],
        head: int, decided: _Decided,
    ) -> OpenNow:
        """The last moment with what these alerts, of these institutions, are now."""
        assert self._last is not None, "nothing was read yet"  # noqa: S101 - who calls has looked
        last, usccs = self._last, {uscc for uscc in changed.values() if uscc is not None}
        alerts = _alerts(session, directory, list(changed), decided) if changed else []
        closures = _closures(session, directory, sorted(usccs)) if usccs else []
        _exchange(self._alerts, changed, {one.alert_id: one for one in alerts}, ordered := list(last.alerts))
        _exchange(self._closures, usccs, {one.uscc: one for one in closures}, held := list(last.closures))
        theirs = [one for one in ordered if one.uscc in usccs] if usccs else []
        alarmed = _alarmed(session, directory, theirs, self._closures, whole=False)
        _exchange(self._alarmed, usccs, alarmed, worst := list(last.alarmed))
        self._decided = decided
        self._last = OpenNow(
            directory=directory, seq=head, alerts=ordered, alarmed=worst, closures=held, published=published
        )
        return self._last


def _exchange(
    known: dict[str, Ordered], keys: Iterable[str], fresh: Mapping[str, Ordered], ordered: list[Ordered]
) -> None:
    """Put what is now in the place of what was under these keys, in both."""
    for key in keys:
        before, after = known.pop(key, None), fresh.get(key)
        if before is not None:
            del ordered[bisect_left(ordered, before)]
        if after is not None:
            known[key] = after
            insort(ordered, after)


# what the records say

_RANKS = {Severity.RED: -4, Severity.ORANGE: -3, Severity.YELLOW: -2, Severity.INFO: -1}
_SEVERITIES = {str(severity): severity for severity in Severity}
_KINDS = {str(kind): kind for kind in TransitionKind}


def _decided(session: Session, now: datetime) -> _Decided:
    instant = Reader(session).instant
    quiet, proposed = set[str](), set[str]()
    for alert_id, kind, until in fetch(
        session, "SELECT alert_id, kind, until_at FROM alert_decisions WHERE ended_at IS NULL"
    ):
        end = instant(until)
        if end is None or end > now:
            (proposed if kind == "proposal" else quiet).add(alert_id)
    return _Decided(frozenset(quiet), frozenset(proposed))


def _alerts(
    session: Session, directory: Directory, alert_ids: Sequence[str] | None, decided: _Decided
) -> list[OpenAlert]:
    at, which, given = Reader(session).at, "status = 'open'", dict[str, Any]()
    if alert_ids is not None:
        # By their ids alone: a planner that took the index of what is open would read all of it.
        which, given = "alert_id IN EACH(:alert_ids)", {"alert_ids": list(alert_ids)}
    breached, found = str(Standing.BREACHED), []
    for status, alert_id, rule, severity, standing, opened_at, uscc, account_no, bank, district in fetch(
        session,
        "SELECT status, alert_id, rule, severity, standing, opened_at, uscc, account_no, bank, district FROM alerts"
        f" WHERE {which} LIMIT :most", most=OPEN_MAX + 1, **given,
    ):
        if status != "open":
            continue
        worst, listed = _SEVERITIES[severity], directory.get(uscc)
        found.append(OpenAlert(
            int(alert_id in decided.quiet), _RANKS[worst], int(standing != breached), at(opened_at), alert_id, rule,
            worst, alert_id in decided.proposed, uscc, account_no, bank, district,
            None if listed is None else listed.district, None if listed is None else listed.name.lower(),
        ))
    return found


def _alarmed(
    session: Session, directory: Directory, alerts: Sequence[OpenAlert], closures: Mapping[str, HeldClosure], *,
    whole: bool,
) -> dict[str, AlarmedInstitution]:
    """The registered institutions of these alerts: the worst of each one's, and since when the oldest is open."""
    worst: dict[str, tuple[int, datetime]] = {}
    for one in alerts:
        if one.uscc is not None:
            before = worst.get(one.uscc)
            worst[one.uscc] = (one.rank, one.opened_at) if before is None else (
                min(before[0], one.rank), min(before[1], one.opened_at)
            )
    standings = _standings(session, list(worst), whole=whole)
    found = {}
    for uscc, (rank, opened_at) in worst.items():
        listed = directory.get(uscc)
        if listed is not None:
            held = closures.get(uscc)
            found[uscc] = AlarmedInstitution(
                rank + 4, opened_at, uscc, listed.name, listed.district, listed.kind, standings.get(uscc),
                None if held is None else held.level,
            )
    return found


def _standings(session: Session, usccs: Sequence[str], *, whole: bool) -> Mapping[str, Standing]:
    """How the worst account of each of these stands; one without an account is absent."""
    if not usccs:
        return {}
    which, given = "b.uscc IN EACH(:usccs)", {"usccs": list(usccs)}
    if not whole:
        found = defaultdict[str, set[str]](set)
        for uscc, standing in fetch(
            session, "SELECT DISTINCT b.uscc, t.standing FROM accounts b JOIN account_standings t"
            f" ON t.account_no = b.account_no WHERE {which}", **given,
        ):
            found[uscc].add(standing)
        return {uscc: _worst(standings) for uscc, standings in found.items()}
    # Nearly all are met: those that are not are read through their index, and who has no account stands no how.
    without = {uscc for (uscc,) in fetch(
        session, "SELECT DISTINCT a.uscc FROM alerts a WHERE a.status = 'open' AND NOT EXISTS"
        " (SELECT 1 FROM accounts b WHERE b.uscc = a.uscc)",
    )}
    worst = {uscc: Standing.MET for uscc in usccs if uscc not in without}
    for standing in (Standing.UNKNOWN, Standing.BREACHED):
        worst |= {uscc: standing for (uscc,) in fetch(
            session, "SELECT b.uscc FROM account_standings t JOIN accounts b ON b.account_no = t.account_no"
            " WHERE t.standing = :standing", standing=standing.value,
        )}
    return worst


def _worst(standings: Collection[str]) -> Standing:
    return next(one for one in (Standing.BREACHED, Standing.UNKNOWN, Standing.MET) if one in standings)


def _closures(session: Session, directory: Directory, usccs: Sequence[str] | None) -> list[HeldClosure]:
    which, given = ("held > 0", {}) if usccs is None else ("uscc IN EACH(:usccs)", {"usccs": list(usccs)})
    return [
        HeldClosure(-held, -chance, uscc, exposed, None if (listed := directory.get(uscc)) is None else listed.district)
        for uscc, held, chance, exposed in fetch(
            session, f"SELECT uscc, held, chance_ppm, exposed_fen FROM closure_states WHERE {which}", **given
        ) if held > 0
    ]


def _published(
    session: Session, directory: Directory, last: OpenNow | None, *, now: datetime
) -> list[Published] | None:
    """What was published within a day, oldest first: what was known, and what came since."""
    since, given = now - PUBLISHED_WITHIN, dict[str, Any]()
    kept: list[Published] = []
    if last is not None and last.directory is directory and last.published is not None:
        begin = bisect_left(last.published, since, key=lambda one: one.at)
        kept, which, given["after"] = list(last.published[begin:]), "f.seq > :after", last.seq
    else:
        which, given["since"] = "f.recorded_at >= :since", since
    at = Reader(session).at
    rows = fetch(
        session, "SELECT f.seq, f.recorded_at, f.transition, f.severity, a.uscc, f.alert_id"
        f" FROM feed_entries f JOIN alerts a ON a.alert_id = f.alert_id WHERE {which} ORDER BY f.seq LIMIT :most",
        most=PUBLISHED_MAX + 1, **given,
    )
    if len(kept) + len(rows) > PUBLISHED_MAX:
        return None
    kept += [
        Published(
            seq, at(recorded_at), _KINDS[kind], _SEVERITIES[severity], uscc,
            None if (listed := directory.get(uscc)) is None else listed.district, alert_id,
        )
        for seq, recorded_at, kind, severity, uscc, alert_id in rows
    ]
    return kept
