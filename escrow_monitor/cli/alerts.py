"""Commands for alerts, what people decide about them, and the numbered feed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from escrow_monitor.cli.frame import AsJson, Frame, frame_of, parse_instant
from escrow_monitor.cli.output import print_json, print_json_line, print_table, say
from escrow_monitor.errors import UsageError

if TYPE_CHECKING:
    from alerts.alert import Alert, Decision, Reason, TransitionKind
    from alerts.book import AlertBook, Decided

By = Annotated[str | None, typer.Option(help="Who decides; default the login of this machine.")]
Note = Annotated[str, typer.Option(help="Why; it is published with the decision.")]
Until = Annotated[str | None, typer.Option(help="When it ends: an instant like 2026-11-20T09:00:00+08:00.")]
For = Annotated[str | None, typer.Option("--for", help="How long: 30m, 8h or 3d.")]

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
    from escrow_monitor.records.alerts.book import RecordsAlertBook

    frame = frame_of(context)
    if severity is not None and severity not in set(Severity):
        raise UsageError(f"there is no severity {severity!r}; choose {', '.join(Severity)}")
    with frame.app() as app, app.database.read() as session:
        now = app.clock.now()
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
                    "quiet": _quiet(alert, now),
                    "decisions": [_as_json(decision) for decision in alert.decisions],
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
            ("id", "severity", "rule", "subject", "since", "quiet", "why"),
            [
                (
                    a.alert_id,
                    a.severity.value,
                    a.key.rule,
                    a.key.subject,
                    a.opened_at and f"{a.opened_at:%Y-%m-%d %H:%M}",
                    _quiet(a, now),
                    frame.pick(zh=a.why.zh, en=a.why.en),
                )
                for a in found
            ],
        )
    raise typer.Exit(1 if found else 0)


@group.command()
def show(context: typer.Context, alert_id: str, as_json: AsJson = False) -> None:
    """One alert with everything that was published of it, what was decided about it and who was not called, and why."""
    from alerts.feeds.item import feed_item
    from escrow_monitor.records.alerts.book import RecordsAlertBook
    from escrow_monitor.records.alerts.routes import held_back

    frame = frame_of(context)
    with frame.app() as app, app.database.read() as session:
        book = RecordsAlertBook(session)
        history, decisions, held = book.history(alert_id), book.decisions(alert_id), held_back(session, alert_id)
    if not history:
        raise UsageError(f"no alert {alert_id} is known: see alerts list")
    if as_json:
        print_json([feed_item(entry, home_url="") for entry in history])
        return
    for entry in history:
        say(
            f"{entry.seq:>6} {entry.recorded_at:%Y-%m-%d %H:%M:%S}Z {_transition(frame, entry.transition):<12} "
            f"{frame.name('level', entry.severity.value):<7} {_words(frame, entry.reason)}: "
            f"{frame.pick(zh=entry.why.zh, en=entry.why.en)}"
        )
    for one in decisions:
        told = one.decision
        until = "" if told.until is None else f" -> {told.until:%Y-%m-%d %H:%M}Z"
        end = "" if one.ended_reason is None else f" | {one.ended_at:%Y-%m-%d %H:%M}Z {_words(frame, one.ended_reason)}"
        say(f"       {told.at:%Y-%m-%d %H:%M:%S}Z {told.kind.value} {told.by}{until} {told.note}{end}")
    for back in held:
        fate = "withheld" if back.until is None else f"waits until {back.until:%Y-%m-%d %H:%M}Z"
        say(f"{back.seq:>6} {back.channel}: {fate}, {back.reason} {back.by}".rstrip())


def _transition(frame: Frame, kind: TransitionKind) -> str:
    from alerts.feeds.item import TRANSITION_WORDS

    return frame.pick(zh=TRANSITION_WORDS[kind]["zh"], en=kind.value)


@group.command()
def ack(
    context: typer.Context, alert_id: str, note: Note = "", until: Until = None, for_: For = None, by: By = None,
    as_json: AsJson = False,
) -> None:
    """Acknowledge: somebody sees to it until then (default 1 day), and nobody else is urged."""
    from escrow_monitor.actions.decide_alert import acknowledge

    def act(book: AlertBook, who: str, now: datetime) -> Decided:
        return acknowledge(book, alert_id, by=who, note=note, until=_end(until, for_ or "1d", now), now=now)

    _decide(context, act, by=by, as_json=as_json)


@group.command()
def snooze(
    context: typer.Context, alert_id: str, note: Note, until: Until = None, for_: For = None, by: By = None,
    as_json: AsJson = False,
) -> None:
    """Call nobody until then. It stays open and in the feed; if it gets worse, the snooze is over."""
    from escrow_monitor.actions.decide_alert import snooze as snooze_

    if until is None and for_ is None:
        raise UsageError("say until when: --for 8h, or --until INSTANT")

    def act(book: AlertBook, who: str, now: datetime) -> Decided:
        return snooze_(book, alert_id, by=who, note=note, until=_end(until, for_, now), now=now)

    _decide(context, act, by=by, as_json=as_json)


@group.command()
def accept(
    context: typer.Context, alert_id: str, note: Note = "",
    confirm: Annotated[bool, typer.Option("--confirm", help="Confirm what another person proposed.")] = False,
    by: By = None, as_json: AsJson = False,
) -> None:
    """Accept it as it is: one person proposes with a note, another confirms. What happened ends with it."""
    from escrow_monitor.actions.decide_alert import confirm as confirm_
    from escrow_monitor.actions.decide_alert import propose

    def act(book: AlertBook, who: str, now: datetime) -> Decided:
        return (confirm_ if confirm else propose)(book, alert_id, by=who, note=note, now=now)

    _decide(context, act, by=by, as_json=as_json)


@group.command("take-back")
def take_back(
    context: typer.Context, alert_id: str,
    kind: Annotated[str, typer.Argument(help="acknowledgement, snooze, proposal or acceptance")],
    note: Note, by: By = None, as_json: AsJson = False,
) -> None:
    """End a decision that stands, whoever made it."""
    from alerts.alert import DecisionKind
    from escrow_monitor.actions.decide_alert import take_back as take_back_

    if kind not in set(DecisionKind):
        raise UsageError(f"there is no decision {kind!r}; choose {', '.join(DecisionKind)}")

    def act(book: AlertBook, who: str, now: datetime) -> Decided:
        return take_back_(book, alert_id, by=who, note=note, kind=DecisionKind(kind), now=now)

    _decide(context, act, by=by, as_json=as_json)


def _decide(
    context: typer.Context, act: Callable[[AlertBook, str, datetime], Decided], *, by: str | None, as_json: bool
) -> None:
    """Do it as the person named, and say what became of it; a refusal is wrong usage."""
    from alerts.decisions import REFUSALS
    from escrow_monitor.records.alerts.book import RecordsAlertBook

    frame = frame_of(context)
    who = f"cli:{by if by is not None else login()}"
    with frame.app() as app, app.database.write() as session:
        book = RecordsAlertBook(session, channels=tuple(app.settings.channels))
        done = act(book, who, app.clock.now())
    words = _words(frame, done.reason)
    if done.reason in REFUSALS:
        raise UsageError(f"{words} ({done.reason.value})")
    if as_json:
        print_json({
            "alert_id": done.alert.alert_id, "reason": done.reason.value, "status": done.alert.status.value,
            "published": [entry.seq for entry in done.entries],
            "decisions": [_as_json(decision) for decision in done.alert.decisions],
        })
    else:
        say(f"{done.alert.alert_id}: {words}")


def login() -> str:
    """Who works at this machine. Raises UsageError where it does not say."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise UsageError("this machine has no login for us: say who decides with --by") from error


