"""Images: registered, uploaded, read, processed again, reported, deleted; and who may see them."""

import asyncio
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from burnish.engines import catalogue
from burnish.keys.issue import revoke_key
from dialects.autoenhance.conftest import Open, Studio
from waiting import until

#: The reply of the vendor's own example, by field and by type; what may be null is a pair.
EXAMPLE: dict[str, Any] = {
    "ai_version": str, "cloud_type": (str, None), "date_added": int, "downloaded": bool, "enhance": bool,
    "enhance_type": str, "finetune_settings": (dict, None), "image_id": str, "image_name": str,
    "lens_correction": bool, "metadata": dict, "order_id": str, "privacy": bool, "rating": (int, None),
    "scene": (str, None), "sky_replacement": bool, "status": str, "status_reason": (str, None), "upscale": bool,
    "user_id": str, "vertical_correction": bool, "window_pull": bool, "is_threesixty": bool,
    "image_type": (str, None), "enhanced": bool, "error": (str, None), "preset_id": (str, None),
}  # fmt: skip


def holds(found: dict[str, Any], example: dict[str, Any]) -> None:
    """Every field of the example is there, and of its type."""
    for name, kind in example.items():
        kinds = kind if isinstance(kind, tuple) else (kind,)
        value = found[name]
        assert (value is None and None in kinds) or type(value) in kinds, (name, value)


async def test_every_documented_field_is_answered(studio: Studio) -> None:
    """Of an image that is new, and of one that is done; both names of the upload's address on the new one alone."""
    new = await studio.register(
        contentType="image/jpeg", rating=3, metadata={"room": "hall"}, cloud_type="CLEAR"
    )
    holds(new, EXAMPLE)
    assert new["upload_url"] == new["s3PutObjectUrl"]
    assert (new["status"], new["image_type"], new["rating"]) == ("waiting", "image/jpeg", 3)
    read = await studio.image(new["image_id"])
    holds(read, EXAMPLE)
    assert read.keys() == new.keys() - {"upload_url", "s3PutObjectUrl"}
    assert {name: new[name] for name in read} == read


async def test_an_image_goes_from_waiting_to_processed(studio: Studio) -> None:
    """`waiting` until its bytes were seen, then `processing`; `enhanced` says it too."""
    image = await studio.register()
    seen = [(await studio.image(image["image_id"]))["status"]]
    reply = await studio.put(image["upload_url"], b"123456", **{"content-type": "anything/at-all"})
    assert reply.status_code == 200
    await studio.visitor.arrive(type="image/jpeg")
    seen.append((await studio.image(image["image_id"]))["status"])
    await studio.visitor.succeed(b"made")
    done = await studio.image(image["image_id"])
    assert [*seen, done["status"]] == ["waiting", "processing", "processed"]
    assert (done["enhanced"], done["error"]) == (True, None)


async def test_what_failed_says_why(studio: Studio) -> None:
    """`error`, with a reason for programs and a sentence for people."""
    image = await studio.upload()
    await studio.visitor.end("decode_failed", "It breaks off in the middle.")
    found = await studio.image(image["image_id"])
    assert (found["status"], found["status_reason"], found["error"], found["enhanced"]) == (
        "error", "decode_failed", "It breaks off in the middle.", False,
    )  # fmt: skip
    for path in ("enhanced?preview=false", "enhanced", "preview"):
        reply = await studio.call("GET", f"/v3/images/{image['image_id']}/{path}")
        assert (reply.status_code, reply.json()["message"]) == (404, "It breaks off in the middle.")


@pytest.mark.parametrize("spelling", ["/v3/images", "/v3/images/"])
async def test_both_spellings_of_every_path(studio: Studio, spelling: str) -> None:
    """With and without the closing slash, without a redirect that would lose the body."""
    image = await studio.ok("POST", spelling, json={"image_name": "a.jpg"})
    slash = "/" if spelling.endswith("/") else ""
    assert (await studio.image(f"{image['image_id']}{slash}"))["image_id"] == image["image_id"]
    await studio.ok("POST", f"/v3/images/{image['image_id']}/process{slash}", json={"upscale": True})
    await studio.ok("POST", f"/v3/images/{image['image_id']}/report{slash}", json={"categories": ["OTHER"]})
    for path in ("orders", "brackets"):
        body = {"name": "x", "order_id": image["order_id"]}
        await studio.ok("POST", f"/v3/{path}{slash}", json=body)
    await studio.ok("GET", f"/v3/orders{slash}")
    await studio.ok("GET", f"/v3/orders/{image['order_id']}{slash}")
    await studio.ok("GET", f"/v3/orders/{image['order_id']}/brackets{slash}")
    assert (await studio.call("DELETE", f"/v3/images/{image['image_id']}{slash}")).status_code == 204


