"""Films through real children: what comes out is the film that went in, only better; as long, as loud, the right way up."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from burnish import settings
from burnish.engines.catalogue import find_model
from burnish.engines.engine import Engines, Job, Output
from burnish.errors import Failed
from engines.conftest import ACCOUNT
from engines.films import STEP, Seen, film, picture, seen

pytestmark = pytest.mark.asyncio(loop_scope="module")

Made = Callable[..., Awaitable[tuple[Seen, Output]]]
Opened = Callable[[bytes], int]


def film_job(source: int, model_name: str, checkpoints: Any = None, **params: object) -> Job:
    model = find_model(model_name)
    assert model
    wanted = msgspec.convert({"video": "upload", **params}, model.parameters)
    return Job(ACCOUNT, model, wanted, [source], 60.0, checkpoints=checkpoints)


@pytest.fixture
def made(engines: Engines, opened: Opened) -> Made:
    async def make(data: bytes, model_name: str = "video-denoise", **params: object) -> tuple[Seen, Output]:
        job = film_job(opened(data), model_name, **params)
        (output,) = await engines.run(job, lambda _stage, _part: None)
        with os.fdopen(output.fd, "rb") as file:
            return seen(file.read()), output

    return make


def bar(frame: np.ndarray[Any, Any], scale: int = 1) -> float:
    """Where the bar stands, in columns of the film that went in."""
    band = frame[frame.shape[0] * 2 // 5 : frame.shape[0] * 3 // 5].min(-1).astype(float).mean(0)
    columns = np.flatnonzero(band > 200)
    return float(columns.mean() / scale) if len(columns) else float("nan")


@pytest.mark.parametrize(
    ("format_", "type_", "codec", "sound"),
    [
        ("mp4", "video/mp4", "h264", "aac"),
        ("mov", "video/quicktime", "h264", "aac"),
        ("m4v", "video/x-m4v", "h264", "aac"),
        ("mkv", "video/x-matroska", "h264", "aac"),
        ("avi", "video/x-msvideo", "h264", "mp3"),
        ("webm", "video/webm", "vp9", "opus"),
        ("gif", "image/gif", "gif", None),
    ],
)
async def test_every_container_holds_the_film(
    made: Made, *, format_: str, type_: str, codec: str, sound: str | None
) -> None:
    """Frames, their times, the length and the sound are what they were, in each container that is written."""
    result, output = await made(film(frames=24, rate=24), format=format_)
    assert (output.type, output.extension, result.codec) == (type_, format_, codec)
    assert (output.width, output.height) == (64, 48)
    assert output.seconds == pytest.approx(1.0)
    assert output.frame_rate == pytest.approx(24)
    assert len(result.frames) == 24
    first = result.times[0]
    assert [time - first for time in result.times] == pytest.approx([n / 24 for n in range(24)], abs=0.006)
    assert first == pytest.approx(0, abs=0.05)
    assert result.sound_codec == sound
    assert result.sound is None or result.sound == pytest.approx(1.0, abs=0.06)
    for number in (3, 12, 20):
        assert bar(result.frames[number]) == pytest.approx(number * STEP + 1.5, abs=1.0)


async def test_twice_as_large_and_the_same_film(made: Made) -> None:
    """Every frame is there, in its place, and looks like the one it was made of."""
    result, output = await made(film(frames=20), "video-upscale", mode="restore")
    assert (output.width, output.height) == (128, 96)
    assert result.frames[0].shape == (96, 128, 3)
    for number in (0, 7, 19):
        small = result.frames[number].reshape(48, 2, 64, 2, 3).mean((1, 3))
        assert np.abs(small - picture(number)).mean() < 8


@pytest.mark.parametrize(
    ("params", "size"),
    [
        ({"scale": 1}, (64, 48)),
        ({"resolution": [100, 100]}, (100, 74)),
        ({"resolution": [32, 32]}, (32, 24)),
        ({"resolution": [300, 90], "denoise": True}, (120, 90)),
    ],
)
async def test_a_film_fits_what_was_asked_for(
    made: Made, params: dict[str, object], size: tuple[int, int]
) -> None:
    """A resolution is a room that the film fills as far as its shape allows; both sides are even."""
    result, output = await made(film(frames=16), "video-upscale", **params)
    assert (output.width, output.height) == size
    assert result.frames[0].shape[:2] == size[::-1]


async def test_a_turned_film_is_turned_once(made: Made) -> None:
    """What a player showed upright is upright in the file, and no note tells players to turn it again."""
    result, output = await made(film(frames=20, turned=90))
    assert (output.width, output.height, result.turned) == (48, 64, 0)
    back = np.rot90(result.frames[5], -1)
    assert np.abs(back.astype(int) - picture(5)).mean() < 12


async def test_odd_sides_lose_a_row(made: Made) -> None:
    """Colours are kept for two by two pixels; the last odd row and column are left out, and nothing is squeezed."""
    result, output = await made(film(frames=20, width=63, height=47, pixels="yuv444p", sound=None))
    assert (output.width, output.height) == (62, 46)
    assert np.abs(result.frames[4].astype(int) - picture(4, 63, 47)[:46, :62]).mean() < 12


async def test_frames_keep_their_times(made: Made) -> None:
    """A variable rate comes out as it came, and at a constant rate where the container counts frames."""
    times = [0, 40, 80, 120, 520, 560, 600, 1000, 1400, 1480]
    data = film(frames=10, times=times, rate=25)
    result, _ = await made(data)
    assert result.times == pytest.approx([time / 1000 for time in times], abs=0.002)
    counted, output = await made(data, format="avi")
    assert output.seconds == pytest.approx(1.52, abs=0.03)
    at_once_second = [
        frame for frame, time in zip(counted.frames, counted.times, strict=True) if 0.62 < time < 1.0
    ]
    assert {round(bar(frame)) for frame in at_once_second} <= {round(6 * STEP + 1.5), 13, 14}


async def test_colours_mean_what_they_meant(made: Made) -> None:
    """Matrix, primaries, transfer and range are kept; the picture is the same seen by them."""
    tags = {"colorspace": 1, "color_primaries": 1, "color_trc": 1, "color_range": 2}
    data = film(frames=16, tags=tags, sound=None)
    result, _ = await made(data)
    assert result.tags == tags
    assert np.abs(result.frames[3].astype(int) - seen(data).frames[3]).mean() < 3


async def test_what_is_not_said_of_colours_is_said(made: Made) -> None:
    """A small film that says nothing is made large: it still means what players took it for when it was small."""
    result, _ = await made(film(frames=16, sound=None), "video-upscale", scale=2, mode="restore")
    assert result.tags["colorspace"] in (5, 6)


async def test_fine_steps_are_kept(made: Made) -> None:
    """Ten bits come out as ten bits."""
    result, _ = await made(film(frames=16, pixels="yuv420p10le", codec="libx265", sound=None))
    assert result.pixels == "yuv420p10le"


@pytest.mark.parametrize(("format_", "bits"), [("mp4", ""), ("mov", "10le"), ("mkv", "")])
async def test_beyond_4k_it_is_hevc(
    made: Made, monkeypatch: pytest.MonkeyPatch, *, format_: str, bits: str
) -> None:
    """Under the name that players know, and with its times; the limit is brought down to a small film here."""
    monkeypatch.setattr("burnish.engines.film.H264_PIXELS", 100)
    pixels = f"yuv420p{bits}"
    result, _ = await made(film(frames=20, pixels=pixels, sound=None), format=format_)
    assert (result.codec, result.pixels, len(result.frames)) == ("hevc", pixels, 20)
    assert result.times == pytest.approx([number / 30 for number in range(20)], abs=0.002)
    assert format_ == "mkv" or result.tag == "hvc1"


async def test_an_avi_ends_at_4k(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no HEVC: that is said before anything is made."""
    monkeypatch.setattr("burnish.engines.film.H264_PIXELS", 100)
    with pytest.raises(Failed, match="mp4 or mkv") as failed:
        await made(film(frames=20), format="avi")
    assert failed.value.reason == "output_too_large"


