"""What people decide about matches, what follows when an item changes, and what is matched and open now."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session

from escrow_monitor.domain.match_by_hand import hand_match
from escrow_monitor.domain.match_proposals import Proposal, proposals
from escrow_monitor.domain.matching import (
    BankLine,
    Break,
    BreakKind,
    Expected,
    Match,
    MatchingError,
    Tier,
    break_id,
    match_id,
)
from escrow_monitor.records.bulk import Reader, as_json, fetch, from_json, insert, run, staged
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.matching.items import (
    EXPECTED,
    HALVES,
    LINES,
    Half,
    load,
    one_at_a_time,
    open_again,
    remove,
    temporary,
)

BASES = {
    Tier.REFERENCE: "the same reference and amount", Tier.REFERENCE_TOTAL: "all of the same reference, the sums tie",
    Tier.AMOUNT: "the same amount, dates near", Tier.TOLERANCE: "amounts nearly the same",
    Tier.GROUP: "the sums tie",
}
"""What a match that no person made rests on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMatch:
    """A match with its items, and who made it when. `made_by` None: the engine."""

    match: Match
    lines: tuple[BankLine, ...]
    expected: tuple[Expected, ...]
    made_at: datetime
    made_by: str | None


def match_of(session: Session, *, line_id: str | None = None, expected_id: str | None = None) -> StoredMatch | None:
    """The match that this line, or this expected item, is in."""
    number = _match_of(session, LINES, line_id) if line_id is not None else None
    if expected_id is not None:
        number = _match_of(session, EXPECTED, expected_id)
    return None if number is None else _stored(session, number)


def matches_of(session: Session, uscc: str, *, limit: int = 1_000) -> list[StoredMatch]:
    """The matches of an institution, newest lines first."""
    rows = fetch(
        session,
        "SELECT m.line_no FROM match_lines l JOIN matches m ON m.line_no = l.line_no WHERE l.uscc = :uscc"
        " ORDER BY l.booked_on DESC, l.line_id LIMIT :limit", uscc=uscc, limit=limit,
    )
    found = sorted((_stored(session, number) for (number,) in rows), key=lambda one: one.match.line_ids)
    return sorted(found, key=lambda one: max(line.on for line in one.lines), reverse=True)


def open_breaks(session: Session, uscc: str | None = None, *, limit: int = 100_000) -> list[Break]:
    """What is open, of one institution or of all: the lines, then the expected items, each by day and id."""
    found: list[Break] = []
    where = "" if uscc is None else (
        " WHERE o.house_key IN (SELECT house_key FROM match_houses WHERE uscc = :uscc) AND s.uscc = :uscc"
    )
    given = {} if uscc is None else {"uscc": uscc}
    for half, on, plain in (
        (LINES, "booked_on", BreakKind.UNEXPLAINED), (EXPECTED, "expected_on", BreakKind.MISSING)
    ):
        reader = Reader(session)
        rows = fetch(
            session,
            f"SELECT s.{half.identity}, s.{on}, s.amount_fen, d.kind, d.near FROM {half.open_table} o"
            f" JOIN {half.table} s ON s.{half.number} = o.{half.number} LEFT JOIN match_doubts d"
            f" ON d.is_line = :is_line AND d.item_no = o.{half.number}{where}"
            f" ORDER BY s.{on}, s.{half.identity} LIMIT :limit", is_line=half.is_line, limit=limit, **given,
        )
        # Sorted here again: databases have orders of their own for texts.
        found += sorted((
            Break(
                break_id=break_id(key, is_line=half.is_line), kind=BreakKind(kind) if kind else plain, item_id=key,
                is_line=half.is_line, on=reader.on(day), impact_fen=fen if half.is_line else -fen,
                near=tuple(from_json(near)) if near else (),
            )
            for key, day, fen, kind, near in rows
        ), key=lambda one: (one.on, one.item_id))
    return found


def proposals_for(session: Session, uscc: str) -> tuple[Proposal, ...]:
    """Open items of an institution that a person might look at together, except those somebody took apart."""
    lines, expected = (
        load(
            session, half, f"SELECT o.{half.number} FROM match_houses h JOIN {half.open_table} o"
            " ON o.house_key = h.house_key WHERE h.uscc = :uscc", uscc=uscc,
        ) for half in (LINES, EXPECTED)
    )
    apart = frozenset(key for key, _, _ in _undone(session))
    return tuple(
        one for one in proposals((line for _, line in lines), (item for _, item in expected))
        if match_id([one.line_id], [one.expected_id]) not in apart
    )


