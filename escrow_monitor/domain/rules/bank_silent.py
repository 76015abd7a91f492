"""A bank of which no account was answered for when last asked is told once, for all its accounts."""

from __future__ import annotations

from datetime import datetime

from escrow_monitor.domain.findings import Finding, Level, Sentence, Standing

RULE = "bank_silent"


def examine_bank(
    *, bank: str, accounts: int, silent: int, last_answer_at: datetime | None, now: datetime
) -> Finding:
    """Breached while every account that was asked for had no usable answer; met once one has."""
    is_silent = 0 < accounts <= silent
    return Finding(
        rule=RULE, subject=f"bank:{bank}", as_of=now,
        standing=Standing.BREACHED if is_silent else Standing.MET, level=Level.ORANGE if is_silent else None,
        sentence=_ANSWERS if not is_silent else _NEVER if last_answer_at is None else _SILENT,
        values={"bank": bank, "accounts": accounts, "silent": silent, "last_answer_at": last_answer_at},
    )


_SILENT = Sentence(
    zh="{bank} 对全部 {accounts} 个账户均无可用应答，最近应答 {last_answer_at}；请联系银行或导入对账单",
    en="{bank} gave no usable answer for any of its {accounts} accounts, the last was at {last_answer_at}; "
    "ask the bank, or load its statements",
)
_NEVER = Sentence(
    zh="{bank} 对全部 {accounts} 个账户从未给出可用应答；请联系银行或导入对账单",
    en="{bank} has never given a usable answer for any of its {accounts} accounts; ask the bank, or load its "
    "statements",
)
_ANSWERS = Sentence(
    zh="{bank} 有应答（{accounts} 个账户中 {silent} 个无应答）",
    en="{bank} answers ({silent} of {accounts} accounts not answered)",
)
