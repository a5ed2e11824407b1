"""The bytes of an open file, a piece at a time, as storage takes them."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Final

_CHUNK_BYTES: Final = 1 << 18


async def chunks_of(fd: int) -> AsyncIterator[bytes]:
    """What an open descriptor holds, from its beginning."""
    os.lseek(fd, 0, os.SEEK_SET)
    while chunk := await asyncio.to_thread(os.read, fd, _CHUNK_BYTES):
        yield chunk
