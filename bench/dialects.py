"""Submit and poll through each dialect, each beside the native calls that do the same work.

One API process without workers, every limit on, 128 connections. HiAPI's body asks for the no-op model, HitPaw's for
`sharpen` of a photo that is here and was looked at, Autoenhance's registers an image: an upload with a name, and a task
of `enhance` that waits for it. The native calls ask for the same: of the last they are two, a promised upload and a
task. No bytes are sent: where they go is one and the same code. All ways take turns in each round, so that the rates of
one round are compared. A dialect is one line of `PAIRS`.
"""

import asyncio
import json
import shutil
import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from harness import machine, table, verdict
from served import ROUNDS, SECONDS, TASK, Load, Service, load

NAME = "dialects"
PEERS: list[str] = []
PACKAGES = ["wrk"]
GOAL = {"submit_ratio": 0.85, "poll_ratio": 0.85}
MANY = 128
TASKS = 1_000
#: As large as the photo is said to be; nobody decodes it.
SIZE = (1200, 800)
_LOOKS = {"style": "neutral", "lens": True, "straighten": True}


@dataclass(frozen=True)
class Call:
    """One request: NAME in the body becomes a name that was not there before, ID what `id_of` found in the reply before."""

    path: str
    body: str
    id_of: Callable[[Any], str] | None = None


@dataclass(frozen=True)
class Way:
    """`submits`: the calls that make one task, the last of which answers with its id; `poll`: how it is read, by a POST with
    this body or, without one, a GET. `key`: the header with the key's secret.
    """

    submits: tuple[Call, ...]
    poll: Call
    key: tuple[str, str] = ("Authorization", "Bearer ")


def ways(photo: str) -> dict[str, tuple[Way, Way]]:
    """Each dialect, and the native calls beside it. `photo`: where it can be read."""
    poll = Call("/v1/tasks/ID", "")
    tell = {"id_of": lambda reply: reply["id"]}
    sharpen = {"image": photo, "format": "jpeg", "metadata": "strip"}
    return {
        "hiapi": (
            Way(
                (
                    Call(
                        "/hiapi/v1/tasks",
                        '{"model": "noop", "input": {"seconds": 0.5}, "callback": null, "route": ""}',
                        lambda reply: reply["data"]["taskId"],
                    ),
                ),
                Call("/hiapi/v1/tasks/ID", ""),
            ),
            Way((Call("/v1/tasks", TASK.decode(), **tell),), poll),
        ),
        "hitpaw": (
            Way(
                (
                    Call(
                        "/hitpaw/api/photo-enhancer",
                        json.dumps({"model_name": "sharpen_denoise_1x", "img_url": photo, "extension": ".jpg"}),
                        lambda reply: reply["data"]["job_id"],
                    ),
                ),
                Call("/hitpaw/api/task-status", '{"job_id": "ID"}'),
                ("Apikey", ""),
            ),
            Way((Call("/v1/tasks", json.dumps({"model": "sharpen", "input": sharpen}), **tell),), poll),
        ),
        "autoenhance": (
            Way(
                (Call("/autoenhance/v3/images/", '{"image_name": "NAME"}', lambda reply: reply["image_id"]),),
                Call("/autoenhance/v3/images/ID", ""),
                ("x-api-key", ""),
            ),
            Way(
                (
                    Call(
                        "/v1/uploads",
                        json.dumps({"filename": "NAME", "content_type": "image/jpeg", "size_bytes": 100_000}),
                        **tell,
                    ),
                    Call("/v1/tasks", json.dumps({"model": "enhance", "input": {"image": "ID"} | _LOOKS}), **tell),
                ),
                poll,
            ),
        ),
    }  # fmt: skip


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="burnish-bench-"))
    folder.chmod(0o755)
    service = Service(folder / "service")
    try:
        found = _rounds(service, folder, ways(_seen_photo(service)))
    finally:
        service.close()
        shutil.rmtree(folder, ignore_errors=True)
    _report(found)


def _rounds(
    service: Service, folder: Path, pairs: dict[str, tuple[Way, Way]]
) -> dict[tuple[str, str], list[tuple[Load, Load]]]:
    """By what is done and dialect: the dialect's load and the native one, of each round."""
    scripts: dict[tuple[str, str], tuple[tuple[str, int], ...]] = {}
    for name, pair in pairs.items():
        scripts["submit", name] = tuple((_submitting(service.key, way), len(way.submits)) for way in pair)
        scripts["poll", name] = tuple((_polling(service, way), 1) for way in pair)
    found: dict[tuple[str, str], list[tuple[Load, Load]]] = {place: [] for place in scripts}
    for both in scripts.values():
        for script, _ in both:
            load(service, script, folder, connections=MANY, seconds=1)  # warm
    for _ in range(ROUNDS):
        for place, both in scripts.items():
            one, bare = (
                _by(load(service, script, folder, connections=MANY, seconds=SECONDS), calls)
                for script, calls in both
            )
            found[place].append((one, bare))
    return found


def _by(load_: Load, calls: int) -> Load:
    """What was seen of requests, said of tasks that take so many of them."""
    return replace(
        load_,
        rate=load_.rate / calls,
        p50_ms=load_.p50_ms * calls,
        p99_ms=load_.p99_ms * calls,
        api_us=load_.api_us * calls,
        postgres_us=load_.postgres_us * calls,
    )


