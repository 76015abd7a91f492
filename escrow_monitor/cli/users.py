"""`users`: who may sign in, what for and where; their passwords and sessions."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from escrow_monitor.cli.frame import AsJson, Frame, frame_of
from escrow_monitor.cli.output import print_json, print_table, say, warn
from escrow_monitor.errors import UsageError

if TYPE_CHECKING:
    from escrow_monitor.actions.users import By
    from escrow_monitor.domain.permissions import UserRole
    from escrow_monitor.records.people.users import User
    from escrow_monitor.wiring import App

users_group = typer.Typer(no_args_is_help=True, help="People who sign in: roles, districts, passwords, sessions.")
ACTOR = "cli"

_Districts = Annotated[
    list[str] | None,
    typer.Option("--district", help="Only this district, by the beginning of its code (5103); may be repeated."),
]
_Institution = Annotated[str | None, typer.Option(help="With the role institution: its USCC.")]
_FromInput = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]
_Generated = Annotated[bool, typer.Option("--generate", help="Make a password and print it once.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(users_group, name="users")


@users_group.command()
def add(
    context: typer.Context, name: str,
    role: Annotated[str, typer.Option(help="viewer, staff, regulator, auditor, admin, institution.")],
    display_name: Annotated[str, typer.Option(help="The person's name as pages show it.")] = "",
    district: _Districts = None, institution: _Institution = None, password_stdin: _FromInput = False,
    generate: _Generated = False,
    no_password: Annotated[
        bool, typer.Option("--no-password", help="They sign in at the provider of [web.oidc] only.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Add a person. Without --district they see every district."""
    from escrow_monitor.actions.passwords import kept_of
    from escrow_monitor.actions.users import add_user
    from escrow_monitor.records.people.users import NO_PASSWORD

    kind, kept, password = _role(role), NO_PASSWORD, ""
    if no_password and (password_stdin or generate):
        raise UsageError("--no-password excludes --password-stdin and --generate")
    if not no_password:
        password = _password(frame_of(context), name, from_input=password_stdin, generate=generate)
        kept = kept_of(password, name=name)
    with frame_of(context).app(makes=True) as app, app.database.write() as session:
        user = add_user(
            session, name=name, role=kind, password_hash=kept, by=_by(), now=app.real_now(),
            display_name=display_name, districts=district, uscc=institution,
        )
    if as_json:
        print_json({**_json(user), **({"password": password} if generate else {})})
        return
    if generate:
        say(password)
    warn(f"{user.name}: {_where(user)}" + ("; the password is shown this once" if generate else ""))


@users_group.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """Everybody, with role and districts."""
    from escrow_monitor.records.people import users

    with frame_of(context).app() as app, app.database.read() as session:
        found = users.known(session)
    if as_json:
        print_json([_json(user) for user in found])
        return
    print_table(("name", "person", "role", "districts", "institution", "open"), [
        (
            user.name, user.display_name, user.role.value, "" if user.districts is None else " ".join(user.districts),
            user.uscc, user.is_open,
        )
        for user in found
    ])


@users_group.command()
def show(context: typer.Context, name: str, as_json: AsJson = False) -> None:
    """One person: what they may, where, and whether they are locked out or signed in."""
    from escrow_monitor.domain.permissions import of_role
    from escrow_monitor.records.people import identities, sessions, sign_in_tries, users

    with frame_of(context).app() as app, app.database.read() as session:
        user, now = users.user(session, name), app.real_now()
        if user is None:
            raise UsageError(f"there is no user {name[:40]!r}: see users list")
        tried = sign_in_tries.tries(session, sign_in_tries.subject_of("name", name), now=now)
        signed_in = len(sessions.open_sessions(session, user_name=name, now=now))
        elsewhere = [f"{one.subject} at {one.issuer}" for one in identities.of_user(session, name)]
    told = {
        **_json(user), "permissions": sorted(of_role(user.role)), "failed_sign_ins": tried.failures,
        "locked_until": tried.locked_until.isoformat() if tried.is_locked and tried.locked_until else None,
        "open_sessions": signed_in, "identities": elsewhere,
    }
    if as_json:
        print_json(told)
        return
    print_table(("what", "is"), [
        (key, " ".join(value) if isinstance(value, list) else value) for key, value in told.items()
    ])


