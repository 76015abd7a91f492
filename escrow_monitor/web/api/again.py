"""A write that carries an Idempotency-Key is made once; asked again, it is answered the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Annotated

from fastapi import Header
from starlette.responses import Response

from escrow_monitor.records.bank.kept_answers import AnotherQuestion, KeptAnswer, kept_answer, once
from escrow_monitor.records.database import Database, Session
from escrow_monitor.web.problems import PROBLEM_JSON, Problem

Again = Annotated[str | None, Header(max_length=200, description="the same key and body get the same answer")]


def made_once(
    session: Session, *, actor: str, idempotency_key: str | None, asked: str, now: datetime,
    do: Callable[[], KeptAnswer],
) -> KeptAnswer:
    """Do what is asked, once for one key of one actor; without a key each time. `asked` is all that was asked, as text.

    Raises Problem 409 if the key stands for something else.
    """
    if idempotency_key is None:
        return do()
    digest = hashlib.sha256(asked.encode()).hexdigest()
    try:
        return once(session, actor=actor, idempotency_key=idempotency_key, asked_sha256=digest, now=now, do=do)
    except AnotherQuestion as error:
        raise Problem(409, str(error)) from error


def kept_once(
    database: Database, do: Callable[[], KeptAnswer], *, actor: str, idempotency_key: str | None,
    asked: Iterable[bytes], now: datetime,
) -> KeptAnswer:
    """The same for what has transactions of its own and changes nothing when it is done twice, as loading a file: the
    answer is kept after it.

    Raises Problem 409 if the key stands for something else.
    """
    if idempotency_key is None:
        return do()
    digest = hashlib.sha256()
    for part in asked:
        digest.update(part)
    try:
        with database.read() as session:
            kept = kept_answer(
                session, actor=actor, idempotency_key=idempotency_key, asked_sha256=digest.hexdigest()
            )
        if kept is not None:
            return kept
        answer = do()
        with database.write() as session:
            return once(
                session, actor=actor, idempotency_key=idempotency_key, asked_sha256=digest.hexdigest(), now=now,
                do=lambda: answer,
            )
    except AnotherQuestion as error:
        raise Problem(409, str(error)) from error


def refusal(problem: Problem) -> KeptAnswer:
    """A refusal as an answer that is kept."""
    return KeptAnswer(status=problem.status, body=bytes(problem.response().body).decode())


def answer_of(kept: KeptAnswer) -> Response:
    """A kept answer as it goes out: what was done as JSON, what was refused as a problem."""
    media_type = PROBLEM_JSON if kept.status >= 400 else "application/json"
    return Response(kept.body, kept.status, {"Cache-Control": "no-store"}, media_type)
