"""The page of one alert: what it says and rests on, who heard of it and why, and what can be decided about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from urllib.parse import quote as quoted
from zoneinfo import ZoneInfo

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from alerts.alert import Alert, Decision, DecisionKind, FeedEntry, Figure, Status
from alerts.book import AlertBook, Decided, PastDecision
from alerts.decisions import REFUSALS, person, quiet_by, standing
from alerts.delivery import Attempt
from alerts.feeds.item import REASON_WORDS, ROUTE_WORDS, TRANSITION_WORDS, Lang
from alerts.routing import CALLS, RouteReason, Silence
from escrow_monitor.actions import decide_alert
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.permissions import Permission
from escrow_monitor.domain.rules.floor import NOT_STATED
from escrow_monitor.errors import UsageError
from escrow_monitor.records.accounts import account, institution
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.alerts.delivery_log import DeliveryState, LoggedDelivery, delivery_page
from escrow_monitor.records.alerts.pages import tries_of
from escrow_monitor.records.alerts.silences import silences
from escrow_monitor.records.database import Session
from escrow_monitor.records.visible import may_see
from escrow_monitor.web.console import pages
from escrow_monitor.web.console.actors import names_of, who_did
from escrow_monitor.web.console.alerts import ENDS, Wrong, end_of, missing, refusal_of, said_of
from escrow_monitor.web.console.forms import FormRefused, Sent, done_once, once_token, see_other, seen, sent
from escrow_monitor.web.console.words import WORDS, Words
from escrow_monitor.web.guard import SCOPE_DECIDE, Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.who import Who

DELIVERIES_SHOWN = 60
HISTORY_SHOWN = 200
SNOOZE_ENDS = ENDS[:-1]
"""A snooze lasts fourteen days at most."""
_DONE = re.compile(r"(acknowledge|snooze|propose|confirm|take-back|resent|unchanged)\Z", re.ASCII)
_TOLD_OTHERWISE = re.compile(
    r"(.*_(en|fen)|(reasons|stake|breach)(_zh)?|level|said|model|percent|breach_.*days)\Z", re.ASCII
)
"""Figures that stand elsewhere: sentences, reasons, colours, and the exact amount beside its text."""
_SHARES = re.compile(r"(chance_.*|coverage)\Z", re.ASCII)
_NUMBERED = re.compile(r"([a-z_]+?)_([0-9]+)\Z", re.ASCII)
_WHOLE = re.compile(r"[0-9]+\.0000\Z", re.ASCII)
"""A ratio that is a whole number."""
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z", re.ASCII)
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+([+-][0-9]{2}:[0-9]{2}|Z)\Z", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureView:
    """One figure as people read it."""

    name: str
    text: str
    is_amount: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardView:
    """What became of one entry on one channel, and why; `by` names what holds it back, `link` leads there."""

    one: LoggedDelivery
    why: str
    by: str
    link: str
    tries: Sequence[Attempt]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelView:
    """What one channel heard of the alert, the newest first."""

    channel: str
    heard: Sequence[HeardView]

    @property
    def newest_call(self) -> HeardView:
        """What says whether they know: the newest call, else the newest of all."""
        return next((one for one in self.heard if one.one.transition in CALLS), self.heard[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertView:
    """Everything the page says. `channels` None: not for this reader."""

    now: datetime
    today: date
    alert: Alert
    institution: Institution | None
    currency: str
    quiet: Decision | None
    proposal: Decision | None
    silences: Sequence[Silence]
    history: Sequence[FeedEntry]
    decisions: Sequence[PastDecision]
    deliveries: Sequence[LoggedDelivery] | None
    tries: Mapping[str, Sequence[Attempt]]
    speakers: Mapping[str, Alert]
    people: Mapping[str, str]
    own_proposal: bool
    may_decide: bool
    may_confirm: bool
    sees_everything: bool

    @property
    def is_open(self) -> bool:
        """Whether there is something to decide."""
        return self.alert.status is Status.OPEN

    @property
    def accepted(self) -> Decision | None:
        """The acceptance that stands."""
        return self.alert.decision(DecisionKind.ACCEPTANCE)


def routes(guard: Guard, ports: WebPorts) -> list[BaseRoute]:
    """One alert and the form that decides about it."""

    async def alert(request: Request, who: Who, lang: Lang) -> Response:
        return await _alert_page(request, who, lang, ports)

    async def decided(request: Request, form: Sent, lang: Lang) -> Response:
        return await _decided(request, form, lang, ports)

    return [
        Route("/alerts/{alert_id}", seen(guard, alert), methods=["GET"]),
        Route("/alerts/{alert_id}/decisions", sent(guard, ports, SCOPE_DECIDE, decided), methods=["POST"]),
    ]


def alert_view(ports: WebPorts, alert_id: str, who: Who, *, now: datetime) -> AlertView | None:
    """Ask the records everything the page shows; None for one that is not there, or not theirs to see."""
    with ports.database.read() as session:
        book = RecordsAlertBook(session)
        alert = book.alert(alert_id)
        if alert is None or not may_see(session, who.visible, alert.labels.get("uscc")):
            return None
        labels = alert.labels
        held = account(session, labels["account_no"]) if labels.get("account_no") else None
        told = _deliveries(session, alert_id) if who.may(Permission.OPERATIONS) else None
        speaking = [one.held_by for one in told or () if one.waits is RouteReason.INHIBITED]
        speakers = {
            key: one for key, one in book.alerts(speaking).items()
            if may_see(session, who.visible, one.labels.get("uscc"))
        } if speaking else {}
        hiding = [kept.silence for kept in silences(session, at=now)]
        proposal, decisions = standing(alert, DecisionKind.PROPOSAL, now=now), book.decisions(alert_id)
        actors = {by for one in decisions for by in (one.decision.by, one.decision.proposed_by) if by}
        return AlertView(
            now=now, today=now.astimezone(ports.zone).date(), alert=alert,
            institution=institution(session, labels["uscc"]) if labels.get("uscc") else None,
            currency="CNY" if held is None else held.currency, quiet=quiet_by(alert, now=now), proposal=proposal,
            silences=[one for one in hiding if one.holds(now) and one.hides(alert)],
            history=book.history(alert_id)[::-1][:HISTORY_SHOWN], decisions=decisions[::-1],
            deliveries=told, tries=tries_of(session, [one.delivery_id for one in told or ()]), speakers=speakers,
            people=names_of(session, actors | {one.held_by for one in told or () if ":" in one.held_by}),
            own_proposal=proposal is not None and person(proposal.by).casefold() == person(who.actor).casefold(),
            may_decide=who.may(Permission.DECIDE), may_confirm=who.may(Permission.CONFIRM),
            sees_everything=who.visible.is_everything,
        )


def figures_of(alert: Alert, words: Words, *, currency: str, today: date, zone: ZoneInfo) -> list[FigureView]:
    """The figures that an alert rests on, in the words of people. What is not known is said, not left out."""
    figures, found = alert.figures, []
    for key, value in figures.items():
        name = key.removesuffix("_zh")
        if _TOLD_OTHERWISE.match(key) or (name != key and name in figures):
            continue
        # What is said in both languages is one figure.
        said = figures.get(f"{name}_{words.lang}", value)
        found.append(_figure(figures, name, said, words, currency=currency, today=today, zone=zone))
    return found


def reasons_of(figures: Mapping[str, Figure], lang: Lang) -> list[str]:
    """The reasons that the watch for closures gave, one by one."""
    text = figures.get(f"reasons_{lang}")
    if not isinstance(text, str) or not text:
        return []
    return text.split("；" if lang == "zh" else "; ")


def _figure(
    figures: Mapping[str, Figure], name: str, value: Figure, words: Words, *, currency: str, today: date,
    zone: ZoneInfo,
) -> FigureView:
    fen = figures.get(f"{name}_fen")
    if isinstance(fen, int):
        unit = "元" if currency == "CNY" and words.lang == "zh" else currency
        return FigureView(name=_name_of(name, words), text=f"{words.exact(fen, currency)} {unit}", is_amount=True)
    if _SHARES.match(name) and isinstance(value, str):
        return FigureView(name=_name_of(name, words), text=_percent(value), is_amount=True)
    return FigureView(
        name=_name_of(name, words), text=_text(name, value, words, today=today, zone=zone),
        is_amount=isinstance(value, int) and not isinstance(value, bool),
    )


def _name_of(name: str, words: Words) -> str:
    if f"figure.{name}" in WORDS:
        return words(f"figure.{name}")
    numbered = _NUMBERED.match(name)
    return words.name("figure", name) if numbered is None else f"{words.name('figure', numbered[1])} {numbered[2]}"


def _text(name: str, value: Figure, words: Words, *, today: date, zone: ZoneInfo) -> str:
    if value is None or value in ("-", NOT_STATED):
        return words("fig_unknown" if value != NOT_STATED else "not_stated")
    if isinstance(value, bool) or value in ("true", "false"):
        return words("yes" if value in (True, "true") else "no")
    if isinstance(value, int):
        if name.endswith("_seconds"):
            return words.long(timedelta(seconds=value))
        return f"{value:,}"
    if _DAY.match(value):
        return words.day(date.fromisoformat(value), today=today)
    if _INSTANT.match(value):
        there = datetime.fromisoformat(value).astimezone(zone)
        return f"{words.day(there.date(), today=today)} {there:%H:%M}"
    if _WHOLE.match(value):
        return value.partition(".")[0]
    for kind in ("refusal", "round", "standing"):
        if f"{kind}.{value}" in WORDS:
            return words.name(kind, value)
    return words(f"figure.{name}.{value}") if f"figure.{name}.{value}" in WORDS else value


def _percent(share: str) -> str:
    whole, _, part = share.partition(".")
    tenths = int(whole or "0") * 1000 + int(f"{part:0<3}"[:3])
    return f"{tenths // 10}.{tenths % 10} %"


def _deliveries(session: Session, alert_id: str) -> list[LoggedDelivery]:
    """What was owed of it and what was withheld, the newest first."""
    found = delivery_page(session, limit=DELIVERIES_SHOWN, alert_id=alert_id)
    found += delivery_page(session, limit=DELIVERIES_SHOWN, alert_id=alert_id, state=DeliveryState.WITHHELD)
    return sorted(found, key=lambda one: (-one.seq, one.channel))


def channels_of(view: AlertView, words: Words, *, zone: ZoneInfo) -> list[ChannelView] | None:
    """Who heard of it, channel by channel, and why or why not."""
    if view.deliveries is None:
        return None
    by_channel: dict[str, list[HeardView]] = {}
    for one in view.deliveries:
        by, link = held_by(one, words, view.speakers, view.people)
        by_channel.setdefault(one.channel, []).append(HeardView(
            one=one, why=why_of(one, words, now=view.now, zone=zone), by=by, link=link,
            tries=view.tries.get(one.delivery_id, ()),
        ))
    return [ChannelView(channel=name, heard=heard) for name, heard in sorted(by_channel.items())]


def why_of(one: LoggedDelivery, words: Words, *, now: datetime, zone: ZoneInfo) -> str:
    """Why a channel was given an entry, is not yet given it, or never will be."""
    if one.waits is not None:
        return ROUTE_WORDS[one.waits][words.lang]
    if one.state is DeliveryState.DELIVERED:
        reason = RouteReason.ASKED_FOR if one.transition in CALLS else RouteReason.HEARD_OF
        return ROUTE_WORDS[reason][words.lang]
    if one.state is DeliveryState.DEAD:
        return one.detail
    if one.attempts:
        return words("heard_tried", count=one.attempts, at=words.when(one.due_at, now=now, zone=zone))
    return words("heard_next_round")


def held_by(
    one: LoggedDelivery, words: Words, speakers: Mapping[str, Alert], people: Mapping[str, str]
) -> tuple[str, str]:
    """What holds a delivery back, and where it is to be seen ("" for nowhere)."""
    by = one.held_by
    if one.waits is None or not by:
        return "", ""
    if one.waits is RouteReason.SILENCED:
        return words("held_by_silence", silence=by), f"/silences#silence-{quoted(by)}"
    if one.waits is RouteReason.NEWER_CALL:
        return words("held_by_entry", seq=by), f"#entry-{quoted(by)}"
    if one.waits is RouteReason.INHIBITED:
        kind, _, uscc = by.partition(":")
        if uscc:
            return words("held_by_closing"), f"/institutions/{quoted(uscc)}"
        speaker = speakers.get(kind)
        if speaker is None:
            return words("held_by_alert"), ""
        return words.name("rule", speaker.key.rule), f"/alerts/{quoted(kind)}"
    return who_did(words, by, names=people) if ":" in by else by, ""


async def _alert_page(
    request: Request, who: Who, lang: Lang, ports: WebPorts, wrong: Wrong | None = None
) -> Response:
    view = await run_in_threadpool(alert_view, ports, request.path_params["alert_id"], who, now=ports.clock.now())
    if view is None:
        return missing(request, lang)
    words = Words(lang)
    done = _DONE.match(request.query_params.get("done", ""))
    return pages.page(
        "alert.html", lang, status=200 if wrong is None else wrong.status, request=request, here="alerts", view=view,
        zone=ports.zone, when=pages.at_zone(words, now=view.now, zone=ports.zone), wrong=wrong, once=once_token,
        done=None if done is None else done[1], ends=ENDS, snooze_ends=SNOOZE_ENDS,
        who_did=partial(who_did, words, names=view.people),
        figures=figures_of(view.alert, words, currency=view.currency, today=view.today, zone=ports.zone),
        reasons=reasons_of(view.alert.figures, lang), channels=channels_of(view, words, zone=ports.zone),
        transitions=TRANSITION_WORDS, reason_words=REASON_WORDS, may_resend=view.may_decide and view.sees_everything,
        configured=ports.channels,
    )


async def _decided(request: Request, form: Sent, lang: Lang, ports: WebPorts) -> Response:
    """Do what the form asks about the alert, once; what is refused is said beside it."""
    alert_id = request.path_params["alert_id"]

    def work() -> str | None:
        now = ports.clock.now()
        with ports.database.write() as session:
            found = RecordsAlertBook(session).alert(alert_id)
            if found is None or not may_see(session, form.who.visible, found.labels.get("uscc")):
                return None
            return done_once(
                session, form, asked=f"decide {alert_id}", now=now, do=lambda: _decide(session, form, found, ports, now)
            )

    try:
        done = await run_in_threadpool(work)
    except FormRefused as refused:
        wrong = Wrong(form=form.text("act"), text=said_of(refused, lang), fields=form.fields, status=refused.status)
        return await _alert_page(request, form.who, lang, ports, wrong)
    return missing(request, lang) if done is None else see_other(f"/alerts/{quoted(alert_id)}?done={done}")


def _decide(session: Session, form: Sent, alert: Alert, ports: WebPorts, now: datetime) -> str:
    """Decide, and say what was done."""
    book = RecordsAlertBook(session, channels=ports.channels)
    act = form.text("act")
    do = _ACTS.get(act)
    if do is None:
        raise FormRefused("alert_unknown_act", status=422)
    if act == "confirm" and not form.who.may(Permission.CONFIRM):
        raise FormRefused("alert_second_needed", status=403)
    try:
        made = do(book, alert, form, ports, now)
    except UsageError as error:
        raise FormRefused("alert_note_named", status=422) from error
    if made.reason in REFUSALS:
        raise refusal_of(made.reason)
    return "unchanged" if made.reason.value == "unchanged" else act


def _acknowledge(book: AlertBook, alert: Alert, form: Sent, ports: WebPorts, now: datetime) -> Decided:
    until = end_of(form, now=now, ports=ports, otherwise="1d")
    return decide_alert.acknowledge(
        book, alert.alert_id, by=form.who.actor, note=form.text("note"), until=until, now=now
    )


def _snooze(book: AlertBook, alert: Alert, form: Sent, ports: WebPorts, now: datetime) -> Decided:
    until = end_of(form, now=now, ports=ports, otherwise="")
    return decide_alert.snooze(book, alert.alert_id, by=form.who.actor, note=form.text("note"), until=until, now=now)


def _propose(book: AlertBook, alert: Alert, form: Sent, ports: WebPorts, now: datetime) -> Decided:
    return decide_alert.propose(book, alert.alert_id, by=form.who.actor, note=form.text("note"), now=now)


def _confirm(book: AlertBook, alert: Alert, form: Sent, ports: WebPorts, now: datetime) -> Decided:
    return decide_alert.confirm(book, alert.alert_id, by=form.who.actor, note=form.text("note"), now=now)


def _take_back(book: AlertBook, alert: Alert, form: Sent, ports: WebPorts, now: datetime) -> Decided:
    kind = form.text("decision")
    if kind not in set(DecisionKind):
        raise FormRefused("alert_unknown_act", status=422)
    return decide_alert.take_back(
        book, alert.alert_id, by=form.who.actor, note=form.text("note"), kind=DecisionKind(kind), now=now
    )


_ACTS: Mapping[str, Callable[[AlertBook, Alert, Sent, WebPorts, datetime], Decided]] = {
    "acknowledge": _acknowledge, "snooze": _snooze, "propose": _propose, "confirm": _confirm, "take-back": _take_back,
}
