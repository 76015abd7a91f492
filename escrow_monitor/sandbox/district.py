"""A district that lives: institutions, their accounts at six banks, and what those banks know at any instant."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from functools import cached_property, lru_cache
from zoneinfo import ZoneInfo

from escrow_monitor.domain.accounts import Account, AccountStatus, Mode, Purpose
from escrow_monitor.domain.calendar import CalendarUnknown, calendar_for
from escrow_monitor.domain.institutions import Institution, InstitutionKind
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.statements import Entry, Statement, StatementKind, numbered
from escrow_monitor.errors import UsageError
from escrow_monitor.sandbox import names
from escrow_monitor.sandbox.fates import CAST, DRAWN, SCRIPTS, Fate
from escrow_monitor.sandbox.lives import Life, Movement, live

ZONE = ZoneInfo("Asia/Shanghai")
CURRENCY = "CNY"
LIVES = 240
"""Different lives; an account beyond them lives one of them again at another scale."""
DAY_CLOSED = time(0, 30)
"""When a bank knows the final balance of the day before."""
DAY_DELIVERED = time(2)
"""When a bank's statement files of the day before appear."""
TICK_SECONDS = 300
"""The banks strike their running balances every five minutes."""

_COUNTIES = ("510302", "510303", "510304", "510311", "510321", "510322")


class Condition(StrEnum):
    """How a bank is at an instant."""

    WELL = "well"
    SLOW = "slow"
    SILENT = "silent"
    GARBAGE = "garbage"
    LIMITED = "limited"


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxBank:
    """One invented bank. `connector` is `berlin_group` (spoken to at `path`) or `statement_folder`."""

    name: str
    title: str
    prefix: str
    connector: str
    path: str = ""
    token: str = ""
    consent_id: str = ""
    batch: bool = False
    slow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """When which bank falters, and the day on which accounts fall that are topped up in time; in days of the story."""

    silent: range
    garbage: range
    falls_on: int


def _bank(number: int, name: str, title: str, *, batch: bool = True, slow: bool = False) -> SandboxBank:
    return SandboxBank(
        name=name, title=title, prefix=f"62190{number}", connector="berlin_group", path=f"/{name}",
        token=f"sandbox-{name}-token", consent_id=f"sandbox-{name}-consent", batch=batch, slow=slow,
    )


BANKS: tuple[SandboxBank, ...] = (
    _bank(1, "yandu", "盐都银行"),
    _bank(2, "fuxi", "釜溪银行", batch=False),
    _bank(3, "nanhu", "南湖农商银行"),
    _bank(4, "haitang", "海棠银行"),
    _bank(5, "shuanghe", "双河银行", slow=True),
    SandboxBank(name="chengshan", title="成山农信联社", prefix="621906", connector="statement_folder"),
)
SILENT_BANK, GARBAGE_BANK = "nanhu", "haitang"

# Which bank the first accounts are at: those that answer carry the colours, so that no colour hides behind a fault.
_CAST_BANKS = (
    "yandu", "yandu", "fuxi", "yandu", "nanhu", "nanhu", "shuanghe", "haitang", "shuanghe", "chengshan", "chengshan",
    "fuxi",
)
# Later accounts: two of five at the first bank, none at the one that has no batch call once there are many.
_LATER_BANKS = ("yandu", "nanhu", "chengshan", "yandu", "haitang", "fuxi", "yandu", "chengshan", "shuanghe", "yandu")
_WITHOUT_BATCH_MAX = 400


