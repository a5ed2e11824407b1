"""The Python client: `Client` and `AsyncClient`, which speak Burnish's own API and do the same things.

    from pathlib import Path
    from burnish.client import Client

    with Client() as client:  # BURNISH_URL and BURNISH_API_KEY, or Client(url, key)
        task = client.tasks.run("upscale", {"image": Path("photo.jpg"), "scale": 2})
        client.outputs.download(task.outputs[0], "photo-2x.png")

`tasks` creates, waits for, runs, lists and cancels; `uploads` takes paths, bytes and file objects; `outputs`
downloads; `models`, `quotes`, `limits`, `credits` and `usage` tell what there is, what it costs and what is left;
`webhooks` tells a delivery that is genuine. What the client promises:

- One idempotency key per logical POST, sent again on each of its tries: it takes effect once.
- Connection errors, 408, 409 in progress, 429 and 5xx are tried again, as late as the service asks; 402 and 422 never.
- It keeps to the limits that the service's headers tell of: no request is sent that would foreseeably be refused.
- Waiting holds one request open instead of asking again and again, and reading again never makes a task again.
- The key is sent to the service's address and nowhere else; uploads and downloads use signed URLs without it.
- A file that is downloaded is there whole or not at all.

Stands alone: nothing of the server is imported, and httpx is all it needs. `_flow.py` tells how one description of
a request serves both clients; `_errors.py` draws the tree of errors.
"""

from burnish.client._client import DEFAULT_URL, AsyncClient, Client
from burnish.client._errors import (
    Conflict,
    Damaged,
    Expired,
    Forbidden,
    InsufficientCredits,
    Invalid,
    Limited,
    Malformed,
    NotBurnish,
    NotFound,
    NotGenuine,
    Problem,
    Refused,
    StillRunning,
    TaskFailed,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unreachable,
    UnsupportedMedia,
)
from burnish.client._figures import Credits, Entry, Limit, Quote, Usage
from burnish.client._gate import Turns
from burnish.client._shapes import Cost, Model, Output, Price, Receipt, Task, TimelineEntry, Upload
from burnish.client._webhooks import Event, Webhooks

__all__ = [
    "DEFAULT_URL",
    "AsyncClient",
    "Client",
    "Conflict",
    "Cost",
    "Credits",
    "Damaged",
    "Entry",
    "Event",
    "Expired",
    "Forbidden",
    "InsufficientCredits",
    "Invalid",
    "Limit",
    "Limited",
    "Malformed",
    "Model",
    "NotBurnish",
    "NotFound",
    "NotGenuine",
    "Output",
    "Price",
    "Problem",
    "Quote",
    "Receipt",
    "Refused",
    "StillRunning",
    "Task",
    "TaskFailed",
    "TimelineEntry",
    "TooLarge",
    "Turns",
    "Unauthenticated",
    "Unavailable",
    "Unreachable",
    "UnsupportedMedia",
    "Upload",
    "Usage",
    "Webhooks",
]
