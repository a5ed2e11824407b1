"""Cancel a task: before and while it runs, its slot and hold are free at once. Ended tasks stay as they are."""

from burnish.keys.plan import Plans
from burnish.storage.postgres import LOST, Database, away
from burnish.tasks import store
from burnish.tasks.accounts import lock_accounts
from burnish.tasks.close import close
from burnish.tasks.task import FINAL, Task


async def cancel(db: Database, task: Task, plans: Plans) -> None:
    """Cancel unless it has ended. The worker that has it hears of it, and its lease is worth nothing more.

    Raises:
        Unavailable: the database did not answer; cancelling again is safe.
    """
    if task.status in FINAL:
        return
    now = db.clock.now()
    try:
        async with db.transaction() as tx:
            accounts = await lock_accounts(tx, [task.account_id], plans, now)
            topics = await close(tx, accounts, await store.cancel(tx, task.id, now), now)
            await accounts.write()
    except (*LOST, TimeoutError) as error:
        raise away(error) from error
    db.news.announce(topics)
