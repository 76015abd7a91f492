"""Commands that say what is due back under contracts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escrow_monitor.cli.frame import AsJson, Frame, frame_of, parse_day
from escrow_monitor.cli.output import print_json, print_json_line, say, warn
from escrow_monitor.cli.progress import progress
from escrow_monitor.errors import UsageError

if TYPE_CHECKING:
    from datetime import date

    from escrow_monitor.actions.quote_refund import Quoted
    from escrow_monitor.domain.contracts import Cause
    from escrow_monitor.domain.refund_quote import Quote
    from escrow_monitor.domain.refund_words import Why
    from escrow_monitor.wiring import App

refunds_group = typer.Typer(no_args_is_help=True, help="What is due back under contracts, and why.")

On = Annotated[str | None, typer.Option("--on", help="The day of the claim, YYYY-MM-DD; default today.")]
CauseOption = Annotated[str | None, typer.Option(
    "--cause", help="Why it is claimed: consumer (default), institution, force_majeure or window."
)]
Claim = Annotated[str | None, typer.Option(
    "--claim", help="For this claim: by its day and its cause, as it stands on the day given."
)]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(refunds_group, name="refunds")


@refunds_group.command()
def quote(
    context: typer.Context,
    contract_no: Annotated[str | None, typer.Argument(help="The contract.")] = None,
    on: On = None,
    cause: CauseOption = None,
    claim: Claim = None,
    all_: Annotated[bool, typer.Option("--all", help="Every contract, one JSON object a line.")] = False,
    institution: Annotated[str | None, typer.Option(help="With --all: only of this institution (USCC).")] = None,
    as_json: AsJson = False,
) -> None:
    """What contract and law say is due, with every line of the sum. Exit 1 where records cannot be right."""
    frame = frame_of(context)
    if all_ == (contract_no is not None) or (all_ and claim is not None) or (institution is not None and not all_):
        raise UsageError("give one contract, with --claim if you like, or --all, with --institution if you like")
    with frame.app() as app:
        if all_:
            raise typer.Exit(_stream(app, on=_day(app, on), cause=_cause(cause), institution=institution))
        found = _quoted(app, contract_no or "", on, cause, claim)
    _print(frame, found, as_json=as_json)


@refunds_group.command()
def statement(
    context: typer.Context,
    contract_no: str,
    out: Annotated[Path, typer.Option(help="The file to write: HTML, or PDF with --pdf or a name that ends so.")],
    on: On = None,
    cause: CauseOption = None,
    claim: Claim = None,
    lang: Annotated[str | None, typer.Option(help="zh or en; default that of the command.")] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Print it to PDF with the browser of this machine.")] = False,
    browser: Annotated[Path | None, typer.Option(help="The browser that prints; default Chromium or Chrome.")] = None,
) -> None:
    """The statement to print and sign: A4, in Chinese or English, every line with the text it rests on."""
    from escrow_monitor.actions.quote_refund import must_be_possible
    from escrow_monitor.clock import ZONE
    from escrow_monitor.domain.refund_statement import Language
    from escrow_monitor.web.statement import Heading, statement_page

    frame = frame_of(context)
    if lang not in (None, "zh", "en"):
        raise UsageError(f"there is no statement in {lang!r}; choose zh or en")
    with frame.app() as app:
        found = _quoted(app, contract_no, on, cause, claim)
        today = app.clock.now().astimezone(ZONE).date()
    contract, holder = found.ledger.contract, found.institution
    page = statement_page(
        must_be_possible(found), Language(lang or frame.language), written_on=today, heading=Heading(
            institution=holder.name if holder is not None else contract.uscc, uscc=contract.uscc,
            course=contract.course, student_ref=contract.student_ref, claim_no=claim,
        ),
    )
    if pdf or out.suffix.lower() == ".pdf":
        from escrow_monitor.cli.printing import print_pdf

        print_pdf(page, out, browser=browser)
    else:
        out.write_text(page, "utf-8")
    say(str(out))


def tell_quote(frame: Frame, found: Quote) -> None:
    """A quote as a person would write the sum."""
    from escrow_monitor.domain import refund_words as words

    def because(why: Why) -> str:
        return frame.pick(zh=why.zh, en=why.en)

    ground = words.GROUNDS[found.ground]
    say(frame.pick(
        zh=f"{found.contract_no}  {found.claimed_on} 提出，计算至 {found.on}：应退 {found.refund.grouped}"
           f" {found.currency}，依据：{ground.zh}",
        en=f"{found.contract_no}  claimed on {found.claimed_on}, computed for {found.on}: refund "
           f"{found.refund.grouped} {found.currency}, ground: {ground.en}",
    ))
    say(f"  {because(found.why)}")
    width = max(len(line.amount.grouped) for line in (*found.lines, *found.penalty_lines, found.lines[0]))
    width = max(width, len(found.refund.grouped))
    for line in found.lines:
        say(f"  {line.amount.grouped:>{width}}  {_title(frame, line.label)}: {because(line.why)}")
    say(f"  {found.refund.grouped:>{width}}  {frame.pick(zh='应退', en='refund')}")
    for line in found.penalty_lines:
        say(f"  {line.amount.grouped:>{width}}  {frame.pick(zh='另计', en='beside it')} {_title(frame, line.label)}: "
            f"{because(line.why)}")
    due = frame.pick(zh="未知", en="not known") if found.due_on is None else found.due_on
    say(f"  {frame.pick(zh='应退清日', en='due by')} {due}: {because(found.due_why)}")
    for each in found.alternatives:
        title = words.GROUNDS[each.ground]
        penalty = f" + {each.penalty.grouped}" if each.penalty.minor_units else ""
        say(f"  {frame.pick(zh='未采用', en='not applied')} {frame.pick(zh=title.zh, en=title.en)} "
            f"{each.refund.grouped}{penalty}: {because(each.why)}")


def _print(frame: Frame, found: Quoted, *, as_json: bool) -> None:
    from escrow_monitor.domain.entitlement import Impossible

    result = found.quote
    if as_json:
        print_json(result.as_json())
    elif isinstance(result, Impossible):
        warn(f"{result.contract_no}: {frame.pick(zh=result.why_zh, en=result.why_en)}")
    else:
        tell_quote(frame, result)
    if isinstance(result, Impossible):
        raise typer.Exit(1)


def _stream(app: App, *, on: date, cause: Cause, institution: str | None) -> int:
    """Every quote on a line of its own; 1 where some contract's records cannot be right."""
    from escrow_monitor.actions.quote_refund import quote_refunds
    from escrow_monitor.domain.entitlement import Impossible

    impossible = 0
    with progress("refunds quote") as hear:
        for found in quote_refunds(app.database, app.policies, on=on, cause=cause, uscc=institution, progress=hear):
            impossible += isinstance(found, Impossible)
            print_json_line(found.as_json())
    return 1 if impossible else 0


def _quoted(app: App, contract_no: str, on: str | None, cause: str | None, claim: str | None) -> Quoted:
    from escrow_monitor.actions.quote_refund import quote_refund

    return quote_refund(
        app.database, app.policies, contract_no=contract_no, on=_day(app, on), claim_no=claim,
        cause=None if cause is None else _cause(cause),
    )


def _day(app: App, text: str | None) -> date:
    from escrow_monitor.clock import ZONE

    return app.clock.now().astimezone(ZONE).date() if text is None else parse_day(text)


def _cause(text: str | None) -> Cause:
    from escrow_monitor.domain.contracts import Cause

    try:
        return Cause.CONSUMER if text is None else Cause(text.replace("-", "_"))
    except ValueError as error:
        raise UsageError(f"there is no cause {text!r}; choose {', '.join(Cause)}") from error


def _title(frame: Frame, label: object) -> str:
    from escrow_monitor.domain.refund_words import TITLES, Label

    title = TITLES[Label(str(label))]
    return frame.pick(zh=title.zh, en=title.en)
