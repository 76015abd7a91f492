"""What an operator decides: one TOML file, every key overridable from the environment, unknown keys refused.

defaults  <  escrow-monitor.toml  <  ESCROW_MONITOR_<SECTION>__<KEY>
"""

from __future__ import annotations

import difflib
import json
import os
import socket
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, cast, get_args

from pydantic import AwareDatetime, BaseModel, Field, SecretStr, ValidationError, model_validator

from escrow_monitor.clock import Clock, ReplayClock, SystemClock
from escrow_monitor.errors import ConfigurationError
from escrow_monitor.settings.audit import AuditSettings, WatchdogSettings
from escrow_monitor.settings.banks import BANK_SECTIONS, BankSettings
from escrow_monitor.settings.channels import CHANNEL_SECTIONS, ChannelSettings
from escrow_monitor.settings.hears import OfficeHoursSettings, RungSettings, check_ladder
from escrow_monitor.settings.oidc import OidcSettings
from escrow_monitor.settings.section import Seconds, Section
from escrow_monitor.settings.statements import StatementColumns, StatementProfileSettings

PREFIX = "ESCROW_MONITOR_"
CONFIG_NAME = "escrow-monitor.toml"
_NOT_KEYS = {"ESCROW_MONITOR_CONFIG"}
_SINGLE = {"language"}
"""Keys that stand in no section."""

class DatabaseSettings(Section):
    url: str = "sqlite:///escrow.db"


class EngineSettings(Section):
    """`url` empty: on SQLite a file of its own beside the business file, on PostgreSQL the same database.

    `executor_id` names this daemon: stable over a restart, different for each that shares a PostgreSQL; the host's name
    where only one runs on it.
    """

    url: str | None = None
    executor_id: str = Field(default_factory=socket.gethostname, pattern=r"^[A-Za-z0-9._-]{1,64}$")


class LimitSettings(Section):
    """How often one caller of the web may ask, for long and at once; 0 a second: as often as they like.

    A caller is a person or a key, of strangers an address. Feeds are counted apart. Each process counts for itself.
    """

    requests_per_second: int = Field(default=300, ge=0)
    requests_at_once: int = Field(default=3_000, ge=1)
    feed_requests_per_second: int = Field(default=1_000, ge=0)
    feed_requests_at_once: int = Field(default=10_000, ge=1)
    strangers_per_second: int = Field(default=20, ge=0)
    strangers_at_once: int = Field(default=500, ge=1)


class WebSettings(Section):
    host: str = "127.0.0.1"
    port: int = Field(default=8750, ge=0, le=65_535)
    home_url: str | None = None
    limits: LimitSettings = LimitSettings()
    oidc: OidcSettings | None = None


class PolicySettings(Section):
    """`examples` adds the invented example amounts that ship with the program: for a demonstration only."""

    examples: bool = False
    folders: tuple[Path, ...] = ()


class ScheduleSettings(Section):
    """Cron expressions of five fields, or six with seconds first; in the machine's zone unless `zone` says otherwise.

    The hours and half hours are left to the banks: some refuse to be polled then.
    """

    zone: str = "Asia/Shanghai"
    pull_balances: str = "4,19,34,49 * * * *"
    load_statements: str = "2-57/5 * * * *"
    check_balances: str = "* * * * *"
    reconcile: str = "3-58/5 * * * *"
    watch_closure: str = "20 7 * * *"
    deliver_alerts: str = "*/10 * * * * *"
    watch_rounds: str = "1-59/2 * * * *"
    seal_audit: str = "10 0 * * *"
    late_after_seconds: Mapping[str, Seconds] = {
        "pull-balances": 3600,
        "load-statements": 1800,
        "check-balances": 900,
        "reconcile": 3600,
        "watch-closure": 93_600,
        "deliver-alerts": 600,
        "watch-rounds": 900,
        "seal-audit": 86_400,
    }


class FolderSettings(Section):
    """One watched folder of statement files. `bank` names the bank of accounts that `register_accounts` makes.

    `format` is auto, bai2, ofx, camt, mt940, or profile:NAME of one of the [statement_profiles].
    """

    path: Path
    bank: str
    zone: str = "Asia/Shanghai"
    register_accounts: bool = False
    settle_seconds: int = Field(default=2, ge=0, le=3600)
    format: str = "auto"


