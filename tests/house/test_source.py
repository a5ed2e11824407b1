"""The house's rules about source files, read from their syntax trees and their text."""

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

import pytest

Modules = Mapping[str, ast.Module]

#: Who may catch everything: file -> how often, and why it must.
CATCH_ALLS = {
    "src/burnish/engines/entry.py": (
        2,
        "whatever a hostile file raises is that job's alone, and the parent hears it",
    ),
    "src/burnish/engines/networks/gather.py": (
        1,
        "a batch that fails is done again tile by tile, so that each job meets its own fault",
    ),
    "src/burnish/engines/pictures/metadata.py": (
        3,
        "EXIF is hostile; what cannot be read is left out, and told",
    ),
    "src/burnish/engines/pictures/shot.py": (1, "EXIF is hostile; what cannot be read says nothing"),
    "src/burnish/storage/group.py": (
        1,
        "each caller of a group gets the fault, and raises it in its own place",
    ),
    "src/burnish/web/bodies.py": (1, "what is thrown into the reading of a body is passed on into it"),
    "src/burnish/web/endpoint.py": (1, "a request's failure is its own; the process goes on"),
    "src/burnish/webhooks/deliver.py": (
        1,
        "a fault of ours is a failed try, not a receiver that is never given back",
    ),
    "src/burnish/workers/deliver.py": (1, "as the worker's loops: one receiver's turn fails alone"),
    "src/burnish/workers/worker.py": (5, "the worker's loops outlive whatever happens in them"),
}
#: Where a function may import: start-up time, the child's entry, optional drivers.
LATE_IMPORTS = ("src/burnish/cli/", "src/burnish/engines/entry.py", "src/burnish/resources.py")
#: Names that say nothing of what is inside.
EMPTY_NAMES = {
    "manager",
    "helper",
    "helpers",
    "utils",
    "util",
    "common",
    "core",
    "base",
    "service",
    "services",
}
#: A call that waits; one for no time only lets others go first.
SLEEP = re.compile(r"((time|asyncio|anyio)[.])?sleep[(](?!0[)]).*", re.DOTALL)
#: Words for which the glossary has another; vendors' words stop at their dialect.
OTHER_WORDS = re.compile(r"\b(coins?|refund\w*|deduct\w*|tenants?|predictions?)\b", re.IGNORECASE)
#: The project speaks of itself alone: no registry's host, no path of one machine, nothing of how it was written.
FOREIGN = re.compile(
    r"pypi[.]org|python[h]osted|npm[j]s|(?:deb|archive|security)[.](?:debian|ubuntu)|/w[o]rk/|/tmp[/]w\b|/opt/w[h]eels"
    r"|\bsub-?a[g]ents?\b|\bthis ses[s]ion\b|\bco-author[e]d-by\b",
    re.IGNORECASE,
)


def ours(modules: Modules, folder: str = "src/burnish/") -> Iterator[tuple[str, ast.Module]]:
    return ((name, tree) for name, tree in modules.items() if name.startswith(folder))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_module_says_what_it_holds(modules: Modules) -> None:
    """Every Python file begins with a docstring."""
    assert [name for name, tree in modules.items() if not ast.get_docstring(tree)] == []


def test_every_test_states_its_promise(modules: Modules) -> None:
    """Every test function has a docstring."""
    silent = [
        f"{name}:{function.lineno} {function.name}"
        for name, tree in ours(modules, "tests/")
        for function in functions(tree)
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]
    assert silent == []


def test_what_the_client_offers_is_described(modules: Modules) -> None:
    """Every public class, function and method of `burnish.client` has a docstring."""
    silent = []
    for name, tree in ours(modules, "src/burnish/client/"):
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name[0] != "_"]
        owners: list[ast.Module | ast.ClassDef] = [tree, *classes]
        for owner in owners:
            silent += [
                f"{name}:{node.lineno} {node.name}"
                for node in owner.body
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
                and not node.name.startswith("_")
                and not ast.get_docstring(node)
                and not any("overload" in ast.unparse(decorator) for decorator in node.decorator_list)
            ]
    assert silent == []