@dataclass(frozen=True, kw_only=True)
class District:
    """The world model. Day n is `starts_on` + n; `story_on` is day 0 of the fates; after `days` nothing moves any more.

    `only_bank` puts every account at that one bank. Everything is computed from (seed, place of the account), so
    asking for one account of 100,000 costs what one account costs.
    """

    seed: int
    institution_count: int = 12
    starts_on: date
    days: int
    story_on: date
    story: Story
    only_bank: str | None = None
    _lives: dict[int, Life] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.institution_count <= names.INSTITUTIONS_MAX:
            raise UsageError(f"a sandbox district has 1 to {names.INSTITUTIONS_MAX} institutions")

    @property
    def replay_from(self) -> datetime:
        """When a replay of the story begins: on its first day, once the files of the day before are there."""
        return datetime.combine(self.story_on, time(8), ZONE)

    # who is there

    @property
    def banks(self) -> tuple[SandboxBank, ...]:
        """The banks that have accounts here."""
        return tuple(bank for bank in BANKS if self.places_at(bank.name))

    def institutions(self) -> Iterator[Institution]:
        """All institutions, one an account."""
        return (self.institution(place) for place in range(self.institution_count))

    def accounts(self) -> Iterator[Account]:
        """All accounts, in the order of their places."""
        return (self.account(place) for place in range(self.institution_count))

    def institution(self, place: int) -> Institution:
        """The institution at a place."""
        district, company = self.district_of(place), place % 3 != 2
        return Institution(
            uscc=names.institution_code(district=district, place=place, company=company),
            name=names.institution_name(district=district, place=place, company=company),
            kind=InstitutionKind.SUBJECT if place % 4 == 3 else InstitutionKind.NON_SUBJECT,
            district=district,
            licence_no=f"教民{district}{place:06d}",
            licence_expires_on=date(self.story_on.year + 2, 12, 31),
        )

    def account(self, place: int) -> Account:
        """The account at a place."""
        bank, account_no = self.bank_of(place), self.account_no(place)
        return Account(
            account_no=account_no,
            bank=bank.name,
            connector=bank.connector,
            currency=CURRENCY,
            uscc=names.institution_code(district=self.district_of(place), place=place, company=place % 3 != 2),
            purpose=Purpose.ESCROW,
            mode=Mode.FLOOR,
            opened_on=self.starts_on - timedelta(days=365 + place % 365),
            external_id=names.resource_id(account_no) if bank.connector == "berlin_group" else None,
        )

    def account_no(self, place: int) -> str:
        """The account number at a place."""
        return names.account_number(prefix=self.bank_of(place).prefix, place=place, seed=self.seed)

    def place(self, account_no: str) -> int:
        """The place of an account number; KeyError if no account here has it."""
        if len(account_no) == 19 and account_no.isascii() and account_no.isdigit():
            place = names.place_of(account_no, seed=self.seed)
            if place < self.institution_count and self.account_no(place) == account_no:
                return place
        raise KeyError(account_no)

    def bank_of(self, place: int) -> SandboxBank:
        """The bank of the account at a place."""
        if self.only_bank is not None:
            return _BY_NAME[self.only_bank]
        if place < len(_CAST_BANKS):
            return _BY_NAME[_CAST_BANKS[place]]
        name = _LATER_BANKS[place % len(_LATER_BANKS)]
        return _BY_NAME["yandu" if name == "fuxi" and place > _WITHOUT_BATCH_MAX else name]

    def places_at(self, bank: str) -> tuple[int, ...]:
        """The places of the accounts at a bank, in order."""
        return self._places.get(bank, ())

    @cached_property
    def _places(self) -> Mapping[str, tuple[int, ...]]:
        found: dict[str, list[int]] = {}
        for place in range(self.institution_count):
            found.setdefault(self.bank_of(place).name, []).append(place)
        return {bank: tuple(places) for bank, places in found.items()}

    def district_of(self, place: int) -> str:
        """The GB/T 2260 code of the institution at a place."""
        if self.fate(place) is Fate.MONTH_OUTFLOW:
            return "371082"
        return _COUNTIES[place % len(_COUNTIES)]

    def fate(self, place: int) -> Fate:
        """What happens to the account at a place."""
        return _fate(self.seed, place % LIVES)

    # what is booked

    def entries(self, account_no: str, day: date) -> tuple[Entry, ...]:
        """The entries of one account on one day in the order of booking, twins numbered."""
        place = self.place(account_no)
        scale = self._scale(place)
        return numbered(
            Entry(
                account_no=account_no, booked_on=day, value_on=day, amount=Money(move.fen * scale, CURRENCY),
                bank_ref=f"{day:%y%m%d}{place:06d}{number:02d}" if move.named else None, text=move.text,
            )
            for number, move in enumerate(self.movements(place, day))
        )

    def movements(self, place: int, day: date) -> tuple[Movement, ...]:
        """The movements of the life that the account at a place lives, before scaling."""
        return self.life(place).on(self._number(day))

    def opening(self, account_no: str, day: date) -> Money:
        """The balance before the first entry of a day."""
        place = self.place(account_no)
        return self._money(place, self.life(place).opening(self._number(day)))

    def balance(self, account_no: str, day: date) -> Money:
        """The final balance of a day."""
        place = self.place(account_no)
        return self._money(place, self.life(place).closing(self._number(day)))

    def balance_at(self, account_no: str, at: datetime) -> Money:
        """The running balance at an instant, as of the bank's last tick."""
        place = self.place(account_no)
        return self._money(place, self.struck(place, closed=self.starts_on, at=tick(at))[1])

    def struck(self, place: int, *, closed: date, at: datetime) -> tuple[int, int]:
        """The final balance of `closed` and the running one at `at` (in the bank's zone), in fen before scaling."""
        life = self.life(place)
        second = at.hour * 3600 + at.minute * 60 + at.second
        return life.closing(self._number(closed)), life.balance(self._number(at.date()), second)

    def statement(self, account_no: str, first: date, last: date) -> Statement:
        """The final statement of one account for the days from `first` to `last`, both included."""
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        return Statement(
            account_no=account_no, currency=CURRENCY, kind=StatementKind.END_OF_DAY,
            number=f"{last:%y}{last.timetuple().tm_yday:03d}",
            opening=self.opening(account_no, first), opening_on=first,
            closing=self.balance(account_no, last), closing_on=last, covers_from=first, covers_to=last,
            entries=tuple(entry for day in days for entry in self.entries(account_no, day)),
            where=f"sandbox:{self.bank_of(self.place(account_no)).name}",
        )

    def status_at(self, account_no: str, at: datetime) -> AccountStatus:
        """What the bank says of the account itself at an instant."""
        return self.status_on(self.place(account_no), at.astimezone(ZONE).date())

    def status_on(self, place: int, day: date) -> AccountStatus:
        """What the bank says of the account at a place on a day."""
        frozen = SCRIPTS[self.fate(place)].frozen_days
        if frozen is not None and self.story_day(day) in frozen:
            return AccountStatus.FROZEN
        return AccountStatus.ACTIVE

    # what the banks do

    def condition(self, bank: str, at: datetime) -> Condition:
        """How a bank is at an instant."""
        day = self.story_day(at.astimezone(ZONE).date())
        if bank == SILENT_BANK and day in self.story.silent:
            return Condition.SILENT
        if bank == GARBAGE_BANK and day in self.story.garbage:
            return Condition.GARBAGE
        return Condition.SLOW if _BY_NAME[bank].slow else Condition.WELL

    def delivered_through(self, bank: str, at: datetime) -> date:
        """The last day whose statement file a bank has delivered by an instant; a faltering bank delivers none."""
        local = at.astimezone(ZONE)
        day = local.date() - timedelta(days=1 if local.time() >= DAY_DELIVERED else 2)
        while day >= self.starts_on and self.condition(bank, delivery_of(day)) in (
            Condition.SILENT, Condition.GARBAGE,
        ):
            day -= timedelta(days=1)
        return day

    def story_day(self, day: date) -> int:
        """The day of the story a date is; negative before it begins."""
        return (day - self.story_on).days

    def _number(self, day: date) -> int:
        return (day - self.starts_on).days

    def life(self, place: int) -> Life:
        """The life that the account at a place lives."""
        number = place % LIVES
        found = self._lives.get(number)
        if found is None:
            # Two threads may both simulate it; they get the same life.
            fate = self.fate(place)
            found = self._lives[number] = live(
                seed=f"{self.seed}:{number}", fate=fate, starts_on=self.starts_on, days=self.days,
                story_on=self._begins(fate), fixed_floor_fen=FIXED_FLOOR_FEN if fate is Fate.MONTH_OUTFLOW else None,
            )
        return found

    def _begins(self, fate: Fate) -> date:
        return self.story_on + timedelta(days=self.story.falls_on if fate is Fate.TOP_UP else 0)

    def scaled(self, place: int, fen: int) -> int:
        """Turn an amount of a life into that of the account at a place, with odd fen of its own in the balance."""
        return fen * self._scale(place) + place % 97

    def _money(self, place: int, fen: int) -> Money:
        return Money(self.scaled(place, fen), CURRENCY)

    def _scale(self, place: int) -> int:
        # A fixed floor does not scale with the account, so neither does a life led along one.
        return 1 if self.fate(place) is Fate.MONTH_OUTFLOW else 1 + (place // LIVES + place) % 5


FIXED_FLOOR_FEN = 50_000_00
"""The fixed minimum the one life outside Zigong is led along: that of the example setting for Rongcheng."""

_BY_NAME = {bank.name: bank for bank in BANKS}


def last_closed_day(at: datetime) -> date:
    """The last day whose final balance a bank knows at an instant."""
    local = at.astimezone(ZONE)
    return local.date() - timedelta(days=1 if local.time() >= DAY_CLOSED else 2)


def delivery_of(day: date) -> datetime:
    """When the statement files of a day appear: the next morning."""
    return datetime.combine(day + timedelta(days=1), DAY_DELIVERED, ZONE)


def tick(at: datetime) -> datetime:
    """The bank's last tick at or before an instant, in the bank's zone."""
    local = at.astimezone(ZONE)
    return local.replace(minute=local.minute // 5 * 5, second=0, microsecond=0)


def replay_district(*, seed: int, today: date, institutions: int = 12, replay_days: int = 45) -> District:
    """A district whose story begins `replay_days` before `today`, with three whole months of history before it.

    The silent bank stops on the first Tuesday from day 3 on and comes back on Saturday, four working days later; the
    other answers garbage on the first Wednesday and Thursday from day 5 on. Accounts that are topped up in time fall
    before a weekend of at least two free days, so that a top-up after it is still within one working day.
    """
    story_on = today - timedelta(days=replay_days)
    silent, garbage = _next_weekday(story_on, 3, weekday=1), _next_weekday(story_on, 5, weekday=2)
    starts_on = _months_before(story_on, 3)
    return District(
        seed=seed, institution_count=institutions, starts_on=starts_on, story_on=story_on,
        days=(today - starts_on).days + 120,
        story=Story(
            silent=range(silent, silent + 4), garbage=range(garbage, garbage + 2), falls_on=_before_a_weekend(story_on),
        ),
    )


def standing_district(*, seed: int, at: datetime, institutions: int = 12) -> District:
    """A district in the middle of its story at an instant: every standing and colour is there at once.

    Day 9 of the story is the day of `at`; one bank has been silent for ten days, another has answered garbage for
    eight, so that holidays do not hide it.
    """
    day = at.astimezone(ZONE).date()
    story_on = day - timedelta(days=9)
    starts_on = _months_before(story_on, 3)
    return District(
        seed=seed, institution_count=institutions, starts_on=starts_on, story_on=story_on,
        days=(day - starts_on).days + 120,
        story=Story(silent=range(-1, 12), garbage=range(1, 12), falls_on=2),
    )


def _months_before(day: date, months: int) -> date:
    month = day.year * 12 + day.month - 1 - months
    return date(month // 12, month % 12 + 1, 1)


def _next_weekday(story_on: date, story_day: int, *, weekday: int) -> int:
    return story_day + (weekday - (story_on.weekday() + story_day)) % 7


def _before_a_weekend(story_on: date) -> int:
    """The first day of the story, from day 1 on, whose two following days are free: mostly a Friday."""
    calendar = calendar_for("CN")
    for day in range(1, 15):
        following = [story_on + timedelta(days=day + after) for after in (1, 2)]
        try:
            free = not any(calendar.is_working_day(one) for one in following)
        except CalendarUnknown:
            free = following[0].weekday() == 5
        if free:
            return day
    return 1


@lru_cache(maxsize=4 * LIVES)
def _fate(seed: int, number: int) -> Fate:
    if number < len(CAST):
        return CAST[number]
    drawn = random.Random(f"fate:{seed}:{number}").choices([fate for fate, _ in DRAWN], [weight for _, weight in DRAWN])
    return drawn[0]