def match_by_hand(
    session: Session, line_ids: Collection[str], expected_ids: Collection[str], *, by: str, reason: str, now: datetime
) -> Match:
    """Match these by a person's decision. Raises MatchingError where it cannot be: nothing is written then."""
    one_at_a_time(session)
    lines = _open_items(session, LINES, line_ids)
    expected = _open_items(session, EXPECTED, expected_ids)
    both = (load(session, LINES, _numbers(lines)), load(session, EXPECTED, _numbers(expected)))
    made = hand_match([item for _, item in both[0]], [item for _, item in both[1]], reason=reason)
    first = min(lines)
    insert(session, "matches", {
        "line_no": int, "expected_no": int, "tier": str, "residual_fen": int, "made_at": datetime, "made_by": str,
        "reason": str,
    }, [(first, min(expected), made.tier.value, made.residual_fen, now, by, made.basis)])
    insert(session, "match_more", {"is_line": bool, "item_no": int, "line_no": int}, [
        *((True, number, first) for number in lines if number != first),
        *((False, number, first) for number in expected if number != min(expected)),
    ])
    for half, numbers in zip(HALVES, (lines, expected), strict=True):
        run(session, f"DELETE FROM {half.open_table} WHERE {half.number} IN ({_numbers(numbers)})")
        for table in ("match_pending", "match_doubts"):
            run(
                session, f"DELETE FROM {table} WHERE is_line = :is_line AND item_no IN ({_numbers(numbers)})",
                is_line=half.is_line,
            )
    run(
        session, "UPDATE undone_matches SET lifted_at = :now WHERE match_id = :match_id AND lifted_at IS NULL",
        match_id=made.match_id, now=now,
    )
    _audit(session, "match.made", made, by=by, reason=made.basis, now=now)
    return made


def unmatch(
    session: Session, *, line_id: str | None = None, expected_id: str | None = None, by: str, reason: str,
    now: datetime,
) -> Match:
    """Take the match apart that this item is in. Its items are open again, and are not matched like that by themselves.

    Raises MatchingError if it is in none.
    """
    one_at_a_time(session)
    if not reason.strip():
        raise MatchingError("to take a match apart needs a reason")
    found = match_of(session, line_id=line_id, expected_id=expected_id)
    if found is None:
        raise MatchingError(f"{line_id or expected_id} is in no match")
    number = _match_of(session, LINES, found.match.line_ids[0])
    assert number is not None, "a match without its own line"  # noqa: S101 - it was just read
    _take_apart(session, [number], by=by, reason=reason.strip(), now=now)
    _audit(session, "match.undone", found.match, by=by, reason=reason.strip(), now=now)
    return found.match


def _audit(session: Session, kind: str, made: Match, *, by: str, reason: str, now: datetime) -> None:
    """Append what a person decided to the chain, whose lock is taken last."""
    audit.append(session, kind=kind, actor=by, now=now, payload={
        "match_id": made.match_id, "line_ids": list(made.line_ids), "expected_ids": list(made.expected_ids),
        "tier": made.tier.value, "residual_fen": made.residual_fen, "reason": reason,
    })


# for the other modules of matching


@contextmanager
def undone(session: Session) -> Iterator[frozenset[str]]:
    """The matches that a person took apart and that are not made again by themselves.

    Within the block the pairs among them are the table `undone_pairs`, by the numbers that their items have now.
    """
    rows = _undone(session)
    pairs = [(ours[0], theirs[0]) for _, ours, theirs in rows if len(ours) == len(theirs) == 1]
    numbers = (
        "SELECT l.line_no, e.expected_no FROM undone_ids u JOIN match_lines l ON l.line_id = u.line_id"
        " JOIN match_expected e ON e.expected_id = u.expected_id"
    )
    with (
        staged(session, "undone_ids", {"line_id": str, "expected_id": str}, pairs),
        temporary(session, "undone_pairs", numbers, index=("line_no",)),
    ):
        yield frozenset(match_id for match_id, _, _ in rows)


def _undone(session: Session) -> list[tuple[str, list[str], list[str]]]:
    rows = fetch(session, "SELECT match_id, line_ids, expected_ids FROM undone_matches WHERE lifted_at IS NULL")
    return [(key, from_json(line_ids), from_json(expected_ids)) for key, line_ids, expected_ids in rows]


def forget(
    session: Session, half: Half, ids: Collection[str], *, now: datetime, reason: str
) -> None:
    """Forget items, taking the matches apart that they are in. These may be made again: nobody decided against them."""
    if not ids:
        return
    with staged(session, "forgotten", {"id": str}, ((each,) for each in set(ids))):
        numbers = {number for (number,) in fetch(
            session,
            f"SELECT m.line_no FROM forgotten f JOIN {half.table} s ON s.{half.identity} = f.id"
            f" JOIN matches m ON m.{half.number} = s.{half.number}"
            f" UNION SELECT x.line_no FROM forgotten f JOIN {half.table} s ON s.{half.identity} = f.id"
            f" JOIN match_more x ON x.item_no = s.{half.number} AND {'' if half.is_line else 'NOT '}x.is_line",
        )}
    _take_apart(session, sorted(numbers), by=None, reason=reason, now=now, lifted=True)
    remove(session, half, ids)


