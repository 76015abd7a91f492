"""`[web.oidc]`: what is taken, what is refused in plain words, and what is said where the extra is missing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from escrow_monitor.cli.service import provider_of
from escrow_monitor.errors import ConfigurationError
from escrow_monitor.settings import load_settings

DEPLOY = Path(__file__).parents[1] / "deploy"
LINE = 'very-secret"\n[[web.oidc.roles]]\nvalue = "a"\nrole = '
WHOLE = """
[web.oidc]
issuer = "https://id.example.gov.cn/realms/city"
client_id = "escrow-monitor"
client_secret = "very-secret"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "escrow-monitor.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_provider_is_made_of_its_section(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from a file\n")
    settings = load_settings(write(tmp_path, WHOLE.replace('client_secret = "very-secret"', '''
client_secret_file = "secret"
provision = true
districts_claim = "areas"
[[web.oidc.roles]]
value = "a"
role = "admin"
districts = "all"
[[web.oidc.roles]]
value = "b"
role = "staff"
''')), {})
    provider = provider_of(settings)
    assert provider is not None
    assert provider.client.client_secret == "from a file"
    assert [(line.value, line.districts) for line in provider.client.mapped.roles] == [("a", ()), ("b", None)]
    assert provider_of(load_settings(write(tmp_path, ""), {})) is None


def test_the_secret_never_shows(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, WHOLE), {})
    assert "very-secret" not in repr(settings) + settings.model_dump_json() + repr(provider_of(settings).client)  # type: ignore[union-attr]


@pytest.mark.parametrize(("wrong", "told"), [
    (("https://id.example", "http://id.example"), "an issuer is an https address"),
    (("https://id.example.gov.cn/realms/city", "id.example"), "an issuer is an https address"),
    (("/realms/city", "/realms/city?x=1"), "an issuer is an https address"),
    (('client_secret = "very-secret"', ""), "client_secret_file"),
    (('client_id = "escrow-monitor"', 'client_id = ""'), "client_id"),
    (("client_id", "client_di"), "did you mean client_id"),
    (('client_id = "escrow-monitor"', 'client_id = "x"\nscopes = ["profile"]'), "must hold openid"),
    (('client_id = "escrow-monitor"', 'client_id = "x"\nprovision = true'), "set .*roles"),
    (("very-secret\"", LINE + '"staff"'), "say which districts"),
    (("very-secret\"", LINE + '"institution"'), "which institution"),
    (("very-secret\"", LINE + '"boss"\ndistricts = "all"'), "role"),
    (("very-secret\"", LINE + '"staff"\ndistricts = []'), "2 to 6 digits"),
])
def test_what_cannot_work_is_refused_in_plain_words(tmp_path: Path, wrong: tuple[str, str], told: str) -> None:
    assert wrong[0] in WHOLE
    with pytest.raises(ConfigurationError, match=told):
        load_settings(write(tmp_path, WHOLE.replace(*wrong)), {})


def test_an_issuer_on_loopback_may_be_plain_http(tmp_path: Path) -> None:
    text = WHOLE.replace("https://id.example.gov.cn", "http://127.0.0.1:8080")
    assert load_settings(write(tmp_path, text), {}).web.oidc is not None


def test_a_secret_file_that_is_missing_is_said(tmp_path: Path) -> None:
    text = WHOLE.replace('client_secret = "very-secret"', 'client_secret_file = "nowhere"')
    with pytest.raises(ConfigurationError, match=r"web\.oidc\.client_secret_file: cannot read nowhere"):
        provider_of(load_settings(write(tmp_path, text), {}))


def test_without_the_extra_the_check_says_what_to_install(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['authlib'] = None; from escrow_monitor.__main__ import main;"
        f" sys.argv = ['escrow-monitor', '--config', {str(write(tmp_path, WHOLE))!r}, 'config', 'check']; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "pip install 'escrow-monitor[oidc]'" in done.stderr


def test_the_example_can_be_taken_in(tmp_path: Path) -> None:
    text = (DEPLOY / "escrow-monitor.toml").read_text(encoding="utf-8")
    section = "# [web.oidc]" + text.split("# [web.oidc]")[1].split("\n[policies]")[0]
    taken_in = re.sub(r"^# (?=\[|[a-z_]+ = )", "", section, flags=re.MULTILINE)
    chosen = load_settings(write(tmp_path, taken_in), {}).web.oidc
    assert chosen is not None
    assert [line.role.value for line in chosen.roles] == ["admin", "regulator"]
