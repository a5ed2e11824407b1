"""The credit is taken at the first whole download, once; previews are free; development mode takes nothing."""

import asyncio

from dialects.autoenhance.conftest import Open, Studio
from dialects.autoenhance.test_images import tasks_of


async def test_processing_costs_nothing_and_the_first_download_takes_the_credit(studio: Studio) -> None:
    """Neither held nor charged before; 402 while there is none; once there is, the picture, `downloaded`, and never again."""
    image = await studio.enhanced(b"the whole picture")
    assert [
        (task["cost_held"], task["cost_charged"]) for task in await tasks_of(studio, image["image_id"])
    ] == [(0, 0)]
    assert await studio.credits() == {"available": 0, "held": 0, "charged": 0}

    refused = await studio.download(image["image_id"])
    assert (refused.status_code, refused.json()["detail"]["code"]) == (402, "insufficient_credits")
    assert "retry-after" not in refused.headers
    assert (await studio.image(image["image_id"]))["downloaded"] is False

    await studio.give(100)
    whole = await studio.download(image["image_id"])
    assert (whole.status_code, whole.content) == (200, b"the whole picture")
    charged = (await studio.credits())["charged"]
    assert charged >= 1
    assert (await studio.image(image["image_id"]))["downloaded"] is True
    assert (await studio.download(image["image_id"])).status_code == 200
    assert await studio.credits() == {"available": 100 - charged, "held": 0, "charged": charged}


async def test_twenty_downloads_at_once_pay_once(studio: Studio) -> None:
    """All of them get the picture."""
    image = await studio.enhanced(b"the whole picture")
    await studio.give(100)
    replies = await asyncio.gather(*(studio.download(image["image_id"]) for _ in range(20)))
    assert [(reply.status_code, reply.content) for reply in replies] == [(200, b"the whole picture")] * 20
    db = studio.visitor.resources.db
    async with db.reading() as connection:
        kinds = await connection.fetch("SELECT kind, count(*) AS n FROM entries GROUP BY kind ORDER BY kind")
    assert [(row["kind"], row["n"]) for row in kinds] == [("grant", 1), ("purchase", 1)]


async def test_what_was_bought_stays_bought_when_it_is_processed_again(studio: Studio) -> None:
    """The image was paid for, not this form of it."""
    image = await studio.enhanced()
    await studio.give(100)
    await studio.download(image["image_id"])
    before = await studio.credits()
    await studio.ok("POST", f"/v3/images/{image['image_id']}/process", json={"enhance_type": "warm"})
    await studio.visitor.succeed(b"warmer")
    assert (await studio.download(image["image_id"])).content == b"warmer"
    assert await studio.credits() == before


async def test_a_preview_is_free(studio: Studio) -> None:
    """It is being made by a worker, and nobody pays for it, with credits or without; as for every other form."""
    image = await studio.enhanced()
    for path in (f"{image['image_id']}/enhanced", f"{image['image_id']}/preview"):
        pending = await studio.call("GET", f"/v3/images/{path}")
        assert (pending.status_code, pending.json()["detail"]["code"]) == (503, "rendition_pending")
        assert int(pending.headers["retry-after"]) >= 1
    claimed = await studio.visitor.claim()
    assert claimed.model == "rendition"
    for wanted in (b'"preview":true', b'"watermark":true'):
        assert wanted in claimed.input.replace(b" ", b"")
    assert (await studio.image(image["image_id"]))["downloaded"] is False


async def test_development_mode_takes_nothing_and_marks_everything(studio: Studio) -> None:
    """Asked for when the image is registered, or when it is downloaded."""
    registered = (await studio.enhanced(headers={"x-dev-mode": "true"}))["image_id"]
    normal = await studio.enhanced()
    for image_id, headers in ((registered, {}), (normal["image_id"], {"x-dev-mode": "true"})):
        reply = await studio.download(image_id, headers=headers)
        assert (reply.status_code, reply.json()["detail"]["code"]) == (503, "rendition_pending")
        claimed = await studio.visitor.claim()
        parameters = claimed.input.replace(b" ", b"")
        assert b'"watermark":true' in parameters
        assert b'"preview":true' not in parameters
        assert (await studio.image(image_id))["downloaded"] is False
    assert await studio.credits() == {"available": 0, "held": 0, "charged": 0}


async def test_whom_nothing_costs(opened: Open) -> None:
    """An account that is not metered downloads without credits."""
    studio = await opened("metered = false\n")
    image = await studio.enhanced(b"free")
    assert (await studio.download(image["image_id"])).content == b"free"
    assert (await studio.image(image["image_id"]))["downloaded"] is True
