"""The SQL of orders, images and brackets. Locks are taken in this order: order, image, bracket.

They stand in the order of their making; ids say which millisecond that was, and not which came first in it.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import cache
from typing import Final, TypeVar
from uuid import UUID

from burnish.dialects.autoenhance.image import Bracket, Image, Order
from burnish.storage.postgres import Connection

# --- orders -------------------------------------------------------------------------------------------------------

_ORDER: Final = """
SELECT o.id, o.account_id, o.environment, o.chosen, o.name, o.grouping, o.wanted, o.fault, o.created_at, o.updated_at
FROM autoenhance_orders o
"""
_OF_ACCOUNT: Final = "WHERE coalesce({0}.chosen, {0}.id) = $1 AND {0}.account_id = $2 AND {0}.environment = $3 AND {0}.deleted_at IS NULL"
_OF_ANYBODY: Final = "WHERE {0}.id = $1 AND {0}.chosen IS NULL AND {0}.deleted_at IS NULL"

Owned = tuple[UUID, str]  #: account, environment


def _where(table: str, owned: Owned | None) -> str:
    return (_OF_ACCOUNT if owned else _OF_ANYBODY).format(table)


async def find_order(connection: Connection, told: UUID, owned: Owned | None) -> Order | None:
    """By the id that its client knows; without an owner, only where that id cannot be guessed."""
    row = await connection.fetchrow(_ORDER + _where("o", owned), told, *(owned or ()))
    return Order(**row) if row else None


async def read_order(connection: Connection, order_id: UUID) -> Order | None:
    row = await connection.fetchrow(_ORDER + "WHERE o.id = $1 AND o.deleted_at IS NULL", order_id)
    return Order(**row) if row else None


async def lock_order(tx: Connection, order_id: UUID) -> Order | None:
    row = await tx.fetchrow(_ORDER + "WHERE o.id = $1 AND o.deleted_at IS NULL FOR UPDATE", order_id)
    return Order(**row) if row else None


_LIST_ORDERS: Final = f"""
{_ORDER} WHERE o.account_id = $1 AND o.environment = $2 AND o.deleted_at IS NULL
    AND ($3::uuid IS NULL OR (o.created_at, o.id) < (SELECT b.created_at, b.id FROM autoenhance_orders b WHERE b.id = $3))
ORDER BY o.created_at DESC, o.id DESC LIMIT $4
"""  # noqa: S608 - our own names


async def list_orders(connection: Connection, owned: Owned, before: UUID | None, rows: int) -> list[Order]:
    """Newest first, those made before the order `before`."""
    return [Order(**row) for row in await connection.fetch(_LIST_ORDERS, *owned, before, rows)]


async def ensure_order(
    tx: Connection, made_id: UUID, owned: Owned, told: UUID | None, name: str | None, now: datetime
) -> tuple[Order, bool]:
    """The account's order of that id, made now where there is none; True where it was. Held until the transaction ends."""
    if told is not None:
        found = await tx.fetchrow(_ORDER + _where("o", owned) + " FOR UPDATE", told, *owned)
        if found is not None:
            await tx.execute("UPDATE autoenhance_orders SET updated_at = $2 WHERE id = $1", found["id"], now)
            return Order(**found), False
    made = await tx.fetchrow(
        "INSERT INTO autoenhance_orders (id, account_id, environment, chosen, name, created_at, updated_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT DO NOTHING RETURNING id",
        made_id,
        *owned,
        told,
        name,
        now,
    )
    if made is None:  # another request made it meanwhile
        return await ensure_order(tx, made_id, owned, told, name, now)
    return Order(made_id, *owned, told, name, None, None, None, now, now), True


async def rename_order(tx: Connection, order_id: UUID, name: str, now: datetime) -> None:
    await tx.execute(
        "UPDATE autoenhance_orders SET name = $2, updated_at = $3 WHERE id = $1", order_id, name, now
    )


async def set_grouping(
    tx: Connection,
    order_id: UUID,
    grouping: UUID | None,
    wanted: bytes | None,
    fault: str | None,
    now: datetime,
) -> None:
    """Which task puts the order's brackets together, or that none does any more."""
    await tx.execute(
        "UPDATE autoenhance_orders SET grouping = $2, wanted = $3, fault = $4, updated_at = $5 WHERE id = $1",
        order_id,
        grouping,
        wanted,
        fault,
        now,
    )


