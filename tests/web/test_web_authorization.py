"""Who may what, as a table: every route there is, for every role and kind of key, in their own district and another."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from alerts.alert import Severity, Signal, Why
from alerts.feeds.filter import filter_of
from escrow_monitor.domain.accounts import Account
from escrow_monitor.domain.contracts import Charge, Contract
from escrow_monitor.domain.findings import Level, Standing
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.matching import BankLine, Expected, ExpectedKind
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.permissions import UserRole
from escrow_monitor.records.accounts import save_accounts, save_institutions
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.contracts import sums as contract_sums
from escrow_monitor.records.contracts.charges import save_charges
from escrow_monitor.records.contracts.contracts import save_contracts
from escrow_monitor.records.contracts.refund_claims import record_refund_claims
from escrow_monitor.records.database import Database
from escrow_monitor.records.matching.matching import record_items
from escrow_monitor.records.people import keys, sessions, users
from escrow_monitor.records.reconciliation.reconciliations import ask
from escrow_monitor.web.csrf import token_of
from escrow_monitor.web.guard import COOKIE
from tests.web.web_world import HOME, Site, World, alert_key, bank, no, uscc

OWN, OTHER = 0, 1
NAMES = ("本区的培训学校", "外区的培训学校")
DISTRICTS = ("510302", "371082")
UNTIL = "2026-11-21T09:00:00+08:00"

PEOPLE = {
    # The first five are limited to the district 5103, the sixth to its own institution.
    "viewer": (UserRole.VIEWER, ("5103",), None), "staff": (UserRole.STAFF, ("5103",), None),
    "regulator": (UserRole.REGULATOR, ("5103",), None), "auditor": (UserRole.AUDITOR, ("5103",), None),
    "admin": (UserRole.ADMIN, ("5103",), None), "institution": (UserRole.INSTITUTION, None, uscc(OWN)),
    "everywhere": (UserRole.ADMIN, None, None),
}
LIMITED = ("viewer", "staff", "regulator", "auditor", "admin", "institution", "subscriber", "owned")

# What each may: `ok` (see the row), or the status of the refusal; own district / another where that differs.
WHO = ("stranger", *PEOPLE, "reader", "decider", "subscriber", "scraper", "owned")
#               strang. viewer  staff   regul.  auditor admin   instit. every.  reader  decider subscr. scraper owned
OPEN = "        ok      ok      ok      ok      ok      ok      ok      ok      ok      ok      ok      ok      ok"
LIST = "        401     ok      ok      ok      ok      ok      ok      ok      ok      ok      403     403     ok"
DETAIL = "      401     ok/404  ok/404  ok/404  ok/404  ok/404  ok/404  ok      ok      ok      403     403     ok/404"
DECIDE = "      401     403     ok/404  ok/404  403     ok/404  403     ok      403     ok      403     403     403"
RUNS = "        401     ok      ok      ok      ok      ok      403     ok      ok      ok      403     403     ok"
WHOLE = "       401     403     403     403     403     403     403     ok      ok      ok      403     403     403"
WHOLE_DECIDE = "401     403     403     403     403     403     403     ok      403     ok      403     403     403"
AUDIT = "       401     403     403     403     403     403     403     ok      403     403     403     403     403"
NO_WORK = "     401     404     404     404     404     404     404     404     404     404     403     403     404"
PACK = "        401     403     403     ok/404  ok/404  ok/404  403     ok      403     403     403     403     403"
IMPORT = "      401     403     403     403     403     403     403     ok      403     403     403     403     403"
FEED = "        401     ok      ok      ok      ok      ok      ok      ok      ok      ok      ok      403     ok"
METRICS = "     401     403     403     403     403     403     403     ok      403     403     403     ok      403"
PAGE = "        303     ok      ok      ok      ok      ok      ok      ok      ok      ok      303     303     ok"
PAGE_DETAIL = " 303     ok/404  ok/404  ok/404  ok/404  ok/404  ok/404  ok      ok      ok      303     303     ok/404"
FORM = "        303     403     ok/404  ok/404  403     ok/404  403     ok      403     ok      403     403     403"
FORM_START = "  303     403     ok/422  ok/422  403     ok/422  403     ok      403     ok      403     403     403"
FORM_NOTE = "   303     403     ok/404  ok/404  403     ok/404  ok/404  ok      403     ok      403     403     403"
FORM_ANSWER = " 303     403     403     403     403     403     ok/404  403     403     403     403     403     403"
NOTES = "       401     403     ok/404  ok/404  403     ok/404  ok/404  ok      403     ok      403     403     403"
ANSWERS = "     401     403     403     403     403     403     ok/404  403     403     403     403     403     403"
PAGE_ALL = "    303     403     403     403     403     403     403     ok      ok      ok      403     403     403"
FORM_ALL = "    303     403     403     403     403     403     403     ok      403     ok      403     403     403"
FORM_ADMIN = "  303     403     403     403     403     403     403     ok      403     403     403     403     403"
PAGE_FEED = "   303     ok      ok      ok      ok      ok      ok      ok      ok      ok      ok      403     ok"

# Pages that tell a known reader in words that they may not, instead of leading them to the sign-in.
PAGE_READ = "   303     ok      ok      ok      ok      ok      ok      ok      ok      ok      403     403     ok"
POLICY_DETAIL = "303    ok/404  ok/404  ok/404  ok/404  ok/404  ok/404  ok      ok      ok      403     403     ok/404"
PAGE_RUNS = "   303     ok      ok      ok      ok      ok      403     ok      ok      ok      403     403     ok"
PAGE_WHOLE = "  303     403     403     403     403     403     403     ok      ok      ok      403     403     403"
OFFICE_IMPORT = "303    403     403     403     403     403     403     ok      403     403     403     403     403"
OFFICE_AUDIT = "303     403     403     403     403     403     403     ok      403     403     403     403     403"
FORM_RUNS = "   303     ok      ok      ok      ok      ok      403     ok      ok      ok      403     403     ok"
FORM_CHANGE = " 303     403     403     403     403     403     403     ok      403     ok      403     403     403"
FORM_IMPORT = " 303     403     403     403     403     403     403     ok      403     403     403     403     403"
FORM_DISCARD = "303     403     ok      ok      403     ok      403     ok      403     403     403     403     403"
FORM_PACK = "   303     403     403     ok/404  ok/404  ok/404  403     ok      403     403     403     403     403"
FORM_AUDIT = "  303     403     403     403     403     403     403     ok      403     403     403     403     403"

# People are looked after by administrators, each by one who sees no less than they do.
FORM_READ = "   303     ok      ok      ok      ok      ok      ok      ok      ok      ok      403     403     ok"
PAGE_ADMIN = "  303     403     403     403     403     ok      403     ok      403     403     403     403     403"
FORM_PEOPLE = " 303     403     403     403     403     ok      403     ok      403     403     403     403     403"
PERSON = "      303     403     403     403     403     ok/404  403     ok      403     403     403     403     403"
FORM_PERSON = " 303     403     403     403     403     ok/404  403     ok      403     403     403     403     403"
ADMIN = "       401     403     403     403     403     ok      403     ok      403     403     403     403     403"
ADMIN_ONE = "   401     403     403     403     403     ok/404  403     ok      403     403     403     403     403"


@dataclass(frozen=True, kw_only=True)
class Row:
    """How one route is asked about what is theirs and what is another's, and what each is answered."""

    cells: str
    own: str = ""
    other: str = ""
    ok: tuple[int, ...] = (200,)
    body: object = None
    body_other: object = None
    form: bytes | None = None
    form_other: bytes | None = None

    def expected(self, who: str) -> tuple[str, str]:
        own, _, other = self.cells.split()[WHO.index(who)].partition("/")
        return own, other or own


