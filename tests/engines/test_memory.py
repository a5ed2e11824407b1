"""Where memory ends, the client is told what to ask for instead."""

import io
from collections.abc import Callable

import pytest
from PIL import Image

from burnish import settings
from burnish.engines.catalogue import Sharpen, find_model
from burnish.engines.engine import Engines, Job
from burnish.errors import Failed


@pytest.mark.asyncio
async def test_an_avif_that_memory_cannot_hold_is_refused_in_words(
    opened: Callable[[bytes], int], account: object
) -> None:
    """What libavif says of it is that encoding failed, and no more."""
    model = find_model("sharpen")
    assert model
    buffer = io.BytesIO()
    Image.new("RGB", (5_000, 3_000), "teal").save(buffer, "PNG")
    engines = Engines(settings.Engines(threads=1, memory_bytes=200_000_000))
    params = Sharpen(image="upload", format="avif")
    try:
        with pytest.raises(Failed) as refused:
            await engines.run(
                Job(account, model, params, [opened(buffer.getvalue())], 60.0),  # type: ignore[arg-type]
                lambda _stage, _fraction: None,
            )
    finally:
        await engines.close()
    assert refused.value.reason == "output_too_large"
    assert "more memory" in refused.value.message
