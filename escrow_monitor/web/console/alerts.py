"""The inbox of alerts: what is open, the most urgent first, with filters; several are acknowledged at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import get_args
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from alerts.alert import Alert, Decision, DecisionKind, Reason, Severity
from alerts.decisions import REFUSALS, quiet_by, standing
from alerts.feeds.item import REASON_WORDS, Lang
from escrow_monitor.actions import decide_alert
from escrow_monitor.domain.findings import Sentence
from escrow_monitor.domain.permissions import Permission
from escrow_monitor.domain.visibility import Visible
from escrow_monitor.errors import UsageError
from escrow_monitor.records.alerts import chosen
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.alerts.open_now import OpenNow
from escrow_monitor.records.alerts.pages import (
    AlertCount,
    AlertPlace,
    AskedAlerts,
    Quiet,
    alert_counts,
    alert_page,
    holder_names,
    proposed_count,
)
from escrow_monitor.records.database import Session
from escrow_monitor.records.institution_pages import districts
from escrow_monitor.records.visible import may_see
from escrow_monitor.web.console import pages
from escrow_monitor.web.console.actors import names_of, who_did
from escrow_monitor.web.console.forms import FormRefused, Sent, done_once, once_token, see_other, seen, sent
from escrow_monitor.web.console.institutions import place_name
from escrow_monitor.web.console.shared import Shared
from escrow_monitor.web.console.words import Words
from escrow_monitor.web.guard import SCOPE_DECIDE, Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Who

LINES_A_PAGE = 50
CHOSEN_MAX = 150
TEXT_CHARACTERS_MAX = 100
LEVELS = (Severity.RED, Severity.ORANGE, Severity.YELLOW, Severity.INFO)
ENDS = ("4h", "1d", "3d", "7d", "14d", "30d")
"""The lengths of time that forms offer."""
_NAMES = ("q", "severity", "rule", "district", "uscc", "quiet", "status", "after", "done", "lang")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOT_THIS_ONE = frozenset({Reason.NOT_OPEN, Reason.ALREADY_ACCEPTED})
"""Refusals that are about one alert, and say nothing about the others that were chosen with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What the address asks for."""

    asked: AskedAlerts
    after: AlertPlace | None

    @property
    def is_open(self) -> bool:
        """True if nothing is filtered."""
        return not self.query

    @property
    def query(self) -> dict[str, str]:
        """The filters by name, without the place."""
        asked = self.asked
        found = {
            "q": asked.text, "severity": asked.severity, "rule": asked.rule, "district": asked.district,
            "uscc": asked.uscc, "quiet": asked.quiet, "status": "resolved" if asked.resolved else None,
        }
        return {name: str(value) for name, value in found.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class LineView:
    """One alert of the list: `holder` is the institution's name, "" where none is registered."""

    alert: Alert
    holder: str
    quiet: Decision | None
    proposal: Decision | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxView:
    """Everything the page says. The counts are of what is open, whatever severity, rule and quiet are asked for."""

    now: datetime
    filters: Filters
    lines: Sequence[LineView]
    total: int
    quiet: int
    proposed: int
    levels: Sequence[tuple[Severity, int, str]]
    rules: Sequence[tuple[str, int]]
    districts: Sequence[tuple[str, Sentence | None]]
    next_query: str | None
    first_query: str
    people: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """What is said beside the form that was refused, and what was in it."""

    form: str
    text: str
    fields: Mapping[str, str]
    status: int
    chosen: Sequence[str] = ()


def routes(guard: Guard, ports: WebPorts, shared: Shared) -> list[BaseRoute]:
    """The inbox, and the form under it."""

    async def inbox(request: Request, who: Who, lang: Lang) -> Response:
        return await _inbox_page(request, who, lang, ports, shared)

    async def acknowledge(request: Request, form: Sent, lang: Lang) -> Response:
        return await _acknowledged(request, form, lang, ports, shared)

    return [
        Route("/alerts", seen(guard, inbox), methods=["GET"]),
        Route("/alerts/acknowledge", sent(guard, ports, SCOPE_DECIDE, acknowledge), methods=["POST"]),
    ]


def filters_of(query: QueryParams, visible: Visible) -> Filters:
    """Read the filters of an address. Raises Problem 400: a misspelt filter must not answer with everything."""
    for name in query:
        if name not in _NAMES:
            raise Problem(400, f"the list has no filter {name[:40]!r}: known are {', '.join(_NAMES[:-2])}")
    given = {name: query.get(name, "").strip() for name in _NAMES}
    for name in ("q", "rule", "uscc"):
        _check(name, given[name], len(given[name]) <= TEXT_CHARACTERS_MAX, f"at most {TEXT_CHARACTERS_MAX} characters")
    code = given["district"]
    _check("district", code, code.isascii() and code.isdigit() and len(code) <= 6, "a code of up to six digits")
    _check("severity", given["severity"], given["severity"] in set(Severity), "red, orange, yellow or info")
    _check("quiet", given["quiet"], given["quiet"] in get_args(Quiet), "loud, quiet or proposed")
    _check("status", given["status"], given["status"] in {"open", "resolved"}, "open or resolved")
    is_resolved = given["status"] == "resolved"
    quiet: Quiet | None = next((one for one in get_args(Quiet) if one == given["quiet"] and not is_resolved), None)
    return Filters(
        asked=AskedAlerts(
            text=given["q"] or None, severity=Severity(given["severity"]) if given["severity"] else None,
            rule=given["rule"] or None, district=code or None, uscc=given["uscc"] or None, quiet=quiet,
            resolved=is_resolved, visible=visible,
        ),
        after=_place(given["after"]) if given["after"] else None,
    )


