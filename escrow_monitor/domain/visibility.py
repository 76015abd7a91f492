"""What part of the register somebody may see: some districts, one institution, or everything."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from escrow_monitor.domain.institutions import Institution

DISTRICT_SHAPE = re.compile(r"[0-9]{2,6}\Z", re.ASCII)
"""A GB/T 2260 code or its beginning: 51 is a province, 5103 a city, 510302 a district."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visible:
    """Both parts must fit. `districts` None is every district, `uscc` None every institution.

    A district covers what its code begins: 5103 covers 510302. Who is limited does not see what has no district or
    no institution: unknown is not theirs. An empty tuple of districts sees nothing.
    """

    districts: tuple[str, ...] | None = None
    uscc: str | None = None

    @property
    def is_everything(self) -> bool:
        """True if nothing is kept from them, what belongs to no institution included."""
        return self.districts is None and self.uscc is None

    @property
    def is_of_institution(self) -> bool:
        """True for an institution itself, which does not read what supervisors write among themselves."""
        return self.uscc is not None

    def covers(self, *, uscc: str | None, district: str | None) -> bool:
        """True if what belongs to this institution in this district may be seen."""
        if self.uscc is not None and uscc != self.uscc:
            return False
        if self.districts is None:
            return True
        return district is not None and any(district.startswith(code) for code in self.districts)

    def covers_institution(self, institution: Institution | None) -> bool:
        """True if this institution may be seen; what has none only by who sees everything."""
        if institution is None:
            return self.is_everything
        return self.covers(uscc=institution.uscc, district=institution.district)

    def includes(self, other: Visible, *, district: str | None = None) -> bool:
        """True if all that `other` sees is seen here too. `district` is where the institution is that other sees."""
        if self.is_everything:
            return True
        if other.uscc is not None:
            return self.covers(uscc=other.uscc, district=district)
        if self.uscc is not None or other.districts is None or self.districts is None:
            return False
        mine = self.districts
        return all(any(code.startswith(begin) for begin in mine) for code in other.districts)

    def covers_labels(self, labels: Mapping[str, str]) -> bool:
        """True if an alert or feed entry with these labels (`uscc`, `district`) may be seen."""
        return self.covers(uscc=labels.get("uscc"), district=labels.get("district"))


EVERYTHING = Visible()
