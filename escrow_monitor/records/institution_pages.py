"""What the pages about institutions ask: the register by urgency, and the history of one of them."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from sqlmodel import Session

from alerts.alert import Severity, TransitionKind, Why
from escrow_monitor.domain.closure.outlook import LEVELS
from escrow_monitor.domain.findings import Level, Standing
from escrow_monitor.domain.institutions import Institution, InstitutionKind, InstitutionStatus
from escrow_monitor.domain.visibility import EVERYTHING, Visible
from escrow_monitor.records.accounts import INSTITUTION_COLUMNS
from escrow_monitor.records.alerts.alarms import RANK
from escrow_monitor.records.alerts.open_now import AlarmedInstitution
from escrow_monitor.records.bulk import Reader, fetch, from_json, is_sqlite, run, texts
from escrow_monitor.records.closure.watches import PPM
from escrow_monitor.records.directory import Directory
from escrow_monitor.records.visible import DISTRICT_DIGITS, of_institutions

FOUND_BY_TEXT_MAX = 1_000
"""So many institutions are looked at one by one; of a text that more have, it is enough to look as they come."""
FEW_STANDINGS = 5_000
"""Of a standing that no more accounts have, the accounts are looked up first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a list goes on: after the institution `uscc`, whose worst open alert had `rank` (0: none) since then."""

    rank: int
    opened_at: datetime | None
    uscc: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedInstitutions:
    """Which institutions are asked for; None leaves a part open.

    `text` is part of the name or the beginning of the code, `district` the beginning of its code. `level` is the colour
    of the worst open alert, "none" for no open alert. `standing` is that of the worst account. `closure` is the level
    that the closure watch holds, "any" for one of them.
    """

    text: str | None = None
    district: str | None = None
    kind: InstitutionKind | None = None
    standing: Standing | None = None
    level: str | None = None
    closure: str | None = None
    visible: Visible = EVERYTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountLine:
    """One account in a list, as the last check left it (`checked_at` None: never). None where not known."""

    account_no: str
    bank: str
    currency: str
    standing: Standing
    level: Level | None
    required_fen: int | None
    required_complete: bool
    balance_fen: int | None
    checked_at: datetime | None
    last_answer_at: datetime | None
    covered_to: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertLine:
    """An alert in one line. `opened_at` of the episode that is on, or was the last."""

    alert_id: str
    rule: str
    severity: Severity
    standing: str
    why: Why
    opened_at: datetime | None
    resolved_at: datetime | None
    account_no: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosureLine:
    """What the closure watch says in one line: the level held, and how likely it closes within 60 days.

    `unsure`: too little is known to say that nothing is wrong.
    """

    level: Level | None
    chance: float
    unsure: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InstitutionLine:
    """An institution in a list: its accounts, its open alerts worst first, and the closings of its weakest account.

    `closure` is None for one that the closure watch has not judged.
    """

    institution: Institution
    place: Place
    accounts: Sequence[AccountLine]
    alerts: Sequence[AlertLine]
    trend: Sequence[tuple[date, int]] = ()
    closure: ClosureLine | None = None

    @property
    def standing(self) -> Standing:
        """That of the worst account; unknown without one."""
        found = {account.standing for account in self.accounts}
        if not found or (Standing.UNKNOWN in found and Standing.BREACHED not in found):
            return Standing.UNKNOWN
        return Standing.BREACHED if Standing.BREACHED in found else Standing.MET

    @property
    def weakest(self) -> AccountLine | None:
        """The account that holds the least of its floor; one of which that is not known only where it is so of all."""
        return min(self.accounts, key=_strength, default=None)


def page(
    session: Session, asked: AskedInstitutions, *, after: Place | None = None, limit: int = 50, by_code: bool = False,
    trend_from: date | None = None, names: Directory | None = None,
) -> list[InstitutionLine]:
    """At most `limit` institutions that fit: the worst open alert first, of those the longest open; or by code.

    With `trend_from` each comes with the closings of its weakest account from that day on. `names` are all names of the
    register where they are held in memory.
    """
    return _lines(session, _found(session, asked, _where(session, asked, names), after, limit, by_code), trend_from)


def first_page(
    session: Session, asked: AskedInstitutions, *, limit: int = 50, by_code: bool = False,
    trend_from: date | None = None, among: Sequence[AlarmedInstitution] | None = None, names: Directory | None = None,
) -> tuple[list[InstitutionLine], Mapping[Severity, int]]:
    """The first page, and how many institutions have which worst open alert, if `level` were left open.

    `among` are the alarmed institutions that may be seen as they were a moment ago, `names` all of the register.
    """
    if among is None:
        where = _where(session, asked, names)
        alarmed, counts = _alarmed_and_counts(session, asked.level, *where, limit)
        found = _found(session, asked, where, None, limit, by_code, alarmed=alarmed)
        return _lines(session, found, trend_from), counts
    fits = _fitting(among, asked)
    counts = {_BY_URGENCY[urgency]: count for urgency, count in Counter(one.urgency for one in fits).items()}
    return _chosen(session, asked, fits, limit, by_code, trend_from, names), counts


def _fitting(among: Sequence[AlarmedInstitution], asked: AskedInstitutions) -> Sequence[AlarmedInstitution]:
    """The same as `_where`, of those that are in memory and may be seen."""
    if asked.kind is not None:
        among = [one for one in among if one.kind == asked.kind.value]
    if asked.district:
        begin = asked.district
        among = [one for one in among if (one.district or "").startswith(begin)]
    if asked.standing is not None:
        among = [one for one in among if one.standing is asked.standing]
    if asked.closure is not None:
        among = [one for one in among if one.closure is not None and asked.closure in ("any", one.closure.value)]
    if asked.text:
        part, code = asked.text.lower(), asked.text.upper()
        among = [one for one in among if part in one.name.lower() or one.uscc.startswith(code)]
    return among


def _chosen(
    session: Session, asked: AskedInstitutions, fits: Sequence[AlarmedInstitution], limit: int, by_code: bool,
    trend_from: date | None, names: Directory | None,
) -> list[InstitutionLine]:
    if by_code:
        found = _found(session, asked, _where(session, asked, names), None, limit, by_code)
        return _lines(session, found, trend_from)
    level = asked.level
    chosen = [
        one for one in fits if level is None or (level != "none" and _BY_URGENCY[one.urgency].value == level)
    ][:limit]
    registered = _registered(session, [one.uscc for one in chosen])
    found = [
        (Place(rank=_URGENCY_MAX - one.urgency, opened_at=one.opened_at, uscc=one.uscc), registered[one.uscc])
        for one in chosen if one.uscc in registered
    ]
    if level in (None, "none") and len(found) < limit:
        where, given = _where(session, asked, names)
        found += _by_code(session, f"{where} AND {_IS_CALM}", given, None, limit - len(found))
    return _lines(session, found, trend_from)


def _registered(session: Session, usccs: Sequence[str]) -> Mapping[str, Institution]:
    reader = Reader(session)
    return {
        row[0]: _institution(reader, row) for row in fetch(
            session, f"SELECT {_INSTITUTION} FROM institutions i WHERE i.uscc IN EACH(:usccs)", usccs=usccs
        )
    }


def count(session: Session, visible: Visible = EVERYTHING) -> int:
    """How many institutions are registered."""
    where, given = of_institutions(visible)
    return int(run(
        session, f"SELECT count(*) FROM institutions i WHERE {' AND '.join(where) or 'true'}", **given
    ).scalar_one())


def districts(session: Session, visible: Visible = EVERYTHING, *, limit: int = 1_000) -> list[str]:
    """The districts that institutions are in, by code."""
    # Stepped through the index: a district holds many institutions.
    found = texts(
        session,
        "WITH RECURSIVE found(district) AS (SELECT min(district) FROM institutions UNION ALL"
        " SELECT (SELECT min(i.district) FROM institutions i WHERE i.district > found.district) FROM found"
        " WHERE found.district IS NOT NULL)"
        " SELECT district FROM found WHERE district IS NOT NULL LIMIT :limit", limit=limit,
    )
    return [code for code in found if visible.districts is None or code.startswith(visible.districts)]


# one institution


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractTotals:
    """What an institution's contracts come to in one currency at the end of `on`.

    `obligation_fen` is owed to families; `impossible` contracts are counted and in no sum of it.
    """

    currency: str
    on: date
    contracts: int
    active: int
    paid_fen: int
    refunded_fen: int
    entitled_fen: int
    obligation_fen: int
    impossible: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that was published about an institution: `seq` in the feed."""

    seq: int
    at: datetime
    kind: TransitionKind
    severity: Severity
    rule: str
    account_no: str | None
    required_fen: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BooksDay:
    """What a reconciliation said of a day: families' money by the books, and what the bank held."""

    on: date
    currency: str
    required_fen: int
    bank_fen: int
    complete: bool


