"""What every command shares: configuration, language, and how results are shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from escrow_monitor.cli import words
from escrow_monitor.clock import ZONE
from escrow_monitor.errors import UsageError

if TYPE_CHECKING:
    from escrow_monitor.settings import Settings
    from escrow_monitor.wiring import App

AsJson = Annotated[
    bool, typer.Option("--json", help="Print JSON: one document, or one object a line where it streams.")
]


@dataclass(kw_only=True)
class Frame:
    """The options before the command. Settings are read on first use, so that `--help` reads nothing."""

    config: Path | None = None
    lang: str | None = None
    debug: bool = False
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    @cached_property
    def settings(self) -> Settings:
        """The configuration of this run."""
        from escrow_monitor.settings import load_settings

        return load_settings(self.config, self.environ)

    @property
    def language(self) -> str:
        """`zh` or `en`: `--lang`, else the terminal's locale."""
        if self.lang:
            return self.lang
        locale = self.environ.get("LC_ALL") or self.environ.get("LC_MESSAGES") or self.environ.get("LANG") or ""
        return "zh" if locale.startswith("zh") else "en"

    @contextmanager
    def app(self, *, at: str | None = None, makes: bool = False) -> Iterator[App]:
        """An assembled program for the length of one command, its database brought up to date.

        Only a command that `makes` something may begin with a new database: to any other, one that is not there is an
        error, for an empty one in its place would say that all is well.
        """
        from escrow_monitor.clock import FixedClock
        from escrow_monitor.errors import DatabaseError
        from escrow_monitor.logs import configure
        from escrow_monitor.wiring import assembled

        # What goes wrong ends the command with its sentence: the same once more as a log line helps nobody.
        configure(format="console", level="debug" if self.debug else "critical", stream=sys.stderr)
        clock = FixedClock(parse_instant(at)) if at else None
        # A name of its own: it must not take over what a running daemon is just sending.
        with assembled(self.settings, clock=clock, claimant=f"command-{os.getpid()}") as app:
            if not makes and app.database.is_sqlite and not Path(app.database.name).exists():
                raise DatabaseError(
                    f"The database file {app.database.name} is not there: put it back, correct database.url, or begin "
                    "a new one with `escrow-monitor db upgrade`."
                )
            app.database.upgrade()
            yield app

    def name(self, kind: str, key: str) -> str:
        """The name of a value of a closed set as the console has it; in English, which programs cut too, the value."""
        return words.name(kind, key, "zh") if self.language == "zh" else key

    def pick(self, *, zh: str, en: str) -> str:
        """The sentence in the language of this run."""
        return zh if self.language == "zh" else en


def completed(names: Sequence[str]) -> Callable[[str], list[str]]:
    """What a shell completes an argument to, of a closed set of names."""
    return lambda incomplete: [name for name in names if name.startswith(incomplete)]


def frame_of(context: typer.Context) -> Frame:
    """The frame that the options before the command filled."""
    frame = context.find_root().obj
    return cast("Frame", frame)


def parse_instant(text: str) -> datetime:
    """Read an RFC 3339 instant; without a zone it is Shanghai's, a bare date means its noon."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is not an instant: write it like 2026-11-20T09:00:00+08:00") from error
    if len(text) == 10:
        moment = datetime.combine(moment.date(), time(12))
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=ZONE)


def parse_day(text: str) -> date:
    """Read an ISO 8601 date."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is not a date: write it like 2026-11-20") from error
