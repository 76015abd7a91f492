"""The engine's own database: a new file, or a new PostgreSQL database."""

from __future__ import annotations

import pytest


@pytest.fixture
def engine_url(empty_database_url: str) -> str:
    return empty_database_url