def about(path: str, *, own: str, other: str, cells: str, ok: tuple[int, ...] = (200,), body: object = None) -> Row:
    return Row(cells=cells, own=path.replace("*", own), other=path.replace("*", other), ok=ok, body=body)


def form(path: str, *, own: str, other: str, sent: bytes, ok: tuple[int, ...], cells: str = FORM) -> Row:
    return Row(cells=cells, own=path.replace("*", own), other=path.replace("*", other), ok=ok, form=sent)


A = "/api/v1"
ALERTS = {"own": "{alert0}", "other": "{alert1}"}
USCCS = {"own": uscc(OWN), "other": uscc(OTHER)}
CASES = {"own": "TF-1", "other": "TF-2"}
CONTRACTS = {"own": "HT-1", "other": "HT-2"}
NOTE = "有理由"
SILENCE = {"matchers": {"bank": "x"}, "reason": NOTE, "ends_at": UNTIL}

TABLE: dict[str, Row] = {
    "GET /": Row(cells=PAGE),
    "GET /institutions": Row(cells=PAGE),
    **{f"GET {path}.{form}": Row(cells=cells, own=asked and f"{path}.{form}{asked}") for form in ("csv", "xlsx") for
       path, cells, asked in (
           ("/institutions", PAGE, ""), ("/alerts", PAGE, ""), ("/cases", PAGE, ""), ("/reconcile", PAGE, ""),
           ("/deliveries", PAGE_ALL, ""), ("/silences", PAGE_ALL, ""), ("/subscriptions", OFFICE_AUDIT, ""),
           ("/audit", OFFICE_AUDIT, ""), ("/operations/runs", PAGE_RUNS, ""), ("/operations/banks", PAGE_RUNS, ""),
       )},
    **{f"GET {path}.{form}": about(f"{path.format(uscc='*')}.{form}", **USCCS, cells=PAGE_DETAIL)
       for form in ("csv", "xlsx") for path in (
           "/institutions/{uscc}/contracts", "/institutions/{uscc}/statement-days", "/reconcile/{uscc}/items",
       )},
    **{f"GET /policies/effective.{form}": about(f"/policies/effective.{form}?uscc=*", **USCCS, cells=POLICY_DETAIL)
       for form in ("csv", "xlsx")},
    "GET /institutions/{uscc}": about("/institutions/*", **USCCS, cells=PAGE_DETAIL),
    "GET /institutions/{uscc}/chart.json": about("/institutions/*/chart.json", **USCCS, cells=DETAIL),
    "GET /alerts": Row(cells=PAGE),
    "POST /alerts/acknowledge": Row(cells=FORM, ok=(422,), form=b"note=why"),
    "GET /alerts/{alert_id}": about("/alerts/*", **ALERTS, cells=PAGE_DETAIL),
    "POST /alerts/{alert_id}/decisions": form(
        "/alerts/*/decisions", **ALERTS, sent=b"act=acknowledge&for=4h", ok=(303,)
    ),
    "GET /silences": Row(cells=PAGE_ALL),
    "POST /silences": Row(cells=FORM_ALL, ok=(422,), form=b"do=preview"),
    "POST /silences/{silence_id}/confirm": Row(
        cells=FORM_ALL, own="/silences/x/confirm", ok=(404,), form=b"once=a"
    ),
    "POST /silences/{silence_id}/end": Row(cells=FORM_ALL, own="/silences/x/end", ok=(404,), form=b"once=b"),
    "GET /deliveries": Row(cells=PAGE_ALL),
    "POST /deliveries/resend": Row(cells=FORM_ALL, ok=(422,), form=b"once=c"),
    "GET /subscriptions": Row(cells=PAGE_FEED),
    "POST /subscriptions/keys": Row(cells=FORM_ADMIN, ok=(422,), form=b"name=x"),
    "POST /subscriptions/keys/{key_id}/revoke": Row(
        cells=FORM_ADMIN, own="/subscriptions/keys/x/revoke", ok=(404,), form=b"once=d"
    ),
    "GET /cases": Row(cells=PAGE),
    "GET /cases/{case_no:path}": about("/cases/*", **CASES, cells=PAGE_DETAIL),
    "GET /cases/{case_no:path}/evidence/{number:int}": about(
        "/cases/*/evidence/1", **CASES, cells=PAGE_DETAIL, ok=(404,)
    ),
    "POST /cases/{case_no:path}/moves": form("/cases/*/moves", **CASES, sent=b"move=gather&reason=why", ok=(303, 409)),
    "POST /cases/{case_no:path}/answers": form(
        "/cases/*/answers", **CASES, sent=b"move=gather&reason=why", ok=(409,), cells=FORM_ANSWER
    ),
    "POST /cases/{case_no:path}/said-payments": form(
        "/cases/*/said-payments", **CASES, sent=b"amount=1&bank_ref=x&paid_on=2026-11-19", ok=(303,), cells=FORM_ANSWER
    ),
    "POST /cases/{case_no:path}/notes": form(
        "/cases/*/notes", **CASES, sent=b"text=why", ok=(303,), cells=FORM_NOTE
    ),
    "POST /cases/{case_no:path}/evidence": form(
        "/cases/*/evidence", **CASES, sent=b"note=why", ok=(422,), cells=FORM_NOTE
    ),
    "GET /reconcile": Row(cells=PAGE),
    "POST /reconcile": Row(
        cells=FORM_START, ok=(303,), form=f"uscc={uscc(OWN)}".encode(), form_other=f"uscc={uscc(OTHER)}".encode()
    ),
    "GET /reconcile/runs/{request_id}": about("/reconcile/runs/*", own="R-0", other="R-1", cells=PAGE_DETAIL),
    "GET /reconcile/{uscc}": about("/reconcile/*", **USCCS, cells=PAGE_DETAIL),
    "GET /reconcile/{uscc}/{number:int}": about("/reconcile/*/999", **USCCS, cells=PAGE_DETAIL, ok=(404,)),
    "POST /reconcile/{uscc}/matches": form("/reconcile/*/matches", **USCCS, sent=b"reason=why", ok=(422,)),
    "POST /reconcile/{uscc}/undo": form("/reconcile/*/undo", **USCCS, sent=b"reason=why&item=x", ok=(409,)),
    "GET /imports": Row(cells=OFFICE_IMPORT),
    "GET /imports/templates/{kind}.csv": Row(cells=OFFICE_IMPORT, own="/imports/templates/charges.csv"),
    "POST /imports/files": Row(cells=IMPORT, own="/imports/files?kind=nonsense&filename=a.csv", ok=(400,), body={}),
    "GET /imports/files/{file_id}": Row(cells=OFFICE_IMPORT, own="/imports/files/x", ok=(404,)),
    **{f"GET /imports/files/{{file_id}}/errors.{form}": Row(
        cells=OFFICE_IMPORT, own=f"/imports/files/x/errors.{form}", ok=(404,)
    ) for form in ("csv", "xlsx")},
    "POST /imports/files/{file_id}/confirm": Row(
        cells=FORM_IMPORT, own="/imports/files/x/confirm", ok=(404,), form=b"sha256=x"
    ),
    "POST /imports/files/{file_id}/discard": Row(
        cells=FORM_DISCARD, own="/imports/files/x/discard", ok=(303,), form=b"x=y"
    ),
    "GET /policies": Row(cells=PAGE_READ),
    "GET /policies/packs/{pack_id:path}": Row(cells=PAGE_READ, own="/policies/packs/cn-510300"),
    "GET /policies/effective": about("/policies/effective?uscc=*", **USCCS, cells=POLICY_DETAIL),
    "POST /policies/back-tests": Row(cells=FORM_RUNS, ok=(409,), form=b"past=city"),
    "GET /policies/back-tests/{work_id}": Row(cells=PAGE_RUNS, own="/policies/back-tests/x", ok=(404,)),
    "GET /policies/back-tests/{work_id}/report": Row(cells=PAGE_RUNS, own="/policies/back-tests/x/report", ok=(404,)),
    "POST /policies/changes": Row(cells=FORM_CHANGE, ok=(400,), form=b"note=why"),
    "GET /policies/changes/{seq:int}": Row(cells=PAGE_WHOLE, own="/policies/changes/999999", ok=(404,)),
    "POST /policies/changes/{seq:int}/accept": Row(
        cells=FORM_CHANGE, own="/policies/changes/999999/accept", ok=(404,), form=b"x=y"
    ),
    "POST /policies/changes/{seq:int}/withdraw": Row(
        cells=FORM_CHANGE, own="/policies/changes/999999/withdraw", ok=(404,), form=b"x=y"
    ),
    "GET /audit": Row(cells=OFFICE_AUDIT),
    "GET /audit/entries/{seq:int}": Row(cells=OFFICE_AUDIT, own="/audit/entries/1"),
    "POST /audit/verify": Row(cells=FORM_AUDIT, ok=(303, 503), form=b"x=y"),
    "GET /audit/verifications/{work_id}": Row(cells=OFFICE_AUDIT, own="/audit/verifications/x", ok=(404,)),
    "POST /audit/export": Row(cells=FORM_AUDIT, form=b"x=y"),
    "POST /institutions/{uscc}/pack": form("/institutions/*/pack", **USCCS, sent=b"x=y", ok=(200,), cells=FORM_PACK),
    "GET /returns": Row(cells=PAGE_READ),
    "GET /returns/{month}": Row(cells=PAGE_READ, own="/returns/2026-10"),
    "POST /returns/{month}": Row(cells=FORM_READ, own="/returns/2026-10", ok=(303, 503), form=b"x=y"),
    "GET /returns/{month}/file.{form}": Row(cells=PAGE_READ, own="/returns/2026-10/file.csv"),
    "GET /operations": Row(cells=PAGE_RUNS),
    "GET /healthz": Row(cells=OPEN),
    "GET /readyz": Row(cells=OPEN),
    "GET /sign-in": Row(cells=OPEN),
    "POST /sign-in": Row(cells=OPEN, ok=(403, 429), form=b"key=wrong"),
    "POST /sign-out": Row(cells=OPEN, ok=(303,), form=b""),
    "GET /static/{name}": Row(cells=OPEN, own="/static/console.css"),
    "GET /sign-in/oidc": Row(cells=OPEN, ok=(404,)),
    "GET /sign-in/oidc/callback": Row(cells=OPEN, ok=(404,)),
    "GET /account": Row(cells=PAGE_READ),
    "POST /account/password": Row(cells=FORM_READ, ok=(403, 422), form=b"old=a&new=b&again=c"),
    "POST /account/sessions": Row(cells=FORM_READ, ok=(403, 404), form=b"session=x"),
    "GET /users": Row(cells=PAGE_ADMIN),
    "POST /users": Row(cells=FORM_PEOPLE, ok=(422,), form=b"name=X&role=viewer"),
    "GET /users/{name}": Row(cells=PERSON, own="/users/viewer", other="/users/outsider"),
    "POST /users/{name}": Row(
        cells=FORM_PERSON, own="/users/trainee", other="/users/outsider", ok=(303,), form=b"act=sign_out",
    ),
    "GET /keys": Row(cells=PAGE_ADMIN),
    "POST /keys": Row(cells=FORM_PEOPLE, ok=(422,), form=b"name=x"),
    "POST /keys/{key_id}/revoke": Row(cells=FORM_PEOPLE, own="/keys/x/revoke", ok=(404,), form=b"x=y"),
    "GET /metrics": Row(cells=METRICS),
    "GET /feeds/alerts.json": Row(cells=FEED),
    "GET /feeds/alerts.atom": Row(cells=FEED),
    # A stream has no end: it is asked for what the guard lets nobody have, and a right answer is the 400 behind it.
    "GET /feeds/alerts/events": Row(cells=FEED, own="/feeds/alerts/events?nonsense=1", ok=(400,)),
    f"GET {A}/openapi.json": Row(cells=LIST),
    f"GET {A}/accounts": Row(cells=LIST),
    f"GET {A}/accounts/{{account_no}}": about(f"{A}/accounts/*", own=no(OWN), other=no(OTHER), cells=DETAIL),
    f"GET {A}/institutions": Row(cells=LIST),
    f"GET {A}/institutions/{{uscc}}": about(f"{A}/institutions/*", **USCCS, cells=DETAIL),
    f"GET {A}/institutions/{{uscc}}/pack": about(f"{A}/institutions/*/pack", **USCCS, cells=PACK),
    f"GET {A}/returns/{{month}}": Row(cells=LIST, own=f"{A}/returns/2026-10"),
    f"GET {A}/outlooks": Row(cells=LIST),
    f"GET {A}/banks": Row(cells=LIST),
    f"GET {A}/rounds": Row(cells=RUNS),
    f"GET {A}/runs": Row(cells=RUNS),
    f"GET {A}/alerts": Row(cells=LIST),
    f"GET {A}/alerts/{{alert_id}}": about(f"{A}/alerts/*", **ALERTS, cells=DETAIL),
    f"GET {A}/alerts/{{alert_id}}/decisions": about(f"{A}/alerts/*/decisions", **ALERTS, cells=DETAIL),
    f"POST {A}/alerts/{{alert_id}}/acknowledge": about(
        f"{A}/alerts/*/acknowledge", **ALERTS, cells=DECIDE, body={"until": UNTIL}
    ),
    f"POST {A}/alerts/{{alert_id}}/snooze": about(
        f"{A}/alerts/*/snooze", **ALERTS, cells=DECIDE, body={"until": UNTIL, "note": NOTE}
    ),
    f"POST {A}/alerts/{{alert_id}}/accept": about(
        f"{A}/alerts/*/accept", **ALERTS, cells=DECIDE, body={"note": NOTE}
    ),
    f"POST {A}/alerts/{{alert_id}}/take-back": about(
        f"{A}/alerts/*/take-back", **ALERTS, cells=DECIDE, ok=(200, 409), body={"note": NOTE, "decision": "proposal"}
    ),
    f"GET {A}/silences": Row(cells=WHOLE),
    f"GET {A}/silences/{{silence_id}}": Row(cells=WHOLE, own=f"{A}/silences/x", ok=(404,)),
    f"POST {A}/silences": Row(cells=WHOLE_DECIDE, own=f"{A}/silences?dry_run=true", body=SILENCE),
    f"POST {A}/silences/{{silence_id}}/confirm": Row(cells=WHOLE_DECIDE, own=f"{A}/silences/x/confirm", ok=(404,)),
    f"DELETE {A}/silences/{{silence_id}}": Row(cells=WHOLE_DECIDE, own=f"{A}/silences/x", ok=(404,)),
    f"GET {A}/deliveries": Row(cells=WHOLE),
    f"GET {A}/deliveries/{{delivery_id}}": Row(cells=WHOLE, own=f"{A}/deliveries/x", ok=(404,)),
    f"POST {A}/deliveries/{{delivery_id}}/resend": Row(
        cells=WHOLE_DECIDE, own=f"{A}/deliveries/x/resend", ok=(404,)
    ),
    f"POST {A}/deliveries/resend": Row(cells=WHOLE_DECIDE, ok=(404,), body={"deliveries": ["x"]}),
    f"GET {A}/channels": Row(cells=WHOLE),
    f"POST {A}/policies/check": Row(cells=LIST, ok=(422,), body={"text": "x"}),
    f"GET {A}/policies": Row(cells=LIST),
    f"GET {A}/policies/{{policy_id}}": Row(cells=LIST, own=f"{A}/policies/cn-510300"),
    f"GET {A}/institutions/{{uscc}}/policy": about(f"{A}/institutions/*/policy", **USCCS, cells=DETAIL),
    f"GET {A}/users": Row(cells=ADMIN),
    f"POST {A}/users": Row(cells=ADMIN, ok=(422,), body={"name": "X", "role": "viewer"}),
    f"GET {A}/users/{{name}}": Row(cells=ADMIN_ONE, own=f"{A}/users/viewer", other=f"{A}/users/outsider"),
    f"PUT {A}/users/{{name}}/role": Row(
        cells=ADMIN_ONE, own=f"{A}/users/trainee/role", other=f"{A}/users/outsider/role",
        body={"role": "viewer", "districts": ["5103"]}, body_other={"role": "viewer", "districts": ["3710"]},
    ),
    f"PUT {A}/users/{{name}}/open": Row(
        cells=ADMIN_ONE, own=f"{A}/users/trainee/open", other=f"{A}/users/outsider/open", body={"open": True},
    ),
    f"POST {A}/users/{{name}}/password": Row(
        cells=ADMIN_ONE, own=f"{A}/users/trainee/password", other=f"{A}/users/outsider/password",
    ),
    f"GET {A}/users/{{name}}/sessions": Row(
        cells=ADMIN_ONE, own=f"{A}/users/viewer/sessions", other=f"{A}/users/outsider/sessions",
    ),
    f"DELETE {A}/users/{{name}}/sessions": Row(cells=ADMIN, own=f"{A}/users/trainee/sessions"),
    f"DELETE {A}/users/{{name}}/identities": Row(cells=ADMIN, own=f"{A}/users/trainee/identities", ok=(422,)),
    f"GET {A}/keys": Row(cells=ADMIN),
    f"POST {A}/keys": Row(cells=ADMIN, ok=(422,), body={"name": "x", "scopes": ["nonsense"]}),
    f"GET {A}/keys/{{key_id}}": Row(cells=ADMIN, own=f"{A}/keys/x", ok=(404,)),
    f"DELETE {A}/keys/{{key_id}}": Row(cells=ADMIN, own=f"{A}/keys/x", ok=(404,)),
    f"GET {A}/audit": Row(cells=AUDIT),
    f"POST {A}/audit/verifications": Row(cells=AUDIT, ok=(202,), body={}),
    f"GET {A}/audit/verifications": Row(cells=AUDIT),
    f"GET {A}/audit/verifications/{{work_id}}": Row(cells=AUDIT, own=f"{A}/audit/verifications/x", ok=(404,)),
    f"GET {A}/audit/seals": Row(cells=AUDIT),
    f"POST {A}/audit/exports": Row(cells=AUDIT),
    f"POST {A}/backtests": Row(cells=RUNS, ok=(409,), body={}),
    f"GET {A}/backtests": Row(cells=LIST),
    f"GET {A}/backtests/{{work_id}}": Row(cells=NO_WORK, own=f"{A}/backtests/x"),
    f"GET {A}/audit/{{seq}}": Row(cells=AUDIT, own=f"{A}/audit/1"),
    f"GET {A}/contracts": Row(cells=LIST),
    f"GET {A}/contracts/{{contract_no:path}}": about(f"{A}/contracts/*", **CONTRACTS, cells=DETAIL),
    f"GET {A}/contracts/{{contract_no:path}}/refund-quote": about(
        f"{A}/contracts/*/refund-quote", **CONTRACTS, cells=DETAIL
    ),
    f"GET {A}/contracts/{{contract_no:path}}/refund-statement": about(
        f"{A}/contracts/*/refund-statement", **CONTRACTS, cells=DETAIL
    ),
    f"GET {A}/cases": Row(cells=LIST),
    f"GET {A}/cases/{{case_no:path}}": about(f"{A}/cases/*", **CASES, cells=DETAIL),
    f"GET {A}/cases/{{case_no:path}}/moves": about(f"{A}/cases/*/moves", **CASES, cells=DETAIL),
    f"POST {A}/cases/{{case_no:path}}/moves": about(
        f"{A}/cases/*/moves", **CASES, cells=DECIDE, ok=(201, 409), body={"move": "gather", "reason": NOTE}
    ),
    f"POST {A}/cases/{{case_no:path}}/answers": about(
        f"{A}/cases/*/answers", **CASES, cells=ANSWERS, ok=(409,), body={"move": "gather", "reason": NOTE}
    ),
    f"POST {A}/cases/{{case_no:path}}/said-payments": about(
        f"{A}/cases/*/said-payments", **CASES, cells=ANSWERS, ok=(201,),
        body={"amount": "1", "bank_ref": "x", "paid_on": "2026-11-19"},
    ),
    f"POST {A}/cases/{{case_no:path}}/notes": about(
        f"{A}/cases/*/notes", **CASES, cells=NOTES, ok=(201,), body={"text": NOTE}
    ),
    f"POST {A}/cases/{{case_no:path}}/evidence": about(
        f"{A}/cases/*/evidence?filename=a.pdf", **CASES, cells=NOTES, ok=(201,), body={}
    ),
    f"POST {A}/imports/{{kind}}": Row(cells=IMPORT, own=f"{A}/imports/nonsense?filename=a.csv", ok=(404,)),
    f"GET {A}/imports": Row(cells=LIST),
    f"GET {A}/imports/{{kind}}/{{work_id}}": Row(cells=NO_WORK, own=f"{A}/imports/charges/x"),
    f"GET {A}/import-templates/{{kind}}": Row(cells=LIST, own=f"{A}/import-templates/institutions"),
    f"GET {A}/statements": Row(cells=WHOLE),
    f"GET {A}/statements/{{sha256}}": Row(cells=WHOLE, own=f"{A}/statements/x", ok=(404,)),
    f"POST {A}/statements": Row(cells=IMPORT, own=f"{A}/statements?filename=a.txt", ok=(422,), body={}),
    f"GET {A}/coverage": Row(cells=LIST),
    f"GET {A}/accounts/{{account_no}}/coverage": about(
        f"{A}/accounts/*/coverage", own=no(OWN), other=no(OTHER), cells=DETAIL
    ),
    f"GET {A}/accounts/{{account_no}}/entries": about(
        f"{A}/accounts/*/entries", own=no(OWN), other=no(OTHER), cells=DETAIL
    ),
    f"GET {A}/matches": Row(cells=LIST),
    f"GET {A}/matches/open": Row(cells=LIST),
    f"POST {A}/matches": Row(
        cells=DECIDE, ok=(201, 409), body={"lines": ["entry:L-0"], "items": ["charge:J-0"], "reason": NOTE},
        body_other={"lines": ["entry:L-1"], "items": ["charge:J-1"], "reason": NOTE},
    ),
    f"POST {A}/matches/undo": Row(
        cells=DECIDE, ok=(200, 409), body={"item": "entry:L-0", "reason": NOTE},
        body_other={"item": "entry:L-1", "reason": NOTE},
    ),
    f"GET {A}/reconciliations": Row(cells=LIST),
    f"POST {A}/reconciliations": Row(
        cells=DECIDE, ok=(202,), body={"uscc": uscc(OWN)}, body_other={"uscc": uscc(OTHER)}
    ),
    f"GET {A}/reconciliations/{{request_id}}": about(f"{A}/reconciliations/*", own="R-0", other="R-1", cells=DETAIL),
}


