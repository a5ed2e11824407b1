"""`burnish listen`: events of the account, handed on to a program on this machine, as webhooks would bring them.

They come over a stream that this command opens to the service, so nothing has to reach this machine from outside and the
service's guard stays shut. Each is sent as a delivery is: the same body, signed with a secret that is printed at the start.
After a break the stream is taken up where it was; an event that was seen is not sent again.
"""

import argparse
import base64
import hmac
import json
import os
import secrets
import sys
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Final

import httpx

from burnish.cli import printable
from burnish.errors import Unusable

_EVENTS: Final = {
    "succeeded": "task.succeeded",
    "failed": "task.failed",
    "cancelled": "task.cancelled",
}
_FORWARD_SECONDS: Final = 15.0
_SILENCE_SECONDS: Final = 40.0  #: a comment comes every 15
_LONGEST_PAUSE: Final = 30.0
_REMEMBERED: Final = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--forward",
        metavar="URL",
        help="where to send each event, as http://localhost:3000/hook (default: print them)",
    )
    parser.add_argument("--url", help="the service (default: BURNISH_URL, else http://127.0.0.1:8000)")
    parser.add_argument("--key", help="a key with the scope tasks:read (default: BURNISH_API_KEY)")
    parser.add_argument("--json", action="store_true", help="print each event as a line of JSON")


def run(options: argparse.Namespace) -> int:
    url = (options.url or os.environ.get("BURNISH_URL") or "http://127.0.0.1:8000").rstrip("/")
    key = options.key or os.environ.get("BURNISH_API_KEY")
    if not key:
        raise Unusable("Set BURNISH_API_KEY, or give --key: events are those of a key's account.")
    secret = secrets.token_bytes(24)
    if options.forward and not options.json:
        print(
            f"Events of {url} go to {options.forward}, signed with whsec_{base64.b64encode(secret).decode()}"
        )
        print("Stop with Ctrl-C.", flush=True)
    with httpx.Client(timeout=httpx.Timeout(_FORWARD_SECONDS, read=_SILENCE_SECONDS)) as http:
        for id_, task in _events(http, url, key):
            body = _body(task)
            answer = _forward(http, options.forward, id_, body, secret) if options.forward else None
            _show(options.json, task, body, answer)
    return 0


def _events(http: httpx.Client, url: str, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(id, task) of every end, across breaks of the stream, each once."""
    last: str | None = None
    seen: OrderedDict[str, None] = OrderedDict()
    pause = 1.0
    while True:
        headers = {"Authorization": f"Bearer {key}", "Accept": "text/event-stream"}
        if last is not None:
            headers["Last-Event-ID"] = last
        try:
            with http.stream("GET", f"{url}/v1/events", headers=headers) as reply:
                if reply.status_code in {401, 403, 404}:
                    reply.read()
                    raise Unusable(f"The service says no: {printable(reply.text.strip())[:300]}")
                reply.raise_for_status()
                pause = 1.0
                for id_, data in _read(reply.iter_lines()):
                    last = id_ or last
                    if data and id_ not in seen:
                        seen[id_] = None
                        if len(seen) > _REMEMBERED:
                            seen.popitem(last=False)
                        yield id_, json.loads(data)
        except httpx.HTTPError as error:
            print(f"The stream broke off ({type(error).__name__}); again in {pause:.0f} s.", file=sys.stderr)
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def _read(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    """(id, data) of a stream of server-sent events; comments are skipped. An event ends with an empty line."""
    id_ = ""
    data: list[str] = []
    for line in lines:
        if not line:
            if data or id_:
                yield id_, "\n".join(data)
            id_, data = "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            id_ = value
        elif name == "data":
            data.append(value)


def _body(task: dict[str, Any]) -> bytes:
    """As a delivery has it."""
    event = {"type": _EVENTS.get(task["status"], "task"), "timestamp": task["ended_at"], "data": task}
    return json.dumps(event, separators=(",", ":")).encode()


def _forward(http: httpx.Client, target: str, id_: str, body: bytes, secret: bytes) -> str:
    timestamp = str(int(time.time()))
    signature = hmac.digest(secret, f"{id_}.{timestamp}.".encode() + body, "sha256")
    headers = {
        "Content-Type": "application/json",
        "webhook-id": id_,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
    }
    try:
        return str(http.post(target, content=body, headers=headers).status_code)
    except httpx.HTTPError as error:
        return f"no answer ({type(error).__name__})"


def _show(as_json: bool, task: dict[str, Any], body: bytes, answer: str | None) -> None:
    if as_json:
        print(json.dumps({"event": json.loads(body), "answer": answer}), flush=True)
        return
    ended = f"{task['id']}  {task['status']:10} {printable(str(task['model']))}"
    print(f"{ended}  -> {answer}" if answer is not None else ended, flush=True)
