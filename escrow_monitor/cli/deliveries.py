"""Commands for deliveries: what went to which channel, what waits and why, and what was given up sent again."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from escrow_monitor.cli.frame import AsJson, Frame, frame_of
from escrow_monitor.cli.output import print_json, print_table, say
from escrow_monitor.errors import UsageError

if TYPE_CHECKING:
    from alerts.delivery import Attempt
    from escrow_monitor.records.alerts.delivery_log import LoggedDelivery

group = typer.Typer(no_args_is_help=True, help="What went to which channel, what waits, and what was given up.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(group, name="deliveries")


@group.command("list")
def list_(
    context: typer.Context,
    state: Annotated[str | None, typer.Option(help="due, delivered, dead (given up) or withheld")] = None,
    channel: Annotated[str | None, typer.Option(help="Of one channel only.")] = None,
    alert: Annotated[str | None, typer.Option(help="Of one alert only, by its id.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100,
    after: Annotated[str, typer.Option(help="Go on behind this delivery.")] = "",
    as_json: AsJson = False,
) -> None:
    """Deliveries, the newest first. Exit 1 when one of those shown was given up."""
    from escrow_monitor.records.alerts.delivery_log import DeliveryState, delivery_page

    frame = frame_of(context)
    if state is not None and state not in set(DeliveryState):
        raise UsageError(f"there is no state {state!r}; choose {', '.join(DeliveryState)}")
    with frame.app() as app, app.database.read() as session:
        try:
            found = delivery_page(
                session, limit=limit, after=after, state=None if state is None else DeliveryState(state),
                channel=channel, alert_id=alert,
            )
        except ValueError as error:
            raise UsageError(str(error)) from error
    if as_json:
        print_json([_as_json(one) for one in found])
    else:
        columns = frame.pick(
            zh="编号 状态 次数 下次 说明 级别 规则 事件", en="id state tries next reason severity rule transition"
        )
        print_table(columns.split(), [
            (one.delivery_id, _state(frame, one), one.attempts, one.due_at and _short(one.due_at), _reason(frame, one),
             one.severity.value, one.rule, one.transition.value)
            for one in found
        ])
    raise typer.Exit(1 if any(one.state is DeliveryState.DEAD for one in found) else 0)


@group.command()
def show(context: typer.Context, delivery_id: str, as_json: AsJson = False) -> None:
    """One delivery with every try: when, how it ended, what the far side said."""
    from escrow_monitor.records.alerts.deliveries import attempts
    from escrow_monitor.records.alerts.delivery_log import logged_delivery

    frame = frame_of(context)
    with frame.app() as app, app.database.read() as session:
        found, tries = logged_delivery(session, delivery_id), attempts(session, delivery_id)
    if found is None:
        raise UsageError(f"no delivery {delivery_id[:60]!r} is known: see deliveries list")
    if as_json:
        print_json({**_as_json(found), "tries": [_try_as_json(one) for one in tries]})
        return
    say(f"{found.delivery_id} {_state(frame, found)} {_reason(frame, found)}".rstrip())
    say(f"  {found.seq} {found.transition.value} {found.severity.value} {frame.pick(zh=found.why.zh, en=found.why.en)}")
    for one in tries:
        outcome = frame.pick(zh=_OUTCOMES[one.outcome.value], en=one.outcome.value.replace("_", " "))
        say(f"  {one.at:%Y-%m-%d %H:%M:%S}Z {outcome} {one.took_ms} ms {one.detail}".rstrip())


@group.command()
def resend(
    context: typer.Context,
    delivery_ids: Annotated[list[str] | None, typer.Argument(help="Deliveries that were given up.")] = None,
    channel: Annotated[str | None, typer.Option(help="All that was given up on this channel.")] = None,
    by: Annotated[str | None, typer.Option(help="Who sends it again; default the login of this machine.")] = None,
    as_json: AsJson = False,
) -> None:
    """Owe what was given up once more, from now on: the next round of deliveries tries it."""
    from escrow_monitor.actions import resend_deliveries
    from escrow_monitor.cli.alerts import login

    frame = frame_of(context)
    if bool(delivery_ids) == (channel is not None):
        raise UsageError("name deliveries, or a channel with --channel")
    who, channels = f"cli:{by if by is not None else login()}", tuple(frame.settings.channels)
    with frame.app() as app:
        now = app.real_now()
        with app.database.write() as session:
            if channel is not None:
                done = resend_deliveries.resend_all(session, channel, channels=channels, by=who, now=now)
            else:
                done = resend_deliveries.resend(session, delivery_ids or [], channels=channels, by=who, now=now)
    if as_json:
        print_json({"resent": list(done.delivery_ids), "left": done.left})
        return
    more = frame.pick(zh="；仍有未重发的，请再执行一次", en="; there are more: ask again") if done.left else ""
    count = len(done.delivery_ids)
    say(frame.pick(zh=f"{count} 条将重新发送{more}", en=f"{count} are sent again{more}"))


_OUTCOMES = {"sent": "已送达", "passing_failure": "暂时失败", "permanent_failure": "被拒绝"}
_STATES = {"due": "待发送", "delivered": "已送达", "dead": "已放弃", "withheld": "未发送"}


def _state(frame: Frame, one: LoggedDelivery) -> str:
    return frame.pick(zh=_STATES[one.state.value], en=one.state.value)


def _reason(frame: Frame, one: LoggedDelivery) -> str:
    from alerts.feeds.item import ROUTE_WORDS

    if one.waits is None:
        return one.detail
    return f"{ROUTE_WORDS[one.waits]['zh' if frame.language == 'zh' else 'en']} {one.held_by}".rstrip()


def _short(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}Z"


def _as_json(one: LoggedDelivery) -> dict[str, object]:
    def text(at: datetime | None) -> str | None:
        return None if at is None else at.isoformat()

    return {
        "delivery_id": one.delivery_id, "channel": one.channel, "seq": one.seq, "state": one.state.value,
        "attempts": one.attempts, "due_at": text(one.due_at), "created_at": text(one.created_at),
        "settled_at": text(one.settled_at), "detail": one.detail, "waits": one.waits and one.waits.value,
        "held_by": one.held_by, "alert_id": one.alert_id, "transition": one.transition.value, "rule": one.rule,
        "severity": one.severity.value, "why": one.why.zh, "why_en": one.why.en,
    }


def _try_as_json(one: Attempt) -> dict[str, object]:
    return {"at": one.at.isoformat(), "outcome": one.outcome.value, "detail": one.detail, "took_ms": one.took_ms}