class Court:
    """Two institutions in two districts, all that can be known of each, and everybody signed in."""

    def __init__(self, database: Database) -> None:
        self.world = world = World(database=database)
        self.registered(world)
        self.alerts = [self.alarmed(world, number) for number in (OWN, OTHER)]
        world.key("reader", "read")
        world.key("decider", "read", "decide")
        world.key("scraper", "metrics")
        self.tokens: dict[str, str] = {}
        with database.write() as session:
            for name, (role, districts, own) in PEOPLE.items():
                users.add(
                    session, name=name, display_name=name, role=role, districts=districts, uscc=own,
                    password_hash="none", now=world.now,
                )
                _, self.tokens[name] = sessions.begin(
                    session, user_name=name, address="192.0.2.1", agent="", now=world.now
                )
            for name, code in (("trainee", "5103"), ("outsider", "3710")):
                users.add(
                    session, name=name, display_name=name, role=UserRole.VIEWER, districts=[code], uscc=None,
                    password_hash="none", now=world.now,
                )
            for name, scopes, only, owner in (
                ("subscriber", ["feed"], filter_of({"uscc": uscc(OWN)}), None),
                ("owned", ["read", "decide"], filter_of({}), "viewer"),
            ):
                _, world.secrets[name] = keys.create(
                    session, name=name, scopes=scopes, expires_at=None, now=world.now, only=only, owner=owner
                )
        self.site = Site(world)

    @staticmethod
    def alarmed(world: World, number: int) -> str:
        labels = {
            "uscc": uscc(number), "account_no": no(number), "bank": bank(number), "district": DISTRICTS[number]
        }
        return raised(world, Signal(
            key=alert_key(number, "floor"), severity=Severity.RED, standing="breached", as_of=world.now, figures={},
            why=Why(zh="低于最低余额", en="below the floor"), labels=labels,
        ))

    @staticmethod
    def registered(world: World) -> None:
        now = world.now
        with world.database.write() as session:
            save_institutions(session, [
                Institution(uscc=uscc(n), name=NAMES[n], district=DISTRICTS[n]) for n in (OWN, OTHER)
            ], now=now)
            save_accounts(session, [
                Account(account_no=no(n), bank=bank(n), connector="berlin_group", currency="CNY", uscc=uscc(n))
                for n in (OWN, OTHER)
            ], now=now)
        world.standings((Standing.BREACHED, Level.RED), (Standing.BREACHED, Level.RED))
        with world.database.write() as session, contract_sums.kept_up(session, on=date(2026, 11, 20)):
            save_contracts(session, [
                Contract(
                    contract_no=f"HT-{n + 1}", uscc=uscc(n), student_ref="S-1", course="钢琴", lessons_paid=48,
                    fee=Money(4800_00, "CNY"), signed_on=date(2026, 8, 20), starts_on=date(2026, 9, 1),
                )
                for n in (OWN, OTHER)
            ], now=now)
            save_charges(session, [
                Charge(
                    charge_no=f"J-{n}", contract_no=f"HT-{n + 1}", paid_on=date(2026, 8, 20),
                    amount=Money(4800_00, "CNY"),
                )
                for n in (OWN, OTHER)
            ], now=now)
            assert not record_refund_claims(session, [
                (n, f"TF-{n + 1}", f"HT-{n + 1}", date(2026, 11, 10), None, None, "consumer", "", 100_00)
                for n in (OWN, OTHER)
            ], now=now).faults
            record_items(
                session, now=now, lines=[
                    BankLine(line_id=f"entry:L-{n}", uscc=uscc(n), account_no=no(n), on=date(2026, 8, 21),
                             amount_fen=4800_00)
                    for n in (OWN, OTHER)
                ], expected=[
                    Expected(expected_id=f"charge:J-{n}", kind=ExpectedKind.CHARGE, uscc=uscc(n),
                             on=date(2026, 8, 20), amount_fen=4800_00)
                    for n in (OWN, OTHER)
                ],
            )
            for n in (OWN, OTHER):
                ask(session, request_id=f"R-{n}", actor="test", uscc=uscc(n), day=None, whole=False, now=now)

    def ask(self, who: str, method: str, path: str, *, row: Row, other: bool = False) -> httpx.Response:
        for n, alert_id in enumerate(self.alerts):
            path = path.replace(f"{{alert{n}}}", alert_id)
        body = row.body_other if other and row.body_other is not None else row.body
        form = row.form_other if other and row.form_other is not None else row.form
        content = form if form is not None else None if body is None else json.dumps(body).encode()
        kind = "application/x-www-form-urlencoded" if form is not None else "application/json"
        headers = {"content_type": kind} if content is not None else {}
        if method != "GET":
            headers["origin"] = HOME
        key = who if who in self.world.secrets else None
        if who in self.tokens and path != "/sign-out":
            headers |= {"cookie": f"{COOKIE}={self.tokens[who]}", "x_csrf_token": token_of(self.tokens[who])}
        return self.site.send(method, path, key=key, content=content, **headers)


