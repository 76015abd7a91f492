"""Whose turn it is at each bank: one sweep at a time over all nodes, so that a bank's limits hold for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlmodel import Field, Session

from escrow_monitor.records.bulk import Reader, run
from escrow_monitor.records.columns import Row


class BankTurnRow(Row, table=True):
    """Who asks a bank now, and until when the bank has asked to be left alone."""

    __tablename__ = "bank_turns"

    bank: str = Field(primary_key=True)
    holder: str | None = None
    claimant: str | None = None
    since: datetime | None = None
    held_until: datetime | None = None
    rest_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """How it stands at a bank after somebody asked for the turn: `mine` if it was given."""

    mine: bool
    holder: str | None
    since: datetime | None
    rest_until: datetime | None


def take_turn(
    session: Session, bank: str, *, holder: str, claimant: str, now: datetime, until: datetime
) -> Turn:
    """Take the turn at a bank if nobody else holds it, or he has not said for too long that he still does.

    `holder` is the run, `claimant` the process that does it.
    """
    run(session, "INSERT INTO bank_turns (bank) VALUES (:bank) ON CONFLICT (bank) DO NOTHING", bank=bank)
    taken = run(
        session,
        "UPDATE bank_turns SET holder = :holder, claimant = :claimant, since = :now, held_until = :until"
        " WHERE bank = :bank AND (holder IS NULL OR holder = :holder OR held_until <= :now) RETURNING bank",
        bank=bank, holder=holder, claimant=claimant, now=now, until=until,
    ).first()
    reader = Reader(session)
    row = run(session, "SELECT holder, since, rest_until FROM bank_turns WHERE bank = :bank", bank=bank).one()
    return Turn(
        mine=taken is not None, holder=row[0], since=reader.instant(row[1]), rest_until=reader.instant(row[2])
    )


def keep_turn(session: Session, bank: str, *, holder: str, until: datetime) -> bool:
    """Hold the turn for longer; False if somebody else has it by now."""
    kept = run(
        session,
        "UPDATE bank_turns SET held_until = :until WHERE bank = :bank AND holder = :holder RETURNING bank",
        bank=bank, holder=holder, until=until,
    ).first()
    return kept is not None


def free_turns(session: Session, *, claimant: str) -> None:
    """Free what a process held when it died: it calls this when it starts anew."""
    run(
        session,
        "UPDATE bank_turns SET holder = NULL, claimant = NULL, since = NULL, held_until = NULL"
        " WHERE claimant = :claimant",
        claimant=claimant,
    )


def give_turn_back(session: Session, bank: str, *, holder: str, rest_until: datetime | None) -> None:
    """Let the next one ask the bank, `rest_until` or later where the bank has said so."""
    run(
        session,
        "UPDATE bank_turns SET holder = NULL, claimant = NULL, since = NULL, held_until = NULL,"
        " rest_until = CASE WHEN :resting THEN :rest_until ELSE rest_until END"
        " WHERE bank = :bank AND holder = :holder",
        bank=bank, holder=holder, resting=rest_until is not None,
        rest_until=rest_until or datetime(1970, 1, 1, tzinfo=UTC),
    )
