"""`/api/v1/statements`: statement files and why they were refused, which days they cover, and what they booked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from escrow_monitor.domain.entry_links import Basis, EntryKey, EntryLink, LinkKind
from escrow_monitor.domain.positions import Correction
from escrow_monitor.domain.statements import Entry, Refusal, RefusalReason
from escrow_monitor.domain.visibility import EVERYTHING
from escrow_monitor.errors import UsageError
from escrow_monitor.records.accounts import account, accounts
from escrow_monitor.records.bank.coverage import AccountCoverage, GapReason, coverage
from escrow_monitor.records.bank.kept_answers import KeptAnswer
from escrow_monitor.records.bank.links import entry_links, unclear_reversals
from escrow_monitor.records.bank.statement_files import FileResult, Registration, StatementFile, files_by_hash
from escrow_monitor.records.bank.statements import stored_entries
from escrow_monitor.records.database import Session
from escrow_monitor.records.sorted_lists import begins
from escrow_monitor.records.statement_lists import COVERAGE, STATEMENT_FILES, refused_for
from escrow_monitor.rounds.statement_file import FileLoaded, load_file
from escrow_monitor.web.api.again import Again, answer_of, kept_once, refusal
from escrow_monitor.web.api.deciding import decider, decides
from escrow_monitor.web.api.sorting import BY, District, sorted_page
from escrow_monitor.web.api.taken import FILE_BODY, Day, body_of
from escrow_monitor.web.api.views import TEXT_CHARACTERS_MAX, Asked, ListView, money_text
from escrow_monitor.web.guard import SCOPE_IMPORT, SCOPE_OPERATIONS, Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import PROBLEM_JSON, Problem
from escrow_monitor.web.who import Asker, Who

FILE_BYTES_MAX = 64 * 1024 * 1024
SOURCE = "api"
"""A day that was stated over the API is corrected over the API."""
MISSING_SHOWN_MAX = 31
"""So many of the days that are missing a list shows of each account: the newest; one account shows all."""


class AskedFiles(Asked):
    """Filters that all must fit. `reason` is one of those for which a file was refused."""

    sort: Literal["sha256", "-sha256", "recorded_at", "-recorded_at"] = Field(default="-recorded_at", description=BY)
    result: Literal["loaded", "refused"] | None = None
    source: str | None = Field(default=None, max_length=TEXT_CHARACTERS_MAX)
    format: str | None = Field(default=None, max_length=TEXT_CHARACTERS_MAX)
    reason: RefusalReason | None = None


class RefusalView(BaseModel):
    """Why a file was not taken, and where in it."""

    reason: RefusalReason
    where: str
    field: str | None
    detail: str


class FileView(BaseModel):
    """A statement file that was received. `changed_at`: when it was last judged."""

    sha256: str
    source: str
    format: str | None
    result: FileResult
    statements: int
    entries: int
    refusals: list[RefusalView]
    recorded_at: datetime
    changed_at: datetime


class AskedLoad(BaseModel):
    """How a file is to be loaded: `account_no` refuses one that speaks of any other account; `register` makes the
    accounts that it names and we do not know, at this `bank`."""

    model_config = ConfigDict(extra="forbid")

    filename: str = Field(max_length=200, pattern=r"^[^/\\\x00-\x1f]+$")
    format: str = Field(default="auto", max_length=TEXT_CHARACTERS_MAX, pattern=r"^[^\x00]+$")
    account_no: str | None = Field(default=None, max_length=TEXT_CHARACTERS_MAX, pattern=r"^[^\x00]+$")
    register_: bool = Field(default=False, alias="register")
    bank: str = Field(default="files", min_length=1, max_length=TEXT_CHARACTERS_MAX, pattern=r"^[^\x00]+$")


class LoadedView(BaseModel):
    """What became of a file that was taken. `already`: it had been, and nothing changed."""

    sha256: str
    format: str | None
    loaded: bool
    already: bool
    statements: int
    entries: int
    accounts_registered: int
    corrected: int
    superseded: int
    refusals: list[RefusalView]


class AskedCoverage(Asked):
    """Filters that all must fit. `missing` true: only accounts of which a day is missing; false: only the others."""

    sort: Literal[
        "account_no", "-account_no", "covered_from", "-covered_from", "covered_to", "-covered_to", "missing",
        "-missing",
    ] = Field(default="account_no", description=BY)
    uscc: str | None = Field(default=None, max_length=18)
    bank: str | None = Field(default=None, max_length=TEXT_CHARACTERS_MAX)
    district: District
    missing: bool | None = None


class GapView(BaseModel):
    """A day that no final statement covers: why one should, since when that is known, and what was tried."""

    day: date
    reason: GapReason
    since: datetime
    tries: int
    tried_at: datetime | None
    try_after: datetime | None


class CorrectionView(BaseModel):
    """A day that `source` stated otherwise later: closings before and after, and what came and went."""

    day: date
    number: int
    source: str
    recorded_at: datetime
    opening_before_fen: int
    opening_after_fen: int
    closing_before: str
    closing_before_fen: int
    closing_after: str
    closing_after_fen: int
    added: int
    added_credits_fen: int
    added_debits_fen: int
    removed: int
    removed_credits_fen: int
    removed_debits_fen: int
    reopened: date | None


class CoverageView(BaseModel):
    """Which days of an account final statements cover. `missing_count` are missing; `gaps` lists the newest of them."""

    account_no: str
    uscc: str | None
    bank: str
    currency: str
    covered_from: date | None
    covered_to: date | None
    days_covered: int
    missing_count: int
    gaps: list[GapView]
    corrections_count: int


class CoverageDetailView(CoverageView):
    """The same with every gap, and every correction."""

    corrections: list[CorrectionView]


class AskedEntries(Asked):
    """The days, both included."""

    from_: Day | None = Field(default=None, alias="from")
    to: Day | None = None


class LinkView(BaseModel):
    """What an entry belongs to, and why that is believed."""

    role: Literal["reverses", "reversed_by", "transfer_to", "transfer_from"]
    account_no: str
    booked_on: date
    basis: Basis


class EntryView(BaseModel):
    """A booked entry that counts; the amount is signed. `reversal_unclear`: several entries fit, none is linked."""

    booked_on: date
    value_on: date | None
    amount: str
    amount_fen: int
    currency: str
    bank_ref: str | None
    text: str
    reversal: bool
    reversal_unclear: bool
    link: LinkView | None


def router(ports: WebPorts, guard: Guard) -> APIRouter:
    """The routes of this noun. Files speak of many institutions; coverage and entries are those of one account each."""
    routes = APIRouter(tags=["statements"])
    _files(routes, ports, guard)
    _covers(routes, ports)
    _books(routes, ports)
    return routes


def _files(routes: APIRouter, ports: WebPorts, guard: Guard) -> None:
    async def may_operate_all(request: Request) -> None:
        who = await guard.require(request, SCOPE_OPERATIONS)
        who.check_sees_everything(what="a statement file")

    @routes.get("/statements", dependencies=[Depends(may_operate_all)])
    def files(asked: Annotated[AskedFiles, Query()]) -> ListView[FileView]:
        """Statement files that were received, loaded or refused and why, in the order that was asked for."""
        with ports.database.read() as session:
            return sorted_page(
                session, STATEMENT_FILES, sort=asked.sort, after=asked.after, limit=asked.limit,
                visible=EVERYTHING, given={
                    "result": asked.result, "source": asked.source, "format": asked.format,
                    "reason": refused_for(asked.reason),
                },
                read=lambda keys: files_by_hash(session, keys), view=_file_view,
            )

    @routes.get("/statements/{sha256}", dependencies=[Depends(may_operate_all)])
    def file(sha256: str) -> FileView:
        """One statement file by the SHA-256 of its bytes."""
        with ports.database.read() as session:
            found = files_by_hash(session, [sha256]).get(sha256)
        if found is None:
            raise Problem(404, f"no statement file {sha256[:64]!r} was received")
        return _file_view(found)

    @routes.post(
        "/statements", response_model=LoadedView,
        dependencies=decides(ports, guard, SCOPE_IMPORT, whole="a statement file"),
        openapi_extra=FILE_BODY,
        responses={
            413: {"description": "the file is too large", "content": {PROBLEM_JSON: {}}},
            422: {"description": "the file was refused, or a parameter is wrong", "content": {PROBLEM_JSON: {}}},
        },
    )
    async def load(
        asked: Annotated[AskedLoad, Query()], request: Request, idempotency_key: Again = None
    ) -> Response:
        """Load the statement file in the body, whole or not at all; why it was refused stands in a 422."""
        content = await body_of(
            request, bytes_max=FILE_BYTES_MAX,
            too_large=f"a statement file is no larger than {FILE_BYTES_MAX // 2**20} MB",
        )
        who = decider(request)

        def do() -> KeptAnswer:
            return _loaded(ports, asked, content, who)

        return answer_of(await run_in_threadpool(
            kept_once, ports.database, do, actor=who.actor, idempotency_key=idempotency_key,
            asked=[f"statements\n{asked.model_dump_json()}\n".encode(), content], now=ports.clock.now(),
        ))


def _covers(routes: APIRouter, ports: WebPorts) -> None:
    @routes.get("/coverage")
    def covered(asked: Annotated[AskedCoverage, Query()], who: Asker) -> ListView[CoverageView]:
        """Which days final statements cover and which are missing, account by account."""
        word = None if asked.missing is None else "some_missing" if asked.missing else "none_missing"
        with ports.database.read() as session:
            return sorted_page(
                session, COVERAGE, sort=asked.sort, after=asked.after, limit=asked.limit, visible=who.visible,
                given={
                    "uscc": asked.uscc, "bank": asked.bank, "district": begins(asked.district),
                    **({} if word is None else {word: True}),
                },
                read=lambda keys: _covered(session, keys),
                view=lambda one: CoverageView(**_fields(one, shown_max=MISSING_SHOWN_MAX)),
            )

    @routes.get("/accounts/{account_no}/coverage")
    def of_account(account_no: str, who: Asker) -> CoverageDetailView:
        """Which days of an account are covered, every one that is missing and what was tried, and what was corrected.
        """
        with ports.database.read() as session:
            _check_sees(session, who, account_no)
            found = _covered(session, [account_no]).get(account_no)
        if found is None:
            raise _unknown(account_no)
        one = found.found
        return CoverageDetailView(
            **_fields(found, shown_max=None),
            corrections=[_correction(each, one.currency) for each in one.corrections],
        )


def _books(routes: APIRouter, ports: WebPorts) -> None:
    @routes.get("/accounts/{account_no}/entries")
    def entries(account_no: str, asked: Annotated[AskedEntries, Query()], who: Asker) -> ListView[EntryView]:
        """The booked entries of an account that count, the newest first, with what reverses what."""
        after = _after(asked.after)
        with ports.database.read() as session:
            _check_sees(session, who, account_no)
            found = stored_entries(
                session, account_no, days_from=asked.from_, days_to=asked.to, limit=asked.limit + 1, after=after
            )
            shown = found[:asked.limit]
            days = [key[1] for key, _ in shown]
            links = entry_links(session, account_no, days_from=min(days), days_to=max(days)) if days else {}
            is_asked = any(one.reversal for _, one in shown)
            unclear = unclear_reversals(session, account_no) if is_asked else set[EntryKey]()
        return ListView[EntryView](
            items=[
                entry_view(key, one, links.get(key), is_unclear=key in unclear) for key, one in shown
            ],
            after=f"{shown[-1][0][1]}:{shown[-1][0][2]}" if len(found) > asked.limit else None,
        )


def _after(text: str) -> tuple[date, str] | None:
    if not text:
        return None
    day, _, identity = text.partition(":")
    try:
        return date.fromisoformat(day), identity
    except ValueError as error:
        raise Problem(422, "query.after: this is not from this list: begin again without it") from error


def _check_sees(session: Session, who: Who, account_no: str) -> None:
    found = account(session, account_no)
    if found is None:
        raise _unknown(account_no)
    who.check_sees(session, found.uscc, _unknown(account_no), what="account")


def _unknown(account_no: str) -> Problem:
    return Problem(404, f"no account {account_no[:40]!r} is registered")


def _loaded(ports: WebPorts, asked: AskedLoad, content: bytes, who: Who) -> KeptAnswer:
    try:
        done = load_file(
            ports.database, content=content, filename=asked.filename, source=SOURCE, format=asked.format,
            profiles=ports.profiles, zone=ports.zone, only_account=asked.account_no,
            registration=Registration(bank=asked.bank) if asked.register_ else None, actor=who.actor,
            now=ports.clock.now(),
        )
    except UsageError as error:
        raise Problem(422, f"query.format: {error}") from error
    if done.refusals:
        return refusal(_refused(done))
    return KeptAnswer(status=200, body=LoadedView.model_validate(done.as_json()).model_dump_json())


def _refused(done: FileLoaded) -> Problem:
    first = done.refusals[0]
    return Problem(422, f"the file was refused: {first.detail}", errors=[
        {"where": one.where, "field": one.field or "", "reason": one.reason.value, "detail": one.detail}
        for one in done.refusals
    ])


# shapes


def _file_view(one: StatementFile) -> FileView:
    return FileView(
        sha256=one.sha256, source=one.source, format=one.format, result=one.result, statements=one.statements,
        entries=one.entries, refusals=[_refusal_view(each) for each in one.refusals], recorded_at=one.recorded_at,
        changed_at=one.changed_at,
    )


def _refusal_view(one: Refusal) -> RefusalView:
    return RefusalView(reason=one.reason, where=one.where, field=one.field, detail=one.detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Covered:
    """An account's coverage with whose it is."""

    found: AccountCoverage
    uscc: str | None
    bank: str


