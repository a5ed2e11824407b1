"""Group commit: what callers may rely on."""

import asyncio
from collections.abc import Sequence

import asyncpg
import pytest

from burnish.errors import Unavailable
from burnish.storage.group import LATER, Group, Later


async def test_callers_that_arrive_while_a_group_is_written_share_the_next() -> None:
    """One caller is a group of one; those who come meanwhile are one group."""
    groups: list[list[int]] = []
    first_is_in, go_on = asyncio.Event(), asyncio.Event()

    async def write(items: Sequence[int]) -> list[int]:
        groups.append(list(items))
        first_is_in.set()
        await go_on.wait()
        return [item * 10 for item in items]

    group: Group[int, int] = Group(write, rows=100)
    first = asyncio.create_task(group.add(1))
    await first_is_in.wait()
    others = [asyncio.create_task(group.add(n)) for n in (2, 3, 4)]
    await asyncio.gather(*[asyncio.wait([other], timeout=0) for other in others])
    go_on.set()

    assert await asyncio.gather(first, *others) == [10, 20, 30, 40]
    assert groups == [[1], [2, 3, 4]]


async def test_a_fault_in_the_data_fails_its_own_caller_only() -> None:
    """Two culprits among fifty: the other forty-eight are written, each once."""
    written: list[int] = []

    async def write(items: Sequence[int]) -> list[int]:
        if 13 in items or 37 in items:
            raise asyncpg.DataError("bad")
        written.extend(items)
        return list(items)

    group: Group[int, int] = Group(write, rows=100)
    answers = await asyncio.gather(*(group.add(n) for n in range(50)), return_exceptions=True)

    assert sorted(written) == [n for n in range(50) if n not in (13, 37)]
    assert [n for n, answer in enumerate(answers) if isinstance(answer, asyncpg.DataError)] == [13, 37]


async def test_groups_are_capped_in_rows_and_in_bytes() -> None:
    """No group is larger than its caps, but one item always fits."""
    groups: list[list[int]] = []

    async def write(items: Sequence[int]) -> list[int]:
        groups.append(list(items))
        return list(items)

    group: Group[int, int] = Group(write, rows=3, bytes_=10, size=lambda item: item)
    await asyncio.gather(*(group.add(n) for n in (50, 4, 4, 4, 1, 1, 1, 1)))

    assert groups == [[50], [4, 4], [4, 1, 1], [1, 1]]


async def test_an_item_whose_account_is_locked_goes_into_the_next_group() -> None:
    """LATER is asked again, in its place, until it is answered."""
    asked: list[int] = []

    async def write(items: Sequence[int]) -> list[int | Later]:
        asked.extend(items)
        return [LATER if item == 1 and asked.count(1) < 3 else item for item in items]

    group: Group[int, int] = Group(write, rows=10)

    assert list(await asyncio.gather(group.add(1), group.add(2))) == [1, 2]
    assert asked == [1, 2, 1, 1]


async def test_a_connection_lost_at_commit_is_found_out_about() -> None:
    """What the database has is answered from it; what it has not is written again."""
    stored: set[int] = set()
    lost = False

    async def write(items: Sequence[int]) -> list[int]:
        nonlocal lost
        if not lost:
            lost = True
            stored.add(items[0])  # the commit that nobody heard of
            raise asyncpg.ConnectionDoesNotExistError("gone")
        stored.update(items)
        return list(items)

    async def recover(items: Sequence[int]) -> list[int | Later]:
        return [item if item in stored else LATER for item in items]

    group: Group[int, int] = Group(write, rows=10, recover=recover)

    assert list(await asyncio.gather(group.add(1), group.add(2))) == [1, 2]
    assert stored == {1, 2}


async def test_503_when_the_connection_is_lost_and_nothing_can_be_found_out() -> None:
    """Without a way to ask, the caller is told to try again."""

    async def write(_items: Sequence[int]) -> list[int]:
        raise ConnectionResetError

    group: Group[int, int] = Group(write, rows=10)
    with pytest.raises(Unavailable, match="Try again"):
        await group.add(1)


async def test_a_caller_that_gave_up_is_left_out() -> None:
    """Nobody pays for what nobody waits for."""
    written: list[int] = []
    first_is_in, go_on = asyncio.Event(), asyncio.Event()

    async def write(items: Sequence[int]) -> list[int]:
        written.extend(items)
        first_is_in.set()
        await go_on.wait()
        return list(items)

    group: Group[int, int] = Group(write, rows=10)
    first = asyncio.create_task(group.add(1))
    await first_is_in.wait()
    second = asyncio.create_task(group.add(2))
    third = asyncio.create_task(group.add(3))
    await asyncio.wait([second], timeout=0)
    second.cancel()
    await asyncio.wait([second])
    go_on.set()
    await asyncio.gather(first, third)

    assert written == [1, 3]