def alert_lines(session: Session, uscc: str, *, is_open: bool, limit: int = 200) -> list[AlertLine]:
    """The alerts of an institution: those that are open, worst first; or those that are over, newest first."""
    order = f"{RANK} DESC, opened_at, alert_id" if is_open else "resolved_at DESC, alert_id"
    read = _alert_reader(Reader(session))
    return [read(row) for row in run(
        session,
        f"SELECT {_ALERT} FROM alerts WHERE uscc = :uscc AND status = :status ORDER BY {order} LIMIT :limit",
        uscc=uscc, status="open" if is_open else "resolved", limit=limit,
    )]


def events(session: Session, uscc: str, *, since: datetime, limit: int = 500) -> list[Event]:
    """What was published about an institution since then, oldest first."""
    at = Reader(session).at
    found = []
    for seq, recorded_at, kind, severity, rule, figures, labels in fetch(
        session,
        "SELECT f.seq, f.recorded_at, f.transition, f.severity, f.rule, f.figures, f.labels FROM feed_entries f"
        " WHERE f.alert_id IN (SELECT a.alert_id FROM alerts a WHERE a.uscc = :uscc) AND f.recorded_at >= :since"
        " ORDER BY f.seq DESC LIMIT :limit", uscc=uscc, since=since, limit=limit,
    ):
        required = from_json(figures).get("required_fen") if rule == "floor" else None
        found.append(Event(
            seq=seq, at=at(recorded_at), kind=TransitionKind(kind), severity=Severity(severity), rule=rule,
            account_no=from_json(labels).get("account_no"), required_fen=required,
        ))
    return found[::-1]


