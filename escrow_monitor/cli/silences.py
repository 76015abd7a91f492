"""Commands for silences: who is not to be called about what, until when and why."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from escrow_monitor.cli.frame import AsJson, Frame, frame_of, parse_instant
from escrow_monitor.cli.output import print_json, print_table, say
from escrow_monitor.errors import UsageError

if TYPE_CHECKING:
    from alerts.alert import Alert
    from alerts.routing import Silence

group = typer.Typer(no_args_is_help=True, help="Nobody is called about what a silence fits; the feed still carries it.")
Matchers = Annotated[list[str], typer.Argument(help="NAME=VALUE, all must fit: rule, subject, uscc, bank, district...")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(group, name="silences")


@group.command("list")
def list_(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Those that have ended too.")] = False,
    as_json: AsJson = False,
) -> None:
    """The silences in force or to come."""
    from escrow_monitor.records.silences import silences

    with frame_of(context).app() as app, app.database.read() as session:
        found = silences(session, at=None if everything else app.clock.now())
    if as_json:
        print_json([{**_as_json(kept.silence), "ended_by": kept.ended_by} for kept in found])
        return
    print_table(("id", "matches", "from", "to", "by", "why"), [
        (one.silence_id, _matchers(one), f"{one.starts_at:%Y-%m-%d %H:%M}Z", f"{one.ends_at:%Y-%m-%d %H:%M}Z",
         one.author, one.reason)
        for one in (kept.silence for kept in found)
    ])


@group.command()
def add(
    context: typer.Context,
    matchers: Matchers,
    reason: Annotated[str, typer.Option(help="Why nobody need be called.")],
    for_: Annotated[str | None, typer.Option("--for", help="How long: 30m, 8h or 3d.")] = None,
    until: Annotated[str | None, typer.Option(help="When it ends.")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="When it begins; default now.")] = None,
    by: Annotated[str | None, typer.Option(help="Who makes it; default the login of this machine.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what it would hide.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a silence, and show what it hides now. Red is never silenced."""
    from escrow_monitor.actions import silence_alerts
    from escrow_monitor.actions.decide_alert import duration
    from escrow_monitor.cli.alerts import login

    frame = frame_of(context)
    if (until is None) == (for_ is None):
        raise UsageError("say until when: --for 8h, or --until INSTANT")
    with frame.app() as app:
        now = app.clock.now()
        begins = None if from_ is None else parse_instant(from_)
        silence = silence_alerts.silence_of(
            matchers=dict(_pair(one) for one in matchers), author=f"cli:{by if by is not None else login()}",
            reason=reason, starts_at=begins, now=now,
            ends_at=parse_instant(until) if until is not None else (begins or now) + duration(for_ or ""),
        )
        hidden = silence_alerts.preview(app.database, silence)
        if not dry_run:
            silence_alerts.make(app.database, silence, now=now)
    _tell(frame, silence, hidden, made=not dry_run, as_json=as_json)


@group.command()
def end(
    context: typer.Context, silence_id: str,
    by: Annotated[str | None, typer.Option(help="Who ends it; default the login of this machine.")] = None,
) -> None:
    """End a silence now."""
    from escrow_monitor.actions import silence_alerts
    from escrow_monitor.cli.alerts import login

    with frame_of(context).app() as app:
        who = f"cli:{by if by is not None else login()}"
        silence_alerts.end(app.database, silence_id, by=who, now=app.clock.now())
    say(f"{silence_id} ended")


def _tell(frame: Frame, silence: Silence, hidden: list[Alert], *, made: bool, as_json: bool) -> None:
    if as_json:
        print_json({
            **_as_json(silence), "made": made,
            "hides": [{"alert_id": one.alert_id, "rule": one.key.rule, "severity": one.severity.value,
                       "subject": one.key.subject} for one in hidden],
        })
        return
    say(frame.pick(
        zh=f"{silence.silence_id if made else '试算'}：{_matchers(silence)}，现有 {len(hidden)} 条预警不再通知",
        en=f"{silence.silence_id if made else 'dry run'}: {_matchers(silence)} hides {len(hidden)} open alerts",
    ))
    for one in hidden:
        say(f"  {one.alert_id} {one.severity.value:<7} {frame.pick(zh=one.why.zh, en=one.why.en)}")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"{text!r} is not a matcher: write it like bank=NAME")
    return name.strip(), value.strip()


def _matchers(silence: Silence) -> str:
    return " ".join(f"{name}={value}" for name, value in silence.matchers.items())


def _as_json(silence: Silence) -> dict[str, object]:
    def text(at: datetime) -> str:
        return at.isoformat()

    return {
        "silence_id": silence.silence_id, "matchers": dict(silence.matchers), "author": silence.author,
        "reason": silence.reason, "starts_at": text(silence.starts_at), "ends_at": text(silence.ends_at),
    }
