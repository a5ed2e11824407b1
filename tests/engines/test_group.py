"""Piles become sets: every picture in one, brackets together, by what the files say or show."""

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from burnish.engines.catalogue import Group, find_model
from burnish.engines.engine import Engines, Job
from burnish.engines.photos import brackets
from burnish.engines.pictures.reduced import reduced
from burnish.engines.wire import Picture, Shot

_BLANK = np.zeros((brackets.SIDE, brackets.SIDE), np.float32)


def shot(at: float, seconds: float, model: str = "A") -> Shot:
    when = datetime.fromisoformat("2026-03-01T10:00:00") + timedelta(seconds=at)
    return Shot(
        taken_at=when.isoformat(timespec="milliseconds"), seconds=seconds, aperture=8.0, iso=100, model=model
    )


@st.composite
def visits(draw: st.DrawFn) -> tuple[list[Shot], list[int]]:
    """Shots of several scenes, one after the other, and the scene of each."""
    shots, scenes, at = [], [], 0.0
    evs = draw(st.lists(st.integers(-4, 4), min_size=2, max_size=7, unique=True))
    for scene in range(draw(st.integers(1, 6))):
        for ev in evs:
            shots.append(shot(at, 0.02 * 2.0**ev))
            scenes.append(scene)
            at += 0.02 * 2.0**ev + draw(st.floats(0.1, 3))
        at += draw(st.sampled_from([0.5, 30.0, 600.0]))
    return shots, scenes


@settings(max_examples=80, deadline=None)
@given(visits(), st.randoms(use_true_random=False))
def test_scenes_are_told_by_time_and_exposure(pile: tuple[list[Shot], list[int]], random: Any) -> None:
    """With a pause between scenes or without, in whatever order the files lie."""
    shots, scenes = pile
    order = list(range(len(shots)))
    random.shuffle(order)
    found = brackets.group([shots[place] for place in order], [_BLANK] * len(order), None)
    assert found.by == "exposure"
    told = [[scenes[order[place]] for place in one] for one in found.sets]
    assert [set(one) for one in told] == [{scene} for scene in sorted(set(scenes))]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.floats(0, 60)), min_size=2, max_size=40),
    st.one_of(st.none(), st.integers(1, 9)),
    st.integers(0, 2**32 - 1),
)
def test_every_picture_is_in_one_set(times: list[float | None], per_image: int | None, seed: int) -> None:
    """Whatever is known of them, and no set is larger than a merge takes."""
    rng = np.random.default_rng(seed)
    shots = [Shot() if at is None else shot(at, float(2.0 ** rng.integers(-8, 2))) for at in times]
    signatures = [rng.uniform(0, 255, _BLANK.shape).astype(np.float32) for _ in shots]
    found = brackets.group(shots, signatures, per_image)
    assert sorted(place for one in found.sets for place in one) == list(range(len(shots)))
    assert max(map(len, found.sets)) <= brackets.MOST
    if per_image:
        assert {len(one) for one in found.sets[:-1]} <= {per_image}


def test_another_camera_is_another_scene() -> None:
    """Two people photograph at the same time."""
    shots = [shot(0, 0.1), shot(0.5, 0.4, "B"), shot(1, 1.6)]
    assert brackets.group(shots, [_BLANK] * 3, None).sets == [[0], [1], [2]]


def pile() -> tuple[list[Any], list[int]]:
    """Three exposures of each of four scenes, shuffled; and the scene of each."""
    photos = [data.coffee(), data.astronaut(), data.chelsea(), data.rocket()]
    pictures, scenes = [], []
    for scene, photo in enumerate(photos):
        light = (cv2.resize(photo, (240, 160), interpolation=cv2.INTER_AREA) / 255.0) ** 2.2
        for ev in (-2, 0, 2):
            pictures.append(np.round(np.clip(light * 2.0**ev, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8))
            scenes.append(scene)
    order = np.random.default_rng(2).permutation(len(pictures))
    return [pictures[place] for place in order], [scenes[place] for place in order]


def test_scenes_are_told_by_likeness() -> None:
    """From the pictures alone, 4 EV apart, in no order."""
    pictures, scenes = pile()
    signatures = [brackets.signature(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY)) for one in pictures]
    found = brackets.group([Shot()] * len(pictures), signatures, None)
    assert found.by == "likeness"
    assert sorted(sorted(one) for one in found.sets) == sorted(
        [place for place, scene in enumerate(scenes) if scene == wanted] for wanted in range(4)
    )


@pytest.mark.asyncio(loop_scope="module")
async def test_a_pile_of_files_is_answered_with_sets(
    engines: Engines, opened: Callable[[bytes], int], account: Any, file_of: Any
) -> None:
    """Through the children, as JSON; sources of any size and kind."""
    pictures, scenes = pile()
    files = [file_of(one, "JPEG" if number % 2 else "PNG") for number, one in enumerate(pictures)]
    files[0] = file_of(Image.fromarray(pictures[0]).resize((1200, 800)), "PNG")
    model = find_model("group")
    assert model
    job = Job(account, model, Group(images=["u"] * len(files)), [opened(file) for file in files], 60.0)
    (output,) = await engines.run(job, lambda _stage, _fraction: None)
    os.close(output.fd)
    assert output.data
    assert output.data["by"] == "likeness"
    assert [len({scenes[place] for place in one}) for one in output.data["sets"]] == [1] * 4


@pytest.mark.asyncio(loop_scope="module")
async def test_two_hundred_files_are_taken(
    engines: Engines, opened: Callable[[bytes], int], account: Any, file_of: Any
) -> None:
    """As many as the model's parameters allow."""
    file = file_of(np.full((8, 9, 3), 77, np.uint8), "PNG")
    model = find_model("group")
    assert model
    job = Job(
        account, model, Group(images=["u"] * 200, per_image=3), [opened(file) for _ in range(200)], 60.0
    )
    (output,) = await engines.run(job, lambda _stage, _fraction: None)
    os.close(output.fd)
    assert output.data
    assert output.data["by"] == "number"
    assert len(output.data["sets"]) == 67


@pytest.mark.parametrize(("count", "taken"), [(1, False), (2, True), (200, True), (201, False)])
def test_piles_have_two_to_two_hundred(count: int, taken: bool) -> None:
    """Others are refused when they are asked for."""
    if taken:
        msgspec.convert({"images": ["u"] * count}, Group)
    else:
        with pytest.raises(msgspec.ValidationError, match="images"):
            msgspec.convert({"images": ["u"] * count}, Group)


@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 20), st.sampled_from([1, 3]), st.integers(1, 50)
)
def test_rows_are_reduced_on_their_way(height: int, width: int, side: int, channels: Any, cut: int) -> None:
    """To means of squares, however the rows come in pieces, and never longer than asked."""
    pixels = np.random.default_rng(height * width).integers(0, 255, (height, width, channels), np.uint8)
    whole = pixels.tobytes()
    pieces = (whole[at : at + cut] for at in range(0, len(whole), cut))
    rows, small = reduced(pieces, Picture(width, height, channels, 8), side)
    made = np.frombuffer(b"".join(rows), np.uint8).reshape(small.height, small.width, channels)
    assert max(small.width, small.height) <= max(side, 1)
    by = -(-max(width, height) // side)
    down, across = min(by, height), min(by, width)
    first = pixels[:down, :across].astype(float).mean((0, 1))
    assert np.abs(made[0, 0] - first).max() <= 0.5
