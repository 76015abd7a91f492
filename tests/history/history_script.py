"""From a seed to a history: every step with its time, what the banks hold by then, and what goes wrong.

    seed --> [Step, Step, ...]      all is decided here: a killed step is done again and finds the same world

The times are those of the program's clock, which is stepped forward by hours and back by minutes, never over midnight.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

HOST = "127.0.0.1"
SHANGHAI = ZoneInfo("Asia/Shanghai")
BEGINS = datetime(2026, 1, 6, 1, tzinfo=UTC)
BANKS = {
    "lotus": ("420100000000000001", "420100000000000002", "420100000000000003", "420100000000000004"),
    "reed": ("420100000000000011", "420100000000000012", "420100000000000013", "420100000000000014"),
}
BANK_OF = {number: bank for bank, numbers in BANKS.items() for number in numbers}
FLOOR, FINE = 100_000, 150_000
LEVEL: Mapping[int, str | None] = {150_000: None, 130_000: None, 105_000: "yellow", 95_000: "orange", 70_000: "red"}
"""What an account may hold, and what it must be called that holds so much: far from all thresholds and margins."""
RANK = {None: 0, "info": 1, "yellow": 2, "orange": 3, "red": 4}

BANK_FAULTS = ("reset", "cut", "status-500", "status-503", "garbage", "status-404", "late", "statement")
"""What befalls the calls about one account. `late` is answered in the end; `statement` hits only the second call."""
SILENT_FAULTS = frozenset(BANK_FAULTS) - {"late", "statement"}
HOOK_FAULTS = ("status-500", "cut", "lost", "late", "status-400")
"""What befalls a message. `lost` was taken, and the answer never arrived; `status-400` says never again."""
PEOPLE = ("cli:li", "key:wang", "cli:zhao")
CHANNELS = ("hook", "desk")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that is done. `moves`: what accounts hold from now on. `faults`: of accounts, or of a receiver.

    `both` are two steps that are done at once, by two programs on one database.
    """

    number: int
    at: datetime
    do: str
    shard: str = "all"
    moves: Mapping[str, int] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    refuses: str | None = None
    person: str = ""
    other: str = ""
    pick: int = 0
    minutes: int = 0
    both: tuple[Step, ...] = ()

    @property
    def parts(self) -> tuple[Step, ...]:
        """What is done in it: itself, or the two."""
        return self.both or (self,)


@dataclass(frozen=True, kw_only=True)
class Script:
    """A whole history. `alone`: nothing in it depends on who is first, so it can be compared with another telling.

    `floor_open_after` and `floor_resolve_after` are the patience of the rule that the oracle knows best.
    """

    seed: int
    steps: tuple[Step, ...]
    alone: bool
    floor_open_after: timedelta
    floor_resolve_after: timedelta

    @cached_property
    def held(self) -> tuple[Mapping[str, int], ...]:
        """What each account holds at each step."""
        found, held = [], dict.fromkeys(BANK_OF, FINE)
        for step in self.steps:
            held = {**held, **step.moves}
            found.append(held)
        return tuple(found)

    def closing(self, number: int, account: str, day: date) -> int:
        """What an account held at the end of a day, as known at a step."""
        held = FINE
        for at, amount in self._moves[account]:
            if at > number or local_day(self.steps[at].at) > day:
                break
            held = amount
        return held

    def entries(self, number: int, account: str, first: date, last: date) -> Iterator[tuple[str, date, int]]:
        """Id, day and amount of what moved on these days, as known at a step."""
        before = FINE
        for at, amount in self._moves[account]:
            day = local_day(self.steps[at].at)
            if at > number or day > last:
                return
            if day >= first and amount != before:
                yield f"{account[-2:]}-{at}", day, amount - before
            before = amount

    @cached_property
    def _moves(self) -> Mapping[str, list[tuple[int, int]]]:
        found: dict[str, list[tuple[int, int]]] = {number: [] for number in BANK_OF}
        for step in self.steps:
            for number, amount in step.moves.items():
                found[number].append((step.number, amount))
        return found


def local_day(at: datetime) -> date:
    """The day on which the banks put an instant."""
    return at.astimezone(SHANGHAI).date()


def script_of(seed: int, *, steps: int, alone: bool = False) -> Script:
    """Make a history up. The same seed, length and kind give the same one."""
    chance = random.Random(f"{seed}/{alone}")
    patient = seed % 3 == 2
    at, found = BEGINS, list[Step]()
    while len(found) < steps:
        at = _later(chance, at)
        number = len(found)
        exact = at.replace(microsecond=number + 1)
        found.append(_step(chance, number, exact, alone=alone))
    found.extend(_closing(at, len(found)))
    return Script(
        seed=seed, steps=tuple(found), alone=alone,
        floor_open_after=timedelta(hours=2) if patient else timedelta(0),
        floor_resolve_after=timedelta(hours=1) if patient else timedelta(0),
    )