@users_group.command("set-role")
def set_role_(
    context: typer.Context, name: str, role: str, institution: _Institution = None,
) -> None:
    """Give a person another role: it holds from their next request on."""
    from escrow_monitor.actions.users import set_role

    kind = _role(role)
    with frame_of(context).app() as app, app.database.write() as session:
        user = set_role(session, name=name, role=kind, uscc=institution, by=_by(), now=app.real_now())
    say(f"{user.name}: {_where(user)}")


@users_group.command("set-districts")
def set_districts_(
    context: typer.Context, name: str,
    districts: Annotated[list[str] | None, typer.Argument(help="Codes or their beginnings, like 5103.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every district.")] = False,
) -> None:
    """Limit a person to districts, or lift the limit with --all."""
    from escrow_monitor.actions.users import set_districts

    if bool(districts) == all_:
        raise UsageError("name districts, or --all for every district")
    with frame_of(context).app() as app, app.database.write() as session:
        user = set_districts(
            session, name=name, districts=None if all_ else districts, by=_by(), now=app.real_now()
        )
    say(f"{user.name}: {_where(user)}")


@users_group.command()
def disable(context: typer.Context, name: str) -> None:
    """Close a person's account and end their sessions; their name stays theirs."""
    from escrow_monitor.actions.users import disable_user

    with frame_of(context).app() as app, app.database.write() as session:
        ended = disable_user(session, name=name, by=_by(), now=app.real_now())
    say(f"{name} disabled, {ended} sessions ended")


@users_group.command()
def enable(context: typer.Context, name: str) -> None:
    """Open a person's account again."""
    from escrow_monitor.actions.users import enable_user

    with frame_of(context).app() as app, app.database.write() as session:
        enable_user(session, name=name, by=_by(), now=app.real_now())
    say(f"{name} enabled")


@users_group.command("reset-password")
def reset_password_(
    context: typer.Context, name: str, password_stdin: _FromInput = False, generate: _Generated = False,
    as_json: AsJson = False,
) -> None:
    """Give a person another password; it ends their sessions and any lock."""
    from escrow_monitor.actions.passwords import kept_of
    from escrow_monitor.actions.users import reset_password

    password = _password(frame_of(context), name, from_input=password_stdin, generate=generate)
    kept = kept_of(password, name=name)
    with frame_of(context).app() as app, app.database.write() as session:
        ended = reset_password(session, name=name, password_hash=kept, by=_by(), now=app.real_now())
    if as_json:
        print_json({"name": name, "sessions_ended": ended, **({"password": password} if generate else {})})
        return
    if generate:
        say(password)
    warn(f"{name} has a new password" + ("; it is shown this once" if generate else "") + f"; {ended} sessions ended")


@users_group.command("sessions")
def sessions_(
    context: typer.Context, name: Annotated[str | None, typer.Argument(help="Only this person's.")] = None,
    as_json: AsJson = False,
) -> None:
    """Who is signed in now, since when and from where."""
    from escrow_monitor.records.people import sessions

    with frame_of(context).app() as app, app.database.read() as session:
        found = sessions.open_sessions(session, user_name=name, now=app.real_now())
    if as_json:
        print_json([
            {
                "session_id": one.session_id, "user": one.user_name, "key_id": one.key_id, "address": one.address,
                "agent": one.agent, "began_at": one.began_at.isoformat(), "seen_at": one.seen_at.isoformat(),
                "expires_at": one.expires_at.isoformat(),
            }
            for one in found
        ])
        return
    print_table(("id", "user", "key", "address", "began", "seen", "ends"), [
        (one.session_id, one.user_name, one.key_id, one.address, one.began_at, one.seen_at, one.expires_at)
        for one in found
    ])


