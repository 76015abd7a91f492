"""One line of `doctor`, and how lines are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum, StrEnum

from escrow_monitor.banks.reach import SKEW_BAD, SKEW_WARN
from escrow_monitor.cli.frame import Frame
from escrow_monitor.domain.certificates import CertificateRole, CertificateState
from escrow_monitor.domain.findings import Finding, Level, Standing
from escrow_monitor.domain.rules.certificate_ends import examine_certificates
from escrow_monitor.settings import Settings
from escrow_monitor.wiring import App


class State(StrEnum):
    """What a check found. Unknown is not ok."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"
    UNKNOWN = "unknown"


class Area(IntEnum):
    """Whose fault it is when it is bad: the exit code that says so."""

    DATA = 1
    CONFIGURATION = 2
    OUTSIDE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line: what was looked at, what was found, what to do. No secret, no account number."""

    name: str
    state: State
    area: Area
    found: str
    do: str = ""


def exit_code(checks: Sequence[Check]) -> int:
    """Configuration before the outside before data: what must be mended first."""
    bad = {one.area for one in checks if one.state is State.BAD}
    for area in (Area.CONFIGURATION, Area.OUTSIDE, Area.DATA):
        if area in bad:
            return int(area)
    return int(Area.DATA) if any(one.state is State.UNKNOWN for one in checks) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a check is given: the program, and the language of this run. `offline`: nobody is called."""

    frame: Frame
    app: App
    offline: bool

    @property
    def settings(self) -> Settings:
        """The configuration in force."""
        return self.app.settings

    @property
    def language(self) -> str:
        """`zh` or `en`."""
        return self.frame.language

    def pick(self, *, zh: str, en: str) -> str:
        """The sentence in the language of this run."""
        return self.frame.pick(zh=zh, en=en)

    def ok(self, name: str, found: str) -> Check:
        """All is well."""
        return Check(name=name, state=State.OK, area=Area.DATA, found=found)

    def warn(self, name: str, area: Area, found: str, do: str = "") -> Check:
        """It works, and should not stay so."""
        return Check(name=name, state=State.WARN, area=area, found=found, do=do)

    def bad(self, name: str, area: Area, found: str, do: str = "") -> Check:
        """It does not work."""
        return Check(name=name, state=State.BAD, area=area, found=found, do=do)

    def unknown(self, name: str, area: Area, found: str, do: str = "") -> Check:
        """It could not be told."""
        return Check(name=name, state=State.UNKNOWN, area=area, found=found, do=do)

    def finding(self, name: str, area: Area, finding: Finding) -> Check:
        """A rule's finding as a line: its sentence says what to do already."""
        if finding.level is None:
            return self.ok(name, self.why(finding))
        soft = finding.level in (Level.INFO, Level.YELLOW) or (area is not Area.DATA and finding.level is Level.ORANGE)
        return (self.warn if soft else self.bad)(name, area, self.why(finding))

    def certificate(self, state: CertificateState) -> Check:
        """What is to be said of a bank's certificates of one role."""
        finding = examine_certificates(state, now=self.app.real_now())
        ours = state.role is not CertificateRole.SERVER
        name = f"bank {state.bank} certificate ({state.role.value})"
        if finding.standing is Standing.UNKNOWN:
            return (self.bad if ours else self.unknown)(name, Area.CONFIGURATION, self.why(finding))
        return self.finding(name, Area.CONFIGURATION if ours else Area.OUTSIDE, finding)

    def skew(self, name: str, skew: timedelta) -> Check:
        """Another clock against ours."""
        seconds = skew.total_seconds()
        found = self.pick(zh=f"与本机相差 {seconds:+.1f} 秒", en=f"{seconds:+.1f} s against this machine")
        if abs(skew) <= SKEW_WARN:
            return self.ok(name, found)
        do = self.pick(zh="校准时钟（timedatectl），或联系对方", en="set the clock (timedatectl), or tell them")
        return (self.bad if abs(skew) > SKEW_BAD else self.warn)(name, Area.OUTSIDE, found, do)

    def why(self, finding: Finding) -> str:
        """A finding's sentence in the language of this run."""
        return finding.why_zh if self.language == "zh" else finding.why_en
