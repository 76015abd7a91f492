"""Balances and entries from China Merchants Bank CloudDC (招商银行云直联), without a front-end machine (免前置).

    NTQADINF             running balances, up to 30 accounts a call, a row each       at every pull
    NTQABINF             the balance of each closed day of one account                where statements are asked for
    trsQryByBreakPoint   its entries, up to 200 rows an answer, then a cursor         the same

    onlblv -> BOOKED_INTRADAY    hldblv -> HELD    balamt of a trsdat -> BOOKED_CLOSING, final
    avlblv -> AVAILABLE where lmtovr is zero: the bank adds the overdraft line to it, and that is nobody's money

`accblv`, the balance of the day before, is left aside. The bank computes it as the running balance less the movements
of its accounting day, does not date it, and puts a virtual figure there for subsidiaries (intcod S); when that day
turns is not documented. NTQABINF states the same money with its date.

Each call is a form: UID, FUNCODE, ALG=SM and DATA, the message in the envelope of `sm_envelope` under the user number.

What public implementations in Java, C#, Go and TypeScript and a public copy of the bank's documents agree on, and what
is done here: that envelope; the bank signs its answers under the customer's user number; an answer that begins with
`CDCServer:` was turned away by the gateway and is not sealed; resultcode SUC0000 means accepted, and each row has an
errcod of its own; text may end in blanks; the cursor; a debit is written below zero as well as marked D; `*` in
reversalFlag is a cancelling entry (冲账, its direction turned round), X a make-up entry (补账, an ordinary movement);
a reqid is new for every attempt; the signature's time is within an hour.

Not verified against a real bank: that an answer repeats our reqid (checked where it has the form of one) and is itself
signed within the hour; the order of the rows (either is taken, if the running balances tie); whether NTQABINF states
days on which nothing moved (days after the last one that it states are not covered, and asked for again).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from escrow_monitor.banks.answer_reading import (
    PAGES_MAX,
    Json,
    Moment,
    masked,
    object_of,
    plain_id,
    raw_of,
    refusals_of,
    refused_pull,
)
from escrow_monitor.banks.connector import Pull, PullOutcome, PullRequest, Raw
from escrow_monitor.banks.http import Answer, BankClient, BankHttp, CallRefused
from escrow_monitor.banks.sm_envelope import Envelope, EnvelopeBroken, NotGenuine
from escrow_monitor.banks.statement_reading import (
    EntryLine,
    Refused,
    checked,
    counterparty_digest,
    end_of_day,
    plain_text,
    refused,
)
from escrow_monitor.banks.two_passes import statements_last, wants_days
from escrow_monitor.clock import Clock
from escrow_monitor.domain.accounts import Account, AccountStatus, BalanceKind, Reading
from escrow_monitor.domain.money import AmountError, Money, parse_amount
from escrow_monitor.domain.statements import RefusalReason, Statement, account_digest

SOURCE = "cmb_clouddc"
BALANCES = "NTQADINF"
DAY_BALANCES = "NTQABINF"
ENTRIES = "trsQryByBreakPoint"
SUCCESS = "SUC0000"
FORM = "application/x-www-form-urlencoded"
ACCOUNTS_MAX = 30
"""Accounts in one question for balances."""
DAYS_MAX = 31
"""Days, both ends included, in one question for day balances."""
SIGNED_WITHIN = timedelta(hours=1)
"""The bank refuses a message signed at another hour; so do we."""

_CURRENCY_NUMBERS = {"CNY": "10"}
_STATUS = {"A": AccountStatus.ACTIVE, "B": AccountStatus.FROZEN, "C": AccountStatus.CLOSED}
_EXTERNAL_ID = re.compile(r"(?P<branch>[0-9]{2}):(?P<number>[0-9A-Za-z]{6,35})\Z", re.ASCII)
_CODE = re.compile(r"[0-9A-Z]{1,12}\Z", re.ASCII)
_REQUEST_ID = re.compile(r"[0-9]{17}\S{1,34}\Z", re.ASCII)
_DAY_TEXT = re.compile(r"[0-9]{8}\Z", re.ASCII)
_DAY = timedelta(days=1)


class CmbCloudDc:
    """One customer's connection to CloudDC.

    `user_id` is the user number (UID), `branch` the branch number (bbknbr, 分行号) of accounts whose `external_id` does
    not give one as `69:769900000010370`; an external id of another form is not CloudDC's and is left aside. `zone` is
    the bank's. `withheld` are texts that must not be seen in an error.
    """

    def __init__(
        self, bank: str, http: BankHttp, *, user_id: str, envelope: Envelope, zone: ZoneInfo, clock: Clock,
        branch: str | None = None, withheld: Sequence[str] = (),
    ) -> None:
        self.bank = bank
        self._user_id = user_id
        self._branch = branch
        self._envelope = envelope
        self._zone = zone
        self._clock = clock
        self._client = BankClient(http, clock=clock, secrets=withheld)

    @property
    def rest_until(self) -> datetime | None:
        """Until when the bank has asked not to be called again."""
        return self._client.rest_until

    def pull(self, requests: Sequence[PullRequest], *, now: datetime) -> Iterator[PullOutcome]:
        """Yield one outcome a request: first all balances, thirty accounts a call, then the entries of closed days."""
        last_closed = now.astimezone(self._zone).date() - _DAY
        batches = [requests[first : first + ACCOUNTS_MAX] for first in range(0, len(requests), ACCOUNTS_MAX)]
        yield from statements_last(
            self._client, chain.from_iterable(self._client.each(batches, self._pull_batch)),
            wants=lambda request: wants_days(request, last_closed),
            take=lambda request, pull: self._with_statements(request, pull, last_closed),
        )

    def close(self) -> None:
        """End the connections to the bank."""
        self._client.close()

    async def _pull_batch(self, requests: Sequence[PullRequest]) -> list[tuple[PullRequest, PullOutcome]]:
        started_at = self._clock.now()
        raw: list[Raw] = []
        asked = [self._named(one.account) for one in requests if one.account.currency in _CURRENCY_NUMBERS]
        try:
            said = await self._ask(BALANCES, {"ntqadinfx": asked}, raw) if asked else None
            rows = _by_number(said) if said is not None else {}
        except (CallRefused, Refused) as error:
            return [(one, self._refused(one, error, raw, started_at)) for one in requests]
        outcomes: list[tuple[PullRequest, PullOutcome]] = []
        for request in requests:
            try:
                pull = self._balances(request, said, rows, asked, started_at)
            except Refused as error:
                outcomes.append((request, self._refused(request, error, raw, started_at)))
            else:
                outcomes.append((request, replace(pull, raw=tuple(raw))))
        return outcomes

    def _balances(
        self, request: PullRequest, said: _Said | None, rows: Mapping[str, list[_Row]], asked: Sequence[Json],
        started_at: datetime,
    ) -> Pull:
        account, number = request.account, self._number(request.account)
        if said is None or account.currency not in _CURRENCY_NUMBERS:
            detail = f"not asked for: the bank's number of the account's currency, {account.currency}, is not known"
            raise refused(RefusalReason.WRONG_CURRENCY, BALANCES, "ccynbr", detail)
        found = rows.get(plain_id(number))
        if not found:
            if rows.keys() - {plain_id(str(one["accnbr"])) for one in asked}:
                detail = f"the answer speaks of an account that was not asked for, and not of {masked(number)}"
                raise refused(RefusalReason.WRONG_ACCOUNT, said.where, "accnbr", detail)
            detail = f"the answer has no row for {masked(number)}"
            raise refused(RefusalReason.NOT_FOUND, said.where, "ntqadinfz", detail)
        readings, status = _one_voice([_balances_in(row, account, said) for row in _of_currency(found, account)], said)
        return Pull(
            account_no=account.account_no, bank=self.bank, readings=readings, account_status=status,
            started_at=started_at, finished_at=said.answer.fetched_at,
        )

    async def _with_statements(self, request: PullRequest, pull: Pull, last_closed: date) -> Pull:
        """The pull with the closed days that are asked for; the balances of days also where the entries fail."""
        account, first = request.account, request.statements_from
        assert first is not None  # noqa: S101 - only such requests want statements
        raw = list(pull.raw)
        readings: tuple[Reading, ...] = ()
        statements: tuple[Statement, ...] = ()
        refusals = pull.refusals
        try:
            closings = await self._closings(account, first - _DAY, last_closed, raw)
            readings = tuple(one for day, one in sorted(closings.items()) if day >= first)
            statements = await self._statements(account, closings, raw)
        except (CallRefused, Refused) as error:
            refusals = refusals_of(error)
        return replace(
            pull, readings=pull.readings + readings, statements=statements, raw=tuple(raw), refusals=refusals,
            finished_at=self._clock.now(),
        )

    async def _closings(self, account: Account, first: date, last: date, raw: list[Raw]) -> dict[date, Reading]:
        """The final balance of each day that the bank states between two days, both included."""
        found: dict[date, Reading] = {}
        while first <= last:
            until = min(last, first + (DAYS_MAX - 1) * _DAY)
            question: object = [{**self._named(account), "bgndat": f"{first:%Y%m%d}", "enddat": f"{until:%Y%m%d}"}]
            seen: list[object] = []
            while True:
                said = await self._ask(DAY_BALANCES, {"ntqabinfy": question}, raw)
                for row in said.rows("ntqabinfz"):
                    _add_closing(found, row, account, self._number(account), (first, until), said)
                question = said.body.get("ntqabinfy")
                if not any(_text(row.stated, "ctnkey") for row in said.rows("ntqabinfy")):
                    break
                if question in seen or len(seen) >= PAGES_MAX:
                    raise refused(RefusalReason.MALFORMED, said.where, "ntqabinfy", "the pages lead in a circle")
                seen.append(question)
            first = until + _DAY
        return found

    async def _statements(
        self, account: Account, closings: Mapping[date, Reading], raw: list[Raw]
    ) -> tuple[Statement, ...]:
        """One statement from the first to the last day whose balance the bank states; every day of them must tie."""
        if len(closings) < 2:
            return ()  # nothing is closed after the day the entries would begin at
        opening_on, closing_on = min(closings), max(closings)
        first = opening_on + _DAY
        number = f"{first}..{closing_on}"
        opening, closing = closings[opening_on].amount, closings[closing_on].amount
        booked = await self._entries(account, first, closing_on, raw)
        lines = _in_order(booked, opening)
        _check_days(lines, closings, opening)
        whole = end_of_day(
            account_no=account.account_no, currency=account.currency, number=number, opening=opening,
            opening_on=opening_on, closing=closing, closing_on=closing_on, lines=lines, where=ENTRIES,
        )
        return checked([whole], today=closing_on)

    async def _entries(self, account: Account, first: date, last: date, raw: list[Raw]) -> list[_Booked]:
        """All entries between two closed days, both included, as the pages bring them; a row that is repeated once."""
        question = {
            "cardNbr": self._number(account), "beginDate": f"{first:%Y%m%d}", "endDate": f"{last:%Y%m%d}",
            "transactionSequence": "1", "currencyCode": _CURRENCY_NUMBERS[account.currency],
        }
        body: dict[str, object] = {"TRANSQUERYBYBREAKPOINT_X1": [question]}
        booked: dict[object, _Booked] = {}
        seen: list[object] = []
        while True:
            said = await self._ask(ENTRIES, body, raw)
            for row in said.rows("TRANSQUERYBYBREAKPOINT_Z2"):
                one = _booked(row, account, (first, last), said)
                booked.setdefault(one.identity or len(booked), one)
            following = _following(said)
            if following is None:
                return list(booked.values())
            if following in seen or len(seen) >= PAGES_MAX:
                raise refused(RefusalReason.MALFORMED, said.where, "ctnFlag", "the pages lead in a circle")
            seen.append(following)
            body = {
                "TRANSQUERYBYBREAKPOINT_X1": [{**question, "queryAcctNbr": following[0]}],
                "TRANSQUERYBYBREAKPOINT_Y1": following[1],
            }

    async def _ask(self, funcode: str, body: Mapping[str, object], raw: list[Raw]) -> _Said:
        """Ask once, and again where the line failed, each time under a new id. The bytes of the answer go to `raw`."""
        asked = ""

        def content() -> bytes:
            nonlocal asked
            now = self._clock.now().astimezone(self._zone)
            asked = request_id(now)
            head = {"funcode": funcode, "userid": self._user_id, "reqid": asked}
            data = self._envelope.seal({"request": {"head": head, "body": body}}, signed_at=f"{now:%Y%m%d%H%M%S}")
            form = {"UID": self._user_id, "FUNCODE": funcode, "ALG": "SM", "DATA": data.decode()}
            return urlencode(form).encode()

        answer = await self._client.post("", content=content, media_type=FORM, safe=True)
        return self._opened(answer, funcode, asked, raw)

    def _opened(self, answer: Answer, funcode: str, asked: str, raw: list[Raw]) -> _Said:
        where = f"{answer.path} {funcode}"
        try:
            if answer.content.startswith(b"CDCServer:"):
                detail = "the gateway turned the call away unread: our address, user number, keys or rights"
                raise refused(RefusalReason.FORBIDDEN, where, None, detail)
            plain, document = self._envelope.open(answer.content)
        except (EnvelopeBroken, NotGenuine, Refused) as error:
            raw.append(raw_of(answer))
            if isinstance(error, Refused):
                raise
            genuine = isinstance(error, EnvelopeBroken)
            reason = RefusalReason.MALFORMED if genuine else RefusalReason.BAD_SIGNATURE
            raise refused(reason, where, None, f"the answer is not as the bank seals it: {error}") from error
        # What the bank signed is kept, signature and all: unlike the sealed bytes it can be read and checked later.
        answer = replace(answer, content=plain, media_type="application/json")
        raw.append(raw_of(answer))
        response = object_of(document.get("response"), where, "response")
        head = object_of(response.get("head"), where, "head")
        self._check_head(head, document, funcode, asked, answer, where)
        return _Said(answer, Moment(self._zone, answer.fetched_at), response.get("body"), raw[-1].sha256, where)

    def _check_head(
        self, head: Json, document: Json, funcode: str, asked: str, answer: Answer, where: str
    ) -> None:
        """The answer is to our question, is of now, and was accepted."""
        signed = _instant(_text(object_of(document.get("signature"), where, "signature"), "sigtim"), self._zone)
        if signed is not None and signed > answer.fetched_at + SIGNED_WITHIN:
            detail = f"signed at {signed.isoformat()}, which is to come"
            raise refused(RefusalReason.DATED_IN_FUTURE, where, "sigtim", detail)
        if signed is not None and signed < answer.fetched_at - SIGNED_WITHIN:
            detail = f"an old answer, signed at {signed.isoformat()}"
            raise refused(RefusalReason.BAD_SIGNATURE, where, "sigtim", detail)
        echoed = _text(head, "reqid") or ""
        if _text(head, "funcode") not in (None, funcode) or (_REQUEST_ID.match(echoed) and echoed != asked):
            raise refused(RefusalReason.BAD_SIGNATURE, where, "head", "an answer to another question than ours")
        code = _text(head, "resultcode")
        if code is None:
            raise refused(RefusalReason.MISSING_FIELD, where, "resultcode", "not there")
        if code != SUCCESS:
            raise refused(RefusalReason.UNEXPECTED_STATUS, where, "resultcode", f"not accepted: code {_coded(code)}")

    def _named(self, account: Account) -> dict[str, str]:
        """How the bank is told which account is meant."""
        branch = self._given(account, "branch") or self._branch
        named = {"accnbr": self._number(account), "ccynbr": _CURRENCY_NUMBERS[account.currency]}
        return named if branch is None else {**named, "bbknbr": branch}

    def _number(self, account: Account) -> str:
        return self._given(account, "number") or account.account_no

    def _given(self, account: Account, name: str) -> str | None:
        given = _EXTERNAL_ID.match(account.external_id or "")
        return given[name] if given is not None else None

    def _refused(
        self, request: PullRequest, error: CallRefused | Refused, raw: Sequence[Raw], started_at: datetime
    ) -> PullOutcome:
        return refused_pull(
            request, self.bank, refusals_of(error)[0], raw=raw, started_at=started_at, finished_at=self._clock.now()
        )


def request_id(now: datetime) -> str:
    """yyyyMMddHHmmssSSS in the bank's zone, and sixteen characters that no other request has."""
    return f"{now:%Y%m%d%H%M%S}{now.microsecond // 1000:03d}{secrets.token_hex(8)}"


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of an answer, and where it stands."""

    stated: Json
    where: str


@dataclass(frozen=True, slots=True)
class _Said:
    """An answer that was opened, verified and accepted. `answer` carries the text inside the envelope."""

    answer: Answer
    moment: Moment
    stated: object
    raw_sha256: str
    where: str

    @property
    def body(self) -> Json:
        return object_of(self.stated, self.where, "body")

    def rows(self, name: str) -> list[_Row]:
        """The rows of one collection; a collection that is left out has none."""
        stated = self.body.get(name)
        if stated is not None and not isinstance(stated, list):
            raise refused(RefusalReason.MALFORMED, self.where, name, "not a list")
        places = (f"{self.where} {name}[{place}]" for place in range(len(stated or ())))
        return [_Row(object_of(row, where, name), where) for row, where in zip(stated or (), places, strict=True)]


@dataclass(frozen=True, slots=True)
class _Booked:
    """An entry with what the bank says beside it: the balance after it, its number and its time of day."""

    line: EntryLine
    balance: Money | None
    sequence: str | None
    at: str | None

    @property
    def identity(self) -> object:
        """What two sightings of one row have in common: its number alone may stand on several rows."""
        line = self.line
        return self.sequence and (self.sequence, line.stated_on, line.amount, self.balance, self.at)


def _by_number(said: _Said) -> dict[str, list[_Row]]:
    """The rows of an answer for balances, by account number."""
    found: dict[str, list[_Row]] = {}
    for row in said.rows("ntqadinfz"):
        found.setdefault(plain_id(_required(row, "accnbr")), []).append(row)
    return found


def _of_currency(rows: Sequence[_Row], account: Account) -> list[_Row]:
    """The rows of an account that are in its currency, all of them answered. Raises Refused."""
    for row in rows:
        code = _required(row, "errcod")
        if code != SUCCESS:
            detail = f"the bank gives no balance of {masked(account.account_no)}: code {_coded(code)}"
            raise refused(RefusalReason.FORBIDDEN, row.where, "errcod", detail)
    wanted = _CURRENCY_NUMBERS[account.currency]
    numbers = [_required(row, "ccynbr") for row in rows]
    if wanted not in numbers:
        detail = f"stated in currency number {numbers[0][:20]!r}, the account is in {account.currency} ({wanted})"
        raise refused(RefusalReason.WRONG_CURRENCY, rows[0].where, "ccynbr", detail)
    return [row for row, number in zip(rows, numbers, strict=True) if number == wanted]


def _one_voice(
    stated: Sequence[tuple[tuple[Reading, ...], AccountStatus]], said: _Said
) -> tuple[tuple[Reading, ...], AccountStatus]:
    """What all rows of an account say alike, or Refused."""
    if any(one != stated[0] for one in stated):
        raise refused(RefusalReason.CONTRADICTS, said.where, "ntqadinfz", "two rows of one account differ")
    return stated[0]


def _balances_in(row: _Row, account: Account, said: _Said) -> tuple[tuple[Reading, ...], AccountStatus]:
    """The running balances of one row."""
    amounts = {BalanceKind.BOOKED_INTRADAY: _money(row, "onlblv", account.currency)}
    if _text(row.stated, "hldblv", row.where) is not None:
        held = amounts[BalanceKind.HELD] = _money(row, "hldblv", account.currency)
        if held.minor_units < 0:
            raise refused(RefusalReason.BAD_AMOUNT, row.where, "hldblv", f"{held.text} is held: less than nothing")
    if _text(row.stated, "avlblv", row.where) is not None and _text(row.stated, "lmtovr", row.where) is not None:
        available = _money(row, "avlblv", account.currency)
        if _money(row, "lmtovr", account.currency).minor_units == 0:
            amounts[BalanceKind.AVAILABLE] = available
    readings = tuple(
        _reading(account, kind, amount, said.moment.today, said.moment.fetched_at, said)
        for kind, amount in amounts.items()
    )
    return readings, _STATUS.get(_text(row.stated, "stscod") or "", AccountStatus.UNKNOWN)


def _reading(account: Account, kind: BalanceKind, amount: Money, on: date, as_of: datetime, said: _Said) -> Reading:
    return Reading(
        account_no=account.account_no, kind=kind, amount=amount, on=on, as_of=as_of,
        fetched_at=said.moment.fetched_at, final=kind is BalanceKind.BOOKED_CLOSING, source=SOURCE,
        raw_sha256=said.raw_sha256,
    )


def _add_closing(
    found: dict[date, Reading], row: _Row, account: Account, number: str, span: tuple[date, date], said: _Said
) -> None:
    """Read one row of day balances into what was found. Raises Refused."""
    stated_number, currency = _text(row.stated, "accnbr"), _text(row.stated, "rsv30z")
    if stated_number is not None and plain_id(stated_number) != plain_id(number):
        detail = f"the answer speaks of account {masked(stated_number)}, not of {masked(number)}"
        raise refused(RefusalReason.WRONG_ACCOUNT, row.where, "accnbr", detail)
    if currency is not None and re.fullmatch("[0-9]{2}", currency) and currency != _CURRENCY_NUMBERS[account.currency]:
        detail = f"stated in currency number {currency}, the account is in {account.currency}"
        raise refused(RefusalReason.WRONG_CURRENCY, row.where, "rsv30z", detail)
    on = _day(row, "trsdat", span, said.moment)
    amount = _money(row, "balamt", account.currency)
    reading = _reading(
        account, BalanceKind.BOOKED_CLOSING, amount, on, said.moment.end_of(on, row.where, "trsdat"), said
    )
    known = found.setdefault(on, reading)
    if known.amount != amount:
        detail = f"the balance of {on} is stated as {known.amount.text} and as {amount.text}"
        raise refused(RefusalReason.CONTRADICTS, row.where, "balamt", detail)


def _booked(row: _Row, account: Account, span: tuple[date, date], said: _Said) -> _Booked:
    """One entry. loanCode gives the direction; the bank's own sample writes a debit below zero as well."""
    stated = row.stated
    currency = _required(row, "currencyNbr")
    if currency != _CURRENCY_NUMBERS[account.currency]:
        detail = f"an entry in currency number {currency[:20]!r}, the account is in {account.currency}"
        raise refused(RefusalReason.WRONG_CURRENCY, row.where, "currencyNbr", detail)
    amount, direction = _money(row, "transAmount", account.currency), _required(row, "loanCode")
    if direction == "D":
        amount = -amount if amount.minor_units > 0 else amount
    elif direction != "C":
        raise refused(RefusalReason.MALFORMED, row.where, "loanCode", f"{direction[:20]!r} is neither C nor D")
    elif amount.minor_units < 0:
        raise refused(RefusalReason.BAD_AMOUNT, row.where, "transAmount", f"a credit of {amount.text}: below zero")
    flag = _text(stated, "reversalFlag")
    if flag not in (None, "N", "*", "X"):
        raise refused(RefusalReason.MALFORMED, row.where, "reversalFlag", f"{flag[:20]!r} is no flag of the bank's")
    other, sequence = _text(stated, "ctpAcctNbr"), _text(stated, "transSequenceIdn")
    value_on = _text(stated, "valueDate")
    line = EntryLine(
        amount=amount, stated_on=_day(row, "transDate", span, said.moment),
        value_on=None if value_on is None else _date(row, "valueDate"), bank_ref=sequence,
        text=plain_text(_text(stated, "remarkTextClt") or ""), reversal=flag == "*",
        counterparty_sha256=counterparty_digest(other, _text(stated, "ctpAcctName")), where=row.where,
        counterparty_account_sha256=account_digest(other),
    )
    balance = None if _text(stated, "acctOnlineBal") is None else _money(row, "acctOnlineBal", account.currency)
    return _Booked(line, balance, sequence, _text(stated, "transTime"))


