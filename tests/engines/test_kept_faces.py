"""`restore` keeps small faces: there the picture is the faithful one, and it says so."""

from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from burnish.engines.networks.device import Device
from burnish.engines.networks.tiled import load as load_tiled
from burnish.engines.runners.upscale import Upscaler, load
from burnish.engines.wire import Picture, Shot
from burnish.engines.work import Work

Pixels = NDArray[Any]


@pytest.fixture(scope="module")
def device() -> Device:
    return Device(2, "auto")


@pytest.fixture(scope="module")
def upscaler(device: Device) -> Upscaler:
    return load(device)


@pytest.fixture(scope="module")
def portrait() -> Pixels:
    """The astronaut, her face 36 pixels wide, at 66 to 102 across and 30 to 66 down."""
    head = data.astronaut()[:300, 30:430]
    small: Pixels = cv2.resize(head, None, fx=0.35, fy=0.35, interpolation=cv2.INTER_AREA)
    return small


def run(upscaler: Upscaler, pixels: Pixels, scale: int, **wanted: object) -> tuple[Pixels, dict[str, str]]:
    height, width, channels = pixels.shape
    made = np.zeros((height * scale, width * scale, channels), pixels.dtype)
    params = msgspec.msgpack.encode({"image": "upload", "scale": scale, **wanted})
    work = Work(params, (pixels,), (Shot(),), (made,))
    done = list(upscaler.run(work))
    assert done == sorted(done)
    assert done[-1] == 1.0
    picture = Picture(width, height, channels, pixels.dtype.itemsize * 8)  # type: ignore[arg-type]
    assert upscaler.memory_bytes(params, [picture]) > 0
    return made, work.notes


@pytest.mark.parametrize("scale", [1, 2, 4, 6])
def test_a_small_face_is_the_faithful_one(upscaler: Upscaler, portrait: Pixels, scale: int) -> None:
    """Inside the face exactly that; far from it what restoring makes; told in the notes."""
    kept, notes = run(upscaler, portrait, scale, mode="restore")
    faithful, _ = run(upscaler, portrait, scale, mode="faithful")
    redrawn, quiet = run(upscaler, portrait, scale, mode="restore", faces="restore")
    face = (slice(38 * scale, 60 * scale), slice(60 * scale, 76 * scale))
    assert np.abs(kept[face].astype(int) - faithful[face]).max() <= 2
    assert np.abs(kept[face].astype(int) - redrawn[face]).max() > 20
    assert (kept[:, -20 * scale :] == redrawn[:, -20 * scale :]).all()
    assert "faces: restore" in notes["faces"]
    assert quiet == {}


def test_the_kept_face_fades_into_its_surroundings(upscaler: Upscaler, portrait: Pixels) -> None:
    """Nowhere is the kept picture farther from the restored one than the faithful one is: nothing but a mixture."""
    kept, _ = run(upscaler, portrait, 2, mode="restore")
    faithful, _ = run(upscaler, portrait, 2, mode="faithful")
    redrawn, _ = run(upscaler, portrait, 2, mode="restore", faces="restore")
    low, high = np.minimum(faithful, redrawn).astype(int), np.maximum(faithful, redrawn).astype(int)
    inside = (kept >= low - 3) & (kept <= high + 3)
    assert inside.mean() > 0.999
    moved = np.abs(kept.astype(int) - redrawn).max(2) > 3
    rows, columns = np.nonzero(moved)
    assert rows.min() > 0
    assert columns.max() < 2 * 130


def test_a_large_face_is_restored(upscaler: Upscaler) -> None:
    """Of faces from 128 pixels on nothing is kept, and nothing is said."""
    large = cv2.resize(data.astronaut()[20:220, 130:330], None, fx=1.7, fy=1.7, interpolation=cv2.INTER_CUBIC)
    made, notes = run(upscaler, large, 1, mode="restore")
    assert notes == {}
    assert (made == run(upscaler, large, 1, mode="restore", faces="restore")[0]).all()


@pytest.mark.parametrize("kind", ["gray", "alpha", "16"])
def test_faces_are_kept_in_every_kind_of_picture(upscaler: Upscaler, portrait: Pixels, kind: str) -> None:
    """Gray, transparent and of 16 bits; transparency is not touched."""
    pixels = {
        "gray": np.ascontiguousarray(portrait[..., 1:2]),
        "alpha": np.dstack([portrait, np.full(portrait.shape[:2], 255, np.uint8)]),
        "16": portrait.astype(np.uint16) * 257,
    }[kind]
    made, notes = run(upscaler, pixels, 2, mode="restore")
    assert "small face" in notes["faces"]
    assert made.dtype == pixels.dtype
    if kind == "alpha":
        assert (made[..., 3] == 255).all()


def test_without_the_detector_it_says_so(device: Device, portrait: Pixels) -> None:
    """Where its weights are not installed, pictures are restored all the same."""
    _, notes = run(Upscaler(load_tiled(device), None), portrait[:40, :40], 2, mode="restore")
    assert "not installed" in notes["faces"]
