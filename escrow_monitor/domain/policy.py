"""Which clauses hold for an account on a day: the packs from its district up to the nation, put together.

    000000 nation    freshness, feed gap, top-up, large debit, the families' clocks
    510000 province      (no pack)
    510300 Zigong        ratio window 20 %          -> EffectivePolicy for 510302 on 2026-11-20
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, time, timedelta
from difflib import get_close_matches
from fractions import Fraction
from typing import TypeVar, cast
from zoneinfo import ZoneInfo

from escrow_monitor.domain.accounts import Account
from escrow_monitor.domain.calendar import WorkingCalendar, calendar_for
from escrow_monitor.domain.clauses import (
    LADDER_DEFAULT,
    NOT_VERIFIED,
    Applies,
    Clause,
    ClauseKind,
    DeemedFrom,
    FamilyTerms,
    FeeCap,
    FeedGap,
    Fixed,
    FloorClause,
    Found,
    Freshness,
    FullLiability,
    Ladder,
    LargeDebit,
    LessonConfirmation,
    OutflowCap,
    Pack,
    Per,
    PeriodFees,
    RatioOf,
    RatioWindow,
    RefundAnswer,
    RefundPayment,
    Schedule,
    SevenDayRight,
    Source,
    Terms,
    Tier,
    TopUp,
)
from escrow_monitor.domain.findings import Sentence
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.pack_text import parse_pack
from escrow_monitor.errors import PolicyError

__all__ = [
    "LADDER_DEFAULT", "NATION", "NOT_VERIFIED", "Applies", "Clause", "ClauseKind", "DeemedFrom", "EffectivePolicy",
    "FeeCap", "FeedGap", "Fixed", "FloorClause", "Found", "Freshness", "FullLiability", "Ladder", "LargeDebit",
    "LessonConfirmation", "OutflowCap", "Pack", "Per", "PeriodFees", "PolicyBook", "RatioOf", "RatioWindow",
    "RefundAnswer", "RefundPayment", "RefundTerms", "Schedule", "SevenDayRight", "Source", "Terms", "Tier", "TopUp",
    "ancestry", "parse_pack",
]

NATION = "000000"
RULES_VERSION = "1"
"""Raise it when a rule concludes otherwise from the same facts, so that every account is looked at again."""

EFFECTIVE_POLICIES_MAX = 20_000
"""How many put-together policies are remembered; a district has a handful a day."""

CALENDAR_DEFAULT = "CN"
ZONE_DEFAULT = "Asia/Shanghai"

T = TypeVar("T", bound=Terms)

# Without any freshness clause an old balance would count for ever, so this one holds where no pack has another.
_FRESHNESS_DEFAULT = Clause(
    id="default/freshness",
    kind=ClauseKind.FRESHNESS,
    title=Sentence(zh="日终余额须于次一工作日中午前取得", en="a day's final balance is due by noon of the next"),
    terms=Freshness(final_by=time(12, 0)),
    source=Source(title="程序默认值 / default of this program", found=Found.DESIGN),
    jurisdiction=NATION,
    verified=False,
    effective_from=date.min,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundTerms:
    """What the law says between families and institutions on a day; None where nothing was found or set."""

    confirmation: Clause[LessonConfirmation] | None = None
    answer: Clause[RefundAnswer] | None = None
    payment: Clause[RefundPayment] | None = None
    seven_day: Clause[SevenDayRight] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EffectivePolicy:
    """What holds for one account on one day. Shared by all accounts alike, so it is compared by identity.

    `pack_ids` run from the nation to the place. `clauses` are all in force; the typed fields sort them: every floor
    clause counts and the largest governs, every flow clause and fee cap counts, of the clock clauses and each of the
    `refund_terms` the most local holds.
    `last_change_on` is the newest day, not after `on`, on which a clause began or had ended, `next_change_on` the next
    such day. `missing_pack` names a pack that the institution is registered under and nobody has loaded: its floor is
    then not known.
    """

    pack_ids: tuple[str, ...]
    on: date
    clauses: tuple[Clause[Terms], ...]
    ladder: Ladder
    calendar: WorkingCalendar
    zone: ZoneInfo
    jurisdiction: str
    floor_clauses: tuple[FloorClause, ...]
    outflow_caps: tuple[Clause[OutflowCap], ...]
    large_debits: tuple[Clause[LargeDebit], ...]
    top_up: Clause[TopUp] | None
    freshness: Clause[Freshness]
    feed_gap: Clause[FeedGap] | None
    last_change_on: date | None = None
    next_change_on: date | None = None
    missing_pack: str | None = None
    refund_terms: RefundTerms = RefundTerms()
    fee_caps: tuple[Clause[FeeCap], ...] = ()

    @property
    def red_after_working_days(self) -> int | None:
        """For how many working days a shortfall may last before it is red: the ladder's, else the top-up clause's."""
        if self.ladder.red_after_working_days is not None:
            return self.ladder.red_after_working_days
        return None if self.top_up is None else self.top_up.terms.working_days


class PolicyBook:
    """All packs that are loaded. Asking it is cheap: 100,000 accounts share few effective policies.

    Raises PolicyError when two packs have one id or two clauses do, or a clause replaces one that is not there.
    """

    def __init__(self, packs: Iterable[Pack]) -> None:
        self.packs: Mapping[str, Pack] = _by_id(packs)
        self._by_jurisdiction: dict[str, list[Pack]] = {}
        for pack in self.packs.values():
            self._by_jurisdiction.setdefault(pack.jurisdiction, []).append(pack)
        self._effective: dict[tuple[object, ...], EffectivePolicy] = {}
        _check_replacements(self.packs.values())
        self.version = _version(self.packs)

    def versions(self) -> Mapping[str, str]:
        """The version of each pack by itself, by its id."""
        return {pack_id: _version({pack_id: pack}) for pack_id, pack in self.packs.items()}

    def pack(self, pack_id: str) -> Pack:
        """Return the pack of that id, or raise PolicyError with the nearest one."""
        if pack_id not in self.packs:
            near = get_close_matches(pack_id, self.packs, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(self.packs)}"
            raise PolicyError(f"no policy pack {pack_id!r} is loaded; {hint}")
        return self.packs[pack_id]

    def effective(self, *, institution: Institution | None, account: Account | None, on: date) -> EffectivePolicy:
        """Put together what holds for this account on this day (the local day of the jurisdiction).

        Without an account: for the institution and its families, whatever its accounts are.

        The chain is nation, province, city, district by the institution's GB/T 2260 code; a pack named in
        `institution.policy` takes the place of the chain's local end. Nobody's account is held to the nation's alone.
        """
        district, named, kind = (
            (None, None, None) if institution is None else (institution.district, institution.policy, institution.kind)
        )
        purpose, mode = (None, None) if account is None else (account.purpose, account.mode)
        key = (district, named, kind, purpose, mode, on)
        known = self._effective.get(key)
        if known is None:
            if len(self._effective) >= EFFECTIVE_POLICIES_MAX:
                self._effective.clear()
            chain, missing = self._chain(district, named)
            applying = [
                clause for pack in chain for clause in pack.clauses
                if clause.applies.to(kind=kind, purpose=purpose, mode=mode)
            ]
            known = self._effective[key] = _put_together(chain, applying, on=on, missing=missing)
        return known

    def clauses_at_any_time(self, institution: Institution) -> tuple[Clause[Terms], ...]:
        """The clauses of the institution's places that apply to its kind, in force or not, whatever the account."""
        chain, _ = self._chain(institution.district, institution.policy)
        return tuple(
            clause for pack in chain for clause in pack.clauses
            if clause.applies.to(kind=institution.kind, purpose=None, mode=None)
        )

    @property
    def charge_months_max(self) -> int:
        """How many calendar months back charges can count, by any clause; 0 where none counts charges."""
        return max((
            clause.terms.months for pack in self.packs.values() for clause in pack.clauses
            if isinstance(clause.terms, RatioWindow) and clause.terms.of is RatioOf.CHARGES
        ), default=0)

    def large_debit_minor_units_min(self) -> int | None:
        """The least debit a large-debit clause could mind, in minor units; None where a share decides: any could."""
        least: int | None = None
        for pack in self.packs.values():
            for clause in pack.clauses:
                if isinstance(clause.terms, LargeDebit):
                    amount = clause.terms.amount
                    if amount is None or clause.terms.share_of_previous_closing is not None:
                        return None
                    least = amount.minor_units if least is None else min(least, amount.minor_units)
        return least

    @property
    def has_one_timetable(self) -> bool:
        """Whether every account has the same calendar, zone and deadline for a day's final balance."""
        def of(name: str, default: str) -> set[str]:
            # What a place does not say is the nation's; what the nation does not say, the default.
            said = {value for pack in self.packs.values() if (value := getattr(pack, name)) is not None}
            nation_says = any(getattr(pack, name) is not None for pack in self._by_jurisdiction.get(NATION, ()))
            return said if nation_says else {*said, default}

        deadlines = {
            clause.terms.final_by for pack in self.packs.values() for clause in pack.clauses
            if isinstance(clause.terms, Freshness)
        } | {_FRESHNESS_DEFAULT.terms.final_by}
        return max(len(of("calendar", CALENDAR_DEFAULT)), len(of("zone", ZONE_DEFAULT)), len(deadlines)) == 1

    def _chain(self, district: str | None, named: str | None) -> tuple[list[Pack], str | None]:
        if named is None:
            return self._at(ancestry(district)), None
        pack = self.packs.get(named)
        if pack is None:
            return self._at(ancestry(district)), named
        return [*self._at(ancestry(pack.jurisdiction)[:-1]), pack], None

    def _at(self, jurisdictions: Iterable[str]) -> list[Pack]:
        return [pack for jurisdiction in jurisdictions for pack in self._by_jurisdiction.get(jurisdiction, [])]


