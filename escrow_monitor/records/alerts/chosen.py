"""What pages ask of all that is open, answered from memory: the same as the SQL beside it would, for who may see it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from alerts.alert import Severity, TransitionKind
from escrow_monitor.domain.findings import Level
from escrow_monitor.domain.visibility import Visible
from escrow_monitor.records.alerts.alarms import Call, ClosureSum
from escrow_monitor.records.alerts.open_now import OpenAlert, OpenNow
from escrow_monitor.records.alerts.pages import AlertCount, AlertPlace, AskedAlerts


def page(moment: OpenNow, asked: AskedAlerts, *, after: AlertPlace | None, limit: int) -> list[AlertPlace]:
    """As `alert_page` of what is open: at most `limit` places behind `after`."""
    found = _of_colour(_fitting(moment, asked), asked)
    begin = 0
    if after is not None:
        place = (after.quiet, -after.rank, after.unsure, after.at, after.alert_id)
        begin = bisect_right(found, place, key=lambda one: one[:5])
    return [
        AlertPlace(one.quiet, -one.rank, one.unsure, one.opened_at, one.alert_id)
        for one in found[begin : begin + limit]
    ]


def counts(moment: OpenNow, asked: AskedAlerts) -> list[AlertCount]:
    """As `alert_counts`: by rule, severity and quiet, whatever is asked of those three."""
    found = Counter((one.rule, one.severity, one.quiet) for one in _fitting(moment, asked))
    return [
        AlertCount(rule=rule, severity=severity, quiet=bool(quiet), alerts=count)
        for (rule, severity, quiet), count in sorted(found.items())
    ]


def proposed_count(moment: OpenNow, visible: Visible) -> int:
    """How many open alerts wait for the second pair of eyes."""
    return sum(one.proposed for one in moment.seen_by(visible))


def alarmed_banks(moment: OpenNow) -> list[str]:
    """The banks that open alerts are about, by name."""
    return sorted({one.bank for one in moment.alerts if one.bank is not None})


def first_calls(
    moment: OpenNow, *, no_data_rules: Collection[str], silent_banks: Collection[str], visible: Visible, limit: int
) -> tuple[list[Call], int]:
    """As `alarms.first_calls`: the most urgent holders of open alerts, and how many there are."""
    about = [
        (one.uscc or one.account_no, one.alert_id) for one in moment.seen_by(visible)
        if one.rule not in no_data_rules or (one.bank or "") not in silent_banks
    ]
    alerts = Counter(holder for holder, _ in about)
    del alerts[None]
    found: dict[str, str] = {}
    for holder, alert_id in about:
        if holder is not None and holder not in found:
            found[holder] = alert_id
            if len(found) == limit:
                break
    return [Call(alert_id, holder, alerts[holder]) for holder, alert_id in found.items()], len(alerts)


def closure_sums(moment: OpenNow, visible: Visible) -> Mapping[Level, ClosureSum]:
    """What the closure watch holds at each level."""
    found: dict[Level, ClosureSum] = {}
    for one in moment.theirs(moment.closures, visible):
        before = found.get(one.level, ClosureSum(0, 0))
        found[one.level] = ClosureSum(before.institutions + 1, before.exposed_fen + one.exposed_fen)
    return found


def warned(moment: OpenNow, visible: Visible, *, limit: int) -> list[str]:
    """The codes of those that may close, the highest level and the likeliest first."""
    return [one.uscc for one in moment.theirs(moment.closures, visible)[:limit]]


def published_since(
    moment: OpenNow, since: datetime, visible: Visible
) -> Mapping[tuple[TransitionKind, Severity], int] | None:
    """As `alarms.published_since`; None where that much is not held."""
    if moment.published is None:
        return None
    begin = bisect_left(moment.published, since, key=lambda one: one.at)
    return Counter((one.kind, one.severity) for one in moment.theirs(moment.published[begin:], visible))


def newest(moment: OpenNow, visible: Visible, *, limit: int) -> list[int] | None:
    """The numbers of the newest entries, descending; None where older ones than are held would be needed."""
    if moment.published is None:
        return None
    found = [one.seq for one in moment.theirs(moment.published, visible)[: -limit - 1 : -1]]
    is_all = not moment.seq or (moment.published and moment.published[0].seq == 1)
    return found if is_all or len(found) == limit else None


def _fitting(moment: OpenNow, asked: AskedAlerts) -> Sequence[OpenAlert]:
    """What fits all that is asked but severity, rule and quiet."""
    found = moment.seen_by(asked.visible)
    if asked.uscc is not None:
        found = [one for one in found if one.uscc == asked.uscc]
    if asked.district is not None:
        begin = asked.district
        found = [one for one in found if one.district is not None and one.district.startswith(begin)]
    if asked.text is not None:
        text, part = asked.text, asked.text.lower()
        found = [
            one for one in found
            if (one.name is not None and part in one.name) or one.account_no == text or one.uscc == text
        ]
    return found


def _of_colour(found: Sequence[OpenAlert], asked: AskedAlerts) -> Sequence[OpenAlert]:
    if asked.severity is not None:
        found = [one for one in found if one.severity is asked.severity]
    if asked.rule is not None:
        found = [one for one in found if one.rule == asked.rule]
    if asked.quiet == "proposed":
        return [one for one in found if one.proposed]
    if asked.quiet is not None:
        found = [one for one in found if one.quiet == (asked.quiet == "quiet")]
    return found
