"""From a bank's answer to the regulator's feed: files and balances in, alerts out by every way they are read.

    Fri 7 Mar 09:00   both accounts hold enough                          nothing is said
    Mon 10    09:00   pine 70 % of the floor by file, linden 90 % by HTTP  floor red, floor orange opened
    Tue 11    12:30   pine topped up by file; linden hangs up             pine's resolved; linden: freshness opened
    Wed 12    12:30   linden answers again, topped up                      linden's two resolved
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import feedparser
import httpx
import pytest
from journey_command import Said, arguments, environment, here, run
from standardwebhooks.webhooks import Webhook

from alerts.channels.webhook import CONTENT_TYPE
from escrow_monitor.actions.api_keys import create_key
from escrow_monitor.actions.import_files import import_file
from escrow_monitor.domain.institutions import uscc_check_character
from escrow_monitor.settings import load_settings
from escrow_monitor.web.ports import ANSWER_AGE_SECONDS_MAX
from escrow_monitor.wiring import App, assemble

SHANGHAI = ZoneInfo("Asia/Shanghai")
PINE, LINDEN = "44030200000000171", "44030200000000288"  # account numbers
TOKEN, CONSENT = "linden-token-0001", "linden-consent-0001"
SECRET = "whsec_" + "a2V5LW9mLXRoZS1qb3VybmV5LXRlc3QtMzItYnl0ZXM="
STEM = "9144030007654321X"
USCC = STEM + uscc_check_character(STEM)
PATIENCE_SECONDS = 30

PACK = """\
id = "local-440305"
title = "南山区本地设置"
title_en = "Nanshan, local setting"
jurisdiction = "440305"
currency = "CNY"

[[clause]]
id = "local-440305/fixed"
kind = "fixed"
title = "固定最低余额"
title_en = "a fixed minimum"
amount = "100000.00"
effective_from = 2024-01-01
verified = false
[clause.source]
title = "旅程测试"
found = "NF"
"""

# As banks send them: SWIFT envelope and CRLF in MT940, a full camt.053 with names and references.
MT940 = """\
{{1:F01PINECNSZAXXX0000000000}}{{2:O9400600{sent:%y%m%d}PINECNSZAXXX0000000000{sent:%y%m%d}0600N}}{{4:
:20:{on:%y%m%d}PINE01
:25:PINECNSZ/{account}
:28C:{number:05d}/001
:60F:C{before:%y%m%d}CNY{opening}
{lines}:62F:C{on:%y%m%d}CNY{closing}
:64:C{on:%y%m%d}CNY{closing}
-}}
"""
MT940_LINE = """\
:61:{on:%y%m%d}{on:%m%d}{sign}{amount}NTRFNONREF//P{on:%y%m%d}00{place}
:86:166?00转账?20EREF+{place}?21{text}?30PINECNSZ?316222009999?32某公司
"""
CAMT053 = """\
<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08">
 <BkToCstmrStmt>
  <GrpHdr><MsgId>PINE-{on:%Y%m%d}</MsgId><CreDtTm>{sent:%Y-%m-%d}T06:00:00+08:00</CreDtTm></GrpHdr>
  <Stmt>
   <Id>PINE-{on:%Y%m%d}-1</Id>
   <Acct><Id><Othr><Id>{account}</Id></Othr></Id><Ccy>CNY</Ccy></Acct>
   <Bal><Tp><CdOrPrtry><Cd>OPBD</Cd></CdOrPrtry></Tp><Amt Ccy="CNY">{opening}</Amt><CdtDbtInd>CRDT</CdtDbtInd>
    <Dt><Dt>{on}</Dt></Dt></Bal>
   <Bal><Tp><CdOrPrtry><Cd>CLBD</Cd></CdOrPrtry></Tp><Amt Ccy="CNY">{closing}</Amt><CdtDbtInd>CRDT</CdtDbtInd>
    <Dt><Dt>{on}</Dt></Dt></Bal>
   <Ntry><Amt Ccy="CNY">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>
    <BookgDt><Dt>{on}</Dt></BookgDt><ValDt><Dt>{on}</Dt></ValDt><AcctSvcrRef>TOPUP1</AcctSvcrRef>
    <NtryDtls><TxDtls><RltdPties><Dbtr><Pty><Nm>南山晨光艺术培训有限公司</Nm></Pty></Dbtr></RltdPties>
     <RmtInf><Ustrd>补足最低余额</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>
  </Stmt>
 </BkToCstmrStmt>