def inbox_view(
    ports: WebPorts, filters: Filters, *, now: datetime, moment: OpenNow | None = None
) -> InboxView:
    """Ask the records for one page, of what is open this `moment` where it is given. Raises DatabaseError."""
    asked, limit = filters.asked, LINES_A_PAGE + 1
    with ports.database.read() as session:
        if moment is None or asked.resolved:
            places = alert_page(session, asked, after=filters.after, limit=limit, now=now)
        else:
            places = chosen.page(moment, asked, after=filters.after, limit=limit)
        found = RecordsAlertBook(session).alerts([one.alert_id for one in places[:LINES_A_PAGE]])
        shown = [one for one in places[:LINES_A_PAGE] if one.alert_id in found]
        names = holder_names(session, sorted({one.labels.get("uscc", "") for one in found.values()} - {""}))
        if moment is None:
            counts = alert_counts(session, asked, now=now)
            proposed = proposed_count(session, now=now, visible=asked.visible)
            codes = districts(session, asked.visible)
        else:
            counts, proposed = chosen.counts(moment, asked), chosen.proposed_count(moment, asked.visible)
            codes = moment.directory.districts(asked.visible)
        people = names_of(session, {one.by for alert in found.values() for one in alert.decisions})
    kept = filters.query
    return InboxView(
        now=now, filters=filters, lines=[_line(found[one.alert_id], names, now) for one in shown],
        total=sum(one.alerts for one in counts), quiet=sum(one.alerts for one in counts if one.quiet),
        proposed=proposed, levels=_levels(counts, filters), rules=_rules(counts),
        districts=[(code, place_name(code, ports.policies)) for code in codes],
        next_query=_join(kept | {"after": _cursor(places[LINES_A_PAGE - 1])}) if len(places) > LINES_A_PAGE else None,
        first_query=_join(kept), people=people,
    )


def end_of(form: Sent, *, now: datetime, ports: WebPorts, otherwise: str) -> datetime:
    """When what a form asks for is to end: `until` by the clock of the place, else so long from now (`for`).

    Raises FormRefused.
    """
    until, length = form.text("until"), form.text("for") or otherwise
    if until:
        try:
            local = datetime.fromisoformat(until)
        except ValueError as error:
            raise FormRefused("alert_until_wrong", status=422) from error
        return local.replace(tzinfo=ports.zone) if local.tzinfo is None else local
    if length not in ENDS:
        raise FormRefused("alert_until_wrong", status=422)
    return now + decide_alert.duration(length)


def refusal_of(reason: Reason) -> FormRefused:
    """What is said where nothing is decided."""
    if reason is Reason.SAME_PERSON:
        return FormRefused("alert_own_proposal")
    words = REASON_WORDS[reason]
    return FormRefused(said={"zh": f"{words['zh']}。", "en": f"{words['en'][:1].upper()}{words['en'][1:]}."})


async def _inbox_page(
    request: Request, who: Who, lang: Lang, ports: WebPorts, shared: Shared, wrong: Wrong | None = None
) -> Response:
    filters = filters_of(request.query_params, who.visible)
    # Whoever has just decided something comes back here, and sees it.
    heads = await shared.heads()
    moment = await shared.open_now(heads=heads)
    view = await shared.get(
        ("alerts", filters), lambda: inbox_view(ports, filters, now=ports.clock.now(), moment=moment), heads=heads
    )
    words = Words(lang)
    return pages.page(
        "alerts.html", lang, status=200 if wrong is None else wrong.status, request=request, here="alerts", view=view,
        zone=ports.zone, when=pages.at_zone(words, now=view.now, zone=ports.zone), wrong=wrong, once=once_token,
        ends=ENDS, may_decide=who.may(Permission.DECIDE), done=_done_of(request),
        who_did=partial(who_did, words, names=view.people),
    )


