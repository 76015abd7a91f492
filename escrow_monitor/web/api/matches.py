"""`/api/v1/matches`: bank lines held against charges and refunds: what is matched, what is open, and both by hand."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from escrow_monitor.actions.reconcile import make_match, undo_match
from escrow_monitor.domain.match_proposals import Proposal
from escrow_monitor.domain.matching import BankLine, BreakKind, Expected, ExpectedKind, Match, Tier
from escrow_monitor.errors import UsageError
from escrow_monitor.records.bank.kept_answers import KeptAnswer
from escrow_monitor.records.database import Session
from escrow_monitor.records.match_lists import BREAKS, MATCHES, OpenItem, matches_by_line, open_items
from escrow_monitor.records.matching.decisions import StoredMatch, match_of, proposals_for
from escrow_monitor.records.matching.sources import ENTRY_ID
from escrow_monitor.records.reconciliation.pages import not_open, owners_of_items, owners_of_lines
from escrow_monitor.records.sorted_lists import begins
from escrow_monitor.web.api.again import Again, answer_of, made_once
from escrow_monitor.web.api.deciding import decider, decides
from escrow_monitor.web.api.sorting import BY, District, sorted_page
from escrow_monitor.web.api.taken import Body, Day
from escrow_monitor.web.api.views import TEXT_CHARACTERS_MAX, Asked, ListView, money_text
from escrow_monitor.web.guard import Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Asker, Who

ITEMS_MAX = 200
"""So many lines and items one match by hand may have."""
ITEM_CHARACTERS_MAX = 300
REASON_CHARACTERS_MAX = 2_000

_Item = Annotated[str, Field(min_length=1, max_length=ITEM_CHARACTERS_MAX)]
_Reason = Annotated[str, Field(
    min_length=1, max_length=REASON_CHARACTERS_MAX, pattern=r"\S", description="it is kept with the decision"
)]
_AccountNo = Annotated[str | None, Field(default=None, max_length=TEXT_CHARACTERS_MAX)]
_Uscc = Annotated[str | None, Field(default=None, max_length=18)]


class Side(StrEnum):
    """On which side an item stands: a line of the bank, or what our records expect of it."""

    LINE = "line"
    EXPECTED = "expected"


class AskedMatches(Asked):
    """Filters that all must fit. `first` and `last` are days of the bank line."""

    sort: Literal["line_id", "-line_id", "on", "-on", "made_at", "-made_at", "residual", "-residual"] = Field(
        default="line_id", description=BY
    )
    uscc: _Uscc
    account_no: _AccountNo
    district: District
    tier: Tier | None = None
    first: Day | None = None
    last: Day | None = None


class AskedOpen(Asked):
    """Filters that all must fit."""

    sort: Literal["item_id", "-item_id", "on", "-on", "impact", "-impact"] = Field(default="item_id", description=BY)
    uscc: _Uscc
    account_no: _AccountNo
    district: District
    kind: BreakKind | None = None
    side: Side | None = None


class LineView(BaseModel):
    """A line of a bank's statement; the amount is signed."""

    line_id: str
    account_no: str
    on: date
    amount: str
    amount_fen: int
    reference: str | None
    text: str


class ExpectedView(BaseModel):
    """What our records say the bank should show: a charge, a refund; the amount is signed."""

    item_id: str
    kind: ExpectedKind
    account_no: str | None
    on: date
    amount: str
    amount_fen: int
    reference: str | None


class MatchView(BaseModel):
    """A match. `residual` is what the lines have more than the items; `made_by` null: the engine, by its `tier`."""

    match_id: str
    uscc: str
    currency: str
    tier: Tier
    basis: str
    residual: str
    residual_fen: int
    made_at: datetime
    made_by: str | None
    lines: list[LineView]
    items: list[ExpectedView]


class OpenItemView(BaseModel):
    """An open item; the break keeps its id until the item is matched. `near` are items that it may belong to."""

    break_id: str
    item_id: str
    side: Side
    kind: BreakKind
    uscc: str
    account_no: str | None
    currency: str
    on: date
    impact: str
    impact_fen: int
    near: list[str]