</Document>
"""


def shanghai(day: int, hour: int, minute: int = 0) -> datetime:
    """An instant of March 2025."""
    return datetime(2025, 3, day, hour, minute, tzinfo=SHANGHAI)


@dataclass
class HandClock:
    """A clock that stands where the test puts it."""

    at: datetime

    def now(self) -> datetime:
        return self.at.astimezone(UTC)


def mt940(on: date, *, before: date, opening: str, closing: str, entries: Sequence[tuple[str, str, str]] = ()) -> bytes:
    """One day of the pine account; entries are (C or D, amount, text)."""
    lines = "".join(
        MT940_LINE.format(on=on, sign=sign, amount=amount, place=place, text=text)
        for place, (sign, amount, text) in enumerate(entries, 1)
    )
    message = MT940.format(
        account=PINE, on=on, before=before, sent=on + timedelta(days=1), number=on.timetuple().tm_yday,
        opening=opening, closing=closing, lines=lines,
    )
    return message.replace("\n", "\r\n").encode()


def camt053(on: date, *, opening: str, closing: str, amount: str) -> bytes:
    """One day of the pine account with one credit."""
    return CAMT053.format(
        account=PINE, on=on, sent=on + timedelta(days=1), opening=opening, closing=closing, amount=amount
    ).encode()


class Quiet(BaseHTTPRequestHandler):
    """A handler that answers and does not chat."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def answer(self, status: int, content: bytes = b"", content_type: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A real HTTP server on a free loopback port, as its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@dataclass
class Linden:
    """A bank with one account that speaks XS2A 1.3, until it falls silent."""

    clock: HandClock
    opening: Decimal
    entries: list[tuple[date, Decimal, str]]
    silent: bool = False
    asked: list[str] = field(default_factory=list)

    def balance(self, on: date) -> Decimal:
        return self.opening + sum((amount for day, amount, _ in self.entries if day <= on), Decimal(0))

    def document(self, path: str, query: dict[str, list[str]]) -> dict[str, object] | None:
        yesterday = self.clock.at.date() - timedelta(days=1)
        if path == f"/v1/accounts/{LINDEN}/balances":
            return {
                "account": {"bban": LINDEN, "currency": "CNY"},
                "balances": [
                    balance("closingBooked", self.balance(yesterday), yesterday),
                    balance("interimBooked", self.balance(self.clock.at.date()), self.clock.at.date()),
                    balance("expected", Decimal(10) ** 9, self.clock.at.date()),
                ],
            }
        if path == f"/v1/accounts/{LINDEN}/transactions":
            since, until = date.fromisoformat(query["dateFrom"][0]), date.fromisoformat(query["dateTo"][0])
            return {
                "account": {"bban": LINDEN, "currency": "CNY"},
                "transactions": {
                    "booked": [
                        {
                            "transactionId": f"L{place}", "bookingDate": f"{day}", "valueDate": f"{day}",
                            "transactionAmount": {"currency": "CNY", "amount": f"{amount:.2f}"},
                            "remittanceInformationUnstructured": text,
                        }
                        for place, (day, amount, text) in enumerate(self.entries)
                        if since <= day <= until
                    ],
                    "_links": {"account": {"href": f"/v1/accounts/{LINDEN}"}},
                },
                "balances": [
                    balance("openingBooked", self.balance(since - timedelta(days=1)), since),
                    balance("closingBooked", self.balance(until), until),
                ],
            }
        return None

    def handler(bank) -> type[BaseHTTPRequestHandler]:
        class Handler(Quiet):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                bank.asked.append(url.path)
                if bank.silent:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                if self.headers["Authorization"] != f"Bearer {TOKEN}" or self.headers["Consent-ID"] != CONSENT:
                    self.answer(401, b"{}")
                    return
                if not self.headers["X-Request-ID"]:
                    self.answer(400, b"{}")
                    return
                found = bank.document(url.path, parse_qs(url.query))
                self.answer(404 if found is None else 200, json.dumps(found, ensure_ascii=False).encode())

        return Handler


