"""A certificate that is about to end is reported before the bank can no longer be asked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from escrow_monitor.domain.certificates import Certificate, CertificateRole, CertificateState, certificate_subject
from escrow_monitor.domain.findings import CONTINUOUS, Finding, Level, Sentence, Standing, Value

RULE = "certificate_ends"

OURS_DAYS: Mapping[Level, int] = {Level.YELLOW: 30, Level.ORANGE: 14, Level.RED: 3}
"""Days left of what we renew ourselves. A client certificate is issued after an identity check and then registered at
the bank: that takes weeks, hence 30. 14 is longer than the longest public holiday (nine days). With 3 left there is no
working day to lose."""
THEIRS_DAYS: Mapping[Level, int] = {Level.YELLOW: 14, Level.ORANGE: 7, Level.RED: 2}
"""Days left of the bank's own. We can only call them, and a bank that renews by machine does so with 15 to 30 days
left: earlier would be an alarm about nothing."""


def examine_certificates(state: CertificateState, *, now: datetime) -> Finding:
    """One finding for one bank's certificates of one role."""
    subject = certificate_subject(state.bank, state.role)
    values: dict[str, Value] = {"bank": state.bank, "role": state.role.value}
    if not state.certificates:
        return _unknown(state, subject, values, now)
    level, certificate = _worst(state, now)
    values |= {
        "name": certificate.subject, "issuer": certificate.issuer, "not_before": certificate.not_before,
        "not_after": certificate.not_after, "days_left": (certificate.not_after - now).days,
        "sha256": certificate.sha256, "seen_at": state.seen_at,
    }
    return Finding(
        rule=RULE, subject=subject, standing=Standing.MET if level is None else Standing.BREACHED, level=level,
        sentence=_sentence(state.role, certificate, level, now), as_of=state.seen_at or now, values=values,
        recheck_at=_next_change(state, now),
    )


def examine_unused(subject: str, *, now: datetime) -> Finding:
    """The finding that closes an alert about a certificate that the configuration no longer names."""
    return Finding(
        rule=RULE, subject=subject, standing=Standing.MET, sentence=_UNUSED, as_of=now, period=CONTINUOUS,
        values={"subject": subject},
    )


def days_of(role: CertificateRole) -> Mapping[Level, int]:
    """From how many days left on each level is reached."""
    return THEIRS_DAYS if role is CertificateRole.SERVER else OURS_DAYS


def level_of(certificate: Certificate, role: CertificateRole, *, now: datetime) -> Level | None:
    """How bad it is that this certificate ends when it does; None when there is time enough."""
    if not certificate.not_before <= now < certificate.not_after:
        return Level.RED
    left, days = certificate.not_after - now, days_of(role)
    for level in (Level.RED, Level.ORANGE, Level.YELLOW):
        if left <= timedelta(days=days[level]):
            return level
    return None


def _worst(state: CertificateState, now: datetime) -> tuple[Level | None, Certificate]:
    """The certificate that decides: the first to end.

    Of several authorities in one file the first to end may be one that is just being replaced: it is worth a word, but
    the file fails only with the last.
    """
    first = min(state.certificates, key=lambda one: one.not_after)
    level = level_of(first, state.role, now=now)
    if state.role is not CertificateRole.AUTHORITY or len(state.certificates) == 1 or level is None:
        return level, first
    last = max(state.certificates, key=lambda one: one.not_after)
    of_last = level_of(last, state.role, now=now)
    return (Level.YELLOW, first) if of_last is None else (of_last, last)


def _next_change(state: CertificateState, now: datetime) -> datetime | None:
    """When the answer can next change by the passing of time alone."""
    changes = [
        moment
        for one in state.certificates
        for moment in (
            one.not_before, one.not_after, *(one.not_after - timedelta(days=n) for n in days_of(state.role).values())
        )
        if moment > now
    ]
    return min(changes, default=None)


