"""The service that `upscale.py` measures a whole task on: `burnish serve` as anyone starts it, and a client of it.

A directory of its own, so the embedded database and blobs on disk; one worker. The client takes every step that a
program would, on one connection: it announces its file, sends it, submits a task and waits for its end in the same
request, and reads the result's bytes.
"""

import http.client
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

BURNISH = str(Path(sys.executable).with_name("burnish"))


class Service:
    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [BURNISH, "serve", "--json", "--data", str(folder), "--port", "0", "--issue-key", "bench"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdout
        said = self._process.stdout.readline()
        if not said:
            sys.exit("burnish serve does not start here.")
        greeting = json.loads(said)
        self._headers = {"Authorization": f"Bearer {greeting['key']}"}
        self._connection = http.client.HTTPConnection(urlsplit(greeting["url"]).netloc, timeout=120)

    def task(self, photo: bytes, **wanted: object) -> tuple[float, bytes]:
        """Seconds from the announcement of `photo`, a JPEG, to the last byte of the result; and the result."""
        started = time.perf_counter()
        announced = {"filename": "photo.jpg", "content_type": "image/jpeg", "size_bytes": len(photo)}
        upload = self._json("POST", "/v1/uploads", announced)
        self._send("PUT", upload["url"], photo, upload["headers"])
        asked = {"model": "upscale", "input": {"image": upload["id"], **wanted}}
        task = self._json("POST", "/v1/tasks", asked, {"Prefer": "wait=60"})
        if task["status"] != "succeeded":
            sys.exit(f"The task has not succeeded: {task}")
        made = self._send("GET", task["outputs"][0]["url"], None, {})
        self._connection.close()  # the service would, before the next round comes
        return time.perf_counter() - started, made

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()

    def _json(self, method: str, path: str, body: object, headers: dict[str, str] | None = None) -> Any:
        kind = {"Content-Type": "application/json"}
        sent = json.dumps(body).encode()
        return json.loads(self._send(method, path, sent, self._headers | kind | (headers or {})))

    def _send(self, method: str, url: str, body: bytes | None, headers: dict[str, str]) -> bytes:
        place = urlsplit(url)
        self._connection.request(method, f"{place.path}?{place.query}", body, headers)
        reply = self._connection.getresponse()
        got = reply.read()
        if reply.status >= 300:
            sys.exit(f"{method} {place.path} was answered with {reply.status}: {got[:500]!r}")
        return got