# --- what wrk runs ------------------------------------------------------------------------------------------------------

#: Every reply is read, also of ways that need nothing of it: what reading costs wrk is the same for all.
_SUBMITTING = """
local names, found = 0, {}
request = function()
  local id = table.remove(found)
  if id then
    return wrk.format("POST", second_path, nil, (second_body:gsub("ID", id)))
  end
  names = names + 1
  return wrk.format("POST", first_path, nil, (first_body:gsub("NAME", "photo-" .. started .. "-" .. names .. ".jpg")))
end
response = function(status, headers, body)
  local id = body:match('"id":"(upload_%w+)"')
  if id and second_path then table.insert(found, id) end
end
"""
_STARTED = 'local started, second_path, second_body = tostring({}):match("0x(%x+)") .. os.time()\n'


def _submitting(key: str, way: Way) -> str:
    """One call, or two, of which the second names what the first has answered with."""
    script = _headers(key, way) + _STARTED
    for place, call in zip(("first", "second"), way.submits, strict=False):
        local = "local " if place == "first" else ""
        script += f"{local}{place}_path, {place}_body = [==[{call.path}]==], [==[{call.body}]==]\n"
    return script + _SUBMITTING


def _polling(service: Service, way: Way) -> str:
    """Read one after the other of a thousand tasks that were submitted before."""
    ids = ", ".join(f'"{_submitted(service, way)}"' for _ in range(TASKS))
    method = f'"POST", [==[{way.poll.path}]==], nil, (([==[{way.poll.body}]==]):gsub("ID", id))'
    if not way.poll.body:
        method = f'"GET", (([==[{way.poll.path}]==]):gsub("ID", id))'
    return (
        f"{_headers(service.key, way)}local ids = {{{ids}}}\nlocal at, made = 0, {{}}\n"
        f"init = function(args)\n  for i, id in ipairs(ids) do made[i] = wrk.format({method}) end\nend\n"
        "request = function()\n  at = at % #made + 1\n  return made[at]\nend\n"
    )


def _headers(key: str, way: Way) -> str:
    name, before = way.key
    return f'wrk.headers["Content-Type"] = "application/json"\nwrk.headers["{name}"] = "{before}{key}"\n'


# --- what is there before -----------------------------------------------------------------------------------------------


def _submitted(service: Service, way: Way) -> str:
    """The id of a new task, as its surface tells it."""
    found = ""
    for call in way.submits:
        body = call.body.replace("NAME", "photo.jpg").replace("ID", found).encode()
        assert call.id_of
        found = call.id_of(_ask(service, call.path, body, way.key))
    return found


def _ask(service: Service, path: str, body: bytes, key: tuple[str, str]) -> Any:
    name, before = key
    headers = {name: f"{before}{service.key}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{service.url}{path}", body, headers)) as reply:
        return json.load(reply)


def _seen_photo(service: Service) -> str:
    """The address of a photo that has come and was looked at."""
    body = json.dumps({"filename": "photo.jpg", "content_type": "image/jpeg"}).encode()
    place = _ask(service, "/hitpaw/api/oss/presign-put", body, ("Apikey", ""))["data"]
    put = urllib.request.Request(
        place["upload_url"], b"a photo", {"Content-Type": "image/jpeg"}, method="PUT"
    )
    with urllib.request.urlopen(put) as reply:
        assert reply.status == 200
    asyncio.run(_look_at_all(service.data))
    return str(place["access_url"])


async def _look_at_all(data: Path) -> None:
    """As the probes of a worker would have."""
    from burnish.resources import open_database_of
    from burnish.settings import read
    from burnish.uploads.store import Facts, describe

    async with open_database_of(read({}, {"data": str(data)})) as db, db.transaction() as tx:
        ids = [row["id"] for row in await tx.fetch("SELECT id FROM blobs")]
        await describe(tx, [Facts(id_, "image/jpeg", *SIZE, 1, None, None, None) for id_ in ids])


def _report(found: dict[tuple[str, str], list[tuple[Load, Load]]]) -> None:
    print(machine())
    print(
        f"\n{MANY} connections, {ROUNDS} rounds of {SECONDS} s; native: the calls that make or read the same task\n"
    )
    rows, ratios = [], {}
    for (what, name), pairs in found.items():
        ratio = median(one.rate / bare.rate for one, bare in pairs)
        ratios[f"{name}_{what}_ratio"] = round(ratio, 2)
        for whose, place in ((name, 0), (f"native, beside {name}", 1)):
            all_ = [pair[place] for pair in pairs]
            rows.append(
                (
                    what, whose, round(median(one.rate for one in all_)), round(min(one.rate for one in all_)),
                    round(max(one.rate for one in all_)), *(round(median(getattr(one, which) for one in all_), 1)
                    for which in ("p50_ms", "p99_ms", "api_us", "postgres_us")), round(ratio, 2) if place == 0 else 1.0,
                )
            )  # fmt: skip
    heads = (
        "what",
        "whose",
        "a second",
        "min",
        "max",
        "p50 ms",
        "p99 ms",
        "API µs",
        "PostgreSQL µs",
        "ratio",
    )
    print(table(heads, rows) + "\n")
    holds = all(ratio >= GOAL[name.split("_", 1)[1]] for name, ratio in ratios.items())
    verdict(NAME, figures=ratios, ratio=min(ratios.values()), goal=GOAL, holds=holds)


if __name__ == "__main__":
    main()