async def test_an_order_is_made_where_none_is_named(studio: Studio) -> None:
    """And one that a client names is made with its first image; both are listed."""
    alone = await studio.register()
    mine = str(uuid4())
    first, second = [await studio.register(order_id=mine) for _ in range(2)]
    assert first["order_id"] == second["order_id"] == mine
    assert alone["order_id"] != mine
    assert (await studio.ok("GET", f"/v3/orders/{mine}"))["total_images"] == 2
    listed = await studio.ok("GET", "/v3/orders/")
    assert [order["order_id"] for order in listed["orders"]] == [mine, alone["order_id"]]


async def test_twenty_images_at_once_in_one_new_order(studio: Studio) -> None:
    """It is made once, and holds them all; an image's id that two choose at once is one's."""
    mine, image_id = str(uuid4()), str(uuid4())
    images = await asyncio.gather(*(studio.register(order_id=mine, image_name=f"{n}.jpg") for n in range(20)))
    assert {image["order_id"] for image in images} == {mine}
    assert (await studio.ok("GET", f"/v3/orders/{mine}"))["total_images"] == 20
    body = {"image_name": "a.jpg", "image_id": image_id}
    both = await asyncio.gather(*(studio.call("POST", "/v3/images/", json=body) for _ in range(2)))
    assert sorted(reply.status_code for reply in both) == [200, 422]


async def test_processing_and_deleting_at_once(studio: Studio) -> None:
    """Whatever comes first, each is answered, and the image is gone in the end."""
    image = await studio.enhanced()
    one, order = f"/v3/images/{image['image_id']}", f"/v3/orders/{image['order_id']}"
    calls = [("POST", f"{one}/process", {"enhance_type": style}) for style in ("warm", "modern", "property")]
    replies = await asyncio.gather(
        *(studio.call(method, path, json=body) for method, path, body in calls), studio.call("DELETE", order)
    )
    assert {reply.status_code for reply in replies} <= {200, 204, 404, 409}
    assert (await studio.call("GET", one)).status_code == 404


async def test_an_id_that_a_client_chose(opened: Open) -> None:
    """It is the image's, unique in its account, and read with the key alone; another account may have the same."""
    studio = await opened()
    mine = str(uuid4())
    assert (await studio.register(image_id=mine))["image_id"] == mine
    again = await studio.call("POST", "/v3/images/", json={"image_name": "b.jpg", "image_id": mine})
    assert (again.status_code, list(again.json()["detail"]["json"])) == (422, ["image_id"])
    assert (await studio.image(mine))["image_name"] == "a.jpg"
    for path in ("", "/original", "/preview"):
        assert (await studio.call("GET", f"/v3/images/{mine}{path}", key=None)).status_code == 404
    other = await studio.visitor.new_key(account="other")
    assert (await studio.call("GET", f"/v3/images/{mine}", key=other)).status_code == 404
    theirs = await studio.call(
        "POST", "/v3/images/", key=other, json={"image_name": "z.jpg", "image_id": mine}
    )
    assert theirs.json()["image_id"] == mine
    assert (await studio.image(mine))["image_name"] == "a.jpg"
    wrong = await studio.call("POST", "/v3/images/", json={"image_name": "b.jpg", "image_id": "17"})
    assert wrong.status_code == 422


async def test_what_is_read_without_a_key(studio: Studio) -> None:
    """An image, its original and its order, by ids that cannot be guessed; never a whole enhanced picture."""
    image = await studio.enhanced()
    assert (await studio.image(image["image_id"], key=None))["status"] == "processed"
    assert (await studio.ok("GET", f"/v3/orders/{image['order_id']}", key=None))["total_images"] == 1
    original = await studio.call("GET", f"/v3/images/{image['image_id']}/original", key=None)
    assert (original.status_code, original.content) == (200, b"123456")
    whole = await studio.download(image["image_id"], key=None)
    assert whole.status_code == 401
    assert (await studio.call("DELETE", f"/v3/images/{image['image_id']}", key=None)).status_code == 401


