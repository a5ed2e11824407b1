"""What films may be, each limit with its own words. Plain arithmetic; asked of the header, and again while decoding."""

from typing import Final

from burnish.errors import Failed

MOST_PIXELS: Final = 36_000_000
LEAST_SECONDS: Final = 0.5
MOST_SECONDS: Final = 3600.0
MOST_RATE: Final = 120.0
#: Rates are averages over times that are rounded: this much over the limit is still at it.
_ROUNDED: Final = 1.01
#: More than any film within the limits has.
MOST_FRAMES: Final = int(MOST_SECONDS * MOST_RATE * _ROUNDED) + 1


def check_size(width: int, height: int) -> None:
    """Raises Failed: input_too_large."""
    if width * height > MOST_PIXELS:
        raise Failed(
            "input_too_large",
            f"The film is {width} x {height} pixels ({width * height / 1e6:,.1f} megapixels); at most "
            f"{MOST_PIXELS / 1e6:,.0f} megapixels are taken. Make it smaller and send it again.",
        )


def check_length(seconds: float) -> None:
    """Raises Failed: duration_out_of_range."""
    if seconds > MOST_SECONDS * _ROUNDED:
        raise Failed(
            "duration_out_of_range",
            f"The film is {seconds / 60:,.1f} minutes long; at most an hour is taken. Cut it and send the parts.",
        )
    if seconds < LEAST_SECONDS / _ROUNDED:
        raise Failed(
            "duration_out_of_range",
            f"The film is {seconds:.2f} s long; from {LEAST_SECONDS} s on it is a film here. Send a longer one, or a picture.",
        )


def check_rate(frames: int, seconds: float) -> None:
    """Raises Failed: input_too_large."""
    rate = frames / seconds
    if rate > MOST_RATE * _ROUNDED:
        raise Failed(
            "input_too_large",
            f"The film has {rate:,.1f} frames a second; at most {MOST_RATE:.0f} are taken. "
            "Save it with fewer and send it again.",
        )