def balance(kind: str, amount: Decimal, on: date) -> dict[str, object]:
    """One balance of an XS2A answer."""
    return {
        "balanceType": kind, "referenceDate": f"{on}", "balanceAmount": {"currency": "CNY", "amount": f"{amount:.2f}"}
    }


@dataclass
class Receiver:
    """The supervisor's own system: takes webhooks as they come; `busy` answers 503."""

    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    busy: bool = False

    def handler(receiver) -> type[BaseHTTPRequestHandler]:
        class Handler(Quiet):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.answer(503 if receiver.busy else 204)

        return Handler

    def verified(self) -> list[dict[str, Any]]:
        """Every message, each checked by the standard's own library."""
        webhook = Webhook(SECRET)
        events = []
        for headers, body in self.received:
            assert headers["content-type"] == CONTENT_TYPE
            event = webhook.verify(body, headers)
            assert (event["specversion"], event["id"]) == ("1.0", headers["webhook-id"])
            events.append(event)
        return events


class Listener(threading.Thread):
    """A reader of the event stream who comes with the last number it had."""

    def __init__(self, url: str, key: str, *, last: int) -> None:
        super().__init__(daemon=True)
        self.url, self.key, self.last = url, key, last
        self.events: list[tuple[int, dict[str, Any]]] = []
        self.start()

    def run(self) -> None:
        headers = {"Authorization": f"Bearer {self.key}", "Last-Event-ID": str(self.last)}
        seq, kind = 0, ""
        try:
            with (
                httpx.Client(trust_env=False, timeout=60) as client,
                client.stream("GET", f"{self.url}/feeds/alerts/events", headers=headers) as answer,
            ):
                for line in answer.iter_lines():
                    name, _, value = line.partition(": ")
                    if name == "id":
                        seq = int(value)
                    elif name == "event":
                        kind = value
                    elif name == "data":
                        assert kind == "alert"
                        self.events.append((seq, json.loads(value)))
        except httpx.HTTPError:
            pass  # the server was stopped under us

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        """The first `count` items, their numbers dense."""
        until = time.monotonic() + PATIENCE_SECONDS
        while len(self.events) < count and time.monotonic() < until:
            time.sleep(0.02)
        assert [seq for seq, _ in self.events] == list(range(self.last + 1, self.last + 1 + count))
        return [item for _, item in self.events]


