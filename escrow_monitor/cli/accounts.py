"""Commands for accounts and institutions and how they stand."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from escrow_monitor.cli import words
from escrow_monitor.cli.frame import AsJson, Frame, frame_of, parse_day
from escrow_monitor.cli.output import print_json, print_table, say
from escrow_monitor.cli.statements import correction_json, correction_line
from escrow_monitor.clock import ZONE
from escrow_monitor.errors import UsageError

if TYPE_CHECKING:
    from escrow_monitor.domain.accounts import Balance
    from escrow_monitor.records.positions import CheckedAccount
    from escrow_monitor.wiring import App

accounts_group = typer.Typer(no_args_is_help=True, help="Supervised accounts and how they stand.")
institutions_group = typer.Typer(no_args_is_help=True, help="Training institutions and how they stand.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(accounts_group, name="accounts")
    app.add_typer(institutions_group, name="institutions")


@accounts_group.command("list")
def list_accounts(
    context: typer.Context,
    standing: Annotated[str | None, typer.Option(help="met, breached or unknown")] = None,
    bank: Annotated[str | None, typer.Option()] = None,
    as_json: AsJson = False,
) -> None:
    """Every account with its balance, its floor and how it stands. Exit 1 when any is not met."""
    from escrow_monitor.domain.findings import Standing
    from escrow_monitor.records.positions import checked_accounts

    frame = frame_of(context)
    if standing is not None and standing not in set(Standing):
        raise UsageError(f"there is no standing {standing!r}; choose {', '.join(Standing)}")
    with frame.app() as app, app.database.read() as session:
        found = checked_accounts(
            session, standing=None if standing is None else Standing(standing), bank=bank, limit=None
        )
    if as_json:
        print_json([account_json(one) for one in found])
    else:
        print_table(
            ("account", "bank", "institution", "balance CNY", "floor CNY", "coverage", "standing", "level"),
            [_row(one) for one in found],
        )
    raise typer.Exit(1 if any(one.standing.standing != "met" for one in found) else 0)


@accounts_group.command("show")
def show_account(context: typer.Context, account_no: str, as_json: AsJson = False) -> None:
    """One account: balances, floor clause by clause, every rule's sentence, covered days."""
    from escrow_monitor.records.bank.coverage import coverage
    from escrow_monitor.records.positions import checked_accounts

    frame = frame_of(context)
    with frame.app() as app:
        with app.database.read() as session:
            found = checked_accounts(session, account_nos=[account_no])
            covered = coverage(session, account_no)
        if not found:
            raise UsageError(f"account {account_no} is not known: see accounts list")
        findings = _findings_now(app, account_no)
    one = found[0]
    if as_json:
        document = account_json(one)
        document["findings"] = findings
        document["balances"] = {
            name: _balance_json(balance) for name, balance in (
                ("booked", one.booked), ("closing", one.closing), ("held", one.held), ("available", one.available)
            )
        }
        document["covered_from"], document["covered_to"] = covered[0].covered_from, covered[0].covered_to
        document["missing_days"] = [day.isoformat() for day in covered[0].gaps]
        document["corrections"] = [correction_json(each) for each in covered[0].corrections]
        print_json(document)
        return
    name = one.institution.name if one.institution else frame.pick(zh="未登记机构", en="institution not registered")
    say(f"{account_no}  {one.account.bank}  {name}")
    for zh, en, balance in (
        ("记账余额", "booked ", one.booked), ("日终余额", "closing", one.closing), ("冻结金额", "held   ", one.held),
        ("可用余额", "avail. ", one.available),
    ):
        say(f"  {frame.pick(zh=zh, en=en)}  {_balance(frame, balance)}")
    span, gaps = f"{covered[0].covered_from} .. {covered[0].covered_to}", covered[0].gap_count
    say(frame.pick(zh=f"  对账单    {span}，缺 {gaps} 天", en=f"  days     {span}, {gaps} missing"))
    for correction in covered[0].corrections:
        say("  " + correction_line(frame, correction, currency=one.account.currency))
    if one.last_refusal is not None:
        refused = words.name("refusal", one.last_refusal, frame.language)
        say(frame.pick(zh=f"  上次答复被拒：{refused}", en=f"  last answer refused: {one.last_refusal}"))
    for finding in findings:
        say(
            f"  {frame.name('standing', str(finding['standing'])):<9} "
            f"{frame.name('level', str(finding['level'] or '-')):<7} {frame.name('rule', str(finding['rule'])):<15} "
            f"{finding['why'] if frame.language == 'zh' else finding['why_en']}"
        )


