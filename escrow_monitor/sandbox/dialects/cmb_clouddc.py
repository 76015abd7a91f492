"""What an invented bank answers to a request in the shape of China Merchants Bank CloudDC, envelope and all.

    POST /yandu    UID=N...&FUNCODE=NTQADINF|NTQABINF|trsQryByBreakPoint&ALG=SM&DATA=<sealed message>

The message is decrypted and its signature checked; its id must be new, its time within the hour. Codes that begin with
SBX are of this sandbox: the real bank's are not public. Some accounts have money held, some an overdraft line: that is
the bank's to say and moves nothing that is booked.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from urllib.parse import parse_qsl

from escrow_monitor.banks.sm_envelope import Envelope, EnvelopeBroken, NotGenuine, Number, public_key_of
from escrow_monitor.domain.accounts import AccountStatus
from escrow_monitor.domain.money import Money, decimal_text
from escrow_monitor.sandbox.dialects.dialect import Answer, Request
from escrow_monitor.sandbox.district import CURRENCY, ZONE, District, SandboxBank, last_closed_day, tick

ROWS_MAX = 200
ACCOUNTS_MAX = 30
DAYS_APART_MAX = 31
BRANCH = "69"
CURRENCY_NUMBER = "10"
SUCCESS = "SUC0000"
OVERDRAFT_FEN = 50_000_00

_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_REQUEST_ID = re.compile(r"[0-9]{17}[0-9A-Za-z]{1,34}\Z", re.ASCII)
_REQUEST_IDS_KEPT = 200_000
_STATUS = {AccountStatus.FROZEN: "B", AccountStatus.CLOSED: "C"}

Row = dict[str, object]


class Garbage(StrEnum):
    """The ways in which the garbage bank answers wrongly about one account; blanks and virtual do no harm."""

    ROW_ERROR = "row_error"
    MISSING = "missing"
    BLANKS = "blanks"
    NUMBER = "number"
    OTHER_CURRENCY = "other_currency"
    VIRTUAL = "virtual"
    UNKNOWN_CURRENCY = "unknown_currency"
    OTHER_ACCOUNT = "other_account"
    EXPONENT = "exponent"
    TWICE = "twice"


class WholeGarbage(StrEnum):
    """The ways in which a whole answer is wrong, at some hours of the day."""

    WRONG_SIGNATURE = "wrong_signature"
    TOMORROW = "tomorrow"
    CUT_SHORT = "cut_short"
    NOT_ACCEPTED = "not_accepted"
    YESTERDAY = "yesterday"
    TURNED_AWAY = "turned_away"


GARBAGE = tuple(Garbage)
_WHOLE_BY_HOUR = dict(zip(range(0, 24, 4), WholeGarbage, strict=True))


class _TurnedAway(Exception):
    """A call that the gateway does not pass on; it answers in plain text."""


class _NotAccepted(Exception):
    """A message that is refused as a whole, by code."""


@dataclass(frozen=True, slots=True)
class _Keys:
    """What both sides of one bank hold."""

    user_id: str
    ours: bytes
    banks: bytes
    strangers: bytes
    sm4: str

    def envelope(self, private_key: bytes) -> Envelope:
        """The bank's side of the envelope, with its own or another private key."""
        return Envelope(
            user_id=self.user_id, private_key=private_key, their_public_key=public_key_of(self.ours),
            key=self.sm4.encode(),
        )


