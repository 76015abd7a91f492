"""The delivery log: what went to which channel, what waits and why; what was given up is sent again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import quote as quoted
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from alerts.alert import Alert
from alerts.delivery import Attempt
from alerts.feeds.item import TRANSITION_WORDS, Lang
from alerts.routing import RouteReason
from escrow_monitor.actions import resend_deliveries
from escrow_monitor.actions.resend_deliveries import NotGivenUp, Resent, UnknownDelivery
from escrow_monitor.domain.permissions import Permission
from escrow_monitor.errors import UsageError
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.alerts.deliveries import DeliveryCounts
from escrow_monitor.records.alerts.deliveries import counts as delivery_counts
from escrow_monitor.records.alerts.delivery_log import DeliveryState, LoggedDelivery, delivery_page, place_of
from escrow_monitor.records.alerts.outbox_counts import ChannelQueue, queues
from escrow_monitor.records.alerts.pages import tries_of
from escrow_monitor.records.database import Session
from escrow_monitor.web.console import pages
from escrow_monitor.web.console.actors import names_of
from escrow_monitor.web.console.alert import held_by, why_of
from escrow_monitor.web.console.alerts import Wrong, said_of
from escrow_monitor.web.console.forms import FormRefused, Sent, done_once, once_token, see_other, sent
from escrow_monitor.web.console.gate import Gate
from escrow_monitor.web.console.shared import Shared
from escrow_monitor.web.console.silences import not_theirs
from escrow_monitor.web.console.words import Words
from escrow_monitor.web.guard import SCOPE_DECIDE, Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Who

LINES_A_PAGE = 50
_NAMES = ("state", "channel", "after", "done", "lang")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What the address asks for; no state is all that is or was owed."""

    state: DeliveryState | None
    channel: str
    after: str

    @property
    def query(self) -> dict[str, str]:
        """The filters by name, without the place."""
        found = {"state": "" if self.state is None else self.state.value, "channel": self.channel}
        return {name: value for name, value in found.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class LineView:
    """One entry and one channel."""

    one: LoggedDelivery
    why: str
    by: str
    link: str
    tries: Sequence[Attempt]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelView:
    """What a channel was given, is owed and did not take. `is_configured` False: it is there no more."""

    channel: str
    counts: DeliveryCounts
    queue: ChannelQueue
    is_configured: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveriesView:
    """Everything the page says."""

    now: datetime
    filters: Filters
    channels: Sequence[ChannelView]
    lines: Sequence[LoggedDelivery]
    tries: Mapping[str, Sequence[Attempt]]
    speakers: Mapping[str, Alert]
    people: Mapping[str, str]
    next_query: str | None

    @property
    def dead_shown(self) -> int:
        """How many of the shown can be sent again."""
        return sum(one.state is DeliveryState.DEAD for one in self.lines)


def routes(guard: Guard, ports: WebPorts, shared: Shared) -> list[BaseRoute]:
    """The log and the form that sends again. What holds for every institution is not for who is limited to some."""
    gate = Gate(guard, ports, here="alerts", needs=Permission.OPERATIONS, whole=True)

    async def log_(request: Request, who: Who, lang: Lang) -> Response:
        return await _page(request, who, lang, ports, shared)

    async def resend(request: Request, form: Sent, lang: Lang) -> Response:
        return not_theirs(request, form, lang, here="alerts") or await _resent(request, form, lang, ports, shared)

    return [
        Route("/deliveries", gate.page(log_), methods=["GET"]),
        Route("/deliveries/resend", sent(guard, ports, SCOPE_DECIDE, resend), methods=["POST"]),
    ]


def filters_of(query: QueryParams) -> Filters:
    """Read the filters of an address. Raises Problem 400."""
    for name in query:
        if name not in _NAMES:
            raise Problem(400, f"the log has no filter {name[:40]!r}: known are {', '.join(_NAMES[:3])}")
    given = {name: query.get(name, "").strip()[:100] for name in _NAMES}
    if given["state"] and given["state"] not in set(DeliveryState):
        raise Problem(400, f"state is one of {', '.join(DeliveryState)}")
    if given["after"]:
        try:
            place_of(given["after"])
        except ValueError as error:
            raise Problem(400, "after is what the link to the next page says") from error
    return Filters(
        state=DeliveryState(given["state"]) if given["state"] else None, channel=given["channel"], after=given["after"]
    )


def deliveries_view(
    ports: WebPorts, filters: Filters, *, now: datetime, counted: Mapping[str, DeliveryCounts]
) -> DeliveriesView:
    """Ask the records for one page. Of `counted`, some seconds old, only what was delivered is told."""
    with ports.database.read() as session:
        found = delivery_page(
            session, limit=LINES_A_PAGE + 1, after=filters.after, state=filters.state, channel=filters.channel or None
        )
        shown = found[:LINES_A_PAGE]
        tries = tries_of(session, [one.delivery_id for one in shown if one.state is not DeliveryState.WITHHELD])
        waiting = queues(session)
        speaking = [one.held_by for one in shown if one.waits is RouteReason.INHIBITED]
        speakers = RecordsAlertBook(session).alerts(speaking) if speaking else {}
        people = names_of(session, {one.held_by for one in shown if ":" in one.held_by})
    names = list(dict.fromkeys((*ports.channels, *sorted({*counted, *waiting}))))
    more = len(found) > LINES_A_PAGE
    return DeliveriesView(
        now=now, filters=filters, lines=shown, tries=tries, speakers=speakers, people=people,
        channels=[
            _channel(name, counted, waiting, is_configured=name in ports.channels) for name in names
        ],
        next_query=f"?{urlencode(filters.query | {'after': shown[-1].delivery_id})}" if more else None,
    )


def _channel(
    name: str, counted: Mapping[str, DeliveryCounts], waiting: Mapping[str, ChannelQueue], *, is_configured: bool
) -> ChannelView:
    queue = waiting.get(name, ChannelQueue(channel=name))
    counts = replace(counted.get(name, DeliveryCounts()), due=queue.due, dead=queue.dead)
    return ChannelView(channel=name, counts=counts, queue=queue, is_configured=is_configured)


async def _page(
    request: Request, who: Who, lang: Lang, ports: WebPorts, shared: Shared, wrong: Wrong | None = None
) -> Response:
    filters, words = filters_of(request.query_params), Words(lang)
    counted = await shared.shares("deliveries", delivery_counts)
    view = await run_in_threadpool(deliveries_view, ports, filters, now=ports.clock.now(), counted=counted)
    lines = []
    for one in view.lines:
        by, link = held_by(one, words, view.speakers, view.people)
        why = why_of(one, words, now=view.now, zone=ports.zone)
        lines.append(LineView(one=one, why=why, by=by, link=link, tries=view.tries.get(one.delivery_id, ())))
    done = request.query_params.get("done", "")
    return pages.page(
        "deliveries.html", lang, status=200 if wrong is None else wrong.status, request=request, here="alerts",
        view=view, lines=lines, zone=ports.zone, when=pages.at_zone(words, now=view.now, zone=ports.zone),
        wrong=wrong, once=once_token, states=list(DeliveryState), transitions=TRANSITION_WORDS,
        done=done if done.isascii() and done.isdigit() and len(done) <= 4 else None,
        may_resend=who.may(Permission.DECIDE),
    )


async def _resent(request: Request, form: Sent, lang: Lang, ports: WebPorts, shared: Shared) -> Response:
    """Owe what was chosen, or all of a channel, once more."""
    chosen, channel, alert_id = form.every.get("delivery", ()), form.text("channel"), form.text("alert")

    def resend(session: Session, now: datetime) -> str:
        done = _again(session, chosen, channel, form.who.actor, ports, now)
        if alert_id:
            return f"/alerts/{quoted(alert_id[:40])}?done=resent"
        return f"/deliveries?{urlencode({'channel': channel} if channel else {})}&done={len(done.delivery_ids)}"

    def work() -> str:
        now = ports.clock.now()
        with ports.database.write() as session:
            told = f"resend {channel} {' '.join(chosen)}"
            return done_once(session, form, asked=told, now=now, do=lambda: resend(session, now))

    try:
        return see_other((await run_in_threadpool(work)).replace("?&", "?"))
    except FormRefused as refused:
        wrong = Wrong(form="resend", text=said_of(refused, lang), fields={}, status=refused.status)
        return await _page(request, form.who, lang, ports, shared, wrong)


def _again(
    session: Session, chosen: Sequence[str], channel: str, by: str, ports: WebPorts, now: datetime
) -> Resent:
    try:
        if channel and not chosen:
            return resend_deliveries.resend_all(session, channel, channels=ports.channels, by=by, now=now)
        if not chosen:
            raise FormRefused("resend_none_chosen", status=422)
        return resend_deliveries.resend(session, chosen, channels=ports.channels, by=by, now=now)
    except (UnknownDelivery, NotGivenUp) as error:
        raise FormRefused("resend_not_dead") from error
    except UsageError as error:
        raise FormRefused("resend_no_channel", status=422) from error
