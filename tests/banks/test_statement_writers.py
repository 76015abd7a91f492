"""What our writers write, our readers read back, in every format."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from bai2 import bai2 as other_bai2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from statement_cases import WRITERS, Written, chained, entry, read, spanning

from escrow_monitor.banks.formats import StatementFile
from escrow_monitor.domain.statements import Entry, Statement, numbered

ACCOUNTS = ("6222000000000012345", "371082001", "CN00A9")
WORDS = st.text(alphabet="学费退款秋季学期冲正abcXYZ0189,./&<>'\"?-:;|()#%{}[]=+*_!€é", min_size=1, max_size=90)
TEXTS = st.lists(WORDS, max_size=12).map(" ".join).filter(
    # MT940 gives these a meaning of their own; a statement is not written with them.
    lambda text: not re.match(r"[0-9]{3}\s?[?>^~+@][0-9]{2}", text)
)
FEN = st.one_of(st.integers(-(10**12), 10**12), st.sampled_from((1, -1, 100, -498_000, 0)))


@st.composite
def accounts(draw: st.DrawFn) -> list[list[Statement]]:
    """For each account one to three days, some empty, with twins."""
    found = []
    for account_no in draw(st.lists(st.sampled_from(ACCOUNTS), min_size=1, max_size=3, unique=True)):
        count = 0
        days = []
        for day in range(draw(st.integers(1, 3))):
            entries: list[Entry] = []
            for _ in range(draw(st.integers(0, 4))):
                count += 1
                fen = draw(FEN)
                made = entry(
                    account_no, day, fen, ref=draw(st.sampled_from((None, f"R{count}", "P2026-1"))), text=draw(TEXTS),
                    reversal=bool(fen) and draw(st.booleans()),
                )
                entries += [made] * draw(st.sampled_from((1, 1, 1, 2)))
            days.append(entries)
        found.append(chained(account_no, draw(FEN), days))
    return found


def sayable(statement: Statement, writer: Written) -> Statement:
    """The statement as far as the format can say it."""
    return replace(
        statement,
        entries=numbered(
            replace(
                one, reversal=one.reversal and writer.reversals,
                bank_ref=f"{statement.number}-{place}" if writer.needs_references else one.bank_ref,
            )
            for place, one in enumerate(statement.entries)
        ),
    )


def facts(statement: Statement) -> tuple[object, ...]:
    return (
        statement.account_no, statement.currency, statement.kind, statement.opening, statement.closing,
        statement.covers_from, statement.covers_to, statement.entries,
    )


def check_round_trip(writer: Written, statements: Sequence[Statement]) -> None:
    result = read(writer.write(statements))
    assert isinstance(result, StatementFile), result.refusals
    assert result.format == writer.format
    assert [facts(one) for one in result.statements] == [facts(one) for one in statements]


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(found=accounts())
def test_any_statements_come_back_equal(name: str, found: list[list[Statement]]) -> None:
    writer = WRITERS[name]
    if writer.one_statement:
        check_round_trip(writer, [sayable(found[0][0], writer)])
    else:
        check_round_trip(writer, [sayable(one, writer) for days in found for one in days])


@pytest.mark.parametrize("name", [name for name, writer in WRITERS.items() if writer.many_days])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(found=accounts())
def test_a_statement_over_many_days_comes_back_equal(name: str, found: list[list[Statement]]) -> None:
    writer = WRITERS[name]
    statements = [sayable(spanning(days), writer) for days in found]
    check_round_trip(writer, statements[:1] if writer.one_statement else statements)


def test_a_bai2_group_is_of_one_day() -> None:
    days = chained(ACCOUNTS[0], 0, [[], []])
    with pytest.raises(ValueError, match="one day"):
        WRITERS["bai2"].write([spanning(days)])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(found=accounts())
def test_an_independent_reader_sees_our_bai2_alike(found: list[list[Statement]]) -> None:
    """It checks every control total and count, too."""
    statements = [one for days in found for one in days]
    parsed = other_bai2.parse_from_string(WRITERS["bai2"].write(statements).decode(), check_integrity=True)
    for group, statement in zip(parsed.children, statements, strict=True):
        (account,) = group.children
        assert group.header.as_of_date == statement.closing_on
        assert account.header.customer_account_number == statement.account_no
        assert [
            one.amount if one.type_code.transaction.value == "credit" else -one.amount for one in account.children
        ] == [one.amount.minor_units for one in statement.entries]
