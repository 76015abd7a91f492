"""How to subscribe: the addresses of the feeds for what one wants to hear, and the keys of those who do."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from alerts.alert import Severity
from alerts.feeds.filter import NAMES, FeedFilter
from alerts.feeds.item import Lang
from escrow_monitor.actions.api_keys import create_key, revoke_key
from escrow_monitor.domain.findings import Sentence
from escrow_monitor.domain.permissions import Permission
from escrow_monitor.errors import UsageError
from escrow_monitor.records.alerts.pages import alarmed_banks
from escrow_monitor.records.institution_pages import districts
from escrow_monitor.records.people import keys
from escrow_monitor.records.people.keys import KeyInfo
from escrow_monitor.web.console import pages
from escrow_monitor.web.console.alerts import Wrong, said_of
from escrow_monitor.web.console.forms import FormRefused, Sent, once_token, see_other, sent
from escrow_monitor.web.console.gate import Gate
from escrow_monitor.web.console.institutions import place_name
from escrow_monitor.web.console.silences import RULES, not_theirs
from escrow_monitor.web.console.words import Words
from escrow_monitor.web.feeds import PATHS, parse_feed_filter
from escrow_monitor.web.guard import SCOPE_ADMIN, Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Who

STREAM_PATH = "/feeds/alerts/events"
LASTS_DAYS = (30, 90, 365)
NAME_CHARACTERS_MAX = 60
JUST_MADE_MAX = 50
_LEAST = (Severity.RED, Severity.ORANGE, Severity.YELLOW)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyView:
    """The key of a subscriber, and what has become of it: open, revoked or expired."""

    key: KeyInfo
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionsView:
    """Everything the page says. `keys` None: not for this reader."""

    now: datetime
    filter: FeedFilter
    addresses: Sequence[tuple[str, str]]
    districts: Sequence[tuple[str, Sentence | None]]
    banks: Sequence[str]
    keys: Sequence[KeyView] | None


class JustMade:
    """The keys that forms have just made: a form that is sent twice makes one key and shows it twice.

    Kept in this process alone and never written: of a secret only its hash is.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: OrderedDict[tuple[str, str], tuple[KeyInfo, str]] = OrderedDict()

    def make(
        self, ports: WebPorts, *, actor: str, token: str, name: str, lasts: timedelta, only: FeedFilter
    ) -> tuple[KeyInfo, str]:
        """Make a key that reads a part of the feed, once for one token. Raises UsageError."""
        with self._lock:
            found = self._made.get((actor, token)) if token else None
            if found is None:
                found = create_key(
                    ports.database, name=name, scopes=["feed"], expires_after=lasts, actor=actor,
                    now=ports.clock.now(), only=only,
                )
                self._made[actor, token] = found
                while len(self._made) > JUST_MADE_MAX:
                    self._made.popitem(last=False)
            return found


def routes(guard: Guard, ports: WebPorts) -> list[BaseRoute]:
    """The addresses for everybody who may read the feed; the keys for administrators."""
    gate = Gate(guard, ports, here="alerts", needs=Permission.FEED)
    made = JustMade()

    async def subscriptions(request: Request, who: Who, lang: Lang) -> Response:
        return await _page(request, who, lang, ports)

    async def make(request: Request, form: Sent, lang: Lang) -> Response:
        return not_theirs(request, form, lang, here="alerts") or await _made(request, form, lang, ports, made)

    async def revoke(request: Request, form: Sent, lang: Lang) -> Response:
        return not_theirs(request, form, lang, here="alerts") or await _revoked(request, form, lang, ports)

    return [
        Route("/subscriptions", gate.page(subscriptions), methods=["GET"]),
        Route("/subscriptions/keys", sent(guard, ports, SCOPE_ADMIN, make), methods=["POST"]),
        Route("/subscriptions/keys/{key_id}/revoke", sent(guard, ports, SCOPE_ADMIN, revoke), methods=["POST"]),
    ]


def filter_of_query(query: Mapping[str, str]) -> FeedFilter:
    """The filter that a form or an address asks for; an empty field asks for nothing. Raises Problem 400."""
    return parse_feed_filter({name: value.strip() for name in NAMES if (value := query.get(name, "")).strip()})


def addresses(home_url: str, chosen: FeedFilter, lang: Lang) -> list[tuple[str, str]]:
    """Atom, JSON Feed and the event stream, with their filters."""
    spoken = {"lang": "en"} if lang == "en" else {}
    home = home_url.rstrip("/")

    def address(path: str, query: Mapping[str, str]) -> str:
        return f"{home}{path}?{urlencode(query)}" if query else f"{home}{path}"

    return [
        ("atom", address(PATHS["atom"], spoken | chosen.asked)),
        ("json", address(PATHS["json"], spoken | chosen.asked)),
        ("events", address(STREAM_PATH, chosen.asked)),
    ]