def _end(until: str | None, for_: str | None, now: datetime) -> datetime:
    from escrow_monitor.actions.decide_alert import duration

    return parse_instant(until) if until is not None else now + duration(for_ or "")


def _quiet(alert: Alert, now: datetime) -> str | None:
    """What keeps an alert quiet now."""
    from alerts.decisions import quiet_by

    decision = quiet_by(alert, now=now)
    return None if decision is None else decision.kind.value


def _as_json(decision: Decision) -> dict[str, object]:
    return {
        "kind": decision.kind.value, "by": decision.by, "note": decision.note, "at": decision.at.isoformat(),
        "until": decision.until and decision.until.isoformat(), "proposed_by": decision.proposed_by,
        "severity": decision.evidence.severity.value,
    }


def _words(frame: Frame, reason: Reason) -> str:
    from alerts.feeds.item import REASON_WORDS

    return frame.pick(zh=REASON_WORDS[reason]["zh"], en=REASON_WORDS[reason]["en"])


def feed(
    context: typer.Context,
    after: Annotated[int, typer.Option(min=0, help="Only entries with a higher number.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many; default all.")] = None,
    as_json: AsJson = False,
) -> None:
    """The numbered feed, in order; with --json one feed item a line."""
    from alerts.feeds.item import feed_item
    from escrow_monitor.records.alerts.book import RecordsAlertBook
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
