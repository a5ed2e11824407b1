"""What a network made is settled with what it was made from: nothing is lost where it adds nothing, and no strip is seen."""

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from burnish.engines.photos import settle
from burnish.engines.photos.settle import _smaller

Pixels = NDArray[Any]


def settled(source: Pixels, made: Pixels, scale: int) -> Pixels:
    result: Pixels = made.copy()
    done = list(settle.settle(source, result, scale))
    assert done == sorted(done)
    assert done[-1] == 1.0
    return result


@pytest.fixture
def made(photo: Pixels) -> Pixels:
    """Twice as large, and worse than it need be: as a network that draws its own texture might have it."""
    large = cv2.resize(photo, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    noise = np.random.default_rng(3).normal(0, 12, large.shape)
    worse: Pixels = np.clip(np.rint(large + noise), 0, 255).astype(np.uint8)
    return worse


@pytest.mark.parametrize("scale", [2, 4, 6, 8])
def test_made_small_again_it_is_nearer_to_what_was_given(photo: Pixels, scale: int) -> None:
    """At every scale."""
    large = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    before, after = (
        np.abs(_smaller(picture.astype(np.float32), scale) - photo).mean()
        for picture in (large, settled(photo, large, scale))
    )
    assert after < before / 2


def test_where_both_say_the_same_plain_resampling_stands(photo: Pixels) -> None:
    """A level more or less is nothing that a network has found."""
    plain = cv2.resize(photo.astype(np.float32), None, fx=2, fy=2, interpolation=cv2.INTER_LANCZOS4)
    near = np.clip(np.rint(plain) + np.random.default_rng(1).integers(-1, 2, plain.shape), 0, 255)
    same = settled(photo, np.clip(np.rint(plain), 0, 255).astype(np.uint8), 2)
    assert np.abs(settled(photo, near.astype(np.uint8), 2).astype(int) - same).max() <= 1


def test_strips_leave_no_seam(photo: Pixels, made: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is cut sees as much round it as it needs."""
    whole = settled(photo, made, 2)
    monkeypatch.setattr(settle, "_STRIP_PIXELS", 1)
    assert np.abs(settled(photo, made, 2).astype(int) - whole).max() <= 1


def test_16_bits_and_gray(photo: Pixels, made: Pixels) -> None:
    """The same, in finer steps."""
    fine = settled(photo.astype(np.uint16) * 257, made.astype(np.uint16) * 257, 2)
    assert np.abs(fine / 257 - settled(photo, made, 2)).max() <= 0.51
    gray = settled(photo[..., :1], made[..., :1], 2)
    assert gray.shape == made[..., :1].shape


def test_its_memory_is_stated() -> None:
    """And does not grow with the height."""
    assert 0 < settle.memory_bytes(100, 2) < settle.memory_bytes(10_000, 2) < 1 << 30
