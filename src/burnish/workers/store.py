"""The SQL of workers: who is there, for /ready and the doctor."""

from datetime import datetime
from uuid import UUID

from burnish.storage.postgres import Connection


async def show(
    connection: Connection, worker_id: UUID, host: str, pid: int, room: tuple[int, int], now: datetime
) -> None:
    """The worker is there, now. `room`: how many light and heavy tasks it runs at once."""
    await connection.execute(
        "INSERT INTO workers (id, host, pid, light, heavy, seen_at) VALUES ($1, $2, $3, $4, $5, $6) "
        "ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at",
        worker_id,
        host,
        pid,
        *room,
        now,
    )


async def hide(connection: Connection, worker_id: UUID) -> None:
    """It has stopped."""
    await connection.execute("DELETE FROM workers WHERE id = $1", worker_id)


async def forget(connection: Connection, seen_before: datetime) -> None:
    """Those that were killed are not asked for any more."""
    await connection.execute("DELETE FROM workers WHERE seen_at < $1", seen_before)
