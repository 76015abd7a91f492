"""The alerts as they are now: the book of `alerts.book` on a database."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, UniqueConstraint
from sqlmodel import Field, Session

from alerts.alert import Alert, AlertKey, Clear, Decision, FeedEntry, Severity, Signal, Status, Transition, Why
from alerts.book import RUN_OUT_CAUSE, Decided, PastDecision, made, ruling_payload
from alerts.decisions import Act, Ended, decide, run_out
from alerts.lifecycle import transitions
from escrow_monitor.domain.visibility import EVERYTHING, Visible
from escrow_monitor.records.alerts import decisions as alert_decisions
from escrow_monitor.records.alerts import deliveries
from escrow_monitor.records.alerts.feed import feed_entries, publish
from escrow_monitor.records.bulk import Reader, as_json, from_json, run, staged, texts
from escrow_monitor.records.columns import Row, large, one_of
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.visible import conditions


class AlertRow(Row, table=True):
    """One alert as it is now. Institution, account, bank and district are its labels, again, to choose by."""

    __tablename__ = "alerts"
    __table_args__ = (
        CheckConstraint(one_of("status", Status), "status"),
        CheckConstraint(one_of("severity", Severity), "severity"),
        # Found by subject: one examination speaks of all rules of one subject.
        UniqueConstraint("subject", "rule", "period"),
        Index(None, "status", "rule", "severity"),
        # Whom the open alerts are about, and how bad each is: pages read it from this index alone.
        Index("ix_alerts_holders", "status", "uscc", "severity", "opened_at"),
        Index("ix_alerts_banks", "status", "bank"),
    )

    alert_id: str = Field(primary_key=True)
    rule: str
    subject: str
    period: str
    status: str
    severity: str
    standing: str
    why_zh: str
    why_en: str
    figures: str
    labels: str
    uscc: str | None = Field(default=None, index=True)
    account_no: str | None = None
    bank: str | None = None
    district: str | None = None
    as_of: datetime
    first_seen_at: datetime
    seen_at: datetime
    opened_at: datetime | None = None
    resolved_at: datetime | None = None
    absent_since: datetime | None = None
    episode: int = large()
    version: int = large()


class InstitutionAlarmRow(Row, table=True):
    """What the open alerts of an institution come to, kept up with them: pages order a whole register by it.

    `urgency` is that of the worst, 0 for red; `opened_at` of the one that is open longest. No row: no open alert.
    """

    __tablename__ = "institution_alarms"
    __table_args__ = (
        Index("ix_institution_alarms_urgency", "urgency", "opened_at", "uscc"),
        {"sqlite_with_rowid": False},
    )

    uscc: str = Field(primary_key=True)
    urgency: int
    opened_at: datetime
    alerts: int


WAITS_TO_BE_SEEN_AGAIN = "(status = 'pending' OR (status = 'open' AND absent_since IS NOT NULL))"
"""A condition on `alerts`: the condition must hold, or be absent, for longer, so time alone makes something of it. Who
looks only at what is new must look at its subject again."""


class RecordsAlertBook:
    """The book inside the caller's transaction: what it does is kept or undone with everything else in it.

    `channels` are the names of the channels to which every feed entry is owed. Advancing needs a writing session.
    """

    def __init__(self, session: Session, *, channels: Sequence[str] = ()) -> None:
        self._session = session
        self._channels = tuple(channels)

    def advance(
        self, *, signals: Sequence[Signal], clears: Sequence[Clear], now: datetime, cause: str
    ) -> tuple[FeedEntry, ...]:
        """Take what one examination said, and return what the world hears of it, in feed order."""
        session = self._session
        # First the lock: what is known must not change between reading and writing, nor the numbers.
        chain = audit.lock_chain(session)
        spoken_of = {signal.key for signal in signals} | {clear.key for clear in clears}
        known = _known(session, spoken_of)
        # What was never known and is absent is not worth deciding about: nearly all clears are such.
        decided = transitions(
            open_alerts=known, signals=signals, clears=[clear for clear in clears if clear.key in known], now=now
        )
        return self._keep(
            decided.changed, decided.transitions, decided.ended, first_seq=chain.feed_seq + 1, now=now, cause=cause
        )

    def decide(self, alert_id: str, act: Act, *, now: datetime) -> Decided | None:
        """Do what a person asks about an alert; None if there is no such alert."""
        session = self._session
        chain = audit.lock_chain(session)
        known = self.alert(alert_id)
        if known is None:
            return None
        ruling = decide(known, act, now=now)
        if ruling.alert == known:
            return Decided(alert=known, reason=ruling.reason)
        entries = self._keep(
            [ruling.alert], ruling.transitions, ruling.ended, first_seq=chain.feed_seq + 1, now=now, cause=act.by
        )
        if entries:
            audit_seq = entries[0].audit_seq
        else:
            kind = f"decision.{ruling.reason.value}"
            audit_seq = audit.append(session, kind=kind, actor=act.by, payload=ruling_payload(ruling), now=now).seq
        new = made(known, ruling.alert)
        alert_decisions.begin(session, [(audit_seq, alert_id, one) for one in new])
        return Decided(alert=ruling.alert, reason=ruling.reason, entries=entries)

    def run_out(self, *, now: datetime) -> tuple[FeedEntry, ...]:
        """End the decisions that have run out, and publish that."""
        session = self._session
        if not alert_decisions.over_by(session, now):
            return ()
        chain = audit.lock_chain(session)
        over = _alerts(
            session, "WHERE alert_id IN EACH(:alert_ids)", {"alert_ids": alert_decisions.over_by(session, now)}
        )
        rulings = [run_out(alert, now=now) for alert in sorted(over, key=lambda alert: alert.key)]
        return self._keep(
            [ruling.alert for ruling in rulings],
            [transition for ruling in rulings for transition in ruling.transitions],
            [ended for ruling in rulings for ended in ruling.ended],
            first_seq=chain.feed_seq + 1, now=now, cause=RUN_OUT_CAUSE,
        )

    def _keep(
        self, changed: Sequence[Alert], heard: Sequence[Transition], ended: Sequence[Ended], *, first_seq: int,
        now: datetime, cause: str,
    ) -> tuple[FeedEntry, ...]:
        """Keep alerts and what is over of the decisions about them; publish, and owe it to the channels."""
        session = self._session
        _save_alerts(session, changed)
        alert_decisions.end(session, ended, by=cause, now=now)
        if not heard:
            return ()
        entries = publish(session, heard, first_seq=first_seq, now=now, cause=cause)
        deliveries.owe(session, entries, channels=self._channels)
        return entries

    def open_alerts(
        self, *, rule: str | None = None, severity: Severity | None = None, uscc: str | None = None,
        account_no: str | None = None, bank: str | None = None, district: str | None = None,
        visible: Visible = EVERYTHING,
    ) -> list[Alert]:
        """The alerts that are open now and fit all that is asked, by key."""
        where, given = _asked(rule, severity, uscc, account_no, bank, district, visible)
        return sorted(_alerts(self._session, f"WHERE {where}", given), key=lambda alert: alert.key)

    def open_page(
        self, *, after: str, limit: int, rule: str | None = None, severity: Severity | None = None,
        uscc: str | None = None, account_no: str | None = None, bank: str | None = None, district: str | None = None,
        visible: Visible = EVERYTHING,
    ) -> list[Alert]:
        """At most `limit` of the same whose ids come after `after`, by id."""
        where, given = _asked(rule, severity, uscc, account_no, bank, district, visible)
        return _alerts(
            self._session, f"WHERE {where} AND alert_id > :after ORDER BY alert_id LIMIT :limit",
            {**given, "after": after, "limit": limit},
        )

    def open_fitting(
        self, matchers: Mapping[str, str], *, severities: Sequence[Severity], limit: int | None = None
    ) -> tuple[int, list[Alert]]:
        """How many alerts that are open fit all `matchers` (columns of theirs), and the first of them by key."""
        names = [name for name in matchers if name in _ALERT]
        where = " AND ".join(
            ["status = 'open'", "severity IN EACH(:severities)", *(f"{name} = :of_{name}" for name in names)]
        )
        given: dict[str, Any] = {f"of_{name}": matchers[name] for name in names}
        given["severities"] = [severity.value for severity in severities]
        count = int(run(self._session, f"SELECT count(*) FROM alerts WHERE {where}", **given).scalar_one())
        some = "" if limit is None else " LIMIT :limit"
        found = _alerts(
            self._session, f"WHERE {where} ORDER BY rule, subject, period{some}",
            given if limit is None else {**given, "limit": limit},
        ) if count else []
        return count, found

    def open_keys(
        self, *, subjects: Sequence[str] | None = None, rules: Sequence[str] | None = None
    ) -> set[AlertKey]:
        """The keys of the alerts that are open or pending, about these subjects and of these rules only."""
        where, given = ["status IN ('open', 'pending')"], dict[str, list[str]]()
        if subjects is not None:
            where.append("subject IN EACH(:subjects)")
            given["subjects"] = list(subjects)
        if rules is not None:
            where.append("rule IN EACH(:rules)")
            given["rules"] = list(rules)
        rows = run(self._session, f"SELECT rule, subject, period FROM alerts WHERE {' AND '.join(where)}", **given)
        return {AlertKey(rule, subject, period) for rule, subject, period in rows}

    def alerts(self, alert_ids: Sequence[str]) -> dict[str, Alert]:
        """These alerts, whatever their status, by id."""
        found = _alerts(self._session, "WHERE alert_id IN EACH(:alert_ids)", {"alert_ids": list(alert_ids)})
        return {alert.alert_id: alert for alert in found}

    def alert(self, alert_id: str) -> Alert | None:
        """One alert, whatever its status."""
        return next(iter(_alerts(self._session, "WHERE alert_id = :alert_id", {"alert_id": alert_id})), None)

    def decisions(self, alert_id: str) -> list[PastDecision]:
        """All that people ever decided about an alert, in order."""
        return alert_decisions.history(self._session, alert_id)

    def history(self, alert_id: str) -> list[FeedEntry]:
        """All that was published of one alert, in order."""
        return feed_entries(self._session, "WHERE alert_id = :alert_id ORDER BY seq", alert_id=alert_id)

    def entries(self, *, after: int, limit: int) -> list[FeedEntry]:
        """Feed entries with `seq` greater than `after`, ascending, at most `limit`."""
        return feed_entries(
            self._session, "WHERE seq > :after ORDER BY seq LIMIT :limit", after=max(after, 0), limit=max(limit, 0)
        )

    def newest(
        self, *, before: int | None = None, limit: int, visible: Visible = EVERYTHING
    ) -> list[FeedEntry]:
        """Feed entries with `seq` less than `before` (None: from the newest on), descending, at most `limit`."""
        where, given = conditions(visible, uscc="uscc")
        inside = [f"alert_id IN (SELECT alert_id FROM alerts WHERE {' AND '.join(where)})"] if where else []
        if before is not None:
            inside.append("seq < :before")
            given["before"] = before
        return feed_entries(
            self._session, f"WHERE {' AND '.join(inside) or 'true'} ORDER BY seq DESC LIMIT :limit",
            limit=max(limit, 0), **given,
        )

    def numbered(self, seqs: Sequence[int]) -> list[FeedEntry]:
        """The feed entries of these numbers, descending."""
        numbers = [f"CAST({seq:d} AS BIGINT)" for seq in seqs]
        if not numbers:
            return []
        return feed_entries(self._session, f"WHERE seq IN ({', '.join(numbers)}) ORDER BY seq DESC")

    def entry(self, seq: int) -> FeedEntry | None:
        """One feed entry."""
        return next(iter(feed_entries(self._session, "WHERE seq = :seq", seq=seq)), None)

    def head(self) -> int:
        """The newest `seq`; 0 when nothing was ever published."""
        return int(run(self._session, "SELECT feed_seq FROM chain_head").scalar_one())


def _asked(
    rule: str | None, severity: Severity | None, uscc: str | None, account_no: str | None, bank: str | None,
    district: str | None, visible: Visible,
) -> tuple[str, dict[str, Any]]:
    """The condition for open alerts that fit all that is asked, with its values."""
    asked: dict[str, str | None] = {
        "rule": rule, "severity": severity and severity.value, "uscc": uscc, "account_no": account_no,
        "bank": bank, "district": district,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    seen, values = conditions(visible, uscc="uscc")
    return " AND ".join(["status = 'open'", *(f"{name} = :{name}" for name in given), *seen]), given | values


_ALERT = {
    "alert_id": str, "rule": str, "subject": str, "period": str, "status": str, "severity": str, "standing": str,
    "why_zh": str, "why_en": str, "figures": str, "labels": str, "as_of": datetime, "first_seen_at": datetime,
    "seen_at": datetime, "opened_at": datetime, "resolved_at": datetime, "absent_since": datetime, "episode": int,
    "version": int, "uscc": str, "account_no": str, "bank": str, "district": str,
}
_ALERT_NAMES = ", ".join(_ALERT)


def _known(session: Session, keys: set[AlertKey]) -> dict[AlertKey, Alert]:
    """Every alert kept under these keys, whatever its status."""
    subjects = sorted({key.subject for key in keys})
    found = _alerts(session, "WHERE subject IN EACH(:subjects)", {"subjects": subjects}, among=keys)
    return {alert.key: alert for alert in found}


def _alerts(
    session: Session, clauses: str, values: Mapping[str, Any], *, among: set[AlertKey] | None = None
) -> list[Alert]:
    reader = Reader(session)
    rows = [
        (key, row)
        for row in run(session, f"SELECT {_ALERT_NAMES} FROM alerts {clauses}", **values)
        for key in (AlertKey(row[1], row[2], row[3]),)
        if among is None or key in among
    ]
    decided = alert_decisions.standing(session, [row[0] for _, row in rows])
    return [_alert(reader, key, row, decided.get(row[0], ())) for key, row in rows]


def _alert(reader: Reader, key: AlertKey, row: Sequence[Any], decisions: tuple[Decision, ...]) -> Alert:
    return Alert(
        alert_id=row[0], key=key, status=Status(row[4]), severity=Severity(row[5]), standing=row[6],
        why=Why(zh=row[7], en=row[8]), figures=from_json(row[9]), labels=from_json(row[10]), as_of=reader.at(row[11]),
        first_seen_at=reader.at(row[12]), seen_at=reader.at(row[13]), opened_at=reader.instant(row[14]),
        resolved_at=reader.instant(row[15]), absent_since=reader.instant(row[16]), episode=row[17], version=row[18],
        decisions=decisions,
    )


def _save_alerts(session: Session, alerts: Iterable[Alert]) -> None:
    rows = [_alert_cells(alert) for alert in alerts]
    if not rows:
        return
    with staged(session, "incoming_alerts", _ALERT, rows):
        moved = texts(
            session,
            "SELECT DISTINCT a.uscc FROM incoming_alerts n JOIN alerts a ON a.alert_id = n.alert_id"
            " WHERE a.uscc IS NOT NULL AND a.uscc IS DISTINCT FROM n.uscc",
        )
        run(
            session,
            f"INSERT INTO alerts ({_ALERT_NAMES}) SELECT {_ALERT_NAMES} FROM incoming_alerts WHERE true"
            " ON CONFLICT (alert_id) DO UPDATE SET "
            + ", ".join(f"{column} = excluded.{column}" for column in _ALERT if column not in _FIXED),
        )
        _keep_alarms(session, moved)


def _keep_alarms(session: Session, moved: Sequence[str]) -> None:
    """Bring the institutions of the incoming alerts up to them, and those (`moved`) that an alert was about before."""
    touched = "(SELECT n.uscc FROM incoming_alerts n WHERE n.uscc IS NOT NULL)"
    inside = f"(uscc IN {touched} OR uscc IN EACH(:moved))" if moved else f"uscc IN {touched}"
    given = {"moved": moved} if moved else {}
    run(
        session,
        f"DELETE FROM institution_alarms WHERE {inside} AND NOT EXISTS"
        " (SELECT 1 FROM alerts a WHERE a.uscc = institution_alarms.uscc AND a.status = 'open')", **given,
    )
    run(
        session,
        f"INSERT INTO institution_alarms (uscc, urgency, opened_at, alerts) SELECT uscc, min({_URGENCY}),"
        f" min(opened_at), count(*) FROM alerts WHERE status = 'open' AND opened_at IS NOT NULL AND {inside}"
        " GROUP BY uscc ON CONFLICT (uscc) DO UPDATE SET urgency = excluded.urgency, opened_at = excluded.opened_at,"
        " alerts = excluded.alerts WHERE institution_alarms.urgency <> excluded.urgency"
        " OR institution_alarms.opened_at <> excluded.opened_at OR institution_alarms.alerts <> excluded.alerts",
        **given,
    )


_URGENCY = "CASE severity WHEN 'red' THEN 0 WHEN 'orange' THEN 1 WHEN 'yellow' THEN 2 ELSE 3 END"
_FIXED = ("alert_id", "rule", "subject", "period")


def _alert_cells(alert: Alert) -> tuple[object, ...]:
    labels = alert.labels
    return (
        alert.alert_id, alert.key.rule, alert.key.subject, alert.key.period, alert.status.value, alert.severity.value,
        alert.standing, alert.why.zh, alert.why.en, as_json(dict(alert.figures)), as_json(dict(labels)), alert.as_of,
        alert.first_seen_at, alert.seen_at, alert.opened_at, alert.resolved_at, alert.absent_since, alert.episode,
        alert.version, labels.get("uscc"), labels.get("account_no"), labels.get("bank"), labels.get("district"),
    )
