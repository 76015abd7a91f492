"""From the pages of one question for balances to an outcome for each account that was asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from escrow_monitor.banks.answer_reading import check_one_voice, masked, plain_id
from escrow_monitor.banks.connector import Pull, PullOutcome, PullRefused, Raw
from escrow_monitor.banks.mapped_statement import Page
from escrow_monitor.banks.mapping import BalancesRule, Place
from escrow_monitor.banks.statement_reading import Refused
from escrow_monitor.domain.accounts import Account, AccountStatus, Reading
from escrow_monitor.domain.statements import Refusal, RefusalReason


@dataclass(frozen=True, slots=True)
class _Row:
    page: Page
    place: Place


@dataclass(slots=True, kw_only=True)
class Heard:
    """What one question for balances brought. `asked_for_one`: the request named the account.

    `refusal` is why the pages broke off, where they did; `evidence` are the answers it came in.
    """

    rule: BalancesRule
    source: str
    asked_for_one: bool
    pages: list[Page] = field(default_factory=list)
    refusal: Refusal | None = None
    evidence: list[Raw] = field(default_factory=list)
    _rows: list[_Row] = field(default_factory=list)
    _by_name: dict[str, list[_Row]] = field(default_factory=dict)
    _by_iban: list[_Row] = field(default_factory=list)
    _unreadable: Refusal | None = None

    def add(self, page: Page) -> None:
        """Take in the rows of a page, by the account each names."""
        self.pages.append(page)
        for place in page.rows:
            row = _Row(page, place)
            self._rows.append(row)
            try:
                stated = self.rule.account_of(place)
            except Refused as error:
                # Whose row this is nobody can say: whoever is not found elsewhere may be meant.
                self._unreadable = self._unreadable or error.refusals[0]
                continue
            if stated is not None:
                name = plain_id(stated)
                self._by_name.setdefault(name, []).append(row)
                if name[:2].isalpha():
                    self._by_iban.append(row)

    def outcome(self, account: Account, bank: str, *, started_at: datetime, finished_at: datetime) -> PullOutcome:
        """What the pages say of one account; `finished_at` where they say nothing."""
        rows = self._rows_of(account)
        raw = tuple(dict.fromkeys(row.page.raw for row in rows))
        try:
            readings, status = self._read(rows, account)
        except Refused as error:
            return PullRefused(
                account_no=account.account_no, bank=bank, refusal=error.refusals[0], raw=raw or self._all_evidence(),
                started_at=started_at, finished_at=finished_at,
            )
        return Pull(
            account_no=account.account_no, bank=bank, readings=readings, raw=raw, account_status=status,
            started_at=started_at, finished_at=max(row.page.answer.fetched_at for row in rows),
        )

    def _rows_of(self, account: Account) -> Sequence[_Row]:
        if self.rule.account is None:
            return self._rows
        if self.rule.by_external_id:
            near = self._by_name.get(plain_id(account.external_id or ""), [])
        elif account.account_no[:2].isalpha():
            near = self._rows  # an IBAN, which the bank may name by the national number at its end
        else:
            near = [*self._by_name.get(account.account_no, ()), *self._by_iban]
        return [row for row in near if self._is_of(row, account)]

    def _is_of(self, row: _Row, account: Account) -> bool:
        try:
            return self.rule.is_of(row.place, account)
        except Refused:
            return False

    def _read(self, rows: Sequence[_Row], account: Account) -> tuple[tuple[Reading, ...], AccountStatus]:
        """All readings of an account's rows, or Refused."""
        readings: list[Reading] = []
        turned_down: list[Refusal] = []
        status = AccountStatus.UNKNOWN
        for row in rows:
            try:
                readings += self.rule.readings_of(
                    row.place, account, row.page.moment, source=self.source, raw_sha256=row.page.raw.sha256
                )
                status = self.rule.status_of(row.place)
            except Refused as error:
                turned_down += error.refusals
        # The same number may be kept in several currencies; any other row that cannot be believed counts.
        others = [one for one in turned_down if one.reason is not RefusalReason.WRONG_CURRENCY]
        if others or (turned_down and not readings):
            raise Refused(*(others or turned_down))
        if not readings:
            raise Refused(self.refusal or self._unreadable or self._not_named(account))
        check_one_voice(readings, rows[0].place.where)
        return tuple(dict.fromkeys(readings)), status

    def _not_named(self, account: Account) -> Refusal:
        """Why no row is of the account: another one's answer is worse than none."""
        rule = self.rule
        if self.asked_for_one and self._rows and rule.account is not None:
            stated = rule.account_of(self._rows[0].place)
            if stated is None:
                detail = "the answer does not say which account it is of"
            else:
                detail = f"the answer speaks of account {masked(stated)}, not of {masked(account.account_no)}"
            return Refusal(
                reason=RefusalReason.WRONG_ACCOUNT, where=self._rows[0].place.where, field=rule.account.path,
                detail=detail,
            )
        return Refusal(
            reason=RefusalReason.NOT_FOUND, where=self.pages[0].answer.path if self.pages else "the answer",
            field=rule.rows.path if rule.rows is not None else None,
            detail="the bank's answer does not name this account",
        )

    def _all_evidence(self) -> tuple[Raw, ...]:
        """What to keep where no row is of the account: the answers, unless they are the pages of a long list."""
        if len(self.pages) > 1 and not self.asked_for_one:
            return tuple(self.evidence)
        return (*(page.raw for page in self.pages), *self.evidence)
