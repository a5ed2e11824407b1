"""What the parts of `quality` and of `engines` give, and how they are run: all of them, or those that are named.

A part is a function without arguments in a module of its own (`quality_NAME.py`, `engines_NAME.py`).
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import harness


@dataclass(frozen=True, slots=True)
class Section:
    """`table`: in Markdown. `figures`: what the goal is about; `goal`: in the same words; `holds`: whether it is reached."""

    table: str
    figures: Mapping[str, object]
    goal: Mapping[str, object]
    holds: bool


def run(bench: str, sections: Mapping[str, Callable[[], Section]], names: Sequence[str]) -> NoReturn:
    """Run the sections that are named, or all, and end with the verdict on them."""
    if unknown := [name for name in names if name not in sections]:
        print(f"There is no section {', '.join(unknown)}; there are {', '.join(sections)}.", file=sys.stderr)
        sys.exit(2)
    print(harness.machine(), end="\n\n")
    done: dict[str, Section] = {}
    for name in names or sections:
        done[name] = section = sections[name]()
        print(
            f"## {name}\n\n{section.table}\n\n{'holds' if section.holds else 'MISSED'}: {dict(section.goal)}\n",
            flush=True,
        )
    harness.verdict(
        bench,
        figures={name: section.figures for name, section in done.items()},
        ratio=None,
        goal={name: section.goal for name, section in done.items()},
        holds=all(section.holds for section in done.values()),
    )