def _covered(session: Session, account_nos: Sequence[str]) -> dict[str, _Covered]:
    known = {one.account_no: one for one in accounts(session, account_nos=account_nos)}
    return {
        one.account_no: _Covered(found=one, uscc=known[one.account_no].uscc, bank=known[one.account_no].bank)
        for one in coverage(session, account_nos=account_nos)
    }


def _fields(one: _Covered, *, shown_max: int | None) -> dict[str, Any]:
    found = one.found
    return {
        "account_no": found.account_no, "uscc": one.uscc, "bank": one.bank, "currency": found.currency,
        "covered_from": found.covered_from, "covered_to": found.covered_to, "days_covered": found.days_covered,
        "missing_count": found.gap_count, "corrections_count": len(found.corrections),
        "gaps": [
            GapView(
                day=gap.day, reason=gap.reason, since=gap.found_at, tries=gap.tries, tried_at=gap.tried_at,
                try_after=gap.try_after,
            )
            for gap in found.missing[:shown_max]
        ],
    }


def _correction(one: Correction, currency: str) -> CorrectionView:
    return CorrectionView(
        day=one.on, number=one.number, source=one.source, recorded_at=one.recorded_at,
        opening_before_fen=one.opening_before_fen, opening_after_fen=one.opening_after_fen,
        closing_before=str(money_text(one.closing_before_fen, currency)), closing_before_fen=one.closing_before_fen,
        closing_after=str(money_text(one.closing_after_fen, currency)), closing_after_fen=one.closing_after_fen,
        added=one.added, added_credits_fen=one.added_credits_fen, added_debits_fen=one.added_debits_fen,
        removed=one.removed, removed_credits_fen=one.removed_credits_fen, removed_debits_fen=one.removed_debits_fen,
        reopened=one.reopened,
    )


def entry_view(key: EntryKey, entry: Entry, link: EntryLink | None, *, is_unclear: bool) -> EntryView:
    """The JSON shape of an entry."""
    return EntryView(
        booked_on=entry.booked_on, value_on=entry.value_on, amount=entry.amount.text,
        amount_fen=entry.amount.minor_units, currency=entry.amount.currency, bank_ref=entry.bank_ref, text=entry.text,
        reversal=entry.reversal, reversal_unclear=is_unclear, link=None if link is None else _link_view(key, link),
    )


def _link_view(key: EntryKey, link: EntryLink) -> LinkView:
    is_one = link.one == key
    account_no, booked_on, _ = link.other if is_one else link.one
    role: Literal["reverses", "reversed_by", "transfer_to", "transfer_from"]
    match link.kind:
        case LinkKind.REVERSAL:
            role = "reverses" if is_one else "reversed_by"
        case LinkKind.OWN_TRANSFER:
            role = "transfer_to" if is_one else "transfer_from"
    return LinkView(role=role, account_no=account_no, booked_on=booked_on, basis=link.basis)
