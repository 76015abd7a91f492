"""A bank written by somebody else answers us, from the public Open Banking account-information document.

`prism`, Stoplight's mock server, is given the OpenAPI document of UK Open Banking and answers as it says. Neither
is ours, and neither was made with us in mind. What this proves:

* every request we make is one the document allows: prism checks path, query and headers and reports violations;
* our own recordings, the ones the connector's tests read, are answers the document allows: prism serves them as its
  examples and checks them against its schemas, for v3.1 and for v4.0, whichever is at hand;
* from those answers, over somebody else's HTTP server, we read exactly the figures they state;
* what the document's own invented example states (a balance with a credit line in it, of 2019, with links to another
  host) becomes a refusal and no reading, and so do the errors it lists.

What it does not prove: that a real bank keeps to the document.

Needs, else the tests are skipped and say so: `prism` on the PATH or named by ESCROW_MONITOR_TEST_PRISM (npm package
@stoplight/prism-cli), and the document, which is not kept here, named by ESCROW_MONITOR_TEST_OPEN_BANKING_DOCUMENT:
dist/openapi/account-info-openapi.json of OpenBankingUK/read-write-api-specs, one or several with colons between.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from escrow_monitor.banks.connector import Pull, PullOutcome, PullRefused, PullRequest
from escrow_monitor.banks.connectors.open_banking_uk import OpenBankingUk
from escrow_monitor.banks.http import BankHttp
from escrow_monitor.clock import FixedClock
from escrow_monitor.domain.accounts import Account, BalanceKind
from escrow_monitor.domain.statements import RefusalReason, StatementKind

PRISM = os.environ.get("ESCROW_MONITOR_TEST_PRISM") or shutil.which("prism")
DOCUMENTS = [
    Path(one) for one in os.environ.get("ESCROW_MONITOR_TEST_OPEN_BANKING_DOCUMENT", "").split(os.pathsep) if one
]
GOLDEN = Path(__file__).parents[1] / "banks" / "golden" / "open_banking_uk"
NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
ACCOUNT = Account(
    account_no="80200110203345", bank="prism", connector="open_banking_uk", currency="GBP", external_id="22289"
)
REQUEST = PullRequest(account=ACCOUNT, statements_from=date(2026, 11, 20))
START_SECONDS_MAX = 60

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PRISM is None, reason="no prism on the PATH or in ESCROW_MONITOR_TEST_PRISM"),
    pytest.mark.skipif(not DOCUMENTS, reason="no document in ESCROW_MONITOR_TEST_OPEN_BANKING_DOCUMENT"),
]


class Prism:
    """One running mock server; `log` is what it has reported so far."""

    def __init__(self, document: Path, log: Path) -> None:
        assert PRISM is not None
        self.log_path = log
        self.port = _free_port()
        self._log = log.open("wb")
        self._process = subprocess.Popen(
            [PRISM, "mock", "--host", "127.0.0.1", "--port", str(self.port), str(document)],
            stdout=self._log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )
        until = time.monotonic() + START_SECONDS_MAX
        while "Prism is listening" not in self.log and self._process.poll() is None and time.monotonic() < until:
            time.sleep(0.1)

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def violations(self) -> list[str]:
        """What the document does not allow, in our requests or in the answers it was given."""
        return [line for line in self.log.splitlines() if "Violation:" in line]

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._log.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module", params=DOCUMENTS, ids=lambda path: path.stem)
def document(request: pytest.FixtureRequest) -> dict[str, object]:
    found: dict[str, object] = json.loads(request.param.read_bytes())
    return found


@pytest.fixture(scope="module")
def as_it_is(document: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prism]:
    """Prism with the document as it was published."""
    yield from _running(document, tmp_path_factory.mktemp("prism"))


@pytest.fixture(scope="module")
def with_our_recordings(document: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prism]:
    """Prism with our recordings as the examples of the document; its schemas are untouched."""
    changed = json.loads(json.dumps(document))
    words = "v3" if str(changed["info"]["version"]).startswith("3") else "v4"
    responses = changed["components"]["responses"]
    for recording, name in (
        ("balances", "200AccountsAccountIdBalancesRead"), ("balances", "200BalancesRead"),
        ("transactions", "200AccountsAccountIdTransactionsRead"),
    ):
        example = json.loads((GOLDEN / f"good_{recording}_{words}.json").read_bytes())
        for content in responses[name]["content"].values():
            content["example"] = example
    yield from _running(changed, tmp_path_factory.mktemp("prism"))


def _running(document: Mapping[str, object], folder: Path) -> Iterator[Prism]:
    path = folder / "document.json"
    path.write_text(json.dumps(document))
    prism = Prism(path, folder / "prism.log")
    try:
        assert "Prism is listening" in prism.log, prism.log
        yield prism
    finally:
        prism.close()


@contextmanager
def connected(prism: Prism, *, batch: bool = False, prefer: str | None = None) -> Iterator[OpenBankingUk]:
    http = BankHttp(
        base_url=f"http://127.0.0.1:{prism.port}", token="anything-at-all", retries=0,
        headers={} if prefer is None else {"Prefer": prefer},
    )
    connector = OpenBankingUk("prism", http, zone=ZoneInfo("Europe/London"), clock=FixedClock(NOW), batch=batch)
    try:
        yield connector
    finally:
        connector.close()


def pulled(prism: Prism, *, batch: bool = False, prefer: str | None = None) -> PullOutcome:
    with connected(prism, batch=batch, prefer=prefer) as connector:
        (outcome,) = connector.pull([REQUEST], now=NOW)
        return outcome


@pytest.mark.parametrize("batch", [False, True])
def test_what_the_document_allows_is_asked_and_read_to_the_penny(with_our_recordings: Prism, batch: bool) -> None:
    outcome = pulled(with_our_recordings, batch=batch)
    assert isinstance(outcome, Pull), outcome
    assert outcome.refusals == ()
    closing, running = outcome.readings
    assert (closing.kind, closing.amount.text, closing.on, closing.final) == (
        BalanceKind.BOOKED_CLOSING, "1230.00", date(2026, 11, 21), True,
    )
    assert (running.kind, running.amount.text) == (BalanceKind.BOOKED_INTRADAY, "-57.36")
    (statement,) = outcome.statements
    assert (statement.kind, statement.opening.text if statement.opening else None, len(statement.entries)) == (
        StatementKind.END_OF_DAY, "0.00", 3,
    )
    assert "The request passed the validation rules" in with_our_recordings.log
    assert with_our_recordings.violations() == []


def test_the_documents_own_example_is_no_reading(as_it_is: Prism) -> None:
    for batch in (False, True):
        outcome = pulled(as_it_is, batch=batch)
        assert isinstance(outcome, PullRefused), outcome
        # v3.1 names an account "string"; v4.0 states what may be spent with a credit line, and links to another host.
        assert outcome.refusal.reason in (
            RefusalReason.WRONG_ACCOUNT, RefusalReason.NO_BALANCE, RefusalReason.NOT_FOUND, RefusalReason.MALFORMED,
        )
    assert not [line for line in as_it_is.violations() if "request." in line]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (400, RefusalReason.UNEXPECTED_STATUS), (401, RefusalReason.UNAUTHORIZED), (403, RefusalReason.FORBIDDEN),
        (429, RefusalReason.RATE_LIMITED), (500, RefusalReason.SERVER_ERROR),
    ],
)
def test_the_errors_the_document_lists_are_refusals_by_name(
    as_it_is: Prism, code: int, reason: RefusalReason
) -> None:
    outcome = pulled(as_it_is, prefer=f"code={code}")
    assert isinstance(outcome, PullRefused), outcome
    assert outcome.refusal.reason is reason


def test_whatever_the_mock_server_invents_is_refused_or_of_our_account(as_it_is: Prism) -> None:
    """Prism makes up answers at random within the schemas: none may end in an error, or in a foreign figure."""
    with connected(as_it_is, prefer="dynamic=true") as connector:
        for _ in range(20):
            (outcome,) = connector.pull([REQUEST], now=NOW)
            assert outcome.account_no == ACCOUNT.account_no
            assert isinstance(outcome, PullRefused), outcome
    assert not [line for line in as_it_is.violations() if "request." in line]