def _unknown(state: CertificateState, subject: str, values: dict[str, Value], now: datetime) -> Finding:
    """Nothing known. Of a file of ours that is an alert: the next connection would fail on it.

    Of the bank's own it is none: until it was first reached its silence is the freshness rule's to report.
    """
    values["why"] = state.unknown_why or "-"
    ours = state.role is not CertificateRole.SERVER
    return Finding(
        rule=RULE, subject=subject, standing=Standing.UNKNOWN, level=Level.ORANGE if ours else None,
        sentence=_UNREADABLE if ours else _NEVER_SEEN, as_of=state.seen_at or now, values=values,
    )


def _sentence(role: CertificateRole, certificate: Certificate, level: Level | None, now: datetime) -> Sentence:
    if level is None:
        return _HOLDS
    if now < certificate.not_before:
        return _NOT_YET
    ended = now >= certificate.not_after
    match role:
        case CertificateRole.CLIENT:
            return _CLIENT_ENDED if ended else _CLIENT_ENDS
        case CertificateRole.AUTHORITY:
            return _AUTHORITY_ENDED if ended else _AUTHORITY_ENDS
        case CertificateRole.SERVER:
            return _SERVER_ENDED if ended else _SERVER_ENDS


_HOLDS = Sentence(
    zh="银行 {bank} 的证书（{role}）有效至 {not_after}，还有 {days_left} 天",
    en="the {role} certificate of bank {bank} holds until {not_after}, {days_left} days",
)
_NOT_YET = Sentence(
    zh="银行 {bank} 的证书（{role}，{name}）要到 {not_before} 才生效，现在不能使用；请检查证书文件与本机时钟",
    en="the {role} certificate of bank {bank} ({name}) holds only from {not_before}; check the file and this "
    "machine's clock",
)
_CLIENT_ENDS = Sentence(
    zh="我方用于银行 {bank} 的证书（{name}）将于 {not_after} 到期，还有 {days_left} 天，之后银行将拒绝连接；"
    "请申请新证书并在银行登记",
    en="our certificate for bank {bank} ({name}) ends on {not_after}, in {days_left} days, and the bank will then "
    "refuse us; apply for a new one and register it at the bank",
)
_CLIENT_ENDED = Sentence(
    zh="我方用于银行 {bank} 的证书（{name}）已于 {not_after} 到期，银行拒绝连接，余额无法查询；请立即更换",
    en="our certificate for bank {bank} ({name}) ended on {not_after}: the bank refuses us and balances cannot be "
    "read; replace it now",
)
_AUTHORITY_ENDS = Sentence(
    zh="我方信任的、用于核验银行 {bank} 的根证书（{name}）将于 {not_after} 到期，还有 {days_left} 天；"
    "请向银行索取新的根证书并加入 ca_file",
    en="an authority we trust for bank {bank} ({name}) ends on {not_after}, in {days_left} days; ask the bank for its "
    "new one and add it to ca_file",
)
_AUTHORITY_ENDED = Sentence(
    zh="我方信任的、用于核验银行 {bank} 的根证书（{name}）已于 {not_after} 到期；请从 ca_file 中更换",
    en="an authority we trust for bank {bank} ({name}) ended on {not_after}; replace it in ca_file",
)
_SERVER_ENDS = Sentence(
    zh="银行 {bank} 自己的证书（{name}）将于 {not_after} 到期，还有 {days_left} 天；请提醒银行更换",
    en="bank {bank}'s own certificate ({name}) ends on {not_after}, in {days_left} days; remind the bank to renew it",
)
_SERVER_ENDED = Sentence(
    zh="银行 {bank} 自己的证书（{name}）已于 {not_after} 到期，我方不再连接；请联系银行更换，切勿关闭核验",
    en="bank {bank}'s own certificate ({name}) ended on {not_after} and we no longer connect; call the bank, and do "
    "not turn verification off",
)
_UNREADABLE = Sentence(
    zh="无法读取用于银行 {bank} 的证书（{role}）：{why}；到期日未知，下次连接可能失败",
    en="the {role} certificate for bank {bank} cannot be read: {why}; when it ends is unknown and the next connection "
    "may fail",
)
_NEVER_SEEN = Sentence(
    zh="银行 {bank} 自己的证书尚未见过：{why}", en="bank {bank}'s own certificate was not seen yet: {why}"
)
_UNUSED = Sentence(zh="配置中已不再使用 {subject}", en="{subject} is no longer named in the configuration")
