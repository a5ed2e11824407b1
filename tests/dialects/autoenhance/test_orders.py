"""Orders: their brackets become images, at once or when it is known which belong together; whoever is killed, it goes on."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from burnish.dialects.autoenhance import store
from burnish.dialects.autoenhance.follow import go_on
from burnish.dialects.autoenhance.image import Owner, Preferences, Wanted
from burnish.dialects.autoenhance.register import make_images
from dialects.autoenhance.conftest import Studio
from dialects.autoenhance.test_images import holds

EXAMPLE: dict[str, Any] = {
    "created_at": str, "images": list, "is_deleted": bool, "is_merging": bool, "is_processing": bool,
    "last_updated_at": str, "name": str, "order_id": str, "status": str, "total_images": int,
}  # fmt: skip
BRACKET: dict[str, Any] = {
    "bracket_id": str, "image_id": (str, None), "is_uploaded": bool, "metadata": dict, "name": str, "order_id": str,
}  # fmt: skip


async def brackets(
    studio: Studio, count: int, *, uploaded: bool = True, **asked: Any
) -> tuple[str, list[str]]:
    """An order with so many brackets, and their ids."""
    order = await studio.ok("POST", "/v3/orders/", json={"name": "brackets"})
    ids = []
    for number in range(count):
        body = {"name": f"{number}.jpg", "order_id": order["order_id"]} | asked
        bracket = await studio.ok("POST", "/v3/brackets/", json=body)
        if uploaded:
            assert (await studio.put(bracket["upload_url"], f"{number}".encode())).status_code == 200
        ids.append(bracket["bracket_id"])
    return order["order_id"], ids


async def parts(studio: Studio, order_id: str) -> list[list[str]]:
    """The names of the brackets that each image of an order is made of."""
    listed = (await studio.ok("GET", f"/v3/orders/{order_id}/brackets"))["brackets"]
    images = (await studio.ok("GET", f"/v3/orders/{order_id}"))["images"]
    return [
        [bracket["name"] for bracket in listed if bracket["image_id"] == image["image_id"]]
        for image in images
    ]


async def test_every_documented_field_is_answered(studio: Studio) -> None:
    """Of orders, of brackets and of the list; moments are in UTC and do not say so."""
    order_id, (bracket_id, _) = await brackets(studio, 2, uploaded=False, metadata={"ev": -2})
    order = await studio.ok("GET", f"/v3/orders/{order_id}")
    holds(order, EXAMPLE)
    assert len(order["created_at"]) == len("2006-01-02T15:04:05.999999")
    bracket = await studio.ok("GET", f"/v3/brackets/{bracket_id}")
    holds(bracket, BRACKET)
    assert (bracket["metadata"], bracket["is_uploaded"]) == ({"ev": -2}, False)
    new = await studio.ok("POST", "/v3/brackets/", json={"name": "c.jpg", "order_id": order_id})
    assert new["upload_url"] == new["s3PutObjectUrl"]
    listed = await studio.ok("GET", "/v3/orders/")
    assert listed["pagination"] == {"next_offset": None, "per_page": 5}


async def test_orders_may_be_made_without_a_body_and_with_an_id(studio: Studio) -> None:
    """With nothing, with `{}`, with an id of the client's own; the same id again is the same order."""
    ways: list[dict[str, Any]] = [
        {},
        {"json": {}},
        {"content": b"", "headers": {"content-type": "application/json"}},
    ]
    for options in ways:
        made = await studio.ok("POST", "/v3/orders/", **options)
        assert (made["name"], made["status"], made["images"]) == ("", "waiting", [])
    mine = str(uuid4())
    first = await studio.ok("POST", "/v3/orders/", json={"order_id": mine, "name": "one"})
    again = await studio.ok("POST", "/v3/orders/", json={"order_id": mine, "name": "two"})
    assert (first["order_id"], again["order_id"], again["name"]) == (mine, mine, "two")
    assert (await studio.call("GET", f"/v3/orders/{mine}", key=None)).status_code == 404


async def test_pages_of_orders(studio: Studio) -> None:
    """Five a page unless it is said otherwise; `next_offset` leads on, and is null on the last one."""
    made = [(await studio.ok("POST", "/v3/orders/"))["order_id"] for _ in range(7)]
    first = await studio.ok("GET", "/v3/orders")
    assert [order["order_id"] for order in first["orders"]] == made[:1:-1]
    rest = await studio.ok("GET", f"/v3/orders?offset={first['pagination']['next_offset']}&per_page=5")
    assert [order["order_id"] for order in rest["orders"]] == made[1::-1]
    assert rest["pagination"]["next_offset"] is None
    assert (await studio.call("GET", "/v3/orders?per_page=0")).status_code == 422


