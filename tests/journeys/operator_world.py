"""A folder as an operator has it: a configuration with secrets, and banks over TLS beside it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from zoneinfo import ZoneInfo

sys.path.insert(0, str(Path(__file__).parents[1] / "banks"))

from bank_server import Reply, Request

ACCOUNT = "6222021200019876543"
TOKEN = "tok-geheim-3f9a77e1c0ffee"
CONSENT = "consent-geheim-778899"
HOLDER = "南山晨光艺术培训有限公司"
SECRETS = (ACCOUNT, TOKEN, CONSENT, HOLDER, "王小明", "DE40100100103307118608")


def today() -> datetime:
    return datetime.now(ZoneInfo("Asia/Shanghai"))


def good(request: Request) -> Reply:
    """A Berlin Group bank that answers, of more people than anybody may see."""
    headers = {"Date": format_datetime(datetime.now(UTC), usegmt=True)}
    if "/balances" in request.path:
        yesterday = (today() - timedelta(days=1)).date()
        return Reply(headers=headers, body={
            "account": {"iban": ACCOUNT, "name": HOLDER},
            "balances": [
                {"balanceType": "closingBooked", "balanceAmount": {"amount": "5000.00", "currency": "CNY"},
                 "referenceDate": yesterday.isoformat()},
            ],
        })
    if "/transactions" in request.path:
        yesterday = (today() - timedelta(days=1)).date()
        return Reply(headers=headers, body={
            "account": {"iban": ACCOUNT},
            "transactions": {"booked": [
                {"transactionId": "1234567890123456", "bookingDate": yesterday.isoformat(), "creditorName": "王小明",
                 "creditorAccount": {"iban": "DE40100100103307118608"},
                 "transactionAmount": {"amount": "-12.00", "currency": "CNY"},
                 "remittanceInformationUnstructured": "退费 王小明"},
            ]},
        })
    return Reply(status=404, headers=headers)


def refusing(request: Request) -> Reply:
    """A bank that does not take the token, and echoes it."""
    said = {"tppMessages": [{"category": "ERROR", "code": "TOKEN_INVALID",
                             "text": f"the token {TOKEN} of {ACCOUNT} is not valid"}]}
    return Reply(status=401, body=said)


def configure(
    folder: Path, banks: Mapping[str, str], *, database: str = "sqlite:///escrow.db", more: str = "",
    bank_more: str = "",
) -> Path:
    """Write the configuration; tokens stand in files of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, secret in (("token", TOKEN), ("consent", CONSENT)):
        (folder / name).write_text(secret + "\n")
        (folder / name).chmod(0o600)
    sections = [
        f'[banks.{name}]\nconnector = "berlin_group"\nbase_url = "{url}"\ntoken_file = "token"\n'
        f'consent_id_file = "consent"\ntimeout_seconds = 3\nretries = 0\n{bank_more}'
        for name, url in banks.items()
    ]
    file = folder / "escrow-monitor.toml"
    text = f"[database]\nurl = {json.dumps(database)}\n\n[policies]\nexamples = true\n\n" + "\n".join(sections) + more
    file.write_text(text, encoding="utf-8")
    return file