@dataclass
class CmbCloudDcDialect:
    """CloudDC for all banks of a district. `rows_max` is how many entries one answer has."""

    district: District
    rows_max: int = ROWS_MAX
    _envelopes: dict[tuple[str, bool], Envelope] = field(default_factory=dict)
    _met: dict[str, None] = field(default_factory=dict)

    def answer(self, request: Request, *, bank: SandboxBank, at: datetime, garbage: bool) -> Answer:
        """Answer one request at an instant. A wrong call is answered in plain text, a wrong message by its code."""
        at = at.astimezone(ZONE)
        whole = _WHOLE_BY_HOUR.get(at.hour) if garbage else None
        try:
            if whole is WholeGarbage.TURNED_AWAY:
                raise _TurnedAway("the line is closed")
            head, body = self._message(request, bank, at)
        except _TurnedAway as error:
            return Answer(200, f"CDCServer:ErrMsg:{error}".encode(), "text/plain;charset=UTF-8")
        code, said = SUCCESS, {}
        try:
            if whole is WholeGarbage.NOT_ACCEPTED:
                raise _NotAccepted("SBX0009")
            said = self._said(str(head["funcode"]), body, bank, at, garbage=garbage)
        except _NotAccepted as error:
            code = str(error)
        document = {"response": {"body": said, "head": {
            **head, "bizcode": "", "resultcode": code, "resultmsg": " ", "rspid": f"{at:%Y%m%d%H%M%S%f}0001-SB",
        }}}
        shift = {WholeGarbage.TOMORROW: _DAY, WholeGarbage.YESTERDAY: -_DAY}
        signed_at = at if whole is None else at + shift.get(whole, timedelta())
        envelope = self._envelope(bank, genuine=whole is not WholeGarbage.WRONG_SIGNATURE)
        sealed = envelope.seal(document, signed_at=f"{signed_at:%Y%m%d%H%M%S}")
        return Answer(
            200, sealed[:-30] if whole is WholeGarbage.CUT_SHORT else sealed, "text/plain;charset=UTF-8",
        )

    def limited(self, request: Request, *, bank: SandboxBank) -> Answer:
        """More than twenty calls at once. What the real gateway says then is not public."""
        return Answer(429, b"too many calls", "text/plain")

    def settings(self, bank: SandboxBank, *, base_url: str) -> Mapping[str, object]:
        """What an operator would write into `[banks.NAME]`."""
        keys = self._keys(bank)
        return {
            "connector": "cmb_clouddc", "base_url": base_url, "user_id": keys.user_id, "branch": BRANCH,
            "sm2_private_key": b64encode(keys.ours).decode(),
            "bank_public_key": b64encode(b"\x04" + public_key_of(keys.banks)).decode(), "sm4_key": keys.sm4,
        }

    def held(self, place: int, booked_fen: int) -> int:
        """How much of the booked money is held, in fen: a fiftieth at every fourth account."""
        return max(booked_fen, 0) // 50 if (place + self.district.seed) % 4 == 0 else 0

    def overdraft(self, place: int) -> int:
        """The overdraft line of an account, in fen: one account in five has one."""
        return OVERDRAFT_FEN if (place + self.district.seed) % 5 == 0 else 0

    # the way in

    def _message(self, request: Request, bank: SandboxBank, at: datetime) -> tuple[Row, Row]:
        """Head and body of a message that is as the bank wants it."""
        if request.method != "POST" or request.path.strip("/"):
            raise _TurnedAway("POST to the address itself")
        if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            raise _TurnedAway("not a form")
        form = dict(parse_qsl(request.body.decode("latin-1"), keep_blank_values=True))
        if form.get("UID") != self._keys(bank).user_id or form.get("ALG") != "SM":
            raise _TurnedAway("unknown user or algorithm")
        try:
            _, document = self._envelope(bank).open(form.get("DATA", "").encode())
        except (EnvelopeBroken, NotGenuine) as error:
            raise _TurnedAway(f"signature or encryption: {error}") from error
        asked, signature = document.get("request"), document.get("signature")
        head = asked.get("head") if isinstance(asked, dict) else None
        body = asked.get("body") if isinstance(asked, dict) else None
        if not isinstance(head, dict) or not isinstance(body, dict) or not isinstance(signature, dict):
            raise _TurnedAway("no head, body or signature")
        if head.get("funcode") != form.get("FUNCODE") or head.get("userid") != form.get("UID"):
            raise _TurnedAway("the form names another user or function than the message")
        self._check_time(str(signature.get("sigtim")), at)
        self._check_id(str(head.get("reqid")), at)
        return head, body

    def _check_time(self, text: str, at: datetime) -> None:
        try:
            signed_at = datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=ZONE)
        except ValueError:
            raise _TurnedAway("the signature has no time") from None
        if abs(signed_at - at) > _HOUR:
            raise _TurnedAway("signed at another hour")

    def _check_id(self, text: str, at: datetime) -> None:
        if not _REQUEST_ID.match(text):
            raise _TurnedAway("reqid is not yyyyMMddHHmmssSSS and 1 to 34 characters")
        self._check_time(text[:14], at)
        if text in self._met:
            raise _TurnedAway("reqid was used before")
        if len(self._met) >= _REQUEST_IDS_KEPT:
            self._met.clear()
        self._met[text] = None

    # what is said

    def _said(self, funcode: str, body: Row, bank: SandboxBank, at: datetime, *, garbage: bool) -> Row:
        match funcode:
            case "NTQADINF":
                return {"ntqadinfz": list(self._balances(body, bank, at, garbage=garbage))}
            case "NTQABINF":
                return {"ntqabinfz": self._day_balances(body, bank, at, garbage=garbage)}
            case "trsQryByBreakPoint":
                return self._entries(body, bank, at, garbage=garbage)
        raise _NotAccepted("SBX0001")

    def _balances(self, body: Row, bank: SandboxBank, at: datetime, *, garbage: bool) -> Iterator[Row]:
        asked = _rows(body, "ntqadinfx")
        if not 1 <= len(asked) <= ACCOUNTS_MAX:
            raise _NotAccepted("SBX0002")
        for one in asked:
            number = str(one.get("accnbr"))
            place = self._place(bank, number)
            if place is None or one.get("ccynbr", CURRENCY_NUMBER) != CURRENCY_NUMBER:
                yield {"accnbr": number, "errcod": "SBX0003", "errtxt": "no such account for this user"}
                continue
            row = self._balance(place, number, at)
            yield from spoilt(row, GARBAGE[(at.hour + place) % len(GARBAGE)]) if garbage else (row,)

    def _balance(self, place: int, number: str, at: datetime) -> Row:
        before, running = self.district.struck(place, closed=at.date() - _DAY, at=tick(at))
        booked = self.district.scaled(place, running)
        held, overdraft = self.held(place, booked), self.overdraft(place)
        return {
            "accnbr": f"{number}    ", "accnam": "监管账户        ", "accitm": "10001", "bbknbr": BRANCH,
            "ccynbr": CURRENCY_NUMBER, "onlblv": _yuan(booked), "hldblv": _yuan(held),
            "avlblv": _yuan(booked - held + overdraft), "lmtovr": _yuan(overdraft),
            "accblv": _yuan(self.district.scaled(place, before)), "intcod": " ", "relnbr": "",
            "stscod": _STATUS.get(self.district.status_on(place, at.date()), "A"), "opndat": "20140519",
            "mutdat": "00000000", "intrat": "0.0000000", "errcod": SUCCESS, "errtxt": " ",
        }

    def _day_balances(self, body: Row, bank: SandboxBank, at: datetime, *, garbage: bool) -> list[Row]:
        """The days that have closed. It is not known whether the real bank leaves out days on which nothing moved."""
        (asked, *others) = _rows(body, "ntqabinfy") or ({},)
        first, last = _day(asked.get("bgndat")), _day(asked.get("enddat"))
        place = self._place(bank, str(asked.get("accnbr")))
        if others or place is None or not first <= last < at.date() or (last - first).days > DAYS_APART_MAX:
            raise _NotAccepted("SBX0004")
        rows: list[Row] = [
            {
                "accnbr": asked["accnbr"], "bbknbr": BRANCH, "trsdat": f"{first + number * _DAY:%Y%m%d}",
                "balamt": self._closing(place, first + number * _DAY).text, "rsv30z": CURRENCY_NUMBER,
            }
            for number in range((min(last, last_closed_day(at)) - first).days + 1)
        ]
        if garbage and rows and at.hour % 2 == 0:
            rows[-1]["trsdat"] = f"{at + _DAY:%Y%m%d}"
        return rows

    def _entries(self, body: Row, bank: SandboxBank, at: datetime, *, garbage: bool) -> Row:
        (asked, *others) = _rows(body, "TRANSQUERYBYBREAKPOINT_X1") or ({},)
        first, last = _day(asked.get("beginDate")), _day(asked.get("endDate"))
        place = self._place(bank, str(asked.get("cardNbr")))
        if others or place is None or first > last or asked.get("currencyCode", "") not in ("", CURRENCY_NUMBER):
            raise _NotAccepted("SBX0005")
        numbered = list(self._booked(place, first, last, at))
        begin = self._begin(body, asked, place, numbered)
        page = numbered[begin : begin + self.rows_max]
        rows = [row for _, row in page]
        if garbage and rows:
            rows[-1]["acctOnlineBal"] = "0.01"
        more = begin + len(page) < len(numbered)
        day, sequence = (page[-1][0][0], page[-1][0][1] + 1) if page else (first, 1)
        debits = [str(row["transAmount"]) for row in rows if row["loanCode"] == "D"]
        return {
            "TRANSQUERYBYBREAKPOINT_Y1": [
                {"acctNbr": f"{self._inner(place)[:-1]}9", "expectNextSequence": "1", "transDate": f"{first:%Y%m%d}"},
                {"acctNbr": self._inner(place), "expectNextSequence": f"{sequence}", "transDate": f"{day:%Y%m%d}"},
            ],
            "TRANSQUERYBYBREAKPOINT_Z1": [{
                "ctnFlag": "Y" if more else "N", "queryAcctNbr": self._inner(place), "debitNums": f"{len(debits)}",
                "creditNums": f"{len(rows) - len(debits)}", "reserve": "",
            }],
            "TRANSQUERYBYBREAKPOINT_Z2": rows,
        }

    def _begin(
        self, body: Row, asked: Row, place: int, numbered: Sequence[tuple[tuple[date, int], Row]]
    ) -> int:
        """Where a page begins: at the first row, or at the one that a cursor handed back points to."""
        cursors = _rows(body, "TRANSQUERYBYBREAKPOINT_Y1")
        if not cursors:
            return 0
        if asked.get("queryAcctNbr") != self._inner(place) or len(cursors) != 2:
            raise _NotAccepted("SBX0006")
        sequence = str(cursors[1].get("expectNextSequence"))
        if cursors[1].get("acctNbr") != self._inner(place) or not sequence.isdecimal():
            raise _NotAccepted("SBX0006")
        point = (_day(cursors[1].get("transDate")), int(sequence))
        return next((number for number, (at, _) in enumerate(numbered) if at >= point), len(numbered))

    def _booked(
        self, place: int, first: date, last: date, at: datetime
    ) -> Iterator[tuple[tuple[date, int], Row]]:
        """The entries of a span in the order of booking, each with its day and its number on that day from 1."""
        account_no = self.district.account_no(place)
        first = max(first, self.district.starts_on)
        now, balance = tick(at), self.district.opening(account_no, first)
        for ahead in range((min(last, now.date()) - first).days + 1):
            day = first + ahead * _DAY
            moves = self.district.movements(place, day)
            for number, (entry, move) in enumerate(
                zip(self.district.entries(account_no, day), moves, strict=True)
            ):
                if day == now.date() and move.second > now.hour * 3600 + now.minute * 60:
                    break
                balance += entry.amount
                yield (day, number + 1), self._entry(place, number, day, move.second, entry.amount, balance, entry.text)

    def _entry(
        self, place: int, number: int, day: date, second: int, amount: Money, balance: Money, text: str
    ) -> Row:
        debit = amount.minor_units < 0
        # Both ways of writing a debit are met in public: below zero and D, or D alone.
        written = amount if not debit or place % 2 == 0 else -amount
        other = f"{place * 7919 + number * 104729:015d}"
        return {
            "transDate": f"{day:%Y%m%d}", "transTime": f"{second // 3600:02d}{second // 60 % 60:02d}{second % 60:02d}",
            "valueDate": f"{day:%Y%m%d}", "transSequenceIdn": f"{day:%y%m%d}{place:06d}{number:02d}",
            "loanCode": "D" if debit else "C", "transAmount": written.text, "currencyNbr": CURRENCY_NUMBER,
            "acctOnlineBal": balance.text, "reversalFlag": "N", "remarkTextClt": f"{text}      ", "textCode": "EBPP",
            "ctpAcctNbr": f"{other}   ", "ctpAcctName": "对方户名 ", "requestNbr": "", "infoFlag": "1",
        }

    # who is asked about

    def _place(self, bank: SandboxBank, number: str) -> int | None:
        try:
            place = self.district.place(number)
        except KeyError:
            return None
        return place if self.district.bank_of(place).name == bank.name else None

    def _closing(self, place: int, day: date) -> Money:
        return self.district.balance(self.district.account_no(place), day)

    def _inner(self, place: int) -> str:
        """The bank's own number of the account in one currency: the cursor's, of no other meaning."""
        return f"7559{place:08d}001"

    def _envelope(self, bank: SandboxBank, *, genuine: bool = True) -> Envelope:
        found = self._envelopes.get((bank.name, genuine))
        if found is None:
            keys = self._keys(bank)
            found = self._envelopes[bank.name, genuine] = keys.envelope(keys.banks if genuine else keys.strangers)
        return found

    def _keys(self, bank: SandboxBank) -> _Keys:
        def drawn(what: str) -> bytes:
            found = hashlib.sha256(f"cmb-clouddc:{self.district.seed}:{bank.token}:{what}".encode()).digest()
            return bytes([found[0] & 0x7F]) + found[1:]  # below the curve's order, whatever was drawn

        number = int.from_bytes(drawn("user")[:4], "big") % 10**9
        return _Keys(f"N{number:09d}", drawn("ours"), drawn("bank's"), drawn("stranger's"), drawn("sm4").hex()[:16])