@pytest.mark.parametrize("path", ["process", "merge"])
async def test_so_many_brackets_an_image(studio: Studio, path: str) -> None:
    """In the order they were registered in; what is left over at the end is an image too."""
    order_id, _ = await brackets(studio, 7)
    body = {"number_of_brackets_per_image": 3, "enhance_type": "warm", "sky_replacement": True}
    order = await studio.ok("POST", f"/v3/orders/{order_id}/{path}", json=body)
    assert (order["is_merging"], order["is_processing"], order["total_images"]) == (True, True, 3)
    assert {image["enhance_type"] for image in order["images"]} == {"warm"}
    assert await parts(studio, order_id) == [
        ["0.jpg", "1.jpg", "2.jpg"],
        ["3.jpg", "4.jpg", "5.jpg"],
        ["6.jpg"],
    ]
    assert await models(studio) == ["enhance", "merge", "merge"]
    again = await studio.ok("POST", f"/v3/orders/{order_id}/{path}", json=body)
    assert again["total_images"] == 3


async def models(studio: Studio) -> list[str]:
    async with studio.visitor.resources.db.reading() as connection:
        rows = await connection.fetch("SELECT model FROM tasks WHERE dialect = 'autoenhance'")
    return sorted(row["model"] for row in rows)


async def test_brackets_as_they_are_listed(studio: Studio) -> None:
    """`images: [{bracket_ids}]`, in any order; what is not listed is left for later. A foreign id is refused by its place."""
    order_id, ids = await brackets(studio, 5)
    sets = [{"bracket_ids": [ids[3], ids[0]]}, {"bracket_ids": [ids[1], ids[2]]}]
    wrong = [*sets, {"bracket_ids": [str(uuid4())]}]
    refused = await studio.call("POST", f"/v3/orders/{order_id}/process", json={"images": wrong})
    assert (refused.status_code, list(refused.json()["detail"]["json"])) == (422, ["images[2].bracket_ids"])
    assert (await studio.ok("GET", f"/v3/orders/{order_id}"))["total_images"] == 0
    await studio.ok("POST", f"/v3/orders/{order_id}/process", json={"images": sets})
    assert await parts(studio, order_id) == [["0.jpg", "3.jpg"], ["1.jpg", "2.jpg"]]
    last = await studio.ok(
        "POST", f"/v3/orders/{order_id}/process", json={"images": [{"bracket_ids": [ids[4]]}]}
    )
    assert last["total_images"] == 3


async def test_merge_without_a_body_and_brackets_registered_as_images(studio: Studio) -> None:
    """As the vendor's older sample does it: images with `hdr`, then POST …/merge with nothing and no content type."""
    order_id = str(uuid4())
    images = [
        await studio.register(order_id=order_id, hdr=True, image_name=f"{n}.jpg", enhance_type="modern")
        for n in range(3)
    ]
    for image in images:
        assert (await studio.put(image["s3PutObjectUrl"])).status_code == 200
    assert (await studio.ok("GET", f"/v3/orders/{order_id}"))["total_images"] == 0
    async with studio.visitor.resources.db.reading() as connection:
        assert await connection.fetchval("SELECT count(*) FROM tasks") == 0
    merging = await studio.call("POST", f"/v3/orders/{order_id}/merge")
    assert merging.status_code == 200
    assert (merging.json()["is_merging"], merging.json()["images"]) == (True, [])
    for _ in range(3):
        await studio.visitor.arrive(type="image/jpeg", width=1200, height=800)
        await go_on(studio.visitor.resources)
    await group(studio, [[0, 1, 2]])
    await go_on(studio.visitor.resources)
    await studio.visitor.succeed(b"merged")
    order = await studio.ok("GET", f"/v3/orders/{order_id}")
    assert (order["is_merging"], order["is_processing"], order["status"]) == (False, False, "processed")
    assert [(image["status"], image["enhance_type"]) for image in order["images"]] == [
        ("processed", "modern")
    ]
    assert (await studio.image(images[0]["image_id"]))["status"] == "processed"


async def group(studio: Studio, sets: list[list[int]]) -> None:
    """The task that groups has found these."""
    told = {
        "filename": "g.json",
        "type": "application/json",
        "width": None,
        "height": None,
        "data": {"sets": sets},
    }
    await studio.visitor.succeed_with((b"{}", told))


