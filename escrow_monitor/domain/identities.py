"""Who somebody is at the sign-in of an organisation, and what that makes of them here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from escrow_monitor.domain.permissions import UserRole
from escrow_monitor.domain.visibility import DISTRICT_SHAPE


class OutsideRefusal(StrEnum):
    """Why somebody whom the provider vouched for is not let in here."""

    UNKNOWN = "unknown"
    NAME_TAKEN = "name_taken"
    NO_NAME = "no_name"
    NO_ROLE = "no_role"
    NO_PLACE = "no_place"
    DISABLED = "disabled"


class OutsideRefused(Exception):
    """Somebody whom the provider vouched for is not let in, and why."""

    def __init__(self, reason: OutsideRefusal, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Outsider:
    """Whom a provider vouched for: issuer and subject are the identity and nothing else is, an e-mail address least."""

    issuer: str
    subject: str
    claims: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleLine:
    """Who has `value` in the claim of roles has this role here. `districts` None: the claim of districts says which;
    an empty tuple is every district. `uscc` None, for the role institution: the claim of the institution says which."""

    value: str
    role: UserRole
    districts: tuple[str, ...] | None = None
    uscc: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """How claims are read. `roles` empty: the role is the one that was given here. A claim may lie deeper: `a.b`.

    `provision` adds somebody who was never here; else only people who were added are let in.
    """

    name_claim: str = "preferred_username"
    display_name_claim: str = "name"
    roles_claim: str = "groups"
    districts_claim: str = ""
    institution_claim: str = ""
    roles: Sequence[RoleLine] = ()
    provision: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A role, and the part of the register that comes with it. `districts` None is every one."""

    role: UserRole
    districts: tuple[str, ...] | None = None
    uscc: str | None = None


def place_of(outsider: Outsider, mapped: Mapped) -> Place | None:
    """What the provider says that somebody may here, by the first line that fits; None where it is not asked.

    Raises OutsideRefused: nobody is let in with a role that was not meant for them, or to every district because a
    claim was missing.
    """
    if not mapped.roles:
        return None
    held = set(texts_of(outsider, mapped.roles_claim))
    line = next((line for line in mapped.roles if line.value in held), None)
    if line is None:
        raise OutsideRefused(OutsideRefusal.NO_ROLE, f"no value of the claim {mapped.roles_claim} stands for a role")
    if line.role is UserRole.INSTITUTION:
        return Place(role=line.role, uscc=line.uscc or _one(outsider, mapped.institution_claim))
    if line.districts is not None:
        return Place(role=line.role, districts=line.districts or None)
    codes = tuple(sorted({code for text in texts_of(outsider, mapped.districts_claim) for code in text.split()}))
    if not codes or not all(DISTRICT_SHAPE.match(code) for code in codes):
        raise OutsideRefused(
            OutsideRefusal.NO_PLACE, f"the claim {mapped.districts_claim} names no district, or one that is none"
        )
    return Place(role=line.role, districts=codes)


def text_of(outsider: Outsider, claim: str) -> str:
    """The text of a claim without the spaces around it; empty where there is none."""
    return next(iter(texts_of(outsider, claim)), "").strip()


def texts_of(outsider: Outsider, claim: str) -> list[str]:
    """The texts of a claim: one, or several in a list. What is no text is none."""
    if not claim:
        return []
    found: object = outsider.claims.get(claim)
    if found is None:
        found = outsider.claims
        for part in claim.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    several = found if isinstance(found, list) else [found]
    return [one for one in several if isinstance(one, str)]


def _one(outsider: Outsider, claim: str) -> str:
    found = texts_of(outsider, claim)
    if len(found) != 1 or not found[0]:
        raise OutsideRefused(OutsideRefusal.NO_PLACE, f"the claim {claim} does not name one institution")
    return found[0]