async def test_another_accounts_objects_are_not_there(studio: Studio) -> None:
    """404 for whoever sends a key of another account, whatever is asked of them."""
    image = await studio.enhanced()
    bracket = await studio.ok("POST", "/v3/brackets/", json={"name": "b.jpg", "order_id": image["order_id"]})
    other = await studio.visitor.new_key(account="other")
    one, order = f"/v3/images/{image['image_id']}", f"/v3/orders/{image['order_id']}"
    for method, path in (
        ("GET", one), ("DELETE", one), ("POST", f"{one}/process"), ("GET", f"{one}/enhanced"), ("GET", f"{one}/original"),
        ("GET", f"{one}/preview"), ("POST", f"{one}/report"), ("GET", order), ("PATCH", order), ("DELETE", order),
        ("POST", f"{order}/process"), ("GET", f"{order}/brackets"), ("GET", f"/v3/brackets/{bracket['bracket_id']}"),
        ("DELETE", f"/v3/brackets/{bracket['bracket_id']}"),
    ):  # fmt: skip
        body = {"categories": ["OTHER"]} if method == "POST" else None
        reply = await studio.call(method, path, key=other, json=body)
        assert (reply.status_code, reply.json()["detail"]["code"]) == (404, "not_found"), (method, path)


async def test_keys_that_are_not_accepted(studio: Studio) -> None:
    """401 in the vendor's words: none, a wrong one, a revoked one; 403 for one that may not."""
    for key in (None, "nonsense", "bk_live_" + "a" * 36):
        reply = await studio.call("POST", "/v3/images/", key=key, json={"image_name": "a.jpg"})
        assert reply.status_code == 401
        assert set(reply.json()) == {"message", "detail"}
    reader = await studio.visitor.new_key(account="studio", name="reader", scopes=["tasks:read"])
    refused = await studio.call("POST", "/v3/images/", key=reader, json={"image_name": "a.jpg"})
    assert refused.status_code == 403
    db = studio.visitor.resources.db
    async with db.reading() as connection:
        key_id = await connection.fetchval("SELECT id FROM keys WHERE name = 'reader'")
    await revoke_key(db, key_id, now=db.clock.now())

    async def refuses() -> bool:  # every process hears of it in a moment
        return (await studio.call("GET", "/v3/orders/", key=reader)).status_code == 401

    await until(refuses)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "image_name"),
        ({"image_name": ""}, "image_name"),
        ({"image_name": "\n"}, "image_name"),
        ({"image_name": "a.jpg", "enhance_type": "vivid"}, "enhance_type"),
        ({"image_name": "a.jpg", "cloud_type": "RAIN"}, "cloud_type"),
        ({"image_name": "a.jpg", "ai_version": "9.x"}, "ai_version"),
        ({"image_name": "a.jpg", "rating": 6}, "rating"),
        ({"image_name": "a.jpg", "privacy": "yes"}, "privacy"),
        ({"image_name": "a.jpg", "window_pull_type": "ALL"}, "window_pull_type"),
        ({"image_name": "a.jpg", "metadata": []}, "metadata"),
    ],
)
async def test_422_names_the_place_and_the_field(studio: Studio, body: dict[str, Any], field: str) -> None:
    """`{"message", "detail": {"json": {field: [what it wants]}}}`, as the vendor's validation has it."""
    reply = await studio.call("POST", "/v3/images/", json=body)
    assert (reply.status_code, reply.json()["message"]) == (422, "Validation error")
    (messages,) = reply.json()["detail"]["json"].values()
    assert list(reply.json()["detail"]["json"]) == [field]
    assert [type(message) for message in messages] == [str]


async def test_a_query_and_a_header_that_are_wrong(studio: Studio) -> None:
    """Each by its own place."""
    image = await studio.enhanced()
    query = await studio.call("GET", f"/v3/images/{image['image_id']}/enhanced?quality=0")
    assert (query.status_code, list(query.json()["detail"]["query"])) == (422, ["quality"])
    header = await studio.call("GET", f"/v3/images/{image['image_id']}", headers={"x-api-version": "new"})
    assert (header.status_code, list(header.json()["detail"]["headers"])) == (422, ["x-api-version"])
    broken = await studio.call("POST", "/v3/images/", content=b"{")
    assert (broken.status_code, list(broken.json()["detail"]["json"])) == (422, ["_schema"])


async def test_fields_that_nobody_knows_are_let_be(studio: Studio) -> None:
    """Whatever the body calls itself: clients send more than is documented, and null for nothing."""
    body = b'{"image_name": "a.jpg", "hue": 7, "privacy": null, "enhance_type": null, "cloud_type": null}'
    image = await studio.ok("POST", "/v3/images/", content=body, headers={"content-type": "text/plain"})
    assert (image["privacy"], image["enhance_type"]) == (False, "neutral")