async def test_what_was_found_by_looks_is_made_once(studio: Studio) -> None:
    """However many workers look at it at once; a bracket that was deleted meanwhile is left out, one that nobody spoke of stands
    alone, and the task that groups is no enhancement of the day.
    """
    order_id, ids = await brackets(studio, 5)
    await studio.ok("POST", f"/v3/orders/{order_id}/process", json={})
    for _ in range(5):
        await studio.visitor.arrive(type="image/jpeg", width=1200, height=800)
    await studio.call("DELETE", f"/v3/brackets/{ids[1]}")
    await group(studio, [[0, 1, 2], [3, 7]])
    await asyncio.gather(*(go_on(studio.visitor.resources) for _ in range(4)))
    assert await parts(studio, order_id) == [["0.jpg", "2.jpg"], ["3.jpg"], ["4.jpg"]]
    assert await models(studio) == ["enhance", "enhance", "merge"]
    async with studio.visitor.resources.db.reading() as connection:
        unasked = await connection.fetchval("SELECT day_starts_at IS NULL FROM tasks WHERE model = 'group'")
    assert unasked


async def test_brackets_that_cannot_be_grouped(studio: Studio) -> None:
    """The order says so, and may be processed again."""
    order_id, _ = await brackets(studio, 3)
    await studio.ok("POST", f"/v3/orders/{order_id}/process")
    for _ in range(3):
        await studio.visitor.arrive(type="image/jpeg", width=1200, height=800)
    await studio.visitor.end("engine_refused", "They have nothing in common.")
    await go_on(studio.visitor.resources)
    order = await studio.ok("GET", f"/v3/orders/{order_id}")
    assert (order["status"], order["is_merging"], order["is_processing"]) == ("error", False, False)
    again = await studio.ok(
        "POST", f"/v3/orders/{order_id}/process", json={"number_of_brackets_per_image": 3}
    )
    assert (again["total_images"], again["is_merging"]) == (1, True)


async def test_merging_may_be_asked_for_before_the_bytes_are_here(studio: Studio) -> None:
    """The task waits for every one of its brackets."""
    order_id, ids = await brackets(studio, 2, uploaded=False)
    order = await studio.ok(
        "POST", f"/v3/orders/{order_id}/process", json={"number_of_brackets_per_image": 2}
    )
    assert (order["status"], order["images"][0]["status"]) == ("waiting", "waiting")
    assert len(ids) == 2


async def test_a_bracket_is_deleted(studio: Studio) -> None:
    """It is in no list any more, and in no image that is made from now on."""
    order_id, ids = await brackets(studio, 3)
    assert (await studio.call("DELETE", f"/v3/brackets/{ids[1]}")).status_code == 204
    assert (await studio.call("GET", f"/v3/brackets/{ids[1]}")).status_code == 404
    await studio.ok("POST", f"/v3/orders/{order_id}/process", json={"number_of_brackets_per_image": 2})
    assert await parts(studio, order_id) == [["0.jpg", "2.jpg"]]


async def test_a_deleted_order_takes_its_images_along(studio: Studio) -> None:
    """What is under way in it is cancelled."""
    image = await studio.register()
    assert (await studio.call("DELETE", f"/v3/orders/{image['order_id']}")).status_code == 204
    for path in (f"orders/{image['order_id']}", f"images/{image['image_id']}"):
        assert (await studio.call("GET", f"/v3/{path}")).status_code == 404
    async with studio.visitor.resources.db.reading() as connection:
        assert await connection.fetchval("SELECT status FROM tasks") == "cancelled"


async def test_an_image_whose_submission_was_killed_is_submitted_once(studio: Studio) -> None:
    """Its row names the task; whoever looks next submits it under that name, and whoever looks after that finds it there."""
    order_id, ids = await brackets(studio, 2)
    resources = studio.visitor.resources
    now = resources.clock.now()
    owner = Owner(studio.account_id, "live", None, "req_test", 604_800)
    async with resources.db.transaction() as tx:  # and here the process is killed
        order = await store.find_order(tx, UUID(order_id), (studio.account_id, "live"))
        assert order is not None
        free = await store.list_brackets(tx, order.id)
        wanted = Wanted(owner, Preferences(), dev=False, brackets=[UUID(id_) for id_ in ids])
        (image,) = await make_images(tx, order, wanted, [free], now)
    assert image.task_id is not None
    await go_on(resources)
    assert (await studio.ok("GET", f"/v3/orders/{order_id}"))["is_merging"] is True
    await studio.pass_time(6)  # what a request may still be about to submit is left to it for five seconds
    for _ in range(3):
        await go_on(resources)
    async with resources.db.reading() as connection:
        assert [row["id"] for row in await connection.fetch("SELECT id FROM tasks")] == [image.task_id]
        assert await store.list_pending(connection, 10, resources.clock.now()) == []


