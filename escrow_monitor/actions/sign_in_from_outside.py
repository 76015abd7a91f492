r"""Sign somebody in for whom a provider vouched: who they are here, what they may, and what is refused.

    issuer and subject --> linked already --> their name here
                      \-> not yet --> the claim of the name --> added without a password: linked by that name
                                                          \-> nobody's, and `provision`: added and linked

Who has a password here is never linked by a name that the provider says: whoever may choose their name there would be
that person. An administrator links them: users link NAME SUBJECT.
"""

from __future__ import annotations

from datetime import datetime

from escrow_monitor.actions.sign_in import From, Welcome, opened
from escrow_monitor.actions.users import (
    DISPLAY_NAME_CHARACTERS_MAX,
    NAME_SHAPE,
    By,
    add_user,
    link_identity,
    set_place,
)
from escrow_monitor.domain.identities import (
    Mapped,
    Outsider,
    OutsideRefusal,
    OutsideRefused,
    Place,
    place_of,
    text_of,
)
from escrow_monitor.errors import UsageError
from escrow_monitor.logs import log
from escrow_monitor.records.database import Database, Session
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.people import identities, sessions, users
from escrow_monitor.records.people.sessions import EndReason
from escrow_monitor.records.people.users import User

BY = By(actor="system")
"""What the provider says is written down under this name; the entry says which provider."""


def sign_in_from_outside(
    database: Database, outsider: Outsider, *, mapped: Mapped, by: From, now: datetime
) -> Welcome | OutsideRefusal:
    """Open a session for somebody whom the provider vouched for, with the role that it says they have now.

    Whoever is refused has no session left from before.
    """
    try:
        with database.write() as session:
            user = _user_of(session, outsider, mapped, now=now)
            if not user.is_open:
                raise OutsideRefused(OutsideRefusal.DISABLED, f"{user.name} is disabled")
            place = place_of(outsider, mapped)
            if place is not None:
                user = _placed(session, user, place, now=now)
            return opened(
                session, who=f"user:{user.name}", user_name=user.name, by=by, now=now, issuer=outsider.issuer
            )
    except OutsideRefused as refused:
        _refuse(database, outsider, refused, by=by, now=now)
        return refused.reason


def _user_of(session: Session, outsider: Outsider, mapped: Mapped, *, now: datetime) -> User:
    known = identities.identity(session, issuer=outsider.issuer, subject=outsider.subject)
    if known is not None:
        found = users.user(session, known.user_name)
        assert found is not None  # noqa: S101 - a foreign key
        return found
    name = text_of(outsider, mapped.name_claim).casefold()
    if not NAME_SHAPE.match(name):
        raise OutsideRefused(
            OutsideRefusal.NO_NAME, f"the claim {mapped.name_claim} is no name to sign in with: {name[:40]!r}"
        )
    found = users.user(session, name)
    if found is None:
        found = _added(session, outsider, mapped, name, now=now)
    elif found.has_password or identities.of_user(session, name):
        raise OutsideRefused(
            OutsideRefusal.NAME_TAKEN, f"{name} is somebody here already: have them linked with users link"
        )
    link_identity(session, name=name, issuer=outsider.issuer, subject=outsider.subject, by=BY, now=now)
    log(__name__).info("sign_in.linked", user=name, issuer=outsider.issuer)
    return found


def _added(session: Session, outsider: Outsider, mapped: Mapped, name: str, *, now: datetime) -> User:
    """Somebody who was never here, where such people are let in."""
    if not mapped.provision:
        raise OutsideRefused(OutsideRefusal.UNKNOWN, f"there is no user {name}, and none is added by signing in")
    place = place_of(outsider, mapped)
    if place is None:
        raise OutsideRefused(OutsideRefusal.NO_ROLE, "no value of a claim stands for a role: set web.oidc.roles")
    shown = "".join(sign for sign in text_of(outsider, mapped.display_name_claim) if sign.isprintable())
    try:
        return add_user(
            session, name=name, role=place.role, by=BY, now=now, districts=place.districts, uscc=place.uscc,
            display_name=shown.strip()[:DISPLAY_NAME_CHARACTERS_MAX],
        )
    except UsageError as error:
        raise OutsideRefused(OutsideRefusal.NO_PLACE, str(error)) from error


def _placed(session: Session, user: User, place: Place, *, now: datetime) -> User:
    """The person with the role that the provider says they have."""
    if (user.role, user.districts, user.uscc) == (place.role, place.districts, place.uscc):
        return user
    try:
        return set_place(session, name=user.name, place=place, by=BY, now=now)
    except UsageError as error:
        raise OutsideRefused(OutsideRefusal.NO_PLACE, str(error)) from error


def _refuse(database: Database, outsider: Outsider, refused: OutsideRefused, *, by: From, now: datetime) -> None:
    """Write down that somebody whom the provider knows was refused: strangers do not come this far."""
    with database.write() as session:
        known = identities.identity(session, issuer=outsider.issuer, subject=outsider.subject)
        name = None if known is None else known.user_name
        ended = 0 if name is None else sessions.end_all(session, name, EndReason.REVOKED, now=now)
        audit.append(session, kind="sign_in.refused", actor="system", now=now, payload={
            "issuer": outsider.issuer, "subject": outsider.subject, "user": name, "reason": refused.reason.value,
            "detail": str(refused)[:200], "address": by.address, "sessions_ended": ended,
        })
    log(__name__).warning(
        "sign_in.refused", user=name, issuer=outsider.issuer, reason=refused.reason.value, detail=str(refused)[:200],
        address=by.address,
    )
