"""Accounts: their names, their plans, and what they have of their own; felt by everything at once."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from burnish.clock import Clock
from burnish.engines import catalogue
from burnish.errors import Conflict, Invalid, NotFound, Unusable
from burnish.keys.authenticate import Authenticator
from burnish.keys.issue import issue_key
from burnish.keys.open import get_account, list_accounts, open_account, set_terms
from burnish.keys.plan import Plans, load_plans
from burnish.settings import Settings
from burnish.storage.postgres import Database, open_database


@pytest.fixture(scope="module")
def plans() -> Plans:
    return load_plans(models=catalogue.names())


async def test_a_new_account_is_under_the_plan_for_strangers(db: Database, plans: Plans) -> None:
    """`trial` unless another is named; a name is taken once, however many ask at once."""
    now = db.clock.now()
    made = await asyncio.gather(
        *(open_account(db, plans, "studio", now=now) for _ in range(5)), return_exceptions=True
    )
    (account,) = [one for one in made if not isinstance(one, BaseException)]
    codes = [one.code for one in made if isinstance(one, Conflict)]
    assert (account.plan, account.overrides, account.granted) == ("trial", "{}", 0)
    assert codes == ["account_exists"] * 4
    assert await get_account(db, "studio") == account
    assert (await open_account(db, plans, "shop", plan="standard", now=now)).plan == "standard"
    assert [one.name for one in await list_accounts(db, rows=10)] == ["shop", "studio"]
    assert [one.name for one in await list_accounts(db, after="shop", rows=10)] == ["studio"]


@pytest.mark.parametrize("name", ["a", "a.b_c@d-e f", "9" * 64])
async def test_names_that_can_be(name: str, db: Database, plans: Plans) -> None:
    """Letters, digits, spaces and a few signs, up to 64 of them."""
    assert (await open_account(db, plans, name, now=db.clock.now())).name == name


@pytest.mark.parametrize("name", ["", " a", "a ", "..", ".a", "a/b", "a (test)", "é", "a\n", "9" * 65, "a\0"])
async def test_names_that_cannot_be(name: str, db: Database, plans: Plans) -> None:
    """Nothing that a path, a terminal or the row of test keys could take for something else."""
    with pytest.raises(Invalid) as refused:
        await open_account(db, plans, name, now=db.clock.now())
    assert refused.value.param == "name"


async def test_terms_are_those_of_the_test_keys_too(db: Database, plans: Plans) -> None:
    """Plan and overrides are set for both, also where the first test key is made later."""
    await open_account(db, plans, "studio", now=db.clock.now())
    key, _ = await issue_key(db, account="studio", environment="test", now=db.clock.now())
    overrides = {"at_once": {"account": {"limit": 9}}}
    await set_terms(db, plans, "studio", plan="standard", overrides=overrides)
    async with db.reading() as connection:
        rows = await connection.fetch("SELECT plan, overrides FROM accounts")
        row = await connection.fetchrow("SELECT overrides FROM accounts WHERE id = $1", key.account_id)
    assert [msgspec.json.decode(one["overrides"]) for one in rows] == [overrides, overrides]
    assert plans.terms("standard", row["overrides"]).at_once.account.limit == 9  # type: ignore[union-attr]


async def test_more_overrides_are_laid_over_those_there_are(db: Database, plans: Plans) -> None:
    """Null takes a limit of the plan away and stays null; a new document replaces all."""

    async def told(**changes: Any) -> Any:
        return msgspec.json.decode((await set_terms(db, plans, "studio", **changes)).overrides)

    await open_account(db, plans, "studio", overrides={"weight": 7}, now=db.clock.now())
    assert await told(more=[{"windows": {"day": None}}]) == {"weight": 7, "windows": {"day": None}}
    account = await get_account(db, "studio")
    assert plans.terms(account.plan, account.overrides).windows.day is None
    assert await told(more=[{"windows": {"day": {"limit": 2}}}, {"windows": {"day": {"limit": 3}}}]) == {
        "weight": 7,
        "windows": {"day": {"limit": 3}},
    }
    assert await told(plan="standard") == {"weight": 7, "windows": {"day": {"limit": 3}}}
    assert await told(overrides={}) == {}


@pytest.mark.parametrize(
    ("overrides", "place"),
    [
        ({"weigth": 1}, "overrides.weigth"),
        ({"windows": {"dya": None}}, "overrides.windows.dya"),
        ({"at_once": {"models": {"upscale": {"limt": 1}}}}, "overrides.at_once.models.upscale.limt"),
        ({"at_once": {"models": {"upscael": {"limit": 1}}}}, "overrides.at_once.models.upscael"),
        ({"at_once": {"models": {"upscael": None}}}, "overrides.at_once.models.upscael"),
        ({"at_once": {"account": {"limit": "many"}}}, "overrides.at_once.account.limit"),
        ({"at_once": {"account": {"limit": -1}}}, "overrides.at_once.account.limit"),
        ({"windows": {"day": {"time_zone": "Mars"}}}, "overrides.windows.day.time_zone"),
        ({"windows": {"day": {"enforce": "never"}}}, "overrides.windows.day.enforce"),
        ({"at_once": {"account": {"limit": 1, "on_limit": "explode"}}}, "overrides.at_once.account.on_limit"),
        ({"rates": {"shared": {"limit": 1, "burst": 1}}}, "overrides.rates"),
    ],
)
async def test_what_is_no_limit_is_refused_by_its_place(
    overrides: dict[str, Any], place: str, db: Database, plans: Plans
) -> None:
    """And the account stays as it was."""
    await open_account(db, plans, "studio", now=db.clock.now())
    with pytest.raises(Invalid) as refused:
        await set_terms(db, plans, "studio", overrides=overrides)
    assert refused.value.param == place
    assert (await get_account(db, "studio")).overrides == "{}"


async def test_unknown_accounts_and_plans_are_refused(db: Database, plans: Plans) -> None:
    """404 and 422."""
    with pytest.raises(NotFound):
        await get_account(db, "nobody")
    with pytest.raises(NotFound):
        await set_terms(db, plans, "nobody", plan="standard")
    with pytest.raises(Invalid, match="There is no plan 'gold'; there are owner, trial"):
        await open_account(db, plans, "studio", plan="gold", now=db.clock.now())


async def test_new_terms_are_felt_in_another_process_within_a_second(
    db: Database, settings: Settings, plans: Plans
) -> None:
    """By announcement, whatever it remembers of the account's keys."""
    await open_account(db, plans, "studio", now=db.clock.now())
    _, secret = await issue_key(db, account="studio", now=db.clock.now())
    other = await open_database(settings.database.url, settings.database, Clock())
    there = Authenticator(other)
    assert (await there.authenticate(secret, db.clock.now())).plan == "trial"
    await set_terms(db, plans, "studio", plan="standard")
    async with asyncio.timeout(1):
        while (await there.authenticate(secret, db.clock.now())).plan == "trial":
            await asyncio.sleep(0.01)
    await there.close()
    await other.close()


