"""`burnish listen`: events of the account, handed on to a program on this machine, as webhooks would bring them.

They come over a stream that this command opens to the service, so nothing has to reach this machine from outside and the
service's guard stays shut. Each is sent as a delivery is: the same body, signed with a secret that is printed at the start.
After a break the stream is taken up where it was; an event that was seen is not sent again. A stream that is silent for
longer than the service ever is, is held back by something between: from then on each request is answered as soon as there is
something to tell, which nothing holds back.
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

_FORWARD_SECONDS: Final = 15.0
_SILENCE_SECONDS: Final = 20.0  #: a comment comes every 15
_WAIT_SECONDS: Final = 30
_ANSWER_SECONDS: Final = 15.0  #: beyond `_WAIT_SECONDS`
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
    with httpx.Client(timeout=_FORWARD_SECONDS) as http:
        for id_, body in _Feed(http, url, key).events():
            answer = _forward(http, options.forward, id_, body.encode(), secret) if options.forward else None
            _show(json.loads(body), answer, as_json=options.json)
    return 0


class _Feed:
    """The account's events, across breaks of the stream, each once."""

    def __init__(self, http: httpx.Client, url: str, key: str) -> None:
        self._http = http
        self._url = f"{url}/v1/events"
        self._headers = {"Authorization": f"Bearer {key}", "Accept": "text/event-stream"}
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._streams = True

    def events(self) -> Iterator[tuple[str, str]]:
        """(id, body), for ever. Raises Unusable where the service says no."""
        pause = 1.0
        while True:
            try:
                for id_, data in self._once():
                    pause = 1.0
                    if data and id_ not in self._seen:
                        self._remember(id_)
                        yield id_, data
                if not self._streams:
                    continue
            except httpx.HTTPError as error:
                if self._streams and isinstance(error, httpx.ReadTimeout):
                    self._streams = False
                    print(
                        "Nothing comes through the stream; from now on events are waited for.",
                        file=sys.stderr,
                    )
                    continue
                print(
                    f"The stream broke off ({type(error).__name__}); again in {pause:.0f} s.", file=sys.stderr
                )
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _once(self) -> Iterator[tuple[str, str]]:
        """What one request is told, until it ends or is silent for too long."""
        query = {} if self._streams else {"wait": _WAIT_SECONDS}
        silence = _SILENCE_SECONDS if self._streams else _WAIT_SECONDS + _ANSWER_SECONDS
        timeout = httpx.Timeout(_FORWARD_SECONDS, read=silence)
        with self._http.stream(
            "GET", self._url, params=query, headers=self._headers, timeout=timeout
        ) as reply:
            if reply.status_code in {401, 403, 404}:
                reply.read()
                raise Unusable(f"The service says no: {printable(reply.text.strip())[:300]}")
            reply.raise_for_status()
            for id_, data in _read(reply.iter_lines()):
                if id_:
                    self._headers["Last-Event-ID"] = id_
                yield id_, data

    def _remember(self, id_: str) -> None:
        self._seen[id_] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)


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


def _show(event: dict[str, Any], answer: str | None, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"event": event, "answer": answer}), flush=True)
        return
    data = event["data"]
    subject = f"{data.get('id', '')}  {printable(str(data.get('model', '')))}".strip()
    told = f"{event['type']:16}  {subject}".rstrip()
    print(f"{told}  -> {answer}" if answer is not None else told, flush=True)
