"""Statement files and the coverage of accounts, for lists that are gone through page by page."""

from __future__ import annotations

from datetime import date, datetime

from escrow_monitor.records.sorted_lists import KEY, Listing

STATEMENT_FILES = Listing(
    key="f.sha256", source="statement_files f", holder="NULL",
    columns={KEY: ("f.sha256", str), "recorded_at": ("f.recorded_at", datetime)},
    fits={
        "result": "f.outcome = :result", "source": "f.source = :source", "format": "f.format = :format",
        "reason": "f.refusals LIKE :reason",
    },
)
"""Files that were received. They speak of many institutions: only who sees everything may ask."""

COVERAGE = Listing(
    key="a.account_no", holder="a.uscc",
    source=(
        "account_states s JOIN accounts a ON a.account_no = s.account_no LEFT JOIN (SELECT g.account_no, count(*)"
        " AS days FROM coverage_gaps g WHERE g.filled_at IS NULL GROUP BY g.account_no) m"
        " ON m.account_no = a.account_no"
    ),
    columns={
        KEY: ("a.account_no", str), "covered_from": ("s.covered_from", date), "covered_to": ("s.covered_to", date),
        "missing": ("coalesce(m.days, 0)", int),
    },
    fits={
        "uscc": "a.uscc = :uscc", "bank": "a.bank = :bank", "some_missing": "m.days IS NOT NULL",
        "none_missing": "m.days IS NULL",
        "district": "a.uscc IN (SELECT d.uscc FROM institutions d WHERE d.district LIKE :district)",
    },
)
"""Accounts by which days final statements cover."""


def refused_for(reason: str | None) -> str | None:
    """The pattern of all refusals, as they are kept, of which one has this reason."""
    return None if reason is None else f'%"reason":"{reason}"%'
