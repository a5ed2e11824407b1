"""Draws the pictures of the pages of `enhance`, `straighten` and `lens`: before, and after the very line that the page shows.

Called by hand when these models have changed: .venv/bin/python docs/photos.py. Each line is run by `burnish enhance` on a data
directory of its own. The photos are scikit-image's (the astronaut is NASA's, in the public domain; the coffee is CC0), spoilt
here; the house front is drawn here, and seen through a lens by Lensfun.
"""

import json
import os
import runpy
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import lensfunpy
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.ExifTags import IFD
from skimage import data

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
_front = runpy.run_path(str(ROOT / "tests" / "engines" / "facade.py"))
STYLES = ("neutral", "authentic", "property", "property_usa", "warm", "modern")
HEIGHT, GAP, LABEL = 380, 6, 34
QUALITY = 84

#: Page -> the line on it, of the file `photo.jpg`.
LINES = {
    "enhance": "burnish enhance photo.jpg -o better/ --model enhance --param style=property",
    "straighten": "burnish enhance photo.jpg -o better/ --model straighten",
    "lens": "burnish enhance photo.jpg -o better/ --model lens",
}


def dull() -> Image.Image:
    """Two stops too dark, in lamplight."""
    unit = data.astronaut() / 255
    light = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4) * np.array(
        [0.27, 0.21, 0.15]
    )
    return Image.fromarray(
        (np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055) * 255).astype(
            np.uint8
        )
    )


def askew() -> Image.Image:
    """Rolled by 4 degrees, and looked up at."""
    return Image.fromarray(_front["seen"](_front["facade"](), 4, -8))


def through_a_lens() -> Image.Image:
    """As a Canon 24-105 mm would take it, with the words that a camera would write."""
    front = _front["seen"](_front["facade"](), 0, 0)
    height, width = front.shape[:2]
    known = lensfunpy.Database()
    camera = known.find_cameras("Canon", "Canon EOS 5D Mark III")[0]
    lens = known.find_lenses(camera, None, "EF24-105mm f/4L IS USM")[0]
    modifier = lensfunpy.Modifier(lens, camera.crop_factor, width, height)
    modifier.initialize(24, 4, 1000.0, 1.0, pixel_format=np.float32, reverse=True)
    where = modifier.apply_geometry_distortion()
    bent: Any = cv2.remap(front, where, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)  # type: ignore[call-overload]
    light = (bent.astype(np.float32) / 255) ** 2.2
    modifier.apply_color_modification(light)
    return Image.fromarray((np.clip(light, 0, 1) ** (1 / 2.2) * 255 + 0.5).astype(np.uint8))


def exif_of_the_lens() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Canon", "Canon EOS 5D Mark III"
    exif[IFD.Exif] = {0x920A: 24.0, 0x829D: 4.0, 0xA434: "EF24-105mm f/4L IS USM"}
    return exif


def run(line: str, photo: Image.Image, home: Path, exif: Image.Exif | None = None) -> Image.Image:
    """The result of a line that is called where `photo.jpg` is."""
    with tempfile.TemporaryDirectory() as folder:
        photo.save(Path(folder) / "photo.jpg", quality=95, exif=exif or Image.Exif())
        command = [sys.executable, "-m", *shlex.split(line), "--data", str(home), "--format", "png"]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("BURNISH_")}
        subprocess.run(command, cwd=folder, env=environ, check=True)
        (made,) = (Path(folder) / "better").glob("photo*.png")
        return Image.open(made).convert("RGB")


def sheet(name: str, panels: Sequence[tuple[str, Image.Image]], across: int, height: int = HEIGHT) -> None:
    """Panels with their labels, as a JPEG of under 150 kB."""
    sized = [
        (label, panel.resize((round(panel.width * height / panel.height), height), Image.Resampling.LANCZOS))
        for label, panel in panels
    ]
    width = max(panel.width for _, panel in sized)
    rows = -(-len(sized) // across)
    whole = Image.new("RGB", (across * width + (across - 1) * GAP, rows * (height + LABEL)), "white")
    draw = ImageDraw.Draw(whole)
    for number, (label, panel) in enumerate(sized):
        left, top = number % across * (width + GAP), number // across * (height + LABEL)
        whole.paste(panel, (left + (width - panel.width) // 2, top))
        draw.text(
            (left + width // 2, top + height + LABEL // 2),
            label,
            fill="black",
            font=ImageFont.load_default(20),
            anchor="mm",
        )
    whole.save(PICTURES / f"{name}.jpg", quality=QUALITY, optimize=True)


def main() -> None:
    """Every picture, from the lines."""
    with tempfile.TemporaryDirectory() as home:
        data_directory = Path(home) / "data"
        photo = dull()
        sheet("enhance", [("before", photo), ("after", run(LINES["enhance"], photo, data_directory))], 2)
        coffee = Image.fromarray(data.coffee())
        line = LINES["enhance"].replace("style=property", "style=")
        styles = [(style, run(line + style, coffee, data_directory)) for style in STYLES]
        sheet("enhance-styles", styles, 3, height=230)
        sheet(
            "straighten",
            [("before", askew()), ("after", run(LINES["straighten"], askew(), data_directory))],
            2,
        )
        bent = through_a_lens()
        sheet(
            "lens",
            [("before", bent), ("after", run(LINES["lens"], bent, data_directory, exif_of_the_lens()))],
            2,
        )
    print(json.dumps({path.name: path.stat().st_size for path in PICTURES.glob("*.jpg")}))


if __name__ == "__main__":
    main()
