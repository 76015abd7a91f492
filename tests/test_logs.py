"""What a log line shows and what it never shows."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from escrow_monitor import logs
from escrow_monitor.logs import HIDDEN, masked, redact


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    out = io.StringIO()
    logs.configure(format="json", stream=out)
    yield out
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_time_level_event_first_and_chinese_readable(stream: io.StringIO) -> None:
    logs.log().info("round.finished", round="pull_balances", institution="91510300MA6XXXXX0X", why="余额低于最低余额")
    [line] = lines(stream)
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert line["round"] == "pull_balances"
    assert "余额低于最低余额" in stream.getvalue()


def test_bound_keys_are_on_every_line_inside_the_block_only(stream: io.StringIO) -> None:
    with logs.bound(run_id="pull-balances:icbc:2026-11-22T08:00:00Z", bank="icbc"):
        logs.log().info("bank.pulled")
        logging.getLogger("some.library").warning("slow answer")
    logs.log().info("outside")
    inside, library, outside = lines(stream)
    assert inside["run_id"] == library["run_id"] == "pull-balances:icbc:2026-11-22T08:00:00Z"
    assert library["event"] == "slow answer"
    assert "bank" not in outside


def test_secrets_are_hidden_by_name_at_any_depth(stream: io.StringIO) -> None:
    logs.log().info(
        "bank.call", authorization="Bearer abcdefghijk", consent_id="c-123", webhook_secret="s3cr3t",
        headers={"X-API-Key": "emk_abcdef", "Accept": "text/xml", "nested": [{"password": "hunter22"}]}, token=None,
    )
    text = stream.getvalue()
    for secret in ("abcdefghijk", "c-123", "s3cr3t", "emk_abcdef", "hunter22"):
        assert secret not in text
    [line] = lines(stream)
    assert line["headers"]["Accept"] == "text/xml"
    assert line["token"] is None


def test_a_traceback_is_cleaned_as_well(stream: io.StringIO) -> None:
    try:
        raise ValueError("GET https://user:hunter22@bank.example/v1/accounts/6222021234567890123 failed")
    except ValueError:
        logs.log().exception("bank.failed")
    text = stream.getvalue()
    assert "ValueError" in text
    assert "hunter22" not in text
    assert "6222021234567890123" not in text
    assert "***0123" in text


def test_a_library_s_arguments_are_cleaned_as_well(stream: io.StringIO) -> None:
    logging.getLogger("some.library").error("account %s refused with token=%s", "6222021234567890123", "abcdef12345")
    assert "6222021234567890123" not in stream.getvalue()
    assert "abcdef12345" not in stream.getvalue()


@pytest.mark.parametrize(("text", "shown"), [
    ("6222021234567890", "***7890"),
    ("6222 0212 3456 7890", "***7890"),
    ("DE89370400440532013000", "DE***3000"),
    ("account:6222021234567890 is silent", "account:***7890 is silent"),
    ("emk_abcdefghij1234", HIDDEN),
    ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", HIDDEN),
    ("Authorization: Bearer abc.def-ghi", f"Authorization: {HIDDEN} {HIDDEN}"),
    ("Consent-ID: 1234-abcd", f"Consent-ID: {HIDDEN}"),
    ("postgresql+psycopg://monitor:hunter22@db/escrow", f"postgresql+psycopg://monitor:{HIDDEN}@db/escrow"),
    ("2026-11-22T08:00:00+00:00", "2026-11-22T08:00:00+00:00"),
    ("holds 99.00 CNY, the floor is 100.00 CNY", "holds 99.00 CNY, the floor is 100.00 CNY"),
    ("91510300MA6ABCDE1X", "91510300MA6ABCDE1X"),
])
def test_text_is_masked_by_shape(text: str, shown: str) -> None:
    assert masked(text) == shown


def test_figures_stay_figures() -> None:
    event = redact(None, "info", {"event": "x", "balance_fen": 123_456_789_012_345, "ok": True, "seq": 4})
    assert event == {"event": "x", "balance_fen": 123_456_789_012_345, "ok": True, "seq": 4}


@given(st.text(alphabet="0123456789", min_size=12, max_size=34), st.text(alphabet=" :/甲a", max_size=3))
def test_no_long_number_survives(number: str, around: str) -> None:
    assert number not in masked(f"{around}{number}{around}")


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8,
))
def test_whatever_is_logged_a_line_comes_out(value: object) -> None:
    line = json.dumps(redact(None, "info", {"event": "x", "value": value}), default=str)
    assert json.loads(line)["event"] == "x"


def test_a_terminal_gets_plain_lines() -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    out = io.StringIO()
    try:
        logs.configure(format="console", level="debug", stream=out)
        logs.log("escrow_monitor.test").debug("round.started", account_no="6222021234567890")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()
    assert "round.started" in out.getvalue()
    assert "***7890" in out.getvalue()
    assert "6222021234567890" not in out.getvalue()
