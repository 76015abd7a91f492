"""The part of the register that somebody may see, as a condition of a query."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from typing import Any

from sqlmodel import Session

from escrow_monitor.domain.visibility import Visible
from escrow_monitor.records.accounts import institution

DISTRICT_DIGITS = 6
"""Of a whole code; a shorter one is the beginning of many."""


def conditions(visible: Visible, *, uscc: str) -> tuple[list[str], dict[str, Any]]:
    """The conditions that rows fit which belong to a visible institution, and their values.

    `uscc` is the column that names the institution. The district is the one that the institution has now. There is no
    condition for who sees everything, so that rows of no institution are theirs too.
    """
    where: list[str] = []
    given: dict[str, Any] = {}
    if visible.uscc is not None:
        where.append(f"{uscc} = :visible_uscc")
        given["visible_uscc"] = visible.uscc
    if visible.districts is not None:
        inside, codes = _begins(visible.districts, column="visible_i.district")
        # Looked up one by one: few rows are shown, and a province has a hundred thousand institutions. A column without
        # its table would be taken for the one of the institution itself.
        where.append(
            f"EXISTS (SELECT 1 FROM institutions visible_i WHERE visible_i.uscc = {uscc} AND {inside})" if "." in uscc
            else f"{uscc} IN (SELECT visible_i.uscc FROM institutions visible_i WHERE {inside})"
        )
        given |= codes
    return where, given


def of_institutions(visible: Visible) -> tuple[list[str], dict[str, Any]]:
    """The same for the institutions `i` themselves."""
    where: list[str] = []
    given: dict[str, Any] = {}
    if visible.uscc is not None:
        where.append("i.uscc = :visible_uscc")
        given["visible_uscc"] = visible.uscc
    if visible.districts is not None:
        inside, codes = _begins(visible.districts, column="i.district")
        where.append(inside)
        given |= codes
    return where, given


def _begins(districts: tuple[str, ...], *, column: str) -> tuple[str, dict[str, Any]]:
    """The condition that a district begins with one of these codes; false for none of them."""
    parts, codes = [], {}
    for place, code in enumerate(districts):
        name, is_whole = f"visible_district_{place}", len(code) == DISTRICT_DIGITS
        # A whole code is read from an index.
        parts.append(f"{column} {'=' if is_whole else 'LIKE'} :{name}")
        codes[name] = code if is_whole else f"{code}%"
    return f"({' OR '.join(parts) or 'false'})", codes


def may_see(session: Session, visible: Visible, uscc: str | None) -> bool:
    """True if what belongs to this institution may be seen; what belongs to none only by who sees everything."""
    if visible.is_everything:
        return True
    if uscc is None or (visible.uscc is not None and uscc != visible.uscc):
        return False
    return visible.covers_institution(institution(session, uscc))