def ancestry(jurisdiction: str | None) -> tuple[str, ...]:
    """From the widest to the place itself: `510302` -> `000000, 510000, 510300, 510302`; `GB-ENG` -> `GB, GB-ENG`."""
    if jurisdiction is None:
        return (NATION,)
    if not jurisdiction.isdigit():
        country, dash, _part = jurisdiction.partition("-")
        return (country, jurisdiction) if dash else (country,)
    chain = (NATION, f"{jurisdiction[:2]}0000", f"{jurisdiction[:4]}00", jurisdiction)
    return tuple(dict.fromkeys(chain))


def _put_together(
    chain: list[Pack], applying: list[Clause[Terms]], *, on: date, missing: str | None
) -> EffectivePolicy:
    in_force = [clause for clause in applying if clause.in_force(on)]
    replaced = {clause_id for clause in in_force for clause_id in clause.replaces}
    clauses = tuple(clause for clause in in_force if clause.id not in replaced)
    changes = _changes(applying)
    zone = _last(pack.zone for pack in chain) or ZONE_DEFAULT
    return EffectivePolicy(
        pack_ids=tuple(pack.id for pack in chain),
        on=on,
        clauses=clauses,
        ladder=_last(pack.ladder for pack in chain) or LADDER_DEFAULT,
        calendar=calendar_for(_last(pack.calendar for pack in chain) or CALENDAR_DEFAULT),
        zone=ZoneInfo(zone),
        jurisdiction=chain[-1].jurisdiction if chain else NATION,
        floor_clauses=(
            *_of(clauses, Fixed), *_of(clauses, RatioWindow), *_of(clauses, FullLiability), *_of(clauses, PeriodFees),
            *_of(clauses, Schedule),
        ),
        outflow_caps=_of(clauses, OutflowCap),
        large_debits=_of(clauses, LargeDebit),
        top_up=_most_local(_of(clauses, TopUp)),
        freshness=_most_local(_of(clauses, Freshness)) or _FRESHNESS_DEFAULT,
        feed_gap=_most_local(_of(clauses, FeedGap)),
        last_change_on=max((day for day in changes if day <= on), default=None),
        next_change_on=min((day for day in changes if day > on), default=None),
        missing_pack=missing,
        refund_terms=RefundTerms(
            confirmation=_most_local(_of(clauses, LessonConfirmation)),
            answer=_most_local(_of(clauses, RefundAnswer)),
            payment=_most_local(_of(clauses, RefundPayment)),
            seven_day=_most_local(_of(clauses, SevenDayRight)),
        ),
        fee_caps=_of(clauses, FeeCap),
    )