async def _acknowledged(
    request: Request, form: Sent, lang: Lang, ports: WebPorts, shared: Shared
) -> Response:
    """Acknowledge all that was chosen; of what has ended meanwhile it is told how many there were."""
    chosen = list(dict.fromkeys(form.every.get("alert", ())))[:CHOSEN_MAX]

    def work() -> str | None:
        now = ports.clock.now()
        with ports.database.write() as session:
            known = RecordsAlertBook(session).alerts(chosen)
            if len(known) < len(chosen) or not all(
                may_see(session, form.who.visible, one.labels.get("uscc")) for one in known.values()
            ):
                return None
            told = f"acknowledge {' '.join(chosen)}"
            return done_once(session, form, asked=told, now=now, do=lambda: _acknowledge(
                session, form, chosen, ports, now
            ))

    try:
        location = await run_in_threadpool(work)
    except FormRefused as refused:
        wrong = Wrong(
            form="acknowledge", text=said_of(refused, lang), fields=form.fields, status=refused.status, chosen=chosen
        )
        return await _inbox_page(request, form.who, lang, ports, shared, wrong)
    if location is None:
        return missing(request, lang)
    kept = filters_of(request.query_params, form.who.visible).query
    return see_other(f"/alerts{_join(kept | {'done': location})}")


def _acknowledge(session: Session, form: Sent, chosen: Sequence[str], ports: WebPorts, now: datetime) -> str:
    if not chosen:
        raise FormRefused("alerts_none_chosen", status=422)
    until, left = end_of(form, now=now, ports=ports, otherwise="1d"), 0
    book = RecordsAlertBook(session, channels=ports.channels)
    for alert_id in chosen:
        try:
            done = decide_alert.acknowledge(
                book, alert_id, by=form.who.actor, note=form.text("note"), until=until, now=now
            )
        except UsageError as error:
            raise FormRefused("alert_note_named", status=422) from error
        if done.reason in REFUSALS and (done.reason not in _NOT_THIS_ONE or len(chosen) == 1):
            raise refusal_of(done.reason)
        left += done.reason in REFUSALS
    return f"{len(chosen) - left}-{left}"


def said_of(refused: FormRefused, lang: Lang) -> str:
    """The sentence of a refusal."""
    return refused.said[lang] if refused.said is not None else Words(lang)(refused.word, **refused.values)


def missing(request: Request, lang: Lang) -> Response:
    """The page for an alert that is not there, or not theirs to see."""
    return pages.page("alert_missing.html", lang, status=404, request=request, here="alerts")


def _done_of(request: Request) -> tuple[int, int] | None:
    """How many were just acknowledged, and how many not, as the address says after the form."""
    done, _, left = request.query_params.get("done", "").partition("-")
    if not (done.isascii() and done.isdigit() and left.isascii() and left.isdigit() and len(done + left) <= 6):
        return None
    return int(done), int(left)


def _line(alert: Alert, names: Mapping[str, str], now: datetime) -> LineView:
    uscc = alert.labels.get("uscc", "")
    return LineView(
        alert=alert, holder=names.get(uscc, ""), quiet=quiet_by(alert, now=now),
        proposal=standing(alert, DecisionKind.PROPOSAL, now=now),
    )


def _levels(counts: Sequence[AlertCount], filters: Filters) -> list[tuple[Severity, int, str]]:
    """Each colour that there is, how often, and the address of these alone (of all, where these alone are shown)."""
    asked = filters.asked
    found = []
    for level in LEVELS:
        count = sum(
            one.alerts for one in counts
            if one.severity is level and asked.rule in (None, one.rule)
            and (asked.quiet not in ("loud", "quiet") or one.quiet == (asked.quiet == "quiet"))
        )
        if count:
            chosen = replace(asked, severity=None if asked.severity is level else level)
            found.append((level, count, _join(replace(filters, asked=chosen).query)))
    return found


def _rules(counts: Sequence[AlertCount]) -> list[tuple[str, int]]:
    found: dict[str, int] = {}
    for one in counts:
        found[one.rule] = found.get(one.rule, 0) + one.alerts
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))


def _check(name: str, value: str, fits: bool, known: str) -> None:
    if value and not fits:
        raise Problem(400, f"{name} is {known}, not {value[:40]!r}")


def _place(text: str) -> AlertPlace:
    parts = text.split("~")
    try:
        quiet, rank, unsure = (int(part) for part in parts[:3])
        at = _EPOCH + timedelta(microseconds=int(parts[3]))
        alert_id = parts[4]
    except (IndexError, ValueError, OverflowError) as error:
        raise Problem(400, "after is what the link to the next page says") from error
    if not (len(parts) == 5 and quiet in (0, 1) and 0 <= rank <= 4 and unsure in (0, 1) and len(alert_id) <= 40):
        raise Problem(400, "after is what the link to the next page says")
    return AlertPlace(quiet, rank, unsure, at, alert_id)


def _cursor(place: AlertPlace) -> str:
    at = (place.at - _EPOCH) // timedelta(microseconds=1)
    return f"{place.quiet}~{place.rank}~{place.unsure}~{at}~{place.alert_id}"


def _join(query: Mapping[str, str]) -> str:
    return f"?{urlencode(query)}" if query else ""
