"""Who may do what: one table of permissions by role, and what the scopes of API keys stand for.

    permission    viewer  staff  regulator  auditor  institution  admin
    read            x       x        x         x          x         x     accounts, alerts, cases, reconciliations
    feed            x       x        x         x          x         x     the numbered feed and its stream
    operations      x       x        x         x                    x     rounds and what runs beside them
    decide                  x        x                              x     alerts, moves of cases, reconciliations
    note                    x        x                   x          x     notes and documents of cases
    answer                                               x                what the institution itself says in its cases
    import                  x        x                              x     files of contracts, charges, lessons
    confirm                          x                              x     the second pair of eyes
    audit                            x         x                    x     who knew and did what, when
    metrics                                                         x     figures of the program
    admin                                                           x     users, keys

What is not in the table nobody may. The table says what somebody may do; where they may do it says `Visible`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum


class UserRole(StrEnum):
    """What somebody is here for. An institution sees its own data only."""

    VIEWER = "viewer"
    STAFF = "staff"
    REGULATOR = "regulator"
    AUDITOR = "auditor"
    ADMIN = "admin"
    INSTITUTION = "institution"


class Permission(StrEnum):
    """One thing that a route or a page asks for."""

    READ = "read"
    FEED = "feed"
    OPERATIONS = "operations"
    DECIDE = "decide"
    NOTE = "note"
    ANSWER = "answer"
    IMPORT = "import"
    CONFIRM = "confirm"
    AUDIT = "audit"
    METRICS = "metrics"
    ADMIN = "admin"


_P, _R = Permission, UserRole
_LOOKS = (_R.VIEWER, _R.STAFF, _R.REGULATOR, _R.AUDITOR, _R.ADMIN)

ROLES: Mapping[Permission, frozenset[UserRole]] = {
    _P.READ: frozenset((*_LOOKS, _R.INSTITUTION)),
    _P.FEED: frozenset((*_LOOKS, _R.INSTITUTION)),
    _P.OPERATIONS: frozenset(_LOOKS),
    _P.DECIDE: frozenset((_R.STAFF, _R.REGULATOR, _R.ADMIN)),
    _P.NOTE: frozenset((_R.STAFF, _R.REGULATOR, _R.ADMIN, _R.INSTITUTION)),
    _P.ANSWER: frozenset((_R.INSTITUTION,)),
    _P.IMPORT: frozenset((_R.STAFF, _R.REGULATOR, _R.ADMIN)),
    _P.CONFIRM: frozenset((_R.REGULATOR, _R.ADMIN)),
    _P.AUDIT: frozenset((_R.REGULATOR, _R.AUDITOR, _R.ADMIN)),
    _P.METRICS: frozenset((_R.ADMIN,)),
    _P.ADMIN: frozenset((_R.ADMIN,)),
}
"""Which roles have a permission."""

SCOPES: Mapping[str, frozenset[Permission]] = {
    "read": frozenset((_P.READ, _P.FEED, _P.OPERATIONS)),
    "feed": frozenset((_P.FEED,)),
    "decide": frozenset((_P.DECIDE, _P.CONFIRM, _P.NOTE)),
    "answer": frozenset((_P.ANSWER, _P.NOTE)),
    "import": frozenset((_P.IMPORT,)),
    "metrics": frozenset((_P.METRICS,)),
    "admin": frozenset(_P) - {_P.ANSWER},
}
"""What a scope of an API key stands for."""
OWNED_SCOPES = frozenset({"answer"})
"""Scopes that mean nothing on a key that belongs to no person: nobody answers for an institution but its own."""


def of_role(role: UserRole) -> frozenset[Permission]:
    """All that a role may."""
    return frozenset(permission for permission, roles in ROLES.items() if role in roles)


def of_scopes(scopes: Iterable[str]) -> frozenset[Permission]:
    """All that the key of a person with these scopes may, if the person may; an unknown scope is nothing."""
    return frozenset(permission for scope in scopes for permission in SCOPES.get(scope, ()))


def of_nobodys_scopes(scopes: Iterable[str]) -> frozenset[Permission]:
    """All that a key with these scopes may that belongs to no person."""
    return of_scopes(scope for scope in scopes if scope not in OWNED_SCOPES)
