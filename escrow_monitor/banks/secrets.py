"""Where a section of the configuration has its secrets: in which files, and their texts, to be kept unseen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, SecretStr

from escrow_monitor.settings import Settings

PUBLIC_FILES = frozenset({"ca_file", "cert_file", "body_file"})
PRIVATE_KEYS = frozenset({"key_file"})
"""Of the section itself: read by the TLS library alone, their text can stand in no answer."""


def secret_files(section: BaseModel, where: str = "") -> Iterator[tuple[str, Path]]:
    """Every file that a section names and that holds a secret, with the key that names it; sections below included."""
    for name, value in section:
        key = f"{where}.{name}" if where else name
        if isinstance(value, BaseModel):
            yield from secret_files(value, key)
        elif name.endswith(("_file", "_files")) and name not in PUBLIC_FILES:
            yield from ((key, one) for one in _parts(value) if isinstance(one, Path))


def given_secrets(section: BaseModel) -> Iterator[SecretStr]:
    """Every secret that stands in the section itself."""
    for _, value in section:
        for one in _parts(value):
            if isinstance(one, SecretStr):
                yield one
            elif isinstance(one, BaseModel):
                yield from given_secrets(one)


def secret_texts(settings: Settings, section: BaseModel) -> Iterator[str]:
    """The text of every secret, given directly or in a file that can be read."""
    yield from (secret.get_secret_value() for secret in given_secrets(section))
    for key, file in secret_files(section):
        if key in PRIVATE_KEYS:
            continue
        try:
            text = settings.path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            continue
        yield text
        yield from text.split()


def _parts(value: object) -> tuple[object, ...]:
    if isinstance(value, dict):
        return tuple(value.values())
    return value if isinstance(value, tuple) else (value,)
