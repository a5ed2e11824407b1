"""What the tests of the command line type."""

import subprocess
import sys

BURNISH = (sys.executable, "-m", "burnish")


def burnish(environ: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    """One command, to its end."""
    return subprocess.run(
        [*BURNISH, *arguments], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
