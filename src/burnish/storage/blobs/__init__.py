"""Where media lies: bytes under keys of ours, on disk or in memory.

Opened by `resources` with `blobs_url`; used by `uploads`, `tasks` and `workers`. Every backend keeps the promises of
`Blobs`, and one suite of tests holds them to it.
"""

import asyncio
from pathlib import Path
from urllib.parse import unquote, urlsplit

from obstore.store import MemoryStore

from burnish.errors import Unusable
from burnish.storage.blobs.blob import Blobs, Stored
from burnish.storage.blobs.disk import DiskBlobs
from burnish.storage.blobs.objects import ObjectBlobs

__all__ = ["Blobs", "Stored", "open_blobs"]


async def open_blobs(url: str) -> Blobs:
    """`file:///absolute/path` (made with mode 0700 where it is missing) or `memory:///` (gone with the process).

    Raises:
        Unusable: any other URL, or a folder that cannot be made.
    """
    where = urlsplit(url)
    if where.scheme == "memory":
        return ObjectBlobs(MemoryStore())
    if where.scheme == "file" and not where.netloc and where.path.startswith("/"):
        return await asyncio.to_thread(DiskBlobs, Path(unquote(where.path)))
    raise Unusable(f"blobs_url is {url!r}; it must be file:///absolute/path or memory:///.")