async def test_processing_again_is_a_new_task_behind_the_same_image(studio: Studio) -> None:
    """With the preferences of before but for those that are given; PATCH does what POST does."""
    image = await studio.enhanced(enhance_type="warm", sky_replacement=True, cloud_type="LOW_CLOUD")
    again = await studio.ok(
        "PATCH",
        f"/v3/images/{image['image_id']}/process",
        json={"enhance_type": "modern", "image_name": "b.jpg"},
    )
    assert {name: again[name] for name in ("image_id", "image_name", "enhance_type", "sky_replacement", "status")} == {
        "image_id": image["image_id"], "image_name": "b.jpg", "enhance_type": "modern", "sky_replacement": True,
        "status": "processing",
    }  # fmt: skip
    await studio.visitor.succeed(b"made again")
    assert (await studio.download(image["image_id"], headers={"x-dev-mode": "false"})).status_code == 402
    tasks = await tasks_of(studio, image["image_id"])
    assert [(task["status"], task["style"]) for task in tasks] == [
        ("succeeded", "warm"),
        ("succeeded", "modern"),
    ]
    assert tasks[1]["sky"] == "low_cloud"


async def test_processing_again_while_it_is_under_way(studio: Studio) -> None:
    """Nothing new: it goes on. Something new: the task is another, and the one before is cancelled."""
    image = await studio.register()
    await studio.ok("POST", f"/v3/images/{image['image_id']}/process")
    assert [task["status"] for task in await tasks_of(studio, image["image_id"])] == ["waiting"]
    await studio.ok("POST", f"/v3/images/{image['image_id']}/process", json={"upscale": True})
    assert [task["status"] for task in await tasks_of(studio, image["image_id"])] == ["cancelled", "waiting"]
    assert (await studio.put(image["upload_url"])).status_code == 200
    await studio.visitor.arrive(type="image/jpeg")
    await studio.visitor.succeed(b"made")
    assert (await studio.image(image["image_id"]))["status"] == "processed"


async def tasks_of(studio: Studio, image_id: str) -> list[dict[str, Any]]:
    """The tasks behind an image, oldest first, each with what its model was told."""
    async with studio.visitor.resources.db.reading() as connection:
        rows = await connection.fetch(
            "SELECT status, convert_from(input, 'UTF8')::jsonb ->> 'style' AS style, "
            "convert_from(input, 'UTF8')::jsonb ->> 'sky' AS sky, cost_held, cost_charged FROM tasks "
            "WHERE convert_from(metadata, 'UTF8')::jsonb ->> 'image_id' = $1 ORDER BY created_at, id",
            image_id,
        )
    return [dict(row) for row in rows]


async def test_a_report_is_kept(studio: Studio) -> None:
    """With all that was said; categories and the score are checked."""
    image = await studio.enhanced()
    path = f"/v3/images/{image['image_id']}/report"
    await studio.ok(
        "POST", path, json={"categories": ["HDR", "NOISE"], "score": 2, "comment": "dark", "source": "API"}
    )
    for body in ({"categories": ["UGLY"]}, {"categories": [], "score": 6}, {"score": 2}):
        assert (await studio.call("POST", path, json=body)).status_code == 422
    async with studio.visitor.resources.db.reading() as connection:
        (kept,) = await connection.fetch(
            "SELECT convert_from(report, 'UTF8') AS text FROM autoenhance_reports"
        )
    assert kept["text"] == '{"categories":["HDR","NOISE"],"comment":"dark","score":2,"source":"API"}'


async def test_a_deleted_image_is_gone_at_once(studio: Studio) -> None:
    """204; its bytes are swept, a task that was under way is cancelled, and its id may be had again."""
    mine = str(uuid4())
    image = await studio.enhanced(image_id=mine)
    waiting = await studio.register()
    for one in (image, waiting):
        reply = await studio.call("DELETE", f"/v3/images/{one['image_id']}")
        assert (reply.status_code, reply.content) == (204, b"")
        assert (await studio.call("GET", f"/v3/images/{one['image_id']}")).status_code == 404
    assert [task["status"] for task in await tasks_of(studio, waiting["image_id"])] == ["cancelled"]
    assert (await studio.register(image_id=mine))["status"] == "waiting"


async def test_an_image_is_not_there_after_its_seven_days(studio: Studio) -> None:
    """404, with the day on which it expired."""
    image = await studio.enhanced()
    await studio.pass_time(7 * 86_400 + 60)
    for path in ("", "/enhanced?preview=false", "/original", "/preview"):
        reply = await studio.call("GET", f"/v3/images/{image['image_id']}{path}")
        assert (reply.status_code, "expired" in reply.json()["message"]) == (404, True), path


async def test_an_upload_that_never_comes(studio: Studio) -> None:
    """Its address takes nothing any more after its hour."""
    image = await studio.register()
    await studio.pass_time(3_700)
    assert (await studio.put(image["upload_url"])).status_code == 410


