"""Films: what codec children do with them. Loaded in the codec's template, run in its children only."""

import importlib
import pkgutil
from typing import Final

import av

#: Of no use here: downloads samples; a program.
_LEFT_OUT: Final = ("av.datasets", "av.__main__")


def load() -> None:
    """Have everything in memory that films may ask for, while files may still be opened. No thread is started."""
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if module.name not in _LEFT_OUT:
            importlib.import_module(module.name)
    av.logging.set_level(None)  # files of clients have no say in what is written where