def _of(clauses: Iterable[Clause[Terms]], kind: type[T]) -> tuple[Clause[T], ...]:
    return tuple(cast("Clause[T]", clause) for clause in clauses if isinstance(clause.terms, kind))


def _most_local(clauses: tuple[Clause[T], ...]) -> Clause[T] | None:
    """The last of the chain; within one jurisdiction the one that came into force last."""
    if not clauses:
        return None
    here = [clause for clause in clauses if clause.jurisdiction == clauses[-1].jurisdiction]
    return max(here, key=lambda clause: clause.effective_from)


L = TypeVar("L")


def _last(values: Iterable[L | None]) -> L | None:
    return next(reversed([value for value in values if value is not None]), None)


def _changes(clauses: list[Clause[Terms]]) -> list[date]:
    # What runs between families and institutions changes nothing for an account and its floor.
    clauses = [clause for clause in clauses if not isinstance(clause.terms, FamilyTerms)]
    begins = [clause.effective_from for clause in clauses]
    # A clause is in force on its last day, so the change shows the day after.
    return begins + [clause.effective_to + timedelta(days=1) for clause in clauses if clause.effective_to is not None]


def _by_id(packs: Iterable[Pack]) -> dict[str, Pack]:
    result: dict[str, Pack] = {}
    owner: dict[str, Pack] = {}
    for pack in packs:
        if pack.id in result:
            raise PolicyError(f"two policy packs have the id {pack.id!r}: {result[pack.id].where} and {pack.where}")
        result[pack.id] = pack
        for clause in pack.clauses:
            if clause.id in owner:
                raise PolicyError(f"{pack.where}: the clause id {clause.id!r} is taken by pack {owner[clause.id].id}")
            owner[clause.id] = pack
    return result