def catches_all(handler: ast.ExceptHandler) -> bool:
    """Takes any exception and does not end in one."""
    caught = {ast.unparse(node) for node in ast.walk(handler.type)} if handler.type else {"Exception"}
    return bool(caught & {"Exception", "BaseException"}) and not isinstance(handler.body[-1], ast.Raise)


def test_only_the_listed_places_catch_everything(modules: Modules) -> None:
    """`except Exception` stands where the list says why, and nowhere else."""
    found = Counter(
        name
        for name, tree in ours(modules)
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and catches_all(node)
    )
    assert found == {name: count for name, (count, _why) in CATCH_ALLS.items()}


def test_imports_stand_at_the_top(modules: Modules) -> None:
    """A function imports only where starting fast or an optional driver asks for it."""
    late = [
        f"{name}:{node.lineno}"
        for name, tree in ours(modules)
        if not name.startswith(LATE_IMPORTS)
        for function in functions(tree)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert late == []


def test_no_import_is_for_types_alone(modules: Modules) -> None:
    """Nobody goes round an import by `TYPE_CHECKING`: where one is needed, the arrow is wrong."""
    detours = [
        name
        for name, tree in modules.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.alias)
        and (node.id if isinstance(node, ast.Name) else node.name) == "TYPE_CHECKING"
    ]
    assert detours == []


def sleeps(node: ast.AST, *, excused: bool = False, inside: bool = False) -> Iterator[int]:
    """Lines that wait for a time instead of a condition.

    A pause between two looks (in a loop) is none of them, nor is the slowness of a peer that a test plays
    (in a function inside the test).
    """
    for child in ast.iter_child_nodes(node):
        function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        loop = isinstance(child, ast.While | ast.For | ast.AsyncFor)
        if isinstance(child, ast.Call) and not excused and SLEEP.fullmatch(ast.unparse(child)):
            yield child.lineno
        yield from sleeps(child, excused=excused or loop or (function and inside), inside=inside or function)


def test_no_test_sleeps(modules: Modules) -> None:
    """Tests wait for what they expect, never for a time."""
    assert [f"{name}:{line}" for name, tree in ours(modules, "tests/") for line in sleeps(tree)] == []


def test_names_say_what_is_inside(files: Mapping[str, object]) -> None:
    """No file or folder is called manager, helper, utils and the like."""
    empty = [
        name
        for name in files
        if name.startswith(("src/", "tests/", "bench/"))
        and EMPTY_NAMES & {PurePosixPath(part).stem for part in PurePosixPath(name).parts}
    ]
    assert empty == []


def test_one_word_per_thing(texts: Mapping[str, str]) -> None:
    """The source outside the dialects uses the glossary's words."""
    others = [
        f"{name}:{number} {found[0]}"
        for name, text in texts.items()
        if name.startswith("src/burnish/") and not name.startswith("src/burnish/dialects/")
        for number, line in enumerate(text.splitlines(), 1)
        if (found := OTHER_WORDS.search(line))
    ]
    assert others == []


def test_the_project_speaks_of_itself_alone(texts: Mapping[str, str]) -> None:
    """No file names a package registry's host, a path of the machine it was written on, or how it was written."""
    foreign = [
        f"{name}:{number} {found[0]}"
        for name, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if (found := FOREIGN.search(line))
    ]
    assert foreign == []


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("def test(): time.sleep(1)", [1]),
        ("async def test(): await asyncio.sleep(0)", []),
        ("def until():\n while not met():\n  time.sleep(0.01)", []),
        ("def test():\n def slow_server():\n  time.sleep(1)", []),
        ("def fixture():\n sleep(pause)", [2]),
    ],
)
def test_sleeps_are_found(code: str, lines: list[int]) -> None:
    """The rule about sleeping sees what it should, and nothing else."""
    assert list(sleeps(ast.parse(code))) == lines
