"""What every institution is called and where it is, in memory: to look up, to count and to search."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlmodel import Session

from escrow_monitor.domain.visibility import Visible
from escrow_monitor.records.bulk import fetch, run

DIRECTORY_MAX = 500_000
"""Of so many institutions all names are held in memory, some hundred bytes each; of more none."""
DISTRICTS_MAX = 1_000


class Listed(NamedTuple):
    """One institution. `kind` and `district` as they are recorded."""

    name: str
    district: str | None
    kind: str | None


class Directory:
    """All institutions as they were registered at one `version` of the register; never changed after."""

    def __init__(self, version: int, rows: Sequence[tuple[str, str, str | None, str | None]]) -> None:
        """`rows` are (uscc, name, district, kind) by uscc."""
        self.version = version
        shared: dict[str | None, str | None] = {}
        self._usccs = [row[0] for row in rows]
        self._listed = {
            uscc: Listed(name, shared.setdefault(district, district), shared.setdefault(kind, kind))
            for uscc, name, district, kind in rows
        }
        self._counts: Mapping[str | None, int] = Counter(row[2] for row in rows)
        # One long text is searched in a millisecond where a hundred thousand short ones take forty.
        lowered = [row[1].lower().replace("\n", " ") for row in rows]
        self._begins, at = [], 0
        for text in lowered:
            self._begins.append(at)
            at += len(text) + 1
        self._text = "\n".join(lowered)

    def get(self, uscc: str | None) -> Listed | None:
        """One institution, if it is registered."""
        return None if uscc is None else self._listed.get(uscc)

    def covers(self, visible: Visible, uscc: str | None) -> bool:
        """Whether what belongs to this institution may be seen; what belongs to none only by who sees everything."""
        if visible.is_everything:
            return True
        found = self.get(uscc)
        return found is not None and visible.covers(uscc=uscc, district=found.district)

    def places(self, visible: Visible) -> frozenset[str | None]:
        """The districts (None: none) whose institutions may be seen, of one institution those it might be in."""
        return frozenset(
            district for district in (*self._counts, None)
            if visible.covers(uscc=visible.uscc, district=district)
        )

    def count(self, visible: Visible) -> int:
        """How many institutions may be seen."""
        if visible.uscc is not None:
            return int(self.covers(visible, visible.uscc))
        if visible.districts is None:
            return len(self._usccs)
        return sum(
            count for district, count in self._counts.items() if district is not None
            and district.startswith(visible.districts)
        )

    def districts(self, visible: Visible) -> list[str]:
        """The districts that institutions are in and that may be seen, by code."""
        found = sorted(district for district in self._counts if district is not None)
        return [
            code for code in found if visible.districts is None or code.startswith(visible.districts)
        ][:DISTRICTS_MAX]

    def named(self, text: str, *, limit: int) -> list[str]:
        """The codes of institutions with this in their name, or at the beginning of their code; at most `limit`."""
        wanted, code, found = text.lower(), text.upper(), dict[str, None]()
        at = 0 if "\n" in wanted else self._text.find(wanted)
        while at >= 0 and len(found) < limit and "\n" not in wanted:
            place = bisect_right(self._begins, at) - 1
            found[self._usccs[place]] = None
            at = self._text.find(wanted, at + 1 if place + 1 == len(self._begins) else self._begins[place + 1])
        place = bisect_left(self._usccs, code)
        while len(found) < limit and place < len(self._usccs) and self._usccs[place].startswith(code):
            found[self._usccs[place]] = None
            place += 1
        return list(found)


def register_version(session: Session) -> int:
    """Grows whenever an institution is new or changed."""
    return int(run(session, "SELECT version FROM register_version").scalar_one())


def directory(session: Session) -> Directory | None:
    """All institutions as they are now; None for more than are held in memory."""
    version = register_version(session)
    rows = fetch(
        session, "SELECT uscc, name, district, kind FROM institutions ORDER BY uscc LIMIT :most", most=DIRECTORY_MAX + 1
    )
    return Directory(version, sorted(rows)) if len(rows) <= DIRECTORY_MAX else None