def raised(world: World, signal: Signal) -> str:
    with world.database.write() as session:
        [entry] = RecordsAlertBook(session).advance(signals=[signal], clears=(), now=world.now, cause="test")
    return entry.alert_id


@pytest.fixture(scope="module")
def court(sqlite_template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Court]:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("court") / "court.db"
    shutil.copy(sqlite_template, path)
    database = Database(f"sqlite:///{path}")
    yield Court(database)
    database.close()


def test_every_route_has_a_row_and_every_row_a_route(court: Court) -> None:
    found = {
        f"{method} {context.path}"
        for context in iter_route_contexts(court.site.app.routes)
        for method in (context.methods or ()) if method != "HEAD"
    }
    assert sorted(found - set(TABLE)) == []
    assert sorted(set(TABLE) - found) == []
    assert {len(row.cells.split()) for row in TABLE.values()} == {len(WHO)}


@pytest.mark.parametrize("route", TABLE)
def test_each_is_answered_as_the_table_says(court: Court, route: str) -> None:
    row = TABLE[route]
    method, _, template = route.partition(" ")
    wrong = []
    for who in WHO:
        own, other = row.expected(who)
        asked = [(row.own or template, own, False)]
        if row.other or row.body_other is not None or row.form_other is not None:
            asked.append((row.other or template, other, True))
        for path, expected, is_other in asked:
            answer = court.ask(who, method, path, row=row, other=is_other)
            right = row.ok if expected == "ok" else (int(expected),)
            if answer.status_code not in right:
                wrong.append(f"{who} {path}: {answer.status_code} and not {right}: {answer.text[:200]}")
            if who in LIMITED and expected == "ok":
                wrong.extend(f"{who} {path} shows {what}" for what in told_of_another(answer.text))
    assert wrong == []


