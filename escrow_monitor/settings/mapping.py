"""How an operator says, key by key, what a bank's own messages mean: for the connectors that have no bank of their own.

A path is JMESPath for JSON (`ti.zhxx`), ElementPath for XML (`body/rows/row`, an attribute as `row/@code`). It is
looked up in the row at hand; one that begins with `/` is looked up from the top of the answer. A template is text with
names in braces: `{account_no}`, `{from:%Y%m%d}`, `{secret.app_key}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue, SecretStr, model_validator

from escrow_monitor.domain.accounts import AccountStatus, BalanceKind
from escrow_monitor.domain.statements import RefusalReason
from escrow_monitor.settings.section import Section


def _listed(value: object) -> object:
    """One word may stand for a list of one."""
    return (value,) if isinstance(value, str) else value


FieldPath = Annotated[str, Field(min_length=1, max_length=500)]
FieldPaths = Annotated[tuple[FieldPath, ...], BeforeValidator(_listed)]
Words = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
TemplateText = Annotated[str, Field(max_length=20_000)]
CurrencyCode = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Unit = Literal["yuan", "fen"]
"""`yuan`: the currency's main unit with its decimals. `fen`: its smallest unit, a whole number."""
Encoding = Literal["utf-8", "gbk", "gb18030"]
Numbers = Literal["text", "literal"]
"""Whether a JSON number may be an amount. `literal` takes its digits as they stand in the answer."""


class SuccessMapping(Section):
    """The code by which an answer, or a row of it, says that it is one.

    `nothing`: codes that say there were no entries in the period. `reasons`: what other codes mean, in the words of our
    refusals. `message`: the path to the bank's own words; long numbers in them are masked.
    """

    path: FieldPath
    equals: Words
    nothing: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    reasons: Mapping[str, RefusalReason] = {}
    message: FieldPath | None = None


class StatusMapping(Section):
    """What the bank says of the account itself; a word that is not in `map` leaves it unknown."""

    path: FieldPath
    map: Mapping[str, AccountStatus]


class DirectionMapping(Section):
    """The words by which an unsigned amount becomes money in or money out."""

    path: FieldPath
    credit: Words
    debit: Words

    @model_validator(mode="after")
    def _apart(self) -> DirectionMapping:
        if both := set(self.credit) & set(self.debit):
            raise ValueError(f"{sorted(both)[0]!r} stands for credit and for debit")
        return self


class PagingMapping(Section):
    """How the rest of a list is asked for.

    `link`: `next` is an address. `cursor`: `next` goes into `{cursor}` of the following call (`first` into the first),
    while it is there and, where `more` is given, that says one of `more_is`. `page`: `{page}` counts from `first_page`,
    `{offset}` from `first_offset` in steps of `size`; until the rows of `total`, the pages of `pages` or, with
    `until_short`, a page of fewer than `size` rows.
    """

    by: Literal["none", "link", "cursor", "page"] = "none"
    next: FieldPath | None = None
    first: str = ""
    more: FieldPath | None = None
    more_is: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    first_page: int = Field(default=1, ge=0, le=1)
    first_offset: int = Field(default=1, ge=0, le=1)
    size: int = Field(default=100, ge=1, le=10_000)
    total: FieldPath | None = None
    pages: FieldPath | None = None
    until_short: bool = False

    @model_validator(mode="after")
    def _whole(self) -> PagingMapping:
        if self.by in ("link", "cursor") and self.next is None:
            raise ValueError(f"by = {self.by!r} needs next")
        if (self.more is None) != (not self.more_is):
            raise ValueError("more and more_is go together")
        ends = [self.total is not None, self.pages is not None, self.until_short]
        if self.by == "page" and sum(ends) != 1:
            raise ValueError("by = 'page' needs one of total, pages and until_short = true")
        return self


class CallMapping(Section):
    """One question to the bank: the request as templates, and how its answer names success, account and money.

    `body` is JSON (text, or a table) or XML text; `body_file` has it in a file. `each` is what `{accounts}` in it
    becomes for every account of a batch. `form` and `form_field` send the body as one field of a form. `unnamed`: the
    answer does not say which account it is of and is taken to be of the one that was asked for.
    """

    method: Literal["GET", "POST"] = "GET"
    path: TemplateText
    query: Mapping[str, TemplateText] = {}
    headers: Mapping[str, TemplateText] = {}
    body: str | Mapping[str, JsonValue] | None = None
    body_file: Path | None = None
    each: str | Mapping[str, JsonValue] | None = None
    form: Mapping[str, TemplateText] = {}
    form_field: str | None = None
    success: SuccessMapping | None = None
    row_success: SuccessMapping | None = None
    account: FieldPath | None = None
    account_is: Literal["account_no", "external_id"] = "account_no"
    unnamed: bool = False
    currency: FieldPath | None = None
    currency_is: CurrencyCode | None = None
    unit: Unit = "yuan"
    paging: PagingMapping = PagingMapping()

    @model_validator(mode="after")
    def _asks(self) -> CallMapping:
        if self.body is not None and self.body_file is not None:
            raise ValueError("body and body_file are both given")
        if self.method == "GET" and (self.body is not None or self.body_file is not None or self.form):
            raise ValueError("a body or form needs method = 'POST'")
        if self.form and self.form_field is None:
            raise ValueError("a form needs form_field: the field that carries the body")
        if (self.account is None) != self.unnamed:
            raise ValueError("say where the answer names its account (account), or that it does not (unnamed = true)")
        return self


