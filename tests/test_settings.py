"""The configuration: defaults, file, environment, and clear refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from escrow_monitor.errors import ConfigurationError
from escrow_monitor.settings import load_settings


def write(folder: Path, text: str) -> Path:
    path = folder / "escrow-monitor.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(None, {})
    assert settings.database_url == f"sqlite:///{tmp_path}/escrow.db"
    assert settings.engine_url == f"sqlite:///{tmp_path}/escrow-engine.db"
    assert settings.web.host == "127.0.0.1"


def test_relative_paths_begin_at_the_folder_of_the_file(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, '[database]\nurl = "sqlite:///data/money.db"\n'), {})
    assert settings.database_url == f"sqlite:///{tmp_path}/data/money.db"


def test_the_environment_is_stronger_than_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "[web]\nport = 1000\n")
    assert load_settings(path, {"ESCROW_MONITOR_WEB__PORT": "2000"}).web.port == 2000


def test_lists_come_from_the_environment_as_json(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    settings = load_settings(path, {"ESCROW_MONITOR_POLICIES__FOLDERS": '["here"]'})
    assert settings.policies.folders == (Path("here"),)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[database]\nulr = "x"\n', "database.ulr: unknown key; did you mean url?"),
        ('[databse]\nurl = "x"\n', "databse: unknown key; did you mean database?"),
        ('[banks.icbc]\nbase_url = "https://x"\ntokn = "a"\n', "banks.icbc.tokn: unknown key; did you mean token?"),
        ('[banks.icbc]\nbase_url = "ftp://x"\n', "banks.icbc.base_url"),
        ('[web]\nport = "many"\n', "web.port"),
        ('[channels.w]\ntype = "webhook"\nurl = "https://x"\n', "needs at least one secret"),
        ("[web\n", "is not valid TOML"),
    ],
)
def test_a_wrong_key_is_refused_with_the_file_the_key_and_the_nearest_name(
    tmp_path: Path, text: str, sentence: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as refused:
        load_settings(path, {})
    assert sentence in str(refused.value)
    assert str(path) in str(refused.value)


def test_an_unknown_section_in_the_environment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="did you mean database"):
        load_settings(write(tmp_path, ""), {"ESCROW_MONITOR_DATABSE__URL": "x"})


def test_broken_json_in_the_environment_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="ESCROW_MONITOR_POLICIES__FOLDERS"):
        load_settings(write(tmp_path, ""), {"ESCROW_MONITOR_POLICIES__FOLDERS": "[here"})


def test_a_secret_never_shows(tmp_path: Path) -> None:
    path = write(tmp_path, '[banks.icbc]\nbase_url = "https://x"\ntoken = "hunter2"\n')
    settings = load_settings(path, {})
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in settings.model_dump_json()


def test_a_secret_file_is_read_when_it_is_needed(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hunter2\n", encoding="utf-8")
    path = write(tmp_path, '[banks.icbc]\nbase_url = "https://x"\ntoken_file = "token"\n')
    settings = load_settings(path, {})
    assert settings.secret(None, settings.banks["icbc"].token_file, what="banks.icbc.token_file") == "hunter2"
    with pytest.raises(ConfigurationError, match=r"cannot read missing"):
        settings.secret(None, Path("missing"), what="banks.icbc.token_file")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read the configuration"):
        load_settings(tmp_path / "nowhere.toml", {})
