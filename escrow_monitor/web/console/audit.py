"""The audit record: looked through, entry by entry, verified while one waits, and exported for outsiders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import IO, Any
from urllib.parse import quote, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from alerts.feeds.item import Lang
from escrow_monitor.domain.permissions import Permission
from escrow_monitor.records.evidence import audit, seals
from escrow_monitor.records.evidence import search as audit_search
from escrow_monitor.records.evidence.audit import AuditRecord
from escrow_monitor.records.evidence.chain import AuditVerdict, by_of, head_after
from escrow_monitor.records.evidence.seals import SealedDay
from escrow_monitor.records.evidence.search import AskedAudit, FoundAudit
from escrow_monitor.web.audit_file import exported, note_export, sent_file
from escrow_monitor.web.console.forms import Sent, see_other, sent
from escrow_monitor.web.console.gate import Gate
from escrow_monitor.web.console.words import WORDS, Words
from escrow_monitor.web.guard import SCOPE_AUDIT, Guard
from escrow_monitor.web.long_work import VERIFICATION, owner_for, verification
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Who
from escrow_monitor.web.works import TooMuchWork, Work, Works

ENTRIES_A_PAGE = 50
SEALS_SHOWN = 10
VERIFIED_SHOWN = 3
TEXT_CHARACTERS_MAX = 100
SEQ_MAX = 1 << 53
ABOUT_PARTS = 4
ABOUT_CHARACTERS_MAX = 120
_NAMES = ("q", "kind", "actor", "subject", "since", "until", "before", "lang")
_LINKED = {"uscc": "/institutions/{}", "case_no": "/cases/{}", "claim_no": "/cases/{}"}
"""What stands in payloads under these names has a page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedPage:
    """What the address asks for: the fields as they were given, and what entries must fit."""

    given: Mapping[str, str]
    asked: AskedAudit
    before: int | None

    @property
    def kept(self) -> str:
        """The filters as the beginning of an address."""
        kept = {name: value for name, value in self.given.items() if value and name not in ("before", "lang")}
        return urlencode(kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldView:
    """One field of a payload: its name with all above it, its text, and the page of what it names, "" for none."""

    name: str
    text: str
    url: str = ""


def routes(guard: Guard, ports: WebPorts, works: Works) -> list[BaseRoute]:
    """`/audit...`. Entries are about everything: who is limited to a part sees none of them."""
    gate = Gate(guard, ports, here="audit", needs=Permission.AUDIT, whole=True)
    desk = _Desk(gate, ports, works)
    return [
        Route("/audit", gate.page(desk.search), methods=["GET"]),
        Route("/audit/entries/{seq:int}", gate.page(desk.entry), methods=["GET"]),
        Route("/audit/verify", sent(guard, ports, SCOPE_AUDIT, desk.verify), methods=["POST"]),
        Route("/audit/verifications/{work_id}", gate.page(desk.verification), methods=["GET"]),
        Route("/audit/export", sent(guard, ports, SCOPE_AUDIT, desk.export), methods=["POST"]),
    ]


class _Desk:
    """What the pages answer."""

    def __init__(self, gate: Gate, ports: WebPorts, works: Works) -> None:
        self._gate, self._ports, self._works = gate, ports, works

    async def search(self, request: Request, who: Who, lang: Lang) -> Response:
        """The newest entries that fit, and what can be done with the whole."""
        page = asked_page(request.query_params, self._ports)

        def ask() -> tuple[FoundAudit, list[str], int, Sequence[SealedDay], int]:
            with self._ports.database.read() as session:
                newest, count = seals.newest_seals(session, limit=SEALS_SHOWN)
                return (
                    audit_search.search(session, page.asked, before=page.before, limit=ENTRIES_A_PAGE),
                    audit_search.kinds(session), audit.head(session).seq, newest, count,
                )

        found, kinds, head, sealed, seal_count = await run_in_threadpool(ask)
        verified = await run_in_threadpool(
            self._works.newest, kind=VERIFICATION, owner=owner_for(who), limit=VERIFIED_SHOWN, results=True
        )
        older = None if found.go_on is None else f"/audit?{urlencode({'before': found.go_on})}" + (
            f"&{page.kept}" if page.kept else ""
        )
        return self._gate.shown(
            "audit.html", request, lang, page=page, found=found, kinds=kinds, head=head, sealed=sealed,
            seal_count=seal_count, older=older, about=partial(about, lang), lists_all=page.asked.is_open,
            verified=verified, signs=self._ports.seal_key() is not None,
        )

    async def entry(self, request: Request, who: Who, lang: Lang) -> Response:
        """One entry with its hash, worked out again."""
        seq = request.path_params["seq"]

        def ask() -> tuple[AuditRecord | None, str, int]:
            with self._ports.database.read() as session:
                before = audit_search.entry(session, seq - 1) if 1 < seq <= SEQ_MAX else None
                found = audit_search.entry(session, seq) if 0 < seq <= SEQ_MAX else None
                return found, audit.GENESIS_HEAD if before is None else before.head, audit.head(session).seq

        found, prev, head = await run_in_threadpool(ask)
        return self._gate.shown(
            "audit_entry.html", request, lang, status=404 if found is None else 200, one=found, seq=seq, prev=prev,
            head=head, fields=[] if found is None else list(fields_of(found.payload)),
            by="" if found is None else by_of(found.actor),
            holds=found is not None and head_after(prev, found.canonical.encode(), found.algorithm) == found.head,
        )

    async def verify(self, request: Request, form: Sent, lang: Lang) -> Response:
        """Begin to walk the whole chain, and go to where it is watched."""
        form.who.check_sees_everything(what="the audit record")

        def begin() -> Work[AuditVerdict]:
            return self._works.begin(verification(self._ports), kind=VERIFICATION, owner=form.who.actor)

        try:
            work = await run_in_threadpool(begin)
        except TooMuchWork as error:
            raise Problem(503, "the record is being verified already: try again shortly") from error
        return see_other(f"/audit/verifications/{work.work_id}")

    async def verification(self, request: Request, who: Who, lang: Lang) -> Response:
        """How far it is, or whether the chain is whole."""
        work = await run_in_threadpool(
            self._works.of, request.path_params["work_id"], kind=VERIFICATION, owner=owner_for(who)
        )
        if work is None:
            return self._gate.shown("work_gone.html", request, lang, status=404, back="/audit")
        return self._gate.shown(
            "audit_verification.html", request, lang, work=work, url=f"/audit/verifications/{work.work_id}",
            verdict=work.result,
        )

    async def export(self, request: Request, form: Sent, lang: Lang) -> Response:
        """The whole chain as a file. That it was taken is written down first, so that the file says so too."""
        form.who.check_sees_everything(what="the audit record")
        return sent_file(await run_in_threadpool(self._exported, form.who.actor), self._ports)

    def _exported(self, actor: str) -> IO[bytes]:
        with self._ports.database.write() as session:
            note_export(session, self._ports, actor=actor)
        return exported(self._ports)


def asked_page(query: QueryParams, ports: WebPorts) -> AskedPage:
    """Read the filters of an address. Raises Problem 400: a misspelt one must not answer with everything."""
    for name in query:
        if name not in _NAMES:
            raise Problem(400, f"the record has no filter {name[:40]!r}: known are {', '.join(_NAMES[:-1])}")
    given = {name: query.get(name, "").strip() for name in _NAMES}
    if any(len(value) > TEXT_CHARACTERS_MAX for value in given.values()):
        raise Problem(400, f"a filter is at most {TEXT_CHARACTERS_MAX} characters")
    before = given["before"]
    if before and not (before.isascii() and before.isdigit() and len(before) <= 16 and int(before) <= SEQ_MAX):
        raise Problem(400, "before is the number of an entry")

    def midnight(name: str, days: int) -> datetime | None:
        if not given[name]:
            return None
        try:
            return datetime.combine(date.fromisoformat(given[name]) + timedelta(days=days), time(), ports.zone)
        except (ValueError, OverflowError) as error:
            raise Problem(400, f"{name} is a date such as 2026-11-20") from error

    return AskedPage(
        given=given, before=int(before) if before else None, asked=AskedAudit(
            kind=given["kind"] or None, actor=given["actor"] or None, subject=given["subject"] or None,
            text=given["q"] or None, since=midnight("since", 0), until=midnight("until", 1),
        ),
    )


def about(lang: Lang, record: AuditRecord) -> str:
    """What an entry is about, in one line."""
    why = record.payload.get("why")
    if isinstance(why, dict):
        return str(why.get(lang, ""))[: 2 * ABOUT_CHARACTERS_MAX]
    told = [one for one in fields_of(record.payload) if one.text not in ("", "0") and len(one.text) <= 60]
    # What stands by itself says more than what is counted.
    told.sort(key=lambda one: "/" in one.name)
    words = Words(lang)
    parts = [
        f"{words.name('field', one.name.rpartition('/')[2].strip())} {_said(words, one)}" for one in told[:ABOUT_PARTS]
    ]
    return " · ".join(parts)[:ABOUT_CHARACTERS_MAX]


def _said(words: Words, one: FieldView) -> str:
    """The text of a field; where it is one of a closed set, its word."""
    if one.name == "shard" and one.text == "all":
        return words("all_shard")
    word = f"{one.name}.{one.text}"
    return words(word) if one.name in ("outcome", "role") and word in WORDS else one.text


def fields_of(payload: Mapping[str, Any], above: str = "") -> list[FieldView]:
    """Every value of a payload by its name, what is inside another by both names."""
    found: list[FieldView] = []
    for name, value in payload.items():
        full = f"{above}{name}"
        if isinstance(value, dict):
            found.extend(fields_of(value, f"{full} / "))
        elif isinstance(value, list) and all(isinstance(each, str | int) for each in value):
            found.append(FieldView(name=full, text=", ".join(str(each) for each in value)))
        elif isinstance(value, list):
            for place, each in enumerate(value, 1):
                found.extend(fields_of({str(place): each}, f"{full} / "))
        else:
            text = "" if value is None else str(value)
            found.append(FieldView(name=full, text=text, url=_url(name, text)))
    return found


def _url(name: str, text: str) -> str:
    if name == "proposal" and text.isdigit():
        return f"/audit/entries/{text}"
    return _LINKED[name].format(quote(text, safe="")) if name in _LINKED and text else ""
