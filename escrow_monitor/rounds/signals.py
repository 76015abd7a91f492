"""Where the escrow side meets the alerts side: findings in, signals and clears out.

finding with a level            a signal: this holds now
finding within its margin       a signal without severity: keeps an open alert, opens none
finding met, and known          a clear: examined and absent
finding unknown, nothing said   neither: not examined, and so nothing resolves
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from alerts.alert import AlertKey, Clear, Severity, Signal, Why
from escrow_monitor.domain.findings import Finding, Standing
from escrow_monitor.domain.institutions import Institution

_NOTHING = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a condition must hold before its alert opens, or be absent before it resolves, by rule."""

    open_after: Mapping[str, timedelta] = field(default_factory=dict)
    resolve_after: Mapping[str, timedelta] = field(default_factory=dict)


def signal_or_clear(
    finding: Finding, *, labels: Mapping[str, str], live: Collection[AlertKey], patience: Patience
) -> Signal | Clear | None:
    """Translate one finding. `live` are the keys of alerts that are pending or open: only they need a clear."""
    if finding.level is None and finding.holds is None and (finding.standing is Standing.UNKNOWN or not live):
        return None
    key = AlertKey(finding.rule, finding.subject, finding.period)
    if finding.level is not None or finding.holds is not None:
        if finding.level is None and key not in live:
            return None
        return Signal(
            key=key,
            severity=None if finding.level is None else Severity(finding.level.value),
            holds=None if finding.holds is None else Severity(finding.holds.value),
            standing=finding.standing.value,
            why=Why(finding.why_zh, finding.why_en),
            figures=finding.figures,
            labels=labels,
            as_of=finding.as_of,
            open_after=patience.open_after.get(finding.rule, _NOTHING),
        )
    if key not in live:
        return None
    return Clear(
        key=key,
        standing=finding.standing.value,
        why=Why(finding.why_zh, finding.why_en),
        figures=finding.figures,
        as_of=finding.as_of,
        resolve_after=patience.resolve_after.get(finding.rule, _NOTHING),
    )


def split(spoken: Iterable[Signal | Clear]) -> tuple[list[Signal], list[Clear]]:
    """Part signals from clears."""
    signals: list[Signal] = []
    clears: list[Clear] = []
    for one in spoken:
        if isinstance(one, Signal):
            signals.append(one)
        else:
            clears.append(one)
    return signals, clears


def labels_of(institution: Institution) -> Mapping[str, str]:
    """Whom an institution's alerts are about, for routing and for readers of the feed."""
    labels = {"uscc": institution.uscc, "name": institution.name}
    if institution.district is not None:
        labels["district"] = institution.district
    return labels
