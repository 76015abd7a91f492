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
    from alerts.routing import Silence, SilenceState
    from escrow_monitor.actions.silence_alerts import Preview
    from escrow_monitor.records.alerts.silences import KeptSilence

group = typer.Typer(no_args_is_help=True, help="Nobody is called about what a silence fits; the feed still carries it.")
Matchers = Annotated[list[str], typer.Argument(help="NAME=VALUE, all must fit: rule, subject, uscc, bank, district...")]
By = Annotated[str | None, typer.Option(help="Who does it; default the login of this machine.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(group, name="silences")


@group.command("list")
def list_(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Those that have ended too.")] = False,
    as_json: AsJson = False,
) -> None:
    """The silences that are proposed, in force or to come."""
    from escrow_monitor.records.alerts.silences import silences

    frame = frame_of(context)
    with frame.app() as app, app.database.read() as session:
        now = app.clock.now()
        found = silences(session, at=None if everything else now)
    if as_json:
        print_json([_kept_as_json(kept, now) for kept in found])
        return
    columns = frame.pick(
        zh="编号 状态 匹配 红色 起 止 提出 复核 事由", en="id state matches red from to by confirmed why"
    )
    yes = frame.pick(zh="是", en="yes")
    print_table(columns.split(), [
        (one.silence_id, _state(frame, one.state(now)), _matchers(one), yes if one.red else "",
         f"{one.starts_at:%Y-%m-%d %H:%M}Z", f"{one.ends_at:%Y-%m-%d %H:%M}Z", one.author, one.confirmed_by, one.reason)
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
    red: Annotated[
        bool, typer.Option("--red", help="What is red too: it is proposed, and another person must confirm it.")
    ] = False,
    by: By = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what it would hide.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a silence, and show what it hides now. Red is spared, unless --red: then two people are needed."""
    from escrow_monitor.actions import silence_alerts
    from escrow_monitor.actions.decide_alert import duration

    frame = frame_of(context)
    if (until is None) == (for_ is None):
        raise UsageError("say until when: --for 8h, or --until INSTANT")
    with frame.app() as app:
        now = app.clock.now()
        begins = None if from_ is None else parse_instant(from_)
        silence = silence_alerts.silence_of(
            matchers=dict(_pair(one) for one in matchers), author=_who(by), reason=reason, starts_at=begins, now=now,
            ends_at=parse_instant(until) if until is not None else (begins or now) + duration(for_ or ""), red=red,
        )
        with app.database.read() as session:
            preview = silence_alerts.preview(session, silence)
        if not dry_run:
            with app.database.write() as session:
                silence_alerts.make(session, silence, now=now)
    _tell(frame, silence, preview, now, made=not dry_run, as_json=as_json)


@group.command()
def confirm(context: typer.Context, silence_id: str, by: By = None, as_json: AsJson = False) -> None:
    """Confirm, as another person, a silence of red that was proposed: it takes effect."""
    from escrow_monitor.actions import silence_alerts

    frame, who = frame_of(context), _who(by)
    with frame.app() as app:
        now = app.clock.now()
        with app.database.write() as session:
            kept = silence_alerts.confirm(session, silence_id, by=who, now=now)
            preview = silence_alerts.preview(session, kept.silence)
    _tell(frame, kept.silence, preview, now, made=True, as_json=as_json)


@group.command()
def end(context: typer.Context, silence_id: str, by: By = None, as_json: AsJson = False) -> None:
    """End a silence now, or take a proposal back."""
    from escrow_monitor.actions import silence_alerts

    frame, who = frame_of(context), _who(by)
    with frame.app() as app:
        now = app.clock.now()
        with app.database.write() as session:
            kept = silence_alerts.end(session, silence_id, by=who, now=now)
    if as_json:
        print_json(_kept_as_json(kept, now))
    else:
        say(frame.pick(zh=f"{silence_id} 已结束", en=f"{silence_id} ended"))


def _who(by: str | None) -> str:
    from escrow_monitor.cli.alerts import login

    return f"cli:{by if by is not None else login()}"


def _tell(frame: Frame, silence: Silence, preview: Preview, now: datetime, *, made: bool, as_json: bool) -> None:
    if as_json:
        print_json({
            **_as_json(silence, now), "made": made, "hides": [_hit(one) for one in preview.hidden],
            "spares": [_hit(one) for one in preview.spared],
        })
        return
    count, spared = preview.hidden_count, preview.spared_count
    what = silence.silence_id if made else frame.pick(zh="试算", en="dry run")
    if silence.is_proposed:
        say(frame.pick(
            zh=f"{what}：{_matchers(silence)}，含红色，拟静默现有 {count} 条预警；"
            "须由另一人 silences confirm 复核后生效",
            en=f"{what}: {_matchers(silence)} is to hide {count} open alerts, red ones too, once another person has "
            "confirmed it: silences confirm",
        ))
    else:
        say(frame.pick(
            zh=f"{what}：{_matchers(silence)}，现有 {count} 条预警不再通知",
            en=f"{what}: {_matchers(silence)} hides {count} open alerts",
        ))
    for one in preview.hidden:
        say(f"  {one.alert_id} {one.severity.value:<7} {frame.pick(zh=one.why.zh, en=one.why.en)}")
    if spared:
        say(frame.pick(
            zh=f"另有 {spared} 条红色预警符合条件，仍照常通知（--red 须两人）",
            en=f"{spared} more fit but are red: they are called about all the same (--red, by two people)",
        ))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"{text!r} is not a matcher: write it like bank=NAME")
    return name.strip(), value.strip()


def _matchers(silence: Silence) -> str:
    return " ".join(f"{name}={value}" for name, value in silence.matchers.items())


def _state(frame: Frame, state: SilenceState) -> str:
    words = {"proposed": "待复核", "to_come": "未开始", "in_force": "生效中", "ended": "已结束"}
    return frame.pick(zh=words[state.value], en=state.value.replace("_", " "))


def _hit(alert: Alert) -> dict[str, object]:
    return {
        "alert_id": alert.alert_id, "rule": alert.key.rule, "severity": alert.severity.value,
        "subject": alert.key.subject, "why": alert.why.zh, "why_en": alert.why.en,
    }


def _as_json(silence: Silence, now: datetime) -> dict[str, object]:
    return {
        "silence_id": silence.silence_id, "state": silence.state(now).value, "matchers": dict(silence.matchers),
        "red": silence.red, "author": silence.author, "confirmed_by": silence.confirmed_by, "reason": silence.reason,
        "starts_at": silence.starts_at.isoformat(), "ends_at": silence.ends_at.isoformat(),
    }


def _kept_as_json(kept: KeptSilence, now: datetime) -> dict[str, object]:
    return {
        **_as_json(kept.silence, now), "confirmed_at": kept.confirmed_at and kept.confirmed_at.isoformat(),
        "ended_by": kept.ended_by,
    }
