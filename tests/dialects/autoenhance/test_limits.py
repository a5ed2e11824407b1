"""The vendor's three limits in its own words: the address's rate, identical names, enhancements a day."""

import asyncio
import json

import pytest

from burnish.keys.open import set_terms
from dialects.autoenhance.conftest import Open, Studio
from dialects.autoenhance.test_images import tasks_of

NAMES = "[studio.windows]\nsame_name = { limit = 30, seconds = 3600 }\n"
DAY = "[studio.windows]\nday = { limit = 2, on_limit = 'error_state' }\n"


async def test_too_many_requests_of_one_address(opened: Open) -> None:
    """429 for the whole address, with or without a key; over as soon as it slows down."""
    studio = await opened(limits={"ip_per_second": 1, "ip_burst": 5})
    path = "/v3/images/123e4567-e89b-42d3-a456-426614174000"
    replies = [await studio.call("GET", path, key=None) for _ in range(7)]
    assert [reply.status_code for reply in replies[:5]] == [404] * 5
    over = replies[-1]
    assert (over.status_code, over.json()["detail"]["code"]) == (429, "ip_rate_limited")
    assert set(over.json()) == {"message", "detail"}
    assert over.headers["retry-after"] == "1"


async def test_the_shipped_settings_are_the_vendors_rate() -> None:
    """300 requests a second of one address."""
    from burnish.settings import Settings

    assert (Settings().limits.ip_per_second, Settings().limits.ip_burst) == (300, 300)


@pytest.mark.parametrize(
    ("path", "field"), [("/v3/images/", "image_name"), ("/v3/brackets/", "name")], ids=["images", "brackets"]
)
async def test_thirty_of_one_name_an_hour(opened: Open, path: str, field: str) -> None:
    """The next is 429 until the hour is over; another name is taken all the while."""
    studio = await opened(NAMES)
    for _ in range(30):
        await studio.ok("POST", path, json={field: "IMG_0001.jpg"})
    over = await studio.call("POST", path, json={field: "IMG_0001.jpg"})
    assert (over.status_code, over.json()["detail"]["code"]) == (429, "duplicate_name")
    assert 0 < int(over.headers["retry-after"]) <= 3600
    await studio.ok("POST", path, json={field: "IMG_0002.jpg"})
    await studio.pass_time(int(over.headers["retry-after"]))
    await studio.ok("POST", path, json={field: "IMG_0001.jpg"})


async def test_images_and_brackets_count_the_same_names(opened: Open) -> None:
    """At any concurrency no more than thirty are taken."""
    studio = await opened(NAMES)
    paths = [("/v3/images/", "image_name"), ("/v3/brackets/", "name")] * 20
    replies = await asyncio.gather(
        *(studio.call("POST", path, json={field: "a.jpg"}) for path, field in paths)
    )
    assert sorted(reply.status_code for reply in replies) == [200] * 30 + [429] * 10


async def test_over_the_days_limit_an_image_is_in_error(opened: Open) -> None:
    """200, no 429; `status_reason` says that it was rate-limited; processed again after the reset it goes on."""
    studio = await opened(DAY)
    for _ in range(2):
        assert (await studio.register())["status"] == "waiting"
    over = await studio.register()
    assert (over["status"], over["status_reason"]) == ("error", "rate_limited")
    assert "2 tasks in a day" in over["error"]
    assert (await studio.put(over["upload_url"])).status_code == 200
    still = await studio.ok("POST", f"/v3/images/{over['image_id']}/process")
    assert (still["status"], still["image_id"]) == ("error", over["image_id"])

    await studio.pass_time(86_400)
    again = await studio.ok("POST", f"/v3/images/{over['image_id']}/process")
    assert (again["status"], again["status_reason"]) == ("waiting", None)
    await studio.visitor.arrive(type="image/jpeg")
    await studio.visitor.succeed(b"made")
    assert (await studio.image(over["image_id"]))["status"] == "processed"
    assert len(await tasks_of(studio, over["image_id"])) == 3


async def test_an_upgrade_takes_effect_at_once(opened: Open) -> None:
    """What was in error is processed again under the larger plan."""
    studio = await opened(DAY)
    images = [await studio.register() for _ in range(3)]
    assert images[2]["status"] == "error"
    resources = studio.visitor.resources
    await set_terms(resources.db, resources.plans, "studio", overrides={"windows": {"day": {"limit": 9}}})
    again = await studio.ok("POST", f"/v3/images/{images[2]['image_id']}/process")
    assert again["status"] == "waiting"


async def test_the_shipped_plans_have_the_vendors_limits() -> None:
    """500 a day by default, more for larger plans; 30 of one name an hour."""
    from burnish.keys.plan import load_plans

    plans = load_plans()
    for name in ("trial", "essential"):
        day = plans.terms(name).windows.day
        assert day is not None
        assert (day.limit, day.seconds, day.on_limit) == (500, 86_400, "error_state")
    for name in ("trial", "essential", "standard", "enterprise"):
        names = plans.terms(name).windows.same_name
        assert names is not None
        assert (names.limit, names.seconds) == (30, 3_600)


async def test_images_wait_for_a_slot_where_tasks_would_be_refused(opened: Open) -> None:
    """The vendor knows no limit of images at once: they are parked, and done one after the other."""
    studio = await opened("[studio.at_once]\naccount = { limit = 1 }\n")
    images = [await studio.upload() for _ in range(3)]
    for number in range(3):
        await studio.visitor.succeed(b"made")
        statuses = [(await studio.image(image["image_id"]))["status"] for image in images]
        assert statuses == ["processed"] * (number + 1) + ["processing"] * (2 - number)


async def test_over_a_keys_rate_it_is_429_with_the_time_to_wait(opened: Open) -> None:
    """A limit that the vendor has not, and a plan may have; its advice, to wait and then longer, is right for it."""
    studio = await opened("[studio.rates]\ncreate = { limit = 60, burst = 2 }\n")
    replies = [await studio.call("POST", "/v3/orders/") for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    assert replies[2].headers["retry-after"] == "1"
    assert json.loads(replies[2].content)["detail"]["retry_after"] == 1


async def test_refused_images_leave_nothing_behind(opened: Open) -> None:
    """Where the plan rejects over the day's limit: 429, and the order has no image of it."""
    studio: Studio = await opened("[studio.windows]\nday = { limit = 1, on_limit = 'reject' }\n")
    first = await studio.register()
    asked = {"image_name": "b.jpg", "order_id": first["order_id"]}
    over = await studio.call("POST", "/v3/images/", json=asked)
    assert (over.status_code, over.json()["detail"]["code"]) == (429, "daily_limit_reached")
    assert (await studio.ok("GET", f"/v3/orders/{first['order_id']}"))["total_images"] == 1


async def test_the_vendors_advice_gets_through(opened: Open) -> None:
    """On 429 wait a second, then two, then four: a burst of three times what an address may have is taken, each image once."""
    studio = await opened(limits={"ip_per_second": 5, "ip_burst": 5})

    async def register(number: int) -> int:
        for tries, pause in enumerate((1, 2, 4, 8)):
            reply = await studio.call("POST", "/v3/images/", json={"image_name": f"{number}.jpg"})
            if reply.status_code != 429:
                assert reply.status_code == 200, reply.text
                return tries
            await asyncio.sleep(pause)
        raise AssertionError(number)

    tries = await asyncio.gather(*(register(number) for number in range(15)))
    assert max(tries) >= 1
    async with studio.visitor.resources.db.reading() as connection:
        assert await connection.fetchval("SELECT count(*) FROM autoenhance_images") == 15
