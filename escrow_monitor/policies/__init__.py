"""The law as data: one TOML file a jurisdiction, shipped with the program, and the folder of one's own beside it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from escrow_monitor.domain.policy import Pack, PolicyBook, parse_pack
from escrow_monitor.errors import PolicyError

PACK_BYTES_MAX = 1 << 20


def load_policies(extra_folders: Sequence[Path] = (), *, examples: bool = False) -> PolicyBook:
    """Read the shipped packs and every `*.toml` of the extra folders, in the order of their names.

    `examples` adds the example settings (invented amounts, for a demonstration only). Raises PolicyError with file and
    place for a pack that cannot be read, for two packs or clauses of one id, and for a folder that is not there.
    """
    shipped = resources.files(__package__)
    packs = [*_packs_in(shipped, "")]
    if examples:
        packs.extend(_packs_in(shipped / "examples", "examples/"))
    for folder in extra_folders:
        if not folder.is_dir():
            raise PolicyError(f"{folder}: no such policy folder; create it or take it out of the configuration")
        packs.extend(_packs_in(folder, f"{folder}/"))
    return PolicyBook(packs)


def load_pack(file: Path) -> Pack:
    """Read one pack, e.g. to check it before it is put to use. Raises PolicyError."""
    return _read(file, where=str(file))


def _packs_in(folder: Traversable, called: str) -> Iterator[Pack]:
    for file in sorted(folder.iterdir(), key=lambda each: each.name):
        if file.name.endswith(".toml") and not file.name.startswith("."):
            yield _read(file, where=f"{called}{file.name}")


def _read(file: Traversable, *, where: str) -> Pack:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise PolicyError(f"{where}: cannot be read: {error.strerror}") from error
    if len(content) > PACK_BYTES_MAX:
        raise PolicyError(f"{where}: {len(content)} bytes are too many for a policy pack (at most {PACK_BYTES_MAX})")
    try:
        document = tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise PolicyError(f"{where}: is not UTF-8 text (byte {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"{where}: is not TOML: {error}") from error
    return parse_pack(document, where=where)
