"""Commands for policies: what the packs say, where from, and the floor they give."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escrow_monitor.cli.frame import AsJson, Frame, frame_of, parse_day
from escrow_monitor.cli.output import print_json, print_table, say
from escrow_monitor.errors import UsageError

if TYPE_CHECKING:
    from escrow_monitor.domain.policy import Clause, PolicyBook, Terms
    from escrow_monitor.domain.requirement import RequiredPart

group = typer.Typer(no_args_is_help=True, help="The rules as data: what they say, where from, and the floor they give.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(group, name="policy")


@group.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """The packs that are loaded."""
    frame = frame_of(context)
    packs = list(_book(frame).packs.values())
    if as_json:
        print_json(
            [
                {
                    "id": pack.id,
                    "title": pack.title.zh,
                    "title_en": pack.title.en,
                    "jurisdiction": pack.jurisdiction,
                    "clauses": len(pack.clauses),
                    "verified": sum(clause.verified for clause in pack.clauses),
                }
                for pack in packs
            ]
        )
        return
    print_table(
        ("id", "jurisdiction", "title", "clauses", "verified"),
        [
            (
                pack.id,
                pack.jurisdiction,
                frame.pick(zh=pack.title.zh, en=pack.title.en),
                len(pack.clauses),
                sum(clause.verified for clause in pack.clauses),
            )
            for pack in packs
        ],
    )


@group.command()
def show(context: typer.Context, pack_id: str, as_json: AsJson = False) -> None:
    """One pack: every clause with its terms, dates and source."""
    frame = frame_of(context)
    pack = _book(frame).pack(pack_id)
    if as_json:
        print_json(
            {
                "id": pack.id,
                "title": pack.title.zh,
                "title_en": pack.title.en,
                "jurisdiction": pack.jurisdiction,
                "notes": list(pack.notes),
                "clauses": [clause_json(clause) for clause in pack.clauses],
            }
        )
        return
    say(f"{pack.id}  {frame.pick(zh=pack.title.zh, en=pack.title.en)}  {pack.jurisdiction}")
    for clause in pack.clauses:
        say(f"  {clause.id}  {clause.kind}  {clause.effective_from} .. {clause.effective_to or ''}")
        say(f"    {frame.pick(zh=clause.title.zh, en=clause.title.en)}")
        say(f"    {frame.pick(zh=clause.basis.zh, en=clause.basis.en)}")
        if clause.source.remark:
            say(f"    {clause.source.remark}")
    for note in pack.notes:
        say(f"  * {note}")


@group.command()
def check(context: typer.Context, file: Path, as_json: AsJson = False) -> None:
    """Read a pack as the program would, before it is put to use. Exit 2 with what is wrong and where."""
    from escrow_monitor.policies import load_pack

    frame = frame_of(context)
    if not file.is_file():
        raise UsageError(f"{file}: no such file")
    pack = load_pack(file)
    unverified = [clause.id for clause in pack.clauses if not clause.verified]
    if as_json:
        print_json({"id": pack.id, "clauses": len(pack.clauses), "not_verified": unverified})
        return
    say(
        frame.pick(
            zh=f"{file.name}:{len(pack.clauses)} 个条款,格式正确",
            en=f"{file.name}: {len(pack.clauses)} clauses, well formed",
        )
    )
    for clause_id in unverified:
        say(f"  {clause_id}: {frame.pick(zh='本地设置，来源未核实', en='local setting, source not verified')}")


@group.command()
def effective(
    context: typer.Context,
    uscc: Annotated[str, typer.Argument(help="The institution.")],
    on: Annotated[str | None, typer.Option(help="On this day; default today.")] = None,
    as_json: AsJson = False,
) -> None:
    """What holds for an institution on a day: the clauses in force, and the floor they give each account."""
    from escrow_monitor.actions.effective_floors import effective_floors
    from escrow_monitor.clock import ZONE
    from escrow_monitor.records.accounts import institution

    frame = frame_of(context)
    with frame.app() as app:
        day = parse_day(on) if on else app.clock.now().astimezone(ZONE).date()
        with app.database.read() as session:
            found = institution(session, uscc)
            if found is None:
                raise UsageError(f"institution {uscc} is not known: see institutions list")
            floors = [
                (one.account_no, one.policy, one.required) for one in effective_floors(
                    session, found, policies=app.policies, on=day, now=app.clock.now()
                )
            ]
    if as_json:
        documents = [
            {
                "account_no": account_no, "packs": list(policy.pack_ids),
                "floor": None if required.amount is None else required.amount.text, "complete": required.complete,
                "governing": None if required.governing is None else required.governing.id,
                "parts": [_part_json(part) for part in required.parts],
                "clauses": [clause_json(clause) for clause in policy.clauses],
            }
            for account_no, policy, required in floors
        ]
        print_json({"uscc": uscc, "name": found.name, "on": day.isoformat(), "accounts": documents})
        return
    say(f"{uscc}  {found.name}  {day}")
    if not floors:
        say(frame.pick(zh="  没有账户", en="  no account"))
    for account_no, _, required in floors:
        at_least = "" if required.complete else frame.pick(zh="至少 ", en="at least ")
        amount = frame.pick(zh="未知", en="unknown") if required.amount is None else str(required.amount)
        say(f"  {account_no}  {frame.pick(zh='最低余额', en='floor')} {at_least}{amount}")
        for part in required.parts:
            basis = frame.pick(zh=part.clause.basis.zh, en=part.clause.basis.en)
            say(f"    {part.clause.id}: {frame.pick(zh=part.why_zh, en=part.why_en)} ({basis})")


def _part_json(part: RequiredPart) -> dict[str, object]:
    return {
        "clause": part.clause.id, "amount": None if part.amount is None else part.amount.text,
        "complete": part.complete, "verified": part.clause.verified, "why": part.why_zh, "why_en": part.why_en,
        "basis": part.clause.basis.zh, "basis_en": part.clause.basis.en,
    }


def clause_json(clause: Clause[Terms]) -> dict[str, object]:
    """A clause as JSON, its source and whether anybody verified it."""
    source = clause.source
    return {
        "id": clause.id,
        "kind": clause.kind.value,
        "title": clause.title.zh,
        "title_en": clause.title.en,
        "jurisdiction": clause.jurisdiction,
        "effective_from": clause.effective_from.isoformat(),
        "effective_to": None if clause.effective_to is None else clause.effective_to.isoformat(),
        "verified": clause.verified,
        "basis": clause.basis.zh,
        "basis_en": clause.basis.en,
        "source": {
            "title": source.title,
            "document_no": source.document_no,
            "article": source.article,
            "url": source.url,
            "found": source.found.value,
            "remark": source.remark,
        },
    }


def _book(frame: Frame) -> PolicyBook:
    from escrow_monitor.wiring import policies_of

    return policies_of(frame.settings)