async def list_grouping(connection: Connection, rows: int) -> list[Order]:
    """Orders whose brackets are being put together."""
    found = await connection.fetch(_ORDER + "WHERE o.grouping IS NOT NULL ORDER BY o.id LIMIT $1", rows)
    return [Order(**row) for row in found]


async def is_grouping(connection: Connection, order_id: UUID) -> bool:
    """Whether its brackets are being put together."""
    return bool(
        await connection.fetchval(
            "SELECT grouping IS NOT NULL FROM autoenhance_orders WHERE id = $1", order_id
        )
    )


async def delete_order(tx: Connection, order_id: UUID, now: datetime) -> None:
    """It, its images and its brackets are not there any more."""
    for sql in (
        "UPDATE autoenhance_orders SET deleted_at = $2, grouping = NULL, wanted = NULL WHERE id = $1 AND deleted_at IS NULL",
        "UPDATE autoenhance_images SET deleted_at = $2, pending = NULL WHERE order_id = $1 AND deleted_at IS NULL",
        "UPDATE autoenhance_brackets SET deleted_at = $2 WHERE order_id = $1 AND deleted_at IS NULL",
    ):
        await tx.execute(sql, order_id, now)


# --- by the ids that clients know ---------------------------------------------------------------------------------

#: An id as a client knows it, and whose it must be; None: one that cannot be guessed.
Told = tuple[UUID, Owned | None]
_Row = TypeVar("_Row", Image, Bracket)

#: Most ids are rows' own. Nothing but the ids is said, so that nothing but the primary key can be used: with a condition of
#: a partial index, all of that index is read where the planner thinks the table small.
_BY_ITS_OWN: Final = "SELECT {table}.deleted_at, {select} WHERE {table}.id = ANY($1)"
_BY_CHOSEN: Final = """
SELECT n.number, found.*
FROM unnest($1::uuid[], $2::uuid[], $3::text[]) WITH ORDINALITY AS n (told, account_id, environment, number)
CROSS JOIN LATERAL (
    SELECT {select} WHERE {table}.account_id = n.account_id AND {table}.environment = n.environment
         AND coalesce({table}.chosen, {table}.id) = n.told AND {table}.deleted_at IS NULL
    LIMIT 1
) found
"""


@cache
def _statements(selected: str, table: str) -> tuple[str, str]:
    select = selected.removeprefix("\nSELECT")
    return _BY_ITS_OWN.format(select=select, table=table), _BY_CHOSEN.format(select=select, table=table)


async def _find(
    connection: Connection, kind: type[_Row], selected: str, table: str, asked: Collection[Told]
) -> dict[Told, _Row]:
    """`selected`: all of the kind, whose table is called `table` in it."""
    by_its_own, by_chosen = _statements(selected, table)
    there: dict[UUID, _Row] = {}
    for deleted_at, *values in await connection.fetch(by_its_own, [told for told, _ in asked]):
        known = kind(*values)
        if deleted_at is None and known.chosen is None:
            there[known.id] = known
    found: dict[Told, _Row] = {}
    others: list[tuple[UUID, UUID, str]] = []
    for told, owned in asked:
        row = there.get(told)
        if row is not None and owned in (None, (row.account_id, row.environment)):
            found[told, owned] = row
        elif owned is not None:
            account_id, environment = owned
            others.append((told, account_id, environment))
    if others:
        for number, *values in await connection.fetch(by_chosen, *zip(*others, strict=True)):
            told, account_id, environment = others[number - 1]
            found[told, (account_id, environment)] = kind(*values)
    return found


# --- images -------------------------------------------------------------------------------------------------------

_IMAGE: Final = """
SELECT i.id, i.account_id, i.environment, i.chosen, i.order_id, coalesce(o.chosen, o.id) AS order_told, i.name,
       i.content_type, i.preferences, i.metadata, i.rating, i.upload_id, i.task_id, i.pending, i.fault, i.dev, i.paid_at,
       i.created_at
FROM autoenhance_images i JOIN autoenhance_orders o ON o.id = i.order_id
"""


async def find_images(connection: Connection, asked: Collection[Told]) -> dict[Told, Image]:
    """Those that are there."""
    return await _find(connection, Image, _IMAGE, "i", asked)