async def test_what_no_model_here_does_is_told_and_may_be_tried_again(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No task, no credit: the image says what is missing, as a model that does not know of panoramas."""
    merge = catalogue._MODELS["merge"]
    fields: list[Any] = [
        (f.name, f.type, f.default) for f in msgspec.structs.fields(merge.parameters) if f.name != "panorama"
    ]
    fields[0] = fields[0][:2]  # the sources
    older = msgspec.defstruct("Merge", fields, frozen=True, forbid_unknown_fields=True)
    monkeypatch.setitem(catalogue._MODELS, "merge", msgspec.structs.replace(merge, parameters=older))
    order = await studio.ok("POST", "/v3/orders/")
    for name in ("a.jpg", "b.jpg"):
        await studio.ok("POST", "/v3/brackets/", json={"name": name, "order_id": order["order_id"]})
    asked = {"number_of_brackets_per_image": 2, "threesixty": True}
    order = await studio.ok("POST", f"/v3/orders/{order['order_id']}/process", json=asked)
    (image,) = order["images"]
    assert (image["status"], image["status_reason"], order["status"]) == ("error", "not_available", "error")
    assert "threesixty" in image["error"]
    monkeypatch.undo()
    again = await studio.ok("POST", f"/v3/images/{image['image_id']}/process", json={})
    assert (again["status"], again["is_threesixty"]) == ("waiting", True)


async def test_what_changes_nothing_is_kept(studio: Studio) -> None:
    """Fine tuning and presets of the vendor's own."""
    image = await studio.register(finetune_settings={"contrast": 3}, preset_id="p-1")
    found = await studio.image(image["image_id"])
    assert (found["finetune_settings"], found["preset_id"]) == ({"contrast": 3}, "p-1")
    again = await studio.ok("POST", f"/v3/images/{image['image_id']}/process", json={"preset_id": "p-2"})
    assert (again["finetune_settings"], again["preset_id"]) == ({"contrast": 3}, "p-2")


async def test_the_samples_of_the_vendors_pages(studio: Studio) -> None:
    """Register with a camel-cased type; process again by PATCH, with what its page sends."""
    image = await studio.ok(
        "POST", "/v3/images/", json={"image_name": "your-image-name", "contentType": "image/jpeg"}
    )
    assert {"s3PutObjectUrl", "order_id", "image_id"} <= image.keys()
    body = {"ai_version": "4.x", "enhance": True, "enhance_type": "neutral", "hdr": True}
    again = await studio.ok("PATCH", f"/v3/images/{image['image_id']}/process", json=body)
    assert (again["image_id"], again["enhance_type"]) == (image["image_id"], "neutral")


@pytest.mark.parametrize(("size", "renders"), [("small", True), ("large", False), ("big", False)])
async def test_the_older_sizes(studio: Studio, size: str, renders: bool) -> None:
    """Of before pictures came in any form; without one the largest is meant."""
    image = await studio.enhanced(b"whole")
    await studio.give(100)
    headers = {"x-api-version": "2024-10-01"}
    reply = await studio.call("GET", f"/v3/images/{image['image_id']}/enhanced?size={size}", headers=headers)
    assert reply.status_code == (503 if renders else 200)
    if renders:
        wanted = (await studio.visitor.claim()).input.replace(b" ", b"")
        assert b'"preview":true' in wanted
        assert b'"watermark":true' not in wanted


async def test_the_api_before_v3_is_not_there(studio: Studio) -> None:
    """404 in the vendor's words, and so for everything that it has not."""
    for method, path in (
        ("POST", "/v2/image"),
        ("GET", "/v2/order/1"),
        ("POST", "/mcp"),
        ("GET", "/v3/nothing"),
    ):
        reply = await studio.call(method, path)
        assert (reply.status_code, reply.json()["detail"]["code"]) == (404, "not_found")
    other = await studio.call("PUT", "/v3/orders/")
    assert (other.status_code, other.headers["allow"]) == (405, "GET, HEAD, POST")


async def test_at_the_root_of_a_host_name(opened: Open) -> None:
    """For programs that cannot keep a path in their base URL."""
    studio = await opened(dialects={"autoenhance_host": "autoenhance.example.com"})
    headers = {"host": "autoenhance.example.com", "x-api-key": studio.secret}
    made = await studio.http.post("/v3/images/", json={"image_name": "a.jpg"}, headers=headers)
    assert made.status_code == 200
    read = await studio.http.get(f"/v3/images/{made.json()['image_id']}", headers={"host": headers["host"]})
    assert read.json()["status"] == "waiting"
