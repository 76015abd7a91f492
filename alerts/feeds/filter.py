"""Which entries of the feed a reader wants. No number is dropped silently: a page says how many it skipped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from alerts.alert import FeedEntry, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedFilter:
    """All that is set must fit. `severity` is the least grave that is wanted, `district` a code or the beginning of one
    (`5103` is every county of Zigong); the others are compared whole. `districts` is what a reader may see at all, one
    of these codes or beginnings: it is not asked for by name and is in no address."""

    severity: Severity | None = None
    rule: str | None = None
    uscc: str | None = None
    account_no: str | None = None
    bank: str | None = None
    district: str | None = None
    districts: tuple[str, ...] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether everything fits."""
        return not self.asked and self.districts is None

    @property
    def asked(self) -> dict[str, str]:
        """What is set, by name, as a query string says it."""
        return {name: str(value) for name in NAMES if (value := getattr(self, name)) is not None}

    def matches(self, entry: FeedEntry) -> bool:
        """Whether an entry is wanted. What an entry does not say of itself fits no filter."""
        if self.severity is not None and entry.severity.rank < self.severity.rank:
            return False
        if self.rule is not None and entry.key.rule != self.rule:
            return False
        labels = entry.labels
        if self.districts is not None and not labels.get("district", "").startswith(self.districts):
            return False
        if self.district is not None and not labels.get("district", "").startswith(self.district):
            return False
        return all(
            wanted is None or labels.get(name) == wanted
            for name, wanted in (("uscc", self.uscc), ("account_no", self.account_no), ("bank", self.bank))
        )

    def within(self, other: FeedFilter) -> FeedFilter | None:
        """What fits both; None where nothing can, because they name two different things."""
        merged: dict[str, str] = dict(other.asked)
        for name, value in self.asked.items():
            held = merged.get(name)
            if held is None or held == value:
                merged[name] = value
            elif name == "severity":
                merged[name] = max(held, value, key=lambda each: Severity(each).rank)
            elif name == "district" and (held.startswith(value) or value.startswith(held)):
                merged[name] = max(held, value, key=len)
            else:
                return None
        return replace(filter_of(merged), districts=_both(self.districts, other.districts))


def filter_of(asked: Mapping[str, str]) -> FeedFilter:
    """The filter of a mapping by name. Raises ValueError for an unknown severity."""
    severity = asked.get("severity")
    return FeedFilter(
        severity=None if severity is None else Severity(severity), rule=asked.get("rule"), uscc=asked.get("uscc"),
        account_no=asked.get("account_no"), bank=asked.get("bank"), district=asked.get("district"),
    )


def _both(one: tuple[str, ...] | None, other: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The codes whose districts both cover: of two of which one begins with the other, the longer."""
    if one is None or other is None:
        return other if one is None else one
    return tuple(sorted({
        max(left, right, key=len)
        for left in one for right in other if left.startswith(right) or right.startswith(left)
    }))


NAMES = tuple(each.name for each in fields(FeedFilter) if each.name != "districts")