def closings(session: Session, account_nos: Sequence[str], *, since: date) -> Mapping[str, list[tuple[date, int]]]:
    """How these accounts closed on the days from `since` on that final statements cover, in order."""
    on = Reader(session).on
    found: dict[str, list[tuple[date, int]]] = defaultdict(list)
    for account_no, day, closing_fen in fetch(
        session,
        "SELECT account_no, day, closing_fen FROM account_days WHERE account_no IN EACH(:account_nos) AND day >= :since"
        " AND covered AND closing_fen IS NOT NULL ORDER BY account_no, day", account_nos=sorted(account_nos),
        since=since,
    ):
        found[account_no].append((on(day), closing_fen))
    return found


def books(session: Session, uscc: str, *, since: date) -> list[BooksDay]:
    """What the reconciliations of the days from `since` on said, the last of each day, in order."""
    on = Reader(session).on
    newest: dict[tuple[str, str], BooksDay] = {}
    for currency, day, required_fen, bank_fen, complete in fetch(
        session,
        "SELECT currency, day, required_fen, bank_fen, complete FROM reconciliations WHERE uscc = :uscc"
        " AND day >= :since ORDER BY day, recon_no", uscc=uscc, since=since,
    ):
        newest[currency, str(day)] = BooksDay(
            on=on(day), currency=currency, required_fen=required_fen, bank_fen=bank_fen, complete=bool(complete)
        )
    return list(newest.values())


def contract_totals(session: Session, uscc: str) -> list[ContractTotals]:
    """What an institution's contracts come to, by currency. None where no contract was imported."""
    reader = Reader(session)
    return [
        ContractTotals(
            currency=row[0], contracts=row[1], active=int(row[2] or 0), paid_fen=int(row[3] or 0),
            refunded_fen=int(row[4] or 0), entitled_fen=int(row[5] or 0), obligation_fen=int(row[6] or 0),
            impossible=int(row[7] or 0), on=reader.on(row[8]),
        )
        for row in run(
            session,
            "SELECT c.currency, count(*), sum(CASE WHEN c.obligation_fen > 0 THEN 1 ELSE 0 END), sum(c.paid_fen),"
            " sum(c.refunded_fen), sum(c.entitled_fen), sum(c.obligation_fen),"
            " sum(CASE WHEN c.obligation_fen IS NULL THEN 1 ELSE 0 END), max(d.day)"
            " FROM contract_accounts c CROSS JOIN contract_sums_day d WHERE c.uscc = :uscc"
            " GROUP BY c.currency ORDER BY c.currency", uscc=uscc,
        )
    ]


# which institutions