class ReadingMapping(Section):
    """One balance within an account's row. Amount, and day where it is given, must be there unless `optional`.

    Without `day` and `as_of` it is of the moment it was asked for, or of the day that `day_is` says. `final` is true
    for booked_closing and false for the others unless given.
    """

    kind: BalanceKind
    amount: FieldPath
    currency: FieldPath | None = None
    currency_is: CurrencyCode | None = None
    unit: Unit | None = None
    direction: DirectionMapping | None = None
    day: FieldPath | None = None
    day_format: str = "%Y-%m-%d"
    day_is: Literal["today", "yesterday"] | None = None
    as_of: FieldPath | None = None
    as_of_format: str | None = None
    final: bool | None = None
    optional: bool = False

    @model_validator(mode="after")
    def _dated(self) -> ReadingMapping:
        if self.day is not None and self.day_is is not None:
            raise ValueError("day and day_is are both given")
        final = self.kind is BalanceKind.BOOKED_CLOSING if self.final is None else self.final
        if final and self.day is None and self.day_is is None:
            raise ValueError("a final balance needs day or day_is")
        return self


class BalancesMapping(CallMapping):
    """The question for balances: of one account, of `batch_size` accounts (`{accounts}`), or of all (neither named).

    `accounts` is the path to the rows, one an account; without it the whole answer is the row.
    """

    batch_size: int | None = Field(default=None, ge=1, le=1000)
    accounts: FieldPath | None = None
    readings: tuple[ReadingMapping, ...] = Field(min_length=1)
    status: StatusMapping | None = None


class StatedMapping(Section):
    """Opening or closing of the period. Without `day` it is of the first or the last day that was asked for."""

    amount: FieldPath
    direction: DirectionMapping | None = None
    day: FieldPath | None = None
    day_format: str = "%Y-%m-%d"


class ReversalMapping(Section):
    """By which words an entry says that it takes another one back."""

    path: FieldPath
    equals: Words


class StatementsMapping(CallMapping):
    """The question for the entries of one account from `{from}` to `{to}`, both included.

    `sign`: "signed" (debits below zero), "indicator" (`direction`), "columns" (`credit` and `debit`). Where the bank
    states no opening and closing but the balance after each entry, `balance_after` and `order` give them; they are
    checked entry by entry. `days_max`: days one call may ask for; `days_back_max`: how far back the bank answers.
    `absent_is_empty`: the bank leaves the list out where there are no entries. `account` stands in the answer as a
    whole or, with `account_in = "entry"`, in each entry. `ready_at`: from when on the bank has booked all of yesterday.
    """

    entries: FieldPath
    absent_is_empty: bool = False
    account_in: Literal["answer", "entry"] = "answer"
    sign: Literal["signed", "indicator", "columns"]
    amount: FieldPath | None = None
    direction: DirectionMapping | None = None
    credit: FieldPath | None = None
    debit: FieldPath | None = None
    opening: StatedMapping | None = None
    closing: StatedMapping | None = None
    balance_after: FieldPath | None = None
    order: Literal["oldest_first", "newest_first"] | None = None
    booked_on: FieldPath
    day_format: str = "%Y-%m-%d"
    value_on: FieldPath | None = None
    reference: FieldPath | None = None
    text: FieldPaths = ()
    counterparty_account: FieldPath | None = None
    counterparty_name: FieldPath | None = None
    reversal: ReversalMapping | None = None
    ready_at: Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")] = "00:00"
    days_max: int = Field(default=31, ge=1, le=366)
    days_back_max: int | None = Field(default=None, ge=1, le=3660)

    @model_validator(mode="after")
    def _signs(self) -> StatementsMapping:
        given = {name for name in ("amount", "direction", "credit", "debit") if getattr(self, name) is not None}
        needed = {"signed": {"amount"}, "indicator": {"amount", "direction"}, "columns": {"credit", "debit"}}[self.sign]
        if given != needed:
            raise ValueError(f"sign = {self.sign!r} needs {' and '.join(sorted(needed))}, and no other of its kind")
        if (self.opening is None) != (self.closing is None):
            raise ValueError("opening and closing go together")
        if (self.balance_after is None) != (self.order is None):
            raise ValueError("balance_after and order go together")
        return self


class SessionMapping(CallMapping):
    """A sign-in that gives a token for the other calls, where they name `{session}`. `ended`: codes (found at their
    `success` path) by which the bank says that it must be given anew."""

    unnamed: bool = True
    token: FieldPath
    ended: Words


class SigningMapping(Section):
    """A signature over parts of the request, in a header.

    `parts` are put together with `join`: method, path, query, target (path and query), body, body_sha256 (hex),
    timestamp, nonce, or `header:NAME`. `key` is the HMAC secret, or the private key (PEM) for rsa_sha256.
    """

    algorithm: Literal["hmac_sha256", "rsa_sha256"]
    key: SecretStr | None = None
    key_file: Path | None = None
    parts: tuple[str, ...] = Field(min_length=1)
    join: str = "\n"
    header: str
    written: Literal["hex", "base64"] = "base64"
    timestamp_header: str | None = None
    timestamp_format: str = "%Y%m%d%H%M%S"
    nonce_header: str | None = None


class MappingSection(Section):
    """What both mapping connectors share. `currencies` turns the bank's own codes into ISO 4217: `"10" = "CNY"`."""

    currencies: Mapping[str, CurrencyCode] = {}
    secrets: Mapping[str, SecretStr] = {}
    secrets_files: Mapping[str, Path] = {}
    balances: BalancesMapping
    statements: StatementsMapping | None = None
    session: SessionMapping | None = None
    sign: SigningMapping | None = None
