"""What the house's own tests read: the tree's files, and the syntax trees of its Python."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Every folder of ours at the top; what tools leave there is none of it.
_FOLDERS = ("src", "tests", "bench", "docs", "scripts", "requirements", ".ci")


def _files() -> dict[str, Path]:
    found = [path for path in ROOT.iterdir() if path.is_file() and path.name != ".git"]
    for folder in _FOLDERS:
        found += [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    return {
        path.relative_to(ROOT).as_posix(): path for path in sorted(found) if "__pycache__" not in path.parts
    }


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the tree."""
    return ROOT


@pytest.fixture(scope="session")
def files() -> dict[str, Path]:
    """Every file of the tree by its path from the top."""
    return _files()


@pytest.fixture(scope="session")
def texts(files: dict[str, Path]) -> dict[str, str]:
    """Every file that is text."""
    found = {}
    for name, path in files.items():
        content = path.read_bytes()
        if b"\0" not in content[:8192]:
            found[name] = content.decode()
    return found


@pytest.fixture(scope="session")
def modules(texts: dict[str, str]) -> dict[str, ast.Module]:
    """The syntax tree of every Python file."""
    return {name: ast.parse(text, name) for name, text in texts.items() if name.endswith(".py")}
