"""Policies: what they say and where from, what floor they give to whom, what if, and how they are changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from alerts.feeds.item import Lang
from escrow_monitor.actions import change_policy
from escrow_monitor.actions.change_policy import ChangeRefusal, ChangeRefused, Effect, Proposal
from escrow_monitor.actions.effective_floors import EffectiveFloor, effective_floors
from escrow_monitor.domain.accounts import Account
from escrow_monitor.domain.clauses import Pack
from escrow_monitor.domain.institutions import Institution, InstitutionKind
from escrow_monitor.domain.permissions import Permission
from escrow_monitor.domain.policy import PolicyBook
from escrow_monitor.domain.visibility import EVERYTHING, Visible
from escrow_monitor.errors import PolicyError
from escrow_monitor.policies import PACK_BYTES_MAX
from escrow_monitor.records.accounts import institution
from escrow_monitor.records.policy_reach import Alike, alike, institution_counts
from escrow_monitor.web.back_test import STYLESHEET, back_test_page
from escrow_monitor.web.console.assets import asset
from escrow_monitor.web.console.forms import Sent, see_other, sent
from escrow_monitor.web.console.gate import Gate
from escrow_monitor.web.console.pages import asked_day
from escrow_monitor.web.console.words import Words
from escrow_monitor.web.fresh import Fresh
from escrow_monitor.web.guard import SCOPE_CONFIRM, SCOPE_DECIDE, SCOPE_OPERATIONS, Guard
from escrow_monitor.web.long_work import BACK_TEST, COMPARED_MAX, not_compared, owner_for, replay
from escrow_monitor.web.ports import AskedBackTest, WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Who, scope_of
from escrow_monitor.web.works import Kind, TooMuchWork, Work, Works, WorkState

REACH_SECONDS = 20.0
"""So old the sums of the list may be, and as old again while they are added up anew over every account."""
REACHES_MAX = 32
CHANGES_SHOWN = 10
REPLAYS_SHOWN = 5
FORM_ROOM_BYTES = 64 * 1024
EFFECT: Kind[Effect] = Kind(name="effect", shape=Effect, running_max=2)
Sums = tuple[Sequence[Alike], Mapping[tuple[str | None, str | None, InstitutionKind | None], int]]
"""What policies treat alike, added up."""
PASTS = ("city", "records", "hindsight")
_USUAL = ("closure_watch", "static_floor", "below_obligation")


@dataclass(kw_only=True)
class Reach:
    """To whom a pack or a clause applies today. The sums are of accounts with a floor of it, by currency in fen."""

    institutions: int = 0
    accounts: int = 0
    floors: int = 0
    unknown: int = 0
    below: int = 0
    required_fen: dict[str, int] = field(default_factory=dict)
    short_fen: dict[str, int] = field(default_factory=dict)

    def add(self, group: Alike, *, has_floor: bool) -> None:
        """Count a group of accounts."""
        self.accounts += group.accounts
        if has_floor:
            self.floors += group.accounts
            self.unknown += group.unknown
            self.below += group.below
            for sums, fen in ((self.required_fen, group.required_fen), (self.short_fen, group.short_fen)):
                sums[group.currency] = sums.get(group.currency, 0) + fen


@dataclass(frozen=True, kw_only=True)
class Reaches:
    """Of every pack and every clause, by id."""

    packs: Mapping[str, Reach]
    clauses: Mapping[str, Reach]


def reaches(
    policies: PolicyBook, groups: Sequence[Alike], institutions: Mapping[tuple[Any, ...], int], *, on: date
) -> Reaches:
    """Add up what the records know by what policies tell apart: a few hundred groups, however many accounts."""
    packs: dict[str, Reach] = {pack_id: Reach() for pack_id in policies.packs}
    clauses: dict[str, Reach] = {clause.id: Reach() for pack in policies.packs.values() for clause in pack.clauses}
    for (district, named, kind), count in institutions.items():
        holder = Institution(uscc="", name="", district=district, policy=named, kind=kind)
        policy = policies.effective(institution=holder, account=None, on=on)
        for pack_id in policy.pack_ids:
            packs[pack_id].institutions += count
        for clause in policy.clauses:
            clauses[clause.id].institutions += count
    for group in groups:
        holder = Institution(uscc="", name="", district=group.district, policy=group.policy, kind=group.kind)
        account = Account(
            account_no="", bank="", connector="", currency=group.currency, purpose=group.purpose, mode=group.mode
        )
        policy = policies.effective(institution=holder, account=account, on=on)
        floors = {clause.id for clause in policy.floor_clauses}
        for pack_id in policy.pack_ids:
            has_floor = any(clause.id in floors for clause in policies.packs[pack_id].clauses)
            packs[pack_id].add(group, has_floor=has_floor)
        for each in policy.clauses:
            if each.id in clauses:
                clauses[each.id].add(group, has_floor=each.id in floors)
    return Reaches(packs=packs, clauses=clauses)


def routes(guard: Guard, ports: WebPorts, works: Works) -> list[BaseRoute]:
    """`/policies...`."""
    look = _Look(Gate(guard, ports, here="policies", needs=Permission.READ), ports)
    trial = _Trial(Gate(guard, ports, here="policies", needs=Permission.OPERATIONS), ports, look, works)
    change = _Change(
        Gate(guard, ports, here="policies", needs=Permission.OPERATIONS, whole=True), ports, look, works
    )
    look.trial, look.change = trial, change
    return [
        Route("/policies", look.gate.page(look.start), methods=["GET"]),
        Route("/policies/packs/{pack_id:path}", look.gate.page(look.pack), methods=["GET"]),
        Route("/policies/effective", look.gate.page(look.effective), methods=["GET"]),
        Route("/policies/back-tests", sent(guard, ports, SCOPE_OPERATIONS, trial.begin), methods=["POST"]),
        Route("/policies/back-tests/{work_id}", trial.gate.page(trial.shown), methods=["GET"]),
        Route("/policies/back-tests/{work_id}/report", trial.gate.page(trial.report), methods=["GET"]),
        Route("/policies/changes", sent(
            guard, ports, SCOPE_DECIDE, change.propose, bytes_max=PACK_BYTES_MAX + FORM_ROOM_BYTES
        ), methods=["POST"]),
        Route("/policies/changes/{seq:int}", change.gate.page(change.shown), methods=["GET"]),
        Route("/policies/changes/{seq:int}/accept", sent(guard, ports, SCOPE_CONFIRM, change.accept), methods=["POST"]),
        Route(
            "/policies/changes/{seq:int}/withdraw", sent(guard, ports, SCOPE_DECIDE, change.withdraw), methods=["POST"]
        ),
    ]


class _Look:
    """The pages that only say what is so."""

    trial: _Trial
    change: _Change

    def __init__(self, gate: Gate, ports: WebPorts) -> None:
        self.gate, self._ports = gate, ports
        age = REACH_SECONDS if ports.answer_age_seconds_max else 0.0
        self._sums = Fresh(self._ask_sums, age_seconds_max=age, late_seconds_max=age)
        self._reaches: dict[Visible, tuple[Sums, Reaches]] = {}

    async def start(self, request: Request, who: Who, lang: Lang) -> Response:
        """All packs, and what can be done with them."""
        return await self.list_page(request, who, lang)

    async def list_page(
        self, request: Request, who: Who, lang: Lang, *, wrong: str = "", form: str = "", status: int = 200,
        fields: Mapping[str, str] | None = None,
    ) -> Response:
        """The same, with what is wrong with a form of it."""
        found = await self._reach(scope_of(who))
        packs = list(self._ports.policies.packs.values())
        may_change = who.may(Permission.OPERATIONS) and who.visible.is_everything
        proposals = await run_in_threadpool(self.change.newest) if may_change else []
        notice = await run_in_threadpool(self._notice, lang) if may_change else ""
        return self.gate.shown(
            "policies.html", request, lang, status=status, packs=packs, reach=found.packs,
            clause_count=sum(len(pack.clauses) for pack in packs),
            verified_count=sum(clause.verified for pack in packs for clause in pack.clauses),
            today=self._today(), proposals=proposals, may_change=may_change, notice=notice,
            may_propose=may_change and who.may(Permission.DECIDE), has_folder=self._ports.law is not None,
            no_folder=change_policy.WORDS[ChangeRefusal.NO_FOLDER][lang], wrong=wrong, form=form, fields=fields or {},
            may_replay=who.may(Permission.OPERATIONS), can_replay=self._ports.back_test is not None,
            pasts=PASTS if who.visible.is_everything else PASTS[:1],
            replays=await run_in_threadpool(self.trial.newest, who),
        )

    async def pack(self, request: Request, who: Who, lang: Lang) -> Response:
        """One pack."""
        pack = self._ports.policies.packs.get(request.path_params["pack_id"])
        if pack is None:
            raise Problem(404, f"no policy pack {request.path_params['pack_id'][:80]!r} is loaded")
        found = await self._reach(scope_of(who))
        return self.gate.shown(
            "policy.html", request, lang, pack=pack, reach=found.packs[pack.id], clauses=found.clauses,
            today=self._today(), version=self._ports.policies.versions()[pack.id], in_folder=self._in_folder(pack),
            file=pack.where.rsplit("/", 1)[-1], applied=partial(_applied, Words(lang)),
        )

    async def effective(self, request: Request, who: Who, lang: Lang) -> Response:
        """What holds for one institution on a day."""
        uscc = request.query_params.get("uscc", "").strip()[:40]
        day = asked_day(request.query_params.get("on", "").strip(), self._today())
        visible, now = scope_of(who), self._ports.clock.now()

        def ask() -> tuple[Institution | None, Sequence[EffectiveFloor]]:
            with self._ports.database.read() as session:
                found = institution(session, uscc) if uscc else None
                if found is None or not visible.covers_institution(found):
                    return None, ()
                return found, effective_floors(session, found, policies=self._ports.policies, on=day, now=now)

        found, floors = await run_in_threadpool(ask)
        return self.gate.shown(
            "policy_effective.html", request, lang, status=200 if found or not uscc else 404, uscc=uscc, on=day,
            found=found, floors=floors, today=self._today(), pack_of=self._pack_of,
        )

    def _pack_of(self, clause_id: str) -> str:
        """The pack a clause stands in; "" for a default of the program."""
        for pack in self._ports.policies.packs.values():
            if any(clause.id == clause_id for clause in pack.clauses):
                return pack.id
        return ""

    async def _reach(self, visible: Visible) -> Reaches:
        """Of what may be seen, chosen from the sums of everything; an institution is asked for by itself."""
        if visible.uscc is not None:
            return await run_in_threadpool(lambda: self._added_up(self._ask_sums(visible), EVERYTHING))
        sums = await self._sums.get()
        known = self._reaches.get(visible)
        if known is None or known[0] is not sums:
            while len(self._reaches) >= REACHES_MAX:
                self._reaches.pop(next(iter(self._reaches)))
            known = self._reaches[visible] = (sums, await run_in_threadpool(self._added_up, sums, visible))
        return known[1]

    def _ask_sums(self, visible: Visible = EVERYTHING) -> Sums:
        with self._ports.database.read() as session:
            return alike(session, visible=visible), institution_counts(session, visible=visible)

    def _added_up(self, sums: Sums, visible: Visible) -> Reaches:
        groups, counts = sums
        seen = [group for group in groups if visible.covers(uscc=None, district=group.district)]
        seen_counts = {key: count for key, count in counts.items() if visible.covers(uscc=None, district=key[0])}
        return reaches(self._ports.policies, seen, seen_counts, on=self._today())

    def _notice(self, lang: Lang) -> str:
        """What is to be said of packs on disk that are not those in force."""
        if self._ports.law is None:
            return ""
        words = Words(lang)
        try:
            on_disk = self._ports.law.read()
        except PolicyError as error:
            return words("policies_unreadable", why=str(error))
        return "" if on_disk.version == self._ports.policies.version else words("policies_old")

    def _in_folder(self, pack: Pack) -> bool:
        return self._ports.law is not None and pack.where.startswith(f"{self._ports.law.path}/")

    def _today(self) -> date:
        return self._ports.clock.now().astimezone(self._ports.zone).date()


class _Trial:
    """What if: a past replayed through other policies."""

    def __init__(self, gate: Gate, ports: WebPorts, look: _Look, works: Works) -> None:
        self.gate, self._ports, self._look, self._works = gate, ports, look, works

    async def begin(self, request: Request, form: Sent, lang: Lang) -> Response:
        """Begin one and go to where it is watched."""
        words, past = form.text("policies").split(), form.text("past") or PASTS[0]
        again = partial(
            self._look.list_page, request, form.who, lang, form="replay", fields=form.fields,
        )
        say = Words(lang)
        asked = AskedBackTest(policies=tuple(words), city=past == "city", hindsight=past == "hindsight")
        do = replay(self._ports, asked)
        if do is None:
            return await again(wrong=say("pol_no_replay"), status=409)
        if past not in PASTS or (past != "city" and not form.who.visible.is_everything):
            raise Problem(403, "recorded history is about every institution, and this account is limited to some")
        if (word := not_compared(self._ports, words)) is not None:
            return await again(wrong=say("pol_not_compared", asked=word[:60], most=COMPARED_MAX), status=400)

        def begin() -> Work[dict[str, Any]]:
            return self._works.begin(
                do, kind=BACK_TEST, owner=form.who.actor, subject=" ".join(words),
                asked={"past": past, "policies": words},
            )

        try:
            work = await run_in_threadpool(begin)
        except TooMuchWork:
            return await again(wrong=say("work_too_much"), status=503)
        return see_other(f"/policies/back-tests/{work.work_id}")

    async def shown(self, request: Request, who: Who, lang: Lang) -> Response:
        """How far it is, or what came out."""
        work = await self._of(request, who)
        if work is None:
            return self.gate.shown("work_gone.html", request, lang, status=404, back="/policies#what-if")
        methods = [one for one in (work.result or {}).values() if isinstance(one, dict) and "method" in one]
        return self.gate.shown(
            "policy_replay.html", request, lang, work=work, methods=methods, url=f"/policies/back-tests/{work.work_id}",
            usual=_USUAL,
        )

    async def report(self, request: Request, who: Who, lang: Lang) -> Response:
        """The report by itself. Its look comes from a file: the page's policy lets no text of a page be one."""
        work = await self._of(request, who)
        if work is None or work.result is None:
            return self.gate.shown("work_gone.html", request, lang, status=404, back="/policies#what-if")
        html = await run_in_threadpool(back_test_page, work.result, lang)
        link = f'<link rel="icon" href="{asset("icon.svg")}"><link rel="stylesheet" href="{asset(STYLESHEET)}">'
        return Response(
            re.sub(r"<style>.*?</style>", link, html, count=1, flags=re.DOTALL),
            media_type="text/html; charset=utf-8", headers={"Cache-Control": "no-store"},
        )

    def newest(self, who: Who) -> Sequence[Work[dict[str, Any]]]:
        """What somebody replayed last."""
        return self._works.newest(kind=BACK_TEST, owner=who.actor, limit=REPLAYS_SHOWN)

    async def _of(self, request: Request, who: Who) -> Work[dict[str, Any]] | None:
        return await run_in_threadpool(
            self._works.of, request.path_params["work_id"], kind=BACK_TEST, owner=owner_for(who)
        )


