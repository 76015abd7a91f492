"""What the pages about reconciliations ask: the newest of each institution, who asked for what, and what is open."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from escrow_monitor.domain.match_proposals import Proposal
from escrow_monitor.domain.matching import BankLine, Break, Expected
from escrow_monitor.domain.visibility import EVERYTHING, Visible
from escrow_monitor.records.bulk import fetch, is_sqlite, run, texts
from escrow_monitor.records.matching.decisions import open_breaks, proposals_for
from escrow_monitor.records.matching.items import EXPECTED, LINES, Side, load
from escrow_monitor.records.reconciliation.reconciliations import (
    AskedReconciliation,
    StoredReconciliation,
    asked,
    by_numbers,
)
from escrow_monitor.records.visible import conditions


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedNewest:
    """Which institutions' newest reconciliations are asked for; None leaves a part open.

    `text` is part of the name or the beginning of the code. With `to_do` only those on which somebody has to work.
    """

    text: str | None = None
    district: str | None = None
    to_do: bool = False
    visible: Visible = EVERYTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class NewestLine:
    """The newest reconciliation of an institution in a currency; `breaks` items of it are to be cleared up."""

    stored: StoredReconciliation
    institution: str
    breaks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenItems:
    """What is open of one institution: every line and expected item, why, and what might belong together."""

    lines: Mapping[str, BankLine]
    expected: Mapping[str, Expected]
    breaks: Sequence[Break]
    proposals: Sequence[Proposal]


def newest_lines(
    session: Session, wanted: AskedNewest, *, after: tuple[str, str] = ("", ""), limit: int
) -> list[NewestLine]:
    """At most `limit`, by code and currency; those after `after`."""
    where, given = conditions(wanted.visible, uscc="s.uscc")
    where.append("(s.uscc, s.currency) > (:after, :currency)")
    given |= {"after": after[0], "currency": after[1]}
    if wanted.to_do:
        where.append("(s.breaks > 0 OR NOT r.complete)")
    if wanted.district is not None:
        where.append("i.district >= :district AND i.district < :district_end")
        given |= {"district": wanted.district, "district_end": f"{wanted.district}~"}
    if wanted.text is not None:
        like = "LIKE" if is_sqlite(session) else "ILIKE"
        escaped = wanted.text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        where.append(f"(i.name {like} :part ESCAPE '\\' OR s.uscc LIKE :code ESCAPE '\\')")
        given |= {"part": f"%{escaped}%", "code": f"{escaped.upper()}%"}
    rows = fetch(
        session,
        "SELECT s.recon_no, coalesce(i.name, s.uscc), s.breaks FROM reconciliation_states s"
        " JOIN reconciliations r ON r.recon_no = s.recon_no LEFT JOIN institutions i ON i.uscc = s.uscc"
        f" WHERE {' AND '.join(where)} ORDER BY s.uscc, s.currency LIMIT :most", most=limit, **given,
    )
    told = {number: (name, int(breaks)) for number, name, breaks in rows}
    return [
        NewestLine(stored=one, institution=told[one.recon_no][0], breaks=told[one.recon_no][1])
        for one in (by_numbers(session, sorted(told)) if told else ())
    ]


def recently_asked(
    session: Session, *, uscc: str | None = None, visible: Visible = EVERYTHING, limit: int = 10
) -> list[AskedReconciliation]:
    """What people asked for last, newest first; of one institution, or of all that may be seen."""
    where, given = conditions(visible, uscc="q.uscc")
    if uscc is not None:
        where.append("q.uscc = :uscc")
        given["uscc"] = uscc
    ids = [row[0] for row in fetch(
        session,
        f"SELECT q.request_id FROM asked_reconciliations q WHERE {' AND '.join(where) or 'true'}"
        " ORDER BY q.asked_at DESC, q.request_id LIMIT :most", most=limit, **given,
    )]
    return [found for found in (asked(session, each) for each in ids) if found is not None]


def institutions_named(
    session: Session, text: str, *, visible: Visible = EVERYTHING, limit: int = 10
) -> list[tuple[str, str]]:
    """Code and name of the institutions with this code, else of those whose name has this text or code begins so."""
    where, given = conditions(visible, uscc="i.uscc")
    for fits, value in (
        ("i.uscc = :text", text.upper()), (_NAMED.format("LIKE" if is_sqlite(session) else "ILIKE"), text),
    ):
        escaped = value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        values: dict[str, Any] = (
            {"text": value} if fits == "i.uscc = :text" else {"part": f"%{escaped}%", "code": f"{escaped.upper()}%"}
        )
        rows = fetch(
            session,
            f"SELECT i.uscc, i.name FROM institutions i WHERE {' AND '.join([*where, fits])}"
            " ORDER BY i.name, i.uscc LIMIT :most", most=limit, **given, **values,
        )
        if rows:
            return [(uscc, name) for uscc, name in rows]
    return []


_NAMED = "(i.name {0} :part ESCAPE '\\' OR i.uscc LIKE :code ESCAPE '\\')"


def open_items(session: Session, uscc: str, *, limit: int) -> OpenItems:
    """What is open of one institution; of each side at most the `limit` oldest."""
    breaks = open_breaks(session, uscc, limit=limit)
    line_ids = {one.item_id for one in breaks if one.is_line}
    expected_ids = {one.item_id for one in breaks if not one.is_line}
    return OpenItems(
        lines={one.line_id: one for one in _open(session, LINES, uscc) if one.line_id in line_ids},
        expected={one.expected_id: one for one in _open(session, EXPECTED, uscc) if one.expected_id in expected_ids},
        breaks=breaks, proposals=proposals_for(session, uscc),
    )


def open_count(session: Session, uscc: str) -> int:
    """How many lines and expected items of an institution are open."""
    return sum(
        int(run(
            session,
            f"SELECT count(*) FROM match_houses h JOIN {half.open_table} o ON o.house_key = h.house_key"
            f" JOIN {half.table} s ON s.{half.number} = o.{half.number} WHERE h.uscc = :uscc AND s.uscc = :uscc",
            uscc=uscc,
        ).scalar_one()) for half in (LINES, EXPECTED)
    )


def owners(session: Session, line_ids: Collection[str], expected_ids: Collection[str]) -> set[tuple[str, str]]:
    """The institution and currency of each of these items, open or matched."""
    return {*owners_of_lines(session, line_ids).values(), *owners_of_items(session, expected_ids).values()}


def owners_of_lines(session: Session, line_ids: Collection[str]) -> dict[str, tuple[str, str]]:
    """The institution and currency of each of these lines, by their ids; unknown ones are left out."""
    return _owners(session, LINES, line_ids)


def owners_of_items(session: Session, expected_ids: Collection[str]) -> dict[str, tuple[str, str]]:
    """The same of expected items."""
    return _owners(session, EXPECTED, expected_ids)


def _owners(session: Session, half: Side[Any], ids: Collection[str]) -> dict[str, tuple[str, str]]:
    return {identity: (uscc, currency) for identity, uscc, currency in fetch(
        session, f"SELECT {half.identity}, uscc, currency FROM {half.table} WHERE {half.identity} IN EACH(:ids)",
        ids=sorted(set(ids)),
    )}


def not_open(session: Session, line_ids: Sequence[str], expected_ids: Sequence[str]) -> list[str]:
    """Those of these items that are not open: unknown, or in a match."""
    missing: list[str] = []
    for half, ids in ((LINES, line_ids), (EXPECTED, expected_ids)):
        there = set(texts(
            session,
            f"SELECT s.{half.identity} FROM {half.table} s JOIN {half.open_table} o"
            f" ON o.{half.number} = s.{half.number} WHERE s.{half.identity} IN EACH(:ids)", ids=sorted(set(ids)),
        ))
        missing += sorted(set(ids) - there)
    return missing


def _open(session: Session, side: Side[Any], uscc: str) -> list[Any]:
    return [item for _, item in load(
        session, side, f"SELECT o.{side.number} FROM match_houses h JOIN {side.open_table} o"
        " ON o.house_key = h.house_key WHERE h.uscc = :uscc", uscc=uscc,
    ) if item.uscc == uscc]
