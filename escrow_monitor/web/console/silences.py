"""Silences: who is not to be called about what, until when; made after a look at what they hide, red by two people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from urllib.parse import quote as quoted

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from alerts.alert import Alert
from alerts.feeds.item import Lang
from alerts.routing import Silence, SilenceState
from escrow_monitor.actions import silence_alerts
from escrow_monitor.actions.silence_alerts import (
    MATCHERS,
    REASON_CHARACTERS_MAX,
    WORDS,
    Preview,
    SilenceRefusal,
    SilenceRefused,
    UnknownSilence,
)
from escrow_monitor.domain.permissions import Permission
from escrow_monitor.errors import UsageError
from escrow_monitor.logs import log
from escrow_monitor.records.alerts.pages import alarmed_banks, holder_names
from escrow_monitor.records.alerts.silences import KeptSilence, silences
from escrow_monitor.records.database import Session
from escrow_monitor.web.console import pages, words
from escrow_monitor.web.console.actors import names_of, who_did
from escrow_monitor.web.console.alerts import ENDS, Wrong, end_of, said_of
from escrow_monitor.web.console.forms import FormRefused, Sent, done_once, once_token, see_other, sent
from escrow_monitor.web.console.gate import Gate
from escrow_monitor.web.console.words import Words
from escrow_monitor.web.guard import SCOPE_DECIDE, Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.who import Who

HITS_SHOWN = 30
ENDED_SHOWN = 50
ASKED_MATCHERS = ("rule", "bank", "uscc", "account_no", "district")
"""The matchers that the form asks for, the plainest first."""
RULES = tuple(sorted(name.removeprefix("rule.") for name in words.WORDS if name.startswith("rule.")))
_ORDER = (SilenceState.PROPOSED, SilenceState.IN_FORCE, SilenceState.TO_COME)
_DONE = frozenset({"made", "proposed", "confirmed", "ended"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceView:
    """One silence, and how much it hides (or would hide, were it in force) of what is open now."""

    kept: KeptSilence
    state: SilenceState
    hides: int | None
    own: bool

    @property
    def silence(self) -> Silence:
        """The silence itself."""
        return self.kept.silence


@dataclass(frozen=True, slots=True, kw_only=True)
class SilencesView:
    """Everything the page says. `tried` is what was only looked at, with its preview."""

    now: datetime
    running: Sequence[SilenceView]
    ended: Sequence[SilenceView]
    banks: Sequence[str]
    names: Mapping[str, str]
    people: Mapping[str, str]
    tried: tuple[Silence, Preview] | None = None


def routes(guard: Guard, ports: WebPorts) -> list[BaseRoute]:
    """The list and its forms. What holds for every institution is not for who is limited to some."""
    gate = Gate(guard, ports, here="alerts", needs=Permission.OPERATIONS, whole=True)

    async def list_(request: Request, who: Who, lang: Lang) -> Response:
        return await _page(request, who, lang, ports)

    async def make(request: Request, form: Sent, lang: Lang) -> Response:
        return _not_theirs(request, form, lang) or await _made(request, form, lang, ports)

    async def confirm(request: Request, form: Sent, lang: Lang) -> Response:
        return _not_theirs(request, form, lang) or await _changed(request, form, lang, ports, "confirm")

    async def end(request: Request, form: Sent, lang: Lang) -> Response:
        return _not_theirs(request, form, lang) or await _changed(request, form, lang, ports, "end")

    return [
        Route("/silences", gate.page(list_), methods=["GET"]),
        Route("/silences", sent(guard, ports, SCOPE_DECIDE, make), methods=["POST"]),
        Route("/silences/{silence_id}/confirm", sent(guard, ports, SCOPE_DECIDE, confirm), methods=["POST"]),
        Route("/silences/{silence_id}/end", sent(guard, ports, SCOPE_DECIDE, end), methods=["POST"]),
    ]


def not_theirs(request: Request, form: Sent, lang: Lang, *, here: str) -> Response | None:
    """The refusal for who is limited to a part of the register, where something is about all of it."""
    if form.who.visible.is_everything:
        return None
    log(__name__).warning("web.denied", who=form.who.actor, what=request.url.path[:200], why="limited")
    return pages.page("refused.html", lang, status=403, request=request, here=here, word="form_not_yours")


_not_theirs = partial(not_theirs, here="alerts")


def silences_view(
    ports: WebPorts, who: Who, *, now: datetime, tried: Silence | None = None
) -> SilencesView:
    """Ask the records everything the page shows. Raises DatabaseError."""
    with ports.database.read() as session:
        kept = silences(session)
        views = [_view(session, one, who, now) for one in kept if one.silence.ends_at > now]
        ended = [one for one in kept if one.silence.ends_at <= now][:ENDED_SHOWN]
        shown = None if tried is None else (tried, silence_alerts.preview(session, tried, limit=HITS_SHOWN))
        told = [one.silence for one in kept] + ([] if tried is None else [tried])
        usccs = {one.matchers.get("uscc", "") for one in told}
        if shown is not None:
            usccs |= {one.labels.get("uscc", "") for one in (*shown[1].hidden, *shown[1].spared)}
        actors = {by for one in kept for by in (one.silence.author, one.silence.confirmed_by, one.ended_by) if by}
        return SilencesView(
            now=now, running=sorted(views, key=lambda one: (_ORDER.index(one.state), one.silence.ends_at)),
            ended=[SilenceView(kept=one, state=SilenceState.ENDED, hides=None, own=False) for one in ended],
            banks=alarmed_banks(session), names=holder_names(session, sorted(usccs - {""})), tried=shown,
            people=names_of(session, actors),
        )


def _view(session: Session, kept: KeptSilence, who: Who, now: datetime) -> SilenceView:
    one = kept.silence
    return SilenceView(
        kept=kept, state=one.state(now), hides=silence_alerts.preview(session, one, limit=0).hidden_count,
        own=one.is_by(who.actor),
    )


async def _page(
    request: Request, who: Who, lang: Lang, ports: WebPorts, wrong: Wrong | None = None,
    tried: tuple[Silence, Mapping[str, str]] | None = None,
) -> Response:
    now = ports.clock.now()
    view = await run_in_threadpool(silences_view, ports, who, now=now, tried=None if tried is None else tried[0])
    spoken = Words(lang)
    given = dict(wrong.fields) if wrong is not None else dict(tried[1]) if tried else _begin(request.query_params)
    done = request.query_params.get("done", "")
    return pages.page(
        "silences.html", lang, status=200 if wrong is None else wrong.status, request=request, here="alerts",
        view=view, zone=ports.zone, when=pages.at_zone(spoken, now=now, zone=ports.zone), wrong=wrong,
        once=once_token, given=given, done=done if done in _DONE else None, ends=ENDS, rules=RULES,
        matchers=ASKED_MATCHERS, who_did=partial(who_did, spoken, names=view.people),
        may_decide=who.may(Permission.DECIDE),
        may_confirm=who.may(Permission.CONFIRM), subject_of=subject_of,
    )


def subject_of(alert: Alert, names: Mapping[str, str]) -> str:
    """Whom an alert is about, in one word or two."""
    labels = alert.labels
    uscc = labels.get("uscc", "")
    return names.get(uscc) or labels.get("name") or uscc or labels.get("bank") or alert.key.subject


def _begin(query: QueryParams) -> dict[str, str]:
    """What the form begins with: an address may say which matchers."""
    return {name: value[:100] for name in ASKED_MATCHERS if (value := query.get(name, ""))}


async def _made(request: Request, form: Sent, lang: Lang, ports: WebPorts) -> Response:
    """Show what it would hide, or make it."""
    now = ports.clock.now()
    try:
        new = _silence_of(form, ports, now)
        if form.text("do") != "make":
            return await _page(request, form.who, lang, ports, tried=(new, form.fields))

        def work() -> str:
            with ports.database.write() as session:
                return done_once(session, form, asked="silence", now=now, do=lambda: _make(session, new, now))

        return see_other(await run_in_threadpool(work))
    except FormRefused as refused:
        wrong = Wrong(form="make", text=said_of(refused, lang), fields=form.fields, status=refused.status)
        return await _page(request, form.who, lang, ports, wrong)


def _make(session: Session, new: Silence, now: datetime) -> str:
    silence_alerts.make(session, new, now=now)
    done = "proposed" if new.is_proposed else "made"
    return f"/silences?done={done}#silence-{quoted(new.silence_id)}"


def _silence_of(form: Sent, ports: WebPorts, now: datetime) -> Silence:
    """The silence that the form asks for. Raises FormRefused."""
    matchers = {name: form.text(name) for name in MATCHERS if form.text(name)}
    if not matchers:
        raise FormRefused("silence_no_matcher", status=422)
    if not form.text("reason"):
        raise FormRefused("silence_no_reason", status=422)
    if len(form.text("reason")) > REASON_CHARACTERS_MAX:
        raise FormRefused("silence_reason_long", status=422, count=REASON_CHARACTERS_MAX)
    try:
        return silence_alerts.silence_of(
            matchers=matchers, author=form.who.actor, reason=form.text("reason"), starts_at=None,
            ends_at=end_of(form, now=now, ports=ports, otherwise="4h"), now=now, red=form.text("red") == "yes",
        )
    except UsageError as error:
        raise FormRefused("silence_end_wrong", status=422, count=silence_alerts.SILENCE_MAX.days) from error


async def _changed(request: Request, form: Sent, lang: Lang, ports: WebPorts, act: str) -> Response:
    """Confirm or end one."""
    silence_id = request.path_params["silence_id"]
    do: Callable[..., KeptSilence] = silence_alerts.confirm if act == "confirm" else silence_alerts.end

    def change(session: Session, now: datetime) -> str:
        if act == "confirm" and not form.who.may(Permission.CONFIRM):
            raise FormRefused("silence_second_needed", status=403)
        try:
            do(session, silence_id, by=form.who.actor, now=now)
        except SilenceRefused as error:
            if error.reason is SilenceRefusal.SAME_PERSON:
                raise FormRefused("silence_own_proposal") from error
            said = WORDS[error.reason]
            raise FormRefused(said={"zh": f"{said['zh']}。", "en": f"{said['en'].capitalize()}."}) from error
        except UnknownSilence as error:
            raise FormRefused("silence_unknown", status=404) from error
        return f"/silences?done={'confirmed' if act == 'confirm' else 'ended'}#silence-{quoted(silence_id)}"

    def work() -> str:
        now = ports.clock.now()
        with ports.database.write() as session:
            return done_once(session, form, asked=f"{act} {silence_id}", now=now, do=lambda: change(session, now))

    try:
        return see_other(await run_in_threadpool(work))
    except FormRefused as refused:
        wrong = Wrong(form=silence_id, text=said_of(refused, lang), fields={}, status=refused.status)
        return await _page(request, form.who, lang, ports, wrong)


