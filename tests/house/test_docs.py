"""The documentation is held to the code: the map, the settings, the migrations, the README, the changelog."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

Texts = Mapping[str, str]

#: A path as the map writes it: `tasks/submit.py`, `web/`, `src/burnish/`.
PATH = re.compile(r"(?<![\w/.<>-])(?:[\w.-]+/)+(?:[\w.-]+\.\w+)?|(?<![\w/.<>-])\w+\.(?:py|toml)\b")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s#]+)(?:#[^)]*)?\)")
COMMAND = re.compile(r"^\s*(?:\$ |sudo -u \w+ )?(?:\S*/bin/)?(scripts/\w+|burnish \w+)", re.MULTILINE)


@pytest.fixture(scope="session")
def project(texts: Texts) -> Mapping[str, str]:
    """`[project]` of pyproject.toml."""
    found: Mapping[str, str] = tomllib.loads(texts["pyproject.toml"])["project"]
    return found


def blocks(page: str) -> str:
    """What stands between fences."""
    return "\n".join(re.findall(r"^```\w*\n(.*?)^```", page, re.DOTALL | re.MULTILINE))


def test_the_map_names_only_what_is_there(root: Path, texts: Texts) -> None:
    """Every path on the map is in the tree."""
    named = set(PATH.findall(texts["docs/map.md"]))
    places = (root, root / "src" / "burnish", root / "docs")
    lost = sorted(path for path in named if not any((place / path).exists() for place in places))
    assert len(named) > 30
    assert lost == []


def test_every_part_is_on_the_map(root: Path, texts: Texts) -> None:
    """Every part of the package, and every file of the path of a task, is in the map's tree."""
    parts = {
        path.name + ("/" if path.is_dir() else "")
        for path in (root / "src" / "burnish").iterdir()
        if path.name not in {"__pycache__", "__init__.py", "py.typed"}
    }
    tree = set(re.findall(r"^  ([\w.]+/?)", blocks(texts["docs/map.md"]), re.MULTILINE))
    assert sorted(parts - tree) == []


def test_what_is_made_from_the_code_is_in_step_with_it(root: Path) -> None:
    """The settings' page and the migrations' fingerprints are what `scripts/docs` would write.

    A migration that a release has shipped is never edited: write another.
    """
    made = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=root, capture_output=True, text=True, check=False
    )
    assert (made.returncode, made.stdout, made.stderr) == (0, "", "")


def test_links_lead_somewhere(root: Path, texts: Texts) -> None:
    """Every link between our pages, and every picture, is there."""
    dead = [
        f"{name}: {target}"
        for name, text in texts.items()
        if name.endswith(".md")
        for target in LINK.findall(text)
        if not target.startswith(("http:", "https:", "mailto:"))
        and not (root / name).parent.joinpath(target).exists()
    ]
    assert dead == []


def test_every_page_can_be_reached(texts: Texts) -> None:
    """From the README, by links."""
    seen: set[str] = set()
    coming = ["README.md"]
    while coming:
        name = coming.pop()
        if name in seen or not name.endswith(".md"):
            continue
        seen.add(name)
        targets = (target for target in LINK.findall(texts[name]) if "://" not in target)
        coming += [os.path.normpath(Path(name).parent / target) for target in targets]
    pages = {name for name in texts if name.startswith("docs/") and name.endswith(".md")}
    assert sorted(pages - seen) == []


def test_commands_in_the_docs_exist(root: Path, texts: Texts) -> None:
    """Every `scripts/…` and every verb of `burnish` that the pages show can be called."""
    pages = {name: text for name, text in texts.items() if name.endswith(".md") and name != "CHANGELOG.md"}
    called = {command for text in pages.values() for command in COMMAND.findall(blocks(text))}
    offered = subprocess.run(
        [sys.executable, "-m", "burnish", "--help"], capture_output=True, text=True, check=True
    )
    verbs = {f"burnish {verb}" for verb in re.findall(r"^    (\w+) ", offered.stdout, re.MULTILINE)}
    scripts = {f"scripts/{path.name}" for path in (root / "scripts").iterdir()}
    assert {"scripts/up", "scripts/test"} <= called
    assert sorted(called - verbs - scripts) == []


def test_the_changelog_knows_this_version(texts: Texts, project: Mapping[str, str]) -> None:
    """The version of pyproject.toml has its section."""
    assert f"## [{project['version']}]" in texts["CHANGELOG.md"]


def test_every_dependency_is_accounted_for(texts: Texts) -> None:
    """Each dependency of pyproject.toml has its line in docs/why/dependencies.md."""
    tables = tomllib.loads(texts["pyproject.toml"])
    wanted = [
        *tables["project"]["dependencies"],
        *tables["project"]["optional-dependencies"]["server"],
        *tables["project"]["optional-dependencies"]["moderation"],
        *tables["project"]["optional-dependencies"]["gpu"],
        *tables["dependency-groups"]["networks"],
        *tables["dependency-groups"]["dev"],
        *tables["build-system"]["requires"],
    ]
    names = {re.split(r"[\s\[<>=!~;]", requirement)[0] for requirement in wanted}
    page = texts["docs/why/dependencies.md"]
    assert sorted(name for name in names if f"| {name} |" not in page) == []


def test_every_line_of_a_dialect_has_a_test_behind_it(root: Path, texts: Texts) -> None:
    """No cell of the tables of what is covered is empty, and every test that they name is there."""
    pages = {name: text for name, text in texts.items() if re.match(r"docs/reference/dialects/\w+\.md", name)}
    known = {
        test
        for path in (root / "tests").rglob("test_*.py")
        for test in re.findall(r"def (test_\w+)", path.read_text("utf-8"))
    }
    assert pages
    for name, text in pages.items():
        for row in re.findall(r"^\|(.*)\|$", text, re.MULTILINE):
            cells = [cell.strip() for cell in row.split("|")]
            assert all(cells), f"{name}: {row}"
            if "---" in row or cells[-1] in {"test", "tests"}:
                continue
            tests = re.findall(r"\btest_\w+", cells[-1])
            assert tests or "left out" in row, f"{name}: {row}"
            assert set(tests) <= known, f"{name}: {row}"
