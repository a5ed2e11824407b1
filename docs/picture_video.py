"""Makes the pictures of docs/reference/models/video-*.md by the very lines that stand there: stills, before and after.

Called by hand when those models have changed: .venv/bin/python docs/picture_video.py. The clips are pans over NASA's
photo of Eileen Collins (public domain, from scikit-image), made here; a service is started in a folder that goes again.
"""

import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import data

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "reference" / "models"
PICTURES = ROOT / "docs" / "pictures"
GAP = 8
WIDTH, HEIGHT, FRAMES, RATE = 320, 180, 24, 12

Frame = NDArray[np.uint8]


def main() -> None:
    """One picture for each page."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for model, spoil, still in (
            ("video-upscale", _clean, _enlarged),
            ("video-denoise", _noisy, _same),
            ("video-interpolate", _clean, _between),
        ):
            _write(work / "clip.mp4", spoil)
            line = next(
                line
                for line in (PAGES / f"{model}.md").read_text("utf-8").splitlines()
                if line.startswith("burnish enhance")
            )
            burnish = Path(sys.executable).with_name("burnish")
            out = work / model
            command = [
                str(burnish),
                *shlex.split(line.replace("films/", f"{out}/"))[1:],
                "--data",
                str(work / "data"),
            ]
            subprocess.run(command, cwd=folder, check=True)
            (made,) = out.glob("clip*.mp4")
            still(_read(work / "clip.mp4"), _read(made)).save(PICTURES / f"{model}.jpg", quality=88)


def _write(path: Path, spoil: Callable[[Frame], Frame]) -> None:
    """Two seconds of a pan, three pixels a frame, turned a little."""
    photo = data.astronaut()
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=RATE, options={"crf": "14"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(FRAMES):
            turn = cv2.getRotationMatrix2D((230, 110), 0.5 * number, 1.0)
            turn[:, 2] += (-60 - 3 * number + 36, -20)
            view = np.asarray(cv2.warpAffine(photo, turn, (WIDTH, HEIGHT), flags=cv2.INTER_AREA), np.uint8)
            frame = av.VideoFrame.from_ndarray(spoil(view), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _clean(frame: Frame) -> Frame:
    return frame


_rng = np.random.default_rng(3)


def _noisy(frame: Frame) -> Frame:
    return np.clip(frame + _rng.normal(0, 12, frame.shape), 0, 255).astype(np.uint8)


def _read(path: Path) -> list[Frame]:
    with av.open(str(path), "r") as container:
        return [
            np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            for frame in container.decode(container.streams.video[0])
        ]


def _enlarged(before: list[Frame], after: list[Frame]) -> Image.Image:
    """A part of one frame, twice: resampled, and from the model; each shown three times as large as it was."""
    left, top, width, height = 110, 20, 130, 110
    part = before[8][top : top + height, left : left + width]
    made = after[8][2 * top : 2 * (top + height), 2 * left : 2 * (left + width)]
    return _beside(_sized(part, 4, cv2.INTER_CUBIC), _sized(made, 2, cv2.INTER_CUBIC))


def _same(before: list[Frame], after: list[Frame]) -> Image.Image:
    left, top, width, height = 110, 20, 130, 110
    pair = (film[8][top : top + height, left : left + width] for film in (before, after))
    return _beside(*(_sized(part, 4, cv2.INTER_CUBIC) for part in pair))


def _between(before: list[Frame], after: list[Frame]) -> Image.Image:
    """Halfway between two frames: mixed, and from the model."""
    left, top, width, height = 110, 20, 130, 110
    mixed = ((before[8].astype(int) + before[9]) // 2).astype(np.uint8)
    pair = (frame[top : top + height, left : left + width] for frame in (mixed, after[17]))
    return _beside(*(_sized(part, 4, cv2.INTER_CUBIC) for part in pair))


def _sized(frame: Frame, times: int, how: int) -> Frame:
    return np.asarray(cv2.resize(frame, None, fx=times, fy=times, interpolation=how), np.uint8)


def _beside(one: Frame, other: Frame) -> Image.Image:
    both = Image.new("RGB", (one.shape[1] + GAP + other.shape[1], one.shape[0]), "white")
    both.paste(Image.fromarray(one), (0, 0))
    both.paste(Image.fromarray(other), (one.shape[1] + GAP, 0))
    return both


if __name__ == "__main__":
    main()