def _later(chance: random.Random, at: datetime) -> datetime:
    """The clock of the next step: mostly a little later, at times much, at times before."""
    kind = chance.random()
    if kind < 0.05:
        back = at - timedelta(seconds=chance.randint(1, 480))
        return back if local_day(back) == local_day(at) else at + timedelta(seconds=1)
    if kind < 0.62:
        return at + timedelta(seconds=chance.randint(30, 300))
    if kind < 0.87:
        return at + timedelta(seconds=chance.randint(300, 2400))
    if kind < 0.975:
        return at + timedelta(minutes=chance.randint(60, 300))
    return at + timedelta(hours=chance.randint(8, 30))


CLOSINGS = 12
CLOSING_HOURS = 7
"""Longer than the longest wait between two tries of a delivery."""


def _closing(at: datetime, number: int) -> Iterator[Step]:
    """Everything goes well for some days, so that all that is owed can be told."""
    for turn in range(CLOSINGS):
        at += timedelta(hours=CLOSING_HOURS)
        dos = [("pull", bank) for bank in BANKS] + [("check", "all"), ("watch", "all")] if turn in (0, 6) else []
        for do, shard in [*dos, *(("deliver", channel) for channel in CHANNELS)]:
            at += timedelta(seconds=1)
            yield Step(number=number, at=at.replace(microsecond=number + 1), do=do, shard=shard)
            number += 1


_WEIGHTS = {
    "pull": 26, "check": 22, "deliver": 18, "watch": 8, "acknowledge": 3, "snooze": 3, "propose": 4, "confirm": 3,
    "take-back": 2, "silence": 4, "unsilence": 1, "seal": 1, "reconcile": 1, "both": 5, "controls": 2,
}
_TOGETHER = {"pull": 4, "check": 4, "deliver": 3, "watch": 1, "acknowledge": 1}


def _step(chance: random.Random, number: int, at: datetime, *, alone: bool) -> Step:
    weights = {name: weight for name, weight in _WEIGHTS.items() if not (alone and name in ("both", "controls"))}
    moves = {
        account: chance.choice(list(LEVEL)) for account in BANK_OF if chance.random() < (0.06 if number else 0.3)
    }
    if chance.random() < 0.01:
        moves = dict.fromkeys(BANK_OF, chance.choice((70_000, 150_000)))
    do = chance.choices(list(weights), list(weights.values()))[0]
    if do == "both":
        pair = chance.choices(list(_TOGETHER), list(_TOGETHER.values()), k=2)
        both = tuple(_alone(chance, one, number, at) for one in pair)
        return Step(number=number, at=at, do=do, moves=moves, both=both)
    return _alone(chance, do, number, at, moves)


def _alone(
    chance: random.Random, do: str, number: int, at: datetime, moves: Mapping[str, int] | None = None
) -> Step:
    shard, faults, refuses = "all", dict[str, str](), None
    if do == "pull":
        shard = chance.choice(list(BANKS))
        kind = chance.random()
        if kind < 0.08:
            refuses, faults = shard, dict.fromkeys(BANKS[shard], "refused")
        elif kind < 0.14:
            faults = dict.fromkeys(BANKS[shard], chance.choice(BANK_FAULTS[:6]))
        elif kind < 0.4:
            faults = {account: chance.choice(BANK_FAULTS) for account in BANKS[shard] if chance.random() < 0.4}
    elif do == "deliver":
        shard = chance.choice(CHANNELS)
        kind = chance.random()
        if kind < 0.06:
            refuses = shard
        elif kind < 0.4:
            faults = {"often": str(chance.randint(10, 60))}
    person, other = chance.sample(PEOPLE, 2)
    return Step(
        number=number, at=at, do=do, shard=shard, moves=moves or {}, faults=faults, refuses=refuses,
        person=person, other=other, pick=chance.randrange(1000),
        minutes=chance.choice((300, 1500, 3000) if do == "silence" else (5, 30, 120, 600, 3000)),
    )


def message_fault(script: Script, step: Step, message_id: str) -> str | None:
    """What befalls this message at this step, however often it comes."""
    often = int(step.faults.get("often", 0))
    chance = random.Random(f"{script.seed}/{step.number}/{message_id}")
    if chance.random() * 100 >= often:
        return None
    return chance.choices(HOOK_FAULTS, (30, 25, 30, 10, 5))[0]
