"""A district in which every field that files or people fill holds what somebody chose to write there."""

from __future__ import annotations

import csv
import io
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from alerts.alert import Severity, Signal, Why
from escrow_monitor.actions import decide_alert, silence_alerts
from escrow_monitor.actions.attach_evidence import attach_evidence
from escrow_monitor.actions.import_columns import COLUMNS
from escrow_monitor.actions.import_files import import_file
from escrow_monitor.actions.note_case import note_case
from escrow_monitor.domain.institutions import uscc_check_character
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.permissions import UserRole
from escrow_monitor.domain.statements import Entry, Statement, StatementKind
from escrow_monitor.errors import UsageError
from escrow_monitor.policies import load_policies
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.bank.statements import record_statements
from escrow_monitor.records.bulk import fetch
from escrow_monitor.records.database import Database
from escrow_monitor.records.people import keys, sessions, users
from escrow_monitor.records.reconciliation.reconciliations import ask
from escrow_monitor.rounds.reconcile import reconcile_institutions
from escrow_monitor.rounds.signals import Patience
from escrow_monitor.web.app import create_app
from escrow_monitor.web.csrf import token_of
from escrow_monitor.web.guard import COOKIE
from escrow_monitor.web.ports import AskedBackTest, LawFolder, Progress
from tests.web.web_world import HOME, NOW, Site, World, alert_key, no

POLICIES = load_policies()
NOT_CONSOLE = ("/api/", "/feeds/", "/static/")
ENDPOINTS = frozenset({"/metrics", "/healthz", "/readyz"})
REFERS = frozenset({"uscc", "contract_no", "account_no"})
"""Columns of other kinds that name a row which must be there."""
DISTRICT = "510302"
PACK = """id = "local-510302"
title = "{text}"
title_en = "{text}"
jurisdiction = "510302"

[[clause]]
id = "local-510302/fixed"
kind = "fixed"
title = "{text}"
title_en = "{text}"
effective_from = 2020-01-01
verified = false
amount = "100000.00"
[clause.source]
title = "{text}"
found = "NF"
"""
_PART = {
    "closures": 1, "recall_red_14d": 0.5, "recall_red_14d_interval95": [0.2, 0.9], "lead_days_p10": 8.6,
    "lead_days_first_orange_median": 43.0, "lead_days_first_red_median": 31.0,
}
RESULT: Mapping[str, Any] = {
    "closure_watch": {
        **_PART, "method": "closure_watch", "about": "the closure index", "about_zh": "关停指数",
        "false_reds_per_100_institution_years": 2.2, "protected_share": 0.58, "protected_share_mean": 0.64,
        "alerts_per_supervisor_week": 0.9, "alerts": {"yellow": 5, "orange": 3, "red": 3}, "false_reds": 1,
        "reds_standing_at_the_end": 0, "institution_years": 45.45, "recall_by_cause": {"licence_revoked": _PART},
        "sudden_thefts": {**_PART, "closures": 0}, "without_sudden_thefts": _PART,
        "lead_days_first_orange": [0, 43], "lead_days_first_red": [0, 31], "misses": [{
            "uscc": "91510303MA0000074T", "cause": "sudden_theft", "closed_on": "2024-12-04",
            "lead_days_first_orange": None, "lead_days_first_red": None,
        }],
    },
    "forecast": {
        "band80_coverage": 0.8, "band80_coverage_by_days": {"7": 0.79, "30": 0.79, "60": 0.81, "90": 0.81},
        "band80_coverage_balance": 0.8, "band80_coverage_owed": 0.8, "band80_coverage_healthy": 0.8,
        "band80_coverage_closing": 0.75, "forecasts": 9352,
    },
    "calibration": [{"horizon_days": 30, "mornings": 2335, "closed": 13, "brier": 0.003, "bins": [
        {"mornings": 2325, "chance": 0.001, "happened": 0.002}, {"mornings": 3, "chance": 0.14, "happened": 0.33},
    ]}],
    "past": {
        "source": "city", "seed": 3, "starts_on": "2024-01-01", "ends_on": "2025-12-30", "noise": 1.0,
        "strength": [0.7, 1.3], "model": "1", "institutions": 30, "institutions_per_supervisor": 200,
        "from": "2024-04-30", "to": "2025-12-30",
    },
}
"""What a small back-test finds."""


