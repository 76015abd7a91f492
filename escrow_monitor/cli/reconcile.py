"""Commands for reconciliations: the bridge from what families are owed to what is in the bank, and its matches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from escrow_monitor.cli.frame import AsJson, Frame, frame_of, parse_day
from escrow_monitor.cli.output import print_json, print_table, say
from escrow_monitor.cli.progress import progress
from escrow_monitor.errors import UsageError

if TYPE_CHECKING:
    from escrow_monitor.records.database import Session
    from escrow_monitor.records.matching.decisions import StoredMatch
    from escrow_monitor.records.reconciliation.reconciliations import StoredReconciliation
    from escrow_monitor.wiring import App

By = Annotated[str | None, typer.Option(help="Who decides; default the login of this machine.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept with the decision.")]
BRIDGES_MAX = 3
"""More institutions than this are a table."""
EVIDENCE_SHOWN = 3

matches = typer.Typer(no_args_is_help=True, help="Bank lines held against charges and refunds, and what is open.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("reconcile")(reconcile)
    app.add_typer(matches, name="matches")


def reconcile(
    context: typer.Context,
    institution: Annotated[str | None, typer.Option(help="Only this institution (USCC).")] = None,
    contract: Annotated[str | None, typer.Option(help="Its institution, and its own part.")] = None,
    day: Annotated[str | None, typer.Option(help="At the end of this day; nobody is alerted.")] = None,
    full: Annotated[bool, typer.Option(help="Every institution, with all sums made anew.")] = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Explain what families are owed against what is in the bank, line by line.

    Without --institution all of which something is new are done, and the newest of all is shown. Exit 1 when anything
    is not complete or not as it should be.
    """
    from escrow_monitor.actions.reconcile import Wanted, ask_reconciliation
    from escrow_monitor.records.reconciliation.reconciliations import asked, by_numbers

    frame = frame_of(context)
    with frame.app() as app:
        uscc = _institution_of(app, institution, contract)
        with app.database.write() as session:
            request = ask_reconciliation(
                session, Wanted(uscc=uscc, day=None if day is None else parse_day(day), whole=full),
                actor=by or _login(), now=app.clock.now(),
            )
        with progress("reconcile") as hear:
            app.reconcile_asked(request.request_id, progress=hear)
        with app.database.read() as session:
            done = asked(session, request.request_id)
            numbers = list((done.found or {}).get("reconciliations", ())) if done is not None else []
            found = _all_newest(session) if uscc is None and day is None else by_numbers(session, numbers)
            part = None if contract is None else _contract_part(app, contract)
    if as_json:
        print_json({
            "request_id": request.request_id, "reconciliations": [_json(one) for one in found],
            **({} if part is None else {"contract": part}),
        })
    else:
        _print(frame, found)
        if part is not None:
            _say_contract(frame, part)
    raise typer.Exit(1 if any(one.document["is_wrong"] for one in found) else 0)