async def test_twice_as_many_frames_stand_between(made: Made) -> None:
    """At twice the rate every other frame stands halfway; the length and the sound stay."""
    result, output = await made(film(frames=20, rate=20), "video-interpolate", frame_rate=40)
    assert len(result.frames) == 40
    assert output.frame_rate == pytest.approx(40)
    assert result.times == pytest.approx([n / 40 for n in range(40)], abs=0.002)
    assert result.sound == pytest.approx(1.0, abs=0.06)
    for number in (8, 15, 23):
        assert bar(result.frames[number]) == pytest.approx(number / 2 * STEP + 1.5, abs=0.8)


async def test_few_frames_become_many(made: Made) -> None:
    """Any rate becomes any other: long times between frames are filled, and fewer frames are made of many."""
    slow, _ = await made(
        film(frames=3, times=[0, 1000, 1500], sound=None, rate=2), "video-interpolate", frame_rate=60
    )
    assert len(slow.frames) == pytest.approx(120, abs=1)
    fast, _ = await made(film(frames=60, rate=60), "video-interpolate", frame_rate=24)
    assert len(fast.frames) == 24


async def test_a_film_of_one_frame_is_a_film(made: Made) -> None:
    """A still that is shown for a second stays one."""
    result, output = await made(film(frames=1, rate=1, sound=None), "video-interpolate", frame_rate=10)
    assert len(result.frames) == 10
    assert output.seconds == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("format_", "codec", "pixels"),
    [
        *(("flv", "flv", "yuv420p"), ("mpeg", "mpeg2video", "yuv420p"), ("asf", "wmv2", "yuv420p")),
        *(("gif", "gif", "rgb8"), ("mpegts", "libx264", "yuv420p"), ("avi", "mpeg4", "yuv420p")),
    ],
)
async def test_every_container_is_read(made: Made, *, format_: str, codec: str, pixels: str) -> None:
    """What can be probed can be worked on."""
    result, _ = await made(film(format_, codec, rate=25, frames=25, sound=None, pixels=pixels), format="mp4")
    assert len(result.frames) == 25
    assert bar(result.frames[10]) == pytest.approx(10 * STEP + 1.5, abs=2.0)