_ALERT = "alert_id, rule, severity, standing, why_zh, why_en, opened_at, resolved_at, account_no"
_INSTITUTION = ", ".join(f"i.{column}" for column in INSTITUTION_COLUMNS)
_ALARMED = "FROM institution_alarms w CROSS JOIN institutions i WHERE i.uscc = w.uscc"
"""Written so that SQLite goes through the alarms, in their order, and looks each institution up."""
_IS_CALM = "NOT EXISTS (SELECT 1 FROM institution_alarms x WHERE x.uscc = i.uscc)"
_BY_URGENCY = tuple(sorted(Severity, key=lambda severity: -severity.rank))
_URGENCY_MAX = len(_BY_URGENCY)
_WORST_STANDING = f"""
    (SELECT max(CASE t.standing WHEN '{Standing.BREACHED}' THEN 2 WHEN '{Standing.MET}' THEN 0 ELSE 1 END)
        FROM accounts b JOIN account_standings t ON t.account_no = b.account_no WHERE b.uscc = i.uscc)
"""
"""SQL: how its worst account stands, by _STANDINGS; NULL without an account."""
_STANDINGS = (Standing.MET, Standing.UNKNOWN, Standing.BREACHED)
_HAS = """
    EXISTS (SELECT 1 FROM accounts b JOIN account_standings t ON t.account_no = b.account_no
        WHERE b.uscc = i.uscc AND t.standing = '{}')
"""
_HAS_FEW = """
    i.uscc IN (SELECT b.uscc FROM account_standings t JOIN accounts b ON b.account_no = t.account_no
        WHERE t.standing = '{}')
"""


def _where(session: Session, asked: AskedInstitutions, names: Directory | None) -> tuple[str, dict[str, Any]]:
    """The condition on institution `i`, with its values."""
    where, given = ["true"], dict[str, Any]()
    if asked.kind is not None:
        where.append("i.kind = :kind")
        given["kind"] = asked.kind.value
    if asked.district and len(asked.district) == DISTRICT_DIGITS:
        # Read from an index in the order of the codes.
        where.append("i.district = :district")
        given["district"] = asked.district
    elif asked.district:
        # Not by comparison: in the order of some locales digits come after what would mark the end.
        where.append("i.district LIKE :district")
        given["district"] = f"{asked.district}%"
    seen, values = of_institutions(asked.visible)
    where += seen
    given |= values
    if asked.closure is not None:
        held = "> 0" if asked.closure == "any" else f"= {LEVELS.index(Level(asked.closure))}"
        where.append(f"i.uscc IN (SELECT c.uscc FROM closure_states c WHERE c.held {held})")
    if asked.text:
        where.append(_fits_text(session, asked.text, " AND ".join(where), given, names))
    if asked.standing is not None:
        where.append(_fits_standing(session, asked.standing))
    return " AND ".join(where), given


def _fits_text(
    session: Session, asked: str, where: str, given: dict[str, Any], names: Directory | None
) -> str:
    escaped = asked.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    given |= {"part": f"%{escaped}%", "code": f"{escaped.upper()}%"}
    # SQLite's LIKE makes no difference between a and A anyway, and is twice as fast without being told so.
    like = "LIKE" if is_sqlite(session) else "ILIKE"
    fits = f"(i.name {like} :part ESCAPE '\\' OR i.uscc LIKE :code ESCAPE '\\')"
    found = names.named(asked, limit=FOUND_BY_TEXT_MAX + 1) if names is not None else texts(
        session, f"SELECT i.uscc FROM institutions i WHERE {where} AND {fits} LIMIT :most",
        most=FOUND_BY_TEXT_MAX + 1, **given,
    )
    if len(found) > FOUND_BY_TEXT_MAX:
        return fits
    del given["part"], given["code"]
    given["found"] = found
    return "i.uscc IN EACH(:found)"


def _fits_standing(session: Session, standing: Standing) -> str:
    fits = f"{_WORST_STANDING} = {_STANDINGS.index(standing)}"
    if standing is Standing.MET:
        return fits
    counted = run(
        session,
        "SELECT count(*) FROM (SELECT 1 FROM account_standings WHERE standing = :standing LIMIT :most) AS counted",
        standing=standing.value, most=FEW_STANDINGS + 1,
    ).scalar_one()
    has = _HAS_FEW if counted <= FEW_STANDINGS else _HAS
    return f"{has.format(standing)} AND {fits}"