def told_of_another(text: str) -> list[str]:
    """What of the other institution stands in an answer."""
    return [what for what in (uscc(OTHER), no(OTHER), NAMES[OTHER], "HT-2", "TF-2") if what in text]


def test_what_is_another_s_looks_like_what_does_not_exist(court: Court) -> None:
    """A refusal that told the two apart would tell that it exists."""
    missing = {
        uscc(OTHER): uscc(9), no(OTHER): no(9), "{alert1}": "A" * 12, "HT-2": "HT-9", "TF-2": "TF-9", "R-1": "R-9",
        "outsider": "nobody-9",
    }
    compared = 0
    for route, row in TABLE.items():
        method, _, _ = route.partition(" ")
        if not row.other or "404" not in row.cells:
            continue
        there = next(name for name in missing if name in row.other)
        who = next((one for one in ("staff", *LIMITED) if row.expected(one)[1] == "404"), None)
        if who is None:
            continue
        hidden = court.ask(who, method, row.other, row=row)
        absent = court.ask(who, method, row.other.replace(there, missing[there]), row=row)
        assert (hidden.status_code, absent.status_code) == (404, 404), route
        named = there if there != "{alert1}" else court.alerts[OTHER]
        assert hidden.text.replace(named, "*") == absent.text.replace(missing[there], "*"), route
        compared += 1
    assert compared >= 12


