"""How a picture was taken, out of its EXIF: what makes sense of it, and None for the rest.

Called by `read` after a file is open. EXIF is as hostile as the rest of the file: any value may be of any type, endless,
or no number at all; none of that may cost more than the fact itself. Tags are those of EXIF 2.32 (CIPA DC-008).
"""

import math
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from msgspec.structs import asdict
from PIL import Image
from PIL.ExifTags import IFD

from burnish.engines.wire import Shot

_MAKE, _MODEL, _LENS = 0x010F, 0x0110, 0xA434
#: When: each with its fractions of a second. The moment of the shot, of its digitizing, of the file.
_TIMES: Final = ((0x9003, 0x9291), (0x9004, 0x9292), (0x0132, 0x9290))
_EXPOSURE, _SHUTTER, _F_NUMBER, _APERTURE, _BIAS = 0x829A, 0x9201, 0x829D, 0x9202, 0x9204
_FOCAL, _FOCAL_35MM = 0x920A, 0xA405
#: Sensitivity: the plain one, which ends at 65,535, and what stands beside it above that.
_ISO: Final = (0x8827, 0x8833, 0x8832)
_ISO_UNSAID: Final = 65_535

_TIME: Final = re.compile(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_MOST_LETTERS: Final = 100


def shot(exif: Image.Exif) -> Shot:
    """The facts in `exif`, whatever it holds."""
    tags = _tags(exif)
    shutter, aperture = _number(tags.get(_SHUTTER)), _number(tags.get(_APERTURE))
    return facts(
        taken_at=_taken_at(tags),
        seconds=tags.get(_EXPOSURE) or (2.0**-shutter if shutter is not None and abs(shutter) < 32 else None),
        aperture=tags.get(_F_NUMBER)
        or (2.0 ** (aperture / 2) if aperture is not None and abs(aperture) < 32 else None),
        iso=next(
            (value for tag in _ISO if (value := _number(tags.get(tag))) not in (None, _ISO_UNSAID)), None
        ),
        bias=tags.get(_BIAS),
        focal_mm=tags.get(_FOCAL),
        focal_35mm=tags.get(_FOCAL_35MM),
        make=tags.get(_MAKE),
        model=tags.get(_MODEL),
        lens=tags.get(_LENS),
    )


def facts(
    *,
    taken_at: Any = None,
    seconds: Any = None,
    aperture: Any = None,
    iso: Any = None,
    bias: Any = None,
    focal_mm: Any = None,
    focal_35mm: Any = None,
    make: Any = None,
    model: Any = None,
    lens: Any = None,
) -> Shot:
    """A shot of values from outside, each kept where it can be true."""
    return Shot(
        taken_at=taken_at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{taken_at.microsecond // 1000:03}"
        if isinstance(taken_at, datetime)
        else None,
        seconds=_between(seconds, 1e-7, 1e6),
        aperture=_between(aperture, 0.1, 1_000),
        iso=_between(iso, 1, 1e8),
        bias=_between(bias, -30, 30),
        focal_mm=_between(focal_mm, 0.1, 100_000),
        focal_35mm=_between(focal_35mm, 0.1, 100_000),
        make=_text(make),
        model=_text(model),
        lens=_text(lens),
    )


def either(first: Shot, second: Shot) -> Shot:
    """What the first says, and the second where the first says nothing."""
    return Shot(
        **(asdict(second) | {name: value for name, value in asdict(first).items() if value is not None})
    )


def _tags(exif: Image.Exif) -> dict[int, Any]:
    """Of both directories; one that cannot be read is empty."""
    return _read(lambda: dict(exif)) | _read(lambda: dict(exif.get_ifd(IFD.Exif)))


def _read(directory: Callable[[], dict[int, Any]]) -> dict[int, Any]:
    try:
        return directory()
    except Exception:  # hostile bytes: any error means unreadable
        return {}


def _taken_at(tags: dict[int, Any]) -> datetime | None:
    for tag, fraction in _TIMES:
        said = _TIME.match(_text(tags.get(tag)) or "")
        if said is None:
            continue
        digits = re.match(r"\d{1,6}", _text(tags.get(fraction)) or "")
        microsecond = int(digits[0].ljust(6, "0")) if digits else 0
        try:
            moment = datetime.fromisoformat("{}-{}-{}T{}:{}:{}".format(*said.groups()))
        except ValueError:  # the 31st of February, or no date at all: zeros
            continue
        return moment.replace(microsecond=microsecond)
    return None


def _number(value: Any) -> float | None:
    try:
        number = float(value[0] if isinstance(value, tuple | list) else value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError, IndexError):
        return None
    return number if math.isfinite(number) else None


def _between(value: Any, least: float, most: float) -> float | None:
    number = _number(value)
    return number if number is not None and least <= number <= most else None


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return None
    plain = "".join(
        letter for letter in value.partition("\0")[0][: 4 * _MOST_LETTERS] if letter.isprintable()
    )
    return plain.strip()[:_MOST_LETTERS] or None