async def test_a_film_that_breaks_off_fails_and_the_next_one_is_made(
    engines: Engines, opened: Opened, made: Made
) -> None:
    """Damage in the middle is told as such; nothing is left of it."""
    data = bytearray(film("mov", "libx264", frames=40, options={"g": "5", "bf": "0"}, sound=None))
    half = len(data) // 2
    data[half : half + 900] = b"\xff" * 900
    with pytest.raises(Failed) as failed:
        await engines.run(film_job(opened(bytes(data)), "video-denoise"), lambda _stage, _part: None)
    assert failed.value.reason == "decode_failed"
    assert (await made(film(frames=16)))[1].seconds is not None


async def test_a_picture_is_no_film(
    engines: Engines, opened: Opened, file_of: Callable[..., bytes], photo: Any
) -> None:
    """A model of films says what it was given."""
    with pytest.raises(Failed, match="no film") as failed:
        await engines.run(
            film_job(opened(file_of(photo, "PNG")), "video-denoise"), lambda _stage, _part: None
        )
    assert failed.value.reason == "unsupported_format"


class Kept:
    """Checkpoints in memory, which outlive the engines that fill them; after `enough` of them the worker is lost."""

    def __init__(self, enough: int | None = None) -> None:
        self.segments: list[tuple[str, bytes, bytes]] = []
        self.enough = enough
        self.full = asyncio.Event()

    async def find(self, recipe: str) -> list[bytes]:
        return [said for known, said, _ in self.segments if known == recipe]

    async def keep(self, recipe: str, number: int, said: bytes, fd: int) -> None:
        assert number == len(self.segments)
        self.segments.append((recipe, said, os.pread(fd, os.fstat(fd).st_size, 0)))
        if len(self.segments) == self.enough:
            self.full.set()
            await asyncio.Event().wait()

    async def load(self, number: int, fd: int) -> None:
        os.pwrite(fd, self.segments[number][2], 0)


@pytest.mark.parametrize(
    ("format_", "model_name"), [("mp4", "video-denoise"), ("mpegts", "video-interpolate")]
)
async def test_a_lost_film_goes_on_after_its_last_segment(
    engines: Engines,
    opened: Opened,
    monkeypatch: pytest.MonkeyPatch,
    *,
    format_: str,
    model_name: str,
) -> None:
    """What was finished is not made again, and the result is the one that was never interrupted, frame by frame."""
    own = settings.Engines(threads=1, segment_seconds=1.0)
    monkeypatch.setattr(engines._films, "_settings", own)
    data = film(format_, frames=100, rate=25, options={"g": "12"})
    kept = Kept(enough=2)
    lost = asyncio.create_task(
        engines.run(film_job(opened(data), model_name, kept, format="mp4"), lambda _stage, _part: None)
    )
    await asyncio.wait_for(kept.full.wait(), 30)
    lost.cancel()
    await asyncio.gather(lost, return_exceptions=True)
    kept.enough = None
    counted: list[dict[str, Any]] = []
    monkeypatch.setattr("burnish.engines.film._log", _Log(counted))
    whole, _ = await _run(engines, film_job(opened(data), model_name, None, format="mp4"))
    resumed, _ = await _run(engines, film_job(opened(data), model_name, kept, format="mp4"))
    alone, after = counted
    assert after["kept_before"] == 2
    assert after["encoded"] < 0.6 * alone["encoded"]
    assert after["decoded"] < (0.8 if format_ == "mp4" else 1.1) * alone["decoded"]
    assert resumed.times == pytest.approx(whole.times)
    assert resumed.sound == pytest.approx(whole.sound)
    for one, other in zip(resumed.frames, whole.frames, strict=True):
        assert np.abs(one.astype(int) - other).mean() < 2.5


class _Log:
    def __init__(self, said: list[dict[str, Any]]) -> None:
        self._said = said

    def info(self, _event: str, **facts: Any) -> None:
        self._said.append(facts)

    def warning(self, _event: str, **facts: Any) -> None:
        raise AssertionError(facts)


async def _run(engines: Engines, job: Job) -> tuple[Seen, Sequence[Output]]:
    outputs = await engines.run(job, lambda _stage, _part: None)
    with os.fdopen(outputs[0].fd, "rb") as file:
        return seen(file.read()), outputs


async def test_a_test_keys_film_is_short_real_and_the_same_each_time(engines: Engines) -> None:
    """Nobody takes it for a result, and every player plays it."""
    model = find_model("video-upscale")
    assert model
    files = []
    for _ in range(2):
        wanted = msgspec.convert({"video": "upload", "scale": 4}, model.parameters)
        (output,) = await engines.canned(model, wanted, "video/mp4", 64, 48, 30)
        with os.fdopen(output.fd, "rb") as file:
            files.append(file.read())
    assert (output.type, output.width, output.height, output.seconds, output.notes) == (
        *("video/mp4", 256, 192, 1.0),
        {"canned": True},
    )
    assert files[0] == files[1]
    assert len(seen(files[0]).frames) == 10