@dataclass
class House:
    """One installation: its folder with the configuration, its clock, its neighbours, and the web over it."""

    folder: Path
    clock: HandClock
    app: App
    linden: Linden
    receiver: Receiver
    url: str = ""
    keys: dict[str, str] = field(default_factory=dict)

    def deliver_file(self, name: str, content: bytes) -> None:
        (self.folder / "inbox" / name).write_bytes(content)

    def rounds(self, at: datetime) -> dict[str, dict[str, int]]:
        """All rounds at one instant, as the clock would start them; their counts by name."""
        self.clock.at = at
        counts: dict[str, dict[str, int]] = {}
        for name in ("load-statements", "pull-balances", "check-balances", "deliver-alerts"):
            for shard in self.app.shards(name):
                counts[name] = dict(self.app.perform(name, shard, self.clock.now()).counts)
        time.sleep(2 * ANSWER_AGE_SECONDS_MAX)  # for so long the web may answer from what it knew
        return counts

    def get(self, path: str, *, key: str | None = "reader") -> httpx.Response:
        headers = {} if key is None else {"Authorization": f"Bearer {self.keys[key]}"}
        return httpx.get(f"{self.url}{path}", headers=headers, trust_env=False, timeout=30)

    def items(self, *, after: int = 0) -> list[dict[str, Any]]:
        """The JSON Feed, replayed in order."""
        answer = self.get(f"/feeds/alerts.json?after={after}&limit=100")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("application/feed+json")
        document = answer.json()
        assert document["version"] == "https://jsonfeed.org/version/1.1"
        items: list[dict[str, Any]] = document["items"]
        return items

    def atom(self) -> Any:
        """The Atom feed as feedparser reads it, newest first."""
        feed = feedparser.parse(
            f"{self.url}/feeds/alerts.atom", request_headers={"Authorization": f"Bearer {self.keys['reader']}"}
        )
        assert (feed.status, feed.bozo) == (200, 0), feed.get("bozo_exception")
        return feed

    def metrics(self) -> dict[str, float]:
        """Every sample by its full name."""
        answer = self.get("/metrics", key="scraper")
        assert answer.status_code == 200
        lines = [line for line in answer.text.splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def command(self, *words: object) -> Said:
        """What a person is told at the command line."""
        return here("--lang", "en", *words, at=self.folder)

    def feed(self) -> Any:
        """The whole feed, as a person sees it at the command line."""
        return self.command("feed", "--json").must(0).json_lines()

    def pine(self) -> dict[str, Any]:
        """How the account whose bank sends files stands."""
        found = self.command("accounts", "list", "--bank", "pine", "--json").json()
        return {name: value for name, value in found[0].items() if name != "checked_at"}

    def open_alerts(self) -> set[tuple[str, str, str]]:
        """(account, rule, severity) of what is open, as a person sees it at the command line."""
        said = self.command("alerts", "list", "--json")
        found = {(a["labels"]["account_no"], a["rule"], a["severity"]) for a in said.json()}
        said.must(1 if found else 0)
        return found


CONFIGURATION = """\
[database]
url = "{database}"

[policies]
folders = ["packs"]

[web]
port = {port}

[folders.pine]
path = "inbox"
bank = "pine"
settle_seconds = 0

[banks.linden]
base_url = "{bank}"
token_file = "token"
consent_id = "{consent}"
timeout_seconds = 3
retries = 0

[channels.supervisor]
type = "webhook"
url = "{receiver}/alerts"
secrets_files = ["secret"]
allow_private = true
"""
INSTITUTIONS = f"统一社会信用代码,机构名称,类别,行政区划代码\n{USCC},南山晨光艺术培训学校,subject,440305\n"
ACCOUNTS = f"""\
account_no,uscc,bank,connector,opened_on
{PINE},{USCC},pine,statement_folder,2024-09-02
{LINDEN},{USCC},linden,berlin_group,2024-09-02
"""


@pytest.fixture
def house(database_url: str, tmp_path: Path) -> Iterator[House]:
    """Installed as an operator would: configuration, a local pack, the register imported, two keys."""
    folder = tmp_path / "house"
    for name in ("inbox", "packs"):
        (folder / name).mkdir(parents=True)
    (folder / "packs" / "nanshan.toml").write_text(PACK, encoding="utf-8")
    (folder / "token").write_text(TOKEN + "\n")
    (folder / "secret").write_text(SECRET + "\n")
    clock = HandClock(shanghai(7, 8))
    linden = Linden(clock, opening=Decimal(100_000), entries=[(date(2025, 2, 10), Decimal(50_000), "学费")])
    receiver = Receiver()
    with listening(linden.handler()) as bank, listening(receiver.handler()) as receives:
        config = folder / "escrow-monitor.toml"
        config.write_text(
            CONFIGURATION.format(database=database_url, port=free_port(), bank=bank, consent=CONSENT, receiver=receives)
        )
        app = assemble(load_settings(config, {}), clock=clock)
        try:
            for kind, text in (("institutions", INSTITUTIONS), ("accounts", ACCOUNTS)):
                done = import_file(
                    app.database, kind=kind, stream=BytesIO(text.encode("gb18030")), filename=f"{kind}.csv",
                    actor="test", now=clock.now(),
                )
                assert not done.bad_rows
            house = House(folder, clock, app, linden, receiver)
            for name, scope in (("reader", "read"), ("scraper", "metrics")):
                _, house.keys[name] = create_key(
                    app.database, name=name, scopes=[scope], expires_after=timedelta(days=1), actor="test",
                    now=app.real_now(),
                )
            yield house
        finally:
            app.close()


@pytest.fixture
def served(house: House) -> Iterator[House]:
    """The same with `escrow-monitor serve` in a process of its own, which SIGTERM must end well."""
    port = house.app.settings.web.port
    house.url = f"http://127.0.0.1:{port}"
    log = house.folder / "serve.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            arguments("--config", house.folder / "escrow-monitor.toml", "serve"), cwd=house.folder, env=environment(),
            stdout=output, stderr=output,
        )
    try:
        wait_until(lambda: answers(f"{house.url}/healthz") or server.poll() is not None)
        assert server.poll() is None, log.read_text()
        yield house
        server.terminate()
        assert server.wait(20) == 0, log.read_text()
        assert "Traceback" not in log.read_text()
    finally:
        server.kill()
        server.wait()


