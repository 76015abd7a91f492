"""What the tests of the web begin with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from escrow_monitor.records.database import Database
from tests.web.web_world import Site, World


@pytest.fixture(scope="session")
def morning(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mapping[str, str]]:
    """A district on a bad morning as a file to be copied, and the secrets of its keys."""
    path = tmp_path_factory.mktemp("morning") / "web.db"
    shutil.copy(sqlite_template, path)
    with closing(Database(f"sqlite:///{path}")) as database:
        found = with_keys(database).bad_morning()
    return path, found.secrets


@pytest.fixture
def empty(sqlite_template: Path, tmp_path: Path) -> Iterator[World]:
    """A current database that holds nothing but keys."""
    shutil.copy(sqlite_template, tmp_path / "web.db")
    with closing(Database(f"sqlite:///{tmp_path}/web.db")) as database:
        yield with_keys(database)


@pytest.fixture
def world(morning: tuple[Path, Mapping[str, str]], tmp_path: Path) -> Iterator[World]:
    """A district on a bad morning."""
    path, secrets = morning
    shutil.copy(path, tmp_path / "web.db")
    with closing(Database(f"sqlite:///{tmp_path}/web.db")) as database:
        yield World(database=database, secrets=dict(secrets))


def with_keys(database: Database) -> World:
    """A database with a key for each sort of reader."""
    world = World(database=database)
    world.key("reader", "read")
    world.key("scraper", "metrics")
    world.key("admin", "admin")
    return world


@pytest.fixture
def site(world: World) -> Site:
    return Site(world)
