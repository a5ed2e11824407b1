"""The scripts can be run as they lie in the tree: executable, readable by bash, usable from anywhere."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPTS = sorted([*Path(__file__).parents[2].glob("scripts/*"), Path(__file__).parents[2] / ".ci" / "run"])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_can_be_run(script: Path) -> None:
    """Executable, in bash's grammar, and says at its top what it does."""
    first, about = script.read_text("utf-8").splitlines()[:2]
    assert first == "#!/usr/bin/env bash"
    assert about.startswith("# ")
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
