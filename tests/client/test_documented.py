"""The client's page is held to the client: its examples run, its tree of errors is the tree, its names are there."""

import dataclasses
import inspect
import re
from pathlib import Path

import pytest

from burnish import client as burnish
from burnish.client import _errors
from client.played import KEY, PICTURE, PlayedService

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "reference" / "client.md").read_text()


@pytest.mark.parametrize(
    ("page", "examples", "tasks"), [("reference/client.md", 5, 4), ("howto/python-client.md", 6, 5)]
)
def test_the_examples_run(
    page: str,
    examples: int,
    tasks: int,
    service: PlayedService,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every Python block, one after the other, in a folder with a photo and with the service in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BURNISH_URL", service.url)
    monkeypatch.setenv("BURNISH_API_KEY", KEY)
    Path("photo.jpg").write_bytes(b"\xff\xd8\xff")
    names: dict[str, object] = {}
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)

    for block in blocks:
        exec(compile(block, page, "exec"), names)

    assert len(blocks) == examples
    assert Path("photo-2x.png").read_bytes() == PICTURE
    assert len(service.tasks) == tasks


def test_the_tree_of_errors_is_the_tree() -> None:
    """What the page and the module draw is what the classes are, in that order."""

    def drawn(text: str) -> list[tuple[str, int]]:
        found = re.findall(r"^((?:[│├└─ ]{4})+)([A-Z]\w+)", text, re.MULTILINE)
        return [(name, len(branch) // 4) for branch, name in found]

    def grown(kind: type, depth: int = 0) -> list[tuple[str, int]]:
        children: list[type] = kind.__subclasses__()
        below = [pair for child in children for pair in grown(child, depth + 1)]
        return [(kind.__name__, depth), *below]

    tree = grown(burnish.Problem)[1:]
    assert drawn(PAGE) == tree
    assert drawn(re.sub("^ {4}", "", _errors.__doc__ or "", flags=re.MULTILINE)) == tree


def test_everything_public_is_on_the_page() -> None:
    """The names that the package exports, and every method of every resource, with its options."""
    client = burnish.Client("http://example.com", KEY)
    resources = {
        name: value for name, value in vars(client).items() if not name.startswith("_") and name != "url"
    }
    missing = [name for name in burnish.__all__ if not re.search(rf"\b{name}\b", PAGE)]
    for name, resource in resources.items():
        section = PAGE.split(f"\n## {name}\n")[1].split("\n## ")[0]
        methods = [method for method in dir(resource) if method[0] != "_"]
        missing += [f"{name}.{method}" for method in methods if f"`{method}(" not in section]
    client.close()

    assert missing == []


def test_every_member_is_on_the_page() -> None:
    """Each type that the client answers with has its row, with all of its members and no other."""
    rows = dict(
        re.findall(
            r"^\| `(\w+)` \| (.*) \|$", PAGE.split("## What comes back")[1].split("\n## ")[0], re.MULTILINE
        )
    )
    shapes = {
        name: kind for name in burnish.__all__ if dataclasses.is_dataclass(kind := getattr(burnish, name))
    }
    missing = []
    for name, kind in shapes.items():
        properties = [member for member in vars(kind) if isinstance(vars(kind)[member], property)]
        members = {field.name for field in dataclasses.fields(kind)} - {"raw"} | set(properties)
        missing += [f"{name}.{member}" for member in members if f"`{member}`" not in rows[name]]

    assert missing == []
    assert set(rows) == set(shapes)


def test_both_clients_offer_the_same() -> None:
    """The same arguments, and the same resources with the same methods."""
    assert list(inspect.signature(burnish.Client).parameters) == list(
        inspect.signature(burnish.AsyncClient).parameters
    )
    offered = []
    for kind in (burnish.Client, burnish.AsyncClient):
        client = kind("http://example.com", KEY)
        offered.append(
            {
                (name, method)
                for name, resource in vars(client).items()
                if not name.startswith("_")
                for method in dir(resource)
                if not method.startswith("_")
            }
        )
    assert offered[0] == offered[1]
    assert len(offered[0]) > 10
