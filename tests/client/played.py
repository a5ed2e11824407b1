"""A small real HTTP server that plays the documented API, with faults on demand."""

import json
import re
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

KEY = "bk_live_played"
PICTURE = bytes(range(256)) * 1024  #: what every output of the played service is, unless told otherwise


class Clock:
    """Monotonic seconds that pass only when someone sleeps or holds a request."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    async def sleep_awaited(self, seconds: float) -> None:
        self.sleep(seconds)


@dataclass(frozen=True)
class Asked:
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def route(self) -> str:
        return f"{self.method} {re.sub(r'(task|upload|output)_[0-9]+', '{id}', self.path)}"


#: Does something else than the played API would; True when the request is dealt with.
Fault = Callable[["Handler", Asked], bool]


@dataclass
class PlayedService:
    """What it was asked is in `asked`; `faults[route]` are played first, one a request."""

    url: str = ""
    clock: Clock = field(default_factory=Clock)
    asked: list[Asked] = field(default_factory=list)
    faults: dict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    #: The states a task goes through; each reading moves it on by one.
    life: list[dict[str, Any]] = field(
        default_factory=lambda: [{"status": "queued"}, {"status": "succeeded"}]
    )
    #: When to look again at a task that has not ended.
    pending: dict[str, str] = field(default_factory=lambda: {"Retry-After": "3"})
    #: Said of the limits beside every reply.
    limits: dict[str, str] = field(default_factory=dict)
    lane: str = "light"
    models: tuple[str, ...] = ("upscale",)
    by: int = 3  #: how many files a set of `group` has
    price: int = 10
    holds: bool = True  #: whether a reading request with `wait` is held
    picture: bytes = PICTURE
    picture_type: str = "image/png"
    filename: str | None = None  #: what an output is called
    roles: tuple[str | None, ...] = (None,)  #: of each output
    tag: str | None = '"v1"'
    page: int = 2
    uploads: dict[str, bytes | None] = field(default_factory=dict)
    filenames: dict[str, str] = field(default_factory=dict)  #: of each upload
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)  #: idempotency key -> task
    lock: threading.RLock = field(default_factory=threading.RLock)

    def plays(self, route: str, *faults: Fault) -> None:
        self.faults[route].extend(faults)

    def routes(self) -> list[str]:
        return [asked.route for asked in self.asked]

    def of(self, route: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.route == route]

    # --- faults -------------------------------------------------------------------------------------------------

    @staticmethod
    def refuses(
        status: int, code: str = "refused", *, headers: dict[str, str] | None = None, **error: Any
    ) -> Fault:
        """Answers with an error in the API's own shape."""

        def fault(handler: "Handler", asked: Asked) -> bool:
            body = {"code": code, "message": f"Refused with {status}.", "request_id": "req_1", **error}
            handler.answer(status, {"error": body}, headers or {})
            return True

        return fault

    @staticmethod
    def says(status: int, body: bytes, headers: dict[str, str] | None = None) -> Fault:
        """Answers with these very bytes."""

        def fault(handler: "Handler", asked: Asked) -> bool:
            handler.answer_bytes(status, body, headers or {})
            return True

        return fault

    @staticmethod
    def writes(reply: bytes) -> Fault:
        """Writes these very bytes onto the connection, and closes it."""

        def fault(handler: "Handler", asked: Asked) -> bool:
            handler.wfile.write(reply)
            handler.hang_up()
            return True

        return fault

    @staticmethod
    def stops_after(bytes_: int, event: threading.Event) -> Fault:
        """Sends so many bytes of an answer's body, and nothing more until the event is set."""

        def fault(handler: "Handler", asked: Asked) -> bool:
            handler.cut_after = bytes_
            handler.act(asked)
            handler.wfile.flush()
            assert event.wait(30)
            handler.hang_up()
            return True

        return fault

    @staticmethod
    def waits_for(event: threading.Event) -> Fault:
        """Goes on only when the event is set."""

        def fault(handler: "Handler", asked: Asked) -> bool:
            assert event.wait(30)
            return False

        return fault

    @staticmethod
    def hangs_up(handler: "Handler", asked: Asked) -> bool:
        """Closes the connection without a word, and does nothing."""
        handler.hang_up()
        return True

    @staticmethod
    def acts_and_hangs_up(handler: "Handler", asked: Asked) -> bool:
        """Does what was asked, and closes the connection without a word."""
        handler.silent = True
        handler.act(asked)
        handler.hang_up()
        return True

    @staticmethod
    def cuts(after_bytes: int) -> Fault:
        """Closes the connection after so many bytes of an answer's body."""

        def fault(handler: "Handler", asked: Asked) -> bool:
            handler.cut_after = after_bytes
            handler.act(asked)
            handler.hang_up()
            return True

        return fault


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: ClassVar[PlayedService]
    silent = False
    cut_after: int | None = None

    def log_message(self, *_: Any) -> None:
        pass

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        asked = Asked(
            method=self.command,
            path=parts.path,
            query={name: values[-1] for name, values in parse_qs(parts.query).items()},
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(int(self.headers.get("content-length") or 0)),
        )
        self.silent, self.cut_after = False, None
        with self.service.lock:
            self.service.asked.append(asked)
            waiting = self.service.faults[asked.route]
            fault = waiting.popleft() if waiting else None
        if fault is None or not fault(self, asked):
            self.act(asked)

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 -- as http.server calls them

    # --- the API ------------------------------------------------------------------------------------------------

    def act(self, asked: Asked) -> None:
        signed = asked.route in ("PUT /bytes/{id}", "GET /media/{id}")
        if not signed and asked.headers.get("authorization") != f"Bearer {KEY}":
            self.answer(401, {"error": {"code": "unauthenticated", "message": "No such key."}})
            return
        answers = {
            "POST /v1/uploads": self._promise,
            "PUT /bytes/{id}": self._receive,
            "POST /v1/tasks": self._create,
            "GET /v1/tasks": self._list,
            "GET /v1/tasks/{id}": self._read,
            "POST /v1/tasks/{id}/cancel": self._cancel,
            "POST /v1/tasks/{id}/retry": self._retry,
            "POST /v1/tasks/{id}/keep": self._keep,
            "GET /v1/tasks/{id}/timeline": self._timeline,
            "DELETE /v1/tasks/{id}": self._delete,
            "POST /v1/quotes": self._quote,
            "GET /v1/limits": self._limits,
            "GET /v1/credits": self._credits,
            "GET /v1/credits/entries": self._entries,
            "GET /v1/usage": self._usage,
            "GET /v1/models": self._models,
            "GET /media/{id}": self._media,
        }
        with self.service.lock:
            answers.get(asked.route, self._nothing)(asked)

    def _nothing(self, asked: Asked) -> None:
        self.answer(404, {"error": {"code": "not_found", "message": f"There is no {asked.path}."}})

    def _promise(self, asked: Asked) -> None:
        upload = f"upload_{len(self.service.uploads) + 1}"
        self.service.uploads[upload] = None
        promised = json.loads(asked.body)
        self.service.filenames[upload] = promised["filename"]
        url = f"{self.service.url}/bytes/{upload}?signature=s"
        headers = {"Content-Type": promised["content_type"]}
        self.answer(201, {"id": upload, "url": url, "method": "PUT", "headers": headers, "max_bytes": 10**9})

    def _receive(self, asked: Asked) -> None:
        upload = asked.path.rpartition("/")[2]
        if self.service.uploads[upload] is not None:
            self.answer(409, {"error": {"code": "upload_arrived", "message": "Its bytes are here."}})
            return
        self.service.uploads[upload] = asked.body
        self.answer(200, {})

    def _create(self, asked: Asked) -> None:
        kept = self.service.kept
        key = asked.headers["idempotency-key"]
        if key not in kept:
            kept[key] = f"task_{len(self.service.tasks) + 1}"
            body = json.loads(asked.body)
            self.service.tasks[kept[key]] = {"read": 0, "end": None, **body}
        self.answer(202, self._told(kept[key]), self.service.pending)

    def _read(self, asked: Asked) -> None:
        name = asked.path.rpartition("/")[2]
        if name not in self.service.tasks:
            self._nothing(asked)
            return
        self.service.tasks[name]["read"] += 1
        told = self._told(name)
        ended = told["status"] in ("succeeded", "failed", "cancelled")
        if self.service.holds and not ended:
            self.service.clock.now += float(asked.query.get("wait", 0))
        self.answer(200, told, {} if ended else self.service.pending)

    def _cancel(self, asked: Asked) -> None:
        name = asked.path.split("/")[-2]
        self.service.tasks[name]["end"] = "cancelled"
        self.answer(200, self._told(name))

    def _retry(self, asked: Asked) -> None:
        name = asked.path.split("/")[-2]
        again = f"task_{len(self.service.tasks) + 1}"
        self.service.tasks[again] = {**self.service.tasks[name], "read": 0, "end": None, "retry_of": name}
        self.answer(202, self._told(again), self.service.pending)

    def _keep(self, asked: Asked) -> None:
        self.answer(200, self._told(asked.path.split("/")[-2]))

    def _timeline(self, asked: Asked) -> None:
        at = "2026-01-02T03:04:05Z"
        happened = [
            {"at": at, "event": event, "attempt": attempt, "reason": None}
            for event, attempt in (("submitted", None), ("started", 1))
        ]
        self.answer(
            200, {"id": asked.path.split("/")[-2], "request_id": "req_1", "attempts": 1, "data": happened}
        )

    def _delete(self, asked: Asked) -> None:
        name = asked.path.rpartition("/")[2]
        del self.service.tasks[name]
        size = len(self.service.picture)
        self.answer(200, {"id": name, "deleted_at": "2026-01-02T03:04:05Z", "outputs": 1, "bytes": size})

    def _quote(self, asked: Asked) -> None:
        body = json.loads(asked.body)
        known = "width" in body
        self.answer(
            200,
            {
                "model": body["model"],
                "credits": {"min": self.service.price, "max": self.service.price * (1 if known else 4)},
                "unit": "image",
                "quantity": 1 if known else None,
                "price_version": 1,
                "breakdown": [{"what": "below 8 megapixels", "quantity": 1, "each": 10, "credits": 10}],
                "outcome": "accepted",
                "reason": None,
                "message": None,
                "limits": [{"name": "day", "limit": 500, "remaining": 499, "reset": 100}],
            },
        )

    def _limits(self, asked: Asked) -> None:
        rate = {
            "name": "create-rate",
            "kind": "rate",
            "scope": "key",
            "limit": 60,
            "used": 3,
            "remaining": 17,
        }
        self.answer(200, {"plan": "trial", "data": [{**rate, "seconds": 60, "burst": 20}]})

    def _credits(self, asked: Asked) -> None:
        five = {"granted": 100, "available": 60, "held": 10, "charged": 30, "expired": 0}
        self.answer(200, {"metered": True, **five, "grants": []})

    def _entries(self, asked: Asked) -> None:
        five = {"granted": 0, "available": -10, "held": 10, "charged": 0, "expired": 0}
        names = [f"entry_{number}" for number in (3, 2, 1)]
        names = [name for name in names if name < asked.query.get("after", "z")]
        data = [
            {"id": name, "kind": "hold", **five, "subject": "task_1", "at": "2026-01-02T03:04:05Z"}
            for name in names[:2]
        ]
        more = len(names) > 2
        self.answer(200, {"data": data, "has_more": more, "next": names[1] if more else None})

    def _usage(self, asked: Asked) -> None:
        line = {
            "day": "2026-01-02",
            "model": "upscale",
            "succeeded": 3,
            "failed": 1,
            "cancelled": 0,
            "credits": 30,
        }
        self.answer(200, {"from": "2026-01-01", "to": "2026-01-02", "data": [line]})

    def _list(self, asked: Asked) -> None:
        names = sorted(self.service.tasks, reverse=True)
        names = [name for name in names if name < asked.query.get("after", "z")]
        shown, more = names[: self.service.page], names[self.service.page :]
        self.answer(
            200,
            {
                "data": [self._told(n) for n in shown],
                "has_more": bool(more),
                "next": shown[-1] if more else None,
            },
        )

    def _models(self, asked: Asked) -> None:
        tiers = [{"below": 8, "credits": 10}, {"credits": 20}]
        price = {"rule": "photo-standard", "version": 1, "unit": "image", "tiers": tiers}
        image, format_ = {"image": {"type": "string"}}, {"format": {"type": "string"}}
        schemas = {
            "upscale": {**image, **format_, "scale": {"type": "integer"}},
            "merge": {**format_, "images": {"type": "array", "maxItems": 9}},
            "group": {"images": {"type": "array", "maxItems": 200}, "per_image": {"type": "integer"}},
            "moderate": image,
            "video-upscale": {**format_, "video": {"type": "string"}},
        }
        models = [
            {
                "name": name,
                "lane": self.service.lane,
                "input_schema": {"type": "object", "properties": schemas[name]},
                "price": price,
                "limits": {},
            }
            for name in self.service.models
        ]
        self.answer(200, {"data": models})

    def _said(self, task: dict[str, Any]) -> Any:
        """What a result of JSON says; None of other results."""
        if task["model"] == "group":
            places = list(range(len(task["input"]["images"])))
            by = task["input"].get("per_image", self.service.by)
            return {"sets": [places[at : at + by] for at in range(0, len(places), by)], "by": "number"}
        return {"verdict": "allowed"} if task["model"] == "moderate" else None

    def _told(self, name: str) -> dict[str, Any]:
        task = self.service.tasks[name]
        state = self.service.life[min(task["read"], len(self.service.life) - 1)]
        told = {
            "id": name,
            "model": task["model"],
            "created_at": "2026-01-02T03:04:05Z",
            "progress": 0,
            "retry_of": task.get("retry_of"),
            "cost": {
                "held": self.service.price,
                "charged": 0,
                "unit": "image",
                "quantity": 1,
                "price_version": 1,
            },
            "metadata": task.get("metadata"),
            **state,
        }
        if task["end"]:
            told["status"] = task["end"]
        if told["status"] == "succeeded":
            said = self._said(task)
            price = 0 if task["model"] == "group" else self.service.price
            told["cost"] = {**told["cost"], "charged": price}
            told["outputs"] = [
                {
                    "role": role,
                    "url": f"{self.service.url}/media/output_{name.rpartition('_')[2]}?signature=s",
                    "type": self.service.picture_type if said is None else "application/json",
                    **({} if said is None else {"data": said}),
                    "filename": self.service.filename,
                    "width": 2,
                    "height": 2,
                    "size_bytes": len(self.service.picture),
                    "expires_at": "2026-01-09T03:04:05Z",
                }
                for role in self.service.roles
            ]
        return told

    def _media(self, asked: Asked) -> None:
        picture, tag = self.service.picture, self.service.tag
        headers = {"Content-Type": self.service.picture_type} | ({"ETag": tag} if tag else {})
        wanted = re.fullmatch(r"bytes=([0-9]+)-", asked.headers.get("range", ""))
        if wanted is None or asked.headers.get("if-range", tag) != tag:
            self.answer_bytes(200, picture, headers)
            return
        start = int(wanted[1])
        if start >= len(picture):
            self.answer_bytes(416, b"", {"Content-Range": f"bytes */{len(picture)}"})
            return
        headers["Content-Range"] = f"bytes {start}-{len(picture) - 1}/{len(picture)}"
        self.answer_bytes(206, picture[start:], headers)

    # --- on the wire --------------------------------------------------------------------------------------------

    def answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        self.answer_bytes(
            status, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})}
        )

    def answer_bytes(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        if self.silent:
            return
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **self.service.limits, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: self.cut_after])

    def send_header(self, keyword: str, value: str) -> None:
        if keyword != "Server":
            super().send_header(keyword, value)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The service's clock is wrong by years, which must not matter to anyone."""
        return "Thu, 01 Jan 2026 00:00:00 GMT"

    def hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True


class Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 64
