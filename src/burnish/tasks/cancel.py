"""Cancel a task: before and while it runs, its slot and hold are free at once. Ended tasks stay as they are."""

from burnish.settings import Tasks as TaskSettings
from burnish.storage.postgres import LOST, Database, away
from burnish.tasks import store
from burnish.tasks.promote import free_slots
from burnish.tasks.task import FINAL, Task, topic


async def cancel(db: Database, task: Task, settings: TaskSettings) -> None:
    """Cancel unless it has ended. The worker that has it hears of it, and its lease is worth nothing more.

    Raises:
        Unavailable: the database did not answer; cancelling again is safe.
    """
    if task.status in FINAL:
        return
    now = db.clock.now()
    try:
        async with db.transaction() as tx:
            queues = await store.lock_accounts(tx, [task.account_id], settings, now)
            cancelled = await store.cancel(tx, task.id, now)
            ended = [(task.account_id, cancelled["lane"])] if cancelled and cancelled["held_slot"] else []
            topics = await free_slots(tx, queues, ended)
            await store.write_accounts(tx, queues)
    except (*LOST, TimeoutError) as error:
        raise away(error) from error
    db.news.announce({topic(task.id)} | topics)
