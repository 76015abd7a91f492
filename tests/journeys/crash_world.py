"""A small scripted world: five accounts, a loopback bank, statement files and a receiver of webhooks.

    day        16 Mon    17 Tue    18 Wed    19 Thu         the story of one working week, seen the morning after
    PULLED     150 000    90 000    70 000   200 000        orange, red, resolved
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from escrow_monitor.domain.accounts import Account
from escrow_monitor.domain.institutions import Institution, uscc_check_character
from escrow_monitor.records.accounts import save_accounts, save_institutions
from escrow_monitor.records.database import Database

BANK, FOLDER = "lotus", "reed"
MONDAY = date(2026, 11, 16)
REGISTERED_AT = datetime(2026, 11, 13, 1, tzinfo=UTC)
USCC = "91420100MA4K00001"
SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0NTY="

FINE = 150_000
PULLED = {
    "420100000000000001": (150_000, 90_000, 70_000, 200_000),
    "420100000000000002": (105_000, 70_000, 105_000, 95_000),
    # Not told on Tuesday and Wednesday: the bank answers 404.
    "420100000000000003": (150_000, None, None, 99_000),
}
FILED = {
    "420100000000000008": (99_000, 150_000, 60_000, 125_000),
    # The statement of Tuesday comes only on Friday, after the first check of that morning.
    "420100000000000009": (150_000, None, 150_000, 150_000),
}
LATE = {("420100000000000009", 1): 150_000}

POLICY = """
id = "test-420100"
title = "测试设置"
title_en = "a setting for tests"
jurisdiction = "420100"
currency = "CNY"
[[clause]]
id = "test-420100/fixed"
kind = "fixed"
title = "固定最低余额"
title_en = "a fixed minimum"
amount = "100000.00"
effective_from = 2019-01-01
verified = false
[clause.source]
title = "测试"
found = "NF"
"""


def populate(database: Database) -> None:
    """Register the institution and its accounts, as of the Friday before."""
    uscc = USCC + uscc_check_character(USCC)
    with database.write() as session:
        school = Institution(uscc=uscc, name="武汉市青莲教育培训学校", district="420100")
        save_institutions(session, [school], now=REGISTERED_AT)
        save_accounts(
            session,
            [
                Account(account_no=number, bank=bank, connector=connector, currency="CNY", uscc=uscc)
                for numbers, bank, connector in ((PULLED, BANK, "berlin_group"), (FILED, FOLDER, "statement_folder"))
                for number in numbers
            ],
            now=REGISTERED_AT,
        )


def write_policy(folder: Path) -> None:
    """The local pack that names the floor of 100 000.00."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "local.toml").write_text(POLICY, encoding="utf-8")


def configuration(
    *, house: House, run: str, database_url: str, policies: Path, executor_id: str = "one", extra: str = ""
) -> str:
    """What an operator of this world writes. `run` keeps what banks and receivers see of several runs apart."""
    return f"""
[database]
url = "{database_url}"
[engine]
executor_id = "{executor_id}"
[policies]
folders = ["{policies}"]
[web]
home_url = "http://127.0.0.1:1"
port = 0
[folders.{FOLDER}]
path = "statements"
bank = "{FOLDER}"
settle_seconds = 0
[banks.{BANK}]
base_url = "{house.url}/bank"
token = "{run}"
consent_id = "consent"
timeout_seconds = 10
retries = 0
[channels.hook]
type = "webhook"
url = "{house.url}/hook/{run}"
secrets = ["{SECRET}"]
allow_private = true
[logs]
format = "json"
level = "warning"
{extra}
"""


def deliver_files(folder: Path, step: int) -> None:
    """Put the statement files of the morning after day `step` into the folder. What is there stays."""
    for number, closings in FILED.items():
        if (closing := closings[step]) is not None:
            opening = _known_before(closings, number, step)
            _file(folder, number, MONDAY + timedelta(days=step), opening=opening, closing=closing)


def deliver_late_files(folder: Path) -> None:
    """Put the statements that the bank had forgotten into the folder."""
    for (number, step), closing in LATE.items():
        opening = _known_before(FILED[number], number, step)
        _file(folder, number, MONDAY + timedelta(days=step), opening=opening, closing=closing)


def _known_before(closings: tuple[int | None, ...], number: str, step: int) -> int:
    if step == 0:
        return FINE
    before = closings[step - 1]
    return LATE[number, step - 1] if before is None else before


