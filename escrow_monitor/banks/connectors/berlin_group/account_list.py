"""What one list of many accounts says of those that were asked for, held until the list has ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from escrow_monitor.banks.answer_reading import Json, Moment, check_one_voice, plain_id
from escrow_monitor.banks.connector import PullRequest, Raw
from escrow_monitor.banks.connectors.berlin_group.balances import BalanceReader
from escrow_monitor.banks.connectors.berlin_group.fields import check_account
from escrow_monitor.banks.statement_reading import Refused
from escrow_monitor.domain.accounts import AccountStatus, Reading
from escrow_monitor.domain.statements import Refusal, RefusalReason

_STATUS = {
    "enabled": AccountStatus.ACTIVE, "blocked": AccountStatus.FROZEN, "deleted": AccountStatus.CLOSED,
}
_OF_ANOTHER = frozenset({RefusalReason.WRONG_CURRENCY, RefusalReason.WRONG_ACCOUNT})
"""An entry that is refused for this may speak of another account with the same number, in another currency say."""


@dataclass(slots=True)
class Mentioned:
    """One request and what the list has said of it so far. Neither readings nor refusal: nothing."""

    request: PullRequest
    readings: tuple[Reading, ...] = ()
    status: AccountStatus = AccountStatus.UNKNOWN
    refusal: Refusal | None = None
    raw: tuple[Raw, ...] = ()

    def state(self, readings: tuple[Reading, ...], status: AccountStatus, raw: Raw, where: str) -> None:
        """Take what an entry of the list states. A second one must say the same: Refused."""
        if self.readings:
            check_one_voice((*self.readings, *readings), where)
            if status is not self.status:
                raise Refused(Refusal(
                    reason=RefusalReason.CONTRADICTS, where=where, field="status",
                    detail=f"the account is stated as {self.status} and as {status}",
                ))
            return
        self.readings, self.status, self.raw = readings, status, (*self.raw, raw)
        if self.refusal is not None and self.refusal.reason in _OF_ANOTHER:
            self.refusal = None

    def turn_down(self, refusal: Refusal, raw: Raw) -> None:
        """Note an entry that cannot be taken. Whichever of two comes first, the outcome is the same."""
        self.raw = self.raw if raw in self.raw else (*self.raw, raw)
        if self.refusal is None and not (self.readings and refusal.reason in _OF_ANOTHER):
            self.refusal = refusal


class AccountList:
    """The requests of one pull, found by every name the bank may use for their accounts.

    Nothing is given out before the list has ended: while it is paged the accounts behind it may move, and an account that
    two pages state differently is not to be believed on either.
    """  # noqa: E501 - one word

    def __init__(self, requests: Sequence[PullRequest]) -> None:
        self._mentioned = {request.account.account_no: Mentioned(request) for request in requests}
        self._by_resource = {
            request.account.external_id: self._mentioned[request.account.account_no]
            for request in requests if request.account.external_id
        }

    def __iter__(self) -> Iterator[Mentioned]:
        return iter(self._mentioned.values())

    def note_page(self, document: Json, *, raw: Raw, moment: Moment, where: str) -> None:
        """Note every entry of a page that speaks of an account asked for."""
        accounts, balances = document.get("accounts"), BalanceReader(moment, raw.sha256)
        for place, stated in enumerate(accounts if isinstance(accounts, list) else ()):
            mentioned = self._named(stated)
            if mentioned is None:
                continue
            account, here = mentioned.request.account, f"{where} accounts[{place}]"
            try:
                check_account(account, stated, here)
                readings = balances.readings_of(stated.get("balances"), account, here)
                status = _STATUS.get(str(stated.get("status")), AccountStatus.UNKNOWN)
                mentioned.state(readings, status, raw, here)
            except Refused as error:
                mentioned.turn_down(error.refusals[0], raw)

    def _named(self, stated: object) -> Mentioned | None:
        if not isinstance(stated, dict):
            return None
        resource = stated.get("resourceId")
        found = self._by_resource.get(resource) if isinstance(resource, str) else None
        if found is not None:
            return found
        for name in ("iban", "bban", "resourceId"):
            value = stated.get(name)
            if isinstance(value, str) and (found := self._mentioned.get(plain_id(value))) is not None:
                return found
        return None
