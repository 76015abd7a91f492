"""Commands for contracts: what was agreed, paid and taught, and what it comes to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from escrow_monitor.cli.frame import AsJson, Frame, frame_of
from escrow_monitor.cli.output import print_json, print_table, say, warn
from escrow_monitor.errors import UsageError

if TYPE_CHECKING:
    from escrow_monitor.domain.contracts import Charge, Contract, Lesson, Refund, RefundClaim
    from escrow_monitor.domain.money import Money
    from escrow_monitor.records.contracts.sums import ContractSums

contracts_group = typer.Typer(no_args_is_help=True, help="Contracts with families and what they come to.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(contracts_group, name="contracts")


@contracts_group.command("list")
def list_contracts(
    context: typer.Context,
    institution: Annotated[str | None, typer.Option(help="Only of this institution (USCC).")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most so many.")] = 1_000,
    as_json: AsJson = False,
) -> None:
    """Contracts with what was paid, earned and given back, and what is still owed to the family."""
    from escrow_monitor.records.contracts.contracts import contracts
    from escrow_monitor.records.contracts.sums import contract_sums

    with frame_of(context).app() as app, app.database.read() as session:
        found = contracts(session, uscc=institution, limit=limit)
        sums = contract_sums(session, contract_nos=[one.contract_no for one in found])
    if as_json:
        print_json([_json(one, sums[one.contract_no]) for one in found])
        return
    print_table(
        ("contract", "institution", "student", "course", "signed", "fee", "paid", "earned", "refunded", "owed"),
        [
            (
                one.contract_no, one.uscc, one.student_ref, one.course, one.signed_on, one.fee.grouped,
                each.paid.grouped, each.entitled.grouped, each.refunded.grouped, _owed(each),
            )
            for one in found for each in (sums[one.contract_no],)
        ],
    )


@contracts_group.command("show")
def show_contract(context: typer.Context, contract_no: str, as_json: AsJson = False) -> None:
    """One contract: its terms, what was paid, taught, claimed and given back, and what it comes to."""
    from escrow_monitor.records.contracts.charges import charges
    from escrow_monitor.records.contracts.contracts import contract
    from escrow_monitor.records.contracts.lessons import lessons
    from escrow_monitor.records.contracts.refund_claims import refund_claims
    from escrow_monitor.records.contracts.refunds import refunds
    from escrow_monitor.records.contracts.sums import contract_sums

    frame = frame_of(context)
    with frame.app() as app, app.database.read() as session:
        one = contract(session, contract_no)
        if one is None:
            raise UsageError(f"contract {contract_no} is not known: see contracts list")
        sums = contract_sums(session, contract_nos=[contract_no])[contract_no]
        paid, taught = charges(session, [contract_no]), lessons(session, [contract_no])
        claims, gone = refund_claims(session, contract_nos=[contract_no]), refunds(session, [contract_no])
    if as_json:
        print_json({
            **_json(one, sums),
            "charges": [_charge_json(each) for each in paid],
            "lessons": [_lesson_json(each) for each in taught],
            "refund_claims": [_claim_json(each) for each in claims],
            "refunds": [_refund_json(each) for each in gone],
        })
        return
    _say_terms(frame, one)
    _say_sums(frame, sums)
    for each in paid:
        say(f"  {each.paid_on}  {frame.pick(zh='缴费', en='paid')} {each.amount.grouped}  {each.charge_no}"
            f"  {each.channel or ''}")
    for claim in claims:
        asked = frame.pick(zh="应退部分", en="what is due") if claim.amount is None else claim.amount.grouped
        say(f"  {claim.claimed_on}  {frame.pick(zh='申请退费', en='claimed back')} {asked}  {claim.claim_no}"
            f"  {claim.cause}")
    for refund in gone:
        say(f"  {refund.paid_on}  {frame.pick(zh='已退', en='given back')} {refund.amount.grouped}")
    print_table(
        ("lesson", "taught", "status", "requested", "decided"),
        [(each.session_no, each.taught_on, each.status.value, each.requested_on, each.decided_on) for each in taught],
    )


@contracts_group.command("recompute")
def recompute_contracts(context: typer.Context, as_json: AsJson = False) -> None:
    """Make all sums over contracts anew from every charge, lesson and refund, and compare them with those kept up.

    They must be the same: where they are not, those made anew are kept, the accounts are due for a check, and it exits
    with 1, because something is wrong with the program or somebody else has written into the database.
    """
    from escrow_monitor.actions.recompute_sums import recompute_sums
    from escrow_monitor.cli.progress import progress

    frame = frame_of(context)
    with frame.app() as app, progress("contracts recompute") as hear:
        done = recompute_sums(app.database, actor="cli", now=app.clock.now(), progress=hear)
    if as_json:
        print_json(done.as_json())
    elif done.on is None:
        say(frame.pick(zh="没有合同", en="no contract is recorded"))
    else:
        say(frame.pick(
            zh=f"截至 {done.on}，{done.contracts} 份合同的合计已全部重算" + ("" if done.differs else "，与原合计一致"),
            en=f"all sums over {done.contracts} contracts made anew as of {done.on}"
            + ("" if done.differs else ": the same as were kept"),
        ))
    for one in done.differs:
        warn(frame.pick(
            zh=f"{one.table} 有 {one.rows} 行与重算结果不同，如 {one.example}；已改为重算结果，请查明原因",
            en=f"{one.table}: {one.rows} rows were not as made anew, e.g. of {one.example}; those made anew are kept, "
            "find out why",
        ))
    raise typer.Exit(1 if done.differs else 0)


def _say_terms(frame: Frame, one: Contract) -> None:
    gift = "" if not one.lessons_gift else f" + {one.lessons_gift}"
    agreed = one.gift_policy.value if one.gift_policy else frame.pick(zh="未约定", en="not agreed")
    say(f"{one.contract_no}  {one.uscc}  {one.course}  {one.student_ref}")
    say(frame.pick(
        zh=f"  签订 {one.signed_on}，{one.starts_on or '?'} 至 {one.ends_on or '?'}",
        en=f"  signed {one.signed_on}, from {one.starts_on or '?'} to {one.ends_on or '?'}",
    ))
    say(frame.pick(
        zh=f"  课程费用 {one.fee.grouped}，课时 {one.lessons_paid}{gift}" + (f"（赠课：{agreed}）" if gift else ""),
        en=f"  fee {one.fee.grouped} for {one.lessons_paid}{gift} lessons" + (f" (gifts: {agreed})" if gift else ""),
    ))


def _say_sums(frame: Frame, sums: ContractSums) -> None:
    taught = sums.taught
    say(frame.pick(
        zh=f"  截至 {sums.on}：已缴 {sums.paid.grouped}，已确认 {taught.confirmed} 课时，"
           f"机构应得 {sums.entitled.grouped}，争议 {taught.disputed} 课时 {sums.disputed.grouped}，"
           f"已退 {sums.refunded.grouped}，"
           f"尚欠家庭 {_owed(sums)}",
        en=f"  by {sums.on}: paid {sums.paid.grouped}, {taught.confirmed} lessons confirmed, earned "
           f"{sums.entitled.grouped}, {taught.disputed} in dispute {sums.disputed.grouped}, given back "
           f"{sums.refunded.grouped}, owed to the family {_owed(sums)}",
    ))
    if taught.pending or taught.unknown:
        say(frame.pick(
            zh=f"  待确认 {taught.pending} 课时，记录不全 {taught.unknown} 课时，均不计入",
            en=f"  {taught.pending} lessons not answered and {taught.unknown} not fully recorded, which do not count",
        ))


def _owed(sums: ContractSums) -> str:
    return "?" if sums.obligation is None else sums.obligation.grouped


def _json(one: Contract, sums: ContractSums) -> dict[str, object]:
    return {
        "contract_no": one.contract_no, "uscc": one.uscc, "student_ref": one.student_ref, "course": one.course,
        "subject_kind": one.subject_kind, "signed_on": one.signed_on, "starts_on": one.starts_on,
        "ends_on": one.ends_on, "lessons_paid": one.lessons_paid, "lessons_gift": one.lessons_gift,
        "gift_policy": one.gift_policy, "currency": one.fee.currency, "fee": one.fee.text,
        "materials_fee": _text(one.materials_fee), "materials_delivered": one.materials_delivered,
        "full_refund_days_before": one.full_refund_days_before, "full_refund_days_after": one.full_refund_days_after,
        "full_refund_lessons": one.full_refund_lessons, "prior_same_service": one.prior_same_service,
        "refund_deadline_days": one.refund_deadline_days, "refund_deadline_unit": one.refund_deadline_unit,
        "late_daily_rate": one.late_daily_rate, "penalty_pct_remaining": one.penalty_pct_remaining,
        "template_id": one.template_id, "status": one.status,
        "sums": {
            "on": sums.on, "paid": sums.paid.text, "entitled": sums.entitled.text, "disputed": sums.disputed.text,
            "refunded": sums.refunded.text, "obligation": _text(sums.obligation),
            "lessons": {"confirmed": sums.taught.confirmed, "disputed": sums.taught.disputed,
                        "pending": sums.taught.pending, "unknown": sums.taught.unknown},
        },
    }


def _text(amount: Money | None) -> str | None:
    return None if amount is None else amount.text


def _charge_json(one: Charge) -> dict[str, object]:
    return {
        "charge_no": one.charge_no, "paid_on": one.paid_on, "amount": one.amount.text, "channel": one.channel,
        "account_no": one.account_no, "bank_ref": one.bank_ref,
    }


def _lesson_json(one: Lesson) -> dict[str, object]:
    return {
        "session_no": one.session_no, "status": one.status.value, "taught_on": one.taught_on,
        "requested_on": one.requested_on, "decided_on": one.decided_on,
    }


def _claim_json(one: RefundClaim) -> dict[str, object]:
    return {
        "claim_no": one.claim_no, "claimed_on": one.claimed_on, "amount": _text(one.amount), "cause": one.cause.value,
        "note": one.note,
    }


def _refund_json(one: Refund) -> dict[str, object]:
    return {"paid_on": one.paid_on, "amount": one.amount.text, "claim_no": one.claim_no}