def spoilt(row: Row, form: Garbage) -> tuple[Row, ...]:
    """The rows that stand where a right one should."""
    match form:
        case Garbage.ROW_ERROR:
            return ({"accnbr": row["accnbr"], "errcod": "SBX0007", "errtxt": "try again later"},)
        case Garbage.MISSING:
            return ()
        case Garbage.BLANKS:
            return ({name: f"{value}      " for name, value in row.items()},)
        case Garbage.TWICE:
            return (row, {**row, "onlblv": "0.01"})
    changed: Mapping[Garbage, Row] = {
        Garbage.NUMBER: {"onlblv": Number(str(row["onlblv"]))},
        Garbage.EXPONENT: {"onlblv": "1e5"},
        Garbage.OTHER_CURRENCY: {"ccynbr": "32"},
        Garbage.UNKNOWN_CURRENCY: {"ccynbr": "7Q"},
        Garbage.OTHER_ACCOUNT: {"accnbr": str(row["accnbr"]).strip()[::-1]},
        Garbage.VIRTUAL: {"intcod": "S", "accblv": "99999999.99"},
    }
    return ({**row, **changed[form]},)


def _rows(body: Row, name: str) -> list[Row]:
    stated = body.get(name, [])
    if not isinstance(stated, list) or not all(isinstance(row, dict) for row in stated):
        raise _NotAccepted("SBX0008")
    return stated


def _day(text: object) -> date:
    try:
        return datetime.strptime(str(text), "%Y%m%d").replace(tzinfo=ZONE).date()
    except ValueError:
        raise _NotAccepted("SBX0008") from None


def _yuan(fen: int) -> str:
    return decimal_text(fen, CURRENCY)
