"""Add people, say what they may and where, close their accounts and sessions: each in the audit record."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from escrow_monitor.domain.identities import Place
from escrow_monitor.domain.permissions import UserRole
from escrow_monitor.domain.visibility import DISTRICT_SHAPE, EVERYTHING, Visible
from escrow_monitor.errors import SpokenError, UsageError
from escrow_monitor.records.accounts import institution
from escrow_monitor.records.database import Session
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.people import identities, sessions, sign_in_tries, users
from escrow_monitor.records.people.identities import Identity
from escrow_monitor.records.people.sessions import EndReason
from escrow_monitor.records.people.users import NO_PASSWORD, User

NAME_SHAPE = re.compile(r"[a-z][a-z0-9._-]{1,31}\Z", re.ASCII)
DISPLAY_NAME_CHARACTERS_MAX = 60
DISTRICTS_MAX = 100
SUBJECT_CHARACTERS_MAX = 255
"""As OpenID Connect has it."""


class UnknownUser(SpokenError):
    """There is no such person, or they are not yours to look after."""


class BeyondReach(SpokenError):
    """What is asked for would show more than whoever asks sees."""


class OwnAccount(SpokenError):
    """Nobody closes or changes what they may themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class By:
    """Who administers. `reach` is what they see themselves: they look after nobody who sees more. `own` is their own
    account, which another must change, so that there is always somebody left to do it."""

    actor: str
    reach: Visible = EVERYTHING
    own: str | None = None


def add_user(
    session: Session, *, name: str, role: UserRole, by: By, now: datetime, password_hash: str = NO_PASSWORD,
    display_name: str = "", districts: Sequence[str] | None = None, uscc: str | None = None,
) -> User:
    """Add a person; without a password they can sign in elsewhere only. Raises UsageError for a name that is taken, or
    a part of the register that the role cannot be limited to; BeyondReach."""
    if not NAME_SHAPE.match(name):
        raise SpokenError(
            f"{name[:40]!r} is no name to sign in with: 2 to 32 of a-z 0-9 . _ -, a letter first",
            zh=f"{name[:40]!r} 不能作用户名：须为 2 到 32 位 a-z 0-9 . _ -，字母开头",
        )
    shown = _shown(display_name or name)
    limited = _districts(districts)
    _check_place(session, Place(role=role, districts=_tuple(limited), uscc=uscc), by)
    if not users.add(
        session, name=name, display_name=shown, role=role, districts=limited, uscc=uscc, password_hash=password_hash,
        now=now,
    ):
        raise SpokenError(
            f"there is a user {name} already: a name stands for one person for good",
            zh=f"用户名 {name} 已有人使用：用过的名字不能再给别人",
        )
    audit.append(session, kind="user.added", actor=by.actor, now=now, payload={
        "user": name, "role": role.value, "districts": limited, "uscc": uscc,
        **({} if password_hash != NO_PASSWORD else {"password": False}),
    })
    return known_user(session, name, by)


def set_role(
    session: Session, *, name: str, role: UserRole, by: By, now: datetime, uscc: str | None = None
) -> User:
    """Give a person another role; it holds from their next request on. Raises UsageError."""
    before = known_user(session, name, by)
    return set_place(session, name=name, place=Place(role=role, districts=before.districts, uscc=uscc), by=by, now=now)


def set_districts(
    session: Session, *, name: str, districts: Sequence[str] | None, by: By, now: datetime
) -> User:
    """Limit a person to districts (None: no limit); it holds from their next request on. Raises UsageError."""
    before, limited = known_user(session, name, by), _districts(districts)
    _check_not_own(name, by)
    _check_place(session, Place(role=before.role, districts=_tuple(limited), uscc=before.uscc), by)
    _keep_districts(session, before, limited, actor=by.actor, now=now)
    return known_user(session, name, by)


def set_place(session: Session, *, name: str, place: Place, by: By, now: datetime) -> User:
    """Give a person a role and a part of the register at once; it holds from their next request on. Raises UsageError.
    """
    before, limited = known_user(session, name, by), _districts(place.districts)
    _check_not_own(name, by)
    _check_place(session, place, by)
    if (before.role, before.uscc) != (place.role, place.uscc):
        users.set_role(session, name, place.role, uscc=place.uscc, now=now)
        audit.append(session, kind="user.role_changed", actor=by.actor, now=now, payload={
            "user": name, "before": before.role.value, "role": place.role.value, "uscc": place.uscc,
        })
    if before.districts != _tuple(limited):
        _keep_districts(session, before, limited, actor=by.actor, now=now)
    return known_user(session, name, by)


