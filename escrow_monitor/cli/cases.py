"""Commands about refund disputes."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from escrow_monitor.cli.frame import AsJson, Frame, frame_of
from escrow_monitor.cli.output import print_json, print_table, say, warn
from escrow_monitor.clock import ZONE
from escrow_monitor.errors import UsageError

if TYPE_CHECKING:
    from escrow_monitor.actions.show_case import CaseHistory, CaseShown
    from escrow_monitor.domain.dispute_answers import Audience
    from escrow_monitor.domain.findings import Sentence
    from escrow_monitor.domain.money import Money
    from escrow_monitor.records.contracts.case_book import CaseSaidPayment

E = TypeVar("E", bound=StrEnum)

cases_group = typer.Typer(no_args_is_help=True, help="Refund disputes: each from its claim to the money in the bank.")

By = Annotated[str | None, typer.Option("--by", help="Who does it; default the name you are logged in by.")]
OnBehalf = Annotated[str, typer.Option(
    "--role", help="On whose behalf: staff, institution or family. What the institution says it reads itself."
)]
Shown = Annotated[bool, typer.Option("--shown", help="The institution reads it too; else supervisors only.")]
STATES_HELP = (
    "Only in this state; may be repeated: claimed, gathering, quoted, accepted, contested, ruled, ordered, paid, "
    "closed, withdrawn. Default: all that are open."
)
MOVES_HELP = "gather, quote, accept, contest, settle, propose, confirm, reject, order, close or withdraw"


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(cases_group, name="cases")


@cases_group.command("list")
def list_(
    context: typer.Context,
    state: Annotated[list[str] | None, typer.Option(help=STATES_HELP)] = None,
    institution: Annotated[str | None, typer.Option(help="Only of this institution (USCC).")] = None,
    contract: Annotated[str | None, typer.Option(help="Only under this contract.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Closed and withdrawn ones too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most so many.")] = 1_000,
    as_json: AsJson = False,
) -> None:
    """Cases with what is claimed, due, agreed and paid, and the next day on which something must have happened."""
    from escrow_monitor.actions.show_case import list_cases
    from escrow_monitor.domain.dispute_words import CaseState
    from escrow_monitor.domain.disputes import OPEN_STATES

    states = [_one_of(CaseState, each, "state") for each in state] if state else None if all_ else list(OPEN_STATES)
    with frame_of(context).app() as app:
        found = list_cases(
            app.database, app.policies, now=app.clock.now(), states=states, uscc=institution, contract_no=contract,
            limit=limit,
        )
    if as_json:
        print_json([one.as_json() for one in found])
        return
    print_table(
        ("case", "institution", "contract", "claimed on", "claimed", "due", "agreed", "paid", "state", "next deadline"),
        [
            (
                one.case.case_no, one.case.uscc, one.case.contract_no, one.case.claimed_on, _text(one.case.claimed),
                _due(one), one.case.agreed.grouped, one.case.paid.grouped, one.case.state.value, _next(one),
            )
            for one in found
        ],
    )


@cases_group.command()
def show(context: typer.Context, case_no: str, as_json: AsJson = False) -> None:
    """One case: where it stands, what is due line by line, its deadlines, and all that was done."""
    from escrow_monitor.actions.show_case import show_case

    frame = frame_of(context)
    with frame.app() as app:
        found = show_case(app.database, app.policies, case_no=case_no, now=app.clock.now())
    if as_json:
        print_json(found.as_json())
    else:
        _tell(frame, found)


@cases_group.command()
def move(
    context: typer.Context,
    case_no: str,
    move: Annotated[str, typer.Argument(help=MOVES_HELP)],
    reason: Annotated[str, typer.Option(help="Why; it is kept with the move.")],
    amount: Annotated[str | None, typer.Option(
        help="The whole refund that is agreed to, settled or ruled, in the currency of the case: 3500.00"
    )] = None,
    role: Annotated[str | None, typer.Option(
        help="On whose behalf: staff, institution, family or second; needed where the move leaves it open."
    )] = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Move a case on. A ruling is proposed by one person and confirmed by another; paid is what the bank shows."""
    from escrow_monitor.actions.move_case import move_case
    from escrow_monitor.actions.show_case import move_json
    from escrow_monitor.domain.dispute_words import MOVES, STATES, Move, Role

    frame = frame_of(context)
    chosen = _one_of(Move, move, "move")
    on_behalf = None if role is None else _one_of(Role, role, "role")
    if on_behalf is Role.SYSTEM:
        raise UsageError("nobody is the system: choose staff, institution, family or second")
    with frame.app() as app, _in_words(frame):
        made = move_case(
            app.database, app.policies, case_no=case_no, move=chosen, actor=_who(by), reason=reason, role=on_behalf,
            amount=amount, now=app.clock.now(),
        )
    if as_json:
        print_json(move_json(made))
        return
    amount_text = "" if made.amount is None else f" {made.amount.grouped}"
    was = "" if made.from_state is None else f"{_word(frame, STATES[made.from_state])} -> "
    say(f"{made.case_no} {_word(frame, MOVES[made.move])}{amount_text}: {was}{_word(frame, STATES[made.to_state])}")


