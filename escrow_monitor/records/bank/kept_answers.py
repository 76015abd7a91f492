"""What was answered to a write over HTTP that carried an idempotency key: asked again, it is answered the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Field, Session

from escrow_monitor.errors import UsageError
from escrow_monitor.records.bulk import insert, run
from escrow_monitor.records.columns import Row, large
from escrow_monitor.records.evidence.audit import lock_chain


class KeptAnswerRow(Row, table=True):
    """One answer, kept with the write it answered: both or neither."""

    __tablename__ = "kept_answers"

    actor: str = Field(primary_key=True)
    idempotency_key: str = Field(primary_key=True)
    asked_sha256: str
    status: int = large()
    body: str
    answered_at: datetime


class AnotherQuestion(UsageError):
    """This idempotency key was used for another request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """A status and a JSON body."""

    status: int
    body: str


def once(
    session: Session, *, actor: str, idempotency_key: str, asked_sha256: str, now: datetime,
    do: Callable[[], KeptAnswer],
) -> KeptAnswer:
    """Do what is asked and keep the answer, or give the answer that was kept for the same key of the same actor.

    `asked_sha256` is the hash of all that was asked. Raises AnotherQuestion if the key stands for something else.
    """
    # The lock that every write of a person takes: of two requests with one key, the second finds the first's answer.
    lock_chain(session)
    kept = kept_answer(session, actor=actor, idempotency_key=idempotency_key, asked_sha256=asked_sha256)
    if kept is not None:
        return kept
    answer = do()
    insert(session, "kept_answers", _COLUMNS, [
        (actor, idempotency_key, asked_sha256, answer.status, answer.body, now)
    ])
    return answer


def kept_answer(
    session: Session, *, actor: str, idempotency_key: str, asked_sha256: str
) -> KeptAnswer | None:
    """The answer that was kept for this key, if any. Raises AnotherQuestion if the key stands for something else."""
    found = run(
        session,
        "SELECT asked_sha256, status, body FROM kept_answers WHERE actor = :actor AND idempotency_key = :key",
        actor=actor, key=idempotency_key,
    ).first()
    if found is None:
        return None
    if found[0] != asked_sha256:
        raise AnotherQuestion
    return KeptAnswer(status=found[1], body=found[2])


_COLUMNS = {
    "actor": str, "idempotency_key": str, "asked_sha256": str, "status": int, "body": str, "answered_at": datetime,
}
