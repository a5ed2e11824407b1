"""Makes the before and after of `upscale`, `denoise` and `sharpen` with the very lines that their pages show.

Called by hand when the engines have changed, with a service running: BURNISH_API_KEY=… .venv/bin/python docs/picture_clean.py
The photos are scikit-image's (public domain and CC0), made smaller, noisy or blurred here.
"""

import io
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import data

PICTURES = Path(__file__).parent / "pictures"
BURNISH = str(Path(sys.executable).with_name("burnish"))
Pixels = NDArray[np.uint8]


def made(name: str, before: Pixels, *options: str) -> Pixels:
    """What `burnish enhance NAME -o out/ OPTIONS` makes of a picture."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / name, Path(folder) / "out"
        Image.fromarray(before).save(source)
        subprocess.run([BURNISH, "enhance", str(source), "-o", str(out), *options], check=True)
        (result,) = (path for path in out.iterdir() if path.suffix == ".png")
        return np.asarray(Image.open(result).convert("RGB"))


def part(picture: Pixels, left: int, top: int, width: int = 300, height: int = 240) -> Pixels:
    return picture[top : top + height, left : left + width]


def save(name: str, *panels: Pixels) -> None:
    """Side by side."""
    gap = np.full((panels[0].shape[0], 6, 3), 255, np.uint8)
    row = [piece for panel in panels for piece in (panel, gap)][:-1]
    Image.fromarray(np.hstack(row)).save(PICTURES / name, quality=86, optimize=True)


def upscale() -> None:
    """A small noisy JPEG of the astronaut, four times as large: plain, faithful, restored, and her face restored too."""
    small = Image.fromarray(data.astronaut()[:320, 40:420]).resize((171, 144), Image.Resampling.BOX)
    noise = np.random.default_rng(0).normal(0, 6, (144, 171, 3))
    file = io.BytesIO()
    Image.fromarray(np.clip(np.asarray(small) + noise, 0, 255).astype(np.uint8)).save(
        file, "JPEG", quality=60
    )
    before = np.asarray(Image.open(file))
    plain = np.asarray(Image.fromarray(before).resize((684, 576)))
    line = ("--model", "upscale", "--format", "png", "--param", "scale=4", "--param")
    results = [
        made("photo.png", before, *line, "mode=faithful"),
        made("photo.png", before, *line, "mode=restore"),
        made("photo.png", before, *line, "mode=restore", "--param", "faces=restore"),
    ]
    save("upscale.jpg", *(part(picture, 190, 80, 300, 330) for picture in (plain, *results)))


def denoise() -> None:
    """Coffee with noise of 20 levels."""
    clean = data.coffee()
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 20, clean.shape), 0, 255).astype(np.uint8)
    after = made("photo.png", noisy, "--model", "denoise", "--format", "png")
    save("denoise.jpg", *(part(picture, 200, 130) for picture in (noisy, after)))


def sharpen() -> None:
    """Coffee, blurred by a Gaussian of one pixel."""
    blurred = cv2.GaussianBlur(data.coffee(), (0, 0), 1.0)
    after = made("photo.png", blurred, "--model", "sharpen", "--format", "png", "--param", "amount=1.5")
    save("sharpen.jpg", *(part(picture, 200, 130) for picture in (blurred, after)))


if __name__ == "__main__":
    upscale()
    denoise()
    sharpen()
