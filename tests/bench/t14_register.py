"""What the pages of T14 are read from: a large register on a bad morning, and the people who read it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from alerts.alert import AlertKey, Clear, Severity, Signal, Why
from alerts.routing import Silence
from escrow_monitor.actions import decide_alert
from escrow_monitor.domain.accounts import Account
from escrow_monitor.domain.closure.outlook import LEVELS, Ahead, Outlook, Reason
from escrow_monitor.domain.contracts import Charge, Contract
from escrow_monitor.domain.findings import Level, Standing, account_subject, institution_subject
from escrow_monitor.domain.institutions import Institution, InstitutionKind
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.permissions import UserRole
from escrow_monitor.policies import load_policies
from escrow_monitor.records import runs
from escrow_monitor.records.accounts import save_accounts, save_institutions
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.alerts.silences import add as add_silence
from escrow_monitor.records.bulk import insert, run
from escrow_monitor.records.closure.watches import Judged, save_judged
from escrow_monitor.records.contracts.charges import save_charges
from escrow_monitor.records.contracts.contracts import save_contracts
from escrow_monitor.records.contracts.refund_claims import record_refund_claims
from escrow_monitor.records.contracts.sums import kept_up
from escrow_monitor.records.database import Database
from escrow_monitor.records.people import sessions, users
from escrow_monitor.records.positions import AccountStanding, save_standings
from escrow_monitor.records.reconciliation.reconciliations import ask
from escrow_monitor.rounds.reconcile import reconcile_asked, reconcile_institutions
from escrow_monitor.rounds.signals import Patience

INSTITUTIONS_AN_ALERT = 10
DAYS = 31
WARNED_ONE_IN = 200
MORNINGS = 42
CHUNK = 5_000
BANKS = 12
CONTRACTS_ONE_IN = 20
CONTRACTS_EACH = 4
CLAIMED_ONE_IN = 10
RECONCILED = 60
ACKNOWLEDGED = 200
RUNS_EACH = 500
NAMES = ("晨光艺术培训学校", "远航英语培训中心", "小数点数学教室", "飞羽体育俱乐部", "蓝鲸编程学堂", "知行书法院")
ROUNDS = (
    "pull-balances", "load-statements", "check-balances", "reconcile", "watch-closure", "deliver-alerts",
    "watch-rounds", "seal-audit",
)
SEVERITIES = (Severity.RED, Severity.ORANGE, Severity.YELLOW)
PEOPLE: Sequence[tuple[UserRole, str | None]] = (
    *((role, None) for role in (
        UserRole.ADMIN, UserRole.REGULATOR, UserRole.AUDITOR, UserRole.STAFF, UserRole.VIEWER, UserRole.REGULATOR
    )),
    *((role, f"51{3 + place:02d}") for place, role in enumerate((
        UserRole.REGULATOR, UserRole.STAFF, UserRole.STAFF, UserRole.VIEWER, UserRole.ADMIN
    ))),
    *((role, f"51{3 + place:02d}{1 + place:02d}") for place, role in enumerate((
        UserRole.STAFF, UserRole.STAFF, UserRole.REGULATOR, UserRole.VIEWER, UserRole.AUDITOR
    ))),
    *((UserRole.INSTITUTION, None) for _ in range(4)),
)
"""Who reads: of a third everything, of a quarter a city, of a quarter a district, and four institutions themselves."""
WHY = Why(
    zh="余额 83120.00 CNY，低于最低余额 100000.00 CNY（仅为 0.8312），自 2026-11-17 起；"
       "依据：最近三个自然月入账额的 20%（睿艺报道：自贡市最低余额监管账户，来源已查到）",
    en="holds 83120.00 CNY, the floor is 100000.00 CNY (0.8312 of it), below since 2026-11-17; by 20 % of the credits"
       " of the last three calendar months; pay in before it falls further",
)
_DAY = {
    "account_no": str, "day": date, "covered": bool, "closing_fen": int, "opening_fen": int, "credits_fen": int,
    "debits_fen": int, "largest_debit_fen": int, "reversed_credits_fen": int, "reversed_debits_fen": int,
    "own_credits_fen": int, "own_debits_fen": int,
}


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Somebody who reads: what part of the register is theirs, and the token of their session."""

    name: str
    role: UserRole
    district: str | None
    uscc: str | None
    token: str

    def sees(self, number: int) -> bool:
        """True if the institution of this number is theirs."""
        if self.uscc is not None:
            return self.uscc == uscc(number)
        return district(number).startswith(self.district or "")


