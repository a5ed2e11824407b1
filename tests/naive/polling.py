"""A naive client, as the vendors warn of it: `while True: poll(); sleep(0.2)`, five files at a time, no second try.

`python -m naive.polling URL KEY FOLDER`, beside `burnish enhance` in `scripts/bench batch`. Not an example to follow.
"""

import asyncio
from pathlib import Path

from naive.steps import ENDED, Steps, play

AT_ONCE = 5
EVERY_SECONDS = 0.2


async def polling(steps: Steps, files: list[Path]) -> None:
    """Five at a time, each read every 0.2 s."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(file: Path) -> None:
        name = await steps.create(await steps.upload(file))
        task = await steps.read(name)
        while task["status"] not in ENDED:
            await asyncio.sleep(EVERY_SECONDS)
            task = await steps.read(name)
        await steps.fetch(task)

    async def in_turn(file: Path) -> None:
        async with room:
            await steps.whole(one(file))

    await asyncio.gather(*map(in_turn, files))


if __name__ == "__main__":
    asyncio.run(play(polling))