@dataclass
class Filled:
    """The district, how each text came in, and somebody who may see all of it."""

    database: Database
    folder: Path
    texts: Sequence[str]
    world: World = field(init=False)
    app: FastAPI = field(init=False)
    token: str = ""
    taken: set[tuple[str, str]] = field(default_factory=set)
    """The columns of files that took at least one of the texts."""
    examples: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.world = World(database=self.database).bad_morning()
        for number, text in enumerate(self.texts):
            self._import(number, text)
        self._statements()
        self._people()
        self._alerts()
        self._said()
        self._asked()
        law = self.folder / "law"
        law.mkdir()
        self.app = create_app(replace(
            self.world.ports(), policies=POLICIES, back_test=self._replayed,
            law=LawFolder(path=law, read=lambda: load_policies([law])),
        ))
        self.site = Site(self.world, self.app)
        self._sent()

    # what files bring

    def _import(self, number: int, text: str) -> None:
        code = code_of(number)
        refers = {"uscc": code, "account_no": f"622202120001987{number:04d}"}
        for kind, columns in COLUMNS.items():
            row = {name: column.example for name, column in columns.items()}
            row.update({name: value for name, value in refers.items() if name in row})
            key = next(iter(columns))
            if key not in refers:
                row[key] = f"{row[key]}-{number}"
            self._keep(kind, row)
            for name in columns:
                is_reference = name in REFERS and (kind, name) != ("contracts", "contract_no")
                if not is_reference and self._keep(kind, {**row, name: text}):
                    row[name] = text
                    self.taken.add((kind, name))
            refers.update({name: row[name] for name in ("contract_no",) if name in row})
        self._keep("institutions", {
            **dict.fromkeys(COLUMNS["institutions"], ""), "uscc": code, "name": text, "district": DISTRICT,
            "grid": text, "licence_no": text,
        })

    def _keep(self, kind: str, row: Mapping[str, str]) -> bool:
        try:
            return import_file(
                self.database, kind=kind, stream=io.BytesIO(file_of([row])), filename=f"{self.texts[0][:80]}.csv",
                actor="user:li", now=NOW,
            ).kept
        except UsageError:
            return False

    def _statements(self) -> None:
        day, opening = date(2026, 11, 18), 100_000_00
        entries = tuple(
            Entry(account_no=f"622202120001987{0:04d}", booked_on=day, amount=Money(100_00 + number, "CNY"),
                  bank_ref=text, text=text)
            for number, text in enumerate(self.texts)
        )
        closing = opening + sum(entry.amount.minor_units for entry in entries)
        with self.database.write() as session:
            assert record_statements(session, [Statement(
                account_no=entries[0].account_no, currency="CNY", kind=StatementKind.END_OF_DAY, number="1",
                opening=Money(opening, "CNY"), opening_on=day, closing=Money(closing, "CNY"), closing_on=day,
                covers_from=day, covers_to=day, entries=entries, where="a.sta:1",
            )], source="a.sta", raw_sha256="ab" * 32, now=NOW) == []
        reconcile_institutions(
            database=self.database, policies=POLICIES, channels=(), patience=Patience(), now=NOW, actor="test"
        )

    # what people write

    def _people(self) -> None:
        with self.database.write() as session:
            for number, text in enumerate(("", *self.texts)):
                name = f"li{number or ''}"
                users.add(
                    session, name=name, display_name=text or "李", role=UserRole.ADMIN, districts=None, uscc=None,
                    password_hash="none", now=NOW,
                )
                _, token = sessions.begin(
                    session, user_name=name, address="127.0.0.1", agent=text or "Firefox", now=NOW
                )
                self.token = self.token or token
                if text:
                    keys.create(session, name=text, scopes=["feed"], expires_at=None, now=NOW, owner=name)

    def _alerts(self) -> None:
        with self.database.write() as session:
            book = RecordsAlertBook(session, channels=("log",))
            book.advance(signals=[
                Signal(
                    key=alert_key(number, "large_outflow"), severity=Severity.RED, standing="breached", as_of=NOW,
                    why=Why(zh=f"{text} 支出 50000.00 CNY，自 2026-11-18T09:15:00+08:00 起", en=f"{text} left"),
                    figures={"text": text, "amount": "50000.00", "amount_fen": 50_000_00},
                    labels={"uscc": code_of(number), "account_no": no(number), "bank": text, "name": text,
                            "district": DISTRICT},
                ) for number, text in enumerate(self.texts)
            ], clears=(), now=NOW, cause=self.texts[0])
        with self.database.read() as session:
            found = fetch(session, "SELECT alert_id FROM alerts WHERE rule = 'large_outflow' ORDER BY alert_id")
        ids = [str(row[0]) for row in found]
        self.examples["alert_id"] = ids[0]
        for alert_id, text in zip(ids, self.texts, strict=True):
            with self.database.write() as session:
                decide_alert.acknowledge(
                    RecordsAlertBook(session), alert_id, by="user:li1", note=text, until=NOW + timedelta(days=1),
                    now=NOW,
                )

    def _said(self) -> None:
        """Notes and documents of cases, reasons of silences."""
        with self.database.read() as session:
            cases = [str(row[0]) for row in fetch(session, "SELECT case_no FROM cases ORDER BY case_no")]
        assert cases, "no claim was imported"
        self.examples["case_no"] = cases[0]
        for text in self.texts:
            note_case(self.database, case_no=cases[0], text=text, actor="user:li1", now=NOW)
            # A name that turns the direction of writing is refused.
            name = f"{text}.pdf".replace("/", "|") if text.isprintable() else "a.pdf"
            attach_evidence(
                self.database, case_no=cases[0], content=b"%PDF-1.4", filename=name, note=text, actor="user:li1",
                now=NOW,
            )
            with self.database.write() as session:
                silence_alerts.make(session, silence_alerts.silence_of(
                    matchers={"bank": text}, author="user:li1", reason=text, starts_at=None,
                    ends_at=NOW + timedelta(hours=4), now=NOW,
                ), now=NOW)

    def _asked(self) -> None:
        with self.database.write() as session:
            ask(session, request_id="R-1", actor="user:li1", uscc=code_of(0), day=None, whole=False, now=NOW)
        with self.database.read() as session:
            found = fetch(session, "SELECT uscc, recon_no FROM reconciliations ORDER BY recon_no LIMIT 1")
        self.examples |= {
            "uscc": code_of(0), "request_id": "R-1", "kind": "charges", "seq": "1", "pack_id": "cn-000000",
            "month": "2026-10", "form": "csv", "name": "li1",
        }
        self.examples["reconciled"] = f"{found[0][0]}/{found[0][1]}" if found else ""

    def _replayed(self, asked: AskedBackTest, hear: Progress) -> Mapping[str, Any]:
        return RESULT

    # what is sent to pages

    def _sent(self) -> None:
        rows = [
            {name: (text if place % 2 else column.example) for place, (name, column) in enumerate(columns.items())}
            for kind, columns in COLUMNS.items() if kind == "charges" for text in self.texts
        ]
        answer = self.post(
            f"/imports/files?kind=charges&filename={quote(self.texts[0].replace('/', '|'))}", file_of(rows),
            content_type="application/octet-stream",
        )
        self.examples["file_id"] = str(answer.json()["location"]).rsplit("/", 1)[-1]
        began = self.post("/audit/verify", urlencode({"once": "a"}).encode())
        self.examples["work_id of /audit/verifications"] = last_of(began)
        began = self.post("/policies/back-tests", urlencode({"once": "b", "past": "city", "institutions": "20",
                                                             "years": "1", "seed": "1"}).encode())
        self.examples["work_id of /policies/back-tests"] = last_of(began)
        self.examples["seq of /policies/changes"] = last_of(self._proposed())

    def _proposed(self) -> httpx.Response:
        mark, text = "XXMARKXX", self.texts[0].replace("\\", "\\\\").replace('"', '\\"')
        body = (
            f'--{mark}\r\nContent-Disposition: form-data; name="note"\r\n\r\n{self.texts[0]}\r\n--{mark}\r\n'
            f'Content-Disposition: form-data; name="csrf"\r\n\r\n{token_of(self.token)}\r\n--{mark}\r\n'
            f'Content-Disposition: form-data; name="file"; filename="a.toml"\r\n'
            f"Content-Type: application/octet-stream\r\n\r\n{PACK.replace('{text}', text)}\r\n--{mark}--\r\n"
        )
        return self.post("/policies/changes", body.encode(), content_type=f"multipart/form-data; boundary={mark}")

    def post(
        self, path: str, content: bytes, *, content_type: str = "application/x-www-form-urlencoded",
    ) -> httpx.Response:
        answer = apart(
            self.site.send, "POST", path, key=None, content=content, content_type=content_type, origin=HOME,
            cookie=f"{COOKIE}={self.token}", x_csrf_token=token_of(self.token),
        )
        assert answer.status_code in (200, 201, 303), (path, answer.status_code, answer.text[-800:])
        return answer

    def get(self, path: str, *, lang: str = "zh", **headers: str) -> httpx.Response:
        return apart(self.site.get, path, key=None, cookie=f"{COOKIE}={self.token}; escrow_lang={lang}", **headers)

    # every page there is

    def addresses(self) -> Iterator[str]:
        """An address of every GET route of the console, and of the statements that are printed."""
        for context in iter_route_contexts(self.app.routes):
            path = context.path or ""
            if "GET" not in (context.methods or ()) or path.startswith(NOT_CONSOLE) or path in ENDPOINTS:
                continue
            yield self.filled(path)
        with self.database.read() as session:
            claims = fetch(session, "SELECT contract_no, claim_no FROM refund_claims ORDER BY claim_no")
        for contract, claim in claims:
            yield f"/api/v1/contracts/{quote(str(contract), safe='')}/refund-statement?claim={quote(str(claim))}"
        for number in range(1, len(self.texts)):
            yield f"/institutions/{code_of(number)}"

    def filled(self, path: str) -> str:
        """The address with an example for each of its parameters. A new one needs an example here: that is all."""
        if path == "/reconcile/{uscc}/{number:int}":
            return f"/reconcile/{self.examples['reconciled']}"

        def example(found: re.Match[str]) -> str:
            name = found[1]
            of_path = f"{name} of {path[:found.start() - 1]}"
            if name == "number":
                return "1"
            assert of_path in self.examples or name in self.examples, f"no example of {name!r} for {path}"
            return quote(self.examples.get(of_path, self.examples.get(name, "")), safe="")

        return re.sub(r"\{(\w+)(?::\w+)?\}", example, path)

    def settle(self) -> None:
        """Wait until nothing that was begun is still at work."""
        for path in self.addresses():
            if "/back-tests/" in path or "/verifications/" in path or "/imports/files/" in path:
                for _ in range(200):
                    if "hx-trigger" not in self.get(path).text:
                        break
                    time.sleep(0.05)


def apart(ask: Callable[..., httpx.Response], *about: Any, **named: Any) -> httpx.Response:
    """Ask in a thread of its own: where a browser is driven, this one has a loop already."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(ask, *about, **named).result()


def code_of(number: int) -> str:
    """The credit code of the institution that the files with one of the texts are about."""
    first = f"91510300MA7{number:06d}"
    return first + uscc_check_character(first)


def file_of(rows: Sequence[Mapping[str, str]]) -> bytes:
    """A CSV of these rows."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def last_of(answer: httpx.Response) -> str:
    """The last part of where an answer leads on to."""
    return answer.headers["location"].partition("?")[0].rsplit("/", 1)[-1]


