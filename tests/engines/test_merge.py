"""Merging on scenes whose light is known: aligned, without halos and ghosts, and never darker where there is more light."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage import data

from burnish.engines.photos import align, merge

Pixels = NDArray[Any]
Float = NDArray[Any]


def exposed(light: Float, ev: float, kind: type = np.uint8, noise: float = 0.5, seed: int = 0) -> Pixels:
    """What a camera shows of a scene in linear light, 1.0 just white at 0 EV."""
    top = np.iinfo(kind).max
    shown = np.clip(light * 2.0**ev, 0, 1) ** (1 / 2.2) * 255
    shown += np.random.default_rng(seed).normal(0, noise, light.shape)
    levels: Pixels = np.clip(np.round(shown * (top / 255)), 0, top).astype(kind)
    return levels


def merged(
    brackets: Sequence[Pixels], *, deghost: bool = True, windows: bool = False, panorama: bool = False
) -> tuple[merge.Plan, Pixels]:
    plan = merge.prepare(brackets, deghost=deghost, windows=windows, panorama=panorama)
    result = np.zeros_like(brackets[0])
    *_, last = merge.fuse(plan, result)
    assert last == 1.0
    return plan, result


def textured(height: int = 300, width: int = 450) -> Float:
    """A photo, dim, with a part of it eight times as bright: more than one exposure shows."""
    photo = cv2.resize(data.coffee(), (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    light: Float = 0.3 * photo**2.2 + 0.003
    light[height // 6 : height // 2, width // 2 : width * 5 // 6] *= 8
    return light


def turned(light: Float, across: float, down: float, degrees: float) -> tuple[Float, NDArray[np.float64]]:
    """The scene as a camera sees it that has moved; and where the scene's places lie in it, [3, 3]."""
    height, width = light.shape[:2]
    there = np.vstack([cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1), [0, 0, 1]])
    there[:2, 2] += across, down
    seen = cv2.warpAffine(
        light, there[:2], (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    return np.clip(seen, 0, None), there


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_no_halo_where_a_bright_window_meets_a_wall(kind: type) -> None:
    """Surfaces that are flat stay flat up to the edge: within 2 levels of 255, over 6 EV, from 5 brackets."""
    light = np.full((300, 450, 3), 0.04, np.float32)
    light[75:225, 150:300] = 2.5
    _, result = merged([exposed(light, ev, kind) for ev in (-4, -2, 0, 2, 4)])
    rows = result[140:160].mean((0, 2)) * 255 / np.iinfo(kind).max
    wall, window = np.concatenate([rows[8:147], rows[303:-8]]), rows[153:297]
    assert np.ptp(wall) < 2
    assert np.ptp(window) < 2
    assert window.mean() - wall.mean() > 60


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(2, 9),
    step=st.floats(1, 3),
    darkest=st.floats(-8, 0),
)
def test_more_light_never_comes_out_darker(count: int, step: float, darkest: float) -> None:
    """Along a slope of light on which the brackets blow and drown one after the other."""
    evs = [darkest + step * number for number in range(count)]
    stops = np.linspace(-evs[-1] - 6, -evs[0] + 1, 700, dtype=np.float32)
    light = np.repeat((2.0**stops)[None, :, None], 3, axis=2)
    levels = [np.clip(light * 2.0**ev, 0, 1)[..., 0] ** (1 / 2.2) for ev in evs]
    weights = [merge.weighed(level.astype(np.float32)) for level in levels]
    blend = sum(w * level for w, level in zip(weights, levels, strict=True)) / sum(weights)
    smooth = cv2.blur(blend, (9, 1))[0]  # weights come in 256 steps
    assert np.diff(smooth).min() > -1e-3


@pytest.mark.parametrize("moved", [(0, 0, 0), (9, -5, 0), (4.5, 3.25, 0.5), (-7.3, 6.6, -0.5)])
@pytest.mark.parametrize("ev", [-3, 3])
def test_moves_are_found_to_a_fraction_of_a_pixel(moved: tuple[float, float, float], ev: float) -> None:
    """Shifts, and turns of half a degree, between exposures 3 EV apart: every corner within 0.2 pixels."""
    light = textured()
    seen, there = turned(light, *moved)
    luma = [cv2.cvtColor(exposed(one, e), cv2.COLOR_RGB2GRAY) for one, e in ((light, 0), (seen, ev))]
    move, agreed = align.found(luma[0], luma[1])
    assert agreed
    height, width = light.shape[:2]
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], np.float64)
    true = corners @ there[:2].T
    assert np.abs(corners @ (np.eye(2, 3) if move is None else move).T - true).max() < 0.2


