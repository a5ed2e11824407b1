"""`enhance`, `straighten` and `lens` through their children: every step in its order, sizes as promised, memory as stated."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import IFD

from burnish.credits.price import Measure
from burnish.engines import catalogue
from burnish.engines.catalogue import find_model
from burnish.engines.engine import Engines, Job, Output
from burnish.engines.photos.enhance import enhance
from burnish.engines.photos.straighten import straighten
from engines.facade import facade, seen

pytestmark = pytest.mark.asyncio(loop_scope="module")

FileOf = Callable[..., bytes]
Pixels = NDArray[Any]
Done = Callable[..., Any]


@pytest.fixture
def done(engines: Engines, account: Any, opened: Callable[[bytes], int]) -> Done:
    """A model's name, bytes and parameters -> the picture that came out, and the `Output`."""

    async def run(name: str, data: bytes, **params: object) -> tuple[Pixels, Output]:
        model = find_model(name)
        assert model
        wanted = msgspec.convert({"image": "upload", **params}, model.parameters)
        (output,) = await engines.run(Job(account, model, wanted, [opened(data)], 60.0), lambda *_: None)
        with os.fdopen(output.fd, "rb") as file:
            image = Image.open(io.BytesIO(file.read()))
        return np.asarray(image), output

    return run


@pytest.fixture(scope="module")
def house() -> Pixels:
    """Askew, and too dark."""
    return (seen(facade(1200, 900), 4, 5, 480, 360) * 0.5).astype(np.uint8)


async def test_enhance_does_what_its_function_does(done: Done, house: Pixels, file_of: FileOf) -> None:
    """The same pixels, and a word about them."""
    made, output = await done("enhance", file_of(house, "PNG"), style="property")
    assert np.array_equal(made, enhance(house, "property"))
    assert "xposure" in output.notes["enhance"]


async def test_straighten_crops_and_says_so(done: Done, house: Pixels, file_of: FileOf) -> None:
    """The result is smaller than promised, and told as large as it is; told to extend, it is as large as it was."""
    made, output = await done("straighten", file_of(house, "PNG"))
    assert (output.width, output.height) == (made.shape[1], made.shape[0])
    assert 380 < made.shape[1] < 480
    assert np.array_equal(made, straighten(house))
    assert "verticals" in output.notes["straighten"]
    made, output = await done("straighten", file_of(house, "PNG"), fill="extend")
    assert made.shape == house.shape


async def test_16_bits_and_alpha_stay(done: Done, file_of: FileOf) -> None:
    """Through each model."""
    gray = (seen(facade(1200, 900), 3, 0, 240, 180)[..., 1].astype(np.uint16)) * 200
    for name in ("enhance", "straighten", "lens"):
        made, _ = await done(name, file_of(gray, "PNG"))
        assert made.dtype.itemsize > 1
        assert len(np.unique(made)) > 150
    clear = Image.fromarray(seen(facade(1200, 900), 3, 0, 240, 180)).convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    for name in ("enhance", "straighten"):
        made, _ = await done(name, file_of(clear, "PNG"))
        assert made.shape[2] == 4
        assert made[..., 3].max() - made[..., 3].min() > 200


async def test_an_unknown_lens_changes_nothing(done: Done, house: Pixels, file_of: FileOf) -> None:
    """A file without EXIF says no lens."""
    made, output = await done("lens", file_of(house, "PNG"))
    assert np.array_equal(made, house)
    assert "does not say" in output.notes["lens"]
    made, output = await done("lens", file_of(house, "PNG"), vignetting=-0.4)
    assert made[2, 2].sum() > house[2, 2].sum() * 1.15
    assert "given" in output.notes["lens"]


