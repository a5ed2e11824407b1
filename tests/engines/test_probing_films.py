"""What is read of a film before anything is done with it: what it has, not what it says."""

import io
from collections.abc import Callable
from fractions import Fraction
from uuid import UUID

import av
import numpy as np
import pytest
from PIL import Image

from burnish.engines.engine import Engines
from burnish.errors import Failed
from engines.films import film

pytestmark = pytest.mark.asyncio(loop_scope="module")

Opened = Callable[[bytes], int]


@pytest.mark.parametrize(
    ("format_", "codec", "type_", "extension"),
    [
        ("mp4", "libx264", "video/mp4", "mp4"),
        ("mov", "libx264", "video/quicktime", "mov"),
        ("ipod", "libx264", "video/x-m4v", "m4v"),
        ("avi", "mpeg4", "video/x-msvideo", "avi"),
        ("matroska", "libx264", "video/x-matroska", "mkv"),
        ("webm", "libvpx-vp9", "video/webm", "webm"),
        ("flv", "flv", "video/x-flv", "flv"),
        ("mpeg", "mpeg2video", "video/mpeg", "mpeg"),
        ("mpegts", "libx264", "video/mp2t", "ts"),
        ("asf", "wmv2", "video/x-ms-wmv", "wmv"),
        ("gif", "gif", "image/gif", "gif"),
    ],
)
async def test_films_are_known_by_their_bytes(
    engines: Engines, opened: Opened, account: UUID, *, format_: str, codec: str, type_: str, extension: str
) -> None:
    """Type, size, length and rate are read from every container."""
    pixels = "rgb8" if codec == "gif" else "yuv420p"
    data = film(format_, codec, rate=25, frames=25, sound=None, pixels=pixels)
    probe = await engines.probe(account, opened(data), 10)
    assert (probe.type, probe.extension, probe.width, probe.height) == (type_, extension, 64, 48)
    assert probe.seconds == pytest.approx(1.0, abs=0.05)
    assert probe.frame_rate == pytest.approx(25, rel=0.05)


async def test_a_film_is_as_large_as_it_is_seen(engines: Engines, opened: Opened, account: UUID) -> None:
    """Turned films and films with oblong pixels count as what a player shows."""
    turned = await engines.probe(account, opened(film(turned=90)), 10)
    assert (turned.width, turned.height) == (48, 64)
    squeezed = await engines.probe(account, opened(film(squeezed=Fraction(4, 3))), 10)
    assert (squeezed.width, squeezed.height) == (85, 48)


async def test_a_variable_rate_is_told_as_its_average(
    engines: Engines, opened: Opened, account: UUID
) -> None:
    """Frames over seconds, whatever the header's nominal rate is."""
    times = [0, 40, 80, 120, 520, 560, 600, 1000, 1500, 1960]
    probe = await engines.probe(account, opened(film(frames=10, times=times, rate=25)), 10)
    assert probe.seconds == pytest.approx(2.0, abs=0.06)
    assert probe.frame_rate == pytest.approx(5.0, abs=0.2)


async def test_a_header_that_lies_about_its_length_is_not_believed(
    engines: Engines, opened: Opened, account: UUID
) -> None:
    """Ten hours in the header of a second: a second is what is priced."""
    data = bytearray(film(frames=30, sound=None))
    for box, offset in ((b"mvhd", 20), (b"mdhd", 20), (b"tkhd", 24)):
        at = data.index(box) + offset
        data[at : at + 4] = (36_000 * 1000).to_bytes(4)
    probe = await engines.probe(account, opened(bytes(data)), 10)
    assert probe.seconds == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("data", "reason", "words"),
    [
        (lambda: film(frames=5), "duration_out_of_range", "0.17 s long; from 0.5 s"),
        (
            lambda: film(frames=140, times=range(0, 560, 4), rate=250),
            "input_too_large",
            "250.0 frames a second",
        ),
        (
            lambda: film(frames=3, times=[0, 1000, 4_000_000], sound=None),
            "duration_out_of_range",
            "at most an hour",
        ),
        (lambda: film()[:9000], "decode_failed", "damaged or incomplete"),
        (lambda: b"\0\0\0\x20ftypisom\0\0\0\0isomiso2", "decode_failed", "damaged or incomplete"),
        (lambda: b"\x1aE\xdf\xa3" + bytes(300), "decode_failed", "damaged or incomplete"),
    ],
)
async def test_what_cannot_be_taken_is_said(
    engines: Engines,
    opened: Opened,
    account: UUID,
    data: Callable[[], bytes],
    reason: str,
    words: str,
) -> None:
    """Each limit has its own reason and words, and the worker goes on."""
    with pytest.raises(Failed, match=words) as failed:
        await engines.probe(account, opened(data()), 10)
    assert failed.value.reason == reason


async def test_a_film_without_pictures_is_refused(engines: Engines, opened: Opened, account: UUID) -> None:
    """Sound alone is not a film, whatever its container."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=48_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 48_000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(Failed, match="no moving picture") as failed:
        await engines.probe(account, opened(buffer.getvalue()), 10)
    assert failed.value.reason == "unsupported_format"


async def test_a_gif_of_ten_thousand_frames_is_counted(
    engines: Engines, opened: Opened, account: UUID
) -> None:
    """Its length is known, and none of its pictures but the first was made for that."""
    frames = [Image.new("L", (16, 16), number % 256) for number in range(10_000)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=20, optimize=False)
    probe = await engines.probe(account, opened(buffer.getvalue()), 30)
    assert probe.frames == 10_000
    assert probe.seconds == pytest.approx(200, rel=0.01)
    assert probe.frame_rate == pytest.approx(50, rel=0.01)