async def read_image(connection: Connection, image_id: UUID) -> Image | None:
    row = await connection.fetchrow(_IMAGE + "WHERE i.id = $1 AND i.deleted_at IS NULL", image_id)
    return Image(**row) if row else None


async def read_images(connection: Connection, image_ids: Collection[UUID]) -> dict[UUID, Image]:
    """Those that are there."""
    rows = await connection.fetch(_IMAGE + "WHERE i.id = ANY($1) AND i.deleted_at IS NULL", list(image_ids))
    return {row["id"]: Image(**row) for row in rows}


async def list_images(connection: Connection, order_ids: Collection[UUID]) -> dict[UUID, list[Image]]:
    """By order, in the order they were registered in."""
    found: dict[UUID, list[Image]] = {id_: [] for id_ in order_ids}
    for row in await connection.fetch(
        _IMAGE + "WHERE i.order_id = ANY($1) AND i.deleted_at IS NULL ORDER BY i.created_at, i.id",
        list(order_ids),
    ):
        found[row["order_id"]].append(Image(**row))
    return found


async def list_pending(connection: Connection, rows: int, before: datetime) -> list[Image]:
    """Images made before then whose task has yet to be submitted."""
    found = await connection.fetch(
        _IMAGE + "WHERE i.pending IS NOT NULL AND i.created_at < $2 ORDER BY i.id LIMIT $1", rows, before
    )
    return [Image(**row) for row in found]


async def insert_image(tx: Connection, image: Image) -> bool:
    """False where the account has one of that id already."""
    row = await tx.fetchrow(
        """
        INSERT INTO autoenhance_images (id, account_id, environment, chosen, order_id, name, content_type, preferences,
                                        metadata, rating, upload_id, task_id, pending, fault, dev, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
        ON CONFLICT DO NOTHING RETURNING id
        """,
        image.id,
        image.account_id,
        image.environment,
        image.chosen,
        image.order_id,
        image.name,
        image.content_type,
        image.preferences,
        image.metadata,
        image.rating,
        image.upload_id,
        image.task_id,
        image.pending,
        image.fault,
        image.dev,
        image.created_at,
    )
    return row is not None


async def process_again(tx: Connection, image: Image, was: UUID | None, changed_at: datetime) -> bool:
    """The image as it now is wanted, with its new task; False where another request was there
    first: nothing of it is to be committed then.
    """
    await tx.execute(
        "UPDATE autoenhance_orders SET updated_at = $2 WHERE id = $1", image.order_id, changed_at
    )
    row = await tx.fetchrow(
        """
        UPDATE autoenhance_images SET name = $2, preferences = $3, metadata = $4, rating = $5, task_id = $6, fault = $7,
                                      dev = $8, pending = NULL
        WHERE id = $1 AND task_id IS NOT DISTINCT FROM $9 AND deleted_at IS NULL RETURNING id
        """,
        image.id,
        image.name,
        image.preferences,
        image.metadata,
        image.rating,
        image.task_id,
        image.fault,
        image.dev,
        was,
    )
    return row is not None


async def set_submitted(tx: Connection, image_id: UUID, fault: str | None) -> None:
    """Its task is there; or (`fault`) there will be none."""
    await tx.execute(
        "UPDATE autoenhance_images SET pending = NULL, fault = coalesce($2, fault), "
        "task_id = CASE WHEN $2::text IS NULL THEN task_id END WHERE id = $1",
        image_id,
        fault,
    )


async def set_paid(tx: Connection, image_id: UUID, now: datetime) -> bool:
    """It is downloaded whole; False where it was before."""
    row = await tx.fetchrow(
        "UPDATE autoenhance_images SET paid_at = $2 WHERE id = $1 AND paid_at IS NULL RETURNING id",
        image_id,
        now,
    )
    return row is not None


async def delete_image(tx: Connection, image_id: UUID, now: datetime) -> None:
    await tx.execute(
        "UPDATE autoenhance_images SET deleted_at = $2, pending = NULL WHERE id = $1 AND deleted_at IS NULL",
        image_id,
        now,
    )


async def remove_image(tx: Connection, image_id: UUID) -> None:
    """It was registered, and its task was refused: it never was."""
    await tx.execute("DELETE FROM autoenhance_images WHERE id = $1", image_id)