class AskedMatch(Body):
    """Bank lines and expected items that are one. The reason also has to explain a difference of amount."""

    lines: list[_Item] = Field(min_length=1, max_length=ITEMS_MAX)
    items: list[_Item] = Field(min_length=1, max_length=ITEMS_MAX)
    reason: _Reason


class AskedUndo(Body):
    """A bank line, charge or refund, and why the match that it is in is none."""

    item: _Item
    reason: _Reason


class MadeView(BaseModel):
    """What a person made, or took apart."""

    match_id: str
    lines: list[str]
    items: list[str]
    residual: str
    residual_fen: int


def router(ports: WebPorts, guard: Guard) -> APIRouter:
    """The routes of this noun. To match or undo needs a key with the scope `decide`; its name is who did."""
    routes = APIRouter(tags=["matches"], prefix="/matches")
    _reads(routes, ports)
    _decides(routes, ports, guard)
    return routes


def _reads(routes: APIRouter, ports: WebPorts) -> None:
    @routes.get("")
    def matches(asked: Annotated[AskedMatches, Query()], who: Asker) -> ListView[MatchView]:
        """What is matched, by what evidence, in the order that was asked for."""
        with ports.database.read() as session:
            return sorted_page(
                session, MATCHES, sort=asked.sort, after=asked.after, limit=asked.limit, visible=who.visible,
                given={
                    "uscc": asked.uscc, "account_no": asked.account_no, "district": begins(asked.district),
                    "tier": asked.tier, "first": asked.first, "last": asked.last,
                },
                read=lambda keys: matches_by_line(session, keys), view=match_view,
            )

    @routes.get("/open")
    def still_open(asked: Annotated[AskedOpen, Query()], who: Asker) -> ListView[OpenItemView]:
        """What is in no match; of one institution (`uscc`) also what each might belong to by its text."""
        with ports.database.read() as session:
            page = sorted_page(
                session, BREAKS, sort=asked.sort, after=asked.after, limit=asked.limit, visible=who.visible,
                given={
                    "uscc": asked.uscc, "account_no": asked.account_no, "district": begins(asked.district),
                    "kind": asked.kind, **({} if asked.side is None else {f"side_{asked.side}": True}),
                },
                read=lambda keys: open_items(session, keys), view=open_view,
            )
            if asked.uscc is None or not page.items:
                return page
            near = _near(proposals_for(session, asked.uscc))
        return ListView[OpenItemView](after=page.after, items=[
            one.model_copy(update={"near": near.get(one.item_id, one.near)}) for one in page.items
        ])


def _decides(routes: APIRouter, ports: WebPorts, guard: Guard) -> None:
    @routes.post("", status_code=201, response_model=MadeView, dependencies=decides(ports, guard), responses={
        404: {"description": "there is no such item, or it is not yours to see"},
        409: {"description": "an item is in a match already, or they cannot be one"},
    })
    def make(asked: AskedMatch, request: Request, idempotency_key: Again = None) -> Response:
        """Match these by hand. Their institution is reconciled again."""
        lines, items = sorted(set(asked.lines)), sorted(set(asked.items))

        def do(session: Session, by: str, now: datetime) -> Match:
            return make_match(session, lines, items, by=by, reason=asked.reason, now=now)

        def check(session: Session, who: Who) -> None:
            _check_theirs(session, who, lines, items)
            if closed := not_open(session, lines, items):
                raise Problem(409, f"{closed[0][:80]} is not open: it is in a match")

        return _answer(ports, request, idempotency_key, f"match\n{asked.model_dump_json()}", 201, check, do)

    @routes.post("/undo", response_model=MadeView, dependencies=decides(ports, guard), responses={
        404: {"description": "there is no such item, or it is not yours to see"},
        409: {"description": "it is in no match"},
    })
    def undo(asked: AskedUndo, request: Request, idempotency_key: Again = None) -> Response:
        """Take the match apart that this item is in. It is not made again by itself."""
        lines, items = ([asked.item], []) if asked.item.startswith(ENTRY_ID) else ([], [asked.item])

        def do(session: Session, by: str, now: datetime) -> Match:
            return undo_match(session, asked.item, by=by, reason=asked.reason, now=now)

        def check(session: Session, who: Who) -> None:
            _check_theirs(session, who, lines, items)
            if _match_of(session, asked.item, is_line=bool(lines)) is None:
                raise Problem(409, f"{asked.item[:80]} is in no match")

        return _answer(ports, request, idempotency_key, f"undo\n{asked.model_dump_json()}", 200, check, do)


