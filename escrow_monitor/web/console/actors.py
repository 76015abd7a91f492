"""Who did something, as pages name them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from alerts.decisions import person
from escrow_monitor.records.database import Session
from escrow_monitor.records.people import users
from escrow_monitor.web.console.words import Words

SIDES = frozenset({"import", "system", "staff", "institution"})
"""What stands in place of a name: what the program did, and who is not named to who reads it."""


def names_of(session: Session, actors: Iterable[str]) -> dict[str, str]:
    """What the people among these are called, where that was recorded."""
    found = {actor: users.user(session, person(actor)) for actor in set(actors) if actor.startswith("user:")}
    return {actor: one.display_name for actor, one in found.items() if one is not None and one.display_name}


def who_did(words: Words, actor: str, *, names: Mapping[str, str]) -> str:
    """Who did something, as people say it: a person by name, what came another way with that."""
    kind, colon, name = actor.partition(":")
    if not colon:
        return words(f"who.{actor}") if actor in SIDES else actor
    return words(f"who.{kind}", name=name) if kind in ("cli", "key") else names.get(actor) or person(actor)