@accounts_group.command("entries")
def list_entries(
    context: typer.Context,
    account_no: str,
    days_from: Annotated[str | None, typer.Option("--from", help="The first booking day.")] = None,
    days_to: Annotated[str | None, typer.Option("--to", help="The last booking day.")] = None,
    as_json: AsJson = False,
) -> None:
    """Booked entries, newest first: what reverses what, and which are transfers between the institution's accounts."""
    from escrow_monitor.cli.entries import show_entries

    show_entries(
        frame_of(context), account_no, days_from=None if days_from is None else parse_day(days_from),
        days_to=None if days_to is None else parse_day(days_to), as_json=as_json,
    )


@accounts_group.command("probe")
def probe_account(
    context: typer.Context,
    account_no: str,
    bank: Annotated[str | None, typer.Option(help="Its bank, for an account that is not registered yet.")] = None,
    currency: Annotated[str, typer.Option(help="Its currency, if it is not registered.")] = "CNY",
    external_id: Annotated[str | None, typer.Option(help="The bank's own id of it, if it is not registered.")] = None,
    statements_from: Annotated[str | None, typer.Option(help="Ask for statements from this day on as well.")] = None,
    as_json: AsJson = False,
) -> None:
    """Try the account's bank now and show, redacted, what it answers and what we read. Nothing is recorded.

    Exit 0 answered, 1 answered but refused, 3 no answer.
    """
    from escrow_monitor.cli.probe import probe_account as probe

    code = probe(
        frame_of(context), account_no, bank=bank, currency=currency, external_id=external_id,
        statements_from=None if statements_from is None else parse_day(statements_from), as_json=as_json,
    )
    raise typer.Exit(code)


def _findings_now(app: App, account_no: str) -> list[dict[str, object]]:
    """What every rule says of one account now, met ones too; nothing is recorded."""
    from escrow_monitor.records.positions import positions_due
    from escrow_monitor.rounds.check_balances import LOOK_BACK_DAYS, as_json, examine

    now = app.clock.now()
    with app.database.read() as session:
        due = [
            one
            for chunk in positions_due(
                session,
                now=now,
                policy_version=app.policies.version,
                account_nos=[account_no],
                everything=True,
                days_from=now.astimezone(ZONE).date() - timedelta(days=LOOK_BACK_DAYS),
                large_debit_fen_min=app.policies.large_debit_minor_units_min(),
                charge_months=app.policies.charge_months_max,
            )
            for one in chunk
        ]
    return [as_json(finding) for one in due for finding in examine(one, policies=app.policies, now=now).findings]