def _following(said: _Said) -> tuple[object, object] | None:
    """Where the next page begins, as the bank wants it handed back; None after the last."""
    controls = said.rows("TRANSQUERYBYBREAKPOINT_Z1")
    if len(controls) != 1:
        raise refused(RefusalReason.MISSING_FIELD, said.where, "TRANSQUERYBYBREAKPOINT_Z1", "not one row of it")
    flag = _required(controls[0], "ctnFlag")
    if flag == "N":
        return None
    following = said.body.get("TRANSQUERYBYBREAKPOINT_Y1")
    if flag != "Y" or not following:
        raise refused(RefusalReason.MALFORMED, said.where, "ctnFlag", "it neither ends nor says where it goes on")
    return _required(controls[0], "queryAcctNbr"), following


def _in_order(booked: Sequence[_Booked], opening: Money) -> list[EntryLine]:
    """The entries in the order of booking: that in which the balances after them tie. Raises Refused."""
    forward = _first_break(booked, opening)
    if forward is None:
        return [one.line for one in booked]
    backward = booked[::-1]
    if _first_break(backward, opening) is None:
        return [one.line for one in backward]
    broken, reached = forward
    stated = broken.balance.text if broken.balance is not None else "nothing"
    detail = f"after this entry of {broken.line.amount.text} there should be {reached.text}, the bank says {stated}"
    raise refused(RefusalReason.DOES_NOT_TIE, broken.line.where, "acctOnlineBal", detail)