def subscriptions_view(
    ports: WebPorts, who: Who, chosen: FeedFilter, lang: Lang, *, now: datetime
) -> SubscriptionsView:
    """Ask the records what the page shows. Raises DatabaseError."""
    with ports.database.read() as session:
        codes = districts(session, who.visible)
        known = [one for one in keys.known(session) if one.scopes == {"feed"}] if _administers(who) else None
        banks = alarmed_banks(session) if who.visible.is_everything else []
    return SubscriptionsView(
        now=now, filter=chosen, addresses=addresses(ports.home_url, chosen, lang), banks=banks,
        districts=[(code, place_name(code, ports.policies)) for code in codes],
        keys=None if known is None else [
            KeyView(key=one, state="open" if one.opens_at(now) else "revoked" if one.revoked_at else "expired")
            for one in known
        ],
    )


def _administers(who: Who) -> bool:
    return who.may(Permission.ADMIN) and who.visible.is_everything


async def _page(
    request: Request, who: Who, lang: Lang, ports: WebPorts, wrong: Wrong | None = None,
    secret: tuple[KeyInfo, str] | None = None,
) -> Response:
    now, chosen, status = ports.clock.now(), FeedFilter(), 200
    given = _given(request.query_params) if wrong is None else dict(wrong.fields)
    try:
        chosen = filter_of_query(given)
    except Problem as problem:
        if wrong is None:
            wrong = Wrong(form="filter", text=Words(lang)("feed_filter_wrong"), fields=given, status=problem.status)
    if wrong is not None:
        status = wrong.status
    view = await run_in_threadpool(subscriptions_view, ports, who, chosen, lang, now=now)
    return pages.page(
        "subscriptions.html", lang, status=status, request=request, here="alerts", view=view, zone=ports.zone,
        when=pages.at_zone(Words(lang), now=now, zone=ports.zone), wrong=wrong, once=once_token, given=given,
        secret=secret, rules=RULES, least=_LEAST, lasts=LASTS_DAYS, names=NAMES,
        done="revoked" if request.query_params.get("done") == "revoked" else None,
        home=ports.home_url.rstrip("/"),
        secret_address=None if secret is None else addresses(ports.home_url, secret[0].only, lang)[1][1],
    )


def _given(query: QueryParams) -> dict[str, str]:
    for name in query:
        if name not in (*NAMES, "done", "lang"):
            raise Problem(400, f"the form has no field {name[:40]!r}: known are {', '.join(NAMES)}")
    return {name: query.get(name, "")[:100] for name in NAMES}


async def _made(request: Request, form: Sent, lang: Lang, ports: WebPorts, made: JustMade) -> Response:
    """Make a key and show its secret, this once: the answer itself is the page, for nothing could show it again."""
    try:
        name, days = form.text("name"), form.text("lasts")
        if not name or len(name) > NAME_CHARACTERS_MAX or not name.isprintable():
            raise FormRefused("key_name_wrong", status=422, count=NAME_CHARACTERS_MAX)
        if days not in map(str, LASTS_DAYS):
            raise FormRefused("key_lasts_wrong", status=422)
        try:
            only = filter_of_query(form.fields)
        except Problem as error:
            raise FormRefused("feed_filter_wrong", status=422) from error
        try:
            secret = await run_in_threadpool(
                made.make, ports, actor=form.who.actor, token=form.text("once")[:100], name=name,
                lasts=timedelta(days=int(days)), only=only,
            )
        except UsageError as error:
            raise FormRefused("key_name_wrong", status=422, count=NAME_CHARACTERS_MAX) from error
    except FormRefused as refused:
        wrong = Wrong(form="key", text=said_of(refused, lang), fields=form.fields, status=refused.status)
        return await _page(request, form.who, lang, ports, wrong)
    return await _page(request, form.who, lang, ports, secret=secret)


async def _revoked(request: Request, form: Sent, lang: Lang, ports: WebPorts) -> Response:
    """Close a key for good. One that is closed already is what was asked for."""
    key_id = request.path_params["key_id"]

    def work() -> bool:
        with ports.database.read() as session:
            known = keys.by_id(session, key_id)
        if known is None or known.scopes != {"feed"}:
            return False
        if known.revoked_at is None:
            revoke_key(ports.database, key_id=key_id, actor=form.who.actor, now=ports.clock.now())
        return True

    if await run_in_threadpool(work):
        return see_other("/subscriptions?done=revoked#keys")
    wrong = Wrong(form="keys", text=Words(lang)("key_unknown"), fields={}, status=404)
    return await _page(request, form.who, lang, ports, wrong)
