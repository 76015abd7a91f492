"""What the invented banks answer, each in its own dialect: no sockets, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import parse_qsl, urlsplit

from escrow_monitor.sandbox.dialects import DIALECTS
from escrow_monitor.sandbox.dialects.berlin_group import BerlinGroupDialect
from escrow_monitor.sandbox.dialects.dialect import Answer, Dialect, Request
from escrow_monitor.sandbox.district import ZONE, Condition, District, SandboxBank


@dataclass(kw_only=True)
class Desk:
    """Answers for all banks of a district. `dialects` lets a bank, by name, speak another dialect than its own."""

    district: District
    dialects: Mapping[str, str] = field(default_factory=dict)
    _spoken: dict[str, Dialect] = field(default_factory=dict)

    def answer(
        self, *, method: str, target: str, headers: Mapping[str, str], at: datetime, body: bytes = b"",
        condition: Condition | None = None,
    ) -> Answer:
        """Answer one request at an instant; header names are lower case. `condition` overrides the bank's own."""
        url, at = urlsplit(target), at.astimezone(ZONE)
        bank = self.bank_at(url.path)
        if bank is None:
            return Answer(404, b"no such bank", "text/plain")
        chosen = condition or self.district.condition(bank.name, at)
        request = Request(
            method=method, target=target, path=url.path.removeprefix(bank.path), query=dict(parse_qsl(url.query)),
            headers=headers, body=body,
        )
        dialect = self.dialect(bank)
        if chosen is Condition.LIMITED:
            return dialect.limited(request, bank=bank)
        return dialect.answer(request, bank=bank, at=at, garbage=chosen is Condition.GARBAGE)

    def bank_at(self, path: str) -> SandboxBank | None:
        """The bank whose interface a path belongs to."""
        first = "/" + path.lstrip("/").split("/", 1)[0]
        return next((bank for bank in self.district.banks if bank.path == first and bank.token), None)

    def bank(self, name: str) -> SandboxBank:
        """The bank of that name."""
        return next(bank for bank in self.district.banks if bank.name == name)

    def dialect(self, bank: SandboxBank) -> Dialect:
        """The dialect a bank speaks here."""
        name = self.dialects.get(bank.name, bank.connector)
        if name not in self._spoken:
            self._spoken[name] = DIALECTS[name](self.district)
        return self._spoken[name]

    def settings(self, name: str, *, base_url: str) -> Mapping[str, object]:
        """What an operator would write into `[banks.NAME]` to reach a bank of this district."""
        bank = self.bank(name)
        return self.dialect(bank).settings(bank, base_url=base_url)

    def render_pages(self, name: str, *, at: datetime) -> int:
        """Write all pages of a bank's accounts for the tick of `at` in advance; return how many there are."""
        bank = self.bank(name)
        dialect = self.dialect(bank)
        if not isinstance(dialect, BerlinGroupDialect):
            raise TypeError(f"{name} does not speak Berlin Group here: it has no pages to write in advance")
        return dialect.render_pages(bank, at=at)