def test_what_has_nothing_in_common_is_not_moved_and_said() -> None:
    """A bracket of another scene is laid on as it is, and the client hears of it."""
    noise = np.random.default_rng(1).integers(0, 255, (300, 450, 3), np.uint8)
    plan, _ = merged([exposed(textured(), 0), cv2.GaussianBlur(noise, (0, 0), 3)], deghost=False)
    assert all(bracket.move is None for bracket in plan.brackets)
    assert "laid on it as they are" in plan.notes["alignment"]


def moving(ev: float, place: int) -> Pixels:
    light = textured()
    cv2.circle(light, (80 + 60 * place, 240), 22, (0.05, 0.3, 0.6), -1)
    return exposed(light, ev, seed=place)


def test_what_moves_is_shown_once() -> None:
    """A ball in another place in each bracket: where it was in the reference, and nowhere else."""
    brackets = [moving(ev, place) for place, ev in enumerate((-3, 0, 3))]
    plan, result = merged(brackets)
    assert "moved" in plan.notes["ghosts"]
    _, truth = merged([moving(ev, plan.reference) for ev in (-3, 0, 3)])
    _, ghosts = merged(brackets, deghost=False)
    error, without = (np.abs(one.astype(int) - truth).max(2) for one in (result, ghosts))
    assert np.percentile(error, 99) < 16
    assert np.percentile(without, 99) > 60


def test_nothing_is_taken_for_moved_where_nothing_has() -> None:
    """Noise, blown light and a camera that moved by parts of a pixel are no ghosts."""
    light = textured()
    shaken, _ = turned(light, 3.4, -2.7, 0.3)
    plan, _ = merged(
        [exposed(light, 0, noise=2), exposed(light, -2, noise=2, seed=1), exposed(shaken, 2, noise=2, seed=2)]
    )
    assert "ghosts" not in plan.notes


def test_windows_are_pulled_from_the_darker_brackets() -> None:
    """What is blown in the reference shows its texture; the wall beside it stays as it was."""
    light = np.full((300, 450, 3), 0.12, np.float32)
    light[60:240, 150:300] = 6.0 * (1 + 0.3 * np.sin(np.arange(150) / 2))[None, :, None]
    brackets = [exposed(light, ev) for ev in (-4, -2, 0, 2)]
    plan, pulled = merged(brackets, windows=True)
    _, plain = merged(brackets)
    assert plan.windows is not None
    inside, wall = np.s_[70:230, 160:290], np.s_[70:230, 10:140]
    assert pulled[inside].std() > 1.5 * plain[inside].std()
    assert np.abs(pulled[wall].astype(int) - plain[wall]).mean() < 12
    assert np.ptp(pulled[140:160, 8:147].mean((0, 2))) < 2.5


