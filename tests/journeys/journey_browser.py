"""A real Chromium, and the application behind a real server for it to open."""

from __future__ import annotations

import importlib.util
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
import uvicorn
from fastapi import FastAPI

from escrow_monitor.web.guard import COOKIE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
)


@contextmanager
def launched() -> Iterator[Browser]:
    """Debian's Chromium, driven by playwright. Where one of them is missing: a skip, and in CI a failure."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("playwright is not installed")
    path = shutil.which("chromium")
    if path is None:
        _missing("no chromium is installed")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


def axe_script() -> str:
    """The accessibility checker that the browser runs in a page. Where it is missing: a skip, and in CI a failure."""
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        _missing("axe-playwright-python is not installed")
    return Path(found.origin).with_name("axe.min.js").read_text("utf-8")


def _missing(why: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


@contextmanager
def served(app: FastAPI, port: int = 0) -> Iterator[str]:
    """The address of an application behind a server; without a port it is one of the system's choice."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.05)
        assert thread.is_alive()
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.force_exit = server.should_exit = True
        thread.join(10)


def until(page: Page, expression: str, *, seconds: float = 30.0) -> None:
    """Wait until this holds in the page, asked from outside: within it the page's own policy lets nothing be evaluated.
    """
    from playwright.sync_api import Error

    deadline = time.monotonic() + seconds
    while True:
        try:
            if page.evaluate(expression):
                return
        except Error as error:
            # The page is just going elsewhere.
            if "context" not in str(error):
                raise
        assert time.monotonic() < deadline, f"it did not come to hold: {expression}"
        page.wait_for_timeout(50)


@contextmanager
def visitor(
    browser: Browser, address: str, token: str | None = None, *, lang: str = "zh",
    excused: Sequence[str] = ("the server responded with a status of 4",), **options: object
) -> Iterator[Page]:
    """A page of somebody with this session, or with none yet; what the browser complains of fails the test."""
    context = browser.new_context(timezone_id="Asia/Shanghai", **options)  # type: ignore[arg-type]  # of several kinds
    context.add_cookies([{"name": "escrow_lang", "value": lang, "url": address}])
    if token is not None:
        context.add_cookies([{"name": COOKIE, "value": token, "url": address}])
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        yield page
        # A browser says of an answer that refuses something that it does.
        wrong = [text for text in complaints if not any(one in text for one in excused)]
        assert wrong == [], wrong
    finally:
        context.close()