def _answer(
    ports: WebPorts, request: Request, idempotency_key: str | None, told: str, status: int,
    check: Callable[[Session, Who], None], do: Callable[[Session, str, datetime], Match],
) -> Response:
    who, now = decider(request), ports.clock.now()

    def done(session: Session) -> KeptAnswer:
        check(session, who)
        try:
            made = do(session, who.actor, now)
        except UsageError as error:
            raise Problem(409, str(error)) from error
        return KeptAnswer(status=status, body=MadeView(
            match_id=made.match_id, lines=list(made.line_ids), items=list(made.expected_ids),
            residual=str(money_text(made.residual_fen, "CNY")), residual_fen=made.residual_fen,
        ).model_dump_json())

    with ports.database.write() as session:
        return answer_of(made_once(
            session, actor=who.actor, idempotency_key=idempotency_key, asked=told, now=now, do=lambda: done(session)
        ))


def _check_theirs(session: Session, who: Who, lines: Collection[str], items: Collection[str]) -> None:
    """Raise Problem 404 unless every item exists and is of an institution that they see; both look the same."""
    for ids, whose in ((lines, owners_of_lines(session, lines)), (items, owners_of_items(session, items))):
        for each in ids:
            missing = Problem(404, f"there is no item {each[:80]!r}: see matches")
            if each not in whose:
                raise missing
            who.check_sees(session, whose[each][0], missing, what="match")


def _match_of(session: Session, item: str, *, is_line: bool) -> StoredMatch | None:
    return match_of(session, line_id=item) if is_line else match_of(session, expected_id=item)


def _near(proposed: Collection[Proposal]) -> dict[str, list[str]]:
    near: dict[str, list[str]] = {}
    for one in proposed:
        near.setdefault(one.line_id, []).append(one.expected_id)
        near.setdefault(one.expected_id, []).append(one.line_id)
    return near


def match_view(one: StoredMatch) -> MatchView:
    """The JSON shape of a match."""
    first = one.lines[0]
    return MatchView(
        match_id=one.match.match_id, uscc=first.uscc, currency=first.currency, tier=one.match.tier,
        basis=one.match.basis, residual=str(money_text(one.match.residual_fen, first.currency)),
        residual_fen=one.match.residual_fen, made_at=one.made_at, made_by=one.made_by,
        lines=[_line_view(line) for line in one.lines], items=[_expected_view(item) for item in one.expected],
    )


def _line_view(line: BankLine) -> LineView:
    return LineView(
        line_id=line.line_id, account_no=line.account_no, on=line.on,
        amount=str(money_text(line.amount_fen, line.currency)), amount_fen=line.amount_fen, reference=line.reference,
        text=line.text,
    )


def _expected_view(item: Expected) -> ExpectedView:
    return ExpectedView(
        item_id=item.expected_id, kind=item.kind, account_no=item.account_no, on=item.on,
        amount=str(money_text(item.amount_fen, item.currency)), amount_fen=item.amount_fen, reference=item.reference,
    )


def open_view(one: OpenItem) -> OpenItemView:
    """The JSON shape of an open item."""
    broken = one.broken
    return OpenItemView(
        break_id=broken.break_id, item_id=broken.item_id, side=Side.LINE if broken.is_line else Side.EXPECTED,
        kind=broken.kind, uscc=one.uscc, account_no=one.account_no, currency=one.currency, on=broken.on,
        impact=str(money_text(broken.impact_fen, one.currency)), impact_fen=broken.impact_fen, near=list(broken.near),
    )
