"""Makes what the pages of `group` and `moderate` show, whose results are words: the pictures that are sent, and the JSON that
came back, by the very line of the page. Both are written into the page, the JSON in place of the first block of it.

Called by hand when these models have changed: .venv/bin/python docs/picture_told.py [group] [moderate]. `moderate` wants its
network: .venv/bin/pip install --no-deps -r requirements/moderation.txt. The photos are scikit-image's (the astronaut is NASA's,
in the public domain; the coffee is CC0); the scenes are those of the tests.
"""

import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from PIL.ExifTags import IFD
from skimage import data

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
GAP, LABEL = 6, 28
#: Which scene each file of the pile shows, at which exposure (EV), as somebody mixed them up.
PILE = ((0, 0), (1, -2), (0, 2), (2, 0), (1, 2), (0, -2), (1, 0))

scenes: dict[str, Any] = runpy.run_path(str(ROOT / "tests" / "scenes.py"))


def main() -> None:
    """Those that are named, or both."""
    for name in sys.argv[1:] or ("group", "moderate"):
        {"group": group, "moderate": moderate}[name]()


def group() -> None:
    """A room and a house in three exposures each, and a cup of coffee, with the words that a camera writes."""
    house, _, _ = scenes["under_the_sky"]("overcast", 1)
    lights = [scenes["interior"](400, 600), house**2.2, (data.coffee() / 255) ** 2.2]
    photos = [Image.fromarray(scenes["exposed"](lights[scene], ev)) for scene, ev in PILE]
    with tempfile.TemporaryDirectory() as folder:
        pile = Path(folder, "photos")
        pile.mkdir()
        for number, (photo, (scene, ev)) in enumerate(zip(photos, PILE, strict=True)):
            photo.save(pile / f"{number}.jpg", quality=92, exif=words(scene, ev))
        told = run("group", Path(folder))
    sheet("group", [(str(number), photo) for number, photo in enumerate(photos)], across=4)
    write("group", told)


def words(scene: int, ev: int) -> Image.Exif:
    """When, and how long it was exposed: scenes are a minute apart, brackets a second."""
    exif = Image.Exif()
    exif[0x0110] = "Camera"
    at = datetime.fromisoformat("2026-03-01T10:00:00") + timedelta(minutes=scene, seconds=ev)
    exif[IFD.Exif] = {
        0x9003: at.strftime("%Y:%m:%d %H:%M:%S"),
        0x829A: 0.02 * 2.0**ev,
        0x829D: 8.0,
        0x8827: 100,
    }
    return exif


def moderate() -> None:
    """A plain portrait, and the same with what was found drawn in."""
    photo = Image.fromarray(data.astronaut())
    with tempfile.TemporaryDirectory() as folder:
        photo.save(Path(folder, "photo.jpg"), quality=95)
        told = run("moderate", Path(folder))
    found = photo.copy()
    for label in told["labels"]:
        left, top, width, height = label["box"]
        ImageDraw.Draw(found).rectangle((left, top, left + width, top + height), outline=(0, 255, 0), width=4)
    sheet("moderate", [("photo.jpg", photo), ("what was found", found)], across=2, width=320)
    write("moderate", told)


def run(model: str, folder: Path) -> dict[str, Any]:
    """What the page's line told, called in this folder on a data directory of its own."""
    line = next(
        line for line in page(model).read_text("utf-8").splitlines() if line.startswith("burnish enhance")
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith("BURNISH_")}
    command = [sys.executable, "-m", *shlex.split(line), "--data", str(folder / "data")]
    subprocess.run(command, cwd=folder, env=environ, check=True)
    (file,) = (path for path in folder.rglob("*.json") if path.parent.name in ("sets", "found"))
    told: dict[str, Any] = json.loads(file.read_bytes())
    return told


def page(model: str) -> Path:
    return ROOT / "docs" / "reference" / "models" / f"{model}.md"


def write(model: str, told: dict[str, Any]) -> None:
    """The JSON into its page."""
    text = page(model).read_text("utf-8")
    block = f"```json\n{json.dumps(told)}\n```"
    text, count = re.subn(r"```json\n.*?\n```", lambda _: block, text, count=1, flags=re.DOTALL)
    assert count, f"{page(model)} has no block of JSON."
    page(model).write_text(text, "utf-8")
    print(model, json.dumps(told))


def sheet(name: str, panels: list[tuple[str, Image.Image]], across: int, width: int = 200) -> None:
    """Small pictures in rows, each with its label below."""
    small = [
        (label, one.resize((width, one.height * width // one.width), Image.Resampling.LANCZOS))
        for label, one in panels
    ]
    height = max(one.height for _, one in small)
    rows = -(-len(small) // across)
    whole = Image.new("RGB", (across * (width + GAP) - GAP, rows * (height + LABEL)), "white")
    draw, font = ImageDraw.Draw(whole), ImageFont.load_default(18)
    for number, (label, one) in enumerate(small):
        left, top = number % across * (width + GAP), number // across * (height + LABEL)
        whole.paste(one, (left, top))
        draw.text(
            (left + width // 2, top + one.height + LABEL // 2), label, fill="black", font=font, anchor="mm"
        )
    whole.save(PICTURES / f"{name}.jpg", quality=84, optimize=True)


if __name__ == "__main__":
    main()