def test_the_figures_of_today_are_of_what_is_seen(court: Court) -> None:
    everything = court.ask("everywhere", "GET", "/?lang=en", row=TABLE["GET /"]).text
    mine = court.ask("viewer", "GET", "/?lang=en", row=TABLE["GET /"]).text
    assert "2 supervised accounts" in everything
    assert NAMES[OTHER] in everything
    assert "1 supervised accounts" in mine
    assert NAMES[OWN] in mine


@pytest.mark.parametrize("who", ["viewer", "institution"])
def test_a_limited_reader_of_the_feed_sees_their_part_and_how_much_was_left_out(court: Court, who: str) -> None:
    whole = court.ask("everywhere", "GET", "/feeds/alerts.json?after=0", row=TABLE["GET /feeds/alerts.json"]).json()
    mine = court.ask(who, "GET", "/feeds/alerts.json?after=0", row=TABLE["GET /feeds/alerts.json"]).json()
    wanted = [item for item in whole["items"] if item["_escrow"]["uscc"] == uscc(OWN)]
    assert mine["items"] == wanted
    assert mine["_escrow_page"]["skipped"] == len(whole["items"]) - len(wanted) > 0
    assert mine["_escrow_page"]["through"] == whole["_escrow_page"]["through"]
    path = "/feeds/alerts.json?district=3710" if who == "viewer" else f"/feeds/alerts.json?uscc={uscc(OTHER)}"
    refused = court.ask(who, "GET", path, row=TABLE["GET /feeds/alerts.json"])
    assert refused.status_code == 403


