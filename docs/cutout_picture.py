"""Draws the picture of docs/reference/models/cutout.md: the astronaut, cut out by the line that stands there, on black and on white.

Called by hand when the engines have changed: .venv/bin/python docs/cutout_picture.py
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from skimage import data

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "pictures" / "cutout.jpg"
SIDE = 512


def main() -> None:
    """Before, on black, on white, and an edge of each three times as large."""
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.jpg"
        Image.fromarray(data.astronaut()).save(photo, quality=95)
        line = ["enhance", "photo.jpg", "-o", "cut/", "--model", "cutout", "--data", f"{folder}/data"]
        subprocess.run([sys.executable, "-m", "burnish", *line], cwd=folder, check=True)
        (made,) = (Path(folder) / "cut").glob("*.png")
        before, after = Image.open(photo).convert("RGBA"), Image.open(made)
        after.load()
    picture = Image.new("RGB", (3 * SIDE, SIDE + SIDE // 2))
    for number, (colour, shown) in enumerate((("gray", before), ("black", after), ("white", after))):
        whole = Image.new("RGBA", shown.size, colour)
        whole.alpha_composite(shown)
        picture.paste(whole, (number * SIDE, 0))
        hair = whole.crop((140, 8, 311, 94)).resize((SIDE, SIDE // 2), Image.Resampling.BICUBIC)
        picture.paste(hair, (number * SIDE, SIDE))
    picture.save(PICTURE, quality=76, optimize=True)


if __name__ == "__main__":
    main()
