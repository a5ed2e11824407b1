"""The verbs of the story on this test's database."""

from tasks.conftest import story

__all__ = ["story"]
