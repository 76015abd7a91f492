"""The audit chain as an operator and an auditor have it, and a watchdog that speaks though no clock runs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.journeys.journey_command import arguments, environment, run

SCRIPT = Path(__file__).parents[2] / "deploy" / "verify_audit.py"
SECONDS_MAX = 60


def auditor(file: Path, *words: str) -> tuple[int, dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), str(file), "--json", *words], capture_output=True, text=True
    )
    return done.returncode, json.loads(done.stdout)


def test_from_a_new_key_to_an_auditor_who_trusts_nobody(tmp_path: Path) -> None:
    run("db", "upgrade", at=tmp_path).must(0)
    run("audit", "seal", at=tmp_path).refusal(2, "audit keygen")
    made = run("audit", "keygen", "one.pem", "--json", at=tmp_path).must(0).json()
    assert (tmp_path / "one.pem").stat().st_mode & 0o777 == 0o600
    run("audit", "keygen", "one.pem", at=tmp_path).refusal(2, "there already")
    (tmp_path / "escrow-monitor.toml").write_text('[audit]\nkey_file = "one.pem"\n')
    assert run("audit", "key", "--json", at=tmp_path).must(0).json() == made
    run("keys", "create", "reader", at=tmp_path).must(0)
    sealed = run("round", "seal-audit", "--json", at=tmp_path).must(0).json()
    assert sealed[0]["counts"]["sealed"] == 1
    told = run("audit", "export", "out.jsonl", "--json", at=tmp_path).must(0).json()
    assert (told["seals"], told["key_id"]) == (1, made["key_id"])

    file = tmp_path / "out.jsonl"
    code, verdict = auditor(file, "--key", str(made["key_id"]))
    assert (code, verdict["whole"], verdict["entries"]) == (0, True, told["entries"])
    ours = run("audit", "verify", "--export", "out.jsonl", "--json", at=tmp_path).must(0).json()
    assert ours == verdict

    # The key hands over; one that was not handed over to is refused.
    run("audit", "keygen", "two.pem", at=tmp_path).must(0)
    run("audit", "hand-over", "two.pem", at=tmp_path).must(0)
    run("audit", "seal", at=tmp_path).refusal(1, "did not hand over")
    (tmp_path / "escrow-monitor.toml").write_text('[audit]\nkey_file = "two.pem"\n')
    run("audit", "seal", at=tmp_path).must(0)
    run("audit", "verify", "--key", str(made["key_id"]), at=tmp_path).must(0)
    run("audit", "export", "out.jsonl", at=tmp_path).refusal(2, "nothing is written over")
    run("audit", "export", "later.jsonl", at=tmp_path).must(0)
    assert auditor(tmp_path / "later.jsonl", "--key", str(made["key_id"]))[0] == 0

    # What the auditor kept of the first export is a witness of the second.
    head = verdict["head"]
    assert isinstance(head, dict)
    witness = f"{head['seq']}:{head['head']}"
    run("audit", "verify", "--witness", witness, at=tmp_path).must(0)
    strange = f"{head['seq']}:{'0' * 64}"
    said = run("audit", "verify", "--witness", strange, at=tmp_path).must(1)
    assert "rewritten" in said.err
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(b"".join((tmp_path / "later.jsonl").read_bytes().splitlines(keepends=True)[:-2]))
    assert auditor(cut)[1]["fault"] == "tail_cut"
    assert "tail_cut" in run("audit", "verify", "--export", "cut.jsonl", at=tmp_path).must(1).err


@pytest.mark.slow
def test_the_web_alone_says_that_the_daemon_does_not_run(tmp_path: Path) -> None:
    """Nothing starts rounds here: whoever listens outside hears it, and the alert is in the feed."""
    run("db", "upgrade", at=tmp_path).must(0)
    run("round", "watch-rounds", at=tmp_path).must(0)
    heard: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append((self.path, self.rfile.read(int(self.headers["Content-Length"])).decode()))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        (tmp_path / "dead-man").write_text(f"http://127.0.0.1:{server.server_port}/ping/geheim\n")
        (tmp_path / "escrow-monitor.toml").write_text(
            f'[web]\nport = {port}\n[watchdog]\nevery_seconds = 1\nurl_file = "dead-man"\n'
            "[schedule]\nlate_after_seconds = { check-balances = 1, watch-rounds = 1 }\n"
        )
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(arguments("serve"), cwd=tmp_path, stdout=log, stderr=log, env=environment())
            try:
                until = time.monotonic() + SECONDS_MAX
                while not any(path.endswith("/fail") for path, _ in heard):
                    assert process.poll() is None, (tmp_path / "log").read_text()
                    assert time.monotonic() < until, heard
                    time.sleep(0.1)
            finally:
                os.kill(process.pid, signal.SIGTERM)
                process.wait(SECONDS_MAX)
        server.shutdown()
    assert heard[0] == ("/ping/geheim/start", "")
    assert "check-balances" in next(body for path, body in heard if path.endswith("/fail"))
    alerts = run("alerts", "list", "--rule", "round_late", "--json", at=tmp_path).json()
    assert len(alerts) == 2
    logged = (tmp_path / "log").read_text()
    assert "watchdog.late" in logged
    assert "geheim" not in logged
