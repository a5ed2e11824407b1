"""Sizes that a plan does not take or make are refused when the price is set, in words that name the plan's limit."""

from uuid import UUID

import msgspec
import pytest

from burnish.engines.catalogue import Upscale, find_model
from burnish.errors import Invalid
from burnish.ids import new_id
from burnish.keys.plan import Plan
from burnish.tasks import lease
from burnish.tasks.arrive import Seen
from burnish.tasks.sizes import size_refusal
from tasks.story import Story, an_upscale


def test_a_plan_lies_below_the_model() -> None:
    """What the plan does not say is the model's; what it says holds for what comes and for what is made."""
    model = find_model("upscale")
    assert model
    params = Upscale(image="x", scale=2)
    assert size_refusal(model, params, Plan(), 4_000, 3_000) is None
    taken = size_refusal(model, params, Plan(max_input_megapixels=10), 4_000, 3_000)
    made = size_refusal(model, params, Plan(max_output_megapixels=40), 4_000, 3_000)
    assert taken
    assert made
    assert taken[0] == "input_too_large"
    assert "4000 x 3000 pixels (12.0 megapixels); your plan takes at most 10 megapixels" in taken[1]
    assert made[0] == "output_too_large"
    assert "8000 x 6000 pixels (48.0 megapixels); your plan makes at most 40" in made[1]
    assert (
        size_refusal(model, params, Plan(max_input_megapixels=12, max_output_megapixels=48), 4_000, 3_000)
        is None
    )


@pytest.mark.parametrize("value", [0, -1, "much"])
def test_a_plan_cannot_allow_nothing(value: object) -> None:
    """A limit of nothing is a mistake."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"max_input_megapixels": value}, Plan)


async def test_a_plan_is_asked_when_the_bytes_arrive_and_when_they_are_known(
    story: Story, account: UUID
) -> None:
    """The first task of an upload fails, held and charged nothing; the next is refused at once."""
    upload = new_id()
    async with story.db.transaction() as tx:
        await tx.execute(
            "UPDATE accounts SET overrides = '{\"max_input_megapixels\": 0.5}' WHERE id = $1", account
        )
        await tx.execute(
            "INSERT INTO blobs (id, account_id, environment, kind, object_key, size_bytes, sha256, arrived_at, created_at, "
            "expires_at) VALUES ($1, $2, 'live', 'upload', 'k', 1, '', now(), now(), now() + interval '2 days')",
            upload,
            account,
        )
    task = await story.submit(an_upscale(account, upload))
    (claimed,) = await lease.claim_fetches(story.db, 1, 15, by_url=False)
    await story.arrivals.arrive(Seen(claimed, type="image/png", width=1_000, height=600, frames=1))
    found = (await story.read([task.id]))[task.id]
    assert (found.status, found.status_reason, found.cost_held) == ("failed", "input_too_large", 0)
    assert "your plan takes at most 0.5 megapixels" in (found.status_message or "")
    with pytest.raises(Invalid, match=r"your plan takes at most 0.5 megapixels") as refused:
        await story.submit(an_upscale(account, upload))
    assert refused.value.code == "input_too_large"
