"""A frozen or closed account is reported at once (R16)."""

from __future__ import annotations

from datetime import datetime

from escrow_monitor.domain.accounts import AccountStatus
from escrow_monitor.domain.findings import Finding, Level, Sentence, Standing, account_subject
from escrow_monitor.domain.policy import EffectivePolicy
from escrow_monitor.domain.positions import Position

RULE = "account_status"


def examine(position: Position, policy: EffectivePolicy, now: datetime) -> tuple[Finding, ...]:
    """Red while the bank says frozen or closed. Of a bank that never speaks of it there is no finding."""
    status = position.status
    if status is AccountStatus.UNKNOWN and position.status_as_of is None:
        return ()
    standing, level, sentence = _ANSWERS[status]
    said_at = None if position.status_as_of is None else position.status_as_of.astimezone(policy.zone)
    return (
        Finding(
            rule=RULE, subject=account_subject(position.account.account_no), standing=standing, level=level,
            sentence=sentence, as_of=position.status_as_of or now,
            values={"status": status.value, "bank": position.account.bank, "status_as_of": said_at},
        ),
    )


_ANSWERS = {
    AccountStatus.ACTIVE: (
        Standing.MET, None, Sentence(zh="{bank} 表示账户正常", en="{bank} says the account is active"),
    ),
    AccountStatus.FROZEN: (
        Standing.BREACHED, Level.RED,
        Sentence(
            zh="{bank} 于 {status_as_of} 表示账户已冻结，家长的退费可能无法支付；请向银行查明由谁、因何冻结",
            en="{bank} said at {status_as_of} that the account is frozen, so refunds to parents may not be paid; "
            "ask the bank who froze it and why",
        ),
    ),
    AccountStatus.CLOSED: (
        Standing.BREACHED, Level.RED,
        Sentence(
            zh="{bank} 于 {status_as_of} 表示账户已销户；请查明余额去向及新的专用账户",
            en="{bank} said at {status_as_of} that the account is closed; ask where its balance went and which account "
            "takes its place",
        ),
    ),
    AccountStatus.UNKNOWN: (
        Standing.UNKNOWN, None,
        Sentence(
            zh="{bank} 于 {status_as_of} 未说明账户状态",
            en="{bank} did not say at {status_as_of} what state the account is in",
        ),
    ),
}
