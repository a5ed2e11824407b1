"""What an account has set for itself beside its plan: text by name, sealed, as the dialects' customers know it from a web page.

Names begin with the dialect that reads them (`hiapi.storage`); what they mean is said there.
"""

from uuid import UUID

from burnish.keys import store
from burnish.storage.postgres import Database, answering
from burnish.storage.seal import Seal


async def get_settings(db: Database, seal: Seal, account_id: UUID) -> dict[str, str]:
    """All of the account's, by name.

    Raises:
        Unavailable: the database does not answer.
        Unreadable: one was sealed under a secret key that is gone.
    """
    with answering():
        async with db.reading() as connection:
            found = await store.read_settings(connection, account_id)
    return {name: seal.open(value, _purpose(account_id, name)).decode() for name, value in found.items()}


async def set_setting(db: Database, seal: Seal, account_id: UUID, name: str, value: str | None) -> None:
    """Set one; None takes it away. Raises Unavailable."""
    sealed = None if value is None else seal.close(value.encode(), _purpose(account_id, name))
    with answering():
        async with db.transaction() as tx:
            await store.write_setting(tx, account_id, name, sealed)


def _purpose(account_id: UUID, name: str) -> str:
    return f"account {account_id} {name}"