def test_rows_are_the_same_however_they_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """No strip shows: aligned, turned and deghosted brackets in strips of 7 rows and in one. OpenCV reads a turned picture
    at 32nds of a pixel, so that a texture may differ by some levels.
    """
    light = textured()
    shaken, _ = turned(light, 3.4, -2.7, 0.5)
    ball = moving(0, 1)
    brackets = [exposed(light, -2), ball, exposed(shaken, 2)]
    _, whole = merged(brackets)
    monkeypatch.setattr(merge, "_STRIP_PIXELS", 450 * 7)
    _, strips = merged(brackets)
    error = np.abs(whole.astype(int) - strips)
    assert error.mean() < 0.05
    assert error.max() <= 6


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_every_kind_of_pixels_is_merged(channels: int, kind: type) -> None:
    """Gray and colour, 8 and 16 bits, with alpha and without, come out alike."""
    light = textured(90, 140)
    gray = light.mean(2, keepdims=True).repeat(3, 2)
    brackets = []
    for ev in (-2, 0, 2):
        colours = exposed(gray, ev, kind, noise=0)[..., : 1 if channels <= 2 else 3]
        alpha = np.full((*colours.shape[:2], channels - colours.shape[2]), np.iinfo(kind).max, kind)
        brackets.append(np.concatenate([colours, alpha], axis=2))
    plan = merge.prepare(brackets, deghost=True, windows=False)
    result: Pixels = np.zeros((90, 140, 1 if channels <= 2 else 3), kind)
    for _ in merge.fuse(plan, result):
        pass
    _, plain = merged([exposed(gray, ev, noise=0) for ev in (-2, 0, 2)])
    shown = result.astype(float) * 255 / np.iinfo(kind).max
    assert np.abs(shown - plain[..., : result.shape[2]]).max() < 3


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1, 200), (5, 5)])
def test_the_smallest_pictures_are_merged(size: tuple[int, int]) -> None:
    """There is nothing to align in them, and nothing breaks."""
    rng = np.random.default_rng(3)
    for panorama in (False, True):
        sources = [rng.integers(0, 255, (*size, 3), np.uint8) for _ in range(2)]
        _, result = merged(sources, windows=True, panorama=panorama)
        assert result.shape == (*size, 3)


def test_a_slope_of_light_comes_out_smooth() -> None:
    """No two neighbours differ by more than 3 levels, and it never falls by more than 3 from where it was."""
    slope = np.tile((2.0 ** np.linspace(-7, 1, 900, dtype=np.float32))[None, :, None], (60, 1, 3))
    _, result = merged([exposed(slope, ev, noise=0) for ev in (-2, 0, 2)])
    row = result[30, :, 0].astype(int)
    assert np.abs(np.diff(row)).max() <= 3
    assert (np.maximum.accumulate(row) - row).max() <= 3


def all_round(turn: int) -> list[Pixels]:
    """Three brackets of a panorama, 200 by 400, cut at another place for each `turn`: the middle one is seen 5.5 pixels
    further to the right and 3 lower, a ball has moved in another, and a window hangs over the edges for `turn` 0.
    """
    half = textured(200, 200)
    light = np.hstack([half, half[:, ::-1]])
    light[60:140, 180:230] = 6.0 * (1 + 0.3 * np.sin(np.arange(50) / 2))[None, :, None]
    moved = light.copy()
    cv2.circle(moved, (215, 165), 14, (0.05, 0.3, 0.6), -1)
    shifted = np.roll(np.roll(light, 6, 1) / 2 + np.roll(light, 5, 1) / 2, 3, 0)
    return [
        exposed(np.roll(scene, 200 + turn, 1), ev, noise=0)
        for scene, ev in ((light, -3), (shifted, 0), (moved, 2))
    ]


@pytest.mark.parametrize("windows", [False, True])
def test_a_panorama_has_no_seam(windows: bool) -> None:
    """Wherever it is cut, the same comes out, so that its edges are as any two columns; those of a photo would not be."""
    plan, made = merged(all_round(0), windows=windows, panorama=True)
    assert sum(bracket.move is None for bracket in plan.brackets) < 3
    assert plan.shown_windows is None or plan.shown_windows.shape == (200, 400)
    assert (plan.windows is not None) == windows
    _, plain = merged(all_round(0), windows=windows)
    for turn in (90, 190):
        _, there = merged(all_round(turn), windows=windows, panorama=True)
        _, photo = merged(all_round(turn), windows=windows)
        edges = (np.arange(-10, 10) + turn) % 400
        round_, flat = (
            np.abs(np.roll(one, turn, 1).astype(int) - other)[:, edges].mean()
            for one, other in ((made, there), (plain, photo))
        )
        assert round_ < 0.2
        assert flat > 5 * round_
    between = [np.abs(one[:, 0].astype(int) - one[:, -1]).mean() for one in (made, *all_round(0))]
    assert between[0] < max(between[1:])