def answers(url: str) -> bool:
    """Whether something answers 200 there."""
    try:
        return httpx.get(url, trust_env=False, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def wait_until(holds: Callable[[], object], *, seconds: int = PATIENCE_SECONDS) -> None:
    """Wait until it holds."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it did not come to hold"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def told(items: Sequence[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    """(account, rule, transition, severity) of feed items."""
    facts = [item["_escrow"] for item in items]
    return [(one["account_no"], one["rule"], one["transition"], one["severity"]) for one in facts]


def friday(house: House) -> dict[str, dict[str, int]]:
    """Everything is well."""
    house.deliver_file("20250306.sta", mt940(
        date(2025, 3, 6), before=date(2025, 3, 5), opening="110000,00", closing="120000,00",
        entries=[("C", "10000,00", "学费")],
    ))
    return house.rounds(shanghai(7, 9))


def monday(house: House) -> dict[str, dict[str, int]]:
    """Both fall below 100 000 yuan: pine to 70 000 by its file, linden to 90 000 by its answer."""
    house.deliver_file("20250307.sta", mt940(
        date(2025, 3, 7), before=date(2025, 3, 6), opening="120000,00", closing="70000,00",
        entries=[("D", "25000,00", "房租"), ("D", "25000,00", "房租")],  # twins are two
    ))
    house.linden.entries.append((date(2025, 3, 7), Decimal(-60_000), "付款"))
    return house.rounds(shanghai(10, 9))


def tuesday(house: House) -> dict[str, dict[str, int]]:
    """Pine is topped up, and another format says so; linden hangs up."""
    house.deliver_file("20250310.xml", camt053(
        date(2025, 3, 10), opening="70000.00", closing="130000.00", amount="60000.00"
    ))
    house.linden.silent = True
    return house.rounds(shanghai(11, 12, 30))


def wednesday(house: House) -> dict[str, dict[str, int]]:
    """Linden is back, and topped up while it was silent."""
    house.deliver_file("20250311.sta", mt940(
        date(2025, 3, 11), before=date(2025, 3, 10), opening="130000,00", closing="130000,00"
    ))
    house.linden.silent = False
    house.linden.entries.append((date(2025, 3, 11), Decimal(60_000), "补足"))
    return house.rounds(shanghai(12, 12, 30))


OPENED = [(PINE, "floor", "opened", "red"), (LINDEN, "floor", "opened", "orange")]


def test_from_the_banks_answers_to_every_reader_and_back_to_well(served: House) -> None:
    house = served
    counts = friday(house)
    assert counts["load-statements"]["loaded"] == counts["load-statements"]["entries"] == 1
    assert (counts["pull-balances"]["answered"], counts["pull-balances"]["statements"]) == (1, 1)
    assert (counts["check-balances"]["met"], counts["check-balances"]["transitions"]) == (2, 0)
    assert (house.items(), house.atom().entries, house.receiver.received) == ([], [], [])
    assert house.metrics()['escrow_accounts{standing="met"}'] == 2
    listener = Listener(house.url, house.keys["reader"], last=0)

    counts = monday(house)
    assert counts["check-balances"]["breached"] == 2
    items = house.items()
    assert sorted(told(items)) == sorted(OPENED)
    by_account = {item["_escrow"]["account_no"]: item["_escrow"] for item in items}
    pine = by_account[PINE]
    assert (pine["standing"], pine["uscc"], pine["bank"], pine["district"]) == ("breached", USCC, "pine", "440305")
    assert (pine["figures"]["balance"], pine["figures"]["required"]) == ("70000.00", "100000.00")
    assert "70000.00" in pine["why"]
    assert "holds 70000.00 CNY" in pine["why_en"]
    assert "local setting, source not verified" in pine["why_en"]
    assert pine["as_of"].startswith("2025-03-07T15:59:59")
    numbers = house.metrics()
    assert numbers['escrow_alerts_open{rule="floor",severity="red"}'] == 1
    assert numbers['escrow_alerts_open{rule="floor",severity="orange"}'] == 1
    assert numbers[f'escrow_account_coverage_ratio{{account="{PINE}"}}'] == 0.7
    assert numbers['escrow_shortfall_yuan{district="440305"}'] == 40_000
    assert (numbers["escrow_feed_sequence"], numbers["escrow_deliveries_due"]) == (2, 0)
    assert house.open_alerts() == {(PINE, "floor", "red"), (LINDEN, "floor", "orange")}

    counts = tuesday(house)
    assert (counts["pull-balances"]["answered"], counts["pull-balances"]["refused"]) == (0, 1)
    assert sorted(told(house.items(after=2))) == sorted(
        [(PINE, "floor", "resolved", "red"), (LINDEN, "freshness", "opened", "yellow")]
    )
    # A bank that is silent has said nothing, so nothing of its account resolves.
    assert house.open_alerts() == {(LINDEN, "floor", "orange"), (LINDEN, "freshness", "yellow")}
    numbers = house.metrics()
    assert numbers['escrow_accounts{standing="met"}'] == 1
    assert numbers['escrow_alerts_open{rule="floor",severity="red"}'] == 0
    assert numbers['escrow_alerts_open{rule="freshness",severity="yellow"}'] == 1

    wednesday(house)
    items = house.items()
    assert sorted(told(items[4:])) == sorted(
        [(LINDEN, "floor", "resolved", "orange"), (LINDEN, "freshness", "resolved", "yellow")]
    )
    assert house.open_alerts() == set()
    numbers = house.metrics()
    assert not any(value for name, value in numbers.items() if name.startswith("escrow_alerts_open{"))
    assert (numbers['escrow_accounts{standing="met"}'], numbers["escrow_feed_sequence"]) == (2, 6)

    # Every reader has heard the same, in the same words and numbers.
    assert [item["_escrow"]["seq"] for item in items] == [1, 2, 3, 4, 5, 6]
    assert listener.wait_for(6) == items
    assert Listener(house.url, house.keys["reader"], last=4).wait_for(2) == items[4:]
    assert [entry.id for entry in house.atom().entries] == [item["id"] for item in reversed(items)]
    assert [entry.title for entry in house.atom().entries] == [item["title"] for item in reversed(items)]
    assert run("feed", "--json", at=house.folder).must(0).json_lines() == items
    events = house.receiver.verified()
    assert [event["data"] for event in events] == items
    assert [event["type"] for event in events] == [f"escrow.alert.{item['_escrow']['transition']}" for item in items]

    # Every reader is a witness of the audit chain.
    heads = {item["_escrow"]["audit_seq"]: item["_escrow"]["audit_head"] for item in items}
    assert len(heads) == 6
    witnesses = [word for seq, head in heads.items() for word in ("--witness", f"{seq}:{head}")]
    verdict = run("audit", "verify", "--json", *witnesses, at=house.folder).must(0).json()
    assert verdict["whole"]
    assert verdict["head"]["seq"] >= max(heads)


def test_the_same_file_twice_changes_nothing(house: House) -> None:
    friday(house)
    monday(house)
    before = (house.feed(), house.pine())
    first = (house.folder / "inbox" / "20250307.sta").read_bytes()
    house.deliver_file("20250307-again.sta", first)
    # Sent again with other line ends: other bytes, the same statement.
    house.deliver_file("20250307-third.sta", first.replace(b"\r\n", b"\n"))
    counts = house.rounds(shanghai(10, 9, 5))["load-statements"]
    assert (counts["files"], counts["known"], counts["refused"], counts["entries"]) == (4, 3, 0, 0)
    assert (house.feed(), house.pine()) == before
    said = house.command("statements", "load", house.folder / "inbox" / "20250307.sta").must(0)
    assert "already loaded" in said.out
    counts = house.rounds(shanghai(10, 9, 10))["load-statements"]
    assert (counts["files"], counts["known"]) == (4, 4)


def test_a_round_of_the_same_scheduled_time_has_one_effect(house: House) -> None:
    friday(house)
    monday(house)
    asked, items = len(house.linden.asked), house.feed()
    again = [
        house.app.perform(name, shard, house.clock.now())
        for name in ("load-statements", "pull-balances", "check-balances", "deliver-alerts")
        for shard in house.app.shards(name)
    ]
    assert all(report.repeated for report in again)
    assert (len(house.linden.asked), house.feed(), len(house.receiver.received)) == (asked, items, 2)


def test_a_corrupt_file_is_refused_and_the_alert_stays_open(house: House) -> None:
    friday(house)
    monday(house)
    house.deliver_file("20250310.xml", camt053(
        date(2025, 3, 10), opening="70000.00", closing="130000.01", amount="60000.00"
    ))
    house.clock.at = shanghai(11, 9)
    report = house.app.perform("load-statements", "pine", house.clock.now())
    assert (report.outcome, report.counts["refused"], report.counts["loaded"]) == ("wrong", 1, 0)
    assert "20250310.xml" in report.detail
    assert "does_not_tie" in report.detail
    house.app.perform("check-balances", "all", house.clock.now())
    assert (PINE, "floor", "red") in house.open_alerts()
    # The refused file is not asked again; the mended one, whatever its name, is taken.
    house.deliver_file("20250310-mended.xml", camt053(
        date(2025, 3, 10), opening="70000.00", closing="130000.00", amount="60000.00"
    ))
    house.rounds(shanghai(11, 9, 30))
    assert (PINE, "floor", "red") not in house.open_alerts()


@pytest.mark.slow
def test_a_webhook_that_was_down_gets_everything_later_and_under_the_same_ids(house: House) -> None:
    friday(house)
    house.receiver.busy = True
    assert monday(house)["deliver-alerts"]["later"] >= 1
    tried = [headers["webhook-id"] for headers, _ in house.receiver.received]
    house.receiver.busy = False

    def all_delivered() -> bool:
        house.clock.at += timedelta(seconds=1)
        house.app.perform("deliver-alerts", "supervisor", house.clock.now())
        return len(house.receiver.received) >= len(tried) + 2

    wait_until(all_delivered, seconds=90)
    arrived = house.receiver.verified()[len(tried) :]
    assert [event["data"] for event in arrived] == house.feed()
    assert set(tried) <= {event["id"] for event in arrived}


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_promtool_accepts_the_metrics_of_a_house_in_trouble(served: House) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        if os.environ.get("CI"):
            pytest.fail("promtool is not installed: apt install prometheus")
        pytest.skip("promtool is not installed")
    friday(served)
    monday(served)
    tuesday(served)
    done = subprocess.run(
        [promtool, "check", "metrics"], input=served.get("/metrics", key="scraper").content, capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


CLOSED = (
    "/feeds/alerts.json", "/feeds/alerts.atom", "/feeds/alerts/events", "/metrics", "/api/v1/accounts",
    "/api/v1/alerts", "/api/v1/openapi.json", "/",
)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_route_without_a_key_is_closed(served: House) -> None:
    house = served
    for path in CLOSED:
        answer = house.get(path, key=None)
        if path == "/":
            assert answer.status_code == 303
            assert answer.headers["location"].startswith("/sign-in")
            continue
        assert (path, answer.status_code) == (path, 401)
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert "www-authenticate" in answer.headers
        other = house.get(path, key="reader" if path == "/metrics" else "scraper")
        assert (path, other.status_code) == (path, 403)
