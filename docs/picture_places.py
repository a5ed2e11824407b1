"""Makes the pictures of docs/reference/models/{merge,sky,privacy}.md: those of sky and privacy by the very lines that stand
there, that of merge by a task as the page shows it.

Called by hand when they have changed, with a service running: BURNISH_API_KEY=… .venv/bin/python docs/picture_places.py
"""

import runpy
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from skimage import data

from burnish.client import Client

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
GAP = 8
WIDTH = 560

scenes: dict[str, Any] = runpy.run_path(str(ROOT / "tests" / "scenes.py"))


def main() -> None:
    """All three."""
    picture, _, _ = scenes["under_the_sky"]("overcast", 1, 700, 1000)
    house = Image.fromarray(np.round(picture * 255).astype(np.uint8))
    by_its_line("sky", "house.jpg", house, Path("skies", "house.jpg"))
    street, _ = scenes["with_plate"](data.astronaut(), np.random.default_rng(3), 180)
    by_its_line("privacy", "street.jpg", Image.fromarray(street), Path("public", "street.jpg"))
    room()


def by_its_line(model: str, name: str, before: Image.Image, after: Path) -> None:
    """Run the line of a model's page on a file of this name, and set its result beside it."""
    page = (ROOT / "docs" / "reference" / "models" / f"{model}.md").read_text("utf-8")
    line = next(line for line in page.splitlines() if line.startswith("burnish enhance"))
    with tempfile.TemporaryDirectory() as folder:
        before.save(Path(folder, name), quality=95)
        burnish = Path(sys.executable).with_name("burnish")
        subprocess.run([burnish, *shlex.split(line)[1:]], cwd=folder, check=True)
        side_by_side(model, [before, Image.open(Path(folder, after))])


def room() -> None:
    """Four brackets of a room with a window."""
    light = scenes["interior"]()
    brackets = [scenes["exposed"](light, ev) for ev in (-4, -2, 0, 2)]
    with tempfile.TemporaryDirectory() as folder, Client() as client:
        files = [Path(folder, f"{number}.png") for number in range(len(brackets))]
        for file, bracket in zip(files, brackets, strict=True):
            Image.fromarray(bracket).save(file)
        uploads = [client.uploads.create(file).id for file in files]
        made = []
        for pull in ("none", "windows_with_skies"):
            task = client.tasks.run("merge", {"images": uploads, "window_pull": pull, "format": "jpeg"})
            made.append(client.outputs.download(task.outputs[0], Path(folder, f"{pull}.jpg")))
        side_by_side(
            "merge", [*(Image.fromarray(brackets[number]) for number in (0, 2)), *map(Image.open, made)], 2
        )


def side_by_side(name: str, pictures: list[Image.Image], columns: int = 2) -> None:
    """In rows of so many, each of one width."""
    small = [
        one.convert("RGB").resize((WIDTH, one.height * WIDTH // one.width), Image.Resampling.LANCZOS)
        for one in pictures
    ]
    height = small[0].height
    rows = -(-len(small) // columns)
    both = Image.new(
        "RGB", (columns * WIDTH + (columns - 1) * GAP, rows * height + (rows - 1) * GAP), "white"
    )
    for number, one in enumerate(small):
        both.paste(one, (number % columns * (WIDTH + GAP), number // columns * (height + GAP)))
    both.save(PICTURES / f"{name}.jpg", quality=82, optimize=True)


if __name__ == "__main__":
    main()
