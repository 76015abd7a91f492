"""Damage to any byte of a statement file is harmless, or refused: no figure changes in silence.

Harmless means: the very same statements, apart from what no format protects, texts, references and numbers of
statements. What else a format leaves without a second witness is listed by name in UNPROTECTED, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statement_cases import WRITERS, chained, entry, read, spanning

from escrow_monitor.banks.formats import StatementFile
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.statements import Statement, StatementKind

ACCOUNT, OTHER = "6222000000000012345", "371082001"

ONE_WITNESS = {
    "account_no": "stated once, without a check digit; the records refuse an account they do not know",
    "entry value_on": "stated once; no rule counts by it",
}
DAYS = {
    "covers_from": "the date of the opening balance stands once; the records hold it against the days they know",
    "covers_to": "the date of the closing balance stands once, and only an entry behind it refutes it",
    "entry booked_on": "stated once; late and early bookings within a statement are usual",
}
OFX = {
    **ONE_WITNESS,
    "covers_from": "DTSTART stands once",
    "kind": "a time that cuts a day in two, or a list that ends early: taken without a balance, its days uncovered",
    "currency": "CURDEF stands once; the records refuse another currency",
    "entry amount": "OFX states one balance; the opening we derive is refuted by the statement before",
    "opening": "derived from the entries and the closing; refuted by the statement before",
    "closing": "stated once; refuted by the statement behind it",
}
"""What only the statements beside it prove: test_neighbours_prove_what_one_ofx_statement_cannot."""
UNPROTECTED: Mapping[str, Mapping[str, str]] = {
    "mt940": {
        **ONE_WITNESS, **DAYS,
        "statements": "a file cut off between two messages: it states no count; the missing days are a gap",
    },
    "camt053": {**ONE_WITNESS, **DAYS},
    "bai2": {
        **ONE_WITNESS, **DAYS,
        "kind": "the digit that marks a group final: as interim it claims less, and its day stays uncovered",
        "currency": "an account with a currency of its own within a group of another is allowed; "
        "the records refuse a currency that is not the account's",
    },
    "ofx1": OFX,
    "ofx2": OFX,
    "csv": {
        "entry value_on": ONE_WITNESS["entry value_on"], "covers_from": "the stated period stands once",
        "covers_to": "the stated period stands once", "currency": "stated once; the records refuse another currency",
    },
}


@cache
def small(name: str) -> bytes:
    """Two chained days of one account and one day of another; what a format cannot hold of it is left out."""
    first = chained(
        ACCOUNT, 100_000_00,
        [
            [
                entry(ACCOUNT, 0, 4_980_00, ref="P1", text="学费,秋季学期"),
                entry(ACCOUNT, 0, 4_980_00, ref="P2", text="学费,秋季学期"),
                entry(ACCOUNT, 0, -345_020_50, ref="P3", text="pay out"),
            ],
            [entry(ACCOUNT, 1, -15_00, ref="P4"), entry(ACCOUNT, 1, 1_200_00, ref="P5", text="退回")],
        ],
    )
    second = chained(OTHER, -10_00, [[entry(OTHER, 0, 25_00, ref="Q1", text="x")]])
    writer = WRITERS[name]
    return writer.write([spanning(first)] if writer.one_statement else [*first, *second])


def damages(content: bytes, place: int) -> Iterator[tuple[str, bytes]]:
    before, byte, after = content[:place], content[place], content[place + 1 :]
    for bit in (0, 1, 2, 3, 4, 5, 6, 7):
        yield f"bit {bit} flipped", before + bytes([byte ^ (1 << bit)]) + after
    yield "byte deleted", before + after
    yield "byte doubled", before + bytes([byte, byte]) + after
    yield "cut off", before


def differing(one: Statement, other: Statement) -> Iterator[str]:
    names = ["account_no", "currency", "available"]
    if one.kind is other.kind:
        names += ["covers_from", "covers_to"]
    else:
        # Never the other way round: a report of the day taken for its end.
        assert (one.kind, other.final) == (StatementKind.END_OF_DAY, False)
        yield "kind"
    yield from (name for name in names if getattr(one, name) != getattr(other, name))
    if one.kind is other.kind:
        yield from ["opening"] * (units(one.opening) != units(other.opening))
        yield from ["closing"] * (units(one.closing) != units(other.closing))
    if len(one.entries) != len(other.entries):
        yield "entries"
        return
    for left, right in zip(one.entries, other.entries, strict=True):
        yield from ["entry amount"] * (units(left.amount) != units(right.amount))
        for name in ("booked_on", "value_on", "reversal"):
            yield from [f"entry {name}"] * (getattr(left, name) != getattr(right, name))


def units(money: Money | None) -> int | None:
    return None if money is None else money.minor_units


@cache
def undamaged(content: bytes) -> StatementFile:
    answer = read(content)
    assert isinstance(answer, StatementFile), answer.refusals
    return answer


def changed(content: bytes, damaged: bytes) -> set[str]:
    """Which figures the damage changed without a refusal."""
    whole, answer = undamaged(content), read(damaged)
    if not isinstance(answer, StatementFile):
        assert answer.refusals
        return set()
    if len(answer.statements) != len(whole.statements):
        return {"statements"}
    return {
        name for one, other in zip(whole.statements, answer.statements, strict=True) for name in differing(one, other)
    }


def check(name: str, place: int) -> None:
    content = small(name)
    for what, damaged in damages(content, place % len(content)):
        silent = changed(content, damaged) - UNPROTECTED[name].keys()
        assert not silent, (place, what, content[max(0, place - 20) : place + 20])


@settings(max_examples=400, deadline=None)
@given(name=st.sampled_from(list(WRITERS)), place=st.integers(0, 100_000))
def test_a_damaged_byte_changes_no_figure_in_silence(name: str, place: int) -> None:
    check(name, place)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_no_byte_of_a_file_can_be_damaged_in_silence_but_where_we_say_so(name: str) -> None:
    """A figure that a reader has learnt to protect must leave the list, or the list would hide a fault one day."""
    content = small(name)
    silent = {
        figure for place in range(len(content)) for _, damaged in damages(content, place)
        for figure in changed(content, damaged)
    }
    assert silent == UNPROTECTED[name].keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ofx1", "ofx2"])
def test_neighbours_prove_what_one_ofx_statement_cannot(name: str) -> None:
    """Of three chained days, no amount and no balance of the second can change, nor the closing of the first."""
    days = [[entry(ACCOUNT, day, fen, ref=f"{fen}-{day}") for fen in (-12_34, 987_65)] for day in range(3)]
    content = WRITERS[name].write(chained(ACCOUNT, 100_00, days))
    first, second, third = (place for place in range(len(content)) if content.startswith(b"<STMTTRNRS>", place))
    closing = content.index(b"<BALAMT>", first)
    for place in [*range(closing, content.index(b"<", closing + 8)), *range(second, third)]:
        for what, damaged in damages(content, place):
            silent = changed(content, damaged)
            if silent & {"kind", "account_no", "statements"}:
                continue  # it is no longer the neighbour of the others: its day is a gap
            assert silent <= {"entry value_on"}, (what, content[place - 20 : place + 20])