@dataclass(frozen=True, kw_only=True)
class Register:
    """What was filled in: open alerts by the number of their institution, who has contracts, and who reads."""

    institutions: int
    alerts: Mapping[int, str]
    cases: Sequence[tuple[int, str]]
    reconciled: Sequence[int]
    readers: Sequence[Reader]


def uscc(number: int) -> str:
    """The code of an institution."""
    return f"91510300MA6{number:07d}"


def district(number: int) -> str:
    """Where it is: a hundred districts of five cities."""
    return f"51{3 + number % 5:02d}{1 + number // 5 % 20:02d}"


def name(number: int) -> str:
    """What it is called."""
    return f"{NAMES[number % len(NAMES)]}{number}"


def fill(database: Database, *, institutions: int, now: datetime) -> Register:
    """Register institutions with an account each, a month of closings, outlooks, and an open alert of one in ten."""
    chosen = sorted(random.Random(5).sample(range(institutions), institutions // INSTITUTIONS_AN_ALERT))
    _register(database, institutions, set(chosen), now)
    _closings(database, institutions, now)
    alerts = _alerts(database, chosen, now)
    _outlooks(database, institutions, now)
    cases = _contracts(database, institutions, now)
    reconciled = _reconciled(database, institutions, now)
    _decided(database, list(alerts.values()), now)
    _ran(database, now)
    readers = _people(database, institutions, now)
    _analysed(database)
    return Register(institutions=institutions, alerts=alerts, cases=cases, reconciled=reconciled, readers=readers)


def flip(database: Database, number: int, *, is_bad: bool, now: datetime) -> None:
    """Publish that one more institution is below its floor, or no more: what the writer beside the readers does."""
    with database.write() as session:
        book = RecordsAlertBook(session, channels=["log"])
        signal = _signal(number, 0, now)
        if is_bad:
            book.advance(signals=[signal], clears=(), now=now, cause="bench")
        else:
            clear = Clear(key=signal.key, standing="met", as_of=now, why=Why(zh="已达到", en="the floor is met"))
            book.advance(signals=(), clears=[clear], now=now, cause="bench")


# what is registered


def _account_no(number: int) -> str:
    return f"62220212345{number:08d}"


def _bank(number: int) -> str:
    return f"银行{number % BANKS}"


def _register(database: Database, institutions: int, bad: set[int], now: datetime) -> None:
    for start in range(0, institutions, CHUNK):
        numbers = range(start, min(start + CHUNK, institutions))
        with database.write() as session:
            save_institutions(session, [
                Institution(
                    uscc=uscc(number), name=name(number), district=district(number),
                    kind=InstitutionKind.NON_SUBJECT if number % 4 else InstitutionKind.SUBJECT,
                ) for number in numbers
            ], now=now)
            save_accounts(session, [
                Account(
                    account_no=_account_no(number), bank=_bank(number), connector="berlin_group", currency="CNY",
                    uscc=uscc(number), opened_on=date(2024, 9, 1),
                ) for number in numbers
            ], now=now)
            save_standings(
                session, [_standing(number, number in bad) for number in numbers], now=now, policy_version="1"
            )
    with database.write() as session:
        run(
            session,
            "UPDATE account_states SET last_answer_at = :now, booked_fen = 8312000, booked_kind = 'booked_intraday',"
            " booked_day = :day, booked_as_of = :now, booked_fetched_at = :now, booked_final = false,"
            " covered_to = :day", now=now, day=now.date(),
        )
        # One bank is silent altogether, another in part: what most mornings have.
        run(session, "UPDATE account_states SET last_refusal = 'timeout', last_answer_at = NULL WHERE bank = '银行3'")
        run(
            session, "UPDATE account_states SET last_refusal = 'bank_busy'"
            " WHERE bank = '银行5' AND account_no LIKE '%7'",
        )


def _standing(number: int, bad: bool) -> AccountStanding:
    standing = (Standing.UNKNOWN if number % 3 == 0 else Standing.BREACHED) if bad else Standing.MET
    return AccountStanding(
        account_no=_account_no(number), input_version=1, standing=standing,
        level=(Level.RED, Level.ORANGE, Level.YELLOW)[number % 3] if bad else None, required_fen=100_000_00,
        required_complete=True, balance_fen=83_120_00 + number, findings=[{"why": "x" * 300}] if bad else (),
    )


def _closings(database: Database, institutions: int, now: datetime) -> None:
    first = now.date() - timedelta(days=DAYS)
    with database.write() as session:
        insert(session, "account_days", _DAY, (
            (_account_no(number), first + timedelta(days=day), True, 8_000_000 + day * 1000, 0, 0, 0, 0, 0, 0, 0, 0)
            for number in range(institutions) for day in range(DAYS)
        ))


# alerts, and what became of them


def _alerts(database: Database, chosen: Sequence[int], now: datetime) -> dict[int, str]:
    found: dict[int, str] = {}
    for start in range(0, len(chosen), 2_000):
        numbers = chosen[start : start + 2_000]
        with database.write() as session:
            entries = RecordsAlertBook(session, channels=["log", "email"]).advance(
                signals=[_signal(number, place, now) for place, number in enumerate(numbers)],
                clears=(), now=now - timedelta(minutes=start // 100), cause="bench",
            )
        by_code = {entry.labels["uscc"]: entry.alert_id for entry in entries}
        found |= {number: by_code[uscc(number)] for number in numbers}
    with database.write() as session:
        # Most were told; some wait, and of one channel some were given up.
        run(session, "UPDATE deliveries SET state = 'delivered', settled_at = :now WHERE seq % 50 <> 0", now=now)
        run(
            session, "UPDATE deliveries SET state = 'dead', settled_at = :now, detail = 'HTTP 500', attempts = 8"
            " WHERE seq % 100 = 0 AND channel = 'email'", now=now,
        )
    return found


def _signal(number: int, place: int, now: datetime) -> Signal:
    rule = ("floor", "floor", "freshness", "feed_gap", "large_outflow", "release_ahead")[place % 6]
    subject = institution_subject(uscc(number)) if rule == "release_ahead" else account_subject(_account_no(number))
    return Signal(
        key=AlertKey(rule, subject, "continuous"), severity=SEVERITIES[number % 3], standing="breached", why=WHY,
        as_of=now, figures={"balance": "83120.00", "balance_fen": 83_120_00, "required_fen": 100_000_00},
        labels={
            "uscc": uscc(number), "account_no": _account_no(number), "bank": _bank(number),
            "district": district(number), "name": name(number),
        },
    )


def _decided(database: Database, alerts: Sequence[str], now: datetime) -> None:
    with database.write() as session:
        book = RecordsAlertBook(session, channels=["log"])
        for place, alert_id in enumerate(alerts[: ACKNOWLEDGED * 7 : 7]):
            decide_alert.acknowledge(
                book, alert_id, by=f"user:reader{place % 6}", note="已致电", until=now + timedelta(days=2), now=now
            )
        for place in range(12):
            add_silence(session, Silence(
                silence_id=f"S-{place}", matchers={"bank": _bank(place), "rule": "freshness"}, author="user:reader0",
                reason="银行割接", starts_at=now, ends_at=now + timedelta(days=1 + place),
            ), now=now)


# what the closure watch says


def _outlooks(database: Database, institutions: int, now: datetime) -> None:
    today = now.date()
    for start in range(0, institutions, CHUNK):
        judged = [_judged(number, today) for number in range(start, min(start + CHUNK, institutions))]
        with database.write() as session:
            save_judged(session, judged, on=today, model="1", now=now)
    warned = [_judged(number, today) for number in range(0, institutions, WARNED_ONE_IN)]
    for back in range(MORNINGS, 0, -1):
        on = today - timedelta(days=back)
        with database.write() as session:
            then = [replace(one, outlook=replace(one.outlook, on=on)) for one in warned]
            save_judged(session, then, on=on, model="1", now=now)


def _judged(number: int, on: date) -> Judged:
    held = 1 + number // WARNED_ONE_IN % 3 if number % WARNED_ONE_IN == 0 else 0
    chance = (0.01, 0.08, 0.3, 0.7)[held] + number % 97 / 10_000

    def money(fen: int) -> Money:
        return Money(fen, "CNY")

    reasons = tuple(
        Reason(name=f"w{place}", points=4.0 - place, zh="近 42 天 79 节消课中 24% 无人确认、超时默认",
               en="nobody confirmed 24% of the 79 lessons counted in 42 days", new=place == 1)
        for place in range(4)
    ) if held else ()
    return Judged(held=held, said=held, quiet=0, outlook=Outlook(
        uscc=uscc(number), on=on, level=LEVELS[held], said=LEVELS[held],
        chances={30: chance / 2, 60: chance, 90: chance}, chance_high=min(1.0, chance * 2), balance=money(83_120_00),
        owed=money(120_000_00), exposed=money(36_880_00), exposed_then=money(50_000_00), breach_in=(10, 20, 30),
        breach_zh="预计 20 天后不足",
        breach_en="in about 20 days",
        ahead=tuple(
            Ahead(days, (70_000_00, 80_000_00, 90_000_00), (110_000_00, 120_000_00, 130_000_00))
            for days in (0, 7, 14, 30, 45, 60, 75, 90)
        ), reasons=reasons, unsure=False, model="1",
    ))


# contracts, cases, reconciliations


def _contracts(database: Database, institutions: int, now: datetime) -> list[tuple[int, str]]:
    """Contracts of one institution in twenty; of one contract in ten money is claimed back. Returns the cases."""
    cases, signed = [], now.date() - timedelta(days=120)
    for start in range(0, institutions, CHUNK * CONTRACTS_ONE_IN):
        numbers = range(start, min(start + CHUNK * CONTRACTS_ONE_IN, institutions), CONTRACTS_ONE_IN)
        named = [(number, f"HT-{number}-{place}") for number in numbers for place in range(CONTRACTS_EACH)]
        claims = named[::CLAIMED_ONE_IN]
        with database.write() as session, kept_up(session, on=now.date()):
            save_contracts(session, [
                Contract(
                    contract_no=contract_no, uscc=uscc(number), student_ref=f"S-{contract_no}", course="钢琴",
                    lessons_paid=48, fee=Money(4800_00, "CNY"), signed_on=signed, starts_on=signed + timedelta(days=10),
                )
                for number, contract_no in named
            ], now=now)
            save_charges(session, [
                Charge(
                    charge_no=f"J-{contract_no}", contract_no=contract_no, paid_on=signed, amount=Money(4800_00, "CNY")
                )
                for _, contract_no in named
            ], now=now)
            arrived = record_refund_claims(session, [
                (line, f"TF-{contract_no}", contract_no, now.date() - timedelta(days=1 + line % 40), None, None,
                 "consumer", "", 100_00)
                for line, (_, contract_no) in enumerate(claims, 1)
            ], now=now)
        if arrived.faults:
            raise RuntimeError(str(arrived.faults[0]))
        cases += [(number, f"TF-{contract_no}") for number, contract_no in claims]
    return cases


def _reconciled(database: Database, institutions: int, now: datetime) -> list[int]:
    numbers = list(range(0, institutions, CONTRACTS_ONE_IN))[:RECONCILED]
    policies, patience = load_policies(), Patience()
    reconcile_institutions(
        database=database, policies=policies, channels=("log",), patience=patience, now=now, actor="round:reconcile",
        usccs=[uscc(number) for number in numbers],
    )
    for number in numbers[:8]:
        with database.write() as session:
            ask(session, request_id=f"R-{number}", actor="user:reader0", uscc=uscc(number), day=None, whole=False,
                now=now)
        reconcile_asked(
            f"R-{number}", database=database, policies=policies, channels=("log",), patience=patience, now=now
        )
    return numbers


# who ran, who reads


def _ran(database: Database, now: datetime) -> None:
    with database.write() as session:
        for round_name in ROUNDS:
            for back in range(RUNS_EACH):
                at = now - timedelta(minutes=back)
                runs.begin(session, round=round_name, shard="all", scheduled_at=at, now=at)
                runs.finish(
                    session, round=round_name, shard="all", scheduled_at=at, outcome=runs.Outcome.OK,
                    counts={"accounts": 100_000}, now=at,
                )


def _people(database: Database, institutions: int, now: datetime) -> list[Reader]:
    found = []
    with database.write() as session:
        for place, (role, code) in enumerate(PEOPLE):
            own = uscc(place * CONTRACTS_ONE_IN % institutions) if role is UserRole.INSTITUTION else None
            users.add(
                session, name=f"reader{place}", display_name=f"读者{place}", role=role,
                districts=None if code is None else (code,), uscc=own, password_hash="none", now=now,
            )
            _, token = sessions.begin(session, user_name=f"reader{place}", address="127.0.0.1", agent="bench", now=now)
            found.append(Reader(name=f"reader{place}", role=role, district=code, uscc=own, token=token))
    return found


def _analysed(database: Database) -> None:
    with database.write() as session:
        run(session, "ANALYZE")
