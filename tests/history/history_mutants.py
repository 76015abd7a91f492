"""Faults that are planted to see the checker find them: each names the law that it breaks.

A mutant takes the place of a piece of the program in the process that is watched, and nowhere else.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from alerts.alert import Alert, Clear, FeedEntry, Signal, TransitionKind, Why
from alerts.book import Decided
from alerts.channels.webhook import WebhookChannel
from alerts.decisions import Act
from alerts.delivery import Delivered
from escrow_monitor.records import runs
from escrow_monitor.records.alerts import book as alert_book
from escrow_monitor.records.alerts import decisions as alert_decisions
from escrow_monitor.records.alerts import deliveries, feed, silences
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.bulk import run
from escrow_monitor.records.database import Session
from escrow_monitor.records.evidence import audit
from escrow_monitor.rounds import deliver_alerts as deliver_round


@dataclass(frozen=True)
class Mutant:
    """How to spoil the program, and the law that must be named then.

    `kills`: killing shows it best. `seed`: a history in which it matters.
    """

    plant: Callable[[], None]
    law: str
    kills: bool = False
    seed: int = 1


def _every(nth: int) -> Callable[[], bool]:
    numbers = itertools.count(1)
    return lambda: next(numbers) % nth == 0


def _put(owner: object, name: str, instead: object) -> None:
    """Put something in the place of what an owner calls by this name."""
    setattr(owner, name, instead)


def drops_a_transition() -> None:
    """One signal in some is noted by nobody."""
    advance, now_and_then = RecordsAlertBook.advance, _every(4)

    def forgetful(book: RecordsAlertBook, *, signals: Sequence[Signal], **said: Any) -> tuple[FeedEntry, ...]:
        kept = [one for one in signals if one.key.rule != "floor" or not now_and_then()]
        return advance(book, signals=kept, **said)

    _put(RecordsAlertBook, "advance", forgetful)


def hides_the_silenced() -> None:
    """What is silenced does not even reach the feed."""
    advance = RecordsAlertBook.advance

    def hushed(
        book: RecordsAlertBook, *, signals: Sequence[Signal], now: datetime, **said: Any
    ) -> tuple[FeedEntry, ...]:
        hiding = [kept.silence.matchers for kept in silences.silences(book._session, at=now)]
        kept = [one for one in signals if not any(_fits(matchers, one) for matchers in hiding)]
        return advance(book, signals=kept, now=now, **said)

    _put(RecordsAlertBook, "advance", hushed)


def _fits(matchers: Mapping[str, str], signal: Signal) -> bool:
    facts = {**signal.labels, "rule": signal.key.rule}
    return all(facts.get(name) == value for name, value in matchers.items())


def ends_what_is_unknown() -> None:
    """An alert of which a check heard nothing is taken to be over."""
    advance, now_and_then = RecordsAlertBook.advance, _every(6)

    def hopeful(
        book: RecordsAlertBook, *, signals: Sequence[Signal], clears: Sequence[Clear], now: datetime, cause: str
    ) -> tuple[FeedEntry, ...]:
        spoken_of = {one.key for one in signals} | {one.key for one in clears}
        silent = [one for one in book.open_alerts(rule="floor") if one.key not in spoken_of]
        if cause == "round:check-balances" and silent and now_and_then():
            clears = [*clears, Clear(key=silent[0].key, standing="met", why=Why("无", "none"), as_of=now)]
        return advance(book, signals=signals, clears=clears, now=now, cause=cause)

    _put(RecordsAlertBook, "advance", hopeful)


def never_ends() -> None:
    """What is absent is heard by nobody."""
    advance = RecordsAlertBook.advance

    def gloomy(book: RecordsAlertBook, *, clears: Sequence[Clear], **said: Any) -> tuple[FeedEntry, ...]:
        return advance(book, clears=[one for one in clears if one.key.rule != "floor"], **said)

    _put(RecordsAlertBook, "advance", gloomy)


def bank_silence_is_silent() -> None:
    """A bank that does not answer is heard of by nobody."""
    advance = RecordsAlertBook.advance

    def deaf(book: RecordsAlertBook, *, signals: Sequence[Signal], **said: Any) -> tuple[FeedEntry, ...]:
        return advance(book, signals=[one for one in signals if one.key.rule != "bank_silent"], **said)

    _put(RecordsAlertBook, "advance", deaf)


def tells_another_body() -> None:
    """A repeated message says when it is sent."""
    body, numbers = WebhookChannel._body, itertools.count()

    def dated(channel: WebhookChannel, entry: FeedEntry, message_id: str) -> bytes:
        return body(channel, entry, message_id).replace(b'"datacontenttype"', b'"try":%d,"datacontenttype"' % next(
            numbers
        ))

    _put(WebhookChannel, "_body", dated)


def skips_a_number() -> None:
    """A feed number is left out."""
    publish, now_and_then = feed.publish, _every(12)

    def skipping(session: Session, heard: Any, *, first_seq: int, **said: Any) -> tuple[FeedEntry, ...]:
        return publish(session, heard, first_seq=first_seq + now_and_then(), **said)

    _put(alert_book, "publish", skipping)


def changes_the_past() -> None:
    """A published entry is made milder afterwards, the triggers put out of the way."""
    begin, now_and_then = runs.begin, _every(40)

    def begun(session: Session, **said: Any) -> runs.Beginning:
        if now_and_then() and run(session, "SELECT count(*) FROM feed_entries").scalar():
            for (name,) in run(
                session, "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'feed_entries'"
            ).all():
                run(session, f"DROP TRIGGER {name}")
            run(session, "UPDATE feed_entries SET why_en = 'nothing' WHERE seq = 1")
        return begin(session, **said)

    _put(runs, "begin", begun)


def spoils_the_chain() -> None:
    """An entry of the audit chain is not what was hashed."""
    lock_chain, now_and_then = audit.lock_chain, _every(30)

    def spoilt(session: Session) -> Any:
        if now_and_then():
            for (name,) in run(
                session, "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit_entries'"
            ).all():
                run(session, f"DROP TRIGGER {name}")
            run(session, "UPDATE audit_entries SET canonical = replace(canonical, '{', '{ ') WHERE seq = 3")
        return lock_chain(session)

    _put(audit, "lock_chain", spoilt)


def forgets_a_decision() -> None:
    """A decision is told to be made, and it is not kept."""
    begin, now_and_then = alert_decisions.begin, _every(3)

    def lost(session: Session, made: Any) -> None:
        if not now_and_then():
            begin(session, made)

    _put(alert_decisions, "begin", lost)


def ends_decisions_early() -> None:
    """A decision is over as soon as its alert is looked at."""
    decide = RecordsAlertBook.decide

    def decided(book: RecordsAlertBook, alert_id: str, act: Act, *, now: datetime) -> Decided | None:
        made = decide(book, alert_id, act, now=now)
        run(
            book._session,
            "UPDATE alert_decisions SET ended_at = :now, ended_by = 'round', ended_reason = 'alert_ended'"
            " WHERE alert_id = :alert_id AND ended_at IS NULL", now=now + timedelta(seconds=1), alert_id=alert_id,
        )
        return made

    _put(RecordsAlertBook, "decide", decided)


def forgets_a_silence() -> None:
    """A silence is told to be made, and it is not kept."""
    _put(silences, "add", lambda *_, **__: None)


def opens_unheard() -> None:
    """An alert opens, and the feed is not told."""
    keep = RecordsAlertBook._keep

    def unheard(book: RecordsAlertBook, changed: Sequence[Alert], heard: Any, *rest: Any, **said: Any) -> Any:
        told = [
            one for one in heard
            if not (one.kind is TransitionKind.OPENED and one.alert.key.rule == "freshness")
        ]
        return keep(book, changed, told, *rest, **said)

    _put(RecordsAlertBook, "_keep", unheard)


def leaves_runs_open() -> None:
    """How a round ended is not noted at times."""
    finish, now_and_then = runs.finish, _every(9)

    def unfinished(session: Session, **said: Any) -> None:
        if not now_and_then():
            finish(session, **said)

    _put(runs, "finish", unfinished)


def forgets_what_is_owed() -> None:
    """A channel is not owed an entry at times."""
    owe, now_and_then = deliveries.owe, _every(5)

    def forgetful(session: Session, entries: Any, *, channels: Sequence[str]) -> None:
        owe(session, entries, channels=channels[:1] if now_and_then() else channels)

    _put(deliveries, "owe", forgetful)


def puts_off_for_ever() -> None:
    """A delivery that failed is tried again in a hundred years."""
    settle = deliveries.settle

    def settled(session: Session, results: Any, *, now: datetime) -> int:
        return settle(session, [
            (delivery, attempt, replace(fate, due_at=now + timedelta(days=36_500)) if hasattr(fate, "due_at") else fate)
            for delivery, attempt, fate in results
        ], now=now)

    _put(deliver_round, "settle", settled)


def believes_it_was_sent() -> None:
    """A delivery counts as made when the receiver did not take it."""
    settle = deliveries.settle

    def settled(session: Session, results: Any, *, now: datetime) -> int:
        return settle(session, [(delivery, attempt, Delivered()) for delivery, attempt, _ in results], now=now)

    _put(deliver_round, "settle", settled)


def judged_before_it_is_told() -> None:
    """That accounts were examined is kept in a transaction before the one that tells the alerts."""
    advance = RecordsAlertBook.advance

    def in_two(book: RecordsAlertBook, *, signals: Any, clears: Any, now: datetime, cause: str) -> Any:
        session = book._session
        if cause == "round:check-balances":
            # As it is after a check: nothing new is known of any account.
            run(
                session, "UPDATE account_standings SET checked_version = (SELECT s.input_version FROM account_states s"
                " WHERE s.account_no = account_standings.account_no)"
            )
            session.connection().connection.dbapi_connection.commit()  # type: ignore[union-attr]
            session.connection().exec_driver_sql("BEGIN IMMEDIATE")
        return advance(book, signals=signals, clears=clears, now=now, cause=cause)

    _put(RecordsAlertBook, "advance", in_two)


def calls_the_silenced() -> None:
    """Silences are not heeded."""
    from alerts import routing

    _put(routing, "_silenced", lambda *_: None)


def stumbles() -> None:
    """The program itself fails at times."""
    claim, now_and_then = deliveries.claim, _every(15)

    def stumbling(session: Session, **said: Any) -> Any:
        if now_and_then():
            raise AssertionError("stumbled")
        return claim(session, **said)

    _put(deliver_round, "claim", stumbling)


def mutants() -> Iterator[tuple[str, Mutant]]:
    """All of them, by name."""
    told, silent, dense = "what is known is told", "a silent bank is told", "the feed is dense"
    settled, decided = "what is owed is settled", "what people decide is kept"
    for plant, law in (
        (drops_a_transition, told), (hides_the_silenced, told), (never_ends, told), (bank_silence_is_silent, silent),
        (ends_what_is_unknown, "what is resolved was examined"), (tells_another_body, "a message has one body"),
        (skips_a_number, dense), (changes_the_past, "the feed never changes"), (spoils_the_chain, "the chain is whole"),
        (forgets_a_decision, decided), (ends_decisions_early, decided), (forgets_a_silence, "silences are kept"),
        (opens_unheard, "the lives of alerts are whole"), (leaves_runs_open, "every run ends"),
        (forgets_what_is_owed, settled), (puts_off_for_ever, settled), (believes_it_was_sent, settled),
        (stumbles, "the program goes on"),
    ):
        yield plant.__name__.replace("_", "-"), Mutant(plant, law)
    yield "calls-the-silenced", Mutant(calls_the_silenced, "quiet is quiet", seed=3)
    yield "judged-before-it-is-told", Mutant(judged_before_it_is_told, told, kills=True)


MUTANTS: Mapping[str, Mutant] = dict(mutants())

