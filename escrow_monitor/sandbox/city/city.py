"""The city as a whole: its institutions and their accounts by place, and each one's life when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property

from escrow_monitor.domain.accounts import Account, Mode, Purpose
from escrow_monitor.domain.institutions import Institution, InstitutionKind
from escrow_monitor.errors import UsageError
from escrow_monitor.sandbox import names
from escrow_monitor.sandbox.city.life import Days, Life, live
from escrow_monitor.sandbox.city.plans import CitySettings, Plan, draw_plans

CURRENCY = "CNY"
BANKS = ("yandu", "nanhu", "haitang", "chengshan")
_PREFIXES = {"yandu": "621901", "nanhu": "621903", "haitang": "621904", "chengshan": "621906"}
_COUNTIES = ("510302", "510303", "510304", "510311", "510321", "510322")


@dataclass(frozen=True, kw_only=True)
class City:
    """Institutions over so many days from `starts_on`. The same seed and settings give the same city, to the fen.

    `numbered_from` keeps its codes apart from those of others in the same records; `only_bank` has every account.
    """

    seed: int
    institutions: int
    starts_on: date
    days: int
    settings: CitySettings = field(default_factory=CitySettings)
    numbered_from: int = 0
    only_bank: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.institutions <= names.INSTITUTIONS_MAX - self.numbered_from:
            raise UsageError(f"a sandbox city has 1 to {names.INSTITUTIONS_MAX} institutions")
        if self.days < 1:
            raise UsageError("a sandbox city lasts at least a day")

    @property
    def ends_on(self) -> date:
        """The last day."""
        return self.starts_on + timedelta(days=self.days - 1)

    @cached_property
    def plans(self) -> tuple[Plan, ...]:
        """The truth: who closes when, and why."""
        return draw_plans(str(self.seed), institutions=self.institutions, days=self.days, settings=self.settings)

    @cached_property
    def calendar(self) -> Days:
        """The days of the city."""
        return Days(self.starts_on, self.days)

    def life(self, place: int) -> Life:
        """Simulate the institution at a place."""
        return live(self.plans[place], seed=str(self.seed), days=self.calendar, noise=self.settings.noise)

    def lives(self) -> Iterator[Life]:
        """All institutions, one after the other."""
        return (self.life(place) for place in range(self.institutions))

    def uscc(self, place: int) -> str:
        """The unified social credit code of an institution."""
        number = self.numbered_from + place
        return names.institution_code(district=_district(place), place=number, company=_company(place))

    def account_no(self, place: int) -> str:
        """The number of its escrow account."""
        number = self.numbered_from + place
        return names.account_number(prefix=_PREFIXES[self.bank(place)], place=number, seed=self.seed)

    def bank(self, place: int) -> str:
        """The bank of its account."""
        return self.only_bank or BANKS[place % len(BANKS)]

    def institution(self, place: int) -> Institution:
        """The institution at a place."""
        return Institution(
            uscc=self.uscc(place),
            name=names.institution_name(
                district=_district(place), place=self.numbered_from + place, company=_company(place)
            ),
            kind=InstitutionKind.SUBJECT if place % 4 == 3 else InstitutionKind.NON_SUBJECT, district=_district(place),
            licence_no=f"教民{_district(place)}{self.numbered_from + place:06d}",
            licence_expires_on=date(self.ends_on.year + 2, 12, 31),
        )

    def account(self, place: int) -> Account:
        """Its escrow account."""
        return Account(
            account_no=self.account_no(place), bank=self.bank(place), connector="statement_folder", currency=CURRENCY,
            uscc=self.uscc(place), purpose=Purpose.ESCROW,
            mode=Mode.CUSTODY if self.plans[place].custody else Mode.FLOOR,
            opened_on=self.starts_on - timedelta(days=30 + place % 365),
        )


def _district(place: int) -> str:
    return _COUNTIES[place % len(_COUNTIES)]


def _company(place: int) -> bool:
    return place % 3 != 2