async def insert_report(tx: Connection, image_id: UUID, report: bytes, now: datetime) -> None:
    await tx.execute(
        "INSERT INTO autoenhance_reports (image_id, at, report) VALUES ($1, $2, $3)", image_id, now, report
    )


# --- brackets -----------------------------------------------------------------------------------------------------

_BRACKET: Final = """
SELECT k.id, k.account_id, k.environment, k.chosen, k.order_id, coalesce(o.chosen, o.id) AS order_told, k.image_id,
       coalesce(i.chosen, i.id) AS image_told, k.name, k.metadata, k.preferences, k.upload_id,
       coalesce(b.object_key IS NOT NULL, false) AS uploaded, k.created_at
FROM autoenhance_brackets k
JOIN autoenhance_orders o ON o.id = k.order_id
LEFT JOIN autoenhance_images i ON i.id = k.image_id
LEFT JOIN blobs b ON b.id = k.upload_id
"""


async def find_brackets(connection: Connection, asked: Collection[Told]) -> dict[Told, Bracket]:
    """Those that are there."""
    return await _find(connection, Bracket, _BRACKET, "k", asked)


async def find_bracket(connection: Connection, told: UUID, owned: Owned) -> Bracket | None:
    return (await find_brackets(connection, [(told, owned)])).get((told, owned))


async def list_brackets(connection: Connection, order_id: UUID) -> list[Bracket]:
    """Those of an order, in the order they were registered in."""
    rows = await connection.fetch(
        _BRACKET + "WHERE k.order_id = $1 AND k.deleted_at IS NULL ORDER BY k.created_at, k.id", order_id
    )
    return [Bracket(**row) for row in rows]


async def list_parts(connection: Connection, image_id: UUID) -> list[UUID]:
    """The uploads that an image is made of, in the order they were registered in."""
    rows = await connection.fetch(
        "SELECT upload_id FROM autoenhance_brackets WHERE image_id = $1 ORDER BY created_at, id", image_id
    )
    return [row["upload_id"] for row in rows]


async def insert_bracket(tx: Connection, bracket: Bracket) -> bool:
    """False where the account has one of that id already."""
    row = await tx.fetchrow(
        """
        INSERT INTO autoenhance_brackets (id, account_id, environment, chosen, order_id, name, metadata, preferences,
                                          upload_id, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING RETURNING id
        """,
        bracket.id,
        bracket.account_id,
        bracket.environment,
        bracket.chosen,
        bracket.order_id,
        bracket.name,
        bracket.metadata,
        bracket.preferences,
        bracket.upload_id,
        bracket.created_at,
    )
    return row is not None


async def set_parts(tx: Connection, image_id: UUID, bracket_ids: Sequence[UUID]) -> None:
    """These brackets belong to that image."""
    await tx.execute(
        "UPDATE autoenhance_brackets SET image_id = $1 WHERE id = ANY($2)", image_id, list(bracket_ids)
    )


async def delete_bracket(tx: Connection, bracket_id: UUID, now: datetime) -> None:
    await tx.execute(
        "UPDATE autoenhance_brackets SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL",
        bracket_id,
        now,
    )


# --- what time undoes ---------------------------------------------------------------------------------------------

_FORGET: Final = """
DELETE FROM {table} WHERE id = ANY(ARRAY(
    SELECT x.id FROM {table} x WHERE x.created_at < $1 {gone} ORDER BY x.created_at LIMIT $2 FOR UPDATE SKIP LOCKED))
"""
_GONE: Final = (
    (
        "autoenhance_brackets",
        "AND NOT EXISTS (SELECT FROM blobs b WHERE b.id = x.upload_id)",
    ),
    (
        "autoenhance_images",
        (
            "AND NOT EXISTS (SELECT FROM blobs b WHERE b.id = x.upload_id) "
            "AND NOT EXISTS (SELECT FROM tasks t WHERE t.id = x.task_id)"
        ),
    ),
    (
        "autoenhance_orders",
        (
            "AND NOT EXISTS (SELECT FROM autoenhance_images i WHERE i.order_id = x.id) "
            "AND NOT EXISTS (SELECT FROM autoenhance_brackets k WHERE k.order_id = x.id)"
        ),
    ),
)


async def forget(tx: Connection, before: datetime, rows: int) -> None:
    """Remove what was made before then and of which nothing is left."""
    for table, gone in _GONE:
        await tx.execute(_FORGET.format(table=table, gone=gone), before, rows)
