"""Errors of the console are pages in the reader's language; of the API they stay problem+json."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from escrow_monitor.web.app import create_app
from escrow_monitor.web.console.words.problems import PROBLEM_WORDS
from escrow_monitor.web.limits import Rate, Rates
from tests.web.web_world import Site, World

HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def looked(site: Site, path: str, *, lang: str = "zh", method: str = "GET", **headers: str) -> httpx.Response:
    return site.send(method, path, key=None, x_api_key=site.world.secrets["reader"], accept=HTML,
                     cookie=f"escrow_lang={lang}", **headers)


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/nothing/here", 404), ("POST", "/nothing/here", 404), ("PUT", "/cases", 405), ("DELETE", "/", 405),
    ("GET", "/cases?nonsense=1", 400), ("GET", "/cases/a%0db", 404),
])
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_an_error_is_a_page_in_the_readers_language(
    site: Site, method: str, path: str, status: int, lang: str
) -> None:
    answer = looked(site, path, lang=lang, method=method)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert f'<html lang="{"zh-CN" if lang == "zh" else "en"}">' in answer.text
    if status != 404 or path == "/nothing/here":
        assert PROBLEM_WORDS[f"problem.{status}"][lang] in answer.text  # type: ignore[index]
    # Whoever is signed in is led on from there.
    assert 'href="/institutions"' in answer.text


def test_too_many_requests_say_how_long_to_wait(world: World) -> None:
    ports = replace(world.ports(), rates=Rates(requests=Rate(per_second=0.1, burst=1)))
    site = Site(world, create_app(ports))
    assert looked(site, "/").status_code == 200
    answer = looked(site, "/?x=1")
    assert answer.status_code == 429
    wait = answer.headers["retry-after"]
    assert f"请等 {wait} 秒再试" in answer.text
    assert '<a class="btn btn-primary" href="">再试一次</a>' in answer.text
    told = site.get("/api/v1/accounts", accept=HTML)
    assert told.status_code == 429
    assert told.headers["content-type"] == "application/problem+json"


def test_what_nobody_foresaw_is_a_page_without_its_inside(world: World) -> None:
    def broken() -> tuple[()]:
        raise RuntimeError("secret inside")

    app = world.app()

    async def fails(request: object) -> None:
        broken()

    app.add_route("/broken", fails)
    answer = looked(Site(world, app), "/broken", lang="en")
    assert answer.status_code == 500
    assert "Something went wrong here" in answer.text
    assert "secret" not in answer.text
    assert answer.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/feeds/nothing", "/static/nothing"])
def test_a_program_is_answered_as_ever_whatever_it_accepts(site: Site, path: str) -> None:
    answer = looked(site, path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_script_of_a_page_is_answered_as_a_program(site: Site) -> None:
    answer = site.get("/nothing/here", accept="*/*")
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_language_of_an_error_that_answers_a_form_leads_back_to_its_page(site: Site) -> None:
    answer = looked(site, "/nothing", method="POST", referer="http://monitor.test/cases?q=a%26b&lang=zh")
    assert 'href="/cases?q=a%26b&amp;lang=en"' in answer.text
    foreign = looked(site, "/nothing", method="POST", referer="http://other.test//evil.test/x")
    assert 'href="/?lang=en"' in foreign.text
    turned = looked(site, "/nothing", method="POST", referer="http://monitor.test//evil.test/x")
    assert 'href="//' not in turned.text
