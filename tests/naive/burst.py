"""A naive client, as the vendors warn of it: every file at once, with no cap, no pause and no second try.

`python -m naive.burst URL KEY FOLDER`, beside `burnish enhance` in `scripts/bench batch`. Not an example to follow.
"""

import asyncio
from pathlib import Path

from naive.steps import ENDED, Steps, play


async def burst(steps: Steps, files: list[Path]) -> None:
    """All files in parallel."""

    async def one(file: Path) -> None:
        name = await steps.create(await steps.upload(file))
        task = await steps.read(name, 60)
        while task["status"] not in ENDED:
            task = await steps.read(name, 60)
        await steps.fetch(task)

    await asyncio.gather(*(steps.whole(one(file)) for file in files))


if __name__ == "__main__":
    asyncio.run(play(burst))
