"""Skies on scenes whose truth is known: found, left alone where there is none, replaced without a fringe."""

from typing import Any

import cv2
import numpy as np
import pytest
from skimage import data

from burnish.engines.photos import skies, sky
from scenes import cameraman_sky, overlap, under_the_sky


@pytest.mark.parametrize(("kind", "least"), [("overcast", 0.85), ("clear", 0.93), ("high_cloud", 0.85)])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_sky_is_found_behind_trees_and_roofs(kind: str, least: float, seed: int) -> None:
    """By its share of each pixel, twigs and all."""
    picture, truth, _ = under_the_sky(kind, seed)
    found = sky.find(picture)
    assert found is not None
    assert overlap(found.share > 0.5, truth > 0.5) > least


def test_the_sky_of_a_photo_is_found() -> None:
    """Gray as it is: scikit-image's `camera`, against a mask made by hand. A white tower and some
    roofs at its horizon are as bright, and are taken for sky.
    """
    photo, truth = cameraman_sky()
    found = sky.find(photo)
    assert found is not None
    assert overlap(found.share > 0.5, truth) > 0.9


@pytest.mark.parametrize(
    "name", ["astronaut", "coffee", "chelsea", "retina", "page", "logo", "rocket", "brick"]
)
def test_where_no_sky_is_sure_the_picture_stays(name: str) -> None:
    """Curtains, white cloth, print and a night sky full of lattices."""
    photo = getattr(data, name)()
    photo = np.repeat(photo[..., None], 3, 2) if photo.ndim == 2 else photo[..., :3]
    rgb = cv2.resize(photo, (450, 360), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    same, note = sky.replace_sky(rgb, "clear", 1)
    assert note == sky.NO_SKY
    assert same is rgb


def test_a_white_ceiling_is_no_sky() -> None:
    """A room: bright above, walls below that are nearly as bright, furniture."""
    room = np.full((300, 400, 3), 0.86, np.float32)
    room[:90] = 0.95
    room[210:] = (0.45, 0.33, 0.22)
    room[150:250, 60:200] = (0.2, 0.25, 0.3)
    assert sky.find(cv2.GaussianBlur(room, (0, 0), 1)) is None


@pytest.mark.parametrize("kind", ["clear", "low_cloud", "high_cloud"])
def test_a_new_sky_leaves_no_fringe(kind: skies.Kind) -> None:
    """Where twigs and roofs meet the sky, the pixels are those of what stands there and of the new sky, in their shares."""
    picture, truth, before = under_the_sky("overcast", 1)
    found = sky.find(picture)
    assert found is not None
    made, note = sky.replace_sky(picture, kind, 5)
    assert note == ""
    new = sky._matched(sky._new(found, kind, 5, *truth.shape), found)
    share = truth[..., None]
    true = (1 - share) * before + share * cv2.resize(new, truth.shape[::-1])
    roof = np.s_[:, 250:]
    mixed = ((truth > 0.1) & (truth < 0.9))[roof]
    assert np.abs(made - true)[roof][mixed].mean() < 0.06
    assert (
        np.percentile((made - true)[roof][mixed].max(1), 95) < 0.15
    )  # brighter than it should be: the old sky
    ground = (truth < 0.01)[250:]
    assert np.abs(made - picture)[250:][ground].max() < 0.02


def test_a_seed_is_a_sky() -> None:
    """The same one gives the same, another one another."""
    one, same, other = (skies.sky("low_cloud", 60, 90, 70, seed) for seed in (4, 4, 5))
    assert np.array_equal(one, same)
    assert np.abs(one - other).mean() > 0.01
    assert one.min() >= 0
    assert one.max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1, 300), (40, 1)])
def test_the_smallest_pictures_are_looked_at(size: tuple[int, int]) -> None:
    """Nothing breaks, whatever is found."""
    rgb = np.random.default_rng(1).uniform(0, 1, (*size, 3)).astype(np.float32)
    for panorama in (False, True):
        made, _ = sky.replace_sky(rgb, "high_cloud", 1, panorama=panorama)
        assert made.shape == rgb.shape


def test_only_within_a_window() -> None:
    """What lies outside of the window is not touched."""
    outside, _, _ = under_the_sky("overcast", 2)
    room = np.full((600, 900, 3), 0.4, np.float32)
    room[100:500, 150:750] = outside
    window = np.zeros((600, 900), np.float32)
    window[100:500, 150:750] = 1
    made, note = sky.replace_sky(room, "clear", 1, within=window)
    assert note == ""
    assert np.abs(made - room)[window == 0].max() == 0
    assert np.abs(made - room)[110:150, 600:740].mean() > 0.05


def all_round(seed: int = 3) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A panorama, 300 by 900, and how much of each pixel is sky: a scene and its mirror image, turned so that the edges lie
    in the middle of a tree.
    """
    picture, truth, _ = under_the_sky("overcast", seed, 300, 450)
    picture, truth = np.hstack([picture, picture[:, ::-1]]), np.hstack([truth, truth[:, ::-1]])
    return np.roll(picture, 310, 1), np.roll(truth, 310, 1)


def seam(picture: np.ndarray[Any, Any]) -> tuple[float, float]:
    """How far the edges are from each other, and the most that columns beside each other are."""
    between = np.abs(np.diff(picture, axis=1)).reshape(len(picture), picture.shape[1] - 1, -1).mean((0, 2))
    return float(np.abs(picture[:, 0] - picture[:, -1]).mean()), float(between.max())


@pytest.mark.parametrize("kind", ["clear", "low_cloud", "high_cloud"])
def test_a_panorama_has_no_seam_in_its_sky(kind: skies.Kind) -> None:
    """Its edges are as near to each other as columns are; taken for a photo, they are not."""
    picture, _ = all_round()
    made, note = sky.replace_sky(picture, kind, 5, panorama=True)
    assert note == ""
    for looked_at in (made, made - picture):
        edges, most = seam(looked_at)
        assert edges < most
    plain, _ = sky.replace_sky(picture, kind, 5)
    assert seam(plain - picture)[0] > 2.5 * seam(made - picture)[0]


def test_a_panorama_has_the_same_sky_wherever_it_is_cut() -> None:
    """What is sky, and how much of each pixel, does not depend on where the edges are."""
    picture, truth = all_round()
    found = sky.find(picture, panorama=True)
    assert found is not None
    assert overlap(found.share > 0.5, truth > 0.5) > 0.9
    for turn in (100, 450, 777):
        turned = sky.find(np.roll(picture, turn, 1), panorama=True)
        assert turned is not None
        shares = turned.share, np.roll(found.share, turn, 1)
        assert overlap(shares[0] > 0.5, shares[1] > 0.5) > 0.98
        edges, most = seam(turned.share)
        assert edges < most


@pytest.mark.parametrize("kind", ["clear", "low_cloud", "high_cloud"])
def test_a_sky_all_round_meets_itself(kind: skies.Kind) -> None:
    """As its columns do; the topmost row is one point."""
    made = skies.sky_around(kind, 120, 240, 60, 7)
    edges, most = seam(made)
    assert edges < most
    assert np.ptp(made[0], axis=0).max() < 0.05
    assert (made.min() >= 0, made.max() <= 1) == (True, True)
