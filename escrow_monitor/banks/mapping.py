"""What a configured mapping makes of a bank's row: readings, entries, or a refusal that names the key.

    { kind = "booked_intraday", amount = "zhye", unit = "fen" }        {"zhye": "1234567"}   ->  12345.67 CNY, booked

A path that finds nothing is a missing field, never zero; one that finds several things where one is wanted is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Protocol, TypeAlias

from escrow_monitor.banks.answer_reading import Moment, check_one_voice, is_same_account, masked, plain_id
from escrow_monitor.banks.statement_reading import (
    EntryLine,
    Refused,
    account_digest,
    counterparty_digest,
    plain_text,
    refused,
)
from escrow_monitor.domain.accounts import Account, AccountStatus, BalanceKind, Reading
from escrow_monitor.domain.money import AmountError, Money, parse_amount
from escrow_monitor.domain.statements import RefusalReason
from escrow_monitor.errors import ConfigurationError
from escrow_monitor.settings.mapping import (
    BalancesMapping,
    CallMapping,
    DirectionMapping,
    Numbers,
    ReadingMapping,
    StatedMapping,
    StatementsMapping,
    SuccessMapping,
    Unit,
)

MESSAGE_CHARACTERS_MAX = 100

_WHOLE = re.compile(r"[+-]?[0-9]{1,16}\Z", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}\Z", re.ASCII)
_LONG_NUMBER = re.compile(r"[0-9][0-9 *-]{3,}(?=[0-9]{4})")
_DAY_PARTS = ("%Y", "%m", "%d")


class NumberText(str):
    """A number of JSON as its characters stand in the answer."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Place:
    """A row of an answer, the answer it is in, and where that is for people."""

    top: object
    row: object
    where: str


class Finder(Protocol):
    """A compiled path. `key` is where it stands in the configuration, `path` what it says."""

    key: str
    path: str

    def one(self, place: Place) -> str | None:
        """The text it leads to; None where there is nothing. Raises Refused for a list or an object."""

    def many(self, place: Place) -> Sequence[object] | None:
        """The rows it leads to; None where there is no list. Raises Refused for what is no list of rows."""


MakeFinder: TypeAlias = Callable[[str, str], Finder]
"""(path, key) -> Finder; raises ConfigurationError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What compiling needs beside the mapping itself."""

    find: MakeFinder
    currencies: Mapping[str, str]
    numbers: Numbers = "literal"

    def maybe(self, path: str | None, key: str) -> Finder | None:
        """The compiled path, where there is one."""
        return None if path is None else self.find(path, key)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Currency:
    path: Finder | None
    fixed: str | None
    codes: Mapping[str, str]

    def check(self, place: Place, account: Account) -> str:
        """The stated currency, which must be the account's."""
        stated = self.fixed
        if self.path is not None:
            found = required(self.path, place)
            stated = self.codes.get(found, found)
            if not _CURRENCY.match(stated):
                detail = f"{found[:20]!r} is no currency code; if it is the bank's own, name it in currencies"
                raise refused(RefusalReason.WRONG_CURRENCY, place.where, self.path.path, detail)
        if stated != account.currency:
            detail = f"stated in {stated}, the account is in {account.currency}"
            raise refused(RefusalReason.WRONG_CURRENCY, place.where, "currency", detail)
        return account.currency


