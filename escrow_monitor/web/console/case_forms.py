"""What the forms of a refund case do, once and by who may; what is refused is said beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from urllib.parse import quote as quoted

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from alerts.feeds.item import Lang
from escrow_monitor.actions.answer_case import BANK_REF_CHARACTERS_MAX, answer_case_in, say_paid_in
from escrow_monitor.actions.attach_evidence import EVIDENCE_BYTES_MAX, FILENAME_CHARACTERS_MAX, attach_evidence_in
from escrow_monitor.actions.move_case import REASON_CHARACTERS_MAX, MoveRefused, move_case_in
from escrow_monitor.actions.note_case import NOTE_CHARACTERS_MAX, note_case_in
from escrow_monitor.domain.dispute_answers import Audience
from escrow_monitor.domain.dispute_words import Move, RefusedReason, Role
from escrow_monitor.domain.disputes import Case
from escrow_monitor.domain.money import AmountError, parse_amount
from escrow_monitor.domain.permissions import Permission
from escrow_monitor.errors import DatabaseError, EscrowMonitorError
from escrow_monitor.records.contracts import case_book
from escrow_monitor.records.contracts.case_book import day_of
from escrow_monitor.records.database import Session
from escrow_monitor.web.console.case import EVIDENCE_MIB_MAX, SECOND_MOVES, case_page, missing, seen_case
from escrow_monitor.web.console.forms import FormRefused, Sent, Wrong, done_once, see_other
from escrow_monitor.web.console.words import Words
from escrow_monitor.web.ports import WebPorts

Do = Callable[[Session, Sent, str, datetime], str]
"""Does what a form asks for in a case, and says which entry of its timeline that became."""


async def done(request: Request, form: Sent, lang: Lang, *, ports: WebPorts, name: str, do: Do) -> Response:
    """Do what a form asks for, once; what is refused is said beside it."""
    case_no = request.path_params["case_no"]

    def work() -> str | None:
        now = ports.clock.now()
        with ports.database.write() as session:
            if seen_case(session, case_no, form.who) is None:
                return None
            anchor = done_once(
                session, form, asked=f"{name} {case_no}", now=now, do=lambda: do(session, form, case_no, now)
            )
        return f"/cases/{quoted(case_no)}?done={anchor}"

    try:
        location = await run_in_threadpool(work)
    except FormRefused as refused:
        said = refused.said[lang] if refused.said is not None else Words(lang)(refused.word, **refused.values)
        which = f"move:{form.text('move')}" if name in ("moves", "answers") else name
        return await case_page(
            request, form.who, lang, ports,
            Wrong(form=which, text=said, fields=form.fields, status=refused.status),
        )
    return missing(request, lang, case_no) if location is None else see_other(location)


def move(ports: WebPorts, session: Session, form: Sent, case_no: str, now: datetime) -> str:
    """Make a move; say which it was."""
    move, reason = _asked_move(form)
    if move in SECOND_MOVES and not form.who.may(Permission.CONFIRM):
        raise FormRefused("case_second_needed", status=403)
    found = case_book.case(session, case_no)
    assert found is not None, "it was just seen"  # noqa: S101 - cases are never deleted
    role, amount = _role(move, form.text("role")), _amount(found.case, form.text("amount"))
    with _refused_in_words():
        made = move_case_in(
            session, ports.policies, case_no=case_no, move=move, actor=form.who.actor, reason=reason, role=role,
            amount=amount, now=now,
        )
    return f"move-{made.move_no}"


def answer(ports: WebPorts, session: Session, form: Sent, case_no: str, now: datetime) -> str:
    """What the institution of the case answers; say which move it was."""
    move, reason = _asked_move(form)
    found = case_book.case(session, case_no)
    assert found is not None, "it was just seen"  # noqa: S101 - cases are never deleted
    amount = _amount(found.case, form.text("amount")) if move is Move.CONTEST else None
    with _refused_in_words():
        made = answer_case_in(
            session, ports.policies, case_no=case_no, uscc=_own_uscc(form), move=move, actor=form.who.actor,
            reason=reason, amount=amount, now=now,
        )
    return f"move-{made.move_no}"


def say_paid(session: Session, form: Sent, case_no: str, now: datetime) -> str:
    """The institution of the case says that it has paid; say which saying it was."""
    found = case_book.case(session, case_no)
    assert found is not None, "it was just seen"  # noqa: S101 - cases are never deleted
    amount, bank_ref, note = _amount(found.case, form.text("amount")), form.text("bank_ref"), form.text("note")
    if amount is None:
        raise FormRefused("case_said_no_amount", status=422)
    if not bank_ref or len(bank_ref) > BANK_REF_CHARACTERS_MAX or not bank_ref.isprintable():
        raise FormRefused("case_said_no_reference", status=422, count=BANK_REF_CHARACTERS_MAX)
    if len(note) > REASON_CHARACTERS_MAX:
        raise FormRefused("case_reason_long", status=422, count=REASON_CHARACTERS_MAX)
    try:
        paid_on = date.fromisoformat(form.text("paid_on"))
    except ValueError as error:
        raise FormRefused("case_said_no_day", status=422) from error
    if paid_on > day_of(now):
        raise FormRefused("case_said_to_come", status=422)
    with _refused_in_words():
        kept = say_paid_in(
            session, case_no=case_no, uscc=_own_uscc(form), amount=amount, paid_on=paid_on, bank_ref=bank_ref,
            note=note, actor=form.who.actor, now=now,
        )
    return f"said-{kept.said_no}"


def _asked_move(form: Sent) -> tuple[Move, str]:
    """The move and its reason."""
    move, reason = form.text("move"), form.text("reason")
    if move not in set(Move):
        raise FormRefused("case_unknown_move", status=422)
    if not reason:
        raise FormRefused("case_no_reason", status=422)
    if len(reason) > REASON_CHARACTERS_MAX:
        raise FormRefused("case_reason_long", status=422, count=REASON_CHARACTERS_MAX)
    return Move(move), reason


@contextmanager
def _refused_in_words() -> Iterator[None]:
    """What an action refuses, as it is said beside the form."""
    try:
        yield
    except MoveRefused as error:
        if error.reason is RefusedReason.OWN_RULING:
            raise FormRefused("case_own_ruling") from error
        raise FormRefused(said={"zh": error.why_zh, "en": str(error)}) from error
    except DatabaseError:
        raise
    except EscrowMonitorError as error:
        raise FormRefused("case_refused_other", detail=str(error)) from error


def _own_uscc(form: Sent) -> str:
    """The institution of whoever answers. Nobody else has the permission to."""
    uscc = form.who.visible.uscc
    if uscc is None:
        raise FormRefused("form_not_yours", status=403)
    return uscc


def _said_by(form: Sent) -> tuple[Role, Audience]:
    """On whose behalf a note or document is added, and who reads it: what staff add only they, unless they say so."""
    if form.who.visible.is_of_institution:
        return Role.INSTITUTION, Audience.INSTITUTION
    return Role.STAFF, Audience.INSTITUTION if form.text("shown") else Audience.SUPERVISORS


def _role(move: Move, text: str) -> Role | None:
    if move is not Move.CONTEST:
        return None
    if text not in (Role.INSTITUTION.value, Role.FAMILY.value):
        raise FormRefused("case_role_needed", status=422)
    return Role(text)


def _amount(case: Case, text: str) -> str | None:
    """The amount as the action reads it; people write 3,200 and ￥3200 as well."""
    plain = text.replace(",", "").replace("，", "").removeprefix("¥").removeprefix("￥").removesuffix("元").strip()
    if not plain:
        return None
    try:
        parse_amount(plain, case.currency)
    except AmountError as error:
        raise FormRefused("case_bad_amount", status=422, amount=text[:40]) from error
    return plain


def note(session: Session, form: Sent, case_no: str, now: datetime) -> str:
    """Keep a note; say which it was."""
    text = form.text("text")
    if not text:
        raise FormRefused("case_note_empty", status=422)
    if len(text) > NOTE_CHARACTERS_MAX:
        raise FormRefused("case_note_long", status=422, count=NOTE_CHARACTERS_MAX)
    role, audience = _said_by(form)
    kept = note_case_in(
        session, case_no=case_no, text=text, actor=form.who.actor, role=role, audience=audience, now=now
    )
    return f"note-{kept.note_no}"


def attach(session: Session, form: Sent, case_no: str, now: datetime) -> str:
    """Keep a document; say which it was."""
    upload, note = form.upload, form.text("note")
    if upload is None:
        raise FormRefused("case_no_file", status=422)
    name = upload.filename.replace("\\", "/").rpartition("/")[2]
    if not name or len(name) > FILENAME_CHARACTERS_MAX or not name.isprintable():
        raise FormRefused("case_file_name", status=422, count=FILENAME_CHARACTERS_MAX)
    if not upload.content:
        raise FormRefused("case_file_empty", status=422, name=name)
    if len(upload.content) > EVIDENCE_BYTES_MAX:
        raise FormRefused("case_file_large", status=422, count=EVIDENCE_MIB_MAX)
    if len(note) > REASON_CHARACTERS_MAX:
        raise FormRefused("case_reason_long", status=422, count=REASON_CHARACTERS_MAX)
    role, audience = _said_by(form)
    kept = attach_evidence_in(
        session, case_no=case_no, content=upload.content, filename=name, actor=form.who.actor, note=note, role=role,
        audience=audience, now=now,
    )
    return f"evidence-{kept.evidence_no}"
