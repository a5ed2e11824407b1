"""What lacks on this machine for a model, or for a task with these parameters, and how it is got.

Asked by the API, which refuses what cannot be done and lists what is not installed, and by the command line.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec import Struct

from burnish.engines.catalogue import Model
from burnish.engines.installed import for_cutout, package_has


class _Need(Struct, frozen=True):
    there: Callable[[Path], bool]
    how: str


#: What models may need (`Model.needs`), whether it is there, and how it is got.
NETWORKS: Final = {
    "people": _Need(
        lambda _: package_has("mediapipe", "modules", "selfie_segmentation", "selfie_segmentation.tflite"),
        "The network for people is not installed: `pip install --no-deps mediapipe==0.10.21`, then start the service anew.",
    ),
    "moderation": _Need(
        lambda _: package_has("nudenet", "320n.onnx"),
        "The network for moderation is not installed. Its licence is the AGPL-3.0, so nobody installs it for you: "
        "`pip install --no-deps nudenet==3.4.2`, then start the service anew.",
    ),
    "objects": _Need(
        lambda folder: for_cutout(folder) is not None,
        "No network for other things than people is installed (`of: any`): "
        "`burnish models add NAME FILE.onnx --sha256 …` with a network that rembg takes, as u2net or isnet.",
    ),
}


def missing(model: Model, params: Struct, folder: Path) -> str | None:
    """What lacks for a task with these parameters, and how it is got; None: nothing."""
    if model.need is None:
        return None
    need = NETWORKS[model.need(params)]
    return None if need.there(folder) else need.how


def is_installed(model: Model, folder: Path) -> bool:
    """Whether a model can do anything here."""
    return not model.needs or any(NETWORKS[need].there(folder) for need in model.needs)


def how_to_install(model: Model, folder: Path) -> str | None:
    """All that lacks of what a model could need; None: nothing."""
    lacks = [NETWORKS[need].how for need in model.needs if not NETWORKS[need].there(folder)]
    return " ".join(lacks) or None
