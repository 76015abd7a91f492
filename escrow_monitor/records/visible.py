"""The part of the register that somebody may see, as a condition of a query."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from typing import Any

from sqlmodel import Session

from escrow_monitor.domain.visibility import Visible
from escrow_monitor.records.accounts import institution


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
        where.append(f"{uscc} IN (SELECT visible_i.uscc FROM institutions visible_i WHERE {inside})")
        given |= codes
    return where, given


def _begins(districts: tuple[str, ...], *, column: str) -> tuple[str, dict[str, Any]]:
    """The condition that a district begins with one of these codes; false for none of them."""
    codes = {f"visible_district_{place}": f"{code}%" for place, code in enumerate(districts)}
    return f"({' OR '.join(f'{column} LIKE :{name}' for name in codes) or 'false'})", codes


def may_see(session: Session, visible: Visible, uscc: str | None) -> bool:
    """True if what belongs to this institution may be seen; what belongs to none only by who sees everything."""
    if visible.is_everything:
        return True
    if uscc is None or (visible.uscc is not None and uscc != visible.uscc):
        return False
    return visible.covers_institution(institution(session, uscc))