async def test_a_lens_is_told_by_the_files_own_words(done: Done, house: Pixels, file_of: FileOf) -> None:
    """By EXIF alone: maker, model, lens, focal length and aperture."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Canon", "Canon EOS 5D Mark III"
    exif[IFD.Exif] = {0x920A: 24.0, 0x829D: 4.0, 0xA434: "EF24-105mm f/4L IS USM"}
    made, output = await done("lens", file_of(house, "PNG", exif=exif), format="png")
    assert output.notes["lens"].startswith("Profile Canon EF 24-105mm f/4L IS USM at 24 mm")
    assert made[3, 3].sum() > house[3, 3].sum() * 1.3


async def test_one_call_does_it_all_in_order(done: Done, house: Pixels, file_of: FileOf) -> None:
    """Straightened, then enhanced, then twice as large: of what straightening left."""
    data = file_of(house, "PNG")
    small, _ = await done("enhance", data, straighten=True, lens=True)
    assert np.array_equal(small, enhance(straighten(house)))
    large, output = await done("enhance", data, straighten=True, upscale=True)
    assert large.shape == (small.shape[0] * 2, small.shape[1] * 2, 3)
    assert {"straighten", "enhance"} <= set(output.notes)
    halved = large.reshape(small.shape[0], 2, small.shape[1], 2, 3).mean((1, 3))
    assert np.abs(halved - small).mean() < 3


async def test_panoramas_are_enhanced_and_not_bent(done: Done, file_of: FileOf) -> None:
    """Told, or seen by its shape; and the reason is said."""
    round_ = (np.tile(facade(256, 512), (1, 8, 1))[:, :1024] // 2).astype(np.uint8)
    made, output = await done("enhance", file_of(round_, "PNG"), panorama=True, lens=True, straighten=True)
    assert made.shape == round_.shape
    assert "360" in output.notes["lens"]
    assert "360" in output.notes["straighten"]
    assert np.array_equal(made, enhance(round_, panorama=True))
    wide = np.zeros((1024, 2048, 3), np.uint8)
    for name in ("straighten", "lens"):
        _, output = await done(name, file_of(wide, "PNG"))
        assert "360" in output.notes[name]
        _, output = await done(name, file_of(wide, "PNG"), panorama=False)
        assert "360" not in output.notes[name]


async def test_sizes_and_prices_are_those_of_what_is_made() -> None:
    """Twice the size costs as much as it is; without, the picture's own."""
    model = find_model("enhance")
    assert model
    plain, larger = (
        msgspec.convert({"image": "upload", "upscale": twice}, model.parameters) for twice in (False, True)
    )
    assert catalogue.output_measure(model, plain, 100, 50) == Measure(width=100, height=50)
    assert catalogue.output_measure(model, larger, 100, 50) == Measure(width=200, height=100)
    assert [stage.runner.rpartition(".")[2] for stage in catalogue.stages_of(model, larger)] == [
        "photo",
        "upscale",
    ]
    everything = {"image": "upload", "sky": "clear", "privacy": True, "upscale": True}
    stages = catalogue.stages_of(model, msgspec.convert(everything, model.parameters))
    assert [stage.runner.rpartition(".")[2] for stage in stages] == ["photo", "sky", "privacy", "upscale"]
    assert catalogue.output_refusal(model, larger, 10_000, 7_000) is None


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux only")
@pytest.mark.parametrize(
    ("params", "channels", "bits"),
    [
        ({"enhance": {}}, 3, 8),
        ({"enhance": {"style": "property_usa"}}, 4, 16),
        ({"straighten": {}}, 3, 8),
        ({"straighten": {}, "enhance": {}}, 4, 16),
        ({"lens": {"distortion": -0.1, "vignetting": -0.3}, "straighten": {}, "enhance": {}}, 3, 16),
    ],
)
async def test_it_stays_within_the_memory_that_it_states(
    params: dict[str, Any], channels: int, bits: int
) -> None:
    """A picture of 12 megapixels goes through in a process that may grow by what was stated and no more."""
    program = f"""
import resource, numpy as np, msgspec
from types import SimpleNamespace
from engines.facade import facade, seen
from burnish.engines.runners import photo
from burnish.engines.wire import Picture
from burnish.engines.work import Work
runner = photo.load(SimpleNamespace(threads=2))
import cv2
cv2.setNumThreads(2)
small = np.ascontiguousarray(seen(facade(), 2, 3))
for _ in runner.run(Work(msgspec.msgpack.encode({params!r}), (small,), (), (np.empty_like(small),))): pass
big = cv2.resize(small, (4000, 3000))[..., [0, 1, 2, 0][:{channels}]]
big = np.ascontiguousarray(big.astype(np.uint{bits}) * (1 if {bits} == 8 else 257))
out = np.ones_like(big)
raw = msgspec.msgpack.encode({params!r})
need = runner.memory_bytes(raw, [Picture(width=4000, height=3000, channels={channels}, bits={bits})])
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + need, now + need))
work = Work(raw, (big,), (), (out,))
for _ in runner.run(work): pass
print("done", need, work.notes)
"""
    answer = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": "tests"},
    )
    assert answer.stdout.startswith("done"), answer.stderr