_Found = list[tuple[Place, Institution]]


def _found(
    session: Session, asked: AskedInstitutions, condition: tuple[str, dict[str, Any]], after: Place | None, limit: int,
    by_code: bool, *, alarmed: _Found | None = None,
) -> _Found:
    (where, given), level = condition, asked.level
    if by_code:
        return _by_code(session, where + _of_level(level), given, after, limit)
    found: _Found = [] if alarmed is None or level == "none" else alarmed
    if alarmed is None and level != "none" and (after is None or after.rank > 0):
        found = _alarmed(session, level, where, given, after, limit)
    if level in (None, "none") and len(found) < limit:
        behind = after if after is not None and after.rank == 0 else None
        found += _by_code(session, f"{where} AND {_IS_CALM}", given, behind, limit - len(found))
    return found


def _of_level(level: str | None) -> str:
    """SQL: the worst open alert has this level. A name of ours, not what somebody sent."""
    if level is None:
        return ""
    if level == "none":
        return f" AND {_IS_CALM}"
    urgency = _BY_URGENCY.index(Severity(level))
    return f" AND EXISTS (SELECT 1 FROM institution_alarms w WHERE w.uscc = i.uscc AND w.urgency = {urgency})"


def _alarmed(
    session: Session, level: str | None, where: str, given: dict[str, Any], after: Place | None, limit: int
) -> _Found:
    given = dict(given)
    if level is not None:
        where += " AND w.urgency = :level"
        given["level"] = _BY_URGENCY.index(Severity(level))
    if after is not None:
        where += (
            " AND (w.urgency > :urgency OR w.urgency = :urgency AND"
            " (w.opened_at > :opened_at OR w.opened_at = :opened_at AND i.uscc > :after))"
        )
        given |= {"urgency": _URGENCY_MAX - after.rank, "opened_at": after.opened_at, "after": after.uscc}
    reader = Reader(session)
    return [
        (Place(rank=_URGENCY_MAX - row[-2], opened_at=reader.instant(row[-1]), uscc=row[0]), _institution(reader, row))
        for row in run(
            session,
            f"SELECT {_INSTITUTION}, w.urgency, w.opened_at {_ALARMED} AND {where}"
            " ORDER BY w.urgency, w.opened_at, w.uscc LIMIT :limit", limit=limit, **given,
        )
    ]


def _alarmed_and_counts(
    session: Session, level: str | None, where: str, given: Mapping[str, Any], limit: int
) -> tuple[_Found, Mapping[Severity, int]]:
    """The first alarmed institutions, and how many there are of each level: gone through once for both."""
    reader = Reader(session)
    only = "true" if level in (None, "none") else f"a.urgency = {_BY_URGENCY.index(Severity(level))}"
    rows = fetch(
        session,
        f"WITH fits AS MATERIALIZED (SELECT w.uscc, w.urgency, w.opened_at {_ALARMED} AND {where}),"
        " counted AS (SELECT urgency, count(*) AS institutions FROM fits GROUP BY urgency),"
        f" firsts AS (SELECT a.* FROM fits a WHERE {only} ORDER BY a.urgency, a.opened_at, a.uscc LIMIT :limit)"
        f" SELECT {_INSTITUTION}, a.urgency, a.opened_at, 0 FROM firsts a JOIN institutions i ON i.uscc = a.uscc"
        f" UNION ALL SELECT {', '.join(['NULL'] * len(INSTITUTION_COLUMNS))}, c.urgency, NULL, c.institutions"
        " FROM counted c", limit=limit, **given,
    )
    found = [
        (Place(rank=_URGENCY_MAX - row[-3], opened_at=reader.instant(row[-2]), uscc=row[0]), _institution(reader, row))
        for row in rows if row[0] is not None
    ]
    found.sort(key=lambda one: (-one[0].rank, one[0].opened_at, one[0].uscc))
    return found, {_BY_URGENCY[row[-3]]: row[-1] for row in rows if row[0] is None}


def _by_code(session: Session, where: str, given: dict[str, Any], after: Place | None, limit: int) -> _Found:
    reader = Reader(session)
    return [
        (Place(rank=0, opened_at=None, uscc=row[0]), _institution(reader, row))
        for row in run(
            session,
            f"SELECT {_INSTITUTION} FROM institutions i WHERE {where} AND i.uscc > :after ORDER BY i.uscc LIMIT :limit",
            **given, after="" if after is None else after.uscc, limit=limit,
        )
    ]


