"""What all tests share: one fresh database a test, on SQLite and on PostgreSQL."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from escrow_monitor.records.database import Database
from escrow_monitor.wiring import GARBAGE_VALUES
from tests.postgres import NoPostgres, new_database, running_server

SHARED = {
    "languages_chromium": "house", "morning_chromium": "house", "staff_day_chromium": "house",
    "accessible_pages_chromium": "accessible", "script_injection_chromium": "injection",
    "people_chromium": "people", "case_pages_chromium": "cases", "backtest_command": "backtest",
    "prometheus": "prometheus", "web_institution_isolation": "isolation",
}
"""Files of which one worker does every test: what they share takes longer to make than they take themselves."""
_numbers = count(1)

# How long an example takes says how busy the machine is.
settings.register_profile("here", deadline=None)
settings.load_profile("here")


class Together(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Hands out tests one by one, but all of a file that shares something costly to one worker, and files of one house.

    `--dist loadgroup` was for this: it asks for a name of a test that pytest 9.2 does not let it change, and says
    nothing.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0].rpartition("/")[2].removeprefix("test_").removesuffix(".py")
        return SHARED.get(file, nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together | None:
    """With `--dist loadgroup`, as SHARED says."""
    return Together(config, log) if config.getvalue("dist") == "loadgroup" else None


def pytest_collection_finish() -> None:
    """What was collected lives to the end: looking through it again and again took a fifth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_VALUES, 20, 100)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """One PostgreSQL for the test run (or for each worker of a parallel one), as a URL."""
    try:
        with running_server() as url:
            yield url
    except NoPostgres as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file that is upgraded once and copied for each test."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    database = Database(f"sqlite:///{path}")
    database.upgrade()
    database.close()
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """A PostgreSQL database that is upgraded once and copied for each test."""
    name = f"template_{os.getpid()}"
    with new_database(postgres_server, name) as url:
        database = Database(url)
        database.upgrade()
        database.close()
        yield name


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> str:
    """Which database a test runs on: each runs on both."""
    return str(request.param)


@pytest.fixture
def empty_database_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without tables; on SQLite, not even a file."""
    if backend == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
    else:
        with new_database(request.getfixturevalue("postgres_server"), _new_name()) as url:
            yield url


@pytest.fixture
def database_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database with the tables of this version and nothing in them."""
    if backend == "sqlite":
        path = tmp_path / "escrow-monitor.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
    else:
        server, template = request.getfixturevalue("postgres_server"), request.getfixturevalue("postgres_template")
        with new_database(server, _new_name(), template=template) as url:
            yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The same, opened."""
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def postgres_url(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """A database on PostgreSQL with the tables of this version: for what only several processes can show."""
    with new_database(postgres_server, _new_name(), template=postgres_template) as url:
        yield url


def _new_name() -> str:
    return f"test_{os.getpid()}_{next(_numbers)}"