def disable_user(session: Session, *, name: str, by: By, now: datetime) -> int:
    """Close a person's account and end their sessions; return how many. Raises UsageError."""
    if not known_user(session, name, by).is_open:
        raise SpokenError(f"{name} is disabled already", zh=f"{name} 已经停用")
    _check_not_own(name, by)
    users.set_disabled(session, name, now, now=now)
    ended = sessions.end_all(session, name, EndReason.DISABLED, now=now)
    audit.append(
        session, kind="user.disabled", actor=by.actor, now=now, payload={"user": name, "sessions_ended": ended}
    )
    return ended


def enable_user(session: Session, *, name: str, by: By, now: datetime) -> None:
    """Open a person's account again. Raises UsageError."""
    if known_user(session, name, by).is_open:
        raise SpokenError(f"{name} is not disabled", zh=f"{name} 没有停用")
    users.set_disabled(session, name, None, now=now)
    audit.append(session, kind="user.enabled", actor=by.actor, now=now, payload={"user": name})


def reset_password(session: Session, *, name: str, password_hash: str, by: By, now: datetime) -> int:
    """Give a person another password, forgive failed tries and end their sessions; return how many. Raises UsageError.
    """
    known_user(session, name, by)
    if by.own == name:
        raise OwnAccount(
            "your own password is changed on your account page, which asks for the old one",
            zh="自己的密码请在“我的账户”中修改，那里会核对现在的密码",
        )
    users.set_password_hash(session, name, password_hash, now=now, is_new=True)
    sign_in_tries.forgive(session, sign_in_tries.subject_of("name", name))
    ended = sessions.end_all(session, name, EndReason.PASSWORD_CHANGED, now=now)
    audit.append(
        session, kind="user.password_reset", actor=by.actor, now=now, payload={"user": name, "sessions_ended": ended}
    )
    return ended


def revoke_session(session: Session, *, session_id: str, by: By, now: datetime) -> None:
    """End one session. Raises UsageError if none of this id is open."""
    found = sessions.session(session, session_id)
    is_theirs = found is not None and _reaches_session(session, found.user_name, by)
    if found is None or not is_theirs or not sessions.end(session, session_id, EndReason.REVOKED, now=now):
        raise SpokenError(
            f"no open session has the id {session_id[:40]}: see users sessions",
            zh=f"没有编号为 {session_id[:40]} 的登录",
        )
    audit.append(session, kind="session.revoked", actor=by.actor, now=now, payload={
        "session_id": session_id, "user": found.user_name, "key_id": found.key_id,
    })


def revoke_sessions(session: Session, *, name: str, by: By, now: datetime) -> int:
    """End all sessions of a person; return how many were open. Raises UsageError."""
    known_user(session, name, by)
    ended = sessions.end_all(session, name, EndReason.REVOKED, now=now)
    audit.append(
        session, kind="session.all_revoked", actor=by.actor, now=now, payload={"user": name, "sessions_ended": ended}
    )
    return ended


def link_identity(session: Session, *, name: str, issuer: str, subject: str, by: By, now: datetime) -> None:
    """Say who a person is at a provider: they can sign in there from now on. Raises UsageError."""
    known_user(session, name, by)
    if not subject or len(subject) > SUBJECT_CHARACTERS_MAX or not subject.isprintable():
        raise UsageError(f"a subject is 1 to {SUBJECT_CHARACTERS_MAX} characters, as the provider's `sub` has it")
    if not identities.link(session, issuer=issuer, subject=subject, user_name=name, by=by.actor, now=now):
        raise UsageError(f"{name} is linked at this provider already, or this subject is somebody else: unlink first")
    audit.append(session, kind="user.linked", actor=by.actor, now=now, payload={
        "user": name, "issuer": issuer, "subject": subject,
    })


