"""Raw pixels to a file: PNG and TIFF by our own writers, JPEG, WebP and AVIF by Pillow's.

Called in a codec child. What a format cannot hold is changed to the nearest that it can, and `notes` say so.
"""

import mmap
from io import BytesIO
from typing import IO, Final, cast

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray
from PIL import Image, ImageCms

from burnish.engines.pictures import metadata as meta
from burnish.engines.pictures.strips import write_png, write_tiff
from burnish.engines.wire import Encode, Metadata, Picture
from burnish.errors import Failed

_MODES: Final = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
#: Above this quality colour is kept at full resolution; below, halving it is not seen in an enlarged picture.
_FULL_COLOUR_QUALITY: Final = 92
#: 4 is WebP's default and twice as slow for 5 % less.
_WEBP_EFFORT: Final = 2
#: 16 megapixels in 0.6 s on two cores; libavif's default, 6, takes 2.3 s for as many bytes.
_AVIF_SPEED: Final = 9


def encode(source: int, wanted: Encode, out: IO[bytes]) -> dict[str, str]:
    """Encode the raw pixels in the file `source` as `wanted`; returns notes for the client.

    Raises:
        Failed: output_too_large, for what the format or the memory cannot hold.
    """
    notes: dict[str, str] = {}
    picture = wanted.picture
    pixels: NDArray[np.uint8] = np.frombuffer(
        mmap.mmap(source, picture.size_bytes, prot=mmap.PROT_READ), np.uint8
    ).reshape(picture.height, -1)
    kept = meta.shape(wanted.metadata, wanted.policy, picture.width, picture.height, notes)
    kept = _fitting(kept, picture, notes)
    if wanted.dpi:
        kept = replace(kept, dpi=(wanted.dpi, wanted.dpi))
        if wanted.format in ("webp", "avif"):
            notes["dpi"] = f"{wanted.format} holds no resolution; jpeg, png and tiff do."
    try:
        match wanted.format:
            case "png":
                write_png(pixels, picture, kept, out)
            case "tiff":
                write_tiff(pixels, picture, kept, out)
            case "jpeg":
                _write_jpeg(_image(pixels, picture, notes, "JPEG"), kept, wanted.quality, out, notes)
            case "webp":
                _write_webp(_image(pixels, picture, notes, "WebP"), kept, wanted.quality, out, notes)
            case "avif":
                _write_avif(_image(pixels, picture, notes, "AVIF"), kept, wanted.quality, out)
    except MemoryError as error:
        raise Failed(
            "output_too_large",
            "Writing the result takes more memory than there is for it. Ask for less, or png.",
        ) from error
    out.flush()
    return notes


def _fitting(kept: Metadata, picture: Picture, notes: dict[str, str]) -> Metadata:
    """Without a profile of colours for gray, as of a mask, or of gray for colours."""
    if not kept.icc or meta.icc_space(kept.icc) == ("L" if picture.channels <= 2 else "RGB"):
        return kept
    notes["icc"] = "The colour profile is for another kind of pixels and was left out."
    return replace(kept, icc=b"")


def _write_jpeg(
    image: Image.Image, kept: Metadata, quality: int, out: IO[bytes], notes: dict[str, str]
) -> None:
    if "A" in image.mode:
        notes["alpha"] = "JPEG holds no transparency; the picture was laid on white."
        whole = Image.new("RGBA", image.size, "white")
        whole.alpha_composite(image.convert("RGBA"))
        image = whole.convert("RGB" if image.mode == "RGBA" else "L")
    kept = meta.for_jpeg(kept, notes)
    options = {"dpi": tuple(round(value) for value in kept.dpi)} if kept.dpi else {}
    image.save(
        out,
        "JPEG",
        quality=quality,
        subsampling="4:2:0" if quality <= _FULL_COLOUR_QUALITY else "4:4:4",
        icc_profile=kept.icc,
        exif=kept.exif,
        xmp=kept.xmp,
        **options,
    )


def _write_webp(
    image: Image.Image, kept: Metadata, quality: int, out: IO[bytes], notes: dict[str, str]
) -> None:
    icc = kept.icc
    if image.mode in ("L", "LA"):
        colour = _from_gray(image, icc) if icc else None
        if icc:
            notes["icc"] = (
                "WebP holds no gray; the picture was converted to sRGB by its profile."
                if colour
                else "WebP holds no gray, and the gray profile could not be applied; it was left out."
            )
        icc = b""
        image = colour or image.convert("RGB" if image.mode == "L" else "RGBA")
    image.save(
        out, "WEBP", quality=quality, method=_WEBP_EFFORT, icc_profile=icc, exif=kept.exif, xmp=kept.xmp
    )


def _write_avif(image: Image.Image, kept: Metadata, quality: int, out: IO[bytes]) -> None:
    """8 bits: Pillow hands no more than that to libavif."""
    image.save(
        out,
        "AVIF",
        quality=quality,
        speed=_AVIF_SPEED,
        subsampling="4:0:0" if image.mode == "L" else "4:2:0" if quality <= _FULL_COLOUR_QUALITY else "4:4:4",
        icc_profile=kept.icc,
        exif=kept.exif,
        xmp=kept.xmp,
    )


def _from_gray(image: Image.Image, icc: bytes) -> Image.Image | None:
    """Gray to sRGB by its profile; None where that cannot be done."""
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(icc))
        srgb = ImageCms.createProfile("sRGB")
        colour = ImageCms.profileToProfile(image.getchannel("L"), profile, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return None
    whole = cast("Image.Image", colour)
    if image.mode == "LA":
        whole.putalpha(image.getchannel("A"))
    return whole


def _image(pixels: NDArray[np.uint8], picture: Picture, notes: dict[str, str], name: str) -> Image.Image:
    """The pixels as Pillow's, with 8 bits a channel."""
    if picture.bits == 16:
        notes["bits"] = f"{name} holds 8 bits a channel; the picture's 16 were rounded."
        eight = np.empty((picture.height, picture.width * picture.channels), np.uint8)
        for top in range(0, picture.height, 256):
            values = pixels[top : top + 256].view("<u2").astype(np.uint32)
            eight[top : top + 256] = (values + 128) // 257
        pixels = eight
    mode = _MODES[picture.channels]
    size = (picture.width, picture.height)
    return Image.frombuffer(mode, size, pixels, "raw", mode, 0, 1)
