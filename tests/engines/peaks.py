"""What decoding takes, in bytes, of each file of the corpus: run as a program, because what a fork begins with counts.

Each file goes to a fork of its own, which has loaded only what the codec's template has; its peak, less that of a fork that does
nothing, is printed beside the file's name.
"""

import io
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from burnish.engines.pictures import read
from burnish.errors import Failed


def peak_of(work: Callable[[], None]) -> int:
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            os._exit(0)
    return os.wait4(pid, 0)[2].ru_maxrss * 1024


def main() -> None:
    """The corpus comes as a file of msgpack: name, bytes, filename."""
    read.load()
    corpus = msgspec.msgpack.decode(Path(sys.argv[1]).read_bytes())
    nothing = peak_of(lambda: None)
    told = {}
    for name, data, filename in corpus:

        def decode(data: bytes = data, filename: str = filename) -> None:
            with tempfile.TemporaryFile() as target:
                try:
                    read.decode(io.BytesIO(data), target.fileno(), 70_000_000, lambda _pixels: None, filename)
                except Failed:
                    return

        told[name] = peak_of(decode) - nothing
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
