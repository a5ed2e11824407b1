"""What the tests of the engines share: engines with real children, files without names, and pictures."""

import contextlib
import io
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from PIL import Image

from burnish import settings
from burnish.engines.catalogue import Upscale, find_model
from burnish.engines.engine import Engines, Job, Output
from burnish.engines.pictures import read

ACCOUNT = UUID("01900000-0000-7000-8000-000000000001")


@pytest.fixture(autouse=True, scope="session")
def _decoders() -> None:
    """What a child has loaded before it reads a file, for tests that read one without a child."""
    read.load()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engines() -> AsyncIterator[Engines]:
    """Engines as a worker has them, shared by the tests of a module."""
    own = Engines(settings.Engines(threads=1))
    yield own
    await own.close()


@pytest.fixture
def account() -> UUID:
    return ACCOUNT


@pytest.fixture
def opened() -> Iterator[Callable[[bytes], int]]:
    """Bytes -> a descriptor of a file that holds them and has no name."""
    with contextlib.ExitStack() as stack:

        def open_(data: bytes) -> int:
            file = stack.enter_context(tempfile.TemporaryFile())
            file.write(data)
            file.flush()
            return file.fileno()

        yield open_


@pytest.fixture
def job(opened: Callable[[bytes], int]) -> Callable[..., Job]:
    """Bytes and parameters of `upscale` -> a job."""

    def make(data: bytes, *, seconds: float = 60.0, **params: object) -> Job:
        model = find_model("upscale")
        assert model
        wanted = Upscale(image="upload", **params)  # type: ignore[arg-type]
        return Job(ACCOUNT, model, wanted, [opened(data)], seconds)

    return make


@pytest.fixture
def upscaled(engines: Engines, job: Callable[..., Job]) -> Callable[..., object]:
    """Bytes and parameters -> the picture that came out, as Pillow reads it, and the `Output`."""

    async def run(data: bytes, **params: object) -> tuple[Image.Image, Output]:
        (output,) = await engines.run(job(data, **params), lambda _stage, _fraction: None)
        with os.fdopen(output.fd, "rb") as file:
            image = Image.open(io.BytesIO(file.read()))
        image.load()
        return image, output

    return run


@pytest.fixture(scope="session")
def photo() -> NDArray[np.uint8]:
    """A small picture with edges, texture and slopes, the same every time: 40 high, 56 wide, RGB."""
    rng = np.random.default_rng(7)
    down, across = np.mgrid[0:40, 0:56]
    picture = np.stack([across * 4, down * 6, 255 - across * 3], axis=-1).astype(np.float64)
    picture[10:25, 15:35] = (200, 40, 90)
    picture[28:34, 5:50] += 60 * np.sin(across[28:34, 5:50, None])
    picture += rng.normal(0, 4, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8)


def encoded(pixels: NDArray[Any] | Image.Image, format_: str, **options: Any) -> bytes:
    """A file of these pixels, as Pillow writes it."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def file_of() -> Callable[..., bytes]:
    return encoded
