"""Who of our people is who at a provider: issuer and subject, and the name that they have here."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, Session

from escrow_monitor.records.bulk import Reader, run
from escrow_monitor.records.columns import Row


class IdentityRow(Row, table=True):
    """One identity at a provider. Of one provider a person has at most one."""

    __tablename__ = "identities"
    __table_args__ = (UniqueConstraint("user_name", "issuer", name="uq_identities_user_name_issuer"),)

    issuer: str = Field(primary_key=True)
    subject: str = Field(primary_key=True)
    user_name: str = Field(foreign_key="users.name")
    linked_at: datetime
    linked_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whose identity it is, since when, and who said so."""

    issuer: str
    subject: str
    user_name: str
    linked_at: datetime
    linked_by: str


def link(session: Session, *, issuer: str, subject: str, user_name: str, by: str, now: datetime) -> bool:
    """Keep that this identity is this person's; False if it is somebody's, or the person has another of this issuer."""
    return run(
        session,
        "INSERT INTO identities (issuer, subject, user_name, linked_at, linked_by)"
        " VALUES (:issuer, :subject, :user_name, :now, :by) ON CONFLICT DO NOTHING",
        issuer=issuer, subject=subject, user_name=user_name, now=now, by=by,
    ).rowcount > 0


def unlink(session: Session, user_name: str) -> list[Identity]:
    """Forget the identities of a person; return those that were."""
    found = of_user(session, user_name)
    run(session, "DELETE FROM identities WHERE user_name = :user_name", user_name=user_name)
    return found


def identity(session: Session, *, issuer: str, subject: str) -> Identity | None:
    """Whose this identity is."""
    found = _identities(session, "WHERE issuer = :issuer AND subject = :subject", issuer=issuer, subject=subject)
    return next(iter(found), None)


def of_user(session: Session, user_name: str) -> list[Identity]:
    """The identities of a person."""
    return _identities(session, "WHERE user_name = :user_name ORDER BY issuer", user_name=user_name)


def of_users(session: Session, user_names: Iterable[str]) -> dict[str, list[Identity]]:
    """The identities of these people, by name; who has none is not in it."""
    found: dict[str, list[Identity]] = {}
    for one in _identities(session, "WHERE user_name IN EACH(:names) ORDER BY issuer", names=list(user_names)):
        found.setdefault(one.user_name, []).append(one)
    return found


def _identities(session: Session, clauses: str, **values: str | list[str]) -> list[Identity]:
    reader = Reader(session)
    rows = run(
        session, f"SELECT issuer, subject, user_name, linked_at, linked_by FROM identities {clauses}", **values
    )
    return [
        Identity(issuer=row[0], subject=row[1], user_name=row[2], linked_at=reader.at(row[3]), linked_by=row[4])
        for row in rows
    ]
