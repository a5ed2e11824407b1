"""The verbs of the story on this test's database."""

import pytest

from burnish.settings import Settings
from burnish.storage.postgres import Database
from tasks.story import Story, tell


@pytest.fixture
def story(db: Database, settings: Settings) -> Story:
    return tell(db, settings)
