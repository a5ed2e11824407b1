"""What a batch would cost, asked of the service without effect: one quote for all pictures of one size.

Called by `batch.py` for `--dry-run`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from burnish.cli.dimensions import size_of
from burnish.cli.progress import Estimate
from burnish.client import AsyncClient, Forbidden


async def estimate(
    client: AsyncClient, files: Iterable[Path], skipped: int, model: str, parameters: Mapping[str, Any]
) -> Estimate:
    """The sum of all quotes. Raises Problem as the client does; OSError where a file cannot be read."""
    sizes = Counter(size_of(file) for file in files)
    lowest, highest = 0, 0
    unknown = False
    for size, count in sizes.items():
        width, height = size or (None, None)
        quote = await client.quotes.create(model, parameters, width=width, height=height)
        lowest += count * quote.lowest
        highest += count * (quote.highest or 0)
        unknown = unknown or quote.highest is None
    return Estimate(sizes.total(), skipped, lowest, None if unknown else highest, await _available(client))


async def _available(client: AsyncClient) -> int | None:
    """The account's credits; None where the key may not know, or nothing costs any."""
    try:
        credits_ = await client.credits.get()
    except Forbidden:
        return None
    return credits_.available if credits_.metered else None