def _first_break(booked: Sequence[_Booked], opening: Money) -> tuple[_Booked, Money] | None:
    """The first entry whose stated balance is not the one before it and its amount, and what that makes."""
    reached = opening
    for one in booked:
        try:
            reached = reached + one.line.amount
        except AmountError as error:
            raise refused(RefusalReason.BAD_AMOUNT, one.line.where, "transAmount", str(error)) from error
        if one.balance is not None and one.balance != reached:
            return one, reached
    return None


def _check_days(lines: Sequence[EntryLine], closings: Mapping[date, Reading], opening: Money) -> None:
    """The entries lead from each stated day balance to the next, or Refused."""
    moved: dict[date, int] = {}
    for line in lines:
        if line.stated_on is not None:
            moved[line.stated_on] = moved.get(line.stated_on, 0) + line.amount.minor_units
    reached, waiting = opening.minor_units, sorted(moved)
    for day, closing in sorted(closings.items()):
        while waiting and waiting[0] <= day:
            reached += moved[waiting.pop(0)]
        if reached != closing.amount.minor_units:
            off = f"off by {Money(closing.amount.minor_units - reached, opening.currency).text}"
            detail = f"the entries up to {day} do not lead to its balance {closing.amount.text}, {off}"
            raise refused(RefusalReason.DOES_NOT_TIE, ENTRIES, f"{day}", detail)


