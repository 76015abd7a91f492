"""Commands for alerts and the numbered feed."""

from __future__ import annotations

from typing import Annotated

import typer

from escrow_monitor.cli.frame import AsJson, frame_of
from escrow_monitor.cli.output import print_json, print_json_line, print_table, say
from escrow_monitor.errors import UsageError

group = typer.Typer(no_args_is_help=True, help="Open alerts and their history.")
PAGE = 500


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(group, name="alerts")
    app.command("feed")(feed)


@group.command("list")
def list_(
    context: typer.Context,
    severity: Annotated[str | None, typer.Option(help="red, orange, yellow or info")] = None,
    rule: Annotated[str | None, typer.Option()] = None,
    account: Annotated[str | None, typer.Option()] = None,
    as_json: AsJson = False,
) -> None:
    """Open alerts, the gravest first. Exit 1 when there is any."""
    from alerts.alert import Severity
    from escrow_monitor.records.alert_book import RecordsAlertBook

    frame = frame_of(context)
    if severity is not None and severity not in set(Severity):
        raise UsageError(f"there is no severity {severity!r}; choose {', '.join(Severity)}")
    with frame.app() as app, app.database.read() as session:
        found = RecordsAlertBook(session).open_alerts(
            severity=None if severity is None else Severity(severity), rule=rule, account_no=account
        )
    found.sort(key=lambda alert: (-alert.severity.rank, alert.opened_at or alert.first_seen_at))
    if as_json:
        print_json(
            [
                {
                    "alert_id": alert.alert_id,
                    "rule": alert.key.rule,
                    "subject": alert.key.subject,
                    "period": alert.key.period,
                    "severity": alert.severity.value,
                    "standing": alert.standing,
                    "opened_at": alert.opened_at and alert.opened_at.isoformat(),
                    "as_of": alert.as_of.isoformat(),
                    "why": alert.why.zh,
                    "why_en": alert.why.en,
                    "figures": dict(alert.figures),
                    "labels": dict(alert.labels),
                }
                for alert in found
            ]
        )
    else:
        print_table(
            ("id", "severity", "rule", "subject", "since", "why"),
            [
                (
                    a.alert_id,
                    a.severity.value,
                    a.key.rule,
                    a.key.subject,
                    a.opened_at and f"{a.opened_at:%Y-%m-%d %H:%M}",
                    frame.pick(zh=a.why.zh, en=a.why.en),
                )
                for a in found
            ],
        )
    raise typer.Exit(1 if found else 0)


@group.command()
def show(context: typer.Context, alert_id: str, as_json: AsJson = False) -> None:
    """One alert with everything that was published of it."""
    from alerts.feeds.item import feed_item
    from escrow_monitor.records.alert_book import RecordsAlertBook

    frame = frame_of(context)
    with frame.app() as app, app.database.read() as session:
        history = RecordsAlertBook(session).history(alert_id)
    if not history:
        raise UsageError(f"no alert {alert_id} is known: see alerts list")
    if as_json:
        print_json([feed_item(entry, home_url="") for entry in history])
        return
    for entry in history:
        say(
            f"{entry.seq:>6} {entry.recorded_at:%Y-%m-%d %H:%M:%S}Z {entry.transition.value:<10} "
            f"{entry.severity.value:<7} {frame.pick(zh=entry.why.zh, en=entry.why.en)}"
        )


def feed(
    context: typer.Context,
    after: Annotated[int, typer.Option(min=0, help="Only entries with a higher number.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many; default all.")] = None,
    as_json: AsJson = False,
) -> None:
    """The numbered feed, in order; with --json one feed item a line."""
    from alerts.feeds.item import feed_item
    from escrow_monitor.records.alert_book import RecordsAlertBook
    from escrow_monitor.wiring import home_url_of

    frame = frame_of(context)
    home = home_url_of(frame.settings)
    left = limit
    with frame.app() as app:
        while left is None or left > 0:
            with app.database.read() as session:
                page = RecordsAlertBook(session).entries(after=after, limit=PAGE if left is None else min(PAGE, left))
            for entry in page:
                if as_json:
                    print_json_line(feed_item(entry, home_url=home))
                else:
                    say(
                        f"{entry.seq:>6} {entry.recorded_at:%Y-%m-%d %H:%M:%S}Z {entry.transition.value:<10} "
                        f"{entry.severity.value:<7} {entry.key.rule:<15} {frame.pick(zh=entry.why.zh, en=entry.why.en)}"
                    )
            if not page:
                break
            after = page[-1].seq
            left = None if left is None else left - len(page)
