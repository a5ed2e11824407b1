"""What a source measures is what its task is priced by."""

import msgspec
import pytest

from burnish.credits.prices import load_prices
from burnish.engines import catalogue
from burnish.engines.catalogue import Upscale
from burnish.errors import Failed
from burnish.tasks.cost import cost_of

_PRICES = load_prices()
_PICTURES = next(model for model in catalogue.models() if model.name == "upscale")
_FILMS = msgspec.structs.replace(_PICTURES, price="video-standard")
_TWICE = Upscale(image="upload", scale=2)


def test_a_film_is_priced_by_its_seconds_its_size_and_its_rate() -> None:
    """The size is that of the result; a second that has begun counts."""

    def credits_(width: int, height: int, seconds: float, frame_rate: float) -> int:
        cost = cost_of(_PRICES, _FILMS, _TWICE, width, height, seconds, frame_rate)
        assert cost is not None
        return cost.credits

    short = credits_(640, 360, 2.0, 25.0)
    assert credits_(640, 360, 2.1, 25.0) * 2 == short * 3
    assert short < min(credits_(640, 360, 2.0, 60.0), credits_(960, 540, 2.0, 25.0))


def test_a_film_of_which_too_little_is_known_has_no_price_yet() -> None:
    """Its size alone says nothing of its length."""
    assert cost_of(_PRICES, _FILMS, _TWICE, 640, 360) is None
    assert cost_of(_PRICES, _FILMS, _TWICE, 640, 360, 2.0) is None
    assert cost_of(_PRICES, _PICTURES, _TWICE, 640, 360) is not None


def test_a_film_without_a_price_cannot_be_made() -> None:
    """More frames a second than any are made with."""
    with pytest.raises(Failed) as failed:
        cost_of(_PRICES, _FILMS, _TWICE, 640, 360, 2.0, 121.0)
    assert failed.value.reason == "output_too_large"