@dataclass(frozen=True, slots=True, kw_only=True)
class _Direction:
    path: Finder
    signs: Mapping[str, int]

    def sign(self, place: Place) -> int:
        """1 for credit, -1 for debit. Raises Refused for any other word."""
        word = required(self.path, place)
        found = self.signs.get(word)
        if found is None:
            detail = f"{word[:20]!r} is neither one of the words for credit nor for debit"
            raise refused(RefusalReason.BAD_AMOUNT, place.where, self.path.path, detail)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Amount:
    path: Finder
    unit: Unit
    numbers: Numbers
    direction: _Direction | None = None
    unsigned: bool = False

    def read(self, place: Place, currency: str) -> Money | None:
        """The amount exactly, or None where the path finds nothing. Raises Refused with BAD_AMOUNT."""
        text = self.path.one(place)
        if text is None:
            return None
        if isinstance(text, NumberText) and self.numbers == "text":
            detail = "a JSON number; amounts are taken only as text unless numbers = \"literal\""
            raise self._bad(place, detail)
        amount = self._parsed(text, currency, place)
        if (self.unsigned or self.direction is not None) and text[:1] in "+-":
            raise self._bad(place, f"{text[:40]!r} carries a sign, and its direction stands apart")
        if self.direction is not None and self.direction.sign(place) < 0:
            return -amount
        return amount

    def required(self, place: Place, currency: str) -> Money:
        """The same where it must be there."""
        amount = self.read(place, currency)
        if amount is None:
            raise refused(RefusalReason.MISSING_FIELD, place.where, self.path.path, "no amount is there")
        return amount

    def _parsed(self, text: str, currency: str, place: Place) -> Money:
        try:
            if self.unit == "yuan":
                return parse_amount(text, currency)
            if not _WHOLE.match(text):
                raise AmountError(f"{text[:40]!r} is not a whole number of the smallest unit")
            return Money(int(text), currency)
        except AmountError as error:
            raise self._bad(place, str(error)[:200]) from error

    def _bad(self, place: Place, detail: str) -> Refused:
        return refused(RefusalReason.BAD_AMOUNT, place.where, self.path.path, detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Day:
    path: Finder
    form: str

    def read(self, place: Place) -> date | None:
        """The date, or None where the path finds nothing. Raises Refused with BAD_DATE."""
        text = self.path.one(place)
        if text is None:
            return None
        try:
            found = datetime.strptime(text, self.form)  # noqa: DTZ007 - a date alone
            # strptime takes 2026113 for %Y%m%d; written again it would have another length.
            if found.strftime(self.form) != text:
                raise ValueError(text)
        except ValueError as error:
            detail = f"{text[:40]!r} is not a date written like {self.form}"
            raise refused(RefusalReason.BAD_DATE, place.where, self.path.path, detail) from error
        return found.date()

    def required(self, place: Place) -> date:
        """The same where it must be there."""
        found = self.read(place)
        if found is None:
            raise refused(RefusalReason.MISSING_FIELD, place.where, self.path.path, "no date is there")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """Whether an answer or a row says that it is one."""

    path: Finder
    equals: frozenset[str]
    nothing: frozenset[str]
    reasons: Mapping[str, RefusalReason]
    message: Finder | None

    def holds(self, place: Place) -> bool:
        """True for an answer, False for "nothing in that period". Raises Refused for every other code."""
        code = required(self.path, place)
        if code in self.equals:
            return True
        if code in self.nothing:
            return False
        said = self.message.one(place) if self.message is not None else None
        detail = f"the bank answers {code[:20]!r}" + (f": {_masked_numbers(said)}" if said else "")
        reason = self.reasons.get(code, RefusalReason.UNEXPECTED_STATUS)
        raise refused(reason, place.where, self.path.path, detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ReadingRule:
    kind: BalanceKind
    amount: _Amount
    currency: _Currency
    day: _Day | None
    days_back: int
    as_of: Finder | None
    as_of_format: str | None
    final: bool
    optional: bool

    def read(self, place: Place, account: Account, moment: Moment, source: str, raw_sha256: str) -> Reading | None:
        """The reading; None where an optional one is not there."""
        if self.optional and self.amount.path.one(place) is None:
            return None
        currency = self.currency.check(place, account)
        amount = self.amount.required(place, currency)
        on, as_of = self._time(place, moment)
        return Reading(
            account_no=account.account_no, kind=self.kind, amount=amount, on=on, as_of=as_of,
            fetched_at=moment.fetched_at, final=self.final, source=source, raw_sha256=raw_sha256,
        )

    def _time(self, place: Place, moment: Moment) -> tuple[date, datetime]:
        instant = self._instant(place, moment)
        if self.day is not None:
            on = self.day.required(place)
            end = moment.end_of(on, place.where, self.day.path.path)
            return on, end if instant is None else min(instant, end)
        if self.days_back:
            on = moment.today - timedelta(days=self.days_back)
            return on, moment.end_of(on, place.where, "day_is")
        if instant is not None:
            return instant.astimezone(moment.zone).date(), min(instant, moment.fetched_at)
        return moment.today, moment.fetched_at

    def _instant(self, place: Place, moment: Moment) -> datetime | None:
        """The instant the bank states. Raises Refused for one that cannot be read or is not there."""
        if self.as_of is None:
            return None
        text = required(self.as_of, place)
        if self.as_of_format is None:
            return moment.instant(text, place.where, self.as_of.path)
        try:
            at = datetime.strptime(text, self.as_of_format)  # noqa: DTZ007 - the bank's zone is put in below
        except ValueError as error:
            detail = f"{text[:40]!r} is not an instant written like {self.as_of_format}"
            raise refused(RefusalReason.BAD_DATE, place.where, self.as_of.path, detail) from error
        return moment.instant(at.isoformat(), place.where, self.as_of.path).astimezone(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancesRule:
    """A compiled `balances`: from a row to the readings of its account."""

    rows: Finder | None
    account: Finder | None
    by_external_id: bool
    row_success: Success | None
    readings: tuple[_ReadingRule, ...]
    status: Finder | None
    statuses: Mapping[str, AccountStatus]

    def rows_of(self, top: object, where: str) -> list[Place]:
        """The rows of an answer, each with its place."""
        whole = Place(top, top, where)
        if self.rows is None:
            return [whole]
        return _rows(self.rows, whole, absent_is_empty=False)

    def account_of(self, place: Place) -> str | None:
        """The account a row names; None where it names none."""
        return None if self.account is None else self.account.one(place)

    def is_of(self, place: Place, account: Account) -> bool:
        """Whether a row speaks of an account."""
        return _names(self.account_of(place), account, self.by_external_id)

    def readings_of(
        self, place: Place, account: Account, moment: Moment, *, source: str, raw_sha256: str
    ) -> tuple[Reading, ...]:
        """All readings of a row or, when any of them cannot be taken, none (Refused)."""
        if self.row_success is not None:
            self.row_success.holds(place)
        found = [rule.read(place, account, moment, source, raw_sha256) for rule in self.readings]
        readings = tuple(reading for reading in found if reading is not None)
        if not readings:
            raise refused(RefusalReason.NO_BALANCE, place.where, "readings", "the row states none of the balances")
        check_one_voice(readings, place.where)
        return readings

    def status_of(self, place: Place) -> AccountStatus:
        """What the row says of the account itself."""
        word = None if self.status is None else self.status.one(place)
        return AccountStatus.UNKNOWN if word is None else self.statuses.get(word, AccountStatus.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stated:
    amount: _Amount
    day: _Day | None

    def read(self, place: Place, currency: str, *, on: date) -> tuple[Money, date]:
        """The balance and its day: the stated one, else `on`."""
        day = self.day.required(place) if self.day is not None else on
        return self.amount.required(place, currency), day


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementsRule:
    """A compiled `statements`: from a row to an entry, from an answer to opening and closing."""

    entries: Finder
    account: Finder | None
    by_external_id: bool
    currency: _Currency
    amount: _Amount | None
    credit: _Amount | None
    debit: _Amount | None
    opening: _Stated | None
    closing: _Stated | None
    balance_after: _Amount | None
    newest_first: bool
    booked_on: _Day
    value_on: _Day | None
    reference: Finder | None
    text: tuple[Finder, ...]
    counterparty_account: Finder | None
    counterparty_name: Finder | None
    reversal: Finder | None
    reversal_words: frozenset[str]
    row_success: Success | None
    account_in_entry: bool
    absent_is_empty: bool

    def rows_of(self, top: object, where: str) -> list[Place]:
        """The rows of an answer, each with its place."""
        return _rows(self.entries, Place(top, top, where), absent_is_empty=self.absent_is_empty)

    def check_page(self, place: Place, account: Account) -> None:
        """The account that a page as a whole names must be the one asked for. Raises Refused with WRONG_ACCOUNT."""
        if not self.account_in_entry:
            self._check_account(place, account)

    def _check_account(self, place: Place, account: Account) -> None:
        if self.account is None:
            return
        stated = required(self.account, place)
        if not _names(stated, account, self.by_external_id):
            detail = f"the answer speaks of account {masked(stated)}, not of {masked(account.account_no)}"
            raise refused(RefusalReason.WRONG_ACCOUNT, place.where, self.account.path, detail)

    def line(self, place: Place, account: Account) -> tuple[EntryLine, Money | None]:
        """One entry, and the balance after it where the bank says so."""
        if self.row_success is not None:
            self.row_success.holds(place)
        if self.account_in_entry:
            self._check_account(place, account)
        currency = self.currency.check(place, account)
        party = _texts((self.counterparty_account, self.counterparty_name), place)
        after = None if self.balance_after is None else self.balance_after.required(place, currency)
        return EntryLine(
            amount=self._amount(place, currency), stated_on=self.booked_on.required(place),
            value_on=None if self.value_on is None else self.value_on.read(place),
            bank_ref=None if self.reference is None else self.reference.one(place),
            text=plain_text(*(one for one in _texts(self.text, place) if one)),
            reversal=self.reversal is not None and self.reversal.one(place) in self.reversal_words,
            counterparty_sha256=counterparty_digest(*party), where=place.where,
            counterparty_account_sha256=account_digest(party[0]) if party[0] else None,
        ), after

    def _amount(self, place: Place, currency: str) -> Money:
        if self.amount is not None:
            return self.amount.required(place, currency)
        assert self.credit is not None  # noqa: S101 - sign = "columns" has both
        assert self.debit is not None  # noqa: S101 - as above
        credit, debit = self.credit.read(place, currency), self.debit.read(place, currency)
        if credit is None and debit is None:
            fields = f"{self.credit.path.path}, {self.debit.path.path}"
            raise refused(RefusalReason.MISSING_FIELD, place.where, fields, "neither a credit nor a debit is there")
        if credit and credit.minor_units and debit and debit.minor_units:
            detail = "one entry with a credit and a debit"
            raise refused(RefusalReason.CONTRADICTS, place.where, self.credit.path.path, detail)
        return -debit if debit and debit.minor_units else credit or Money(0, currency)


def required(finder: Finder, place: Place) -> str:
    """The text a path leads to, or Refused with MISSING_FIELD."""
    found = finder.one(place)
    if found is None:
        raise refused(RefusalReason.MISSING_FIELD, place.where, finder.path, "nothing is there")
    return found


def balances_rule(mapping: BalancesMapping, context: Context, key: str) -> BalancesRule:
    """Compile `balances`. Raises ConfigurationError naming the key."""
    find, maybe = context.find, context.maybe
    return BalancesRule(
        rows=maybe(mapping.accounts, f"{key}.accounts"), account=maybe(mapping.account, f"{key}.account"),
        by_external_id=mapping.account_is == "external_id",
        row_success=success_rule(mapping.row_success, context, f"{key}.row_success"),
        readings=tuple(
            _reading_rule(one, mapping, context, f"{key}.readings[{number}]")
            for number, one in enumerate(mapping.readings)
        ),
        status=None if mapping.status is None else find(mapping.status.path, f"{key}.status.path"),
        statuses={} if mapping.status is None else mapping.status.map,
    )


def statements_rule(mapping: StatementsMapping, context: Context, key: str) -> StatementsRule:
    """Compile `statements`. Raises ConfigurationError naming the key."""
    find, maybe = context.find, context.maybe

    def amount(path: str | None, name: str, *, unsigned: bool = False) -> _Amount | None:
        if path is None:
            return None
        direction = _direction(mapping.direction if name == "amount" else None, context, f"{key}.direction")
        return _Amount(
            path=find(path, f"{key}.{name}"), unit=mapping.unit, numbers=context.numbers, direction=direction,
            unsigned=unsigned,
        )

    reversal = mapping.reversal
    return StatementsRule(
        entries=find(mapping.entries, f"{key}.entries"), account=maybe(mapping.account, f"{key}.account"),
        by_external_id=mapping.account_is == "external_id",
        currency=_currency(mapping.currency, mapping.currency_is, context, key),
        amount=amount(mapping.amount, "amount"), credit=amount(mapping.credit, "credit", unsigned=True),
        debit=amount(mapping.debit, "debit", unsigned=True),
        balance_after=amount(mapping.balance_after, "balance_after"),
        opening=_stated(mapping.opening, mapping, context, f"{key}.opening"),
        closing=_stated(mapping.closing, mapping, context, f"{key}.closing"),
        newest_first=mapping.order == "newest_first",
        booked_on=_day(find(mapping.booked_on, f"{key}.booked_on"), mapping.day_format, f"{key}.day_format"),
        value_on=None if mapping.value_on is None else _day(
            find(mapping.value_on, f"{key}.value_on"), mapping.day_format, f"{key}.day_format"
        ),
        reference=maybe(mapping.reference, f"{key}.reference"),
        text=tuple(find(one, f"{key}.text[{number}]") for number, one in enumerate(mapping.text)),
        counterparty_account=maybe(mapping.counterparty_account, f"{key}.counterparty_account"),
        counterparty_name=maybe(mapping.counterparty_name, f"{key}.counterparty_name"),
        reversal=None if reversal is None else find(reversal.path, f"{key}.reversal.path"),
        reversal_words=frozenset(reversal.equals if reversal is not None else ()),
        row_success=success_rule(mapping.row_success, context, f"{key}.row_success"),
        account_in_entry=mapping.account_in == "entry", absent_is_empty=mapping.absent_is_empty,
    )


def success_rule(mapping: SuccessMapping | None, context: Context, key: str) -> Success | None:
    """Compile `success` or `row_success`. Raises ConfigurationError naming the key."""
    if mapping is None:
        return None
    return Success(
        path=context.find(mapping.path, f"{key}.path"), equals=frozenset(mapping.equals),
        nothing=frozenset(mapping.nothing), reasons=mapping.reasons,
        message=context.maybe(mapping.message, f"{key}.message"),
    )


def _reading_rule(mapping: ReadingMapping, call: CallMapping, context: Context, key: str) -> _ReadingRule:
    own = mapping.currency is not None or mapping.currency_is is not None
    final = mapping.kind is BalanceKind.BOOKED_CLOSING if mapping.final is None else mapping.final
    if mapping.as_of_format is not None:
        _check_form(mapping.as_of_format, ("%Y", "%m", "%d", "%H"), f"{key}.as_of_format")
    return _ReadingRule(
        kind=mapping.kind, final=final, optional=mapping.optional,
        amount=_Amount(
            path=context.find(mapping.amount, f"{key}.amount"), unit=mapping.unit or call.unit, numbers=context.numbers,
            direction=_direction(mapping.direction, context, f"{key}.direction"),
        ),
        currency=_currency(
            mapping.currency if own else call.currency, mapping.currency_is if own else call.currency_is, context, key
        ),
        day=None if mapping.day is None else _day(
            context.find(mapping.day, f"{key}.day"), mapping.day_format, f"{key}.day_format"
        ),
        days_back=1 if mapping.day_is == "yesterday" else 0,
        as_of=context.maybe(mapping.as_of, f"{key}.as_of"), as_of_format=mapping.as_of_format,
    )


def _stated(mapping: StatedMapping | None, call: CallMapping, context: Context, key: str) -> _Stated | None:
    if mapping is None:
        return None
    return _Stated(
        amount=_Amount(
            path=context.find(mapping.amount, f"{key}.amount"), unit=call.unit, numbers=context.numbers,
            direction=_direction(mapping.direction, context, f"{key}.direction"),
        ),
        day=None if mapping.day is None else _day(
            context.find(mapping.day, f"{key}.day"), mapping.day_format, f"{key}.day_format"
        ),
    )


def _direction(mapping: DirectionMapping | None, context: Context, key: str) -> _Direction | None:
    if mapping is None:
        return None
    signs = {**dict.fromkeys(mapping.credit, 1), **dict.fromkeys(mapping.debit, -1)}
    return _Direction(path=context.find(mapping.path, f"{key}.path"), signs=signs)


def _currency(path: str | None, fixed: str | None, context: Context, key: str) -> _Currency:
    if (path is None) == (fixed is None):
        raise ConfigurationError(f"{key}: needs currency (a path) or currency_is (a code like CNY), and not both")
    return _Currency(path=context.maybe(path, f"{key}.currency"), fixed=fixed, codes=context.currencies)


def _day(path: Finder, form: str, key: str) -> _Day:
    _check_form(form, _DAY_PARTS, key)
    return _Day(path=path, form=form)


def _check_form(form: str, parts: Sequence[str], key: str) -> None:
    if not all(part in form for part in parts):
        raise ConfigurationError(f"{key}: {form!r} must hold {', '.join(parts)}: write it like %Y%m%d")


def _names(stated: str | None, account: Account, by_external_id: bool) -> bool:
    if stated is None:
        return False
    if by_external_id:
        return stated == account.external_id
    return is_same_account(account.account_no, plain_id(stated))


def _rows(finder: Finder, whole: Place, *, absent_is_empty: bool) -> list[Place]:
    rows = finder.many(whole)
    if rows is None and not absent_is_empty:
        raise refused(RefusalReason.MISSING_FIELD, whole.where, finder.path, "no list is there")
    return [
        Place(whole.top, row, f"{whole.where} {finder.path}[{number}]") for number, row in enumerate(rows or ())
    ]


def _texts(finders: Sequence[Finder | None], place: Place) -> list[str | None]:
    return [None if finder is None else finder.one(place) for finder in finders]


def _masked_numbers(text: str) -> str:
    """The bank's own words, long numbers cut to their last four digits."""
    return _LONG_NUMBER.sub("…", plain_text(text))[:MESSAGE_CHARACTERS_MAX]
