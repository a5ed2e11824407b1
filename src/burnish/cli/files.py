"""How many files a process may have open: as many as the system lets it. Called by `serve` and `worker` as they start."""

import resource
from typing import Final

_FILES: Final = 65_536  #: more would only make programs slow that close all they may have open


def allow_files() -> None:
    """Every client that waits is an open file, and so is every source of a task that runs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
