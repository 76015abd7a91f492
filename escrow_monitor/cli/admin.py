"""Commands of operators: keys, configuration, database."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from escrow_monitor.cli.frame import AsJson, frame_of
from escrow_monitor.cli.output import print_json, print_table, say, warn
from escrow_monitor.errors import UsageError

if TYPE_CHECKING:
    from alerts.feeds.filter import FeedFilter

keys_group = typer.Typer(no_args_is_help=True, help="API keys for the web, the feeds and the metrics.")
config_group = typer.Typer(no_args_is_help=True, help="What is configured.")
db_group = typer.Typer(no_args_is_help=True, help="The database.")

SCOPES = ("read", "feed", "decide", "answer", "import", "metrics", "admin")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(keys_group, name="keys")
    app.add_typer(config_group, name="config")
    app.add_typer(db_group, name="db")


@keys_group.command()
def create(
    context: typer.Context,
    name: str,
    scope: Annotated[
        list[str] | None,
        typer.Option(help="read, feed, decide, import, metrics, admin; may be repeated; default read."),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="After how many days it expires.")] = 365,
    district: Annotated[
        str | None, typer.Option(help="With scope feed: only this district, by the beginning of its code.")
    ] = None,
    institution: Annotated[str | None, typer.Option(help="With scope feed: only this institution (USCC).")] = None,
    severity: Annotated[str | None, typer.Option(help="With scope feed: only this severity and worse.")] = None,
    user: Annotated[
        str | None, typer.Option(help="Whose key it is: what it does they do, and no more than they may.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. It is printed once and cannot be read again."""
    from escrow_monitor.actions.api_keys import create_key

    scopes = scope or ["read"]
    strange = sorted(set(scopes) - set(SCOPES))
    if strange:
        raise UsageError(f"there is no scope {strange[0]!r}; choose {', '.join(SCOPES)}")
    only = _feed_filter(district=district, uscc=institution, severity=severity)
    with frame_of(context).app(makes=True) as app:
        key, secret = create_key(
            app.database, name=name, scopes=scopes, expires_after=timedelta(days=days), actor="cli",
            now=app.real_now(), only=only, owner=user,
        )
    if as_json:
        print_json(
            {
                "key_id": key.key_id,
                "name": key.name,
                "scopes": sorted(key.scopes),
                "only": key.only.asked,
                "user": key.owner,
                "key": secret,
                "expires_at": key.expires_at and key.expires_at.isoformat(),
            }
        )
        return
    say(secret)
    warn(
        f"{key.key_id} {key.name}: {', '.join(sorted(key.scopes))}, until {key.expires_at:%Y-%m-%d}; shown this once"
    )


def _feed_filter(**asked: str | None) -> FeedFilter:
    from alerts.alert import Severity
    from alerts.feeds.filter import filter_of

    severity = asked.get("severity")
    if severity is not None and severity not in set(Severity):
        raise UsageError(f"there is no severity {severity!r}; choose {', '.join(Severity)}")
    return filter_of({name: value for name, value in asked.items() if value is not None})


@keys_group.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """All keys ever made, without their secrets."""
    from escrow_monitor.records.people import keys

    with frame_of(context).app() as app, app.database.read() as session:
        now, found = app.real_now(), keys.known(session)
    if as_json:
        print_json([
            {
                "key_id": key.key_id, "name": key.name, "scopes": sorted(key.scopes), "only": key.only.asked,
                "user": key.owner, "created_at": key.created_at.isoformat(), "open": key.opens_at(now),
                "expires_at": key.expires_at and key.expires_at.isoformat(),
            }
            for key in found
        ])
        return
    print_table(("id", "name", "scopes", "only", "expires", "open"), [
        (
            key.key_id, key.name, " ".join(sorted(key.scopes)),
            " ".join(f"{name}={value}" for name, value in key.only.asked.items()), key.expires_at, key.opens_at(now),
        )
        for key in found
    ])


@keys_group.command()
def revoke(context: typer.Context, key_id: str) -> None:
    """Close a key for good."""
    from escrow_monitor.actions.api_keys import revoke_key

    with frame_of(context).app() as app:
        revoke_key(app.database, key_id=key_id, actor="cli", now=app.real_now())
    say(f"{key_id} revoked")


@config_group.command("show")
def show_config(context: typer.Context) -> None:
    """The configuration in force, secrets hidden."""
    settings = frame_of(context).settings
    print_json(_without_passwords(settings.model_dump(mode="json")))


def _without_passwords(shown: object) -> object:
    """The same with `user:password@` masked in every address: the database's is written there by everybody."""
    if isinstance(shown, dict):
        return {name: _without_passwords(value) for name, value in shown.items()}
    if isinstance(shown, list):
        return [_without_passwords(value) for value in shown]
    return re.sub(r"(://[^/@:]*:)[^/@]*@", r"\1***@", shown) if isinstance(shown, str) else shown


@config_group.command("check")
def check_config(context: typer.Context) -> None:
    """Read configuration and policies as the daemon would. Exit 2 with what is wrong."""
    from escrow_monitor.cli.service import plans_of, provider_of
    from escrow_monitor.daemon.plan import check_plans
    from escrow_monitor.daemon.schedule import parse_cron
    from escrow_monitor.settings.section import zone_of
    from escrow_monitor.wiring import assembled

    frame = frame_of(context)
    settings = frame.settings
    with assembled(settings) as app:
        plans = plans_of(app)
        check_plans(plans)
        for plan in plans:
            parse_cron(plan.cron, zone=zone_of(settings.schedule.zone), what=f"schedule.{plan.round.replace('-', '_')}")
        packs = len(app.policies.packs)
        banks = len([app.connector(name) for name in settings.banks])
        folders, channels = len(settings.folders), len(app.channels)
        provider_of(settings)
    say(
        frame.pick(
            zh=f"配置正确:银行 {banks},文件夹 {folders},通道 {channels},政策包 {packs}",
            en=f"well: {banks} banks, {folders} folders, {channels} channels, {packs} packs",
        )
    )


@config_group.command()
def schema(context: typer.Context) -> None:
    """The JSON Schema of the configuration file."""
    from escrow_monitor.settings import Settings

    print_json(Settings.model_json_schema())


@db_group.command()
def upgrade(context: typer.Context) -> None:
    """Bring the database up to this version."""
    with frame_of(context).app(makes=True) as app:
        say(f"{app.database.name} is up to date")