class _Change:
    """Four eyes on what the law is."""

    def __init__(self, gate: Gate, ports: WebPorts, look: _Look, works: Works) -> None:
        self.gate, self._ports, self._look, self._works = gate, ports, look, works

    def newest(self) -> Sequence[Proposal]:
        """The newest proposals."""
        with self._ports.database.read() as session:
            return change_policy.proposals(session, limit=CHANGES_SHOWN)

    async def propose(self, request: Request, form: Sent, lang: Lang) -> Response:
        """The first pair of eyes."""
        form.who.check_sees_everything(what="a policy")
        again = partial(self._look.list_page, request, form.who, lang, form="change", fields=form.fields)
        say, upload = Words(lang), form.upload
        if upload is None:
            return await again(wrong=say("pol_no_file"), status=400)
        try:
            done = await run_in_threadpool(self._proposed, form, upload.content, upload.filename)
        except PolicyError as error:
            return await again(wrong=say("pol_wrong_file", why=str(error)), status=422)
        except ChangeRefused as error:
            return await again(wrong=change_policy.WORDS[error.reason][lang], status=409)
        return see_other(f"/policies/changes/{done.seq}")

    async def shown(self, request: Request, who: Who, lang: Lang) -> Response:
        """One change: the difference, the effect, and what can be done about it."""
        return await self._page(request, who, lang)

    async def accept(self, request: Request, form: Sent, lang: Lang) -> Response:
        """The second pair of eyes."""
        form.who.check_sees_everything(what="a policy")
        law = self._ports.law

        def do(seq: int) -> object:
            return change_policy.accept(
                self._ports.database, seq, folder=None if law is None else law.path, book=self._book(),
                by=form.who.actor, now=self._ports.clock.now(),
            )

        return await self._done(request, form, lang, do)

    async def withdraw(self, request: Request, form: Sent, lang: Lang) -> Response:
        """It is not to be."""
        form.who.check_sees_everything(what="a policy")

        def do(seq: int) -> object:
            change_policy.withdraw(self._ports.database, seq, by=form.who.actor, now=self._ports.clock.now())
            return None

        return await self._done(request, form, lang, do)

    async def _done(self, request: Request, form: Sent, lang: Lang, do: Callable[[int], object]) -> Response:
        seq = request.path_params["seq"]
        try:
            await run_in_threadpool(do, seq)
        except PolicyError as error:
            wrong = Words(lang)("pol_wrong_file", why=str(error))
            return await self._page(request, form.who, lang, wrong=wrong, status=422)
        except ChangeRefused as error:
            wrong = change_policy.WORDS[error.reason][lang]
            return await self._page(request, form.who, lang, wrong=wrong, status=409)
        return see_other(f"/policies/changes/{seq}")

    async def _page(self, request: Request, who: Who, lang: Lang, *, wrong: str = "", status: int = 200) -> Response:
        seq = request.path_params["seq"]
        found, before = await run_in_threadpool(self._ask, seq)
        if found is None:
            return self.gate.shown("work_gone.html", request, lang, status=404, back="/policies#changes")
        work = await run_in_threadpool(self._effect_of, found) if found.settled is None else None
        return self.gate.shown(
            "policy_change.html", request, lang, status=status, one=found, wrong=wrong, work=work,
            effect=None if work is None else work.result,
            before=before, lines=change_policy.difference(before, found.text) if found.settled is None else [],
            own=found.is_by(who.actor), may_confirm=who.may(Permission.CONFIRM), may_audit=who.may(Permission.AUDIT),
            may_decide=who.may(Permission.DECIDE), url=f"/policies/changes/{seq}",
        )

    def _ask(self, seq: int) -> tuple[Proposal | None, str | None]:
        with self._ports.database.read() as session:
            found = change_policy.proposal(session, seq)
        law = self._ports.law
        if found is None or law is None:
            return found, None
        try:
            return found, change_policy.text_now(law.path, self._book(), found.pack_id)
        except (ChangeRefused, PolicyError):
            return found, None

    def _effect_of(self, found: Proposal) -> Work[Effect] | None:
        """What it would do, counted once for everybody who looks, and again when other policies hold."""
        owner = f"{found.seq} {self._ports.policies.version}"
        for work in self._works.newest(kind=EFFECT, owner=owner, limit=1, results=True):
            if work.state is not WorkState.LOST:
                return work

        def count(progress: Callable[[int, int | None], None]) -> Effect:
            pack = change_policy.read_pack(found.text.encode(), where=f"{found.pack_id}.toml")
            after = change_policy.with_pack(self._ports.policies, pack)
            with self._ports.database.read() as session:
                return change_policy.effect(
                    session, before=self._ports.policies, after=after, now=self._ports.clock.now(), progress=progress
                )

        try:
            return self._works.begin(count, kind=EFFECT, owner=owner)
        except TooMuchWork:
            return None

    def _proposed(self, form: Sent, content: bytes, filename: str) -> Proposal:
        law = self._ports.law
        return change_policy.propose(
            self._ports.database, content=content, filename=filename[:100], note=form.text("note"),
            folder=None if law is None else law.path, book=self._book(), by=form.who.actor, now=self._ports.clock.now(),
        )

    def _book(self) -> PolicyBook:
        """The packs as they stand on disk now: somebody may have changed one since the program started."""
        return self._ports.policies if self._ports.law is None else self._ports.law.read()


def _applied(words: Words, clause: Any) -> str:
    """To whom a clause applies, in words."""
    named = [
        *(words(f"kind.{each.value}") for each in sorted(clause.applies.kinds)),
        *(words(f"purpose.{each.value}") for each in sorted(clause.applies.purposes)),
        *(words(f"mode.{each.value}") for each in sorted(clause.applies.modes)),
    ]
    return ("、" if words.lang == "zh" else ", ").join(named) or words("pol_applies_all")


__all__ = ["Reach", "Reaches", "reaches", "routes"]
