"""People who sign in: what they are here for, where, and the hash of their password."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import CheckConstraint
from sqlmodel import Field, Session

from escrow_monitor.domain.permissions import UserRole
from escrow_monitor.domain.visibility import Visible
from escrow_monitor.records.bulk import Reader, run
from escrow_monitor.records.columns import Row, one_of
from escrow_monitor.records.visible import conditions

NO_PASSWORD = ""
"""What is kept of the password of somebody who has none: no password has this hash."""
PEOPLE_AT_ONCE = 500


class UserRow(Row, table=True):
    """One person. `districts` are codes with a space between; NULL is every district."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint(one_of("role", UserRole), "role"),
        CheckConstraint("(role = 'institution') = (uscc IS NOT NULL)", "institution"),
    )

    name: str = Field(primary_key=True)
    display_name: str
    role: str
    districts: str | None = None
    uscc: str | None = None
    password_hash: str
    created_at: datetime
    changed_at: datetime
    password_set_at: datetime
    disabled_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """What may be known of a person. `uscc` is the institution whose data alone they see, for that role.

    Who has no password signs in elsewhere; `password_set_at` is then when they were added.
    """

    name: str
    display_name: str
    role: UserRole
    districts: tuple[str, ...] | None
    uscc: str | None
    created_at: datetime
    changed_at: datetime
    password_set_at: datetime
    disabled_at: datetime | None = None
    has_password: bool = True

    @property
    def is_open(self) -> bool:
        """They may sign in."""
        return self.disabled_at is None

    @property
    def visible(self) -> Visible:
        """What part of the register they see."""
        return Visible(districts=self.districts, uscc=self.uscc)


def add(
    session: Session, *, name: str, display_name: str, role: UserRole, districts: Sequence[str] | None,
    uscc: str | None, password_hash: str, now: datetime,
) -> bool:
    """Keep a new person; False if the name is taken, by somebody disabled too: a name stands for one person."""
    return run(
        session,
        "INSERT INTO users (name, display_name, role, districts, uscc, password_hash, created_at, changed_at,"
        " password_set_at) VALUES (:name, :display_name, :role, :districts, :uscc, :password_hash, :now, :now, :now)"
        " ON CONFLICT (name) DO NOTHING",
        name=name, display_name=display_name, role=role.value, districts=_written(districts), uscc=uscc,
        password_hash=password_hash, now=now,
    ).rowcount > 0


def user(session: Session, name: str) -> User | None:
    """One person, disabled or not."""
    return next(iter(_users(session, "WHERE name = :name", name=name)), None)


def known(session: Session) -> list[User]:
    """Everybody, by name."""
    return _users(session, "ORDER BY name")


def page(
    session: Session, reach: Visible, *, after: str = "", limit: int, role: UserRole | None = None,
    is_open: bool | None = None,
) -> list[User]:
    """People by name whom somebody who sees `reach` may look after: who see nothing beyond it."""
    where, given = ["name > :after"], {}
    if role is not None:
        where.append("role = :role")
        given["role"] = role.value
    if is_open is not None:
        where.append(f"disabled_at IS {'' if is_open else 'NOT '}NULL")
    if not reach.is_everything:
        inside, codes = conditions(reach, uscc="users.uscc")
        where.append(f"((uscc IS NULL AND districts IS NOT NULL) OR ({' AND '.join(inside)}))")
        given |= codes
    found: list[User] = []
    while len(found) < limit:
        some = _users(
            session, f"WHERE {' AND '.join(where)} ORDER BY name LIMIT {PEOPLE_AT_ONCE}", **given | {"after": after}
        )
        found.extend(one for one in some if one.uscc is not None or reach.includes(one.visible))
        if len(some) < PEOPLE_AT_ONCE:
            break
        after = some[-1].name
    return found[:limit]


def password_hash(session: Session, name: str) -> str | None:
    """The hash of a person's password; None if there is no such person."""
    found: str | None = run(session, "SELECT password_hash FROM users WHERE name = :name", name=name).scalar()
    return found


def set_password_hash(session: Session, name: str, hashed: str, *, now: datetime, is_new: bool) -> None:
    """Keep another hash; `is_new` False where only the way of hashing is another and the password the same."""
    moved = ", password_set_at = :now, changed_at = :now" if is_new else ""
    given = {"now": now} if is_new else {}
    run(
        session, f"UPDATE users SET password_hash = :hashed{moved} WHERE name = :name",
        hashed=hashed, name=name, **given,
    )


def set_role(session: Session, name: str, role: UserRole, *, uscc: str | None, now: datetime) -> None:
    """Give a person another role."""
    run(
        session, "UPDATE users SET role = :role, uscc = :uscc, changed_at = :now WHERE name = :name",
        role=role.value, uscc=uscc, now=now, name=name,
    )


def set_districts(session: Session, name: str, districts: Sequence[str] | None, *, now: datetime) -> None:
    """Limit a person to these districts; None: to none in particular."""
    run(
        session, "UPDATE users SET districts = :districts, changed_at = :now WHERE name = :name",
        districts=_written(districts), now=now, name=name,
    )


def set_disabled(session: Session, name: str, at: datetime | None, *, now: datetime) -> None:
    """Close a person's account, or open it again with None."""
    run(session, "UPDATE users SET disabled_at = :at, changed_at = :now WHERE name = :name", at=at, now=now, name=name)


def _users(session: Session, clauses: str, **values: str) -> list[User]:
    reader = Reader(session)
    rows = run(
        session,
        "SELECT name, display_name, role, districts, uscc, created_at, changed_at, password_set_at, disabled_at,"
        f" password_hash <> '' FROM users {clauses}", **values,
    )
    return [
        User(
            name=row[0], display_name=row[1], role=UserRole(row[2]),
            districts=None if row[3] is None else tuple(row[3].split()), uscc=row[4], created_at=reader.at(row[5]),
            changed_at=reader.at(row[6]), password_set_at=reader.at(row[7]), disabled_at=reader.instant(row[8]),
            has_password=bool(row[9]),
        )
        for row in rows
    ]


def _written(districts: Sequence[str] | None) -> str | None:
    return None if districts is None else " ".join(districts)