async def test_rows_go_when_nothing_is_left_of_them(studio: Studio) -> None:
    """After the tombstones of the task and of the upload."""
    from burnish.dialects.autoenhance.follow import forget
    from burnish.workers import sweep

    await studio.enhanced()
    await brackets(studio, 1)
    resources = studio.visitor.resources
    await studio.pass_time(7 * 86_400 + 2_592_000 + 7_200)
    await forget(resources)
    async with resources.db.reading() as connection:
        assert await connection.fetchval("SELECT count(*) FROM autoenhance_images") == 1
    await sweep._expired_objects(resources)
    await sweep._tombstones(resources)
    await forget(resources)
    async with resources.db.reading() as connection:
        for table in ("orders", "images", "brackets"):
            assert await connection.fetchval(f"SELECT count(*) FROM autoenhance_{table}") == 0, table


def test_what_is_kept_for_later_reads_back() -> None:
    """Owners and preferences survive their rows."""
    owner = Owner(uuid4(), "live", uuid4(), "req_1", 604_800)
    wanted = Wanted(
        owner, Preferences(cloud_type="CLEAR", finetune_settings={"a": 1}), dev=True, brackets=[uuid4()]
    )
    assert msgspec.json.decode(msgspec.json.encode(wanted), type=Wanted) == wanted


async def test_the_original_of_merged_brackets(studio: Studio) -> None:
    """The first bracket, as it came."""
    order_id, _ = await brackets(studio, 2)
    order = await studio.ok(
        "POST", f"/v3/orders/{order_id}/process", json={"number_of_brackets_per_image": 2}
    )
    original = await studio.call("GET", f"/v3/images/{order['images'][0]['image_id']}/original")
    assert (original.status_code, original.content) == (200, b"0")


async def test_a_bracket_that_is_told_as_an_image(studio: Studio) -> None:
    """Before it is merged it can be read and deleted; after, what is asked of it is asked of its picture, which is paid once."""
    order_id = str(uuid4())
    first, second, third = [
        await studio.register(order_id=order_id, hdr=True, image_name=f"{n}.jpg") for n in range(3)
    ]
    for one in (first, second, third):
        assert (await studio.put(one["upload_url"])).status_code == 200
    early = await studio.call("POST", f"/v3/images/{first['image_id']}/process")
    assert early.status_code == 404
    assert (await studio.call("DELETE", f"/v3/images/{third['image_id']}")).status_code == 204
    assert (await studio.call("GET", f"/v3/images/{third['image_id']}")).status_code == 404
    await studio.ok("POST", f"/v3/orders/{order_id}/merge", json={"number_of_brackets_per_image": 2})
    for _ in range(2):
        await studio.visitor.arrive(type="image/jpeg", width=1200, height=800)
    await studio.visitor.succeed(b"merged")
    assert (await studio.image(first["image_id"]))["status"] == "processed"
    assert (await studio.download(first["image_id"])).status_code == 402
    await studio.give(100)
    assert (await studio.download(first["image_id"])).content == b"merged"
    paid = await studio.credits()
    assert paid["charged"] > 0
    assert (await studio.download(second["image_id"])).content == b"merged"
    assert await studio.credits() == paid
    original = await studio.call("GET", f"/v3/images/{second['image_id']}/original")
    assert original.content == b"123456"


async def test_what_is_over_is_in_no_order(studio: Studio) -> None:
    """An image past its seven days is not listed any more."""
    image = await studio.enhanced()
    assert (await studio.ok("GET", f"/v3/orders/{image['order_id']}"))["total_images"] == 1
    await studio.pass_time(7 * 86_400 + 60)
    assert (await studio.ok("GET", f"/v3/orders/{image['order_id']}"))["total_images"] == 0


async def test_bytes_go_with_what_was_deleted(studio: Studio) -> None:
    """Originals as well as results: they are next to be swept."""
    image = await studio.enhanced()
    order_id, _ = await brackets(studio, 2)
    await studio.call("DELETE", f"/v3/images/{image['image_id']}")
    await studio.call("DELETE", f"/v3/orders/{order_id}")
    db = studio.visitor.resources.db
    async with db.reading() as connection:
        left = await connection.fetchval("SELECT count(*) FROM objects WHERE delete_at > $1", db.clock.now())
        assert (left, await connection.fetchval("SELECT count(*) FROM objects")) == (0, 4)