@matches.command("list")
def list_matches(
    context: typer.Context,
    institution: Annotated[str, typer.Option(help="Of this institution (USCC).")],
    made: Annotated[bool, typer.Option(help="What is matched, instead of what is open.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 1_000,
    as_json: AsJson = False,
) -> None:
    """What is open, each item with its break id and what it might belong to; or what is matched, by what evidence."""
    from escrow_monitor.records.matching.decisions import matches_of, open_breaks, proposals_for

    with frame_of(context).app() as app, app.database.read() as session:
        if made:
            stored = matches_of(session, institution, limit=limit)
        else:
            breaks = open_breaks(session, institution, limit=limit)
            proposed = proposals_for(session, institution)
    if made:
        _print_made(stored, as_json=as_json)
        return
    likely: dict[str, list[str]] = {}
    for proposal in proposed:
        likely.setdefault(proposal.line_id, []).append(proposal.expected_id)
        likely.setdefault(proposal.expected_id, []).append(proposal.line_id)
    rows = [
        (
            one.break_id, one.kind.value, one.on, _yuan(one.impact_fen), one.item_id,
            likely.get(one.item_id, list(one.near)),
        )
        for one in breaks
    ]
    if as_json:
        names = ("break_id", "kind", "on", "impact", "item", "near")
        print_json([dict(zip(names, row, strict=True)) for row in rows])
    else:
        print_table(
            ("break", "kind", "day", "impact", "item", "perhaps"),
            [(*row[:5], ", ".join(row[5][:EVIDENCE_SHOWN])) for row in rows],
        )


@matches.command("make")
def make(
    context: typer.Context,
    line: Annotated[list[str], typer.Option(help="A bank line, as matches list names it; may be repeated.")],
    item: Annotated[list[str], typer.Option(help="A charge (charge:NO) or expected refund; may be repeated.")],
    reason: Reason,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Match these by hand. The reason also has to explain a difference of amount."""
    from escrow_monitor.actions.reconcile import make_match

    frame = frame_of(context)
    with frame.app() as app, app.database.write() as session:
        made = make_match(session, line, item, by=by or _login(), reason=reason, now=app.clock.now())
    if as_json:
        print_json({"match_id": made.match_id, "residual": _yuan(made.residual_fen)})
    else:
        say(frame.pick(
            zh=f"已匹配 {made.match_id}，差额 {_yuan(made.residual_fen)}",
            en=f"matched {made.match_id}, a difference of {_yuan(made.residual_fen)}",
        ))


@matches.command("undo")
def undo(context: typer.Context, item: str, reason: Reason, by: By = None, as_json: AsJson = False) -> None:
    """Take apart the match that this bank line or charge is in; it is not made again by itself."""
    from escrow_monitor.actions.reconcile import undo_match

    frame = frame_of(context)
    with frame.app() as app, app.database.write() as session:
        undone = undo_match(session, item, by=by or _login(), reason=reason, now=app.clock.now())
    if as_json:
        print_json({
            "match_id": undone.match_id, "lines": list(undone.line_ids), "items": list(undone.expected_ids)
        })
    else:
        say(frame.pick(zh=f"已撤销匹配 {undone.match_id}", en=f"took the match {undone.match_id} apart"))


def _all_newest(session: Session) -> list[StoredReconciliation]:
    from escrow_monitor.records.reconciliation.reconciliations import newest

    found: list[StoredReconciliation] = []
    while page := newest(session, after=(found[-1].uscc, found[-1].currency) if found else ("", "")):
        found += page
    return found


# how it looks


def _print(frame: Frame, found: Sequence[StoredReconciliation]) -> None:
    if not found:
        say(frame.pick(zh="没有可对账的机构：请先导入机构、账户和合同",
                       en="there is nothing to reconcile: import institutions, accounts and contracts first"))
    elif len(found) <= BRIDGES_MAX:
        for one in found:
            _say_bridge(frame, one.document)
    else:
        print_table(
            ("institution", "currency", "day", "required", "bank", "net", "residual", "complete", "wrong"),
            [
                (
                    one.uscc, one.currency, one.day, one.document["required"], one.document["bank"],
                    one.document["net"], one.document["residual"], "yes" if one.complete else "no",
                    "yes" if one.document["is_wrong"] else "",
                )
                for one in found
            ],
        )


def _say_bridge(frame: Frame, run: Mapping[str, Any]) -> None:
    began = run["began_on"] or "-"
    say(frame.pick(
        zh=f"{run['uscc']} {run['currency']} 截至 {run['day']} 日终（流水自 {began} 起）",
        en=f"{run['uscc']} {run['currency']} at the end of {run['day']} (statements from {began})",
    ))
    say(_amount(run["required"]) + frame.pick(zh="应有：尚欠家庭的金额", en="required: what families are owed"))
    for line in run["lines"]:
        say(_amount(line["impact"], signed=True) + line[frame.language] + _of(frame, line))
        shown = line["evidence"][:EVIDENCE_SHOWN] if line["label"] not in _QUIET else ()
        if shown:
            more = frame.pick(zh=" 等", en=" ...") if line["count"] > len(shown) else ""
            say(" " * (_WIDTH + 4) + "  ".join(shown) + more)
    say(_amount(run["bank"]) + frame.pick(
        zh=f"实有：银行日终余额（按流水推算 {_grouped(run['own'])}）",
        en=f"in the bank at the end of the day (by our roll-forward {_grouped(run['own'])})",
    ))
    say(_amount(run["net"], signed=True) + frame.pick(
        zh=f"差额；未能解释 {_grouped(run['residual'])}",
        en=f"net; left unexplained {_grouped(run['residual'])}",
    ))
    idle = run["releases_without_lessons"]
    if idle["days"]:
        days, amount, last_on = idle["days"], _grouped(idle["amount"]), idle["last_on"]
        say(frame.pick(
            zh=f"  注意：{days} 天的划出共 {amount}，距上次划出没有新确认的课时，最近 {last_on}",
            en=f"  note: on {days} days {amount} was drawn with no lesson confirmed since the time before, last on "
               f"{last_on}",
        ))
    for reason in run["incomplete"]:
        say(frame.pick(zh="  不完整：", en="  INCOMPLETE: ") + reason[frame.language])
    say("")


_WIDTH = 18
_QUIET = frozenset({"opening", "own_transfers", "reversals", "interest", "fees", "paid_in"})


def _of(frame: Frame, line: Mapping[str, Any]) -> str:
    if line["label"] == "opening" or not line["count"]:
        return ""
    if line["oldest_on"] is None:
        return frame.pick(zh=f"（{line['count']} 项）", en=f" ({line['count']})")
    return frame.pick(
        zh=f"（{line['count']} 项，最早 {line['oldest_on']}）", en=f" ({line['count']}, oldest {line['oldest_on']})"
    )


def _amount(text: str, *, signed: bool = False) -> str:
    grouped = _grouped(text)
    return f"{'+' + grouped if signed and not grouped.startswith('-') else grouped:>{_WIDTH}}  "


def _grouped(text: str) -> str:
    whole, dot, part = text.partition(".")
    return f"{int(whole):,}{dot}{part}" if whole != "-0" else text


def _yuan(fen: int) -> str:
    return f"{'-' if fen < 0 else ''}{abs(fen) // 100:,}.{abs(fen) % 100:02d}"


def _json(one: StoredReconciliation) -> dict[str, Any]:
    return {
        "recon_no": one.recon_no, **one.document, "actor": one.actor, "recorded_at": one.recorded_at.isoformat(),
        "confirmed_at": one.confirmed_at.isoformat(),
    }


def _print_made(stored: Sequence[StoredMatch], *, as_json: bool) -> None:
    if as_json:
        print_json([
            {
                "match_id": one.match.match_id, "tier": one.match.tier.value, "lines": list(one.match.line_ids),
                "items": list(one.match.expected_ids), "residual": _yuan(one.match.residual_fen),
                "basis": one.match.basis, "made_at": one.made_at.isoformat(), "made_by": one.made_by,
            }
            for one in stored
        ])
        return
    print_table(("match", "by", "lines", "items", "residual", "who"), [
        (
            one.match.match_id, one.match.tier.value, ", ".join(one.match.line_ids), ", ".join(one.match.expected_ids),
            _yuan(one.match.residual_fen), one.made_by,
        )
        for one in stored
    ])


# one contract


def _institution_of(app: App, institution: str | None, contract_no: str | None) -> str | None:
    from escrow_monitor.records.contracts.contracts import contract

    if contract_no is None:
        return institution
    with app.database.read() as session:
        found = contract(session, contract_no)
    if found is None:
        raise UsageError(f"contract {contract_no} is not known: see contracts list")
    if institution not in (None, found.uscc):
        raise UsageError(f"contract {contract_no} is of {found.uscc}, not of {institution}")
    return found.uscc


def _contract_part(app: App, contract_no: str) -> dict[str, Any]:
    """What was paid under a contract and by what line of the bank each charge was seen, and what is owed."""
    from escrow_monitor.records.contracts.charges import charges
    from escrow_monitor.records.contracts.refunds import refunds
    from escrow_monitor.records.contracts.sums import contract_sums
    from escrow_monitor.records.matching.decisions import match_of
    from escrow_monitor.records.matching.sources import CHARGE_ID

    with app.database.read() as session:
        sums = contract_sums(session, contract_nos=[contract_no])[contract_no]
        seen = [
            (one, match_of(session, expected_id=f"{CHARGE_ID}{one.charge_no}"))
            for one in charges(session, [contract_no])
        ]
        gone = refunds(session, [contract_no])
    return {
        "contract_no": contract_no, "on": sums.on, "paid": sums.paid.text, "entitled": sums.entitled.text,
        "refunded": sums.refunded.text, "owed": None if sums.obligation is None else sums.obligation.text,
        "charges": [
            {
                "charge_no": one.charge_no, "paid_on": one.paid_on, "amount": one.amount.text,
                "seen": [] if match is None else [line.line_id for line in match.lines],
                "by": None if match is None else match.match.tier.value,
            }
            for one, match in seen
        ],
        "refunds": [{"paid_on": one.paid_on, "amount": one.amount.text} for one in gone],
    }


def _say_contract(frame: Frame, part: Mapping[str, Any]) -> None:
    owed = "?" if part["owed"] is None else _grouped(part["owed"])
    say(frame.pick(
        zh=f"合同 {part['contract_no']} 截至 {part['on']}：已缴 {_grouped(part['paid'])}，应得 "
           f"{_grouped(part['entitled'])}，已退 {_grouped(part['refunded'])}，尚欠家庭 {owed}",
        en=f"contract {part['contract_no']} by {part['on']}: paid {_grouped(part['paid'])}, earned "
           f"{_grouped(part['entitled'])}, refunded {_grouped(part['refunded'])}, owed to the family {owed}",
    ))
    for one in part["charges"]:
        seen = ", ".join(one["seen"]) or frame.pick(zh="未见入账", en="not seen in the bank")
        say(f"{_amount(one['amount'])}{one['paid_on']} {one['charge_no']}: {seen}")
    for one in part["refunds"]:
        say(_amount(f"-{one['amount']}") + str(one["paid_on"]) + frame.pick(zh=" 退费", en=" refunded"))


def _login() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise UsageError("this machine has no login for us: say who it is with --by") from error