def _money(row: _Row, name: str, currency: str) -> Money:
    """An amount, written as text, exactly. Raises Refused."""
    value = row.stated.get(name)
    text = value.strip() if isinstance(value, str) else None
    if value is None or text == "":
        raise refused(RefusalReason.MISSING_FIELD, row.where, name, "no amount")
    try:
        if text is None or text.startswith("+"):
            raise AmountError(f"{str(value)[:40]!r} is no amount as the bank writes it, in a string")
        return parse_amount(text, currency)
    except AmountError as error:
        raise refused(RefusalReason.BAD_AMOUNT, row.where, name, str(error)) from error


def _date(row: _Row, name: str) -> date:
    text = _required(row, name)
    try:
        if _DAY_TEXT.match(text):
            return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        pass
    raise refused(RefusalReason.BAD_DATE, row.where, name, f"{text[:40]!r} is no date")


def _day(row: _Row, name: str, span: tuple[date, date], moment: Moment) -> date:
    """A day that was asked for. Raises Refused."""
    on = _date(row, name)
    moment.end_of(on, row.where, name)
    if not span[0] <= on <= span[1]:
        detail = f"dated {on}, and {span[0]} to {span[1]} was asked for"
        raise refused(RefusalReason.BAD_DATE, row.where, name, detail)
    return on


def _text(stated: Json, name: str, where: str | None = None) -> str | None:
    """A text without the blanks at its ends; None where it says nothing. `where`: anything but text is Refused."""
    value = stated.get(name)
    if where is not None and value is not None and not isinstance(value, str):
        raise refused(RefusalReason.BAD_AMOUNT, where, name, "not in a string, as the bank writes amounts")
    return value.strip() or None if isinstance(value, str) else None


def _required(row: _Row, name: str) -> str:
    text = _text(row.stated, name)
    if text is None:
        raise refused(RefusalReason.MISSING_FIELD, row.where, name, "not there")
    return text


def _coded(code: str) -> str:
    """A code of the bank's, if it looks like one: its texts are not repeated, for they may hold what we sent."""
    return code if _CODE.match(code) else "unknown"


def _instant(text: str | None, zone: ZoneInfo) -> datetime | None:
    """yyyyMMddHHmmss in the bank's zone; None for what is no instant."""
    try:
        return datetime.strptime(text or "", "%Y%m%d%H%M%S").replace(tzinfo=zone).astimezone(UTC)
    except ValueError:
        return None