def _institution(reader: Reader, row: Sequence[Any]) -> Institution:
    return Institution(
        uscc=row[0], name=row[1], kind=InstitutionKind(row[2]) if row[2] else None, district=row[3], grid=row[4],
        licence_no=row[5], licence_expires_on=reader.day(row[6]), status=InstitutionStatus(row[7]), policy=row[8],
    )


# what is told of each


def _lines(session: Session, found: _Found, trend_from: date | None) -> list[InstitutionLine]:
    usccs = sorted(institution.uscc for _, institution in found)
    if not usccs:
        return []
    accounts, alerts, closures = _accounts(session, usccs), _open_alerts(session, usccs), _closures(session, usccs)
    lines = [
        InstitutionLine(
            institution=institution, place=place, accounts=accounts.get(institution.uscc, ()),
            alerts=alerts.get(institution.uscc, ()), closure=closures.get(institution.uscc),
        )
        for place, institution in found
    ]
    if trend_from is None:
        return lines
    weakest = {line.institution.uscc: line.weakest for line in lines}
    trends = closings(session, [one.account_no for one in weakest.values() if one is not None], since=trend_from)
    return [
        replace(line, trend=trends.get(weak.account_no, ()))
        if (weak := weakest[line.institution.uscc]) is not None else line
        for line in lines
    ]


def _accounts(session: Session, usccs: Sequence[str]) -> Mapping[str, Sequence[AccountLine]]:
    reader = Reader(session)
    found: dict[str, list[AccountLine]] = defaultdict(list)
    for row in fetch(
        session,
        "SELECT a.uscc, a.account_no, a.bank, a.currency, t.standing, t.level, t.required_fen, t.required_complete,"
        " t.balance_fen, t.checked_at, s.last_answer_at, s.covered_to FROM accounts a"
        " JOIN account_states s ON s.account_no = a.account_no JOIN account_standings t ON t.account_no = a.account_no"
        " WHERE a.uscc IN EACH(:usccs) ORDER BY a.uscc, a.account_no", usccs=usccs,
    ):
        found[row[0]].append(AccountLine(
            account_no=row[1], bank=row[2], currency=row[3], standing=Standing(row[4]),
            level=Level(row[5]) if row[5] else None, required_fen=row[6], required_complete=bool(row[7]),
            balance_fen=row[8], checked_at=reader.instant(row[9]), last_answer_at=reader.instant(row[10]),
            covered_to=reader.day(row[11]),
        ))
    return found


def _open_alerts(session: Session, usccs: Sequence[str]) -> Mapping[str, Sequence[AlertLine]]:
    read = _alert_reader(Reader(session))
    found: dict[str, list[AlertLine]] = defaultdict(list)
    for row in fetch(
        session,
        f"SELECT {_ALERT}, uscc FROM alerts WHERE status = 'open' AND uscc IN EACH(:usccs)"
        f" ORDER BY {RANK} DESC, opened_at, alert_id", usccs=usccs,
    ):
        found[row[-1]].append(read(row))
    return found


def _closures(session: Session, usccs: Sequence[str]) -> Mapping[str, ClosureLine]:
    rows = fetch(
        session, "SELECT uscc, held, chance_ppm, unsure FROM closure_states WHERE uscc IN EACH(:usccs)", usccs=usccs
    )
    return {
        uscc: ClosureLine(level=LEVELS[held], chance=ppm / PPM, unsure=bool(unsure)) for uscc, held, ppm, unsure in rows
    }


def _alert_reader(reader: Reader) -> Callable[[Sequence[Any]], AlertLine]:
    """What makes an AlertLine of a row that begins with the cells of _ALERT."""
    instant = reader.instant

    def read(row: Sequence[Any]) -> AlertLine:
        return AlertLine(
            alert_id=row[0], rule=row[1], severity=Severity(row[2]), standing=row[3], why=Why(zh=row[4], en=row[5]),
            opened_at=instant(row[6]), resolved_at=instant(row[7]), account_no=row[8],
        )

    return read


def _strength(account: AccountLine) -> tuple[bool, int, str]:
    """Ten-thousandths of the floor that are held, those of which it is known first."""
    if account.balance_fen is None or not account.required_fen:
        return True, 0, account.account_no
    return False, account.balance_fen * 10_000 // account.required_fen, account.account_no