@cases_group.command()
def note(
    context: typer.Context, case_no: str, text: str, by: By = None, role: OnBehalf = "staff", shown: Shown = False,
    as_json: AsJson = False,
) -> None:
    """Write something down about a case. Supervisors alone read it, unless it is --shown to the institution."""
    from escrow_monitor.actions.note_case import note_case
    from escrow_monitor.actions.show_case import note_json
    from escrow_monitor.domain.dispute_words import Role

    with frame_of(context).app() as app:
        kept = note_case(
            app.database, case_no=case_no, text=text, actor=_who(by), role=_one_of(Role, role, "role"),
            audience=_audience(shown), now=app.clock.now(),
        )
    if as_json:
        print_json({"case_no": case_no, **note_json(kept)})
    else:
        say(f"{case_no} #{kept.note_no}")


@cases_group.command("said-paid")
def said_paid(
    context: typer.Context,
    case_no: str,
    amount: Annotated[str, typer.Option(help="How much, in the currency of the case: 3500.00")],
    on: Annotated[str, typer.Option(help="The day on which it was paid, it says: 2026-11-20.")],
    reference: Annotated[str, typer.Option(help="The bank's reference.")],
    note: Annotated[str, typer.Option(help="What else it says.")] = "",
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Record that the institution of a case says it has paid. It moves nothing: paid is what the bank shows."""
    from datetime import date

    from escrow_monitor.actions.answer_case import say_paid
    from escrow_monitor.actions.show_case import said_payment_json

    try:
        paid_on = date.fromisoformat(on)
    except ValueError as error:
        raise UsageError(f"{on!r} is no day: write it as 2026-11-20") from error
    frame = frame_of(context)
    with frame.app() as app, _in_words(frame):
        kept = say_paid(
            app.database, case_no=case_no, amount=amount, paid_on=paid_on, bank_ref=reference, note=note,
            actor=_who(by), now=app.clock.now(),
        )
    if as_json:
        print_json({"case_no": case_no, **said_payment_json(kept)})
    else:
        say(_said(frame, kept))


@cases_group.command()
def attach(
    context: typer.Context,
    case_no: str,
    file: Path,
    note: Annotated[str, typer.Option(help="What it is.")] = "",
    media_type: Annotated[str | None, typer.Option("--type", help="Its media type; default by its name.")] = None,
    by: By = None,
    role: OnBehalf = "staff",
    shown: Shown = False,
    as_json: AsJson = False,
) -> None:
    """Keep a document with a case, named by its SHA-256. Supervisors alone read it, unless it is --shown."""
    from escrow_monitor.actions.attach_evidence import EVIDENCE_BYTES_MAX, attach_evidence
    from escrow_monitor.actions.show_case import evidence_json
    from escrow_monitor.domain.dispute_words import Role

    if not file.is_file():
        raise UsageError(f"{file}: no such file")
    with file.open("rb") as stream:
        content = stream.read(EVIDENCE_BYTES_MAX + 1)
    with frame_of(context).app() as app:
        kept = attach_evidence(
            app.database, case_no=case_no, content=content, filename=file.name, note=note, media_type=media_type,
            actor=_who(by), role=_one_of(Role, role, "role"), audience=_audience(shown), now=app.clock.now(),
        )
    if as_json:
        print_json({"case_no": case_no, **evidence_json(kept)})
    else:
        say(f"{case_no} #{kept.evidence_no} {kept.filename} {kept.media_type} {kept.size} {kept.sha256}")


@contextmanager
def _in_words(frame: Frame) -> Iterator[None]:
    """What is refused, in the language that was chosen."""
    from escrow_monitor.actions.move_case import MoveRefused

    try:
        yield
    except MoveRefused as refused:
        if frame.language == "zh":
            raise UsageError(refused.why_zh) from refused
        raise


def _audience(shown: bool) -> Audience:
    from escrow_monitor.domain.dispute_answers import Audience

    return Audience.INSTITUTION if shown else Audience.SUPERVISORS


def _who(by: str | None) -> str:
    try:
        return f"cli:{by if by is not None else getpass.getuser()}"
    except (KeyError, OSError) as error:
        raise UsageError("nobody is logged in here by a name: say who does it with --by NAME") from error


def _one_of(kind: type[E], text: str, what: str) -> E:
    try:
        return kind(text.replace("-", "_"))
    except ValueError as error:
        raise UsageError(f"there is no {what} {text!r}; choose {', '.join(kind)}") from error


# How a case reads.


def _word(frame: Frame, sentence: Sentence) -> str:
    return frame.pick(zh=sentence.zh, en=sentence.en)


def _text(amount: Money | None) -> str:
    return "" if amount is None else amount.grouped


def _due(one: CaseShown) -> str:
    from escrow_monitor.domain.entitlement import Impossible

    quote = one.facts.quote
    return "" if quote is None else "?" if isinstance(quote, Impossible) else quote.refund.grouped


def _next(one: CaseShown) -> str:
    """The next deadline, or the one that passed first."""
    following = one.next_deadline
    if following is not None:
        return f"{following.kind.value} {following.last_day}"
    return "" if not one.running else f"{one.running[0].kind.value} {one.running[0].last_day} passed"


def _tell(frame: Frame, found: CaseHistory) -> None:
    from escrow_monitor.cli.refunds import tell_quote
    from escrow_monitor.domain.dispute_clocks import TITLES
    from escrow_monitor.domain.dispute_words import MOVES, ROLES, STATES
    from escrow_monitor.domain.entitlement import Impossible

    shown, case = found.shown, found.shown.case
    say(f"{case.case_no}  {case.uscc}  {case.contract_no}  {_word(frame, STATES[case.state])}")
    say(frame.pick(
        zh=f"  {case.claimed_on} 申请 {_text(case.claimed) or '应退部分'}；已同意 {case.agreed.grouped}，"
           f"已指令 {case.ordered.grouped}，银行已见 {case.paid.grouped}，争议冻结 {case.held.grouped}",
        en=f"  claimed on {case.claimed_on}: {_text(case.claimed) or 'what is due'}; agreed {case.agreed.grouped}, "
           f"ordered {case.ordered.grouped}, seen in the bank {case.paid.grouped}, held in dispute {case.held.grouped}",
    ))
    if shown.record.claim_note:
        say(f"  {shown.record.claim_note}")
    if case.proposal is not None:
        say(frame.pick(
            zh=f"  {case.proposal.by} 拟定裁定 {case.proposal.amount.grouped}，待另一人复核",
            en=f"  {case.proposal.by} proposed a ruling of {case.proposal.amount.grouped}; somebody else must confirm",
        ))
    for each in shown.running:
        passed = frame.pick(zh="（已过）", en=" (passed)") if each.passed(shown.on) else ""
        say(f"  {each.last_day}  {_word(frame, TITLES[each.kind])}{passed}")
    quote = shown.facts.quote
    if isinstance(quote, Impossible):
        warn(frame.pick(zh=quote.why_zh, en=quote.why_en))
    elif quote is not None:
        tell_quote(frame, quote)
    for made in found.moves:
        amount = "" if made.amount is None else f" {made.amount.grouped}"
        say(f"  {made.moved_at.astimezone(ZONE):%Y-%m-%d %H:%M}  {_word(frame, MOVES[made.move])}{amount} -> "
            f"{_word(frame, STATES[made.to_state])}  {_word(frame, ROLES[made.role])} {made.actor}: {made.reason}")
    for written in found.notes:
        say(f"  {written.noted_at.astimezone(ZONE):%Y-%m-%d %H:%M}  {_word(frame, ROLES[written.role])}"
            f" {written.actor}: {written.text}")
    for paper in found.evidence:
        say(f"  {paper.attached_at.astimezone(ZONE):%Y-%m-%d %H:%M}  {_word(frame, ROLES[paper.role])}"
            f" {paper.actor}: {paper.filename} {paper.size}"
            f" {paper.sha256} {paper.note}".rstrip())
    for saying in found.said_payments:
        say(f"  {saying.said_at.astimezone(ZONE):%Y-%m-%d %H:%M}  {_said(frame, saying)}")


def _said(frame: Frame, one: CaseSaidPayment) -> str:
    said = one.said
    return frame.pick(
        zh=f"{one.case_no}：机构自称 {said.paid_on} 已付 {said.amount.grouped}，流水号 {said.bank_ref}"
           f"（{one.actor}）；到账以银行流水为准",
        en=f"{one.case_no}: the institution says it paid {said.amount.grouped} on {said.paid_on}, reference "
           f"{said.bank_ref} ({one.actor}); it is paid once the bank shows it",
    )