def _take_apart(
    session: Session, numbers: Iterable[int], *, by: str | None, reason: str, now: datetime, lifted: bool = False
) -> None:
    for number in numbers:
        found = _stored(session, number)
        made = found.match
        lines = load(session, LINES, _members(LINES, number))
        expected = load(session, EXPECTED, _members(EXPECTED, number))
        last = int(run(session, "SELECT coalesce(max(undone_no), 0) FROM undone_matches").scalar_one())
        insert(session, "undone_matches", {
            "undone_no": int, "match_id": str, "line_ids": str, "expected_ids": str, "tier": str, "residual_fen": int,
            "made_at": datetime, "made_by": str, "made_for": str, "undone_at": datetime, "undone_by": str,
            "reason": str, "lifted_at": datetime,
        }, [(
            last + 1, made.match_id, as_json(list(made.line_ids)), as_json(list(made.expected_ids)), made.tier.value,
            made.residual_fen, found.made_at, found.made_by, made.basis if found.made_by else None, now, by, reason,
            now if lifted else None,
        )])
        for table in ("match_more", "matches"):
            run(session, f"DELETE FROM {table} WHERE line_no = :number", number=number)
        open_again(session, LINES, lines)
        open_again(session, EXPECTED, expected)


def _members(half: Half, number: int) -> str:
    """A subquery for the numbers of a match's items on one side."""
    return (
        f"SELECT {half.number} FROM matches WHERE line_no = {int(number)} UNION SELECT item_no FROM match_more"
        f" WHERE line_no = {int(number)} AND {'' if half.is_line else 'NOT '}is_line"
    )


def _stored(session: Session, number: int) -> StoredMatch:
    row = run(
        session, "SELECT tier, residual_fen, made_at, made_by, reason FROM matches WHERE line_no = :number",
        number=number,
    ).one()
    lines = tuple(sorted((item for _, item in load(session, LINES, _members(LINES, number))), key=_line_key))
    expected = tuple(sorted(
        (item for _, item in load(session, EXPECTED, _members(EXPECTED, number))), key=_expected_key
    ))
    line_ids, expected_ids = tuple(map(_line_key, lines)), tuple(map(_expected_key, expected))
    tier = Tier(row[0])
    return StoredMatch(
        match=Match(
            match_id=match_id(line_ids, expected_ids), tier=tier, line_ids=line_ids, expected_ids=expected_ids,
            residual_fen=row[1], basis=row[4] or BASES.get(tier, ""),
        ),
        lines=lines, expected=expected, made_at=Reader(session).at(row[2]), made_by=row[3],
    )


def _line_key(line: BankLine) -> str:
    return line.line_id


def _expected_key(one: Expected) -> str:
    return one.expected_id


def _match_of(session: Session, half: Half, item_id: str) -> int | None:
    found: int | None = run(
        session,
        f"SELECT m.line_no FROM {half.table} s JOIN matches m ON m.{half.number} = s.{half.number}"
        f" WHERE s.{half.identity} = :item_id UNION SELECT x.line_no FROM {half.table} s JOIN match_more x"
        f" ON x.item_no = s.{half.number} AND {'' if half.is_line else 'NOT '}x.is_line"
        f" WHERE s.{half.identity} = :item_id", item_id=item_id,
    ).scalar_one_or_none()
    return found


def _open_items(session: Session, half: Half, ids: Collection[str]) -> list[int]:
    """The numbers of open items. Raises MatchingError for the first that is not open."""
    with staged(session, "wanted_items", {"id": str}, ((each,) for each in set(ids))):
        rows = dict(_pairs(fetch(
            session,
            f"SELECT s.{half.identity}, s.{half.number} FROM wanted_items w JOIN {half.table} s"
            f" ON s.{half.identity} = w.id JOIN {half.open_table} o ON o.{half.number} = s.{half.number}",
        )))
    for key in sorted(ids):
        if key not in rows:
            raise MatchingError(f"{half.name} {key} is not open: it is unknown or in a match")
    return sorted(rows.values())


def _pairs(rows: Iterable[Sequence[object]]) -> Iterator[tuple[str, int]]:
    for key, number in rows:
        yield str(key), int(str(number))


def _numbers(numbers: Sequence[int]) -> str:
    """A list of numbers as SQL; a subquery without any."""
    return ", ".join(str(int(number)) for number in numbers) or "SELECT 0 WHERE false"
