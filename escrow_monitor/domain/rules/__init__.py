"""What is required of an account, one rule a file; each says met, breached or unknown, and why.

    RULES x Position x EffectivePolicy x now -> Findings                         about an account
    INSTITUTION_RULES x InstitutionPosition x EffectivePolicy x now -> Findings  about an institution and its families

To add a rule: one file with `examine`, one line here, one table test.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias

from escrow_monitor.domain.findings import Finding
from escrow_monitor.domain.institution_position import InstitutionPosition
from escrow_monitor.domain.policy import EffectivePolicy
from escrow_monitor.domain.positions import Position
from escrow_monitor.domain.rules import (
    account_status,
    corrected_statement,
    external_check,
    fee_cap,
    feed_gap,
    floor,
    freshness,
    large_outflow,
    late_top_up,
    outflow_cap,
    receipt_outside_escrow,
    reconciliation_open,
    refund_mismatch,
    refund_overdue,
    release_ahead,
)

Rule: TypeAlias = Callable[[Position, EffectivePolicy, datetime], tuple[Finding, ...]]

RULES: tuple[Rule, ...] = (
    floor.examine,
    late_top_up.examine,
    large_outflow.examine,
    outflow_cap.examine,
    freshness.examine,
    feed_gap.examine,
    external_check.examine,
    corrected_statement.examine,
    account_status.examine,
)

InstitutionRule: TypeAlias = Callable[[InstitutionPosition, EffectivePolicy, datetime], tuple[Finding, ...]]

INSTITUTION_RULES: tuple[InstitutionRule, ...] = (
    release_ahead.examine,
    receipt_outside_escrow.examine,
    reconciliation_open.examine,
    refund_overdue.examine,
    refund_mismatch.examine,
    fee_cap.examine,
)
