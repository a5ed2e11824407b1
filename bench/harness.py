"""Finds the benches, gives each its peers, runs it; and holds what benches share: the machine, a table, the verdict.

`scripts/bench` calls it. A bench is a module beside this one. At its top stand NAME, PEERS (what its peers are
installed from) and, where a peer needs more, PACKAGES (Debian's names); they are read without importing the module.
It is run by Burnish's own Python, finds the peers' Python in BENCH_PEERS, prints a table of medians and ends with
`verdict`. Peers live in an environment of their own under .bench/, so that they never meet ours.
"""

import ast
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[1]

#: What peers would want and shall not get: this one and the headless one are two wheels for one folder.
_LEFT_OUT = "opencv-python; sys_platform == 'never'\n"


@dataclass(frozen=True, slots=True)
class Bench:
    """What a bench says of itself."""

    name: str
    about: str
    peers: tuple[str, ...]
    packages: tuple[str, ...]
    file: Path


def benches() -> dict[str, Bench]:
    """Every bench by its name."""
    found = (_described(file) for file in sorted(Path(__file__).parent.glob("*.py")))
    return {bench.name: bench for bench in found if bench}


def _described(file: Path) -> Bench | None:
    tree = ast.parse(file.read_text("utf-8"))
    said: dict[str, Any] = {}
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id in {"NAME", "PEERS", "PACKAGES"}:
            said[target.id] = ast.literal_eval(node.value)  # type: ignore[attr-defined]
    if "NAME" not in said:
        return None
    about = (ast.get_docstring(tree) or "").split("\n\n")[0].replace("\n", " ")
    return Bench(said["NAME"], about, tuple(said.get("PEERS", ())), tuple(said.get("PACKAGES", ())), file)


def run(bench: Bench, arguments: Sequence[str]) -> NoReturn:
    """Become the bench, with its peers ready."""
    _install_packages(bench.packages)
    environ = {**os.environ, "BENCH_PEERS": str(_peers(bench))}
    os.chdir(ROOT)
    os.execve(sys.executable, [sys.executable, str(bench.file), *arguments], environ)


def _install_packages(packages: Sequence[str]) -> None:
    """As root on Debian, what is missing is installed; elsewhere it is named."""
    if not packages:
        return
    if shutil.which("dpkg-query"):
        listed = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *packages],
            capture_output=True,
            text=True,
            check=False,
        )
        packages = [name for name in packages if f"{name} installed" not in listed.stdout.splitlines()]
    if packages and os.geteuid() == 0 and shutil.which("apt-get"):
        environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=True, stdout=sys.stderr)
        subprocess.run(
            ["apt-get", "install", "-qq", "--no-install-recommends", *packages],
            check=True,
            stdout=sys.stderr,
            env=environ,
        )
    elif packages:
        print(
            f"Not installed here: {' '.join(packages)}. Peers that need them are left out.", file=sys.stderr
        )


def _peers(bench: Bench) -> Path:
    """The Python of the peers' environment, made when its list has changed."""
    folder = ROOT / ".bench" / bench.name
    python = folder / "bin" / "python"
    made_from = folder / "made-from"
    wanted = f"{folder}\n{sys.version}\n{_LEFT_OUT}" + "\n".join(bench.peers)
    if bench.peers and not (made_from.is_file() and made_from.read_text("utf-8") == wanted):
        uv = str(Path(sys.executable).with_name("uv"))
        print(f"Installing the peers in {folder.relative_to(ROOT)} …", file=sys.stderr)
        subprocess.run(
            [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True
        )
        left_out = folder / "left-out"
        left_out.write_text(_LEFT_OUT, "utf-8")
        install = [uv, "pip", "install", "--quiet", "--python", str(python), "--overrides", str(left_out)]
        # From where uv sees nothing of what Burnish itself leaves out: onnx wants its protobuf.
        if subprocess.run([*install, *bench.peers], check=False, cwd=folder.anchor).returncode:
            for peer in bench.peers:  # as far as they install
                if subprocess.run([*install, peer], check=False, cwd=folder.anchor).returncode:
                    print(f"{peer} does not install here; it is left out.", file=sys.stderr)
        made_from.write_text(wanted, "utf-8")
    return python


# --- what benches share -------------------------------------------------------------------------------------------


def machine() -> str:
    """The machine in one line: processor, cores it may use, memory, system, Python."""
    cpuinfo = Path("/proc/cpuinfo")
    names = (
        [line for line in cpuinfo.read_text().splitlines() if "model name" in line]
        if cpuinfo.is_file()
        else []
    )
    processor = names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{processor}, {cores} cores, {memory:.0f} GiB, {platform.platform()}, Python {platform.python_version()}"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown, aligned for the terminal; numbers to the right."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    numbers = [
        bool(rows) and all(isinstance(row[column], int | float) for row in rows)
        for column in range(len(header))
    ]

    def line(row: Sequence[str]) -> str:
        sides = zip(row, widths, numbers, strict=True)
        return (
            "| " + " | ".join(cell.rjust(w) if number else cell.ljust(w) for cell, w, number in sides) + " |"
        )

    rule = (
        "| "
        + " | ".join("-" * (w - 1) + ":" if n else "-" * w for w, n in zip(widths, numbers, strict=True))
        + " |"
    )
    return "\n".join([line(cells[0]), rule, *map(line, cells[1:])])


def verdict(
    bench: str, *, figures: Mapping[str, object], ratio: object, goal: object, holds: bool
) -> NoReturn:
    """The last line of every bench, as JSON; exit code 1 when the goal is missed."""
    print(json.dumps({"bench": bench, "figures": figures, "ratio": ratio, "goal": goal, "holds": holds}))
    sys.exit(0 if holds else 1)


def main(arguments: Sequence[str]) -> int:
    """List the benches, or run the one that is named."""
    found = benches()
    if not arguments or arguments[0] in {"-h", "--help"}:
        width = max(map(len, found))
        print("\n".join(f"{name:{width}}  {bench.about}" for name, bench in found.items()))
        return 0
    if arguments[0] not in found:
        print(f"There is no bench {arguments[0]!r}; there are {', '.join(found)}.", file=sys.stderr)
        return 2
    run(found[arguments[0]], arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