def test_overrides_that_fit_no_more_count_for_nothing() -> None:
    """The operator changed a plan under them: the account has the plan, and nobody else's task fails for it."""
    plans = Plans({"trial": {"weight": 3, "rates": {"shared": {"limit": 1, "burst": 1}}}})
    assert plans.terms("trial", '{"rates": {"create": {"limit": 1, "burst": 1}}}') == plans.terms("trial")


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (
            "[trial]\nat_once.models.upscael.limit = 1",
            "at trial.at_once.models.upscael: There is no model 'upscael'",
        ),
        (
            "[trial]\nat_once.account = { limit = 1, on_limit = 'explode' }",
            "it must be reject, error_state or queue",
        ),
        (
            "[trial]\nwindows.day = { limit = 1, time_zone = 'Mars' }",
            "at trial.windows.day.time_zone: There is no time",
        ),
        (
            "[trial]\nat_once.models.noop = { limit = 1, enforce = '2026-02-30' }",
            "It must be always, shadow, or a day such as 2026-03-01.",
        ),
        (
            "[trial]\nat_once.models.noop = { limit = 1, on_limit = 'x' }",
            "it must be reject, error_state or queue",
        ),
        ("[trial]\n[Gold]", "at 'Gold': a plan's name has 1 to 63 small letters"),
        ("[trial]\n['a b']", "at 'a b': a plan's name"),
    ],
)
def test_plans_that_mean_nothing_stop_the_start(file: str, said: str, tmp_path: Path) -> None:
    """The message names the place, and what may stand there."""
    (tmp_path / "plans.toml").write_text(file)
    with pytest.raises(Unusable) as refused:
        load_plans(str(tmp_path / "plans.toml"), catalogue.names())
    assert said in str(refused.value)


def test_plans_may_speak_of_models_that_clients_are_not_told_of(tmp_path: Path) -> None:
    """They have tasks too."""
    (tmp_path / "plans.toml").write_text("[trial]\nat_once.models.noop.limit = 1")
    assert "noop" in load_plans(str(tmp_path / "plans.toml"), catalogue.names()).terms("trial").at_once.models


def test_a_plan_without_limits_is_a_plan() -> None:
    """An empty table allows everything; it is not taken for one that is lost."""
    plans = Plans({"trial": {"weight": 3}, "free": {}})
    assert plans.terms("free").weight == 100
    assert plans.terms("gone").weight == 3
