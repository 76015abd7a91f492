"""The list of institutions: what is asked for by address, and what each row says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from alerts.alert import Severity
from escrow_monitor.domain.findings import Sentence, Standing
from escrow_monitor.domain.institutions import InstitutionKind
from escrow_monitor.domain.policy import PolicyBook
from escrow_monitor.domain.rules.closure_watch import percent_words
from escrow_monitor.domain.visibility import Visible
from escrow_monitor.records import institution_pages as records
from escrow_monitor.records.alerts.open_now import AlarmedInstitution
from escrow_monitor.records.directory import Directory
from escrow_monitor.records.institution_pages import AskedInstitutions, InstitutionLine, Place
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem

ROWS_A_PAGE = 30
TREND_DAYS = 30
TREND_WIDTH, TREND_HEIGHT = 96, 28
TEXT_CHARACTERS_MAX = 100
SHARE_TENTHS_MAX = 10_000
"""Beyond ten times the floor nobody cares how often."""
LEVELS = (Severity.RED, Severity.ORANGE, Severity.YELLOW)
CLOSURES = ("any", *LEVELS)
_NAMES = ("q", "district", "kind", "standing", "level", "closure", "order", "after", "lang")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What the address asks for. `after` is where the list goes on."""

    asked: AskedInstitutions
    by_code: bool
    after: Place | None

    @property
    def is_open(self) -> bool:
        """True if nothing is filtered."""
        asked = self.asked
        return not (asked.text or asked.district or asked.kind or asked.standing or asked.level or asked.closure)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendView:
    """A line of closings as points of a drawing of TREND_WIDTH by TREND_HEIGHT; `floor_y` where the floor runs."""

    points: str
    floor_y: str | None
    first: tuple[date, int]
    last: tuple[date, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowView:
    """One institution. `level` of its worst open alert, "" for none; `share` in tenths of a percent of the floor.

    `chance` is that of a closure within 60 days, None where the closure watch has said nothing.
    """

    line: InstitutionLine
    place: Sentence | None
    level: str
    share: str | None
    bar: int
    trend: TrendView | None
    chance: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstitutionsView:
    """Everything the page says. `counts` of who has which worst open alert, on the first page only."""

    now: datetime
    total: int
    filters: Filters
    counts: Mapping[Severity, int]
    rows: Sequence[RowView]
    districts: Sequence[tuple[str, Sentence | None]]
    next_query: str | None
    csv_query: str
    level_queries: Mapping[Severity, str]


def filters_of(query: QueryParams, visible: Visible) -> Filters:
    """Read the filters of an address. Raises Problem 400: a misspelt filter must not answer with everyone."""
    for name in query:
        if name not in _NAMES:
            raise Problem(400, f"the list has no filter {name[:40]!r}: known are {', '.join(_NAMES[:-1])}")
    given = {name: query.get(name, "").strip() for name in _NAMES}
    if len(given["q"]) > TEXT_CHARACTERS_MAX:
        raise Problem(400, f"q is at most {TEXT_CHARACTERS_MAX} characters")
    _check("district", given["district"], given["district"].isascii() and given["district"].isdigit()
           and len(given["district"]) <= 6, "a code of up to six digits")
    _check("kind", given["kind"], given["kind"] in set(InstitutionKind), "subject or non_subject")
    _check("standing", given["standing"], given["standing"] in set(Standing), "met, breached or unknown")
    _check("level", given["level"], given["level"] in {*LEVELS, "none"}, "red, orange, yellow or none")
    _check("closure", given["closure"], given["closure"] in CLOSURES, "red, orange, yellow or any")
    _check("order", given["order"], given["order"] in {"urgency", "code"}, "urgency or code")
    return Filters(
        asked=AskedInstitutions(
            text=given["q"] or None, district=given["district"] or None,
            kind=InstitutionKind(given["kind"]) if given["kind"] else None,
            standing=Standing(given["standing"]) if given["standing"] else None,
            level=given["level"] or None, closure=given["closure"] or None, visible=visible,
        ),
        by_code=given["order"] == "code", after=_place(given["after"]) if given["after"] else None,
    )


def institutions_view(
    ports: WebPorts, filters: Filters, *, now: datetime, names: Directory | None = None,
    among: Sequence[AlarmedInstitution] | None = None,
) -> InstitutionsView:
    """Ask the records for one page, of the alarmed ones `among` these where they are given. Raises DatabaseError.

    `names` are those of all institutions, where they are held in memory.
    """
    counts: Mapping[Severity, int]
    since = now.astimezone(ports.zone).date() - timedelta(days=TREND_DAYS)
    with ports.database.read() as session:
        if filters.after is None:
            lines, counts = records.first_page(
                session, filters.asked, limit=ROWS_A_PAGE + 1, by_code=filters.by_code, trend_from=since,
                among=among, names=names,
            )
        else:
            counts = {}
            lines = records.page(
                session, filters.asked, after=filters.after, limit=ROWS_A_PAGE + 1, by_code=filters.by_code,
                trend_from=since, names=names,
            )
        if names is not None:
            total, codes = names.count(filters.asked.visible), names.districts(filters.asked.visible)
        else:
            total = records.count(session, filters.asked.visible)
            codes = records.districts(session, filters.asked.visible)
    kept = _query(filters)
    more = len(lines) > ROWS_A_PAGE
    shown = lines[:ROWS_A_PAGE]
    return InstitutionsView(
        now=now, total=total, filters=filters, counts=counts,
        rows=[_row(line, ports.policies) for line in shown],
        districts=[(code, place_name(code, ports.policies)) for code in codes],
        next_query=_join(kept | {"after": _cursor(shown[-1].place)}) if more else None, csv_query=_join(kept),
        level_queries={each: _join(kept | {"level": each.value}) for each in LEVELS},
    )


def place_name(district: str | None, policies: PolicyBook) -> Sentence | None:
    """The name of the nearest place around a district that a policy is of."""
    if district is None:
        return None
    for code in dict.fromkeys((district, f"{district[:4]}00", f"{district[:2]}0000")):
        for pack in policies.packs.values():
            if pack.jurisdiction == code:
                return pack.title
    return None


def _check(name: str, value: str, fits: bool, known: str) -> None:
    if value and not fits:
        raise Problem(400, f"{name} is {known}, not {value[:40]!r}")


def _place(text: str) -> Place:
    parts = text.split("~")
    try:
        rank, opened, uscc = int(parts[0]), parts[1], parts[2]
        opened_at = _EPOCH + timedelta(microseconds=int(opened)) if opened else None
    except (IndexError, ValueError, OverflowError) as error:
        raise Problem(400, "after is what the link to the next page says") from error
    if not (len(parts) == 3 and 0 <= rank <= 4 and (rank == 0) == (opened_at is None) and len(uscc) <= 40):
        raise Problem(400, "after is what the link to the next page says")
    return Place(rank=rank, opened_at=opened_at, uscc=uscc)


def _cursor(place: Place) -> str:
    opened = "" if place.opened_at is None else str((place.opened_at - _EPOCH) // timedelta(microseconds=1))
    return f"{place.rank}~{opened}~{place.uscc}"


def _query(filters: Filters) -> dict[str, str]:
    asked = filters.asked
    found = {
        "q": asked.text, "district": asked.district, "kind": asked.kind, "standing": asked.standing,
        "level": asked.level, "closure": asked.closure, "order": "code" if filters.by_code else None,
    }
    return {name: str(value) for name, value in found.items() if value}


def _join(query: Mapping[str, str]) -> str:
    return f"?{urlencode(query)}" if query else ""


def _row(line: InstitutionLine, policies: PolicyBook) -> RowView:
    weak = line.weakest
    tenths = None
    if weak is not None and weak.balance_fen is not None and weak.required_fen:
        tenths = weak.balance_fen * 1000 // weak.required_fen
    return RowView(
        line=line, level=line.alerts[0].severity.value if line.alerts else "",
        place=place_name(line.institution.district, policies),
        share=None if tenths is None else f"{tenths // 10}.{tenths % 10} %" if tenths < SHARE_TENTHS_MAX else "> 999 %",
        bar=0 if tenths is None else max(0, min(100, tenths // 20)),
        trend=_trend(line.trend, None if weak is None else weak.required_fen),
        chance=None if line.closure is None else percent_words(line.closure.chance),
    )


def _trend(closings: Sequence[tuple[date, int]], floor_fen: int | None) -> TrendView | None:
    if len(closings) < 2:
        return None
    first, last = closings[0][0], closings[-1][0]
    top = max(1, *(fen for _, fen in closings), floor_fen or 0)
    low = min(0, *(fen for _, fen in closings))

    def y(fen: int) -> str:
        return _decimal((top - fen) * (TREND_HEIGHT - 4) * 10 // (top - low) + 20)

    days = (last - first).days
    points = " ".join(f"{_decimal((day - first).days * TREND_WIDTH * 10 // days)},{y(fen)}" for day, fen in closings)
    return TrendView(
        points=points, floor_y=y(floor_fen) if floor_fen else None, first=closings[0], last=closings[-1]
    )


def _decimal(tenths: int) -> str:
    return f"{tenths // 10}.{tenths % 10}"
