"""What the tests of the web begin with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from escrow_monitor.records.database import Database
from tests.web.web_world import Site, World


@pytest.fixture
def empty(sqlite_template: Path, tmp_path: Path) -> Iterator[World]:
    """A current database that holds nothing but keys."""
    shutil.copy(sqlite_template, tmp_path / "web.db")
    database = Database(f"sqlite:///{tmp_path}/web.db")
    world = World(database=database)
    world.key("reader", "read")
    world.key("scraper", "metrics")
    world.key("admin", "admin")
    yield world
    database.close()


@pytest.fixture
def world(empty: World) -> World:
    """A district on a bad morning."""
    return empty.bad_morning()


@pytest.fixture
def site(world: World) -> Site:
    return Site(world)
