"""Find images by the ids that clients know; those that are asked for together are one statement."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from burnish.dialects.autoenhance import store
from burnish.dialects.autoenhance.image import Bracket, Image
from burnish.errors import NotFound
from burnish.storage.group import Group, Later
from burnish.storage.postgres import Database
from burnish.tasks.store import read_tasks
from burnish.tasks.task import Task


class Found(Struct, frozen=True):
    """What an id names: an image with the task behind it, or a bracket that was registered as an image, and with it the
    image that it has become part of, if any.
    """

    image: Image | None = None
    task: Task | None = None
    bracket: Bracket | None = None


class Images:
    """One a process: the group that reads join."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._group: Group[store.Told, Found] = Group(self._read, rows=256)

    async def find(self, told: UUID, owned: store.Owned | None, now: datetime) -> Found:
        """What it names among what an account owns; without an owner, only by an id that cannot be guessed.

        Raises:
            NotFound: nothing, or what it names is over.
            Unavailable: the database does not answer.
        """
        found = await self._group.add((told, owned))
        if found.image is None and found.bracket is None:
            hint = "" if owned else " An id that its client chose is read with the key."
            raise NotFound(f"There is no image of that id.{hint}")
        if found.task is not None and is_over(found.task, now):
            raise NotFound(
                f"This image expired at {found.task.expires_at:%Y-%m-%d %H:%M} UTC.", code="expired"
            )
        return found

    async def _read(self, asked: Sequence[store.Told]) -> Sequence[Found | Exception | Later]:
        async with self._db.reading() as connection:
            images = await store.find_images(connection, asked)
            brackets: dict[store.Told, Bracket] = {}
            if others := [one for one in asked if one not in images]:
                found_brackets = await store.find_brackets(connection, others)
                brackets = {one: b for one, b in found_brackets.items() if b.preferences is not None}
            if parts := {one: b.image_id for one, b in brackets.items() if b.image_id is not None}:
                made = await store.read_images(connection, parts.values())
                images |= {one: made[id_] for one, id_ in parts.items() if id_ in made}
            ids = [image.task_id for image in images.values() if image.task_id]
            tasks = await read_tasks(connection, ids) if ids else {}
        found = []
        for one in asked:
            image = images.get(one)
            task = tasks.get(image.task_id) if image is not None and image.task_id else None
            found.append(Found(image, task, brackets.get(one)))
        return found


def is_over(task: Task, now: datetime) -> bool:
    """Whether what it made has had its time."""
    return task.ended_at is not None and task.expires_at <= now
