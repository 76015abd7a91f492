"""The demo district as a house where people work: its folder, its web in a process of its own, and who signs in."""

from __future__ import annotations

import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from journey_browser import visitor
from journey_command import Said, arguments, environment, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

START_SECONDS_MAX = 60
PASSWORD = "Abendstern-7719"
NOTE, REASON, GROUNDS = "已电话联系，下午到现场", "银行割接，夜间余额不可信", "按区教育局十月通知"
"""What people write here with an acknowledgement, a silence and a change of the law."""
EXCUSED = (
    "status of 4", "ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET",
)
"""A refusal, and a server that is away for a moment, are said by the browser as well."""
PEOPLE = {"mei": ("admin", "梅"), "chen": ("regulator", "陈"), "wu": ("regulator", "吴"), "li": ("staff", "李")}


class House:
    """A folder in which `demo --once` has run, and the web that serves it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        run("demo", "--once", "--dir", folder, "--port", "0", at=folder.parent).must(1)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        config = folder / "escrow-monitor.toml"
        text = re.sub(r"(?m)^port = .*$", f"port = {port}", config.read_text("utf-8"))
        # One control that always counts as missed.
        config.write_text(text.replace("deliver-alerts = 604800", "deliver-alerts = 1"), "utf-8")
        self.address = f"http://127.0.0.1:{port}"
        self.process: subprocess.Popen[bytes] | None = None
        for name, (role, display) in PEOPLE.items():
            self.typed(f"{PASSWORD}\n", "users", "add", name, "--role", role, "--display-name", display,
                       "--password-stdin").must(0)

    def said(self, *words: object, lang: str = "en") -> Said:
        """What a command answers here."""
        return run("--lang", lang, *words, at=self.folder)

    def typed(self, text: str, *words: object) -> Said:
        """The same with something on its standard input."""
        done = subprocess.run(
            arguments(*words), cwd=self.folder, env=environment(), capture_output=True, check=False,
            input=text.encode(), timeout=120,
        )
        return Said(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self) -> None:
        """Serve, and wait until it is ready."""
        with (self.folder / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(
                arguments("serve"), cwd=self.folder, env=environment(), stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self._is_ready():
            assert self.process.poll() is None, (self.folder / "serve.log").read_text("utf-8")
            assert time.monotonic() < deadline, "the web did not get ready"
            time.sleep(0.2)

    def stop(self) -> None:
        """End the web, as a restart of the machine does."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
            self.process = None

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def spends(self, account_no: str, leaving: str) -> None:
        """Load a statement of today after which so much is left of an account; nobody has checked it yet."""
        found = self.said("accounts", "show", account_no, "--json").must(0).json()
        through = self.said("statements", "coverage", "--account", account_no, "--json").json()[0]["covered_to"]
        held, left = int(found["balance_fen"]), round(float(leaving) * 100)
        before, today = date.fromisoformat(through), date.today()  # noqa: DTZ011 - the bank's day is the machine's here
        file = self.folder / f"{account_no}.sta"
        file.write_text(
            f":20:1\n:25:{account_no}\n:28C:1/1\n:60F:C{before:%y%m%d}CNY{_amount(held)}\n"
            f":61:{today:%y%m%d}{today:%m%d}D{_amount(held - left)}NTRFNONREF\n:86:transfer\n"
            f":62F:C{today:%y%m%d}CNY{_amount(left)}\n-\n", "utf-8",
        )
        self.said("statements", "load", file.name).must(0)


def _amount(fen: int) -> str:
    return f"{fen // 100},{fen % 100:02}"


@contextmanager
def signed_in(browser: Browser, house: House, name: str, lang: str = "zh", **options: object) -> Iterator[Page]:
    """A page of somebody who came in by the form, at Today; what the browser complains of fails the test."""
    with visitor(browser, house.address, lang=lang, excused=EXCUSED, **options) as page:
        page.goto(f"{house.address}/sign-in?lang={lang}")
        page.fill("#name", name)
        page.fill("#password", PASSWORD)
        page.locator("form:has(#password) button").click()
        page.wait_for_selector("main h1")
        yield page


EXACT = """node => { const copy = node.cloneNode(true);
    copy.querySelectorAll('data[title]').forEach(one => one.replaceWith(one.title));
    copy.querySelectorAll('time').forEach(one => one.replaceWith(one.getAttribute('datetime')));
    copy.querySelectorAll('small, .yours').forEach(one => one.remove());
    return copy.textContent.trim().replace(/\\s+/g, ' ') }"""
"""A sentence of a page with its figures as the record has them, in place of how people write them."""