def unlink_identity(session: Session, *, name: str, by: By, now: datetime) -> list[Identity]:
    """Forget who a person is elsewhere, and end their sessions: they cannot sign in there any more. Raises UsageError.
    """
    known_user(session, name, by)
    gone = identities.unlink(session, name)
    if not gone:
        raise SpokenError(f"{name} is not linked to any provider", zh=f"{name} 没有关联统一登录")
    ended = sessions.end_all(session, name, EndReason.REVOKED, now=now)
    audit.append(session, kind="user.unlinked", actor=by.actor, now=now, payload={
        "user": name, "sessions_ended": ended,
        "identities": [{"issuer": one.issuer, "subject": one.subject} for one in gone],
    })
    return gone


def known_user(session: Session, name: str, by: By) -> User:
    """A person whom `by` looks after. Raises UnknownUser, the same for one who is somebody else's to look after."""
    found = users.user(session, name)
    if found is None or not reaches(session, by.reach, found):
        raise UnknownUser(
            f"there is no user {name[:40]!r}: see users list", zh=f"没有用户 {name[:40]!r}，或不在您的管理范围内"
        )
    return found


def reaches(session: Session, reach: Visible, user: User) -> bool:
    """True if whoever sees `reach` may look after this person: they see nothing that is not within it."""
    if reach.is_everything:
        return True
    where = None if user.uscc is None else institution(session, user.uscc)
    return reach.includes(user.visible, district=None if where is None else where.district)


def _reaches_session(session: Session, user_name: str | None, by: By) -> bool:
    if user_name is None:
        return by.reach.is_everything
    found = users.user(session, user_name)
    return found is not None and reaches(session, by.reach, found)


def _keep_districts(
    session: Session, before: User, limited: list[str] | None, *, actor: str, now: datetime
) -> None:
    users.set_districts(session, before.name, limited, now=now)
    audit.append(session, kind="user.districts_changed", actor=actor, now=now, payload={
        "user": before.name, "before": None if before.districts is None else list(before.districts),
        "districts": limited,
    })


def _check_not_own(name: str, by: By) -> None:
    if by.own == name:
        raise OwnAccount(
            "nobody closes or changes what they may themselves: ask another administrator",
            zh="不能停用自己，也不能改自己的角色和辖区：请另一位管理员来做",
        )


def _check_place(session: Session, place: Place, by: By) -> None:
    """Raise UsageError for a role and a part of the register that do not go together, or that are not theirs to give.
    """
    if (place.role is UserRole.INSTITUTION) != (place.uscc is not None):
        raise SpokenError(
            "the role institution, and no other, names the institution whose data alone is seen",
            zh="“机构”角色须写明机构代码，其他角色不写",
        )
    where = None if place.uscc is None else institution(session, place.uscc)
    seen = Visible(districts=place.districts, uscc=place.uscc)
    if place.uscc is not None and (where is None or not by.reach.includes(seen, district=where.district)):
        raise SpokenError(
            f"no institution {place.uscc[:40]!r} is registered", zh=f"没有登记机构 {place.uscc[:40]!r}"
        )
    if place.uscc is None and not by.reach.includes(seen):
        raise BeyondReach(
            "this is beyond the districts that you look after yourself", zh="超出了您自己的辖区"
        )


def _tuple(districts: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if districts is None else tuple(districts)


def _districts(districts: Sequence[str] | None) -> list[str] | None:
    if districts is None:
        return None
    strange = [code for code in districts if not DISTRICT_SHAPE.match(code)]
    if strange:
        raise SpokenError(
            f"{strange[0][:40]!r} is no district: 2 to 6 digits of its code, like 5103 or 510302",
            zh=f"{strange[0][:40]!r} 不是辖区代码：须为 2 到 6 位数字，如 5103 或 510302",
        )
    if not districts or len(set(districts)) > DISTRICTS_MAX:
        raise SpokenError(
            f"name 1 to {DISTRICTS_MAX} districts, or all of them", zh=f"请写 1 到 {DISTRICTS_MAX} 个辖区，或不限"
        )
    return sorted(set(districts))


def _shown(display_name: str) -> str:
    text = display_name.strip()
    if not text or len(text) > DISPLAY_NAME_CHARACTERS_MAX or not text.isprintable():
        raise SpokenError(
            f"a person's name is one line of at most {DISPLAY_NAME_CHARACTERS_MAX} characters",
            zh=f"姓名为一行，最多 {DISPLAY_NAME_CHARACTERS_MAX} 个字符",
        )
    return text
