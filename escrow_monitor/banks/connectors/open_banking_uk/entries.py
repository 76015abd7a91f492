"""From transactions as UK Open Banking states them to statements.

    Data.Transaction of /accounts/{AccountId}/transactions            entries of the days asked for
    + ClosingBooked of the newest closed day, from the balances       closing
    + the running `Balance` of each transaction, where given          opening, and proof that none is missing between

The transactions resource states neither opening nor closing. So what is made of it depends on what else the bank says:

* Without a final closing balance of a day asked for, nothing is closed: the entries are a NOTICE.
* With one, the days up to it are END_OF_DAY. Where every entry carries the booked balance after it, those must follow
  from each other and end at the closing balance, else the list is refused; the opening is the balance before the first.
* Where they carry none, the opening is reckoned, closing less entries. The bank has stated all but this one figure of
  an equation; a lost entry makes it wrong, and that shows at once, for each statement must begin where the one before
  ended. Only an account's very first statement has nothing before it to be held against.
* Entries that may still change (`TransactionMutability` Mutable, since 3.1.5) are not taken, and no day from theirs on
  is closed; once they are immutable the days are asked for again.

Pending, future, informational and rejected transactions never become entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import pairwise
from operator import attrgetter
from zoneinfo import ZoneInfo

from escrow_monitor.banks.answer_reading import Json, Moment, object_of, text_of
from escrow_monitor.banks.connectors.open_banking_uk.fields import (
    check_account,
    day_of,
    signed_amount,
    stamp_of,
)
from escrow_monitor.banks.http import Answer
from escrow_monitor.banks.statement_reading import (
    EntryLine,
    account_digest,
    checked,
    counterparty_digest,
    end_of_day,
    entries_only,
    plain_text,
    refused,
)
from escrow_monitor.domain.accounts import Account
from escrow_monitor.domain.money import AmountError, Money
from escrow_monitor.domain.statements import RefusalReason, Statement, StatementKind

_BOOKED = frozenset({"Booked", "BOOK"})
_NOT_BOOKED = frozenset({"Pending", "PDNG", "Rejected", "RJCT", "FUTR", "INFO"})
_BOOKED_BALANCES = frozenset({"InterimBooked", "ITBD", "ClosingBooked", "CLBD"})
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Booked:
    """A booked entry with its place in time and, where the bank states it, the booked balance after it."""

    line: EntryLine
    on: date
    at: datetime
    after: Money | None

    @property
    def before(self) -> Money | None:
        """The booked balance before it."""
        return None if self.after is None else self.after - self.line.amount


@dataclass(slots=True)
class Listed:
    """What the pages of one account list: entries in the bank's order, and what limits them."""

    booked: list[Booked] = field(default_factory=list)
    mutable_from: date | None = None
    available_from: date | None = None
    available_to: date | None = None


def filters(first: date, last: date) -> dict[str, str]:
    """The query for the entries of whole days at the bank.

    The bank must ignore the zone of these and take them for its own local time; some take them at their word. A day
    more on either side is right for both; what was not asked for is left out afterwards.
    """
    return {
        "fromBookingDateTime": f"{first - _DAY}T00:00:00Z", "toBookingDateTime": f"{last + _DAY}T23:59:59Z",
    }


def listed(pages: Sequence[tuple[Answer, Json]], account: Account, zone: ZoneInfo) -> Listed:
    """All entries of all pages, each once. Raises Refused.

    A page that is repeated, or a transaction that slid from one page to the next (the standard promises no isolation),
    is known by its TransactionId; stated twice in two ways it is refused.
    """
    found = Listed()
    seen: dict[str, Json] = {}
    bodies: list[object] = []
    for answer, document in pages:
        moment = Moment(zone, answer.fetched_at)
        data = object_of(document.get("Data"), answer.path, "Data")
        rows = data.get("Transaction", [])
        if not isinstance(rows, list):
            raise refused(RefusalReason.MALFORMED, answer.path, "Data.Transaction", "not a list")
        if rows in bodies and not all(isinstance(row, dict) and row.get("TransactionId") for row in rows):
            raise refused(RefusalReason.MALFORMED, answer.path, "Data.Transaction", "the same page came twice")
        bodies.append(rows)
        for place, item in enumerate(rows):
            where = f"{answer.path} Transaction[{place}]"
            row = object_of(item, where, "Transaction")
            check_account(row, account, where)
            if _is_booked(row, where) and not _is_known(row, seen, where):
                _add(found, row, account, where, moment)
        _note_limits(found, document.get("Meta"), moment, answer.path)
    return found


def statements(
    found: Listed, account: Account, *, asked_from: date, last_closed: date, closing: tuple[date, Money] | None,
    where: str,
) -> tuple[Statement, ...]:
    """What the entries of `asked_from` to `last_closed` amount to. `closing`: the newest final closing balance."""
    asked = [one for one in found.booked if asked_from <= one.on <= last_closed]
    first = max(asked_from, found.available_from or asked_from)
    if closing is None or closing[0] < first or not _reaches(found, closing[0]):
        return checked(list(_notice(account, asked, asked_from, last_closed, where)), today=last_closed)
    closed_on, closed_at = closing
    inside = [one for one in asked if first <= one.on <= closed_on]
    before = [one for one in asked if one.on < first]
    after = [one for one in asked if one.on > closed_on]
    whole = end_of_day(
        account_no=account.account_no, currency=account.currency, number=f"{first}..{closed_on}",
        opening=_opening(inside, closed_at, where), opening_on=first, closing=closed_at, closing_on=closed_on,
        lines=[one.line for one in inside], where=where, begins_on=first, opening_derived=True,
    )
    return checked([whole, *_notice(account, [*before, *after], asked_from, last_closed, where)], today=last_closed)


