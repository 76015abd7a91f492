"""What journeys share: one real browser a module, and the demo district as a house where people work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from demo_house import House
from journey_browser import launched

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for as long as the module takes."""
    with launched() as found:
        yield found


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The demo district, served. Tests that share it look at what they did themselves."""
    found = House(tmp_path_factory.mktemp("house") / "town")
    found.start()
    yield found
    found.stop()
