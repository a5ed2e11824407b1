"""The environment of a machine whose database is the test's."""

import os

import pytest

from burnish.settings import Settings


@pytest.fixture
def environ(settings: Settings) -> dict[str, str]:
    """Of a machine whose database is this test's."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BURNISH_")}
    return clean | {
        "BURNISH_DATABASE_URL": settings.database.url,
        "BURNISH_SECRET_KEYS": settings.secret_keys[0],
        "BURNISH_DATA": str(settings.data),
        "BURNISH_LOG_FORMAT": "json",
    }
