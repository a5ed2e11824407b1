"""Draws the README's picture: a part of the sample photo, enlarged by resampling and by both modes of `upscale`.

Called by hand when the engines have changed, with a service running: BURNISH_API_KEY=… .venv/bin/python docs/picture.py
"""

import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from burnish.client import Client

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "src" / "burnish" / "samples" / "photo.jpg"
LEFT, TOP, RIGHT, BOTTOM = 317, 222, 423, 329  #: the spoon
SCALE = 4
GAP, LABEL = 6, 40


def main() -> None:
    """Three panels side by side, each with its label."""
    width, height = SCALE * (RIGHT - LEFT), SCALE * (BOTTOM - TOP)
    before = Image.open(PHOTO).crop((LEFT, TOP, RIGHT, BOTTOM))
    panels = {"before, enlarged 4 times": before.resize((width, height), Image.Resampling.BICUBIC)}
    with Client() as client, tempfile.TemporaryDirectory() as folder:
        for mode in ("faithful", "restore"):
            task = client.tasks.run(
                "upscale", {"image": PHOTO, "scale": SCALE, "mode": mode, "format": "png"}
            )
            made = client.outputs.download(task.outputs[0], Path(folder) / f"{mode}.png")
            part = (SCALE * LEFT, SCALE * TOP, SCALE * RIGHT, SCALE * BOTTOM)
            panels[f"after: {mode}"] = Image.open(made).crop(part)
    picture = Image.new("RGB", (3 * width + 2 * GAP, height + LABEL), "white")
    draw = ImageDraw.Draw(picture)
    for number, (label, panel) in enumerate(panels.items()):
        left = number * (width + GAP)
        picture.paste(panel, (left, 0))
        place = (left + width // 2, height + LABEL // 2)
        draw.text(place, label, fill="black", font=ImageFont.load_default(22), anchor="mm")
    picture.save(ROOT / "docs" / "pictures" / "before-after.png", optimize=True)


if __name__ == "__main__":
    main()