def _file(folder: Path, number: str, day: date, *, opening: int, closing: int) -> None:
    path = folder / f"{number}-{day:%Y%m%d}.sta"
    if path.exists():
        return
    moved = closing - opening
    lines = [
        f":20:{day:%y%m%d}{number[-6:]}",
        f":25:{number}",
        f":28C:{day.toordinal() % 10_000:05d}/001",
        f":60F:C{day - timedelta(days=1):%y%m%d}CNY{opening},00",
        *([f":61:{day:%y%m%d}{day:%m%d}{'C' if moved > 0 else 'D'}{abs(moved)},00NTRFNONREF"] if moved else []),
        f":62F:C{day:%y%m%d}CNY{closing},00",
        "-",
    ]
    part = path.with_name(f".{path.name}.part")
    part.write_text("\r\n".join(lines) + "\r\n", encoding="ascii")
    part.replace(path)


@dataclass(frozen=True, slots=True)
class Received:
    """One message as it reached the receiver."""

    message_id: str
    body: bytes
    headers: Mapping[str, str]

    @property
    def seq(self) -> int:
        return int(json.loads(self.body)["data"]["_escrow"]["seq"])


@dataclass(kw_only=True)
class House:
    """The bank and the receiver, at one loopback address; `received` and `today` are kept for each run."""

    url: str = ""
    folders: dict[str, Path] = field(default_factory=dict)
    live: dict[str, Mapping[str, int]] = field(default_factory=dict)
    received: dict[str, list[Received]] = field(default_factory=dict)

    def bank(self, run: str, path: str, query: Mapping[str, list[str]]) -> tuple[int, object]:
        """Answer as the bank does: from the story up to the day in the run's folder, or from `live` balances."""
        number, _, what = path.removeprefix("/v1/accounts/").partition("/")
        if (live := self.live.get(run)) is not None:
            if what == "balances":
                return 200, _balances(number, live[number], "interimBooked", None)
            return 200, {"transactions": {"booked": []}}
        today = date.fromisoformat((self.folders[run] / "today").read_text())
        step = (today - MONDAY).days - 1
        amount = PULLED[number][step]
        if amount is None:
            return 404, {}
        if what == "balances":
            return 200, _balances(number, amount, "closingBooked", MONDAY + timedelta(days=step))
        return 200, _transactions(number, step, date.fromisoformat(query["dateFrom"][0]))


def _amount(amount: int) -> Mapping[str, str]:
    return {"amount": f"{amount}.00", "currency": "CNY"}


def _balances(number: str, amount: int, kind: str, on: date | None) -> object:
    stated = {"balanceType": kind, "balanceAmount": _amount(amount)}
    return {
        "account": {"bban": number, "currency": "CNY"},
        "balances": [stated if on is None else {**stated, "referenceDate": on.isoformat()}],
    }


def _transactions(number: str, step: int, since: date) -> object:
    """The statement of the last day alone, where it continues; of all days since the first asked for otherwise."""
    first = max((since - MONDAY).days, 0)
    days = [PULLED[number][at] for at in range(first, step + 1)]
    opening = FINE if first == 0 else PULLED[number][first - 1]
    booked, before = [], opening
    for at, closing in enumerate(days, first):
        if closing is not None and before is not None and closing != before:
            booked.append({
                "transactionId": f"{number[-2:]}-{at}", "bookingDate": (MONDAY + timedelta(days=at)).isoformat(),
                "transactionAmount": _amount(closing - before), "remittanceInformationUnstructured": "学费",
            })
        before = before if closing is None else closing
    ends = {"openingBooked": (opening, first - 1), "closingBooked": (PULLED[number][step], step)}
    return {
        "account": {"bban": number, "currency": "CNY"},
        "transactions": {"booked": booked},
        "balances": [
            {"balanceType": kind, "balanceAmount": _amount(amount),
             "referenceDate": (MONDAY + timedelta(days=at)).isoformat()}
            for kind, (amount, at) in ends.items() if amount is not None
        ],
    }


@contextmanager
def open_house() -> Iterator[House]:
    """The bank and the receiver, while the block lasts."""
    house = House()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            # The run is told by its token: a path would stand in what the records keep of a refusal.
            run = self.headers["authorization"].removeprefix("Bearer ")
            status, answer = house.bank(run, parts.path.removeprefix("/bank"), parse_qs(parts.query))
            self._say(status, json.dumps(answer).encode())

        def do_POST(self) -> None:
            body = self.rfile.read(length := int(self.headers["content-length"]))
            if len(body) < length:
                self.close_connection = True
                return  # The sender was killed in the middle of it.
            run = self.path.rsplit("/", 1)[1]
            headers = {name.lower(): value for name, value in self.headers.items()}
            house.received.setdefault(run, []).append(Received(headers["webhook-id"], body, headers))
            self._say(204, b"")

        def _say(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            if status != 204:
                self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: object, client_address: object) -> None:
            return  # A client that was killed.

    server = Server(("127.0.0.1", 0), Handler)
    house.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield house
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