def _check_replacements(packs: Iterable[Pack]) -> None:
    packs = tuple(packs)
    known = [clause.id for pack in packs for clause in pack.clauses]
    for pack in packs:
        for clause in pack.clauses:
            for replaced in clause.replaces:
                if replaced not in known:
                    near = get_close_matches(replaced, known, n=1)
                    hint = f"; did you mean {near[0]!r}?" if near else ""
                    raise PolicyError(f"{pack.where}: clause {clause.id} replaces {replaced!r}: not there{hint}")


def _version(packs: Mapping[str, Pack]) -> str:
    """Sixteen hex digits over all that the packs say, whatever file or order they came in."""
    said = "\n".join(_canonical(packs[pack_id]) for pack_id in sorted(packs))
    return hashlib.sha256(f"{RULES_VERSION}\n{said}".encode()).hexdigest()[:16]


def _canonical(value: object) -> str:
    if is_dataclass(value):
        names = (each.name for each in fields(value) if each.name != "where")
        return f"{type(value).__name__}({', '.join(f'{name}={_canonical(getattr(value, name))}' for name in names)})"
    if isinstance(value, frozenset):
        return f"{{{', '.join(sorted(_canonical(each) for each in value))}}}"
    if isinstance(value, tuple):
        return f"[{', '.join(_canonical(each) for each in value)}]"
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    return repr(value)
