"""Scenes whose truth is known, for tests and benches: skies behind trees and roofs, and masks of photos."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from skimage import data

from burnish.engines.photos import skies

Pixels = NDArray[Any]


def exposed(light: Pixels, ev: float, kind: type = np.uint8, noise: float = 0.5, seed: int = 0) -> Pixels:
    """What a camera shows of a scene in linear light, 1.0 just white at 0 EV."""
    top = np.iinfo(kind).max
    shown = np.clip(light * 2.0**ev, 0, 1) ** (1 / 2.2) * 255
    shown += np.random.default_rng(seed).normal(0, noise, light.shape)
    levels: Pixels = np.clip(np.round(shown * (top / 255)), 0, top).astype(kind)
    return levels


def interior(height: int = 600, width: int = 900) -> Pixels:
    """A room in linear light, [H, W, 3]: walls, a floor, a picture, a sofa, and a window to a lawn under an overcast sky."""
    down, across = np.mgrid[0:height, 0:width].astype(np.float32)
    fall = 0.10 + 0.5 * np.exp(
        -(((across - width * 0.62) / (width * 0.35)) ** 2) - ((down - height * 0.45) / (height * 0.6)) ** 2
    )
    light: Pixels = np.empty((height, width, 3), np.float32)
    light[:] = (0.62, 0.58, 0.52)
    wood = cv2.resize(data.brick().astype(np.float32) / 255, (width, height))[..., None]
    floor = down > height * 0.78
    light[floor] = (np.array([0.42, 0.27, 0.16]) * (0.6 + 0.8 * wood))[floor]
    light *= fall[..., None]
    top, left, high, wide = int(height * 0.2), int(width * 0.08), int(height * 0.3), int(width * 0.25)
    light[top - 6 : top + high + 6, left - 6 : left + wide + 6] = 0.02
    art = cv2.resize(data.coffee(), (wide, high), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    light[top : top + high, left : left + wide] = 0.35 * art**2.2
    for first, last, colour in ((0.68, 0.88, (0.02, 0.05, 0.08)), (0.60, 0.70, (0.03, 0.07, 0.11))):
        cv2.rectangle(
            light, (int(width * 0.1), int(height * first)), (int(width * 0.4), int(height * last)), colour, -1
        )
    top, left, high, wide = int(height * 0.12), int(width * 0.47), int(height * 0.5), int(width * 0.42)
    outside, _, _ = under_the_sky("overcast", 4, high, wide)
    light[top - 11 : top + high + 11, left - 11 : left + wide + 11] = 0.35
    light[top : top + high, left : left + wide] = 8 * outside**2.2
    for part in (1, 2):
        light[top : top + high, left + wide * part // 3 - 5 : left + wide * part // 3 + 5] = 0.3
    light[top + high // 2 - 4 : top + high // 2 + 4, left : left + wide] = 0.3
    return cv2.GaussianBlur(light, (0, 0), 0.6)


def under_the_sky(kind: str, seed: int, height: int = 400, width: int = 600) -> tuple[Pixels, Pixels, Pixels]:
    """A house, a lawn and a bare tree before a sky: `overcast`, or a kind of `skies`.

    Returns:
        The picture, float32 [H, W, 3]; how much of each pixel is sky, [H, W]; what stands before the sky, [H, W, 3].
    """
    rng = np.random.default_rng(seed)
    if kind == "overcast":
        soft = cv2.resize(
            rng.normal(0, 1, (8, 12)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
        )
        sky: Pixels = np.clip(0.88 + 0.03 * soft[..., None] + np.array([-0.01, 0, 0.015]), 0, 1)
    else:
        sky = skies.sky(kind, height, width, height * 0.75, seed + 50)  # type: ignore[arg-type]
    solid: Pixels = np.zeros((2 * height, 2 * width), np.float32)
    left, eaves = int(width * rng.uniform(0.8, 1.0)), int(height * 0.95)
    house = [(left, eaves), (left + width // 3, eaves - height // 4), (left + 2 * width // 3, eaves)]
    house += [(left + 2 * width // 3, 2 * height), (left, 2 * height)]
    cv2.fillPoly(solid, [np.array(house, np.int32)], 1.0, cv2.LINE_AA)
    lawn = (height * 1.45 + 12 * np.sin(np.arange(2 * width) / 80)).astype(int)
    _branch(solid, rng, (width * 0.35, height * 1.5), -np.pi / 2, height * 0.33, 12.0)
    solid[np.arange(2 * height)[:, None] > lawn[None]] = 1
    solid = cv2.resize(cv2.GaussianBlur(solid, (0, 0), 1.0), (width, height), interpolation=cv2.INTER_AREA)
    bricks = cv2.resize(data.brick().astype(np.float32) / 255, (width, height))[..., None]
    grass = cv2.resize(data.grass().astype(np.float32) / 255, (width, height))[..., None]
    before: Pixels = np.array([0.55, 0.40, 0.33], np.float32) * (0.4 + 0.8 * bricks)
    before[:, : int(width * 0.38)] = (np.array([0.16, 0.13, 0.10]) * (0.7 + 0.5 * bricks))[
        :, : int(width * 0.38)
    ]
    below = np.arange(height)[:, None] > lawn[None, ::2] // 2
    before[below] = (np.array([0.20, 0.32, 0.12]) * (0.5 + 1.2 * grass))[below]
    picture = (
        solid[..., None] * before + (1 - solid[..., None]) * sky + rng.normal(0, 0.008, (height, width, 3))
    )
    return np.clip(picture, 0, 1).astype(np.float32), 1 - solid, before


def _branch(
    solid: Pixels, rng: np.random.Generator, at: tuple[float, float], way: float, length: float, thick: float
) -> None:
    if length < 14:
        return
    end = at[0] + length * np.cos(way), at[1] + length * np.sin(way)
    ends = [tuple(int(16 * value) for value in place) for place in (at, end)]
    cv2.line(solid, ends[0], ends[1], 1.0, max(1, round(thick)), cv2.LINE_AA, 4)
    for _ in range(3):
        _branch(solid, rng, end, way + rng.normal(0, 0.5), length * rng.uniform(0.55, 0.75), thick * 0.6)


def cameraman_sky() -> tuple[Pixels, Pixels]:
    """scikit-image's `camera` as float32 [512, 512, 3], and its sky, bool.

    The mask: what is at least as bright as 175 after a median of 3 x 3 and hangs together with the top row; from which
    the camera's body and the white buildings at the horizon were taken out by hand, as polygons.
    """
    photo = data.camera()
    _, pieces = cv2.connectedComponents((cv2.medianBlur(photo, 3) >= 175).astype(np.uint8), connectivity=4)
    sky = (np.isin(pieces, np.unique(pieces[0])) & (pieces > 0)).astype(np.uint8)
    tower = [(412, 132), (422, 128), (423, 119), (432, 119), (434, 200), (412, 200)]
    others = [(0, 172), (55, 172), (55, 200), (0, 200)], [(254, 138), (326, 138), (326, 186), (254, 186)]
    skyline = [(330, 173), (345, 173), (360, 166), (388, 168), (412, 192), (450, 192), (451, 168), (471, 168)]
    skyline += [(471, 178), (511, 187), (511, 260), (330, 260)]
    for polygon in (tower, *others, skyline):
        cv2.fillPoly(sky, [np.array(polygon, np.int32)], 0)
    return np.repeat(photo[..., None], 3, 2).astype(np.float32) / 255, sky > 0


def overlap(one: Pixels, other: Pixels) -> float:
    """Intersection over union of two masks."""
    return float((one & other).sum() / (one | other).sum())


def plate(rng: np.random.Generator, width: int) -> Pixels:
    """A number plate seen from the front, [H, W, 3] uint8: dark on white or yellow, or white on blue, with a border."""
    letters = (
        "".join(rng.choice(list("ABCDEFGHJKLMNPRSTUVWXYZ"), 2)),
        "".join(rng.choice(list("0123456789"), rng.integers(3, 5))),
    )
    words = f"{letters[0]} {letters[1]}" + (
        "" if rng.random() < 0.5 else " " + "".join(rng.choice(list("ABCDEFH"), 2))
    )
    ground, ink = [
        ((240, 240, 235), (20, 20, 25)),
        ((240, 200, 40), (15, 15, 15)),
        ((25, 50, 140), (240, 240, 240)),
    ][rng.choice(3, p=[0.7, 0.15, 0.15])]
    high = 110
    font = ImageFont.load_default(84)
    long = round(font.getlength(words)) + 70
    drawn = Image.new("RGB", (long, high), ground)
    draw = ImageDraw.Draw(drawn)
    draw.rectangle((2, 2, long - 3, high - 3), outline=ink, width=4)
    draw.text((long / 2, high / 2), words, fill=ink, font=font, anchor="mm")
    return np.asarray(drawn.resize((width, round(width * high / long)), Image.Resampling.LANCZOS))


def with_plate(photo: Pixels, rng: np.random.Generator, width: int) -> tuple[Pixels, Pixels]:
    """A photo with a plate laid on it in perspective, on a patch of plain car; and the plate's corners, [4, 2]."""
    made, shown = photo.copy(), plate(rng, width)
    high = shown.shape[0]
    turn, tilt = rng.uniform(-0.18, 0.18), rng.uniform(0.72, 1.0)
    flat = np.array([[0, 0], [width, 0], [width, high], [0, high]], np.float32)
    middle = np.array([width / 2, high / 2])
    squeezed = (flat - middle) * (tilt, 1.0) + rng.uniform(-0.06, 0.06, (4, 2)) * high
    turned = squeezed @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    room = np.array(photo.shape[1::-1]) - np.ptp(turned, axis=0) - 40
    corners = (turned - turned.min(0) + 20 + rng.uniform(0, 1, 2) * np.maximum(room, 1)).astype(np.float32)
    body = np.array([rng.integers(30, 200)] * 3) + rng.integers(-15, 15, 3)
    around = (corners - corners.mean(0)) * (1.35, 1.9) + corners.mean(0)
    cv2.fillConvexPoly(
        made, np.round(around).astype(np.int32), [int(value) for value in np.clip(body, 0, 255)], cv2.LINE_AA
    )
    move = cv2.getPerspectiveTransform(flat, corners)
    size = (photo.shape[1], photo.shape[0])
    laid = cv2.warpPerspective(shown, move, size, flags=cv2.INTER_AREA).astype(np.float32)
    share = cv2.warpPerspective(np.ones(shown.shape[:2], np.float32), move, size)[..., None]
    picture = made * (1 - share) + laid * share
    picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 0.9)) + rng.normal(0, 3, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8), corners