def _reaches(found: Listed, closed_on: date) -> bool:
    """Whether the list accounts for the days up to a closing balance."""
    if found.mutable_from is not None and found.mutable_from <= closed_on:
        return False
    return found.available_to is None or found.available_to >= closed_on


def _opening(inside: Sequence[Booked], closing: Money, where: str) -> Money:
    """The balance before the first entry: stated where each entry carries the balance after it, else reckoned."""
    if inside and all(one.after is not None for one in inside):
        return _stated_opening(inside, closing, where)
    try:
        return Money(closing.minor_units - sum(one.line.amount.minor_units for one in inside), closing.currency)
    except AmountError as error:
        raise refused(RefusalReason.BAD_AMOUNT, where, "Data.Transaction", str(error)) from error


def _stated_opening(inside: Sequence[Booked], closing: Money, where: str) -> Money:
    """The standard says nothing of the order of a list: oldest or newest first, by time or as it stands."""
    by_time, newest_last = attrgetter("at"), inside[::-1]
    for order in (inside, newest_last, sorted(inside, key=by_time), sorted(newest_last, key=by_time)):
        if all(one.after == following.before for one, following in pairwise(order)):
            opening, last = order[0].before, order[-1].after
            assert opening is not None and last is not None, "each entry has a balance here"  # noqa: S101, PT018
            if last == closing:
                return opening
    detail = f"the running balances of {len(inside)} entries do not lead to the closing balance {closing.text}"
    raise refused(RefusalReason.DOES_NOT_TIE, where, "Balance", detail)


def _notice(
    account: Account, entries: Sequence[Booked], asked_from: date, last_closed: date, where: str
) -> Iterator[Statement]:
    if entries:
        yield entries_only(
            account_no=account.account_no, currency=account.currency, kind=StatementKind.NOTICE,
            number=f"{asked_from}..{last_closed}", lines=[one.line for one in entries], where=where,
        )


def _is_booked(row: Json, where: str) -> bool:
    status = row.get("Status")
    if status in _BOOKED:
        return True
    if status in _NOT_BOOKED:
        return False
    if status is None:
        raise refused(RefusalReason.MISSING_FIELD, where, "Status", "a transaction of no stated status")
    raise refused(RefusalReason.MALFORMED, where, "Status", f"{str(status)[:20]!r} is no status of the standard")


def _is_known(row: Json, seen: dict[str, Json], where: str) -> bool:
    identity = text_of(row.get("TransactionId"))
    if identity is None:
        return False
    before = seen.setdefault(identity, row)
    if before is row:
        return False
    if before != row:
        raise refused(
            RefusalReason.CONTRADICTS, where, "TransactionId", "a transaction is stated twice, in two different ways"
        )
    return True


def _add(found: Listed, row: Json, account: Account, where: str, moment: Moment) -> None:
    stamp = stamp_of(row.get("BookingDateTime"), moment, where, "BookingDateTime")
    if row.get("TransactionMutability", "Immutable") != "Immutable":
        found.mutable_from = min(found.mutable_from or stamp.on, stamp.on)
        return
    line = _line(row, account, where, stamp.on, moment)
    found.booked.append(Booked(line, stamp.on, stamp.at, _balance_after(row, account, where)))


def _line(row: Json, account: Account, where: str, on: date, moment: Moment) -> EntryLine:
    amount = signed_amount(row, account, where)
    value_at = row.get("ValueDateTime")
    other = row.get("CreditorAccount" if amount.minor_units < 0 else "DebtorAccount")
    other = other if isinstance(other, dict) else {}
    number = text_of(other.get("Identification"))
    merchant = row.get("MerchantDetails")
    name = text_of(other.get("Name")) or text_of(merchant.get("MerchantName") if isinstance(merchant, dict) else None)
    return EntryLine(
        amount=amount, stated_on=on,
        value_on=None if value_at is None else day_of(value_at, moment, where, "ValueDateTime"),
        bank_ref=text_of(row.get("TransactionId")) or text_of(row.get("TransactionReference")),
        text=plain_text(text_of(row.get("TransactionInformation")) or ""), reversal=False,
        counterparty_sha256=counterparty_digest(number, name), counterparty_account_sha256=account_digest(number),
        where=where,
    )


def _balance_after(row: Json, account: Account, where: str) -> Money | None:
    """The booked balance after the entry, where the bank states one."""
    stated = row.get("Balance")
    if stated is None:
        return None
    balance = object_of(stated, where, "Balance")
    if balance.get("Type") not in _BOOKED_BALANCES:
        return None
    return signed_amount(balance, account, f"{where} Balance")


def _note_limits(found: Listed, meta: object, moment: Moment, where: str) -> None:
    """The bank may give fewer days than were asked for, and says so here alone.

    A day of which only a part was available is not a whole one.
    """
    if not isinstance(meta, dict):
        return
    if (earliest := meta.get("FirstAvailableDateTime")) is not None:
        on = day_of(earliest, moment, where, "Meta.FirstAvailableDateTime")
        whole = on if _is_date(earliest) else on + _DAY
        found.available_from = max(found.available_from or whole, whole)
    if (latest := meta.get("LastAvailableDateTime")) is not None:
        on = day_of(latest, moment, where, "Meta.LastAvailableDateTime")
        found.available_to = min(found.available_to or on, on)


def _is_date(text: object) -> bool:
    return isinstance(text, str) and "T00:00" in text