@institutions_group.command("list")
def list_institutions(context: typer.Context, as_json: AsJson = False) -> None:
    """Every institution with its accounts and the worst of how they stand."""
    from escrow_monitor.records.accounts import institutions
    from escrow_monitor.records.positions import checked_accounts

    frame = frame_of(context)
    with frame.app() as app, app.database.read() as session:
        known = institutions(session)
        held: dict[str, list[CheckedAccount]] = {}
        for one in checked_accounts(session, limit=None):
            held.setdefault(one.account.uscc or "", []).append(one)
    rows = [
        {
            "uscc": each.uscc,
            "name": each.name,
            "kind": each.kind,
            "district": each.district,
            "status": each.status.value,
            "accounts": len(held.get(each.uscc, ())),
            "standing": _worst([one.standing.standing.value for one in held.get(each.uscc, ())]),
        }
        for each in known
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(
            ("uscc", "name", "district", "accounts", "standing"),
            [(row["uscc"], row["name"], row["district"], row["accounts"], row["standing"]) for row in rows],
        )


@institutions_group.command("show")
def show_institution(context: typer.Context, uscc: str, as_json: AsJson = False) -> None:
    """One institution and its accounts."""
    from escrow_monitor.domain.rules import closure_watch
    from escrow_monitor.records.accounts import institution
    from escrow_monitor.records.closure.watches import closure_standing
    from escrow_monitor.records.positions import checked_accounts

    frame = frame_of(context)
    with frame.app() as app, app.database.read() as session:
        found = institution(session, uscc)
        held = checked_accounts(session, uscc=uscc, limit=None)
        watched = closure_standing(session, uscc)
    if found is None:
        raise UsageError(f"institution {uscc} is not known: see institutions list")
    if as_json:
        print_json(
            {
                "uscc": found.uscc,
                "name": found.name,
                "kind": found.kind,
                "district": found.district,
                "status": found.status.value,
                "policy": found.policy,
                "accounts": [account_json(one) for one in held],
                "outlook": None if watched is None else watched.outlook.as_json(),
            }
        )
        return
    say(f"{found.uscc}  {found.name}  {found.district or '-'}  {found.status.value}")
    for one in held:
        say("  " + "  ".join("" if cell is None else str(cell) for cell in _row(one)))
        for finding in one.standing.findings:
            say(f"    {finding['why'] if frame.language == 'zh' else finding['why_en']}")
    if watched is None:
        say(frame.pick(zh="  关停预警：尚未研判", en="  closure watch: not judged yet"))
        return
    said = closure_watch.examine(watched.outlook, watched.judged_at)
    level = frame.name("level", said.level) if said.level else frame.name("standing", said.standing)
    say(frame.pick(zh=f"  关停预警（{level}）：{said.why_zh}", en=f"  closure watch ({level}): {said.why_en}"))


def account_json(one: CheckedAccount) -> dict[str, object]:
    """An account with its standing as JSON: money as text and in fen, unknown as null."""
    from escrow_monitor.domain.money import decimal_text

    account, standing = one.account, one.standing

    def text(fen: int | None) -> str | None:
        return None if fen is None else decimal_text(fen, account.currency)

    return {
        "account_no": account.account_no,
        "uscc": account.uscc,
        "bank": account.bank,
        "currency": account.currency,
        "purpose": account.purpose.value,
        "mode": account.mode.value,
        "standing": standing.standing.value,
        "level": None if standing.level is None else standing.level.value,
        "balance": text(standing.balance_fen),
        "balance_fen": standing.balance_fen,
        "required": text(standing.required_fen),
        "required_fen": standing.required_fen,
        "required_complete": standing.required_complete,
        "below_since": None if standing.below_since is None else standing.below_since.isoformat(),
        "checked_at": None if one.checked_at is None else one.checked_at.isoformat(),
        "findings": list(standing.findings),
    }


def _row(one: CheckedAccount) -> tuple[object, ...]:
    from escrow_monitor.domain.money import decimal_text

    account, standing = one.account, one.standing
    balance, required = standing.balance_fen, standing.required_fen
    return (
        account.account_no,
        account.bank,
        one.institution.name if one.institution else None,
        None if balance is None else decimal_text(balance, account.currency),
        None
        if required is None
        else ("" if standing.required_complete else ">= ") + decimal_text(required, account.currency),
        None if balance is None or not required else f"{balance * 100 // required} %",
        standing.standing.value,
        None if standing.level is None else standing.level.value,
    )


def _balance_json(balance: Balance) -> dict[str, object] | None:
    from escrow_monitor.domain.accounts import Known

    if not isinstance(balance, Known):
        return None
    return {
        "amount": balance.amount.text, "amount_fen": balance.amount.minor_units, "kind": balance.kind.value,
        "on": balance.on.isoformat(), "as_of": balance.as_of.isoformat(),
        "fetched_at": balance.fetched_at.isoformat(), "final": balance.final,
    }


def _balance(frame: Frame, balance: Balance) -> str:
    from escrow_monitor.domain.accounts import Known

    if isinstance(balance, Known):
        as_of = balance.as_of.astimezone(ZONE).isoformat(timespec="seconds")
        final = "final" if balance.final else "not final"
        return f"{balance.amount} ({balance.kind}, {balance.on}, {final}, as of {as_of})"
    return frame.pick(zh="未知", en="unknown") + f" ({balance.reason})"


def _worst(standings: list[str]) -> str:
    for standing in ("breached", "unknown", "met"):
        if standing in standings:
            return standing
    return "unknown"
