"""What a batch would cost, asked of the service without effect: one quote for all pictures, or sets, of one size.

Called by `batch.py` for `--dry-run`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from burnish.cli.dimensions import size_of
from burnish.cli.progress import Estimate
from burnish.cli.work import Piece, Request
from burnish.client import AsyncClient, Forbidden

#: Width and height, where the header tells.
Size = tuple[int, int] | None


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


async def estimate_sets(
    client: AsyncClient,
    known: Sequence[Piece],
    unknown: Sequence[Piece],
    skipped: int,
    request: Request,
    grouping: Request,
) -> Estimate:
    """The sum for sets that are `known`, and for piles of which nobody knows yet what they hold: a set is one size and as
    many files as `grouping` is told, or from two to as many as the model takes. Raises as `estimate` does.
    """
    each = grouping.parameters.get("per_image")
    fewest, most = Counter[Size](), Counter[Size]()
    for piece in known:
        size = size_of(piece.file)
        fewest[size] += 1
        most[size] += 1
    for pile in unknown:
        if isinstance(each, int) and each > 0:
            # They may be put in the order of time first; their number stays.
            for number in range(0, len(pile.files) - 1, each) if each > 1 else ():
                size = size_of(pile.files[number])
                fewest[size] += 1
                most[size] += 1
        else:
            for size, count in Counter(map(size_of, pile.files)).items():
                fewest[size] += -(-count // (request.most or 1)) if count > 1 else 0
                most[size] += count // 2
    lowest, highest = 0, 0
    open_end = False
    for size in most:
        width, height = size or (None, None)
        quote = await client.quotes.create(request.model, request.parameters, width=width, height=height)
        lowest += fewest[size] * quote.lowest
        highest += most[size] * (quote.highest or 0)
        open_end = open_end or (quote.highest is None and most[size] > 0)
    if unknown:
        quote = await client.quotes.create(grouping.model, grouping.parameters)
        lowest += len(unknown) * quote.lowest
        highest += len(unknown) * (quote.highest or 0)
    return Estimate(
        files=sum(len(piece.files) for piece in (*known, *unknown)),
        skipped=skipped,
        lowest=lowest,
        highest=None if open_end else highest,
        available=await _available(client),
        sets=(fewest.total(), most.total()),
    )


async def _available(client: AsyncClient) -> int | None:
    """The account's credits; None where the key may not know, or nothing costs any."""
    try:
        credits_ = await client.credits.get()
    except Forbidden:
        return None
    return credits_.available if credits_.metered else None
