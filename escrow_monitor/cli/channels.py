"""Commands for the channels that alerts are pushed to: what is configured, what would be sent, and a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from escrow_monitor.cli.frame import AsJson, Frame, frame_of
from escrow_monitor.cli.output import print_json, print_table, say, warn
from escrow_monitor.errors import ConfigurationError, OutsideError, UsageError

if TYPE_CHECKING:
    from alerts.alert import FeedEntry
    from escrow_monitor.wiring import App

group = typer.Typer(no_args_is_help=True, help="The channels that alerts are pushed to.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(group, name="channels")


@group.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """The configured channels, where they go, and what is owed to each. Exit 1 when something was given up."""
    from escrow_monitor.records.alerts.deliveries import DeliveryCounts, counts

    frame = frame_of(context)
    with frame.app() as app, app.database.read() as session:
        owed = counts(session)
    rows = []
    for name, chosen in frame.settings.channels.items():
        found = owed.get(name, DeliveryCounts())
        host, fault = _host(frame, name)
        rows.append({
            "name": name, "type": chosen.type, "host": host, "language": getattr(chosen, "language", None),
            "due": found.due, "dead": found.dead, "delivered": found.delivered, "fault": fault,
        })
    if as_json:
        print_json(rows)
    else:
        print_table(
            ("name", "type", "host", "language", "due", "given up", "delivered", "fault"),
            [tuple(row.values()) for row in rows],
        )
    raise typer.Exit(1 if any(row["dead"] or row["fault"] for row in rows) else 0)


@group.command()
def preview(
    context: typer.Context,
    name: str,
    entry: Annotated[
        int | None, typer.Option(min=1, help="The feed entry's number; default the newest, or an invented one.")
    ] = None,
) -> None:
    """What a channel would send of one feed entry, without secrets. Nobody is called."""
    frame = frame_of(context)
    with frame.app() as app:
        _known(frame, name)
        chosen = _entry(app, entry)
        if chosen is None:
            from alerts.channel.example import example_entry

            warn(frame.pick(zh="推送清单为空：以下为虚构示例", en="the feed is empty: this entry is invented"))
            chosen = example_entry(app.clock.now())
        say(app.channel(name).preview(chosen))


@group.command()
def test(context: typer.Context, name: str) -> None:
    """Send a message that is marked as a test. Exit 3 when the far side did not take it."""
    from alerts.channel import NotSent

    frame = frame_of(context)
    _known(frame, name)
    with frame.app() as app:
        at = app.real_now()
        answer = app.channel(name).ping(message_id=f"test_{at:%Y%m%d%H%M%S}_{name}")
    if isinstance(answer, NotSent):
        again = frame.pick(zh="再试也无用", en="for good") if answer.permanent else frame.pick(
            zh="可再试", en="for now"
        )
        raise OutsideError(frame.pick(
            zh=f"通道 {name} 未接收测试消息（{again}）：{answer.detail}",
            en=f"the channel {name} did not take the test message ({again}): {answer.detail}",
        ))
    say(frame.pick(
        zh=f"通道 {name} 已接收测试消息：{answer.detail}",
        en=f"the channel {name} took the test message: {answer.detail}",
    ))


def _known(frame: Frame, name: str) -> None:
    if name not in frame.settings.channels:
        known = ", ".join(frame.settings.channels) or "none"
        raise UsageError(f"no channel {name!r} is configured; the channels are {known}")


def _host(frame: Frame, name: str) -> tuple[str | None, str | None]:
    """The host, or what is wrong with the section."""
    from escrow_monitor.rounds.channels import host_of
    from escrow_monitor.wiring import make_channel

    try:
        make_channel(frame.settings, name).close()
        return host_of(frame.settings, name), None
    except ConfigurationError as error:
        return None, str(error)


def _entry(app: App, seq: int | None) -> FeedEntry | None:
    """The entry of that number, or the newest; None where there is none yet."""
    from escrow_monitor.records.alerts.book import RecordsAlertBook

    with app.database.read() as session:
        book = RecordsAlertBook(session)
        found = book.entries(after=(book.head() if seq is None else seq) - 1, limit=1)
    if seq is not None and (not found or found[0].seq != seq):
        raise UsageError(f"there is no feed entry {seq}: see escrow-monitor feed")
    return found[0] if found else None