def test_lists_are_paged_over_what_is_seen_only(court: Court) -> None:
    for path in ("accounts", "institutions", "alerts", "cases", "reconciliations"):
        row = TABLE[f"GET {A}/{path}"]
        page = court.ask("viewer", "GET", f"{A}/{path}?limit=1", row=row).json()
        assert len(page["items"]) <= 1
        assert page["after"] is None, path
        whole = court.ask("everywhere", "GET", f"{A}/{path}?limit=1", row=row).json()
        assert (whole["after"] is None) == (path == "reconciliations"), path


def test_who_is_limited_reconciles_one_institution_and_not_all(court: Court) -> None:
    row = Row(cells=DECIDE, body={})
    assert court.ask("regulator", "POST", f"{A}/reconciliations", row=row).status_code == 403
    assert court.ask("everywhere", "POST", f"{A}/reconciliations", row=row).status_code == 202


@pytest.mark.parametrize(("path", "body"), [
    (f"{A}/alerts/{{alert0}}/accept", {"confirm": True}),
    (f"{A}/cases/TF-1/moves", {"move": "confirm", "reason": NOTE}),
    (f"{A}/cases/TF-1/moves", {"move": "reject", "reason": NOTE}),
])
def test_staff_propose_and_a_regulator_is_the_second_pair_of_eyes(court: Court, path: str, body: object) -> None:
    row = Row(cells=DECIDE, body=body)
    assert court.ask("staff", "POST", path, row=row).status_code == 403
    assert court.ask("regulator", "POST", path, row=row).status_code in (200, 409)