class AlertSettings(Section):
    """How long a condition must hold before its alert opens, or be absent before it resolves, by rule.

    When one round opens more than `storm_above` alerts, subscribers get one message about all of them. `ladder` says
    who hears next of what nobody acknowledges, `office_hours` which hours count until then.
    """

    storm_above: int = Field(default=200, ge=1)
    ladder: tuple[RungSettings, ...] = ()
    office_hours: OfficeHoursSettings = OfficeHoursSettings()
    open_after_seconds: Mapping[str, int] = {}
    resolve_after_seconds: Mapping[str, int] = {}


class LogSettings(Section):
    format: Literal["json", "console", "auto"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class ReplaySettings(Section):
    """The demo's clock: replays the past quickly until it has caught up with the present."""

    replay_from: AwareDatetime
    started_at: AwareDatetime
    speed: int = Field(ge=1, le=1_000_000)


class Settings(Section):
    """The whole configuration. `folder` is where relative paths begin: the file's folder, else the working folder."""

    language: Literal["zh", "en"] = "zh"
    database: DatabaseSettings = DatabaseSettings()
    engine: EngineSettings = EngineSettings()
    web: WebSettings = WebSettings()
    policies: PolicySettings = PolicySettings()
    schedule: ScheduleSettings = ScheduleSettings()
    banks: Mapping[str, BankSettings] = {}
    folders: Mapping[str, FolderSettings] = {}
    statement_profiles: Mapping[str, StatementProfileSettings] = {}
    channels: Mapping[str, ChannelSettings] = {}
    alerts: AlertSettings = AlertSettings()
    audit: AuditSettings = AuditSettings()
    watchdog: WatchdogSettings = WatchdogSettings()
    logs: LogSettings = LogSettings()
    clock: ReplaySettings | None = None
    folder: Path = Field(default=Path(), exclude=True)

    @model_validator(mode="after")
    def _ladder_stands(self) -> Settings:
        check_ladder(self.alerts.ladder, self.channels)
        return self

    def path(self, path: Path) -> Path:
        """Resolve a configured path: environment variables expanded, relative ones below `folder`."""
        expanded = Path(os.path.expandvars(path)).expanduser()
        return expanded if expanded.is_absolute() else self.folder / expanded

    @property
    def database_url(self) -> str:
        """The database URL with a relative SQLite path made absolute below `folder`."""
        return self._absolute(self.database.url)

    @property
    def engine_url(self) -> str:
        """The engine's database: its own file beside an SQLite business file, or the same PostgreSQL."""
        if self.engine.url is not None:
            return self._absolute(self.engine.url)
        url = self.database_url
        if not url.startswith("sqlite:///"):
            return url
        business = Path(url.removeprefix("sqlite:///"))
        return f"sqlite:///{business.with_name(f'{business.stem}-engine.db')}"

    def _absolute(self, url: str) -> str:
        if not url.startswith("sqlite:///"):
            return url
        return f"sqlite:///{self.path(Path(url.removeprefix('sqlite:///'))).resolve()}"

    def make_clock(self) -> Clock:
        """The machine's clock, or the replay that a demo folder asks for."""
        if self.clock is None:
            return SystemClock()
        return ReplayClock(replay_from=self.clock.replay_from, started_at=self.clock.started_at, speed=self.clock.speed)

    def secret(self, value: SecretStr | None, file: Path | None, *, what: str) -> str | None:
        """Return a secret given directly or in a file; raise ConfigurationError when the file cannot be read."""
        if value is not None:
            return value.get_secret_value()
        if file is None:
            return None
        try:
            return self.path(file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigurationError(f"{what}: cannot read {file}: {error.strerror}") from error


def load_settings(config: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read the configuration.

    `config` None: `ESCROW_MONITOR_CONFIG`, else `escrow-monitor.toml` in the working folder if it is there, else
    defaults. Raises ConfigurationError with the file, the key, the nearest known name and what to do.
    """
    path = config or (Path(environ["ESCROW_MONITOR_CONFIG"]) if environ.get("ESCROW_MONITOR_CONFIG") else None)
    if path is None and Path(CONFIG_NAME).is_file():
        path = Path(CONFIG_NAME)
    document = _read(path) if path is not None else {}
    for name, value in _overrides(environ):
        _set(document, name, value)
    document["folder"] = path.resolve().parent if path is not None else Path.cwd()
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        raise ConfigurationError(_explain(error, path)) from None


def _read(path: Path) -> dict[str, object]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot read the configuration {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from error
    if "folder" in document:
        raise ConfigurationError(f"{path}: folder: unknown key; did you mean folders?")
    return document


def _overrides(environ: Mapping[str, str]) -> Iterator[tuple[list[str], str]]:
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in _NOT_KEYS or name.startswith(f"{PREFIX}TEST_"):
            continue
        parts = name.removeprefix(PREFIX).lower().split("__")
        if len(parts) > 1 or parts[0] in _SINGLE:
            yield parts, environ[name]
        elif near := _nearest_variable(parts[0]):
            raise ConfigurationError(f"{name}: unknown variable; did you mean {near}?")


def _set(document: dict[str, object], parts: list[str], text: str) -> None:
    """Put an override where it belongs; lists and tables may be given as JSON."""
    place = document
    for part in parts[:-1]:
        below = place.setdefault(part, {})
        if not isinstance(below, dict):
            raise ConfigurationError(f"{PREFIX}{'__'.join(parts).upper()}: {part} is not a section")
        place = cast("dict[str, object]", below)
    place[parts[-1]] = _structured(parts, text) if text[:1] in ("[", "{") else text


def _structured(parts: list[str], text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{PREFIX}{'__'.join(parts).upper()}: not valid JSON: {error}") from error


def _explain(error: ValidationError, path: Path | None) -> str:
    """One sentence for each wrong key: where, what, and the nearest known name for an unknown one."""
    sentences = []
    for problem in error.errors():
        loc = problem["loc"]
        # Where a section is one of several kinds, the kind stands in the place too; nobody wrote it there.
        key = ".".join(str(part) for place, part in enumerate(loc) if place != 2 or loc[0] not in _KINDS)
        if problem["type"] == "extra_forbidden":
            near = _nearest(loc)
            sentences.append(f"{key}: unknown key" + (f"; did you mean {near}?" if near else ""))
        else:
            said = problem["msg"].removeprefix("Value error, ")
            sentences.append(f"{key}: {said}" if key else said)
    where = str(path) if path is not None else "configuration"
    return f"{where}: " + "; ".join(sentences)


def _nearest_variable(name: str) -> str | None:
    """The variable that was meant by one underscore where two belong: it must not be passed over in silence."""
    variables = {
        f"{section}_{key}": f"{PREFIX}{section.upper()}__{key.upper()}"
        for section, known in Settings.model_fields.items()
        if isinstance(known.annotation, type) and issubclass(known.annotation, BaseModel)
        for key in known.annotation.model_fields
    }
    close = difflib.get_close_matches(name, variables, n=1, cutoff=0.7)
    return variables[close[0]] if close else None


_KINDS = ("banks", "channels")
"""The sections of which there are several kinds."""


def _nearest(loc: tuple[int | str, ...]) -> str | None:
    """The known name closest to the last part of `loc`, looked up in the section that holds it."""
    model: type[BaseModel] = Settings
    for part in loc[:-1]:
        model = _within(model, str(part)) or _section_of(str(part)) or model
    names = [name for name in model.model_fields if name != "folder"]
    close = difflib.get_close_matches(str(loc[-1]), names, n=1, cutoff=0.5)
    return close[0] if close else None


def _within(model: type[BaseModel], part: str) -> type[BaseModel] | None:
    """The section that a key of a bank's or channel's section holds, alone or in a list or table."""
    known = model.model_fields.get(part) if model is not Settings else None
    waiting: list[object] = [known.annotation] if known is not None else []
    while waiting:
        one = waiting.pop()
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one
        waiting.extend(get_args(one))
    return None


def _section_of(part: str) -> type[BaseModel] | None:
    """The section that a part of a key's place names: by its own name, or by the kind of bank or channel."""
    known = Settings.model_fields.get(part)
    if known is not None and isinstance(known.annotation, type) and issubclass(known.annotation, BaseModel):
        return known.annotation
    sections: dict[str, type[BaseModel]] = {
        **BANK_SECTIONS, "folders": FolderSettings, "columns": StatementColumns,
        "statement_profiles": StatementProfileSettings, **CHANNEL_SECTIONS,
    }
    return sections.get(part)