@users_group.command()
def revoke(
    context: typer.Context,
    session_id: Annotated[str | None, typer.Argument(help="One session, as users sessions names it.")] = None,
    user: Annotated[str | None, typer.Option(help="All sessions of this person.")] = None,
) -> None:
    """End a session, or all of a person."""
    if (session_id is None) == (user is None):
        raise UsageError("name a session, or --user for all of a person")
    with frame_of(context).app() as app:
        told = _revoked(app, session_id, user)
    say(told)


def _revoked(app: App, session_id: str | None, user: str | None) -> str:
    from escrow_monitor.actions.users import revoke_session, revoke_sessions

    with app.database.write() as session:
        if session_id is not None:
            revoke_session(session, session_id=session_id, by=_by(), now=app.real_now())
            return f"{session_id} revoked"
        ended = revoke_sessions(session, name=user or "", by=_by(), now=app.real_now())
    return f"{ended} sessions of {user} revoked"


@users_group.command()
def link(
    context: typer.Context, name: str,
    subject: Annotated[str, typer.Argument(help="The claim `sub` that the provider of [web.oidc] has for them.")],
) -> None:
    """Say who a person is at the provider, so that they can sign in there."""
    from escrow_monitor.actions.users import link_identity

    frame = frame_of(context)
    oidc = frame.settings.web.oidc
    if oidc is None:
        raise UsageError("no provider is configured: set [web.oidc]")
    with frame.app() as app, app.database.write() as session:
        link_identity(session, name=name, issuer=oidc.issuer, subject=subject, by=_by(), now=app.real_now())
    say(f"{name} is {subject} at {oidc.issuer}")


@users_group.command()
def unlink(context: typer.Context, name: str) -> None:
    """Forget who a person is at the provider, and end their sessions."""
    from escrow_monitor.actions.users import unlink_identity

    with frame_of(context).app() as app, app.database.write() as session:
        gone = unlink_identity(session, name=name, by=_by(), now=app.real_now())
    say(f"{name} unlinked from {', '.join(one.issuer for one in gone)}")


def _by() -> By:
    from escrow_monitor.actions.users import By

    return By(actor=ACTOR)


def _role(text: str) -> UserRole:
    from escrow_monitor.domain.permissions import UserRole

    if text not in set(UserRole):
        raise UsageError(f"there is no role {text[:40]!r}; choose {', '.join(UserRole)}")
    return UserRole(text)


def _password(frame: Frame, name: str, *, from_input: bool, generate: bool) -> str:
    """A password, never from the command line itself: that stands in the list of processes and in histories."""
    from escrow_monitor.actions.passwords import generated_password

    if from_input and generate:
        raise UsageError("--password-stdin and --generate exclude each other")
    if generate:
        return generated_password(name=name)
    if from_input or not sys.stdin.isatty():
        password = sys.stdin.readline().rstrip("\r\n")
        if not password:
            raise UsageError("no password came by standard input: give one line, or --generate one")
        return password
    asked = frame.pick(zh="密码", en="Password")
    return str(typer.prompt(asked, hide_input=True, confirmation_prompt=True))


def _where(user: User) -> str:
    if user.uscc is not None:
        return f"{user.role.value} {user.uscc}"
    return f"{user.role.value}, {'every district' if user.districts is None else ' '.join(user.districts)}"


def _json(user: User) -> dict[str, object]:
    return {
        "name": user.name, "display_name": user.display_name, "role": user.role.value,
        "districts": None if user.districts is None else list(user.districts), "uscc": user.uscc,
        "open": user.is_open, "created_at": user.created_at.isoformat(),
        "password_set_at": user.password_set_at.isoformat() if user.has_password else None,
        "disabled_at": user.disabled_at.isoformat() if user.disabled_at else None,
    }