def test_two_keys_of_one_person_and_their_own_sign_in_are_one_pair_of_eyes(court: Court) -> None:
    world, alert_id = court.world, court.alerts[OWN]
    with world.database.write() as session:
        for name in ("desk", "phone"):
            _, world.secrets[name] = keys.create(
                session, name=name, scopes=["read", "decide"], expires_at=None, now=world.now, owner="regulator"
            )
        _, world.secrets["another"] = keys.create(
            session, name="another", scopes=["read", "decide"], expires_at=None, now=world.now, owner="admin"
        )
    path = f"{A}/alerts/{alert_id}/accept"
    proposed = court.ask("desk", "POST", path, row=Row(cells=DECIDE, body={"note": NOTE}))
    assert proposed.status_code == 200
    assert proposed.json()["decisions"][-1]["by"] == "key:regulator"
    confirm = Row(cells=DECIDE, body={"confirm": True})
    for who in ("desk", "phone", "regulator"):
        refused = court.ask(who, "POST", path, row=confirm)
        assert (refused.status_code, refused.json()["errors"][0]["reason"]) == (409, "same_person"), who
    assert court.ask("another", "POST", path, row=confirm).status_code == 200
    back = Row(cells=DECIDE, body={"note": NOTE, "decision": "acceptance"})
    assert court.ask("admin", "POST", f"{A}/alerts/{alert_id}/take-back", row=back).status_code == 200


def test_a_key_of_a_person_does_no_more_than_they_may_and_ends_with_their_account(court: Court) -> None:
    world = court.world
    with world.database.write() as session:
        users.add(
            session, name="guest", display_name="guest", role=UserRole.VIEWER, districts=["3710"], uscc=None,
            password_hash="none", now=world.now,
        )
        _, world.secrets["guest-key"] = keys.create(
            session, name="guest-key", scopes=["admin"], expires_at=None, now=world.now, owner="guest"
        )
    row = Row(cells=LIST)
    listed = court.ask("guest-key", "GET", f"{A}/institutions", row=row).json()
    assert [item["uscc"] for item in listed["items"]] == [uscc(OTHER)]
    assert court.ask("guest-key", "GET", "/metrics", row=row).status_code == 403
    with world.database.write() as session:
        users.set_disabled(session, "guest", world.now, now=world.now)
    assert court.ask("guest-key", "GET", f"{A}/institutions", row=row).status_code == 401


def test_a_new_role_or_district_holds_from_the_next_request_on(court: Court) -> None:
    world, row = court.world, TABLE[f"GET {A}/institutions/{{uscc}}"]
    with world.database.write() as session:
        users.add(
            session, name="mover", display_name="mover", role=UserRole.VIEWER, districts=["5103"], uscc=None,
            password_hash="none", now=world.now,
        )
        _, court.tokens["mover"] = sessions.begin(
            session, user_name="mover", address="192.0.2.1", agent="", now=world.now
        )
    assert court.ask("mover", "GET", row.other, row=row).status_code == 404
    with world.database.write() as session:
        users.set_districts(session, "mover", ["3710"], now=world.now)
    assert court.ask("mover", "GET", row.other, row=row).status_code == 200
    assert court.ask("mover", "GET", row.own, row=row).status_code == 404
    with world.database.write() as session:
        users.set_role(session, "mover", UserRole.INSTITUTION, uscc=uscc(OWN), now=world.now)
        users.set_districts(session, "mover", None, now=world.now)
    assert court.ask("mover", "GET", row.own, row=row).status_code == 200
    assert court.ask("mover", "GET", row.other, row=row).status_code == 404


def test_the_alert_of_no_institution_is_for_who_sees_everything(court: Court) -> None:
    alert_id = raised(court.world, Signal(
        key=alert_key(7, "bank_silent"), severity=Severity.RED, standing="unknown", why=Why(zh="无应答", en="silent"),
        as_of=court.world.now, figures={}, labels={"bank": "自贡银行"},
    ))
    row = TABLE[f"GET {A}/alerts/{{alert_id}}"]
    assert court.ask("everywhere", "GET", f"{A}/alerts/{alert_id}", row=row).status_code == 200
    for who in ("viewer", "institution", "owned"):
        assert court.ask(who, "GET", f"{A}/alerts/{alert_id}", row=row).status_code == 404
