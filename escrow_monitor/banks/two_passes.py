"""How a bank's accounts are gone through: every balance first, then the statements of those whose days are asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date

from escrow_monitor.banks.connector import Pull, PullOutcome, PullRequest, Raw
from escrow_monitor.banks.http import BankClient, CallRefused
from escrow_monitor.banks.statement_reading import Refused
from escrow_monitor.clock import Clock
from escrow_monitor.domain.statements import Refusal, Statement


@dataclass(frozen=True, slots=True)
class Broken:
    """Why a list went no further, and the bytes that could not be read, if any came."""

    refusal: Refusal
    raw: tuple[Raw, ...] = ()


def wants_days(request: PullRequest, last_closed: date) -> bool:
    """Whether statements are asked for of a day that has closed."""
    return request.statements_from is not None and request.statements_from <= last_closed


def statements_last(
    client: BankClient, outcomes: Iterable[tuple[PullRequest, PullOutcome]], *, wants: Callable[[PullRequest], bool],
    take: Callable[[PullRequest, Pull], Awaitable[Pull]],
) -> Iterator[PullOutcome]:
    """Yield outcomes as they come; those that answered and want statements come last, as `take` gives them back."""
    later: list[tuple[PullRequest, Pull]] = []
    for request, outcome in outcomes:
        if isinstance(outcome, Pull) and wants(request):
            later.append((request, outcome))
        else:
            yield outcome
    yield from client.each(later, lambda one: take(*one))


async def with_statements(
    pull: Pull, take: Callable[[list[Raw]], Awaitable[tuple[Statement, ...]]], *, clock: Clock,
    why: Callable[[CallRefused | Refused], Refusal],
) -> Pull:
    """The pull with the statements that `take` finds, or with why there are none to take.

    `take` puts the bytes into the list it is given as they come, so that they are kept also when one is refused.
    """
    raw: list[Raw] = []
    try:
        found = await take(raw)
    except (CallRefused, Refused) as error:
        refusals = error.refusals if isinstance(error, Refused) else (why(error),)
        return replace(pull, raw=(*pull.raw, *raw), refusals=refusals, finished_at=clock.now())
    return replace(pull, raw=(*pull.raw, *raw), statements=found, finished_at=clock.now())
